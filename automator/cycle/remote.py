"""Another config repo, read only: its newest commit, and what its workloads held."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime

from automator.core.facts import Declined
from automator.cycle.facts import FactFinder
from automator.cycle.index import Index, Snapshot
from automator.cycle.upstreams import Reading
from automator.cycle.withdrawals import Taken, Withdrawals
from automator.edges.checkout import Checkout
from automator.errors import CheckoutError


@dataclass
class RemoteRepo:
    """A config repo with a clone of its own, for one thread."""

    checkout: Checkout
    index: Index
    facts: FactFinder
    withdrawals: Withdrawals
    """What its own cycle wrote down of a rewound branch."""
    seen: Withdrawals
    """What was seen of it here, by this process and those before it: its own cycle may be another's."""
    reading: Reading
    declined: Callable[[datetime], Mapping[str, tuple[Declined, ...]]]
    """What is known of refusals by closed pull requests: asked for here, and by its own cycle where that is
    one of this process."""
    closing: ExitStack

    def move_to_tip(self, now: datetime) -> Snapshot:
        """Its newest commit, asked for now. Raises CheckoutError."""
        try:
            return self._move(now)
        except CheckoutError as error:
            if error.reason.code != "git/moved":
                raise
            # Somebody pushed between the question and the fetch. Twice in a row is no accident.
            return self._move(now)

    def _move(self, now: datetime) -> Snapshot:
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
        rewound = self.seen.lost(tip)
        snapshot = self.index.move_to(tip)
        self.seen.settle(snapshot, lost=rewound)
        self.reading.sightings.saw(tip, now, rewound=rewound)
        gone: dict[str, Taken] = {}
        for withdrawals in (self.withdrawals, self.seen):
            for name, taken in withdrawals.taken(snapshot).items():
                gone[name] = gone.get(name, Taken()).and_of(taken)
        self.facts.withdrawn = gone
        self.facts.declined = self.declined(now)
        return snapshot

    def close(self) -> None:
        """Give the clone free."""
        self.closing.close()
