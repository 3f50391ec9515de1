"""Files that hold secrets: whatever lies in their place is told at once, in words without it."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from automator.edges.secretfile import FILE_LIMIT, UnusableFile, read_file, read_lines, read_text


def test_what_is_read_is_what_is_there_now(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_bytes(b"\xef\xbb\xbf one \r\n\r\n two\n")
    assert read_file(file) == b"\xef\xbb\xbf one \r\n\r\n two\n"
    assert read_text(str(file)) == " one \r\n\r\n two\n"
    assert read_lines(file) == (b"one", b"two")
    file.write_bytes(b"x" * FILE_LIMIT)
    assert len(read_file(file)) == FILE_LIMIT


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda file: None, "No such file"),
        (lambda file: os.mkfifo(file), "it is no regular file"),  # nobody writes to it: whoever waits, hangs
        (lambda file: file.mkdir(), "Is a directory"),
        (lambda file: file.symlink_to("/dev/zero"), "it is no regular file"),
        (lambda file: file.symlink_to(file), "symbolic links"),
        (lambda file: file.write_bytes(b"x" * (FILE_LIMIT + 1)), f"it is longer than {FILE_LIMIT} bytes"),
        (lambda file: file.write_bytes(b"hunter2\xff"), "it is no UTF-8 text"),
        (lambda file: file.write_bytes(b" \n\r\n"), "it is empty"),
    ],
)
def test_what_is_no_secret_is_said_without_waiting(
    tmp_path: Path, make: Callable[[Path], object], words: str
) -> None:
    file = tmp_path / "secret"
    make(file)
    with pytest.raises(UnusableFile) as caught:
        (read_lines if words == "it is empty" else read_text)(file)
    assert words in str(caught.value)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


def test_a_name_that_no_file_can_have_is_no_traceback() -> None:
    with pytest.raises(UnusableFile, match="none that a file can have"):
        read_file("to\0ken")
