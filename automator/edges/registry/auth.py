"""Authentication: what a registry's challenge asks for, and the token that answers it.

What belongs here: parsing WWW-Authenticate (RFC 9110 section 11), scopes, and the token cache. The
token service's protocol is distribution's `docs/content/spec/auth/{token,oauth,scope}.md`.
A token is opaque, lives in memory only, and is never logged.
"""

from __future__ import annotations

import base64
import json
import math
import re
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urldefrag, urlencode, urljoin, urlsplit

from automator.edges.http import Answer
from automator.edges.registry.credentials import TOKEN_USER, Credential, Secret

CLIENT_ID = "automator"
DEFAULT_LIFE = 60.0  # seconds, where the service does not say (token.md)
LONGEST_LIFE = 24 * 3600.0
RENEW_AT = 0.8  # of a token's life
WITHOUT_POST = 3600.0
"""Seconds for which a service that refused the POST is believed."""
CHALLENGE_LIMIT = 16 * 1024
"""Characters of a WWW-Authenticate header that are read."""
REALM_LIMIT = 4096
SCOPE_LIMIT = 1000
TOKEN_LIMIT = 64 * 1024  # characters; more fits into no header

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - RFC 9110's word for a word
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_PARAMETER = re.compile(rf"({_TOKEN})\s*=\s*({_QUOTED}|{_TOKEN})\s*(?=,|$)")
_SCHEME = re.compile(rf"({_TOKEN})(?:\s+(?!=)|\s*(?=,|$))")
_TOKEN68 = re.compile(r"([A-Za-z0-9._~+/-]+=*)\s*(?=,|$)")


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way to authenticate that a server offers; names in lower case."""

    scheme: str
    params: tuple[tuple[str, str], ...] = ()

    def get(self, name: str) -> str | None:
        return dict(self.params).get(name)


def parse_challenges(header: str) -> tuple[Challenge, ...]:
    """The challenges of a WWW-Authenticate header, several lines of which are joined by commas.

    What cannot be read ends the list, as `CHALLENGE_LIMIT` does; what was read before it counts.
    """
    header = header[:CHALLENGE_LIMIT]
    found: list[tuple[str, list[tuple[str, str]]]] = []
    at = 0
    while at < len(header):
        if header[at] in ", \t":
            at += 1
        elif found and (match := _PARAMETER.match(header, at)):
            found[-1][1].append((match[1].lower(), _unquoted(match[2])))
            at = match.end()
        elif match := _SCHEME.match(header, at):
            found.append((match[1].lower(), []))
            at = match.end()
            word = _TOKEN68.match(header, at)
            # `Negotiate, Basic`: a comma follows, so the next word is a scheme of its own
            if word and header[at - 1] in " \t":
                found[-1][1].append(("token68", word[1]))
                at = word.end()
        else:
            break
    return tuple(Challenge(scheme, tuple(params)) for scheme, params in found)


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1]) if text.startswith('"') else text


@dataclass(frozen=True, slots=True)
class TokenService:
    """Where tokens for a registry come from, as its challenge said."""

    realm: str
    service: str | None
    scope_prefix: str = ""
    """What the registry puts before a repository's path in scopes (a mirror's own folder)."""
    fixed_scope: str | None = None
    """A scope that names no repository: `aws`, `*`."""

    def scope(self, path: str) -> str:
        return self.fixed_scope or f"repository:{self.scope_prefix}{path}:pull"


def token_service(challenge: Challenge, request_url: str, path: str) -> TokenService | None:
    """The service a bearer challenge for repository `path` names; None without a usable realm.

    Only `pull` is ever asked for, whatever the challenge wants.
    """
    named = challenge.get("realm") or ""
    try:
        realm = urldefrag(urljoin(request_url, named)).url
        parts = urlsplit(realm)
        usable = parts.scheme in ("https", "http") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # `https://[x/token`, `https://x:port/token`
        return None
    if not named or not usable or len(realm) > REALM_LIMIT or parts.username or parts.password:
        return None
    scope = (challenge.get("scope") or "").strip()
    service = challenge.get("service")
    if scope.startswith("repository:"):
        name = scope.split(" ")[0].removeprefix("repository:").rpartition(":")[0]
        prefix = name.removesuffix(path) if name.endswith(f"/{path}") else ""
        return TokenService(realm, service, scope_prefix=prefix)
    if scope and len(scope) <= SCOPE_LIMIT:
        return TokenService(realm, service, fixed_scope=scope)
    return TokenService(realm, service)


def basic(credential: Credential) -> str:
    """The Authorization header of RFC 7617, in UTF-8."""
    pair = f"{credential.username}:{credential.secret}".encode()
    return "Basic " + base64.b64encode(pair).decode("ascii")


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """How to ask for a token: a GET with Basic, or the POST of oauth.md for an identity token."""

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    form: Mapping[str, str] | None = field(repr=False)


def token_request(
    service: TokenService, scope: str, credential: Credential | None, *, oauth: bool = True
) -> TokenRequest:
    """What to send to `service` for a token of `scope`; without credential an anonymous one.

    Without `oauth` the identity token of a named user is sent as a password. One without a user is good
    for the POST alone.
    """
    is_identity = credential is not None and credential.kind is Secret.IDENTITY
    if credential is not None and is_identity and (oauth or not is_named(credential)):
        form = {
            "grant_type": "refresh_token",
            "client_id": CLIENT_ID,
            "scope": scope,
            "refresh_token": credential.secret,
        }
        if service.service is not None:
            form["service"] = service.service
        return TokenRequest("POST", service.realm, {}, form)
    query = [("scope", scope), ("client_id", CLIENT_ID)]
    if service.service is not None:
        query.insert(0, ("service", service.service))
    if credential is not None:
        query.append(("account", credential.username))
    joint = "&" if urlsplit(service.realm).query else "?"
    headers = {} if credential is None else {"Authorization": basic(credential)}
    return TokenRequest("GET", service.realm + joint + urlencode(query), headers, None)


def is_named(credential: Credential) -> bool:
    """Whether the user name is a user's, not Docker's mark for an identity token."""
    return credential.username not in ("", TOKEN_USER)


@dataclass(frozen=True, slots=True)
class Token:
    """A bearer token and the `time.monotonic()` value from which it should be renewed."""

    text: str = field(repr=False)
    renew_at: float


def read_token(answer: Answer, now: float) -> Token | None:
    """The token in a token service's answer; None where there is none that fits into a header."""
    try:
        body = json.loads(answer.body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(body, dict):
        return None
    text = body.get("token") or body.get("access_token")
    if not isinstance(text, str) or not text.isascii() or not text.isprintable() or len(text) > TOKEN_LIMIT:
        return None
    return Token(text, now + RENEW_AT * _life(body, answer))


def _life(body: Mapping[str, object], answer: Answer) -> float:
    """Seconds for which a token still counts, by the service's own clock alone (token.md: `expires_in`
    counts from `issued_at`, so a token that was kept there is older than its answer)."""
    told = body.get("expires_in")
    if isinstance(told, str) and told.isascii() and told.isdigit():
        told = int(told[:9])
    life = float(min(told, LONGEST_LIFE)) if isinstance(told, int | float) and told > 0 else DEFAULT_LIFE
    try:
        issued = datetime.fromisoformat(str(body.get("issued_at")))
        sent = parsedate_to_datetime(answer.headers.get("Date", ""))
        age = (sent - issued.replace(tzinfo=issued.tzinfo or UTC)).total_seconds()
    except (TypeError, ValueError, OverflowError):
        return life
    return life - age if 0 < age < life else life


TokenKey = tuple[TokenService, str, Credential | None]


class TokenCache:
    """Tokens by (service, scope, credential); one request at a time for each. `clock` is monotonic."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._tokens: dict[TokenKey, Token] = {}
        self._fetching: dict[TokenKey, Future[Token]] = {}
        self._without_post: dict[str, float] = {}

    def get(self, key: TokenKey, fetch: Callable[[], Token]) -> Token:
        """The token kept for `key`, else the one that `fetch` brings. Its errors pass through, to all
        who waited for it."""
        with self._lock:
            kept = self._kept(key)
            if kept is not None:
                return kept
            flight = self._fetching.get(key)
            if flight is None:
                mine = self._fetching[key] = Future()
        if flight is not None:
            return flight.result()
        try:
            token = fetch()
        except BaseException as e:
            with self._lock:
                del self._fetching[key]
            mine.set_exception(e)
            raise
        with self._lock:
            self._drop_expired()
            self._tokens[key] = token
            del self._fetching[key]
        mine.set_result(token)
        return token

    def kept(self, key: TokenKey) -> Token | None:
        """The token kept for `key`, if there is one that need not be renewed."""
        with self._lock:
            return self._kept(key)

    def _kept(self, key: TokenKey) -> Token | None:
        token = self._tokens.get(key)
        return token if token is not None and time.monotonic() < token.renew_at else None

    def drop(self, key: TokenKey, token: Token) -> None:
        """Forget `token` if it is still the one kept for `key`: the registry refused it."""
        with self._lock:
            if self._tokens.get(key) is token:
                del self._tokens[key]

    def takes_post(self, realm: str) -> bool:
        """Whether a service may know the POST of oauth.md."""
        with self._lock:
            return self._clock() >= self._without_post.get(realm, -math.inf)

    def refuses_post(self, realm: str) -> None:
        """It said that it does not; that counts for a while."""
        with self._lock:
            self._without_post[realm] = self._clock() + WITHOUT_POST

    def _drop_expired(self) -> None:
        now = time.monotonic()
        for key in [k for k, token in self._tokens.items() if token.renew_at <= now]:
            del self._tokens[key]
