"""The terminal as it may be: a pipe whose reader has left, a full disk, a stream that was never opened."""

from __future__ import annotations

import io
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from automator.errors import AutomatorError
from automator.reasons import reason


def prepare() -> None:
    """Make standard output and error safe to write to; once, before the first word.

    A descriptor that was closed is filled, so that no file of ours is opened in its place and
    written over by an error message.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = _Stream.of(sys.stdout, 1)
    sys.stderr = _Stream.of(sys.stderr, 2)


def leave(code: int) -> NoReturn:
    """End the process with an exit code, without waiting for threads that still listen to a silent server."""
    if threading.active_count() == 1:
        sys.exit(code)
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


class _Stream(io.TextIOWrapper):
    """A stream whose end is no failure of ours: a reader that leaves changes neither work nor exit code."""

    @classmethod
    def of(cls, stream: object, descriptor: int) -> _Stream:
        if not isinstance(stream, io.TextIOWrapper):  # None: it was closed when we began
            return cls(open(descriptor, "wb", closefd=False), "utf-8")
        encoding, line_buffering = stream.encoding, stream.line_buffering
        return cls(stream.detach(), encoding, "backslashreplace", line_buffering=line_buffering)

    def write(self, text: str) -> int:
        with self._tolerant():
            super().write(text)
        return len(text)

    def flush(self) -> None:
        with self._tolerant():
            super().flush()

    @contextmanager
    def _tolerant(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            self._silence()
        except OSError as error:
            self._silence()
            raise AutomatorError(reason("usage/output", problem=error.strerror)) from error

    def _silence(self) -> None:
        """Let everything further, and what is buffered, go nowhere."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)
