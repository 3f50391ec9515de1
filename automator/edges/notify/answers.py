"""What a receiver says to a message, and the files that hold addresses and secrets."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple, Protocol

from automator.core.noticetext import Message
from automator.edges.secretfile import UnusableFile, read_text


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


def read_lines(path: str) -> tuple[str, ...]:
    """The lines of a file that say something. Raises UnusableFile where there is none."""
    lines = tuple(line.strip() for line in read_text(path).splitlines() if line.strip())
    if not lines:
        raise UnusableFile("it is empty")
    return lines
