"""Process groups: the end of all that a program of ours started, and no zombie of it.

Whoever starts a program in a session of its own ends it here with its children. A container's first process
inherits the orphans of all others, and nobody else would collect those; elsewhere they are somebody else's,
and nothing here waits for them. What began a session of its own is out of reach.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time

GRACE = 2.0
"""Seconds in which what was killed is expected to be gone: only a disk that hangs holds it longer."""
LOOK_EVERY = 0.005

_LEFT: set[int] = set()
"""Groups in which somebody is at work whose leader is gone: to be collected when they have ended."""


def has_ended(leader: int) -> bool:
    """Whether a child has ended. It is not waited for, so its group's number stays its own."""
    return os.waitid(os.P_PID, leader, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def signalled(group: int, number: int) -> bool:
    """Signal a group (0 only asks); False when nobody is left in it. Raises PermissionError."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    return True


def kill(group: int) -> None:
    """Kill everybody in a group whom we may kill."""
    with contextlib.suppress(PermissionError):
        signalled(group, signal.SIGKILL)


def reap(group: int) -> bool:
    """Collect those of a group that have ended and are ours; whether others of it are still ours to be."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-group, os.WNOHANG)[0]:
            pass
        return True
    return False


def collect(group: int) -> None:
    """Collect a group that was killed, once its leader was waited for."""
    until = time.monotonic() + GRACE
    while reap(group) and time.monotonic() < until:
        time.sleep(LOOK_EVERY)
    leave(group)


def leave(group: int) -> None:
    """Leave those of a group at work that outlive their leader, which was waited for. They are collected at
    a later call of this or of `collect`."""
    _LEFT.add(group)
    for each in tuple(_LEFT):
        if not reap(each):
            _LEFT.discard(each)
