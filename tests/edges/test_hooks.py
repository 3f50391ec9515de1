"""The listener for events as senders and strangers meet it: over a real socket."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from parts.registry import wait_until

from automator.edges.web import Refusal, WebServer, make_hooks_app
from automator.edges.webhook import BODY_LIMIT, Event, Request, Result, Word

ACCEPTED = Event(Result.ACCEPTED, Word.PUSHED, 202)


@dataclass
class Listening:
    """A listener under test, with what it handed on and what it refused."""

    port: int = 0
    received: list[tuple[str, Request]] = field(default_factory=list)
    refused: list[tuple[str | None, Refusal]] = field(default_factory=list)

    def send(
        self,
        path: str,
        body: bytes | None = b"{}",
        method: str = "POST",
        headers: dict[str, str] | None = None,
        *,
        whence: str = "127.0.0.1",
    ) -> tuple[int, dict[str, str], bytes]:
        with closing(
            http.client.HTTPConnection("127.0.0.1", self.port, timeout=20, source_address=(whence, 0))
        ) as connection:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()

    @contextmanager
    def slow_bodies(self, path: str, count: int) -> Iterator[list[socket.socket]]:
        """So many requests of which the server waits for the body."""
        with contextlib.ExitStack() as held:
            slow = []
            for _ in range(count):
                one = held.enter_context(socket.create_connection(("127.0.0.1", self.port), timeout=20))
                head = f"POST {path} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n"
                one.sendall(head.encode())
                assert one.recv(65536).startswith(b"HTTP/1.1 100 ")
                slow.append(one)
            yield slow

    def raw(self, *pieces: bytes) -> bytes:
        """What comes back for bytes as they are, until the server closes the connection."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
            with contextlib.suppress(OSError):  # the server may have closed in the middle
                for piece in pieces:
                    connection.sendall(piece)
            answer = b""
            with contextlib.suppress(ConnectionError):
                while piece := connection.recv(65536):
                    answer += piece
            return answer


@contextmanager
def listening(
    answer: Event | Callable[[str, Request], Event] = ACCEPTED, *, head_seconds: float = 10, **settings: Any
) -> Iterator[Listening]:
    heard = Listening()

    def receive(hook: str, request: Request) -> Event:
        heard.received.append((hook, request))
        return answer if isinstance(answer, Event) else answer(hook, request)

    def refuse(hook: str | None, refusal: Refusal) -> None:
        heard.refused.append((hook, refusal))

    server = WebServer(
        make_hooks_app({"quay", "hub"}, receive, refuse, **settings),
        ("127.0.0.1", 0),
        unserved=lambda what: refuse(None, what),
        head_seconds=head_seconds,
    )
    server.start()
    heard.port = server.port
    try:
        yield heard
    finally:
        server.stop()


def test_an_event_is_handed_on_as_it_was_sent() -> None:
    with listening() as heard:
        status, headers, body = heard.send(
            "/hooks/quay?secret=a%20b&x=", b'{"a": 1}\n', headers={"X-Sign": "y"}
        )
    ((hook, request),) = heard.received
    assert (status, json.loads(body)) == (202, {"result": "accepted"})
    assert (hook, request.method, request.body) == ("quay", "POST", b'{"a": 1}\n')
    assert (dict(request.query), request.headers["x-sign"]) == ({"secret": "a b", "x": ""}, "y")
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"


def test_what_came_twice_is_told() -> None:
    with listening() as heard:
        heard.send("/hooks/quay?secret=a&secret=b")
    assert heard.received[0][1].repeated == {"secret"}


@pytest.mark.parametrize(
    ("event", "status", "body"),
    [
        (Event(Result.IGNORED, Word.NOT_A_PUSH, 200), 200, b'{"result":"ignored"}'),
        (Event(Result.IGNORED, Word.NOT_A_PUSH, 204), 204, b""),
        (Event(Result.REJECTED, Word.BAD_SECRET, 401), 401, b'{"result":"rejected"}'),
        (Event(Result.IGNORED, Word.HANDSHAKE, 200, answer=b'{"validationResponse":"x"}'), 200, None),
    ],
)
def test_the_answer_is_what_the_event_came_to(event: Event, status: int, body: bytes | None) -> None:
    with listening(event) as heard:
        answered = heard.send("/hooks/hub")
    assert answered[0] == status
    assert answered[2] == (event.answer if body is None else body)


def test_a_handshake_is_answered_with_its_headers() -> None:
    leave = Event(Result.IGNORED, Word.HANDSHAKE, 200, headers=(("WebHook-Allowed-Origin", "azure.example"),))
    with listening(leave) as heard:
        _, headers, _ = heard.send("/hooks/hub", None, "OPTIONS")
    assert headers["webhook-allowed-origin"] == "azure.example"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/hooks/ghcr", 404),
        ("POST", "/hooks/", 404),
        ("POST", "/hooks", 404),
        ("POST", "/", 404),
        ("POST", "/metrics", 404),
        ("POST", "/hooks/quay/", 404),
        ("POST", "/hooks/quay/../hub", 404),
        ("POST", "/hooks/%2e%2e", 404),
        ("POST", "/hooks/quay%2Fhub", 404),
        ("POST", "/hooks/%ff%fe", 404),
        ("POST", "/hooks/quay%00", 404),
        ("POST", "//hooks/quay", 404),
        ("GET", "/hooks/quay", 405),
        ("HEAD", "/hooks/quay", 405),
        ("PUT", "/hooks/quay", 405),
        ("DELETE", "/hooks/nowhere", 405),
    ],
)
def test_anything_else_is_refused(method: str, path: str, status: int) -> None:
    with listening() as heard:
        answered, headers, body = heard.send(path, method=method)
    assert answered == status
    assert heard.received == []
    assert headers["content-type"] == "application/json"
    assert b"quay" not in body, "which hooks there are is nobody's business"


@pytest.mark.parametrize(
    ("method", "path", "told"),
    [
        ("GET", "/hooks/quay", [("quay", Refusal.WRONG_METHOD)]),
        ("TRACE", "/hooks/quay", [("quay", Refusal.WRONG_METHOD)]),
        ("DELETE", "/hooks/nowhere", [(None, Refusal.UNKNOWN_HOOK)]),
        ("POST", "/hooks/nowhere", [(None, Refusal.UNKNOWN_HOOK)]),
        ("GET", "/", []),
    ],
)
def test_what_was_meant_for_a_hook_is_told_though_it_was_no_event(
    method: str, path: str, told: list[tuple[str | None, Refusal]]
) -> None:
    with listening() as heard:
        heard.send(path, method=method)
    assert heard.refused == told


def test_a_connection_that_brings_no_http_is_told() -> None:
    with listening(head_seconds=0.2) as heard:
        assert heard.raw(b"\x16\x03\x01 a TLS client\r\n\r\n").startswith(b"HTTP/1.1 400 ")
        assert heard.raw(b"POST /hooks/quay HTTP/1.1\r\nX-A: ") == b""
        with socket.create_connection(("127.0.0.1", heard.port), timeout=20):
            pass  # as a load balancer looks whether anybody is there: nothing to tell
        assert heard.send("/hooks/quay")[0] == 202
    assert heard.refused == [(None, Refusal.MALFORMED), (None, Refusal.TOO_SLOW)]


def test_a_body_that_is_no_http_is_told_once() -> None:
    with listening() as heard:
        head = b"POST /hooks/quay HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        assert heard.raw(head, b"no number\r\n").startswith(b"HTTP/1.1 400 ")
        assert heard.send("/hooks/quay")[0] == 202
    assert heard.refused == [(None, Refusal.MALFORMED)]


def test_a_body_that_is_announced_too_large_is_refused_before_it_comes() -> None:
    with listening() as heard:
        answer = heard.raw(b"POST /hooks/quay HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert (heard.received, heard.refused) == ([], [("quay", Refusal.OVERSIZE)])


def test_a_body_without_end_is_read_to_the_limit_only() -> None:
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    with listening() as heard:
        heard.raw(
            b"POST /hooks/quay HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", *[chunk] * 400
        )
        wait_until(lambda: bool(heard.refused), "the refusal")
        assert heard.send("/hooks/quay")[0] == 202, "and others are served"
    assert heard.refused == [("quay", Refusal.OVERSIZE)]
    assert len(heard.received) == 1


def test_a_body_of_the_limit_is_read() -> None:
    with listening() as heard:
        assert heard.send("/hooks/quay", b" " * BODY_LIMIT)[0] == 202
        assert len(heard.received[0][1].body) == BODY_LIMIT


def test_a_body_that_does_not_come_is_given_up() -> None:
    with listening(body_seconds=0.2) as heard:
        answer = heard.raw(b"POST /hooks/quay HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert heard.refused == [("quay", Refusal.TOO_SLOW)]


def test_a_client_that_leaves_in_the_middle_costs_nothing() -> None:
    with listening() as heard:
        with socket.create_connection(("127.0.0.1", heard.port), timeout=20) as connection:
            connection.sendall(b"POST /hooks/quay HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
        assert heard.send("/hooks/quay")[0] == 202
    assert len(heard.received) == 1


@pytest.mark.parametrize(
    "junk",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS client\r\n\r\n",
        b"POST /hooks/quay HTTP/1.1\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
        b"POST /hooks/qu\xc3\xa4y HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
        b"POST /hooks/quay HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST /hooks/quay HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\nContent-Length: 8\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
def test_what_is_no_request_of_ours_harms_nobody(junk: bytes) -> None:
    with listening() as heard:
        assert heard.raw(junk)[:13] in (b"HTTP/1.1 400 ", b"HTTP/1.1 404 ", b"")
        assert heard.send("/hooks/quay")[0] == 202
    assert len(heard.received) == 1


def test_headers_of_any_bytes_are_handed_on() -> None:
    with listening() as heard:
        heard.raw(b"POST /hooks/quay HTTP/1.1\r\nHost: x\r\nX-A: \xff\xfe\r\nContent-Length: 0\r\n\r\n")
    assert heard.received[0][1].headers["x-a"] == "\xff\xfe"


def test_only_so_many_are_read_at_a_time() -> None:
    begun, go_on = threading.Semaphore(0), threading.Event()

    def slow(_hook: str, _request: Request) -> Event:
        begun.release()
        assert go_on.wait(20)
        return ACCEPTED

    with listening(slow) as heard:
        statuses: list[int] = []
        threads = [
            threading.Thread(target=lambda: statuses.append(heard.send("/hooks/quay")[0])) for _ in range(32)
        ]
        for thread in threads:
            thread.start()
        for _ in threads:
            assert begun.acquire(timeout=20)
        status, headers, _ = heard.send("/hooks/quay")
        assert heard.refused == [("quay", Refusal.BUSY)]
        go_on.set()
        for thread in threads:
            thread.join(20)
    assert (status, headers["retry-after"]) == (503, "1")
    assert statuses == [202] * 32


def test_slow_bodies_take_the_places_of_their_sender_and_hook_only() -> None:
    with listening(patience=60.0) as heard, heard.slow_bodies("/hooks/quay", 32):
        assert heard.send("/hooks/quay")[0] == 503
        assert heard.send("/hooks/hub")[0] == 202
        assert heard.send("/hooks/quay", whence="127.0.0.2")[0] == 202
        assert heard.refused == [("quay", Refusal.BUSY)]


def test_who_waits_for_a_body_too_long_gives_way() -> None:
    with listening(patience=0.0) as heard, heard.slow_bodies("/hooks/quay", 32) as slow:
        assert heard.send("/hooks/quay")[0] == 202
        assert slow[0].recv(65536).startswith(b"HTTP/1.1 408 ")
        slow[1].sendall(b"123456789")
        assert slow[1].recv(65536).startswith(b"HTTP/1.1 202 "), "and nobody else"
        assert heard.refused == [("quay", Refusal.TOO_SLOW)]


def test_nobody_takes_all_connections() -> None:
    with listening() as heard, contextlib.ExitStack() as held:
        for _ in range(200):
            held.enter_context(socket.create_connection(("127.0.0.1", heard.port), timeout=20))
        assert heard.send("/hooks/quay")[0] == 202, "who sends gets the place of who does not"
        assert heard.send("/hooks/quay", whence="127.0.0.2")[0] == 202
        crowded = [told for told in heard.refused if told == (None, Refusal.CROWDED)]
        assert len(crowded) == 200 - 64 + 1


def test_where_all_places_are_taken_more_are_put_off() -> None:
    with (
        listening(patience=60, body_seconds=60) as heard,
        heard.slow_bodies("/hooks/quay", 32),
        heard.slow_bodies("/hooks/hub", 32),
    ):
        status, headers, body = heard.send("/hooks/nothing")
        assert (status, headers["retry-after"]) == (503, "1")
        assert (headers["cache-control"], json.loads(body)["error"]["code"]) == ("no-store", "web/busy")
        assert heard.send("/hooks/quay", whence="127.0.0.2")[0] == 202


def test_stopping_waits_for_no_sender() -> None:
    with listening() as heard, socket.create_connection(("127.0.0.1", heard.port)) as idle:
        idle.sendall(b"POST /hooks/quay HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
        assert heard.send("/hooks/quay")[0] == 202
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", heard.port), timeout=5).close()
