"""Learnt: what is known of registry hosts from their answers, so that no question is wasted twice.

What belongs here: how a host departs from the specification. It is kept in memory only; a host that
mends its ways is believed again after an hour, or after a restart.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from automator.core.reference import Repository
from automator.reasons import one_line

HEADS_LIMIT = 4096
BELIEVED = 3600.0  # seconds for which "it has no such question" counts
WARNINGS_LIMIT = 200
WARNING_WORDS = 200


@dataclass
class _Host:
    head_works: bool = False
    head_useless_until: float = float("-inf")
    no_referrers_until: float = float("-inf")
    honest: set[str] = field(default_factory=set)


class Learnt:
    """Thread-safe. `now` is a monotonic clock in seconds."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._hosts: dict[str, _Host] = {}
        self._heads: dict[tuple[Repository, str], str] = {}

    def heads_are_useless(self, host: str) -> bool:
        """Whether a HEAD there told nothing of the digest that a GET could tell."""
        with self._lock:
            return self._now() < self._host(host).head_useless_until

    def head_told(self, host: str, repository: Repository, tag: str, digest: str) -> None:
        """A HEAD told a digest."""
        with self._lock:
            self._host(host).head_works = True
            self._heads.pop((repository, tag), None)
            self._heads[(repository, tag)] = digest
            if len(self._heads) > HEADS_LIMIT:
                del self._heads[next(iter(self._heads))]

    def last_head(self, repository: Repository, tag: str) -> str | None:
        """What the last HEAD said of a tag; told once."""
        with self._lock:
            return self._heads.pop((repository, tag), None)

    def head_lied(self, host: str, *, proven: bool = False) -> None:
        """A HEAD failed where a GET did not: GET from now on, unless HEAD worked there before (then a
        tag was perhaps just pushed) and this is not `proven`."""
        with self._lock:
            known = self._host(host)
            if proven or not known.head_works:
                known.head_useless_until = self._now() + BELIEVED

    def lacks_referrers(self, host: str) -> bool:
        """Whether it has no referrers API."""
        with self._lock:
            return self._now() < self._host(host).no_referrers_until

    def no_referrers(self, host: str) -> None:
        """It answered that there is no referrers API."""
        with self._lock:
            self._host(host).no_referrers_until = self._now() + BELIEVED

    def links_pages(self, host: str, path: str) -> bool:
        """Whether a full page without link is the last: it was seen to link from page to page.

        Learnt for each first part of the path, since that chooses another repository manager's
        repository (Nexus), of which some link and some forget.
        """
        with self._lock:
            return path.partition("/")[0] in self._host(host).honest

    def linked_a_page(self, host: str, path: str) -> None:
        """A page linked to its next one."""
        with self._lock:
            self._host(host).honest.add(path.partition("/")[0])

    def _host(self, host: str) -> _Host:
        return self._hosts.setdefault(host, _Host())


class Warnings:
    """The warnings of registries (`Warning: 299`, distribution spec "Warnings"), each told once."""

    def __init__(self, told: Callable[[str, str], None] = lambda host, text: None) -> None:
        self._told = told
        self._lock = threading.Lock()
        self._seen: dict[tuple[str, str], None] = {}

    def hear(self, host: str, header: str) -> None:
        """Take the texts out of a Warning header of `host`; new ones are passed on, in one line."""
        for text in _texts(header):
            with self._lock:
                if (host, text) in self._seen or len(self._seen) >= WARNINGS_LIMIT:
                    continue
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
