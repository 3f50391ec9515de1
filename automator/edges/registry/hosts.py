"""Hosts: how each registry host is reached, and what has been learnt about it.

What belongs here: the settings of a host (mapped from the config by `app`) and its live state: one
session kept open, its places, its authentication, whether it asked us to be quiet.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import requests

from automator.edges import http
from automator.edges.registry.auth import TokenService
from automator.edges.registry.credentials import CredentialSource, normal_host

SESSION_LIMIT = 256
HUB_API = "registry-1.docker.io"
Proxies = Callable[[str], Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class HostSettings:
    """How one registry host is reached. Times in seconds."""

    credentials: CredentialSource | None = None
    insecure: bool = False
    """Plain HTTP, for this host and its token service."""
    ca_file: str | None = None
    """Certificates trusted beside the usual ones."""
    concurrency: int = 8
    """Calls at a time."""
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

    def __init__(self, name: str, settings: HostSettings) -> None:
        self.name = name
        self.settings = settings
        scheme = "http" if settings.insecure else "https"
        self.url = f"{scheme}://{HUB_API if normal_host(name) == 'docker.io' else name}"
        self.lock = threading.Lock()
        self.places = threading.BoundedSemaphore(max(1, settings.concurrency))
        self.basic = False
        """It asked for Basic before."""
        self.tokens: TokenService | None = None
        """Its token service, once it named one."""
        self.asks_pages = True
        """It has not refused `n=`."""
        self.quiet_until: dict[str, float] = {}
        """Kind of call -> `time.monotonic()` before which it wants no more (429 with Retry-After)."""
        self.failed_at = float("-inf")
        """When it was last unreachable."""

    def may_call(self, hostname: str | None) -> http.AddressRule:
        """The addresses that a request for this registry to `hostname` may go to.

        A declared host itself may be anywhere. What it refers us to (token service, storage) may be
        on its private network, but not on this machine nor link-local, where cloud metadata lives.
        """
        if not self.settings.declared:
            return http.is_global
        if hostname is not None and hostname == urlsplit(self.url).hostname:
            return lambda _: True
        return lambda a: not (a.is_loopback or a.is_link_local or a.is_multicast or a.is_unspecified)


class Hosts:
    """All hosts that were asked for, declared or not, with their sessions and request counts."""

    def __init__(
        self, settings: Mapping[str, HostSettings], proxies: Proxies, default: HostSettings = UNDECLARED
    ) -> None:
        self._default = default
        self._settings = {normal_host(name): s for name, s in settings.items()}
        self._proxies = proxies
        self._lock = threading.Lock()
        self._hosts: dict[str, Host] = {}
        self._sessions: dict[tuple[str, str | None], requests.Session] = {}
        self._requests: Counter[str] = Counter()

    def get(self, registry: str) -> Host:
        name = normal_host(registry)
        with self._lock:
            if name not in self._hosts:
                self._hosts[name] = Host(name, self._settings.get(name, self._default))
            return self._hosts[name]

    def declared(self, netloc: str) -> HostSettings | None:
        """The settings of the host at `netloc` if the operator declared it."""
        settings = self._settings.get(normal_host(netloc))
        return settings if settings is not None and settings.declared else None

    def address_rule(self, host: Host, netloc: str, hostname: str | None) -> http.AddressRule:
        return (lambda _: True) if self.declared(netloc) is not None else host.may_call(hostname)

    def session(self, host: Host, url: str) -> requests.Session:
        """The one session for the place `url` is at, on behalf of `host`.

        Raises OSError when the host's `ca_file` cannot be read.
        """
        parts = urlsplit(url)
        declared = self.declared(parts.netloc)
        ca_file = declared.ca_file if declared is not None else host.settings.ca_file
        key = (f"{parts.scheme}://{parts.netloc}", ca_file)
        with self._lock:
            if key not in self._sessions:
                if len(self._sessions) >= SESSION_LIMIT:  # redirects can name any number of places
                    self._sessions.pop(next(iter(self._sessions))).close()
                self._sessions[key] = http.new_session(
                    pool_size=max(1, host.settings.concurrency), ca_file=ca_file, proxies=self._proxies(url)
                )
            return self._sessions[key]

    def count(self, host: Host) -> None:
        with self._lock:
            self._requests[host.name] += 1

    def counted(self) -> dict[str, int]:
        with self._lock:
            return dict(self._requests)

    def close(self) -> None:
        with self._lock:
            for session in self._sessions.values():
                session.close()
            self._sessions.clear()
