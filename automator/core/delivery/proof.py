"""Proof: which claims of a commit its files bear out, for whom, and what it moved beside them.

A claim is put to the proof site by site, as the mark rule does it: it must speak of the workload that owns
the site, and go from where the site was to where it went. Of several, each goes on where the last one ended.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from automator.core.delivery.moves import Move, Owners, agree
from automator.core.record import Member


class Proof(NamedTuple):
    """What became of the claims of one commit."""

    proven: Mapping[int, tuple[str, ...]]
    """Index of a claim -> the workloads that it moved, as they are called today."""
    untold: tuple[Move, ...]
    """Moves that no claim tells."""


def prove(claims: Sequence[Member], found: Iterable[Move], owners: Owners) -> Proof:
    """Put the claims of one commit to the proof; they come in the order in which they were made."""
    spoken = _Spoken(claims)
    proven: dict[int, dict[str, None]] = {}
    untold = []
    for move in found:
        names = owners.of(move)
        at, last = move.before, None
        for i in spoken.of(move, names, owners.names):
            claim = claims[i]
            if claim.before == at or agree(claim.before, at):
                at = claim.after
                last = i if agree(at, move.after) else last
        if last is None:
            untold.append(move)
        else:
            said = claims[last].workload
            mine = (said,) if said in names or not names else names
            proven.setdefault(last, {}).update(dict.fromkeys(mine))
    return Proof({i: tuple(names) for i, names in proven.items()}, tuple(untold))


class _Spoken:
    """Which claims speak of which sites."""

    def __init__(self, claims: Sequence[Member]) -> None:
        self._claims = claims
        self._by_workload: dict[str, list[int]] = {}
        self._by_label: dict[str, list[int]] = {}
        self._nowhere: dict[str, list[int]] = {}
        """Claims that name no site, by image."""
        for i, claim in enumerate(claims):
            self._by_workload.setdefault(claim.workload, []).append(i)
            for label in dict.fromkeys(claim.sites):
                self._by_label.setdefault(label, []).append(i)
            if not claim.sites:
                self._nowhere.setdefault(claim.image, []).append(i)

    def of(self, move: Move, names: tuple[str, ...], today: frozenset[str]) -> list[int]:
        """Those that speak of a site: for the workload that owns it today. For one that is gone or has
        another name today, what names the site counts; where nobody owns it, the image does where a claim
        names no sites."""
        image = None if move.repository is None else str(move.repository)
        named = self._by_label.get(move.site, [])
        if not names:
            found = {*named, *self._nowhere.get(image or "", ())}
        else:
            gone = (i for i in named if self._claims[i].workload not in today)
            found = {*gone, *(i for name in names for i in self._by_workload.get(name, ()))}
        # Where a file does not spell the repository, only the label or the owner tells which site is meant.
        return sorted(i for i in found if image is None or self._claims[i].image == image)
