"""Drifts: what the last looks at runtimes left, kept in the store so that a restart begins nothing anew."""

from __future__ import annotations

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
            None if d.last is None else KeptBefore(d.last.state.value, d.last.wanted, d.last.since),
        )
        for d in drifts
    )
    return zlib.compress(_TEXT.write(_Page(tuple(rows))).encode(), 1)


def read_kept(store: Store, key: str) -> tuple[Kept, ...]:
    """What was put down; nothing where that cannot be read: then the next look is the first."""
    packed = store.get(KIND, key)
    try:
        return () if packed is None else _TEXT.read(zlib.decompress(packed).decode()).rows
    except (ValueError, zlib.error):
        return ()


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
            None if one.last is None else Known(DriftState(one.last.state), one.last.wanted, one.last.since),
        )
        for one in kept
    }


def earlier_of(store: Store, place: Place, config: Config) -> dict[str, Drift]:
    """What the last look of the daemon left of a runtime, by workload."""
    return drifts_of(read_kept(store, key_of(config, place)), place.name)


def says_since(sites: Iterable[Site], since: datetime) -> Says:
    """What Git says of a workload, where only is known when that changed."""
    return Says(tuple(Said(site.tag, site.digest, since) for site in sites))
