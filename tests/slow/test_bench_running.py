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

from bench import pictures
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


@pytest.mark.needs("chromium", "chromium-driver")
def test_the_pictures_of_the_documentation_can_be_taken(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "bench.pictures", "--into", str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert {file.stem for file in tmp_path.iterdir()} == {name for name, _, _, _ in pictures.SHOTS}
    for name, _, width, _ in pictures.SHOTS:
        head = (tmp_path / f"{name}.png").read_bytes()[:24]
        assert head.startswith(b"\x89PNG")
        assert int.from_bytes(head[16:20], "big") == width


def test_a_soak_counts_what_was_lost_and_doubled_and_how_it_grew() -> None:
    words = [sys.executable, "-m", "bench.soak", "--minutes", "0.3", "--seed", "7"]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, cwd=ROOT, check=False)
    # So short a run judges no growth: the first minutes are those in which a process grows.
    assert done.returncode in (0, 1), done.stdout
    assert re.search(r"seed 7: [1-9]\d* faults, [1-9]\d* starts", done.stdout), done.stdout
    assert re.search(r"tags pushed [1-9]\d*, releases [1-9]\d*, lost 0 ", done.stdout), done.stdout
    assert "doubled 0, backwards 0, commits of others lost 0" in done.stdout
    assert "processes left behind 0" in done.stdout
    assert len(re.findall(r"^\| (?:start|end) \| [\d.]+ \| \d+ \| \d+ \| \d+ \|$", done.stdout, re.M)) == 2
