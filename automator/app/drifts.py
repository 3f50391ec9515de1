"""Drifts: what the last looks at runtimes left, kept in the store so that a restart begins nothing anew."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from automator.app.runtimes import Place
from automator.config import Config
from automator.core.drift import Drift, DriftState, Known, Said, Says
from automator.core.site import Site
from automator.edges.store import PlainText, Store
from automator.reasons import Reason

KIND = "drift"
"""Of the notes in the store."""


@dataclass(frozen=True, slots=True)
class KeptBefore:
    """What was known of a workload at a runtime before it came to be unknown, as it is kept."""

    state: Literal["same", "pending", "diverged", "unknown"]
    wanted: str
    since: datetime | None
    runs: tuple[str, ...] = ()
    runs_since: datetime | None = None

    @classmethod
    def of(cls, known: Known) -> KeptBefore:
        return cls(known.state.value, *known[1:])

    @property
    def known(self) -> Known:
        return Known(DriftState(self.state), self.wanted, self.since, self.runs, self.runs_since)


@dataclass(frozen=True, slots=True)
class Kept:
    """One workload at one runtime, as it is kept."""

    workload: str
    state: Literal["same", "pending", "diverged", "unknown"]
    wanted: str
    runs: tuple[str, ...]
    since: datetime | None
    places: tuple[str, ...]
    reason: Reason
    said: datetime | None = None
    """Since when Git says it, where we saw that change."""
    last: KeptBefore | None = None
    """Of *unknown*: what was known before."""
    runs_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class _Page:
    rows: tuple[Kept, ...]


_TEXT = PlainText(_Page)


def key_of(config: Config, place: Place) -> str:
    """Under which the drifts of a runtime are kept: another branch says other things."""
    repo = config.repos[place.repo]
    return f"{place.name} {place.repo} {repo.url} {repo.branch}"


def kept_text(drifts: Iterable[Drift], said: Mapping[str, datetime]) -> bytes:
    """The drifts of one runtime, to be put down."""
    rows = (
        Kept(
            d.workload,
            d.state.value,
            d.wanted,
            d.runs,
            d.since,
            d.places,
            d.reason,
            said.get(d.workload),
            None if d.last is None else KeptBefore.of(d.last),
            d.runs_since,
        )
        for d in drifts
    )
    return zlib.compress(_TEXT.write(_Page(tuple(rows))).encode(), 1)


def read_kept(store: Store, key: str) -> tuple[Kept, ...]:
    """What was put down; nothing where that cannot be read: then the next look is the first."""
    packed = store.get(KIND, key)
    try:
        text = "[[]]" if packed is None else zlib.decompress(packed).decode()
        try:
            return _TEXT.read(text).rows
        except ValueError:
            return _TEXT.read(_filled(text)).rows
    except (ValueError, TypeError, IndexError, zlib.error):
        return ()


def _filled(text: str) -> str:
    """What was put down before it was known since when something runs."""
    (rows,) = json.loads(text)
    return json.dumps([[[*row[:8], row[8] and [*row[8], [], None], None] for row in rows]])


def drifts_of(kept: Iterable[Kept], runtime: str) -> dict[str, Drift]:
    """The drifts that were kept of a runtime, by workload."""
    return {
        one.workload: Drift(
            one.workload,
            runtime,
            DriftState(one.state),
            one.wanted,
            one.runs,
            one.since,
            one.places,
            one.reason,
            None if one.last is None else one.last.known,
            one.runs_since,
        )
        for one in kept
    }


def earlier_of(store: Store, place: Place, config: Config) -> dict[str, Drift]:
    """What the last look of the daemon left of a runtime, by workload."""
    return drifts_of(read_kept(store, key_of(config, place)), place.name)


def says_since(sites: Iterable[Site], since: datetime) -> Says:
    """What Git says of a workload, where only is known when that changed."""
    return Says(tuple(Said(site.tag, site.digest, since) for site in sites))
