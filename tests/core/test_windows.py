"""When releases may happen: cron starts, durations, time zones, and the days on which clocks change."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automator.core.duration import parse_duration
from automator.core.windows import State, Window, intersect, never_opens, state
from automator.errors import PolicyError

MINUTE = timedelta(minutes=1)


def window(text: str) -> Window:
    """`allow 0 9 * * 1-5 for 8h Europe/Berlin`, as a window prints itself."""
    start, _, rest = text.partition(" for ")
    kind, _, cron = start.partition(" ")
    duration, _, zone = rest.partition(" ")
    return Window.parse(kind, cron, parse_duration(duration), zone or "UTC")


def windows(*texts: str) -> tuple[Window, ...]:
    return tuple(window(text) for text in texts)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def turns(found: Callable[[datetime], State], since: str, count: int) -> list[str]:
    """The next times at which the windows open (+) and close (-), each asked for at the one before."""
    now = at(since)
    told: list[str] = []
    for _ in range(count):
        changes_at = found(now).changes_at
        if changes_at is None:
            return [*told, "never"]
        assert changes_at > now
        assert changes_at.utcoffset() == timedelta(0)
        assert found(changes_at).open != found(changes_at - timedelta(seconds=1)).open == found(now).open
        now = changes_at
        told.append(f"{now:%m-%d %H:%M}" + ("+" if found(now).open else "-"))
    return told


def turns_of(texts: list[str], since: str, count: int) -> list[str]:
    return turns(lambda now: state(windows(*texts), now), since, count)


# -- what a set of windows says ----------------------------------------------------------------------


def test_office_hours_open_and_close_on_the_clocks_of_their_zone() -> None:
    office = windows("allow 0 9 * * 1-5 for 8h Europe/Berlin")
    friday = state(office, at("2026-11-20 15:59:59"))
    assert friday == State(True, at("2026-11-20 16:00"), office[0])
    assert state(office, at("2026-11-20 16:00")) == State(False, at("2026-11-23 08:00"), office[0])
    assert state(office, at("2026-11-23 08:00")).open


def test_without_windows_releases_may_always_happen() -> None:
    assert state((), at("2026-11-20 15:00")) == State(True, None, None)


def test_deny_alone_leaves_the_rest_of_the_time_open() -> None:
    night = windows("deny 0 22 * * * for 8h")
    assert state(night, at("2026-11-20 12:00")) == State(True, at("2026-11-20 22:00"), None)
    assert state(night, at("2026-11-21 05:00")) == State(False, at("2026-11-21 06:00"), night[0])


def test_deny_beats_an_open_allow_and_is_the_one_to_name() -> None:
    allow, deny = windows("allow 0 9 * * * for 8h", "deny 0 12 * * * for 1h")
    assert state((allow, deny), at("2026-11-20 12:30")) == State(False, at("2026-11-20 13:00"), deny)
    assert turns_of([str(allow), str(deny)], "2026-11-20 00:00", 4) == [
        "11-20 09:00+", "11-20 12:00-", "11-20 13:00+", "11-20 17:00-",
    ]  # fmt: skip


def test_of_several_allows_one_must_be_open() -> None:
    morning, evening = windows("allow 0 6 * * * for 2h", "allow 0 18 * * * for 2h")
    assert state((morning, evening), at("2026-11-20 19:00")).window == evening
    closed = state((morning, evening), at("2026-11-20 12:00"))
    assert (closed.window, closed.changes_at) == (evening, at("2026-11-20 18:00"))
    assert state((morning, evening), at("2026-11-20 21:00")).window == morning


def test_windows_that_touch_or_overlap_do_not_flicker() -> None:
    touching = ["allow 0 9 * * * for 1h", "allow 0 10 * * * for 1h", "allow 30 10 * * * for 1h"]
    assert turns_of(touching, "2026-11-20 00:00", 2) == ["11-20 09:00+", "11-20 11:30-"]


def test_a_longer_stretch_of_overlapping_starts_ends_after_the_last() -> None:
    assert turns_of(["deny 0 0 1-3,20 12 * for 36h"], "2026-11-25 00:00", 4) == [
        "12-01 00:00-", "12-04 12:00+", "12-20 00:00-", "12-21 12:00+",
    ]  # fmt: skip


def test_a_window_that_began_weeks_ago_is_still_active() -> None:
    freeze = windows("deny 0 0 15 12 * for 25d")
    assert state(freeze, at("2027-01-08 23:59")) == State(False, at("2027-01-09 00:00"), freeze[0])


def test_an_allow_that_the_deny_covers_is_waited_for_past_it() -> None:
    covered = ["allow 0 9 * * 1-5 for 8h", "deny 0 0 20 12 * for 14d"]
    assert turns_of(covered, "2026-12-21 10:00", 1) == ["01-04 09:00+"]  # 2027-01-03 is a Sunday


def test_what_takes_too_many_turns_to_tell_is_never_called_never() -> None:
    texts = ["allow */2 * * * * for 1m", "deny 0 0 1 11,12 * for 31d"]
    found = state(windows(*texts), at("2026-11-02 00:00"))
    assert (found.open, found.is_exact) == (False, False)
    assert found.changes_at is not None
    assert at("2026-11-20 00:00") < found.changes_at < at("2027-01-01 00:00")
    assert not never_opens(windows(*texts), at("2026-11-02 00:00"))


def test_leap_days_are_found_years_ahead() -> None:
    leap = windows("allow 0 0 29 2 * for 1d")
    assert state(leap, at("2026-11-20 00:00")).changes_at == at("2028-02-29 00:00")
    assert not never_opens(leap, at("2026-11-20 00:00"))


@pytest.mark.parametrize(
    "texts",
    [
        ["allow * * * * * for 31d"],
        ["allow * * * * * for 1m"],
        ["allow 0 * * * * for 1h"],
        ["allow 0 * * * * for 1h Europe/Berlin"],
        ["allow 0 0 * * * for 12h", "allow 0 12 * * * for 12h"],
    ],
)
def test_windows_without_a_gap_are_open_for_good(texts: list[str]) -> None:
    found = state(windows(*texts), at("2026-11-20 12:00"))
    assert found.open
    assert found.changes_at is None


@pytest.mark.parametrize(
    "texts",
    [
        ["allow 0 9 * * * for 8h", "deny * * * * * for 1m"],
        ["allow 0 9 * * 1-5 for 8h", "deny 0 8 * * * for 10h"],
        ["allow 0 9 * * * for 8h", "deny 0 0 * * 1-5 for 24h", "deny 0 0 * * 6,0 for 24h"],
        ["allow 0 0 * 2 1#5 for 1h"],  # a fifth Monday in February: not before 2044
    ],
)
def test_windows_that_never_open_are_known_as_such(texts: list[str]) -> None:
    assert never_opens(windows(*texts), at("2026-11-20 12:00"))


@pytest.mark.parametrize("texts", [[], ["deny 0 22 * * * for 8h"], ["allow 0 0 1 1 * for 1m"]])
def test_windows_that_open_some_time_are_not(texts: list[str]) -> None:
    assert not never_opens(windows(*texts), at("2026-11-20 23:00"))


@pytest.mark.parametrize(
    ("cron", "first"),
    [
        ("0 0 * * 7", "11-22 00:00+"),  # Sunday, as 0
        ("0 0 * * sun", "11-22 00:00+"),
        ("0 0 L * *", "11-30 00:00+"),
        ("0 0 LW 1 *", "01-29 00:00+"),
        ("0 0 * * 5L", "11-27 00:00+"),
        ("0 0 * * 2#1", "12-01 00:00+"),
        ("0 0 13 * 5", "11-27 00:00+"),  # either suffices: a Friday before the 13th
        ("0 0 */31 * 1", "02-01 00:00+"),  # both where one begins with a star: a Monday the 1st
        ("30 10-14/2 * * *", "11-20 12:30+"),
        ("  5   4 * *\t* ", "11-21 04:05+"),
    ],
)
def test_cron_fields_mean_what_cron_means(cron: str, first: str) -> None:
    assert turns_of([f"allow {cron} for 10m"], "2026-11-20 12:00", 1) == [first]


# -- groups ------------------------------------------------------------------------------------------


def test_a_group_is_open_only_while_every_member_is() -> None:
    web = windows("allow 0 8 * * * for 4h", "allow 0 14 * * * for 6h")
    api = windows("allow 0 10 * * * for 6h")
    free = windows()
    assert turns(lambda now: intersect([web, free, api], now), "2026-11-20 00:00", 4) == [
        "11-20 10:00+", "11-20 12:00-", "11-20 14:00+", "11-20 16:00-",
    ]  # fmt: skip
    assert intersect([web, api], at("2026-11-20 13:00")).window == web[1]
    assert intersect([web, api], at("2026-11-20 09:00")).window == api[0]


def test_members_may_share_windows() -> None:
    office = windows("allow 0 9 * * * for 8h")
    now = at("2026-11-20 10:00")
    assert intersect([office, office, office], now) == state(office, now)


def test_one_member_that_is_denied_closes_the_group() -> None:
    free, frozen = windows(), windows("deny 0 0 20 11 * for 2d")
    assert intersect([free, frozen], at("2026-11-20 10:00")) == State(
        False, at("2026-11-22 00:00"), frozen[0]
    )


def test_an_empty_group_is_open() -> None:
    assert intersect([], at("2026-11-20 10:00")) == State(True, None, None)


# -- days on which clocks change ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("zone", "since", "expected"),
    [
        # 02:00 becomes 03:00 at 01:00 UTC; 03:00 becomes 02:00 at 01:00 UTC
        ("Europe/Berlin", "2027-03-27 12:00", ["03-28 01:00+", "03-28 01:10-", "03-29 00:30+"]),
        ("Europe/Berlin", "2026-10-24 12:00", ["10-25 00:30+", "10-25 00:40-", "10-26 01:30+"]),
        # 02:00 becomes 03:00 at 07:00 UTC; 02:00 becomes 01:00 at 06:00 UTC
        ("America/New_York", "2027-03-13 12:00", ["03-14 07:00+", "03-14 07:10-", "03-15 06:30+"]),
        ("America/New_York", "2026-10-31 12:00", ["11-01 07:30+", "11-01 07:40-", "11-02 07:30+"]),
        # 02:00 becomes 02:30 at 15:30 UTC; 02:00 becomes 01:30 at 15:00 UTC
        ("Australia/Lord_Howe", "2026-10-03 12:00", ["10-03 15:30+", "10-03 15:40-", "10-04 15:30+"]),
        ("Australia/Lord_Howe", "2027-04-03 12:00", ["04-03 16:00+", "04-03 16:10-", "04-04 16:00+"]),
        ("Asia/Kathmandu", "2026-11-20 00:00", ["11-20 20:45+", "11-20 20:55-", "11-21 20:45+"]),
    ],
)
def test_a_start_at_half_past_two_happens_once_a_day(zone: str, since: str, expected: list[str]) -> None:
    assert turns_of([f"allow 30 2 * * * for 10m {zone}"], since, 3) == expected


def test_a_start_in_the_repeated_hour_happens_at_the_first() -> None:
    assert turns_of(["allow 30 1 * * * for 10m America/New_York"], "2026-11-01 00:00", 3) == [
        "11-01 05:30+", "11-01 05:40-", "11-02 06:30+",
    ]  # fmt: skip


def test_starts_of_the_skipped_half_hour_come_at_the_jump() -> None:
    early = ["allow 10 2 * * * for 10m Australia/Lord_Howe"]
    assert turns_of(early, "2026-10-03 12:00", 2) == ["10-03 15:30+", "10-03 15:40-"]


@pytest.mark.parametrize("day", ["2027-03-27 23:00", "2026-10-24 22:00"])
def test_an_hourly_start_comes_every_real_hour(day: str) -> None:
    found = turns_of(["allow 15 * * * * for 20m Europe/Berlin"], day, 10)
    opened = [text for text in found if text.endswith("+")]
    hours = [int(text[6:8]) for text in opened]
    assert [(b - a) % 24 for a, b in pairwise(hours)] == [1, 1, 1, 1]
    assert {text[9:11] for text in opened} == {"15"}


def test_three_hourly_starts_are_not_lost_to_a_jump_of_half_an_hour() -> None:
    found = turns_of(["allow 0 */3 * * * for 30m Australia/Lord_Howe"], "2026-10-03 13:00", 4)
    assert found == ["10-03 13:30+", "10-03 14:00-", "10-03 16:00+", "10-03 16:30-"]


def test_a_duration_is_elapsed_time_whatever_the_clock_shows() -> None:
    whole_day = ["allow 0 0 * * 0 for 24h Europe/Berlin"]
    assert turns_of(whole_day, "2026-10-24 12:00", 2) == ["10-24 22:00+", "10-25 22:00-"]  # it has 25 hours
    assert turns_of(whole_day, "2027-03-27 12:00", 2) == ["03-27 23:00+", "03-28 23:00-"]  # it has 23


def test_clocks_that_change_at_midnight() -> None:
    # Cairo skips from 00:00 to 01:00 on 2027-04-30.
    assert turns_of(["allow 0 0 * * * for 1h Africa/Cairo"], "2027-04-29 12:00", 3) == [
        "04-29 22:00+", "04-29 23:00-", "04-30 21:00+",
    ]  # fmt: skip


# -- the laws ----------------------------------------------------------------------------------------


def field(low: int, high: int) -> st.SearchStrategy[tuple[str, frozenset[int]]]:
    """The text of one cron field, and the numbers that it names."""
    number = st.integers(low, high)
    step = st.integers(1, high)
    pair = st.tuples(number, number).map(sorted)
    return st.one_of(
        st.just(("*", frozenset(range(low, high + 1)))),
        step.map(lambda n: (f"*/{n}", frozenset(range(low, high + 1, n)))),
        st.lists(number, min_size=1, max_size=3).map(lambda ns: (",".join(map(str, ns)), frozenset(ns))),
        pair.map(lambda p: (f"{p[0]}-{p[1]}", frozenset(range(p[0], p[1] + 1)))),
        st.tuples(pair, step).map(
            lambda x: (
                (f"{x[0][0]}-{x[0][1]}/{x[1]}", frozenset(range(x[0][0], x[0][1] + 1, x[1])))
                if x[0][0] < x[0][1]
                else (str(x[0][0]), frozenset(x[0]))
            )
        ),
    )


class Known:
    """A window whose starts are told without cron: by what each minute's clock shows."""

    def __init__(self, kind: str, fields: list[tuple[str, frozenset[int]]], minutes: int, zone: str) -> None:
        self.minutes = minutes
        self.texts = [text for text, _ in fields]
        self.sets = [numbers for _, numbers in fields]
        self.zone = ZoneInfo(zone)
        self.window = Window.parse(kind, " ".join(self.texts), minutes * MINUTE, zone)

    def shows(self, face: datetime) -> bool:
        """Whether the five fields name what a clock shows."""
        minute, hour, day, month, weekday = self.sets
        if face.minute not in minute or face.hour not in hour or face.month not in month:
            return False
        days = (face.day in day, face.isoweekday() % 7 in weekday)
        return all(days) if self.texts[2][0] == "*" or self.texts[4][0] == "*" else any(days)

    def starts(self, since: datetime, until: datetime) -> Iterator[datetime]:
        """Minute by minute along the real time: what the clock shows, and what it jumped over."""
        by_face = self.texts[0][0] == "*" or self.texts[1][0] == "*"
        last, now = None, since
        while now < until:
            face = now.astimezone(self.zone).replace(tzinfo=None)
            if by_face:
                shown = [face]
            elif last is None:
                shown, last = [face], face
            else:
                shown = [last + n * MINUTE for n in range(1, int((face - last) / MINUTE) + 1)]
                last = max(last, face)
            if any(self.shows(one) for one in shown):
                yield now
            now += MINUTE

    def active(self, since: datetime, until: datetime) -> set[datetime]:
        """The minutes in which it is active."""
        found: set[datetime] = set()
        for start in self.starts(since - self.minutes * MINUTE - timedelta(days=1), until):
            minute = start + (self.minutes - 1) * MINUTE
            while minute >= start and minute not in found:
                found.add(minute)
                minute -= MINUTE
        return found


def expected(members: list[list[Known]], now: datetime, until: datetime) -> tuple[bool, datetime | None]:
    """Whether it is open at `now`, and the first minute before `until` that differs."""
    active = {known: known.active(now, until) for member in members for known in member}

    def is_open(minute: datetime) -> bool:
        for member in members:
            allows = [known for known in member if known.window.kind == "allow"]
            denies = [known for known in member if known.window.kind == "deny"]
            if any(minute in active[known] for known in denies):
                return False
            if allows and not any(minute in active[known] for known in allows):
                return False
        return True

    first = is_open(now)
    minute = now + MINUTE
    while minute < until:
        if is_open(minute) != first:
            return first, minute
        minute += MINUTE
    return first, None


CHANGES = st.sampled_from(
    [
        ("UTC", "2026-11-21 12:00"),
        ("UTC", "2026-12-31 22:00"),
        ("Europe/Berlin", "2027-03-28 01:00"),
        ("Europe/Berlin", "2026-10-25 01:00"),
        ("America/New_York", "2027-03-14 07:00"),
        ("America/New_York", "2026-11-01 06:00"),
        ("Australia/Lord_Howe", "2026-10-03 15:30"),
        ("Australia/Lord_Howe", "2027-04-03 15:00"),
        ("Africa/Cairo", "2027-04-29 22:00"),
        ("Africa/Cairo", "2026-10-29 21:00"),  # 24:00 becomes 23:00
        ("America/Santiago", "2026-09-06 04:00"),  # 24:00 becomes 01:00
        ("Atlantic/Azores", "2026-10-25 01:00"),  # 01:00 becomes 00:00
        ("Asia/Kathmandu", "2026-11-21 12:00"),
        ("Pacific/Kiritimati", "2026-11-21 12:00"),
    ]
)
FIELDS = (
    st.tuples(field(0, 59), field(0, 23), field(1, 31), field(1, 12), field(0, 6))
    .filter(lambda fields: min(fields[2][1]) < 29)
    .map(list)
)
# Fields that name few days leave little to see in two of them.
OFTEN = st.tuples(field(0, 59), field(0, 23), *(st.just(("*", frozenset(range(32)))) for _ in range(3))).map(
    list
)
KIND = st.sampled_from(["allow", "deny"])
LENGTH = st.one_of(st.integers(1, 90), st.integers(1, 2000))


@given(
    CHANGES,
    st.integers(-20 * 60, 20 * 60),
    st.lists(st.lists(st.tuples(KIND, FIELDS | OFTEN, LENGTH), max_size=3), min_size=1, max_size=2),
)
def test_the_answer_is_that_of_looking_at_every_minute(
    change: tuple[str, str],
    off: int,
    drawn: list[list[tuple[str, list[tuple[str, frozenset[int]]], int]]],
) -> None:
    zone, moment = change
    now = at(moment) + off * MINUTE
    until = now + timedelta(hours=40)
    members = [[Known(*entry, zone) for entry in member] for member in drawn]
    is_open, turn = expected(members, now, until)
    found = intersect([tuple(known.window for known in member) for member in members], now)
    assert found.open == is_open
    if turn is None:
        assert found.changes_at is None or found.changes_at >= until
    else:
        assert found.changes_at == turn


@given(st.lists(st.tuples(KIND, FIELDS | OFTEN, LENGTH), max_size=3), st.integers(0, 3600), FIELDS | OFTEN)
def test_one_more_deny_never_opens_anything(
    drawn: list[tuple[str, list[tuple[str, frozenset[int]]], int]],
    seconds: int,
    fields: list[tuple[str, frozenset[int]]],
) -> None:
    now = at("2026-11-21 12:00") + timedelta(seconds=seconds)
    some = tuple(Known(*entry, "UTC").window for entry in drawn)
    deny = Known("deny", fields, 60, "UTC").window
    assert state((*some, deny), now).open <= state(some, now).open


# -- what a person may write -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cron", "problem"),
    [
        ("", "five fields"),
        ("@daily", "this one has 1"),
        ("@reboot", "this one has 1"),
        ("0 9 * *", "this one has 4"),
        ("0 0 9 * * 1", "this one has 6"),
        ("60 9 * * *", '"60" is no minute'),
        ("0 24 * * *", '"24" is no hour'),
        ("0 9 32 * *", '"32" is no day of month'),
        ("0 9 * 13 *", '"13" is no month'),
        ("0 9 * * 8", '"8" is no day of week'),
        ("0 9 * * FRI-MON", '"FRI-MON" is no day of week'),
        ("0 9 * * 1–5", '"–" is no character'),  # noqa: RUF001 - the dash of a word processor
        ("0 9-17/0 * * *", '"9-17/0" is no hour'),
        ("-1 9 * * *", '"-1" is no minute'),
        ("0 9 30 2 *", "no month that it names has such a day"),
        ("0 9 31 4,6 *", "no month that it names has such a day"),
        ("0 9 " + "1," * 100 + "1 * *", "at most 120 characters"),
    ],
)
def test_a_start_that_is_no_cron_expression_is_refused(cron: str, problem: str) -> None:
    with pytest.raises(PolicyError) as caught:
        Window.parse("allow", cron, timedelta(hours=8), "UTC")
    assert caught.value.reason.code == "window/invalid"
    assert problem in caught.value.reason.sentence


@pytest.mark.parametrize("duration", [timedelta(0), timedelta(seconds=-1), timedelta(days=31, seconds=1)])
def test_a_duration_is_positive_and_at_most_31_days(duration: timedelta) -> None:
    with pytest.raises(PolicyError, match="not from 1s to 31 days"):
        Window.parse("allow", "0 9 * * *", duration, "UTC")


@pytest.mark.parametrize(
    ("zone", "meant"),
    [
        ("Europe/Berln", "Europe/Berlin"),
        ("europe/berlin", "Europe/Berlin"),
        ("Berlin", "Europe/Berlin"),
        ("New York", "America/New_York"),
        ("America/NewYork", "America/New_York"),
        ("utc", "UTC"),
        ("right/Europe/Berlin", "Europe/Berlin"),  # it counts leap seconds
    ],
)
def test_a_misspelt_zone_is_refused_with_the_one_that_is_meant(zone: str, meant: str) -> None:
    with pytest.raises(PolicyError, match=f"did you mean {meant}"):
        Window.parse("allow", "0 9 * * *", timedelta(hours=8), zone)


@pytest.mark.parametrize(
    "zone",
    ["", "CEST", "Atlantis/Sunk", "../../etc/passwd", "/etc/localtime", "localtime", "posixrules",
     "Europe", "Europe/", "\0", "Z" * 5000],
)  # fmt: skip
def test_what_is_no_zone_is_refused_without_a_guess(zone: str) -> None:
    with pytest.raises(PolicyError, match="no time zone") as caught:
        Window.parse("allow", "0 9 * * *", timedelta(hours=8), zone)
    assert "did you mean" not in str(caught.value)


@pytest.mark.parametrize(
    "zone", ["UTC", "Etc/GMT+5", "America/Argentina/Ushuaia", "EST5EDT", "Asia/Kathmandu"]
)
def test_zones_of_the_tz_database_are_known(zone: str) -> None:
    assert Window.parse("deny", "0 9 * * *", timedelta(hours=8), zone).zone == zone


def test_a_window_prints_itself_as_it_is_spelt() -> None:
    spelt = "allow 0 9 * * MON-FRI for 8h Europe/Berlin"
    assert str(window(spelt)) == spelt
