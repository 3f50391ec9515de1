"""Sights: since when commits have been on a config repo's branch, as far as we saw it ourselves.

A commit's own time is anybody's claim. What counts beside it is when the branch first held it, before our
eyes: so a soak can be shortened by nobody's clock. Who lost this begins anew, with the sight after.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from automator.core.upstream import Sights
from automator.edges.checkout import Checkout

LOOKED_BACK = 20_000
"""Commits of a branch that are looked through for one that was seen."""


class Memory(Protocol):
    """Where it is remembered (`edges.store`)."""

    def first_sights(self, branch: str, commits: Iterable[str]) -> Mapping[str, datetime]: ...
    def first_sight(self, branch: str) -> datetime | None: ...
    def saw_commits(self, branch: str, commits: Iterable[str], now: datetime) -> None: ...
    def forget_commits(self, branch: str) -> None: ...


@dataclass
class Sightings:
    """Remembers the heads of one branch, and tells of any commit when it was first seen there."""

    branch: str
    """Name, URL and branch of the config repo: another branch has another past."""
    checkout: Checkout
    memory: Memory
    _head: str | None = None
    _looked: datetime | None = None

    def saw(self, head: str, now: datetime, *, rewound: bool = False) -> None:
        """The branch is at `head`. One that was rewound begins anew: what its commits were part of for how
        long cannot be told any more."""
        if rewound:
            self.memory.forget_commits(self.branch)
        was_set_back = self._looked is not None and now < self._looked
        if head != self._head or rewound or was_set_back:
            self.memory.saw_commits(self.branch, (head,), now)
            self._head = head
        self._looked = now

    def of(self, commits: Collection[str], head: str, now: datetime) -> Sights:
        """When each commit was first seen; `head`, the branch's present one, contains them all.

        Raises CheckoutError.
        """
        known = dict(self.memory.first_sights(self.branch, commits))
        # What was seen later than now, as a clock that was wrong had it, counts from now.
        if late := [commit for commit, at in known.items() if at > now]:
            self.memory.saw_commits(self.branch, late, now)
            known.update(dict.fromkeys(late, now))
        earliest = self.memory.first_sight(self.branch)
        missing = set(commits) - known.keys()
        if missing and earliest is not None and earliest < now:
            for at, found in self._in_passing(missing, head, now).items():
                self.memory.saw_commits(self.branch, found, at)
                known.update(dict.fromkeys(found, at))
        elif missing:
            self.memory.saw_commits(self.branch, missing, now)
            known.update(dict.fromkeys(missing, now))
        return Sights(known, min(earliest or now, now))

    def _in_passing(self, missing: set[str], head: str, now: datetime) -> dict[datetime, list[str]]:
        """Commits that were no head when we looked: seen with the first head that contains them."""
        line = [entry.commit for entry in self.checkout.log(head, limit=LOOKED_BACK)]
        seen = self.memory.first_sights(self.branch, line)
        found: dict[datetime, list[str]] = {}
        first = now
        for commit in line:
            first = min(first, seen.get(commit, first))
            if commit in missing:
                found.setdefault(first, []).append(commit)
        return found
