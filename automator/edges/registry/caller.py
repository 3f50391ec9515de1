"""Caller: one request on behalf of a registry host, counted for the place that it goes to.

What belongs here: how a place is called, the end of the call's time, which redirects may be followed,
and whose outage it is where no answer comes: the host's, or that of a place to which the host sent us.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from urllib.parse import urljoin, urlsplit

from automator.core.reference import Repository
from automator.edges import http
from automator.edges.http import Answer, Kind, TransportError
from automator.edges.registry import failures
from automator.edges.registry.budget import Budget, HostResting, Pause
from automator.edges.registry.hosts import Host, Hosts, origin
from automator.errors import RegistryError
from automator.reasons import one_line

REDIRECTS = frozenset({301, 302, 303, 307, 308})
REDIRECT_LIMIT = 5
URL_LIMIT = 8192


class Detour(TransportError):
    """No answer from a place that the host sent us to: no fault of the host's."""


class Caller:
    """The requests of one call, which ends at `ends_at` (`time.monotonic()`)."""

    def __init__(self, hosts: Hosts, host: Host, repository: Repository) -> None:
        self._hosts = hosts
        self._host = host
        self._repository = repository
        self.ends_at = time.monotonic() + host.settings.deadline

    def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        limit: int,
        form: Mapping[str, str] | None = None,
        *,
        token: bool = False,
    ) -> Answer:
        """The answer of the host itself, which the asker counts. Raises TransportError, RegistryError."""
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
            limits=http.Limits(settings.connect_timeout, settings.read_timeout, self.ends_at, limit),
            allowed=way.allowed,
            data=form,
        )
        misdirected = failures.misdirected(answer)
        if misdirected is not None:
            raise misdirected
        return answer

    def detour(
        self,
        key: str,
        kind: str,
        method: str,
        url: str,
        headers: Mapping[str, str],
        limit: int,
        form: Mapping[str, str] | None = None,
        *,
        token: bool = False,
    ) -> Answer:
        """The answer of a place that the host sent us to, which has limits and outages of its own, kept
        by `key`. Raises Detour, RegistryError; TransportError where the host's own place is not to be had.
        """
        place, path = self._host.detour(key), self._repository.path
        pause = place.admit(kind, method)
        if pause is not None:
            raise paused(self._repository, one_line(urlsplit(key).netloc, 80), pause)
        try:
            answer = self.send(method, url, headers, limit, form, token=token)
        except TransportError as e:
            went_wrong(place, path, e)
            if self._host.owns(url):
                raise
            raise Detour(e.kind, e.detail, e.host, e.cause) from e
        except BaseException:
            place.given_up()
            raise
        went(place, path, kind, answer)
        place.heard(kind, answer.headers)
        return answer

    def redirected(self, what: str, url: str, target: str) -> str:
        """Where the redirect from `url` leads. Raises RegistryError where nobody should go."""
        host = self._host
        try:
            new = urljoin(url, target)
            parts = urlsplit(new)
            declared = self._hosts.declared(new) if host.settings.declared else None
            stays = parts.port != 0 and host.owns(new)
        except ValueError:
            raise failures.bad_answer(self._repository, what, "a redirect that is no address") from None
        plain = parts.scheme == "http" and (
            (stays and host.settings.insecure) or (declared is not None and declared.insecure)
        )
        permitted = (plain or parts.scheme == "https") and parts.hostname is not None
        if not permitted or "@" in parts.netloc or len(new) > URL_LIMIT:
            place = one_line(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}", 80)
            problem = f"a redirect to {place}, which is not https, or too long"
            raise failures.bad_answer(self._repository, what, problem)
        return new


def start(url: str) -> str:
    """Scheme, host and port of `url`, as the key of a place."""
    scheme, name, port = origin(url)
    return f"{scheme}://{name}:{port}"


def paused(repository: Repository, place: str, pause: Pause) -> RegistryError:
    """The error for a question that is not asked now."""
    if pause.is_down:
        return HostResting(repository, place, pause.problem, pause.seconds)
    return failures.RateLimited(repository, f"{place}: {pause.problem}", pause.seconds)


def went(budget: Budget, path: str, kind: str, answer: Answer) -> None:
    """Take down an answer; an outage whose end is told is an answer, too."""
    is_refusal = failures.asks_to_wait(answer)
    if not is_refusal and (answer.status >= 500 or answer.status == 408):
        budget.failed(path, f"HTTP {answer.status}", of_host=False)
    else:
        budget.answered(kind, is_refusal=is_refusal, repository="" if is_refusal else path)


def went_wrong(budget: Budget, path: str, error: TransportError) -> None:
    """Take down that no answer came. What is slow or breaks off may be one repository."""
    if error.kind in (Kind.ADDRESS, Kind.TOO_LARGE):  # our own no
        budget.given_up()
    else:
        of_host = error.kind not in (Kind.TIMEOUT, Kind.BROKEN)
        budget.failed(path, f"{error.kind}: {error.detail}", of_host=of_host)
