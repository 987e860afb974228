"""The manifests of the integrations, read and checked as data."""

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from importlib.resources.abc import Traversable
from typing import Annotated
from uuid import UUID, uuid5

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from landbridge.errors import Misconfigured, NotFound

_NAMESPACE = UUID("6f9d1c1e-30a6-4d0e-9a5c-3b7d0c0f5a11")


class Scope(BaseModel):
    """A permission that an integration may ask consent for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    description: str
    required: bool = False
    default: bool = False


class Api(BaseModel):
    """Where the product's API is, and the version prefix that relative paths get."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: Annotated[str, Field(pattern=r"^https://[^/]+$")]
    version: Annotated[str, Field(pattern=r"^/[^/]*$")]


class Manifest(BaseModel):
    """What must be known about an integration before anything runs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: str
    name: str
    provider: str
    description: str
    overview: str
    brand_color: str
    documentation: str
    api: Api
    scopes: tuple[Scope, ...]
    icon: bytes

    @property
    def required_scopes(self) -> tuple[str, ...]:
        """The scopes that every sign-in asks for."""
        return tuple(scope.name for scope in self.scopes if scope.required)

    @property
    def default_scopes(self) -> tuple[str, ...]:
        """The scopes of an integration whose operator chose none."""
        return tuple(scope.name for scope in self.scopes if scope.default)

    def unknown_scopes(self, names: Iterable[str]) -> list[str]:
        """Return those of `names` that the manifest does not offer."""
        offered = {scope.name for scope in self.scopes}
        return sorted(set(names) - offered)


class Catalog:
    """The integrations that this Landbridge has, by type (`onedrive`)."""

    def __init__(self, manifests: Iterable[Manifest]) -> None:
        self._by_type: Mapping[str, Manifest] = {manifest.type: manifest for manifest in manifests}

    @classmethod
    def read(cls, integrations: Traversable) -> "Catalog":
        """Return the catalog of every folder below `integrations` that holds a `manifest.toml`."""
        folders = sorted(
            (f for f in integrations.iterdir() if f.joinpath("manifest.toml").is_file()), key=lambda f: f.name
        )
        return cls(_manifest(folder) for folder in folders)

    def __iter__(self) -> Iterator[Manifest]:
        return iter(self._by_type.values())

    def get(self, type_: str) -> Manifest:
        """Return the manifest of `type_`, or raise `NotFound` naming what there is."""
        if manifest := self._by_type.get(type_):
            return manifest
        raise NotFound(f"There is no integration “{type_[:64]}”. There is: {', '.join(self._by_type)}.")


def integration_id(project_id: str, type_: str) -> str:
    """Return the id of an integration in a project: the same for ever, before it is first configured too."""
    return str(uuid5(_NAMESPACE, f"{project_id}/{type_}"))


def _manifest(folder: Traversable) -> Manifest:
    try:
        data = tomllib.loads(folder.joinpath("manifest.toml").read_text("utf-8"))
        return Manifest(type=folder.name, icon=folder.joinpath("icon.svg").read_bytes(), **data)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, ValidationError, OSError) as error:
        raise Misconfigured(f"The manifest of {folder.name} cannot be read: {error}") from error
