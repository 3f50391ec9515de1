"""Who is waited for how long: one host that hangs costs no other one its answers, and hangs not for ever."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from parts.platforms import push_platforms
from parts.registry import HostileServer, Received, Reply, json_reply, wait_until
from parts.stage import Stage

from automator.core.facts import Unavailable
from automator.core.reference import Repository, parse_repository
from automator.cycle.asking import Asking
from automator.cycle.run import Trigger
from automator.edges.registry import RateLimited, RegistryClient
from automator.reasons import Status

DUE = Trigger("interval")
MINUTE = timedelta(minutes=1)
NOW = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
PATIENCE = 20
SICK, FINE = Repository("sick.test", "acme/web"), Repository("fine.test", "acme/web")


class Scene:
    """Two hosts with lanes of their own, of which one answers when it is let."""

    def __init__(self, timeout: float) -> None:
        self.client = RegistryClient({})
        self.asking = Asking(self.client, timeout)
        self.may_answer = threading.Event()
        self.answered = threading.Semaphore(0)

    def ask(self, *repositories: Repository, kind: str = "image") -> list[str]:
        """Those that have answered, by the part of their host before the dot."""

        def act(repository: Repository, _: str) -> str:
            if repository.registry == SICK.registry:
                assert self.may_answer.wait(PATIENCE)
                self.answered.release()
            return repository.registry.partition(".")[0]

        found = self.asking.ask(kind, [(r, "") for r in repositories], act)
        for repository in repositories:
            self.asking.drop(kind, repository, "")
        return [answer for answer in found.values() if isinstance(answer, str)]


@contextmanager
def scene(timeout: float) -> Iterator[Scene]:
    made = Scene(timeout)
    with closing(made.client):
        try:
            yield made
        finally:
            made.may_answer.set()


def test_a_host_that_hangs_takes_no_later_rounds_time() -> None:
    with scene(2.0) as mine:
        mine.asking.begin(NOW)
        for _ in range(30):  # were it waited for in each, nothing would be left after a few
            assert mine.ask(SICK, FINE) == ["fine"]
        assert mine.asking.left > 0


def test_a_host_that_has_recovered_is_waited_for_again_in_the_next_cycle() -> None:
    with scene(1.0) as mine:
        mine.asking.begin(NOW)
        assert mine.ask(SICK, FINE) == ["fine"]
        mine.may_answer.set()
        assert mine.answered.acquire(timeout=PATIENCE)
        for _ in range(3):
            mine.asking.begin(NOW)
            assert mine.ask(SICK) == ["sick"]
            assert mine.ask(SICK, FINE) == ["sick", "fine"]


def test_without_a_word_between_a_recovered_host_gets_a_little_time_too() -> None:
    """Its late question failed for good: only a new one can tell that it is well."""
    with scene(2.0) as mine:

        def fails(_: Repository, __: str) -> str:
            assert mine.may_answer.wait(PATIENCE)
            mine.answered.release()
            raise RuntimeError("broke off")

        mine.asking.begin(NOW)
        (late,) = mine.asking.ask("image", [(SICK, "")], fails).values()
        assert isinstance(late, Unavailable)
        mine.asking.drop("image", SICK, "")
        mine.may_answer.set()
        assert mine.answered.acquire(timeout=PATIENCE)
        mine.asking.begin(NOW)
        assert mine.ask(SICK) == ["sick"]


def test_the_seconds_told_are_those_that_a_host_was_waited_for() -> None:
    with scene(2.0) as mine:

        def hangs(_: Repository, __: str) -> str:
            assert mine.may_answer.wait(PATIENCE)
            return ""

        def told(kind: str) -> str:
            (late,) = mine.asking.ask(kind, [(SICK, "")], hangs, share=0.4).values()
            assert isinstance(late, Unavailable)
            assert late.waiting
            return late.reason.sentence

        ended = "has not answered; this cycle waited {} seconds for it"
        mine.asking.begin(NOW)
        assert told("tags").endswith(ended.format("0.8")), "its share of the two seconds"
        assert told("image").endswith(ended.format("0")), "it was late in this cycle"
        mine.asking.begin(NOW)
        assert told("tags").endswith(ended.format("0")), "on its way from an earlier cycle"
        mine.asking.drop("tags", SICK, "")
        assert told("tags").endswith(ended.format("0.4")), "a brief time for one that was late before"


def test_what_a_host_wanted_is_counted_from_when_it_said_so() -> None:
    with scene(0.2) as mine:

        def limited(repository: Repository, _: str) -> str:
            assert mine.may_answer.wait(PATIENCE)
            raise RateLimited(repository, "HTTP 429", 100.0)

        mine.asking.begin(NOW)
        mine.asking.ask("tags", [(SICK, "")], limited)
        held: Future[None] = mine.client.submit(SICK.registry, lambda: None)
        mine.may_answer.set()
        held.result(PATIENCE)
        wait_until(lambda: all(f.future.done() for f in mine.asking._flying.values()), "the late answer")
        later = NOW + timedelta(hours=1)
        mine.asking.begin(later)
        (answer,) = mine.asking.ask("tags", [(SICK, "")], limited).values()
        assert isinstance(answer, Unavailable)
        assert answer.reason.changes_at is not None
        assert answer.reason.changes_at <= later + timedelta(seconds=100)


# -- in whole cycles --------------------------------------------------------------------------------


@contextmanager
def hanging(stage: Stage, hangs: Callable[[Received], bool]) -> Iterator[HostileServer]:
    """A registry that keeps some answers back until the end."""
    over = threading.Event()

    def behave(received: Received) -> Reply:
        if hangs(received):
            assert over.wait(30)
            return Reply(404)
        return json_reply({"tags": ["1.0.0", "1.0.1"]})

    with HostileServer(behave) as server:
        stage.insecure.add(server.host)
        try:
            yield server
        finally:
            over.set()


def test_a_host_that_hangs_leaves_others_the_time_for_many_rounds(stage: Stage) -> None:
    stage.observe_timeout = "2s"
    with hanging(stage, lambda received: "manifests" in received.path) as server:
        for i in range(2):
            push_platforms(stage.host, "acme/fine", f"1.0.{i}", "linux/amd64")
        for i in range(2, 6):  # each costs a round of its own
            push_platforms(stage.host, "acme/fine", f"1.0.{i}", "linux/arm64")
        stage.commit(stage.workload("hangs", "1.0.0", host=server.host))
        keys = 'semver: ">=1.0 <2"\nplatforms: [linux/amd64]'
        stage.commit(stage.workload("fine", "1.0.0", keys=keys))
        found = stage.outcomes(trigger=DUE)
        assert found["fine"].status is Status.RELEASED
        assert stage.image_of("fine").startswith("fine:1.0.1@")
        assert (found["hangs"].status, found["hangs"].reason.code) == (Status.WAITING, "registry/late")
        push_platforms(stage.host, "acme/fine", "1.0.7", "linux/amd64")
        found = stage.outcomes(trigger=DUE)
        assert found["fine"].status is Status.RELEASED
        assert stage.image_of("fine").startswith("fine:1.0.7@")


@pytest.mark.parametrize("others_lag", [0.0, 0.2])
def test_one_hiccup_does_not_make_a_host_late_for_ever(stage: Stage, others_lag: float) -> None:
    """Its lists come before those of a registry that is not as quick."""
    hiccup = threading.Event()
    stage.observe_timeout = "1s"

    def answer(received: Received) -> Reply:
        if "manifests" in received.path:
            assert hiccup.wait(30)
            return Reply(404)
        return json_reply({"tags": ["1.0.0", "1.0.1"]})

    def other(_: Received) -> Reply:
        threading.Event().wait(others_lag)
        return json_reply({"tags": ["1.0.0"]})

    with HostileServer(answer) as server, HostileServer(other) as beside:
        stage.insecure |= {server.host, beside.host}
        stage.commit(stage.workload("web", "1.0.0", host=server.host))
        stage.commit(stage.workload("beside", "1.0.0", host=beside.host))
        assert stage.outcomes(trigger=DUE)["web"].reason.code == "registry/late"
        hiccup.set()
        for _ in range(3):
            stage.now += MINUTE
            found = stage.outcomes(trigger=Trigger("startup", all_due=True))
            assert found["web"].reason.code == "tag/gone"  # it was asked, and has answered


def test_an_event_is_never_answered_with_a_list_from_before_the_push(stage: Stage) -> None:
    may_answer = threading.Event()
    tags = ["1.0.0"]
    is_late = False

    def behave(received: Received) -> Reply:
        if "tags" not in received.path:
            return Reply(404)
        told = json_reply({"tags": list(tags)})
        if is_late:
            assert may_answer.wait(30)
        return told

    stage.observe_timeout = "1s"
    with HostileServer(behave) as server:
        stage.insecure.add(server.host)
        stage.commit(stage.workload("web", "1.0.0", host=server.host))
        assert stage.outcomes(trigger=DUE)["web"].status is Status.CURRENT
        is_late = True
        stage.now += MINUTE
        stage.outcomes(trigger=DUE)
        asked = len(server.received)
        is_late = False
        may_answer.set()
        tags.append("1.0.1")
        named = frozenset({parse_repository(f"{server.host}/acme/web")})
        found = stage.outcomes(trigger=Trigger("event", named=named, patience=MINUTE))["web"]
        assert found.target == "1.0.1" or found.reason.code == "tag/gone"
        assert [r for r in server.received[asked:] if "tags" in r.path]


def test_a_turn_that_comes_some_milliseconds_early_is_not_missed(stage: Stage) -> None:
    """The least time between two lists is the daemon's own interval, and no timer is exact."""
    stage.registries[stage.host] = {"interval": "5m"}
    stage.push("acme/web", "1.0.0")
    stage.commit(stage.workload("web", "1.0.0"))
    begin = stage.now
    for i in range(10):
        stage.now = begin + timedelta(minutes=5 * i) - timedelta(milliseconds=3 * i)
        stage.outcomes(trigger=DUE)
    assert sum("tags/list" in line and line.startswith("GET") for line in stage.registry.log) == 10
