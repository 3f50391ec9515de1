"""The cases: one piece of work beside its yardstick, each run in a process of its own.

The registry part is kept apart: tag lists and manifests are answered from memory, and asked for only
when something was pushed, so that what is measured is what automator and git do. `programs.py`
measures whole programs with a registry.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from automator.app.build import App
from automator.app.fingerprint import locator_version
from automator.config import load
from automator.core.reference import Image, Repository, TagList, parse_repository
from automator.cycle.earlier import Earlier
from automator.cycle.index import Index, Snapshot
from automator.cycle.located import Located
from automator.cycle.run import Cycle, Trigger
from automator.cycle.source import Scope
from automator.edges.checkout import Checkout, Remote
from automator.edges.store import Store
from bench.inputs import GIT, git
from bench.measure import Cost, Pair, Stopwatch, alternate, peak_memory, timed, traced_gits

T = TypeVar("T")
INTERVAL = Trigger("interval")
DEADLINE = 120.0
QUIET_RUNS = 5


class Told(NamedTuple):
    """What the parent tells a case."""

    url: str
    """Of the config repo that automator works on."""
    twin_url: str
    """Of its twin, on the same server, for the yardsticks."""
    twin: str
    images: tuple[str, ...]
    runs: int
    count: int = 1
    """Releases in one cycle."""
    series: int = 0
    """Minor version of what is released, higher in each case on the same repository."""
    bare: str = ""
    """Path of the config repo that `url` leads to, for whoever commits beside us."""
    small: tuple[str, tuple[str, ...]] = ("", ())
    """Address and images of a tenth of the config repo, where a case is about growth."""


class Found(NamedTuple):
    """What a case measured."""

    pair: Pair
    memory: float
    """Peak of this process, MB, imports included."""
    gits: int
    """git processes of one run."""
    first: Cost | None = None
    """The first cycle: clone, index, decisions."""
    started: int | None = None
    """git processes that automator itself started in one run; the others are git's own, and the server's."""


class MemoryRegistry:
    """Answers at once, with the tags it was given; each tag is an image of its own."""

    def __init__(self, images: tuple[str, ...]) -> None:
        self._tags = {parse_repository(image): ("1.0.0",) for image in images}

    def fill(self, repository: Repository, tags: tuple[str, ...]) -> None:
        self._tags[repository] = tags

    def push(self, repository: Repository, tag: str) -> None:
        self._tags[repository] = (*self._tags[repository], tag)

    def submit(self, host: str, act: Callable[[], T], **_: object) -> Future[T]:
        """Done at once, by whoever asks."""
        done: Future[T] = Future()
        done.set_result(act())
        return done

    def listed(self, repository: Repository, tag: str) -> Image | None:
        return None

    def tags(self, repository: Repository, *, now: datetime, since: datetime | None = None) -> TagList:
        tags = self._tags[repository]
        return TagList(repository, tags, now, str(len(tags)))

    def digest(self, repository: Repository, tag: str) -> str:
        return "sha256:" + hashlib.sha256(f"{repository}:{tag}".encode()).hexdigest()

    def image(self, repository: Repository, tag: str, **_: object) -> Image:
        return Image(self.digest(repository, tag))


@contextmanager
def program(told: Told) -> Iterator[tuple[Cycle, MemoryRegistry]]:
    """automator as `once` and `run` build it, but for the registry."""
    with tempfile.TemporaryDirectory(prefix="automator-bench-") as folder:
        config = Path(folder, "config.toml")
        limit = f"max_releases_per_cycle = {max(25, told.count)}"
        hosts = {parse_repository(image).registry for image in told.images}
        config.write_text(
            f'state = "state"\n[repos.bench]\nurl = "{told.url}"\n{limit}\n'
            + "".join(f'[registries."{host}"]\ninterval = "1d"\n' for host in hosts)
        )
        with App.open(load(config, {}), exclusive=True) as app:
            cycle = app.cycles["bench"]
            registry = MemoryRegistry(told.images)
            cycle.observer.registry = registry
            yield cycle, registry


def _git(*words: str) -> Callable[[], object]:
    environment = {**os.environ, **GIT}
    return lambda: subprocess.run(["git", *words], env=environment, capture_output=True, check=True)


def _gits_of(work: Callable[[], object]) -> int:
    with traced_gits() as count:
        work()
        return count()


# -- the cases --------------------------------------------------------------------------------------


def quiet(told: Told) -> Found:
    """A cycle that finds nothing new, beside `git ls-remote` of the branch."""
    with program(told) as (cycle, _):
        first = timed(lambda: _run(cycle))
        parsed, head = cycle.index.parsed, cycle.checkout.ask_tip()
        ask = _git("ls-remote", told.url, "refs/heads/main")
        # A few milliseconds each, so that a busy machine shows: more of them.
        runs = QUIET_RUNS * told.runs
        pair = alternate(runs, lambda _: timed(lambda: _run(cycle)), lambda _: timed(ask), warm=3)
        assert cycle.index.parsed == parsed, "a quiet cycle parsed a file"
        assert cycle.checkout.ask_tip() == head, "a quiet cycle pushed"
        return Found(pair, peak_memory(), _gits_of(lambda: _run(cycle)), first)


def cold_index(told: Told) -> Found:
    """Policies and sites of every file of a fresh clone, beside git reading all its blobs."""
    with tempfile.TemporaryDirectory(prefix="automator-bench-") as folder:
        clone = Path(folder, "clone")
        with Checkout(clone, Remote(told.url, "main"), deadline=DEADLINE) as checkout:
            tip = checkout.ask_tip()
            checkout.fetch(tip)
            read = _all_blobs(clone, tip)

            def index() -> Cost:
                fresh = Index(checkout, Scope(), Earlier(checkout))
                with Stopwatch() as watch:
                    snapshot = fresh.move_to(tip)
                _check_claims(snapshot, told)
                return watch.cost

            # Once alone, so that the peak is that of one index.
            index()
            memory = peak_memory()
            gits = _gits_of(index)
            pair = alternate(told.runs, lambda _: index(), lambda _: timed(read))
            return Found(pair, memory, gits)


def restart(told: Told) -> Found:
    """The same once more in a new program, which has the state folder of one that did it before."""
    with tempfile.TemporaryDirectory(prefix="automator-bench-") as folder:
        clone, state = Path(folder, "clone"), Path(folder, "state")
        with Checkout(clone, Remote(told.url, "main"), deadline=DEADLINE) as checkout:
            tip = checkout.ask_tip()
            checkout.fetch(tip)
            read = _all_blobs(clone, tip)

            def start(parsed: int | None = 0) -> Cost:
                with Stopwatch() as watch, Store.open(state) as store:
                    fresh = Index(
                        checkout, Scope(), Earlier(checkout), Located(store, "bench", locator_version())
                    )
                    snapshot = fresh.move_to(tip)
                _check_claims(snapshot, told)
                assert parsed in (None, fresh.parsed), f"{fresh.parsed} files parsed by a restart"
                return watch.cost

            first = start(parsed=None)
            gits = _gits_of(start)
            pair = alternate(told.runs, lambda _: start(), lambda _: timed(read))
            return Found(pair, peak_memory(), gits, first)


def _check_claims(snapshot: Snapshot, told: Told) -> None:
    claimed = sum(map(len, snapshot.claims.sites.values()))
    assert claimed == len(told.images), f"{claimed} sites for {len(told.images)} workloads"


def _all_blobs(clone: Path, tip: str) -> Callable[[], object]:
    """Git reading every blob of a commit."""
    listing = git(clone, "ls-tree", "-r", tip)
    blobs = "".join(f"{line.split()[2]}\n" for line in listing.splitlines()).encode()
    words = ["git", "-C", str(clone), "cat-file", "--batch", "--buffer"]
    # Read through a pipe, as whoever needs the blobs must.
    return lambda: subprocess.run(words, input=blobs, stdout=subprocess.PIPE, check=True)


def release(told: Told) -> Found:
    """From decided to pushed, beside `git push` of as many ready commits to the twin."""
    with program(told) as (cycle, registry), tempfile.TemporaryDirectory(prefix="automator-bench-") as folder:
        first = timed(lambda: _run(cycle))
        watch = _watch_publishing(cycle)
        repositories = [parse_repository(image) for image in told.images[: told.count]]

        def ours(run: int) -> Cost:
            for repository in repositories:
                registry.push(repository, f"1.{told.series}.{run + 1}")
            report = _run(cycle, Trigger("request", named=frozenset(repositories)))
            made = sum(outcome.status == "released" for outcome in report.outcomes)
            assert made == told.count, (
                f"{made} of {told.count} released: {report.error or report.outcomes[0]}"
            )
            return watch()

        ready = Path(folder, "ready")
        git(Path(folder), "clone", "--quiet", "--bare", "--depth=1", told.twin_url, str(ready))
        changed = _files_with_images(ready, told.count)

        def limit(run: int) -> Cost:
            _ready_commits(ready, changed, run)
            push = ["-C", str(ready), "push", "--quiet", told.twin_url, "main:refs/heads/main"]
            return timed(_git(*push))

        pair = alternate(told.runs, ours, limit)
        before = cycle.checkout.processes
        gits = _gits_of(lambda: ours(told.runs + 1))
        started = cycle.checkout.processes - before
        assert git(Path(told.twin), "log", "-1", "--format=%s") == f"ready {told.runs}"
        return Found(pair, peak_memory(), gits, first, started)


def together(told: Told) -> Found:
    """A cycle that releases a hundred workloads, beside one that releases one: from the last decision to the
    end of the push."""
    with program(told) as (cycle, registry):
        first = timed(lambda: _run(cycle))
        watch = _watch_publishing(cycle)
        repositories = [parse_repository(image) for image in told.images[: told.count]]

        def released(count: int, tag: str) -> Cost:
            for repository in repositories[:count]:
                registry.push(repository, tag)
            report = _run(cycle, Trigger("request", named=frozenset(repositories[:count])))
            commits = git(Path(told.bare), "rev-list", "--count", f"{report.head}..{report.pushed}")
            assert int(commits) == count, f"{commits} of {count} released"
            return watch()

        many, one = (
            (lambda run: released(told.count, f"1.{told.series}.{2 * run + 1}")),
            (lambda run: released(1, f"1.{told.series}.{2 * run + 2}")),
        )
        pair = alternate(told.runs, many, one)
        before = cycle.checkout.processes
        gits = _gits_of(lambda: many(told.runs + 1))
        return Found(pair, peak_memory(), gits, first, cycle.checkout.processes - before)


def by_git(told: Told) -> Found:
    """The same by git alone: as many texts that are ready, committed one by one and pushed."""
    with tempfile.TemporaryDirectory(prefix="automator-bench-") as folder:
        ready = Path(folder, "ready")
        git(Path(folder), "clone", "--quiet", "--bare", "--depth=1", told.twin_url, str(ready))
        files = _files_with_images(ready, told.count)
        words = ("-C", str(ready), "push", "--quiet", told.twin_url, "main:refs/heads/main")

        def released(count: int, run: int) -> None:
            _ready_commits(ready, dict(list(files.items())[:count]), run)
            _git(*words)()

        many, one = (
            (lambda run: timed(lambda: released(told.count, 2 * run))),
            (lambda run: timed(lambda: released(1, 2 * run + 1))),
        )
        pair = alternate(told.runs, many, one)
        gits = _gits_of(lambda: many(told.runs + 1))
        return Found(pair, peak_memory(), gits)


def foreign(told: Told) -> Found:
    """Fetch and index a commit of somebody else that changes one file, beside `git fetch` of such a one."""
    with tempfile.TemporaryDirectory(prefix="automator-bench-") as folder:
        twin = Path(folder, "twin")
        git(Path(folder), "clone", "--quiet", "--bare", "--depth=1", told.twin_url, str(twin))
        # Some workload's file, behind those that other cases release.
        name = git(twin, "ls-tree", "-r", "--name-only", "HEAD", "apps/").splitlines()[len(told.images) // 2]
        text = git(twin, "show", f"HEAD:{name}")
        branch = "+refs/heads/main:refs/heads/main"
        fetch = _git("-C", str(twin), "fetch", "--quiet", "--no-tags", told.twin_url, branch)

        def commit(bare: str, run: int) -> None:
            _ready_commits(Path(bare), {name: f"{text}# {run}\n"}, run)

        def limit(run: int) -> Cost:
            commit(told.twin, run)
            return timed(fetch)

        with Checkout(Path(folder, "clone"), Remote(told.url, "main"), deadline=DEADLINE) as checkout:
            index = Index(checkout, Scope(), Earlier(checkout))

            def follow() -> Cost:
                tip = checkout.ask_tip()
                with Stopwatch() as watch:
                    checkout.fetch(tip)
                    index.move_to(tip)
                return watch.cost

            def ours(run: int) -> Cost:
                commit(told.bare, run)
                parsed, cost = index.parsed, follow()
                assert index.parsed > parsed, "the changed file was not parsed"
                return cost

            first = follow()
            pair = alternate(told.runs, ours, limit)
            commit(told.bare, told.runs + 1)
            return Found(pair, peak_memory(), _gits_of(follow), first)


def growth(told: Told) -> Found:
    """A cycle that finds nothing new, beside the same on a tenth of the files and workloads."""
    address, images = told.small
    with program(told) as (large, _), program(told._replace(url=address, images=tuple(images))) as (small, _):
        first = timed(lambda: _run(large))
        _run(small)
        runs = QUIET_RUNS * told.runs
        pair = alternate(runs, lambda _: timed(lambda: _run(large)), lambda _: timed(lambda: _run(small)))
        return Found(pair, peak_memory(), _gits_of(lambda: _run(large)), first)


def _run(cycle: Cycle, trigger: Trigger = INTERVAL) -> Any:
    report = cycle.run(trigger)
    assert report.error is None, report.error
    return report


def _watch_publishing(cycle: Cycle) -> Callable[[], Cost]:
    """Time what follows the last decision of a cycle, to the end of the push."""
    decide, publisher = cycle.decider.decide, cycle.publisher
    watch = Stopwatch()

    def deciding(*arguments: Any, **named: Any) -> Any:
        releases = decide(*arguments, **named)
        watch.__enter__()
        return releases

    class Publishing:
        def publish(self, *arguments: Any, **named: Any) -> Any:
            published = publisher.publish(*arguments, **named)
            watch.__exit__()
            return published

    cycle.decider.decide = deciding  # type: ignore[method-assign]
    cycle.publisher = Publishing()  # type: ignore[assignment]
    return lambda: watch.cost


def _files_with_images(clone: Path, count: int) -> dict[str, str]:
    """Some files with their texts, of the kinds that releases change."""
    names = git(clone, "ls-tree", "-r", "--name-only", "HEAD", "apps/").splitlines()[:count]
    return {name: git(clone, "show", f"HEAD:{name}") for name in names}


def _ready_commits(clone: Path, files: dict[str, str], run: int) -> None:
    """One commit for each file, each of one line, as a release makes it."""
    stream = []
    for number, (name, text) in enumerate(files.items()):
        data = text.replace(":1.0.0", f":1.0.{run + 1}").encode()
        message = f"ready {run}".encode()
        base = b"from refs/heads/main^0\n" if number == 0 else b""
        stream.append(b"commit refs/heads/main\ncommitter bench <bench@example.invalid> ")
        stream.append(b"%d +0000\ndata %d\n%s\n%s" % (1_750_000_000 + run, len(message), message, base))
        stream.append(b'M 100644 inline "%s"\ndata %d\n%s\n' % (name.encode(), len(data), data))
    git(clone, "fast-import", "--quiet", feed=b"".join(stream))


# -- between the processes --------------------------------------------------------------------------

_CASES = (quiet, growth, foreign, cold_index, restart, release, together, by_git)
CASES = {case.__name__: case for case in _CASES}


def measure(case: Callable[[Told], Found], told: Told) -> Found:
    """Run a case in a fresh process, so that its peak memory is its own."""
    words = [sys.executable, "-m", case.__module__, case.__name__]
    told_text = json.dumps(told).encode()
    environment = {name: value for name, value in os.environ.items() if name != "AUTOMATOR_SHARED"}
    done = subprocess.run(words, input=told_text, stdout=subprocess.PIPE, env=environment, check=True)
    pair, memory, gits, first, started = json.loads(done.stdout)
    ours, limit = (tuple(Cost(*cost) for cost in costs) for costs in pair)
    return Found(Pair(ours, limit), memory, gits, None if first is None else Cost(*first), started)


def main(cases: Mapping[str, Callable[[Told], Found]] = CASES) -> None:
    """Run the case that the arguments name, told of by the input; the figures are written out."""
    told = Told(*json.load(sys.stdin))
    found = cases[sys.argv[1]](told._replace(images=tuple(told.images)))
    json.dump(((found.pair.ours, found.pair.limit), *found[1:]), sys.stdout)


if __name__ == "__main__":
    main()
