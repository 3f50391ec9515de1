"""What `report` prints: the figures of delivery, as text and as JSON."""

from __future__ import annotations

from datetime import UTC

import click

from automator.cli.options import counted
from automator.cli.render import print_json, print_table
from automator.core.delivery.figures import Spread
from automator.core.delivery.stations import Journey
from automator.core.delivery.summary import Group, Summary
from automator.core.delivery.words import FIGURES, duration, level, moment, per_day, share
from automator.core.reference import short_text
from automator.core.shownpast import shown_summary


def print_report(summary: Summary, *, slowest: int, as_json: bool) -> None:
    """Print the report on standard output."""
    if as_json:
        print_json(shown_summary(summary, slowest=slowest))
        return
    period = summary.period
    days = counted(round(period.days), "day")
    click.echo(f"delivery from {moment(period.since)} to {moment(period.until)}, {days}")
    for note in summary.notes:
        click.echo(f"note: {note}")
    click.echo()
    whole = summary.overall
    rows = [(name, value(whole), level(rank(whole), value(whole)), basis(whole))
            for name, value, rank, basis in FIGURES]  # fmt: skip
    print_table(("figure", "value", "level", "counted from"), rows)
    if summary.groups:
        click.echo(f"\nby {summary.by}")
        print_table(
            (summary.by, "deployments", "how often", "lead time", "failed", "to restore"),
            map(_group_row, summary.groups),
        )
    if summary.stations:
        click.echo("\nwhere the time went, slowest first")
        print_table(("from → to", "median", "90 %", "most", "releases"), map(_station_row, summary.stations))
    if summary.skewed:
        click.echo(f"{counted(summary.skewed, 'leg')} left out: two clocks disagree there")
    if slowest and summary.journeys:
        click.echo("\nslowest releases")
        print_table(
            ("release", "landed", "in all", "station by station"),
            map(_journey_row, summary.journeys[:slowest]),
        )


def _group_row(group: Group) -> tuple[object, ...]:
    f = group.figures
    return (
        group.name,
        f.deployments,
        per_day(f),
        duration(f.lead.median),
        share(f),
        duration(f.restore.median),
    )


def _station_row(item: tuple[str, Spread]) -> tuple[object, ...]:
    name, took = item
    return (name, duration(took.median), duration(took.p90), duration(took.greatest), took.n)


def _journey_row(one: Journey) -> tuple[object, ...]:
    change = one.fate.change
    legs = (
        ", ".join(f"{leg.name} {duration(leg.took)}" for leg in one.legs) or "nothing is known but the commit"
    )
    failed = "" if one.fate.failure is None else f" ({one.fate.failure})"
    name = f"{change.repo}/{change.workload} {short_text(change.member.after)}{failed}"
    return (name, f"{change.landed.astimezone(UTC):%Y-%m-%d %H:%M}", duration(one.whole), legs)
