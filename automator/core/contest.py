"""Contests: fields that two writers set back and forth, which are left alone until a person settles it.

The mark rule already keeps us from putting back what somebody took away. What is left are the cases in
which a policy tells us to (`accept`, `downgrade`), or in which another automator does what a person
would not: then both sides follow their rules for ever, and every round restarts the workload.

A field is contested where its last four moves go back and forth between two versions (A, B, A, B, A) and
both moves of one side are an automator's own: nobody asked for them. What people do among themselves is no
contest, nor is what they ask for or revert, as often as they do it: the mark rule gives them the last word,
and takes newer versions as usual. Versions count with their digests, and how long it took does not, since
commit times are anybody's claim.

It ends when a person writes the field, by hand or with a command (then the last four moves are no longer
these), or lists a version under `accept` that is neither of the two. A newer version alone does not end
it: it would be the next one to be fought over.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from automator.core.history import HeldValue, SiteHistory, is_same_version
from automator.core.policy import Workload
from automator.reasons import Reason, reason

MOVES = 4
"""Moves back and forth after which a field is contested."""


@dataclass(frozen=True, slots=True)
class Contest:
    """Two writers who set a field back and forth."""

    values: tuple[str, str]
    """What the field holds now, and what it held before."""
    writers: tuple[str, str]
    """Who set the one, who the other."""
    commits: tuple[str, ...]
    """The moves, newest first."""

    @property
    def reason(self) -> Reason:
        """The sentence: `automator and Flux set it back and forth between 1.4.2 and 1.4.3 (abc1234, …)`."""
        return reason(
            "history/contested",
            one=self.writers[0],
            value=self.values[0],
            other=self.writers[1],
            before=self.values[1],
            commits=", ".join(commit[:7] for commit in self.commits),
        )


def contested(history: SiteHistory) -> Contest | None:
    """Whether a site is contested, by whom and in which commits. Needs five values; never raises."""
    held = history.held[: MOVES + 1]
    if len(held) <= MOVES or any(value.commit is None for value in held[:MOVES]):
        return None
    now, before = held[0], held[1]
    if is_same_version(now, before):
        return None
    if not all(is_same_version(value, (now, before)[i % 2]) for i, value in enumerate(held)):
        return None
    sides = held[:MOVES:2], held[1:MOVES:2]
    if (
        not any(map(_is_automatic, sides))
        or _is_asked_for(now)
        or any(all(map(_is_asked_for, s)) for s in sides)
    ):
        return None
    return Contest(
        values=(now.tag or str(now), before.tag or str(before))
        if now.tag != before.tag
        else (str(now), str(before)),
        writers=(now.asked_by, before.asked_by),
        commits=tuple(value.commit or "" for value in held[:MOVES]),
    )


def stands(contest: Contest | None, workload: Workload, tag: str, digest: str | None = None) -> Reason | None:
    """Why a contest keeps a version from being taken; None where a person has listed it, and it is none of
    the two."""
    if contest is None:
        return None
    pair = tuple(part for value in contest.values for part in value.split("@") if part)
    listed = workload.rule.names(workload.accept, tag, digest)
    fought_over = tag in pair if digest is None else digest in pair
    return None if listed and not fought_over else contest.reason


_REVERTS = re.compile(r"^This reverts (?:commit|merge request) ", re.MULTILINE)
"""What git, and the buttons of forges, write when a person reverts."""


def _is_asked_for(value: HeldValue) -> bool:
    """Whether somebody asked us for it, or reverted something: no bot that follows a rule of its own."""
    if value.record is not None:
        return value.record.actor is not None
    return _REVERTS.search(value.message) is not None


def _is_automatic(values: Sequence[HeldValue]) -> bool:
    """Whether an automator wrote all of these by itself, and nobody asked for any."""
    return all(value.record is not None and value.record.actor is None for value in values)
