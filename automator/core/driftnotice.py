"""What there is to tell of a look at a runtime: what diverged there, and that it gives no answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from automator.core.drift import Drift, DriftState
from automator.core.notice import DRIFT, About, Found, Item, Kind
from automator.reasons import Reason


def found_drift(
    repo: str,
    runtime: str,
    drifts: Iterable[Drift],
    trouble: Reason | None,
    about: Callable[[str], About],
) -> Found:
    """What a look at a runtime holds that somebody may want to hear of.

    `trouble` is why it gave no answer; `about` says whose a workload is. Only *the same* is known to be well:
    what is unknown, or not deployed yet, neither begins nor ends anything.
    """
    every = tuple(drifts)
    diverged = tuple(_diverged(one, about(one.workload)) for one in every if one.state is DriftState.DIVERGED)
    open_ = frozenset(_name(one) for one in every if one.state in (DriftState.PENDING, DriftState.UNKNOWN))
    silent = () if trouble is None else (_silent(runtime, trouble, every, about),)
    ailing = (*diverged, *silent)
    return Found(
        repo,
        ailing=ailing,
        settled=frozenset(_name(one) for one in every if one.state is DriftState.SAME),
        unsettled=open_,
        ails=frozenset(item.subject for item in ailing),
    )


def _name(drift: Drift) -> str:
    return f"{drift.workload} at {drift.runtime}"


def _diverged(drift: Drift, about: About) -> Item:
    why = drift.reason
    return Item(
        Kind.DIVERGED,
        f"{DRIFT} {_name(drift)}",
        why.code,
        why.sentence,
        why.code,
        why.next_step,
        (about,),
        before=", ".join(drift.runs) or None,
        after=drift.wanted,
    )


def _silent(runtime: str, why: Reason, drifts: Iterable[Drift], about: Callable[[str], About]) -> Item:
    concerned = tuple(about(drift.workload) for drift in drifts)
    return Item(Kind.SILENT, f"runtime {runtime}", why.code, why.sentence, why.code, why.next_step, concerned)
