"""Telling: the numbers of one process, counted as things happen and told when somebody asks."""

from __future__ import annotations

import platform
import threading
from collections import Counter as Tally
from collections.abc import Callable, Collection, Iterator
from datetime import datetime
from typing import NamedTuple

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import InfoMetricFamily
from prometheus_client.openmetrics.exposition import generate_latest as generate_open
from prometheus_client.registry import Collector

from automator.core.report import Report
from automator.edges.metrics.counting import RepoNumbers
from automator.edges.metrics.families import (
    Family,
    counter,
    gauge,
    of_deliveries,
    of_registries,
    of_repos,
    of_runtimes,
)
from automator.edges.metrics.sources import Sources

PLAIN_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OPEN_TYPE = "application/openmetrics-text"


class Exposition(NamedTuple):
    """All metrics as a server reads them."""

    body: bytes
    content_type: str


class Metrics:
    """The numbers of one process. From any thread."""

    def __init__(self, version: str, sources: Sources | None = None, *, scanner: str = "") -> None:
        """`scanner` names what reads YAML: `libyaml`, or `pure`, which is slow."""
        self._lock = threading.Lock()
        self._sources = sources or Sources()
        self._build = {"version": version, "python": platform.python_version(), "scanner": scanner}
        self._repos: dict[str, RepoNumbers] = {}
        self._events: Tally[tuple[str, str, str]] = Tally()
        self._last_events: dict[str, float] = {}
        self._refusals: Tally[str] = Tally()
        self._reloads: Tally[str] = Tally()
        self._is_taken: bool | None = None
        self._taken_at: float | None = None
        self._registry = CollectorRegistry()
        self._registry.register(_Told(self._families))
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)

    def read_from(self, sources: Sources) -> None:
        """Other parts took over: what is read when it is asked for is theirs from now on."""
        self._sources = sources

    def config_taken(self, repos: Collection[str], hooks: Collection[str], at: datetime) -> None:
        """A config was read and taken, the first one too: of config repos and hooks that it does not name
        nothing is told any more, and hooks are listened to since then."""
        with self._lock:
            self._reloads["taken"] += 1
            self._is_taken, self._taken_at = True, at.timestamp()
            self._repos = {name: numbers for name, numbers in self._repos.items() if name in repos}
            known = {"", *hooks}
            self._events = Tally({key: count for key, count in self._events.items() if key[0] in known})
            self._last_events = {name: self._last_events.get(name, at.timestamp()) for name in hooks}

    def config_refused(self) -> None:
        """A config was read that cannot be used: the old one stays."""
        with self._lock:
            self._reloads["refused"] += 1
            self._is_taken = False

    def observe(self, report: Report) -> None:
        """Count a cycle; once for each."""
        with self._lock:
            self._repos.setdefault(report.repo, RepoNumbers()).count(report)

    def observe_event(self, hook: str, result: str, code: str, at: datetime | None = None) -> None:
        """Count a request to /hooks/`hook`, which must be the config's name for it; `at` for one that proved
        its sender."""
        with self._lock:
            self._events[hook, result, code] += 1
            if at is not None:
                self._last_events[hook] = at.timestamp()

    def observe_refusal(self, code: str) -> None:
        """Count a request to API or dashboard that was refused."""
        with self._lock:
            self._refusals[code] += 1

    def render(self) -> bytes:
        """All metrics in Prometheus' text format, version 0.0.4."""
        return generate_latest(self._registry)

    def exposition(self, accept: str = "") -> Exposition:
        """All metrics in the format that an `Accept` header asks for: OpenMetrics, or Prometheus' own."""
        if OPEN_TYPE in accept.lower():
            body: bytes = generate_open(self._registry)  # type: ignore[no-untyped-call]
            return Exposition(body, f"{OPEN_TYPE}; version=1.0.0; charset=utf-8")
        return Exposition(self.render(), PLAIN_TYPE)

    # -- as families -----------------------------------------------------------------------------------

    def _families(self) -> Iterator[Family]:
        with self._lock:
            repos = sorted(self._repos.items())
            counted = [*of_repos(repos), *self._of_the_web(), *self._of_the_config()]
        yield from counted
        sources = self._sources
        stuck = set(sources.stuck())
        yield gauge(
            "cycle_stuck",
            "Whether no cycle of the config repo has ended for long, so that /healthz is red",
            ["repo"],
            {(name,): float(name in stuck) for name in sorted({*stuck, *(repo for repo, _ in repos)})},
        )
        yield gauge(
            "cycle_interval_seconds",
            "Seconds from one planned cycle of the config repo to the next",
            ["repo"],
            {(name,): seconds for name, seconds in sorted(sources.intervals().items())},
        )
        yield from of_registries(sources)
        yield from of_deliveries(sources.deliveries())
        yield from of_runtimes(sources.runtimes())

    def _of_the_web(self) -> Iterator[Family]:
        yield counter(
            "web_refusals",
            "Requests to API and dashboard that were refused, by reason code",
            ["code"],
            {(code,): n for code, n in sorted(self._refusals.items())},
        )
        yield counter(
            "webhook_events",
            "Requests to /hooks/NAME by result: accepted, ignored or rejected (no hook: an unknown name)",
            ["hook", "result", "code"],
            dict(sorted(self._events.items())),
        )
        yield gauge(
            "webhook_last_event_timestamp_seconds",
            "When the last event that proved its sender came, or since when it is listened to, in seconds"
            " since 1970",
            ["hook"],
            {(hook,): at for hook, at in sorted(self._last_events.items())},
        )

    def _of_the_config(self) -> Iterator[Family]:
        yield counter(
            "config_reloads",
            "Configs that were read, the first one included, by result: taken, refused (the old one stays)",
            ["result"],
            {(result,): self._reloads[result] for result in ("refused", "taken")},
        )
        yield gauge(
            "config_last_reload_successful",
            "Whether the config that was read last was taken",
            [],
            {(): self._is_taken},
        )
        yield gauge(
            "config_last_reload_success_timestamp_seconds",
            "When a config was last taken, in seconds since 1970",
            [],
            {(): self._taken_at},
        )
        build = InfoMetricFamily("automator_build", "The running version, and what it runs on")
        build.add_metric([], self._build)
        yield build


class _Told(Collector):
    """What the registry asks for its families."""

    def __init__(self, families: Callable[[], Iterator[Family]]) -> None:
        self._families = families

    def collect(self) -> Iterator[Family]:
        return self._families()
