"""What we know of our own pull requests, over restarts: what their branches hold, and what was told.

All of it can be had again from Git and the forge; without it the next cycle asks.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from automator.core.pullrequest import Asked

_KIND, _CLEAR, _PAST, _WATCHED = "proposals", "proposals-clear", "proposals-past", "proposals-watched"
UNKNOWN = "?"
UNWATCHED = timedelta(minutes=15)
"""Time between two cycles in which a branch, with a pull request that somebody closed, may come and go."""
_WRITTEN_AGAIN = timedelta(minutes=5)
HEADS_KEPT = 5
"""Branches of one workload that are remembered, the newest."""


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
    lacks: bool = False
    """Whether labels or reviewers are missing that the forge could be asked for again."""
    asked: Asked | None = None
    """Who asked for what it brings, where a person did."""
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
    is_new: bool = True
    """Whether nothing was kept, so that what was proposed before is not known."""
    _kept: dict[str, Kept] = field(default_factory=dict)
    _past: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """By workload: the branches on which it was proposed, the newest last."""
    _watched: datetime | None = None
    _watch_written: datetime | None = None
    _written: bytes | None = None
    _clear_written: bytes | None = None
    _past_written: bytes | None = None

    def __post_init__(self) -> None:
        self._written = self.notes.get(_KIND, self.key)
        self._kept = dict(_read(self._written))
        self._clear_written = self.notes.get(_CLEAR, self.key)
        with contextlib.suppress(ValueError, TypeError):
            found = json.loads(self._clear_written or b"{}")
            self.clear.update((str(head), str(tip)) for head, tip in dict(found).items())
        self._past_written = self.notes.get(_PAST, self.key)
        with contextlib.suppress(ValueError, TypeError):
            found = json.loads(self._past_written or b"{}")
            self._past.update((str(name), tuple(map(str, heads))) for name, heads in dict(found).items())
            self.is_new = self._past_written is None
        for head, kept in self._kept.items():
            self.proposed(head, kept.goal)
        with contextlib.suppress(ValueError, OverflowError):
            watched = (self.notes.get(_WATCHED, self.key) or b"").decode()
            self._watched = datetime.fromisoformat(watched).astimezone(UTC)

    def watch(self, now: datetime) -> bool:
        """The tips are known; whether no branch may have come and gone since they were seen last, by this
        process or one before it."""
        is_unbroken = self._watched is not None and timedelta(0) <= now - self._watched <= UNWATCHED
        if not is_unbroken:
            self.clear = {head: tip for head, tip in self.clear.items() if tip}
        self._watched = now
        return is_unbroken

    def proposed(self, head: str, goal: Iterable[str]) -> None:
        """Remember that what a goal names was proposed on a branch."""
        for name in {each.partition(" ")[0] for each in goal}:
            if head not in self._past.get(name, ()):
                self._past[name] = (*self._past.get(name, ()), head)[-HEADS_KEPT:]

    def past(self, name: str) -> tuple[str, ...]:
        """The branches on which a workload was proposed, as far as is remembered."""
        return self._past.get(name, ())

    def get(self, head: str) -> Kept | None:
        return self._kept.get(head)

    def put(self, head: str, kept: Kept | None) -> None:
        if kept is None:
            self._kept.pop(head, None)
        else:
            self._kept[head] = kept
            self.proposed(head, kept.goal)

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
        text = json.dumps(self._past, sort_keys=True).encode()
        if not self.is_new and text != self._past_written:
            self.notes.put(_PAST, self.key, text)
            self._past_written = text
        self._save_watch()

    def _save_watch(self) -> None:
        now, written = self._watched, self._watch_written
        if now is not None and (written is None or not timedelta(0) <= now - written <= _WRITTEN_AGAIN):
            self.notes.put(_WATCHED, self.key, now.isoformat().encode())
            self._watch_written = now


def _read(text: bytes | None) -> Iterator[tuple[str, Kept]]:
    """What was written down; nothing of a text that another version wrote."""
    try:
        found = json.loads(text or b"{}")
        for head, values in found.items():
            yield head, _kept(values)
    except (ValueError, TypeError, AttributeError, KeyError):
        return


def _asked(value: Any) -> Asked | None:
    if value is None:
        return None
    actor, kind, is_forced, moves = value
    return Asked(str(actor), str(kind), bool(is_forced), tuple((str(a), str(b)) for a, b in moves))


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
        lacks=bool(values.get("lacks", False)),
        asked=_asked(values.get("asked")),
        foreign=None if foreign is None else (str(foreign[0]), str(foreign[1])),
    )
