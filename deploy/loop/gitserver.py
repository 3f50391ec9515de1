#!/usr/bin/env python3
"""A Git server over HTTP for the loop: git's own http-backend behind Python's server, for one machine.

    gitserver.py FOLDER [--listen ADDRESS:PORT] [--name NAME]... [--seed FOLDER] [--registry HOST]

It serves the repositories below FOLDER. `--seed` makes `shop.git` there of the files of a folder, where it
does not exist yet; `--registry` says which registry takes the place of `registry:5000` in them. Everybody
may push: no server for more than one machine. It answers to the names of this machine and to each `--name`,
and to no browser: else any page that somebody here looks at could push, under a name that leads here.
Python's standard library and git are all it needs.
"""

from __future__ import annotations

import argparse
import ipaddress
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NoReturn

LARGEST = 64 << 20
"""Bytes of a push."""
IN_FILES = "registry:5000"
ANN = ("-c", "user.name=Ann", "-c", "user.email=ann@example.com", "-c", "commit.gpgSign=false")


def git(*arguments: str, body: bytes | None = None, **variables: str) -> tuple[int, bytes]:
    """Run git to its end: exit code and standard output."""
    program = shutil.which("git") or "git"
    done = subprocess.run(  # noqa: S603 - no shell; a request's path is a variable, checked by http-backend
        [program, *arguments],
        input=body,
        stdout=subprocess.PIPE,
        env={**os.environ, **variables},
        check=False,
    )
    return done.returncode, done.stdout


def make(repository: Path, seed: Path, registry: str) -> None:
    """A bare repository whose branch main has the files of `seed`."""
    made = repository.with_suffix(".making")
    shutil.rmtree(made, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=repository.parent) as name:
        work = Path(name)
        for file in sorted(path for path in seed.rglob("*") if path.is_file()):
            copy = work / file.relative_to(seed)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(file.read_text().replace(IN_FILES, registry))
        here = (f"--git-dir={made}", f"--work-tree={work}", *ANN)
        for step in (
            ("init", "--quiet", "--bare", "--initial-branch=main", str(made)),
            (*here, "config", "http.receivepack", "true"),
            (*here, "add", "--all", "."),
            (*here, "commit", "--quiet", "--message", "The shop, and its policy"),
        ):
            code, _ = git(*step)
            if code:
                sys.exit(f"git {' '.join(step)} ended with {code}")
    made.rename(repository)


def is_ours(host: str, names: frozenset[str]) -> bool:
    """Whether a Host header names this machine by its loopback, or by one of `names`."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
    if name.lower() in {"localhost", *names}:
        return True
    try:
        return ipaddress.ip_address(name.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        return False


class GitOverHttp(BaseHTTPRequestHandler):
    """Hands each request to `git http-backend`, a CGI program (RFC 3875)."""

    protocol_version = "HTTP/1.1"
    root: Path
    names: frozenset[str]

    def do_GET(self) -> None:
        if self._is_meant():
            self._answer(b"")

    def do_POST(self) -> None:
        if not self._is_meant():
            return
        body = self._chunks() if "chunked" in self.headers.get("Transfer-Encoding", "") else self._whole()
        if body is None:
            self.close_connection = True
            self.send_error(413)
        else:
            self._answer(body)

    def _is_meant(self) -> bool:
        """Whether it is git that asks, and us; answers 403 where it is not."""
        hosts = self.headers.get_all("Host") or []
        if len(hosts) == 1 and is_ours(hosts[0], self.names) and "Origin" not in self.headers:
            return True
        self.close_connection = True
        self.send_error(403, "Not for this name, or not for a browser")
        return False

    def _whole(self) -> bytes | None:
        length = self.headers.get("Content-Length") or "0"
        return self.rfile.read(int(length)) if length.isdecimal() and int(length) <= LARGEST else None

    def _chunks(self) -> bytes | None:
        body = b""
        while size := int(self.rfile.readline(100).split(b";")[0], 16):
            if not 0 < size <= LARGEST - len(body):
                return None
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _answer(self, body: bytes) -> None:
        path, _, query = self.path.partition("?")
        _, answer = git(
            "http-backend",
            body=body,
            GIT_PROJECT_ROOT=str(self.root),
            GIT_HTTP_EXPORT_ALL="1",
            PATH_INFO=path,
            QUERY_STRING=query,
            REQUEST_METHOD=self.command,
            REMOTE_ADDR=str(self.client_address[0]),
            CONTENT_TYPE=self.headers.get("Content-Type", ""),
            CONTENT_LENGTH=str(len(body)),
            HTTP_CONTENT_ENCODING=self.headers.get("Content-Encoding", ""),
            GIT_PROTOCOL=self.headers.get("Git-Protocol", ""),
        )
        head, _, content = answer.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().splitlines() if ": " in line)
        self.send_response(int(headers.pop("Status", "200" if head else "500").split()[0]))
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(description="A Git server over HTTP for one machine.")
    parser.add_argument("root", type=Path, metavar="FOLDER")
    parser.add_argument("--listen", default="127.0.0.1:8418", metavar="ADDRESS:PORT")
    parser.add_argument("--name", action="append", default=[], help="another name of this server")
    parser.add_argument("--seed", type=Path, metavar="FOLDER")
    parser.add_argument("--registry", default=IN_FILES, metavar="HOST")
    asked = parser.parse_args()
    root = asked.root.absolute()
    root.mkdir(parents=True, exist_ok=True)
    if asked.seed and not (root / "shop.git").exists():
        make(root / "shop.git", asked.seed, asked.registry)
    GitOverHttp.root = root
    GitOverHttp.names = frozenset(name.lower() for name in asked.name)
    address, _, port = asked.listen.rpartition(":")

    def end(number: int, _frame: object) -> NoReturn:
        sys.exit(0)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    with ThreadingHTTPServer((address, int(port)), GitOverHttp) as server:
        server.daemon_threads = True
        sys.stdout.write(f"listening on {address}:{server.server_address[1]}\n")
        sys.stdout.flush()
        server.serve_forever()


if __name__ == "__main__":
    main()
