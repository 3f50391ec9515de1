"""Proving the sender of an event by a shared secret: the secret itself, or an HMAC made with it.

Everything is compared as bytes in constant time, with every secret of the file, whichever fits.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from automator.edges.secretfile import UnusableFile, read_lines
from automator.edges.webhook.event import Door, Request, Word

COMPACTED_LIMIT = 64 * 1024
"""Bytes of a body that is compacted before it is proved: anybody may send one, and that is work."""
SECRET_PARAMETER = "secret"  # noqa: S105
GENERIC_SIGNATURE = "x-signature"
_SHA256_PREFIX = "sha256="
_DIGITS = {"sha1": 40, "sha256": 64}
_HEXADECIMAL = re.compile(rb"[0-9a-f]*")

# A JSON string (whatever it holds, closed or not), or white space between tokens. One pass: a string
# that never ends is taken whole, and nothing is given back.
_STRING_OR_SPACE = re.compile(rb'("(?:[^"\\]++|\\.)*+"?)|[ \t\r\n]++', re.DOTALL)

Check = Callable[[Door, Request, tuple[bytes, ...]], Word | None]
"""Says why a request is not proved by one of these secrets, or None where it is."""


class UnreadableSecret(Exception):
    """The secrets of a door cannot be had. Never leaves this package."""


def secrets_of(file: str | None) -> tuple[bytes, ...]:
    """The secrets in `file`, one a line. Raises UnreadableSecret, also where there is none."""
    if file is None:
        raise UnreadableSecret("no secret_file is set")
    try:
        return read_lines(file)
    except UnusableFile as why:
        raise UnreadableSecret(str(why)) from None


@dataclass(frozen=True, slots=True)
class SharedSecret:
    """The secret comes as it is: in a header, or as a parameter of the URL."""

    header: str | None = None
    """Lower-case name; the operator may choose another."""
    fixed: str | None = None
    """Lower-case name of a header that nobody can choose; it counts first, where it came."""
    in_query: bool = False
    """`?secret=` counts where no header came."""

    def __call__(self, door: Door, request: Request, secrets: tuple[bytes, ...]) -> Word | None:
        chosen = door.header.lower() if door.header is not None else self.header
        for name in (self.fixed, chosen):
            if name is not None and name in request.headers:
                if name in request.repeated:
                    return Word.BAD_SECRET
                if door.signed:
                    return _signature(request.headers[name], request.body, secrets)
                return _secret(_spellings(name, request.headers[name]), secrets)
        if door.signed:
            return Word.MISSING_SIGNATURE
        # An operator who names a header wants the secret there, and not in addresses that get logged.
        if not self.in_query or door.header is not None or SECRET_PARAMETER not in request.query:
            return Word.MISSING_SECRET
        if SECRET_PARAMETER in request.repeated:
            return Word.BAD_SECRET
        return _secret([request.query[SECRET_PARAMETER].encode("utf-8", "backslashreplace")], secrets)


@dataclass(frozen=True, slots=True)
class Signature:
    """The body is signed: `header` = `prefix` + the hexadecimal HMAC of its bytes."""

    header: str
    prefix: str = ""
    algorithm: str = "sha256"
    compact: bool = False
    """The signature may be that of the JSON without white space, too, of bodies up to COMPACTED_LIMIT."""

    def __call__(self, door: Door, request: Request, secrets: tuple[bytes, ...]) -> Word | None:
        given = request.headers.get(self.header)
        if given is None:
            return Word.MISSING_SIGNATURE
        if self.header in request.repeated or not given.startswith(self.prefix):
            return Word.BAD_SIGNATURE
        value = _bytes(given.removeprefix(self.prefix).lower())
        # A value that no body has is refused without a look at the body.
        if len(value) != _DIGITS[self.algorithm] or not _HEXADECIMAL.fullmatch(value):
            return Word.BAD_SIGNATURE
        if _any_equal([value], _signatures(request.body, secrets, self.algorithm)):
            return None
        if not self.compact or len(request.body) > COMPACTED_LIMIT:
            return Word.BAD_SIGNATURE
        compact = _STRING_OR_SPACE.sub(lambda found: found[1] or b"", request.body)
        fits = _any_equal([value], _signatures(compact, secrets, self.algorithm))
        return None if fits else Word.BAD_SIGNATURE


def signed_or_secret(door: Door, request: Request, secrets: tuple[bytes, ...]) -> Word | None:
    """`X-Signature: sha256=…` over the body where it came, else the secret in `Authorization`."""
    if door.header is None and (door.signed or GENERIC_SIGNATURE in request.headers):
        return Signature(GENERIC_SIGNATURE, _SHA256_PREFIX)(door, request, secrets)
    return SharedSecret("authorization")(door, request, secrets)


def _secret(given: list[bytes], secrets: tuple[bytes, ...]) -> Word | None:
    return None if _any_equal(given, secrets) else Word.BAD_SECRET


def _signature(given: str, body: bytes, secrets: tuple[bytes, ...]) -> Word | None:
    value = _bytes(given.lower().removeprefix(_SHA256_PREFIX))
    return None if _any_equal([value], _signatures(body, secrets, "sha256")) else Word.BAD_SIGNATURE


def _signatures(body: bytes, secrets: tuple[bytes, ...], algorithm: str) -> list[bytes]:
    # SHA-1 is what Nexus signs with. As an HMAC it is not broken, and there is no other.
    digest = hashlib.sha1 if algorithm == "sha1" else hashlib.sha256
    return [hmac.new(secret, body, digest).hexdigest().encode() for secret in secrets]


def _any_equal(given: Iterable[bytes], known: Iterable[bytes]) -> bool:
    """Whether one of `given` is one of `known`, at the cost of comparing them all."""
    known = tuple(known)
    equal = False
    for value in given:
        for one in known:
            equal |= hmac.compare_digest(value, one)
    return equal


def _spellings(name: str, value: str) -> list[bytes]:
    """A header's value as a secret; of `Authorization: Bearer …` also without its first word."""
    whole = _bytes(value.strip())
    word, _, rest = value.strip().partition(" ")
    bare = _bytes(rest.strip()) if name == "authorization" and word.lower() == "bearer" else whole
    return [whole, bare]


def _bytes(value: str) -> bytes:
    # Header values reach us decoded as Latin-1: this gives the sender's bytes back, whatever they are.
    return value.encode("latin-1", "backslashreplace")
