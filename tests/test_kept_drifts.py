"""What the last looks at runtimes left is read as it was put down, also by an older version."""

from __future__ import annotations

import json
import zlib
from dataclasses import replace
from pathlib import Path

from parts.observations import CLOCK, PROD, ago, runs, seen, written

from automator.app.drifts import KIND, drifts_of, kept_text, read_kept
from automator.core.drift import Drift, DriftState, Known, compare
from automator.edges.store import Store

(OTHER,) = compare(
    {"web": (written("ghcr.io/acme/web:1.4.3"),)}, PROD, seen(runs("ghcr.io/acme/web:1.5.0")), CLOCK
)
CHANGED = replace(OTHER, runs_since=ago(7))
UNKNOWN = replace(CHANGED, state=DriftState.UNKNOWN, runs=(), runs_since=None, last=CHANGED.known)
BARE = Known(OTHER.state, OTHER.wanted, OTHER.since)


def test_what_is_kept_comes_back_whole(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        for drift in (OTHER, CHANGED, UNKNOWN):
            store.put(KIND, "prod", kept_text([drift], {}))
            assert kept(store) == drift


def test_what_an_older_version_kept_is_read(tmp_path: Path) -> None:
    page = json.loads(zlib.decompress(kept_text([UNKNOWN], {})))
    *row, last, _ = page[0][0]
    page[0][0] = [*row, last[:3]]
    with Store.open(tmp_path) as store:
        store.put(KIND, "prod", zlib.compress(json.dumps(page).encode()))
        assert (kept(store).state, kept(store).known) == ("unknown", BARE)


def kept(store: Store) -> Drift:
    return drifts_of(read_kept(store, "prod"), PROD.runtime)["web"]
