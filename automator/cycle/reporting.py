"""Reporting: the history of config repos becomes the report on delivery."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from automator.core.delivery.change import Change, Wanted
from automator.core.delivery.fate import Fate, Seen, fates
from automator.core.delivery.figures import Period
from automator.core.delivery.summary import Summary, summarize
from automator.core.delivery.words import moment
from automator.core.promotion import After
from automator.core.workload import Workload
from automator.cycle.index import Snapshot
from automator.cycle.logbook import Logbook
from automator.cycle.stations import Memory, Policies, Remembered, upstreams

USUAL_PERIOD = timedelta(days=90)


@dataclass(frozen=True, slots=True)
class Told:
    """What the history of one config repo tells, as far as it was read."""

    snapshot: Snapshot
    branch: str
    """Name, URL and branch of the config repo, under which the store remembers it."""
    changes: Sequence[Change]
    """Newest first, of any time: what became of a release may be told before a period, and after it."""
    begins: datetime | None
    """Time of the oldest commit that was read."""
    reaches_beginning: bool
    """Whether the clone has the branch's whole history."""


def read_for(book: Logbook, wanted: Wanted) -> Told:
    """Read what a report needs, whatever its period. Raises CheckoutError."""
    asked = replace(_with_upstreams(wanted, book.snapshot), since=None, until=None)
    changes = list(book.changes(asked))
    return Told(book.snapshot, book.branch, changes, book.begins, book.reaches_beginning)


def summary_of(
    told: Mapping[str, Told], wants: Mapping[str, Wanted], memory: Memory, *, by: str, now: datetime
) -> Summary:
    """Put the report together from the histories of config repos, by name."""
    every: list[Change] = []
    known: list[tuple[Change, Seen]] = []
    for repo, one in told.items():
        wanted = replace(_with_upstreams(wants[repo], one.snapshot), since=None, until=None)
        mine = [change for change in one.changes if wanted.takes(change)][::-1]
        every += mine
        known += Remembered(one.branch, one.snapshot, memory).told(mine)
    snapshots = {repo: one.snapshot for repo, one in told.items()}
    found = [fate for fate in fates(known) if _is_asked(fate, wants[fate.change.repo])]
    first = next(iter(wants.values()))
    until = min(first.until or now, now)
    period = Period(first.since or until - USUAL_PERIOD, until)
    period, notes = _read_of(period, told)
    return summarize(found, period, by=by, waits=Policies.of(snapshots, every).waits, notes=notes)


def _read_of(period: Period, told: Mapping[str, Told]) -> tuple[Period, tuple[str, ...]]:
    """The part of a period that figures can count: not before the first history begins, and not where one
    was not read so far; and what is to be said of that."""
    known = {repo: one.begins for repo, one in told.items() if one.begins is not None}
    if not known:
        return period, ()
    cut = {repo: at for repo, at in known.items() if not told[repo].reaches_beginning}
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
