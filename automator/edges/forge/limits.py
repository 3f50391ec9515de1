"""Limits: when a forge may be asked again, and how fast it may be written to."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from automator.edges.forge import failures
from automator.edges.http import Answer
from automator.errors import ForgeError

BURST = 10
"""Changes that may come at once."""
SECONDS_APART = 1.0
"""And those after them (GitHub, "Best practices for using the REST API": at least one second)."""
LONGEST_PAUSE = 2.0
"""Seconds for which a caller is held at most; who comes later is told to."""


class _Turns(threading.local):
    """Turns that a thread has taken and not used yet."""

    left: int = 0


class Limits:
    """What a forge's rate limit leaves us. For several threads.

    Once the forge says that it wants to be left alone, every question is refused here until that time.
    """

    def __init__(
        self,
        host: str,
        *,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float],
        paced: bool,
    ) -> None:
        self._host = host
        self._clock = clock
        self._monotonic = monotonic
        self._paced = paced
        self._lock = threading.Lock()
        self._until = 0.0
        self._problem = ""
        self._in_a_row = 0
        self._next_change = 0.0
        self._own = _Turns()

    def admit(self, *, is_change: bool) -> None:
        """Wait for a moment where changes come too fast. Raises ForgeError (`forge/limited`)."""
        with self._lock:
            self._check_rest()
            if not is_change or not self._paced:
                return
            if self._own.left > 0:
                self._own.left -= 1
                return
            pause = self._pause(1)
        if pause > 0:
            time.sleep(pause)

    @contextmanager
    def together(self, changes: int) -> Iterator[None]:
        """Take the turns of so many changes of this thread, which belong together, before the first of them:
        pacing lets all of them pass, or (ForgeError, `forge/limited`) none."""
        if not self._paced or not changes:
            yield
            return
        with self._lock:
            self._check_rest()
            pause = self._pause(changes)
        if pause > 0:
            time.sleep(pause)
        self._own.left = changes
        try:
            yield
        finally:
            with self._lock:
                self._next_change -= self._own.left * SECONDS_APART
            self._own.left = 0

    def _check_rest(self) -> None:
        left = self._until - self._monotonic()
        if left > 0:
            raise failures.limited(self._host, self._problem, left, self._clock())

    def _pause(self, changes: int) -> float:
        """Seconds to wait before changes; their turns are taken. Real time: it is about a burst."""
        now = time.monotonic()
        # As if each change took a second of which BURST may lie in the future.
        turn = max(self._next_change, now - BURST * SECONDS_APART)
        pause = turn - now
        if pause > LONGEST_PAUSE:
            problem = "changes are sent to it a second apart, and too many are waiting"
            raise failures.limited(self._host, problem, pause, self._clock())
        self._next_change = turn + changes * SECONDS_APART
        return max(pause, 0.0)

    def heard(self, answer: Answer) -> ForgeError | None:
        """Take down what an answer says of limits; the error where it is a refusal for their sake."""
        now = self._clock()
        told = failures.asks_to_wait(answer, now)
        with self._lock:
            if told is None:
                self._in_a_row = 0
                if answer.status < 400 and failures.used_up(answer):
                    # This one was answered; the next one would not be, and counts against us.
                    self._rest(failures.told_wait(answer, now) or failures.UNTOLD_WAIT, "no requests left")
                return None
            self._in_a_row += 1
            wait = told or failures.UNTOLD_WAIT * 2 ** min(self._in_a_row - 1, 6)
            self._rest(wait, f"HTTP {answer.status}")
            return failures.limited(self._host, self._problem, wait, now)

    def _rest(self, seconds: float, problem: str) -> None:
        seconds = min(seconds, failures.LONGEST_WAIT)
        self._until = max(self._until, self._monotonic() + seconds)
        self._problem = problem
