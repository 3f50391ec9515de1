"""Retelling: the sites of one version of a file from those of another, where only versions differ.

Most commits that touch a file with images change nothing but a tag or a digest. Such a version need not be
parsed: line by line it is the one that was parsed, but for the characters of sites. Whatever else differs,
or looks odd, is left to the parser. Spans and lines of retold sites are those of the file that was parsed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

from automator.core.found import NULLS
from automator.core.reference import DIGEST
from automator.core.site import Part, Site
from automator.core.spelling import HASHED, Spelled, read_reference, read_version

_QUOTES = {"plain": "", "single": "'", "double": '"'}
_PLAIN_TEXT = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_./:@-]*[A-Za-z0-9_])?", re.ASCII)
"""Text that means itself, in quotes and without."""


class _Place(NamedTuple):
    """Where a part of a site stands: a stretch of one line."""

    site: int
    part: int
    before: str
    """What stands before it on its line, the opening quote included."""
    after: str


class Retelling:
    """A text that was parsed, and the sites in it."""

    def __init__(self, text: str, sites: tuple[Site, ...]) -> None:
        self._sites = sites
        self._lines = text.split("\n")
        self._places: dict[int, list[_Place]] = {}
        if any(site.held is None for site in sites):
            for place, line in _places(text, sites):
                self._places.setdefault(line, []).append(place)

    def sites_of(self, text: str) -> tuple[Site, ...] | None:
        """The sites of another version of the file; None where it takes a parser to tell."""
        lines = text.split("\n")
        if len(lines) != len(self._lines):
            return None
        said: dict[int, dict[int, str]] = {}
        for number, (here, there) in enumerate(zip(self._lines, lines, strict=True)):
            if here == there:
                continue
            places = self._places.get(number, ())
            if len(places) != 1:
                return None
            (place,) = places
            value = _between(there, place.before, place.after)
            if value is None:
                return None
            said.setdefault(place.site, {})[place.part] = value
        found = list(self._sites)
        for index, values in said.items():
            told = _told(found[index], values)
            if told is None:
                return None
            found[index] = told
        return tuple(found)


def _places(text: str, sites: tuple[Site, ...]) -> Iterable[tuple[_Place, int]]:
    """The parts of sites that are simple enough, and the line of each."""
    for i, site in enumerate(sites):
        if site.held is not None or site.ring or site.awaits is not None or site.written.endswith(HASHED):
            continue
        for j, part in enumerate(site.parts):
            quote = _QUOTES.get(part.style)
            if part.piece == "version" or quote is None or part.within:  # charts have rules of their own
                continue
            if text[part.start : part.end] != f"{quote}{part.value}{quote}":
                continue
            begin = text.rfind("\n", 0, part.start) + 1
            end = text.find("\n", part.end)
            before, after = (
                text[begin : part.start] + quote,
                quote + text[part.end : len(text) if end < 0 else end],
            )
            yield _Place(i, j, before, after), text.count("\n", 0, part.start)


def _between(line: str, before: str, after: str) -> str | None:
    """What stands in a line between two texts, if it is plain."""
    if len(line) < len(before) + len(after) or not (line.startswith(before) and line.endswith(after)):
        return None
    value = line[len(before) : len(line) - len(after)]
    return value if _PLAIN_TEXT.fullmatch(value) and value not in NULLS else None


def _told(site: Site, values: dict[int, str]) -> Site | None:
    """The site with other values in its parts; None where they do not say a version of the same image."""
    tag = digest = own = None
    for i, part in enumerate(site.parts):
        spelled = _spelled(site, part, values.get(i, part.value))
        if spelled is None or spelled.doubt is not None:
            return None
        if part.piece == "digest":
            own = spelled.digest
        else:
            tag, digest = spelled.tag, spelled.digest
    if (tag is None and digest is None and own is None) or (own is not None and digest is not None):
        return None
    return replace(site, tag=tag, digest=own or digest)


def _spelled(site: Site, part: Part, value: str) -> Spelled | None:
    if part.piece == "reference":
        spelled = read_reference(value)
        return spelled if spelled is not None and spelled.written == site.written else None
    if part.piece == "digest":
        return Spelled("", None, None, value) if DIGEST.fullmatch(value) else None
    return read_version(value)
