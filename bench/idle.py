"""Idle: what a daemon that has nothing to do takes of processor and memory, and after a thousand cycles."""

from __future__ import annotations

import re
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Collection, Iterator
from pathlib import Path

from bench.figures import Figure, Scale
from bench.running import Running, World, wait, world

SHARE, RESIDENT, GROWTH = 1.0, 1.5, 5.0
"""The limits: percent of a core, times the bare imports, percent after all cycles."""
FEW = 10
"""Cycles after which the memory is what the growth is measured from."""
NEWS = 20
"""Of so many cycles one finds a new tag, and one a commit of somebody else."""
LOOKS = 9
"""That are asked for from one address: the daemon takes ten at once."""
SETTLE = 3.0
"""Seconds after the last cycle at which memory is read."""
IMPORTED = re.compile(r"^import time:\s+\d+ \|\s+\d+ \|\s+([\w.]+)$", re.MULTILINE)
REQUIRED = """
import importlib.metadata as metadata, re
texts = [text for text in metadata.requires("automator") if "extra ==" not in text]
names = {re.match(r"[\\w.-]+", text)[0] for text in texts}
plain = {re.sub(r"[-_.]+", "-", name).lower() for name in names}
for top, owners in metadata.packages_distributions().items():
    if any(re.sub(r"[-_.]+", "-", owner).lower() in plain for owner in owners):
        print(top)
"""
"""Tells the modules that the packages that automator requires have at their top."""
BARE = """
import importlib, sys
for name in sys.stdin.read().split():
    try:
        importlib.import_module(name)
    except ImportError:
        pass
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmRSS")))
"""


def idle(scale: Scale, folder: Path) -> Iterator[Figure]:
    """A daemon with many workloads between its cycles: processor time, and memory, then and after many."""
    with world(folder, scale) as made:
        packages = third_party(made, folder)
        daemon = Running(folder, "idle", str(made.repo.bare), made.host)
        try:
            daemon.start()
            wait(daemon.is_ready, "the first cycle")
            time.sleep(SETTLE)
            yield _between(daemon, scale)
            yield _beside_imports(daemon, packages, scale)
            yield from _after_cycles(daemon, made, scale)
            yield _with_cycle(daemon, scale)
        finally:
            daemon.end()


def third_party(made: World, folder: Path) -> tuple[str, ...]:
    """The modules of other projects that a daemon imports up to the end of its first cycle."""
    listed = Running(folder, "listed", str(made.repo.bare), made.host)
    try:
        listed.start({"PYTHONPROFILEIMPORTTIME": "1"})
        wait(listed.is_ready, "the first cycle")
    finally:
        listed.forget()
    ours = {*sys.stdlib_module_names, "automator"}
    names = IMPORTED.findall(listed.log.read_text())
    found = sorted({name for name in names if name.partition(".")[0] not in ours})
    assert found, "no imports were told"
    return tuple(found)


def required() -> tuple[str, ...]:
    """The modules at the top of every package that automator requires, whether a daemon needs it or not."""
    done = subprocess.run([sys.executable, "-c", REQUIRED], stdout=subprocess.PIPE, text=True, check=True)
    return tuple(sorted(done.stdout.split()))


def bare_imports(names: Collection[str]) -> float:
    """MB resident of a Python that imports these modules and does nothing."""
    done = subprocess.run(
        [sys.executable, "-c", BARE], input="\n".join(names), stdout=subprocess.PIPE, text=True, check=True
    )
    return int(done.stdout.split()[-1]) / 1024


def _between(daemon: Running, scale: Scale) -> Figure:
    before, began, cycles = daemon.use(), time.monotonic(), daemon.cycles()
    time.sleep(scale.window)
    used, lasted = daemon.use().cpu - before.cpu, time.monotonic() - began
    assert daemon.cycles() == cycles, "a cycle came where none was to come"
    return _share("between cycles", used, lasted, SHARE)


def _with_cycle(daemon: Running, scale: Scale) -> Figure:
    """From the end of one cycle to that of the next."""
    daemon.configure(f"{scale.window:.0f}s")
    daemon.process.send_signal(signal.SIGHUP)
    uses = []
    for _ in range(3):  # the first comes at once, with the new interval
        ended = daemon.cycles()
        wait(lambda ended=ended: daemon.cycles() > ended, "a planned cycle", pause=0.2)  # type: ignore[misc]
        uses.append((daemon.use().cpu, time.monotonic()))
    (before, began), (after, over) = uses[1:]
    return _share(
        f"with a cycle every {scale.window:.0f} s, that included", after - before, over - began, None
    )


def _share(when: str, used: float, lasted: float, limit: float | None) -> Figure:
    told = f"{used:.2f} s in {lasted:.0f} s"
    return Figure(
        f"processor, {when}", told, "one core", 100 * used / lasted, limit, "%", "children included"
    )


def _beside_imports(daemon: Running, packages: Collection[str], scale: Scale) -> Figure:
    every = sorted({*packages, *required()})
    bare, here = (statistics.median(bare_imports(n) for _ in range(scale.runs)) for n in (every, packages))
    resident = daemon.use().resident
    return Figure(
        f"memory (VmRSS), {scale.workloads:,} workloads, {scale.files:,} files",
        f"{resident:.1f} MB",
        f"bare imports of all required packages: {bare:.1f} MB",
        resident / bare,
        RESIDENT,
        note=f"those that this daemon had imported: {here:.1f} MB, {resident / here:.2f} x",
    )


def _after_cycles(daemon: Running, made: World, scale: Scale) -> Iterator[Figure]:
    done = _run_cycles(daemon, made, scale, range(FEW))
    time.sleep(SETTLE)
    few = daemon.use()
    done += _run_cycles(daemon, made, scale, range(FEW, scale.cycles))
    time.sleep(SETTLE)
    last = daemon.use()
    yield Figure(
        f"memory (VmRSS) after {scale.cycles:,} cycles",
        f"{last.resident:.1f} MB",
        f"after {FEW}: {few.resident:.1f} MB",
        100 * (last.resident / few.resident - 1),
        GROWTH,
        "%",
        f"{done} of them with a release, as many with a commit of others; "
        f"{few.files} and {last.files} files, {few.threads} and {last.threads} threads",
    )


def _run_cycles(daemon: Running, made: World, scale: Scale, numbers: range) -> int:
    """Have cycles run, one after the other; how many of them made a release."""
    before = made.releases()
    tags = 0
    for number in numbers:
        workload = number % scale.workloads
        if number % NEWS == NEWS // 4:
            made.push(workload, f"1.1.{number}")
            tags += 1
        elif number % NEWS == NEWS // 2:
            made.write(number)
        ended = daemon.cycles()
        body = {"repo": "bench", "workload": made.path(workload).rpartition("/")[2]}
        daemon.ask("/api/v1/look", "POST", body, f"127.0.{1 + number // LOOKS}.1")
        wait(lambda ended=ended: daemon.cycles() > ended, "the end of a cycle")  # type: ignore[misc]
    wait(lambda: made.releases() == before + tags, "the releases")
    return tags


PARTS = {"idle": idle}
