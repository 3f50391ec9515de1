"""Secret files: a token or a key, read when it is used."""

from __future__ import annotations

import os
import stat

from automator.errors import ForgeError
from automator.reasons import one_line, reason

FILE_LIMIT = 64 * 1024  # bytes; far more than any token or key has


def read_token(host: str, path: str) -> str:
    """The token in a file, without the white space around it. Raises ForgeError (`forge/secret`)."""
    token = read_secret(host, path).strip()
    if not token:
        raise unusable(host, path, "it is empty")
    if not token.isascii() or not token.isprintable() or " " in token:
        raise unusable(host, path, "it holds characters that no token has")
    return token


def read_secret(host: str, path: str) -> str:
    """The text of a regular file. Raises ForgeError (`forge/secret`)."""
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise unusable(host, path, "it is no regular file")
            content = file.read(FILE_LIMIT + 1)
    except OSError as e:
        raise unusable(host, path, one_line(e.strerror or "it cannot be read")) from e
    if len(content) > FILE_LIMIT:
        raise unusable(host, path, f"it is longer than {FILE_LIMIT} bytes")
    try:
        return content.decode("utf-8-sig")
    except UnicodeError:
        # Not chained: the error carries the bytes, and they may be the secret's.
        raise unusable(host, path, "it is no UTF-8 text") from None


def unusable(host: str, path: str, problem: str) -> ForgeError:
    return ForgeError(reason("forge/secret", host=host, file=path, problem=problem), retry=False)


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # a pipe that nobody writes to must not hold us
