"""Writes the generated parts of `docs/reference` anew: `make docs`. Tests compare them, so that none goes stale."""

import sys
from collections.abc import Callable, Iterator, Mapping

import landbridge.app  # noqa: F401  # loads every room, and with it every error that a room adds to the tree
from landbridge.errors import LandbridgeError
from landbridge.providers.aadsts import EXPLANATIONS, Who
from landbridge.settings import Settings
from scripts.setup import TREE

_MICROSOFT_ERRORS = """\
# Microsoft's errors, explained

Microsoft's sign-in names each failure with a code that begins with AADSTS. Landbridge shows the cause and the remedy
beside the code wherever one comes up: in `landbridge doctor`, and in the `meta` of an API error as `providerCodes`,
`cause` and `providerRemedy`. This page holds them all, sorted by who can mend it.

Nothing that serves users decides by these codes, since Microsoft may change them at any time; it decides by the field
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


_SETTINGS = """\
# Settings

Every setting is an environment variable, read once when a process starts. None is needed to try Landbridge out.

This page is generated from `src/landbridge/settings.py` by `make docs`.

| variable | default | meaning |
|---|---|---|
"""


def settings() -> str:
    """Return the page of all settings."""
    rows = (
        f"| `LANDBRIDGE_{name.upper()}` | {_in_code(field.default)} | {_in_table(field.description or '')} |\n"
        for name, field in Settings.model_fields.items()
    )
    return _SETTINGS + "".join(rows)


_ERRORS = """\
# Errors

An error answer is JSON with `message`, `code`, `status` and `meta`. `meta` repeats what to do, and whether the same
request may work later. A provider's own error keeps its status, with its body in `meta`.

This page is generated from `src/landbridge/errors.py` by `make docs`.

| code | status | may work later | meaning | what to do |
|---|---|---|---|---|
"""


def errors() -> str:
    """Return the page of all errors that the API answers with."""
    return _ERRORS + "".join(_error_row(error) for error in _tree(LandbridgeError))


def _error_row(error: type[LandbridgeError]) -> str:
    again = "yes" if error.retryable else "no"
    meaning = (error.__doc__ or "").partition("\n")[0]
    return f"| `{error.code}` | {error.status} | {again} | {meaning} | {error.remedy} |\n"


def _tree(error: type[LandbridgeError]) -> Iterator[type[LandbridgeError]]:
    yield error
    for kind in error.__subclasses__():
        yield from _tree(kind)


def _in_code(default: object) -> str:
    if default in (None, ()):
        return ""
    return f"`{_in_table(str(default).lower() if isinstance(default, bool) else str(default))}`"


def _in_table(text: str) -> str:
    return text.replace("|", "\\|")


PAGES: Mapping[str, Callable[[], str]] = {
    "docs/reference/errors.md": errors,
    "docs/reference/microsoft-errors.md": microsoft_errors,
    "docs/reference/settings.md": settings,
}
"""Each generated page, and what writes it."""


def main() -> None:
    """Write every generated page."""
    for path, write in PAGES.items():
        (TREE / path).parent.mkdir(parents=True, exist_ok=True)
        (TREE / path).write_text(write(), encoding="utf-8")
        sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    main()
