"""Flux v2's image policies, imported: the same tag is chosen, or the published list says why not."""

from __future__ import annotations

import gzip
import json
import os
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from parts.migration import Row, check, choice, published, used, written

from automator.core.migration.flux2 import import_flux2
from automator.core.policytext import policy_text

WEB = "ghcr.io/acme/web"
PAGE = "coming-from/flux-v2.md"


def flux(
    policy: str,
    tags: str = "",
    *,
    repository: str = "",
    spec: str = "",
    api: str = "image.toolkit.fluxcd.io/v1",
    more: str = "",
) -> str:
    """An image repository and a policy `web`: `policy` is what stands under `policy:`, `tags` under
    `filterTags:`; `repository` and `spec` are further lines of the two specs."""
    filtered = f"  filterTags: {tags}\n" if tags else ""
    return (
        f"apiVersion: {api}\nkind: ImageRepository\nmetadata: {{name: web, namespace: flux-system}}\n"
        f"spec:\n  image: {WEB}\n{repository}---\n"
        f"apiVersion: {api}\nkind: ImagePolicy\nmetadata: {{name: web, namespace: flux-system}}\n"
        f"spec:\n  imageRepositoryRef: {{name: web}}\n{filtered}  policy: {policy}\n{spec}{more}"
    )


def semver(text: str) -> str:
    return f"{{semver: {{range: '{text}'}}}}"


def pattern(text: str, extract: str | None = None) -> str:
    return f"{{pattern: '{text}'}}" if extract is None else f"{{pattern: '{text}', extract: '{extract}'}}"


def automation(name: str = "all", path: str = "./apps", more: str = "", ns: str = "flux-system") -> str:
    return (
        "---\napiVersion: image.toolkit.fluxcd.io/v1\nkind: ImageUpdateAutomation\n"
        f"metadata: {{name: {name}, namespace: {ns}}}\nspec:\n  interval: 30m\n"
        f"  sourceRef: {{kind: GitRepository, name: config}}\n  update: {{path: {path}}}\n{more}"
    )


ASC, DESC = "{alphabetical: {order: asc}}", "{alphabetical: {order: desc}}"
NUMBER, LOWEST = "{numerical: {order: asc}}", "{numerical: {order: desc}}"
TIMED = r"^main-[a-f0-9]+-(?P<ts>[0-9]+)"

ROWS = (
    # -- semver
    Row("the highest in a range", flux(semver(">=1.0.0 <2")), "1.0.0 1.9.0 1.10.0 2.0.0", "1.10.0"),
    Row("v in front", flux(semver("^1.2")), "v1.2.0 v1.3.1 v2.0.0", "v1.3.1"),
    Row("two parts are passed over", flux(semver("*")), "1.0.0 1.9 2", "1.0.0"),
    Row("a pre-release stays out", flux(semver(">=1.0.0")), "1.0.0 1.1.0-rc.1", "1.0.0"),
    Row("a pre-release that the range names", flux(semver(">=1.0.0-0")), "1.0.0 1.1.0-rc.1", "1.1.0-rc.1"),
    Row("release above its candidates", flux(semver(">=1.0.0-0")), "1.1.0-rc.1 1.1.0 1.1.0-rc.10", "1.1.0"),
    Row("rc.10 above rc.9", flux(semver(">=1.0.0-0")), "1.1.0-rc.9 1.1.0-rc.10", "1.1.0-rc.10"),
    Row("rc10 below rc9", flux(semver(">=1.0.0-0")), "1.1.0-rc9 1.1.0-rc10", "1.1.0-rc9"),
    Row("one of two ranges", flux(semver("1.x || 3.x")), "1.5.0 2.0.0 3.0.1 4.0.0", "3.0.1"),
    Row("hyphen range", flux(semver("1.2 - 1.4")), "1.1.0 1.4.9 1.5.0", "1.4.9"),
    Row("tilde", flux(semver("~1.4.2")), "1.4.1 1.4.9 1.5.0", "1.4.9"),
    Row(
        "a range with the names of channels",
        flux(semver("*-testing-")),
        "1.0.0 1.1.0-testing.2",
        "1.1.0-testing.2",
    ),
    Row("zeros in front of numbers", flux(semver(">=2025.01.01")), "2025.02.03 2025.11.01", "2025.11.01"),
    Row("latest is no version", flux(semver("*")), "latest 0.1.0 main", "0.1.0"),
    Row("nothing lies in the range", flux(semver(">=2")), "1.0.0 1.1.0", None),
    Row("v1.0.0 beside 1.0.0", flux(semver("*")), "1.0.0 v1.0.0", "v1.0.0"),
    Row("a range that is none", flux(semver("1.x.x.x")), "1.0.0", None),
    Row("a range that nothing can be in", flux(semver(">2 <1")), "1.0.0 3.0.0", None),
    Row("no range", flux("{semver: {}}"), "1.0.0", None),
    Row("no policy at all", flux("{}"), "1.0.0", None),
    Row("two policies at once", flux("{semver: {range: '*'}, alphabetical: {}}"), "1.0.0", None),
    # -- filters
    Row(
        "filter and semver",
        flux(semver("*"), pattern(r"^v?\d+\.\d+\.\d+$")),
        "1.0.0 1.1.0 1.2.0-alpine",
        "1.1.0",
    ),
    Row(
        "the version before a variant",
        flux(semver(">=1.0"), pattern(r"^(?P<v>\d+\.\d+\.\d+)-alpine$", "$v")),
        "1.25.0-alpine 1.26.1-alpine 1.27.0 1.27.0-slim",
        "1.26.1-alpine",
    ),
    Row(
        "a group by its number",
        flux(semver("*"), pattern(r"^web-(\d+\.\d+\.\d+)$", "$1")),
        "web-1.2.3 web-1.10.0",
        "web-1.10.0",
    ),
    Row(
        "a group in braces",
        flux(semver("*"), pattern(r"^(?P<v>[\d.]+)-ls\d+$", "${v}")),
        "1.2.3-ls9 1.2.4-ls1",
        "1.2.4-ls1",
    ),
    Row(
        "build and time",
        flux(NUMBER, pattern(TIMED, "$ts")),
        "main-a1b2-1700 main-ffff-1699 dev-a1-9999",
        "main-a1b2-1700",
    ),
    Row("a pattern is searched for", flux(ASC, pattern("prod")), "a-prod-1 z-prod-2 zz", "z-prod-2"),
    Row(
        "begins with, and no end",
        flux(ASC, pattern("^release-")),
        "release-a release-b-hotfix xrelease-z",
        "release-b-hotfix",
    ),
    Row("ends with", flux(ASC, pattern("-amd64$")), "a-amd64 b-amd64 c-arm64", "b-amd64"),
    Row("alternatives, each with its anchors", flux(ASC, pattern("^a-.*$|^b-.*$")), "a-9 b-1 c-1", "b-1"),
    Row("an alternative without anchors", flux(ASC, pattern("^a|c$")), "a-9 bc zd", "bc"),
    Row("letters of any case", flux(ASC, pattern("(?i)^rel-")), "REL-2 rel-1 x", "rel-1"),
    Row("a group called key by chance", flux(ASC, pattern("^(?P<key>[a-z])-[0-9]$")), "a-2 b-1", "b-1"),
    Row("the whole match", flux(NUMBER, pattern(r"\d+$", "$0")), "b-7 a-12", "a-12"),
    Row(
        "the key of two alternatives",
        flux(NUMBER, pattern(r"^(?:pr|rc)-(\d+)$", "$1")),
        "pr-7 rc-12 x-99",
        "rc-12",
    ),
    Row(
        "parts with the dots between",
        flux(semver("*"), pattern(r"^r(\d+)\.(\d+)\.(\d+)-x$", "$1.$2.$3")),
        "r1.9.0-x r1.10.0-x",
        "r1.10.0-x",
    ),
    Row(
        "a letter that is put before",
        flux(semver("*"), pattern(r"^v(\d+\.\d+\.\d+)-x$", "v$1")),
        "v1.9.0-x v1.10.0-x",
        "v1.10.0-x",
    ),
    Row(
        "date and time as one number",
        flux(NUMBER, pattern(r"^(?P<d>\d{8})-(?P<t>\d{6})$", "${d}${t}")),
        "20260101-235959 20260102-000001",
        "20260102-000001",
    ),
    Row(
        "a date as a version",
        flux(semver("*"), pattern(r"^(\d{4})-(\d{2})-(\d{2})$", "$1.$2.$3")),
        "2025-12-31 2026-01-02 2026-01-01",
        "2026-01-02",
    ),
    Row("a constant before text", flux(ASC, pattern(r"^rel-(\w+)$", "x-$1")), "rel-a rel-b", "rel-b"),
    Row("no tag passes", flux(ASC, pattern("^latest$")), "1.0.0 1.1.0", None),
    Row("a pattern that is none", flux(ASC, pattern("^(a$")), "a b", None),
    Row("look-ahead, which RE2 lacks", flux(ASC, pattern("^(?!dev).*$")), "dev-1 rel-1", None),
    Row("a group that is not there", flux(NUMBER, pattern(r"^b(\d+)$", "$2")), "b1 b2", None),
    # -- alphabetical and numerical
    Row("text order", flux(ASC), "RELEASE.2023-01-01 RELEASE.2024-06-01", "RELEASE.2024-06-01"),
    Row("text order is the default", flux("{alphabetical: {}}"), "a b", "b"),
    Row("9 above 10 as text", flux(ASC), "v9 v10", "v9"),
    Row("number order", flux(NUMBER), "9 10 1", "10"),
    Row("number order is the default", flux("{numerical: {}}"), "9 10 1", "10"),
    Row("zeros in front of a number", flux(NUMBER, pattern(r"^b(\d+)$", "$1")), "b009 b010", "b010"),
    # -- exclusions, suspension, digests
    Row(
        "excluded by the end",
        flux(semver(">=1.0.0-0"), repository="  exclusionList: ['^.*-rc.*$', '-arm64$']\n"),
        "1.0.0 1.1.0-rc.1 1.2.0-arm64",
        "1.0.0",
    ),
    Row(
        "excluded by alternatives",
        flux(ASC, repository="  exclusionList: ['^(dev|test)-.*$']\n"),
        "a-1 dev-1 test-1",
        "a-1",
    ),
    Row(
        "excluded anywhere", flux(ASC, repository="  exclusionList: ['nightly']\n"), "a-1 z-nightly-1", "a-1"
    ),
    Row("signatures by default", flux(ASC), "a-1 sha256-b.sig", "a-1"),
    Row("suspended policy", flux(semver("*"), spec="  suspend: true\n"), "1.0.0", None),
    Row("suspended repository", flux(semver("*"), repository="  suspend: true\n"), "1.0.0", None),
    Row("suspended automation", flux(semver("*"), more=automation(more="  suspend: true\n")), "1.0.0", None),
    Row(
        "one of two automations suspended",
        flux(semver("*"), more=automation("a", more="  suspend: true\n") + automation("b")),
        "1.0.0",
        "1.0.0",
    ),
    Row(
        "an automation of other policies",
        flux(semver("*"), more=automation(more="  policySelector: {matchLabels: {app: api}}\n")),
        "1.0.0",
        None,
    ),
    Row(
        "the digest of the first sight",
        flux(semver("*"), spec="  digestReflectionPolicy: IfNotPresent\n"),
        "1.0.0 1.1.0",
        "1.1.0",
        keys={"pin": "digest"},
    ),
    Row(
        "the digest of a moving tag",
        flux(ASC, pattern("^latest$"), spec="  digestReflectionPolicy: Always\n  interval: 10m\n"),
        "latest 1.0.0",
        "latest",
        keys={"follow": "latest"},
    ),
    Row(
        "digests, always",
        flux(semver("*"), spec="  digestReflectionPolicy: Always\n"),
        "1.0.0 1.1.0",
        "1.1.0",
        keys={"pin": "digest"},
    ),
    Row("v1beta1", flux(semver("*"), api="image.toolkit.fluxcd.io/v1beta1"), "1.0.0 1.1.0", "1.1.0"),
    Row("v1beta2", flux(semver("*"), api="image.toolkit.fluxcd.io/v1beta2"), "1.0.0 1.1.0", "1.1.0"),
    # -- what differs
    Row("never backwards", flux(semver("*")), "1.0.0 1.1.0", "1.1.0", "F2-01", "1.2.0", current="1.2.0"),
    Row(
        "another spelling is no release",
        flux(semver("*")),
        "1.0.0 v1.0.0",
        "v1.0.0",
        "F2-02",
        "1.0.0",
        current="1.0.0",
    ),
    Row("one tag that is no number", flux(NUMBER), "9 10 latest", None, "F2-03", "10"),
    Row(
        "a hyphen in the number", flux(NUMBER, pattern("^b(.*)$", "$1")), "b9 b10 b1-2", None, "F2-03", "b10"
    ),
    Row(
        "fractions",
        flux(NUMBER, pattern(r"^v([0-9]+\.[0-9]+)$", "$1")),
        "v1.9 v1.10",
        "v1.9",
        "F2-04",
        "v1.10",
    ),
    Row("infinity", flux(NUMBER), "9 10 inf", "inf", "F2-05", "10"),
    Row("sixteen bits", flux(NUMBER), "9 10 0x10p4", "0x10p4", "F2-05", "10"),
    Row("descending text", flux(DESC), "a b", "a", "F2-06", None),
    Row("descending numbers", flux(LOWEST), "1 2", "1", "F2-06", None),
    Row(
        "parts put together",
        flux(semver("*"), pattern(r"^(\d+)_(\d+)_(\d+)$", "$1.$2.$3")),
        "1_9_0 1_10_0",
        "1_10_0",
        "F2-07",
        None,
    ),
    Row(
        "a number put before a version",
        flux(semver("*"), pattern(r"^b(\d+)$", "1.0.$1")),
        "b1 b2",
        "b2",
        "F2-07",
        None,
    ),
    Row(
        "excluded by a class",
        flux(ASC, repository="  exclusionList: ['^[0-9a-f]{40}$']\n"),
        "a-1 b-1",
        "b-1",
        "F2-08",
        None,
    ),
    Row(
        "excluded unless nothing stands there",
        flux(ASC, repository="  exclusionList: ['^b-.+$']\n"),
        "a- b-",
        "b-",
        "F2-09",
        "a-",
    ),
    Row(
        "an attestation",
        flux(ASC),
        "a-1 sha256-" + "b" * 64 + ".att",
        "sha256-" + "b" * 64 + ".att",
        "F2-10",
        "a-1",
    ),
    Row(
        "three dots in two parts",
        flux(semver(">=1.0.0-0")),
        "1.1.0 1.2-rc.1.0",
        "1.2-rc.1.0",
        "F2-11",
        "1.1.0",
    ),
    Row(
        "one key of two tags",
        flux(NUMBER, pattern(r"^b(\d+)", "$1")),
        "b01 b1",
        "b01 or b1, by chance",
        "F2-12",
        "b1",
    ),
    Row(
        "twenty digits",
        flux(NUMBER),
        "20260101120000000001 20260101120000000002",
        "any of them, by chance",
        "F2-12",
        "20260101120000000002",
    ),
)


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_the_same_tag_as_flux_v2_or_a_published_difference(row: Row) -> None:
    check(import_flux2, row)


def test_every_published_difference_has_a_row_and_the_other_way_round() -> None:
    ids = published(PAGE)
    assert len(ids) == len(set(ids))
    assert used(ROWS) == set(ids)


# -- what is written ------------------------------------------------------------------------------------


def test_a_policy_as_it_is_written() -> None:
    got = import_flux2({"flux/web.yaml": flux(semver(">=1.4 <2"), more=automation(path="./apps/shop"))})
    assert policy_text(got.drafts["flux-system.yaml"]) == (
        "version: 1\n"
        "workloads:\n"
        "  # From flux/web.yaml:7 ImagePolicy flux-system/web.\n"
        "  web:\n"
        "    image: ghcr.io/acme/web\n"
        '    where: {marker: "flux-system:web", paths: ["apps/shop/**"]}\n'
        '    semver: ">=1.4 <2"\n'
    )


def test_what_differs_is_told_and_stands_in_the_file() -> None:
    got = import_flux2({"flux/web.yaml": flux(DESC)})
    (note,) = got.differs
    assert note.sentence.endswith("(F2-06)")
    assert str(note.source) == "flux/web.yaml:7 ImagePolicy flux-system/web"
    text = policy_text(got.drafts["flux-system.yaml"])
    assert f"# Differs: {note.sentence}." in text
    assert "hold: {reason: " in text


def sentences(got: Any) -> str:
    return "\n".join(str(note) for note in got.left)


def test_access_is_left_to_the_daemons_config() -> None:
    lines = (
        "  secretRef: {name: ghcr}\n  interval: 5m\n  insecure: true\n  certSecretRef: {name: ca}\n"
        "  provider: aws\n"
        "  proxySecretRef: {name: p}\n  accessFrom: {namespaceSelectors: [{matchLabels: {a: b}}]}\n"
    )
    told = sentences(import_flux2({"a.yaml": flux(semver("*"), repository=lines)}))
    for words in (
        "docker_config",
        '[registries."ghcr.io"]',
        "insecure = true",
        "ca_file",
        "credential helper",
        "HTTPS_PROXY",
        "accessFrom",
        "interval: 5m",
    ):
        assert words in told


def test_how_flux_commits_is_left_to_the_daemons_config() -> None:
    git = (
        "  git:\n    checkout: {ref: {branch: main}}\n"
        "    push: {branch: flux-updates, options: {a: b}, refspec: x}\n"
        "    commit: {author: {name: flux}, messageTemplate: hi, signingKey: {secretRef: {name: k}}}\n"
    )
    told = sentences(import_flux2({"a.yaml": flux(semver("*"), more=automation(more=git))}))
    for words in ("reads branch main", "pushes to branch flux-updates", "refspec", "options", "[commit]"):
        assert words in told
    assert "author" in told
    assert "not signed" in told


def test_what_to_switch_off_comes_first() -> None:
    assert "ImageUpdateAutomation" in import_flux2({"a.yaml": flux(semver("*"))}).switch_off[0]


def test_a_policy_without_a_marker_and_a_marker_without_a_policy_are_told() -> None:
    stray = f'image: {WEB}:1.0.0 # {{"$imagepolicy": "flux-system:api"}}\n'
    told = sentences(import_flux2({"flux.yaml": flux(semver("*")), "apps/api.yaml": stray}))
    assert "no `$imagepolicy` comment in these files names `flux-system:web`" in told
    assert "apps/api.yaml:1: a comment names `flux-system:api`" in told


# -- what real folders look like -----------------------------------------------------------------------

POLICY = flux(semver("*")).partition("---\n")[2]


def deployment(marker: str, image: str = WEB) -> str:
    comment = f'# {{"$imagepolicy": "{marker}"}}'
    containers = f"      containers:\n        - image: {image}:1.0.0 {comment}\n"
    return f"kind: Deployment\nspec:\n  template:\n    spec:\n{containers}"


def only(got: Any) -> Any:
    (drafts,) = got.drafts.values()
    (draft,) = drafts
    return draft


def test_the_namespace_that_kustomize_gives_is_read_from_the_markers() -> None:
    files = {
        "flux/web.yaml": flux(semver("*")).replace(", namespace: flux-system", ""),
        "apps/web.yaml": deployment("shop:web"),
    }
    got = import_flux2(files)
    assert only(got).keys["where"] == {"marker": "shop:web"}
    assert "shop.yaml" in got.drafts


def test_without_any_namespace_the_name_alone_is_the_marker() -> None:
    got = import_flux2({"flux/web.yaml": flux(semver("*")).replace(", namespace: flux-system", "")})
    assert only(got).keys["where"] == {"marker": "web"}
    assert "flux.yaml" in got.drafts


def test_an_image_repository_elsewhere_is_known_from_the_image_at_the_marker() -> None:
    got = import_flux2({"policy.yaml": POLICY, "apps/web.yaml": deployment("flux-system:web")})
    assert only(got).keys["image"] == WEB


def test_an_image_repository_that_nothing_tells_costs_its_policy() -> None:
    got = import_flux2({"policy.yaml": POLICY})
    assert got.drafts == {}
    assert 'its ImageRepository "web" is not in these files' in sentences(got)


@pytest.mark.parametrize(
    "image", ["https://ghcr.io/acme/web", "ghcr.io/acme/web:1.0", "${REGISTRY}/web", "{{ x }}"]
)
def test_an_image_that_is_no_repository_costs_its_policy(image: str) -> None:
    got = import_flux2({"a.yaml": flux(semver("*")).replace(f"image: {WEB}", f"image: '{image}'")})
    assert got.drafts == {}
    assert "no policy was written" in sentences(got)


def test_the_same_policy_of_base_and_overlay_is_one_workload() -> None:
    text = flux(semver("*"))
    got = import_flux2({"base/web.yaml": text, "clusters/prod/web.yaml": text})
    assert only(got).keys["semver"] == "*"


def test_clusters_with_the_same_names_are_told_apart_by_the_folders_they_write() -> None:
    files = {
        "clusters/staging/web.yaml": flux(semver(">=1.0.0-0"), more=automation(path="./apps/staging")),
        "clusters/prod/web.yaml": flux(semver(">=1.0.0"), more=automation(path="./apps/prod")),
    }
    got = import_flux2(files)
    found = {
        draft.name: (draft.keys["where"]["paths"], draft.keys["semver"])
        for draft in got.drafts["flux-system.yaml"]
    }  # type: ignore[index]
    assert found == {"web": (["apps/prod/**"], ">=1.0.0"), "web-2": (["apps/staging/**"], ">=1.0.0-0")}
    written(got)


def test_two_policies_of_one_name_that_cannot_be_told_apart_hold() -> None:
    got = import_flux2({"a.yaml": flux(semver("1.x")), "b.yaml": flux(semver("2.x"))})
    assert "twice" in str(only(got).keys["hold"])
    assert "b.yaml:7 ImagePolicy flux-system/web: left out" in sentences(got)


def test_policies_of_one_name_in_two_namespaces_keep_apart() -> None:
    other = flux(semver("2.x")).replace("flux-system", "shop")
    got = import_flux2({"a.yaml": flux(semver("1.x")), "b.yaml": other})
    assert {file: [one.name for one in found] for file, found in got.drafts.items()} == {
        "flux-system.yaml": ["web"],
        "shop.yaml": ["web-2"],
    }
    assert len(written(got).workloads) == 2


def test_objects_in_a_list_and_behind_anchors_are_read() -> None:
    text = (
        "apiVersion: v1\nkind: List\nitems:\n"
        "  - {apiVersion: image.toolkit.fluxcd.io/v1, kind: ImageRepository, "
        "metadata: &m {name: web, namespace: a}, "
        f"spec: {{image: {WEB}}}}}\n"
        "  - {apiVersion: image.toolkit.fluxcd.io/v1, kind: ImagePolicy, metadata: {<<: *m}, "
        "spec: {imageRepositoryRef: *m, policy: {semver: {range: 1.x}}}}\n"
    )
    assert only(import_flux2({"all.yml": text})).keys["semver"] == "1.x"


@pytest.mark.parametrize(
    "broken",
    [
        "kind: [",
        "\t- x",
        "a: *b\n<<: *a",
        "{{- if .Values.x }}\nkind: ImagePolicy\n{{- end }}\n",
        "kind: {a: b}\nmetadata: []\nspec: 7\n",
    ],
)
def test_a_broken_file_costs_only_itself(broken: str) -> None:
    got = import_flux2({"a.yaml": f"# image.toolkit.fluxcd.io/v1\n{broken}", "b.yaml": flux(semver("*"))})
    assert only(got).name == "web"
    assert all(note.source.file == "a.yaml" for note in got.left if "could not be read" in note.sentence)


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.text(max_size=12),
    st.sampled_from(["web", "*", "asc", "$1", "^(a)$"]),
)
KEYS = st.sampled_from(
    [
        "spec",
        "policy",
        "semver",
        "range",
        "filterTags",
        "pattern",
        "extract",
        "imageRepositoryRef",
        "name",
        "image",
        "exclusionList",
        "suspend",
        "update",
        "path",
        "git",
        "push",
        "branch",
        "policySelector",
        "matchLabels",
        "digestReflectionPolicy",
        "numerical",
    ]
)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=4)),
    max_leaves=20,
)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["ImagePolicy", "ImageRepository", "ImageUpdateAutomation"]),
            TREES,
            st.text(max_size=8),
        ),
        max_size=5,
    )
)
def test_whatever_stands_in_the_objects_nothing_is_raised_and_the_policies_are_valid(
    found: list[Any],
) -> None:
    objects = [
        {
            "apiVersion": "image.toolkit.fluxcd.io/v1",
            "kind": kind,
            "metadata": {"name": name, "namespace": name},
            "spec": spec,
        }
        for kind, spec, name in found
    ]
    written(import_flux2({"a.json": json.dumps({"kind": "List", "items": objects})}))


# -- the real ones -------------------------------------------------------------------------------------


@pytest.mark.skipif("AUTOMATOR_CORPUS" not in os.environ, reason="AUTOMATOR_CORPUS names no folder")
def test_every_declared_policy_of_real_config_repos_becomes_a_workload() -> None:
    repos: dict[str, dict[str, str]] = defaultdict(dict)
    with gzip.open(Path(os.environ["AUTOMATOR_CORPUS"]) / "public.jsonl.gz", "rt") as lines:
        for line in lines:
            case = json.loads(line)
            if "image.toolkit.fluxcd.io" in case["before"] or "$imagepolicy" in case["before"]:
                repos[case["repo"]][case["path"]] = case["before"]
    workloads = 0
    for files in repos.values():
        got = import_flux2(files)
        markers = [draft.keys["where"]["marker"] for found in got.drafts.values() for draft in found]  # type: ignore[index]
        declared = sum(text.count("kind: ImagePolicy\n") for text in files.values())
        assert len(markers) == len(set(markers)) == declared
        assert not [one for one in written(got).workloads if one.hold is not None]  # type: ignore[union-attr]
        workloads += len(markers)
    assert workloads > 5


def test_a_choice_is_none_where_nothing_is_imported() -> None:
    assert choice(import_flux2, Row("", "a: b", "1.0.0", None)) is None
