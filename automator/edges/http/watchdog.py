"""The watchdog: ends an exchange when its time is over, however slowly the other side drips."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

from automator.edges.http.addresses import AddressRule

WATCH_INTERVAL = 0.25  # seconds by which an exchange may outlive its end


class Watched:
    """An exchange under way: when it ends, whom it may call, the socket it uses. For `with`."""

    __slots__ = ("allowed", "ends_at", "expired", "socket")

    def __init__(self, ends_at: float, allowed: AddressRule | None) -> None:
        self.ends_at = ends_at
        self.allowed = allowed
        self.socket: socket.socket | None = None
        self.expired = False

    def __enter__(self) -> None:
        _CURRENT.exchange = self
        _WATCHDOG.add(self)

    def __exit__(self, *_: object) -> None:
        _WATCHDOG.remove(self)
        _CURRENT.exchange = None

    def use(self, sock: socket.socket) -> None:
        """`sock` is what is to be cut off at the end."""
        self.socket = sock
        if self.expired:
            self.expire()

    def expire(self) -> None:
        """Cut the exchange off: whoever reads finds the end of the stream."""
        self.expired = True
        if self.socket is not None:
            with contextlib.suppress(OSError):  # closed meanwhile: that is what was wanted
                # Not SSLSocket.shutdown, which would take the TLS layer away under the reader.
                socket.socket.shutdown(self.socket, socket.SHUT_RDWR)


class _Watchdog:
    """One thread that looks at all exchanges a few times a second, and rests while there are none."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._exchanges: set[Watched] = set()
        self._thread: threading.Thread | None = None
        self._resting = False

    def add(self, exchange: Watched) -> None:
        with self._changed:
            self._exchanges.add(exchange)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._watch, name="http-watchdog", daemon=True)
                self._thread.start()
            elif self._resting:
                self._changed.notify()

    def remove(self, exchange: Watched) -> None:
        with self._changed:
            self._exchanges.discard(exchange)

    def _watch(self) -> None:
        while True:
            with self._changed:
                self._resting = not self._exchanges
                self._changed.wait(None if self._resting else WATCH_INTERVAL)
                self._resting = False
                now = time.monotonic()
                for exchange in [e for e in self._exchanges if e.ends_at <= now]:
                    exchange.expire()
                    self._exchanges.discard(exchange)


_WATCHDOG = _Watchdog()
_CURRENT = threading.local()


def current() -> Watched | None:
    """The exchange that this thread is in."""
    exchange: Watched | None = getattr(_CURRENT, "exchange", None)
    return exchange
