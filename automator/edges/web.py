"""The daemon's web server: /healthz, /readyz and /metrics, on a thread of its own.

It answers from what it is given and changes nothing. `make_app` is the application, `WebServer`
the thread that serves it.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import NamedTuple

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from automator.errors import ConfigError
from automator.reasons import reason

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


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

    app = Starlette(
        routes=[
            Route("/healthz", probe(health)),
            Route("/readyz", probe(ready)),
            Route("/metrics", numbers),
        ],
        exception_handlers={HTTPException: _refused, Exception: _broken},
    )
    app.router.redirect_slashes = False
    return _StrictHeaders(app)


def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


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


class _Server(uvicorn.Server):
    """uvicorn, saying by an event when it answers."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.answers = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.answers.set()


class WebServer:
    """Serves an application on a thread, from `start` to `stop`."""

    def __init__(self, app: ASGIApp, address: tuple[str, int]) -> None:
        """`address`: host (a name or an IP; empty for every interface) and port (0: any free one)."""
        self._address = address
        self._socket: socket.socket | None = None
        self._server = _Server(
            uvicorn.Config(
                app,
                access_log=False,
                h11_max_incomplete_event_size=16 * 1024,
                http="h11",
                lifespan="off",
                limit_concurrency=64,
                log_config=None,
                loop="asyncio",
                server_header=False,
                timeout_graceful_shutdown=2,
                timeout_keep_alive=5,
                ws="none",
            )
        )
        self._thread = threading.Thread(target=self._serve, name="web", daemon=True)

    @property
    def port(self) -> int:
        """The port it listens on, once started."""
        assert self._socket is not None
        return int(self._socket.getsockname()[1])

    def start(self) -> None:
        """Listen, and return once requests are answered.

        Raises ConfigError (`daemon/listen`) where the address is taken or not ours.
        """
        self._socket = _listening(self._address)
        self._thread.start()
        while self._thread.is_alive() and not self._server.answers.wait(timeout=1):
            pass

    def stop(self) -> None:
        """Finish the requests under way, at most for some seconds, and end the thread."""
        if self._thread.ident is not None:
            self._server.should_exit = True
            self._thread.join(timeout=10)
        if self._socket is not None:
            self._socket.close()

    def _serve(self) -> None:
        assert self._socket is not None
        self._server.run(sockets=[self._socket])


def _listening(address: tuple[str, int]) -> socket.socket:
    host, port = address
    try:
        if not host and socket.has_dualstack_ipv6():
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except OSError as error:
        shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        problem = error.strerror or str(error)
        raise ConfigError(reason("daemon/listen", address=shown, problem=problem)) from error
