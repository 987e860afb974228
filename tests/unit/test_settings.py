"""A wrong setting is named by its variable before anything starts, and a right one reaches who needs it."""

from ipaddress import ip_network
from pathlib import Path

import pytest

from landbridge.errors import Misconfigured
from landbridge.settings import Settings

WRONG = {
    "SQLITE_SYNCHRONOUS": "OFF",
    "PORT": "80800",
    "PUBLIC_URL": "lb.example",
    "ZEUS_PUBLIC_URL": "ftp://lb.example",
    "CONNECT_PUBLIC_URL": "https://",
    "PASSPORT_PUBLIC_URL": "https://lb.example?x=1",
    "HERMES_PUBLIC_URL": "https://lb.example#x",
    "WORKER_PROXY_PUBLIC_URL": "//lb.example",
    "MICROSOFT_LOGIN_URL": "login.microsoftonline.com",
    "MICROSOFT_GRAPH_URL": "file:///etc/passwd",
    "LOG_FORMAT": "xml",
    "LOG_LEVEL": "loud",
    "WORKER": "perhaps",
}
SERVICE_URLS = ["PUBLIC_URL", "ZEUS_PUBLIC_URL", "CONNECT_PUBLIC_URL", "PASSPORT_PUBLIC_URL", "HERMES_PUBLIC_URL"]


@pytest.mark.parametrize(("name", "value"), WRONG.items())
def test_a_wrong_value_is_refused_by_the_name_of_its_variable(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"LANDBRIDGE_{name}", value)
    with pytest.raises(Misconfigured, match=f"^LANDBRIDGE_{name}: "):
        Settings.from_environment()


def test_every_wrong_value_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANDBRIDGE_PORT", "http")
    monkeypatch.setenv("LANDBRIDGE_LOG_LEVEL", "loud")
    with pytest.raises(Misconfigured, match=r"LANDBRIDGE_PORT: .*; LANDBRIDGE_LOG_LEVEL: "):
        Settings.from_environment()


@pytest.mark.parametrize("name", SERVICE_URLS)
@pytest.mark.parametrize("url", ["https://proxy.example", "https://lb.example/my-proxy", "https://PROXY.example"])
def test_a_service_url_with_the_letters_proxy_is_refused_since_the_sdk_would_misread_every_answer(
    name: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"LANDBRIDGE_{name}", url)
    with pytest.raises(Misconfigured, match=f"LANDBRIDGE_{name} contains the letters «proxy»"):
        Settings.from_environment()


def test_the_proxys_own_origin_may_say_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANDBRIDGE_WORKER_PROXY_PUBLIC_URL", "https://proxy.example")
    assert Settings.from_environment().worker_proxy_public_url == "https://proxy.example"


def test_every_link_derives_from_the_public_url_unless_a_service_has_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANDBRIDGE_PUBLIC_URL", "https://lb.example/prefix/")
    monkeypatch.setenv("LANDBRIDGE_CONNECT_PUBLIC_URL", "https://portal.example")
    settings = Settings.from_environment()
    assert settings.base_url == settings.zeus_url == settings.passport_url == "https://lb.example/prefix"
    assert settings.redirect_url == "https://lb.example/prefix/oauth"
    assert settings.connect_url == "https://portal.example"


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8080"),
        ("0.0.0.0", "http://localhost:8080"),
        ("::", "http://localhost:8080"),
        ("::1", "http://[::1]:8080"),
    ],
)
def test_without_a_public_url_links_point_at_where_we_listen(host: str, url: str) -> None:
    assert Settings(host=host).base_url == url


def test_lists_are_written_with_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANDBRIDGE_OUTBOUND_ALLOW", "10.0.0.0/8, Graph.Local ,files.local:9000,::1,")
    monkeypatch.setenv("LANDBRIDGE_TRUSTED_PROXIES", "10.1.2.3,10.2.0.0/16")
    settings = Settings.from_environment()
    assert settings.allowed_networks == (ip_network("10.0.0.0/8"), ip_network("::1"))
    assert settings.allowed_hosts == {"graph.local", "files.local:9000"}
    assert settings.trusted_proxies == ("10.1.2.3", "10.2.0.0/16")


def test_an_empty_variable_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANDBRIDGE_PUBLIC_URL", "")
    monkeypatch.setenv("LANDBRIDGE_OUTBOUND_ALLOW", "")
    settings = Settings.from_environment()
    assert settings.public_url is None
    assert settings.outbound_allow == ()


def test_by_default_everything_is_in_one_folder(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    assert settings.is_embedded
    assert settings.effective_database_url == f"sqlite:///{tmp_path}/landbridge.db"
    assert settings.key_file == tmp_path / "vault.keys"
    assert not Settings(database_url="postgresql://db/landbridge").is_embedded


def test_neither_the_settings_nor_what_is_wrong_with_them_show_the_key_ring(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANDBRIDGE_VAULT_KEYS", "k1:canary")
    assert "canary" not in repr(Settings.from_environment())
    monkeypatch.setenv("LANDBRIDGE_PORT", "http")
    with pytest.raises(Misconfigured) as caught:
        Settings.from_environment()
    assert "canary" not in str(caught.value)


def test_every_setting_says_what_it_is_for() -> None:
    assert [name for name, field in Settings.model_fields.items() if not (field.description or "").strip()] == []
