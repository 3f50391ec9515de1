"""A daemon that runs: `automator run` as a process, a registry and a config repo, and what is seen of it from
outside."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from automator.core.reference import parse_repository
from automator.demo.images import push_image
from bench.figures import Scale
from bench.inputs import ConfigRepo, Shape, git, make_config_repo
from bench.polling import docker_registry, free_port

TAGS = 10
"""Tags of each repository at the start; every workload is at the newest of them."""
NEWEST = f"1.0.{TAGS - 1}"
AUTOMATOR = (sys.executable, "-m", "automator")
BUILT = datetime(2026, 11, 1, 12, tzinfo=UTC)
LONG = 300.0
SECRET = "only-for-this-benchmark-0123"
TICKS = os.sysconf("SC_CLK_TCK")


def wait(condition: Callable[[], bool], what: str, seconds: float = LONG, pause: float = 0.02) -> None:
    """Wait for a condition. Raises TimeoutError."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"never came: {what}")
        time.sleep(pause)


class World(NamedTuple):
    """A registry that has an image repository for each workload, and a config repo that names them."""

    host: str
    repo: ConfigRepo
    registry_log: Path
    """In which docker-registry writes every answer."""

    def path(self, number: int) -> str:
        """The image repository of a workload, without its host."""
        return parse_repository(self.repo.images[number]).path

    def push(self, number: int, tag: str) -> None:
        """Push one more tag of a workload's image."""
        push_image(f"http://{self.host}", self.path(number), tag, created=BUILT, labels={})

    def write(self, number: int) -> None:
        """Somebody commits to the config repo what has nothing to do with images."""
        words = f"Note {number}"
        who = f"Ann <ann@example.invalid> {1_700_000_000 + number} +0000"
        git(
            self.repo.bare,
            *("fast-import", "--quiet"),
            feed=f"commit refs/heads/main\ncommitter {who}\ndata {len(words)}\n{words}\n"
            "from refs/heads/main^0\nM 100644 inline notes/note.txt\n"
            f"data {len(words)}\n{words}\n".encode(),
        )

    def tip(self) -> str:
        return git(self.repo.bare, "rev-parse", "main")

    def releases(self) -> int:
        """Releases on the branch."""
        return int(git(self.repo.bare, "rev-list", "--count", "--grep=^Release-Format:", "main"))


@contextmanager
def world(folder: Path, scale: Scale) -> Iterator[World]:
    """Debian's docker-registry with a repository of its own for each workload, all of them alike at first."""
    with docker_registry(folder, 1, tags=TAGS, level="info") as host:
        shape = Shape("running", scale.files, scale.images, scale.workloads)
        made = World(host, make_config_repo(folder, shape, host, tag=NEWEST), folder / "registry.log")
        root = folder / "registry/docker/registry/v2/repositories"
        (filled,) = (root / "team").iterdir()
        for number in range(scale.workloads):
            if not (root / made.path(number)).exists():
                shutil.copytree(filled, root / made.path(number))
        yield made


class Use(NamedTuple):
    """What a process uses at one time."""

    cpu: float
    """Processor seconds since its start, with those of children it has waited for."""
    resident: float
    """MB of VmRSS."""
    threads: int
    files: int


class Running:
    """`automator run` as a process of its own."""

    def __init__(self, folder: Path, name: str, repo: str, host: str, *, more: str = "") -> None:
        """`repo` is the URL of the config repo; the state is in `folder`/`name`. `more` ends the config."""
        self.folder, self.name = folder, name
        self._repo, self._host, self._more = repo, host, more
        self.port, self.hooks_port = free_port(), free_port()
        self.config, self.log = folder / f"{name}.toml", folder / f"{name}.log"
        (folder / "secret").write_text(f"{SECRET}\n")
        self.configure("1h")
        self._process: subprocess.Popen[bytes] | None = None

    def configure(self, interval: str) -> None:
        """Write the config."""
        text = (
            f'state = "{self.name}"\n[daemon]\ninterval = "{interval}"\nlisten = "127.0.0.1:{self.port}"\n'
            f'hooks_listen = "127.0.0.1:{self.hooks_port}"\n'
            f'[repos.bench]\nurl = "{self._repo}"\n'
            f'[registries."{self._host}"]\ninsecure = true\nrequests_per_second = 10000\n{self._more}'
        )
        self.config.with_suffix(".new").write_text(text)
        self.config.with_suffix(".new").replace(self.config)

    def start(self, environment: Mapping[str, str] | None = None) -> None:
        words = (*AUTOMATOR, "--config", str(self.config), "run")
        with self.log.open("wb") as out:
            self._process = subprocess.Popen(
                words, stdout=out, stderr=out, env={**os.environ, **(environment or {})}
            )

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "not started"
        return self._process

    def end(self) -> None:
        """Stop it as an operator does."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(60)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def forget(self) -> None:
        """End it, and leave nothing of its state."""
        self.end()
        shutil.rmtree(self.folder / self.name, ignore_errors=True)

    def use(self) -> Use:
        here = Path(f"/proc/{self.process.pid}")
        fields = (here / "stat").read_text().rpartition(")")[2].split()
        cpu = sum(map(int, fields[11:15])) / TICKS  # utime, stime, cutime, cstime: proc(5)
        lines = (here / "status").read_text().splitlines()
        told = dict(line.split(":", 1) for line in lines if ":" in line)
        resident = int(told["VmRSS"].split()[0]) / 1024
        return Use(cpu, resident, int(told["Threads"]), len(os.listdir(here / "fd")))

    def ask(self, path: str, method: str = "GET", body: object = None, source: str = "127.0.0.1") -> bytes:
        """Ask its admin address. Raises OSError, and for a status that is no success RuntimeError."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, 30, source_address=(source, 0))
        try:
            text = None if body is None else json.dumps(body)
            connection.request(method, path, text, {"Content-Type": "application/json"} if text else {})
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        if answer.status >= 300:
            raise RuntimeError(f"{path}: {answer.status} {content[:300]!r}")
        return content

    def cycles(self) -> int:
        """Cycles that have ended, by its own count."""
        lines = self.ask("/metrics").decode().splitlines()
        return int(
            sum(float(line.split()[-1]) for line in lines if line.startswith("automator_cycles_total{"))
        )

    def is_shown(self, workloads: int) -> bool:
        """Whether the API tells an outcome of every workload."""
        with suppress(OSError, RuntimeError):
            return (
                self._listens()
                and int(json.loads(self.ask("/api/v1/workloads?limit=1"))["total"]) == workloads
            )
        return self._lives()

    def is_ready(self) -> bool:
        """Whether its first cycle has ended."""
        with suppress(OSError, RuntimeError):
            if self._listens():
                self.ask("/readyz")
                return True
        return self._lives()

    def _listens(self) -> bool:
        """Whether it says so. Who knocks earlier may meet himself: to connect to a port of this machine that
        nobody listens to can be answered by the very socket that asks."""
        return b" started" in self.log.read_bytes()

    def _lives(self) -> bool:
        """False; raises RuntimeError where the process has ended."""
        if self.process.poll() is not None:
            raise RuntimeError(f"the daemon ended: {self.log.read_text()[-2000:]}")
        return False
