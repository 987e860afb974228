"""The manifests that ship are good, and a bad one is named with what is wrong."""

from importlib.resources import files
from pathlib import Path

import pytest

from landbridge.catalog import Catalog, Manifest, integration_id
from landbridge.errors import Misconfigured, NotFound

SHIPPED = list(Catalog.read(files("landbridge.integrations")))

GOOD = """
name = "Widgets"
provider = "microsoft"
description = "Connect your widgets"
overview = "All of them."
brand_color = "#000000"
documentation = "https://widgets.example"
[api]
url = "https://api.widgets.example"
version = "/v1"
[[scopes]]
name = "Widgets.Read"
description = "Read widgets."
default = true
[[scopes]]
name = "offline_access"
description = "Stay."
required = true
"""


def _integration(folder: Path, manifest: str, *, icon: bool = True) -> Path:
    (folder / "widgets").mkdir()
    (folder / "widgets" / "manifest.toml").write_text(manifest)
    if icon:
        (folder / "widgets" / "icon.svg").write_text("<svg/>")
    return folder


def test_onedrive_ships() -> None:
    assert "onedrive" in [manifest.type for manifest in SHIPPED]


@pytest.mark.parametrize("manifest", SHIPPED, ids=lambda manifest: manifest.type)
def test_every_scope_of_a_shipped_integration_is_described_in_a_sentence_and_named_once(manifest: Manifest) -> None:
    names = [scope.name for scope in manifest.scopes]
    assert len(names) == len(set(names))
    assert [scope.name for scope in manifest.scopes if not scope.description.endswith(".")] == []
    assert [scope.name for scope in manifest.scopes if len(scope.description) < 15] == []


@pytest.mark.parametrize("manifest", SHIPPED, ids=lambda manifest: manifest.type)
def test_every_shipped_integration_asks_for_what_keeps_it_connected_and_for_something_by_default(
    manifest: Manifest,
) -> None:
    assert {"offline_access", "openid", "profile"} <= set(manifest.required_scopes)
    assert manifest.default_scopes
    assert not set(manifest.default_scopes) & set(manifest.required_scopes)
    assert manifest.icon.startswith(b"<svg")


def test_a_folder_with_a_manifest_is_an_integration_and_other_folders_are_not(tmp_path: Path) -> None:
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "README.md").write_text("")
    catalog = Catalog.read(_integration(tmp_path, GOOD))
    widgets = catalog.get("widgets")
    assert [manifest.type for manifest in catalog] == ["widgets"]
    assert (widgets.name, widgets.icon) == ("Widgets", b"<svg/>")
    assert widgets.required_scopes == ("offline_access",)
    assert widgets.default_scopes == ("Widgets.Read",)
    assert widgets.unknown_scopes(["Widgets.Read", "Z", "A"]) == ["A", "Z"]


@pytest.mark.parametrize(
    ("good", "bad", "named"),
    [
        ('name = "Widgets"', "", "name"),
        ('name = "Widgets"', "name = 3", "name"),
        ('brand_color = "#000000"', 'colour = "#000000"', "colour"),
        ("https://api.widgets.example", "http://api.widgets.example", "api.url"),
        ("https://api.widgets.example", "https://api.widgets.example/", "api.url"),
        ('version = "/v1"', 'version = "v1"', "api.version"),
        ('description = "Read widgets."', "", "scopes.0.description"),
        ("default = true", "defualt = true", "scopes.0.defualt"),
        ("[api]", "[api", "line 8"),
    ],
)
def test_a_bad_manifest_is_named_with_the_place_that_is_wrong(tmp_path: Path, good: str, bad: str, named: str) -> None:
    folder = _integration(tmp_path, GOOD.replace(good, bad, 1))
    with pytest.raises(Misconfigured, match=f"(?s)manifest of widgets cannot be read.*{named}"):
        Catalog.read(folder)


def test_a_manifest_without_its_icon_is_named(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"manifest of widgets cannot be read.*icon\.svg"):
        Catalog.read(_integration(tmp_path, GOOD, icon=False))


def test_a_manifest_in_another_encoding_is_named(tmp_path: Path) -> None:
    folder = _integration(tmp_path, GOOD)
    (folder / "widgets" / "manifest.toml").write_bytes(GOOD.replace("All", "Für").encode("latin-1"))
    with pytest.raises(Misconfigured, match="manifest of widgets cannot be read"):
        Catalog.read(folder)


def test_an_unknown_integration_is_not_found_and_the_answer_says_what_there_is() -> None:
    with pytest.raises(NotFound, match=r"no integration “dropbox”. There is: onedrive\."):
        Catalog(SHIPPED).get("dropbox")


def test_the_id_of_an_integration_is_the_same_for_ever_and_another_in_every_project() -> None:
    assert integration_id("project", "onedrive") == "54b5f7d6-bdbf-5adb-a3ee-68a0ca8435a7"
    assert integration_id("project", "onedrive") != integration_id("other", "onedrive")
