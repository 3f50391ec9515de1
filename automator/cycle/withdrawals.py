"""Withdrawals: releases that the branch was rewound past, which nobody may put back unasked.

A branch that somebody force-pushed to an older commit no longer tells in its history what was turned
away. What we saw is kept locally; losing it releases nothing that history itself forbids.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from automator.core.record import Member, parse_all
from automator.edges.checkout import Checkout
from automator.errors import CheckoutError

LOOKED_BACK = 200
"""Commits of the lost line of history that are looked at most."""


Held = Callable[[str], frozenset[str]]
"""Image -> tags and digests that its sites hold now."""


class Notes(Protocol):
    """Where a few bytes are kept (`edges.store`)."""

    def get(self, kind: str, key: str) -> bytes | None: ...
    def put(self, kind: str, key: str, value: bytes | None) -> None: ...


@dataclass
class Withdrawals:
    """The versions, by image, whose releases were on the branch and are no more."""

    branch: str
    """Name, URL and branch of the config repo: another branch has another past."""
    checkout: Checkout
    notes: Notes
    _has_begun: bool = False

    def pushing(self, commit: str | None) -> None:
        """`commit` is about to be pushed, or, with None, the last one certainly did not land. After being
        killed in between, the next process looks whether it did."""
        self.notes.put("pushing", self.branch, None if commit is None else commit.encode())

    def saw(self, commit: str) -> None:
        """The branch is at `commit`."""
        self.notes.put("seen", self.branch, commit.encode())
        self.pushing(None)

    def lost(self, tip: str) -> tuple[Member, ...] | None:
        """The releases that were on the branch when we saw it last and that `tip` does not contain;
        None where `tip` contains all that we saw. Raises CheckoutError."""
        seen = self._landed_unseen(tip) or self.notes.get("seen", self.branch)
        if seen is None or seen.decode() == tip or self.checkout.is_ancestor(seen.decode(), tip):
            return None
        return tuple(self._releases(seen.decode(), tip))

    def _landed_unseen(self, tip: str) -> bytes | None:
        """What was pushed when the process before this one was killed, if it landed and is gone again."""
        if self._has_begun:
            return None
        self._has_begun = True
        pushed = self.notes.get("pushing", self.branch)
        if pushed is None:
            return None
        commit = pushed.decode()
        gone = commit != tip and not self.checkout.is_ancestor(commit, tip) and self.checkout.serves(commit)
        self.pushing(None)
        return pushed if gone else None

    def settle(self, tip: str, lost: tuple[Member, ...] | None, held: Held) -> None:
        """The branch is at `tip`, whose sites hold `held`: what was lost and is not there any
        more was taken back. A release that was merely rebased or amended is still there."""
        if lost:
            tags = {image: set(kept) for image, kept in self._kept().items()}
            for member in lost:
                version = _version(member)
                if member.image and version and version not in held(member.image):
                    tags.setdefault(member.image, set()).add(version)
            kept = json.dumps({image: sorted(found) for image, found in tags.items()})
            self.notes.put("withdrawn", self.branch, kept.encode())
        if self.notes.get("seen", self.branch) != tip.encode():
            self.saw(tip)

    def tags(self, held: Held) -> Mapping[str, frozenset[str]]:
        """Image -> tags, or digests of followed tags, that were withdrawn and that nobody has set again."""
        kept = self._kept()
        return {image: tags - held(image) for image, tags in kept.items()}

    def _releases(self, last: str, tip: str) -> Iterator[Member]:
        try:
            for entry in self.checkout.log(last, limit=LOOKED_BACK):
                if self.checkout.is_ancestor(entry.commit, tip):
                    return
                for record in parse_all(entry.message):
                    yield from record.members if record.kind == "release" else ()
        except CheckoutError:  # the clone was made anew and does not tell any more
            return

    def _kept(self) -> dict[str, frozenset[str]]:
        kept = self.notes.get("withdrawn", self.branch)
        return {} if kept is None else {image: frozenset(tags) for image, tags in json.loads(kept).items()}


def _version(member: Member) -> str:
    """What a release brought: a tag, or another digest of the tag that was there."""
    tag, _, digest = member.after.partition("@")
    return digest or tag if tag == member.before.partition("@")[0] else tag
