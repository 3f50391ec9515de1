"""Parameters of addresses: what each may be, how it is read, and how it is described."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from starlette.requests import Request

from automator.core.delivery.change import Wanted
from automator.core.moment import parse_moment
from automator.edges.web.problem import Problem
from automator.edges.web.schemas import Schema
from automator.reasons import one_line, reason

LONGEST = 400
"""Characters of a value."""
MOST = 50
"""Times that a parameter may be repeated."""
_MOMENT = r"^([0-9]{4}-[0-9]{2}-[0-9]{2}.*|([0-9]{1,9}[wdhms])+)$"
"""How what is given begins at least; not all of that is a moment."""
_WHOLE = re.compile(r"\d{1,9}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Text:
    """A text, or one of some; `many` may be repeated, and then any of them will do."""

    name: str
    says: str
    many: bool = False
    among: tuple[str, ...] = ()

    @property
    def schema(self) -> Schema:
        one: Schema = {"type": "string", "enum": list(self.among)} if self.among else _TEXT
        return {"type": "array", "items": one, "maxItems": MOST} if self.many else dict(one)

    def read(self, values: Sequence[str], _now: datetime) -> Any:
        """The value; all of them where there may be many."""
        for value in values:
            if self.among and value not in self.among:
                raise wrong(self.name, f"one of {', '.join(self.among)}", value)
        return tuple(values) if self.many else (values[0] if values else None)


_TEXT: Schema = {"type": "string", "maxLength": LONGEST}


@dataclass(frozen=True, slots=True)
class Number:
    """A whole number."""

    name: str
    says: str
    default: int
    least: int
    most: int

    @property
    def schema(self) -> Schema:
        return {"type": "integer", "minimum": self.least, "maximum": self.most, "default": self.default}

    def read(self, values: Sequence[str], _now: datetime) -> Any:
        """The number, or the default."""
        if not values:
            return self.default
        (value,) = values
        if not _WHOLE.fullmatch(value) or not self.least <= int(value) <= self.most:
            raise wrong(self.name, f"a number from {self.least} to {self.most}", value)
        return int(value)


@dataclass(frozen=True, slots=True)
class Moment:
    """A date, a time, or how long ago, as the command line takes it."""

    name: str
    says: str
    of_day: timedelta = field(default=timedelta(0))
    """What a date means: its beginning, or so much later."""

    @property
    def schema(self) -> Schema:
        return {**_TEXT, "pattern": _MOMENT, "examples": ["2026-11-20", "2026-11-20T09:30:00Z", "30d"]}

    def read(self, values: Sequence[str], now: datetime) -> Any:
        """The moment in UTC; None where none was given. How long ago is counted from the last full minute."""
        if not values:
            return None
        (value,) = values
        # What is as long ago now as a second ago is asked of the same moment: answers stand for a minute.
        minute = now.replace(second=0, microsecond=0)
        try:
            return parse_moment(value, minute, self.of_day)
        except ValueError:
            raise wrong(self.name, "a date, a time or a duration such as 30d", value) from None


Parameter = Text | Number | Moment


def read_query(request: Request, known: Sequence[Parameter], now: datetime) -> dict[str, Any]:
    """The values of all parameters of an address, by name. Raises Problem."""
    told: dict[str, list[str]] = {}
    names = {parameter.name: parameter for parameter in known}
    for name, value in request.query_params.multi_items():
        parameter = names.get(name)
        if parameter is None:
            raise _unknown(request, name, names)
        many = isinstance(parameter, Text) and parameter.many
        values = told.setdefault(name, [])
        values.append(value)
        if len(values) > (MOST if many else 1):
            raise wrong(name, f"at most {MOST} of it" if many else "one value", "more")
        if len(value) > LONGEST:
            raise wrong(name, f"at most {LONGEST} characters", "more")
    return {name: parameter.read(told.get(name, ()), now) for name, parameter in names.items()}


def wanted_by(query: Mapping[str, Any], now: datetime, *, images: Iterable[str] = ()) -> Wanted:
    """Which changes are asked for: those of canonical `images`, and of what else the address names.

    Raises Problem for a period in which nothing can have happened.
    """
    since, until = query["since"], query["until"]
    _require_period(since, until, now)
    return Wanted(
        workloads=frozenset(query["workload"]),
        images=frozenset(images),
        owners=frozenset(query["owner"]),
        environments=frozenset(query["environment"]),
        people=frozenset(person.lower() for person in query.get("author", ())),
        kinds=frozenset(query.get("kind", ())),
        since=since,
        until=until,
    )


def _require_period(since: datetime | None, until: datetime | None, now: datetime) -> None:
    ends = now if until is None else min(until, now)
    if since is not None and since >= ends:
        told = f"{until:%Y-%m-%d %H:%M}" if until is not None and until <= now else "now"
        raise Problem(400, reason("web/empty-period", since=f"{since:%Y-%m-%d %H:%M}", until=told))


def wrong(name: str, expected: str, found: str) -> Problem:
    """The answer to a parameter that cannot be used."""
    shown = one_line(found, 60) or "nothing"
    return Problem(400, reason("web/parameter", name=name, expected=expected, found=shown))


def _unknown(request: Request, name: str, known: Mapping[str, Parameter]) -> Problem:
    there = f"there is {', '.join(known)}" if known else "it takes none"
    shown = one_line(name, 60) or "a nameless one"
    return Problem(400, reason("web/unknown-parameter", name=shown, path=request.url.path, known=there))
