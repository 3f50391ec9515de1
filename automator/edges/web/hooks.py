"""Events: POST /hooks/NAME, taken in whole within bounds, handed on, and answered at once.

What an event means is not known here: `edges.webhook` reads it, and the answer is what that says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from enum import StrEnum

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from automator.edges.web.answers import strict_app
from automator.edges.webhook import BODY_LIMIT, Event
from automator.edges.webhook import Request as Sent

BODY_SECONDS = 10.0
"""Longest time a body may take to arrive."""
AT_ONCE = 32
"""Requests that are taken in at the same time; fewer than the threads of the server's pool."""


class Refusal(StrEnum):
    """Why a request was answered without being read as an event."""

    UNKNOWN_HOOK = "unknown-hook"
    OVERSIZE = "oversize"
    TOO_SLOW = "too-slow"
    BUSY = "busy"


class _Oversize(Exception):
    """The body is larger than anything that is sent to us."""


def make_hooks_app(
    hooks: Collection[str],
    receive: Callable[[str, Sent], Event],
    refused: Callable[[str | None, Refusal], None],
    *,
    body_seconds: float = BODY_SECONDS,
) -> ASGIApp:
    """The application: a request to /hooks/NAME of `hooks` goes to `receive`, anything else is a 404.

    `receive` is called on a thread of the server's pool, and must neither raise nor wait for a cycle.
    `refused` is told what did not get that far; without a name where the config has none such.
    """
    busy = 0

    async def hook(request: Request) -> Response:
        nonlocal busy
        name = request.path_params["name"]
        if name not in hooks:
            refused(None, Refusal.UNKNOWN_HOOK)
            return JSONResponse({"error": "Not Found"}, 404)
        if busy >= AT_ONCE:
            refused(name, Refusal.BUSY)
            return JSONResponse({"error": "Service Unavailable"}, 503, {"Retry-After": "1"})
        busy += 1
        try:
            return await _answered(name, request)
        finally:
            busy -= 1

    async def _answered(name: str, request: Request) -> Response:
        try:
            async with asyncio.timeout(body_seconds):
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

    return strict_app([Route("/hooks/{name}", hook, methods=["POST", "OPTIONS"])])


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
