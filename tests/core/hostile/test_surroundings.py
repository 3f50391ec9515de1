"""What stands around a version decides: merges, digests, templates and patterns beside it."""

from __future__ import annotations

from parts.hostile import Row, check, table

from automator import set_image
from automator.core.site import locate

W = "ghcr.io/acme/web"
HASH = "ab" * 32

MERGES = {
    "a list of merges": Row(
        f"base: &b\n  repository: {W}\n  tag: 1.4.2\nother:\n  <<: [*b]\n  repository: ghcr.io/acme/other\n",
        held="site/merged",
    ),
    "a chain of merges": Row(
        f"base: &b\n  repository: {W}\n  tag: 1.4.2\nmid: &m\n  <<: *b\n"
        "other:\n  <<: *m\n  repository: ghcr.io/acme/other\n",
        held="site/merged",
    ),
    "a merge that adds a registry": Row(
        "base: &b\n  repository: acme/web\n  tag: 1.4.2\nother:\n  <<: *b\n  registry: quay.io\n",
        image="acme/web",
        held="site/merged",
    ),
    "a merge in a kustomization": Row(
        f"images:\n- &b\n  name: {W}\n  newTag: 1.4.2\n- <<: *b\n  newName: ghcr.io/acme/other\n",
        path="kustomization.yaml",
        held="site/merged",
    ),
    "a merge that says its own tag": Row(
        f"base: &b\n  repository: {W}\n  tag: «1.4.2→1.4.3»\n"
        "other:\n  <<: *b\n  repository: ghcr.io/acme/other\n  tag: 1.0.0\n",
    ),
}

DIGESTS = {
    "an imageDigest that a merge brings": Row(
        f"d: &d {{imageDigest: 'sha256:OLD'}}\nweb: {{<<: *d, image: {W}, imageTag: 1.4.2}}\n",
        held="site/digest-beside",
    ),
    "an empty digest before a real one": Row(
        f"repository: {W}\ntag: 1.4.2\ndigest: ''\nimageDigest: sha256:OLD\n",
        held="site/digest-beside",
    ),
    "two digests": Row(
        f"repository: {W}\ntag: 1.4.2\ndigest: sha256:OLD\nimageDigest: sha256:OLD\n",
        held="site/digest-beside",
    ),
    "a tagDigest": Row(f"repository: {W}\ntag: 1.4.2\ntagDigest: sha256:OLD\n", held="site/digest-beside"),
    "a hash": Row(f"repository: {W}\ntag: 1.4.2\nhash: sha256:OLD\n", held="site/digest-beside"),
    "a bare hash beside a reference": Row(f"image: {W}:1.4.2\nsha256: {HASH}\n", held="site/digest-beside"),
    "a digest beside a named image": Row(
        f"image:\n  name: {W}:1.4.2\n  digest: sha256:OLD\n", held="site/digest-beside"
    ),
    "a hash among parameters": Row(
        f"parameters:\n- {{name: image.repository, value: {W}}}\n- {{name: image.tag, value: 1.4.2}}\n"
        f"- {{name: image.sha, value: {HASH}}}\n",
        held="site/digest-beside",
    ),
    "a digest beside a field": Row(
        "imageTag: 1.4.2\nimageDigest: sha256:OLD\n", image="", field="imageTag", held="site/digest-beside"
    ),
    "a digest behind a newName with a tag": Row(
        f"images:\n- name: x\n  newName: {W}:1.4.2\n  digest: sha256:OLD\n", held="set/digest-key"
    ),
    "a digest beside a template variable": Row(
        f'{{{{ $v := "1.4.2" }}}}\nimage: {W}:{{{{ $v }}}}\ndigest: sha256:OLD\n',
        held="site/digest-beside",
    ),
    "a digest without its algorithm": Row(
        f"images:\n- name: {W}\n  newTag: 1.4.2\n  digest: {HASH}\n",
        path="kustomization.yaml",
        held="site/sha-key",
    ),
    "a digest in what is no YAML": Row(
        f"}}{{ {{{{ x }}}}\nimage:\n  repository: {W}\n  tag: 1.4.2\n  digest: sha256:OLD\n",
        held="site/digest-beside",
    ),
}


def used(rest: str) -> str:
    return f'{{{{ $v := "1.4.2" }}}}\na:\n  image: {W}:{{{{ $v }}}}\n{rest}'


VARIABLES = {
    "another image, longer tag": Row(
        used("b:\n  image: ghcr.io/acme/other:{{ $v }}-alpine\n"), held="site/template-shared"
    ),
    "another image, piped": Row(
        used("b:\n  image: ghcr.io/acme/other:{{ $v | quote }}\n"), held="site/template-shared"
    ),
    "another image in an argument": Row(
        used('  args: ["--side=ghcr.io/acme/other:{{ $v }}"]\n'), held="site/template-shared"
    ),
    "another image by printf": Row(
        used('b:\n  image: {{ printf "ghcr.io/acme/other:%s" $v }}\n'), held="site/template-shared"
    ),
    "another image in two keys": Row(
        used("b:\n  repository: ghcr.io/acme/other\n  tag: {{ $v }}\n"), held="site/template-shared"
    ),
    "a loop over the same name": Row(
        used("{{ range $v := .Values.l }}\nb:\n  image: ghcr.io/acme/web:{{ $v }}\n{{ end }}\n"),
        held="site/templated",
    ),
    "a label with the version": Row(
        f'{{{{ $v := "«1.4.2→1.4.3»" }}}}\na:\n  image: {W}:{{{{ $v }}}}\n'
        "  labels:\n    version: {{ $v }}\n"
    ),
}


def branch(line: str) -> str:
    return "{{- if .Values.x }}\n" + line + "\n{{- end }}\n"


TEMPLATES = {
    "a template glued on": Row(branch(f'image: {W}:1.4.2{{{{ template "sfx" . }}}}'), held="site/templated"),
    "a tag with a template glued on": Row(
        branch(f'repository: {W}\ntag: 1.4.2{{{{ template "sfx" . }}}}'), held="site/templated"
    ),
    "a name with a template before it": Row(
        branch('image: {{ template "reg" . }}acme/web:1.4.2'), image="acme/web"
    ),
    "a template that eats the space": Row(
        branch(f"image: {W}:1.4.2 {{{{- .Values.suffix }}}}"), held="site/templated"
    ),
    "a condition that eats the space": Row(
        branch(f"image: {W}:1.4.2 {{{{- if .x }}}}-alpine{{{{ end }}}}"), held="site/templated"
    ),
    "Jinja glued on": Row(f"image: {W}:1.4.2{{% include 's' %}}\n", held="site/templated"),
    "a registry above, in what is no YAML": Row(
        "}{ {{ x }}\nimage:\n  registry: quay.io\n  repository: acme/web\n  tag: 1.4.2\n", image="acme/web"
    ),
    "a number in what is no YAML": Row(
        f'}}{{ {{{{ x }}}}\nimage:\n  repository: {W}\n  tag: «1.4.2→"1.10"»\n', to="1.10"
    ),
    "a label in what is no YAML": Row(f"}}{{ {{{{ x }}}}\nlabels:\n  app: {W}:1.4.2\n"),
}

PATTERNS = {
    "a glob": Row(f'args: ["--allow={W}:1.4.*"]\n', to="2.0.0"),
    "an escaped dot": Row(f"args:\n- --allow={W}:1\\.4\\.2\n", to="2.0.0"),
    "braces": Row(f'args: ["--allow={W}:1.4.{{1,2}}"]\n', to="2.0.0"),
    "alternatives": Row(f'pattern: "{W}:1.*|{W}:2.*"\n', to="3.0.0"),
    "a group": Row(f'args: ["--allow={W}:1.4.(2|3)"]\n', to="2.0.0"),
    "an image key with a glob": Row(f'image: "{W}:1.4.*"\n', to="2.0.0"),
    "a variable behind": Row(f"args: ['--img={W}:1.4.2-${{ARCH}}']\n"),
}

NAMES = {
    "a container called like an image": Row(
        f"kind: Pod\nspec:\n  containers:\n  - {{name: '{W}:1.4.2', image: 'ghcr.io/acme/api:1.0.0'}}\n"
    ),
    "an image stream": Row(f"spec:\n  from:\n    kind: DockerImage\n    name: {W}:«1.4.2→1.4.3»\n"),
    "a list of images": Row(f"images:\n- name: {W}:«1.4.2→1.4.3»\n"),
}

NUMBERS = {
    "a number that ends in a zero": Row(f'repository: {W}\ntag: «1.9→"2.0"»\n', to="2.0"),
    "the same in JSON": Row(f'{{"repository": "{W}", "tag": «1.9→"2.0"»}}\n', to="2.0"),
}

HASHED = {
    "a bare hash is no tag": Row(
        f"repository: {W}@sha256\ntag: {HASH}\n", old=f"sha256:{HASH}", held="set/pinned"
    ),
}


@table(MERGES)
def test_merges(row: Row, layout: str) -> None:
    check(row, layout)


@table(DIGESTS)
def test_digests(row: Row, layout: str) -> None:
    check(row, layout)


@table(VARIABLES)
def test_template_variables(row: Row, layout: str) -> None:
    check(row, layout)


@table(TEMPLATES)
def test_templates(row: Row, layout: str) -> None:
    check(row, layout)


@table({**PATTERNS, **NAMES, **NUMBERS, **HASHED})
def test_patterns_numbers_and_hashes(row: Row, layout: str) -> None:
    check(row, layout)


def test_a_pinned_parameter_is_one_image() -> None:
    digest = f"sha256:{HASH}"
    text = f'p:\n- {{name: image.repository, value: {W}}}\n- {{name: image.tag, value: "v1.4.2@{digest}"}}\n'
    (site,) = locate(text, "x.yaml").sites
    assert (str(site.repository), site.tag, site.digest, site.held) == (W, "v1.4.2", digest, None)


def test_a_chart_never_gets_a_version_that_reads_as_a_range() -> None:
    text = "dependencies:\n- {name: web, version: 1.4.2, repository: 'oci://ghcr.io/acme'}\napiVersion: v2\n"
    setting = set_image(text, image="oci://ghcr.io/acme/web", to="1.10", path="Chart.yaml")
    assert (setting.text, [why.code for why in setting.held]) == (text, ["site/range"])
