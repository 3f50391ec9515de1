"""Durations as people write them: `30s`, `5m`, `1h30m`, `2d`."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_UNITS = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1}
_DURATION = re.compile("".join(rf"(?:(?P<{unit}>[0-9]{{1,9}}){unit})?" for unit in _UNITS), re.ASCII)
_LONGEST = 10 * 365 * 86_400


def parse_duration(text: str) -> timedelta:
    """Read a duration: whole numbers with a unit (w, d, h, m, s), the largest unit first.

    Raises ValueError, with a sentence for people, on anything else: a number without its unit, a
    unit twice, more than ten years.
    """
    match = _DURATION.fullmatch(text)
    if match is None or not text:
        raise ValueError("a duration such as 30s, 5m, 1h30m or 2d")
    seconds = sum(int(number) * _UNITS[unit] for unit, number in match.groupdict(default="0").items())
    if seconds > _LONGEST:
        raise ValueError("a duration of at most ten years")
    return timedelta(seconds=seconds)


def format_duration(duration: timedelta) -> str:
    """Write a duration in the form that `parse_duration` reads, in whole seconds: `1h30m`."""
    rest = max(0, int(duration.total_seconds()))
    parts = []
    for unit, seconds in _UNITS.items():
        if unit != "w":
            count, rest = divmod(rest, seconds)
            parts.append(f"{count}{unit}" if count else "")
    return "".join(parts) or "0s"


_WORDS = (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1))


def format_age(age: timedelta) -> str:
    """An age as people say it, in its largest unit: `31 minutes`, `1 day`."""
    seconds = max(0, int(age.total_seconds()))
    word, size = next(((w, s) for w, s in _WORDS if seconds >= s), _WORDS[-1])
    count = seconds // size
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def format_moment(at: datetime, now: datetime) -> str:
    """A moment as people say it: `10:42 UTC`, with the date where it is another day than `now`."""
    at, now = at.astimezone(UTC), now.astimezone(UTC)
    day = "" if at.date() == now.date() else f"{at:%Y-%m-%d} "
    return f"{day}{at:%H:%M}{f':{at:%S}' if at.second else ''} UTC"
