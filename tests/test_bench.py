"""What the benchmarks of deciding measure is decided right: a fast wrong answer would be none."""

from __future__ import annotations

import pytest

from bench.decide import MIXES, Mix, measured


@pytest.mark.parametrize("mix", MIXES, ids=lambda mix: mix.name)
def test_every_mix_of_the_benchmark_gives_its_answer(mix: Mix) -> None:
    row = measured(mix, 1)
    assert row.rounds < 50, "facts are asked for again and again"
