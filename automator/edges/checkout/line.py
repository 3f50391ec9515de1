"""The branch's line: which commit the branch was at before each commit.

Usually that is a commit's first parent. Who runs `git pull` with work of their own and pushes the merge
turns it round: the branch was at the second one, and the first parents lead past whatever others had
pushed meanwhile, a revert for example. Git writes such a merge a message that names the branch.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from automator.edges.checkout.git import Git
from automator.edges.checkout.reading import Failed

_STEP = "reading history"


class Tip(NamedTuple):
    """A commit that the branch was at."""

    commit: str
    before: str | None
    """Where the branch was before it: what it changed is told against that."""
    merged: str | None
    """What it merged; None where it is no merge."""


Line = tuple[Tip, ...]
"""Newest first."""


@dataclass
class Lines:
    """Reads the branch's line, and remembers up to which commit no pull turned it round, so that a head costs
    a look at what it brought."""

    git: Git
    branch: str
    made_upon: Callable[[str, str], bool]
    """Whether all that came after a commit, up to another one, is our own."""
    is_ancestor: Callable[[str, str], bool]
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
            line = read_line(self.git, [f"^{known}", commit], self.branch)
            if line is not None:
                return read_line(self.git, [commit], self.branch)
            since = known
        else:
            line = read_line(self.git, [f"^{since}", commit] if since else [commit], self.branch)
        if line is None and since in (None, known):
            self._straight = commit, shallow
        return line


def read_line(git: Git, asked: Sequence[str], branch: str) -> Line | None:
    """The branch's line where pulls turned it round; None where it is the first parents' alone.

    `asked` are revisions, as git-rev-list reads them. What the first parents tell beside the line (work
    that somebody did before they pulled) is in it too, right behind the merge that brought it: whoever
    writes a pull's message by hand must not hide anything by it.
    """
    pulls = _pulls(git, asked, branch)
    if not pulls:
        return None
    answer = git.run(_STEP, "rev-list", "--parents", "--stdin", feed=_lines(asked))
    if answer.status:
        raise Failed(_STEP, answer.words)
    parents = {ids[0]: ids[1:] for ids in map(str.split, answer.out.decode("ascii").splitlines())}
    (head,) = (revision for revision in asked if not revision.startswith("^"))
    line = list(_walk(head, parents, pulls, frozenset()))
    on_it = frozenset(line)
    found: dict[str, None] = {}
    for commit in line:
        found[commit] = None
        if commit in pulls:
            found.update(dict.fromkeys(_walk(parents[commit][0], parents, pulls, on_it)))
    return tuple(_tip(commit, parents, pulls) for commit in found)


def _walk(
    start: str, parents: Mapping[str, list[str]], pulls: frozenset[str], stop: frozenset[str]
) -> Iterator[str]:
    at: str | None = start
    while at is not None and at in parents and at not in stop:
        yield at
        at = _before(at, parents, pulls)


def _before(commit: str, parents: Mapping[str, list[str]], pulls: frozenset[str]) -> str | None:
    ids = parents[commit]
    return ids[1] if commit in pulls else next(iter(ids), None)


def _tip(commit: str, parents: Mapping[str, list[str]], pulls: frozenset[str]) -> Tip:
    before = _before(commit, parents, pulls)
    merged = (parent for parent in parents[commit] if parent != before)
    return Tip(commit, before, next(merged, None))


def _pulls(git: Git, asked: Sequence[str], branch: str) -> frozenset[str]:
    """Merges whose message says that they merged the branch itself into somebody's work.

    Where a forge merges a branch of the same name (from a fork), it writes the target in quotes:
    `Merge branch 'main' into 'main'`; that one is the other way round.
    """
    answer = git.run(
        _STEP,
        *("log", "--merges", "--max-parents=2", "--no-patch", "-z", "--encoding=UTF-8"),
        *("--format=tformat:%H%x00%s", "--stdin"),
        feed=_lines(asked),
    )
    if answer.status:
        raise Failed(_STEP, answer.words)
    name = re.escape(branch)
    pull = re.compile(
        rf"Merge (?:branch '{name}'|remote-tracking branch '[^'/]+/{name}')(?: of \S+)?(?: into [^'].*)?"
    )
    tokens = answer.out.decode("utf-8", "replace").split("\0")
    return frozenset(
        commit.strip()
        for commit, subject in zip(tokens[::2], tokens[1::2], strict=False)
        if pull.fullmatch(subject)
    )


def _lines(revisions: Sequence[str]) -> bytes:
    return "".join(f"{revision}\n" for revision in revisions).encode()
