"""What the pages and the API ask of the program behind them."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from automator.core.delivery.change import Wanted
from automator.core.delivery.summary import Summary
from automator.core.driftview import DriftView, RuntimeView
from automator.core.view import (
    Chain,
    DaemonView,
    Past,
    PolicyView,
    RegistryView,
    RepoView,
    Verdicts,
    WorkloadView,
)


class Desk(Protocol):
    """Answers at once from what the last cycles left: never waits for a cycle, a registry or Git.

    For several threads at once. One answer may be of another moment than the next.
    """

    def now(self) -> datetime: ...
    def daemon(self) -> DaemonView:
        """How the process itself stands."""

    def repos(self) -> tuple[RepoView, ...]:
        """In the order of the config."""

    def workloads(self) -> tuple[WorkloadView, ...]:
        """All of them, by config repo and name."""

    def workload(self, repo: str, name: str) -> WorkloadView | None:
        """One of them; None where there is none of that name."""

    def verdicts(self, repo: str, name: str) -> Verdicts | None:
        """What became of every tag of a workload, by the last cycle or one before that, or in outline while
        one runs; None where that is not known, or not yet."""

    def past(self, wanted: Wanted, *, repos: frozenset[str] = frozenset(), limit: int = 100) -> Past:
        """The newest changes that are wanted. Reading begins with the first question: until it is done the
        state is `reading`, with what was read before."""

    def summary(
        self,
        wanted: Wanted,
        *,
        repos: frozenset[str] = frozenset(),
        by: str = "workload",
    ) -> Summary | None:
        """The delivery figures; None while history is being read, and where none of it can be (`past` tells
        which)."""

    def registries(self) -> tuple[RegistryView, ...]:
        """By host."""

    def policies(self) -> tuple[PolicyView, ...]:
        """By config repo and path."""

    def chains(self) -> tuple[Chain, ...]:
        """The promotion chains over all config repos; none where no policy has `after`."""

    def chain(self, repo: str, name: str) -> Chain | None:
        """The one that a workload is in."""

    def runtimes(self) -> tuple[RuntimeView, ...]:
        """Where images run, in the order of the config, as the last looks left them."""

    def drifts(self) -> tuple[DriftView, ...]:
        """Every workload at every runtime that covers it, the worst first."""

    def drifts_of(self, repo: str, name: str) -> tuple[DriftView, ...]:
        """Those of one workload."""

    def look(self, repo: str, name: str | None = None) -> bool:
        """Have a cycle of the config repo run now, or right after the one that is running; with `name`, one
        that lists the tags of that workload's image first. False where there is no such config repo or
        workload."""
