"""Threads for cycles: how many a machine permits, and what becomes of work for which there is none."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from parts.world import until

from automator.threads import LEAST, LONG, MOST, TASKS, Threads, group_limit, is_crowded, permitted

PATIENCE = 20.0


# -- how many --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "most"),
    [(None, MOST), (1 << 22, MOST), (4096, 896), (1024, 224), (256, 48), (100, 9), (40, LEAST), (0, LEAST)],
)
def test_cycles_leave_room_for_all_else(limit: int | None, most: int) -> None:
    assert permitted(limit) == most
    if limit is not None and most > LEAST:
        assert most * TASKS <= limit * 7 / 8


@pytest.mark.parametrize(
    ("own", "files", "limit"),
    [
        ("0::/a/b\n", {"a/b/pids.max": "300"}, 300),
        ("0::/a/b\n", {"a/pids.max": "200", "a/b/pids.max": "max"}, 200),
        ("0::/\n", {"pids.max": "100"}, 100),
        # A container of version 1 sees its path outside, and its own group as the root.
        ("8:pids:/docker/0a\n7:cpu:/\n0::/\n", {"pids/pids.max": "150", "cpu/pids.max": "1"}, 150),
        ("3:cpu,pids:/x\n", {"cpu,pids/x/pids.max": "90"}, 90),
        ("0::/../../x\n", {"x/pids.max": "90"}, None),
        ("0::/a\n", {"a/pids.max": "many"}, None),
        ("nonsense\n", {}, None),
        ("0::/caf\udce9.scope\n", {"caf\udce9.scope/pids.max": "90"}, 90),
        (None, {}, None),
    ],
)
def test_the_least_limit_of_the_control_groups_counts(
    tmp_path: Path, own: str | None, files: dict[str, str], limit: int | None
) -> None:
    told = tmp_path / "cgroup"
    if own is not None:
        told.write_bytes(os.fsencode(own))
    for name, text in files.items():
        file = tmp_path / "sys" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")
    assert group_limit(tmp_path / "sys", told) == limit


# -- work ------------------------------------------------------------------------------------------------


class Work:
    """Pieces of work that the test holds open."""

    def __init__(self, threads: Threads) -> None:
        self.threads = threads
        self.began: list[int] = []
        self.gates = [threading.Event() for _ in range(6)]

    def submit(self, *numbers: int) -> None:
        for number in numbers:
            self.threads.submit(self._do, number)

    def _do(self, number: int) -> None:
        self.began.append(number)
        assert self.gates[number].wait(PATIENCE)


def test_what_is_beyond_waits_in_line_and_is_told_once() -> None:
    seconds = [0.0]
    work = Work(Threads(2, lambda: seconds[0]))
    work.submit(0, 1, 2, 3, 4)
    until(lambda: len(work.began) == 2, "two at work")
    assert work.threads.mind() is None, "for a moment that is nothing"
    seconds[0] = LONG
    why = "3 in line, and the 2 at work are as many as the limit of tasks permits"
    assert [work.threads.mind() for _ in range(3)] == [why, None, None]
    work.gates[1].set()
    until(lambda: work.began == [0, 1, 2], "the next one")
    for gate in work.gates:
        gate.set()
    until(lambda: work.began == [0, 1, 2, 3, 4], "all")
    assert work.threads.mind() is None
    work.threads.shutdown()


def test_a_future_tells_how_it_ended_and_a_failure_costs_no_thread() -> None:
    threads = Threads(1)
    assert isinstance(threads.submit(lambda: 1 // 0).exception(PATIENCE), ZeroDivisionError)
    assert threads.submit(divmod, 7, 2).result(PATIENCE) == (3, 1)


def test_threads_end_that_have_nothing_to_do() -> None:
    threads = Threads(50)
    seen = {threads.submit(threading.current_thread) for _ in range(50)}
    until(lambda: not any(one.result(PATIENCE).is_alive() for one in seen), "their end")


def test_at_the_end_nothing_is_begun_and_what_is_at_work_is_waited_for() -> None:
    work = Work(Threads(1))
    work.submit(0, 1)
    until(lambda: work.began, "one at work")
    work.threads.shutdown(wait=False)
    threading.Timer(0.2, work.gates[0].set).start()
    work.threads.shutdown()
    work.submit(2)
    assert work.began == [0]
    assert work.threads.mind() is None


POOR = """
import os, resource, threading, time
from automator.threads import Threads, permitted, task_limit

def permit(tasks):
    resource.setrlimit(resource.RLIMIT_NPROC, (tasks, 1000))

threads, gate = Threads(100), threading.Event()
nobody = 100000 + os.getpid()  # of whom nothing else runs
os.setresuid(nobody, nobody, nobody)
permit(2)
print(task_limit(), permitted(task_limit()))
done = [threads.submit(gate.wait, 20) for _ in range(3)]
print(threads.mind(), threads.mind())
gate.set()
print(all(one.result(20) for one in done), "by the one that there is", threads.mind())

gate.clear()
while threading.active_count() > 1:
    time.sleep(0.01)
permit(1)
done = [threads.submit(gate.wait, 20) for _ in range(20)]
print(threads.mind(), threads.mind())
permit(1000)
print(threads.mind(), threading.active_count())
gate.set()
print(all(one.result(20) for one in done))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="limits are for users whom this one can become")
def test_where_no_thread_can_be_started_the_work_waits_for_one() -> None:
    done = subprocess.run(
        [sys.executable, "-c", POOR],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.splitlines() == [
        "2 8",
        "2 in line, and can't start new thread None",
        "True by the one that there is None",
        "20 in line, and can't start new thread None",
        "None 21",
        "True",
    ], done.stderr


def test_what_says_that_there_is_no_room() -> None:
    assert is_crowded(RuntimeError("can't start new thread"))
    assert not is_crowded(RuntimeError("else"))
