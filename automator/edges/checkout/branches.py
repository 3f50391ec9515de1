"""Branches beside ours: what one of them holds, read in a clone of its own that is thrown away.

Fetched into the clone itself, a branch of an older base would bring all the history that the shallow
clone was made to avoid, and a limit on its depth would cut off what is there.
"""

from __future__ import annotations

import contextlib
import itertools
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from automator.edges.checkout.git import Answer, Git
from automator.edges.checkout.reading import Failed, TreeChange, read_blobs, read_changes
from automator.edges.checkout.releaselog import LoggedCommit, stream_log

MERGES = 8
"""Merges of the base that are looked through, the newest."""
DEPTH = MERGES + 2
"""Those, the commit below them, and that one's parent."""
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
    """The newest commit of a branch that is no merge, and what was merged into the branch after it."""

    commit: LoggedCommit
    committer: tuple[str, str]
    """Name and mail of who committed it."""
    files: tuple[BranchFile, ...]
    """What it changed."""
    is_alone: bool
    """Whether nothing but merges is above it, of one commit each, and it is no merge itself."""
    merged: tuple[str, ...] = ()
    """The commits that were merged into the branch, the newest first."""
    brought: tuple[BranchFile, ...] = ()
    """What the branch changes of the newest of those; as `files` where nothing was merged."""


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
        # Where the clone's history ends, git must not look for more.
        with contextlib.suppress(FileNotFoundError):
            shutil.copyfile(clone / "shallow", git.folder / "shallow")
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
    line = list(stream_log(git, "refs/heads/seen", limit=MERGES + 1))
    if not line or line[0].commit != tip:
        return None
    merges = tuple(itertools.takewhile(lambda commit: len(commit.parents) == 2, line))
    commit = line[min(len(merges), len(line) - 1)]
    merged = tuple(merge.parents[1] for merge in merges)
    own = tuple(commit.changes())
    # What was merged is no news on the branch: the rest is, in whichever commit it came.
    changes = read_changes(git, merged[0], tip) if merged else own
    oids = [e.oid for c in (*own, *changes) for e in (c.before, c.after) if e is not None and e.is_file]
    blobs = dict(read_blobs(git, dict.fromkeys(oids), TEXT_LIMIT)) if len(oids) <= 2000 else {}
    files, brought = (tuple(_file(change, blobs) for change in of) for of in (own, changes))
    return BranchLook(
        commit, _committer(git, commit.commit), files, len(commit.parents) == 1, merged, brought
    )


def _committer(git: Git, commit: str) -> tuple[str, str]:
    answer = git.run(_STEP, "log", "-1", "--no-mailmap", "--encoding=UTF-8", "--format=%cn%x00%ce", commit)
    _must(answer)
    name, _, mail = answer.out.decode("utf-8", "replace").strip("\n").partition("\0")
    return name, mail


def _file(change: TreeChange, blobs: dict[str, bytes | None]) -> BranchFile:
    ids = [e.oid if e is not None and e.is_file else None for e in (change.before, change.after)]
    texts = [None if oid is None or (data := blobs.get(oid)) is None else _text(data) for oid in ids]
    return BranchFile(change.path, *ids, *texts)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _must(answer: Answer) -> None:
    if answer.status:
        raise Failed(_STEP, answer.words)
