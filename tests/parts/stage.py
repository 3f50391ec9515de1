"""A stage for whole cycles: a registry, a config repo on disk, and the program built from a config."""

from __future__ import annotations

import shutil
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from parts.gitserver import BareRepo, git
from parts.registry import push_many

from automator.app import App
from automator.config import Config
from automator.core.report import Outcome, Report
from automator.cycle.run import Cycle, Trigger
from automator.demo.registry import EmbeddedRegistry

NOW = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
COMMAND = Trigger("command", all_due=True)

DEPLOYMENT = """\
# Comments stay.
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, namespace: shop}}
spec:
  template:
    spec:
      containers:
        - name: app
          image: {image}   # and so does this one
"""


class Stage:
    """What a test plays on. `cycle` is the program's; everything else is the world around it."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self.repo = BareRepo.create(folder / "remote.git", {"README.md": "config repo\n"})
        self.registry = stack.enter_context(EmbeddedRegistry(folder / "images"))
        self.host = self.registry.host
        self.now = NOW
        self.insecure = {self.host}
        self.registries: dict[str, dict[str, Any]] = {}
        """More settings of hosts among `insecure`."""
        self.settings: dict[str, Any] = {}
        self.keys: dict[str, Any] = {}
        """[keys] of the config."""
        self.checks: dict[str, Any] = {}
        """[checks] of the config."""
        self.runtimes: dict[str, Any] = {}
        """[runtimes] of the config."""
        self.forges: dict[str, Any] = {}
        """[forges] of the config."""
        self.observe_timeout = "30s"
        self._stack = stack
        self._app: App | None = None

    # -- the world ---------------------------------------------------------------------------------

    def push(self, repository: str, *tags: str, age: timedelta = timedelta(days=1)) -> None:
        """CI pushes tags, each built a minute after the one before."""
        start = self.now - age
        push_many(self.host, repository, {tag: start + timedelta(minutes=i) for i, tag in enumerate(tags)})

    def workload(
        self,
        name: str,
        version: str,
        *,
        keys: str = 'semver: ">=1.0 <2"',
        host: str | None = None,
        file: str | None = None,
    ) -> dict[str, str]:
        """Files of one workload: its manifest at `version`, and its policy."""
        image = f"{host or self.host}/acme/{name}"
        lines = "".join(f"    {line}\n" for line in (f"image: {image}", *keys.splitlines()))
        return {
            file or f"apps/{name}.yaml": DEPLOYMENT.format(name=name, image=f"{image}:{version}"),
            f"policies/{name}.yaml": f"version: 1\nworkloads:\n  {name}:\n{lines}",
        }

    def commit(self, files: dict[str, Any], message: str = "By hand", author: str = "Ann Author") -> str:
        return self.repo.commit(files, message, author=author)

    def revert(self, commit: str) -> str:
        """A person reverts a commit with git itself, and pushes."""
        work = self.folder / "work"
        shutil.rmtree(work, ignore_errors=True)
        git(self.folder, "clone", "--quiet", str(self.repo.path), str(work))
        git(work, "revert", "--no-edit", commit)
        git(work, "push", "--quiet", "origin", "HEAD:main")
        return git(work, "rev-parse", "HEAD")

    def image_of(self, name: str) -> str:
        text = self.repo.read(f"apps/{name}.yaml")
        return text.partition("image: ")[2].split()[0].partition("/acme/")[2]

    def numstat(self, commit: str) -> list[str]:
        return git(self.repo.path, "show", "--numstat", "--format=", commit).splitlines()

    # -- the program -------------------------------------------------------------------------------

    @property
    def app(self) -> App:
        if self._app is None:
            config = Config(
                state=self.folder / "state",
                repos={"shop": {"url": str(self.repo.path), **self.settings}},
                registries={
                    host: {"insecure": True, "deadline": "20s", **self.registries.get(host, {})}
                    for host in self.insecure
                },
                daemon={"observe_timeout": self.observe_timeout},
                keys=self.keys,
                forges=self.forges,
                checks=self.checks,
                runtimes=self.runtimes,
            )
            self._app = App.open(config, exclusive=True, clock=lambda: self.now, monotonic=self._monotonic)
            self._stack.callback(self.stop)
        return self._app

    def _monotonic(self) -> float:
        """Goes on by itself, and leaps with the stage's clock."""
        return time.monotonic() + (self.now - NOW).total_seconds()

    @property
    def cycle(self) -> Cycle:
        return self.app.cycles["shop"]

    def stop(self) -> None:
        """The program ends; what it kept on disk stays."""
        if self._app is not None:
            self._app.close()
            self._app = None

    def lose_state(self) -> None:
        self.stop()
        shutil.rmtree(self.folder / "state")

    def run(self, *, push: bool = True, trigger: Trigger = COMMAND, **more: Any) -> Report:
        report = self.cycle.run(trigger, push=push, **more)
        self.now += timedelta(minutes=1)
        return report

    def outcomes(self, **more: Any) -> dict[str, Outcome]:
        report = self.run(**more)
        assert report.error is None, report.error.sentence
        return {outcome.workload: outcome for outcome in report.outcomes}
