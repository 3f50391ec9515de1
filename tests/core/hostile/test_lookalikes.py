"""What looks like an image and is none, or another: not one character may change.

Each text is asked for the image that a careless reader would find in it.
"""

from __future__ import annotations

from parts.hostile import Row, check, table

NONE = {
    "the version of a chart from an HTTP repository": Row(
        "dependencies:\n- name: web\n  version: 1.4.2\n"
        "  repository: https://charts.acme.io\n",
        image="charts.acme.io/web", path="Chart.yaml",
    ),
    "the name of such a chart": Row(
        "dependencies:\n- name: web\n  version: 1.4.2\n"
        "  repository: https://charts.acme.io\n",
        image="web", path="Chart.yaml",
    ),
    "the revision of an Argo CD chart from an HTTP repository": Row(
        "kind: Application\nspec:\n"
        "  source: {repoURL: 'https://charts.acme.io', chart: web, targetRevision: 1.4.2}\n",
        image="charts.acme.io/web",
    ),
    "the branch of a Git repository": Row(
        "kind: Application\nspec:\n"
        "  source: {repoURL: 'https://github.com/acme/web', path: x, targetRevision: 1.4.2}\n",
        image="github.com/acme/web",
    ),
    "the tag of a GitRepository": Row(
        "kind: GitRepository\nspec:\n"
        "  url: https://github.com/acme/web\n  ref: {tag: 1.4.2}\n",
        image="github.com/acme/web",
    ),
    "the chart version of a HelmRelease over HTTP": Row(
        "kind: HelmRepository\nmetadata: {name: acme}\n"
        "spec: {url: 'https://charts.acme.io'}\n---\n"
        "kind: HelmRelease\n"
        "spec: {chart: {spec: {chart: web, version: 1.4.2, sourceRef: {kind: HelmRepository, "
        "name: acme}}}}\n",
        image="charts.acme.io/web",
    ),
    "an action of a workflow": Row(
        "jobs:\n  build:\n    steps:\n    - uses: acme/web@v3\n"
        "    - uses: acme/web/sub@v3\n",
        image="acme/web", to="v4",
    ),
    "the constraint of an image that Argo CD Image Updater watches": Row(
        "apiVersion: argocd-image-updater.argoproj.io/v1alpha1\nkind: ImageUpdater\nspec:\n"
        "  applicationRefs:\n  - images:\n    - {alias: web, imageName: 'acme/web:1.x'}\n",
        image="acme/web", to="1.4.3",
    ),
    "an orb of CircleCI": Row("orbs:\n  web: acme/web@1.4.2\n", image="acme/web"),
    "a query of a remote base": Row(
        "resources:\n- https://github.com/acme/web?ref=1.4.2\n"
        "- github.com/acme/web//deploy?ref=1.4.2\n",
        image="github.com/acme/web", path="kustomization.yaml",
    ),
    "an address with a port": Row(
        "url: http://web:8080/x\nbase: web:8080/x\n",
        image="web", to="8081",
    ),
    "host and port in a variable": Row(
        "env:\n- name: CACHE\n  value: web:6379\n"
        "- {name: UPSTREAM, value: 'acme/web:6379'}\n",
        image="web", to="7",
    ),
    "host and port as an argument": Row(
        "args: [--upstream=web:8080, web:8080]\n",
        image="web", to="8081",
    ),
    "a registry with its port": Row(
        "registry: ghcr.io:443\nhost: ghcr.io:443\n",
        image="ghcr.io", to="444",
    ),
    "ports": Row("ports: ['8080:80', 'web:80']\nexpose: [web:80]\n", image="web", to="81"),
    "volumes": Row("volumes: ['web:1.4.2', 'ghcr.io/acme/web:1.4.2']\n"),
    "links and hosts": Row("links: ['web:1.4.2']\nextra_hosts: ['web:1.4.2']\n", image="web"),
    "labels and annotations": Row(
        "kind: Pod\nmetadata:\n"
        "  labels: {image: 'ghcr.io/acme/web:1.4.2'}\n"
        "  annotations: {image: ghcr.io/acme/web:1.4.2, x: 'ghcr.io/acme/web:1.4.2'}\n",
    ),
    "labels of a template": Row(
        "spec: {template: {metadata: {annotations: {image: 'ghcr.io/acme/web:1.4.2'}}}}\n"
        "kind: Deployment\n",
    ),
    "a status": Row(
        "kind: Pod\nstatus:\n  containerStatuses:\n"
        "  - image: ghcr.io/acme/web:1.4.2\n    imageID: x\n",
    ),
    "the annotation of the last apply": Row(
        "kind: Pod\nmetadata:\n  annotations:\n"
        "    last-applied: |\n"
        '      {"image":"ghcr.io/acme/web:1.4.2"}\n',
    ),
    "a comment": Row("# image: ghcr.io/acme/web:1.4.2\nx: y # ghcr.io/acme/web:1.4.2\n"),
    "a comment in a script": Row(
        "run: |\n  # ghcr.io/acme/web:1.4.2\n"
        "  true // ghcr.io/acme/web:1.4.2\n",
    ),
    "a sentence": Row("description: ghcr.io/acme/web:1.4.2\ntitle: 'ghcr.io/acme/web:1.4.2'\n"),
    "a pull policy": Row(
        "imagePullPolicy: web:1\n"
        "imagePullSecrets: [{name: 'web'}]\n",
        image="web", to="2",
    ),
    "a version alone": Row("name: web\nversion: 1.4.2\nappVersion: 1.4.2\n", image="web"),
    "a version beside a repository": Row("chart: {repository: ghcr.io/acme/web, version: 1.4.2}\n"),
    "a hook of pre-commit": Row(
        "repos:\n- repo: https://github.com/acme/web\n"
        "  rev: 1.4.2\n",
        image="github.com/acme/web",
    ),
    "a machine image": Row(
        "galleryImageVersion: 1.4.2\namiId: ami-012345\n"
        "imageId: acme/web\n",
        image="acme/web",
    ),
    "a Flux filter of the old kind": Row(
        "metadata:\n  annotations:\n"
        "    fluxcd.io/tag.web: glob:1.4.2\n"
        "    filter.fluxcd.io/web: semver:1.4.2\n",
        image="glob",
    ),
    "an ARN and a URN": Row(
        "role: arn:aws:iam::123456789012:role/web\n"
        "id: urn:acme/web:1.4.2\n",
        image="acme/web",
    ),
    "a time of day": Row("at: web/12:30:15\nfrom: 12:30\n", image="web/12", to="31"),
    "a Maven coordinate": Row(
        "dep: org.acme/web:web:1.4.2\nother: io.acme:web:1.4.2\n",
        image="org.acme/web",
    ),
    "an e-mail-like name": Row("user: web@acme.io\nremote: git@github.com:acme/web\n", image="web"),
    "the tag of a template function": Row('x: {{ printf "ghcr.io/acme/web:%s" .Values.tag }}\n'),
    "a Terraform source": Row(
        "source: git::https://github.com/acme/web.git?ref=1.4.2\n",
        image="github.com/acme/web",
    ),
    "the image of a package": Row("package: 'pkg:docker/acme/web@1.4.2'\n", image="acme/web"),
}  # fmt: skip

OTHERS = {
    "a longer name": Row("image: ghcr.io/acme/website:1.4.2\n"),
    "a name with a suffix": Row("image: ghcr.io/acme/web-api:1.4.2\n"),
    "a name with a prefix": Row("image: ghcr.io/acme/my-web:1.4.2\n"),
    "a name below it": Row("image: ghcr.io/acme/web/sub:1.4.2\n"),
    "a name above it": Row("image: ghcr.io/acme:1.4.2\n"),
    "another registry": Row("image: quay.io/acme/web:1.4.2\n"),
    "no registry": Row("image: acme/web:1.4.2\n"),
    "a registry that ends like it": Row("image: my.ghcr.io/acme/web:1.4.2\n"),
    "a registry with a port": Row("image: ghcr.io:5000/acme/web:1.4.2\n"),
    "the same name as the library's": Row(
        "image: acme/nginx:1\nb: {image: ghcr.io/library/nginx:1}\n",
        image="nginx", to="2",
    ),
    "a variable before it": Row("image: ${X}ghcr.io/acme/web:1.4.2\n"),
    "a variable behind it": Row("image: ghcr.io/acme/web${X}:1.4.2\n"),
    "an upper-case name is none": Row("image: ghcr.io/Acme/web:1.4.2\n"),
    "a mirror's path": Row("image: mirror.acme.io/ghcr.io/acme/web:1.4.2\n"),
    "in a longer word": Row(
        "args: ['x-ghcr.io/acme/web:1.4.2', 'ghcr.io/acme/web:1.4.2/x', 'ghcr.io/acme/web:1.4.2%']\n",
    ),
    "a name whose renaming counts": Row(
        "images:\n- name: ghcr.io/acme/web\n"
        "  newName: quay.io/acme/web\n  newTag: 1.4.2\n",
        path="kustomization.yaml",
    ),
}  # fmt: skip


@table(NONE)
def test_what_is_no_image_stays(row: Row, layout: str) -> None:
    check(row, layout)


@table(OTHERS)
def test_what_is_another_image_stays(row: Row, layout: str) -> None:
    check(row, layout)
