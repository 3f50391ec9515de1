"""Whom the registry client trusts with what: redirects, tokens, certificates, challenges."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Barrier
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st
from parts.registry import (
    PASSWORD,
    PLAIN,
    USER,
    Behaviour,
    HostileServer,
    Received,
    Reply,
    always,
    json_reply,
    refusal,
    wait_until,
)

from automator.core.reference import Repository
from automator.edges.registry import (
    BodyLimits,
    DockerConfig,
    PasswordFile,
    RegistryClient,
)
from automator.edges.registry.auth import parse_challenges

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
LOGIN = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
BUILT = datetime(2026, 11, 20, 9, 14, 2, tzinfo=UTC)
DIGEST = "sha256:" + "a" * 64

Hostile = Callable[[Behaviour], HostileServer]
MakeClient = Callable[..., RegistryClient]

CONFORMANCE = Path(
    os.environ.get("AUTOMATOR_CONFORMANCE") or Path(__file__).parents[3] / "shared" / "conformance"
)


# -- redirects --------------------------------------------------------------------------------------


def challenged(server_path: Callable[[Received], Reply]) -> Behaviour:
    """Asks for Basic, then answers."""

    def behave(request: Received) -> Reply:
        if request.path.startswith("/v2/") and "authorization" not in request.headers:
            return Reply(401, b"", {"WWW-Authenticate": 'Basic realm="x"'})
        return server_path(request)

    return behave


def test_a_redirect_to_another_host_gets_no_credentials(
    hostile: Hostile, make_client: MakeClient, tmp_path: Path
) -> None:
    (tmp_path / "password").write_text(PASSWORD)
    config = json.dumps({"created": "2026-11-20T09:14:02Z"}).encode()
    digest = "sha256:" + hashlib.sha256(config).hexdigest()
    storage = hostile(always(Reply(200, config)))
    manifest = {"config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest}}

    def behave(request: Received) -> Reply:
        if "/blobs/" in request.path:
            return Reply(307, b"", {"Location": f"http://{storage.other_name}/bucket/x?signature=s"})
        return json_reply(manifest)

    server = hostile(challenged(behave))
    settings = replace(PLAIN, credentials=PasswordFile(USER, str(tmp_path / "password")))
    client = make_client(server.host, storage.other_name, settings=settings)

    assert client.image(Repository(server.host, "a/b"), "1.0.0").built == BUILT
    assert storage.paths() == ["GET /bucket/x"]
    assert "authorization" not in storage.received[0].headers
    assert "authorization" in server.received[-1].headers


def test_another_port_of_the_same_name_gets_no_credentials_either(
    hostile: Hostile, make_client: MakeClient, tmp_path: Path
) -> None:
    (tmp_path / "password").write_text(PASSWORD)
    other = hostile(always(json_reply({"tags": ["1.0.0"]})))
    server = hostile(challenged(lambda _: Reply(302, b"", {"Location": f"http://{other.host}/list"})))
    settings = replace(PLAIN, credentials=PasswordFile(USER, str(tmp_path / "password")))
    client = make_client(server.host, other.host, settings=settings)
    assert client.tags(Repository(server.host, "a/b"), now=NOW).tags == ("1.0.0",)
    assert "authorization" not in other.received[0].headers


@pytest.mark.parametrize(
    ("location", "code"),
    [
        (
            "https://127.0.0.1:{other}/x",
            "registry/no-tls",
        ),  # the same machine's name, as the operator wrote it
        ("https://localhost:{other}/x", "registry/address-refused"),
        ("http://localhost:{other}/x", "registry/bad-answer"),
        ("http://user:secret@127.0.0.1:{own}/x", "registry/bad-answer"),
        ("file:///etc/passwd", "registry/bad-answer"),
        ("//[", "registry/bad-answer"),
        ("/v2/again", "registry/bad-answer"),
    ],
)
def test_redirects_to_where_nobody_should_go_are_refused(
    hostile: Hostile, make_client: MakeClient, location: str, code: str
) -> None:
    other = hostile(always(json_reply({"tags": ["1.0.0"]})))
    server = hostile(
        lambda _: Reply(307, b"", {"Location": location.format(other=other.port, own=server.port)})
    )
    error = refusal(lambda: make_client(server.host).tags(Repository(server.host, "a/b"), now=NOW))
    assert error.reason.code == code
    assert "secret" not in str(error)
    assert other.received == []


def test_the_body_of_a_redirect_is_bounded(hostile: Hostile, make_client: MakeClient) -> None:
    server = hostile(
        lambda r: (
            json_reply({"tags": []})
            if r.path == "/list"
            else Reply(307, b"x" * 1_000_000, {"Location": "/list"}, drip=60)
        )
    )
    client = make_client(server.host, limits=BodyLimits(page=50_000))
    error = refusal(lambda: client.tags(Repository(server.host, "a/b"), now=NOW))
    assert error.reason.code == "registry/too-large"


# -- tokens -----------------------------------------------------------------------------------------


class TokenRegistry:
    """A registry and its token service in one server, as the token specification has them."""

    def __init__(self, *, scope: str | None = None, realm: str = "http://{host}/token") -> None:
        self.realm = realm
        self.challenge_scope = scope
        self.host = ""
        self.life: int | None = 300
        self.valid: set[str] = set()
        self.grants = True
        self.issued = 0

    def __call__(self, request: Received) -> Reply:
        if request.path == "/token":
            self.issued += 1
            token = f"t{self.issued}-{request.query.get('scope', '')}"
            self.valid.add(f"Bearer {token}")
            life = {} if self.life is None else {"expires_in": self.life}
            return json_reply({"token": token, **life})
        if request.headers.get("authorization") in self.valid and self.grants:
            return json_reply({"tags": ["1.0.0"]}, Docker_Content_Digest=DIGEST)
        scope = f',scope="{self.challenge_scope}"' if self.challenge_scope else ""
        challenge = (
            f'Bearer realm="{self.realm.format(host=self.host)}",service="tests"{scope},Basic realm="x"'
        )
        return Reply(401, b"", {"WWW-Authenticate": challenge})

    def serve(self, hostile: Hostile) -> HostileServer:
        server = hostile(self)
        self.host = server.host
        return server


def token_queries(server: HostileServer) -> list[dict[str, str]]:
    return [dict(r.query) for r in server.received if r.path == "/token"]


def test_a_token_is_fetched_once_and_kept(hostile: Hostile, make_client: MakeClient) -> None:
    server = TokenRegistry(scope="repository:a/b:pull,push,delete").serve(hostile)
    client = make_client(server.host)
    repository = Repository(server.host, "a/b")

    client.tags(repository, now=NOW)
    assert client.digest(repository, "1.0.0") == DIGEST

    assert server.paths() == [
        "GET /v2/a/b/tags/list",
        "GET /token",
        "GET /v2/a/b/tags/list",
        "HEAD /v2/a/b/manifests/1.0.0",
    ]
    # Whatever the challenge wants, only pulling is asked for.
    assert token_queries(server) == [
        {"service": "tests", "scope": "repository:a/b:pull", "client_id": "automator"}
    ]
    assert "authorization" not in server.received[1].headers


def test_each_repository_gets_a_token_of_its_own_without_another_refusal(
    hostile: Hostile, make_client: MakeClient
) -> None:
    server = TokenRegistry(scope="repository:mirror/a/b:pull").serve(hostile)
    client = make_client(server.host)
    client.tags(Repository(server.host, "a/b"), now=NOW)
    client.tags(Repository(server.host, "c/d"), now=NOW)
    assert server.paths()[3:] == ["GET /token", "GET /v2/c/d/tags/list"]
    assert [q["scope"] for q in token_queries(server)] == [
        "repository:mirror/a/b:pull",
        "repository:mirror/c/d:pull",
    ]


@pytest.mark.parametrize(
    ("challenge", "asked"),
    [("aws", "aws"), ("*", "*"), ("repository:user/image:pull", "repository:a/b:pull")],
)
def test_scopes_of_the_field(hostile: Hostile, make_client: MakeClient, challenge: str, asked: str) -> None:
    server = TokenRegistry(scope=challenge).serve(hostile)
    make_client(server.host).tags(Repository(server.host, "a/b"), now=NOW)
    assert token_queries(server)[0]["scope"] == asked


def test_a_token_that_expired_is_renewed(hostile: Hostile, make_client: MakeClient) -> None:
    service = TokenRegistry()
    server = service.serve(hostile)
    client = make_client(server.host)
    repository = Repository(server.host, "a/b")
    client.tags(repository, now=NOW)
    service.valid.clear()  # the registry has forgotten it
    assert client.tags(repository, now=NOW).tags == ("1.0.0",)
    assert len(token_queries(server)) == 2


def test_a_token_near_its_end_is_renewed_before_it_is_used(hostile: Hostile, make_client: MakeClient) -> None:
    service = TokenRegistry()
    service.life = 1
    server = service.serve(hostile)
    client = make_client(server.host)
    repository = Repository(server.host, "a/b")
    client.tags(repository, now=NOW)
    fetched = time.monotonic()
    wait_until(lambda: time.monotonic() > fetched + 0.85, "0.8 of the token's life")
    client.tags(repository, now=NOW)
    assert server.paths()[3:] == ["GET /token", "GET /v2/a/b/tags/list"]


def test_a_new_token_that_is_refused_is_a_no_and_no_loop(hostile: Hostile, make_client: MakeClient) -> None:
    service = TokenRegistry()
    service.grants = False
    server = service.serve(hostile)
    client = make_client(server.host)
    repository = Repository(server.host, "a/b")
    assert refusal(lambda: client.tags(repository, now=NOW)).reason.code == "registry/denied"
    assert len(server.received) == 3
    assert refusal(lambda: client.tags(repository, now=NOW)).reason.code == "registry/denied"
    assert len(server.received) == 5


def test_threads_that_need_the_same_token_fetch_it_once(hostile: Hostile, make_client: MakeClient) -> None:
    server = TokenRegistry().serve(hostile)
    client = make_client(server.host)
    repository = Repository(server.host, "a/b")
    client.tags(Repository(server.host, "c/d"), now=NOW)  # the challenge is known from here on
    start = Barrier(6)

    def ask(_: int) -> object:
        start.wait(10)
        return client.tags(repository, now=NOW)

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(ask, range(6)))
    assert len(token_queries(server)) == 2


def test_the_token_service_gets_the_registrys_credentials(
    hostile: Hostile, make_client: MakeClient, tmp_path: Path
) -> None:
    (tmp_path / "password").write_text(PASSWORD)
    server = TokenRegistry(realm="/token").serve(hostile)  # a relative realm
    settings = replace(PLAIN, credentials=PasswordFile(USER, str(tmp_path / "password")))
    make_client(server.host, settings=settings).tags(Repository(server.host, "a/b"), now=NOW)
    assert token_queries(server)[0]["account"] == USER
    assert server.received[1].headers["authorization"] == f"Basic {LOGIN}"
    assert [r.headers.get("authorization", "")[:6] for r in server.received] == ["", "Basic ", "Bearer"]


def test_a_token_service_without_tls_gets_nothing(
    hostile: Hostile, secure: Hostile, ca_file: Path, make_client: MakeClient, tmp_path: Path
) -> None:
    (tmp_path / "password").write_text(PASSWORD)
    thief = hostile(always(json_reply({"token": "x"})))
    server = TokenRegistry(realm=f"http://{thief.host}/token").serve(secure)
    settings = replace(
        PLAIN,
        insecure=False,
        ca_file=str(ca_file),
        credentials=PasswordFile(USER, str(tmp_path / "password")),
    )
    client = make_client(server.host, thief.host, settings=settings)
    error = refusal(lambda: client.tags(Repository(server.host, "a/b"), now=NOW))
    assert error.reason.code == "registry/token"
    assert "not https" in str(error)
    assert thief.received == []


def test_a_token_service_on_this_machine_must_be_declared(hostile: Hostile, make_client: MakeClient) -> None:
    inner = hostile(always(json_reply({"token": "x"})))
    server = TokenRegistry(realm=f"http://{inner.other_name}/token").serve(hostile)
    error = refusal(lambda: make_client(server.host).tags(Repository(server.host, "a/b"), now=NOW))
    assert error.reason.code == "registry/address-refused"
    assert inner.received == []


def test_an_identity_token_is_exchanged_by_a_form(
    hostile: Hostile, make_client: MakeClient, tmp_path: Path
) -> None:
    server = TokenRegistry().serve(hostile)
    (tmp_path / "config.json").write_text(json.dumps({"auths": {server.host: {"identitytoken": "identity"}}}))
    settings = replace(PLAIN, credentials=DockerConfig(str(tmp_path)))
    make_client(server.host, settings=settings).tags(Repository(server.host, "a/b"), now=NOW)
    asked = server.received[1]
    assert (asked.method, asked.query) == ("POST", {})
    assert parse_qs(asked.body.decode()) == {
        "grant_type": ["refresh_token"],
        "service": ["tests"],
        "scope": ["repository:a/b:pull"],
        "client_id": ["automator"],
        "refresh_token": ["identity"],
    }


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (json_reply({}), "registry/token"),
        (json_reply({"token": "a\r\nX-Evil: 1"}), "registry/token"),
        (Reply(200, b"<html>"), "registry/token"),
        (Reply(500), "registry/token"),
        (json_reply({"details": "incorrect username or password"}, 401), "registry/denied"),
        (Reply(429, b"", {"Retry-After": "7"}), "registry/rate-limited"),
    ],
)
def test_a_token_service_that_gives_none(
    hostile: Hostile, make_client: MakeClient, answer: Reply, code: str
) -> None:
    service = TokenRegistry()
    server = hostile(lambda r: answer if r.path == "/token" else service(r))
    service.host = server.host
    error = refusal(lambda: make_client(server.host).tags(Repository(server.host, "a/b"), now=NOW))
    assert error.reason.code == code


def test_a_netrc_of_the_user_is_not_read(
    hostile: Hostile, make_client: MakeClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login thief password x\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    server = TokenRegistry().serve(hostile)
    assert make_client(server.host).tags(Repository(server.host, "a/b"), now=NOW).tags == ("1.0.0",)


# -- challenges -------------------------------------------------------------------------------------


@pytest.mark.skipif(not CONFORMANCE.is_dir(), reason="the recorded cases are not on this machine")
def test_recorded_challenges_are_read() -> None:
    cases = json.loads((CONFORMANCE / "www_authenticate_cases.json").read_text())
    assert len(cases) >= 16
    read = {
        c["header"]: [{"scheme": x.scheme, "params": dict(x.params)} for x in parse_challenges(c["header"])]
        for c in cases
    }
    assert read == {c["header"]: c["challenges"] for c in cases}


word = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=8)
parameters = st.dictionaries(
    word, st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20), max_size=4
)


@given(st.lists(st.tuples(word, parameters), min_size=1, max_size=4))
def test_challenges_that_are_written_are_read_back(challenges: list[tuple[str, dict[str, str]]]) -> None:
    def quoted(text: str) -> str:
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    header = ", ".join(
        f"{scheme} " + ", ".join(f"{k}={quoted(v)}" for k, v in params.items()) if params else scheme
        for scheme, params in challenges
    )
    assert [(c.scheme, dict(c.params)) for c in parse_challenges(header)] == challenges


@given(st.text(max_size=200))
def test_no_challenge_header_breaks_the_reader(header: str) -> None:
    parse_challenges(header)


# -- TLS --------------------------------------------------------------------------------------------


def test_a_certificate_counts_only_if_it_is_trusted(
    secure: Hostile, ca_file: Path, make_client: MakeClient
) -> None:
    server = secure(always(json_reply({"tags": ["1.0.0"]})))
    repository = Repository(server.host, "a/b")
    strict = replace(PLAIN, insecure=False)
    trusting = make_client(server.host, settings=replace(strict, ca_file=str(ca_file)))
    error = refusal(lambda: make_client(server.host, settings=strict).tags(repository, now=NOW))
    assert error.reason.code == "registry/tls"
    assert "certificate verify failed" in str(error)
    assert "ca_file" in error.reason.next_step
    assert server.received == []
    assert trusting.tags(repository, now=NOW).tags == ("1.0.0",)
    assert trusting.tags(repository, now=NOW).tags == ("1.0.0",)
    assert len({r.connection for r in server.received}) == 1


def test_a_ca_file_that_is_not_there_is_named(make_client: MakeClient, tmp_path: Path) -> None:
    settings = replace(PLAIN, insecure=False, ca_file=str(tmp_path / "missing.pem"))
    client = make_client("127.0.0.1:1", settings=settings)
    error = refusal(lambda: client.tags(Repository("127.0.0.1:1", "a/b"), now=NOW))
    assert error.reason.code == "registry/tls-files"
    assert str(tmp_path / "missing.pem") in str(error)


def test_dripping_ends_at_the_time_limit_over_tls_too(
    secure: Hostile, ca_file: Path, make_client: MakeClient
) -> None:
    server = secure(always(Reply(200, b'{"tags": [', drip=0.05)))
    settings = replace(PLAIN, insecure=False, ca_file=str(ca_file), read_timeout=0.5, deadline=0.8)
    client = make_client(server.host, settings=settings)
    error = refusal(lambda: client.tags(Repository(server.host, "a/b"), now=NOW))
    assert error.reason.code == "registry/timeout"


def test_a_redirect_from_tls_to_plain_http_is_refused(
    secure: Hostile, hostile: Hostile, ca_file: Path, make_client: MakeClient
) -> None:
    plain = hostile(always(json_reply({"tags": ["1.0.0"]})))
    server = secure(lambda _: Reply(307, b"", {"Location": f"http://{plain.host}/x"}))
    settings = replace(PLAIN, insecure=False, ca_file=str(ca_file))
    client = make_client(server.host, plain.host, settings=settings)
    error = refusal(lambda: client.tags(Repository(server.host, "a/b"), now=NOW))
    assert error.reason.code == "registry/bad-answer"
    assert plain.received == []
