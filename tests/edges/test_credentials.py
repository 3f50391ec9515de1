"""Credentials from Docker's config and its helpers, by real helper programs on PATH."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from parts.credentials import Helper, answering, auth
from parts.registry import PASSWORD, USER, DockerRegistry, push_image, refusal, unique_name

from automator.core.reference import Repository
from automator.edges.registry import Credential, DockerConfig, HostSettings, PasswordFile, RegistryClient
from automator.edges.registry.credentials import Secret


@pytest.mark.needs("docker-registry")
@pytest.mark.needs("skopeo")
@pytest.mark.parametrize("by", ["auths", "helper"])
def test_a_closed_registry_opens_to_dockers_own_login(
    closed_registry: DockerRegistry,
    config: Callable[[Mapping[str, object]], DockerConfig],
    helper: Helper,
    by: str,
) -> None:
    host = closed_registry.host
    repository = Repository(host, unique_name())
    push_image(host, repository.path, "1.0.0", user=USER, password=PASSWORD)
    calls = helper("tests", answering(USER, PASSWORD))
    source = config(
        {"auths": {host: auth(USER, PASSWORD)}} if by == "auths" else {"credHelpers": {host: "tests"}}
    )
    client = RegistryClient({host: HostSettings(insecure=True, credentials=source)})

    assert client.image(repository, "1.0.0").digest == client.digest(repository, "1.0.0")
    assert calls.exists() == (by == "helper")
    if by == "helper":
        assert calls.read_text() == f"get {host}\n"  # one process for all requests
        assert "credential helper tests" in source.describe(host)
    client.close()


def test_secrets_show_in_no_repr_and_no_description(
    config: Callable[[Mapping[str, object]], DockerConfig], tmp_path: Path
) -> None:
    docker = config({"auths": {"ghcr.io": auth("ann", "s3cret")}})
    (tmp_path / "password").write_text("s3cret")
    file = PasswordFile("ann", str(tmp_path / "password"))
    for source in (docker, file):
        found = source.find("ghcr.io")
        assert found is not None
        assert found.secret == "s3cret"
        settings = HostSettings(credentials=source)
        assert "s3cret" not in f"{found!r} {found} {source!r} {settings!r} {source.describe('ghcr.io')}"
        assert "ann" in source.describe("ghcr.io")


@pytest.mark.parametrize(
    ("entries", "host", "path", "expected"),
    [
        ({"ghcr.io": auth("a", "p")}, "ghcr.io", "x/y", Credential("a", "p")),
        ({"https://ghcr.io/v2/": auth("a", "p")}, "ghcr.io", "x/y", Credential("a", "p")),
        ({"ghcr.io": auth("a", "p")}, "quay.io", "x/y", None),
        ({"ghcr.io": {}}, "ghcr.io", "x/y", None),
        ({"https://index.docker.io/v1/": auth("a", "p")}, "docker.io", "library/x", Credential("a", "p")),
        (
            {"https://index.docker.io/v1/": auth("a", "p")},
            "registry-1.docker.io",
            "x/y",
            Credential("a", "p"),
        ),
        ({"r.test:5000": {"username": "a", "password": "p:q"}}, "r.test:5000", "x", Credential("a", "p:q")),
        ({"r.test": auth("a", "p:q")}, "r.test", "x", Credential("a", "p:q")),
        ({"r.test": auth("a", "p")}, "r.test:5000", "x", None),
        (
            {"quay.io/org-a": auth("a", "p"), "quay.io/org-b": auth("b", "p")},
            "quay.io",
            "org-b/x",
            Credential("b", "p"),
        ),
        (
            {"quay.io/org-a": auth("a", "p"), "quay.io": auth("all", "p")},
            "quay.io",
            "org-abc/x",
            Credential("all", "p"),
        ),
        ({"*.azurecr.io": auth("a", "p")}, "acme.azurecr.io", "x", Credential("a", "p")),
        ({"*.azurecr.io": auth("a", "p")}, "evil.acme.azurecr.io", "x", None),
        (
            {"*.azurecr.io": auth("w", "p"), "acme.azurecr.io": auth("a", "p")},
            "acme.azurecr.io",
            "x",
            Credential("a", "p"),
        ),
        ({"r.test": {"identitytoken": "t"}}, "r.test", "x", Credential("<token>", "t", Secret.IDENTITY)),
        ({"r.test": {"registrytoken": "t"}}, "r.test", "x", Credential("", "t", Secret.BEARER)),
        ({"broken.test": {"auth": "%%%"}, "r.test": auth("a", "p")}, "r.test", "x", Credential("a", "p")),
    ],
)
def test_which_entry_of_a_docker_config_counts(
    config: Callable[[Mapping[str, object]], DockerConfig],
    entries: Mapping[str, object],
    host: str,
    path: str,
    expected: Credential | None,
) -> None:
    assert config({"auths": entries}).find(host, path) == expected


def test_a_config_that_changes_is_read_again(
    config: Callable[[Mapping[str, object]], DockerConfig], tmp_path: Path
) -> None:
    source = config({"auths": {"ghcr.io": auth("ann", "old")}})
    before = source.find("ghcr.io")
    aside = tmp_path / "aside"
    aside.write_text(json.dumps({"auths": {"ghcr.io": auth("ann", "new")}}))
    aside.rename(tmp_path / "config.json")
    after = source.find("ghcr.io")
    assert before is not None
    assert after is not None
    assert (before.secret, after.secret) == ("old", "new")


def test_a_config_that_somebody_named_must_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = tmp_path / "missing"
    named = refusal(lambda: DockerConfig(str(missing)).find("ghcr.io"))
    monkeypatch.setenv("DOCKER_CONFIG", str(missing))
    by_environment = refusal(lambda: DockerConfig().find("ghcr.io"))
    assert named.reason.code == by_environment.reason.code == "credentials/unreadable"
    assert str(missing) in str(named)
    assert str(missing) in str(by_environment)
    assert not named.retry


def test_without_any_docker_config_there_are_no_credentials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("DOCKER_CONFIG", raising=False)
    source = DockerConfig()
    assert source.find("ghcr.io") is None
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker/config.json").write_text(json.dumps({"auths": {"ghcr.io": auth("ann", "p")}}))
    assert source.find("ghcr.io") == Credential("ann", "p")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"auths": {"ghcr.io": {"auth": "bm9jb2xvbg=="}}}'])
def test_a_broken_config_is_an_error_that_names_it(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    error = refusal(lambda: DockerConfig(str(tmp_path / "config.json")).find("ghcr.io"))
    assert error.reason.code == "credentials/docker-config"
    assert str(tmp_path / "config.json") in str(error)
    assert "nocolon" not in str(error)


@pytest.mark.parametrize("content", [None, b"  \n", b"\xff\xfe"])
def test_a_password_file_that_cannot_be_used_is_an_error_that_names_it(
    tmp_path: Path, content: bytes | None
) -> None:
    file = tmp_path / "password"
    if content is not None:
        file.write_bytes(content)
    error = refusal(lambda: PasswordFile("ann", str(file)).find("ghcr.io"))
    assert error.reason.code == "credentials/unreadable"
    assert str(file) in str(error)
    assert not error.retry


def test_the_hub_is_asked_for_by_the_name_that_docker_gives_it(
    config: Callable[[Mapping[str, object]], DockerConfig], helper: Helper
) -> None:
    calls = helper("store", answering("ann", "p"))
    assert config({"credsStore": "store"}).find("docker.io") == Credential("ann", "p")
    assert calls.read_text() == "get https://index.docker.io/v1/\n"


def test_a_helper_that_says_token_gives_an_identity_token(
    config: Callable[[Mapping[str, object]], DockerConfig], helper: Helper
) -> None:
    helper("store", answering("<token>", "t"))
    found = config({"credsStore": "store"}).find("ghcr.io")
    assert found is not None
    assert found.kind is Secret.IDENTITY


def test_a_refused_credential_is_asked_for_again(
    config: Callable[[Mapping[str, object]], DockerConfig], helper: Helper, tmp_path: Path
) -> None:
    calls = helper("store", answering("ann", "p"))
    config({"credsStore": "store"})
    source = DockerConfig(str(tmp_path), fresh_seconds=0)
    source.find("ghcr.io")
    source.find("ghcr.io")
    source.forget("ghcr.io")
    source.find("ghcr.io")
    assert calls.read_text() == "get ghcr.io\n" * 2


def test_a_refused_credential_that_is_new_is_not_asked_for_again(
    config: Callable[[Mapping[str, object]], DockerConfig], helper: Helper
) -> None:
    calls = helper("store", answering("ann", "p"))
    source = config({"credsStore": "store"})
    for _ in range(20):  # as many image repositories, all refused
        source.find("ghcr.io")
        source.forget("ghcr.io")
    assert calls.read_text() == "get ghcr.io\n"


def test_a_store_that_has_none_or_is_not_installed_leaves_the_auths(
    config: Callable[[Mapping[str, object]], DockerConfig], helper: Helper
) -> None:
    helper("empty", "echo 'credentials not found in native keychain'; exit 1")
    for store in ("empty", "desktop-that-is-not-here"):
        source = config({"credsStore": store, "auths": {"ghcr.io": auth("ann", "p")}})
        assert source.find("ghcr.io") == Credential("ann", "p")
        assert source.find("quay.io") is None
        assert store in source.describe("quay.io")


def test_a_helper_named_for_a_host_must_be_installed(
    config: Callable[[Mapping[str, object]], DockerConfig],
) -> None:
    source = config({"credHelpers": {"ghcr.io": "not-here"}})
    error = refusal(lambda: source.find("ghcr.io"))
    assert error.reason.code == "credentials/helper"
    assert "not installed" in str(error)
    assert source.find("quay.io") is None
