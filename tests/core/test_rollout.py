"""Rollouts: what looks at a runtime come to, one after the other."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automator.core.rollout import (
    FAILURES,
    FALLS,
    LAPSE,
    PAUSES,
    SOON,
    TIMES,
    TROUBLED,
    Landing,
    Rollout,
    Silence,
    Told,
    first_ran,
    from_text,
    heard,
    is_news,
    landing,
    renewed,
    to_text,
    unseen,
)
from automator.core.running import Deployed, Deployment, DeployState

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
DIGEST, OTHER = "sha256:" + "a" * 64, "sha256:" + "b" * 64
DEPLOYED, PENDING, FAILED, ABSENT, UNKNOWN = (
    DeployState.DEPLOYED,
    DeployState.PENDING,
    DeployState.FAILED,
    DeployState.ABSENT,
    DeployState.UNKNOWN,
)
PULLING = "Deployment shop/web: ImagePullBackOff"


def look(
    state: DeployState, trouble: str | None = None, tag: str = "1.4.3", digest: str | None = None
) -> Deployment:
    return Deployment("web", tag, digest, Deployed("prod", state, None, trouble))


def after(*looks: Deployment, every: timedelta = MINUTE) -> Rollout:
    """What looks come to, the first of them now."""
    rollout: Rollout | None = None
    for i, one in enumerate(looks):
        rollout = heard(rollout, one, NOW + i * every)
    assert rollout is not None
    return rollout


def well(tag: str = "1.4.3", digest: str | None = None) -> tuple[Deployment, Deployment]:
    """Looks that show it deployed."""
    return (look(DEPLOYED, tag=tag, digest=digest),) * 2


def test_a_version_is_deployed_from_the_look_that_showed_it_whatever_restarts_later() -> None:
    found = after(look(PENDING), *well(), look(PENDING), look(UNKNOWN), look(DEPLOYED))
    assert (found.state, found.deployed) == (DEPLOYED, NOW + MINUTE)
    assert after(*well(), look(PENDING)).deployed == NOW


def test_one_good_look_proves_nothing_and_two_that_are_no_row_neither() -> None:
    once = after(look(DEPLOYED))
    assert (once.state, once.deployed) == (PENDING, None)
    assert Told((once,), NOW).words("1.4.3", None) == "shows it well, and is believed at the next look"
    for between in (look(PENDING), look(PENDING, PULLING), look(UNKNOWN), look(ABSENT)):
        found = after(look(DEPLOYED), between, look(DEPLOYED))
        assert (found.state, found.deployed) == (PENDING, None)
    told_nothing = unseen(once, NOW + MINUTE)
    assert heard(told_nothing, look(DEPLOYED), NOW + 600 * MINUTE).deployed is None
    found = after(*well(), look(PENDING, PULLING), look(DEPLOYED))
    assert found.state is PENDING, "after trouble, too"
    assert heard(found, look(DEPLOYED), NOW + 4 * MINUTE).state is DEPLOYED


def test_between_two_looks_far_apart_nobody_knows() -> None:
    found = heard(after(look(DEPLOYED)), look(DEPLOYED), NOW + 600 * MINUTE)
    assert (found.state, found.deployed) == (DEPLOYED, NOW + 600 * MINUTE)
    seldom = heard(after(look(DEPLOYED)), look(DEPLOYED), NOW + 60 * MINUTE, lapse=240 * MINUTE)
    assert seldom.deployed == NOW


def test_what_the_runtime_says_of_its_own_times_is_not_believed() -> None:
    early = Deployment("web", "1.4.3", None, Deployed("prod", DEPLOYED, NOW - 30 * MINUTE))
    assert heard(heard(None, early, NOW), early, NOW + MINUTE).deployed == NOW


@pytest.mark.parametrize("looks", [1, 2])
def test_one_bad_look_fails_nothing(looks: int) -> None:
    found = after(*[look(FAILED, "exceeded its deadline")] * looks)
    assert found.state is PENDING
    assert after(*[look(FAILED, "x")] * looks, look(DEPLOYED), *[look(FAILED, "x")] * looks).state is PENDING


def test_a_version_has_failed_that_the_runtime_gave_up_on_several_looks_in_a_row() -> None:
    found = after(*well(), *[look(FAILED, "exceeded its deadline")] * FAILURES)
    assert (found.state, found.deployed, found.trouble) == (FAILED, None, "exceeded its deadline")
    again = heard(heard(found, look(DEPLOYED), NOW + 9 * MINUTE), look(DEPLOYED), NOW + 10 * MINUTE)
    assert (again.state, again.deployed) == (DEPLOYED, NOW + 9 * MINUTE), "its soak begins anew"


def test_trouble_that_may_pass_fails_a_version_once_it_lasts() -> None:
    some = [look(PENDING, PULLING)] * 10
    assert after(*some).state is PENDING
    found = after(*some, look(PENDING, PULLING))
    assert found.since - found.begun == TROUBLED
    assert (found.state, found.trouble) == (FAILED, PULLING)
    assert after(*[look(PENDING)] * 60).state is PENDING, "that it takes its time fails nothing"


def test_a_container_that_restarts_again_and_again_is_not_well_between_its_falls() -> None:
    row = [look(PENDING, "CrashLoopBackOff")] * 3
    assert after(*row, look(DEPLOYED), look(DEPLOYED), *row, look(PENDING), *row).state is FAILED


def test_glimpses_of_trouble_that_passes_each_time_fail_nothing() -> None:
    glimpses = [look(PENDING, "ErrImagePull"), *[look(PENDING)] * 3]
    assert {after(*(glimpses * 9)[:n]).state for n in range(1, 36)} == {PENDING}


def test_a_rollout_that_makes_progress_is_not_failing() -> None:
    def ready(count: int) -> Deployment:
        return Deployment("web", "1.4.3", None, Deployed("prod", PENDING, None, PULLING, count))

    assert after(*[ready(i // 3) for i in range(60)]).state is PENDING
    assert after(*[ready(7)] * 12).state is FAILED
    assert after(ready(7), *[ready(i % 2) for i in range(12)]).state is FAILED, (
        "fewer and again more are none"
    )


def test_trouble_before_a_long_silence_is_another_trouble() -> None:
    two = after(*[look(PENDING, PULLING)] * 2)
    assert heard(two, look(PENDING, PULLING), NOW + 180 * MINUTE).state is PENDING
    seldom = [(look(PENDING, PULLING), NOW + i * 10 * MINUTE) for i in range(3)]
    found: Rollout | None = None
    for one, at in seldom:
        found = heard(found, one, at, lapse=30 * MINUTE)
    assert found is not None
    assert found.state is FAILED, "of a runtime that is asked seldom, a row takes longer"


def test_what_failed_before_a_release_says_nothing_of_it() -> None:
    failed = after(*[look(FAILED, "exceeded its deadline")] * FAILURES)
    assert renewed(failed, NOW).state is FAILED
    anew = renewed(failed, NOW + 3 * MINUTE)
    assert (anew.state, anew.trouble) == (UNKNOWN, None)
    assert heard(anew, look(PENDING, PULLING), NOW + 4 * MINUTE).state is PENDING
    late = heard(heard(failed, look(PENDING), NOW + 61 * MINUTE), look(PENDING, PULLING), NOW + 62 * MINUTE)
    assert late.state is PENDING, "nor what failed an hour ago"


def test_two_looks_far_apart_are_not_enough() -> None:
    assert after(*[look(PENDING, PULLING)] * 2, every=timedelta(hours=1)).state is PENDING


# -- what ends it without a failure ---------------------------------------------------------------------

GONE = look(ABSENT, "Deployment shop/web runs 1.4.2")
LAPSES = LAPSE // MINUTE


def test_a_version_that_is_seen_not_to_run_is_deployed_no_more_and_has_not_failed() -> None:
    assert after(*well(), *[GONE] * LAPSES).deployed == NOW, "objects move"
    found = after(*well(), *[GONE] * 60)
    assert (found.state, found.deployed, found.noes, found.ill) == (ABSENT, None, 0, None)
    ended = after(*well(), *[GONE] * (LAPSES + 1))
    assert ended.deployed is None
    back = heard(ended, look(DEPLOYED), NOW + 8 * MINUTE)
    assert back.state is PENDING, "two looks, as at first"
    back = heard(back, look(DEPLOYED), NOW + 9 * MINUTE)
    assert (back.state, back.deployed) == (DEPLOYED, NOW + 8 * MINUTE), "its soak begins anew"
    assert heard(back, GONE, NOW + 10 * MINUTE).deployed == back.deployed, (
        "and one look ends nothing, as before"
    )


def test_an_absence_is_no_trouble_and_ends_a_row_of_it() -> None:
    gave_up = [look(FAILED, "gave up")] * 2
    assert after(*gave_up, GONE, *gave_up).state is PENDING
    up = Deployment("web", "1.4.3", None, Deployed("prod", DEPLOYED, None, None, 5))
    pulls = [Deployment("web", "1.4.3", None, Deployed("prod", PENDING, None, PULLING, n)) for n in (0, 1)]
    back = after(up, up, *[GONE] * 9, *pulls[:1] * 9, *pulls[1:] * 9)
    assert back.state is PENDING, "what comes back makes its progress anew"


def test_an_absence_that_looks_do_not_tell_of_is_not_over() -> None:
    between = after(*well(), GONE, *[look(UNKNOWN)] * LAPSES)
    assert between.deployed == NOW
    assert heard(between, GONE, NOW + 60 * MINUTE).deployed is None
    seldom = heard(after(*well(), GONE), GONE, NOW + 12 * MINUTE, lapse=20 * MINUTE)
    assert seldom.deployed == NOW, "of a runtime that is asked seldom, it takes longer"


@pytest.mark.parametrize("there", [DEPLOYED, PENDING])
def test_glimpses_of_an_absence_end_nothing_and_one_that_keeps_coming_back_does(there: DeployState) -> None:
    seen = [GONE, *[look(there)] * (LAPSES + 1)]
    assert after(*well(), *seen * 9).deployed == NOW
    assert after(*well(), *[GONE, look(there), look(there)] * 3).deployed != NOW


def test_what_was_there_before_a_version_is_no_absence_of_it() -> None:
    assert after(*[GONE] * 9, *well(), GONE).deployed == NOW + 9 * MINUTE


def test_a_soak_is_not_over_at_a_look_that_shows_the_version_gone() -> None:
    glimpse = Told((after(*well(), GONE),), NOW + 2 * MINUTE)
    assert ran(glimpse, NOW) is None
    words = "does not run it: Deployment shop/web runs 1.4.2"
    assert landing({"eu": glimpse}, "1.4.3", None, NOW, None) == Landing(None, (f"eu {words}",))
    assert glimpse.now("eu", "1.4.3", None) == Deployed("eu", ABSENT, NOW + 2 * MINUTE, words)
    assert ran(glimpse, NOW, NOW + MINUTE) == NOW, "a stay that has ended has been"
    assert ran(Told((after(*well(), GONE, look(DEPLOYED)),), NOW), NOW) == NOW


def test_when_it_first_ran_is_told_whatever_came_later() -> None:
    for later in ([GONE] * 9, [look(FAILED, "gave up")] * 3):
        told = {"eu": Told((after(look(PENDING), *well(), *later),), NOW + 12 * MINUTE)}
        assert landing(told, "1.4.3", None, NOW, None).at is None
        assert first_ran(told, "1.4.3", None, NOW, None) == NOW + MINUTE
        assert first_ran({**told, "us": Told()}, "1.4.3", None, NOW, None) is None
        assert first_ran(told, "1.4.3", None, NOW + 5 * MINUTE, None) is None, "that was an earlier stay"


# -- replicas of which none is ready, and none at all ---------------------------------------------------

DOWN = [
    Deployment("web", "1.4.3", None, Deployed("prod", state, None, words, 0, is_down=True, is_short=True))
    for state, words in ((PENDING, None), (UNKNOWN, "no node takes it"), (PENDING, PULLING))
]
IDLE = Deployment("web", "1.4.3", None, Deployed("prod", ABSENT, None, "no replicas", 0, is_idle=True))
LASTS = TROUBLED // MINUTE


@pytest.mark.parametrize("down", DOWN)
def test_a_soak_ends_while_no_replica_is_ready(down: Deployment) -> None:
    ended = after(*well(), *[down] * (LASTS + 1))
    assert (ended.deployed, ended.first) == (None, NOW)
    assert ran(Told((ended,), NOW + 12 * MINUTE), NOW) is None
    back = after(*well(), *[down] * 60, *well())
    assert back.deployed == NOW + 62 * MINUTE, "it soaks anew"
    silent = heard(after(*well(), down), down, NOW + 60 * MINUTE)
    assert silent.deployed is None, "a silence between proves nothing"


def test_that_none_is_ready_fails_nothing() -> None:
    for down in DOWN[:2]:
        found = after(*well(), *[down] * 600)
        assert (found.state, found.noes, found.ill) == (down.seen.state, 0, None)


@pytest.mark.parametrize("down", DOWN)
def test_an_only_replica_that_is_started_again_keeps_its_soak(down: Deployment) -> None:
    for looks in range(1, LASTS):
        found = after(*well(), *[down] * looks, look(DEPLOYED), look(DEPLOYED))
        assert found.deployed == NOW
        assert ran(Told((found,), NOW + (looks + 3) * MINUTE), NOW) == NOW


ILL = Deployment("web", "1.4.3", None, Deployed("prod", PENDING, None, "CrashLoopBackOff", 1))
GAVE_UP = Deployment("web", "1.4.3", None, Deployed("prod", FAILED, None, "gave up", 1))
FEW = Deployment("web", "1.4.3", None, Deployed("prod", PENDING, None, None, 1, is_short=True))
UNFOUND = Deployment("web", "1.4.3", None, Deployed("prod", UNKNOWN, None, "nothing there", is_short=True))


@pytest.mark.parametrize("bad", [*DOWN, ILL, GAVE_UP, FEW, UNFOUND])
@pytest.mark.parametrize("every", [MINUTE, 60 * MINUTE])
def test_no_version_goes_on_at_a_look_that_shows_it_ill_or_short(bad: Deployment, every: timedelta) -> None:
    up = heard(after(*well()), look(DEPLOYED), NOW + 2 * MINUTE, lapse=240 * MINUTE)
    for looks in (1, 2):
        found, at = up, NOW
        for number in range(looks):
            at = NOW + 2 * MINUTE + (number + 1) * every
            found = heard(found, bad, at, lapse=240 * MINUTE)
        assert found.deployed == NOW, "it ends nothing"
        assert ran(Told((found,), at), NOW) is None
        assert ran(Told((found,), at), NOW, NOW + MINUTE) == NOW, "a stay that has ended has been"
        assert ran(Told((unseen(heard(found, look(UNKNOWN), at), at),), at), NOW) is None, (
            "in a silence either"
        )
        assert from_text(to_text(found)) == found
        later = at + every
        for kind in (look(DEPLOYED), look(PENDING)):
            back = heard(heard(found, kind, later, lapse=MINUTE), kind, later + MINUTE, lapse=MINUTE)
            assert ran(Told((back,), later + MINUTE), NOW) == NOW


def test_a_version_goes_on_while_its_runtime_is_silent_or_says_nothing_of_it() -> None:
    found = after(*well(), look(UNKNOWN))
    assert ran(Told((found,), NOW + 2 * MINUTE), NOW) == NOW
    silent = Told((unseen(found, NOW + 3 * MINUTE),), NOW + 2 * MINUTE, Silence(NOW + 3 * MINUTE, "timeout"))
    assert ran(silent, NOW) == NOW


@pytest.mark.parametrize("state", [DEPLOYED, PENDING, UNKNOWN])
def test_a_look_that_does_not_show_an_object_down_ends_nothing(state: DeployState) -> None:
    seen = Deployed("prod", state, None, None, 0, is_down=state is DEPLOYED, is_short=True)
    assert after(*well(), *[Deployment("web", "1.4.3", None, seen)] * 60).deployed == NOW


def unknown(**more: bool) -> Deployment:
    return Deployment("web", "1.4.3", None, Deployed("prod", UNKNOWN, None, "no node takes one", **more))


def test_a_version_goes_on_once_enough_of_it_is_seen_again_whatever_else_is_not_known() -> None:
    for bad in (FEW, ILL, UNFOUND, GONE, IDLE):
        for looks in (1, 60):
            enough = after(*well(), bad, *[unknown(is_counted=True)] * looks)
            nothing = after(*well(), bad, *[unknown()] * looks)
            few = after(*well(), bad, *[unknown(is_counted=True, is_short=True)] * looks)
            assert enough.deployed == nothing.deployed == few.deployed == NOW
            assert ran(Told((nothing,), NOW), NOW) is ran(Told((few,), NOW), NOW) is None
            expected = None if bad is IDLE else NOW  # a pause ends once it is well
            assert ran(Told((enough,), NOW), NOW) == expected


HEARSAY = Deployment(
    "web", "1.4.3", None, Deployed("prod", FAILED, None, "HelmRelease web: timed out", is_hearsay=True)
)


def test_what_its_synchronizer_alone_says_fails_nothing_that_something_was_in_the_way_of() -> None:
    waits, hearsay = unknown(is_hindered=True), [HEARSAY] * 60
    assert after(*hearsay).state is FAILED
    for found in (after(*[waits] * 5, *hearsay), after(waits, look(UNKNOWN), look(ABSENT), *hearsay)):
        assert (found.state, found.trouble) == (UNKNOWN, "HelmRelease web: timed out")
    assert after(waits, *well(), *hearsay).state is FAILED, "it was well after that"
    assert after(*[waits] * 5, *[look(FAILED, "gave up")] * 9).state is FAILED, "its controller saw it"


def test_what_was_in_the_way_excuses_nothing_for_good_of_what_stands_there() -> None:
    waits, stands = (
        unknown(is_hindered=True),
        Deployed("prod", FAILED, None, "x", is_hearsay=True, is_counted=True),
    )
    blamed = Deployment("web", "1.4.3", None, stands)
    assert after(waits, *[blamed] * 9).state is UNKNOWN
    assert after(waits, *[blamed] * (LASTS + 3)).state is FAILED
    found = after(*well(), waits, *[blamed] * 3)
    assert (found.state, found.deployed) == (UNKNOWN, NOW)
    assert ran(Told((found,), NOW), NOW) is None, "and no version goes on meanwhile"


def test_days_add_up_of_what_has_no_replicas_at_night() -> None:
    looks = [*well(), *[look(DEPLOYED)] * 58, *[IDLE] * 60] * 3
    night, morning = after(*looks), after(*looks, *well())
    assert ran(Told((night,), NOW + 360 * MINUTE), NOW) is None, "no version goes on without replicas"
    told = Told((morning,), NOW + 362 * MINUTE)
    assert ran(told, NOW) == NOW + 180 * MINUTE
    assert ran(told, NOW + 150 * MINUTE) == NOW + 270 * MINUTE, "of nights before a stay, none counts"
    assert ran(Told((night,), NOW + 360 * MINUTE), NOW, NOW + 350 * MINUTE) == NOW + 170 * MINUTE
    assert ran(Told((night,), NOW), NOW, NOW + 90 * MINUTE) == NOW + 30 * MINUTE, "and of those after it"
    assert told.came("1.4.3", None, NOW, None) == NOW
    assert from_text(to_text(morning)) == morning


def test_what_wakes_soaks_on_once_it_is_well_and_not_while_it_starts() -> None:
    starts = [*DOWN[:1] * 20, look(UNKNOWN)]
    found = Told((after(*well(), *[IDLE] * 9, *starts),), NOW + 32 * MINUTE)
    assert ran(found, NOW) is None
    assert ran(Told((after(*well(), *[IDLE] * 9, *starts, *well()),), NOW), NOW) == NOW + 30 * MINUTE
    undone = after(*well(), *[IDLE] * 9, *[GONE] * 9, *well())
    assert undone.deployed == NOW + 20 * MINUTE, "unless it was gone, or failed"
    assert undone.pauses == ()
    ill = after(*well(), *[IDLE] * 9, *[look(FAILED, "gave up")] * FAILURES, *well())
    assert ill.deployed == NOW + 14 * MINUTE


def test_glimpses_without_a_ready_replica_end_nothing_and_sleep_is_no_absence() -> None:
    assert after(*well(), *[*DOWN[:1], *[look(PENDING)] * (LAPSES + 1)] * 9).deployed == NOW
    assert after(*well(), *[GONE, *[IDLE] * (LAPSES + 1)] * 9, look(DEPLOYED)).deployed == NOW


def test_a_clock_that_was_put_back_makes_no_pause_longer() -> None:
    found = after(*well(), *[IDLE] * 60, look(DEPLOYED))
    back = heard(found, look(DEPLOYED), NOW + 10 * MINUTE)
    assert ran(Told((back,), NOW + 10 * MINUTE), NOW) == NOW + 8 * MINUTE


def test_pauses_of_a_long_time_are_kept_in_few_words_and_count_as_long() -> None:
    times = 9 * PAUSES
    found = after(*well(), *[IDLE, look(DEPLOYED), look(DEPLOYED)] * times)
    assert len(found.pauses) == PAUSES
    assert ran(Told((found,), NOW), NOW) == NOW + times * MINUTE
    assert len(to_text(found)) < 8000


def loops(period: timedelta, *, lasts: timedelta, ready: int = 1, before: int = 0) -> list[Rollout]:
    """A look each minute at containers that are well but for a fall in every period, after the first hour."""
    found: list[Rollout] = []
    for i in range(lasts // MINUTE):
        falls = max(0, (i * MINUTE - SOON) // period + 1)
        told = Deployed("prod", DEPLOYED, None, None, ready, before + falls)
        found.append(
            heard(found[-1] if found else None, Deployment("web", "1.4.3", None, told), NOW + i * MINUTE)
        )
    return found


@pytest.mark.parametrize(
    ("minutes", "ready"), [(7, 1), (11, 1), (15, 1), (30, 1), (60, 1), (60, 3), (17, 10), (5, 100)]
)
def test_what_is_started_again_and_again_is_deployed_no_more_and_has_not_failed(
    minutes: int, ready: int
) -> None:
    found = loops(minutes * MINUTE, lasts=24 * SOON, ready=ready)
    falls = SOON + (FALLS - 1) * minutes * MINUTE
    assert [one.deployed for one in found[2 : falls // MINUTE]] == [NOW] * (falls // MINUTE - 2)
    assert {(one.state, one.deployed) for one in found[falls // MINUTE :]} == {(PENDING, None)}
    at = max(one.fell for one in found if one.fell)
    words = f"starts it again and again, seen last at {at:%Y-%m-%d %H:%M} UTC"
    assert Told((found[-1],), NOW).words("1.4.3", None) == words


@pytest.mark.parametrize(("minutes", "ready"), [(61, 1), (24 * 60, 3), (30, 10), (6, 100)])
def test_a_fall_now_and_then_ends_nothing(minutes: int, ready: int) -> None:
    assert {one.deployed for one in loops(minutes * MINUTE, lasts=48 * SOON, ready=ready)[2:]} == {NOW}


@pytest.mark.parametrize("every", [5, 30])
@pytest.mark.parametrize("minutes", [90, 110])
def test_who_looks_seldom_sees_no_loop_where_others_see_none(minutes: int, every: int) -> None:
    rollout: Rollout | None = None
    for at in range(0, 48 * 60, every):
        seen = Deployed("prod", DEPLOYED, None, None, 20, at // minutes)
        one = Deployment("web", "1.4.3", None, seen)
        rollout = heard(rollout, one, NOW + at * MINUTE, lapse=timedelta(hours=2))
    assert rollout is not None
    assert rollout.deployed == NOW


def restarted(*counts: int | None, state: DeployState = DEPLOYED) -> Rollout:
    """Looks that tell how often it was started again."""
    return after(
        *[Deployment("web", "1.4.3", None, Deployed("prod", state, None, None, 5, n)) for n in counts]
    )


def test_what_is_no_crash_loop() -> None:
    assert restarted(0, 0, 5, 5, 10).deployed == NOW, "a node that starts anew takes all with it at once"
    assert restarted(9, 9, 0, 9, 0, 9).deployed == NOW, "it was new pods, and then the old ones twice"
    assert restarted(8, 8, None, 8, None, 8, None, 8).deployed == NOW
    rises = [Deployment("web", "1.4.3", None, Deployed("prod", PENDING, None, None, 1, n)) for n in range(9)]
    assert after(*rises, *well()).deployed == NOW + 9 * MINUTE, "it waited for its database, and then had it"
    assert restarted(0, 0, 1, None, 2, None, 3).deployed is None


def test_what_was_started_again_and_again_is_believed_after_an_hour_without_it() -> None:
    rollout = restarted(0, 0, 1, 2, 3)
    assert rollout.deployed is None
    quiet = Deployment("web", "1.4.3", None, Deployed("prod", DEPLOYED, None, None, 1, 3))
    found = [rollout := heard(rollout, quiet, NOW + i * MINUTE) for i in range(5, 70)]
    deployed = next(one for one in found if one.deployed)
    assert deployed.deployed == NOW + 4 * MINUTE + SOON * FALLS / 5
    assert deployed.first == NOW


# -- which version, and what is news -------------------------------------------------------------------


def test_another_version_or_digest_begins_anew() -> None:
    found = after(*well(), *well(tag="1.4.4"))
    assert (found.version, found.begun, found.deployed) == ("1.4.4", NOW + 2 * MINUTE, NOW + 2 * MINUTE)
    pinned = after(*well(digest=DIGEST), look(PENDING, digest=OTHER))
    assert (pinned.begun, pinned.deployed) == (NOW + 2 * MINUTE, None)


def test_news_is_what_something_hangs_on() -> None:
    pending, ill = after(look(PENDING)), after(look(PENDING), look(PENDING, PULLING))
    assert is_news(pending, ill)
    assert not is_news(ill, heard(ill, look(PENDING, "CrashLoopBackOff"), NOW + 2 * MINUTE))
    assert is_news(pending, after(*well()))
    assert is_news(None, pending)
    assert not is_news(None, after(look(UNKNOWN)))


# -- what a stay in the config repo makes of it ---------------------------------------------------------


def ran(
    told: Told, since: datetime, until: datetime | None = None, digest: str | None = None
) -> datetime | None:
    return told.ran("1.4.3", digest, since, until)


def test_a_stay_ran_from_the_later_of_its_commit_and_the_look() -> None:
    told = Told((after(*well()),), NOW + 5 * MINUTE)
    assert ran(told, NOW - MINUTE) == NOW
    assert ran(told, NOW + MINUTE) == NOW + MINUTE
    assert ran(told, NOW - MINUTE, NOW - MINUTE / 2) is None, "it ran only after the stay"
    assert told.ran("1.4.4", None, NOW - MINUTE, None) is None


def test_an_earlier_stay_of_the_same_version_proves_nothing_of_a_later_one() -> None:
    first, second = after(*well()), heard(None, look(DEPLOYED, tag="1.4.2"), NOW + 10 * MINUTE)
    third = heard(second, look(PENDING), NOW + 20 * MINUTE)
    told = Told((third, second, first), NOW + 30 * MINUTE)
    assert ran(told, NOW + 19 * MINUTE) is None
    assert ran(told, NOW - MINUTE, NOW + 9 * MINUTE) == NOW


def test_a_look_before_the_stay_does_not_count_for_it() -> None:
    told = Told((after(*well()),), answered=NOW)
    assert ran(told, NOW + MINUTE) is None
    assert ran(Told(told.rollouts, NOW + 2 * MINUTE), NOW + MINUTE) == NOW + MINUTE


def test_digests_must_not_contradict_each_other() -> None:
    pinned = Told((after(*well(digest=DIGEST)),), NOW)
    assert ran(pinned, NOW, digest=DIGEST) == NOW
    assert ran(pinned, NOW, digest=OTHER) is None
    assert ran(Told((after(*well()),), NOW), NOW, digest=OTHER) == NOW


def test_of_several_runtimes_the_last_one_counts_and_one_that_does_not_tell_is_waited_for() -> None:
    early, late = Told((after(*well()),), NOW), Told((after(look(PENDING), *well()),), NOW)
    assert landing({"eu": early, "us": late}, "1.4.3", None, NOW, None) == Landing(NOW + MINUTE)
    down = Told((), NOW, Silence(NOW, "connection refused"))
    found = landing({"eu": early, "us": down}, "1.4.3", None, NOW, None)
    assert found.at is None
    assert found.awaits == ("us has not answered since 2026-11-21 12:00 UTC: connection refused",)


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (Told(), "has not been seen with it yet"),
        (Told((after(*well(tag="1.4.2")),), NOW), "has not been seen with it yet"),
        (Told((after(look(PENDING)),), NOW), "has not completed it"),
        (Told((after(look(PENDING, PULLING)),), NOW), f"has not completed it: {PULLING}"),
        (Told((after(look(UNKNOWN, "nothing runs it")),), NOW), "does not tell: nothing runs it"),
        (Told((after(look(ABSENT)),), NOW), "does not run it"),
        (Told((after(*[look(FAILED, "gave up")] * 3),), NOW), "gave up"),
        (Told((after(*[look(FAILED, "gave up")] * 3),), NOW, Silence(NOW, "no route")), "gave up"),
    ],
)
def test_what_is_missing_is_said_in_words(told: Told, words: str) -> None:
    assert told.words("1.4.3", None) == words


def test_what_a_release_needs_to_know_is_seen_after_it() -> None:
    told = Told((after(*well()),), answered=NOW)
    assert told.now("prod", "1.4.3", None, NOW + MINUTE).state is UNKNOWN
    assert told.now("prod", "1.4.3", None, NOW) == Deployed("prod", DEPLOYED, NOW)
    assert told.now("prod", "1.4.4", None).state is UNKNOWN


# -- laws -----------------------------------------------------------------------------------------------

Look = tuple[DeployState, str | None, str, int, tuple[int | None, int | None]]
LOOKS = st.lists(
    st.tuples(
        st.sampled_from(list(DeployState)),
        st.one_of(st.none(), st.text(max_size=300)),
        st.sampled_from(["1.4.2", "1.4.3", ""]),
        st.integers(-90, 90),
        st.sampled_from(["", "idle", "down", "short", "counted", "hindered", "hearsay"]),
    ),
    min_size=1,
    max_size=20,
)
RESTARTS = st.lists(st.one_of(st.none(), st.integers(0, 9)), min_size=20, max_size=20)


def marked(state: DeployState, more: str) -> dict[str, bool]:
    """What a look may tell beside its state."""
    return {f"is_{more}": more != "idle" or state is ABSENT} if more else {}


@given(LOOKS, RESTARTS)
def test_whatever_is_told_and_whenever_a_rollout_can_be_kept_and_is_never_dated_later(
    looks: list[Look], restarts: list[int | None]
) -> None:
    rollout: Rollout | None = None
    at = NOW
    for (state, trouble, tag, minutes, more), started in zip(looks, restarts, strict=False):
        at += minutes * MINUTE
        seen = Deployed("prod", state, None, trouble, len(more), started, **marked(state, more))
        rollout = heard(rollout, Deployment("web", tag, None if tag else DIGEST, seen), at)
        assert from_text(to_text(rollout)) == rollout
        assert max(time for name in TIMES if (time := getattr(rollout, name)) is not None) <= at
        assert rollout.state is not DEPLOYED or state is DEPLOYED
        assert rollout.deployed is None or rollout.first is not None
        assert rollout.deployed is not None or (rollout.idle, rollout.pauses) == (None, ())
        assert all(begun <= end <= at for begun, end in rollout.pauses)
        if rollout.state is FAILED or rollout.is_restless:
            assert rollout.deployed is None
    assert rollout is not None
    assert unseen(rollout, at).state is UNKNOWN


@given(LOOKS, st.integers(-30, 30), st.one_of(st.none(), st.integers(0, 60)))
def test_a_runtime_makes_a_soak_shorter_and_never_longer(
    looks: list[Look], since: int, length: int | None
) -> None:
    rollouts: list[Rollout] = []
    at = NOW
    for state, trouble, tag, minutes, more in looks:
        at += abs(minutes) * MINUTE
        seen = Deployed("prod", state, None, trouble, len(more), **marked(state, more))
        found = heard(rollouts[0] if rollouts else None, Deployment("web", tag or "1.4.1", None, seen), at)
        if rollouts and found.version == rollouts[0].version:
            rollouts[0] = found
        else:
            rollouts.insert(0, found)
    begun = NOW + since * MINUTE
    until = None if length is None else begun + length * MINUTE
    began = ran(Told(tuple(rollouts), at), begun, until)
    assert began is None or (began >= begun and (until is None or began < until))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        "{",
        '["1.4.3", "deployed", [null, null, null, null], 0, null]',
        '["1.4.3", "deployed", ["2026-11-21T12:00:00+00:00", null, null, null, null, null], 0, null, 0]',
        '["1.4.3", "deployed", {"begun": "2026-11-21T12:00:00+00:00"}, null, [0, 0, null, 0]]',
        '["1.4.3", "blooming", {}, null, [0, 0, null, 0]]',
        '["1.4.3", "pending", {"begun": "2026-11-21T12:00:00+00:00", "since": "2026-11-21T12:00:00+00:00", '
        '"pauses": [["2026-11-21T12:00:00+00:00"]]}, null, [0, 0, null, 0]]',
    ],
)
def test_what_was_not_kept_well_is_no_rollout(text: str) -> None:
    assert from_text(text) is None
