"""The rows at which other updaters lose comments, documents, line ends or values."""

from __future__ import annotations

from parts.hostile import Row, check, table

LAID_OUT = """\
# Licence: ours

# before the first document
---
# only a comment
---

kind:   Deployment      # aligned
spec:                   # aligned
    template:
        spec:

            containers:
              -   name: "app"
                  image:   ghcr.io/acme/web:«1.4.2→1.4.3»     # aligned
                  args: [ "a",b ,  'c' ]
                  note: >
                      folded   text
                      that stays 🦊

              - {name: x,  y : z}
...
---
# the end
---
"""

VALUES = {
    "plain value with a comment behind it": Row(
        "image:\n  repository: ghcr.io/acme/web\n"
        "  tag: «1.4.2→1.4.3»   # keep me\n",
    ),
    "double quotes, blank lines and aligned comments": Row(
        'image:\n\n    repository: "ghcr.io/acme/web"   # a\n'
        '    tag:        "«1.4.2→1.4.3»"              # b\n\n\n'
        "list:\n- x\n-   y\n",
    ),
    "a tag that looks like a number": Row(
        "image:\n  repository: ghcr.io/acme/web\n"
        '  tag: «v1→"1.20"»\n',
        to="1.20",
    ),
    "a tag that looks like a date": Row(
        "image:\n  repository: ghcr.io/acme/web\n"
        '  tag: «v1→"2026-11-20"» # date\n',
        to="2026-11-20",
    ),
    "a tag that looks like a boolean": Row(
        "image:\n  repository: ghcr.io/acme/web\n"
        '  tag: «v1→"yes"»\n',
        to="yes",
    ),
    "flow mapping with more behind the tag": Row(
        "image: {repository: ghcr.io/acme/web, tag: «v1→v2», x: 1}\n",
        to="v2",
    ),
    "two updates on one line": Row(
        "all: [{image: ghcr.io/acme/web:«9→10»}, {x: 1, image: ghcr.io/acme/web:«9→10», y: 2}]  # two\n",
        to="10",
    ),
    "CRLF": Row(
        "image:\r\n  repository: ghcr.io/acme/web\r\n"
        "  tag: '«1.4.2→1.4.3»'\r\nx: 1\r\n",
        layouts=False,
    ),
    "no final newline": Row("image: ghcr.io/acme/web:«1.4.2→1.4.3»", layouts=False),
    "non-ASCII keys before the value on its line": Row(
        'größe: {ключ: "🦊🦊", repository: ghcr.io/acme/web, tag: «1.4.2→1.4.3»}\n',
    ),
    "an anchor on the value that an alias elsewhere reads": Row(
        "image: &img ghcr.io/acme/web:1.4.2\nnote: *img\n",
        held="site/alias-shared",
    ),
    "a value reached through an alias": Row(
        "appVersion: &v 1.4.2\nimage:\n"
        "  repository: ghcr.io/acme/web\n  tag: *v\n",
        held="site/alias-shared",
    ),
    "a merge key beside the tag": Row(
        "base: &base {pullPolicy: Always}\nimage:\n  <<: *base\n"
        "  repository: ghcr.io/acme/web\n  tag: «1.4.2→1.4.3»\n",
    ),
    "a folded value": Row("image: >-\n  ghcr.io/acme/web:«1.4.2→1.4.3»\nx: 1\n"),
    "a literal value": Row(
        "image:\n  repository: ghcr.io/acme/web\n  tag: |-\n"
        "    «1.4.2→1.4.3»\nx: 1\n",
    ),
    "the first of several documents has no such key": Row(
        "a: 1\n---\n"
        "image: {repository: ghcr.io/acme/web, tag: «1.4.2→1.4.3»}\n"
        "---\nlast: document\n",
    ),
    "an index beyond the list": Row(
        "images:\n- name: ghcr.io/acme/web\n  newTag: 1.4.2\n",
        field="images[7].newTag", held="set/field-nothing",
    ),
    "a template inside the file": Row(
        "replicas: {{ .Values.replicas }}\n"
        "image: ghcr.io/acme/web:«1.4.2→1.4.3»\n"
        "name: {{ .Release.Name }}-x\n",
    ),
    "a kustomization's list with comments": Row(
        "images:\n# the second in the alphabet\n"
        "- name: ghcr.io/acme/web # web\n"
        "  newTag: «1.4.2→1.4.3» # tag of web\n"
        "# the first in the alphabet\n"
        "- name: ghcr.io/acme/api # api\n"
        "  newTag: 1.4.2 # tag of api\n",
        path="kustomization.yaml",
    ),
}  # fmt: skip

FLUX = {
    "every piece of layout that a printer loses": Row(LAID_OUT),
    "a directive, an end mark and an empty document": Row(
        "%YAML 1.2\n---\nimage: ghcr.io/acme/web:«1.4.2→1.4.3»\n"
        "...\n---\n",
    ),
    "a float that becomes a text": Row(
        "image: {repository: ghcr.io/acme/web, tag: «1.0→1.10.1»}\n",
        to="1.10.1",
    ),
    "a float whose successor would lose its zero": Row(
        'image: {repository: ghcr.io/acme/web, tag: «1.0→"1.10"»}\n',
        to="1.10",
    ),
    "a date without quotes": Row(
        'image:\n  tag: «2026-11-01→"2026-11-20"»\n'
        "  repository: ghcr.io/acme/web\n",
        to="2026-11-20",
    ),
    "an int that becomes a version": Row(
        "image: {repository: ghcr.io/acme/web, tag: «7→7.2.1»}\n",
        to="7.2.1",
    ),
    "a boolean word that becomes a version": Row(
        "image: {repository: ghcr.io/acme/web, tag: «on→v1»}\n",
        to="v1",
    ),
    "an item of a List": Row(
        "apiVersion: v1\nkind: List\nitems:\n- kind: Service\n"
        "  metadata: {name: web}\n- kind: Deployment\n"
        "  metadata: {name: web}\n"
        "  spec: {template: {spec: {containers: [{name: app, image: "
        "'ghcr.io/acme/web:«1.4.2→1.4.3»'}]}}}\n",
    ),
    "a list at the top": Row(
        "- image: ghcr.io/acme/api:1.4.2\n"
        "- image: ghcr.io/acme/web:«1.4.2→1.4.3»\n",
    ),
    "templates that read as nested mappings": Row(
        "a: {{ .Values.a }}\nb: { {x: y}: z }\n"
        "image: ghcr.io/acme/web:«1.4.2→1.4.3»\n",
    ),
    "a variable that holds but the version": Row(
        "image: ghcr.io/acme/web:«1.9.0→1.9.1»\n"
        "env: [APP_VERSION=1.9.0]\n",
        to="1.9.1",
    ),
    "a field with more than a version in it": Row(
        "env:\n- APP_VERSION=1.9.0\n",
        field="env[0]", to="1.9.1", image="", held="site/unreadable",
    ),
    "a marker in a block scalar is text": Row(
        "script: |\n"
        '  tag: 1.4.2 # {"$imagepolicy": "flux-system:web:tag"}\n'
        "image: ghcr.io/acme/web:«1.4.2→1.4.3»\n",
    ),
    "markers stay behind what they mark": Row(
        'image: ghcr.io/acme/web:«1.4.2→1.4.3» # {"$imagepolicy": "flux-system:web"}\n'
        'x: y #{"$imagepolicy": "flux-system:web:name"}\n',
    ),
    "a digest in its own key is not emptied": Row(
        "image:\n"
        '  repository: ghcr.io/acme/web # {"$imagepolicy": "f:web:name"}\n'
        '  tag: 1.4.2 # {"$imagepolicy": "f:web:tag"}\n'
        '  digest: sha256:OLD # {"$imagepolicy": "f:web:digest"}\n',
        held="set/digest-key",
    ),
}  # fmt: skip


@table(VALUES)
def test_what_others_damage_by_printing_values(row: Row, layout: str) -> None:
    check(row, layout)


@table(FLUX)
def test_what_others_damage_by_printing_documents(row: Row, layout: str) -> None:
    check(row, layout)
