"""The editor for policy files: one key or one list item put in or taken out, no other line touched.

Lines are inserted and removed whole, a scalar is replaced by its characters, and the result is parsed
again: it must read as before but for the one value. What cannot be done so is refused, with the line
that a person would write.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from automator.core import habits as house
from automator.core import yamltext
from automator.core.habits import Habits, Text, Value
from automator.core.lines import (
    Splice,
    column,
    ends,
    flow_item_in,
    flow_item_out,
    item_in,
    item_out,
    line_end,
    line_start,
    lines_in,
    lines_out,
    past_comments,
)
from automator.core.yamltext import BOM, Alias, Node, Scalar
from automator.errors import ManifestError
from automator.reasons import reason

__all__ = ["Given", "add_item", "delete_key", "remove_item", "set_key"]

Given = Text | Sequence[str] | Mapping[str, Text]
"""What a key can be set to: a text, a boolean, a number, a list of texts or a flat mapping."""

MAX_NUMBER = 10**18

_NO_CONTENT = re.compile(r"[ \t]*(?:#.*)?|---[ \t]*(?:[ \t]#.*)?|%.*")


class _Asked(NamedTuple):
    """What is asked for, for the words of a refusal."""

    file: str
    path: tuple[str, ...]
    by_hand: str
    """What a person would do instead."""


class _Found(NamedTuple):
    """The place of a key in a file."""

    root: Node | None
    parent: yamltext.Mapping | None
    """None where the file has no document yet, and the key is one of the top level."""
    key: Node | None
    node: Node | None
    """The key's value; None where the key is absent."""


def set_key(text: str, path: Sequence[str], value: Given, name: str) -> str:
    """The text with the key at `path` set to `value`; the text itself where it says so already.

    A new key is inserted behind the last key of its mapping, in the file's indentation, quotes and line
    ends. Of a scalar, only its characters change; a mapping is set key by key; a list only grows.
    `path` is one name for each level (`("workloads", "web.api", "hold")`), `name` the file's name.

    Raises ManifestError (`edit/…`, `yaml/…`) where that cannot be done without touching other lines.
    """
    plain = _plain(value, _Asked(name, tuple(path), f"write `{_last(path)}` {_under(path)}"))
    asked = _Asked(name, tuple(path), _set_by_hand(path, plain))
    found = _find(text, asked)
    if found.node is None:
        return _insert(text, found, plain, asked)
    if _says(found.node, plain):
        return text
    _unshared(found.node, asked)
    if _is_empty(found.node):
        return _fill(text, found, plain, asked)
    if isinstance(plain, Mapping) and isinstance(found.node, yamltext.Mapping):
        return _set_each(text, found.node, plain, asked)
    if isinstance(plain, tuple):
        there = _texts(_list(found.node, asked))
        if plain[: len(there)] != there:
            raise _refusal("edit/other-value", asked, found.node)
        for item in plain[len(there) :]:
            text = add_item(text, path, item, name)
        return text
    if isinstance(found.node, Scalar) and isinstance(plain, str | int):
        return _replace(text, found, found.node, plain, asked)
    raise _refusal("edit/other-value", asked, found.node)


def delete_key(text: str, path: Sequence[str], name: str) -> str:
    """The text without the key at `path` and its value; the text itself where there is none.

    Comments on these lines go with them, those above and below stay.

    Raises ManifestError (`edit/…`, `yaml/…`) where that cannot be done without touching other lines.
    """
    asked = _Asked(name, tuple(path), f"remove `{_last(path)}` {_under(path)}")
    _plain("", asked)
    found = _find(text, asked)
    if found.node is None or found.key is None or found.parent is None:
        return text
    if found.parent.flow:
        raise _refusal("edit/flow", asked, found.key)
    if len(found.parent.pairs) == 1 and found.parent is not found.root:
        raise _refusal("edit/only-key", asked, found.key)
    if any(_anchor(node) for node in (*_below(found.key), *_below(found.node))):
        raise _refusal("edit/shared", asked, found.key)
    splices = lines_out(text, found.key.start, found.node)
    return _proven(text, splices, found, None, asked, asked.path)


def add_item(text: str, path: Sequence[str], item: str, name: str) -> str:
    """The text with `item` at the end of the list at `path`, which is made where there is none.

    Raises ManifestError (`edit/…`, `yaml/…`) where that cannot be done without touching other lines.
    """
    _plain(item, _Asked(name, tuple(path), f"add the item to `{_label(path)}`"))
    by_hand = f"add `{house.spell(item, Habits(), flow=True)}` to `{_label(path)}`"
    asked = _Asked(name, tuple(path), by_hand)
    found = _find(text, asked)
    if found.node is None or _is_empty(found.node):
        return set_key(text, path, (item,), name)
    node = _list(found.node, asked)
    if item in _texts(node):
        return text
    habits = house.read_habits(text, found.root)
    spelled = house.spell(item, habits, flow=node.flow, style=_common_style(node))
    indentless = found.parent is not None and column(text, found.parent.start) == column(text, node.start)
    splices = flow_item_in(text, node, spelled) if node.flow else item_in(text, node, spelled, indentless)
    return _proven(text, splices, found, item, asked, (*asked.path, len(node.items)))


def remove_item(text: str, path: Sequence[str], item: str, name: str) -> str:
    """The text without `item` in the list at `path`; the whole key goes with its last item.

    Raises ManifestError (`edit/…`, `yaml/…`) where that cannot be done without touching other lines.
    """
    asked = _Asked(name, tuple(path), f"remove `{item}` from `{_label(path)}`")
    _plain(item, asked)
    while True:
        found = _find(text, asked)
        if found.node is None or _is_empty(found.node):
            return text
        node = _list(found.node, asked)
        at = next(
            (n for n, one in enumerate(node.items) if isinstance(one, Scalar) and one.value == item), -1
        )
        if at < 0:
            return text
        if len(node.items) == 1:
            return delete_key(text, path, name)
        splices = flow_item_out(text, node, at) if node.flow else item_out(text, node.items[at])
        text = _proven(text, splices, found, None, asked, (*asked.path, at))


# -- what is asked ------------------------------------------------------------------------------------


def _label(path: Sequence[str]) -> str:
    return ".".join(path)


def _last(path: Sequence[str]) -> str:
    return path[-1] if path else ""


def _under(path: Sequence[str]) -> str:
    return f"under `{_label(path[:-1])}`" if len(path) > 1 else "at the top level"


def _set_by_hand(path: Sequence[str], value: Value) -> str:
    usual = Habits()
    return f"write `{house.spell_key(_last(path), usual)}: {house.in_one_line(value, usual)}` {_under(path)}"


def _plain(value: Given, asked: _Asked) -> Value:
    """A value as one of our types, or ManifestError if it, or the path, cannot stand in a policy file."""
    parts: tuple[object, ...] = (value,)
    plain: Value
    if isinstance(value, Mapping):
        plain, parts = dict(value), (*value.keys(), *value.values())
    elif isinstance(value, Sequence) and not isinstance(value, str):
        plain = tuple(value)
        parts = plain
    else:
        plain = value
    if not all(map(_can_stand, (*asked.path, *parts))):
        raise _refusal("edit/value", asked, None)
    return plain


def _can_stand(value: object) -> bool:
    if isinstance(value, str):
        return "{{" not in value and not any("\ud800" <= c <= "\udfff" for c in value)
    return isinstance(value, int) and abs(value) < MAX_NUMBER


def _refusal(code: str, asked: _Asked, node: Node | None) -> ManifestError:
    place = f"{asked.file}:{node.line}" if node is not None else asked.file
    return ManifestError(reason(code, place=place, key=_label(asked.path), by_hand=asked.by_hand))


# -- where --------------------------------------------------------------------------------------------


def _find(text: str, asked: _Asked) -> _Found:
    """The key's place, every mapping on the way to it being one that is nobody else's."""
    if "{{" in text:
        raise _refusal("edit/templated", asked, None)
    documents = yamltext.parse(text)
    if len(documents) > 1:
        raise _refusal("edit/documents", asked, documents[1].root)
    root = documents[0].root if documents else None
    if root is None and len(asked.path) == 1:
        return _Found(None, None, None, None)
    key: Node | None = None
    parent: Node | None = None
    node: Node | None = root
    for name in asked.path:
        if node is None:
            raise _refusal("edit/no-parent", asked, parent)
        parent = node
        key, node = _pair(node, name, asked)
    if not isinstance(parent, yamltext.Mapping):
        raise _refusal("edit/no-parent", asked, root)
    return _Found(root, parent, key, node)


def _pair(node: Node, name: str, asked: _Asked) -> tuple[Node | None, Node | None]:
    """The pair `name` of a mapping on the way, or two None."""
    _unshared(node, asked)
    if not isinstance(node, yamltext.Mapping):
        raise _refusal("edit/other-value", asked, node)
    found: list[tuple[Node, Node]] = []
    for key, value in node.pairs:
        if not isinstance(key, Scalar):
            raise _refusal("edit/layout", asked, key)
        if key.value == "<<" and key.style == "plain":
            raise _refusal("edit/shared", asked, key)
        if key.value == name:
            found.append((key, value))
    if len(found) > 1:
        raise _refusal("edit/repeated", asked, found[1][0])
    return found[0] if found else (None, None)


def _unshared(node: Node, asked: _Asked) -> None:
    """Raises ManifestError for a node that another place may share."""
    if isinstance(node, Alias) or node.anchor is not None:
        raise _refusal("edit/shared", asked, node)


def _is_empty(node: Node) -> bool:
    return isinstance(node, Scalar) and node.start == node.end and node.tag is None


def _list(node: Node, asked: _Asked) -> yamltext.Sequence:
    """A list of scalars that nobody shares, or ManifestError."""
    _unshared(node, asked)
    if not isinstance(node, yamltext.Sequence) or not all(isinstance(item, Scalar) for item in node.items):
        raise _refusal("edit/other-value", asked, node)
    if any(_anchor(item) for item in node.items):
        raise _refusal("edit/shared", asked, node)
    return node


def _texts(node: yamltext.Sequence) -> tuple[str | None, ...]:
    """The texts of a list, with None for a number and its kin."""
    return tuple(
        item.value if isinstance(item, Scalar) and house.is_text(item) else None for item in node.items
    )


def _anchor(node: Node) -> str | None:
    return None if isinstance(node, Alias) else node.anchor


def _below(node: Node) -> Iterator[Node]:
    """A node and all that it holds."""
    yield node
    if isinstance(node, yamltext.Mapping):
        for key, value in node.pairs:
            yield from _below(key)
            yield from _below(value)
    elif isinstance(node, yamltext.Sequence):
        for item in node.items:
            yield from _below(item)


# -- a new pair ---------------------------------------------------------------------------------------


def _insert(text: str, found: _Found, value: Value, asked: _Asked) -> str:
    """A new pair behind the last of its mapping."""
    habits = house.read_habits(text, found.root)
    parent = found.parent
    if parent is None:
        # An anchor or a tag that stands alone would become the new mapping's.
        if not all(_NO_CONTENT.fullmatch(line) for line in text.removeprefix(BOM).splitlines()):
            raise _refusal("edit/layout", asked, None)
        lines = house.pair_lines(asked.path[-1], value, habits, 0)
        return _proven(text, [lines_in(text, len(text), lines)], found, value, asked, asked.path)
    if parent.flow:
        raise _refusal("edit/flow", asked, parent)
    first, last = parent.pairs[0][0], parent.pairs[-1][1]
    margin = text[line_start(text, parent.start) : parent.start]
    if margin.strip(" ") or first.start != parent.start:
        raise _refusal("edit/layout", asked, parent)
    at = column(text, parent.start)
    lines = house.pair_lines(asked.path[-1], value, habits, at)
    splices = [
        lines_in(text, past_comments(text, line_end(text, end), at), lines) for end in ends(text, last)
    ]
    return _proven(text, splices, found, value, asked, asked.path)


def _common_style(node: yamltext.Sequence) -> str:
    """The quotes that every item of a list has, or none."""
    styles = {item.style for item in node.items if isinstance(item, Scalar)}
    only = styles.pop() if len(styles) == 1 else ""
    return only if only in ("single", "double") else ""


# -- values that are there already --------------------------------------------------------------------


def _set_each(text: str, node: yamltext.Mapping, value: Mapping[str, Text], asked: _Asked) -> str:
    """A mapping set key by key."""
    if not value:
        raise _refusal("edit/other-value", asked, node)
    for key, inner in value.items():
        text = set_key(text, (*asked.path, key), inner, asked.file)
    for key_node, _ in node.pairs:
        if isinstance(key_node, Scalar) and key_node.value not in value:
            text = delete_key(text, (*asked.path, key_node.value), asked.file)
    return text


def _fill(text: str, found: _Found, value: Value, asked: _Asked) -> str:
    """A value for a key that has none (`hold:`), on the line of the key."""
    habits = house.read_habits(text, found.root)
    flow = found.parent is not None and found.parent.flow
    spelled = house.spell(value, habits, flow=flow) if isinstance(value, str | int) else ""
    at = found.node.start if found.node is not None else 0
    splice = Splice(at, at, " " + (spelled or house.in_one_line(value, habits)))
    return _proven(text, [splice] if text[at - 1 : at] == ":" else [], found, value, asked, asked.path)


def _replace(text: str, found: _Found, node: Scalar, value: Text, asked: _Asked) -> str:
    """New characters for a scalar, in its own quotes."""
    if node.tag is not None or node.style in ("literal", "folded"):
        raise _refusal("edit/layout", asked, node)
    habits = house.read_habits(text, found.root)
    style = node.style if node.style != "plain" else ""
    if style == "":
        habits = habits._replace(quotes_values=False)
    flow = found.parent is not None and found.parent.flow
    spelled = house.spell(value, habits, flow=flow, style=style)
    return _proven(text, [Splice(node.start, node.end, spelled)], found, value, asked, asked.path)


# -- proof --------------------------------------------------------------------------------------------


def _proven(
    text: str,
    splices: list[Splice],
    found: _Found,
    value: Value | None,
    asked: _Asked,
    path: tuple[str | int, ...],
) -> str:
    """The text after the first splice by which it says `value` at `path` (nothing, for None), and all
    else as before.

    Raises ManifestError (`edit/layout`) where there is no such splice.
    """
    for splice in splices:
        after = text[: splice.start] + splice.characters + text[splice.end :]
        try:
            documents = yamltext.parse(after)
        except ManifestError:
            continue
        if len(documents) > 1:
            continue
        root = documents[0].root if documents else None
        before = found.root
        if value is None:
            proven = _reading(root) == _reading(before, path)
        else:
            node = _at(root, path)
            there = node is not None and _says(node, value)
            proven = there and _reading(root, path) == _reading(before, path)
        if proven:
            return after
    raise _refusal("edit/layout", asked, found.node or found.parent)


def _says(node: Node, value: Value) -> bool:
    """Whether a node reads as a value, for every reader."""
    match node:
        case Scalar() if isinstance(value, str):
            return node.value == value and house.is_text(node)
        case Scalar() if isinstance(value, int):
            plain = node.style == "plain" and node.tag is None
            return plain and node.value == house.spell(value, Habits())
        case yamltext.Sequence() if isinstance(value, tuple):
            return len(node.items) == len(value) and all(map(_says, node.items, value))
        case yamltext.Mapping() if isinstance(value, Mapping):
            keys = [key.value for key, _ in node.pairs if isinstance(key, Scalar)]
            return sorted(keys) == sorted(value) and all(
                isinstance(key, Scalar) and _says(inner, value[key.value]) for key, inner in node.pairs
            )
    return False


def _at(root: Node | None, path: tuple[str | int, ...]) -> Node | None:
    node = root
    for step in path:
        if isinstance(node, yamltext.Mapping) and isinstance(step, str):
            node = node.get(step)
        elif isinstance(node, yamltext.Sequence) and isinstance(step, int) and step < len(node.items):
            node = node.items[step]
        else:
            return None
    return node


def _reading(node: Node | None, hole: tuple[str | int, ...] | None = None) -> object:
    """What a node says, in which spelling but not where; without what stands at `hole`."""
    here = hole[0] if hole else None
    below = hole[1:] if hole else ()
    match node:
        case Scalar():
            return (node.value, node.style, node.anchor, node.tag)
        case Alias():
            return ("*", node.name)
        case yamltext.Mapping():
            pairs = []
            for key, value in node.pairs:
                hit = hole and isinstance(key, Scalar) and key.value == here
                if hit and not below:
                    continue
                pairs.append((_reading(key), _reading(value, below if hit else None)))
            return ("{", node.flow, node.anchor, tuple(pairs)) if pairs else None
        case yamltext.Sequence():
            items = []
            for number, item in enumerate(node.items):
                if hole and number == here and not below:
                    continue
                items.append(_reading(item, below if hole and number == here else None))
            return ("[", node.flow, node.anchor, tuple(items))
    return None
