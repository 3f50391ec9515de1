"""A fleet: real release streams replayed as a year, in simulated time, on a real config repo.

Which tags came when is recorded of public config repos. The registry answers from memory, the clock is
an argument, commits and pushes are git's. What should come of it is told by a plain model of its own.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import semver

from automator.app.build import App
from automator.config import load
from automator.core.reference import Image, Repository, parse_repository
from automator.cycle.run import Trigger
from bench.cases import MemoryRegistry
from bench.inputs import git
from bench.measure import Cost, Stopwatch, median, peak_memory
from bench.rows import Row, main

BEGAN = datetime(2021, 3, 1, tzinfo=UTC)
"""The year in which most is recorded."""
YEAR = timedelta(days=365)
SLOT = timedelta(days=1)
"""What comes within one is one cycle."""
HOST = "registry.example.com"
TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
DATED = re.compile(r"v?(\d+)\.(\d+)\.(\d+)((?:-.*)?)", re.ASCII)
VERSIONED = ("semver", "v-semver")


class MissingStreams(Exception):
    """There is no corpus on this machine."""


@dataclass
class Stream:
    """One image of one config repo."""

    name: str
    policy: str
    by_version: bool
    first: str
    """The tag that the config repo has when the year begins."""
    listed: list[str]
    """The tags that are there by then."""
    coming: list[tuple[datetime, str]]
    """Tags of the year, each when it comes first."""
    built: dict[str, datetime] = field(default_factory=dict)

    @property
    def repository(self) -> Repository:
        return parse_repository(f"{HOST}/{self.name}")

    @property
    def file(self) -> str:
        return f"apps/{self.name}.yaml"

    def rank(self, tag: str) -> Any:
        """Its place in the policy's order; None for what the policy does not take."""
        if not self.by_version:
            return self.built[tag]
        # Leading zeros are read, as everybody does who deploys by date.
        found = DATED.fullmatch(tag)
        try:
            return (
                semver.Version.parse(".".join(map(str, map(int, found.groups()[:3]))) + found[4])
                if found
                else None
            )
        except ValueError:
            return None

    def best(self, tags: Sequence[str]) -> Any:
        return max((rank for rank in map(self.rank, tags) if rank is not None), default=None)


def streams() -> list[Stream]:
    """The streams that have something in the year. Raises MissingStreams."""
    checkout = Path(__file__).resolve().parent.parent
    folder = Path(os.environ.get("AUTOMATOR_CORPUS") or checkout.parent / "shared" / "corpus")
    file = folder / "streams-public.jsonl.gz"
    if not file.exists():
        raise MissingStreams(f"no {file.name} in {folder}: AUTOMATOR_CORPUS names another folder")
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        told = (_stream(number, json.loads(line)) for number, line in enumerate(lines))
        return [stream for stream in told if stream is not None]


def _stream(number: int, record: dict[str, Any]) -> Stream | None:
    first: dict[str, datetime] = {}
    for when, tag, *_ in sorted(record["seq"], key=lambda entry: datetime.fromisoformat(entry[0])):
        moment = datetime.fromisoformat(when).astimezone(UTC)
        if TAG.fullmatch(tag) and moment < BEGAN + YEAR:
            first.setdefault(tag, moment)
    by_version = record["style"] in VERSIONED
    policy = 'semver: "*"\n    prereleases: allow' if by_version else 'glob: "*"\n    order: newest'
    old = [tag for tag, moment in first.items() if moment < BEGAN]
    new = [(moment, tag) for tag, moment in first.items() if moment >= BEGAN]
    if not old:  # it is adopted with its first tag
        old, new = [tag for _, tag in new[:1]], new[1:]
    if not new:
        return None
    short = re.sub(r"[^a-z0-9]+", "-", record["image"].rpartition("/")[2].lower()).strip("-")[:40]
    stream = Stream(f"f{number:04d}-{short or 'image'}", policy, by_version, "", old, new, first)
    ranked = [tag for tag in old if stream.rank(tag) is not None]
    if not ranked:
        return None  # nothing that the policy could start from
    stream.first = max(ranked, key=stream.rank)
    return stream


# -- the config repo and the registry -------------------------------------------------------------------


class Shelf(MemoryRegistry):
    """The registry of the fleet: its images have build times."""

    def __init__(self, fleet: Sequence[Stream]) -> None:
        super().__init__(())
        self._of = {stream.repository: stream for stream in fleet}
        for stream in fleet:
            self.fill(stream.repository, tuple(stream.listed))

    def image(self, repository: Repository, tag: str, **_: object) -> Image:
        return Image(self.digest(repository, tag), built=self._of[repository].built[tag])


def config_repo(folder: Path, fleet: Sequence[Stream]) -> Path:
    """A bare repository with a manifest and a policy for each stream."""
    bare = folder / "fleet.git"
    git(folder, "init", "--quiet", "--bare", "--initial-branch=main", str(bare))
    parts = [_head(BEGAN - timedelta(minutes=1))]
    for stream in fleet:
        image = f"{HOST}/{stream.name}:{stream.first}"
        text = (
            f"# {stream.name}, by the team that owns it.\napiVersion: apps/v1\nkind: Deployment\n"
            f"metadata:\n  name: {stream.name}\nspec:\n  template:\n    spec:\n      containers:\n"
            f"        - name: app\n          image: {image}  # moved by automator\n"
        )
        parts.append(_file(stream.file, text))
    for start in range(0, len(fleet), 100):
        lines = ["version: 1", "workloads:"]
        for stream in fleet[start : start + 100]:
            lines += [f"  {stream.name}:", f"    image: {HOST}/{stream.name}", f"    {stream.policy}"]
        parts.append(_file(f"policies/team{start // 100:02d}.yaml", "\n".join(lines) + "\n"))
    git(bare, "fast-import", "--quiet", feed=b"".join(parts))
    return bare


def _head(when: datetime) -> bytes:
    who = f"Ann <ann@example.invalid> {int(when.timestamp())} +0000"
    return f"commit refs/heads/main\ncommitter {who}\ndata 5\nAdopt\n".encode()


def _file(name: str, text: str) -> bytes:
    data = text.encode()
    return b'M 100644 inline "%s"\ndata %d\n%s\n' % (name.encode(), len(data), data)


# -- the year -------------------------------------------------------------------------------------------


@dataclass
class Year:
    """What came of it."""

    cycles: list[Cost] = field(default_factory=list)
    releases: int = 0
    pushes: int = 0
    largest: int = 0


def fleet(runs: int, folder: Path) -> Iterator[Row]:
    """The year, and what the branch tells of it."""
    try:
        every = streams()
    except MissingStreams as missing:
        print(f"not measured: {missing}", file=sys.stderr)
        return
    bare = config_repo(folder, every)
    slots: dict[datetime, list[tuple[Stream, str]]] = defaultdict(list)
    for stream in every:
        for moment, tag in stream.coming:
            slots[BEGAN + SLOT * ((moment - BEGAN) // SLOT + 1)].append((stream, tag))
    expected = _expected(slots)
    with Stopwatch() as whole:
        year = _replay(folder, bare, every, slots)
    made = _made(bare, every)
    for stream in every:
        assert made[stream.name] == expected[stream.name], (
            f"{stream.name}: {made[stream.name]} released, {expected[stream.name]} expected"
        )
    pushed = sum(map(len, slots.values()))
    commits = int(git(bare, "rev-list", "--count", "main")) - 1
    assert commits == year.releases == sum(map(len, made.values())), (commits, year.releases)
    middle = median(year.cycles)
    slowest = max(cost.wall for cost in year.cycles)
    note = (
        f"{len(every):,} workloads, {pushed:,} tags pushed, {year.releases:,} releases in {commits:,} "
        f"commits and {year.pushes:,} pushes by {len(year.cycles):,} cycles, {year.largest} at once at most; "
        f"nothing out of order, none too many or too few; median cycle {1000 * middle.wall:.0f} ms, "
        f"slowest {1000 * slowest:.0f} ms; {peak_memory():.0f} MB"
    )
    yield Row("a year of a fleet, in simulated time", "", whole.cost, None, None, None, note)


def _expected(slots: dict[datetime, list[tuple[Stream, str]]]) -> dict[str, list[str]]:
    """By workload, the tags that a plain reader of the policies would release: in each slot the best of what
    is there, if it is better than what stands."""
    standing: dict[str, str] = {}
    found: dict[str, list[str]] = defaultdict(list)
    for _, pushes in sorted(slots.items(), key=lambda entry: entry[0]):
        news: dict[str, tuple[Stream, list[str]]] = {}
        for stream, tag in pushes:
            news.setdefault(stream.name, (stream, []))[1].append(tag)
        for name, (stream, tags) in news.items():
            now = standing.setdefault(name, stream.first)
            ranked = [tag for tag in tags if stream.rank(tag) is not None]
            if not ranked:
                continue
            # Of tags that are equal in the order the text decides.
            best = max(ranked, key=lambda tag: (stream.rank(tag), tag))
            if stream.rank(best) > stream.rank(now):
                standing[name] = best
                found[name].append(best)
    return found


def _replay(
    folder: Path, bare: Path, every: Sequence[Stream], slots: dict[datetime, list[tuple[Stream, str]]]
) -> Year:
    now = [BEGAN]
    config = folder / "config.toml"
    config.write_text(
        f'state = "state"\n[repos.bench]\nurl = "{bare}"\nmax_releases_per_cycle = 1000\n'
        "max_lookups = 100000\n"
        f'[registries."{HOST}"]\ninterval = "1d"\n'
    )
    began = time.monotonic()

    def monotonic() -> float:
        return time.monotonic() - began + (now[0] - BEGAN).total_seconds()

    year = Year()
    with App.open(load(config, {}), exclusive=True, clock=lambda: now[0], monotonic=monotonic) as app:
        cycle = app.cycles["bench"]
        shelf = Shelf(every)
        cycle.observer.registry = shelf

        def turn(trigger: Trigger) -> int:
            with Stopwatch() as watch:
                report = cycle.run(trigger)
            assert report.error is None, report.error
            year.cycles.append(watch.cost)
            if report.pushed is None:
                return 0
            assert report.head is not None
            return int(git(bare, "rev-list", "--count", f"{report.head}..{report.pushed}"))

        assert turn(Trigger("startup", all_due=True)) == 0, "what stands is the best already"
        for moment in sorted(slots):
            now[0] = moment
            for stream, tag in slots[moment]:
                shelf.push(stream.repository, tag)
            named = frozenset(stream.repository for stream, _ in slots[moment])
            made = turn(Trigger("event", named=named, patience=2 * YEAR))
            year.releases += made
            year.pushes += made > 0
            year.largest = max(year.largest, made)
    return year


_STEP = re.compile(r"^Release-(Workload|From|To): (.*)$", re.MULTILINE)


def _made(bare: Path, every: Sequence[Stream]) -> dict[str, list[str]]:
    """By workload, the tags that the branch's history says were released, oldest first; each step begins
    where the last one ended, goes up, and comes after its tag."""
    by_name = {stream.name: stream for stream in every}
    standing = {stream.name: stream.first for stream in every}
    found: dict[str, list[str]] = defaultdict(list)
    log = git(bare, "log", "--reverse", "--format=%ct%n%B%x00", "main")
    for entry in log.split("\0"):
        told = dict(_STEP.findall(entry))
        if "Workload" not in told:
            continue
        stream = by_name[told["Workload"]]
        before, after = (told[key].partition("@")[0] for key in ("From", "To"))
        assert before == standing[stream.name], f"{stream.name} was at {standing[stream.name]}, not {before}"
        risen = stream.rank(after) is not None and stream.rank(after) > stream.rank(before)
        assert risen, f"{stream.name} went from {before} to {after}"
        assert int(entry.split()[0]) >= stream.built[after].timestamp(), f"{after} before it was there"
        standing[stream.name] = after
        found[stream.name].append(after)
    tip = Counter(standing[name] == _tag(bare, by_name[name]) for name in list(by_name)[::20])
    assert not tip[False], "a file is not where the log says"
    return found


def _tag(bare: Path, stream: Stream) -> str:
    text = git(bare, "cat-file", "blob", f"main:{stream.file}")
    return text.partition(f"{stream.name}:")[2].split()[0] if "image:" in text else ""


PARTS = {"fleet": fleet}

if __name__ == "__main__":
    main(PARTS)
