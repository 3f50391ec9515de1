"""Observing registries: tag lists and facts, asked for in parallel within one time for a whole cycle.

What belongs here: when a repository has its turn, and what is asked about a tag. What has not answered
in time is *waiting*; its answer is taken by a later cycle.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, Protocol, TypeVar

from automator.core.facts import Sighting, Unavailable
from automator.core.lag import Appeared
from automator.core.reference import Image, Repository, TagList
from automator.cycle.asking import Asking
from automator.cycle.looks import Looks
from automator.reasons import Reason, reason

T = TypeVar("T")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LISTS_SHARE = 0.6
"""Part of a cycle's time for observing that tag lists may take."""
CALM = 12
"""What did not change for a time is asked again after a twelfth of it, within the bounds set."""
AGAIN = timedelta(minutes=1)
"""A repository whose look failed is looked at again so much later, then twice as late each time, until that
is as late as ever: with a long interval one bad moment would be taken for hours of silence."""
EARLY, EARLY_PART = timedelta(seconds=5), 20
"""A turn may come so much early, but no more than a twentieth of the pause: else one whose pause is the
daemon's own interval would miss every other cycle by some milliseconds."""
_WANT_REST = frozenset({"registry/rate-limited", "registry/resting"})
"""Whoever answers so is asked as rarely as the config says."""
Answers = Mapping[tuple[Repository, str], Image | Unavailable]
Seen = dict[tuple[Repository, str], Image]


class Registry(Protocol):
    """What a cycle asks of registries (`edges.registry` answers it)."""

    def tags(self, repository: Repository, *, now: datetime, since: datetime | None = None) -> TagList: ...
    def listed(self, repository: Repository, tag: str) -> Image | None: ...
    def digest(self, repository: Repository, tag: str) -> str: ...
    def image(self, repository: Repository, tag: str, *, known: Callable[[str], Image | None]) -> Image: ...
    def submit(
        self,
        host: str,
        act: Callable[[], T],
        *,
        asker: str = "",
        first: bool = False,
        key: Hashable | None = None,
    ) -> Future[T]: ...


class Memory(Protocol):
    """What is remembered between cycles and restarts (`edges.store` keeps it)."""

    def tag_list(self, repository: Repository) -> TagList | None: ...
    def save_tag_list(self, tags: TagList) -> None: ...
    def image(self, repository: Repository, tag: str) -> Image | None: ...
    def images(self, repository: Repository) -> Mapping[str, Image]: ...
    def image_by_digest(self, digest: str) -> Image | None: ...
    def save_image(self, repository: Repository, tag: str, image: Image) -> None: ...
    def first_seen(self, repository: Repository, tag: str) -> datetime | None: ...
    def appeared(self, repository: Repository, tags: Collection[str]) -> Appeared: ...
    def built(self, repository: Repository, tags: Collection[str]) -> Mapping[str, datetime]: ...
    def began(self, now: datetime) -> datetime: ...
    def sightings(self, repository: Repository) -> Mapping[str, Sighting]: ...
    def sighted(self, repository: Repository, tag: str) -> Sighting | None: ...
    def sight(self, repository: Repository, tag: str, digest: str, now: datetime) -> Sighting: ...


class Looked(NamedTuple):
    """What a look at the registries brought."""

    changed: set[Repository]
    """Repositories whose tag list changed."""
    due: Collection[Repository]
    """Repositories that had their turn."""


@dataclass(slots=True)
class _Turn:
    """When a repository was asked, and since when its answer is the same."""

    asked_at: datetime
    same_since: datetime
    due_at: datetime


@dataclass
class Observer:
    """Asks registries for the tag lists that are due, and for single facts."""

    registry: Registry
    memory: Memory
    interval: Callable[[str], timedelta] = lambda _: timedelta(0)
    """Least time between two lists of a repository of a registry host."""
    max_interval: Callable[[str], timedelta] = lambda _: timedelta(0)
    """Most time between them, for one whose tags stay the same."""
    timeout: float = 30.0
    """Seconds that all looks of one cycle may take."""
    asker: str = ""
    """The config repo, for which registries take turns."""
    looks: Looks = field(default_factory=Looks)
    """How the last looks went, for whoever wants to know."""
    _now: datetime = EPOCH
    _asking: Asking = field(init=False)
    _lists: dict[Repository, TagList | Unavailable] = field(default_factory=dict)
    _turns: dict[Repository, _Turn] = field(default_factory=dict)
    _queue: list[tuple[datetime, int, Repository]] = field(default_factory=list)
    """The repositories watched, by the time at which they are due; an entry may be outdated."""
    _numbers: itertools.count[int] = field(default_factory=itertools.count)
    _unnoticed: set[Repository] = field(default_factory=set)
    """Repositories whose list changed, until somebody said that it was noticed."""
    _just_seen: Seen = field(default_factory=dict)
    """Looked up in this cycle: not asked for twice. A late thread writes into its own cycle's."""
    _watched: Mapping[Repository, bool] = field(default_factory=dict)
    """The very collection that was looked at last: most cycles pass it again, and then only what is at
    the head of the queue can be due."""

    def __post_init__(self) -> None:
        self._asking = Asking(self.registry, self.timeout, self.asker)

    def look_ahead(self, named: Collection[Repository], now: datetime) -> None:
        """A cycle begins: send the questions for the tag lists that an event named, of those that were
        watched last. `look` takes the answers, of this cycle and no other."""
        listed = [(r, "") for r in named if self._watched.get(r)]
        self._asking.ask_ahead("tags", listed, lambda r, _: self.registry.tags(r, now=now))

    def look(
        self,
        repositories: Mapping[Repository, bool],
        named: Collection[Repository],
        now: datetime,
        *,
        all_due: bool,
        patience: timedelta = timedelta(0),
    ) -> Looked:
        """Ask for the tag lists that are due, named ones first, and such as nobody named only once they
        have been due for `patience`. A repository that is false in `repositories` has its turn, but nobody
        needs its list."""
        if now < self._now - EARLY:
            self._set_back(self._now - now)
        self._now = now
        self._asking.begin(now)
        self._just_seen = {}
        if repositories is not self._watched:
            self._watched = repositories
            self.looks.watch(repositories)
            self._queue = [(self._due_at(r), next(self._numbers), r) for r in repositories]
            heapq.heapify(self._queue)
        due = self._due(now - patience)
        if all_due:
            due = dict.fromkeys(repositories)
        asked_for = {r: None for r in named if r in repositories}
        due = asked_for | due
        if not due:
            return Looked(set(self._unnoticed), ())
        news = due if all_due else asked_for
        listed = [(r, "") for r in due if repositories[r]]
        before = {r: self._fresh_enough(r, now) for r, _ in listed if r not in news}
        answers = self._asking.ask(
            "tags",
            listed,
            lambda r, _: self.registry.tags(r, now=now, since=before.get(r)),
            first=asked_for,
            share=LISTS_SHARE,
            is_shared=lambda r: r in before,
            # An answer to what was asked before a push must not be taken for one to its event.
            anew=asked_for,
        )
        # What cannot be written down now, as on a full disk, is due again in the next cycle.
        self._watched = {}
        for repository in due:
            answer = answers.get((repository, ""))
            is_news = answer is not None and self._take(repository, answer)
            if is_news:
                self._unnoticed.add(repository)
            self._plan(repository, answer, now, is_news=is_news or repository in news)
        self._watched = repositories
        self.looks.note(_troubles((repository, answer) for (repository, _), answer in answers.items()), now)
        return Looked(set(self._unnoticed), tuple(due))

    def noticed(self) -> None:
        """What changed was taken in by whoever looked: it is news no more."""
        self._unnoticed.clear()

    def _set_back(self, by: timedelta) -> None:
        """The clock was set back: nothing waits until it comes again to where it was."""
        self._turns = {
            repository: _Turn(turn.asked_at - by, turn.same_since - by, turn.due_at - by)
            for repository, turn in self._turns.items()
        }
        self._watched = {}

    def tags(self, repository: Repository) -> TagList | Unavailable:
        """The last answer: a complete list, or why there is none."""
        if repository not in self._lists:
            known = self.memory.tag_list(repository)
            if known is None:
                return Unavailable(reason("registry/not-asked", image=repository), waiting=True)
            self._lists[repository] = known
        return self._lists[repository]

    def listed(self, repository: Repository) -> tuple[str, ...] | None:
        """The tags of the last answer, where it was a list. May be asked on any thread."""
        known = self._lists.get(repository)
        return known.tags if isinstance(known, TagList) else None

    def images(self, subjects: list[tuple[Repository, str]]) -> Answers:
        """What the registry serves for each tag now: one request where the digest is known.

        An answer that comes too late is dropped: by the next cycle the tag may be another image.
        """
        seen = self._just_seen
        answers = self._asking.ask("image", subjects, lambda r, tag: self._fresh_image(r, tag, seen))
        for repository, tag in subjects:
            self._asking.drop("image", repository, tag)
        # Of a repository that is not listed, the digest of the followed tag is what is looked at.
        followed = [(r, answer) for (r, _), answer in answers.items() if self._watched.get(r) is False]
        if followed:
            self.looks.note(_troubles(followed), self._now)
        return answers

    def first_looks(self, subjects: list[tuple[Repository, str]]) -> Answers:
        """Each tag as it was first seen: no request for what is remembered (build times are kept
        for ever)."""
        seen = self._just_seen
        return self._asking.ask("first", subjects, lambda r, tag: self._known_image(r, tag, seen))

    def signatures(
        self, subjects: list[tuple[Repository, str]], fetch: Callable[[Repository, str], T]
    ) -> Mapping[tuple[Repository, str], T | Unavailable]:
        """What `fetch` brings of each digest's signatures.

        An answer that comes too late is dropped: it is one to who was asked for then, of what was signed
        then.
        """
        answers = self._asking.ask("signatures", subjects, fetch)
        for repository, digest in subjects:
            self._asking.drop("signatures", repository, digest)
        return answers

    def wait(self, answers: Collection[Future[Any]]) -> None:
        """Wait for answers that no registry gives, within the time of the cycle."""
        self._asking.wait(answers)

    def first_seen(self, repository: Repository, tag: str) -> datetime | None:
        """Since when a tag is in our lists; for one that was in the very first list, since that list."""
        return self.memory.first_seen(repository, tag)

    def close(self) -> None:
        """Start nothing more."""
        self._asking.close()

    # -- turns -----------------------------------------------------------------------------------

    def _due(self, now: datetime) -> dict[Repository, None]:
        """The repositories whose time has come, taken off the queue."""
        found: dict[Repository, None] = {}
        while self._queue and self._queue[0][0] <= now:
            at, _, repository = heapq.heappop(self._queue)
            if at == self._due_at(repository):
                found[repository] = None
        return found

    def _due_at(self, repository: Repository) -> datetime:
        turn = self._turns.get(repository)
        return EPOCH if turn is None else turn.due_at

    def _plan(
        self, repository: Repository, answer: TagList | Unavailable | None, now: datetime, *, is_news: bool
    ) -> None:
        """When it is asked again: the longer its answer stays the same, the later; but at the time that
        the registry named, and at once where the answer is on its way."""
        turn = self._turns.get(repository)
        since = now if turn is None or is_news else turn.same_since
        asked = answer.observed_at if isinstance(answer, TagList) else now
        due = asked + self._pause(repository, now - since)
        if isinstance(answer, Unavailable):
            named = answer.reason.changes_at
            if named is not None:
                due = max(named, now)
            elif answer.reason.code == "registry/late":
                due = now
            elif answer.reason.code not in _WANT_REST:
                due = min(due, now + max(AGAIN, now - since))
        self._turns[repository] = _Turn(asked, since, due)
        heapq.heappush(self._queue, (due, next(self._numbers), repository))

    def _pause(self, repository: Repository, calm: timedelta) -> timedelta:
        host = repository.registry
        least = self.interval(host)
        pause = max(least, min(calm / CALM, self.max_interval(host)))
        return pause - min(EARLY, pause / EARLY_PART)

    def _fresh_enough(self, repository: Repository, now: datetime) -> datetime:
        """After when somebody else may have seen the list, so that it need not be asked for again."""
        turn = self._turns.get(repository)
        return now - self._pause(repository, timedelta(0) if turn is None else now - turn.same_since)

    def _take(self, repository: Repository, answer: TagList | Unavailable) -> bool:
        last = self._lists.get(repository)
        if isinstance(answer, Unavailable):
            self._lists[repository] = answer
            # A reason that changed is news too: the outcome must tell the present one.
            return answer != last
        if isinstance(last, TagList) and last.revision == answer.revision:
            self._lists[repository] = answer
            return False
        kept = self.memory.tag_list(repository) if last is None else None
        if kept is None or kept.revision != answer.revision:
            self.memory.save_tag_list(answer)
        self._lists[repository] = answer
        return True

    def _fresh_image(self, repository: Repository, tag: str, seen: Seen) -> Image:
        just_seen = seen.get((repository, tag))
        if just_seen is not None:
            return just_seen
        known = self.memory.image(repository, tag)
        # What was looked up before platforms were kept is looked up once more.
        if known is None or known.platforms is None:
            return self._look_up(repository, tag, seen)
        digest = self.registry.digest(repository, tag)
        if digest == known.digest:
            return known
        self._stir(repository)
        moved = self._whole(digest)
        if moved is None:
            return self._look_up(repository, tag, seen)
        self._keep(repository, tag, moved, seen)
        return moved

    def _known_image(self, repository: Repository, tag: str, seen: Seen) -> Image:
        known = self.memory.image(repository, tag)
        if known is None and (told := self.registry.listed(repository, tag)) is not None:
            # Not among those just looked at: nobody looked at platforms and labels.
            self.memory.save_image(repository, tag, told)
            return told
        return known or self._look_up(repository, tag, seen)

    def _look_up(self, repository: Repository, tag: str, seen: Seen) -> Image:
        image = self.registry.image(repository, tag, known=self._whole)
        self._keep(repository, tag, image, seen)
        return image

    def _keep(self, repository: Repository, tag: str, image: Image, seen: Seen) -> None:
        self.memory.save_image(repository, tag, image)
        seen[(repository, tag)] = image

    def _whole(self, digest: str) -> Image | None:
        """The image of a digest, where all of it was seen before, under whatever tag."""
        image = self.memory.image_by_digest(digest)
        return None if image is None or image.platforms is None else image

    def _stir(self, repository: Repository) -> None:
        """A tag of it moved: it is not as calm as its list."""
        turn = self._turns.get(repository)
        if turn is not None:
            turn.same_since = self._now


def _troubles(
    answers: Iterable[tuple[Repository, TagList | Image | Unavailable]],
) -> dict[Repository, Reason | None]:
    """What became of the repositories that were asked: None where all is well. What is only late is left
    out."""
    found: dict[Repository, Reason | None] = {}
    for repository, answer in answers:
        if not isinstance(answer, Unavailable):
            found.setdefault(repository, None)
        elif not answer.waiting:
            found[repository] = answer.reason
    return found
