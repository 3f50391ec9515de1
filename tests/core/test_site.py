"""Finding sites: every place where an image is written, and why some of them are held."""

from __future__ import annotations

import textwrap

import pytest
from parts.claiming import locate_field

from automator.core.fields import parse_field
from automator.core.reference import parse_repository
from automator.core.site import MOST_ALIKE, FileSites, Site, locate, may_hold_sites

DIGEST = "sha256:" + "0123456789abcdef" * 4


def sites(text: str, name: str = "web.yaml", *fields: str) -> tuple[Site, ...]:
    found = locate(textwrap.dedent(text), name, fields)
    assert found.trouble is None
    return found.sites


def seen(text: str, name: str = "web.yaml", *fields: str) -> list[tuple[str, str, str | None]]:
    """Field, repository and tag of each site."""
    return [
        (s.field, "" if s.repository is None else str(s.repository), s.tag)
        for s in sites(text, name, *fields)
    ]


def only(text: str, name: str = "web.yaml", *fields: str) -> Site:
    (site,) = sites(text, name, *fields)
    return site


POD = """
    containers:
      - name: app
        image: ghcr.io/acme/web:1.4.2
    initContainers:
      - name: migrate
        image: ghcr.io/acme/migrate:2
    ephemeralContainers:
      - name: debug
        image: busybox:1.36
"""


def resource(kind: str, path: str) -> str:
    """A resource with the pod above at `path` (`spec.template.spec`)."""
    lines = [f"kind: {kind}", "metadata: {name: web, namespace: shop}"]
    keys = path.split(".")
    lines += [f"{'  ' * depth}{key}:" for depth, key in enumerate(keys)]
    return "\n".join(lines) + textwrap.indent(textwrap.dedent(POD), "  " * len(keys))


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("Pod", "spec"),
        ("Deployment", "spec.template.spec"),
        ("StatefulSet", "spec.template.spec"),
        ("DaemonSet", "spec.template.spec"),
        ("ReplicaSet", "spec.template.spec"),
        ("ReplicationController", "spec.template.spec"),
        ("Job", "spec.template.spec"),
        ("CronJob", "spec.jobTemplate.spec.template.spec"),
        ("Rollout", "spec.template.spec"),
        ("Task", "spec.stepTemplate"),
    ],
)
def test_every_container_of_a_pod_template_is_a_site(kind: str, path: str) -> None:
    text = resource(kind, path)
    assert seen(text) == [
        (f"{path}.containers[app].image", "ghcr.io/acme/web", "1.4.2"),
        (f"{path}.initContainers[migrate].image", "ghcr.io/acme/migrate", "2"),
        (f"{path}.ephemeralContainers[debug].image", "docker.io/library/busybox", "1.36"),
    ]
    assert {(s.kind, s.namespace, s.name) for s in sites(text)} == {(kind, "shop", "web")}
    assert [s.container for s in sites(text)] == ["app", "migrate", "debug"]


def test_items_of_a_list_have_their_own_identity() -> None:
    found = sites(
        """
        kind: List
        items:
          - kind: Deployment
            metadata: {name: one, namespace: a}
            spec: {template: {spec: {containers: [{name: app, image: "web:1"}]}}}
          - kind: PodList
            items:
              - kind: Pod
                metadata: {name: two}
                spec: {containers: [{name: app, image: 'web:2'}]}
        """
    )
    assert [(s.field, s.kind, s.namespace, s.name, s.tag) for s in found] == [
        ("items[0].spec.template.spec.containers[app].image", "Deployment", "a", "one", "1"),
        ("items[1].items[0].spec.containers[app].image", "Pod", None, "two", "2"),
    ]


def test_documents_of_one_file_are_told_apart() -> None:
    found = sites("# c\n---\nimage: web:1\n---\n# nothing\n---\nimage: web:2\n...\n")
    assert [(s.document, s.field, s.tag, s.line) for s in found] == [
        (0, "image", "1", 3),
        (2, "image", "2", 7),
    ]


def test_status_and_metadata_of_a_resource_are_no_sites() -> None:
    assert (
        seen(
            """
            kind: Pod
            metadata: {annotations: {image: "web:1"}}
            status: {containerStatuses: [{name: app, image: "web:1"}]}
            """
        )
        == []
    )


KUSTOMIZATION = f"""
    images:
      - name: web
        newTag: "1.2"
      - name: controller
        newName: ghcr.io/acme/api
        newTag: 1.10
      - digest: {DIGEST}
        name: ghcr.io/acme/pinned
      - name: both
        newTag: 1.2.3
        digest: {DIGEST}
      - name: ghcr.io/acme/inline
        newName: ghcr.io/acme/moved:7
      - name: ${{IMAGE}}
        newTag: "3"
      - name: nothing
"""


@pytest.mark.parametrize("name", ["kustomization.yaml", "kustomization.yml", "Kustomization"])
def test_kustomize_images(name: str) -> None:
    assert seen(KUSTOMIZATION, name) == [
        ("images[web].newTag", "docker.io/library/web", "1.2"),
        ("images[controller].newTag", "ghcr.io/acme/api", "1.10"),
        ("images[ghcr.io/acme/pinned].digest", "ghcr.io/acme/pinned", None),
        ("images[both].newTag", "docker.io/library/both", "1.2.3"),
        ("images[ghcr.io/acme/inline].newName", "ghcr.io/acme/moved", "7"),
        ("images[${IMAGE}].newTag", "", "3"),
    ]
    assert [s.digest for s in sites(KUSTOMIZATION, name)] == [None, None, DIGEST, DIGEST, None, None]


@pytest.mark.parametrize("kind", ["Kustomization", "Component"])
def test_a_kustomization_is_known_by_its_kind_too(kind: str) -> None:
    text = f"kind: {kind}\nimages:\n- {{name: web, digest: '{DIGEST}'}}\n"
    assert seen(text, "anything.yaml") == [("images[web].digest", "docker.io/library/web", None)]


def test_images_of_a_flux_kustomization() -> None:
    text = "kind: Kustomization\nmetadata: {name: k}\nspec:\n  images:\n  - {name: web, newTag: '1'}\n"
    assert seen(text) == [("spec.images[web].newTag", "docker.io/library/web", "1")]


def test_helm_values_in_every_spelling() -> None:
    assert seen(
        f"""
        image: web:1
        a: {{image: ghcr.io/acme/a, tag: 1.10}}
        b:
          image:
            tag: v2
            repository: ghcr.io/acme/b
        deep:
          list:
            - c:
                image: {{registry: ghcr.io, repository: acme/c, tag: "3", digest: ""}}
        d: {{image: {{registry: quay.io/, repository: acme/d, tag: 4, digest: '{DIGEST}'}}}}
        e: {{repository: acme/e, tag: "5@{DIGEST}"}}
        f: {{image: {{repository: acme/f, tag: "", digest: "{DIGEST}"}}}}
        g: {{image: {{name: acme/g, tag: 7}}}}
        h: {{image: acme/h, imageTag: 8}}
        i: {{imageName: acme/i, imageTag: 9}}
        j: {{sidecarImage: "acme/j:10", BUILD_IMAGE: "acme/k:11"}}
        """,
        "values.yaml",
    ) == [
        ("image", "docker.io/library/web", "1"),
        ("a.tag", "ghcr.io/acme/a", "1.10"),
        ("b.image.tag", "ghcr.io/acme/b", "v2"),
        ("deep.list[0].c.image.tag", "ghcr.io/acme/c", "3"),
        ("d.image.tag", "quay.io/acme/d", "4"),
        ("e.tag", "docker.io/acme/e", "5"),
        ("f.image.digest", "docker.io/acme/f", None),
        ("g.image.tag", "docker.io/acme/g", "7"),
        ("h.imageTag", "docker.io/acme/h", "8"),
        ("i.imageTag", "docker.io/acme/i", "9"),
        ("j.sidecarImage", "docker.io/acme/j", "10"),
        ("j.BUILD_IMAGE", "docker.io/acme/k", "11"),
    ]


def test_values_of_a_helm_release() -> None:
    site = only(
        """
        kind: HelmRelease
        metadata: {name: web, namespace: shop}
        spec:
          chart: {spec: {chart: app-template, version: 1.2.3}}
          values:
            controllers:
              web:
                containers:
                  app:
                    image: {repository: ghcr.io/acme/web, tag: 1.4.2}
        """
    )
    assert site.field == "spec.values.controllers.web.containers.app.image.tag"
    assert (site.kind, site.namespace, site.name, site.container) == ("HelmRelease", "shop", "web", "app")


def test_compose_services() -> None:
    text = "services:\n  web:\n    image: acme/web:1.2\n  db: {image: 'postgres:16', build: .}\n"
    assert [(s.field, s.container, s.tag) for s in sites(text, "compose.yaml")] == [
        ("services.web.image", "web", "1.2"),
        ("services.db.image", "db", "16"),
    ]


def test_json() -> None:
    text = '{\n\t"kind": "Pod",\n\t"spec": {"containers":[{"name":"app","image":"ghcr.io\\/acme/web:1"}]}\n}'
    assert seen(text, "pod.json") == [("spec.containers[app].image", "ghcr.io/acme/web", "1")]


@pytest.mark.parametrize(
    "text",
    [
        "image: ghcr.io/acme/web",
        "image: localhost:5000/web",
        "image: {repository: ghcr.io/acme/web}",
        "image: {repository: ghcr.io/acme/web, tag: ''}",
        "image: {repository: ghcr.io/acme/web, tag: }",
        "image: {repository: ghcr.io/acme/web, tag: ~}",
        "image: {tag: 1.2.3}",
        "image: {{ .Values.image }}",
        "image: '{{ .Values.image }}'",
        "image: ${IMAGE}",
        "image: https://example.com/logo.png",
        "image: not an image:1",
        "image: Upper/Case:1",
        "image: [web:1]",
        "name: web\ntag: 1.2.3",
        "repository: https://charts.example.com\ntag: 1.2.3",
        "repository: ghcr.io/acme/web\nversion: 1.2.3",
        "images: [a, b, {}, {name: web}]",
        "",
        "---\n---\n",
        "- - - x",
        "just text",
    ],
)
def test_what_is_no_site(text: str) -> None:
    assert locate(text, "values.yaml") == FileSites(())


def test_an_image_with_its_own_tag_is_not_split() -> None:
    assert seen("image: quay.io/acme/web:v2\ntag: v2\n") == [("image", "quay.io/acme/web", "v2")]


def test_parts_are_where_they_are_written() -> None:
    text = f"\ufeffimage:  {{ digest: '{DIGEST}', tag:  \"1.2\" , repository: ü/web }}\r\n"
    text = text.replace("ü/", "acme/")
    site = only("# ünï 🦊\r\n" + text)
    text = "# ünï 🦊\r\n" + text
    assert [(p.piece, text[p.start : p.end], p.style, p.value) for p in site.parts] == [
        ("tag", '"1.2"', "double", "1.2"),
        ("digest", f"'{DIGEST}'", "single", DIGEST),
    ]


def test_a_field_is_unique_where_names_repeat_or_are_odd() -> None:
    assert [s.field for s in sites(
        """
        containers:
          - {name: app, image: "web:1"}
          - {name: app, image: "web:2"}
          - {name: "7", image: "web:3"}
          - {name: "a b", image: "web:4"}
          - {image: "web:5"}
          - {name: good, image: "web:6"}
        data: {"app.yaml": {image: "web:7"}, "x\\ny": {image: "web:8"}}
        """
    )] == [
        "containers[0].image",
        "containers[1].image",
        "containers[2].image",
        "containers[3].image",
        "containers[4].image",
        "containers[good].image",
        'data["app.yaml"].image',
        'data["x\\ny"].image',
    ]  # fmt: skip


# -- comments ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "marker"),
    [
        ('image: web:1 # {"$imagepolicy": "flux-system:web"}', "flux-system:web"),
        ('image: web:1   #{"$imagepolicy": "flux-system:web"} ', "flux-system:web"),
        ('image: web:1 # {"$imagepolicy": "flux-system:web:tag"}', "flux-system:web"),
        ('image: {repository: acme/web, tag: "1"} # {"$imagepolicy": "a:b:tag"}', "a:b"),
        ('image: {repository: acme/web, # {"$imagepolicy": "a:b:name"}\n  tag: 1}', "a:b"),
        ('image: web:1 # see {"$imagepolicy": "a:b"}', None),
        ('image: "web:1" # {"$imagepolicy": "a"}', None),
        ('image: web:1\n# {"$imagepolicy": "a:b"}', None),
    ],
)
def test_flux_markers(line: str, marker: str | None) -> None:
    assert only(line + "\n").marker == marker


def test_a_flux_marker_makes_any_reference_a_site() -> None:
    found = sites(
        """
        kind: PipelineRun
        spec:
          params:
            - {name: one, value: "web:1"} # {"$imagepolicy": "flux-system:web"}
            - name: two
              value: web:1
            - name: three
              value: nothing # {"$imagepolicy": "flux-system:web"}
        """
    )
    assert [(s.field, s.tag, s.marker) for s in found] == [("spec.params[one].value", "1", "flux-system:web")]


@pytest.mark.parametrize(
    ("text", "claim"),
    [
        ("image: web:1 # automator: shop-web", "shop-web"),
        ("image: web:1 #automator:web  \r\n", "web"),
        ("# automator: web\nimage: web:1", "web"),
        ("spec:\n  # automator: web\r\n  image: web:1\r\n", "web"),
        ("image:\n  repository: acme/web # automator: web\n  tag: 1\n", "web"),
        ("image:\n  repository: acme/web\n  # automator: web\n  tag: 1\n", "web"),
        ("image: {repository: acme/web, tag: 1} # automator: web", "web"),
        ("image: web:1 # automator: two words", None),
        ("image: web:1 # not automator: web", None),
        ("script: |\n  # automator: web\nimage: web:1", None),
        ("# automator: web\n\nimage: web:1", None),
        ("spec:\n# automator: web\n  image: web:1", None),
        ("image: web:1\nother: x # automator: web", None),
    ],
)
def test_claims_by_comment(text: str, claim: str | None) -> None:
    assert only(text).claim == claim


# -- held ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("image: &a web:1\nother: *a\n", "site/alias-shared"),
        ("x: &a web:1\nimage: *a\n", "site/alias-shared"),
        ("v: &v 1.2\nimage: {repository: acme/web, tag: *v}\n", "site/alias-shared"),
        ("image: {repository: acme/web, tag: !!float 1.10}\n", "site/tagged"),
        ("image: !Ref web:1\n", "site/tagged"),
        ("image: acme/web:${TAG:-1.2}\n", "site/templated"),
        ("image: 'acme/web:{{ .Values.tag }}'\n", "site/templated"),
        ("image: {repository: acme/web, tag: '${TAG}'}\n", "site/templated"),
        ('image: "web:1\\x2e2"\n', "site/escaped"),
        ('image: "web:1\\\n  .2"\n', "site/escaped"),
        ("image: web:1\nimage: web:2\n", "site/duplicate-key"),
        ("image: {repository: acme/web, tag: 1, sha: " + "ab" * 32 + "}\n", "site/sha-key"),
        ("image: web:1\nsops: {mac: x}\n", "site/sops"),
        ("image: web:1\n---\nsops: {mac: x}\n", "site/sops"),
    ],
)
def test_what_cannot_be_edited_is_held(text: str, code: str) -> None:
    site = only(text)
    assert site.held is not None
    assert site.held.code == code
    assert site.field in site.held.sentence


@pytest.mark.parametrize(
    "text",
    [
        "image: &a web:1\n",
        "image: !!str web:1\n",
        "image: web:1\nsops: {mac: x, mac_only_encrypted: true}\n",
        'image: "ghcr.io\\/acme\\/web:1"\n',
        "image: {repository: &r acme/web, tag: 1}\nother: *r\n",
        "x: &x {image: web:1}\ny: {<<: *x}\n",
        "image: {repository: acme/web, tag: 1.10}\n",
        "image: {repository: acme/web, tag: 1, sha: ''}\n",
        "image:\n  web:1\n",
    ],
)
def test_what_can_be_edited_is_not_held(text: str) -> None:
    assert only(text).held is None


def test_more_places_of_one_image_than_can_be_followed_are_held() -> None:
    def templated(count: int) -> tuple[Site, ...]:
        return sites("{{ if x }}\nimage: acme/api:1\n" + "image: acme/web:1\n" * count)

    other, *many = templated(MOST_ALIKE + 1)
    assert other.held is None
    assert {site.held.code for site in many if site.held is not None} == {"site/too-many"}
    assert all(site.held is not None for site in many)
    assert f"one of {MOST_ALIKE + 1} places" in str(many[0].held)
    assert all(site.held is None for site in templated(MOST_ALIKE))


def test_an_unused_anchor_and_a_reused_one_are_told_apart() -> None:
    first, second = sites("a: {image: &i web:1}\nb: {image: &i web:2}\nc: *i\n")
    assert (first.held, second.held is None) == (None, False)


def test_a_templated_name_gives_no_repository() -> None:
    site = only("image: ${REGISTRY}/web:1.2\n")
    assert (site.repository, site.written, site.tag, site.held) == (None, "${REGISTRY}/web", "1.2", None)


def test_a_literal_name_is_kept_beside_a_templated_tag() -> None:
    assert only("image: acme/web:${TAG}\n").repository == parse_repository("acme/web")


# -- fields that policies name -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "field", "tag"),
    [
        ("server: {image: {tag: 1.2}}", "server.image.tag", "1.2"),
        ("images:\n- {name: web, newTag: v1}\n- {name: api, newTag: v2}\n", "images[name=api].newTag", "v2"),
        ("images:\n- {name: web, newTag: v1}\n- {name: api, newTag: v2}\n", "images[api].newTag", "v2"),
        ("images:\n- {name: web, newTag: v1}\n- {name: api, newTag: v2}\n", "images[1].newTag", "v2"),
        ("spec: {x: [{y: '3'}]}", "spec.x[0].y", "3"),
        ("spec: {x: ['4']}", "spec.x[0]", "4"),
        ('data: {"a.b": {version: 5}}', 'data["a.b"].version', "5"),
        ("image: ${REGISTRY}/web:6", "image", "6"),
        ("image: ghcr.io/acme/web", "image", None),
        ("image: {repository: ghcr.io/acme/web, tag: '7'}", "image.repository", "7"),
    ],
)
def test_a_field_leads_to_its_scalar(text: str, field: str, tag: str | None) -> None:
    (site,) = locate_field(text + "\n", "values.yaml", field)
    assert (site.tag, site.held, site.selectors) == (tag, None, (field,))


def test_a_field_takes_the_digest_beside_its_tag_along() -> None:
    (site,) = locate_field(f"image: {{tag: 1.2, digest: '{DIGEST}'}}\n", "values.yaml", "image.tag")
    assert (site.tag, site.digest, [p.piece for p in site.parts]) == ("1.2", DIGEST, ["tag", "digest"])


def test_a_field_in_an_item_of_a_list_has_the_items_identity() -> None:
    text = "kind: List\nitems:\n- {kind: Widget, metadata: {name: w}, spec: {version: '1'}}\n"
    (site,) = locate_field(text, "x.yaml", "items[0].spec.version")
    assert (site.kind, site.name, site.repository) == ("Widget", "w", None)


@pytest.mark.parametrize(
    ("text", "field", "code"),
    [
        ("image: {tag: }", "image.tag", "site/empty"),
        ("image: {tag: no tag}", "image.tag", "site/unreadable"),
        ("v: &v 1.2\nw: *v", "w", "site/alias-shared"),
        ("version: |\n  1.2", "version", "site/block-scalar"),
    ],
)
def test_a_field_that_cannot_be_edited_is_held(text: str, field: str, code: str) -> None:
    (site,) = locate_field(text + "\n", "x.yaml", field)
    assert site.held is not None
    assert site.held.code == code


@pytest.mark.parametrize(
    "field", ["image", "a.c", "a[0]", "a.b.c", "l[x=2].v", "l[5].v", "", "a..b", "[", "a b"]
)
def test_a_field_may_lead_nowhere(field: str) -> None:
    assert locate_field("a: {b: 1}\nl: [{x: 1, v: 1}]\nimage: {x: 1}\n", "x.yaml", field) == ()


def test_a_field_may_lead_to_several_places() -> None:
    assert len(locate_field("a: {tag: 1}\n---\na: {tag: 2}\n", "x.yaml", "a.tag")) == 2


@pytest.mark.parametrize(
    "field", ["", ".", "a.", ".a", "a..b", "a[", "a[]", "a]b", "a[x=]", 'a["x]', "a b", "a#b"]
)
def test_what_is_no_field(field: str) -> None:
    assert parse_field(field) is None


# -- files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{{- if .Values.x\nimage: web:1\n{{- end\n", "yaml/unparsable"),
        ("a: " + "[" * 200, "yaml/too-deep"),
        ("image: web:1\n\x00", "yaml/unparsable"),
    ],
)
def test_a_file_that_cannot_be_read_is_a_value(text: str, code: str) -> None:
    found = locate(text, "web.yaml")
    assert found.trouble is not None
    assert (found.sites, found.trouble.code) == ((), code)


def test_an_alias_bomb_is_read_in_no_time() -> None:
    bomb = "a0: &a0 {image: web:1}\n"
    bomb += "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}, *a{n - 1}]\n" for n in range(1, 500))
    assert len(sites(bomb)) == 1


@pytest.mark.parametrize(
    ("data", "may"),
    [
        (b"image: web:1", True),
        (b'{"image":"web:1"}', True),
        (b"newTag: 1", True),
        (b'"tag" : 1', True),
        (b"digest: sha256:00", True),
        (b"BUILD_IMAGE: x", True),
        (b"kind: Service\nstage: tags\n", False),
        (b"\xff\xfe\x00", False),
        (b"", False),
    ],
)
def test_the_screen_lets_every_file_with_a_site_through(data: bytes, may: bool) -> None:
    assert may_hold_sites(data) is may
