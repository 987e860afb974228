"""One frozen Settings, read once from the environment and handed down.

Every setting is a field below; its environment variable is `LANDBRIDGE_` and the field's name in capitals.
"""

from functools import cached_property
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from landbridge.errors import Misconfigured

Network = IPv4Network | IPv6Network


def _origin_or_prefix(url: str) -> str:
    """Return `url` without a trailing slash; the SDK joins by concatenation, so one would double."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("must be http(s)://host[:port][/prefix], without query or fragment")
    return url.rstrip("/")


def _comma_list(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


Url = Annotated[str, AfterValidator(_origin_or_prefix)]
CommaList = Annotated[tuple[str, ...], NoDecode, Field()]


class Settings(BaseSettings):
    """What an operator can set. Defaults are the embedded mode: one folder, SQLite, loopback."""

    model_config = SettingsConfigDict(env_prefix="LANDBRIDGE_", frozen=True, extra="ignore", env_ignore_empty=True)

    data_dir: Path = Field(default=Path(".landbridge"), description="Folder of the embedded database and the key file.")
    database_url: str | None = Field(
        default=None, description="`postgresql://…` or `sqlite:///path`. Unset: SQLite in the data folder."
    )
    files_url: str | None = Field(
        default=None,
        description="Where file contents lie between steps, and long values of the history: `file:///folder`, "
        "`s3://bucket/…`, `gs://bucket/…` or `az://container/…`. Unset: `files` in the data folder.",
    )
    sqlite_synchronous: Literal["FULL", "NORMAL"] = Field(
        default="FULL", description="FULL loses nothing on power cut; NORMAL commits ten times faster and may."
    )
    vault_keys: SecretStr | None = Field(
        default=None,
        description="Key ring as `id:base64,id:base64` (32 bytes each), the first one seals. Unset: a key file.",
    )
    vault_key_file: Path | None = Field(
        default=None, description="Where the embedded key ring lies. Unset: `vault.keys` in the data folder."
    )
    host: str = Field(default="127.0.0.1", description="Address that `serve` binds.")
    port: int = Field(default=8080, ge=0, le=65535, description="Port that `serve` binds.")
    public_url: Url | None = Field(
        default=None, description="Where browsers reach us; every link and the redirect URL derive from it."
    )
    zeus_public_url: Url | None = Field(default=None, description="Origin of the SDK's main API, if it has its own.")
    connect_public_url: Url | None = Field(default=None, description="Origin of the portal, if it has its own.")
    passport_public_url: Url | None = Field(
        default=None, description="Origin of the OAuth callback, if it has its own."
    )
    hermes_public_url: Url | None = Field(default=None, description="Origin of events and triggers, if it has its own.")
    worker_proxy_public_url: Url | None = Field(default=None, description="Origin of the proxy, if it has its own.")
    trusted_proxies: CommaList = Field(
        default=(), description="Addresses or networks whose `X-Forwarded-For` and `-Proto` are believed."
    )
    microsoft_login_url: Url = Field(
        default="https://login.microsoftonline.com",
        description="Microsoft's sign-in, a national cloud's, or the sandbox.",
    )
    microsoft_graph_url: Url = Field(
        default="https://graph.microsoft.com", description="Microsoft Graph, a national cloud's, or a sandbox's."
    )
    outbound_allow: CommaList = Field(
        default=(), description="Private addresses, networks or host names that may be called all the same."
    )
    user_agent: str = Field(
        default="ISV|Landbridge|Landbridge/0.1",
        description="Our name to Microsoft (`ISV|Company|App/1.0`).",
    )
    log_format: Literal["auto", "console", "json"] = Field(
        default="auto", description="`auto` is `console` on a terminal and `json` elsewhere."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="Least level logged.")
    runs_at_once: int = Field(default=16, ge=1, le=1000, description="Runs that one worker works on at a time.")
    runs_per_project: int = Field(
        default=100, ge=1, description="Runs of one project that are worked on at a time, by all workers together."
    )
    runs_per_connection: int = Field(
        default=10, ge=1, description="Runs on one connection that are worked on at a time, by all workers together."
    )
    history_days: int = Field(
        default=90, ge=2, le=36_500, description="Days for which it is kept what became of a run that is over."
    )
    worker: bool = Field(default=True, description="Whether `serve` runs a worker child for background work.")

    @model_validator(mode="before")
    @classmethod
    def _split_lists(cls, values: dict[str, object]) -> dict[str, object]:
        return {k: _comma_list(v) if k in {"trusted_proxies", "outbound_allow"} else v for k, v in values.items()}

    @model_validator(mode="after")
    def _no_service_url_says_proxy(self) -> Self:
        for name in ("public_url", "zeus_public_url", "connect_public_url", "passport_public_url", "hermes_public_url"):
            if "proxy" in (getattr(self, name) or "").lower():
                raise ValueError(
                    f"LANDBRIDGE_{name.upper()} contains the letters «proxy»: the browser SDK would take every answer "
                    "for a proxied one. Choose another host name or prefix."
                )
        return self

    @classmethod
    def from_environment(cls, **overrides: object) -> Self:
        """Return the settings of this process, or raise `Misconfigured` naming each wrong variable."""
        try:
            return cls(**overrides)  # type: ignore[arg-type]  # values arrive as text and are parsed by the fields
        except ValidationError as error:
            raise Misconfigured(_in_plain_words(error)) from None

    @property
    def base_url(self) -> str:
        """Where browsers reach us, without a trailing slash."""
        return self.public_url or f"http://{_for_url(self.host)}:{self.port}"

    @property
    def zeus_url(self) -> str:
        """Base of the SDK's main API and of the nonce page."""
        return self.zeus_public_url or self.base_url

    @property
    def passport_url(self) -> str:
        """Base of the OAuth callback."""
        return self.passport_public_url or self.base_url

    @property
    def redirect_url(self) -> str:
        """What the operator registers at Microsoft, letter by letter."""
        return f"{self.passport_url}/oauth"

    @property
    def connect_url(self) -> str:
        """Base of the portal."""
        return self.connect_public_url or self.base_url

    @property
    def key_file(self) -> Path:
        """Where the embedded key ring lies."""
        return self.vault_key_file or self.data_dir / "vault.keys"

    @property
    def effective_database_url(self) -> str:
        """The database in use, as `sqlite:///…` or `postgresql://…`."""
        return self.database_url or f"sqlite:///{(self.data_dir / 'landbridge.db').absolute()}"

    @property
    def effective_files_url(self) -> str:
        """Where file contents lie between steps."""
        return self.files_url or (self.data_dir / "files").absolute().as_uri()

    @property
    def is_embedded(self) -> bool:
        """Whether the database is the default one, which `serve` migrates by itself."""
        return self.database_url is None

    @cached_property
    def allowed_networks(self) -> tuple[Network, ...]:
        """The networks that `outbound_allow` names."""
        return tuple(network for entry in self.outbound_allow if (network := _network(entry)))

    @cached_property
    def allowed_hosts(self) -> frozenset[str]:
        """The host names, `host` or `host:port`, that `outbound_allow` names."""
        return frozenset(entry.lower() for entry in self.outbound_allow if _network(entry) is None)


def _network(entry: str) -> Network | None:
    try:
        return ip_network(entry, strict=False)
    except ValueError:
        return None


def _for_url(host: str) -> str:
    return "localhost" if host in {"", "0.0.0.0", "::"} else f"[{host}]" if ":" in host else host  # noqa: S104


def _in_plain_words(error: ValidationError) -> str:
    problems = []
    for problem in error.errors():
        name = "LANDBRIDGE_" + str(problem["loc"][0]).upper() if problem["loc"] else "settings"
        problems.append(f"{name}: {problem['msg'].removeprefix('Value error, ')}")
    return "; ".join(problems)
