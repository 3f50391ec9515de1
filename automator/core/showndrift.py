"""Shown drift: runtimes, and what runs there, as JSON has them, for `drift` and the API."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, TypedDict

from automator.core.drift import DriftState
from automator.core.driftview import DriftView, RuntimeView
from automator.core.shown import ReasonShown, shown_reason

DriftWord = Literal["same", "pending", "diverged", "unknown"]


class DriftCounts(TypedDict):
    """How many workloads of a runtime are in each state."""

    same: int
    pending: int
    diverged: int
    unknown: int


class RuntimeShown(TypedDict):
    """One runtime of the config. `interval` is in seconds; `trouble` says why it gave no answer when it was
    asked last, `notes` what it did not let us read and is not needed."""

    name: str
    type: str
    repo: str
    interval: float
    looked_at: datetime | None
    answered_at: datetime | None
    trouble: ReasonShown | None
    notes: list[ReasonShown]
    workloads: DriftCounts


class DriftShown(TypedDict):
    """One workload at one runtime. `wanted` is what Git says, `runs` each version that runs there; `since` is
    null where that is not known."""

    repo: str
    workload: str
    runtime: str
    state: DriftWord
    wanted: str
    runs: list[str]
    places: list[str]
    since: datetime | None
    reason: ReasonShown
    owner: str | None
    environment: str | None


class DriftsShown(TypedDict):
    """What runs, beside what Git says."""

    runtimes: list[RuntimeShown]
    items: list[DriftShown]


def shown_runtime(view: RuntimeView) -> RuntimeShown:
    """A runtime."""
    return {
        "name": view.name,
        "type": view.kind,
        "repo": view.repo,
        "interval": view.interval.total_seconds(),
        "looked_at": view.looked_at,
        "answered_at": view.answered_at,
        "trouble": None if view.trouble is None else shown_reason(view.trouble),
        "notes": [shown_reason(note) for note in view.notes],
        "workloads": {
            "same": view.count(DriftState.SAME),
            "pending": view.count(DriftState.PENDING),
            "diverged": view.count(DriftState.DIVERGED),
            "unknown": view.count(DriftState.UNKNOWN),
        },
    }


def shown_drift(view: DriftView) -> DriftShown:
    """A workload at a runtime."""
    drift = view.drift
    return {
        "repo": view.repo,
        "workload": drift.workload,
        "runtime": drift.runtime,
        "state": drift.state.value,
        "wanted": drift.wanted,
        "runs": list(drift.runs),
        "places": list(drift.places),
        "since": drift.since,
        "reason": shown_reason(drift.reason),
        "owner": view.owner,
        "environment": view.environment,
    }


def shown_drifts(runtimes: Sequence[RuntimeView], items: Sequence[DriftView]) -> DriftsShown:
    """Runtimes, and workloads there."""
    return {"runtimes": [*map(shown_runtime, runtimes)], "items": [*map(shown_drift, items)]}
