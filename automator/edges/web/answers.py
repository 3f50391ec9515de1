"""What every answer has in common: strict headers, errors in JSON, one request for each connection."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HEADERS = {
    "Cache-Control": "no-store",
    # A connection that is kept open is a place taken from somebody else: nobody asks us often.
    "Connection": "close",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


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
    return _StrictHeaders(app)


def full_app() -> ASGIApp:
    """An application that has no place for anybody."""
    return _StrictHeaders(unavailable())


def unavailable() -> Response:
    """The answer to who may come again in a moment."""
    return JSONResponse({"error": "Service Unavailable"}, 503, {"Retry-After": "1"})


def _broken(_request: Request, _error: Exception) -> Response:
    return JSONResponse({"error": "Internal Server Error"}, 500)


class _StrictHeaders:
    """Puts the headers that keep browsers careful on every answer, errors included."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                strict = [(name.lower().encode(), value.encode()) for name, value in _HEADERS.items()]
                message = {**message, "headers": [*message.get("headers", ()), *strict]}
            await send(message)

        await self._app(scope, receive, with_headers)
