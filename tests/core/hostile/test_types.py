"""Type safety: what a new value would be read as, the author's quotes, and split values."""

from __future__ import annotations

import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from parts.hostile import Row, check, table
from ruamel.yaml import YAML

from automator import set_image
from automator.core.yamltext import quote_plain

ODD = [
    "1.10", "1.0", "01.5", "1.", "1e3", "1E3", "1e-3", "12e03", "22e1758", "1.5e3", "0123", "0o17", "017",
    "08", "0x1F", "0b11", "1_000", "0_1.5", "1__2.3_4", "1.2_", "2024-01-01", "2024-1-1", "20240101",
    "9816670", "12345678901234567890", "yes", "Yes", "NO", "on", "Off", "y", "N", "true", "False", "null",
    "NULL", "0", "00", "0.0", "0e0", "1e400",
]  # fmt: skip
"""Tags that the OCI grammar allows and some reader takes for a number, boolean, date or null."""

PLAIN = [
    "v1.10", "1.2.3", "1.2.3.4", "1.10-alpine", "e3", "1e", "0x", "0xZ", "2024-01", "2024-01-01-x", "_1",
    "yess", "nulls", "Infinity", "inf", "nan", "NaN", "d34db33f", "1-2", "main", "latest", "o17",
]  # fmt: skip

NO_TAGS = [
    "~", ".inf", "-.Inf", ".nan", "=", "<<", "12:30", "190:20:30.15", "+1", "-0", ".5", "", " ", "a: b",
    "2001-12-14t21:59:43.10-05:00", "- a", "x #y", "&a", "*a", "%a", "@a",
]  # fmt: skip

DOUBLE = 'a: "x"\n'
SINGLE = "a: 'x'\nb: 'y'\nc: \"z\"\n"

HABITS = {
    "single quotes where the file uses them": Row(
        SINGLE
        + "image:\n  repository: ghcr.io/acme/web\n"
        "  tag: «v1→'1.10'»\n",
        to="1.10",
    ),
    "double quotes where the file uses them": Row(
        DOUBLE
        + "image:\n  repository: ghcr.io/acme/web\n"
        '  tag: «v1→"1.10"» # v1\n',
        to="1.10",
    ),
    "quotes stay though they are not needed": Row(
        "image: {repository: ghcr.io/acme/web, tag: '«1.10→v1»'}\n"
        + DOUBLE * 1,
        to="v1",
    ),
    "quotes of the other kind stay": Row(
        SINGLE
        + "image:\n  repository: ghcr.io/acme/web\n"
        '  tag: "«1.9→1.10»"\n',
        to="1.10",
    ),
    "apostrophes in comments are no habit": Row(
        "# don't, can't, won't\nimage:\n"
        '  repository: ghcr.io/acme/web\n  tag: «v1→"1.10"»\n',
        to="1.10",
    ),
    "a number stays a number where it reads the same": Row(
        "image: {repository: ghcr.io/acme/web, tag: «14→15»}\n",
        to="15",
    ),
    "a number with a leading zero does not": Row(
        'image: {repository: ghcr.io/acme/web, tag: «8→"09"»}\n',
        to="09",
    ),
    "a text that becomes a number": Row(
        'image: {repository: ghcr.io/acme/web, tag: «v14→"15"»}\n',
        to="15",
    ),
    "octal that a person left bare": Row(
        "image: {repository: ghcr.io/acme/web, tag: «0123→v2»}\n",
        to="v2",
    ),
    "a whole reference is never a number": Row("image: ghcr.io/acme/web:«v1→1.10»\n", to="1.10"),
    "an anchor before the new quotes": Row(
        'image: {repository: ghcr.io/acme/web, tag: &t «v1→"1e3"» }\n',
        to="1e3",
    ),
    "a list item that becomes quoted": Row(
        'images:\n- {newTag: «v1→"0x1F"», name: ghcr.io/acme/web}\n',
        to="0x1F", path="kustomization.yml",
    ),
}  # fmt: skip

SPLIT = {
    "tag before its repository": Row(
        "image:\n  tag: «1.4.2→1.4.3»\n"
        "  repository: ghcr.io/acme/web\n",
    ),
    "registry, repository, tag and digest in any order": Row(
        "image:\n  digest: «sha256:OLD→sha256:NEW»\n"
        "  repository: acme/web\n  tag: '«1.4.2→1.4.3»'\n"
        "  registry: ghcr.io\n",
        to="1.4.3@sha256:NEW",
    ),
    "a registry with a port": Row(
        "image: {registry: 'localhost:5000', repository: acme/web, tag: «1.4.2→1.4.3»}\n",
        image="localhost:5000/acme/web",
    ),
    "another registry beside the same repository": Row(
        "image: {registry: quay.io, repository: acme/web, tag: 1.4.2}\n",
    ),
    "a tag without its digest": Row(
        "image: {repository: ghcr.io/acme/web, tag: 1.4.2, digest: 'sha256:OLD'}\n",
        held="set/digest-key",
    ),
    "a digest in the tag's scalar": Row(
        "image:\n  repository: ghcr.io/acme/web\n"
        "  tag: «1.4.2@sha256:OLD→1.4.3@sha256:NEW» # pinned\n",
        to="1.4.3@sha256:NEW",
    ),
    "a pinned reference and a bare tag": Row(
        "image: ghcr.io/acme/web:1.4.2@sha256:OLD\n",
        held="set/pinned",
    ),
    "a pin whose end a person has named": Row(
        "image: ghcr.io/acme/web:«1.4.2@sha256:OLD→1.4.3»\n",
        old="1.4.2@sha256:OLD",
    ),
    "a digest key whose end a person has named": Row(
        "image: {repository: ghcr.io/acme/web, tag: 1.4.2, digest: 'sha256:OLD'}\n",
        old="sha256:OLD", held="set/digest-key",
    ),
    "a digest alone": Row(
        "image: ghcr.io/acme/web@«sha256:OLD→sha256:NEW»\n",
        to="1.4.3@sha256:NEW",
    ),
    "the digest under the same tag": Row(
        "image: 'ghcr.io/acme/web:main@«sha256:OLD→sha256:NEW»'\n",
        to="@sha256:NEW",
    ),
    "a digest where the tag says digest": Row(
        'image: {repository: ghcr.io/acme/web, tag: "«sha256:OLD→sha256:NEW»"}\n',
        to="@sha256:NEW",
    ),
    "a pin for a tag that is alone": Row(
        "image: ghcr.io/acme/web:1.4.2«→@sha256:NEW» # a\n",
        to="@sha256:NEW",
    ),
    "an empty digest stays empty under a bare tag": Row(
        "image: {repository: ghcr.io/acme/web, tag: «1.4.2→1.4.3», digest: ''}\n",
    ),
    "an empty digest is filled": Row(
        "image: {repository: ghcr.io/acme/web, tag: «1.4.2→1.4.3», digest: '«→sha256:NEW»'}\n",
        to="1.4.3@sha256:NEW",
    ),
    "a digest in a key that says nothing of the image": Row(
        "config:\n  digest: sha256:OLD\nimage:\n"
        "  repository: ghcr.io/acme/web\n  tag: «1.4.2→1.4.3»\n",
    ),
    "a bare hash beside the tag": Row(
        "image: {repository: ghcr.io/acme/web, tag: 1.4.2, sha: "
        + 'ab' * 32
        + "}\n",
        held="site/sha-key",
    ),
    "a bare hash under its algorithm": Row(
        "image: {repository: ghcr.io/acme/web, tag: 1.4.2, sha256: "
        + 'ab' * 32
        + "}\n",
        held="site/sha-key",
    ),
    "a digest beside a whole reference": Row(
        "image: ghcr.io/acme/web:1.4.2\ndigest: sha256:OLD\n",
        held="set/digest-key",
    ),
    "a digest that moves beside a whole reference": Row(
        "image: ghcr.io/acme/web:«1.4.2→1.4.3»\n"
        "digest: «sha256:OLD→sha256:NEW»\n",
        to="1.4.3@sha256:NEW",
    ),
    "an imageDigest beside a whole reference": Row(
        "image: ghcr.io/acme/web:1.4.2\nimageDigest: sha256:OLD\n",
        held="set/digest-key",
    ),
    "an imageDigest beside a tag": Row(
        "imageDigest: sha256:OLD\nrepository: ghcr.io/acme/web\n"
        "tag: 1.4.2\n",
        held="set/digest-key",
    ),
    "an imageDigest that moves beside an imageTag": Row(
        "imageDigest: «sha256:OLD→sha256:NEW»\n"
        "imageName: ghcr.io/acme/web\nimageTag: «1.4.2→1.4.3»\n",
        to="1.4.3@sha256:NEW",
    ),
    "a digest that a merge brings": Row(
        "x: &x {digest: 'sha256:OLD'}\n"
        "image: {<<: *x, repository: ghcr.io/acme/web, tag: 1.4.2}\n",
        held="site/digest-beside",
    ),
    "a digest among parameters": Row(
        "parameters:\n- {name: image.tag, value: 1.4.2}\n"
        "- {name: image.digest, value: 'sha256:OLD'}\n"
        "- {name: image.repository, value: ghcr.io/acme/web}\n",
        held="set/digest-key",
    ),
    "a digest that moves among parameters": Row(
        "parameters:\n- {name: image.tag, value: «1.4.2→1.4.3»}\n"
        "- {name: image.digest, value: '«sha256:OLD→sha256:NEW»'}\n"
        "- {name: image.repository, value: ghcr.io/acme/web}\n",
        to="1.4.3@sha256:NEW",
    ),
    "an empty registry": Row(
        "image: {registry: '', repository: ghcr.io/acme/web, tag: «1.4.2→1.4.3»}\n",
    ),
    "no registry by null": Row(
        "image: {registry: ~, repository: ghcr.io/acme/web, tag: «1.4.2→1.4.3»}\n",
    ),
    "a templated tag beside a digest": Row(
        "image: {repository: ghcr.io/acme/web, tag: '${TAG}', digest: 'sha256:OLD'}\n",
        to="1.4.3@sha256:NEW", held="site/templated",
    ),
    "no tag at all": Row("image: ghcr.io/acme/web\nother: {repository: ghcr.io/acme/web}\n"),
    "a port is no tag": Row("image: localhost:5000/acme/web\n", image="localhost"),
    "several versions and none said": Row(
        "a: {image: ghcr.io/acme/web:1.4.2}\n"
        "b: {image: ghcr.io/acme/web:1.3.0}\n",
        held="set/ambiguous",
    ),
    "the old version says which": Row(
        "a: {image: ghcr.io/acme/web:«1.4.2→1.4.3»}\n"
        "b: {image: ghcr.io/acme/web:1.3.0}\n",
        old="1.4.2",
    ),
    "a chain of versions moves by place": Row(
        "a: {image: ghcr.io/acme/web:1.4.1}\n"
        "b: {image: ghcr.io/acme/web:«1.4.2→1.4.1»}\n",
        old="1.4.2", to="1.4.1",
    ),
    "the same tag as a label, a port and a note": Row(
        "labels: {version: 14}\nports: ['14:14']\n# 14\n"
        "image: ghcr.io/acme/web:«14→15»\nreplicas: 14\n",
        to="15",
    ),
}  # fmt: skip


@table(HABITS)
def test_quotes_are_the_authors(row: Row, layout: str) -> None:
    check(row, layout)


@table(SPLIT)
def test_split_values_change_together_or_not_at_all(row: Row, layout: str) -> None:
    check(row, layout)


@pytest.mark.parametrize("tag", ODD)
@pytest.mark.parametrize("style", ["block", "flow"])
def test_a_text_never_turns_into_another_type(tag: str, style: str) -> None:
    keys = {
        "block": "repository: ghcr.io/acme/web\ntag: {}\nx: 1\n",
        "flow": "{{repository: ghcr.io/acme/web, tag: {}}}\n",
    }
    before = keys[style].format("vX")
    after = set_image(before, image="ghcr.io/acme/web", to=tag).text
    assert after == keys[style].format(f'"{tag}"')
    for version in ((1, 1), (1, 2)):
        assert read(after, version) == {**read(before, version), "tag": tag}


@pytest.mark.parametrize("tag", PLAIN)
def test_a_text_gets_no_quotes_that_it_does_not_need(tag: str) -> None:
    before = "repository: ghcr.io/acme/web\ntag: vX\n"
    assert set_image(before, image="ghcr.io/acme/web", to=tag).text == before.replace("vX", tag)


@pytest.mark.parametrize("value", NO_TAGS)
def test_what_is_no_tag_would_be_quoted_too(value: str) -> None:
    assert quote_plain(value)


def read(text: str, version: tuple[int, int]) -> dict[str, object]:
    """What another reader sees, by the rules of one version of YAML."""
    reader = YAML(typ="safe", pure=True)
    reader.version = version  # type: ignore[assignment]
    loaded = reader.load(text)
    assert isinstance(loaded, dict)
    return loaded


TAGS = st.from_regex(r"\A[A-Za-z0-9_][A-Za-z0-9._-]{0,12}\Z")
NUMBERISH = st.text("0123456789._eExXoObB-afAFnN", min_size=1, max_size=10).filter(
    lambda text: text[0] in string.ascii_letters + string.digits + "_"
)


@given(st.one_of(TAGS, NUMBERISH))
@example("1e3")
@example("0x_1")
@example("1_0.5")
def test_every_tag_reads_as_itself_by_every_version_of_yaml(tag: str) -> None:
    after = set_image("repository: ghcr.io/acme/web\ntag: vX\n", image="ghcr.io/acme/web", to=tag).text
    for version in ((1, 1), (1, 2)):
        assert read(after, version)["tag"] == tag
