"""Rendering: what commands print, as tables for people and as JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from automator.cli.opening import warn
from automator.cli.options import inert
from automator.core.reference import short_text
from automator.core.report import Outcome, Report
from automator.core.shown import plain
from automator.reasons import Reason, Status

NO_WIDTH = 100_000
"""Columns of what is not a terminal."""

STUCK = (Status.WAITING, Status.HELD, Status.FAILED)
NOTHING_TO_DO = "nothing to do"
"""The next step of what needs none."""
NAMED = 5
"""Workloads named with one next step."""
COLOURS = {
    "released": "green",
    "current": "green",
    "waiting": "yellow",
    "held": "yellow",
    "failed": "red",
    "error": "red",
    "warning": "yellow",
    "kept": "green",
    "dropped": "bright_black",
    "same": "green",
    "pending": "yellow",
    "diverged": "red",
    "unknown": "yellow",
}


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    click.echo(inert(json.dumps(value, indent=2, default=plain, ensure_ascii=False)))


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], *, state: int | None = None
) -> None:
    """A table on standard output; column `state` is coloured by its word."""
    # A pipe has no width: lines must not be folded there, nor filled up with blanks.
    terminal = sys.stdout.isatty()
    console = Console(highlight=False, width=None if terminal else NO_WIDTH)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for i, column in enumerate(columns):
        table.add_column(column.upper(), overflow="fold", no_wrap=i < len(columns) - 1)
    for row in rows:
        cells = [Text("" if cell is None else str(cell)) for cell in row]
        if state is not None:
            cells[state].stylize(COLOURS.get(cells[state].plain, ""))
        table.add_row(*cells)
    if terminal:
        console.print(table)
        return
    with console.capture() as written:
        console.print(table)
    for line in written.get().splitlines():
        click.echo(line.rstrip())


def print_outcomes(
    report: Report, outcomes: Sequence[Outcome], *, many: bool, now: datetime | None = None
) -> None:
    """One line for each workload: where it is, with `now` how far behind it is, and why."""
    prefix = f"{report.repo}/" if many else ""
    columns = ("workload", "status", "current", *(() if now is None else ("behind",)), "reason")
    rows = [
        (
            prefix + o.workload,
            o.status,
            _version_now(o),
            *(() if now is None else (o.lag(now).removesuffix(" behind") or "-",)),
            o.reason.sentence,
        )
        for o in outcomes
    ]
    if rows:
        print_table(columns, rows, state=1)
        _print_next_steps(outcomes)
    elif not report.outcomes and report.error is None:
        click.echo(f"{report.repo}: no policy file names a workload")
    told = {o.reason for o in outcomes}
    for why in report.warnings:
        if why in told:
            continue
        warn(why)
    if report.error is not None:
        complain(report.error)


def _version_now(outcome: Outcome) -> str | None:
    """The version that the config repo holds after the cycle."""
    released = outcome.status is Status.RELEASED
    return short_text(outcome.target if released else outcome.current)


def _print_next_steps(outcomes: Sequence[Outcome]) -> None:
    """What a person can do about each outcome that is not fine; equal ones together."""
    steps: dict[tuple[str, str], list[str]] = {}
    for outcome in outcomes:
        why = outcome.reason
        if outcome.status in STUCK:
            at = "" if why.changes_at is None else f"; by itself at {why.changes_at:%Y-%m-%d %H:%M:%S} UTC"
            steps.setdefault((why.code, why.next_step + at), []).append(outcome.workload)
    for (code, step), names in steps.items():
        shown = ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
        click.echo(f"  {shown}: {step}  [{code}]")


def complain(why: Reason, *, place: str = "") -> None:
    """A sentence, about `place` where it names none, its next step and its code on standard error.

    The code stands at the end of what is said last, as with outcomes: it is what `explain` and the page of
    all codes are searched by.
    """
    lines = [click.style("automator: ", fg="red") + (f"{place}: " if place else "") + why.sentence]
    if why.next_step != NOTHING_TO_DO:
        lines.append(f"  next: {why.next_step}")
    click.echo("\n".join(lines) + f"  [{why.code}]", err=True)


def print_mapping(rows: Mapping[str, object]) -> None:
    """`key: value` lines."""
    width = max(map(len, rows), default=0)
    for key, value in rows.items():
        if value not in (None, ""):
            click.echo(f"{key:<{width}}  {value}")
