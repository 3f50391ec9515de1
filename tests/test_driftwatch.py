"""Drift in the running daemon: looks beside the cycles, what is told of them, what a hanging one costs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from parts.engines import QUICK, Host, drift_world, states
from parts.gitserver import BareRepo
from parts.hanging import hanging
from parts.receivers import Inbox, inbox, table
from parts.registry import HostileServer, Reply
from parts.stage import Stage
from parts.world import World

from automator.app import App, utc_now
from automator.app.driftwatch import DriftWatch
from automator.app.runtimes import tip_of
from automator.config import Config


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with drift_world(tmp_path) as made:
        yield made


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as made:
        yield made


@pytest.fixture
def host(world: World, stack: ExitStack) -> Host:
    return Host(world, stack.enter_context(HostileServer(lambda _: Reply(500))))


@pytest.fixture
def hook(stack: ExitStack) -> Inbox:
    return stack.enter_context(inbox())


def test_what_diverged_is_told_once_and_so_is_its_end(world: World, host: Host, hook: Inbox) -> None:
    host.runs(web="0.9.0", api="1.0.0")
    world.configure(daemon=QUICK, more=host.table("prod") + table("hook", world.root)(hook.url))
    with world.start("run") as daemon:
        daemon.until(lambda: hook.taken, "the message")
        (item,) = hook.items()
        assert (item["kind"], item["workload"], item["owner"]) == ("diverged", "web", "team-shop")
        assert "runs 0.9.0, Git says 1.0.0" in item["sentence"]
        assert states(daemon) == {("prod", "web"): "diverged", ("prod", "api"): "same"}
        metrics = daemon.get("/metrics").text
        assert 'automator_drift_workloads{runtime="prod",state="diverged"} 1.0' in metrics
        assert 'automator_runtime_up{runtime="prod"} 1.0' in metrics
        assert "diverged" in daemon.get("/drift").text
        assert "runs 0.9.0" in daemon.get("/workloads/shop/web").text
        host.runs(web="1.0.0", api="1.0.0")
        daemon.until(lambda: len(hook.taken) > 1, "the end of it")
        assert states(daemon)[("prod", "web")] == "same"
        assert daemon.end() == 0
    assert hook.kinds() == [("diverged", "web"), ("recovered", "web")]
    told = [line["event"] for line in daemon.lines if "0.9.0" in line["event"]]
    assert len(told) == 1, "the log says it once, too"
    assert {asked.method for asked in host.server.received} == {"GET"}


@pytest.mark.slow
def test_what_a_git_server_that_is_down_may_say_by_now_has_not_diverged(
    world: World, host: Host, hook: Inbox
) -> None:
    host.runs(web="1.0.0", api="1.0.0")
    world.configure(daemon=QUICK, more=host.table("prod") + table("hook", world.root)(hook.url))
    with world.start("run") as daemon:
        daemon.until(lambda: states(daemon).get(("prod", "web")) == "same", "a look")
        away = world.repo.path.rename(world.root / "away.git")
        daemon.until(lambda: daemon.get("/api/v1/repos").json()["items"][0]["error"], "that Git is down")
        host.runs(web="1.1.0", api="1.0.0")
        daemon.until(lambda: states(daemon)[("prod", "web")] == "unknown", "the grace time")
        (item,) = (one for one in daemon.get("/api/v1/drift").json()["items"] if one["workload"] == "web")
        assert item["reason"]["code"] == "drift/git-unread"
        away.rename(world.repo.path)
        daemon.until(lambda: states(daemon)[("prod", "web")] == "diverged", "what Git says")
        assert daemon.end() == 0
    assert [kind for kind, name in hook.kinds() if name == "web"][:1] == ["diverged"]


def test_a_runtime_that_hangs_or_is_down_disturbs_no_release_and_no_stop(
    world: World, host: Host, stack: ExitStack, hook: Inbox
) -> None:
    host.runs(web="1.0.0", api="1.0.0")
    hanging = Host(world, stack.enter_context(HostileServer(lambda _: Reply(silent=True))))
    hanging.server.behave = lambda _: Reply(silent=True)
    down = '[runtimes.down]\ntype = "docker"\nhost = "unix:///nowhere.sock"\ninterval = "1s"\n'
    receiver = table("hook", world.root, 'stale_after = "1s"\nevents = ["silent", "diverged"]')(hook.url)
    tables = host.table("near") + hanging.table("far", 'timeout = "1h"') + down + receiver
    world.configure(daemon=QUICK, more=tables)
    with world.start("run") as daemon:
        daemon.until(lambda: hanging.server.received, "the question that hangs")
        daemon.until(lambda: ("near", "web") in states(daemon), "a look at the runtime that answers")
        world.push("web", "1.1.0")
        daemon.until(lambda: world.version("web") == "1.1.0", "a release meanwhile")
        daemon.until(lambda: ("down", "web") in states(daemon), "what is known of the one that is down")
        assert states(daemon)[("down", "web")] == "unknown"
        daemon.until(lambda: hook.taken, "that it is down")
        assert daemon.end() == 0
    assert {(item["kind"], item["subject"]) for item in hook.items() if item["kind"] != "diverged"} == {
        ("silent", "runtime down")
    }


def test_a_state_folder_that_hangs_keeps_nobody_waiting_who_begins_to_watch(tmp_path: Path) -> None:
    remote = BareRepo.create(tmp_path / "remote.git", {"README.md": "x\n"})
    config = Config(
        state=tmp_path / "state",
        repos={"shop": {"url": str(remote.path)}},
        runtimes={"near": {"type": "docker", "host": "unix:///nowhere.sock"}},
    )
    with App.open(config, exclusive=True) as app:
        with hanging(app.store):
            watch = DriftWatch(app, lambda _: None, utc_now)
            watch.start()
            assert [view.name for view in watch.views()] == ["near"]
        watch.close(30)


def test_a_templated_image_is_known_by_its_workload(tmp_path: Path, stack: ExitStack) -> None:
    stage = Stage(tmp_path, stack)
    compose = 'services:\n  web:\n    image: "${PLACE}/web:1.0.0" # automator: web\n'
    stage.push("acme/web", "1.0.0")
    stage.commit({**stage.workload("web", "1.0.0"), "compose.yaml": compose})
    snapshot = stage.cycle.read()
    config = Config(state=stage.folder, repos={"shop": {"url": str(stage.repo.path)}})
    named = {site.file: str(site.repository) for site in tip_of(config, "shop", snapshot).workloads["web"]}
    assert named["compose.yaml"] == f"{stage.host}/acme/web"


def test_once_looks_before_its_cycle_and_warns_of_a_runtime_that_is_down(world: World, host: Host) -> None:
    host.runs(web="1.0.0", api="1.0.0")
    down = '[runtimes.down]\ntype = "docker"\nhost = "unix:///nowhere.sock"\n'
    world.configure(more=host.table("near") + down)
    world.push("web", "1.1.0")
    done = world.run("once").fine()
    assert world.version("web") == "1.1.0"
    assert "warning: down: the engine at unix:///nowhere.sock gives no answer" in done.err
    assert host.server.received, "the other one was asked"
