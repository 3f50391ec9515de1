"""What a page is asked for: its parameters as forms send them, and addresses that ask for a little else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode

from starlette.requests import Request

from automator.edges.web.admin import LOOKED
from automator.edges.web.desk import Desk
from automator.edges.web.parameters import Parameter, read_query


@dataclass(frozen=True, slots=True)
class Asked:
    """One request for a page, read and understood."""

    desk: Desk
    path: str
    place: Mapping[str, str]
    """What varies in the path."""
    told: tuple[tuple[str, str], ...]
    """The parameters as they came, without those that are empty: forms send all of their fields."""
    query: Mapping[str, Any]
    now: datetime
    looked: str | None = None
    """The config repo that is looked at, since its reader wished so on this page; `-` where that failed."""

    @property
    def chips(self) -> list[tuple[str, str, str]]:
        """Parameters that were given several times: name, value, and this page's address without it."""
        counts = Counter(name for name, _ in self.told)
        listed = [one for one in self.told if one[0] != "offset"]
        return [
            (name, value, address(self.path, [one for one in listed if one != (name, value)]))
            for name, value in dict.fromkeys(listed)
            if counts[name] > 1
        ]

    def rest(self, *names: str) -> list[tuple[str, str]]:
        """What a form that has one field for each of these must send along: their second values and so on."""
        return [(name, value) for name in names for value in self.query[name][1:]]

    def to(self, **changes: object) -> str:
        """This page's address with other parameters; None takes one away. Whoever asks for something else
        begins at the beginning."""
        kept = [(name, value) for name, value in self.told if name not in changes and name != "offset"]
        more = [(name, str(value)) for name, value in changes.items() if value is not None]
        return address(self.path, [*kept, *more])

    @property
    def here(self) -> str:
        """This page's own address."""
        return address(self.path, self.told)


@dataclass(frozen=True, slots=True)
class Shown:
    """What a page shows: a template and what it is given."""

    template: str
    values: Mapping[str, Any]
    again: int | None = None
    """Seconds after which it is worth while to ask again, where it is not complete yet."""
    status: int = 200


@dataclass(frozen=True, slots=True)
class Page:
    """One page: its address, what may be asked of it, and how it is found."""

    path: str
    show: Callable[[Asked], Shown]
    parameters: tuple[Parameter, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a list that is too long for one page."""

    first: int
    """Number of the first one, from 1."""
    last: int
    total: int | None
    """None where nobody counted."""
    before: str | None
    """Address of the part before this one."""
    after: str | None


def read(request: Request, desk: Desk, parameters: Sequence[Parameter]) -> Asked:
    """A request, understood. Raises Problem."""
    given = [(name, value) for name, value in request.query_params.multi_items() if value.strip()]
    told = tuple((name, value) for name, value in given if name != LOOKED)
    bare = Request({**request.scope, "query_string": urlencode(told).encode()})
    now = desk.now()
    query = read_query(bare, parameters, now)
    return Asked(desk, request.scope["path"], request.path_params, told, query, now, dict(given).get(LOOKED))


def part(asked: Asked, count: int, size: int, name: str = "offset") -> Part:
    """Which part of a list of `count` is asked for, in pages of `size`."""
    offset = min(asked.query[name], max(count - 1, 0) // size * size)
    before = asked.to(**{name: max(offset - size, 0) or None}) if offset else None
    after = asked.to(**{name: offset + size}) if offset + size < count else None
    return Part(min(offset + 1, count), min(offset + size, count), count, before, after)


def allot(counts: Iterable[int], each: int, whole: int) -> list[int]:
    """How many of so many things are shown of each: some of all, and hardly more than `whole` together."""
    shown = []
    for count in counts:
        shown.append(min(count, each, max(whole, 1)))
        whole -= shown[-1]
    return shown


def address(path: str, told: Sequence[tuple[str, str]]) -> str:
    """A path with parameters."""
    return quote(path) + (f"?{urlencode(told)}" if told else "")


def page_of(repo: str, name: str) -> str:
    """The address of a workload's page."""
    return f"/workloads/{quote(repo, safe='')}/{quote(name, safe='')}"
