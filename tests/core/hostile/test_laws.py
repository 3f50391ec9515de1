"""Laws over generated files whose layout is as bad as YAML allows, and over what is left when they break.

A file is drawn as a skeleton: `TTT` and `SSS` stand for the version at a site, `DDD` for the same characters
where they are no image's version.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from hypothesis import assume, given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from automator import set_image
from automator.core.mask import read
from automator.core.rewrite import Edit, rewrite
from automator.core.site import Site, locate
from automator.core.yamltext import c_events, pure_events, quote_plain
from automator.errors import AutomatorError

NAME = "web.yaml"
# No full stop at the end: in a sentence that is none of the tag's.
TAGS = st.one_of(
    st.from_regex(r"\A[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,9}[A-Za-z0-9_-])?\Z"),
    st.sampled_from(["1.10", "1e3", "0123", "2024-01-01", "yes", "22e1758", "v1.2.3", "latest", "14"]),
).filter(lambda tag: not re.search("TTT|SSS|DDD", tag))
DIGESTS = st.text("0123456789abcdef", min_size=64, max_size=64).map("sha256:".__add__)
COMMENTS = st.sampled_from(
    [
        "",
        "",
        "  # DDD",
        "\t# DDD",
        " #",
        "   # it's \"{[ *a &b !c |> %@`",
        " # äöü🦊: 'DDD' - x: y",
        " #\t\\ ghcr.io/acme/w0:DDD",
    ]
)
STYLES = st.sampled_from(["{}", "{}", "'{}'", '"{}"'])
STEPS = st.sampled_from([1, 2, 3, 4, 8])


class Line(NamedTuple):
    text: str
    inner: bool = False
    """Inside a block scalar or a flow collection: nothing may be put before it."""


class Block(NamedTuple):
    """Lines of a mapping, and how many sites they hold."""

    lines: list[Line]
    sites: int


class File(NamedTuple):
    skeleton: str
    sites: int
    templated: bool

    def filled(self, tag: str, digest: str, decoy: str | None = None) -> str:
        text = self.skeleton.replace("TTT", tag).replace("SSS", digest)
        return text.replace("DDD", tag if decoy is None else decoy)


def indented(lines: list[Line], by: int) -> list[Line]:
    return [Line(" " * by + line.text if line.text else "", line.inner) for line in lines]


def reference(draw: st.DrawFn, n: int) -> str:
    return f"ghcr.io/acme/w{n}:TTT" + draw(st.sampled_from(["", "", "@SSS"]))


# -- blocks: each a mapping of its own, with sites in it ------------------------------------------------


def containers(draw: st.DrawFn, n: int) -> Block:
    """A list of containers, indented or not."""
    step, dash = draw(st.sampled_from([0, 0, 1, 2, 4])), "-" + " " * draw(st.sampled_from([1, 2, 5]))
    image = draw(STYLES).format(reference(draw, n))
    item = [
        Line(f"name:  app{draw(COMMENTS)}"),
        Line(f"image:  {image}{draw(COMMENTS)}"),
        Line(f"args: [ \"--version=DDD\",  'DDD' ]{draw(COMMENTS)}"),
    ]
    inner = indented(item, len(dash))
    inner[0] = Line(dash + item[0].text)
    return Block([Line(f"containers:{draw(COMMENTS)}"), *indented(inner, step)], 1)


def values(draw: st.DrawFn, n: int) -> Block:
    """Name, tag and digest in keys of their own, in any order."""
    keys = {
        "registry": draw(STYLES).format("ghcr.io"),
        "repository": draw(STYLES).format(f"acme/w{n}"),
        "tag": draw(STYLES).format("TTT"),
    }
    if draw(st.booleans()):
        keys["digest"] = draw(STYLES).format("SSS")
    order = draw(st.permutations(sorted(keys)))
    lines = [Line(f"{key}:{draw(st.sampled_from([' ', '   ']))}{keys[key]}{draw(COMMENTS)}") for key in order]
    return Block([Line(f"image:{draw(COMMENTS)}"), *indented(lines, draw(STEPS)), Line("version: DDD")], 1)


def flow(draw: st.DrawFn, n: int) -> Block:
    """Flow collections over several lines, or on one with another image."""
    style = draw(st.sampled_from(["'{}'", '"{}"']))
    gap = draw(st.sampled_from(["", " "]))
    first = f"{{name: ghcr.io/acme/w{n},{gap}newTag: {style.format('TTT')}{gap}}}"
    second = f"{{image: {style.format(reference(draw, n))}, note: [DDD,  b]}}"
    if draw(st.booleans()):
        return Block([Line(f"images: [{first},{gap}{second}]{draw(COMMENTS)}")], 2)
    lines = [
        Line("images: ["),
        Line(f"   {first},{draw(COMMENTS)}", inner=True),
        Line(f" {second}", inner=True),
        Line(" ]", inner=True),
    ]
    return Block(lines, 2)


def scalar(draw: st.DrawFn, n: int) -> Block:
    """A block scalar, a complex key, an anchor, an explicit tag."""
    ref = reference(draw, n)
    header = draw(st.sampled_from(["|", "|-", "|+", ">", ">-"]))
    kind = draw(st.sampled_from(["block", "key", "anchor", "alias", "tagged"]))
    if kind == "block":
        return Block(
            [
                Line(f"image: {header}{draw(COMMENTS)}"),
                *indented([Line(ref, inner=True)], draw(STEPS)),
                Line("x: y"),
            ],
            1,
        )
    if kind == "key":
        return Block([Line(f"? image{draw(COMMENTS)}"), Line(f": {ref}{draw(COMMENTS)}")], 1)
    if kind == "alias":
        return Block([Line(f"a: {{image: &a{n} '{ref}'}}{draw(COMMENTS)}"), Line(f"b: {{image: *a{n} }}")], 2)
    lead = f"&a{n} " if kind == "anchor" else "!!str "
    return Block([Line(f"image: {lead}{draw(STYLES).format(ref)}{draw(COMMENTS)}")], 1)


def mention(draw: st.DrawFn, n: int) -> Block:
    """References in arguments, environments and parameters."""
    kind = draw(st.sampled_from(["args", "env", "parameters"]))
    if kind == "args":
        lines = [Line("args:"), Line(f"- --image=ghcr.io/acme/w{n}:TTT{draw(COMMENTS)}"), Line("- --tag=DDD")]
        return Block(lines, 1)
    if kind == "env":
        return Block(
            [
                Line("env:"),
                Line("- name: SIDECAR"),
                Line(f"  value: {draw(STYLES).format(f'ghcr.io/acme/w{n}:TTT')}"),
            ],
            1,
        )
    items = [("image.repository", f"ghcr.io/acme/w{n}"), ("image.tag", "TTT"), ("other", "DDD")]
    lines = []
    for name, value in draw(st.permutations(items)):
        lines += [Line(f"- name: {name}{draw(COMMENTS)}"), Line(f"  value: {draw(STYLES).format(value)}")]
    return Block([Line("parameters:"), *lines], 1)


def embedded(draw: st.DrawFn, n: int) -> Block:
    """One of the others in a block scalar."""
    inner = draw(st.sampled_from([containers, values, flow]))(draw, n)
    header = draw(st.sampled_from(["|", "|-", "|+"]))
    lines = indented([Line(line.text.replace("\t", " "), inner=True) for line in inner.lines], draw(STEPS))
    return Block([Line(f"values: {header}{draw(COMMENTS)}"), *lines, Line("end: DDD")], inner.sites)


@st.composite
def blocks(draw: st.DrawFn, n: int) -> Block:
    made = draw(st.sampled_from([containers, values, flow, scalar, mention, embedded]))(draw, n)
    lines = made.lines
    for key in draw(st.lists(st.sampled_from(["spec", "größe", '"a b"', "'🦊'", "x.y/z"]), max_size=3)):
        lines = [Line(f"{key}:{draw(COMMENTS)}"), *indented(lines, draw(STEPS)), Line("next: DDD")]
    return Block([Line(f"kind: Thing{draw(COMMENTS)}"), *lines], made.sites)


@st.composite
def files(draw: st.DrawFn, *, templates: bool = True, tabs: bool = True) -> File:
    """A file of several documents, each with sites."""
    lines: list[str] = []
    count = 0
    templated = templates and draw(st.integers(0, 3)) == 0
    for n in range(draw(st.integers(1, 3))):
        if n:
            lines.append(draw(st.sampled_from(["---", "--- # DDD", "...\n---", "---\n# DDD\n---"])))
        elif not templated:
            lines.append(draw(st.sampled_from(["# DDD", "---", "%YAML 1.2\n---", "# 🦊\n---"])))
        block = draw(blocks(n))
        count += block.sites
        for line in block.lines:
            if not line.inner and draw(st.integers(0, 4)) == 0:
                extra = ["", "# DDD ghcr.io/acme/w0:DDD", "   "]
                extra += ["{{- if .Values.x }}", "    {{- end }}"] if templated else []
                lines.append(draw(st.sampled_from(extra)))
            lines.append(line.text)
    if templated:
        lines = ["{{ if .x }}", *lines, "{{ end }}"]
    end = draw(st.sampled_from(["\n", "\r\n"]))
    if templated or not tabs:
        lines = [line.replace("\t", " ") for line in lines]
    text = end.join("\n".join(lines).split("\n")) + draw(st.sampled_from(["", end, end + end]))
    return File(draw(st.sampled_from(["", "", "\ufeff"])) + text, count, templated)


# -- laws ------------------------------------------------------------------------------------------------


def located(text: str) -> tuple[Site, ...]:
    found = locate(text, NAME)
    assert found.trouble is None
    return found.sites


def moved(text: str, tag: str, digest: str) -> str:
    return rewrite(text, [Edit(s, tag, digest if s.digest else None) for s in located(text)], NAME)


@given(files(), TAGS, DIGESTS)
def test_every_site_is_found_wherever_it_stands(file: File, tag: str, digest: str) -> None:
    found = located(file.filled(tag, digest))
    assert [(site.tag, site.held) for site in found] == [(tag, None)] * file.sites
    assert {site.digest for site in found} <= {None, digest}


@given(files(templates=False, tabs=False), TAGS, TAGS, st.tuples(DIGESTS, DIGESTS))
def test_another_reader_sees_the_intended_values_change_and_nothing_else(
    file: File, old: str, new: str, digests: tuple[str, str]
) -> None:
    assume(old != new)  # what stands there already may stand as the author spelled it
    after = moved(file.filled(old, digests[0]), new, digests[1])
    wanted = loaded(file.filled("vTTT", digests[1], old))
    assert same(loaded(after), wanted, new), after


@given(files(), TAGS, TAGS, st.tuples(DIGESTS, DIGESTS))
def test_the_characters_are_the_skeletons(file: File, old: str, new: str, digests: tuple[str, str]) -> None:
    after = moved(file.filled(old, digests[0]), new, digests[1])
    # Only quotes around a whole new tag may have come in.
    parts = re.split("(TTT|SSS|DDD)", file.skeleton)
    spelled = {
        "TTT": rf"(?P<quote>['\"]?){re.escape(new)}(?P=quote)" if quote_plain(new) else re.escape(new),
        "SSS": re.escape(digests[1]),
        "DDD": re.escape(old),
    }
    pattern = "".join(
        spelled[part].replace("quote", f"q{number}") if part in spelled else re.escape(part)
        for number, part in enumerate(parts)
    )
    assert re.fullmatch(pattern, after), after


@given(files(), TAGS, TAGS, st.tuples(DIGESTS, DIGESTS))
def test_twice_is_once_and_back_again_is_the_old_text(
    file: File, old: str, new: str, digests: tuple[str, str]
) -> None:
    before = file.filled(old, digests[0])
    after = moved(before, new, digests[1])
    assert moved(after, new, digests[1]) == after
    if not quote_plain(old) and not quote_plain(new):
        assert moved(after, old, digests[0]) == before


@given(files(templates=False, tabs=False), TAGS, DIGESTS)
def test_both_scanners_see_every_site_at_the_same_characters(file: File, tag: str, digest: str) -> None:
    text = file.filled(tag, digest)
    body = text.removeprefix("\ufeff")
    offset = len(text) - len(body)
    pure = {
        (e.start_mark.index, e.end_mark.index): e.value
        for e in pure_events(body)
        if type(e).__name__ == "ScalarEvent"
    }
    quick = {
        (e.start_mark.index, e.end_mark.index): e.value
        for e in c_events(body)
        if type(e).__name__ == "ScalarEvent"
    }
    for site in located(text):
        for part in site.parts:
            spans = [
                {
                    span: value
                    for span, value in events.items()
                    if span[0] + offset <= part.start and part.end <= span[1] + offset
                }
                for events in (pure, quick)
            ]
            assert spans[0] == spans[1]
            assert len(spans[0]) == 1


BREAKS = [
    "\n", "\r", "\t", "\x85", "\u2028", "\ufeff", "\x00", "\ud800", "{{", "}}", "{{ if }}", "'", '"', "|",
    ">", ": ", "- ", "&a ", "*a", "<<: *a", "---\n", "{", "]", "#", "!!x ", "? ", "%", "\\", ",", "",
]  # fmt: skip
WOUNDS = st.lists(
    st.tuples(st.integers(0, 10_000), st.integers(0, 3), st.sampled_from(BREAKS)), min_size=1, max_size=6
)


@given(files(), WOUNDS, st.integers(0, 10_000), st.booleans())
def test_a_broken_file_is_edited_exactly_or_left_alone(
    file: File, wounds: list[tuple[int, int, str]], cut: int, cutting: bool
) -> None:
    text = file.filled("1.4.2", "sha256:" + "0" * 64)
    for where, length, what in wounds:
        at = where % (len(text) + 1)
        text = text[:at] + what + text[at + length :]
    unharmed(text[: cut % (len(text) + 1)] if cutting else text)


@given(
    st.one_of(
        st.binary(max_size=80),
        st.binary(max_size=20).map(lambda data: b"image: ghcr.io/acme/w0:1.4.2" + data),
    )
)
def test_bytes_that_are_no_text_are_left_alone(data: bytes) -> None:
    for text in (
        data.decode("utf-8", "replace"),
        data.decode("latin-1"),
        data.decode("utf-8", "surrogateescape"),
    ):
        unharmed(text)


def unharmed(text: str) -> None:
    """Fails unless an edit replaces nothing but the old tag, whatever the text is."""
    new = "zz-9.9.9"
    for image, field in (("ghcr.io/acme/w0", None), ("", "spec.image"), ("", "image")):
        try:
            done = set_image(text, image=image, to=new, old="1.4.2", field=field, path=NAME)
        except AutomatorError as error:
            raise AssertionError(f"a text raised {error}") from error
        assert done.text.replace(new, "1.4.2") == text
        assert done.changed == (done.text != text)
        assert not (done.changed and done.held)
        assert all(why.sentence and why.code != "site/verify-failed" for why in done.held)
        again = set_image(done.text, image=image, to=new, old="1.4.2", field=field, path=NAME)
        assert again.text == done.text


# -- what another reader sees ------------------------------------------------------------------------


def loaded(text: str) -> list[object]:
    """The documents as ruamel.yaml loads them; texts that hold documents too."""
    reader = YAML(typ="safe", pure=True)
    return [inside(document) for document in reader.load_all(text.removeprefix("\ufeff"))]


def inside(value: object) -> object:
    if isinstance(value, dict):
        return {key: loaded(one) if key == "values" else inside(one) for key, one in value.items()}
    return [inside(one) for one in value] if isinstance(value, list) else value


def same(got: object, wanted: object, tag: str) -> bool:
    """Whether values are equal, `vTTT` read as `tag`; a number that a tag was may still be one."""
    if isinstance(got, dict) and isinstance(wanted, dict):
        return list(got) == list(wanted) and all(same(got[key], wanted[key], tag) for key in got)
    if isinstance(got, list) and isinstance(wanted, list):
        return len(got) == len(wanted) and all(same(*pair, tag) for pair in zip(got, wanted, strict=True))
    if isinstance(wanted, str) and "vTTT" in wanted:
        return got == wanted.replace("vTTT", tag) or (not isinstance(got, (str, bool)) and str(got) == tag)
    return got == wanted and type(got) is type(wanted)


def test_templates_are_drawn_so_that_they_need_covering() -> None:
    text = "{{ if .x }}\nkind: Thing\nimage: ghcr.io/acme/w0:1\n{{ end }}"
    assert read(text)[0].templated
