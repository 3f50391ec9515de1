"""What `explain WORKLOAD` prints: the outcome, the sites, and what became of every tag."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import click

from automator.cli.render import NOTHING_TO_DO, print_mapping, print_table
from automator.core.explain import Verdict
from automator.core.report import Outcome
from automator.core.shown import ExplanationShown, shown_explanation

SHOWN = 20


def explanation_json(
    repo: str, outcome: Outcome, verdicts: Sequence[Verdict], *, every: bool
) -> ExplanationShown:
    """One workload's explanation for programs; the newest 20 tags unless `every`."""
    return shown_explanation(repo, outcome, verdicts if every else verdicts[:SHOWN])


def _behind(outcome: Outcome) -> str:
    """How far it is behind, and what is newest."""
    lag = outcome.lag(datetime.now(UTC)).removesuffix(" behind")
    return f"{lag}; the newest is {outcome.candidate}" if lag else ""


def print_explanation(repo: str, outcome: Outcome, verdicts: Sequence[Verdict], *, every: bool) -> None:
    """Print one workload's explanation; the newest 20 tags unless `every`."""
    shown = verdicts if every else verdicts[:SHOWN]
    why = outcome.reason
    print_mapping(
        {
            "workload": f"{repo}/{outcome.workload}",
            "status": outcome.status,
            "because": f"{why.sentence}  [{why.code}]",
            "next": "" if why.next_step == NOTHING_TO_DO else why.next_step,
            "changes at": "" if why.changes_at is None else f"{why.changes_at:%Y-%m-%d %H:%M:%S} UTC",
            "image": outcome.image,
            "current": outcome.current,
            "target": outcome.target,
            "behind": _behind(outcome),
        }
    )
    for site in outcome.sites:
        click.echo(f"site        {site}")
    if not shown:
        return
    click.echo("")
    rows_of = [
        (v.tag, v.key, "kept" if v.kept else "dropped", v.reason.code, v.reason.sentence) for v in shown
    ]
    print_table(("tag", "key", "verdict", "rule", "reason"), rows_of, state=2)
    if len(verdicts) > len(shown):
        click.echo(f"… {len(verdicts) - len(shown)} more tags; --all shows them")
