"""The table of the config about runtimes: where images run, and how each is asked, read-only."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from automator.config.values import Duration, FilePath, Globs, Section
from automator.core.claims import paths_match
from automator.errors import PolicyError

RuntimeKind = Literal["docker", "kubernetes"]

USUAL_HOST = "unix:///var/run/docker.sock"
_UNIX = re.compile(r"unix:///[^\s?#]+")
_TCP = re.compile(r"tcp://(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}/?")
_NAMESPACE = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)  # RFC 1123, as Kubernetes has it
_OF_DOCKER = ("host", "project", "ca_file", "client_cert_file", "client_key_file")
_OF_KUBERNETES = ("namespaces", "status", "kubeconfig", "context")


def engine_host(value: str) -> str:
    """Where an engine listens. Raises ValueError, with a sentence for people."""
    if value.startswith("ssh://"):
        raise ValueError(
            "a unix:// or tcp:// address: ssh is not spoken here, so forward the engine's socket by "
            "`ssh -L /run/engine.sock:/var/run/docker.sock HOST` and name unix:///run/engine.sock"
        )
    if not value.isprintable() or (_UNIX.fullmatch(value) or _TCP.fullmatch(value)) is None:
        raise ValueError(
            'an address such as "unix:///var/run/docker.sock" or "tcp://engine.example.com:2376"'
        )
    return value.rstrip("/")


def _patterns(value: tuple[str, ...]) -> tuple[str, ...]:
    try:
        paths_match(value)
    except PolicyError:
        raise ValueError('gitignore-style globs such as "clusters/production/**"') from None
    return value


def _synchronizers(value: tuple[str, ...]) -> tuple[str, ...]:
    if not set(value) <= {"argocd", "flux"}:
        raise ValueError('a list of "flux" and "argocd", which may be empty')
    return value


def _namespaces(value: tuple[str, ...]) -> tuple[str, ...]:
    for name in value:
        if not _NAMESPACE.fullmatch(name):
            raise ValueError("names of namespaces, without globs; none for all of them")
    return value


class RuntimeConfig(Section):
    """[runtimes.NAME]: a place where images run, which `drift` asks what runs there; it is never changed."""

    type: RuntimeKind = Field(
        description="What it is: the API of a Kubernetes cluster, or a Docker engine (Podman's too).",
        examples=["kubernetes"],
    )
    repo: str | None = Field(
        default=None,
        min_length=1,
        description="The config repo that says what is to run there; without it the only one there is.",
        examples=["shop"],
    )
    paths: Annotated[Globs, AfterValidator(_patterns)] = Field(
        default=(),
        description="Only what these files of the config repo say is to run there, as gitignore-style globs; "
        "without it all.",
        examples=[["clusters/production/**"]],
    )
    namespaces: Annotated[Globs, AfterValidator(_namespaces)] = Field(
        default=(),
        description="kubernetes: only these namespaces, each asked for alone; without it all, which takes "
        "the right to list in the whole cluster.",
        examples=[["shop", "shop-jobs"]],
    )
    status: Annotated[Globs, AfterValidator(_synchronizers)] = Field(
        default=("flux", "argocd"),
        description="kubernetes: the synchronizers that are asked for their own status, where they are "
        "there.",
        examples=[["flux"]],
    )
    kubeconfig: FilePath | None = Field(
        default=None,
        description="kubernetes: file that says where the cluster is and who we are; without it the service "
        "account of the pod that automator runs in.",
        examples=["/run/secrets/kubeconfig"],
    )
    context: str | None = Field(
        default=None,
        min_length=1,
        description="kubernetes: the context of the kubeconfig; without it its current one.",
        examples=["production"],
    )
    host: Annotated[str, AfterValidator(engine_host)] = Field(
        default=USUAL_HOST,
        description="docker: where the engine listens, as unix:// or tcp://; ssh:// is not spoken.",
    )
    project: str | None = Field(
        default=None,
        min_length=1,
        description="docker: only containers of this Compose project; without it every container.",
        examples=["shop"],
    )
    ca_file: FilePath | None = Field(
        default=None,
        description="docker: certificates that the engine is checked against; takes a tcp:// host.",
        examples=["/etc/automator/engine-ca.pem"],
    )
    client_cert_file: FilePath | None = Field(
        default=None,
        description="docker: certificate that we show to the engine.",
        examples=["/run/secrets/engine.pem"],
    )
    client_key_file: FilePath | None = Field(
        default=None,
        description="docker: its private key, where that is not in the same file.",
        examples=["/run/secrets/engine.key"],
    )
    interval: Duration = Field(
        default=timedelta(minutes=1), description="Time from one look at what runs there to the next."
    )
    grace: Duration = Field(
        default=timedelta(minutes=15),
        description="How long what runs there may be another version than Git says before it counts as "
        "diverged.",
    )
    timeout: Duration = Field(default=timedelta(seconds=20), description="Longest time of one look.")

    @model_validator(mode="after")
    def _fits(self) -> RuntimeConfig:
        foreign = _OF_DOCKER if self.type == "kubernetes" else _OF_KUBERNETES
        strange = next((key for key in foreign if key in self.model_fields_set), None)
        if strange is not None:
            raise ValueError(f"no {strange} for a runtime of type {self.type}")
        if self.client_key_file is not None and self.client_cert_file is None:
            raise ValueError("a client_cert_file beside client_key_file")
        if self.client_cert_file is not None and self.ca_file is None:
            raise ValueError("a ca_file beside client_cert_file: we must know whom we show it")
        if self.ca_file is not None and not self.host.startswith("tcp://"):
            raise ValueError("a tcp:// host beside ca_file")
        return self
