"""Windows: when releases may happen, from cron starts, durations and time zones.

`Window.parse` reads one, `state` says whether a set of them is open at a time and when that turns.
Nothing here asks a clock. `zoneinfo` reads the zone's rules from the machine's files, or from the
`tzdata` package where it has none: the one thing that a core module takes from outside, the same for
everybody who has the same release of the tz database.

A window opens at each time that its cron expression names on the zone's clocks, and stays active for
its duration in elapsed time; overlapping ones are one. Where clocks change, starts do what Debian's
cron does with jobs:

- minute and hour both without a leading `*` (`30 2 * * *`): a start in the hour that is skipped
  happens at the moment of the jump, one in the hour that is repeated happens once, at the first;
- otherwise (`0 * * * *`, `*/15 2 * * *`) the clock's face counts: never in the hour that is skipped,
  twice in the one that is repeated.

Days too are cron's: where day of month and day of week are both named, either suffices. `L`, `LW`,
`5L` and `5#2` are known, as in crontab(5) of Debian and in cronsim, which reads the expressions.
"""

from __future__ import annotations

import difflib
import heapq
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import chain, groupby, repeat, takewhile
from operator import itemgetter
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

from automator.core.duration import format_duration
from automator.errors import PolicyError
from automator.reasons import one_line, reason

LONGEST = timedelta(days=31)
HORIZON = timedelta(days=5 * 366)
"""How far ahead a turn is looked for: past the next 29 February."""

_MAX_CRON = 120
_MAX_TURNS = 50_000
"""Turns of all windows that one question may look at: seven weeks of windows that come each minute."""
_FIELDS = ("minute", "hour", "day of month", "month", "day of week")
_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]{0,31}(?:/[A-Za-z0-9_+-]{1,32}){0,2}", re.ASCII)
# What lies beside the zones and is none: this machine's own, and copies that count leap seconds.
_NO_ZONE = re.compile(r"localtime|posixrules|Factory|(?:posix|right)/.*", re.ASCII)
_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)
_MIDNIGHT = datetime(2000, 1, 1)  # noqa: DTZ001 - any day of any clock


@dataclass(frozen=True, slots=True)
class Window:
    """One entry of `windows`: releases are allowed, or denied, for a while from each start on."""

    kind: str
    """`allow` or `deny`."""
    cron: str
    """Five fields with one space between: minute, hour, day of month, month, day of week."""
    duration: timedelta
    zone: str
    """Name in the tz database."""

    @staticmethod
    def parse(kind: str, cron: str, duration: timedelta, zone: str) -> Window:
        """Read a window as a policy spells it.

        Raises PolicyError (`window/invalid`) for anything but five cron fields, starts that never
        come, a zone that is not known here, a duration that is not positive or over `LONGEST`.
        """
        cron = " ".join(cron.split())
        problem = _cron_problem(cron) or _duration_problem(duration) or _zone_problem(zone)
        window = Window(kind, cron, duration, zone)
        if problem:
            raise PolicyError(reason("window/invalid", window=one_line(window), problem=problem))
        return window

    def __str__(self) -> str:
        return f"{self.kind} {self.cron} for {format_duration(self.duration)} {self.zone}"


@dataclass(frozen=True, slots=True)
class State:
    """Whether releases may happen now, and until when that stays so."""

    open: bool
    changes_at: datetime | None
    """In UTC, the first moment at which `open` is the other; None where none is within `HORIZON`."""
    window: Window | None
    """The one that decides: the deny that is active, the allow that is open, or the allow that opens
    next; None where nothing stands against a release."""
    is_exact: bool = True
    """False where `changes_at` is only a moment before which nothing changes: see `intersect`."""


def state(windows: tuple[Window, ...], now: datetime) -> State:
    """Whether `windows` are open at `now` (aware): no deny is active, and an allow is, if there are any."""
    return intersect((windows,), now)


def intersect(members: Iterable[tuple[Window, ...]], now: datetime) -> State:
    """The windows of a group: open only while those of every member are.

    The work is bounded: past `_MAX_TURNS` turns the answer is that nothing changes before the last turn
    that was looked at, which only windows can reach that come and go every few minutes and cover each
    other all the while.
    """
    return _intersect(tuple(members), now)


@lru_cache(maxsize=64)  # in one cycle many workloads share their windows, and the time
def _intersect(sets: tuple[tuple[Window, ...], ...], now: datetime) -> State:
    windows = tuple(dict.fromkeys(window for member in sets for window in member))
    courses = [_course(window, now) for window in windows]
    active = {window for window, (on, _) in zip(windows, courses, strict=True) if on}
    closed = next((member for member in sets if not _is_open(member, active)), None)
    if closed is None:
        decider = next((w for w in windows if w in active), None)
    else:
        decider = _closer(closed, active, now)
    changes_at = None
    turns = heapq.merge(
        *(zip(moments, repeat(w)) for w, (_, moments) in zip(windows, courses, strict=True)),
        key=itemgetter(0),
    )
    for number, (at, turned) in enumerate(groupby(turns, itemgetter(0)), 1):
        active ^= {window for _, window in turned}
        if all(_is_open(member, active) for member in sets) != (closed is None):
            changes_at = at
            break
        if number == _MAX_TURNS:
            return State(closed is None, at, decider, is_exact=False)
    return State(closed is None, changes_at, decider)


def never_opens(windows: tuple[Window, ...], now: datetime) -> bool:
    """Whether nothing could be released, now or within `HORIZON`."""
    found = state(windows, now)
    return not found.open and found.changes_at is None


def _is_open(windows: tuple[Window, ...], active: set[Window]) -> bool:
    allows = [window in active for window in windows if window.kind == "allow"]
    return not any(w in active for w in windows if w.kind == "deny") and (not allows or any(allows))


def _closer(windows: tuple[Window, ...], active: set[Window], now: datetime) -> Window:
    """Of windows that are closed now: the deny that is active, else the allow that comes first."""
    deny = next((w for w in windows if w.kind == "deny" and w in active), None)
    never = datetime.max.replace(tzinfo=UTC)
    return deny or min(
        (w for w in windows if w.kind == "allow"), key=lambda w: next(_course(w, now)[1], never)
    )


# -- the course of one window ------------------------------------------------------------------


def _course(window: Window, now: datetime) -> tuple[bool, Iterator[datetime]]:
    """Whether it is active now, and the moments from then to `HORIZON` at which that turns, in order."""
    now = now.astimezone(UTC)
    until = now + HORIZON
    stretches = _stretches(window, now - window.duration, until)
    moments = enumerate(at for stretch in stretches for at in stretch)
    for i, first in moments:
        if first > now:
            rest = chain((first,), (at for _, at in moments))
            return i % 2 == 1, takewhile(lambda at: at <= until, rest)
    return False, iter(())


def _stretches(window: Window, since: datetime, until: datetime) -> Iterator[tuple[datetime, datetime]]:
    """From when to when it is active, with what overlaps or touches made one, by starts from `since`."""
    begin = end = None
    for first, last in _starts(window, since, until):
        if end is not None and first <= end:
            end = max(end, last + window.duration)
            continue
        if begin is not None and end is not None:
            yield begin, end
        begin, end = first, last + window.duration
    if begin is not None and end is not None:
        yield begin, end


def _starts(window: Window, since: datetime, until: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Runs of starts (first, last) with no gap longer than the duration; some before `since` too."""
    minute, hour, days = window.cron.split(" ", 2)
    runs = _runs(minute, hour, window.duration)
    zone = ZoneInfo(window.zone)
    begin = since.astimezone(zone).replace(tzinfo=None) - _DAY
    for day in CronSim(f"0 0 {days}", datetime.combine(begin, datetime.min.time()) - _SECOND):
        midnight = day.replace(tzinfo=zone)
        offset = _offset(midnight)
        in_utc = day.replace(tzinfo=UTC) - offset
        if in_utc > until + _DAY:
            return
        # Wall clock arithmetic: the next midnight, whatever lies between.
        if _offset(midnight + _DAY) == offset:
            yield from ((in_utc + first, in_utc + last) for first, last in runs)
        else:
            for at in _changing_day(day, minute, hour, zone):
                yield at, at


@lru_cache(maxsize=256)
def _minutes(minute: str, hour: str) -> tuple[timedelta, ...]:
    """When on a day the two fields name a time."""
    hours = _within(f"0 {hour} * * *", _DAY)
    minutes = _within(f"{minute} * * * *", timedelta(hours=1))
    return tuple(h + m for h in hours for m in minutes)


def _within(cron: str, length: timedelta) -> list[timedelta]:
    found = []
    for at in CronSim(cron, _MIDNIGHT - _SECOND):
        if at - _MIDNIGHT >= length:
            break
        found.append(at - _MIDNIGHT)
    return found


@lru_cache(maxsize=256)
def _runs(minute: str, hour: str, duration: timedelta) -> tuple[tuple[timedelta, timedelta], ...]:
    """The starts of an ordinary day as runs (first, last) without a gap longer than `duration`."""
    runs: list[tuple[timedelta, timedelta]] = []
    for at in _minutes(minute, hour):
        if runs and at - runs[-1][1] <= duration:
            runs[-1] = (runs[-1][0], at)
        else:
            runs.append((at, at))
    return tuple(runs)


def _changing_day(day: datetime, minute: str, hour: str, zone: ZoneInfo) -> list[datetime]:
    """The starts, in UTC, of a day on which the zone's clocks change."""
    by_face = minute.startswith("*") or hour.startswith("*")
    starts = set()
    for at in _minutes(minute, hour):
        once, again = ((day + at).replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
        if once <= again:
            starts.add(once)
            if by_face:
                starts.add(again)
        elif not by_face:  # the clock never shows it
            starts.add(_jump(again, once, zone))
    return sorted(starts)


def _jump(before: datetime, after: datetime, zone: ZoneInfo) -> datetime:
    """The moment between the two, exact to the second, from which on the later one's offset holds."""
    offset = _offset(after.astimezone(zone))
    seconds = range(int((after - before).total_seconds()) + 1)
    return (
        before
        + bisect_left(seconds, True, key=lambda s: _offset((before + s * _SECOND).astimezone(zone)) == offset)
        * _SECOND
    )


def _offset(at: datetime) -> timedelta:
    return at.utcoffset() or timedelta(0)


# -- what a person may write -------------------------------------------------------------------


def _cron_problem(cron: str) -> str | None:
    """What is wrong with a cron expression, or None."""
    fields = cron.split(" ")
    foreign = next((character for character in cron if not character.isascii()), None)
    if foreign is not None:  # the dash of a word processor, mostly
        return f'"{foreign}" is no character of a cron expression'
    if len(cron) > _MAX_CRON:
        return f"a start is at most {_MAX_CRON} characters long"
    if len(fields) != len(_FIELDS):
        names = ", ".join(_FIELDS)
        return f"a start has five fields ({names}), this one has {len(fields) if cron else 0}"
    for i, name in enumerate(_FIELDS):
        alone = " ".join(field if i == j else "*" for j, field in enumerate(fields))
        if not _is_cron(alone):
            return f'"{fields[i]}" is no {name}'
    return None if _is_cron(cron) else "no month that it names has such a day"


def _is_cron(cron: str) -> bool:
    try:
        CronSim(cron, _MIDNIGHT)
    except CronSimError:
        return False
    return True


def _duration_problem(duration: timedelta) -> str | None:
    if _SECOND <= duration <= LONGEST:
        return None
    return f"it lasts {format_duration(duration)}, not from 1s to {LONGEST.days} days"


@lru_cache(maxsize=256)
def _zone_problem(zone: str) -> str | None:
    if _ZONE.fullmatch(zone) and not _NO_ZONE.fullmatch(zone):
        try:
            ZoneInfo(zone)
        except (KeyError, OSError, ValueError):
            pass
        else:
            return None
    meant = _zone_meant(zone)
    hint = f"; did you mean {meant}?" if meant else ""
    return f'"{one_line(zone, 60)}" is no time zone that is known here{hint}'


def _zone_meant(zone: str) -> str | None:
    """The zone that a misspelt one may mean; the city alone is enough. No guesses at abbreviations."""
    known = {name.lower(): name for name in sorted(available_timezones()) if not _NO_ZONE.fullmatch(name)}
    wanted = zone.lower().replace(" ", "_")
    if wanted in known:
        return known[wanted]
    places = {name: known[name] for name in known if "/" in name}
    cities = {name.rpartition("/")[2]: place for name, place in places.items()}
    for names, text in ((places, wanted), (cities, wanted.rpartition("/")[2])):
        close = difflib.get_close_matches(text, names, 1, 0.8)
        if close:
            return names[close[0]]
    return None
