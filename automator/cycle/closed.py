"""Closed: what people refused by closing pull requests of ours, as the forge tells it.

It is asked before a release is made, pushed or proposed, and no release is made without an answer that
still holds: a pull request can only be closed that was open, and one that is open has a branch, whose tip is
seen in each cycle. A forge that is down stops no push of a workload about which it has answered, as long as
no branch may have come and gone since.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import NamedTuple

from automator.core.decide import Release
from automator.core.facts import Declined
from automator.core.forge import PullRequest
from automator.core.pullrequest import declined_by, goal_in, was_closed_by_us
from automator.cycle.forgedesk import LOOK_AGAIN, PULLS_READ, Desk, is_refusal
from automator.cycle.proposalbook import UNKNOWN, Book
from automator.cycle.proposed import goal_text
from automator.edges.checkout import Checkout
from automator.errors import ForgeError

CLOSED_AGAIN = timedelta(hours=1)
"""After which it is asked whether one that was closed was opened again."""
COMMITS_READ = 10
"""Closed pull requests of one branch whose commit is asked for, the newest; of older ones the text counts."""


@dataclass(frozen=True, slots=True)
class _Told:
    """What the forge said of one branch."""

    at: datetime
    tip: str | None
    """Where the branch was then."""
    is_open: bool
    """Whether a pull request was open."""
    refused: tuple[tuple[str, Declined], ...]
    """By workload."""


class Learned(NamedTuple):
    """What came of asking."""

    changed: frozenset[str]
    """Workloads of which something is refused that was not known, or is not any more."""
    failed: Mapping[str, ForgeError]
    """Workloads about which there is no answer."""


@dataclass
class Closed:
    """The refusals of one config repo."""

    desk: Desk
    base: str
    checkout: Checkout
    book: Book
    holds_for: timedelta = CLOSED_AGAIN
    """How long an answer holds while the branch stays; short where its tip is not seen in each cycle."""
    other_bases: frozenset[str] = frozenset()
    """Branches of the same repository that are config repos of their own."""
    _told: dict[str, _Told] = field(default_factory=dict)
    """By branch."""
    _unheard: set[str] = field(default_factory=set)
    """Workloads of which other versions are refused than before, as was found for one that comes after."""
    _messages: dict[str, str] = field(default_factory=dict)
    """By commit: what it says it brings."""

    def declined(self, now: datetime) -> Mapping[str, tuple[Declined, ...]]:
        """What is refused, by workload, as far as it was asked of late."""
        found: dict[str, tuple[Declined, ...]] = {}
        for told in self._told.values():
            if told.at <= now < told.at + CLOSED_AGAIN:
                for name, declined in told.refused:
                    if declined not in found.get(name, ()):
                        found[name] = (*found.get(name, ()), declined)
        return found

    def begin(self, now: datetime) -> None:
        """A cycle begins, which knows the tips of our branches."""
        self.desk.begin(now)
        if not self.book.watch(now):
            self.forget(tuple(self._told))

    def forget(self, heads: Iterable[str]) -> None:
        """Something happened to these branches: ask anew."""
        for head in heads:
            if head in self.book.clear:
                self.book.clear[head] = UNKNOWN
            told = self._told.get(head)
            if told is not None:
                self._told[head] = replace(told, at=told.at - CLOSED_AGAIN)

    def asks_again(self) -> Mapping[str, datetime]:
        """When it is asked anew whether what people refused still is, by workload."""
        found: dict[str, datetime] = {}
        for told in self._told.values():
            for name, _ in told.refused:
                found[name] = min(found.get(name, told.at + CLOSED_AGAIN), told.at + CLOSED_AGAIN)
        return found

    def learn(
        self,
        releases: Iterable[Release],
        heads_of: Callable[[Release], Sequence[tuple[str, bool]]],
        now: datetime,
    ) -> Learned:
        """Ask what people did to the pull requests on the branches of `heads_of`: each with whether an answer
        that nothing is refused holds for as long as the branch does not move."""
        before = self.declined(now)
        names: set[str] = set()
        failed: dict[str, ForgeError] = {}
        releases = tuple(releases)
        try:
            if releases:
                self.find_past()
        except ForgeError as error:
            return Learned(frozenset(), {release.workload.name: error for release in releases})
        for release in releases:
            name = release.workload.name
            names.add(name)
            trouble = self._ask_about(heads_of(release), now)
            if trouble is not None:
                failed[name] = trouble
        changed = self._changed(before, now) | self._unheard
        self._unheard.clear()
        return Learned(frozenset(changed & names), failed)

    def _changed(self, before: Mapping[str, tuple[Declined, ...]], now: datetime) -> set[str]:
        after = self.declined(now)
        return {n for n in before.keys() | after.keys() if set(before.get(n, ())) != set(after.get(n, ()))}

    def ask_about(self, heads: Iterable[tuple[str, bool]], now: datetime) -> ForgeError | None:
        """Ask about those branches of which no answer holds, for a release that comes after theirs; the
        trouble of the last one without."""
        before = self.declined(now)
        try:
            self.find_past()
        except ForgeError as error:
            return error
        trouble = self._ask_about(heads, now)
        self._unheard |= self._changed(before, now)
        return trouble

    def _ask_about(self, heads: Iterable[tuple[str, bool]], now: datetime) -> ForgeError | None:
        trouble: ForgeError | None = None
        for head, holds in heads:
            if self.is_known(head, now, holds=holds):
                continue
            try:
                self._ask(head, now)
            except ForgeError as error:
                trouble = error
                self._keep(head, now)
        return trouble

    def is_known(self, head: str, now: datetime, *, holds: bool) -> bool:
        """Whether an answer still holds; with `holds` one that nothing is refused does while the branch does
        not move."""
        return not self.book.is_new and (self._holds(head, now) or (holds and self._is_clear(head)))

    def _holds(self, head: str, now: datetime) -> bool:
        told = self._told.get(head)
        if told is None or told.is_open or told.tip != self.checkout.branches.get(head):
            return False
        return told.at <= now < told.at + self.holds_for

    def _is_clear(self, head: str) -> bool:
        """Whether nothing was open nor refused when it was asked last, and the branch did not move since, nor
        came and went."""
        return self.book.clear.get(head) == (self.checkout.branches.get(head) or "")

    def _keep(self, head: str, now: datetime) -> None:
        """There was no answer: the last one's refusals stand until it is asked again."""
        told = self._told.get(head)
        if told is not None and not told.at <= now < told.at + CLOSED_AGAIN:
            self._told[head] = replace(told, at=now + LOOK_AGAIN - CLOSED_AGAIN)

    def _ask(self, head: str, now: datetime) -> None:
        pulls = self.desk.pulls(head)
        still = [pull for pull in pulls if pull.state == "open" and pull.base == self.base]
        wanted = {goal for pull in still for goal in goal_in(pull.body)}
        # Whoever gave one another base before closing it refuses no less.
        mine = [pull for pull in pulls if pull.state == "closed" and pull.base not in self.other_bases]
        closed = [pull for pull in mine if not was_closed_by_us(pull)]
        refused = [
            found
            for i, pull in enumerate(closed)
            for found in declined_by(pull, self._message(head, pull) if i < COMMITS_READ else "")
        ]
        tip = self.checkout.branches.get(head)
        told = tuple((n, d) for n, d in refused if goal_text(n, d) not in wanted)
        self._told[head] = _Told(now, tip, bool(still), told)
        if still or told:
            self.book.clear[head] = UNKNOWN
        else:
            self.book.clear[head] = tip or ""

    def find_past(self) -> None:
        """Learn once, where nothing is known yet, on which branches workloads were proposed: they may have
        others today. Raises ForgeError."""
        if not self.book.is_new:
            return
        desk, prefix = self.desk, self.checkout.prefix
        try:
            found = desk.asked(
                lambda: desk.forge.pull_requests(desk.project, head=prefix, state="closed", limit=PULLS_READ),
                kind="read",
            )
        except ForgeError as error:
            if error.reason.code != "forge/answer":
                raise
            found = ()  # so many that it cannot be listed: the branches of today have to do
        for pull in sorted(found, key=lambda pull: pull.number):
            if pull.state == "closed" and not was_closed_by_us(pull):
                self.book.proposed(pull.head, goal_in(pull.body))
        self.book.is_new = False

    def _message(self, head: str, pull: PullRequest) -> str:
        """What the head of a pull request brings, as its commit says; empty where nobody knows, or it is what
        its text says too. People, and crashes, change the text: the commit is what they were shown."""
        kept, commit = self.book.get(head), pull.head_commit
        if kept is not None and kept.tip == commit and kept.goal == goal_in(pull.body):
            return ""
        if commit not in self._messages:
            desk = self.desk
            try:
                found, _ = desk.asked(
                    lambda: desk.forge.commits_between(desk.project, self.base, commit, limit=5)
                )
            except ForgeError as error:
                if not is_refusal(error):
                    raise
                found = ()  # it is gone there
            self._messages[commit] = next((c.message for c in found if goal_in(c.message)), "")
        return self._messages[commit]
