"""No wasted request, and no release that waits for somebody else's registry."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest
import requests
from parts.gitserver import BareRepo
from parts.platforms import push_platforms
from parts.registry import HostileServer, Received, Reply, json_reply
from parts.stage import NOW, Stage

from automator.app import App
from automator.config import Config
from automator.core.reference import parse_repository
from automator.cycle.run import Trigger
from automator.demo import images
from automator.reasons import Status

DUE = Trigger("interval")
MINUTE = timedelta(minutes=1)


def asked(stage: Stage, part: str = "tags/list") -> int:
    """Requests whose line has `part`, so far, pushes apart."""
    return sum(part in line and line.startswith(("GET", "HEAD")) for line in stage.registry.log)


def minutes(stage: Stage, number: int) -> list[int]:
    """Run a cycle each minute; in which of them the tags were asked for."""
    found = []
    for i in range(number):
        before = asked(stage)
        stage.outcomes(trigger=DUE)
        found += [i] * (asked(stage) - before)
    return found


def test_what_never_changes_is_asked_less_often_within_bounds(stage: Stage) -> None:
    stage.push("acme/web", "1.0.0")
    stage.commit(stage.workload("web", "1.0.0"))
    stage.outcomes()
    begin = minutes(stage, 10)
    assert begin == list(range(10))  # at first each minute
    minutes(stage, 110)
    calm = minutes(stage, 60)
    assert len(calm) == 12  # then each five minutes, the default bound
    stage.push("acme/web", "1.0.1")
    seen = minutes(stage, 15)
    assert stage.image_of("web") == "web:1.0.1"
    assert len(seen) > 10  # from the change on each minute again


def test_an_event_is_looked_at_now_however_calm_it_was(stage: Stage) -> None:
    stage.push("acme/web", "1.0.0")
    stage.commit(stage.workload("web", "1.0.0"))
    stage.outcomes()
    stage.now += timedelta(days=1)
    stage.outcomes(trigger=DUE)
    assert minutes(stage, 2) == []
    stage.push("acme/web", "1.1.0")
    web = parse_repository(f"{stage.host}/acme/web")
    assert stage.outcomes(trigger=Trigger("event", frozenset({web})))["web"].status is Status.RELEASED


def test_a_list_of_more_pages_than_a_registry_gives_at_a_time_is_waited_for_and_decided_once(
    stage: Stage,
) -> None:
    pages, left = {"": "1.0.0", "1.0.0": "1.1.0", "1.1.0": "1.2.0"}, [1]

    def behave(received: Received) -> Reply:
        if "tags/list" not in received.path:
            return Reply(404)
        if not left[0]:
            return json_reply({"errors": [{"code": "TOOMANYREQUESTS"}]}, 429, Retry_After="600")
        left[0] -= 1
        tag = pages[received.query.get("last", "")]
        link = {} if tag == "1.2.0" else {"Link": f'<{received.path}?last={tag}&n=1>; rel="next"'}
        return json_reply({"tags": [tag]}, **link)

    with HostileServer(behave) as server:
        stage.insecure.add(server.host)
        stage.commit(stage.workload("web", "1.0.0", host=server.host))
        for page in (1, 2):
            outcome = stage.outcomes(trigger=DUE)["web"]
            assert (outcome.status, outcome.reason.code) == (Status.WAITING, "registry/list-interrupted")
            assert f"read to page {page}" in outcome.reason.sentence
            assert outcome.reason.changes_at is not None
            left[0] = 1
            stage.now = max(stage.now, outcome.reason.changes_at + timedelta(seconds=1))
        outcome = stage.outcomes(trigger=DUE)["web"]
        assert outcome.reason.code == "tag/gone", "1.2.0 was chosen, of the whole list"
        assert outcome.target == "1.2.0"
        lists = [r.query.get("last", "") for r in server.received if "tags/list" in r.path]
        assert lists == ["", "1.0.0", "1.0.0", "1.1.0", "1.1.0"]


def test_a_digest_that_is_known_under_another_tag_is_not_looked_into_again(stage: Stage) -> None:
    stage.push("acme/web", "main-1", "main-2")
    stage.commit(stage.workload("web", "main-1", keys='glob: "main-*"\norder: newest'))
    stage.outcomes()
    before = asked(stage, "/blobs/")
    manifests = f"{stage.registry.url}/v2/acme/web/manifests"
    got = requests.get(f"{manifests}/main-2", headers={"Accept": images.MANIFEST}, timeout=10)
    headers = {"Content-Type": images.MANIFEST}
    assert requests.put(f"{manifests}/main-3", got.content, headers=headers, timeout=10).ok
    manifests_before = asked(stage, "manifests/main-3")
    stage.outcomes()
    assert asked(stage, "manifests/main-3") > manifests_before
    assert asked(stage, "/blobs/") == before


def test_a_followed_tag_that_moves_back_costs_a_head_and_no_more(stage: Stage) -> None:
    first = push_platforms(stage.host, "acme/cache", "7", "linux/amd64")
    stage.commit(stage.workload("cache", f"7@{first}", keys='follow: "7"'))
    stage.outcomes()
    push_platforms(stage.host, "acme/cache", "7", "linux/arm64")
    assert stage.outcomes()["cache"].status is Status.RELEASED
    push_platforms(stage.host, "acme/cache", "7", "linux/amd64")
    before = len(stage.registry.log)
    assert stage.outcomes()["cache"].target == "7"
    asked_now = [line for line in stage.registry.log[before:] if line.startswith(("GET", "HEAD"))]
    assert asked_now == ["HEAD /v2/acme/cache/manifests/7 200"]


def test_a_host_that_hangs_at_its_facts_leaves_the_others_their_time(stage: Stage) -> None:
    over = threading.Event()

    def behave(received: Received) -> Reply:
        if "manifests" in received.path:
            assert over.wait(30)
            return Reply(404)
        return json_reply({"tags": ["1.0.0", "1.0.1"]})

    stage.observe_timeout = "2s"
    with HostileServer(behave) as server:
        stage.insecure.add(server.host)
        stage.push("acme/fine", "1.0.0", "1.0.1")
        stage.commit(stage.workload("hangs", "1.0.0", host=server.host))
        stage.commit(stage.workload("fine", "1.0.0"))
        try:
            first = stage.outcomes()
            assert (first["fine"].status, first["hangs"].status) == (Status.RELEASED, Status.WAITING)
            assert first["hangs"].reason.code == "registry/late"
        finally:
            over.set()


def test_a_registry_that_is_down_costs_a_few_dozen_requests_an_hour_and_comes_back(stage: Stage) -> None:
    down = True

    def behave(_: Received) -> Reply:
        return Reply(503) if down else json_reply({"tags": ["1.0.0"]})

    with HostileServer(behave) as server:
        stage.insecure.add(server.host)
        stage.push("acme/fine", "1.0.0")
        names = [f"web{i}" for i in range(8)]
        for name in names:
            stage.commit(stage.workload(name, "1.0.0", host=server.host))
        stage.commit(stage.workload("fine", "1.0.0"))
        first = stage.outcomes()
        assert first["fine"].status is Status.CURRENT
        for _ in range(120):
            stage.now -= MINUTE / 2
            found = stage.outcomes(trigger=DUE)
        assert len(server.received) < 90
        assert {found[name].reason.code for name in names} <= {"registry/resting", "registry/server-error"}
        stage.push("acme/fine", "1.0.1")
        stage.now += timedelta(minutes=5)
        assert stage.outcomes(trigger=DUE)["fine"].status is Status.RELEASED
        down = False
        for _ in range(3):
            stage.now += timedelta(minutes=5)
            found = stage.outcomes(trigger=DUE)
        assert {found[name].status for name in names} == {Status.CURRENT}


def test_a_silent_host_is_waited_for_once_and_delays_nobodys_release(stage: Stage) -> None:
    released = threading.Event()

    def behave(_: Received) -> Reply:
        assert released.wait(30)
        return json_reply({"tags": ["1.0.0"]})

    stage.observe_timeout = "2s"
    with HostileServer(behave) as server:
        stage.insecure.add(server.host)
        stage.push("acme/fine", "1.0.0", "1.0.1")
        for name in ("silent1", "silent2"):
            stage.commit(stage.workload(name, "1.0.0", host=server.host))
        stage.commit(stage.workload("fine", "1.0.0"))
        try:
            first = stage.outcomes()
            assert first["fine"].status is Status.RELEASED
            assert first["silent1"].reason.code == "registry/late"
            asked_before = len(server.received)
            stage.push("acme/fine", "1.0.2")
            assert stage.outcomes(trigger=DUE)["fine"].status is Status.RELEASED
            assert len(server.received) == asked_before  # what is on its way is not asked for again
        finally:
            released.set()


@pytest.fixture
def two(stage: Stage, tmp_path: Path) -> App:
    """Two config repos that watch the same image."""
    stage.push("acme/web", "1.0.0")
    repos = {}
    for name in ("east", "west"):
        repo = BareRepo.create(tmp_path / f"{name}.git", {"README.md": "config repo\n"})
        repo.commit(stage.workload("web", "1.0.0"), "By hand", author="Ann Author")
        repos[name] = {"url": str(repo.path)}
    config = Config.model_validate(
        {
            "state": tmp_path / "state2",
            "repos": repos,
            "registries": {stage.host: {"insecure": True, "interval": "1m"}},
        }
    )
    return App.open(
        config,
        exclusive=True,
        clock=lambda: stage.now,
        monotonic=lambda: time.monotonic() + (stage.now - NOW).total_seconds(),
    )


def test_two_config_repos_ask_once_in_an_interval_for_what_both_watch(stage: Stage, two: App) -> None:
    with two:
        for cycle in two.cycles.values():
            cycle.run(Trigger("startup"))
        assert asked(stage) == 1
        for _ in range(5):
            stage.now += MINUTE
            for cycle in two.cycles.values():
                assert [o.status for o in cycle.run(DUE).outcomes] == [Status.CURRENT]
        assert asked(stage) == 6
