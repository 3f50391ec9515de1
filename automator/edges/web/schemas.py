"""Schemas: the types that say what JSON looks like, as JSON Schema has them (2020-12, as in OpenAPI 3.1)."""

from __future__ import annotations

import types
from datetime import datetime
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

Schema = dict[str, Any]
MOMENT = {"type": "string", "format": "date-time"}
_PLAIN: dict[object, Schema] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    type(None): {"type": "null"},
    datetime: MOMENT,
}


class Schemas:
    """Gathers the schemas of types; each TypedDict once, by its name, with references to it."""

    def __init__(self, place: str = "#/components/schemas/") -> None:
        self._place = place
        self.named: dict[str, Schema] = {}

    def of(self, kind: Any) -> Schema:
        """The schema of a type: text, numbers, moments, lists, mappings, unions, literals, TypedDicts.

        Raises TypeError for any other.
        """
        if kind in _PLAIN:
            return dict(_PLAIN[kind])
        if is_typeddict(kind):
            self._name(kind)
            return {"$ref": self._place + kind.__name__}
        origin, arguments = get_origin(kind), get_args(kind)
        if origin is list:
            return {"type": "array", "items": self.of(arguments[0])}
        if origin is dict:
            return {"type": "object", "additionalProperties": self.of(arguments[1])}
        if origin is Literal:
            return {"type": "string", "enum": list(arguments)}
        if origin in (Union, types.UnionType):
            return {"anyOf": [self.of(one) for one in arguments]}
        raise TypeError(f"no schema is known for {kind}")

    def _name(self, kind: Any) -> None:
        if kind.__name__ in self.named:
            return
        schema: Schema = {"type": "object"}
        self.named[kind.__name__] = schema  # before its members: they may lead back to it
        if kind.__doc__ and not kind.__doc__.startswith("dict("):
            schema["description"] = " ".join(kind.__doc__.split())
        members = get_type_hints(kind)
        schema["properties"] = {name: self.of(member) for name, member in members.items()}
        schema["required"] = sorted(kind.__required_keys__)
        schema["additionalProperties"] = False
