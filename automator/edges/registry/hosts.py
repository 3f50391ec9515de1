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
from automator.edges.registry.budget import Budget, Standing
from automator.edges.registry.credentials import CredentialSource, normal_host
from automator.edges.registry.lanes import Lane, Timer

SESSION_LIMIT = 256
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
"""How a host is reached that nobody declared: TLS only, public addresses only, no credentials."""


class Host:
    """One registry host: its settings and what was learnt. Its attributes change under `lock`."""

    def __init__(self, name: str, settings: HostSettings, clock: Callable[[], float], timer: Timer) -> None:
        self.name = name
        self.settings = settings
        scheme = "http" if settings.insecure else "https"
        self.url = f"{scheme}://{_place(name, settings)}"
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
        """It asked for Basic before."""
        self.tokens: TokenService | None = None
        """Its token service, once it named one."""
        self.services: dict[str, TokenService] = {}
        """First part of a path -> the token service there, where that is another one."""
        self.asks_pages = True
        """It has not refused `n=`."""

    def may_call(self, hostname: str | None) -> http.AddressRule:
        """The addresses that a request for this registry to `hostname` may go to.

        A declared host itself may be anywhere. What it refers us to (token service, storage) may be
        on its private network, but not on this machine nor link-local, where cloud metadata lives.
        """
        if not self.settings.declared:
            return http.is_global
        if hostname is not None and hostname == urlsplit(self.url).hostname:
            return lambda _: True
        return http.is_elsewhere

    def path(self, path: str) -> str:
        """The path at which this host has the image repository `path`."""
        return f"{self.settings.prefix}/{path}" if self.settings.prefix else path


class Way(NamedTuple):
    """How a place is called on behalf of a host."""

    session: requests.Session
    allowed: http.AddressRule
    trust: http.Trust
    stamp: object
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
        self._places = {_place(name, s): s for name, s in self._settings.items() if s.declared}
        self._outside = outside
        self._lock = threading.Lock()
        self._hosts: dict[str, Host] = {}
        self._ways: dict[tuple[str, str, bool], Way] = {}
        self._sessions: dict[tuple[str, http.Trust], requests.Session] = {}
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

    def declared(self, netloc: str) -> HostSettings | None:
        """The settings of the place at `netloc` if the operator declared it."""
        return self._places.get(netloc.lower())

    def way(self, host: Host, url: str, *, token: bool = False) -> Way:
        """How to call the place of `url` on behalf of `host`; `token`: it is the host's token service.

        Files of certificates are read again once they changed. Raises http.TrustError.
        """
        origin = "/".join(url.split("/", 3)[:3])
        way = self._ways.get((host.name, origin, token))
        if way is not None and (not way.trust.files or way.stamp == way.trust.stamp()):
            return way
        with self._lock:
            return self._open(host, origin, token=token)

    def _open(self, host: Host, origin: str, *, token: bool) -> Way:
        parts = urlsplit(origin)
        declared = self.declared(parts.netloc)
        settings = host.settings if declared is None else declared
        own = declared is not None  # a certificate is shown to the place alone that it is for
        trust = http.Trust(
            ca_file=settings.ca_file,
            verify=settings.verify_tls or not (own or token),
            cert_file=settings.client_cert_file if own else None,
            key_file=settings.client_key_file if own else None,
            bundle=self._outside.bundle,
        )
        old = self._ways.get((host.name, origin, token))
        stamp = trust.stamp()
        session = self._sessions.get((origin, trust))
        if session is None or (old is not None and old.session is session):  # its files changed
            if len(self._sessions) >= SESSION_LIMIT:  # redirects can name any number of places
                self._sessions.pop(next(iter(self._sessions))).close()
                self._ways.clear()
            proxy = self._outside.proxy_for(origin)
            needed = parts.scheme == "https" or proxy is not None
            session = self._sessions[(origin, trust)] = http.new_session(
                pool_size=max(1, host.settings.concurrency), trust=trust if needed else None, proxy=proxy
            )
        rule = (lambda _: True) if own else host.may_call(parts.hostname)
        way = self._ways[(host.name, origin, token)] = Way(session, rule, trust, stamp)
        return way

    def counted(self) -> dict[str, int]:
        """Requests so far for each host."""
        with self._lock:
            return {name: sent for name, host in self._hosts.items() if (sent := host.budget.sent)}

    def standings(self) -> tuple[Standing, ...]:
        """How each host stands that was asked for."""
        with self._lock:
            hosts = tuple(self._hosts.values())
        return tuple(host.budget.standing(host.lane.queued) for host in hosts)

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


def _place(name: str, settings: HostSettings) -> str:
    """The host and port that are called for `name`."""
    if settings.address is not None:
        name = settings.address
    return HUB_API if normal_host(name) == "docker.io" else name.lower()
