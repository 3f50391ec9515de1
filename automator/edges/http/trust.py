"""Trust: whose certificates count for a connection, and which one of ours is shown."""

from __future__ import annotations

import os
import ssl
import threading
from dataclasses import dataclass, field

import requests.utils

from automator.reasons import one_line

Stamp = tuple[tuple[int, int, int] | None, ...]


class TrustError(Exception):
    """A file of certificates or keys cannot be used; one sentence, which names the file."""


@dataclass(frozen=True, slots=True)
class Trust:
    """What TLS to one host is checked against. Paths are of PEM files."""

    ca_file: str | None = None
    """Certificates trusted beside the usual ones."""
    verify: bool = True
    """False accepts any certificate."""
    cert_file: str | None = None
    """Certificate that we show, with its private key unless `key_file` has that."""
    key_file: str | None = None
    bundle: str | None = None
    """File or folder of certificates that are trusted instead of the usual ones."""
    authority: str | None = field(default=None, repr=False)
    """Certificates in PEM, themselves, that are trusted instead of all others."""

    @property
    def files(self) -> tuple[str, ...]:
        """The files that may change while the program runs."""
        return tuple(path for path in (self.ca_file, self.cert_file, self.key_file) if path is not None)

    def stamp(self) -> Stamp:
        """Another value once a file was replaced or written to."""
        return tuple(_stamp(path) for path in self.files)


_CONTEXTS: dict[tuple[Trust, Stamp], ssl.SSLContext] = {}
_CONTEXTS_LOCK = threading.Lock()


def tls_context(trust: Trust) -> ssl.SSLContext:
    """The context for `trust`, made once for each state of its files. Raises TrustError."""
    with _CONTEXTS_LOCK:
        key = (trust, trust.stamp())
        context = _CONTEXTS.get(key)
        if context is None:
            context = _make(trust)
            for old in [k for k in _CONTEXTS if k[0] == trust]:
                del _CONTEXTS[old]
            _CONTEXTS[key] = context
        return context


def _make(trust: Trust) -> ssl.SSLContext:
    context = _usual(trust.bundle) if trust.authority is None else _alone(trust.authority)
    if trust.ca_file is not None:
        _readable("ca_file", trust.ca_file)
        try:
            context.load_verify_locations(cafile=trust.ca_file)
        except (ssl.SSLError, OSError) as error:
            raise TrustError(f"ca_file {trust.ca_file}: it holds no certificate in PEM") from error
    if trust.cert_file is not None:
        _show(context, trust.cert_file, trust.key_file)
    if not trust.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _usual(bundle: str | None) -> ssl.SSLContext:
    """What requests trusts and what this machine trusts, else `bundle` alone."""
    if bundle is None:
        context = ssl.create_default_context(cafile=requests.utils.DEFAULT_CA_BUNDLE_PATH)
        context.set_default_verify_paths()
        return context
    try:
        if os.path.isdir(bundle):
            return ssl.create_default_context(capath=bundle)
        return ssl.create_default_context(cafile=bundle)
    except (ssl.SSLError, OSError) as error:
        problem = _words(error) if not isinstance(error, ssl.SSLError) else "it holds no certificate in PEM"
        raise TrustError(f"{bundle}, which the environment names for certificates: {problem}") from error


def _alone(authority: str) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cadata=authority)
        # Authorities of clusters often lack the key identifiers that Python 3.13 asks for.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        return context
    except (ssl.SSLError, ValueError) as error:
        raise TrustError("the certificates to trust are not in PEM") from error


def _show(context: ssl.SSLContext, cert_file: str, key_file: str | None) -> None:
    _readable("client_cert_file", cert_file)
    if key_file is not None:
        _readable("client_key_file", key_file)
    holder = f"client_key_file {key_file}" if key_file is not None else f"client_cert_file {cert_file}"

    def locked() -> str:
        # Asked only where the key is encrypted; OpenSSL would ask the terminal.
        raise TrustError(f"{holder}: its key is encrypted with a password")

    try:
        context.load_cert_chain(cert_file, key_file, password=locked)
    except ssl.SSLError as error:
        if "MISMATCH" in (error.reason or ""):
            raise TrustError(f"{holder}: its key is not the one of the certificate") from error
        raise TrustError(f"{holder}: it holds no certificate and key in PEM") from error
    except OSError as error:
        raise TrustError(f"{holder}: {_words(error)}") from error


def _readable(key: str, path: str) -> None:
    try:
        with open(path, "rb"):
            pass
    except OSError as error:
        raise TrustError(f"{key} {path}: {_words(error)}") from error


def _words(error: OSError) -> str:
    return one_line(error.strerror or error)


def _stamp(path: str) -> tuple[int, int, int] | None:
    try:
        state = os.stat(path)
    except OSError:
        return None
    return state.st_mtime_ns, state.st_size, state.st_ino
