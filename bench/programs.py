"""Whole programs as a person or a service starts them, with a real registry, measured from outside."""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from automator.demo.registry import EmbeddedRegistry
from bench.inputs import Shape, make_config_repo, push_tag
from bench.measure import Cost, Run, run_process

AUTOMATOR = (sys.executable, "-m", "automator")
TAGS = 10
"""Tags of each repository at the start."""


class Row(NamedTuple):
    """One whole program."""

    name: str
    run: Run
    requests: int


def cycles(shape: Shape) -> list[Row]:
    """`automator once`: a cold start, nothing new, one release, a hundred releases."""
    with tempfile.TemporaryDirectory(prefix="automator-bench-") as name:
        folder = Path(name)
        with EmbeddedRegistry(folder / "images") as registry:
            for patch in range(TAGS):
                push_tag(registry.host, shape, shape.workloads, f"1.0.{patch}")
            repo = make_config_repo(folder, shape, registry.host, tag=f"1.0.{TAGS - 1}")
            config = folder / "config.toml"
            config.write_text(
                f'state = "state"\n[repos.bench]\nurl = "{repo.bare}"\nmax_releases_per_cycle = 100\n'
                f'[registries."{registry.host}"]\ninsecure = true\n'
            )

            def once(name: str) -> Row:
                before = len(registry.log)
                run = run_process((*AUTOMATOR, "--config", str(config), "once", "--output", "json"), {})
                return Row(name, run, len(registry.log) - before)

            rows = [once("cold start: clone, index, all tag lists"), once("nothing new")]
            push_tag(registry.host, shape, 1, "1.5.0")
            rows.append(once("one release, the first: history is fetched"))
            push_tag(registry.host, shape, 1, "1.5.1")
            rows.append(once("one release"))
            push_tag(registry.host, shape, 100, "1.6.0")
            rows.append(once("100 releases"))
            return rows


class Start(NamedTuple):
    """What a command takes before it does anything."""

    name: str
    cost: Cost
    memory: float
    ratio: float
    """Median of wall time against a bare interpreter, in turn."""


def starts(runs: int) -> list[Start]:
    """`--version` and `--help`, beside `python -c pass`."""
    found = []
    for option in ("--version", "--help"):
        pairs = []
        for _ in range(runs + 1):
            ours = run_process((*AUTOMATOR, option), {}, trace=False)
            bare = run_process((sys.executable, "-c", "pass"), {}, trace=False)
            pairs.append((ours, bare))
        pairs = pairs[1:]
        ratio = statistics.median(a.cost.wall / b.cost.wall for a, b in pairs)
        ours = sorted((a for a, _ in pairs), key=lambda run: run.cost.wall)[len(pairs) // 2]
        found.append(Start(f"automator {option}", ours.cost, ours.memory, ratio))
    return found
