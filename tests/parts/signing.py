"""Signatures as cosign makes them, of both forms, pushed as cosign pushes them."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

import requests
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from parts.platforms import push_blob, put_manifest
from parts.registry import INDEX_TYPE

from automator.core.cosign import PublicKey, check, pre_authentication
from automator.core.signed import SIGNATURE_NOTE, SIMPLE_SIGNING, Checked, Material

BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
"""Media type of a bundle as cosign 3 writes it."""

PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
EMPTY = b"{}"


def new_key() -> ec.EllipticCurvePrivateKey:
    """A key as `cosign generate-key-pair` makes one."""
    return ec.generate_private_key(ec.SECP256R1())


def pem(key: PrivateKey) -> bytes:
    """Its public half, as cosign.pub has it."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def written(folder: Path, key: PrivateKey, name: str = "cosign.pub") -> Path:
    """The public half as a file."""
    file = folder / name
    file.write_bytes(pem(key))
    return file


def sign(key: PrivateKey, content: bytes) -> bytes:
    """A signature by the scheme that cosign takes for such a key."""
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(content)
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(content, padding.PKCS1v15(), SHA256())
    hashes = {"secp256r1": SHA256(), "secp384r1": SHA384(), "secp521r1": SHA512()}
    return key.sign(content, ec.ECDSA(hashes[key.curve.name]))


def b64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def payload(digest: str, *, kind: str = "cosign container image signature") -> bytes:
    """What a legacy signature is made over."""
    image = {"docker-manifest-digest": digest}
    critical = {"identity": {"docker-reference": ""}, "image": image, "type": kind}
    return json.dumps({"critical": critical, "optional": None}).encode()


SIGN_PREDICATE = "https://sigstore.dev/cosign/sign/v1"


def statement(digest: str, *, predicate: str = SIGN_PREDICATE) -> bytes:
    """The in-toto statement that a bundle holds."""
    algorithm, _, encoded = digest.partition(":")
    return json.dumps(
        {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"digest": {algorithm: encoded}}],
            "predicateType": predicate,
            "predicate": {},
        }
    ).encode()


def bundle(key: PrivateKey, content: bytes, *, signature: bytes | None = None) -> bytes:
    """A bundle around a statement."""
    kind = "application/vnd.in-toto+json"
    made = sign(key, pre_authentication(kind, content)) if signature is None else signature
    return json.dumps(
        {
            "mediaType": BUNDLE,
            "verificationMaterial": {"publicKey": {"hint": "x"}, "tlogEntries": []},
            "dsseEnvelope": {
                "payload": b64(content),
                "payloadType": kind,
                "signatures": [{"sig": b64(made)}],
            },
        }
    ).encode()


def message_bundle(key: PrivateKey, manifest: bytes) -> bytes:
    """A bundle with a message signature over a manifest."""
    digest = hashlib.sha256(manifest).digest()
    return json.dumps(
        {
            "mediaType": BUNDLE,
            "messageSignature": {
                "messageDigest": {"algorithm": "SHA2_256", "digest": b64(digest)},
                "signature": b64(sign(key, manifest)),
            },
        }
    ).encode()


def judged(materials: Iterable[Material], key: PublicKey, digest: str) -> Checked:
    """What several signatures are worth."""
    return reduce(lambda found, one: found.or_else(check(one, key, digest)), materials, Checked(False))


# -- pushed -----------------------------------------------------------------------------------------


def push_legacy(host: str, repository: str, digest: str, *signed: tuple[bytes, bytes]) -> None:
    """Put payloads with their signatures under the tag that cosign 2 uses, in place of what was there."""
    layers = [(SIMPLE_SIGNING, content, {SIGNATURE_NOTE: b64(signature)}) for content, signature in signed]
    _push(host, repository, digest.replace(":", "-") + ".sig", layers)


def sign_legacy(host: str, repository: str, digest: str, key: PrivateKey) -> None:
    """`cosign sign --key` of cosign 2."""
    push_legacy(host, repository, digest, (payload(digest), sign(key, payload(digest))))


def push_bundles(host: str, repository: str, digest: str, *bodies: bytes, tag: bool = True) -> dict[str, Any]:
    """Put bundles as referrers, as cosign 3 does; with `tag`, list them under the fallback tag, as it does
    where the registry has no referrers API. The index that lists them."""
    entries = []
    for body in bodies:
        notes = {"dev.sigstore.bundle.content": "dsse-envelope"}
        put = _push(host, repository, None, [(BUNDLE, body, {})], subject=digest, notes=notes)
        entries.append(
            {
                "mediaType": MANIFEST_TYPE,
                "digest": put,
                "size": 1,
                "artifactType": BUNDLE,
                "annotations": notes,
            }
        )
    index = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": entries}
    if tag:
        with requests.Session() as session:
            session.trust_env = False
            content = json.dumps(index).encode()
            put_manifest(session, host, repository, digest.replace(":", "-"), INDEX_TYPE, content)
    return index


def sign_bundle(host: str, repository: str, digest: str, key: PrivateKey) -> dict[str, Any]:
    """`cosign sign --key` of cosign 3."""
    return push_bundles(host, repository, digest, bundle(key, statement(digest)))


def _push(
    host: str,
    repository: str,
    tag: str | None,
    layers: Sequence[tuple[str, bytes, Mapping[str, str]]],
    *,
    subject: str | None = None,
    notes: Mapping[str, str] | None = None,
) -> str:
    described = [
        {"mediaType": kind, "digest": _digest(body), "size": len(body), "annotations": dict(told)}
        for kind, body, told in layers
    ]
    manifest: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": _digest(EMPTY), "size": 2},
        "layers": described,
    }
    if subject is not None:
        manifest["artifactType"] = BUNDLE
        manifest["subject"] = {"mediaType": MANIFEST_TYPE, "digest": subject, "size": 1}
        manifest["annotations"] = dict(notes or {})
    with requests.Session() as session:
        session.trust_env = False
        for body in (EMPTY, *(body for _, body, _ in layers)):
            push_blob(session, host, repository, body)
        return put_manifest(session, host, repository, tag, MANIFEST_TYPE, json.dumps(manifest).encode())


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
