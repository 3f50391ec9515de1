"""Sources: where a cycle's files come from, what may be read of them, and how bytes become text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from automator.core.claims import paths_match
from automator.core.history import FileChange
from automator.edges.checkout import Entry, FileLog, TreeChange
from automator.edges.folder import FolderSource
from automator.errors import ManifestError
from automator.reasons import reason

BLOB_LIMIT = 8_000_000
"""Bytes; larger files are named and left alone."""

MANIFEST_ENDINGS = (".yaml", ".yml", ".json", ".env")
MANIFEST_NAMES = ("Kustomization",)
NEVER_WRITTEN = ("CODEOWNERS",)


class Source(Protocol):
    """Where files are read from: a clone (`edges.checkout`), or a folder for `check`."""

    def tree(self, commit: str) -> Mapping[str, Entry]: ...
    def changes(self, old: str, new: str) -> tuple[TreeChange, ...]: ...
    def blobs(self, oids: Iterable[str], *, limit: int) -> Iterator[tuple[str, bytes | None]]: ...
    def file_log(self, commit: str, paths: Sequence[str], *, limit: int) -> FileLog: ...
    def commit_changes(self, commits: Sequence[str]) -> tuple[FileChange, ...]: ...


class PlainFolder:
    """A folder as a source for the index; it is one commit without a past."""

    def __init__(self, root: Path) -> None:
        """Raises UsageError (`usage/no-folder`)."""
        self._files = FolderSource(root)
        self._entries: dict[str, Entry] | None = None

    def tree(self, commit: str) -> Mapping[str, Entry]:
        """Every file, its path for a blob id."""
        if self._entries is None:
            self._entries = {path: Entry(mode, path) for path, mode in self._files.modes().items()}
        return self._entries

    def changes(self, old: str, new: str) -> tuple[TreeChange, ...]:
        """None: there is one commit."""
        return ()

    def blobs(self, oids: Iterable[str], *, limit: int) -> Iterator[tuple[str, bytes | None]]:
        """Files by their paths."""
        return self._files.blobs(oids, limit=limit)

    def file_log(self, commit: str, paths: Sequence[str], *, limit: int) -> FileLog:
        """Empty: there is no past."""
        return FileLog((), complete=True)

    def commit_changes(self, commits: Sequence[str]) -> tuple[FileChange, ...]:
        """None: there is one commit."""
        return ()


@dataclass(frozen=True, slots=True)
class Scope:
    """What the config lets policies claim, and where policies live."""

    policies: str = "policies"
    write: tuple[str, ...] = ("**",)
    ignore: tuple[str, ...] = ()
    registries: frozenset[str] = frozenset()
    """The only registry hosts that may be asked for the policies' sake; empty for any."""

    def is_policy(self, path: str) -> bool:
        return path.startswith(self.policies.rstrip("/") + "/") and path.endswith((".yaml", ".yml"))

    def is_manifest(self, path: str) -> bool:
        """Whether a file at this path may hold sites (DESIGN section 6, "Never written")."""
        folder, _, name = path.rpartition("/")
        if not (path.endswith(MANIFEST_ENDINGS) or name in MANIFEST_NAMES):
            return False
        if path.startswith(self.policies.rstrip("/") + "/") or name in NEVER_WRITTEN:
            return False
        hidden = folder.startswith(".") or "/." in folder
        if hidden and not self._opens(folder, path):
            return False
        return _matches(self.write, path) and not _matches(self.ignore, path)

    def _opens(self, folder: str, path: str) -> bool:
        """Whether a pattern of `write` that spells out a name with a leading `.` covers a hidden folder.

        A pattern that ends in such a name (`.github`, `**/.env`) may mean a file of any folder, so it
        has to match the folder itself.
        """
        inside = tuple(p for p in self.write if any(map(_is_hidden, p.split("/")[:-1])))
        whole = tuple(p for p in self.write if _is_hidden(p.split("/")[-1]))
        return _matches(inside, path) or _matches(whole, f"{folder}/-")


def _is_hidden(name: str) -> bool:
    """Whether a segment of a pattern names what begins with `.`; `.` and `..` name nothing."""
    name = name.removeprefix("!")
    return name.startswith(".") and name not in (".", "..")


def _matches(patterns: tuple[str, ...], path: str) -> bool:
    return patterns == ("**",) or (bool(patterns) and paths_match(patterns)(path))


def decode(data: bytes | None) -> str:
    """A blob as text, byte for byte reversible.

    Raises ManifestError (`file/too-large`, `file/binary`).
    """
    if data is None:
        raise ManifestError(reason("file/too-large", limit=BLOB_LIMIT))
    if b"\0" in data:
        raise ManifestError(reason("file/binary"))
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ManifestError(reason("file/binary")) from error
