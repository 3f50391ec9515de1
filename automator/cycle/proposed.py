"""One pull request to be: what it brings, how it is asked for, and what became of it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from automator.core.decide import Release
from automator.core.facts import Declined
from automator.core.forge import CommitStatus, PullRequest
from automator.core.pullrequest import go, goal_in, versions_in
from automator.core.reference import value_text
from automator.core.site import Site
from automator.core.windows import intersect
from automator.cycle.forgedesk import LOOK_AGAIN, REFUSED_AGAIN, is_refusal
from automator.cycle.proposalbook import Kept
from automator.cycle.publish import Rewritten
from automator.errors import AutomatorError, ForgeError
from automator.reasons import Reason, Status, reason


@dataclass(frozen=True, slots=True)
class Style:
    """What the config says of pull requests."""

    prefix: str = "automator/"
    labels: tuple[str, ...] = ()
    reviewers: tuple[str, ...] = ()
    draft: bool = False
    automerge: bool = False
    always: bool = False
    """Whether every release goes through one."""
    most: int = 10
    """Most that are open at a time."""
    other_bases: frozenset[str] = frozenset()
    """Branches of the same project that are config repos of their own."""


class Unit(NamedTuple):
    """What one pull request brings: a workload, or all members of a group that move."""

    head: str
    item: Rewritten
    goal: tuple[str, ...]
    edits: tuple[tuple[str, str, str], ...]

    @property
    def releases(self) -> tuple[Release, ...]:
        return self.item.releases

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(release.workload.name for release in self.releases)


class Answer(NamedTuple):
    """What became of a unit."""

    unit: Unit
    status: Status
    reason: Reason
    until: datetime | None = None
    """When it is looked at again, unless there is news before."""
    words: str | None = None
    """Of a server that refused its branch."""


def mark(text: str) -> str:
    """What stands for a text."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:24]


def goal_text(name: str, declined: Declined) -> str:
    """A version that people refused, as `goal_of` spells what is proposed."""
    version = declined.tag if declined.digest is None else f"{declined.tag}@{declined.digest}"
    return f"{name} {declined.image} {version}"


def was_merged(unit: Unit, mine: Sequence[PullRequest]) -> bool:
    """Whether the newest pull request was to bring just this to the base, and nobody asks for it again."""
    if not mine or mine[0].state != "merged" or goal_in(mine[0].body) != unit.goal:
        return False
    return not all(_is_accepted(release) for release in unit.releases)


def _is_accepted(release: Release) -> bool:
    workload = release.workload
    return workload.rule.names(workload.accept, release.tag) or release.image.digest in workload.accept


def versions_of(unit: Unit) -> str:
    """The versions that a unit brings, for people."""
    return ", ".join(dict.fromkeys(release.tag for release in unit.releases))


def why_of(message: str) -> str:
    """The sentence of a commit's message that tells how its version was chosen."""
    body = message.partition("\n\n")[2].partition("\n\n")[0]
    return body.strip().rpartition("\n")[2]


def go_for(unit: Unit) -> CommitStatus:
    """The status of a head whose version may be released."""
    first = unit.releases[0]
    return go(f"{first.tag} passes {first.workload.rule.text} and every guard")


def still_open(unit: Unit, kept: Kept, now: datetime | None = None) -> Answer:
    """It is proposed, and somebody has to merge it. What the forge may merge by itself at any time is looked
    at again at the very moment when a window closes."""
    why = reason("proposal/open", after=versions_of(unit), url=kept.url, since=kept.since_text)
    until = _again(kept)
    if kept.armed and now is not None:
        closes = intersect((r.workload.guards.windows for r in unit.releases), now).changes_at
        until = until if closes is None else min(until, closes)
    return Answer(unit, Status.WAITING, why, until)


def go_as_asked(kept: Kept) -> CommitStatus:
    """The status of a head whose version a person asked for."""
    actor = "a person" if kept.asked is None else kept.asked.actor
    return go(f"{versions_in(kept.goal)}, as {actor} asked for")


def as_asked(unit: Unit, kept: Kept) -> Answer:
    """A person asked for what is proposed, and it rolls on to nothing else."""
    if kept.asked is None or kept.goal == unit.goal:
        return still_open(unit, kept)
    asked, actor = versions_in(kept.goal), kept.asked.actor
    why = reason("proposal/asked", after=versions_of(unit), url=kept.url, asked=asked, actor=actor)
    return Answer(unit, Status.WAITING, why, _again(kept))


def is_asked(kept: Kept | None, releases: Sequence[Release]) -> bool:
    """Whether a branch holds what a person asked for, and the releases that are due find it so."""
    if kept is None or kept.asked is None:
        return False
    present = {r.workload.name: {r.current, *map(version_at, r.sites)} for r in releases}
    return not kept.asked.is_overtaken(present)


def version_at(site: Site) -> str:
    """What a site holds, as trailers write it."""
    return value_text(site.tag, site.digest)


def left_alone(unit: Unit, kept: Kept) -> Answer:
    """Somebody else's commit is on its branch."""
    author, commit = kept.foreign or ("somebody", "")
    why = reason("proposal/foreign-commit", branch=unit.head, commit=commit[:12], author=author)
    return Answer(unit, Status.HELD, why, _again(kept))


def failed(unit: Unit, error: AutomatorError, now: datetime) -> Answer:
    """The forge, or git, said no or nothing; it is waited for where that helps."""
    why = error.reason
    if why.code == "proposal/moved":
        why = reason("proposal/moved", after=versions_of(unit), branch=unit.head)
        return Answer(unit, Status.WAITING, why)
    status, until = trouble(error, now)
    return Answer(unit, status, why, until)


def trouble(error: AutomatorError, now: datetime) -> tuple[Status, datetime | None]:
    """What trouble makes of a release, and when it is tried again; None for the next cycle."""
    if error.reason.code == "forge/limited":
        return Status.WAITING, error.reason.changes_at
    if isinstance(error, ForgeError) and is_refusal(error):
        return Status.FAILED, now + REFUSED_AGAIN
    return Status.WAITING if error.reason.code == "git/ended" else Status.FAILED, None


def _again(kept: Kept) -> datetime:
    return datetime.fromtimestamp(kept.looked_at, UTC) + LOOK_AGAIN
