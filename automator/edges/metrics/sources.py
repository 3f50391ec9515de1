"""Sources: what is read when somebody asks for the metrics."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


class Host(Protocol):
    """How a registry host stands (`edges.registry` tells it)."""

    @property
    def host(self) -> str: ...
    @property
    def is_up(self) -> bool:
        """False while it is left alone because it failed."""

    @property
    def limit(self) -> int | None:
        """Requests in the host's own window, where it tells."""

    @property
    def remaining(self) -> int | None:
        """Requests left in the host's own window, where it tells."""

    @property
    def wait(self) -> float:
        """Seconds until it is asked again."""

    @property
    def queued(self) -> int:
        """Questions that wait for their turn."""


class Look(Protocol):
    """How the looks at one registry host went (`cycle.looks` tells it)."""

    @property
    def host(self) -> str: ...
    @property
    def succeeded_at(self) -> datetime | None: ...
    @property
    def failing(self) -> Collection[object]:
        """Repositories whose last look failed."""

    @property
    def failures(self) -> int:
        """Looks that failed since the start."""

    @property
    def watched(self) -> Collection[object]:
        """Repositories that are looked at."""


class Delivery(Protocol):
    """How it goes with one receiver of notifications (`app.deliveries` tells it)."""

    @property
    def receiver(self) -> str: ...
    @property
    def sent(self) -> int: ...
    @property
    def failed(self) -> int:
        """Tries that failed."""

    @property
    def dropped(self) -> int:
        """Messages that were given up."""

    @property
    def queued(self) -> int:
        """Messages that wait now."""


class Runtime(Protocol):
    """How the looks at one runtime go (`core.driftview` has it)."""

    @property
    def name(self) -> str: ...
    @property
    def is_up(self) -> bool | None:
        """Whether it answered when it was asked last; None where it was not asked yet."""

    @property
    def answered_at(self) -> datetime | None: ...
    @property
    def counts(self) -> Mapping[str, int]:
        """Workloads by drift state, each state of which is there; empty before the first look."""


@dataclass(frozen=True, slots=True)
class Sources:
    """What is read when somebody asks for the metrics: cheap, from any thread, never waiting."""

    requests: Callable[[], Mapping[str, int]] = dict
    """Requests to each registry host since the start."""
    hosts: Callable[[], Iterable[Host]] = tuple
    looks: Callable[[], Iterable[Look]] = tuple
    deliveries: Callable[[], Iterable[Delivery]] = tuple
    stuck: Callable[[], Collection[str]] = tuple
    """Config repos in which no cycle has ended for long."""
    intervals: Callable[[], Mapping[str, float]] = dict
    """Seconds from one cycle of each config repo to its next."""
    runtimes: Callable[[], Iterable[Runtime]] = tuple
