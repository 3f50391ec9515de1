"""Metrics: what a Prometheus server reads after cycles, from the rendered text alone."""

import platform
import shutil
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from parts.numbers import busy
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_families
from prometheus_client.parser import text_string_to_metric_families

from automator.app.deliveries import Tally
from automator.core.reference import Repository
from automator.core.report import Outcome, Report
from automator.cycle.looks import Looks
from automator.edges.metrics import Metrics, Sources
from automator.edges.registry import Breaker, Standing
from automator.reasons import Reason, Status, reason

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
CURRENT = reason("current/newest", current="1.4.3", count=3, rule="any")
RELEASED = reason("released/pushed", before="1.4.2", after="1.4.3", commit="abc")
FAILED = reason("state/unusable", folder="x", problem="y")


def report(
    *outcomes: tuple[Status, Reason], repo: str = "shop", error: Reason | None = None, commit: str = "abc"
) -> Report:
    all_outcomes = tuple(
        Outcome(f"w{n}", s, why, "ghcr.io/acme/w", commit=commit if s is Status.RELEASED else None)
        for n, (s, why) in enumerate(outcomes)
    )
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
    assert seen["automator_last_successful_cycle_timestamp_seconds", "shop"] == (NOON.timestamp() + 1.5)


def test_the_build_tells_what_runs() -> None:
    metrics = Metrics("1.2.3", scanner="libyaml")
    (build,) = (key for key in values(metrics) if key[0] == "automator_build_info")
    assert build[1:] == (platform.python_version(), "libyaml", "1.2.3")


def test_a_cycle_that_breaks_off_is_no_success() -> None:
    metrics = Metrics("1")
    metrics.observe(report(error=FAILED))
    seen = values(metrics)
    assert ("automator_last_cycle_timestamp_seconds", "shop") in seen
    assert ("automator_last_successful_cycle_timestamp_seconds", "shop") not in seen


def test_the_duration_is_a_histogram() -> None:
    metrics = Metrics("1")
    metrics.observe(report((Status.CURRENT, CURRENT)))
    families = {f.name: f for f in text_string_to_metric_families(metrics.render().decode())}
    family = families["automator_cycle_duration_seconds"]
    buckets = {s.labels["le"]: s.value for s in family.samples if s.name.endswith("_bucket")}
    assert family.type == "histogram"
    assert (buckets["1.0"], buckets["2.5"], buckets["+Inf"]) == (0, 1, 1)


def test_releases_add_up_and_outcomes_are_as_of_now() -> None:
    metrics = Metrics("1")
    metrics.observe(report((Status.RELEASED, RELEASED), (Status.RELEASED, RELEASED), (Status.FAILED, FAILED)))
    last = report(
        (Status.RELEASED, RELEASED), (Status.CURRENT, CURRENT), (Status.CURRENT, CURRENT), commit="def"
    )
    metrics.observe(last)
    seen = values(metrics)
    assert seen["automator_releases_total", "shop"] == 3
    assert seen["automator_commits_total", "shop"] == 2
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
    metrics = Metrics("1", Sources(requests=lambda: requests))
    requests["ghcr.io"] = 7
    assert values(metrics)["automator_registry_requests_total", "ghcr.io"] == 7


def test_how_registries_stand_is_read_when_asked() -> None:
    standings: list[Standing] = []
    metrics = Metrics("1", Sources(hosts=lambda: standings))
    standings.append(Standing("down.test", Breaker.OPEN, None, None, 42.5, 7, "HTTP 503"))
    standings.append(Standing("ghcr.io", Breaker.CLOSED, 60, 3, 0.0, 0, ""))
    seen = {k: v for k, v in values(metrics).items() if k[0].startswith("automator_registry_")}
    assert seen == {
        ("automator_registry_up", "down.test"): 0,
        ("automator_registry_wait_seconds", "down.test"): 42.5,
        ("automator_registry_queued", "down.test"): 7,
        ("automator_registry_limit", "ghcr.io"): 60,
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


def test_a_release_that_is_still_told_is_not_counted_again() -> None:
    """A cycle for other workloads, or one that could not be done, shows the last outcomes again."""
    metrics = Metrics("1")
    metrics.observe(report((Status.RELEASED, RELEASED)))
    metrics.observe(report((Status.RELEASED, RELEASED)))
    metrics.observe(report((Status.RELEASED, RELEASED), error=FAILED))
    seen = values(metrics)
    assert (seen["automator_releases_total", "shop"], seen["automator_commits_total", "shop"]) == (1, 1)


def test_pushes_and_lost_races_are_counted() -> None:
    metrics = Metrics("1")
    metrics.observe(replace(report((Status.RELEASED, RELEASED)), pushed="abc", lost_races=2))
    metrics.observe(report((Status.CURRENT, CURRENT)))
    seen = values(metrics)
    assert seen["automator_pushes_total", "shop", "landed"] == 1
    assert seen["automator_pushes_total", "shop", "lost"] == 2


def test_what_waits_is_told_by_outcome_and_since_when() -> None:
    metrics = Metrics("1")
    base = report(
        (Status.CURRENT, CURRENT), (Status.HELD, FAILED), (Status.HELD, FAILED), (Status.WAITING, FAILED)
    )
    current, *others = base.outcomes
    behind = [
        replace(o, candidate="2", behind=1, behind_since=None if at is None else NOON - timedelta(hours=at))
        for o, at in zip(others, (5, 9, None), strict=True)
    ]
    metrics.observe(replace(base, outcomes=(current, *behind)))
    seen = values(metrics)
    waiting = {s: seen["automator_updates_waiting", "shop", s] for s in ("current", "held", "waiting")}
    assert waiting == {"current": 0, "held": 2, "waiting": 1}
    oldest = {key[2]: at for key, at in seen.items() if key[0] == "automator_oldest_update_timestamp_seconds"}
    assert oldest == {"held": NOON.timestamp() - 9 * 3600}
    metrics.observe(base)
    assert not [key for key in values(metrics) if key[0] == "automator_oldest_update_timestamp_seconds"]


def test_each_open_pull_request_is_counted_once() -> None:
    metrics = Metrics("1")
    proposed = reason("proposal/open", after="2", url="https://forge.test/pr/7", since="today")
    other = reason("proposal/open", after="2", url="https://forge.test/pr/8", since="today")
    refused = reason("proposal/closed", tag="2", url="https://forge.test/pr/6", when="today")
    outcomes = [(Status.WAITING, why) for why in (proposed, proposed, other)]
    metrics.observe(report(*outcomes, (Status.HELD, refused)))
    assert values(metrics)["automator_pull_requests_open", "shop"] == 2


def test_looks_at_registries_are_told_by_host() -> None:
    looks = Looks()
    web, api = Repository("ghcr.io", "acme/web"), Repository("ghcr.io", "acme/api")
    looks.watch([web, api])
    looks.note({web: FAILED, api: None}, NOON)
    seen = values(Metrics("1", Sources(looks=lambda: looks.hosts.values())))
    assert seen["automator_registry_last_success_timestamp_seconds", "ghcr.io"] == NOON.timestamp()
    assert seen["automator_registry_watched_repositories", "ghcr.io"] == 2
    assert seen["automator_registry_failing_repositories", "ghcr.io"] == 1
    assert seen["automator_registry_look_failures_total", "ghcr.io"] == 1


def test_more_hosts_than_are_told_apart_are_told_as_one() -> None:
    requests = {f"h{number:04}.test": 1 for number in range(1000)}
    down = [
        Standing(host, Breaker.OPEN, None, None, 42.5, 7, "HTTP 503") for host in ("h0999.test", "h0001.test")
    ]
    seen = values(Metrics("1", Sources(requests=lambda: requests, hosts=lambda: down)))
    told = {key[1]: v for key, v in seen.items() if key[0] == "automator_registry_requests_total"}
    assert len(told) == 101
    assert told["other"] == 900
    assert seen["automator_registry_up", "other"] == 0
    assert seen["automator_registry_up", "h0001.test"] == 0


def test_what_left_the_config_is_told_no_more() -> None:
    metrics = Metrics("1")
    for repo in ("shop", "staging"):
        metrics.observe(report((Status.CURRENT, CURRENT), repo=repo))
    metrics.observe_event("quay", "accepted", "pushed", NOON)
    metrics.observe_event("hub", "accepted", "pushed", NOON)
    metrics.observe_event("", "rejected", "unknown-hook")
    metrics.config_taken({"shop"}, {"hub", "new"}, NOON + timedelta(hours=1))
    text = metrics.render().decode()
    assert "staging" not in text
    assert "quay" not in text
    since = {key[1]: at for key, at in values(metrics).items() if key[0].startswith("automator_webhook_last")}
    assert since == {"hub": NOON.timestamp(), "new": NOON.timestamp() + 3600}
    assert 'hook="hub"' in text
    assert 'repo="shop"' in text
    assert 'hook=""' in text


def test_a_config_that_is_refused_shows_until_one_is_taken() -> None:
    metrics = Metrics("1")
    metrics.config_taken({"shop"}, (), NOON)
    metrics.config_refused()
    seen = values(metrics)
    assert seen["automator_config_last_reload_successful",] == 0
    assert seen["automator_config_last_reload_success_timestamp_seconds",] == NOON.timestamp()
    assert seen["automator_config_reloads_total", "refused"] == 1
    metrics.config_taken({"shop"}, (), NOON + timedelta(hours=2))
    assert values(metrics)["automator_config_last_reload_successful",] == 1


def test_stuck_repos_and_notifications_are_read_when_asked() -> None:
    stuck: list[str] = []
    tallies = [Tally("team", 3, 2, 1, 4)]
    metrics = Metrics("1", Sources(stuck=lambda: stuck, deliveries=lambda: tallies))
    metrics.observe(report((Status.CURRENT, CURRENT)))
    assert values(metrics)["automator_cycle_stuck", "shop"] == 0
    stuck += ["shop", "never"]
    seen = values(metrics)
    assert (seen["automator_cycle_stuck", "shop"], seen["automator_cycle_stuck", "never"]) == (1, 1)
    results = {r: seen["automator_notifications_total", "team", r] for r in ("sent", "failed", "dropped")}
    assert results == {"sent": 3, "failed": 2, "dropped": 1}
    assert seen["automator_notifications_queued", "team"] == 4


# -- as servers read it --------------------------------------------------------------------------------


def test_what_asks_for_openmetrics_gets_it() -> None:
    metrics = busy()
    plain, opened = (
        metrics.exposition("text/html, */*"),
        metrics.exposition(
            "application/openmetrics-text;version=1.0.0;q=0.75,text/plain;version=0.0.4;q=0.5"
        ),
    )
    assert plain.content_type.startswith("text/plain; version=0.0.4")
    assert opened.content_type == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    families = {family.name: family for family in open_families(opened.body.decode())}
    assert families["automator_releases"].type == "counter"
    assert families["automator_build"].type == "info"
    names = {f.name.removesuffix("_total") for f in text_string_to_metric_families(plain.body.decode())}
    assert {name for name in families if name.startswith("automator_")} <= {
        n.removesuffix("_info") for n in names
    }


def test_every_metric_says_what_it_is_and_has_a_sample() -> None:
    families = list(text_string_to_metric_families(busy().render().decode()))
    assert [f.name for f in families if not f.documentation] == []
    assert [f.name for f in families if f.name.startswith("automator_") and not f.samples] == []
    assert {"process_resident_memory_bytes", "process_open_fds", "python_info"} <= {f.name for f in families}


@pytest.mark.needs("prometheus")
def test_promtool_has_nothing_to_say_against_them() -> None:
    program = shutil.which("promtool")
    assert program is not None
    done = subprocess.run(
        [program, "check", "metrics"], input=busy().render(), capture_output=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")
