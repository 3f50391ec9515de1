"""Second looks: for an event that came before the registry's own list had its tag.

Some registries tell of a push before their list has it: a cycle that starts at once finds nothing new, and
without another look the tag would wait for the next poll.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial

from automator.core.reference import TAG, Repository

AFTER = (timedelta(seconds=5), timedelta(seconds=30))
"""Pauses before the looks, the first of them from the event on."""
TAGS_KEPT = 50
"""Tags of a repository that are waited for; a look for one of them finds the others too."""
LOST_AFTER = 60.0
"""Seconds that a look may be late."""

Listed = Callable[[Repository], Collection[str] | None]
"""The tags of the last list of a repository; None where there is none."""
Later = Callable[[timedelta, Callable[[], None]], None]
"""Has something called after a pause."""


@dataclass(slots=True, eq=False)
class _Look:
    """A look that is planned."""

    tags: set[str]
    late_at: float
    """Seconds on the clock after which it counts as lost, as where no thread could be had for it."""


@dataclass
class SecondLooks:
    """Has repositories looked at again that do not list what an event said was pushed.

    Of one repository at most one look for each pause is planned at a time, however many events come: a tag
    that never is listed costs as many looks as there are pauses, and its replays meanwhile none.
    """

    look: Callable[[str, Repository], None]
    """Asks for a cycle of a config repo that looks at the repository."""
    later: Later
    after: tuple[timedelta, ...] = AFTER
    clock: Callable[[], float] = time.monotonic
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _planned: dict[tuple[str, Repository], dict[int, _Look]] = field(default_factory=dict)

    def expect(self, repo: str, repository: Repository, tag: str | None, listed: Listed) -> None:
        """An event said that the repository, which the config repo `repo` watches, has the tag."""
        if tag is not None and TAG.fullmatch(tag) and tag not in (listed(repository) or ()):
            self._plan(repo, repository, {tag}, listed, 0)

    def _plan(self, repo: str, repository: Repository, tags: set[str], listed: Listed, number: int) -> None:
        now, pause = self.clock(), self.after[number]
        with self._lock:
            planned = self._planned.setdefault((repo, repository), {})
            for lost in [n for n, one in planned.items() if now > one.late_at]:
                del planned[lost]
            tags = tags.difference(*(one.tags for one in planned.values()))
            if number in planned:
                if len(planned[number].tags) < TAGS_KEPT:
                    planned[number].tags |= tags
                return
            if not tags:
                return
            planned[number] = one = _Look(tags, now + pause.total_seconds() + LOST_AFTER)
        self.later(pause, partial(self._due, repo, repository, listed, number, one))

    def _due(self, repo: str, repository: Repository, listed: Listed, number: int, one: _Look) -> None:
        """Look again if the last list does not have them all."""
        with self._lock:
            planned = self._planned.get((repo, repository), {})
            if planned.get(number) is not one:
                return
            del planned[number]
            if not planned:
                del self._planned[(repo, repository)]
        found = listed(repository)
        # Where there is no list the registry failed, and is asked again when that makes sense.
        missing = set() if found is None else one.tags.difference(found)
        if not missing:
            return
        self.look(repo, repository)
        if number + 1 < len(self.after):
            self._plan(repo, repository, missing, listed, number + 1)
