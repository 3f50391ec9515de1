"""Metrics for Prometheus, computed from reports alone; labels are few and never tags."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from automator.core.report import Report
from automator.reasons import Status

Family = CounterMetricFamily | GaugeMetricFamily

_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Host(Protocol):
    """How a registry host stands (`edges.registry` tells it)."""

    @property
    def host(self) -> str: ...
    @property
    def is_up(self) -> bool:
        """False while it is left alone because it failed."""

    @property
    def remaining(self) -> int | None:
        """Requests left in the host's own window, where it tells."""

    @property
    def wait(self) -> float:
        """Seconds until it is asked again."""

    @property
    def queued(self) -> int:
        """Questions that wait for their turn."""


class Metrics:
    """The numbers of one process. `observe` is called once for each cycle, from any thread."""

    def __init__(
        self,
        version: str,
        requests: Callable[[], Mapping[str, int]] = dict,
        hosts: Callable[[], Iterable[Host]] = tuple,
    ) -> None:
        """`requests` tells how many requests went to each registry host since the start, `hosts` how
        each one stands."""
        self._registry = CollectorRegistry()
        self._codes: dict[str, set[tuple[str, str]]] = {}
        self._cycles = Counter(
            "automator_cycles",
            "Cycles by result: done, failed (a workload failed), error (the cycle could not be done)",
            ["repo", "result"],
            registry=self._registry,
        )
        self._releases = Counter(
            "automator_releases", "Releases that were pushed", ["repo"], registry=self._registry
        )
        self._outcomes = Gauge(
            "automator_outcomes", "Workloads by outcome, now", ["repo", "status"], registry=self._registry
        )
        self._by_code = Gauge(
            "automator_outcomes_by_code",
            "Workloads by the code of their reason, now",
            ["repo", "status", "code"],
            registry=self._registry,
        )
        self._duration = Histogram(
            "automator_cycle_duration_seconds",
            "How long cycles took",
            ["repo"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._finished = Gauge(
            "automator_last_cycle_timestamp_seconds",
            "When the last cycle ended, in seconds since 1970",
            ["repo"],
            registry=self._registry,
        )
        self._events = Counter(
            "automator_webhook_events",
            "Requests to /hooks/NAME by result: accepted, ignored or rejected (no hook: an unknown name)",
            ["hook", "result", "code"],
            registry=self._registry,
        )
        self._last_event = Gauge(
            "automator_webhook_last_event_timestamp_seconds",
            "When the last event that proved its sender came, in seconds since 1970",
            ["hook"],
            registry=self._registry,
        )
        Info("automator_build", "The running version", registry=self._registry).info({"version": version})
        self._registry.register(_Registries(requests, hosts))

    def observe(self, report: Report) -> None:
        """Count a cycle. One that could not be done leaves the outcomes as they were."""
        self._cycles.labels(report.repo, _result(report)).inc()
        self._duration.labels(report.repo).observe((report.finished_at - report.started_at).total_seconds())
        self._finished.labels(report.repo).set(report.finished_at.timestamp())
        self._releases.labels(report.repo).inc(report.count(Status.RELEASED))
        if report.error is not None and not report.outcomes:
            return
        for status in Status:
            self._outcomes.labels(report.repo, status.value).set(report.count(status))
        tally = Tally((outcome.status.value, outcome.reason.code) for outcome in report.outcomes)
        for status_value, code in self._codes.get(report.repo, set()) - tally.keys():
            self._by_code.remove(report.repo, status_value, code)
        for (status_value, code), count in tally.items():
            self._by_code.labels(report.repo, status_value, code).set(count)
        self._codes[report.repo] = set(tally)

    def observe_event(self, hook: str, result: str, code: str, at: datetime | None = None) -> None:
        """Count a request to /hooks/`hook`, which must be the config's name for it, from any thread; `at`
        for one that proved its sender."""
        self._events.labels(hook, result, code).inc()
        if at is not None:
            self._last_event.labels(hook).set(at.timestamp())

    def render(self) -> bytes:
        """All metrics in Prometheus' text format, version 0.0.4."""
        return generate_latest(self._registry)


class _Registries(Collector):
    """What is read when it is asked for; one sample of each for a host."""

    def __init__(
        self, requests: Callable[[], Mapping[str, int]], hosts: Callable[[], Iterable[Host]]
    ) -> None:
        self._requests = requests
        self._hosts = hosts

    def collect(self) -> Iterator[Family]:
        sent = CounterMetricFamily(
            "automator_registry_requests", "Requests to registries since the start", labels=["host"]
        )
        for host, count in sorted(self._requests().items()):
            sent.add_metric([host], count)
        yield sent
        up = _gauge("up", "Whether the registry is asked: 0 while it is left alone because it failed")
        left = _gauge("limit_remaining", "Requests left in the registry's own limit, where it tells one")
        wait = _gauge("wait_seconds", "Seconds until the registry is asked again, after a limit or failures")
        queued = _gauge("queued", "Questions that wait for their turn at the registry")
        for one in sorted(self._hosts(), key=lambda h: h.host):
            up.add_metric([one.host], float(one.is_up))
            wait.add_metric([one.host], one.wait)
            queued.add_metric([one.host], one.queued)
            if one.remaining is not None:
                left.add_metric([one.host], one.remaining)
        yield from (up, left, wait, queued)


def _gauge(name: str, words: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"automator_registry_{name}", words, labels=["host"])


def _result(report: Report) -> str:
    if report.error is not None:
        return "error"
    return "failed" if report.count(Status.FAILED) else "done"
