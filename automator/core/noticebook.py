"""The notebook of notices: what a receiver was told, as text, there and back."""

from __future__ import annotations

import json
from dataclasses import fields
from datetime import datetime
from typing import Any

from automator.core.notice import About, Item, Kind, Told, Trouble


def told_text(told: Told) -> str:
    """What was told, as text; the same value gives the same text."""
    return json.dumps(
        {
            "moved": sorted(told.moved),
            "proposed": told.proposed,
            "stills": told.stills,
            "troubles": [_trouble_plain(trouble) for trouble in told.troubles],
        },
        separators=(",", ":"),
    )


def read_told(text: str) -> Told:
    """What `told_text` wrote; nothing told where the text is not what this version writes."""
    try:
        plain = json.loads(text)
        return Told(
            frozenset(map(str, plain["moved"])),
            tuple((str(subject), str(key)) for subject, key in plain["proposed"]),
            tuple((str(subject), tuple(map(str, keys))) for subject, keys in plain["stills"]),
            tuple(_trouble(one) for one in plain["troubles"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return Told()


def item_plain(item: Item) -> dict[str, Any]:
    """An item as JSON has it."""
    return {
        **{field.name: getattr(item, field.name) for field in fields(item)},
        "kind": item.kind.value,
        "about": [[about.workload, about.owner, about.environment] for about in item.about],
        "since": None if item.since is None else item.since.isoformat(),
    }


def read_item(plain: dict[str, Any]) -> Item:
    """What `item_plain` wrote. Raises ValueError, KeyError or TypeError."""
    since = plain["since"]
    return Item(
        **{
            **plain,
            "kind": Kind(plain["kind"]),
            "about": tuple(About(*about) for about in plain["about"]),
            "since": None if since is None else datetime.fromisoformat(since),
        }
    )


_TIMES = ("since", "told_at", "fine_since", "ended_at")


def _trouble_plain(trouble: Trouble) -> dict[str, Any]:
    times = {name: getattr(trouble, name) for name in _TIMES}
    return {
        "item": item_plain(trouble.item),
        **{name: None if at is None else at.isoformat() for name, at in times.items()},
        "codes": trouble.codes,
        "returns": trouble.returns,
    }


def _trouble(plain: dict[str, Any]) -> Trouble:
    times = {name: None if plain[name] is None else datetime.fromisoformat(plain[name]) for name in _TIMES}
    since = times.pop("since")
    if since is None:
        raise ValueError("a trouble without a begin")
    return Trouble(
        read_item(plain["item"]),
        since,
        times["told_at"],
        tuple(map(str, plain["codes"])),
        times["fine_since"],
        times["ended_at"],
        int(plain["returns"]),
    )
