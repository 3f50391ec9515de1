"""The example policies are in order, and do what their comments say."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from automator.core.guardrails import bind
from automator.core.policy import Workload, parse_policies
from automator.core.policykeys import NESTED as NESTED_KEYS
from automator.core.policykeys import FileKeys, RuleKeys, RulesFileKeys, WorkloadKeys, key_names
from automator.core.rule import Candidate
from automator.reasons import Reason

FOLDER = Path(__file__).parents[1] / "policies"
TEXTS = {path.name: path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.yaml"))}
RESERVED = {path.stem: path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("_*.yaml.example"))}
POLICIES = parse_policies(TEXTS)
WORKLOADS = {workload.name: workload for workload in POLICIES.workloads}


def test_all_examples_load_together_without_a_word() -> None:
    assert len(TEXTS) >= 6
    assert [str(why) for _, why in (*POLICIES.problems, *POLICIES.warnings)] == []
    assert all(isinstance(workload, Workload) for workload in WORKLOADS.values())


def test_every_key_is_shown_and_every_file_explained() -> None:
    texts = [*TEXTS.values(), *RESERVED.values()]
    models = [FileKeys, WorkloadKeys, RulesFileKeys, RuleKeys, *NESTED_KEYS.values()]
    keys = {key for model in models for key in key_names(model)}
    everything = "\n".join(texts)
    assert [key for key in sorted(keys) if not re.search(rf"\b{key}:", everything)] == []
    assert all(text.startswith("# ") for text in texts)


def test_the_freeze_stops_every_example() -> None:
    frozen = parse_policies({**TEXTS, "_freeze.yaml": RESERVED["_freeze.yaml"]})
    assert frozen.problems == ()
    for workload in frozen.workloads:
        assert isinstance(workload, Workload)
        (freeze,) = workload.freezes
        assert freeze.stops(datetime(2026, 12, 1, 8, 59, 59, tzinfo=UTC))
        assert not freeze.stops(datetime(2026, 12, 1, 9, tzinfo=UTC))


def test_the_rules_ask_for_what_they_say() -> None:
    ruled = parse_policies({**TEXTS, "_rules.yaml": RESERVED["_rules.yaml"]})
    assert ruled.problems == ()
    found = {w.name: w for w in ruled.workloads if isinstance(w, Workload)}
    shop = bind(found["shop-production"], ["apps/production/shop.yaml"], ruled.rails)
    assert isinstance(shop, Workload)
    assert (shop.guards.step, shop.guards.platforms, shop.pin) == ("minor", ("linux/amd64",), "digest")
    staging = bind(found["shop-staging"], ["apps/staging/shop.yaml"], ruled.rails)
    assert isinstance(staging, Workload)
    assert staging.guards == found["shop-staging"].guards
    nobody = bind(found["web"], ["apps/web.yaml"], ruled.rails)
    assert isinstance(nobody, Reason)
    assert nobody.code == "rule/violated"


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
        ("backend", "2.1.0 2.2.9 2.3.0 3.0.0", "2.2.9"),
        ("catalog-staging", "1.4.0-rc.1 1.3.9 latest", "1.4.0-rc.1"),
        ("proxied", "3.0.5-alpine 3.0.11-alpine 3.1.0-alpine 3.0.12", "3.0.11-alpine"),
    ],
)
def test_the_examples_choose_what_their_comments_say(name: str, tags: str, newest: str) -> None:
    workload = WORKLOADS[name]
    assert isinstance(workload, Workload)
    judged = [workload.rule.judge(tag) for tag in tags.split()]
    assert max((j for j in judged if isinstance(j, Candidate)), key=lambda c: c.rank).tag == newest
