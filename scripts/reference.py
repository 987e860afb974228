"""Writes the generated parts of `docs/reference` anew: `make docs`. Tests compare them, so that none goes stale."""

import sys
from collections.abc import Callable, Mapping

from landbridge.providers.aadsts import EXPLANATIONS, Who
from scripts.setup import TREE

_MICROSOFT_ERRORS = """\
# Microsoft's errors, explained

Microsoft's sign-in names each failure with a code that begins with AADSTS. Landbridge shows the cause and the remedy
beside the code wherever one comes up: in `landbridge doctor`, and in the `meta` of an API error as `providerCodes`,
`cause` and `providerRemedy`. This page holds them all, sorted by who can mend it.

No part of Landbridge decides by these codes, since Microsoft may change them at any time; it decides by the field
`error`, as [Microsoft asks](https://learn.microsoft.com/entra/identity-platform/reference-error-codes). The causes and
remedies are in our own words, gathered from that page and from traces that others published.

This page is generated from `src/landbridge/providers/aadsts.py` by `make docs`.
"""

_HEADINGS = {
    Who.OPERATOR: (
        "You, who run Landbridge",
        "The settings here and in Azure do not fit together. Run `landbridge doctor`.",
    ),
    Who.ADMIN: (
        "An administrator of the user's organization",
        "The organization's rules say no. Its administrator finds the sign-in under *Sign-in logs*, by correlation id.",
    ),
    Who.USER: ("The user", "The portal asks them to connect again; nothing is lost by it."),
    Who.TIME: ("Nobody: it passes", "Microsoft's own troubles. Connections keep serving while their token is good."),
    Who.DEVELOPERS: ("Landbridge's developers", "A request that Landbridge should never send."),
}


def microsoft_errors() -> str:
    """Return the page of all AADSTS codes that we explain."""
    return "\n".join([_MICROSOFT_ERRORS, *(_section(who) for who in Who)])


def _section(who: Who) -> str:
    title, lead = _HEADINGS[who]
    rows = "\n".join(
        f"| AADSTS{code} | {explanation.cause} | {explanation.remedy} |"
        for code, explanation in sorted(EXPLANATIONS.items())
        if explanation.who is who
    )
    return f"## {title}\n\n{lead}\n\n| code | cause | remedy |\n|---|---|---|\n{rows}\n"


PAGES: Mapping[str, Callable[[], str]] = {"docs/reference/microsoft-errors.md": microsoft_errors}
"""Each generated page, and what writes it."""


def main() -> None:
    """Write every generated page."""
    for path, write in PAGES.items():
        (TREE / path).parent.mkdir(parents=True, exist_ok=True)
        (TREE / path).write_text(write(), encoding="utf-8")
        sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    main()
