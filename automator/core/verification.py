"""Verification: what checks said of a version after its release, and what that comes to.

A `Verification` is one series for one version of one workload: each check is asked again and again until
it passes or fails. Pure: who asks, and when, is told by `due`; what was answered comes in by `heard`.

- The first yes passes a check. So many noes in a row as its plan says fail it.
- No answer is neither: a server that is down says nothing of a release.
- Where `deployed` is asked for, the other checks begin once it has passed: before, they would be answered by
  the version before.
- After `within` the next try decides that is not a yes, once there were as many tries as noes would fail it.
  Time alone fails nothing: who was not running, or had no thread free, has not asked.
- One failed check fails the series, and then nobody is asked any more; all passed checks pass it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from automator.core.duration import format_duration
from automator.reasons import one_line

DEPLOYED = "deployed"
"""The check that is built in: what runtimes say of a version. The others of a series wait for it."""
SAID_LIMIT = 120
"""Characters that are kept of what a check said: it is untrusted, and stands in commits and messages."""


class Answer(StrEnum):
    """What one try came to."""

    YES = "yes"
    NO = "no"
    SILENT = "silent"
    """There was no answer, or none that could be understood."""


class Said(NamedTuple):
    """The answer of one try, with a few words of it."""

    answer: Answer
    words: str


class State(StrEnum):
    """Where a check, or a whole series, is."""

    RUNNING = "running"
    PASSED = "passed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Plan:
    """How a check of the daemon's config is asked."""

    name: str
    interval: timedelta = timedelta(seconds=30)
    within: timedelta | None = timedelta(minutes=15)
    """None where time fails nothing, however often it was tried."""
    failures: int = 3
    """Noes in a row that fail it."""
    delay: timedelta = timedelta(0)
    """From the release to the first try; part of `within`."""


@dataclass(frozen=True, slots=True)
class Progress:
    """One check of a series."""

    check: str
    begun: datetime
    next_at: datetime
    """When it is asked next, while it runs."""
    state: State = State.RUNNING
    refusals: int = 0
    """Noes since the last answer that was none."""
    words: str = ""
    """What it said last."""
    ended: datetime | None = None
    tries: int = 0
    """Answers so far, silence among them."""


@dataclass(frozen=True, slots=True)
class Verification:
    """The checks of one version at one workload."""

    version: str
    """As trailers write it: `1.4.3@sha256:…`."""
    commit: str
    """The config repo's commit at which the workload was first seen at it."""
    begun: datetime
    checks: tuple[Progress, ...]

    @property
    def state(self) -> State:
        states = {progress.state for progress in self.checks}
        if State.FAILED in states:
            return State.FAILED
        return State.RUNNING if State.RUNNING in states else State.PASSED

    @property
    def failure(self) -> Progress | None:
        """The first check that failed."""
        return next((p for p in self.checks if p.state is State.FAILED), None)

    @property
    def ended(self) -> datetime | None:
        """When it passed or failed; None while it runs."""
        if self.state is State.RUNNING:
            return None
        failure = self.failure
        if failure is not None:
            return failure.ended
        return max((p.ended for p in self.checks if p.ended is not None), default=self.begun)

    def of(self, check: str) -> Progress | None:
        """Where one check is."""
        return next((p for p in self.checks if p.check == check), None)


def begin(version: str, commit: str, plans: Iterable[Plan], now: datetime) -> Verification:
    """A new series."""
    return Verification(version, commit, now, tuple(_begun(plan, now) for plan in plans))


def renewed(series: Verification, plans: Iterable[Plan], now: datetime) -> Verification:
    """The series under the checks that are asked for now: others are dropped, new ones begin. Nothing of it
    begins later than now, nor waits longer than it may, since a clock was wrong."""
    checks = tuple(_as_of(series.of(plan.name), plan, now) for plan in plans)
    found = replace(series, checks=checks, begun=min(series.begun, now))
    return series if found == series else found


def _as_of(progress: Progress | None, plan: Plan, now: datetime) -> Progress:
    if progress is None:
        return _begun(plan, now)
    if progress.state is not State.RUNNING:
        return progress
    latest = now + max(plan.interval, plan.delay)
    return replace(progress, begun=min(progress.begun, now), next_at=min(progress.next_at, latest))


def _begun(plan: Plan, now: datetime) -> Progress:
    return Progress(plan.name, now, now + plan.delay)


def due(series: Verification, now: datetime) -> tuple[str, ...]:
    """The checks that are to be asked now."""
    return tuple(p.check for p in _asking(series) if p.next_at <= now)


def _asking(series: Verification) -> tuple[Progress, ...]:
    """The checks that run and wait for none other."""
    if series.state is not State.RUNNING:
        return ()
    running = tuple(p for p in series.checks if p.state is State.RUNNING)
    return tuple(p for p in running if p.check == DEPLOYED) or running


def arrived(series: Verification, plans: Iterable[Plan], now: datetime) -> Verification:
    """The series once its version runs: the checks that waited for it begin."""
    waited = {plan.name: plan for plan in plans if plan.name != DEPLOYED}

    def begun(progress: Progress) -> Progress:
        plan = waited.get(progress.check)
        untried = progress.state is State.RUNNING and not progress.tries
        return _begun(plan, now) if plan is not None and untried else progress

    found = replace(series, checks=tuple(map(begun, series.checks)))
    return series if found == series else found


def asked(series: Verification, plan: Plan, now: datetime) -> Verification:
    """The series after a check was asked: its answer is on the way, and it is not asked again before the
    next interval, or the end of its time if that is sooner."""

    def after(progress: Progress) -> Progress:
        again = now + plan.interval
        end = again if plan.within is None else progress.begun + plan.within
        return replace(progress, next_at=again if now >= end else min(again, end))

    return _with(series, plan.name, after)


def heard(
    series: Verification, plan: Plan, said: Said, now: datetime, tried: datetime | None = None
) -> Verification:
    """The series after an answer to a try that began at `tried`; one that comes after the check's end
    changes nothing."""
    began = now if tried is None else tried

    def after(progress: Progress) -> Progress:
        words = one_line(said.words, SAID_LIMIT)
        if said.answer is Answer.YES:
            return replace(progress, state=State.PASSED, refusals=0, words=words, ended=now)
        refusals = progress.refusals + (said.answer is Answer.NO)
        progress = replace(progress, refusals=refusals, words=words, tries=progress.tries + 1)
        if refusals >= plan.failures:
            return replace(progress, state=State.FAILED, ended=now)
        if plan.within is None:
            return progress
        if began >= progress.begun + plan.within and progress.tries >= plan.failures:
            words = one_line(f"not passed within {format_duration(plan.within)}: {words}", SAID_LIMIT)
            return replace(progress, state=State.FAILED, words=words, ended=now)
        return progress

    return series if series.state is not State.RUNNING else _with(series, plan.name, after)


def looks_at(series: Verification) -> datetime | None:
    """When the series is to be looked at next; None where it has ended, or waits for what is told unasked."""
    return min((p.next_at for p in _asking(series) if p.check != DEPLOYED), default=None)


def decided_by(series: Verification, plans: Iterable[Plan]) -> datetime | None:
    """About when a running series ends at the latest, if its checks are asked; None where nobody knows."""
    running = {p.check: p for p in series.checks if p.state is State.RUNNING}
    if series.state is not State.RUNNING or DEPLOYED in running:
        return None
    times = (
        running[plan.name].begun + plan.within
        for plan in plans
        if plan.name in running and plan.within is not None
    )
    return max(times, default=None)


def _with(series: Verification, check: str, change: Callable[[Progress], Progress]) -> Verification:
    checks = tuple(change(p) if p.check == check and p.state is State.RUNNING else p for p in series.checks)
    return series if checks == series.checks else replace(series, checks=checks)


# -- kept as text --------------------------------------------------------------------------------


def to_text(series: Verification) -> str:
    """The series as one line of JSON, to be kept."""
    checks = [
        [
            p.check,
            p.begun.isoformat(),
            p.next_at.isoformat(),
            p.state.value,
            p.refusals,
            p.words,
            None if p.ended is None else p.ended.isoformat(),
            p.tries,
        ]
        for p in series.checks
    ]
    return json.dumps([series.version, series.commit, series.begun.isoformat(), checks])


def from_text(text: str) -> Verification | None:
    """What `to_text` wrote; None for anything else: then the checks are asked anew."""
    try:
        version, commit, begun, checks = json.loads(text)
        return Verification(
            str(version), str(commit), _time(begun), tuple(_progress(fields) for fields in checks)
        )
    except (ValueError, TypeError, AttributeError, OverflowError):
        return None


def _progress(fields: list[Any]) -> Progress:
    check, begun, next_at, state, refusals, words, ended, *tries = fields
    return Progress(
        str(check),
        _time(begun),
        _time(next_at),
        State(state),
        int(refusals),
        str(words),
        None if ended is None else _time(ended),
        int(tries[0]) if tries else 0,
    )


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


# -- what an answer says -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Wanted:
    """What must stand at a place of a JSON document."""

    path: str
    """`data.result[0].value[1]`."""
    equals: bool | int | float | str | None = None
    least: float | None = None
    most: float | None = None


_STEP = re.compile(r"\[([0-9]+)\]|([^.\[\]]+)")


def judged(text: str, wanted: Wanted) -> Said:
    """What a JSON document says: no where the value is another, and where there is none."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return Said(Answer.SILENT, "its answer is no JSON")
    for index, name in _STEP.findall(wanted.path):
        try:
            value = _inside(value, int(index) if index else name)
        except LookupError:
            return Said(Answer.NO, f"{wanted.path} is not there")
    return _compared(value, wanted)


def _inside(value: Any, step: int | str) -> Any:
    if isinstance(value, list) and isinstance(step, int):
        return value[step]
    if isinstance(value, dict) and isinstance(step, str):
        return value[step]
    raise LookupError(step)


def _compared(value: Any, wanted: Wanted) -> Said:
    shown = one_line(value if isinstance(value, str) else json.dumps(value), 60)
    told = f"{wanted.path} is {shown}"
    number = _number(value)
    if wanted.equals is not None:
        if isinstance(wanted.equals, (bool, str)):
            good = type(value) is type(wanted.equals) and value == wanted.equals
        else:
            good = number is not None and number == wanted.equals
        return Said(Answer.YES, told) if good else Said(Answer.NO, f"{told}, not {wanted.equals}")
    if number is None or math.isnan(number):
        return Said(Answer.NO, f"{told}, which is no number")
    if wanted.least is not None and number < wanted.least:
        return Said(Answer.NO, f"{told}, less than {wanted.least:g}")
    if wanted.most is not None and number > wanted.most:
        return Said(Answer.NO, f"{told}, more than {wanted.most:g}")
    return Said(Answer.YES, told)


def _number(value: Any) -> float | None:
    """A number, also as text, which is how Prometheus writes values."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None
