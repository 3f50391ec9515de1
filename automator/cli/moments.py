"""Moments as people give them to `--since` and `--until`: a date, a time, or how long ago."""

from __future__ import annotations

from datetime import datetime, timedelta

from automator.core.moment import parse_moment
from automator.errors import UsageError
from automator.reasons import reason


def since(text: str | None, now: datetime) -> datetime | None:
    """The moment from which on things count. A date is its beginning, in UTC.

    Raises UsageError.
    """
    return _moment(text, now, "--since", timedelta(0))


def until(text: str | None, now: datetime) -> datetime | None:
    """The first moment that no longer counts. A date is its end, in UTC: that day counts.

    Raises UsageError.
    """
    return _moment(text, now, "--until", timedelta(days=1))


def _moment(text: str | None, now: datetime, option: str, of_day: timedelta) -> datetime | None:
    if text is None:
        return None
    try:
        return parse_moment(text, now, of_day)
    except ValueError:
        raise UsageError(reason("usage/moment", option=option, text=text)) from None
