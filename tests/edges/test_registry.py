"""The registry client, against Debian's docker-registry and against servers that misbehave."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from parts.registry import (
    PASSWORD,
    PLAIN,
    USER,
    Behaviour,
    DockerRegistry,
    HostileServer,
    Received,
    Reply,
    always,
    json_reply,
    push_image,
    push_index,
    push_many,
    refusal,
    unique_name,
    wait_until,
)

from automator.core.reference import Repository
from automator.edges.registry import (
    BodyLimits,
    PasswordFile,
    RateLimited,
    RegistryClient,
)
from automator.edges.registry.hosts import Hosts, HostSettings

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
BUILT = datetime(2026, 11, 20, 9, 14, 2, tzinfo=UTC)
DIGEST = "sha256:" + "a" * 64
CREATED = "org.opencontainers.image.created"

Hostile = Callable[[Behaviour], HostileServer]
MakeClient = Callable[..., RegistryClient]


# -- a real registry --------------------------------------------------------------------------------


@pytest.mark.needs("docker-registry")
@pytest.mark.needs("skopeo")
def test_an_image_costs_two_requests_and_tells_its_build_time_and_source(
    docker_registry: DockerRegistry, make_client: MakeClient
) -> None:
    repository = Repository(docker_registry.host, unique_name())
    labels = {
        "org.opencontainers.image.source": "https://github.com/acme/web",
        "org.opencontainers.image.revision": "4b1c",
    }
    pushed = push_image(docker_registry.host, repository.path, "1.4.3", created=BUILT, labels=labels)
    client = make_client(docker_registry.host)

    image = client.image(repository, "1.4.3")

    assert (image.digest, image.built) == (pushed, BUILT)
    assert (image.source, image.revision) == ("https://github.com/acme/web", "4b1c")
    assert client.requests == {docker_registry.host: 2}


@pytest.mark.needs("docker-registry")
def test_tags_and_digests_cost_one_request_each_and_equal_answers_give_the_same_tags(
    docker_registry: DockerRegistry, make_client: MakeClient
) -> None:
    repository = Repository(docker_registry.host, unique_name())
    push_many(docker_registry.host, repository.path, {f"1.0.{i}": BUILT for i in range(5)})
    client = make_client(docker_registry.host)

    first = client.tags(repository, now=NOW)
    second = client.tags(repository, now=NOW + timedelta(minutes=1))
    digest = client.digest(repository, "1.0.3")

    assert sorted(first.tags) == [f"1.0.{i}" for i in range(5)]
    assert second.tags is first.tags
    assert second.revision == first.revision
    assert second.observed_at == NOW + timedelta(minutes=1)
    assert client.requests == {docker_registry.host: 3}
    wait_until(
        lambda: f"HEAD /v2/{repository.path}/manifests/1.0.3 200" in docker_registry.requests(), "a HEAD"
    )

    push_many(docker_registry.host, repository.path, {"1.0.9": None})
    third = client.tags(repository, now=NOW)
    assert sorted(third.tags) == sorted([*first.tags, "1.0.9"])
    assert third.revision != first.revision
    assert client.image(repository, "1.0.3").digest == digest


@pytest.mark.needs("docker-registry")
@pytest.mark.needs("skopeo")
@pytest.mark.parametrize(
    ("annotations", "built", "requests"),
    [
        ({CREATED: "2026-11-19T00:00:00+01:00"}, datetime(2026, 11, 18, 23, tzinfo=UTC), 1),
        (None, BUILT, 3),
        ({CREATED: "1970-01-01T00:00:00Z"}, BUILT, 3),
    ],
)
def test_an_index_is_dated_by_its_annotation_else_by_its_linux_amd64_image(
    docker_registry: DockerRegistry,
    make_client: MakeClient,
    annotations: dict[str, str] | None,
    built: datetime,
    requests: int,
) -> None:
    repository = Repository(docker_registry.host, unique_name())
    platforms = [("linux/arm64", BUILT - timedelta(days=9)), ("linux/amd64", BUILT)]
    index = push_index(
        docker_registry.host, repository.path, "2.0.0", platforms=platforms, annotations=annotations
    )
    client = make_client(docker_registry.host)

    image = client.image(repository, "2.0.0")

    assert (image.digest, image.built) == (index, built)
    assert client.requests == {docker_registry.host: requests}
    assert client.digest(repository, "2.0.0") == index


@pytest.mark.needs("docker-registry")
@pytest.mark.parametrize("year", [1970, 1980])
def test_a_build_time_that_only_says_unknown_is_unknown(
    docker_registry: DockerRegistry, make_client: MakeClient, year: int
) -> None:
    repository = Repository(docker_registry.host, unique_name())
    push_many(docker_registry.host, repository.path, {"1.0.0": datetime(year, 1, 1, 0, 0, 1, tzinfo=UTC)})
    assert make_client(docker_registry.host).image(repository, "1.0.0").built is None


@pytest.mark.needs("docker-registry")
@pytest.mark.needs("skopeo")
def test_a_password_file_is_read_when_used_so_that_a_new_password_needs_no_restart(
    closed_registry: DockerRegistry, make_client: MakeClient, tmp_path: Path
) -> None:
    repository = Repository(closed_registry.host, unique_name())
    push_image(closed_registry.host, repository.path, "1.0.0", user=USER, password=PASSWORD)
    file = tmp_path / "password"
    file.write_text("an old one\n")
    client = make_client(
        closed_registry.host, settings=replace(PLAIN, credentials=PasswordFile(USER, str(file)))
    )

    error = refusal(lambda: client.tags(repository, now=NOW))
    file.write_text(PASSWORD + "\n")

    assert error.reason.code == "registry/denied"
    assert not error.retry
    assert str(file) in str(error)
    assert "an old one" not in str(error)
    assert client.tags(repository, now=NOW).tags == ("1.0.0",)
    before = client.requests[closed_registry.host]
    assert client.digest(repository, "1.0.0")
    assert client.requests[closed_registry.host] == before + 1  # the challenge is remembered


@pytest.mark.needs("docker-registry")
def test_without_credentials_a_closed_registry_denies(
    closed_registry: DockerRegistry, make_client: MakeClient
) -> None:
    error = refusal(
        lambda: make_client(closed_registry.host).tags(Repository(closed_registry.host, "acme/web"), now=NOW)
    )
    assert error.reason.code == "registry/denied"
    assert str(error) == (
        f"{closed_registry.host}/acme/web: access denied (HTTP 401: authentication required; "
        "used: no credentials)"
    )


@pytest.mark.needs("docker-registry")
def test_what_is_not_there_is_named_with_the_registrys_own_words(
    docker_registry: DockerRegistry, make_client: MakeClient
) -> None:
    client = make_client(docker_registry.host)
    error = refusal(lambda: client.tags(Repository(docker_registry.host, "no/such"), now=NOW))
    assert error.reason.code == "registry/not-found"
    assert "repository name not known to registry" in str(error)
    assert refusal(lambda: client.digest(Repository(docker_registry.host, "no/such"), "1")).reason.code == (
        "registry/not-found"
    )


@pytest.mark.needs("docker-registry")
def test_many_threads_share_a_few_connections(
    docker_registry: DockerRegistry, make_client: MakeClient
) -> None:
    repository = Repository(docker_registry.host, unique_name())
    push_many(docker_registry.host, repository.path, {"1.0.0": BUILT})
    client = make_client(docker_registry.host)
    with ThreadPoolExecutor(8) as threads:
        images = list(threads.map(lambda _: client.image(repository, "1.0.0"), range(40)))
    assert len(set(images)) == 1
    assert client.requests == {docker_registry.host: 80}


# -- pages ------------------------------------------------------------------------------------------


def paged(pages: list[list[str]], link: Callable[[int], str]) -> Behaviour:
    """Page i is asked for by `last=i`; `link(i)` is the Link header that leads to it."""

    def behave(request: Received) -> Reply:
        at = int(request.query.get("last", "0"))
        more = {"Link": link(at + 1)} if at + 1 < len(pages) else {}
        return json_reply({"name": "a/b", "tags": pages[at]}, **more)

    return behave


@pytest.mark.parametrize(
    "link",
    [
        '</v2/a/b/tags/list?last={}&n=1000>; rel="next"',
        "<https://elsewhere.invalid/v2/a/b/tags/list?last={}>; rel=next",
        '<?last={}>; rel="prev", </dropped/prefix?last={}>; rel="next"',
    ],
)
def test_of_a_next_page_link_only_the_query_counts(
    hostile: Hostile, make_client: MakeClient, link: str
) -> None:
    server = hostile(paged([["1.0.0"], ["1.1.0"], ["1.2.0", "1.1.0"]], lambda i: link.format(i, i)))
    found = make_client(server.host).tags(Repository(server.host, "a/b"), now=NOW)
    assert found.tags == ("1.0.0", "1.1.0", "1.2.0")
    assert server.paths() == ["GET /v2/a/b/tags/list"] * 3
    assert server.received[0].query == {"n": "1000"}


@pytest.mark.parametrize(
    "second",
    [
        json_reply({"errors": [{"code": "UNKNOWN", "message": "oops"}]}, 500),
        json_reply({"errors": [{"code": "DENIED"}]}, 403),
        Reply(200, b"<html>"),
        Reply(200, b'{"tags": ["1.0', length=500),
        json_reply({"name": "a/b"}),
    ],
)
def test_a_list_whose_second_page_fails_is_no_list(
    hostile: Hostile, make_client: MakeClient, second: Reply
) -> None:
    first = json_reply({"tags": ["1.0.0"]}, Link='<?last=1>; rel="next"')
    server = hostile(lambda r: second if "last" in r.query else first)
    client = make_client(server.host)
    refusal(lambda: client.tags(Repository(server.host, "a/b"), now=NOW))


def test_pages_that_lead_in_a_circle_are_an_error(hostile: Hostile, make_client: MakeClient) -> None:
    pages = {"0": ["1"], "1": ["2"], "2": ["3"]}

    def behave(request: Received) -> Reply:
        at = request.query.get("last", "0")
        return json_reply({"tags": pages[at]}, Link=f'<?last={(int(at) + 1) % 3}>; rel="next"')

    server = hostile(behave)
    error = refusal(lambda: make_client(server.host).tags(Repository(server.host, "a/b"), now=NOW))
    assert error.reason.code == "registry/pages"
    assert len(server.received) <= 4


def test_a_repeated_page_is_an_error(hostile: Hostile, make_client: MakeClient) -> None:
    def behave(request: Received) -> Reply:
        at = int(request.query.get("last", "0"))
        return json_reply({"tags": ["1.0.0"]}, Link=f'<?last={at + 1}>; rel="next"')

    server = hostile(behave)
    error = refusal(lambda: make_client(server.host).tags(Repository(server.host, "a/b"), now=NOW))
    assert error.reason.code == "registry/pages"
    assert "page 2 repeats" in str(error)


def test_pages_without_end_are_an_error(hostile: Hostile, make_client: MakeClient) -> None:
    def behave(request: Received) -> Reply:
        at = int(request.query.get("last", "0"))
        return json_reply({"tags": [f"1.0.{at}"]}, Link=f'<?last={at + 1}>; rel="next"')

    server = hostile(behave)
    client = make_client(server.host, page_limit=5)
    error = refusal(lambda: client.tags(Repository(server.host, "a/b"), now=NOW))
    assert error.reason.code == "registry/pages"
    assert len(server.received) == 5


@pytest.mark.parametrize(
    "no", [json_reply({"errors": [{"code": "PAGINATION_NUMBER_INVALID"}]}, 400), Reply(405, b"at most 100")]
)
def test_a_page_size_that_is_refused_is_not_asked_for_again(
    hostile: Hostile, make_client: MakeClient, no: Reply
) -> None:
    server = hostile(lambda r: no if "n" in r.query else json_reply({"tags": ["1.0.0"]}))
    client = make_client(server.host)
    repository = Repository(server.host, "a/b")
    assert client.tags(repository, now=NOW).tags == ("1.0.0",)
    assert client.tags(repository, now=NOW).tags == ("1.0.0",)
    assert [r.query for r in server.received] == [{"n": "1000"}, {}, {}]


def test_a_full_page_without_link_is_not_taken_for_the_end(hostile: Hostile, make_client: MakeClient) -> None:
    tags = [f"1.0.{i:04}" for i in range(1500)]
    more: list[str] = []

    def behave(request: Received) -> Reply:
        rest = [t for t in tags + more if t > request.query.get("last", "")]
        return json_reply({"tags": rest[:1000]})

    client = make_client((server := hostile(behave)).host)
    repository = Repository(server.host, "a/b")
    assert client.tags(repository, now=NOW).tags == tuple(tags)
    more.append("1.1.0")  # the first page stays the same, byte for byte
    assert client.tags(repository, now=NOW).tags == (*tags, "1.1.0")


@pytest.mark.parametrize(
    ("body", "tags"),
    [
        ({"name": "a/b", "tags": None}, ()),
        ({"tags": []}, ()),
        ({"tags": ["1.0.0", "-bad", "a b", "x" * 129, "é", 7, None, "latest\n", "1.0.0"]}, ("1.0.0",)),
    ],
)
def test_tags_outside_the_grammar_are_dropped(
    hostile: Hostile, make_client: MakeClient, body: object, tags: tuple[str, ...]
) -> None:
    server = hostile(always(json_reply(body)))
    assert make_client(server.host).tags(Repository(server.host, "a/b"), now=NOW).tags == tags


def test_the_same_tags_in_another_order_are_the_same_revision(
    hostile: Hostile, make_client: MakeClient
) -> None:
    orders = [["1", "2", "3"], ["3", "1", "2"]]
    server = hostile(lambda _: json_reply({"tags": orders[len(server.received) % 2]}))
    client = make_client(server.host)
    first, second = (client.tags(Repository(server.host, "a/b"), now=NOW) for _ in range(2))
    assert first.revision == second.revision
    assert first.tags == second.tags


# -- answers that are no answers --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "code", "words"),
    [
        (Reply(200, b"<html>Log in</html>", {"Content-Type": "text/html"}), "registry/not-json", "text/html"),
        (Reply(200, b"[" * 100_000), "registry/not-json", "its tags"),
        (json_reply(["1.0.0"]), "registry/bad-answer", "its tags"),
        (json_reply({"tags": "1.0.0"}), "registry/bad-answer", "its tags"),
        (
            Reply(418, b"I am a\x1b[31m teapot\r\n", {"Content-Type": "text/plain"}),
            "registry/bad-answer",
            "418",
        ),
        (
            Reply(500, b"<html>secret stack</html>", {"Content-Type": "text/html"}),
            "registry/server-error",
            "500",
        ),
        (json_reply({"message": "down for a while"}, 500), "registry/server-error", "down for a while"),
        (json_reply({"errors": [{"code": "DENIED", "message": "no, no"}]}, 403), "registry/denied", "no, no"),
        (json_reply({"errors": []}, 404), "registry/not-found", "HTTP 404"),
        (Reply(200, b"", length=17 * 1024 * 1024), "registry/too-large", "17825792"),
        (Reply(200, b'{"tags": ["' + b"a" * 17 * 1024 * 1024), "registry/too-large", "16777216"),
    ],
)
def test_every_refusal_has_its_reason_and_names_place_and_words(
    hostile: Hostile, make_client: MakeClient, reply: Reply, code: str, words: str
) -> None:
    server = hostile(always(reply))
    error = refusal(lambda: make_client(server.host).tags(Repository(server.host, "a/b"), now=NOW))
    assert error.reason.code == code
    assert f"{server.host}/a/b" in str(error)
    assert words in str(error)
    assert "stack" not in str(error)
    assert str(error).isprintable()
    assert error.reason.next_step


def test_a_body_without_length_is_bounded_too(hostile: Hostile, make_client: MakeClient) -> None:
    server = hostile(always(Reply(200, b'{"tags": ["' + b"a" * 100_000, drip=60)))
    client = make_client(server.host, limits=BodyLimits(page=50_000))
    error = refusal(lambda: client.tags(Repository(server.host, "a/b"), now=NOW))
    assert error.reason.code == "registry/too-large"


@pytest.mark.parametrize("reply", [Reply(silent=True), Reply(200, b'{"tags": [', drip=0.05)])
def test_silence_and_dripping_end_at_the_time_limit(
    hostile: Hostile, make_client: MakeClient, reply: Reply
) -> None:
    server = hostile(always(reply))
    settings = replace(PLAIN, read_timeout=0.5, deadline=0.8)
    client = make_client(server.host, settings=settings)
    error = refusal(lambda: client.tags(Repository(server.host, "a/b"), now=NOW))
    assert error.reason.code == "registry/timeout"
    assert error.retry
    assert len(server.received) == 1  # what is slow is not asked again at once


def test_a_call_ends_in_time_although_each_page_is_quick(hostile: Hostile, make_client: MakeClient) -> None:
    def behave(request: Received) -> Reply:
        server.over.wait(0.1)
        at = int(request.query.get("last", "0"))
        return json_reply({"tags": [f"1.0.{at}"]}, Link=f'<?last={at + 1}>; rel="next"')

    server = hostile(behave)
    client = make_client(server.host, settings=replace(PLAIN, deadline=0.5))
    error = refusal(lambda: client.tags(Repository(server.host, "a/b"), now=NOW))
    assert error.reason.code == "registry/timeout"
    assert len(server.received) <= 6


def test_429_tells_how_long_and_is_obeyed(hostile: Hostile, make_client: MakeClient) -> None:
    server = hostile(
        lambda r: (
            json_reply({"tags": []}) if r.path.endswith("list") else Reply(429, b"", {"Retry-After": "90"})
        )
    )
    client = make_client(server.host)
    repository = Repository(server.host, "a/b")
    errors = [refusal(lambda: client.image(repository, "1.0.0")) for _ in range(2)]
    assert {e.reason.code for e in errors} == {"registry/rate-limited"}
    assert all(isinstance(e, RateLimited) and 80 < (e.retry_after or 0) <= 90 for e in errors)
    assert len(server.received) == 1  # the second was not sent at all
    assert client.tags(repository, now=NOW).tags == ()  # what was not limited goes on


def test_a_retry_after_date_counts_from_the_servers_own_clock(
    hostile: Hostile, make_client: MakeClient
) -> None:
    def behave(_: Received) -> Reply:
        return Reply(429, b"", {"Retry-After": "Fri, 20 Nov 2099 10:00:00 GMT"})

    server = hostile(behave)
    error = refusal(lambda: make_client(server.host).tags(Repository(server.host, "a/b"), now=NOW))
    assert isinstance(error, RateLimited)
    assert error.retry_after == 24 * 3600  # bounded
    assert error.reason_at(NOW).changes_at == NOW + timedelta(days=1)


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_passing_failure_is_asked_again(hostile: Hostile, make_client: MakeClient, status: int) -> None:
    server = hostile(lambda _: Reply(status) if len(server.received) < 3 else json_reply({"tags": ["1.0.0"]}))
    found = make_client(server.host).tags(Repository(server.host, "a/b"), now=NOW)
    assert found.tags == ("1.0.0",)
    assert len(server.received) == 3


def test_a_lasting_failure_is_reported_after_three_tries(hostile: Hostile, make_client: MakeClient) -> None:
    server = hostile(always(Reply(503)))
    error = refusal(lambda: make_client(server.host).tags(Repository(server.host, "a/b"), now=NOW))
    assert error.reason.code == "registry/server-error"
    assert error.retry
    assert len(server.received) == 3


def test_nobody_there_is_unreachable(hostile: Hostile, make_client: MakeClient) -> None:
    with HostileServer(always(Reply())) as gone:
        host = gone.host
    client = make_client(host, "registry.invalid")
    refused = refusal(lambda: client.tags(Repository(host, "a/b"), now=NOW))
    unknown = refusal(lambda: client.tags(Repository("registry.invalid", "a/b"), now=NOW))
    assert (refused.reason.code, unknown.reason.code) == ("registry/unreachable", "registry/dns")
    assert "refused" in str(refused)
    assert "registry.invalid" in str(unknown)
    assert "0x" not in str(unknown)


def test_plain_http_where_tls_is_expected_is_a_tls_error(hostile: Hostile, make_client: MakeClient) -> None:
    server = hostile(always(json_reply({"tags": []})))
    client = make_client(server.host, settings=replace(PLAIN, insecure=False))
    error = refusal(lambda: client.tags(Repository(server.host, "a/b"), now=NOW))
    assert error.reason.code == "registry/no-tls"
    assert not error.retry
    assert server.received == []


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_loopback_is_not_called_for_a_host_that_nobody_declared(
    hostile: Hostile, make_client: MakeClient, name: str
) -> None:
    server = hostile(always(json_reply({"tags": []})))
    error = refusal(lambda: make_client().tags(Repository(f"{name}:{server.port}", "a/b"), now=NOW))
    assert error.reason.code == "registry/address-refused"
    assert server.received == []


# -- manifests --------------------------------------------------------------------------------------


def test_a_manifest_with_another_digest_than_it_claims_is_refused(
    hostile: Hostile, make_client: MakeClient
) -> None:
    server = hostile(always(json_reply({"config": {}}, Docker_Content_Digest=DIGEST)))
    error = refusal(lambda: make_client(server.host).image(Repository(server.host, "a/b"), "1.0.0"))
    assert error.reason.code == "registry/bad-digest"
    assert DIGEST in str(error)


def test_an_image_config_with_another_digest_is_refused(hostile: Hostile, make_client: MakeClient) -> None:
    config = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": DIGEST}
    server = hostile(
        lambda r: json_reply({"created": "2026-11-20T09:14:02Z"} if "blobs" in r.path else {"config": config})
    )
    error = refusal(lambda: make_client(server.host).image(Repository(server.host, "a/b"), "1.0.0"))
    assert error.reason.code == "registry/bad-digest"


@pytest.mark.parametrize(
    "head", [Reply(200), Reply(405), Reply(200, b"", {"Docker-Content-Digest": "md5:x"})]
)
def test_without_a_digest_header_the_bytes_are_hashed(
    hostile: Hostile, make_client: MakeClient, head: Reply
) -> None:
    manifest = json_reply({"config": {"mediaType": "application/vnd.cncf.helm.config.v1+json"}})
    server = hostile(lambda r: head if r.method == "HEAD" else manifest)
    digest = make_client(server.host).digest(Repository(server.host, "a/b"), "1.0.0")
    assert digest == "sha256:" + hashlib.sha256(manifest.body).hexdigest()
    wanted = server.received[0].headers["accept"]
    assert all(
        kind in wanted
        for kind in ("index.v1", "manifest.list.v2", "oci.image.manifest.v1", "ution.manifest.v2")
    )


def test_a_chart_is_dated_by_its_annotation_with_one_request(
    hostile: Hostile, make_client: MakeClient
) -> None:
    manifest = {
        "config": {"mediaType": "application/vnd.cncf.helm.config.v1+json", "digest": DIGEST},
        "annotations": {CREATED: "2026-11-20T09:14:02.123456789Z"},
    }
    server = hostile(always(json_reply(manifest)))
    client = make_client(server.host)
    assert client.image(Repository(server.host, "a/b"), "1.0.0").built == BUILT.replace(microsecond=123456)
    assert len(server.received) == 1


@pytest.mark.parametrize(
    "manifest",
    [[], {}, {"schemaVersion": 1}, {"manifests": [3]}, {"manifests": [{"digest": "../../x"}]}, {"config": 3}],
)
def test_nonsense_for_a_manifest_is_a_bad_answer(
    hostile: Hostile, make_client: MakeClient, manifest: object
) -> None:
    server = hostile(always(json_reply(manifest)))
    error = refusal(lambda: make_client(server.host).image(Repository(server.host, "a/b"), "1.0.0"))
    assert error.reason.code == "registry/bad-answer"


def test_attestations_are_not_asked_for_build_times(hostile: Hostile, make_client: MakeClient) -> None:
    config = json.dumps({"created": "2026-11-20T09:14:02Z"}).encode()
    config_digest = "sha256:" + hashlib.sha256(config).hexdigest()
    kind = "application/vnd.docker.container.image.v1+json"
    image = json.dumps({"config": {"mediaType": kind, "digest": config_digest}}).encode()
    attestation = {"digest": DIGEST, "platform": {"os": "unknown", "architecture": "unknown"}}
    child = {"digest": "sha256:" + hashlib.sha256(image).hexdigest(), "platform": {"os": "linux"}}
    bodies = {
        "/v2/a/b/manifests/1.0.0": json.dumps({"manifests": [attestation, child]}).encode(),
        f"/v2/a/b/manifests/{child['digest']}": image,
        f"/v2/a/b/blobs/{config_digest}": config,
    }
    server = hostile(lambda r: Reply(200, bodies[r.path]))
    assert make_client(server.host).image(Repository(server.host, "a/b"), "1.0.0").built == BUILT


# -- manners ----------------------------------------------------------------------------------------


def test_connections_are_kept_and_cookies_are_not(hostile: Hostile, make_client: MakeClient) -> None:
    server = hostile(always(json_reply({"tags": []}, Set_Cookie="a=b; Path=/", Docker_Content_Digest=DIGEST)))
    client = make_client(server.host)
    for _ in range(3):
        client.tags(Repository(server.host, "a/b"), now=NOW)
        client.digest(Repository(server.host, "a/b"), "1.0.0")
    assert len({r.connection for r in server.received}) == 1
    assert all("cookie" not in r.headers for r in server.received)
    assert server.received[0].headers["user-agent"].startswith("automator/")


def test_no_more_calls_at_a_time_than_the_host_is_set_to(hostile: Hostile, make_client: MakeClient) -> None:
    inside: list[int] = []
    most: list[int] = []

    def behave(_: Received) -> Reply:
        inside.append(1)
        most.append(len(inside))
        server.over.wait(0.02)
        inside.pop()
        return json_reply({"tags": []})

    server = hostile(behave)
    client = make_client(server.host, settings=replace(PLAIN, concurrency=2))
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda i: client.tags(Repository(server.host, f"a/b{i}"), now=NOW), range(16)))
    assert max(most) == 2


def test_the_hub_is_called_at_its_api_host_whatever_it_is_called() -> None:
    hosts = Hosts({"index.docker.io": HostSettings(concurrency=3)}, lambda _: {})
    hub = hosts.get("docker.io")
    assert hub.url == "https://registry-1.docker.io"
    assert hub.settings.concurrency == 3
    assert hosts.get("ghcr.io").url == "https://ghcr.io"


def test_a_host_that_was_just_down_is_not_tried_again_at_once(make_client: MakeClient) -> None:
    with HostileServer(always(Reply())) as gone:
        repository = Repository(gone.host, "a/b")
    client = make_client(gone.host)
    sent = []
    for _ in range(3):
        before = client.requests.get(gone.host, 0)
        refusal(lambda: client.tags(repository, now=NOW))
        sent.append(client.requests[gone.host] - before)
    assert sent == [3, 0, 0]
