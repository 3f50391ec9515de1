"""What we know of our own pull requests, over restarts: what their branches hold, and what was told.

All of it can be had again from Git and the forge; without it the next cycle asks.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

_KIND, _CLEAR = "proposals", "proposals-clear"
UNKNOWN = "?"


class Notes(Protocol):
    """Where a few bytes are kept (`edges.store`)."""

    def get(self, kind: str, key: str) -> bytes | None: ...
    def put(self, kind: str, key: str, value: bytes | None) -> None: ...


@dataclass(slots=True)
class Kept:
    """One branch of ours, as it was when we looked."""

    tip: str
    goal: tuple[str, ...] = ()
    """What it brings: see `core.pullrequest.goal_of`."""
    edits: tuple[tuple[str, str, str], ...] = ()
    """File, and what stands for its text before and after."""
    since: float = 0.0
    """When this version was proposed, in seconds since 1970."""
    number: int | None = None
    """Of the pull request; None where it is not opened yet."""
    url: str = ""
    looked_at: float = 0.0
    """When the forge was asked about it last."""
    told: str = ""
    """The status that its head got last: commit, state and code."""
    shown: str = ""
    """What stands for the goal that its title and text told last, as far as is known."""
    armed: str = ""
    """Commit that the forge was told to merge once it is ready; `UNKNOWN` where that may be."""
    foreign: tuple[str, str] | None = None
    """Author and commit that are not ours, where there is one: the branch is left alone."""

    def is_fresh(self, now: datetime, seconds: float) -> bool:
        """Whether the forge was asked so short a while ago; a clock that was set back makes nothing so."""
        return 0 <= now.timestamp() - self.looked_at < seconds

    @property
    def since_text(self) -> str:
        return f"{datetime.fromtimestamp(self.since, UTC):%Y-%m-%d %H:%M} UTC"


@dataclass
class Book:
    """The branches of ours in one config repo, by name; written when something changed."""

    key: str
    """Name, URL and branch of the config repo."""
    notes: Notes
    clear: dict[str, str] = field(default_factory=dict)
    """Branches of which no pull request was open, nor any version refused, when it was asked last -> their
    tip then, empty for none; `UNKNOWN` for the others that were asked about."""
    _kept: dict[str, Kept] = field(default_factory=dict)
    _written: bytes | None = None
    _clear_written: bytes | None = None

    def __post_init__(self) -> None:
        self._written = self.notes.get(_KIND, self.key)
        self._kept = dict(_read(self._written))
        self._clear_written = self.notes.get(_CLEAR, self.key)
        with contextlib.suppress(ValueError, TypeError):
            found = json.loads(self._clear_written or b"{}")
            self.clear.update((str(head), str(tip)) for head, tip in dict(found).items())

    def get(self, head: str) -> Kept | None:
        return self._kept.get(head)

    def put(self, head: str, kept: Kept | None) -> None:
        if kept is None:
            self._kept.pop(head, None)
        else:
            self._kept[head] = kept

    def heads(self) -> tuple[str, ...]:
        return tuple(self._kept)

    def save(self) -> None:
        """Write it down, if it is not what was written last."""
        text = json.dumps({head: asdict(kept) for head, kept in sorted(self._kept.items())}).encode()
        if text != (self._written or b"{}"):
            self.notes.put(_KIND, self.key, text)
            self._written = text
        text = json.dumps(self.clear, sort_keys=True).encode()
        if text != (self._clear_written or b"{}"):
            self.notes.put(_CLEAR, self.key, text)
            self._clear_written = text


def _read(text: bytes | None) -> Iterator[tuple[str, Kept]]:
    """What was written down; nothing of a text that another version wrote."""
    try:
        found = json.loads(text or b"{}")
        for head, values in found.items():
            yield head, _kept(values)
    except (ValueError, TypeError, AttributeError, KeyError):
        return


def _kept(values: dict[str, Any]) -> Kept:
    foreign = values["foreign"]
    return Kept(
        tip=str(values["tip"]),
        goal=tuple(map(str, values["goal"])),
        edits=tuple((str(a), str(b), str(c)) for a, b, c in values["edits"]),
        since=float(values["since"]),
        number=None if values["number"] is None else int(values["number"]),
        url=str(values["url"]),
        looked_at=float(values["looked_at"]),
        told=str(values["told"]),
        shown=str(values.get("shown", "")),
        armed=str(values.get("armed", UNKNOWN)),
        foreign=None if foreign is None else (str(foreign[0]), str(foreign[1])),
    )
