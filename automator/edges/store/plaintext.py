"""Values of the core as JSON text, there and back, by their type hints.

Nothing is listed here by name: a field that is added to a class is written from then on, and one whose type
has no way into JSON is refused when the class is first met, not lost.
"""

from __future__ import annotations

import json
import operator
import sys
import types
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from datetime import datetime
from typing import Any, Generic, Literal, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

from automator.reasons import Reason

T = TypeVar("T")
_BOOLEANS = {False: False, True: True}


class _Way(NamedTuple):
    """How values of one type go into JSON and back; reading refuses what such a value never was."""

    write: Callable[[Any], Any]
    read: Callable[[Any], Any]


class PlainText(Generic[T]):
    """Writes and reads values of one class.

    Classes are dataclasses and NamedTuples; what they hold, in turn: such classes, tuples, frozensets of
    things that can be ordered, str, int, bool, datetime, literals, and None beside any of them.

    Raises TypeError for a class that holds anything else.
    """

    def __init__(self, kind: type[T]) -> None:
        self._way = _way(kind)

    def write(self, value: T) -> str:
        """The text of a value, in ASCII and on one line."""
        return json.dumps(self._way.write(value), separators=(",", ":"))

    def read(self, text: str) -> T:
        """The value of which this is the text; its strings are shared with others that read the same.

        Raises ValueError where it is the text of nothing of this class.
        """
        try:
            value: T = self._way.read(json.loads(text))
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise ValueError(f"not as it was written: {type(error).__name__}") from error
        return value


def _way(hint: Any) -> _Way:
    origin = get_origin(hint)
    if hint in _SCALARS:
        return _SCALARS[hint]
    if origin in (Union, types.UnionType):
        return _way_of_union(get_args(hint))
    if origin is Literal:
        return _Way(_as_it_is, _one_of(get_args(hint)))
    if origin is tuple:
        return _way_of_tuple(get_args(hint))
    if origin is frozenset:
        item = _way(get_args(hint)[0])
        return _Way(lambda value: [item.write(one) for one in sorted(value)], _all(item.read, frozenset))
    if isinstance(hint, type) and is_dataclass(hint):
        return _way_of_dataclass(hint)
    if isinstance(hint, type) and issubclass(hint, tuple) and hasattr(hint, "_fields"):
        return _way_of_fields(hint, hint._fields)
    raise TypeError(f"{hint} has no way into JSON here")


def _way_of_union(members: tuple[Any, ...]) -> _Way:
    present = [member for member in members if member is not type(None)]
    if len(present) != 1 or len(present) == len(members):
        raise TypeError(f"a choice among {members} cannot be told apart in JSON")
    write, read = _way(present[0])
    return _Way(
        lambda value: None if value is None else write(value),
        lambda value: None if value is None else read(value),
    )


def _way_of_tuple(items: tuple[Any, ...]) -> _Way:
    if len(items) == 2 and items[1] is Ellipsis:
        write, read = _way(items[0])
        return _Way(lambda value: [write(item) for item in value], _all(read, tuple))
    ways = [_way(item) for item in items]
    reads = [way.read for way in ways]
    return _Way(
        lambda value: [way.write(item) for way, item in zip(ways, value, strict=True)],
        lambda row: tuple([read(item) for read, item in zip(reads, _listed(row), strict=True)]),
    )


def _way_of_dataclass(kind: type) -> _Way:
    told = fields(kind)
    if not all(field.init and not field.kw_only for field in told):
        raise TypeError(f"{kind} is not made of its fields in their order")
    way = _way_of_fields(kind, tuple(field.name for field in told))
    if kind is Reason:
        return _Way(way.write, lambda row: _known(way.read(row)))
    return way


def _way_of_fields(kind: type, names: tuple[str, ...]) -> _Way:
    hints = get_type_hints(kind)
    writes = [(name, _way(hints[name]).write) for name in names]
    reads = [_way(hints[name]).read for name in names]
    return _Way(
        lambda value: [write(getattr(value, name)) for name, write in writes],
        lambda row: kind(*[read(item) for read, item in zip(reads, _listed(row), strict=True)]),
    )


def _known(why: Reason) -> Reason:
    # A code that is no more, or whose words take other parameters now, fails here and not where it is read.
    _ = why.sentence, why.next_step
    return why


def _all(read: Callable[[Any], Any], made: Callable[[list[Any]], Any]) -> Callable[[Any], Any]:
    return lambda row: made([read(item) for item in _listed(row)])


def _one_of(allowed: tuple[Any, ...]) -> Callable[[Any], Any]:
    return {value: value for value in allowed}.__getitem__


def _listed(row: Any) -> list[Any]:
    if type(row) is not list:
        raise TypeError("no list")
    return row


def _as_it_is(value: Any) -> Any:
    return value


_SCALARS: dict[Any, _Way] = {
    str: _Way(_as_it_is, sys.intern),
    int: _Way(_as_it_is, operator.index),
    bool: _Way(_as_it_is, _BOOLEANS.__getitem__),
    datetime: _Way(datetime.isoformat, datetime.fromisoformat),
}
