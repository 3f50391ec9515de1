"""Drift over restarts and changed configs of the daemon."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest
from parts.engines import QUICK, Host, drift_world, states
from parts.registry import HostileServer, Reply
from parts.world import Running

pytestmark = pytest.mark.slow


def test_since_when_it_differs_outlasts_a_restart_and_a_runtime_that_is_no_more_is_forgotten(
    tmp_path: Path,
) -> None:
    with drift_world(tmp_path) as world, HostileServer(lambda _: Reply(500)) as server:
        host = Host(world, server)
        host.runs(web="0.9.0", api="1.0.0")
        world.configure(daemon=QUICK, more=host.table("prod", 'interval = "1s"\ngrace = "1h"'))
        with world.start("run") as daemon:
            daemon.until(lambda: states(daemon).get(("prod", "web")) == "pending", "the first look")
            first = since(daemon)
            assert daemon.end() == 0
        with world.start("run") as daemon:
            daemon.until(lambda: states(daemon).get(("prod", "web")) == "pending", "another process")
            assert since(daemon) == first
            world.configure(daemon=QUICK)
            daemon.until(lambda: not daemon.get("/api/v1/drift").json()["runtimes"], "the other config")
            assert "automator_runtime_up{" not in daemon.get("/metrics").text
            assert states(daemon) == {}
            world.configure(daemon=QUICK, more=host.table("prod"))
            daemon.until(lambda: ("prod", "web") in states(daemon), "and back")
            assert daemon.end() == 0
        done = world.run("drift", "--output", "json").fine()
        assert {item["workload"] for item in done.json["items"]} == {"web", "api"}


def since(daemon: Running) -> datetime:
    (item,) = daemon.get("/api/v1/drift?workload=web").json()["items"]
    return datetime.fromisoformat(item["since"])
