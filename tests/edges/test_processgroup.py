"""A process that inherits orphans, as a container's first one does, keeps no zombie of what it had run."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from automator.edges.checkout.git import Ending, Git
from automator.edges.checks.commands import NothingCheckedError, run_to_end
from automator.edges.registry.programs import ask_helper
from automator.errors import CheckoutError, RegistryError

PR_SET_CHILD_SUBREAPER = 36
LEAVES_TWO = "sleep 600 | sleep 600"


def _children() -> dict[int, str]:
    """State by number of this process's children, of all threads."""
    found = {}
    for listing in Path("/proc/self/task").glob("*/children"):
        for number in map(int, listing.read_text().split()):
            state = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
            found[number] = state
    return found


def commands(_folder: Path) -> None:
    """Checks that hang, that are told to stop, and that end well while a child goes on."""
    environ = dict(os.environ)
    for script in (f"({LEAVES_TWO}) & {LEAVES_TWO}", LEAVES_TWO):
        with pytest.raises(NothingCheckedError):
            run_to_end(["sh", "-c", script], 0.2, environ, threading.Event())
    stopping = threading.Event()
    stopping.set()
    with pytest.raises(NothingCheckedError):
        run_to_end(["sh", "-c", LEAVES_TWO], 20, environ, stopping)
    for script, number in ((f"({LEAVES_TWO}) & exit 0", 0), ("sh -c 'sleep 0.01 & exit 3' & exit 1", 1)):
        assert run_to_end(["sh", "-c", script], 20, environ, threading.Event()) == number


def _end_what_is_left(go: Path) -> None:
    """Let a child end that waits for a word, which it must be able to do."""
    assert set(_children().values()) - {"Z"}
    go.write_text("on\n")
    until = time.monotonic() + 20
    while set(_children().values()) - {"Z"} and time.monotonic() < until:
        time.sleep(0.01)


def helpers(folder: Path) -> None:
    """Credential helpers that babble, that answer while an agent of theirs goes on, and that hang."""
    go = folder / "go"
    os.mkfifo(go)
    scripts = {
        "babbles": "yes | cat",
        "leaves": f"(read word < {go}) & echo '{json.dumps({'Username': 'ann', 'Secret': 'p'})}'",
        "hangs": LEAVES_TWO,
    }
    for name, script in scripts.items():
        program = folder / f"docker-credential-{name}"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    os.environ["PATH"] = f"{folder}:{os.environ['PATH']}"
    with pytest.raises(RegistryError):
        ask_helper("babbles", "ghcr.io", 20)
    found = ask_helper("leaves", "ghcr.io", 20)
    assert found is not None
    assert found.username == "ann"
    _end_what_is_left(go)
    with pytest.raises(RegistryError):
        ask_helper("hangs", "ghcr.io", 0.3)


def git_processes(folder: Path) -> None:
    """A git process that takes too long, one that is ended, and one that ends well while a child goes on."""
    kept = os.open(os.devnull, os.O_RDONLY)

    def run(script: str, deadline: float = 20) -> int:
        git = Git(folder, deadline=deadline, kept_fd=kept)
        return git.run("a step", "slow", settings=(("alias.slow", f"!{script}"),)).status

    with pytest.raises(CheckoutError):
        run(LEAVES_TWO, 0.2)
    git = Git(folder, deadline=20, kept_fd=kept)
    hanging = git.start("a step", "slow", settings=(("alias.slow", f"!{LEAVES_TWO}"),))
    with hanging as one:
        one.end(Ending.STOP)
        with pytest.raises(CheckoutError):
            one.status()
    go = folder / "go"
    os.mkfifo(go)
    assert run(f"(read word < {go}) </dev/null >/dev/null 2>&1 & exit 0") == 0
    _end_what_is_left(go)
    assert run("exit 0") == 0


STORIES = {"commands": commands, "helpers": helpers, "git": git_processes}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has subreapers")
@pytest.mark.parametrize("story", STORIES)
def test_nothing_that_was_run_stays_a_zombie_of_who_inherits_orphans(story: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, __file__, story, str(tmp_path)],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {}


if __name__ == "__main__":
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    STORIES[sys.argv[1]](Path(sys.argv[2]))
    print(json.dumps({str(number): state for number, state in _children().items()}))
