"""`check`: the gate for a pull request that changes policies or manifests."""

from __future__ import annotations

import os
from collections.abc import Iterator
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
    from automator.core.rail import Rail
    from automator.cycle.gate import Ask
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
) -> int:
    """Judge the policies and manifests of a plain checkout; no Git, and no network without --online.

    PATH is the folder of the config repo's files. Errors (exit 1) are what cannot work; warnings
    what will surprise.
    """
    from automator.cli.formats import FORMATS
    from automator.cycle.gate import check as judge

    scope, rails, keys = _settings(told, repo, policies)
    with _asking(told, online) as ask:
        verdict = judge(
            path, scope, now=datetime.now(UTC), coverage=coverage, ask=ask, rails=rails, keys=keys
        )
    form = form or ("json" if told.json else "terminal")
    if form in _PLACED:
        findings = tuple(replace(f, file=_from_here(path, f.file), told_as=f.file) for f in verdict.findings)
        verdict = replace(verdict, findings=findings, files=tuple(_from_here(path, f) for f in verdict.files))
    click.echo(FORMATS[form](verdict, strict=strict), nl=False)
    return FAILED if verdict.errors or (strict and verdict.warnings) else 0


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


def _settings(told: Globals, repo: str | None, policies: str | None) -> _Settings:
    """The config's word, or the defaults without a config."""
    from automator.app import scope_of
    from automator.cli.choice import unknown_repo
    from automator.config import config_file
    from automator.cycle.source import Scope

    scope = Scope()
    rails: tuple[Rail, ...] = ()
    keys: frozenset[str] | None = None
    if repo is not None or config_file(told.config, os.environ) is not None:
        config = told.load(require_repos=False)
        if repo is not None and repo not in config.repos:
            raise unknown_repo(repo, config.repos)
        rails, keys = config.rails, frozenset(config.keys)
        chosen = repo or (next(iter(config.repos)) if len(config.repos) == 1 else None)
        if chosen is not None:
            scope = scope_of(config.repos[chosen])
            rails = config.rails_of(chosen)
        elif config.repos:
            raise UsageError(reason("usage/which-repo", known=", ".join(sorted(config.repos))))
    scope = scope if policies is None else replace(scope, policies=policies.strip("/"))
    return _Settings(scope, rails, keys)
