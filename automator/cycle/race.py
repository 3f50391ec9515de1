"""How often a commit is made anew where others push first: several times at least, and for a while."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

LEAST = 5
"""Tries, however long they take."""
MOST = 25
"""Tries, however quick they are."""
LASTS = timedelta(seconds=10)
"""After the first try; quick ones go on as long, since one that is lost costs little and a long wait much."""


def tries(clock: Callable[[], datetime]) -> Iterator[int]:
    """The number of each try that may begin now, from 0; whoever was first stops asking."""
    yield 0
    began = clock()
    for number in range(1, MOST):
        if number >= LEAST and clock() - began >= LASTS:
            return
        yield number
