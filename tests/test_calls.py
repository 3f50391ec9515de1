"""Whom the daemon calls: the hosts of its config and of the policies, and nobody else."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from parts.calls import Recorder
from parts.gitserver import http_git
from parts.receivers import inbox, table
from parts.registry import HostileServer, Reply
from parts.world import EmbeddedWorld, World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with EmbeddedWorld(tmp_path) as made:
        made.push("web", "1.0.0", "1.1.0")
        made.adopt("web", verify="[healthy]")
        yield made


def test_the_daemon_calls_the_hosts_of_config_and_policies_and_nobody_else(world: World) -> None:
    """A day in short: a start, releases, a check, messages, pages, probes, an end."""
    recorder = Recorder(world.root / "recorder")
    with (
        http_git(world.root / "git") as server,
        inbox() as hook,
        HostileServer(lambda _: Reply(200, b"{}")) as asked,
    ):
        check = f'[checks.healthy]\nurl = "http://{asked.host}/healthz"\ndelay = "1s"\n'
        world.configure(
            url=server.url(world.repo),
            daemon='listen = "127.0.0.1:0"\ninterval = "1s"',
            more=check + table("hook", world.root)(hook.url),
        )
        with world.start("run", env=recorder.environment) as daemon:
            daemon.until(lambda: world.version("web") == "1.1.0", "a release")
            daemon.until(lambda: asked.received, "the check")
            daemon.until(lambda: hook.taken, "the message")
            world.push("web", "1.2.0")
            daemon.until(lambda: world.version("web") == "1.2.0", "another release")
            for page in ("/", "/metrics", "/healthz", "/api/v1/workloads"):
                assert daemon.get(page).status_code == 200
            assert daemon.end() == 0
        git = server.address.removeprefix("http://")
        hosts = {world.host, asked.host, hook.server.host}

    calls = recorder.calls()
    assert calls.reached == hosts
    assert {host for host in calls.looked_up if not host.endswith(":0")} <= hosts
    # Git is called by git, which is told where.
    assert {Path(words[0]).name for words in calls.started} == {"git"}
    told = {host for words in calls.started for host in re.findall(r"\w://([^/\s]+)", " ".join(words))}
    assert told == {git}


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("import socket; socket.create_connection(('telemetry.invalid', 443))", "telemetry.invalid:443"),
        ("import requests; requests.post('https://telemetry.invalid/')", "telemetry.invalid:443"),
        (
            "import socket; socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', 9))",
            "127.0.0.1:9",
        ),
        ("import subprocess; subprocess.run(['true', 'telemetry.invalid'])", "true"),
    ],
    ids=["socket", "library", "datagram", "program"],
)
def test_a_call_home_would_be_seen(tmp_path: Path, code: str, told: str) -> None:
    recorder = Recorder(tmp_path / "recorder")
    # Names below .invalid lead nowhere (RFC 2606), and the attempt is what counts.
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env={**os.environ, **recorder.environment}, capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    calls = recorder.calls()
    assert told in {*calls.looked_up, *calls.reached, *(words[0] for words in calls.started)}
