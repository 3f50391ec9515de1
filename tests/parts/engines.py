"""Engines for tests: Debian's podman as a service, and a server for states that a real one cannot be made to
show where no container can be started."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import docker
from parts.registry import Behaviour, HostileServer, Received, Reply, json_reply, wait_until
from parts.world import EmbeddedWorld, Running, World

PROJECT, SERVICE = "com.docker.compose.project", "com.docker.compose.service"


class PodmanService:
    """`podman system service` on a socket in `folder`, with a store of its own. It can pull images, and make
    and list containers; starting them takes more rights than a test has."""

    def __init__(self, folder: Path, *, registry: str = "") -> None:
        """`registry` is a host that speaks plain http."""
        self._folder = folder
        self._registry = registry
        self._process: subprocess.Popen[bytes] | None = None
        self.host = f"unix://{folder}/engine.sock"

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        store, registries = self._folder / "storage.conf", self._folder / "registries.conf"
        store.write_text(
            f'[storage]\ndriver = "vfs"\nrunroot = "{self._folder}/run"\ngraphroot = "{self._folder}/graph"\n'
        )
        registries.write_text(
            f'[[registry]]\nlocation = "{self._registry}"\ninsecure = true\n' if self._registry else ""
        )
        named = {"CONTAINERS_STORAGE_CONF": str(store), "CONTAINERS_REGISTRIES_CONF": str(registries)}
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                ["podman", "system", "service", "--time=0", self.host],
                env={**os.environ, **named},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        wait_until(Path(self.host.removeprefix("unix://")).exists, "podman listening")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(10)
        shutil.rmtree(self._folder / "graph", ignore_errors=True)

    def create(self, name: str, image: str, **labels: str) -> None:
        """Make a container, as Compose does before it starts it; the image is pulled by its reference."""
        with docker.APIClient(base_url=self.host, timeout=30) as client:
            client.pull(image)
            told = {PROJECT: labels["project"], SERVICE: labels["service"]} if labels else {}
            made = client.create_container(image, ["/run"], name=name, labels=told)
            assert made["Id"]


def container(
    name: str,
    image: str,
    state: str = "running",
    *,
    image_id: str = "sha256:1111",
    health: str = "",
    exit_code: int = 0,
    policy: str = "no",
    restarts: int = 0,
    service: str = "",
    labels: Mapping[str, str] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """What an engine tells of one container when it is inspected."""
    told = {PROJECT: "shop", SERVICE: service, **(labels or {})} if service else dict(labels or {})
    status = {
        "Status": state,
        "Restarting": state == "restarting",
        "ExitCode": exit_code,
        "Error": "",
        "StartedAt": "2026-11-20T09:00:00.123456789Z",
        **({"Health": {"Status": health}} if health else {}),
        **more,
    }
    return {
        "Id": f"id-of-{name}",
        "Name": f"/{name}",
        "Image": image_id,
        "RestartCount": restarts,
        "Created": "2026-11-20T08:00:00Z",
        "State": status,
        "Config": {"Image": image, "Labels": told},
        "HostConfig": {"RestartPolicy": {"Name": policy}},
    }


def pulled(image_id: str, *digests: str, tags: tuple[str, ...] = ()) -> dict[str, Any]:
    """What an engine tells of one image."""
    return {"Id": image_id, "RepoTags": list(tags), "RepoDigests": list(digests)}


def engine(containers: list[dict[str, Any]], images: list[dict[str, Any]] | None = None) -> Behaviour:
    """A server that speaks of these containers as an engine does; it has no other address."""

    def answer(received: Received) -> Reply:
        parts = received.path.strip("/").split("/")
        match parts[1:] if parts[0].startswith("v1.") else parts:
            case ["version"]:
                return json_reply({"ApiVersion": "1.47", "MinAPIVersion": "1.24", "Version": "27.0"})
            case ["containers", "json"]:
                wanted = json.loads(received.query.get("filters", "{}")).get("label", [])
                return json_reply([_listed(one) for one in containers if _has(one, wanted)])
            case ["containers", name, "json"]:
                found = [one for one in containers if one["Id"] == name and not one.get("gone")]
                return json_reply(found[0]) if found else json_reply({"message": "No such container"}, 404)
            case ["images", "json"]:
                return json_reply(images or [])
        return json_reply({"message": "page not found"}, 404)

    return answer


def _listed(one: Mapping[str, Any]) -> dict[str, Any]:
    return {"Id": one["Id"], "Labels": one["Config"]["Labels"], "State": one["State"]["Status"]}


def _has(one: Mapping[str, Any], wanted: list[str]) -> bool:
    labels = one["Config"]["Labels"]
    return all(labels.get(text.partition("=")[0]) == text.partition("=")[2] for text in wanted)


# -- a daemon that watches one -----------------------------------------------------------------------------

QUICK = 'listen = "127.0.0.1:0"\ninterval = "1s"'
"""Of a daemon whose cycles come at once."""
GRACE = 'interval = "1s"\ngrace = "1s"'
"""Of a runtime of which a difference is told at once."""


def service(world: World, name: str) -> str:
    """A Compose file with one service."""
    return f'services:\n  {name}:\n    image: "{world.image(name, "1.0.0")}"\n'


class Host:
    """An engine that runs what it is told to, or hangs."""

    def __init__(self, world: World, server: HostileServer) -> None:
        self.world, self.server = world, server
        self.containers: list[dict[str, Any]] = []
        server.behave = lambda asked: engine(self.containers)(asked)

    def runs(self, **tags: str) -> None:
        self.containers[:] = [
            container(f"shop-{name}-1", self.world.image(name, tag), service=name)
            for name, tag in tags.items()
        ]

    def table(self, name: str, keys: str = GRACE) -> str:
        return f'[runtimes.{name}]\ntype = "docker"\nhost = "tcp://{self.server.host}"\n{keys}\n'


@contextmanager
def drift_world(root: Path) -> Iterator[World]:
    """A config repo with two services in Compose files, and their images."""
    with EmbeddedWorld(root) as made:
        made.push("web", "1.0.0")
        made.push("api", "1.0.0")
        files = {made.manifest(name): service(made, name) for name in ("web", "api")}
        policy = made.policy("web", "api", owner="team-shop")
        made.repo.commit({**files, "policies/shop.yaml": policy}, "Adopt")
        yield made


def states(daemon: Running) -> dict[tuple[str, str], str]:
    """Of each runtime and workload, as the API tells."""
    items = daemon.get("/api/v1/drift").json()["items"]
    return {(item["runtime"], item["workload"]): item["state"] for item in items}
