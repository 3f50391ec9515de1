"""Trouble: why no complete answer came, told from what urllib3 raised.

What belongs here: the kinds of failure below HTTP, and one sentence for each. `TransportError` never
leaves the edges: whoever calls `send` turns it into an error of its own.
"""

from __future__ import annotations

import http.client
import re
import ssl
from enum import StrEnum

import urllib3.exceptions

from automator.edges.http.addresses import AddressError

NOT_TRUSTED = "certificate verify failed"
# OpenSSL's codes of a certificate that is checked (x509_vfy.h).
OUT_OF_DATE = frozenset({9, 10})
OTHER_NAME = frozenset({62, 64})
# What OpenSSL finds instead of TLS where plain HTTP is spoken, by its version.
NO_TLS = frozenset({"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG"})
CLIENT_REFUSED = re.compile(
    "ALERT_(CERTIFICATE_(REQUIRED|UNKNOWN|EXPIRED|REVOKED)|BAD_CERTIFICATE|UNKNOWN_CA|ACCESS_DENIED)"
)
TUNNEL = re.compile(r"Tunnel connection failed: (\d{3}) ?(.*)", re.DOTALL)
UNSENDABLE = "its address, or a header for it, holds characters that HTTP cannot carry"
TLS_ALERT = r"\x15\x03"


class Kind(StrEnum):
    """Ways in which an exchange fails below HTTP itself."""

    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    TLS = "tls"
    TOO_LARGE = "too-large"
    ADDRESS = "address"
    BROKEN = "broken"


class Cause(StrEnum):
    """Where the kind alone does not tell what would mend it."""

    DNS = "dns"
    PROXY = "proxy"
    EXPIRED = "expired"
    OTHER_NAME = "other-name"
    NO_TLS = "no-tls"
    TLS_WANTED = "tls-wanted"
    CLIENT_CERTIFICATE = "client-certificate"


class TransportError(Exception):
    """No complete answer arrived from `host`; `kind` says why, `detail` is one untrusted sentence."""

    def __init__(self, kind: Kind, detail: str, host: str, cause: Cause | None = None) -> None:
        super().__init__(f"{host}: {kind}: {detail}")
        self.kind = kind
        self.detail = detail
        self.host = host
        self.cause = cause


class TooLarge(Exception):
    """More than is allowed was announced or sent."""


class Unwanted(Exception):
    """An answer in a form that was not asked for."""


class NotHttp(Exception):
    """An address that no request can go to."""


Told = tuple[Kind, str, Cause | None]


def told(error: BaseException, *, expired: bool, begun: bool, proxy: str | None) -> Told:
    """Kind, sentence and cause for what was raised while asking.

    `expired`: the watchdog ended it. `begun`: the head of the answer had arrived. `proxy`: the host of the
    proxy that was called.
    """
    inner = _innermost(error)
    match error, inner:
        case TooLarge(), _:
            return Kind.TOO_LARGE, str(error), None
        case AddressError(), _:
            return Kind.ADDRESS, str(error), None
        case _ if expired:
            return Kind.TIMEOUT, "the answer did not end in time", None
        case _ if _is_quoting(inner):
            return Kind.BROKEN, UNSENDABLE, None
        case _, http.client.LineTooLong():
            return Kind.TOO_LARGE, "a line of its head is too long", None
        case _, http.client.HTTPException(args=(str(words), *_)) if "headers" in words:
            return Kind.TOO_LARGE, "its head has too many lines", None
        case _ if begun:
            return _broken(error, inner)
        case urllib3.exceptions.ProxyError(), _:
            return Kind.UNREACHABLE, f"proxy {proxy}: {_connecting(inner)}", Cause.PROXY
        case _, OSError() if tunnel := TUNNEL.search(str(inner)):
            return Kind.UNREACHABLE, f"proxy {proxy}: {_refusal(tunnel[1], tunnel[2])}", Cause.PROXY
    return _unreached(error, inner)


def proxy_refusal(status: int, proxy: str, host: str) -> TransportError:
    """The error for an answer that a proxy gave in its own name."""
    return TransportError(Kind.UNREACHABLE, f"proxy {proxy}: {_refusal(str(status))}", host, Cause.PROXY)


def _broken(error: BaseException, inner: BaseException) -> Told:
    if isinstance(error, urllib3.exceptions.ReadTimeoutError) or isinstance(inner, TimeoutError):
        return Kind.TIMEOUT, "no bytes within the time limit", None
    if isinstance(error, Unwanted):
        return Kind.BROKEN, str(error), None
    return Kind.BROKEN, "the connection broke in mid-answer", None


def _unreached(error: BaseException, inner: BaseException) -> Told:
    match error, inner:
        case urllib3.exceptions.NameResolutionError(), _:
            return Kind.UNREACHABLE, "its name does not resolve", Cause.DNS
        case urllib3.exceptions.NewConnectionError(), _:  # a ConnectTimeoutError, to urllib3
            return Kind.UNREACHABLE, _connecting(inner), None
        case urllib3.exceptions.ConnectTimeoutError(), _:
            return Kind.TIMEOUT, "no connection within the time limit", None
        case (urllib3.exceptions.TimeoutError(), _) | (_, TimeoutError()):
            return Kind.TIMEOUT, "no bytes within the time limit", None
        case _, ssl.SSLError():
            return _tls(inner)
        case urllib3.exceptions.SSLError(), _:
            return Kind.TLS, _words(inner), None
        case _, http.client.RemoteDisconnected():
            return Kind.UNREACHABLE, "it hung up without an answer", None
        case _, http.client.BadStatusLine():
            if TLS_ALERT in str(inner.args):
                return Kind.TLS, "it speaks TLS, not plain http", Cause.TLS_WANTED
            return Kind.BROKEN, "what it answers is not HTTP", None
        case _, OSError():
            return Kind.UNREACHABLE, _connecting(inner), None
        case urllib3.exceptions.ProtocolError(), _:
            return Kind.UNREACHABLE, _words(inner), None
    return Kind.BROKEN, _words(inner), None


def _is_quoting(error: BaseException) -> bool:
    """Whether the text of `error` holds what was to be sent: a header with its token, a signed address."""
    return isinstance(error, ValueError | http.client.InvalidURL) and not isinstance(error, OSError)


def _tls(error: ssl.SSLError) -> Told:
    if isinstance(error, ssl.SSLCertVerificationError):
        detail = f"{NOT_TRUSTED}: {error.verify_message}"
        if error.verify_code in OUT_OF_DATE:
            return Kind.TLS, detail, Cause.EXPIRED
        return Kind.TLS, detail, Cause.OTHER_NAME if error.verify_code in OTHER_NAME else None
    code = error.reason or ""
    if code in NO_TLS:
        return Kind.TLS, "it does not speak TLS here", Cause.NO_TLS
    if CLIENT_REFUSED.search(code):
        words = code.rpartition("ALERT_")[2].replace("_", " ").lower()
        return Kind.TLS, f"it refuses our client certificate: {words}", Cause.CLIENT_CERTIFICATE
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return Kind.UNREACHABLE, "it hung up while TLS began", None
    return Kind.TLS, code.replace("_", " ").lower() or _words(error), None


def _refusal(status: str, words: str = "") -> str:
    if status == "407":
        return "it wants a user and password, or other ones (407)"
    return f"it refuses with {status} {words}".strip()


def _connecting(error: BaseException) -> str:
    if isinstance(error, urllib3.exceptions.NameResolutionError):
        return "its name does not resolve"
    return (error.strerror if isinstance(error, OSError) else None) or _words(error)


def _innermost(error: BaseException) -> BaseException:
    """The error that urllib3 wrapped, once or several times."""
    seen = {id(error)}
    while True:
        held = getattr(error, "original_error", None) or next(
            (a for a in reversed(error.args) if isinstance(a, BaseException)), None
        )
        cause = error.__cause__
        if held is None and isinstance(error, urllib3.exceptions.HTTPError) and isinstance(cause, OSError):
            held = cause
        if not isinstance(held, BaseException) or id(held) in seen:
            return error
        seen.add(id(held))
        error = held


def _words(error: BaseException) -> str:
    words = str(error).rsplit("Failed to establish a new connection: ", 1)[-1]
    return re.sub(r"<?\w+\([^()]*\)(?: object at 0x\w+)?>?: ", "", words)
