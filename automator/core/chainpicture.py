"""The picture of a promotion chain: where boxes and lines go, from left to right.

Pure geometry in pixels. What comes after something stands in a layer right of it; a line that passes a layer
has a place of its own in it, so that it crosses no box.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from automator.core.view import Chain, ChainEdge, ChainNode

WIDE, HIGH = 208, 66
"""Size of a box."""
BETWEEN = 150
"""From one layer to the next: room for the words at a line."""
_GAP, _LANE = 34, 16
"""From one box of a layer to the next, and the height of a line that passes."""
_EDGE = 8
"""Room around everything."""
_HEAD = 7
"""Length of an arrow's head."""
_WORDS = (136, 34)
"""Room for the words at a line."""
_SWEEPS = 4

Key = tuple[str, str]
Slot = tuple[str, ...]
"""What has a place in a layer: a node's key, or a line's number that passes there."""


@dataclass(frozen=True, slots=True)
class Box:
    """A node, and its left upper corner."""

    node: ChainNode
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Line:
    """An edge, the path of its line as SVG writes paths, where it ends, and the middle of its words."""

    edge: ChainEdge
    path: str
    end: tuple[float, float]
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Picture:
    """Boxes and lines inside so many pixels."""

    width: float
    height: float
    boxes: tuple[Box, ...]
    lines: tuple[Line, ...]


def picture(chain: Chain) -> Picture:
    """Where everything of a chain goes. Its nodes must stand in the order of the way, as `chains_of` has
    them; the same chain gives the same picture."""
    layer = _layers(chain)
    passing = {
        index: range(layer[edge.upstream] + 1, layer[edge.downstream])
        for index, edge in enumerate(chain.edges)
    }
    columns = _ordered(_columns(chain, layer, passing), _neighbours(chain, passing))
    height = max(_high(column) for column in columns) if columns else 0
    middles = {
        (number, slot): middle
        for number, column in enumerate(columns)
        for slot, middle in _middles(column, height)
    }
    nodes = {(node.repo, node.name): node for node in chain.nodes}
    boxes = tuple(
        Box(node, _left(layer[key]), middles[layer[key], key] - HIGH / 2) for key, node in nodes.items()
    )
    lines: list[Line] = []
    for index, edge in enumerate(chain.edges):
        lanes = [middles[number, _lane(index)] for number in passing[index]]
        lines.append(_line(edge, lanes, layer, middles, lines))
    width = _left(len(columns) - 1) + WIDE + _EDGE if columns else 0
    return Picture(width, height + 2 * _EDGE, boxes, tuple(lines))


def weight(chain: Chain, most: int) -> int | None:
    """How much there is in the picture: boxes, lines, and places where lines pass a layer; None for more than
    `most`. Quick where a picture would not be."""
    whole = len(chain.nodes) + len(chain.edges)
    if whole > most:
        return None
    layer = _layers(chain)
    whole += sum(max(layer[edge.downstream] - layer[edge.upstream] - 1, 0) for edge in chain.edges)
    return whole if whole <= most else None


def _layers(chain: Chain) -> dict[Key, int]:
    """The layer of each node: right of all that it comes after. A circle is cut where it comes back."""
    above: dict[Key, list[Key]] = {}
    for edge in chain.edges:
        above.setdefault(edge.downstream, []).append(edge.upstream)
    layer: dict[Key, int] = {}
    for node in chain.nodes:
        key = (node.repo, node.name)
        layer[key] = max((layer[one] + 1 for one in above.get(key, ()) if one in layer), default=0)
    return layer


def _lane(index: int) -> Slot:
    return (str(index),)


def _columns(chain: Chain, layer: Mapping[Key, int], passing: Mapping[int, range]) -> list[list[Slot]]:
    columns: list[list[Slot]] = [[] for _ in range(max(layer.values(), default=-1) + 1)]
    for key, number in layer.items():
        columns[number].append(key)
    for index, numbers in passing.items():
        for number in numbers:
            columns[number].append(_lane(index))
    return columns


def _neighbours(chain: Chain, passing: Mapping[int, range]) -> dict[Slot, set[Slot]]:
    """What each slot is joined with, in any layer."""
    beside: dict[Slot, set[Slot]] = {}
    for index, edge in enumerate(chain.edges):
        ends: Iterable[Slot] = (edge.upstream, edge.downstream)
        joined = [edge.upstream, _lane(index), edge.downstream] if passing[index] else list(ends)
        for one in joined:
            beside.setdefault(one, set()).update(other for other in joined if other != one)
    return beside


def _ordered(columns: list[list[Slot]], beside: Mapping[Slot, set[Slot]]) -> list[list[Slot]]:
    """The columns with each slot near what it is joined with: by the mean of their places, forth and back."""
    place = {slot: i for column in columns for i, slot in enumerate(column)}
    for sweep in range(_SWEEPS):
        numbers = range(1, len(columns)) if sweep % 2 == 0 else range(len(columns) - 2, -1, -1)
        for number in numbers:
            other = columns[number - 1 if sweep % 2 == 0 else number + 1]
            known = {slot: i / max(len(other) - 1, 1) for i, slot in enumerate(other)}

            def wish(slot: Slot, known: Mapping[Slot, float] = known) -> tuple[float, int]:
                near = [known[one] for one in (*beside.get(slot, ()), slot) if one in known]
                return (fmean(near) if near else 0.5, place[slot])

            columns[number].sort(key=wish)
            place.update((slot, i) for i, slot in enumerate(columns[number]))
    return columns


def _size(slot: Slot) -> int:
    return HIGH if len(slot) == 2 else _LANE


def _high(column: Sequence[Slot]) -> int:
    return sum(map(_size, column)) + _GAP * (len(column) - 1)


def _middles(column: Sequence[Slot], height: float) -> Iterable[tuple[Slot, float]]:
    """The middle of each slot of a column, which stands in the middle of the picture."""
    y = _EDGE + (height - _high(column)) / 2
    for slot in column:
        yield slot, y + _size(slot) / 2
        y += _size(slot) + _GAP


def _left(number: int) -> float:
    return _EDGE + number * (WIDE + BETWEEN)


def _line(
    edge: ChainEdge,
    lanes: Sequence[float],
    layer: Mapping[Key, int],
    middles: Mapping[tuple[int, Slot], float],
    others: Sequence[Line],
) -> Line:
    begin, end = layer[edge.upstream], layer[edge.downstream]
    x, y = _left(begin) + WIDE, middles[begin, edge.upstream]
    last = middles[end, edge.downstream]
    if end <= begin:  # a circle comes back: over to the left, below everything that it passes
        left = _left(end) - _HEAD
        path = f"M{x:g} {y:g}C{x + 90:g} {y + 110:g} {left - 90:g} {last + 110:g} {left:g} {last:g}"
        return Line(edge, path, (left, last), (x + left) / 2, (y + last) / 2 + 82)
    path = f"M{x:g} {y:g}"
    for number, lane in enumerate((*lanes, last), begin + 1):
        left = _left(number) - (_HEAD if number == end else 0)
        bend = (left - x) / 2
        path += f"C{x + bend:g} {y:g} {left - bend:g} {lane:g} {left:g} {lane:g}"
        if number < end:
            path += f"H{left + WIDE:g}"
            x, y = left + WIDE, lane
    middle = (x + left) / 2
    taken = [other.y for other in others if abs(other.x - middle) < _WORDS[0]]
    return Line(edge, path, (left, last), middle, _free(y, last, taken))


def _free(begin: float, end: float, taken: Sequence[float]) -> float:
    """Where on a line words stand: in its middle, or else nearest to it where no others are."""
    places = [begin + (end - begin) * share for share in (0.5, 0.36, 0.64, 0.25, 0.75, 0.15, 0.85)]
    return max(places, key=lambda y: min((abs(y - one) for one in taken), default=_WORDS[1]) >= _WORDS[1])
