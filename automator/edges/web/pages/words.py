"""Words: what pages say of a workload beside its sentence."""

from __future__ import annotations

from automator.core.chaining import version_now
from automator.core.duration import format_age
from automator.core.policy import InvalidWorkload, Workload
from automator.core.report import Outcome
from automator.reasons import Status

URGENCY = (Status.FAILED, Status.HELD, Status.WAITING, Status.RELEASED, Status.CURRENT)
"""What needs a person comes first."""
STUCK = (Status.FAILED, Status.HELD)


def version_next(outcome: Outcome) -> str | None:
    """The version that a workload is on its way to, where there is one."""
    # What is held may be a version that a person turned away: it is not coming.
    coming = outcome.target if outcome.status in (Status.WAITING, Status.FAILED) else None
    found = coming or outcome.candidate
    return None if found == version_now(outcome) else found


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
