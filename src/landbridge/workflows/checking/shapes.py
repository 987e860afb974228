"""What a value can be, as far as it is certain: JSON Schema, read so that only the impossible is called so."""

from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Final

from landbridge.workflows.expressions import instead

_MOST_HOPS = 20
_MOST_VARIANTS = 100


class Impossible(Exception):
    """There can be no such thing there; the text says what there is."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A JSON Schema, and the whole that its `$ref`s point into. A schema may hold Shapes, which have their own."""

    schema: object
    whole: object = None

    @classmethod
    def of(cls, schema: object) -> "Shape":
        """Return the shape that a whole schema describes."""
        return cls(schema, schema)

    @classmethod
    def closed(cls, properties: "Mapping[str, Shape]") -> "Shape":
        """Return the shape of an object that has at most these properties."""
        return cls({"type": "object", "properties": properties, "additionalProperties": False})

    @classmethod
    def list_of(cls, entry: "Shape") -> "Shape":
        """Return the shape of a list of such entries."""
        return cls({"type": "array", "items": entry})

    def inside(self, segment: str | int, place: str) -> "Shape":
        """Return what a name or a place in a list leads to. Raises `Impossible`, which calls this `place`."""
        possible = [found for variant in self._variants() if (found := variant._step(segment)) is not None]
        if not possible:
            raise Impossible(self._what_there_is(segment, place))
        return possible[0] if len(possible) == 1 else Shape({"anyOf": possible})

    def kinds(self) -> frozenset[str] | None:
        """Return the JSON Schema types that it may have, or None if it may have any."""
        kinds: set[str] = set()
        for variant in self._variants():
            types = variant._types()
            if types is None:
                return None
            kinds |= types
        return frozenset(kinds)

    def may_be(self, kinds: Set[str]) -> bool:
        """Return whether it may have one of these types."""
        own = self.kinds()
        return own is None or bool(own & kinds)

    def names(self) -> list[str]:
        """Return the names of properties that are known."""
        return [name for variant in self._variants() for name in variant._properties()]

    def _variants(self) -> list["Shape"]:
        """Return the alternatives that it is one of, or one that says nothing, if that is too much to tell."""
        found: list[Shape] = []
        pending = [(self, 0)]
        while pending:
            shape, hops = pending.pop(0)
            if hops > _MOST_HOPS or len(found) + len(pending) > _MOST_VARIANTS:
                return [ANYTHING]
            alternatives = shape._alternatives()
            if alternatives is None:
                found.append(shape)
            else:
                pending += [(one, hops + 1) for one in alternatives]
        return found

    def _alternatives(self) -> list["Shape"] | None:
        schema = self.schema
        if isinstance(schema, Shape):
            return [schema]
        if not isinstance(schema, Mapping):
            return [] if schema is False else None
        if isinstance(reference := schema.get("$ref"), str):
            return [self._referred(reference)]
        for name in ("anyOf", "oneOf"):
            if isinstance(schema.get(name), list):
                return [self._part(one) for one in schema[name]]
        return None

    def _referred(self, reference: str) -> "Shape":
        """Return what a `$ref` points to; one that leads out of the schema, or nowhere, says nothing."""
        if not reference.startswith("#"):
            return ANYTHING
        found: object = self.whole
        for name in filter(None, reference.removeprefix("#").split("/")):
            found = found.get(name.replace("~1", "/").replace("~0", "~")) if isinstance(found, Mapping) else None
        return ANYTHING if found is None else self._part(found)

    def _part(self, schema: object) -> "Shape":
        return schema if isinstance(schema, Shape) else Shape(schema, self.whole)

    def _types(self) -> set[str] | None:
        types = self.schema.get("type") if isinstance(self.schema, Mapping) else None
        if isinstance(types, str):
            return {types}
        if isinstance(types, list) and all(isinstance(one, str) for one in types):
            return set(types)
        return None

    def _properties(self) -> Mapping[str, object]:
        properties = self.schema.get("properties") if isinstance(self.schema, Mapping) else None
        return properties if isinstance(properties, Mapping) else {}

    def _step(self, segment: str | int) -> "Shape | None":
        """Return what a plain schema has there, or None if there can be nothing."""
        schema, types = self.schema, self._types()
        if not isinstance(schema, Mapping):
            return ANYTHING
        if types is not None and ("object" if isinstance(segment, str) else "array") not in types:
            return None
        if isinstance(segment, int):
            items = schema.get("items")
            return self._part(items) if isinstance(items, Mapping) and "prefixItems" not in schema else ANYTHING
        if segment in self._properties():
            return self._part(self._properties()[segment])
        is_closed = schema.get("additionalProperties") is False and "patternProperties" not in schema
        return None if is_closed and "allOf" not in schema else ANYTHING

    def _what_there_is(self, segment: str | int, place: str) -> str:
        kinds = self.kinds() or frozenset()
        if isinstance(segment, str) and "object" in kinds:
            return f"there is no `{segment}` in `{place}`. {instead(segment, self.names())}"
        hint = " Take an entry, as [0], or a fan-out." if "array" in kinds else " Leave out what follows it."
        return f"`{place}` is {in_words(kinds)}, so nothing is to be looked up in it by {segment!r}.{hint}"


ANYTHING: Final = Shape({})
TEXT: Final = Shape({"type": "string"})
WHOLE_NUMBER: Final = Shape({"type": "integer"})
AN_OBJECT: Final = Shape({"type": "object"})

_WORDS: Final = {
    "string": "a text",
    "integer": "a number",
    "number": "a number",
    "boolean": "true or false",
    "object": "an object",
    "array": "a list",
    "null": "null",
}


def in_words(kinds: frozenset[str]) -> str:
    """Return types in words."""
    return " or ".join(dict.fromkeys(_WORDS.get(kind, kind) for kind in sorted(kinds))) or "nothing"
