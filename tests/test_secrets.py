"""Secrets stay in: real servers that want passwords, logging at its loudest, and a search for the words."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from parts import registry as registries
from parts.canaries import MARK
from parts.gitserver import HttpGit, git, http_git
from parts.world import World, real_world

GIT_SECRET = f"{MARK}-of-git"
USER, PASSWORD = registries.USER, registries.PASSWORD
WRONG_GIT, WRONG_REGISTRY = f"{MARK}-wrong-of-git", f"{MARK}-wrong-of-registry"

pytestmark = pytest.mark.needs("docker-registry", "skopeo")


@pytest.fixture
def doors(tmp_path: Path) -> Iterator[tuple[World, HttpGit]]:
    """A world whose registry and Git server both ask who is there."""
    with (
        real_world(tmp_path, htpasswd=True) as world,
        http_git(tmp_path / "git", users={"robot": GIT_SECRET}) as served,
    ):
        (tmp_path / "git-token").write_text(GIT_SECRET + "\n")
        (tmp_path / "registry-token").write_text(PASSWORD + "\n")
        git(world.repo.path, "config", "http.receivepack", "true")
        world.configure(
            url=served.url(world.repo),
            repo='credentials = {username = "robot", password_file = "git-token"}',
            registry=f'credentials = {{username = "{USER}", password_file = "registry-token"}}',
            daemon='listen = "127.0.0.1:0"\ninterval = "1s"',
            more='[log]\nlevel = "debug"\nformat = "json"',
        )
        yield world, served


def push(world: World, name: str, *tags: str) -> None:
    for tag in tags:
        registries.push_image(world.host, f"acme/{name}", tag, user=USER, password=PASSWORD)


def told(world: World) -> bytes:
    """Everything that was written: state, logs, and every object and ref of the config repo."""
    files = [f for f in (*world.state.rglob("*"), *world.root.glob("log-*")) if f.is_file()]
    objects = git(world.repo.path, "log", "--all", "-p", "--format=fuller").encode()
    return b"".join(f.read_bytes() for f in files) + objects


def test_no_secret_is_ever_told(doors: tuple[World, HttpGit]) -> None:
    world, served = doors
    push(world, "web", "1.0.0", "1.1.0")
    world.adopt("web")
    said = [world.run("once", "--log-level", "debug").fine()]
    assert world.version("web") == "1.1.0"
    assert any(header.startswith("Basic ") for header in served.authorizations), "the password was used"
    asked = (["plan"], ["status"], ["log"], ["explain", "web"], ["tags", world.image("web"), "-v"])
    said += [world.run(*command, "--log-level", "debug").fine() for command in asked]
    assert f"{USER}" in said[-1].err
    with world.start("run", "--log-level", "debug") as daemon:
        push(world, "web", "1.2.0")
        daemon.until(lambda: world.version("web") == "1.2.0", "the release")
        arguments = b"".join(
            (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
            for folder in Path("/proc").glob(str(daemon.process.pid))
        )
        metrics = daemon.get("/metrics").content
        assert daemon.end() == 0

    (world.root / "git-token").write_text(WRONG_GIT)
    (world.root / "registry-token").write_text(WRONG_REGISTRY)
    refused = world.run("once", "--log-level", "debug")
    assert refused.code == 1
    assert "denies access" in refused.err
    tags = world.run("tags", world.image("web"), "--log-level", "debug")
    assert tags.code == 1
    said += [refused, tags]

    everything = told(world) + arguments + metrics + "".join(d.out + d.err for d in said).encode()
    assert world.repo.tip() is not None
    for secret in (GIT_SECRET, PASSWORD, WRONG_GIT, WRONG_REGISTRY):
        assert secret.encode() not in everything
        for user in (USER, "robot"):
            assert base64.b64encode(f"{user}:{secret}".encode()) not in everything


def test_a_credential_helper_on_the_path_is_asked(tmp_path: Path) -> None:
    with real_world(tmp_path, htpasswd=True) as world:
        push(world, "web", "1.0.0")
        tools = tmp_path / "bin"
        tools.mkdir()
        helper = tools / "docker-credential-vault"
        helper.write_text(
            "#!/bin/sh\nread -r host\n"
            f'printf \'{{"ServerURL": "%s", "Username": "{USER}", "Secret": "{PASSWORD}"}}\' "$host"\n'
        )
        helper.chmod(0o755)
        (tmp_path / "docker.json").write_text(f'{{"credHelpers": {{"{world.host}": "vault"}}}}')
        world.config.write_text('docker_config = "docker.json"\n' + world.config.read_text())
        path = {"PATH": f"{tools}:{os.environ['PATH']}"}
        done = world.run("tags", world.image("web"), "--verbose", env=path).fine()
        assert done.out == "1.0.0\n"
        assert "vault" in done.err
        assert PASSWORD not in done.err
        missing = world.run("tags", world.image("web"))
        assert missing.code == 1
        assert "credential helper vault failed" in missing.err
