"""Sessions: connections kept open to one place, with its proxy, its trust and its address rule.

What belongs here: `requests` sessions whose adapter knows, besides, the short way to a connection pool of
urllib3: what requests prepares anew for each request costs more than the request.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import time
from typing import Any, NamedTuple

import requests
import requests.adapters
import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NameResolutionError,
    NewConnectionError,
    ProxyError,
)

from automator.edges.http.addresses import Address, AddressError, literal
from automator.edges.http.names import Late, look_up
from automator.edges.http.trouble import NotHttp
from automator.edges.http.trust import Trust, tls_context
from automator.edges.http.watchdog import current

PLACES = 8
"""Origins that one session may call; it is meant for one."""
_URL = re.compile(r"(https?)://([^/\\?#@\s]+)([/?][^#]*)?(?:#.*)?", re.IGNORECASE)
_PORTS = {"http": 80, "https": 443}


def new_session(
    *,
    pool_size: int = 8,
    trust: Trust | None = None,
    proxy: str | None = None,
    socket_path: str | None = None,
) -> requests.Session:
    """A session for one host, to be kept: it holds up to `pool_size` connections open.

    `proxy` is the one by which this host is called; `socket_path` a socket of this machine that is called
    instead of every host. Used through `send` it keeps no cookies, and threads
    may share it. Raises TrustError when a file of `trust` cannot be used; without `trust` the usual
    certificates count, and are not read before they are needed.
    """
    session = requests.Session()
    # With trust_env a matching ~/.netrc entry would replace our Authorization header, on redirects too.
    session.trust_env = False
    session.proxies = {} if proxy is None else {"all": proxy}
    session.headers.clear()
    adapter = BoundedAdapter(pool_size, trust, proxy, socket_path)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


class Route(NamedTuple):
    """How an origin is called."""

    pool: HTTPConnectionPool
    absolute: str
    """What a proxy wants before the target: `http://host`; else empty."""
    literal: Address | None
    """The address that stands in the URL itself, where a proxy hides the one that is connected."""


def split(url: str) -> tuple[str, str, str]:
    """Scheme, host with port, and target of `url`. Raises NotHttp, also for a user in it."""
    match = _URL.fullmatch(url)
    if match is None:
        raise NotHttp("that is no http address")
    target = match[3] or ""
    return match[1].lower(), match[2], target if target.startswith("/") else f"/{target}"


class BoundedAdapter(requests.adapters.HTTPAdapter):
    """Connections that obey the exchange they serve."""

    def __init__(
        self, pool_size: int, trust: Trust | None, proxy: str | None, socket_path: str | None = None
    ) -> None:
        self._tls = None if trust is None else tls_context(trust)
        self._proxy_trust = Trust(bundle=None if trust is None else trust.bundle)
        self._proxy = proxy
        self._socket_path = socket_path
        self.proxy = None if proxy is None else proxy.split("://", 1)[-1].rpartition("@")[2].rstrip("/")
        """The proxy's host, to be told: its user and password are not."""
        self._routes: dict[tuple[str, str], Route] = {}
        super().__init__(pool_connections=PLACES, pool_maxsize=pool_size)

    def route(self, scheme: str, netloc: str) -> Route:
        """The way to `netloc`, found once. Raises NotHttp, urllib3's LocationParseError."""
        route = self._routes.get((scheme, netloc))
        if route is None:
            if len(self._routes) >= PLACES:
                self._routes.clear()
            route = self._routes[(scheme, netloc)] = self._way(scheme, netloc)
        return route

    def _way(self, scheme: str, netloc: str) -> Route:
        url = urllib3.util.parse_url(f"{scheme}://{netloc}")
        if not url.host:
            raise NotHttp(f"{netloc} names no host")
        if self._socket_path is not None:
            return Route(_UnixPool(self._socket_path), "", None)
        place = (url.host, url.port or _PORTS[scheme], scheme)
        tls = {"ssl_context": self._tls or tls_context(Trust())} if scheme == "https" else None
        if self._proxy is None:
            return Route(self.poolmanager.connection_from_host(*place, pool_kwargs=tls), "", None)
        manager = self.proxy_manager_for(self._proxy)
        pool = manager.connection_from_host(*place, pool_kwargs=tls)
        forwards = f"{scheme}://{netloc}" if scheme == "http" else ""
        return Route(pool, forwards, literal(url.host))

    def close(self) -> None:
        """End what is kept open; a request under way ends by itself."""
        self._routes.clear()
        super().close()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        if self._tls is not None:
            kwargs["ssl_context"] = self._tls
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: Any, **kwargs: Any) -> Any:
        """The pools behind `proxy`, made once. Raises urllib3's ProxyError, without its user and password."""
        if not str(proxy).lower().startswith(("http://", "https://")):
            problem = "only http:// and https:// proxies are understood"
            raise ProxyError(problem, NotHttp(problem))
        # A proxy is shown no client certificate, and checked even where its goal is not.
        tls = tls_context(self._proxy_trust)
        try:
            manager = super().proxy_manager_for(proxy, proxy_ssl_context=tls, **kwargs)
        except (HTTPError, ValueError):
            problem = "its address makes no sense"
            raise ProxyError(problem, NotHttp(problem)) from None  # the other one quotes the password
        manager.pool_classes_by_scheme = _POOLS
        return manager

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        # The context already holds the certificates; naming a bundle here would have every new
        # connection read it again (17 ms).
        conn.cert_reqs = "CERT_REQUIRED"


# -- connections --------------------------------------------------------------------------------


class _Bounded(HTTPConnection):
    """A connection that asks its exchange whom it may call, and can be cut off by it."""

    peer: Address | None = None
    """Whom we are connected to; None behind a proxy."""

    def _new_conn(self) -> socket.socket:
        sock = self._connected()
        exchange = current()
        if exchange is not None:
            exchange.use(sock)
        return sock

    def request(self, *args: Any, **kwargs: Any) -> None:
        exchange = current()
        if exchange is not None:
            if isinstance(self.sock, socket.socket):
                exchange.use(self.sock)
            if exchange.allowed is not None and self.peer is not None and not exchange.allowed(self.peer):
                raise AddressError(f"{self.peer} may not be called")
        super().request(*args, **kwargs)

    def _connected(self) -> socket.socket:
        """Try the addresses of the host one after the other, all within the time for connecting."""
        self.peer = None
        host = self._dns_host.strip("[]")
        timeout = self.timeout if isinstance(self.timeout, int | float) else 30.0
        exchange = current()
        last = time.monotonic() + timeout if exchange is None else exchange.ends_at
        try:
            found = look_up(host, self.port, last)
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from error
        except UnicodeError:
            raise NotHttp(f"{host}: a part of the name is empty or too long") from None
        except Late as error:
            raise ConnectTimeoutError(self, "its name was not resolved in time") from error
        except OSError as error:
            raise NewConnectionError(self, f"Failed to resolve the name: {error}") from error
        ends_at = time.monotonic() + timeout  # a slow resolver takes nothing away from connecting
        if exchange is not None:
            ends_at = min(ends_at, exchange.ends_at)
        problem: Exception = OSError("it has no address")
        for left, (family, kind, protocol, _, place) in zip(range(len(found), 0, -1), found, strict=True):
            share = (ends_at - time.monotonic()) / left
            if share <= 0:
                raise ConnectTimeoutError(self, "no time was left to connect") from problem
            try:
                return self._dial(family, kind, protocol, place, share)
            except (OSError, AddressError) as error:
                problem = error
        if isinstance(problem, AddressError):
            raise problem
        if isinstance(problem, TimeoutError):
            raise ConnectTimeoutError(self, f"no connection within {timeout} s") from problem
        raise NewConnectionError(self, f"Failed to establish a new connection: {problem}") from problem

    def _dial(self, family: int, kind: int, protocol: int, place: Any, seconds: float) -> socket.socket:
        exchange = current()
        if self.proxy is None:
            peer = ipaddress.ip_address(str(place[0]).split("%")[0])
            if exchange is not None and exchange.allowed is not None and not exchange.allowed(peer):
                raise AddressError(f"{peer} may not be called")
            self.peer = peer
        sock = socket.socket(family, kind, protocol)
        try:
            for option in self.socket_options or ():
                sock.setsockopt(*option)
            sock.settimeout(seconds)
            sock.connect(place)
            sock.settimeout(self.timeout)
        except BaseException:
            sock.close()
            raise
        return sock


class _BoundedTLS(_Bounded, HTTPSConnection):
    pass


class _BoundedPool(HTTPConnectionPool):
    ConnectionCls = _Bounded


class _BoundedTLSPool(HTTPSConnectionPool):
    ConnectionCls = _BoundedTLS

    def _validate_conn(self, conn: Any) -> None:
        # As urllib3 does, without its warning where certificates do not count: the config says so.
        if conn.is_closed:
            conn.connect()


class _BoundedUnix(_Bounded):
    """A connection to a socket of this machine."""

    path = ""

    def _connected(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(self.timeout)
            sock.connect(self.path)
        except OSError as error:
            sock.close()
            raise NewConnectionError(self, f"Failed to establish a new connection: {error}") from error
        return sock


class _UnixPool(_BoundedPool):
    ConnectionCls = _BoundedUnix

    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self._path = path

    def _new_conn(self) -> Any:
        made: Any = super()._new_conn()
        made.path = self._path
        return made


_POOLS = {"http": _BoundedPool, "https": _BoundedTLSPool}
