"""Caller: lists of API objects, by GET and by nothing else, complete or not at all.

https://kubernetes.io/docs/reference/using-api/api-concepts/ has the paging (`limit`, `continue`, 410 Gone).
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import MappingProxyType
from typing import Any, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import requests

from automator.edges import http
from automator.edges.http import Answer, Kind, Outside, TransportError
from automator.edges.kubernetes.access import Access
from automator.edges.kubernetes.reading import number, records, text
from automator.errors import RuntimeTrouble
from automator.reasons import one_line, reason

T = TypeVar("T")
PAGE = 500
"""Objects that are asked for at a time, as kubectl does."""
FEWEST = 10
"""Objects that are asked for at a time where more of them are too large for one answer."""
PAGES = 4000
OBJECTS = 100_000
"""That are kept of one look."""
ANSWER_LIMIT = 16 << 20
"""Bytes of one page: a pod has about eight thousand, and may have a million."""
NODES = 500_000
"""Objects and lists within one page: each takes much more memory than it has characters."""
CONNECT_SECONDS = 10.0
LONGEST_WAIT = 5.0
"""Seconds that an API server may have us wait within a look."""
LISTS = 2
"""Times that a list is begun anew where it expired between two pages."""
DROPPED = frozenset({Kind.UNREACHABLE, Kind.BROKEN})


class TooLarge(Exception):
    """An answer has more bytes than one may have."""


class Missing(Exception):
    """The API server does not serve that kind of object."""


class Line:
    """The connections to one API server, kept while the access to it stays the same. For several threads."""

    def __init__(self, outside: Outside) -> None:
        self._outside = outside
        self._lock = threading.Lock()
        self._key: Access | None = None
        self._session: requests.Session | None = None
        self._files: list[int] = []

    def session(self, access: Access) -> requests.Session:
        """Raises TrustError."""
        # A token that is replaced needs no new connection.
        key = Access(
            access.server, "", access.authority, access.verify, access.certificate, access.key,
            proxy=access.proxy or self._outside.proxy_for(access.server),
        )  # fmt: skip
        with self._lock:
            if self._session is None or key != self._key:
                self._end()
                self._session = http.new_session(pool_size=2, trust=self._trust(key), proxy=key.proxy)
                self._key = key
            return self._session

    def close(self) -> None:
        """End the connections that are kept open."""
        with self._lock:
            self._end()

    def _trust(self, key: Access) -> http.Trust:
        """A certificate and its key are handed over by files that are in memory only."""
        authority = None if key.authority is None else key.authority.decode("ascii")
        shown = None if key.certificate is None else self._in_memory(key.certificate)
        secret = None if key.key is None else self._in_memory(key.key)
        return http.Trust(
            verify=key.verify,
            cert_file=shown,
            key_file=secret,
            bundle=self._outside.bundle,
            authority=authority,
        )

    def _in_memory(self, content: bytes) -> str:
        held = os.memfd_create("automator-tls", os.MFD_CLOEXEC)
        self._files.append(held)
        os.write(held, content)
        return f"/proc/self/fd/{held}"

    def _end(self) -> None:
        if self._session is not None:
            self._session.close()
        self._session = self._key = None
        for held in self._files:
            with contextlib.suppress(OSError):
                os.close(held)
        self._files.clear()


class Caller:
    """One look: its access, its connections, and the time by which it ends."""

    def __init__(self, runtime: str, access: Access, line: Line, seconds: float, size: int) -> None:
        self._runtime = runtime
        self._access = access
        self._line = line
        self._ends_at = time.monotonic() + seconds
        self._size = size
        self._bytes = self._objects = 0
        self.host = one_line(urlsplit(access.server).netloc.rpartition("@")[2])
        self.told_at: datetime | None = None
        """The API server's time, once it has answered; None where it tells none."""

    def groups(self) -> dict[str, str]:
        """The API groups that are served, each with its preferred version. Raises RuntimeTrouble."""
        try:
            answer = self._answer("/apis", "the API groups")
        except TooLarge as error:
            raise self._failed("the API groups", f"{Kind.TOO_LARGE}: {error}") from None
        self.told_at = _date(answer)
        told = self._read(answer, "the API groups")
        versions = (
            (text(one, "name"), text(one, "preferredVersion", "version")) for one in records(told, "groups")
        )
        return {name: version for name, version in versions if name and version}

    def objects(
        self,
        kind: tuple[str, str, str],
        namespace: str | None,
        keep: Callable[[dict[str, Any]], T],
        query: Mapping[str, str] = MappingProxyType({}),
    ) -> list[T]:
        """Every object of a kind (group, version, plural), in one namespace or in all; of each what `keep`
        makes of it, since pods are a hundred times as large as what matters of them.

        A list that expires before its end is begun anew.

        Raises RuntimeTrouble (also for a list that is only a part of itself), Missing.
        """
        group, version, plural = kind
        root = f"/apis/{group}/{version}" if group else f"/api/{version}"
        where = f"/namespaces/{quote(namespace, safe='')}" if namespace else ""
        what = f"{plural}.{group}" if group else plural
        for _ in range(LISTS):
            found = self._pages(f"{root}{where}/{plural}", what, namespace, keep, query)
            if found is not None:
                return found
        raise self._senseless(what, "its list expired again and again before it was read")

    def _pages(
        self,
        path: str,
        what: str,
        namespace: str | None,
        keep: Callable[[dict[str, Any]], T],
        query: Mapping[str, str],
    ) -> list[T] | None:
        """All pages; None where the list expired in between."""
        found: list[T] = []
        follow, size = "", PAGE
        for _ in range(PAGES):
            asked = {**query, "limit": str(size), **({"continue": follow} if follow else {})}
            try:
                answer = self._answer(f"{path}?{urlencode(asked)}", what)
            except TooLarge as error:
                if size == FEWEST:
                    raise self._failed(what, f"{Kind.TOO_LARGE}: {error}") from None
                size = max(FEWEST, size // 4)
                continue
            if answer.status == 410 and follow:
                return None
            if answer.status == 404:
                raise Missing(what)
            told = self._read(answer, what, namespace)
            if not isinstance(told.get("items"), list | None) or "metadata" not in told:
                raise self._senseless(what, "it is no list")
            items = records(told, "items")
            self._count(what, objects=len(items))
            found.extend(map(keep, items))
            follow = text(told, "metadata", "continue")
            if not follow:
                return found
        raise self._senseless(what, f"its list has over {PAGES} pages")

    def _count(self, what: str, *, size: int = 0, objects: int = 0) -> None:
        """Raises RuntimeTrouble for a look that takes more memory than a look may."""
        self._bytes += size
        self._objects += objects
        if self._bytes > self._size or self._objects > OBJECTS:
            limit = f"{self._size >> 20} MiB or {OBJECTS} objects"
            raise self._senseless(
                what, f"there are more than {limit} to be read; `namespaces` of the runtime names fewer"
            )

    # -- one exchange --------------------------------------------------------------------------------------

    def _answer(self, target: str, what: str) -> Answer:
        """Any answer; a busy server is asked once more after the time it names."""
        answer = self._exchange(target, what)
        if answer.status in (429, 503):
            told = answer.headers.get("Retry-After", "")
            seconds = float(told) if told.isascii() and told.isdigit() else 1.0
            if seconds <= min(LONGEST_WAIT, self._ends_at - time.monotonic()):
                time.sleep(seconds)
                answer = self._exchange(target, what)
        return answer

    def _exchange(self, target: str, what: str) -> Answer:
        headers = {"Accept": "application/json", "Accept-Encoding": "gzip"}
        if self._access.token is not None:
            headers["Authorization"] = f"Bearer {self._access.token}"
        limits = http.Limits(
            CONNECT_SECONDS, max(1.0, self._ends_at - time.monotonic()), self._ends_at, ANSWER_LIMIT
        )
        for is_last in (False, True):
            try:
                session = self._line.session(self._access)
                # The one place that asks: GET, whatever the rights of the login would let us do.
                answer = http.send(
                    session, "GET", self._access.server + target, headers=headers, limits=limits
                )
                self._count(what, size=len(answer.body))
                if answer.body.count(b"{") + answer.body.count(b"[") > NODES:
                    raise TooLarge(f"more than the {NODES} parts allowed")
                return answer
            except http.TrustError:
                # Not its words: they name files that are in memory only.
                raise self._failed(
                    what, "its certificate and key, or its authority, cannot be used"
                ) from None
            except TransportError as error:
                if error.kind is Kind.TOO_LARGE:
                    self._count(what, size=ANSWER_LIMIT)
                    raise TooLarge(one_line(error.detail)) from None
                if is_last or error.kind not in DROPPED:
                    raise self._failed(what, f"{error.kind}: {one_line(error.detail)}") from error
        raise AssertionError("the last try returns or raises")

    def _read(self, answer: Answer, what: str, namespace: str | None = None) -> dict[str, Any]:
        """The object of an answer of status 200. Raises RuntimeTrouble for any other."""
        if answer.status != 200:
            raise self._refused(answer, what, namespace)
        try:
            told = json.loads(answer.body)
        except (ValueError, RecursionError):
            told = None
        if not isinstance(told, dict):
            kind = one_line(answer.headers.get("Content-Type") or "no content type", 80)
            raise self._senseless(what, f"it is no JSON but {kind}")
        return told

    def _refused(self, answer: Answer, what: str, namespace: str | None) -> RuntimeTrouble:
        words = self._words(answer)
        runtime, host = self._runtime, self.host
        if answer.status == 401:
            why = reason("cluster/denied", runtime=runtime, host=host, answer=words, login=self._access.login)
            return RuntimeTrouble(why, retry=False)
        if answer.status == 403:
            plural, _, group = what.partition(".")
            rule = f'apiGroups: ["{group}"], resources: ["{plural}"], verbs: ["get", "list", "watch"]'
            where = f"in the namespace {namespace}" if namespace else "in the whole cluster"
            why = reason(
                "cluster/forbidden",
                runtime=runtime,
                host=host,
                what=what,
                where=where,
                rule=rule,
                answer=words,
            )
            return RuntimeTrouble(why, retry=False)
        return self._failed(what, f"HTTP {answer.status}" + (f": {words}" if words else ""))

    def _words(self, answer: Answer) -> str:
        """What the server says, without the token that we showed it."""
        try:
            told = json.loads(answer.body[:16_384])
        except (ValueError, RecursionError):
            return ""
        words = text(told, "message")
        if self._access.token is not None:
            words = words.replace(self._access.token, "***")
        code = number(told, "code")
        return one_line(words) or (f"code {code}" if code else "")

    def _failed(self, what: str, problem: str) -> RuntimeTrouble:
        why = reason("cluster/unreachable", runtime=self._runtime, host=self.host, what=what, problem=problem)
        return RuntimeTrouble(why)

    def _senseless(self, what: str, problem: str) -> RuntimeTrouble:
        why = reason("cluster/answer", runtime=self._runtime, host=self.host, what=what, problem=problem)
        return RuntimeTrouble(why)


def _date(answer: Answer) -> datetime | None:
    try:
        sent = parsedate_to_datetime(answer.headers.get("Date", ""))
        return sent.replace(tzinfo=sent.tzinfo or UTC)
    except (TypeError, ValueError, OverflowError):
        return None
