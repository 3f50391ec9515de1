"""The ways in which files spell an image, at their most awkward."""

from __future__ import annotations

import pytest
from parts.hostile import Row, check, table

from automator import set_image

KEYS = {
    "hub and tag": Row("global:\n  hub: ghcr.io/acme\n  tag: «1.4.2→1.4.3»\n  image: web\n"),
    "hub and tag, tag first": Row(
        "global: {tag: '«1.4.2→1.4.3»', image: web, hub: ghcr.io/acme}\n",
    ),
    "image and version": Row("spec:\n  image: ghcr.io/acme/web\n  version: «1.4.2→1.4.3»\n"),
    "imageName and imageTag": Row("imageTag: «1.4.2→1.4.3»\nimageName: ghcr.io/acme/web\n"),
    "image_name and image_tag": Row("image_name: ghcr.io/acme/web\nimage_tag: '«1.4.2→1.4.3»'\n"),
    "fooImage and fooTag": Row(
        "webImage: ghcr.io/acme/web\nwebTag: «1.4.2→1.4.3»\n"
        "apiImage: ghcr.io/acme/api\napiTag: 1.4.2\n",
    ),
    "fooImage and fooImageTag": Row("webImageTag: «1.4.2→1.4.3»\nwebImage: ghcr.io/acme/web\n"),
    "image and tag": Row("image: ghcr.io/acme/web\ntag: «1.4.2→1.4.3»\n"),
    "a tag beside an image that has one": Row(
        "image: ghcr.io/acme/web:«1.4.2→1.4.3»\ntag: 1.4.2\n",
    ),
    "image under image": Row("image:\n  image: ghcr.io/acme/web\n  tag: «1.4.2→1.4.3»\n"),
    "a repository with its tag in it": Row(
        "image: {repository: 'ghcr.io/acme/web:«1.4.2→1.4.3»'}\n",
    ),
    "an upper-case variable": Row("variables:\n  WEB_IMAGE: ghcr.io/acme/web:«1.4.2→1.4.3»\n"),
    "image and tag variables": Row("WEB_IMAGE: ghcr.io/acme/web\nWEB_TAG: «1.4.2→1.4.3»\n"),
    "a suffix after a hyphen": Row("build-image: ghcr.io/acme/web:«1.4.2→1.4.3»\n"),
    "related images": Row(
        "relatedImages:\n"
        "- {name: web, image: 'ghcr.io/acme/web@«sha256:OLD→sha256:NEW»'}\n",
        to="@sha256:NEW",
    ),
    "a scheme of OCI": Row("bundle: oci://ghcr.io/acme/web:«1.4.2→1.4.3»\n"),
    "a scheme of Docker": Row("uses: docker://ghcr.io/acme/web:«1.4.2→1.4.3»\n"),
    "a scheme in the asking": Row(
        "uses: docker://ghcr.io/acme/web:«1.4.2→1.4.3»\n",
        image="docker://ghcr.io/acme/web",
    ),
    "a getter's scheme": Row(
        "source: oci::ghcr.io/acme/web@«sha256:OLD→sha256:NEW»\n",
        to="@sha256:NEW",
    ),
    "a short name for the same image": Row(
        "image: docker.io/library/nginx:«1.25→1.27»\n",
        image="nginx", to="1.27",
    ),
    "a long name for the same image": Row(
        "image: nginx:«1.25→1.27»\n",
        image="index.docker.io/library/nginx", to="1.27",
    ),
    "a name with a variable": Row(
        "image: ${REGISTRY}/web:«1.4.2→1.4.3»\n",
        image="${REGISTRY}/web",
    ),
    "a name with a build's braces": Row(
        "image: acme/{arch}-web:«1.4.2→1.4.3»\n",
        image="acme/{arch}-web",
    ),
    "a comment of Renovate": Row(
        "# renovate: datasource=docker depName=ghcr.io/acme/web\nweb_version: «1.4.2→1.4.3»\n",
    ),
    "a comment of Renovate about another thing": Row(
        "# renovate: datasource=github-releases depName=ghcr.io/acme/web\nweb_version: 1.4.2\n",
    ),
    "markers of Flux alone": Row(
        'x: «1.4.2→1.4.3» # {"$imagepolicy": "a:b:tag"}\n'
        'y: ghcr.io/acme/web # {"$imagepolicy": "a:b:name"}\n',
    ),
    "a tag that is a variable": Row("image: ghcr.io/acme/web:${TAG}\n", held="site/templated"),
    "a templated place beside a literal one": Row(
        "a: {image: 'ghcr.io/acme/web:${TAG}'}\n"
        "b: {image: 'ghcr.io/acme/web:«1.4.2→1.4.3»'}\n",
    ),
}  # fmt: skip

TEXTS = {
    "a reference behind an equals sign": Row(
        "args: [--image=ghcr.io/acme/web:«1.4.2→1.4.3», --v=1.4.2]\n",
    ),
    "an argument of its own": Row(
        "args:\n- --image\n- ghcr.io/acme/web:«1.4.2→1.4.3»\n"
        "- '1.4.2'\n",
    ),
    "two references in one argument": Row(
        "args: ['web=ghcr.io/acme/web:«1.4.2→1.4.3»,api=ghcr.io/acme/api:1.4.2']\n",
    ),
    "twice in one argument": Row(
        "args: ['a=ghcr.io/acme/web:«1.4.2→1.4.3»;b=ghcr.io/acme/web:«1.4.2→1.4.3»']\n",
    ),
    "an environment value": Row(
        "env:\n- name: SIDECAR\n"
        "  value: ghcr.io/acme/web:«1.4.2→1.4.3»  # s\n"
        "- {name: V, value: 1.4.2}\n",
    ),
    "an environment list": Row(
        "environment:\n- SIDECAR=ghcr.io/acme/web:«1.4.2→1.4.3»\n"
        "- V=1.4.2\n",
    ),
    "a script": Row(
        "run: |\n  set -e\n"
        "  docker run ghcr.io/acme/web:«1.4.2→1.4.3» --v 1.4.2\n"
        "  \techo done\n",
    ),
    "a unit of systemd": Row(
        "content: |\n  [Service]\n"
        "  ExecStart=/usr/bin/docker run ghcr.io/acme/web:«1.4.2→1.4.3» x\n",
    ),
    "XML": Row("config.xml: |\n  <x>\n    <image>ghcr.io/acme/web:«1.4.2→1.4.3»</image>\n  </x>\n"),
    "a tag that ends in a hyphen": Row(
        "args: ['--image=ghcr.io/acme/web:«1.4.2-→1.4.3» --wait']\n"
    ),
    "the end of a sentence": Row("command: 'pull ghcr.io/acme/web:«1.4.2→1.4.3».'\n"),
}  # fmt: skip

LISTS = {
    "parameters of Helm, the tag first": Row(
        "kind: Application\nspec:\n  source:\n    helm:\n"
        "      parameters:\n"
        "      - {name: image.tag, value: '«1.4.2→1.4.3»'}\n"
        "      - {name: image.repository, value: ghcr.io/acme/web}\n"
        "      - {name: other.tag, value: 1.4.2}\n",
    ),
    "two images among the parameters": Row(
        "parameters:\n- name: web.image.repository\n"
        "  value: ghcr.io/acme/web\n- name: web.image.tag\n"
        "  value: «1.4.2→1.4.3»\n- name: api.image.repository\n"
        "  value: ghcr.io/acme/api\n- name: api.image.tag\n"
        "  value: 1.4.2\n",
    ),
    "a value before its name": Row(
        "parameters:\n- value: ghcr.io/acme/web\n"
        '  name: image.repository\n- value: «v1→"1.10"»\n'
        "  name: image.tag\n",
        to="1.10",
    ),
    "a tag among parameters whose name is nowhere": Row(
        "parameters:\n- {name: image.tag, value: 1.4.2}\n"
        "- {name: x, value: y}\n",
    ),
    "a parameter that stands twice": Row(
        "parameters:\n- {name: image.tag, value: 1.4.2}\n"
        "- {name: image.repository, value: ghcr.io/acme/web}\n"
        "- {name: image.tag, value: 1.4.2}\n",
        held="site/duplicate-key",
    ),
    "parameters of Tekton": Row(
        "params:\n- name: IMAGE\n"
        "  value: ghcr.io/acme/web:«1.4.2→1.4.3»\n"
        "- {name: TAG, value: 1.4.2}\n",
    ),
    "a default of Tekton": Row(
        "params:\n- name: builder-image\n"
        "  default: ghcr.io/acme/web:«1.4.2→1.4.3»\n",
    ),
    "images of Argo CD's Kustomize": Row(
        "kind: Application\nspec:\n  source:\n    kustomize:\n"
        "      images:\n      - ghcr.io/acme/web:«1.4.2→1.4.3»\n"
        "      - old=ghcr.io/acme/api:1.4.2\n",
    ),
    "images of Argo CD's Kustomize, renamed": Row(
        "kind: Application\n"
        "spec: {source: {kustomize: {images: ['web=ghcr.io/acme/web:«1.4.2→1.4.3»']}}}\n",
    ),
}  # fmt: skip

KINDS = {
    "Kustomize: tag before name, renamed": Row(
        "images:\n- newTag: «1.4.2→1.4.3»\n"
        "  newName: ghcr.io/acme/web\n  name: web\n",
        path="kustomization.yaml",
    ),
    "Kustomize: a placeholder for a name": Row(
        "images:\n- name: ${IMAGE}\n  newTag: '«1→2»'\n",
        image="${IMAGE}", to="2", path="kustomization.yaml",
    ),
    "Kustomize: the tag in the new name": Row(
        "images:\n- name: web\n"
        "  newName: ghcr.io/acme/web:«1.4.2→1.4.3»\n",
        path="kustomization.yaml",
    ),
    "Kustomize: a digest beside the tag": Row(
        "images: [{name: ghcr.io/acme/web, newTag: «1.4.2→1.4.3», digest: '«sha256:OLD→sha256:NEW»'}]\n",
        to="1.4.3@sha256:NEW", path="Kustomization",
    ),
    "Kustomize: a component": Row(
        "kind: Component\nimages:\n- name: ghcr.io/acme/web\n"
        "  digest: «sha256:OLD→sha256:NEW»\n",
        to="@sha256:NEW",
    ),
    "Flux: images of a Kustomization": Row(
        "kind: Kustomization\nspec:\n  images:\n"
        "  - name: ghcr.io/acme/web\n    newTag: «1.4.2→1.4.3»\n",
    ),
    "Flux: an OCI artifact": Row(
        "kind: OCIRepository\nspec:\n  ref: {tag: «1.4.2→1.4.3»}\n"
        "  url: oci://ghcr.io/acme/web\n",
    ),
    "Flux: an OCI artifact with its digest": Row(
        "kind: OCIRepository\n"
        "spec: {url: 'oci://ghcr.io/acme/web', ref: {tag: 1.4.2, digest: 'sha256:OLD'}}\n",
        held="set/digest-key",
    ),
    "Flux: a range follows by itself": Row(
        "kind: OCIRepository\n"
        "spec: {url: 'oci://ghcr.io/acme/web', ref: {semver: 1.4.x}}\n",
    ),
    "Flux: a chart of an OCI HelmRepository": Row(
        "kind: HelmRelease\n"
        "spec: {chart: {spec: {chart: web, version: «1.4.2→1.4.3», sourceRef: {kind: "
        "HelmRepository, name: a}}}}\n---\nkind: HelmRepository\n"
        "metadata: {name: a}\n"
        "spec: {type: oci, url: 'oci://ghcr.io/acme'}\n",
    ),
    "Flux: values of a HelmRelease": Row(
        "kind: HelmRelease\nspec:\n"
        "  chart: {spec: {chart: web, version: 1.4.2}}\n  values:\n"
        "    a: {b: [{image: {repository: ghcr.io/acme/web, tag: «1.4.2→1.4.3»}}]}\n",
    ),
    "Helm: a chart's dependency": Row(
        "version: 1.4.2\ndependencies:\n- version: «1.4.2→1.4.3»\n"
        "  repository: oci://ghcr.io/acme\n  name: web\n",
        path="Chart.yaml",
    ),
    "Argo CD: an OCI chart": Row(
        "kind: Application\nspec:\n  source:\n"
        "    repoURL: ghcr.io/acme\n    chart: web\n"
        "    targetRevision: «1.4.2→1.4.3»\n",
    ),
    "Argo CD: several sources": Row(
        "kind: Application\nspec:\n  sources:\n"
        "  - {repoURL: 'oci://ghcr.io/acme/web', path: ., targetRevision: «1.4.2→1.4.3»}\n"
        "  - {repoURL: 'https://github.com/acme/web', targetRevision: 1.4.2}\n",
    ),
    "Compose: a default in place": Row(
        "services:\n  web:\n"
        "    image: ghcr.io/acme/web:${TAG:-«1.4.2→1.4.3»} # d\n"
        "    environment: ['V=${TAG:-1.4.2}']\n",
        path="compose.yaml",
    ),
    "Compose: a default for unset alone": Row(
        "services: {web: {image: 'ghcr.io/acme/web:${TAG-«1.4.2→1.4.3»}'}}\n",
        path="docker-compose.yml",
    ),
    "Compose: a default with its digest": Row(
        "services:\n  web:\n"
        "    image: ghcr.io/acme/web:${TAG:-«1.4.2→1.4.3»}@«sha256:OLD→sha256:NEW»\n",
        to="1.4.3@sha256:NEW", path="compose.yml",
    ),
    "Compose: a default that is pinned": Row(
        "services: {web: {image: 'ghcr.io/acme/web:${TAG:-«1.4.2→1.4.3@sha256:NEW»}'}}\n",
        to="1.4.3@sha256:NEW",
        path="compose.yaml",
    ),
    "Compose: a default whose digest stands behind it": Row(
        "services: {web: {image: 'ghcr.io/acme/web:${TAG:-1.4.2}@sha256:OLD'}}\n",
        held="set/digest-key",
        path="compose.yaml",
    ),
    "Compose: a default for the whole": Row(
        "services: {web: {image: '${IMAGE:-ghcr.io/acme/web:«1.4.2→1.4.3»}'}}\n",
        path="compose.yaml",
    ),
    "Compose: an error instead of a default": Row(
        "services: {web: {image: 'ghcr.io/acme/web:${TAG:?set it}'}}\n",
        path="compose.yaml", held="site/templated",
    ),
    "Compose: a label, a port and a build beside it": Row(
        "services:\n  web:\n"
        "    image: ghcr.io/acme/web:«8080→8081»\n"
        "    ports: ['8080:8080']\n    build: {args: {V: 8080}}\n",
        to="8081", path="compose.yaml",
    ),
    "an .env": Row(
        "# web\n"
        'export WEB_IMAGE="ghcr.io/acme/web:«1.4.2→1.4.3»" # w\n'
        "TAG=1.4.2\n",
        path=".env",
    ),
    "an .env, by its variable": Row(
        "A=1\nTAG=«1.4.2→1.4.3»\n",
        path="deploy/.env", image="", field="TAG",
    ),
    "a List of Deployments": Row(
        "kind: DeploymentList\n"
        "items: [{kind: Deployment, spec: {template: {spec: {initContainers: [{image: "
        "'ghcr.io/acme/web:«1.4.2→1.4.3»'}]}}}}]\n",
    ),
    "a List within a List": Row(
        "kind: List\nitems:\n- kind: List\n  items:\n"
        "  - kind: Pod\n"
        "    spec: {containers: [{name: a, image: 'ghcr.io/acme/web:«1.4.2→1.4.3»'}]}\n",
    ),
    "a template of Argo Workflows": Row(
        "kind: WorkflowTemplate\n"
        "spec: {templates: [{name: a, container: {image: 'ghcr.io/acme/web:«1.4.2→1.4.3»'}}, "
        "{name: b, script: {image: x:1}}]}\n",
    ),
    "a volume from an image": Row(
        "kind: Pod\nspec:\n  volumes:\n"
        "  - {name: m, image: {reference: 'ghcr.io/acme/web:«1.4.2→1.4.3»', pullPolicy: Always}}\n",
    ),
    "SOPS whose MAC covers all": Row(
        "image: ghcr.io/acme/web:1.4.2\n"
        "sops: {mac: 'ENC[x]', version: 3.9.0}\n",
        held="site/sops",
    ),
    "SOPS whose MAC covers secrets": Row(
        "image: ghcr.io/acme/web:«1.4.2→1.4.3»\n"
        "secret: ENC[AES256_GCM,data:x]\n"
        "sops: {mac: x, mac_only_encrypted: true}\n",
    ),
    "SOPS in another document": Row(
        "image: ghcr.io/acme/web:1.4.2\n---\nkind: Secret\n"
        "sops: {mac: x}\n",
        held="site/sops",
    ),
}  # fmt: skip

FIELDS = {
    "an item by its name": Row(
        "images: [{name: a, newTag: 1}, {name: b, newTag: «1→2»}]\n",
        image="", to="2", field="images[name=b].newTag",
    ),
    "an item by its index": Row("tags: [1, «1→2», 1]\n", image="", to="2", field="tags[1]"),
    "a key with a dot and a space": Row(
        '"a.b c": {tag: «1→2»}\na: {tag: 1}\n',
        image="", to="2", field='["a.b c"].tag',
    ),
    "a tag without any repository": Row(
        "image:\n  tag: «1.4.2→1.4.3»\n",
        image="", field="image.tag",
    ),
    "a field that is in two documents": Row(
        "tag: 1\n---\ntag: 1\n",
        image="", to="2", field="tag", held="set/field-several",
    ),
    "one of two documents by the old version": Row(
        "tag: 1\n---\ntag: «3→4»\n",
        image="", to="4", old="3", field="tag",
    ),
    "another image at the field": Row(
        "image: ghcr.io/acme/api:1.4.2\n",
        field="image", held="set/other-image",
    ),
    "a field that is a mapping": Row(
        "image: {tag: 1.4.2}\n",
        image="", field="image", held="set/field-nothing",
    ),
    "a field with nothing in it": Row(
        "image: {tag: }\n",
        image="", field="image.tag", held="site/empty",
    ),
    "a field in a text": Row(
        "values: |\n  image:\n    tag: «1.4.2→1.4.3»\n",
        image="", field="values|image.tag",
    ),
    "a field whose value is shared": Row(
        "v: &v 1.4.2\nw: *v\n",
        image="", field="v", held="site/alias-shared",
    ),
    "a selector that fits two": Row(
        "x: [{a: 1, v: 1}, {a: 1, v: 1}]\n",
        image="", to="2", field="x[a=1].v", held="set/field-several",
    ),
}  # fmt: skip


@table(KEYS)
def test_keys(row: Row, layout: str) -> None:
    check(row, layout)


@table(TEXTS)
def test_references_inside_texts(row: Row, layout: str) -> None:
    check(row, layout)


@table(LISTS)
def test_parameters(row: Row, layout: str) -> None:
    check(row, layout)


@table(KINDS)
def test_kinds(row: Row, layout: str) -> None:
    check(row, layout)


@table(FIELDS)
def test_fields(row: Row, layout: str) -> None:
    check(row, layout)


ORDERS = [
    ["registry", "repository", "tag", "digest"],
    ["digest", "tag", "repository", "registry"],
    ["tag", "registry", "digest", "repository"],
]


@pytest.mark.parametrize("keys", ORDERS, ids=lambda keys: keys[0])
def test_keys_in_any_order(keys: list[str]) -> None:
    old = {"registry": "ghcr.io", "repository": "acme/web", "tag": "1.4.2", "digest": "sha256:" + "0" * 64}
    new = old | {"tag": "1.4.3", "digest": "sha256:" + "f" * 64}
    before, after = ("".join(f"{key}: {values[key]}\n" for key in keys) for values in (old, new))
    assert set_image(before, image="ghcr.io/acme/web", to=f"1.4.3@{new['digest']}").text == after
