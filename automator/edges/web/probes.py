"""Probes and metrics: /healthz, /readyz and /metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import anyio
import anyio.to_thread
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from automator.edges.web.answers import strict_app

Numbers = Callable[[str], tuple[bytes, str]]
"""From the header `Accept` to the metrics, and to their content type."""
AT_ONCE = 4
"""Threads for probes, and as many for metrics: whatever else is asked, they have places of their own."""


class Health(NamedTuple):
    """An answer to a probe: fine or not, and why, in words."""

    ok: bool
    words: str


def make_app(health: Callable[[], Health], ready: Callable[[], Health], metrics: Numbers) -> ASGIApp:
    """The application: probes answer 200 or 503 with words, anything else is a 404 in JSON.

    See `probe_routes`.
    """
    return strict_app(probe_routes(health, ready, metrics))


def probe_routes(health: Callable[[], Health], ready: Callable[[], Health], metrics: Numbers) -> list[Route]:
    """The paths that need no token.

    `health`: do cycles still finish; `ready`: has every config repo had its first; `metrics`:
    Prometheus' text, in the format that is asked for. They are called on threads of their own and must not
    block for long.
    """
    asking, counting = anyio.CapacityLimiter(AT_ONCE), anyio.CapacityLimiter(AT_ONCE)

    def probe(path: str, ask: Callable[[], Health]) -> Route:
        async def answer(_request: Request) -> Response:
            told = await anyio.to_thread.run_sync(ask, limiter=asking)
            return JSONResponse({"ok": told.ok, "words": told.words}, 200 if told.ok else 503)

        return Route(path, answer)

    async def numbers(request: Request) -> Response:
        accept = request.headers.get("accept", "")
        body, kind = await anyio.to_thread.run_sync(metrics, accept, limiter=counting)
        return Response(body, headers={"Content-Type": kind, "Vary": "Accept"})

    return [probe("/healthz", health), probe("/readyz", ready), Route("/metrics", numbers)]
