"""Habits: how a person writes in this file (quotes, indentation, lists), and new lines spelled that way.

Read from the nodes of the whole file: a majority decides, and the plainest form where nothing does.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple, TypeVar

from automator.core import yamltext
from automator.core.lines import column
from automator.core.yamltext import Node, Scalar, quote_plain

T = TypeVar("T")
Text = str | bool | int
Value = Text | tuple[str, ...] | Mapping[str, Text]

_STRING_TAGS = frozenset({"!", "!!str", "tag:yaml.org,2002:str"})
# A character that stands in no number, boolean, null or merge key; dates begin otherwise.
_WORDY = re.compile(r"(?![0-9]{4}-).*[^\w.+:~=<\- \t]", re.ASCII)
_FLOW_SYNTAX = re.compile(r"\A[-?:]|:")
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r", "\0": "\\0"}


class Habits(NamedTuple):
    """What one file does, or what is usual where it does nothing of the kind."""

    quote: str = '"'
    """The quotes it prefers, `"` or `'`."""
    quotes_values: bool = False
    """Whether it quotes texts that need no quotes."""
    quotes_keys: bool = False
    step: int = 2
    """Columns by which a block mapping stands further in than its key."""
    list_step: int = 2
    """Columns by which a block list stands further in than its key; 0 for `key:` above `- item`."""
    gap: str = " "
    """What stands between the dash and the item."""
    flow_mappings: bool = False
    """Whether small mappings are written `{a: b}`."""
    flow_lists: bool = True
    """Whether lists of texts are written `[a, b]`."""
    flow_by_key: Mapping[str, bool] = MappingProxyType({})
    """The same for keys that the file has already."""


def read_habits(text: str, root: Node | None) -> Habits:
    """The habits of the file `text`, whose only document is `root`."""
    keys: Counter[bool] = Counter()
    values: Counter[bool] = Counter()
    quotes: Counter[str] = Counter()
    steps: Counter[int] = Counter()
    list_steps: Counter[int] = Counter()
    gaps: Counter[str] = Counter()
    flows: dict[type, Counter[bool]] = {yamltext.Mapping: Counter(), yamltext.Sequence: Counter()}
    by_key: dict[str, bool] = {}
    for key, parent, node in _walk(root):
        if isinstance(node, Scalar):
            if node.style in ("single", "double"):
                quotes["'" if node.style == "single" else '"'] += 1
            if node.value and node.style in ("plain", "single", "double") and not quote_plain(node.value):
                (values if key is not node else keys)[node.style != "plain"] += 1
            continue
        if not isinstance(node, yamltext.Mapping | yamltext.Sequence):
            continue
        if isinstance(key, Scalar) and is_small(node):
            flows[type(node)][node.flow] += 1
            by_key[key.value] = node.flow
        if node.flow:
            continue
        if isinstance(parent, yamltext.Mapping):
            inward = column(text, node.start) - column(text, parent.start)
            (list_steps if isinstance(node, yamltext.Sequence) else steps)[inward] += 1
        if isinstance(node, yamltext.Sequence) and node.items:
            gaps[_gap(text, node)] += 1
    step = max(_most(steps, 2), 1)
    return Habits(
        quote=_most(quotes, '"'),
        quotes_values=values[True] > values[False],
        quotes_keys=keys[True] > keys[False],
        step=step,
        list_step=max(_most(list_steps, step), 0),
        gap=_most(gaps, " "),
        flow_mappings=flows[yamltext.Mapping][True] > flows[yamltext.Mapping][False],
        flow_lists=flows[yamltext.Sequence][True] >= flows[yamltext.Sequence][False],
        flow_by_key=by_key,
    )


def _most(counted: Counter[T], usual: T) -> T:
    return max(counted, key=lambda one: (counted[one], one == usual)) if counted else usual


def _walk(root: Node | None) -> Iterable[tuple[Node | None, Node | None, Node]]:
    """Every node with its key (a key with itself) and what holds it."""
    waiting: list[tuple[Node | None, Node | None, Node]] = [] if root is None else [(None, None, root)]
    while waiting:
        key, parent, node = waiting.pop()
        yield key, parent, node
        if isinstance(node, yamltext.Mapping):
            for name, value in node.pairs:
                waiting += [(name, node, name), (name, node, value)]
        elif isinstance(node, yamltext.Sequence):
            waiting += [(None, node, item) for item in node.items]


def is_small(node: yamltext.Mapping | yamltext.Sequence) -> bool:
    """Whether a mapping or list holds scalars alone, as those that are written here do."""
    values = node.items if isinstance(node, yamltext.Sequence) else [value for _, value in node.pairs]
    return all(isinstance(value, Scalar) for value in values)


def _gap(text: str, node: yamltext.Sequence) -> str:
    between = text[node.start + 1 : node.items[0].start]
    return between if between and not between.strip(" ") else " "


# -- spelling -----------------------------------------------------------------------------------------


def is_text(node: Scalar) -> bool:
    """Whether every reader takes a scalar for text."""
    if node.tag is not None:
        return node.tag in _STRING_TAGS
    return node.style != "plain" or not quote_plain(node.value) or _WORDY.match(node.value) is not None


def spell(value: Text, habits: Habits, *, flow: bool = False, style: str = "") -> str:
    """A scalar; `style` is `single` or `double` where the text that it replaces had these quotes."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    must = quote_plain(value) or (flow and _FLOW_SYNTAX.search(value) is not None)
    if style == "" and not must and not habits.quotes_values:
        return value
    quote = {"single": "'", "double": '"'}.get(style, habits.quote)
    return _quoted(value, quote)


def spell_key(key: str, habits: Habits) -> str:
    """A key."""
    must = quote_plain(key) or _FLOW_SYNTAX.search(key) is not None
    return _quoted(key, habits.quote) if must or habits.quotes_keys else key


def _quoted(value: str, quote: str) -> str:
    if quote == "'" and value.isprintable():
        return "'" + value.replace("'", "''") + "'"
    return '"' + "".join(_escaped(c) for c in value) + '"'


def _escaped(c: str) -> str:
    if c in _ESCAPES:
        return _ESCAPES[c]
    if c.isprintable():
        return c
    code = ord(c)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def in_one_line(value: Value, habits: Habits) -> str:
    """A value in one line: a scalar, `[a, b]` or `{a: b}`."""
    if isinstance(value, tuple):
        return "[" + ", ".join(spell(item, habits, flow=True) for item in value) + "]"
    if isinstance(value, Mapping):
        pairs = (f"{spell_key(k, habits)}: {spell(v, habits, flow=True)}" for k, v in value.items())
        return "{" + ", ".join(pairs) + "}"
    return spell(value, habits)


def pair_lines(key: str, value: Value, habits: Habits, at: int) -> list[str]:
    """The lines, without their ends, of a new pair whose key stands in column `at`."""
    margin, name = " " * at, spell_key(key, habits)
    if not value or not isinstance(value, tuple | Mapping) or _flow(key, value, habits):
        return [f"{margin}{name}: {in_one_line(value, habits)}"]
    if isinstance(value, tuple):
        dash = f"{margin}{' ' * habits.list_step}-{habits.gap}"
        return [f"{margin}{name}:", *(dash + spell(item, habits) for item in value)]
    inner = margin + " " * habits.step
    pairs = (f"{inner}{spell_key(k, habits)}: {spell(v, habits)}" for k, v in value.items())
    return [f"{margin}{name}:", *pairs]


def _flow(key: str, value: tuple[str, ...] | Mapping[str, Text], habits: Habits) -> bool:
    usual = habits.flow_lists if isinstance(value, tuple) else habits.flow_mappings
    return habits.flow_by_key.get(key, usual)
