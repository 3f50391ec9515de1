"""Fixtures of the edges' tests; the machinery is in tests/parts."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from parts.credentials import Helper
from parts.kubeapi import KubeApi
from parts.registry import KEY_AND_CERTIFICATE, PLAIN, Behaviour, DockerRegistry, HostileServer

from automator.edges.kubernetes import Cluster
from automator.edges.registry import DockerConfig, HostSettings, RegistryClient


@pytest.fixture(scope="session")
def docker_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    """A real registry that anyone may use. Tests that use it are marked `needs("docker-registry")`."""
    with DockerRegistry(tmp_path_factory.mktemp("registry")) as registry:
        yield registry


@pytest.fixture(scope="session")
def closed_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    """A real registry behind a user name and password."""
    with DockerRegistry(tmp_path_factory.mktemp("closed"), htpasswd=True) as registry:
        yield registry


@pytest.fixture
def hostile() -> Iterator[Callable[[Behaviour], HostileServer]]:
    """Starts servers that behave as told, and ends them with the test."""
    with ExitStack() as stack:
        yield lambda behave: stack.enter_context(HostileServer(behave))


@pytest.fixture
def ca_file(tmp_path: Path) -> Path:
    """The certificate (and key) of the servers that `secure` starts."""
    file = tmp_path / "ca.pem"
    file.write_text(KEY_AND_CERTIFICATE)
    return file


@pytest.fixture
def secure(ca_file: Path) -> Iterator[Callable[[Behaviour], HostileServer]]:
    """As `hostile`, over TLS."""
    with ExitStack() as stack:
        yield lambda behave: stack.enter_context(HostileServer(behave, tls=ca_file))


@pytest.fixture
def make_client() -> Iterator[Callable[..., RegistryClient]]:
    """Makes clients for which the named hosts are declared, all with the same settings."""
    clients = []

    def make(*hosts: str, settings: HostSettings = PLAIN, **rest: Any) -> RegistryClient:
        clients.append(RegistryClient(dict.fromkeys(hosts, settings), **rest))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def config(tmp_path: Path) -> Callable[[Mapping[str, object]], DockerConfig]:
    """Writes a Docker config and gives the source that reads it."""

    def write(content: Mapping[str, object]) -> DockerConfig:
        (tmp_path / "config.json").write_text(json.dumps(content))
        return DockerConfig(str(tmp_path), helper_seconds=10)

    return write


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Helper:
    """Puts a shell script on PATH as docker-credential-NAME; its folder, where it notes each call."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    def write(name: str, script: str) -> Path:
        program = folder / f"docker-credential-{name}"
        program.write_text(f'#!/bin/sh\nread server\necho "$1 $server" >> {folder}/calls\n{script}\n')
        program.chmod(0o755)
        return folder / "calls"

    return write


@pytest.fixture
def api(tmp_path: Path) -> Iterator[KubeApi]:
    """A Kubernetes API server."""
    with KubeApi(tmp_path) as server:
        yield server


@pytest.fixture
def clusters() -> Iterator[list[Cluster]]:
    """Clusters that were opened, to be closed with the test."""
    opened: list[Cluster] = []
    yield opened
    for cluster in opened:
        cluster.close()
