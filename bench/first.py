"""The first start: from an empty state folder to outcomes that are shown, and to the first release."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.figures import Figure, Scale
from bench.inputs import GIT, ConfigRepo, Shape, git, http_git, make_config_repo
from bench.past import grow
from bench.running import Running, World, wait, world

LIMIT = 6.0
"""Times `git clone --bare --depth 1`."""
LOOK = 0.02
"""Seconds between two questions whether outcomes are shown."""
EVERY = 10
"""Of so many commits of the long history one is a release."""
LONG_HISTORY = 200
"""Workloads of the config repo with the long history."""


def first(scale: Scale, folder: Path) -> Iterator[Figure]:
    """A first start, beside git cloning one commit of the same repository over the same transport."""
    with world(folder, scale) as made:
        with _urls(folder, made.repo) as urls:
            for transport, url in urls.items():
                yield from _shown(scale, folder, made, transport, url)
        long = _with_history(scale, folder, made)
        with _urls(folder, long.repo) as urls:
            for number, (transport, url) in enumerate(urls.items()):
                yield _released(scale, folder, long, transport, url, number)


@contextmanager
def _urls(folder: Path, repo: ConfigRepo) -> Iterator[dict[str, str]]:
    """The config repo's addresses. A bare path would let git link files instead of sending any."""
    with http_git(folder) as address:
        yield {"path": f"file://{repo.bare}", "http": f"{address}/{repo.bare.name}"}


def _shown(scale: Scale, folder: Path, made: World, transport: str, url: str) -> Iterator[Figure]:
    daemon = Running(folder, f"first-{transport}", url, made.host)
    shown, ready, clones, used = [], [], [], []
    for _ in range(scale.runs):
        clones.append(cloned(folder, url, "--depth", "1"))
        daemon.forget()
        began = time.perf_counter()
        daemon.start()
        wait(lambda: daemon.is_shown(scale.workloads), "outcomes", pause=LOOK)
        shown.append(time.perf_counter() - began)
        used.append(daemon.use().cpu)
        wait(daemon.is_ready, "the end of the first cycle", pause=LOOK)
        ready.append(time.perf_counter() - began)
        daemon.end()
    ratios = [ours / limit for ours, limit in zip(shown, clones, strict=True)]
    beside = f"git clone --bare --depth 1: {_seconds(clones)}"
    size = f"{scale.files:,} files, {scale.workloads:,} workloads, {transport}"
    yield Figure(
        f"from nothing to outcomes shown: {size}",
        _seconds(shown),
        beside,
        statistics.median(ratios),
        LIMIT,
        note=f"median of {scale.runs}; {min(ratios):.2f} to {max(ratios):.2f}; {_seconds(used)} of processor",
    )
    over = [ours / limit for ours, limit in zip(ready, clones, strict=True)]
    name = f"the same, to the end of the first cycle: {scale.workloads:,} tag lists"
    yield Figure(name, _seconds(ready), beside, statistics.median(over), None)


def _with_history(scale: Scale, folder: Path, made: World) -> World:
    """A world with the same registry, whose config repo has a long history."""
    workloads = min(LONG_HISTORY, scale.workloads)
    # The same number of images gives the same names.
    shape = Shape("long", scale.files, scale.images, workloads)
    repo = make_config_repo(folder, shape, made.host, tag="1.0.0")
    grow(repo, scale.commits, scale.commits // EVERY)
    return made._replace(repo=repo)


def _released(scale: Scale, folder: Path, made: World, transport: str, url: str, number: int) -> Figure:
    whole, shallow = cloned(folder, url), cloned(folder, url, "--depth", "1")
    made.push(number, f"1.9.{number}")
    daemon, tip = Running(folder, f"long-{transport}", url, made.host), made.tip()
    try:
        began = time.perf_counter()
        daemon.start()
        wait(lambda: daemon.is_shown(made.repo.shape.workloads), "outcomes", pause=LOOK)
        shown = time.perf_counter() - began
        wait(lambda: made.tip() != tip, "the first release", pause=LOOK)
        released = time.perf_counter() - began
    finally:
        daemon.end()
    commits = int(git(made.repo.bare, "rev-list", "--count", "main"))
    return Figure(
        f"from nothing to the first release: {commits:,} commits, {scale.files:,} files, {transport}",
        f"{released:.2f} s",
        f"git clone --bare: {whole:.2f} s",
        released / whole,
        None,
        note=f"outcomes shown after {shown:.2f} s; git clone --bare --depth 1 takes {shallow:.2f} s",
    )


def cloned(folder: Path, url: str, *options: str) -> float:
    """Seconds of a bare clone by git."""
    target = folder / "cloned"
    words = ["git", "clone", "--quiet", "--bare", *options, url, str(target)]
    began = time.perf_counter()
    subprocess.run(words, check=True, env={**os.environ, **GIT})
    lasted = time.perf_counter() - began
    shutil.rmtree(target)
    return lasted


def _seconds(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} s"


PARTS: dict[str, Callable[[Scale, Path], Iterator[Figure]]] = {"first": first}
