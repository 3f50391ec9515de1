"""Clones of commands beside a daemon: below the state folder, for as long as the command lasts."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from parts.world import EmbeddedWorld

from automator.app import App
from automator.app.passing import PASSING, clear_passing, passing_folder
from automator.config import load
from automator.edges.store import locked

LEFT = """
import sys, time
from pathlib import Path
from automator.app.passing import passing_folder

with passing_folder(Path(sys.argv[1])) as folder:
    (folder / "shop").mkdir()
    (folder / "shop" / "pack").write_text("much")
    print(folder, flush=True)
    time.sleep(60)
"""


def folders(state: Path) -> list[Path]:
    return [path for path in (state / PASSING).iterdir() if path.is_dir()]


def test_a_command_beside_a_daemon_clones_below_the_state_folder(tmp_path: Path) -> None:
    """The temporary folder of our own container files has 64 MB, for all config repos together."""
    with EmbeddedWorld(tmp_path) as world:
        world.adopt("web")
        config = load(world.config, {}, require_repos=True)
        with App.open(config, exclusive=True), App.open(config, exclusive=False) as beside:
            checkout = beside.cycles["shop"].checkout
            checkout.fetch(checkout.ask_tip())
            (folder,) = folders(config.state)
            assert (folder / "shop" / "HEAD").exists()
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
            assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700
            with App.open(config, exclusive=False):
                assert len(folders(config.state)) == 2
            # One who reads finds its clone again; a second one at the same time gets a passing one.
            with App.open(config, exclusive=False, aside=True), App.open(config, exclusive=False, aside=True):
                assert len(folders(config.state)) == 2
            assert folders(config.state) == [folder]
        assert folders(config.state) == []


def test_where_the_state_folder_cannot_be_written_it_is_a_temporary_one(tmp_path: Path) -> None:
    (tmp_path / PASSING).write_text("in the way")
    with passing_folder(tmp_path) as folder:
        assert folder.is_dir()
        assert folder.parent == Path(tempfile.gettempdir())
    assert not folder.exists()
    clear_passing(tmp_path)
    assert (tmp_path / PASSING).read_text() == "in the way"


@pytest.mark.parametrize("by", ["the next command", "the daemon"])
def test_what_a_killed_command_left_is_removed_and_a_living_one_keeps_its_folder(
    tmp_path: Path, by: str
) -> None:
    def command() -> tuple[subprocess.Popen[str], Path]:
        started = subprocess.Popen(
            [sys.executable, "-c", LEFT, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        assert started.stdout is not None
        return started, Path(started.stdout.readline().strip())

    killed, left = command()
    living, kept = command()
    with killed, living:
        killed.kill()
        killed.wait()
        assert (left / "shop" / "pack").exists()
        if by == "the daemon":
            clear_passing(tmp_path)
        else:
            with passing_folder(tmp_path):
                assert len(folders(tmp_path)) == 2
        assert folders(tmp_path) == [kept]
        assert (kept / "shop" / "pack").read_text() == "much"
        living.send_signal(signal.SIGINT)
    assert folders(tmp_path) == []


def test_the_daemon_clears_at_its_start(tmp_path: Path) -> None:
    with EmbeddedWorld(tmp_path) as world:
        config = load(world.config, {}, require_repos=True)
        left = config.state / PASSING / "1-x"
        left.mkdir(parents=True)
        with App.open(config, exclusive=True):
            assert not left.exists()


def test_it_waits_a_while_for_who_is_clearing_and_then_goes_elsewhere(tmp_path: Path) -> None:
    below = tmp_path / PASSING
    below.mkdir()
    guard = locked(below)
    with passing_folder(tmp_path, patience=0.2) as folder:
        assert below not in folder.parents
    os.close(guard)
    with passing_folder(tmp_path) as folder:
        assert below in folder.parents


def test_many_at_once_take_nothing_from_each_other(tmp_path: Path) -> None:
    def use(number: int) -> bool:
        with passing_folder(tmp_path) as folder:
            (folder / "mine").write_text(str(number))
            clear_passing(tmp_path)
            return (folder / "mine").read_text() == str(number) and tmp_path in folder.parents

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(use, range(100)))
    assert folders(tmp_path) == []
