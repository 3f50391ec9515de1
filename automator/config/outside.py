"""The tables of the config about the world outside: registries, keys that sign images, senders of events."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal, get_args

from pydantic import Field, model_validator

from automator.config.values import Duration, EventHost, FilePath, FilePaths, Header, Section, Texts

Sender = Literal[
    "acr",
    "alibaba",
    "artifactory",
    "bitbucket",
    "cloudevents",
    "distribution",
    "dockerhub",
    "ecr",
    "eventgrid",
    "forgejo",
    "gar",
    "generic",
    "gitea",
    "github",
    "gitlab",
    "harbor",
    "nexus",
    "quay",
]
"""Who sends events that are understood."""

SIGNED_BY_TOKEN = "gar"  # noqa: S105
"""The sender that knows no secret: it brings a signed token."""

SIGNERS = ("artifactory", "generic")
"""Senders whose header holds the secret, or a signature made with it."""

NO_CHOICE = (SIGNED_BY_TOKEN, "bitbucket", "forgejo", "gitea", "github", "nexus")
"""Senders whose proof always comes in the same header."""


class RegistryCredentials(Section):
    """[registries."HOST".credentials]: a user, and the path of the password."""

    username: str = Field(description="User at the registry.", examples=["robot"])
    password_file: FilePath = Field(
        description="File that holds the password or token; read at each use.",
        examples=["/run/secrets/registry-token"],
    )


class RegistryConfig(Section):
    """[registries."HOST"]: a registry that needs more than the defaults; naming it declares the host."""

    credentials: RegistryCredentials | None = Field(
        default=None, description="User and password file; without it the docker config is asked."
    )
    docker_config: FilePaths = Field(
        default=(),
        description="Docker config files for this registry alone, with their credential helpers; a "
        "Kubernetes dockerconfigjson secret is one.",
        examples=["/run/secrets/docker/config.json"],
    )
    login: Literal["aws", "azure", "google"] | None = Field(
        default=None,
        description="Log in with the identity that this cloud gives to the process (needs the extra of that "
        "name: docs/install.md).",
        examples=["aws"],
    )
    insecure: bool = Field(default=False, description="true speaks plain http with it.")
    verify_tls: bool = Field(
        default=True, description="false accepts any certificate: then nobody knows whom we talk to."
    )
    ca_file: FilePath | None = Field(
        default=None,
        description="Certificates this registry is checked against, beside the system's.",
        examples=["/etc/automator/registry-ca.pem"],
    )
    client_cert_file: FilePath | None = Field(
        default=None,
        description="Certificate that we show to this registry.",
        examples=["/run/secrets/client.pem"],
    )
    client_key_file: FilePath | None = Field(
        default=None,
        description="Its private key, where that is not in the same file.",
        examples=["/run/secrets/client.key"],
    )
    mirror_of: str | None = Field(
        default=None,
        min_length=1,
        description="Host whose images are asked for here; files and policies keep that host's name.",
        examples=["docker.io"],
    )
    mirror_prefix: str = Field(
        default="",
        description="Path that this mirror puts before every repository of the host it mirrors.",
        examples=["dockerhub-proxy"],
    )
    interval: Duration | None = Field(
        default=None,
        description="Least time between two listings of a repository; without it every cycle.",
        examples=["10m"],
    )
    max_interval: Duration = Field(
        default=timedelta(minutes=5),
        description="Most time between two listings of a repository: the longer its tags stay the same, the "
        "less often it is asked.",
    )
    concurrency: int = Field(default=8, ge=1, le=64, description="Most requests at the same time.")
    requests_per_second: float = Field(
        default=20, gt=0, le=10_000, description="Most requests in a second, over some seconds."
    )
    timeout: Duration = Field(default=timedelta(seconds=10), description="Longest silence of the registry.")
    deadline: Duration = Field(
        default=timedelta(seconds=30), description="Longest time for one answer as a whole."
    )

    @model_validator(mode="after")
    def _fits(self) -> RegistryConfig:
        sources = (self.credentials is not None, bool(self.docker_config), self.login is not None)
        if sum(sources) > 1:
            raise ValueError("one of credentials, docker_config and login")
        if self.client_key_file is not None and self.client_cert_file is None:
            raise ValueError("a client_cert_file beside client_key_file")
        if self.mirror_prefix and self.mirror_of is None:
            raise ValueError("a mirror_of beside mirror_prefix")
        return self


class KeyConfig(Section):
    """[keys.NAME]: whose signature `signed_by: NAME` asks for."""

    public_key_file: FilePath | None = Field(
        default=None,
        description="Public key of cosign, in PEM; read at each use.",
        examples=["/etc/automator/cosign.pub"],
    )
    command: Texts | None = Field(
        default=None,
        description="Instead of a key, a command that ends with 0 for a good signature; {image} and {digest} "
        "in it are filled in.",
        examples=[["cosign", "verify", "--key", "/etc/automator/cosign.pub", "{image}@{digest}"]],
    )
    timeout: Duration = Field(default=timedelta(seconds=30), description="Longest time the command may take.")

    @model_validator(mode="after")
    def _one_way(self) -> KeyConfig:
        if (self.public_key_file is None) == (self.command is None):
            raise ValueError("either public_key_file or command")
        if self.command is not None and not any("{digest}" in word for word in self.command[1:]):
            raise ValueError("a command with {digest} in it, or it could not tell one image from another")
        return self


class HookConfig(Section):
    """[hooks.NAME]: who may send events to /hooks/NAME, and how we know them."""

    sender: Sender | None = Field(
        default=None,
        description="What sends the events; without it the table's own name. One of "
        f"{', '.join(get_args(Sender))}.",
        examples=["harbor"],
    )
    secret_file: FilePath | None = Field(
        default=None,
        description="File that holds the secret shared with the sender; several lines are several secrets.",
        examples=["/run/secrets/hook"],
    )
    header: Header | None = Field(
        default=None,
        description="Header that carries the secret, where the sender leaves that to you.",
        examples=["X-Webhook-Secret"],
    )
    signed: bool = Field(
        default=False,
        description="artifactory, generic: the header holds a signature made with the secret, not the "
        "secret itself.",
    )
    audience: str | None = Field(
        default=None,
        min_length=1,
        description="gar: the audience of the token that Pub/Sub brings.",
        examples=["https://automator.example.com/hooks/gar"],
    )
    email: str | None = Field(
        default=None,
        min_length=1,
        description="gar: the service account of the Pub/Sub subscription.",
        examples=["pubsub-push@acme.iam.gserviceaccount.com"],
    )
    registry: EventHost | None = Field(
        default=None,
        description="Host of the images, where events name another one or none.",
        examples=["registry.example.com"],
    )
    registries: dict[str, EventHost] = Field(
        default={},
        description="nexus: the host of each of its repositories, by name.",
        examples=[{"docker-hosted": "nexus.example.com:8082"}],
    )
    repositories: dict[str, str] = Field(
        default={},
        description="artifactory: the virtual repository that images are pulled from, by local one.",
        examples=[{"docker-local": "docker"}],
    )

    def sender_as(self, name: str) -> str:
        """Who sends, of the table [hooks.`name`]."""
        return self.sender or name

    def require_complete(self, name: str) -> None:
        """Raises ValueError where nothing tells who may send, or nothing knows the sender."""
        sender = self.sender_as(name)
        if sender not in get_args(Sender):
            raise ValueError(f"a sender for hooks.{name}, one of {', '.join(get_args(Sender))}")
        if sender == SIGNED_BY_TOKEN:
            if self.audience is None or self.email is None:
                raise ValueError(f"audience and email for hooks.{name}, since {sender} brings a signed token")
        elif self.secret_file is None:
            raise ValueError(f"a secret_file for hooks.{name}: an event must prove who sends it")
        if self.header is not None and sender in NO_CHOICE:
            raise ValueError(f"no header for hooks.{name}: {sender} has one of its own")
        if self.signed and sender not in SIGNERS:
            raise ValueError(f"no signed for hooks.{name}: only {' and '.join(SIGNERS)} leave that to you")
        if sender == "nexus" and self.registry is None and not self.registries:
            raise ValueError(f"registry or registries for hooks.{name}, since events of nexus name no host")
