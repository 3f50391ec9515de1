"""Signatures in registries: found in both forms, with few requests, and within bounds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from parts import signing
from parts.registry import (
    INDEX_TYPE,
    PLAIN,
    DockerRegistry,
    HostileServer,
    Received,
    Reply,
    json_reply,
    push_image,
    push_index,
    refusal,
    unique_name,
)

from automator.core.cosign import check, parse_key
from automator.core.reference import Repository
from automator.core.signed import Checked, Material
from automator.demo.registry import EmbeddedRegistry
from automator.edges.registry import RegistryClient, SignatureSource
from automator.edges.registry.signatures import BUNDLE_LIMIT, MAX_SIGNATURES

BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"

KEY = signing.new_key()
OTHER_KEY = signing.new_key()
PUBLIC = parse_key(signing.pem(KEY))


@pytest.fixture(scope="module")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    with DockerRegistry(tmp_path_factory.mktemp("registry")) as registry:
        yield registry


class Fetcher:
    """A source of signatures, and the requests that it sent since it was asked last."""

    def __init__(self, host: str) -> None:
        self.client = RegistryClient({host: PLAIN})
        self.source = SignatureSource(self.client)
        self.host = host

    def verdict(self, name: str, digest: str) -> tuple[bool, str | None, int]:
        """Whether a good one is there, what is wrong with the others, and what that cost."""
        before = self.client.requests.get(self.host, 0)
        found = Checked(False)

        def suffices(material: Material) -> bool:
            nonlocal found
            found = found.or_else(check(material, PUBLIC, digest))
            return found.is_good

        self.source.fetch(Repository(self.host, name), digest, suffices)
        return found.is_good, found.flaw, self.client.requests[self.host] - before


@pytest.mark.needs("docker-registry")
@pytest.mark.needs("skopeo")
def test_a_legacy_signature_costs_two_requests(docker: DockerRegistry) -> None:
    name = unique_name()
    for digest in (
        push_image(docker.host, name, "1.0.0"),
        push_index(docker.host, name, "1.0.1", platforms=[("linux/amd64", None), ("linux/arm64", None)]),
    ):
        signing.sign_legacy(docker.host, name, digest, KEY)
        assert Fetcher(docker.host).verdict(name, digest) == (True, None, 2)


@pytest.mark.needs("docker-registry")
@pytest.mark.needs("skopeo")
def test_a_bundle_is_found_by_the_fallback_tag_and_first_from_then_on(docker: DockerRegistry) -> None:
    name, fetcher = unique_name(), Fetcher(docker.host)
    digests = [push_image(docker.host, name, tag) for tag in ("1.0.0", "1.0.1")]
    for digest in digests:
        signing.sign_bundle(docker.host, name, digest, KEY)
    # The legacy tag, the API that is not there, the fallback tag, the manifest, the bundle.
    assert fetcher.verdict(name, digests[0]) == (True, None, 5)
    assert fetcher.verdict(name, digests[1]) == (True, None, 3)


@pytest.mark.needs("docker-registry")
@pytest.mark.needs("skopeo")
def test_what_is_not_signed_is_told_and_what_is_wrong_too(docker: DockerRegistry) -> None:
    name, fetcher = unique_name(), Fetcher(docker.host)
    digest, other = (push_image(docker.host, name, tag) for tag in ("1.0.0", "1.0.1"))
    assert fetcher.verdict(name, digest)[:2] == (False, None)
    assert fetcher.verdict(name, digest)[2] == 2  # the two tags: that there is no API is known by now
    signing.sign_legacy(docker.host, name, digest, OTHER_KEY)
    assert fetcher.verdict(name, digest)[:2] == (False, "it is by another key, or was altered")
    copied = signing.payload(other)
    signing.push_legacy(docker.host, name, digest, (copied, signing.sign(KEY, copied)))
    assert fetcher.verdict(name, digest)[:2] == (False, f"it is of another image, {other}")
    own = signing.payload(digest)
    signing.push_legacy(docker.host, name, digest, (own, b"junk"), (own, signing.sign(KEY, own)))
    assert fetcher.verdict(name, digest) == (True, None, 2)


@pytest.mark.needs("docker-registry")
@pytest.mark.needs("skopeo")
def test_a_bundle_counts_beside_a_legacy_signature_of_a_stranger(docker: DockerRegistry) -> None:
    name = unique_name()
    digest = push_image(docker.host, name, "1.0.0")
    signing.sign_legacy(docker.host, name, digest, OTHER_KEY)
    attestation = signing.bundle(KEY, signing.statement(digest, predicate="https://slsa.dev/provenance/v1"))
    signed = signing.bundle(KEY, signing.statement(digest))
    signing.push_bundles(docker.host, name, digest, b"junk", attestation, signed)
    assert Fetcher(docker.host).verdict(name, digest)[0]
    signing.push_bundles(docker.host, name, digest, b"junk", attestation)
    assert Fetcher(docker.host).verdict(name, digest)[0] is False


@pytest.mark.needs("docker-registry")
@pytest.mark.needs("skopeo")
def test_so_many_signatures_are_looked_at_and_the_rest_is_told(docker: DockerRegistry) -> None:
    name = unique_name()
    digest = push_image(docker.host, name, "1.0.0")
    own, junk = signing.payload(digest), [(f"{i}".encode(), b"x") for i in range(MAX_SIGNATURES)]
    signing.push_legacy(docker.host, name, digest, (own, signing.sign(KEY, own)), *junk)
    is_good, flaw, cost = Fetcher(docker.host).verdict(name, digest)
    assert not is_good
    assert (
        flaw == f"it cannot be read (there are {MAX_SIGNATURES + 1}, of which {MAX_SIGNATURES} are looked at)"
    )
    assert cost <= MAX_SIGNATURES + 3
    signing.push_legacy(docker.host, name, digest, *junk, (own, signing.sign(KEY, own)))
    assert Fetcher(docker.host).verdict(name, digest)[0]  # cosign adds the latest at the end


class Gateway:
    """A registry with the referrers API, which is another registry with this added, and with faults."""

    def __init__(self, inner: str) -> None:
        self.inner = inner
        self.referrers: dict[str, object] = {}
        self.faults: dict[str, Reply] = {}

    def __call__(self, received: Received) -> Reply:
        last = received.path.rpartition("/")[2]
        for part, fault in self.faults.items():
            if part in received.path:
                return fault
        if "/referrers/" in received.path:
            empty = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": []}
            return json_reply(self.referrers.get(last, empty), Content_Type=INDEX_TYPE)
        headers = {k: v for k, v in received.headers.items() if k == "accept"}
        with requests.Session() as session:
            session.trust_env = False
            answer = session.request(
                received.method, f"http://{self.inner}{received.path}", headers=headers, timeout=20
            )
        kept = ("Content-Type", "Docker-Content-Digest")
        return Reply(
            answer.status_code, answer.content, {k: answer.headers[k] for k in kept if k in answer.headers}
        )


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[tuple[Gateway, HostileServer]]:
    with EmbeddedRegistry(tmp_path / "images") as inner:
        behave = Gateway(inner.host)
        with HostileServer(behave) as server:
            yield behave, server


@pytest.mark.needs("skopeo")
def test_bundles_are_found_by_the_referrers_api(gateway: tuple[Gateway, HostileServer]) -> None:
    behave, server = gateway
    fetcher = Fetcher(server.host)
    for tag, cost in (("1.0.0", 4), ("1.0.1", 3)):
        digest = push_image(behave.inner, "acme/web", tag)
        body = signing.bundle(KEY, signing.statement(digest))
        index = signing.push_bundles(behave.inner, "acme/web", digest, body, tag=False)
        behave.referrers[digest] = index
        assert fetcher.verdict("acme/web", digest) == (True, None, cost)
    unsigned = push_image(behave.inner, "acme/web", "1.0.2")
    assert fetcher.verdict("acme/web", unsigned)[:2] == (False, None)


@pytest.mark.needs("skopeo")
@pytest.mark.parametrize("where", [".sig", "/referrers/", "/blobs/"])
def test_a_registry_that_fails_leaves_it_open_whether_it_is_signed(
    gateway: tuple[Gateway, HostileServer], where: str
) -> None:
    behave, server = gateway
    digest = push_image(behave.inner, "acme/web", "1.0.0")
    body = signing.bundle(KEY, signing.statement(digest))
    behave.referrers[digest] = signing.push_bundles(behave.inner, "acme/web", digest, body, tag=False)
    behave.faults[where] = Reply(500)
    fetcher = Fetcher(server.host)
    found = refusal(lambda: fetcher.verdict("acme/web", digest))
    assert found.reason.code == "registry/server-error"


@pytest.mark.needs("skopeo")
@pytest.mark.parametrize(
    ("layer", "words"),
    [
        ({"digest": "sha256:x"}, "its layer has no digest"),
        ({"digest": "sha256:" + "1" * 64}, "HTTP 404"),
        ({"annotations": []}, "its signature is missing"),
    ],
)
def test_one_signature_that_is_broken_counts_for_nothing(
    gateway: tuple[Gateway, HostileServer], layer: dict[str, object], words: str
) -> None:
    behave, server = gateway
    digest = push_image(behave.inner, "acme/web", "1.0.0")
    signing.sign_legacy(behave.inner, "acme/web", digest, KEY)
    with requests.Session() as session:
        session.trust_env = False
        tag = digest.replace(":", "-") + ".sig"
        manifest = session.get(f"http://{behave.inner}/v2/acme/web/manifests/{tag}", timeout=20).json()
    own = manifest["layers"][0]
    kind = {"Content-Type": signing.MANIFEST_TYPE}
    manifest["layers"] = [{**own, **layer}]
    behave.faults[".sig"] = Reply(200, json.dumps(manifest).encode(), kind)
    is_good, flaw, _ = Fetcher(server.host).verdict("acme/web", digest)
    assert not is_good
    assert words in str(flaw)
    manifest["layers"] = [own, {**own, **layer}]
    behave.faults[".sig"] = Reply(200, json.dumps(manifest).encode(), kind)
    assert Fetcher(server.host).verdict("acme/web", digest)[0]


@pytest.mark.needs("skopeo")
def test_a_payload_without_end_is_not_read_to_the_end(gateway: tuple[Gateway, HostileServer]) -> None:
    behave, server = gateway
    digest = push_image(behave.inner, "acme/web", "1.0.0")
    signing.sign_legacy(behave.inner, "acme/web", digest, KEY)
    behave.faults["/blobs/"] = Reply(200, b"x" * 1_000_000)
    is_good, flaw, _ = Fetcher(server.host).verdict("acme/web", digest)
    assert not is_good
    assert "65536" in str(flaw)


@pytest.mark.needs("skopeo")
def test_no_more_is_read_of_a_bundle_than_bundles_have(gateway: tuple[Gateway, HostileServer]) -> None:
    behave, server = gateway
    digest = push_image(behave.inner, "acme/web", "1.0.0")
    large = json.dumps({"mediaType": BUNDLE, "x": "y" * BUNDLE_LIMIT}).encode()
    signed = signing.bundle(KEY, signing.statement(digest))
    for bodies, is_good in (((large,), False), ((large, signed), True)):
        index = signing.push_bundles(behave.inner, "acme/web", digest, *bodies, tag=False)
        behave.referrers[digest] = index
        found = Fetcher(server.host).verdict("acme/web", digest)
        assert found[0] is is_good
        assert is_good or "131072" in str(found[1])
