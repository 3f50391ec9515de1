"""Deciding: ten thousand tags, beside python-semver reading them.

Each row is one decision from the tag list to the answer, and asks for facts in the rounds in which a
cycle fetches them. The strings are new in every run, as they are when a registry has just answered.
Everything here is computing in one thread, so processor time is measured, and the least of the runs.
"""

from __future__ import annotations

import gc
import json
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import semver

from automator.core.decide import Limits, Need, Release, Stay, decide, judge
from automator.core.facts import Facts, Sighting, site_key
from automator.core.history import site_history
from automator.core.policy import Workload, parse_policies
from automator.core.reference import Image, TagList
from automator.core.site import Site, locate

TAGS = 10_000
TARGET = 3.0
"""The most that a decision may cost, in readings of the tags by python-semver."""
IMAGE = "registry.example.com/team/app"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
OPEN = Limits(lookups=TAGS)


@dataclass(frozen=True)
class Mix:
    """A tag list, and a policy for it."""

    name: str
    tags: tuple[str, ...]
    policy: tuple[str, ...]
    """The keys of the workload."""
    current: str
    answer: str
    """The tag that is released, or the code of the reason why none is: what is fast must be right too."""
    seen: timedelta | None = None
    """Since when tags have been known; None where this is the first look at them."""
    looked_at: tuple[str, ...] | None = None
    """The tags that have been looked at since; all where None."""
    read: tuple[str, ...] = ()
    """What python-semver reads instead, of tags that it only refuses."""


@dataclass(frozen=True)
class Row:
    """One mix, measured: processor seconds of the best run of each."""

    mix: Mix
    ours: float
    limit: float
    rounds: int
    """How often it was decided, with more facts each time."""

    @property
    def ratio(self) -> float:
        return self.ours / self.limit

    @property
    def missed(self) -> bool:
        return self.ratio > TARGET


# -- tag lists ----------------------------------------------------------------------------------------


def _shuffled(tags: Sequence[str]) -> tuple[str, ...]:
    found = list(tags)
    assert len(found) == len(set(found)) == TAGS
    random.Random(7).shuffle(found)
    return tuple(found)


def _versions(count: int, suffix: str = "") -> list[str]:
    return [f"{i // 400}.{i // 20 % 20}.{i % 20}{suffix}" for i in range(count)]


def _sha(number: int, length: int = 40) -> str:
    return sha256(str(number).encode()).hexdigest()[:length]


PLAIN = _shuffled(_versions(TAGS))
MIXED = _shuffled(
    [
        *_versions(4000),
        *_versions(2000, "-alpine"),
        *(f"{version}-rc.{i % 3 + 1}" for i, version in enumerate(_versions(1500))),
        *(_sha(i) for i in range(1500)),
        *(f"sha-{_sha(i, 7)}" for i in range(500)),
        *(f"main-{_sha(i, 7)}-{1_700_000_000 + i}" for i in range(500)),
    ]
)
BUILDS = _shuffled([f"main-{_sha(i, 7)}-{1_700_000_000 + i}" for i in range(TAGS)])
LAST_BUILD = f"main-{_sha(TAGS - 1, 7)}-{1_700_000_000 + TAGS - 1}"
FIRST_BUILD = "main-0000000-1600000000"

RANGE = 'semver: ">=1.0 <30"'
GUARDS = ("min_age: 1d", "step: minor", "platforms: [linux/amd64]")
MIXES = (
    Mix("versions", PLAIN, (RANGE,), "1.0.0", "24.19.19"),
    Mix("versions, nothing newer", PLAIN, (RANGE,), "24.19.19", "current/newest"),
    Mix("mixed", MIXED, (RANGE,), "1.0.0", "9.19.19"),
    Mix("mixed, glob", MIXED, ('glob: "{key}-alpine"', RANGE), "1.0.0-alpine", "4.19.19-alpine"),
    Mix("mixed, exclude", MIXED, ('exclude: ["*-alpine", "sha-*"]', RANGE), "1.0.0", "9.19.19"),
    Mix("mixed, guards, first look", MIXED, (RANGE, *GUARDS), "1.0.0", "guard/min-age"),
    Mix("mixed, guards, known", MIXED, (RANGE, *GUARDS), "1.0.0", "1.19.19", seen=timedelta(days=9)),
    Mix(  # a new one every five minutes, each looked at once
        "versions, 288 too young",
        PLAIN,
        (RANGE, "min_age: 1d"),
        "1.0.0",
        "guard/min-age",
        seen=timedelta(0),
        looked_at=tuple(_versions(TAGS)[-288:]),
    ),
    Mix("versions, step patch", PLAIN, (RANGE, "step: patch"), "1.0.0", "1.0.19"),
    Mix(
        "versions, no platform",
        PLAIN,
        (RANGE, "platforms: [linux/arm64]"),
        "24.18.0",
        "guard/platforms",
    ),
    Mix("versions, order version", PLAIN, ("order: version",), "1.0.0", "24.19.19"),
    Mix("versions, order newest", PLAIN, ("order: newest",), "1.0.0", "released", seen=timedelta(days=9)),
    Mix(
        "builds, glob, order numeric",
        BUILDS,
        ('glob: "main-*-{key}"', "order: numeric"),
        FIRST_BUILD,
        LAST_BUILD,
        read=PLAIN,
    ),
    Mix(
        "builds, regex, order numeric",
        BUILDS,
        ("regex: '^main-[a-f0-9]+-(?P<key>[0-9]+)$'", "order: numeric"),
        FIRST_BUILD,
        LAST_BUILD,
        read=PLAIN,
    ),
)


# -- one decision -------------------------------------------------------------------------------------


@dataclass
class World:
    """Answers what a decision needs to know, from memory."""

    tags: TagList
    sites: tuple[Site, ...]
    facts: Facts = field(default_factory=Facts)
    rounds: int = 0

    def decide(self, workload: Workload) -> Release | Stay:
        """Ask until there is an answer; the tags are judged once, as a cycle does it."""
        judged = judge(workload, self.tags)
        while True:
            self.rounds += 1
            answer = decide(workload, self.sites, self.tags, self.facts, NOW, OPEN, judged)
            if not isinstance(answer, Need):
                return answer
            self._fetch(answer)

    def _fetch(self, need: Need) -> None:
        images = {tag: _image(tag) for tag in need.images}
        seen = {tag: Sighting(image.digest, NOW) for tag, image in images.items()}
        histories = {site_key(site): site_history((), site, complete=True) for site in need.histories}
        facts = self.facts
        self.facts = replace(
            facts,
            images={**facts.images, **images},
            seen={**seen, **facts.seen},
            histories={**facts.histories, **histories},
        )


def _image(tag: str) -> Image:
    return Image(f"sha256:{sha256(tag.encode()).hexdigest()}", platforms=("linux/amd64",))


def _known(mix: Mix) -> Facts:
    """What is remembered of tags that were there before."""
    if mix.seen is None:
        return Facts()
    since = NOW - mix.seen
    return Facts(
        built={tag: since + timedelta(seconds=i) for i, tag in enumerate((mix.current, *mix.tags))},
        seen={
            tag: Sighting(_image(tag).digest, since)
            for tag in (mix.tags if mix.looked_at is None else mix.looked_at)
        },
    )


def _workload(mix: Mix) -> Workload:
    keys = "".join(f"    {line}\n" for line in mix.policy)
    text = f"version: 1\nworkloads:\n  app:\n    image: {IMAGE}\n{keys}"
    policies = parse_policies({"policies/app.yaml": text})
    assert not policies.problems, policies.problems
    (workload,) = policies.workloads
    assert isinstance(workload, Workload)
    return workload


def _site(tag: str) -> Site:
    text = f"kind: Pod\nspec:\n  containers: [{{name: app, image: {IMAGE}:{tag}}}]\n"
    (site,) = locate(text, "app.yaml").sites
    return site.at("apps/a.yaml")


def _is(answer: Release | Stay, expected: str) -> bool:
    if isinstance(answer, Release):
        return expected in (answer.tag, "released")
    return answer.reason.code == expected


# -- measuring ----------------------------------------------------------------------------------------


def rows(runs: int) -> Iterator[Row]:
    """Every mix, decided and read in turn."""
    for mix in MIXES:
        yield measured(mix, runs)


def measured(mix: Mix, runs: int) -> Row:
    """One mix. Raises AssertionError where the decision is another one than it should be."""
    workload, sites, facts = _workload(mix), (_site(mix.current),), _known(mix)
    body, other = json.dumps(mix.tags), json.dumps(mix.read or mix.tags)
    ours, limit, rounds = [], [], 0
    for _ in range(runs):
        tags = TagList(workload.repository, tuple(json.loads(body)), NOW, "")
        world = World(tags, sites, facts)
        answers: list[Release | Stay] = []
        ours.append(_seconds(lambda world=world, answers=answers: answers.append(world.decide(workload))))
        assert _is(answers[0], mix.answer), f"{mix.name}: {answers[0]}"
        rounds = world.rounds
        texts = json.loads(other)
        limit.append(_seconds(lambda texts=texts: _read_by_semver(texts)))
    return Row(mix, min(ours), min(limit), rounds)


def _seconds(work: Callable[[], object]) -> float:
    gc.collect()  # what was left by the run before is not this one's
    began = time.process_time()
    work()
    return time.process_time() - began


def _read_by_semver(tags: Sequence[str]) -> None:
    parse = semver.Version.parse
    for tag in tags:
        try:  # noqa: SIM105 - `suppress` costs as much as the reading
            parse(tag)
        except ValueError:
            pass


# -- printing -----------------------------------------------------------------------------------------

HEAD = "| tags | policy | ms | ms of python-semver | ratio | target | rounds |\n|---|---|---|---|---|---|---|"


def line(row: Row) -> str:
    """The row of the printed table."""
    policy = ", ".join(f"`{key}`" for key in row.mix.policy)
    target = f"{TARGET:g} MISSED" if row.missed else f"{TARGET:g}"
    cells = (row.mix.name, policy.replace("|", "\\|"), f"{1000 * row.ours:.1f}", f"{1000 * row.limit:.1f}")
    return f"| {' | '.join(cells)} | {row.ratio:.2f} | {target} | {row.rounds} |"


def plain(row: Row) -> dict[str, object]:
    """The row as JSON values."""
    return {
        "mix": row.mix.name,
        "tags": len(row.mix.tags),
        "seconds": row.ours,
        "limit": row.limit,
        "ratio": row.ratio,
        "target": TARGET,
        "rounds": row.rounds,
    }
