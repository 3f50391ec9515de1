"""Commands and key files of the config: bounded, clean, and ended with all that they started."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from parts.registry import wait_until

from automator.edges.checks import KEY_LIMIT, Commands, Ended, ImageCommand, read_key
from automator.errors import CheckError

DIGEST = "sha256:" + "0a" * 32
IMAGE = "ghcr.io/acme/web"


def script(folder: Path, text: str) -> Path:
    file = folder / "check"
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)
    return file


def run(*argv: str | Path, seconds: float = 20, environ: dict[str, str] | None = None) -> Ended:
    command = ImageCommand("ours", tuple(map(str, argv)), seconds, os.environ if environ is None else environ)
    return command.ask(IMAGE, DIGEST, threading.Event())


def refusal(*argv: str | Path, seconds: float = 20) -> str:
    with pytest.raises(CheckError) as caught:
        run(*argv, seconds=seconds)
    assert caught.value.reason.code == "signature/command"
    return caught.value.reason.sentence


def test_image_and_digest_are_filled_in_whole_and_within_words(tmp_path: Path) -> None:
    check = script(tmp_path, 'printf "%s|" "$@"')
    assert run(check, "verify", "{image}@{digest}").words == f"verify|{IMAGE}@{DIGEST}|"
    assert run(check, "{image}").words == f"{IMAGE}|"
    assert run(check, "@{digest}").words == f"@{DIGEST}|"
    assert run(check, "{tag} $HOME").words == "{tag} $HOME|"


def test_the_number_it_ends_with_is_the_answer(tmp_path: Path) -> None:
    assert run(script(tmp_path, "exit 0")) == Ended(0, "")
    assert run(script(tmp_path, "echo; echo no; echo more; exit 7")) == Ended(7, "no")
    assert run(script(tmp_path, "echo to stderr >&2; exit 1")) == Ended(1, "to stderr")


def test_little_of_our_environment_is_given(tmp_path: Path) -> None:
    environ = {"PATH": os.environ["PATH"], "HOME": "/home/ann", "AUTOMATOR_TOKEN": "s3cret", "LD_PRELOAD": ""}
    said = run(script(tmp_path, "env | cut -d= -f1 | sort | tr '\\n' ' '"), environ=environ)
    assert said.words.split() == ["HOME", "PATH", "PWD"]


def test_what_may_be_a_secret_is_not_told(tmp_path: Path) -> None:
    token = "ghp_0123456789abcdefghijABCDEFGHIJ012345"
    said = run(
        script(tmp_path, f"echo 'no match for {DIGEST} with {token} at https://ann:pw@host/x'; exit 1")
    )
    assert said.words == f"no match for {DIGEST} with *** at https://***@host/x"


def test_one_that_talks_without_end_is_heard_so_far_and_no_further(tmp_path: Path) -> None:
    said = run(script(tmp_path, "head -c 3000000 /dev/zero | tr '\\0' x; exit 3"))
    assert said.code == 3
    assert len(said.words) <= 160


@pytest.mark.parametrize("how", ["exec sleep 600", "exec 1>&- 2>&-; sleep 600"])
def test_one_that_hangs_is_killed_with_its_children(tmp_path: Path, how: str) -> None:
    pid = tmp_path / "pid"
    check = script(tmp_path, f"sleep 601 & echo $! > {pid}.new; mv {pid}.new {pid}\n{how}")
    assert refusal(check, seconds=1).endswith("it did not end within 1 seconds, so it was killed")
    assert_ended(int(pid.read_text()))


def test_a_child_that_is_left_over_is_ended_and_not_waited_for(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    assert run(script(tmp_path, f"sleep 601 & echo $! > {pid}; exit 0")).code == 0
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
    for content, words in ((None, "No such file"), (b"x" * (KEY_LIMIT + 1), "more than")):
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(CheckError) as caught:
            read_key("ours", str(file))
        assert caught.value.reason.code == "signature/key"
        assert words in caught.value.reason.sentence
    file.write_bytes(b"key")
    assert read_key("ours", str(file)) == b"key"
