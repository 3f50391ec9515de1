"""What tests execute by a fork is what people execute by the script: the same words, the same end."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from parts import launching
from parts.world import processes, until


@pytest.mark.parametrize(
    ("arguments", "feed", "code"),
    [
        (["set", "-", "--image", "web", "--to", "2"], b"image: web:1 # \xc3\xa9\r\n", 0),
        (["status", "--config", "nowhere.toml"], b"", 2),
    ],
)
def test_a_fork_and_the_script_say_the_same(
    tmp_path: Path, arguments: list[str], feed: bytes, code: int
) -> None:
    script = subprocess.run(
        [launching.PROGRAM, *arguments], cwd=tmp_path, input=feed, capture_output=True, check=False
    )
    fork = launching.execute(arguments, cwd=tmp_path, env=os.environ, feed=feed)
    assert (fork.returncode, fork.stdout, fork.stderr) == (code, script.stdout, script.stderr)
    assert script.returncode == code
    assert fork.stdout + fork.stderr


def test_what_python_reads_at_its_start_is_given_to_the_script(tmp_path: Path) -> None:
    asked = {**os.environ, "PYTHONVERBOSE": "1"}
    assert b"import 'site'" in launching.execute(["--version"], cwd=tmp_path, env=asked).stderr


def test_folder_and_variables_are_those_of_one_execution(tmp_path: Path) -> None:
    (tmp_path / "odd").mkdir()
    told = launching.execute(
        ["status"], cwd=tmp_path / "odd", env={**os.environ, "AUTOMATOR_CONFIG": "first.toml"}
    )
    assert b"first.toml" in told.stderr
    assert b"first.toml" not in launching.execute(["status"], cwd=tmp_path, env=os.environ).stderr


def test_what_does_not_end_is_ended(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(
        'state = "state"\n[repos.shop]\nurl = "nowhere.git"\n[daemon]\nlisten = ""\n'
    )
    with pytest.raises(subprocess.TimeoutExpired):
        launching.execute(["run"], cwd=tmp_path, env=os.environ, timeout=0.5)
    until(lambda: not processes(mentioning=str(tmp_path)), "the end of the daemon")
