"""Families: numbers as Prometheus' client takes them, under their names and with their words."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)

from automator.edges.metrics.counting import SECONDS, RepoNumbers
from automator.edges.metrics.sources import Delivery, Host, Look, Runtime, Sources
from automator.reasons import Status

Family = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily | InfoMetricFamily

MOST_HOSTS = 100
"""Registry hosts that are told apart; the others are told as one, `other`."""
OTHER = "other"


def of_repos(every: list[tuple[str, RepoNumbers]]) -> Iterator[Family]:
    """What cycles came to, by config repo."""
    yield counter(
        "cycles",
        "Cycles by result: done, failed (a workload failed), error (the cycle could not be done)",
        ["repo", "result"],
        {(repo, result): n for repo, own in every for result, n in own.cycles.items()},
    )
    yield _durations(every)
    yield gauge(
        "last_cycle_timestamp_seconds",
        "When the last cycle ended, in seconds since 1970",
        ["repo"],
        {(repo,): own.finished_at for repo, own in every},
    )
    yield gauge(
        "last_successful_cycle_timestamp_seconds",
        "When the last cycle ended that could be done, in seconds since 1970",
        ["repo"],
        {(repo,): own.succeeded_at for repo, own in every},
    )
    yield counter(
        "releases",
        "Workloads that were moved, each release once",
        ["repo"],
        {(repo,): own.releases for repo, own in every},
    )
    yield counter(
        "commits",
        "Commits of releases that are on the branch",
        ["repo"],
        {(repo,): own.commits for repo, own in every},
    )
    yield counter(
        "pushes",
        "Pushes by result: landed (of a cycle), lost (somebody else was first: decided again)",
        ["repo", "result"],
        {(repo, result): own.pushes[result] for repo, own in every for result in ("landed", "lost")},
    )
    yield from _of_outcomes([(repo, own) for repo, own in every if own.outcomes is not None])


def _of_outcomes(every: list[tuple[str, RepoNumbers]]) -> Iterator[Family]:
    yield gauge(
        "outcomes",
        "Workloads by outcome, now",
        ["repo", "status"],
        {(repo, s.value): own.statuses[s.value] for repo, own in every for s in Status},
    )
    yield gauge(
        "outcomes_by_code",
        "Workloads by the code of their reason, now",
        ["repo", "status", "code"],
        {(repo, *key): n for repo, own in every for key, n in sorted(own.codes.items())},
    )
    yield gauge(
        "updates_waiting",
        "Workloads for which there is a newer version that filters and range let through, by outcome, now",
        ["repo", "status"],
        {(repo, s.value): own.waiting[s.value] for repo, own in every for s in Status},
    )
    yield gauge(
        "oldest_update_timestamp_seconds",
        "Since when the oldest of the versions waits that workloads are behind, in seconds since 1970",
        ["repo", "status"],
        {(repo, status): at for repo, own in every for status, at in sorted(own.oldest.items())},
    )
    yield gauge(
        "pull_requests_open",
        "Pull requests of ours that wait for a person, now",
        ["repo"],
        {(repo,): own.pull_requests for repo, own in every},
    )


def _durations(every: Iterable[tuple[str, RepoNumbers]]) -> Family:
    family = HistogramMetricFamily(
        "automator_cycle_duration_seconds", "How long cycles took", labels=["repo"]
    )
    bounds = [*(str(bound) for bound in SECONDS), "+Inf"]
    for repo, own in every:
        counts = [sum(own.classes[: i + 1]) for i in range(len(bounds))]
        family.add_metric([repo], list(zip(bounds, map(float, counts), strict=True)), own.seconds)
    return family


def of_registries(sources: Sources) -> Iterator[Family]:
    """What is known of registry hosts; those beyond MOST_HOSTS together, by the worst or the sum of them."""
    requests, looks = sources.requests(), {look.host: look for look in sources.looks()}
    hosts = {one.host: one for one in sources.hosts()}
    label = _labels({*requests, *hosts, *looks})
    yield counter(
        "registry_requests",
        "Requests to registries since the start",
        ["host"],
        _joined(requests.items(), label, _sum),
    )
    yield from _of_hosts(hosts, label)
    yield from _of_looks(looks, label)


def _of_hosts(hosts: Mapping[str, Host], label: Callable[[str], str]) -> Iterator[Family]:
    def of_each(name: str, words: str, value: Callable[[Host], float | None], join: _Join) -> Family:
        values = ((host, value(one)) for host, one in hosts.items())
        return gauge(f"registry_{name}", words, ["host"], _joined(values, label, join))

    yield of_each(
        "up", "Whether the registry is asked: 0 while it is left alone because it failed", _is_up, min
    )
    yield of_each(
        "limit",
        "Requests that the registry's own limit allows in its window, where it tells one",
        lambda one: one.limit,
        min,
    )
    yield of_each(
        "limit_remaining",
        "Requests left in the registry's own limit, where it tells one",
        lambda one: one.remaining,
        min,
    )
    yield of_each(
        "wait_seconds",
        "Seconds until the registry is asked again, after a limit or failures",
        lambda one: one.wait,
        max,
    )
    yield of_each(
        "queued", "Questions that wait for their turn at the registry", lambda one: one.queued, _sum
    )


def _of_looks(looks: Mapping[str, Look], label: Callable[[str], str]) -> Iterator[Family]:
    def values(value: Callable[[Look], float | None], join: _Join) -> _Values:
        return _joined(((host, value(look)) for host, look in looks.items()), label, join)

    yield counter(
        "registry_look_failures",
        "Looks at image repositories that failed",
        ["host"],
        values(lambda look: look.failures, _sum),
    )
    yield gauge(
        "registry_last_success_timestamp_seconds",
        "When an image repository there was last looked at with success, in seconds since 1970",
        ["host"],
        values(lambda look: None if look.succeeded_at is None else look.succeeded_at.timestamp(), min),
    )
    yield gauge(
        "registry_watched_repositories",
        "Image repositories that are looked at",
        ["host"],
        values(lambda look: len(look.watched), _sum),
    )
    yield gauge(
        "registry_failing_repositories",
        "Image repositories whose last look failed",
        ["host"],
        values(lambda look: len(look.failing), _sum),
    )


_Join = Callable[[float, float], float]


def _joined(values: Iterable[tuple[str, float | None]], label: Callable[[str], str], join: _Join) -> _Values:
    """One value for each label, of hosts that have one."""
    found: _Values = {}
    for host, value in values:
        if value is not None:
            key = (label(host),)
            known = found.get(key)
            found[key] = value if known is None else join(known, value)
    return dict(sorted(found.items()))


def _labels(hosts: Collection[str]) -> Callable[[str], str]:
    """The label of each host: its name, for as many as are told apart."""
    named = frozenset(hosts) if len(hosts) <= MOST_HOSTS else frozenset(sorted(hosts)[:MOST_HOSTS])
    return lambda host: host if host in named else OTHER


def of_deliveries(every: Iterable[Delivery]) -> Iterator[Family]:
    """How it goes with notifications, by receiver."""
    known = sorted(every, key=lambda one: one.receiver)
    counted: _Values = {}
    for one in known:
        results = {"dropped": one.dropped, "failed": one.failed, "sent": one.sent}
        counted.update({(one.receiver, result): n for result, n in results.items()})
    yield counter(
        "notifications",
        "Notifications by result: sent, failed (a try, which is made again), dropped (given up)",
        ["receiver", "result"],
        counted,
    )
    yield gauge(
        "notifications_queued",
        "Notifications that wait to be sent, now",
        ["receiver"],
        {(one.receiver,): one.queued for one in known},
    )


def of_runtimes(every: Iterable[Runtime]) -> Iterator[Family]:
    """What runs beside what Git says, by runtime."""
    known = tuple(every)
    yield gauge(
        "drift_workloads",
        "Workloads by what runs beside what Git says: same, pending (not yet deployed), diverged, unknown",
        ["runtime", "state"],
        {(one.name, state): n for one in known for state, n in sorted(one.counts.items())},
    )
    yield gauge(
        "runtime_up",
        "Whether the runtime answered when it was asked last",
        ["runtime"],
        {(one.name,): None if one.is_up is None else float(one.is_up) for one in known},
    )
    yield gauge(
        "runtime_last_success_timestamp_seconds",
        "When the runtime answered last, in seconds since 1970",
        ["runtime"],
        {(one.name,): None if one.answered_at is None else one.answered_at.timestamp() for one in known},
    )


_Values = dict[tuple[str, ...], float | None]
"""Samples by the values of their labels; None where there is none."""


def counter(
    name: str, words: str, labels: list[str], values: Mapping[tuple[str, ...], float | None]
) -> Family:
    return _filled(CounterMetricFamily(f"automator_{name}", words, labels=labels), values)


def gauge(name: str, words: str, labels: list[str], values: Mapping[tuple[str, ...], float | None]) -> Family:
    return _filled(GaugeMetricFamily(f"automator_{name}", words, labels=labels), values)


def _filled(
    family: CounterMetricFamily | GaugeMetricFamily, values: Mapping[tuple[str, ...], float | None]
) -> Family:
    for labels, value in values.items():
        if value is not None:
            family.add_metric(list(labels), value)
    return family


def _sum(one: float, other: float) -> float:
    return one + other


def _is_up(one: Host) -> float:
    return float(one.is_up)
