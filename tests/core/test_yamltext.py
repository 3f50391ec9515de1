"""YAML as text with places: spans, anchors, limits, and which values need quotes."""

from __future__ import annotations

import pytest

from automator.core import yamltext
from automator.core.yamltext import Alias, Mapping, Node, Scalar, Sequence, parse, quote_plain
from automator.errors import ManifestError


def scalars(node: Node | None) -> list[Scalar]:
    match node:
        case Scalar():
            return [node]
        case Mapping():
            return [s for pair in node.pairs for part in pair for s in scalars(part)]
        case Sequence():
            return [s for item in node.items for s in scalars(item)]
        case _:
            return []


def spelled(text: str) -> list[str]:
    """The characters of each scalar, in order."""
    return [text[s.start : s.end] for document in parse(text) for s in scalars(document.root)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: b\n", ["a", "b"]),
        ("a:   b   # c\n", ["a", "b"]),
        ("\ufeffa: b\n", ["a", "b"]),
        ("\ufeff# ünï\r\na: b\r\n", ["a", "b"]),
        ("ключ: значение\nimage: 'x' # ü\n", ["ключ", "значение", "image", "'x'"]),
        ("a: 🦊🦊\nb: c", ["a", "🦊🦊", "b", "c"]),
        ("a: &anchor b\n", ["a", "b"]),
        ("a: !!str b\n", ["a", "b"]),
        ("a: &x !!str 'b'\n", ["a", "'b'"]),
        ("a: !!str &x\n  # between\n  b\n", ["a", "b"]),
        ("a: &x # behind the anchor & here\n  b\n", ["a", "b"]),
        ("a: &x\nb: c\n", ["a", "", "b", "c"]),
        ("{a: &x , b: [&y ]}", ["a", "", "b", ""]),
        ('{"a":"b","c":1}', ['"a"', '"b"', '"c"', "1"]),
        ("a: |\n  x\n  y\nb: c\n", ["a", "|\n  x\n  y\n", "b", "c"]),
        ("a: one\n  two\nb: c\n", ["a", "one\n  two", "b", "c"]),
        ("a: x\u2028y\nb: c\n", ["a", "x\u2028y", "b", "c"]),
        ("a: x\x85y\nb: c\n", ["a", "x\x85y", "b", "c"]),
    ],
)
def test_a_span_is_exactly_the_characters_of_the_scalar(text: str, expected: list[str]) -> None:
    assert spelled(text) == expected


def test_lines_count_from_one_and_skip_properties() -> None:
    (document,) = parse("# first\r\na: &x\r\n  # second\r\n  b\r\n")
    assert [s.line for s in scalars(document.root)] == [2, 4]


def test_documents_are_numbered_with_the_empty_ones() -> None:
    documents = parse("# only a comment\n---\na: 1\n---\n# nothing\n---\nb: 2\n...\n")
    assert [(d.number, d.root is None) for d in documents] == [(0, False), (1, True), (2, False)]


def test_an_alias_points_at_the_anchor_before_it_and_anchors_may_repeat() -> None:
    (document,) = parse("a: &x 1\nb: *x\nc: &x 2\nd: *x\n")
    assert isinstance(document.root, Mapping)
    values = {k.value: v for k, v in document.root.pairs if isinstance(k, Scalar)}
    first, second = values["b"], values["d"]
    assert isinstance(first, Alias)
    assert isinstance(second, Alias)
    assert (first.target, second.target) == (values["a"], values["c"])
    assert document.uses == {values["a"].start: 1, values["c"].start: 1}


def test_an_anchor_ends_with_its_document() -> None:
    _, second = parse("a: &x 1\n---\nb: *x\n")
    assert isinstance(second.root, Mapping)
    alias = second.root.get("b")
    assert isinstance(alias, Alias)
    assert alias.target is None


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("a: {{ .Values.image }}: x\n", "yaml/unparsable"),
        ("a: [1\n", "yaml/unparsable"),
        ("\ta: b\n", "yaml/unparsable"),
        ("a: \x00\n", "yaml/unparsable"),
        ("a: \ud800\n", "yaml/unparsable"),
        ('a: "\\ud83d\\ude00"\n', "yaml/unparsable"),
        ("[" * 200 + "]" * 200, "yaml/too-deep"),
        ("a: " + "[" * 100_000, "yaml/too-deep"),
        ("a: " + "x" * yamltext.MAX_CHARACTERS, "yaml/too-large"),
        ("a: \u2028" + "x" * yamltext.MAX_PURE_CHARACTERS, "yaml/too-large"),
    ],
)
def test_what_cannot_be_read_says_so(text: str, code: str) -> None:
    with pytest.raises(ManifestError) as caught:
        parse(text)
    assert caught.value.reason.code == code
    assert caught.value.reason.sentence


def test_the_line_of_a_syntax_error_is_named() -> None:
    with pytest.raises(ManifestError) as caught:
        parse("a: b\nc: d\n{{- if }}\n")
    assert dict(caught.value.reason.params)["line"] == "3"


def test_aliases_are_not_expanded() -> None:
    bomb = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}, *a{n - 1}]\n" for n in range(1, 90))
    (document,) = parse(bomb)
    assert len(scalars(document.root)) == 91


OTHER_TYPES = [
    "1.10",
    "1.9",
    "1.",
    ".5",
    "1e3",
    "1E3",
    "1e+3",
    "1.5e-7",
    "22e1758",
    "0123",
    "0o17",
    "0x1F",
    "0b101",
    "12",
    "-1",
    "+12",
    "1_000",
    "1_2.5",
    "0",
    "20:30",
    "190:20:30",
    "190:20:30.15",
    "2024-01-01",
    "2024-1-1",
    "2001-12-14t21:59:43.10-05:00",
    "yes",
    "Yes",
    "NO",
    "on",
    "Off",
    "true",
    "FALSE",
    "null",
    "Null",
    "~",
    "y",
    "N",
    ".inf",
    "-.INF",
    ".nan",
    ".NaN",
    "=",
    "<<",
]
SYNTAX = [
    "",
    " a",
    "a ",
    "a: b",
    "a #b",
    "a:",
    "- a",
    "-",
    "? a",
    "*a",
    "&a",
    "!a",
    "#a",
    "|",
    ">",
    "%a",
    "@a",
]
SYNTAX += ["`a", "'a", '"a', "[a", "a]", "{a", "a, b", "---", "a\nb", "a\tb", "\x07"]
STRINGS = [
    "1.2.3",
    "v1",
    "v1.10",
    "1.4.3-rc.1",
    "1.10-alpine",
    "latest",
    "main-17",
    "0350777a",
    "9816g67",
    "e1758",
    "1.2.3e4",
    "2024.01.01",
    "20240101-1",
    "ghcr.io/acme/web:1.10",
    "nginx",
    "localhost:5000/x",
    "sha256:abc",
    "_1",
    "-a",
    "a#b",
    "a:b",
    "1.10@sha256:00",
    "yesterday",
    "nope",
    "0x",
    "1-2-3",
]


@pytest.mark.parametrize("value", OTHER_TYPES + SYNTAX)
def test_a_value_that_some_reader_takes_for_another_type_is_quoted(value: str) -> None:
    assert quote_plain(value)


@pytest.mark.parametrize("value", STRINGS)
def test_a_value_that_every_reader_takes_for_text_stays_plain(value: str) -> None:
    assert not quote_plain(value)
