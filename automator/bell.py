"""The bell: what signals ask of this process, kept until somebody has time for it."""

from __future__ import annotations

import os
import select
import signal
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Self

_STOPS = (signal.SIGTERM, signal.SIGINT)
_ASKS = (signal.SIGUSR1, signal.SIGHUP)


class Bell:
    """Rung by SIGTERM, SIGINT, SIGUSR1 and SIGHUP inside of `with`; a second one that says to stop ends the
    process at once. Takes no lock: a handler may interrupt whoever holds it. For the main thread."""

    def __init__(self) -> None:
        self.stops = False
        self._asked: list[int] = []
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        # Not select, which knows no descriptor above 1,023.
        self._ready = select.poll()
        self._ready.register(self._read, select.POLLIN)

    def __enter__(self) -> Self:
        for number in (*_STOPS, *_ASKS):
            signal.signal(number, self._ring)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number in _STOPS:
            signal.signal(number, signal.SIG_DFL)
        for number in _ASKS:  # what they ask for comes too late, which is no reason to be killed
            signal.signal(number, signal.SIG_IGN)
        os.close(self._read)
        os.close(self._write)

    def _ring(self, number: int, _frame: FrameType | None) -> None:
        if number in _STOPS:
            if self.stops:
                os._exit(128 + number)  # the second one
            self.stops = True
        self._asked.append(number)
        with suppress(BlockingIOError):
            os.write(self._write, b"!")

    def wait(self, seconds: float) -> frozenset[int]:
        """The signals that came until now, or within so many seconds."""
        if self._ready.poll(seconds * 1000):
            os.read(self._read, 4096)
        asked, self._asked = self._asked, []
        return frozenset(asked)
