"""What every answer has in common: strict headers, errors in JSON, one request for each connection."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from automator.edges.web.problem import problem_json
from automator.reasons import reason

_HEADERS = {
    # A connection that is kept open is a place taken from somebody else: nobody asks us often.
    "Connection": "close",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    # Not `no-referrer`: browsers then hide the origin of our own forms, too.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_CACHE = "no-store"
"""What an answer says of keeping it, unless it says something else itself."""
_NO_PAGE = "default-src 'none'; frame-ancestors 'none'"
_PAGE = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""What a page may load: what we serve, and nothing that stands in the page itself."""


def _nobody(_request: Request, _status: int) -> None:
    """Nobody wants to know."""


def strict_app(routes: Sequence[Route], refused: Callable[[Request, int], None] = _nobody) -> ASGIApp:
    """An application of these routes; anything else is a 404 or 405 in JSON, of which `refused` is told."""

    def answer(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        refused(request, error.status_code)
        return JSONResponse({"error": error.detail}, error.status_code, error.headers)

    app = Starlette(routes=routes, exception_handlers={HTTPException: answer, Exception: _broken})
    app.router.redirect_slashes = False
    return StrictHeaders(app)


def full_app() -> ASGIApp:
    """An application that has no place for anybody."""
    return StrictHeaders(
        Response(problem_json(reason("web/busy")), 503, {"Retry-After": "1"}, "application/json")
    )


def unavailable() -> Response:
    """The answer to who may come again in a moment."""
    return JSONResponse({"error": "Service Unavailable"}, 503, {"Retry-After": "1"})


def _broken(_request: Request, _error: Exception) -> Response:
    return JSONResponse({"error": "Internal Server Error"}, 500)


class StrictHeaders:
    """Puts the headers that keep browsers careful on every answer, errors included."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": strict_headers(message.get("headers", ()))}
            await send(message)

        await self._app(scope, receive, with_headers)


def strict_headers(own: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The headers of an answer, with those that every answer has."""
    told = {name.lower(): value for name, value in own}
    is_page = told.get(b"content-type", b"").startswith(b"text/html")
    more = {**_HEADERS, "Content-Security-Policy": _PAGE if is_page else _NO_PAGE}
    if b"cache-control" not in told:
        more["Cache-Control"] = _CACHE
    return [*own, *((name.lower().encode(), value.encode()) for name, value in more.items())]
