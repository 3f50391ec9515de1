"""Pages: following a registry's list from page to page, to its end and never in a circle.

What belongs here: RFC 8288 links as registries write them, and all the bounds of a list: the number of
pages, their bytes, pages that repeat. What a page says is not read here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from requests.utils import parse_header_links

from automator.core.reference import Repository
from automator.edges.http import Answer
from automator.edges.registry import failures

CURSOR_LIMIT = 4096


@dataclass(frozen=True, slots=True)
class Page:
    """One page as it came."""

    answer: Answer
    hash: bytes
    links: bool
    """It links to a next page."""


Beyond = Callable[[Page], str | None]


@dataclass(frozen=True, slots=True)
class Walk:
    """How a list is followed. `ask` brings the page at a query; its errors pass through."""

    repository: Repository
    ask: Callable[[str], Answer]
    page_limit: int
    byte_limit: int
    beyond: Beyond = lambda _: None
    """The query to try after a page without link, where that may not be the end."""

    def pages(self, query: str) -> tuple[Page, ...]:
        """All pages, beginning with the one at `query`. Raises RegistryError rather than stop half-way:
        a page that repeats, more than `page_limit`, more than `byte_limit` in all, nonsense."""
        found: list[Page] = []
        asked: set[str] = set()
        received = 0
        links = True
        while True:
            if len(found) >= self.page_limit:
                raise failures.pages(self.repository, f"there are more than {self.page_limit} pages")
            asked.add(query)
            answer = self.ask(query)
            page = self._page(answer, len(found) + 1)
            if any(page.hash == earlier.hash for earlier in found):
                if not links:  # asked for more than the list says to have: there is no more
                    return tuple(found)
                raise failures.pages(self.repository, f"page {len(found) + 1} repeats an earlier one")
            found.append(page)
            received += len(answer.body)
            if received > self.byte_limit:
                raise failures.pages(self.repository, f"together they exceed {self.byte_limit} bytes")
            links = page.links
            following = self._next(answer, len(found)) if links else self.beyond(page)
            if following is None or (not links and following in asked):
                return tuple(found)
            if following in asked or len(following) > CURSOR_LIMIT:
                problem = f"page {len(found)} links to one seen before, or to nonsense"
                raise failures.pages(self.repository, problem)
            query = following

    def _page(self, answer: Answer, number: int) -> Page:
        return Page(answer, hashlib.sha256(answer.body).digest(), self._next(answer, number) is not None)

    def _next(self, answer: Answer, number: int) -> str | None:
        link = answer.headers.get("Link", "")
        if not link:
            return None
        try:
            return next_query(link)
        except ValueError as error:
            raise failures.pages(self.repository, f"page {number} links to nonsense") from error


def next_query(link: str) -> str | None:
    """The query of the `rel="next"` link (RFC 8288), and nothing else of it: scheme, host and path
    of such links are wrong in the field, and would be a way to send us anywhere."""
    for found in parse_header_links(link):
        if "next" in found.get("rel", "").lower().split():
            return urlsplit(found["url"]).query
    return None
