"""`.env` files of Compose as text with places: each variable's value and the exact characters that spell it.

Grammar: docs.docker.com/compose/how-tos/environment-variables/variable-interpolation, "`.env` file syntax".
A value is one mapping's scalar of style `text` (quotes excluded), so that paths, comments and proofs work as
they do in YAML. What is interpolated or escaped, or stands behind a mistake, is a scalar that reads as none.
"""

from __future__ import annotations

import re

from automator.core.yamltext import BOM, MAX_PURE_CHARACTERS, Document, Mapping, Node, Scalar
from automator.errors import ManifestError
from automator.reasons import reason

_ASSIGNMENT = re.compile(
    r"[ \t]*(?:export[ \t]+)?(?P<key>[A-Za-z_][A-Za-z0-9_.-]*)[ \t]*(?:=[ \t]*|:[ \t]+)", re.ASCII
)
_COMMENT = re.compile(r"[ \t]#")
_QUOTED = {
    "'": re.compile(r"'(?P<value>(?:\\.|[^'\\])*)'", re.DOTALL),
    '"': re.compile(r'"(?P<value>(?:\\.|[^"\\])*)"', re.DOTALL),
}
_REST = re.compile(r"[ \t]*(?:#[^\r\n]*)?(?=[\r\n]|\Z)")
_LINE_END = re.compile(r"[^\r\n]*(?:\r\n?|\n)?")
_BREAK = re.compile(r"\r\n?|\n")


def is_dotenv(name: str) -> bool:
    """Whether a file of this base name holds variables rather than YAML: `.env`, `production.env`."""
    return name.endswith(".env")


def read_dotenv(text: str) -> tuple[Document, ...]:
    """The variables of a file as one mapping, in the order of the text; keys may repeat.

    A quote that is never closed ends the reading: Compose refuses such a file as a whole, and what looks
    like a variable behind it may be text.

    Raises ManifestError (`yaml/too-large`).
    """
    if len(text) > MAX_PURE_CHARACTERS:
        raise ManifestError(reason("yaml/too-large", size=len(text), limit=MAX_PURE_CHARACTERS))
    pairs: list[tuple[Node, Node]] = []
    at, line = (1 if text.startswith(BOM) else 0), 1
    while at < len(text):
        following = at
        match = _ASSIGNMENT.match(text, at)
        if match is not None:
            value = _value(text, match.end(), line)
            if value is None:
                break
            pairs.append((Scalar(match["key"], *match.span("key"), line, "text", None, None), value))
            following = value.end
        following = _skip(text, following)
        line += len(_BREAK.findall(text, at, following))
        at = following
    return (Document(0, Mapping(tuple(pairs), 0, len(text), 1, False, None) if pairs else None, 1),)


def _value(text: str, at: int, line: int) -> Scalar | None:
    """The value that begins here; None where its quote is never closed."""
    quote = text[at : at + 1]
    if quote not in _QUOTED:
        stop = _BREAK.search(text, at)
        end = stop.start() if stop is not None else len(text)
        comment = _COMMENT.search(text, at - 1, end)
        value = text[at : max(at, comment.start()) if comment is not None else end].rstrip(" \t")
        return _scalar(text, at, at + len(value), line, literal="$" not in value)
    match = _QUOTED[quote].match(text, at)
    if match is None:
        return None
    start, end = match.span("value")
    value = text[start:end]
    literal = "\\" not in value and (quote == "'" or "$" not in value) and _BREAK.search(value) is None
    return _scalar(text, start, end, line, literal=literal and _REST.match(text, match.end()) is not None)


def _scalar(text: str, start: int, end: int, line: int, *, literal: bool) -> Scalar:
    return Scalar(text[start:end] if literal else "", start, end, line, "text", None, None)


def _skip(text: str, at: int) -> int:
    """Where the next line begins."""
    match = _LINE_END.match(text, at)
    return match.end() if match is not None else len(text)
