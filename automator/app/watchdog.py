"""The watchdog: ends what a stuck cycle waits for, and the process where that does not help.

Everything that a cycle waits for has a time limit of its own: this is for what was overlooked.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from automator.core.duration import format_duration
from automator.daemon import Daemon, Overdue
from automator.reasons import Reason, reason

STUCK = 4
"""Exit code of a process whose cycle nothing could end."""
FRAMES = 60
"""The innermost calls of a stack that are told."""


@dataclass
class Watchdog:
    """Looks after the cycles of a daemon; to be asked every few seconds, by one thread."""

    daemon: Daemon
    end_processes: Callable[[str], int]
    """Ends what the cycle of a config repo has started."""
    alarm: Callable[[str, Reason, str], None]
    """Told of a config repo whose cycle is stuck, with the stack of its thread."""
    all_clear: Callable[[str], None]
    give_up: Callable[[Reason], None]
    """Ends the process; does not come back."""
    stuck_after: timedelta = timedelta(0)
    give_up_after: timedelta = timedelta(0)
    """Zero is never, of both."""
    _told: dict[str, float] = field(default_factory=dict)
    """Config repos of which was told, and for how many seconds their cycle had been running then."""

    def look(self) -> None:
        """See to the cycles that run for too long."""
        overdue = self.daemon.overdue(self.stuck_after) if self.stuck_after else ()
        for repo in self._told.keys() - {one.repo for one in overdue}:
            del self._told[repo]
            self.all_clear(repo)
        for one in overdue:
            if one.repo not in self._told:
                self._told[one.repo] = one.seconds
                lasts = format_duration(timedelta(seconds=one.seconds))
                self.alarm(one.repo, reason("daemon/stuck", repo=one.repo, time=lasts), stack_of(one))
            self.end_processes(one.repo)
            lasted = one.seconds - self._told[one.repo]
            if self.give_up_after and lasted > self.give_up_after.total_seconds():
                self.give_up(
                    reason("daemon/gave-up", repo=one.repo, time=format_duration(self.give_up_after))
                )


def stack_of(one: Overdue) -> str:
    """Where its thread is: files, lines and functions, and no values."""
    frame = sys._current_frames().get(one.thread or 0)
    if frame is None:
        return "its thread is gone"
    calls = traceback.extract_stack(frame)[-FRAMES:]
    return "\n".join(f"{call.filename}:{call.lineno} in {call.name}" for call in calls)
