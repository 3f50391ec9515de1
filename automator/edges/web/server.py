"""The thread that serves an application on an address of its own, and its bounds for connections."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
from collections.abc import Callable

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from automator.edges.web.answers import full_app
from automator.edges.web.refusal import Refusal
from automator.errors import ConfigError
from automator.reasons import reason

HEAD_SECONDS = 10.0
"""Longest time from a connection to the end of its request's head."""
WHOLE_SECONDS = 60.0
"""Longest time of a connection: its answer must have been read by then."""
CONNECTIONS = 128
"""Connections that are served at a time."""
OF_ONE = 64
"""Connections of one client that are served at a time: nobody takes all places."""
TURNED_AWAY = 256
"""Connections beyond those that are at least answered 503; others are just closed."""


def _nobody(_what: Refusal) -> None:
    """Nobody wants to know."""


class _PatientOnce(H11Protocol):
    """A connection for one request, that is closed where none comes of it, and however it goes after a
    while; uvicorn would wait for ever. One that is too many is answered that it is."""

    head_seconds = HEAD_SECONDS
    whole_seconds = WHOLE_SECONDS
    full = staticmethod(full_app())
    unserved = staticmethod(_nobody)
    is_crowded = False
    party = ""
    timers: tuple[asyncio.TimerHandle, ...] = ()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.party = _party(self.client[0] if self.client is not None else "")
        others = [one for one in self.connections if one is not self and isinstance(one, _PatientOnce)]
        served = [one for one in others if not one.is_crowded]
        if len(served) >= CONNECTIONS or sum(one.party == self.party for one in served) >= OF_ONE:
            self.is_crowded = True
            self.app = self.full
            self.unserved(Refusal.CROWDED)
            if len(others) - len(served) >= TURNED_AWAY:
                transport.abort()
                return
        # Who is turned away anyway gets no time to be slow.
        patience = min(1.0, self.head_seconds) if self.is_crowded else self.head_seconds
        self.timers = (
            self.loop.call_later(patience, self._leave),
            self.loop.call_later(self.whole_seconds, transport.abort),
        )

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in self.timers:
            timer.cancel()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        self.unserved(Refusal.MALFORMED)
        super().send_400_response(msg)

    def _leave(self) -> None:
        # Typed as always there, it is None until the head has come.
        if getattr(self, "cycle", None) is None:
            if not self.is_crowded:
                self.unserved(Refusal.TOO_SLOW)
            self.transport.abort()


def _party(address: str) -> str:
    """Who is behind an address, as far as that can be told: of IPv6 the first half belongs to one network."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.version == 4:
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((int(parsed) >> 64 << 64, 64)))


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
        unserved: Callable[[Refusal], None] = _nobody,
        head_seconds: float = HEAD_SECONDS,
        whole_seconds: float = WHOLE_SECONDS,
    ) -> None:
        """`address`: host (a name or an IP; empty for every interface) and port (0: any free one).

        `unserved` is told of connections that `app` never saw: more than are served at a time, no HTTP,
        or no request in time."""
        bounds = {"head_seconds": head_seconds, "whole_seconds": whole_seconds}
        protocol = type("_Once", (_PatientOnce,), {**bounds, "unserved": staticmethod(unserved)})
        self._address = address
        self._socket: socket.socket | None = None
        self._server = _Server(
            uvicorn.Config(
                app,
                access_log=False,
                h11_max_incomplete_event_size=16 * 1024,
                http=protocol,
                lifespan="off",
                log_config=None,
                loop="asyncio",
                # Who sends is told by the connection: anybody can write a header.
                proxy_headers=False,
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
