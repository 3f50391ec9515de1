"""The sides of merges: which commits only one parent of a merge has, found in one reading of the log."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from automator.edges.checkout.git import Git
from automator.edges.checkout.reading import Failed

_STEP = "reading history"
_LOOKED_THROUGH = 200_000
"""Commits that are looked through at most to tell the sides of merges apart."""
_COMMITS = 100_000
"""Commits that are read at most."""
_MARK = b"release-format:"
"""What a message of ours has in it, however a squash spelled it."""


@dataclass
class Graph:
    """Commits, and which of them claim to be ours."""

    parents: Mapping[str, list[str]]
    """Newest first, and none before its children."""
    claims: Mapping[str, str]
    """Commit -> message, of those that claim to be ours."""
    _places: Mapping[str, int] = field(init=False)
    _left: int = _LOOKED_THROUGH

    def __post_init__(self) -> None:
        self._places = {commit: i for i, commit in enumerate(self.parents)}

    def sides(
        self, first: str, second: str, *, to_the_end: bool = False
    ) -> tuple[frozenset[str], frozenset[str]]:
        """What only the first of two commits has, and what only the second one, with themselves; both are
        empty where that takes too long to find out. Of commits behind those read it is told `to_the_end`."""
        sides = {first: 1}
        sides[second] = sides.get(second, 0) | 2
        waiting = [(self._places[commit], commit) for commit in sides if commit in self._places]
        heapq.heapify(waiting)
        apart = sum(sides[commit] != 3 for _, commit in waiting)
        while waiting and (apart or to_the_end):
            self._left -= 1
            if self._left < 0:
                return frozenset(), frozenset()
            _, commit = heapq.heappop(waiting)
            side = sides[commit]
            apart -= side != 3
            for parent in self.parents[commit]:
                before = sides.get(parent, 0)
                sides[parent] = both = before | side
                if parent in self._places and not before:
                    heapq.heappush(waiting, (self._places[parent], parent))
                    apart += both != 3
                elif parent in self._places and before != both == 3:
                    apart -= 1
        one, other = (frozenset(c for c, side in sides.items() if side == n) for n in (1, 2))
        return one, other

    def newest_first(self, commits: frozenset[str]) -> list[str]:
        """Those of commits that were read."""
        return sorted(commits & self._places.keys(), key=self._places.__getitem__)


def read_graph(git: Git, asked: Sequence[str]) -> Graph:
    """The commits of a log; `asked` are revisions, as git-rev-list reads them."""
    tokens = read_fields(
        git, asked, "--topo-order", f"--max-count={_COMMITS}", "--format=tformat:%H%x00%P%x00%B"
    )
    parents: dict[str, list[str]] = {}
    claims = {}
    for commit, ids, message in zip(tokens[::3], tokens[1::3], tokens[2::3], strict=False):
        name = commit.decode("ascii").strip()
        parents[name] = ids.decode("ascii").split()
        if _MARK in message.lower():
            claims[name] = message.decode("utf-8", "replace")
    return Graph(parents, claims)


def read_fields(git: Git, asked: Sequence[str], *options: str) -> list[bytes]:
    """What a log tells of commits, where everything ends in NUL."""
    feed = "".join(f"{revision}\n" for revision in asked).encode("ascii")
    answer = git.run(_STEP, "log", "--no-patch", "-z", "--encoding=UTF-8", *options, "--stdin", feed=feed)
    if answer.status:
        raise Failed(_STEP, answer.words)
    return answer.out.split(b"\0")
