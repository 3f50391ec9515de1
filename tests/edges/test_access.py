"""Who is let in to API and pages, over a real socket: tokens, sessions, this machine alone."""

import http.client
import json
import secrets
import socket
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

import pytest
from parts.desks import StillDesk

from automator.edges.web import Access, Health, WebServer
from automator.edges.web.access import FAILURES, SESSION_SECONDS
from automator.edges.web.parties import is_loopback_name, party
from automator.edges.web.rates import Rates
from automator.edges.web.site import Behind, make_site
from automator.reasons import Reason

FINE = Health(True, "all is well")
TOKEN = "correct-horse-battery-staple"
LIST = "/api/v1/workloads"


@dataclass
class Clock:
    """Time that a test moves."""

    now: float = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Answer:
    """What a client got."""

    status: int
    headers: dict[str, str]
    body: bytes
    cookies: list[str] = field(default_factory=list)

    @property
    def code(self) -> str:
        return str(json.loads(self.body)["error"]["code"])


@dataclass
class Site:
    """A site on a free port, and what it told of refusals."""

    port: int
    desk: StillDesk
    clock: Clock
    refused: list[tuple[Reason, str]]

    def ask(
        self,
        path: str,
        method: str = "GET",
        body: bytes | None = None,
        host: str | None = None,
        **headers: str,
    ) -> Answer:
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)) as connection:
            connection.putrequest(method, path, skip_host=host is not None)
            if host is not None:
                connection.putheader("Host", host)
            if body is not None:
                told.setdefault("Content-Length", str(len(body)))
            for name, value in told.items():
                connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            pairs = answer.getheaders()
            cookies = [value for name, value in pairs if name.lower() == "set-cookie"]
            return Answer(answer.status, {k.lower(): v for k, v in pairs}, answer.read(), cookies)

    def bearer(self, token: str, path: str = LIST) -> Answer:
        return self.ask(path, Authorization=f"Bearer {token}")

    def post(self, path: str, form: Mapping[str, str], **headers: str) -> Answer:
        told = {"Content-Type": "application/x-www-form-urlencoded", **headers}
        return self.ask(path, "POST", urlencode(form).encode(), **told)

    def signed_in(self, token: str = TOKEN, **headers: str) -> str:
        """Sign in as a browser does; the cookie that it sends from then on."""
        answer = self.post("/sign-in", {"token": token, "next": "/"}, **headers)
        assert answer.status == 303, answer.body
        return answer.cookies[0].partition(";")[0]


@contextmanager
def site(token_file: Path | None = None, public_url: str | None = None) -> Iterator[Site]:
    refused: list[tuple[Reason, str]] = []
    clock, desk = Clock(), StillDesk()
    access = Access(
        None if token_file is None else str(token_file),
        public_url=public_url,
        refused=lambda why, client: refused.append((why, client)),
        clock=clock,
        monotonic=clock,
    )
    app = make_site(
        Behind(desk, lambda: FINE, lambda: FINE, lambda _: (b"automator_x 1\n", "text/plain"), "1.2.3"),
        access,
    )
    server = WebServer(app, ("127.0.0.1", 0))
    server.start()
    try:
        yield Site(server.port, desk, clock, refused)
    finally:
        server.stop()


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    return file


# -- with a token ------------------------------------------------------------------------------------


def test_the_token_opens_and_nothing_else_does(token_file: Path) -> None:
    with site(token_file) as it:
        assert it.bearer(TOKEN).status == 200
        assert it.ask(LIST, Authorization=f"bearer  {TOKEN}").status == 200
        for told in ({}, {"Authorization": f"Basic {TOKEN}"}, {"Authorization": TOKEN}):
            answer = it.ask(LIST, **told)
            assert (answer.status, answer.code) == (401, "web/no-token")
            assert answer.headers["www-authenticate"].startswith("Bearer")
        for wrong in (
            TOKEN[:-1],
            TOKEN + "x",
            TOKEN.upper(),
            "ä" * 20,
            "",
            f"{TOKEN}\n{TOKEN}".replace("\n", " "),
        ):
            answer = it.ask(LIST, Authorization=f"Bearer {wrong}".encode().decode("latin-1"))
            assert (answer.status, answer.code) == (401, "web/bad-token")


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_probes_and_metrics_need_no_token(token_file: Path, path: str) -> None:
    with site(token_file) as it:
        assert it.ask(path).status == 200
        assert it.ask(path, host="elsewhere.example.com", X_Forwarded_For="192.0.2.1").status == 200
    token_file.unlink()
    with site(token_file) as it:
        assert it.ask(path).status == 200


def test_a_new_token_needs_no_restart_and_two_lines_are_two_tokens(token_file: Path) -> None:
    fresh = secrets.token_hex(16)
    with site(token_file) as it:
        assert it.bearer(fresh).status == 401
        token_file.write_text(f"{TOKEN}\r\n\n  {fresh}\n")
        assert (it.bearer(fresh).status, it.bearer(TOKEN).status) == (200, 200)
        token_file.write_text(fresh)
        assert (it.bearer(fresh).status, it.bearer(TOKEN).status) == (200, 401)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "No such file"),
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (b"short", "less than 16 characters"),
        (f"{TOKEN}\nshort".encode(), "less than 16 characters"),
        (b"correct horse battery staple", "characters that no token has"),
        (b"\xff\xfe" * 20, "characters that no token has"),
        (b"x" * 70_000, "longer than"),
    ],
)
def test_without_a_usable_token_nobody_is_let_in(tmp_path: Path, content: bytes | None, words: str) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    with site(file) as it:
        for answer in (it.bearer("short"), it.bearer(TOKEN), it.bearer(""), it.ask(LIST)):
            assert (answer.status, answer.code) == (503, "web/token-file")
            assert words in json.loads(answer.body)["error"]["sentence"]
            assert str(tmp_path) not in answer.body.decode()
        assert it.post("/sign-in", {"token": TOKEN}).status == 503


def test_a_folder_or_a_pipe_in_place_of_the_token_lets_nobody_in(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "pipe")
    for file in (tmp_path, tmp_path / "pipe"):
        with site(file) as it:
            assert it.bearer(TOKEN).code == "web/token-file"
            assert it.ask("/healthz").status == 200


def test_who_fails_often_is_put_off_and_let_in_again_later(token_file: Path) -> None:
    with site(token_file) as it:
        session = it.signed_in()
        for _ in range(FAILURES):
            assert it.bearer("x" * 20).status == 401
        answer = it.bearer("x" * 20)
        assert (answer.status, answer.code) == (429, "web/too-many")
        assert it.bearer(TOKEN).status == 429, "a guess that is right must not be told from a wrong one"
        assert it.post("/sign-in", {"token": TOKEN}).status == 429
        assert it.ask(LIST, Cookie=session).status == 200, "who is in stays in"
        it.clock.now += int(answer.headers["retry-after"])
        assert it.bearer(TOKEN).status == 200
        assert [why.code for why, _ in it.refused].count("web/bad-token") == FAILURES
        assert {client for _, client in it.refused} == {"127.0.0.1"}
        assert all("x" * 20 not in why.sentence for why, _ in it.refused)


def test_failures_of_one_client_put_off_no_other() -> None:
    rates = Rates(2, 10.0, clock := Clock())
    assert [rates.take("a"), rates.take("a"), rates.take("b")] == [0, 0, 0]
    assert (rates.wait("a"), rates.wait("b")) == (10.0, 0.0)
    clock.now += 10
    assert (rates.take("a"), rates.wait("a")) == (0, 10.0)
    for number in range(10_000):
        rates.take(f"2001:db8:{number:x}::")
    assert rates.wait("b") == 0
    assert len(rates._full_at) < 5_000


def test_who_has_a_network_of_addresses_is_one_client() -> None:
    assert party("2001:db8::1") == party("2001:db8::2:3:4:5") != party("2001:db8:0:1::1")
    assert party("::ffff:192.0.2.1") == party("192.0.2.1") != party("192.0.2.2")


# -- sessions ------------------------------------------------------------------------------------------


def test_a_browser_signs_in_and_gets_a_cookie_that_is_not_the_token(token_file: Path) -> None:
    with site(token_file) as it:
        answer = it.post("/sign-in", {"token": f" {TOKEN} ", "next": "/workloads?status=held"})
        assert (answer.status, answer.headers["location"]) == (303, "/workloads?status=held")
        (cookie,) = answer.cookies
        words = {word.strip() for word in cookie.split(";")[1:]}
        assert words == {f"Max-Age={SESSION_SECONDS}", "Path=/", "HttpOnly", "SameSite=Lax"}
        assert TOKEN not in cookie
        session = cookie.partition(";")[0]
        assert it.ask(LIST, Cookie=session).status == 200
        assert it.ask(LIST, Cookie=f"other=1; {session}").status == 200
        assert it.ask(LIST, Cookie=session[:-1] + "g").code == "web/session-over"


def test_the_cookie_is_for_tls_where_people_come_by_tls(token_file: Path) -> None:
    with site(token_file) as it:
        answer = it.post("/sign-in", {"token": TOKEN}, X_Forwarded_Proto="https")
        assert answer.cookies[0].startswith("__Host-automator-session=")
        assert answer.cookies[0].endswith("; Secure")
        assert it.ask(LIST, Cookie=answer.cookies[0].partition(";")[0]).status == 200
    with site(token_file, "https://automator.example.com") as it:
        assert it.post("/sign-in", {"token": TOKEN}).cookies[0].endswith("; Secure")


def test_who_comes_by_a_link_from_elsewhere_is_signed_in_still(token_file: Path) -> None:
    with site(token_file) as it:
        session = it.signed_in()
        assert it.ask("/workloads/shop/web", Cookie=session, Sec_Fetch_Site="cross-site").status == 200
        told = it.ask("/sign-in?next=/report", Cookie=session)
        assert (told.status, told.headers["location"]) == (303, "/report"), "nobody is asked twice"
        assert it.ask("/sign-in?next=/report").status == 200
        assert it.ask("/sign-in?next=/report", Cookie=session[:-1] + "g").status == 200
        for path in ("/look", "/sign-out"):
            sent = {"repo": "shop", "form_token": "x"}
            assert it.post(path, sent, Cookie=session, Sec_Fetch_Site="cross-site").status == 403
        assert it.desk.looks == []


def test_a_wish_to_look_too_many_leads_back_to_its_page() -> None:
    with site() as it:
        page = {"Accept": "text/html", "Origin": f"http://localhost:{it.port}"}
        sent = {"repo": "shop", "next": "/repos?offset=50"}
        answers = [it.post("/look", sent, host=f"localhost:{it.port}", **page) for _ in range(11)]
        assert [one.headers.get("location") for one in answers[:2]] == ["/repos?offset=50&looked=shop"] * 2
        assert answers[-1].status == 429
        assert b'<a href="/repos?offset=50">Back to the page</a>' in answers[-1].body
        seconds = int(answers[-1].headers["retry-after"])
        assert 1 <= seconds <= 3
        assert f"the next one is taken in {seconds} s".encode() in answers[-1].body


def test_who_asks_too_often_is_told_for_how_long_to_wait(token_file: Path) -> None:
    with site(token_file) as it:
        for _ in range(10):
            it.ask(LIST, Authorization="Bearer wrong-and-long-enough")
        answer = it.ask(LIST, Authorization="Bearer wrong-and-long-enough")
        assert (answer.status, answer.code) == (429, "web/too-many")
        told = json.loads(answer.body)["error"]
        assert told["params"]["seconds"] == answer.headers["retry-after"] == "6"
        assert "in 6 s" in told["sentence"]


def test_a_session_ends_by_itself_and_with_its_token(token_file: Path) -> None:
    with site(token_file) as it:
        session = it.signed_in()
        it.clock.now += SESSION_SECONDS - 1
        assert it.ask(LIST, Cookie=session).status == 200
        it.clock.now += 2
        assert it.ask(LIST, Cookie=session).code == "web/session-over"
        session = it.signed_in()
        token_file.write_text(f"{TOKEN}\n{'y' * 20}\n")
        assert it.ask(LIST, Cookie=session).status == 200
        token_file.write_text("y" * 20)
        assert it.ask(LIST, Cookie=session).code == "web/session-over"


def test_nobody_makes_a_session_longer(token_file: Path) -> None:
    with site(token_file) as it:
        name, _, value = it.signed_in().partition("=")
        ends, nonce, signature = value.split(".")
        for forged in (
            f"{int(ends) + 1}.{nonce}.{signature}",
            f"{ends}.{nonce}x.{signature}",
            f"{ends}.{nonce}.",
            f"{'9' * 150}.{nonce}.{signature}",
            "",
            "..",
            "a.b.c",
        ):
            assert it.ask(LIST, Cookie=f"{name}={forged}").status == 401


def test_signing_out_takes_the_cookie_away(token_file: Path) -> None:
    with site(token_file) as it:
        session = it.signed_in()
        answer = it.post("/sign-out", {"next": "/"}, Cookie=session, Sec_Fetch_Site="same-origin")
        assert answer.status == 303
        assert "Max-Age=0" in answer.cookies[0]


@pytest.mark.parametrize(
    "next_path", ["//evil.example.com", "https://evil.example.com", "/\\evil.example.com", "x", "", "/a\r\nb"]
)
def test_after_signing_in_nobody_is_sent_elsewhere(token_file: Path, next_path: str) -> None:
    with site(token_file) as it:
        answer = it.post("/sign-in", {"token": TOKEN, "next": next_path})
        assert (answer.status, answer.headers["location"]) == (303, "/")


def test_a_browser_without_a_session_is_led_to_the_form_and_back(token_file: Path) -> None:
    with site(token_file) as it:
        answer = it.ask("/workloads?owner=a%26b", Accept="text/html,*/*;q=0.8")
        assert (answer.status, answer.headers["location"]) == (
            303,
            "/sign-in?next=%2Fworkloads%3Fowner%3Da%2526b",
        )
        form = it.ask("/sign-in?next=%2Fx", Accept="text/html")
        assert (form.status, form.headers["content-type"]) == (200, "text/html; charset=utf-8")
        wrong = it.post("/sign-in", {"token": "x" * 20, "next": "/x"}, Accept="text/html")
        assert wrong.status == 401
        assert b"x" * 20 not in wrong.body


# -- without a token -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host", ["localhost", "LocalHost:8080", "127.0.0.1", "127.8.8.8:1", "[::1]:8080", "[::1]"]
)
def test_without_a_token_this_machine_is_answered(host: str) -> None:
    with site() as it:
        assert it.ask(LIST, host=host).status == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example.com",
        "evil.example.com:8080",
        "127.0.0.1.evil.example.com",
        "localhost.evil",
        "192.0.2.1",
        "[::2]",
        "",
    ],
)
def test_a_strange_name_of_a_loopback_address_is_refused(host: str) -> None:
    """DNS rebinding: the page of a stranger whose name became 127.0.0.1 brings that name along."""
    with site() as it:
        answer = it.ask(LIST, host=host)
        assert (answer.status, answer.code) == (403, "web/loopback-only")
        assert "daemon.token_file" in json.loads(answer.body)["error"]["sentence"]
        assert it.ask("/healthz", host=host or "x").status == 200


@pytest.mark.parametrize(
    "header",
    [
        *("Forwarded", "X-Forwarded-For", "X-Real-IP", "Via", "X-Forwarded-Host", "X-Forwarded-Port"),
        *("X-Client-IP", "True-Client-IP", "CF-Connecting-IP", "CF-Ray", "X-Envoy-External-Address"),
    ],
)
def test_what_a_proxy_brings_is_no_request_of_this_machine(header: str) -> None:
    with site() as it:
        answer = it.ask(LIST, **{header: "127.0.0.1"})
        assert (answer.status, answer.code) == (403, "web/loopback-only")
        assert header.lower() in json.loads(answer.body)["error"]["sentence"]


def test_a_proxy_that_adds_no_header_is_known_by_its_version() -> None:
    """As nginx asks with a bare `proxy_pass`: HTTP/1.0, with the name of the address it was given."""
    with site() as it, socket.create_connection(("127.0.0.1", it.port), timeout=20) as proxy:
        head = f"GET {LIST} HTTP/1.0\r\nHost: 127.0.0.1:{it.port}\r\nConnection: close\r\n\r\n"
        proxy.sendall(head.encode())
        answered, _, body = proxy.makefile("rb").read().partition(b"\r\n\r\n")
    assert b" 403 " in answered.splitlines()[0]
    assert json.loads(body)["error"]["code"] == "web/loopback-only"


def test_names_that_are_loopback() -> None:
    assert all(map(is_loopback_name, ["localhost", "127.0.0.1:80", "[::1]:80", "[::ffff:127.0.0.1]"]))
    assert not any(
        map(is_loopback_name, ["127.1", "1", "::1", "localhost.", "[localhost]", "0x7f000001", "a:b:c"])
    )


# -- effects -------------------------------------------------------------------------------------------


LOOK = "/api/v1/look"
JSON = {"Content-Type": "application/json"}


def test_looking_takes_the_token_or_a_page_of_our_own(token_file: Path) -> None:
    with site(token_file) as it:
        session = it.signed_in()
        own = f"http://127.0.0.1:{it.port}"
        fine = [
            {"Authorization": f"Bearer {TOKEN}"},
            {"Authorization": f"Bearer {TOKEN}", "Origin": "https://ci.example.com"},
            {"Cookie": session, "Origin": own},
            {"Cookie": session, "Sec-Fetch-Site": "same-origin"},
        ]
        refused = [
            {"Cookie": session},
            {"Cookie": session, "Origin": "https://evil.example.com"},
            {"Cookie": session, "Origin": f"http://127.0.0.1:{it.port + 1}"},
            {"Cookie": session, "Origin": "null"},
            {"Cookie": session, "Origin": own, "Sec-Fetch-Site": "cross-site"},
            {"Cookie": session, "Sec-Fetch-Site": "same-site"},
        ]
        for headers in fine:
            assert it.ask(LOOK, "POST", b"{}", **JSON, **headers).status == 202, headers
        assert len(it.desk.looks) == 2 * len(fine)
        for headers in refused:
            answer = it.ask(LOOK, "POST", b"{}", **JSON, **headers)
            assert (answer.status, answer.code) == (403, "web/strange-origin"), headers
        assert it.ask(LOOK, "POST", b"{}", **JSON).status == 401
        assert len(it.desk.looks) == 2 * len(fine)


def test_the_page_of_a_stranger_has_no_effect_on_this_machine() -> None:
    with site() as it:
        assert it.ask(LOOK, "POST", b"{}", **JSON).status == 202, "curl on the machine itself"
        strange = it.ask(LOOK, "POST", b"{}", **JSON, Origin="https://evil.example.com")
        assert strange.code == "web/strange-origin"
        form = it.post(LOOK, {"repo": "shop"})
        assert form.code == "web/media-type"
        assert it.post("/look", {"repo": "shop"}, Origin="https://evil.example.com").status == 403
        assert it.post("/look", {"repo": "shop"}, Origin="null").status == 403
        for broken in ("http://[", "http://[::1", "//", "http://a\xbc"):
            answer = it.ask(LOOK, "POST", b"{}", **JSON, Origin=broken)
            assert (answer.status, answer.code) == (403, "web/strange-origin"), broken


def test_behind_a_proxy_the_public_address_is_our_own(token_file: Path) -> None:
    with site(token_file, "https://automator.example.com") as it:
        session = it.signed_in()
        told = {**JSON, "Cookie": session, "Origin": "https://automator.example.com"}
        assert it.ask(LOOK, "POST", b"{}", host="automator.internal:8080", **told).status == 202
        told["Origin"] = "http://automator.example.com"
        assert it.ask(LOOK, "POST", b"{}", host="automator.internal:8080", **told).status == 403


def test_a_form_with_the_token_of_its_session_needs_no_origin(token_file: Path) -> None:
    with site(token_file) as it:
        session, other = it.signed_in(), it.signed_in()
        access = Access(str(token_file), clock=it.clock)
        from starlette.requests import Request

        def form_token(cookie: str) -> str:
            headers = [(b"cookie", cookie.encode())]
            return access.visitor(
                Request({"type": "http", "headers": headers, "client": ("::1", 1)})
            ).form_token

        sent = {"repo": "shop", "workload": "web", "form_token": form_token(session)}
        answer = it.post("/look", {**sent, "next": "/workloads/shop/web"}, Cookie=session, Origin="null")
        assert (answer.status, answer.headers["location"]) == (303, "/workloads/shop/web?looked=shop")
        assert it.desk.looks == [("shop", "web")]
        assert it.post("/look", sent, Cookie=other).status == 403
        assert it.post("/look", {**sent, "form_token": "ä"}, Cookie=session).status == 403
        assert it.post("/look", sent, Cookie=session, Origin="https://evil.example.com").status == 403


def test_nobody_makes_cycles_run_without_end(token_file: Path) -> None:
    with site(token_file) as it:
        answers = [
            it.ask(LOOK, "POST", b'{"repo": "shop"}', **JSON, Authorization=f"Bearer {TOKEN}")
            for _ in range(12)
        ]
        assert [answer.status for answer in answers] == [202] * 10 + [429] * 2
        assert len(it.desk.looks) == 10


@pytest.mark.parametrize("path", [LIST, LOOK, "/look", "/sign-out", "/api/v1/log"])
def test_reading_changes_nothing(path: str) -> None:
    with site() as it:
        for method in ("GET", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH"):
            it.ask(path, method)
        assert it.desk.looks == []
