"""Opening: what every command does that works with config repos, before its own work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from automator.cli.options import Globals

if TYPE_CHECKING:
    from automator.app import App
    from automator.config import Config
    from automator.reasons import Reason


def configured(told: Globals, *, require_repos: bool = True) -> Config:
    """The config, with logging set up as it says. Raises ConfigError."""
    from automator.edges.log import configure

    config = told.load(require_repos=require_repos)
    configure(config.log.format, told.log_level or config.log.level)
    return config


@contextmanager
def opened(config: Config, *, exclusive: bool, repos: tuple[str, ...], aside: bool = False) -> Iterator[App]:
    """The parts for some config repos; `exclusive` takes the state folder for this process, `aside` leaves
    it to others."""
    from automator.app import App

    with App.open(config, exclusive=exclusive, aside=aside, repos=repos, warn=warn) as app:
        yield app


def warn(why: Reason) -> None:
    """A warning and its code on standard error."""
    click.echo(click.style("warning: ", fg="yellow") + f"{why.sentence}  [{why.code}]", err=True)
