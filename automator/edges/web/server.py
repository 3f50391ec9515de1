"""The thread that serves an application on an address of its own, and its bounds for connections."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from itertools import count

import h11
import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from automator.edges.web.answers import full_app, strict_headers
from automator.edges.web.parties import party
from automator.edges.web.problem import problem_json
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
"""Connections beyond those that are at least answered 503; of more, the oldest without a request goes."""


def _nobody(_what: Refusal) -> None:
    """Nobody wants to know."""


class _PatientOnce(H11Protocol):
    """A connection for one request, that is closed where none comes of it, and however it goes after a
    while; uvicorn would wait for ever.

    Where there is no place, a new one takes that of the oldest that has brought no request so far. Where all
    have, it is answered that it is too many, unless it asks for what is always answered.
    """

    head_seconds = HEAD_SECONDS
    whole_seconds = WHOLE_SECONDS
    always: frozenset[str] = frozenset()
    unserved = staticmethod(_nobody)
    is_crowded = False
    number = 0
    """Of the connections since the start."""
    party = ""
    timers: tuple[asyncio.TimerHandle, ...] = ()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.party = party(self.client[0] if self.client is not None else "")
        self.number = next(_NUMBERS)
        others = [one for one in self.connections if one is not self and isinstance(one, _PatientOnce)]
        served = [one for one in others if not one.is_crowded]
        mine = [one for one in served if one.party == self.party]
        full = mine if len(mine) >= OF_ONE else (served if len(served) >= CONNECTIONS else [])
        if full and not _left_by_oldest(full):
            self.is_crowded = True
            self.app = _Crowded(self.app, self.always)
            self.unserved(Refusal.CROWDED)
            turned_away = [one for one in others if one.is_crowded]
            if len(turned_away) >= TURNED_AWAY and not _left_by_oldest(turned_away):
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
        error = sys.exc_info()[1]
        is_long = isinstance(error, h11.RemoteProtocolError) and error.error_status_hint == 431
        body = problem_json(reason("web/long-head") if is_long else reason("web/malformed"))
        headers = strict_headers([(b"content-type", b"application/json")])
        head = h11.Response(status_code=431 if is_long else 400, headers=headers)
        for event in (head, h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    @property
    def has_request(self) -> bool:
        """Whether the head of a request has come."""
        return getattr(self, "cycle", None) is not None  # typed as always there, it is None before

    def _leave(self) -> None:
        if not self.has_request:
            if not self.is_crowded:
                self.unserved(Refusal.TOO_SLOW)
            self.transport.abort()


_NUMBERS = count()


def _left_by_oldest(connections: Sequence[_PatientOnce]) -> bool:
    """Have the oldest connection that brought no request leave; whether there was one."""
    idle = [one for one in connections if not one.has_request and not one.transport.is_closing()]
    if not idle:
        return False
    oldest = min(idle, key=lambda one: one.number)
    if not oldest.is_crowded:
        oldest.unserved(Refusal.CROWDED)
    oldest.transport.abort()
    return True


class _Crowded:
    """An application that has no place for anybody, but for what is always answered."""

    def __init__(self, app: ASGIApp, always: frozenset[str]) -> None:
        self._app = app
        self._always = always
        self._full = full_app()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._app if scope.get("path") in self._always else self._full
        await app(scope, receive, send)


class _Telling:
    """An application whose bugs somebody is told of, once they are answered, and that answers to the last."""

    def __init__(self, app: ASGIApp, broken: Callable[[Exception], None]) -> None:
        self._app = app
        self._broken = broken
        self._full = full_app()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        has_begun = False

        async def noted(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            await self._app(scope, receive, noted)
        except Exception as error:  # noqa: BLE001 - uvicorn would log it, as often as it happens
            self._broken(error)
        except asyncio.CancelledError:
            # The server ends, and this one is still sending: it is to come again.
            if not has_begun:
                await self._full(scope, receive, send)


def _is_news(record: logging.LogRecord) -> bool:
    """Whether a line of uvicorn's is for anybody: that a slow client was cut off at the end is not."""
    return "timeout graceful shutdown exceeded" not in record.getMessage()


class Switch:
    """An application in front of another, which can be replaced while requests come: each sees one of both.
    Where there is none, nobody has a place."""

    def __init__(self) -> None:
        self.app: ASGIApp | None = None
        self._none = full_app()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (self.app or self._none)(scope, receive, send)


class _Server(uvicorn.Server):
    """uvicorn, saying by an event when it answers."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        logging.getLogger("uvicorn.error").addFilter(_is_news)
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
        broken: Callable[[Exception], None] | None = None,
        always: frozenset[str] = frozenset(),
        head_seconds: float = HEAD_SECONDS,
        whole_seconds: float = WHOLE_SECONDS,
    ) -> None:
        """`address`: host (a name or an IP; empty for every interface) and port (0: any free one).

        `unserved` is told of connections that `app` never saw: more than are served at a time, no HTTP,
        or no request in time. `broken` is told of bugs of `app`, which are logged without it. Paths of
        `always` are answered however many others ask."""
        bounds = {"head_seconds": head_seconds, "whole_seconds": whole_seconds, "always": always}
        protocol = type("_Once", (_PatientOnce,), {**bounds, "unserved": staticmethod(unserved)})
        self._address = address
        self._socket: socket.socket | None = None
        self._server = _Server(
            uvicorn.Config(
                app if broken is None else _Telling(app, broken),
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
