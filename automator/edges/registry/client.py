"""The registry client: tags, digests and build times of image repositories.

What belongs here: which questions answer what the core needs to know. OCI distribution spec 1.1,
"Pull" and "Content Discovery". A failure of one repository is a RegistryError and leaves no partial
answer behind. All methods may be called from several threads.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import Future
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, TypeVar

from automator.core.reference import Image, Repository, TagList
from automator.edges import http
from automator.edges.registry import auth
from automator.edges.registry.budget import Standing
from automator.edges.registry.content import BodyLimits, Content
from automator.edges.registry.exchange import Exchange, call
from automator.edges.registry.hosts import UNDECLARED, Hosts, HostSettings
from automator.edges.registry.learnt import Learnt, Warnings
from automator.edges.registry.referrers import Referrer, ReferrerQuestion
from automator.edges.registry.taglists import Known, TagQuestion
from automator.edges.registry.unfinished import UnfinishedLists
from automator.reasons import one_line

INSIDE = http.Outside()
AHEAD = timedelta(minutes=1)
"""By which the clocks of two cycles may differ that began one after the other."""
KEPT = timedelta(days=1)
"""How long a list is kept that nobody asks for any more."""
LISTS_LIMIT = 10_000
T = TypeVar("T")


class RegistryClient:
    """One client for all registries; keeps its connections, tokens and last tag lists.

    `hosts` holds the declared hosts (`localhost:5000`, `docker.io`); any other host is called with
    the default settings and only on a public address. `outside` has the proxies and
    certificates that the environment names. `page_limit` bounds the pages of one tag list that
    have next to no tags; `limits` bounds those that have.
    `warned` is told, once each, what a host's `Warning` headers say: (host, one line of text).
    """

    def __init__(
        self,
        hosts: Mapping[str, HostSettings],
        *,
        page_limit: int = 200,
        limits: BodyLimits | None = None,
        outside: http.Outside = INSIDE,
        default: HostSettings = UNDECLARED,
        clock: Callable[[], float] = time.monotonic,
        warned: Callable[[str, str], None] = lambda host, text: None,
    ) -> None:
        self._hosts = Hosts(hosts, outside, default, clock)
        self._tokens = auth.TokenCache()
        self._page_limit = page_limit
        self._limits = limits or BodyLimits()
        self._lock = threading.Lock()
        self._last: dict[Repository, Known] = {}
        self._unfinished = UnfinishedLists()
        self._learnt = Learnt(clock)
        self._warnings = Warnings(warned)

    @property
    def requests(self) -> dict[str, int]:
        """How many requests were sent so far for each registry, its token service and storage included."""
        return self._hosts.counted()

    @property
    def warnings(self) -> tuple[tuple[str, str], ...]:
        """What hosts warned of so far: (host, one line of text), each once, bounded."""
        return self._warnings.all()

    @property
    def standings(self) -> tuple[Standing, ...]:
        """How each registry host stands: its limits, whether it is left alone, what waits for it."""
        return self._hosts.standings()

    def submit(
        self,
        host: str,
        act: Callable[[], T],
        *,
        asker: str = "",
        first: bool = False,
        key: Hashable | None = None,
    ) -> Future[T]:
        """Have `act`, a call of this client, run when `host` may be asked; `asker`s take turns.

        What is to be done `first` goes before the rest; a job with the `key` of one that waits is
        that one.
        """
        return self._hosts.get(host).lane.submit(act, asker=asker, first=first, key=key)

    def describe_credentials(self, repository: Repository) -> str:
        """Which source the credentials for a repository came from; never the secret."""
        host = self._hosts.get(repository.registry)
        service, is_basic = host.login(repository.path)
        if service is None and not is_basic:
            return "none, since the registry did not ask for any"
        source = host.settings.credentials
        told = "none" if source is None else source.describe(host.place, host.path(repository.path))
        return told if service is None else f"{told}; for a token of {one_line(service.realm)}"

    def close(self) -> None:
        self._hosts.close()

    def tags(self, repository: Repository, *, now: datetime, since: datetime | None = None) -> TagList:
        """All tags of `repository`, seen at `now`; or, where somebody saw them after `since`, those.

        An answer equal to the last one gives the same tags object, unparsed. Raises RegistryError
        when any page fails, is repeated, or when there are more than the limits permit. A list that was
        only interrupted, by a limit of the host's, is read on the next time.
        """
        seen = self._last.get(repository)
        # What was seen at a time that is yet to come was seen before the clock was set back.
        if since is not None and seen is not None and since < seen.list.observed_at < now + AHEAD:
            return seen.list
        with self._call(repository) as exchange:
            host = self._hosts.get(repository.registry)
            last = self._last.get(repository)
            question = TagQuestion(
                exchange,
                host,
                repository,
                self._learnt,
                self._page_limit,
                self._limits,
                last,
                self._unfinished,
            )
            found = question.answer(now)
        self._keep(repository, found, now)
        return found.list

    def _keep(self, repository: Repository, found: Known, now: datetime) -> None:
        """Keep a list for the next time, and no list that nobody asked for in a day."""
        with self._lock:
            self._last.pop(repository, None)
            self._last[repository] = found
            old = [r for r, known in islice(self._last.items(), 10) if now - known.list.observed_at > KEPT]
            for forgotten in old or list(self._last)[: max(0, len(self._last) - LISTS_LIMIT)]:
                del self._last[forgotten]

    def listed(self, repository: Repository, tag: str) -> Image | None:
        """What the last tag list itself told of `tag`: no request. None for most registries; Google's
        tell digest and build time. Nobody looked at its platforms and labels."""
        last = self._last.get(repository)
        told = None if last is None else last.told.get(tag)
        return None if told is None else Image(told.digest, told.built)

    def digest(self, repository: Repository, tag: str) -> str:
        """The digest that the registry serves for `tag` now: the index's, if there is one.

        Costs one HEAD, or one GET where HEAD is known to be of no use. Raises RegistryError.
        """
        with self._call(repository) as exchange:
            content = Content(exchange, repository, self._limits)
            if self._learnt.heads_are_useless(repository):
                return content.manifest(tag)[0]
            said = content.head(tag)
            if said is None:
                digest, _ = content.manifest(tag)
                self._learnt.head_lied(repository)
                return digest
            self._learnt.head_told(repository, tag, said)
            return said

    def image(
        self, repository: Repository, tag: str, *, known: Callable[[str], Image | None] = lambda _: None
    ) -> Image:
        """Digest, build time, labels and platforms of `tag`. Raises RegistryError.

        A digest that is `known` costs one request. Another costs two; an index whose annotations tell
        the build time one, else three: of several platforms linux/amd64 is asked, or the first.
        """
        with self._call(repository) as exchange:
            content = Content(exchange, repository, self._limits)
            digest, manifest = content.manifest(tag)
            said = self._learnt.last_head(repository, tag)
            if said not in (None, digest) and content.head(tag) == said:
                # The same tag, asked at once: HEAD still says what GET does not serve.
                self._learnt.head_lied(repository, proven=True)
            remembered = known(digest)
            if remembered is not None:
                return remembered
            told = content.described(manifest)
        return Image(digest, told.built, told.source, told.revision, told.platforms or ())

    # -- signatures and other artifacts ---------------------------------------------------------

    def manifest(self, repository: Repository, reference: str) -> tuple[str, dict[str, Any]]:
        """The digest and the JSON object of the manifest at a tag or digest. One request.

        The digest is that of the bytes. Raises RegistryError, `registry/not-found` among them.
        """
        with self._call(repository) as exchange:
            return Content(exchange, repository, self._limits).manifest_json(reference)

    def blob(self, repository: Repository, digest: str, limit: int) -> bytes:
        """The bytes of a blob, at most `limit`, held against their digest. Raises RegistryError."""
        with self._call(repository) as exchange:
            return Content(exchange, repository, self._limits).blob(digest, limit)

    def referrers(
        self, repository: Repository, digest: str, artifact_type: str | None = None
    ) -> tuple[Referrer, ...]:
        """What refers to the manifest `digest`: signatures, SBOMs; those of `artifact_type`, if given.

        One request, or the fallback tag's where the registry has no referrers API, which is
        remembered. Raises RegistryError.
        """
        with self._call(repository) as exchange:
            content = Content(exchange, repository, self._limits)
            question = ReferrerQuestion(exchange, content, repository, self._learnt, self._limits)
            return question.answer(digest, artifact_type)

    def _call(self, repository: Repository) -> AbstractContextManager[Exchange]:
        return call(self._hosts, repository, self._tokens, self._warnings)
