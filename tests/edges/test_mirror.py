"""Mirrors: the images of one host, asked for at another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from parts.registry import (
    PASSWORD,
    PLAIN,
    USER,
    Behaviour,
    DockerRegistry,
    HostileServer,
    Received,
    Reply,
    json_reply,
    push_image,
    refusal,
    unique_name,
    wait_until,
)

from automator.app.build import registry_client
from automator.config import load
from automator.core.reference import Repository, parse_repository
from automator.edges.registry import Credential, PasswordFile, RegistryClient

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)

Hostile = Callable[[Behaviour], HostileServer]


@contextmanager
def mirrored(host: str, by: str, **rest: Any) -> Iterator[RegistryClient]:
    """A client for which `by` is the mirror of `host`."""
    client = RegistryClient({host: replace(PLAIN, address=by, **rest)})
    yield client
    client.close()


@pytest.mark.needs("docker-registry", "skopeo")
def test_a_pull_through_registry_is_asked_and_the_name_stays(tmp_path: Path) -> None:
    with DockerRegistry(tmp_path / "upstream") as upstream:
        name = unique_name("library/web")
        digest = push_image(upstream.host, name, "1.4.2", created=NOW)
        pushed = len(upstream.requests())
        with (
            DockerRegistry(tmp_path / "mirror", proxy_of=f"http://{upstream.host}") as mirror,
            mirrored("docker.io", mirror.host) as client,
        ):
            repository = parse_repository(name.removeprefix("library/"))
            assert repository.registry == "docker.io"

            found = client.tags(repository, now=NOW)
            assert (found.repository, found.tags) == (repository, ("1.4.2",))
            assert client.digest(repository, "1.4.2") == digest
            assert client.image(repository, "1.4.2").built == NOW
            assert client.requests == {"docker.io": 4}

            wait_until(lambda: len(mirror.requests("/v2/")) == 4, "four requests in the mirror's log")
            config = mirror.requests("/blobs/")[0]
            assert mirror.requests("/v2/") == [
                f"GET /v2/{name}/tags/list?n=1000 200",
                f"HEAD /v2/{name}/manifests/1.4.2 200",
                f"GET /v2/{name}/manifests/1.4.2 200",
                config,
            ]
            assert len(upstream.requests()) > pushed  # asked by the mirror, not by us

            missing = refusal(lambda: client.tags(Repository("docker.io", "library/missing"), now=NOW))
        assert "docker.io/library/missing" in str(missing)
        assert mirror.host in str(missing)


def test_a_mirrors_prefix_is_in_paths_and_scopes_and_its_credentials_are_its_own(
    hostile: Hostile, tmp_path: Path
) -> None:
    (tmp_path / "password").write_text(PASSWORD)

    def behave(request: Received) -> Reply:
        if request.path == "/token":
            return json_reply({"token": "t1"})
        if request.headers.get("authorization") == "Bearer t1":
            return json_reply({"tags": ["1.0.0"]})
        scope = "repository:hub-proxy/library/nginx:pull"
        return Reply(401, b"", {"WWW-Authenticate": f'Bearer realm="/token",service="m",scope="{scope}"'})

    asked: list[tuple[str, str]] = []

    class Noted(PasswordFile):
        def find(self, host: str, path: str = "") -> Credential | None:
            asked.append((host, path))
            return super().find(host, path)

    server = hostile(behave)
    source = Noted(USER, str(tmp_path / "password"))
    with mirrored("docker.io", server.host, prefix="hub-proxy", credentials=source) as client:
        assert client.tags(Repository("docker.io", "library/nginx"), now=NOW).tags == ("1.0.0",)
        assert client.tags(Repository("docker.io", "acme/web"), now=NOW).tags == ("1.0.0",)
    assert server.paths() == [
        "GET /v2/hub-proxy/library/nginx/tags/list",
        "GET /token",
        "GET /v2/hub-proxy/library/nginx/tags/list",
        "GET /token",
        "GET /v2/hub-proxy/acme/web/tags/list",
    ]
    scopes = [r.query["scope"] for r in server.received if r.path == "/token"]
    assert scopes == ["repository:hub-proxy/library/nginx:pull", "repository:hub-proxy/acme/web:pull"]
    assert {host for host, _ in asked} == {server.host}


def test_a_mirror_that_is_down_is_named_beside_the_image_and_the_upstream_is_left_alone() -> None:
    with mirrored("docker.io", "127.0.0.1:1") as client:
        error = refusal(lambda: client.tags(Repository("docker.io", "library/nginx"), now=NOW))
    assert error.reason.code == "registry/unreachable"
    assert "docker.io/library/nginx" in str(error)
    assert "127.0.0.1:1" in str(error)


def test_what_a_mirror_redirects_to_upstream_is_not_taken_for_declared(hostile: Hostile) -> None:
    """Settings are those of the mirror: its plain HTTP does not open the upstream's."""
    server = hostile(lambda _: Reply(307, b"", {"Location": "http://registry.test/x"}))
    with mirrored("registry.test", server.host) as client:
        error = refusal(lambda: client.tags(Repository("registry.test", "a/b"), now=NOW))
    assert error.reason.code == "registry/bad-answer"
    assert "not https" in str(error)


def test_the_config_names_mirrors_which_keep_images_of_their_own(hostile: Hostile, tmp_path: Path) -> None:
    server = hostile(lambda _: json_reply({"tags": ["1.0.0"]}))
    (tmp_path / "config.toml").write_text(
        '[repos.shop]\nurl = "https://git.example.com/shop.git"\n'
        f'[registries."{server.host}"]\n'
        'insecure = true\nmirror_of = "docker.io"\nmirror_prefix = "/hub/"\n'
    )
    client = registry_client(load(tmp_path / "config.toml", {}))
    client.tags(Repository("docker.io", "library/nginx"), now=NOW)
    client.tags(Repository(server.host, "acme/web"), now=NOW)
    client.close()
    assert server.paths() == ["GET /v2/hub/library/nginx/tags/list", "GET /v2/acme/web/tags/list"]
