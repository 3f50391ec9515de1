"""When cycles run: real scheduler, real threads, real signals; cycles that the test holds open."""

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from apscheduler.events import EVENT_JOB_MAX_INSTANCES, JobSubmissionEvent
from parts.world import until

from automator.app.watchdog import Watchdog
from automator.core.reference import Repository
from automator.core.report import Outcome, Report
from automator.daemon import Daemon, EveryInterval, RepoJob, Wake
from automator.reasons import Reason, Status, reason

HOUR = timedelta(hours=1)
SOON = timedelta(milliseconds=150)
WEB, API = Repository("ghcr.io", "acme/web"), Repository("ghcr.io", "acme/api")
PATIENCE = 20.0


def now() -> datetime:
    return datetime.now(UTC)


def report(
    repo: str, wake: Wake, *, changes_at: datetime | None = None, started_at: datetime | None = None
) -> Report:
    why = reason("current/newest", current="1", count=1, rule="any", changes_at=changes_at)
    outcome = Outcome("web", Status.CURRENT, why, "ghcr.io/acme/web")
    return Report(repo, wake.trigger, started_at or now(), now(), None, None, (outcome,))


class Cycles:
    """Cycles of one config repo, of which the test learns and which it can hold open."""

    def __init__(self, repo: str = "shop", answer: Callable[[Wake], Report] | None = None) -> None:
        self.repo = repo
        self.wakes: list[Wake] = []
        self.together = 0
        self.most_together = 0
        self.gate = threading.Event()
        self.gate.set()
        self._changed = threading.Condition()
        self._answer = answer or (lambda wake: report(repo, wake))
        self._done = 0

    def run(self, wake: Wake) -> Report:
        with self._changed:
            self.wakes.append(wake)
            self.together += 1
            self.most_together = max(self.together, self.most_together)
            self._changed.notify_all()
        try:
            assert self.gate.wait(PATIENCE)
            return self._answer(wake)
        finally:
            with self._changed:
                self.together -= 1
                self._done += 1
                self._changed.notify_all()

    def begun(self, count: int) -> list[Wake]:
        """Wait until so many cycles have begun."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.wakes) >= count, PATIENCE), self.wakes
            return list(self.wakes)

    def done(self, count: int) -> list[Wake]:
        """Wait until so many cycles have ended."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._done >= count, PATIENCE), self.wakes
            return list(self.wakes)


class Running:
    """A daemon under test, with what it told."""

    def __init__(
        self,
        *cycles: Cycles,
        interval: timedelta = HOUR,
        stop_timeout: float = 20,
        clock: Callable[[], datetime] = now,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.reports: list[Report] = []
        self.troubles: list[tuple[Reason, BaseException | None]] = []
        self.told = threading.Condition()
        self.daemon = Daemon(
            {c.repo: RepoJob(interval, c.run) for c in cycles},
            stop_timeout=timedelta(seconds=stop_timeout),
            on_report=self._report,
            on_trouble=self._trouble,
            clock=clock,
            monotonic=monotonic,
        )

    def _report(self, report: Report) -> None:
        with self.told:
            self.reports.append(report)
            self.told.notify_all()

    def _trouble(self, why: Reason, error: BaseException | None) -> None:
        with self.told:
            self.troubles.append((why, error))
            self.told.notify_all()

    def until(self, condition: Callable[[], bool]) -> None:
        with self.told:
            assert self.told.wait_for(condition, PATIENCE)

    def __enter__(self) -> "Running":
        self.daemon.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.daemon.stop()


# -- when ----------------------------------------------------------------------------------------


def test_first_cycle_runs_at_once_and_is_told() -> None:
    shop = Cycles()
    with Running(shop) as running:
        running.until(lambda: len(running.reports) == 1)
    assert [w.trigger for w in shop.wakes] == ["startup"]


def test_cycles_come_at_the_interval() -> None:
    shop = Cycles()
    with Running(shop, interval=SOON):
        assert [w.trigger for w in shop.begun(3)[:3]] == ["startup", "interval", "interval"]


def test_a_cycle_comes_when_an_outcome_changes_by_itself() -> None:
    def answer(wake: Wake) -> Report:
        begun = now()
        at = begun + timedelta(milliseconds=300) if wake.trigger == "startup" else None
        return report("shop", wake, changes_at=at, started_at=begun)

    shop = Cycles(answer=answer)
    with Running(shop) as running:
        running.until(lambda: len(running.reports) == 2)
        first, second = running.reports
    assert [first.trigger, second.trigger] == ["startup", "due"]
    assert first.changes_at is not None
    assert second.started_at >= first.changes_at


def test_due_cycles_follow_each_other_also_from_within_a_due_cycle() -> None:
    def answer(wake: Wake) -> Report:
        # Already past when the cycle ends, as after a slow cycle: it must not be lost.
        begun = now()
        return report("shop", wake, changes_at=begun + timedelta(microseconds=1), started_at=begun)

    shop = Cycles(answer=answer)
    with Running(shop):
        assert {w.trigger for w in shop.begun(6)[1:]} == {"due"}
    assert shop.most_together == 1


def test_only_the_last_reports_time_counts() -> None:
    times = iter([timedelta(milliseconds=500), HOUR])
    shop = Cycles(answer=lambda wake: report("shop", wake, changes_at=now() + next(times)))
    later = Cycles(
        "later", answer=lambda wake: report("later", wake, changes_at=now() + timedelta(seconds=1))
    )
    shop.gate.clear()
    with Running(shop, later) as running:
        shop.begun(1)
        running.daemon.wake("shop")
        shop.gate.set()
        shop.done(2)
        later.begun(3)  # well after the time that the shop's first report named
    assert [w.trigger for w in shop.wakes] == ["startup", "request"]


def test_a_time_that_was_past_already_makes_no_endless_round() -> None:
    shop = Cycles(answer=lambda wake: report("shop", wake, changes_at=now() - HOUR))
    other = Cycles("other")
    with Running(shop, other) as running:
        shop.done(1)
        other.done(1)
        for turn in range(2, 5):  # time for a round to show
            running.daemon.wake("other")
            other.done(turn)
    assert len(shop.wakes) == 1


# -- requests ------------------------------------------------------------------------------------


def test_a_request_runs_a_cycle_at_once() -> None:
    shop = Cycles()
    with Running(shop) as running:
        shop.done(1)
        running.daemon.wake("shop", frozenset({WEB}))
        assert shop.begun(2)[1] == Wake("request", frozenset({WEB}))


def test_requests_during_a_cycle_merge_into_one_right_after_it() -> None:
    shop = Cycles()
    shop.gate.clear()
    with Running(shop) as running:
        shop.begun(1)
        for repositories in ({WEB}, {API}, {WEB}, set[Repository]()):
            running.daemon.wake("shop", frozenset(repositories))
        shop.gate.set()
        assert shop.done(2)[1] == Wake("request", frozenset({WEB, API}), of_all=True)
        running.daemon.wake("shop")
        shop.begun(3)
    assert shop.most_together == 1
    assert len(shop.wakes) == 3


def test_no_request_is_lost_and_no_cycle_overlaps_itself() -> None:
    shop = Cycles()
    asked = [Repository("x.io", f"y/{n}") for n in range(200)]
    with Running(shop, interval=timedelta(milliseconds=50)) as running:

        def ask(mine: list[Repository]) -> None:
            for repository in mine:
                running.daemon.wake("shop", frozenset({repository}))

        threads = [threading.Thread(target=ask, args=(asked[n::4],)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        running.until(lambda: {r for w in list(shop.wakes) for r in w.repositories} == set(asked))
    assert shop.most_together == 1


def test_an_event_runs_a_cycle_at_once_and_tells_why() -> None:
    shop = Cycles()
    with Running(shop) as running:
        shop.done(1)
        running.daemon.wake("shop", frozenset({WEB}), trigger="event")
        assert shop.begun(2)[1] == Wake("event", frozenset({WEB}))


def test_what_is_to_be_done_later_is_done_then_and_not_once_it_stops() -> None:
    shop, done = Cycles(), threading.Event()
    with Running(shop) as running:
        shop.done(1)
        running.daemon.later(timedelta(milliseconds=10), done.set)
        assert done.wait(PATIENCE)
        running.daemon.later(HOUR, done.clear)
    running.daemon.later(timedelta(0), done.clear)
    assert done.is_set()


def test_events_one_after_the_other_keep_a_distance_and_merge() -> None:
    shop = Cycles()
    with Running(shop, monotonic=lambda: 0.0) as running:
        shop.done(1)
        running.daemon.wake("shop", frozenset({WEB}), trigger="event")
        shop.done(2)
        running.daemon.wake("shop", frozenset({API}), trigger="event")
        running.daemon.wake("shop", trigger="push")
        running.daemon.wake("shop", frozenset({WEB}), trigger="event")
        assert shop.done(3)[2] == Wake("push", frozenset({WEB, API}))
    assert len(shop.wakes) == 3


def test_events_during_a_cycle_for_events_come_after_it() -> None:
    shop = Cycles()
    with Running(shop) as running:
        shop.done(1)
        shop.gate.clear()
        running.daemon.wake("shop", frozenset({WEB}), trigger="event")
        shop.begun(2)
        for _ in range(20):
            running.daemon.wake("shop", frozenset({API}), trigger="event")
        shop.gate.set()
        assert shop.done(3)[2] == Wake("event", frozenset({API}))
    assert (shop.most_together, len(shop.wakes)) == (1, 3)


def test_a_request_does_not_wait_as_events_do() -> None:
    shop = Cycles()
    with Running(shop, monotonic=lambda: 0.0) as running:
        shop.done(1)
        running.daemon.wake("shop", trigger="event")
        shop.done(2)
        running.daemon.wake("shop", frozenset({API}), trigger="event")
        running.daemon.wake("shop", frozenset({WEB}))
        assert shop.done(3)[2] == Wake("request", frozenset({WEB, API}))


def test_an_interval_that_falls_into_a_cycle_for_events_is_made_up_for() -> None:
    hold = threading.Event()

    def answer(wake: Wake) -> Report:
        assert wake.trigger != "event" or hold.wait(PATIENCE)
        return report("shop", wake)

    shop, other = Cycles(answer=answer), Cycles("other")
    with Running(shop, other, interval=SOON) as running:
        shop.done(1)
        running.daemon.wake("shop", frozenset({WEB}), trigger="event")
        running.until(lambda: any(w.trigger == "event" for w in shop.wakes))
        other.begun(len(other.wakes) + 3)
        after = len(shop.wakes)
        assert shop.wakes[-1].trigger == "event"
        hold.set()
        assert shop.begun(after + 1)[after].trigger == "interval"


def test_events_without_end_neither_put_off_the_interval_nor_count_as_late() -> None:
    events = threading.Semaphore(0)

    def answer(wake: Wake) -> Report:
        # Another event comes while each cycle runs, so that there is always one more.
        running.daemon.wake("shop", frozenset({WEB}), trigger="event")
        if wake.is_for_events:
            events.acquire(timeout=1.1)  # longer than the pause between cycles for events
        return report("shop", wake)

    shop = Cycles(answer=answer)
    running = Running(shop, interval=timedelta(seconds=1.5))
    with running:
        shop.begun(6)
        running.until(lambda: sum(w.trigger == "interval" for w in shop.wakes) >= 2)
        events.release(1000)
    assert [why.code for why, _ in running.troubles] == []
    assert shop.most_together == 1


def test_a_planned_cycle_for_events_that_got_lost_does_not_keep_later_events_waiting() -> None:
    seconds = [0.0]
    shop = Cycles()
    with Running(shop, interval=timedelta(seconds=3), monotonic=lambda: seconds[0]) as running:
        shop.done(1)
        running.daemon.wake("shop", frozenset({WEB}), trigger="event")
        shop.done(2)
        until(lambda: running.daemon.running_since("shop") is None, "the end of its turn")
        running.daemon.wake("shop", frozenset({WEB}), trigger="event")  # in a second
        for job in running.daemon._scheduler.get_jobs():
            if not job.id.startswith("interval"):
                job.remove()
        assert shop.done(3)[2] == Wake("interval", frozenset({WEB}))
        seconds[0] += 3600
        running.daemon.wake("shop", frozenset({API}), trigger="event")
        assert shop.begun(4)[3] == Wake("event", frozenset({API}))


def test_config_repos_do_not_wait_for_each_other() -> None:
    slow, quick = Cycles("slow"), Cycles("quick")
    slow.gate.clear()
    with Running(slow, quick) as running:
        slow.begun(1)
        for turn in range(1, 4):
            quick.done(turn)
            running.daemon.wake("quick")
        assert running.daemon.unready() == ("slow",)
        slow.gate.set()


def test_an_unknown_config_repo_is_the_callers_mistake() -> None:
    with Running(Cycles()) as running, pytest.raises(KeyError):
        running.daemon.wake("nowhere")


def test_a_cycle_longer_than_its_interval_is_told_and_not_doubled() -> None:
    shop = Cycles()
    shop.gate.clear()
    with Running(shop, interval=SOON) as running:
        running.until(lambda: any(why.code == "daemon/late" for why, _ in running.troubles))
        assert len(shop.wakes) == 1
        shop.gate.set()
        shop.done(2)
    assert shop.most_together == 1


def test_each_cycle_that_takes_long_is_told_once() -> None:
    gates, asked = (threading.Event(), threading.Event()), [0]

    def answer(wake: Wake) -> Report:
        for number, gate in enumerate(gates, 1):
            assert len(shop.wakes) != number or gate.wait(PATIENCE)
        return report("shop", wake)

    def monotonic() -> float:  # while a cycle runs, asked by each tick that finds it running
        asked[0] += 1
        return time.monotonic()

    shop = Cycles(answer=answer)
    with Running(shop, interval=SOON, monotonic=monotonic) as running:

        def late() -> int:
            return sum(why.code == "daemon/late" for why, _ in running.troubles)

        running.until(lambda: late() == 1)
        before = asked[0]
        until(lambda: asked[0] >= before + 3, "ticks that find it running")
        assert (late(), len(shop.wakes)) == (1, 1)
        gates[0].set()
        running.until(lambda: late() == 2)
        assert len(shop.wakes) == 2
        gates[1].set()


# -- failure -------------------------------------------------------------------------------------


def test_a_cycle_that_breaks_off_is_told_and_the_next_one_comes() -> None:
    def answer(wake: Wake) -> Report:
        if wake.trigger == "startup":
            raise ZeroDivisionError("a bug")
        return report("shop", wake)

    shop = Cycles(answer=answer)
    with Running(shop, interval=SOON) as running:
        running.until(lambda: len(running.reports) >= 1)
        why, error = running.troubles[0]
    assert why.code == "daemon/bug"
    assert "ZeroDivisionError: a bug" in why.sentence
    assert isinstance(error, ZeroDivisionError)


POOR = """
import os, resource, time
from datetime import UTC, datetime, timedelta
from automator.core.report import Report
from automator.daemon import Daemon, RepoJob

def cycle(wake):
    print("cycle", wake.trigger, flush=True)
    now = datetime.now(UTC)
    return Report("shop", wake.trigger, now, now, None, None, ())

def told(why, error):
    print(why.code, why.sentence, error, flush=True)

hour = timedelta(hours=1)
daemon = Daemon({"shop": RepoJob(hour, cycle)}, stop_timeout=hour, on_trouble=told)
nobody = 100000 + os.getpid()  # of whom nothing else runs
os.setresuid(nobody, nobody, nobody)
resource.setrlimit(resource.RLIMIT_NPROC, (2, 1000))  # this thread and the scheduler's
daemon.start()
while not daemon._threads._line:
    time.sleep(0.01)
daemon.mind_threads()
daemon.mind_threads()
resource.setrlimit(resource.RLIMIT_NPROC, (1000, 1000))
daemon.mind_threads()
while daemon.unready():
    time.sleep(0.01)
daemon.stop()
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="limits are for users whom this one can become")
def test_no_planned_cycle_is_lost_where_no_thread_can_be_started() -> None:
    done = subprocess.run(
        [sys.executable, "-c", POOR], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.stderr == "", "no traceback of the scheduler's"
    why = "no thread for every cycle that is due: 1 in line, and can't start new thread"
    assert done.stdout.splitlines() == [f"daemon/crowded {why} None", "cycle startup"]
    assert done.returncode == 0


@contextmanager
def in_line(monotonic: Callable[[], float] = time.monotonic) -> Iterator[tuple[Running, Cycles, Cycles]]:
    """A daemon with one thread, which a cycle that hangs has, and behind it another config repo's in line."""
    hangs, well = Cycles("hangs"), Cycles("well")
    hangs.gate.clear()
    with Running(hangs, well, monotonic=monotonic) as running:
        well.done(1)
        hangs.begun(1)
        until(lambda: len(running.daemon._threads._at_work) == 1, "the thread of the well one to end")
        running.daemon._threads.most = 1
        running.daemon._plan_intervals(["well"])
        until(lambda: running.daemon._threads._line, "the well one in line")
        yield running, hangs, well


def test_a_cycle_in_line_is_begun_once_however_often_its_interval_passes() -> None:
    with in_line() as (running, hangs, well):
        late = JobSubmissionEvent(EVENT_JOB_MAX_INSTANCES, "interval well", "default", [now()])
        for _ in range(20):
            running.daemon._late(late)
        assert running.daemon._turns["well"].pending is None, "nothing is made up for that has not begun"
        assert len(running.daemon._threads._line) == 1
        hangs.gate.set()
        well.done(2)
        running.daemon.wake("well")
        well.done(3)
        assert [wake.trigger for wake in well.wakes] == ["startup", "interval", "request"]


def test_who_waits_in_line_behind_others_is_not_stuck_and_those_are() -> None:
    seconds = [0.0]
    with in_line(lambda: seconds[0]) as (running, hangs, well):
        seconds[0] += 1_000_000.0
        assert running.daemon.stuck() == ("hangs",)
        hangs.gate.set()
        well.done(2)


def test_a_cycle_that_gets_no_thread_for_its_work_is_no_bug() -> None:
    def answer(wake: Wake) -> Report:
        if wake.trigger == "startup":
            raise RuntimeError("can't start new thread")
        return report("shop", wake)

    shop = Cycles(answer=answer)
    with Running(shop, interval=SOON) as running:
        running.until(lambda: len(running.reports) >= 1)
        why, error = running.troubles[0]
    assert (why.code, error) == ("daemon/crowded", None)
    assert "that of shop broke off, can't start new thread" in why.sentence


def test_announcing_that_fails_costs_no_planned_cycle() -> None:
    shop = Cycles(answer=lambda wake: report("shop", wake, changes_at=now() + timedelta(milliseconds=200)))
    troubles: list[Reason] = []

    def announce(_report: Report) -> None:
        raise OSError("no space left")

    daemon = Daemon(
        {"shop": RepoJob(HOUR, shop.run)},
        stop_timeout=HOUR,
        on_report=announce,
        on_trouble=lambda why, _: troubles.append(why),
    )
    daemon.start()
    shop.begun(2)
    daemon.stop()
    assert troubles[0].code == "daemon/bug"
    assert daemon.unready() == ()


# -- probes --------------------------------------------------------------------------------------


def test_ready_after_the_first_cycle_of_every_config_repo() -> None:
    shop, staging = Cycles("shop"), Cycles("staging")
    staging.gate.clear()
    with Running(shop, staging) as running:
        running.until(lambda: len(running.reports) == 1)
        staging.begun(1)
        assert "staging" in running.daemon.unready()
        staging.gate.set()
        running.daemon.wake("shop")
        running.until(lambda: {r.repo for r in running.reports} == {"shop", "staging"})
    assert running.daemon.unready() == ()


@pytest.mark.parametrize(("interval", "patience"), [(HOUR, 3 * HOUR), (SOON, timedelta(minutes=10))])
def test_stuck_is_no_cycle_ended_for_three_intervals_and_ten_minutes(
    interval: timedelta, patience: timedelta
) -> None:
    seconds = [0.0]
    shop = Cycles()
    shop.gate.clear()
    with Running(shop, interval=interval, monotonic=lambda: seconds[0]) as running:
        shop.begun(1)
        seconds[0] += patience.total_seconds()
        assert running.daemon.stuck() == ()
        seconds[0] += 1
        assert running.daemon.stuck() == ("shop",)
        shop.gate.set()
        until(lambda: not running.daemon.stuck(), "the end of the cycle")
        seconds[0] += patience.total_seconds()
        assert running.daemon.stuck() == ()


@pytest.mark.parametrize(
    ("interval", "step", "patience"), [(180, 300, 600), (5, 1, 30)], ids=["it is silent", "it refuses"]
)
def test_an_outage_of_a_git_server_is_not_taken_for_a_stuck_cycle(
    interval: int, step: int, patience: int
) -> None:
    """Each cycle ends with the first step of git, and between them the config repo is left alone."""
    seconds, seen = [0], set[tuple[str, ...]]()

    def run(wake: Wake) -> Report:
        for _ in range(step + 1):
            seconds[0] += 1
            seen.add(daemon.stuck())
        return replace(report("down", wake), error=reason("git/timeout", step="asking", limit="5m"))

    job = RepoJob(timedelta(seconds=interval), run, timedelta(seconds=2 * step))
    daemon = Daemon({"down": job}, stop_timeout=HOUR, monotonic=lambda: float(seconds[0]))
    daemon.patience = timedelta(seconds=patience)
    daemon.started_at = now()
    while seconds[0] < 7200:
        if seconds[0] % interval == 0:
            daemon._tick("down")
        seconds[0] += 1
        seen.add(daemon.stuck())
    assert seen == {()}
    seconds[0] += patience + 300
    assert daemon.stuck() == ("down",), "nothing begins any more"


def test_a_config_repo_whose_git_may_take_longer_is_not_stuck_before() -> None:
    seconds = [0.0]
    shop = Cycles()
    shop.gate.clear()
    with Running(shop, interval=SOON, monotonic=lambda: seconds[0]) as running:
        shop.begun(1)
        running.daemon.resume({"shop": RepoJob(SOON, shop.run, patience=HOUR)})
        seconds[0] += HOUR.total_seconds()
        assert running.daemon.stuck() == ()
        seconds[0] += 1
        assert running.daemon.stuck() == ("shop",)
        shop.gate.set()


def test_who_asks_of_a_config_repo_that_is_gone_is_told_nothing() -> None:
    daemon = Daemon({}, stop_timeout=HOUR)
    assert daemon.running_since("gone") is None


def test_what_nothing_ends_is_given_up_some_time_after_it_was_told_and_not_at_once() -> None:
    seconds, told, given_up = [0.0], list[str](), list[Reason]()
    shop = Cycles()
    shop.gate.clear()
    with Running(shop, monotonic=lambda: seconds[0]) as running:
        dog = Watchdog(
            running.daemon,
            lambda _: 0,
            lambda repo, *_: told.append(repo),
            lambda repo: told.append(f"no more {repo}"),
            given_up.append,
            timedelta(seconds=60),
            timedelta(seconds=60),
        )
        shop.begun(1)
        seconds[0] = 1_000.0  # nobody looked meanwhile
        dog.look()
        seconds[0] += 60
        dog.look()
        assert (told, given_up) == (["shop"], [])
        running.daemon.pass_over(500.0)
        seconds[0] += 500
        dog.look()
        assert (told, given_up) == (["shop"], [])
        seconds[0] += 1
        dog.look()
        assert [why.code for why in given_up] == ["daemon/gave-up"]
        running.daemon.pass_over(seconds[0])
        dog.look()
        assert told == ["shop", "no more shop"]
        shop.gate.set()


def test_a_clock_that_was_set_forth_by_years_makes_one_cycle_and_no_list_of_those_missed() -> None:
    every, after = EveryInterval(seconds=60, timezone=UTC), now()
    assert every.get_next_fire_time(after - timedelta(days=3650), after) == after + timedelta(seconds=60)
    assert every.get_next_fire_time(after, after) == after + timedelta(seconds=60)
    late = after + timedelta(seconds=20)
    assert every.get_next_fire_time(after, late) == after + timedelta(seconds=60)


# -- stopping ------------------------------------------------------------------------------------


def test_stop_lets_the_running_cycle_end_and_begins_no_other() -> None:
    shop = Cycles()
    running = Running(shop, interval=SOON)
    shop.gate.clear()
    running.daemon.start()
    shop.begun(1)
    running.daemon.wake("shop")
    stopping = threading.Thread(target=lambda: answers.append(running.daemon.stop()))
    answers: list[bool] = []
    stopping.start()
    shop.gate.set()
    stopping.join(PATIENCE)
    assert answers == [True]
    before = len(shop.wakes)
    running.daemon.wake("shop")
    assert len(running.reports) == len(shop.wakes) == before


def test_stopping_while_requests_come_breaks_no_thread() -> None:
    def ask(daemon: Daemon) -> None:
        for _ in range(100):
            daemon.wake("shop")

    broken: list[threading.ExceptHookArgs] = []
    before, threading.excepthook = threading.excepthook, broken.append
    try:
        for _ in range(50):
            with Running(Cycles(), interval=timedelta(milliseconds=5)) as running:
                threads = [threading.Thread(target=ask, args=(running.daemon,)) for _ in range(4)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
    finally:
        threading.excepthook = before
    assert broken == []


def test_stop_does_not_wait_for_ever() -> None:
    shop = Cycles()
    shop.gate.clear()
    running = Running(shop, stop_timeout=0.1)
    running.daemon.start()
    shop.begun(1)
    assert running.daemon.stop() is False
    assert [why.code for why, _ in running.troubles] == ["daemon/cut-off"]
    running.daemon.wake("shop")
    shop.gate.set()
    assert running.daemon.stop() is True
    assert len(shop.wakes) == 1


PROCESS = """
import sys, threading, time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from automator.core.report import Report
from automator.daemon import Daemon, RepoJob

def cycle(wake):
    print("begun", flush=True)
    line = sys.stdin.readline()
    print("ended", flush=True)
    at = datetime.now(UTC)
    return Report("shop", wake.trigger, at, at, None, None, ())

daemon = Daemon({"shop": RepoJob(timedelta(seconds=30), cycle)}, stop_timeout=timedelta(seconds=30))
print("clean" if daemon.run() else "cut off", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_cycle_end_and_the_process_exits_with_0(number: signal.Signals) -> None:
    with daemon_process() as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        process.send_signal(number)
        out, _ = process.communicate("go on\n", timeout=PATIENCE)
    assert out.split() == ["ended", "clean"]
    assert process.returncode == 0


def test_a_second_signal_ends_the_process_at_once() -> None:
    with daemon_process() as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        while process.poll() is None:  # two that come together count as one
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=0.2)
            except subprocess.TimeoutExpired:
                continue
        assert process.stdout.read() == ""
    assert process.returncode == 128 + signal.SIGTERM


BELL = """
import os, resource, signal, sys
from automator.bell import Bell

resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), int(sys.argv[1])))
open_files = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
with Bell() as bell:
    os.kill(os.getpid(), signal.SIGHUP)
    assert bell.wait(10) == {signal.SIGHUP}
    assert bell.wait(0) == frozenset()
    os.kill(os.getpid(), signal.SIGTERM)
    assert bell.wait(10) == {signal.SIGTERM} and bell.stops
for number in (signal.SIGHUP, signal.SIGUSR1):
    os.kill(os.getpid(), number)
print("alive")
"""


def test_signals_are_heard_with_many_open_files_and_what_comes_at_the_end_kills_nobody() -> None:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if 0 <= most < 2048:
        pytest.skip("no more than a thousand files may be open here")
    done = subprocess.run(
        [sys.executable, "-c", BELL, "2048"], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert (done.returncode, done.stdout) == (0, "alive\n"), done.stderr


def daemon_process() -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", PROCESS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


# -- other config repos ----------------------------------------------------------------------------------


def test_what_is_asked_for_while_it_pauses_is_kept() -> None:
    shop = Cycles()
    with Running(shop) as running:
        shop.done(1)
        assert running.daemon.pause(HOUR) == ()
        running.daemon.wake("shop", frozenset({WEB}), trigger="event")
        running.daemon.wake("shop", frozenset({API}), trigger="event")
        running.daemon._tick("shop")
        assert len(shop.wakes) == 1
        running.daemon.resume()
        assert shop.done(2)[1] == Wake("interval", frozenset({WEB, API}))


def test_it_pauses_no_longer_than_it_is_told_for_a_cycle_that_hangs() -> None:
    shop, other = Cycles(), Cycles("other")
    shop.gate.clear()
    with Running(shop, other) as running:
        shop.begun(1)
        running.until(lambda: len(running.reports) == 1)
        assert running.daemon.pause(timedelta(milliseconds=50)) == ("shop",)
        running.daemon.wake("shop", frozenset({WEB}))
        shop.gate.set()
        shop.done(1)
        assert running.daemon.pause(HOUR) == ()
        running.daemon.resume()
        assert shop.done(2)[1] == Wake("request", frozenset({WEB}))


def test_one_that_hangs_is_held_for_a_config_while_others_go_on() -> None:
    shop, other = Cycles(), Cycles("other")
    shop.gate.clear()
    with Running(shop, other) as running:
        shop.begun(1)
        running.until(lambda: len(running.reports) == 1)
        assert running.daemon.pause(timedelta(milliseconds=50)) == ("shop",)
        running.daemon.resume(but=("shop",))
        running.daemon.wake("shop", frozenset({WEB}))
        running.daemon.wake("other")
        other.done(2)
        shop.gate.set()
        running.until(lambda: len(running.reports) == 3)
        running.daemon.wake("shop", frozenset({API}))
        running.daemon.wake("other")
        other.done(3)
        assert len(shop.wakes) == 1
        until(lambda: running.daemon.running_since("shop") is None, "the end of its turn")
        running.daemon.resume()
        assert shop.done(2)[1] == Wake("request", frozenset({WEB, API}))


def test_a_config_repo_that_begins_anew_stays_ready() -> None:
    shop = Cycles()
    with Running(shop) as running:
        running.until(lambda: len(running.reports) == 1)
        running.daemon.pause(HOUR)
        shop.gate.clear()
        running.daemon.resume({"shop": RepoJob(HOUR, shop.run)}, renewed=("shop",))
        shop.begun(2)
        assert running.daemon.unready() == ()
        shop.gate.set()


def test_config_repos_that_are_new_begin_and_those_that_are_gone_end() -> None:
    shop, old, new = Cycles("shop"), Cycles("old"), Cycles("new")
    with Running(shop, old) as running:
        running.until(lambda: len(running.reports) == 2)
        running.daemon.pause(HOUR)
        running.daemon.wake("shop", frozenset({WEB}), trigger="event")
        jobs = {c.repo: RepoJob(HOUR, c.run) for c in (shop, new)}
        running.daemon.resume(jobs, renewed=("shop",))
        assert new.done(1)[0].trigger == "startup"
        assert shop.done(2)[1] == Wake("startup", frozenset({WEB}))
        with pytest.raises(KeyError):
            running.daemon.wake("old")
        running.until(lambda: len(running.reports) == 4)
        assert running.daemon.unready() == ()
    assert len(old.wakes) == 1


def test_first_cycles_of_many_do_not_all_begin_at_once() -> None:
    many = [Cycles(f"repo{number}") for number in range(8)]
    with Running(*many) as running:
        running.until(lambda: len(running.reports) == 8)
    begun = sorted(one.started_at for one in running.reports)
    assert begun[-1] - begun[0] > timedelta(milliseconds=500)


def test_what_cannot_be_done_is_tried_less_often_but_when_somebody_asks() -> None:
    def answer(wake: Wake) -> Report:
        return replace(report("shop", wake), error=reason("git/unreachable", url="x", words="y"))

    shop, other = Cycles(answer=answer), Cycles("other")
    with Running(shop, other, interval=SOON, monotonic=lambda: 0.0) as running:
        shop.done(3)
        other.done(len(other.wakes) + 4)
        assert len(shop.wakes) == 3
        running.daemon.wake("shop")
        assert shop.done(4)[3].trigger == "request"
