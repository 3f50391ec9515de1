"""Laws of locating and rewriting, over generated files with every nasty layout at once."""

from __future__ import annotations

import string
from dataclasses import dataclass

from hypothesis import assume, example, given
from hypothesis import strategies as st

from automator.core.rewrite import Edit, rewrite
from automator.core.site import Site, locate
from automator.core.yamltext import (
    Alias,
    Mapping,
    Node,
    Scalar,
    Sequence,
    c_events,
    parse,
    pure_events,
    quote_plain,
)
from automator.errors import ManifestError

NAME = "web.yaml"
FIRST = st.sampled_from(string.ascii_letters + string.digits + "_")
TAGS = st.builds(
    "".join, st.tuples(FIRST, st.text(string.ascii_letters + string.digits + "._-", max_size=12))
)
TAGS = st.one_of(
    TAGS, st.sampled_from(["1.10", "1e3", "0123", "2024-01-01", "yes", "22e1758", "v1.2.3", "latest"])
)
DIGESTS = st.text("0123456789abcdef", min_size=64, max_size=64).map("sha256:".__add__)
WORDS = st.text("abcXYZ äöü🦊 #:'\"{}[],&*!|>%@`-\\t1.0", max_size=12)
COMMENTS = st.one_of(st.just(""), WORDS.map(lambda words: "  # " + words.replace("\n", " ")))


def quoted(value: str, style: str) -> str:
    return {"plain": value, "single": f"'{value}'", "double": f'"{value}"'}[style]


@dataclass(frozen=True)
class Layout:
    """How a file is laid out."""

    indent: int
    dash: int
    end: str
    bom: str
    final: bool
    styles: tuple[str, ...]


LAYOUTS = st.builds(
    Layout,
    indent=st.sampled_from([1, 2, 3, 4, 8]),
    dash=st.sampled_from([1, 2, 3]),
    end=st.sampled_from(["\n", "\r\n"]),
    bom=st.sampled_from(["", "\ufeff"]),
    final=st.booleans(),
    styles=st.tuples(*[st.sampled_from(["plain", "single", "double"])] * 3),
)


def pod(layout: Layout, n: int, tag: str, digest: str | None, comment: str) -> list[str]:
    step, dash = " " * layout.indent, "-" + " " * layout.dash
    reference = f"ghcr.io/acme/web{n}:{tag}" + (f"@{digest}" if digest else "")
    return [
        f"kind: Pod{comment}",
        f"metadata: {{name:   p{n},labels: {{version: '{tag}'}}}}",
        "spec:",
        f"{step}containers:{comment}",
        f"{step}{dash}name:  app",
        "",
        f"{step} {' ' * layout.dash}image:  {quoted(reference, layout.styles[0])}{comment}",
        f'{step} {" " * layout.dash}args: [ "--version={tag}",  "x" ]   ',
    ]


def values(layout: Layout, n: int, tag: str, digest: str | None, comment: str) -> list[str]:
    step = " " * layout.indent
    lines = [
        f"{step}tag: {quoted(tag, layout.styles[0])}{comment}",
        f"{step}repository: &r{n} {quoted(f'acme/web{n}', layout.styles[1])}{comment}",
        f"{step}other: *r{n}",
    ]
    if digest:
        lines.insert(n % 4, f"{step}digest:   {quoted(digest, layout.styles[2])}{comment}")
    script = f"{step}run acme/web{n}:{tag} # {tag}"
    return ["# values" + comment, "image:", *lines, f"script: |{comment}", script]


def flow(layout: Layout, n: int, tag: str, digest: str | None, comment: str) -> list[str]:
    style = layout.styles[1] if layout.styles[1] != "plain" else "double"
    pinned = f", digest: '{digest}'" if digest else ""
    return [
        "{images: [",
        f"  {{name: web{n},newTag: {quoted(tag, style)}{pinned} }},{comment}",
        " {name: x, note: [a,  b]}]  }",
    ]


@st.composite
def files(draw: st.DrawFn) -> tuple[str, str]:
    """A file with a site in each of its documents, and the tag they all have."""
    layout, tag = draw(LAYOUTS), draw(TAGS)
    lines: list[str] = []
    shapes = draw(st.lists(st.sampled_from([pod, values, flow]), min_size=1, max_size=4))
    for n, shape in enumerate(shapes):
        digest = draw(st.one_of(st.none(), DIGESTS))
        if n or draw(st.booleans()):
            lines.append("---" + draw(COMMENTS))
        lines.extend(shape(layout, n, tag, digest, draw(COMMENTS)))
    text = layout.bom + layout.end.join(lines)
    return (text + layout.end if layout.final else text), tag


def located(text: str) -> tuple[Site, ...]:
    found = locate(text, NAME)
    assert found.trouble is None
    return found.sites


def edits_of(sites: tuple[Site, ...], tag: str, digest: str) -> list[Edit]:
    return [Edit(site, tag, digest if site.digest else None) for site in sites if site.held is None]


def reading(node: Node | None) -> object:
    """What a node says, without where."""
    match node:
        case Scalar():
            return (node.value, node.style, node.anchor, node.tag)
        case Mapping():
            return [(reading(k), reading(v)) for k, v in node.pairs]
        case Sequence():
            return [reading(item) for item in node.items]
        case Alias():
            return node.name
        case None:
            return None


@given(files(), TAGS, DIGESTS)
def test_every_site_is_found_and_reads_the_new_version(file: tuple[str, str], tag: str, digest: str) -> None:
    text, old = file
    sites = located(text)
    assert len(sites) == len(parse(text))
    assert {site.tag for site in sites} == {old}
    after = located(rewrite(text, edits_of(sites, tag, digest), NAME))
    assert [(s.document, s.field, s.repository, s.written) for s in after] == [
        (s.document, s.field, s.repository, s.written) for s in sites
    ]
    for before, now in zip(sites, after, strict=True):
        assert (now.tag, now.digest) == (tag, digest if before.digest else None)
        for part in now.parts:
            if part.style == "plain" and quote_plain(part.value):
                # only where the author already had such a value, or a number as this one
                assert quote_plain(before.parts[now.parts.index(part)].value)


@given(files(), TAGS, DIGESTS)
def test_all_characters_outside_the_located_scalars_stay(
    file: tuple[str, str], tag: str, digest: str
) -> None:
    text, _ = file
    sites = located(text)
    after = rewrite(text, edits_of(sites, tag, digest), NAME)
    spans = sorted((part.start, part.end) for site in sites for part in site.parts)
    new_spans = sorted((part.start, part.end) for site in located(after) for part in site.parts)
    assert outside(text, spans) == outside(after, new_spans)


def outside(text: str, spans: list[tuple[int, int]]) -> list[str]:
    edges = [0, *(edge for span in spans for edge in span), len(text)]
    return [text[a:b] for a, b in zip(edges[::2], edges[1::2], strict=True)]


@given(files(), TAGS, DIGESTS, st.integers(0, 3))
def test_one_edit_leaves_every_other_value_alone(
    file: tuple[str, str], tag: str, digest: str, which: int
) -> None:
    text, _ = file
    sites = located(text)
    site = sites[which % len(sites)]
    after = rewrite(text, edits_of((site,), tag, digest), NAME)
    for before, now in zip(parse(text), parse(after), strict=True):
        if before.number != site.document:
            assert reading(before.root) == reading(now.root)
    assert text.count("\n") == after.count("\n")


@given(files(), TAGS, DIGESTS)
def test_twice_is_the_same_as_once(file: tuple[str, str], tag: str, digest: str) -> None:
    text, _ = file
    once = rewrite(text, edits_of(located(text), tag, digest), NAME)
    assert rewrite(once, edits_of(located(once), tag, digest), NAME) == once


@given(files(), TAGS)
def test_there_and_back_restores_every_character(file: tuple[str, str], tag: str) -> None:
    text, old = file
    # A plain value that needed quotes on the way keeps them.
    assume(not quote_plain(tag) and not quote_plain(old))
    there = rewrite(text, [Edit(s, tag, s.digest) for s in located(text)], NAME)
    back = rewrite(there, [Edit(s, old, s.digest) for s in located(there)], NAME)
    assert back == text


@given(files())
def test_both_scanners_agree_on_every_scalar(file: tuple[str, str]) -> None:
    body = file[0].removeprefix("\ufeff")

    def spans(events: object) -> list[tuple[int, int, str]]:
        return [
            (e.start_mark.index, e.end_mark.index, e.value)
            for e in events  # type: ignore[attr-defined]
            if type(e).__name__ == "ScalarEvent" and e.value
        ]

    assert spans(c_events(body)) == spans(pure_events(body))


YAMLISH = st.text(
    st.one_of(st.sampled_from("abimage:tag -?&*!|>'\"%@`{}[],#\n\r\t \\~<0.1"), st.characters()), max_size=60
)
# One piece a word, `_` for a space and `;` for a line end.
WORDS_OF_YAML = (
    "image: _web:1 tag:_ -_ ; __ &a_ *a { } [ ] ' \" |; >-; <<:_ ?_ ---; #_automator:_x; repository:_web;"
    " name:_ kind:_List;"
    " items:; images:; newTag:_1; !!str_ \\u2028 %TAG_!_x; sops:_{}; ${X} {image: ,_name:_x}"
)
PIECES = st.lists(
    st.one_of(
        st.sampled_from([w.replace("_", " ").replace(";", "\n") for w in WORDS_OF_YAML.split()]),
        st.sampled_from(["\u2028", "\x85", "\ufeff"]),
        st.text(max_size=3),
    ),
    max_size=14,
).map("".join)


@given(st.one_of(YAMLISH, PIECES), st.lists(YAMLISH, max_size=2))
@example("\ud800", [])
@example("image: web:1\n\x00", [])
@example('a: "\\ud83d"', [])
@example("a: \u2028&", [])
@example("? [image: web:1]\n: {? image}", ["image"])
def test_locating_never_raises_and_rewriting_raises_only_our_own(text: str, fields: list[str]) -> None:
    found = locate(text, NAME, tuple(fields))
    for site in found.sites:
        assert site.label
        after, refusal = attempt(text, Edit(site, "v9", site.digest))
        if after is None:
            assert refusal != "site/verify-failed"
            continue
        again = [s for s in locate(after, NAME, tuple(fields)).sites if s.field == site.field]
        assert any(s.document == site.document and s.tag in ("v9", None) for s in again)


def attempt(text: str, edit: Edit) -> tuple[str | None, str]:
    """The rewritten text, or the code of the refusal; any other error is a failure of the law."""
    try:
        return rewrite(text, [edit], NAME), ""
    except ManifestError as error:
        return None, error.reason.code
