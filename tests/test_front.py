"""The listeners of the daemon, over real sockets: they stay while what is behind them changes."""

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests
from parts.desks import StillDesk, workloads
from parts.world import until
from structlog.testing import capture_logs

from automator.app.build import utc_now
from automator.app.events import Inbox
from automator.app.front import Front, Scene
from automator.app.secondlooks import SecondLooks
from automator.config import Config
from automator.edges.log import EventLog
from automator.edges.web import Health, Refusal
from automator.edges.web.server import OF_ONE
from automator.errors import ConfigError

FINE = Health(True, "cycles are ending")


def config(listen: str = "127.0.0.1:0", **daemon: Any) -> Config:
    return Config(daemon={"listen": listen, **daemon})


def scene(count: int = 3) -> Scene:
    return Scene(
        StillDesk(views=workloads(count)),
        lambda: FINE,
        lambda: FINE,
        lambda _: (b"automator_x 1\n", "text/plain"),
        None,
    )


@pytest.fixture
def front() -> Iterator[Front]:
    opened = Front(EventLog(lambda: 0.0))
    yield opened
    opened.close()


def get(port: int | None, path: str, host: str = "127.0.0.1", **headers: str) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False
        return session.get(f"http://{host}:{port}{path}", headers=headers, timeout=20)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def test_what_is_behind_changes_without_a_gap(front: Front) -> None:
    front.open(config(), scene(3))
    port = front.port
    end, answers = threading.Event(), list[int]()

    def ask() -> None:
        while not end.is_set():
            answers.append(get(port, "/api/v1/workloads").json()["total"])

    asking = threading.Thread(target=ask)
    asking.start()
    for count in (4, 5, 6):
        front.open(config(), scene(count))
    end.set()
    asking.join()
    assert front.port == port
    assert answers
    assert set(answers) <= {3, 4, 5, 6}
    assert get(port, "/api/v1/workloads").json()["total"] == 6


def test_another_address_is_listened_to_instead(front: Front) -> None:
    first, second = free_port(), free_port()
    # An address of our own: a port of the usual one may be somebody else's as soon as we let go of it.
    front.open(config(f"127.0.0.77:{first}"), scene())
    assert get(first, "/healthz", "127.0.0.77").status_code == 200
    front.open(config(f"127.0.0.1:{second}"), scene())
    assert (front.port, get(second, "/healthz").status_code) == (second, 200)
    with pytest.raises(requests.ConnectionError):
        get(first, "/healthz", "127.0.0.77")
    front.open(config(f":{second}"), scene(4))
    assert get(second, "/api/v1/workloads").json()["total"] == 4, "all interfaces instead of one"
    front.open(config(""), scene())
    assert front.port is None
    with pytest.raises(requests.ConnectionError):
        get(second, "/healthz", "127.0.0.77")


def with_hooks(listen: str, hooks_listen: str) -> Config:
    hooks: Any = {"ci": {"sender": "generic", "secret_file": "/run/secret"}}
    return Config(daemon={"listen": listen, "hooks_listen": hooks_listen}, hooks=hooks)


def roles(*ports: int) -> list[str]:
    """Who answers at each: probes know `/readyz`, hooks do not."""
    return ["admin" if get(port, "/readyz").status_code == 200 else "hooks" for port in ports]


def taking(behind: Scene) -> Scene:
    """With somebody who takes events, of nobody."""
    later = SecondLooks(lambda *_: None, lambda *_: None)
    inbox = Inbox(
        {}, (), {}, lambda *_: None, lambda *_: None, EventLog(lambda: 0.0), utc_now, lambda: b"", later
    )
    return replace(behind, inbox=inbox)


def test_listeners_exchange_their_ports_and_hand_them_over(front: Front) -> None:
    one, two = free_port(), free_port()
    here, there = f"127.0.0.1:{one}", f"127.0.0.1:{two}"
    front.open(with_hooks(here, there), taking(scene()))
    assert roles(one, two) == ["admin", "hooks"]
    front.open(with_hooks(there, here), taking(scene()))
    assert roles(one, two) == ["hooks", "admin"]
    assert (front.hooks_port, front.port) == (one, two)
    three = free_port()
    front.open(with_hooks(here, f"127.0.0.1:{three}"), taking(scene()))
    assert roles(one, three) == ["admin", "hooks"], "the one goes where the other was"
    front.open(with_hooks("", here), taking(scene()))
    assert (roles(one), front.port) == (["hooks"], None), "who is switched off leaves its port"


def test_an_exchange_that_fails_puts_both_back(front: Front) -> None:
    front.open(with_hooks("127.0.0.1:0", "127.0.0.1:0"), taking(scene(3)))
    admin, hooks = front.port, front.hooks_port
    assert admin is not None
    assert hooks is not None
    with socket.create_server(("127.0.0.1", 0)) as taken:
        elsewhere = f"127.0.0.1:{taken.getsockname()[1]}"
        for listen, hooks_listen in ((elsewhere, f"127.0.0.1:{admin}"), (f"127.0.0.1:{hooks}", elsewhere)):
            with pytest.raises(ConfigError) as caught:
                front.open(with_hooks(listen, hooks_listen), taking(scene(4)))
            assert caught.value.reason.code == "daemon/listen"
            assert (front.port, front.hooks_port) == (admin, hooks), "ports that the machine gave, too"
            assert roles(admin, hooks) == ["admin", "hooks"]
    assert get(admin, "/api/v1/workloads").json()["total"] == 3
    front.open(with_hooks("127.0.0.1:0", "127.0.0.1:0"), taking(scene(4)))
    assert (front.port, front.hooks_port) == (admin, hooks), "nobody moves who is where it belongs"


@pytest.mark.parametrize("host", ["127.0.0.1", "192.0.2.1"])
def test_an_address_that_cannot_be_had_leaves_all_as_it_was(front: Front, host: str) -> None:
    port = free_port()
    front.open(config(f"127.0.0.1:{port}"), scene(3))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        there = taken.getsockname()[1] if host == "127.0.0.1" else port
        with pytest.raises(ConfigError) as caught:
            front.open(config(f"{host}:{there}"), scene(4))
    assert caught.value.reason.code == "daemon/listen"
    assert front.port == port
    assert get(port, "/api/v1/workloads").json()["total"] == 3


def test_a_token_of_the_config_is_asked_for(front: Front, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("x" * 20)
    front.open(config(), scene())
    port = front.port
    assert get(port, "/api/v1/repos").status_code == 200
    front.open(config(token_file=file), scene())
    assert get(port, "/api/v1/repos").status_code == 401
    assert get(port, "/api/v1/repos", Authorization="Bearer " + "x" * 20).status_code == 200
    assert get(port, "/metrics").text == "automator_x 1\n"


def test_failed_attempts_are_remembered_over_a_change(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("x" * 20)
    codes: list[str] = []
    front = Front(EventLog(lambda: 0.0), codes.append)
    try:
        front.open(config(token_file=file), scene())
        for _ in range(10):
            assert get(front.port, "/api/v1/repos", Authorization="Bearer wrong").status_code == 401
        front.open(config(token_file=file), scene(4))
        assert get(front.port, "/api/v1/repos", Authorization="Bearer wrong").status_code == 429
    finally:
        front.close()
    assert codes == ["web/bad-token"] * 10 + ["web/too-many"]


def test_probes_answer_while_everything_else_hangs(front: Front) -> None:
    """Neither a desk nor a token file that hangs takes the places of probes."""
    hang = threading.Event()

    class Hanging(StillDesk):
        def repos(self) -> Any:
            hang.wait(60)
            return ()

    front.open(config(), replace(scene(), desk=Hanging()))
    port = front.port
    asking = [threading.Thread(target=get, args=(port, "/api/v1/repos")) for _ in range(20)]
    for one in asking:
        one.start()
    try:
        for _ in range(5):
            assert get(port, "/healthz").status_code == get(port, "/metrics").status_code == 200
    finally:
        hang.set()
        for one in asking:
            one.join()


def test_probes_answer_when_all_places_are_taken(tmp_path: Path) -> None:
    hang, codes = threading.Event(), list[str]()

    class Hanging(StillDesk):
        def repos(self) -> Any:
            hang.wait(60)
            return ()

    front = Front(EventLog(lambda: 0.0), codes.append)
    try:
        front.open(config(), replace(scene(), desk=Hanging()))
        assert front.port is not None
        with ExitStack() as held:

            def hold() -> None:
                one = held.enter_context(socket.create_connection(("127.0.0.1", front.port), timeout=20))
                one.sendall(b"GET /api/v1/repos HTTP/1.1\r\nHost: localhost\r\n\r\n")

            def is_full() -> bool:
                hold()  # one whose request was still on its way may have lost its place
                return get(front.port, "/metrics").status_code == 503

            for _ in range(OF_ONE):
                hold()
            until(is_full, "all places taken")
            assert get(front.port, "/healthz").status_code == get(front.port, "/readyz").status_code == 200
            assert set(codes) == {"web/busy"}
            hang.set()
    finally:
        hang.set()
        front.close()


def test_connections_that_ask_nothing_are_counted_as_what_they_are() -> None:
    codes: list[str] = []
    front = Front(EventLog(lambda: 0.0), codes.append)
    try:
        front.open(config(), scene())
        assert front.port is not None
        with socket.create_connection(("127.0.0.1", front.port), timeout=20) as client:
            client.sendall(b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n")
            assert client.makefile("rb").read().startswith(b"HTTP/1.1 400 ")
        assert codes == ["web/malformed"]
        front._admin.unserved(Refusal.TOO_SLOW)
        assert codes[1:] == ["web/slow-head"]
    finally:
        front.close()


def test_bugs_are_told_with_a_bound(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever finds one must not be able to fill the disk with it."""

    class Broken(StillDesk):
        def workloads(self) -> Any:
            raise OverflowError("of the test")

    front = Front(EventLog(lambda: 0.0, lines=3))
    try:
        with capture_logs() as lines:
            front.open(config(), replace(scene(), desk=Broken()))
            for _ in range(6):
                answer = get(front.port, "/api/v1/workloads")
                assert (answer.status_code, answer.json()["error"]["code"]) == (500, "web/bug")
    finally:
        front.close()
    told = [line for line in lines if line.get("code") == "web/bug"]
    assert [str(line["exc_info"]) for line in told] == ["of the test"] * 3
    assert not caplog.records, "and by nobody else"
