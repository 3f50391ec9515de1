"""Probes and metrics: /healthz, /readyz and /metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from automator.edges.web.answers import strict_app

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Health(NamedTuple):
    """An answer to a probe: fine or not, and why, in words."""

    ok: bool
    words: str


def make_app(
    health: Callable[[], Health], ready: Callable[[], Health], metrics: Callable[[], bytes]
) -> ASGIApp:
    """The application: probes answer 200 or 503 with words, anything else is a 404 in JSON.

    `health`: do cycles still finish; `ready`: has every config repo had its first; `metrics`:
    Prometheus' text. They are called on a thread of the server's pool and must not block for long.
    """

    def probe(ask: Callable[[], Health]) -> Callable[[Request], Response]:
        def answer(_request: Request) -> Response:
            told = ask()
            return JSONResponse({"ok": told.ok, "words": told.words}, 200 if told.ok else 503)

        return answer

    def numbers(_request: Request) -> Response:
        return Response(metrics(), headers={"Content-Type": METRICS_TYPE})

    return strict_app(
        [Route("/healthz", probe(health)), Route("/readyz", probe(ready)), Route("/metrics", numbers)]
    )
