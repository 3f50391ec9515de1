"""Lines of a YAML file: where a node's lines begin and end, and how whole lines go in and out.

Each way of doing it is a `Splice`; where the text alone does not say which one is right, there are
several, the likeliest first, and the caller proves one by parsing.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from automator.core import yamltext
from automator.core.yamltext import BOM, Alias, Node, Scalar

_BREAK = re.compile(r"\r\n?|\n")
_COMMENT = re.compile(r"([ \t]*)#")
_DASH = re.compile(r" *- +")
_COMMA = re.compile(r" *, *")
_KEEPS = re.compile(r"[|>][0-9]?\+")


class Splice(NamedTuple):
    """Characters to replace, and what replaces them."""

    start: int
    end: int
    characters: str


def column(text: str, position: int) -> int:
    """The 0-based column of a position, a byte-order mark not counted."""
    start = line_start(text, position)
    return position - start


def line_start(text: str, position: int) -> int:
    """Where the line of a position begins, behind a byte-order mark."""
    start = max(text.rfind("\n", 0, position), text.rfind("\r", 0, position)) + 1
    return 1 if start == 0 and text.startswith(BOM) and position > 0 else start


def line_end(text: str, position: int) -> int:
    """Where the line of a position ends, its line break included."""
    found = _BREAK.search(text, position)
    return len(text) if found is None else found.end()


def ends(text: str, node: Node) -> list[int]:
    """Where a node may be said to end, the likeliest first: block scalars own blank lines, or not."""
    while not isinstance(node, Alias | Scalar) and not node.flow:
        node = node.items[-1] if isinstance(node, yamltext.Sequence) else node.pairs[-1][1]
    if isinstance(node, Scalar) and node.style in ("literal", "folded"):
        spelled = text[node.start : node.end]
        stripped = node.start + len(spelled.rstrip())
        whole = node.start + len(spelled.rstrip(" "))
        whole -= 2 if spelled.endswith("\r\n") else 1 if spelled.endswith(("\n", "\r")) else 0
        return [whole, stripped] if _KEEPS.match(spelled) else [stripped, whole]
    return [node.end]


def past_comments(text: str, position: int, at: int) -> int:
    """Past the comment lines that follow at once and stand at least in column `at`: they belong to
    what is above them."""
    while position < len(text) and (found := _COMMENT.match(text, position)):
        if len(found[1]) < at and "\t" not in found[1]:
            break
        position = line_end(text, position)
    return position


# -- whole lines --------------------------------------------------------------------------------------


def lines_in(text: str, position: int, lines: list[str]) -> Splice:
    """Whole lines, put in where a line begins or where the text ends without a line break."""
    before = text[:position]
    found = _BREAK.search(text)
    end = found[0] if found else "\n"
    if before.removeprefix(BOM) and not before.endswith(("\n", "\r")):
        return Splice(position, position, "".join(end + line for line in lines))
    if before.endswith(("\n", "\r")):
        end = "\r\n" if before.endswith("\r\n") else before[-1]
    return Splice(position, position, "".join(line + end for line in lines))


def lines_out(text: str, start: int, node: Node) -> list[Splice]:
    """The lines out from the one on which `start` is the first character, to the end of `node`."""
    first = line_start(text, start)
    if text[first:start].strip(" "):
        return []
    splices = []
    for end in ends(text, node):
        stop = line_end(text, max(end, start))
        begin = first
        if stop == len(text) and not text.endswith(("\n", "\r")):
            # No final line break: the one before goes, so that there is none again.
            begin -= 2 if text[:first].endswith("\r\n") else 1 if text[:first].endswith(("\n", "\r")) else 0
        splices.append(Splice(begin, stop, ""))
    return splices


# -- items --------------------------------------------------------------------------------------------


def item_in(text: str, node: yamltext.Sequence, spelled: str, indentless: bool) -> list[Splice]:
    """A new line below the last item of a block list, which is `indentless` if its dashes stand in the
    column of its key: a comment there belongs to the next key."""
    last = node.items[-1]
    margin = text[line_start(text, last.start) : last.start]
    if _DASH.fullmatch(margin) is None:
        return []
    at = column(text, node.start) + indentless
    return [
        lines_in(text, past_comments(text, line_end(text, end), at), [margin + spelled])
        for end in ends(text, last)
    ]


def item_out(text: str, item: Node) -> list[Splice]:
    """The lines of an item of a block list out."""
    first = line_start(text, item.start)
    margin = _DASH.fullmatch(text, first, item.start)
    return lines_out(text, text.index("-", first), item) if margin else []


def flow_item_in(text: str, node: yamltext.Sequence, spelled: str) -> list[Splice]:
    """A new item at the end of a list `[a, b]` on one line, with the commas of that list."""
    if _BREAK.search(text, node.start, node.end):
        return []
    if not node.items:
        return [Splice(node.start + 1, node.start + 1, spelled)]
    comma = text[node.items[-2].end : node.items[-1].start] if len(node.items) > 1 else ", "
    end = node.items[-1].end
    return [Splice(end, end, (comma if _COMMA.fullmatch(comma) else ", ") + spelled)]


def flow_item_out(text: str, node: yamltext.Sequence, at: int) -> list[Splice]:
    """The item `at` of a list `[a, b]` on one line out, with one comma; the list has others."""
    if _BREAK.search(text, node.start, node.end):
        return []
    if at:
        return [Splice(node.items[at - 1].end, node.items[at].end, "")]
    return [Splice(node.items[0].start, node.items[1].start, "")]
