"""The forge as a cycle asks it: each question once, nobody after trouble that concerns everybody, and
nothing that was refused again before its time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from automator.core.forge import PullRequest
from automator.edges.forge.api import Forge
from automator.errors import ForgeError
from automator.reasons import Reason

LOOK_AGAIN = timedelta(minutes=10)
"""After which the forge is asked about an open pull request again."""
REFUSED_AGAIN = timedelta(hours=1)
"""After which it is asked again for what it refused."""
PULLS_READ = 100
"""Pull requests of one branch that are read, the newest."""
_LONG_AGO = datetime.min.replace(tzinfo=UTC)
T = TypeVar("T")
_STOPS_ALL = ("forge/unreachable", "forge/limited")
"""Troubles of the forge as a whole: nobody else is asked in the same cycle."""
_MAY_PASS = (*_STOPS_ALL, "forge/conflict")


def is_refusal(error: ForgeError) -> bool:
    """Whether it is an answer that will be the same one if it is asked again at once."""
    return error.reason.code not in _MAY_PASS


@dataclass
class Desk:
    """One project on its forge; for one cycle at a time."""

    project: str
    forge: Forge
    warnings: list[Reason] = field(default_factory=list)
    """What went wrong beside, in this cycle."""
    trouble: ForgeError | None = None
    """Of the forge as a whole, in this cycle."""
    now: datetime = _LONG_AGO
    _denied: dict[str, ForgeError] = field(default_factory=dict)
    """Kinds of questions that we may not ask, in this cycle."""
    _pulls: dict[str, tuple[PullRequest, ...]] = field(default_factory=dict)
    _waits: dict[str, tuple[datetime, Reason]] = field(default_factory=dict)
    """What failed beside, until when it is left, and why."""

    def begin(self, now: datetime) -> None:
        self.now, self.trouble = now, None
        self._pulls.clear()
        self._denied.clear()
        self.warnings.clear()
        for key in [key for key, (until, _) in self._waits.items() if until <= now]:
            del self._waits[key]

    def pulls(self, head: str) -> tuple[PullRequest, ...]:
        """The pull requests of a branch, newest first, asked for once in a cycle. Raises ForgeError."""
        if head not in self._pulls:
            found = self.asked(
                lambda: self.forge.pull_requests(self.project, head=head, state="all", limit=PULLS_READ),
                kind="read",
            )
            self._pulls[head] = tuple(sorted((p for p in found if p.head == head), key=lambda p: -p.number))
        return self._pulls[head]

    def forget(self, head: str) -> None:
        """Ask about a branch anew."""
        self._pulls.pop(head, None)

    def asked(self, question: Callable[[], T], *, kind: str = "") -> T:
        """The forge's answer. Whoever asks a `kind` of question that somebody was denied in this cycle has
        the same answer; without one, a denial is that of one pull request."""
        known = self.trouble or self._denied.get(kind)
        if known is not None:
            raise known
        try:
            return question()
        except ForgeError as error:
            if error.reason.code in _STOPS_ALL:
                self.trouble = error
            elif error.reason.code == "forge/denied" and kind:
                self._denied[kind] = error
            raise

    def beside(self, key: str, act: Callable[[], object]) -> bool:
        """Do what nothing hangs on: trouble is a warning, and the same is tried again when its time has come.

        The first word of `key` is the kind of thing; one that we may not do is left for all.
        """
        kind = key.partition(" ")[0]
        for waiting in (self._waits.get(kind), self._waits.get(key)):
            if waiting is not None:
                self.warn(waiting[1])
                return False
        try:
            self.asked(act)
        except ForgeError as error:
            self.warn(error.reason)
            until = self.now + (REFUSED_AGAIN if is_refusal(error) else LOOK_AGAIN)
            is_ours = error.reason.code == "forge/denied" and kind == "status"
            self._waits[kind if is_ours else key] = until, error.reason
            return False
        return True

    def warn(self, why: Reason) -> None:
        if why not in self.warnings:
            self.warnings.append(why)
