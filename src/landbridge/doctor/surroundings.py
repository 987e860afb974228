"""What can be said of the installation itself: pure functions of the settings, of a file's mode, of two clocks."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from landbridge.doctor.findings import Finding, ok, problem, warning
from landbridge.errors import LandbridgeError, OutboundRefused
from landbridge.providers.microsoft import Discovery
from landbridge.settings import Settings

_METADATA = (ip_address("169.254.169.254"), ip_address("fd00:ec2::254"))
_LONGEST_REDIRECT_URL = 256
_NOT_IN_REDIRECT_URLS = frozenset("!$'(),;")
_CLOCKS_DIFFER = timedelta(minutes=1)
_CLOCKS_BREAK_SIGN_IN = timedelta(minutes=5)


def judge_settings(settings: Settings) -> list[Finding]:
    """Return what is to be said of the settings alone."""
    checks = (_public_urls, _service_names, _redirect_url, _provider_urls, _outbound_allow)
    return [finding for check in checks for finding in check(settings)]


def is_loopback(url: str) -> bool:
    """Whether a URL names the machine itself."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _service_urls(settings: Settings) -> dict[str, str]:
    named = {
        "LANDBRIDGE_ZEUS_PUBLIC_URL": settings.zeus_public_url,
        "LANDBRIDGE_CONNECT_PUBLIC_URL": settings.connect_public_url,
        "LANDBRIDGE_PASSPORT_PUBLIC_URL": settings.passport_public_url,
        "LANDBRIDGE_HERMES_PUBLIC_URL": settings.hermes_public_url,
        "LANDBRIDGE_WORKER_PROXY_PUBLIC_URL": settings.worker_proxy_public_url,
    }
    return {"LANDBRIDGE_PUBLIC_URL": settings.base_url} | {name: url for name, url in named.items() if url}


def _public_urls(settings: Settings) -> Iterator[Finding]:
    check = "settings.public_url"
    in_clear = {
        name: url
        for name, url in _service_urls(settings).items()
        if not url.startswith("https:") and not is_loopback(url)
    }
    for name, url in in_clear.items():
        yield problem(
            check,
            f"{url} is not https: tokens travel in clear, and Microsoft takes no such redirect URL.",
            f"Put TLS in front (docs/how-to/deploy.md) and set {name} to the https:// address.",
            setting=name,
        )
    if not in_clear and settings.public_url is None and settings.host in {"", "0.0.0.0", "::"}:  # noqa: S104
        yield warning(
            check,
            f"The server listens on every address, but its links and the redirect URL say {settings.base_url}.",
            "Set LANDBRIDGE_PUBLIC_URL to the address that browsers use.",
            setting="LANDBRIDGE_PUBLIC_URL",
        )
    elif not in_clear:
        yield ok(check, f"Browsers are sent to {settings.base_url}{_where(settings.base_url)}.")


def _where(url: str) -> str:
    return ", which only this machine reaches" if is_loopback(url) else ""


def _service_names(settings: Settings) -> Iterator[Finding]:
    for name, url in _service_urls(settings).items():
        if name != "LANDBRIDGE_WORKER_PROXY_PUBLIC_URL" and "proxy" in url.lower():
            yield problem(
                "settings.service_urls",
                f"{url} contains the letters «proxy»: the browser SDK would take every answer for a proxied one.",
                f"Choose another host name or prefix, and set {name} to it.",
                setting=name,
            )


def _redirect_url(settings: Settings) -> Iterator[Finding]:
    check, url = "settings.redirect_url", settings.redirect_url
    remedy = "Set LANDBRIDGE_PUBLIC_URL, or LANDBRIDGE_PASSPORT_PUBLIC_URL if the callback has an origin of its own."
    host = urlsplit(url).hostname or ""
    if len(url) > _LONGEST_REDIRECT_URL or _NOT_IN_REDIRECT_URLS & set(url):
        yield problem(
            check, f"Microsoft takes no redirect URL like {url}: at most 256 characters, none of ! $ ' ( ) , ;", remedy
        )
    elif host == "::1":
        yield problem(check, f"Microsoft takes no redirect URL on [::1], and this one is {url}.", remedy)
    elif host == "127.0.0.1" and not is_loopback(settings.microsoft_login_url):
        yield warning(
            check,
            f"The Azure portal refuses {url}; it can only be written into the app's manifest there.",
            "Set LANDBRIDGE_PUBLIC_URL to the same address with localhost, and open everything there.",
        )
    else:
        yield ok(check, f"The redirect URL to register is {url}", redirectUrl=url)


def _provider_urls(settings: Settings) -> Iterator[Finding]:
    for name, url in provider_urls(settings).items():
        if not url.startswith("https:") and not is_loopback(url):
            yield problem(
                "settings.microsoft_urls",
                f"{url} is not https: client secrets and tokens would travel in clear.",
                f"Set {name} to an https:// address, or leave it out for Microsoft's own.",
                setting=name,
            )


def provider_urls(settings: Settings) -> dict[str, str]:
    """Return Microsoft's addresses by the setting that names each."""
    return {
        "LANDBRIDGE_MICROSOFT_LOGIN_URL": settings.microsoft_login_url,
        "LANDBRIDGE_MICROSOFT_GRAPH_URL": settings.microsoft_graph_url,
    }


def _outbound_allow(settings: Settings) -> Iterator[Finding]:
    for network in settings.allowed_networks:
        if any(address in network for address in _METADATA if address.version == network.version):
            yield warning(
                "settings.outbound_allow",
                f"LANDBRIDGE_OUTBOUND_ALLOW names {network}, which holds the address at which clouds hand out a "
                "machine's own credentials.",
                "Name the single host and port instead, as host:port.",
                setting="LANDBRIDGE_OUTBOUND_ALLOW",
            )


def judge_key_file(path: Path, mode: int, folder_mode: int) -> Finding:
    """Return the finding for the key ring's file, from the permission bits of the file and of its folder."""
    if mode & 0o077:
        return problem(
            "vault.key_file",
            f"{path} may be read by others on this machine (mode {mode & 0o777:04o}): with it and the database they "
            "read every token.",
            f"Run `chmod 600 {path}`. If others have had access, run `landbridge keys rotate` too.",
        )
    if folder_mode & 0o022 and not folder_mode & 0o1000:
        return warning(
            "vault.key_file",
            f"Others on this machine may replace the key ring: {path.parent} has mode {folder_mode & 0o777:04o}.",
            f"Run `chmod go-w {path.parent}`.",
        )
    return ok("vault.key_file", f"Only its owner reads {path}. Keep a copy apart from the backups of the data.")


def judge_clock(ours: datetime, theirs: datetime) -> Finding:
    """Return the finding for this machine's clock beside Microsoft's."""
    apart = abs(ours - theirs)
    which = "ahead of" if ours > theirs else "behind"
    message = f"This machine's clock is {apart.total_seconds():.0f} s {which} Microsoft's"
    remedy = "Have the clock set by NTP: `timedatectl set-ntp true`, or as the machine's platform does it."
    if apart >= _CLOCKS_BREAK_SIGN_IN:
        return problem(
            "microsoft.clock", f"{message}: sign-ins fail, since their tokens look expired or not yet valid.", remedy
        )
    if apart >= _CLOCKS_DIFFER:
        return warning("microsoft.clock", f"{message}; from five minutes on sign-ins fail.", remedy)
    return ok("microsoft.clock", "This machine's clock agrees with Microsoft's.")


def judge_reach(
    settings: Settings,
    described: Sequence[Discovery | LandbridgeError],
    graph: LandbridgeError | None,
    now: datetime,
) -> tuple[list[Finding], bool]:
    """Return the findings for how Microsoft's hosts answer, and whether the login host is worth more questions."""
    refused = {
        name: url
        for (name, url), answers in zip(provider_urls(settings).items(), (described, [graph]), strict=True)
        if any(isinstance(answer, OutboundRefused) for answer in answers)
    }
    findings = [_refused(settings, refused)] if refused else []
    discovery = next((answer for answer in described if isinstance(answer, Discovery)), None)
    silence = next((answer for answer in described if _is_silence(answer)), None)
    if discovery:
        findings += _described(settings, discovery, now)
    elif not refused and isinstance(silence, LandbridgeError):
        message = f"{settings.microsoft_login_url} does not answer as it should: {silence.message}"
        findings.append(
            problem(
                "microsoft.login", f"{message} Nothing else could be asked of Microsoft.", _REACH, code=silence.code
            )
        )
    if graph is None:
        findings.append(ok("microsoft.graph", f"{settings.microsoft_graph_url} answers."))
    elif not isinstance(graph, OutboundRefused):
        findings.append(problem("microsoft.graph", graph.message, _REACH, code=graph.code))
    return findings, silence is None


_REACH = (
    "Check that this machine reaches the address (DNS, firewall, TLS inspection), and that "
    "LANDBRIDGE_MICROSOFT_LOGIN_URL and LANDBRIDGE_MICROSOFT_GRAPH_URL are right."
)


def _is_silence(answer: Discovery | LandbridgeError) -> bool:
    """Whether this is no answer of a login host: one that says what is wrong (an unknown tenant) is alive."""
    return isinstance(answer, LandbridgeError) and not answer.meta.get("providerError")


def _refused(settings: Settings, urls: Mapping[str, str]) -> Finding:
    """Return the finding for configured addresses that our own guard refuses to call."""
    value = ",".join(dict.fromkeys((*settings.outbound_allow, *(_allow_entry(url) for url in urls.values()))))
    named = " and ".join(f"{name} ({url})" for name, url in urls.items())
    return problem(
        "outbound.allow",
        f"Private and loopback addresses are not called unless they are allowed, which concerns {named}.",
        f"Set LANDBRIDGE_OUTBOUND_ALLOW={value} if that is meant, or leave the addresses out for Microsoft's own.",
        setting="LANDBRIDGE_OUTBOUND_ALLOW",
        value=value,
    )


def _allow_entry(url: str) -> str:
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or {"http": 80, "https": 443}[parts.scheme]
    return host if ":" in host else f"{host}:{port}"


def _described(settings: Settings, discovery: Discovery, now: datetime) -> Iterator[Finding]:
    login, graph = settings.microsoft_login_url, settings.microsoft_graph_url
    elsewhere = [url for url in (discovery.authorize_url, discovery.token_url) if not url.startswith(f"{login}/")]
    if elsewhere:
        yield problem(
            "microsoft.login",
            f"{login} says that sign-in is at {elsewhere[0]}.",
            "Set LANDBRIDGE_MICROSOFT_LOGIN_URL to the scheme and host of that address.",
            setting="LANDBRIDGE_MICROSOFT_LOGIN_URL",
        )
    else:
        yield ok("microsoft.login", f"{login} answers.")
    if discovery.at:
        yield judge_clock(now, discovery.at)
    if discovery.graph_host not in {None, urlsplit(graph).hostname} and not is_loopback(graph):
        yield warning(
            "microsoft.cloud",
            f"{login} signs in to the cloud of {discovery.graph_host}, but Graph is called at {graph}.",
            f"Set LANDBRIDGE_MICROSOFT_GRAPH_URL=https://{discovery.graph_host}, or change the login address.",
            setting="LANDBRIDGE_MICROSOFT_GRAPH_URL",
        )
