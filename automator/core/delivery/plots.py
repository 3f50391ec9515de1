"""Plots: figures of delivery as SVG, written out here, with a title and a description for who cannot see.

Colours are classes, which the page's style gives a light and a dark look; every text is escaped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from math import log10
from typing import NamedTuple

from automator.core.delivery.words import duration, written

WIDTH = 640
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 12, 12, 28
_LABELS = 8
"""Labels along one axis, at most."""


class Bar(NamedTuple):
    """One bar: how many in all, and how many of them failed."""

    name: str
    whole: int
    failed: int


class Dot(NamedTuple):
    """One release in time."""

    at: datetime
    took: timedelta
    name: str
    failed: bool


class Piece(NamedTuple):
    """One piece of a bar that lies: a class of colour, and how long."""

    look: str
    took: timedelta
    name: str


class Row(NamedTuple):
    """One bar that lies, made of pieces."""

    name: str
    pieces: tuple[Piece, ...]
    most: timedelta | None = None
    """Where a thin line goes on to."""


def bars(found: Sequence[Bar], *, title: str, description: str, id_: str) -> str:
    """Standing bars, the failed part of each on top."""
    height, top = 180, max((bar.whole for bar in found), default=0) or 1
    inner = height - _TOP - _BOTTOM
    slot = (WIDTH - _LEFT - _RIGHT) / max(len(found), 1)
    wide = max(min(slot * 0.7, 48), 1)
    parts = [_grid(y, str(value)) for value, y in _counts(top, height)]
    for i, bar in enumerate(found):
        x = _LEFT + i * slot + (slot - wide) / 2
        told = f"{bar.name}: {bar.whole}" + (f", {bar.failed} failed" if bar.failed else "")
        good, bad = inner * (bar.whole - bar.failed) / top, inner * bar.failed / top
        base = height - _BOTTOM
        marks = _rect(x, base - good, wide, good, "good") + _rect(x, base - good - bad, wide, bad, "bad")
        parts.append(f"<g><title>{written(told)}</title>{marks}</g>")
    parts += [
        _text(_LEFT + (i + 0.5) * slot, height - 9, found[i].name, "middle") for i in _spaced(len(found))
    ]
    return _svg(height, title, description, id_, parts)


def dots(
    found: Sequence[Dot], begin: datetime, end: datetime, *, title: str, description: str, id_: str
) -> str:
    """Releases in time, by how long each took, on a logarithmic scale; failed ones are crosses."""
    height = 220
    seconds = [max(dot.took.total_seconds(), 1.0) for dot in found] or [60.0]
    low, high = log10(min(seconds)) - 0.1, log10(max(seconds)) + 0.1
    inner, span = height - _TOP - _BOTTOM, max((end - begin).total_seconds(), 1.0)

    def across(at: datetime) -> float:
        return _LEFT + 8 + (WIDTH - _LEFT - _RIGHT - 16) * (at - begin).total_seconds() / span

    def up(value: float) -> float:
        return height - _BOTTOM - inner * (log10(max(value, 1.0)) - low) / (high - low)

    steps = [s for s in _STEPS if low <= log10(s) <= high] or [round(max(seconds))]
    parts = [_grid(up(value), duration(timedelta(seconds=value))) for value in steps]
    for dot in sorted(found):
        x, y = across(dot.at), up(dot.took.total_seconds())
        told = written(f"{dot.name}, {dot.at.astimezone(UTC):%Y-%m-%d}: {duration(dot.took)}")
        if dot.failed:
            mark = f'<path class="cross" d="M{x - 4:.1f} {y - 4:.1f}l8 8m0 -8l-8 8"/>'
        else:
            mark = f'<circle class="good" cx="{x:.1f}" cy="{y:.1f}" r="4"/>'
        parts.append(f"<g><title>{told}{' (failed)' if dot.failed else ''}</title>{mark}</g>")
    for i in range(5):
        at = begin + (end - begin) * i / 4
        place = ("start", "middle", "middle", "middle", "end")[i]
        parts.append(_text(across(at), height - 9, f"{at.astimezone(UTC):%Y-%m-%d}", place))
    return _svg(height, title, description, id_, parts)


_STEPS = (1, 10, 60, 600, 3_600, 6 * 3_600, 86_400, 7 * 86_400, 30 * 86_400, 365 * 86_400)
"""Seconds at which a logarithmic scale has a line."""


def rows(found: Sequence[Row], *, title: str, description: str, id_: str) -> str:
    """Lying bars of pieces, the name of each above it."""
    each = 38
    height = 8 + each * max(len(found), 1)
    ends = [sum((p.took for p in row.pieces), timedelta(0)) for row in found]
    ends += [row.most for row in found if row.most is not None]
    longest = max((end.total_seconds() for end in ends), default=0.0) or 1.0
    room = WIDTH - 90
    parts = []
    for i, row in enumerate(found):
        y, x = 8 + i * each, 0.0
        whole = sum((p.took for p in row.pieces), timedelta(0))
        parts.append(_text(0, y + 10, row.name, "start"))
        if row.most is not None:
            reach = room * row.most.total_seconds() / longest
            parts.append(f'<line class="whisker" x1="0" x2="{reach:.1f}" y1="{y + 22}" y2="{y + 22}"/>')
        for piece in row.pieces:
            wide = room * piece.took.total_seconds() / longest
            told = written(f"{piece.name}: {duration(piece.took)}")
            parts.append(f"<g><title>{told}</title>{_rect(x, y + 15, max(wide, 0.5), 14, piece.look)}</g>")
            x += wide
        if row.most is None:
            parts.append(_text(x + 6, y + 26, duration(whole), "start"))
    return _svg(height, title, description, id_, parts)


def _svg(height: int, title: str, description: str, id_: str, parts: Iterable[str]) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-labelledby="{id_}-t {id_}-d">'
        f'<title id="{id_}-t">{written(title)}</title><desc id="{id_}-d">{written(description)}</desc>'
        f"{''.join(parts)}</svg>"
    )


def _rect(x: float, y: float, wide: float, high: float, look: str) -> str:
    if high <= 0:
        return ""
    return f'<rect class="{look}" x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{high:.1f}"/>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{written(text)}</text>'


def _grid(y: float, label: str) -> str:
    line = f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
    return line + _text(_LEFT - 6, y + 4, label, "end")


def _counts(top: int, height: int) -> list[tuple[int, float]]:
    """Whole numbers for a scale from 0 to `top`, and where each is."""
    step = next(s for e in range(9) for s in (10**e, 2 * 10**e, 5 * 10**e) if top / s <= 5)
    inner = height - _TOP - _BOTTOM
    return [(value, height - _BOTTOM - inner * value / top) for value in range(0, top + 1, step)]


def _spaced(count: int) -> range:
    """Which of so many labels are written."""
    return range(0, count, -(-count // _LABELS) or 1)
