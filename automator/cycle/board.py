"""The board: where the config repos of one process tell each other that there is news."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from automator.core.circles import Waits, circles

Stamp = tuple[str | None, int]


class Board:
    """Where the config repos of one process tell each other that there is news; for all threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stamps: dict[str, Stamp] = {}
        self._followers: dict[str, set[str]] = {}
        self._waits: dict[str, Waits] = {}
        self._circles: Mapping[str, tuple[str, ...]] = {}
        self.wake: Callable[[str], None] = lambda _repo: None
        """Asks for a cycle of a config repo, and does not wait for it."""

    def tell(self, repo: str, head: str, *, verified: bool = False) -> None:
        """A config repo is at `head`; with `verified`, checks there came to an end, runtimes told news
        of what it has, or people refused something there."""
        with self._lock:
            was, count = self._stamps.get(repo, (None, 0))
            if was == head and not verified:
                return
            self._stamps[repo] = (head, count + verified)
            followers = tuple(self._followers.get(repo, ()))
        for follower in followers:
            self.wake(follower)

    def come_after(self, repo: str, waits: Waits) -> None:
        """Who comes after whom in a config repo; another one is woken whose workloads are part of a circle
        now, or no longer are."""
        with self._lock:
            if self._waits.get(repo) == waits:
                return
            self._waits[repo] = waits
            old, self._circles = self._circles, circles(self._waits.values())
            changed = {
                name for name in old.keys() | self._circles.keys() if old.get(name) != self._circles.get(name)
            }
            others = {name.partition("/")[0] for name in changed} - {repo}
        for other in sorted(others):
            self.wake(other)

    def circles(self) -> Mapping[str, tuple[str, ...]]:
        """Those of all config repos that were read, by workload in full; another mapping once they change."""
        with self._lock:
            return self._circles

    def follow(self, repo: str, follower: str) -> Stamp:
        """What is known of a config repo, news of which wakes `follower` from now on."""
        with self._lock:
            self._followers.setdefault(repo, set()).add(follower)
            return self._stamps.get(repo, (None, 0))

    def stamp(self, repo: str) -> Stamp:
        """Changes with all that was told of a config repo."""
        with self._lock:
            return self._stamps.get(repo, (None, 0))
