"""Words: figures of delivery as people read them, the same in the terminal and on the page."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from html import escape

from automator.core.delivery.figures import Figures, Level, Spread

NO_DATA = "no data"
NO_LEVEL = "no level yet"
NOTHING = "-"
"""Where there is no value."""
_UNITS = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))


def duration(took: timedelta | None) -> str:
    """A duration in its two largest units: `2d 4h`, `3m 10s`."""
    if took is None:
        return NOTHING
    rest = round(took.total_seconds())
    sign, rest = ("-", -rest) if rest < 0 else ("", rest)
    parts: list[tuple[int, str]] = []
    for unit, size in _UNITS:
        count, rest = divmod(rest, size)
        if count or parts:
            parts.append((count, unit))
    shown = " ".join(f"{count}{unit}" for count, unit in parts[:2] if count)
    return sign + (shown or "0s")


def written(text: str) -> str:
    """Text as HTML, without characters that turn round, hide or break what stands beside them."""
    return escape(text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text))


def moment(at: datetime) -> str:
    """`2026-11-21 09:30 UTC`."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def level(found: Level | None, value: str = NO_DATA) -> str:
    """The level of a figure in words, or that there is no data, or none for a level."""
    return str(found) if found is not None else NO_DATA if value == NO_DATA else NO_LEVEL


def per_day(figures: Figures) -> str:
    """How often: by the day, the week or the month, whichever gives a number of at least one."""
    if figures.per_day is None:
        return NOTHING
    rate = figures.per_day
    unit, days = next((u for u in (("day", 1), ("week", 7)) if rate * u[1] >= 1), ("month", 30))
    return f"{rate * days:.1f} a {unit}"


def share(figures: Figures) -> str:
    """The change failure rate: `4.2 % (5)`."""
    rate = figures.failure_rate
    return NOTHING if rate is None else f"{100 * rate:.1f} % ({figures.failed})"


def _frequency_basis(figures: Figures) -> str:
    return f"{counted(figures.deployments, 'deployment')} in {_days(figures.days)}"


def _days(days: float) -> str:
    return duration(timedelta(days=days)) if days < 1 else counted(round(days), "day")


def _lead_basis(figures: Figures) -> str:
    parts = [_spread(figures.lead)]
    if figures.lead.n:
        parts.append(
            f"{figures.lead_from_source} from the source's commit, {figures.lead_from_build} from the build"
        )
    if figures.lead_until_deployed:
        parts.append(f"{figures.lead_until_deployed} until deployed")
    if figures.lead_unknown:
        parts.append(f"{figures.lead_unknown} unknown")
    if figures.lead_skewed:
        parts.append(f"{figures.lead_skewed} left out: clocks disagree")
    return "; ".join(parts)


def _failure_basis(figures: Figures) -> str:
    ways = ", ".join(f"{count} {way}" for way, count in figures.failures)
    return f"{figures.failed} of {counted(figures.deployments, 'deployment')}" + (f": {ways}" if ways else "")


def _restore_basis(figures: Figures) -> str:
    parts = [_spread(figures.restore)]
    if figures.unrestored:
        parts.append(f"{figures.unrestored} not restored yet")
    if figures.restore_skewed:
        parts.append(f"{figures.restore_skewed} left out: clocks disagree")
    return "; ".join(parts)


def _spread(took: Spread) -> str:
    if not took.n:
        return "n = 0"
    p90 = f", 90 % within {duration(took.p90)}" if took.p90 is not None else ""
    return f"n = {took.n}, {duration(took.least)} to {duration(took.greatest)}{p90}"


def counted(number: int, thing: str) -> str:
    """`1 week`, `2 weeks`."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _median(took: Spread) -> str:
    return NO_DATA if took.median is None else duration(took.median)


Words = Callable[[Figures], str]
FIGURES: tuple[tuple[str, Words, Callable[[Figures], Level | None], Words], ...] = (
    (
        "deployment frequency",
        lambda f: NO_DATA if f.per_day is None else per_day(f),
        lambda f: f.frequency_level,
        _frequency_basis,
    ),
    ("lead time for changes", lambda f: _median(f.lead), lambda f: f.lead_level, _lead_basis),
    (
        "change failure rate",
        lambda f: NO_DATA if f.failure_rate is None else f"{100 * f.failure_rate:.1f} %",
        lambda f: f.failure_level,
        _failure_basis,
    ),
    ("time to restore", lambda f: _median(f.restore), lambda f: f.restore_level, _restore_basis),
)
"""Each figure's name, value, level, and what it was counted from."""
