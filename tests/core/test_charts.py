"""Versions of OCI charts and artifacts: found as Flux, Argo CD, Helm, Kustomize and helmfile write them."""

from __future__ import annotations

import textwrap

import pytest

from automator.core.charts import find, sources
from automator.core.fields import Printer
from automator.core.found import Awaits, Found
from automator.core.rewrite import Edit, rewrite
from automator.core.site import locate
from automator.core.sources import Source
from automator.core.yamltext import parse

DIGEST = "sha256:" + "0123456789abcdef" * 4


def places(text: str, name: str = "release.yaml") -> list[Found]:
    documents = parse(textwrap.dedent(text))
    given = sources(documents)
    return [place for document in documents for place in find(document, name, given)]


def seen(text: str, name: str = "release.yaml") -> list[tuple[str, str, str]]:
    """Field, written repository and value of each place."""
    printer = Printer()
    return [
        (printer.path(p.pieces[0].link), p.spelled.written, p.pieces[0].node.value)  # type: ignore[union-attr]
        for p in places(text, name)
    ]


def oci_repository(ref: str, url: str = "oci://ghcr.io/acme/web") -> str:
    return (
        f"kind: OCIRepository\nmetadata: {{name: web, namespace: flux}}\nspec:\n  url: {url}\n  ref: {ref}\n"
    )


# -- Flux --------------------------------------------------------------------------------------------


def test_an_oci_repository_is_named_by_its_url() -> None:
    text = oci_repository("{tag: 1.4.2}")
    (place,) = places(text)
    assert seen(text) == [("spec.ref.tag", "oci://ghcr.io/acme/web", "1.4.2")]
    assert str(place.spelled.repository) == "ghcr.io/acme/web"
    assert (place.spelled.tag, place.spelled.digest) == ("1.4.2", None)
    assert (place.owner.kind, place.owner.namespace, place.owner.name) == ("OCIRepository", "flux", "web")


@pytest.mark.parametrize(
    ("ref", "version", "pieces"),
    [
        (f"{{tag: 'v1@{DIGEST}'}}", ("v1", DIGEST), ["tag"]),
        (f"{{tag: v1, digest: '{DIGEST}'}}", ("v1", DIGEST), ["tag", "digest"]),
        (f"{{digest: '{DIGEST}'}}", (None, DIGEST), ["digest"]),
        (f"{{semver: 1.x, digest: '{DIGEST}'}}", (None, DIGEST), ["digest"]),
    ],
)
def test_tag_and_digest_of_an_oci_repository(
    ref: str, version: tuple[str | None, str], pieces: list[str]
) -> None:
    (place,) = places(oci_repository(ref))
    assert (place.spelled.tag, place.spelled.digest) == version
    assert [piece.piece for piece in place.pieces] == pieces


@pytest.mark.parametrize(
    "text",
    [
        oci_repository("{semver: '>=1.0'}"),
        oci_repository("{semver: 1.x, tag: 1.4.2}"),  # the range is what counts
        oci_repository("{}"),
        oci_repository("{branch: main}"),
        oci_repository("{tag: 1.4.2}", "https://github.com/acme/web"),
        oci_repository("{tag: 1.4.2}", "oci://"),
        oci_repository("{tag: ''}"),
        "spec: {url: 'oci://ghcr.io/acme/web', ref: {tag: 1.4.2}}",  # no resource
    ],
)
def test_an_oci_repository_without_a_version_of_its_own_is_no_site(text: str) -> None:
    assert places(text) == []


def test_a_templated_tag_is_held() -> None:
    (place,) = places(oci_repository("{tag: '${VERSION}'}"))
    assert place.spelled.doubt == "site/templated"


def test_a_key_written_twice_is_held() -> None:
    (place,) = places(oci_repository("{tag: 1.4.1, tag: 1.4.2}"))
    assert place.spelled.doubt == "site/duplicate-key"


def test_items_of_a_list_are_found_with_their_own_identity() -> None:
    item = textwrap.indent(oci_repository("{tag: 1.4.2}"), "    ")
    text = f"kind: List\nitems:\n  -\n{item}"
    assert seen(text) == [("items[0].spec.ref.tag", "oci://ghcr.io/acme/web", "1.4.2")]
    assert places(text)[0].owner.name == "web"


RELEASE = """
    kind: HelmRelease
    metadata: {name: web, namespace: shop}
    spec:
      chart:
        spec:
          chart: web
          version: "1.4.2"
          sourceRef: {kind: HelmRepository, name: acme}
    """
REPOSITORY = """
    ---
    kind: HelmRepository
    metadata: {name: acme, namespace: shop}
    spec: {type: oci, url: "oci://ghcr.io/acme/charts/"}
    """


def test_a_helm_release_awaits_its_repository() -> None:
    (place,) = places(RELEASE)
    assert place.spelled == ("", None, "1.4.2", None, None)
    assert place.awaits == Awaits("HelmRepository", "acme", "shop", "web")
    assert seen(RELEASE) == [("spec.chart.spec.version", "", "1.4.2")]


def test_the_namespace_of_the_reference_goes_before_the_release_s() -> None:
    (place,) = places(RELEASE.replace("name: acme}", "name: acme, namespace: flux-system}"))
    assert place.awaits is not None
    assert place.awaits.namespace == "flux-system"


def test_a_repository_in_the_same_file_settles_it() -> None:
    (place,) = places(RELEASE + REPOSITORY)
    assert place.spelled.written == "oci://ghcr.io/acme/charts/web"
    assert str(place.spelled.repository) == "ghcr.io/acme/charts/web"


def test_versions_of_http_repositories_are_never_sites() -> None:
    http = REPOSITORY.replace("type: oci, ", "").replace("oci://ghcr.io", "https://charts.acme.io")
    assert places(RELEASE + http) == []
    assert places(RELEASE + http.replace("shop", "else")) != []  # another repository of that name


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("kind: HelmRepository", "kind: GitRepository"),
        ("chart: web", "chart: ./charts/web"),
        ('version: "1.4.2"', "version: 1.x"),
        ('version: "1.4.2"', 'version: ">=1.4.2"'),
        ('version: "1.4.2"', "version: '*'"),
        ('version: "1.4.2"', "version: 1.4"),
        ('version: "1.4.2"', "version: 1.4.2+build.3"),
        ('version: "1.4.2"', "version: 1.4.2 - 1.5.0"),
        ('version: "1.4.2"', "version: 1.4.2 || 1.5.0"),
        ('version: "1.4.2"', "reconcileStrategy: Revision"),
    ],
)
def test_what_names_no_exact_version_of_a_chart_is_no_site(old: str, new: str) -> None:
    assert old in RELEASE
    assert places(RELEASE.replace(old, new)) == []


def test_sources_are_the_helm_repositories_without_addresses_of_other_protocols() -> None:
    secret = (
        "\n---\nkind: HelmRepository\nmetadata: {name: old}\nspec: {url: 'https://u:secret@charts.acme.io'}\n"
    )
    assert sources(parse(textwrap.dedent(REPOSITORY) + secret)) == (
        Source("HelmRepository", "acme", "shop", "oci://ghcr.io/acme/charts/", 3),
        Source("HelmRepository", "old", None, "", 8),
    )


# -- Argo CD -----------------------------------------------------------------------------------------


def application(source: str, kind: str = "Application") -> str:
    return f"kind: {kind}\nmetadata: {{name: web}}\nspec:\n  source: {{{source}}}\n"


@pytest.mark.parametrize(
    ("source", "repository"),
    [
        ("repoURL: ghcr.io/acme/charts, chart: web, targetRevision: 1.4.2", "ghcr.io/acme/charts/web"),
        ("repoURL: 'localhost:5000/charts', chart: web, targetRevision: 1.4.2", "localhost:5000/charts/web"),
        ("repoURL: 'oci://ghcr.io/acme/web', targetRevision: 1.4.2", "oci://ghcr.io/acme/web"),
        ("repoURL: 'oci://ghcr.io/acme', chart: web, targetRevision: 1.4.2", "oci://ghcr.io/acme/web"),
    ],
)
def test_an_application_s_oci_source(source: str, repository: str) -> None:
    assert seen(application(source)) == [("spec.source.targetRevision", repository, "1.4.2")]


@pytest.mark.parametrize(
    "source",
    [
        "repoURL: 'https://charts.acme.io', chart: web, targetRevision: 1.4.2",
        "repoURL: 'https://github.com/acme/web.git', path: web, targetRevision: 1.4.2",
        "repoURL: 'git@github.com:acme/web.git', path: web, targetRevision: 1.4.2",
        "repoURL: 'ssh://git@host/acme/web.git', targetRevision: 1.4.2",
        "repoURL: ghcr.io/acme/web, path: web, targetRevision: 1.4.2",  # no chart: Git over no scheme
        "repoURL: acme, chart: web, targetRevision: 1.4.2",
        "repoURL: 'https://{{ .Values.host }}/charts', chart: web, targetRevision: 1.4.2",
        "repoURL: '{{ .Values.host }}', chart: web, targetRevision: 1.4.2",
        "repoURL: ghcr.io/acme/charts, chart: web, targetRevision: 1.4.*",
        "repoURL: ghcr.io/acme/charts, chart: web, targetRevision: '>=1'",
        "repoURL: ghcr.io/acme/charts, chart: web, targetRevision: main",
        "repoURL: 'oci://ghcr.io/acme/web', targetRevision: HEAD",
        "repoURL: 'oci://ghcr.io/acme/web', targetRevision: '*'",
        "repoURL: 'oci://ghcr.io/acme/web', targetRevision: 1.x",
        "repoURL: 'oci://ghcr.io/acme/web'",
    ],
)
def test_other_sources_of_an_application_are_left_alone(source: str) -> None:
    assert places(application(source)) == []


def test_an_artifact_of_an_application_may_have_any_tag() -> None:
    source = "repoURL: 'oci://ghcr.io/acme/manifests', path: ., targetRevision: main-42-abc"
    assert seen(application(source)) == [
        ("spec.source.targetRevision", "oci://ghcr.io/acme/manifests", "main-42-abc")
    ]


def test_sources_are_found_in_lists_and_in_templates_of_sets() -> None:
    text = """
        kind: ApplicationSet
        metadata: {name: all}
        spec:
          generators:
            - list: {elements: [{cluster: a}]}
          template:
            spec:
              sources:
                - {repoURL: 'https://github.com/acme/values', targetRevision: 1.4.2, ref: values}
                - {repoURL: ghcr.io/acme/charts, chart: web, targetRevision: v1.4.2}
                - {repoURL: '{{ repo }}', chart: api, targetRevision: 1.4.2}
        """
    assert seen(text) == [
        ("spec.template.spec.sources[1].targetRevision", "ghcr.io/acme/charts/web", "v1.4.2")
    ]


# -- Helm, Kustomize, helmfile -----------------------------------------------------------------------

CHART = """
    apiVersion: v2
    name: shop
    version: 0.1.0
    appVersion: 1.4.2
    dependencies:
      - {name: web, repository: "oci://ghcr.io/acme/charts", version: 1.4.2}
      - {name: web, repository: "oci://ghcr.io/acme/charts/web", version: 1.4.2}
      - {name: api, repository: "https://charts.acme.io", version: 1.4.2}
      - {name: api, repository: "file://../api", version: 1.4.2}
      - {name: api, repository: "@acme", version: 1.4.2}
      - {name: range, repository: "oci://ghcr.io/acme/charts", version: ~1.4.2}
      - {name: range, repository: "oci://ghcr.io/acme/charts", version: 1.4.x}
      - {name: none, repository: "oci://ghcr.io/acme/charts"}
      - text
    """


@pytest.mark.parametrize("name", ["Chart.yaml", "requirements.yaml"])
def test_oci_dependencies_of_a_chart(name: str) -> None:
    assert seen(CHART, name) == [
        ("dependencies[0].version", "oci://ghcr.io/acme/charts/web", "1.4.2"),
        ("dependencies[1].version", "oci://ghcr.io/acme/charts/web/web", "1.4.2"),
    ]


def test_dependencies_count_only_in_a_chart() -> None:
    assert places(CHART, "values.yaml") == []


@pytest.mark.parametrize(
    ("head", "name"),
    [("kind: Kustomization\n", "web.yaml"), ("", "kustomization.yaml")],
)
def test_charts_of_a_kustomization(head: str, name: str) -> None:
    text = head + textwrap.dedent(
        """
        helmCharts:
          - {name: web, repo: "oci://ghcr.io/acme/charts", version: 1.4.2}
          - {name: api, repo: "https://charts.acme.io", version: 1.4.2}
        """
    )
    assert seen(text, name) == [("helmCharts[web].version", "oci://ghcr.io/acme/charts/web", "1.4.2")]


def test_releases_of_a_helmfile() -> None:
    text = """
        repositories:
          - {name: acme, url: ghcr.io/acme/charts, oci: true}
          - {name: http, url: "https://charts.acme.io"}
        releases:
          - {name: one, chart: "oci://ghcr.io/acme/charts/web", version: 1.4.2}
          - {name: two, chart: acme/web, version: 1.4.2}
          - {name: three, chart: http/web, version: 1.4.2}
          - {name: four, chart: ./web, version: 1.4.2}
          - {name: five, chart: acme/web, version: ^1.4.2}
        """
    assert seen(text, "helmfile.yaml") == [
        ("releases[one].version", "oci://ghcr.io/acme/charts/web", "1.4.2"),
        ("releases[two].version", "oci://ghcr.io/acme/charts/web", "1.4.2"),
    ]
    assert places(text, "values.yaml") == []


@pytest.mark.parametrize(
    "text", ["", "[]", "a", "kind: [x]", "kind: HelmRelease\nspec: []", "kind: List\nitems: x"]
)
@pytest.mark.parametrize("name", ["Chart.yaml", "helmfile.yaml", "kustomization.yaml", "x.yaml"])
def test_other_shapes_are_no_mistake(text: str, name: str) -> None:
    assert places(text, name) == []


# -- which bytes change ------------------------------------------------------------------------------

OTHER = "sha256:" + "fedcba9876543210" * 4


def moved(text: str, name: str) -> str:
    """The text with every site at 1.4.3."""
    found = locate(text, name)
    assert found.trouble is None
    assert [site.held for site in found.sites] == [None] * len(found.sites)
    edits = [Edit(site, "1.4.3", OTHER if site.digest else None) for site in found.sites]
    return rewrite(text, edits, name)


@pytest.mark.parametrize(
    ("name", "before", "old", "new"),
    [
        (
            "flux.yaml",
            "kind: OCIRepository\r\nspec:\r\n  url: oci://ghcr.io/acme/web # 1.4.2\r\n"
            "  ref:\r\n    tag:   1.4.2\r\n",
            "tag:   1.4.2",
            "tag:   1.4.3",
        ),
        ("flux.yaml", oci_repository(f"{{tag: 1.4.2@{DIGEST}}}"), f"1.4.2@{DIGEST}", f"1.4.3@{OTHER}"),
        (
            "flux.yaml",
            oci_repository(f"{{digest: '{DIGEST}', tag: 1.4.2}}"),
            f"'{DIGEST}', tag: 1.4.2",
            f"'{OTHER}', tag: 1.4.3",
        ),
        (
            "release.yaml",
            textwrap.dedent(RELEASE + REPOSITORY),
            'version: "1.4.2"',
            'version: "1.4.3"',
        ),
        (
            "argo.yaml",
            application("repoURL: ghcr.io/acme/charts, chart: web, targetRevision: 1.4.2 , path: 1.4.2"),
            "targetRevision: 1.4.2",
            "targetRevision: 1.4.3",
        ),
        (
            "Chart.yaml",
            "version: 1.4.2\ndependencies:\n- name: web\n  version: '1.4.2' # pinned\n"
            "  repository: oci://ghcr.io/acme",
            "'1.4.2'",
            "'1.4.3'",
        ),
    ],
)
def test_only_the_version_changes(name: str, before: str, old: str, new: str) -> None:
    assert before.count(old) == 1
    assert moved(before, name) == before.replace(old, new)
