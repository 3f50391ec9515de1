"""The demo's registry, through the clients that people use: skopeo, and our own."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import requests
from parts.registry import push_image as push_by_skopeo
from parts.registry import skopeo

from automator.core.reference import Repository
from automator.demo.images import PushError, push_image
from automator.demo.registry import EmbeddedRegistry
from automator.edges.registry import HostSettings, RegistryClient

BUILT = datetime(2026, 11, 20, 9, 14, 2, tzinfo=UTC)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[EmbeddedRegistry]:
    with EmbeddedRegistry(tmp_path / "images", page_limit=3) as registry:
        yield registry


@pytest.fixture
def client(registry: EmbeddedRegistry) -> Iterator[RegistryClient]:
    client = RegistryClient({registry.host: HostSettings(insecure=True)})
    yield client
    client.close()


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        yield session


@pytest.mark.needs("skopeo")
def test_skopeo_pushes_and_gets_the_same_image_back(registry: EmbeddedRegistry, tmp_path: Path) -> None:
    digest = push_by_skopeo(registry.host, "acme/web", "1.4.2", created=BUILT)

    back = tmp_path / "back"
    skopeo("copy", "--src-tls-verify=false", f"docker://{registry.host}/acme/web:1.4.2", f"oci:{back}:1.4.2")

    assert json.loads((back / "index.json").read_text())["manifests"][0]["digest"] == digest
    seen = json.loads(skopeo("inspect", "--tls-verify=false", f"docker://{registry.host}/acme/web:1.4.2"))
    assert seen["RepoTags"] == ["1.4.2"]
    assert seen["Created"].startswith("2026-11-20T09:14:02")


def test_our_own_push_is_read_back_by_our_own_client(
    registry: EmbeddedRegistry, client: RegistryClient
) -> None:
    repository = Repository(registry.host, "acme/web")
    labels = {"org.opencontainers.image.source": "https://github.com/acme/web"}

    digest = push_image(registry.url, "acme/web", "1.4.3", created=BUILT, labels=labels)

    image = client.image(repository, "1.4.3")
    assert (image.digest, image.built, image.source) == (digest, BUILT, "https://github.com/acme/web")
    assert client.digest(repository, "1.4.3") == digest


def test_tag_lists_come_in_pages_and_are_put_together(
    registry: EmbeddedRegistry, client: RegistryClient
) -> None:
    tags = [f"1.0.{i}" for i in range(8)]
    for tag in tags:
        push_image(registry.url, "acme/web", tag)

    found = client.tags(Repository(registry.host, "acme/web"), now=BUILT)

    assert sorted(found.tags) == tags
    assert client.requests == {registry.host: 3}


def test_a_pushed_tag_moves_and_a_deleted_manifest_takes_its_tags_along(
    registry: EmbeddedRegistry, client: RegistryClient, session: requests.Session
) -> None:
    repository = Repository(registry.host, "acme/web")
    old = push_image(registry.url, "acme/web", "latest", labels={"v": "1"})
    new = push_image(registry.url, "acme/web", "latest", labels={"v": "2"})
    push_image(registry.url, "acme/web", "kept", labels={"v": "1"})
    assert client.digest(repository, "latest") == new != old

    assert session.delete(f"{registry.url}/v2/acme/web/manifests/{new}").status_code == 202

    assert client.tags(repository, now=BUILT).tags == ("kept",)


def test_content_survives_a_restart(tmp_path: Path) -> None:
    with EmbeddedRegistry(tmp_path) as first:
        digest = push_image(first.url, "acme/web", "1.0.0")
    with EmbeddedRegistry(tmp_path) as second:
        client = RegistryClient({second.host: HostSettings(insecure=True)})
        assert client.digest(Repository(second.host, "acme/web"), "1.0.0") == digest
        client.close()


def test_nothing_listens_after_the_end(tmp_path: Path) -> None:
    with EmbeddedRegistry(tmp_path) as registry:
        host, port = registry.host.split(":")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)), 5)


@pytest.mark.parametrize(
    "path",
    [
        "/v2/../../etc/tags/list",
        "/v2/acme/%2e%2e/tags/list",
        "/v2/acme/web/manifests/..%2f..%2fsecret",
        "/v2/acme/web/manifests/../../../../secret",
        "/v2/acme/web/blobs/sha256:../../../secret",
        "/v2/acme/web/blobs/uploads/../../../secret",
        "/v2/acme/_tags/manifests/x",
    ],
)
def test_no_name_leads_out_of_the_folder(registry: EmbeddedRegistry, tmp_path: Path, path: str) -> None:
    (tmp_path / "secret").write_text("what nobody may read")
    host, port = registry.host.split(":")
    with socket.create_connection((host, int(port)), 5) as connection:  # no client tidies the path
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        answer = connection.makefile("rb").read()
    assert answer.startswith((b"HTTP/1.1 404", b"HTTP/1.1 400"))
    assert b"nobody may read" not in answer


def test_content_with_another_digest_is_refused(
    registry: EmbeddedRegistry, session: requests.Session
) -> None:
    wrong = "sha256:" + "0" * 64
    blob = session.post(f"{registry.url}/v2/acme/web/blobs/uploads/?digest={wrong}", data=b"content")
    manifest = session.put(f"{registry.url}/v2/acme/web/manifests/{wrong}", data=b'{"schemaVersion": 2}')

    assert (blob.status_code, blob.json()["errors"][0]["code"]) == (400, "DIGEST_INVALID")
    assert (manifest.status_code, manifest.json()["errors"][0]["code"]) == (400, "DIGEST_INVALID")
    assert session.head(f"{registry.url}/v2/acme/web/blobs/{wrong}").status_code == 404


def test_a_manifest_without_its_blobs_is_refused(
    registry: EmbeddedRegistry, session: requests.Session
) -> None:
    descriptor = {"digest": "sha256:" + "1" * 64, "size": 1}
    manifest = {"schemaVersion": 2, "config": descriptor, "layers": []}
    answer = session.put(f"{registry.url}/v2/acme/web/manifests/1.0.0", json=manifest)
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, "MANIFEST_BLOB_UNKNOWN")


def test_a_blob_may_be_pushed_in_chunks_of_unknown_length(
    registry: EmbeddedRegistry, session: requests.Session
) -> None:
    begun = session.post(f"{registry.url}/v2/acme/web/blobs/uploads/")
    place = registry.url + begun.headers["Location"]
    session.patch(place, data=iter([b"con", b"tent"]))  # a generator is sent with chunked encoding
    digest = "sha256:ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73"
    assert session.put(f"{place}?digest={digest}").status_code == 201
    assert session.get(f"{registry.url}/v2/acme/web/blobs/{digest}").content == b"content"


def test_a_push_that_nobody_takes_is_an_error(tmp_path: Path) -> None:
    with EmbeddedRegistry(tmp_path) as registry:
        with pytest.raises(PushError, match="404"):
            push_image(registry.url, "Not/A/Name", "1.0.0")
        url = registry.url
    with pytest.raises(PushError, match="refused"):
        push_image(url, "acme/web", "1.0.0")
