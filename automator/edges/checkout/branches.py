"""Branches beside ours: what one of them holds, read in a clone of its own that is thrown away.

Fetched into the clone itself, a branch of an older base would bring all the history that the shallow
clone was made to avoid, and a limit on its depth would cut off what is there.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from automator.edges.checkout.git import Answer, Git
from automator.edges.checkout.reading import Failed, TreeChange, read_blobs, read_changes
from automator.edges.checkout.releaselog import LoggedCommit, stream_log

DEPTH = 3
"""The newest commit, the one below it where that merges the base, and that one's parent."""
TEXT_LIMIT = 1 << 20
_STEP = "looking at a branch"


@dataclass(frozen=True, slots=True)
class BranchFile:
    """One file that the branch changes; None where it is not there."""

    path: str
    before: str | None
    """Blob id."""
    after: str | None
    before_text: str | None
    """None for what is not there, no text, or too large."""
    after_text: str | None


@dataclass(frozen=True, slots=True)
class BranchLook:
    """The newest commit of a branch that is no merge of the base, and whether it is all there is."""

    commit: LoggedCommit
    files: tuple[BranchFile, ...]
    is_alone: bool
    """Whether the branch changes the base by what this commit does and nothing else, as far as is seen."""


def look_at(
    git: Git,
    clone: Path,
    tip: str,
    speak: Callable[..., Answer],
    *,
    url: str,
    ref: str,
) -> BranchLook | None:
    """What a branch holds; None where it is not at `tip` any more. `git` is one whose folder is free.

    Raises Failed, and what `speak` raises.
    """
    shutil.rmtree(git.folder, ignore_errors=True)
    try:
        kind = ("--object-format=sha256",) if len(tip) == 64 else ()
        _must(git.run(_STEP, "init", "--quiet", "--bare", "--template=", *kind, str(git.folder)))
        alternates = git.folder / "objects" / "info" / "alternates"
        alternates.parent.mkdir(parents=True, exist_ok=True)
        alternates.write_text(f"{clone / 'objects'}\n", "utf-8", "surrogateescape")
        options = ("--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules")
        answer = speak(
            _STEP,
            *("fetch", *options, "--no-auto-maintenance", f"--depth={DEPTH}", url),
            f"+{ref}:refs/heads/seen",
            folder=git.folder,
        )
        if answer.status and "couldn't find remote ref" in answer.words:
            return None
        _must(answer)
        return _read(git, tip)
    finally:
        shutil.rmtree(git.folder, ignore_errors=True)


def _read(git: Git, tip: str) -> BranchLook | None:
    line = list(stream_log(git, "refs/heads/seen", limit=2))
    if not line or line[0].commit != tip:
        return None
    commit, is_alone = line[0], len(line[0].parents) == 1
    if len(commit.parents) == 2 and len(line) == 2 and len(line[1].parents) == 1:
        # Somebody brought the base in: alone, where the result differs from the base as our commit did.
        against_base = read_changes(git, commit.parents[1], commit.commit)
        commit = line[1]
        is_alone = _ends(against_base) == _ends(tuple(commit.changes()))
    changes = tuple(commit.changes())
    oids = [e.oid for c in changes for e in (c.before, c.after) if e is not None and e.is_file]
    blobs = dict(read_blobs(git, dict.fromkeys(oids), TEXT_LIMIT)) if len(oids) <= 1000 else {}
    return BranchLook(commit, tuple(_file(change, blobs) for change in changes), is_alone)


def _ends(changes: tuple[TreeChange, ...]) -> dict[str, object]:
    return {change.path: change.after for change in changes}


def _file(change: TreeChange, blobs: dict[str, bytes | None]) -> BranchFile:
    ids = [e.oid if e is not None and e.is_file else None for e in (change.before, change.after)]
    texts = [None if oid is None or (data := blobs.get(oid)) is None else _text(data) for oid in ids]
    return BranchFile(change.path, *ids, *texts)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _must(answer: Answer) -> None:
    if answer.status:
        raise Failed(_STEP, answer.words)
