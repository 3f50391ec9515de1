"""Past: the pull requests of one project whose branches begin alike, on a forge that cannot filter by branch.

All of the project's are read once; after that, those that changed since, newest change first. So a branch's
closed ones are found without reading everything each time, and never only some of them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import NamedTuple

from automator.core.forge import PullRequest


class Changed(NamedTuple):
    """A pull request as a listing has it."""

    pull: PullRequest
    at: datetime | None
    """Its last change; None where the forge does not say."""


class Past:
    """What is known of the pull requests whose branches begin with `prefix`. For several threads.

    `listed` gives all pull requests of the project, the one that changed last first, and raises ForgeError
    where it cannot give all that is asked of it.
    """

    def __init__(self, prefix: str, listed: Callable[[], Iterator[Changed]]) -> None:
        self._prefix = prefix
        self._listed = listed
        self._known: dict[int, PullRequest] = {}
        self._until: datetime | None = None
        self._reading = threading.Lock()

    def of(self, head: str) -> tuple[PullRequest, ...]:
        """Those of a branch as they are now, newest first; of an open one, the commit may have moved since.

        Raises ForgeError; then nothing of what was read counts, and it is read anew the next time.
        """
        with self._reading:
            self._read()
            found = [pull for pull in self._known.values() if pull.head == head]
        return tuple(sorted(found, key=lambda pull: -pull.number))

    def _read(self) -> None:
        fresh: dict[int, PullRequest] = {}
        newest = self._until
        for pull, at in self._listed():
            # Several may have changed in the same second: what is as old as the newest known is read again.
            if at is not None and self._until is not None and at < self._until:
                break
            if at is not None and (newest is None or at > newest):
                newest = at
            if pull.head.startswith(self._prefix):
                fresh.setdefault(pull.number, pull)
        self._known |= fresh
        self._until = newest
