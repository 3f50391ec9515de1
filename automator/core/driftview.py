"""What is shown of drift: each runtime, and each workload at each runtime."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from automator.core.drift import Drift, DriftState
from automator.reasons import Reason

_ORDER = (DriftState.DIVERGED, DriftState.PENDING, DriftState.UNKNOWN, DriftState.SAME)
"""The worst first."""


@dataclass(frozen=True, slots=True)
class RuntimeView:
    """One runtime of the config, and how the looks at it go."""

    name: str
    kind: str
    """kubernetes or docker."""
    repo: str
    """The config repo that says what is to run there."""
    interval: timedelta
    looked_at: datetime | None = None
    """When it was asked last."""
    answered_at: datetime | None = None
    """When it answered last."""
    trouble: Reason | None = None
    """Why it gave no answer when it was asked last."""
    notes: tuple[Reason, ...] = ()
    """What it did not let us read, and is not needed."""
    drifts: tuple[Drift, ...] = ()
    """Of every workload that it covers, by name."""

    @property
    def is_up(self) -> bool | None:
        """Whether it answered when it was asked last; None where it was not asked yet."""
        return None if self.looked_at is None else self.trouble is None

    @property
    def counts(self) -> dict[str, int]:
        """Workloads by state, each of which is there; empty before the first look."""
        return {} if self.looked_at is None else {s.value: self.count(s) for s in DriftState}

    def count(self, state: DriftState) -> int:
        return sum(drift.state is state for drift in self.drifts)


@dataclass(frozen=True, slots=True)
class DriftView:
    """One workload at one runtime."""

    repo: str
    drift: Drift
    owner: str | None = None
    environment: str | None = None


def worst_first(views: Iterable[DriftView]) -> tuple[DriftView, ...]:
    """By state, then by config repo, workload and runtime."""
    return tuple(
        sorted(views, key=lambda v: (_ORDER.index(v.drift.state), v.repo, v.drift.workload, v.drift.runtime))
    )
