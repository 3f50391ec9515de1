"""Events: POST /hooks/NAME, taken in whole within bounds, handed on, and answered at once.

What an event means is not known here: `edges.webhook` reads it, and the answer is what that says.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from automator.edges.web.answers import strict_app, unavailable
from automator.edges.web.refusal import Refusal
from automator.edges.webhook import BODY_LIMIT, Event
from automator.edges.webhook import Request as Sent

BODY_SECONDS = 10.0
"""Longest time a body may take to arrive."""
AT_ONCE = 32
"""Requests of one client to one hook that are taken in at the same time."""
PATIENCE = 1.0
"""Seconds after which a body that still comes gives its place to a request that finds none."""


class _Oversize(Exception):
    """The body is larger than anything that is sent to us."""


def make_hooks_app(
    hooks: Collection[str],
    receive: Callable[[str, Sent], Event],
    refused: Callable[[str | None, Refusal], None],
    *,
    body_seconds: float = BODY_SECONDS,
    patience: float = PATIENCE,
) -> ASGIApp:
    """The application: a request to /hooks/NAME of `hooks` goes to `receive`, anything else is a 404.

    `receive` is called on a thread of the server's pool, and must neither raise nor wait for a cycle.
    `refused` is told what did not get that far; without a name where the config has none such.
    """
    # Whoever sends slowly, or pretends to, takes places of its own address and hook only.
    places = defaultdict[tuple[str, str], _Places](lambda: _Places(body_seconds, patience))

    async def hook(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in hooks:
            refused(None, Refusal.UNKNOWN_HOOK)
            return JSONResponse({"error": "Not Found"}, 404)
        key = (request.client.host if request.client is not None else "", name)
        if not places[key].has_one():
            refused(name, Refusal.BUSY)
            return unavailable()
        places[key].taken += 1
        try:
            return await _answered(name, request, places[key])
        finally:
            places[key].taken -= 1
            if not places[key].taken:
                del places[key]

    async def _answered(name: str, request: Request, mine: _Places) -> Response:
        try:
            async with mine.arriving():
                body = await _body(request)
        except _Oversize:
            refused(name, Refusal.OVERSIZE)
            return JSONResponse({"error": "Content Too Large"}, 413)
        except TimeoutError:
            refused(name, Refusal.TOO_SLOW)
            return JSONResponse({"error": "Request Timeout"}, 408)
        except ClientDisconnect:  # nobody is there to be answered
            return Response(status_code=400)
        query = request.query_params.multi_items()
        sent = Sent.of(request.method, query, request.headers.items(), body)
        return _response(await run_in_threadpool(receive, name, sent))

    def other(request: Request, status: int) -> None:
        if status == 405:  # at a path of ours: anything else is no business of hooks
            name = request.path_params["name"]
            known = name in hooks
            refused(name if known else None, Refusal.WRONG_METHOD if known else Refusal.UNKNOWN_HOOK)

    return strict_app([Route("/hooks/{name}", hook, methods=["POST", "OPTIONS"])], other)


class _Places:
    """The places of one client at one hook. Used on the server's loop only."""

    def __init__(self, body_seconds: float, patience: float) -> None:
        self.taken = 0
        self._body_seconds = body_seconds
        self._patience = patience
        self._bodies: dict[asyncio.Timeout, float] = {}
        """When they began to come, the oldest first."""

    def has_one(self) -> bool:
        """Whether there is a place, maybe that of a body that has been on its way for long."""
        if self.taken < AT_ONCE:
            return True
        now = asyncio.get_running_loop().time()
        for limit, began_at in self._bodies.items():
            if now - began_at < self._patience:
                return False
            if not limit.expired():
                del self._bodies[limit]
                limit.reschedule(now)
                return True
        return False

    @asynccontextmanager
    async def arriving(self) -> AsyncIterator[None]:
        """Around the reading of a body. Raises TimeoutError where it took too long."""
        async with asyncio.timeout(self._body_seconds) as limit:
            self._bodies[limit] = asyncio.get_running_loop().time()
            try:
                yield
            finally:
                self._bodies.pop(limit, None)


async def _body(request: Request) -> bytes:
    announced = request.headers.get("content-length", "0")
    if announced.isdecimal() and int(announced[:20]) > BODY_LIMIT:
        raise _Oversize
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > BODY_LIMIT:
            raise _Oversize
    return bytes(body)


def _response(event: Event) -> Response:
    headers = dict(event.headers)
    if event.status == 204:
        return Response(status_code=204, headers=headers)
    if event.answer is not None:
        return Response(event.answer, event.status, headers, "application/json")
    return JSONResponse({"result": event.result.value}, event.status, headers)
