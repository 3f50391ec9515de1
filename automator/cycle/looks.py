"""Looks: how the last looks at registries went, kept as values that any thread may read.

A cycle notes what became of the repositories that had their turn; nothing else is asked or counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from automator.core.reference import Repository
from automator.reasons import Reason


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why the last look at a repository failed, and since when it does."""

    reason: Reason
    since: datetime
    at: datetime


@dataclass(frozen=True, slots=True)
class HostLook:
    """What looks at the repositories of one registry host brought."""

    host: str
    succeeded_at: datetime | None = None
    """When one of them was last looked at with success."""
    failing: Mapping[Repository, Trouble] = field(default_factory=dict)
    """Those whose last look failed."""
    failures: int = 0
    """Looks that failed since the start."""
    watched: frozenset[Repository] = frozenset()

    @property
    def trouble(self) -> Reason | None:
        """Why a look failed last, of those repositories that fail still."""
        last = max(self.failing.values(), key=lambda found: found.at, default=None)
        return None if last is None else last.reason


class Looks:
    """The looks of one config repo. Noted by its cycles, one at a time; `hosts` may be read by any thread."""

    def __init__(self) -> None:
        self._hosts: Mapping[str, HostLook] = {}

    @property
    def hosts(self) -> Mapping[str, HostLook]:
        """By host; a value that never changes."""
        return self._hosts

    def watch(self, repositories: Iterable[Repository]) -> None:
        """These are watched from now on, and no others: what was known of those is forgotten."""
        every: dict[str, set[Repository]] = {}
        for repository in repositories:
            every.setdefault(repository.registry, set()).add(repository)
        found = {}
        for host, watched in every.items():
            old = self._hosts.get(host) or HostLook(host)
            failing = {r: trouble for r, trouble in old.failing.items() if r in watched}
            found[host] = replace(old, failing=failing, watched=frozenset(watched))
        self._hosts = found

    def note(self, answers: Mapping[Repository, Reason | None], now: datetime) -> None:
        """What became of the repositories that were looked at now: None for success, else why not."""
        by_host: dict[str, dict[Repository, Reason | None]] = {}
        for repository, why in answers.items():
            by_host.setdefault(repository.registry, {})[repository] = why
        found = dict(self._hosts)
        for host, news in by_host.items():
            found[host] = _noted(found.get(host) or HostLook(host), news, now)
        self._hosts = found


def _noted(old: HostLook, news: Mapping[Repository, Reason | None], now: datetime) -> HostLook:
    troubles = {r: why for r, why in news.items() if why is not None}
    failing = old.failing
    if troubles or not failing.keys().isdisjoint(news):
        failing = {r: trouble for r, trouble in failing.items() if r not in news}
        for repository, why in troubles.items():
            before = old.failing.get(repository)
            failing[repository] = Trouble(why, now if before is None else before.since, now)
    succeeded_at = old.succeeded_at if len(troubles) == len(news) else now
    return replace(old, succeeded_at=succeeded_at, failing=failing, failures=old.failures + len(troubles))


def merged(every: Iterable[Mapping[str, HostLook]]) -> dict[str, HostLook]:
    """The looks of several config repos, by host; a repository that fails in one of them fails."""
    found: dict[str, HostLook] = {}
    for hosts in every:
        for host, look in hosts.items():
            known = found.get(host)
            found[host] = look if known is None else _both(known, look)
    return dict(sorted(found.items()))


def _both(one: HostLook, other: HostLook) -> HostLook:
    times = [at for at in (one.succeeded_at, other.succeeded_at) if at is not None]
    return HostLook(
        host=one.host,
        succeeded_at=max(times, default=None),
        failing={**one.failing, **other.failing},
        failures=one.failures + other.failures,
        watched=one.watched | other.watched,
    )
