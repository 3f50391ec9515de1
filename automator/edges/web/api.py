"""The API: what programs ask under /api/v1, and how it is put on the wire."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import anyio
import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from automator.edges.web.access import Access
from automator.edges.web.body import read_object
from automator.edges.web.desk import Desk
from automator.edges.web.look import Looking
from automator.edges.web.parameters import Parameter, read_query
from automator.edges.web.problem import Problem, to_json
from automator.reasons import reason

BASE = "/api/v1"
JSON = "application/json"
AT_ONCE = 4
"""Threads that answer the API."""
CACHE = "private, no-cache"
"""Whoever keeps an answer asks each time whether it still stands (ETag)."""


@dataclass(frozen=True, slots=True)
class Question:
    """One request, read and understood."""

    desk: Desk
    looking: Looking
    request: Request
    path: Mapping[str, str]
    query: Mapping[str, Any]
    """Values of the parameters, by name."""
    body: Mapping[str, Any] = field(default_factory=dict)

    @property
    def now(self) -> datetime:
        return self.desk.now()


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing that can be asked for, with all that its description says."""

    name: str
    path: str
    """Below BASE, with `{name}` for what varies."""
    says: str
    answer: Any
    """The type of the answer: see `schemas`."""
    act: Callable[[Question], Any]
    parameters: tuple[Parameter, ...] = ()
    varies: tuple[tuple[str, str], ...] = ()
    """What varies in the path, and what it is."""
    body: Any = None
    """The type of the body, for POST."""
    status: int = 200
    problems: tuple[int, ...] = ()
    """Statuses of its own, beside those that every request may get."""

    @property
    def method(self) -> str:
        return "GET" if self.body is None else "POST"


def api_routes(
    operations: Sequence[Operation], desk: Desk, looking: Looking, access: Access, describe: Callable[[], Any]
) -> list[Route]:
    """The routes of these operations, and /api/v1/openapi.json, which is what `describe` returns."""
    asking = anyio.CapacityLimiter(AT_ONCE)

    def route(operation: Operation) -> Route:
        async def answer(request: Request) -> Response:
            require_json_accepted(request)
            body: Mapping[str, Any] = {}
            if operation.body is not None:
                body = await read_object(request)
                access.require_own_page(request)
            work = _Work(operation, Question(desk, looking, request, request.path_params, {}, body))
            return await anyio.to_thread.run_sync(work.response, limiter=asking)

        return Route(BASE + operation.path, answer, methods=[operation.method])

    async def description(request: Request) -> Response:
        require_json_accepted(request)
        read_query(request, (), desk.now())
        return await anyio.to_thread.run_sync(lambda: json_response(request, describe(), 200), limiter=asking)

    return [*map(route, operations), Route(f"{BASE}/openapi.json", description)]


@dataclass(frozen=True, slots=True)
class _Work:
    """An operation with its question, for a thread."""

    operation: Operation
    question: Question

    def response(self) -> Response:
        asked, operation = self.question, self.operation
        query = read_query(asked.request, operation.parameters, asked.now)
        complete = Question(asked.desk, asked.looking, asked.request, asked.path, query, asked.body)
        return json_response(asked.request, operation.act(complete), operation.status)


def json_response(request: Request, value: Any, status: int) -> Response:
    """A value as JSON; nothing but a 304 for who has it already."""
    content = to_json(value)
    if request.method not in ("GET", "HEAD"):
        return Response(content, status, media_type=JSON)
    tag = f'"{hashlib.blake2b(content, digest_size=12).hexdigest()}"'
    headers = {"ETag": tag, "Cache-Control": CACHE, "Vary": "Authorization, Cookie"}
    if _has(request.headers.get("if-none-match", ""), tag):
        return Response(status_code=304, headers=headers)
    return Response(content, status, headers, JSON)


def _has(told: str, tag: str) -> bool:
    known = [one.strip().removeprefix("W/") for one in told.split(",")]
    return "*" in known or tag in known


def require_json_accepted(request: Request) -> None:
    """Raises Problem for who accepts no JSON (RFC 9110, section 12.5.1)."""
    accepted = ",".join(request.headers.getlist("accept"))
    if not accepted.strip():
        return
    weights: dict[str, float] = {}
    for part in accepted.split(","):
        kind, *rest = (word.strip().lower() for word in part.split(";"))
        weight = next((_weight(word) for word in rest if word.startswith("q=")), 1.0)
        weights[kind] = max(weight, weights.get(kind, 0.0))
    # What is more exact counts.
    for kind in (JSON, "application/*", "*/*"):
        if kind in weights:
            if weights[kind] > 0:
                return
            break
    raise Problem(406, reason("web/not-acceptable", path=request.url.path, kind=JSON))


def _weight(word: str) -> float:
    value = word.removeprefix("q=").strip()
    return float(value) if re.fullmatch(r"[01](?:\.\d{0,3})?", value, re.ASCII) else 1.0
