"""A second writer who never rests: every release lands soon, nothing of theirs is lost, no merges."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from parts.gitserver import ENVIRONMENT, BareRepo, git
from parts.world import EmbeddedWorld, Running, World

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

SECONDS = 60.0
PACE = 0.2
CYCLES = 3


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with EmbeddedWorld(tmp_path) as made:
        made.push("web", "1.0.0")
        made.adopt("web")
        made.configure(daemon='listen = ""\ninterval = "2s"')
        yield made


class Writer(threading.Thread):
    """Somebody with a clone of their own, who commits and pushes by real git every 200 ms."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.done: list[str] = []
        self.lost = 0
        self.over = threading.Event()
        self._remote = world.repo.path
        git(world.root, "clone", "--quiet", "--bare", str(self._remote), str(world.root / "writer.git"))
        self._clone = BareRepo(world.root / "writer.git")

    def run(self) -> None:
        number = 0
        while not self.over.is_set():
            due = time.monotonic() + PACE
            number += 1
            self._write(number)
            self.over.wait(max(0.0, due - time.monotonic()))

    def _write(self, number: int) -> None:
        subject = f"Note {number}"
        while not self.over.is_set():
            git(self._clone.path, "fetch", "--quiet", str(self._remote), "+main:main")
            self._clone.commit({f"notes/{number}.txt": f"{number}\n"}, subject, author="Bob Busy")
            pushed = subprocess.run(
                ["git", "-C", str(self._clone.path), "push", "--quiet", str(self._remote), "main:main"],
                env={**os.environ, **ENVIRONMENT},
                capture_output=True,
                check=False,
            )
            if pushed.returncode == 0:
                self.done.append(subject)
                return
            self.lost += 1


def released_in(daemon: Running, version: str, cycles_before: int) -> int:
    """How many whole cycles the release of a version took, by the order of the log's lines."""

    def cycle() -> int | None:
        ended = 0
        for line in daemon.lines:
            if f"-> {version} in " in line["event"]:
                return ended
            ended += line["event"].startswith("cycle ")
        return None

    daemon.until(lambda: cycle() is not None, f"the release of {version}")
    found = cycle()
    assert found is not None
    return found - cycles_before  # the cycle that was under way when the tag came does not count


def test_every_release_lands_beside_a_writer_who_never_rests(world: World) -> None:
    versions = []
    with world.start("run") as daemon:
        daemon.until(daemon.cycles, "the first cycle")
        writer = Writer(world)
        writer.start()
        end = time.monotonic() + SECONDS
        try:
            while time.monotonic() < end:
                versions.append(f"1.1.{len(versions)}")
                before = len(daemon.cycles())
                world.push("web", versions[-1])
                assert released_in(daemon, versions[-1], before) <= CYCLES, daemon.text[-5000:]
        finally:
            writer.over.set()
            writer.join()
        assert daemon.end() == 0

    log = world.repo.log()
    assert [line for line in reversed(log) if line.startswith("Release")] == [
        f"Release web {version}" for version in versions
    ]
    assert [line for line in reversed(log) if line.startswith("Note")] == writer.done
    assert len(writer.done) > SECONDS, "the writer was busy"
    assert len(log) == len(versions) + len(writer.done) + 1 == len(world.repo.commits())
    assert git(world.repo.path, "rev-list", "--merges", "main") == ""
    assert git(world.repo.path, "fsck", "--full", "--no-dangling", "--no-progress") == ""
