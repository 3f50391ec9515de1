"""Moments as people ask for them: a date, a time, or how long ago."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from automator.core.duration import parse_duration

EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9998, 1, 1, tzinfo=UTC)
"""Between them every period can be counted back from, and every time zone has the year."""
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


def parse_moment(text: str, now: datetime, of_day: timedelta = timedelta(0)) -> datetime:
    """Read a moment, in UTC: a date (`of_day` after its beginning), an ISO 8601 time (in UTC where it names
    no zone), or a duration before `now`.

    Raises ValueError on anything else, and before 1970 or after 9997.
    """
    try:
        moment = _parsed(text, now, of_day)
    except OverflowError:
        raise ValueError("a moment of the calendar") from None
    if not EARLIEST <= moment < LATEST:
        raise ValueError("a moment from 1970 on")
    return moment


def _parsed(text: str, now: datetime, of_day: timedelta) -> datetime:
    if _DATE.fullmatch(text):
        return datetime.fromisoformat(text).replace(tzinfo=UTC) + of_day
    if text[:1].isdigit() and not text[:5].endswith("-"):
        return now - parse_duration(text)
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
