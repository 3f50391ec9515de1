"""Words: what pages say of a workload beside its sentence."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from automator.core.chaining import version_now
from automator.core.duration import format_age, format_duration, parse_duration
from automator.core.policy import InvalidWorkload, Workload
from automator.core.report import Outcome
from automator.core.view import SiteView
from automator.reasons import Reason, Status

URGENCY = (Status.FAILED, Status.HELD, Status.WAITING, Status.RELEASED, Status.CURRENT)
"""What needs a person comes first."""
STUCK = (Status.FAILED, Status.HELD)


def version_next(outcome: Outcome) -> str | None:
    """The version that a workload is on its way to, where there is one."""
    # What is held may be a version that a person turned away: it is not coming.
    coming = outcome.target if outcome.status in (Status.WAITING, Status.FAILED) else None
    found = coming or outcome.candidate
    return None if found == version_now(outcome) else found


def version_words(outcome: Outcome, views: tuple[SiteView, ...] = ()) -> tuple[str | None, str]:
    """The version that a workload has, and what is said where there is none: `none`, or `not known`."""
    version = version_now(outcome)
    if version is None:
        told = {view.version for view in views if view.version is not None}
        version = told.pop() if len(told) == 1 else None
    is_read = bool(outcome.image) and not outcome.sites
    return version, "none" if is_read else "not known"


_AGES = {"guard/soak": ("held", "soak"), "guard/min-age": ("age", "min_age")}
"""Reasons that tell how much of a time is over: the parameters for what is over, and for the whole."""
_SECONDS = {"day": 86_400, "hour": 3_600, "minute": 60, "second": 1}


def as_of(why: Reason, now: datetime) -> Reason:
    """The reason with the age that it tells of as it is `now`: cycles that find nothing new leave it as it
    was.

    A moment at which something changes may be later than the end of the time that it tells of (a window);
    then that says nothing of the age, and the reason stays as it is."""
    names = _AGES.get(why.code)
    if names is None or why.changes_at is None:
        return why
    told = dict(why.params)
    try:
        whole = parse_duration(told[names[1]])
    except ValueError:
        return why
    age = min(whole - (why.changes_at - now), whole)
    if age < _told_age(told[names[0]]):
        return why
    words = format_duration(age) if why.code == "guard/soak" else format_age(age)
    return replace(why, params=tuple((k, words if k == names[0] else v) for k, v in why.params))


def _told_age(text: str) -> timedelta:
    """The least that an age in words can mean: `3 hours`, `1h5m`."""
    count, _, unit = text.partition(" ")
    if unit:
        return timedelta(seconds=int(count) * _SECONDS[unit.removesuffix("s")])
    return parse_duration(text)


def begun(why: Reason) -> datetime | None:
    """When the soak began that a reason tells of."""
    if why.code != "guard/soak" or why.changes_at is None:
        return None
    try:
        return why.changes_at - parse_duration(dict(why.params)["soak"])
    except ValueError:
        return None


def rules(entry: Workload | InvalidWorkload | None) -> tuple[tuple[str, str], ...]:
    """What a policy says of a workload, as pairs of a key and its value."""
    if not isinstance(entry, Workload):
        return ()
    guards, after = entry.guards, entry.guards.after
    told = (
        ("chooses", entry.rule.text),
        ("min age", None if guards.min_age is None else format_age(guards.min_age)),
        ("step", guards.step),
        ("platforms", ", ".join(guards.platforms)),
        ("signed by", "; ".join(" or ".join(names) for names in guards.signed_by)),
        ("windows", None if not guards.windows else f"{len(guards.windows)} set"),
        ("after", None if after is None else ", ".join(after.upstreams) or f"group {after.group}"),
        ("soak", None if after is None or not after.soak else format_age(after.soak)),
        ("verified by", ", ".join(entry.verify)),
        ("group", None if entry.group is None else entry.group.name),
        ("pin", entry.pin if entry.pin != "tag" else None),
        ("delivery", entry.delivery.deliver),
    )
    return tuple((name, value) for name, value in told if value)
