"""What refers to a digest: the referrers API where there is one, its fallback tag where not."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from parts.registry import (
    Behaviour,
    DockerRegistry,
    HostileServer,
    Received,
    Reply,
    always,
    json_reply,
    push_image,
    push_index,
    refusal,
    unique_name,
)

from automator.core.reference import TAG, Repository
from automator.edges.registry import RegistryClient
from automator.edges.registry.manifests import Malformed
from automator.edges.registry.referrers import Referrer, fallback_tag, read_referrers

DIGEST = "sha256:" + "a" * 64
INDEX = "application/vnd.oci.image.index.v1+json"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
SBOM = "application/spdx+json"

Hostile = Callable[[Behaviour], HostileServer]
MakeClient = Callable[..., RegistryClient]


def entry(number: int, kind: str = BUNDLE) -> dict[str, object]:
    return {
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": f"sha256:{number:064x}",
        "size": 1,
        "artifactType": kind,
        "annotations": {"dev.sigstore.bundle.content": "dsse-envelope", "bad": 3},
    }


def index(*entries: object, status: int = 200, **headers: str) -> Reply:
    return json_reply(
        {"schemaVersion": 2, "mediaType": INDEX, "manifests": list(entries)},
        status,
        **{"Content_Type": INDEX, **headers},
    )


def test_the_api_is_asked_once_for_the_wanted_type(hostile: Hostile, make_client: MakeClient) -> None:
    server = hostile(always(index(entry(1), OCI_Filters_Applied="artifactType")))
    found = make_client(server.host).referrers(Repository(server.host, "a/b"), DIGEST, BUNDLE)
    assert found == (
        Referrer(
            f"sha256:{1:064x}",
            "application/vnd.oci.image.manifest.v1+json",
            BUNDLE,
            {"dev.sigstore.bundle.content": "dsse-envelope"},
        ),
    )
    assert server.paths() == [f"GET /v2/a/b/referrers/{DIGEST}"]
    assert server.received[0].query == {"artifactType": BUNDLE}
    assert server.received[0].headers["accept"] == INDEX


def test_what_the_registry_did_not_filter_is_filtered_here(hostile: Hostile, make_client: MakeClient) -> None:
    server = hostile(always(index(entry(1, SBOM), entry(2))))
    client = make_client(server.host)
    repository = Repository(server.host, "a/b")
    assert [r.digest for r in client.referrers(repository, DIGEST, BUNDLE)] == [f"sha256:{2:064x}"]
    assert [r.artifact_type for r in client.referrers(repository, DIGEST)] == [SBOM, BUNDLE]


def test_a_filter_that_the_registry_claims_is_checked_all_the_same(
    hostile: Hostile, make_client: MakeClient
) -> None:
    server = hostile(always(index(entry(1, SBOM), OCI_Filters_Applied="artifactType")))
    assert make_client(server.host).referrers(Repository(server.host, "a/b"), DIGEST, BUNDLE) == ()


def test_referrers_come_in_pages_too(hostile: Hostile, make_client: MakeClient) -> None:
    def behave(request: Received) -> Reply:
        if "last" in request.query:
            return index(entry(2), entry(1))
        return index(entry(1), Link='<https://elsewhere.invalid/x?last=1>; rel="next"')

    server = hostile(behave)
    found = make_client(server.host).referrers(Repository(server.host, "a/b"), DIGEST)
    assert [r.digest for r in found] == [f"sha256:{1:064x}", f"sha256:{2:064x}"]
    assert len(server.received) == 2


def test_pages_of_referrers_end(hostile: Hostile, make_client: MakeClient) -> None:
    def behave(request: Received) -> Reply:
        at = int(request.query.get("last", "0")) + 1
        return index(entry(at), Link=f'<?last={at}>; rel="next"')

    server = hostile(behave)
    error = refusal(lambda: make_client(server.host).referrers(Repository(server.host, "a/b"), DIGEST))
    assert error.reason.code == "registry/pages"
    assert len(server.received) == 20


@pytest.mark.parametrize(
    "absent",
    [
        Reply(404, b"404 page not found\n", {"Content-Type": "text/plain"}),
        Reply(405),
        json_reply({"errors": [{"code": "UNSUPPORTED"}]}, 404),
        Reply(200, b"<html>", {"Content-Type": "text/html"}),
    ],
)
def test_a_registry_without_the_api_is_asked_for_the_fallback_tag_from_then_on(
    hostile: Hostile, make_client: MakeClient, absent: Reply
) -> None:
    tag = "sha256-" + "a" * 64
    server = hostile(lambda r: absent if "/referrers/" in r.path else index(entry(1), entry(2, SBOM)))
    client = make_client(server.host)
    repository = Repository(server.host, "a/b")
    for _ in range(2):
        assert [r.digest for r in client.referrers(repository, DIGEST, BUNDLE)] == [f"sha256:{1:064x}"]
    assert server.paths() == [
        f"GET /v2/a/b/referrers/{DIGEST}",
        f"GET /v2/a/b/manifests/{tag}",
        f"GET /v2/a/b/manifests/{tag}",
    ]


def test_a_repository_that_is_missing_says_nothing_of_the_api(
    hostile: Hostile, make_client: MakeClient
) -> None:
    def behave(request: Received) -> Reply:
        if "/a/gone/" in request.path:
            return json_reply({"errors": [{"code": "NAME_UNKNOWN"}]}, 404)
        return index(entry(1))

    server = hostile(behave)
    client = make_client(server.host)
    assert client.referrers(Repository(server.host, "a/gone"), DIGEST) == ()
    assert len(client.referrers(Repository(server.host, "a/b"), DIGEST)) == 1
    assert server.paths()[-1] == f"GET /v2/a/b/referrers/{DIGEST}"


def without_api(*names: str) -> Behaviour:
    def behave(request: Received) -> Reply:
        if any(f"/{name}/referrers/" in request.path for name in names):
            return Reply(404, b"404 page not found")
        return index(entry(1)) if "/referrers/" in request.path else Reply(404)

    return behave


def api_asked(server: HostileServer) -> int:
    return sum("/referrers/" in r.path for r in server.received)


def test_one_repository_without_the_api_hides_no_signature_of_another(
    hostile: Hostile, make_client: MakeClient
) -> None:
    server = hostile(without_api("old"))
    client = make_client(server.host)
    for name, number in (("a/old", 0), ("a/new", 1), ("b/new", 1), ("a/old", 0), ("a/new", 1)):
        assert len(client.referrers(Repository(server.host, name), DIGEST)) == number
    assert api_asked(server) == 4


def test_where_several_repositories_lack_the_api_the_next_is_not_asked(
    hostile: Hostile, make_client: MakeClient
) -> None:
    server = hostile(without_api("r1", "r2", "r3", "r4"))
    time = [0.0]
    client = make_client(server.host, clock=lambda: time[0])
    for name in ("r1", "r2", "r3", "r4", "r1"):
        client.referrers(Repository(server.host, f"a/{name}"), DIGEST)
    assert api_asked(server) == 3
    time[0] += 3601
    client.referrers(Repository(server.host, "a/r4"), DIGEST)
    assert api_asked(server) == 4


def test_an_api_that_answered_before_is_asked_again_after_a_404(
    hostile: Hostile, make_client: MakeClient
) -> None:
    gone = Reply(404, b"404 page not found")
    server = hostile(
        lambda r: gone if len(server.received) == 2 or "/manifests/" in r.path else index(entry(1))
    )
    client = make_client(server.host)
    found = [len(client.referrers(Repository(server.host, "a/b"), DIGEST)) for _ in range(3)]
    assert found == [1, 0, 1]


def test_no_list_of_referrers_is_an_empty_one(hostile: Hostile, make_client: MakeClient) -> None:
    server = hostile(always(json_reply({"schemaVersion": 2, "manifests": None}, Content_Type=INDEX)))
    assert make_client(server.host).referrers(Repository(server.host, "a/b"), DIGEST) == ()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
ENTRIES = st.fixed_dictionaries(
    {"digest": st.just(DIGEST) | JSON},
    optional=dict.fromkeys(("mediaType", "artifactType", "annotations"), JSON),
)


@given(JSON | st.fixed_dictionaries({"manifests": st.lists(ENTRIES | JSON, max_size=3) | JSON}))
def test_whatever_json_comes_for_referrers_it_is_read_or_refused(index: object) -> None:
    try:
        assert all(referrer.digest == DIGEST for referrer in read_referrers(index))
    except Malformed:
        return


@pytest.mark.parametrize(
    "body", [[], {"manifests": 3}, {"manifests": [3]}, {"manifests": [{"digest": "x"}]}, {"config": {}}]
)
def test_nonsense_for_referrers_is_a_bad_answer(
    hostile: Hostile, make_client: MakeClient, body: object
) -> None:
    server = hostile(always(json_reply(body)))
    error = refusal(lambda: make_client(server.host).referrers(Repository(server.host, "a/b"), DIGEST))
    assert error.reason.code == "registry/bad-answer"


@given(st.from_regex(r"[a-z0-9+._-]{1,50}:[a-zA-Z0-9=_-]{32,200}", fullmatch=True))
def test_a_fallback_tag_is_a_tag(digest: str) -> None:
    tag = fallback_tag(digest)
    assert TAG.fullmatch(tag) or tag[0] in ".-"
    assert len(tag) <= 97


@pytest.mark.needs("docker-registry")
@pytest.mark.needs("skopeo")
def test_a_real_registry_without_the_api_serves_the_fallback_tag(
    docker_registry: DockerRegistry, make_client: MakeClient
) -> None:
    repository = Repository(docker_registry.host, unique_name())
    client = make_client(docker_registry.host)
    image = push_image(docker_registry.host, repository.path, "1.0.0")
    assert client.referrers(repository, image) == ()
    push_index(docker_registry.host, repository.path, fallback_tag(image), platforms=[("linux/amd64", None)])
    assert len(client.referrers(repository, image)) == 1
    assert client.requests == {docker_registry.host: 3}


@pytest.mark.needs("docker-registry")
@pytest.mark.needs("skopeo")
def test_a_manifest_and_its_blobs_come_verified(
    docker_registry: DockerRegistry, make_client: MakeClient
) -> None:
    repository = Repository(docker_registry.host, unique_name())
    client = make_client(docker_registry.host)
    pushed = push_image(docker_registry.host, repository.path, "1.0.0", labels={"a": "b"})
    digest, manifest = client.manifest(repository, "1.0.0")
    config = client.blob(repository, manifest["config"]["digest"], 10_000)
    assert digest == pushed
    assert json.loads(config)["config"]["Labels"] == {"a": "b"}
    missing = refusal(lambda: client.manifest(repository, "sha256-x.sig"))
    assert missing.reason.code == "registry/not-found"
    large = refusal(lambda: client.blob(repository, manifest["config"]["digest"], 10))
    assert large.reason.code == "registry/too-large"


def test_a_blob_of_other_bytes_is_refused(hostile: Hostile, make_client: MakeClient) -> None:
    server = hostile(always(Reply(200, b"tampered")))
    error = refusal(lambda: make_client(server.host).blob(Repository(server.host, "a/b"), DIGEST, 100))
    assert error.reason.code == "registry/bad-digest"


@pytest.mark.parametrize("algorithm", ["sha256", "sha384", "sha512"])
def test_digests_of_every_algorithm_are_verified(
    hostile: Hostile, make_client: MakeClient, algorithm: str
) -> None:
    digest = f"{algorithm}:{hashlib.new(algorithm, b'content').hexdigest()}"
    server = hostile(lambda r: Reply(200, b"content" if r.path.endswith(digest) else b"else"))
    client = make_client(server.host)
    repository = Repository(server.host, "a/b")
    assert client.blob(repository, digest, 100) == b"content"
    wrong = f"{algorithm}:{hashlib.new(algorithm, b'x').hexdigest()}"
    assert refusal(lambda: client.blob(repository, wrong, 100)).reason.code == "registry/bad-digest"
