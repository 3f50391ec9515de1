"""The tables of the config about forges, and about checks after a release."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from automator.config.values import Duration, FilePath, Header, Section, Texts, http_url, json_path

ForgeKind = Literal["bitbucket", "forgejo", "gitea", "github", "gitlab"]

KNOWN_FORGES: dict[str, ForgeKind] = {
    "bitbucket.org": "bitbucket",
    "codeberg.org": "forgejo",
    "gitea.com": "gitea",
    "github.com": "github",
    "gitlab.com": "gitlab",
}
"""Hosts whose kind everybody knows."""


class ForgeConfig(Section):
    """[forges."HOST"]: a forge that we may speak to, and as whom."""

    kind: ForgeKind | None = Field(
        default=None,
        description="What it is; known of github.com, gitlab.com, bitbucket.org, codeberg.org and gitea.com.",
        examples=["gitlab"],
    )
    api: Annotated[str, AfterValidator(http_url)] | None = Field(
        default=None,
        description="Where its API is; without it the usual place on this host.",
        examples=["https://git.example.com/api/v4"],
    )
    token_file: FilePath | None = Field(
        default=None,
        description="File that holds the access token; read at each use.",
        examples=["/run/secrets/forge-token"],
    )
    username: str | None = Field(
        default=None,
        min_length=1,
        description="bitbucket: the account's mail address, where the token is an API token.",
        examples=["automator@example.com"],
    )
    app_id: str | None = Field(
        default=None, min_length=1, description="github: the App's number or client id.", examples=["123456"]
    )
    app_key_file: FilePath | None = Field(
        default=None,
        description="github: the App's private key, in PEM.",
        examples=["/run/secrets/app.pem"],
    )
    installation_id: int | None = Field(
        default=None, ge=1, description="github: number of the App's installation.", examples=[7654321]
    )
    ca_file: FilePath | None = Field(
        default=None,
        description="Certificates that it is checked against, beside the system's.",
        examples=["/etc/automator/forge-ca.pem"],
    )
    timeout: Duration = Field(
        default=timedelta(seconds=30), description="Longest time for one answer as a whole."
    )

    @model_validator(mode="after")
    def _one_login(self) -> ForgeConfig:
        app = (self.app_id, self.app_key_file, self.installation_id)
        if any(part is not None for part in app) and None in app:
            raise ValueError("app_id, app_key_file and installation_id together")
        if (self.token_file is None) == (self.app_id is None):
            raise ValueError("either token_file or app_id with its key and installation")
        return self

    def kind_as(self, host: str) -> ForgeKind | None:
        """What the forge of the table [forges."`host`"] is; None where nothing tells."""
        return self.kind or KNOWN_FORGES.get(host)

    def require_complete(self, host: str) -> None:
        """Raises ValueError where nothing tells what the forge is, or how we are known to it."""
        kind = self.kind_as(host)
        if kind is None:
            raise ValueError(f'a kind for forges."{host}"')
        if self.app_id is not None and kind != "github":
            raise ValueError(f'a token_file for forges."{host}": only GitHub has Apps')
        if self.username is not None and kind != "bitbucket":
            raise ValueError(f'no username for forges."{host}": only Bitbucket asks for one')


class CheckConfig(Section):
    """[checks.NAME]: what `verify: NAME` asks after a release: a page, a command, or a status on the forge.

    `{workload}`, `{image}`, `{version}`, `{digest}`, `{commit}`, `{environment}` and `{repo}` are filled in.
    """

    url: Annotated[str, AfterValidator(http_url)] | None = Field(
        default=None,
        description="Address that is asked; {workload}, {image}, {version}, {digest}, {commit}, "
        "{environment} and {repo} in it are filled in.",
        examples=["https://status.example.com/healthz?app={workload}"],
    )
    status: int = Field(default=200, ge=100, le=599, description="Status that its answer must have.")
    value: Annotated[str, AfterValidator(json_path)] | None = Field(
        default=None,
        description="Path to one value in the JSON of its answer, which equals, min or max compare.",
        examples=["data.result[0].value[1]"],
    )
    equals: bool | int | float | str | None = Field(
        default=None, description="The value that must stand there.", examples=["Healthy"]
    )
    min: float | None = Field(
        default=None, description="The least number that may stand there.", examples=[0.0]
    )
    max: float | None = Field(
        default=None, description="The greatest number that may stand there.", examples=[0.01]
    )
    token_file: FilePath | None = Field(
        default=None,
        description="File whose text goes into the header, after `Bearer ` in Authorization.",
        examples=["/run/secrets/prometheus-token"],
    )
    header: Header = Field(default="Authorization", description="Header that carries the text of token_file.")
    ca_file: FilePath | None = Field(
        default=None,
        description="Certificates that the server is checked against, beside the system's.",
        examples=["/etc/automator/ca.pem"],
    )
    command: Texts | None = Field(
        default=None,
        description="Instead of an address, a command that ends with 0 where all is well; the same names in "
        "braces are filled in.",
        examples=[["/usr/local/bin/smoke-test", "{workload}", "{version}"]],
    )
    commit_status: str | None = Field(
        default=None,
        min_length=1,
        description="Instead of both, the name of a status that the forge has of the release's commit.",
        examples=["kustomization/shop"],
    )
    interval: Duration = Field(
        default=timedelta(seconds=30), description="Time from one try to the next until it passes or fails."
    )
    delay: Duration | None = Field(
        default=None,
        description="Time from the release to the first try; without it at once. Give the synchronizer as "
        "long as it needs, or the version before is what answers.",
        examples=["2m"],
    )
    timeout: Duration = Field(default=timedelta(seconds=10), description="Longest time of one try.")
    within: Duration = Field(
        default=timedelta(minutes=15),
        description="Time after the release at which a check that has not passed counts as failed.",
    )
    failures: int = Field(
        default=3, ge=1, description="Tries in a row that say no, after which the check counts as failed."
    )

    @model_validator(mode="after")
    def _fits(self) -> CheckConfig:
        ways = (self.url, self.command, self.commit_status)
        if sum(way is not None for way in ways) != 1:
            raise ValueError("one of url, command and commit_status")
        compared = self.equals is not None or self.min is not None or self.max is not None
        host = (self.url or "").partition("://")[2].partition("/")[0].partition("?")[0]
        if host.partition(":")[0].endswith("}"):
            raise ValueError("a url whose host does not end with what is filled in")
        if compared != (self.value is not None):
            raise ValueError("a value with one of equals, min and max")
        if self.equals is not None and (self.min is not None or self.max is not None):
            raise ValueError("either equals, or min and max")
        if self.url is None and (self.value is not None or self.token_file is not None):
            raise ValueError("a url beside value and token_file")
        return self
