"""Rates: how often each client may do something, in memory that has a bound."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

MOST_CLIENTS = 4_096
"""Clients that are remembered; whoever did the least lately is forgotten first."""


class Rates:
    """A bucket for each client: `burst` at once, and one more every `pause` seconds."""

    def __init__(self, burst: int, pause: float, clock: Callable[[], float]) -> None:
        """`clock` gives seconds and never goes back."""
        self._burst = burst
        self._pause = pause
        self._clock = clock
        self._lock = threading.Lock()
        self._full_at: OrderedDict[str, float] = OrderedDict()
        """When each client's bucket is full again."""

    def wait(self, client: str) -> float:
        """Seconds until the client may do it; 0 for at once."""
        with self._lock:
            return self._wait(client)

    def take(self, client: str) -> float:
        """Do it, if it may be done: 0 then, else the seconds until it may."""
        with self._lock:
            wait = self._wait(client)
            if not wait:
                now = self._clock()
                self._full_at[client] = max(self._full_at.pop(client, now), now) + self._pause
                while len(self._full_at) > MOST_CLIENTS:
                    self._full_at.popitem(last=False)
            return wait

    def _wait(self, client: str) -> float:
        missing = self._full_at.get(client, 0.0) - self._clock()
        return max(0.0, missing - (self._burst - 1) * self._pause)
