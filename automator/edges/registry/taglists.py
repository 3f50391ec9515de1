"""Tag lists: all tags of an image repository, asked so that an unchanged list is not even parsed.

What belongs here: what `tags/list` does in the field beyond links (distribution spec, "Listing Tags"):
page sizes that are refused, full pages whose link was forgotten, pages that bring nothing new.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from urllib.parse import urlencode

from automator.core.reference import Repository, TagList
from automator.edges.http import Answer
from automator.edges.registry import failures, manifests
from automator.edges.registry.content import BodyLimits, read
from automator.edges.registry.exchange import Exchange, Question
from automator.edges.registry.hosts import Host
from automator.edges.registry.learnt import Learnt
from automator.edges.registry.manifests import Told
from automator.edges.registry.pages import Page, Walk

PAGE_SIZE = 1000
GOOGLE_PAGE_SIZE = 10_000
GOOGLE = (".gcr.io", ".pkg.dev")
WHAT = "its tags"


@dataclass(frozen=True, slots=True)
class Known:
    """The last list of a repository, and by what an unchanged answer is recognised."""

    list: TagList
    hash: str
    """Of the pages as they came."""
    ends: Mapping[bytes, str | None] = field(default_factory=dict)
    """Hash of a page without link -> the tag to ask beyond; None where it was not full."""
    told: Mapping[str, Told] = field(default_factory=dict)
    """What the list itself said of its tags."""


@dataclass
class TagQuestion:
    """The question for one repository's tags, within one exchange."""

    exchange: Exchange
    host: Host
    repository: Repository
    learnt: Learnt
    page_limit: int
    limits: BodyLimits
    known: Known | None
    ends: dict[bytes, str | None] = field(default_factory=dict)
    _full: set[str] = field(default_factory=set)
    """Tags of full pages so far."""

    def answer(self, now: datetime) -> Known:
        """The list as it is `now`, the known one where nothing changed. Raises RegistryError."""
        pages = Walk(self.repository, self._page, self.page_limit, self.limits.pages, self._beyond).pages(
            self._first_query()
        )
        hash_ = hashlib.sha256(b"".join(page.hash for page in pages)).hexdigest()
        if self.known is not None and self.known.hash == hash_:
            return replace(self.known, list=replace(self.known.list, observed_at=now))
        tags, told = self._read(pages)
        revision = _revision(tags)
        if self.known is not None and self.known.list.revision == revision:  # in another order
            found = replace(self.known.list, observed_at=now)
        else:
            found = TagList(self.repository, tags, now, revision)
        return Known(found, hash_, self.ends, told)

    def _size(self) -> int:
        return GOOGLE_PAGE_SIZE if f".{self.host.name}".endswith(GOOGLE) else PAGE_SIZE

    def _first_query(self) -> str:
        return f"n={self._size()}" if self.host.asks_pages else ""

    def _page(self, query: str) -> Answer:
        question = Question(
            WHAT, "tags", "tags/list", query, limit=self.limits.page, taken=frozenset({200, 400, 405})
        )
        answer = self.exchange.ask(question)
        if answer.status == 200:
            if "Link" in answer.headers:
                self.learnt.linked_a_page(self.host.name, self.repository.path)
            return answer
        refused = answer.status == 405 or "PAGINATION_NUMBER_INVALID" in failures.error_codes(answer.body)
        if refused and query == f"n={self._size()}":  # this page size is too much for some
            self.host.asks_pages = False
            return self.exchange.ask(replace(question, query="", taken=frozenset({200})))
        raise failures.bad_answer(self.repository, WHAT, failures.told(answer))

    def _beyond(self, page: Page) -> str | None:
        """Nexus groups forget the link: a page filled to the brim may not be the last."""
        size = self._size()
        if not self.host.asks_pages or page.answer.body.count(b'"') < 2 * size:
            return None
        if self.learnt.links_pages(self.host.name, self.repository.path):
            return None
        known = {} if self.known is None else self.known.ends
        if page.hash in known:
            last = known[page.hash]
        else:
            found = self._parsed(page)
            news = not self._full.issuperset(found.tags)  # else `last` is ignored
            last = found.tags[-1] if found.entries == size and found.tags and news else None
            self._full.update(found.tags)
        self.ends[page.hash] = last
        return None if last is None else urlencode({"n": size, "last": last})

    def _read(self, pages: tuple[Page, ...]) -> tuple[tuple[str, ...], dict[str, Told]]:
        """The tags in their order, each once. A page that only repeats, in whatever order, ends the
        list where it came unasked for, and is an error where a link led to it."""
        tags: dict[str, None] = {}
        told: dict[str, Told] = {}
        led_here = False
        for number, page in enumerate(pages, 1):
            found = self._parsed(page)
            before = len(tags)
            tags.update(dict.fromkeys(found.tags))
            told.update(found.told)
            if led_here and found.tags and len(tags) == before and page.links:
                raise failures.pages(self.repository, f"page {number} brings nothing new")
            led_here = page.links
        return tuple(tags), told

    def _parsed(self, page: Page) -> manifests.TagPage:
        return read(self.repository, WHAT, page.answer, manifests.read_tags)


def _revision(tags: tuple[str, ...]) -> str:
    """Equal for equal tags, whatever their order."""
    return hashlib.sha256("\n".join(sorted(tags)).encode()).hexdigest()
