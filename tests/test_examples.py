"""The example policies are in order, and do what their comments say."""

from __future__ import annotations

from pathlib import Path

import pytest

from automator.core.policy import Workload, parse_policies
from automator.core.policykeys import HoldKeys, WhereKeys, WorkloadKeys
from automator.core.rule import Candidate

FOLDER = Path(__file__).parents[1] / "policies"
TEXTS = {path.name: path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.yaml"))}
POLICIES = parse_policies(TEXTS)
WORKLOADS = {workload.name: workload for workload in POLICIES.workloads}


def test_all_examples_load_together_without_a_word() -> None:
    assert len(TEXTS) >= 4
    assert [str(why) for _, why in (*POLICIES.problems, *POLICIES.warnings)] == []
    assert all(isinstance(workload, Workload) for workload in WORKLOADS.values())


def test_every_key_is_shown_and_every_file_explained() -> None:
    everything = "\n".join(TEXTS.values())
    keys = {*WorkloadKeys.model_fields, *WhereKeys.model_fields, *HoldKeys.model_fields, "defaults"}
    assert [key for key in sorted(keys) if f"{key}:" not in everything] == []
    assert all(text.startswith("# ") for text in TEXTS.values())


def test_the_first_policy_is_three_lines() -> None:
    lines = [line for line in TEXTS["first.yaml"].splitlines() if not line.startswith("#")]
    assert lines[:2] == ["version: 1", "workloads:"]
    assert len(lines) == 5


@pytest.mark.parametrize(
    ("name", "tags", "newest"),
    [
        ("web", "1.4.2 1.10.0 2.0.0 1.11.0-rc.1 latest", "1.10.0"),
        ("edge", "1.25.4-alpine 1.25.11-alpine 1.26.0-alpine 1.25.12", "1.25.11-alpine"),
        ("api", "main-4b1c2d3-57 main-0a1b2c3-101 dev-4b1c2d3-300", "main-0a1b2c3-101"),
        ("worker", "2025.12.31-0a1b2c3 2026.01.02-ffffff0 2026.02.01", "2026.01.02-ffffff0"),
        ("nightly", "nightly-2026-01-31 nightly-2026-02-01 release", "nightly-2026-02-01"),
        ("beta", "2.1.0-beta.2 2.1.0-beta.10 2.1.0 3.0.0-beta.1", "2.1.0-beta.10"),
        ("chart", "1.4 1.6.1 1.5 1.6.2-rc1 2", "1.6.1"),
    ],
)
def test_the_examples_choose_what_their_comments_say(name: str, tags: str, newest: str) -> None:
    workload = WORKLOADS[name]
    assert isinstance(workload, Workload)
    judged = [workload.rule.judge(tag) for tag in tags.split()]
    assert max((j for j in judged if isinstance(j, Candidate)), key=lambda c: c.rank).tag == newest
