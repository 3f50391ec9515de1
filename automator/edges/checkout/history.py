"""Who changed which file when: git's log over many paths, read in one process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from automator.core.history import FileChange
from automator.edges.checkout.git import Git
from automator.edges.checkout.line import Line
from automator.edges.checkout.reading import Failed, decode_path, encode_path, raw_entries
from automator.edges.checkout.sides import read_graph

DEFAULT_LIMIT = 10_000
"""Commits that one question looks through at most."""

_FIELDS = "%H%x00%P%x00%ct%x00%an%x00%B"
_ARGUMENTS = 100_000
"""Characters of paths that a command is started with."""
_RAW = ("--raw", "-z", "--no-renames", "--no-abbrev", "--encoding=UTF-8", f"--format=tformat:{_FIELDS}")
_STEP = "reading history"
_MERGED_READ = 50
"""Commits on a merged branch, the newest ones that claim to be ours, whose messages are read at most."""


@dataclass(frozen=True, slots=True)
class FileLog:
    """The changes of some files on a branch's first-parent line, newest first."""

    changes: tuple[FileChange, ...]
    complete: bool
    """Whether nothing older was left out, by the limit or because the clone does not reach back."""
    cut: bool = False
    """Whether the limit left something out; which of the paths it concerns is not told."""


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One commit."""

    commit: str
    author: str
    time: datetime
    """Committer time, UTC."""
    message: str
    parents: tuple[str, ...]


def read_file_log(
    git: Git,
    commit: str,
    paths: Sequence[str],
    *,
    since: str | None,
    limit: int,
    shallow: frozenset[str],
    line: Line | None = None,
) -> FileLog:
    """The commits of the branch up to `commit` that changed one of `paths`: those of its first-parent line,
    or of `line` where pulls turned it round.

    A commit of `shallow` looks as if it had added every file: what it says is dropped.
    """
    asked = [f"^{since}", commit] if since else [commit]
    plain = sorted({path for path in paths if path and "\n" not in path})
    if not plain:
        return FileLog((), complete=True)
    if line is None:
        command = [
            "log",
            "--first-parent",
            "--diff-merges=first-parent",
            f"--max-count={limit + 1}",
            "--stdin",
        ]
        feed = [*map(str.encode, asked), b"--", *map(encode_path, plain)]
        after: list[str] = []
    else:
        command = ["diff-tree", "-r", "--root", "--stdin"]
        feed = [f"{tip.commit} {tip.before or ''}".strip().encode("ascii") for tip in line]
        # git takes these paths as arguments alone, of which there is room for a few thousand.
        after = ["--", *plain] if sum(map(len, plain)) < _ARGUMENTS else []
    answer = git.run(
        _STEP,
        *("--literal-pathspecs", *command, *_RAW, *after),
        feed=b"".join(words + b"\n" for words in feed),
    )
    if answer.status:
        raise Failed(_STEP, answer.words)
    found = list(_entries(answer.out))
    asked_for = frozenset(plain)
    beside = frozenset(tip.commit for tip in line or () if tip.beside)
    merged = _merged(git, [entry for entry, _ in found[:limit]], since, line)
    changes = tuple(
        change
        for entry, raw in found[:limit]
        if entry.commit not in shallow
        for change in _changes(entry, raw, merged.get(entry.commit, ""), beside=entry.commit in beside)
        if change.path in asked_for  # git takes a path for a folder, too, where it is one
    )
    cut = len(found) > limit
    short = cut or any(entry.commit in shallow for entry, _ in found)
    if line is not None:
        short = short or not shallow.isdisjoint(tip.commit for tip in line)
        return FileLog(changes, complete=not short, cut=cut)
    return FileLog(changes, complete=not short and not _meets(git, asked, shallow), cut=cut)


def read_commit_changes(git: Git, commits: Sequence[str], shallow: frozenset[str]) -> tuple[FileChange, ...]:
    """All that commits changed against their first parents, in any file."""
    asked = [commit for commit in commits if commit not in shallow]
    if not asked:
        return ()
    answer = git.run(
        _STEP,
        *("log", "--no-walk=unsorted", "--diff-merges=first-parent", *_RAW, "--stdin"),
        feed="".join(f"{commit}\n" for commit in asked).encode("ascii"),
    )
    if answer.status:
        raise Failed(_STEP, answer.words)
    return tuple(change for entry, raw in _entries(answer.out) for change in _changes(entry, raw, ""))


def _merged(git: Git, entries: Sequence[LogEntry], since: str | None, line: Line | None) -> dict[str, str]:
    """Merge -> messages of the commits that it merged and that claim to be ours, the oldest first: what the
    branch had already, brought up to date there, is none of them."""
    ways = {tip.commit: (tip.before, tip.merged) for tip in line or ()}
    merges: dict[str, tuple[str, tuple[str, ...]]] = {}
    for entry in entries:
        before, others = ways.get(entry.commit, (next(iter(entry.parents), None), entry.parents[1:]))
        if before is not None and others:
            merges[entry.commit] = before, others
    if not merges:
        return {}
    # Everything that a later merge brought is beyond what the branch was at before the first one.
    begin = since if line is not None else list(merges.values())[-1][0]
    sides = {tip for before, others in merges.values() for tip in (before, *others)}
    graph = read_graph(git, [*((f"^{begin}",) if begin else ()), *sorted(sides)])
    messages = {}
    for merge, (before, others) in merges.items():
        brought = frozenset(c for tip in others for c in graph.sides(before, tip)[1])
        claims = [graph.claims[c] for c in graph.newest_first(brought) if c in graph.claims][:_MERGED_READ]
        messages[merge] = "\n\n".join(reversed(claims))
    return messages


def read_log(git: Git, commit: str, *, limit: int, grep: str | None) -> Iterator[LogEntry]:
    """The first-parent commits up to `commit`, newest first; with `grep`, those that mention it."""
    answer = git.run(
        _STEP,
        "log",
        *("--first-parent", "--no-patch", "-z", "--encoding=UTF-8", f"--format=tformat:{_FIELDS}"),
        *(f"--max-count={limit}", *(("--fixed-strings", f"--grep={grep}") if grep else ())),
        *("--end-of-options", commit, "--"),
    )
    if answer.status:
        raise Failed(_STEP, answer.words)
    for entry, _ in _entries(answer.out):
        yield entry


def _entries(out: bytes) -> Iterator[tuple[LogEntry, tuple[tuple[bytes, bytes], ...]]]:
    """Each commit of a log with its raw lines, as (line, path).

    With `-z` everything ends in NUL: five fields, then pairs of `:modes oids status` and path. A
    commit's id never begins with a colon, and no field can hold a NUL.
    """
    tokens = out.split(b"\0")
    at = 0
    while at + 5 <= len(tokens):
        commit, parents, seconds, author, message = tokens[at : at + 5]
        at += 5
        raw = []
        while at + 1 < len(tokens) and tokens[at].lstrip(b"\n").startswith(b":"):
            raw.append((tokens[at], tokens[at + 1]))
            at += 2
        entry = LogEntry(
            commit=commit.decode("ascii").strip(),
            author=author.decode("utf-8", "replace"),
            time=_moment(seconds),
            message=message.decode("utf-8", "replace"),
            parents=tuple(parents.decode("ascii").split()),
        )
        yield entry, tuple(raw)


def _moment(seconds: bytes) -> datetime:
    """A commit's time; a nonsensical one (git stores any number) counts as the epoch's beginning."""
    try:
        return datetime.fromtimestamp(int(seconds), UTC)
    except (ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(0, UTC)


def _changes(
    entry: LogEntry, raw: Sequence[tuple[bytes, bytes]], merged: str, *, beside: bool = False
) -> Iterator[FileChange]:
    for head, path in raw:
        before, after = raw_entries(head)
        yield FileChange(
            commit=entry.commit,
            author=entry.author,
            time=entry.time,
            message=entry.message,
            path=decode_path(path),
            # A submodule's id is no blob of this repository: for the file's history there was no file.
            before=before.oid if before and before.is_file else None,
            after=after.oid if after and after.is_file else None,
            merged=merged,
            beside=beside,
        )


def _meets(git: Git, asked: Sequence[str], shallow: frozenset[str]) -> bool:
    """Whether the first-parent line ends where the clone does, rather than at a first commit."""
    if not shallow:
        return False
    answer = git.run(
        _STEP,
        *("rev-list", "--first-parent", "--max-parents=0", "--stdin"),
        feed="".join(f"{revision}\n" for revision in asked).encode(),
    )
    if answer.status:
        raise Failed(_STEP, answer.words)
    return not shallow.isdisjoint(answer.out.decode("ascii").split())
