"""What `report` prints: the figures of delivery, as text and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from automator.cli.options import counted
from automator.cli.render import print_json, print_table
from automator.core.delivery.change import Change, Wanted
from automator.core.delivery.fate import Fate, Seen, fates
from automator.core.delivery.figures import Figures, Period, Spread
from automator.core.delivery.stations import Journey
from automator.core.delivery.summary import Group, Summary, summarize
from automator.core.delivery.words import FIGURES, duration, level, moment, per_day, share
from automator.core.promotion import After
from automator.core.reference import short_text
from automator.core.workload import Workload
from automator.cycle.index import Snapshot
from automator.cycle.logbook import Logbook
from automator.cycle.stations import Memory, Policies, Remembered, upstreams

USUAL_PERIOD = timedelta(days=90)


def summary_of(
    books: Mapping[str, Logbook], wants: Mapping[str, Wanted], memory: Memory, *, by: str, now: datetime
) -> Summary:
    """Read the history of config repos and put the report together. Raises CheckoutError.

    All of the history is read, whatever the period: what became of a release may be told before it, and
    after it.
    """
    every: list[Change] = []
    told: list[tuple[Change, Seen]] = []
    for repo, book in books.items():
        wanted = replace(_with_upstreams(wants[repo], book.snapshot), since=None, until=None)
        mine = list(book.changes(wanted))[::-1]
        every += mine
        told += Remembered(book.branch, book.snapshot, memory).told(mine)
    snapshots = {repo: book.snapshot for repo, book in books.items()}
    found = [fate for fate in fates(told) if _is_asked(fate, wants[fate.change.repo])]
    first = next(iter(wants.values()))
    until = min(first.until or now, now)
    period = Period(first.since or until - USUAL_PERIOD, until)
    period, notes = _read_of(period, books)
    return summarize(found, period, by=by, waits=Policies.of(snapshots, every).waits, notes=notes)


def _read_of(period: Period, books: Mapping[str, Logbook]) -> tuple[Period, tuple[str, ...]]:
    """The part of a period that figures can count: not before the first history begins, and not where one
    was not read so far; and what is to be said of that."""
    known = {repo: book.begins for repo, book in books.items() if book.begins is not None}
    if not known:
        return period, ()
    cut = {repo: at for repo, at in known.items() if not books[repo].reaches_beginning}
    began = max((min(known.values()), *cut.values()))
    if began <= period.since:
        return period, ()
    late = ", ".join(sorted(repo for repo, at in cut.items() if at > period.since))
    where = f"of {late} " if late else ""
    if began >= period.until:
        note = f"the history {where}that was read begins at {moment(began)}: nothing is known of this period"
        return Period(period.until, period.until), (note,)
    note = f"the history {where}that was read begins at {moment(began)}; figures count from there"
    return Period(began, period.until), (note,)


def _with_upstreams(wanted: Wanted, snapshot: Snapshot) -> Wanted:
    """What is wanted, and the workloads of the same config repo that it waits for."""
    if not wanted.workloads:
        return replace(wanted, owners=frozenset(), environments=frozenset())
    entries = [snapshot.workloads.get(name) for name in wanted.workloads]
    afters: list[After] = [e.guards.after for e in entries if isinstance(e, Workload) and e.guards.after]
    names = {name for after in afters for repo, name in upstreams(after, snapshot) if repo in ("",)}
    return replace(wanted, workloads=wanted.workloads | names, owners=frozenset(), environments=frozenset())


def _is_asked(fate: Fate, wanted: Wanted) -> bool:
    return replace(wanted, since=None, until=None).takes(fate.change)


# -- for programs ------------------------------------------------------------------------------------


def as_json(summary: Summary, *, slowest: int) -> dict[str, Any]:
    """The report for programs: durations are seconds, null is what there is no data for."""
    return {
        "since": summary.period.since,
        "until": summary.period.until,
        "days": round(summary.period.days, 3),
        "figures": _figures_json(summary.overall),
        "by": summary.by,
        "groups": [{"name": g.name, "figures": _figures_json(g.figures)} for g in summary.groups],
        "stations": [{"leg": name, **_spread_json(spread)} for name, spread in summary.stations],
        "slowest": [_journey_json(one) for one in summary.journeys[:slowest]],
        "skewed_legs": summary.skewed,
        "notes": list(summary.notes),
    }


def _figures_json(figures: Figures) -> dict[str, Any]:
    return {
        "deployment_frequency": {
            "deployments": figures.deployments,
            "per_day": None if figures.per_day is None else round(figures.per_day, 4),
            "level": figures.frequency_level,
        },
        "lead_time": {
            **_spread_json(figures.lead),
            "from_source": figures.lead_from_source,
            "from_build": figures.lead_from_build,
            "unknown": figures.lead_unknown,
            "level": figures.lead_level,
        },
        "change_failure_rate": {
            "failed": figures.failed,
            "rate": None if figures.failure_rate is None else round(figures.failure_rate, 4),
            "ways": {str(way): count for way, count in figures.failures},
            "level": figures.failure_level,
        },
        "time_to_restore": {
            **_spread_json(figures.restore),
            "unrestored": figures.unrestored,
            "level": figures.restore_level,
        },
        "skewed": figures.skewed,
    }


def _spread_json(spread: Spread) -> dict[str, Any]:
    return {
        "n": spread.n,
        "median": _seconds(spread.median),
        "p90": _seconds(spread.p90),
        "least": _seconds(spread.least),
        "greatest": _seconds(spread.greatest),
    }


def _seconds(took: timedelta | None) -> float | None:
    return None if took is None else round(took.total_seconds(), 3)


def _journey_json(one: Journey) -> dict[str, Any]:
    fate = one.fate
    return {
        "repo": fate.change.repo,
        "workload": fate.change.workload,
        "to": fate.change.member.after,
        "commit": fate.change.commit,
        "kind": fate.change.kind,
        "failure": fate.failure,
        "restored": fate.restored,
        "restored_by": fate.restored_by,
        "stations": dict(one.times),
        "legs": [
            {"from": leg.begin, "to": leg.end, "guard": leg.guard or None, "seconds": _seconds(leg.took)}
            for leg in one.legs
        ],
        "skewed": list(one.skewed),
    }


# -- for people --------------------------------------------------------------------------------------


def print_report(summary: Summary, *, slowest: int, as_json: bool) -> None:
    """Print the report on standard output."""
    if as_json:
        print_json(_as_json(summary, slowest=slowest))
        return
    period = summary.period
    days = counted(round(period.days), "day")
    click.echo(f"delivery from {moment(period.since)} to {moment(period.until)}, {days}")
    for note in summary.notes:
        click.echo(f"note: {note}")
    click.echo()
    rows = [(name, value(summary.overall), level(rank(summary.overall)), basis(summary.overall))
            for name, value, rank, basis in FIGURES]  # fmt: skip
    print_table(("figure", "value", "level", "counted from"), rows)
    if summary.groups:
        click.echo(f"\nby {summary.by}")
        print_table(
            (summary.by, "deployments", "a day", "lead time", "failed", "to restore"),
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


_as_json = as_json


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
