"""Files that are no YAML because of templates, YAML within YAML, and JSON."""

from __future__ import annotations

from parts.hostile import Row, check, table

TEMPLATES = {
    "a condition around a key": Row(
        "spec:\n  {{- if .Values.web }}\n"
        "  image: ghcr.io/acme/web:«1.4.2→1.4.3» # web\n"
        "  {{- end }}\n",
    ),
    "both branches of a condition": Row(
        "{{ if .Values.a }}\n"
        "image: ghcr.io/acme/web:«1.4.2→1.4.3»\n{{ else }}\n"
        "image: ghcr.io/acme/web:«1.4.2→1.4.3»\n{{ end }}\n",
    ),
    "branches with different images": Row(
        "{{- if .a }}\nimage: ghcr.io/acme/api:1.4.2\n{{- else }}\n"
        "image: ghcr.io/acme/web:«1.4.2→1.4.3»\n{{- end }}\n",
    ),
    "a loop over containers": Row(
        "containers:\n{{- range .Values.x }}\n- name: {{ . }}\n"
        '  image: "ghcr.io/acme/web:«1.4.2→1.4.3»"\n{{- end }}\n',
    ),
    "a templated registry": Row(
        'labels: {{ include "x" . | nindent 4 }}\n'
        'image: "{{ .Values.registry }}/acme/web:«1.4.2→1.4.3»"\n',
        image="{{ .Values.registry }}/acme/web",
    ),
    "a templated tag": Row(
        "{{- with .Values }}\nimage: ghcr.io/acme/web:{{ .tag }}\n"
        "{{- end }}\n",
        held="site/templated",
    ),
    "half a tag from a template": Row(
        "{{- with .Values }}\n"
        "image: ghcr.io/acme/web:1.4-{{ .flavour }}\n{{- end }}\n",
        held="site/templated",
    ),
    "a literal tag beside a literal repository": Row(
        "{{- if .Values.x }}\nimage:\n"
        "  repository: ghcr.io/acme/web\n  tag: «1.4.2→1.4.3»\n"
        "{{- end }}\n",
    ),
    "a literal tag beside a templated repository": Row(
        "{{- if .Values.x }}\nimage:\n  repository: {{ .r }}\n"
        "  tag: 1.4.2\n{{- end }}\n",
    ),
    "a number in a templated file": Row(
        "{{- if .Values.x }}\nimage:\n"
        '  repository: ghcr.io/acme/web\n  tag: «v1→"1.10"»\n'
        "{{- end }}\n",
        to="1.10",
    ),
    "a variable of the template": Row(
        '{{ $version := "«1.4.2→1.4.3»" }}\n'
        "image: ghcr.io/acme/web:{{ $version }}\n"
        "label: {{ $version }}\n",
    ),
    "a variable in backquotes, trimmed": Row(
        "{{- $v := `«1.4.2→1.4.3»` -}}\n{{ if .x }}\n"
        "image: ghcr.io/acme/web:{{$v}}\n{{ end }}\n",
    ),
    "a variable that is set twice": Row(
        '{{ $v := "1.4.2" }}{{ if .x }}{{ $v = "1.4.1" }}{{ end }}\n'
        "image: ghcr.io/acme/web:{{ $v }}\n",
        held="site/templated",
    ),
    "a variable for two images": Row(
        '{{ $v := "1.4.2" }}\n'
        'a: {image: "ghcr.io/acme/web:{{ $v }}"}\n'
        'b: {image: "ghcr.io/acme/api:{{ $v }}"}\n',
        held="site/template-shared",
    ),
    "a condition within the tag": Row(
        "a: {{ .b }}: c\n"
        "image: ghcr.io/acme/web:{{ if .x }}1.4.2{{ else }}1.4.1{{ end }}\n",
        held="site/templated",
    ),
    "a tag of its own in each branch": Row(
        "repository: ghcr.io/acme/web\n{{ if .x }}\ntag: 1.4.2\n"
        "{{ else }}\ntag: 1.4.1\n{{ end }}\n",
        held="site/duplicate-key",
    ),
    "a digest in the other branch": Row(
        "repository: ghcr.io/acme/web\n{{ if .x }}\ntag: 1.4.2\n"
        "{{ else }}\ndigest: sha256:OLD\n{{ end }}\n",
        held="set/digest-key",
    ),
    "a template in the middle of the name": Row(
        "{{ if .x }}\nimage: ghcr.io/{{ .org }}/web:«1.4.2→1.4.3»\n{{ end }}\n",
        image="ghcr.io/{{ .org }}/web",
    ),
    "split values in what is broken beyond its templates": Row(
        "{{ if .x }}\n a: b: c\n}\nimage:\n  repository: ghcr.io/acme/web\n"
        "  tag: «1.4.2→1.4.3»\n{{ end }}\n",
    ),
    "a comment of the template": Row(
        "{{/* image: ghcr.io/acme/web:1.4.2 */}}\n{{- if .x }}\n"
        "image: ghcr.io/acme/web:«1.4.2→1.4.3»\n{{- end }}\n",
    ),
    "a comment of the template over lines": Row(
        "{{- /*\nimage: ghcr.io/acme/web:1.4.2\n*/ -}}\n"
        "{{- if .x }}\nimage: ghcr.io/acme/web:«1.4.2→1.4.3»\n"
        "{{- end }}\n",
    ),
    "a default within a template": Row(
        "{{- if .x }}\n"
        'image: {{ .Values.image | default "ghcr.io/acme/web:«1.4.2→1.4.3»" }}\n'
        "{{- end }}\n",
    ),
    "a template first, and a tab": Row(
        "{{ if .x }}\n"
        "image: ghcr.io/acme/web:«1.4.2→1.4.3»\t# web\n{{ end }}\n",
    ),
    "Jinja": Row("{% if x %}\nimage: ghcr.io/acme/web:«1.4.2→1.4.3»\n{% endif %}\n"),
    "a template as a key": Row(
        "{{ .name }}: {x: y}\n? {{ .k }}\n"
        "image: ghcr.io/acme/web:«1.4.2→1.4.3»\n",
    ),
    "a template in a list of flow": Row(
        "a: [{{ .x }}, {{ .y }}]\nb: {c: {{ .z }}}\n"
        "image: ghcr.io/acme/web:«1.4.2→1.4.3»\n",
    ),
    "braces in quotes are YAML": Row(
        "a: '{{ x'\nimage: \"ghcr.io/acme/web:«1.4.2→1.4.3»\"\n"
        "b: '}}'\n",
    ),
    "a template that is never closed": Row(
        "{{ if x\nimage: ghcr.io/acme/web:1.4.2\n",
        held="yaml/unparsable",
    ),
    "a template over several lines": Row(
        'x: {{ include "a" (dict\n  "b" 1\n) }}\n{{ if .y }}\n'
        "image: ghcr.io/acme/web:«1.4.2→1.4.3»\n{{ end }}\n",
    ),
    "broken beyond its templates": Row(
        "{{ if .x }}\n  image: ghcr.io/acme/web:«1.4.2→1.4.3»\n"
        " a: b: c\n}\n{{ end }}\n",
    ),
}  # fmt: skip

VALUES = {
    "values of an Application": Row(
        "kind: Application\nspec:\n  source:\n    helm:\n"
        "      values: |  # values\n        # of web\n"
        "        image:\n          repository: ghcr.io/acme/web\n"
        "          tag: «1.4.2→1.4.3» # tag\n\n        x: 1\n"
        "  other: 1.4.2\n",
    ),
    "values whose first line is indented more": Row(
        "values: |1\n  image:\n    repository: ghcr.io/acme/web\n"
        "    tag: «1.4.2→1.4.3»\n",
    ),
    "a number in values": Row(
        "values: |\n  image:\n    repository: ghcr.io/acme/web\n"
        '    tag: «v1→"1.10"»\n',
        to="1.10",
    ),
    "a number in values in single quotes": Row(
        "values: |\n  a: 'x'\n  b: 'y'\n  image:\n"
        "    repository: ghcr.io/acme/web\n    tag: «v1→'1.10'»\n",
        to="1.10",
    ),
    "a file in a ConfigMap": Row(
        "kind: ConfigMap\ndata:\n  values.yaml: |+\n    web:\n"
        "        image: {registry: ghcr.io, repository: acme/web, tag: '«1.4.2→1.4.3»'}\n"
        "\n  script.sh: |\n    echo 1.4.2\n",
    ),
    "several documents in a text": Row(
        "manifests: |\n  image: ghcr.io/acme/api:1.4.2\n  ---\n"
        "  image: ghcr.io/acme/web:«1.4.2→1.4.3»\n  ...\n",
    ),
    "a text in a text": Row(
        "outer: |\n  inner: |-\n    image:\n"
        "      repository: ghcr.io/acme/web\n"
        "      tag: «1.4.2→1.4.3»\n  x: y\n",
    ),
    "a text that is templated": Row(
        "values: |\n  {{- if .x }}\n"
        "  image: ghcr.io/acme/web:«1.4.2→1.4.3»\n  {{- end }}\n",
    ),
    "a patch of Kustomize": Row(
        "patches:\n- patch: |-\n    kind: Deployment\n"
        "    metadata: {name: web}\n    spec:\n      template:\n"
        "        spec:\n          containers:\n"
        "          - name: app\n"
        "            image: ghcr.io/acme/web:«1.4.2→1.4.3»\n"
        "  target: {kind: Deployment}\n",
        path="kustomization.yaml",
    ),
    "a patch by path": Row(
        "patches:\n- patch: |\n    - op: replace\n"
        "      path: /spec/template/spec/containers/0/image\n"
        "      value: ghcr.io/acme/web:«1.4.2→1.4.3»\n",
        path="kustomization.yaml",
    ),
    "an item of a List": Row(
        "kind: List\nitems:\n- kind: ConfigMap\n  data: {a: 'x'}\n"
        "- kind: ConfigMap\n  data:\n    v: |\n"
        "      image: 'ghcr.io/acme/web:«1.4.2→1.4.3»'\n",
    ),
    "a comment below the indentation ends the text": Row(
        "values: |-\n    image: ghcr.io/acme/web:«1.4.2→1.4.3»\n"
        "  # image: ghcr.io/acme/web:1.4.2\nx: 1\n",
    ),
    "lines of spaces in values": Row(
        "values: |\n  a: 1\n    \n  image: ghcr.io/acme/web:«1.4.2→1.4.3»\n \n",
    ),
    "a pin in values": Row(
        'values: |\n  b: {repository: ghcr.io/acme/web, tag: «v1→"1.4.3@sha256:NEW"»}\n',
        to="1.4.3@sha256:NEW",
    ),
    "a block scalar in values": Row(
        "values: |\n  image: |-\n    ghcr.io/acme/web:«1.4.2→1.4.3»\n",
    ),
    "a comment in values": Row(
        "values: |\n  # image: ghcr.io/acme/web:1.4.2\n"
        "  image: ghcr.io/acme/web:«1.4.2→1.4.3»   # ghcr.io/acme/web:1.4.2\n",
    ),
    "non-ASCII before and in values": Row(
        "🦊: ü\nvalues: |\n  # 🦊 ü\n"
        "  größe: {image: 'ghcr.io/acme/web:«1.4.2→1.4.3»', 🦊: x}\n",
    ),
    "JSON in a text": Row(
        "dashboard: |\n"
        '  {"a": [{"image": "ghcr.io/acme/web:«1.4.2→1.4.3»"}],\n'
        '   "b": "1.4.2"}\n',
    ),
    "JSON in single quotes": Row(
        "x: '{\"image\":\"ghcr.io/acme/web:«1.4.2→1.4.3»\",\"v\":\"1.4.2\"}'\n",
    ),
    "JSON in double quotes": Row('x: "{\\"image\\":\\"ghcr.io/acme/web:«1.4.2→1.4.3»\\"}"\n'),
    "values in double quotes with escaped line ends": Row(
        'values: "image: ghcr.io/acme/web:«1.4.2→1.4.3»\\nx: 1\\n"\n',
    ),
    "a number in values in double quotes": Row(
        "values: \"repository: ghcr.io/acme/web\\ntag: «v1→'1.10'»\\n\"\n",
        to="1.10",
    ),
    "a number in values in single quotes over lines": Row(
        "values: 'repository: ghcr.io/acme/web\n\n"
        "  tag: «v1→\"1.10\"»\n\n  '\n",
        to="1.10",
    ),
    "the same where the file uses single quotes": Row(
        "a: 'x'\nb: 'y'\nvalues: 'repository: ghcr.io/acme/web\n\n"
        "  tag: «v1→\"1.10\"»\n\n  '\n",
        to="1.10",
    ),
    "a number in JSON in a text": Row(
        "x: |\n"
        '  {"repository": "ghcr.io/acme/web", "tag": «9→"9.1.0"»}\n',
        to="9.1.0",
    ),
    "an anchor within a text is not followed": Row(
        "values: |\n  a: &t 1.4.2\n"
        "  image: {repository: ghcr.io/acme/web, tag: *t}\n",
        held="site/alias-shared",
    ),
    "a text that an alias repeats": Row(
        "a: &v |\n  image: ghcr.io/acme/web:1.4.2\nb: *v\n",
        held="site/alias-shared",
    ),
    "a digest in a text": Row(
        "values: |\n  image:\n    repository: ghcr.io/acme/web\n"
        "    digest: sha256:OLD\n    tag: 1.4.2\n",
        held="set/digest-key",
    ),
    "words with a colon are no values": Row(
        "note: |\n  Take care: ghcr.io/acme/web is at 1.4.2.\n"
        "  tag: the word\n",
    ),
    "a block within a folded text": Row(
        "values: >\n  image: ghcr.io/acme/web:«1.4.2→1.4.3»\n\n"
        "  x: 1\n",
    ),
}  # fmt: skip

JSON = {
    "two spaces": Row('{\n  "image": "ghcr.io/acme/web:«1.4.2→1.4.3»",\n  "v": "1.4.2"\n}\n'),
    "four spaces, split": Row(
        '{\n    "image": {\n        "tag": "«1.4.2→1.10»",\n'
        '        "repository": "ghcr.io/acme/web"\n    }\n}',
        to="1.10",
    ),
    "tabs": Row('{\n\t"image":\t"ghcr.io/acme/web:«1.4.2→1.4.3»",\n\t"x": [\n\t\t1\n\t]\n}\n'),
    "minified": Row(
        '{"kind":"Pod","spec":{"containers":[{"image":"ghcr.io/acme/web:«1.4.2→1.4.3»","name":"a"}]}}',
    ),
    "escaped slashes, minified": Row('{"image":"ghcr.io\\/acme\\/web:«1.4.2→1.4.3»"}'),
    "a number that stays one": Row('{"repository": "ghcr.io/acme/web", "tag": «9→10»}\n', to="10"),
    "a number that can stay none": Row(
        '{"repository": "ghcr.io/acme/web", "tag": «9→"9.1.0"»}\n',
        to="9.1.0",
    ),
    "a number that becomes a word": Row(
        '{"repository": "ghcr.io/acme/web", "tag":«9→"v10"»}\n',
        to="v10",
    ),
    "null for a digest is filled": Row(
        '{"repository": "ghcr.io/acme/web", "tag": "«9→10»", "digest": «null→"sha256:NEW"»}\n',
        to="10@sha256:NEW",
    ),
    "a boolean that becomes a version": Row(
        '{"repository": "ghcr.io/acme/web", "tag": «true→"1.10"»}\n', to="1.10"
    ),
    "JSON in a string": Row('{"x": "{\\"image\\":\\"ghcr.io/acme/web:«1.4.2→1.4.3»\\"}"}\n'),
    "an escape in the name": Row('{"image": "ghcr.io/acme/w\\u0065b:«1.4.2→1.4.3»"}\n'),
    "a character in two escapes": Row(
        '{"x": "\\ud83e\\udd8a \\u00fc", "image": "ghcr.io/acme/web:«1.4.2→1.4.3»"}\n',
    ),
    "tabs and a character in two escapes": Row(
        '{\n\t"x": "\\ud83e\\udd8a",\n'
        '\t"image": "ghcr.io/acme/web:«1.4.2→1.4.3»"\n}\n',
    ),
    "an image for a key": Row('{"features": {"ghcr.io/acme/web:«1→2»": {}}}\n', to="2"),
    "a key twice": Row(
        '{"image": "ghcr.io/acme/web:1.4.2", "image": "ghcr.io/acme/web:1.4.2"}\n',
        held="site/duplicate-key",
    ),
    "a list at the top": Row('[\n  {"image": "ghcr.io/acme/web:«1.4.2→1.4.3»"}\n]\n'),
    "no null is filled": Row('{"image": {"repository": "ghcr.io/acme/web", "tag": null}}\n'),
    "images for each architecture": Row(
        '{"build_from": {"amd64": "ghcr.io/acme/web:«1.4.2→1.4.3»", "arm64": '
        '"ghcr.io/acme/web:«1.4.2→1.4.3»"}, "version": "1.4.2"}\n',
    ),
    "several objects, one a line": Row(
        '{"image":"ghcr.io/acme/web:1.4.2"}\n{"image":"x"}\n',
        held="yaml/unparsable",
    ),
    "a comment, as some readers allow": Row(
        "{\n  // ghcr.io/acme/web:1.4.2\n"
        '  "image": "ghcr.io/acme/web:1.4.2"\n}\n',
        held="yaml/unparsable",
    ),
}  # fmt: skip


@table(TEMPLATES)
def test_templates(row: Row, layout: str) -> None:
    check(row, layout)


@table(VALUES)
def test_documents_in_texts(row: Row, layout: str) -> None:
    check(row, layout)


@table({name: row._replace(path="web.json") for name, row in JSON.items()})
def test_json(row: Row, layout: str) -> None:
    check(row, layout)
