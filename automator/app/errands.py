"""Errands: what a thread that must not be kept waiting leaves to another one, in its order."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable


class Errands:
    """Done one after the other on a thread that there is only while there are any. For all threads."""

    def __init__(self, name: str, broke_off: Callable[[Exception], None]) -> None:
        """`name` is that of the thread; `broke_off` is told of an errand that raised, on it."""
        self._name = name
        self._broke_off = broke_off
        self._guard = threading.Lock()
        """Held for moments only, and never while an errand is done."""
        self._left: deque[Callable[[], None]] = deque()
        self._thread: threading.Thread | None = None
        self._is_closed = False

    def leave(self, errand: Callable[[], None]) -> None:
        """Have this done, after what was left before. Never waits; after `close` it is not done."""
        with self._guard:
            if self._is_closed:
                return
            self._left.append(errand)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()

    def close(self, seconds: float) -> bool:
        """Take no more, and wait so long until all are done. False where one hangs: it is left behind, and
        those after it are not done."""
        with self._guard:
            self._is_closed = True
            thread = self._thread
        if thread is None:
            return True
        thread.join(seconds)
        with self._guard:
            self._left.clear()
        return not thread.is_alive()

    def _run(self) -> None:
        while True:
            with self._guard:
                if not self._left:
                    self._thread = None
                    return
                errand = self._left.popleft()
            try:
                errand()
            except Exception as error:  # noqa: BLE001 - whatever it is, the next errand is to be done
                self._broke_off(error)
