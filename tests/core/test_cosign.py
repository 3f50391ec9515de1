"""Signatures of cosign: what counts, and what never does."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from parts import signing
from parts.signing import bundle, message_bundle, new_key, payload, pem, sign, statement

from automator.core.cosign import check, parse_key
from automator.core.signed import Bundle, Checked, SimpleSigning, Unusable

MANIFEST = b'{"schemaVersion": 2}'
DIGEST = "sha256:" + "0a" * 32
OTHER = "sha256:" + "0b" * 32
KEY = new_key()
PUBLIC = parse_key(pem(KEY))
RSA = rsa.generate_private_key(65537, 2048)


def simple(content: bytes, signature: bytes | None = None) -> SimpleSigning:
    made = sign(KEY, content) if signature is None else signature
    return SimpleSigning(content, base64.b64encode(made).decode())


@pytest.mark.parametrize(
    "key",
    [
        KEY,
        ec.generate_private_key(ec.SECP384R1()),
        ec.generate_private_key(ec.SECP521R1()),
        ed25519.Ed25519PrivateKey.generate(),
        RSA,
    ],
    ids=["p256", "p384", "p521", "ed25519", "rsa"],
)
def test_both_forms_count_by_every_kind_of_key(key: signing.PrivateKey) -> None:
    public = parse_key(pem(key))
    legacy = SimpleSigning(payload(DIGEST), signing.b64(sign(key, payload(DIGEST))))
    for material in (legacy, Bundle(bundle(key, statement(DIGEST)))):
        assert check(material, public, DIGEST) == Checked(True)
        assert not check(material, public, OTHER).is_good
        assert not check(material, PUBLIC if key is not KEY else parse_key(pem(RSA)), DIGEST).is_good


def test_older_and_newer_ways_to_sign_count_too() -> None:
    large = ec.generate_private_key(ec.SECP384R1())
    by_sha256 = large.sign(payload(DIGEST), ec.ECDSA(SHA256()))
    assert check(simple(payload(DIGEST), by_sha256), parse_key(pem(large)), DIGEST).is_good
    pss = padding.PSS(padding.MGF1(SHA256()), padding.PSS.MAX_LENGTH)
    by_pss = RSA.sign(payload(DIGEST), pss, SHA256())
    assert check(simple(payload(DIGEST), by_pss), parse_key(pem(RSA)), DIGEST).is_good


@pytest.mark.parametrize("key", [KEY, RSA], ids=["p256", "rsa"])
def test_a_message_signature_counts_for_the_manifest_it_is_over(key: signing.PrivateKey) -> None:
    digest = signing._digest(MANIFEST)
    made = Bundle(message_bundle(key, MANIFEST))
    assert check(made, parse_key(pem(key)), digest) == Checked(True)
    assert check(made, parse_key(pem(key)), DIGEST).flaw == f"it is of another image, {digest}"
    forged = json.loads(made.body)
    forged["messageSignature"]["messageDigest"]["digest"] = signing.b64(bytes.fromhex(DIGEST[7:]))
    assert check(Bundle(json.dumps(forged).encode()), parse_key(pem(key)), DIGEST).flaw is not None


def test_what_is_wrong_is_told() -> None:
    stranger = new_key()
    another = "it is by another key, or was altered"
    cases: list[tuple[Any, str]] = [
        (simple(payload(DIGEST), sign(stranger, payload(DIGEST))), another),
        (simple(payload(OTHER)), f"it is of another image, {OTHER}"),
        (simple(payload(OTHER), sign(KEY, payload(DIGEST))), another),
        (simple(payload(DIGEST, kind="atomic container signature")), "payload is of another type"),
        (simple(b"[]"), "no JSON object"),
        (simple(b"\xff"), "its payload is no JSON"),
        (simple(payload("sha256:x")), "it names no digest"),
        (SimpleSigning(payload(DIGEST), "!"), "its signature is no base64"),
        (Unusable("it is gone"), "it cannot be read (it is gone)"),
        (Bundle(b"["), "the bundle is no JSON"),
        (Bundle(b"[" * 100_000), "the bundle is no JSON"),
        (Bundle(b"{}"), "it is no Sigstore bundle"),
        (Bundle(bundle(stranger, statement(DIGEST))), another),
        (Bundle(bundle(KEY, statement(OTHER))), f"it is of another image, {OTHER}"),
    ]
    for material, words in cases:
        checked = check(material, PUBLIC, DIGEST)
        assert not checked.is_good
        assert words in str(checked.flaw)


def test_an_attestation_is_neither_good_nor_bad() -> None:
    for predicate in ("https://slsa.dev/provenance/v1", "https://cyclonedx.org/bom"):
        made = Bundle(bundle(KEY, statement(DIGEST, predicate=predicate)))
        assert check(made, PUBLIC, DIGEST) == Checked(False)


def test_any_good_signature_suffices_and_else_the_first_flaw_is_told() -> None:
    wrong, good = simple(payload(OTHER)), simple(payload(DIGEST))
    for materials in itertools.permutations((wrong, Unusable("x"), good)):
        assert signing.judged(materials, PUBLIC, DIGEST) == Checked(True)
    assert signing.judged((wrong, Unusable("x")), PUBLIC, DIGEST).flaw == f"it is of another image, {OTHER}"
    assert signing.judged((), PUBLIC, DIGEST) == Checked(False)


def enveloped(
    content: bytes, *signatures: Any, encode: Callable[[bytes], bytes] = base64.b64encode
) -> Bundle:
    """A bundle around a statement, signed by the key after what `signatures` puts before."""
    made = json.loads(bundle(KEY, content))
    envelope = made["dsseEnvelope"]
    kind = envelope["payloadType"]
    own = {"sig": encode(sign(KEY, signing.pre_authentication(kind, content))).decode()}
    envelope["payload"] = encode(content).decode()
    envelope["signatures"] = [*signatures, own]
    return Bundle(json.dumps(made).encode())


@pytest.mark.parametrize("junk", [{"sig": "!!"}, {"sig": []}, {}, None, "x", {"sig": "AAAA"}])
def test_a_good_signature_counts_beside_one_that_is_none(junk: Any) -> None:
    assert check(enveloped(statement(DIGEST), junk), PUBLIC, DIGEST) == Checked(True)
    assert not check(enveloped(statement(OTHER), junk), PUBLIC, DIGEST).is_good


@pytest.mark.parametrize("odd", [{"name": "x"}, {"digest": []}, {"digest": {"sha256": []}}, None, "x"])
def test_the_right_subject_counts_beside_one_without_a_digest(odd: Any) -> None:
    for digest in (DIGEST, OTHER):
        made = json.loads(statement(digest))
        made["subject"].insert(0, odd)
        assert check(enveloped(json.dumps(made).encode()), PUBLIC, DIGEST).is_good is (digest == DIGEST)


def test_both_alphabets_of_base64_are_read_and_no_mixture() -> None:
    padded = json.dumps(json.loads(statement(DIGEST)) | {"pad": "???>>>~~~~~~"}).encode()
    assert b"_" in base64.urlsafe_b64encode(padded)
    assert check(enveloped(padded, encode=base64.urlsafe_b64encode), PUBLIC, DIGEST) == Checked(True)
    made = json.loads(enveloped(padded).body)
    for spelling in (made["dsseEnvelope"]["payload"] + "\n", made["dsseEnvelope"]["payload"] + "-_"):
        made["dsseEnvelope"]["payload"] = spelling
        assert not check(Bundle(json.dumps(made).encode()), PUBLIC, DIGEST).is_good


def test_a_signature_of_another_type_of_payload_is_not_taken_over_the_same_bytes() -> None:
    made = json.loads(bundle(KEY, statement(DIGEST)))
    made["dsseEnvelope"]["payloadType"] = "text/plain"
    assert check(Bundle(json.dumps(made).encode()), PUBLIC, DIGEST) == Checked(False)
    plain = bundle(KEY, statement(DIGEST), signature=sign(KEY, statement(DIGEST)))
    assert not check(Bundle(plain), PUBLIC, DIGEST).is_good


ENVELOPED = signing.pre_authentication("application/vnd.in-toto+json", statement(DIGEST))
PAYLOAD_SIGNED, STATEMENT_SIGNED = sign(KEY, payload(DIGEST)), sign(KEY, ENVELOPED)


@given(st.booleans(), st.booleans(), st.integers(0, 10_000), st.integers(1, 255))
def test_no_byte_of_payload_or_signature_can_be_changed(
    is_bundle: bool, is_signature: bool, at: int, change: int
) -> None:
    content, signature = (
        (statement(DIGEST), STATEMENT_SIGNED) if is_bundle else (payload(DIGEST), PAYLOAD_SIGNED)
    )
    parts = [bytearray(content), bytearray(signature)]
    part = parts[is_signature]
    part[at % len(part)] ^= change
    altered, made = bytes(parts[0]), bytes(parts[1])
    material = Bundle(bundle(KEY, altered, signature=made)) if is_bundle else simple(altered, made)
    assert not check(material, PUBLIC, DIGEST).is_good


@given(
    st.binary(max_size=300)
    | st.recursive(st.none() | st.text(), st.lists).map(lambda v: json.dumps(v).encode())
)
def test_junk_is_never_good_and_never_raises(junk: bytes) -> None:
    assert not check(Bundle(junk), PUBLIC, DIGEST).is_good
    assert not check(SimpleSigning(junk, "AAAA"), PUBLIC, DIGEST).is_good
    assert not check(SimpleSigning(payload(DIGEST), junk.decode("latin-1")), PUBLIC, DIGEST).is_good


PARTS = st.sampled_from(["critical", "image", "type", "digest", "sha256", "subject", "name"])
SHAPES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["", "x", "AAAA", DIGEST]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["subject", "digest", "sig", "payload", "signatures"]), inner, max_size=3
        )
    ),
)


@given(st.sampled_from(["dsseEnvelope", "messageSignature", "mediaType"]), SHAPES)
def test_a_bundle_of_an_odd_shape_never_raises(part: str, value: Any) -> None:
    made = json.loads(bundle(KEY, statement(DIGEST)))
    if part == "messageSignature":
        del made["dsseEnvelope"]
    made[part] = {**made.get(part, {}), **value} if isinstance(value, dict) and part != "mediaType" else value
    check(Bundle(json.dumps(made).encode()), PUBLIC, DIGEST)
    odd = json.loads(statement(DIGEST)) | {"subject": value}
    check(Bundle(bundle(KEY, json.dumps(odd).encode())), PUBLIC, DIGEST)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8) | PARTS, inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.sampled_from(["_type", "subject", "predicateType", "predicate"]), JSON)
def test_a_signed_statement_of_an_odd_shape_is_never_good_and_never_raises(part: str, value: Any) -> None:
    made = json.loads(statement(OTHER)) | {part: value}
    assert not check(enveloped(json.dumps(made).encode()), PUBLIC, DIGEST).is_good


@given(st.sampled_from(["critical", "type", "image", "docker-manifest-digest"]), JSON)
def test_a_signed_payload_of_an_odd_shape_is_never_good_and_never_raises(part: str, value: Any) -> None:
    made = json.loads(payload(OTHER))
    critical = made["critical"]
    place = {"critical": made, "docker-manifest-digest": critical["image"]}.get(part, critical)
    place[part] = value
    assert not check(simple(json.dumps(made).encode()), PUBLIC, DIGEST).is_good


def test_keys_that_are_none_are_told() -> None:
    private = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    small = pem(rsa.generate_private_key(65537, 1024))
    odd = ec.generate_private_key(ec.SECP256K1()).public_key()
    curve = odd.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for given_pem, words in (
        (b"", "no public key in PEM"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "no public key in PEM"),
        (private, "private key"),
        (small, "1024 bits"),
        (curve, "none of ECDSA P-256"),
    ):
        with pytest.raises(ValueError, match=words):
            parse_key(given_pem)
