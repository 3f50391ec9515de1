"""Reach: how far back the clone's history goes, and fetching more of it, step by step."""

from __future__ import annotations

from dataclasses import dataclass

from automator.edges.checkout import Checkout

STEPS = (100, 1_000)
"""Commits fetched by the first steps; the next one fetches all that the limit allows."""


@dataclass
class Reach:
    """Deepens a shallow clone, up to a limit of commits."""

    checkout: Checkout
    limit: int = 10_000
    """Commits of history that are fetched at most."""
    _fetched: int = 1
    _steps: int = 0

    def can_grow(self) -> bool:
        """Whether there is more history to fetch, and the limit allows it."""
        return self._fetched < self.limit and self.checkout.is_shallow()

    def grow(self) -> None:
        """Fetch the next step of history. Raises CheckoutError."""
        by = STEPS[self._steps] if self._steps < len(STEPS) else self.limit
        self._deepen(by)
        self._steps += 1

    def grow_to_limit(self) -> None:
        """Fetch all the history that the limit allows. Raises CheckoutError."""
        if self.can_grow():
            self._deepen(self.limit)

    def _deepen(self, by: int) -> None:
        by = min(by, self.limit - self._fetched)
        self.checkout.deepen(by)
        self._fetched += by
