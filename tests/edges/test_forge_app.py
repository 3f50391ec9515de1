"""GitHub Apps: a key becomes a token for an hour, for the API and for git, and nobody looks after it."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from parts.canaries import told
from parts.forge_field import NOON, SHOP, Field, code, make_field, refusal
from parts.forge_github import App, GitHubDialect
from parts.gitserver import git
from parts.registry import HostileServer, Received, Reply, json_reply

from automator.edges.checkout import Checkout, Remote
from automator.edges.forge import Forge
from automator.errors import CheckoutError

TOKENS = "POST /api/v3/app/installations"


@pytest.fixture
def field(tmp_path: Path) -> Iterator[Field]:
    made = make_field("github", tmp_path)
    with made.forge:
        yield made


@pytest.fixture
def app(field: Field) -> App:
    assert isinstance(field.forge.dialect, GitHubDialect)
    return field.forge.dialect.app


@pytest.fixture
def client(field: Field, app: App) -> Iterator[Forge]:
    made = app_client(field, app)
    yield made
    made.close()


def app_client(field: Field, app: App, **other: object) -> Forge:
    told = {"app_id": app.id, "app_key_file": str(app.key_file), "installation_id": app.installation}
    return field.another_client(**{**told, **other})


def test_an_app_acts_under_its_own_name(field: Field, client: Forge) -> None:
    field.client = client
    number = field.open()
    assert client.pull_request(SHOP, number).author == "automator[bot]"


def test_one_token_serves_until_shortly_before_it_ends(field: Field, app: App, client: Forge) -> None:
    client.pull_requests(SHOP)
    field.wait(50 * 60)
    client.pull_requests(SHOP)
    assert field.forge.count(TOKENS) == 1
    field.wait(6 * 60)
    client.pull_requests(SHOP)
    assert field.forge.count(TOKENS) == 2
    assert all(call.status < 400 for call in field.forge.calls), "no request met an old token"


def test_git_gets_a_token_that_lets_it_in(field: Field, client: Forge) -> None:
    user, password = client.login()
    assert user == "x-access-token"
    pair = base64.b64encode(f"{user}:{password}".encode()).decode()
    listed = git(
        field.forge.folder, "-c", f"http.extraHeader=Authorization: Basic {pair}", "ls-remote",
        field.forge.url(SHOP),
    )  # fmt: skip
    assert field.repo.tip() in listed


def test_git_is_let_in_again_at_once_where_its_token_was_taken_back(
    field: Field, app: App, client: Forge, tmp_path: Path
) -> None:
    remote = Remote(field.forge.url(SHOP), login=client.login, refused=client.login_refused)
    with Checkout(tmp_path / "clone", remote, deadline=20) as checkout:
        tip = checkout.ask_tip()
        field.wait(600)
        app.revoke()
        assert checkout.ask_tip() == tip
        assert len(app.given) == 2

        field.wait(60)
        app.revoke()
        with pytest.raises(CheckoutError) as caught:
            checkout.ask_tip()
        assert caught.value.reason.code == "git/denied"
        assert len(app.given) == 2, "who was given a token just now asks for no other each time"
        field.wait(240)
        assert checkout.ask_tip() == tip


def test_threads_that_need_a_token_at_once_share_one(field: Field, client: Forge) -> None:
    start = threading.Barrier(8)

    def ask(_: int) -> str:
        start.wait()
        return client.login()[1]

    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(ask, range(8)))) == 1
    assert field.forge.count(TOKENS) == 1


def test_a_token_that_was_taken_back_is_replaced_at_once(field: Field, app: App, client: Forge) -> None:
    client.pull_requests(SHOP)
    app.revoke()
    assert client.pull_requests(SHOP, state="all") == ()
    field.branch("automator/web")
    app.revoke()
    field.forge.open("automator/web")
    assert client.comment(SHOP, 1, "x", on="pull").body == "x"
    assert len(app.given) == 3


def test_the_app_signs_with_what_github_asks_for(field: Field, app: App, client: Forge) -> None:
    client.pull_requests(SHOP)
    shown = next(call.headers["authorization"] for call in field.forge.calls if "/app/" in call.path)
    claims = jwt.decode(shown.removeprefix("Bearer "), options={"verify_signature": False})
    assert claims["iss"] == app.id
    assert claims["iat"] == (NOON - timedelta(seconds=60)).timestamp(), "its clock may be behind ours"
    assert claims["exp"] <= (NOON + timedelta(minutes=10)).timestamp()
    assert jwt.get_unverified_header(shown.removeprefix("Bearer "))["alg"] == "RS256"


def test_a_clock_of_githubs_that_is_behind_ours_is_no_trouble(field: Field, client: Forge) -> None:
    field.forge.clock = lambda: field.now - timedelta(seconds=45)
    assert client.pull_requests(SHOP) == ()


def test_a_new_key_is_used_without_a_restart(field: Field, app: App, client: Forge) -> None:
    good = app.key_file.read_bytes()
    app.key_file.write_text("not a key")
    error = refusal(lambda: client.pull_requests(SHOP))
    assert error.reason.code == "forge/secret"
    assert "no RSA key" in error.reason.sentence
    assert field.forge.calls == []
    app.key_file.write_bytes(good)
    field.wait(31)
    assert client.pull_requests(SHOP) == ()


def test_a_refused_app_is_told_with_its_numbers_and_not_asked_for_by_each_caller(
    field: Field, app: App
) -> None:
    stranger = app_client(field, app, installation_id=99)
    for _ in range(5):
        error = refusal(lambda: stranger.pull_requests(SHOP))
        assert error.reason.code == "forge/app"
    assert "99" in error.reason.sentence
    assert app.id in error.reason.sentence
    assert field.forge.count(TOKENS) == 1
    field.wait(31)
    assert code(stranger.login) == "forge/app"
    assert field.forge.count(TOKENS) == 2
    stranger.close()


def test_a_key_of_another_app_is_refused(field: Field, app: App, tmp_path: Path) -> None:
    other = tmp_path / "other-token"
    shape = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    other.write_bytes(rsa.generate_private_key(65537, 2048).private_bytes(*shape))
    wrong = app_client(field, app, app_key_file=str(other))
    error = refusal(lambda: wrong.pull_requests(SHOP))
    assert error.reason.code == "forge/app"
    assert "could not be decoded" in error.reason.sentence
    assert told(error.reason.sentence.encode()) is None
    wrong.close()


@pytest.mark.parametrize("body", ["{}", "[]", "null", "no json", '{"token": 7}', '{"token": "x"}'])
def test_an_answer_without_a_token_is_told_and_quotes_nothing(field: Field, client: Forge, body: str) -> None:
    field.forge.fail(201, on=TOKENS, body=body)
    error = refusal(lambda: client.pull_requests(SHOP))
    assert error.reason.code == "forge/app"
    assert error.retry
    field.wait(31)
    assert client.pull_requests(SHOP) == ()


def test_a_limit_of_the_installation_keeps_no_token_from_git(field: Field, app: App, client: Forge) -> None:
    client.login()
    field.forge.limit(7000, on="/pulls")
    assert code(lambda: client.pull_requests(SHOP)) == "forge/limited"
    field.wait(58 * 60)
    assert client.login()[1] == app.given[-1]
    assert len(app.given) == 2
    assert code(lambda: client.pull_requests(SHOP)) == "forge/limited"


def test_a_forge_that_echoes_the_apps_proof_tells_nothing_of_it(
    field: Field, app: App, tmp_path: Path
) -> None:
    shown: list[str] = []

    def echo(request: Received) -> Reply:
        shown.append(request.headers["authorization"].removeprefix("Bearer "))
        return json_reply({"message": f"Bad credentials: {shown[-1]}"}, 401)

    with HostileServer(echo) as server:
        client = app_client(field, app, api=f"http://{server.host}/api/v3")
        error = refusal(client.login)
        assert error.reason.code == "forge/app"
        assert shown
        assert shown[-1][:20] not in f"{error} {error.reason!r}"
        client.close()


def test_a_limit_while_the_token_is_asked_for_is_a_limit(field: Field, client: Forge) -> None:
    field.forge.limit(60, on=TOKENS)
    assert code(lambda: client.pull_requests(SHOP)) == "forge/limited"
    field.wait(61)
    assert client.pull_requests(SHOP) == ()
