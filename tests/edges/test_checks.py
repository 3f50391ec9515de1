"""Commands and key files of the config: bounded, clean, and ended with all that they started."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from parts.registry import wait_until

from automator.edges.checks import Commands, ImageCommand, read_key
from automator.edges.secretfile import FILE_LIMIT
from automator.errors import CheckError

DIGEST = "sha256:" + "0a" * 32
IMAGE = "ghcr.io/acme/web"


def script(folder: Path, text: str) -> Path:
    file = folder / "check"
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)
    return file


def run(*argv: str | Path, seconds: float = 20, environ: dict[str, str] | None = None) -> int:
    command = ImageCommand("ours", tuple(map(str, argv)), seconds, os.environ if environ is None else environ)
    return command.ask(IMAGE, DIGEST, threading.Event())


def refusal(*argv: str | Path, seconds: float = 20) -> str:
    with pytest.raises(CheckError) as caught:
        run(*argv, seconds=seconds)
    assert caught.value.reason.code == "signature/command"
    return caught.value.reason.sentence


def printing(folder: Path, text: str) -> tuple[Path, Path]:
    """A script whose output goes into a file, and that file."""
    said = folder / "said"
    return script(folder, f"exec > {said}\n{text}"), said


def test_image_and_digest_are_filled_in_whole_and_within_words(tmp_path: Path) -> None:
    check, said = printing(tmp_path, 'printf "%s|" "$@"')
    for words, filled in (
        (("verify", "{image}@{digest}"), f"verify|{IMAGE}@{DIGEST}|"),
        (("{image}",), f"{IMAGE}|"),
        (("@{digest}",), f"@{DIGEST}|"),
        (("{tag} $HOME",), "{tag} $HOME|"),
    ):
        assert run(check, *words) == 0
        assert said.read_text() == filled


def test_the_number_it_ends_with_is_the_answer(tmp_path: Path) -> None:
    for number in (0, 1, 7, 123):
        assert run(script(tmp_path, f"echo no; exit {number}")) == number


@pytest.mark.parametrize("number", [124, 125, 126, 127, 128, 137, 255])
def test_a_number_that_says_that_nothing_was_checked_is_no_answer(tmp_path: Path, number: int) -> None:
    assert refusal(script(tmp_path, f"exit {number}")).endswith(
        f"it ended with {number}, so nothing was checked"
    )


def test_little_of_our_environment_is_given(tmp_path: Path) -> None:
    environ = {"PATH": os.environ["PATH"], "HOME": "/home/ann", "AUTOMATOR_TOKEN": "s3cret", "LD_PRELOAD": ""}
    check, said = printing(tmp_path, "env | cut -d= -f1 | sort | tr '\\n' ' '")
    run(check, environ=environ)
    assert said.read_text().split() == ["HOME", "PATH", "PWD"]


def test_one_that_talks_without_end_is_not_heard(tmp_path: Path) -> None:
    assert run(script(tmp_path, "head -c 3000000 /dev/zero; echo s3cret >&2; exit 3")) == 3


@pytest.mark.parametrize("how", ["exec sleep 600", "exec 1>&- 2>&-; sleep 600"])
def test_one_that_hangs_is_killed_with_its_children(tmp_path: Path, how: str) -> None:
    pid = tmp_path / "pid"
    check = script(tmp_path, f"sleep 601 & echo $! > {pid}.new; mv {pid}.new {pid}\n{how}")
    assert refusal(check, seconds=1).endswith("it did not end within 1 seconds, so it was killed")
    assert_ended(int(pid.read_text()))


def test_a_child_that_is_left_over_is_ended_and_not_waited_for(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    assert run(script(tmp_path, f"sleep 601 & echo $! > {pid}; exit 0")) == 0
    assert_ended(int(pid.read_text()))


def assert_ended(pid: int) -> None:
    def ended() -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except (FileNotFoundError, ProcessLookupError):
            return True

    wait_until(ended, f"the end of {pid}")


def test_one_that_cannot_be_started_or_is_killed_tells_nothing(tmp_path: Path) -> None:
    assert "it cannot be started: No such file" in refusal(tmp_path / "nothing")
    (tmp_path / "check").write_text("#!/bin/sh\n")
    assert "it cannot be started: Permission denied" in refusal(tmp_path / "check")
    assert refusal(script(tmp_path, "kill -9 $$")).endswith("it was ended by signal 9")


def test_so_many_run_at_once_and_none_after_the_end(tmp_path: Path) -> None:
    check = script(tmp_path, f'mkdir {tmp_path}/"$1"; exec sleep 600')
    commands = Commands(at_once=2)
    slow = [ImageCommand("ours", (str(check), f"run{i}", DIGEST), 60, os.environ) for i in range(3)]
    answers = [commands.submit(command, IMAGE, DIGEST) for command in slow]
    wait_until(lambda: len(list(tmp_path.glob("run*"))) == 2, "two commands running")
    commands.close()
    assert answers[2].cancelled()
    for answer in answers[:2]:
        with pytest.raises(CheckError):
            answer.result(20)
    assert len(list(tmp_path.glob("run*"))) == 2


def test_a_key_file_is_read_within_bounds(tmp_path: Path) -> None:
    file = tmp_path / "cosign.pub"
    for content, words in ((None, "No such file"), (b"x" * (FILE_LIMIT + 1), "longer than")):
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(CheckError) as caught:
            read_key("ours", str(file))
        assert caught.value.reason.code == "signature/key"
        assert words in caught.value.reason.sentence
    file.write_bytes(b"key")
    assert read_key("ours", str(file)) == b"key"
