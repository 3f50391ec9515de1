"""Ages: what counts anew only since the state folder is new, since no other place remembers it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta

from automator.core.policy import InvalidWorkload, Workload
from automator.core.promotion import Upstream
from automator.core.report import Outcome
from automator.cycle.observe import Memory
from automator.reasons import Reason, reason

JUST_BEGUN = timedelta(minutes=10)
"""After the beginning of a state folder: what was there by then was there before."""


def restarted(
    outcomes: Collection[Outcome],
    workloads: Mapping[str, Workload | InvalidWorkload],
    upstreams: Mapping[str, Upstream],
    memory: Memory,
    now: datetime,
) -> tuple[Reason, ...]:
    """A warning for the workloads that wait for `min_age`, and one for those that wait for a soak, which
    began anew with the state folder."""
    began = memory.began(now)
    ages = sorted(_ages(outcomes, workloads, memory, began))
    soaks = sorted(o.workload for o in outcomes if _soaks_anew(o, upstreams, began))
    at = f"{began:%Y-%m-%d %H:%M} UTC"
    found = (("state/ages-began", ages), ("state/soaks-began", soaks))
    return tuple(reason(code, at=at, workloads=_shown(names)) for code, names in found if names)


def _ages(
    outcomes: Iterable[Outcome],
    workloads: Mapping[str, Workload | InvalidWorkload],
    memory: Memory,
    began: datetime,
) -> Iterable[str]:
    for outcome in outcomes:
        entry = workloads.get(outcome.workload)
        if outcome.reason.code == "guard/min-age" and isinstance(entry, Workload):
            first = memory.first_seen(entry.listed, outcome.target or "")
            if first is None or first <= began + JUST_BEGUN:
                yield outcome.workload


def _soaks_anew(outcome: Outcome, upstreams: Mapping[str, Upstream], began: datetime) -> bool:
    if outcome.reason.code != "guard/soak":
        return False
    told = dict(outcome.reason.params)
    upstream = upstreams.get(told["upstream"])
    return upstream is not None and any(
        stay.tag == told["version"]
        and stay.until is None
        and stay.committed is not None
        and stay.committed + JUST_BEGUN < stay.since <= began + JUST_BEGUN
        for stay in upstream.stays
    )


def _shown(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
