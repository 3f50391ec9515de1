"""Fixtures of the edges' tests; the machinery is in tests/parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from parts.registry import KEY_AND_CERTIFICATE, PLAIN, Behaviour, DockerRegistry, HostileServer

from automator.edges.registry import HostSettings, RegistryClient


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
