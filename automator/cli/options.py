"""Global options: accepted before and after the command, the later one wins."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from automator.config import Config

Command = TypeVar("Command", bound=Callable[..., Any])

EPILOG = (
    "Exit codes: 0 fine, 1 a workload failed or a command was refused, 2 wrong usage or configuration, "
    "3 a bug in automator, 4 the daemon gave up on a cycle that is stuck."
)


@dataclass
class Globals:
    """What the global options say."""

    config: Path | None = None
    output: str = "table"
    log_level: str | None = None
    again: Callable[[list[str]], int] | None = None
    """Runs another command line, as the demo does."""

    @property
    def json(self) -> bool:
        return self.output == "json"

    def load(self, *, require_repos: bool = True) -> Config:
        """The config. Raises ConfigError."""
        from automator.config import load

        return load(self.config, os.environ, require_repos=require_repos)


_GLOBALS = (
    click.option(
        "--config",
        "-c",
        type=click.Path(path_type=Path),
        metavar="FILE",
        expose_value=False,
        callback=lambda ctx, _, value: _keep(ctx, "config", value),
        help="The daemon's config; else AUTOMATOR_CONFIG, else config.toml.",
    ),
    click.option(
        "--output",
        "-o",
        type=click.Choice(["table", "json"]),
        expose_value=False,
        callback=lambda ctx, _, value: _keep(ctx, "output", value),
        help="table for people (default), json for programs.",
    ),
    click.option(
        "--log-level",
        type=click.Choice(["debug", "info", "warning", "error"]),
        expose_value=False,
        callback=lambda ctx, _, value: _keep(ctx, "log_level", value),
        help="Least level logged; else the config's.",
    ),
)


_TABULAR = click.option(
    "--output",
    "-o",
    type=click.Choice(["table", "json", "csv"]),
    expose_value=False,
    callback=lambda ctx, _, value: _keep(ctx, "output", value),
    help="table for people (default), json for programs, csv for spreadsheets.",
)


def _keep(ctx: click.Context, name: str, value: object) -> None:
    told = ctx.ensure_object(Globals)
    if value is not None:
        setattr(told, name, value)


def global_options(command: Command) -> Command:
    """Decorate a command or the group with the global options."""
    for option in reversed(_GLOBALS):
        command = option(command)
    return command


def tabular_options(command: Command) -> Command:
    """The global options of a command that prints CSV too."""
    first, _, last = _GLOBALS
    for option in (last, _TABULAR, first):
        command = option(command)
    return command


def selection(command: Command) -> Command:
    """`--repo`, `--workload` and `--owner`: which workloads a command is about."""
    for option in (
        click.option("--owner", multiple=True, metavar="NAME", help="Only workloads of this owner."),
        click.option(
            "--workload", "-w", multiple=True, metavar="NAME", help="Only this workload: web, or repo/web."
        ),
        click.option("--repo", "-r", multiple=True, metavar="NAME", help="Only this config repo."),
    ):
        command = option(command)
    return command


def history_selection(command: Command) -> Command:
    """`selection`, `--environment`, `--since` and `--until`: which part of the history a command is about."""
    for option in (
        click.option(
            "--until", metavar="TIME", help="Only until then: 2026-11-30, a time as in RFC 3339, or 7d ago."
        ),
        click.option(
            "--since", metavar="TIME", help="Only since then: 2026-11-01, a time as in RFC 3339, or 30d ago."
        ),
        click.option(
            "--environment", "-e", multiple=True, metavar="NAME", help="Only workloads of this environment."
        ),
    ):
        command = option(command)
    return selection(command)


def counted(number: int, thing: str) -> str:
    """`1 workload`, `2 workloads`."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def inert(text: str) -> str:
    """JSON in which nothing steers a terminal: what cannot be seen is escaped, line ends apart."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text)
