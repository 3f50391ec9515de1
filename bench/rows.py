"""Rows of the parts that are more than one pair of figures: each part runs in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from bench.measure import Cost, Pair, median


class Row(NamedTuple):
    """One figure, beside its yardstick where it has one."""

    name: str
    limit_name: str
    ours: Cost
    limit: Cost | None
    ratio: float | None
    target: float | None
    note: str = ""

    @property
    def missed(self) -> bool:
        return self.ratio is not None and self.target is not None and self.ratio > self.target


Part = Callable[[int, Path], Iterator[Row]]
"""Pairs to measure, and a folder to work in -> its rows."""

COLUMNS = ("what", "yardstick", "s", "CPU s", "yardstick s", "CPU s", "ratio", "target", "")
HEAD = f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|"


def beside(name: str, limit_name: str, pair: Pair, target: float | None, note: str = "") -> Row:
    """The row of a pair."""
    return Row(name, limit_name, median(pair.ours), median(pair.limit), pair.ratio, target, note)


def line(row: Row) -> str:
    """A row of the table."""
    limit = ("", "") if row.limit is None else (f"{row.limit.wall:.4f}", f"{row.limit.cpu:.4f}")
    cells = (
        row.name,
        row.limit_name,
        f"{row.ours.wall:.4f}",
        f"{row.ours.cpu:.4f}",
        *limit,
        "" if row.ratio is None else f"{row.ratio:.2f}",
        "" if row.target is None else f"{row.target:g}" + (" MISSED" if row.missed else ""),
        row.note,
    )
    return f"| {' | '.join(cells)} |"


def plain(row: Row) -> dict[str, object]:
    """A row for programs."""
    limit = None if row.limit is None else row.limit._asdict()
    return {**row._asdict(), "ours": row.ours._asdict(), "limit": limit}


def rows(module: str, parts: Iterable[str], runs: int) -> Iterator[Row]:
    """The rows of some parts of a module, as they are found."""
    for part in parts:
        words = [sys.executable, "-m", module, part, str(runs)]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for told in map(json.loads, process.stdout):
                row = Row(*told)
                limit = None if row.limit is None else Cost(*row.limit)
                yield row._replace(ours=Cost(*row.ours), limit=limit)
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, words)


def main(parts: Mapping[str, Part]) -> None:
    """Run the part that the arguments name; its rows are written out."""
    with tempfile.TemporaryDirectory(prefix="automator-bench-") as folder:
        for row in parts[sys.argv[1]](int(sys.argv[2]), Path(folder)):
            print(json.dumps(row), flush=True)
