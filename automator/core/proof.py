"""Proof: that an edited text reads as the old one but for the intended values.

Both texts are read again, as events of the scanner where that is enough: what is compared is what every
reader of YAML would see.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import NamedTuple

from automator.core import yamltext
from automator.core.mask import read
from automator.core.site import read_file
from automator.core.spans import runs, to_value
from automator.core.yamltext import Alias, Mapping, Node, Replaced, Scalar, equal_but_for, reads_alike
from automator.errors import ManifestError
from automator.reasons import reason


class Splice(NamedTuple):
    """Characters to replace, what replaces them, and what the scalar must read as afterwards."""

    start: int
    end: int
    characters: str
    value: str
    setting: bool
    """Whether it is a template variable's value, outside of all scalars."""


def verify(before: str, after: str, splices: dict[int, Splice], name: str) -> None:
    """Raises ManifestError (`site/verify-failed`) unless `after` reads as `before` but for the splices,
    which are given by their start. `name` is the file's base name."""
    if not _by_events(before, after, splices, name):
        _by_nodes(before, after, splices, name)


def _by_events(before: str, after: str, splices: dict[int, Splice], name: str) -> bool:
    """Whether the events prove it; False where they cannot tell (templates, edits within a scalar)."""
    if name.endswith(".env") or not (reads_alike(before) and reads_alike(after)):
        return False
    replaced = [Replaced(splice.start, splice.end, splice.value) for splice in splices.values()]
    return equal_but_for(before, after, sorted(replaced))


def _by_nodes(before: str, after: str, splices: dict[int, Splice], name: str) -> None:
    old = read_file(before, name)
    try:
        new = read_file(after, name)
    except ManifestError as error:
        raise ManifestError(reason("site/verify-failed", line=1)) from error
    proof = _Proof(before, splices)
    if len(old) == len(new):
        for one, other in zip(old, new, strict=True):
            if one.templated != other.templated or not proof.equal(one.root, other.root):
                raise ManifestError(reason("site/verify-failed", line=one.line))
    # A template variable is set in a comment or a template, which YAML does not see.
    unseen = [splice for splice in proof.intended.values() if not splice.setting]
    if len(old) != len(new) or unseen:
        raise ManifestError(reason("site/verify-failed", line=1))


class _Proof:
    """Compares the nodes of a text with those of the edited one."""

    def __init__(self, text: str, splices: dict[int, Splice]) -> None:
        self.intended = dict(splices)
        """Splices that no scalar has accounted for yet."""
        self._text = text
        self._starts = sorted(splices)

    def equal(self, old: Node | None, new: Node | None) -> bool:
        """Whether two nodes are equal but for the intended values."""
        if isinstance(old, Scalar) and isinstance(new, Scalar):
            return (old.anchor, old.tag) == (new.anchor, new.tag) and self._scalar(old, new)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            return (old.flow, old.anchor, len(old.pairs)) == (new.flow, new.anchor, len(new.pairs)) and all(
                self.equal(old_key, new_key) and self.equal(old_value, new_value)
                for (old_key, old_value), (new_key, new_value) in zip(old.pairs, new.pairs, strict=True)
            )
        if isinstance(old, yamltext.Sequence) and isinstance(new, yamltext.Sequence):
            return (old.flow, old.anchor, len(old.items)) == (new.flow, new.anchor, len(new.items)) and all(
                self.equal(one, other) for one, other in zip(old.items, new.items, strict=True)
            )
        if isinstance(old, Alias) and isinstance(new, Alias):
            return old.name == new.name
        return old is None and new is None

    def _scalar(self, old: Scalar, new: Scalar) -> bool:
        first = bisect_left(self._starts, old.start)
        last = bisect_left(self._starts, old.end)
        if first == last:
            return (old.value, old.style) == (new.value, new.style)
        inside = [splice for s in self._starts[first:last] if (splice := self.intended.pop(s, None))]
        if len(inside) == 1 and (inside[0].start, inside[0].end) == (old.start, old.end):
            return new.value == inside[0].value and (
                new.style == old.style or (old.style == "plain" and new.style in ("single", "double"))
            )
        return new.style == old.style and self._parts(old, new, inside)

    def _parts(self, old: Scalar, new: Scalar, inside: list[Splice]) -> bool:
        """Whether a longer scalar differs in the intended parts alone, and so does what it holds."""
        places = runs(self._text, old)
        inner: dict[int, Splice] = {}
        value, at = "", 0
        for splice in inside:
            place = to_value(places, splice.start, splice.end)
            if place is None:
                return False
            value += old.value[at : place[0]] + splice.characters
            at = place[1]
            inner[place[0]] = splice._replace(start=place[0], end=place[1])
        if value + old.value[at:] != new.value:
            return False
        try:
            if "\n" in old.value:
                read(old.value)
        except ManifestError:
            return True  # no document, only words
        if "\n" in old.value and old.style != "text":
            verify(old.value, new.value, inner, "")
        return True
