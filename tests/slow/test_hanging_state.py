"""A daemon whose state folder hangs: it tells its numbers, it stops, and it gives up."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from parts.world import EmbeddedWorld, Running, World

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

DAEMON = """
import os, threading
from pathlib import Path
from parts.hanging import hanging
from parts.world import until
from automator.app.configwatch import ConfigSource
from automator.app.serve import Serving
from automator.app.starting import opened
from automator.bell import Bell
from automator.config import load
from automator.edges.log import configure

file = Path("config.toml")
read = lambda: load(file, {}, require_repos=True)
configure("json", "info")


def hang(serving):
    until(lambda: serving._daemon.started_at and Path("hang").exists(), "its time", 300)
    with hanging(serving._now.app.store, 3600):
        Path("hangs").touch()
        threading.Event().wait()


with Bell() as bell:
    serving = Serving(opened(read()), ConfigSource(read, file), bell)
    threading.Thread(target=hang, args=[serving], daemon=True).start()
    os._exit(100 + serving.run())  # nobody is to come here
"""
"""The program, but for that a write to its state folder never ends, from when there is a file `hang`."""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with EmbeddedWorld(tmp_path) as made:
        made.push("web", "1.0.0", "1.1.0")
        made.adopt("web")
        (tmp_path / "token").write_text("of-a-test-and-nothing-else-0123\n")
        yield made


@contextmanager
def started(world: World, keys: str, *, interval: str = "1s") -> Iterator[Running]:
    receiver = '[notify.team]\nwebhook = "http://127.0.0.1:1/"\nsecret_file = "token"\n'
    world.configure(daemon=f'listen = "127.0.0.1:0"\ninterval = "{interval}"\n{keys}', more=receiver)
    log = world.root / "log-of-daemon"
    parts = str(Path(__file__).parents[1])
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-c", f"import sys; sys.path.insert(0, {parts!r})\n{DAEMON}"],
            cwd=world.root,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
        )
    try:
        yield Running(process, log)
    finally:
        process.kill()
        process.wait()


def codes(daemon: Running) -> list[str]:
    return [line["code"] for line in daemon.lines if "code" in line]


def test_it_is_red_and_tells_its_numbers_and_gives_up_in_time(world: World) -> None:
    (world.root / "hang").touch()
    with started(world, 'stuck_after = "2s"\ngive_up_after = "4s"') as daemon:
        daemon.until(lambda: "daemon/stuck" in codes(daemon), "the watchdog")
        stuck = 'automator_cycle_stuck{repo="shop"} 1.0'
        daemon.until(lambda: stuck in daemon.get("/metrics").text, "the number")
        text = daemon.get("/metrics").text
        assert 'automator_notifications_queued{receiver="team"} 0.0' in text
        assert daemon.get("/healthz").status_code == 503
        assert daemon.process.wait(60) == 4
        assert "daemon/gave-up" in codes(daemon)
    assert world.repo.log() == ["Adopt"]


def test_it_stops_when_it_is_told_to_and_leaves_its_cycle_behind(world: World) -> None:
    (world.root / "hang").touch()
    with started(world, 'stuck_after = "2s"\ngive_up_after = "1h"\nstop_timeout = "1s"') as daemon:
        daemon.until(lambda: "daemon/stuck" in codes(daemon), "the watchdog")
        began = time.monotonic()
        assert daemon.end(signal.SIGTERM) == 1
        assert time.monotonic() - began < 40
        assert codes(daemon)[-1] == "daemon/cut-off"


def test_it_stops_between_two_cycles(world: World) -> None:
    with started(world, 'stop_timeout = "1s"', interval="1h") as daemon:
        daemon.until(daemon.cycles, "the first cycle")
        (world.root / "hang").touch()
        daemon.until((world.root / "hangs").exists, "a state folder that hangs")
        began = time.monotonic()
        assert daemon.end(signal.SIGTERM) == 1
        assert time.monotonic() - began < 40
        assert codes(daemon)[-1] == "daemon/state-hangs"
