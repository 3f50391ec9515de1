"""What a newer automator wrote: told by its name, believed in nothing, and never a reason to release more."""

from __future__ import annotations

import pytest
from parts.gitserver import git
from parts.stage import Stage

from automator.core.action import Request
from automator.cycle.acting import Terms, act
from automator.errors import ActionError
from automator.reasons import Status


def of_format_2(stage: Stage, kind: str, before: str, after: str) -> str:
    """A newer automator's commit that moves web; returns its id."""
    text = stage.repo.read("apps/web.yaml").replace(f"web:{before}", f"web:{after}") + "\n"
    message = (
        f"Release web {after}\n\nRelease-Format: 2\nRelease-Kind: {kind}\nRelease-Workload: web\n"
        f"Release-Image: {stage.host}/acme/web\nRelease-From: {before}\nRelease-To: {after}\n"
    )
    return stage.commit({"apps/web.yaml": text}, message, author="automator")


def test_a_release_record_of_a_newer_format_counts_as_somebodys_own_and_is_told(stage: Stage) -> None:
    stage.push("acme/web", "1.4.2", "1.4.3", "1.4.4")
    stage.commit(stage.workload("web", "1.4.2"))
    commit = of_format_2(stage, "release", "1.4.2", "1.4.3")
    report = stage.run()
    assert [o.status for o in report.outcomes] == [Status.RELEASED]
    assert stage.image_of("web") == "web:1.4.4"
    (warning,) = report.warnings
    assert warning.code == "history/newer-format"
    assert warning.sentence.startswith("apps/web.yaml was written by a newer automator in " + commit[:12])
    assert "format 2" in warning.sentence


def test_what_a_newer_automator_went_back_from_stays_away(stage: Stage) -> None:
    stage.push("acme/web", "1.4.2", "1.4.3")
    stage.commit(stage.workload("web", "1.4.2"))
    of_format_2(stage, "release", "1.4.2", "1.4.3")
    of_format_2(stage, "rollback", "1.4.3", "1.4.2")
    report = stage.run()
    assert [(o.status, o.reason.code) for o in report.outcomes] == [(Status.HELD, "history/turned-away")]
    assert [w.code for w in report.warnings] == ["history/newer-format"]


def test_what_a_person_wrote_after_a_newer_automator_is_held_as_after_ours(stage: Stage) -> None:
    stage.push("acme/web", "1.4.2", "1.4.3")
    stage.commit(stage.workload("web", "1.4.2"))
    of_format_2(stage, "release", "1.4.2", "1.4.3")
    text = stage.repo.read("apps/web.yaml").replace("web:1.4.3", "web:latest") + "\n"
    stage.commit({"apps/web.yaml": text}, "Try the latest")
    assert stage.outcomes()["web"].reason.code == "current/unorderable"
    assert stage.image_of("web") == "web:latest"


def test_policies_of_a_newer_version_hold_their_workloads_with_a_sentence(stage: Stage) -> None:
    stage.push("acme/web", "1.4.2", "1.4.3")
    stage.push("acme/api", "1.4.2", "1.4.3")
    files = {**stage.workload("web", "1.4.2"), **stage.workload("api", "1.4.2")}
    files["policies/web.yaml"] = files["policies/web.yaml"].replace("version: 1", "version: 2")
    stage.commit(files)
    outcomes = stage.outcomes()
    assert outcomes["web"].status is Status.HELD
    assert "policies of version 2 are not known here" in outcomes["web"].reason.sentence
    assert outcomes["api"].status is Status.RELEASED
    assert stage.image_of("web") == "web:1.4.2"


def test_no_command_touches_what_a_newer_automator_wrote(stage: Stage) -> None:
    stage.push("acme/web", "1.4.2", "1.4.3")
    stage.push("acme/api", "1.4.2", "1.4.3")
    files = {**stage.workload("web", "1.4.2"), **stage.workload("api", "1.4.2")}
    files["policies/web.yaml"] = files["policies/web.yaml"].replace("version: 1", "version: 2")
    files["policies/_freeze.yaml"] = "version: 2\nfreeze: {reason: fair, waves: [one]}\n"
    stage.commit(files)
    asked = [
        *(Request(kind, "Ann", "because", "web", "1.4.3") for kind in ("hold", "resume", "reject", "accept")),
        *(Request(kind, "Ann", "because", file="policies/web.yaml") for kind in ("freeze", "thaw")),
        *(Request(kind, "Ann", "because") for kind in ("freeze", "thaw")),
    ]
    head = git(stage.repo.path, "rev-parse", "main")
    for request in asked:
        for terms in (Terms(), Terms(dry_run=True)):
            with pytest.raises(ActionError) as raised:
                act(stage.cycle, request, terms)
            assert raised.value.reason.code == "action/other-format"
    assert git(stage.repo.path, "rev-parse", "main") == head
    held = act(stage.cycle, Request("hold", "Ann", "because", "api"), Terms())
    assert held.commit == git(stage.repo.path, "rev-parse", "main").strip()


@pytest.mark.parametrize(
    "file",
    [
        {"policies/_freeze.yaml": "version: 2\nfreeze: {reason: fair, waves: [one]}\n"},
        {"policies/_rules.yaml": "version: 2\nrules:\n- {name: all, canary: 10}\n"},
    ],
    ids=["freeze", "rules"],
)
def test_a_freeze_or_rules_of_a_newer_version_stop_everything(stage: Stage, file: dict[str, str]) -> None:
    stage.push("acme/web", "1.4.2", "1.4.3")
    stage.commit({**stage.workload("web", "1.4.2"), **file})
    head = git(stage.repo.path, "rev-parse", "main")
    outcome = stage.outcomes()["web"]
    assert outcome.status is Status.HELD
    assert "version 2" in outcome.reason.sentence
    assert git(stage.repo.path, "rev-parse", "main") == head
