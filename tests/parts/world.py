"""A world for the program as its users run it: a registry, a config repo, a config, real processes.

`World.run` executes the program and says what a user sees: exit code, standard output, standard
error (parts/launching.py). `World.start` starts the console script and leaves it running, as the daemon.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests
from parts import launching
from parts import registry as registries
from parts.gitserver import BareRepo, git
from parts.launching import PROGRAM

from automator.demo.images import push_image
from automator.demo.registry import EmbeddedRegistry
from automator.reasons import CODES

PATIENCE = 60.0
"""Seconds after which a condition that was waited for counts as never coming; never slept in full."""
BUILT = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)


@dataclass(frozen=True)
class Completed:
    """How a command ended, and what its user saw."""

    code: int
    out: str
    err: str

    @classmethod
    def of(cls, done: subprocess.CompletedProcess[bytes]) -> Completed:
        return cls(done.returncode, done.stdout.decode(), done.stderr.decode())

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def told_code(self) -> str:
        """The reason code with which the first complaint ends: after its next step, if it has one."""
        sentence, *rest = self.err.splitlines()
        last = next((line for line in rest[:1] if line.startswith("  next: ")), sentence)
        code = last.rpartition("  [")[2].removesuffix("]")
        assert code in CODES, self.err
        return code

    def fine(self) -> Self:
        """Itself, after making sure that it ended with 0 and without a bug."""
        assert self.code == 0, f"exit {self.code}\n{self.out}\n{self.err}"
        return self


def until(condition: Callable[[], object], what: str, seconds: float = PATIENCE) -> None:
    """Wait for a condition; fails with `what` when it does not come true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"never came: {what}"
        time.sleep(0.02)


def deployment(image: str, name: str = "web") -> str:
    """A manifest with comments and quotes that a release must leave alone."""
    return (
        f"# {name}: comments, quotes and blank lines stay\n"
        "apiVersion: apps/v1\nkind: Deployment\n"
        f"metadata:\n  name: {name}\n  namespace: shop\n\n"
        "spec:\n  template:\n    spec:\n      containers:\n        - name: app\n"
        f'          image: "{image}"   # the version\n'
        "          ports: [ { containerPort: 8080 } ]\n"
    )


class World:
    """One config repo `shop`, one registry, and the config that names both."""

    def __init__(self, root: Path, host: str) -> None:
        self.root = root
        self.host = host
        self.repo = BareRepo.create(root / "git" / "shop.git")
        self.config = root / "config.toml"
        self.state = root / "state"
        self.temporary = root / "tmp"
        self.temporary.mkdir()
        self.environment = {"TMPDIR": str(self.temporary)}
        self.configure()

    # -- the config ----------------------------------------------------------------------------

    def configure(
        self,
        *,
        repo: str = "",
        registry: str = "",
        daemon: str = 'listen = ""\ninterval = "1h"',
        more: str = "",
        url: object = None,
    ) -> None:
        """Write the config; each argument is lines of TOML for its table."""
        self.config.write_text(
            'state = "state"\n'
            f'[repos.shop]\nurl = "{url or self.repo.path}"\n{repo}\n'
            f'[registries."{self.host}"]\ninsecure = true\n{registry}\n'
            f"[daemon]\n{daemon}\n{more}\n"
        )

    # -- what people and CI do -----------------------------------------------------------------

    def image(self, name: str, tag: str = "") -> str:
        return f"{self.host}/acme/{name}{f':{tag}' if tag else ''}"

    def push(self, name: str, *tags: str) -> None:
        """CI pushes tags of the image acme/NAME."""
        for tag in tags:
            push_image(f"http://{self.host}", f"acme/{name}", tag, created=BUILT, labels={"version": tag})

    def policy(self, *names: str, **keys: str) -> str:
        """A policy file with a workload of its own name for each image; `keys` go to all of them."""
        told = "".join(f"    {key}: {value}\n" for key, value in {"semver": '">=1.0 <2"', **keys}.items())
        return "version: 1\nworkloads:\n" + "".join(
            f"  {name}:\n    image: {self.image(name)}\n{told}" for name in names
        )

    def adopt(self, *names: str, tag: str = "1.0.0", **keys: str) -> str:
        """A person commits a manifest at `tag` for each image, and the policy of them all."""
        files = {self.manifest(name): deployment(self.image(name, tag), name) for name in names}
        return self.repo.commit({**files, "policies/shop.yaml": self.policy(*names, **keys)}, "Adopt")

    @staticmethod
    def manifest(name: str) -> str:
        return f"apps/{name}.yaml"

    def version(self, name: str) -> str:
        """The tag that the config repo has for an image now."""
        for line in self.repo.read(self.manifest(name)).splitlines():
            if "image:" in line:
                return line.split('"')[1].rpartition(":")[2]
        raise AssertionError(f"{name} has no image")

    def revert(self, commit: str = "HEAD") -> str:
        """A person reverts a commit with plain Git, and pushes."""
        work = self.root / "work-of-ann"
        git(self.root, "clone", "--quiet", str(self.repo.path), str(work))
        git(work, "revert", "--no-edit", commit)
        git(work, "push", "--quiet", "origin", "HEAD:main")
        shutil.rmtree(work)
        tip = self.repo.tip()
        assert tip is not None
        return tip

    # -- the program ---------------------------------------------------------------------------

    def _surroundings(self, extra: Mapping[str, str] | None) -> dict[str, str]:
        return {**os.environ, **self.environment, **(extra or {})}

    def run(
        self, *arguments: str, env: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> Completed:
        """Execute `automator ARGUMENTS` in the folder of the config, to its end."""
        done = launching.execute(
            arguments, cwd=cwd or self.root, env=self._surroundings(env), timeout=2 * PATIENCE
        )
        with (self.root / "said").open("ab") as said:  # searched for secrets when the run ends
            said.write(done.stdout + done.stderr)
        return Completed.of(done)

    @contextmanager
    def start(
        self, *arguments: str, env: Mapping[str, str] | None = None, stderr: int | None = None
    ) -> Iterator[Running]:
        """Execute `automator ARGUMENTS` and leave it running; ended, if need be, at the end.

        Standard error goes to the log, with standard output, or to the descriptor `stderr`.
        """
        log = self.root / f"log-{time.monotonic_ns()}"
        with log.open("wb") as stream:
            process = subprocess.Popen(
                [PROGRAM, *arguments],
                cwd=self.root,
                env=self._surroundings(env),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream if stderr is None else stderr,
            )
        try:
            yield Running(process, log)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()


@dataclass(frozen=True)
class Running:
    """The program at work, as seen from the terminal and by its probes."""

    process: subprocess.Popen[bytes]
    log: Path
    session: requests.Session = field(default_factory=requests.Session)

    @property
    def text(self) -> str:
        return self.log.read_text()

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The log so far, every whole line of which must be JSON."""
        text = self.text
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def cycles(self) -> list[dict[str, Any]]:
        """The sentences that tell of cycles."""
        return [line for line in self.lines if line["event"].startswith("cycle ")]

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait for a condition while the process runs."""

        def ended_or_true() -> object:
            return condition() or self.process.poll() is not None

        try:
            until(ended_or_true, what)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.text[-5000:]}") from None
        assert condition(), f"ended before: {what}\n{self.text[-5000:]}"

    @property
    def port(self) -> int:
        """Where its probes answer, as the log says."""
        self.until(lambda: any("started" in line["event"] for line in self.lines), "the daemon's start")
        return int(next(line["port"] for line in self.lines if "started" in line["event"]))

    def get(self, path: str) -> requests.Response:
        self.session.trust_env = False
        with self.session.get(f"http://127.0.0.1:{self.port}{path}", timeout=20) as answer:
            assert answer.content is not None
        self.session.close()
        return answer

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Signal it and wait for its end; the exit code."""
        self.send(number)
        return self.process.wait(PATIENCE)


class EmbeddedWorld:
    """A world whose registry is the small one of the demo, for speed."""

    def __init__(self, root: Path) -> None:
        self._registry = EmbeddedRegistry(root / "images")
        self._root = root

    def __enter__(self) -> World:
        self._registry.start()
        return World(self._root, self._registry.host)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._registry.stop()


@contextmanager
def real_world(root: Path, *, htpasswd: bool = False) -> Iterator[World]:
    """A world with Debian's docker-registry."""
    with registries.DockerRegistry(root / "registry", htpasswd=htpasswd) as served:
        yield World(root, served.host)


def processes(*, mentioning: str) -> list[str]:
    """Command lines, or working folders, of processes other than ours that mention a text."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        if folder.name == str(os.getpid()):
            continue
        try:
            line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            place = os.readlink(folder / "cwd")
        except OSError:
            continue
        if mentioning in line or mentioning in place:
            found.append(f"{folder.name} {line or place}")
    return found
