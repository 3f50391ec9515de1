"""What a commit holds: its tree, the difference between two trees, the content of many blobs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from sys import intern
from types import MappingProxyType
from typing import NamedTuple

from automator.edges.checkout.git import Git, Running

FILE_MODES = frozenset({"100644", "100755", "100664"})
SYMLINK = "120000"
SUBMODULE = "160000"


class Entry(NamedTuple):
    """One path of a tree. A submodule's `oid` is a commit of another repository."""

    mode: str
    oid: str

    @property
    def is_file(self) -> bool:
        return self.mode in FILE_MODES


class TreeChange(NamedTuple):
    """One path that differs between two trees; None where it is absent."""

    path: str
    before: Entry | None
    after: Entry | None


class Failed(Exception):
    """A reading command's no, for the clone to judge: its own damage, or something else."""

    def __init__(self, step: str, words: str) -> None:
        super().__init__(words)
        self.step = step
        self.words = words


def decode_path(raw: bytes) -> str:
    """A path as text; bytes that are no UTF-8 survive as lone surrogates (os.fsencode's way)."""
    return raw.decode("utf-8", "surrogateescape")


def encode_path(path: str) -> bytes:
    return path.encode("utf-8", "surrogateescape")


def read_tree(git: Git, commit: str) -> Mapping[str, Entry]:
    """Every path below `commit`, in git's order (git-ls-tree, "OUTPUT FORMAT")."""
    answer = git.run("listing files", "ls-tree", "-r", "-z", "--full-tree", "--end-of-options", commit)
    if answer.status:
        raise Failed("listing files", answer.words)
    entries = {}
    for line in answer.out.decode("utf-8", "surrogateescape").split("\0")[:-1]:
        head, _, path = line.partition("\t")
        mode, _, oid = head.split(" ")
        entries[path] = Entry(intern(mode), oid)  # of which there are four
    return MappingProxyType(entries)


def read_changes(git: Git, old: str, new: str) -> tuple[TreeChange, ...]:
    """The paths that differ between two commits' trees (git-diff-tree, raw format)."""
    answer = git.run(
        "comparing commits", "diff-tree", "-r", "-z", "--no-renames", "--end-of-options", old, new
    )
    if answer.status:
        raise Failed("comparing commits", answer.words)
    tokens = answer.out.split(b"\0")[:-1]
    return tuple(
        TreeChange(decode_path(path), *raw_entries(head))
        for head, path in zip(tokens[::2], tokens[1::2], strict=True)
    )


def raw_entries(head: bytes) -> tuple[Entry | None, Entry | None]:
    """Both sides of a raw diff line `:<mode> <mode> <oid> <oid> <status>`."""
    mode_before, mode_after, before, after, _ = head.decode("ascii").lstrip("\n:").split(" ")
    return _entry(mode_before, before), _entry(mode_after, after)


def _entry(mode: str, oid: str) -> Entry | None:
    return None if mode == "000000" else Entry(mode, oid)


def read_blobs(git: Git, oids: Iterable[str], limit: int) -> Iterator[tuple[str, bytes | None]]:
    """Each blob in turn from one process; None for one of more than `limit` bytes, which are skipped."""
    asked = "".join(f"{oid}\n" for oid in oids).encode("ascii")
    if not asked:
        return
    with git.start("reading files", "cat-file", "--batch", "--buffer", fed=True) as running:
        running.send(asked)
        running.end_input()
        yield from _split_batch(running, limit)
        if running.status():
            raise Failed("reading files", running.words)


def _split_batch(running: Running, limit: int) -> Iterator[tuple[str, bytes | None]]:
    """Take `<oid> SP <type> SP <size> LF <content> LF` apart (git-cat-file, "BATCH OUTPUT")."""
    buffer, at, skip = b"", 0, 0
    waiting: tuple[str, int] | None = None
    for chunk in running.chunks():
        fresh = chunk
        if skip:
            fresh, skip = chunk[skip:], max(skip - len(chunk), 0)
            if not fresh:
                continue
        buffer, at = buffer[at:] + fresh, 0
        while True:
            if waiting is None:
                end = buffer.find(b"\n", at)
                if end < 0:
                    break
                oid, *rest = buffer[at:end].decode("ascii").split(" ")
                at = end + 1
                if len(rest) != 2 or rest[0] != "blob":
                    raise Failed("reading files", f"missing blob {oid}: {' '.join(rest)}")
                waiting = oid, int(rest[1])
            oid, size = waiting
            if size > limit:
                skip = max(size + 1 - (len(buffer) - at), 0)
                at = min(at + size + 1, len(buffer))
                waiting = None
                yield oid, None
                continue
            if len(buffer) - at < size + 1:
                break
            yield oid, buffer[at : at + size]
            at += size + 1
            waiting = None
