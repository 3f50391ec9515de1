"""Measuring: wall time, CPU, peak memory and git processes; ratios of pairs taken in turn."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

LAUNCHER = Path(__file__).with_name("launch.py")


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
    # Not ru_maxrss: Linux counts the memory of whoever started us to that.
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))
    except OSError:
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
        reading, writing = os.pipe()
        launcher = [sys.executable, "-I", "-S", str(LAUNCHER), str(writing), *words]
        with open(reading) as told:
            process = subprocess.Popen(
                launcher, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out, pass_fds=(writing,)
            )
            os.close(writing)
            figures = told.read().split()
            process.wait()
        out.seek(0)
        text = out.read().decode(errors="replace")
        if len(figures) != 4 or figures[3] != "0":
            raise RuntimeError(f"{' '.join(words)} failed: {text[-2000:]}")
        wall, cpu, memory = map(float, figures[:3])
        gits = len(list(Path(folder).iterdir()))
        return Run(Cost(wall, cpu), memory, gits, text)


@contextmanager
def traced_gits():
    """Counts the git processes that start in the block: gives a function that tells."""
    with tempfile.TemporaryDirectory(prefix="automator-bench-") as folder:
        os.environ["GIT_TRACE2_EVENT"] = folder
        try:
            yield lambda: len(list(Path(folder).iterdir()))
        finally:
            del os.environ["GIT_TRACE2_EVENT"]
