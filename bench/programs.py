"""Whole programs as a person or a service starts them, with a real registry, measured from outside."""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from automator.demo.registry import EmbeddedRegistry
from bench.figures import Figure, Scale
from bench.inputs import Shape, make_config_repo, push_tag
from bench.measure import Run, run_process

AUTOMATOR = (sys.executable, "-m", "automator")
TAGS = 10
"""Tags of each repository at the start."""
SCRIPT = Path(sys.executable).with_name("automator")
STARTS = {"--version": 5.0, "--help": 15.0}
"""Commands, and how many times `python -c pass` they may take."""
FEW, COMMAND_RUNS = 9, 31
"""Pairs measured of each, where the scale does not ask for fewer than the first."""


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


def start(scale: Scale, _folder: Path) -> Iterator[Figure]:
    """Commands that do nothing, as a shell starts them, beside a Python that does nothing."""
    for option, limit in STARTS.items():
        pairs = []
        for _ in range(1 + (scale.runs if scale.runs < FEW else COMMAND_RUNS)):
            ours = run_process((str(SCRIPT), option), {}, trace=False)
            bare = run_process((sys.executable, "-c", "pass"), {}, trace=False)
            pairs.append((ours, bare))
        walls = [(ours.cost.wall, bare.cost.wall) for ours, bare in pairs[1:]]
        ratios = [ours / bare for ours, bare in walls]
        mine, limits = zip(*walls, strict=True)
        memory = statistics.median(ours.memory for ours, _ in pairs)
        yield Figure(
            f"automator {option}",
            f"{1000 * statistics.median(mine):.1f} ms",
            f"python -c pass: {1000 * statistics.median(limits):.1f} ms",
            statistics.median(ratios),
            limit,
            note=f"median of {len(walls)} pairs; {memory:.0f} MB",
        )


PARTS = {"start": start}
