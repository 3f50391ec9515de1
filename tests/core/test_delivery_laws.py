"""Laws of the figures, whatever happened: they add up, and nobody's depend on anybody else's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from automator.core.delivery.change import Change
from automator.core.delivery.fate import Fate, Seen, fates
from automator.core.delivery.figures import Period, figures
from automator.core.delivery.page import page
from automator.core.delivery.stations import journey
from automator.core.delivery.summary import GROUPINGS, grouped, split, summarize
from automator.core.record import Member

START = datetime(2026, 1, 1, tzinfo=UTC)
END = START + timedelta(days=60)
WHOLE = Period(START, END)
KINDS = ("release", "rollback", "promote", "revert", "manual", "reject", "hold")

moments = st.integers(0, 60 * 24 * 60 - 1).map(lambda minutes: START + timedelta(minutes=minutes))


@st.composite
def histories(draw: st.DrawFn, workloads: tuple[str, ...] = ("web", "api")) -> list[tuple[Change, Seen]]:
    """What may have happened, oldest first; a commit may speak of several workloads."""
    told = []
    for number, landed in enumerate(sorted(draw(st.lists(moments, max_size=14)))):
        for name in draw(st.sets(st.sampled_from(workloads), min_size=1)):
            versions = st.integers(0, 4).map("1.{}".format)
            built = draw(st.none() | moments)
            kind = draw(st.sampled_from(KINDS))
            source = draw(st.none() | moments | st.just(datetime(1970, 1, 1, tzinfo=UTC)))
            member = Member(
                name, f"x.io/{name}", draw(versions), draw(versions), (), built, source_time=source
            )
            change = Change(
                repo="shop",
                commit=f"c{number}",
                landed=landed,
                author="ann",
                mail="ann@example.org",
                kind=kind,
                member=member,
                proven=draw(st.booleans()),
                actor=draw(st.none() | st.just("bob")),
                made=draw(st.none() | moments),
            )
            told.append(
                (change, Seen(first_seen=draw(st.none() | moments), passed=draw(st.none() | st.booleans())))
            )
    return told


@given(histories(), st.booleans())
def test_parts_of_a_period_add_up_to_it(told: list[tuple[Change, Seen]], weekly: bool) -> None:
    found = fates(told)
    whole = figures(found, WHOLE)
    parts = [figures(found, part) for _, part in split(WHOLE, weekly=weekly)]
    assert sum(part.deployments for part in parts) == whole.deployments
    assert sum(part.failed for part in parts) == whole.failed
    assert sum(part.lead.n for part in parts) == whole.lead.n
    assert sum(part.restore.n for part in parts) == whole.restore.n
    assert sum(part.unrestored for part in parts) == whole.unrestored
    assert sum(part.skewed for part in parts) == whole.skewed


@given(histories(), histories(("other",)))
def test_another_workload_changes_nothing_for_the_rest(
    told: list[tuple[Change, Seen]], others: list[tuple[Change, Seen]]
) -> None:
    alone = fates(told)
    together = fates(sorted((*told, *others), key=lambda item: item[0].landed))
    assert [fate for fate in together if fate.change.workload != "other"] == list(alone) or {
        f for f in together if f.change.workload != "other"
    } == set(alone)


@given(histories())
def test_figures_are_consistent(told: list[tuple[Change, Seen]]) -> None:
    found = fates(told)
    whole = figures(found, WHOLE)
    assert 0 <= whole.failed <= whole.deployments
    assert whole.failure_rate is None or 0 <= whole.failure_rate <= 1
    assert (whole.failure_rate is None) == (whole.deployments == 0)
    assert whole.lead.n + whole.lead_unknown + whole.lead_skewed == len(found)
    assert whole.lead_from_source + whole.lead_from_build == whole.lead.n
    assert all(fate.restored is None or fate.failure is not None for fate in found)
    counted = {by: sum(g.figures.deployments for g in grouped(found, WHOLE, by)) for by in GROUPINGS}
    assert counted["repo"] == counted["week"] == counted["month"] == whole.deployments
    assert counted["workload"] >= whole.deployments


@given(histories())
def test_no_leg_is_negative_and_none_is_lost(told: list[tuple[Change, Seen]]) -> None:
    for fate in fates(told):
        found = journey(fate)
        assert all(leg.took >= timedelta(0) for leg in found.legs)
        assert len(found.legs) + len(found.skewed) == max(len(found.times) - 1, 0)


@given(histories())
def test_every_history_has_a_page(told: list[tuple[Change, Seen]]) -> None:
    text = page(summarize(fates(told), WHOLE))
    assert text.count("<svg") == text.count("</svg>")
    assert "nan" not in text.lower().replace("nant", "")


def test_no_history_at_all_has_a_page() -> None:
    empty: list[Fate] = []
    text = page(summarize(empty, WHOLE))
    assert text.count(">no data<") >= 4
