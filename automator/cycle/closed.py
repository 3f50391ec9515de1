"""Closed: what people refused by closing pull requests of ours, as the forge tells it.

It is asked before a release is made, pushed or proposed, and no release is proposed without an answer that
still holds: a pull request can only be closed that was open, and one that is open has a branch, whose tip is
seen in each cycle. A release that is pushed goes on without an answer where nothing tells that its workload
was ever proposed: a forge that is down stops no push.
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
from automator.cycle.forgedesk import LOOK_AGAIN, Desk, is_refusal
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
    _told: dict[str, _Told] = field(default_factory=dict)
    """By branch."""
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

    def forget(self, heads: Iterable[str]) -> None:
        """Something happened to these branches: ask anew."""
        for head in heads:
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
        for release in releases:
            name = release.workload.name
            names.add(name)
            for head, holds in heads_of(release):
                if self._holds(head, now) or (holds and self._is_clear(head)):
                    continue
                try:
                    self._ask(head, now)
                except ForgeError as error:
                    if holds and not self._was_proposed(head):
                        continue
                    failed[name] = error
                    self._keep(head, now)
        after = self.declined(now)
        changed = {n for n in before.keys() | after.keys() if set(before.get(n, ())) != set(after.get(n, ()))}
        return Learned(frozenset(changed & names), failed)

    def _holds(self, head: str, now: datetime) -> bool:
        told = self._told.get(head)
        if told is None or told.is_open or told.tip != self.checkout.branches.get(head):
            return False
        return told.at <= now < told.at + CLOSED_AGAIN

    def _was_proposed(self, head: str) -> bool:
        """Whether anything tells that there was a pull request on the branch."""
        if head in self._told or head in self.checkout.branches or self.book.get(head) is not None:
            return True
        return self.book.clear.get(head, "") != ""

    def _is_clear(self, head: str) -> bool:
        """Whether nothing was open nor refused when it was asked last, and the branch did not move since."""
        return self.book.clear.get(head) == (self.checkout.branches.get(head) or "")

    def _keep(self, head: str, now: datetime) -> None:
        """There was no answer: the last one's refusals stand until it is asked again."""
        told = self._told.get(head)
        if told is not None and not told.at <= now < told.at + CLOSED_AGAIN:
            self._told[head] = replace(told, at=now + LOOK_AGAIN - CLOSED_AGAIN)

    def _ask(self, head: str, now: datetime) -> None:
        mine = [pull for pull in self.desk.pulls(head) if pull.base == self.base]
        still = [pull for pull in mine if pull.state == "open"]
        wanted = {goal for pull in still for goal in goal_in(pull.body)}
        closed = [pull for pull in mine if pull.state == "closed" and not was_closed_by_us(pull)]
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
