"""The daemon as a real process: what it does, what it answers, and how it ends."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from parts import registry as registries
from parts.registry import HostileServer, Reply, always
from parts.world import EmbeddedWorld, Running, World, processes, real_world, until

pytestmark = pytest.mark.slow  # much of it waits: together they take minutes

QUICK = 'listen = "127.0.0.1:0"\ninterval = "1s"'


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with EmbeddedWorld(tmp_path) as made:
        made.push("web", "1.0.0")
        made.adopt("web")
        made.configure(daemon=QUICK)
        yield made


def nothing_left(world: World) -> None:
    assert processes(mentioning=str(world.state)) == []
    assert os.listdir(world.temporary) == []


@pytest.mark.needs("docker-registry", "skopeo")
def test_a_tag_pushed_while_it_runs_is_released(tmp_path: Path) -> None:
    with real_world(tmp_path) as world:
        registries.push_image(world.host, "acme/web", "1.0.0")
        world.adopt("web")
        world.configure(daemon=QUICK)
        with world.start("run") as daemon:
            daemon.until(daemon.cycles, "the first cycle")
            assert world.version("web") == "1.0.0"
            registries.push_image(world.host, "acme/web", "1.1.0")
            daemon.until(lambda: world.version("web") == "1.1.0", "the release")
            daemon.until(lambda: "web released: 1.0.0 -> 1.1.0 in " in daemon.text, "the log's line")
            assert daemon.end() == 0
        nothing_left(world)
    assert world.repo.log() == ["Release web 1.1.0", "Adopt"]


def test_probes_and_metrics(world: World) -> None:
    with world.start("run") as daemon:
        daemon.until(lambda: len(daemon.cycles()) >= 2, "two cycles")
        assert (daemon.get("/healthz").status_code, daemon.get("/readyz").status_code) == (200, 200)
        assert daemon.get("/nothing").status_code == 404
        before = len(daemon.cycles())
        metrics = daemon.get("/metrics").text
        counted = re.search(r'^automator_cycles_total\{repo="shop",result="done"\} (\d+)\.0$', metrics, re.M)
        assert counted is not None
        # The log's sentence of a cycle comes just before it is counted.
        assert before - 1 <= int(counted[1]) <= len(daemon.cycles())
        assert 'automator_outcomes{repo="shop",status="current"} 1.0' in metrics
        assert daemon.end() == 0


def test_it_is_not_ready_before_the_first_cycle_ended(tmp_path: Path) -> None:
    with HostileServer(always(Reply(silent=True))) as silent:
        world = World(tmp_path, silent.host)
        world.adopt("web")
        world.configure(daemon=f'{QUICK}\nobserve_timeout = "10m"\nstop_timeout = "1s"')
        with world.start("run") as daemon:
            until(lambda: silent.received, "the question to the registry")
            assert daemon.get("/readyz").status_code == 503
            assert daemon.get("/readyz").json()["words"] == "the first cycle has not ended yet in shop"
            assert daemon.get("/healthz").status_code == 200
            assert daemon.end() == 1, "it had to leave a cycle behind"
            assert "daemon/cut-off" in daemon.text
        nothing_left(world)


def test_the_log_is_json_with_one_sentence_for_each_cycle(world: World) -> None:
    with world.start("run") as daemon:
        daemon.until(lambda: len(daemon.cycles()) >= 3, "three cycles")
        assert daemon.end() == 0
        lines, cycles = daemon.lines, daemon.cycles()
    for line in lines:
        assert {"timestamp", "level", "event"} <= line.keys()
        assert datetime.fromisoformat(line["timestamp"]).tzinfo is not None
    assert [c["trigger"] for c in cycles[:2]] == ["startup", "interval"]
    assert all(re.fullmatch(r"cycle shop: 1 current in \d+\.\d s", c["event"]) for c in cycles)
    # Nothing new is told once; a quiet cycle is its sentence and nothing else.
    assert len(lines) == 1 + len(cycles)


def test_variables_override_the_config(world: World) -> None:
    world.configure(daemon='listen = "127.0.0.1:0"\ninterval = "1h"')
    variables = {"AUTOMATOR_DAEMON__INTERVAL": "1s", "AUTOMATOR_LOG__FORMAT": "console"}
    with world.start("run", env=variables) as daemon:
        daemon.until(lambda: daemon.text.count("cycle shop: ") >= 2, "a second cycle within the hour")
        assert not daemon.text.startswith("{")
        assert daemon.end() == 0


def test_a_second_daemon_on_the_same_state_is_refused(world: World) -> None:
    with world.start("run") as daemon:
        daemon.until(daemon.cycles, "the first cycle")
        done = world.run("run")
        assert done.code == 2
        assert f"is in use by process {daemon.process.pid}" in done.err
        assert "Traceback" not in done.err
        assert daemon.end(signal.SIGINT) == 0
    assert world.run("once").code == 0, "the lock ended with its process"


def test_an_address_that_is_taken_is_refused(world: World) -> None:
    world.configure(daemon=f'listen = "{world.host}"')
    done = world.run("run")
    assert done.code == 2
    assert f"cannot listen on {world.host}" in done.err


def test_it_outlives_a_config_repo_that_is_away(world: World) -> None:
    world.push("web", "1.1.0")
    aside = world.repo.path.rename(world.root / "aside.git")
    with world.start("run") as daemon:
        daemon.until(lambda: len(daemon.cycles()) >= 2, "two cycles without a config repo")
        assert "not done after" in daemon.cycles()[0]["event"]
        aside.rename(world.repo.path)
        daemon.until(lambda: world.version("web") == "1.1.0", "the release")
        assert daemon.end() == 0


def test_a_signal_asks_for_a_cycle_now(world: World) -> None:
    world.configure(daemon='listen = ""\ninterval = "1h"')
    with world.start("run") as daemon:
        daemon.until(daemon.cycles, "the first cycle")
        world.push("web", "1.1.0")
        daemon.send(signal.SIGUSR1)
        daemon.until(lambda: world.version("web") == "1.1.0", "the release, within the hour")
        daemon.until(lambda: len(daemon.cycles()) == 2, "the log's sentence")
        assert daemon.cycles()[1]["trigger"] == "request"
        assert daemon.end() == 0


# -- told to stop in the middle of a push ------------------------------------------------------------


class Gate:
    """A hook of the config repo that holds every push until the test opens it."""

    def __init__(self, world: World) -> None:
        self.state = world.state
        self.reached, self.opened = world.root / "reached", world.root / "opened"
        world.repo.hook(
            "pre-receive",
            f'touch "{self.reached}"\nwhile [ ! -e "{self.opened}" ]; do sleep 0.02; done',
        )

    def hold(self, daemon: Running) -> None:
        daemon.until(self.reached.exists, "the push at the server")
        assert processes(mentioning=str(self.state)), "what `nothing_left` looks for can be seen"

    def open(self) -> None:
        self.opened.touch()


def test_sigterm_waits_for_the_push_under_way(world: World) -> None:
    gate = Gate(world)
    world.push("web", "1.1.0")
    with world.start("run") as daemon:
        gate.hold(daemon)
        daemon.send(signal.SIGTERM)
        gate.open()
        assert daemon.process.wait(60) == 0
        assert "web released: 1.0.0 -> 1.1.0" in daemon.text
    assert world.version("web") == "1.1.0"
    nothing_left(world)


def test_a_push_that_outlasts_the_stop_timeout_is_done_or_not(world: World) -> None:
    gate = Gate(world)
    world.configure(daemon=f'{QUICK}\nstop_timeout = "1s"')
    world.push("web", "1.1.0")
    with world.start("run") as daemon:
        gate.hold(daemon)
        assert daemon.end() == 1
        assert "did not end within 1s" in daemon.text
    gate.open()
    until(lambda: not processes(mentioning=str(world.state)), "the end of git")
    world.run("once").fine()
    assert world.repo.log() == ["Release web 1.1.0", "Adopt"]
    nothing_left(world)


def test_a_second_signal_ends_it_at_once(world: World) -> None:
    gate = Gate(world)
    world.configure(daemon=f'{QUICK}\nstop_timeout = "10m"')
    world.push("web", "1.1.0")
    with world.start("run") as daemon:
        gate.hold(daemon)
        # Signals that come together may be seen as one: more are sent until it is gone.
        until(lambda: _ended_by(daemon, signal.SIGTERM), "its end")
        assert daemon.process.returncode == 128 + signal.SIGTERM
    gate.open()
    until(lambda: not processes(mentioning=str(world.state)), "the end of git")


def _ended_by(daemon: Running, number: signal.Signals) -> bool:
    if daemon.process.poll() is None:
        daemon.send(number)
    return daemon.process.poll() is not None
