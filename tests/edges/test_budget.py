"""What may be sent to a registry: the rate, the limits it tells, and a host that is down."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from parts.registry import PLAIN, HostileServer, Reply, json_reply, refusal
from requests.structures import CaseInsensitiveDict

from automator.core.reference import parse_repository
from automator.edges.registry import Breaker, HostResting, RateLimited, RegistryClient
from automator.edges.registry.budget import Budget, Told, told_limit

pytestmark = pytest.mark.slow  # much of it waits: together they take minutes

T = TypeVar("T")
NOW = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)


class Clock:
    """A monotonic clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@contextmanager
def client(server: HostileServer, clock: Clock) -> Iterator[RegistryClient]:
    with closing(RegistryClient({server.host: PLAIN}, clock=clock)) as registry:
        yield registry


def budget(clock: Clock, rate: float = 10.0, concurrency: int = 4) -> Budget:
    return Budget("registry.test", rate, concurrency, clock, lambda: 0.5)


def on_another_thread(act: Callable[[], T]) -> T:
    """Questions run on threads of their own."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(act).result()


# -- the rate -----------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(1, 30)), max_size=60))
def test_no_more_is_begun_than_the_rate_and_one_burst(steps: list[tuple[float, int]]) -> None:
    clock = Clock()
    mine, begun, start = budget(clock), 0, clock.now
    for seconds, wanted in steps:
        clock.now += seconds
        for _ in range(wanted):
            if mine.wait() == 0:
                mine.spend()
                begun += 1
    assert begun <= 50 + 10.0 * (clock.now - start) + 1e-6


def test_a_debt_of_many_pages_is_paid_before_the_next_call() -> None:
    clock = Clock()
    mine = budget(clock)
    for _ in range(70):  # one call with many pages; 50 were saved
        mine.spend()
    assert mine.wait() == pytest.approx(2.1)
    clock.now += 2.1 + 1e-9
    assert mine.wait() == 0


# -- what it tells --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "told"),
    [
        (
            {"RateLimit-Limit": "100;w=21600", "RateLimit-Remaining": "76;w=21600"},
            Told(100, 76, 216.0, True),
        ),
        (
            {"RateLimit-Limit": "60", "RateLimit-Remaining": "0", "RateLimit-Reset": "30"},
            Told(60, 0, 30, False),
        ),
        ({"RateLimit": '"default";r=0;t=17'}, Told(None, 0, 17, False)),
        (
            {
                "X-RateLimit-Limit": "5000",
                "X-RateLimit-Remaining": "3",
                "X-RateLimit-Reset": "1795255260",
                "Date": "Sat, 21 Nov 2026 10:00:00 GMT",
            },
            Told(5000, 3, 60, False),
        ),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "99999999999999"}, Told(None, 0, 60, False)),
        ({"RateLimit": '"burst";r=0;t=30, "daily";r=900;t=7200'}, Told(None, 0, 30, False)),
        ({"RateLimit": '"daily";r=0;t=7200, "burst";r=0;t=30'}, Told(None, 0, 7200, False)),
        ({"RateLimit": '"a, r=7;t=1";r=3;t=4;cost=9'}, Told(None, 3, 4, False)),
        ({"RateLimit": "limit=100, remaining=0, reset=30"}, Told(100, 0, 30, False)),
        ({"RateLimit": '"x";cost=0;limitless=1'}, None),
        ({"RateLimit-Remaining": "many"}, None),
        ({"RateLimit": "x" * 5000}, None),
        ({"RateLimit-Remaining": "-1"}, None),
        ({}, None),
    ],
)
def test_limits_are_read_as_they_are_written(headers: dict[str, str], told: Told | None) -> None:
    assert told_limit(CaseInsensitiveDict(headers)) == told


@given(st.dictionaries(st.sampled_from(["RateLimit", "RateLimit-Remaining", "RateLimit-Reset"]), st.text()))
def test_no_header_can_stop_a_host_for_more_than_a_day(headers: dict[str, str]) -> None:
    told = told_limit(CaseInsensitiveDict(headers))
    assert told is None or 0 <= told.wait <= 24 * 3600


def test_where_nothing_is_left_nothing_is_sent_until_it_is_renewed() -> None:
    def behave(_: object) -> Reply:
        return json_reply({"tags": ["1"]}, RateLimit_Remaining="0", RateLimit_Reset="30")

    clock = Clock()
    with HostileServer(behave) as server, client(server, clock) as registry:
        repository = parse_repository(f"{server.host}/acme/web")
        registry.tags(repository, now=NOW)
        error = refusal(lambda: registry.tags(repository, now=NOW))
        assert isinstance(error, RateLimited)
        assert error.retry_after == pytest.approx(30)
        assert len(server.received) == 1
        assert registry.standings[0].remaining == 0
        clock.now += 31
        registry.tags(repository, now=NOW)
        assert len(server.received) == 2


def test_docker_hubs_limit_is_of_pulls_and_stops_nothing_else() -> None:
    digest = f"sha256:{'a' * 64}"

    def behave(received: object) -> Reply:
        if "manifests" in getattr(received, "path", ""):
            more = {"RateLimit-Limit": "100;w=21600", "RateLimit-Remaining": "0;w=21600"}
            return Reply(200, b"", {"Docker-Content-Digest": digest, **more})
        return json_reply({"tags": ["1"]})

    with HostileServer(behave) as server, client(server, Clock()) as registry:
        repository = parse_repository(f"{server.host}/acme/web")
        assert registry.digest(repository, "1") == digest
        assert registry.digest(repository, "1") == digest  # a HEAD costs nothing there
        assert registry.tags(repository, now=NOW).tags == ("1",)
        before = len(server.received)
        assert isinstance(refusal(lambda: registry.image(repository, "1")), RateLimited)
        assert len(server.received) == before


def test_a_429_without_a_word_is_left_alone_for_longer_each_time() -> None:
    clock = Clock()
    with HostileServer(lambda _: Reply(429)) as server, client(server, clock) as registry:
        repository = parse_repository(f"{server.host}/acme/web")
        waits = []
        for _ in range(4):
            error = refusal(lambda: registry.tags(repository, now=NOW))
            assert isinstance(error, RateLimited)
            assert error.retry_after is not None
            waits.append(error.retry_after)
            clock.now += error.retry_after + 0.001
        assert waits[3] > 4 * waits[0]
        assert len(server.received) == 4


def test_the_unix_time_of_docker_hubs_own_api_is_understood() -> None:
    def behave(_: object) -> Reply:
        return Reply(429, b"", {"X-Retry-After": "99999999999"})

    with HostileServer(behave) as server, client(server, Clock()) as registry:
        error = refusal(lambda: registry.tags(parse_repository(f"{server.host}/acme/web"), now=NOW))
        assert isinstance(error, RateLimited)
        assert error.retry_after == 24 * 3600  # bounded


# -- a host that is down --------------------------------------------------------------------------------


def test_a_registry_that_is_down_for_an_hour_costs_a_few_dozen_requests_and_comes_back() -> None:
    clock = Clock()
    down = True

    def behave(_: object) -> Reply:
        return Reply(500) if down else json_reply({"tags": ["1"]})

    with HostileServer(behave) as server, client(server, clock) as registry:
        repositories = [parse_repository(f"{server.host}/acme/web-{i}") for i in range(20)]
        end = clock.now + 3600
        while clock.now < end:
            for repository in repositories:
                error = refusal(lambda repository=repository: registry.tags(repository, now=NOW))  # type: ignore[misc]
            clock.now += 1
        assert isinstance(error, HostResting)
        assert "HTTP 500" in error.reason.sentence
        assert error.reason_at(NOW).changes_at is not None
        assert len(server.received) < 50
        assert registry.standings[0].breaker is Breaker.OPEN
        down = False
        clock.now += 300
        for repository in repositories:
            assert registry.tags(repository, now=NOW).tags == ("1",)
        assert registry.standings[0].breaker is Breaker.CLOSED


@pytest.mark.parametrize("status", [401, 403, 404, 429])
def test_a_no_is_an_answer_and_no_failure(status: int) -> None:
    clock = Clock()
    with HostileServer(lambda _: Reply(status)) as server, client(server, clock) as registry:
        for i in range(10):
            refusal(lambda i=i: registry.tags(parse_repository(f"{server.host}/acme/web-{i}"), now=NOW))  # type: ignore[misc]
            clock.now += 400
        assert registry.standings[0].breaker is Breaker.CLOSED


def test_one_repository_that_fails_for_ever_stops_no_other() -> None:
    def behave(received: object) -> Reply:
        return Reply(500) if "broken" in getattr(received, "path", "") else json_reply({"tags": ["1"]})

    with HostileServer(behave) as server, client(server, Clock()) as registry:
        for _ in range(10):
            refusal(lambda: registry.tags(parse_repository(f"{server.host}/acme/broken"), now=NOW))
        assert registry.tags(parse_repository(f"{server.host}/acme/web"), now=NOW).tags == ("1",)


def test_nobody_listens_is_found_out_by_one_call() -> None:
    with HostileServer(lambda _: Reply(200)) as server:
        host = server.host
    clock = Clock()
    with closing(RegistryClient({host: PLAIN}, clock=clock)) as registry:
        repository = parse_repository(f"{host}/acme/web")
        assert refusal(lambda: registry.tags(repository, now=NOW)).reason.code == "registry/unreachable"
        assert refusal(lambda: registry.tags(repository, now=NOW)).reason.code == "registry/resting"
        sent = registry.requests[host]
        clock.now += 1000
        assert refusal(lambda: registry.tags(repository, now=NOW)).reason.code == "registry/unreachable"
        assert registry.requests[host] == sent + 1  # one probe, and no retry


def test_rests_grow_to_some_minutes_and_no_further() -> None:
    clock = Clock()
    mine = budget(clock)
    rests = []
    for _ in range(20):
        while mine.admit("tags", "GET") is None:
            mine.failed("acme/web", "refused", of_host=True)
        pause = mine.admit("tags", "GET")
        assert pause is not None
        rests.append(pause.seconds)
        clock.now += pause.seconds + 0.001
    assert rests == pytest.approx(sorted(rests))
    assert rests[0] == 2.0
    assert rests[-1] == pytest.approx(180)


def test_of_many_only_one_probes_at_a_time() -> None:
    clock = Clock()
    mine = budget(clock)
    for _ in range(3):
        mine.failed("acme/web", "refused", of_host=True)
    clock.now += 1000
    assert mine.width(8) == 1
    assert mine.admit("tags", "GET") is None
    assert on_another_thread(lambda: mine.admit("tags", "GET")) is not None
    assert mine.admit("tokens", "GET") is None  # what the probe needs is part of it
    mine.answered("tags")
    assert mine.width(8) == 8
    assert mine.admit("tags", "GET") is None


@pytest.mark.parametrize("number", [1, 2])
def test_a_host_of_few_repositories_that_only_fails_is_left_alone_too(number: int) -> None:
    clock = Clock()
    with HostileServer(lambda _: Reply(503)) as server, client(server, clock) as registry:
        repositories = [parse_repository(f"{server.host}/acme/web-{i}") for i in range(number)]
        for _ in range(3):
            for repository in repositories:
                refusal(lambda repository=repository: registry.tags(repository, now=NOW))  # type: ignore[misc]
            clock.now += 60
        assert registry.standings[0].problem == "HTTP 503"
        assert len(server.received) <= 5 * number  # three attempts at first, then one
        before = len(server.received)
        for _ in range(60):
            for repository in repositories:
                refusal(lambda repository=repository: registry.tags(repository, now=NOW))  # type: ignore[misc]
            clock.now += 60
        assert len(server.received) - before <= 30


def test_one_repository_that_fails_for_ever_beside_a_calm_one_stops_no_other() -> None:
    clock = Clock()

    def behave(received: object) -> Reply:
        return Reply(500) if "broken" in getattr(received, "path", "") else json_reply({"tags": ["1"]})

    with HostileServer(behave) as server, client(server, clock) as registry:
        broken, calm = (parse_repository(f"{server.host}/acme/{name}") for name in ("broken", "calm"))
        for _ in range(6):
            assert registry.tags(calm, now=NOW).tags == ("1",)
            for _ in range(5):  # each minute, and the calm one each five
                assert refusal(lambda: registry.tags(broken, now=NOW)).reason.code == "registry/server-error"
                clock.now += 60


def test_an_old_question_that_fails_is_not_taken_for_the_probe() -> None:
    clock = Clock()
    mine = budget(clock)
    may_end = threading.Event()

    def old() -> None:
        assert mine.admit("tags", "GET") is None
        begun.set()
        assert may_end.wait(20)
        mine.failed("acme/old", "timeout", of_host=False)

    begun = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        ended = pool.submit(old)
        assert begun.wait(20)
        for _ in range(3):
            mine.failed("acme/web", "refused", of_host=True)
        clock.now += 1000
        assert mine.admit("tags", "GET") is None
        may_end.set()
        ended.result()
    assert mine.standing().breaker is Breaker.PROBING  # it says nothing of how the host is now
    assert on_another_thread(lambda: mine.admit("tags", "GET")) is not None  # and frees nobody's place
    mine.answered("tags")
    assert mine.standing().breaker is Breaker.CLOSED
