"""The tables of the config: every key with its type, its sentence and its default."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PrivateAttr,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from automator.config.forges import CheckConfig, ForgeConfig
from automator.config.notify import NotifyConfig
from automator.config.outside import HookConfig, KeyConfig, RegistryConfig
from automator.config.repos import RepoConfig
from automator.config.runtimes import RuntimeConfig
from automator.config.values import (
    Address,
    Duration,
    FilePath,
    FilePaths,
    Listen,
    MaybeNever,
    Section,
    Texts,
    keeps_secrets,
    origin,
    parse_address,
    require_forge_host,
    require_host,
    shown_name,
    tables,
    url_place,
)
from automator.core.guardrails import Flaw, parse_rails
from automator.core.policykeys import RuleKeys
from automator.core.rail import Rail
from automator.core.verification import DEPLOYED

PREFIX = "AUTOMATOR_"

_REPO_NAME = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*", re.ASCII)
_NAME = "a name of lower-case letters, digits, `.`, `_` and `-`"


class DaemonConfig(Section):
    """[daemon]: when cycles run, and what is served."""

    interval: Duration = Field(default=timedelta(minutes=1), description="Time from one cycle to the next.")
    listen: Listen = Field(
        default="127.0.0.1:8080",
        description='Address of probes, metrics, API and dashboard; "" switches it off.',
    )
    token_file: FilePath | None = Field(
        default=None,
        description="File that holds the token for API and dashboard, 16 characters or more; several lines "
        "are several tokens; read at each use. Without it they answer on this machine only. Probes and "
        "metrics need none.",
        examples=["/run/secrets/automator-token"],
    )
    public_url: Annotated[str, AfterValidator(origin)] | None = Field(
        default=None,
        description="Under which address people reach the dashboard, where that is by a proxy; takes a "
        "token_file.",
        examples=["https://automator.example.com"],
    )
    hooks_listen: Listen = Field(
        default=":8081",
        description="Address for events of registries and forges (/hooks/NAME), listened to where there are "
        'hooks; "" switches it off.',
    )
    observe_timeout: Duration = Field(
        default=timedelta(seconds=30),
        description="Longest time a cycle waits for registries; the rest is waiting.",
    )
    stop_timeout: Duration = Field(
        default=timedelta(seconds=30),
        description="Longest time a running cycle may take to end after SIGTERM, and before a changed config "
        "is used.",
    )
    stuck_after: MaybeNever = Field(
        default=timedelta(minutes=30),
        description="A cycle that runs for longer is stuck: the git processes at work for it are ended; 0s "
        "is never.",
    )
    give_up_after: MaybeNever = Field(
        default=timedelta(minutes=10),
        description="A stuck cycle that goes on for so long after that ends the process with exit code 4, "
        "to be started again; 0s is never.",
    )

    @model_validator(mode="after")
    def _proxied_with_a_token(self) -> DaemonConfig:
        # Behind a proxy on the same machine everybody comes from there, and it may well not say so.
        if self.public_url is not None and self.token_file is None:
            raise ValueError("a token_file beside public_url: behind a proxy nobody else is kept out")
        return self

    @property
    def listen_address(self) -> Address | None:
        return parse_address(self.listen)


class LogConfig(Section):
    """[log]: how much is logged, and in which form."""

    format: Literal["auto", "console", "json"] = Field(
        default="auto", description="console or json; auto is console on a terminal, else json."
    )
    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least level logged."
    )


class CommitConfig(Section):
    """[commit]: the words of a release; the trailers are fixed."""

    subject: str | None = Field(
        default=None,
        description="Jinja template of a release's subject; without it the built-in one.",
        examples=["Release {{ workload }} {{ version }}"],
    )
    body: str | None = Field(
        default=None,
        description="Jinja template of a release's body, above the trailers; without it the built-in one.",
        examples=["{{ image }} {{ before }} -> {{ after }}"],
    )


class RuleConfig(Section):
    """[[rules]]: one guard rail, with the keys that rules have in `_rules.yaml`."""

    name: str | None = Field(
        default=None, min_length=1, description="What it is called in sentences.", examples=["production"]
    )
    paths: Texts | None = Field(
        default=None,
        description="About workloads with a site in these files, as gitignore-style globs.",
        examples=[["clusters/production/**"]],
    )
    owners: Texts | None = Field(
        default=None, description="About workloads of these owners.", examples=[["team-shop"]]
    )
    environments: Texts | None = Field(
        default=None, description="About workloads of these environments.", examples=[["production"]]
    )
    registries: Texts | None = Field(
        default=None,
        description="The only registry hosts that images and their tags may come from.",
        examples=[["ghcr.io", "registry.example.com:5000"]],
    )
    images: Texts | None = Field(
        default=None,
        description="Globs of the only image repositories; * is any text.",
        examples=[["ghcr.io/acme/*"]],
    )
    require: Texts | None = Field(
        default=None, description="Keys that every policy must set.", examples=[["owner"]]
    )
    forbid: Texts | None = Field(
        default=None, description="Keys that no policy may set.", examples=[["urgent", "downgrade"]]
    )
    platforms: Texts | None = Field(
        default=None, description="Platforms that every image must have.", examples=[["linux/amd64"]]
    )
    signed_by: Texts | None = Field(
        default=None, description="Keys, one of which must have signed every image.", examples=[["release"]]
    )
    min_age: str | None = Field(
        default=None,
        description="Smallest min_age; it holds where a policy names none.",
        examples=["30m"],
    )
    step: Literal["patch", "minor", "major"] | None = Field(
        default=None,
        description="Largest step; it holds where a policy names none.",
        examples=["minor"],
    )
    deliver: Literal["pull-request"] | None = Field(
        default=None,
        description="pull-request has every release go through one; none is pushed.",
        examples=["pull-request"],
    )


class FlawedRules(ValueError):
    """Rules whose values have the right types, and cannot be used."""

    def __init__(self, flaws: tuple[Flaw, ...]) -> None:
        super().__init__("; ".join(f"{flaw.expected} for {flaw.key}" for flaw in flaws))
        self.flaws = flaws


class Config(BaseSettings):
    """The whole config. Made by `load`; made directly, it takes its arguments and nothing else."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        enable_decoding=False,
        extra="forbid",
        frozen=True,
    )

    state: FilePath = Field(
        default=Path("state"), description="Folder for the clones and the local database, beside this file."
    )
    docker_config: FilePaths = Field(
        default=(),
        description="Docker config files with credentials, Kubernetes dockerconfigjson secrets among them; "
        "without one ~/.docker/config.json, if it exists.",
        examples=["/run/secrets/docker/config.json"],
    )
    repos: dict[str, RepoConfig] = Field(
        default={}, description="The config repos, by a name of your choice."
    )
    registries: dict[str, RegistryConfig] = Field(
        default={}, description="Registries that need more than the defaults, by host."
    )
    forges: dict[str, ForgeConfig] = Field(
        default={}, description="Forges that we may speak to, by host: for pull requests, statuses and links."
    )
    checks: dict[str, CheckConfig] = Field(
        default={}, description="What `verify` may ask after a release, by a name of your choice."
    )
    keys: dict[str, KeyConfig] = Field(
        default={}, description="Whose signatures `signed_by` may ask for, by a name of your choice."
    )
    runtimes: dict[str, RuntimeConfig] = Field(
        default={}, description="Where images run, asked read-only by `drift`, by a name of your choice."
    )
    hooks: dict[str, HookConfig] = Field(
        default={}, description="Who may send events to daemon.hooks_listen, by the last part of the path."
    )
    notify: dict[str, NotifyConfig] = Field(
        default={}, description="Who is told of releases and failures, by a name of your choice."
    )
    daemon: DaemonConfig = Field(
        default=DaemonConfig(), description="When cycles run, and what the daemon serves."
    )
    log: LogConfig = Field(default=LogConfig(), description="The log, on standard error.")
    commit: CommitConfig = Field(default=CommitConfig(), description="Words of the commits.")
    rules: Annotated[tuple[RuleConfig, ...], BeforeValidator(tables)] = Field(
        default=(),
        description="Guard rails for the policies of every config repo, one table each. Without paths, "
        "owners and environments a rule is about every workload, with several about those that fit all.",
    )

    _origin: str = PrivateAttr(default="the config")
    """Where `rules` are written, for people."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)

    @model_validator(mode="after")
    def _names(self) -> Config:
        for name, repo in self.repos.items():
            if not _REPO_NAME.fullmatch(name):
                raise ValueError(f"{_NAME} for repos.{shown_name(name)}")
            for host in repo.registries:
                require_host(host, f"repos.{name}.registries")
        for host in self.registries:
            require_host(host, f'registries."{shown_name(host)}"')
        self._check_mirrors()
        for host, forge in self.forges.items():
            require_forge_host(host)
            forge.require_complete(host)
        for name, repo in self.repos.items():
            self._check_delivery(name, repo)
        for name, key in (
            (name, table)
            for table in ("keys", "hooks", "checks", "notify", "runtimes")
            for name in getattr(self, table)
        ):
            if not _REPO_NAME.fullmatch(name):
                raise ValueError(f"{_NAME} for {key}.{shown_name(name)}")
        if DEPLOYED in self.checks:
            raise ValueError(f"another name than checks.{DEPLOYED}, which is built in and asks [runtimes]")
        for name, hook in self.hooks.items():
            hook.require_complete(name)
        for name, runtime in self.runtimes.items():
            self._check_runtime(name, runtime)
        return self

    def _check_runtime(self, name: str, runtime: RuntimeConfig) -> None:
        """Raises ValueError where nothing tells which config repo says what is to run there."""
        if runtime.repo is None and len(self.repos) > 1:
            raise ValueError(f"a repo for runtimes.{name}, one of {', '.join(sorted(self.repos))}")
        if runtime.repo is not None and runtime.repo not in self.repos:
            raise ValueError(f"a config repo of [repos] for runtimes.{name}.repo")

    def repo_of(self, runtime: str) -> str:
        """The config repo that says what is to run at a runtime; empty where the config has none at all."""
        return self.runtimes[runtime].repo or next(iter(self.repos), "")

    def _check_delivery(self, name: str, repo: RepoConfig) -> None:
        """Raises ValueError where a config repo needs a forge, and has none."""
        if repo.forge is not None and repo.forge not in self.forges:
            raise ValueError(f"a host of [forges] for repos.{name}.forge")
        for owner in repo.feedback_to:
            host, _, path = owner.partition("/")
            if host not in self.forges or not path:
                raise ValueError(f"a host of [forges], a slash and a name in repos.{name}.feedback_to")
        needs = {
            "deliver": repo.deliver == "pull-request",
            "feedback": repo.feedback,
            "credentials.forge": repo.credentials.forge,
        }
        key = next((key for key, is_set in needs.items() if is_set), None)
        if key is not None and self.forge_of(name) is None:
            raise ValueError(f"a table of [forges] with the host of repos.{name}.url, since it has {key}")
        self._check_branches(name, repo)
        if repo.credentials.forge and not keeps_secrets(repo.url):
            raise ValueError(
                f"an https URL for repos.{name}, since credentials.forge sends the forge's token there"
            )
        pushes = repo.mode == "write" and repo.deliver == "push"
        if pushes and repo.require_signed is not None and repo.signing is None:
            raise ValueError(
                f"a key in repos.{name}.signing beside require_signed, or no release of ours could be pushed"
            )

    def _check_branches(self, name: str, repo: RepoConfig) -> None:
        """Raises ValueError where the branches of pull requests would be taken for another's."""
        prefix = repo.pull_request.branch_prefix
        if self.forge_of(name) is not None and repo.branch.startswith(prefix):
            raise ValueError(f"another branch_prefix for repos.{name}: its branch begins with that")
        for other, at in self.repos.items():
            of_both = ((one.url, one.pull_request.branch_prefix, one.deliver) for one in (repo, at))
            if len(set(of_both)) == 1 and repo.deliver == "pull-request" and at.branch != repo.branch:
                raise ValueError(
                    f"a branch_prefix of its own for each of repos.{other} and repos.{name}, which are "
                    "branches of one repository"
                )

    def forge_of(self, repo: str) -> tuple[str, str] | None:
        """Host and project of a config repo on its forge; None where no forge is configured for it."""
        settings = self.repos[repo]
        host, path = url_place(settings.url)
        found = settings.forge or (host if host in self.forges else None)
        project = settings.project or path
        return None if found is None or not project else (found, project)

    def branches_beside(self, repo: str) -> frozenset[str]:
        """Branches of the same project that are config repos of their own."""
        place = self.forge_of(repo)
        same = (name for name in self.repos if name != repo and self.forge_of(name) == place)
        return frozenset(self.repos[name].branch for name in same)

    def _check_mirrors(self) -> None:
        mirrored: dict[str, str] = {}
        for host, registry in self.registries.items():
            of = registry.mirror_of
            if of is None:
                continue
            require_host(of, f'registries."{host}".mirror_of')
            if of in mirrored:
                raise ValueError(f'one mirror of {of}, not registries."{mirrored[of]}" and "{host}"')
            if of in self.registries:
                raise ValueError(f'either registries."{of}" or registries."{host}" with mirror_of = "{of}"')
            mirrored[of] = host

    @model_validator(mode="after")
    def _usable_rules(self) -> Config:
        _, flaws = self._parsed_rules()
        if flaws:
            raise FlawedRules(flaws)
        return self

    def _parsed_rules(self) -> tuple[tuple[Rail, ...], tuple[Flaw, ...]]:
        rules = [RuleKeys(**rule.model_dump(mode="json")) for rule in self.rules]
        return parse_rails(rules, self._origin, lambda number: f"{self._origin}: rules[{number}]")

    @property
    def rails(self) -> tuple[Rail, ...]:
        """The guard rails of `rules`, for every config repo."""
        return self._parsed_rules()[0]

    def rails_of(self, repo: str) -> tuple[Rail, ...]:
        """The guard rails of this config repo: `rules`, and one of the registries that it may name."""
        hosts = self.repos[repo].registries
        if not hosts:
            return self.rails
        place = f"{self._origin}: repos.{repo}.registries"
        return (Rail((self._origin, -1), place, registries=hosts), *self.rails)

    @property
    def hooks_address(self) -> Address | None:
        """Where events are listened to; None where nobody may send any."""
        return parse_address(self.daemon.hooks_listen) if self.hooks else None

    def interval(self, repo: str) -> timedelta:
        """Time from one cycle of this config repo to the next."""
        return self.repos[repo].interval or self.daemon.interval

    def fingerprint(self, repo: str) -> str:
        """Changes whenever a setting that bears on this config repo's releases changes."""
        told = [part.model_dump(mode="json") for part in (self.repos[repo], self.commit, *self.rules)]
        told += [{name: key.model_dump(mode="json")} for name, key in self.keys.items()]
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
