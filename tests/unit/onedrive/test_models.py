"""Forms say what is wrong with them; conditions compare like with like."""

from __future__ import annotations

from typing import Any

import pytest

from landbridge.errors import InvalidRequest
from landbridge.integrations.onedrive import actions
from landbridge.integrations.onedrive.models.items import DriveItem
from landbridge.integrations.onedrive.models.requests import StopWhen
from landbridge.kit import Action


@pytest.mark.parametrize(
    ("action", "values", "words"),
    [
        (actions.get_file, {}, "give fileId or filePath"),
        (actions.get_file, {"fileId": "1", "filePath": "a"}, "give fileId or filePath, not both"),
        (actions.list_files, {"folderId": "1", "folderPath": "a"}, "not both"),
        (actions.list_files, {"folder": "1"}, "folder: Extra inputs are not permitted"),
        (actions.list_files, {"limit": 0}, "limit: Input should be greater than or equal to 1"),
        (actions.move_folder, {"folderId": "1"}, "give destinationId or destinationPath"),
        (actions.create_folder, {}, "name: Field required"),
        (actions.create_folder, {"name": "a", "conflictBehavior": "overwrite"}, "conflictBehavior: Input should be"),
        (actions.onedrive_request, {"path": "/me", "method": "TRACE"}, "method: Input should be"),
    ],
)
def test_a_wrong_form_names_the_field_and_what_is_wrong(action: Action, values: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidRequest, match=words) as refused:
        action.parse(values)

    assert refused.value.message.startswith(action.title)


ITEM = {
    "name": "b.txt",
    "size": 5,
    "file": {"mimeType": "text/plain"},
    "lastModifiedDateTime": "2026-03-01T12:00:00Z",
    "shared": True,
}


@pytest.mark.parametrize(
    ("field", "operator", "value", "holds"),
    [
        ("name", "equals", "b.txt", True),
        ("name", "notEquals", "b.txt", False),
        ("size", "equals", 5.0, True),
        ("size", "greaterThan", 4, True),
        ("size", "greaterThan", 5, False),
        ("size", "lessThan", 10, True),
        ("size", "lessThan", "10", False),
        ("name", "greaterThan", "a.txt", True),
        ("file.mimeType", "equals", "text/plain", True),
        ("file.size.x", "exists", None, False),
        ("folder", "doesNotExist", None, True),
        ("shared", "equals", True, True),
        ("shared", "equals", 1, False),
        ("lastModifiedDateTime", "equals", "2026-03-01T13:00:00+01:00", True),
        ("lastModifiedDateTime", "lessThan", "2026-03-01T12:30:00.5Z", True),
        ("lastModifiedDateTime", "greaterThan", "2026-03-01T12:30:00+01:00", True),
    ],
)
def test_a_condition_compares_numbers_times_and_texts_as_what_they_are(
    field: str, operator: Any, value: Any, holds: bool
) -> None:
    assert StopWhen(field=field, operator=operator, value=value).holds(ITEM) is holds


def test_an_item_keeps_what_graph_adds_and_loses_the_url_that_gives_its_contents_away() -> None:
    said = {"id": "1", "@microsoft.graph.downloadUrl": "https://secret", "video": {"width": 5}, "eTag": '"x"'}

    assert DriveItem.model_validate(said).as_json() == {"id": "1", "video": {"width": 5}, "eTag": '"x"'}
