"""Source changes: the forge of a source is asked once for the commits between two revisions.

Nothing hangs on the answer: a release waits a moment for it, and goes on without. What comes later is kept
for the next time that somebody asks.
"""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple, Protocol

from automator.core.forge import SourceCommit
from automator.core.record import Member
from automator.core.reference import Image, Repository, parse_repository
from automator.core.release import source_link
from automator.core.sourcechanges import (
    NOTHING,
    Ends,
    Named,
    Place,
    bounded,
    ends_of,
    head_made,
    joined,
    names_in,
)
from automator.errors import AutomatorError

PATIENCE = 3.0
"""Seconds that a push waits for all answers together."""
COMMITS = 250
"""Commits that are read between two revisions, the newest."""
KEPT = 100
"""Answers that are remembered."""
QUIET = 60.0
"""Seconds for which the same is not asked again after it failed."""
WIDTH = 4
"""Questions that one host is asked at a time."""
_OF_THE_HOST = ("forge/unreachable", "forge/limited", "forge/answer")
"""Troubles that another question to the same host would have as well."""
_KIND, _KEY = "source-changes", "answers"


class Registry(Protocol):
    """Who knows the labels of images (`edges.registry`)."""

    def image(self, repository: Repository, tag: str) -> Image: ...


class Source(Protocol):
    """A forge, as far as it tells of commits (`edges.forge`)."""

    kind: str

    def commits_between(
        self, project: str, base: str, head: str, *, limit: int = 250
    ) -> tuple[Sequence[SourceCommit], bool]: ...


class Memory(Protocol):
    """What is known of images, and where answers are kept (`edges.store`)."""

    def image(self, repository: Repository, tag: str) -> Image | None: ...
    def image_by_digest(self, digest: str) -> Image | None: ...
    def get(self, kind: str, key: str) -> bytes | None: ...
    def put(self, kind: str, key: str, value: bytes | None) -> None: ...


class Step(NamedTuple):
    """What moves in one commit."""

    members: tuple[Member, ...]
    back: bool = False
    """Whether it goes to an older version: then what it takes away is meant."""


class _Question(NamedTuple):
    """One image's move."""

    image: str
    before: str
    after: str
    source: str | None
    back: bool


class _Line(NamedTuple):
    """What waits to be asked about the sources of one host: a silent one is waited for by none of another."""

    waiting: deque[tuple[_Question, Future[Named]]]
    threads: set[int]
    """Numbers of the threads that ask."""


@dataclass
class SourceChanges:
    """Asks forges of sources; for the threads of all config repos together."""

    forges: Mapping[str, Source]
    """By host."""
    registry: Registry
    memory: Memory
    patience: float = PATIENCE
    clock: Callable[[], float] = time.monotonic
    _answers: dict[Ends, Named] = field(default_factory=dict)
    _flying: dict[_Question, Future[Named]] = field(default_factory=dict)
    _rests: dict[str, float] = field(default_factory=dict)
    """Hosts that failed, or were too slow, and until when nobody waits for them."""
    _failed: dict[_Question, float] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _one_each: dict[Ends, threading.Lock] = field(default_factory=dict)
    _lines: dict[str, _Line] = field(default_factory=dict)
    """By host."""
    _is_closed: bool = False

    def __post_init__(self) -> None:
        self._answers.update(_read(self.memory.get(_KIND, _KEY)))

    @property
    def kinds(self) -> dict[str, str]:
        """Kind of each forge, by host."""
        return {host: forge.kind for host, forge in self.forges.items()}

    def close(self) -> None:
        """Ask nothing more. What is being asked ends by its own limits, and nothing waits for it."""
        with self._lock:
            self._is_closed = True
            left = [future for line in self._lines.values() for _, future in line.waiting]
            for line in self._lines.values():
                line.waiting.clear()
        for future in left:
            future.cancel()

    def named(self, steps: Sequence[Step]) -> tuple[Named, ...]:
        """What the changes of each commit name, as far as it is told in time."""
        if not self.forges:
            return (NOTHING,) * len(steps)
        questions = [_questions(step) for step in steps]
        # Several workloads often make the same move: it is one question.
        every = dict.fromkeys(question for some in questions for question in some)
        asked = {question: self._ask(question) for question in every}
        if wait([future for future in asked.values() if future is not None], self.patience).not_done:
            self._rest_late_hosts()
        return tuple(joined(_told(asked[question]) for question in some) for some in questions)

    def source_of(self, member: Member) -> str | None:
        """The source link of the version that a member goes to, as far as it is remembered."""
        digest = member.after.partition("@")[2]
        image = self.memory.image_by_digest(digest) if digest else None
        return member.source if image is None else source_link(image.source, image.revision) or member.source

    # -- asking --------------------------------------------------------------------------------------

    def _ask(self, question: _Question) -> Future[Named] | None:
        """The answer, on its way or there; None where it would not be worth waiting."""
        host = _host(question)
        if host not in self.forges:
            return None
        with self._lock:
            flying = self._flying.get(question)
            if flying is not None:
                return flying if flying.done() else None  # it was waited for already
            if self.clock() < self._failed.get(question, 0.0):
                return None
            line = self._lines.setdefault(host, _Line(deque(), set()))
            rests = self.clock() < self._rests.get(host, 0.0)
            if self._is_closed or (rests and line.threads):
                return None  # it has not even answered what it was asked before
            if len(self._flying) > KEPT:
                self._flying = {q: future for q, future in self._flying.items() if not future.done()}
            future: Future[Named] = Future()
            future.add_done_callback(partial(self._landed, question))
            self._flying[question] = future
            line.waiting.append((question, future))
            self._staff(line)
            return None if rests else future

    def _staff(self, line: _Line) -> None:
        """Have a thread more for a host; one that the end of the program does not wait for."""
        if len(line.threads) >= WIDTH:
            return
        number = min(set(range(WIDTH)) - line.threads)
        line.threads.add(number)
        thread = threading.Thread(
            target=self._work, args=(line, number), name="automator-sources", daemon=True
        )
        try:
            thread.start()
        except RuntimeError:  # the system has no thread left
            line.threads.remove(number)

    def _work(self, line: _Line, number: int) -> None:
        """Ask what waits, one after the other."""
        while True:
            with self._lock:
                if not line.waiting:
                    line.threads.remove(number)
                    return
                question, future = line.waiting.popleft()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                found = self._look(question)
            except Exception as error:  # noqa: BLE001 - whoever waits for the answer goes on without
                future.set_exception(error)
            else:
                future.set_result(found)

    def _rest_late_hosts(self) -> None:
        """Nobody waits for a host again so soon: its answers are taken when they come."""
        with self._lock:
            for question, future in self._flying.items():
                if not future.done():
                    self._rests[_host(question)] = self.clock() + QUIET

    def _landed(self, question: _Question, future: Future[Named]) -> None:
        if not future.cancelled() and future.exception() is None:
            return
        with self._lock:
            now = self.clock()
            self._failed = {q: until for q, until in self._failed.items() if now < until}
            self._failed[question] = now + QUIET
            self._flying.pop(question, None)

    def _look(self, question: _Question) -> Named:
        """Raises AutomatorError."""
        ends = self._ends(question)
        if ends is None:
            return NOTHING
        with self._lock:
            turn = self._one_each.setdefault(ends, threading.Lock())
        with turn:  # several workloads have one source
            known = self._answers.get(ends)
            if known is not None:
                return known
            forge = self.forges[ends.place.host]
            try:
                commits, _ = forge.commits_between(ends.place.project, ends.base, ends.head, limit=COMMITS)
            except AutomatorError as error:
                with self._lock:
                    if error.reason.code in _OF_THE_HOST:
                        self._rests[ends.place.host] = self.clock() + QUIET
                    self._one_each.pop(ends, None)
                raise
            found = bounded(names_in(commits, ends.place))._replace(made=head_made(commits, ends.head))
            self._keep(ends, found)
            return found

    def _ends(self, question: _Question) -> Ends | None:
        before = self._link(question.image, question.before)
        ends = ends_of(before, question.source, self.kinds)
        if ends is not None and question.back:
            return Ends(ends.place, ends.head, ends.base)
        return ends

    def _link(self, image: str, version: str) -> str | None:
        """The source link of a version: remembered, or the registry's. Raises AutomatorError."""
        repository = parse_repository(image)
        tag, _, digest = version.partition("@")
        found = self.memory.image_by_digest(digest) if digest else self.memory.image(repository, tag)
        if found is None and (digest or tag):
            found = self.registry.image(repository, digest or tag)
        return None if found is None else source_link(found.source, found.revision)

    def _keep(self, ends: Ends, found: Named) -> None:
        with self._lock:
            self._answers[ends] = found
            self._one_each.pop(ends, None)
            for old in list(self._answers)[:-KEPT]:
                del self._answers[old]
            text = json.dumps([[*ends.place, ends.base, ends.head, found.refs, found.total,
                                [at.isoformat() for _, at in found.made]]
                               for ends, found in self._answers.items()])  # fmt: skip
        with suppress(AutomatorError):  # it is asked for again then
            self.memory.put(_KIND, _KEY, text.encode())


def _host(question: _Question) -> str:
    return (question.source or "").removeprefix("https://").partition("/")[0]


def _questions(step: Step) -> Collection[_Question]:
    return dict.fromkeys(
        _Question(m.image, m.before, m.after, m.source, step.back)
        for m in step.members
        if m.image and m.before and m.source
    )


def _told(future: Future[Named] | None) -> Named:
    is_there = future is not None and future.done() and not future.cancelled()
    return future.result() if is_there and future is not None and future.exception() is None else NOTHING


def _read(text: bytes | None) -> dict[Ends, Named]:
    """What was kept; nothing of a text that another version wrote."""
    found: dict[Ends, Named] = {}
    try:
        rows: list[Any] = json.loads(text or b"[]")
        for kind, host, project, base, head, refs, count, times in rows:
            ends = Ends(Place(str(kind), str(host), str(project)), str(base), str(head))
            made = tuple((str(head), datetime.fromisoformat(at)) for at in times)
            found[ends] = Named(tuple(map(str, refs)), int(count), made)
    except (ValueError, TypeError):
        return {}
    return found
