"""Exchange: one question to a registry, from the place in its queue to a complete answer.

What belongs here: the order of things that every request goes through. A place at the host, the time
limit, the Authorization header, the request, redirects without credentials, one new token after a
401, a few retries, and the error when the answer is a no.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

from automator.core.reference import Repository
from automator.edges import http
from automator.edges.http import Answer, Kind, TransportError
from automator.edges.registry import auth, failures
from automator.edges.registry.budget import HostResting
from automator.edges.registry.credentials import Credential, Secret
from automator.edges.registry.hosts import Host, Hosts
from automator.edges.registry.learnt import Warnings
from automator.errors import RegistryError
from automator.reasons import one_line

REDIRECTS = frozenset({301, 302, 303, 307, 308})
REDIRECT_LIMIT = 5
ATTEMPTS = 3
PAUSES = (0.0, 0.2, 0.4)
"""Seconds before each attempt, and up to 0.2 more before all but the first."""
RETRIED = frozenset({502, 503, 504})
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

    def __init__(
        self,
        hosts: Hosts,
        host: Host,
        repository: Repository,
        tokens: auth.TokenCache,
        warnings: Warnings,
    ) -> None:
        self._hosts = hosts
        self._host = host
        self._repository = repository
        self._path = host.path(repository.path)
        """Where the host has the repository: a mirror may put something before."""
        self._tokens = tokens
        self._warnings = warnings
        self._ends_at = time.monotonic() + host.settings.deadline
        self._namespace = self._path.partition("/")[0]
        self._asked_service: auth.TokenService | None = None
        """The service that was asked for a token and has not given one."""
        self._fresh: auth.Token | None = None
        """The token that was fetched in this very call."""

    def ask(self, question: Question) -> Answer:
        """The answer, its status one of `question.taken`. Raises RegistryError."""
        try:
            answer = self._with_retries(question)
        except RegistryError as e:
            self._unlearn(e)
            raise
        self._host.budget.heard(question.kind, answer.headers)
        if answer.status in question.taken:
            return answer
        error = failures.refused(
            self._repository, answer, what=question.what, credentials=self._credentials_used()
        )
        if isinstance(error, failures.RateLimited):
            told = error.retry_after
            error.retry_after = self._host.budget.limited(question.kind, answer.headers, told)
        raise error

    def _with_retries(self, question: Question) -> Answer:
        """Try again after a broken connection or a 502, 503, 504: twice, 1.3 seconds at the most. A host
        that was not reached before gets one try."""
        budget, answer, error = self._host.budget, None, None
        tries = 1 if budget.is_failing() else ATTEMPTS
        for pause in PAUSES[:tries]:
            if pause:
                time.sleep(pause + random.uniform(0, 0.2))  # noqa: S311 - not a secret
            try:
                answer, error = self._attempt(question), None
            except TransportError as e:
                answer, error = None, e
            if not (_is_passing(error) if answer is None else _is_passing_answer(answer)):
                break
        if answer is None:
            assert error is not None
            raise failures.unanswered(self._repository, error) from error
        return answer

    def _attempt(self, question: Question) -> Answer:
        """Ask once, if the host may be asked, and take down how it went."""
        budget, kind, repository = self._host.budget, question.kind, self._repository
        pause = budget.admit(kind, question.method)
        if pause is not None:
            if pause.is_down:
                raise HostResting(repository, self._host.name, pause.problem, pause.seconds)
            raise failures.RateLimited(repository, pause.problem, pause.seconds)
        try:
            answer = self._once(question)
        except TransportError as e:
            if e.kind in (Kind.ADDRESS, Kind.TOO_LARGE):  # our own no
                budget.given_up()
            else:
                # Blobs are elsewhere, often; and what is slow or breaks off may be one repository.
                of_host = e.kind not in (Kind.TIMEOUT, Kind.BROKEN) and kind != "blobs"
                budget.failed(repository.path, f"{e.kind}: {e.detail}", of_host=of_host)
            raise
        except BaseException:
            budget.given_up()
            raise
        if answer.status >= 500 or answer.status == 408:
            budget.failed(repository.path, f"HTTP {answer.status}", of_host=False)
        else:
            budget.answered(kind, is_refusal=answer.status == 429)
        return answer

    def _once(self, question: Question) -> Answer:
        """Ask; after a 401 learn how to authenticate, or get a new token, and ask once more."""
        url = f"{self._host.url}/v2/{self._path}/{question.path}"
        url += f"?{question.query}" if question.query else ""
        key, token, header = self._authorization()
        answer = self._follow(question, url, header)
        expired = answer.status == 403 and header is not None and failures.says_expired(answer)
        if answer.status != 401 and not expired:
            return answer
        self._refuse_foreign(question, answer, url)
        self._drop(key, token)
        if not expired:
            self._learn(answer, url)
        if token is not None and token is self._fresh and key is not None and key[0] == self._service():
            return answer  # new, and with less access than asked: a no
        if header is not None and self._host.settings.credentials is not None:
            self._host.settings.credentials.forget(self._host.place)  # rotated, perhaps
        key, token, renewed = self._authorization()
        if renewed is None or renewed == header:  # the same again would be refused again
            return answer
        answer = self._follow(question, url, renewed)
        if answer.status == 401:
            self._refuse_foreign(question, answer, url)
            self._drop(key, token)
        return answer

    def _refuse_foreign(self, question: Question, answer: Answer, url: str) -> None:
        """A host that we were redirected to gets no login, and teaches us none."""
        if answer.status == 401 and urlsplit(answer.url)[:2] != urlsplit(url)[:2]:
            raise failures.foreign_login(self._repository, question.what, answer)

    # -- authentication -------------------------------------------------------------------------

    def _authorization(self) -> tuple[auth.TokenKey | None, auth.Token | None, str | None]:
        service = self._service()
        if service is not None:
            credential = self._credential()
            if credential is not None and credential.kind is Secret.BEARER:
                return None, None, f"Bearer {credential.secret}"
            key = (service, service.scope(self._path), credential)
            self._asked_service = service
            token = self._tokens.get(key, lambda: self._fetch_token(*key))
            self._asked_service = None
            return key, token, f"Bearer {token.text}"
        credential = self._credential() if self._host.basic else None
        if credential is None:
            return None, None, None
        if credential.kind is Secret.BEARER:
            return None, None, f"Bearer {credential.secret}"
        return None, None, auth.basic(credential)

    def _service(self) -> auth.TokenService | None:
        with self._host.lock:
            return self._host.services.get(self._namespace, self._host.tokens)

    def _drop(self, key: auth.TokenKey | None, token: auth.Token | None) -> None:
        if key is not None and token is not None:
            self._tokens.drop(key, token)

    def _credential(self) -> Credential | None:
        source = self._host.settings.credentials
        return None if source is None else source.find(self._host.place, self._path)

    def _learn(self, answer: Answer, url: str) -> None:
        """Remember which challenge of a 401 is answered from now on: Bearer if usable, else Basic.

        The first service counts for the whole host; another one for the first part of the path, since
        some hosts have a token service for each of their repositories (JFrog).
        """
        challenges = auth.parse_challenges(answer.headers.get("WWW-Authenticate", ""))
        bearers = [c for c in challenges if c.scheme == "bearer"]
        services = [auth.token_service(c, url, self._path) for c in bearers]
        service = next((s for s in services if s is not None), None)
        if not challenges:
            return
        with self._host.lock:
            if service is None or self._host.tokens is None:
                self._host.tokens = service
                self._host.services.clear()
            elif service != self._host.tokens:
                self._host.services[self._namespace] = service
            else:
                self._host.services.pop(self._namespace, None)
            # A registry token needs no service.
            basic = bool(bearers) or any(c.scheme == "basic" for c in challenges)
            self._host.basic = service is None and basic

    def _unlearn(self, error: RegistryError) -> None:
        """A token service that cannot be had may have moved: the registry's next challenge tells. One
        that said no is still there."""
        service, self._asked_service = self._asked_service, None
        if service is None or error.reason.code in ("registry/denied", "registry/rate-limited"):
            return
        with self._host.lock:
            if self._host.tokens == service:
                self._host.tokens = None
            self._host.services = {n: s for n, s in self._host.services.items() if s != service}

    def _fetch_token(
        self, service: auth.TokenService, scope: str, credential: Credential | None
    ) -> auth.Token:
        if not service.realm.startswith("https://") and not self._host.settings.insecure:
            problem = "it is not https, and the registry is not declared insecure"
            raise failures.token_refused(self._repository, service.realm, problem, retry=False)
        answer = self._granted(service, scope, credential)
        if answer.status == 200:
            token = auth.read_token(answer, time.monotonic())
            if token is None:
                problem = "its answer holds no token"
                raise failures.token_refused(self._repository, service.realm, problem, retry=True)
            self._fresh = token
            return token
        if answer.status in (401, 403, 429):
            used = self._credentials_used()
            if answer.status != 429 and self._host.settings.credentials is not None:
                self._host.settings.credentials.forget(self._host.place)  # for the next call
            raise failures.refused(self._repository, answer, what="a token", credentials=used)
        raise failures.token_refused(
            self._repository, service.realm, failures.told(answer), retry=answer.status >= 500
        )

    def _granted(self, service: auth.TokenService, scope: str, credential: Credential | None) -> Answer:
        """The token service's answer; one that knows no OAuth POST is asked by GET, as the docs allow."""
        wanted = auth.token_request(service, scope, credential, oauth=self._tokens.takes_post(service.realm))
        answer = self._ask_service(service, wanted)
        if wanted.method == "POST" and answer.status in (401, 404, 405):
            if answer.status != 401:
                self._tokens.refuses_post(service.realm)
            answer = self._ask_service(service, auth.token_request(service, scope, credential, oauth=False))
        return answer

    def _ask_service(self, service: auth.TokenService, wanted: auth.TokenRequest) -> Answer:
        """Send, and follow redirects; with credentials only within the same scheme, host and port."""
        url, question = wanted.url, Question("a token", "tokens", "")
        for _ in range(REDIRECT_LIMIT + 1):
            answer = self._send(wanted.method, url, wanted.headers, TOKEN_LIMIT, wanted.form, token=True)
            target = answer.headers.get("Location")
            if answer.status not in REDIRECTS or not target:
                return answer
            new = self._redirected(question, url, target)
            leaves = urlsplit(new)[:2] != urlsplit(url)[:2]
            if wanted.form is not None or (leaves and wanted.headers):
                place = one_line(urlsplit(new).netloc, 80)
                problem = f"it redirects to {place}, where the credentials do not belong"
                raise failures.token_refused(self._repository, service.realm, problem, retry=False)
            url = new
        problem = f"more than {REDIRECT_LIMIT} redirects"
        raise failures.token_refused(self._repository, service.realm, problem, retry=True)

    def _credentials_used(self) -> str:
        source = self._host.settings.credentials
        return "no credentials" if source is None else source.describe(self._host.place, self._path)

    # -- sending --------------------------------------------------------------------------------

    def _follow(self, question: Question, url: str, authorization: str | None) -> Answer:
        """Send, and follow redirects; credentials end where the scheme, host or port changes."""
        headers = {"Accept": question.accept}
        origin = urlsplit(url)[:2]
        for _ in range(REDIRECT_LIMIT + 1):
            stays = urlsplit(url)[:2] == origin
            sent = {**headers, "Authorization": authorization} if authorization and stays else headers
            answer = self._send(question.method, url, sent, question.limit)
            if stays and "Warning" in answer.headers:
                self._warnings.hear(self._host.name, answer.headers["Warning"])
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
        *,
        token: bool = False,
    ) -> Answer:
        settings = self._host.settings
        try:
            way = self._hosts.way(self._host, url, token=token)
        except http.TrustError as e:
            raise failures.no_trust(self._repository, self._host.place, str(e)) from e
        self._host.budget.spend()
        answer = http.send(
            way.session,
            method,
            url,
            headers=headers,
            limits=http.Limits(settings.connect_timeout, settings.read_timeout, self._ends_at, limit),
            allowed=way.allowed,
            data=form,
        )
        misdirected = failures.misdirected(answer)
        if misdirected is not None:
            raise misdirected
        return answer


@contextmanager
def call(
    hosts: Hosts, repository: Repository, tokens: auth.TokenCache, warnings: Warnings
) -> Iterator[Exchange]:
    """A place at the repository's host, for one call. Its time limit begins when the place is had."""
    host = hosts.get(repository.registry)
    with host.places:
        yield Exchange(hosts, host, repository, tokens, warnings)


def _is_passing(error: TransportError | None) -> bool:
    return error is not None and error.kind in (Kind.UNREACHABLE, Kind.BROKEN)


def _is_passing_answer(answer: Answer) -> bool:
    return answer.status in RETRIED
