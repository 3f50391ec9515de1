"""Moments as people ask for them, and as JSON has them."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automator.core.moment import EARLIEST, LATEST, parse_moment
from automator.core.shown import plain

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-01", datetime(2026, 11, 2, tzinfo=UTC)),
        ("2026-11-01T09:30:00Z", datetime(2026, 11, 1, 9, 30, tzinfo=UTC)),
        ("2026-11-01T09:30:00+02:00", datetime(2026, 11, 1, 7, 30, tzinfo=UTC)),
        ("2026-11-01T09:30", datetime(2026, 11, 1, 9, 30, tzinfo=UTC)),
        ("30d", NOON - 30 * DAY),
        ("1d12h", NOON - 1.5 * DAY),
        ("1970-01-01", EARLIEST + DAY),
    ],
)
def test_dates_times_and_durations_are_moments(text: str, expected: datetime) -> None:
    assert parse_moment(text, NOON, DAY) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", "yesterday", "12", "2026-13-40", "1969-12-31T23:59:59Z", "0001-02-01", "0001-01-01T00:00:00Z"),
        *("9999-12-31", "9999-12-31T23:59:59-23:00", "0001-01-01T00:00:00+23:00", "99999999w", "11y"),
    ],
)
def test_what_no_period_can_be_counted_from_is_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_moment(text, NOON, DAY)


@given(
    st.one_of(st.text(), st.datetimes().map(str), st.dates().map(str), st.from_regex(r"[0-9]{1,9}[wdhms]"))
)
def test_whatever_is_read_lies_within_the_calendar(text: str) -> None:
    try:
        moment = parse_moment(text, NOON, DAY)
    except ValueError:
        return
    assert EARLIEST <= moment < LATEST
    assert moment - timedelta(days=400) < moment


@pytest.mark.parametrize("year", [1, 999, 1970, 9999])
def test_json_has_years_of_four_digits(year: int) -> None:
    assert plain(datetime(year, 3, 2, 1, 2, 3, 4, tzinfo=UTC)) == f"{year:04}-03-02T01:02:03Z"
