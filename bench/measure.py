"""Measuring: wall time, CPU, peak memory and git processes; ratios of pairs taken in turn."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple


class Cost(NamedTuple):
    """What one measured piece of work took; processor seconds of ended children included."""

    wall: float
    cpu: float


class Stopwatch:
    """Times a block: `with Stopwatch() as watch: ...; watch.cost`."""

    cost: Cost

    def __enter__(self) -> Stopwatch:
        self._cpu = cpu_seconds()
        self._wall = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        wall = time.perf_counter() - self._wall
        self.cost = Cost(wall, cpu_seconds() - self._cpu)


def cpu_seconds() -> float:
    """User and system seconds of this process and of the children it has waited for."""
    uses = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(use.ru_utime + use.ru_stime for use in uses)


def peak_memory() -> float:
    """The most memory this process has had resident, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@dataclass(frozen=True)
class Pair:
    """A piece of work and its yardstick, measured in turn."""

    ours: tuple[Cost, ...]
    limit: tuple[Cost, ...]

    @property
    def ratio(self) -> float:
        """Median of the ratios pair by pair, which holds when the machine's speed drifts."""
        return statistics.median(a.wall / b.wall for a, b in zip(self.ours, self.limit, strict=True))


def alternate(runs: int, ours: Callable[[int], Cost], limit: Callable[[int], Cost], *, warm: int = 1) -> Pair:
    """Measure both in turn, so many times after the warm-up."""
    pairs = [(ours(run), limit(run)) for run in range(warm + runs)][warm:]
    return Pair(tuple(a for a, _ in pairs), tuple(b for _, b in pairs))


def timed(work: Callable[[], object]) -> Cost:
    with Stopwatch() as watch:
        work()
    return watch.cost


def median(costs: Sequence[Cost]) -> Cost:
    return Cost(statistics.median(c.wall for c in costs), statistics.median(c.cpu for c in costs))


class Run(NamedTuple):
    """A whole process, measured from outside."""

    cost: Cost
    memory: float
    """Peak of the process itself, MB."""
    gits: int
    """git processes that it and they started, on this side of an HTTP remote."""
    output: str


def run_process(words: Sequence[str], environment: Mapping[str, str], *, trace: bool = True) -> Run:
    """Run a program to its end. Raises RuntimeError when it fails."""
    with tempfile.TemporaryDirectory(prefix="automator-bench-") as folder, tempfile.TemporaryFile() as out:
        env = {**os.environ, **environment}
        if trace:
            env["GIT_TRACE2_EVENT"] = folder  # one file for each git process
        began = time.perf_counter()
        process = subprocess.Popen(words, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        text = out.read().decode(errors="replace")
        if process.returncode:
            raise RuntimeError(f"{' '.join(words)} ended with {process.returncode}: {text[-2000:]}")
        gits = len(list(Path(folder).iterdir()))
        return Run(Cost(wall, used.ru_utime + used.ru_stime), used.ru_maxrss / 1024, gits, text)


@contextmanager
def traced_gits():
    """Counts the git processes that start in the block: gives a function that tells."""
    with tempfile.TemporaryDirectory(prefix="automator-bench-") as folder:
        os.environ["GIT_TRACE2_EVENT"] = folder
        try:
            yield lambda: len(list(Path(folder).iterdir()))
        finally:
            del os.environ["GIT_TRACE2_EVENT"]
