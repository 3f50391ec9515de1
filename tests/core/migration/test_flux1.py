"""Flux v1's annotations, imported: the same tag is chosen, or the published list says why not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from parts.migration import Row, check, published, used, written

from automator.core.migration.flux1 import import_flux1
from automator.core.policytext import policy_text

WEB = "ghcr.io/acme/web"
PAGE = "coming-from/flux-v1.md"
AUTO = "fluxcd.io/automated"


def annotated(annotations: dict[str, str], kind: str = "Deployment", namespace: str = "shop") -> str:
    lines = "".join(f"    {json.dumps(key)}: {json.dumps(value)}\n" for key, value in annotations.items())
    placed = f"  namespace: {namespace}\n" if namespace else ""
    return f"kind: {kind}\nmetadata:\n  name: web\n{placed}  annotations:\n{lines}"


def deployment(pattern: str | None = None, *, prefix: str = "fluxcd.io/", **more: str) -> str:
    """An automated Deployment with one container `app`; `more` are further annotations of the prefix."""
    said = {f"{prefix}automated": "true", **{f"{prefix}{name}": value for name, value in more.items()}}
    if pattern is not None:
        said[f"{prefix}tag.app"] = pattern
    return annotated(said) + pod()


def pod(indent: str = "", *, image: str = f"{WEB}:1.0.0", name: str = "app") -> str:
    containers = f"      containers:\n        - name: {name}\n          image: {image}\n"
    text = f"spec:\n  template:\n    spec:\n{containers}"
    return "".join(f"{indent}{line}\n" for line in text.splitlines())


def release(values: str, annotations: dict[str, str] | None = None, kind: str = "HelmRelease") -> str:
    return annotated({AUTO: "true", **(annotations or {})}, kind) + f"spec:\n  values: {values}\n"


def cron() -> str:
    return annotated({AUTO: "true"}, "CronJob") + "spec:\n  jobTemplate:\n" + pod("    ")


TIMES = "1.0.0@1 1.1.0@2 main-a1@4 main-b2@3"
VERSIONS = "1.0.0@5 1.9.0@2 1.10.0@1 2.0.0@3 main@9"

ROWS = (
    # -- the newest build
    Row("no filter takes the newest build", deployment(), TIMES, "main-a1"),
    Row("latest is passed over", deployment(), "1.0.0@1 latest@2", "1.0.0"),
    Row("an old name and a new build", deployment(), "0.9.1@9 1.0.0@1", "0.9.1"),
    Row("glob", deployment("glob:main-*"), TIMES, "main-a1"),
    Row("glob is what stands there without a prefix", deployment("main-*"), TIMES, "main-a1"),
    Row(
        "a star in the middle", deployment("glob:v*-alpine"), "v1-alpine@1 v2-alpine@2 v3-slim@3", "v2-alpine"
    ),
    Row("a star may stand for nothing", deployment("glob:main*"), "main@3 main-1@2", "main"),
    Row("two stars", deployment("glob:**-prod-*"), "a-prod-1@1 b-prod-2@2 c-dev-3@3", "b-prod-2"),
    Row("a glob without a star", deployment("glob:stable"), "stable@1 edge@2", "stable"),
    Row("latest, and nothing else", deployment("glob:latest"), "1.0.0@2 latest@1", "latest"),
    Row("a glob that latest fits", deployment("glob:l*"), "latest@2 l1@1", "l1"),
    Row("a question mark means itself", deployment("glob:v?"), "v1@1 v2@2", None),
    Row("a class means itself", deployment("glob:v[0-9]"), "v1@1 v2@2", None),
    Row("braces mean themselves", deployment("glob:{key}"), "v1@1 v2@2", None),
    Row("a colon is in no tag", deployment("newest:v*"), "v1@1", None),
    Row("no tag fits", deployment("glob:prod-*"), TIMES, None),
    # -- regexp
    Row("regexp", deployment("regexp:^main-[a-z][0-9]$"), TIMES, "main-a1"),
    Row("regex, its other name", deployment("regex:^main-b.*$"), TIMES, "main-b2"),
    Row("it is searched for", deployment("regexp:ain-"), TIMES, "main-a1"),
    Row("alternatives", deployment("regexp:^(main-b2|1.1.0)$"), TIMES, "main-b2"),
    Row("a group orders nothing", deployment("regexp:^main-(?P<key>[a-z])"), TIMES, "main-a1"),
    Row("an expression that latest fits", deployment("regexp:.*"), "latest@2 v1@1", "v1"),
    # -- semver
    Row("semver", deployment("semver:^1.0"), VERSIONS, "1.10.0"),
    Row("semver, all", deployment("semver:*"), VERSIONS, "2.0.0"),
    Row("a blank before the range", deployment("semver: ~1.9"), VERSIONS, "1.9.0"),
    Row("parts may be missing", deployment("semver:>=1"), "1@1 1.2@2 1.1.5@3", "1.2"),
    Row("the more explicit spelling", deployment("semver:*"), "1.10@1 1.10.0@2", "1.10.0"),
    Row("v in front", deployment("semver:~1.2"), "v1.2.3 1.2.2", "v1.2.3"),
    Row("a pre-release stays out", deployment("semver:>=1.0.0"), "1.0.0 1.1.0-beta.1", "1.0.0"),
    Row(
        "a pre-release that is asked for",
        deployment("semver:>=1.0.0-0"),
        "1.0.0 1.1.0-beta.1",
        "1.1.0-beta.1",
    ),
    Row("two ranges", deployment("semver:1.x || >=3"), "1.5.0 2.0.0 3.1.0", "3.1.0"),
    Row("nothing in the range", deployment("semver:>=9"), VERSIONS, None),
    # -- spelling of annotations
    Row("the old prefix", deployment("semver:^1", prefix="flux.weave.works/"), VERSIONS, "1.10.0"),
    Row(
        "the short prefix",
        annotated({AUTO: "true", "filter.fluxcd.io/app": "semver:^1"}) + pod(),
        VERSIONS,
        "1.10.0",
    ),
    Row(
        "a filter of another container",
        annotated({AUTO: "true", "fluxcd.io/tag.db": "semver:^1"}) + pod(),
        VERSIONS,
        "main",
    ),
    # -- kinds
    Row("DaemonSet", annotated({AUTO: "true"}, "DaemonSet") + pod(), TIMES, "main-a1"),
    Row("StatefulSet", annotated({AUTO: "true"}, "StatefulSet") + pod(), TIMES, "main-a1"),
    Row("CronJob", cron(), TIMES, "main-a1"),
    Row("Job is none of its kinds", annotated({AUTO: "true"}, "Job") + pod(), TIMES, None),
    Row(
        "in a List",
        "kind: List\nitems:\n"
        + "".join(f"  {'- ' if not i else '  '}{line}\n" for i, line in enumerate(deployment().splitlines())),
        TIMES,
        "main-a1",
    ),
    # -- HelmRelease
    Row("image in the values", release(f"{{image: '{WEB}:1.0.0'}}"), TIMES, "main-a1"),
    Row(
        "image and tag",
        release(f"{{image: {WEB}, tag: 1.0.0}}", {"filter.fluxcd.io/chart-image": "semver:~1.1"}),
        TIMES,
        "1.1.0",
    ),
    Row(
        "registry, repository and tag",
        release(
            "{image: {registry: ghcr.io, repository: acme/web, tag: 1.0.0}}",
            {"fluxcd.io/tag.chart-image": "semver:^1"},
        ),
        TIMES,
        "1.1.0",
    ),
    Row(
        "one level down",
        release(
            f"{{api: {{image: {{repository: {WEB}, tag: 1.0.0}}}}}}", {"filter.fluxcd.io/api": "glob:main-b*"}
        ),
        TIMES,
        "main-b2",
    ),
    Row(
        "two levels down is too deep",
        release(f"{{a: {{b: {{image: {{repository: {WEB}, tag: 1.0.0}}}}}}}}"),
        TIMES,
        None,
    ),
    Row(
        "a mapped image",
        release(
            f"{{a: {{b: {{img: {WEB}, v: 1.0.0}}}}}}",
            {
                "repository.fluxcd.io/x": "a.b.img",
                "tag.fluxcd.io/x": "a.b.v",
                "filter.fluxcd.io/x": "semver:^1",
            },
        ),
        TIMES,
        "1.1.0",
    ),
    Row("FluxHelmRelease", release(f"{{image: '{WEB}:1.0.0'}}", kind="FluxHelmRelease"), TIMES, "main-a1"),
    # -- stops
    Row("not automated", annotated({"fluxcd.io/tag.app": "semver:*"}) + pod(), VERSIONS, None),
    Row("automated: false", annotated({AUTO: "false"}) + pod(), TIMES, None),
    Row("automated as a boolean", annotated({AUTO: "true"}).replace('"true"', "true") + pod(), TIMES, None),
    Row("locked", deployment(locked="true", locked_msg="wait"), TIMES, None),
    Row("locked: false", deployment(locked="false"), TIMES, "main-a1"),
    Row("ignored", deployment(ignore="true"), TIMES, None),
    Row("ignored by the garbage collector alone", deployment(ignore="sync_only"), TIMES, "main-a1"),
    # -- what differs
    Row(
        "never backwards", deployment("semver:^1"), "1.0.0 1.1.0", "1.1.0", "F1-01", "1.2.0", current="1.2.0"
    ),
    Row(
        "an older build",
        deployment("glob:main-*"),
        "main-1@1 main-2@2 old@9",
        "main-2",
        "F1-01",
        "old",
        current="old",
    ),
    Row("two builds of one time", deployment(), "a@1 b@1", "a", "F1-02", "b"),
    Row("a range that is none", deployment("semver:1.2.3.4"), VERSIONS, "2.0.0", "F1-03", None),
    Row("an expression that is none", deployment("regexp:(a"), TIMES, "main-a1", "F1-03", None),
    Row("a look-ahead", deployment("regexp:^(?!main)"), TIMES, "main-a1", "F1-03", None),
    Row("a build without a time", deployment(), "a@1 b@2 c@?", None, "F1-04", "b"),
    Row("tag_all in a file", deployment(tag_all="semver:^1"), VERSIONS, "main", "F1-05", "1.10.0"),
    Row(
        "a signature",
        deployment(),
        "a@1 sha256-" + "b" * 64 + ".sig@2",
        "sha256-" + "b" * 64 + ".sig",
        "F1-06",
        "a",
    ),
    Row("latest in another case", deployment(), "a@1 Latest@2", "a", "F1-07", "Latest"),
    Row(
        "another spelling is no release",
        deployment("semver:*"),
        "1.10 1.10.0",
        "1.10.0",
        "F1-08",
        "1.10",
        current="1.10",
    ),
)


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_the_same_tag_as_flux_v1_or_a_published_difference(row: Row) -> None:
    check(import_flux1, row)


def test_every_published_difference_has_a_row_and_the_other_way_round() -> None:
    ids = published(PAGE)
    assert len(ids) == len(set(ids))
    assert used(ROWS) == set(ids)


# -- what is written ------------------------------------------------------------------------------------


def imported(text: str, file: str = "apps/web.yaml") -> Any:
    return import_flux1({file: text})


def only(got: Any) -> Any:
    (drafts,) = got.drafts.values()
    (draft,) = drafts
    return draft


def sentences(got: Any) -> str:
    return "\n".join(str(note) for note in got.left)


def test_a_policy_as_it_is_written() -> None:
    got = imported(
        deployment("glob:main-*", locked="true", locked_user="Ann <ann@acme>", locked_msg="wait for #7")
    )
    assert policy_text(got.drafts["shop.yaml"]) == (
        "version: 1\n"
        "workloads:\n"
        "  # From apps/web.yaml:1 Deployment shop/web.\n"
        "  web:\n"
        "    image: ghcr.io/acme/web\n"
        "    where: {paths: [/apps/web.yaml], kind: Deployment, namespace: shop, name: web, container: app}\n"
        "    glob: main-*\n"
        "    order: newest\n"
        '    hold: {reason: "locked in Flux by Ann <ann@acme>: wait for #7"}\n'
    )


def test_each_container_has_a_workload_with_its_own_filter() -> None:
    second = (
        "        - {name: db, image: 'postgres:15'}\n"
        "      initContainers:\n        - {name: init, image: busybox}\n"
    )
    text = (
        annotated({AUTO: "true", "fluxcd.io/tag.app": "semver:^1", "fluxcd.io/tag.db": "glob:15*"})
        + pod()
        + second
    )
    (drafts,) = imported(text).drafts.values()
    assert {
        one.name: (one.keys["image"], one.keys["where"]["container"], one.keys.get("glob")) for one in drafts
    } == {
        "web-init": ("busybox", "init", None),
        "web-app": (WEB, "app", None),
        "web-db": ("postgres", "db", "15*"),
    }


def test_without_a_namespace_none_is_asked_for() -> None:
    got = imported(annotated({AUTO: "true"}, namespace="") + pod())
    assert only(got).keys["where"] == {
        "paths": ["/apps/web.yaml"],
        "kind": "Deployment",
        "name": "web",
        "container": "app",
    }
    assert list(got.drafts) == ["flux.yaml"]


def test_one_workload_in_two_files_is_told_apart_by_the_file() -> None:
    got = import_flux1({"base/web.yaml": deployment(), "clusters/a [1]/web.yaml": deployment("semver:^1")})
    (drafts,) = got.drafts.values()
    assert [draft.keys["where"]["paths"] for draft in drafts] == [
        ["/base/web.yaml"],
        ["/clusters/a\\ \\[1\\]/web.yaml"],
    ]
    assert len(written(got).workloads) == 2


@pytest.mark.parametrize(
    ("values", "image", "field"),
    [
        (f"{{image: '{WEB}:1'}}", WEB, "spec.values.image"),
        (f"{{image: {WEB}, tag: '1'}}", WEB, "spec.values.tag"),
        ("{image: acme/web, registry: ghcr.io, tag: '1'}", WEB, "spec.values.tag"),
        ("{image: 'acme/web:1', registry: ghcr.io}", WEB, "spec.values.image"),
        (f"{{image: {{repository: '{WEB}:1'}}}}", WEB, "spec.values.image.repository"),
        (f"{{image: {{repository: {WEB}, tag: 1.5}}}}", WEB, "spec.values.image.tag"),
        (
            "{side: {image: {registry: ghcr.io, repository: acme/web, tag: '1'}}}",
            WEB,
            "spec.values.side.image.tag",
        ),
    ],
)
def test_the_field_of_an_image_in_values(values: str, image: str, field: str) -> None:
    keys = only(imported(release(values))).keys
    assert keys["image"] == image
    assert keys["where"] == {
        "paths": ["/apps/web.yaml"],
        "kind": "HelmRelease",
        "namespace": "shop",
        "name": "web",
        "field": field,
    }


def test_a_mapping_replaces_what_is_found_under_its_name() -> None:
    values = (
        f"{{api: {{image: {{repository: docker.io/other, tag: 1}}}}, deep: {{er: {{i: {WEB}, r: ghcr.io}}}}}}"
    )
    said = {"repository.fluxcd.io/api": "deep.er.i", "filter.fluxcd.io/api": "semver:*"}
    keys = only(imported(release(values, said))).keys
    assert (keys["image"], keys["where"]["field"]) == (WEB, "spec.values.deep.er.i")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (annotated({"fluxcd.io/tag.app": "semver:*"}) + pod(), "it is not automated"),
        (annotated({"fluxcd.io/locked": "true"}) + pod(), "it is not automated"),
        (annotated({AUTO: "true"}).replace('"true"', "true") + pod(), "is a boolean"),
        (deployment(ignore="true"), "it is ignored"),
        (annotated({AUTO: "true"}, "Job") + pod(), "Flux releases no Job"),
        (annotated({AUTO: "true"}) + "spec: {}\n", "finds no image"),
        (annotated({AUTO: "true"}) + pod(image='"{{ x }}:1"'), "no policy was written for container app"),
    ],
)
def test_what_gets_no_policy_is_told(text: str, words: str) -> None:
    got = imported(text)
    assert got.drafts == {}
    assert words in sentences(got)


def test_settings_of_fluxd_are_left_to_the_daemons_config() -> None:
    text = (
        "kind: Deployment\nmetadata: {name: flux}\nspec:\n  template:\n    spec:\n      containers:\n"
        "        - name: flux\n          image: docker.io/fluxcd/flux:1.25.4\n"
        "          args: [--git-url=git@example.com:a/b, --git-branch=main, "
        "--registry-exclude-image=*, --memcached-hostname=x, 7]\n"
    )
    told = sentences(imported(text))
    assert "fluxd's --git-branch=main: the branch: `branch` under [repos.NAME] in config.toml" in told
    assert "--git-url=git@example.com:a/b" in told
    assert "--registry-exclude-image=*" in told
    assert "memcached" not in told


def test_what_is_no_text_and_what_is_not_from_flux_is_passed_over() -> None:
    assert imported("a: b") == import_flux1({})
    assert imported(annotated({"example.com/automated": "true"}) + pod()).drafts == {}
    assert imported(pod()).switch_off == ()


@pytest.mark.parametrize("broken", ["kind: [", "\t- x", "{{ if x }}\nkind: Deployment\n{{ end }}\n", "a: *b"])
def test_a_broken_file_costs_only_itself(broken: str) -> None:
    got = import_flux1({"a.yaml": f"# fluxcd.io/automated\n{broken}", "b.yaml": deployment()})
    assert only(got).name == "web"
    assert all(note.source.file == "a.yaml" for note in got.left)


TEXTS = st.one_of(
    st.text(max_size=10),
    st.sampled_from(
        ["true", "semver:*", "glob:*", "regexp:.*", "image.tag", "a.b", WEB, f"{WEB}:1", "glob:" + "*a" * 9]
    ),
)
NAMES = st.sampled_from(
    [
        AUTO,
        "fluxcd.io/tag.app",
        "fluxcd.io/tag_all",
        "fluxcd.io/locked",
        "fluxcd.io/locked_msg",
        "flux.weave.works/tag.app",
        "filter.fluxcd.io/image",
        "repository.fluxcd.io/x",
        "tag.fluxcd.io/x",
        "registry.fluxcd.io/x",
    ]
)
KEYS = st.sampled_from(
    ["spec", "template", "containers", "name", "image", "values", "repository", "tag", "registry", "a", "b"]
)
TREES = st.recursive(
    TEXTS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=4)),
    max_leaves=15,
)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["Deployment", "HelmRelease", "CronJob"]),
            st.dictionaries(NAMES, TEXTS),
            TREES,
            TEXTS,
        ),
        max_size=4,
    )
)
def test_whatever_stands_in_the_objects_nothing_is_raised_and_the_policies_are_valid(
    found: list[Any],
) -> None:
    objects = [
        {
            "kind": kind,
            "metadata": {"name": name, "namespace": name, "annotations": {**said, AUTO: "true"}},
            "spec": {
                "values": spec,
                "template": {"spec": {"containers": [{"name": name, "image": name}, spec]}},
            },
        }
        for kind, said, spec, name in found
    ]
    written(import_flux1({"a.json": json.dumps({"kind": "List", "items": objects})}))
