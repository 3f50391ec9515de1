"""The schema of policy files: every key with its type and its sentence.

`automator schema` prints it as JSON Schema, the table in docs/policies.md says the same, and files are
checked against it. What the values mean (ranges, globs, names) is told where they are compiled.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

_Text = str | None
_Some = Annotated[list[str], Field(min_length=1)]
_STRICT = ConfigDict(extra="forbid", strict=True, frozen=True)
_DURATION = "a duration such as 30m, 12h or 7d"


def _listed(value: Any) -> Any:
    """One text stands for a list of one."""
    return [value] if isinstance(value, str) else value


def _named(value: Any) -> Any:
    """`group: shop` stands for `group: {name: shop}`."""
    return {"name": value} if isinstance(value, str) else value


class WhereKeys(BaseModel):
    """`where`: which sites a workload owns."""

    model_config = _STRICT

    paths: list[str] | None = Field(None, min_length=1, description="gitignore-style globs of files")
    kind: _Text = Field(None, min_length=1, description="kind of the same document")
    namespace: _Text = Field(None, min_length=1, description="metadata.namespace of the same document")
    name: _Text = Field(None, min_length=1, description="metadata.name of the same document")
    container: _Text = Field(None, min_length=1, description="name of the container")
    field: _Text = Field(None, min_length=1, description="path to one scalar, `server.image.tag`")
    marker: _Text = Field(None, min_length=1, description="name of a Flux image policy in a comment")


class HoldKeys(BaseModel):
    """`hold` and `freeze`: a person's stop."""

    model_config = _STRICT

    reason: str = Field(min_length=1, description="why nothing is released")
    until: _Text = Field(None, description="RFC 3339 time at which it ends by itself")


class WindowKeys(BaseModel):
    """One of `windows`: exactly one of `allow` and `deny`, and how long it lasts."""

    model_config = _STRICT

    allow: _Text = Field(
        None, min_length=1, description="five-field cron times at which releases begin to be allowed"
    )
    deny: _Text = Field(
        None, min_length=1, description="five-field cron times at which releases begin to be forbidden"
    )
    for_: str = Field(alias="for", min_length=1, description=f"how long it lasts, {_DURATION}")
    zone: _Text = Field(None, min_length=1, description="time zone such as Europe/Berlin; UTC without it")


class AfterKeys(BaseModel):
    """`after`: versions are taken only once they have proven themselves elsewhere."""

    model_config = _STRICT

    workload: Annotated[
        list[str] | None,
        BeforeValidator(_listed, json_schema_input_type=str | list[str]),
    ] = Field(None, min_length=1, description="workloads upstream: `web-staging`, or `staging/web` elsewhere")
    group: _Text = Field(None, min_length=1, description="a whole group upstream")
    soak: _Text = Field(None, min_length=1, description=f"how long a version was there, {_DURATION}")
    need: Literal["all", "any"] | None = Field(
        None, description="whether all workloads upstream count (default), or any one suffices"
    )


class GroupKeys(BaseModel):
    """`group`: workloads that move together."""

    model_config = _STRICT

    name: str = Field(min_length=1, description="name of the group, the same for every member")
    match: Literal["version", "any"] | None = Field(
        None, description="all to one version (default), or each to its own, together"
    )


class UrgentKeys(BaseModel):
    """`urgent`: one version that does not wait."""

    model_config = _STRICT

    version: str = Field(min_length=1, description="the version, and no other")
    reason: str = Field(min_length=1, description="why it does not wait; stands in the release")


class PullRequestKeys(BaseModel):
    """`pull_request`: what the pull requests of a workload have."""

    model_config = _STRICT

    labels: list[str] | None = Field(None, description="their labels")
    reviewers: list[str] | None = Field(
        None, description="who is asked to review them: logins, or `org/team` where the forge has teams"
    )
    draft: bool | None = Field(None, description="opened as drafts")
    automerge: bool | None = Field(
        None, description="the forge merges them once its own checks pass and its rules are met"
    )


class WorkloadKeys(BaseModel):
    """A workload, or the `defaults` of a file."""

    model_config = _STRICT

    image: _Text = Field(None, description="image repository to watch, in any usual spelling")
    tags_from: _Text = Field(None, description="repository whose tags are listed instead of the image's")
    where: WhereKeys | None = Field(None, description="which sites it owns")
    glob: _Text = Field(None, description="only tags of this form; `{key}` is compared")
    regex: _Text = Field(
        None, description="only tags that this RE2 expression covers; `(?P<key>…)` is compared"
    )
    exclude: list[str] | None = Field(None, description="globs of tags never taken")
    reject: list[str] | None = Field(None, description="exact versions, or digests, that are refused")
    semver: _Text = Field(None, description="version range as in Flux and Helm")
    versions: Literal["strict", "lenient"] | None = Field(
        None, description="three numbers wanted, or one to three"
    )
    prereleases: Literal["range", "never", "allow", "only"] | None = Field(
        None, description="which pre-releases are taken"
    )
    order: Literal["version", "numeric", "alphabetical", "newest"] | None = Field(
        None, description="how tags are compared, without `semver`"
    )
    follow: _Text = Field(None, min_length=1, description="a moving tag: its digest is pinned and followed")
    min_age: _Text = Field(None, description=f"how long a digest was under its tag at least, {_DURATION}")
    step: Literal["patch", "minor", "major"] | None = Field(
        None, description="largest jump from the current version, with `semver`"
    )
    platforms: list[str] | None = Field(
        None, min_length=1, description="platforms that the image must have, `linux/amd64`"
    )
    signed_by: Annotated[
        list[str] | None,
        BeforeValidator(_listed, json_schema_input_type=str | _Some),
    ] = Field(
        None, min_length=1, description="keys of the daemon's config, one of which must have signed the image"
    )
    windows: list[WindowKeys] | None = Field(None, min_length=1, description="when releases may happen")
    after: AfterKeys | None = Field(None, description="only versions that proved themselves there")
    verify: Annotated[
        list[str] | None,
        BeforeValidator(_listed, json_schema_input_type=str | _Some),
    ] = Field(
        None, min_length=1, description="checks of the daemon's config that must pass after each release"
    )
    on_failure: Literal["stop", "rollback"] | None = Field(
        None, description="what a failed check does: nothing newer is released, or the release is undone too"
    )
    group: Annotated[
        GroupKeys | None,
        BeforeValidator(_named, json_schema_input_type=str | GroupKeys),
    ] = Field(None, description="workloads that move together")
    pin: Literal["tag", "digest"] | None = Field(None, description="what is written into the site")
    deliver: Literal["push", "pull-request"] | None = Field(
        None, description="by a push, or by a pull request that somebody merges"
    )
    pull_request: PullRequestKeys | None = Field(None, description="what its pull requests have")
    hold: HoldKeys | None = Field(None, description="stop: nothing is released")
    accept: list[str] | None = Field(
        None, description="versions, or digests, taken again although a person turned them away"
    )
    downgrade: bool | None = Field(
        None, description="may move down when the policy excludes the current version"
    )
    align: bool | None = Field(None, description="the first release may join sites that differ")
    urgent: UrgentKeys | None = Field(None, description="one version that does not wait")
    owner: _Text = Field(None, description="who answers for it")
    environment: _Text = Field(None, description="where it runs; begins with a letter or a digit")
    description: _Text = Field(None, description="what it is")


class FileKeys(BaseModel):
    """A policy file."""

    model_config = _STRICT

    version: Literal[1] = Field(description="version of the policy language")
    defaults: WorkloadKeys | None = Field(None, description="inherited by every workload of the file")
    freeze: HoldKeys | None = Field(None, description="stop for every workload of the file")
    workloads: dict[str, WorkloadKeys] = Field(description="by name, unique in the config repo")


class FreezeFileKeys(BaseModel):
    """`_freeze.yaml`: while it stands there, nothing in the config repo is released."""

    model_config = _STRICT

    version: Literal[1] = Field(description="version of the policy language")
    freeze: HoldKeys = Field(description="stop for every workload of the config repo")


class RuleKeys(BaseModel):
    """A guard rail: what every workload that it is about must keep to."""

    model_config = _STRICT

    name: _Text = Field(None, min_length=1, description="what it is called in sentences")
    paths: list[str] | None = Field(
        None, min_length=1, description="about workloads with a site in these files, gitignore-style globs"
    )
    owners: list[str] | None = Field(None, min_length=1, description="about workloads of these owners")
    environments: list[str] | None = Field(
        None, min_length=1, description="about workloads of these environments"
    )
    registries: list[str] | None = Field(
        None, min_length=1, description="the only registry hosts that images may come from"
    )
    images: list[str] | None = Field(
        None, min_length=1, description="globs of the only image repositories, `ghcr.io/acme/*`"
    )
    require: list[str] | None = Field(None, min_length=1, description="keys that must be set")
    forbid: list[str] | None = Field(None, min_length=1, description="keys that must not be set")
    platforms: list[str] | None = Field(None, min_length=1, description="platforms that images must have")
    signed_by: Annotated[
        list[str] | None,
        BeforeValidator(_listed, json_schema_input_type=str | _Some),
    ] = Field(
        None, min_length=1, description="keys of the daemon's config, one of which must have signed images"
    )
    min_age: _Text = Field(None, description=f"smallest `min_age`, {_DURATION}")
    step: Literal["patch", "minor", "major"] | None = Field(None, description="largest `step`")
    deliver: Literal["pull-request"] | None = Field(
        None, description="releases go through pull requests, and are never pushed"
    )


class RulesFileKeys(BaseModel):
    """`_rules.yaml`: the guard rails of the config repo."""

    model_config = _STRICT

    version: Literal[1] = Field(description="version of the policy language")
    rules: list[RuleKeys] = Field(description="the guard rails; all of them hold")


NESTED: dict[str, type[BaseModel]] = {
    "where": WhereKeys,
    "hold": HoldKeys,
    "freeze": HoldKeys,
    "windows": WindowKeys,
    "after": AfterKeys,
    "group": GroupKeys,
    "pull_request": PullRequestKeys,
    "urgent": UrgentKeys,
    "rules": RuleKeys,
}
"""Keys whose values are mappings of their own, or lists of such."""


def key_names(model: type[BaseModel]) -> tuple[str, ...]:
    """The keys of a model as files spell them, in the order of the schema."""
    return tuple(field.alias or name for name, field in model.model_fields.items())
