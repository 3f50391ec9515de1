"""The tour: the main job end to end, told step by step on an embedded registry and a play repo.

Everything runs as a user would run it: the commands shown are the commands executed. The demo's own config
is named to each, and what its user exported for another automator is out of the way (`surroundings`).
"""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable
from contextlib import redirect_stderr, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from automator.demo.images import PushError, push_image
from automator.demo.registry import EmbeddedRegistry
from automator.demo.surroundings import stand_alone
from automator.edges.checkout.scratch import PlayRepo

Run = Callable[[list[str]], int]

DEPLOYMENT = """\
# The web shop. Comments, quotes and blank lines stay as they are.
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  namespace: shop

spec:
  replicas: 2
  selector:
    matchLabels: {{ app: web }}
  template:
    metadata:
      labels: {{ app: web }}
    spec:
      containers:
        - name: app
          image: "{host}/acme/web:1.4.2"   # released by automator
          ports: [ {{ containerPort: 8080 }} ]
"""

POLICY = """\
# Which tags of acme/web may be released: three lines.
version: 1
workloads:
  web:
    image: {host}/acme/web
    semver: ">=1.4 <2"
"""

CONFIG = """\
state = "state"

[repos.shop]
url = "{bare}"

[registries."{host}"]
insecure = true          # the embedded registry speaks plain HTTP on loopback

[daemon]
interval = "5s"
listen = "127.0.0.1:{port}"
"""
PLAY = """
[log]
format = "console"
"""
LOG = "daemon.log"
MANIFEST = "apps/shop/web.yaml"


class StepFailed(Exception):
    """A step did not go as the tour tells it."""

    def __init__(self, sentence: str, code: int = 1) -> None:
        """`code` is the exit code of the demo."""
        super().__init__(sentence)
        self.code = code


class _Stage:
    """Folders and servers of one tour, and how an automator command line is executed on them."""

    def __init__(self, root: Path, registry: EmbeddedRegistry, repo: PlayRepo, run: Run) -> None:
        self.root = root
        self.registry = registry
        self.repo = repo
        self.config = root / "config.toml"
        self._run = run

    def execute(self, *words: str) -> None:
        """Run a command on the demo's own config. Raises StepFailed."""
        code = self._run(["--config", str(self.config), *words])
        if code:
            line = shlex.join(words)
            raise StepFailed(f"`automator {line}` ended with exit code {code}, and says why above", code)

    def push(self, tag: str, age: timedelta) -> None:
        push_image(
            self.registry.url,
            "acme/web",
            tag,
            created=datetime.now(UTC) - age,
            labels={"org.opencontainers.image.source": "https://git.example.com/acme/web"},
        )
        click.echo(f"    pushed {self.registry.host}/acme/web:{tag}")


def tour(run: Run, *, keep: bool) -> int:
    """Show the job; returns the exit code. With `keep`, leave all running until Ctrl-C.

    `run` executes an automator command line and returns its exit code. The environment of this process
    stays changed: it is the demo's from now on.
    """
    typed = stand_alone(os.environ)
    try:
        with tempfile.TemporaryDirectory(prefix="automator-demo-") as folder:
            root = Path(folder)
            with EmbeddedRegistry(root / "images") as registry:
                _show_all(run, root, registry, typed if keep else None)
    except BrokenPipeError:  # nobody reads on
        raise
    except (StepFailed, PushError, OSError) as error:
        say(f"The demo ends here: {error}.", err=True)
        return error.code if isinstance(error, StepFailed) else 1
    return 0


def _show_all(run: Run, root: Path, registry: EmbeddedRegistry, typed: list[str] | None) -> None:
    """The story and, where `typed` says what another terminal needs first, the daemon after it."""
    repo = PlayRepo(root / "config-repo.git", root / "work", person="Ann", mail="ann@example.com")
    try:
        stage = _Stage(root, registry, repo, run)
        _story(stage)
        if typed is not None:
            _play(stage, typed)
    finally:
        repo.close()


def _story(stage: _Stage) -> None:
    """The five steps. Raises StepFailed at the first that goes otherwise."""
    registry, repo = stage.registry, stage.repo
    say("1. A config repo: one manifest, one policy of three lines")
    _write(repo.work / MANIFEST, DEPLOYMENT.format(host=registry.host))
    _write(repo.work / "policies/shop.yaml", POLICY.format(host=registry.host))
    repo.commit_all("The web shop, and what may be released")
    _show(repo.work, MANIFEST)
    _show(repo.work, "policies/shop.yaml")
    _write(stage.config, CONFIG.format(bare=repo.bare, host=registry.host, port=0))
    os.chdir(stage.root)
    _command(stage, "check work --policies policies")

    say("2. CI pushes a new tag to the registry")
    stage.push("1.4.2", timedelta(days=9))
    stage.push("1.4.3", timedelta(minutes=31))
    _command(stage, "plan")
    click.echo("    A plan pushes nothing: until `once` or the daemon does, the release waits.")
    _command(stage, "once")
    repo.pull()
    _git(repo, "show", "--format=fuller", "HEAD")
    _expect(repo, "1.4.3")

    say("3. A tag that the policy refuses: a new major version")
    stage.push("2.0.0", timedelta(minutes=2))
    _command(stage, "once")
    _command(stage, "explain web")

    say("4. Somebody rolls back, with Git alone")
    _git(repo, "revert", "--no-edit", "HEAD")
    repo.git("push", "--quiet", "origin", "HEAD:main")
    _command(stage, "once")
    repo.pull()
    _expect(repo, "1.4.2")
    click.echo("    The rollback stays: 1.4.3 was turned away by a person, so it does not come back.")

    say("5. The fix arrives, and is released")
    stage.push("1.4.4", timedelta(minutes=1))
    _command(stage, "once")
    repo.pull()
    _expect(repo, "1.4.4")
    _git(repo, "log", "--oneline")
    _command(stage, "log")
    say("Done.")


def _play(stage: _Stage, typed: list[str]) -> None:
    """The daemon on the same repo, until Ctrl-C. Its log is a file: what to type must not scroll away."""
    host, port = stage.registry.host, _free_port()
    _write(stage.config, CONFIG.format(bare=stage.repo.bare, host=host, port=port) + PLAY)
    say("The daemon is running now, a cycle every 5 seconds. In another terminal:")
    for line in typed:
        click.echo(f"    {line}")
    click.echo(f"    cd {shlex.quote(str(stage.root))}")
    program = _program()
    click.echo(f"    {program} status")
    click.echo(f"    {program} explain web")
    click.echo(f"    {program} tags {host}/acme/web")
    click.echo(f"    git -C {shlex.quote(str(stage.repo.work))} pull origin main")
    click.echo(f"    {shlex.quote(sys.executable)} -m automator.demo.images {host}/acme/web:1.4.5")
    click.echo(f"    tail -f {LOG}")
    click.echo(f"The dashboard is at http://127.0.0.1:{port}/")
    click.echo("Ctrl-C ends the daemon, the registry, and removes the folder.")
    try:
        with (
            suppress(KeyboardInterrupt),  # Ctrl-C before the daemon listens for it
            (stage.root / LOG).open("w", buffering=1, encoding="utf-8") as log,
            redirect_stderr(log),
        ):
            stage.execute("run")
    except StepFailed:
        click.echo((stage.root / LOG).read_text(encoding="utf-8"), err=True)
        raise


def _free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _program() -> str:
    """How another terminal calls us: by name where that is found, else by path."""
    found = shutil.which("automator")
    here = Path(sys.executable).absolute().with_name("automator")  # argv's may be relative to elsewhere
    return "automator" if found is not None and Path(found) == here else shlex.quote(str(here))


def say(title: str, *, err: bool = False) -> None:
    """A step's heading, or a last word."""
    click.echo("", err=err)
    click.echo(click.style(title, bold=True), err=err)


def _command(stage: _Stage, line: str) -> None:
    click.echo("")
    click.echo(click.style(f"    $ automator {line}", fg="cyan"))
    stage.execute(*shlex.split(line))


def _git(repo: PlayRepo, *arguments: str) -> None:
    click.echo("")
    click.echo(click.style(f"    $ git {shlex.join(arguments)}", fg="cyan"))
    click.echo(repo.git(*arguments).rstrip())


def _show(work: Path, path: str) -> None:
    click.echo("")
    click.echo(click.style(f"    # {path}", fg="cyan"))
    for line in (work / path).read_text().splitlines():
        click.echo(f"    {line}".rstrip())


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _expect(repo: PlayRepo, tag: str) -> None:
    """Make sure that the config repo has a tag now. Raises StepFailed."""
    if f"acme/web:{tag}" not in (repo.work / MANIFEST).read_text():
        raise StepFailed(f"{MANIFEST} should have acme/web:{tag} now, and has not; this is a bug")
