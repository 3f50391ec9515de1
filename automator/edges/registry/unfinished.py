"""Unfinished lists: pages that were read before the registry wanted to be left alone, kept until it may be
asked for the rest.

What belongs here: what is needed to go on, and for how long and how many lists it is kept.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from automator.core.reference import Repository
from automator.edges.registry.pages import Page

KEPT_FOR = timedelta(days=2)
"""From the first page: twice the longest wait that a registry may ask for."""
KEPT_BYTES = 64 * 1024 * 1024
"""Of all lists together: one that is as long as a list may be."""
KEPT_LISTS = 1000


@dataclass(frozen=True, slots=True)
class Unfinished:
    """The first pages of a tag list, and how the next one is asked for."""

    began_at: datetime
    pages: tuple[Page, ...]
    asked: frozenset[str]
    """The queries that led here."""
    query: str
    """Of the page that comes next."""
    unasked: frozenset[str]
    """Those of the queries that no link led to."""
    ends: Mapping[bytes, str | None]
    """As in `Known`."""
    sized: bool
    """A page size is asked for."""

    @property
    def size(self) -> int:
        """Bytes of all pages."""
        return sum(len(page.answer.body) for page in self.pages)


class UnfinishedLists:
    """The unfinished lists of all repositories; used by all threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[Repository, Unfinished] = {}

    def take(self, repository: Repository, now: datetime, known_at: datetime | None) -> Unfinished | None:
        """What there is of a repository's list; it is kept no longer. `known_at`: when the last whole list
        was seen, beside which an older beginning counts for nothing."""
        with self._lock:
            found = self._kept.pop(repository, None)
            if self._kept:  # one that nobody asks for any more comes to the front
                oldest = next(iter(self._kept))
                if not _is_fresh(self._kept[oldest], now):
                    del self._kept[oldest]
        if found is None or not _is_fresh(found, now):
            return None
        return None if known_at is not None and known_at > found.began_at else found

    def keep(self, repository: Repository, unfinished: Unfinished) -> bool:
        """Keep it for the next round. False where there is no room: others came first, and will make room
        once they are read to the end. Lists that drive each other out would never be."""
        with self._lock:
            self._kept.pop(repository, None)
            size = unfinished.size + sum(other.size for other in self._kept.values())
            if size > KEPT_BYTES or len(self._kept) >= KEPT_LISTS:
                return False
            self._kept[repository] = unfinished
            return True


def _is_fresh(unfinished: Unfinished, now: datetime) -> bool:
    return now - unfinished.began_at <= KEPT_FOR
