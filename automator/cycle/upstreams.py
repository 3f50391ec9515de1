"""Upstreams: what the workloads held that others come after, from the history of their files.

Of the config repo itself it is read at the very commit that is decided on. Another config repo is asked for
its newest commit each time something hangs on it, by a reader with a clone and a thread of its own: one
whose server hangs keeps back what comes after it, and nothing else.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol

from automator.core.circles import Waits, shown_circle, waits_of
from automator.core.facts import Facts, SiteKey, Unavailable, site_key
from automator.core.guards import OF_GROUP, upstream_names, upstreams_of
from automator.core.heirs import Lender, Lent, Policies, inherit, is_heir, lent, local_name, rule_of
from automator.core.history import SiteHistory
from automator.core.policy import InvalidWorkload, PolicySet, Workload, group_of
from automator.core.promotion import Held, Unknown, Upstream
from automator.core.reference import Repository
from automator.core.site import Site
from automator.core.upstream import Held as HeldThere
from automator.core.upstream import commits_of, deployed_by, held_by, in_group, turned_away_there, upstream_of
from automator.core.verification import Verification, from_text
from automator.cycle.board import Board as Board
from automator.cycle.board import Stamp
from automator.cycle.deploying import Deploying
from automator.cycle.index import Snapshot
from automator.cycle.sights import Sightings
from automator.errors import AutomatorError
from automator.reasons import Reason, Status, reason

PATIENCE = 5.0
"""Seconds for which a cycle waits for another config repo, once."""


ASKED_AGAIN = timedelta(minutes=10)
"""After which a forge that had no answer is asked again."""
MOST_LENDERS = 8
"""Config repos that lend a rule from one to the next."""
CLOSING = 1.0
"""Seconds for which the end of a reader is waited for."""


class Wanted(NamedTuple):
    """A question: a workload, or a group, and the image that its follower is."""

    name: str
    """As `after` has it; a group's begins with OF_GROUP."""
    repository: Repository
    tags: tuple[str, ...]
    """Those that the follower may go to."""
    closings: bool = False
    """Whether the forge is asked what people refused there, if that is not known."""


Key = tuple[str, Repository]


class Told(NamedTuple):
    """An answer."""

    held: Held
    lent: Lent
    """The rule by which versions are chosen there."""
    asks: tuple[str, ...] = ()
    """Names in full whose rules are needed first: what was turned away is told in their order."""


def untold(unknown: Unknown) -> Told:
    """The answer where there is none."""
    return Told(unknown, Lent(unknown=unknown))


Rules = Mapping[Key, Lent]
"""What was told of other config repos."""


class Histories(Protocol):
    """What tells of the sites of a config repo (`cycle.facts`)."""

    def whole_histories(self, sites: Sequence[Site]) -> Mapping[SiteKey, SiteHistory | Unavailable]: ...
    def known(self, workload: Workload, sites: Sequence[Site]) -> Facts: ...


class Closings(Protocol):
    """What people refused in a config repo by closing pull requests (`cycle.closings`)."""

    def is_known(self, workload: Workload, now: datetime) -> bool: ...
    def learn(self, workload: Workload, now: datetime) -> Reason | None: ...


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
    closings: Closings | None = None
    """None where the config repo is on no forge that we know."""
    deploying: Deploying | None = None
    """What runtimes said; None where the config repo has none."""

    def answer(self, snapshot: Snapshot, wanted: Wanted, now: datetime, rules: Rules) -> Told:
        """What a workload or a group held. Raises CheckoutError where the clone cannot be read."""
        name = wanted.name
        loan = lent(policies_of(self.repo, snapshot), (name,), wanted.repository)
        answer = self._group if name.startswith(OF_GROUP) else self._workload
        try:
            return Told(answer(snapshot, name.removeprefix(OF_GROUP), wanted, now, rules), loan)
        except _Asks as first:
            return Told(None, loan, first.names)

    def _workload(self, snapshot: Snapshot, name: str, wanted: Wanted, now: datetime, rules: Rules) -> Held:
        held = self._held(snapshot, name, snapshot.workloads.get(_local(name)), now, rules)
        if isinstance(held, Unknown):
            return held
        return self._upstreams(snapshot, {name: held}, wanted, now)

    def _group(self, snapshot: Snapshot, name: str, wanted: Wanted, now: datetime, rules: Rules) -> Held:
        names = snapshot.groups.get(_local(name), ())
        if not names:
            return Unknown(reason("guard/after-no-workload", what="group", upstream=name))
        members: dict[str, HeldThere] = {}
        for each in names:
            held = self._held(snapshot, _beside(name, each), snapshot.workloads[each], now, rules)
            if isinstance(held, Unknown):
                return held
            members[each] = held
        same = [each for each in names if members[each].workload.repository == wanted.repository]
        if not same:
            return Unknown(reason("guard/after-other-image", upstream=name, image=wanted.repository))
        there = {_beside(name, each): in_group(members, each) for each in same}
        return self._upstreams(snapshot, there, wanted, now)

    def _held(
        self,
        snapshot: Snapshot,
        name: str,
        entry: Workload | InvalidWorkload | None,
        now: datetime,
        rules: Rules,
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
        ruled = self._ruled(snapshot, entry, rules)
        if isinstance(ruled, Unknown):
            return ruled
        found = self.histories.whole_histories(sites)
        for site in sites:
            past = found.get(site_key(site))
            if not isinstance(past, SiteHistory):
                late = reason("history/reading") if past is None else past.reason
                return Unknown(late, Status.WAITING)
        pasts = [past for past in found.values() if isinstance(past, SiteHistory)]
        held = held_by(ruled, pasts, self.sightings.of(commits_of(pasts), snapshot.commit, now))
        return deployed_by(held, {} if self.deploying is None else self.deploying.past(entry.name, sites))

    def _ruled(self, snapshot: Snapshot, entry: Workload, rules: Rules) -> Workload | Unknown:
        """A workload with the rule that it takes over, if it has none of its own. Raises _Asks."""
        if not is_heir(entry):
            return entry
        found = rule_of(upstreams_of(entry), lent_by(policies_of(self.repo, snapshot), entry, rules))
        if isinstance(found, Lender):
            return inherit(entry, found, self.repo)
        if isinstance(found, Unknown):
            return found
        raise _Asks(found)

    def _upstreams(
        self, snapshot: Snapshot, members: Mapping[str, HeldThere], wanted: Wanted, now: datetime
    ) -> Held:
        found: list[Upstream] = []
        for name, held in members.items():
            workload = _as_proposed(held.workload, snapshot)
            learnt = self.closings is None or self.closings.is_known(workload, now)
            if self.closings is not None and not learnt and wanted.closings:
                problem = self.closings.learn(workload, now)
                if problem is not None:
                    at = now + ASKED_AGAIN
                    why = reason(
                        "guard/after-refusals", changes_at=at, upstream=name, problem=problem.sentence
                    )
                    return Unknown(why, Status.WAITING)
                learnt = True
            found.append(self._upstream(snapshot, name, held, wanted, learnt=learnt))
        return tuple(found)

    def _upstream(
        self, snapshot: Snapshot, name: str, held: HeldThere, wanted: Wanted, *, learnt: bool
    ) -> Upstream:
        workload = held.workload
        sites = snapshot.claims.sites.get(workload.name, ())
        tags = {*wanted.tags, *(span.tag for span in held.spans)}
        facts = self.histories.known(workload, sites)
        rejected = turned_away_there(workload, sites, facts, tags)
        return upstream_of(name, held, self._series(workload), rejected, learnt=learnt)

    def _series(self, workload: Workload) -> tuple[Verification, ...]:
        if not workload.verify:
            return ()
        texts = (text for _, _, text in self.memory.series(self.branch, workload.name))
        return tuple(one for text in texts if (one := from_text(text)) is not None)


class _Asks(Exception):
    """The rules of these must be known first."""

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__(*names)
        self.names = names


def _as_proposed(workload: Workload, snapshot: Snapshot) -> Workload:
    """A workload as one whose releases go through pull requests, where a rule may demand that."""
    if not any(rail.deliver for rail in snapshot.policies.rails):
        return workload
    return replace(workload, delivery=replace(workload.delivery, deliver="pull-request"))


def policies_of(repo: str, snapshot: Snapshot) -> Policies:
    """The policies of a config repo at a snapshot."""
    return Policies(repo, snapshot.workloads, snapshot.groups)


def lent_by(policies: Policies, workload: Workload, rules: Rules) -> Callable[[str], Lent | None]:
    """What each of those lends that a workload comes after."""

    def lends(name: str) -> Lent | None:
        if local_name(name, policies.repo) is None:
            return rules.get((name, workload.repository))
        return lent(policies, (name,), workload.repository)

    return lends


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


class Reader:
    """Reads another config repo, on a thread of its own, for all that ask; one question at a time."""

    def __init__(
        self, repo: str, opened: Callable[[], Remote], read: Callable[[Waits], None] = lambda _waits: None
    ) -> None:
        """`opened` is called on the reader's thread, once it is first asked; `read` is told what was read of
        who comes after whom."""
        self.repo = repo
        self._read = read
        self._opened = opened
        self._remote: Remote | None = None
        self._pool = ThreadPoolExecutor(1, f"upstream-{repo}")
        self._closing = threading.Event()
        self._asked = False

    def ask(self, wanted: Collection[Wanted], now: datetime, rules: Rules) -> Future[Mapping[Key, Told]]:
        """What each held, as of the newest commit."""
        self._asked = True
        return self._pool.submit(self._answers, tuple(wanted), now, dict(rules))

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

    def _answers(self, wanted: tuple[Wanted, ...], now: datetime, rules: Rules) -> Mapping[Key, Told]:
        if self._closing.is_set():
            return {}
        try:
            if self._remote is None:
                self._remote = self._opened()
            snapshot = self._remote.move_to_tip(now)
            reading = self._remote.reading
            self._read(waits_of(policies_of(self.repo, snapshot)))
            return {(one.name, one.repository): reading.answer(snapshot, one, now, rules) for one in wanted}
        except AutomatorError as error:
            problem = error.reason.sentence
            return {
                (one.name, one.repository): untold(
                    Unknown(
                        reason("guard/after-unreadable", repo=self.repo, upstream=one.name, problem=problem),
                        Status.WAITING,
                    )
                )
                for one in wanted
            }


class _Late(NamedTuple):
    """A question that was not answered while its cycle waited."""

    cycle: int
    """When it was asked."""
    questions: frozenset[tuple[Key, bool]]
    """With whether the forge was to be asked."""
    answer: Future[Mapping[Key, Told]]


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
    _known: dict[Key, Told] = field(default_factory=dict)
    """What was told in this cycle, at this commit."""
    _circles: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Those that were taken in last."""
    _read: PolicySet | None = None
    """Whose workloads were told to the board."""
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
        turned = self._turned(snapshot)
        moved = {repo for repo, stamp in self._stamps.items() if self.board.stamp(repo) != stamp}
        moved |= self._late.keys()
        if not moved:
            return turned
        direct = frozenset(after(snapshot, lambda name: self._repo_of(name) in moved))
        named = {self._repo_of(name) for name in _every_upstream(snapshot)}
        if not moved <= named:  # a rule came from there, by way of another config repo
            return turned | frozenset(after(snapshot, lambda _name: True))
        return turned | direct | self.followers(snapshot, direct)

    def _turned(self, snapshot: Snapshot) -> frozenset[str]:
        """Workloads that are part of a circle now, or of another one, or no longer are."""
        if snapshot.policies is not self._read:
            self.board.come_after(self.repo, waits_of(policies_of(self.repo, snapshot)))
            self._read = snapshot.policies
        old, self._circles = self._circles, self.board.circles()
        if old is self._circles:
            return frozenset()
        names = {
            name for name in old.keys() | self._circles.keys() if old.get(name) != self._circles.get(name)
        }
        own = f"{self.repo}/"
        return frozenset(name.removeprefix(own) for name in names if name.startswith(own))

    def circle(self, workload: str) -> Reason | None:
        """Why a workload is held whose upstream comes after it."""
        ring = self.board.circles().get(f"{self.repo}/{workload}")
        return None if ring is None else reason("guard/after-circle", circle=shown_circle(ring, self.repo))

    def rule(self, workload: Workload, snapshot: Snapshot) -> Lender | Unknown | tuple[str, ...]:
        """The rule that a workload takes over which has none of its own; or whom to ask first."""
        policies = policies_of(self.repo, snapshot)
        return rule_of(upstreams_of(workload), lent_by(policies, workload, self._rules()))

    def _rules(self) -> Rules:
        return {key: told.lent for key, told in self._known.items()}

    def followers(self, snapshot: Snapshot, moved: Collection[str]) -> frozenset[str]:
        """Workloads that come after these of the same config repo, or after a group of theirs."""
        if not moved or not snapshot.has_chains:
            return frozenset()
        entries = [snapshot.workloads[name] for name in moved if name in snapshot.workloads]
        groups = {group for entry in entries if (group := group_of(entry)) is not None}
        names = {f"{before}{name}" for name in moved for before in ("", f"{self.repo}/")}
        names |= {f"{OF_GROUP}{before}{name}" for name in groups for before in ("", f"{self.repo}/")}
        found = frozenset(after(snapshot, names.__contains__))
        entries = [snapshot.workloads[name] for name in found - frozenset(moved)]
        heirs = {entry.name for entry in entries if isinstance(entry, Workload) and is_heir(entry)}
        return found | self.followers(snapshot, heirs | set(moved)) if heirs else found

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
        found = ((name, self._known.get((name, workload.repository))) for name in upstreams_of(workload))
        known = {name: told.held for name, told in found if told is not None and not told.asks}
        circle = self.circle(workload.name) if known else None  # it may be that it was just read
        return known if circle is None else dict.fromkeys(known, Unknown(circle))

    def ask(self, wanted: Iterable[Wanted], snapshot: Snapshot, now: datetime) -> None:
        """Find out what these held; what cannot be had is told too.

        Raises CheckoutError where the config repo's own clone cannot be read.
        """
        todo = tuple(dict.fromkeys(wanted))
        for _ in range(MOST_LENDERS):
            self._ask_all(todo, snapshot, now)
            # What was turned away where a rule is taken over is told by that rule, which is asked for first.
            todo = tuple(one for one in todo if self._known[(one.name, one.repository)].asks)
            asks = {
                (name, one.repository)
                for one in todo
                for name in self._known[(one.name, one.repository)].asks
            }
            lenders = [
                Wanted(name, repository, ())
                for name, repository in sorted(asks, key=str)
                if (name, repository) not in self._known
            ]
            self._ask_all(lenders, snapshot, now)
            if not todo:
                break
        for one in todo:
            why = reason("guard/after-no-order", upstream=shown(one.name))
            self._known[(one.name, one.repository)] = untold(Unknown(why))
        for told in self._known.values():
            if isinstance(told.held, tuple):
                self.latest.update((upstream.name, upstream) for upstream in told.held)

    def _ask_all(self, wanted: Collection[Wanted], snapshot: Snapshot, now: datetime) -> None:
        elsewhere: dict[str, list[Wanted]] = {}
        for one in wanted:
            repo = self._repo_of(one.name)
            if repo == self.repo:
                answer = self.reading.answer(snapshot, one, now, self._rules())
                self._known[(one.name, one.repository)] = answer
            elif repo in self.readers:
                elsewhere.setdefault(repo, []).append(one)
            else:
                why = reason("guard/after-no-repo", upstream=shown(one.name), repo=repo)
                self._known[(one.name, one.repository)] = untold(Unknown(why))
        asked = {repo: self._ask(repo, questions, now) for repo, questions in elsewhere.items()}
        fresh = [answer for answer in asked.values() if answer is not None]
        wait(fresh, self.patience)
        for repo, questions in elsewhere.items():
            self._take(repo, questions, asked[repo])

    def _ask(self, repo: str, questions: list[Wanted], now: datetime) -> Future[Mapping[Key, Told]] | None:
        """Ask a reader, unless it is still at what an earlier cycle asked.

        What the cycle before asked, and was answered since, counts: or a reader that is slower than we are
        patient would never be heard. What was told of the config repo since then makes it old.
        """
        late = self._late.get(repo)
        if late is not None and not late.answer.done():
            return None
        self._late.pop(repo, None)
        keys = {((one.name, one.repository), one.closings) for one in questions}
        is_heard = late is not None and self._cycle - late.cycle <= 1 and late.questions >= keys
        if late is not None and is_heard and self._stamps.get(repo) == self.board.stamp(repo):
            return late.answer
        self._stamps[repo] = self.board.follow(repo, self.repo)
        return self.readers[repo].ask(questions, now, self._rules())

    def _take(self, repo: str, questions: list[Wanted], answer: Future[Mapping[Key, Told]] | None) -> None:
        if answer is not None and answer.done():
            self._known.update(answer.result())
            return
        if answer is not None:
            keys = frozenset(((one.name, one.repository), one.closings) for one in questions)
            self._late[repo] = _Late(self._cycle, keys, answer)
            answer.add_done_callback(self._wake)
        for one in questions:
            why = reason("guard/after-late", upstream=shown(one.name), repo=repo)
            self._known[(one.name, one.repository)] = untold(Unknown(why, Status.WAITING))

    def _wake(self, answer: Future[Mapping[Key, Told]]) -> None:
        """On the reader's thread: what was waited for is there."""
        if not answer.cancelled():
            self.board.wake(self.repo)

    def _repo_of(self, name: str) -> str:
        repo, slash, _ = name.removeprefix(OF_GROUP).rpartition("/")
        return repo if slash else self.repo


def shown(name: str) -> str:
    """What `after` names, for people."""
    return name.removeprefix(OF_GROUP)


def _every_upstream(snapshot: Snapshot) -> Iterable[str]:
    for workload in snapshot.workloads.values():
        yield from upstreams_of(workload) if isinstance(workload, Workload) else ()


def after(snapshot: Snapshot, matches: Callable[[str], bool]) -> Iterable[str]:
    """Workloads that come after something that matches."""
    for workload in snapshot.workloads.values():
        guard = workload.guards.after if isinstance(workload, Workload) else None
        if guard is not None and any(map(matches, upstream_names(guard))):
            yield workload.name
