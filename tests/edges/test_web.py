"""The probes and metrics as a client sees them: over a real socket."""

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import pytest
from parts.registry import wait_until

from automator.edges.web import Health, Refusal, WebServer, make_app
from automator.edges.web.server import OF_ONE
from automator.errors import ConfigError

FINE = Health(True, "all is well")
PLAIN = "text/plain; version=0.0.4; charset=utf-8"


@contextmanager
def serving(
    health: Health | Exception = FINE, ready: Health = FINE, metrics: bytes = b"automator_x 1\n"
) -> Iterator[int]:
    def ask() -> Health:
        if isinstance(health, Exception):
            raise health
        return health

    server = WebServer(make_app(ask, lambda: ready, lambda _: (metrics, PLAIN)), ("127.0.0.1", 0))
    server.start()
    try:
        yield server.port
    finally:
        server.stop()


def ask(port: int, path: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()


def test_probes_are_200_when_all_is_well() -> None:
    with serving() as port:
        for path in ("/healthz", "/readyz"):
            status, _, body = ask(port, path)
            assert (status, json.loads(body)) == (200, {"ok": True, "words": "all is well"})


def test_probes_are_503_with_words_when_not() -> None:
    with serving(health=Health(False, "no cycle of shop ended"), ready=Health(False, "reading shop")) as port:
        status, _, body = ask(port, "/healthz")
        assert (status, json.loads(body)["words"]) == (503, "no cycle of shop ended")
        status, _, body = ask(port, "/readyz")
        assert (status, json.loads(body)["words"]) == (503, "reading shop")


def test_metrics_are_prometheus_text() -> None:
    with serving(metrics=b"automator_x 1\n") as port:
        status, headers, body = ask(port, "/metrics")
    assert (status, body) == (200, b"automator_x 1\n")
    assert headers["content-type"] == PLAIN


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/healthz/", 404),
        ("GET", "/../etc/passwd", 404),
        ("POST", "/healthz", 405),
        ("DELETE", "/metrics", 405),
    ],
)
def test_anything_else_is_refused_in_json(method: str, path: str, status: int) -> None:
    with serving() as port:
        answered, headers, body = ask(port, path, method)
    assert answered == status
    assert headers["content-type"] == "application/json"
    assert "error" in json.loads(body)
    if status == 405:
        assert "GET" in headers["allow"]


def test_head_answers_without_a_body() -> None:
    with serving() as port:
        status, _, body = ask(port, "/healthz", "HEAD")
    assert (status, body) == (200, b"")


def test_a_bug_behind_a_probe_shows_no_details() -> None:
    with serving(health=ValueError("secret detail")) as port:
        status, headers, body = ask(port, "/healthz")
        assert status == 500
        assert b"secret" not in body
        assert headers["x-content-type-options"] == "nosniff"
        assert ask(port, "/readyz")[0] == 200


@pytest.mark.parametrize("path", ["/healthz", "/metrics", "/nowhere"])
def test_every_answer_has_the_strict_headers_and_no_server_name(path: str) -> None:
    with serving() as port:
        _, headers, _ = ask(port, path)
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert "server" not in headers


def test_a_port_in_use_is_a_config_error_that_names_it() -> None:
    with serving() as port:
        second = WebServer(make_app(lambda: FINE, lambda: FINE, lambda: b""), ("127.0.0.1", port))
        with pytest.raises(ConfigError) as caught:
            second.start()
        second.stop()
    assert caught.value.reason.code == "daemon/listen"
    assert f"127.0.0.1:{port}" in caught.value.reason.sentence
    assert "in use" in caught.value.reason.sentence


def test_an_address_of_another_machine_is_a_config_error() -> None:
    server = WebServer(make_app(lambda: FINE, lambda: FINE, lambda: b""), ("192.0.2.1", 0))
    with pytest.raises(ConfigError) as caught:
        server.start()
    assert caught.value.reason.code == "daemon/listen"


def test_an_empty_host_is_every_interface() -> None:
    server = WebServer(make_app(lambda: FINE, lambda: FINE, lambda: b""), ("", 0))
    server.start()
    try:
        assert ask(server.port, "/healthz")[0] == 200
        if socket.has_dualstack_ipv6() and Path("/proc/net/if_inet6").read_text():
            socket.create_connection(("::1", server.port), timeout=20).close()
    finally:
        server.stop()


def test_a_connection_of_which_no_request_comes_is_closed() -> None:
    app = make_app(lambda: FINE, lambda: FINE, lambda: b"")
    server = WebServer(app, ("127.0.0.1", 0), head_seconds=0.2)
    server.start()
    try:
        for beginning in (b"", b"GET /healthz HTTP/1.1\r\nX-A: "):
            with socket.create_connection(("127.0.0.1", server.port), timeout=20) as idle:
                idle.sendall(beginning)
                with suppress(ConnectionResetError):
                    assert idle.recv(1) == b""
        assert ask(server.port, "/healthz")[0] == 200
    finally:
        server.stop()


def test_who_asks_gets_the_place_of_who_does_not() -> None:
    """Idle connections, of whoever is behind one address, keep nobody out."""
    lost: list[Refusal] = []
    app = make_app(lambda: FINE, lambda: FINE, lambda _: (b"x", PLAIN))
    server = WebServer(app, ("127.0.0.1", 0), unserved=lost.append, head_seconds=60)
    server.start()
    try:
        with ExitStack() as held:
            address = ("127.0.0.1", server.port)
            for _ in range(OF_ONE + 5):
                held.enter_context(socket.create_connection(address, timeout=20))
            for path in ("/metrics", "/healthz", "/readyz"):
                assert ask(server.port, path)[0] == 200
    finally:
        server.stop()
    assert set(lost) == {Refusal.CROWDED}


def test_who_does_not_read_the_answer_is_left() -> None:
    large = make_app(lambda: FINE, lambda: FINE, lambda: b"x" * 8_000_000)
    server = WebServer(large, ("127.0.0.1", 0), whole_seconds=1.0)
    server.start()
    try:
        with ExitStack() as held:
            for _ in range(64):
                idle = held.enter_context(socket.socket())
                idle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
                idle.connect(("127.0.0.1", server.port))
                idle.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            wait_until(lambda: ask(server.port, "/healthz")[0] == 200, "a place")
    finally:
        server.stop()


def test_every_answer_ends_its_connection() -> None:
    with serving() as port:
        assert ask(port, "/healthz")[1]["connection"] == "close"


def test_stop_ends_thread_and_port_though_a_client_hangs_on() -> None:
    with serving() as port, socket.create_connection(("127.0.0.1", port)) as idle:
        idle.sendall(b"GET /healthz HTTP/1.1\r\n")
        assert ask(port, "/healthz")[0] == 200
    assert "web" not in {thread.name for thread in threading.enumerate()}
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
