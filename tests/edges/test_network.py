"""The way to registries: proxies, refused addresses, and answers that would not end."""

from __future__ import annotations

import gzip
import ipaddress
import logging
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from parts.proxy import Proxy
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
from parts.resolver import told_where

from automator.core.reference import Repository
from automator.edges import http
from automator.edges.registry import BodyLimits, PasswordFile, RegistryClient

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
LIST = json_reply({"tags": ["1.0.0"]})

Hostile = Callable[[Behaviour], HostileServer]
MakeClient = Callable[..., RegistryClient]


def tags(client: RegistryClient, host: str) -> tuple[str, ...]:
    return client.tags(Repository(host, "a/b"), now=NOW).tags


# -- proxies ----------------------------------------------------------------------------------------


def by(proxy: str, **rest: str) -> http.Outside:
    return http.Outside.of({"https_proxy": proxy, "http_proxy": proxy, **rest})


def test_a_proxy_is_asked_for_a_tunnel_and_learns_nothing_of_what_is_inside(
    secure: Hostile, ca_file: Path, make_client: MakeClient, tmp_path: Path
) -> None:
    (tmp_path / "password").write_text(PASSWORD)
    server = secure(
        lambda r: LIST if "authorization" in r.headers else Reply(401, b"", {"WWW-Authenticate": "Basic"})
    )
    settings = replace(
        PLAIN,
        insecure=False,
        ca_file=str(ca_file),
        credentials=PasswordFile(USER, str(tmp_path / "password")),
    )
    with Proxy(login="ann:proxy-secret") as proxy:
        outside = by(proxy.url.replace("//", "//ann:proxy-secret@"))
        client = make_client(server.host, settings=settings, outside=outside)
        assert tags(client, server.host) == ("1.0.0",)
        assert tags(client, server.host) == ("1.0.0",)
    assert proxy.asked == [f"CONNECT {server.host}"]
    assert "\nauthorization" not in "".join(proxy.headers).lower()
    assert not any("proxy-authorization" in r.headers for r in server.received)


def test_plain_http_goes_to_the_proxy_as_a_whole_address(hostile: Hostile, make_client: MakeClient) -> None:
    server = hostile(always(LIST))
    with Proxy() as proxy:
        assert tags(make_client(server.host, outside=by(proxy.url)), server.host) == ("1.0.0",)
    assert proxy.asked == [f"GET http://{server.host}/v2/a/b/tags/list?n=1000"]


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("login", ["", "ann:stale-secret@"])
def test_a_proxy_that_wants_another_login_is_named_without_the_secret(
    make_client: MakeClient, scheme: str, login: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    settings = replace(PLAIN, insecure=scheme == "http")
    with Proxy(login="ann:proxy-secret") as proxy:
        outside = by(proxy.url.replace("//", f"//{login}"))
        client = make_client("127.0.0.1:1", settings=settings, outside=outside)
        error = refusal(lambda: tags(client, "127.0.0.1:1"))
        assert proxy.host in str(error)
    assert error.reason.code == "registry/proxy"
    assert "407" in str(error)
    assert "secret" not in f"{error!r} {error} {outside!r} {caplog.text}"


def test_a_proxy_that_refuses_or_is_not_there_is_named(make_client: MakeClient) -> None:
    settings = replace(PLAIN, insecure=False)
    with Proxy(refuses=403) as proxy:
        client = make_client("registry.test", settings=settings, outside=by(proxy.url))
        refused = refusal(lambda: tags(client, "registry.test"))
    gone = refusal(
        lambda: tags(make_client("registry.test", settings=settings, outside=by(proxy.url)), "registry.test")
    )
    for error in (refused, gone):
        assert error.reason.code == "registry/proxy"
        assert error.retry
        assert proxy.host in str(error)
    assert "403" in str(refused)
    assert "Connection refused" in str(gone)
    assert "HTTPS_PROXY" in gone.reason.next_step


@pytest.mark.parametrize(
    "proxy",
    ["socks5://ann:secret@127.0.0.1:1080", "http://ann:se/secret@127.0.0.1:1", "http://ann:secret@[:3128"],
)
def test_a_proxy_that_is_not_understood_is_not_passed_by(
    hostile: Hostile, make_client: MakeClient, proxy: str
) -> None:
    server = hostile(always(LIST))
    client = make_client(server.host, outside=by(proxy))
    error = refusal(lambda: tags(client, server.host))
    assert error.reason.code == "registry/proxy"
    assert "secret" not in f"{error} {error.__cause__} {error.__context__}"
    assert server.received == []


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1:5000", "2130706433", "0177.0.0.1", "0x7f.1:80", "[::1]", "[::ffff:127.0.0.1]", "localhost"],
)
def test_behind_a_proxy_an_address_that_is_spelt_out_is_refused_all_the_same(host: str) -> None:
    with Proxy() as proxy, http.new_session(proxy=proxy.url) as session:
        for scheme in ("http", "https"):
            with pytest.raises(http.TransportError) as caught:
                http.send(
                    session,
                    "GET",
                    f"{scheme}://{host}/v2/",
                    headers={},
                    limits=http.Limits(2, 2, time.monotonic() + 5, 1000),
                    allowed=http.is_global,
                )
            assert caught.value.kind is http.Kind.ADDRESS
    assert proxy.asked == []


@pytest.mark.parametrize(
    ("environment", "url", "proxy"),
    [
        ({}, "https://ghcr.io/v2/", None),
        ({"HTTPS_PROXY": "http://p:3128"}, "https://ghcr.io/v2/", "http://p:3128"),
        ({"HTTPS_PROXY": "http://p:3128"}, "http://ghcr.io/v2/", None),
        ({"HTTPS_PROXY": "http://up", "https_proxy": "http://low"}, "https://ghcr.io/", "http://low"),
        ({"HTTPS_PROXY": "http://up", "https_proxy": ""}, "https://ghcr.io/", None),
        ({"ALL_PROXY": "p:3128"}, "http://ghcr.io/", "http://p:3128"),
        ({"ALL_PROXY": "http://all", "HTTP_PROXY": "http://one"}, "http://ghcr.io/", "http://one"),
        ({"HTTP_PROXY": "http://from-a-header", "REQUEST_METHOD": "GET"}, "http://ghcr.io/", None),
    ],
)
def test_which_proxy_the_environment_names(environment: dict[str, str], url: str, proxy: str | None) -> None:
    assert http.Outside.of(environment).proxy_for(url) == proxy


@pytest.mark.parametrize(
    ("no_proxy", "host", "direct"),
    [
        ("*", "ghcr.io", True),
        ("example.com", "example.com", True),
        ("example.com", "registry.example.com:5000", True),
        ("Example.COM , other.org", "registry.example.com", True),
        (".example.com", "registry.example.com", True),
        ("*.example.com", "registry.example.com", True),
        ("example.com", "badexample.com", False),
        ("example.com:5000", "example.com:5000", True),
        ("example.com:5000", "example.com:5001", False),
        ("example.com:443", "example.com", True),
        ("10.0.0.0/8", "10.1.2.3:5000", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("10.1.2.3", "10.1.2.3", True),
        ("0.1.2.3", "10.1.2.3", False),
        ("fd00::/8", "[fd00::5]:5000", True),
        ("::1", "[::1]:5000", True),
        ("[::1]", "[::1]", True),
        ("nonsense/99, ,", "example.com", False),
        ("", "example.com", False),
    ],
)
def test_what_no_proxy_excepts(no_proxy: str, host: str, direct: bool) -> None:
    outside = http.Outside.of({"HTTPS_PROXY": "http://p:3128", "NO_PROXY": no_proxy})
    assert (outside.proxy_for(f"https://{host}/v2/") is None) == direct


def test_a_bundle_of_the_environment_replaces_the_usual_certificates(
    secure: Hostile, ca_file: Path, make_client: MakeClient, tmp_path: Path
) -> None:
    server = secure(always(LIST))
    strict = replace(PLAIN, insecure=False)
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        outside = http.Outside.of({name: str(ca_file)})
        assert tags(make_client(server.host, settings=strict, outside=outside), server.host) == ("1.0.0",)
    missing = http.Outside.of({"SSL_CERT_FILE": str(tmp_path / "missing")})
    error = refusal(lambda: tags(make_client(server.host, settings=strict, outside=missing), server.host))
    assert error.reason.code == "registry/tls-files"
    assert str(tmp_path / "missing") in str(error)


# -- addresses --------------------------------------------------------------------------------------

GLOBAL = [
    "1.1.1.1", "2606:4700:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101", "64:ff9b:1::101:101",
    "2002:101:101::1",
]  # fmt: skip
PRIVATE = [
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "fd12::1",
    "64:ff9b::a00:1",
    "::ffff:10.0.0.1",
    "2002:a00:1::",
    "64:ff9b:1::a00:1",
]
NEVER = [
    "127.0.0.1", "127.8.8.8", "::1", "0.0.0.0", "::", "169.254.169.254", "fe80::1", "224.0.0.1", "ff02::1",
    "::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::",
    "100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254", "fd00:c1::a9fe:a9fe",
    "::7f00:1", "::a9fe:a9fe", "::101:101", "64:ff9b:1::7f00:1", "64:ff9b:1::a9fe:a9fe",
    "64:ff9b:1::a83f:8110",
    # RFC 6052's forms for shorter prefixes: 169.254.169.254 in bytes 6, 7, 9, 10; then 7, 9-11; then 9-12
    "64:ff9b:1:a9fe:a9:fe00:808:808", "64:ff9b:1:a9:fe:a9fe:808:808", "64:ff9b:1:0:a9:fea9:fe08:808",
]  # fmt: skip
SPECIAL = ["100.64.0.1", "198.18.0.1", "240.0.0.1", "192.0.2.1", "2001:db8::1", "fec0::1"]


def test_which_addresses_may_be_called_unasked_and_which_where_a_registry_sends_us() -> None:
    def sorts(rule: http.AddressRule, texts: list[str]) -> set[bool]:
        return {rule(ipaddress.ip_address(text)) for text in texts}

    assert sorts(http.is_global, GLOBAL) == {True}
    assert sorts(http.is_global, PRIVATE + NEVER + SPECIAL) == {False}
    assert sorts(http.is_elsewhere, GLOBAL + PRIVATE) == {True}
    assert sorts(http.is_elsewhere, NEVER) == {False}


@given(st.ip_addresses(v=4))
def test_an_address_within_another_is_judged_as_itself(address: ipaddress.IPv4Address) -> None:
    packed = int(address)
    forms = (
        0xFFFF << 32 | packed,
        0x64FF9B << 96 | packed,
        0x64FF9B0001 << 80 | packed,
        0x2002 << 112 | packed << 80,
    )
    for form in map(ipaddress.IPv6Address, forms):
        assert http.is_global(form) == http.is_global(address), form
        assert http.is_elsewhere(form) == http.is_elsewhere(address), form


def test_a_kept_connection_is_no_way_round_the_address_rule(hostile: Hostile) -> None:
    server = hostile(always(LIST))
    with http.new_session() as session:

        def ask(allowed: http.AddressRule) -> http.Answer:
            limits = http.Limits(2, 2, time.monotonic() + 5, 1000)
            url = f"http://{server.other_name}/v2/"
            return http.send(session, "GET", url, headers={}, limits=limits, allowed=allowed)

        assert ask(lambda _: True).status == 200
        with pytest.raises(http.TransportError) as caught:
            ask(http.is_global)
        assert caught.value.kind is http.Kind.ADDRESS
        assert ask(lambda _: True).status == 200
    assert len(server.received) == 2


ASK_SLOWLY = """
from datetime import UTC, datetime
from automator.core.reference import Repository
from automator.edges.registry import HostSettings, RegistryClient
from automator.errors import RegistryError
settings = HostSettings(insecure=True, connect_timeout={connect}, deadline={deadline})
client = RegistryClient({{"slow.test": settings}})
try:
    print(*client.tags(Repository("slow.test", "a/b"), now=datetime(2026, 11, 21, tzinfo=UTC)).tags)
except RegistryError as error:
    print(error.reason.code)
"""


def test_a_slow_resolver_takes_no_time_from_connecting(hostile: Hostile) -> None:
    server = hostile(always(LIST))
    code = ASK_SLOWLY.format(connect=0.5, deadline=10)
    assert told_where("slow.test", server.port, code, pause=0.6) == "1.0.0"


def test_a_resolver_that_takes_all_of_the_time_is_a_timeout(hostile: Hostile) -> None:
    server = hostile(always(LIST))
    code = ASK_SLOWLY.format(connect=5, deadline=0.4)
    assert told_where("slow.test", server.port, code, pause=1.0) == "registry/timeout"
    assert server.received == []


def test_a_resolver_that_hangs_is_waited_for_no_longer_than_the_exchange_may_take(hostile: Hostile) -> None:
    server = hostile(always(LIST))
    code = ASK_SLOWLY.format(connect=5, deadline=0.4)
    assert told_where("slow.test", server.port, code, pause=3_600) == "registry/timeout"


def test_many_that_wait_for_one_name_hold_one_thread() -> None:
    code = """
import threading, time
from automator.edges.http.names import Late, look_up
late = []
def ask():
    try:
        look_up("slow.test", 443, time.monotonic() + 0.3)
    except Late:
        late.append(1)
for _ in range(3):
    asking = [threading.Thread(target=ask) for _ in range(8)]
    for one in asking: one.start()
    for one in asking: one.join()
print(len(late), sum(one.name == "name slow.test" for one in threading.enumerate()))
"""
    assert told_where("slow.test", 443, code, pause=3_600) == "24 1"


# -- answers ----------------------------------------------------------------------------------------


@contextmanager
def raw_server(answer: bytes, *, then_close: bool = True) -> Iterator[str]:
    """Says `answer` to whoever asks, whatever that is."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.05)

        def serve() -> None:
            while not over.is_set():
                try:
                    there, _ = listening.accept()
                except TimeoutError:
                    continue
                with there:
                    there.settimeout(5)
                    try:
                        there.recv(65536)
                        there.sendall(answer)
                        if not then_close:
                            over.wait(30)
                    except OSError:
                        continue

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"127.0.0.1:{listening.getsockname()[1]}"
        finally:
            over.set()
            thread.join(10)


def head(*lines: str) -> bytes:
    return "\r\n".join(("HTTP/1.1 200 OK", *lines, "", "")).encode()


BODY = LIST.body


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        (head("Content-Length: 1000") + BODY, "registry/unreachable", "in mid-answer"),
        (head("Content-Length: 999999999999") + BODY, "registry/too-large", "announced"),
        (head("Content-Length: -5") + b"", "registry/not-json", ""),
        (head("Transfer-Encoding: chunked") + b"5\r\n{}", "registry/unreachable", "in mid-answer"),
        (head("Transfer-Encoding: chunked") + b"zz\r\n{}\r\n", "registry/unreachable", "in mid-answer"),
        (head(*(f"X-{n}: 1" for n in range(500))), "registry/too-large", "too many"),
        (head("X: " + "a" * 100_000), "registry/too-large", "too long"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "registry/unreachable", "not HTTP"),
        (b"\x15\x03\x01\x00\x02\x02\x46", "registry/tls-wanted", "speaks TLS"),
        (b"", "registry/unreachable", "without an answer"),
    ],
)
def test_answers_that_are_broken_end_in_a_sentence(
    make_client: MakeClient, answer: bytes, code: str, words: str
) -> None:
    with raw_server(answer) as host:
        error = refusal(lambda: tags(make_client(host), host))
    assert error.reason.code == code
    assert words in str(error)
    assert host in str(error) or code == "registry/not-json"


def test_a_head_that_drips_ends_at_the_time_limit(make_client: MakeClient) -> None:
    with raw_server(b"HTTP/1.1 200 OK\r\nX: ", then_close=False) as host:
        client = make_client(host, settings=replace(PLAIN, read_timeout=5, deadline=0.5))
        assert refusal(lambda: tags(client, host)).reason.code == "registry/timeout"


def test_a_compressed_answer_is_read_within_the_same_limit(hostile: Hostile, make_client: MakeClient) -> None:
    """We ask for none; some proxies compress all the same."""
    coding = {"Content-Encoding": "gzip"}
    fine = hostile(always(Reply(200, gzip.compress(BODY), coding)))
    bomb = hostile(always(Reply(200, gzip.compress(b" " * 40_000_000, 1), coding)))
    cut = hostile(always(Reply(200, gzip.compress(BODY)[:-12], coding)))
    other = hostile(always(Reply(200, b"?", {"Content-Encoding": "br"})))
    servers = (fine, bomb, cut, other)
    client = make_client(*(server.host for server in servers))
    assert tags(client, fine.host) == ("1.0.0",)
    errors = [refusal(partial(tags, client, server.host)) for server in servers[1:]]
    assert [e.reason.code for e in errors] == [
        "registry/too-large",
        "registry/unreachable",
        "registry/unreachable",
    ]
    assert "decompressed" in str(errors[0])
    assert "compressed, and broken" in str(errors[1])
    assert "was not asked for" in str(errors[2])
    assert fine.received[0].headers["accept-encoding"] == "identity"


def test_a_length_announced_beside_chunks_is_no_way_round_the_limit(make_client: MakeClient) -> None:
    chunks = (b"8000\r\n" + b" " * 0x8000 + b"\r\n") * 100
    answer = head("Transfer-Encoding: chunked", "Content-Length: 5") + chunks
    with raw_server(answer, then_close=False) as host:
        error = refusal(lambda: tags(make_client(host, limits=BodyLimits(page=100_000)), host))
    assert error.reason.code == "registry/too-large"


def test_a_server_that_is_silent_when_tls_begins_ends_at_the_time_limit(make_client: MakeClient) -> None:
    with raw_server(b"", then_close=False) as host:
        settings = replace(PLAIN, insecure=False, read_timeout=0.3, connect_timeout=0.3)
        error = refusal(lambda: tags(make_client(host, settings=settings), host))
    assert error.reason.code == "registry/timeout"


def test_what_no_header_can_carry_is_not_quoted(hostile: Hostile) -> None:
    server = hostile(always(LIST))
    limits = http.Limits(2, 2, time.monotonic() + 5, 1000)
    with http.new_session() as session:
        for value in (
            "Bearer secret\n",
            "Bearer secret\r\nX: 1",
            "Bearer secret\u2028",
            "Bearer secret\ud800",
        ):
            headers = {"Authorization": value}
            with pytest.raises(http.TransportError) as caught:
                http.send(session, "GET", f"http://{server.host}/", headers=headers, limits=limits)
            told = "".join(traceback.format_exception(caught.value))
            assert caught.value.kind is http.Kind.BROKEN
            assert "cannot carry" in caught.value.detail
            assert "secret" not in told
    assert server.received == []


def test_an_address_without_a_path_is_called(hostile: Hostile, make_client: MakeClient) -> None:
    storage = hostile(always(LIST))
    location = f"http://{storage.host}?X-Amz-Signature=one"
    server = hostile(always(Reply(307, b"", {"Location": location})))
    assert tags(make_client(server.host, storage.host), server.host) == ("1.0.0",)
    assert [(r.path, r.query) for r in storage.received] == [("/", {"X-Amz-Signature": "one"})]


@pytest.mark.parametrize(
    "rest", ["?X-Amz-Signature=secret", "#secret", "/x?X-Amz-Signature=secret", "/x y?secret"]
)
def test_a_signed_address_that_does_not_answer_is_told_by_its_host_alone(
    hostile: Hostile, make_client: MakeClient, rest: str
) -> None:
    server = hostile(always(Reply(307, b"", {"Location": f"http://127.0.0.1:1{rest}"})))
    error = refusal(lambda: tags(make_client(server.host, "127.0.0.1:1"), server.host))
    assert "127.0.0.1:1" in str(error)
    assert "secret" not in f"{error} {error.__cause__}"


def test_a_token_service_without_a_path_is_asked(hostile: Hostile, make_client: MakeClient) -> None:
    def behave(asked: Received) -> Reply:
        if asked.path == "/":
            return json_reply({"token": "t"})
        if asked.headers.get("authorization") == "Bearer t":
            return LIST
        realm = f'Bearer realm="http://{asked.headers["host"]}",service="x"'
        return Reply(401, b"", {"WWW-Authenticate": realm})

    server = hostile(behave)
    assert tags(make_client(server.host), server.host) == ("1.0.0",)
    assert server.paths() == ["GET /v2/a/b/tags/list", "GET /", "GET /v2/a/b/tags/list"]
    assert server.received[1].query["service"] == "x"


def test_a_user_in_an_address_is_no_way_to_send_a_password() -> None:
    limits = http.Limits(2, 2, time.monotonic() + 5, 1000)
    with http.new_session() as session, pytest.raises(http.TransportError) as caught:
        http.send(session, "GET", "http://ann:secret@127.0.0.1:1/", headers={}, limits=limits)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("proxied", [False, True])
def test_a_redirect_to_a_port_that_cannot_be_is_a_wrong_answer(proxied: bool) -> None:
    moved = Reply(302, headers={"Location": "https://elsewhere.example:99999/x"})
    outside = http.Outside.of({"HTTPS_PROXY": "http://127.0.0.1:1"} if proxied else {})
    with HostileServer(always(moved)) as server:
        client = RegistryClient({server.host: PLAIN}, outside=outside)
        error = refusal(lambda: client.tags(Repository(server.host, "acme/web"), now=NOW))
        client.close()
    assert error.reason.code == "registry/bad-answer"
    assert len(server.received) == 1
