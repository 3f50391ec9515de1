"""Globs of Go's `path.Match` in ours: the same tags match, or nothing comes out."""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

from automator.core.pattern import MAX_STARS

MAX_GLOBS = 70
"""Most globs that one pattern with `?` or `[…]` is spelled out as."""

IN_TAGS = "-.0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"
"""The characters of tags."""


class Spelled(NamedTuple):
    """What a glob of Go's `path.Match` says of tags, in our globs."""

    globs: tuple[str, ...]
    """A tag matches if one of them does."""
    problem: str = ""
    """Why there are none: it is broken, or can match no tag, and so matches none in Go either."""
    too_many: bool = False
    """It can be said only with more globs than anyone would read."""


def spelled(glob: str) -> Spelled:
    """A glob of Go's `path.Match` (`*`, `?`, `[a-z]`, `[^a]`, a backslash) in globs that know only `*`."""
    parts: list[str] = []
    at = 0
    while at < len(glob):
        c = glob[at]
        if c == "*":
            parts += [] if parts[-1:] == ["*"] else ["*"]
            at += 1
        elif c == "?":
            parts.append(IN_TAGS)
            at += 1
        elif c == "[":
            found = _one_of(glob, at + 1)
            if found is None:
                return Spelled((), "it is no pattern")
            characters, at = found
            parts.append(characters)
        else:
            at += c == "\\"
            if at == len(glob):
                return Spelled((), "it is no pattern")
            parts.append(glob[at] if glob[at] in IN_TAGS else "")
            at += 1
    if not parts or "" in parts:
        return Spelled((), "no tag can match it")
    count = 1
    for part in parts:
        count *= len(part)
        if count > MAX_GLOBS:
            return Spelled((), too_many=True)
    if parts.count("*") > MAX_STARS:
        return Spelled((), too_many=True)
    globs = tuple("".join(choice) for choice in product(*parts) if choice[0] not in "-.")
    return Spelled(globs, "" if globs else "no tag can match it")


def _one_of(glob: str, at: int) -> tuple[str, int] | None:
    """The tag characters of a class that begins at `at`, and where the pattern goes on; None if broken."""
    negated = glob[at : at + 1] == "^"
    at += negated
    ranges: list[tuple[str, str]] = []
    while not (ranges and glob[at : at + 1] == "]"):
        low = _class_character(glob, at)
        if low is None:
            return None
        first, at = low
        last = first
        if glob[at : at + 1] == "-":
            high = _class_character(glob, at + 1)
            if high is None:
                return None
            last, at = high
        ranges.append((first, last))
    characters = (c for c in IN_TAGS if any(low <= c <= high for low, high in ranges) != negated)
    return "".join(characters), at + 1


def _class_character(glob: str, at: int) -> tuple[str, int] | None:
    c = glob[at : at + 1]
    if c in ("", "-", "]"):
        return None
    if c == "\\":
        c, at = glob[at + 1 : at + 2], at + 1
    return (c, at + 1) if c else None
