"""Reading: values out of a forge's JSON, of the shape that is expected or not at all."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

DEEPEST = 8


class WrongShape(Exception):
    """An answer lacks something, or has it in another shape; says which, and quotes nothing."""


def record(value: Any) -> dict[str, Any]:
    """`value`, which must be an object."""
    if not isinstance(value, dict):
        raise WrongShape("an object is missing")
    return value


def listing(value: Any) -> list[Any]:
    """`value`, which must be a list."""
    if not isinstance(value, list):
        raise WrongShape("a list is missing")
    return value


def text(value: Any, *path: str) -> str:
    """The text at `path`, which must be there."""
    found = maybe(value, *path)
    if found is None:
        raise WrongShape(f"{'.'.join(path)} is missing")
    return found


def maybe(value: Any, *path: str) -> str | None:
    """The text at `path`; None where there is none, or an empty one."""
    found = at(value, *path)
    return found if isinstance(found, str) and found else None


def number(value: Any, *path: str) -> int:
    """The whole number at `path`, which must be there."""
    found = at(value, *path)
    if not isinstance(found, int) or isinstance(found, bool):
        raise WrongShape(f"{'.'.join(path)} is no number")
    return found


def flag(value: Any, *path: str) -> bool:
    """Whether `path` is there and true."""
    return at(value, *path) is True


def time(value: Any, *path: str) -> datetime | None:
    """The time at `path`, in UTC; None where there is none that can be read."""
    found = maybe(value, *path)
    if found is None:
        return None
    try:
        moment = datetime.fromisoformat(found)
        return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def at(value: Any, *path: str) -> Any:
    """What stands at `path`; None where a part of it is not there."""
    for name in path:
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value
