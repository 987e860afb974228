"""The trace that leads from a cause to its effects, in the form of W3C Trace Context (`traceparent`)."""

import hashlib
import re
from typing import Final
from uuid import uuid4

HEADER: Final = "traceparent"

_PARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")


def trace_of(traceparent: str | None) -> str:
    """Return the trace that a caller's header names, or a new one: 32 hexadecimal digits."""
    found = _PARENT.fullmatch((traceparent or "").strip()[:200])
    return found[1] if found else uuid4().hex


def traceparent(trace_id: str, run_id: str, step: str) -> str:
    """Return what a step of a run tells whom it calls; the same again when it is done again."""
    span = hashlib.sha256(f"{run_id}/{step}".encode()).hexdigest()[:16]
    return f"00-{trace_id}-{span}-01"
