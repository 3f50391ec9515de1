"""The demo as somebody sees it who has just cloned the project: one command, a minute, nothing left."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
from pathlib import Path
from urllib.request import urlopen

import pytest
from parts.world import World, processes


@pytest.fixture
def nowhere(tmp_path: Path) -> World:
    """Only a place to run in: the demo brings its own registry and config repo."""
    world = World(tmp_path, "127.0.0.1:9")
    world.config.unlink()
    return world


def nothing_left(world: World) -> None:
    assert os.listdir(world.temporary) == []
    assert processes(mentioning=str(world.temporary)) == []


def test_the_tour_shows_the_whole_job_and_leaves_nothing(nowhere: World) -> None:
    """Every step in its order; the run has a time limit of a minute."""
    done = nowhere.run("demo").fine()
    story = [
        r"1\. A config repo",
        r'^ +semver: ">=1.4 <2"$',
        r"^1 workload, 1 site: 0 errors, 0 warnings$",
        r"2\. CI pushes a new tag",
        r"^ +\$ automator plan$",
        r'^-          image: "127\.0\.0\.1:\d+/acme/web:1\.4\.2"   # released by automator$',
        r'^\+          image: "127\.0\.0\.1:\d+/acme/web:1\.4\.3"   # released by automator$',
        r"^ +\$ automator once$",
        r"^web +released +1\.4\.3 +1\.4\.2 -> 1\.4\.3 in [0-9a-f]{12}$",
        r"^ +Release web 1\.4\.3$",
        r"^ +Release-Format: 1$",
        r"^ +Release-From: 1\.4\.2$",
        r"^ +Release-To: 1\.4\.3@sha256:[0-9a-f]{64}$",
        r"^ +Release-Policy: policies/shop\.yaml$",
        r"3\. A tag that the policy refuses",
        r'^2\.0\.0 +2\.0\.0 +dropped +tag/range +it lies outside ">=1\.4 <2"$',
        r"4\. Somebody rolls back",
        r"^web +held +1\.4\.2 +was 1\.4\.3 until Ann set 1\.4\.2 in [0-9a-f]{7}$",
        r"The rollback stays",
        r"5\. The fix arrives",
        r"^web +released +1\.4\.4 +1\.4\.2 -> 1\.4\.4 in",
        r"^\S+ \S+ +[0-9a-f]{10} +release +shop/web +1\.4\.2 +1\.4\.4 +automator$",
        r"^Done\.$",
    ]
    at = 0
    for step in story:
        found = re.compile(step, re.MULTILINE).search(done.out, at)
        assert found is not None, f"{step} is missing, or comes too early, in\n{done.out}"
        at = found.end()
    assert done.err == ""
    nothing_left(nowhere)


@pytest.mark.slow
def test_kept_running_until_ctrl_c(nowhere: World) -> None:
    with nowhere.start("demo", "--keep") as demo:
        demo.until(lambda: "Ctrl-C ends the daemon" in demo.text, "the invitation to play")
        shown = re.search(r"^ +cd (\S+)$", demo.text, re.MULTILINE)
        assert shown is not None
        folder = Path(shown[1])
        log = folder / "daemon.log"
        demo.until(lambda: log.exists() and "cycle shop: " in log.read_text(), "a cycle of the daemon")
        dashboard = re.search(r"^The dashboard is at (http://127\.0\.0\.1:\d+/)$", demo.text, re.MULTILINE)
        assert dashboard is not None
        with urlopen(dashboard[1], timeout=20) as answer:
            assert b"<title>Workloads" in answer.read()
        status = nowhere.run("status", cwd=folder).fine()
        assert re.search(r"^web +current +1\.4\.4 ", status.out, re.MULTILINE)
        image = re.search(r"automator tags (\S+)$", demo.text, re.MULTILINE)
        assert image is not None
        assert nowhere.run("tags", image[1], cwd=folder).fine().out.split() == [
            "1.4.2",
            "1.4.3",
            "1.4.4",
            "2.0.0",
        ]
        # What is printed to be typed elsewhere works as it is printed.
        commands = re.findall(r"^ {4}(\S*(?:automator|python\S*) .*)$", demo.text, re.MULTILINE)
        typed = [c for c in commands if c.split()[0] != "$"][-4:]
        assert len(typed) == 4
        for command in typed:
            done = subprocess.run(shlex.split(command), cwd=folder, capture_output=True, check=False)
            assert done.returncode == 0, f"{command}: {done.stderr!r}"
        demo.until(lambda: "1.4.4 -> 1.4.5" in log.read_text(), "the release of what was pushed")
        assert "Ctrl-C ends" in demo.text.splitlines()[-1], "the log does not push away what there is to type"
        assert demo.end(signal.SIGINT) == 0
        assert "Traceback" not in demo.text
    nothing_left(nowhere)


def test_interrupted_on_its_way_leaves_nothing(nowhere: World) -> None:
    with nowhere.start("demo") as demo:
        demo.until(lambda: "$ automator plan" in demo.text, "the second step")
        assert demo.end(signal.SIGINT) == 130
        assert "Traceback" not in demo.text
    nothing_left(nowhere)
