"""Moments as people give them to `--since` and `--until`: a date, a time, or how long ago."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from automator.core.duration import parse_duration
from automator.errors import UsageError
from automator.reasons import reason

_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


def since(text: str | None, now: datetime) -> datetime | None:
    """The moment from which on things count. A date is its beginning, in UTC.

    Raises UsageError.
    """
    return _moment(text, now, "--since", lambda day: day)


def until(text: str | None, now: datetime) -> datetime | None:
    """The first moment that no longer counts. A date is its end, in UTC: that day counts.

    Raises UsageError.
    """
    return _moment(text, now, "--until", lambda day: day + timedelta(days=1))


def _moment(
    text: str | None, now: datetime, option: str, of_day: Callable[[datetime], datetime]
) -> datetime | None:
    if text is None:
        return None
    try:
        if _DATE.fullmatch(text):
            return of_day(datetime.fromisoformat(text).replace(tzinfo=UTC))
        if text[:1].isdigit() and not text[:5].endswith("-"):
            return now - parse_duration(text)
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise UsageError(reason("usage/moment", option=option, text=text)) from None
