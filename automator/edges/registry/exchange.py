"""Exchange: one question to a registry, from the place in its queue to a complete answer.

What belongs here: the order of things that every request goes through. A place at the host, the time
limit, the Authorization header, the request, redirects without credentials, one new token after a
401, a few retries, and the error when the answer is a no.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from automator.core.reference import Repository
from automator.edges.http import Answer, Kind, TransportError
from automator.edges.registry import auth, failures
from automator.edges.registry.caller import (
    REDIRECT_LIMIT,
    REDIRECTS,
    Caller,
    Detour,
    paused,
    start,
    went,
    went_wrong,
)
from automator.edges.registry.credentials import Credential, Secret
from automator.edges.registry.hosts import Host, Hosts
from automator.edges.registry.learnt import Warnings
from automator.edges.registry.tokens import TokenDesk
from automator.errors import RegistryError

ATTEMPTS = 3
PAUSES = (0.0, 0.2, 0.4)
"""Seconds before each attempt, and up to 0.2 more before all but the first."""


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
    etag: str = ""
    """Of the answer that is known already: 304 then means that it still holds."""


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
        self._host = host
        self._repository = repository
        self._path = host.path(repository.path)
        """Where the host has the repository: a mirror may put something before."""
        self._tokens = tokens
        self._warnings = warnings
        self._caller = Caller(hosts, host, repository)
        self._desk = TokenDesk(self._caller, host, repository, tokens)
        self._fresh: auth.Token | None = None
        """The token that was fetched in this very call."""
        self._has_answered = False
        """The host itself, in this attempt."""

    def ask(self, question: Question) -> Answer:
        """The answer, its status one of `question.taken`. Raises RegistryError."""
        answer = self._with_retries(question)
        is_own = self._host.owns(answer.url)
        if is_own:
            self._host.budget.heard(question.kind, answer.headers)
        if answer.status in question.taken:
            return answer
        error = failures.refused(
            self._repository, answer, what=question.what, credentials=self._credentials_used()
        )
        if isinstance(error, failures.RateLimited):
            told = error.retry_after
            budget = self._host.budget if is_own else self._host.detour(start(answer.url))
            error.retry_after = budget.limited(question.kind, answer.headers, told)
        raise error

    def _with_retries(self, question: Question) -> Answer:
        """Try again after a broken connection or a 502, 503, 504: twice, 1.3 seconds at the most. A host
        that was not reached before gets one try, as one that tells how long it is out of order."""
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
        budget, kind = self._host.budget, question.kind
        pause = budget.admit(kind, question.method)
        if pause is not None:
            raise paused(self._repository, self._host.name, pause)
        self._has_answered = False
        try:
            answer = self._once(question)
        except TransportError as e:
            if isinstance(e, Detour) or e.kind is Kind.TOO_LARGE:
                self._settle(kind)
            else:
                went_wrong(budget, self._repository.path, e)
            raise
        except BaseException:
            self._settle(kind)
            raise
        if self._host.owns(answer.url):
            went(budget, self._repository.path, kind, answer)
        else:
            budget.answered(kind)
        return answer

    def _settle(self, kind: str) -> None:
        """Nothing came of it, but not by the host's fault."""
        if self._has_answered:
            self._host.budget.answered(kind)
        else:
            self._host.budget.given_up()

    def _once(self, question: Question) -> Answer:
        """Ask; after a 401 learn how to authenticate, or get a new token, and ask once more."""
        url = f"{self._host.url}/v2/{self._path}/{question.path}"
        url += f"?{question.query}" if question.query else ""
        key, token, header = self._authorization(is_first=True)
        answer = self._follow(question, url, header)
        expired = answer.status == 403 and header is not None and failures.says_expired(answer)
        if answer.status != 401 and not expired:
            if header is not None:
                self._host.confirm(self._path)
            return answer
        self._refuse_foreign(question, answer)
        self._drop(key, token)
        if not expired:
            self._learn(answer, url)
        if (
            token is not None
            and token is self._fresh
            and key is not None
            and key[0] == self._host.login(self._path)[0]
        ):
            return answer  # new, and with less access than asked: a no
        if header is not None and self._host.settings.credentials is not None:
            self._host.settings.credentials.forget(self._host.place)  # rotated, perhaps
        key, token, renewed = self._authorization()
        if renewed is None or renewed == header:  # the same again would be refused again
            return answer
        answer = self._follow(question, url, renewed)
        if answer.status == 401:
            self._refuse_foreign(question, answer)
            self._drop(key, token)
        return answer

    def _refuse_foreign(self, question: Question, answer: Answer) -> None:
        """A host that we were redirected to gets no login, and teaches us none."""
        if answer.status == 401 and not self._host.owns(answer.url):
            raise failures.foreign_login(self._repository, question.what, answer)

    # -- authentication -------------------------------------------------------------------------

    def _authorization(
        self, *, is_first: bool = False
    ) -> tuple[auth.TokenKey | None, auth.Token | None, str | None]:
        service, wants_basic = self._host.login(self._path)
        if service is None and not wants_basic:
            return None, None, None
        credential = self._credential()
        if credential is not None and credential.kind is Secret.BEARER:
            return None, None, f"Bearer {credential.secret}"
        if service is None:
            return None, None, None if credential is None else auth.basic(credential)
        key = (service, service.scope(self._path), credential)
        budgets = self._host.budget, self._host.detour(service.realm)
        if is_first and any(budget.is_probing for budget in budgets):
            # Who was down may have moved: the host is asked first, and names the service again.
            token = self._tokens.kept(key)
        else:
            token = self._token(key)
        return key, token, None if token is None else f"Bearer {token.text}"

    def _token(self, key: auth.TokenKey) -> auth.Token | None:
        def fetch() -> auth.Token:
            self._fresh = self._desk.fetch(*key)
            return self._fresh

        try:
            return self._tokens.get(key, fetch)
        except (RegistryError, Detour) as e:
            if self._host.is_guess(self._path):
                return None  # the registry itself says whom to ask
            told = e if isinstance(e, Detour) else failures.retold(e, self._repository)
            if told is e:
                raise
            raise told from e  # it was asked for another image repository

    def _drop(self, key: auth.TokenKey | None, token: auth.Token | None) -> None:
        if key is not None and token is not None:
            self._tokens.drop(key, token)

    def _credential(self) -> Credential | None:
        source = self._host.settings.credentials
        return None if source is None else source.find(self._host.place, self._path)

    def _learn(self, answer: Answer, url: str) -> None:
        """Remember which challenge of a 401 is answered from now on: Bearer if usable, else Basic."""
        challenges = auth.parse_challenges(answer.headers.get("WWW-Authenticate", ""))
        bearers = [c for c in challenges if c.scheme == "bearer"]
        services = [auth.token_service(c, url, self._path) for c in bearers]
        service = next((s for s in services if s is not None), None)
        # A registry token needs no service.
        if service is not None or bearers or any(c.scheme == "basic" for c in challenges):
            self._host.learn(self._path, service)

    def _credentials_used(self) -> str:
        source = self._host.settings.credentials
        return "no credentials" if source is None else source.describe(self._host.place, self._path)

    # -- sending --------------------------------------------------------------------------------

    def _follow(self, question: Question, url: str, authorization: str | None) -> Answer:
        """Send, and follow redirects; credentials end where the scheme, host or port changes."""
        headers = {"Accept": question.accept, **({"If-None-Match": question.etag} if question.etag else {})}
        for _ in range(REDIRECT_LIMIT + 1):
            if self._host.owns(url):
                sent = {**headers, "Authorization": authorization} if authorization else headers
                answer = self._caller.send(question.method, url, sent, question.limit)
                self._has_answered = True
                if "Warning" in answer.headers:
                    self._warnings.hear(self._host.name, answer.headers["Warning"])
            else:
                answer = self._caller.detour(
                    start(url), question.kind, question.method, url, headers, question.limit
                )
            target = answer.headers.get("Location")
            if answer.status not in REDIRECTS or not target:
                return answer
            url = self._caller.redirected(question.what, url, target)
        raise failures.bad_answer(self._repository, question.what, f"more than {REDIRECT_LIMIT} redirects")


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
    return answer.status in failures.PASSING and not failures.asks_to_wait(answer)
