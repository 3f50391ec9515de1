"""Whom the forge clients trust with what: tokens stay in, redirects lead nowhere, answers are bounded."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from parts.canaries import MARK, secret, told
from parts.certificates import make_ca
from parts.forge_field import KINDS, SHOP, Field, code, make_field, refusal
from parts.registry import HostileServer, Received, Reply, always, json_reply

from automator.core.forge import PullDraft
from automator.edges.forge import Forge, ForgeSettings
from automator.edges.forge.opening import open_forge
from automator.edges.forge.settings import ForgeKind
from automator.edges.http import Outside
from automator.errors import ForgeError
from automator.reasons import LINE_LIMIT

PATHS = {
    "github": "/api/v3",
    "gitlab": "/api/v4",
    "gitea": "/api/v1",
    "forgejo": "/api/v1",
    "bitbucket": "/2.0",
}
DRAFT = PullDraft("automator/web", "main", "T", "B", labels=("x",), reviewers=("ann",))


@pytest.fixture(params=KINDS)
def field(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Field]:
    made = make_field(request.param, tmp_path)
    with made.forge:
        yield made
        made.client.close()


def client_of(kind: str, host: str, folder: Path, *, scheme: str = "http", **more: Any) -> Forge:
    token_file = folder / "forge-token"
    token_file.write_text(secret("forge"))
    told = {"api": f"{scheme}://{host}{PATHS[kind]}", "token_file": str(token_file), "timeout": 5.0, **more}
    return open_forge(
        ForgeSettings(host, kind, **told),  # type: ignore[arg-type]
        outside=Outside(),
        clock=lambda: datetime(2026, 11, 21, tzinfo=UTC),
    )


@pytest.fixture(params=KINDS)
def hostile(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[HostileServer, Forge]]:
    with HostileServer(always(json_reply([]))) as server:
        client = client_of(request.param, server.host, tmp_path)
        yield server, client
        client.close()


# -- tokens -------------------------------------------------------------------------------------------------


def test_the_token_is_read_at_each_use(field: Field) -> None:
    field.client.pull_requests(SHOP)
    new = secret("new")
    field.forge.tokens = {new: "automator"}
    field.forge.token_file.write_text(f"\n{new}\n")
    assert field.client.pull_requests(SHOP) == ()
    assert field.client.login()[1] == new


def test_a_token_that_is_refused_is_an_error_that_names_the_file_and_no_token(field: Field) -> None:
    field.forge.tokens.clear()
    error = refusal(lambda: field.client.pull_requests(SHOP))
    assert error.reason.code == "forge/denied"
    assert "HTTP 401" in error.reason.sentence
    assert str(field.forge.token_file) in error.reason.sentence
    assert not error.retry
    assert field.forge.token not in error.reason.sentence
    assert len(field.forge.calls) == 1


@pytest.mark.parametrize(
    ("content", "problem"),
    [(None, "No such file"), ("", "empty"), ("two words", "characters"), ("\x00\x01", "characters")],
)
def test_a_file_that_holds_no_token_is_told_before_anything_is_sent(
    field: Field, content: str | None, problem: str
) -> None:
    if content is None:
        field.forge.token_file.unlink()
    else:
        field.forge.token_file.write_text(content)
    error = refusal(lambda: field.client.pull_requests(SHOP))
    assert error.reason.code == "forge/secret"
    assert problem in error.reason.sentence
    assert refusal(field.client.login).reason.code == "forge/secret"
    assert field.forge.calls == []


def test_tokens_are_in_no_address_and_in_one_header_only(field: Field) -> None:
    field.branch("automator/web")
    field.client.open_pull_request(SHOP, DRAFT)
    for call in field.forge.calls:
        assert told(f"{call.path} {call.query} {json.dumps(call.body)}".encode()) is None
        assert [name for name, text in call.headers.items() if told(text.encode())] in (
            ["authorization"],
            ["private-token"],
        )
    assert MARK not in repr(field.client)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 500])
def test_a_forge_that_echoes_what_it_was_sent_tells_no_secret(
    hostile: tuple[HostileServer, Forge], status: int
) -> None:
    server, client = hostile

    def echo(request: Received) -> Reply:
        words = " ".join(request.headers.values())
        return json_reply({"message": words, "error": {"message": words}, "errors": [words]}, status)

    server.behave = echo
    for act in (
        lambda: client.pull_requests(SHOP),
        lambda: client.open_pull_request(SHOP, DRAFT),
        lambda: client.comment(SHOP, 1, "x", on="pull"),
    ):
        error = refusal(act)
        assert told(f"{error} {error.reason.sentence} {error.reason.next_step}".encode()) is None


def test_a_basic_login_is_told_in_no_form(tmp_path: Path) -> None:
    with HostileServer(
        lambda request: json_reply({"error": {"message": request.headers["authorization"]}}, 400)
    ) as s:
        client = client_of("bitbucket", s.host, tmp_path, username="bot@example.com")
        error = refusal(lambda: client.pull_requests(SHOP))
        assert told(error.reason.sentence.encode()) is None
        pair = base64.b64decode(s.received[0].headers["authorization"].removeprefix("Basic ")).decode()
        assert pair == f"bot@example.com:{secret('forge')}"
        assert client.login() == ("x-bitbucket-api-token-auth", secret("forge"))
        client.close()


def test_git_is_logged_in_as_each_forge_wants_it(field: Field) -> None:
    names = {"github": "x-access-token", "gitlab": "oauth2", "bitbucket": "x-token-auth"}
    user, password = field.client.login()
    assert user == names.get(field.forge.kind, "automator")
    assert password == field.forge.token


# -- refusals -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "status", "body", "headers", "wanted"),
    [
        ("github", 403, {"message": "Resource not accessible by integration"},
         {"X-Accepted-GitHub-Permissions": "pull_requests=write"}, "pull_requests=write"),
        ("github", 403, {"message": "Must have push access"},
         {"X-OAuth-Scopes": "gist", "X-Accepted-OAuth-Scopes": "repo"}, "the scope repo"),
        ("gitlab", 403, {"error": "insufficient_scope", "scope": "api"}, {}, "the scope api"),
        ("gitea", 403, {"message": "token does not have at least one of required scope(s): [write:issue]"},
         {}, "write:issue"),
        ("bitbucket", 403, {"type": "error", "error": {"message": "Your credentials lack one or more scopes.",
         "detail": {"required": ["pullrequest:write"], "granted": []}}}, {}, "pullrequest:write"),
    ],
)  # fmt: skip
def test_a_missing_permission_is_named_where_the_forge_names_it(
    tmp_path: Path, kind: str, status: int, body: object, headers: dict[str, str], wanted: str
) -> None:
    reply = Reply(status, json.dumps(body).encode(), {"Content-Type": "application/json", **headers})
    with HostileServer(always(reply)) as server:
        client = client_of(kind, server.host, tmp_path)
        error = refusal(lambda: client.comment(SHOP, 1, "x", on="pull"))
        client.close()
    assert error.reason.code == "forge/denied"
    assert wanted in error.reason.sentence
    assert not error.retry


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"message": "Validation Failed", "errors": [{"resource": "PullRequest", "field": "head",
          "code": "invalid"}]}, "Validation Failed; head is invalid"),
        ({"message": {"title": ["is too long", "is odd"]}}, "title is too long; title is odd"),
        ({"message": ["first", "second"]}, "first; second"),
        ({"error": "title is missing"}, "title is missing"),
        ({"type": "error", "error": {"message": "Bad request", "fields": {"source": ["branch not found"]}}},
         "Bad request; source branch not found"),
        ([], "HTTP 422"),
        ("just words", "just words"),
    ],
)  # fmt: skip
def test_a_refusal_is_told_in_the_forges_words(tmp_path: Path, body: object, words: str) -> None:
    with HostileServer(always(json_reply(body, 422))) as server:
        client = client_of("gitea", server.host, tmp_path)
        error = refusal(lambda: client.comment(SHOP, 1, "x", on="pull"))
        client.close()
    assert error.reason.code == "forge/refused"
    assert words in error.reason.sentence


def test_what_is_hidden_is_not_found_and_says_that_it_may_be_hidden(field: Field) -> None:
    error = refusal(lambda: field.client.pull_request("acme/hidden", 1))
    assert error.reason.code == "forge/not-found"
    assert "token may see it" in error.reason.next_step
    assert not error.retry


def test_words_of_a_forge_are_one_line(hostile: tuple[HostileServer, Forge]) -> None:
    server, client = hostile
    server.behave = always(json_reply({"message": "a\nb\x1b[31m\u202e" + "x" * 5000}, 422))
    sentence = refusal(lambda: client.comment(SHOP, 1, "x", on="pull")).reason.sentence
    assert sentence.isprintable()
    assert len(sentence) < 3 * LINE_LIMIT


# -- redirects ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["github", "gitlab"], indirect=True)
def test_questions_follow_a_project_that_has_moved_and_changes_say_so(field: Field) -> None:
    number = field.open()
    field.forge.moved["acme/old"] = SHOP
    assert field.client.pull_request("acme/old", number).number == number
    error = refusal(lambda: field.client.comment("acme/old", number, "x", on="pull"))
    assert error.reason.code == "forge/moved"
    assert "shop" in error.reason.sentence
    assert not error.retry
    assert field.forge.said(number) == []


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_nobody_sends_us_elsewhere_with_our_token(hostile: tuple[HostileServer, Forge], status: int) -> None:
    server, client = hostile
    for target in (
        f"http://{server.other_name}/x",
        f"https://{server.host}/x",
        "//evil.test/x",
        "http://[",
        "",
    ):
        server.behave = always(Reply(status, b"{}", {"Location": target} if target else {}))
        assert code(lambda: client.pull_requests(SHOP)) == "forge/moved"
    assert all(request.headers["host"] == server.host for request in server.received)
    assert len(server.received) == 5, "nothing was followed"


def test_a_redirect_to_a_redirect_is_followed_no_further(hostile: tuple[HostileServer, Forge]) -> None:
    server, client = hostile
    server.behave = lambda request: Reply(302, b"", {"Location": request.path + "x"})
    assert code(lambda: client.pull_requests(SHOP)) == "forge/moved"
    assert len(server.received) == 2


def test_next_pages_lead_nowhere_but_on(hostile: tuple[HostileServer, Forge]) -> None:
    server, client = hostile
    pages = iter(range(10))

    def elsewhere(request: Received) -> Reply:
        url = f"http://{server.other_name}/evil?page={next(pages) + 2}"
        if request.query.get("page") == "3":
            return json_reply([] if client.kind != "bitbucket" else {"values": []})
        reply = json_reply([] if client.kind != "bitbucket" else {"values": [], "next": url})
        return Reply(200, reply.body, {**reply.headers, "Link": f'<{url}>; rel="next"'})

    server.behave = elsewhere
    assert client.pull_requests(SHOP) == ()
    assert [request.query.get("page") for request in server.received] == [None, "2", "3"]
    assert {request.headers["host"] for request in server.received} == {server.host}
    assert "/evil" not in {request.path for request in server.received}


def test_pages_without_end_end(hostile: tuple[HostileServer, Forge]) -> None:
    server, client = hostile

    def circle(request: Received) -> Reply:
        url = f"http://{server.host}/x?page=2"
        reply = json_reply([] if client.kind != "bitbucket" else {"values": [], "next": url})
        return Reply(200, reply.body, {**reply.headers, "Link": f'<{url}>; rel="next"'})

    server.behave = circle
    error = refusal(lambda: client.pull_requests(SHOP))
    assert error.reason.code == "forge/answer"
    server.received.clear()
    counted = iter(range(2, 10_000))

    def endless(request: Received) -> Reply:
        url = f"http://{server.host}/x?page={next(counted)}"
        reply = json_reply([] if client.kind != "bitbucket" else {"values": [], "next": url})
        return Reply(200, reply.body, {**reply.headers, "Link": f'<{url}>; rel="next"'})

    server.behave = endless
    error = refusal(lambda: client.pull_requests(SHOP))
    assert error.reason.code == "forge/answer", "a part never passes for the whole"
    assert len(server.received) <= 40


def test_a_comparison_without_end_ends(tmp_path: Path) -> None:
    commit = {"sha": "c" * 40, "commit": {"message": "m"}}
    for listed in ([], [commit]):
        reply = json_reply({"total_commits": 10**9, "commits": listed})
        with HostileServer(always(reply)) as server:
            client = client_of("github", server.host, tmp_path)
            found, complete = client.commits_between(SHOP, "1" * 40, "2" * 40)
            assert set(found) == {one for one in found if one.commit == "c" * 40}
            assert not complete
            assert len(server.received) <= 40
            client.close()


def test_a_date_without_a_zone_is_a_date(tmp_path: Path) -> None:
    told = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1795269600"}
    told["Retry-After"] = told["Date"] = "Sat, 21 Nov 2026 12:00:00 -0000"
    with HostileServer(always(Reply(403, b"{}", told))) as server:
        client = client_of("github", server.host, tmp_path)
        assert code(lambda: client.pull_request(SHOP, 1)) == "forge/limited"
        client.close()


def test_an_error_in_a_good_answer_tells_no_secret(tmp_path: Path) -> None:
    def echo(request: Received) -> Reply:
        if request.path.endswith("/graphql"):
            return json_reply({"errors": [{"message": f"bad: {request.headers['authorization']}"}]})
        return json_reply({"node_id": "x", "allow_merge_commit": True})

    with HostileServer(echo) as server:
        client = client_of("github", server.host, tmp_path)
        error = refusal(lambda: client.merge_when_ready(SHOP, 1, "c" * 40))
        assert "bad: " in error.reason.sentence
        assert told(f"{error.reason.sentence} {error.reason!r}".encode()) is None
        client.close()


# -- answers ------------------------------------------------------------------------------------------------

SENSELESS = {
    "html": Reply(200, b"<html>Sign in</html>", {"Content-Type": "text/html"}),
    "a list of lists": json_reply([[1]]),
    "nothing": Reply(200, b""),
    "a number": json_reply(7),
    "deep": Reply(200, b"[" * 100_000, {"Content-Type": "application/json"}),
    "other types": json_reply({"number": "1", "iid": True, "id": None, "title": 7, "state": [], "sha": {}}),
}


@pytest.mark.parametrize("name", SENSELESS)
def test_an_answer_that_makes_no_sense_is_an_error_and_no_crash(
    hostile: tuple[HostileServer, Forge], name: str
) -> None:
    server, client = hostile
    server.behave = always(SENSELESS[name])
    error = refusal(lambda: client.pull_request(SHOP, 1))
    assert error.reason.code == "forge/answer"
    assert error.retry


def test_an_answer_that_is_too_large_or_breaks_off_is_an_error(hostile: tuple[HostileServer, Forge]) -> None:
    server, client = hostile
    server.behave = always(Reply(200, b"[]", {"Content-Type": "application/json"}, length=10**9))
    assert "too-large" in refusal(lambda: client.pull_request(SHOP, 1)).reason.sentence
    server.behave = always(Reply(200, b"[", {"Content-Type": "application/json"}, length=100))
    assert code(lambda: client.pull_request(SHOP, 1)) == "forge/unreachable"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    ["number", "iid", "id", "title", "state", "head", "base", "sha", "source", "destination", "source_branch",
     "target_branch", "labels", "values", "next", "statuses", "user", "message", "errors", "total_commits",
     "commits", "merged_at", "hash", "body", "reviewers", "participants", "summary", "branch", "commit"]
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_a_forge_answers_it_is_an_answer_or_one_of_our_errors(
    kind: ForgeKind, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("hostile")
    with HostileServer(always(json_reply([]))) as server:
        client = client_of(kind, server.host, folder)

        @settings(max_examples=25)
        @given(value=JSON | st.dictionaries(FIELDS, JSON | st.dictionaries(FIELDS, JSON, max_size=3)))
        def holds(value: Any) -> None:
            server.behave = always(json_reply(value))
            for act in (
                lambda: client.pull_requests(SHOP),
                lambda: client.pull_request(SHOP, 1),
                lambda: client.comments(SHOP, 1),
                lambda: client.commit_statuses(SHOP, "a" * 40),
                lambda: client.commits_between(SHOP, "a" * 40, "b" * 40),
                lambda: client.approvals(SHOP, 1),
                lambda: client.pull_requests_of(SHOP, "a" * 40),
            ):
                with contextlib.suppress(ForgeError):
                    act()

        holds()
        client.close()


# -- TLS ----------------------------------------------------------------------------------------------------


def test_a_forge_with_a_certificate_of_its_own_is_trusted_by_ca_file_alone(tmp_path: Path) -> None:
    authority = make_ca(tmp_path / "ca")
    files = authority.issue(["127.0.0.1", "localhost"])
    with HostileServer(always(json_reply([])), tls=files.both_file) as server:
        stranger = client_of("gitea", server.host, tmp_path, scheme="https")
        error = refusal(lambda: stranger.pull_requests(SHOP))
        assert error.reason.code == "forge/unreachable"
        assert "certificate verify failed" in error.reason.sentence
        assert server.received == [], "it was sent nothing"
        trusting = client_of("gitea", server.host, tmp_path, scheme="https", ca_file=str(authority.ca_file))
        assert trusting.pull_requests(SHOP) == ()
        stranger.close()
        trusting.close()


def test_each_kind_is_looked_for_at_its_usual_place() -> None:
    places: dict[tuple[str, ForgeKind], str] = {
        ("github.com", "github"): "https://api.github.com",
        ("git.example.com", "github"): "https://git.example.com/api/v3",
        ("gitlab.com", "gitlab"): "https://gitlab.com/api/v4",
        ("codeberg.org", "forgejo"): "https://codeberg.org/api/v1",
        ("gitea.com", "gitea"): "https://gitea.com/api/v1",
        ("bitbucket.org", "bitbucket"): "https://api.bitbucket.org/2.0",
    }
    for (host, kind), place in places.items():
        assert ForgeSettings(host, kind).address == place
        assert ForgeSettings(host, kind).page == f"https://{host}"
    assert ForgeSettings("x", "gitea", api="http://10.0.0.1/api/v1/").address == "http://10.0.0.1/api/v1"
