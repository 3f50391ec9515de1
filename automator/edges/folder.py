"""A plain folder read as if it were a commit: what `check` looks at, without Git or network."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from automator.errors import UsageError
from automator.reasons import reason

REGULAR = "100644"
SYMLINK = "120000"
SUBMODULE = "160000"


class FolderSource:
    """The files below a folder; a file's path serves as its blob id."""

    def __init__(self, root: Path) -> None:
        """Raises UsageError where `root` is not a folder."""
        if not root.is_dir():
            raise UsageError(reason("usage/no-folder", path=root))
        self._root = root

    def modes(self) -> Mapping[str, str]:
        """Path -> Git mode of every file, link and submodule; `.git` is left out."""
        found: dict[str, str] = {}
        for folder, subfolders, files in os.walk(self._root):
            base = Path(folder)
            if base != self._root and (base / ".git").exists():
                found[str(base.relative_to(self._root))] = SUBMODULE
                subfolders.clear()
                continue
            subfolders[:] = sorted(name for name in subfolders if name != ".git")
            for name in [*subfolders, *files]:
                path = base / name
                if path.is_symlink():
                    found[str(path.relative_to(self._root))] = SYMLINK
                elif path.is_file() and name != ".git":
                    found[str(path.relative_to(self._root))] = REGULAR
        return found

    def blobs(self, paths: Iterable[str], *, limit: int) -> Iterator[tuple[str, bytes | None]]:
        """Each file's bytes; None for one over `limit` bytes or that cannot be read."""
        for path in paths:
            full = self._root / path
            try:
                data = None if full.stat().st_size > limit else full.read_bytes()
            except OSError:
                data = None
            yield path, data
