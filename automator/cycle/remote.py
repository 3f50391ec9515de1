"""Another config repo, read only: its newest commit, and what its workloads held."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime

from automator.cycle.facts import FactFinder
from automator.cycle.index import Index, Snapshot
from automator.cycle.upstreams import Reading
from automator.cycle.withdrawals import Withdrawals
from automator.edges.checkout import Checkout


@dataclass
class RemoteRepo:
    """A config repo with a clone of its own, for one thread."""

    checkout: Checkout
    index: Index
    facts: FactFinder
    withdrawals: Withdrawals
    """What its own cycle wrote down of a rewound branch."""
    reading: Reading
    closing: ExitStack

    def move_to_tip(self, now: datetime) -> Snapshot:
        """Its newest commit, asked for now. Raises CheckoutError."""
        old = self.index.snapshot
        tip = self.checkout.ask_tip()
        is_broken = self.checkout.is_broken()
        if old is None or old.commit != tip or is_broken:
            self.checkout.fetch(tip)
        else:
            self.checkout.prove(tip)
        if is_broken:
            self.index.forget()
            self.facts.forget()
        rewound = old is not None and not self.checkout.is_ancestor(old.commit, tip)
        snapshot = self.index.move_to(tip)
        self.reading.sightings.saw(tip, now, rewound=rewound)
        self.facts.withdrawn = self.withdrawals.tags(snapshot.held_tags)
        return snapshot

    def close(self) -> None:
        """Give the clone free."""
        self.closing.close()
