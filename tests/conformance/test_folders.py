"""What every integration's folder has to be, whatever it does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.resources import files
from typing import get_args

import pytest
from pydantic import BaseModel
from scripts.reference import PAGES
from tests.conformance.product import subject

from landbridge.app import gather_actions
from landbridge.catalog import Catalog, Manifest
from landbridge.kit import Action, Client

CATALOG = Catalog.read(files("landbridge.integrations"))
EVERY = [pytest.param(integration, action, id=action.name) for integration, action in gather_actions(CATALOG)]
each_action = pytest.mark.parametrize(("integration", "action"), EVERY)


def models_in(model: type[BaseModel], seen: set[type[BaseModel]] | None = None) -> Iterator[type[BaseModel]]:
    """Yield a model and every other one that it holds."""
    seen = set() if seen is None else seen
    if model in seen:
        return
    seen.add(model)
    yield model
    for field in model.model_fields.values():
        for kind in _kinds(field.annotation):
            yield from models_in(kind, seen)


def _kinds(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _kinds(inner)


@pytest.mark.parametrize("manifest", list(CATALOG), ids=lambda manifest: manifest.type)
def test_an_integration_has_actions_with_names_and_titles_of_their_own(manifest: Manifest) -> None:
    actions = [action for integration, action in gather_actions(CATALOG) if integration == manifest.type]

    assert actions
    assert len({action.title for action in actions}) == len(actions)


@pytest.mark.parametrize("manifest", list(CATALOG), ids=lambda manifest: manifest.type)
def test_it_has_an_icon_a_readme_and_a_page_of_its_actions(manifest: Manifest) -> None:
    readme = files("landbridge.integrations").joinpath(manifest.type, "README.md").read_text("utf-8")

    assert manifest.icon.lstrip().startswith(b"<svg")
    assert readme.startswith(f"# {manifest.name}")
    assert f"docs/reference/{manifest.type}-actions.md" in PAGES
    assert manifest.api.url.startswith("https://")
    assert manifest.default_scopes


@pytest.mark.parametrize("manifest", list(CATALOG), ids=lambda manifest: manifest.type)
def test_it_brings_a_case_of_each_action_to_be_judged(manifest: Manifest) -> None:
    actions = {action.name for integration, action in gather_actions(CATALOG) if integration == manifest.type}

    assert subject(manifest.type).KINDS
    assert {name for name, cases in subject(manifest.type).CASES.items() if cases} == actions


@each_action
def test_an_action_is_named_by_a_verb_phrase_and_explained_in_sentences(integration: str, action: Action) -> None:
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", action.name)
    assert re.fullmatch(r"[A-Z][^\n]{8,}[.]", action.summary)
    assert action.description.rstrip().endswith(".")


@each_action
def test_every_field_of_its_forms_has_a_type_and_a_description(integration: str, action: Action) -> None:
    bare = [
        f"{model.__name__}.{name}"
        for whole in (action.given, action.result)
        for model in models_in(whole)
        for name, field in model.model_fields.items()
        if not (field.description or "").endswith(".")
    ]

    assert bare == []


@each_action
def test_its_schemas_are_of_json_and_its_names_outside_in_camel_case(integration: str, action: Action) -> None:
    for model in (action.given, action.result):
        names = model.model_json_schema(by_alias=True).get("properties", {})
        assert [name for name in names if not re.fullmatch(r"[a-z][A-Za-z0-9]*", name)] == []


@each_action
def test_its_scopes_are_offered_by_the_manifest_and_reading_asks_for_no_writing(
    integration: str, action: Action
) -> None:
    assert action.scopes
    assert CATALOG.get(integration).unknown_scopes(action.scopes) == []
    if action.name.startswith(("get_", "list_", "search_", "find_")):
        assert [scope for scope in action.scopes if "Write" in scope] == []


@each_action
def test_it_says_that_it_only_reads_if_its_name_does_and_then_it_may_be_repeated(
    integration: str, action: Action
) -> None:
    is_said = action.name.startswith(("get_", "list_", "search_", "find_", "download_"))

    assert (action.effect == "reads") == is_said
    assert action.repeatable or action.effect != "reads"


@each_action
def test_its_client_is_its_own(integration: str, action: Action) -> None:
    assert issubclass(action._client, Client)
    assert action._client.__module__.startswith(f"landbridge.integrations.{integration}.")
    assert action._client.refusal is not Client.refusal
