"""`check`: the gate for a pull request that changes policies or manifests."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from automator.cli.options import Globals, global_options
from automator.errors import UsageError
from automator.reasons import reason

if TYPE_CHECKING:
    from automator.config import Config
    from automator.core.rail import Rail
    from automator.core.running import Scope as RuntimeScope
    from automator.cycle.gate import Ask, Verdict
    from automator.cycle.source import Scope

FAILED = 1
_FORMATS = ("terminal", "json", "sarif", "github", "junit")
_PLACED = ("sarif", "github", "junit")
"""Formats whose readers look for files from the folder in which the program ran."""


@click.command()
@click.argument("path", type=click.Path(path_type=Path), default=".")
@click.option("--strict", is_flag=True, help="Warnings fail too.")
@click.option("--online", is_flag=True, help="Ask the registries, and judge policies by the tags there are.")
@click.option("--coverage", is_flag=True, help="Name every image that no policy owns.")
@click.option(
    "--format",
    "form",
    type=click.Choice(_FORMATS),
    help="terminal (default), json, sarif, github (workflow commands) or junit.",
)
@click.option("--policies", metavar="FOLDER", help="Folder of the policy files; else the config's.")
@click.option(
    "--repo", "-r", metavar="NAME", help="Config repo whose settings count; needed if there are many."
)
@click.option("--status", is_flag=True, help="Tell the forge too: go or no-go, as a status of the commit.")
@click.option(
    "--only-config", is_flag=True, help="Judge the daemon's config, as a reload does, and nothing else."
)
@click.option(
    "--commit", metavar="SHA", help="The commit for --status; else the one that the CI system names."
)
@global_options
@click.make_pass_decorator(Globals, ensure=True)
def check(
    told: Globals,
    path: Path,
    strict: bool,
    online: bool,
    coverage: bool,
    form: str | None,
    policies: str | None,
    repo: str | None,
    status: bool,
    commit: str | None,
    only_config: bool,
) -> int:
    """Judge the policies and manifests of a plain checkout; no Git, and no network without --online or
    --status.

    PATH is the folder of the config repo's files. Errors (exit 1) are what cannot work; warnings
    what will surprise.
    """
    if only_config:
        from automator.cli.configcheck import check_config

        return check_config(told)
    from automator.cli.formats import FORMATS
    from automator.cycle.gate import check as judge

    scope, rails, keys, can_propose, checks, runtimes = _settings(told, repo, policies)
    where = _place_of_status(told, repo, commit) if status or commit is not None else None
    with _asking(told, online) as ask:
        verdict = judge(
            path,
            scope,
            now=datetime.now(UTC),
            coverage=coverage,
            ask=ask,
            rails=rails,
            keys=keys,
            can_propose=can_propose,
            checks=checks,
            runtimes=runtimes,
        )
    form = form or ("json" if told.json else "terminal")
    if form in _PLACED:
        findings = tuple(replace(f, file=_from_here(path, f.file), told_as=f.file) for f in verdict.findings)
        verdict = replace(verdict, findings=findings, files=tuple(_from_here(path, f) for f in verdict.files))
    click.echo(FORMATS[form](verdict, strict=strict), nl=False)
    is_go = not verdict.errors and not (strict and verdict.warnings)
    if where is not None:
        _tell_forge(where, verdict, is_go=is_go)
    return 0 if is_go else FAILED


def _try_words(config: Config) -> None:
    """Raises ConfigError for what a daemon would not start with."""
    if config.notify:
        from automator.app.notices import try_words

        try_words(config)


class _StatusPlace(NamedTuple):
    """Where `--status` writes."""

    config: Config
    host: str
    project: str
    commit: str


_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


def _place_of_status(told: Globals, repo: str | None, commit: str | None) -> _StatusPlace:
    """The commit on its forge. Raises UsageError (`usage/no-forge`, `usage/commit`)."""
    config = told.load()
    name = repo or next(iter(config.repos))  # of several one was named: `_settings` insists
    place = config.forge_of(name)
    if place is None:
        raise UsageError(reason("usage/no-forge", repo=name))
    found = commit or _commit_of_ci(os.environ)
    if found is None or not _COMMIT.fullmatch(found):
        raise UsageError(reason("usage/commit", found=found or "nothing"))
    return _StatusPlace(config, *place, found)


def _commit_of_ci(environ: Mapping[str, str]) -> str | None:
    """The commit that a CI system runs for; of a pull request its head, and not the merge that is tried."""
    event = environ.get("GITHUB_EVENT_PATH")
    if event:
        try:
            head = json.loads(Path(event).read_text("utf-8"))["pull_request"]["head"]["sha"]
        except (OSError, ValueError, KeyError, TypeError):
            head = None
        if isinstance(head, str):
            return head
    # GitLab: the first is there in pipelines of merged results, whose commit nobody sees.
    names = ("CI_MERGE_REQUEST_SOURCE_BRANCH_SHA", "CI_COMMIT_SHA", "BITBUCKET_COMMIT", "GITHUB_SHA")
    return next((environ[name] for name in names if environ.get(name)), None)


def _tell_forge(where: _StatusPlace, verdict: Verdict, *, is_go: bool) -> None:
    """Write the verdict as status of the commit. Raises ForgeError."""
    from contextlib import ExitStack

    from automator.app import open_forges
    from automator.core.pullrequest import STATUS_OF_CHECK, go, no_go

    first = next(iter(verdict.findings), None)
    more = f" (and {len(verdict.findings) - 1} more)" if len(verdict.findings) > 1 else ""
    if is_go or first is None:
        status = go(f"{verdict.workloads} workloads, {verdict.warnings} warnings", STATUS_OF_CHECK)
    else:
        status = no_go(f"{first.reason.sentence[:110]}{more}", STATUS_OF_CHECK)
    with ExitStack() as stack:
        forge = open_forges(where.config, stack)[where.host]
        forge.set_commit_status(where.project, where.commit, status)


def _from_here(root: Path, file: str) -> str:
    """A file's path from the current folder, where that lies above it; CI systems show files by it."""
    full = Path(os.path.abspath(root / file))
    here = Path.cwd()
    return str(full.relative_to(here)) if full.is_relative_to(here) else file


@contextmanager
def _asking(told: Globals, online: bool) -> Iterator[Ask | None]:
    """The way to ask registries for tags; None without `--online`."""
    if not online:
        yield None
        return
    from automator.app import registry_client
    from automator.edges.log import configure

    config = told.load(require_repos=False)
    configure(config.log.format, told.log_level or config.log.level)
    client = registry_client(config)
    try:
        yield lambda repository: client.tags(repository, now=datetime.now(UTC)).tags
    finally:
        client.close()


class _Settings(NamedTuple):
    """What a folder is judged by, beside what stands in it."""

    scope: Scope
    rails: tuple[Rail, ...]
    """The operator's rules."""
    keys: frozenset[str] | None
    """The keys that policies may name; None where there is no config to tell."""
    can_propose: bool | None
    """Whether there is a forge for pull requests; None where nothing tells."""
    checks: frozenset[str] | None
    """Names of the config's checks; None where there is no config."""
    runtimes: tuple[RuntimeScope, ...] | None
    """What its runtimes cover; None where nothing tells."""


def _settings(told: Globals, repo: str | None, policies: str | None) -> _Settings:
    """The config's word, or the defaults without a config."""
    from automator.app import runtime_scopes, scope_of
    from automator.cli.choice import unknown_repo
    from automator.config import config_file
    from automator.cycle.source import Scope

    scope = Scope()
    rails: tuple[Rail, ...] = ()
    keys: frozenset[str] | None = None
    can_propose: bool | None = None
    checks: frozenset[str] | None = None
    runtimes: tuple[RuntimeScope, ...] | None = None
    if repo is not None or config_file(told.config, os.environ) is not None:
        config = told.load(require_repos=False)
        _try_words(config)
        if repo is not None and repo not in config.repos:
            raise unknown_repo(repo, config.repos)
        rails, keys, checks = config.rails, frozenset(config.keys), frozenset(config.checks)
        chosen = repo or (next(iter(config.repos)) if len(config.repos) == 1 else None)
        if chosen is not None:
            scope = scope_of(config.repos[chosen])
            rails = config.rails_of(chosen)
            can_propose = config.forge_of(chosen) is not None
            runtimes = runtime_scopes(config, chosen)
        elif config.repos:
            raise UsageError(reason("usage/which-repo", known=", ".join(sorted(config.repos))))
    scope = scope if policies is None else replace(scope, policies=policies.strip("/"))
    return _Settings(scope, rails, keys, can_propose, checks, runtimes)
