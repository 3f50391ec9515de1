"""Upstreams: what the workloads held that others come after, from the history of their files.

Of the config repo itself it is read at the very commit that is decided on. Another config repo is asked for
its newest commit each time something hangs on it, by a reader with a clone and a thread of its own: one
whose server hangs keeps back what comes after it, and nothing else.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, Protocol

from automator.core.facts import Facts, SiteKey, Unavailable, site_key
from automator.core.guards import OF_GROUP, upstream_names
from automator.core.history import SiteHistory
from automator.core.policy import InvalidWorkload, Workload, group_of
from automator.core.promotion import Held, Unknown, Upstream
from automator.core.reference import Repository
from automator.core.site import Site
from automator.core.upstream import Held as HeldThere
from automator.core.upstream import commits_of, held_by, in_group, turned_away_there, upstream_of
from automator.core.verification import Verification, from_text
from automator.cycle.index import Snapshot
from automator.cycle.sights import Sightings
from automator.errors import AutomatorError
from automator.reasons import Status, reason

PATIENCE = 5.0
"""Seconds for which a cycle waits for another config repo, once."""


CLOSING = 1.0
"""Seconds for which the end of a reader is waited for."""


class Wanted(NamedTuple):
    """A question: a workload, or a group, and the image that its follower is."""

    name: str
    """As `after` has it; a group's begins with OF_GROUP."""
    repository: Repository
    tags: tuple[str, ...]
    """Those that the follower may go to."""


Key = tuple[str, Repository]


class Histories(Protocol):
    """What tells of the sites of a config repo (`cycle.facts`)."""

    def whole_histories(self, sites: Sequence[Site]) -> Mapping[SiteKey, SiteHistory | Unavailable]: ...
    def known(self, workload: Workload, sites: Sequence[Site]) -> Facts: ...


class SeriesMemory(Protocol):
    """Where the results of checks are (`edges.store`)."""

    def series(self, repo: str, workload: str | None = None) -> Iterable[tuple[str, str, str]]: ...


@dataclass
class Reading:
    """Reads what the workloads of one config repo held, at a snapshot of it."""

    repo: str
    branch: str
    """Name, URL and branch of it: another branch has other releases."""
    histories: Histories
    sightings: Sightings
    memory: SeriesMemory

    def answer(self, snapshot: Snapshot, wanted: Wanted, now: datetime) -> Held:
        """What a workload or a group held. Raises CheckoutError where the clone cannot be read."""
        name = wanted.name
        if name.startswith(OF_GROUP):
            return self._group(snapshot, name.removeprefix(OF_GROUP), wanted, now)
        entry = snapshot.workloads.get(_local(name))
        held = self._held(snapshot, name, entry, now)
        if isinstance(held, Unknown):
            return held
        return (self._upstream(snapshot, name, held, wanted),)

    def _group(self, snapshot: Snapshot, name: str, wanted: Wanted, now: datetime) -> Held:
        names = snapshot.groups.get(_local(name), ())
        if not names:
            return Unknown(reason("guard/after-no-workload", what="group", upstream=name))
        members: dict[str, HeldThere] = {}
        for each in names:
            held = self._held(snapshot, _beside(name, each), snapshot.workloads[each], now)
            if isinstance(held, Unknown):
                return held
            members[each] = held
        same = [each for each in names if members[each].workload.repository == wanted.repository]
        if not same:
            return Unknown(reason("guard/after-other-image", upstream=name, image=wanted.repository))
        return tuple(
            self._upstream(snapshot, _beside(name, each), in_group(members, each), wanted) for each in same
        )

    def _held(
        self, snapshot: Snapshot, name: str, entry: Workload | InvalidWorkload | None, now: datetime
    ) -> HeldThere | Unknown:
        if entry is None:
            return Unknown(reason("guard/after-no-workload", what="workload", upstream=name))
        problem = snapshot.claims.problems.get(entry.name)
        if isinstance(entry, InvalidWorkload):
            problem = entry.reason
        sites = snapshot.claims.sites.get(entry.name, ())
        if problem is not None or isinstance(entry, InvalidWorkload):
            return _invalid(name, "" if problem is None else problem.sentence)
        if not sites:
            return _invalid(name, "no file has a site of it")
        found = self.histories.whole_histories(sites)
        for site in sites:
            past = found.get(site_key(site))
            if not isinstance(past, SiteHistory):
                late = reason("history/reading") if past is None else past.reason
                return Unknown(late, Status.WAITING)
        pasts = [past for past in found.values() if isinstance(past, SiteHistory)]
        return held_by(entry, pasts, self.sightings.of(commits_of(pasts), snapshot.commit, now))

    def _upstream(self, snapshot: Snapshot, name: str, held: HeldThere, wanted: Wanted) -> Upstream:
        workload = held.workload
        sites = snapshot.claims.sites.get(workload.name, ())
        tags = {*wanted.tags, *(span.tag for span in held.spans)}
        facts = self.histories.known(workload, sites)
        rejected = turned_away_there(workload, sites, facts, tags)
        return upstream_of(name, held, self._series(workload), rejected)

    def _series(self, workload: Workload) -> tuple[Verification, ...]:
        if not workload.verify:
            return ()
        texts = (text for _, _, text in self.memory.series(self.branch, workload.name))
        return tuple(one for text in texts if (one := from_text(text)) is not None)


def _local(name: str) -> str:
    return name.rpartition("/")[2]


def _beside(name: str, member: str) -> str:
    """The name of a group's member, as the group itself is named."""
    repo, slash, _ = name.rpartition("/")
    return f"{repo}{slash}{member}"


def _invalid(name: str, problem: str) -> Unknown:
    return Unknown(reason("guard/after-invalid", upstream=name, problem=problem))


# -- another config repo ------------------------------------------------------------------------------


class Remote(Protocol):
    """A config repo that is only read: see `app`."""

    reading: Reading

    def move_to_tip(self, now: datetime) -> Snapshot:
        """Its newest commit, asked for now. Raises CheckoutError."""

    def close(self) -> None: ...


class _Job(NamedTuple):
    answers: Mapping[Key, Held]


class Reader:
    """Reads another config repo, on a thread of its own, for all that ask; one question at a time."""

    def __init__(self, repo: str, opened: Callable[[], Remote]) -> None:
        """`opened` is called on the reader's thread, once it is first asked."""
        self.repo = repo
        self._opened = opened
        self._remote: Remote | None = None
        self._pool = ThreadPoolExecutor(1, f"upstream-{repo}")
        self._closing = threading.Event()
        self._asked = False

    def ask(self, wanted: Collection[Wanted], now: datetime) -> Future[Mapping[Key, Held]]:
        """What each held, as of the newest commit."""
        self._asked = True
        return self._pool.submit(self._answers, tuple(wanted), now)

    def close(self) -> None:
        """Start nothing more; what is being asked ends within its own time."""
        self._closing.set()
        if not self._asked:
            return
        wait((self._pool.submit(self._close),), CLOSING)
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _close(self) -> None:
        if self._remote is not None:
            self._remote.close()

    def _answers(self, wanted: tuple[Wanted, ...], now: datetime) -> Mapping[Key, Held]:
        if self._closing.is_set():
            return {}
        try:
            if self._remote is None:
                self._remote = self._opened()
            snapshot = self._remote.move_to_tip(now)
            reading = self._remote.reading
            return {(one.name, one.repository): reading.answer(snapshot, one, now) for one in wanted}
        except AutomatorError as error:
            problem = error.reason.sentence
            return {
                (one.name, one.repository): Unknown(
                    reason("guard/after-unreadable", repo=self.repo, upstream=one.name, problem=problem),
                    Status.WAITING,
                )
                for one in wanted
            }


class _Late(NamedTuple):
    """A question that was not answered while its cycle waited."""

    cycle: int
    """When it was asked."""
    keys: frozenset[Key]
    answer: Future[Mapping[Key, Held]]


Stamp = tuple[str | None, int]


class Board:
    """Where the config repos of one process tell each other that there is news; for all threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stamps: dict[str, Stamp] = {}
        self._followers: dict[str, set[str]] = {}
        self.wake: Callable[[str], None] = lambda _repo: None
        """Asks for a cycle of a config repo, and does not wait for it."""

    def tell(self, repo: str, head: str, *, verified: bool = False) -> None:
        """A config repo is at `head`; with `verified`, checks there came to an end, or people refused
        something there."""
        with self._lock:
            was, count = self._stamps.get(repo, (None, 0))
            if was == head and not verified:
                return
            self._stamps[repo] = (head, count + verified)
            followers = tuple(self._followers.get(repo, ()))
        for follower in followers:
            self.wake(follower)

    def follow(self, repo: str, follower: str) -> Stamp:
        """What is known of a config repo, news of which wakes `follower` from now on."""
        with self._lock:
            self._followers.setdefault(repo, set()).add(follower)
            return self._stamps.get(repo, (None, 0))

    def stamp(self, repo: str) -> Stamp:
        """Changes with all that was told of a config repo."""
        with self._lock:
            return self._stamps.get(repo, (None, 0))


# -- all that one config repo asks for ----------------------------------------------------------------


@dataclass
class Upstreams:
    """What the workloads held that those of one config repo come after."""

    repo: str
    reading: Reading
    """Of the config repo itself."""
    readers: Mapping[str, Reader] = field(default_factory=dict)
    """By the config repo's name."""
    board: Board = field(default_factory=Board)
    patience: float = PATIENCE
    """Seconds for which one question is waited for."""
    latest: dict[str, Upstream] = field(default_factory=dict)
    """What was told last of each workload, by its name."""
    _known: dict[Key, Held] = field(default_factory=dict)
    """What was told in this cycle, at this commit."""
    _head: str | None = None
    _stamps: dict[str, Stamp] = field(default_factory=dict)
    """What was known of other config repos when they were asked."""
    _late: dict[str, _Late] = field(default_factory=dict)
    _cycle: int = 0
    """Counts cycles."""

    def begin(self) -> None:
        """A cycle begins: other config repos may have moved."""
        self._known.clear()
        self._cycle += 1

    def notice(self, snapshot: Snapshot, now: datetime, *, rewound: bool) -> frozenset[str]:
        """Take in where the branch is; names of the workloads for which upstream may have changed."""
        self.reading.sightings.saw(snapshot.commit, now, rewound=rewound)
        self.board.tell(self.repo, snapshot.commit)
        if snapshot.commit != self._head:
            self._known.clear()
            self._head = snapshot.commit
        moved = {repo for repo, stamp in self._stamps.items() if self.board.stamp(repo) != stamp}
        moved |= self._late.keys()
        return frozenset(after(snapshot, lambda name: self._repo_of(name) in moved)) if moved else frozenset()

    def followers(self, snapshot: Snapshot, moved: Collection[str]) -> frozenset[str]:
        """Workloads that come after these of the same config repo, or after a group of theirs."""
        if not moved or not snapshot.has_chains:
            return frozenset()
        entries = [snapshot.workloads[name] for name in moved if name in snapshot.workloads]
        groups = {group for entry in entries if (group := group_of(entry)) is not None}
        names = {f"{before}{name}" for name in moved for before in ("", f"{self.repo}/")}
        names |= {f"{OF_GROUP}{before}{name}" for name in groups for before in ("", f"{self.repo}/")}
        return frozenset(after(snapshot, names.__contains__))

    def refused(self, snapshot: Snapshot, names: Collection[str]) -> frozenset[str]:
        """Other versions of these are refused than before, by closed pull requests: who comes after them
        here. Other config repos are told."""
        if not names:
            return frozenset()
        self._known.clear()
        self.board.tell(self.repo, snapshot.commit, verified=True)
        return self.followers(snapshot, names)

    def saw(self, head: str, now: datetime) -> None:
        """We moved the branch to `head` ourselves."""
        self.reading.sightings.saw(head, now)

    def known(self, workload: Workload) -> dict[str, Held]:
        """What was told of the upstreams of a workload, by what `after` names."""
        names = () if workload.guards.after is None else upstream_names(workload.guards.after)
        keys = ((name, (name, workload.repository)) for name in names)
        return {name: self._known[key] for name, key in keys if key in self._known}

    def ask(self, wanted: Iterable[Wanted], snapshot: Snapshot, now: datetime) -> None:
        """Find out what these held; what cannot be had is told too.

        Raises CheckoutError where the config repo's own clone cannot be read.
        """
        elsewhere: dict[str, list[Wanted]] = {}
        for one in dict.fromkeys(wanted):
            repo = self._repo_of(one.name)
            if repo == self.repo:
                self._known[(one.name, one.repository)] = self.reading.answer(snapshot, one, now)
            elif repo in self.readers:
                elsewhere.setdefault(repo, []).append(one)
            else:
                why = reason("guard/after-no-repo", upstream=shown(one.name), repo=repo)
                self._known[(one.name, one.repository)] = Unknown(why)
        asked = {repo: self._ask(repo, questions, now) for repo, questions in elsewhere.items()}
        fresh = [answer for answer in asked.values() if answer is not None]
        wait(fresh, self.patience)
        for repo, questions in elsewhere.items():
            self._take(repo, questions, asked[repo])
        for told in self._known.values():
            if isinstance(told, tuple):
                self.latest.update((upstream.name, upstream) for upstream in told)

    def _ask(self, repo: str, questions: list[Wanted], now: datetime) -> Future[Mapping[Key, Held]] | None:
        """Ask a reader, unless it is still at what an earlier cycle asked.

        What the cycle before asked, and was answered since, counts: or a reader that is slower than we are
        patient would never be heard. What was told of the config repo since then makes it old.
        """
        late = self._late.get(repo)
        if late is not None and not late.answer.done():
            return None
        self._late.pop(repo, None)
        keys = {(one.name, one.repository) for one in questions}
        is_heard = late is not None and self._cycle - late.cycle <= 1 and late.keys >= keys
        if late is not None and is_heard and self._stamps.get(repo) == self.board.stamp(repo):
            return late.answer
        self._stamps[repo] = self.board.follow(repo, self.repo)
        return self.readers[repo].ask(questions, now)

    def _take(self, repo: str, questions: list[Wanted], answer: Future[Mapping[Key, Held]] | None) -> None:
        if answer is not None and answer.done():
            self._known.update(answer.result())
            return
        if answer is not None:
            keys = frozenset((one.name, one.repository) for one in questions)
            self._late[repo] = _Late(self._cycle, keys, answer)
            answer.add_done_callback(self._wake)
        for one in questions:
            why = reason("guard/after-late", upstream=shown(one.name), repo=repo)
            self._known[(one.name, one.repository)] = Unknown(why, Status.WAITING)

    def _wake(self, answer: Future[Mapping[Key, Held]]) -> None:
        """On the reader's thread: what was waited for is there."""
        if not answer.cancelled():
            self.board.wake(self.repo)

    def _repo_of(self, name: str) -> str:
        repo, slash, _ = name.removeprefix(OF_GROUP).rpartition("/")
        return repo if slash else self.repo


def shown(name: str) -> str:
    """What `after` names, for people."""
    return name.removeprefix(OF_GROUP)


def after(snapshot: Snapshot, matches: Callable[[str], bool]) -> Iterable[str]:
    """Workloads that come after something that matches."""
    for workload in snapshot.workloads.values():
        guard = workload.guards.after if isinstance(workload, Workload) else None
        if guard is not None and any(map(matches, upstream_names(guard))):
            yield workload.name
