"""Descriptions of forges' APIs (OpenAPI 3.0, Swagger 2.0): which requests there are, and what fits them.

What belongs here: finding the operation of a request, saying why its query or body does not fit, and giving
answers the shape that is described. The descriptions are data outside the project (AUTOMATOR_CONFORMANCE).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import jsonschema

FOLDER = (
    Path(os.environ.get("AUTOMATOR_CONFORMANCE") or Path(__file__).parents[3] / "shared" / "conformance")
    / "forges"
)
SEVERAL_SEGMENTS = {"ref", "basehead", "branch", "spec", "name"}
"""Path parameters that may hold slashes, beside the ones that are marked `x-multi-segment`."""
DEEPEST = 4
METHODS = ("get", "post", "put", "patch", "delete")
TIME = "2026-11-21T10:00:00Z"


@dataclass(frozen=True)
class Operation:
    """One method of one path. `key` is `POST /repos/{owner}/{repo}/pulls`."""

    key: str
    method: str
    template: str
    pattern: re.Pattern[str]
    rank: tuple[int, int]
    """The greater, the more exactly the path is told."""
    path: tuple[dict[str, Any], ...]
    query: tuple[dict[str, Any], ...]
    body: dict[str, Any] | None
    needs_body: bool
    answers: Mapping[str, dict[str, Any] | None]


class Description:
    """One of the five files, read and made ready once for all tests."""

    def __init__(self, document: dict[str, Any], base_path: str) -> None:
        self._document = _nullable(document)
        self.base_path = base_path
        """What stands before each path of the file."""

    @cached_property
    def operations(self) -> list[Operation]:
        found = [
            self._operation(method, template, item)
            for template, item in self._document["paths"].items()
            for method in METHODS
            if method in item
        ]
        return sorted(found, key=lambda operation: operation.rank, reverse=True)

    def find(self, method: str, path: str) -> tuple[Operation, dict[str, Any]] | None:
        """The operation of a path as it was sent, percent signs and all, and what stands in it."""
        inner = path.removeprefix(self.base_path)
        if not path.startswith(self.base_path):
            return None
        for operation in self.operations:
            match = operation.pattern.fullmatch(inner)
            if match is not None and operation.method == method:
                named = {parameter["name"]: match[i + 1] for i, parameter in enumerate(operation.path)}
                return operation, {name: unquote(text) for name, text in named.items()}
        return None

    def problem(self, operation: Operation, query: list[tuple[str, str]], body: Any) -> str | None:
        """Why a request does not fit; None where it does."""
        known = {parameter["name"]: parameter for parameter in operation.query}
        for name, text in query:
            parameter = known.get(name) or known.get(name.removesuffix("[]"))
            if parameter is None:
                return f"the query has no parameter {name}"
            if not _fits(parameter, text):
                return f"{name} does not take {text!r}"
        for parameter in operation.query:
            if parameter.get("required") and parameter["name"] not in dict(query):
                return f"{parameter['name']} is missing"
        return self._body_problem(operation, body)

    def _body_problem(self, operation: Operation, body: Any) -> str | None:
        if body is None:
            return "the body is missing" if operation.needs_body else None
        if operation.body is None:
            return "there is no body here"
        error = next(self._validator(operation.body).iter_errors(body), None)
        if error is not None:
            place = ".".join(str(part) for part in error.absolute_path) or "the body"
            return f"{place}: {error.message[:300]}"
        names = self._names(operation.body)
        unknown = sorted(set(body) - names) if isinstance(body, dict) and names else []
        return f"the body has no key {unknown[0]}" if unknown else None

    def shaped(self, operation: Operation, status: int, value: Any) -> Any:
        """`value` as an answer: with all that is required of one, and nothing that is not described."""
        schema = operation.answers.get(str(status))
        if schema is None or value is None or status >= 400:
            return value
        return self._shape(schema, value, operation.key)

    def _shape(self, schema: dict[str, Any], value: Any, place: str) -> Any:
        schema = self._plain(schema)
        if isinstance(value, list) and "items" in schema:
            return [self._shape(schema["items"], self._listed(schema["items"], one), place) for one in value]
        properties = schema.get("properties")
        if not isinstance(value, dict) or not properties:
            return value
        unknown = sorted(set(value) - set(properties)) if not schema.get("additionalProperties") else []
        assert not unknown, f"{place}: an answer has no {', '.join(unknown)}"
        given = {
            name: self._shape(properties[name], one, f"{place}.{name}") if name in properties else one
            for name, one in value.items()
        }
        missing = {name for name in schema.get("required", ()) if name not in value and name in properties}
        return {**{name: self._sample(properties[name], 0) for name in sorted(missing)}, **given}

    def _listed(self, schema: dict[str, Any], value: Any) -> Any:
        """A value without what forges leave out in lists."""
        plain = self._plain(schema)
        names = plain.get("properties")
        if not names or plain.get("additionalProperties") or not isinstance(value, dict):
            return value
        return {key: one for key, one in value.items() if key in names}

    def _sample(self, schema: dict[str, Any], depth: int) -> Any:
        """The least that fits a schema."""
        schema = self._plain(schema)
        kind = schema.get("type")
        if isinstance(kind, list) or depth > DEEPEST:
            return None
        if schema.get("enum"):
            return schema["enum"][0]
        if "properties" in schema:
            required = [name for name in schema.get("required", ()) if name in schema["properties"]]
            return {name: self._sample(schema["properties"][name], depth + 1) for name in required}
        if kind == "string":
            return TIME if schema.get("format") == "date-time" else "https://example.com/"
        empty: dict[Any, Any] = {"integer": 1, "number": 1, "boolean": False, "array": [], "object": {}}
        return empty.get(kind)

    # -- reading the document ---------------------------------------------------------------------

    def _operation(self, method: str, template: str, item: dict[str, Any]) -> Operation:
        told = item[method]
        parameters = [self._resolved(p) for p in (*item.get("parameters", ()), *told.get("parameters", ()))]
        by_name = {p["name"]: p for p in parameters if p["in"] == "path"}
        if "/projects/{id}" in template:
            by_name["id"] = {**by_name["id"], "type": "string"}
        names = re.findall(r"\{(\w+)\}", template)
        path = tuple(by_name.get(name, {"name": name}) for name in names)
        pattern = re.sub(r"\\\{(\w+)\\\}", lambda m: _segment(by_name.get(m[1], {"name": m[1]})),
                         re.escape(template))  # fmt: skip
        bodies = [p for p in parameters if p["in"] == "body"]
        body, needs_body = (bodies[0]["schema"], bool(bodies[0].get("required"))) if bodies else (None, False)
        if "requestBody" in told:
            request = self._resolved(told["requestBody"])
            body = next(iter(request["content"].values()))["schema"]
            needs_body = bool(request.get("required"))
        answers = {status: self._answer(answer) for status, answer in told.get("responses", {}).items()}
        literal = len([part for part in template.split("/") if part and "{" not in part])
        query = tuple(p for p in parameters if p["in"] == "query")
        key = f"{method.upper()} {template}"
        return Operation(
            key, method.upper(), template, re.compile(pattern), (literal, -len(names)), path, query, body,
            needs_body, answers,
        )  # fmt: skip

    def _answer(self, answer: dict[str, Any]) -> dict[str, Any] | None:
        answer = self._resolved(answer)
        content = next(iter(answer.get("content", {}).values()), answer)
        schema = content.get("schema")
        return schema if isinstance(schema, dict) else None

    def _resolved(self, node: dict[str, Any]) -> dict[str, Any]:
        while "$ref" in node:
            target: Any = self._document
            for part in node["$ref"].removeprefix("#/").split("/"):
                target = target[part.replace("~1", "/").replace("~0", "~")]
            node = target
        return node

    def _plain(self, schema: dict[str, Any]) -> dict[str, Any]:
        """A schema without references, choices (the first counts) and sums."""
        schema = self._resolved(schema)
        for choice in ("oneOf", "anyOf"):
            if choice in schema:
                return self._plain(schema[choice][0])
        if "allOf" in schema:
            parts = [self._plain(part) for part in schema["allOf"]]
            properties = {name: told for part in parts for name, told in part.get("properties", {}).items()}
            required = [name for part in parts for name in part.get("required", ())]
            loose = any(part.get("additionalProperties") for part in parts)
            return {"type": "object", "properties": properties, "required": required,
                    "additionalProperties": loose}  # fmt: skip
        return schema

    def _names(self, schema: dict[str, Any]) -> set[str]:
        """The keys that a body may have; empty where anything may stand."""
        schema = self._resolved(schema)
        parts = [part for choice in ("oneOf", "anyOf", "allOf") for part in schema.get(choice, ())]
        if self._is_loose(schema):
            return set()
        return set(schema.get("properties", ())).union(*(self._names(part) for part in parts))

    def _is_loose(self, schema: dict[str, Any]) -> bool:
        schema = self._resolved(schema)
        parts = [part for choice in ("oneOf", "anyOf", "allOf") for part in schema.get(choice, ())]
        return schema.get("additionalProperties") is True or any(map(self._is_loose, parts))

    def _validator(self, schema: dict[str, Any]) -> jsonschema.Draft4Validator:
        # The document itself is the root, so that its references lead somewhere.
        root = {key: self._document[key] for key in ("definitions", "components") if key in self._document}
        return jsonschema.Draft4Validator({**root, "allOf": [schema]})


@cache
def description(kind: str, base_path: str) -> Description:
    return Description(json.loads((FOLDER / f"{kind}.json").read_bytes()), base_path)


def _segment(parameter: dict[str, Any]) -> str:
    kind = parameter.get("type") or parameter.get("schema", {}).get("type")
    if kind == "integer" and parameter["name"] != "branch":  # GitLab's description calls it a number
        return "([0-9]+)"
    if parameter.get("x-multi-segment") or parameter["name"] in SEVERAL_SEGMENTS:
        return "(.+?)"
    return "([^/]+)"


def _fits(parameter: dict[str, Any], text: str) -> bool:
    schema = {**parameter, **parameter.get("schema", {})}
    schema = schema.get("items", schema) if schema.get("type") == "array" else schema
    if schema.get("type") == "integer" and not re.fullmatch(r"-?[0-9]+", text):
        return False
    if schema.get("type") == "boolean" and text not in ("true", "false"):
        return False
    return not schema.get("enum") or text in schema["enum"]


def _nullable(node: Any) -> Any:
    """A copy in which `nullable` is said as JSON Schema says it."""
    if isinstance(node, list):
        return [_nullable(one) for one in node]
    if not isinstance(node, dict):
        return node
    copy = {key: _nullable(one) for key, one in node.items()}
    if copy.get("nullable") is True or copy.get("x-nullable") is True:
        kind = copy.get("type")
        if isinstance(kind, str):
            copy["type"] = [kind, "null"]
        if isinstance(copy.get("enum"), list):
            copy["enum"] = [*copy["enum"], None]
    return copy
