"""Reports as JSON text, there and back; patches are left out."""

from __future__ import annotations

import json
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

from automator.core.report import Outcome, Report
from automator.reasons import Reason, Status


def outcomes_text(outcomes: tuple[Outcome, ...]) -> str:
    """The outcomes of a report, as text."""
    return json.dumps([_plain(outcome) for outcome in outcomes])


def frame_text(report: Report) -> str:
    """A report but for its outcomes and patches, as text."""
    return json.dumps(
        {
            "repo": report.repo,
            "trigger": report.trigger,
            "started_at": _iso(report.started_at),
            "finished_at": _iso(report.finished_at),
            "head": report.head,
            "pushed": report.pushed,
            "warnings": [_reason_plain(warning) for warning in report.warnings],
            "error": None if report.error is None else _reason_plain(report.error),
        }
    )


def read_report(frame: str, outcomes: str) -> Report:
    """The report of which these are the texts.

    Raises ValueError, KeyError or TypeError where a text is not what this version writes, a
    reason's code that it does not know included.
    """
    told = json.loads(frame)
    return Report(
        repo=told["repo"],
        trigger=told["trigger"],
        started_at=_time(told["started_at"]),
        finished_at=_time(told["finished_at"]),
        head=told["head"],
        pushed=told["pushed"],
        outcomes=tuple(_outcome(one) for one in json.loads(outcomes)),
        warnings=tuple(_reason(one) for one in told["warnings"]),
        error=None if told["error"] is None else _reason(told["error"]),
    )


def _plain(outcome: Outcome) -> dict[str, Any]:
    plain: dict[str, Any] = {field.name: getattr(outcome, field.name) for field in fields(outcome)}
    since = outcome.behind_since
    return {
        **plain,
        "status": outcome.status.value,
        "reason": _reason_plain(outcome.reason),
        "behind_since": None if since is None else _iso(since),
    }


def _outcome(plain: dict[str, Any]) -> Outcome:
    since = plain.get("behind_since")
    return Outcome(
        **{
            **plain,
            "behind_since": None if since is None else _time(since),
            "status": Status(plain["status"]),
            "reason": _reason(plain["reason"]),
            "sites": tuple(plain["sites"]),
        }
    )


def _reason_plain(why: Reason) -> dict[str, Any]:
    return {
        "code": why.code,
        "params": why.params,
        "changes_at": None if why.changes_at is None else _iso(why.changes_at),
    }


def _reason(plain: dict[str, Any]) -> Reason:
    params = tuple((str(key), str(value)) for key, value in plain["params"])
    changes_at = None if plain["changes_at"] is None else _time(plain["changes_at"])
    why = Reason(plain["code"], params, changes_at)
    # A newer version's code, or one whose words take other parameters now, fails here and not
    # where somebody reads it.
    _ = why.sentence, why.next_step
    return why


def _iso(time: datetime) -> str:
    return time.astimezone(UTC).isoformat()


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
