"""Inputs: config repos and a registry, made by the shared generators, served as real remotes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

MIX = "deployment=60,cronjob=10,kustomization=15,helm=15"
PER_POLICY_FILE = 100

GIT = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_COUNT": "2",  # nothing may tidy behind our back while something else is measured
    "GIT_CONFIG_KEY_0": "gc.auto",
    "GIT_CONFIG_VALUE_0": "0",
    "GIT_CONFIG_KEY_1": "maintenance.auto",
    "GIT_CONFIG_VALUE_1": "false",
    "GIT_AUTHOR_NAME": "bench",
    "GIT_AUTHOR_EMAIL": "bench@example.invalid",
    "GIT_COMMITTER_NAME": "bench",
    "GIT_COMMITTER_EMAIL": "bench@example.invalid",
    "GIT_AUTHOR_DATE": "2024-01-01T00:00:00Z",
    "GIT_COMMITTER_DATE": "2024-01-01T00:00:00Z",
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",
}


class MissingInputs(Exception):
    """The generators are not where they should be."""


def generator(name: str) -> Path:
    """One of the generators that every measured program shares."""
    checkout = Path(__file__).resolve().parent.parent
    shared = Path(os.environ.get("AUTOMATOR_SHARED") or checkout.parent / "shared")
    path = shared / "bench" / name
    if not path.exists():
        raise MissingInputs(
            f"no {name} at {path.parent}: set AUTOMATOR_SHARED to the folder that holds bench/{name}"
        )
    return path


def git(folder: Path, *arguments: str, feed: bytes | None = None) -> str:
    """Run git in `folder` under a pinned environment."""
    done = subprocess.run(
        ["git", *arguments],
        cwd=folder,
        input=feed,
        capture_output=True,
        env={**os.environ, **GIT},
        check=True,
    )
    return done.stdout.decode().strip()


@dataclass(frozen=True)
class Shape:
    """A config repo to measure with."""

    name: str
    files: int
    images: int
    """Files that carry an image; the others are ConfigMaps without any."""
    workloads: int
    """Workloads that policies name, one for each of the first files with an image."""

    @property
    def text(self) -> str:
        return f"{self.files:,} files, {self.images:,} with images, {self.workloads:,} workloads"


@dataclass(frozen=True)
class ConfigRepo:
    """A bare repository of some shape, its twin for the yardsticks, and what is in them."""

    shape: Shape
    bare: Path
    twin: Path
    images: tuple[str, ...]
    """Image repository of each workload, in order."""


def make_config_repo(folder: Path, shape: Shape, registry: str, tag: str = "1.0.0") -> ConfigRepo:
    """Make the repository, with its policies as the second commit, and pack it as a server would."""
    work, truth = folder / f"{shape.name}-tree", folder / f"{shape.name}.json"
    subprocess.run(
        [
            *(sys.executable, str(generator("mk_config_repo.py")), "--out", str(work), "--truth", str(truth)),
            *("--workloads", str(shape.images), "--noise", str(shape.files - shape.images), "--mix", MIX),
            *("--quotes", "mixed", "--crlf-every", "7", "--registry", registry, "--tag", tag),
        ],
        env={**os.environ, **GIT},
        check=True,
        stderr=subprocess.DEVNULL,
    )
    entries = json.loads(truth.read_text())[: shape.workloads]
    write_policies(work / "policies", entries)
    git(work, "add", "policies")
    git(work, "commit", "--quiet", "--message", "Policies")
    git(work, "gc", "--quiet")
    bares = [folder / f"{shape.name}.git", folder / f"{shape.name}-twin.git"]
    for bare in bares:
        git(folder, "clone", "--quiet", "--bare", "--no-hardlinks", str(work), str(bare))
        git(bare, "config", "http.receivepack", "true")
    shutil.rmtree(work)
    return ConfigRepo(shape, *bares, tuple(entry["repo"] for entry in entries))


def write_policies(folder: Path, entries: Sequence[dict[str, str]]) -> None:
    """One policy for each entry, a hundred to a file."""
    folder.mkdir()
    for start in range(0, len(entries), PER_POLICY_FILE):
        lines = ["version: 1", "workloads:"]
        for entry in entries[start : start + PER_POLICY_FILE]:
            lines += [f"  {entry['name']}:", f"    image: {entry['repo']}", '    semver: ">=1.0 <2"']
        (folder / f"team{start // PER_POLICY_FILE:03d}.yaml").write_text("\n".join(lines) + "\n")


def push_tag(registry: str, shape: Shape, count: int, tag: str) -> None:
    """Push one more tag, a tiny valid image, to the first `count` repositories of a shape."""
    subprocess.run(
        [
            *(sys.executable, str(generator("mk_registry.py")), "push", "--registry", registry),
            *("--repos", str(shape.images), "--select", f"0:{count}", "--tag", tag),
        ],
        check=True,
        stdout=subprocess.DEVNULL,
    )


# -- HTTP -----------------------------------------------------------------------------------------


@contextmanager
def http_git(root: Path) -> Iterator[str]:
    """Serve the repositories below `root` with `git http-backend`; gives the address."""

    class Handler(_Backend):
        folder = root

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Backend(BaseHTTPRequestHandler):
    """Calls git's CGI program (RFC 3875) for each request."""

    folder: Path
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._call(b"")

    def do_POST(self) -> None:
        self._call(self._body())

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _call(self, body: bytes) -> None:
        path, _, query = self.path.partition("?")
        environment = {
            **os.environ,
            **GIT,
            "GIT_PROJECT_ROOT": str(self.folder),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "REMOTE_ADDR": "127.0.0.1",
        }
        environment.pop("GIT_TRACE2_EVENT", None)
        done = subprocess.run(
            ["git", "http-backend"], input=body, stdout=subprocess.PIPE, env=environment, check=False
        )
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().splitlines() if ": " in line)
        self.send_response(int(headers.pop("Status", "200").split()[0]))
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        pass
