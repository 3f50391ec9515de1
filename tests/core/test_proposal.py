"""Proposals: real-world tags to keys that take what their author would, and nothing that would surprise."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from parts.claiming import assign

from automator.core.policy import Workload, parse_policies
from automator.core.policytext import Draft, policy_text
from automator.core.proposal import KEYS, Listing, Proposal, header, propose, repositories
from automator.core.reference import Repository, parse_reference
from automator.core.rule import Candidate, Rule
from automator.core.schemes import choose
from automator.core.site import Site, locate

WEB = "ghcr.io/acme/web"


def rule_of(keys: Mapping[str, Any]) -> Rule:
    found = parse_policies({"x.yaml": policy_text([Draft("x", {"image": WEB, **keys})])})
    assert found.problems == found.warnings == ()
    (workload,) = found.workloads
    assert isinstance(workload, Workload)
    return workload.rule


def best(rule: Rule, current: str, tags: tuple[str, ...]) -> str:
    """The tag that a release would move to, or the current one."""
    judged = [one for tag in {*tags, current} if isinstance(one := rule.judge(tag), Candidate)]
    return max(judged, key=lambda one: (one.rank, one.tag == current, one.tag)).tag


# current tag, tags of the registry (None: not asked), tag that a release moves to, keys that are written
SCHEMES: list[tuple[str, tuple[str, ...] | None, str, dict[str, Any]]] = [
    # three numbers
    ("1.4.2", ("1.4.3", "1.10.0", "2.0.0", "1.11.0-rc1"), "1.10.0", {"semver": ">=1.4.2 <2"}),
    ("1.4.2", ("1.4.1", "1.4.3-alpine", "20231005", "latest"), "1.4.2", {"semver": ">=1.4.2 <2"}),
    ("v1.4.2", ("v1.5.0", "v2.0.0"), "v1.5.0", {"semver": ">=1.4.2 <2"}),
    ("0.4.2", ("0.4.3", "0.5.0"), "0.4.3", {"semver": ">=0.4.2 <0.5"}),
    ("0.0.3", ("0.0.4", "0.1.0"), "0.0.4", {"semver": ">=0.0.3 <0.1"}),
    ("10.0.0", ("10.0.1", "9.9.9", "11.0.0"), "10.0.1", {"semver": ">=10.0.0 <11"}),
    (
        "1.4.2",
        ("v1.4.2", "v1.4.3", "1.4.3", "v1.5.0"),
        "1.4.3",
        {"regex": r"^(?P<key>\d+\.\d+\.\d+)$", "semver": ">=1.4.2 <2"},
    ),
    (
        "v1.4.2",
        ("1.4.2", "v1.4.3", "1.4.4"),
        "v1.4.3",
        {"regex": r"^(?P<key>v\d+\.\d+\.\d+)$", "semver": ">=1.4.2 <2"},
    ),
    ("v18.2.0", ("v18.1.0", "18.3.0"), "18.3.0", {"semver": ">=18.2.0 <19"}),
    # variants
    (
        "1.25.3-alpine",
        ("1.25.4", "1.25.4-alpine", "1.26.0-debian", "1.26.0-alpine-perl", "1.26.0-perl-alpine"),
        "1.25.4-alpine",
        {"glob": "{key}-alpine", "semver": ">=1.25.3 <2"},
    ),
    (
        "1.25.3-alpine3.18",
        ("1.25.4-alpine3.18", "1.25.5-alpine3.19", "1.25.6-alpine"),
        "1.25.4-alpine3.18",
        {"glob": "{key}-alpine3.18", "semver": ">=1.25.3 <2"},
    ),
    (
        "2.15.0-debian-12-r3",
        ("2.15.1-debian-12-r0", "2.16.0-debian-13-r0", "2.15.0-debian-12-r9"),
        "2.15.1-debian-12-r0",
        {"regex": r"^(?P<key>\d+\.\d+\.\d+)-debian-12-r\d+$", "semver": ">=2.15.0 <3"},
    ),
    (
        "v1.28.4-k3s1",
        ("v1.28.5-k3s2", "v1.28.9", "v2.0.0-k3s1"),
        "v1.28.5-k3s2",
        {"regex": r"^(?P<key>v\d+\.\d+\.\d+)-k3s\d+$", "semver": ">=1.28.4 <2"},
    ),
    (
        "1.2.3-ls45",
        ("1.2.3-ls46", "1.2.4-ls50"),
        "1.2.4-ls50",
        {"regex": r"^(?P<key>\d+\.\d+\.\d+)-ls\d+$", "semver": ">=1.2.3 <2"},
    ),
    ("1.4.2.RELEASE", ("1.4.3.RELEASE",), "1.4.3.RELEASE", {"glob": "{key}.RELEASE", "semver": ">=1.4.2 <2"}),
    ("3.1.0_arm64", ("3.2.0_arm64", "3.3.0"), "3.2.0_arm64", {"glob": "{key}_arm64", "semver": ">=3.1.0 <4"}),
    ("7.2.0-v1", ("7.4.0-v1", "7.4.0-v2"), "7.4.0-v1", {"glob": "{key}-v1", "semver": ">=7.2.0 <8"}),
    # prefixes
    (
        "release-1.4.2",
        ("release-1.5.0", "1.6.0", "hotfix-1.7.0"),
        "release-1.5.0",
        {"glob": "release-{key}", "semver": ">=1.4.2 <2"},
    ),
    (
        "web-v1.4.2-alpine",
        ("web-v1.4.3-alpine", "api-v1.4.4-alpine", "web-v1.4.4"),
        "web-v1.4.3-alpine",
        {"glob": "web-{key}-alpine", "semver": ">=1.4.2 <2"},
    ),
    # pre-releases
    (
        "1.5.0-rc.2",
        ("1.5.0-rc.10", "1.5.0-beta.3", "1.5.0-alpine", "2.0.0-rc.1"),
        "1.5.0-rc.10",
        {"regex": r"^(?P<key>\d+\.\d+\.\d+(?:-rc\.\d+)?)$", "semver": ">=1.5.0-rc.2 <2.0.0-0"},
    ),
    (
        "2.0.0-beta1",
        ("2.0.0-beta2", "2.0.0", "3.0.0-beta1"),
        "2.0.0",
        {"regex": r"^(?P<key>\d+\.\d+\.\d+(?:-beta\d+)?)$", "semver": ">=2.0.0-beta1 <3.0.0-0"},
    ),
    (
        "0.5.0-rc1-alpine",
        ("0.5.0-rc2-alpine", "0.5.1-rc1", "0.6.0-rc1-alpine"),
        "0.5.0-rc2-alpine",
        {"regex": r"^(?P<key>\d+\.\d+\.\d+(?:-rc\d+)?)-alpine$", "semver": ">=0.5.0-rc1 <0.6.0-0"},
    ),
    # versions with a count, a commit or both
    (
        "1.4.2-57",
        ("1.4.2-101", "1.4.3-1", "1.4.9"),
        "1.4.3-1",
        {"regex": r"^(?P<key>\d+\.\d+\.\d+-\d+)$", "semver": ">=1.4.2-57 <2.0.0-0"},
    ),
    (
        "1.4.2-4b1c2d3",
        ("1.4.3-0badcaf1", "1.4.4"),
        "1.4.3-0badcaf1",
        {"regex": r"^(?P<key>\d+\.\d+\.\d+)-[0-9a-f]{7,40}$", "semver": ">=1.4.2 <2"},
    ),
    (
        "1.4.2-1234567",
        ("1.4.3-4b1c2d3", "1.4.4-7654321"),
        "1.4.4-7654321",
        {"regex": r"^(?P<key>\d+\.\d+\.\d+)-[0-9a-f]{7,40}$", "semver": ">=1.4.2 <2"},
    ),
    (
        "v1.4.2-12-g4b1c2d3",
        ("v1.4.2-13-g5b1c2d3", "v1.4.3"),
        "v1.4.2-13-g5b1c2d3",
        {"regex": r"^(?P<key>v\d+\.\d+\.\d+-\d+)-g[0-9a-f]{7,40}$", "semver": ">=1.4.2-12 <2.0.0-0"},
    ),
    (
        "0.0.1-0.dev.git.98.h4b1c2d3",
        ("0.0.1-0.dev.git.101.h5b1c2d3", "0.0.1"),
        "0.0.1-0.dev.git.101.h5b1c2d3",
        {
            "regex": r"^(?P<key>\d+\.\d+\.\d+-\d+\.dev\.git\.\d+)\.h[0-9a-f]{7,40}$",
            "semver": ">=0.0.1-0.dev.git.98 <0.1.0-0",
        },
    ),
    (
        "1.4.2-master-15",
        ("1.4.2-master-16", "1.5.0-master-1", "1.6.0-dev-1"),
        "1.5.0-master-1",
        {"regex": r"^(?P<key>\d+\.\d+\.\d+)-master-\d+$", "semver": ">=1.4.2 <2"},
    ),
    (
        "0.4.18-nightly",
        ("0.4.19", "0.4.19-nightly", "0.4.20-dev"),
        "0.4.19-nightly",
        {"glob": "{key}-nightly", "semver": ">=0.4.18 <0.5"},
    ),
    # calendar
    ("2024.01.15", ("2024.10.02", "2025.01.01", "20250101"), "2025.01.01", {"semver": ">=2024.01.15 <2100"}),
    ("2024.1.0", ("2024.10.1", "2025.1.0"), "2025.1.0", {"semver": ">=2024.1.0 <2100"}),
    (
        "2024.1",
        ("2024.12", "2025.2"),
        "2025.2",
        {"regex": r"^(?P<key>\d+\.\d+)$", "semver": ">=2024.1 <2100", "versions": "lenient"},
    ),
    (
        "2024.01.15-3",
        ("2024.01.15-10", "2024.02.01-1"),
        "2024.02.01-1",
        {"regex": r"^(?P<key>\d+\.\d+\.\d+-\d+)$", "semver": ">=2024.01.15-3 <2100.0.0-0"},
    ),
    (
        "20240115",
        ("20240201", "20240101", "1700000000", "2024"),
        "20240201",
        {"regex": r"^(?P<key>\d{8})$", "order": "numeric"},
    ),
    (
        "20240115.9",
        ("20240115.10", "20240201"),
        "20240115.10",
        {"regex": r"^(?P<key>\d{8}\.\d+)$", "order": "version"},
    ),
    (
        "20240115-3",
        ("20240116-1", "20240117"),
        "20240116-1",
        {"regex": r"^(?P<key>\d{8})-\d+$", "order": "numeric"},
    ),
    (
        "2024-01-15",
        ("2024-02-01", "2023-12-31", "zzz"),
        "2024-02-01",
        {"regex": r"^(?P<key>\d{4}-\d{2}-\d{2})$", "order": "alphabetical"},
    ),
    (
        "20230330_075307-latest",
        ("20230414_123705-latest", "20230511_075831"),
        "20230414_123705-latest",
        {"regex": r"^(?P<key>\d{8}_\d{6})-latest$", "order": "alphabetical"},
    ),
    (
        "RELEASE.2024-01-16T16-07-38Z",
        ("RELEASE.2024-01-31T20-20-33Z", "RELEASE.2025-01-16T16-07-38Z.fips"),
        "RELEASE.2024-01-31T20-20-33Z",
        {
            "regex": r"^RELEASE\.(?P<key>\d{4}-\d{2}-\d{2}T\d{2}-\d{2}-\d{2}Z)$",
            "order": "alphabetical",
        },
    ),
    (
        "jammy-20240111",
        ("jammy-20240201", "noble-20240301"),
        "jammy-20240201",
        {"regex": r"^jammy-(?P<key>\d{8})$", "order": "numeric"},
    ),
    # two numbers, one, and four
    (
        "16.2",
        ("16.10", "17.0", "16.3.1"),
        "16.10",
        {"regex": r"^(?P<key>\d+\.\d+)$", "semver": ">=16.2 <17", "versions": "lenient"},
    ),
    (
        "16.2-alpine",
        ("16.3-alpine", "16.4", "17.0-alpine"),
        "16.3-alpine",
        {"regex": r"^(?P<key>\d+\.\d+)-alpine$", "semver": ">=16.2 <17", "versions": "lenient"},
    ),
    (
        "3.11-slim-bookworm",
        None,
        "3.11-slim-bookworm",
        {"regex": r"^(?P<key>\d+\.\d+)-slim-bookworm$", "semver": ">=3.11 <4", "versions": "lenient"},
    ),
    (
        "22.04",
        ("22.10", "24.04"),
        "22.10",
        {"regex": r"^(?P<key>\d+\.\d+)$", "semver": ">=22.04 <23", "versions": "lenient"},
    ),
    (
        "16.2-11",
        ("16.3-1", "16.4"),
        "16.3-1",
        {"regex": r"^(?P<key>\d+\.\d+)-\d+$", "semver": ">=16.2 <17", "versions": "lenient"},
    ),
    ("1.27", ("1.27.3", "1.28", "1.28.0"), "1.27", {"follow": "1.27"}),
    ("1.27-alpine", ("1.27.3-alpine", "1.28-alpine"), "1.27-alpine", {"follow": "1.27-alpine"}),
    ("7", ("7.4.1", "8"), "7", {"follow": "7"}),
    ("7", None, "7", {"follow": "7"}),
    ("17-jre", ("17.0.9_9-jre", "21-jre"), "17-jre", {"follow": "17-jre"}),
    ("2022-latest", ("2022-latest", "2025-latest"), "2022-latest", {"follow": "2022-latest"}),
    (
        "1.2.3.4",
        ("1.2.3.10", "1.3", "2.0.0.0"),
        "1.2.3.10",
        {"regex": r"^(?P<key>1\.\d+\.\d+\.\d+)$", "order": "version"},
    ),
    (
        "2024.1.2.3",
        ("2025.1.0.0", "20251.1.0.0"),
        "2025.1.0.0",
        {"regex": r"^(?P<key>20\d\d\.\d+\.\d+\.\d+)$", "order": "version"},
    ),
    # counts and times of builds
    ("1234", ("1300", "20240115", "4b1c2d3"), "1300", {"regex": r"^(?P<key>\d{1,5})$", "order": "numeric"}),
    ("build-57", ("build-101", "ci-200"), "build-101", {"glob": "build-{key}", "order": "numeric"}),
    (
        "main-123",
        ("main-124", "main-latest", "dev-200"),
        "main-124",
        {"glob": "main-{key}", "order": "numeric"},
    ),
    (
        "main-4b1c2d3-1700000000",
        ("main-5c1c2d3-1700000900", "dev-5c1c2d3-1800000000"),
        "main-5c1c2d3-1700000900",
        {"regex": r"^main-[0-9a-f]{7,40}-(?P<key>\d{10})$", "order": "numeric"},
    ),
    (
        "main-1234567-1700000000",
        None,
        "main-1234567-1700000000",
        {"regex": r"^main-[0-9a-f]{7,40}-(?P<key>\d{10})$", "order": "numeric"},
    ),
    (
        "main-4b1c2d3-57",
        ("main-5b1c2d3-58", "main-feature-5b1c2d3-99"),
        "main-5b1c2d3-58",
        {"regex": r"^main-[0-9a-f]{7,40}-(?P<key>\d{1,3})$", "order": "numeric"},
    ),
    (
        "16305_2018-06-01_d377b05",
        ("16310_2018-06-05_0377b05",),
        "16310_2018-06-05_0377b05",
        {"regex": r"^\d+_(?P<key>\d{4}-\d{2}-\d{2})_[0-9a-f]{7,40}$", "order": "alphabetical"},
    ),
    (
        "17.0.9_9-jdk-jammy",
        ("17.0.10_7-jdk-jammy", "17.0.11_9-jre-jammy", "21.0.1_12-jdk-jammy"),
        "17.0.10_7-jdk-jammy",
        {"regex": r"^(?P<key>\d+\.\d+\.\d+)_\d+-jdk-jammy$", "semver": ">=17.0.9 <18"},
    ),
    (
        "release-1.4.2-20240305.1",
        ("release-1.4.3-20240306.2", "release-1.4.4"),
        "release-1.4.3-20240306.2",
        {"regex": r"^release-(?P<key>\d+\.\d+\.\d+)-\d{8}\.\d+$", "semver": ">=1.4.2 <2"},
    ),
    (
        "v20240305-4cc2586-1.22",
        ("v20240306-5dd2586-1.22", "v20240307-5dd2586-1.23"),
        "v20240306-5dd2586-1.22",
        {"regex": r"^v(?P<key>\d{8})-[0-9a-f]{7,40}-1\.22$", "order": "numeric"},
    ),
    (
        "v20240305-4cc2586",
        ("v20240306-0cc2586", "20240307-0cc2586"),
        "v20240306-0cc2586",
        {"regex": r"^v(?P<key>\d{8})-[0-9a-f]{7,40}$", "order": "numeric"},
    ),
    (
        "k8s-1.29",
        ("k8s-1.30", "k8s-2.0"),
        "k8s-1.30",
        {"regex": r"^k8s-(?P<key>\d+\.\d+)$", "semver": ">=1.29 <2", "versions": "lenient"},
    ),
    (
        "1.25.3-alpine3.18",
        ("1.25.3-alpine3.19",),
        "1.25.3-alpine3.18",
        {"glob": "{key}-alpine3.18", "semver": ">=1.25.3 <2"},
    ),
    (
        "20240115103000-4b1c2d3",
        ("20240116103000-0123abc",),
        "20240116103000-0123abc",
        {"regex": r"^(?P<key>\d{14})-[0-9a-f]{7,40}$", "order": "numeric"},
    ),
]


@pytest.mark.parametrize(("current", "tags", "then", "keys"), SCHEMES, ids=[row[0] for row in SCHEMES])
def test_a_scheme_gets_keys_that_take_what_its_author_would(
    current: str, tags: tuple[str, ...] | None, then: str, keys: dict[str, Any]
) -> None:
    choice = choose(current, None if tags is None else (*tags, current))

    assert dict(choice.keys) == keys
    assert best(rule_of(choice.keys), current, tags or ()) == then
    assert choice.comments == ()


@pytest.mark.parametrize(
    ("current", "tags", "keys", "why"),
    [
        ("latest", ("1.2.3", "1.10.0", "latest"), {"follow": "latest"}, "a moving tag"),
        ("stable-slim", None, {"follow": "stable-slim"}, "a moving tag"),
        ("main", None, {"follow": "main"}, "a moving tag"),
        ("pr-12", ("pr-13", "pr-12"), {"follow": "pr-12"}, "named after one change"),
        ("feature-login-3", None, {"follow": "feature-login-3"}, "named after one change"),
        ("4b1c2d3", None, {"regex": "^[0-9a-f]{7,40}$", "order": "newest"}, "have no order"),
        (
            "sha-4b1c2d3",
            None,
            {"regex": "^sha-[0-9a-f]{7,40}$", "order": "newest"},
            "have no order",
        ),
        (
            "main-" + "4b1c2d3e" * 5,
            None,
            {"regex": "^main-[0-9a-f]{40}$", "order": "newest"},
            "have no order",
        ),
        (
            "1234567",
            ("4b1c2d3", "1234567"),
            {"regex": "^[0-9a-f]{7,40}$", "order": "newest"},
            "have no order",
        ),
        ("main-7319070", None, {"regex": "^main-[0-9a-f]{7,40}$", "order": "newest"}, "have no order"),
        (
            "19-08-14_75b5f54",
            ("19-08-15_75b5f55", "19-08-14_75b5f54"),
            {"regex": r"^\d{2}-\d{2}-\d{2}_[0-9a-f]{7,40}$", "order": "newest"},
            "have no order",
        ),
        ("2022-CU13-ubuntu-22.04", None, {"follow": "2022-CU13-ubuntu-22.04"}, "which of its numbers"),
        ("8-ubi-9.3", None, {"follow": "8-ubi-9.3"}, "which of its numbers"),
        ("jdk17-ubuntu-22.04", None, {"follow": "jdk17-ubuntu-22.04"}, "which of its numbers"),
        ("17-ubuntu-22.04.1", None, {"follow": "17-ubuntu-22.04.1"}, "which of its numbers"),
        (
            "v0.9.7-0.13.7",
            ("v0.9.7-0.13.7", "v0.9.8-0.13.8", "v0.9.7-0.13.6"),
            {"follow": "v0.9.7-0.13.7"},
            "v0.9.7-0.13.7 and v0.9.8-0.13.8 differ in several numbers",
        ),
        ("jdk-17", None, {"follow": "jdk-17"}, "cannot be told"),
        ("acme-123", None, {"follow": "acme-123"}, "cannot be told"),
        ("8u392-jdk", None, {"follow": "8u392-jdk"}, "cannot be told"),
        ("1.4.2rc1", None, {"follow": "1.4.2rc1"}, "cannot be told"),
        ("1.4.2-007", None, {"follow": "1.4.2-007"}, "cannot be told"),
        ("ltsc2022", None, {"follow": "ltsc2022"}, "cannot be told"),
        ("99999999999999999999.1.1", None, {"follow": "99999999999999999999.1.1"}, "cannot be told"),
    ],
)
def test_what_cannot_be_told_is_held_with_the_question(
    current: str, tags: tuple[str, ...] | None, keys: dict[str, Any], why: str
) -> None:
    choice = choose(current, tags)
    without = {key: value for key, value in choice.keys.items() if key != "hold"}

    assert choice.held
    assert without == keys
    assert why in choice.keys["hold"]["reason"]
    assert isinstance(rule_of(without).judge(current), Candidate), "it works once the hold is removed"


def test_a_moving_tag_is_told_the_versions_that_there_are() -> None:
    comment = " ".join(choose("latest", ("1.9.0", "1.10.0", "1.2.0", "0.1.0", "latest", "edge")).comments)

    assert "1.10.0, 1.9.0, 1.2.0" in comment


def test_a_tag_that_the_registry_does_not_list_is_told() -> None:
    assert "does not list 1.4.2" in " ".join(choose("1.4.2", ("1.4.3",)).comments)


# -- laws over tags ------------------------------------------------------------------------------------

numbers = st.integers(0, 40)
variants = st.sampled_from(
    ("", "-alpine", "-alpine3.18", "-slim-bookworm", "-debian-12-r3", "_arm64", "-jre")
)
prefixes = st.sampled_from(("", "v", "release-", "web-v"))
versions = st.tuples(numbers, numbers, numbers).map(lambda n: ".".join(map(str, n)))
shaped = st.tuples(prefixes, versions, variants).map("".join)
odd = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,30}", fullmatch=True)
stamps = st.sampled_from(
    (
        "latest",
        "4b1c2d3",
        "20231005",
        "1700000000",
        "main-4b1c2d3-57",
        "2024-01-15",
        "1.27",
        "7",
        "7-jre",
        "57",
    )
)
tags_ = st.one_of(shaped, odd, stamps)


@given(tags_, st.one_of(st.none(), st.lists(tags_, max_size=12)))
def test_the_current_tag_is_taken_or_the_workload_is_held(current: str, tags: list[str] | None) -> None:
    choice = choose(current, tags)

    rule = rule_of(choice.keys)
    assert choice.held or isinstance(rule.judge(current), Candidate)
    assert choice.held or "follow" in choice.keys or rule.rank(current) is not None


@given(st.tuples(prefixes, versions, variants), st.lists(tags_, max_size=20))
def test_no_proposal_goes_back_or_jumps_to_another_variant(
    current: tuple[str, str, str], tags: list[str]
) -> None:
    prefix, version, variant = current
    tag = "".join(current)
    choice = choose(tag, tags)
    assume(not choice.held)
    then = best(rule_of(choice.keys), tag, tuple(tags))

    assert then == tag or then.startswith(prefix.removesuffix("v"))
    family = re.escape(variant).replace("r3", r"r\d+")
    found = re.fullmatch(rf"{re.escape(prefix.removesuffix('v'))}v?(\d+)\.(\d+)\.(\d+){family}", then)
    assert found is not None
    assert [int(n) for n in found.groups()] >= [int(n) for n in version.split(".")]
    assert found[1] == version.partition(".")[0], "never another major version"


@given(tags_, st.lists(tags_, max_size=12))
def test_the_proposal_does_not_depend_on_the_order_of_tags(current: str, tags: list[str]) -> None:
    assert choose(current, tags) == choose(current, tags[::-1]) == choose(current, (*tags, *tags))


# -- sites ---------------------------------------------------------------------------------------------

POD = """\
kind: Deployment
metadata: {{name: {name}, namespace: shop}}
spec: {{template: {{spec: {{containers: [{containers}]}}}}}}
"""


FLUX = """\
kind: Pod
spec:
  containers:
  - name: x
    image: acme/flux:1.0.0 # {"$imagepolicy": "ns:flux"}
"""


def pod(*images: str, name: str = "web") -> str:
    containers = ", ".join(f'{{name: c{n}, image: "{image}"}}' for n, image in enumerate(images, 1))
    return POD.format(name=name, containers=containers)


def sites_of(files: Mapping[str, str]) -> list[Site]:
    found = []
    for path, text in files.items():
        located = locate(text, path.rpartition("/")[2])
        assert located.trouble is None
        found += [site.at(path) for site in located.sites]
    return found


def drafts(proposal: Proposal) -> dict[str, Draft]:
    return {draft.name: draft for made in proposal.files.values() for draft in made}


def owners(files: Mapping[str, str], proposal: Proposal) -> dict[str, list[str]]:
    """Workload -> the tags of the sites that are its own, once what was proposed is in force."""
    texts = {name: policy_text(made, header=header(made)) for name, made in proposal.files.items()}
    policies = parse_policies(texts)
    assert policies.problems == policies.warnings == ()
    claims = assign(sites_of(files), policies.workloads)
    assert claims.problems == {}
    return {name: sorted({str(site.tag) for site in sites}) for name, sites in claims.sites.items()}


def test_one_workload_for_an_image_at_one_version() -> None:
    files = {
        "apps/a.yaml": pod(f"{WEB}:1.4.2"),
        "apps/b.yaml": pod(f"{WEB}:1.4.2"),
        "apps/c.yaml": pod("nginx:1.25.3"),
    }
    proposal = propose(sites_of(files), {})

    assert list(proposal.files) == ["apps.yaml"]
    assert owners(files, proposal) == {"web": ["1.4.2"], "nginx": ["1.25.3"]}
    assert dict(drafts(proposal)["web"].keys) == {"image": WEB, "semver": ">=1.4.2 <2"}
    assert drafts(proposal)["nginx"].keys["image"] == "docker.io/library/nginx"


def test_folders_at_their_own_versions_get_a_workload_each() -> None:
    files = {
        "apps/staging/web.yaml": pod(f"{WEB}:1.5.0"),
        "apps/production/web.yaml": pod(f"{WEB}:1.4.2"),
        "apps/production/jobs/web.yaml": pod(f"{WEB}:1.4.2"),
    }
    proposal = propose(sites_of(files), {})

    assert owners(files, proposal) == {"web-production": ["1.4.2"], "web-staging": ["1.5.0"]}
    found = drafts(proposal)["web-production"]
    assert found.keys["where"] == {"paths": ["apps/production/**"]}
    assert "environment: production" in " ".join(found.comments)
    assert "environment" not in found.keys, "a guess is only a comment"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (
            {"a.yaml": pod(f"{WEB}:1.0.0"), "deep/a.yaml": pod(f"{WEB}:2.0.0")},
            {"web-a": ["1.0.0"], "web-deep": ["2.0.0"]},
        ),
        (
            {
                "x/a.yaml": pod(f"{WEB}:1.0.0"),
                "x/b.yaml": pod(f"{WEB}:1.0.0"),
                "x/c.yaml": pod(f"{WEB}:2.0.0"),
            },
            {"web-a": ["1.0.0"], "web-c": ["2.0.0"]},
        ),
        ({"x/a.yaml": pod(f"{WEB}:1.0.0", f"{WEB}:2.0.0")}, {"web-c1": ["1.0.0"], "web-c2": ["2.0.0"]}),
        (
            {"x/a.yaml": pod(f"{WEB}:1.0.0", name="one") + "---\n" + pod(f"{WEB}:2.0.0", name="two")},
            {"web-one": ["1.0.0"], "web-two": ["2.0.0"]},
        ),
        (
            {"x/values.yaml": f'a: {{image: "{WEB}:1.0.0"}}\nb: {{image: "{WEB}:2.0.0"}}\n'},
            {"web-values-1": ["1.0.0"], "web-values-2": ["2.0.0"]},
        ),
        (
            {"x/a [1]!.yaml": pod(f"{WEB}:1.0.0"), "x/a1.yaml": pod(f"{WEB}:2.0.0")},
            {"web-a-1": ["1.0.0"], "web-a1": ["2.0.0"]},
        ),
        (
            {f"env/{n}/a.yaml": pod(f"{WEB}:{1 + n % 2}.0.0") for n in range(12)},
            {"web-0": ["1.0.0"], "web-1": ["2.0.0"]},
        ),
    ],
    ids=["root", "files", "containers", "documents", "fields", "odd names", "many"],
)
def test_sites_at_several_versions_are_told_apart(
    files: dict[str, str], expected: dict[str, list[str]]
) -> None:
    assert owners(files, propose(sites_of(files), {})) == expected


def test_what_nothing_tells_apart_is_held() -> None:
    files = {"x/a.yaml": pod(f"{WEB}:1.0.0") + "---\n" + pod(f"{WEB}:2.0.0")}
    (draft,) = drafts(propose(sites_of(files), {})).values()

    assert "1.0.0, 2.0.0" in str(draft.keys["hold"])


def test_what_needs_no_policy_is_left_out_with_the_reason() -> None:
    files = {
        "a.yaml": pod(f"{WEB}@sha256:{'a' * 64}"),
        "b.yaml": f'image: "{WEB}:{{{{ .Values.tag }}}}"\n',
        "c.yaml": f"{pod('acme/flux:1.0.0')}---\n{FLUX}",
    }
    proposal = propose(sites_of(files), {})

    told = {(left.site.file, left.why.partition(" ")[0]) for left in proposal.left}
    assert ("a.yaml", "no") in told
    assert any("Flux writes here (ns:flux)" in left.why for left in proposal.left)
    assert all(left.why for left in proposal.left)
    assert owners(files, proposal) == {"flux-c1": ["1.0.0"]}, "and not the site of Flux in the same file"


def test_a_place_that_is_left_out_does_not_hold_the_others() -> None:
    files = {"a/x.yaml": pod(f"{WEB}:1.0.0"), "a/y.yaml": pod(f"{WEB}@sha256:{'a' * 64}")}
    proposal = propose(sites_of(files), {})

    assert owners(files, proposal) == {"web": ["1.0.0"]}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            f"services: {{web: {{image: 'nginx:1.27.3'}}, old: {{image: 'nginx@sha256:{'a' * 64}'}}}}\n",
            {"nginx-web": ["1.27.3"]},
        ),
        (
            f"a: {{image: 'nginx:1.27.3'}}\nb: {{image: 'nginx@sha256:{'a' * 64}'}}\n",
            {"nginx-compose-1": ["1.27.3"]},
        ),
        (
            pod("nginx:1.27.3", f"nginx@sha256:{'a' * 64}", "nginx:1.26.0"),
            {"nginx-c1": ["1.27.3"], "nginx-c3": ["1.26.0"]},
        ),
        (pod("nginx:1.27.3") + "---\n" + pod(f"nginx@sha256:{'a' * 64}"), {}),
    ],
    ids=["services", "fields", "containers", "nothing tells them apart"],
)
def test_a_place_that_is_left_out_costs_no_other_of_its_file_that_can_be_told_from_it(
    text: str, expected: dict[str, list[str]]
) -> None:
    files = {"compose.yaml": text, "more/web.yaml": pod("nginx:1.27.3")}
    proposal = propose(sites_of(files), {})

    assert owners(files, proposal) == {"nginx": ["1.27.3"], **expected}


def test_only_what_has_no_owner_is_proposed() -> None:
    files = {"a/x.yaml": pod(f"{WEB}:1.0.0"), "b/x.yaml": pod(f"{WEB}:1.0.0")}
    owned, free = sites_of(files)
    proposal = propose([free], {}, owned=[owned], names=["web"], files=["policies/b.yaml"])

    assert list(proposal.files) == ["b-2.yaml"], "a policy file that there is stays as it is"
    assert owners(files, proposal) == {"acme-web": ["1.0.0"]}
    found = assign(
        [owned, free], parse_policies({"x.yaml": policy_text(proposal.files["b-2.yaml"])}).workloads
    )
    assert found.unowned == (owned,)


def test_names_stay_unique_and_tell_the_image() -> None:
    files = {
        f"a/{n}.yaml": pod(f"{path}:1.0.0") for n, path in enumerate(("x/web", "y/web", "z/y/web", "web"))
    }

    assert set(drafts(propose(sites_of(files), {}))) == {"web", "y-web", "web-2", "library-web"}


def test_tags_are_asked_for_once_for_each_image_that_gets_a_policy() -> None:
    files = {
        "a.yaml": pod("nginx:1.0.0", "docker.io/library/nginx:1.0.0", f"{WEB}:1"),
        "b.yaml": pod(f"x@sha256:{'a' * 64}"),
    }

    assert repositories(sites_of(files)) == (
        Repository("docker.io", "library/nginx"),
        Repository("ghcr.io", "acme/web"),
    )


def test_a_registry_that_fails_costs_only_its_tags() -> None:
    (site,) = sites_of({"a.yaml": pod(f"{WEB}:1.27")})
    repository = parse_reference(WEB).repository
    asked = drafts(propose([site], {repository: Listing(("1.27", "1.27.3"))}))["web"]
    failed = drafts(propose([site], {repository: Listing(None, "it sleeps")}))["web"]

    assert asked.keys["follow"] == "1.27"
    assert failed.keys["semver"] == ">=1.27 <2"
    assert "it sleeps" in " ".join(failed.comments)


def test_the_first_lines_explain_each_key_of_the_file_once() -> None:
    files = {"a.yaml": pod("a/a:1.0.0"), "b.yaml": pod("a/b:latest"), "c.yaml": pod("a/c:build-500")}
    made = tuple(drafts(propose(sites_of(files), {})).values())
    lines = header(made)

    used = {key for draft in made for key in draft.keys}
    assert used == {"image", "semver", "follow", "hold", "glob", "order"}
    assert used <= KEYS.keys()
    assert all(sum(line.startswith(f"{key}: ") for line in lines) == (key in used) for key in KEYS)


folders = st.lists(st.sampled_from(("apps", "prod", "staging", "web", "a b")), max_size=3).map("/".join)
places = st.tuples(folders, st.sampled_from(("x.yaml", "y.yaml", "*.yaml", "#z.yaml"))).map(
    lambda parts: "/".join(filter(None, parts))
)
images = st.tuples(
    st.sampled_from((WEB, "nginx", "acme/api")),
    st.one_of(
        st.sampled_from((":1.0.0", ":1.1.0", ":latest", f"@sha256:{'a' * 64}", ":7")),
        shaped.map(":{}".format),
    ),
).map("".join)


@given(st.dictionaries(places, st.lists(images, min_size=1, max_size=3).map(lambda i: pod(*i)), max_size=6))
def test_every_site_gets_one_owner_or_a_reason(files: dict[str, str]) -> None:
    sites = sites_of(files)
    proposal = propose(sites, {})
    texts = {name: policy_text(made, header=header(made)) for name, made in proposal.files.items()}
    policies = parse_policies(texts)
    claims = assign(sites, policies.workloads)

    assert policies.problems == ()
    assert claims.problems == {}
    left = {left.site.label for left in proposal.left}
    assert {site.label for site in claims.unowned} == left
    for name, owned in claims.sites.items():
        assert owned, f"{name} owns nothing"
        assert len({site.tag for site in owned}) == 1
