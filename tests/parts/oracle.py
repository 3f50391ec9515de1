"""An oracle for histories: what may be released at the end of a branch, told without the code under test.

It reads Git's objects by one process of Git's own and finds versions by one regular expression. What it
knows is the list of tips that the branch had, what is in the registry, and which pull requests were closed.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from parts.gitserver import git
from ruamel.yaml import YAML

RANGES = {">=1.0 <2": (0, 99), ">=1.0 <1.2": (0, 1)}
"""Range -> the minor versions that are in it, first and last."""
CONTEST = 5
"""Stays, the present one with it, in which a field must go back and forth to be left alone."""
FOLLOWED = "stable"

Rank = Any
"""What versions are compared by: numbers, or a build time."""


class Load(NamedTuple):
    """One workload, and what is special about it."""

    name: str
    sites: tuple[str, ...]
    order: str = "semver"
    """`semver`, `newest`, or `follow` of the tag `stable`."""
    group: str | None = None
    age: timedelta | None = None
    """Its `min_age`."""
    proposed: bool = False
    """Whether it is delivered by pull request."""


class Built(NamedTuple):
    """What a tag stands for in the registry."""

    created: datetime
    pushed: datetime
    digest: str


class Stay(NamedTuple):
    """What a site held without a break, and the commit that brought it."""

    version: str
    commit: str


def numbers(tag: str) -> tuple[int, ...] | None:
    """Where a tag stands among versions; None for what is none."""
    found = re.fullmatch(r"(\d+)\.(\d+)\.(\d+)", tag)
    return None if found is None else tuple(map(int, found.groups()))


class Objects:
    """Git's objects, read by one process; ended by `close`."""

    def __init__(self, repo: Path) -> None:
        command = ["git", "-C", str(repo), "cat-file", "--batch"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._read: dict[str, bytes] = {}

    def close(self) -> None:
        self._process.communicate()

    def get(self, name: str) -> bytes:
        if name not in self._read:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.write(name.encode() + b"\n")
            self._process.stdin.flush()
            head = self._process.stdout.readline().split()
            assert head[1:2] != [b"missing"], f"no object {name}"
            self._read[name] = self._process.stdout.read(int(head[2]))
            self._process.stdout.read(1)
        return self._read[name]

    def header(self, commit: str, key: str) -> list[str]:
        """The tree or the parents of a commit."""
        lines = self.get(commit).partition(b"\n\n")[0].decode().splitlines()
        return [line.partition(" ")[2] for line in lines if line.startswith(f"{key} ")]

    def message(self, commit: str) -> str:
        return self.get(commit).partition(b"\n\n")[2].decode()

    def files(self, tree: str, folder: str = "") -> dict[str, str]:
        """Every file below a tree."""
        found: dict[str, str] = {}
        data = self.get(tree)
        while data:
            mode, _, data = data.partition(b" ")
            name, _, data = data.partition(b"\0")
            one, data = data[:20].hex(), data[20:]
            path = folder + name.decode()
            if mode == b"40000":
                found |= self.files(one, f"{path}/")
            else:
                found[path] = self.get(one).decode()
        return found


@dataclass
class Model:
    """The branch as a list of tips, oldest first, and what may happen at its end."""

    repo: Path
    objects: Objects
    loads: tuple[Load, ...]
    line: list[str] = field(default_factory=list)
    tags: dict[str, dict[str, Built]] = field(default_factory=dict)
    """By workload, what the registry serves."""
    closed: dict[int, str] = field(default_factory=dict)
    """By number, the version of each pull request that a person closed."""
    _files: dict[str, dict[str, str]] = field(default_factory=dict)
    _claims: dict[str, str] = field(default_factory=dict)

    # -- what is written -------------------------------------------------------------------------------

    @property
    def tip(self) -> str:
        return self.line[-1]

    def files(self, commit: str) -> dict[str, str]:
        """Every file of a commit."""
        if commit not in self._files:
            (tree,) = self.objects.header(commit, "tree")
            self._files[commit] = self.objects.files(tree)
        return self._files[commit]

    def place(self, load: Load, site: str, commit: str) -> tuple[str, re.Match[str]]:
        """The file of a site, and its image there: groups `tag` and `digest`."""
        shape = site_shape(load.name, site)
        found = [(file, m) for file, text in self.files(commit).items() if (m := shape.search(text))]
        assert len(found) == 1, f"{site} is {len(found)} times in {commit}"
        return found[0]

    def version(self, load: Load, site: str, commit: str) -> str:
        """What a site holds: a tag, or the digest of a followed one (empty where none is written)."""
        _, match = self.place(load, site, commit)
        return str((match["digest"] or "") if load.order == "follow" else match["tag"])

    def versions(self, load: Load, commit: str) -> tuple[str, ...]:
        """Of each of its sites."""
        return tuple(self.version(load, site, commit) for site in load.sites)

    def current(self, load: Load, commit: str) -> str:
        """The highest of its sites."""
        held = self.versions(load, commit)
        known = [version for version in held if self.rank(load, version) is not None]
        return max(known, key=lambda version: self.rank(load, version)) if known else held[0]

    def rank(self, load: Load, version: str) -> Rank | None:
        """Where a version stands; None for what nothing tells of, and for digests."""
        if load.order == "semver":
            return numbers(version)
        built = self.tags[load.name].get(version)
        return built.created if built is not None and load.order == "newest" else None

    def policy(self, load: Load, commit: str) -> Mapping[str, Any]:
        told = _yaml(self.files(commit)[f"policies/{load.name}.yaml"])
        return dict(told["workloads"][load.name])

    def accepts(self, load: Load, version: str, commit: str) -> bool:
        """Whether the policy of a commit lists a version under `accept`."""
        return version in self.policy(load, commit).get("accept", ())

    def accepted(self, load: Load, line: list[str]) -> set[str]:
        """What people take whatever happened to it, but for what they turned away after they had said so."""
        listed = self.policy(load, line[-1]).get("accept", ())
        return {v for v in listed if not any(self._was_left_since(load, v, s, line) for s in load.sites)}

    def _was_left_since(self, load: Load, version: str, site: str, line: list[str]) -> bool:
        own = self.rank(load, version)

        def is_up(stay: Stay) -> bool:
            rank = self.rank(load, stay.version)
            return stay.version == version or (rank is not None and own is not None and rank >= own)

        stays = self.stays(load, site, line)
        last = max((i for i, stay in enumerate(stays) if is_up(stay)), default=len(stays) - 1)
        if last == len(stays) - 1:
            return False
        left = stays[last + 1].commit
        since = line[line.index(left) :]
        return not self.is_automatic(load, left) and all(self.accepts(load, version, one) for one in since)

    def is_stopped(self, load: Load, commit: str) -> bool:
        """Whether a person holds the workload, or froze the config repo."""
        return "hold" in self.policy(load, commit) or any("_freeze" in file for file in self.files(commit))

    # -- whose it is -----------------------------------------------------------------------------------

    def claims(self, commit: str) -> str:
        """What a commit of the branch says, and all that it merged."""
        if commit not in self._claims:
            said = [self.objects.message(commit)]
            parents = self.objects.header(commit, "parent")
            if len(parents) > 1:
                merged = git(self.repo, "rev-list", parents[1], f"^{parents[0]}").splitlines()
                said += [self.objects.message(one) for one in merged]
            self._claims[commit] = "\n".join(said)
        return self._claims[commit]

    def is_ours(self, load: Load, commit: str) -> bool:
        said = re.search(rf"^\s*Release-Workload: {load.name}$", self.claims(commit), re.MULTILINE)
        return said is not None

    def is_automatic(self, load: Load, commit: str) -> bool:
        return self.is_ours(load, commit) and "Release-Actor:" not in self.claims(commit)

    def is_asked_for(self, load: Load, commit: str) -> bool:
        """Whether a person asked for it by a command, or by reverting."""
        if self.is_ours(load, commit):
            return not self.is_automatic(load, commit)
        words = self.objects.message(commit)
        return re.search(r"^This reverts (commit|merge request) ", words, re.MULTILINE) is not None

    # -- what people turned away -----------------------------------------------------------------------

    def stays(self, load: Load, site: str, line: Iterable[str]) -> list[Stay]:
        """What a site held, oldest first."""
        found: list[Stay] = []
        for commit in line:
            version = self.version(load, site, commit)
            if not found or found[-1].version != version:
                found.append(Stay(version, commit))
        return found

    def was_left(self, load: Load, line: list[str]) -> list[tuple[Rank, Rank]]:
        """For each site that stands below what it held once: where it stands, and where it was."""
        found = []
        for site in load.sites:
            known = (self.rank(load, stay.version) for stay in self.stays(load, site, line))
            ranks = [rank for rank in known if rank is not None]
            if ranks and max(ranks) > ranks[-1]:
                found.append((ranks[-1], max(ranks)))
        return found

    def fought_over(self, load: Load, line: list[str]) -> set[str]:
        """The two versions of a field that was set back and forth twice, by us alone each time on one side,
        and on the other by somebody who neither asked us for it nor reverted."""
        for site in load.sites:
            last = self.stays(load, site, line)[-CONTEST:]
            versions = [stay.version for stay in last]
            now, before = versions[-1], versions[-2] if len(versions) > 1 else versions[-1]
            if len(last) < CONTEST or _is_same(now, before):
                continue
            if not all(_is_same(v, (now, before)[i % 2]) for i, v in enumerate(reversed(versions))):
                continue
            movers = [stay.commit for stay in reversed(last[1:])]
            automatic = [self.is_automatic(load, commit) for commit in movers]
            asked = [self.is_asked_for(load, commit) for commit in movers]
            settled = asked[0] or all(asked[::2]) or all(asked[1::2])
            if not settled and (all(automatic[::2]) or all(automatic[1::2])):
                return {now, before}
        return set()

    # -- what may be released ----------------------------------------------------------------------------

    def unit(self, load: Load) -> tuple[Load, ...]:
        """The workloads that move with one."""
        if load.group is None:
            return (load,)
        return tuple(one for one in self.loads if one.group == load.group)

    def allowed(self, load: Load, line: list[str]) -> list[str]:
        """Versions that may be released on a branch, best first: the policy's, above what stands, and none
        that people turned away; for a member of a group, those that all of it may go to or are at."""
        unit = self.unit(load)
        if any(self.is_stopped(one, line[-1]) for one in unit):
            return []
        if load.order == "follow":
            return self._moved_on(load, line)
        own = {one.name: self._higher(one, line) for one in unit}
        if load.group is None:
            return own[load.name]
        if any(not self._may_stay(one, line) for one in unit if not self._offered(one, line)):
            return []
        found = set.intersection(*(set(own[one.name]) | self._here(one, line) for one in unit))
        found = {v for v in found if any(v in own[one.name] for one in unit)}
        return self._best_first(load, found)

    def _higher(self, load: Load, line: list[str]) -> list[str]:
        """For one workload by itself, with what people say."""
        accepted = self.accepted(load, line)
        left, now = self.was_left(load, line), self.rank(load, self.current(load, line[-1]))
        fought = self.fought_over(load, line)
        closed = [self.rank(load, tag) for tag in self.closed.values()] if load.proposed else []
        found = set()
        for tag in self._offered(load, line):
            rank = self.rank(load, tag)
            turned_away = bool(left) and min(low for low, _ in left) < rank <= max(high for _, high in left)
            turned_away = turned_away or any(rank <= one for one in closed)
            if (turned_away and tag not in accepted) or (fought and tag not in accepted - fought):
                continue
            found.add(tag)
        unknown = now is None and any(self.is_ours(load, commit) for commit in self._movers(load, line))
        differ = len(set(self.versions(load, line[-1]))) > 1
        first = not any(self.is_ours(load, commit) for commit in self._movers(load, line))
        return [] if unknown or (differ and first) else self._best_first(load, found)

    def _movers(self, load: Load, line: list[str]) -> list[str]:
        return [stay.commit for site in load.sites for stay in self.stays(load, site, line)]

    def _offered(self, load: Load, line: list[str]) -> list[str]:
        """What the policy has above the present version, whatever people did."""
        now = self.rank(load, self.current(load, line[-1]))
        found = set()
        for tag in self.tags[load.name]:
            rank = self.rank(load, tag)
            if not self._is_in_policy(load, tag, line[-1]):
                continue
            if now is not None and rank <= now:
                continue
            # A tag that says nothing of a version leaves the last one that did in force.
            known = (self.rank(load, s.version) for site in load.sites for s in self.stays(load, site, line))
            ranks = [one for one in known if one is not None]
            if now is None and ranks and rank < ranks[-1]:
                continue
            found.add(tag)
        return self._best_first(load, found)

    def _is_in_policy(self, load: Load, tag: str, commit: str) -> bool:
        policy, rank = self.policy(load, commit), self.rank(load, tag)
        if rank is None or tag in policy.get("reject", ()):
            return False
        if load.order == "newest":
            return True
        first, last = RANGES[policy["semver"]]
        return bool(first <= rank[1] <= last)

    def _may_stay(self, load: Load, line: list[str]) -> bool:
        return self._is_in_policy(load, self.current(load, line[-1]), line[-1])

    def _here(self, load: Load, line: list[str]) -> set[str]:
        return {self.current(load, line[-1])} if self._may_stay(load, line) else set()

    def _best_first(self, load: Load, tags: Iterable[str]) -> list[str]:
        return sorted(tags, key=lambda tag: self.rank(load, tag), reverse=True)

    def _moved_on(self, load: Load, line: list[str]) -> list[str]:
        """The digest that the followed tag has now, unless the site had it and left it."""
        digest = self.tags[load.name][FOLLOWED].digest
        accepted = self.accepted(load, line)
        (site,) = load.sites
        held = [stay.version for stay in self.stays(load, site, line)]
        if held[-1] == digest or (digest in held and digest not in accepted):
            return []
        fought = self.fought_over(load, line)
        return [] if fought and digest not in accepted - fought else [digest]


def site_shape(name: str, site: str) -> re.Pattern[str]:
    """The image of a site, in the file that has it."""
    image = rf"(?P<image>\S+/acme/{name})(?::(?P<tag>[\w.-]+))?(?:@(?P<digest>sha256:\w+))?(?=\s)"
    return re.compile(rf"name: {site},.*?image:\s*{image}", re.DOTALL)


def _is_same(one: str, other: str) -> bool:
    """A followed tag without a digest is no other version than the same with one."""
    return one == other or not one or not other


@cache
def _yaml(text: str) -> dict[str, dict[str, dict[str, object]]]:
    found: dict[str, dict[str, dict[str, object]]] = YAML(typ="safe").load(text)
    return found
