"""Rollouts: what looks at a runtime come to, one after the other."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automator.core.rollout import (
    FAILURES,
    TROUBLED,
    Landing,
    Rollout,
    Silence,
    Told,
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
DEPLOYED, PENDING, FAILED, UNKNOWN = (
    DeployState.DEPLOYED,
    DeployState.PENDING,
    DeployState.FAILED,
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
    for between in (look(PENDING), look(PENDING, PULLING)):
        found = after(look(DEPLOYED), between, look(DEPLOYED))
        assert (found.state, found.deployed) == (PENDING, None)
    found = after(*well(), look(PENDING, PULLING), look(DEPLOYED))
    assert found.state is PENDING, "after trouble, too"
    assert heard(found, look(DEPLOYED), NOW + 4 * MINUTE).state is DEPLOYED


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

LOOKS = st.lists(
    st.tuples(
        st.sampled_from(list(DeployState)),
        st.one_of(st.none(), st.text(max_size=300)),
        st.sampled_from(["1.4.2", "1.4.3", ""]),
        st.integers(-90, 90),
    ),
    min_size=1,
    max_size=20,
)


@given(LOOKS)
def test_whatever_is_told_and_whenever_a_rollout_can_be_kept_and_is_never_dated_later(
    looks: list[tuple[DeployState, str | None, str, int]],
) -> None:
    rollout: Rollout | None = None
    at = NOW
    for state, trouble, tag, minutes in looks:
        at += minutes * MINUTE
        rollout = heard(rollout, look(state, trouble, tag, None if tag else DIGEST), at)
        assert from_text(to_text(rollout)) == rollout
        assert max(rollout.begun, rollout.since, rollout.deployed or at, rollout.ill or at) <= at
        assert rollout.state is not DEPLOYED or state is DEPLOYED
        if rollout.state is FAILED:
            assert rollout.deployed is None
    assert rollout is not None
    assert unseen(rollout, at).state is UNKNOWN


@given(LOOKS, st.integers(-30, 30), st.one_of(st.none(), st.integers(0, 60)))
def test_a_runtime_makes_a_soak_shorter_and_never_longer(
    looks: list[tuple[DeployState, str | None, str, int]], since: int, length: int | None
) -> None:
    rollouts: list[Rollout] = []
    at = NOW
    for state, trouble, tag, minutes in looks:
        at += abs(minutes) * MINUTE
        found = heard(rollouts[0] if rollouts else None, look(state, trouble, tag or "1.4.1"), at)
        if rollouts and found.version == rollouts[0].version:
            rollouts[0] = found
        else:
            rollouts.insert(0, found)
    begun = NOW + since * MINUTE
    until = None if length is None else begun + length * MINUTE
    began = ran(Told(tuple(rollouts), at), begun, until)
    assert began is None or (began >= begun and (until is None or began < until))


@pytest.mark.parametrize(
    "text", ["", "[]", "null", '["1.4.3", "deployed", [null, null, null, null], 0, null]', "{"]
)
def test_what_was_not_kept_well_is_no_rollout(text: str) -> None:
    assert from_text(text) is None
