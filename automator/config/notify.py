"""The tables of the config about who is told of releases and failures."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from automator.config.values import Duration, FilePath, Globs, Section, http_url

Event = Literal[
    "released",
    "rolled-back",
    "proposed",
    "failed",
    "silent",
    "trouble",
    "diverged",
    "recovered",
    "held",
    "waiting",
]
"""What can be told of."""

USUAL: tuple[Event, ...] = (
    "released",
    "rolled-back",
    "proposed",
    "failed",
    "silent",
    "trouble",
    "diverged",
    "recovered",
)


class NotifyConfig(Section):
    """[notify.NAME]: somebody who is told of releases and failures, and how."""

    url_file: FilePath | None = Field(
        default=None,
        description="File with the address of a chat or of mail, as apprise writes it, such as "
        "slack://… or mailtos://…; read at each use. Needs the extra `notify` (docs/install.md).",
        examples=["/run/secrets/slack-url"],
    )
    webhook: Annotated[str, AfterValidator(http_url)] | None = Field(
        default=None,
        description="Instead, an address that messages are posted to, signed.",
        examples=["https://hooks.example.com/automator"],
    )
    format: Literal["json", "cloudevents", "cloudevents-binary"] = Field(
        default="json",
        description="webhook: json has one message for each cycle; the others one CloudEvent for each item, "
        "in structured or binary mode.",
    )
    secret_file: FilePath | None = Field(
        default=None,
        description="webhook: file with the secret that signs messages, each line one of them; read at each "
        "use. json must have it.",
        examples=["/run/secrets/webhook-secret"],
    )
    token_file: FilePath | None = Field(
        default=None,
        description="webhook: file whose first line goes into Authorization after `Bearer `.",
        examples=["/run/secrets/receiver-token"],
    )
    ca_file: FilePath | None = Field(
        default=None,
        description="webhook: certificates that the receiver is checked against, beside the system's.",
        examples=["/etc/automator/receiver-ca.pem"],
    )
    timeout: Duration = Field(default=timedelta(seconds=20), description="Longest time one message may take.")
    events: tuple[Event, ...] = Field(
        default=USUAL,
        description="What it is told of. held and waiting, which are many, have to be asked for.",
        examples=[["failed", "silent", "trouble", "recovered"]],
    )
    repos: Globs = Field(
        default=(), description="Only of these config repos, as globs.", examples=[["shop", "staging-*"]]
    )
    owners: Globs = Field(
        default=(), description="Only of workloads of these owners, as globs.", examples=[["team-shop"]]
    )
    environments: Globs = Field(
        default=(),
        description="Only of workloads of these environments, as globs.",
        examples=[["production"]],
    )
    workloads: Globs = Field(
        default=(),
        description="Only of these workloads, as globs of `name` or `repo/name`.",
        examples=[["web*", "shop/api"]],
    )
    stale_after: Duration = Field(
        default=timedelta(hours=1),
        description="How long a registry, forge, config repo or runtime may give no answer before that is "
        "told.",
    )
    remind_after: Duration | None = Field(
        default=None,
        description="Tell a failure again after this time, for as long as it goes on; without it once.",
        examples=["1d"],
    )
    title: str | None = Field(
        default=None,
        description="Jinja template of a message's title; without it the built-in one.",
        examples=["[{{ repo }}] {{ title }}"],
    )
    text: str | None = Field(
        default=None,
        description="Jinja template of a message's text; without it the built-in one.",
        examples=["{% for item in items %}{{ item.line }}\n{% endfor %}"],
    )

    @model_validator(mode="after")
    def _fits(self) -> NotifyConfig:
        if (self.url_file is None) == (self.webhook is None):
            raise ValueError("either url_file or webhook")
        if self.webhook is None:
            own = ("secret_file", "token_file", "ca_file")
            key = next((key for key in own if getattr(self, key) is not None), None)
            if key is not None or self.format != "json":
                raise ValueError(f"a webhook beside {key or 'format'}")
        elif self.secret_file is None and self.format == "json":
            raise ValueError("a secret_file beside webhook: its receiver must know who sends")
        if not self.events:
            raise ValueError("at least one of events")
        return self
