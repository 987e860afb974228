"""Each error that Graph is known to answer with is one typed error, with a remedy.

The codes are those of https://learn.microsoft.com/graph/errors, of the pages of each endpoint, and of traces.
"""

from __future__ import annotations

import json

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

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
from landbridge.integrations.onedrive.refusals import BY_CODE, refusal
from landbridge.kit import Answer

KNOWN: list[tuple[int, str, type[LandbridgeError]]] = [
    (400, "invalidRequest", ActionRefused),
    (400, "invalidRange", ActionRefused),
    (400, "BadRequest", ActionRefused),
    (400, "nameContainsInvalidCharacters", NameNotAllowed),
    (400, "pathIsTooLong", NameNotAllowed),
    (400, "pathTooDeep", NameNotAllowed),
    (400, "maxFileSizeExceeded", TooLarge),
    (401, "InvalidAuthenticationToken", ConnectionUnusable),
    (401, "unauthenticated", ConnectionUnusable),
    (402, "paymentRequired", DriveMissing),
    (403, "accessDenied", AccessDenied),
    (403, "notAllowed", AccessDenied),
    (403, "malwareDetected", MalwareFound),
    (403, "virusSuspicious", MalwareFound),
    (403, "provisioningNotAllowed", DriveMissing),
    (403, "quotaLimitReached", StorageFull),
    (404, "itemNotFound", ItemNotFound),
    (404, "uploadSessionNotFound", ProviderFailed),
    (404, "ResourceNotFound", DriveMissing),
    (405, "methodNotAllowed", ActionRefused),
    (406, "notAcceptable", ActionRefused),
    (411, "lengthRequired", ActionRefused),
    (413, "requestEntityTooLarge", TooLarge),
    (415, "unsupportedMediaType", ActionRefused),
    (422, "unprocessableEntity", ActionRefused),
    (409, "nameAlreadyExists", NameTaken),
    (409, "resourceModified", ItemChanged),
    (409, "Conflict", ItemChanged),
    (410, "resyncRequired", ResyncRequired),
    (410, "syncStateNotFound", ResyncRequired),
    (412, "resourceModified", ItemChanged),
    (412, "entityTagDoesNotMatch", ItemChanged),
    (416, "invalidRange", ActionRefused),
    (416, "fragmentOverlap", ActionRefused),
    (416, "fragmentOutOfOrder", ActionRefused),
    (423, "resourceLocked", ItemLocked),
    (423, "lockMismatch", ItemLocked),
    (429, "activityLimitReached", ProviderBusy),
    (429, "throttledRequest", ProviderBusy),
    (429, "TooManyRequests", ProviderBusy),
    (500, "generalException", ProviderFailed),
    (501, "notSupported", NotOffered),
    (502, "badGateway", ProviderFailed),
    (503, "serviceNotAvailable", ProviderFailed),
    (504, "timeout", ProviderFailed),
    (507, "quotaLimitReached", StorageFull),
    (507, "insufficientStorage", StorageFull),
    (509, "bandwidthLimitExceeded", ProviderBusy),
]


def said(status: int, code: str, message: str = "No.") -> LandbridgeError:
    body = json.dumps({"error": {"code": code, "message": message}}).encode()
    return refusal(Answer(status, CIMultiDictProxy(CIMultiDict()), body), None)


@pytest.mark.parametrize(("status", "code", "kind"), KNOWN)
def test_a_known_error_is_one_typed_error_with_a_remedy(status: int, code: str, kind: type[LandbridgeError]) -> None:
    error = said(status, code)

    assert type(error) is kind
    assert error.remedy
    assert error.remedy != LandbridgeError.remedy
    assert error.meta == {"providerStatus": status, "providerCodes": [code]}


def test_every_code_that_is_told_apart_is_in_the_table() -> None:
    assert set(BY_CODE) <= {code.lower() for _, code, _ in KNOWN}


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (400, "BadRequest", "Tenant does not have a SPO license."),
        (403, "accessDenied", "Unable to retrieve user's mysite URL."),
        (404, "itemNotFound", "User's mysite not found."),
    ],
)
def test_a_user_without_a_drive_is_one_error_however_graph_says_it(status: int, code: str, message: str) -> None:
    assert type(said(status, code, message)) is DriveMissing
