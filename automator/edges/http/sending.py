"""Sending: one request, one complete answer, within its limits."""

from __future__ import annotations

import http.client
import re
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

import requests
import urllib3
import urllib3.exceptions
from urllib3.response import BaseHTTPResponse

from automator import __version__
from automator.edges.http.addresses import AddressError, AddressRule
from automator.edges.http.sessions import BoundedAdapter, split
from automator.edges.http.trouble import (
    UNSENDABLE,
    Kind,
    NotHttp,
    TooLarge,
    TransportError,
    Unwanted,
    proxy_refusal,
    told,
)
from automator.edges.http.watchdog import Watched

USER_AGENT = f"automator/{__version__}"
ERROR_BODY_LIMIT = 64 * 1024
CHUNK = 64 * 1024
# identity: a compressed body hides its size, and a manifest's digest is over the bytes sent
_HEADERS = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity", "Accept": "*/*"}
_ONCE = urllib3.Retry(total=False, redirect=False)  # errors as they are; trying again is the asker's to do
_HOST_END = re.compile(r"[/\\?#\s]")
_GZIP = frozenset({"gzip", "x-gzip"})


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


def send(
    session: requests.Session,
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    limits: Limits,
    allowed: AddressRule | None = None,
    data: bytes | Mapping[str, str] | None = None,
    status_only: bool = False,
) -> Answer:
    """One request by a session of `new_session`, one complete answer; redirects are answers too.

    `status_only`: the body is of no interest, and not read, whatever is wrong with it.
    `allowed` is asked about the address before it is connected, and again when a kept connection is
    used; behind a proxy only an address written in `url` can be asked about. Raises TransportError.
    """
    remaining = limits.ends_at - time.monotonic()
    host = _host(url)
    if remaining <= 0:
        raise TransportError(Kind.TIMEOUT, "no time was left to ask", host)
    exchange = Watched(limits.ends_at, allowed)
    proxy: str | None = None
    response: BaseHTTPResponse | None = None
    try:
        scheme, netloc, target = split(url)
        adapter = session.get_adapter(url)
        assert isinstance(adapter, BoundedAdapter)
        proxy = adapter.proxy
        route = adapter.route(scheme, netloc)
        if route.literal is not None and allowed is not None and not allowed(route.literal):
            raise AddressError(f"{route.literal} may not be called")
        sent, content = _with_form({**_HEADERS, **headers}, data)
        with exchange:
            # Not Session.send: it reads the body of a redirect to its end, however long, and parses
            # its target, even where it must not follow.
            response = route.pool.urlopen(
                method,
                route.absolute + target,
                body=content,
                headers=sent,
                retries=_ONCE,
                redirect=False,
                assert_same_host=False,
                timeout=urllib3.Timeout(
                    connect=min(limits.connect, remaining), read=min(limits.read, remaining)
                ),
                preload_content=False,
                decode_content=False,
            )
            if status_only:
                response.close()
                body = b""
            else:
                body = _body(response, limits.body, bodiless=method == "HEAD")
    except _FAILURES as error:
        kind, words, cause = told(error, expired=exchange.expired, begun=response is not None, proxy=proxy)
        # Not chained where the chain quotes what was to be sent.
        raise TransportError(kind, words, host, cause) from (None if words == UNSENDABLE else error)
    # An answer without Content-Length looks complete when its socket is shut.
    if exchange.expired and not status_only:
        raise TransportError(Kind.TIMEOUT, "the answer did not end in time", host)
    if response.status == 407 and proxy is not None:
        raise proxy_refusal(response.status, proxy, host)
    return Answer(response.status, response.headers, body, url)


_FAILURES = (
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    AddressError,
    TooLarge,
    NotHttp,
    Unwanted,
    OSError,
    ValueError,
)


def _host(url: str) -> str:
    """Whom `url` is about, to be told: without user, target or signature."""
    return _HOST_END.split(url.split("://", 1)[-1], maxsplit=1)[0].rpartition("@")[2]


def _with_form(
    headers: dict[str, str], data: bytes | Mapping[str, str] | None
) -> tuple[dict[str, str], bytes | None]:
    if data is None or isinstance(data, bytes):
        return headers, data
    return {"Content-Type": "application/x-www-form-urlencoded", **headers}, urlencode(data).encode()


def _body(response: BaseHTTPResponse, limit: int, *, bodiless: bool) -> bytes:
    """The body; its connection is kept where it was read to its end, else closed."""
    whole = False
    try:
        failed = response.status >= 400
        limit = min(limit, ERROR_BODY_LIMIT) if failed else limit
        announced = response.headers.get("Content-Length", "")
        if not bodiless and not failed and announced.isdigit() and int(announced) > limit:
            raise TooLarge(f"{announced} bytes announced, {limit} allowed")
        body, whole = _received(response, limit, announced)
        if not whole and not failed:  # of an error only the first words are of interest
            raise TooLarge(f"more than the {limit} bytes allowed")
        coding = response.headers.get("Content-Encoding")
        return body if coding is None or not body else _decoded(body, coding, limit, failed=failed)
    finally:
        if not whole:
            response.close()
        response.release_conn()


def _received(response: BaseHTTPResponse, limit: int, announced: str) -> tuple[bytes, bool]:
    """At most `limit` bytes, and whether that was all."""
    # A body in chunks has the length it has, whatever is announced beside.
    if announced.isdigit() and int(announced) <= limit and "Transfer-Encoding" not in response.headers:
        return response.read(decode_content=False), True
    received = bytearray()
    while chunk := response.read(CHUNK, decode_content=False):
        received += chunk
        if len(received) > limit:
            return bytes(received[:limit]), False
    return bytes(received), True


def _decoded(body: bytes, coding: str, limit: int, *, failed: bool) -> bytes:
    """The body out of an encoding that nobody asked for, within the same limit."""
    name = coding.strip().lower()
    if name in ("", "identity"):
        return body
    if name not in _GZIP:
        if failed:
            return b""
        raise Unwanted("its answer is compressed, which was not asked for")
    reader = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        plain = reader.decompress(body, limit + 1)
    except zlib.error:
        plain = b""
    if len(plain) > limit and not failed:
        raise TooLarge(f"more than the {limit} bytes allowed, once decompressed")
    if not reader.eof and not failed:
        raise Unwanted("its answer is compressed, and broken")
    return plain[:limit]
