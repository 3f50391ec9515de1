"""Exchange: one question to a registry, from the place in its queue to a complete answer.

What belongs here: the order of things that every request goes through. A place at the host, the time
limit, the Authorization header, the request, redirects without credentials, one new token after a
401, a few retries, and the error when the answer is a no.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

import tenacity

from automator.core.reference import Repository
from automator.edges import http
from automator.edges.http import Answer, Kind, TransportError
from automator.edges.registry import auth, failures
from automator.edges.registry.credentials import Credential, Secret
from automator.edges.registry.hosts import Host, Hosts
from automator.errors import RegistryError
from automator.reasons import one_line, reason

REDIRECTS = frozenset({301, 302, 303, 307, 308})
REDIRECT_LIMIT = 5
ATTEMPTS = 3
RETRIED = frozenset({502, 503, 504})
STILL_DOWN = 30.0  # seconds for which a host that was unreachable gets one attempt a call
TOKEN_LIMIT = 1024 * 1024
URL_LIMIT = 8192


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of a registry for one image repository."""

    what: str
    """In words: `its tags`."""
    kind: str
    """`tags`, `manifests` or `blobs`: what a rate limit is kept for."""
    path: str
    """Below `/v2/<repository>/`."""
    query: str = ""
    method: str = "GET"
    accept: str = "application/json"
    limit: int = 1024 * 1024
    """Bytes of body."""
    taken: frozenset[int] = frozenset({200})
    """Statuses that the asker understands; any other is an error."""


class Exchange:
    """A call to one registry: several questions within one place and one time limit."""

    def __init__(self, hosts: Hosts, host: Host, repository: Repository, tokens: auth.TokenCache) -> None:
        self._hosts = hosts
        self._host = host
        self._repository = repository
        self._tokens = tokens
        self._ends_at = time.monotonic() + host.settings.deadline
        self._fresh: auth.Token | None = None
        """The token that was fetched in this very call."""

    def ask(self, question: Question) -> Answer:
        """The answer, its status one of `question.taken`. Raises RegistryError."""
        self._keep_quiet(question)
        answer = self._with_retries(question)
        if answer.status in question.taken:
            return answer
        error = failures.refused(
            self._repository, answer, what=question.what, credentials=self._credentials_used()
        )
        if isinstance(error, failures.RateLimited) and error.retry_after is not None:
            with self._host.lock:
                self._host.quiet_until[question.kind] = time.monotonic() + error.retry_after
        raise error

    def _keep_quiet(self, question: Question) -> None:
        with self._host.lock:
            wait = self._host.quiet_until.get(question.kind, 0.0) - time.monotonic()
        if wait > 0:
            raise failures.RateLimited(self._repository, "not asked, it wanted to be left alone", wait)

    def _with_retries(self, question: Question) -> Answer:
        """Try again after a broken connection or a 502, 503, 504: twice, 1.3 seconds at the most."""
        down = time.monotonic() - self._host.failed_at < STILL_DOWN
        retrying = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(1 if down else ATTEMPTS),
            wait=tenacity.wait_exponential(multiplier=0.2, max=0.6) + tenacity.wait_random(0, 0.2),
            retry=tenacity.retry_if_exception(_is_passing) | tenacity.retry_if_result(_is_passing_answer),
            retry_error_callback=lambda state: state.outcome.result() if state.outcome else None,
        )
        try:
            answer: Answer = retrying(self._once, question)
        except TransportError as e:
            if e.kind is Kind.UNREACHABLE:
                with self._host.lock:
                    self._host.failed_at = time.monotonic()
            raise failures.unanswered(self._repository, e) from e
        return answer

    def _once(self, question: Question) -> Answer:
        """Ask; after a 401 learn how to authenticate, or get a new token, and ask once more."""
        url = f"{self._host.url}/v2/{self._repository.path}/{question.path}"
        url += f"?{question.query}" if question.query else ""
        key, token, header = self._authorization()
        answer = self._follow(question, url, header)
        if answer.status != 401:
            return answer
        self._drop(key, token)
        if token is not None and token is self._fresh:  # new, and with less access than asked: a no
            return answer
        if header is not None and self._host.settings.credentials is not None:
            self._host.settings.credentials.forget(self._host.name)  # rotated, perhaps
        self._learn(answer, url)
        key, token, renewed = self._authorization()
        if renewed is None or renewed == header:  # the same again would be refused again
            return answer
        answer = self._follow(question, url, renewed)
        if answer.status == 401:
            self._drop(key, token)
        return answer

    # -- authentication -------------------------------------------------------------------------

    def _authorization(self) -> tuple[auth.TokenKey | None, auth.Token | None, str | None]:
        with self._host.lock:
            service, basic = self._host.tokens, self._host.basic
        if service is not None:
            credential = self._credential()
            if credential is not None and credential.kind is Secret.BEARER:
                return None, None, f"Bearer {credential.secret}"
            key = (service, service.scope(self._repository.path), credential)
            token = self._tokens.get(key, lambda: self._fetch_token(*key))
            return key, token, f"Bearer {token.text}"
        credential = self._credential() if basic else None
        if credential is None:
            return None, None, None
        if credential.kind is Secret.BEARER:
            return None, None, f"Bearer {credential.secret}"
        return None, None, auth.basic(credential)

    def _drop(self, key: auth.TokenKey | None, token: auth.Token | None) -> None:
        if key is not None and token is not None:
            self._tokens.drop(key, token)

    def _credential(self) -> Credential | None:
        source = self._host.settings.credentials
        return None if source is None else source.find(self._host.name, self._repository.path)

    def _learn(self, answer: Answer, url: str) -> None:
        """Remember which challenge of a 401 is answered from now on: Bearer if usable, else Basic."""
        challenges = auth.parse_challenges(answer.headers.get("WWW-Authenticate", ""))
        bearers = [c for c in challenges if c.scheme == "bearer"]
        services = [auth.token_service(c, url, self._repository.path) for c in bearers]
        usable = [s for s in services if s is not None]
        with self._host.lock:
            self._host.tokens = usable[0] if usable else None
            self._host.basic = not usable and any(c.scheme == "basic" for c in challenges)
            # A registry token needs no service.
            self._host.basic |= not usable and bool(bearers)

    def _fetch_token(
        self, service: auth.TokenService, scope: str, credential: Credential | None
    ) -> auth.Token:
        if not service.realm.startswith("https://") and not self._host.settings.insecure:
            problem = "it is not https, and the registry is not declared insecure"
            raise failures.token_refused(self._repository, service.realm, problem, retry=False)
        wanted = auth.token_request(service, scope, credential)
        answer = self._send(wanted.method, wanted.url, wanted.headers, TOKEN_LIMIT, wanted.form)
        if answer.status == 200:
            token = auth.read_token(answer, time.monotonic())
            if token is None:
                problem = "its answer holds no token"
                raise failures.token_refused(self._repository, service.realm, problem, retry=True)
            self._fresh = token
            return token
        if answer.status in (401, 403, 429):
            raise failures.refused(
                self._repository, answer, what="a token", credentials=self._credentials_used()
            )
        raise failures.token_refused(
            self._repository, service.realm, failures.told(answer), retry=answer.status >= 500
        )

    def _credentials_used(self) -> str:
        source = self._host.settings.credentials
        return "no credentials" if source is None else source.describe(self._host.name)

    # -- sending --------------------------------------------------------------------------------

    def _follow(self, question: Question, url: str, authorization: str | None) -> Answer:
        """Send, and follow redirects; credentials end where the scheme, host or port changes."""
        headers = {"Accept": question.accept}
        origin = urlsplit(url)[:2]
        for _ in range(REDIRECT_LIMIT + 1):
            stays = urlsplit(url)[:2] == origin
            sent = {**headers, "Authorization": authorization} if authorization and stays else headers
            answer = self._send(question.method, url, sent, question.limit)
            target = answer.headers.get("Location")
            if answer.status not in REDIRECTS or not target:
                return answer
            url = self._redirected(question, url, target)
        raise failures.bad_answer(self._repository, question.what, f"more than {REDIRECT_LIMIT} redirects")

    def _redirected(self, question: Question, url: str, target: str) -> str:
        try:
            new = urljoin(url, target)
            parts = urlsplit(new)
            plain = parts.scheme == "http" and parts.hostname is not None
        except ValueError:
            raise failures.bad_answer(
                self._repository, question.what, "a redirect that is no address"
            ) from None
        declared = self._hosts.declared(parts.netloc)
        stays = parts.netloc == urlsplit(self._host.url).netloc and self._host.settings.insecure
        permitted = plain and (stays or (declared is not None and declared.insecure))
        secure = parts.scheme == "https" and parts.hostname is not None
        if not (secure or permitted) or "@" in parts.netloc or len(new) > URL_LIMIT:
            place = one_line(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}", 80)
            problem = f"a redirect to {place}, which is not https, or too long"
            raise failures.bad_answer(self._repository, question.what, problem)
        return new

    def _send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        limit: int,
        form: Mapping[str, str] | None = None,
    ) -> Answer:
        parts = urlsplit(url)
        settings = self._host.settings
        try:
            session = self._hosts.session(self._host, url)
        except OSError as e:
            raise RegistryError(
                reason(
                    "registry/tls",
                    repository=self._repository,
                    host=self._host.name,
                    problem=f"ca_file {settings.ca_file}: {e.strerror or e}",
                ),
                retry=False,
            ) from e
        self._hosts.count(self._host)
        return http.send(
            session,
            method,
            url,
            headers=headers,
            limits=http.Limits(settings.connect_timeout, settings.read_timeout, self._ends_at, limit),
            allowed=self._hosts.address_rule(self._host, parts.netloc, parts.hostname),
            data=form,
        )


@contextmanager
def call(hosts: Hosts, repository: Repository, tokens: auth.TokenCache) -> Iterator[Exchange]:
    """A place at the repository's host, for one call. Its time limit begins when the place is had."""
    host = hosts.get(repository.registry)
    with host.places:
        yield Exchange(hosts, host, repository, tokens)


def _is_passing(error: BaseException) -> bool:
    return isinstance(error, TransportError) and error.kind in (Kind.UNREACHABLE, Kind.BROKEN)


def _is_passing_answer(answer: Answer) -> bool:
    return answer.status in RETRIED
