"""Fixtures of the cycle's tests; the stage itself is in tests/parts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from parts.hand import Hand
from parts.stage import Stage

from automator.reasons import Status


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with ExitStack() as stack:
        yield Stage(tmp_path, stack)


@pytest.fixture
def hand(stage: Stage) -> Hand:
    """Ann's clone, after web 1.4.2 -> 1.4.3 was released."""
    stage.push("acme/web", "1.4.2", "1.4.3")
    stage.commit(stage.workload("web", "1.4.2"))
    assert stage.outcomes()["web"].status is Status.RELEASED
    found = Hand(stage.repo, stage.folder / "ann")
    found.pull()
    return found
