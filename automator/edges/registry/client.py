"""The registry client: tags, digests and build times of image repositories.

What belongs here: which questions answer what the core needs to know. OCI distribution spec 1.1,
"Pull" and "Content Discovery". A failure of one repository is a RegistryError and leaves no partial
answer behind. All methods may be called from several threads.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

from requests.utils import parse_header_links

from automator.core.reference import DIGEST, Image, Repository, TagList
from automator.edges.http import Answer
from automator.edges.registry import auth, failures, manifests
from automator.edges.registry.exchange import Exchange, Question, call
from automator.edges.registry.hosts import UNDECLARED, Hosts, HostSettings, Proxies
from automator.edges.registry.manifests import Descriptions, Malformed

PAGE_SIZE = 1000
CURSOR_LIMIT = 4096
INDEX_DEPTH = 2
MIB = 1024 * 1024
T = TypeVar("T")
HEAD_REFUSED = frozenset({400, 405, 501})


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """Bytes that an answer may have."""

    page: int = 16 * MIB
    pages: int = 64 * MIB
    """All pages of one tag list together."""
    manifest: int = 4 * MIB
    config: int = 4 * MIB


@dataclass(frozen=True, slots=True)
class _Pages:
    """The pages of one tag list as they came."""

    answers: tuple[Answer, ...]
    hash: str


class RegistryClient:
    """One client for all registries; keeps its connections, tokens and last tag lists.

    `hosts` holds the declared hosts (`localhost:5000`, `docker.io`); any other host is called with
    the default settings and only on a public address. `proxies` answers, for a URL, the proxies to
    use (`http.proxies_for`). `page_limit` bounds the pages of one tag list.
    """

    def __init__(
        self,
        hosts: Mapping[str, HostSettings],
        *,
        page_limit: int = 200,
        limits: BodyLimits | None = None,
        proxies: Proxies = lambda _: {},
        default: HostSettings = UNDECLARED,
    ) -> None:
        self._hosts = Hosts(hosts, proxies, default)
        self._tokens = auth.TokenCache()
        self._page_limit = page_limit
        self._limits = limits or BodyLimits()
        self._lock = threading.Lock()
        self._last: dict[Repository, tuple[str, TagList]] = {}

    @property
    def requests(self) -> dict[str, int]:
        """How many requests were sent so far for each registry, its token service and storage included."""
        return self._hosts.counted()

    def describe_credentials(self, repository: Repository) -> str:
        """Which source the credentials for a repository came from; never the secret."""
        source = self._hosts.get(repository.registry).settings.credentials
        return "none" if source is None else source.describe(repository.registry)

    def close(self) -> None:
        self._hosts.close()

    def tags(self, repository: Repository, *, now: datetime) -> TagList:
        """All tags of `repository`, seen at `now`.

        An answer equal to the last one gives the same tags object, unparsed. Raises RegistryError
        when any page fails, is repeated, or when there are more than `page_limit`.
        """
        with call(self._hosts, repository, self._tokens) as exchange:
            pages = self._pages(exchange, repository)
            with self._lock:
                last = self._last.get(repository)
            if last is not None and last[0] == pages.hash:
                return replace(last[1], observed_at=now)
            tags, complete = self._read_pages(exchange, repository, pages)
        revision = hashlib.sha256("\n".join(sorted(tags)).encode()).hexdigest()
        if last is not None and last[1].revision == revision:  # the same tags in another order
            found = replace(last[1], observed_at=now)
        else:
            found = TagList(repository, tags, now, revision)
        with self._lock:
            self._last[repository] = (pages.hash if complete else "", found)
        return found

    def digest(self, repository: Repository, tag: str) -> str:
        """The digest that the registry serves for `tag` now: the index's, if there is one.

        Costs one HEAD where the registry knows how to answer it. Raises RegistryError.
        """
        with call(self._hosts, repository, self._tokens) as exchange:
            question = self._manifest_question(repository, tag)
            answer = exchange.ask(replace(question, method="HEAD", taken=frozenset({200}) | HEAD_REFUSED))
            digest = answer.headers.get("Docker-Content-Digest", "")
            if answer.status == 200 and DIGEST.fullmatch(digest):
                return digest
            return self._manifest(exchange, repository, tag)[0]

    def image(self, repository: Repository, tag: str) -> Image:
        """Digest, build time, labels and platforms of `tag`. Raises RegistryError.

        Two requests for an image; one for an index whose annotations tell the build time, else
        three: of several platforms linux/amd64 is asked, or the first that is there.
        """
        with call(self._hosts, repository, self._tokens) as exchange:
            digest, manifest = self._manifest(exchange, repository, tag)
            told = self._described(exchange, repository, manifest)
        return Image(digest, told.built, told.source, told.revision, told.platforms or ())

    # -- tag lists ------------------------------------------------------------------------------

    def _pages(self, exchange: Exchange, repository: Repository) -> _Pages:
        """Follow the next-page links to the end. Raises RegistryError rather than stop half-way."""
        query: str | None = self._first_query(repository)
        answers: list[Answer] = []
        hashes: list[bytes] = []
        asked: set[str] = set()
        while query is not None:
            if len(answers) >= self._page_limit:
                raise failures.pages(repository, f"there are more than {self._page_limit}")
            asked.add(query)
            answer = self._page(exchange, repository, query)
            one = hashlib.sha256(answer.body).digest()
            if one in hashes:
                raise failures.pages(repository, f"page {len(answers) + 1} repeats an earlier one")
            answers.append(answer)
            hashes.append(one)
            if sum(len(a.body) for a in answers) > self._limits.pages:
                raise failures.pages(repository, f"together they exceed {self._limits.pages} bytes")
            try:
                query = _next_query(answer.headers.get("Link", ""))
            except ValueError as error:
                raise failures.pages(repository, f"page {len(answers)} links to nonsense") from error
            if query in asked or len(query or "") > CURSOR_LIMIT:
                raise failures.pages(
                    repository, f"page {len(answers)} links to one seen before, or to nonsense"
                )
        return _Pages(tuple(answers), hashlib.sha256(b"".join(hashes)).hexdigest())

    def _first_query(self, repository: Repository) -> str:
        host = self._hosts.get(repository.registry)
        return f"n={PAGE_SIZE}" if host.asks_pages else ""

    def _page(self, exchange: Exchange, repository: Repository, query: str) -> Answer:
        question = Question(
            "its tags", "tags", "tags/list", query, limit=self._limits.page, taken=frozenset({200, 400, 405})
        )
        answer = exchange.ask(question)
        if answer.status == 200:
            return answer
        refused = answer.status == 405 or "PAGINATION_NUMBER_INVALID" in failures.error_codes(answer.body)
        if refused and query == f"n={PAGE_SIZE}":  # this page size is too much for some
            self._hosts.get(repository.registry).asks_pages = False
            return exchange.ask(replace(question, query="", taken=frozenset({200})))
        raise failures.bad_answer(repository, "its tags", failures.told(answer))

    def _read_pages(
        self, exchange: Exchange, repository: Repository, pages: _Pages
    ) -> tuple[tuple[str, ...], bool]:
        """The tags, and whether `pages` were all of them beyond doubt."""
        tags: dict[str, None] = {}
        page: list[str] = []
        for answer in pages.answers:
            page = _read(repository, "its tags", answer, manifests.read_tags)
            tags.update(dict.fromkeys(page))
        complete = len(page) != PAGE_SIZE
        # Nexus groups forget the link: a page filled to the brim may not be the last.
        while len(page) == PAGE_SIZE:
            if len(tags) > self._page_limit * PAGE_SIZE:
                raise failures.pages(repository, f"there are more than {self._page_limit}")
            answer = self._page(exchange, repository, urlencode({"n": PAGE_SIZE, "last": page[-1]}))
            page = _read(repository, "its tags", answer, manifests.read_tags)
            if tags.keys() >= set(page):  # `last` is ignored, or that was all
                break
            tags.update(dict.fromkeys(page))
        return tuple(tags), complete

    # -- manifests ------------------------------------------------------------------------------

    def _manifest_question(self, repository: Repository, tag: str) -> Question:
        return Question(
            f"manifest {tag}",
            "manifests",
            f"manifests/{tag}",
            accept=manifests.ACCEPT,
            limit=self._limits.manifest,
        )

    def _manifest(
        self, exchange: Exchange, repository: Repository, reference: str
    ) -> tuple[str, manifests.Manifest]:
        """The digest and content of the manifest at a tag or digest; the digest is always computed."""
        question = self._manifest_question(repository, reference)
        answer = exchange.ask(question)
        claimed = answer.headers.get("Docker-Content-Digest", "")
        wanted = next((d for d in (reference, claimed) if DIGEST.fullmatch(d)), None)
        digest = _verified(repository, question.what, answer, wanted)
        return digest, _read(repository, question.what, answer, manifests.read_manifest)

    def _described(
        self, exchange: Exchange, repository: Repository, manifest: manifests.Manifest, depth: int = 0
    ) -> Descriptions:
        told = manifest.described
        if manifest.config is not None:
            question = Question(
                f"image config {manifest.config}",
                "blobs",
                f"blobs/{manifest.config}",
                accept="*/*",
                limit=self._limits.config,
            )
            answer = exchange.ask(question)
            _verified(repository, question.what, answer, manifest.config)
            config = _read(repository, question.what, answer, manifests.read_config)
            return told.filled_from(config)
        if told.built is None and manifest.children and depth < INDEX_DEPTH:
            _, child = self._manifest(exchange, repository, manifest.children[0])
            return told.filled_from(self._described(exchange, repository, child, depth + 1))
        return told


def _verified(repository: Repository, what: str, answer: Answer, wanted: str | None) -> str:
    digest = manifests.digest_of(answer.body, wanted)
    if wanted is not None and digest != wanted:
        raise failures.bad_digest(repository, what, wanted, digest)
    return digest


def _read(repository: Repository, what: str, answer: Answer, read: Callable[[Any], T]) -> T:
    try:
        return read(manifests.read_json(answer.body))
    except ValueError as e:
        raise failures.not_json(repository, what, answer) from e
    except Malformed as e:
        raise failures.bad_answer(repository, what, str(e)) from e


def _next_query(link: str) -> str | None:
    """The query of the `rel="next"` link (RFC 8288), and nothing else of it: scheme, host and path
    of such links are wrong in the field, and would be a way to send us anywhere."""
    if not link:
        return None
    for found in parse_header_links(link):
        if found.get("rel", "").lower() == "next":
            return urlsplit(found["url"]).query
    return None
