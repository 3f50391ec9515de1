"""The tutorial is run as it stands: docs/getting-started.md, command by command, with what it shows.

Only the address of the config repo, the registry (ours speaks plain HTTP) and the hashes are ours. A `text`
block shows lines of what the command block above it prints; they are looked for in the order of the page.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from parts.gitserver import BareRepo, git
from parts.world import EmbeddedWorld, World, deployment

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "getting-started.md"
URL = "https://git.example.com/acme/shop-config.git"
FENCE = re.compile(r"^```(sh|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# Not run here: what is installed comes from a package index; tests/slow/test_dist.py installs it.
INSTALLS = "python3 -m venv"
# Not run here: it goes on until somebody ends it; that one is started below.
GOES_ON = ("automator run",)


class Step(NamedTuple):
    """A command block and what the page shows of its output."""

    commands: tuple[str, ...]
    shown: tuple[str, ...]


def steps() -> list[Step]:
    """The blocks of the page, up to its reference half."""
    found: list[Step] = []
    tutorial = PAGE.read_text().partition("\n## What is proposed")[0]
    for kind, text in FENCE.findall(tutorial):
        lines = tuple(line for line in text.splitlines() if line.strip())
        if kind == "sh":
            found.append(Step(lines, ()))
        else:
            found[-1] = found[-1]._replace(shown=(*found[-1].shown, *lines))
    return found


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """The registry and the config repo that the page speaks of, and nothing configured."""
    with EmbeddedWorld(tmp_path) as made:
        made.config.unlink()
        made.repo = BareRepo.create(made.root / "git" / "shop-config.git")
        made.push("web", "1.4.2", "1.4.3", "2.0.0")
        made.repo.commit({"apps/web.yaml": deployment(made.image("web", "1.4.2"))}, "Adopt")
        yield made


def run(world: World, line: str) -> str:
    """Run one line of the page; what it prints."""
    if not line.startswith("automator "):
        done = subprocess.run(
            ["bash", "-e", "-c", line.replace(URL, str(world.repo.path))],
            cwd=world.root, env={**os.environ, **world.environment}, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        return done.stdout
    words = shlex.split(line, comments=True)[1:]
    insecure = ["--insecure", world.host] if words[0] == "init" else []
    return world.run(*words, *insecure).fine().out


def pattern(line: str) -> str:
    """A line of the page as a pattern: hashes, `…` and the width of columns may differ."""
    text = re.escape(re.sub(r"\s+", " ", line.strip()))
    text = re.sub(r"\b[0-9a-f]{7,40}\b", "[0-9a-f]{7,40}", text).replace("…", ".+?")
    text = text.replace("2026\\-11\\-20\\ 10:30", r"[\d-]+\ [\d:]+")
    return text.replace("\\ ", r"\s+")


def test_the_tutorial_does_what_it_says(world: World) -> None:
    printed = []
    for step in steps():
        if step.commands[0].startswith(INSTALLS):
            continue
        said = "".join(run(world, line) for line in step.commands if not line.startswith(GOES_ON))
        said = said.replace(f"{world.host}/acme", "ghcr.io/acme")
        printed.append(said)
        at = 0
        for line in step.shown:
            found = re.compile(pattern(line)).search(said, at)
            assert found, f"{line!r} is shown for {step.commands}, which print(s)\n{said}"
            at = found.end()
    assert printed
    assert "1.4.3" in world.repo.read("apps/web.yaml"), "at the end the release is there"
    checkout = git(world.root / "shop-config", "rev-parse", "HEAD")
    assert checkout == world.repo.tip(), "the reader can go on in the checkout"


def test_the_tutorial_has_install_release_rollback_and_hold() -> None:
    """What a first hour needs, in this order."""
    commands = [line for step in steps() for line in step.commands]
    first = [line.split()[1] for line in commands if line.startswith("automator ")]
    wanted = ["init", "plan", "once", "rollback", "accept", "hold", "resume", "run"]
    assert [name for name in first if name in wanted and name != "once"] == [n for n in wanted if n != "once"]
    assert "once" in first
    assert commands[0].startswith(INSTALLS)


def test_a_tutorial_that_shows_something_else_is_noticed() -> None:
    shown = pattern("web  held  1.4.2  was 1.4.3 until … set 1.4.2 in abc1234")
    assert re.search(shown, "web   held   1.4.2 was 1.4.3 until Ann set 1.4.2 in 0123abc")
    assert not re.search(shown, "web   held   1.4.2 was 1.4.4 until Ann set 1.4.2 in 0123abc")
