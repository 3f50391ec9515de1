"""What is told of reports, to whom, and how often: by tables, and by laws over what may happen."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automator.core.notice import (
    CALM,
    FLAP,
    LONGEST_CALM,
    Found,
    Item,
    Kind,
    Taste,
    Told,
    due,
    found,
    step,
)
from automator.core.noticebook import read_told, told_text
from automator.core.report import Outcome, Report
from automator.reasons import Reason, Status, reason

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
IMAGE = "ghcr.io/acme/web"
FINE = reason("current/newest", current="1.4.2", count=1, rule="any")
REFUSED = reason("push/refused", after="1.4.3", words="no")
DENIED = reason("registry/denied", repository=IMAGE, answer="403", credentials="none")
LATE = reason("registry/late", image=IMAGE, seconds=30)
HELD = reason("guard/hold", until="further notice", reason="Ann said so", place="p.yaml:3")
EVERYTHING = Taste(frozenset(Kind))


def outcome(status: Status, why: Reason, name: str = "web", **more: str) -> Outcome:
    return replace(Outcome(name, status, why, IMAGE, "1.4.2"), **more)


def released(name: str = "web", commit: str = "4f1c" * 10) -> Outcome:
    why = reason("released/pushed", before="1.4.2", after="1.4.3", commit=commit[:12])
    return outcome(Status.RELEASED, why, name, commit=commit)


def proposed(url: str = "https://git.example.com/pull/7", after: str = "1.4.3") -> Outcome:
    return outcome(Status.WAITING, reason("proposal/open", after=after, url=url, since="noon"))


def report(*outcomes: Outcome, error: Reason | None = None, warnings: tuple[Reason, ...] = ()) -> Report:
    return Report("shop", "interval", NOON, NOON, "abc", None, outcomes, warnings, error=error)


class Listener:
    """One receiver over some cycles."""

    def __init__(self, taste: Taste = EVERYTHING) -> None:
        self.taste = taste
        self.told = Told()
        self.now = NOON

    def hears(self, *outcomes: Outcome, after: timedelta = MINUTE, **more: object) -> list[tuple[str, str]]:
        """Kind and subject of what is news in a cycle so much later."""
        self.now += after
        items = self.items(report(*outcomes, **more))  # type: ignore[arg-type]
        return [(str(item.kind), item.workload or item.subject) for item in items]

    def items(self, told: Report, *, is_whole: bool = True) -> tuple[Item, ...]:
        here = found(told, is_whole=is_whole)
        self.told, items = step(self.told, here, self.taste, self.now)
        return items


# -- moves and pull requests ---------------------------------------------------------------------------


def test_a_release_is_told_once_however_often_its_report_comes() -> None:
    listener = Listener()
    assert listener.hears(released()) == [("released", "web")]
    assert listener.hears(released()) == []
    unreachable = reason("git/unreachable", url="https://x/y", words="no route")
    assert listener.hears(released(), error=unreachable) == [], "the report of a cycle that was not done"
    assert listener.hears(released(commit="5a" * 20)) == [("released", "web")]


def test_a_release_says_from_where_to_where_in_which_commit_by_whom() -> None:
    here = found(report(released()), page=lambda commit: f"https://x/commit/{commit}", actor="robot")
    (item,) = here.moves
    assert (item.before, item.after, item.actor) == ("1.4.2", "1.4.3", "robot")
    assert item.link == f"https://x/commit/{'4f1c' * 10}"


def test_a_rollback_of_ours_is_told_as_one_with_its_why() -> None:
    why = reason("released/rolled-back", before="1.4.3", after="1.4.2", commit="abc", why="smoke failed")
    (item,) = found(report(outcome(Status.RELEASED, why, commit="abc"))).moves
    assert (item.kind, item.why) == (Kind.ROLLED_BACK, "smoke failed")


def test_a_pull_request_is_told_when_it_is_opened_and_when_its_version_changes() -> None:
    listener = Listener(Taste())
    assert listener.hears(proposed()) == [("proposed", "web")]
    assert listener.hears(proposed()) == []
    limited = reason("forge/limited", host="git.example.com", problem="429")
    assert listener.hears(outcome(Status.WAITING, limited)) == []
    assert listener.hears(proposed()) == [], "it was there all the time"
    assert listener.hears(proposed(after="1.4.4")) == [("proposed", "web")]
    assert listener.hears(released()) == [("released", "web")]


def test_what_is_held_or_waits_is_told_to_those_who_ask() -> None:
    held = outcome(Status.HELD, HELD)
    assert Listener(Taste()).hears(held) == []
    listener = Listener()
    assert listener.hears(held) == [("held", "web")]
    assert listener.hears(held) == []
    assert listener.hears(outcome(Status.CURRENT, FINE)) == []
    assert listener.hears(held) == [("held", "web")]


# -- failures ----------------------------------------------------------------------------------------------


def test_a_failure_is_told_at_once_and_once_and_so_is_its_end() -> None:
    listener = Listener(Taste())
    failed = outcome(Status.FAILED, REFUSED)
    assert listener.hears(failed) == [("failed", "web")]
    for _ in range(100):
        assert listener.hears(failed) == []
    listener.now += MINUTE
    (item,) = listener.items(report(outcome(Status.CURRENT, FINE)))
    assert (item.kind, item.since) == (Kind.RECOVERED, NOON + MINUTE)
    assert listener.hears(outcome(Status.CURRENT, FINE)) == []


def test_a_failed_check_is_a_failure_although_the_workload_is_held() -> None:
    why = reason("verify/failed", version="1.4.3", check="smoke", said="it answered 500")
    assert Listener().hears(outcome(Status.HELD, why)) == [("failed", "web")]


def test_it_is_told_when_the_same_workload_fails_otherwise() -> None:
    listener = Listener()
    assert listener.hears(outcome(Status.FAILED, REFUSED)) == [("failed", "web")]
    assert listener.hears(outcome(Status.FAILED, DENIED)) == [("failed", "web")]
    assert listener.hears(outcome(Status.FAILED, REFUSED)) == [], "this was told"


def test_a_failure_that_goes_on_is_told_again_where_that_is_asked_for() -> None:
    listener = Listener(Taste(remind_after=HOUR))
    failed = outcome(Status.FAILED, REFUSED)
    heard = [listener.hears(failed, after=10 * MINUTE) for _ in range(13)]
    assert [n for n, items in enumerate(heard) if items] == [0, 6, 12]


def test_a_restart_tells_nothing_anew() -> None:
    listener = Listener()
    listener.hears(outcome(Status.FAILED, REFUSED), proposed())
    listener.told = read_told(told_text(listener.told))
    assert listener.hears(outcome(Status.FAILED, REFUSED), proposed()) == []
    assert read_told("damaged") == read_told('{"moved": 5}') == Told()


def test_while_a_config_repo_cannot_be_read_nothing_is_said_to_be_well() -> None:
    listener = Listener()
    failed = outcome(Status.FAILED, REFUSED)
    assert listener.hears(failed) == [("failed", "web")]
    denied = reason("git/denied", url="https://x/y", words="403")
    assert listener.hears(failed, error=denied) == [("failed", "config repo")]
    assert listener.hears(failed) == [("recovered", "config repo")]


@pytest.mark.parametrize(
    "unknown",
    [
        outcome(Status.HELD, HELD),
        outcome(Status.HELD, reason("guard/freeze", reason="week end", until="monday", place="p.yaml:1")),
        proposed(),
    ],
)
def test_only_what_is_known_to_be_well_ends_a_failure(unknown: Outcome) -> None:
    listener = Listener(Taste())
    listener.hears(outcome(Status.FAILED, REFUSED))
    assert ("recovered", "web") not in listener.hears(unknown)
    assert listener.hears(outcome(Status.FAILED, REFUSED)) == []
    assert listener.hears(outcome(Status.CURRENT, FINE)) == [("recovered", "web")]


def test_the_end_is_told_to_those_who_do_not_want_to_hear_of_silence() -> None:
    listener = Listener(Taste(frozenset({Kind.FAILED, Kind.RECOVERED})))
    denied = reason("git/denied", url="https://x/y", words="403")
    late = reason("git/timeout", step="fetch", seconds=30)
    fine = outcome(Status.CURRENT, FINE)
    assert listener.hears(fine, error=denied) == [("failed", "config repo")]
    for _ in range(4):
        assert listener.hears(fine, error=late) == []
        assert listener.hears(fine, error=denied) == [], "it fails as before"
    assert listener.hears(fine, error=late) == []
    assert listener.hears(fine) == [("recovered", "config repo")]


def test_what_comes_again_is_another_piece_of_news() -> None:
    listener = Listener(Taste(frozenset({Kind.HELD, Kind.PROPOSED})))
    keys = []
    for each in (outcome(Status.HELD, HELD), outcome(Status.CURRENT, FINE)) * 2:
        listener.now += MINUTE
        keys += [item.key for item in listener.items(report(each))]
    first, again = keys
    assert first != again
    keys = []
    for each in (proposed(), proposed(after="1.4.4"), proposed()):
        listener.now += MINUTE
        keys += [item.key for item in listener.items(report(each))]
    assert len(set(keys)) == 3


def test_a_workload_that_is_no_more_ends_its_failure() -> None:
    listener = Listener()
    listener.hears(outcome(Status.FAILED, REFUSED))
    (item,) = listener.items(report(outcome(Status.CURRENT, FINE, "api")))
    assert (item.kind, item.workload, item.turn) == (Kind.RECOVERED, "web", "gone")


def test_a_command_about_some_workloads_says_nothing_of_the_others() -> None:
    listener = Listener()
    listener.hears(outcome(Status.FAILED, REFUSED), outcome(Status.FAILED, REFUSED, "api"))
    items = listener.items(report(outcome(Status.CURRENT, FINE)), is_whole=False)
    assert [item.workload for item in items] == ["web"]


@pytest.mark.parametrize("why", [LATE, reason("history/reading")])
def test_that_a_registry_is_late_does_not_mean_that_a_failure_is_over(why: Reason) -> None:
    listener = Listener()
    failed, unknown = outcome(Status.FAILED, REFUSED), outcome(Status.WAITING, why)
    assert listener.hears(failed) == [("failed", "web")]
    assert ("recovered", "web") not in listener.hears(unknown)
    assert listener.hears(failed) == []


# -- silence -----------------------------------------------------------------------------------------------


def test_silence_is_told_after_a_while_with_those_who_wait() -> None:
    listener = Listener(Taste(stale_after=HOUR, owners=("team-*",)))
    waiting = [outcome(Status.WAITING, LATE, name, owner="team-shop") for name in ("api", "web")]
    assert [listener.hears(*waiting, after=20 * MINUTE) for _ in range(3)] == [[], [], []]
    listener.now += 20 * MINUTE
    (item,) = listener.items(report(*waiting))
    assert (item.kind, item.subject) == (Kind.SILENT, "registry ghcr.io")
    assert [about.workload for about in item.about] == ["api", "web"]
    assert listener.hears(*waiting) == []
    assert listener.hears(outcome(Status.CURRENT, FINE)) == [("recovered", "registry ghcr.io")]


@pytest.mark.parametrize(
    ("why", "kinds"),
    [
        (reason("registry/unreachable", repository=IMAGE, host="ghcr.io", problem="no route"), []),
        (reason("registry/rate-limited", repository=IMAGE, answer="429", wait="5 m"), []),
        (DENIED, [("failed", "web")]),
    ],
)
def test_a_workload_that_fails_for_want_of_an_answer_waits_for_one(
    why: Reason, kinds: list[tuple[str, str]]
) -> None:
    listener = Listener(Taste(stale_after=HOUR))
    assert listener.hears(outcome(Status.FAILED, why)) == kinds
    late = listener.hears(outcome(Status.FAILED, why), after=HOUR)
    assert late == ([] if kinds else [("silent", "registry ghcr.io")])


def test_a_short_silence_is_never_told() -> None:
    listener = Listener(Taste(stale_after=HOUR))
    for _ in range(20):
        assert listener.hears(outcome(Status.WAITING, LATE), after=30 * MINUTE) == []
        assert listener.hears(outcome(Status.CURRENT, FINE), after=20 * MINUTE) == []


def test_a_forge_and_a_config_repo_can_be_silent_too() -> None:
    listener = Listener(Taste(stale_after=HOUR))
    forge = reason("forge/unreachable", host="git.example.com", what="list", problem="no route")
    unreachable = reason("git/unreachable", url="https://x/y", words="no route")
    fine = outcome(Status.CURRENT, FINE)
    assert listener.hears(fine, warnings=(forge,)) == []
    assert listener.hears(fine, warnings=(forge,), after=HOUR) == [("silent", "forge git.example.com")]
    assert listener.hears(fine, error=unreachable) == []
    assert listener.hears(fine, error=unreachable, after=HOUR) == [("silent", "config repo")]
    ends = listener.hears(fine)
    assert ends == [("recovered", "config repo"), ("recovered", "forge git.example.com")]


# -- to whom -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("taste", "is_for"),
    [
        (Taste(), True),
        (Taste(owners=("team-shop",)), True),
        (Taste(owners=("team-*", "x")), True),
        (Taste(owners=("team-pay",)), False),
        (Taste(environments=("prod*",)), True),
        (Taste(environments=("staging",)), False),
        (Taste(repos=("shop",)), True),
        (Taste(repos=("other",)), False),
        (Taste(workloads=("w*",)), True),
        (Taste(workloads=("shop/web",)), True),
        (Taste(workloads=("other/web",)), False),
        (Taste(owners=("team-shop",), environments=("staging",)), False),
    ],
)
def test_who_hears_of_a_workload(taste: Taste, is_for: bool) -> None:
    failed = outcome(Status.FAILED, REFUSED, owner="team-shop", environment="production")
    assert bool(Listener(taste).hears(failed)) is is_for


def test_what_concerns_no_workload_is_for_those_who_do_not_choose_among_them() -> None:
    denied = reason("git/denied", url="https://x/y", words="403")
    assert Listener(Taste(repos=("sh*",))).hears(error=denied) == [("failed", "config repo")]
    assert Listener(Taste(owners=("*",))).hears(error=denied) == []


def test_a_new_filter_does_not_say_that_all_is_well() -> None:
    listener = Listener()
    failed = outcome(Status.FAILED, REFUSED, owner="team-shop")
    listener.hears(failed)
    listener.taste = Taste(owners=("team-pay",))
    assert listener.hears(failed) == []
    assert listener.hears(outcome(Status.CURRENT, FINE)) == []


def test_only_what_was_asked_for_is_told() -> None:
    listener = Listener(Taste(frozenset({Kind.FAILED})))
    assert listener.hears(released(), outcome(Status.FAILED, REFUSED, "api")) == [("failed", "api")]
    assert listener.hears(outcome(Status.CURRENT, FINE), outcome(Status.CURRENT, FINE, "api")) == []


# -- laws --------------------------------------------------------------------------------------------------

STATES = ("fails", "well", "unknown")
LONG = st.lists(st.tuples(st.sampled_from(STATES), st.integers(0, 90).map(lambda n: n * MINUTE)), max_size=60)
ANY_CLOCK = st.lists(
    st.tuples(st.sampled_from(STATES), st.integers(-3_000, 3_000).map(lambda n: n * MINUTE)), max_size=40
)
AILING = Item(Kind.FAILED, "workload web", "push/refused", "no", "push/refused")


def seen(state: str) -> Found:
    if state == "fails":
        return Found("shop", ailing=(AILING,), ails=frozenset({AILING.subject}))
    return Found("shop", settled=frozenset({"web"}), is_read=state == "well")


def followed(
    states: list[tuple[str, timedelta]],
) -> tuple[Told, datetime, list[tuple[datetime, Item]]]:
    told, now, heard, taste = Told(), NOON, [], Taste()
    for state, pause in states:
        now += pause
        told, items = step(told, seen(state), taste, now)
        heard += [(now, item) for item in items]
        assert step(told, seen(state), taste, now)[1] == (), "the same once more is no news"
        assert read_told(told_text(told)) == told
    return told, now, heard


@given(ANY_CLOCK)
def test_begin_and_end_alternate_whatever_the_clock_does(states: list[tuple[str, timedelta]]) -> None:
    kinds = [item.kind for _, item in followed(states)[2]]
    assert kinds == [Kind.RECOVERED if n % 2 else Kind.FAILED for n in range(len(kinds))]


@given(LONG, st.integers(0, 6_000).map(lambda n: n * MINUTE), st.sampled_from([None, HOUR]))
def test_before_it_is_due_the_same_is_no_news_and_changes_nothing(
    states: list[tuple[str, timedelta]], pause: timedelta, remind_after: timedelta | None
) -> None:
    taste = Taste(remind_after=remind_after)
    told, now = Told(), NOON
    for state, between in states:
        now += between
        told, _ = step(told, seen(state), taste, now)
    last = seen(states[-1][0] if states else "well")
    until = due(told, taste)
    if until is None or now + pause < until:
        assert step(told, last, taste, now + pause) == (told, ())


@given(ANY_CLOCK)
def test_an_end_has_the_key_of_its_begin(states: list[tuple[str, timedelta]]) -> None:
    heard = [item for _, item in followed(states)[2]]
    for begin, end in zip(heard[::2], heard[1::2], strict=False):
        assert end.key.startswith(begin.key)


@given(LONG)
def test_what_fails_is_told_and_what_is_well_for_long_ends(states: list[tuple[str, timedelta]]) -> None:
    kinds = [item.kind for _, item in followed([*states, ("fails", MINUTE)])[2]]
    assert kinds[-1] is Kind.FAILED
    calm = [("well", MINUTE), ("well", LONGEST_CALM), ("well", FLAP)]
    told, _, heard = followed([*states, ("fails", MINUTE), *calm])
    assert heard[-1][1].kind is Kind.RECOVERED
    assert told.troubles == (), "nothing is remembered for ever"


@given(LONG)
def test_what_comes_and_goes_is_damped(states: list[tuple[str, timedelta]]) -> None:
    times = [at for at, _ in followed(states)[2]]
    for begin in times:
        assert sum(begin <= at < begin + timedelta(hours=1) for at in times) <= 7


def test_what_comes_and_goes_each_minute_is_told_a_few_times_a_day() -> None:
    states = [("fails" if n % 2 else "well", MINUTE) for n in range(24 * 60)]
    assert len(followed(states)[2]) == 3, "it fails, works again, fails again: and never is well for long"
    assert CALM > 2 * MINUTE
