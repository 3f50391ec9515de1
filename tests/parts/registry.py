"""Registries for tests: Debian's docker-registry, images pushed by skopeo, and a server that misbehaves.

`HostileServer` is for the faults that no real registry shows on demand; everything else is real.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import pytest
from parts.canaries import MARK
from parts.certificates import CertFiles

from automator.demo import images
from automator.edges import http
from automator.edges.registry import HostSettings
from automator.errors import RegistryError

USER, PASSWORD = "ann", f"{MARK} correct:horse"
HTPASSWD = "ann:$2b$04$WPzrj7IhjUi3eaQWeXeXcue9pNLWf6laxOvZ/Sww7Yw3GKIzU3Pa.\n"
"""bcrypt of PASSWORD, the only kind that docker-registry reads."""

# A key that guards nothing: for 127.0.0.1 and localhost, signed by itself, valid until 2120.
KEY_AND_CERTIFICATE = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgKiiVdSuSZUSDetp8
f8PWIMsQN43FdaopNY84jXPT51ahRANCAARtQYSCAyy/UIMeFrPOxLUYdGzB1TDn
3x7XphFN0frJ4ihHBhYOEPEaPHqUAUVamZv4yzqQPWyJaCHZAPymkcPf
-----END PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBqjCCAVCgAwIBAgIBATAKBggqhkjOPQQDAjAdMRswGQYDVQQDDBJ0ZXN0cyBv
ZiBhdXRvbWF0b3IwIBcNMjAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBaMB0x
GzAZBgNVBAMMEnRlc3RzIG9mIGF1dG9tYXRvcjBZMBMGByqGSM49AgEGCCqGSM49
AwEHA0IABG1BhIIDLL9Qgx4Ws87EtRh0bMHVMOffHtemEU3R+sniKEcGFg4Q8Ro8
epQBRVqZm/jLOpA9bIloIdkA/KaRw9+jfzB9MBoGA1UdEQQTMBGCCWxvY2FsaG9z
dIcEfwAAATAPBgNVHRMBAf8EBTADAQH/MA4GA1UdDwEB/wQEAwIChDAdBgNVHQ4E
FgQUKt7tk8/mBtP1Vq8/wSL8Eg6g+e8wHwYDVR0jBBgwFoAUKt7tk8/mBtP1Vq8/
wSL8Eg6g+e8wCgYIKoZIzj0EAwIDSAAwRQIgMet1RnENzenrefDctcnhIoN87s5+
RWRwc6NFLN0GE5oCIQDdAVYZ6HsaA9Xr40ZIaH/Ed4KqiTK6S4t3IvSUjkm1ig==
-----END CERTIFICATE-----
"""

INDEX_TYPE = "application/vnd.oci.image.index.v1+json"


def wait_until(true: Callable[[], bool], what: str, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"{what} did not happen in {seconds} seconds"
        time.sleep(0.01)


class DockerRegistry:
    """Debian's docker-registry on a free port of loopback, with its data in `folder`.

    It lets in who `htpasswd` names (USER) or `token` says (a section of its config, from
    `parts.tokens`), else everybody. `notifications` are endpoints that hear of pushes:
    `{"url": ..., "headers": {"Authorization": ...}}`. `proxy_of` makes it a pull-through mirror of that
    URL, and `certificate` has it speak TLS. `program` is another build of it, `address` where it listens.
    """

    def __init__(
        self,
        folder: Path,
        *,
        htpasswd: bool = False,
        token: Mapping[str, Any] | None = None,
        notifications: Mapping[str, Any] | Sequence[Mapping[str, Any]] = (),
        proxy_of: str | None = None,
        certificate: CertFiles | None = None,
        program: Path | str = "docker-registry",
        address: str = "127.0.0.1:0",
    ) -> None:
        self._address = address
        self._folder = folder
        self._log = folder / "log"
        self._htpasswd = htpasswd
        self._token = token
        self._notifications = [notifications] if isinstance(notifications, Mapping) else notifications
        self._proxy_of = proxy_of
        self._certificate = certificate
        self._program = str(program)
        self._process: subprocess.Popen[bytes] | None = None
        self.host = ""

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / "config.yml").write_text(json.dumps(self._config()))  # JSON is YAML
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [self._program, "serve", str(self._folder / "config.yml")],
                env={**os.environ, "OTEL_TRACES_EXPORTER": "none"},  # version 3 would call a collector
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        wait_until(self._is_listening, "docker-registry listening")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(20)

    def _config(self) -> dict[str, Any]:
        config: dict[str, Any] = {
            "version": 0.1,
            "storage": {
                "filesystem": {"rootdirectory": str(self._folder / "data")},
                "delete": {"enabled": True},
            },
            "http": {"addr": self._address, "secret": "for tests"},
        }
        if self._htpasswd:
            users = self._folder / "htpasswd"
            users.write_text(HTPASSWD)
            config["auth"] = {"htpasswd": {"realm": "tests", "path": str(users)}}
        if self._token is not None:
            config["auth"] = {"token": dict(self._token)}
        if self._certificate is not None:
            cert, key = self._certificate.cert_file, self._certificate.key_file
            config["http"]["tls"] = {"certificate": str(cert), "key": str(key)}
        if self._proxy_of is not None:
            config["proxy"] = {"remoteurl": self._proxy_of}
        if self._notifications:
            endpoints = [_endpoint(i, told) for i, told in enumerate(self._notifications)]
            config["notifications"] = {"endpoints": endpoints}
        return config

    def requests(self, part: str = "") -> list[str]:
        """The requests so far whose access log line has `part`, as `GET /v2/… 200`.

        The log is written after the answer is sent: use `wait_until` for a number that is expected.
        """
        lines = re.findall(r'"([A-Z]+ \S+) HTTP/[0-9.]+" (\d+)', self._log.read_text(errors="replace"))
        return [f"{what} {status}" for what, status in lines if part in what]

    def _is_listening(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text(errors="replace")
        found = re.search(r"listening on (127\.0\.0\.1:\d+)", self._log.read_text(errors="replace"))
        if found is None:
            return False
        self.host = found[1]
        return True


def _endpoint(number: int, told: Mapping[str, Any]) -> dict[str, Any]:
    """Who hears of pushes, impatiently: tests wait for what comes of it."""
    headers = {name: [text] for name, text in told.get("headers", {}).items()}
    patience = {"timeout": "5s", "threshold": 100, "backoff": "100ms"}
    return {"name": f"told{number}", "disabled": False, "url": told["url"], "headers": headers, **patience}


def unique_name(base: str = "acme/web") -> str:
    """A repository name no other test uses, so that tests can share a registry."""
    return f"{base}-{secrets.token_hex(6)}"


def push_image(
    host: str,
    repository: str,
    tag: str,
    *,
    created: datetime | None = None,
    labels: Mapping[str, str] | None = None,
    user: str | None = None,
    password: str | None = None,
) -> str:
    """Push a tiny image by skopeo, from an OCI layout folder; its digest."""
    manifest, blobs = images.image(created=created, labels={"tag": tag} if labels is None else labels)
    entry = {"mediaType": images.MANIFEST, "digest": _digest(manifest), "size": len(manifest)}
    return _push_layout(host, repository, tag, [entry], [manifest, *blobs], user, password)


def push_index(
    host: str,
    repository: str,
    tag: str,
    *,
    platforms: Sequence[tuple[str, datetime | None]],
    annotations: Mapping[str, str] | None = None,
) -> str:
    """Push an image index by skopeo, one image for each ("linux/arm64", created); the index's digest."""
    blobs: list[bytes] = []
    children = []
    for platform, created in platforms:
        manifest, parts = images.image(created=created, labels={"platform": platform})
        blobs += [manifest, *parts]
        os_name, architecture = platform.split("/")
        children.append(
            {
                "mediaType": images.MANIFEST,
                "digest": _digest(manifest),
                "size": len(manifest),
                "platform": {"os": os_name, "architecture": architecture},
            }
        )
    index: dict[str, Any] = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": children}
    if annotations is not None:
        index["annotations"] = dict(annotations)
    content = json.dumps(index).encode()
    entry = {"mediaType": INDEX_TYPE, "digest": _digest(content), "size": len(content)}
    return _push_layout(host, repository, tag, [entry], [content, *blobs], None, None)


def push_many(host: str, repository: str, tags: Mapping[str, datetime | None]) -> None:
    """Push tiny images with our own client: tag -> build time. Some 5 ms each, for the big lists."""
    with http.new_session() as session:
        for tag, created in tags.items():
            images.push_image(f"http://{host}", repository, tag, created=created, session=session)


def _push_layout(
    host: str,
    repository: str,
    tag: str,
    entries: list[dict[str, Any]],
    blobs: Sequence[bytes],
    user: str | None,
    password: str | None,
) -> str:
    with tempfile.TemporaryDirectory() as name:
        layout = Path(name)
        (layout / "blobs/sha256").mkdir(parents=True)
        for blob in blobs:
            (layout / "blobs/sha256" / hashlib.sha256(blob).hexdigest()).write_bytes(blob)
        (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": entries}))
        login = [f"--dest-creds={user}:{password}"] if user is not None else []
        skopeo(
            "copy",
            "--all",
            "--dest-tls-verify=false",
            *login,
            f"oci:{layout}",
            f"docker://{host}/{repository}:{tag}",
        )
    return str(entries[0]["digest"])


def skopeo(*arguments: str) -> str:
    """Run skopeo with a policy that accepts everything; what it printed."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as policy:
        policy.write('{"default": [{"type": "insecureAcceptAnything"}]}')
        policy.flush()
        done = subprocess.run(
            [shutil.which("skopeo") or "skopeo", f"--policy={policy.name}", *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


# -- clients under test -----------------------------------------------------------------------------

PLAIN = HostSettings(insecure=True, connect_timeout=2, read_timeout=2, deadline=10)
"""Settings of a declared registry without TLS."""


def refusal(act: Callable[[], object]) -> RegistryError:
    """The RegistryError that `act` ends in."""
    with pytest.raises(RegistryError) as caught:
        act()
    return caught.value


# -- a server that misbehaves -----------------------------------------------------------------------


@dataclass(frozen=True)
class Received:
    """One request as the hostile server got it."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes
    connection: int
    """Requests with equal numbers came over one connection."""


@dataclass(frozen=True)
class Reply:
    """What the hostile server says. `drip`: one byte of the body every so many seconds, without end.
    `silent`: no answer until the test is over. `length`: a Content-Length that is not true."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    drip: float | None = None
    silent: bool = False
    length: int | None = None


def json_reply(value: object, status: int = 200, **headers: str) -> Reply:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Reply(status, json.dumps(value).encode(), {"Content-Type": "application/json", **named})


Behaviour = Callable[[Received], Reply]


def always(reply: Reply) -> Behaviour:
    return lambda _: reply


class HostileServer:
    """A small real HTTP server that answers whatever `behave` says, and records what it received.

    `tls` is a file with key and certificate (`KEY_AND_CERTIFICATE`): the server then speaks HTTPS.
    """

    def __init__(self, behave: Behaviour, *, tls: Path | None = None) -> None:
        self.behave = behave
        self.received: list[Received] = []
        self.over = threading.Event()
        self._server = _HostileHTTPServer(("127.0.0.1", 0), _HostileHandler)
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls)
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._server.owner = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def other_name(self) -> str:
        """The same server as another host."""
        return f"localhost:{self.port}"

    def paths(self) -> list[str]:
        return [f"{r.method} {r.path}" for r in self.received]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.over.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._server.hang_up()


class _HostileHTTPServer(ThreadingHTTPServer):
    daemon_threads = True
    owner: HostileServer

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._open: dict[Any, threading.Thread] = {}

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        self._open[request] = threading.current_thread()
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._open.pop(request, None)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients hang up on hostile servers: that is expected."""

    def hang_up(self) -> None:
        for connection, thread in list(self._open.items()):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            thread.join(5)


class _HostileHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _HostileHTTPServer

    def _any(self) -> None:
        parts = urlsplit(self.path)
        received = Received(
            self.command,
            parts.path,
            {k: v[-1] for k, v in parse_qs(parts.query).items()},
            {k.lower(): v for k, v in self.headers.items()},
            self.rfile.read(int(self.headers.get("Content-Length", 0))),
            id(self),
        )
        owner = self.server.owner
        owner.received.append(received)
        reply = owner.behave(received)
        if reply.silent:
            owner.over.wait(60)
            self.close_connection = True
            return
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if reply.drip is None:
            length = len(reply.body) if reply.length is None else reply.length
            self.send_header("Content-Length", str(length))
        else:
            self.close_connection = True
        self.end_headers()
        if self.command != "HEAD":
            self._write_body(reply, owner)

    def _write_body(self, reply: Reply, owner: HostileServer) -> None:
        self.wfile.write(reply.body)
        if reply.length is not None and reply.length > len(reply.body):
            self.close_connection = True
        while reply.drip is not None and not owner.over.wait(reply.drip):
            self.wfile.write(b" ")

    do_GET = do_HEAD = do_POST = do_PUT = _any  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:
        """Silence."""
