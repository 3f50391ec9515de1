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
from automator.core.pullrequest import go, goal_in
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


def text_of(message: str) -> str:
    """A commit's message but for its subject, as the text of a pull request."""
    return message.partition("\n")[2].strip("\n") + "\n"


def go_for(unit: Unit) -> CommitStatus:
    """The status of a head whose version may be released."""
    first = unit.releases[0]
    return go(f"{first.tag} passes {first.workload.rule.text} and every guard")


def still_open(unit: Unit, kept: Kept) -> Answer:
    """It is proposed, and somebody has to merge it."""
    why = reason("proposal/open", after=versions_of(unit), url=kept.url, since=kept.since_text)
    return Answer(unit, Status.WAITING, why, _again(kept))


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
    return Status.FAILED, None


def _again(kept: Kept) -> datetime:
    return datetime.fromtimestamp(kept.looked_at, UTC) + LOOK_AGAIN
