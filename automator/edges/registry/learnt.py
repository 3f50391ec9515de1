"""Learnt: what is known of registry hosts from their answers, so that no question is wasted twice.

What belongs here: how a host departs from the specification. It is kept in memory only; a host that
mends its ways is believed again after an hour, or after a restart.

What is learnt from one repository counts for that one alone, since behind one host there may be several
registries (proxies, repository managers). Where several repositories below the same first part of the
path agree and none contradicts, it counts for all below it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar

from automator.core.reference import Repository
from automator.reasons import one_line

HEADS_LIMIT = 4096
BELIEVED = 3600.0  # seconds for which "it has no such question" counts
SEVERAL = 3
REPOSITORIES_LIMIT = 10_000
WARNINGS_LIMIT = 1000
HOST_WARNINGS_LIMIT = 50
WARNING_WORDS = 200

T = TypeVar("T")
Namespace = tuple[str, str]
"""A host and the first part of a path."""


@dataclass
class _Experience:
    """With one kind of question, below one namespace."""

    good: dict[Repository, None] = field(default_factory=dict)
    useless_until: dict[Repository, float] = field(default_factory=dict)
    """In the order of these times."""

    def is_useless(self, repository: Repository, now: float) -> bool:
        if now < self.useless_until.get(repository, now):
            return True
        latest = list(islice(reversed(self.useless_until.values()), SEVERAL))
        return not self.good and len(latest) == SEVERAL and now < latest[-1]

    def worked(self, repository: Repository) -> None:
        self.useless_until.pop(repository, None)
        self.good[repository] = None
        _bound(self.good)

    def failed(self, repository: Repository, now: float) -> None:
        self.good.pop(repository, None)
        self.useless_until.pop(repository, None)
        self.useless_until[repository] = now + BELIEVED
        _bound(self.useless_until)


@dataclass
class _Below:
    """What is known of the repositories below one namespace."""

    heads: _Experience = field(default_factory=_Experience)
    referrers: _Experience = field(default_factory=_Experience)
    sizes: _Experience = field(default_factory=_Experience)
    links_pages: bool = False


class Learnt:
    """Thread-safe. `now` is a monotonic clock in seconds."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._below: dict[Namespace, _Below] = {}
        self._heads: dict[tuple[Repository, str], str] = {}

    # -- HEAD -----------------------------------------------------------------------------------

    def heads_are_useless(self, repository: Repository) -> bool:
        """Whether a HEAD there told nothing of the digest that a GET could tell."""
        with self._lock:
            return self._of(repository).heads.is_useless(repository, self._now())

    def head_told(self, repository: Repository, tag: str, digest: str) -> None:
        """A HEAD told a digest."""
        with self._lock:
            self._of(repository).heads.worked(repository)
            self._heads.pop((repository, tag), None)
            self._heads[(repository, tag)] = digest
            if len(self._heads) > HEADS_LIMIT:
                del self._heads[next(iter(self._heads))]

    def last_head(self, repository: Repository, tag: str) -> str | None:
        """What the last HEAD said of a tag; told once."""
        with self._lock:
            return self._heads.pop((repository, tag), None)

    def head_lied(self, repository: Repository, *, proven: bool = False) -> None:
        """A HEAD failed where a GET did not: GET from now on, unless HEAD works around there (then a
        tag was perhaps just pushed) and this is not `proven`."""
        with self._lock:
            heads = self._of(repository).heads
            if proven or not heads.good:
                heads.failed(repository, self._now())

    # -- referrers ------------------------------------------------------------------------------

    def lacks_referrers(self, repository: Repository) -> bool:
        """Whether there is no referrers API."""
        with self._lock:
            return self._of(repository).referrers.is_useless(repository, self._now())

    def has_referrers(self, repository: Repository) -> None:
        """The referrers API answered."""
        with self._lock:
            self._of(repository).referrers.worked(repository)

    def no_referrers(self, repository: Repository) -> None:
        """The answer was that there is no referrers API; not believed where it answered before."""
        with self._lock:
            referrers = self._of(repository).referrers
            if repository not in referrers.good:
                referrers.failed(repository, self._now())

    # -- tag lists ------------------------------------------------------------------------------

    def refuses_page_sizes(self, repository: Repository) -> bool:
        """Whether a list is only had without a page size."""
        with self._lock:
            return self._of(repository).sizes.is_useless(repository, self._now())

    def page_size(self, repository: Repository, *, taken: bool) -> None:
        """A page size was taken, or refused where the list was had without."""
        with self._lock:
            sizes = self._of(repository).sizes
            if taken:
                sizes.worked(repository)
            else:
                sizes.failed(repository, self._now())

    def links_pages(self, repository: Repository) -> bool:
        """Whether a full page without link is the last: others were seen to link from page to page.

        Learnt for each first part of the path, since that chooses another repository manager's
        repository (Nexus), of which some link and some forget.
        """
        with self._lock:
            return self._of(repository).links_pages

    def linked_a_page(self, repository: Repository) -> None:
        """A page linked to its next one."""
        with self._lock:
            self._of(repository).links_pages = True

    def _of(self, repository: Repository) -> _Below:
        namespace = (repository.registry, repository.path.partition("/")[0])
        return self._below.setdefault(namespace, _Below())


def _bound(kept: dict[Repository, T]) -> None:
    if len(kept) > REPOSITORIES_LIMIT:
        del kept[next(iter(kept))]


class Warnings:
    """The warnings of registries (`Warning: 299`, distribution spec "Warnings"), each told once; those of
    one host are bounded, so that it cannot hide another's."""

    def __init__(self, told: Callable[[str, str], None] = lambda host, text: None) -> None:
        self._told = told
        self._lock = threading.Lock()
        self._seen: dict[tuple[str, str], None] = {}
        self._of_host: dict[str, int] = {}

    def hear(self, host: str, header: str) -> None:
        """Take the texts out of a Warning header of `host`; new ones are passed on, in one line."""
        for text in _texts(header):
            with self._lock:
                number = self._of_host.get(host, 0)
                full = number >= HOST_WARNINGS_LIMIT or len(self._seen) >= WARNINGS_LIMIT
                if full or (host, text) in self._seen:
                    continue
                self._of_host[host] = number + 1
                self._seen[(host, text)] = None
            self._told(host, text)

    def all(self) -> tuple[tuple[str, str], ...]:
        """(host, text), in the order of their first appearance."""
        with self._lock:
            return tuple(self._seen)


def _texts(header: str) -> list[str]:
    """The texts of `299 - "one", 299 - "two"`; other codes are caches' (RFC 9111) and of no interest."""
    texts = []
    rest = header[: 16 * 1024]
    while (start := rest.find("299 ")) >= 0:
        opened = rest.find('"', start)
        if opened < 0:
            break
        at = opened + 1
        while at < len(rest) and rest[at] != '"':
            at += 2 if rest[at] == "\\" else 1
        text = rest[opened + 1 : at].replace("\\\\", "\0").replace("\\", "").replace("\0", "\\")
        texts.append(one_line(text, WARNING_WORDS))
        rest = rest[at + 1 :]
    return [text for text in texts if text]
