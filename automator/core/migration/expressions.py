"""Regular expressions of other tools, which are searched for in a tag, as expressions that cover it.

Go's expressions and ours are both RE2's, so that only three things change: the search becomes a match of the
whole tag, the part that is compared becomes the group `key`, and a list of what is left out becomes globs.
Each is done only where the result provably says the same; else there is none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from automator.core.pattern import MAX_PATTERN, Expression
from automator.errors import PolicyError

MAX_GLOBS = 16
"""Globs that one expression of an exclusion may become."""


class Token(NamedTuple):
    """A piece of an expression, as written."""

    kind: str
    """`atom`, `escape`, `class`, `any`, `open`, `close`, `or`, `repeat`, `begin`, `end`, `flags`, `quote`."""
    text: str
    start: int
    end: int
    group: int = 0
    """For `open`: number of the group if it captures."""
    name: str = ""
    """For `open`: name of the group if it has one."""


class Keyed(NamedTuple):
    """An expression of ours for a filter with an extraction."""

    regex: str
    digits: bool
    """Whether every key is digits alone."""
    dotted: bool
    """Whether every key is digits and dots."""
    as_text: bool = False
    """Whether the key must be compared as text: its parts have fixed widths, with other text between."""


_TOKEN = re.compile(
    r"""
      (?P<quote> \\Q.*?(?:\\E|\Z) )
    | (?P<begin> \^ | \\A )
    | (?P<end> \$ | \\z )
    | (?P<class> \[\^?\]?(?:\[:\^?\w+:\] | \\. | [^\]\\])*\] | \\[dDwWsS] | \\[pP](?:\{[^}]*\}|.) )
    | (?P<escape> \\x\{[0-9A-Fa-f]+\} | \\x[0-9A-Fa-f]{2} | \\. )
    | (?P<flags> \(\?[imsU-]+\) )
    | (?P<open> \((?:\?P?<(?P<name>\w+)> | \?[imsU-]*: | (?!\?)) )
    | (?P<close> \) )
    | (?P<or> \| )
    | (?P<repeat> (?: [*+?] | \{[0-9]+(?:,[0-9]*)?\} )\?? )
    | (?P<any> \. )
    | (?P<atom> [^()\[\\] )
    """,
    re.VERBOSE | re.DOTALL,
)
_DIGIT_CLASS = re.compile(r"\\d|\[(?:0-9|[0-9]-[0-9]|[0-9]|\\d)+\]", re.ASCII)
_DOT_CLASS = re.compile(r"\[(?:0-9|[0-9]-[0-9]|[0-9]|\\d|\\?\.)+\]", re.ASCII)
_REFERENCE = re.compile(r"\$(?:\$|\{(?P<braced>\w+)\}|(?P<bare>\w+))", re.ASCII)
_WIDTH = re.compile(r"\{([0-9]+)\}")


def compiles(pattern: str) -> bool:
    """Whether Go reads an expression: as RE2 does, but for two groups of one name, and `\\C`."""
    try:
        Expression.parse(pattern)
    except PolicyError:
        return len(pattern) > MAX_PATTERN
    parts = tokens(pattern) or ()
    names = [part.name for part in parts if part.name]
    return len(names) == len(set(names)) and not any(part.text == r"\C" for part in parts)


def tokens(pattern: str) -> tuple[Token, ...] | None:
    """The pieces of an expression that RE2 reads; None where it is not understood here, or too long."""
    if len(pattern) > MAX_PATTERN:
        return None
    found: list[Token] = []
    at, groups, depth = 0, 0, 0
    while at < len(pattern):
        match = _TOKEN.match(pattern, at)
        if match is None:
            return None
        kind = match.lastgroup or ""
        captures = kind == "open" and (match["name"] is not None or match[0] == "(")
        groups += captures
        depth += {"open": 1, "close": -1}.get(kind, 0)
        if depth < 0:
            return None
        number = groups if captures else 0
        found.append(Token(kind, match[0], at, match.end(), number, match["name"] or ""))
        at = match.end()
    return tuple(found) if depth == 0 else None


# -- a search as a match -------------------------------------------------------------------------------


def covering(pattern: str) -> str | None:
    """The expression that matches a whole tag exactly where `pattern` is found in it; groups hold the same.

    None where RE2 does not read it, or it becomes longer than a policy may have it.
    """
    if not compiles(pattern):
        return None
    parts = tokens(pattern)
    if parts is None:
        return None if "<key>" in pattern else _usable(f".*?(?:{pattern}).*")
    return _covering("".join(_opened(part) for part in parts))


def _covering(pattern: str) -> str | None:
    """`covering` of an expression that may have a `key` of ours."""
    parts = tokens(pattern)
    return None if parts is None else _usable(_cover(pattern, parts))


def _usable(made: str) -> str | None:
    return made if len(made) <= MAX_PATTERN and compiles(made) else None


def _cover(pattern: str, parts: Sequence[Token]) -> str:
    if any(part.kind in ("flags", "quote") for part in parts):
        return f".*?(?:{pattern}).*"
    branches = _branches(parts)
    if len(branches) > 1:
        whole = all(len(b) > 1 and b[0].kind == "begin" and b[-1].kind == "end" for b in branches)
        inner = "|".join("".join(part.text for part in b[1:-1]) for b in branches)
        return f"(?:{inner})" if whole else f".*?(?:{pattern}).*"
    left, right = ".*?", ".*"
    if parts and parts[0].kind == "begin":
        left, parts = "", parts[1:]
    elif _is_anything(parts[:2]):
        left = ""
    if parts and parts[-1].kind == "end":
        right, parts = "", parts[:-1]
    elif _is_anything(parts[-2:]):
        right = ""
    if parts and parts[0].kind == "repeat":
        return f".*?(?:{pattern}).*"
    return left + "".join(part.text for part in parts) + right


def _is_anything(parts: Sequence[Token]) -> bool:
    return [part.text for part in parts] == [".", "*"]


def _branches(parts: Sequence[Token]) -> list[list[Token]]:
    """The alternatives of the outermost level."""
    branches: list[list[Token]] = [[]]
    depth = 0
    for part in parts:
        depth += {"open": 1, "close": -1}.get(part.kind, 0)
        if part.kind == "or" and depth == 0:
            branches.append([])
        else:
            branches[-1].append(part)
    return branches


# -- an extraction as a key ----------------------------------------------------------------------------


def keyed(pattern: str, extract: str, *, textual: bool = False) -> Keyed | None:
    """The expression whose `key` is what Go expands `extract` to for a tag in which `pattern` is found.

    Where the parts of the extraction are digits of fixed width, the key may be the text from the first to
    the last of them, which orders the same (`as_text`). With `textual`, a constant before the extracted
    part may go, since it orders nothing; one after it does (`1.0-rel` and `1.0-a-rel`).

    None where no part of the tag is what is extracted.
    """
    parts = tokens(pattern) if compiles(pattern) else None
    pieces = _pieces(extract)
    if parts is None or any(part.kind == "quote" for part in parts):
        return None
    groups = {str(part.group): part for part in parts if part.group} | {
        part.name: part for part in parts if part.name
    }
    wanted = [(kind, text) for kind, text in pieces if kind == "text" or text in groups or text == "0"]
    if wanted == [("group", "0")]:
        found = _covering(f"(?P<key>{''.join(_opened(part) for part in parts)})")
        return None if found is None else _judged(found, parts)
    if not any(kind == "group" for kind, _ in wanted) or ("group", "0") in wanted:
        return None
    if textual:
        while wanted[0][0] == "text":
            wanted.pop(0)
    span = _span(parts, groups, wanted)
    if span is not None:
        return _with_key(parts, *span)
    fixed = _fixed_span(parts, groups, wanted)
    return None if fixed is None else _with_key(parts, *fixed, as_text=True)


def _pieces(extract: str) -> list[tuple[str, str]]:
    """What Go's Expand makes of a template: texts and references to groups."""
    pieces: list[tuple[str, str]] = []
    at = 0
    for match in _REFERENCE.finditer(extract):
        if match.start() > at:
            pieces.append(("text", extract[at : match.start()]))
        name = match["braced"] or match["bare"]
        if name is None:
            pieces.append(("text", "$"))
        else:
            pieces.append(("group", str(int(name)) if name.isdecimal() and len(name) < 9 else name))
        at = match.end()
    if at < len(extract):
        pieces.append(("text", extract[at:]))
    return pieces


def _with_key(parts: Sequence[Token], first: int, last: int, *, as_text: bool = False) -> Keyed | None:
    """The expression with the tokens from `first` to `last` as the key."""
    body = parts[first : last + 1]
    one = body[0].group > 0 and _closing(parts, first) == last
    made = ""
    for i, part in enumerate(parts):
        if i == first:
            made += "(?P<key>" if one else "(?P<key>" + _opened(part)
        else:
            made += _opened(part)
        made += ")" if i == last and not one else ""
    found = _covering(made)
    return None if found is None else _judged(found, body, as_text=as_text)


def _judged(regex: str, body: Sequence[Token], *, as_text: bool = False) -> Keyed:
    digits = all(_is_digits(part) for part in body)
    dotted = all(_is_digits(part) or part.text == r"\." or _DOT_CLASS.fullmatch(part.text) for part in body)
    return Keyed(regex, digits, dotted, as_text)


def _is_digits(part: Token) -> bool:
    if part.kind in ("open", "close", "or", "repeat", "begin", "end"):
        return True
    return part.text.isdecimal() or _DIGIT_CLASS.fullmatch(part.text) is not None


def _opened(part: Token) -> str:
    """A token as it is written again: in the spelling that every RE2 reads, and a group that was called
    `key` by chance without its name."""
    if part.kind != "open" or not part.name:
        return part.text
    return "(" if part.name == "key" else f"(?P<{part.name}>"


def _closing(parts: Sequence[Token], opening: int) -> int:
    depth = 0
    for i in range(opening, len(parts)):
        depth += {"open": 1, "close": -1}.get(parts[i].kind, 0)
        if depth == 0:
            return i
    return len(parts) - 1


def _span(
    parts: Sequence[Token], groups: dict[str, Token], wanted: Sequence[tuple[str, str]]
) -> tuple[int, int] | None:
    """First and last token of the piece of the expression that matches just what is extracted."""
    names = [text for kind, text in wanted if kind == "group"]
    if len(names) != len(set(names)):
        return None
    first_group = next(i for i, (kind, _) in enumerate(wanted) if kind == "group")
    opening = parts.index(groups[wanted[first_group][1]])
    before = "".join(text for _, text in wanted[:first_group])
    start = opening
    for character in reversed(before):
        start -= 1
        if start < 0 or _literal(parts, start) != character:
            return None
    at = opening
    for kind, text in wanted[first_group:]:
        if kind == "group":
            if at >= len(parts) or parts[at] is not groups[text]:
                return None
            at = _closing(parts, at) + 1
            if len(wanted) > 1 and at < len(parts) and parts[at].kind == "repeat":
                return None
            continue
        for character in text:
            if at >= len(parts) or _literal(parts, at) != character:
                return None
            at += 1
    return start, at - 1


def _literal(parts: Sequence[Token], at: int) -> str | None:
    """The one character that a token stands for; None if it is something else, or repeated."""
    part = parts[at]
    if part.kind not in ("atom", "escape") or (at + 1 < len(parts) and parts[at + 1].kind == "repeat"):
        return None
    if len(part.text) == 1:
        return part.text
    return part.text[1] if len(part.text) == 2 and not part.text[1].isalnum() else None


def _fixed_span(
    parts: Sequence[Token], groups: dict[str, Token], wanted: Sequence[tuple[str, str]]
) -> tuple[int, int] | None:
    """First and last token of a piece made of digits of fixed width, in the order of the extraction, and of
    constant text: compared as text, it orders as what is extracted."""
    names = [text for kind, text in wanted if kind == "group"]
    openings = [parts.index(groups[name]) for name in names]
    if openings != sorted(set(openings)) or any(kind == "text" and t.isdigit() for kind, t in wanted):
        return None
    at = openings[0]
    for opening in openings:
        while at < opening:
            if _literal(parts, at) is None:
                return None
            at += 1
        closing = _closing(parts, opening)
        body = [part for part in parts[opening + 1 : closing] if part.kind not in ("open", "close")]
        if not _has_fixed_width(body) or (closing + 1 < len(parts) and parts[closing + 1].kind == "repeat"):
            return None
        if any(
            part.kind == "close" and parts[i + 1].kind == "repeat"
            for i, part in enumerate(parts[opening + 1 : closing], opening + 1)
        ):
            return None
        at = closing + 1
    return openings[0], at - 1


def _has_fixed_width(body: Sequence[Token]) -> bool:
    return bool(body) and all(
        _WIDTH.fullmatch(part.text) if part.kind == "repeat" else part.kind != "or" and _is_digits(part)
        for part in body
    )


# -- an exclusion as globs -----------------------------------------------------------------------------


def globs(pattern: str) -> tuple[str, ...] | None:
    """The globs that together match the tags in which `pattern` is found; `.+` counts as `.*`.

    None where globs cannot say it.
    """
    parts = tokens(pattern) if compiles(pattern) else None
    if parts is None:
        return None
    found: list[str] = []
    for branch in _branches(parts):
        inner = list(branch)
        begin = bool(inner) and inner[0].kind == "begin"
        end = bool(inner) and inner[-1].kind == "end"
        inner = inner[1:] if begin else inner
        made = _texts(inner[:-1] if end else inner)
        if made is None:
            return None
        found += [f"{'' if begin else '*'}{text}{'' if end else '*'}" for text in made]
    tidy = tuple(dict.fromkeys(re.sub(r"\*+", "*", text) for text in found))
    fits = all(re.fullmatch(r"[A-Za-z0-9._*-]+", text) and text.count("*") <= 8 for text in tidy)
    return tidy if fits and len(tidy) <= MAX_GLOBS else None


def _texts(parts: Sequence[Token]) -> list[str] | None:
    """The globs of a row of tokens: literals, `.*`, and groups of alternatives."""
    made = [""]
    at = 0
    while at < len(parts):
        part = parts[at]
        if part.kind == "any" and at + 1 < len(parts) and parts[at + 1].text in ("*", "+", "*?", "+?"):
            made = [f"{text}*" for text in made]
            at += 2
        elif part.kind == "open" and (part.group or part.text == "(?:"):
            closing = _closing(parts, at)
            choices: list[str] = []
            for branch in _branches(parts[at + 1 : closing]):
                inner = _texts(branch)
                if inner is None:
                    return None
                choices += inner
            following = parts[closing + 1].text if closing + 1 < len(parts) else ""
            if following == "?":
                choices, closing = [*choices, ""], closing + 1
            elif closing + 1 < len(parts) and parts[closing + 1].kind == "repeat":
                return None
            made = [text + choice for text in made for choice in choices]
            at = closing + 1
        elif (literal := _literal(parts, at)) is not None:
            made = [text + literal for text in made]
            at += 1
        else:
            return None
        if len(made) > MAX_GLOBS:
            return None
    return made
