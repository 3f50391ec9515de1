"""Lanes: who is asked when, who comes first, and that waiting holds no thread."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from contextlib import contextmanager

import pytest
from parts.registry import wait_until

from automator.edges.registry.budget import Budget
from automator.edges.registry.lanes import Lane, Timer

PATIENCE = 20


@contextmanager
def lane(*, rate: float = 1000, concurrency: int = 1) -> Iterator[Lane]:
    timer = Timer()
    budget = Budget("registry.test", rate, concurrency, time.monotonic)
    made = Lane("registry.test", budget, concurrency, timer)
    yield made
    made.close()
    timer.close()


class Gate:
    """Jobs that hold their place until the gate opens, and the order in which they ran."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.begun = threading.Semaphore(0)
        self.ran: list[str] = []

    def job(self, name: str) -> Callable[[], str]:
        def act() -> str:
            self.begun.release()
            assert self.open.wait(PATIENCE)
            self.ran.append(name)
            return name

        return act


def registry_threads() -> int:
    return sum(t.name == "registry-registry.test" for t in threading.enumerate())


def test_config_repos_take_turns_and_events_come_first() -> None:
    gate = Gate()
    with lane() as mine:
        futures = [mine.submit(gate.job("begun"))]
        assert gate.begun.acquire(timeout=PATIENCE)
        futures += [mine.submit(gate.job(f"big {i}"), asker="big") for i in range(4)]
        futures += [mine.submit(gate.job(f"small {i}"), asker="small") for i in range(2)]
        futures.append(mine.submit(gate.job("event"), asker="big", first=True))
        gate.open.set()
        assert not wait(futures, PATIENCE).not_done
    assert gate.ran == ["begun", "event", "big 0", "small 0", "big 1", "small 1", "big 2", "big 3"]


def test_no_more_run_at_once_than_the_host_may_have_and_the_rest_hold_no_thread() -> None:
    gate = Gate()
    before = registry_threads()
    with lane(concurrency=3) as mine:
        futures = [mine.submit(gate.job(str(i))) for i in range(50)]
        for _ in range(3):
            assert gate.begun.acquire(timeout=PATIENCE)
        assert (mine.queued, registry_threads() - before) == (47, 3)
        gate.open.set()
        assert not wait(futures, PATIENCE).not_done
    wait_until(lambda: registry_threads() <= before, "the threads' end")


def test_two_who_want_the_same_are_served_by_one_job() -> None:
    gate = Gate()
    with lane() as mine:
        first = mine.submit(gate.job("begun"), key="web")
        assert gate.begun.acquire(timeout=PATIENCE)
        second = mine.submit(gate.job("one"), asker="a", key="web")  # what has begun may be too old
        third = mine.submit(gate.job("two"), asker="b", key="web")
        gate.open.set()
        assert [f.result(PATIENCE) for f in (first, second, third)] == ["begun", "one", "one"]
    assert gate.ran == ["begun", "one"]


def test_what_failed_fails_for_its_asker_alone() -> None:
    def fail() -> None:
        raise ValueError("no")

    with lane() as mine:
        failed, fine = mine.submit(fail), mine.submit(lambda: "fine")
        assert fine.result(PATIENCE) == "fine"
        with pytest.raises(ValueError, match="no"):
            failed.result(PATIENCE)


def test_closing_cancels_what_waits() -> None:
    gate = Gate()
    with lane() as mine:
        running, waiting = mine.submit(gate.job("begun")), mine.submit(gate.job("waiting"))
        assert gate.begun.acquire(timeout=PATIENCE)
        mine.close()
        assert waiting.cancelled()
        assert mine.submit(gate.job("late")).cancelled()
        gate.open.set()
        assert running.result(PATIENCE) == "begun"


def test_a_cancelled_job_takes_nobodys_place() -> None:
    gate = Gate()
    with lane() as mine:
        running, waiting = mine.submit(gate.job("begun")), mine.submit(gate.job("waiting"))
        assert gate.begun.acquire(timeout=PATIENCE)
        assert waiting.cancel()
        last = mine.submit(gate.job("last"))
        gate.open.set()
        assert (running.result(PATIENCE), last.result(PATIENCE)) == ("begun", "last")
    assert gate.ran == ["begun", "last"]


def test_jobs_beyond_the_rate_wait_without_a_thread_and_are_woken() -> None:
    timer = Timer()
    now = [0.0]
    budget = Budget("registry.test", 10, 1, lambda: now[0])
    mine = Lane("registry.test", budget, 1, timer)

    def act() -> None:
        budget.spend()

    done = [mine.submit(act) for _ in range(50)]
    assert not wait(done, PATIENCE).not_done
    late = mine.submit(act)
    assert (mine.queued, late.done()) == (1, False)
    wait_until(lambda: registry_threads() == 0, "the threads' end")
    now[0] += 1  # the timer asks again by itself
    late.result(PATIENCE)
    mine.close()
    timer.close()


def test_a_host_that_was_down_is_tried_with_one_job_before_all_others() -> None:
    now = [0.0]
    budget = Budget("registry.test", 1000, 8, lambda: now[0])
    for _ in range(3):
        budget.failed("acme/web", "refused", of_host=True)
    now[0] += 1000
    timer, gate = Timer(), Gate()
    mine = Lane("registry.test", budget, 8, timer)

    def probe() -> str:
        assert budget.admit("tags", "GET") is None
        name = gate.job("probe")()
        budget.answered("tags")
        return name

    futures = [mine.submit(probe) for _ in range(20)]
    assert gate.begun.acquire(timeout=PATIENCE)
    assert mine.queued == 19
    gate.open.set()
    assert not wait(futures, PATIENCE).not_done
    mine.close()
    timer.close()


def test_urgent_questions_without_end_do_not_keep_others_from_their_lists() -> None:
    gate = Gate()
    with lane() as mine:
        futures = [mine.submit(gate.job("begun"))]
        assert gate.begun.acquire(timeout=PATIENCE)
        futures += [mine.submit(gate.job(f"fact {i}"), asker="big", first=True) for i in range(100)]
        futures += [mine.submit(gate.job(f"list {i}"), asker="small") for i in range(3)]
        gate.open.set()
        assert not wait(futures, PATIENCE).not_done
    assert [gate.ran.index(f"list {i}") for i in range(3)] == [5, 10, 15]


PROGRAM = """
import threading, time
from automator.edges.registry.budget import Budget
from automator.edges.registry.lanes import Lane, Timer

start, left = threading.Thread.start, [2]

def poor(self):
    if self.name.startswith("registry") and left[0]:
        left[0] -= 1
        raise RuntimeError("can't start new thread")
    start(self)

threading.Thread.start = poor
budget = Budget("registry.test", 50.0, 1, time.monotonic)
lane = Lane("registry.test", budget, 1, Timer())
jobs = [lane.submit(budget.spend) for _ in range(300)]
for job in jobs:
    job.result(20)
print("all done")
"""


def test_a_system_without_threads_for_a_while_stops_no_host_for_good() -> None:
    """In a process of its own, whose system has none at first: neither for a job nor for the timer."""
    ran = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60)
    assert (ran.stdout, ran.returncode) == ("all done\n", 0), ran.stderr
