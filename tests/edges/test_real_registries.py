"""Registries as people run them: docker-registry behind htpasswd, behind tokens, behind nginx with TLS.

Each test counts the requests by the registry's own log: users pay for them.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests
from parts.canaries import secret
from parts.certificates import make_ca
from parts.nginx import Nginx, behind
from parts.registry import (
    PASSWORD,
    PLAIN,
    USER,
    DockerRegistry,
    push_image,
    push_index,
    refusal,
    unique_name,
    wait_until,
)
from parts.tokens import LEEWAY, TokenService, pulling_to_all

from automator.core.reference import Repository
from automator.edges.registry import DockerConfig, PasswordFile, RegistryClient

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
BUILT = datetime(2026, 11, 20, 9, 14, 2, tzinfo=UTC)
IDENTITY = secret("identity")

pytestmark = pytest.mark.needs("docker-registry", "skopeo")

MakeClient = Callable[..., RegistryClient]


class Guarded:
    """A registry that lets in who has a token of `service`, and the requests since `begin`."""

    def __init__(self, registry: DockerRegistry, service: TokenService) -> None:
        self.registry = registry
        self.service = service
        self.host = registry.host
        self._before = 0

    def push(self, name: str, *tags: str) -> Repository:
        for tag in tags:
            push_image(self.host, name, tag, created=BUILT, user=USER, password=PASSWORD)
        wait_until(lambda: len(self.registry.requests(f"{name}/manifests")) >= len(tags), "the last line")
        self.begin()
        return Repository(self.host, name)

    def begin(self) -> None:
        self.service.asked.clear()
        self._before = len(self.registry.requests())

    def requests(self, number: int) -> list[str]:
        """The requests since `begin`, of which there must be `number`."""
        wait_until(lambda: len(self.registry.requests()) - self._before >= number, f"{number} requests")
        found = self.registry.requests()[self._before :]
        assert len(found) == number, found
        return found


@pytest.fixture(scope="module")
def token_mode(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("tokens")
    with (
        TokenService(folder / "service", users={USER: PASSWORD}, identities={IDENTITY: USER}) as service,
        DockerRegistry(folder / "registry", token=service.config) as registry,
    ):
        yield Guarded(registry, service)


@pytest.fixture
def guarded(token_mode: Guarded) -> Iterator[Guarded]:
    """As it comes; a test may change what the service grants."""
    service = token_mode.service
    usual = service.grant, service.life, service.users
    yield token_mode
    service.grant, service.life, service.users = usual


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    file = tmp_path / "password"
    file.write_text(PASSWORD + "\n")
    return file


# -- tokens -------------------------------------------------------------------------------------------


def test_one_token_serves_all_that_is_asked_of_a_repository(
    guarded: Guarded, make_client: MakeClient, password_file: Path
) -> None:
    repository = guarded.push(unique_name(), "1.0.0", "1.1.0", "1.2.0")
    client = make_client(
        guarded.host, settings=replace(PLAIN, credentials=PasswordFile(USER, str(password_file)))
    )
    assert sorted(client.tags(repository, now=NOW).tags) == ["1.0.0", "1.1.0", "1.2.0"]
    for tag in ("1.0.0", "1.1.0", "1.2.0"):
        assert client.image(repository, tag).built == BUILT
    assert client.digest(repository, "1.2.0") == client.image(repository, "1.2.0").digest
    assert sorted(client.tags(repository, now=NOW).tags) == ["1.0.0", "1.1.0", "1.2.0"]
    # Refused once, then two lists, four images of two requests each, and one HEAD.
    asked = guarded.requests(1 + 2 + 4 * 2 + 1)
    assert [line.split()[-1] for line in asked] == ["401", *["200"] * 11]
    assert [(a.method, a.user, a.scopes) for a in guarded.service.asked] == [
        ("GET", USER, (f"repository:{repository.path}:pull",))
    ]


def test_each_repository_costs_one_token_and_only_the_first_a_refusal(
    guarded: Guarded, make_client: MakeClient, password_file: Path
) -> None:
    repositories = [guarded.push(unique_name(), "1.0.0") for _ in range(3)]
    client = make_client(
        guarded.host, settings=replace(PLAIN, credentials=PasswordFile(USER, str(password_file)))
    )
    for _ in range(2):
        for repository in repositories:
            client.tags(repository, now=NOW)
    assert [line.split()[-1] for line in guarded.requests(7)] == ["401", *["200"] * 6]
    assert guarded.service.pulls() == [r.path for r in repositories]


def test_without_credentials_an_anonymous_token_is_tried(guarded: Guarded, make_client: MakeClient) -> None:
    repository = guarded.push(unique_name(), "1.0.0")
    guarded.service.grant = pulling_to_all
    assert make_client(guarded.host).tags(repository, now=NOW).tags == ("1.0.0",)
    assert [(a.method, a.user) for a in guarded.service.asked] == [("GET", None)]
    guarded.requests(2)


def test_a_token_that_grants_nothing_is_a_no_after_two_requests(
    guarded: Guarded, make_client: MakeClient
) -> None:
    repository = guarded.push(unique_name(), "1.0.0")
    error = refusal(lambda: make_client(guarded.host).tags(repository, now=NOW))
    assert error.reason.code == "registry/denied"
    assert "no credentials" in str(error)
    assert len(guarded.service.asked) == 1
    guarded.requests(2)


def test_a_token_that_ends_sooner_than_was_said_is_renewed_once(
    guarded: Guarded, make_client: MakeClient, password_file: Path
) -> None:
    repository = guarded.push(unique_name(), "1.0.0")
    client = make_client(
        guarded.host, settings=replace(PLAIN, credentials=PasswordFile(USER, str(password_file)))
    )
    guarded.service.life = timedelta(seconds=2) - LEEWAY
    client.tags(repository, now=NOW)
    _wait_for_the_end_of(guarded, guarded.service.tokens[-1], repository)
    guarded.service.life = timedelta(minutes=5)
    guarded.begin()
    assert client.tags(repository, now=NOW).tags == ("1.0.0",)
    assert [line.split()[-1] for line in guarded.requests(2)] == ["401", "200"]
    assert guarded.service.pulls() == [repository.path]


def _wait_for_the_end_of(guarded: Guarded, token: str, repository: Repository) -> None:
    url = f"http://{guarded.host}/v2/{repository.path}/tags/list"

    def refused() -> bool:
        return requests.get(url, headers={"Authorization": f"Bearer {token}"}, timeout=5).status_code == 401

    wait_until(refused, "the registry refuses the token")
    count = len(guarded.registry.requests())
    requests.get(f"http://{guarded.host}/v2/", timeout=5)
    wait_until(lambda: len(guarded.registry.requests()) > count, "the log has all")


def test_an_identity_token_opens_the_registry(
    guarded: Guarded, make_client: MakeClient, tmp_path: Path
) -> None:
    repository = guarded.push(unique_name(), "1.0.0")
    entry = {"auth": base64.b64encode(b"<token>:").decode(), "identitytoken": IDENTITY}
    (tmp_path / "config.json").write_text(json.dumps({"auths": {guarded.host: entry}}))
    client = make_client(guarded.host, settings=replace(PLAIN, credentials=DockerConfig(str(tmp_path))))
    assert client.tags(repository, now=NOW).tags == ("1.0.0",)
    assert [(a.method, a.user) for a in guarded.service.asked] == [("POST", USER)]
    posted = guarded.service.received[-1]
    assert IDENTITY not in f"{posted.path} {posted.query}", "URLs end in logs"
    guarded.requests(2)


def test_a_password_that_was_changed_is_taken_up_without_a_restart(
    guarded: Guarded, make_client: MakeClient, password_file: Path
) -> None:
    repository = guarded.push(unique_name(), "1.0.0")
    new = secret("new password")
    settings = replace(PLAIN, credentials=PasswordFile(USER, str(password_file)))
    guarded.service.users = {USER: new}
    client = make_client(guarded.host, settings=settings)
    error = refusal(lambda: client.tags(repository, now=NOW))
    assert error.reason.code == "registry/denied"
    assert str(password_file) in str(error), "it says where the refused password came from"
    assert PASSWORD not in str(error)
    password_file.write_text(new)
    assert client.tags(repository, now=NOW).tags == ("1.0.0",)
    assert [asked.granted for asked in guarded.service.asked] == [False, True]
    guarded.requests(2)


# -- the image itself ---------------------------------------------------------------------------------


def test_an_index_costs_three_requests(make_client: MakeClient, docker_registry: DockerRegistry) -> None:
    name = unique_name()
    digest = push_index(
        docker_registry.host, name, "1.0.0", platforms=[("linux/amd64", BUILT), ("linux/arm64", BUILT)]
    )
    client = make_client(docker_registry.host)
    image = client.image(Repository(docker_registry.host, name), "1.0.0")
    assert (image.digest, image.built) == (digest, BUILT)
    assert {str(p) for p in image.platforms or ()} == {"linux/amd64", "linux/arm64"}

    def asked() -> int:
        return sum(line.startswith("GET ") for line in docker_registry.requests(name))

    wait_until(lambda: asked() >= 3, "the index, an image and its config")
    assert asked() == 3


# -- a password ---------------------------------------------------------------------------------------


def test_a_password_is_sent_only_after_it_was_asked_for(
    closed_registry: DockerRegistry, make_client: MakeClient, password_file: Path
) -> None:
    name = unique_name()
    push_image(closed_registry.host, name, "1.0.0", user=USER, password=PASSWORD)
    repository = Repository(closed_registry.host, name)
    settings = replace(PLAIN, credentials=PasswordFile(USER, str(password_file)))
    client = make_client(closed_registry.host, settings=settings)
    for _ in range(3):
        assert client.tags(repository, now=NOW).tags == ("1.0.0",)
    wait_until(lambda: len(closed_registry.requests(f"{name}/tags")) >= 4, "four requests")
    statuses = [line.split()[-1] for line in closed_registry.requests(f"{name}/tags")]
    assert statuses == ["401", "200", "200", "200"]


# -- TLS ----------------------------------------------------------------------------------------------


@pytest.mark.needs("nginx-light")
def test_a_password_through_nginx_with_a_private_authority(
    closed_registry: DockerRegistry, make_client: MakeClient, password_file: Path, tmp_path: Path
) -> None:
    name = unique_name()
    digest = push_image(closed_registry.host, name, "1.0.0", user=USER, password=PASSWORD)
    authority = make_ca(tmp_path / "ca")
    with Nginx(
        tmp_path / "nginx", behind(closed_registry.host), certificate=authority.issue(["127.0.0.1"])
    ) as nginx:
        repository = Repository(nginx.host, name)
        settings = replace(
            PLAIN,
            insecure=False,
            ca_file=str(authority.ca_file),
            credentials=PasswordFile(USER, str(password_file)),
        )
        client = make_client(nginx.host, settings=settings)
        assert client.tags(repository, now=NOW).tags == ("1.0.0",)
        assert client.image(repository, "1.0.0").digest == digest
        wait_until(lambda: len(nginx.requests()) == 4, "401, list, manifest and config")
        stranger = make_client(nginx.host, settings=replace(settings, ca_file=None))
        assert refusal(lambda: stranger.tags(repository, now=NOW)).reason.code.startswith("registry/tls")
        assert len(nginx.requests()) == 4, "nothing was asked, let alone told, without trust"
