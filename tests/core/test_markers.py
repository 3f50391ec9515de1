"""Markers: which images they give away, whose they are, and which of them can never work."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from parts.claiming import assign

from automator.core.deadmarkers import FluxPolicy, flux_policies, is_known, survey
from automator.core.policy import InvalidWorkload, Place, Where
from automator.core.reference import parse_repository
from automator.core.rewrite import Edit, rewrite
from automator.core.site import Site, locate
from automator.core.yamltext import Document, parse
from automator.errors import ManifestError
from automator.reasons import Reason, reason

OLD, NEW = "sha256:" + "a" * 64, "sha256:" + "b" * 64


def flux(ending: str = "", policy: str = "flux-system:web") -> str:
    return f'# {{"$imagepolicy": "{policy}{ending}"}}'


def spelled(text: str, name: str = "release.yaml") -> list[tuple[Any, ...]]:
    """Field, repository as written, tag, digest and policy of every site."""
    found = locate(text, name)
    assert found.trouble is None
    return [(s.field, s.written, s.tag, s.digest, s.marker) for s in found.sites]


def plain(text: str) -> tuple[Document, ...] | None:
    try:
        return parse(text)
    except ManifestError:
        return None


def dead(text: str) -> list[tuple[int, str]]:
    found = survey(text, plain(text), locate(text, "release.yaml").sites)
    return [(line, str(why)) for line, why in found.dead]


def workload(name: str, image: str, /, **where: Any) -> InvalidWorkload:
    why = reason("yaml/too-large", size=1, limit=2)
    return InvalidWorkload(name, parse_repository(image), Where(**where), why, Place("policies/a.yaml", 1))


# -- what a comment is ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        (f"image: web:1 {flux()}", "flux-system:web"),
        ('image: web:1 #{"$imagepolicy":"flux-system:web"}', "flux-system:web"),
        ('image: web:1 # { "$imagepolicy" : "flux-system:web" } ', "flux-system:web"),
        ('image: web:1 # {"note": "x", "$imagepolicy": "flux-system:web"}', "flux-system:web"),
        (f"image: 'web:1' {flux()}\r\n", "flux-system:web"),
        (f'"image" : "web:1" {flux()}', "flux-system:web"),
        (f"? image\n: web:1 {flux()}", "flux-system:web"),
        (f"image: !!str web:1\t{flux()}", "flux-system:web"),
        (f"{flux()}\nimage: web:1", "flux-system:web"),
        (f"\ufeff{flux()}\r\nimage: web:1\r\n", "flux-system:web"),
        (f"spec:\n  {flux()}\n  image: web:1", "flux-system:web"),
        (f"containers:\n{flux()}\n- image: web:1", "flux-system:web"),
        (f"image: {{repository: acme/web, tag: 1.2}} {flux(':tag')}", "flux-system:web"),
        (f"images: [{{image: web:1}}, {{image: api:1}} ] {flux()}", None),
        (f"image: web:1 # see {flux()[2:]}", None),
        (f"image: web:1 {flux()} # and more", None),
        ('image: web:1 # {"$imagepolicy": "web"}', None),
        ('image: web:1 # {"$imagepolicy": "flux-system:web:version"}', None),
        ('image: web:1 # {"$imagepolicy": ["flux-system:web"]}', None),
        ('image: web:1 # ["$imagepolicy"]', None),
        (f"{flux()}\n\nimage: web:1", None),
        (f"  {flux()}\nimage: web:1", None),
        (f"{flux()}\nimage: {{repository: acme/web, tag: 1.2}}", None),
        (f"text: |\n  x\n  {flux()}\nimage: web:1", None),
    ],
)
def test_a_marker_is_a_comment_that_is_one_json_object(text: str, policy: str | None) -> None:
    assert locate(text, "release.yaml").sites[0].marker == policy


# -- images that only Flux markers give away -----------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        "runner: ghcr.io/acme/web:1.2 {}",
        "'runner' : 'ghcr.io/acme/web:1.2' {}",
        "{{runner: ghcr.io/acme/web:1.2}} {}",
    ],
)
def test_a_whole_reference_under_any_key(line: str) -> None:
    text = line.format(flux())
    assert spelled(text) == [("runner", "ghcr.io/acme/web", "1.2", None, "flux-system:web")]


def test_a_tag_finds_its_name_in_the_nearest_collection() -> None:
    text = (
        f"web:\n  from: ghcr.io/acme/web {flux(':name')}\n  at: 1.2 {flux(':tag')}\n"
        f"old:\n  from: ghcr.io/acme/old {flux(':name')}\n  at: '1.1' {flux(':tag')}\n"
        f"api:\n  from: ghcr.io/acme/api {flux(':name', 'flux-system:api')}\n"
        f"  env:\n  - key: API\n    value: v3 {flux(':tag', 'flux-system:api')}\n"
    )
    assert spelled(text) == [
        ("web.at", "ghcr.io/acme/web", "1.2", None, "flux-system:web"),
        ("old.at", "ghcr.io/acme/old", "1.1", None, "flux-system:web"),
        ("api.env[0].value", "ghcr.io/acme/api", "v3", None, "flux-system:api"),
    ]


def test_a_tag_between_two_names_has_none() -> None:
    text = (
        f"web: {{from: ghcr.io/acme/web}} {flux(':name')}\n"
        f"old: {{from: ghcr.io/acme/old}} {flux(':name')}\n"
        f"at: 1.2 {flux(':tag')}\n"
    )
    assert spelled(text) == [("at", "", "1.2", None, "flux-system:web")]


def test_a_tag_with_its_digest_is_one_site_and_moves_as_one() -> None:
    text = (
        f"run:\n  from: ghcr.io/acme/web {flux(':name')}\n  # the digest first\n"
        f"  sum: {OLD} {flux(':digest')}\n  at: 1.2 {flux(':tag')}\n"
    )
    found = locate(text, "release.yaml").sites
    assert [(s.field, s.tag, s.digest) for s in found] == [("run.at", "1.2", OLD)]
    after = rewrite(text, [Edit(found[0], "1.10", NEW)], "release.yaml")
    assert after == text.replace("1.2", '"1.10"').replace(OLD, NEW)


def test_a_digest_goes_to_the_tag_that_was_found_without_a_marker_too() -> None:
    text = (
        f"image:\n  repository: ghcr.io/acme/web {flux(':name')}\n  tag: '1.2' {flux(':tag')}\n"
        f"  checksum: {OLD} {flux(':digest')}\n"
    )
    assert spelled(text) == [("image.tag", "ghcr.io/acme/web", "1.2", OLD, "flux-system:web")]


def test_a_tag_with_a_digest_behind_it_is_no_name() -> None:
    text = f"from: ghcr.io/acme/web {flux(':name')}\nat: 1.2@{OLD} {flux(':tag')}\n"
    assert spelled(text) == [("at", "ghcr.io/acme/web", "1.2", OLD, "flux-system:web")]


@pytest.mark.parametrize(
    "text",
    [
        f"at: ghcr.io/acme/web {flux(':tag')}",
        f"at: '' {flux(':tag')}",
        f"at: {flux(':tag')}",
        f"at: 1.2 {flux(':name')}",
        f"at: 1.2 {flux()}",
        f"at: 1.2 {flux(':digest')}",
        f"at: two words {flux(':tag')}",
        f"text: |\n  at: 1.2 {flux(':tag')}\n",
    ],
)
def test_a_marker_makes_no_image_of_anything_else(text: str) -> None:
    assert spelled(text) == []


def test_sites_without_a_name_are_claimed_by_their_marker_alone() -> None:
    text = f"at: 1.2 {flux(':tag')}\nother: 1.3 {flux(':tag', 'flux-system:api')}\n"
    sites = [site.at("values.yaml") for site in locate(text, "values.yaml").sites]
    claims = assign(
        sites,
        [
            workload("image", "ghcr.io/acme/web"),
            workload("marker", "ghcr.io/acme/web", marker="web"),
            workload("other", "ghcr.io/acme/api", marker="flux-system:api", paths=("values.yaml",)),
            workload("elsewhere", "ghcr.io/acme/api", marker="api", paths=("apps/",)),
            workload("namespace", "ghcr.io/acme/web", marker="team:web"),
        ],
    )
    assert {name: [s.field for s in owned] for name, owned in claims.sites.items()} == {
        "image": [],
        "marker": ["at"],
        "other": ["other"],
        "elsewhere": [],
        "namespace": [],
    }
    assert (dict(claims.problems), claims.unowned) == ({}, ())


def test_a_name_still_says_what_a_marker_may_claim() -> None:
    text = f"image: ghcr.io/acme/web:1 {flux()}"
    sites = [site.at("web.yaml") for site in locate(text, "web.yaml").sites]
    claims = assign(sites, [workload("api", "ghcr.io/acme/api", marker="web")])
    assert claims.sites["api"] == ()
    assert [site.field for site in claims.unowned] == ["image"]


# -- images that only Renovate comments give away ------------------------------------------------


RENOVATE = "# renovate: datasource=docker depName=ghcr.io/acme/kubelet"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"{RENOVATE}\nkubernetes: v1.30.0", ("kubernetes", "v1.30.0", None)),
        (f"spec:\n  {RENOVATE}\n  version: 1.30", ("spec.version", "1.30", None)),
        (f"at: 'v1.30.0' {RENOVATE}", ("at", "v1.30.0", None)),
        (f"{{a: b, at: v1.30.0}} {RENOVATE}", ("at", "v1.30.0", None)),
        (f"list:\n{RENOVATE}\n- v1.30.0", ("list[0]", "v1.30.0", None)),
        (f"{RENOVATE} versioning=loose\r\nversion: stable\r\n", ("version", "stable", None)),
        (f"{RENOVATE}\nat: 1.30@{OLD}", ("at", "1.30", OLD)),
        (f"{RENOVATE}\nat: 1.30\ndigest: {OLD}", ("at", "1.30", OLD)),
        (f"{RENOVATE}\nat: {OLD}", ("at", None, OLD)),
        ("#renovate: depName='ghcr.io/acme/kubelet' datasource=docker\nat: v1", ("at", "v1", None)),
        (f'{RENOVATE} extractVersion="^(?<version>.*)$"\nat: v1', ("at", "v1", None)),
        (f"{RENOVATE}\nruns: ghcr.io/acme/kubelet:v1", ("runs", "v1", None)),
    ],
)
def test_a_renovate_comment_names_the_image_of_a_version(text: str, expected: tuple[Any, ...]) -> None:
    [site] = locate(text, "talos.yaml").sites
    assert str(site.repository) == "ghcr.io/acme/kubelet"
    assert site.written == "ghcr.io/acme/kubelet"
    assert (site.field, site.tag, site.digest) == expected


@pytest.mark.parametrize(
    ("words", "repository"),
    [
        ("depName=alpine", "docker.io/library/alpine"),
        ("depName=kubelet packageName=ghcr.io/acme/kubelet", "ghcr.io/acme/kubelet"),
        ("depName=acme/kubelet registryUrl=https://quay.io/", "quay.io/acme/kubelet"),
        ("registryUrl=https://quay.io depName=quay.io/acme/kubelet", "quay.io/acme/kubelet"),
    ],
)
def test_renovate_says_the_repository_in_several_ways(words: str, repository: str) -> None:
    [site] = locate(f"# renovate: datasource=docker {words}\nversion: v1.2\n", "talos.yaml").sites
    assert str(site.repository) == repository


@pytest.mark.parametrize(
    "text",
    [
        "# renovate: datasource=github-releases depName=acme/web\nversion: v1.2",
        "# renovate: datasource=helm depName=web registryUrl=https://charts.example.com\nversion: 1.2",
        "# renovate: depName=ghcr.io/acme/web\nversion: v1.2",
        "# renovate: datasource=docker\nversion: v1.2",
        "# renovate: datasource=docker depName=Not/An:Image\nversion: v1.2",
        f"{RENOVATE} extractVersion=^v(?<version>.*)$\nversion: 1.2",
        f"{RENOVATE}\nname: web\nversion: v1.2",
        f"{RENOVATE}\n\nversion: v1.2",
        f"  {RENOVATE}\nversion: v1.2",
        f"{RENOVATE}\n# another comment\nversion: v1.2",
        f"{RENOVATE}\nversion:\n  at: v1.2",
        f"{RENOVATE}\nversion: {{at: v1.2}}",
        f"{RENOVATE}\nversion: >-\n  1.2 3",
        f"version: v1.2\n{RENOVATE}",
    ],
)
def test_other_renovate_comments_make_no_site(text: str) -> None:
    assert locate(text, "talos.yaml").sites == ()


def test_a_site_that_is_known_keeps_its_own_name() -> None:
    text = f"image:\n  repository: ghcr.io/acme/web\n  {RENOVATE}\n  tag: v1.2\n"
    assert spelled(text) == [("image.tag", "ghcr.io/acme/web", "v1.2", None, None)]


def test_a_renovated_version_is_rewritten_in_place() -> None:
    text = f"os:\n    {RENOVATE} versioning=semver\n    version:   v1.9  # why\n    next: v1.9\n"
    [site] = locate(text, "talos.yaml").sites
    after = rewrite(text, [Edit(site, "v1.10", None)], "talos.yaml")
    assert after == text.replace("v1.9  #", "v1.10  #")


# -- markers that cannot work --------------------------------------------------------------------


def test_live_markers_give_no_warning() -> None:
    text = (
        f"---\n# A comment.\n{flux()}\nimage: ghcr.io/acme/web:1.2\nextra:\n"
        f"- 'ghcr.io/acme/web:1.2' {flux()}\n"
        f"- {{repository: ghcr.io/acme/web, tag: 1.2}} {flux(':tag')}\n"
        f'split:\n  name: ghcr.io/acme/web {flux(":name")}\n  tag: "1.2" {flux(":tag")}\n'
        f"  digest: {OLD} #{flux(':digest')[2:]}\n  other: '' {flux(':digest')}\n"
        f"bare:\n  image: nginx {flux()}\n  from: ${{IMAGE}} {flux(':tag')}\n"
        "# automator: web\nproxyImage: ghcr.io/acme/web:1.2\n"
        "sidecar: {repository: ghcr.io/acme/web, tag: '1'} # automator: web\n"
        "main:\n  # automator: web\n  registry: ghcr.io\n  repository: acme/web\n  pull: Always\n  tag: 1.2\n"
        f"# image: ghcr.io/acme/web:1.1 {flux()}\n"
        "# The $imagepolicy of last year is gone; automator: ask the team\n"
        "words: 'a # {\"$imagepolicy\": 1} # automator: web'\n"
        f"...\n---\n{flux()}\nimage: ghcr.io/acme/web:1.2\n"
    )
    assert dead(text) == []
    assert {policy for _, policy in survey(text, parse(text), ()).policies} == {"flux-system:web"}


ALONE = "the Flux marker on line {} stands at no value"
TEXT = "the Flux marker on line {} is text of a block scalar, no comment"
LONG = "the Flux marker on line {} stands at a value of several lines"
UNREADABLE = "the Flux marker on line {} cannot be read: {}"
MISFIT = "the Flux marker on line {} wants {}, and stands at {}"
TOP_LIST = "the Flux marker on line {} has no effect: the document is a list at its top"
NO_YAML = "the Flux marker on line {} has no effect: the file is no YAML"
GRAMMAR = "`{}` is not namespace:policy, alone or with `:tag`, `:name` or `:digest` behind it"


@pytest.mark.parametrize(
    ("text", "line", "sentence"),
    [
        (f"a:\n  values: |\n    image: ghcr.io/acme/web:1 {flux()}\n", 3, TEXT),
        (f"a: >-\n  image: ghcr.io/acme/web:1 {flux()}\n  b\n", 2, TEXT),
        (f"image: |- {flux()}\n  web:1\n", 1, LONG),
        (f"image: ghcr.io/acme/web\n  :1 {flux()}\n", 2, LONG),
        (f"image: {flux()}\n", 1, ALONE),
        (f"image: {flux()}\n  repository: acme/web\n  tag: 1.2\n", 1, ALONE),
        (f"image: web:1\n{flux()}\n", 2, ALONE),
        (f"{flux()}\n\nimage: web:1\n", 1, ALONE),
        (f"{flux()}\nimage:\n  tag: 1.2\n", 1, ALONE),
        (f"{flux()}\nimage: {{name: acme/web, tag: 1.2}}\n", 1, ALONE),
        (f"{flux()}\n---\nimage: web:1\n", 1, ALONE),
        (f"image: web:1 {flux(':tag')}\n", 1, MISFIT.format(1, "a tag", "a whole reference")),
        (f"tag: {OLD} {flux(':tag')}\n", 1, MISFIT.format(1, "a tag", "a digest")),
        (f"at: acme/web {flux(':tag')}\n", 1, MISFIT.format(1, "a tag", "a name without a tag")),
        (f"at: 1.2 {flux(':digest')}\n", 1, MISFIT.format(1, "a digest", "a tag alone")),
        (f"at: 1.2 {flux()}\n", 1, MISFIT.format(1, "an image reference", "a tag alone")),
        (f"image: v1.2 {flux()}\n", 1, MISFIT.format(1, "an image reference", "a tag alone")),
        (f"at: {OLD} {flux()}\n", 1, MISFIT.format(1, "an image reference", "a digest")),
        (f"at: two words {flux()}\n", 1, MISFIT.format(1, "an image reference", "another text")),
        (f"at: web:1 {flux(':name')}\n", 1, MISFIT.format(1, "an image's name", "a whole reference")),
        (f"a: &a web:1\nb: *a {flux()}\n", 2, MISFIT.format(2, "an image reference", "an alias")),
        (f"a: 1\r\n{flux(':tag')}\r\nb: web:1\r\n", 2, MISFIT.format(2, "a tag", "a whole reference")),
        (f"image: web:1 # see {flux()[2:]}\n", 1, UNREADABLE.format(1, "other text stands around the JSON")),
        ('image: web:1 # {"$imagepolicy": a:b}\n', 1, UNREADABLE.format(1, "it is no valid JSON")),
        ("image: web:1 # {'$imagepolicy': 'a:b'}\n", 1, UNREADABLE.format(1, "it is no valid JSON")),
        ('image: web:1 # {"$imagepolicy": 1}\n', 1, UNREADABLE.format(1, "`$imagepolicy` must be a text")),
        (
            'image: web:1 # {"$imagepolicy": "web"}\n',
            1,
            UNREADABLE.format(1, "`web` lacks the namespace, as in `flux-system:web`"),
        ),
        (
            f"image: web:1 {flux(':version')}\n",
            1,
            UNREADABLE.format(1, GRAMMAR.format("flux-system:web:version")),
        ),
        (f"image: web:1 {flux('', 'a:')}\n", 1, UNREADABLE.format(1, GRAMMAR.format("a:"))),
        (f"- image: web:1 {flux()}\n", 1, TOP_LIST),
        (f"- {flux()}\n  image: web:1\n", 1, ALONE),
        (f"image: web:1 {flux()}\n{{{{ if .x }}}}\na: {{{{ .y }}}}\n", 1, NO_YAML),
        (f"a: b\nimage: web:1 {flux()}\nc: [\n", 2, NO_YAML),
    ],
)
def test_a_marker_that_cannot_work_is_told_with_its_line(text: str, line: int, sentence: str) -> None:
    assert dead(text) == [(line, sentence.format(line))]


def test_each_marker_of_a_file_is_judged_by_itself() -> None:
    text = f"image: web:1 {flux()}\ntag: x {flux(':digest')}\nnone: {flux()}\nruns: web:1 {flux()}\n"
    assert [line for line, _ in dead(text)] == [2, 3]


NOWHERE = "the comment on line {} gives no site to web: {}"


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("# automator: web\nspec:\n  image: web:1\n", 1, "no value stands there"),
        ("image: web:1\nreplicas: 3 # automator: web\n", 2, "no image is found there"),
        ("image: web:1\n\n# automator: web\n", 3, "no value stands there"),
        ("image: web:1 # automator: web\nother: 1 # automator: web\n", 2, "no image is found there"),
        ("script: |\n  # automator: web\n  run\n", 2, "it is text of a block scalar"),
        ("{{ if .x }}\n# automator: web\na: {{ .y }}\n", 2, "no image is found there"),
    ],
)
def test_a_claim_away_from_any_image_is_told_with_its_line(text: str, line: int, problem: str) -> None:
    assert dead(text) == [(line, NOWHERE.format(line, problem))]


def test_a_claim_inside_an_embedded_document_is_live() -> None:
    text = (
        "values: |\n  mainImage: ghcr.io/acme/web:1 # automator: web\n"
        "  # automator: web\n  jobImage: ghcr.io/acme/web:1\n"
        "  image:\n    repository: ghcr.io/acme/web # automator: web\n    pull: Always\n    tag: 1.2\n"
    )
    assert [site.claim for site in locate(text, "app.yaml").sites] == ["web", "web", "web"]
    assert dead(text) == []


# -- policies of Flux ----------------------------------------------------------------------------


def image_policy(name: str, namespace: str = "", group: str = "image.toolkit.fluxcd.io/v1beta2") -> str:
    namespace = f"  namespace: {namespace}\n" if namespace else ""
    return f"apiVersion: {group}\nkind: ImagePolicy\nmetadata:\n  name: {name}\n{namespace}"


def test_image_policies_are_read_from_documents_and_lists() -> None:
    items = "".join(f"- {image_policy('api').replace(chr(10), chr(10) + '  ').rstrip()}\n" for _ in "a")
    text = (
        f"{image_policy('web', 'flux-system')}---\n{image_policy('other', group='example.com/v1')}---\n"
        f"kind: List\nitems:\n{items}---\nkind: ImagePolicy\n---\n"
    )
    assert list(flux_policies(parse(text))) == [FluxPolicy("flux-system", "web"), FluxPolicy(None, "api")]


@pytest.mark.parametrize(
    ("policy", "known"),
    [("flux-system:web", True), ("team:web", False), ("team:api", True), ("flux-system:we", False)],
)
def test_a_policy_is_known_by_name_and_by_namespace_where_it_is_stated(policy: str, known: bool) -> None:
    assert is_known(policy, [FluxPolicy("flux-system", "web"), FluxPolicy(None, "api")]) is known


# -- laws ----------------------------------------------------------------------------------------


PIECES = st.lists(
    st.sampled_from(
        [
            *("image: ", "tag: ", "a:\n  ", "- ", "? ", ": ", "---\n", "...\n", "|\n  ", "&a ", "*a"),
            *("{", "}", "[", "]", ", ", "'", '"', "\n", "\r\n", "  ", "\t", "#", "# "),
            *("web:1", "1.2", OLD, "{{ x }}", "\ufeff", "\u2028", "é"),
            *(flux(), flux(":tag"), flux(":name"), flux(":digest"), RENOVATE, "# automator: web"),
        ]
    ),
    max_size=30,
)


@given(PIECES)
def test_no_text_is_too_broken_to_be_judged(pieces: list[str]) -> None:
    text = "".join(pieces)
    sites: tuple[Site, ...] = locate(text, "x.yaml").sites
    found = survey(text, plain(text), sites)
    lines = text.count("\n") + 1
    for line, why in found.dead:
        assert isinstance(why, Reason)
        assert 1 <= line <= lines
        assert f" {line}" in why.sentence
    assert all(1 <= line <= lines for line, _ in found.policies)
