"""What diverged, where the config repo was not read since."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from parts.observations import CLOCK, NOW, PROD, ago, runs, seen, written

from automator.core.drift import Clock, Drift, compare, doubted
from automator.core.running import Unobserved
from automator.reasons import reason

WEB = written("ghcr.io/acme/web:1.4.3")
DOWN = Unobserved("prod", NOW, reason("drift/stale", runtime="prod", age="1 day"))
OTHER = seen(runs("ghcr.io/acme/web:1.5.0", since=ago(30)))


def look(at: Clock, read_minutes_ago: float | None, earlier: dict[str, Drift] | None = None) -> Drift:
    drifts = compare({"web": (WEB,)}, PROD, OTHER, at, earlier=earlier or {})
    (drift,) = doubted(drifts, None if read_minutes_ago is None else ago(read_minutes_ago), NOW)
    return drift


def test_it_diverged_only_where_git_was_read_after_it_began() -> None:
    first = look(Clock(ago(20), CLOCK.grace), 0)
    assert first.state == "pending"
    earlier = {"web": first}
    assert look(CLOCK, None, earlier).state == look(CLOCK, 0, earlier).state == "diverged"
    assert look(CLOCK, 19, earlier).state == "diverged"
    unread = look(CLOCK, 21, earlier)
    assert (unread.state, unread.reason.code, unread.since) == ("unknown", "drift/git-unread", ago(20))
    assert str(unread.reason) == (
        "prod runs 1.5.0, and the config repo was read last at 14:39 UTC, before that began"
    )
    # Read again, it diverged since it began, and not since it was read.
    later = Clock(NOW + timedelta(minutes=1), CLOCK.grace)
    again = look(later, -1, {"web": unread})
    assert (again.state, again.since) == ("diverged", ago(20))


def test_what_changed_after_git_was_read_is_doubted_whatever_differed_before() -> None:
    earlier: dict[str, Drift] = {}
    told = []
    # Git, read at 14:35, says 1.4.3; somebody else's 1.4.4 comes at 14:41, while the runtime is silent.
    for minutes, tag in ((29, "1.4.2"), (24, "1.4.2"), (20, None), (19, "1.4.4"), (9, "1.4.4"), (1, "1.4.4")):
        at = ago(minutes)
        there = DOWN if tag is None else replace(seen(runs(f"ghcr.io/acme/web:{tag}")), at=at)
        drifts = compare({"web": (WEB,)}, PROD, there, Clock(at, CLOCK.grace), earlier=earlier)
        (drift,) = doubted(drifts, ago(25), at)
        earlier = {"web": drift}
        told.append((drift.state.value, drift.reason.code))
    assert told[2] == ("unknown", "drift/unobserved")
    assert told[4:] == [("unknown", "drift/git-unread")] * 2
    there = seen(runs("ghcr.io/acme/web:1.4.4"))
    (read,) = doubted(compare({"web": (WEB,)}, PROD, there, CLOCK, earlier=earlier), ago(2), NOW)
    assert (read.state, read.since) == ("diverged", ago(29)), "it differs since it was seen first"


def test_a_runtime_that_was_silent_begins_no_doubt() -> None:
    earlier: dict[str, Drift] = {}
    other = seen(runs("ghcr.io/acme/web:1.5.0"))
    for minutes, there in ((40, other), (30, other), (20, DOWN), (10, other)):
        at = ago(minutes)
        looked = replace(there, at=at)
        (drift,) = doubted(
            compare({"web": (WEB,)}, PROD, looked, Clock(at, CLOCK.grace), earlier=earlier), ago(39), at
        )
        earlier = {"web": drift}
    assert (drift.state, drift.since) == ("diverged", ago(40))


def test_what_diverged_before_stays_so() -> None:
    first = look(Clock(ago(20), CLOCK.grace), 0)
    diverged = look(CLOCK, 19, {"web": first})
    much_later = Clock(NOW + timedelta(days=1), CLOCK.grace)
    assert look(much_later, 19, {"web": diverged}).state == "diverged"
