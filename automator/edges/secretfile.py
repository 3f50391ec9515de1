"""Files of the config that hold secrets or keys: read whole at each use, and never waited for."""

from __future__ import annotations

import os
import stat
from codecs import BOM_UTF8
from pathlib import Path

from automator.reasons import one_line

FILE_LIMIT = 64 * 1024
"""Bytes; far more than any token or key has."""
LIST_LIMIT = 4 << 20
"""Bytes of files of which one holds many: known hosts, authorities, signers, logins of registries."""


class UnusableFile(Exception):
    """Why a file is of no use, as words that follow its path. Holds nothing of what is in it."""


def read_file(path: str | Path, limit: int = FILE_LIMIT) -> bytes:
    """The bytes of a regular file, at the most `limit`. Raises UnusableFile."""
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise UnusableFile("it is no regular file")
            content = file.read(limit + 1)
    except OSError as error:
        raise UnusableFile(one_line(error.strerror or "it cannot be read", 80)) from None
    except ValueError:  # a NUL in the name
        raise UnusableFile("its name is none that a file can have") from None
    if len(content) > limit:
        raise UnusableFile(f"it is longer than {limit} bytes")
    return content


def read_text(path: str | Path, limit: int = FILE_LIMIT) -> str:
    """Its UTF-8 text, without a byte-order mark. Raises UnusableFile."""
    try:
        return read_file(path, limit).decode("utf-8-sig")
    except UnicodeError:
        # Not chained: the error carries the bytes, and they may be the secret's.
        raise UnusableFile("it is no UTF-8 text") from None


def read_lines(path: str | Path) -> tuple[bytes, ...]:
    """Its lines that hold something, without the white space around them. Raises UnusableFile where there is
    none."""
    content = read_file(path).removeprefix(BOM_UTF8)
    lines = tuple(line.strip() for line in content.splitlines() if line.strip())
    if not lines:
        raise UnusableFile("it is empty")
    return lines


def access_of_others(path: str | Path) -> str:
    """What everybody on this machine may do with a file: "read", "write" or "read and write".

    Empty for nothing: also where there is no such file, or it stands below a folder that others cannot enter.
    """
    place = os.path.realpath(path)
    try:
        mode = os.stat(place).st_mode
        if not stat.S_ISREG(mode):
            return ""
        is_shut_in = any(not os.stat(folder).st_mode & stat.S_IXOTH for folder in Path(place).parents)
    except (OSError, ValueError):
        return ""
    bits = {"read": stat.S_IROTH, "write": stat.S_IWOTH}
    return "" if is_shut_in else " and ".join(word for word, bit in bits.items() if mode & bit)


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # a pipe that nobody writes to must not hold us
