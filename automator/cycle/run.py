"""The cycle: observe, decide, rewrite, publish, announce.

`plan`, `once`, `run` and a webhook all take this one road; `plan` only stops before the push.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from automator.core.decide import Release
from automator.core.explain import Verdict
from automator.core.policy import InvalidWorkload, Workload
from automator.core.record import Member
from automator.core.reference import Repository, short_text
from automator.core.report import Outcome, Report
from automator.cycle.decisions import Decider
from automator.cycle.facts import FactFinder
from automator.cycle.index import Index, Snapshot
from automator.cycle.logbook import LogLine, releases
from automator.cycle.observe import Looked, Observer
from automator.cycle.publish import Published, Publisher, Rewritten, rewrite_all
from automator.cycle.withdrawals import Withdrawals
from automator.edges.checkout import Checkout
from automator.errors import AutomatorError, CheckoutError
from automator.reasons import Reason, Status, reason

TRIES = 5
"""Lost races after which a cycle leaves its releases to the next one."""
JUST_BEGUN = timedelta(minutes=10)
"""After the beginning of a state folder: tags that were listed by then were there before."""
REFUSAL_LASTS = timedelta(hours=1)


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
    _outcomes: tuple[Outcome, ...] = ()
    _news: int = 0
    _ages: tuple[Reason, ...] = ()

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
        try:
            for attempt in range(TRIES):
                snapshot, rewritten = self._prepare(trigger, started, interim, again=attempt > 0)
                if not rewritten:
                    break
                if not push or self.mode == "observe":
                    self._plan(rewritten)
                    break
                published = self._publish(snapshot, rewritten, landed)
                error = published.error
                if not published.lost:
                    break
        except AutomatorError as failed:
            error = failed.reason
        report = self._announce(trigger, started, landed, rewritten, error)
        if landed and trigger.name != "command":
            self._catch_up(landed[-1][1])
        return report

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

    def logbook(self, trigger: Trigger, limit: int) -> tuple[LogLine, ...]:
        """The releases that the branch's history holds, newest first.

        Raises CheckoutError where the config repo cannot be read.
        """
        tip = self.checkout.ask_tip()
        self.checkout.fetch(tip)
        self.facts.reach.grow_to_limit()

        entries = self.index.move_to(tip).workloads if trigger.owners else {}

        def wanted(member: Member) -> bool:
            entry = entries.get(member.workload)
            named = not trigger.workloads or member.workload in trigger.workloads
            return named and (not trigger.owners or (entry is not None and trigger.selects(entry)))

        return tuple(releases(self.repo, self.checkout, self.index, tip, wanted, limit))

    def _prepare(
        self, trigger: Trigger, now: datetime, interim: Callable[[Report], None] | None, *, again: bool
    ) -> tuple[Snapshot, tuple[Rewritten, ...]]:
        """Observe, decide, rewrite; with a clone that turns out to be damaged once more on a new one."""
        try:
            snapshot = self._observe(trigger, now, again=again)
            return snapshot, self._rewrite(self._decide(snapshot, trigger, now, interim))
        except CheckoutError as error:
            if error.reason.code not in ("git/damaged", "git/no-commit"):
                raise
        self.index.forget()
        self.facts.forget()
        snapshot = self._observe(trigger, now, again=again)
        return snapshot, self._rewrite(self._decide(snapshot, trigger, now, interim))

    def _observe(self, trigger: Trigger, now: datetime, *, again: bool) -> Snapshot:
        """The config repo at its tip, and the tag lists that are due."""
        old = self.index.snapshot

        def ahead() -> None:
            if not again:
                self.observer.look_ahead(trigger.named, now)

        # While git is asked for the tip, registries answer what an event named.
        tip = self.checkout.ask_tip(meanwhile=ahead)
        if old is None or old.commit != tip or self.checkout.is_broken():
            self.checkout.fetch(tip)
        lost = self.withdrawals.lost(tip)
        snapshot = self.index.move_to(tip)
        self.withdrawals.settle(tip, lost, snapshot.held_tags)
        self.facts.withdrawn = self.withdrawals.tags(snapshot.held_tags)
        rewound = lost is not None
        looked = Looked(set(), ())
        if not again:
            self.facts.begin(trigger.named)
            watched = self._watched(snapshot, trigger)
            looked = self.observer.look(
                watched, trigger.named, now, all_due=trigger.all_due, patience=trigger.patience
            )
        self.decider.notice(snapshot, looked, now, trigger.named, rewound=rewound)
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

    def _rewrite(self, releases: tuple[Release, ...]) -> tuple[Rewritten, ...]:
        """New texts, proven; a release that cannot be written exactly is held."""
        rewritten, held = rewrite_all(self.index, releases)
        for release, why in held:
            self.decider.settle(release, Status.HELD, why)
        return rewritten

    def _plan(self, rewritten: tuple[Rewritten, ...]) -> None:
        for release in (release for item in rewritten for release in item.releases):
            before, after = _step(release)
            why = reason("waiting/planned", before=before, after=after)
            self.decider.settle(release, Status.WAITING, why, is_hourly=self.mode == "observe")

    def _publish(
        self, snapshot: Snapshot, rewritten: tuple[Rewritten, ...], landed: list[tuple[Release, str]]
    ) -> Published:
        """Commits, in one push; each release's outcome is settled by the server's answer."""
        now = self.clock()
        published = self.publisher.publish(snapshot.commit, rewritten, now)
        landed.extend(published.landed)
        for _, commit in published.landed:
            self.withdrawals.saw(commit)
        done = {release.workload.name for release, _ in (*published.landed, *published.refused)}
        for release, words in published.refused:
            key = self._question(release, snapshot.commit)
            self.refusals.save_refusal(self.repo, release.workload.name, key, words, now)
            self.decider.settle(release, Status.FAILED, _refused(release, words, now))
        every = (release for item in rewritten for release in item.releases)
        for release in (release for release in every if release.workload.name not in done):
            if published.lost:
                why = reason("push/lost-race", after=release.tag, tries=TRIES)
                self.decider.settle(release, Status.WAITING, why)
            elif published.error is not None:
                self.decider.settle(release, Status.FAILED, published.error)
        return published

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
            warnings=() if snapshot is None else (*self._ages, *snapshot.warnings),
            error=error,
            patches=tuple(patch for item in rewritten for patch in item.patches),
        )

    def _restarted_ages(self, now: datetime) -> tuple[Reason, ...]:
        """A warning where `min_age` counts anew only since the state folder is new: first-seen times are
        the one thing that no other place remembers."""
        if self.index.snapshot is None:
            return ()
        memory, workloads = self.observer.memory, self.index.snapshot.workloads
        began = memory.began(now)
        names = []
        for outcome in self._outcomes:
            entry = workloads.get(outcome.workload)
            if outcome.reason.code == "guard/min-age" and isinstance(entry, Workload):
                first = memory.first_seen(entry.listed, outcome.target or "")
                if first is None or first <= began + JUST_BEGUN:
                    names.append(outcome.workload)
        if not names:
            return ()
        shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        return (reason("state/ages-began", at=f"{began:%Y-%m-%d %H:%M} UTC", workloads=shown),)

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


def _step(release: Release) -> tuple[str, str]:
    """Versions before and after as people tell them apart: by digest where the tag stays the same."""
    tag, _, digest = release.current.partition("@")
    if tag != release.tag:
        return short_text(release.current) or "no version", release.tag
    return short_text(f"@{digest}") or tag, short_text(f"@{release.image.digest}") or release.tag


def _refused(release: Release, words: str, at: datetime) -> Reason:
    return reason("push/refused", changes_at=at + REFUSAL_LASTS, after=release.tag, words=words)
