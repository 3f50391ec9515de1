"""SIGKILL at any moment: started again, the clone is whole and every release is there exactly once."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from parts.gitserver import git
from parts.world import EmbeddedWorld, World, processes, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

MOMENTS = 50
SLICE = 10
"""Moments of one test, so that they run on several cores."""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with EmbeddedWorld(tmp_path) as made:
        made.push("web", "1.0.0")
        made.adopt("web")
        yield made


class Wrapper:
    """A program named `git`, first on PATH, that runs the real one between two scripts of the test.

    `$PPID` in them is the process that started git: automator.
    """

    def __init__(self, world: World) -> None:
        self.begun = world.root / "begun"
        self._file = world.root / "bin" / "git"
        self._file.parent.mkdir()
        self._real = shutil.which("git")
        self._path = f"{self._file.parent}:{Path(shutil.which('env') or '/usr/bin/env').parent}"
        self.write()

    def write(self, *, before: str = ":", after: str = ":") -> None:
        self._file.write_text(
            f'#!/bin/sh\ntouch "{self.begun}"\n{before}\n'
            f'"{self._real}" "$@"\nstatus=$?\n{after}\nexit $status\n'
        )
        self._file.chmod(0o755)

    def killing_after(self, command: str) -> None:
        """Automator is killed right after this git command has ended."""
        self.write(after=f'[ "$1" != {command} ] || kill -KILL $PPID')

    @property
    def environment(self) -> dict[str, str]:
        return {"PATH": f"{self._path}:/usr/local/bin:/usr/bin:/bin"}

    def disturbed(self, world: World) -> int:
        """A cycle that is to be killed on its way; its exit code."""
        with world.start("once", env=self.environment) as running:
            return running.process.wait(120)


def started_again(world: World, versions: list[str]) -> None:
    """What must hold after the next start: the promise of the whole file."""
    until(lambda: not processes(mentioning=str(world.state)), "the end of what was left behind")
    done = world.run("once")
    assert done.code == 0, done.err
    assert git(world.state / "repos" / "shop", "fsck", "--full", "--no-dangling", "--no-progress") == ""
    assert git(world.repo.path, "fsck", "--full", "--no-dangling", "--no-progress") == ""
    assert world.repo.log() == [f"Release web {version}" for version in reversed(versions)] + ["Adopt"]
    assert world.version("web") == versions[-1]
    assert "damaged" not in done.err


def cycle_time(world: World, wrapper: Wrapper, version: str) -> float:
    """Seconds from an undisturbed cycle's first git process to its end."""
    world.push("web", version)
    with world.start("once", env=wrapper.environment) as running:
        running.until(wrapper.begun.exists, "the first git process")
        began = time.monotonic()
        assert running.process.wait(120) == 0
    wrapper.begun.unlink()
    return time.monotonic() - began


@pytest.mark.parametrize("first", range(0, MOMENTS, SLICE))
def test_killed_at_moments_spread_over_a_cycle(world: World, first: int) -> None:
    wrapper = Wrapper(world)
    versions = ["1.0.1"]
    whole = cycle_time(world, wrapper, versions[0])
    killed = 0
    for number in range(first, first + SLICE):
        versions.append(f"1.1.{number}")
        world.push("web", versions[-1])
        if number % 5 == 0:  # the first cycle of all makes the clone
            shutil.rmtree(world.state)
        with world.start("once", env=wrapper.environment) as running:
            running.until(wrapper.begun.exists, "the first git process")
            try:
                running.process.wait(whole * number / MOMENTS)
            except subprocess.TimeoutExpired:
                running.process.kill()
                killed += running.process.wait() != 0
        started_again(world, versions)
        wrapper.begun.unlink()
    assert killed > 0 or first > MOMENTS / 2, "no cycle was hit on its way"


@pytest.mark.parametrize("step", ["init", "ls-remote", "fetch", "cat-file", "fast-import", "push"])
def test_killed_right_after_a_step(world: World, step: str) -> None:
    wrapper = Wrapper(world)
    wrapper.killing_after(step)
    world.push("web", "1.1.0")
    assert wrapper.disturbed(world) == -9
    started_again(world, ["1.1.0"])

    # The same with a clone that is there, and a commit of somebody else to be fetched.
    world.repo.commit({"notes.txt": "somebody"}, "Adopt")
    world.push("web", "1.2.0")
    if wrapper.disturbed(world) == 0:
        assert step == "init", "a clone is made once"
    world.run("once").fine()
    assert world.repo.log() == ["Release web 1.2.0", "Adopt", "Release web 1.1.0", "Adopt"]


KILL = 'kill -KILL "$(cat killed)"'


@pytest.mark.parametrize(
    ("hook", "lands"),
    [
        pytest.param(lambda p: f"{KILL}", True, id="taken"),
        pytest.param(lambda p: f"{KILL}\nexit 1", False, id="refused"),
        pytest.param(lambda p: f"{KILL}\nkill -KILL $PPID", False, id="server-gone"),
    ],
)
@pytest.mark.parametrize("name", ["pre-receive", "update", "post-receive"])
def test_killed_when_the_push_is_sent_and_not_answered(
    world: World, name: str, hook: Callable[[World], str], lands: bool
) -> None:
    """Whatever becomes of the push that is under way, the next start finds out from Git."""
    wrapper = Wrapper(world)
    pid = world.repo.path / "killed"
    wrapper.write(before=f'[ "$1" != push ] || echo $PPID >"{pid}"')
    installed = world.repo.hook(name, hook(world))
    world.push("web", "1.1.0")
    assert wrapper.disturbed(world) == -9
    until(lambda: not processes(mentioning=str(world.state)), "the end of what was left behind")
    assert (world.version("web") == "1.1.0") == (lands or name == "post-receive")
    installed.unlink()
    if name == "update" and not lands:
        # The server has the commit, but not on the branch: just as if a person had taken it back.
        world.run("once").fine()
        assert world.repo.log() == ["Adopt"]
        assert "history/rewound" in world.run("status", "--output", "json").out
        world.run("accept", "web", "1.1.0").fine()
        world.run("once").fine()
        assert world.version("web") == "1.1.0"
        return
    started_again(world, ["1.1.0"])


def test_the_daemon_killed_and_started_again_goes_on(world: World) -> None:
    world.configure(daemon='listen = ""\ninterval = "1s"')
    versions = []
    for number in range(1, 4):
        versions.append(f"1.{number}.0")
        with world.start("run") as daemon:
            daemon.until(daemon.cycles, "the first cycle")
            world.push("web", versions[-1])
            daemon.until(lambda: world.version("web") == versions[-1], "the release")
            daemon.process.kill()
    started_again(world, versions)
