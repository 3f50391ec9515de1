"""What is told of looks at runtimes: what diverged and its end once each, and nothing out of ignorance."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automator.core.drift import Drift, DriftState
from automator.core.driftnotice import found_drift
from automator.core.notice import About, Item, Kind, Taste, Told, step
from automator.core.noticetext import message
from automator.reasons import Reason, reason

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
WHY = reason("drift/unobserved", runtime="prod", problem="x")
DOWN = reason("engine/unreachable", runtime="prod", host="unix:///x", problem="no")
SAME, PENDING, DIVERGED, UNKNOWN = (
    DriftState(word) for word in ("same", "pending", "diverged", "unknown")
)  # fmt: skip


def drift(state: DriftState, name: str = "web") -> Drift:
    return Drift(name, "prod", state, "1.4.3", ("1.4.2",), NOON, ("service shop/web",), WHY)


class Listener:
    """One receiver over some looks at one runtime, a minute apart."""

    def __init__(self, taste: Taste | None = None) -> None:
        self.taste, self.told, self.now = taste or Taste(), Told(), NOON
        self.items: list[Item] = []

    def hears(
        self, *drifts: Drift, down: Reason | None = None, after: timedelta = MINUTE
    ) -> list[tuple[str, str]]:
        self.now += after
        here = found_drift("shop", "prod", drifts, down, lambda name: About(name, "team-shop"))
        self.told, items = step(self.told, here, self.taste, self.now)
        self.items += items
        return [(item.kind.value, item.subject) for item in items]


def test_what_diverged_is_told_once_and_ends_only_when_it_is_the_same() -> None:
    ear = Listener()
    assert ear.hears(drift(PENDING)) == []
    assert ear.hears(drift(DIVERGED)) == [("diverged", "drift web at prod")]
    for state in (DIVERGED, UNKNOWN, PENDING, DIVERGED):
        assert ear.hears(drift(state)) == []
    assert ear.hears(drift(SAME)) == [("recovered", "drift web at prod")]
    assert ear.hears(drift(SAME)) == []


def test_a_workload_that_is_gone_has_no_divergence_any_more() -> None:
    ear = Listener()
    ear.hears(drift(DIVERGED))
    assert ear.hears() == [("recovered", "drift web at prod")]


def test_a_runtime_without_an_answer_is_told_after_a_while_and_ends_no_divergence() -> None:
    ear = Listener(Taste(stale_after=HOUR))
    ear.hears(drift(DIVERGED))
    assert ear.hears(drift(UNKNOWN), down=DOWN) == []
    assert ear.hears(drift(UNKNOWN), down=DOWN, after=HOUR) == [("silent", "runtime prod")]
    assert ear.hears(drift(DIVERGED)) == [("recovered", "runtime prod")]


@pytest.mark.parametrize(
    ("taste", "told"),
    [
        (Taste(owners=("team-*",)), True),
        (Taste(owners=("others",)), False),
        (Taste(workloads=("shop/web",)), True),
        (Taste(workloads=("api",)), False),
        (Taste(events=frozenset({Kind.FAILED})), False),
    ],
)
def test_whom_it_concerns(taste: Taste, told: bool) -> None:
    assert bool(Listener(taste).hears(drift(DIVERGED))) is told


def test_the_words() -> None:
    ear = Listener(Taste(remind_after=HOUR))
    hostile = replace(
        drift(DIVERGED), reason=replace(WHY, params=(("runtime", "prod"), ("problem", "@all #1")))
    )
    ear.hears(hostile)
    ear.hears(hostile, after=HOUR)
    ear.hears(drift(SAME))
    text = message("shop", ear.items, ear.now, salt="x").text.splitlines()
    assert text[0].startswith("diverged: web at prod (team-shop): what runs in prod is not known: ＠all ＃1.")  # noqa: RUF001
    assert text[1].startswith("still diverged, for 1 hour: web at prod")
    assert text[2].startswith("runs what Git says again: web at prod")
    assert message("shop", ear.items[:1], ear.now, salt="x").is_bad


@given(st.lists(st.sampled_from([SAME, PENDING, UNKNOWN])))
def test_nothing_is_ever_told_that_nobody_saw_diverge(states: list[DriftState]) -> None:
    ear = Listener()
    assert [kinds for state in states if (kinds := ear.hears(drift(state)))] == []
