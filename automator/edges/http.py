"""HTTP: the one place that makes sessions, sends requests and reads bodies, always within bounds.

What belongs here: what every edge that speaks HTTP needs and `requests` does not give. A total end
time for an exchange (`requests` bounds each socket operation only), a limit on the body, a look at
the address before anything is sent, and nothing taken from `~/.netrc` or the environment unasked.
`TransportError` never leaves the edges: whoever calls `send` turns it into an error of its own.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import requests
import requests.adapters
import requests.utils
import urllib3
import urllib3.exceptions
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from automator import __version__
from automator.reasons import one_line

USER_AGENT = f"automator/{__version__}"
ERROR_BODY_LIMIT = 64 * 1024
CHUNK = 64 * 1024
WATCH_INTERVAL = 0.25  # seconds by which an exchange may outlive its end

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
AddressRule = Callable[[Address], bool]


class Kind(StrEnum):
    """Ways in which an exchange fails below HTTP itself."""

    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    TLS = "tls"
    TOO_LARGE = "too-large"
    ADDRESS = "address"
    BROKEN = "broken"


class TransportError(Exception):
    """No complete answer arrived from `host`; `kind` says why, `detail` is one untrusted sentence."""

    def __init__(self, kind: Kind, detail: str, host: str) -> None:
        super().__init__(f"{host}: {kind}: {detail}")
        self.kind = kind
        self.detail = detail
        self.host = host


class AddressError(Exception):
    """The address behind a name is not one that may be called."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer. A body of an error status may be cut at `ERROR_BODY_LIMIT`."""

    status: int
    headers: Mapping[str, str]
    """Case-insensitive; several lines of one name are joined by a comma."""
    body: bytes
    url: str


@dataclass(frozen=True, slots=True)
class Limits:
    """What one exchange may take. Times in seconds; `ends_at` is a `time.monotonic()` value."""

    connect: float
    read: float
    ends_at: float
    body: int


def proxies_for(url: str) -> dict[str, str]:
    """The proxies that the environment (`HTTPS_PROXY`, `NO_PROXY` …) names for `url`.

    To be asked by `app` and passed to `new_session`: sessions themselves look at no environment.
    """
    return dict(requests.utils.get_environ_proxies(url))


def new_session(
    *, pool_size: int = 8, ca_file: str | None = None, proxies: Mapping[str, str] | None = None
) -> requests.Session:
    """A session for one host, to be kept: it holds up to `pool_size` connections open.

    `ca_file` names certificates trusted beside the usual ones. Used through `send` it keeps
    no cookies, and threads may share it. Raises OSError or ssl.SSLError when `ca_file` cannot be read.
    """
    session = requests.Session()
    # With trust_env a matching ~/.netrc entry would replace our Authorization header, on redirects too.
    session.trust_env = False
    session.proxies = dict(proxies or {})
    session.headers.clear()
    adapter = _BoundedAdapter(pool_size, _tls_context(ca_file))
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


def send(
    session: requests.Session,
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    limits: Limits,
    allowed: AddressRule | None = None,
    data: bytes | Mapping[str, str] | None = None,
) -> Answer:
    """One request, one complete answer; redirects are answers too, never followed here.

    `allowed` is asked about the address once it is connected and before anything is sent; behind a
    proxy only an address written in `url` can be asked about. Raises TransportError.
    """
    host = url.split("://", 1)[-1].split("/", 1)[0]
    remaining = limits.ends_at - time.monotonic()
    if remaining <= 0:
        raise TransportError(Kind.TIMEOUT, "no time was left to ask", host)
    exchange = _Exchange(limits.ends_at, allowed)
    try:
        prepared = requests.Request(method, url, headers=_headers(headers), data=data).prepare()
        _refuse_literal(prepared.url or "", allowed)
        with _watched(exchange):
            # Not Session.send: it reads the body of a redirect to its end, however long, and parses
            # its target, even where it must not follow.
            response = session.get_adapter(url).send(
                prepared,
                stream=True,
                timeout=(min(limits.connect, remaining), min(limits.read, remaining)),
                proxies=dict(session.proxies),
            )
            try:
                body = _body(response, limits.body)
            finally:
                response.close()
    except (
        requests.RequestException,
        urllib3.exceptions.HTTPError,
        AddressError,
        OSError,
        ValueError,
    ) as e:
        raise TransportError(*_failure(e, exchange), host) from e
    if exchange.expired:  # an answer without Content-Length looks complete when its socket is shut
        raise TransportError(Kind.TIMEOUT, "the answer did not end in time", host)
    return Answer(response.status_code, response.headers, body, url)


def is_global(address: Address) -> bool:
    """Whether `address` is on the public internet: not loopback, private, link-local or special."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    plain = mapped or address
    return plain.is_global and not plain.is_multicast


# -- bodies and failures ------------------------------------------------------------------------


def _headers(extra: Mapping[str, str]) -> dict[str, str]:
    # identity: a compressed body hides its size, and a manifest's digest is over the bytes sent
    return {"User-Agent": USER_AGENT, "Accept-Encoding": "identity", "Accept": "*/*", **extra}


def _body(response: requests.Response, limit: int) -> bytes:
    failed = response.status_code >= 400
    limit = min(limit, ERROR_BODY_LIMIT) if failed else limit
    announced = response.headers.get("Content-Length", "")
    bodiless = response.request.method == "HEAD"
    if not bodiless and not failed and announced.isdigit() and int(announced) > limit:
        raise _TooLarge(f"{announced} bytes announced, {limit} allowed")
    received = bytearray()
    for chunk in response.iter_content(CHUNK):
        received += chunk
        if len(received) > limit:
            if failed:  # only the first words of an error are of interest
                return bytes(received[:limit])
            raise _TooLarge(f"more than the {limit} bytes allowed")
    return bytes(received)


class _TooLarge(requests.RequestException):
    pass


def _failure(error: Exception, exchange: _Exchange) -> tuple[Kind, str]:
    if isinstance(error, _TooLarge):
        return Kind.TOO_LARGE, str(error)
    if isinstance(error, AddressError):
        return Kind.ADDRESS, str(error)
    if exchange.expired:
        return Kind.TIMEOUT, "the answer did not end in time"
    inner = error.args[0] if error.args else None
    if isinstance(error, requests.Timeout) or isinstance(inner, urllib3.exceptions.ReadTimeoutError):
        return Kind.TIMEOUT, "no bytes within the time limit"
    if isinstance(error, requests.exceptions.SSLError | ssl.SSLError):
        return Kind.TLS, _cause(error)
    if isinstance(error, requests.exceptions.ChunkedEncodingError | requests.exceptions.ContentDecodingError):
        return Kind.BROKEN, "the connection broke in mid-answer"
    if isinstance(error, requests.ConnectionError | OSError) and not isinstance(error, ValueError):
        return Kind.UNREACHABLE, _cause(error)
    return Kind.BROKEN, _cause(error)


def _cause(error: BaseException) -> str:
    """The innermost sentence of an error that urllib3 and requests wrapped several times."""
    inner = error.args[0] if error.args else None
    reason = getattr(inner, "reason", None)
    if isinstance(reason, BaseException):
        return _cause(reason)
    if isinstance(inner, BaseException):
        return _cause(inner)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    words = str(error).rsplit("Failed to establish a new connection: ", 1)[-1]
    return re.sub(r"<?\w+\([^()]*\)(?: object at 0x\w+)?>?: ", "", words)


# -- the end of an exchange ---------------------------------------------------------------------


class _Exchange:
    """What the connection must know of the request it serves: when it ends, whom it may call."""

    __slots__ = ("allowed", "ends_at", "expired", "socket")

    def __init__(self, ends_at: float, allowed: AddressRule | None) -> None:
        self.ends_at = ends_at
        self.allowed = allowed
        self.socket: socket.socket | None = None
        self.expired = False

    def expire(self) -> None:
        self.expired = True
        if self.socket is not None:
            with contextlib.suppress(OSError):  # closed meanwhile: that is what was wanted
                # Not SSLSocket.shutdown, which would take the TLS layer away under the reader.
                socket.socket.shutdown(self.socket, socket.SHUT_RDWR)


class _Watchdog:
    """One thread that ends exchanges past their time, however slowly the other side drips."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._exchanges: set[_Exchange] = set()
        self._thread: threading.Thread | None = None
        self._resting = False

    def add(self, exchange: _Exchange) -> None:
        with self._changed:
            self._exchanges.add(exchange)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._watch, name="http-watchdog", daemon=True)
                self._thread.start()
            elif self._resting:
                self._changed.notify()

    def remove(self, exchange: _Exchange) -> None:
        with self._changed:
            self._exchanges.discard(exchange)

    def _watch(self) -> None:
        while True:
            with self._changed:
                self._resting = not self._exchanges
                self._changed.wait(None if self._resting else WATCH_INTERVAL)
                self._resting = False
                now = time.monotonic()
                for exchange in [e for e in self._exchanges if e.ends_at <= now]:
                    exchange.expire()
                    self._exchanges.discard(exchange)


_WATCHDOG = _Watchdog()
_CURRENT = threading.local()


@contextlib.contextmanager
def _watched(exchange: _Exchange) -> Iterator[None]:
    _CURRENT.exchange = exchange
    _WATCHDOG.add(exchange)
    try:
        yield
    finally:
        _WATCHDOG.remove(exchange)
        _CURRENT.exchange = None


def _current() -> _Exchange | None:
    exchange: _Exchange | None = getattr(_CURRENT, "exchange", None)
    return exchange


# -- connections --------------------------------------------------------------------------------


def _refuse_literal(url: str, allowed: AddressRule | None) -> None:
    """Refuse an address that stands in the URL itself, proxy or not, before any packet."""
    try:
        address = ipaddress.ip_address((urllib3.util.parse_url(url).host or "").strip("[]"))
    except ValueError:
        return
    if allowed is not None and not allowed(address):
        raise AddressError(f"{address} may not be called")


def _connected(sock: socket.socket, *, proxied: bool) -> socket.socket:
    exchange = _current()
    if exchange is None:
        return sock
    exchange.socket = sock
    if exchange.allowed is not None and not proxied:
        address = ipaddress.ip_address(sock.getpeername()[0].split("%")[0])
        if not exchange.allowed(address):
            sock.close()
            raise AddressError(f"{address} may not be called")
    return sock


def _reused(sock: Any) -> None:
    exchange = _current()
    if exchange is not None and isinstance(sock, socket.socket):
        exchange.socket = sock


class _BoundedHTTPConnection(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        return _connected(super()._new_conn(), proxied=self.proxy is not None)

    def request(self, *args: Any, **kwargs: Any) -> None:
        _reused(self.sock)
        super().request(*args, **kwargs)


class _BoundedHTTPSConnection(HTTPSConnection):
    def _new_conn(self) -> socket.socket:
        return _connected(super()._new_conn(), proxied=self.proxy is not None)

    def request(self, *args: Any, **kwargs: Any) -> None:
        _reused(self.sock)
        super().request(*args, **kwargs)


class _BoundedHTTPPool(HTTPConnectionPool):
    ConnectionCls = _BoundedHTTPConnection


class _BoundedHTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _BoundedHTTPSConnection


_POOLS = {"http": _BoundedHTTPPool, "https": _BoundedHTTPSPool}


class _BoundedAdapter(requests.adapters.HTTPAdapter):
    def __init__(self, pool_size: int, tls: ssl.SSLContext) -> None:
        self._tls = tls
        super().__init__(pool_connections=2, pool_maxsize=pool_size)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, ssl_context=self._tls, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, ssl_context=self._tls, **kwargs)
        manager.pool_classes_by_scheme = _POOLS
        return manager

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        # The context already holds the certificates; naming a bundle here would have every new
        # connection read it again (17 ms).
        conn.cert_reqs = "CERT_REQUIRED"


_CONTEXTS: dict[str | None, ssl.SSLContext] = {}
_CONTEXTS_LOCK = threading.Lock()


def _tls_context(ca_file: str | None) -> ssl.SSLContext:
    with _CONTEXTS_LOCK:
        if ca_file not in _CONTEXTS:
            context = ssl.create_default_context(cafile=requests.utils.DEFAULT_CA_BUNDLE_PATH)
            if ca_file is not None:
                context.load_verify_locations(cafile=ca_file)
            _CONTEXTS[ca_file] = context
        return _CONTEXTS[ca_file]


# -- a daemon's own probes ----------------------------------------------------------------------


def probe(url: str, *, seconds: float = 5.0) -> tuple[bool, str]:
    """Ask a daemon's `/healthz`: whether it is well, and its words. Never raises for an answer's sake."""
    limits = Limits(ends_at=time.monotonic() + seconds, connect=seconds, read=seconds, body=64 * 1024)
    with new_session(pool_size=1) as session:
        try:
            answer = send(session, "GET", url, headers={}, limits=limits)
        except TransportError as error:
            return False, f"{url} does not answer: {one_line(error)}"
    text = answer.body.decode("utf-8", "replace")
    try:
        words = str(json.loads(text)["words"])
    except (ValueError, TypeError, KeyError):  # something else answers at this address
        return False, f"{url} is no automator: it says {one_line(text)}"
    return answer.status == 200, one_line(words, 500)
