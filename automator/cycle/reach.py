"""Reach: how far back the clone's history goes, and fetching more of it, step by step."""

from __future__ import annotations

from dataclasses import dataclass

from automator.edges.checkout import Checkout

STEPS = (100, 1_000)
"""Commits that the first steps reach back; the next one reaches back as far as the limit allows."""


@dataclass
class Reach:
    """Deepens a shallow clone, until it holds a number of commits.

    What is here is counted in the clone itself: one that had to be made anew begins again.
    """

    checkout: Checkout
    limit: int = 10_000
    """Commits of history that the clone is deepened to."""
    _no_more: frozenset[str] = frozenset()
    """Where the clone ended when the server had nothing older to give: it may be shallow itself."""
    _counted: tuple[frozenset[str], int] = (frozenset(), 0)
    """Where the clone ended when its commits were counted last, and how many there were."""

    def can_grow(self) -> bool:
        """Whether there is more history to fetch, and the limit allows it."""
        ends = self.checkout.shallow_ends()
        return bool(ends) and ends != self._no_more and self._depth() < self.limit

    def grow(self) -> None:
        """Fetch the next step of history. Raises CheckoutError."""
        depth = self._depth()
        target = next((step for step in STEPS if step > depth), self.limit)
        self._deepen(max(1, min(target, self.limit) - depth))

    def grow_to_limit(self) -> None:
        """Fetch all the history that the limit allows. Raises CheckoutError."""
        if self.can_grow():
            self._deepen(self.limit - self._depth())

    def _deepen(self, commits: int) -> None:
        before = self.checkout.shallow_ends()
        self.checkout.deepen(commits)
        if self.checkout.shallow_ends() == before:
            self._no_more = before

    def _depth(self) -> int:
        end = self.checkout.shallow_ends()
        if self._counted[0] != end:
            self._counted = (end, self.checkout.depth())
        return self._counted[1]
