"""Figures of a running daemon: what was measured, beside its yardstick, and the limit it is held to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple


class Figure(NamedTuple):
    """One figure."""

    name: str
    measured: str
    yardstick: str
    """What it is measured beside, in the same run; empty where the limit stands for itself."""
    judged: float | None
    """What the limit is about, in its unit; None for a figure that is recorded without one."""
    limit: float | None
    unit: str = "x"
    note: str = ""

    @property
    def missed(self) -> bool:
        return self.judged is not None and self.limit is not None and self.judged > self.limit


class Scale(NamedTuple):
    """How much is measured."""

    files: int
    images: int
    workloads: int
    commits: int
    """Of history behind the first release."""
    cycles: int
    window: float
    """Seconds for which an idle daemon is watched."""
    flood: float
    """Seconds of hook requests."""
    runs: int


FULL = Scale(10_000, 1_600, 1_000, 31_000, 1_000, 60.0, 60.0, 9)
QUICK = Scale(200, 40, 20, 300, 30, 2.0, 3.0, 1)
"""To see that it runs: what it says of limits is worth little."""

Part = Callable[[Scale, Path], Iterator[Figure]]
"""A scale, and a folder to work in -> its figures."""

COLUMNS = ("what", "measured", "yardstick", "judged", "limit", "")
HEAD = f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|"


def line(figure: Figure) -> str:
    """A row of the table."""
    judged = "" if figure.judged is None else f"{figure.judged:.2f} {figure.unit}"
    limit = "" if figure.limit is None else f"{figure.limit:g} {figure.unit}"
    cells = (
        figure.name,
        figure.measured,
        figure.yardstick,
        judged,
        limit + (" MISSED" if figure.missed else ""),
        figure.note,
    )
    return f"| {' | '.join(cells)} |"
