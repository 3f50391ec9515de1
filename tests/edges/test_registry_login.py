"""Logins as registries really ask for them: services for each namespace, forms, expiry, detours."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs

import pytest
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
)

from automator.core.reference import Repository
from automator.edges.http import Answer
from automator.edges.registry import DockerConfig, HostSettings, PasswordFile, RegistryClient
from automator.edges.registry.auth import Token, read_token

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
TAGS = json_reply({"tags": ["1.0.0"]})

Hostile = Callable[[Behaviour], HostileServer]
MakeClient = Callable[..., RegistryClient]


@pytest.fixture
def with_password(tmp_path: Path) -> HostSettings:
    (tmp_path / "password").write_text(PASSWORD)
    return replace(PLAIN, credentials=PasswordFile(USER, str(tmp_path / "password")))


def identity(tmp_path: Path, host: str) -> HostSettings:
    """A login by an identity token, as `docker login` leaves it behind."""
    (tmp_path / "config.json").write_text(
        json.dumps({"auths": {host: {"auth": "bm9ib2R5Og==", "identitytoken": "identity"}}})
    )
    return replace(PLAIN, credentials=DockerConfig(str(tmp_path)))


def asks_for_token(request: Received, realm: str) -> Reply | None:
    """401 for whoever brings no bearer token."""
    if request.headers.get("authorization", "").startswith("Bearer "):
        return None
    return Reply(401, b"", {"WWW-Authenticate": f'Bearer realm="{realm}",service="s"'})


# -- whose login it is ------------------------------------------------------------------------------


def test_a_login_that_another_host_asks_for_after_a_redirect_is_not_given(
    hostile: Hostile, make_client: MakeClient, with_password: HostSettings
) -> None:
    def thief(request: Received) -> Reply:
        return Reply(
            401,
            b"",
            {"WWW-Authenticate": f'Bearer realm="http://{request.headers["host"]}/token",service="s"'},
        )

    other = hostile(thief)

    def behave(request: Received) -> Reply:
        if "authorization" not in request.headers:
            return Reply(401, b"", {"WWW-Authenticate": 'Basic realm="x"'})
        return Reply(307, b"", {"Location": f"http://{other.host}/x"})

    server = hostile(behave)
    client = make_client(server.host, other.host, settings=with_password)
    error = refusal(lambda: client.tags(Repository(server.host, "a/b"), now=NOW))
    assert error.reason.code == "registry/bad-answer"
    assert other.host in str(error)
    assert other.paths() == ["GET /x"]
    assert "authorization" not in other.received[0].headers


def test_a_token_service_that_sends_the_login_elsewhere_gets_nobody_further(
    hostile: Hostile, make_client: MakeClient, with_password: HostSettings
) -> None:
    other = hostile(always(json_reply({"token": "x"})))

    def behave(request: Received) -> Reply:
        if request.path == "/token":
            return Reply(307, b"", {"Location": f"http://{other.host}/token"})
        return asks_for_token(request, "/token") or TAGS

    server = hostile(behave)
    client = make_client(server.host, other.host, settings=with_password)
    error = refusal(lambda: client.tags(Repository(server.host, "a/b"), now=NOW))
    assert error.reason.code == "registry/token"
    assert f"redirects to {other.host}" in str(error)
    assert other.received == []


@pytest.mark.parametrize("logged_in", [True, False])
def test_a_token_service_that_moved_within_its_host_is_followed(
    hostile: Hostile, make_client: MakeClient, with_password: HostSettings, logged_in: bool
) -> None:
    def behave(request: Received) -> Reply:
        if request.path == "/token":
            return Reply(301, b"", {"Location": "/new/token?scope=x"})
        if request.path == "/new/token":
            return json_reply({"token": "t"})
        return asks_for_token(request, "/token") or TAGS

    server = hostile(behave)
    client = make_client(server.host, settings=with_password if logged_in else PLAIN)
    assert client.tags(Repository(server.host, "a/b"), now=NOW).tags == ("1.0.0",)
    assert ("authorization" in server.received[2].headers) is logged_in


def test_a_token_service_that_redirects_for_ever_is_left(hostile: Hostile, make_client: MakeClient) -> None:
    def behave(request: Received) -> Reply:
        if request.path.startswith("/token"):
            return Reply(302, b"", {"Location": f"{request.path}x"})
        return asks_for_token(request, "/token") or TAGS

    server = hostile(behave)
    error = refusal(lambda: make_client(server.host).tags(Repository(server.host, "a/b"), now=NOW))
    assert error.reason.code == "registry/token"
    assert len(server.received) == 7


# -- services -----------------------------------------------------------------------------------------


def test_a_host_with_a_token_service_for_each_namespace_is_learnt_once_each(
    hostile: Hostile, make_client: MakeClient
) -> None:
    """As JFrog: `/artifactory/api/docker/<repository>/v2/token`."""

    def behave(request: Received) -> Reply:
        if request.path.startswith("/api/"):
            return json_reply({"token": request.path.split("/")[2]})
        namespace = request.path.split("/")[2]
        if request.headers.get("authorization") == f"Bearer {namespace}":
            return TAGS
        return Reply(401, b"", {"WWW-Authenticate": f'Bearer realm="/api/{namespace}/token",service="s"'})

    server = hostile(behave)
    client = make_client(server.host)
    for _ in range(2):
        for name in ("one/web", "two/web"):
            client.tags(Repository(server.host, name), now=NOW)
    # The first: 401, token, list. The second: its token of the first's service, 401, token, list.
    assert len(server.received) == 3 + 4 + 2


def test_a_refusal_without_challenge_does_not_unlearn_the_login(
    hostile: Hostile, make_client: MakeClient
) -> None:
    def behave(request: Received) -> Reply:
        if request.path == "/token":
            return json_reply({"token": "t", "expires_in": 300})
        if "/gone/" in request.path:
            return Reply(401)
        return asks_for_token(request, "/token") or TAGS

    server = hostile(behave)
    client = make_client(server.host)
    client.tags(Repository(server.host, "a/b"), now=NOW)
    refusal(lambda: client.tags(Repository(server.host, "a/gone"), now=NOW))
    before = len(server.received)
    client.tags(Repository(server.host, "a/b"), now=NOW)
    assert len(server.received) == before + 1


@pytest.mark.parametrize("status", [404, 405])
def test_a_service_without_the_form_is_asked_by_get_and_never_by_form_again(
    hostile: Hostile, make_client: MakeClient, tmp_path: Path, status: int
) -> None:
    def behave(request: Received) -> Reply:
        if request.method == "POST":
            return Reply(status)
        if request.path == "/token":
            return json_reply({"token": "t"})
        return asks_for_token(request, "/token") or TAGS

    server = hostile(behave)
    client = make_client(server.host, settings=identity(tmp_path, server.host))
    for name in ("a/b", "c/d"):
        client.tags(Repository(server.host, name), now=NOW)
    assert [r.method for r in server.received if r.path == "/token"] == ["POST", "GET", "GET"]
    asked = server.received[2].headers["authorization"]
    assert asked.startswith("Basic ")
    assert parse_qs(server.received[1].body.decode())["refresh_token"] == ["identity"]


def test_a_form_that_is_refused_is_tried_as_a_password_once(
    hostile: Hostile, make_client: MakeClient, tmp_path: Path
) -> None:
    def behave(request: Received) -> Reply:
        if request.path == "/token":
            return json_reply({"details": "bad token"}, 401)
        return asks_for_token(request, "/token") or TAGS

    server = hostile(behave)
    client = make_client(server.host, settings=identity(tmp_path, server.host))
    error = refusal(lambda: client.tags(Repository(server.host, "a/b"), now=NOW))
    assert error.reason.code == "registry/denied"
    assert "identity" not in str(error).replace("identity token", "")
    assert [r.method for r in server.received] == ["GET", "POST", "GET"]


@pytest.mark.parametrize("status", [401, 403])
def test_a_token_service_that_refuses_the_login_is_a_no_and_not_asked_twice(
    hostile: Hostile, make_client: MakeClient, with_password: HostSettings, status: int
) -> None:
    """GHCR answers 403 to a login that has expired, for public images too."""

    def behave(request: Received) -> Reply:
        if request.path == "/token":
            return json_reply({"errors": [{"code": "DENIED", "message": "denied"}]}, status)
        return asks_for_token(request, "/token") or TAGS

    server = hostile(behave)
    error = refusal(
        lambda: make_client(server.host, settings=with_password).tags(Repository(server.host, "a/b"), now=NOW)
    )
    assert error.reason.code == "registry/denied"
    assert PASSWORD not in str(error)
    assert len(server.received) == 2


@pytest.mark.parametrize(
    ("challenge", "header"),
    [
        ('Basic realm="Artifactory Realm"', "Basic "),
        ('Basic realm="https://1.dkr.ecr.eu-central-1.amazonaws.com/",service="ecr.amazonaws.com"', "Basic "),
        ("Basic", "Basic "),
        ('Bearer realm="/token", Basic', "Bearer t"),
        ('Negotiate, Bearer realm="/token"', "Bearer t"),
        ('Bearer, Basic realm="x"', "Basic "),
        ('Bearer realm="ftp://x/token", Basic realm="x"', "Basic "),
        ('bearer Realm = "/token" , service=plain', "Bearer t"),
    ],
)
def test_challenges_of_the_field_are_answered(
    hostile: Hostile, make_client: MakeClient, with_password: HostSettings, challenge: str, header: str
) -> None:
    def behave(request: Received) -> Reply:
        if request.path == "/token":
            return json_reply({"access_token": "t"})
        if "authorization" in request.headers:
            return TAGS
        return Reply(401, b"", {"WWW-Authenticate": challenge})

    server = hostile(behave)
    client = make_client(server.host, settings=with_password)
    assert client.tags(Repository(server.host, "a/b"), now=NOW).tags == ("1.0.0",)
    assert server.received[-1].headers["authorization"].startswith(header)


# -- expiry -------------------------------------------------------------------------------------------


def test_a_login_that_expired_is_read_again_though_the_registry_says_403(
    hostile: Hostile, make_client: MakeClient, tmp_path: Path
) -> None:
    """As ECR: `Your authorization token has expired. Reauthenticate and try again.`"""
    expired = json_reply({"errors": [{"code": "DENIED", "message": "Your token has expired."}]}, 403)
    password = tmp_path / "password"
    password.write_text("first")
    renewals: list[str] = []

    def behave(request: Received) -> Reply:
        header = request.headers.get("authorization")
        if header is None:
            return Reply(401, b"", {"WWW-Authenticate": 'Basic realm="x"'})
        if header not in renewals:
            renewals.append(header)
        if len(renewals) == 1 and len(server.received) > 2:
            password.write_text("second")
            return expired
        return TAGS

    server = hostile(behave)
    client = make_client(server.host, settings=replace(PLAIN, credentials=PasswordFile(USER, str(password))))
    repository = Repository(server.host, "a/b")
    assert client.tags(repository, now=NOW).tags == ("1.0.0",)
    assert client.tags(repository, now=NOW).tags == ("1.0.0",)
    assert len(server.received) == 4


def test_a_403_that_says_nothing_of_expiry_is_a_no(
    hostile: Hostile, make_client: MakeClient, with_password: HostSettings
) -> None:
    def behave(request: Received) -> Reply:
        if "authorization" in request.headers:
            return json_reply({"errors": [{"code": "DENIED", "message": "not yours"}]}, 403)
        return Reply(401, b"", {"WWW-Authenticate": 'Basic realm="x"'})

    server = hostile(behave)
    client = make_client(server.host, settings=with_password)
    error = refusal(lambda: client.tags(Repository(server.host, "a/b"), now=NOW))
    assert error.reason.code == "registry/denied"
    assert len(server.received) == 2


def renewed_after(body: dict[str, object], date: str = "") -> float:
    answer = Answer(200, {"Date": date} if date else {}, json.dumps({"token": "t", **body}).encode(), "")
    token = read_token(answer, 1000.0)
    assert isinstance(token, Token)
    return token.renew_at - 1000


@pytest.mark.parametrize(
    ("body", "seconds"),
    [
        ({}, 48),
        ({"expires_in": 300}, 240),
        ({"expires_in": "300"}, 240),
        ({"expires_in": 0}, 48),
        ({"expires_in": -5}, 48),
        ({"expires_in": 1e300}, 69120),  # a day, at the most
        ({"expires_in": 86400}, 69120),
        ({"expires_in": float("nan")}, 48),
        ({"expires_in": "soon"}, 48),
        ({"expires_in": None}, 48),
        # A token that the service kept for 100 seconds, by its own clock; ours does not count.
        ({"expires_in": 300, "issued_at": "2019-01-01T00:00:00Z"}, 160),
        ({"expires_in": 300, "issued_at": "2019-01-01T00:00:00.123456789+00:00"}, 160),
        # Nonsense: issued in the future, or long dead.
        ({"expires_in": 300, "issued_at": "2019-01-01T01:00:00Z"}, 240),
        ({"expires_in": 300, "issued_at": "2018-01-01T00:00:00Z"}, 240),
        ({"expires_in": 300, "issued_at": "yesterday"}, 240),
    ],
)
def test_a_token_is_renewed_at_four_fifths_of_the_life_it_has_left(
    body: dict[str, object], seconds: float
) -> None:
    assert renewed_after(body, "Tue, 01 Jan 2019 00:01:40 GMT") == pytest.approx(seconds, abs=0.2)


def test_without_a_date_the_answer_counts_as_fresh() -> None:
    assert renewed_after({"expires_in": 300, "issued_at": "2019-01-01T00:00:00Z"}) == pytest.approx(240)


def test_a_token_that_fits_into_no_header_is_none() -> None:
    answer = Answer(200, {}, json.dumps({"token": "x" * 100_000}).encode(), "")
    assert read_token(answer, 0.0) is None
