"""Closings: what people refused at a workload by closing pull requests, for those that come after it.

The cycle upstream asks the forge when it has something to release; one downstream may run before that, in
another process, or without it. So it asks itself, for the branches of the one workload that its release hangs
on, unless an answer of this process still holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from automator.core.policy import Workload
from automator.core.pullrequest import head_of_group, head_of_workload
from automator.cycle.closed import Closed
from automator.reasons import Reason


class Unwritten:
    """Notes of a reader: what is known of a config repo's branches is written down by its own cycle alone."""

    def get(self, _kind: str, _key: str) -> bytes | None:
        return None

    def put(self, _kind: str, _key: str, _value: bytes | None) -> None:
        return


@dataclass
class UpstreamClosings:
    """What people refused in one config repo; for one thread."""

    closed: Closed
    prefix: str
    """What the names of our branches begin with."""
    always: bool
    """Whether all releases there go through pull requests, or some rule may demand it."""
    learnt: Callable[[datetime], None]
    """Called when the forge was asked."""

    def is_known(self, workload: Workload, now: datetime) -> bool:
        """Whether an answer of the forge still holds."""
        return all(self.closed.is_known(head, now, holds=holds) for head, holds in self._heads(workload))

    def learn(self, workload: Workload, now: datetime) -> Reason | None:
        """Ask the forge; why there is no answer."""
        error = self.closed.ask_about(self._heads(workload), now)
        self.learnt(now)
        return None if error is None else error.reason

    def _heads(self, workload: Workload) -> Iterator[tuple[str, bool]]:
        """The branches of its pull requests, alone, in its group, and as it was told before; each with
        whether an answer holds for as long as the branch does not move."""
        is_pushed = not self.always and workload.delivery.deliver != "pull-request"
        yield head_of_workload(self.prefix, workload.name), is_pushed or workload.group is not None
        if workload.group is not None:
            yield head_of_group(self.prefix, workload.group.name), is_pushed
        for head in self.closed.book.past(workload.name):
            yield head, True
