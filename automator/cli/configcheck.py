"""`check --only-config`: what a start of the daemon, or a reload, would say of a config."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from automator.cli.options import Globals, counted
from automator.edges.secretfile import LIST_LIMIT, UnusableFile, read_file
from automator.reasons import Reason, reason

if TYPE_CHECKING:
    from automator.config import Config

FAILED = 1
UNTRIED = (
    "addresses to listen at that somebody else has",
    "a state folder that cannot be written, or that another process uses",
    "a `state` that is another one than that of the daemon that runs",
    "what servers say to our logins",
)
"""What only the daemon itself can find."""


def check_config(told: Globals) -> int:
    """Try the config as a reload does, and the files that it names; the exit code.

    Raises ConfigError and CheckoutError for what the daemon would refuse it for.
    """
    from automator.app.configwatch import try_out
    from automator.app.openfiles import open_files
    from automator.cli.opening import warn
    from automator.config.cleartext import in_the_clear

    config = told.load()
    try_out(config)
    found, warnings = _unusable(config), [*in_the_clear(config), *open_files(config)]
    if told.json:
        from automator.cli.render import print_json

        print_json(
            {
                "errors": [_shown(why) for why in found],
                "warnings": [_shown(why) for why in warnings],
                "repos": list(config.repos),
                "untried": list(UNTRIED),
            }
        )
    else:
        for why in warnings:
            warn(why)
        _print(config, found)
    return FAILED if found else 0


def _shown(why: Reason) -> dict[str, str]:
    return {"code": why.code, "sentence": why.sentence, "next_step": why.next_step}


def _print(config: Config, found: list[Reason]) -> None:
    from automator.cli.render import complain

    for why in found:
        complain(why)
    click.echo(f"{counted(len(config.repos), 'config repo')}: {counted(len(found), 'error')}")
    click.echo(f"Only the daemon itself can find: {'; '.join(UNTRIED)}.")


def _unusable(config: Config) -> list[Reason]:
    """The files of the config that cannot be read by who asks, or are empty."""
    from automator.config.files import named_files

    return [
        reason("config/file", key=key, file=file, problem=problem)
        for key, file in named_files(config)
        if (problem := _problem(file))
    ]


def _problem(file: Path) -> str:
    try:
        return "" if read_file(file, LIST_LIMIT).strip() else "it is empty"
    except UnusableFile as why:
        return str(why)
