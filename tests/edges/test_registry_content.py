"""Digests and manifests where registries disagree with the specification, or with themselves."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from parts.registry import (
    Behaviour,
    HostileServer,
    Received,
    Reply,
    always,
    json_reply,
    refusal,
)

from automator.core.reference import Image, Repository
from automator.edges.registry import RegistryClient
from automator.edges.registry.manifests import Malformed, read_config, read_manifest, read_tags

BUILT = datetime(2026, 11, 20, 9, 14, 2, tzinfo=UTC)
CREATED = "org.opencontainers.image.created"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_IMAGE = "application/vnd.oci.image.manifest.v1+json"
DOCKER_IMAGE = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LIE = "sha256:" + "b" * 64

Hostile = Callable[[Behaviour], HostileServer]
MakeClient = Callable[..., RegistryClient]


def digest_of(body: bytes, algorithm: str = "sha256") -> str:
    return f"{algorithm}:{hashlib.new(algorithm, body).hexdigest()}"


def methods(server: HostileServer) -> list[str]:
    return [r.method for r in server.received]


# -- HEAD -------------------------------------------------------------------------------------------

SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1+prettyjws"
CHART = json_reply({"config": {"mediaType": "application/vnd.cncf.helm.config.v1+json"}})


@pytest.mark.parametrize(
    "head",
    [
        Reply(200),
        Reply(200, b"", {"Docker-Content-Digest": "md5:x"}),
        Reply(200, b"", {"Docker-Content-Digest": LIE, "Content-Type": "text/html; charset=utf-8"}),
        Reply(200, b"", {"Docker-Content-Digest": LIE, "Content-Type": SCHEMA_1}),
        Reply(400),
        Reply(403),
        Reply(404),
        Reply(405),
        Reply(501),
    ],
)
def test_where_head_is_of_no_use_a_get_tells_and_head_is_not_asked_again(
    hostile: Hostile, make_client: MakeClient, head: Reply
) -> None:
    server = hostile(lambda r: head if r.method == "HEAD" else CHART)
    client = make_client(server.host)
    repository = Repository(server.host, "a/b")
    assert [client.digest(repository, "1.0.0") for _ in range(3)] == [digest_of(CHART.body)] * 3
    assert methods(server) == ["HEAD", "GET", "GET", "GET"]


def test_a_tag_that_is_nowhere_is_told_in_the_registrys_words(
    hostile: Hostile, make_client: MakeClient
) -> None:
    no = json_reply({"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}, 404)
    server = hostile(always(no))
    client = make_client(server.host)
    error = refusal(lambda: client.digest(Repository(server.host, "a/b"), "1.0.0"))
    assert error.reason.code == "registry/not-found"
    assert "manifest unknown" in str(error)


def test_one_tag_that_was_just_pushed_does_not_make_head_useless(
    hostile: Hostile, make_client: MakeClient
) -> None:
    good = Reply(200, b"", {"Docker-Content-Digest": LIE})

    def behave(request: Received) -> Reply:
        if request.path.endswith("/new"):
            return Reply(404) if request.method == "HEAD" else CHART
        return good

    server = hostile(behave)
    client = make_client(server.host)
    repository = Repository(server.host, "a/b")
    for tag in ("1.0.0", "new", "1.0.0"):
        client.digest(repository, tag)
    assert methods(server) == ["HEAD", "HEAD", "GET", "HEAD"]


def test_a_head_with_another_digest_than_the_bytes_is_found_out(
    hostile: Hostile, make_client: MakeClient
) -> None:
    """As registries do that answer a HEAD without looking at Accept."""
    server = hostile(
        lambda r: Reply(200, b"", {"Docker-Content-Digest": LIE}) if r.method == "HEAD" else CHART
    )
    client = make_client(server.host)
    repository = Repository(server.host, "a/b")
    assert client.digest(repository, "1.0.0") == LIE  # nothing to compare it with yet
    assert client.image(repository, "1.0.0").digest == digest_of(CHART.body)
    assert client.digest(repository, "1.0.0") == digest_of(CHART.body)
    assert methods(server) == ["HEAD", "GET", "HEAD", "GET"]


def test_a_tag_that_moves_between_head_and_get_makes_no_liar(
    hostile: Hostile, make_client: MakeClient
) -> None:
    said = [LIE, digest_of(CHART.body), digest_of(CHART.body)]
    server = hostile(
        lambda r: Reply(200, b"", {"Docker-Content-Digest": said.pop(0)}) if r.method == "HEAD" else CHART
    )
    client = make_client(server.host)
    repository = Repository(server.host, "a/b")
    client.digest(repository, "1.0.0")
    client.image(repository, "1.0.0")
    client.digest(repository, "1.0.0")
    assert methods(server) == ["HEAD", "GET", "HEAD", "HEAD"]


def head_useless(*names: str) -> Behaviour:
    def behave(request: Received) -> Reply:
        useless = any(f"/{name}/" in request.path for name in names)
        good = Reply(200, b"", {"Docker-Content-Digest": digest_of(CHART.body)})
        return CHART if request.method == "GET" else Reply(405) if useless else good

    return behave


def test_one_repository_with_a_lying_head_costs_the_others_nothing(
    hostile: Hostile, make_client: MakeClient
) -> None:
    def behave(request: Received) -> Reply:
        said = LIE if "/liar/" in request.path else digest_of(CHART.body)
        return Reply(200, b"", {"Docker-Content-Digest": said}) if request.method == "HEAD" else CHART

    server = hostile(behave)
    client = make_client(server.host)
    client.digest(Repository(server.host, "a/liar"), "1.0.0")
    client.image(Repository(server.host, "a/liar"), "1.0.0")
    del server.received[:]
    for name in ("a/liar", "a/b", "b/c"):
        assert client.digest(Repository(server.host, name), "1.0.0") == digest_of(CHART.body)
    assert methods(server) == ["GET", "HEAD", "HEAD"]


def test_where_head_is_of_no_use_in_several_repositories_it_is_asked_in_no_other_for_an_hour(
    hostile: Hostile, make_client: MakeClient
) -> None:
    server = hostile(head_useless("r1", "r2", "r3", "r4"))
    time = [0.0]
    client = make_client(server.host, clock=lambda: time[0])
    for name in ("r1", "r2", "r3"):
        client.digest(Repository(server.host, f"a/{name}"), "1.0.0")
    assert methods(server) == ["HEAD", "GET"] * 3
    client.digest(Repository(server.host, "a/r4"), "1.0.0")
    assert methods(server)[6:] == ["GET"]
    time[0] += 3601
    client.digest(Repository(server.host, "a/good"), "1.0.0")
    assert methods(server)[7:] == ["HEAD"]


# -- manifests --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content_type", "manifest", "words"),
    [
        (OCI_IMAGE, {"mediaType": OCI_INDEX, "manifests": []}, "calls itself"),
        (OCI_INDEX, {"mediaType": OCI_IMAGE, "config": {}}, "calls itself"),
        (OCI_INDEX, {"config": {}}, "no `manifests`"),
        (DOCKER_IMAGE, {"manifests": []}, "is an index"),
        ("", {"mediaType": OCI_INDEX, "config": {}}, "no `manifests`"),
        ("", {"manifests": [], "config": {}}, "at the same time"),
        ("", {"manifests": [], "layers": []}, "at the same time"),
        ("", {"schemaVersion": 1, "fsLayers": []}, "schema 1"),
        ("", {"manifests": [{"digest": "sha256:x"}]}, "no digest"),
    ],
)
def test_a_manifest_that_can_be_read_in_two_ways_is_refused(
    hostile: Hostile, make_client: MakeClient, content_type: str, manifest: object, words: str
) -> None:
    server = hostile(always(json_reply(manifest, Content_Type=content_type)))
    error = refusal(lambda: make_client(server.host).image(Repository(server.host, "a/b"), "1.0.0"))
    assert error.reason.code == "registry/bad-answer"
    assert words in str(error)


@pytest.mark.parametrize(
    "content_type", ["", "application/json", "text/plain", f"{OCI_IMAGE}; charset=utf-8"]
)
@pytest.mark.parametrize(
    ("manifest", "built"),
    [
        # an OCI manifest need not say its own type; an artifact is no image, yet has a digest
        ({"config": {"mediaType": "application/vnd.cncf.flux.config.v1+json"}}, None),
        ({"config": {"mediaType": "application/vnd.oci.empty.v1+json"}, "artifactType": "a/b"}, None),
        ({"mediaType": OCI_IMAGE, "config": {}, "annotations": {CREATED: "2026-11-20T09:14:02Z"}}, BUILT),
    ],
)
def test_whatever_is_no_image_has_a_digest_all_the_same(
    hostile: Hostile, make_client: MakeClient, content_type: str, manifest: object, built: datetime | None
) -> None:
    reply = json_reply(manifest, Content_Type=content_type)
    server = hostile(always(reply))
    image = make_client(server.host).image(Repository(server.host, "a/b"), "1.0.0")
    assert image == Image(digest_of(reply.body), built, platforms=())
    assert len(server.received) == 1


def test_an_index_in_an_index_is_dated_by_the_image_in_it(hostile: Hostile, make_client: MakeClient) -> None:
    config = json.dumps({"created": "2026-11-20T09:14:02Z"}).encode()
    image = json.dumps({"config": {"mediaType": CONFIG, "digest": digest_of(config)}}).encode()
    inner = json.dumps({"manifests": [{"digest": digest_of(image)}]}).encode()
    outer = json.dumps({"manifests": [{"digest": digest_of(inner)}]}).encode()
    bodies = {digest_of(body): body for body in (config, image, inner)} | {"1.0.0": outer}
    server = hostile(lambda r: Reply(200, bodies[r.path.rpartition("/")[2]]))
    assert make_client(server.host).image(Repository(server.host, "a/b"), "1.0.0").built == BUILT
    assert len(server.received) == 4


def test_a_copied_index_without_its_usual_image_is_dated_by_another(
    hostile: Hostile, make_client: MakeClient
) -> None:
    config = json.dumps({"created": "2026-11-20T09:14:02Z"}).encode()
    image = json.dumps({"config": {"mediaType": CONFIG, "digest": digest_of(config)}}).encode()
    entries = [
        {"digest": digest, "platform": {"os": "linux", "architecture": architecture}}
        for digest, architecture in ((digest_of(image), "arm64"), (LIE, "amd64"))
    ]
    bodies = {digest_of(config): config, digest_of(image): image}
    bodies["1.0.0"] = json.dumps({"manifests": entries}).encode()

    def behave(request: Received) -> Reply:
        body = bodies.get(request.path.rpartition("/")[2])
        return (
            json_reply({"errors": [{"code": "MANIFEST_UNKNOWN"}]}, 404) if body is None else Reply(200, body)
        )

    server = hostile(behave)
    client = make_client(server.host)
    repository = Repository(server.host, "a/b")
    assert client.image(repository, "1.0.0").built == BUILT
    assert [r.path.rpartition("/")[2][:10] for r in server.received[:3]] == [
        "1.0.0",
        LIE[:10],
        digest_of(image)[:10],
    ]
    assert len(server.received) == 4
    del bodies[digest_of(image)]
    error = refusal(lambda: client.image(repository, "1.0.0"))
    assert error.reason.code == "registry/not-found"
    assert LIE in str(error)


@pytest.mark.parametrize("kind", [[], {}, 3, [OCI_IMAGE]])
def test_a_media_type_that_is_no_text_is_none(
    hostile: Hostile, make_client: MakeClient, kind: object
) -> None:
    whole = json_reply({"mediaType": kind, "config": {"mediaType": CONFIG, "digest": LIE}})
    config = json_reply({"config": {"mediaType": kind, "digest": LIE}})
    server = hostile(lambda r: whole if r.path.endswith("/whole") else config)
    client = make_client(server.host)
    repository = Repository(server.host, "a/b")
    error = refusal(lambda: client.image(repository, "whole"))
    assert error.reason.code == "registry/bad-answer"
    assert "`mediaType`" in str(error)
    assert client.image(repository, "config") == Image(digest_of(config.body), None, platforms=())


def test_labels_and_platforms_that_no_file_can_hold_are_not_kept(
    hostile: Hostile, make_client: MakeClient
) -> None:
    labels = {"org.opencontainers.image.source": "https://x/\ud800"}
    config = json.dumps(
        {"os": 5, "architecture": "arm64", "variant": "v8", "config": {"Labels": labels}}
    ).encode()
    manifest = json_reply({"config": {"mediaType": CONFIG, "digest": digest_of(config)}})
    server = hostile(lambda r: Reply(200, config) if "/blobs/" in r.path else manifest)
    image = make_client(server.host).image(Repository(server.host, "a/b"), "1.0.0")
    assert image.source == "https://x/?"
    assert image.platforms == ()


def test_labels_are_one_line_of_what_can_be_printed(hostile: Hostile, make_client: MakeClient) -> None:
    labels = {
        "org.opencontainers.image.source": "https://x/\x1b[2J\r\nSigned-off-by: nobody\x00",
        "org.opencontainers.image.revision": "4b1c\n" * 1000,
    }
    config = json.dumps({"config": {"Labels": labels}}).encode()
    manifest = json_reply({"config": {"mediaType": CONFIG, "digest": digest_of(config)}})
    server = hostile(lambda r: Reply(200, config) if "/blobs/" in r.path else manifest)
    image = make_client(server.host).image(Repository(server.host, "a/b"), "1.0.0")
    assert image.source == "https://x/ [2J Signed-off-by: nobody"
    assert image.revision is not None
    assert len(image.revision) == 200
    assert image.revision.isprintable()


def test_a_label_of_nothing_but_control_characters_is_none() -> None:
    labels = {"org.opencontainers.image.source": "\n\x00 \x7f"}
    assert read_config({"config": {"Labels": labels}}).source is None


JSON = st.sampled_from(
    [None, True, -1, 10**40, 0.5, "", "linux", "2026-11-20T09:14:02Z", LIE, [], {}, [{}], "\ud800"]
)
KEYS = {*("mediaType", "artifactType", "config", "manifests", "annotations", "layers", "schemaVersion")}
KEYS |= {*("digest", "platform", "os", "architecture", "variant", "tags", "manifest", "tag", "timeCreatedMs")}
KEYS |= {*("created", "Labels", CREATED, LIE)}


def keyed(value: st.SearchStrategy[object]) -> st.SearchStrategy[dict[str, object]]:
    """Objects with the keys that are read."""
    return st.dictionaries(st.sampled_from(sorted(KEYS)), value, max_size=8)


DEEP = JSON | keyed(JSON | keyed(JSON))
SHAPED = keyed(DEEP | st.lists(DEEP, max_size=2))


@given(SHAPED | JSON, st.sampled_from(["", OCI_INDEX, OCI_IMAGE]))
def test_whatever_json_comes_it_is_read_or_refused(parsed: object, content_type: str) -> None:
    for read in (lambda j: read_manifest(j, content_type), read_tags, read_config):
        with suppress(Malformed):
            read(parsed)


def test_an_index_without_end_is_left_undated(hostile: Hostile, make_client: MakeClient) -> None:
    def nested(depth: int) -> list[bytes]:
        if depth == 0:
            return [json.dumps({"config": {}}).encode()]
        inner = nested(depth - 1)
        return [json.dumps({"manifests": [{"digest": digest_of(inner[0])}]}).encode(), *inner]

    manifests = nested(10)
    bodies = {digest_of(body): body for body in manifests} | {"1.0.0": manifests[0]}
    server = hostile(lambda r: Reply(200, bodies[r.path.rpartition("/")[2]]))
    assert make_client(server.host).image(Repository(server.host, "a/b"), "1.0.0").built is None
    assert len(server.received) == 3


@pytest.mark.parametrize("algorithm", ["sha256", "sha384", "sha512"])
def test_the_digest_is_of_the_algorithm_that_the_registry_uses(
    hostile: Hostile, make_client: MakeClient, algorithm: str
) -> None:
    digest = digest_of(CHART.body, algorithm)
    server = hostile(always(Reply(200, CHART.body, {"Docker-Content-Digest": digest})))
    assert make_client(server.host).image(Repository(server.host, "a/b"), "1.0.0").digest == digest


@pytest.mark.parametrize("part", ["manifest", "config"])
def test_manifests_and_configs_may_have_four_mebibytes(
    hostile: Hostile, make_client: MakeClient, part: str
) -> None:
    padding = "x" * (4 * 1024 * 1024 - 1000)
    config = json.dumps(
        {"created": "2026-11-20T09:14:02Z", "pad": padding if part == "config" else ""}
    ).encode()
    manifest = {"config": {"mediaType": CONFIG, "digest": digest_of(config)}}
    body = json.dumps(manifest | {"pad": padding if part == "manifest" else ""}).encode()
    server = hostile(lambda r: Reply(200, config if "/blobs/" in r.path else body))
    assert make_client(server.host).image(Repository(server.host, "a/b"), "1.0.0").built == BUILT


# -- refusals ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "code", "words"),
    [
        (json_reply({"errors": [{"code": "DENIED"}]}, 403), "registry/denied", "this login may not"),
        (json_reply({"errors": [{"code": "UNAUTHORIZED"}]}, 401), "registry/denied", "it wants a login"),
        (json_reply({"errors": [{"code": "NAME_UNKNOWN"}]}, 404), "registry/not-found", "no such repository"),
        (json_reply({"errors": [{"code": "NAME_INVALID"}]}, 400), "registry/not-found", "HTTP 400"),
        (json_reply({"errors": [{"code": "TOOMANYREQUESTS"}]}, 403), "registry/rate-limited", "too many"),
        (json_reply({"errors": [{"code": "ODD\x1b[1m"}]}, 418), "registry/bad-answer", "ODD"),
        (json_reply({"errors": "x"}, 404), "registry/not-found", "HTTP 404"),
        (json_reply([], 404), "registry/not-found", "HTTP 404"),
    ],
)
def test_error_codes_without_words_become_words(
    hostile: Hostile, make_client: MakeClient, reply: Reply, code: str, words: str
) -> None:
    server = hostile(always(reply))
    error = refusal(lambda: make_client(server.host).image(Repository(server.host, "a/b"), "1.0.0"))
    assert error.reason.code == code
    assert words in str(error)
    assert str(error).isprintable()


def test_an_error_page_without_end_is_read_to_its_bound_only(
    hostile: Hostile, make_client: MakeClient
) -> None:
    server = hostile(always(Reply(404, b"x" * 200_000, {"Content-Type": "text/html"}, drip=60)))
    error = refusal(lambda: make_client(server.host).image(Repository(server.host, "a/b"), "1.0.0"))
    assert error.reason.code == "registry/not-found"
    assert "xxx" not in str(error)


# -- warnings ---------------------------------------------------------------------------------------


def test_a_warning_is_told_once_in_one_line(hostile: Hostile, make_client: MakeClient) -> None:
    header = '299 - "this tag is \\"old\\"", 110 - "stale", 299 - "moving\x7fsoon" , 299 - "" '
    server = hostile(always(json_reply({"config": {}}, Warning=header)))
    heard: list[tuple[str, str]] = []
    client = make_client(server.host, warned=lambda host, text: heard.append((host, text)))
    for _ in range(3):
        client.image(Repository(server.host, "a/b"), "1.0.0")
    assert [host for host, _ in heard] == [server.host] * 2
    assert heard[0][1] == 'this tag is "old"'
    assert heard[1][1].isprintable()
    assert client.warnings == tuple(heard)


def test_warnings_are_bounded(hostile: Hostile, make_client: MakeClient) -> None:
    server = hostile(
        lambda _: json_reply(
            {"config": {}}, Warning=", ".join(f'299 - "{len(server.received)}-{i}"' for i in range(50))
        )
    )
    other = hostile(always(json_reply({"config": {}}, Warning='299 - "of the other"')))
    client = make_client(server.host, other.host)
    for _ in range(5):
        client.image(Repository(server.host, "a/b"), "1.0.0")
    assert len(client.warnings) == 50
    client.image(Repository(other.host, "a/b"), "1.0.0")
    assert client.warnings[50:] == ((other.host, "of the other"),)
