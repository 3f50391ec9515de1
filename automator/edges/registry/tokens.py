"""Tokens: a token service is asked for a token, with the login of its registry.

What belongs here: when the form of oauth.md is sent and when a GET, where the login may go, and what
becomes of each answer. A service has limits and outages of its own, apart from the registry's.
"""

from __future__ import annotations

import time
from urllib.parse import urlsplit

from automator.core.reference import Repository
from automator.edges.http import Answer, Kind, TransportError
from automator.edges.registry import auth, failures
from automator.edges.registry.budget import HostResting
from automator.edges.registry.caller import REDIRECT_LIMIT, REDIRECTS, Caller
from automator.edges.registry.credentials import Credential
from automator.edges.registry.hosts import Host, origin
from automator.errors import RegistryError
from automator.reasons import one_line

KIND = "token"
BODY_LIMIT = 1024 * 1024


class TokenDesk:
    """The token services of a host, asked on behalf of one image repository."""

    def __init__(self, caller: Caller, host: Host, repository: Repository, tokens: auth.TokenCache) -> None:
        self._caller = caller
        self._host = host
        self._repository = repository
        self._tokens = tokens

    def fetch(self, service: auth.TokenService, scope: str, credential: Credential | None) -> auth.Token:
        """A new token. Raises RegistryError, TransportError.

        A service that is not there, or gives something else, may have moved: it is forgotten, and the
        registry's next challenge tells. One that said no, or is out of order, is still there.
        """
        if not service.realm.startswith("https://") and not self._host.settings.insecure:
            self._host.unlearn(service)
            problem = "it is not https, and the registry is not declared insecure"
            raise failures.token_refused(self._repository, service.realm, problem, retry=False)
        try:
            answer = self._granted(service, scope, credential)
        except TransportError as e:
            if e.kind not in (Kind.TIMEOUT, Kind.BROKEN):
                self._host.unlearn(service)
            raise
        except (HostResting, failures.RateLimited):
            raise
        except RegistryError:
            self._host.unlearn(service)
            raise
        if answer.status == 200:
            token = auth.read_token(answer, time.monotonic())
            if token is None:
                self._host.unlearn(service)
                problem = "its answer holds no token"
                raise failures.token_refused(self._repository, service.realm, problem, retry=True)
            return token
        if answer.status in (401, 403) or failures.asks_to_wait(answer):
            raise self._refused(service, answer)
        if answer.status < 500:
            self._host.unlearn(service)
        raise failures.token_refused(
            self._repository, service.realm, failures.told(answer), retry=answer.status >= 500
        )

    def _refused(self, service: auth.TokenService, answer: Answer) -> Exception:
        source = self._host.settings.credentials
        used = "no credentials"
        if source is not None:
            used = source.describe(self._host.place, self._host.path(self._repository.path))
            if answer.status in (401, 403):
                source.forget(self._host.place)  # for the next call
        error = failures.refused(self._repository, answer, what="a token", credentials=used)
        if isinstance(error, failures.RateLimited):
            budget = self._host.detour(service.realm)
            error.retry_after = budget.limited(KIND, answer.headers, error.retry_after)
        return error

    def _granted(self, service: auth.TokenService, scope: str, credential: Credential | None) -> Answer:
        """The token service's answer; one that knows no OAuth POST is asked by GET, as the docs allow."""
        wanted = auth.token_request(service, scope, credential, oauth=self._tokens.takes_post(service.realm))
        answer = self._ask(service, wanted)
        if wanted.method == "POST" and answer.status in (401, 404, 405):
            other = auth.token_request(service, scope, credential, oauth=False)
            if other.method == "GET":
                if answer.status != 401:
                    self._tokens.refuses_post(service.realm)
                answer = self._ask(service, other)
        return answer

    def _ask(self, service: auth.TokenService, wanted: auth.TokenRequest) -> Answer:
        """Send, and follow redirects; with credentials only within the same scheme, host and port."""
        url = wanted.url
        for _ in range(REDIRECT_LIMIT + 1):
            answer = self._caller.detour(
                service.realm, KIND, wanted.method, url, wanted.headers, BODY_LIMIT, wanted.form, token=True
            )
            target = answer.headers.get("Location")
            if answer.status not in REDIRECTS or not target:
                return answer
            new = self._caller.redirected("a token", url, target)
            leaves = origin(new) != origin(url)
            if wanted.form is not None or (leaves and wanted.headers):
                place = one_line(urlsplit(new).netloc, 80)
                problem = f"it redirects to {place}, where the credentials do not belong"
                raise failures.token_refused(self._repository, service.realm, problem, retry=False)
            url = new
        problem = f"more than {REDIRECT_LIMIT} redirects"
        raise failures.token_refused(self._repository, service.realm, problem, retry=True)
