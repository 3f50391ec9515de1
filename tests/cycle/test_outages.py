"""A registry that fails, lies or attacks, in whole cycles: what it costs, whom it delays, what it learns.

The bad registry wants a password, so that there is something to lose; a thief's server stands by.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from typing import Any, NamedTuple

import pytest
from parts.canaries import told
from parts.registry import (
    PASSWORD,
    USER,
    DockerRegistry,
    HostileServer,
    Received,
    Reply,
    json_reply,
    push_image,
)
from parts.stage import Stage

from automator.core.report import Outcome
from automator.cycle.run import Trigger
from automator.edges.registry.manifests import digest_of
from automator.reasons import Status

DUE = Trigger("interval")
TAGS = json_reply({"name": "acme/bad", "tags": ["1.4.2", "1.4.3"]})
BOMB = gzip.compress(bytes(64 * 1024 * 1024), 9)


class Attack(NamedTuple):
    """What the registry does once somebody has logged in, and what may come of it."""

    behave: Callable[[Received, str], Reply]
    """(request, the thief's host) -> answer."""
    code: str
    requests: int
    """At most, the one that is refused for want of a password among them."""
    asks: bool = True
    """Whether the registry asks for a password first."""


def _pages(request: Received, _: str) -> Reply:
    number = int(request.query.get("last", "v0").removeprefix("v")) + 1
    return json_reply(
        {"name": "acme/bad", "tags": [f"v{number}"]},
        Link=f'</v2/acme/bad/tags/list?n=1&last=v{number}>; rel="next"',
    )


def _linked(request: Received, thief: str) -> Reply:
    link = f'<http://{thief}/v2/acme/bad/tags/list?last=1.4.3>; rel="next"'
    return Reply(500) if "last" in request.query else json_reply({"tags": ["1.4.2", "1.4.3"]}, Link=link)


def _redirected(request: Received, thief: str) -> Reply:
    return Reply(307, b"", {"Location": f"http://{thief}{request.path}"})


def _realm(_: Received, thief: str) -> Reply:
    return Reply(401, b"", {"WWW-Authenticate": f'Bearer realm="http://{thief}/token",service="x"'})


ATTACKS = {
    "a burst of 500": Attack(lambda *_: Reply(500, b"oops"), "registry/server-error", 2),
    "a burst of 503": Attack(lambda *_: Reply(503), "registry/server-error", 4),
    "an answer that breaks off": Attack(lambda *_: replace(TAGS, length=9000), "registry/unreachable", 4),
    "pages without end": Attack(_pages, "registry/pages", 202),
    "a page too large": Attack(lambda *_: Reply(200, b"[", length=10**10), "registry/too-large", 2),
    "a gzip bomb": Attack(lambda *_: Reply(200, BOMB, {"Content-Encoding": "gzip"}), "registry/too-large", 2),
    "a deep nesting": Attack(lambda *_: Reply(200, b"[" * 1_000_000), "registry/not-json", 2),
    "a link to another host": Attack(_linked, "registry/server-error", 3),
    "a redirect to another host": Attack(_redirected, "registry/bad-answer", 2),
    "a redirect to a host that is declared": Attack(
        lambda r, thief: _redirected(r, thief.replace("localhost", "127.0.0.1")), "registry/bad-answer", 2
    ),
    "a realm on another host": Attack(_realm, "registry/address-refused", 1, asks=False),
    "a redirect in a circle": Attack(
        lambda r, _: Reply(302, b"", {"Location": r.path}), "registry/bad-answer", 7
    ),
    "a refusal for ever": Attack(
        lambda *_: Reply(401, b"", {"WWW-Authenticate": 'Basic realm="x"'}), "registry/denied", 2
    ),
}


class Scene:
    """The bad registry, the thief, and a workload on each registry that is to be released."""

    def __init__(self, stage: Stage, servers: ExitStack) -> None:
        self.stage = stage
        self.attack: Callable[[Received, str], Reply] | None = None
        self.asks = True
        self.thief = servers.enter_context(HostileServer(_asks_for_passwords))
        self.bad = servers.enter_context(HostileServer(self._behave))
        password = stage.folder / "password"
        password.write_text(PASSWORD)
        stage.insecure |= {self.bad.host, self.thief.host}
        stage.registries[self.bad.host] = {"credentials": {"username": USER, "password_file": password}}
        stage.push("acme/web", "1.4.2", "1.4.3")
        stage.commit(stage.workload("bad", "1.4.2", host=self.bad.host) | stage.workload("web", "1.4.2"))

    def _behave(self, request: Received) -> Reply:
        if self.asks and "authorization" not in request.headers:
            return Reply(401, b"", {"WWW-Authenticate": 'Basic realm="x"'})
        if self.attack is not None:
            return self.attack(request, self.thief.other_name)
        return TAGS if request.path.endswith("tags/list") else _image(request)

    def cycle(self, trigger: Trigger = DUE) -> dict[str, Outcome]:
        return self.stage.outcomes(trigger=trigger)

    def stolen(self) -> list[Received]:
        """Requests at the thief's that held a secret."""
        texts = [(r, f"{r.path} {r.query} {r.headers} {r.body!r}") for r in self.thief.received]
        return [r for r, text in texts if told(text.encode()) or "authorization" in r.headers]


def _asks_for_passwords(request: Received) -> Reply:
    return Reply(401, b"", {"WWW-Authenticate": 'Basic realm="yours?"'})


def _image(request: Received) -> Reply:
    config = json.dumps({"created": "2026-11-20T09:14:02Z", "os": "linux", "architecture": "amd64"}).encode()
    if "/blobs/" in request.path:
        return Reply(200, config)
    digest = digest_of(config, None)
    kind = "application/vnd.oci.image.manifest.v1+json"
    manifest: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": kind,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": digest,
            "size": len(config),
        },
        "layers": [],
    }
    body = json.dumps(manifest).encode()
    return Reply(200, body, {"Content-Type": kind, "Docker-Content-Digest": digest_of(body, None)})


@pytest.fixture
def scene(stage: Stage) -> Iterator[Scene]:
    with ExitStack() as servers:
        yield Scene(stage, servers)
        stage.stop()


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_costs_its_own_workload_and_learns_nothing(scene: Scene, name: str) -> None:
    attack = ATTACKS[name]
    scene.attack, scene.asks = attack.behave, attack.asks
    outcomes = scene.cycle()
    assert (outcomes["bad"].status, outcomes["bad"].reason.code) == (Status.FAILED, attack.code)
    assert scene.bad.host in outcomes["bad"].reason.sentence
    assert outcomes["web"].status is Status.RELEASED
    assert (scene.stage.image_of("bad"), scene.stage.image_of("web")) == ("bad:1.4.2", "web:1.4.3")
    assert len(scene.bad.received) <= attack.requests
    assert scene.stolen() == []

    scene.attack, scene.asks = None, True
    scene.stage.now += timedelta(minutes=10)
    assert scene.cycle()["bad"].status is Status.RELEASED, "it recovers by itself"
    assert scene.stage.image_of("bad") == "bad:1.4.3"
    assert scene.stolen() == []


def test_a_registry_that_drips_is_left_behind_and_comes_back(scene: Scene) -> None:
    scene.stage.observe_timeout = "1s"
    scene.attack = lambda *_: Reply(200, b'{"tags": [', drip=0.05)
    outcomes = scene.cycle()
    assert (outcomes["bad"].status, outcomes["bad"].reason.code) == (Status.WAITING, "registry/late")
    assert outcomes["web"].status is Status.RELEASED
    assert len(scene.bad.received) == 2


def test_before_the_end_of_a_retry_after_nothing_is_asked(scene: Scene) -> None:
    scene.attack = lambda *_: json_reply({"errors": [{"code": "TOOMANYREQUESTS"}]}, 429, Retry_After="600")
    begin = scene.stage.now
    first = scene.cycle()
    assert first["web"].status is Status.RELEASED
    assert (first["bad"].status, first["bad"].reason.code) == (Status.WAITING, "registry/rate-limited")
    assert first["bad"].reason.changes_at is not None
    asked = len(scene.bad.received)
    for _ in range(8):
        assert scene.cycle()["bad"].reason.code == "registry/rate-limited"
    assert len(scene.bad.received) == asked == 2
    scene.attack = None
    scene.stage.now = begin + timedelta(seconds=601)
    assert scene.cycle()["bad"].status is Status.RELEASED
    tags = [r for r in scene.bad.received[asked:] if r.path.endswith("tags/list")]
    assert len(tags) == 1


def test_a_limit_met_while_facts_are_gathered_writes_nothing_by_halves(scene: Scene) -> None:
    def limited(request: Received, _: str) -> Reply:
        return TAGS if request.path.endswith("tags/list") else Reply(429, b"", {"Retry-After": "600"})

    policy = scene.stage.workload("bad", "1.4.2", host=scene.bad.host, keys='semver: "1.x"\nmin_age: 1m')
    scene.stage.commit(policy)
    scene.attack = limited
    outcome = scene.cycle()["bad"]
    assert outcome.status is Status.WAITING
    assert scene.stage.image_of("bad") == "bad:1.4.2"
    asked = len(scene.bad.received)
    scene.cycle(Trigger("due"))
    assert not [r for r in scene.bad.received[asked:] if "manifests" in r.path]
    scene.attack = None
    scene.stage.now += timedelta(minutes=10)
    assert scene.cycle()["bad"].reason.code == "guard/min-age", "the tag was seen now, for the first time"
    scene.stage.now += timedelta(minutes=10)
    assert scene.cycle()["bad"].status is Status.RELEASED


def test_twenty_workloads_of_one_image_cost_one_list(scene: Scene) -> None:
    names = [f"bad{i}" for i in range(20)]
    files: dict[str, str | None] = {"policies/bad.yaml": None, "apps/bad.yaml": None}
    for name in names:
        keys = f'semver: "1.x"\nwhere: {{paths: [apps/{name}.yaml]}}'
        made = scene.stage.workload(name, "1.4.2", host=scene.bad.host, keys=keys)
        files |= {path: text.replace(f"acme/{name}", "acme/bad") for path, text in made.items()}
    scene.stage.commit(files)
    outcomes = scene.cycle()
    assert {outcomes[name].status for name in names} == {Status.RELEASED}
    lists = [r for r in scene.bad.received if r.path == "/v2/acme/bad/tags/list"]
    assert len(lists) == 2, "one that is refused, one with the password"


@pytest.mark.needs("docker-registry", "skopeo")
def test_a_real_registry_that_is_gone_for_an_hour_comes_back(stage: Stage) -> None:
    folder = stage.folder / "real"
    with DockerRegistry(folder) as registry:
        host = registry.host
        push_image(host, "acme/bad", "1.4.2")
        push_image(host, "acme/bad", "1.4.3")
        stage.insecure.add(host)
        stage.push("acme/web", "1.4.2")
        stage.commit(stage.workload("bad", "1.4.2", host=host) | stage.workload("web", "1.4.2"))
    for _ in range(60):
        outcomes = stage.outcomes(trigger=DUE)
        assert outcomes["bad"].status in (Status.FAILED, Status.WAITING)
        assert outcomes["web"].status is Status.CURRENT
    assert stage.app.registry.requests[host] <= 40, "twice a minute at first, then every third one"
    stage.push("acme/web", "1.4.3")
    stage.now += timedelta(minutes=5)
    assert stage.outcomes(trigger=DUE)["web"].status is Status.RELEASED
    with DockerRegistry(folder, address=host):
        stage.now += timedelta(minutes=5)
        assert stage.outcomes(trigger=DUE)["bad"].status is Status.RELEASED
    assert stage.image_of("bad") == "bad:1.4.3"
