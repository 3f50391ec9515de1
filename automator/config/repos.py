"""The tables of one config repo: where it is, who writes to it, and how releases are delivered."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from automator.config.values import (
    Duration,
    FilePath,
    Globs,
    Section,
    folder_in_repo,
    git_url,
    prefix_of_branches,
)


class AuthorConfig(Section):
    """[repos.NAME.author]: who the commits are by."""

    name: str = Field(default="automator", min_length=1, description="Name in the commits.")
    email: str = Field(
        default="automator@localhost", min_length=1, description="Mail address in the commits."
    )


class RepoCredentials(Section):
    """[repos.NAME.credentials]: paths of secrets, never secrets."""

    username: str | None = Field(
        default=None,
        description="User for https; many forges take any name beside a token.",
        examples=["automator"],
    )
    password_file: FilePath | None = Field(
        default=None,
        description="File that holds the password or token for https; read at each use.",
        examples=["/run/secrets/git-token"],
    )
    ssh_key_file: FilePath | None = Field(
        default=None, description="Private key for ssh.", examples=["/run/secrets/deploy-key"]
    )
    known_hosts_file: FilePath | None = Field(
        default=None,
        description="Host keys for ssh, as in ~/.ssh/known_hosts; an unknown host is refused.",
        examples=["/etc/automator/known_hosts"],
    )
    ca_file: FilePath | None = Field(
        default=None,
        description="Certificates that https servers are checked against, instead of the system's.",
        examples=["/etc/automator/ca.pem"],
    )

    forge: bool = Field(
        default=False,
        description="true logs in to https with what [forges] has for this forge: its token, or its App's.",
    )

    @model_validator(mode="after")
    def _complete(self) -> RepoCredentials:
        if self.username is not None and self.password_file is None:
            raise ValueError("a password_file beside username")
        if self.forge and (self.password_file is not None or self.ssh_key_file is not None):
            raise ValueError("either forge = true, or a password_file or ssh_key_file")
        return self


class PullRequestConfig(Section):
    """[repos.NAME.pull_request]: what policies say nothing else about."""

    labels: Globs = Field(
        default=(), description="Labels of our pull requests.", examples=[["automator", "release"]]
    )
    reviewers: Globs = Field(
        default=(),
        description="Who is asked to review them: logins, or org/team where the forge has teams.",
        examples=[["ann"]],
    )
    draft: bool = Field(default=False, description="true opens them as drafts.")
    automerge: bool = Field(
        default=False, description="true has the forge merge them once its own checks pass."
    )
    branch_prefix: Annotated[str, AfterValidator(prefix_of_branches)] = Field(
        default="automator/", description="What the names of their branches begin with."
    )


class SigningConfig(Section):
    """[repos.NAME.signing]: the key that our commits are signed with."""

    ssh_key_file: FilePath | None = Field(
        default=None,
        description="Private SSH key, without a passphrase.",
        examples=["/run/secrets/signing-key"],
    )
    gpg_key: str | None = Field(
        default=None,
        min_length=8,
        description="Instead of an SSH key, the fingerprint of a GPG key in gpg_home.",
        examples=["3AA5C34371567BD2"],
    )
    gpg_home: FilePath | None = Field(
        default=None,
        description="Folder of the GPG keyring; without it ~/.gnupg.",
        examples=["/run/secrets/gnupg"],
    )
    passphrase_file: FilePath | None = Field(
        default=None,
        description="File that holds the GPG key's passphrase.",
        examples=["/run/secrets/gpg-passphrase"],
    )

    @model_validator(mode="after")
    def _one_key(self) -> SigningConfig:
        if (self.ssh_key_file is None) == (self.gpg_key is None):
            raise ValueError("either ssh_key_file or gpg_key")
        if self.gpg_key is None and (self.gpg_home is not None or self.passphrase_file is not None):
            raise ValueError("a gpg_key beside gpg_home and passphrase_file")
        return self


class RequireSignedConfig(Section):
    """[repos.NAME.require_signed]: who must have signed the branch's tip before anything is done."""

    allowed_signers_file: FilePath | None = Field(
        default=None,
        description="SSH keys that may sign, as ssh-keygen reads them: `ann@example.com ssh-ed25519 …`.",
        examples=["/etc/automator/allowed_signers"],
    )
    gpg_keys_file: FilePath | None = Field(
        default=None,
        description="GPG public keys that may sign, as `gpg --export --armor` writes them.",
        examples=["/etc/automator/signers.asc"],
    )

    @model_validator(mode="after")
    def _some_key(self) -> RequireSignedConfig:
        if self.allowed_signers_file is None and self.gpg_keys_file is None:
            raise ValueError("allowed_signers_file, gpg_keys_file or both")
        return self


class RepoConfig(Section):
    """[repos.NAME]: one config repo, which is a URL and a branch."""

    url: Annotated[str, BeforeValidator(git_url)] = Field(
        description="Where the config repo is: https, ssh or a local path.",
        examples=["https://git.example.com/acme/shop-config.git"],
    )
    branch: str = Field(default="main", min_length=1, description="Branch that is read and pushed to.")
    policies: Annotated[str, BeforeValidator(folder_in_repo)] = Field(
        default="policies", description="Folder of the config repo that holds the policy files."
    )
    registries: Globs = Field(
        default=(),
        description="The only registry hosts that policies of this config repo may name; without it all.",
        examples=[["ghcr.io", "registry.example.com:5000"]],
    )
    mode: Literal["write", "observe"] = Field(
        default="write", description="write commits and pushes; observe does everything but the push."
    )
    write: Globs = Field(
        default=("**",), description="Files that a policy may claim, as gitignore-style globs."
    )
    ignore: Globs = Field(
        default=(), description="Files that are never read or written, as gitignore-style globs."
    )
    max_releases_per_cycle: int = Field(
        default=25, ge=1, description="Most releases made in one cycle; the rest follows in the next ones."
    )
    max_lookups: int = Field(
        default=200,
        ge=1,
        description="Most build times looked up for one workload in one cycle (order: newest).",
    )
    history_limit: int = Field(
        default=10_000, ge=1, description="Most commits of history read to learn what people turned away."
    )
    forge: str | None = Field(
        default=None,
        description="The forge that has this config repo; without it the one in [forges] whose host is the "
        "URL's.",
        examples=["git.example.com"],
    )
    project: str | None = Field(
        default=None,
        description="What the config repo is called there; without it the URL's path.",
        examples=["acme/shop-config"],
    )
    deliver: Literal["push", "pull-request"] = Field(
        default="push",
        description="pull-request opens one for every change, as a protected branch demands; a policy may "
        "ask for them too.",
    )
    max_open_prs: int = Field(default=10, ge=1, description="Most pull requests of ours open at a time.")
    feedback: bool = Field(
        default=False,
        description="true tells the pull requests and issues of the source where a release is running: "
        "of sources that have the config repo's own owner.",
    )
    feedback_to: Globs = Field(
        default=(),
        description="Other owners or projects whose pull requests and issues are told: their forge, their "
        "name.",
        examples=[["github.com/acme-labs", "git.example.com/shop/web"]],
    )
    sign_off: bool = Field(default=False, description="true ends our commits with Signed-off-by.")
    interval: Duration | None = Field(
        default=None,
        description="Time from one cycle to the next; without it daemon.interval.",
        examples=["5m"],
    )
    timeout: Duration = Field(default=timedelta(minutes=2), description="Longest time one git step may take.")
    author: AuthorConfig = Field(default=AuthorConfig(), description="Who makes the commits.")
    committer: AuthorConfig | None = Field(
        default=None, description="Who commits them; without it the author."
    )
    credentials: RepoCredentials = Field(
        default=RepoCredentials(), description="How the Git server knows us."
    )
    pull_request: PullRequestConfig = Field(
        default=PullRequestConfig(),
        description="What our pull requests have, where a policy says nothing else.",
    )
    signing: SigningConfig | None = Field(
        default=None, description="Which key our commits are signed with; without it they are not."
    )
    require_signed: RequireSignedConfig | None = Field(
        default=None,
        description="Whose signature the branch's tip must bear, or nothing is done; without it anybody's "
        "commit counts.",
    )
