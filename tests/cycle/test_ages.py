"""First-seen times that are lost make `min_age` begin anew, and the report says so aloud."""

from __future__ import annotations

from datetime import timedelta

from parts.stage import Stage

from automator.reasons import Status

KEYS = 'semver: ">=1.0 <2"\nmin_age: 30m'


def warned(stage: Stage) -> list[str]:
    return [why.sentence for why in stage.run().warnings if why.code == "state/ages-began"]


def test_a_lost_state_folder_restarts_min_age_and_the_report_names_the_workloads(stage: Stage) -> None:
    stage.push("acme/web", "1.0.0")
    stage.commit(stage.workload("web", "1.0.0", keys=KEYS))
    assert stage.outcomes()["web"].status is Status.CURRENT
    stage.now += timedelta(hours=1)
    stage.push("acme/web", "1.1.0")
    # A version that came while we watched: nothing was lost, and nothing is said of it.
    assert warned(stage) == []
    assert stage.outcomes()["web"].reason.code == "guard/min-age"

    stage.now += timedelta(minutes=29)
    stage.lose_state()
    (line,) = warned(stage)
    assert "2026-11-21 11:32 UTC" in line
    assert line.endswith("for: web")
    assert stage.outcomes()["web"].reason.code == "guard/min-age"

    stage.now += timedelta(minutes=30)
    assert stage.outcomes()["web"].status is Status.RELEASED
    assert warned(stage) == []
