"""Metrics: what a Prometheus server reads after cycles, from the rendered text alone."""

from datetime import UTC, datetime, timedelta

from prometheus_client.parser import text_string_to_metric_families

from automator.core.report import Outcome, Report
from automator.edges.metrics import Metrics
from automator.edges.registry import Breaker, Standing
from automator.reasons import Reason, Status, reason

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
CURRENT = reason("current/newest", current="1.4.3", count=3, rule="any")
RELEASED = reason("released/pushed", before="1.4.2", after="1.4.3", commit="abc")
FAILED = reason("state/unusable", folder="x", problem="y")


def report(*outcomes: tuple[Status, Reason], repo: str = "shop", error: Reason | None = None) -> Report:
    all_outcomes = tuple(Outcome(f"w{n}", s, why, "ghcr.io/acme/w") for n, (s, why) in enumerate(outcomes))
    end = NOON + timedelta(seconds=1.5)
    return Report(repo, "interval", NOON, end, "abc", None, all_outcomes, error=error)


def values(metrics: Metrics) -> dict[tuple[str, ...], float]:
    """Every sample: its name and label values, sorted by label name, to its value."""
    families = text_string_to_metric_families(metrics.render().decode())
    return {
        (s.name, *(v for _, v in sorted(s.labels.items()))): s.value
        for family in families
        for s in family.samples
    }


def test_a_cycle_is_counted_with_its_result_and_time() -> None:
    metrics = Metrics("1.2.3")
    metrics.observe(report((Status.CURRENT, CURRENT)))
    metrics.observe(report((Status.CURRENT, CURRENT), (Status.FAILED, FAILED)))
    metrics.observe(report(error=FAILED))
    seen = values(metrics)
    assert [seen["automator_cycles_total", "shop", result] for result in ("done", "failed", "error")] == [
        1,
        1,
        1,
    ]
    assert seen["automator_last_cycle_timestamp_seconds", "shop"] == (NOON.timestamp() + 1.5)
    assert seen["automator_cycle_duration_seconds_sum", "shop"] == 4.5
    assert seen["automator_cycle_duration_seconds_count", "shop"] == 3
    assert seen["automator_build_info", "1.2.3"] == 1


def test_releases_add_up_and_outcomes_are_as_of_now() -> None:
    metrics = Metrics("1")
    metrics.observe(report((Status.RELEASED, RELEASED), (Status.RELEASED, RELEASED), (Status.FAILED, FAILED)))
    metrics.observe(report((Status.RELEASED, RELEASED), (Status.CURRENT, CURRENT), (Status.CURRENT, CURRENT)))
    seen = values(metrics)
    assert seen["automator_releases_total", "shop"] == 3
    assert [seen["automator_outcomes", "shop", s] for s in Status] == [1, 2, 0, 0, 0]
    by_code = {key[1:]: v for key, v in seen.items() if key[0] == "automator_outcomes_by_code"}
    assert by_code == {("current/newest", "shop", "current"): 2, ("released/pushed", "shop", "released"): 1}


def test_a_cycle_that_could_not_be_done_leaves_the_outcomes() -> None:
    metrics = Metrics("1")
    metrics.observe(report((Status.CURRENT, CURRENT)))
    metrics.observe(report(error=FAILED))
    assert values(metrics)["automator_outcomes", "shop", "current"] == 1


def test_config_repos_are_apart() -> None:
    metrics = Metrics("1")
    metrics.observe(report((Status.CURRENT, CURRENT), repo="shop"))
    metrics.observe(report((Status.FAILED, FAILED), repo="staging"))
    metrics.observe(report((Status.CURRENT, CURRENT), repo="staging"))
    by_code = {key[1:] for key in values(metrics) if key[0] == "automator_outcomes_by_code"}
    assert by_code == {("current/newest", "shop", "current"), ("current/newest", "staging", "current")}


def test_requests_are_read_when_asked() -> None:
    requests: dict[str, int] = {}
    metrics = Metrics("1", lambda: requests)
    requests["ghcr.io"] = 7
    assert values(metrics)["automator_registry_requests_total", "ghcr.io"] == 7


def test_how_registries_stand_is_read_when_asked() -> None:
    standings: list[Standing] = []
    metrics = Metrics("1", hosts=lambda: standings)
    standings.append(Standing("down.test", Breaker.OPEN, None, None, 42.5, 7, "HTTP 503"))
    standings.append(Standing("ghcr.io", Breaker.CLOSED, 60, 3, 0.0, 0, ""))
    seen = {k: v for k, v in values(metrics).items() if k[0].startswith("automator_registry_")}
    assert seen == {
        ("automator_registry_up", "down.test"): 0,
        ("automator_registry_wait_seconds", "down.test"): 42.5,
        ("automator_registry_queued", "down.test"): 7,
        ("automator_registry_up", "ghcr.io"): 1,
        ("automator_registry_limit_remaining", "ghcr.io"): 3,
        ("automator_registry_wait_seconds", "ghcr.io"): 0,
        ("automator_registry_queued", "ghcr.io"): 0,
    }


def test_two_processes_worth_of_metrics_do_not_mix() -> None:
    one, other = Metrics("1"), Metrics("1")
    one.observe(report((Status.CURRENT, CURRENT)))
    assert ("automator_cycles_total", "shop", "done") not in values(other)


def test_events_are_counted_by_hook_and_what_they_came_to() -> None:
    metrics = Metrics("1")
    for _ in range(2):
        metrics.observe_event("quay", "accepted", "pushed", NOON)
    metrics.observe_event("quay", "rejected", "bad-secret")
    metrics.observe_event("", "rejected", "unknown-hook")
    seen = values(metrics)
    assert seen["automator_webhook_events_total", "pushed", "quay", "accepted"] == 2
    assert seen["automator_webhook_events_total", "bad-secret", "quay", "rejected"] == 1
    assert seen["automator_webhook_last_event_timestamp_seconds", "quay"] == NOON.timestamp()
    assert ("automator_webhook_last_event_timestamp_seconds", "") not in seen
