"""Logs, metrics, and the mask that keeps secrets out of both.

Redaction is a net under the tightrope: no room logs a secret on purpose, and what slips through, in an exception's text
or a URL, is masked here before it is written.
"""

import logging
import re
import sys
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, Counter, Metric, ProcessCollector, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from landbridge.settings import Settings

MASK = "[redacted]"

_GUARDED = (
    "access_token|refresh_token|id_token|usertoken|token|tempauth|client_secret|client_assertion|code_verifier|"
    "password|secret|authorization|cookie|set-cookie|api_key|private_key|database_url|sig|assertion"
)
_GUARDED_UNLESS_PLAIN = "code|state"
"""OAuth's, but also names that we and everybody use for plain words and numbers, which an operator needs to see."""

_PLAIN = re.compile(r"(?:[a-z_]{0,32}|\d{1,9})[).,;:]*")
_SECRET_NAME = re.compile(rf"(?:x-)?(?:{_GUARDED})", re.IGNORECASE)
_BEGIN = r"(?:(?<![^\W_])|(?<=%[0-9a-f]{2}))(?:x-)?"
_IN_URL, _URL_VALUE = r"(?:=|%3D)", r"[^&\s\"'<>]+"  # a query string or form, perhaps in another one
_QUOTED, _QUOTED_VALUE = r"(?:\\*[\"'])?\s*[:,=]\s*b?\\*[\"']", r"(?:[^\"'\\]|\\.)*"  # JSON, or as Python prints it
_SECRET_TEXT = re.compile(
    "|".join(
        (
            rf"(?P<url>{_BEGIN}(?:{_GUARDED}){_IN_URL}){_URL_VALUE}",
            rf"(?P<quoted>{_BEGIN}(?:{_GUARDED}){_QUOTED}){_QUOTED_VALUE}",
            rf"(?P<plain_url>{_BEGIN}(?:{_GUARDED_UNLESS_PLAIN}){_IN_URL}){_URL_VALUE}",
            rf"(?P<plain_quoted>{_BEGIN}(?:{_GUARDED_UNLESS_PLAIN}){_QUOTED}){_QUOTED_VALUE}",
            r"(?P<header>\b(?:authorization|cookie|set-cookie):\s*)[^\r\n]+",
            r"(?P<scheme>\b(?:bearer|basic)\s+)[\w\-.~+/=]+",
            r"(?P<login>://[^/\s:@]+:)[^/\s@]+(?=@)",
            r"(?P<ring>[\w.-]+:)[A-Za-z0-9+/]{43}=",  # an entry of the key ring
            r"\beyJ[\w-]+\.[\w-]+\.[\w-]*",  # a JWT
            r"\blb_[a-z]+_[\w-]{16,}",  # an API key of ours
            r"[\w.~-]{3}\dQ~[\w.~-]{20,}",  # a client secret of Microsoft's
            r"[\w\-+=.~!*$%]{64,}",  # opaque tokens, sealed values
            r"[\w+/]{100,}",  # the same in base64
        )
    ),
    re.IGNORECASE,
)


_MAY_HOLD = re.compile(r"[\s=%@\"']|authorization:|cookie:|eyj|lb_|q~", re.IGNORECASE)
"""What is in every short text that holds a secret: each kind above has one of these, or 64 characters."""

_SHORT = 64
_AT_ONCE, _OVERLAP = 16 << 10, 4 << 10  # characters, the second more than what it takes to tell a secret


def redact(text: str) -> str:
    """Return `text` with tokens, secrets, codes and keys masked, wherever they stand in it."""
    if len(text) < _SHORT and not _MAY_HOLD.search(text):  # as most names, ids and addresses, at a tenth of the cost
        return text
    return _SECRET_TEXT.sub(_masked, text) if len(text) <= _AT_ONCE else "".join(_redacted_by_pieces(text))


def _redacted_by_pieces(text: str) -> Iterator[str]:
    """Yield a long text masked, so that other threads have their turn: half a second goes by for each million."""
    at = 0
    while at < len(text):
        end = at + _AT_ONCE
        for match in _SECRET_TEXT.finditer(text, at, end + _OVERLAP):
            if match.start() >= end:
                break
            if match.end() == end + _OVERLAP:  # it may go on
                match = _SECRET_TEXT.match(text, match.start()) or match  # noqa: PLW2901 - the same one, whole
            yield text[at : match.start()]
            yield _masked(match)
            at = match.end()
        yield text[at:end]
        at = max(at, end)


def _masked(match: re.Match[str]) -> str:
    kept = match[match.lastgroup] if match.lastgroup else ""
    secret = match[0].removeprefix(kept)
    may_be_plain = match.lastgroup in {"plain_url", "plain_quoted"}
    return match[0] if may_be_plain and _PLAIN.fullmatch(secret) else kept + MASK


def _is_secret(name: str, value: object) -> bool:
    if name.lower() in _GUARDED_UNLESS_PLAIN.split("|"):
        return not _PLAIN.fullmatch(str(value))
    return bool(_SECRET_NAME.fullmatch(name))


def _redacted(value: Any) -> Any:  # Any: log values are whatever the caller had at hand
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {redact(str(k)): MASK if _is_secret(str(k), v) else _redacted(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_redacted(item) for item in value]
    return value if isinstance(value, (int, float, bool)) or value is None else redact(str(value))


def _redact_event(_logger: Any, _method: str, event: Mapping[str, Any]) -> Mapping[str, Any]:
    return {
        key: value if key.startswith("_") else MASK if _is_secret(key, value) else _redacted(value)
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
    for noisy in ("uvicorn.access", "alembic.runtime.migration"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(settings.log_level.upper())),
        cache_logger_on_first_use=True,
    )


class Proxied(Collector):
    """Proxied requests, as Prometheus's own counter, histogram and gauge show them.

    At a third of their cost, a microsecond and a half for a request: nothing is locked, since one event loop counts.
    """

    _BOUNDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0)

    def __init__(self) -> None:
        self.in_flight = 0
        self._by_status: dict[int, int] = {}
        self._by_bound = [0] * (len(self._BOUNDS) + 1)
        self._seconds = 0.0

    def note(self, status: int, seconds: float) -> None:
        """Count a request by the status answered and by the seconds from its arrival to its last byte."""
        self._by_status[status] = self._by_status.get(status, 0) + 1
        self._by_bound[bisect_left(self._BOUNDS, seconds)] += 1
        self._seconds += seconds

    def collect(self) -> Iterator[Metric]:
        """Yield what Prometheus is shown."""
        requests = CounterMetricFamily(
            "landbridge_proxy_requests", "Proxied requests by the status answered.", labels=["status"]
        )
        for status, count in self._by_status.items():
            requests.add_metric([str(status)], count)
        bounds = [*map(floatToGoString, self._BOUNDS), "+Inf"]
        yield requests
        yield HistogramMetricFamily(
            "landbridge_proxy_seconds",
            "Seconds from a proxied request's arrival to its last byte.",
            buckets=list(zip(bounds, accumulate(self._by_bound), strict=True)),
            sum_value=self._seconds,
        )
        yield GaugeMetricFamily(
            "landbridge_proxy_in_flight", "Proxied requests being served now.", value=self.in_flight
        )


class Metrics:
    """What `/metrics` shows of one process. Labels never hold user ids, paths or anything else without bound."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.proxied = Proxied()
        self.registry.register(self.proxied)
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
