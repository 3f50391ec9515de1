"""The command: makes the inputs, measures every case, prints the tables, and judges.

Exit code 0 when every target is met, 1 when one is missed, 2 when the inputs cannot be made.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from bench import (
    cases,
    decide,
    drift,
    figures,
    first,
    fleet,
    flood,
    idle,
    lists,
    past,
    polling,
    programs,
    race,
    rows,
    texts,
)
from bench.inputs import ConfigRepo, MissingInputs, Shape, generator, http_git, make_config_repo
from bench.measure import median

REGISTRY = "registry.example.com"
TEXTS = "texts"
DECIDE = "decide"
POLLING = "polling"
PARTS = {**past.PARTS, **race.PARTS, **fleet.PARTS, **drift.PARTS}
"""What has rows of its own, each made in a process of its own."""
RUNNING = {**idle.PARTS, **programs.PARTS, **first.PARTS, **flood.PARTS}
"""What is seen of a daemon from outside, and of commands."""
CASES = {**cases.CASES, **lists.CASES}
MIXED = Shape("mixed", files=10_000, images=1_600, workloads=200)
SMALL = Shape("small", files=1_000, images=160, workloads=20)
IMAGES = Shape("images", files=10_000, images=10_000, workloads=200)
EVERY = Shape("every", files=10_000, images=10_000, workloads=10_000)
EVERY_SMALL = Shape("every-small", files=1_000, images=1_000, workloads=1_000)


@dataclass(frozen=True)
class Row:
    """One case, measured."""

    name: str
    shape: Shape
    remote: str
    found: cases.Found
    target: float | None = None
    """The largest ratio that is good enough; None where there is no target yet."""
    memory: float | None = None
    """The largest peak that is good enough, MB."""
    processes: int | None = None
    """The most git processes that automator may start in a run."""

    @property
    def missed(self) -> bool:
        slow = self.target is not None and self.found.pair.ratio > self.target
        large = self.memory is not None and self.found.memory > self.memory
        return slow or large or (self.processes is not None and (self.found.started or 0) > self.processes)


@dataclass(frozen=True)
class Wanted:
    """A case to measure, and its target."""

    name: str
    case: str
    shape: Shape
    http: bool = False
    target: float | None = None
    count: int = 1
    memory: float | None = None
    processes: int | None = None
    small: Shape | None = None
    """A tenth of the shape, where the case is about growth."""


MEMORY = 150.0
"""The most that 10,000 files may take, all of them with images, MB."""

TARGETS = (
    Wanted("nothing new / git ls-remote", "quiet", MIXED, http=False, target=1.2),
    Wanted("nothing new / git ls-remote", "quiet", MIXED, http=True, target=1.2),
    Wanted("nothing new / the same of 1,000 files", "growth", MIXED, target=1.2, small=SMALL),
    Wanted("nothing new / the same of 1,000 files", "growth", EVERY, target=1.2, small=EVERY_SMALL),
    Wanted("foreign commit / git fetch", "foreign", MIXED, http=False, target=1.3),
    Wanted("foreign commit / git fetch", "foreign", MIXED, http=True, target=1.3),
    Wanted("foreign commit / git fetch", "foreign", EVERY, target=1.3, memory=MEMORY),
    Wanted("one release / git push", "release", MIXED, http=False, target=1.3, processes=8),
    Wanted("one release / git push", "release", MIXED, http=True, target=1.3, processes=8),
    Wanted(
        "100 releases in a cycle / one", "together", MIXED, http=False, target=2.5, count=100, processes=8
    ),
    Wanted("100 releases in a cycle / one", "together", MIXED, http=True, target=2.5, count=100, processes=8),
    Wanted("cold index / git cat-file", "cold_index", MIXED, target=12.0),
    Wanted("cold index / git cat-file", "cold_index", IMAGES, target=12.0, memory=MEMORY),
    Wanted("restart / git cat-file", "restart", MIXED, target=12.0),
    Wanted("restart / git cat-file", "restart", EVERY, target=12.0, memory=MEMORY),
    Wanted("a list of 10,000 tags, the same / ask and compare", "same_list", EVERY_SMALL, True, target=2.0),
    Wanted("1,000 lists of 1,000, the same / ask and compare", "same_lists", EVERY_SMALL, True, target=2.0),
    Wanted("1,000 lists of 1,000, cold / python-semver", "cold_lists", EVERY_SMALL, target=3.0),
)
OTHERS = (
    Wanted("100 releases / git push of 100", "release", MIXED, http=True, count=100),
    Wanted("git alone: 100 commits and a push / one", "by_git", MIXED, http=False, count=100),
    Wanted("git alone: 100 commits and a push / one", "by_git", MIXED, http=True, count=100),
    Wanted("nothing new / git ls-remote", "quiet", SMALL),
    Wanted("nothing new / git ls-remote", "quiet", EVERY_SMALL),
    Wanted("nothing new / git ls-remote", "quiet", EVERY, memory=MEMORY),
    Wanted("one release / git push", "release", SMALL),
    Wanted("one release / git push", "release", EVERY_SMALL),
    Wanted("one release / git push", "release", EVERY),
    Wanted("cold index / git cat-file", "cold_index", SMALL),
    Wanted("cold index / git cat-file", "cold_index", EVERY_SMALL),
    Wanted("cold index / git cat-file", "cold_index", EVERY, memory=MEMORY),
)


def main(arguments: Sequence[str]) -> int:
    options = _options(arguments)
    try:
        for name in ("mk_config_repo.py", "mk_registry.py"):
            generator(name)
    except MissingInputs as missing:
        print(f"bench: {missing}", file=sys.stderr)
        return 2
    # Settings of whoever runs this must reach neither the generators' programs nor automator.
    for name in [n for n in os.environ if n.startswith("AUTOMATOR_") and n != "AUTOMATOR_SHARED"]:
        del os.environ[name]
    began = time.monotonic()
    print(_machine(), flush=True)
    measured = list(_measured(options))
    decided = list(_decided(options.runs)) if options.only in (None, DECIDE) else []
    edited = list(_edited(options.runs)) if options.only in (None, TEXTS) else []
    polled = list(_polled(options.runs)) if options.only in (None, POLLING) else []
    parted = [row for name in PARTS if options.only in (None, name) for row in _part(name, options.runs)]
    seen = [figure for name in RUNNING if options.only in (None, name) for figure in _seen(name, options)]
    whole = [] if options.only or options.targets else _print_programs()
    missed = [row for row in (*measured, *decided, *edited, *polled, *parted, *seen) if row.missed]
    print(f"\n{time.monotonic() - began:.0f} s in all.", end=" ")
    print("Every target is met." if not missed else f"Targets missed: {len(missed)}.")
    if options.json:
        options.json.write_text(
            json.dumps(
                {
                    "rows": [_plain(row) for row in measured],
                    "decided": [decide.plain(row) for row in decided],
                    "texts": [_plain_text(row) for row in edited],
                    "polling": [polling.plain(row) for row in polled],
                    "parts": [rows.plain(row) for row in parted],
                    "running": [figure._asdict() for figure in seen],
                    "programs": whole,
                },
                indent=1,
            )
        )
    return 1 if missed else 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--runs", type=int, default=15, help="measured pairs of each case (15)")
    parser.add_argument("--targets", action="store_true", help="only the cases that have a target")
    parser.add_argument(
        "--only",
        metavar="CASE",
        choices=(*sorted(CASES), *sorted(PARTS), *RUNNING, DECIDE, POLLING, TEXTS),
        help="only this case",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help=f"{', '.join(RUNNING)}: small and short, to see that they run; what they say of limits is worth "
        "little",
    )
    parser.add_argument("--files", type=int, help="another number of files than 10,000, to try things out")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    options = parser.parse_args(arguments)
    if options.runs < 9:
        print("bench: fewer than 9 pairs say little", file=sys.stderr)
    return options


def _measured(options: argparse.Namespace) -> Iterator[Row]:
    if options.only in (DECIDE, POLLING, TEXTS, *PARTS, *RUNNING):
        return
    wanted = TARGETS if options.targets else TARGETS + OTHERS
    repos: dict[Shape, ConfigRepo] = {}
    print("\nRegistry part apart: tag lists and manifests answered from memory. Medians; wall seconds and")
    print("processor seconds (children included) of one run; peak memory of the whole measuring process.\n")
    print(HEAD)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="automator-bench-")))
        address = stack.enter_context(http_git(folder))
        for series, item in enumerate(wanted, 1):
            if options.only not in (None, item.case):
                continue
            shape = _scaled(item.shape, options.files)
            if shape not in repos:
                repos[shape] = make_config_repo(folder, shape, REGISTRY)
            small = _scaled(item.small, options.files) if item.small else shape
            if small not in repos:
                repos[small] = make_config_repo(folder, small, REGISTRY)
            remote = address if item.http else ""
            row = _measure(item, repos[shape], repos[small], remote, options.runs, series)
            print(_line(row), flush=True)
            yield row


def _scaled(shape: Shape, files: int | None) -> Shape:
    if files is None:
        return shape
    part = files / MIXED.files
    return replace(
        shape,
        files=round(shape.files * part),
        images=round(shape.images * part),
        workloads=max(1, round(shape.workloads * part)),
    )


def _measure(item: Wanted, repo: ConfigRepo, small: ConfigRepo, address: str, runs: int, series: int) -> Row:
    url, twin = (f"{address}/{p.name}" if address else str(p) for p in (repo.bare, repo.twin))
    tenth = (str(small.bare), small.images)
    told = cases.Told(url, twin, str(repo.twin), repo.images, runs, item.count, series, str(repo.bare), tenth)
    found = cases.measure(CASES[item.case], told)
    remote = "http" if address else "path"
    return Row(item.name, repo.shape, remote, found, item.target, item.memory, item.processes)


COLUMNS = (
    *("case", "files / images / workloads", "remote", "s", "limit s", "ratio", "target"),
    *("CPU s", "MB", "MB target", "git processes", "of ours"),
)
HEAD = f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|"


def _line(row: Row) -> str:
    ours, limit = median(row.found.pair.ours), median(row.found.pair.limit)
    cells = (
        row.name,
        f"{row.shape.files:,} / {row.shape.images:,} / {row.shape.workloads:,}",
        row.remote,
        f"{ours.wall:.4f}",
        f"{limit.wall:.4f}",
        f"{row.found.pair.ratio:.2f}",
        _limit(row.target, row.found.pair.ratio),
        f"{ours.cpu:.4f}",
        f"{row.found.memory:.0f}",
        _limit(row.memory, row.found.memory),
        str(row.found.gits),
        "" if row.found.started is None else f"{row.found.started}{_over(row)}",
    )
    return f"| {' | '.join(cells)} |"


def _over(row: Row) -> str:
    if row.processes is None:
        return ""
    return f" of {row.processes}" + (" MISSED" if (row.found.started or 0) > row.processes else "")


def _part(name: str, runs: int) -> Iterator[rows.Row]:
    print(f"\n{PARTS[name].__doc__}\n\n{rows.HEAD}", flush=True)
    for row in rows.rows(PARTS[name].__module__, (name,), runs):
        print(rows.line(row), flush=True)
        yield row


def _seen(name: str, options: argparse.Namespace) -> Iterator[figures.Figure]:
    print(f"\n{RUNNING[name].__doc__}\n\n{figures.HEAD}", flush=True)
    with tempfile.TemporaryDirectory(prefix="automator-bench-") as folder:
        for figure in RUNNING[name](figures.QUICK if options.quick else figures.FULL, Path(folder)):
            print(figures.line(figure), flush=True)
            yield figure


def _decided(runs: int) -> Iterator[decide.Row]:
    print(f"\nDeciding {decide.TAGS:,} tags, judged anew, beside python-semver reading them once.")
    print(f"Processor time, the least of {runs} runs.\n")
    print(decide.HEAD, flush=True)
    for row in decide.rows(runs):
        print(decide.line(row), flush=True)
        yield row


def _edited(runs: int) -> Iterator[texts.Row]:
    print(
        "\nOne text in memory: editing a known site, with the proof; then finding and editing in a megabyte."
    )
    print("A reading is one pass of the C scanner.\n")
    print(texts.HEAD, flush=True)
    for row in (*texts.edits(runs), *texts.large(min(runs, 5))):
        print(texts.line(row), flush=True)
        yield row


def _polled(runs: int) -> Iterator[polling.Row]:
    print("\nPolling a registry, Debian's docker-registry unless another is named.\n")
    print(polling.HEAD, flush=True)
    for row in polling.rows(min(runs, 9)):
        print(polling.line(row), flush=True)
        yield row


def _plain_text(row: texts.Row) -> dict[str, object]:
    ours, limit = median(row.pair.ours), median(row.pair.limit)
    return {
        "text": row.text.name,
        "characters": len(row.text.text),
        "ours": ours._asdict(),
        "limit": limit._asdict(),
        "ratio": row.pair.ratio,
        "target": row.target,
        "seconds": row.seconds,
        "refused": row.refused,
    }


def _limit(target: float | None, found: float) -> str:
    if target is None:
        return ""
    return f"{target:g} MISSED" if found > target else f"{target:g}"


def _print_programs() -> list[dict[str, object]]:
    print(
        f"\nWhole programs: `automator once`, {MIXED.text}; an embedded registry, a local bare repository.\n"
    )
    print(
        "| cycle | s | CPU s | MB | registry requests | git processes |\n|---|---|---|---|---|---|",
        flush=True,
    )
    told: list[dict[str, object]] = []
    for row in programs.cycles(MIXED):
        run = row.run
        print(
            f"| {row.name} | {run.cost.wall:.2f} | {run.cost.cpu:.2f} | {run.memory:.0f} "
            f"| {row.requests} | {run.gits} |",
            flush=True,
        )
        told.append({"name": row.name, **run.cost._asdict(), "memory": run.memory, "requests": row.requests})
    return told


def _plain(row: Row) -> dict[str, object]:
    ours, limit = median(row.found.pair.ours), median(row.found.pair.limit)
    return {
        "case": row.name,
        "shape": row.shape.name,
        "remote": row.remote,
        "ours": ours._asdict(),
        "limit": limit._asdict(),
        "ratio": row.found.pair.ratio,
        "target": row.target,
        "memory": row.found.memory,
        "git_processes": row.found.gits,
        "git_processes_started": row.found.started,
    }


def _machine() -> str:
    version = subprocess.run(["git", "--version"], capture_output=True, text=True, check=True).stdout.split()[
        2
    ]
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    load = os.getloadavg()[0]
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {len(os.sched_getaffinity(0))} processors ({_processor()}), "
        f"{pages:.0f} GB, {platform.system()} {platform.release().split('-')[0]}, "
        f"Python {platform.python_version()}, git {version}; load at the start {load:.1f}"
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
