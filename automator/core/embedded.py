"""Embedded documents: YAML or JSON written inside a scalar, with its places in the file.

`helm.values: |` of an Argo CD Application, a file in a ConfigMap, a patch in a kustomization: what is read
inside is moved to where it stands outside, so that it is found and edited like anything else.
"""

from __future__ import annotations

import re
from bisect import bisect_left

from automator.core.mask import read
from automator.core.spans import BREAK, Run, to_raw
from automator.core.yamltext import Alias, Mapping, Node, Scalar, Sequence, by_key
from automator.errors import ManifestError

_HINT = re.compile(r"[iI]mage|IMAGE|[tT]ag[\"']?\s*:|digest|/[^\s:/]*:[A-Za-z0-9_]|@sha256:|oci:|[vV]ersion")
_STRUCTURE = re.compile(r"^\s*(?:- |[\"']?[A-Za-z0-9_.{\[][^\s:]*[\"']?\s*:(?:\s|$)|[\[{])", re.MULTILINE)
LONGEST = 500_000
"""Characters of an embedded text above which it is not read."""


def roots(text: str, node: Scalar, found: tuple[Run, ...]) -> list[Mapping | Sequence]:
    """The roots of the documents in a scalar, with their places in `text`; none where it holds no
    structure, only words."""
    value = node.value
    if not found or len(value) > LONGEST or _HINT.search(value) is None or _STRUCTURE.search(value) is None:
        return []
    try:
        documents = read(value)
    except (ManifestError, RecursionError):
        return []
    inside = [document.root for document in documents if document.root is not None]
    if not inside or not all(isinstance(root, (Mapping, Sequence)) for root in inside):
        return []
    move = _Move(text, node, found)
    return [root for root in map(move.node, inside) if isinstance(root, (Mapping, Sequence))]


class _Move:
    """Moves nodes from their places in a value to those in the file."""

    def __init__(self, text: str, outer: Scalar, found: tuple[Run, ...]) -> None:
        self._outer = outer
        self._runs = found
        self._moved: dict[int, Node] = {}
        self._breaks = [match.start() for match in BREAK.finditer(text, outer.start, outer.end)]

    def node(self, node: Node) -> Node:
        if isinstance(node, Scalar):
            return self._scalar(node)
        start = self._place(node.start)
        line = self._line(node.line, start)
        if isinstance(node, Alias):
            target = node.target
            moved = self._moved.get(target.start) if target is not None else None
            return Alias(node.name, moved, start, self._place(node.end - 1) + 1, line)
        end = max(start, self._place(max(node.end - 1, node.start)) + 1)
        if isinstance(node, Mapping):
            pairs = tuple((self.node(key), self.node(value)) for key, value in node.pairs)
            mapping = self._moved[node.start] = Mapping(
                pairs, start, end, line, node.flow, node.anchor, by_key(pairs)
            )
            return mapping
        items = tuple(self.node(item) for item in node.items)
        sequence = self._moved[node.start] = Sequence(items, start, end, line, node.flow, node.anchor)
        return sequence

    def _scalar(self, node: Scalar) -> Scalar:
        begin, last = to_raw(self._runs, node.start, node.start), to_raw(self._runs, node.end, node.end)
        # A block scalar ends with line breaks, which belong to no run.
        end = node.start + len(self._outer.value[node.start : node.end].rstrip())
        if end > node.start:
            begin = to_raw(self._runs, node.start, node.start + 1)
            last = to_raw(self._runs, end - 1, end)
        if begin is None or last is None:
            # Nowhere to be edited: it stands for no characters.
            start = end = self._outer.start
        else:
            start, end = begin[0], last[1]
        moved = node._replace(start=start, end=end, line=self._line(node.line, start))
        self._moved[node.start] = moved
        return moved

    def _place(self, at: int) -> int:
        place = to_raw(self._runs, at, at + 1) or to_raw(self._runs, at, at)
        return self._outer.start if place is None else place[0]

    def _line(self, inner: int, start: int) -> int:
        if self._outer.style == "literal":
            return self._outer.line + inner
        return self._outer.line + bisect_left(self._breaks, start)
