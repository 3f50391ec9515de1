"""Extras: labels and reviewers of a pull request, which must never cost the pull request itself.

What belongs here: what came of asking for them, and which trouble is worth asking again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Literal

from automator.core.forge import PullRequest
from automator.errors import ForgeError
from automator.reasons import Reason, reason

Kind = Literal["label", "reviewer"]


@dataclass
class Extras:
    """What came of the labels and reviewers of one pull request."""

    warnings: list[Reason] = field(default_factory=list)
    """One for each that is missing."""
    silence: ForgeError | None = None
    """The first trouble that was no refusal; nothing more is asked after it."""

    def lack(self, kind: Kind, names: Iterable[str], problem: str) -> None:
        """Some will never be there."""
        self.warnings += [warning(kind, name, problem) for name in names]

    def fail(self, kind: Kind, names: Iterable[str], error: ForgeError) -> None:
        """Some are missing by this error."""
        self.lack(kind, names, error.reason.sentence)
        if self.silence is None and not is_refusal(error):
            self.silence = error

    def one_by_one(self, kind: Kind, names: Iterable[str], ask: Callable[[str], object]) -> None:
        """Ask for each. What the forge refuses costs only itself; once it does not answer, nothing more is
        asked: the pull request is open, and that is what counts."""
        for name in names:
            if self.silence is not None:
                self.fail(kind, (name,), self.silence)
                continue
            try:
                ask(name)
            except ForgeError as error:
                self.fail(kind, (name,), error)

    def missing(self, kind: Kind) -> frozenset[str]:
        return frozenset(str(told[kind]) for told in map(_params, self.warnings) if kind in told)

    def upon(self, pull: PullRequest, labels: Iterable[str] = ()) -> PullRequest:
        """The pull request that was just opened, as it is now."""
        missing = self.missing("label")
        had = tuple(label for label in labels if label not in missing)
        is_silent = self.silence is not None
        return replace(pull, labels=had, warnings=tuple(self.warnings), lacks_extras=is_silent)

    def told(self) -> tuple[Reason, ...]:
        """What the forge refused for good. Raises the ForgeError that is worth asking again."""
        if self.silence is not None:
            raise self.silence
        return tuple(self.warnings)


def is_refusal(error: ForgeError) -> bool:
    """Whether the forge said no to this one thing, rather than to us or to nobody."""
    return error.reason.code in ("forge/refused", "forge/conflict", "forge/not-found", "forge/denied")


def warning(kind: Kind, name: str, problem: str) -> Reason:
    """Why a label or reviewer is missing from a pull request that is open."""
    if kind == "label":
        return reason("forge/label", label=name, problem=problem)
    return reason("forge/reviewer", reviewer=name, problem=problem)


def _params(why: Reason) -> dict[str, object]:
    return dict(why.params)
