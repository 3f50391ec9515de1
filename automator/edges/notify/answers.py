"""What a receiver says to a message, and the files that hold addresses and secrets."""

from __future__ import annotations

import os
import stat
from enum import Enum
from typing import NamedTuple, Protocol

from automator.core.noticetext import Message
from automator.reasons import one_line

_LONGEST = 64 * 1024


class Result(Enum):
    """What became of a message."""

    SENT = "sent"
    LATER = "later"
    """It was not taken; another try may help."""
    NEVER = "never"
    """It will never be taken."""


class Answer(NamedTuple):
    """What became of a message, in words without secrets."""

    result: Result
    words: str
    wait: float | None = None
    """Seconds after which the receiver wants to be tried again, where it says so."""


class Receiver(Protocol):
    """Somebody who is told; of one thread at a time."""

    @property
    def takes_single_items(self) -> bool:
        """Whether every item goes in a message of its own."""

    def send(self, message: Message) -> Answer:
        """Send once, within the time limit. Never raises what sending can meet."""


class UnusableFile(Exception):
    """Why a file is of no use, as words that follow its path. Holds nothing of what is in it."""


def read_lines(path: str) -> tuple[str, ...]:
    """The lines of a file that say something. Raises UnusableFile where there is none."""
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise UnusableFile("it is no regular file")
            content = file.read(_LONGEST + 1)
    except OSError as error:
        raise UnusableFile(one_line(error.strerror or "it cannot be read", 80)) from None
    if len(content) > _LONGEST:
        raise UnusableFile(f"it is longer than {_LONGEST} bytes")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeError:
        raise UnusableFile("it is no UTF-8 text") from None
    lines = tuple(line.strip() for line in text.splitlines() if line.strip())
    if not lines:
        raise UnusableFile("it is empty")
    return lines


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # a pipe that nobody writes to must not hold us
