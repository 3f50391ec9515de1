"""Soaking: the daemon for minutes against a real registry and a real Git server that fail at random.

    python -m bench.soak --minutes 5 [--seed 7]

Debian's docker-registry and git's own server stand behind doors that refuse, hang, or say 429 and 503. Tags
are pushed meanwhile, somebody else writes to the config repos, the registry is killed, a receiver of messages
hangs or says no, and in the first half the daemon is killed, with and without its state folder. The config
changes in what cycles are built of and in what is around them; a config repo comes and goes. In the end every
workload must be at its newest version, and no release may have been made twice. Exit code 1 where one was
lost, doubled or went backwards, somebody's commit was lost, the daemon grew beyond its bounds, or left a
process behind.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from automator.demo.images import push_image
from bench.inputs import git, http_git

REPOS = ("shop", "staging", "guest")
GUEST = "guest"
"""The config repo that the config names, or does not."""
NAMES = ("web", "api", "worker")
PACE, FAULT_PACE = 3.0, 6.0
"""Seconds from one tag to the next, and from one fault to the next."""
AT_LAST = 120.0
"""Seconds that the daemon has at the end, when nothing fails any more."""
GROWTH = 1.25
MORE_MB, MORE_FILES, MORE_THREADS = 10.0, 20, 24
"""The bounds: resident memory at the end is at most GROWTH times that after the first cycles and MORE_MB;
there are at most so many more open files and threads."""
BUILT = datetime(2026, 11, 1, 12, tzinfo=UTC)
REFUSAL = "HTTP/1.1 {} No\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
MODES = ("429", "503", "hang", "drop")
RELOADS = ("reload around", "reload within", "reload repos")


class Door:
    """Passes connections on to a server, or not."""

    def __init__(self, port: int) -> None:
        self.upstream = port
        self.mode = "pass"
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            while self.mode == "hang":
                time.sleep(0.1)
            if self.mode == "drop":
                return
            if self.mode in ("429", "503"):
                client.recv(65_536)
                client.sendall(REFUSAL.format(self.mode).encode())
                return
            with socket.create_connection(("127.0.0.1", self.upstream)) as server:
                back = threading.Thread(target=_pump, args=(server, client), daemon=True)
                back.start()
                _pump(client, server)
                back.join(60)

    def close(self) -> None:
        self._server.close()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


class Registry:
    """Debian's docker-registry, which can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = int(free.getsockname()[1])
        self._folder = folder
        folder.mkdir()
        (folder / "config.yml").write_text(
            f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {folder / 'data'}}}}}\n"
            f"http: {{addr: '127.0.0.1:{self.port}', secret: soak}}\n"
        )
        self.start()

    def start(self) -> None:
        with (self._folder / "log").open("ab") as log:
            words = ["docker-registry", "serve", str(self._folder / "config.yml")]
            self._process = subprocess.Popen(words, stdout=log, stderr=log)
        wait(self._answers, "the registry")

    def _answers(self) -> bool:
        with socket.create_connection(("127.0.0.1", self.port), 1):
            return True

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


class Size(NamedTuple):
    """How large a process is."""

    megabytes: float
    files: int
    threads: int
    children: int


class Daemon:
    """The daemon as a process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.starts = 0
        self.start()

    def start(self) -> None:
        self.starts += 1
        with (self.folder / "daemon.log").open("ab") as log:
            words = [sys.executable, "-m", "automator", "run", "--config", str(self.folder / "config.toml")]
            self.process = subprocess.Popen(words, stdout=log, stderr=log, cwd=self.folder)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def size(self) -> Size:
        here = Path(f"/proc/{self.process.pid}")
        pages = int((here / "statm").read_text().split()[1])
        files, threads = len(os.listdir(here / "fd")), len(os.listdir(here / "task"))
        return Size(pages * os.sysconf("SC_PAGESIZE") / 2**20, files, threads, self.children())

    def children(self) -> int:
        """Processes that any of its threads started and nobody has reaped."""
        return sum(parent_of(folder) == self.process.pid for folder in Path("/proc").glob("[0-9]*"))

    def left(self) -> list[str]:
        """Processes at work on its clones, whoever their parent is by now."""
        return [words for words in map(command_of, Path("/proc").glob("[0-9]*")) if self._is_its(words)]

    def _is_its(self, words: str) -> bool:
        return f"{self.folder}/state/" in words

    def cycles(self) -> int:
        return (self.folder / "daemon.log").read_text().count('"event": "cycle ')


def parent_of(process: Path) -> int:
    """The parent of a process by its folder in /proc; 0 where it is gone."""
    with suppress(OSError):
        return int((process / "stat").read_text().rpartition(")")[2].split()[1])
    return 0


def command_of(process: Path) -> str:
    """Command line, working folder and git's folder of a process; empty where it is gone."""
    with suppress(OSError):
        command, environment = (process / "cmdline").read_bytes(), (process / "environ").read_bytes()
        git_dir = [word for word in environment.split(b"\0") if word.startswith(b"GIT_DIR=")]
        words = [*command.split(b"\0"), *git_dir, os.fsencode(os.readlink(process / "cwd")) + b"/"]
        return b" ".join(words).decode(errors="replace")
    return ""


class World:
    """Registry, config repos and daemon, and what was pushed."""

    def __init__(self, folder: Path, dice: random.Random, stack: ExitStack) -> None:
        self.folder, self.dice = folder, dice
        self.registry = Registry(folder / "registry")
        stack.callback(self.registry.kill)
        self.registry_door = Door(self.registry.port)
        (folder / "git").mkdir()
        address = stack.enter_context(http_git(folder / "git"))
        self.git_door = Door(int(address.rpartition(":")[2]))
        self.receiver_door = Door(1)  # behind which there is nobody
        self.receiver_door.mode = "hang"
        (folder / "secret").write_text("of-the-soak-and-nothing-else-0123\n")
        self.newest = {(repo, name): 0 for repo in REPOS for name in NAMES}
        self.notes: Counter[str] = Counter()
        self.pushed = 0
        for repo in REPOS:
            self._make(repo)
        self.configure()
        self.daemon = Daemon(folder)
        stack.callback(self.daemon.kill)

    def image(self, repo: str, name: str) -> str:
        return f"{repo}/{name}"

    def push(self, repo: str, name: str) -> None:
        self.newest[repo, name] += 1
        self.pushed += 1
        tag = f"1.{self.newest[repo, name]}.0"
        push_image(
            f"http://127.0.0.1:{self.registry.port}", self.image(repo, name), tag, created=BUILT, labels={}
        )

    def _make(self, repo: str) -> None:
        work = self.folder / f"work-{repo}"
        (work / "policies").mkdir(parents=True)
        host = f"127.0.0.1:{self.registry_door.port}"
        policy = "version: 1\nworkloads:\n"
        for name in NAMES:
            self.newest[repo, name] = -1
            self.push(repo, name)
            image = f"{host}/{self.image(repo, name)}"
            container = f'{{containers: [{{name: app, image: "{image}:1.0.0"}}]}}'
            text = f"apiVersion: apps/v1\nkind: Deployment\nspec: {{template: {{spec: {container}}}}}\n"
            (work / f"{name}.yaml").write_text(text)
            policy += f'  {name}:\n    image: {image}\n    semver: "1.x"\n'
        (work / "policies" / "all.yaml").write_text(policy)
        git(work, "init", "--quiet", "--initial-branch=main")
        git(work, "add", ".")
        git(work, "-c", "user.name=Ann", "-c", "user.email=a@example.com", "commit", "--quiet", "-m", "Adopt")
        git(self.folder / "git", "clone", "--quiet", "--bare", str(work), f"{repo}.git")
        git(self.folder / "git" / f"{repo}.git", "config", "http.receivepack", "true")
        git(work, "remote", "add", "origin", str(self.folder / "git" / f"{repo}.git"))

    def configure(self, *, around: str = "", within: str = "", with_guest: bool = True) -> None:
        """Write the config; `around` the cycles it has another interval and receiver, `within` them another
        limit."""
        repos = "".join(
            f'[repos.{repo}]\nurl = "http://127.0.0.1:{self.git_door.port}/{repo}.git"\ntimeout = "5s"\n'
            for repo in REPOS
            if with_guest or repo != GUEST
        )
        text = (
            f'state = "state"\n{repos}[registries."127.0.0.1:{self.registry_door.port}"]\n'
            'insecure = true\ntimeout = "3s"\n'
            f'[daemon]\nlisten = "127.0.0.1:0"\nhooks_listen = "127.0.0.1:0"\ninterval = "{around or 2}s"\n'
            f'observe_timeout = "{within or 5}s"\nstop_timeout = "10s"\n'
            '[hooks.registry]\nsender = "distribution"\nsecret_file = "secret"\n'
            f'[notify.team]\nwebhook = "http://127.0.0.1:{self.receiver_door.port}/{around}"\n'
            'secret_file = "secret"\ntimeout = "4s"\n'
        )
        aside = self.folder / "config.new"
        aside.write_text(text)
        aside.replace(self.folder / "config.toml")

    def write(self) -> None:
        """Somebody else commits, and pushes until it lands."""
        repo = self.dice.choice(REPOS)
        work, number = self.folder / f"work-{repo}", self.notes[repo] + 1
        author = ("-c", "user.name=Bob", "-c", "user.email=b@example.com")
        for _ in range(20):
            git(work, "fetch", "--quiet", "origin")
            git(work, "reset", "--quiet", "--hard", "origin/main")
            (work / f"note-{number}.txt").write_text(f"{number}\n")
            git(work, "add", ".")
            git(work, *author, "commit", "--quiet", "-m", f"Note {number}")
            with suppress(subprocess.CalledProcessError):
                git(work, "push", "--quiet", "origin", "HEAD:main")
                self.notes[repo] = number
                return

    def fault(self, *, may_kill: bool) -> str:
        """Something goes wrong, for a while."""
        doors = {"registry": self.registry_door, "git": self.git_door, "receiver": self.receiver_door}
        faults = [
            *(f"{door} {mode}" for door in doors for mode in MODES),
            "registry killed",
            *(3 * RELOADS),
        ]
        if may_kill:
            faults += ["killed", "killed", "state lost"]
        name = self.dice.choice(faults)
        subject, _, mode = name.partition(" ")
        if name == "registry killed":
            self.registry.kill()
            time.sleep(self.dice.uniform(0.5, 3))
            self.registry.start()
        elif subject in doors:
            before, doors[subject].mode = doors[subject].mode, mode
            time.sleep(self.dice.uniform(1, 4))
            doors[subject].mode = before
        elif subject == "reload":
            number = self.dice.choice("1234")
            told = {"around": number} if mode == "around" else {"within": str(4 + int(number))}
            self.configure(**told, with_guest=mode != "repos")
            self.daemon.process.send_signal(signal.SIGHUP)
        else:
            self.daemon.kill()
            if name == "state lost":
                shutil.rmtree(self.folder / "state", ignore_errors=True)
            self.daemon.start()
        return name

    def log(self, repo: str) -> list[str]:
        """Subjects of the branch, the oldest first."""
        told = git(self.folder / "git" / f"{repo}.git", "log", "--reverse", "--format=%s", "main")
        return told.splitlines()

    def is_done(self) -> bool:
        return not self.behind()

    def behind(self) -> list[str]:
        found = []
        for repo in REPOS:
            for name in NAMES:
                text = git(self.folder / "git" / f"{repo}.git", "show", f"main:{name}.yaml")
                if f':1.{self.newest[repo, name]}.0"' not in text:
                    found.append(f"{repo}/{name}")
        return found


def wait(condition: Callable[[], bool], what: str, seconds: float = 60.0) -> bool:
    """Wait for a condition; whether it came true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with suppress(OSError):
            if condition():
                return True
        time.sleep(0.1)
    print(f"never came: {what}", file=sys.stderr)
    return False


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=None)
    options = parser.parse_args(arguments)
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(10_000)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="automator-soak-")))
        world = World(folder, random.Random(seed), stack)
        code = soak(world, options.minutes * 60, seed)
        if code:
            kept = Path(tempfile.gettempdir()) / f"automator-soak-{seed}.log"
            shutil.copy(folder / "daemon.log", kept)
            print(f"the daemon's log: {kept}")
    return code


def soak(world: World, seconds: float, seed: int) -> int:
    wait(lambda: world.daemon.cycles() >= 3 * len(REPOS), "the first cycles")
    first, began = world.daemon.size(), time.monotonic()
    faults: Counter[str] = Counter()
    tag_at = fault_at = began
    while (now := time.monotonic()) - began < seconds:
        if now >= tag_at:
            with suppress(OSError):
                world.push(world.dice.choice(REPOS), world.dice.choice(NAMES))
            tag_at = now + PACE * world.dice.uniform(0.3, 1.7)
            world.write()
        if now >= fault_at:
            faults[world.fault(may_kill=now - began < seconds / 2)] += 1
            fault_at = time.monotonic() + FAULT_PACE * world.dice.uniform(0.3, 1.7)
        time.sleep(0.1)
    world.configure()  # with all config repos
    wait(world.is_done, "the last releases", AT_LAST)
    time.sleep(5)  # whatever would still be pushed twice
    wait(lambda: world.daemon.children() == 0, "a moment without a process of its own")
    last, lost = world.daemon.size(), world.behind()
    world.daemon.process.terminate()
    ended = world.daemon.process.wait(30)
    left = world.daemon.left()
    made, doubled, backwards, notes = judged(world)
    print(f"{seconds / 60:.1f} minutes, seed {seed}: {faults.total()} faults, {world.daemon.starts} starts")
    print(", ".join(f"{name} {count}" for name, count in sorted(faults.items())))
    print(f"tags pushed {world.pushed}, releases {made}, lost {len(lost)} {' '.join(lost)}")
    print(f"doubled {doubled}, backwards {backwards}, commits of others lost {notes}, exit code {ended}")
    print(f"processes left behind {len(left)} {'; '.join(left)}\n")
    print("| | resident MB | open files | threads | children |\n|---|---|---|---|---|")
    for name, size in (("start", first), ("end", last)):
        print(f"| {name} | {size.megabytes:.1f} | {size.files} | {size.threads} | {size.children} |")
    grew = (
        last.megabytes > GROWTH * first.megabytes + MORE_MB
        or last.files > first.files + MORE_FILES
        or last.threads > first.threads + MORE_THREADS
        or last.children > 0
    )
    print("\nit grew beyond its bounds" if grew else "\nwithin its bounds")
    return 1 if lost or doubled or backwards or notes or grew or left or ended not in (0, 1) else 0


def judged(world: World) -> tuple[int, int, int, int]:
    """Releases; of them doubled, and backwards; commits of others that are gone."""
    made = doubled = backwards = notes = 0
    for repo in REPOS:
        log = world.log(repo)
        found = [
            match.groups() for subject in log if (match := re.match(r"Release (\S+) 1\.(\d+)\.0", subject))
        ]
        made += len(found)
        doubled += len(found) - len(set(found))
        for name in NAMES:
            numbers = [int(number) for workload, number in found if workload == name]
            backwards += numbers != sorted(numbers)
        notes += world.notes[repo] - len({s for s in log if s.startswith("Note ")})
    return made, doubled, backwards, notes


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
