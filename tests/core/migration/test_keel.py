"""Keel's choices, imported: the same tag is chosen, or the published list says why not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from parts.migration import Row, check, published, used, written

from automator.core.migration.keel import import_keel

PAGE = "coming-from/keel.md"
WEB = "ghcr.io/acme/web"
OPTIONS = ("matchPreRelease", "matchTag", "match_tag", "approvals")
SHA = "sha256-" + "0" * 64 + ".sig"


def pods(spec: str, kind: str = "Deployment", *, labels: str = "{}", **said: str) -> str:
    """A workload with this pod spec; Keel's annotations are given without `keel.sh/`."""
    annotations = "".join(
        f"    keel.sh/{key.replace('_', '-')}: '{value.replace(chr(39), chr(39) * 2)}'\n"
        for key, value in said.items()
    )
    template = f"{{jobTemplate: {{spec: {{template: {{spec: {spec}}}}}}}}}"
    return (
        f"apiVersion: apps/v1\nkind: {kind}\nmetadata:\n  name: web\n  namespace: shop\n  labels: {labels}\n"
        + (f"  annotations:\n{annotations}" if annotations else "")
        + f"spec: {template if kind == 'CronJob' else f'{{template: {{spec: {spec}}}}}'}\n"
    )


def run(policy: str, tag: str = "1.2.3", *, kind: str = "Deployment", labels: str = "{}", **said: str) -> str:
    """A workload that runs one image at a tag, polled."""
    image = f"{WEB}:{tag}" if tag else WEB
    said = {"policy": policy, "trigger": "poll"} | said if policy else said
    return pods(f"{{containers: [{{name: web, image: '{image}'}}]}}", kind, labels=labels, **said)


def row(name: str, policy: str, current: str, tags: str, chosen: str | None, **more: Any) -> Row:
    """A row whose current tag stands in the manifest; without a move the tool stays there."""
    said = {
        key: more.pop(key) for key in ("matchPreRelease", "matchTag", "match_tag", "approvals") if key in more
    }
    return Row(name, run(policy, current, **said), tags, chosen, current=current, **more)


def values(keel: str, more: str = "image: {repository: ghcr.io/acme/web, tag: 1.2.3}\n") -> str:
    """Helm values with a `keel:` block."""
    return f"replicas: 1\n{more}keel: {keel}\n"


IMAGE = "images: [{repository: image.repository, tag: image.tag}]"

ROWS = (
    # -- versions
    row("patch", "patch", "1.2.3", "1.2.4 1.2.10 1.3.0 2.0.0", "1.2.10", keys={"step": "patch"}),
    row("minor", "minor", "1.2.3", "1.2.4 1.9.0 1.10.0 2.0.0", "1.10.0", keys={"step": "minor"}),
    row("major", "major", "1.2.3", "1.9.0 2.0.0 10.1.0", "10.1.0", keys={"step": None}),
    row("all", "all", "1.2.3", "1.9.0 2.0.0", "2.0.0"),
    row("nothing newer", "minor", "1.2.3", "1.2.2 1.2.3 1.1.9 2.0.0", "1.2.3"),
    row("a new major does not hide a minor", "minor", "1.2.3", "3.0.0 1.3.0 2.0.0", "1.3.0"),
    row("minor before 1.0 is any minor", "minor", "0.2.0", "0.9.0 1.0.0", "0.9.0"),
    row("patch before 1.0", "patch", "0.2.0", "0.2.9 0.3.0", "0.2.9"),
    row("v in front", "minor", "v1.2.3", "v1.3.0 v2.0.0", "v1.3.0"),
    row("v in front of the new one only", "minor", "1.2.3", "v1.3.0", "v1.3.0"),
    row("two numbers", "minor", "1.2", "1.3 1.10 2.0", "1.10", keys={"versions": "lenient"}),
    row("from three numbers to two", "minor", "1.2.3", "1.2 1.3", "1.3"),
    row("one number is none", "major", "1.2.3", "2 3", "1.2.3"),
    row("pre-releases are not for released versions", "minor", "1.2.3", "1.3.0-rc.1 1.2.4", "1.2.4",
        keys={"prereleases": "never"}),
    row("pre-releases under all", "all", "1.2.3", "1.3.0-rc.1 1.2.4", "1.3.0-rc.1"),
    row("pre-releases where they need not match", "minor", "1.2.3", "1.3.0-rc.1 1.2.4 2.0.0", "1.3.0-rc.1",
        matchPreRelease="false"),
    row("a suffix stays", "minor", "1.2.3-alpine", "1.3.0 1.3.0-alpine 1.4.0-slim 2.0.0-alpine",
        "1.3.0-alpine"),
    row("a suffix of two numbers", "major", "1.2-alpine", "1.3-alpine 3-alpine 2.0", "1.3-alpine"),
    row("a longer suffix is another", "minor", "1.2.3-alpine", "1.3.0-rc1-alpine 1.3.0-alpine3 1.2.4-alpine",
        "1.2.4-alpine"),
    row("a suffix with dots", "major", "1.2.3-rc.1", "1.3.0-rc.1 1.4.0-rc.2 1.5.0", "1.3.0-rc.1"),
    row("a suffix with dots behind one number", "major", "1.2.3-rc.1", "2-rc.1 1.3.0-rc.1", "2-rc.1"),
    row("a suffix under all", "all", "1.2.3-alpine", "1.3.0 1.3.1-slim", "1.3.1-slim"),
    row("what is no version", "minor", "1.2.3", "latest main 1.2.3.4 1.x", "1.2.3"),
    row("a current tag that is no version", "minor", "main-abc", "1.0.0", "main-abc"),
    row("from latest to the highest", "major", "latest", "1.0.0 2.0.0", "2.0.0"),
    row("from latest to a pre-release", "major", "latest", "1.0.0 2.0.0-rc.1", "2.0.0-rc.1",
        differs="KE-05", ours="1.0.0"),
    row("from latest by small steps", "minor", "latest", "1.0.0 2.0.0", "2.0.0", differs="KE-05",
        ours="latest"),
    row("one of two equal versions, by chance", "major", "1.2.3", "1.3 1.3.0", "1.3", differs="KE-06",
        ours="1.3.0"),
    # -- force
    row("force at the same tag", "force", "dev", "dev main 1.0.0", "dev", matchTag="true",
        keys={"follow": "dev"}),
    row("force by its old name", "force", "dev", "dev main", "dev", match_tag="true", keys={"follow": "dev"}),
    row("force takes whatever was pushed", "force", "2.20.15", "1.5.0 2.20.15", "1.5.0", differs="KE-01",
        ours="2.20.15"),
    Row("force without a tag", run("force", "", matchTag="true"), "latest 1.0.0", "latest",
        keys={"follow": "latest"}),
    # -- glob
    row("a glob of texts", "glob:main-*", "main-aa", "main-ab main-zz dev-zzz", "main-zz",
        keys={"glob": "main-*", "order": "alphabetical"}),
    row("a glob of dates", "glob:release-*", "release-2024-01-02", "release-2024-01-10 release-2023-12-31",
        "release-2024-01-10"),
    row("a glob without a star", "glob:stable", "stable", "stable latest", "stable"),
    row("a glob of numbers of one width", "glob:build-*", "build-101", "build-102 build-110 x", "build-110",
        keys={"glob": "build-{key}", "order": "numeric"}),
    row("a glob of versions of one width", "glob:1.2.*", "1.2.3", "1.2.4 1.2.9 1.3.0", "1.2.9",
        keys={"glob": "1.2.*", "order": "version"}),
    row("a number that begins before the star", "glob:v1.2*-eu", "v1.21-eu", "v1.22-eu v1.29-eu v1.3-eu",
        "v1.29-eu", keys={"regex": r"(?P<key>v1\.2.*)-eu"}),
    row("everything", "glob:*", "a", "b c", "c"),
    row("two stars", "glob:*-main-*", "1-main-1", "1-main-2 2-main-1 3-dev-1", "2-main-1",
        keys={"order": "alphabetical"}),
    row("a colon in a glob", "glob:a:*", "a", "b", "a"),
    row("no tag matches the glob", "glob:a b*", "a", "b", "a"),
    row("a glob compares texts", "glob:1.*", "1.8", "1.9 1.10", "1.9", differs="KE-02", ours="1.10"),
    row("a glob of builds compares texts", "glob:build-*", "build-8", "build-9 build-10", "build-9",
        differs="KE-02", ours="build-10"),
    row("a glob takes what is no number", "glob:build-*", "build-8", "build-9 build-test", "build-test",
        differs="KE-03", ours="build-9"),
    row("a glob goes back", "glob:build-*", "build-300", "build-100 build-200", "build-200", differs="KE-04",
        ours="build-300"),
    row("the name of a signature", "glob:*", "main", f"nightly {SHA}", SHA, differs="KE-09", ours="nightly"),
    # -- expressions
    row("an expression", "regexp:^main-", "main-a", "main-b main-c xmain-d", "main-c"),
    row("an expression is found anywhere", "regexp:main", "a-main", "b-main main-1 dev", "main-1"),
    row("the part that is compared", "regexp:^main-[0-9a-f]+-(?P<compare>.+)$", "main-aa-t1",
        "main-bb-t3 main-ff-t2", "main-bb-t3", keys={"order": "alphabetical"}),
    row("a time that is compared", "regexp:^main-[0-9a-f]+-(?P<compare>[0-9]+)$", "main-aa-1700000000",
        "main-bb-1700000002 main-ff-1700000001", "main-bb-1700000002",
        keys={"regex": "main-[0-9a-f]+-(?P<key>[0-9]+)", "order": "numeric"}),
    row("a group called key compares nothing", "regexp:^(?P<key>[a-z])-", "a-1", "a-9 b-1", "b-1"),
    row("a broken expression", "regexp:(", "a", "b", "a"),
    row("an expression compares texts", "regexp:^b(?P<compare>[0-9]+)$", "b8", "b9 b10", "b9",
        differs="KE-02", ours="b10"),
    row("numbers, whatever the current tag is", "regexp:^b(?P<compare>[0-9]+)$", "main", "b9 b10", "b9",
        differs="KE-02", ours="b10"),
    row("newest", "newest:^main-", "main-a", "main-a@1 main-c@2 main-b@3 dev@4", "main-b",
        keys={"order": "newest"}),
    # -- none of these
    row("a policy that nobody knows", "latest", "1.2.3", "1.3.0", "1.2.3"),
    row("never", "never", "1.2.3", "1.3.0", "1.2.3"),
    row("approvals", "minor", "1.2.3", "1.3.0", "1.3.0", approvals="1", differs="KE-07", ours="1.2.3"),
    row("no approval", "minor", "1.2.3", "1.3.0", "1.3.0", approvals="0"),
    # -- where it is said
    Row("labels", run("", labels="{keel.sh/policy: minor, keel.sh/trigger: poll}"), "1.3.0", "1.3.0",
        current="1.2.3"),
    Row("the old name", run("", labels="{keel.observer/policy: minor}"), "1.3.0 2.0.0", "1.3.0",
        current="1.2.3"),
    Row("annotations over labels", run("patch", labels="{keel.sh/policy: major}"), "1.2.4 1.3.0", "1.2.4",
        current="1.2.3"),
    Row("options count only beside the policy",
        run("minor", labels="{keel.sh/policy: major, keel.sh/matchPreRelease: 'false'}"), "1.3.0-rc.1 1.2.4",
        "1.2.4", current="1.2.3"),
    *(Row(f"a {kind}", run("minor", kind=kind), "1.3.0 2.0.0", "1.3.0", current="1.2.3")
      for kind in ("StatefulSet", "DaemonSet", "CronJob")),
    Row("another kind", run("minor", kind="Pod"), "1.3.0", "1.2.3", current="1.2.3"),
    Row("Helm values", values(f"{{policy: minor, trigger: poll, {IMAGE}}}"), "1.3.0 2.0.0", "1.3.0",
        current="1.2.3", file="charts/web/values.yaml",
        keys={"where": {"paths": ["/charts/web/values.yaml"], "field": "image.tag"}}),
    Row("Helm values with whole references",
        values("{policy: all, images: [{repository: app.image}]}", "app: {image: 'a.io/web:1.2.3'}\n"),
        "1.3.0", "1.3.0", current="1.2.3", file="charts/web/values.yaml"),
    Row("values of a HelmRelease",
        "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata: {name: web, namespace: shop}\n"
        f"spec: {{values: {{image: {{repository: {WEB}, tag: 1.2.3}}, keel: {{policy: patch, {IMAGE}}}}}}}\n",
        "1.2.4 1.3.0", "1.2.4", current="1.2.3",
        keys={"where": {"paths": ["/apps/app.yaml"], "kind": "HelmRelease", "namespace": "shop",
                        "name": "web", "field": "spec.values.image.tag"}}),
    Row("values that say never", values(f"{{policy: never, {IMAGE}}}"), "1.3.0", "1.2.3", current="1.2.3"),
    Row("an image without a tag", run("minor", ""), "1.0.0 latest", "1.0.0", differs="KE-10", ours=None),
)  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_the_same_tag_is_chosen(row: Row) -> None:
    check(import_keel, row)


def test_there_are_rows_enough_and_each_has_its_own_name() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS) >= 35


NOTED = {"KE-08": run("minor").replace("    keel.sh/trigger: 'poll'\n", "")}


@pytest.mark.parametrize("number", NOTED)
def test_what_differs_is_said_in_the_report_and_in_the_policy(number: str) -> None:
    found = import_keel({"web.yaml": NOTED[number]})
    (draft,) = found.drafts["shop.yaml"]
    assert [note.source.name for note in found.differs if f"({number})" in note.sentence] == ["web"]
    assert any(f"({number})" in line for line in draft.comments)
    assert not any(f"({number})" in note.sentence for note in import_keel({"web.yaml": run("minor")}).differs)


def test_the_published_differences_are_those_of_the_tables() -> None:
    numbers = published(PAGE)
    assert numbers == sorted(set(numbers))
    assert set(numbers) == used(ROWS) | set(NOTED)


# -- places ---------------------------------------------------------------------------------------------


def wheres(text: str) -> dict[str, Any]:
    """The `where` of each draft, by image."""
    found = import_keel({"apps/web.yaml": text})
    written(found)
    return {
        f"{draft.name} {str(draft.keys['image']).rpartition('/')[2]}": draft.keys["where"]
        for drafts in found.drafts.values()
        for draft in drafts
    }


HERE = {"paths": ["/apps/web.yaml"], "kind": "Deployment", "namespace": "shop", "name": "web"}
TWO = "{containers: [{name: a, image: 'a/a:1.0.0'}, {name: b, image: 'b/b:1.0.0'}], initContainers: [{name: i, image: 'a/a:1.0.0'}]}"  # noqa: E501


def test_the_place_is_the_object() -> None:
    assert wheres(run("minor")) == {"web web": HERE}


def test_init_containers_are_left_alone_unless_they_count() -> None:
    assert wheres(pods(TWO, policy="minor")) == {"web-a a": {**HERE, "container": "a"}, "web-b b": HERE}
    assert wheres(pods(TWO, policy="minor", initContainers="true")) == {"web-a a": HERE, "web-b b": HERE}


def test_monitored_containers_are_found_anywhere_in_the_name() -> None:
    assert list(wheres(pods(TWO, policy="minor", monitorContainers="b|x"))) == ["web b"]


def test_file_names_are_taken_literally() -> None:
    found = import_keel({"apps/[web]*.yaml": run("minor")})
    assert found.drafts["shop.yaml"][0].keys["where"]["paths"] == [r"/apps/\[web\]\*.yaml"]  # type: ignore[index]


def test_several_images_of_helm_values() -> None:
    text = values(
        "{policy: minor, images: [{repository: a.repository, tag: a.tag}, {repository: b.image}]}",
        "a: {repository: a/a, tag: 1.0.0}\nb: {image: 'b/b:1.0.0'}\n",
    )
    assert wheres(text) == {
        "apps-a a": {"paths": ["/apps/web.yaml"], "field": "a.tag"},
        "apps-b b": {"paths": ["/apps/web.yaml"], "field": "b.image"},
    }


def test_names_are_unique_over_all_files() -> None:
    found = import_keel({"a.yaml": run("minor"), "b.yaml": run("minor").replace("shop", "eu")})
    assert [[draft.name for draft in drafts] for drafts in found.drafts.values()] == [["web"], ["web-2"]]
    written(found)


# -- what is left ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (run("minor", pollSchedule="@every 10m"), "`interval` in config.toml"),
        (run("minor", imagePullSecret="creds"), '[registries."ghcr.io".credentials]'),
        (run("minor", notify="chat"), "see [notify] in the config"),
        (run("minor", approvals="2", approvalDeadline="5"), "deadlines of approvals"),
        (run("minor", releaseNotes="https://example.com"), "release notes"),
        (run("never"), 'policy "never"'),
        (run("minor", kind="Job"), "Keel tracks no Job"),
        (run("minor", ""), "has no tag to go on from"),
        (run("minor", "$TAG"), "$TAG"),
        (pods("{containers: [{name: a}]}", policy="minor"), "its images are not in this file"),
        (run("minor", monitorContainers="("), "is no expression: no policy was written"),
        (run("minor", imageVolumes="true"), "images of volumes"),
        (values("{policy: minor, images: [{repository: x.y, tag: x.z}]}"), "is not in these values"),
        ("a: [\n# keel.sh/policy", "could not be read"),
    ],
)
def test_what_cannot_be_carried_over_is_named(text: str, words: str) -> None:
    assert any(words in note.sentence for note in import_keel({"web.yaml": text}).left)


def test_a_broken_file_costs_itself() -> None:
    found = import_keel({"a.yaml": "keel: {{ .x }}: {", "b.yaml": run("minor"), "c.yaml": "{{ x"})
    assert [note.source.file for note in found.left] == ["a.yaml"]
    assert [draft.name for draft in found.drafts["shop.yaml"]] == ["web"]


def test_what_has_nothing_to_do_with_it_is_left_alone() -> None:
    assert import_keel({"a.yaml": run(""), "b.yaml": "x: 1\n"}) == ({}, (), (), ())


def test_the_way_out_is_told() -> None:
    assert "Stop Keel before the first release" in import_keel({"a.yaml": run("minor")}).switch_off[0]


_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.text(max_size=5) | st.sampled_from(["glob:*", "regexp:(", "a:1.0"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["template", "spec", "containers", "image", "name", "policy", "images", "tag"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(_ANYTHING, _ANYTHING, st.sampled_from(["Deployment", "CronJob", "HelmRelease", None]))
def test_nothing_that_is_read_raises(metadata: Any, spec: Any, kind: str | None) -> None:
    text = json.dumps({"kind": kind, "metadata": metadata, "spec": spec, "keel": spec})
    said = json.dumps({"kind": kind, "metadata": {"labels": {"keel.sh/policy": "all"}}, "spec": spec})
    written(import_keel({"a.yaml": text, "b.json": said}))


@given(
    st.sampled_from(["glob:", "regexp:", "newest:", "", "all", "patch", "force"]),
    st.text("a1.*(?P<compare>)-|^$:", max_size=24),
    st.text("abv12.-", min_size=1, max_size=8),
)
def test_any_policy_makes_a_valid_one(kind: str, rest: str, tag: str) -> None:
    written(import_keel({"a.yaml": run(f"{kind}{rest}", tag)}))
