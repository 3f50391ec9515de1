"""Which platforms a registry says an image is made for: an index by its entries, one image by its config."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from parts.platforms import BUILT, push_platforms
from parts.registry import Behaviour, DockerRegistry, HostileServer, Reply, push_image, unique_name

from automator.core.reference import Image, Repository
from automator.edges.registry import RegistryClient

Hostile = Callable[[Behaviour], HostileServer]
MakeClient = Callable[..., RegistryClient]
CONFIG = "application/vnd.oci.image.config.v1+json"
CREATED = "org.opencontainers.image.created"


@pytest.mark.needs("docker-registry")
def test_an_index_is_made_for_the_platforms_of_its_entries(
    docker_registry: DockerRegistry, make_client: MakeClient
) -> None:
    repository = Repository(docker_registry.host, unique_name())
    platforms = ("linux/arm/v7", "linux/amd64", "windows/amd64", "linux/arm64/v8")
    index = push_platforms(docker_registry.host, repository.path, "1.0.0", *platforms)
    image = make_client(docker_registry.host).image(repository, "1.0.0")
    assert (image.digest, image.built) == (index, BUILT)
    assert image.platforms == ("linux/amd64", "linux/arm/v7", "linux/arm64/v8", "windows/amd64")


@pytest.mark.needs("docker-registry")
@pytest.mark.needs("skopeo")
def test_one_image_is_made_for_the_platform_of_its_config(
    docker_registry: DockerRegistry, make_client: MakeClient
) -> None:
    repository = Repository(docker_registry.host, unique_name())
    push_image(docker_registry.host, repository.path, "1.0.0", created=BUILT)
    image = make_client(docker_registry.host).image(repository, "1.0.0")
    assert image.platforms == ("linux/amd64",)


def digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def served(hostile: Hostile, make_client: MakeClient, top: dict[str, Any], *more: bytes) -> Image:
    """What a client makes of a manifest, where the registry has these blobs and manifests too."""
    bodies = {digest(content): content for content in more}
    body = json.dumps(top).encode()

    def answer(request: Any) -> Reply:
        asked = request.path.rpartition("/")[2]
        return Reply(200, body if asked == "1.0.0" else bodies[asked])

    server = hostile(answer)
    return make_client(server.host).image(Repository(server.host, "acme/web"), "1.0.0")


def image_of(config: dict[str, Any], **more: object) -> tuple[dict[str, Any], bytes]:
    content = json.dumps(config).encode()
    return {"config": {"mediaType": CONFIG, "digest": digest(content)}, **more}, content


@pytest.mark.parametrize(
    ("config", "platforms"),
    [
        ({"os": "linux", "architecture": "amd64"}, ("linux/amd64",)),
        ({"os": "linux", "architecture": "arm", "variant": "v6"}, ("linux/arm/v6",)),
        ({"os": "linux", "architecture": "arm64", "variant": ""}, ("linux/arm64",)),
        ({"os": "linux"}, ()),
        ({"os": "linux", "architecture": 64}, ()),
        ({"os": "linux", "architecture": "amd64 linux/arm64"}, ()),
        ({"os": "linux", "architecture": "a\nb"}, ()),
        ({}, ()),
    ],
)
@pytest.mark.parametrize("annotated", [False, True], ids=["plain", "dated by annotation"])
def test_what_a_config_does_not_say_in_plain_words_is_not_told(
    hostile: Hostile,
    make_client: MakeClient,
    config: dict[str, Any],
    platforms: tuple[str, ...],
    annotated: bool,
) -> None:
    notes = {"annotations": {CREATED: "2026-11-20T09:14:02Z"}} if annotated else {}
    manifest, content = image_of({"created": "2026-11-20T09:14:02Z", **config}, **notes)
    assert served(hostile, make_client, manifest, content).platforms == platforms


def entry(content: bytes, **platform: str) -> dict[str, Any]:
    return {"digest": digest(content), **({"platform": platform} if platform else {})}


def test_attestations_are_no_platforms_and_each_is_told_once(
    hostile: Hostile, make_client: MakeClient
) -> None:
    manifest, config = image_of({"os": "linux", "architecture": "amd64", "created": "2026-11-20T09:14:02Z"})
    child = json.dumps(manifest).encode()
    index = {
        "manifests": [
            entry(child, os="linux", architecture="amd64"),
            entry(b"again", os="linux", architecture="amd64"),
            entry(b"provenance", os="unknown", architecture="unknown"),
            {
                **entry(b"sbom", os="linux", architecture="s390x"),
                "annotations": {"vnd.docker.reference.type": "attestation-manifest"},
            },
        ]
    }
    assert served(hostile, make_client, index, child, config).platforms == ("linux/amd64",)


def test_an_index_whose_entries_say_nothing_is_what_its_image_says(
    hostile: Hostile, make_client: MakeClient
) -> None:
    manifest, config = image_of({"os": "linux", "architecture": "riscv64"})
    child = json.dumps(manifest).encode()
    image = served(hostile, make_client, {"manifests": [entry(child)]}, child, config)
    assert image.platforms == ("linux/riscv64",)


def test_a_dated_index_costs_one_request_and_tells_its_platforms(
    hostile: Hostile, make_client: MakeClient
) -> None:
    index = {
        "annotations": {CREATED: "2026-11-20T09:14:02Z"},
        "manifests": [
            entry(b"a", os="linux", architecture="amd64"),
            entry(b"b", os="linux", architecture="arm64"),
        ],
    }
    assert served(hostile, make_client, index).platforms == ("linux/amd64", "linux/arm64")


def test_an_artifact_is_made_for_nothing(hostile: Hostile, make_client: MakeClient) -> None:
    chart = {"config": {"mediaType": "application/vnd.cncf.helm.config.v1+json", "digest": digest(b"{}")}}
    assert served(hostile, make_client, chart, b"{}").platforms == ()
