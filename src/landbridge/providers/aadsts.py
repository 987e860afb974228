"""Microsoft's AADSTS codes in plain words: what each one means, and who can mend it.

The codes come in the field `error_codes` of an error answer. They are shown to people, never branched on: Microsoft may
change them at any time (https://learn.microsoft.com/entra/identity-platform/reference-error-codes), and what a program
may rely on is `error` and `suberror`.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Explanation:
    """One code: its cause, and the remedy, for the operator unless the text says otherwise."""

    cause: str
    remedy: str


EXPLANATIONS: Mapping[int, Explanation] = {
    7000215: Explanation(
        "The client secret is wrong.",
        "Copy the secret's Value (not its ID) from Certificates & secrets; it is shown only when it is created.",
    ),
    7000222: Explanation(
        "The client secret has expired.",
        "Create a new client secret in Azure and set it here; users need not reconnect.",
    ),
}


def explain(codes: object) -> Explanation | None:
    """Return the explanation of the first known code in an answer's `error_codes`."""
    known = (EXPLANATIONS.get(code) for code in codes if isinstance(code, int)) if isinstance(codes, list) else ()
    return next((explanation for explanation in known if explanation), None)
