"""Logs, metrics, and the mask that keeps secrets out of both.

Redaction is a net under the tightrope: no room logs a secret on purpose, and what slips through, in an exception's text
or a URL, is masked here before it is written.
"""

import logging
import re
import sys
from collections.abc import Mapping
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from landbridge.settings import Settings

MASK = "[redacted]"

_CONFIDENTIAL = (
    "access_token|refresh_token|id_token|usertoken|token|tempauth|client_secret|client_assertion|code|code_verifier|"
    "state|password|secret|authorization|cookie|set-cookie|api_key|private_key|database_url|sig|assertion"
)
_SECRET_NAME = re.compile(rf"^(?:x-)?(?:{_CONFIDENTIAL})$", re.IGNORECASE)
_SECRET_TEXT = re.compile(
    "|".join(
        (
            rf"(?P<param>\b(?:{_CONFIDENTIAL})=)[^&\s\"'<>]+",  # a query string or form
            rf"(?P<json>[\"'](?:{_CONFIDENTIAL})[\"']\s*:\s*[\"'])(?:[^\"'\\]|\\.)*",
            r"(?P<scheme>\b(?:bearer|basic)\s+)[\w\-.~+/=]+",
            r"(?P<login>://[^/\s:@]+:)[^/\s@]+(?=@)",
            r"\beyJ[\w-]+\.[\w-]+\.[\w-]*",  # a JWT
            r"\blb_[a-z]+_[\w-]{16,}",  # an API key of ours
            r"[\w\-+=.~!*]{64,}",  # opaque tokens, keys, sealed values
        )
    ),
    re.IGNORECASE,
)


def redact(text: str) -> str:
    """Return `text` with tokens, secrets, codes and keys masked, wherever they stand in it."""
    return _SECRET_TEXT.sub(lambda match: (match.group(match.lastgroup) if match.lastgroup else "") + MASK, text)


def _redacted(value: Any) -> Any:  # Any: log values are whatever the caller had at hand
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {k: MASK if _SECRET_NAME.match(str(k)) else _redacted(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_redacted(item) for item in value]
    return value if isinstance(value, (int, float, bool)) or value is None else redact(str(value))


def _redact_event(_logger: Any, _method: str, event: Mapping[str, Any]) -> Mapping[str, Any]:
    return {
        key: value if key.startswith("_") else MASK if _SECRET_NAME.match(key) else _redacted(value)
        for key, value in event.items()
    }


def configure_logging(settings: Settings) -> None:
    """Send every log line of this process, libraries' too, through the mask to standard error."""
    as_console = settings.log_format == "console" or (settings.log_format == "auto" and sys.stderr.isatty())
    renderer = structlog.dev.ConsoleRenderer() if as_console else structlog.processors.JSONRenderer()
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
    ]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _redact_event, renderer],
        )
    )
    logging.basicConfig(handlers=[handler], level=settings.log_level.upper(), force=True)
    for noisy in ("uvicorn.access", "aiohttp.access", "alembic.runtime.migration"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(settings.log_level.upper())),
        cache_logger_on_first_use=True,
    )


class Metrics:
    """What `/metrics` shows of one process. Labels never hold user ids, paths or anything else without bound."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.proxy_requests = Counter(
            "landbridge_proxy_requests", "Proxied requests by the status answered.", ["status"], registry=self.registry
        )
        self.proxy_seconds = Histogram(
            "landbridge_proxy_seconds",
            "Seconds from a proxied request's arrival to its last byte.",
            registry=self.registry,
            buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300),
        )
        self.proxy_in_flight = Gauge(
            "landbridge_proxy_in_flight", "Proxied requests being served now.", registry=self.registry
        )
        self.refreshes = Counter(
            "landbridge_token_refreshes", "Token refreshes by outcome.", ["outcome"], registry=self.registry
        )
        self.throttled = Counter(
            "landbridge_provider_throttled",
            "Provider answers that asked us to wait, by what was paused.",
            ["paused"],
            registry=self.registry,
        )
        self.installs = Counter(
            "landbridge_installs", "Sign-ins at the provider by outcome.", ["outcome"], registry=self.registry
        )

    def exposition(self) -> bytes:
        """Return the metrics in Prometheus's text format."""
        return generate_latest(self.registry)
