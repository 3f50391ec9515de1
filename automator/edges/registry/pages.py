"""Pages: following a registry's list from page to page, to its end and never in a circle.

What belongs here: RFC 8288 links as registries write them, and all the bounds of a list: the number of
pages, their bytes, pages that repeat. What a page says is not read here.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from automator.core.reference import Repository
from automator.edges.http import Answer
from automator.edges.registry import failures
from automator.errors import RegistryError
from automator.reasons import reason

CURSOR_LIMIT = 4096
LINK_LIMIT = 16 * 1024
SMALL_PAGE = 8
"""Entries; pages with more than so many on average are not counted against the limit of pages."""
_TARGET = re.compile(r"\s*(?:<([^>]*)>|([^\s;,<>\"]+))")
_PARAMETER = re.compile(r"\s*;\s*(?:([^\s=;,\"]+)\s*(?:=\s*(\"(?:[^\"\\]|\\.)*\"|[^\s;,\"]*))?)?")
_SEPARATOR = re.compile(r"\s*(?:,[\s,]*|$)")


@dataclass(frozen=True, slots=True)
class Page:
    """One page as it came."""

    answer: Answer
    """Of its headers only the content type, since there can be thousands of pages."""
    hash: bytes
    links: bool
    """It links to a next page."""


Beyond = Callable[[Page], str | None]


@dataclass(slots=True)
class Walk:
    """How a list is followed, and how far it was. `ask` brings the page at a query; its errors pass through,
    and another walk that gets `found` and `asked` can go on from `query`."""

    repository: Repository
    ask: Callable[[str], Answer]
    page_limit: int
    byte_limit: int
    beyond: Beyond = lambda _: None
    """The query to try after a page without link, where that may not be the end."""
    linked: Callable[[], None] = lambda: None
    """Told of each page that links to a next one."""
    entries: Callable[[Answer], int] = lambda _: 0
    """About how many entries a page has, where many of them justify many pages."""
    found: list[Page] = field(default_factory=list)
    asked: set[str] = field(default_factory=set)
    query: str = ""
    """Of the page that is asked for last, or next."""

    def pages(self, query: str) -> tuple[Page, ...]:
        """All pages: those found already, and from the one at `query` on. Raises RegistryError rather
        than stop half-way: a page that repeats, more than `page_limit` with next to nothing in them,
        more than `byte_limit` in all, nonsense."""
        found, asked = self.found, self.asked
        hashes = {page.hash for page in found}
        received = sum(len(page.answer.body) for page in found)
        entries = sum(self.entries(page.answer) for page in found)
        links = not found or found[-1].links
        while True:
            self.query = query
            if len(found) >= self.page_limit + entries // SMALL_PAGE:
                raise failures.pages(self.repository, f"there are more than {len(found)} pages")
            asked.add(query)
            answer = self.ask(query)
            number = len(found) + 1
            following = self._next(answer, number)
            page = _page(answer, links=following is not None)
            if page.hash in hashes:
                if not links:  # asked for more than the list says to have: there is no more
                    return tuple(found)
                raise failures.pages(self.repository, f"page {number} repeats an earlier one")
            found.append(page)
            hashes.add(page.hash)
            received += len(answer.body)
            entries += self.entries(answer)
            if received > self.byte_limit:
                raise too_long(self.repository, f"more than {self.byte_limit} bytes")
            links = page.links
            if links:
                self.linked()
            else:
                following = self.beyond(page)
            if following is None or (not links and following in asked):
                return tuple(found)
            if following in asked or len(following) > CURSOR_LIMIT:
                problem = f"page {number} links to one seen before, or to nonsense"
                raise failures.pages(self.repository, problem)
            query = following

    def _next(self, answer: Answer, number: int) -> str | None:
        try:
            return next_query(answer.headers.get("Link", ""))
        except ValueError as error:
            raise failures.pages(self.repository, f"page {number} links to nonsense") from error


def _page(answer: Answer, *, links: bool) -> Page:
    kind = answer.headers.get("Content-Type")
    kept = replace(answer, headers={} if kind is None else {"Content-Type": kind})
    return Page(kept, hashlib.sha256(answer.body).digest(), links)


def too_long(repository: Repository, problem: str) -> RegistryError:
    """The error for a list that is within the specification, and beyond all reason."""
    return RegistryError(reason("registry/long-list", repository=repository, problem=problem), retry=False)


def next_query(header: str) -> str | None:
    """The query of the `rel="next"` link (RFC 8288, section 3), and nothing else of it: scheme, host and
    path of such links are wrong in the field, and would be a way to send us anywhere.

    Raises ValueError where no such link can be read, and something else cannot be read either: that may
    have been the link.
    """
    if len(header) > LINK_LIMIT:
        raise ValueError("too long")
    at, doubtful = len(header) - len(header.lstrip(", \t")), False
    while at < len(header):
        target = _TARGET.match(header, at)
        if target is None:
            raise ValueError("no address")
        relations, at = _relations(header, target.end())
        if relations is not None and "next" in relations:
            return (target[1] or target[2] or "").partition("#")[0].partition("?")[2]
        doubtful = doubtful or not relations
        separator = _SEPARATOR.match(header, at)
        if separator is None:
            raise ValueError("no end")
        at = separator.end()
    if doubtful:
        raise ValueError("no relation")
    return None


def _relations(header: str, at: int) -> tuple[list[str] | None, int]:
    """The relations in the parameters that begin at `at`, None where there are none, and where they end.
    The first `rel` counts; names and relations are the same in capitals."""
    relations: list[str] | None = None
    while (parameter := _PARAMETER.match(header, at)) is not None:
        name, value = parameter[1] or "", (parameter[2] or "").strip("\"'")
        if name.lower() == "rel" and relations is None:
            relations = value.lower().split()
        at = parameter.end()
    return relations, at
