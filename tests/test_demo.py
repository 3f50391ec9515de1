"""The demo as somebody sees it who has just cloned the project: one command, a minute, nothing left."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

import pytest
from parts.world import EmbeddedWorld, World, processes

from automator.demo.surroundings import stand_alone

REFUSES = "http://127.0.0.1:9"
PROXIES = dict.fromkeys(("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY"), REFUSES)


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


def test_nothing_reaches_the_demo_that_is_exported_for_another_automator(tmp_path: Path) -> None:
    """Least of all the config of it: the demo releases."""
    with EmbeddedWorld(tmp_path) as world:
        world.adopt("web")
        world.push("web", "1.0.0", "1.1.0")
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        named = {"AUTOMATOR_CONFIG": str(world.config)}
        waiting = world.run("plan", "--exit-code", env=named, cwd=elsewhere)
        assert waiting.code == 1, "there is something to release, for whoever reads this config"
        before = world.repo.tip()
        shutil.rmtree(world.state, ignore_errors=True)

        exported = {
            **named,
            "automator_state": str(tmp_path / "exported"),  # small letters are read too
            "AUTOMATOR_REPOS__LIVE__URL": str(tmp_path / "live.git"),
        }
        done = world.run("demo", env=exported, cwd=elsewhere)
        assert world.repo.tip() == before
        done.fine()
        assert done.out.endswith("\nDone.\n")
        assert done.err == ""
        assert "live" not in done.out
        assert not (tmp_path / "exported").exists()
        assert not world.state.exists()
        assert list(elsewhere.iterdir()) == []
        nothing_left(world)


def test_a_proxy_does_not_stand_between_the_demo_and_its_registry(nowhere: World) -> None:
    done = nowhere.run("demo", env={**PROXIES, "NO_PROXY": "example.com"}).fine()
    assert done.out.endswith("\nDone.\n")


@pytest.mark.parametrize(
    ("before", "capitals", "small"),
    [
        ({}, "", ""),
        ({"NO_PROXY": "a.example, b.example"}, "a.example, b.example,", "a.example, b.example,"),
        ({"no_proxy": "a.example"}, "a.example,", "a.example,"),
        ({"NO_PROXY": "a.example", "no_proxy": "b.example"}, "a.example,", "b.example,"),
    ],
)
def test_who_is_called_without_a_proxy_stays_so(before: dict[str, str], capitals: str, small: str) -> None:
    environment = dict(before)
    assert stand_alone(environment) == [], "no proxy, nothing to type"
    here = "127.0.0.1,localhost,::1"
    assert environment == {"NO_PROXY": f"{capitals}{here}", "no_proxy": f"{small}{here}"}


def test_what_another_terminal_needs_first() -> None:
    environment = {"AUTOMATOR_STATE": "s", "AUTOMATOR_REPOS__a-b__URL": "u", "Automator_Config": "c"}
    environment |= {"AUTOMATOR": "/bin/automator", "http_proxy": REFUSES, "NO_PROXY": "a b"}
    direct = "'a b,127.0.0.1,localhost,::1'"
    assert stand_alone(environment) == [
        "unset AUTOMATOR_STATE Automator_Config",  # the third is a name that no shell exports
        f"export NO_PROXY={direct} no_proxy={direct}",
    ]
    assert environment.keys() == {"AUTOMATOR", "http_proxy", "NO_PROXY", "no_proxy"}
    everywhere = {"http_proxy": REFUSES, "no_proxy": "*"}
    assert stand_alone(everywhere) == []
    assert everywhere["NO_PROXY"] == everywhere["no_proxy"] == "*", "with more, `*` is nothing to curl"


@pytest.mark.parametrize(
    ("fails", "last", "told"),
    [
        (
            "push --porcelain",
            "$ automator once",
            "\nThe demo ends here: `automator once` ended with exit code 1, and says why above.\n",
        ),
        ("pull", "$ automator once", "automator: git pull failed"),
        ("init", "", "automator: git init failed"),
    ],
    ids=["a command", "a person's git", "the first of all"],
)
def test_a_step_that_fails_ends_the_story(nowhere: World, fails: str, last: str, told: str) -> None:
    programs = nowhere.root / "bin"
    programs.mkdir()
    real = shutil.which("git")
    (programs / "git").write_text(
        f'#!/bin/sh\ncase " $* " in *" {fails} "*) echo "fatal: not today" >&2; exit 128 ;; esac\n'
        f'exec {real} "$@"\n'
    )
    (programs / "git").chmod(0o755)
    done = nowhere.run("demo", env={"PATH": f"{programs}:{os.environ['PATH']}"})
    assert done.code == 1
    assert told in done.err
    assert "Traceback" not in done.out + done.err
    shown = [line.strip() for line in done.out.splitlines() if line.strip().startswith("$ ")]
    assert "".join(shown[-1:]) == last
    nothing_left(nowhere)


@pytest.mark.slow
@pytest.mark.parametrize("exported", [False, True], ids=["alone", "beside another"])
def test_kept_running_until_ctrl_c(nowhere: World, exported: bool) -> None:
    strange = nowhere.root / "strange"
    theirs = {"AUTOMATOR_CONFIG": "/nonexistent", "AUTOMATOR_STATE": str(strange), **PROXIES}
    environment = theirs if exported else {}
    with nowhere.start("demo", "--keep", env=environment) as demo:
        demo.until(lambda: "Ctrl-C ends the daemon" in demo.text, "the invitation to play")
        shown = re.search(r"^ +cd (\S+)$", demo.text, re.MULTILINE)
        assert shown is not None
        folder = Path(shown[1])
        log = folder / "daemon.log"
        demo.until(lambda: log.exists() and "cycle shop: " in log.read_text(), "a cycle of the daemon")
        dashboard = re.search(r"^The dashboard is at (http://127\.0\.0\.1:\d+/)$", demo.text, re.MULTILINE)
        assert dashboard is not None
        with build_opener(ProxyHandler({})).open(dashboard[1], timeout=20) as answer:
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
        # What is printed to be typed elsewhere works as it is printed, in a terminal like that of the demo.
        *typed, tail = re.findall(
            r"^ {4}(\S.*)$", demo.text.partition("In another terminal:\n")[2], re.MULTILINE
        )
        assert [line.split()[0] for line in typed[-6:]] == ["cd", *["automator"] * 3, "git", sys.executable]
        assert tail == "tail -f daemon.log"
        terminal = ["sh", "-e", "-c", "\n".join(typed)]
        there = {**os.environ, **environment}
        done = subprocess.run(terminal, cwd=nowhere.root, env=there, capture_output=True, check=False)
        assert done.returncode == 0, done
        demo.until(lambda: "1.4.4 -> 1.4.5" in log.read_text(), "the release of what was pushed")
        assert "Ctrl-C ends" in demo.text.splitlines()[-1], "the log does not push away what there is to type"
        assert demo.end(signal.SIGINT) == 0
        assert "Traceback" not in demo.text
    assert not strange.exists()
    nothing_left(nowhere)


def test_interrupted_on_its_way_leaves_nothing(nowhere: World) -> None:
    with nowhere.start("demo") as demo:
        demo.until(lambda: "$ automator plan" in demo.text, "the second step")
        assert demo.end(signal.SIGINT) == 130
        assert "Traceback" not in demo.text
    nothing_left(nowhere)
