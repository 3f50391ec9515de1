"""A real HTTP proxy for tests: CONNECT and plain forwarding, with or without a password."""

from __future__ import annotations

import base64
import contextlib
import http.client
import select
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit


class Proxy:
    """A proxy on a free port of loopback, which takes down what is asked of it.

    `login` is the `user:password` it wants; `refuses` the status with which it answers every CONNECT.
    """

    def __init__(self, *, login: str | None = None, refuses: int | None = None) -> None:
        self.login = login
        self.refuses = refuses
        self.asked: list[str] = []
        """`CONNECT host:port`, `GET http://…`."""
        self.headers: list[str] = []
        """All headers that came, one text for each request."""
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.owner = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._server.server_address[1]}"

    @property
    def url(self) -> str:
        return f"http://{self.host}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.over.set()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    owner: Proxy

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.over = threading.Event()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients hang up: that is expected."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def _let_in(self) -> bool:
        owner = self.server.owner
        owner.asked.append(f"{self.command} {self.path}")
        owner.headers.append(str(self.headers))
        if owner.login is None:
            return True
        wanted = "Basic " + base64.b64encode(owner.login.encode()).decode()
        if self.headers.get("Proxy-Authorization") == wanted:
            return True
        self._answer(407, [("Proxy-Authenticate", 'Basic realm="proxy"')], b"")
        return False

    def do_CONNECT(self) -> None:
        self.close_connection = True
        if not self._let_in():
            return
        if self.server.owner.refuses is not None:
            self._answer(self.server.owner.refuses, [], b"")
            return
        host, _, port = self.path.rpartition(":")
        with socket.create_connection((host.strip("[]"), int(port)), 5) as there:
            self.send_response(200)
            self.end_headers()
            self._pump(there)

    def _pump(self, there: socket.socket) -> None:
        ways = {self.connection: there, there: self.connection}
        with contextlib.suppress(OSError):
            while not self.server.over.is_set():
                readable, _, _ = select.select(list(ways), [], [], 0.05)
                for end in readable:
                    data = end.recv(65536)
                    if not data:
                        return
                    ways[end].sendall(data)

    def do_GET(self) -> None:
        if not self._let_in():
            return
        parts = urlsplit(self.path)
        there = http.client.HTTPConnection(parts.netloc, timeout=5)
        kept = {k: v for k, v in self.headers.items() if not k.lower().startswith("proxy-")}
        there.request("GET", f"{parts.path}?{parts.query}", headers=kept)
        answer = there.getresponse()
        body = answer.read()
        there.close()
        headers = [(k, v) for k, v in answer.getheaders() if k.lower() != "content-length"]
        self._answer(answer.status, headers, body)

    def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response(status)
        for name, value in (*headers, ("Content-Length", str(len(body)))):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Silence."""
