"""Shown: reasons, outcomes and cycles as JSON has them, for commands and the API.

Each shape is written down once, as a type: the API's description is made from it. Moments stay moments until
they are written (`plain`); null is what is not known, or was not asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, TypedDict

from automator.core.report import Outcome, Report
from automator.reasons import CODES, Reason

if TYPE_CHECKING:
    from automator.core.explain import Verdict

StatusWord = Literal["released", "current", "waiting", "held", "failed"]


def plain(value: object) -> object:
    """A value that JSON does not know, as text: moments in UTC, to the second."""
    if isinstance(value, datetime):
        moment = value.astimezone(UTC) if value.tzinfo else value
        return moment.replace(tzinfo=None).isoformat(timespec="seconds") + "Z"  # strftime pads no year
    return str(value)


# -- reasons, outcomes, cycles ---------------------------------------------------------------------------


class ReasonShown(TypedDict):
    """A reason: stable code and parameters beside the sentence."""

    code: str
    sentence: str
    next_step: str
    params: dict[str, str]
    changes_at: datetime | None


class OutcomeShown(TypedDict):
    """Where one workload is after a cycle. With `behind_at_least`, `behind_since` is but when somebody looked
    first: the versions may have been there for longer."""

    repo: str
    workload: str
    status: StatusWord
    reason: ReasonShown
    image: str
    current: str | None
    target: str | None
    candidate: str | None
    behind: int
    behind_since: datetime | None
    behind_at_least: bool
    commit: str | None
    owner: str | None
    environment: str | None
    sites: list[str]


class ReportShown(TypedDict):
    """What one cycle over one config repo did."""

    repo: str
    trigger: str
    started_at: datetime
    finished_at: datetime
    head: str | None
    pushed: str | None
    outcomes: list[OutcomeShown]
    warnings: list[ReasonShown]
    error: ReasonShown | None


CodeShown = TypedDict("CodeShown", {"code": str, "says": str, "next step": str, "means": str})
CodeShown.__doc__ = "What a reason code means."


class VerdictShown(TypedDict):
    """What became of one tag."""

    tag: str
    key: str | None
    kept: bool
    reason: ReasonShown


class ExplanationShown(OutcomeShown):
    """Where a workload is, and what became of its tags, newest first."""

    tags: list[VerdictShown]


def shown_reason(why: Reason) -> ReasonShown:
    """A reason."""
    return {
        "code": why.code,
        "sentence": why.sentence,
        "next_step": why.next_step,
        "params": dict(why.params),
        "changes_at": why.changes_at,
    }


def shown_outcome(repo: str, outcome: Outcome) -> OutcomeShown:
    """An outcome."""
    return {
        "repo": repo,
        "workload": outcome.workload,
        "status": outcome.status.value,
        "reason": shown_reason(outcome.reason),
        "image": outcome.image,
        "current": outcome.current,
        "target": outcome.target,
        "candidate": outcome.candidate,
        "behind": outcome.behind,
        "behind_since": outcome.behind_since,
        "behind_at_least": outcome.behind_at_least,
        "commit": outcome.commit,
        "owner": outcome.owner,
        "environment": outcome.environment,
        "sites": list(outcome.sites),
    }


def shown_report(report: Report, outcomes: Sequence[Outcome] | None = None) -> ReportShown:
    """A cycle, with these of its outcomes; all without."""
    shown = report.outcomes if outcomes is None else outcomes
    return {
        "repo": report.repo,
        "trigger": report.trigger,
        "started_at": report.started_at,
        "finished_at": report.finished_at,
        "head": report.head,
        "pushed": report.pushed,
        "outcomes": [shown_outcome(report.repo, outcome) for outcome in shown],
        "warnings": [shown_reason(why) for why in report.warnings],
        "error": None if report.error is None else shown_reason(report.error),
    }


def shown_code(code: str) -> CodeShown:
    """What a reason code means. Raises KeyError for one that there is not."""
    row = CODES[code]
    return {"code": row.code, "says": row.sentence, "next step": row.next_step, "means": row.meaning}


def shown_verdict(verdict: Verdict) -> VerdictShown:
    """What became of a tag."""
    return {
        "tag": verdict.tag,
        "key": verdict.key,
        "kept": verdict.kept,
        "reason": shown_reason(verdict.reason),
    }


def shown_explanation(repo: str, outcome: Outcome, verdicts: Sequence[Verdict]) -> ExplanationShown:
    """One workload's explanation."""
    return {**shown_outcome(repo, outcome), "tags": [shown_verdict(verdict) for verdict in verdicts]}
