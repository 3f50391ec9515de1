"""Shell completion, asked by a real bash as at a press of the key."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys

import pytest
from parts.launching import PROGRAM

from automator.cli.commands import COMMANDS
from automator.cli.completing import SHELLS

HEAVY = ("pydantic", "requests", "git", "ruamel", "starlette", "sqlite3", "docker", "jinja2")


def completed(line: str) -> list[str]:
    """What bash offers for the last word of a line: the script's function, called as bash calls it."""
    words = [*shlex.split(line), *([""] if line.endswith(" ") else [])]
    script = (
        'eval "$(automator completion bash)"\n'
        f"COMP_WORDS=({shlex.join(words)}); COMP_CWORD={len(words) - 1}; COMP_LINE={shlex.quote(line)}\n"
        'complete -p automator | grep -q -- "-F _automator_completion"\n'
        f"_automator_completion automator {shlex.quote(words[-1])} {shlex.quote(words[-2])}\n"
        'printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    done = subprocess.run(
        ["bash", "--norc", "-eu", "-c", script],
        env={**os.environ, "PATH": f"{PROGRAM.parent}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("automator ", sorted(str(command.name) for command in COMMANDS)),
        ("automator ro", ["rollback"]),
        ("automator completion ", list(SHELLS)),
        ("automator plan --exit", ["--exit-code"]),
        ("automator --output ", ["table", "json", "csv"]),
    ],
    ids=["commands", "one command", "arguments", "options", "values of options"],
)
def test_bash_completes(line: str, offered: list[str]) -> None:
    assert sorted(completed(line)) == sorted(offered)


@pytest.mark.needs("fish", "zsh")
@pytest.mark.parametrize("shell", SHELLS)
def test_each_shell_has_a_script_that_it_takes(shell: str) -> None:
    done = subprocess.run(
        [PROGRAM, "completion", shell], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "_AUTOMATOR_COMPLETE" in done.stdout
    read = subprocess.run(
        [shell, "-n"], input=done.stdout, capture_output=True, text=True, timeout=60, check=False
    )
    assert (read.returncode, read.stderr) == (0, "")


def test_an_answer_loads_nothing_that_only_work_needs() -> None:
    asked = {"_AUTOMATOR_COMPLETE": "bash_complete", "COMP_WORDS": "automator explain --", "COMP_CWORD": "2"}
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "automator"],
        env={**os.environ, **asked}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert "plain,--tags-file" in done.stdout
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert loaded.isdisjoint(HEAVY)
    assert "click" in loaded
