"""`automator tags IMAGE --verbose`: whose credentials opened the registry, and never the secret."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from parts import launching
from parts.canaries import secret
from parts.registry import PASSWORD as REAL_PASSWORD
from parts.registry import USER as REAL_USER
from parts.registry import Behaviour, DockerRegistry, HostileServer, Received, Reply, json_reply, push_image
from parts.world import Completed

CANARY = secret("registry")
ENCODED = base64.b64encode(f"ann:{CANARY}".encode()).decode()


@pytest.fixture
def closed() -> Iterator[Callable[[Behaviour], HostileServer]]:
    with ExitStack() as stack:
        yield lambda behave: stack.enter_context(HostileServer(behave))


def basic(asked: Received) -> Reply:
    """A registry that opens to ann."""
    if asked.headers.get("authorization") == f"Basic {ENCODED}":
        return json_reply({"tags": ["1.0.0", "1.1.0"]})
    return json_reply({"errors": [{"code": "UNAUTHORIZED"}]}, 401, WWW_Authenticate='Basic realm="tests"')


def tags(folder: Path, config: str, image: str, *flags: str) -> Completed:
    (folder / "automator.toml").write_text(config)
    arguments = ["--config", str(folder / "automator.toml"), "tags", image, "--verbose", *flags]
    environ = {**os.environ, "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    found = Completed.of(launching.execute(arguments, cwd=Path.cwd(), env=environ))
    for hidden in (CANARY, ENCODED, REAL_PASSWORD):
        assert hidden not in found.out + found.err
    return found


def registry(host: str, rest: str = "") -> str:
    return f'[registries."{host}"]\ninsecure = true\n{rest}\n'


def by_password_file(folder: Path, host: str) -> tuple[str, str]:
    (folder / "password").write_text(CANARY)
    doors = f'credentials = {{username = "ann", password_file = "{folder}/password"}}'
    return registry(host, doors), f"user ann with the password in {folder}/password"


def by_entry(folder: Path, host: str) -> tuple[str, str]:
    (folder / "docker.json").write_text(json.dumps({"auths": {f"{host}/acme": {"auth": ENCODED}}}))
    config = registry(host, f'docker_config = "{folder}/docker.json"')
    return config, f"user ann of {folder}/docker.json, entry {host}/acme"


def by_common_entry(folder: Path, host: str) -> tuple[str, str]:
    _, words = by_entry(folder, host)
    return f'docker_config = "{folder}/docker.json"\n' + registry(host), words


def by_helper(folder: Path, host: str) -> tuple[str, str]:
    (folder / "bin").mkdir()
    program = folder / "bin/docker-credential-tests"
    program.write_text(f"#!/bin/sh\necho '{json.dumps({'Username': 'ann', 'Secret': CANARY})}'\n")
    program.chmod(0o755)
    (folder / "docker.json").write_text(json.dumps({"credHelpers": {host: "tests"}}))
    config = registry(host, f'docker_config = "{folder}/docker.json"')
    return config, f"credential helper tests of {folder}/docker.json"


@pytest.mark.parametrize("by", [by_password_file, by_entry, by_common_entry, by_helper])
def test_the_source_is_told_in_words(
    closed: Callable[[Behaviour], HostileServer],
    tmp_path: Path,
    by: Callable[[Path, str], tuple[str, str]],
) -> None:
    server = closed(basic)
    config, words = by(tmp_path, server.host)
    done = tags(tmp_path, config, f"{server.host}/acme/web").fine()
    assert done.out.split() == ["1.0.0", "1.1.0"]
    assert done.err == f"{server.host}/acme/web: 2 tags, credentials: {words}\n"
    told = tags(tmp_path, config, f"{server.host}/acme/web", "-o", "json").fine().json
    assert told == {"repository": f"{server.host}/acme/web", "credentials": words, "tags": ["1.0.0", "1.1.0"]}


def test_the_source_is_told_when_the_registry_refuses_it(
    closed: Callable[[Behaviour], HostileServer], tmp_path: Path
) -> None:
    server = closed(lambda _: json_reply({}, 401, WWW_Authenticate='Basic realm="tests"'))
    config, words = by_entry(tmp_path, server.host)
    refused = tags(tmp_path, config, f"{server.host}/acme/web")
    assert refused.code == 1
    assert f"{server.host}/acme/web: no answer, credentials: {words}\n" in refused.err
    other = tags(tmp_path, config, f"{server.host}/other/web", "-o", "json")
    assert other.code == 1
    assert other.json["tags"] is None
    assert other.json["error"]["code"] == "registry/denied"
    assert other.json["credentials"] == f"none, since nothing for {server.host} is in {tmp_path}/docker.json"


def test_an_open_registry_asks_for_none(closed: Callable[[Behaviour], HostileServer], tmp_path: Path) -> None:
    server = closed(lambda _: json_reply({"tags": ["1.0.0"]}))
    config, _ = by_entry(tmp_path, server.host)
    done = tags(tmp_path, config, f"{server.host}/acme/web").fine()
    assert "1 tag, credentials: none, since the registry did not ask for any" in done.err


def test_a_token_service_is_told(closed: Callable[[Behaviour], HostileServer], tmp_path: Path) -> None:
    def behave(asked: Received) -> Reply:
        if asked.path == "/token":
            return json_reply({"token": secret("token")})
        if asked.headers.get("authorization") == f"Bearer {secret('token')}":
            return json_reply({"tags": ["1.0.0"]})
        return json_reply({}, 401, WWW_Authenticate=f'Bearer realm="http://{server.host}/token",service="x"')

    server = closed(behave)
    config, words = by_password_file(tmp_path, server.host)
    done = tags(tmp_path, config, f"{server.host}/acme/web").fine()
    assert f"credentials: {words}; for a token of http://{server.host}/token" in done.err
    assert secret("token") not in done.out + done.err


def test_a_source_that_fails_is_told(closed: Callable[[Behaviour], HostileServer], tmp_path: Path) -> None:
    server = closed(basic)
    config, _ = by_password_file(tmp_path, server.host)
    (tmp_path / "password").write_text("\n")
    done = tags(tmp_path, config, f"{server.host}/acme/web")
    assert done.code == 1
    assert f"credentials in {tmp_path}/password cannot be read: it is empty" in done.err


@pytest.mark.needs("docker-registry")
@pytest.mark.needs("skopeo")
def test_a_real_registry_says_who_opened_it(tmp_path: Path) -> None:
    with DockerRegistry(tmp_path / "registry", htpasswd=True) as real:
        push_image(real.host, "acme/web", "1.0.0", user=REAL_USER, password=REAL_PASSWORD)
        (tmp_path / "password").write_text(f"{REAL_PASSWORD}\n")
        doors = f'credentials = {{username = "{REAL_USER}", password_file = "{tmp_path}/password"}}'
        done = tags(tmp_path, registry(real.host, doors), f"{real.host}/acme/web").fine()
    assert done.out == "1.0.0\n"
    assert f"user {REAL_USER} with the password in {tmp_path}/password" in done.err
