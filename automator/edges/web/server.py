"""The thread that serves an application on an address of its own, and its bounds for connections."""

from __future__ import annotations

import asyncio
import socket
import threading

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from automator.errors import ConfigError
from automator.reasons import reason

HEAD_SECONDS = 10.0
"""Longest time from a connection to the end of its request's head."""
CONNECTIONS = 128


class _PatientOnce(H11Protocol):
    """A connection that is closed where no request comes of it; uvicorn would wait for ever."""

    head_seconds = HEAD_SECONDS

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.loop.call_later(self.head_seconds, self._leave)

    def _leave(self) -> None:
        # Typed as always there, it is None until the head has come.
        if getattr(self, "cycle", None) is None:
            self.transport.abort()


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

    def __init__(
        self,
        app: ASGIApp,
        address: tuple[str, int],
        *,
        name: str = "web",
        head_seconds: float = HEAD_SECONDS,
    ) -> None:
        """`address`: host (a name or an IP; empty for every interface) and port (0: any free one)."""
        protocol = type("_Once", (_PatientOnce,), {"head_seconds": head_seconds})
        self._address = address
        self._socket: socket.socket | None = None
        self._server = _Server(
            uvicorn.Config(
                app,
                access_log=False,
                h11_max_incomplete_event_size=16 * 1024,
                http=protocol,
                lifespan="off",
                limit_concurrency=CONNECTIONS,
                log_config=None,
                loop="asyncio",
                server_header=False,
                timeout_graceful_shutdown=2,
                timeout_keep_alive=5,
                ws="none",
            )
        )
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)

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
