"""Places: what the old tool leaves alone stays alone, and what it manages is owned, for every importer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import pytest
from parts.claiming import assign
from parts.migration import Importer, written

from automator.core.migration.argocd import import_argocd
from automator.core.migration.expressions import compiles, keyed
from automator.core.migration.flux1 import import_flux1
from automator.core.migration.flux2 import import_flux2
from automator.core.migration.keel import import_keel
from automator.core.pattern import Expression
from automator.core.policy import Workload
from automator.core.site import locate
from automator.core.writers import Writers, said_by_manifest
from automator.core.yamltext import parse

WEB = "ghcr.io/acme/web"
IMAGE_UPDATER = "argocd-image-updater.argoproj.io"


@dataclass(frozen=True)
class Story:
    """A config repo, and the places in it that the old tool manages."""

    name: str
    importer: Importer
    files: Mapping[str, str]
    owned: frozenset[tuple[str, str]]
    """Files and namespaces of documents (empty where they say none)."""
    stopped: bool = False
    """Whether something is held until a person has looked."""

    def __str__(self) -> str:
        return self.name


def owned(importer: Importer, files: Mapping[str, str]) -> tuple[frozenset[tuple[str, str]], bool]:
    """The places that the imported policies would write to, and whether any workload is held."""
    workloads = written(importer(files)).workloads
    fields = tuple(sorted({one.where.field for one in workloads if one.where.field is not None}))
    sites = [
        replace(site, file=file)
        for file, text in files.items()
        for site in locate(text, file.rpartition("/")[2], fields).sites
    ]
    claims = assign(sites, workloads)
    assert claims.problems == {}
    free = [one for one in workloads if isinstance(one, Workload) and one.hold is None]
    places = {(site.file, site.namespace or "") for one in free for site in claims.sites[one.name]}
    return frozenset(places), len(free) < len(workloads)


def pod(said: str = "", *, namespace: str = "", marker: str = "") -> str:
    """A Deployment `web`."""
    placed = f", namespace: {namespace}" if namespace else ""
    comment = f' # {{"$imagepolicy": "{marker}"}}' if marker else ""
    return (
        f"---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web{placed}{said}}}\nspec:\n"
        f"  template:\n    spec:\n      containers:\n      - name: app\n        image: {WEB}:1.4.0{comment}\n"
    )


def helm(said: str = "", *, namespace: str = "", keel: str = "") -> str:
    """A HelmRelease `web`."""
    placed = f", namespace: {namespace}" if namespace else ""
    return (
        f"---\napiVersion: helm.fluxcd.io/v1\nkind: HelmRelease\nmetadata: {{name: web{placed}{said}}}\n"
        f"spec:\n  values:\n    image: {{repository: {WEB}, tag: 1.4.0}}\n{keel}"
    )


def only(*places: str) -> frozenset[tuple[str, str]]:
    """Places as `file` or `file:namespace`."""
    return frozenset((file, space) for file, _, space in (place.partition(":") for place in places))


# -- Flux v1 -------------------------------------------------------------------------------------------

AUTO = ', annotations: {fluxcd.io/automated: "true"}'
FLUX1 = [
    Story("another environment", import_flux1,
          {"staging/w.yaml": pod(AUTO), "prod/w.yaml": pod()}, only("staging/w.yaml")),
    Story("a HelmRelease of another environment", import_flux1,
          {"staging/w.yaml": helm(AUTO), "prod/w.yaml": helm()}, only("staging/w.yaml")),
    Story("two automated, one without a namespace", import_flux1,
          {"a.yaml": pod(AUTO), "b.yaml": pod(AUTO, namespace="prod")}, only("a.yaml", "b.yaml:prod")),
    Story("another namespace of one file", import_flux1,
          {"a.yaml": pod(AUTO, namespace="s") + pod(namespace="p")}, only("a.yaml:s")),
    Story("what cannot be told from another is left out", import_flux1,
          {"a.yaml": pod(AUTO) + pod(namespace="p"), "b.yaml": pod(AUTO)}, only("b.yaml")),
    Story("two automated of one file", import_flux1,
          {"a.yaml": pod(AUTO) + pod(AUTO, namespace="p")}, only("a.yaml:p")),
]  # fmt: skip

# -- Keel ------------------------------------------------------------------------------------------------

KEEL = ", annotations: {keel.sh/policy: all}"
BLOCK = "    keel: {policy: all, images: [{repository: image.repository, tag: image.tag}]}\n"
KEELS = [
    Story("another environment", import_keel,
          {"staging/w.yaml": pod(KEEL), "prod/w.yaml": pod()}, only("staging/w.yaml")),
    Story("another namespace of one file", import_keel,
          {"a.yaml": pod(KEEL, namespace="s") + pod(namespace="p")}, only("a.yaml:s")),
    Story("a HelmRelease of another namespace", import_keel,
          {"a.yaml": helm(namespace="s", keel=BLOCK) + helm(namespace="p")}, only("a.yaml:s")),
    Story("two HelmReleases of one file", import_keel,
          {"a.yaml": helm(namespace="s", keel=BLOCK) + helm(namespace="p", keel=BLOCK)},
          only("a.yaml:s", "a.yaml:p")),
    Story("what cannot be told from another is left out", import_keel,
          {"a.yaml": pod(KEEL) + pod(namespace="p"), "b.yaml": pod(KEEL)}, only("b.yaml")),
    Story("one that says never", import_keel,
          {"a.yaml": pod(KEEL), "b.yaml": pod(", annotations: {keel.sh/policy: never}")}, only("a.yaml")),
]  # fmt: skip

# -- Flux v2 -----------------------------------------------------------------------------------------------

API = "apiVersion: image.toolkit.fluxcd.io/v1\n"
POLICY = (
    f"---\n{API}kind: ImageRepository\nmetadata: {{name: web, namespace: f}}\nspec: {{image: {WEB}}}\n"
    f"---\n{API}kind: ImagePolicy\nmetadata: {{name: web, namespace: f}}\n"
    "spec: {imageRepositoryRef: {name: web}, policy: {semver: {range: '>=1'}}}\n"
)


def automation(path: str, *, repo: str = "c", suspend: bool = False) -> str:
    """An ImageUpdateAutomation."""
    name = path.strip("./").replace(" ", "-") or "all"
    return (
        f"---\n{API}kind: ImageUpdateAutomation\nmetadata: {{name: {name}-{repo}, namespace: f}}\n"
        f"spec: {{suspend: {str(suspend).lower()}, sourceRef: {{kind: GitRepository, name: {repo}}}, "
        f"update: {{path: '{path}'}}}}\n"
    )


def clusters(*automations: str) -> dict[str, str]:
    """Two environments with the markers of one policy."""
    marked = pod(marker="f:web")
    return {"cl.yaml": POLICY + "".join(automations), "staging/w.yaml": marked, "prod/w.yaml": marked}


BOTH = only("staging/w.yaml", "prod/w.yaml")
FLUX2 = [
    Story("a folder that no automation writes", import_flux2,
          clusters(automation("./staging")), only("staging/w.yaml")),
    Story("a suspended automation", import_flux2,
          clusters(automation("./staging"), automation("./prod", suspend=True)), only("staging/w.yaml")),
    Story("all suspended", import_flux2, clusters(automation("./staging", suspend=True)), only(), True),
    Story("another config repo", import_flux2,
          clusters(automation("./staging"), automation("./", repo="other")), only(), True),
    Story("a folder outside", import_flux2, clusters(automation("../x")), only(), True),
    Story("a folder with blanks", import_flux2,
          {"cl.yaml": POLICY + automation("./st aging"), "st aging/w.yaml": pod(marker="f:web"),
           "prod/w.yaml": pod(marker="f:web")}, only("st aging/w.yaml")),
    Story("everything", import_flux2, clusters(automation("./")), BOTH),
    Story("a place without a marker", import_flux2,
          {**clusters(automation("./")), "qa/w.yaml": pod()}, BOTH),
]  # fmt: skip

# -- Argo CD Image Updater ----------------------------------------------------------------------------------


def said(**more: str) -> str:
    """Annotations of an image list."""
    lines = {"image-list": f"web={WEB}:^1", **{key.replace("_", "-"): value for key, value in more.items()}}
    return "".join(f"\n    {IMAGE_UPDATER}/{key}: {value!r}" for key, value in lines.items())


def app(source: str, *, name: str = "staging", watched: bool = True, **more: str) -> str:
    """An Application."""
    notes = f"\n  annotations:{said(**more)}" if watched else ""
    return (
        f"---\napiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata:\n  name: {name}{notes}\n"
        f"spec:\n  source: {{{source}}}\n"
    )


def app_set(generators: str, path: str) -> str:
    """An ApplicationSet."""
    notes = said().replace("\n", "\n    ")
    return (
        "apiVersion: argoproj.io/v1alpha1\nkind: ApplicationSet\nmetadata: {name: s}\nspec:\n"
        f"  generators: {generators}\n  template:\n    metadata:\n      name: 'web-{{{{env}}}}'\n"
        f"      annotations:{notes}\n    spec:\n      source: {{path: '{path}'}}\n"
    )


PODS = {"envs/staging/w.yaml": pod(), "envs/prod/w.yaml": pod()}
UPDATER = (
    f"apiVersion: {IMAGE_UPDATER}/v1alpha1\nkind: ImageUpdater\nmetadata: {{name: iu}}\nspec:\n"
    f"  applicationRefs: [{{namePattern: x, images: [{{alias: web, imageName: '{WEB}:^1'}}]}}]\n"
)
STAGING = only("envs/staging/w.yaml")
ARGO = [
    Story("another folder", import_argocd, {**PODS, "a.yaml": app("path: envs/staging")}, STAGING),
    Story("a chart", import_argocd, {**PODS, "a.yaml": app("chart: web")}, only(), True),
    Story("a target outside", import_argocd,
          {**PODS, "a.yaml": app("path: envs/staging, helm: {}", write_back_method="git",
                                 write_back_target="helmvalues:../../../x.yaml")}, only(), True),
    Story("no Application", import_argocd, {**PODS, "a.yaml": UPDATER}, only(), True),
    Story("a literal list", import_argocd,
          {**PODS, "a.yaml": app_set("[{list: {elements: [{env: staging}]}}]", "envs/{{env}}")}, STAGING),
    Story("a literal list of whole paths", import_argocd,
          {**PODS, "a.yaml": app_set("[{list: {elements: [{env: envs/staging}]}}]", "{{ .env }}")}, STAGING),
    Story("another generator", import_argocd,
          {**PODS, "a.yaml": app_set("[{git: {}}]", "envs/{{env}}")}, only(), True),
    Story("another generator of whole paths", import_argocd,
          {**PODS, "a.yaml": app_set("[{git: {}}]", "{{env}}")}, only(), True),
    Story("a plain folder does not recurse", import_argocd,
          {**PODS, "envs/w.yaml": pod(), "a.yaml": app("path: envs")}, only("envs/w.yaml")),
    Story("a folder of another Application", import_argocd,
          {**PODS, "a.yaml": app("path: envs, directory: {recurse: true}")
           + app("path: envs/prod", name="prod", watched=False)}, STAGING),
    Story("a folder of which some files count", import_argocd,
          {**PODS, "a.yaml": app("path: envs, directory: {recurse: true, exclude: 'prod/*'}")}, only(), True),
    Story("another image of a longer name", import_argocd,
          {**PODS, "a.yaml": app(f"path: envs/staging, helm: {{parameters: [{{value: {WEB}-admin}}]}}")},
          STAGING),
]  # fmt: skip


@pytest.mark.parametrize("story", [*FLUX1, *KEELS, *FLUX2, *ARGO], ids=lambda s: f"{s.importer.__name__} {s}")
def test_only_what_the_old_tool_manages_is_owned(story: Story) -> None:
    assert owned(story.importer, story.files) == (story.owned, story.stopped)


@pytest.mark.parametrize(
    ("pattern", "rules", "follows"),
    [
        ("^latest$", "alphabetical: {order: asc}", True),
        ("^latest$", "semver: {range: '*'}", False),
        ("^1[.]4[.]0$", "semver: {range: '*'}", False),
        ("^2$", "numerical: {order: asc}", True),
        ("^main$", "numerical: {order: asc}", False),
        (r"^1\\.4\\.0$", "semver: {range: '>=1'}", True),
        (r"^1\\.4\\.0$", "semver: {range: '>=2'}", False),
        (r"^x\\.sig$", "alphabetical: {order: asc}", False),
    ],
)
def test_a_tag_is_followed_only_if_flux_would_take_it(pattern: str, rules: str, follows: bool) -> None:
    text = POLICY.replace(
        "policy: {semver: {range: '>=1'}}",
        f'digestReflectionPolicy: Always, filterTags: {{pattern: "{pattern}"}}, policy: {{{rules}}}',
    )
    (draft,) = import_flux2({"a.yaml": text}).drafts["f.yaml"]
    assert ("follow" in draft.keys) is follows


def test_a_branch_to_write_to_is_told_and_is_no_part_of_the_one_to_read() -> None:
    text = app("path: envs", write_back_method="git", git_branch="main:iu-{{.SHA256}}")
    told = [note.sentence for note in import_argocd({"a.yaml": text}).left]
    assert "branch main: `branch` of [repos.NAME] in config.toml" in told
    assert any("pushes to the branch that it reads" in sentence for sentence in told)


def test_text_after_what_is_extracted_orders_too() -> None:
    found = keyed("^(?P<v>.*)-rel$", "$v-rel", textual=True)
    assert found is not None
    expression = Expression.parse(found.regex)
    assert [expression.key(tag) for tag in ("1.0-rel", "1.0-hotfix-rel")] == ["1.0-rel", "1.0-hotfix-rel"]
    assert keyed("^(?P<v>.*)-rel$", "$v-end", textual=True) is None


def test_two_groups_of_one_name_are_no_expression_of_go() -> None:
    assert not compiles("(?P<t>a)-(?P<t>[0-9]+)")
    assert compiles("(?P<t>a)-(?P<u>[0-9]+)")


def test_keel_is_another_writer_only_in_the_namespace_that_it_watches() -> None:
    text = pod(KEEL, namespace="s") + pod(namespace="p")
    writers = Writers([said_by_manifest("a.yaml", text, parse(text))])
    sites = [replace(site, file="a.yaml") for site in locate(text, "a.yaml").sites]
    assert [(site.namespace, len(list(writers.at(site)))) for site in sites] == [("s", 1), ("p", 0)]
