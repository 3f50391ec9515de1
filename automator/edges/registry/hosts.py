"""Hosts: how each registry host is reached, and what has been learnt about it.

What belongs here: the settings of a host (mapped from the config by `app`) and its live state: one
session kept open, its places, its authentication, whether it asked us to be quiet.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import urlsplit

import requests

from automator.edges import http
from automator.edges.registry.auth import TokenService
from automator.edges.registry.budget import Breaker, Budget, Standing
from automator.edges.registry.credentials import CredentialSource, normal_host
from automator.edges.registry.lanes import Lane, Timer

SESSION_LIMIT = 256
DETOUR_LIMIT = 64
"""Places remembered to which one host sends us."""
PORTS = {"http": 80, "https": 443}
Origin = tuple[str, str, int | None]
HUB_API = "registry-1.docker.io"


@dataclass(frozen=True, slots=True)
class HostSettings:
    """How one registry host is reached. Times in seconds."""

    credentials: CredentialSource | None = None
    insecure: bool = False
    """Plain HTTP, for this host and its token service."""
    verify_tls: bool = True
    """False accepts any certificate of this host and its token service."""
    ca_file: str | None = None
    """Certificates trusted beside the usual ones."""
    client_cert_file: str | None = None
    """Certificate that we show to this host, and to no other."""
    client_key_file: str | None = None
    """Its private key, where that is not in the same file."""
    address: str | None = None
    """The mirror that is called instead of this host: its name, with `:port` where needed."""
    prefix: str = ""
    """Path that the mirror puts before every repository, without `/` at its ends."""
    concurrency: int = 8
    """Calls at a time."""
    requests_per_second: float = 20.0
    """Requests, over some seconds."""
    connect_timeout: float = 5.0
    read_timeout: float = 15.0
    """For each wait on the network."""
    deadline: float = 60.0
    """For a whole call, its token, pages, redirects and retries; waiting for a place apart."""
    declared: bool = True
    """The operator named this host, so it may be on a private or loopback address."""


UNDECLARED = HostSettings(declared=False)
"""How a host is reached that nobody declared: TLS only, public addresses only."""


class Host:
    """One registry host: its settings and what was learnt. Its attributes change under `lock`."""

    def __init__(self, name: str, settings: HostSettings, clock: Callable[[], float], timer: Timer) -> None:
        self.name = name
        self.settings = settings
        self.url = _url(name, settings)
        self.origin = origin(self.url)
        self.place = name if settings.address is None else normal_host(settings.address)
        """Whom credentials are for: the mirror's name, where there is one."""
        self.lock = threading.Lock()
        concurrency = max(1, settings.concurrency)
        self.places = threading.BoundedSemaphore(concurrency)
        self.budget = Budget(name, settings.requests_per_second, concurrency, clock)
        """What may be sent to it."""
        self.lane = Lane(name, self.budget, concurrency, timer)
        """Where calls wait for their turn."""
        self.basic = False
        """It asked for Basic before it named a token service."""
        self.tokens: TokenService | None = None
        """Its token service, if it named that first."""
        self._services: dict[str, TokenService | None] = {}
        """Path, or its first part -> the token service there, or None for Basic, where that is different."""
        self._known: set[str] = set()
        """First parts of paths at which the login was asked for, or good: elsewhere it is a guess."""
        self._clock = clock
        self._detours: dict[str, Budget] = {}

    def owns(self, url: str) -> bool:
        """Whether `url` is at the host's own place."""
        return origin(url) == self.origin

    def may_call(self, hostname: str | None, *, is_declared: bool) -> http.AddressRule:
        """The addresses that a request for this registry to `hostname` may go to.

        A declared host itself may be anywhere, as another one to which it refers us. Whatever else it
        refers us to (token service, storage) may be on its private network, but not on this machine nor
        link-local, where cloud metadata lives. A host that nobody declared leads nowhere but outside.
        """
        if not self.settings.declared:
            return http.is_global
        if is_declared or (hostname is not None and hostname == urlsplit(self.url).hostname):
            return lambda _: True
        return http.is_elsewhere

    def detour(self, key: str) -> Budget:
        """What may be sent to a place that the host sends us to, a token service or a storage: its
        limits and its outages are not the host's."""
        with self.lock:
            if key not in self._detours:
                if len(self._detours) >= DETOUR_LIMIT:
                    del self._detours[next(iter(self._detours))]
                settings = self.settings
                name = urlsplit(key).netloc
                self._detours[key] = Budget(
                    name, settings.requests_per_second, max(1, settings.concurrency), self._clock
                )
            return self._detours[key]

    def standing(self) -> Standing:
        """How it stands, with the token services that it named."""
        own = self.budget.standing(self.lane.queued)
        with self.lock:
            named = {s.realm for s in (self.tokens, *self._services.values()) if s is not None}
            services = {realm: b.standing() for realm, b in self._detours.items() if realm in named}
            first = None if self.tokens is None or self._services else services.get(self.tokens.realm)
        own = own._replace(wait=max([own.wait, *(s.wait for s in services.values())]))
        if first is None or own.breaker is not Breaker.CLOSED:
            return own
        problem = f"{first.host}: {first.problem}" if first.problem else ""
        return own._replace(breaker=first.breaker, problem=problem)

    # -- how it wants to be asked ----------------------------------------------------------------

    def login(self, path: str) -> tuple[TokenService | None, bool]:
        """The token service for the repository at `path`, or None and whether Basic is asked for."""
        with self.lock:
            for place in (path, path.partition("/")[0]):
                if place in self._services:
                    return self._services[place], self._services[place] is None
            return self.tokens, self.basic

    def is_guess(self, path: str) -> bool:
        """Whether `login` is what other paths taught, and nobody asked for it at this one."""
        with self.lock:
            return path.partition("/")[0] not in self._known

    def confirm(self, path: str) -> None:
        """What `login` says of `path` was good."""
        with self.lock:
            self._known.add(path.partition("/")[0])

    def learn(self, path: str, service: TokenService | None) -> None:
        """It asked for a token of `service`, or for Basic, at `path`.

        What is learnt first counts for the whole host; what is different, for the first part of the
        path, since some hosts have a token service for each of their registries (JFrog); and what is
        different within that, for the one path.
        """
        learnt = (service, service is None)
        namespace = path.partition("/")[0]
        with self.lock:
            if self.tokens is None and not self.basic:
                self.tokens, self.basic = learnt
            self._services.pop(path, None)
            self._known.add(namespace)
        if self.login(path) != learnt:
            with self.lock:
                self._services[path if namespace in self._services else namespace] = service

    def unlearn(self, service: TokenService) -> None:
        """The service is not there any more: the next challenge tells where it went."""
        with self.lock:
            if self.tokens == service:
                self.tokens = None
            self._services = {place: s for place, s in self._services.items() if s != service}

    def path(self, path: str) -> str:
        """The path at which this host has the image repository `path`."""
        return f"{self.settings.prefix}/{path}" if self.settings.prefix else path


class Way(NamedTuple):
    """How a place is called on behalf of a host."""

    session: requests.Session
    allowed: http.AddressRule
    trust: http.Trust
    stamp: http.Stamp
    """Of the files of `trust` when they were read."""


class Hosts:
    """All hosts that were asked for, declared or not, with their sessions and request counts."""

    def __init__(
        self,
        settings: Mapping[str, HostSettings],
        outside: http.Outside,
        default: HostSettings = UNDECLARED,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._default = default
        self._settings = {normal_host(name): s for name, s in settings.items()}
        self._places = {origin(_url(name, s))[1:]: s for name, s in self._settings.items() if s.declared}
        self._outside = outside
        self._lock = threading.Lock()
        self._hosts: dict[str, Host] = {}
        self._ways: dict[tuple[str, str, bool], Way] = {}
        self._sessions: dict[tuple[str, http.Trust, http.Stamp], requests.Session] = {}
        self._clock = clock
        self._timer = Timer()

    def get(self, registry: str) -> Host:
        name = normal_host(registry)
        with self._lock:
            if name not in self._hosts:
                self._hosts[name] = Host(
                    name, self._settings.get(name, self._default), self._clock, self._timer
                )
            return self._hosts[name]

    def declared(self, url: str) -> HostSettings | None:
        """The settings of the place of `url` if the operator declared it."""
        return self._places.get(origin(url)[1:])

    def way(self, host: Host, url: str, *, token: bool = False) -> Way:
        """How to call the place of `url` on behalf of `host`; `token`: it is the host's token service.

        Files of certificates are read again once they changed. Raises http.TrustError.
        """
        start = "/".join(url.partition("?")[0].split("/", 3)[:3])
        way = self._ways.get((host.name, start, token))
        if way is not None and (not way.trust.files or way.stamp == way.trust.stamp()):
            return way
        with self._lock:
            return self._open(host, start, token=token)

    def _open(self, host: Host, start: str, *, token: bool) -> Way:
        parts = urlsplit(start)
        declared = self.declared(start)
        settings = host.settings if declared is None else declared
        # Shown to the place alone that it is for, and only where that is what we are asking.
        own = declared is not None and host.owns(start)
        trust = http.Trust(
            ca_file=settings.ca_file,
            verify=settings.verify_tls or (declared is None and not token),
            cert_file=settings.client_cert_file if own else None,
            key_file=settings.client_key_file if own else None,
            bundle=self._outside.bundle,
        )
        stamp = trust.stamp()
        session = self._sessions.get((start, trust, stamp))
        if session is None:
            for outdated in [key for key in self._sessions if key[:2] == (start, trust)]:
                self._sessions.pop(outdated).close()  # its files changed
            if len(self._sessions) >= SESSION_LIMIT:  # redirects can name any number of places
                self._sessions.pop(next(iter(self._sessions))).close()
                self._ways.clear()
            proxy = self._outside.proxy_for(start)
            needed = parts.scheme == "https" or proxy is not None
            session = self._sessions[(start, trust, stamp)] = http.new_session(
                pool_size=max(1, host.settings.concurrency), trust=trust if needed else None, proxy=proxy
            )
        rule = host.may_call(parts.hostname, is_declared=declared is not None)
        way = self._ways[(host.name, start, token)] = Way(session, rule, trust, stamp)
        return way

    def counted(self) -> dict[str, int]:
        """Requests so far for each host."""
        with self._lock:
            return {name: sent for name, host in self._hosts.items() if (sent := host.budget.sent)}

    def standings(self) -> tuple[Standing, ...]:
        """How each host stands that was asked for."""
        with self._lock:
            hosts = tuple(self._hosts.values())
        return tuple(host.standing() for host in hosts)

    def close(self) -> None:
        """Ask nobody any more."""
        self._timer.close()
        with self._lock:
            for host in self._hosts.values():
                host.lane.close()
            for session in self._sessions.values():
                session.close()
            self._sessions.clear()
            self._ways.clear()


def origin(url: str) -> Origin:
    """Scheme, host and port of `url`, however they are written; of what is no address, itself."""
    try:
        parts = urlsplit(url)
        port = PORTS.get(parts.scheme) if parts.port is None else parts.port
    except ValueError:
        return "", url, None
    return parts.scheme, parts.hostname or "", port


def _url(name: str, settings: HostSettings) -> str:
    return f"{'http' if settings.insecure else 'https'}://{_place(name, settings)}"


def _place(name: str, settings: HostSettings) -> str:
    """The host and port that are called for `name`."""
    if settings.address is not None:
        name = settings.address
    return HUB_API if normal_host(name) == "docker.io" else name.lower()
