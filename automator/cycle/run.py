"""The cycle: observe, decide, rewrite, publish, announce.

`plan`, `once`, `run` and a webhook all take this one road; `plan` only stops before the push.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

from automator.core.decide import Release
from automator.core.explain import Verdict
from automator.core.policy import InvalidWorkload, Workload
from automator.core.reference import Repository, short_text
from automator.core.report import Outcome, Report
from automator.cycle.ages import restarted
from automator.cycle.ahead import Ahead
from automator.cycle.decisions import Decider
from automator.cycle.facts import FactFinder
from automator.cycle.firstlook import first_outcomes
from automator.cycle.index import Index, Snapshot
from automator.cycle.logbook import Logbook
from automator.cycle.observe import Looked, Observer
from automator.cycle.proposed import Unit, trouble
from automator.cycle.proposing import Proposals
from automator.cycle.publish import Published, Publisher, Rewritten, batches, rewrite_all
from automator.cycle.race import tries
from automator.cycle.tending import Tender
from automator.cycle.withdrawals import Move, Withdrawals
from automator.edges.checkout import NOT_COUNTED, Checkout
from automator.errors import AutomatorError, CheckoutError
from automator.reasons import Reason, Status, reason

LEARNED = 5
"""Times at most that a cycle decides again after the forge told of closed pull requests."""
AGAIN_AFTER_RACE = timedelta(seconds=2)
"""How long others are left the branch then: a release must not wait for the next planned cycle."""
REFUSAL_LASTS = timedelta(hours=1)
UNPROVEN = ("git/unsigned-tip", "git/signers")
"""What is wrong with the branch as a whole: nothing that was decided on it before stands."""


@dataclass(frozen=True, slots=True)
class Trigger:
    """Why a cycle runs, and what it should look at first."""

    name: str
    """startup, interval, due, request, event, push or command."""
    named: frozenset[Repository] = frozenset()
    """Repositories that an event named: listed now, and first."""
    patience: timedelta = timedelta(0)
    """How long other repositories may have been due: a cycle for an event leaves them to the next planned
    one."""
    all_due: bool = False
    """List every repository whatever its interval, as a command wants."""
    workloads: frozenset[str] = frozenset()
    """Only these; all where empty."""
    owners: frozenset[str] = frozenset()
    """Only workloads of these owners; all where empty."""

    def selects(self, entry: Workload | InvalidWorkload) -> bool:
        """Whether this cycle is about the workload."""
        if self.workloads and entry.name not in self.workloads:
            return False
        return not self.owners or (isinstance(entry, Workload) and entry.owner in self.owners)

    @property
    def partial(self) -> bool:
        return bool(self.workloads or self.owners)


def selection(snapshot: Snapshot, trigger: Trigger) -> frozenset[str]:
    """Names of the workloads that a cycle is about: with a member of a group all the others, since they
    move together or not at all."""
    names = {name for name, entry in snapshot.workloads.items() if trigger.selects(entry)}
    for members in snapshot.groups.values():
        if not names.isdisjoint(members):
            names.update(members)
    return frozenset(names)


class Refusals(Protocol):
    """Where a server's no is remembered (`edges.store` keeps it)."""

    def refusal(self, repo: str, workload: str, key: str) -> tuple[str, datetime] | None: ...
    def save_refusal(self, repo: str, workload: str, key: str, words: str, at: datetime) -> None: ...


@dataclass
class Cycle:
    """The cycles of one config repo; one at a time."""

    repo: str
    checkout: Checkout
    index: Index
    observer: Observer
    facts: FactFinder
    decider: Decider
    publisher: Publisher
    refusals: Refusals
    withdrawals: Withdrawals
    clock: Callable[[], datetime]
    fingerprint: str = ""
    """Changes with the settings of the config repo: a push refused under others is tried again."""
    mode: str = "write"
    """`observe`: everything but the push."""
    proposals: Proposals | None = None
    """The pull requests; None where there is no forge."""
    tender: Tender | None = None
    """Looks after those that are open; there if `proposals` is."""
    preview: Callable[[Report], None] | None = None
    """Told what the branch holds once it was read for the first time, before registries are asked."""
    read_at: datetime | None = None
    """When the server was asked for the branch as the index has it."""
    _ahead: Ahead | None = None
    _ahead_since: datetime | None = None
    _outcomes: tuple[Outcome, ...] = ()
    _news: int = 0
    _ages: tuple[Reason, ...] = ()

    def set_out(self) -> None:
        """Have the branch fetched for the first cycle, while what is around it is still being made."""
        with suppress(RuntimeError):  # no thread is to be had: the cycle fetches it
            self._ahead_since, self._ahead = self.clock(), Ahead(self.checkout)

    def come_back(self) -> None:
        """No cycle comes any more."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            ahead.give_up()

    def run(
        self, trigger: Trigger, *, push: bool = True, interim: Callable[[Report], None] | None = None
    ) -> Report:
        """One cycle. What fails is in the report; only a bug raises.

        `push=False` is `plan`. `interim` is told the outcomes before history is fetched.
        """
        started = self.clock()
        landed: list[tuple[Release, str]] = []
        rewritten: tuple[Rewritten, ...] = ()
        error: Reason | None = None
        races = 0
        plans = not push or self.mode == "observe"
        try:
            for attempt in tries(self.clock):
                snapshot, rewritten, proposed = self._prepare(trigger, started, interim, again=attempt > 0)
                published = Published()
                if plans:
                    self._plan(rewritten)
                    rewritten += self._plan_proposals(proposed)
                elif rewritten:
                    published = self._publish(snapshot, rewritten, landed, attempt + 1)
                    error = published.error
                if not published.lost:
                    break
                races = attempt + 1
            else:
                self._leave_the_branch(rewritten, races)
            if not plans:
                self._propose(snapshot, proposed, published, races)
        except AutomatorError as failed:
            error = failed.reason
            if error.code in UNPROVEN:
                self.decider.hold_all(error)
        report = replace(self._announce(trigger, started, landed, rewritten, error), lost_races=races)
        if landed and (trigger.name != "command" or self.facts.verifying is not None):
            self._catch_up(landed[-1][1])
        return self._have_checked(report, trigger) if push else report

    def _have_checked(self, report: Report, trigger: Trigger) -> Report:
        """Have the checks asked that are due, of what is on the branch now. A command waits for their
        answers, since nothing comes after it."""
        again = self.facts.ask_checks(self.clock())
        if trigger.name == "command" and self.facts.verifying is not None:
            self.facts.verifying.finish()
        return report if again is None else replace(report, again_at=again)

    def _catch_up(self, commit: str) -> None:
        """Take our own commit in at once, while nobody waits: an event that comes next finds it known."""
        try:
            self.index.move_to(commit)
            self.facts.catch_up()
        except AutomatorError:
            return  # the next cycle meets it again, and tells it

    def verdicts(self, workload: str) -> tuple[Verdict, ...]:
        """What became of every tag of a workload, by the cycle that ran last."""
        return self.decider.verdicts(workload, self.clock())

    def logbook(self) -> Logbook:
        """What the branch's history tells of releases, as far back as the config lets it be read.

        Raises CheckoutError where the config repo cannot be read.
        """
        tip = self.checkout.ask_tip()
        self.checkout.fetch(tip, proven=False)  # what is on the branch may be read, whoever wrote it
        self.facts.reach.grow_to_limit()
        snapshot = self.index.move_to(tip)
        return Logbook(self.repo, self.checkout, self.index, snapshot, branch=self.withdrawals.branch)

    def _prepare(
        self, trigger: Trigger, now: datetime, interim: Callable[[Report], None] | None, *, again: bool
    ) -> tuple[Snapshot, tuple[Rewritten, ...], tuple[Rewritten, ...]]:
        """Observe, decide, rewrite what is pushed, and what is proposed; with a clone that turns out to be
        damaged once more on a new one."""
        try:
            snapshot = self._observe(trigger, now, again=again)
            return snapshot, *self._rewrite(self._unrefused(self._decide(snapshot, trigger, now, interim)))
        except CheckoutError as error:
            if error.reason.code not in ("git/damaged", "git/no-commit"):
                raise
        self.index.forget()
        self.facts.forget()
        snapshot = self._observe(trigger, now, again=again)
        return snapshot, *self._rewrite(self._unrefused(self._decide(snapshot, trigger, now, interim)))

    def _observe(self, trigger: Trigger, now: datetime, *, again: bool) -> Snapshot:
        """The config repo at its tip, and the tag lists that are due."""

        def ahead() -> None:
            if not again:
                self.observer.look_ahead(trigger.named, now)

        def foresee(snapshot: Snapshot) -> None:
            if self.preview is not None:
                tell, self.preview = self.preview, None
                outcomes = first_outcomes(snapshot)
                tell(Report(self.repo, trigger.name, now, self.clock(), snapshot.commit, None, outcomes))

        # While git is asked for the tip, registries answer what an event named.
        snapshot, rewound = self._read_tip(ahead, foresee)
        looked = Looked(set(), ())
        if not again:
            self.facts.begin(trigger.named)
            watched = self._watched(snapshot, trigger)
            looked = self.observer.look(
                watched, trigger.named, now, all_due=trigger.all_due, patience=trigger.patience
            )
        self.decider.notice(snapshot, looked, now, trigger.named, rewound=rewound)
        self._notice_proposals(snapshot, now)
        return snapshot

    def _read_tip(
        self,
        meanwhile: Callable[[], None] = lambda: None,
        first_sight: Callable[[Snapshot], None] | None = None,
    ) -> tuple[Snapshot, bool]:
        """The config repo at the branch's tip, and whether the branch was rewound past what we saw."""
        old, asked_at = self.index.snapshot, self.clock()
        ahead, self._ahead = self._ahead, None
        if ahead is not None and self._ahead_since is not None:
            asked_at = self._ahead_since
        if ahead is None:
            tip = self.checkout.ask_tip(meanwhile=meanwhile)
        else:
            meanwhile()
            tip = ahead.tip()
        if old is None or old.commit != tip or self.checkout.is_broken():
            self.checkout.fetch(tip)
        else:
            self.checkout.prove(tip)  # keys may have been taken away
        lost = self.withdrawals.lost(tip)
        snapshot = self.index.move_to(tip, first_sight)
        self.read_at = asked_at
        self.withdrawals.settle(snapshot, lost=lost)
        self.facts.withdrawn = self.withdrawals.taken(snapshot)
        return snapshot, lost

    def read(self) -> Snapshot:
        """The config repo at its tip, with nothing decided; no registry and no forge is asked.

        Raises CheckoutError.
        """
        snapshot, _ = self._read_tip()
        self.facts.begin()
        return snapshot

    def look(self, names: Collection[str] = (), *, again: bool = False) -> Snapshot:
        """The config repo at its tip, with nothing decided; and, unless it was done before, the tag lists of
        the workloads named.

        Raises CheckoutError.
        """
        now = self.clock()
        snapshot, rewound = self._read_tip()
        looked = Looked(set(), ())
        if not again:
            self.facts.begin()
            trigger = Trigger("command", workloads=frozenset(names))
            watched = self._watched(snapshot, trigger) if names else {}
            looked = self.observer.look(watched, (), now, all_due=True)
        self.decider.notice(snapshot, looked, now, rewound=rewound)
        self._notice_proposals(snapshot, now)
        return snapshot

    @staticmethod
    def _watched(snapshot: Snapshot, trigger: Trigger) -> Mapping[Repository, bool]:
        if not trigger.partial:
            return snapshot.watched
        selected = selection(snapshot, trigger)
        found: dict[Repository, bool] = {}
        for watchers, listed in ((snapshot.followers, False), (snapshot.by_repository, True)):
            found.update((r, listed) for r, names in watchers.items() if not selected.isdisjoint(names))
        return found

    def _decide(
        self,
        snapshot: Snapshot,
        trigger: Trigger,
        now: datetime,
        interim: Callable[[Report], None] | None,
    ) -> tuple[Release, ...]:
        """The releases to make; every other workload's outcome is settled."""

        def reading() -> None:
            if interim is not None:
                interim(self._announce(trigger, now, [], (), None))

        def stopped(release: Release) -> Reason | None:
            return self._stopped(release, snapshot.commit, now)

        selected = selection(snapshot, trigger) if trigger.partial else None
        return self.decider.decide(now, selected, stopped, reading)

    def _rewrite(self, releases: tuple[Release, ...]) -> tuple[tuple[Rewritten, ...], tuple[Rewritten, ...]]:
        """New texts, proven: of what is pushed, one on top of the other, and of what is proposed, each by
        itself. A release that cannot be written exactly is held."""
        ways: tuple[list[Release], list[Release]] = ([], [])
        for batch in batches(releases):
            ways[any(map(self._is_proposed, batch))].extend(batch)
        pushed, held = rewrite_all(self.index, ways[False])
        proposed, also_held = rewrite_all(self.index, ways[True], apart=True)
        for release, why in (*held, *also_held):
            self.decider.settle(release, Status.HELD, why)
        return pushed, proposed

    def _is_proposed(self, release: Release) -> bool:
        return self.proposals is not None and self.proposals.is_for(release.workload)

    # -- pull requests -----------------------------------------------------------------------------

    def _notice_proposals(self, snapshot: Snapshot, now: datetime) -> None:
        """Take in what became of our branches: the tips came with that of the base."""
        if self.proposals is None or self.tender is None:
            return
        moved = self.proposals.begin(now)
        names = set(self.tender.workloads_of(moved, snapshot))
        if moved:
            outcomes = self.decider.outcomes
            names.update(name for name, o in outcomes.items() if o.reason.code == "proposal/limit")
        self.decider.reopen(names)
        self.facts.declined = self.proposals.closed.declined(now)

    def _unrefused(self, releases: tuple[Release, ...]) -> tuple[Release, ...]:
        """The releases of which it is known that nobody refused them by closing a pull request; those about
        which the forge has no answer are not made."""
        if self.proposals is None:
            return releases
        now, snapshot = self.clock(), self.decider.snapshot

        def stopped(release: Release) -> Reason | None:
            return self._stopped(release, snapshot.commit, now)

        for _ in range(LEARNED):
            learned = self.proposals.learn(releases, now)
            self.facts.declined = self.proposals.closed.declined(now)
            followers = self.facts.refused(snapshot, learned.changed)
            self.decider.reopen(followers)
            again, kept = _split(releases, learned.changed | followers)
            if not again:
                break
            names = frozenset(release.workload.name for release in again)
            self.decider.reopen(names)
            selected = selection(snapshot, Trigger("command", workloads=names))
            more = self.decider.decide(now, selected, stopped, lambda: None)
            releases = tuple(sorted((*kept, *more), key=lambda release: release.workload.name))
        for name, at in self.proposals.closed.asks_again().items():
            outcome = self.decider.outcomes.get(name)
            if outcome is not None and outcome.reason.code == "proposal/closed":
                self.decider.look_at(name, at)
        unknown, known = _split(releases, learned.failed)
        for batch in batches(unknown):
            error = next(learned.failed[r.workload.name] for r in batch if r.workload.name in learned.failed)
            status, until = trouble(error, now)
            if error.reason.code == "forge/unreachable" and not self._is_proposed(batch[0]):
                status = Status.WAITING  # a push hangs on no more than that the forge answers once
            for release in batch:
                self.decider.settle(release, status, error.reason, until=until)
        return known

    def _plan_proposals(self, proposed: Sequence[Rewritten]) -> tuple[Rewritten, ...]:
        """Say what would be proposed."""
        if self.proposals is None:
            return ()
        for release in (release for item in proposed for release in item.releases):
            before, after = _step(release)
            why = reason("proposal/planned", before=before, after=after)
            self.decider.settle(release, Status.WAITING, why, is_hourly=self.mode == "observe")
        self.proposals.end()
        return tuple(proposed)

    def _propose(
        self, snapshot: Snapshot, proposed: Sequence[Rewritten], published: Published, races: int
    ) -> None:
        """Open and update pull requests, on the tip with what was pushed just now; tend the others."""
        if self.proposals is None or self.tender is None:
            return
        now = self.clock()
        if published.lost or published.error is not None:
            for release in (release for item in proposed for release in item.releases):
                why = published.error or _lost_race(release, races, now + AGAIN_AFTER_RACE)
                self.decider.settle(release, _unpublished(why), why)
            return
        base = published.landed[-1][1] if published.landed else snapshot.commit
        changed = {site.file for release, _ in published.landed for site in release.sites}
        units: list[Unit] = []
        for unit in (self.proposals.unit(item) for item in proposed):
            file = next((patch.file for patch in unit.item.patches if patch.file in changed), None)
            if file is None:
                units.append(unit)
            for release in unit.releases if file is not None else ():
                why = reason("proposal/same-file", after=release.tag, file=file)
                self.decider.settle(release, Status.WAITING, why)
                self.proposals.handled.add(unit.head)
        answers = self.proposals.propose(units, base, now, lambda name: self.decider.verdicts(name, now))
        for answer in answers:
            for release in answer.unit.releases:
                if answer.words is not None:
                    name, key = release.workload.name, self._question(release, snapshot.commit)
                    self.refusals.save_refusal(self.repo, name, key, answer.words, now)
                self.decider.settle(release, answer.status, answer.reason, until=answer.until)
        self.tender.tend(snapshot, self.decider.outcomes, base, now)
        self.proposals.end()

    def _plan(self, rewritten: tuple[Rewritten, ...]) -> None:
        for release in (release for item in rewritten for release in item.releases):
            before, after = _step(release)
            why = reason("waiting/planned", before=before, after=after)
            self.decider.settle(release, Status.WAITING, why, is_hourly=self.mode == "observe")

    def _publish(
        self,
        snapshot: Snapshot,
        rewritten: tuple[Rewritten, ...],
        landed: list[tuple[Release, str]],
        attempt: int,
    ) -> Published:
        """Commits, in one push; each release's outcome is settled by the server's answer."""
        now = self.clock()
        published = self.publisher.publish(snapshot.commit, rewritten, now)
        landed.extend(published.landed)
        commits = tuple(dict.fromkeys(commit for _, commit in published.landed))
        if commits:
            moved = tuple(_move(release) for release, _ in published.landed)
            self.withdrawals.saw(commits[-1], moved, after=commits[:-1])
        for commit in commits:
            self.facts.saw(commit, now)
        done = {release.workload.name for release, _ in (*published.landed, *published.refused)}
        for release, words in published.refused:
            key = self._question(release, snapshot.commit)
            self.refusals.save_refusal(self.repo, release.workload.name, key, words, now)
            self.decider.settle(release, Status.FAILED, _refused(release, words, now))
        every = (release for item in rewritten for release in item.releases)
        for release in (release for release in every if release.workload.name not in done):
            if published.lost:
                self.decider.settle(release, Status.WAITING, _lost_race(release, attempt))
            elif published.error is not None:
                self.decider.settle(release, _unpublished(published.error), published.error)
        return published

    def _leave_the_branch(self, rewritten: tuple[Rewritten, ...], races: int) -> None:
        """Others were first in every try: what is left is decided again in a moment, and not before."""
        at = self.clock() + AGAIN_AFTER_RACE
        for release in (release for item in rewritten for release in item.releases):
            if self.decider.outcomes[release.workload.name].reason.code == "push/lost-race":
                self.decider.settle(release, Status.WAITING, _lost_race(release, races, at))

    def _announce(
        self,
        trigger: Trigger,
        started: datetime,
        landed: list[tuple[Release, str]],
        rewritten: tuple[Rewritten, ...],
        error: Reason | None,
    ) -> Report:
        """What the cycle did, as one value."""
        for release, commit in landed:
            before, after = _step(release)
            why = reason("released/pushed", before=before, after=after, commit=commit[:12])
            if release.undo is not None:
                short, undo = commit[:12], release.undo
                why = reason("released/rolled-back", before=before, after=after, commit=short, why=undo)
            self.decider.settle(release, Status.RELEASED, why, commit)
        if self._news != self.decider.news:
            self._news = self.decider.news
            self._outcomes = tuple(outcome for _, outcome in sorted(self.decider.outcomes.items()))
            self._ages = self._restarted_ages(started)
        snapshot = self.index.snapshot
        return Report(
            repo=self.repo,
            trigger=trigger.name,
            started_at=started,
            finished_at=self.clock(),
            head=None if snapshot is None else snapshot.commit,
            pushed=landed[-1][1] if landed else None,
            outcomes=self._outcomes,
            warnings=() if snapshot is None else self._warnings(snapshot),
            error=error,
            patches=tuple(patch for item in rewritten for patch in item.patches),
        )

    def _warnings(self, snapshot: Snapshot) -> tuple[Reason, ...]:
        beside = () if self.proposals is None else tuple(self.proposals.warnings)
        return (*self._ages, *self.facts.warnings(), *snapshot.warnings, *beside)

    def _restarted_ages(self, now: datetime) -> tuple[Reason, ...]:
        if self.index.snapshot is None:
            return ()
        workloads, upstreams = self.index.snapshot.workloads, self.facts.upstreams
        held = {} if upstreams is None else upstreams.latest
        return restarted(self._outcomes, workloads, held, self.observer.memory, now)

    def _stopped(self, release: Release, head: str, now: datetime) -> Reason | None:
        """A refused release is tried again when its target, the head or the config changes, or after
        an hour."""
        refusal = self.refusals.refusal(self.repo, release.workload.name, self._question(release, head))
        if refusal is None:
            return None
        words, at = refusal
        return None if now >= at + REFUSAL_LASTS else _refused(release, words, at)

    def _question(self, release: Release, head: str) -> str:
        return f"{release.target} on {head} as {self.fingerprint}"


def _split(
    releases: Sequence[Release], names: Collection[str]
) -> tuple[tuple[Release, ...], tuple[Release, ...]]:
    """Those of commits that move any of these workloads, and the others."""
    parts: tuple[list[Release], list[Release]] = ([], [])
    for batch in batches(releases):
        parts[not any(release.workload.name in names for release in batch)].extend(batch)
    return tuple(parts[0]), tuple(parts[1])


def _step(release: Release) -> tuple[str, str]:
    """Versions before and after as people tell them apart: by digest where the tag stays the same."""
    tag, _, digest = release.current.partition("@")
    if tag != release.tag:
        return short_text(release.current) or "no version", release.tag
    return short_text(f"@{digest}") or tag, short_text(f"@{release.image.digest}") or release.tag


def _move(release: Release) -> Move:
    followed = release.workload.rule.followed is not None
    version = release.image.digest if followed else release.tag
    return Move(release.workload.name, str(release.workload.repository), version)


def _unpublished(why: Reason) -> Status:
    """What a release is that could not be pushed: nothing failed where we were not in time, or broke off."""
    return Status.WAITING if why.code in ("push/lost-race", "git/ended") else Status.FAILED


def _lost_race(release: Release, races: int, at: datetime | None = None) -> Reason:
    return reason("push/lost-race", changes_at=at, after=release.tag, tries=races)


def _refused(release: Release, words: str, at: datetime) -> Reason:
    code = "push/unsigned" if words.startswith(NOT_COUNTED) else "push/refused"
    return reason(code, changes_at=at + REFUSAL_LASTS, after=release.tag, words=words)
