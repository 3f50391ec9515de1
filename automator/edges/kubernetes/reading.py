"""Reading: values out of an API object's JSON, which may have any shape: what is odd is not there."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from automator.reasons import one_line


def at(value: Any, *path: str) -> Any:
    """What stands at `path`; None where a part of it is not there."""
    for name in path:
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value


def text(value: Any, *path: str) -> str:
    """The text at `path`; empty where there is none."""
    found = at(value, *path)
    return found if isinstance(found, str) else ""


def line(value: Any, *path: str) -> str:
    """The text at `path` as one short line: messages are anybody's."""
    return one_line(text(value, *path))


def number(value: Any, *path: str) -> int | None:
    """The whole number at `path`; None where there is none."""
    found = at(value, *path)
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def time(value: Any, *path: str) -> datetime | None:
    """The time at `path`, in UTC; None where there is none that can be read."""
    found = text(value, *path)
    if not found:
        return None
    try:
        moment = datetime.fromisoformat(found)
        return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def records(value: Any, *path: str) -> list[dict[str, Any]]:
    """The objects of the list at `path`."""
    found = at(value, *path)
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def condition(value: Any, kind: str) -> dict[str, Any]:
    """The condition of that type in an object's status; empty where there is none."""
    return next((one for one in records(value, "status", "conditions") if one.get("type") == kind), {})


def is_current(value: Any) -> bool:
    """Whether an object's status speaks of its present spec."""
    wanted, seen = number(value, "metadata", "generation"), at(value, "status", "observedGeneration")
    if isinstance(seen, str):  # Argo Rollouts
        seen = int(seen) if seen.isascii() and seen.isdigit() and len(seen) < 20 else None
    return wanted is None or (isinstance(seen, int) and seen >= wanted)
