"""The guides name only what there is."""

import re

from scripts.reference import PAGES
from scripts.setup import TREE

from landbridge.settings import Settings

GUIDES = [*TREE.glob("*.md"), *TREE.glob("docs/**/*.md"), *TREE.glob("packaging/*"), TREE / "Containerfile"]


def test_every_setting_that_a_guide_names_exists() -> None:
    settings = {f"LANDBRIDGE_{name.upper()}" for name in Settings.model_fields}
    options = {
        name
        for source in TREE.glob("src/landbridge/**/*.py")
        for name in re.findall(r'envvar="(\w+)"', source.read_text(encoding="utf-8"))
    }

    unknown = [
        f"{guide.relative_to(TREE)}: {name}"
        for guide in GUIDES
        for name in re.findall(r"\bLANDBRIDGE_[A-Z_]*[A-Z]\b", guide.read_text(encoding="utf-8"))
        if name not in settings | options
    ]

    assert unknown == []


def test_every_code_that_the_azure_guide_names_is_explained() -> None:
    guide = (TREE / "docs" / "how-to" / "azure.md").read_text(encoding="utf-8")
    explained = PAGES["docs/reference/microsoft-errors.md"]()

    codes = re.findall(r"AADSTS\d+", guide)

    assert codes
    assert [code for code in codes if f"| {code} |" not in explained] == []


def test_every_link_between_our_pages_leads_somewhere() -> None:
    broken = [
        f"{guide.relative_to(TREE)}: {target}"
        for guide in GUIDES
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", guide.read_text(encoding="utf-8"))
        if not (guide.parent / target).exists()
    ]

    assert broken == []
