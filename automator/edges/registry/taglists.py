"""Tag lists: all tags of an image repository, asked so that an unchanged list is not even parsed.

What belongs here: what `tags/list` does in the field beyond links (distribution spec, "Listing Tags"):
page sizes that are refused, full pages whose link was forgotten, pages that bring nothing new, and
registries that give only so many pages at a time.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NamedTuple
from urllib.parse import urlencode

from automator.core.reference import Repository, TagList
from automator.edges.http import Answer
from automator.edges.registry import failures, manifests
from automator.edges.registry.budget import HostResting
from automator.edges.registry.content import BodyLimits, read
from automator.edges.registry.exchange import Exchange, Question
from automator.edges.registry.hosts import Host
from automator.edges.registry.learnt import Learnt
from automator.edges.registry.manifests import Told
from automator.edges.registry.pages import Page, Walk, too_long
from automator.edges.registry.unfinished import Unfinished, UnfinishedLists
from automator.errors import RegistryError

PAGE_SIZE = 1000
GOOGLE_PAGE_SIZE = 10_000
GOOGLE = (".gcr.io", ".pkg.dev")
NO_TAGS = b'{"tags": []}'
WHAT = "its tags"
ETAG = re.compile(r"(?:W/)?\"[!#-~]{1,256}\"", re.ASCII)


class Validator(NamedTuple):
    """By what a registry recognises an unchanged list (RFC 9110, section 13.1.2)."""

    query: str
    """The question that it belongs to."""
    etag: str


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
    validator: Validator | None = None


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
    unfinished: UnfinishedLists
    ends: dict[bytes, str | None] = field(default_factory=dict)
    _full: set[str] = field(default_factory=set)
    """Tags of full pages so far."""
    _unasked: set[str] = field(default_factory=set)
    """Queries that no link led to."""
    _sized: bool = True
    """A page size is asked for."""

    def answer(self, now: datetime) -> Known:
        """The list as it is `now`, the known one where nothing changed. Raises RegistryError.

        Where the registry wants to be left alone between two pages, those that were read are kept, and the
        next question goes on after them. What was pushed or deleted meanwhile on a page that is kept is seen
        when the list is asked for the next time, as is what happens behind a reader's back in one go.
        """
        known_at = None if self.known is None else self.known.list.observed_at
        begun = self.unfinished.take(self.repository, now, known_at)
        if begun is not None:
            try:
                return self._found(self._rest(begun), now)
            except (failures.RateLimited, HostResting):
                raise
            except RegistryError as error:
                if error.reason.code == "registry/long-list":
                    raise
                # Whatever it is may be so because of what was kept, of a cursor that is too old for example.
                self.ends, self._full, self._unasked = {}, set(), set()
        self._sized = not self.learnt.refuses_page_sizes(self.repository)
        query = f"n={self._size()}" if self._sized else ""
        first = self._first(query)
        if first.status == 304 and self.known is not None:
            return replace(self.known, list=replace(self.known.list, observed_at=now))
        walk = self._walk(lambda asked: first if asked == query else self._next(asked))
        return self._found(self._walked(walk, query, now), now, first)

    def _rest(self, begun: Unfinished) -> tuple[Page, ...]:
        """All pages of a list of which the first ones are kept."""
        self._sized = begun.sized
        self.ends.update(begun.ends)
        self._unasked.update(begun.unasked)
        for page in begun.pages:
            if not page.links:
                self._full.update(self._parsed(page).tags)
        walk = self._walk(self._next)
        walk.found.extend(begun.pages)
        walk.asked.update(begun.asked)
        return self._walked(walk, begun.query, begun.began_at)

    def _walk(self, ask: Callable[[str], Answer]) -> Walk:
        return Walk(
            self.repository,
            ask,
            self.page_limit,
            self.limits.pages,
            self._beyond,
            lambda: self.learnt.linked_a_page(self.repository),
            _entries,
        )

    def _walked(self, walk: Walk, query: str, began_at: datetime) -> tuple[Page, ...]:
        """All pages; where only patience is missing, what was found is kept."""
        try:
            return walk.pages(query)
        except (failures.RateLimited, HostResting) as error:
            found = tuple(walk.found)
            asked, unasked = frozenset(walk.asked), frozenset(self._unasked)
            begun = Unfinished(began_at, found, asked, walk.query, unasked, dict(self.ends), self._sized)
            is_kept = bool(found) and self.unfinished.keep(self.repository, begun)
            if is_kept and isinstance(error, failures.RateLimited):
                raise failures.Interrupted(self.repository, error, len(found)) from error
            raise

    def _found(self, pages: tuple[Page, ...], now: datetime, first: Answer | None = None) -> Known:
        """What whole list the pages are. `first`: the answer of this round that they begin with."""
        hash_ = hashlib.sha256(b"".join(page.hash for page in pages)).hexdigest()
        if self.known is not None and self.known.hash == hash_:
            etag = self._validator(first) if self.known.validator and first is not None else None
            return replace(self.known, list=replace(self.known.list, observed_at=now), validator=etag)
        tags, told, entries = self._read(pages)
        revision = _revision(tags)
        if self.known is not None and self.known.list.revision == revision:  # in another order
            found = replace(self.known.list, observed_at=now)
        else:
            found = TagList(self.repository, tags, now, revision)
        # A page that is full may get a link without any change to its body, and pages are full at round
        # numbers.
        whole = len(pages) == 1 and entries % 10 != 0
        etag = self._validator(first) if whole and first is not None else None
        return Known(found, hash_, self.ends, told, etag)

    def _size(self) -> int:
        return GOOGLE_PAGE_SIZE if f".{self.host.name}".endswith(GOOGLE) else PAGE_SIZE

    def _question(self, query: str) -> Question:
        return Question(WHAT, "tags", "tags/list", query, limit=self.limits.page)

    def _page(self, query: str) -> Answer:
        return self.exchange.ask(self._question(query))

    def _next(self, query: str) -> Answer:
        """A further page. A registry that refuses one that nobody told of has none."""
        if query not in self._unasked:
            return self._page(query)
        answer = self.exchange.ask(replace(self._question(query), taken=frozenset({200, 400, 404, 405})))
        return answer if answer.status == 200 else replace(answer, status=200, body=NO_TAGS)

    def _first(self, query: str) -> Answer:
        """The first page, without a page size where that is refused; 304 where the known list is still
        the list."""
        question = self._question(query)
        if self.known is not None and self.known.validator and self.known.validator.query == query:
            question = replace(question, etag=self.known.validator.etag, taken=frozenset({200, 304}))
        if not self._sized:
            return self.exchange.ask(question)
        answer = self.exchange.ask(replace(question, taken=question.taken | {400, 405}))
        if answer.status in question.taken:
            self.learnt.page_size(self.repository, taken=True)
            return answer
        if answer.status == 400 and "PAGINATION_NUMBER_INVALID" not in failures.error_codes(answer.body):
            raise failures.bad_answer(self.repository, WHAT, failures.told(answer))
        answer = self._page("")  # this page size is too much for some
        self.learnt.page_size(self.repository, taken=False)
        self._sized = False
        return answer

    def _validator(self, first: Answer) -> Validator | None:
        etag = first.headers.get("ETag", "").strip()
        query = f"n={self._size()}" if self._sized else ""
        return Validator(query, etag) if ETAG.fullmatch(etag) else None

    def _beyond(self, page: Page) -> str | None:
        """Nexus groups forget the link: a page filled to the brim may not be the last."""
        size = self._size()
        if not self._sized or page.answer.body.count(b'"') < 2 * size:
            return None
        if self.learnt.links_pages(self.repository):
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
        if last is None:
            return None
        query = urlencode({"n": size, "last": last})
        self._unasked.add(query)
        return query

    def _read(self, pages: tuple[Page, ...]) -> tuple[tuple[str, ...], dict[str, Told], int]:
        """The tags in their order, each once, and how many entries there were.

        A page that only repeats, in whatever order, ends the list where it came unasked for, and is an
        error where a link led to it and it leads on.
        """
        tags: dict[str, None] = {}
        told: dict[str, Told] = {}
        led_here, entries = False, 0
        for number, page in enumerate(pages, 1):
            found = self._parsed(page)
            before = len(tags)
            entries += found.entries
            tags.update(dict.fromkeys(found.tags))
            if len(tags) > self.limits.tags:
                raise self._too_many()
            told.update(found.told)
            if led_here and found.tags and len(tags) == before and page.links:
                raise failures.pages(self.repository, f"page {number} brings nothing new")
            led_here = page.links
        return tuple(tags), told, entries

    def _parsed(self, page: Page) -> manifests.TagPage:
        if _entries(page.answer) > self.limits.tags:  # before they take the memory
            raise self._too_many()
        return read(self.repository, WHAT, page.answer, manifests.read_tags)

    def _too_many(self) -> RegistryError:
        return too_long(self.repository, f"more than {self.limits.tags} tags")


def _entries(page: Answer) -> int:
    """About how many tags a page has, at the most; one that tells more of its tags has fewer."""
    return max(0, page.body.count(b",") - 1)


def _revision(tags: tuple[str, ...]) -> str:
    """Equal for equal tags, whatever their order."""
    return hashlib.sha256("\n".join(sorted(tags)).encode()).hexdigest()
