"""Observing registries: tag lists and facts, asked in parallel under one deadline.

Each host has threads of its own, so that a slow or silent one never delays another. What has not
answered by the deadline is *waiting*; its answer is taken by a later cycle.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, Protocol, TypeVar

from automator.core.facts import Sighting, Unavailable
from automator.core.reference import Image, Repository, TagList
from automator.edges.registry import RateLimited
from automator.errors import RegistryError
from automator.reasons import reason

T = TypeVar("T")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Answers = Mapping[tuple[Repository, str], Image | Unavailable]
Seen = dict[tuple[Repository, str], Image]


class Registry(Protocol):
    """What a cycle asks of registries (`edges.registry` answers it)."""

    def tags(self, repository: Repository, *, now: datetime) -> TagList: ...
    def digest(self, repository: Repository, tag: str) -> str: ...
    def image(self, repository: Repository, tag: str) -> Image: ...


class Memory(Protocol):
    """What is remembered between cycles and restarts (`edges.store` keeps it)."""

    def tag_list(self, repository: Repository) -> TagList | None: ...
    def save_tag_list(self, tags: TagList) -> None: ...
    def image(self, repository: Repository, tag: str) -> Image | None: ...
    def images(self, repository: Repository) -> Mapping[str, Image]: ...
    def save_image(self, repository: Repository, tag: str, image: Image) -> None: ...
    def first_seen(self, repository: Repository, tag: str) -> datetime | None: ...
    def began(self, now: datetime) -> datetime: ...
    def sightings(self, repository: Repository) -> Mapping[str, Sighting]: ...
    def sight(self, repository: Repository, tag: str, digest: str, now: datetime) -> Sighting: ...


class Looked(NamedTuple):
    """What a look at the registries brought."""

    changed: set[Repository]
    """Repositories whose tag list changed."""
    due: Collection[Repository]
    """Repositories that had their turn."""


@dataclass
class Observer:
    """Asks registries for the tag lists that are due, and for single facts."""

    registry: Registry
    memory: Memory
    interval: Callable[[str], timedelta]
    """Polling interval of a registry host."""
    concurrency: Callable[[str], int]
    """Requests at once to a host."""
    timeout: float = 30.0
    """Seconds that one look may take in all."""
    _now: datetime = EPOCH
    _lists: dict[Repository, TagList | Unavailable] = field(default_factory=dict)
    _asked_at: dict[Repository, datetime] = field(default_factory=dict)
    _just_seen: Seen = field(default_factory=dict)
    """Looked up in this cycle: not asked for twice. A late thread writes into its own cycle's."""
    _watched: Mapping[Repository, bool] = field(default_factory=dict)
    """The very collection that was looked at last: most cycles pass it again, and then nothing is due
    before `_next_due`."""
    _next_due: datetime | None = None
    _flying: dict[tuple[str, Repository, str], Future[Any]] = field(default_factory=dict)
    _pools: dict[str, ThreadPoolExecutor] = field(default_factory=dict)

    def look(
        self,
        repositories: Mapping[Repository, bool],
        named: Collection[Repository],
        now: datetime,
        *,
        all_due: bool,
    ) -> Looked:
        """Ask for the tag lists that are due, named ones first. A repository that is false in
        `repositories` has its turn, but nobody needs its list."""
        self._now = now
        self._just_seen = {}
        same = repositories is self._watched and not (named or all_due)
        if same and self._next_due is not None and now < self._next_due:
            return Looked(set(), ())
        due = [r for r in repositories if all_due or r in named or self._is_due(r, now)]
        due.sort(key=lambda r: r not in named)
        listed = [(r, "") for r in due if repositories[r]]
        answers = self._ask("tags", listed, lambda r, _: self.registry.tags(r, now=now))
        changed = set()
        self._asked_at.update(dict.fromkeys(due, now))
        for (repository, _), answer in answers.items():
            if self._take(repository, answer):
                changed.add(repository)
        self._watched = repositories
        self._next_due = min((self._due_at(r) for r in repositories), default=now)
        return Looked(changed, due)

    def tags(self, repository: Repository) -> TagList | Unavailable:
        """The last answer: a complete list, or why there is none."""
        if repository not in self._lists:
            known = self.memory.tag_list(repository)
            if known is None:
                return Unavailable(reason("registry/not-asked", image=repository), waiting=True)
            self._lists[repository] = known
        return self._lists[repository]

    def images(self, subjects: list[tuple[Repository, str]]) -> Answers:
        """What the registry serves for each tag now: one request where the digest is known.

        An answer that comes too late is dropped: by the next cycle the tag may be another image.
        """
        seen = self._just_seen
        answers = self._ask("image", subjects, lambda r, tag: self._fresh_image(r, tag, seen))
        for repository, tag in subjects:
            self._flying.pop(("image", repository, tag), None)
        return answers

    def first_looks(self, subjects: list[tuple[Repository, str]]) -> Answers:
        """Each tag as it was first seen: no request for what is remembered (build times are kept
        for ever)."""
        seen = self._just_seen
        return self._ask("first", subjects, lambda r, tag: self._known_image(r, tag, seen))

    def first_seen(self, repository: Repository, tag: str) -> datetime | None:
        """Since when a tag is in our lists; for one that was in the very first list, since that list."""
        return self.memory.first_seen(repository, tag)

    def close(self) -> None:
        """Start nothing more; threads end with their last answer."""
        for pool in self._pools.values():
            pool.shutdown(wait=False, cancel_futures=True)

    def _is_due(self, repository: Repository, now: datetime) -> bool:
        return repository not in self._asked_at or self._due_at(repository) <= now

    def _due_at(self, repository: Repository) -> datetime:
        """When it is asked again: after its interval, or sooner where the registry itself named a time."""
        asked = self._asked_at[repository]
        due = asked + self.interval(repository.registry)
        last = self._lists.get(repository)
        named = last.reason.changes_at if isinstance(last, Unavailable) else None
        return due if named is None or named <= asked else min(due, named)

    def _take(self, repository: Repository, answer: TagList | Unavailable) -> bool:
        last = self._lists.get(repository)
        self._lists[repository] = answer
        if isinstance(answer, Unavailable):
            # A reason that changed is news too: the outcome must tell the present one.
            return answer != last
        if isinstance(last, TagList) and last.revision == answer.revision:
            return False
        if last is None:
            kept = self.memory.tag_list(repository)
            if kept is not None and kept.revision == answer.revision:
                return True
        self.memory.save_tag_list(answer)
        return True

    def _fresh_image(self, repository: Repository, tag: str, seen: Seen) -> Image:
        just_seen = seen.get((repository, tag))
        if just_seen is not None:
            return just_seen
        known = self.memory.image(repository, tag)
        # What was looked up before platforms were kept is looked up once more.
        is_whole = known is not None and known.platforms is not None
        if known is not None and is_whole and self.registry.digest(repository, tag) == known.digest:
            return known
        return self._look_up(repository, tag, seen)

    def _known_image(self, repository: Repository, tag: str, seen: Seen) -> Image:
        return self.memory.image(repository, tag) or self._look_up(repository, tag, seen)

    def _look_up(self, repository: Repository, tag: str, seen: Seen) -> Image:
        image = self.registry.image(repository, tag)
        self.memory.save_image(repository, tag, image)
        seen[(repository, tag)] = image
        return image

    def _ask(
        self,
        kind: str,
        subjects: list[tuple[Repository, str]],
        ask: Callable[[Repository, str], T],
    ) -> Mapping[tuple[Repository, str], T | Unavailable]:
        """Ask all at once, each host in its own threads; what is late is waited for no longer."""
        futures: dict[tuple[Repository, str], Future[T]] = {}
        asked_now = []
        for repository, tag in subjects:
            key = (kind, repository, tag)
            if key not in self._flying:
                self._flying[key] = self._pool(repository.registry).submit(ask, repository, tag)
                asked_now.append(self._flying[key])
            futures[(repository, tag)] = self._flying[key]
        # One that was late before is not waited for again: it must not delay each cycle anew.
        wait(asked_now, timeout=self.timeout)
        answers: dict[tuple[Repository, str], T | Unavailable] = {}
        for (repository, tag), future in futures.items():
            if not future.done():
                late = reason("registry/late", image=repository, seconds=f"{self.timeout:g}")
                answers[(repository, tag)] = Unavailable(late, waiting=True)
                continue
            del self._flying[(kind, repository, tag)]
            try:
                answers[(repository, tag)] = future.result()
            except RateLimited as error:
                answers[(repository, tag)] = Unavailable(error.reason_at(self._now), waiting=True)
            except RegistryError as error:
                answers[(repository, tag)] = Unavailable(error.reason)
            except Exception as error:  # noqa: BLE001 - a bug met by one repository stays with it
                words = f"{type(error).__name__}: {error}"
                answers[(repository, tag)] = Unavailable(
                    reason("registry/bug", image=repository, problem=words)
                )
        return answers

    def _pool(self, host: str) -> ThreadPoolExecutor:
        if host not in self._pools:
            self._pools[host] = ThreadPoolExecutor(self.concurrency(host), f"registry-{host}")
        return self._pools[host]
