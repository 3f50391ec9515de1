"""From the socket to the commit: what an event wakes, what it costs, and what it can not do."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import io
import json
import logging
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Any

import jwt
import pytest
import structlog
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st
from parts import canaries
from parts import registry as registries
from parts.gitserver import http_git
from parts.registry import DockerRegistry, HostileServer, Reply, wait_until
from parts.world import EmbeddedWorld, Running, World

from automator.app.events import GoogleKeys, Inbox, Subscriber, place_of
from automator.app.secondlooks import SecondLooks
from automator.core.reference import Repository, parse_repository
from automator.edges.http import Outside
from automator.edges.log import EventLog, configure
from automator.edges.web import Refusal
from automator.edges.webhook import Door, Request, Result, Word

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
SECRET = canaries.secret("hook")
REGISTRYS = "what docker-registry has in its config"
TIP = "1" * 40
OTHER = "2" * 40
STOPPED = 25.0
"""Seconds in which a daemon has stopped whose cycles are short: `stop_timeout` is 30 s."""


# -- whom an event is about --------------------------------------------------------------------------


@dataclass
class Office:
    """An inbox with two config repos, and what came of the events that it got."""

    folder: Path
    mirrors: dict[str, tuple[str, str]] = field(default_factory=dict)
    watched: Collection[Repository] | None = frozenset({parse_repository("ghcr.io/acme/web")})
    woken: list[tuple[str, frozenset[Repository], str]] = field(default_factory=list)
    counted: list[tuple[str, str, str, datetime | None]] = field(default_factory=list)
    listed: tuple[str, ...] | None = ("1.0",)
    planned: list[tuple[float, Callable[[], None]]] = field(default_factory=list)
    """What is to be called later, with the time for it."""
    now: float = 0.0

    def __post_init__(self) -> None:
        secret = self.folder / "hook-password"
        secret.write_text(f"{SECRET}\n")
        senders = {"any": "generic", "github": "github"}
        self.inbox = Inbox(
            doors={name: Door(name, sender, str(secret)) for name, sender in senders.items()},
            subscribers=(
                Subscriber(
                    "shop",
                    "git@git.example:acme/shop.git",
                    "main",
                    lambda: self.watched,
                    lambda: TIP,
                    lambda _: self.listed,
                ),
                Subscriber(
                    "blog", "https://git.example/acme/blog", "trunk", frozenset, lambda: None, lambda _: None
                ),
            ),
            mirrors=self.mirrors,
            wake=lambda *wake: self.woken.append(wake),
            count=lambda *told: self.counted.append(told),
            log=EventLog(lambda: 0.0),
            clock=lambda: NOON,
            keys=lambda: b"{}",
            second_looks=SecondLooks(
                lambda repo, image: self.woken.append((repo, frozenset({image}), "event")),
                lambda pause, act: self.planned.append((self.now + pause.total_seconds(), act)),
                clock=lambda: self.now,
            ),
        )

    def wait(self, seconds: float) -> int:
        """Let time go by; how often a config repo was woken meanwhile."""
        before, end = len(self.woken), self.now + seconds
        while due := [entry for entry in self.planned if entry[0] <= end]:
            first = min(due, key=lambda entry: entry[0])
            self.planned.remove(first)
            self.now = first[0]
            first[1]()
        self.now = end
        return len(self.woken) - before

    def push(self, image: str, *, secret: str = SECRET) -> tuple[Result, Word, int]:
        body = json.dumps({"image": image}).encode()
        headers = {"authorization": f"Bearer {secret}", "content-type": "application/json"}
        return self._got("any", Request("POST", {}, headers, body))

    def git_push(self, url: str, ref: str, commit: str) -> tuple[Result, Word, int]:
        return self._got("github", Request("POST", {}, *github_push(url, ref, commit)))

    def _got(self, hook: str, request: Request) -> tuple[Result, Word, int]:
        event = self.inbox.receive(hook, request)
        return event.result, event.code, event.status


def github_push(url: str, ref: str, commit: str) -> tuple[dict[str, str], bytes]:
    """Headers and body as GitHub sends and signs them."""
    told = {"ref": ref, "before": "0" * 40, "after": commit, "deleted": False}
    told |= {"repository": {"full_name": "acme/shop", "clone_url": url, "ssh_url": url}}
    body = json.dumps(told).encode()
    signature = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    return {
        "content-type": "application/json",
        "x-github-event": "push",
        "x-github-delivery": "72d3162e-cc78-11e3-81ab-4c9367dc0958",
        "x-hub-signature-256": f"sha256={signature}",
    }, body


@pytest.fixture(autouse=True)
def log() -> Iterator[io.StringIO]:
    """The log of what runs in this process, as the program writes it."""
    root, stream = logging.getLogger(), io.StringIO()
    handlers, level = root.handlers, root.level
    configure("json", "info", stream)
    yield stream
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path)


def test_a_push_wakes_the_config_repos_that_watch_the_repository(office: Office) -> None:
    assert office.push("ghcr.io/acme/web:2.0") == (Result.ACCEPTED, Word.PUSHED, 202)
    assert office.woken == [("shop", frozenset({Repository("ghcr.io", "acme/web")}), "event")]
    assert office.counted == [("any", "accepted", "pushed", NOON)]


def test_a_push_that_nobody_watches_is_ignored_in_peace(office: Office) -> None:
    assert office.push("ghcr.io/acme/other:2.0") == (Result.IGNORED, Word.UNKNOWN_REPOSITORY, 200)
    assert office.woken == []
    assert office.counted == [("any", "ignored", "unknown-repository", NOON)]


def test_before_the_first_cycle_nothing_is_woken_and_nothing_unknown(office: Office) -> None:
    office.watched = None
    assert office.push("ghcr.io/acme/web:2.0") == (Result.ACCEPTED, Word.PUSHED, 202)
    assert office.woken == [], "the first cycle lists everything anyway"


def test_a_wrong_secret_wakes_nobody_and_is_counted(office: Office) -> None:
    assert office.push("ghcr.io/acme/web:2.0", secret="guessed") == (Result.REJECTED, Word.BAD_SECRET, 401)
    assert office.woken == []
    assert office.counted == [("any", "rejected", "bad-secret", None)]


@pytest.mark.parametrize(
    ("pushed", "watched"),
    [
        ("docker.io/library/nginx", "nginx"),
        ("registry-1.docker.io/library/nginx", "nginx"),
        ("hub.docker.com/acme/web", "acme/web"),
        ("registry.hub.docker.com/acme/web", "acme/web"),
        (
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com/acme/web",
            "123456789012.dkr-ecr.eu-west-1.on.aws/acme/web",
        ),
        (
            "123456789012.dkr.ecr.us-gov-west-1.amazonaws.com/acme/web",
            "123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com/acme/web",
        ),
        ("ghcr.io:443/acme/web", "ghcr.io/acme/web"),
        ("mirror.example/hub/library/nginx", "nginx"),
        ("mirror.example/hub/acme/web", "docker.io/acme/web"),
        ("mirror.example/hub/acme/web", "mirror.example/hub/acme/web"),
        ("plain.example:5000/acme/web", "quay.io/acme/web"),
    ],
)
def test_other_names_of_a_repository_are_known(tmp_path: Path, pushed: str, watched: str) -> None:
    mirrors = {"mirror.example": ("docker.io", "hub"), "plain.example:5000": ("quay.io", "")}
    office = Office(tmp_path, mirrors, watched=frozenset({parse_repository(watched)}))
    assert office.push(f"{pushed}:1.0")[0] is Result.ACCEPTED
    assert office.woken == [("shop", frozenset({parse_repository(watched)}), "event")]


@pytest.mark.parametrize("pushed", ["mirror.example/other/acme/web", "mirror.example/acme/web"])
def test_what_a_mirror_has_of_its_own_is_not_the_mirrored(tmp_path: Path, pushed: str) -> None:
    office = Office(
        tmp_path, {"mirror.example": ("docker.io", "hub")}, watched=frozenset({parse_repository("acme/web")})
    )
    assert office.push(f"{pushed}:1.0")[1] is Word.UNKNOWN_REPOSITORY


@pytest.mark.parametrize(
    ("url", "ref", "commit", "code"),
    [
        ("https://git.example/acme/shop.git", "refs/heads/main", OTHER, Word.GIT_PUSHED),
        ("https://git.example/acme/shop.git", "refs/heads/main", TIP, Word.KNOWN_COMMIT),
        ("https://git.example/acme/shop.git", "refs/heads/feature", OTHER, Word.OTHER_BRANCH),
        ("https://git.example/acme/shop.git", "refs/tags/main", OTHER, Word.OTHER_BRANCH),
        ("https://git.example/acme/shopping.git", "refs/heads/main", OTHER, Word.UNKNOWN_REPOSITORY),
        ("https://evil.example/acme/shop.git", "refs/heads/main", OTHER, Word.UNKNOWN_REPOSITORY),
    ],
)
def test_a_git_push_wakes_the_config_repo_of_that_branch(
    office: Office, url: str, ref: str, commit: str, code: Word
) -> None:
    result, found, status = office.git_push(url, ref, commit)
    assert found is code
    wakes = code is Word.GIT_PUSHED
    assert (result, status) == ((Result.ACCEPTED, 202) if wakes else (Result.IGNORED, 200))
    assert office.woken == ([("shop", frozenset(), "push")] if wakes else [])


def test_a_replay_says_the_same(office: Office) -> None:
    assert office.push("ghcr.io/acme/web:2.0") == office.push("ghcr.io/acme/web:2.0")
    assert office.woken[0] == office.woken[1]


# -- second looks --------------------------------------------------------------------------------------


def test_an_event_that_precedes_its_registrys_own_list_gets_two_more_looks(office: Office) -> None:
    office.push("ghcr.io/acme/web:2.0")
    looked = [("shop", frozenset({Repository("ghcr.io", "acme/web")}), "event")]
    assert office.woken == looked
    assert office.wait(4.9) == 0
    assert office.wait(0.2) == 1
    assert office.wait(29.8) == 0
    assert office.wait(0.2) == 1
    assert office.wait(86400) == 0, "the poll will find it"
    assert office.woken == looked * 3
    assert not office.planned


def test_no_second_look_where_the_first_one_found_the_tag(office: Office) -> None:
    office.push("ghcr.io/acme/web:2.0")
    office.listed = ("1.0", "2.0")
    assert office.wait(86400) == 0


def test_no_third_look_where_the_second_one_found_the_tag(office: Office) -> None:
    office.push("ghcr.io/acme/web:2.0")
    assert office.wait(6) == 1
    office.listed = ("1.0", "2.0")
    assert office.wait(86400) == 0


@pytest.mark.parametrize("image", ["ghcr.io/acme/web:1.0", "ghcr.io/acme/other:2.0"])
def test_what_is_listed_or_nobodys_plans_nothing(office: Office, image: str) -> None:
    office.push(image)
    assert not office.planned


def test_a_registry_that_has_no_list_is_left_to_its_own_time(office: Office) -> None:
    """It failed, or wants to be left alone."""
    office.listed = None
    office.push("ghcr.io/acme/web:2.0")
    assert office.wait(86400) == 0


def test_replays_and_bursts_have_no_more_looks_planned_than_one_event(office: Office) -> None:
    for _ in range(100):
        office.push("ghcr.io/acme/web:2.0")
        office.push("ghcr.io/acme/web:2.1")
    assert len(office.planned) == 1
    assert office.wait(6) == 1
    for number in range(100):
        office.push("ghcr.io/acme/web:2.0")
        office.push(f"ghcr.io/acme/web:3.{number}")
    assert len(office.planned) == 2, "the third look for the old ones, the second for the new ones"
    assert office.wait(86400) == 2, "the new ones' third look is that of the old ones"
    assert not office.planned


def test_a_look_that_got_lost_does_not_keep_later_events_from_theirs(office: Office) -> None:
    office.push("ghcr.io/acme/web:2.0")
    office.planned.clear()
    office.wait(3600)
    office.push("ghcr.io/acme/web:2.0")
    assert office.wait(6) == 1


def test_a_bug_stays_with_its_event(office: Office, log: io.StringIO) -> None:
    healthy = office.watched

    class Broken(frozenset[Repository]):
        def __contains__(self, _: object) -> bool:
            raise ZeroDivisionError

    office.watched = Broken()
    assert office.push("ghcr.io/acme/web:2.0")[2] == 500
    assert "hooks/bug" in log.getvalue()
    assert "Traceback" in log.getvalue()
    assert SECRET not in log.getvalue()
    office.watched = healthy
    assert office.push("ghcr.io/acme/web:2.0")[2] == 202


@pytest.mark.parametrize("refusal", Refusal)
def test_what_was_not_taken_in_is_counted(office: Office, refusal: Refusal) -> None:
    office.inbox.refuse(None if refusal is Refusal.UNKNOWN_HOOK else "any", refusal)
    assert office.counted[0][1:] == ("rejected", refusal.value, None)
    assert office.counted[0][0] in office.inbox.doors or refusal is Refusal.UNKNOWN_HOOK


@pytest.mark.parametrize(
    ("refusal", "code"),
    [
        (Refusal.UNKNOWN_HOOK, "hooks/unknown"),
        (Refusal.TOO_SLOW, "hooks/no-request"),
        (Refusal.MALFORMED, "hooks/no-request"),
        (Refusal.CROWDED, "hooks/crowded"),
    ],
)
def test_what_came_for_no_hook_is_counted_without_a_name(
    office: Office, log: io.StringIO, refusal: Refusal, code: str
) -> None:
    office.inbox.refuse(None, refusal)
    assert office.counted == [("", "rejected", refusal.value, None)]
    assert json.loads(log.getvalue())["code"] == code


@pytest.mark.parametrize(
    "url",
    [
        "https://git.example/acme/shop.git",
        "https://git.example/Acme/shop",
        "https://ann:pw@GIT.example:443/acme/shop.git/",
        "http://git.example:80/acme/shop",
        "ssh://git@git.example/acme/shop.git",
        "ssh://git@git.example:22/acme/shop",
        "git@git.example:acme/shop.git",
        "git.example:/acme/shop",
    ],
)
def test_all_names_of_a_git_repository_are_one_place(url: str) -> None:
    assert place_of(url) == ("git.example", "acme/shop")


@pytest.mark.parametrize(
    "url",
    ["https://git.example:8443/acme/shop", "https://git.example/acme/shop/x", "/acme/shop", "https://[::1"],
)
def test_other_git_repositories_are_other_places(url: str) -> None:
    assert place_of(url) != ("git.example", "acme/shop")


@given(st.text())
def test_no_url_is_too_odd(url: str) -> None:
    assert place_of(url) == place_of(url)


# -- Google's keys -----------------------------------------------------------------------------------


@cache
def googles(name: str = "k1") -> bytes:
    """Keys as Google publishes them."""
    key = rsa.generate_private_key(65537, 2048).public_key()
    public = jwt.algorithms.RSAAlgorithm.to_jwk(key, as_dict=True)
    return json.dumps({"keys": [{**public, "kid": name, "alg": "RS256", "use": "sig"}]}).encode()


def test_googles_keys_are_kept_and_a_failure_is_not_asked_again_at_once() -> None:
    now = [0.0]
    replies = [Reply(500), Reply(body=googles())]
    with HostileServer(lambda _: replies[min(len(server.received), 2) - 1]) as server:
        keys = GoogleKeys(Outside(), f"http://{server.host}/certs", lambda: now[0])
        for _ in range(3):
            with pytest.raises(OSError, match="500"):
                keys()
        assert len(server.received) == 1
        now[0] = 31.0
        assert [keys(), keys()] == [googles()] * 2
        now[0] = 3000.0
        assert keys() == googles()
        assert len(server.received) == 2
        now[0] = 4000.0
        keys()
        assert len(server.received) == 3


@pytest.mark.parametrize(
    "page",
    [
        b"<html>please log in</html>",
        b'{"keys": []}',
        b'{"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "k1", "alg": "HS256"}]}',
        b"[]",
        b"\xff",
    ],
)
def test_what_is_no_list_of_keys_does_not_shut_the_door_for_an_hour(page: bytes) -> None:
    now = [0.0]
    replies = [page, googles(), page, googles("k2")]
    with HostileServer(lambda _: Reply(body=replies[len(server.received) - 1])) as server:
        keys = GoogleKeys(Outside(), f"http://{server.host}/certs", lambda: now[0])
        with pytest.raises(OSError, match="no list of keys"):
            keys()
        now[0] = 31.0
        assert keys() == googles()
        # Once there are keys they stay in use, until there are newer ones.
        now[0] = 3700.0
        assert [keys(), keys()] == [googles()] * 2
        assert len(server.received) == 3
        now[0] = 3731.0
        assert keys() == googles("k2")


def test_old_keys_are_not_trusted_for_ever() -> None:
    now = [0.0]
    replies = [Reply(body=googles()), Reply(503)]
    with HostileServer(lambda _: replies[min(len(server.received), 2) - 1]) as server:
        keys = GoogleKeys(Outside(), f"http://{server.host}/certs", lambda: now[0])
        keys()
        now[0] = 23 * 3600.0
        assert keys() == googles()
        now[0] = 25 * 3600.0
        with pytest.raises(OSError, match="503"):
            keys()


def test_nobody_waits_while_another_asks_for_googles_keys() -> None:
    now, go, got = [0.0], threading.Event(), list[object]()

    def slowly(_: object) -> Reply:
        go.wait(20)
        go.clear()
        return Reply(body=googles(f"k{len(server.received)}"))

    def asked(times: int) -> bool:
        return len(server.received) == times

    def ask() -> None:
        try:
            got.append(keys())
        except OSError as error:
            got.append(error)

    with HostileServer(slowly) as server:
        keys = GoogleKeys(Outside(), f"http://{server.host}/certs", lambda: now[0])
        for round_, others in ((1, OSError), (2, bytes)):
            now[0] = round_ * 4000.0
            first = threading.Thread(target=ask)
            first.start()
            wait_until(partial(asked, round_), "the request")
            ask()  # answered although the other still waits
            assert first.is_alive()
            assert isinstance(got[-1], others)
            go.set()
            first.join()
            assert got[-1] == googles(f"k{round_}")
            assert len(server.received) == round_


# -- the daemon --------------------------------------------------------------------------------------


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def with_hooks(
    world: World, *senders: str, port: int = 0, url: str | None = None, secret: str = SECRET
) -> None:
    """A config that polls once an hour and takes events."""
    (world.root / "hook-password").write_text(f"{secret}\n")
    hooks = "".join(f'[hooks.{name}]\nsecret_file = "hook-password"\n' for name in senders)
    world.configure(
        daemon=f'listen = "127.0.0.1:0"\nhooks_listen = "127.0.0.1:{port}"\ninterval = "1h"',
        more=hooks,
        url=url,
    )


@dataclass(frozen=True)
class Hooked:
    """A daemon that takes events."""

    daemon: Running

    @property
    def port(self) -> int:
        self.daemon.until(lambda: self.daemon.port, "the daemon's start")
        return int(next(line["hooks_port"] for line in self.daemon.lines if "started" in line["event"]))

    def send(self, path: str, headers: dict[str, str], body: bytes) -> int:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)) as connection:
            connection.request("POST", path, body, headers)
            answer = connection.getresponse()
            answer.read()
            return answer.status

    def push(self, image: str, *, secret: str = SECRET) -> int:
        headers = {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"}
        return self.send("/hooks/generic", headers, json.dumps({"image": image}).encode())

    def counted(self, hook: str, result: str, code: str) -> int:
        labels = f'code="{code}",hook="{hook}",result="{result}"'
        for line in self.daemon.get("/metrics").text.splitlines():
            name, _, value = line.rpartition(" ")
            told = name.removeprefix("automator_webhook_events_total{").removesuffix("}")
            if sorted(told.split(",")) == sorted(labels.split(",")):
                return int(float(value))
        return 0

    def triggers(self) -> list[Any]:
        return [cycle["trigger"] for cycle in self.daemon.cycles()]


@contextmanager
def running(world: World) -> Iterator[Hooked]:
    with world.start("run") as daemon:
        daemon.until(daemon.cycles, "the first cycle")
        yield Hooked(daemon)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with EmbeddedWorld(tmp_path) as made:
        made.push("web", "1.0.0")
        made.adopt("web")
        with_hooks(made, "generic")
        yield made


@pytest.mark.needs("docker-registry", "skopeo")
def test_a_push_to_a_registry_becomes_a_commit_at_once(tmp_path: Path) -> None:
    port = free_port()
    notifications = {
        "name": "automator",
        "url": f"http://127.0.0.1:{port}/hooks/distribution",
        "headers": {"Authorization": REGISTRYS},
    }

    def asked() -> list[str]:
        """Paths that automator asked for; the log is written after the answer is sent."""
        log = (tmp_path / "registry/log").read_text(errors="replace")
        return re.findall(r'"[A-Z]+ ([^ ?]+)\S* HTTP/1.1" \d+ \d+ "[^"]*" "automator/', log)

    # What is there before tells nobody: the registry would send it later, at a time of its own.
    with DockerRegistry(tmp_path / "registry") as registry:
        for name in ("web", "api", "job"):
            registries.push_image(registry.host, f"acme/{name}", "1.0.0")
    there = registry.host
    with DockerRegistry(tmp_path / "registry", notifications=notifications, address=there) as registry:
        world = World(tmp_path, registry.host)
        with_hooks(world, "distribution", port=port, secret=REGISTRYS)
        world.adopt("web", "api", "job")
        with running(world) as hooked:
            wait_until(lambda: sum(path.endswith("tags/list") for path in asked()) == 3, "three lists")
            before = len(asked())
            registries.push_image(registry.host, "acme/web", "1.1.0")
            hooked.daemon.until(lambda: world.version("web") == "1.1.0", "the release, within the hour")
            hooked.daemon.until(
                lambda: "web released: 1.0.0 -> 1.1.0" in hooked.daemon.text, "the log's line"
            )
            hooked.daemon.until(lambda: len(hooked.triggers()) == 2, "the cycle's sentence")
            assert hooked.triggers() == ["startup", "event"]
            assert hooked.daemon.end() == 0
    # The list, the new image's manifest and its config: nothing else, and of nobody else.
    listed, manifest, config = asked()[before:]
    assert (listed, manifest) == ("/v2/acme/web/tags/list", "/v2/acme/web/manifests/1.1.0")
    assert config.startswith("/v2/acme/web/blobs/")
    assert world.repo.log() == ["Release web 1.1.0", "Adopt"]
    assert REGISTRYS not in hooked.daemon.text


def test_a_git_push_has_the_config_repo_looked_at_now(tmp_path: Path) -> None:
    with EmbeddedWorld(tmp_path) as world, http_git(world.repo.path.parent) as git:
        world.push("web", "1.0.0", "1.1.0")
        world.adopt("web", semver='"1.0.x"')
        url = f"{git.address}/shop.git"
        with_hooks(world, "github", url=url)
        with running(world) as hooked:
            policy = world.policy("web", semver='"1.x"')
            commit = world.repo.commit({"policies/shop.yaml": policy}, "Wider")
            headers, body = github_push(url, "refs/heads/main", commit)
            assert hooked.send("/hooks/github", headers, body) == 202
            hooked.daemon.until(lambda: world.version("web") == "1.1.0", "the release, within the hour")
            hooked.daemon.until(lambda: len(hooked.triggers()) == 2, "the cycle's sentence")
            # The forge tells of our own commit too: that is no news, and no cycle.
            ours = world.repo.tip()
            assert ours is not None
            headers, body = github_push(url, "refs/heads/main", ours)
            assert hooked.send("/hooks/github", headers, body) == 200
            headers["x-hub-signature-256"] = "sha256=" + "0" * 64
            assert hooked.send("/hooks/github", headers, body) == 401
            assert hooked.counted("github", "ignored", "known-commit") == 1
            assert hooked.counted("github", "rejected", "bad-signature") == 1
            assert hooked.daemon.end() == 0
        assert hooked.triggers() == ["startup", "push"]
    assert world.repo.log() == ["Release web 1.1.0", "Wider", "Adopt"]


def test_a_burst_of_events_is_two_cycles_at_most(world: World) -> None:
    with running(world) as hooked:
        world.push("web", "1.1.0")
        answers: list[int] = []

        def send() -> None:
            answers.extend(hooked.push(world.image("web", "1.1.0")) for _ in range(5))

        assert hooked.port
        threads = [threading.Thread(target=send) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert answers == [202] * 20
        hooked.daemon.until(lambda: world.version("web") == "1.1.0", "the release")
        assert hooked.counted("generic", "accepted", "pushed") == 20
        world.push("web", "1.2.0")
        assert hooked.push(world.image("web", "1.2.0")) == 202
        hooked.daemon.until(lambda: world.version("web") == "1.2.0", "the next release")
        assert hooked.daemon.end() == 0
    # Two for the burst, of which the second may have been that of the last push too.
    assert len(hooked.triggers()) <= 4
    assert world.repo.log() == ["Release web 1.2.0", "Release web 1.1.0", "Adopt"]


@pytest.mark.slow
def test_a_tag_that_is_listed_only_after_its_event_becomes_a_commit_long_before_the_poll(
    world: World,
) -> None:
    with running(world) as hooked:
        assert hooked.push(world.image("web", "1.1.0")) == 202
        hooked.daemon.until(lambda: hooked.triggers() == ["startup", "event"], "the event's own cycle")
        assert world.version("web") == "1.0.0"
        world.push("web", "1.1.0")
        hooked.daemon.until(lambda: world.version("web") == "1.1.0", "the release")
        assert hooked.daemon.end() == 0
    assert hooked.triggers()[:3] == ["startup", "event", "event"]


def test_hostile_senders_do_not_stop_the_cycles(world: World) -> None:
    with running(world) as hooked, ExitStack() as open_ones:
        port = hooked.port
        for _ in range(20):  # bodies that never come
            slow = open_ones.enter_context(socket.create_connection(("127.0.0.1", port)))
            slow.sendall(b"POST /hooks/generic HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        for _ in range(20):  # heads that never end
            slow = open_ones.enter_context(socket.create_connection(("127.0.0.1", port)))
            slow.sendall(b"POST /hooks/generic HTTP/1.1\r\nX-A: ")
        for _ in range(100):
            assert hooked.push(world.image("web", "9.9.9"), secret="guessed by somebody") == 401
        for body in (b"\xff\xfe{", b"[" * 100_000, b'{"image": 1}', b"null"):
            assert hooked.send("/hooks/generic", {"Authorization": f"Bearer {SECRET}"}, body) == 400
        for path in ("/hooks/nowhere", "/hooks/../generic", "/hooks/generic/x"):
            assert hooked.send(path, {"Authorization": f"Bearer {SECRET}"}, b"{}") == 404
        world.push("web", "1.1.0")
        assert hooked.push(world.image("web", "1.1.0")) == 202
        hooked.daemon.until(lambda: world.version("web") == "1.1.0", "the release")
        assert hooked.counted("generic", "rejected", "bad-secret") == 100
        assert hooked.counted("generic", "rejected", "malformed-body") == 4
        assert hooked.counted("", "rejected", "unknown-hook") == 1
        assert hooked.daemon.end() == 0
    text = hooked.daemon.text
    assert "guessed" not in text
    assert SECRET not in text
    refused = [line for line in hooked.daemon.lines if str(line.get("code", "")).startswith("hooks/")]
    assert 30 <= len(refused) <= 60, "told, but not for each of them"
    assert {line["hook"] for line in refused if "hook" in line} == {"generic"}


def test_it_stops_while_events_come_and_none_that_it_took_is_lost(world: World) -> None:
    with running(world) as hooked, ExitStack() as open_ones:
        port, answers = hooked.port, list[int | str]()

        def send() -> None:
            while True:
                try:
                    answers.append(hooked.push(world.image("web", "1.1.0")))
                except ConnectionRefusedError:
                    return  # nobody listens any more
                except (OSError, http.client.HTTPException) as error:
                    answers.append(type(error).__name__)

        late = open_ones.enter_context(socket.create_connection(("127.0.0.1", port)))
        late.sendall(b"POST /hooks/generic HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        threads = [threading.Thread(target=send) for _ in range(3)]
        for thread in threads:
            thread.start()
        hooked.daemon.until(lambda: "event" in hooked.triggers(), "a cycle for events")
        world.push("web", "1.1.0")
        began = time.monotonic()
        assert hooked.daemon.end(signal.SIGTERM) == 0
        assert time.monotonic() - began < STOPPED, "one that sends half of its event keeps nobody up"
        for thread in threads:
            thread.join()
        assert "Traceback" not in hooked.daemon.text
        taken = answers.count(202)
        assert taken
        others = {one for one in answers if one != 202}
        assert 200 not in others, "what was not taken looks like it to whoever sent it"
        assert others <= {503, "ConnectionResetError", "RemoteDisconnected", "BadStatusLine"}
        late.settimeout(20)
        assert b" 503 " in late.recv(4096), "half an event is to come again"
        assert not [line for line in hooked.daemon.lines if line["level"] == "error"]
    with world.start("run") as daemon:
        daemon.until(daemon.cycles, "the first cycle")
        assert world.version("web") == "1.1.0", "what the events told of"
        assert daemon.end() == 0
    assert world.repo.log() == ["Release web 1.1.0", "Adopt"]


def test_a_hook_s_secret_changes_without_a_restart(world: World) -> None:
    with running(world) as hooked:
        image, other = world.image("web", "1.0.0"), canaries.secret("another-hook")
        assert hooked.push(image) == 202
        (world.root / "hook-password").write_text(f"{SECRET}\n{other}\n")
        assert (hooked.push(image), hooked.push(image, secret=other)) == (202, 202), "both, for a while"
        (world.root / "hook-password").write_text(f"{other}\n")
        assert (hooked.push(image), hooked.push(image, secret=other)) == (401, 202)
        (world.root / "hook-password").unlink()
        assert hooked.push(image, secret=other) >= 500, "the sender is to try again"
        (world.root / "hook-password").write_text(f"{other}\n")
        assert hooked.push(image, secret=other) == 202
        assert hooked.daemon.end() == 0
    assert other not in hooked.daemon.text


def test_an_address_for_events_that_is_taken_is_refused(world: World) -> None:
    taken = int(world.host.rpartition(":")[2])
    with_hooks(world, "generic", port=taken)
    done = world.run("run")
    assert done.code == 2
    assert f"cannot listen on 127.0.0.1:{taken}" in done.err
