"""The file with the tokens that open API and dashboard: read at each use, and never believed when odd."""

from __future__ import annotations

import os
import stat
from codecs import BOM_UTF8

from automator.reasons import one_line

LEAST = 16
"""Characters that a token has at least: what is shorter can be guessed."""
_LONGEST = 64 * 1024


class UnusableTokens(Exception):
    """Why nobody can be let in, as words that follow `daemon.token_file`. Holds neither token nor path."""


def read_tokens(path: str) -> tuple[bytes, ...]:
    """The tokens of a file, one a line. Raises UnusableTokens where there is none, or one that is none."""
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise UnusableTokens("is no regular file")
            content = file.read(_LONGEST + 1)
    except FileNotFoundError:
        raise UnusableTokens("does not exist") from None
    except OSError as error:
        words = one_line(error.strerror or "unknown trouble", 80)
        raise UnusableTokens(f"cannot be read ({words})") from None
    if len(content) > _LONGEST:
        raise UnusableTokens(f"is longer than {_LONGEST} bytes")
    tokens = tuple(line.strip() for line in content.removeprefix(BOM_UTF8).splitlines() if line.strip())
    if not tokens:
        raise UnusableTokens("is empty")
    for token in tokens:
        if not all(0x21 <= byte <= 0x7E for byte in token):
            raise UnusableTokens("holds characters that no token has")
        if len(token) < LEAST:
            raise UnusableTokens(f"holds a token of less than {LEAST} characters")
    return tokens


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # a pipe that nobody writes to must not hold us
