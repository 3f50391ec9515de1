"""Argo CD Image Updater's choices, imported: the same tag, or the published list says why not."""

from __future__ import annotations

import json
from fnmatch import fnmatchcase
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from parts.migration import Row, check, published, used, written

from automator.core.migration.argocd import import_argocd
from automator.core.migration.goglobs import IN_TAGS, spelled
from automator.core.pattern import Glob
from automator.core.site import locate

PREFIX = "argocd-image-updater.argoproj.io"
PAGE = "coming-from/argocd-image-updater.md"
WEB = "ghcr.io/acme/web"


def app(images: str, *, name: str = "shop", spec: str = "", labels: str = "{}", **said: str) -> str:
    """An Application with an image list; `allow_tags` is said of all images, `web__allow_tags` of one."""
    annotations = {"image-list": images} | {_key(key): value for key, value in said.items()}
    lines = "".join(
        f"    {PREFIX}/{key}: '{value.replace(chr(39), chr(39) * 2)}'\n" for key, value in annotations.items()
    )
    spec = spec or "  source: {repoURL: https://git.example.com/x.git, path: apps/shop}\n"
    return (
        "apiVersion: argoproj.io/v1alpha1\nkind: Application\n"
        f"metadata:\n  name: {name}\n  namespace: argocd\n  labels: {labels}\n  annotations:\n{lines}"
        f"spec:\n{spec}"
    )


def _key(key: str) -> str:
    alias, dot, last = key.replace("__", ".").rpartition(".")
    return alias + dot + last.replace("_", "-")


def updater(refs: str, *, spec: str = "", name: str = "all") -> str:
    """An ImageUpdater; `refs` is the list under `applicationRefs` in flow style."""
    return (
        f"apiVersion: {PREFIX}/v1alpha1\nkind: ImageUpdater\nmetadata: {{name: {name}, namespace: argocd}}\n"
        f"spec:\n{spec}  applicationRefs: {refs}\n"
    )


def bare(name: str = "shop", labels: str = "{}") -> str:
    """An Application without annotations."""
    return (
        "---\napiVersion: argoproj.io/v1alpha1\nkind: Application\n"
        f"metadata: {{name: {name}, namespace: argocd, labels: {labels}}}\n"
        "spec: {source: {path: apps/shop}}\n"
    )


def web(constraint: str = "", **said: str) -> str:
    """An Application with the one image `web`."""
    return app(f"web={WEB}{constraint and ':' + constraint}", **{f"web__{k}": v for k, v in said.items()})


def updated(image: str, settings: str = "{}", *, spec: str = "", ref: str = "") -> str:
    """An ImageUpdater with the one image `web` of the Application `shop`."""
    one = f"{{alias: web, imageName: '{image}', commonUpdateSettings: {settings}}}"
    return updater(f"[{{namePattern: shop, images: [{one}]{ref}}}]", spec=spec) + bare()


NEWEST, ALPHABETICAL = {"update_strategy": "newest-build"}, {"update_strategy": "alphabetical"}
SHA = "sha256-" + "0" * 64 + ".sig"

ROWS = (
    # -- semver
    Row("tilde", web("~1.26"), "1.25.0 1.26.0 1.26.3 1.27.0", "1.26.3"),
    Row("caret", web("^1.2"), "1.2.0 1.10.0 2.0.0", "1.10.0"),
    Row("x for the patch", web("1.2.x"), "1.2.5 1.2.12 1.3.0", "1.2.12"),
    Row("x for the minor", web("1.x"), "1.9.0 1.15.2 2.0.0", "1.15.2"),
    Row("a two-part constraint is that minor", web("1.20"), "1.20.1 1.20.9 1.21.0", "1.20.9"),
    Row("an exact version", web("1.2.3"), "1.2.2 1.2.3 1.2.4", "1.2.3"),
    Row("two comparators", web(">=1.0 <2.0"), "1.0.0 1.9.9 2.0.0", "1.9.9"),
    Row("one or the other", web("1.x || 3.x"), "1.9.0 2.0.0 3.1.0 4.0.0", "3.1.0"),
    Row("a hyphen range", web("1.0 - 1.5"), "1.5.0 1.5.7 1.6.0", "1.5.7"),
    Row("not that one", web("^1, !=1.9.0".replace(",", "")), "1.8.0 1.9.0", "1.8.0"),
    Row("v in the constraint, none in the tags", web("v1.x"), "1.0 1.1 2.0", "1.1"),
    Row("v in the tags, none in the constraint", web("1.x"), "v1.0.0 v1.4.0", "v1.4.0"),
    Row("tags of two numbers", web("^1"), "1.1 1.9 1.10 2.0", "1.10", keys={"versions": "lenient"}),
    Row("tags of one number", web(""), "1 2 10", "10"),
    Row("equal versions, the longer name", web("^1"), "1.2 1.2.0 1.1.9", "1.2.0"),
    Row("equal versions, with v and without", web("^1"), "v1.2.0 1.2.0", "v1.2.0"),
    Row("what is no version is skipped", web("*"), "latest main-1 1.0.0 stable", "1.0.0"),
    Row("no constraint", web(""), "1.0.0 2.0.0 10.0.0", "10.0.0", keys={"semver": "*"}),
    Row("pre-releases wait for a range that names one", web("^1"), "1.0.0 1.1.0-rc.1", "1.0.0"),
    Row("a range that names pre-releases", web("2.x-0"), "2.0.0-rc1 1.9.0", "2.0.0-rc1"),
    Row("suffixes are pre-releases", web("^1"), "1.2.0 1.3.0-alpine", "1.2.0"),
    Row("four numbers are no version", web(""), "1.2.3.4 1.0.0", "1.0.0"),
    Row("no version in the range", web("^3"), "1.0.0 2.0.0", None),
    Row("an empty range takes nothing", web(">2 <1"), "1.0.0 2.0.0", None),
    Row("a constraint that is none takes nothing", web("latest"), "1.0.0 latest", None),
    Row("an unknown strategy is semver", web("^1", update_strategy="newst"), "1.0.0 1.1.0 2.0.0", "1.1.0"),
    Row("strategies in capitals", web("^1", update_strategy="SemVer"), "1.0.0 2.0.0", "1.0.0"),
    Row("older releases took pre-releases without a range", web(""), "1.0.0 2.0.0-rc.1", "2.0.0-rc.1",
        differs="AR-01", ours="1.0.0"),
    Row("it goes back where the range says so", web("1.x"), "1.9.0 2.0.0", "1.9.0", current="2.0.0",
        differs="AR-02", ours="2.0.0"),
    Row("it goes back to what is left of the list", web("*"), "1.8.0", "1.8.0", current="1.9.0",
        differs="AR-02", ours="1.9.0"),
    Row("equal versions change places", web("^1"), "1.2.0 v1.2.0", "v1.2.0", current="1.2.0",
        differs="AR-06", ours="1.2.0"),
    # -- newest build, alphabetical
    Row("newest by build time", web(**NEWEST), "a@1 b@3 c@2", "b", keys={"order": "newest"}),
    Row("newest by its old name", web(update_strategy="latest"), "a@1 z@3 c@2", "z"),
    Row("built at the same time", web(**NEWEST), "f33bacd@3 dev@3 latest@3", "latest"),
    Row("newest has no use for a constraint", web("^1", **NEWEST), "1.0.0@1 2.0.0@2", "2.0.0"),
    Row("no build time, no candidate", web(**NEWEST), "a@1 b@?", "a"),
    Row("newest of commits", web(allow_tags="regexp:^[0-9a-f]{7}$", **NEWEST),
        "a5fb3d3@1 f7bb2e3@2 latest@3 master@3", "f7bb2e3", keys={"regex": "[0-9a-f]{7}"}),
    Row("newest but for some", web(ignore_tags="latest, master", **NEWEST), "f7bb2e3@2 latest@3 master@4",
        "f7bb2e3", keys={"exclude": ["latest", "master"]}),
    Row("the build of a signature", web(**NEWEST), f"web@1 {SHA}@2", SHA, differs="AR-03", ours="web"),
    Row("newest goes back in time", web(**NEWEST, allow_tags="regexp:^r"), "r1@1 r2@2 main@3", "r2",
        current="main", differs="AR-02", ours="main"),
    Row("alphabetical", web(**ALPHABETICAL), "2024-01-02 2024-01-10 2023-12-31", "2024-01-10"),
    Row("alphabetical by its old name", web(update_strategy="name"), "a c b", "c"),
    Row("capitals come first", web(**ALPHABETICAL), "Z a", "a"),
    Row("alphabetical is not numeric", web(**ALPHABETICAL), "build-9 build-10", "build-9"),
    Row("alphabetical with an expression",
        web(allow_tags="regexp:^[0-9]{4}-[0-9]{2}$", **ALPHABETICAL), "2024-01 2024-02 latest", "2024-02"),
    Row("the name of a signature", web(**ALPHABETICAL), f"main {SHA}", SHA, differs="AR-03", ours="main"),
    # -- filters
    Row("an expression is found anywhere", web(allow_tags="regexp:alpine", **NEWEST),
        "1-alpine@1 alpine-2@2 2@3", "alpine-2", keys={"regex": ".*?alpine.*"}),
    Row("an expression at the beginning", web("^1", allow_tags="regexp:^1.2"), "1.2.0 1.21.0 1.3.0 11.2.0",
        "1.21.0"),
    Row("one of two, each with one anchor", web(allow_tags="regexp:^a|b$", **ALPHABETICAL), "ax xb xx zb az",
        "zb"),
    Row("a flag", web(allow_tags="regexp:(?i)^RC", **ALPHABETICAL), "rc1 RC2 x", "rc1"),
    Row("a group called key compares nothing", web("*", allow_tags="regexp:^v(?P<key>[0-9])"),
        "v1.9.0 v1.10.0 3.0.0", "v1.10.0"),
    Row("any", web("^1", allow_tags="any"), "1.0.0 1.1.0", "1.1.0"),
    Row("an empty expression", web("^1", allow_tags="regexp:"), "1.0.0 1.1.0", "1.1.0"),
    Row("a broken expression takes nothing", web(allow_tags="regexp:(", **NEWEST), "a@1", None),
    Row("an unknown filter takes nothing", web(allow_tags="~1.0"), "1.0.0", None),
    Row("two groups of one name are no expression in Go",
        web(allow_tags="regexp:(?P<a>1)(?P<a>2)", **ALPHABETICAL), "12", None),
    Row("the old name of the filter", web("*", tag_match="regexp:^1"), "1.0.0 2.0.0", "1.0.0"),
    Row("a star in what is ignored", web("*", ignore_tags="1.9.*"), "1.8.0 1.9.0 1.9.1", "1.8.0"),
    Row("a class in what is ignored", web("*", ignore_tags="1.[3-9].*"), "1.2.0 1.3.0 1.9.0", "1.2.0",
        keys={"exclude": [f"1.{n}.*" for n in range(3, 10)]}),
    Row("any character in what is ignored", web("*", ignore_tags="1.1.?"), "1.1.0 1.1.10 1.1.9", "1.1.10"),
    Row("all but one in what is ignored", web(ignore_tags="[^r]*", **ALPHABETICAL), "r1 s2 x", "r1"),
    Row("a broken pattern ignores nothing", web("*", ignore_tags="1.[0"), "1.0.0", "1.0.0"),
    Row("a pattern that no tag can match", web("*", ignore_tags="a b, 1.0.0"), "0.9.0 1.0.0", "0.9.0"),
    Row("everything ignored is a pause", web("*", ignore_tags="*"), "1.0.0", None, keys={"exclude": None}),
    Row("too many characters in what is ignored", web("*", ignore_tags="1.0.??"), "1.0.10 1.0.1", "1.0.1",
        differs="AR-09", ours=None),
    Row("too long an expression", web("*", allow_tags="regexp:^" + "1|" * 260 + "2"), "1.0.0", "1.0.0",
        differs="AR-10", ours=None),
    # -- levels
    Row("of the whole Application", app(f"web={WEB}", update_strategy="name"), "1.10 1.9", "1.9"),
    Row("the image over the Application",
        app(f"web={WEB}", update_strategy="name", web__update_strategy="semver"), "1.10 1.9", "1.10"),
    Row("without alias only the Application's settings count",
        app(WEB, update_strategy="name", web__update_strategy="semver"), "1.10 1.9", "1.9"),
    Row("a slash in an alias", app(f"a/web={WEB}", a_web__update_strategy="name"), "1.10 1.9", "1.9"),
    Row("several images, and blanks",
        app(f"db=postgres:16 , web={WEB}:^1,"), "1.0.0 1.1.0 2.0.0", "1.1.0", workload="shop-web"),
    Row("a registry with a port", app("web=registry.example.com:5000/web:~2.1"), "2.1.0 2.1.5 2.2.0", "2.1.5",
        keys={"image": "registry.example.com:5000/web"}),
    # -- digest
    Row("a moving tag", web("latest", update_strategy="digest"), "1.0.0 latest", "latest",
        keys={"follow": "latest"}),
    Row("a moving tag that the filter allows",
        web("stable", update_strategy="digest", allow_tags="regexp:^s"), "stable", "stable"),
    Row("a moving tag that the filter refuses",
        web("stable", update_strategy="digest", allow_tags="regexp:^v"), "stable", None),
    Row("a moving tag that is ignored", web("dev", update_strategy="digest", ignore_tags="d*"), "dev", None),
    Row("digest without a tag takes nothing", web(update_strategy="digest"), "latest", None),
    # -- ImageUpdaters
    Row("a custom resource", updated(f"{WEB}:^1"), "1.0.0 1.1.0 2.0.0", "1.1.0"),
    Row("settings of the image", updated(WEB, "{updateStrategy: newest-build}"), "a@2 b@1", "a"),
    Row("settings of the whole",
        updated(WEB, spec="  commonUpdateSettings: {updateStrategy: alphabetical}\n"), "1.10 1.9", "1.9"),
    Row("settings of the ref over those of the whole",
        updated(
            WEB,
            spec="  commonUpdateSettings: {updateStrategy: alphabetical, allowTags: 'regexp:^1'}\n",
            ref=", commonUpdateSettings: {updateStrategy: semver}",
        ), "1.10 1.9 2.0", "1.10"),
    Row("lists of the custom resource", updated(f"{WEB}:*", "{ignoreTags: ['2.*', latest]}"), "1.0.0 2.0.0",
        "1.0.0"),
    Row("images under the spec, as at first",
        updater("[{namePattern: shop}]", spec=f"  images: [{{alias: w, imageName: '{WEB}:^1'}}]\n") + bare(),
        "1.0.0 2.0.0", "1.0.0"),
)  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_the_same_tag_is_chosen(row: Row) -> None:
    check(import_argocd, row)


def test_there_are_rows_enough_and_each_has_its_own_name() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS) >= 50


# -- what differs beside the choice of a tag ------------------------------------------------------------

NOTED = {
    "AR-04": web("^1", platforms="linux/amd64, linux/arm64"),
    "AR-05": web("latest", update_strategy="digest"),
    "AR-07": web("^1"),
    "AR-08": app(
        f"web={WEB}",
        write_back_method="git",
        write_back_target="kustomization",
        **{"web__kustomize.image_name": "web"},
    ),
}


@pytest.mark.parametrize("number", NOTED)
def test_what_differs_is_said_in_the_report_and_in_the_policy(number: str) -> None:
    found = import_argocd({"app.yaml": NOTED[number]})
    (draft,) = found.drafts["argocd.yaml"]
    assert [note.source.name for note in found.differs if f"({number})" in note.sentence] == ["shop"]
    assert any(f"({number})" in line for line in draft.comments)


def test_the_published_differences_are_those_of_the_tables() -> None:
    numbers = published(PAGE)
    assert numbers == sorted(set(numbers))
    assert set(numbers) == used(ROWS) | set(NOTED)


# -- places ---------------------------------------------------------------------------------------------


def where(text: str, files: dict[str, str] | None = None) -> Any:
    """The `where` of the only draft."""
    found = import_argocd({"apps/app.yaml": text} | (files or {}))
    written(found)
    (draft,) = [one for drafts in found.drafts.values() for one in drafts]
    return draft.keys.get("where")


def git(target: str = "", source: str = "{path: apps/shop}", *, kind: str = "source", **said: str) -> str:
    """An Application that is written back to Git."""
    targets = {"write_back_target": target} if target else {}
    return app(
        f"web={WEB}",
        spec=f"  {kind}: {source}\n",
        write_back_method="git",
        **targets,
        **said,
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (git(), {"paths": ["/apps/shop/**"]}),
        (git("kustomization"), {"paths": ["/apps/shop/kustomization.yaml"]}),
        (git("kustomization:../../base"), {"paths": ["/base/kustomization.yaml"]}),
        (git("kustomization:/config/prod"), {"paths": ["/config/prod/kustomization.yaml"]}),
        (git("helmvalues:values-prod.yaml"), {"paths": ["/apps/shop/values-prod.yaml"]}),
        (git("helmvalues:/env/prod.yaml"), {"paths": ["/env/prod.yaml"]}),
        (git("helmvalues"), {"paths": ["/apps/shop/values.yaml"]}),
        (
            git("helmvalues:v.yaml", **{"web__helm.image_tag": "web.image.tag"}),
            {"paths": ["/apps/shop/v.yaml"], "field": "web.image.tag"},
        ),
        (
            git("helmvalues:v.yaml", **{"web__helm.image_tag": "t", "web__helm.image_spec": "l[0].image"}),
            {"paths": ["/apps/shop/v.yaml"], "field": "l[0].image"},
        ),
        (git("helmvalues:../../../../v.yaml"), None),
        (git("kustomization", "{path: '.'}"), {"paths": ["/kustomization.yaml"]}),
        (git("", "{path: './'}"), {"paths": ["/*.yaml", "/*.yml", "/*.json"]}),
        (git("", "{chart: web, repoURL: https://charts.example.com}"), None),
        (git("", "{path: 'a[b]/c*'}"), {"paths": [r"/a\[b\]/c\*/**"]}),
        (
            git("", "{path: c/web, helm: {valueFiles: [values.yaml, ../../o/p.yaml, /t.yaml, 'https://x/y']}}"),
            {"paths": ["/c/web/**", "/o/p.yaml", "/t.yaml"]},
        ),
        (
            git("", "[{chart: c, helm: {valueFiles: [$v/web/v.yaml]}}, {ref: v}]", kind="sources"),
            {"paths": ["/web/v.yaml"]},
        ),
        (
            git("kustomization", "[{chart: r}, {path: k, kustomize: {}}, {path: h}]", kind="sources"),
            {"paths": ["/k/kustomization.yaml"]},
        ),
        (
            git("helmvalues:v.yaml", "[{path: k, kustomize: {}}, {path: h, helm: {}}]", kind="sources"),
            {"paths": ["/h/v.yaml"]},
        ),
        (app(f"web={WEB}"), {"paths": ["/apps/shop/**"]}),
        (
            app(f"web={WEB}", spec=f"  source: {{path: apps, kustomize: {{images: ['{WEB}:1.0.0']}}}}\n"),
            {"paths": ["/apps/app.yaml"], "kind": "Application", "name": "shop"},
        ),
    ],
)  # fmt: skip
def test_the_places_are_those_that_are_written_back_to(text: str, expected: Any) -> None:
    assert where(text) == expected


def test_the_file_of_overrides_is_owned_where_there_is_one() -> None:
    file = "apps/shop/.argocd-source-shop.yaml"
    override = f"kustomize:\n  images:\n  - {WEB}:1.0.0\n"
    found = import_argocd({"app.yaml": git(), file: override})
    (draft,) = found.drafts["argocd.yaml"]
    assert draft.keys["where"] == {"paths": [f"/{file}"]}
    assert any(file in sentence for sentence in found.switch_off)
    sites = locate(override, file.rpartition("/")[2]).sites
    assert [(str(site.repository), site.tag) for site in sites] == [(WEB, "1.0.0")]


def test_a_kustomization_by_another_name() -> None:
    assert where(git("kustomization"), {"apps/shop/kustomization.yml": "images: []\n"}) == {
        "paths": ["/apps/shop/kustomization.yml"]
    }


def test_an_application_set_is_its_template() -> None:
    text = (
        "apiVersion: argoproj.io/v1alpha1\nkind: ApplicationSet\nmetadata: {name: shops, namespace: argocd}\n"
        "spec:\n  template:\n    metadata:\n      name: '{{path.basename}}-shop'\n      annotations:\n"
        f"        {PREFIX}/image-list: web={WEB}:^1\n        {PREFIX}/write-back-method: git\n"
        "    spec:\n      project: team\n      source: {path: 'apps/{{path.basename}}/shop'}\n"
    )
    found = import_argocd({"set.yaml": text})
    (draft,) = found.drafts["team.yaml"]
    assert draft.name == "shops"
    assert draft.keys["where"] == {"paths": ["/apps/*/shop/**"]}


# -- several objects ----------------------------------------------------------------------------------


def drafts(*texts: str) -> dict[str, Any]:
    """The drafts by name."""
    found = import_argocd({f"{n}.yaml": text for n, text in enumerate(texts)})
    written(found)
    return {draft.name: draft.keys for some in found.drafts.values() for draft in some}


def test_the_ref_that_fits_best_counts() -> None:
    refs = "[{namePattern: '*', images: [{alias: a, imageName: a}]}, {namePattern: 'shop*', images: [{alias: d, imageName: d}]}, {namePattern: shop, images: [{alias: b, imageName: b}]}, {namePattern: 'sh*', images: [{alias: c, imageName: c}]}]"  # noqa: E501
    found = drafts(updater(refs), bare(), bare("shed"), bare("web"))
    assert {name: keys["image"].rpartition("/")[2] for name, keys in found.items()} == {
        "shop": "b",
        "shed": "c",
        "web": "a",
    }


def test_labels_select() -> None:
    ref = "{namePattern: '*', labelSelectors: {matchLabels: {team: shop}, matchExpressions: [{key: env, operator: NotIn, values: [dev]}]}, images: [{alias: a, imageName: a}]}"  # noqa: E501
    found = drafts(
        updater(f"[{ref}]"),
        bare("one", "{team: shop, env: prod}"),
        bare("two", "{team: shop, env: dev}"),
        bare("three", "{team: web}"),
    )
    assert list(found) == ["one"]


def test_annotations_count_where_the_custom_resource_says_so() -> None:
    one = app(f"web={WEB}:^1")
    assert list(drafts(updater("[{namePattern: '*', useAnnotations: true}]"), one)) == ["shop"]
    found = import_argocd(
        {"a.yaml": updater("[{namePattern: '*', images: [{alias: x, imageName: x}]}]"), "b.yaml": one}
    )
    assert [draft.keys["image"] for draft in found.drafts["argocd.yaml"]] == ["docker.io/library/x"]
    assert any("its annotations were not read" in note.sentence for note in found.left)


def test_two_applications_that_say_the_same_of_the_same_places_are_one_workload() -> None:
    one, two = git(), git().replace("name: shop", "name: other")
    assert list(drafts(one, two)) == ["shop"]


def test_names_are_unique_over_all_files() -> None:
    one = git("kustomization:/a")
    two = git("kustomization:/b", "{path: x}").replace("spec:\n", "spec:\n  project: team\n")
    assert sorted(drafts(one, two)) == ["shop", "shop-2"]


# -- what is left -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (web("^1", pull_secret="pullsecret:argocd/creds"), '[registries."ghcr.io".credentials]'),
        (git(git_branch="main"), "`branch` of [repos.NAME]"),
        (git(git_write_branch="x-{{.SHA256}}"), "pushes to the branch that it reads"),
        (git(git_repository="https://git.example.com/y.git"), "`url` of [repos.NAME]"),
        (app(f"web={WEB}", write_back_method="git:secret:a/b"), "[repos.NAME.credentials]"),
        (app(f"web={WEB}", foo__allow_tags="any"), "`foo.allow-tags` is about no image"),
        (app("web={{image}}"), "{{image}}"),
        (
            updated(WEB, spec="  writeBackConfig: {method: git, gitConfig: {pullRequest: {github: {}}}}\n"),
            "say `deliver: pull-request`",
        ),
        (updated(WEB, spec="  imagesVerification: {enabled: true}\n"), "signatures are not checked"),
        ("a: [\n# " + PREFIX, "could not be read"),
    ],
)
def test_what_cannot_be_carried_over_is_named(text: str, words: str) -> None:
    assert any(words in note.sentence for note in import_argocd({"app.yaml": text}).left)


def test_what_has_nothing_to_do_with_it_is_left_alone() -> None:
    found = import_argocd({"a.yaml": bare(), "b.yaml": "{{ x", "c.yaml": "kind: Deployment\n", "d.txt": "x"})
    assert found == ({}, (), (), ())


def test_a_broken_file_costs_itself() -> None:
    found = import_argocd({"a.yaml": f"a: {{{{ {PREFIX}", "b.yaml": web("^1")})
    assert [note.source.file for note in found.left] == ["a.yaml"]
    assert [draft.name for draft in found.drafts["argocd.yaml"]] == ["shop"]


def test_the_way_out_is_told() -> None:
    annotated, resource = import_argocd({"a.yaml": web("^1")}), import_argocd({"a.yaml": updated(WEB)})
    assert "Remove the annotations" in annotated.switch_off[1]
    assert resource.switch_off[1] == "Delete ImageUpdater all"
    assert any("argocd app unset" in sentence for sentence in annotated.switch_off)


_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.text(max_size=5) | st.sampled_from(["regexp:(", "^1", "digest", "*"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "spec",
                    "metadata",
                    "annotations",
                    "applicationRefs",
                    "images",
                    "imageName",
                    "alias",
                    "namePattern",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.sampled_from(["Application", "ApplicationSet", "ImageUpdater"]), _ANYTHING, _ANYTHING)
def test_nothing_that_is_read_raises(kind: str, metadata: Any, spec: Any) -> None:
    api = f"{PREFIX}/v1alpha1" if kind == "ImageUpdater" else "argoproj.io/v1alpha1"
    text = json.dumps({"apiVersion": api, "kind": kind, "metadata": metadata, "spec": spec})
    written(import_argocd({"a.json": text, "b.yaml": bare()}))


@given(st.text(max_size=20), st.text(max_size=20), st.text("dig^est:regxp()*[]1.~", max_size=20))
def test_any_settings_make_a_valid_policy(image: str, strategy: str, allow: str) -> None:
    said = {f"{PREFIX}/image-list": f"w={WEB}:{image}", f"{PREFIX}/update-strategy": strategy,
            f"{PREFIX}/allow-tags": f"regexp:{allow}", f"{PREFIX}/ignore-tags": allow}  # fmt: skip
    one = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
           "metadata": {"name": image, "annotations": said},
           "spec": {"source": {"path": strategy}}}  # fmt: skip
    written(import_argocd({"a.json": json.dumps(one)}))


# -- globs --------------------------------------------------------------------------------------------

_PIECE = st.sampled_from(["*", "?", "a", "1", ".", "-", "[a-c]", "[^a]", "[1-3]", "\\a"])


@given(
    st.lists(_PIECE, min_size=1, max_size=4).map("".join),
    st.text("abcd12.-", min_size=1, max_size=6).filter(lambda tag: tag[0] not in ".-"),
)
def test_a_glob_of_go_says_the_same_spelled_out(glob: str, tag: str) -> None:
    found = spelled(glob)
    if found.too_many:
        return
    # Python's matching knows the same signs, but for the spelling of two.
    theirs = fnmatchcase(tag, glob.replace("[^", "[!").replace("\\a", "a"))
    assert any(Glob.parse(one).key(tag) is not None for one in found.globs) == theirs
    assert all(set(one) <= {*IN_TAGS, "*"} for one in found.globs)


@pytest.mark.parametrize("glob", ["[", "[a", "[]", "[a-]", "[-a]", "a\\", "[^]", "[a\\"])
def test_what_is_no_pattern_in_go_matches_nothing(glob: str) -> None:
    assert spelled(glob) == ((), "it is no pattern", False)
