"""What `log` prints: the release log, line by line as it is found, for people, programs and spreadsheets."""

from __future__ import annotations

import csv
import heapq
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import chain, islice
from typing import Any

import click

from automator.cli.options import inert
from automator.core.delivery.change import Change
from automator.core.reference import short_text
from automator.core.shown import plain
from automator.core.shownpast import shown_change
from automator.reasons import one_line

FIRST_ROWS = 30
"""Rows that are looked at to find how wide a table's columns are."""
WIDEST = 40
"""Columns of one cell that later rows are lined up with."""
_FORMULA = ("=", "+", "-", "@")
"""What a spreadsheet takes for the beginning of a formula, also after blanks."""


def newest_first(streams: Iterable[Iterator[Change]], limit: int | None) -> Iterator[Change]:
    """The changes of several config repos as one log, `limit` at most; each is read only as far as needed."""
    merged = heapq.merge(*streams, key=lambda change: change.landed, reverse=True)
    return merged if limit is None else islice(merged, limit)


# -- for programs ------------------------------------------------------------------------------------


def as_json(change: Change) -> dict[str, Any]:
    """A change for programs, its moments as text; null is what is not known, or was not asked."""
    return _texts(shown_change(change))


def _texts(shown: Mapping[str, Any]) -> dict[str, Any]:
    told = {name: plain(value) if isinstance(value, datetime) else value for name, value in shown.items()}
    return {name: _texts(value) if isinstance(value, dict) else value for name, value in told.items()}


def print_as_json(changes: Iterator[Change]) -> int:
    """One JSON array, an element at a time."""
    count = 0
    for change in changes:
        click.echo("[" if count == 0 else ",")
        click.echo(inert(json.dumps(as_json(change), ensure_ascii=False)), nl=False)
        count += 1
    click.echo("\n]" if count else "[]")
    return count


# -- for spreadsheets --------------------------------------------------------------------------------

CSV_COLUMNS = (
    *(
        "time",
        "committed",
        "merged",
        "repo",
        "workload",
        "owner",
        "environment",
        "kind",
        "image",
        "from",
        "to",
    ),
    *("author", "email", "actor", "reason", "why", "policy", "policy_changed_by", "policy_changed_at"),
    *("policy_commit", "pull_request", "merged_by", "approved_by", "signature", "signer", "proven", "refs"),
    *("built", "source", "source_time", "commit", "reverts", "sites"),
)


def print_as_csv(changes: Iterator[Change]) -> int:
    """RFC 4180, with a header, each cell in quotes and on one line. A cell that a spreadsheet would take for
    a formula begins with `'`."""
    _csv_line(CSV_COLUMNS)
    count = 0
    for change in changes:
        told = as_json(change)
        policy = told.pop("policy_changed") or {}
        told["policy_changed_by"] = policy.get("author")
        told["policy_changed_at"] = policy.get("time")
        told["policy_commit"] = policy.get("commit")
        _csv_line([_cell(told[name]) for name in CSV_COLUMNS])
        count += 1
    return count


def _csv_line(cells: Iterable[str]) -> None:
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n", quoting=csv.QUOTE_ALL).writerow(cells)
    click.echo(line.getvalue(), nl=False)


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = " ".join(map(str, value)) if isinstance(value, list) else str(value)
    shown = "".join(c if c.isprintable() else " " for c in text)
    return f"'{shown}" if shown.lstrip().startswith(_FORMULA) else shown


# -- for people --------------------------------------------------------------------------------------

_COLUMNS = ("time", "commit", "kind", "workload", "from", "to", "author", "pull request")


def print_as_table(changes: Iterator[Change]) -> int:
    """A line for each change, aligned by the first ones."""
    rows = ((change, _row(change)) for change in changes)
    first = list(islice(rows, FIRST_ROWS))
    if not first:
        return 0
    widths = [
        max(len(title), *(min(len(row[i]), WIDEST) for _, row in first)) for i, title in enumerate(_COLUMNS)
    ]
    click.echo(click.style(_line([title.upper() for title in _COLUMNS], widths), bold=True))
    count = 0
    for change, row in chain(first, rows):
        colour = {False: "red", None: None, True: _colour(change)}[change.proven]
        click.echo(click.style(_line(row, widths), fg=colour) if colour else _line(row, widths))
        count += 1
    return count


def _colour(change: Change) -> str | None:
    return "yellow" if change.kind in ("rollback", "revert", "reject", "manual") else None


def _line(cells: Iterable[str], widths: list[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def _row(change: Change) -> tuple[str, ...]:
    member = change.member
    return tuple(
        one_line(cell)
        for cell in (
            f"{change.landed:%Y-%m-%d %H:%M}",
            change.commit[:10],
            change.kind + ("?" if change.proven is False else ""),
            f"{change.repo}/{member.workload}" if member.workload else change.repo,
            short_text(member.before) or "-",
            short_text(member.after) or "-",
            change.actor or change.author,
            "" if change.pull_request is None else f"#{change.pull_request}",
        )
    )


def print_in_detail(changes: Iterator[Change]) -> int:
    """A few lines for each change: all that an auditor asks for."""
    count = 0
    for change in changes:
        if count:
            click.echo()
        told = as_json(change)
        where = f"{change.repo}/{change.workload}" if change.workload else change.repo
        step = " -> ".join(text for text in (told["from"], told["to"]) if text)
        click.echo(click.style(one_line(f"{change.kind} {where} {step}".rstrip(), 400), bold=True))
        for name, value in _details(change, told):
            if value:
                click.echo(f"  {name:<13} {one_line(value, 400)}")
        count += 1
    return count


def _details(change: Change, told: dict[str, Any]) -> Iterator[tuple[str, str | None]]:
    policy = change.policy_change
    yield "commit", change.commit
    yield "committed", f"{told['committed']} by {change.author} <{change.mail}>"
    yield "merged", told["merged"] and f"{told['merged']} by {change.merged_by}"
    yield "asked by", change.actor
    yield "reason", change.reason
    yield "why", change.why
    yield "image", told["image"]
    for site in told["sites"]:
        yield "site", site
    yield "built", told["built"]
    yield "source", change.member.source
    yield "source made", told["source_time"]
    yield "policy", change.member.policy
    if policy is not None:
        yield "policy by", f"{policy.author}, {_text(policy.time)}, {policy.commit[:12]}"
    yield "pull request", None if change.pull_request is None else f"#{change.pull_request}"
    yield "approved by", None if change.approved_by is None else (", ".join(change.approved_by) or "nobody")
    yield "refs", " ".join(change.refs)
    yield "reverts", change.reverts
    yield "signature", change.signature and f"{change.signature} {change.signer or ''}".rstrip()
    yield "proven", {True: "yes", False: "no: the commit does not do what it says", None: None}[change.proven]


# -- all of them -------------------------------------------------------------------------------------


def print_log(changes: Iterator[Change], form: str, *, details: bool) -> int:
    """Print changes as `table`, `json` or `csv`; returns how many there were."""
    if form == "json":
        return print_as_json(changes)
    if form == "csv":
        return print_as_csv(changes)
    return print_in_detail(changes) if details else print_as_table(changes)


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"
