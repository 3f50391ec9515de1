"""Token services and other places to which a registry sends us: their limits and outages are their own."""

from __future__ import annotations

import base64
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from parts.certificates import make_ca
from parts.registry import (
    PASSWORD,
    PLAIN,
    USER,
    Behaviour,
    HostileServer,
    Received,
    Reply,
    always,
    json_reply,
    refusal,
    wait_until,
)

from automator.core.reference import Repository
from automator.edges.http import Outside, is_global, literal
from automator.edges.registry import (
    Breaker,
    HostResting,
    HostSettings,
    PasswordFile,
    RateLimited,
    RegistryClient,
    Standing,
)
from automator.edges.registry.auth import Token, TokenCache, TokenService, parse_challenges
from automator.edges.registry.credentials import TOKEN_USER, Credential, Secret
from automator.edges.registry.hosts import Hosts
from automator.errors import RegistryError

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
TAGS = json_reply({"tags": ["1.0.0"]})

Hostile = Callable[[Behaviour], HostileServer]


class Clock:
    """A monotonic clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@contextmanager
def client_of(*hosts: str, settings: HostSettings = PLAIN, clock: Clock) -> Iterator[RegistryClient]:
    client = RegistryClient(dict.fromkeys(hosts, settings), clock=clock)
    try:
        yield client
    finally:
        client.close()


class Registry:
    """A registry whose token service, at `realm`, answers `tokens`."""

    def __init__(self, tokens: Reply, realm: str = "/token") -> None:
        self.tokens = tokens
        self.realm = realm
        self.own: Reply | None = None
        """What the registry answers to everything."""

    def __call__(self, request: Received) -> Reply:
        if request.path == "/token":
            return self.tokens
        if self.own is not None:
            return self.own
        if request.headers.get("authorization", "").startswith("Bearer "):
            return TAGS
        return Reply(401, b"", {"WWW-Authenticate": f'Bearer realm="{self.realm}",service="s"'})


def tags(client: RegistryClient, host: str, name: str) -> RegistryError | tuple[str, ...]:
    try:
        return tuple(client.tags(Repository(host, name), now=NOW).tags)
    except RegistryError as e:
        return e


def asked(server: HostileServer, path: str = "/token") -> int:
    return sum(r.path == path for r in server.received)


def nobodys_place() -> str:
    """Where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"127.0.0.1:{listener.getsockname()[1]}"


def standing(client: RegistryClient, host: str) -> Standing:
    return next(s for s in client.standings if s.host == host)


# -- limits -----------------------------------------------------------------------------------------


def test_a_token_service_that_wants_fewer_requests_gets_none_until_its_time_is_over(
    hostile: Hostile,
) -> None:
    clock, registry = Clock(), Registry(Reply(429, b"", {"Retry-After": "3600"}))
    server = hostile(registry)
    with client_of(server.host, clock=clock) as client:
        for _ in range(2):
            for number in range(20):
                error = tags(client, server.host, f"acme/r{number}")
                assert isinstance(error, RateLimited)
                assert error.retry_after == 3600
        assert asked(server) == 1
        assert len(server.received) == 2
        assert standing(client, server.host).wait == 3600
        clock.now += 3601
        registry.tokens = json_reply({"token": "t"})
        assert tags(client, server.host, "acme/r1") == ("1.0.0",)


def test_a_429_of_a_token_service_without_a_time_is_believed_longer_each_time(hostile: Hostile) -> None:
    clock = Clock()
    server = hostile(Registry(Reply(429)))
    waits = []
    with client_of(server.host, clock=clock) as client:
        for _ in range(4):
            error = tags(client, server.host, "acme/web")
            assert isinstance(error, RateLimited)
            assert error.retry_after is not None
            waits.append(error.retry_after)
            clock.now += error.retry_after + 1
    assert asked(server) == 4
    assert waits[3] > 2 * waits[0]


@pytest.mark.parametrize("status", [502, 503, 504])
def test_an_outage_whose_end_the_registry_tells_is_waited_for(hostile: Hostile, status: int) -> None:
    clock = Clock()
    server = hostile(always(Reply(status, b"", {"Retry-After": "120"})))
    with client_of(server.host, clock=clock) as client:
        for _ in range(3):
            error = tags(client, server.host, "acme/web")
            assert isinstance(error, RateLimited)
            assert error.retry_after == 120
        assert len(server.received) == 1
        clock.now += 121
        server.behave = always(TAGS)
        assert tags(client, server.host, "acme/web") == ("1.0.0",)


# -- outages ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [500, 503])
def test_a_token_service_that_is_out_of_order_is_left_alone_ever_longer(
    hostile: Hostile, status: int
) -> None:
    clock = Clock()
    server = hostile(Registry(Reply(status)))
    with client_of(server.host, clock=clock) as client:
        errors = [tags(client, server.host, f"acme/r{number}") for number in range(20)]
        assert asked(server) == 3
        assert len(server.received) == 4  # and the registry, that told of it
        rests = [errors[-1]]
        assert standing(client, server.host).breaker is Breaker.OPEN
        for _ in range(3):
            assert isinstance(rests[-1], HostResting)
            clock.now += rests[-1].retry_after + 1
            tags(client, server.host, "acme/r1")
            rests.append(tags(client, server.host, "acme/r2"))
        assert asked(server) == 6
        assert isinstance(rests[0], HostResting)
        assert isinstance(rests[-1], HostResting)
        assert rests[-1].retry_after > 2 * rests[0].retry_after


def test_a_token_service_that_moved_while_the_old_place_fails_is_found(hostile: Hostile) -> None:
    registry, clock = Registry(Reply(503), realm="/token"), Clock()
    server = hostile(registry)
    other = hostile(always(json_reply({"token": "t"})))
    with client_of(server.host, other.host, clock=clock) as client:
        for number in range(4):
            assert isinstance(tags(client, server.host, f"acme/r{number}"), RegistryError)
        registry.realm = f"http://{other.host}/new"
        clock.now += 400
        assert tags(client, server.host, "acme/r1") == ("1.0.0",)


def test_a_token_service_of_one_repository_does_not_stop_the_others(hostile: Hostile) -> None:
    """As JFrog: each registry of the host has a token service of its own, and one is gone."""
    gone = nobodys_place()

    def behave(request: Received) -> Reply:
        if request.path == "/token":
            return json_reply({"token": "t"})
        if "/good/" in request.path and "authorization" in request.headers:
            return TAGS
        realm = f"http://{gone}/token" if "/bad/" in request.path else "/token"
        return Reply(401, b"", {"WWW-Authenticate": f'Bearer realm="{realm}",service="s"'})

    server, clock = hostile(behave), Clock()
    with client_of(server.host, settings=replace(PLAIN, connect_timeout=0.5), clock=clock) as client:
        for number in range(6):
            error = tags(client, server.host, f"bad/r{number}")
            assert isinstance(error, RegistryError)
            assert gone in str(error)
            assert tags(client, server.host, f"good/r{number}") == ("1.0.0",)
        assert isinstance(error, HostResting)
        assert standing(client, server.host).breaker is Breaker.CLOSED


def test_a_token_service_out_of_order_is_not_taken_for_that_of_others(hostile: Hostile) -> None:
    def behave(request: Received) -> Reply:
        if request.path.startswith("/token"):
            return Reply(500) if request.path.endswith("bad") else json_reply({"token": "t"})
        if request.headers.get("authorization", "").startswith("Bearer "):
            return TAGS
        namespace = request.path.split("/")[2]
        return Reply(401, b"", {"WWW-Authenticate": f'Bearer realm="/token/{namespace}",service="s"'})

    server = hostile(behave)
    with client_of(server.host, clock=Clock()) as client:
        for number in range(5):
            assert isinstance(tags(client, server.host, f"bad/r{number}"), RegistryError)
        assert tags(client, server.host, "good/web") == ("1.0.0",)


def test_a_storage_that_is_gone_is_no_outage_of_the_registry(hostile: Hostile) -> None:
    gone = nobodys_place()

    def behave(request: Received) -> Reply:
        if "/bad" in request.path:
            return Reply(307, b"", {"Location": f"http://{gone}/bucket"})
        return TAGS

    server = hostile(behave)
    with client_of(server.host, gone, settings=replace(PLAIN, connect_timeout=0.5), clock=Clock()) as client:
        for number in range(5):
            error = tags(client, server.host, f"acme/bad{number}")
            assert isinstance(error, RegistryError)
        assert gone in str(error)
        assert tags(client, server.host, "acme/web") == ("1.0.0",)
        assert standing(client, server.host).breaker is Breaker.CLOSED


def test_a_host_that_is_back_counts_as_well_whatever_its_token_service_says(hostile: Hostile) -> None:
    registry, clock = Registry(json_reply({"token": "t", "expires_in": 60})), Clock()
    server = hostile(registry)
    with client_of(server.host, clock=clock) as client:
        registry.own = Reply(500)
        for number in range(4):
            tags(client, server.host, f"acme/r{number}")
        assert standing(client, server.host).breaker is Breaker.OPEN
        registry.own, registry.tokens = None, Reply(403)
        clock.now += 400
        error = tags(client, server.host, "acme/r1")
        assert isinstance(error, RegistryError)
        assert error.reason.code == "registry/denied"
        assert standing(client, server.host).breaker is Breaker.CLOSED


def test_a_host_that_was_down_is_asked_before_its_token_service(hostile: Hostile) -> None:
    registry, clock = Registry(json_reply({"token": "t", "expires_in": 60})), Clock()
    server = hostile(registry)
    with client_of(server.host, clock=clock) as client:
        assert tags(client, server.host, "acme/web") == ("1.0.0",)
        registry.own = Reply(500)
        for number in range(4):
            tags(client, server.host, f"acme/r{number}")
        registry.own, registry.tokens = None, Reply(403)
        clock.now += 400
        before = len(server.received)
        assert isinstance(tags(client, server.host, "acme/other"), RegistryError)
        assert [r.path for r in server.received[before:]] == ["/v2/acme/other/tags/list", "/token"]
        assert standing(client, server.host).breaker is Breaker.CLOSED


def test_those_who_wait_for_a_token_share_its_failure() -> None:
    cache, service = TokenCache(), TokenService("https://auth.example/token", "s")
    refusals = []
    may_end = threading.Event()

    def fetch() -> Token:
        refusals.append(1)
        may_end.wait(20)
        raise ValueError("no")

    def ask() -> object:
        idents.append(threading.get_ident())
        return cache.get((service, "x", None), fetch)

    idents: list[int] = []
    with ThreadPoolExecutor(8) as threads:
        asking = [threads.submit(ask) for _ in range(8)]
        wait_until(lambda: len(idents) == 8 and all(map(_waits, idents)), "eight threads that wait")
        may_end.set()
        assert all(isinstance(one.exception(20), ValueError) for one in asking)
    assert len(refusals) == 1


def _waits(ident: int) -> bool:
    frame = sys._current_frames().get(ident)
    return frame is not None and frame.f_code.co_name == "wait"


def test_a_failure_that_is_shared_names_the_repository_of_each(hostile: Hostile) -> None:
    registry = Registry(Reply(403))
    registry.realm = '/token",scope="aws'
    server = hostile(registry)
    with client_of(server.host, clock=Clock()) as client, ThreadPoolExecutor(6) as threads:
        errors = list(threads.map(lambda n: tags(client, server.host, f"acme/r{n}"), range(6)))
    for number, error in enumerate(errors):
        assert f"acme/r{number}" in str(error)


# -- what is learnt ---------------------------------------------------------------------------------


def test_paths_with_basic_and_paths_with_tokens_on_one_host_are_learnt_once_each(
    hostile: Hostile, tmp_path: Path
) -> None:
    (tmp_path / "password").write_text(PASSWORD)

    def behave(request: Received) -> Reply:
        if request.path == "/token":
            return json_reply({"token": "t", "expires_in": 300})
        wanted, challenge = ("Bearer ", 'Bearer realm="/token",service="s"')
        if "/basic" in request.path:
            wanted, challenge = ("Basic ", 'Basic realm="x"')
        if request.headers.get("authorization", "").startswith(wanted):
            return TAGS
        return Reply(401, b"", {"WWW-Authenticate": challenge})

    server = hostile(behave)
    settings = replace(PLAIN, credentials=PasswordFile(USER, str(tmp_path / "password")))
    names = ("basic/web", "tokens/web", "mixed/basic", "mixed/tokens")
    with client_of(server.host, settings=settings, clock=Clock()) as client:
        for name in (*names, *names):
            assert tags(client, server.host, name) == ("1.0.0",)
        before = len(server.received)
        for _ in range(2):
            for name in names:
                assert tags(client, server.host, name) == ("1.0.0",)
        assert len(server.received) == before + 8


@pytest.mark.parametrize("user", [TOKEN_USER, "robot"])
def test_an_identity_token_is_a_password_only_of_a_named_user(
    hostile: Hostile, tmp_path: Path, user: str
) -> None:
    class Source:
        def find(self, host: str, path: str = "") -> Credential | None:
            return Credential(user, "identity", Secret.IDENTITY)

        def forget(self, host: str) -> None: ...

        def describe(self, host: str, path: str = "") -> str:
            return "an identity token"

    def behave(request: Received) -> Reply:
        if request.path == "/token":
            return Reply(404) if request.method == "POST" else json_reply({"token": "t"})
        return registry(request)

    registry = Registry(Reply(404))
    server, clock = hostile(behave), Clock()
    with client_of(server.host, settings=replace(PLAIN, credentials=Source()), clock=clock) as client:
        for name in ("a/b", "c/d"):
            tags(client, server.host, name)
    methods = [r.method for r in server.received if r.path == "/token"]
    assert methods == (["POST", "GET", "GET"] if user == "robot" else ["POST", "POST"])
    logins = {r.headers.get("authorization") for r in server.received if r.path == "/token"}
    robot = "Basic " + base64.b64encode(b"robot:identity").decode()
    assert logins == ({None, robot} if user == "robot" else {None})


def test_a_service_that_refused_the_form_is_asked_again_by_it_after_an_hour() -> None:
    clock = Clock()
    cache = TokenCache(clock)
    cache.refuses_post("https://auth.example/token")
    assert not cache.takes_post("https://auth.example/token")
    clock.now += 3601
    assert cache.takes_post("https://auth.example/token")


# -- what cannot be read ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "realm",
    [
        "https://[x/token",
        "//[x",
        "https://127.0.0.1:port/token",
        "https://127.0.0.1:99999/token",
        "https://a" + "b" * 5000,
    ],
)
def test_a_realm_that_is_no_address_is_none(hostile: Hostile, realm: str) -> None:
    challenge = f'Bearer realm="{realm}",service="s"'
    server = hostile(always(Reply(401, b"", {"WWW-Authenticate": challenge})))
    with client_of(server.host, clock=Clock()) as client:
        error = tags(client, server.host, "acme/web")
    assert isinstance(error, RegistryError)
    assert error.reason.code == "registry/denied"
    assert len(server.received) == 1


def test_the_fragment_of_a_realm_is_not_sent_and_does_no_harm(hostile: Hostile) -> None:
    registry = Registry(json_reply({"token": "good"}), realm="/token?a=b#x=%20")
    server = hostile(registry)
    with client_of(server.host, clock=Clock()) as client:
        assert tags(client, server.host, "acme/web") == ("1.0.0",)
        told = client.describe_credentials(Repository(server.host, "acme/web"))
        assert told.endswith("/token?a=b")
        registry.realm = "/token?a=b#y"  # the same service
        assert tags(client, server.host, "acme/api") == ("1.0.0",)
    first, second = [r.query for r in server.received if r.path == "/token"]
    assert first == {"a": "b", "service": "s", "scope": "repository:acme/web:pull", "client_id": "automator"}
    assert second["scope"] == "repository:acme/api:pull"
    assert not any("#" in f"{r.path}{r.query}" or "x=" in f"{r.path}{r.query}" for r in server.received)
    assert len(server.received) == 5, "the second repository asks the service that is known"


def test_a_challenge_is_read_as_far_as_a_header_reasonably_goes() -> None:
    header = "Bearer " + 'a="b",' * 20_000 + 'Basic realm="x"'
    (only,) = parse_challenges(header)
    assert only.scheme == "bearer"
    assert len(only.params) < 3_000


@pytest.mark.parametrize("when", ["Mon, 01 Jan 99999999999999999999 00:00:00 GMT", "9" * 5000, "soon", "-5"])
def test_a_time_that_cannot_be_read_is_none(hostile: Hostile, when: str) -> None:
    server = hostile(always(Reply(429, b"", {"Retry-After": when})))
    with client_of(server.host, clock=Clock()) as client:
        error = refusal(lambda: client.tags(Repository(server.host, "acme/web"), now=NOW))
    assert isinstance(error, RateLimited)
    assert error.retry_after is not None
    assert error.retry_after <= 24 * 3600


# -- whom one host may send us to -------------------------------------------------------------------


def test_a_host_that_nobody_declared_leads_nowhere_inside() -> None:
    hosts = Hosts({"registry.internal:5000": HostSettings(), "docker.io": HostSettings()}, Outside())
    inside, outside = literal("10.0.0.5"), literal("93.184.216.34")
    assert inside is not None
    assert outside is not None
    url = "https://registry.internal:5000/x"
    stranger = hosts.way(hosts.get("stranger.example"), url).allowed
    assert not stranger(inside)
    assert stranger(outside) == is_global(outside)
    assert hosts.way(hosts.get("registry.internal:5000"), url).allowed(inside)
    hosts.close()


def test_a_client_certificate_is_shown_only_on_behalf_of_its_host(tmp_path: Path) -> None:
    files = make_ca(tmp_path).issue(["client"], client=True)
    settings = HostSettings(client_cert_file=str(files.cert_file), client_key_file=str(files.key_file))
    hosts = Hosts({"registry.internal:443": settings, "docker.io": HostSettings()}, Outside())
    for url in ("https://registry.internal/x", "https://REGISTRY.internal:443/x"):
        assert hosts.way(hosts.get("registry.internal:443"), url).trust.cert_file == str(files.cert_file)
        assert hosts.way(hosts.get("docker.io"), url).trust.cert_file is None
        assert hosts.way(hosts.get("stranger.example"), url).trust.cert_file is None
    hosts.close()


def test_a_place_written_otherwise_is_the_same_place(hostile: Hostile, tmp_path: Path) -> None:
    """A login goes on to the same scheme, host and port, however a redirect writes them."""
    (tmp_path / "password").write_text(PASSWORD)

    def behave(request: Received) -> Reply:
        if "authorization" not in request.headers:
            return Reply(401, b"", {"WWW-Authenticate": 'Basic realm="x"'})
        if request.path == "/list":
            return TAGS
        return Reply(307, b"", {"Location": f"HTTP://LocalHost:{server.port}/list"})

    server = hostile(behave)
    settings = replace(PLAIN, credentials=PasswordFile(USER, str(tmp_path / "password")))
    with client_of(server.other_name, settings=settings, clock=Clock()) as client:
        assert tags(client, server.other_name, "acme/web") == ("1.0.0",)
    assert server.received[-1].path == "/list"
