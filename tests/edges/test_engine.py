"""Docker engines: what runs there is read exactly, nothing is ever changed, and every no has its reason."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from parts.certificates import make_ca
from parts.engines import PodmanService, container, engine, pulled
from parts.registry import (
    Behaviour,
    DockerRegistry,
    HostileServer,
    Reply,
    json_reply,
    push_image,
    unique_name,
)

from automator.core.running import Observation, Running
from automator.edges.engine import Engine, EngineSettings, read_only_client
from automator.errors import RuntimeTrouble

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
JUST_NOW, LATELY = "2026-11-21T11:59:00Z", "2026-11-21T11:57:00Z"
WEB = "ghcr.io/acme/web"
ONE, TWO = (f"sha256:{digit * 64}" for digit in "12")
Hostile = Callable[[Behaviour], HostileServer]


def look(host: str, *, project: str | None = None, seconds: float = 10.0) -> Observation:
    return Engine(EngineSettings("host", host, project, seconds=seconds)).observe(NOW)


def seen(
    hostile: Hostile, *told: tuple[list[dict], list[dict]], project: str | None = None
) -> tuple[Running, ...]:
    (containers, images), *_ = told
    return look(f"tcp://{hostile(engine(containers, images)).host}", project=project).running


def versioned(reply: Reply) -> Behaviour:
    """An engine that tells its version, and nothing else."""
    return lambda asked: json_reply({"ApiVersion": "1.47"}) if "version" in asked.path else reply


def refused(host: str, *, seconds: float = 10.0) -> RuntimeTrouble:
    with pytest.raises(RuntimeTrouble) as caught:
        look(host, seconds=seconds)
    return caught.value


# -- a real engine -----------------------------------------------------------------------------------------


@pytest.mark.needs("docker-registry", "podman", "skopeo")
def test_a_real_engine_tells_what_compose_made_there_and_under_which_digest(tmp_path: Path) -> None:
    with DockerRegistry(tmp_path / "registry") as registry:
        name = unique_name()
        image = f"{registry.host}/{name}:1.4.2"
        digest = push_image(registry.host, name, "1.4.2")
        with PodmanService(tmp_path / "engine", registry=registry.host) as podman:
            podman.create("shop-web-1", image, project="shop", service="web")
            podman.create("alone", f"{registry.host}/{name}@{digest}")
            every = {one.container: one for one in look(podman.host).running}
            (web,) = look(podman.host, project="shop").running
    assert every["shop-web-1"] == web
    assert (web.kind, web.project, web.name) == ("service", "shop", "web")
    assert (web.reference, web.digest) == (image, digest)
    assert (web.wanted, web.ready, web.settled) == (1, 0, False)  # made, and not started yet
    alone = every["alone"]
    assert (alone.kind, alone.name, alone.digest) == ("container", "alone", digest)


# -- what they say -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "ready", "settled", "trouble", "hindrance"),
    [
        ({"state": "running"}, 1, True, None, None),
        ({"state": "running", "health": "healthy"}, 1, True, None, None),
        ({"state": "running", "health": "starting"}, 0, False, None, None),
        ({"state": "running", "health": "unhealthy"}, 0, False, "its health check fails", None),
        (
            {"state": "restarting", "exit_code": 3},
            0,
            False,
            "it is started again and again: it ended with exit code 3",
            None,
        ),
        ({"state": "running", "restarts": 512}, 1, True, None, None),
        ({"state": "running", "restarts": 1, "StartedAt": JUST_NOW}, 0, True, None, None),
        (
            {"state": "running", "restarts": 3, "StartedAt": JUST_NOW},
            0,
            True,
            "it was started again 3 times",
            None,
        ),
        (  # it serves again
            {"state": "running", "restarts": 3, "StartedAt": JUST_NOW, "health": "healthy"},
            0,
            True,
            None,
            None,
        ),
        ({"state": "running", "restarts": 3, "StartedAt": LATELY}, 0, True, None, None),
        (
            {"state": "running", "restarts": 3, "StartedAt": "2026-11-21T12:01:00Z", "health": "healthy"},
            0,
            True,
            None,
            None,
        ),
        ({"state": "running", "restarts": 3, "StartedAt": "2026-11-21T12:55:00Z"}, 1, True, None, None),
        ({"state": "paused"}, 0, False, None, "it is paused"),
        (
            {"state": "exited", "exit_code": 137, "policy": "always", "OOMKilled": True},
            0,
            None,
            "it took more memory than it may",
            None,
        ),
        ({"state": "exited", "exit_code": 2, "policy": "always"}, 0, None, "it ended with exit code 2", None),
        (  # somebody stopped it
            {"state": "exited", "exit_code": 143, "policy": "always"},
            0,
            None,
            None,
            "it ended with exit code 143",
        ),
        ({"state": "created", "Error": "no such\nnetwork"}, 0, False, None, "no such network"),
    ],
)
def test_how_a_container_is(
    hostile: Hostile,
    told: dict,
    ready: int,
    settled: bool | None,
    trouble: str | None,
    hindrance: str | None,
) -> None:
    (one,) = seen(hostile, ([container("web", f"{WEB}:1.4.2", **told)], []))
    assert (one.ready, one.settled, one.wanted) == (ready, settled, 1)
    assert (one.trouble, one.hindrance) == (trouble, hindrance)
    assert one.restarts == told.get("restarts", 0)


def test_what_has_ended_counts_only_where_nothing_has_taken_its_place(hostile: Hostile) -> None:
    containers = [
        container("shop-web-1", f"{WEB}:1.4.1", "exited", service="web", policy="always"),
        container("shop-web-2", f"{WEB}:1.4.2", service="web", policy="always"),
        container("shop-migrate-1", f"{WEB}:1.4.2", "exited", service="migrate"),
        container("shop-web-run", f"{WEB}:1.3", service="web", labels={"com.docker.compose.oneoff": "True"}),
        container("backup", f"{WEB}:1.2", "exited"),
        container("stopped", f"{WEB}:1.2", "exited", policy="unless-stopped"),
        container("vanished", f"{WEB}:1.2") | {"gone": True},
    ]
    found = {one.container: one for one in seen(hostile, (containers, []))}
    assert found.keys() == {"shop-web-2", "shop-migrate-1", "stopped"}
    assert (found["shop-migrate-1"].wanted, found["stopped"].wanted) == (0, 1)
    assert found["shop-web-2"].since == datetime(2026, 11, 20, 9, 0, 0, 123456, tzinfo=UTC)


@pytest.mark.parametrize(
    ("restarts", "since"),
    [
        (0, datetime(2026, 11, 21, 11, 59, tzinfo=UTC)),
        (3, datetime(2026, 11, 20, 8, tzinfo=UTC)),  # by its policy: what it runs came when it was made
    ],
)
def test_what_is_started_again_runs_since_it_was_made(
    hostile: Hostile, restarts: int, since: datetime
) -> None:
    told = container("web", f"{WEB}:1.4.2", restarts=restarts, StartedAt=JUST_NOW)
    (one,) = seen(hostile, ([told], []))
    assert one.since == since


def test_only_the_project_that_is_asked_for(hostile: Hostile) -> None:
    containers = [container("shop-web-1", f"{WEB}:1", service="web"), container("other", f"{WEB}:2")]
    assert [one.name for one in seen(hostile, (containers, []), project="shop")] == ["web"]


@pytest.mark.parametrize(
    ("written", "image", "reference", "digest"),
    [
        (f"{WEB}:1", pulled("sha256:1111", f"{WEB}@{ONE}"), f"{WEB}:1", ONE),
        # An index and this machine's part of it: nobody can tell which one a tag was.
        (f"{WEB}:1", pulled("sha256:1111", f"{WEB}@{ONE}", f"{WEB}@{TWO}"), f"{WEB}:1", None),
        (f"{WEB}:1@{TWO}", pulled("sha256:1111", f"{WEB}@{ONE}", f"{WEB}@{TWO}"), f"{WEB}:1@{TWO}", TWO),
        (f"{WEB}:1", pulled("sha256:1111", f"ghcr.io/other/web@{ONE}"), f"{WEB}:1", None),
        ("nginx:1.27", pulled("sha256:1111", f"docker.io/library/nginx@{ONE}"), "nginx:1.27", ONE),
        # By its id, as where its tag has moved on.
        ("sha256:1111", pulled("sha256:1111", tags=(f"{WEB}:1.4.2",)), f"{WEB}:1.4.2", None),
        ("1111", pulled("sha256:1111", tags=(f"{WEB}:1.4.2", f"{WEB}:latest")), "1111", None),
        (f"{WEB}:1", pulled("sha256:9999", f"{WEB}@{ONE}"), f"{WEB}:1", None),
        (f"{WEB}:1", pulled("sha256:1111", "<none>@<none>", "\x1b[31m"), f"{WEB}:1", None),
    ],
)
def test_which_image_a_container_runs(
    hostile: Hostile, written: str, image: dict, reference: str, digest: str | None
) -> None:
    (one,) = seen(hostile, ([container("web", written)], [image]))
    assert (one.reference, one.digest) == (reference, digest)


# -- read-only ---------------------------------------------------------------------------------------------


def test_nothing_but_get_ever_reaches_an_engine(hostile: Hostile) -> None:
    server = hostile(engine([container("web", f"{WEB}:1")]))
    settings = EngineSettings("host", f"tcp://{server.host}")
    Engine(settings).observe(NOW)
    with read_only_client(settings, time.monotonic() + 10) as client:
        for act in (client.start, client.stop, client.remove_container, client.kill):
            with pytest.raises(PermissionError, match="only looked at"):
                act("id-of-web")
        with pytest.raises(PermissionError, match="only looked at"):
            client.create_container(f"{WEB}:1", name="other")
    assert {one.method for one in server.received} == {"GET"}
    paths = {one.path.removeprefix("/v1.47") for one in server.received}
    assert paths == {"/version", "/containers/json", "/containers/id-of-web/json", "/images/json"}


# -- no answer ---------------------------------------------------------------------------------------------


def test_why_an_engine_cannot_be_asked(hostile: Hostile, tmp_path: Path) -> None:
    gone = refused(f"unix://{tmp_path}/none.sock").reason
    assert gone.code == "engine/unreachable"
    assert gone.sentence == (
        f"host: the engine at unix://{tmp_path}/none.sock gives no answer: No such file or directory"
    )
    denied = hostile(lambda _: json_reply({"message": "no\nentry"}, 403))
    assert "no Docker engine" in refused(f"tcp://{denied.host}").reason.sentence
    page = hostile(lambda _: Reply(200, b"<html>hello</html>"))
    assert refused(f"tcp://{page.host}").reason.code == "engine/bad-answer"
    strange = hostile(versioned(json_reply([{"Id": 5}, 7])))
    assert refused(f"tcp://{strange.host}").reason.code == "engine/bad-answer"
    later = hostile(
        lambda r: json_reply({"ApiVersion": "1.47"}) if "version" in r.path else Reply(503, b"busy")
    )
    told = refused(f"tcp://{later.host}").reason
    assert (told.code, "with 503: busy" in told.sentence) == ("engine/refused", True)


def test_a_redirect_is_not_followed(hostile: Hostile) -> None:
    other = hostile(engine([]))
    first = hostile(lambda r: Reply(307, headers={"Location": f"http://{other.host}{r.path}"}))
    refused(f"tcp://{first.host}")
    assert other.received == []


@pytest.mark.parametrize("reply", [Reply(silent=True), Reply(drip=0.05)], ids=["silent", "dripping"])
def test_an_engine_that_hangs_is_left_in_time(hostile: Hostile, reply: Reply) -> None:
    server = hostile(versioned(reply))
    assert refused(f"tcp://{server.host}", seconds=0.5).reason.code == "engine/unreachable"


def test_an_engine_behind_tls_is_known_by_its_authority(tmp_path: Path) -> None:
    ours, other = make_ca(tmp_path / "ours"), make_ca(tmp_path / "other")
    cert = ours.issue(["127.0.0.1"])
    with HostileServer(engine([container("web", f"{WEB}:1")]), tls=cert.both_file) as server:
        settings = EngineSettings("host", f"tcp://{server.host}", ca_file=str(ours.ca_file))
        assert len(Engine(settings).observe(NOW).running) == 1
        strange = EngineSettings("host", f"tcp://{server.host}", ca_file=str(other.ca_file))
        with pytest.raises(RuntimeTrouble, match="certificate verify failed"):
            Engine(strange).observe(NOW)
        missing = EngineSettings("host", f"tcp://{server.host}", ca_file=str(tmp_path / "none.pem"))
        with pytest.raises(RuntimeTrouble, match=r"none\.pem: No such file"):
            Engine(missing).observe(NOW)
