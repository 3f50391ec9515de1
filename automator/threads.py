"""Threads for cycles: how many this machine permits at a time, and a line for what has to wait for one.

A cycle is a thread and what git starts for it. Where the system's limit of tasks is reached, nothing can be
started by anybody, not even what asks for the process's health: so no more cycles are begun than leave room.
"""

from __future__ import annotations

import os
import resource
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from apscheduler.executors.pool import BasePoolExecutor

MOST = 2_048
"""Cycles at a time, whatever the machine permits."""
LEAST = 8
TASKS = 4
"""Of a cycle while git asks a server: its thread, git, and two of git's helpers."""
LONG = 10.0
"""Seconds for which work waits before that is told: near the limit some waits a moment now and then."""
SPARE, SHARE = 64, 8
"""Tasks left for all else (registries, listeners, receivers, runtimes, commands): so many, and at least one
in so many of the limit."""


def permitted(limit: int | None) -> int:
    """How many cycles may be at work where there are at most so many tasks; None where nobody limits them."""
    if limit is None:
        return MOST
    return max(LEAST, min(MOST, (limit - max(SPARE, limit // SHARE)) // TASKS))


def task_limit() -> int | None:
    """The least limit of tasks that the system sets this process: that of its user (`ulimit -u`), and those
    of its control groups; None where there is none that can be read."""
    found: list[int] = []
    if os.geteuid():  # root is not bound by it
        with suppress(OSError, ValueError):  # a sandbox may forbid to ask
            found.append(resource.getrlimit(resource.RLIMIT_NPROC)[0])
    if (group := group_limit()) is not None:
        found.append(group)
    return min((limit for limit in found if limit != resource.RLIM_INFINITY), default=None)


def group_limit(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> int | None:
    """The least `pids.max` of the control groups, of either version, that this process is in."""
    found: list[int] = []
    lines: list[str] = []
    with suppress(OSError):  # names of groups may be any bytes
        lines = os.fsdecode(own.read_bytes()).splitlines()
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and "pids" not in controllers.split(","):
            continue
        top = root / controllers if controllers else root
        place = top / path.lstrip("/")
        # Up to the root here, which may be a group of its own outside, as in a container.
        for group in (place, *place.parents):
            if group.is_relative_to(top):
                with suppress(OSError, ValueError):
                    found.append(int((group / "pids.max").read_text()))
    return min(found, default=None)


def is_crowded(error: BaseException) -> bool:
    """Whether it says that the machine gives this process no more threads."""
    return isinstance(error, RuntimeError) and "start new thread" in str(error)


@dataclass
class _Piece:
    """Work that waits for a thread, or has one."""

    work: Callable[..., Any]
    arguments: tuple[Any, ...]
    since: float
    future: Future[Any] = field(default_factory=Future)

    def run(self) -> None:
        try:
            result = self.work(*self.arguments)
        except BaseException as error:  # noqa: BLE001 - it is told to who waits for the result
            self.future.set_exception(error)
        else:
            self.future.set_result(result)


class Threads:
    """A thread for each piece of work, at most so many at a time; the others wait, first come, first served.

    To be used as the pool of an executor. A thread that has nothing left to do ends. Where none can be
    started, the work waits until one of those that there are is free, or `mind` is called again.
    """

    def __init__(self, most: int, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.most = most
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._line: deque[_Piece] = deque()
        self._at_work: set[threading.Thread] = set()
        self._refused: str | None = None
        """Why the machine gave no thread, the last time that one was asked for."""
        self._is_told = False
        self._ends = False

    def submit(self, work: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Have some work done; the future tells how it ended. Never waits, and never fails."""
        piece = _Piece(work, arguments, self._monotonic())
        with self._lock:
            if not self._ends:
                self._line.append(piece)
            self._staff()
        return piece.future

    def mind(self) -> str | None:
        """Begin what can be begun; to be called now and then. Why some work waits, in words: once, until
        none does."""
        with self._lock:
            self._staff()
            if not self._line:
                self._is_told, self._refused = False, None
                return None
            waits = self._monotonic() - self._line[0].since
            if self._is_told or (self._refused is None and waits < LONG):
                return None
            self._is_told = True
            why = f"the {self.most} at work are as many as the limit of tasks permits"
            return f"{len(self._line)} in line, and {self._refused or why}"

    @property
    def has_line(self) -> bool:
        """Whether some work waits for a thread."""
        with self._lock:
            return bool(self._line)

    def shutdown(self, wait: bool = True, seconds: float | None = None) -> None:
        """Begin nothing of what waits; with `wait`, let what is at work end, within so many seconds."""
        with self._lock:
            self._ends = True
            self._line.clear()
            left = tuple(self._at_work)
        until = None if seconds is None else self._monotonic() + seconds
        for thread in left if wait else ():
            thread.join(None if until is None else max(0.0, until - self._monotonic()))

    def _staff(self) -> None:
        """Start threads for what waits, as many as may be; the lock is held."""
        while self._line and len(self._at_work) < self.most:
            piece = self._line.popleft()
            thread = threading.Thread(target=self._work, args=(piece,), name="automator-cycle")
            try:
                thread.start()
            except (RuntimeError, MemoryError) as error:
                self._line.appendleft(piece)
                self._refused = str(error) or type(error).__name__
                return
            self._at_work.add(thread)
            self._refused = None

    def _work(self, piece: _Piece | None) -> None:
        while piece is not None:
            piece.run()
            with self._lock:
                piece = self._line.popleft() if self._line else None
                if piece is None:
                    self._at_work.discard(threading.current_thread())


class Executor(BasePoolExecutor):  # type: ignore[misc]
    """Has threads of ours do a scheduler's jobs: the library's own forget one where none can be started."""

    def __init__(self, threads: Threads) -> None:
        super().__init__(threads)
