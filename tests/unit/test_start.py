"""What every process would pay for at its start, although few need it."""

import subprocess
import sys

_HEAVY = {"dbos", "fastapi", "alembic", "pydantic_monty", "mcp"}


def test_a_command_starts_without_what_only_some_need() -> None:
    program = f"import sys, landbridge.cli; print(*({_HEAVY!r} & sys.modules.keys()))"
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == ""
