"""The branch's line: which commit the branch was at before each commit.

Usually that is a commit's first parent. Who runs `git pull` with work of their own and pushes the merge
turns it round: the branch was at another one, and the first parents lead past whatever others had
pushed meanwhile, a revert for example. What was seen counts first: which side has a commit that the branch
was at. A merge that says that it merged another branch, or that a forge made it, is believed then; of the
rest, the side with releases of ours is the branch, and only last it is what the merge says.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from automator.edges.checkout.git import Git
from automator.edges.checkout.sides import Graph, read_fields, read_graph


class Tip(NamedTuple):
    """A commit that the branch was at."""

    commit: str
    before: str | None
    """Where the branch was before it: what it changed is told against that."""
    merged: tuple[str, ...]
    """What it merged; several where it merged several at once."""
    beside: bool = False
    """Whether the branch never was at it: it came with a merge that was made on top of it."""


Line = tuple[Tip, ...]
"""Newest first."""


@dataclass
class Lines:
    """Reads the branch's line, and remembers up to which commit no pull turned it round, so that a head costs
    a look at what it brought."""

    git: Git
    branch: str
    url: str
    """Of the config repo: a pull from elsewhere is none of the branch."""
    made_upon: Callable[[str, str], bool]
    """Whether all that came after a commit, up to another one, is our own."""
    is_ancestor: Callable[[str, str], bool]
    tips: frozenset[str] = frozenset()
    """Commits that the branch was at for sure."""
    _straight: tuple[str | None, frozenset[str]] = (None, frozenset())
    """Up to which commit, and where the clone ended then."""

    def up_to(self, commit: str, since: str | None, shallow: frozenset[str]) -> Line | None:
        """The line up to a commit, after `since`, where pulls turned it round; else None."""
        known, ends = self._straight
        if ends != shallow:
            known = None
        if known == commit:
            return None
        if since is not None and self.made_upon(commit, since):
            line = None
        elif since is None and known is not None and self.is_ancestor(known, commit):
            line = self._read(commit, known)
            if line is not None:
                return self._read(commit, None)
            since = known
        else:
            line = self._read(commit, since)
        if line is None and since in (None, known):
            self._straight = commit, shallow
        return line

    def _read(self, commit: str, since: str | None) -> Line | None:
        tips = self.tips if since is None else self.tips | {since}
        return read_line(self.git, commit, since, Branch(self.branch, self.url, tips))


class Branch(NamedTuple):
    """What is known of a branch."""

    name: str
    url: str
    tips: frozenset[str]
    """Commits that it was at."""


class _Merge(NamedTuple):
    commit: str
    parents: tuple[str, ...]
    subject: str


_Pulls = Mapping[str, int]
"""Merges that turned the branch round, and which of their parents it was at."""


def read_line(git: Git, commit: str, since: str | None, branch: Branch) -> Line | None:
    """The branch's line up to a commit, after `since`, where pulls turned it round; None where it is the
    first parents' alone.

    What the first parents tell beside the line (work that somebody did before they pulled) is in it too,
    right behind the merge that brought it: whoever pulls must not hide anything by it.
    """
    asked = [f"^{since}", commit] if since else [commit]
    merges = _merges(git, asked)
    seen = {m.commit: [i for i, parent in enumerate(m.parents) if parent in branch.tips] for m in merges}
    turned = {name: at[0] for name, at in seen.items() if len(at) == 1 and at[0] > 0}
    unclear = [m for m in merges if len(seen[m.commit]) != 1]
    if not turned and not unclear:
        return None
    graph = read_graph(git, asked)
    pulls = turned | _turned(unclear, graph, branch, to_the_end=since is not None)
    if not pulls:
        return None
    line = list(_walk(commit, graph.parents, pulls, frozenset()))
    on_it = frozenset(line)
    found: dict[str, None] = {}
    for tip in line:
        found[tip] = None
        if tip in pulls:
            found.update(dict.fromkeys(_walk(graph.parents[tip][0], graph.parents, pulls, on_it)))
    return tuple(_tip(tip, graph.parents, pulls, beside=tip not in on_it) for tip in found)


def _walk(start: str, parents: Mapping[str, list[str]], pulls: _Pulls, stop: frozenset[str]) -> Iterator[str]:
    at: str | None = start
    while at is not None and at in parents and at not in stop:
        yield at
        at = _before(at, parents, pulls)


def _before(commit: str, parents: Mapping[str, list[str]], pulls: _Pulls) -> str | None:
    ids = parents[commit]
    return ids[pulls.get(commit, 0)] if ids else None


def _tip(commit: str, parents: Mapping[str, list[str]], pulls: _Pulls, *, beside: bool) -> Tip:
    before = _before(commit, parents, pulls)
    return Tip(commit, before, tuple(parent for parent in parents[commit] if parent != before), beside)


# -- which parent it was ---------------------------------------------------------------------------

_FORGE = re.compile(
    r"Merge pull request |Merged in |Merged PR |Merge branch '.*' into '.*'|Merge '.*' into '.*'",
    re.IGNORECASE,
)
"""What forges write when they merge into the branch; in quotes, unlike git, where to."""


_NAMED = re.compile(r"Merge (?:branch '([^']+)'|remote-tracking branch '[^'/]+/([^']+)')(?!,)")
"""What git writes when it merges a single branch that has a name."""


def _turned(merges: Sequence[_Merge], graph: Graph, branch: Branch, *, to_the_end: bool) -> dict[str, int]:
    """The merges of which another parent than the first was the branch, and which one."""
    name = re.escape(branch.name)
    pull = re.compile(
        rf"Merge (?:branch '{name}'|remote-tracking branch '[^'/]+/{name}')(?: of (\S+))?(?: into [^'].*)?"
    )

    def is_rather(merge: _Merge, one: str, other: str) -> bool:
        """Whether the branch was at the other one of two parents."""
        first, second = graph.sides(one, other, to_the_end=to_the_end)
        seen = bool(second & branch.tips) - bool(first & branch.tips)
        if seen or _FORGE.match(merge.subject):
            return seen > 0
        of, is_single = _NAMED.match(merge.subject), len(merge.parents) == 2
        if of is not None and is_single and (of[1] or of[2]) != branch.name:
            return False
        # A branch that was merged ends with its release; after one on the branch, more was pushed.
        ours = not graph.claims.keys().isdisjoint(first)
        theirs = not graph.claims.keys().isdisjoint(second - {other})
        said = pull.fullmatch(merge.subject) if is_single else None
        if theirs != ours or said is None:
            return theirs and not ours
        return said[1] is None or _place(said[1]) == _place(branch.url)

    found = {}
    for merge in merges:
        at = 0
        for i, parent in enumerate(merge.parents):
            if i and is_rather(merge, merge.parents[at], parent):
                at = i
        if at:
            found[merge.commit] = at
    return found


def _place(url: str) -> tuple[str, ...]:
    """Owner and name of a repository, however it is reached; git leaves `.git` out in messages."""
    path = re.sub(r"^(?:[a-z+]+://[^/]*|[^/:]+:)", "", url.rstrip("/"), flags=re.IGNORECASE)
    return tuple(path.removesuffix(".git").casefold().strip("/").split("/")[-2:])


# -- asking git ------------------------------------------------------------------------------------


def _merges(git: Git, asked: Sequence[str]) -> list[_Merge]:
    tokens = read_fields(git, asked, "--merges", "--format=tformat:%H%x00%P%x00%s")
    found = []
    for commit, parents, subject in zip(tokens[::3], tokens[1::3], tokens[2::3], strict=False):
        ids = tuple(parents.decode("ascii").split())
        found.append(_Merge(commit.decode("ascii").strip(), ids, subject.decode("utf-8", "replace")))
    return found
