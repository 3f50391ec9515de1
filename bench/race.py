"""A race: five daemons and a person push to one branch, none of them waiting for the others.

Every tag is pushed, its event sent, and its release's landing seen by a hook of the config repo, which
writes down when each push came in.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import requests

from automator.demo.registry import EmbeddedRegistry
from bench.inputs import GIT, ConfigRepo, Shape, git, make_config_repo, push_tag
from bench.measure import Cost
from bench.polling import free_port, wait_for
from bench.rows import Row, main

DAEMONS = 5
RELEASES = 20
"""Of each daemon."""
PACE = 0.2
"""Seconds from one commit of the person to the next."""
APART = 1.2
"""Seconds between two tags of one daemon: events within a second are gathered into one cycle."""
PATIENCE = 120.0
SECRET = "Bearer only for this benchmark"


@dataclass
class Landings:
    """What the config repo's hook wrote down: when each commit came to the branch."""

    bare: Path
    seen: dict[str, tuple[float, str]] = field(default_factory=dict)
    """Commit -> when, and its subject."""
    _read: int = 0

    def __post_init__(self) -> None:
        hook = self.bare / "hooks" / "post-receive"
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(
            '#!/bin/sh\nwhile read old new ref; do echo "$(date +%s.%N) $old $new" >> pushes; done\n'
        )
        hook.chmod(0o755)
        (self.bare / "pushes").touch()

    def look(self) -> dict[str, float]:
        """Subject -> when it landed, of all that landed so far. A subject that comes twice fails."""
        lines = (self.bare / "pushes").read_text().splitlines()
        for line in lines[self._read :]:
            when, old, new = line.split()
            listing = git(self.bare, "log", "--format=%H %s", f"{old}..{new}")
            for entry in listing.splitlines():
                commit, _, subject = entry.partition(" ")
                self.seen[commit] = (float(when), subject)
        self._read = len(lines)
        subjects = [subject for _, subject in self.seen.values()]
        assert len(subjects) == len(set(subjects)), "a release was made twice"
        return {subject: when for when, subject in self.seen.values()}


class Person(threading.Thread):
    """Somebody with a clone of their own, who commits and pushes all the time, and pulls when that fails."""

    def __init__(self, repo: ConfigRepo, folder: Path) -> None:
        super().__init__()
        self.over = threading.Event()
        self.times: list[float] = []
        """Seconds that each commit took to land."""
        self.lost = 0
        git(folder, "clone", "--quiet", str(repo.bare), "person")
        self._work = folder / "person"

    def run(self) -> None:
        number = 0
        while not self.over.wait(PACE):
            number += 1
            (self._work / "notes.txt").write_text(f"{number}\n")
            git(self._work, "add", "notes.txt")
            git(self._work, "commit", "--quiet", "--message", f"Note {number}")
            began = time.monotonic()
            while not self._push():
                self.lost += 1
                git(self._work, "pull", "--quiet", "--rebase")
            self.times.append(time.monotonic() - began)

    def _push(self) -> bool:
        words = ["git", "push", "--quiet", "origin", "HEAD:main"]
        environment = {**os.environ, **GIT}
        return subprocess.run(words, cwd=self._work, env=environment, capture_output=True).returncode == 0


@contextmanager
def daemons(folder: Path, repo: ConfigRepo, host: str, folders: Sequence[str]) -> Iterator[list[Daemon]]:
    """One daemon for each folder of policies, each with a state of its own."""
    (folder / "secret").write_text(f"{SECRET}\n")
    with ExitStack() as stack:
        made = [Daemon(folder, repo, host, number, policies) for number, policies in enumerate(folders)]
        for daemon in made:
            stack.callback(daemon.end)
        for daemon in made:
            daemon.wait()
        yield made


class Daemon:
    """`automator run`, and what tells it of pushes."""

    def __init__(self, folder: Path, repo: ConfigRepo, host: str, number: int, policies: str) -> None:
        self._port = free_port()
        config = folder / f"daemon{number}.toml"
        config.write_text(
            f'state = "state{number}"\n[daemon]\ninterval = "1h"\nlisten = ""\n'
            f'hooks_listen = "127.0.0.1:{self._port}"\n'
            f'[repos.bench]\nurl = "{repo.bare}"\npolicies = "{policies}"\n'
            f'[repos.bench.author]\nname = "automator {number}"\nemail = "a{number}@example.invalid"\n'
            f'[registries."{host}"]\ninsecure = true\n'
            '[hooks.registry]\nsender = "distribution"\nsecret_file = "secret"\n'
        )
        self._log = folder / f"daemon{number}.log"
        words = [sys.executable, "-m", "automator", "--config", str(config), "run"]
        with self._log.open("wb") as out:
            self._process = subprocess.Popen(words, stdout=out, stderr=out)
        self._session = requests.Session()

    def wait(self) -> None:
        """Until it has looked at everything once."""
        end = time.monotonic() + PATIENCE
        while b"cycle" not in self._log.read_bytes():
            assert self._process.poll() is None, self.words()
            assert time.monotonic() < end, self.words()
            time.sleep(0.05)
        wait_for(self._port)

    def tell(self, host: str, image: str, tag: str) -> None:
        """Send the event of a push."""
        path = image.partition("/")[2]
        event = {"action": "push", "request": {"host": host}, "target": {"repository": path, "tag": tag}}
        headers = {
            "Authorization": SECRET,
            "Content-Type": "application/vnd.docker.distribution.events.v1+json",
        }
        url = f"http://127.0.0.1:{self._port}/hooks/registry"
        answer = self._session.post(url, json={"events": [event]}, headers=headers)
        assert answer.status_code == 202, answer.text

    def cpu(self) -> float:
        """Processor seconds that it and its ended children took."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")

    def words(self) -> str:
        return self._log.read_text()[-2000:]

    def end(self) -> None:
        self._process.terminate()
        self._process.wait()
        self._session.close()


def race(runs: int, folder: Path) -> Iterator[Row]:
    """Five daemons with workloads of their own, and then five that serve the same ones."""
    count = max(3, min(RELEASES, 2 * runs))
    yield _raced(folder / "own", count, together=False)
    yield _raced(folder / "same", count, together=True)


def _raced(folder: Path, releases: int, *, together: bool) -> Row:
    folder.mkdir()
    with EmbeddedRegistry(folder / "images") as registry:
        shape = Shape("race", files=DAEMONS, images=DAEMONS, workloads=DAEMONS)
        push_tag(registry.host, shape, DAEMONS, "1.0.0")
        repo = make_config_repo(folder, shape, registry.host)
        folders = ["policies"] * DAEMONS if together else _apart(repo, folder)
        landings = Landings(repo.bare)
        person = Person(repo, folder)
        with daemons(folder, repo, registry.host, folders) as running:
            before = sum(daemon.cpu() for daemon in running)
            person.start()
            try:
                times = list(_rounds(running, repo, registry.host, landings, releases, together=together))
            finally:
                person.over.set()
                person.join()
            cpu = sum(daemon.cpu() for daemon in running) - before
        landings.look()
        made = git(repo.bare, "log", "--format=%s", "--grep=^Release", "main").splitlines()
        assert len(made) == len(set(made)) == releases * DAEMONS, f"{len(made)} releases on the branch"
        assert git(repo.bare, "rev-list", "--count", "--merges", "main") == "0"
        name = "replicas of one another" if together else "each with a workload of its own"
        note = (
            f"{len(times)} releases, all landed: median {statistics.median(times):.2f} s, "
            f"worst {max(times):.2f} s; the person: {len(person.times)} commits, {person.lost} pushes lost, "
            f"median {statistics.median(person.times):.2f} s, worst {max(person.times):.2f} s"
        )
        each = Cost(statistics.median(times), cpu / len(times))
        person_cost = Cost(statistics.median(person.times), 0.0)
        return Row(
            f"five daemons and a person, {name}: an event to the commit",
            "the person's push, with pull --rebase",
            each,
            person_cost,
            None,
            None,
            note,
        )


def _apart(repo: ConfigRepo, folder: Path) -> list[str]:
    """A folder of policies for each daemon, with one workload."""
    git(folder, "clone", "--quiet", str(repo.bare), "sorting")
    work = folder / "sorting"
    folders = []
    for number, image in enumerate(repo.images):
        folders.append(f"policies{number}")
        (work / folders[-1]).mkdir()
        text = f'version: 1\nworkloads:\n  own{number}:\n    image: {image}\n    semver: ">=1.0 <2"\n'
        (work / folders[-1] / "team.yaml").write_text(text)
    git(work, "rm", "-r", "--quiet", "policies")
    git(work, "add", ".")
    git(work, "commit", "--quiet", "--message", "Each their own")
    git(work, "push", "--quiet", "origin", "HEAD:main")
    return folders


def _rounds(
    running: Sequence[Daemon],
    repo: ConfigRepo,
    host: str,
    landings: Landings,
    releases: int,
    *,
    together: bool,
) -> Iterator[float]:
    """In each round every image gets a tag, and whoever watches it is told; the seconds to each landing."""
    names = [f"own{n}" if not together else image.rpartition("/")[2] for n, image in enumerate(repo.images)]
    for number in range(1, releases + 1):
        tag = f"1.1.{number}"
        push_tag(host, repo.shape, DAEMONS, tag)
        began = time.time()
        for daemon, image in zip(running, repo.images, strict=True):
            daemon.tell(host, image, tag)
            for other in running if together else ():
                if other is not daemon:
                    other.tell(host, image, tag)
        wanted = {f"Release {name} {tag}" for name in names}
        end = time.monotonic() + PATIENCE
        while not wanted <= (landed := landings.look()).keys():
            assert time.monotonic() < end, "\n".join(daemon.words() for daemon in running)
            time.sleep(0.05)
        yield from (landed[subject] - began for subject in wanted)
        time.sleep(max(0.0, APART - (time.time() - began)))


PARTS = {"race": race}

if __name__ == "__main__":
    main(PARTS)
