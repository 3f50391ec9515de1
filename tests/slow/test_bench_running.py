"""The benchmarks of a running daemon run, and measure what they name.

Their inputs are made by generators that are not part of this repository (see bench/README.md); without
them there is nothing to test.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from bench.inputs import MissingInputs, generator

pytestmark = [pytest.mark.slow, pytest.mark.needs("docker-registry")]

ROOT = Path(__file__).resolve().parents[2]


def figures(part: str) -> str:
    """What `python -m bench --only PART --quick` prints."""
    try:
        generator("mk_config_repo.py")
    except MissingInputs as missing:
        pytest.skip(str(missing))
    words = [sys.executable, "-m", "bench", "--only", part, "--quick"]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, cwd=ROOT, check=False)
    # Whether limits are met is for a machine that has nothing else to do.
    assert done.returncode in (0, 1), done.stdout
    return done.stdout


def test_a_flood_loses_no_hook_and_no_release() -> None:
    told = figures("flood")
    assert "300 valid, 300 junk" in told
    assert re.search(r"not looked at after them \| 0 \|", told), told
    assert re.search(r"were not released \| 0 \| [1-9]", told), told
    assert re.search(r"99th percentile \| [\d.]+ ms", told), told


@pytest.mark.parametrize(
    ("part", "rows"),
    [
        ("start", ("automator --version", "automator --help", "python -c pass: ")),
        ("idle", ("between cycles", "bare imports", "after 30 cycles", "a cycle every 2 s")),
        ("first", ("outcomes shown: 200 files, 20 workloads, path", "first release: 32", "files, http")),
    ],
)
def test_every_part_measures_what_it_names(part: str, rows: tuple[str, ...]) -> None:
    told = figures(part)
    assert not [row for row in rows if row not in told], told
