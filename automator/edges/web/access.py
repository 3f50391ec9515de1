"""Access: who may ask API and dashboard, and whose request may have an effect.

With a token file: whoever brings a token, or the session that a token began. Without one: this very machine.
The file is read at each use. A session is a signed cookie that says when it ends: nothing is remembered
here, and with the token that it began with it is over.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from starlette.requests import Request

from automator.edges.web.parties import is_loopback, is_loopback_name, party
from automator.edges.web.problem import Problem
from automator.edges.web.rates import Rates
from automator.edges.web.tokenfile import UnusableTokens, read_tokens
from automator.reasons import Reason, one_line, reason

SESSION_SECONDS = 12 * 3600
"""How long a session lasts: a working day."""
FAILURES, FAILURE_PAUSE = 10, 6.0
"""Failed attempts of a client at once, and the seconds after which it has one more."""
FORWARDED = frozenset(
    (
        *("forwarded", "via", "cdn-loop", "client-ip", "true-client-ip", "fastly-client-ip", "x-real-ip"),
        *("x-client-ip", "x-cluster-client-ip", "x-original-forwarded-for", "x-original-host"),
        *("x-original-url", "x-proxyuser-ip", "x-scheme", "x-amzn-trace-id"),
    )
)
FORWARDED_BEGIN = ("x-forwarded", "cf-", "x-envoy-", "x-azure-", "x-appengine-", "x-goog-")
"""Headers that proxies add, and what their names begin with: then the connection says nothing of who asks."""
_COOKIE, _SECURE_COOKIE = "automator-session", "__Host-automator-session"


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who asks, once that is known; pages find it as `request.state.visitor`."""

    how: Literal["token", "session", "loopback"]
    form_token: str = ""
    """To be sent along, as the hidden field `form_token`, by every form of a page."""


def _nobody(_why: Reason, _client: str) -> None:
    """Nobody wants to know."""


class Access:
    """Decides who is let in. For several threads at once.

    `refused` is told why, and to which client, whenever somebody is not.
    """

    def __init__(
        self,
        token_file: str | None,
        *,
        public_url: str | None = None,
        refused: Callable[[Reason, str], None] = _nobody,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`public_url` is the origin under which people reach us by a proxy."""
        self._token_file = token_file
        self._public = None if public_url is None else urlsplit(public_url)
        self._refused = refused
        self._clock = clock
        self._failures = Rates(FAILURES, FAILURE_PAUSE, monotonic)
        self._own_secret = secrets.token_bytes(32)

    @property
    def needs_token(self) -> bool:
        """Whether a token is asked for, so that people have to sign in."""
        return self._token_file is not None

    # -- who asks ----------------------------------------------------------------------------------

    def visitor(self, request: Request) -> Visitor:
        """Who asks. Raises Problem for who may not; reads the token file, so not for the event loop."""
        client = party(request.client.host if request.client is not None else "")
        try:
            if self._token_file is None:
                self._require_loopback(request)
                return Visitor("loopback", _signed(self._own_secret, "form"))
            return self._known_by_token(request, client, self._tokens())
        except Problem as problem:
            self._refused(problem.reason, client)
            raise

    def _known_by_token(self, request: Request, client: str, tokens: tuple[bytes, ...]) -> Visitor:
        told = request.headers.get("authorization")
        if told is not None:
            scheme, _, word = told.partition(" ")
            if scheme.lower() != "bearer":
                raise _asked_for_token(reason("web/no-token"))
            self._require_token(word.strip(), client, tokens)
            return Visitor("token")
        session = request.cookies.get(_SECURE_COOKIE) or request.cookies.get(_COOKIE)
        if session is None:
            raise _asked_for_token(reason("web/no-token"))
        token = self._token_of(session, tokens)
        if token is None:
            raise _asked_for_token(reason("web/session-over"))
        return Visitor("session", _signed(token, "form", session))

    def _require_token(self, word: str, client: str, tokens: tuple[bytes, ...]) -> bytes:
        """The token that a word is. A client that failed too often is not even listened to."""
        wait = self._failures.wait(client)
        if wait:
            raise too_many("attempts with a wrong token", wait)
        found = None
        asked = hashlib.sha256(word.encode("utf-8", "surrogateescape")).digest()
        for token in tokens:  # all of them: the time must not tell which one was nearly met
            if hmac.compare_digest(asked, hashlib.sha256(token).digest()):
                found = token
        if found is None:
            self._failures.take(client)
            raise _asked_for_token(reason("web/bad-token"))
        return found

    def _tokens(self) -> tuple[bytes, ...]:
        assert self._token_file is not None
        try:
            return read_tokens(self._token_file)
        except UnusableTokens as unusable:
            raise Problem(503, reason("web/token-file", problem=unusable)) from None

    def _require_loopback(self, request: Request) -> None:
        names = request.headers.keys()
        proxied = next((n for n in names if n in FORWARDED or n.startswith(FORWARDED_BEGIN)), None)
        host = request.headers.get("host", "")
        if proxied is not None:
            why = f"the header {one_line(proxied, 60)} tells of a proxy"
        elif request.scope.get("http_version") not in ("1.1", "2"):
            # So does a proxy ask that was told nothing else; no browser has for long.
            why = "HTTP/1.0 is what a proxy speaks"
        elif request.client is None or not is_loopback(request.client.host):
            why = "this came from another one"
        elif not is_loopback_name(host):
            why = f"the header Host is {host or 'missing'}"
        else:
            return
        raise Problem(403, reason("web/loopback-only", why=why))

    # -- sessions ----------------------------------------------------------------------------------

    def has_session(self, request: Request) -> bool:
        """Whether a browser is signed in already; reads the token file, so not for the event loop."""
        session = request.cookies.get(_SECURE_COOKIE) or request.cookies.get(_COOKIE)
        try:
            return session is not None and self._token_of(session, self._tokens()) is not None
        except Problem:
            return False

    def sign_in(self, request: Request, word: str) -> str:
        """The cookie of a new session, as a Set-Cookie header. Raises Problem where `word` is no token."""
        client = party(request.client.host if request.client is not None else "")
        try:
            if self._token_file is None:
                self._require_loopback(request)
                return self.sign_out(request)
            token = self._require_token(word, client, self._tokens())
        except Problem as problem:
            self._refused(problem.reason, client)
            raise
        ends = math.floor(self._clock()) + SESSION_SECONDS
        said = f"{ends}.{secrets.token_urlsafe(16)}"
        return self._cookie(request, f"{said}.{_signed(token, 'session', said)}", SESSION_SECONDS)

    def sign_out(self, request: Request) -> str:
        """The Set-Cookie header that has a browser forget its session."""
        return self._cookie(request, "", 0)

    def _cookie(self, request: Request, value: str, seconds: int) -> str:
        # Not Strict: a link in a chat must find its reader signed in. Lax is sent with no other site's forms,
        # and what is only asked for has no effect.
        secure = self._is_https(request)
        name = _SECURE_COOKIE if secure else _COOKIE
        rest = "; Secure" if secure else ""
        return f"{name}={value}; Max-Age={seconds}; Path=/; HttpOnly; SameSite=Lax{rest}"

    def _is_https(self, request: Request) -> bool:
        # The header is anybody's claim: it can only make the claimant's own cookie stricter.
        told = request.headers.get("x-forwarded-proto", "").partition(",")[0].strip().lower()
        return told == "https" or (self._public is not None and self._public.scheme == "https")

    def _token_of(self, session: str, tokens: tuple[bytes, ...]) -> bytes | None:
        """The token that a session began with; None where it is over, or not ours."""
        said, _, signature = session.rpartition(".")
        ends = said.partition(".")[0]
        if not session.isascii() or not ends.isdecimal() or len(session) > 200:
            return None
        # Later than any session of ours ends: the clock was set back.
        if not self._clock() < int(ends) <= self._clock() + 2 * SESSION_SECONDS:
            return None
        for token in tokens:
            if hmac.compare_digest(_signed(token, "session", said), signature):
                return token
        return None

    # -- effects -----------------------------------------------------------------------------------

    def require_own_page(self, request: Request, form_token: str = "") -> None:
        """Raises Problem for a request with an effect that another site's page may have sent, on behalf of
        somebody who is let in."""
        visitor: Visitor = request.state.visitor
        if visitor.how == "token" or self._is_own_page(request, visitor, form_token):
            return
        why = reason("web/strange-origin")
        self._refused(why, party(request.client.host if request.client is not None else ""))
        raise Problem(403, why)

    def _is_own_page(self, request: Request, visitor: Visitor, form_token: str) -> bool:
        site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
        if site not in (None, "same-origin", "none"):
            return False
        if origin not in (None, "null") and not self._is_own_origin(request, origin or ""):
            return False
        if form_token:
            told = form_token.encode("utf-8", "surrogateescape")
            return hmac.compare_digest(told, visitor.form_token.encode())
        if origin == "null":
            return False
        # No browser leaves both away where the page is another site's: this is a program.
        return site == "same-origin" or origin is not None or visitor.how == "loopback"

    def _is_own_origin(self, request: Request, origin: str) -> bool:
        try:
            told = urlsplit(origin)
        except ValueError:
            return False
        if self._public is not None and (told.scheme, told.netloc.lower()) == (
            self._public.scheme,
            self._public.netloc.lower(),
        ):
            return True
        host = request.headers.get("host", "").lower()
        return told.scheme in ("http", "https") and bool(host) and told.netloc.lower() == host


def too_many(what: str, wait: float) -> Problem:
    """The answer to who does something too often; `wait` in seconds."""
    seconds = str(max(1, math.ceil(wait)))
    return Problem(429, reason("web/too-many", what=what, seconds=seconds), {"Retry-After": seconds})


def _asked_for_token(why: Reason) -> Problem:
    return Problem(401, why, {"WWW-Authenticate": 'Bearer realm="automator"'})


def _signed(secret: bytes, *words: str) -> str:
    key = hmac.digest(secret, b"automator " + words[0].encode(), "sha256")
    return hmac.digest(key, "\0".join(words).encode(), "sha256").hex()
