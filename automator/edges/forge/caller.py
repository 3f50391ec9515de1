"""Caller: one question to a forge, one complete answer in JSON, within all bounds.

What belongs here: addresses, heads, redirects, the second try of a question, pages, and answers that are
kept by their ETag. What the answers mean is the clients' business.
"""

from __future__ import annotations

import json
import threading
import time
import zlib
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit

import requests

from automator.edges import http
from automator.edges.forge import failures
from automator.edges.forge.limits import Limits
from automator.edges.forge.login import Login, Shown
from automator.edges.forge.reading import WrongShape
from automator.edges.forge.settings import ForgeSettings
from automator.edges.http import Answer, Kind, TransportError
from automator.errors import ForgeError
from automator.reasons import one_line

ANSWER_LIMIT = 16 * 1024 * 1024
"""Bytes of one answer; comparisons hold whole patches."""
CONNECT_SECONDS = 10.0
CONNECTIONS = 8
PAGES = 30
"""Pages of one listing that are read at the most."""
LEAST_SECRET = 8
"""Characters from which on what we sent is masked in all that comes back."""
LONGEST_KEPT = 4 * 1024 * 1024
KEPT_BYTES = 8 * 1024 * 1024
"""Of answers that are kept by their ETag, packed, all together."""
REDIRECTS = frozenset({301, 302, 307, 308})
DROPPED = frozenset({Kind.UNREACHABLE, Kind.BROKEN})

Query = Mapping[str, str | int] | str


@dataclass(frozen=True, slots=True)
class Told:
    """An answer. `value` is what its JSON says, None where it has no body."""

    status: int
    headers: Mapping[str, str]
    value: Any


@dataclass(frozen=True, slots=True)
class _Kept:
    tag: str
    status: int
    headers: Mapping[str, str]
    packed: bytes


class Caller:
    """Sends the questions for one forge. For several threads.

    `headers` go with each. `has_etags`: answers are kept, and asked for again by their ETag.
    """

    def __init__(
        self,
        settings: ForgeSettings,
        login: Login,
        limits: Limits,
        token_limits: Limits,
        *,
        outside: http.Outside,
        headers: Mapping[str, str],
        has_etags: bool,
    ) -> None:
        self.host = settings.host
        self.address = settings.address
        self.login = login
        self._limits = limits
        # Those of the App itself: it may ask for a token while its installation is to wait, and the reverse.
        self._token_limits = token_limits
        self._headers = headers
        self._has_etags = has_etags
        self._line = Line(settings, outside)
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._kept_bytes = 0
        self._keeping = threading.Lock()

    def close(self) -> None:
        """End the connections that are kept open."""
        self._line.close()

    # -- questions --------------------------------------------------------------------------------------

    def get(self, path: str, query: Query = "", *, what: str) -> Told:
        """What is at `path` below the API's address. Raises ForgeError."""
        url = self._url(path, query)
        with self._keeping:
            kept = self._kept.get(url)
        extra = {"If-None-Match": kept.tag} if kept is not None else {}
        answer = self._asked("GET", url, extra, None, what)
        if answer.status == 304 and kept is not None:
            body = zlib.decompress(kept.packed)
            return self._read(Answer(kept.status, kept.headers, body, url), what)
        told = self._read(answer, what)
        if answer.status == 200:
            self._keep(url, answer)
        return told

    def send(self, method: str, path: str, body: Any = None, *, what: str) -> Told:
        """Change something. It is not tried a second time: nobody knows whether the first one arrived.

        Raises ForgeError.
        """
        url = path if path.startswith(("http://", "https://")) else self._url(path, "")
        content = None if body is None else json.dumps(body).encode()
        return self._read(self._asked(method, url, {}, content, what), what)

    def together(self, changes: int) -> AbstractContextManager[None]:
        """For changes of this thread that belong together: our own pacing lets all of them pass, or none.

        Raises ForgeError (`forge/limited`) before the first.
        """
        return self._limits.together(changes)

    def pages(self, path: str, query: Query, *, what: str, most: int = PAGES) -> Iterator[Told]:
        """What `get` gives, page after page, as long as somebody asks. Raises ForgeError, also where there
        are more pages than are read: a part must never pass for the whole."""
        asked: Query = query
        seen = set()
        for _ in range(most):
            told = self.get(path, asked, what=what)
            yield told
            following = _next_query(told, asked)
            if following is None:
                return
            if following in seen:
                raise failures.senseless(self.host, what, "its pages lead in a circle")
            seen.add(following)
            asked = following
        raise failures.senseless(self.host, what, f"it has over {most} pages")

    def wrong(self, what: str, problem: WrongShape) -> ForgeError:
        return failures.senseless(self.host, what, str(problem))

    # -- one exchange -----------------------------------------------------------------------------------

    def _asked(
        self, method: str, url: str, extra: Mapping[str, str], content: bytes | None, what: str
    ) -> Answer:
        """An answer of status 2xx or 304. Raises ForgeError."""
        shown = self.login.show()
        answer = self._exchange(method, url, extra, content, shown, what)
        if answer.status == 401 and self.login.refused(shown):
            # Nothing was done: the forge did not even know who asked.
            shown = self.login.show()
            answer = self._exchange(method, url, extra, content, shown, what)
        if answer.status in REDIRECTS:
            answer = self._followed(method, url, answer, extra, shown, what)
        if 200 <= answer.status < 300 or answer.status == 304:
            return answer
        raise failures.refused(
            self.host, what, answer, login=self.login.describe(), secrets=shown.secrets,
            is_change=method != "GET",
        )  # fmt: skip

    def _exchange(
        self,
        method: str,
        url: str,
        extra: Mapping[str, str],
        content: bytes | None,
        shown: Shown,
        what: str,
        *,
        limits: Limits | None = None,
    ) -> Answer:
        """Any answer but a refusal for limits' sake, without the secrets that we sent. A question is asked
        anew where the connection broke."""
        limits = self._limits if limits is None else limits
        headers = {**self._headers, **shown.headers, **extra}
        if content is not None:
            headers["Content-Type"] = "application/json"
        is_change = method != "GET"
        for is_last in (False, True):
            limits.admit(is_change=is_change)
            try:
                answer = self._line.send(method, url, headers, content)
            except http.TrustError as e:
                raise failures.unreachable(self.host, what, one_line(e)) from e
            except TransportError as e:
                if is_last or is_change or e.kind not in DROPPED:
                    raise failures.unanswered(self.host, what, e) from e
                continue
            break
        error = limits.heard(answer)
        if error is not None:
            raise error
        return _masked(answer, shown)

    def _followed(
        self, method: str, url: str, answer: Answer, extra: Mapping[str, str], shown: Shown, what: str
    ) -> Answer:
        """The answer of the place to which the forge sends a question, if that is its own."""
        target = answer.headers.get("Location", "")
        try:
            new = urljoin(url, target)
            stays = urlsplit(new)[:2] == urlsplit(url)[:2] and len(new) < 4096
        except ValueError:
            new, stays = "", False
        if method == "GET" and target and stays:
            second = self._exchange("GET", new, extra, None, shown, what)
            if second.status not in REDIRECTS:
                return second
        raise failures.moved(self.host, what, failures.place_of(new) or "nowhere")

    def ask_for_token(self, path: str, headers: dict[str, str]) -> Answer:
        """The forge's answer to an App. Raises ForgeError."""
        what = "give the App a token"
        shown = Shown(headers, tuple(text.rpartition(" ")[2] for text in headers.values()))
        return self._exchange("POST", self._url(path, ""), {}, None, shown, what, limits=self._token_limits)

    def _url(self, path: str, query: Query) -> str:
        asked = query if isinstance(query, str) else urlencode(query)
        return f"{self.address}{path}{'?' + asked if asked else ''}"

    def _read(self, answer: Answer, what: str) -> Told:
        if not answer.body:
            return Told(answer.status, answer.headers, None)
        try:
            value = json.loads(answer.body)
        except (ValueError, RecursionError):
            kind = one_line(answer.headers.get("Content-Type") or "no content type", 80)
            raise failures.senseless(self.host, what, f"it is no JSON but {kind}") from None
        return Told(answer.status, answer.headers, value)

    def _keep(self, url: str, answer: Answer) -> None:
        tag = answer.headers.get("ETag")
        if not self._has_etags or not tag or len(tag) > 200 or len(answer.body) > LONGEST_KEPT:
            return
        packed = zlib.compress(answer.body, 1)
        with self._keeping:
            old = self._kept.pop(url, None)
            self._kept_bytes += len(packed) - (0 if old is None else len(old.packed))
            self._kept[url] = _Kept(tag, answer.status, answer.headers, packed)
            while self._kept_bytes > KEPT_BYTES:
                self._kept_bytes -= len(self._kept.popitem(last=False)[1].packed)


class Line:
    """The connections to a forge. Files of certificates are read again once they changed."""

    def __init__(self, settings: ForgeSettings, outside: http.Outside) -> None:
        self._address = settings.address
        self._seconds = settings.timeout
        self._trust = http.Trust(settings.ca_file, bundle=outside.bundle)
        self._proxy = outside.proxy_for(settings.address)
        self._lock = threading.Lock()
        self._stamp: http.Stamp | None = None
        self._session: requests.Session | None = None

    def send(self, method: str, url: str, headers: Mapping[str, str], content: bytes | None) -> Answer:
        """Raises TransportError, TrustError. The forge is one that the config names: it may be anywhere."""
        limits = http.Limits(
            min(CONNECT_SECONDS, self._seconds), self._seconds, time.monotonic() + self._seconds, ANSWER_LIMIT
        )
        return http.send(self._open(), method, url, headers=headers, limits=limits, data=content)

    def _open(self) -> requests.Session:
        with self._lock:
            stamp = self._trust.stamp()
            if self._session is None or stamp != self._stamp:
                self._session = http.new_session(pool_size=CONNECTIONS, trust=self._trust, proxy=self._proxy)
                self._stamp = stamp
            return self._session

    def close(self) -> None:
        with self._lock:
            if self._session is not None:
                self._session.close()
                self._session = None


def _masked(answer: Answer, shown: Shown) -> Answer:
    """An answer that quotes nothing of what was shown."""
    body = answer.body
    for secret in shown.secrets:
        if len(secret) >= LEAST_SECRET:
            body = body.replace(secret.encode(), b"***")
    return answer if body is answer.body else replace(answer, body=body)


def _next_query(told: Told, asked: Query) -> str | None:
    """The query of the next page, in whichever way the forge tells it; None on the last page.

    Of a link only its query counts, so that no forge can send us and our token elsewhere.
    """
    following = told.headers.get("Link", "")
    for link in requests.utils.parse_header_links(following) if following else ():
        if link.get("rel") == "next":
            return _query_of(str(link.get("url", "")))
    if isinstance(told.value, dict) and isinstance(told.value.get("next"), str):  # Bitbucket
        return _query_of(told.value["next"])
    page = told.headers.get("x-next-page", "")
    if not following and page.isascii() and page.isdigit():  # GitLab
        query = dict(parse_qsl(asked)) if isinstance(asked, str) else dict(asked)
        return urlencode({**query, "page": page})
    return None


def _query_of(url: str) -> str | None:
    try:
        return urlsplit(url).query or None
    except ValueError:
        return None
