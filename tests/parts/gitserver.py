"""Real Git servers: a bare repository on disk, the same behind HTTP, the same behind ssh.

HTTP is git's own `git http-backend` behind a small server, which can also be told to misbehave in
ways that git never would. ssh is a real sshd with keys of its own.
"""

from __future__ import annotations

import base64
import getpass
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ENVIRONMENT = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_AUTHOR_NAME": "Ann Author",
    "GIT_AUTHOR_EMAIL": "ann@example.org",
    "GIT_COMMITTER_NAME": "Ann Author",
    "GIT_COMMITTER_EMAIL": "ann@example.org",
    "GIT_AUTHOR_DATE": "1750000000 +0000",
    "GIT_COMMITTER_DATE": "1750000000 +0000",
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",
}


def git(folder: Path, *arguments: str, feed: bytes | None = None, **environment: str) -> str:
    """Run git in `folder` under a pinned environment; fails with git's words."""
    done = subprocess.run(
        ["git", "-c", "gc.auto=0", "-C", str(folder), *arguments],
        input=feed,
        capture_output=True,
        env={**os.environ, **ENVIRONMENT, **environment},
        check=False,
    )
    assert done.returncode == 0, f"git {' '.join(arguments)}: {done.stderr.decode(errors='replace')}"
    return done.stdout.decode("utf-8", "surrogateescape").rstrip("\n")


@dataclass
class BareRepo:
    """A config repo as a Git server keeps it, with a hand of its own to write in it."""

    path: Path
    branch: str = "main"
    clock: int = 1_750_000_000
    """Seconds of the last commit; each commit is a minute later."""

    @classmethod
    def create(cls, path: Path, files: Mapping[str, str | bytes] | None = None) -> BareRepo:
        path.mkdir(parents=True)
        git(path, "init", "--quiet", "--bare", "--initial-branch=main")
        repo = cls(path)
        if files:
            repo.commit(files, "Initial commit")
        return repo

    def commit(
        self,
        files: Mapping[str, str | bytes | None],
        message: str = "Change",
        *,
        author: str = "Ann Author",
        modes: Mapping[str, str] | None = None,
        base: str | None = None,
    ) -> str:
        """A commit on the branch (or on `base`, replacing the branch), as if somebody pushed it."""
        self.clock += 60
        who = f"{author} <{author.split()[0].lower()}@example.org> {self.clock} +0000"
        old = base if base is not None else self.tip()
        text = message.encode()
        stream = [f"commit refs/heads/{self.branch}\nauthor {who}\ncommitter {who}\n".encode()]
        stream.append(b"data %d\n%s\n" % (len(text), text))
        if old:
            stream.append(f"from {old}\n".encode())
        for path, content in files.items():
            name = path.encode("utf-8", "surrogateescape").replace(b"\\", b"\\\\").replace(b'"', b'\\"')
            if content is None:
                stream.append(b'D "%s"\n' % name)
                continue
            mode = (modes or {}).get(path, "100644")
            if mode == "160000":
                stream.append(b'M 160000 %s "%s"\n' % (str(content).encode(), name))
                continue
            data = content.encode() if isinstance(content, str) else content
            stream.append(b'M %s inline "%s"\ndata %d\n%s\n' % (mode.encode(), name, len(data), data))
        git(self.path, "fast-import", "--quiet", "--force", feed=b"".join(stream))
        tip = self.tip()
        assert tip is not None
        return tip

    def tip(self) -> str | None:
        found = git(self.path, "for-each-ref", "--format=%(objectname)", f"refs/heads/{self.branch}")
        return found or None

    def set_tip(self, commit: str) -> None:
        git(self.path, "update-ref", f"refs/heads/{self.branch}", commit)

    def read(self, path: str, commit: str | None = None) -> str:
        return git(self.path, "cat-file", "blob", f"{commit or self.branch}:{path}")

    def log(self) -> list[str]:
        """The subjects on the branch, newest first."""
        return git(self.path, "log", "--first-parent", "--format=%s", self.branch).splitlines()

    def commits(self) -> list[str]:
        return git(self.path, "rev-list", self.branch).splitlines()

    def hook(self, name: str, script: str) -> Path:
        """Install a hook, a shell script that runs in the bare repository."""
        file = self.path / "hooks" / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)
        return file

    def fsck(self) -> str:
        return fsck(self.path)


ALL = 1_000_000
"""Commits by which a clone is deepened that is to have all of them."""


def fsck(repository: Path) -> str:
    """What git says is wrong in a repository, shallow ones included: nothing where it is sound."""
    return git(repository, "fsck", "--full", "--no-dangling", "--no-progress")


# -- HTTP -------------------------------------------------------------------------------------------


@dataclass
class HttpGit:
    """A running HTTP server for the bare repositories below `root`, and what it was asked."""

    root: Path
    address: str = ""
    users: dict[str, str] = field(default_factory=dict)
    """User -> password; without one, everybody may push."""
    requests: list[str] = field(default_factory=list)
    authorizations: list[str] = field(default_factory=list)
    truncate_packs: int | None = None
    """Break off the answer of a fetch after so many bytes."""
    fail_with: int | None = None
    redirect_to: str | None = None
    silent: bool = False
    """Take requests and never answer, until `wake` is set."""
    silent_after_login: bool = False
    """The same, but only for requests that bring a login."""
    meanwhile: Callable[[str], None] = lambda _line: None
    """Called with the request line of each request before it is answered."""
    wake: threading.Event = field(default_factory=threading.Event)
    asked: threading.Event = field(default_factory=threading.Event)
    """Set when a request came."""

    def url(self, repo: BareRepo, user: str = "") -> str:
        scheme, _, host = self.address.partition("://")
        return f"{scheme}://{f'{user}@' if user else ''}{host}/{repo.path.relative_to(self.root)}"

    def allows(self, header: str) -> bool:
        pairs = {
            "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
            for user, password in self.users.items()
        }
        return not pairs or header in pairs


@contextmanager
def http_git(
    root: Path, users: Mapping[str, str] | None = None, *, tls: Path | None = None
) -> Iterator[HttpGit]:
    """Serve the repositories below `root` over HTTP on a free port of the loopback; over TLS with the
    key and certificate of the file `tls`."""
    served = HttpGit(root, users=dict(users or {}))

    class Handler(GitHandler):
        server_of = served

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = False
    if tls is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tls)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    served.address = f"{'http' if tls is None else 'https'}://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield served
    finally:
        served.wake.set()
        server.shutdown()
        thread.join()
        server.server_close()


class GitHandler(BaseHTTPRequestHandler):
    server_of: HttpGit
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._serve(b"")

    def do_POST(self) -> None:
        self._serve(self._body())

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _serve(self, body: bytes) -> None:
        served = self.server_of
        header = self.headers.get("Authorization", "")
        line = f"{self.command} {self.path}"
        served.requests.append(line)
        served.meanwhile(line)
        served.authorizations.append(header)
        if header or not served.silent_after_login:
            served.asked.set()
        if served.silent or (served.silent_after_login and header):
            served.wake.wait()
            self.close_connection = True
        elif served.redirect_to:
            self._answer(301, {"Location": served.redirect_to + self.path}, b"")
        elif served.fail_with:
            self._answer(served.fail_with, {}, b"the server is unwell")
        elif not served.allows(header):
            self._answer(401, {"WWW-Authenticate": 'Basic realm="git"'}, b"who are you?")
        else:
            self._backend(body)

    def _backend(self, body: bytes) -> None:
        """Call git's own HTTP backend, a CGI program (RFC 3875)."""
        path, _, query = self.path.partition("?")
        environment = {
            **os.environ,
            **ENVIRONMENT,
            "GIT_PROJECT_ROOT": str(self.server_of.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "REMOTE_USER": "pusher",
            "REMOTE_ADDR": "127.0.0.1",
        }
        done = subprocess.run(
            ["git", "http-backend"], input=body, stdout=subprocess.PIPE, env=environment, check=False
        )
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().splitlines() if ": " in line)
        status = int(headers.pop("Status", "200").split()[0])
        if self.server_of.truncate_packs is not None and self.path.endswith("git-upload-pack"):
            broken = content[: self.server_of.truncate_packs]
            if len(broken) < len(content):
                self.close_connection = True
                self._answer(status, {**headers, "Content-Length": str(len(content))}, broken)
                return
        self._answer(status, headers, content)

    def _answer(self, status: int, headers: Mapping[str, str], content: bytes) -> None:
        try:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        pass


# -- ssh --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SshGit:
    """A running sshd that lets the holder of `key_file` in as the present user."""

    port: int
    key_file: Path
    known_hosts_file: Path
    other_key_file: Path
    """A key that the server does not know."""

    def url(self, repo: BareRepo) -> str:
        return f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}{repo.path}"


@contextmanager
def ssh_git(folder: Path) -> Iterator[SshGit]:
    """Run a real sshd on a free port, its keys and settings in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    keys = {name: folder / name for name in ("host", "client", "stranger")}
    for key in keys.values():
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    authorized = folder / "authorized_keys"
    authorized.write_text(keys["client"].with_suffix(".pub").read_text())
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    known = folder / "known_hosts"
    known.write_text(f"[127.0.0.1]:{port} {keys['host'].with_suffix('.pub').read_text()}")
    settings = folder / "sshd_config"
    settings.write_text(
        f'Port {port}\nListenAddress 127.0.0.1\nHostKey "{keys["host"]}"\nPidFile none\nUsePAM no\n'
        f'AuthorizedKeysFile "{authorized}"\nStrictModes no\nPasswordAuthentication no\n'
        "KbdInteractiveAuthentication no\nPermitRootLogin yes\nLogLevel ERROR\n"
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where Debian's sshd separates privileges
    program = shutil.which("sshd", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    assert program, "sshd is not installed"
    server = subprocess.Popen([program, "-D", "-e", "-f", str(settings)], stderr=subprocess.DEVNULL)
    try:
        _wait_for_port(server, port)
        yield SshGit(port, keys["client"], known, keys["stranger"])
    finally:
        server.terminate()
        server.wait()


def _wait_for_port(server: subprocess.Popen[bytes], port: int) -> None:
    until = time.monotonic() + 20
    while True:
        assert server.poll() is None, "sshd ended at once"
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert time.monotonic() < until, "sshd does not listen"
            time.sleep(0.02)
        else:
            return
