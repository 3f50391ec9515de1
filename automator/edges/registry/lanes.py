"""Lanes: one queue for each registry host, shared by all who ask.

What belongs here: when a waiting job may start (a place, the rate, a probe of a host that was down) and
whose turn it is. A job that waits holds no thread: threads are started for jobs that may run now and
end with the last of them; a single timer starts them for all hosts when a rate allows more.
"""

from __future__ import annotations

import heapq
import itertools
import random
import threading
from collections import deque
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from time import monotonic, perf_counter, process_time
from typing import Any, NamedTuple, TypeVar, cast

from automator.edges.registry.budget import Budget

T = TypeVar("T")
TICK = 0.005
"""Seconds after which another thread may be of use to a lane."""
BUSY = 0.7
"""Part of a CPU that this process may use for another thread to be of use."""
URGENT_RUN = 4
"""So many urgent jobs may go one after the other where others wait too."""
NO_THREAD = 1.0
"""Seconds to wait where the system has no thread to give."""


class _Job:
    __slots__ = ("act", "future", "key")

    def __init__(self, act: Callable[[], Any], key: Hashable | None) -> None:
        self.act = act
        self.key = key
        self.future: Future[Any] = Future()


class Lane:
    """The queue of one host. Whoever asks has a queue of his own in it; they take turns."""

    def __init__(self, host: str, budget: Budget, concurrency: int, timer: Timer) -> None:
        self._host = host
        self._budget = budget
        self._concurrency = concurrency
        self._timer = timer
        self._lock = threading.Lock()
        self._urgent: dict[str, deque[_Job]] = {}
        self._patient: dict[str, deque[_Job]] = {}
        self._urgent_run = 0
        """Urgent jobs since the last patient one."""
        self._keyed: dict[Hashable, _Job] = {}
        self._running = 0
        self._done = 0
        """Jobs since the last tick."""
        self._spent = _Spent(0.0, 0.0)
        """At the last tick."""
        self._is_timed = False
        self._is_closed = False

    @property
    def queued(self) -> int:
        """Jobs that wait."""
        with self._lock:
            return sum(len(q) for queues in (self._urgent, self._patient) for q in queues.values())

    def submit(
        self, act: Callable[[], T], *, asker: str = "", first: bool = False, key: Hashable | None = None
    ) -> Future[T]:
        """Have `act` run when the host may be asked. The result of a job with the same `key` that
        has not begun serves for both. After `close` the future is cancelled."""
        with self._lock:
            waiting = self._keyed.get(key) if key is not None else None
            if waiting is not None:
                return cast("Future[T]", waiting.future)
            job = _Job(act, key)
            if self._is_closed:
                job.future.cancel()
                return cast("Future[T]", job.future)
            if key is not None:
                self._keyed[key] = job
            queues = self._urgent if first else self._patient
            queues.setdefault(asker, deque()).append(job)
            number = self._more() if self._running == 0 else self._later(TICK)
        self._spawn(number)
        return cast("Future[T]", job.future)

    def close(self) -> None:
        """Cancel what waits; what runs ends by its own limits."""
        with self._lock:
            self._is_closed = True
            jobs = [job for queues in (self._urgent, self._patient) for q in queues.values() for job in q]
            self._urgent.clear()
            self._patient.clear()
            self._keyed.clear()
        for job in jobs:
            job.future.cancel()

    def wake(self) -> None:
        """The time came at which more may be asked."""
        with self._lock:
            self._is_timed = False
            number = self._more()
        self._spawn(number)

    def _spawn(self, number: int) -> None:
        for _ in range(number):
            try:
                threading.Thread(target=self._work, name=f"registry-{self._host}", daemon=True).start()
            except RuntimeError:  # the system has no thread left: later, then
                with self._lock:
                    self._running -= 1
                    self._later(NO_THREAD)

    def _more(self) -> int:
        """How many threads to start now: one at first, then twice as many at each tick for as long as
        they wait for the network and not for this process. A thread too many costs more than it brings."""
        running, done, spent, self._done = self._running, self._done, self._spent, 0
        self._spent = _Spent(perf_counter(), process_time())
        if not self._may_begin():
            return 0
        room = self._budget.width(self._concurrency) - running
        are_waiting = done <= running or self._spent.share(spent) < BUSY
        number = min(max(running, 1), room) if running == 0 or are_waiting else 0
        self._running += number
        if number < room:
            self._later(TICK)
        return number

    def _later(self, seconds: float) -> int:
        """Look again then whether there is room for more, or when a job comes or ends; starts none now."""
        if not self._is_timed:
            self._is_timed = self._timer.at(seconds, self)
        return 0

    def _may_begin(self) -> bool:
        if not (self._urgent or self._patient):
            return False
        if self._running >= self._budget.width(self._concurrency):
            return False
        wait = self._budget.wait()
        if wait > 0:
            self._later(wait)
        return wait <= 0

    def _work(self) -> None:
        """Run jobs, one after the other, for as long as there are any that may begin."""
        while (job := self._next()) is not None:
            future = job.future
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = job.act()
            except BaseException as error:  # noqa: BLE001 - it is the asker's, whatever it is
                future.set_exception(error)
            else:
                future.set_result(result)
            del job, future

    def _next(self) -> _Job | None:
        with self._lock:
            self._running -= 1  # not counted while it looks for work
            self._done += 1
            if not self._may_begin():
                return None
            width = self._budget.width(self._concurrency)
            self._running += 1
            job = _taken(self._whose_turn(), anyone=self._budget.is_probing)
            if job.key is not None:
                self._keyed.pop(job.key, None)
            if self._running < width:
                self._later(TICK)
        return job

    def _whose_turn(self) -> dict[str, deque[_Job]]:
        """The urgent ones, but never for ever: the many questions of one config repo would keep the
        lists of another from being asked for."""
        if self._urgent and (self._urgent_run < URGENT_RUN or not self._patient):
            self._urgent_run += 1
            return self._urgent
        self._urgent_run = 0
        return self._patient


class _Spent(NamedTuple):
    """Seconds on the wall's clock, and seconds of CPU of this process."""

    wall: float
    cpu: float

    def share(self, before: _Spent) -> float:
        """The part of one CPU that was used since."""
        return (self.cpu - before.cpu) / max(self.wall - before.wall, 1e-6)


def _taken(queues: dict[str, deque[_Job]], *, anyone: bool) -> _Job:
    """The next job of the asker whose turn it is; he goes to the end. A host that was down is tried
    with any one of them: a repository that fails for ever must not stand before all others."""
    asker = next(iter(queues))
    queue = queues.pop(asker)
    if anyone:
        queue.rotate(random.randrange(len(queue)))  # noqa: S311 - not a secret
    job = queue.popleft()
    if queue:
        queues[asker] = queue
    return job


class Timer:
    """One thread that wakes lanes; it lives while there are any to wake."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._due: list[tuple[float, int, Lane]] = []
        self._numbers = itertools.count()
        self._thread: threading.Thread | None = None
        self._is_closed = False

    def at(self, seconds: float, lane: Lane) -> bool:
        """Wake the lane in so many seconds; false where that cannot be promised."""
        with self._changed:
            if self._is_closed or not self._is_going():
                return False
            heapq.heappush(self._due, (monotonic() + seconds, next(self._numbers), lane))
            self._changed.notify()
            return True

    def _is_going(self) -> bool:
        """Whether there is a thread that wakes, a new one perhaps; the system may have none left."""
        if self._thread is None or not self._thread.is_alive():
            thread = threading.Thread(target=self._run, name="registry-timer", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                return False
            self._thread = thread
        return True

    def close(self) -> None:
        """Wake nobody any more."""
        with self._changed:
            self._is_closed = True
            self._due.clear()
            self._changed.notify()

    def _run(self) -> None:
        while (lane := self._next()) is not None:
            lane.wake()

    def _next(self) -> Lane | None:
        with self._changed:
            while self._due:
                left = self._due[0][0] - monotonic()
                if left <= 0:
                    return heapq.heappop(self._due)[2]
                self._changed.wait(left)
            self._thread = None
            return None
