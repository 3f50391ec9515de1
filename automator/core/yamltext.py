"""YAML as text with places: documents, nodes and the exact span of every scalar.

Only locates, never prints. The C scanner (`ruamel.yaml.clib`) gives events with marks that count
characters; the pure one is the fallback for what the C one reads differently (U+2028 and its kin)
and where the extension is missing. Events are used rather than a composer because a repeated
anchor, legal in real files, stops the composers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Mapping as Map
from itertools import zip_longest
from types import MappingProxyType
from typing import Any, NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

from automator.errors import ManifestError
from automator.reasons import Reason, reason

try:
    from ruamel.yaml.cyaml import CParser  # type: ignore[attr-defined]

    SCANNER = "libyaml"
except ImportError:  # pragma: no cover - the extension is a dependency, the fallback a safety net
    CParser = None
    SCANNER = "pure"

MANY_PAIRS = 32
MAX_DEPTH = 100
MAX_CHARACTERS = 8_000_000
MAX_PURE_CHARACTERS = 120_000
"""Limit for texts that only the pure scanner reads as meant: it is some twenty times slower."""

BOM = "\ufeff"
COVER = "\ue000"
"""The character that covers templates (of the private use area)."""
_PROPERTIES = re.compile(r"(?:[&!]\S*+|\s++|#[^\r\n]*+)++")
_COLLECTIONS = (MappingStartEvent, SequenceStartEvent)
_BREAK = re.compile(r"\r\n?|\n")
_LIBYAML_BREAKS = re.compile("[\x85\u2028\u2029]")
_OTHER_TYPE = re.compile(
    r"""
      | ~ | = | << | null | true | false | yes | no | on | off | y | n
      | [-+]? \.inf | \.nan
      | [-+]? 0b [01_]+ | [-+]? 0o? [0-7_]+ | [-+]? 0x [0-9a-f_]+            # 1.1 and 1.2 bases
      | [-+]? (?: [0-9][0-9_]* (?: \. [0-9_]* )? | \. [0-9_]+ ) (?: e [-+]? [0-9_]+ )?
      | [-+]? [0-9][0-9_]* (?: : [0-5]?[0-9] )+ (?: \. [0-9_]* )?            # sexagesimal
      | [0-9]{4} - [0-9]{1,2} - [0-9]{1,2} (?: (?: t | [ \t]+ ) [0-9]{1,2} : .* )?
    """,
    re.VERBOSE | re.IGNORECASE | re.ASCII,
)
_SYNTAX = re.compile(r"\A[-?:](?:\s|\Z)|\A[,\[\]{}#&*!|>'\"%@`]|:(?:\s|\Z)|\s\#|[,\[\]{}]|\A(?:---|\.\.\.)")
_STYLES = {None: "plain", "": "plain", "'": "single", '"': "double", "|": "literal", ">": "folded"}


class Scalar(NamedTuple):
    """A scalar: its value and the characters `text[start:end]` that spell it, quotes included,
    anchor and tag excluded."""

    value: str
    start: int
    end: int
    line: int
    """1-based line on which the value starts."""
    style: str
    """plain, single, double, literal or folded."""
    anchor: str | None
    tag: str | None


class Mapping(NamedTuple):
    """A mapping: its pairs in order (keys may repeat)."""

    pairs: tuple[tuple[Node, Node], ...]
    start: int
    end: int
    line: int
    flow: bool
    anchor: str | None
    by_key: Map[str, Node] | None = None
    """Values by key, of a mapping with many."""

    def get(self, key: str) -> Node | None:
        """The value of the last pair whose key is the scalar `key` (the last wins, as in YAML 1.1
        loaders), or None."""
        if self.by_key is not None:
            return self.by_key.get(key)
        for name, value in reversed(self.pairs):
            # The text first: it is seldom the one, and this is asked a hundred times of each file.
            if name[0] == key and isinstance(name, Scalar):
                return value
        return None


def by_key(pairs: Iterable[tuple[Node, Node]]) -> dict[str, Node] | None:
    """Values by key where there are so many pairs that going through them takes long, else None."""
    pairs = tuple(pairs)
    if len(pairs) <= MANY_PAIRS:
        return None
    return {key.value: value for key, value in pairs if isinstance(key, Scalar)}


class Sequence(NamedTuple):
    """A sequence: its items in order."""

    items: tuple[Node, ...]
    start: int
    end: int
    line: int
    flow: bool
    anchor: str | None


class Alias(NamedTuple):
    """`*name`: the node that carried the anchor last before it, or None if there is none."""

    name: str
    target: Node | None
    start: int
    end: int
    line: int


Node = Scalar | Mapping | Sequence | Alias


class Document(NamedTuple):
    """One document of a stream; `root` is None for an empty or comment-only document."""

    number: int
    """Its place in the stream, from 0; empty documents count."""
    root: Node | None
    line: int
    uses: Map[int, int] = MappingProxyType({})
    """How many aliases point at a node, by its start."""
    templated: bool = False
    """Whether templates were covered to read it, so that keys may stand twice."""


def is_other_type(value: str) -> bool:
    """Whether `value`, written without quotes, is a number, boolean, null, date or merge key to some
    reader: YAML 1.1 (yaml.org/type), 1.2 (Core schema), or one of Go's."""
    return _OTHER_TYPE.fullmatch(value) is not None


def quote_plain(value: str) -> bool:
    """Whether `value`, written without quotes, would not be read as this very string by every reader:
    as a number, boolean, null, date or merge key by YAML 1.1 or 1.2 (Core), or as YAML syntax.

    Rules: yaml.org/type (1.1), YAML 1.2.2 section 10.3, and the numbers that Go's readers accept.
    """
    return (
        not value.isprintable()
        or value != value.strip()
        or is_other_type(value)
        or _SYNTAX.search(value) is not None
    )


def parse(text: str, original: str = "") -> tuple[Document, ...]:
    """Parse a stream into documents.

    Where templates of an `original` text are covered in `text`, of the same length, values show them.

    `text` is the file decoded from UTF-8 as it stands: a byte-order mark and CRLF included. Spans
    are character indexes into this very text.

    Raises ManifestError (`yaml/unparsable`, `yaml/too-deep`, `yaml/too-large`).
    """
    limit = MAX_CHARACTERS if reads_alike(text) else MAX_PURE_CHARACTERS
    if len(text) > limit:
        raise ManifestError(reason("yaml/too-large", size=len(text), limit=limit))
    offset = 1 if text.startswith(BOM) else 0
    body = text[offset:] if offset else text
    if limit == MAX_CHARACTERS:
        try:
            return _composed(text, offset, body, original)
        except (YAMLError, *_SCANNER_FAULTS) as error:
            if getattr(error, "problem", None) != _COLON_IN_FLOW or len(text) > MAX_PURE_CHARACTERS:
                raise ManifestError(_unparsable(error)) from error
    try:
        return tuple(_Composer(text, offset, pure_events(body).__next__, original).documents())
    except (YAMLError, *_SCANNER_FAULTS) as error:
        raise ManifestError(_unparsable(error)) from error


def _composed(text: str, offset: int, body: str, original: str) -> tuple[Document, ...]:
    """The documents as the C scanner reads them."""
    parser = CParser(body)
    try:
        return tuple(_Composer(text, offset, parser.get_event, original).documents())
    finally:
        parser.dispose()


def c_events(body: str) -> Iterator[Any]:
    """The event stream of the C scanner, for a `body` without byte-order mark."""
    parser = CParser(body)
    try:
        event = parser.get_event()
        while event is not None:
            yield event
            event = parser.get_event()
    finally:
        parser.dispose()


def pure_events(body: str) -> Iterator[Any]:
    """The event stream of the pure scanner, for a `body` without byte-order mark."""
    # (Not the round-trip reader, which marks folds with characters of its own.)
    yield from YAML(typ="safe", pure=True).parse(body)


class Replaced(NamedTuple):
    """A whole scalar that another one stands for: its place, and what is read there instead."""

    start: int
    end: int
    value: str


def equal_but_for(before: str, after: str, replaced: Iterable[Replaced]) -> bool:
    """Whether two texts that the C scanner reads give the same events but for the replaced scalars, which
    are given in the order of the text: a plain scalar may have got quotes, nothing else changes."""
    offset = 1 if before.startswith(BOM) else 0
    todo = list(replaced)[::-1]
    try:
        for one, other in zip_longest(c_events(before[offset:]), c_events(after[offset:])):
            kind = type(one)
            if kind is not type(other):
                return False
            if kind is ScalarEvent:
                if todo and todo[-1].start < one.end_mark.index + offset:
                    if not _is_replaced(before, one, other, todo.pop(), offset):
                        return False
                elif one.value != other.value or one.style != other.style or not _same_properties(one, other):
                    return False
            elif kind is AliasEvent:
                if one.anchor != other.anchor:
                    return False
            elif kind in _COLLECTIONS and not (
                one.flow_style == other.flow_style and _same_properties(one, other)
            ):
                return False
    except (YAMLError, *_SCANNER_FAULTS):
        return False
    return not todo


def _same_properties(one: Any, other: Any) -> bool:
    return bool(one.anchor == other.anchor and one.ctag == other.ctag)


def _is_replaced(before: str, one: Any, other: Any, wanted: Replaced, offset: int) -> bool:
    start, end = one.start_mark.index + offset, one.end_mark.index + offset
    if end != wanted.end or start > wanted.start:
        return False
    if start < wanted.start and _PROPERTIES.fullmatch(before, start, wanted.start) is None:
        return False
    restyled = not one.style and other.style in ("'", '"')
    return bool(
        other.value == wanted.value
        and (one.style == other.style or restyled)
        and _same_properties(one, other)
    )


def reads_alike(text: str) -> bool:
    """Whether the C scanner can be had and reads this text as YAML 1.2 does: libyaml takes U+0085,
    U+2028 and U+2029 for line breaks (YAML 1.1), the pure scanner for text."""
    return CParser is not None and (text.isascii() or _LIBYAML_BREAKS.search(text) is None)


# The YAML 1.1 rule by which libyaml refuses `{image: web:1}`, which YAML 1.2 and its readers take.
_COLON_IN_FLOW = "found unexpected ':'"

# What the scanners raise, besides their own errors, on text that is no YAML: lone surrogates and code
# points out of range (ValueError), and slips of the pure scanner on broken input.
_SCANNER_FAULTS = (ValueError, IndexError, TypeError, AttributeError, AssertionError, OverflowError)


def _unparsable(error: Exception) -> Reason:
    mark = None
    problem = ""
    if isinstance(error, MarkedYAMLError):
        # A key without its colon is noticed on a later line than the one it stands on.
        key = error.context == "while scanning a simple key"
        mark = (error.context_mark if key else error.problem_mark) or error.context_mark
        problem = error.problem or ""
    line = mark.line + 1 if mark is not None else 1
    return reason("yaml/unparsable", line=line, problem=problem or str(error) or type(error).__name__)


class _Composer:
    """Builds nodes from events; anchors may repeat, the last one before an alias counts."""

    def __init__(self, text: str, offset: int, take: Callable[[], Any], original: str) -> None:
        self._text = text
        self._original = original
        self._offset = offset
        self._take = take
        """Gives the next event."""
        self._anchors: dict[str, Scalar | Mapping | Sequence] = {}
        self._uses: dict[int, int] = {}

    def documents(self) -> Iterator[Document]:
        number = 0
        while type(event := self._take()) is not StreamEndEvent:
            if type(event) is not DocumentStartEvent:
                continue
            self._anchors, self._uses = {}, {}
            line = event.start_mark.line + 1
            root = self._node(self._take(), 0)
            empty = isinstance(root, Scalar) and root.start == root.end and root.style == "plain"
            yield Document(number, None if empty else root, line, self._uses, bool(self._original))
            number += 1

    def _node(self, event: Any, depth: int) -> Node:
        kind = type(event)
        if kind is ScalarEvent:
            return self._scalar(event)
        if kind is AliasEvent:
            return self._alias(event)
        if depth >= MAX_DEPTH:
            raise ManifestError(reason("yaml/too-deep", line=event.start_mark.line + 1, limit=MAX_DEPTH))
        return self._mapping(event, depth) if kind is MappingStartEvent else self._sequence(event, depth)

    def _alias(self, event: Any) -> Alias:
        start, end = event.start_mark, event.end_mark
        target = self._anchors.get(event.anchor)
        if target is not None:
            self._uses[target.start] = self._uses.get(target.start, 0) + 1
        return Alias(
            event.anchor, target, start.index + self._offset, end.index + self._offset, start.line + 1
        )

    def _scalar(self, event: Any) -> Scalar:
        mark = event.start_mark
        start, end, line = mark.index, event.end_mark.index, mark.line + 1
        if self._offset:
            start, end = start + self._offset, end + self._offset
        anchor, tag = event.anchor, event.ctag
        if anchor is None and tag is None:
            value = self._uncovered(event.value, start, end) if self._original else event.value
            return Scalar(value, start, end, line, _STYLES[event.style], None, None)
        if self._text[start : start + 1] in ("&", "!"):
            prefix = _PROPERTIES.match(self._text, start, end)
            if prefix is not None:
                line += len(_BREAK.findall(self._text, start, prefix.end()))
                start = prefix.end()
        value = self._uncovered(event.value, start, end) if self._original else event.value
        node = Scalar(
            value, start, end, line, _STYLES[event.style], anchor, None if tag is None else str(tag)
        )
        if anchor is not None:
            self._anchors[anchor] = node
        return node

    def _uncovered(self, value: str, start: int, end: int) -> str:
        """A value with the templates that its covers stand for."""
        if COVER not in value:
            return value
        there = iter([self._original[i] for i in range(start, end) if self._text[i] == COVER])
        return "".join(next(there, c) if c == COVER else c for c in value)

    def _mapping(self, event: Any, depth: int) -> Mapping:
        pairs = []
        take, scalar, depth = self._take, self._scalar, depth + 1
        # Scalars, by far the most nodes, take the short way.
        while (kind := type(following := take())) is not MappingEndEvent:
            key = scalar(following) if kind is ScalarEvent else self._node(following, depth)
            value = take()
            pairs.append((key, scalar(value) if type(value) is ScalarEvent else self._node(value, depth)))
        node = Mapping(
            tuple(pairs),
            event.start_mark.index + self._offset,
            following.end_mark.index + self._offset,
            event.start_mark.line + 1,
            bool(event.flow_style),
            event.anchor,
            by_key(pairs),
        )
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _sequence(self, event: Any, depth: int) -> Sequence:
        items = []
        while type(following := self._take()) is not SequenceEndEvent:
            items.append(self._node(following, depth + 1))
        node = Sequence(
            tuple(items),
            event.start_mark.index + self._offset,
            following.end_mark.index + self._offset,
            event.start_mark.line + 1,
            bool(event.flow_style),
            event.anchor,
        )
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node
