"""Signatures of cosign: whether one that a registry holds proves a digest by a public key.

What belongs here: reading and verifying (never fetching) the two forms that cosign writes. Legacy: simple
signing payloads (cosign, specs/SIGNATURE_SPEC.md). Since cosign 3: Sigstore bundles with a DSSE envelope
around an in-toto statement, or with a message signature (specs/BUNDLE_SPEC.md; DSSE protocol.md).
Everything but the key is untrusted. Certificates and log entries are not looked at: the key alone counts.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512, HashAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from automator.core.reference import DIGEST
from automator.core.signed import Bundle, Checked, Material, SimpleSigning, Unusable

MAX_SIGNATURES = 16
"""Signatures of one envelope that are tried."""
_BUNDLES = "application/vnd.dev.sigstore.bundle"
_PAYLOAD_TYPE = "cosign container image signature"
_IN_TOTO = "application/vnd.in-toto+json"
_STATEMENTS = frozenset({"https://in-toto.io/Statement/v1", "https://in-toto.io/Statement/v0.1"})
_SIGNED = "https://sigstore.dev/cosign/sign/v1"
_SMALLEST_RSA = 2048
_HASHES: dict[str, HashAlgorithm] = {"secp256r1": SHA256(), "secp384r1": SHA384(), "secp521r1": SHA512()}

PublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey


class _Unreadable(Exception):
    """What a signature lacks to be one."""


def parse_key(pem: bytes) -> PublicKey:
    """A public key in PEM, of a kind that cosign makes. Raises ValueError that says what is wrong."""
    if b"PRIVATE KEY-----" in pem:
        raise ValueError("it holds a private key, where the public one is wanted")
    try:
        key = load_pem_public_key(pem)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("it is no public key in PEM (-----BEGIN PUBLIC KEY-----)") from None
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < _SMALLEST_RSA:
        raise ValueError(f"its RSA key has {key.key_size} bits, fewer than {_SMALLEST_RSA}")
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _HASHES:
        return key
    if isinstance(key, rsa.RSAPublicKey | ed25519.Ed25519PublicKey):
        return key
    raise ValueError("its key is none of ECDSA P-256, P-384 and P-521, Ed25519 and RSA")


def check(material: Material, key: PublicKey, digest: str) -> Checked:
    """Whether a signature proves that the owner of a key signed a digest. Never raises."""
    try:
        if isinstance(material, Unusable):
            raise _Unreadable(material.problem)
        if isinstance(material, SimpleSigning):
            return _simple(material, key, digest)
        return _bundle(material, key, digest)
    except _Unreadable as error:
        return Checked(False, f"it cannot be read ({error})")


# -- the two forms ----------------------------------------------------------------------------------


def _simple(material: SimpleSigning, key: PublicKey, digest: str) -> Checked:
    signature = _decoded(material.signature, "its signature")
    critical = _mapping(_mapping(_json(material.payload, "its payload")).get("critical"))
    if critical.get("type") != _PAYLOAD_TYPE:
        raise _Unreadable("its payload is of another type")
    if not _verifies(key, signature, material.payload):
        return _by_another_key()
    return _of_image(_mapping(critical.get("image")).get("docker-manifest-digest"), digest)


def _bundle(material: Bundle, key: PublicKey, digest: str) -> Checked:
    bundle = _mapping(_json(material.body, "the bundle"))
    kind = bundle.get("mediaType")
    if not isinstance(kind, str) or not kind.startswith(_BUNDLES):
        raise _Unreadable("it is no Sigstore bundle")
    envelope, message = bundle.get("dsseEnvelope"), bundle.get("messageSignature")
    if (envelope is None) == (message is None):
        raise _Unreadable("it has neither or both of an envelope and a message signature")
    if envelope is not None:
        return _envelope(_mapping(envelope), key, digest)
    return _message(_mapping(message), key, digest)


def _envelope(envelope: dict[str, Any], key: PublicKey, digest: str) -> Checked:
    payload = _decoded(envelope.get("payload"), "its payload", or_for_urls=True)
    if envelope.get("payloadType") != _IN_TOTO:
        return Checked(False)
    statement = _mapping(_json(payload, "its statement"))
    if statement.get("predicateType") != _SIGNED:
        return Checked(False)
    kind = statement.get("_type")
    if not isinstance(kind, str) or kind not in _STATEMENTS:
        raise _Unreadable("its statement is of another type")
    signed = pre_authentication(_IN_TOTO, payload)
    if not any(_verifies(key, signature, signed) for signature in _signatures(envelope.get("signatures"))):
        return _by_another_key()
    algorithm, _, encoded = digest.partition(":")
    subjects = statement.get("subject")
    listed = subjects if isinstance(subjects, list) else []
    # One that has no digest of our kind is about something else: it takes nothing from the others.
    told = (s.get("digest") for s in listed if isinstance(s, dict))
    digests = [d for d in (t.get(algorithm) for t in told if isinstance(t, dict)) if isinstance(d, str)]
    if encoded in digests:
        return Checked(True)
    return _of_image(f"{algorithm}:{digests[0]}" if digests else None, digest)


def _signatures(listed: object) -> list[bytes]:
    """Those of an envelope that can be read: one good signature suffices, whatever is beside it."""
    if not isinstance(listed, list) or not listed:
        raise _Unreadable("it has no signatures")
    found: list[bytes] = []
    for signature in listed[:MAX_SIGNATURES]:
        with suppress(_Unreadable):
            found.append(_decoded(_mapping(signature).get("sig"), "a signature", or_for_urls=True))
    if not found:
        raise _Unreadable("a signature is no base64")
    return found


def pre_authentication(payload_type: str, payload: bytes) -> bytes:
    """The bytes that a DSSE signature is made over (PAE)."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def _message(message: dict[str, Any], key: PublicKey, digest: str) -> Checked:
    """A signature over the manifest's bytes, of which the digest is all that is needed."""
    signature = _decoded(message.get("signature"), "its signature", or_for_urls=True)
    told = _mapping(message.get("messageDigest"))
    algorithm, _, encoded = digest.partition(":")
    if algorithm != "sha256" or told.get("algorithm") != "SHA2_256":
        raise _Unreadable("its digest is of another kind than SHA-256")
    named = f"sha256:{_decoded(told.get('digest'), 'its digest', or_for_urls=True).hex()}"
    if named != digest:
        return _of_image(named, digest)
    if isinstance(key, ed25519.Ed25519PublicKey):
        raise _Unreadable("an Ed25519 signature over a message cannot be told from its digest")
    return (
        Checked(True) if _verifies(key, signature, bytes.fromhex(encoded), hashed=True) else _by_another_key()
    )


def _by_another_key() -> Checked:
    return Checked(False, "it is by another key, or was altered")


def _of_image(named: object, digest: str) -> Checked:
    """The end of a signature that is the key's own: it counts for the image that it names."""
    if named == digest:
        return Checked(True)
    if not isinstance(named, str) or not DIGEST.fullmatch(named):
        raise _Unreadable("it names no digest")
    return Checked(False, f"it is of another image, {named}")


# -- values -------------------------------------------------------------------------------------------


def _json(body: bytes, what: str) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise _Unreadable(f"{what} is no JSON") from None


def _mapping(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _Unreadable("a part of it is no JSON object")
    return value


def _decoded(text: object, what: str, *, or_for_urls: bool = False) -> bytes:
    """Base64 in its one canonical spelling; with `or_for_urls` in that of URLs too, as DSSE and the JSON of
    bundles allow (DSSE protocol.md; protobuf's ProtoJSON)."""
    standard = text if isinstance(text, str) else ""
    if or_for_urls and ("-" in standard or "_" in standard) and not ("+" in standard or "/" in standard):
        standard = standard.replace("-", "+").replace("_", "/")
    try:
        found = base64.b64decode(standard, validate=True)
    except (binascii.Error, ValueError):
        found = b""
    if not found or base64.b64encode(found).decode() != standard:
        raise _Unreadable(f"{what} is no base64")
    return found


# -- keys ---------------------------------------------------------------------------------------------


def _verifies(key: PublicKey, signature: bytes, signed: bytes, *, hashed: bool = False) -> bool:
    """Whether a signature is by a key, in any of the ways that versions of cosign sign with such a key.
    With `hashed`, `signed` is the SHA-256 of what was signed."""
    return any(_holds(way) for way in _ways(key, signature, signed, hashed=hashed))


def _holds(verify: Callable[[], None]) -> bool:
    try:
        verify()
    except (InvalidSignature, ValueError):
        return False
    return True


def _ways(key: PublicKey, signature: bytes, signed: bytes, *, hashed: bool) -> list[Callable[[], None]]:
    if isinstance(key, ed25519.Ed25519PublicKey):
        return [lambda: key.verify(signature, signed)]
    digest: Prehashed | SHA256 = Prehashed(SHA256()) if hashed else SHA256()
    if isinstance(key, rsa.RSAPublicKey):
        pss = padding.PSS(padding.MGF1(SHA256()), padding.PSS.AUTO)
        return [
            lambda: key.verify(signature, signed, padding.PKCS1v15(), digest),
            lambda: key.verify(signature, signed, pss, digest),
        ]
    # cosign hashed with SHA-256 for every curve until it chose the hash by the curve.
    own: HashAlgorithm | Prehashed = digest if hashed else _HASHES[key.curve.name]
    ways: list[Callable[[], None]] = [lambda: key.verify(signature, signed, ec.ECDSA(own))]
    if key.curve.name != "secp256r1" and not hashed:
        ways.append(lambda: key.verify(signature, signed, ec.ECDSA(digest)))
    return ways
