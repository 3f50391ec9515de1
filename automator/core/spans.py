"""Spans: which characters of a file spell which characters of a scalar's value.

A scalar reads as its characters but for quotes, escapes, folds and indentation. A *run* is a stretch that
stands in the file exactly as it reads, so that a place inside a value has its place in the file.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import NamedTuple

from automator.core.yamltext import Scalar

BREAK = re.compile(r"\r\n?|\n")
_ESCAPE = re.compile(r"\\(?:x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|[^\r\n])")
_NAMED = {"0": "\0", "a": "\a", "b": "\b", "t": "\t", "\t": "\t", "n": "\n", "v": "\v", "f": "\f",
          "r": "\r", "e": "\x1b", "N": "\x85", "_": "\xa0", "L": "\u2028", "P": "\u2029"}  # fmt: skip
_WORD = re.compile(r"[^\s\\'\"]+")


class Run(NamedTuple):
    """`length` characters: at `value` in the scalar's value, at `raw` in the file."""

    value: int
    raw: int
    length: int


def runs(text: str, node: Scalar) -> tuple[Run, ...]:
    """The runs of a scalar, by place; none where its spelling cannot be followed."""
    if node.style in ("plain", "text"):
        return _whole(text, node, node.start, node.end) or _words(text, node)
    if node.style in ("single", "double"):
        inner = (node.start + 1, node.end - 1)
        return _whole(text, node, *inner) or _quoted(text, node, *inner) or _words(text, node)
    return _lines(text, node) if node.style == "literal" else _words(text, node)


def to_raw(found: tuple[Run, ...], start: int, end: int) -> tuple[int, int] | None:
    """Where `value[start:end]` stands in the file; None where it is not in one run."""
    index = bisect_right(found, start, key=lambda run: run.value) - 1
    # A run that ends where another begins: a place at the end belongs to the first.
    for run in found[max(index - 1, 0) : index + 1]:
        if run.value <= start and end <= run.value + run.length:
            return run.raw + start - run.value, run.raw + end - run.value
    return None


def to_value(found: tuple[Run, ...], start: int, end: int) -> tuple[int, int] | None:
    """Which part of the value `text[start:end]` spells; None where it is not in one run."""
    index = bisect_right(found, start, key=lambda run: run.raw) - 1
    for run in found[max(index - 1, 0) : index + 1]:
        if run.raw <= start and end <= run.raw + run.length:
            return run.value + start - run.raw, run.value + end - run.raw
    return None


def _whole(text: str, node: Scalar, start: int, end: int) -> tuple[Run, ...]:
    same = end - start == len(node.value) and text.startswith(node.value, start)
    return (Run(0, start, end - start),) if same else ()


def _quoted(text: str, node: Scalar, start: int, end: int) -> tuple[Run, ...]:
    """Runs between the escapes of a quoted scalar on one line."""
    if BREAK.search(text, start, end):
        return ()
    found: list[Run] = []
    value, at = "", start
    escape = re.compile("''") if node.style == "single" else _ESCAPE
    for match in escape.finditer(text, start, end):
        found.append(Run(len(value), at, match.start() - at))
        value += text[at : match.start()] + _unescaped(match[0])
        at = match.end()
    found.append(Run(len(value), at, end - at))
    return tuple(run for run in found if run.length) if value + text[at:end] == node.value else ()


def _unescaped(escape: str) -> str:
    if escape == "''":
        return "'"
    if len(escape) > 2:
        point = int(escape[2:], 16)
        return chr(point) if point <= 0x10FFFF else ""
    return _NAMED.get(escape[1], escape[1])


def _lines(text: str, node: Scalar) -> tuple[Run, ...]:
    """Runs of a literal block scalar: its lines without their indentation."""
    header = BREAK.search(text, node.start, node.end)
    if header is None:
        return ()
    found: list[Run] = []
    indent: int | None = None
    value, at = 0, header.end()
    for line in node.value.split("\n"):
        following = BREAK.search(text, at)
        stop = following.start() if following else len(text)
        if line.strip():
            begin = stop - len(line) if indent is None else at + indent
            # A line that reads otherwise (a template was covered there) has no run; the next one may.
            if at <= begin and text[begin:stop] == line and not text[at:begin].strip(" "):
                indent = begin - at
                found.append(Run(value, begin, len(line)))
        value += len(line) + 1
        at = following.end() if following else stop
    return tuple(found)


def _words(text: str, node: Scalar) -> tuple[Run, ...]:
    """Runs of a folded scalar: words that stand in the file as often as in the value, one after another."""
    start = node.start
    if node.style == "folded":
        header = BREAK.search(text, node.start, node.end)
        start = header.end() if header else node.end
    elif node.style in ("single", "double"):
        start += 1
    spelled = _words_of(text, start, node.end)
    read = _words_of(node.value, 0, len(node.value))
    found = [
        Run(there, here, len(word))
        for word, places in read.items()
        if len(spelled.get(word, ())) == len(places)
        for here, there in zip(spelled[word], places, strict=True)
    ]
    return tuple(sorted(found))


def _words_of(text: str, start: int, end: int) -> dict[str, list[int]]:
    """The places of each word."""
    words: dict[str, list[int]] = {}
    for match in _WORD.finditer(text, start, end):
        words.setdefault(match[0], []).append(match.start())
    return words
