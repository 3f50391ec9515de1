"""`explain --tags-file`: a policy tried on a list of tags, without registry, config and config repo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from automator.cli.options import Globals
from automator.errors import UsageError
from automator.reasons import Reason, Status, reason

if TYPE_CHECKING:
    from automator.core.policy import Workload


def try_out(
    told: Globals,
    name: str | None,
    policies: Sequence[Path],
    tags_file: Path,
    at: str | None,
    current: str | None,
    *,
    every: bool,
) -> int:
    """Print what a policy says of the tags in a file.

    Raises UsageError, also with the first thing that is wrong with the policy.
    """
    from automator.app import utc_now
    from automator.cli.explaining import explanation_json, print_explanation
    from automator.cli.render import print_json
    from automator.core.decide import Release, Stay
    from automator.core.reference import short_text
    from automator.core.report import Outcome
    from automator.core.testbench import read_tags_file, try_policy

    workload = _workload(policies, name)
    lines = read_tags_file(str(tags_file), _text(tags_file))
    trial = try_policy(workload, lines, current, _time(at) or utc_now())
    current = current or workload.rule.followed
    decision = trial.decision
    if isinstance(decision, Release):
        before = short_text(decision.current) or "nothing"
        why = reason("waiting/planned", before=before, after=decision.tag)
        stay = Stay(Status.WAITING, why, current, decision.tag)
    else:
        stay = decision
    image, owner, environment = str(workload.repository), workload.owner, workload.environment
    outcome = Outcome(
        workload.name, stay.status, stay.reason, image, current, stay.candidate, None, owner, environment
    )
    if told.json:
        print_json([explanation_json("offline", outcome, trial.verdicts, every=every)])
    else:
        print_explanation("offline", outcome, trial.verdicts, every=every)
    return 0


def _workload(paths: Sequence[Path], name: str | None) -> Workload:
    """The workload that is meant, bound by the rules that stand beside it: those about paths too, since
    no file is known here that it would not be in."""
    from automator.core.guardrails import bind
    from automator.core.policy import InvalidWorkload, parse_policies

    texts = {str(path): _text(path) for path in _files(paths)}
    policies = parse_policies(texts)
    shown = {workload.name: workload for workload in policies.workloads}
    if name is None and len(shown) == 1:
        (name,) = shown
    if name is None or name not in shown:
        if not shown and policies.problems:
            raise UsageError(policies.problems[0][1])
        known = ", ".join(sorted(shown)) or "none"
        raise UsageError(reason("usage/which-workload", name=name or "", known=known))
    workload = shown[name]
    if isinstance(workload, InvalidWorkload):
        raise UsageError(workload.reason)
    bound = bind(workload, (), [replace(rail, paths=()) for rail in policies.rails])
    if isinstance(bound, Reason):
        raise UsageError(bound)
    return bound


def _files(paths: Sequence[Path]) -> list[Path]:
    """Policy files as given, with the rules and freezes beside them; of a folder, all that are in it."""
    from automator.core.policy import FREEZE, RULES

    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(p for p in path.rglob("*") if p.suffix in (".yaml", ".yml") and p.is_file())
        else:
            beside = (path.with_name(name) for name in (*FREEZE, *RULES))
            found += [path, *(p for p in beside if p.is_file())]
    return list(dict.fromkeys(found))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        problem = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise UsageError(reason("usage/file", file=path, problem=problem)) from error


def _time(text: str | None) -> datetime | None:
    from automator.core.policycompile import parse_time

    if text is None:
        return None
    time = parse_time(text)
    if time is None:
        raise UsageError(reason("usage/time", text=text))
    return time
