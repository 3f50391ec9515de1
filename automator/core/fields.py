"""Field paths: the printed way from a document's root to a scalar, and back.

`spec.template.spec.containers[app].image`: keys joined by dots, list items by their `name` where it
is unique in its list, else by index. A key or name with other characters stands in brackets as a
JSON string (`data["app.yaml"]`). When selecting, `[key=value]` picks an item by any scalar of its own.
`|` leads into the document that a scalar holds: `spec.source.helm.values|image.tag`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from automator.core.yamltext import Alias, Mapping, Node, Scalar, Sequence


class Link(NamedTuple):
    """One step of a path: out of `node` by `step`, a key or an index."""

    parent: Link | None
    step: str | int
    node: Mapping | Sequence | Scalar
    """A scalar where the step leads into the document written inside it (`|`)."""


class Step(NamedTuple):
    """One step of a written path: a key, or an item by index or by one of its scalars."""

    key: str
    """The key of a mapping, or the scalar of an item that `value` is compared with."""
    value: str | None = None
    number: int | None = None
    inside: bool = False
    """Into the document that the scalar holds."""


Inside = Callable[[Scalar], Iterable[Node]]
"""Gives the roots of the documents that a scalar holds."""

_KEY = re.compile(r"""[^\s.\[\]"'=#|\\]+""")
_ITEM = re.compile(r"""[^\s\[\]"'=#\\]+""")
_STEP = re.compile(
    r"""
      \[ (?P<index>[0-9]{1,9}) \]
    | \[ (?P<quoted>"(?:[^"\\]|\\.)*") \]
    | \[ (?P<by>[^\s\[\]"'=]+) = (?: (?P<text>"(?:[^"\\]|\\.)*") | (?P<bare>[^\s\[\]"'=]+) ) \]
    | \[ (?P<name>[^\s\[\]"'=#\\]+) \]
    | (?P<inside>\|)
    | (?P<dot>\.?) (?P<key>[^\s.\[\]"'=#|\\]+)
    """,
    re.VERBOSE,
)


def text_of(node: Node | None) -> str | None:
    """The value of a scalar, or of the scalar an alias points at; None for anything else."""
    if isinstance(node, Alias):
        node = node.target
    return node.value if isinstance(node, Scalar) else None


def names_of(sequence: Sequence) -> tuple[str | None, ...]:
    """What each item is called in paths: its `name` where that is printable, no number and unique."""
    names = [text_of(item.get("name")) if isinstance(item, Mapping) else None for item in sequence.items]
    counts: dict[str, int] = {}
    for name in names:
        if name is not None:
            counts[name] = counts.get(name, 0) + 1
    return tuple(
        name
        if name is not None and counts[name] == 1 and name.isprintable() and not name.isdigit()
        and _ITEM.fullmatch(name)
        else None
        for name in names
    )  # fmt: skip


class Printer:
    """Prints paths, working out the names of each list once."""

    def __init__(self) -> None:
        self._names: dict[int, tuple[Sequence, tuple[str | None, ...]]] = {}
        """By where a list starts; one inside a scalar may have no place of its own."""

    def path(self, link: Link | None) -> str:
        parts: list[str] = []
        while link is not None:
            parts.append(self._part(link))
            link = link.parent
        return "".join(reversed(parts)).replace("|.", "|").removeprefix(".")

    def _part(self, link: Link) -> str:
        if isinstance(link.step, int):
            return f"[{self._name(link.node, link.step)}]"
        if isinstance(link.node, Scalar):
            return link.step
        if link.step.isprintable() and _KEY.fullmatch(link.step):
            return f".{link.step}"
        return f"[{_quoted(link.step)}]"

    def _name(self, node: Mapping | Sequence | Scalar, index: int) -> str | int:
        if not isinstance(node, Sequence):
            return index
        known, names = self._names.get(node.start, (None, ()))
        if known is not node:
            names = names_of(node)
            self._names[node.start] = (node, names)
        return names[index] or index


def _quoted(text: str) -> str:
    plain = json.dumps(text, ensure_ascii=False)
    return plain if plain.isprintable() else json.dumps(text)


def parse_field(field: str) -> tuple[Step, ...] | None:
    """The steps of a written path, or None where it is none."""
    steps: list[Step] = []
    at = 0
    while at < len(field):
        match = _STEP.match(field, at)
        if match is None or (
            match["key"] and bool(match["dot"]) is (field[max(at - 1, 0) : at] in ("", "|"))
        ):
            return None
        step = _step(match)
        if step is None:
            return None
        steps.append(step)
        at = match.end()
    return None if not steps or steps[-1].inside else tuple(steps)


def _step(match: re.Match[str]) -> Step | None:
    if match["inside"]:
        return Step("|", inside=True)
    try:
        if match["index"]:
            return Step("", number=int(match["index"]))
        if match["quoted"]:
            return Step(json.loads(match["quoted"]))
        if match["by"]:
            return Step(match["by"], json.loads(match["text"]) if match["text"] else match["bare"])
    except ValueError:
        return None
    return Step("name", match["name"]) if match["name"] else Step(match["key"])


def select(
    root: Node | None, steps: tuple[Step, ...], inside: Inside, link: Link | None = None
) -> Iterator[tuple[Link, Node]]:
    """Every value that a written path leads to. Aliases on the way are not followed, so that each
    value is reached only where it is written."""
    step, rest = steps[0], steps[1:]
    for child, value in _matching(root, step, inside, link):
        if rest:
            yield from select(value, rest, inside, child)
        else:
            yield child, value


def _matching(
    node: Node | None, step: Step, inside: Inside, link: Link | None
) -> Iterator[tuple[Link, Node]]:
    if step.inside:
        if isinstance(node, Scalar):
            for root in inside(node):
                yield Link(link, "|", node), root
    elif isinstance(node, Mapping) and step.value is None and step.number is None:
        for key, value in node.pairs:
            if isinstance(key, Scalar) and key.value == step.key:
                yield Link(link, step.key, node), value
    elif isinstance(node, Sequence) and (step.value is not None or step.number is not None):
        for index, item in enumerate(node.items):
            if index == step.number or (
                step.value is not None
                and isinstance(item, Mapping)
                and text_of(item.get(step.key)) == step.value
            ):
                yield Link(link, index, node), item
