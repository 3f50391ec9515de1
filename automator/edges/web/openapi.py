"""The description of the API in OpenAPI 3.1, made from its operations."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, TypedDict

from automator.core.shown import ReasonShown
from automator.edges.web.api import BASE, JSON, Operation
from automator.edges.web.parameters import LONGEST, Parameter
from automator.edges.web.schemas import Schema, Schemas

COMMON = (400, 401, 403, 406, 414, 429, 500, 503)
"""Statuses that every request may be answered with."""


class ProblemAnswer(TypedDict):
    """Why there is no other answer. `error.code` is stable, and GET /codes/{area}/{code} tells more of it."""

    error: ReasonShown


def describe(operations: Sequence[Operation], version: str) -> Schema:
    """The whole document."""
    schemas = Schemas()
    problem = schemas.of(ProblemAnswer)
    paths: dict[str, Schema] = {}
    for operation in operations:
        told = _operation(operation, schemas, problem)
        paths.setdefault(BASE + operation.path, {})[operation.method.lower()] = told
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "automator",
            "version": version,
            "description": "What a running automator knows. Moments are UTC; null is what is not known.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"token": []}, {"session": []}, {}],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(schemas.named.items())),
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "session": {"type": "apiKey", "in": "cookie", "name": "automator-session"},
            },
        },
    }


def _operation(operation: Operation, schemas: Schemas, problem: Schema) -> Schema:
    told: Schema = {
        "operationId": operation.name,
        "summary": operation.says,
        "parameters": [
            *({"name": n, "in": "path", "required": True, "description": says, "schema": _SEGMENT}
              for n, says in operation.varies),
            *map(_parameter, operation.parameters),
        ],
        "responses": {
            str(operation.status): _answer("The answer.", schemas.of(operation.answer)),
            **({"304": {"description": "What If-None-Match names still stands."}}
               if operation.method == "GET" else {}),
            **{str(status): _answer(HTTPStatus(status).phrase, problem)
               for status in sorted({*COMMON, *operation.problems})},
        },
    }  # fmt: skip
    if operation.body is not None:
        content = {JSON: {"schema": schemas.of(operation.body)}}
        told["requestBody"] = {"required": True, "content": content}
    return told


_SEGMENT: Schema = {"type": "string", "minLength": 1, "maxLength": LONGEST}


def _parameter(parameter: Parameter) -> Schema:
    told: Schema = {"name": parameter.name, "in": "query", "required": False}
    return {**told, "description": parameter.says, "schema": parameter.schema}


def _answer(says: str, schema: Any) -> Schema:
    return {"description": says, "content": {JSON: {"schema": schema}}}
