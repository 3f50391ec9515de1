"""The predicate of `after`: what an upstream must have held, and how long, before a version goes on."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automator.core.promotion import After, Stay, Upstream, promoted, stay_begins
from automator.core.windows import Window, state
from automator.reasons import Reason

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
DAY = timedelta(hours=24)
HOUR = timedelta(hours=1)
NEW, OTHER = "sha256:" + "a" * 64, "sha256:" + "b" * 64
STAGING = After(("staging/web",), None, DAY)
BOTH = After(("eu/web", "us/web"), None, DAY)
EITHER = After(("eu/web", "us/web"), None, DAY, "any")


def stay(
    begun: timedelta,
    ended: timedelta | None = None,
    tag: str = "1.4.3",
    digest: str | None = NEW,
    verified: bool = True,
) -> Stay:
    """A stay by how long ago it began and ended."""
    return Stay(tag, digest, NOW - begun, None if ended is None else NOW - ended, verified)


def upstream(*stays: Stay, name: str = "staging/web", complete: bool = True) -> Upstream:
    return Upstream(name, stays, frozenset(), complete)


def verdict(
    *stays: Stay, after: After = STAGING, now: datetime = NOW, urgent: bool = False, approved: bool = False
) -> str:
    """What becomes of 1.4.3 where one upstream has these stays."""
    known = {"staging/web": upstream(*stays)}
    return code(promoted("1.4.3", NEW, after, known, now, urgent=urgent, approved=approved))


def code(why: Reason | None) -> str:
    return "goes on" if why is None else why.code


def several(after: After, **known: Upstream | None) -> str:
    return code(promoted("1.4.3", NEW, after, {f"{name}/web": value for name, value in known.items()}, NOW))


# -- where runtimes tell what runs ------------------------------------------------------------------

UNTOLD = ("prod has not completed it",)


def test_a_stay_soaks_once_it_is_deployed() -> None:
    waiting = replace(stay(30 * DAY), awaits=UNTOLD)
    why = promoted("1.4.3", NEW, STAGING, {"staging/web": upstream(waiting)}, NOW)
    assert why is not None
    assert why.sentence == (
        "1.4.3 is in staging/web, and soaks once it is deployed there: prod has not completed it"
    )
    assert why.changes_at is None
    assert verdict(stay(DAY)) == "goes on", "its beginning is that at the runtimes"


def test_what_was_not_seen_deployed_is_not_taken_without_a_soak_either() -> None:
    at_once = replace(STAGING, soak=timedelta(0))
    assert verdict(replace(stay(HOUR), awaits=UNTOLD), after=at_once) == "guard/soak-undeployed"


def test_a_stay_that_ended_before_a_runtime_saw_it_is_no_proof() -> None:
    gone = replace(stay(30 * DAY, HOUR), awaits=UNTOLD)
    assert verdict(gone) == "guard/soak-unseen"
    assert verdict(gone, stay(40 * DAY, 35 * DAY)) == "goes on"
    assert verdict(gone, stay(40 * DAY, 39.5 * DAY)) == "guard/soak-ended"
    back = replace(stay(HOUR), awaits=UNTOLD)
    assert verdict(back, stay(40 * DAY, 39.5 * DAY)) == "guard/soak-undeployed"


def test_what_is_urgent_or_approved_waits_for_no_runtime() -> None:
    waiting = replace(stay(HOUR), awaits=UNTOLD)
    assert verdict(waiting, urgent=True) == "goes on"
    assert verdict(waiting, approved=True) == "goes on"
    assert verdict(replace(waiting, verified=False), urgent=True) == "guard/after-unverified"


def test_of_several_upstreams_the_one_that_is_not_deployed_is_told_after_one_that_soaks() -> None:
    waiting = replace(upstream(replace(stay(HOUR), awaits=UNTOLD)), name="us/web")
    soaking = upstream(stay(HOUR), name="eu/web")
    assert several(BOTH, eu=soaking, us=waiting) == "guard/soak-undeployed"
    assert several(EITHER, eu=soaking, us=waiting) == "guard/soak"


# -- the list of cases that every promotion chain is asked about -------------------------------------


def test_not_requested_origin_what_another_workload_held_proves_nothing() -> None:
    known = {"staging/web": upstream(), "qa/web": upstream(stay(30 * DAY), name="qa/web")}
    why = promoted("1.4.3", NEW, STAGING, known, NOW)
    assert why is not None
    assert why.code == "guard/after-never"
    assert why.sentence == f"staging/web never held 1.4.3@{NEW}"


@pytest.mark.parametrize(
    "known",
    [upstream(), upstream(stay(HOUR)), upstream(stay(HOUR, verified=False)), upstream(complete=False), None],
)
def test_approved_overrides_all_but_a_rejection(known: Upstream | None) -> None:
    assert promoted("1.4.3", NEW, STAGING, {"staging/web": known}, NOW, approved=True) is None
    rejecting = Upstream("staging/web", (stay(9 * DAY),), frozenset({("1.4.3", NEW)}))
    assert code(promoted("1.4.3", NEW, STAGING, {"staging/web": rejecting}, NOW, approved=True)) == (
        "guard/after-rejected"
    )


def test_verified_without_soak_goes_on_at_once() -> None:
    at_once = After(("staging/web",), None, timedelta(0))
    assert verdict(stay(timedelta(0)), after=at_once) == "goes on"
    assert verdict(stay(timedelta(0), verified=False), after=at_once) == "guard/after-unverified"


def test_soak_not_elapsed_waits_and_says_until_when() -> None:
    why = promoted("1.4.3", NEW, STAGING, {"staging/web": upstream(stay(3 * HOUR))}, NOW)
    assert why is not None
    assert why.sentence == "1.4.3 has been in staging/web for 3h of 1d; eligible at 2026-11-21 09:00:00 UTC"
    assert why.changes_at == datetime(2026, 11, 21, 9, 0, tzinfo=UTC)


def test_soak_exactly_elapsed_goes_on() -> None:
    assert verdict(stay(DAY - timedelta(microseconds=1))) == "guard/soak"
    assert verdict(stay(DAY)) == "goes on"


def test_it_goes_on_at_the_very_time_that_was_told() -> None:
    held = stay(3 * HOUR)
    why = promoted("1.4.3", NEW, STAGING, {"staging/web": upstream(held)}, NOW)
    assert why is not None
    assert why.changes_at is not None
    assert verdict(held, now=why.changes_at - timedelta(microseconds=1)) == "guard/soak"
    assert verdict(held, now=why.changes_at) == "goes on"


def test_soak_elapsed_then_left_goes_on() -> None:
    assert verdict(stay(9 * HOUR, tag="1.4.4"), stay(9 * HOUR + DAY, 9 * HOUR)) == "goes on"


def test_left_before_the_soak_was_over_is_not_waited_for() -> None:
    left = upstream(stay(HOUR, tag="1.4.4"), stay(20 * HOUR, HOUR), stay(80 * HOUR, 70 * HOUR))
    why = promoted("1.4.3", NEW, STAGING, {"staging/web": left}, NOW + 90 * DAY)
    assert why is not None
    assert why.sentence == "1.4.3 was in staging/web for 19h of 1d and is there no longer"
    assert why.changes_at is None


def test_reentry_begins_a_new_stay() -> None:
    assert (
        verdict(stay(13 * HOUR), stay(14 * HOUR, 13 * HOUR, tag="1.4.2"), stay(27 * HOUR, 14 * HOUR))
        == "guard/soak"
    )


def test_reentry_keeps_the_record() -> None:
    assert verdict(stay(HOUR), stay(2 * HOUR, HOUR, tag="1.4.2"), stay(26 * HOUR, 2 * HOUR)) == "goes on"


def test_all_wants_every_upstream_and_names_the_last() -> None:
    done, half = upstream(stay(DAY), name="eu/web"), upstream(stay(12 * HOUR), name="us/web")
    assert several(BOTH, eu=done, us=half) == "guard/soak"
    assert several(BOTH, eu=done, us=upstream(stay(25 * HOUR), name="us/web")) == "goes on"
    fresh = upstream(stay(HOUR), name="eu/web")
    why = promoted("1.4.3", NEW, BOTH, {"eu/web": fresh, "us/web": half}, NOW)
    assert why is not None
    assert why.sentence.startswith("1.4.3 has been in eu/web for 1h")
    assert several(BOTH, eu=upstream(), us=half) == "guard/after-never"


def test_any_wants_one_upstream_and_names_the_first_to_come() -> None:
    half, fresh = upstream(stay(12 * HOUR), name="eu/web"), upstream(stay(HOUR), name="us/web")
    assert several(EITHER, eu=upstream(stay(DAY), name="eu/web"), us=upstream(name="us/web")) == "goes on"
    why = promoted("1.4.3", NEW, EITHER, {"eu/web": half, "us/web": fresh}, NOW)
    assert why is not None
    assert why.changes_at == NOW + 12 * HOUR
    assert several(EITHER, eu=upstream(), us=fresh) == "guard/soak"


def test_unverified_but_long_present_has_no_soak() -> None:
    assert verdict(stay(90 * DAY, verified=False)) == "guard/after-unverified"
    assert verdict(stay(HOUR, verified=False), stay(9 * HOUR, 2 * HOUR)) == "guard/after-unverified"


def test_a_verified_stay_counts_beside_one_that_is_not() -> None:
    assert verdict(stay(HOUR, verified=False), stay(30 * HOUR, 2 * HOUR)) == "goes on"


def test_clock_skew_a_beginning_in_the_future_is_no_soak() -> None:
    why = promoted("1.4.3", NEW, STAGING, {"staging/web": upstream(stay(-2 * HOUR))}, NOW)
    assert why is not None
    assert why.changes_at == NOW + 26 * HOUR
    assert "for 0s of 1d" in why.sentence
    assert verdict(stay(-50 * HOUR, -2 * HOUR)) == "guard/soak-ended"
    assert verdict(stay(HOUR, 30 * HOUR)) == "guard/soak-ended", "it ended before it began"


def test_clock_skew_an_end_in_the_future_counts_to_now() -> None:
    assert verdict(stay(20 * HOUR, -90 * HOUR)) == "guard/soak"
    assert verdict(stay(20 * HOUR, -3 * HOUR)) == "guard/soak-ended"
    assert verdict(stay(20 * HOUR, -4 * HOUR), now=NOW + 4 * HOUR) == "goes on"


def test_a_commit_dated_back_soaks_from_the_time_it_was_seen() -> None:
    committed = NOW - 90 * DAY
    seen = NOW - HOUR
    begun = stay_begins(committed, merged=NOW - 2 * HOUR, seen=seen)
    assert begun == seen
    assert verdict(Stay("1.4.3", NEW, begun, None)) == "guard/soak"
    assert stay_begins(committed) == committed
    assert stay_begins(committed, deployed=NOW, seen=seen) == NOW


def test_restart_mid_soak_goes_on_counting() -> None:
    committed = NOW - 20 * HOUR
    seen = NOW - 19 * HOUR  # kept over the restart
    before = Stay("1.4.3", NEW, stay_begins(committed, seen=seen), None)
    assert verdict(before) == "guard/soak"
    assert verdict(before, now=NOW + 5 * HOUR) == "goes on"


def test_state_cache_deleted_begins_the_soak_anew_and_never_skips_it() -> None:
    committed = NOW - 90 * DAY
    again = Stay("1.4.3", NEW, stay_begins(committed, seen=NOW), None)
    assert verdict(again) == "guard/soak"
    assert verdict(again, now=NOW + DAY) == "goes on"


def test_two_candidates_in_a_row_during_soak_leave_the_older_behind() -> None:
    moved_on = upstream(stay(HOUR, tag="1.4.4", digest=OTHER), stay(10 * HOUR, HOUR))
    for version, digest, expected in [("1.4.3", NEW, "guard/soak-ended"), ("1.4.4", OTHER, "guard/soak")]:
        assert code(promoted(version, digest, STAGING, {"staging/web": moved_on}, NOW)) == expected


def test_two_candidates_in_a_row_the_older_stays_eligible_once_it_has_soaked() -> None:
    moved_on = upstream(stay(HOUR, tag="1.4.4", digest=OTHER), stay(30 * HOUR, HOUR))
    assert promoted("1.4.3", NEW, STAGING, {"staging/web": moved_on}, NOW) is None
    assert code(promoted("1.4.4", OTHER, STAGING, {"staging/web": moved_on}, NOW)) == "guard/soak"


def test_failed_then_newer_the_newer_goes_on_alone() -> None:
    held = (stay(30 * HOUR, tag="1.4.4", digest=OTHER), stay(80 * HOUR, 30 * HOUR, verified=False))
    known = {"staging/web": Upstream("staging/web", held, frozenset({("1.4.3", NEW)}))}
    assert promoted("1.4.4", OTHER, STAGING, known, NOW) is None
    assert code(promoted("1.4.3", NEW, STAGING, known, NOW)) == "guard/after-rejected"


def test_hold_set_by_failed_promotion_no_a_failed_check_rejects_nothing() -> None:
    failed = stay(40 * HOUR, 10 * HOUR, verified=False)
    assert verdict(failed) == "guard/after-unverified"
    assert verdict(stay(DAY), failed) == "goes on", "a later stay that passes is as good as any"


def test_window_closes_mid_verification_soak_goes_on_and_the_release_waits() -> None:
    office = (Window.parse("allow", "0 9 * * *", 8 * HOUR, "UTC"),)
    held = stay(20 * HOUR, verified=False)  # open now, at noon; closed at five
    evening = NOW + 6 * HOUR
    passed = Stay(held.tag, held.digest, held.since, None, verified=True)
    assert verdict(held, now=evening) == "guard/after-unverified"
    assert verdict(passed, now=evening) == "goes on"
    assert not state(office, evening).open
    morning = state(office, evening).changes_at
    assert morning == datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
    assert verdict(passed, now=morning) == "goes on"


@pytest.mark.parametrize("digest", [NEW, None])
@pytest.mark.parametrize("after", [STAGING, BOTH, EITHER])
def test_human_revert_rejected_upstream_is_rejected_downstream(digest: str | None, after: After) -> None:
    soaked = (stay(HOUR, tag="1.4.2"), stay(50 * HOUR, HOUR))
    rejecting = Upstream(after.upstreams[0], soaked, frozenset({("1.4.3", digest)}))
    known: dict[str, Upstream | None] = {name: upstream(*soaked, name=name) for name in after.upstreams}
    known[after.upstreams[0]] = rejecting
    why = promoted("1.4.3", NEW, after, known, NOW, urgent=True)
    assert why is not None
    assert why.sentence == f"1.4.3 was rejected in {after.upstreams[0]}"


def test_a_rejection_is_of_that_version_alone() -> None:
    rejected = frozenset({("1.4.3", OTHER), ("1.4.2", NEW)})
    known = {"staging/web": Upstream("staging/web", (stay(DAY),), rejected)}
    assert promoted("1.4.3", NEW, STAGING, known, NOW) is None


def test_force_push_of_history_takes_the_proof_with_it() -> None:
    assert verdict(stay(30 * HOUR)) == "goes on"
    assert verdict(stay(30 * HOUR, tag="1.4.2")) == "guard/after-never"


# -- what else holds ---------------------------------------------------------------------------------


def test_another_digest_under_the_tag_is_another_version() -> None:
    assert verdict(stay(90 * DAY, digest=OTHER)) == "guard/after-never"
    assert verdict(stay(90 * DAY, digest=None)) == "guard/after-never"
    assert verdict(stay(90 * DAY, tag="latest")) == "guard/after-never"


def test_history_that_is_not_known_withholds() -> None:
    assert several(BOTH, eu=upstream(stay(DAY), name="eu/web")) == "guard/after-unknown"
    assert several(EITHER, eu=upstream(stay(DAY), name="eu/web"), us=None) == "guard/after-unknown"
    why = promoted("1.4.3", NEW, STAGING, {"staging/web": upstream(complete=False)}, NOW, urgent=True)
    assert why is not None
    assert why.sentence == "whether staging/web has held 1.4.3, and kept it, is not known"


def test_history_need_not_reach_further_back_than_the_stay() -> None:
    assert promoted("1.4.3", NEW, STAGING, {"staging/web": upstream(stay(DAY), complete=False)}, NOW) is None


def test_urgent_passes_the_soak() -> None:
    assert verdict(stay(HOUR), urgent=True) == "goes on"
    assert verdict(stay(2 * HOUR, HOUR), urgent=True) == "goes on"


def test_urgent_passes_nothing_else() -> None:
    assert verdict(urgent=True) == "guard/after-never"
    assert verdict(stay(30 * DAY, digest=OTHER), urgent=True) == "guard/after-never"
    assert verdict(stay(30 * DAY, verified=False), urgent=True) == "guard/after-unverified"


def test_after_a_group_every_member_counts() -> None:
    shop = After((), "shop", DAY)
    soaked, fresh = upstream(stay(DAY), name="eu/web"), upstream(stay(HOUR), name="us/web")
    assert several(shop, eu=soaked, us=fresh) == "guard/soak"
    assert several(shop, eu=soaked) == "goes on"


def test_a_group_without_members_lets_nothing_through() -> None:
    why = promoted("1.4.3", NEW, After((), "shop", timedelta(0)), {}, NOW, urgent=True)
    assert why is not None
    assert why.sentence == "whether shop has held 1.4.3, and kept it, is not known"


def test_times_are_told_in_utc() -> None:
    begun = datetime(2026, 11, 20, 12, 0, tzinfo=timezone(timedelta(hours=2)))
    why = promoted("1.4.3", NEW, STAGING, {"staging/web": upstream(Stay("1.4.3", NEW, begun, None))}, NOW)
    assert why is not None
    assert why.sentence.endswith("for 2h of 1d; eligible at 2026-11-21 10:00:00 UTC")


# -- laws --------------------------------------------------------------------------------------------

AGO = st.integers(-30, 60).map(lambda hours: hours * HOUR)
STAYS = st.lists(
    st.builds(
        stay,
        AGO,
        st.none() | AGO,
        st.sampled_from(["1.4.3", "1.4.3", "1.4.4"]),
        st.sampled_from([NEW, NEW, NEW, OTHER, None]),
        st.sampled_from([True, True, False]),
    ),
    max_size=4,
).map(tuple)
REJECTED = st.frozensets(
    st.tuples(st.sampled_from(["1.4.3", "1.4.4"]), st.sampled_from([NEW, OTHER, None])), max_size=1
)
UPSTREAM = st.builds(Upstream, st.just("up"), STAYS, st.just(frozenset()) | REJECTED, st.booleans())
KNOWN = st.dictionaries(st.sampled_from(["a", "b", "c"]), st.none() | UPSTREAM, max_size=3)
NAMES = st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=3, unique=True).map(tuple)
AFTER = st.builds(
    After, NAMES, st.none(), st.integers(0, 48).map(lambda n: n * HOUR), st.sampled_from(["all", "any"])
)
Known = dict[str, Upstream | None]


def goes_on(after: After, known: Known, urgent: bool = False, now: datetime = NOW) -> bool:
    return promoted("1.4.3", NEW, after, known, now, urgent=urgent) is None


@given(AFTER, KNOWN, st.booleans())
def test_what_goes_on_was_held_that_long_and_rejected_nowhere(
    after: After, known: Known, urgent: bool
) -> None:
    if not goes_on(after, known, urgent):
        return
    proven = []
    for name in after.upstreams:
        upstream = known[name]
        assert upstream is not None
        assert not {("1.4.3", NEW), ("1.4.3", None)} & upstream.rejected
        proven.append(
            any(
                held.verified
                and (held.tag, held.digest) == ("1.4.3", NEW)
                and (
                    urgent
                    or after.soak == timedelta(0)
                    or min(held.until or NOW, NOW) - held.since >= after.soak
                )
                for held in upstream.stays
            )
        )
    assert all(proven) if after.need == "all" else any(proven)


@given(AFTER, KNOWN, st.booleans())
def test_after_more_upstreams_no_more_goes_on(after: After, known: Known, urgent: bool) -> None:
    fewer = After(after.upstreams[:1], None, after.soak, "all")
    everything = After(after.upstreams, None, after.soak, "all")
    assert goes_on(everything, known, urgent) <= goes_on(fewer, known, urgent)
    assert goes_on(everything, known, urgent) <= goes_on(
        After(after.upstreams, None, after.soak, "any"), known, urgent
    )


@given(AFTER, KNOWN, st.integers(0, 48), st.booleans())
def test_a_longer_soak_lets_no_more_go_on(after: After, known: Known, hours: int, urgent: bool) -> None:
    longer = After(after.upstreams, None, after.soak + hours * HOUR, after.need)
    assert goes_on(longer, known, urgent) <= goes_on(after, known, urgent)


@given(AFTER, KNOWN, st.data(), st.booleans())
def test_knowing_less_lets_no_more_go_on(
    after: After, known: Known, data: st.DataObject, urgent: bool
) -> None:
    name = data.draw(st.sampled_from(after.upstreams))
    upstream = known.get(name)
    less: list[Upstream | None] = [None]
    if upstream is not None:
        kept = [upstream.stays[:i] + upstream.stays[i + 1 :] for i in range(len(upstream.stays))]
        less += [Upstream(name, stays, upstream.rejected, upstream.complete) for stays in kept]
        less.append(Upstream(name, upstream.stays, upstream.rejected, complete=False))
    for one in less:
        assert goes_on(after, {**known, name: one}, urgent) <= goes_on(after, known, urgent)


@given(AFTER, KNOWN, st.booleans(), st.booleans())
def test_a_told_time_is_the_time_at_which_it_changes(
    after: After, known: Known, urgent: bool, late: bool
) -> None:
    now = NOW + (7 * HOUR if late else timedelta(0))
    why = promoted("1.4.3", NEW, after, known, now, urgent=urgent)
    if why is None or why.changes_at is None:
        return
    assert why.changes_at > now
    assert not goes_on(after, known, urgent, why.changes_at - timedelta(microseconds=1))
    assert goes_on(after, known, urgent, why.changes_at)
