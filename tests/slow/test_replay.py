"""Recorded commits of real config repos, replayed: nothing is written wrong, and what was exact stays so.

The cases are not part of this repository (see bench/replay.py); without them there is nothing to test.
"""

from __future__ import annotations

from collections import Counter, defaultdict

import pytest

from bench.replay import FILES, MissingCorpus, corpus, read_cases, replay

pytestmark = pytest.mark.slow

# Exact cases that were reached, by file, run (`old`: the old version is given; `new`: it is not) and tier.
# Raise a number when the count rises; one that has to fall is a loss that wants a reason in the commit.
FLOORS = {
    ("public.jsonl.gz", "old"): {
        "pure": 3080,
        "selective": 1,
        "unresolved": 109,
        "companion": 294,
        "image-move": 3,
    },
    ("public.jsonl.gz", "new"): {
        "pure": 3028,
        "selective": 0,
        "unresolved": 109,
        "companion": 293,
        "image-move": 3,
    },
    ("stress-public.jsonl.gz", "old"): {"pure": 177, "unresolved": 8, "image-move": 1},
    ("stress-public.jsonl.gz", "new"): {"pure": 173, "unresolved": 8, "image-move": 1},
}

BEYOND = 1
"""Cases in which the commit left another place of the image, at the very version that is asked for."""


@pytest.mark.parametrize(("name", "run"), FLOORS)
def test_recorded_commits_are_made_again_or_held_and_never_spoiled(name: str, run: str) -> None:
    try:
        folder = corpus()
    except MissingCorpus as missing:
        pytest.skip(str(missing))
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    spoiled, beyond = [], 0
    for case in read_cases(folder / name):
        verdict = replay(case, run)
        counts[case["tier"]][verdict.outcome] += 1
        beyond += verdict.outcome == "beyond"
        if verdict.outcome in ("wrong", "error"):
            spoiled.append(f"{case['id']} {case['tier']} {case['path']}: {verdict.outcome}, {verdict.note}")
        for why in verdict.reasons:
            assert why.sentence
            assert why.next_step
    floors = FLOORS[name, run]
    assert not spoiled, f"{len(spoiled)} cases: " + "; ".join(spoiled[:20])
    assert beyond <= BEYOND
    assert set(counts) == set(floors)
    assert {tier: counts[tier]["exact"] for tier in floors if counts[tier]["exact"] < floors[tier]} == {}


def test_the_corpus_has_a_floor_for_each_file() -> None:
    assert {name for name, _ in FLOORS} == set(FILES)
