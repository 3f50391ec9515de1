"""All forms of a value, and all that may stand around it: exact characters, or a refusal."""

from __future__ import annotations

from parts.hostile import Row, check, table

QUOTED = {
    "single quotes": Row("image: 'ghcr.io/acme/web:«1.4.2→1.4.3»'\n"),
    "an escaped quote before it on the line": Row(
        "{note: 'it''s: ''x''', image: 'ghcr.io/acme/web:«1.4.2→1.4.3»', last: ''''}\n",
    ),
    "an argument in quotes within quotes": Row(
        "args: ['say ''hi'' --image=ghcr.io/acme/web:«1.4.2→1.4.3»', 'it''s']\n",
    ),
    "escaped slashes": Row('image: "ghcr.io\\/acme\\/web:«1.4.2→1.4.3»"\n'),
    "hexadecimal and unicode escapes in the name": Row(
        'image: "\\x67hcr.io/\\u0061cme/\\U00000077eb:«1.4.2→1.4.3»"\n',
    ),
    "an escape within the tag": Row('image: "ghcr.io/acme/web:1\\x2e4.2"\n', held="site/escaped"),
    "an escape for the last character of the tag": Row(
        'image: {repository: ghcr.io/acme/web, tag: "1.4.\\u0032"}\n',
        held="site/escaped",
    ),
    "escapes on the same line before it": Row(
        '{a: "\\"\\\\\\t\\x41\\n\\U0001F98A", image: "ghcr.io/acme/web:«1.4.2→1.4.3»"}\n',
    ),
    "a name continued behind an escaped line end": Row(
        'image: "ghcr.io/acme/\\\n  web:«1.4.2→1.4.3»"\n',
    ),
    "a tag continued behind an escaped line end": Row(
        'image: "ghcr.io/acme/web:1.4\\\n  .2"\n',
        held="site/escaped",
    ),
    "keys in quotes": Row("'image' : \"ghcr.io/acme/web:«1.4.2→1.4.3»\"\n"),
    "an escape in the key": Row('"im\\x61ge": "ghcr.io/acme/web:«1.4.2→1.4.3»"\n'),
    "JSON's close colon": Row('{"image":"ghcr.io/acme/web:«1.4.2→1.4.3»","x":"1.4.2"}\n'),
    "quotes over two lines that fold into a space": Row(
        'image: "ghcr.io/acme/web:1.4.2"\nargs: ["run\n'
        '  --image=ghcr.io/acme/api:«1.4.2→1.4.3» and\n  more"]\n',
        image="ghcr.io/acme/api",
    ),
    "a plain text over several lines": Row(
        "command: deploy\n"
        "  --image=ghcr.io/acme/web:«1.4.2→1.4.3»\n  --wait\n",
    ),
}  # fmt: skip

BLOCKS = {
    "literal": Row("image: |\n  ghcr.io/acme/web:«1.4.2→1.4.3»\n"),
    "literal, stripped, commented": Row(
        "image: |-   # a comment\n"
        "    ghcr.io/acme/web:«1.4.2→1.4.3»\n\n\nx: 1\n",
    ),
    "literal, kept": Row("image: |+\n  ghcr.io/acme/web:«1.4.2→1.4.3»\n\n\nx: 1\n"),
    "literal with an indentation indicator": Row(
        "a:\n  image: |2-\n    ghcr.io/acme/web:«1.4.2→1.4.3»\n",
    ),
    "an indicator that leaves a space in the value": Row(
        "image: |1-\n  ghcr.io/acme/web:«1.4.2→1.4.3»\n",
    ),
    "literal, indicator before chomping": Row(
        "a:\n image: |1-\n  ghcr.io/acme/web:«1.4.2→1.4.3»\nx: 1\n",
    ),
    "literal, indicator behind chomping": Row(
        "a:\n image: |-1\n  ghcr.io/acme/web:«1.4.2→1.4.3»\nx: 1\n",
    ),
    "folded, kept": Row("image: >+\n  ghcr.io/acme/web:«1.4.2→1.4.3»\n\nx: 1\n"),
    "folded over two lines is no image": Row("image: >-\n  ghcr.io/acme/web\n  1.4.2\n"),
    "folded argument": Row(
        "command: >\n  run --image\n"
        "  ghcr.io/acme/web:«1.4.2→1.4.3»\n  --wait\n\n  more\n",
    ),
    "literal tag that would be a number": Row(
        "image:\n  tag: |-\n    «v1→1.10»\n"
        "  repository: ghcr.io/acme/web\n",
        to="1.10",
    ),
    "a digest in a folded value": Row(
        "image: >-\n"
        "  ghcr.io/acme/web:«1.4.2@sha256:OLD→1.4.3@sha256:NEW»\n",
        to="1.4.3@sha256:NEW",
    ),
    "a block scalar before and behind": Row(
        "a: |\n  image: x\n   deeper\n\n"
        "image: ghcr.io/acme/web:«1.4.2→1.4.3»\nb: >2\n    more\n"
        "   less\n",
    ),
}  # fmt: skip

FLOW = {
    "a flow mapping over several lines with comments": Row(
        "image: {   # open\n    repository: ghcr.io/acme/web,\n\n"
        "    tag: «1.4.2→1.4.3»   , # tag\n    } # closed\n",
    ),
    "a comma and a bracket close to the value": Row(
        "{tag: «1.4.2→1.4.3»,repository: ghcr.io/acme/web}\n",
    ),
    "a flow list of pairs": Row("x: [image: 'ghcr.io/acme/web:«1.4.2→1.4.3»', y: z]\n"),
    "a pin in a flow mapping needs quotes": Row(
        'image: {repository: ghcr.io/acme/web, tag: «1.4.2→"1.4.3@sha256:NEW"»}\n',
        to="1.4.3@sha256:NEW",
    ),
    "a pin in a block mapping needs none": Row(
        "image:\n  repository: ghcr.io/acme/web\n"
        "  tag: «1.4.2→1.4.3@sha256:NEW»\n",
        to="1.4.3@sha256:NEW",
    ),
    "flow in flow, both kinds of quotes": Row(
        "{a: [{b: {image: {'repository': \"ghcr.io/acme/web\", \"tag\": '«1.4.2→1.4.3»'}}}]}\n",
    ),
    "keys in quotes and values without": Row(
        'image: {"repository": ghcr.io/acme/web, "tag": «v1→v2»}\n', to="v2"
    ),
    "a key without a value in a flow mapping": Row(
        "{latest, image: 'ghcr.io/acme/web:«1.4.2→1.4.3»', last: }\n",
    ),
}  # fmt: skip

KEYS = {
    "a question mark before the key": Row("? image\n: ghcr.io/acme/web:«1.4.2→1.4.3»\n? x\n"),
    "a question mark before the tag's key": Row(
        "? repository\n: ghcr.io/acme/web\n? tag # here\n"
        "# and here\n: «1.4.2→1.4.3»\n",
    ),
    "a mapping as a key": Row(
        "? {a: b}\n: {image: 'ghcr.io/acme/web:«1.4.2→1.4.3»'}\n"
        "? [c]\n: d\n",
    ),
    "the value on the next line": Row("image:\n  # about it\n\n  ghcr.io/acme/web:«1.4.2→1.4.3»\n"),
    "tabs between key, value and comment": Row(
        "image:\t \tghcr.io/acme/web:«1.4.2→1.4.3»\t# tab\n",
    ),
    "a comment right behind a quote": Row('image: "ghcr.io/acme/web:«1.4.2→1.4.3»" # "1.4.2"\n'),
    "a number sign that begins no comment": Row(
        "image:\n  repository: ghcr.io/acme/web\n  tag: 1.4.2#x\n",
    ),
    "trailing spaces": Row("image: ghcr.io/acme/web:«1.4.2→1.4.3»   \nx: 1  \n"),
    "an anchor on the key": Row("&k image: ghcr.io/acme/web:«1.4.2→1.4.3»\n"),
    "an eight-space list inside a one-space mapping": Row(
        "spec:\n containers:\n        -       name: app\n"
        "                image: ghcr.io/acme/web:«1.4.2→1.4.3»\n",
    ),
    "a list without indentation": Row(
        "containers:\n-\n  image: ghcr.io/acme/web:«1.4.2→1.4.3»\n"
        "-\n  image: x:1\n",
    ),
    "a list in a list on one line": Row("- - - image: ghcr.io/acme/web:«1.4.2→1.4.3»\n    - x\n"),
    "the last of two equal keys counts for no one": Row(
        "image: ghcr.io/acme/web:1.4.2\n"
        "image: ghcr.io/acme/web:1.4.2\n",
        held="site/duplicate-key",
    ),
    "a name that stands twice": Row(
        "repository: ghcr.io/acme/api\n"
        "repository: ghcr.io/acme/web\ntag: 1.4.2\n",
        held="site/duplicate-key",
    ),
    "a mapping above that stands twice": Row(
        "spec: {image: 'ghcr.io/acme/web:1.4.2'}\n"
        "spec: {image: 'ghcr.io/acme/web:1.4.2'}\n",
        held="site/duplicate-key",
    ),
    "another key that stands twice": Row("x: 1\nx: 2\nimage: ghcr.io/acme/web:«1.4.2→1.4.3»\n"),
    "two merge keys": Row(
        "x: &x {a: 1}\ny: &y {b: 1}\nc:\n  <<: *x\n  <<: *y\n"
        "  image: ghcr.io/acme/web:«1.4.2→1.4.3»\n",
    ),
    "a tag that stands twice": Row(
        "image:\n  repository: ghcr.io/acme/web\n  tag: 1.4.2\n"
        "  tag: 1.4.2\n",
        held="site/duplicate-key",
    ),
}  # fmt: skip

TAGGED = {
    "!!str": Row("image: !!str ghcr.io/acme/web:«1.4.2→1.4.3»\n"),
    "!!str on a number stays a text by its tag": Row(
        "image: {repository: ghcr.io/acme/web, tag: !!str «7→8»}\n",
        to="8",
    ),
    "the tag's full name": Row("image: !<tag:yaml.org,2002:str> ghcr.io/acme/web:«1.4.2→1.4.3»\n"),
    "the tag that says text": Row('image: ! "ghcr.io/acme/web:«1.4.2→1.4.3»"\n'),
    "tag and anchor in both orders": Row(
        "a: {image: !!str &a ghcr.io/acme/web:«1.4.2→1.4.3»}\n"
        "b: {image: &b !!str ghcr.io/acme/web:«1.4.2→1.4.3»}\n",
    ),
    "!!float": Row("image: {repository: ghcr.io/acme/web, tag: !!float 1.4}\n", held="site/tagged"),
    "a tag of CloudFormation": Row(
        "Image: x\nimage: !Sub ghcr.io/acme/web:1.4.2\n",
        held="site/tagged",
    ),
    "a tag with its own handle": Row(
        "%TAG !y! tag:yaml.org,2002:\n---\n"
        "image: !y!str ghcr.io/acme/web:«1.4.2→1.4.3»\n",
    ),
    "a tag on the mapping around": Row("x: !Container {image: 'ghcr.io/acme/web:«1.4.2→1.4.3»'}\n"),
}  # fmt: skip

ANCHORS = {
    "an anchor that nothing uses": Row("image: &i ghcr.io/acme/web:«1.4.2→1.4.3» # i\n"),
    "two images that read one text": Row(
        "a:\n  image: &i ghcr.io/acme/web:«1.4.2→1.4.3»\nb:\n"
        "  image: *i # as a\n",
    ),
    "two tags that read one text": Row(
        "a: {repository: ghcr.io/acme/web, tag: &t «1.4.2→1.4.3»}\n"
        "b: {repository: ghcr.io/acme/web, tag: *t}\n",
    ),
    "a tag that two images read": Row(
        "a: {repository: ghcr.io/acme/web, tag: &t 1.4.2}\n"
        "b: {repository: ghcr.io/acme/api, tag: *t}\n",
        held="site/alias-shared",
    ),
    "a tag that a label reads too": Row(
        "a: {repository: ghcr.io/acme/web, tag: &t 1.4.2}\n"
        "labels: {version: *t}\n",
        held="site/alias-shared",
    ),
    "a name that others read": Row(
        "a: {repository: &r ghcr.io/acme/web, tag: «1.4.2→1.4.3»}\n"
        "b: {repository: *r, tag: «1.4.2→1.4.3»}\nc: *r\n",
    ),
    "an extension that only defines": Row(
        "x-web: &web ghcr.io/acme/web:«1.4.2→1.4.3»\nservices:\n"
        "  a: {image: *web}\n  b:\n    image: *web\n",
        path="compose.yaml",
    ),
    "an extension that defines for others too": Row(
        "x-v: &v 1.4.2\n"
        "services: {a: {image: {repository: ghcr.io/acme/web, tag: *v}}, b: {environment: {V: *v}}}\n",
        held="site/alias-shared",
    ),
    "an anchor defined again": Row(
        "a: {image: &i ghcr.io/acme/api:1}\n"
        "b: {image: &i ghcr.io/acme/web:«1.4.2→1.4.3»}\n"
        "c: {image: *i}\n",
    ),
    "the same name in another document": Row(
        "a: {image: &i ghcr.io/acme/web:«1.4.2→1.4.3»}\n---\n"
        "b: &i x\nc: *i\n",
    ),
    "a whole container by its anchor": Row(
        "a: &c\n  image: ghcr.io/acme/web:«1.4.2→1.4.3»\nb: *c\n",
    ),
    "a merged mapping whose tag is its own": Row(
        "a: &c {repository: ghcr.io/acme/web, tag: 1.3.0}\nb:\n"
        "  <<: *c\n  tag: «1.4.2→1.4.3»\n",
        old="1.4.2",
    ),
    "a merged mapping whose repository is its own": Row(
        "a: &c {repository: ghcr.io/acme/web, tag: 1.4.2}\nb:\n"
        "  <<: *c\n  repository: ghcr.io/acme/api\n",
        held="site/merged",
    ),
    "a tag that a merge brings": Row(
        "x: &x {tag: 1.4.2}\na: {<<: *x, repository: ghcr.io/acme/web}\n",
        held="site/merged",
    ),
    "a tag that a merge brings to two images": Row(
        "x: &x {tag: 1.4.2}\na: {<<: *x, repository: ghcr.io/acme/web}\n"
        "b: {<<: *x, repository: ghcr.io/acme/api}\n",
        held="site/merged",
    ),
    "a merged service with another image": Row(
        "a: &a\n  image: ghcr.io/acme/web:«1.4.2→1.4.3»\n"
        "b:\n  <<: *a\n  image: ghcr.io/acme/api:1.4.2\n",
    ),
    "a mapping merged on the spot": Row(
        "a:\n  <<: {repository: ghcr.io/acme/web, tag: «1.4.2→1.4.3»}\n  x: 1\n",
    ),
    "tag and digest through aliases": Row(
        "a: {repository: ghcr.io/acme/web, tag: &t «1.4.2→1.4.3», digest: &d '«sha256:OLD→sha256:NEW»'}\n"
        "b: {repository: ghcr.io/acme/web, tag: *t, digest: *d}\n",
        to="1.4.3@sha256:NEW",
    ),
    "a digest through an alias that others read": Row(
        "d: &d sha256:OLD\nimage: {repository: ghcr.io/acme/web, tag: 1.4.2, digest: *d}\n",
        to="1.4.3@sha256:NEW",
        held="site/alias-shared",
    ),
    "a parameter through an alias": Row(
        "v: &v 1.4.2\nparameters:\n- {name: image.repository, value: ghcr.io/acme/web}\n"
        "- {name: image.tag, value: *v}\n",
        held="site/alias-shared",
    ),
    "a merged list of mappings": Row(
        "x: &x {pullPolicy: Always}\ny: &y {z: 1}\nimage:\n"
        "  <<: [*x, *y]\n  repository: ghcr.io/acme/web\n"
        "  tag: «1.4.2→1.4.3»\n",
    ),
    "a repository that a merge brings": Row(
        "x: &x {repository: ghcr.io/acme/web}\n"
        "a: {<<: *x, tag: «1.4.2→1.4.3»}\n"
        "b: {<<: *x, tag: «1.4.2→1.4.3»}\n",
    ),
    "a type that an alias would see too": Row(
        'a: {repository: ghcr.io/acme/web, tag: &t «v1→"1.10"»}\n'
        "b: {repository: ghcr.io/acme/web, tag: *t}\n",
        to="1.10",
    ),
}  # fmt: skip

AROUND = {
    "an astral character on the line": Row(
        '{"🦊\U0001d4b3": "𐍈", image: "ghcr.io/acme/web:«1.4.2→1.4.3»"} # 🦊\n',
    ),
    "combining and right-to-left characters": Row(
        "# e\u0301 שלום\n"
        "שם: {\u200fimage: x, image: 'ghcr.io/acme/web:«1.4.2→1.4.3»'}\n",
    ),
    "a byte-order mark": Row(
        "\ufeff# first\nimage: ghcr.io/acme/web:«1.4.2→1.4.3»\n",
        layouts=False,
    ),
    "a byte-order mark on the value's own line": Row(
        "\ufeffimage: ghcr.io/acme/web:«1.4.2→1.4.3»",
        layouts=False,
    ),
    "mixed line ends": Row(
        "a: 1\r\nimage: ghcr.io/acme/web:«1.4.2→1.4.3»\nb: |\r\n"
        "  x\n  y\r\nc: 2\n",
        layouts=False,
    ),
    "old Macintosh line ends": Row(
        "a: 1\rimage: ghcr.io/acme/web:«1.4.2→1.4.3»\rb: 2\r",
        layouts=False,
    ),
    "NEL, LS and PS in values": Row(
        'a: "x\x85y"\nb: x\u2028y\n'
        "image: ghcr.io/acme/web:«1.4.2→1.4.3»\n"
        'c: "x\u2029image: ghcr.io/acme/api:1"\n',
    ),
    # YAML 1.1 ends a line at NEL, LS and PS and would see another value there; YAML 1.2 does not.
    "NEL in a comment": Row(
        "# was:\x85image: ghcr.io/acme/web:1.0\n"
        "image: ghcr.io/acme/web:1.4.2\n",
        held="yaml/unparsable",
    ),
    "PS in a block scalar": Row(
        "c: |\n  x\u2029image: ghcr.io/acme/web:1\n"
        "image: ghcr.io/acme/web:1.4.2\n",
        held="yaml/unparsable",
    ),
    "a comment alone": Row("# image: ghcr.io/acme/web:1.4.2\n"),
    "nothing at all": Row("", layouts=False),
    "documents without content": Row("---\n---\n# image: ghcr.io/acme/web:1.4.2\n...\n---\n"),
    "the value on the document's own line": Row(
        "--- {image: 'ghcr.io/acme/web:«1.4.2→1.4.3»'}\n...\n",
    ),
    "a dash line inside a block scalar": Row(
        "a: |\n  ---\n  image: x\n  ...\n---\n"
        "image: ghcr.io/acme/web:«1.4.2→1.4.3»\n",
    ),
    "no YAML": Row("image: ghcr.io/acme/web:1.4.2\n}\n", held="yaml/unparsable"),
    "nested beyond reason": Row("a: " + '[' * 10000 + "\n", held="yaml/too-deep"),
    "a tab for indentation": Row("a:\n\timage: ghcr.io/acme/web:1.4.2\n", held="yaml/unparsable"),
    "a control character": Row("image: ghcr.io/acme/web:1.4.2\n\x00\n", held="yaml/unparsable"),
}  # fmt: skip


@table(QUOTED)
def test_quotes_and_escapes(row: Row, layout: str) -> None:
    check(row, layout)


@table(BLOCKS)
def test_block_scalars(row: Row, layout: str) -> None:
    check(row, layout)


@table(FLOW)
def test_flow_collections(row: Row, layout: str) -> None:
    check(row, layout)


@table(KEYS)
def test_keys_and_comments(row: Row, layout: str) -> None:
    check(row, layout)


@table(TAGGED)
def test_explicit_tags(row: Row, layout: str) -> None:
    check(row, layout)


@table(ANCHORS)
def test_anchors_aliases_and_merges(row: Row, layout: str) -> None:
    check(row, layout)


@table(AROUND)
def test_characters_and_documents_around(row: Row, layout: str) -> None:
    check(row, layout)
