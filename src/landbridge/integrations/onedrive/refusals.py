"""What Graph's errors mean: one table, from which each becomes a typed error with a remedy.

Graph asks its callers to branch on codes, to expect ones that they do not know, and to look into `innerError` for the
most specific that they do. https://learn.microsoft.com/graph/errors
"""

import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from types import MappingProxyType

from landbridge.errors import (
    AccessDenied,
    ActionRefused,
    ConnectionUnusable,
    DriveMissing,
    ItemChanged,
    ItemLocked,
    ItemNotFound,
    LandbridgeError,
    MalwareFound,
    NameNotAllowed,
    NameTaken,
    NotOffered,
    ProviderBusy,
    ProviderFailed,
    ResyncRequired,
    StorageFull,
    TooLarge,
)
from landbridge.kit import Answer

BY_CODE: Mapping[str, type[LandbridgeError]] = MappingProxyType(
    {
        # The request
        "namecontainsinvalidcharacters": NameNotAllowed,
        "pathistoolong": NameNotAllowed,
        "pathtoodeep": NameNotAllowed,
        "maxfilesizeexceeded": TooLarge,
        "notsupported": NotOffered,
        # The user and what they may do
        "invalidauthenticationtoken": ConnectionUnusable,
        "unauthenticated": ConnectionUnusable,
        "accessdenied": AccessDenied,
        "notallowed": AccessDenied,
        "malwaredetected": MalwareFound,
        "virussuspicious": MalwareFound,
        "provisioningnotallowed": DriveMissing,
        "resourcenotfound": DriveMissing,  # the directory's word, for a user without a drive; items say itemNotFound
        "paymentrequired": DriveMissing,
        "quotalimitreached": StorageFull,
        # The item
        "itemnotfound": ItemNotFound,
        "uploadsessionnotfound": ProviderFailed,  # it expired: the step begins another
        "namealreadyexists": NameTaken,
        "resourcemodified": ItemChanged,
        "entitytagdoesnotmatch": ItemChanged,
        "resourcelocked": ItemLocked,
        "lockmismatch": ItemLocked,
        "resyncrequired": ResyncRequired,
        "syncstatenotfound": ResyncRequired,
        # The service
        "activitylimitreached": ProviderBusy,
        "throttledrequest": ProviderBusy,
        "toomanyrequests": ProviderBusy,
        "generalexception": ProviderFailed,
        "servicenotavailable": ProviderFailed,
        "timeout": ProviderFailed,
    }
)
"""By code, in lower case: Graph's hosts do not agree on the case."""

BY_STATUS: Mapping[int, type[LandbridgeError]] = MappingProxyType(
    {
        401: ConnectionUnusable,
        402: DriveMissing,
        403: AccessDenied,
        404: ItemNotFound,
        409: ItemChanged,
        410: ResyncRequired,
        412: ItemChanged,
        413: TooLarge,
        423: ItemLocked,
        429: ProviderBusy,
        501: NotOffered,
        507: StorageFull,
        509: ProviderBusy,
    }
)
"""By status, when no code is known."""


_NO_DRIVE = re.compile(r"does not have a SPO license|mysite", re.IGNORECASE)
"""That a user has no drive Graph says with 400, 403 and 404, under codes that elsewhere mean something else; only the
words tell. https://github.com/OneDrive/onedrive-api-docs/issues/1773"""


def refusal(answer: Answer, wait: timedelta | None) -> LandbridgeError:
    """Return what an answer that is no success means; `wait` is what its `Retry-After` asks for."""
    said = answer.json()
    error = said.get("error") if isinstance(said, dict) else None
    codes = list(_codes(error))
    message = error.get("message") if isinstance(error, dict) else None
    meta = {
        "providerStatus": answer.status,
        "providerCodes": codes,
        "requestId": answer.headers.get("request-id"),
    }
    message = message if isinstance(message, str) else ""
    kind = DriveMissing if _NO_DRIVE.search(message) else _kind(answer.status, codes)
    text = f"OneDrive: {message}" if message else f"OneDrive answered {answer.status}."
    return kind(text, meta={name: value for name, value in meta.items() if value}, retry_after=wait)


def _kind(status: int, codes: list[str]) -> type[LandbridgeError]:
    for code in reversed(codes):
        if found := BY_CODE.get(code.lower()):
            return found
    return BY_STATUS.get(status, ProviderFailed if status >= 500 else ActionRefused)


def _codes(error: object) -> Iterator[str]:
    """Yield the codes in an error, the most specific one last."""
    while isinstance(error, dict):
        if isinstance(code := error.get("code"), str) and code:
            yield code
        error = error.get("innerError") or error.get("innererror")
