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


def test_decisions_are_numbered_in_the_order_in_which_they_were_taken() -> None:
    """Two branches may take the same number; the one that lands later takes the next."""
    decisions = sorted(TREE.glob("docs/decisions/[0-9]*.md"))

    numbers = [decision.name.partition("-")[0] for decision in decisions]
    titles = [decision.read_text(encoding="utf-8").partition(" ")[2].partition(".")[0] for decision in decisions]

    assert numbers == [f"{number:04}" for number in range(1, len(decisions) + 1)]
    assert titles == [str(int(number)) for number in numbers]
