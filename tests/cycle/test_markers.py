"""Sites that only a marker ties to a workload, over whole cycles: found without reading every file first."""

from __future__ import annotations

from parts.gitserver import git
from parts.stage import Stage

from automator.reasons import Status

VALUES = """\
# The chart takes its name from elsewhere.
at: {version}   # {{"$imagepolicy": "flux-system:web:tag"}}
"""


def policy(stage: Stage, where: str) -> str:
    return (
        f"version: 1\nworkloads:\n  web:\n    image: {stage.host}/acme/web\n"
        f'    semver: ">=1.0 <2"\n    where: {where}\n'
    )


def test_a_tag_with_nothing_but_a_marker_is_released(stage: Stage) -> None:
    stage.push("acme/web", "1.4.2", "1.4.3")
    stage.commit(
        {
            "policies/web.yaml": policy(stage, "{marker: web}"),
            "chart/values.yaml": VALUES.format(version="1.4.2"),
        }
    )
    outcome = stage.outcomes()["web"]
    assert (outcome.status, outcome.current) == (Status.RELEASED, "1.4.2")
    assert stage.repo.read("chart/values.yaml") == VALUES.format(version="1.4.3").rstrip()
    assert stage.numstat("main") == ["1\t1\tchart/values.yaml"]
    assert "chart/values.yaml#at" in git(stage.repo.path, "log", "-1", "--format=%B", "main")


def test_a_policy_that_begins_to_name_a_marker_finds_files_that_did_not_change(stage: Stage) -> None:
    stage.push("acme/web", "1.4.2", "1.4.3")
    files = stage.workload("web", "1.4.3")
    stage.commit({**files, "chart/values.yaml": VALUES.format(version="1.4.2")})
    assert stage.outcomes()["web"].status is Status.CURRENT
    stage.commit({"policies/web.yaml": policy(stage, "{marker: flux-system:web}")})
    assert stage.outcomes()["web"].status is Status.RELEASED
    assert stage.repo.read("chart/values.yaml") == VALUES.format(version="1.4.3").rstrip()


def test_a_version_that_renovate_knows_is_released(stage: Stage) -> None:
    stage.push("acme/web", "1.4.2", "1.4.3")
    text = f"os:\n  # renovate: datasource=docker depName={stage.host}/acme/web\n  release: 1.4.2\n"
    files = stage.workload("web", "1.4.2")
    stage.commit({"policies/web.yaml": files["policies/web.yaml"], "talos/config.yaml": text})
    assert stage.outcomes()["web"].status is Status.RELEASED
    assert stage.repo.read("talos/config.yaml") == text.replace("1.4.2", "1.4.3").rstrip()
