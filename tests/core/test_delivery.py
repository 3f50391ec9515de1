"""What counts as a deployment, a failure, a restore; levels, stations, and how figures are told."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from types import FrameType

import pytest

from automator.core.delivery.change import Change, Wanted, is_revert, pull_request_number, reverted, why_of
from automator.core.delivery.fate import Failure, Fate, Seen, fates
from automator.core.delivery.figures import ENOUGH_FOR_P90, Figures, Level, Period, Spread, figures, spread
from automator.core.delivery.stations import Waits, journey
from automator.core.delivery.summary import grouped, split, summarize
from automator.core.delivery.words import FIGURES, duration, per_day
from automator.core.record import Member, ReleaseRecord
from automator.core.release import compose
from automator.core.windows import Window

NOON = datetime(2026, 9, 1, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
MONTH = Period(NOON - DAY, NOON + 29 * DAY)


def change(
    after: str,
    before: str = "",
    *,
    hours: float = 0,
    kind: str = "release",
    workload: str = "web",
    actor: str | None = None,
    built: datetime | None = None,
    source: datetime | None = None,
    made: datetime | None = None,
    commit: str | None = None,
    proven: bool = True,
    owner: str | None = None,
) -> Change:
    landed = NOON + hours * HOUR
    return Change(
        repo="shop",
        commit=commit or f"{int(landed.timestamp()):x}",
        landed=landed,
        author="automator",
        mail="automator@example.org",
        kind=kind,
        member=Member(workload, f"x.io/{workload}", before, after, (), built, source_time=source),
        proven=proven,
        made=made,
        actor=actor,
        owner=owner,
    )


def told(*changes: Change) -> dict[str, Fate]:
    """The fates by the version deployed."""
    return {fate.change.member.after: fate for fate in fates((c, Seen()) for c in changes)}


# -- deployments and failures ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "actor", "failure"),
    [
        ("rollback", "ann", Failure.ROLLED_BACK),
        ("rollback", None, Failure.ROLLED_BACK),
        ("revert", None, Failure.REVERTED),
        ("manual", None, Failure.TURNED_AWAY),
        ("release", "ann", Failure.TURNED_AWAY),
    ],
)
def test_going_back_fails_what_was_left(kind: str, actor: str | None, failure: Failure) -> None:
    back = change("1.0", "1.1", hours=3, kind=kind, actor=actor)
    found = told(change("1.1", "1.0"), back)
    assert found.keys() == {"1.1"}, "what goes back is no deployment"
    assert (found["1.1"].failure, found["1.1"].restored, found["1.1"].restored_by) == (
        failure,
        back.landed,
        back.commit,
    )


def test_our_own_way_down_is_a_deployment() -> None:
    """The policy's `downgrade`, without a person's name: nobody said that anything was bad."""
    found = told(change("1.1", "1.0"), change("1.0", "1.1", hours=1))
    assert {after: fate.failure for after, fate in found.items()} == {"1.1": None, "1.0": None}


def test_going_back_past_several_fails_them_all() -> None:
    steps = [change("1.1", "1.0"), change("1.2", "1.1", hours=1), change("1.3", "1.2", hours=2)]
    found = told(*steps, change("1.1", "1.3", hours=5, kind="rollback", actor="ann"))
    assert {after: fate.failure for after, fate in found.items()} == {
        "1.1": None,
        "1.2": Failure.ROLLED_BACK,
        "1.3": Failure.ROLLED_BACK,
    }


def test_going_back_past_what_is_told_fails_the_last_one() -> None:
    found = told(change("1.3", "1.2"), change("1.0", "1.3", hours=1, kind="rollback", actor="ann"))
    assert found["1.3"].failure is Failure.ROLLED_BACK


def test_the_revert_of_a_revert_is_a_deployment_again() -> None:
    all_three = [
        change("1.1", "1.0"),
        change("1.0", "1.1", hours=1, kind="revert"),
        change("1.1", "1.0", hours=2, kind="revert"),
    ]
    first, again = fates((c, Seen()) for c in all_three)
    assert (first.failure, again.failure) == (Failure.REVERTED, None)


def test_a_rollback_to_what_another_course_had_takes_back_the_last_one() -> None:
    """1.1 was left before 1.3 came: going there from 1.3 is a rollback all the same."""
    found = told(
        change("1.1", "1.0"),
        change("1.0", "1.1", hours=1, kind="rollback", actor="bob"),
        change("1.3", "1.0", hours=2),
        change("1.1", "1.3", hours=3, kind="rollback", actor="bob"),
    )
    assert {after: fate.failure for after, fate in found.items()} == {
        "1.1": Failure.ROLLED_BACK,
        "1.3": Failure.ROLLED_BACK,
    }


def test_going_back_past_a_squash_goes_to_what_was_on_the_branch() -> None:
    """The record of the squash's last release begins at a version that the branch never was at."""
    found = told(
        change("1.0", "0.9"),
        change("1.2", "1.1", hours=1),
        change("1.0", "1.2", hours=2, kind="manual"),
    )
    assert (found["1.0"].failure, found["1.2"].failure) == (None, Failure.TURNED_AWAY)


def test_a_commit_called_revert_that_goes_forward_takes_nothing_back() -> None:
    found = told(change("1.1", "1.0"), change("1.2", "1.1", hours=1, kind="revert"))
    assert {after: fate.failure for after, fate in found.items()} == {"1.1": None, "1.2": None}


def test_a_rollback_of_sites_at_two_versions_is_one() -> None:
    found = told(
        change("1.1", "1.0"),
        change("1.2", "1.1", hours=1),
        change("1.1", "1.2", hours=2, kind="rollback", commit="back"),
        change("1.1", "1.0", hours=2, kind="rollback", commit="back"),
    )
    assert (found["1.1"].failure, found["1.2"].failure) == (None, Failure.ROLLED_BACK)


def test_a_group_that_is_rolled_back_counts_once() -> None:
    names = ("web", "api", "db")
    out = [change("2.0", "1.0", commit="all", workload=name) for name in names]
    back = [change("1.0", "2.0", hours=2, commit="back", kind="rollback", workload=name) for name in names]
    found = figures(fates((c, Seen()) for c in (*out, *back)), MONTH)
    assert (found.failures, found.restore.n, found.restore.median) == (
        ((Failure.ROLLED_BACK, 1),),
        1,
        2 * HOUR,
    )


def test_a_group_is_restored_when_the_last_of_it_is() -> None:
    out = [change("2.0", "1.0", commit="all", workload=name) for name in ("web", "api")]
    back = [
        change("1.0", "2.0", hours=hours, kind="rollback", workload=name)
        for name, hours in (("web", 1), ("api", 5))
    ]
    found = figures(fates((c, Seen()) for c in (*out, *back)), MONTH)
    assert (found.restore.n, found.restore.median, found.unrestored) == (1, 5 * HOUR, 0)


def test_years_of_releases_are_counted_in_one_go() -> None:
    """Each asks only for what it needs: comparisons do not grow with the square of the releases."""
    count = 4_000
    every = [
        change(f"latest@sha256:{i + 1:064}", f"latest@sha256:{i:064}", hours=i / 10, commit=f"{i:x}")
        for i in range(count)
    ]
    calls = 0

    def counted(frame: FrameType, event: str, _: object) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(counted)
    try:
        grouped(fates((c, Seen()) for c in every), Period(NOON - 20_000 * DAY, NOON + 400 * DAY), "week")
    finally:
        sys.setprofile(None)
    assert calls < 200 * count


def test_a_person_going_forward_deploys() -> None:
    found = told(change("1.1", "1.0"), change("1.5", "1.1", hours=1, kind="manual"))
    assert found["1.5"].failure is None
    assert found["1.1"].failure is None


def test_a_rejected_version_fails_and_is_restored_by_whatever_comes_next() -> None:
    bad = change("1.1@sha256:" + "a" * 64, "1.0")
    said = change("1.1", hours=1, kind="reject", actor="ann")
    (open_still,) = fates((c, Seen()) for c in (bad, said))
    assert (open_still.failure, open_still.restored) == (Failure.REJECTED, None)
    first, second = fates((c, Seen()) for c in (bad, said, change("1.2", "1.1", hours=4)))
    assert (first.restored, second.failure) == (NOON + 4 * HOUR, None)


def test_what_is_rejected_after_it_was_left_was_mended_when_it_was_left() -> None:
    steps = [change("1.1", "1.0"), change("1.2", "1.1", hours=2)]
    late = change("1.1", hours=50, kind="reject", actor="ann")
    found = told(*steps, late, change("1.3", "1.2", hours=60))
    assert (found["1.1"].failure, found["1.1"].restored) == (Failure.REJECTED, NOON + 2 * HOUR)
    assert (found["1.2"].failure, found["1.3"].failure) == (None, None)
    assert told(*steps, late)["1.1"].restored == NOON + 2 * HOUR, "whether anything came later or not"


DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("before", "after"), [("1.1", f"1.1@{DIGEST}"), (f"1.1@{DIGEST}", "1.1"), ("1.0", "1.1")]
)
def test_pinning_and_catching_up_by_hand_deploy_nothing(before: str, after: str) -> None:
    by_hand = change(after, before, hours=1, kind="manual")
    first, later = fates((c, Seen()) for c in (change("1.1", "1.0"), by_hand, change("1.2", after, hours=2)))
    assert (first.change.member.after, later.change.member.after) == ("1.1", "1.2")
    back = change("1.0", "1.2", hours=3, kind="rollback", actor="bob")
    failed = fates((c, Seen()) for c in (change("1.1", "1.0"), by_hand, change("1.2", after, hours=2), back))
    assert [fate.failure for fate in failed] == [Failure.ROLLED_BACK] * 2


def test_another_version_rejected_fails_nothing() -> None:
    found = told(change("1.1", "1.0"), change("1.2", hours=1, kind="reject", actor="ann"))
    assert found["1.1"].failure is None


def test_failed_checks_fail_the_deployment_until_the_next_one() -> None:
    seen = Seen(verified=NOON + HOUR, passed=False)
    first, second = fates([(change("1.1", "1.0"), seen), (change("1.2", "1.1", hours=2), Seen())])
    assert (first.failure, first.restored, second.failure) == (Failure.VERIFICATION, NOON + 2 * HOUR, None)


def test_claims_without_proof_count_for_nothing() -> None:
    assert not told(change("1.1", "1.0", proven=False))


def test_sites_that_came_from_two_versions_are_one_deployment() -> None:
    found = fates((c, Seen()) for c in (change("1.2", "1.1", commit="c"), change("1.2", "1.0", commit="c")))
    assert len(found) == 1


def test_a_group_is_one_deployment_and_fails_with_its_member() -> None:
    web = change("2.0", "1.0", commit="both", built=NOON - HOUR)
    api = change("2.0", "1.0", commit="both", workload="api", built=NOON - 3 * HOUR)
    back = change("1.0", "2.0", hours=2, workload="api", kind="rollback", actor="ann")
    found = figures(fates((c, Seen()) for c in (web, api, back)), MONTH)
    assert (found.deployments, found.failed, found.failure_rate) == (1, 1, 1.0)
    assert (found.lead.n, found.lead.median) == (2, 2 * HOUR)


# -- figures -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("per_day_", "level"),
    [(None, None), (1.0, Level.ELITE), (0.99, Level.HIGH), (1 / 7, Level.HIGH), (0.14, Level.MEDIUM),
     (1 / 31, Level.MEDIUM), (0.032, Level.LOW)],
)  # fmt: skip
def test_levels_of_frequency(per_day_: float | None, level: Level | None) -> None:
    assert Figures(30.0, per_day=per_day_).frequency_level is level


@pytest.mark.parametrize(
    ("rate", "level"),
    [(None, None), (0.0, Level.ELITE), (0.05, Level.ELITE), (0.1, Level.HIGH), (0.15, Level.MEDIUM),
     (0.16, Level.LOW)],
)  # fmt: skip
def test_levels_of_failures(rate: float | None, level: Level | None) -> None:
    assert Figures(30.0, failure_rate=rate).failure_level is level


@pytest.mark.parametrize(
    ("took", "lead", "restore"),
    [
        (None, None, None),
        (59 * HOUR / 60, Level.ELITE, Level.ELITE),
        (HOUR, Level.ELITE, Level.HIGH),
        (DAY, Level.HIGH, Level.MEDIUM),
        (7 * DAY, Level.MEDIUM, Level.LOW),
        (30 * DAY, Level.LOW, Level.LOW),
    ],
)
def test_levels_of_durations(took: timedelta | None, lead: Level | None, restore: Level | None) -> None:
    found = Figures(30.0, lead=Spread(1, took), restore=Spread(1, took))
    assert (found.lead_level, found.restore_level) == (lead, restore)


def test_lead_time_counts_from_the_source_where_that_is_known() -> None:
    built = NOON - HOUR
    known = change("1.1", "1.0", built=built, source=NOON - 5 * HOUR)
    pairs = [(known, Seen(deployed=NOON + HOUR)), (change("1.2", "1.1", hours=1, built=built), Seen())]
    found = figures(fates(pairs), MONTH)
    assert (found.lead.least, found.lead.greatest) == (2 * HOUR, 6 * HOUR)
    assert (found.lead_from_source, found.lead_from_build) == (1, 1)


GO_ZERO, EPOCH, ZIP = (datetime(year, 1, 1, tzinfo=UTC) for year in (1, 1970, 1980))
FUTURE = datetime(2999, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("source", "built", "lead", "from_source", "skewed", "unknown"),
    [
        (NOON - 3 * HOUR, NOON - HOUR, 3 * HOUR, 1, 0, 0),
        (NOON - 3 * HOUR, None, 3 * HOUR, 1, 0, 0),
        (NOON - HOUR, NOON - HOUR, HOUR, 1, 0, 0),  # SOURCE_DATE_EPOCH
        (NOON - 3 * HOUR, EPOCH, 3 * HOUR, 1, 0, 0),
        (NOON - 3 * HOUR, FUTURE, 3 * HOUR, 1, 0, 0),
        (EPOCH, NOON - HOUR, HOUR, 0, 0, 0),
        (GO_ZERO, NOON - HOUR, HOUR, 0, 0, 0),
        (NOON - 30 * HOUR / 60, NOON - HOUR, HOUR, 0, 0, 0),  # after what was built from it
        (FUTURE, NOON - HOUR, HOUR, 0, 0, 0),
        (FUTURE, None, None, 0, 1, 0),
        (EPOCH, ZIP, None, 0, 0, 1),
        (None, None, None, 0, 0, 1),
    ],
)
def test_times_that_cannot_be_make_no_nonsense(
    source: datetime | None,
    built: datetime | None,
    lead: timedelta | None,
    from_source: int,
    skewed: int,
    unknown: int,
) -> None:
    fate = fates([(change("1.1", "1.0", source=source, built=built), Seen())])
    found = figures(fate, MONTH)
    assert (found.lead.median, found.lead_from_source) == (lead, from_source)
    assert (found.lead_skewed, found.lead_unknown) == (skewed, unknown)
    way = journey(fate[0])
    assert timedelta(0) <= way.whole <= 3 * HOUR
    assert all(timedelta(0) <= leg.took <= 3 * HOUR for leg in way.legs)


def test_clocks_that_disagree_are_left_out_and_told() -> None:
    found = figures(fates([(change("1.1", "1.0", built=NOON + HOUR), Seen())]), MONTH)
    assert (found.lead.n, found.lead_skewed, found.lead_level) == (0, 1, None)


def test_a_restore_before_its_failure_is_told_with_the_restores() -> None:
    """Two people's clocks: what counts is that the branch has them in this order."""
    found = figures(
        fates((c, Seen()) for c in (change("1.1", "1.0", hours=2), change("1.0", "1.1", kind="rollback"))),
        MONTH,
    )
    assert (found.failed, found.restore.n, found.restore_skewed, found.lead_skewed) == (1, 0, 1, 0)
    basis = {name: words(found) for name, _, _, words in FIGURES}
    assert basis["time to restore"] == "n = 0; 1 left out: clocks disagree"
    assert "clocks" not in basis["lead time for changes"]


def test_few_values_have_no_percentile() -> None:
    few = [timedelta(minutes=n) for n in range(1, ENOUGH_FOR_P90)]
    assert spread(few).p90 is None
    assert spread([timedelta(minutes=n) for n in range(1, 21)]).p90 == timedelta(minutes=18)


def test_weeks_and_months_cover_the_period_without_a_gap() -> None:
    period = Period(datetime(2026, 12, 30, 5, tzinfo=UTC), datetime(2027, 2, 2, tzinfo=UTC))
    for weekly, first, last in ((True, "2026-W53", "2027-W05"), (False, "2026-12", "2027-02")):
        parts = split(period, weekly=weekly)
        assert (parts[0][0], parts[-1][0]) == (first, last)
        assert parts[0][1].since == period.since
        assert parts[-1][1].until == period.until
        assert all(one.until == other.since for (_, one), (_, other) in pairwise(parts))


def test_groups_by_owner_put_the_ownerless_together() -> None:
    found = tuple(
        fates((c, Seen()) for c in (change("1.1", "1.0", owner="ann"), change("9", "8", workload="api")))
    )
    assert [(g.name, g.figures.deployments) for g in grouped(found, MONTH, "owner")] == [("-", 1), ("ann", 1)]


# -- stations ----------------------------------------------------------------------------------------

CLOSED = Window.parse("deny", "0 12 * * *", timedelta(hours=4), "UTC")


def test_the_way_is_split_by_guard() -> None:
    one = Fate(
        change("1.1", "1.0", hours=10, built=NOON - 3 * HOUR, source=NOON - 4 * HOUR),
        seen=Seen(first_seen=NOON - 2 * HOUR),
    )
    waits = Waits(min_age=HOUR, upstream=NOON + HOUR, windows=(CLOSED,))
    found = journey(one, waits)
    assert {leg.name: leg.took for leg in found.legs} == {
        "source commit → built": HOUR,
        "built → first seen": HOUR,
        "first seen → eligible (min_age)": HOUR,
        "first seen → eligible (after)": 2 * HOUR,
        "first seen → eligible (windows)": 3 * HOUR,
        "eligible → merged": 6 * HOUR,
    }
    assert found.legs[0].name == "eligible → merged", "the slowest first"
    assert found.whole == 14 * HOUR
    assert dict(found.times)["eligible"] == NOON + 4 * HOUR


def test_an_unknown_station_is_none_of_the_way() -> None:
    found = journey(Fate(change("1.1", "1.0", built=NOON - HOUR)))
    assert [name for name, _ in found.times] == ["built", "merged"]
    assert [leg.name for leg in found.legs] == ["built → merged"]


def test_a_guard_that_cannot_have_bound_the_release_is_left_out() -> None:
    """Released after an hour: the two hours that the policy asks for today were not asked for then."""
    one = Fate(change("1.1", "1.0", hours=1), seen=Seen(first_seen=NOON))
    assert {leg.name for leg in journey(one, Waits(min_age=2 * HOUR)).legs} == {
        "first seen → eligible",
        "eligible → merged",
    }


def test_what_nobody_knows_the_guards_of_was_eligible_nobody_knows_when() -> None:
    one = Fate(change("1.1", "1.0", hours=1), seen=Seen(first_seen=NOON))
    assert [leg.name for leg in journey(one).legs] == ["first seen → merged"]
    assert [leg.name for leg in journey(one, Waits()).legs] == ["eligible → merged", "first seen → eligible"]


def test_first_seen_after_the_release_is_not_known() -> None:
    """The state folder is younger than the release."""
    one = Fate(change("1.1", "1.0"), seen=Seen(first_seen=NOON + DAY))
    assert journey(one).legs == ()


def test_stations_out_of_order_are_told() -> None:
    found = journey(Fate(change("1.1", "1.0", built=NOON + HOUR)))
    assert (found.legs, found.skewed) == ((), ("built → merged",))


def test_the_report_puts_the_slowest_first() -> None:
    slow = change("1.1", "1.0", built=NOON - DAY)
    quick = change("1.2", "1.1", hours=1, built=NOON)
    found = summarize(fates((c, Seen()) for c in (slow, quick)), MONTH)
    assert [one.fate.change.member.after for one in found.journeys] == ["1.1", "1.2"]
    assert found.stations[0][1].n == 2


# -- words -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("took", "words"),
    [(None, "-"), (timedelta(0), "0s"), (timedelta(seconds=61), "1m 1s"), (26 * HOUR, "1d 2h"), (DAY, "1d")],
)
def test_durations(took: timedelta | None, words: str) -> None:
    assert duration(took) == words


@pytest.mark.parametrize(
    ("rate", "words"), [(None, "-"), (2.5, "2.5 a day"), (0.5, "3.5 a week"), (0.1, "3.0 a month")]
)
def test_how_often(rate: float | None, words: str) -> None:
    assert per_day(Figures(30.0, per_day=rate)) == words


# -- messages ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "number"),
    [
        ("Merge pull request #12 from acme/automator/web\n\nRelease web 1.4.3", 12),
        ("Merge pull request 'Release web' (#7) from automator/web into main", 7),
        ("Release web 1.4.3 (#34)\n\n* Release web 1.4.3", 34),
        ("Merge branch 'automator/web' into 'main'\n\nRelease\n\nSee merge request acme/shop!9", 9),
        ("Merged in automator/web (pull request #5)\n\nRelease", 5),
        ("Release web 1.4.3\n\nfixes (#8) and more", None),
        ("Mention #12", None),
        ("See merge request", None),
    ],
)
def test_pull_requests_as_forges_name_them(message: str, number: int | None) -> None:
    assert pull_request_number(message) == number


def test_reverts_as_git_writes_them() -> None:
    message = f'Revert "Release web 1.4.3"\n\nThis reverts commit {"ab" * 20}.\n'
    assert (is_revert(message), reverted(message)) == (True, "ab" * 20)
    assert not is_revert("Set versions\n\nNot because This reverts commit nothing")


def test_words_about_reverts_are_no_revert() -> None:
    assert reverted("Upgrade\n\nThis reverts commit abcdef1 of the pipeline and moves on.\n") is None
    merged = f'Revert "Merge"\n\nThis reverts commit {"ab" * 20}, reversing\nchanges made to {"cd" * 20}.\n'
    assert reverted(merged) == "ab" * 20


def test_the_rule_is_what_the_message_says_between_subject_and_trailers() -> None:
    record = ReleaseRecord("release", (Member("web", "x.io/web", "1.0", "1.1", ("a.yaml#image",)),))
    assert (
        why_of(compose(record, why='newest in semver "1.x" of 7 tags')) == 'newest in semver "1.x" of 7 tags'
    )
    assert why_of("only a subject") == ""


def test_people_are_found_by_name_mail_and_command() -> None:
    asked = change("1.0", "1.1", kind="rollback", actor="Bob B")
    for part, expected in (("bob", True), ("automator@", True), ("carol", False)):
        assert Wanted(people=frozenset({part})).takes(asked) is expected
