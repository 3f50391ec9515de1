"""Withdrawals: releases that the branch was rewound past, which nobody may put back unasked.

A branch that somebody force-pushed to an older commit no longer tells in its history what was turned
away. What we saw is kept locally; losing it releases nothing that history itself forbids.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from automator.core.record import Member, parse_all
from automator.edges.checkout import Checkout
from automator.errors import CheckoutError

LOOKED_BACK = 200
"""Commits of the lost line of history that are looked at most."""


class Notes(Protocol):
    """Where a few bytes are kept (`edges.store`)."""

    def get(self, kind: str, key: str) -> bytes | None: ...
    def put(self, kind: str, key: str, value: bytes | None) -> None: ...


@dataclass(frozen=True)
class Withdrawals:
    """The versions, by image, whose releases were on the branch and are no more."""

    repo: str
    checkout: Checkout
    notes: Notes

    def saw(self, commit: str) -> None:
        """The branch is at `commit`."""
        self.notes.put("seen", self.repo, commit.encode())

    def was_rewound(self, tip: str) -> bool:
        """Take note of the branch's tip: whether it no longer contains what we saw there before, in
        which case the releases that went are remembered. Raises CheckoutError."""
        seen = self.notes.get("seen", self.repo)
        last = None if seen is None else seen.decode()
        if last == tip:
            return False
        rewound = last is not None and not self.checkout.is_ancestor(last, tip)
        if last is not None and rewound:
            self._remember(self._lost(last, tip))
        self.saw(tip)
        return rewound

    def _lost(self, last: str, tip: str) -> Iterator[Member]:
        """The releases between `last` and what it shares with `tip`, as far as the clone still tells."""
        try:
            for entry in self.checkout.log(last, limit=LOOKED_BACK):
                if self.checkout.is_ancestor(entry.commit, tip):
                    return
                for record in parse_all(entry.message):
                    yield from record.members if record.kind == "release" else ()
        except CheckoutError:
            return

    def _remember(self, members: Iterable[Member]) -> None:
        tags = {image: set(kept) for image, kept in self.tags().items()}
        for member in members:
            tag = member.after.partition("@")[0]
            if member.image and tag:
                tags.setdefault(member.image, set()).add(tag)
        kept = json.dumps({image: sorted(found) for image, found in tags.items()})
        self.notes.put("withdrawn", self.repo, kept.encode())

    def tags(self) -> Mapping[str, frozenset[str]]:
        """Image -> tags that were withdrawn."""
        kept = self.notes.get("withdrawn", self.repo)
        if kept is None:
            return {}
        return {image: frozenset(tags) for image, tags in json.loads(kept).items()}
