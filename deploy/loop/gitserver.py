#!/usr/bin/env python3
"""A Git server over HTTP for the loop: git's own http-backend behind Python's server, for one machine.

    gitserver.py FOLDER [--listen ADDRESS:PORT] [--seed FOLDER] [--registry HOST]

It serves the repositories below FOLDER. `--seed` makes `shop.git` there of the files of a folder, where it does not
exist yet; `--registry` says which registry takes the place of `registry:5000` in them. Everybody may push: no server
for more than one machine. Python's standard library and git are all it needs.
"""

from __future__ import annotations

import argparse
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
ANN = ("-c", "user.name=Ann", "-c", "user.email=ann@example.com")


def make(repository: Path, seed: Path, registry: str) -> None:
    """A bare repository whose branch main has the files of `seed`."""
    made = repository.with_suffix(".making")
    shutil.rmtree(made, ignore_errors=True)
    subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch=main", str(made)], check=True)
    subprocess.run(["git", "-C", str(made), "config", "http.receivepack", "true"], check=True)
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        for file in sorted(path for path in seed.rglob("*") if path.is_file()):
            copy = work / file.relative_to(seed)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(file.read_text().replace(IN_FILES, registry))
        git = ["git", f"--git-dir={made}", f"--work-tree={work}", *ANN]
        subprocess.run([*git, "add", "--all", "."], check=True)
        subprocess.run([*git, "commit", "--quiet", "--message", "The shop, and its policy"], check=True)
    made.rename(repository)


class GitOverHttp(BaseHTTPRequestHandler):
    """Hands each request to `git http-backend`, a CGI program (RFC 3875)."""

    protocol_version = "HTTP/1.1"
    root: Path

    def do_GET(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        body = self._chunks() if "chunked" in self.headers.get("Transfer-Encoding", "") else self._whole()
        if body is None:
            self.close_connection = True
            self.send_error(413)
        else:
            self._answer(body)

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
        told = {
            "GIT_PROJECT_ROOT": str(self.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "REMOTE_ADDR": str(self.client_address[0]),
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }
        done = subprocess.run(
            ["git", "http-backend"], input=body, stdout=subprocess.PIPE, env={**os.environ, **told}, check=False
        )
        head, _, content = done.stdout.partition(b"\r\n\r\n")
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
    parser.add_argument("--seed", type=Path, metavar="FOLDER")
    parser.add_argument("--registry", default=IN_FILES, metavar="HOST")
    asked = parser.parse_args()
    root = asked.root.absolute()
    root.mkdir(parents=True, exist_ok=True)
    if asked.seed and not (root / "shop.git").exists():
        make(root / "shop.git", asked.seed, asked.registry)
    GitOverHttp.root = root
    address, _, port = asked.listen.rpartition(":")

    def end(number: int, _frame: object) -> NoReturn:
        sys.exit(0)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    with ThreadingHTTPServer((address, int(port)), GitOverHttp) as server:
        server.daemon_threads = True
        print(f"listening on {address}:{server.server_address[1]}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
