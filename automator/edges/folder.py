"""Plain files: a folder read as if it were a commit, without Git or network, and files replaced in it."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path, PurePath
from typing import NamedTuple

from automator.errors import ManifestError, UsageError
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
        """Each file's bytes; None for one over `limit` bytes, that cannot be read, or is no plain file here.

        Whoever wrote the folder may have put links there that lead to secrets, or pipes.
        """
        for path in paths:
            try:
                data = self._read(PurePath(path), limit)
            except OSError:
                data = None
            yield path, data

    def _read(self, path: PurePath, limit: int) -> bytes | None:
        if ".." in path.parts or any((self._root / above).is_symlink() for above in path.parents[:-1]):
            return None
        handle = os.open(self._root / path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                return None
            data = file.read(limit + 1)
        return None if len(data) > limit else data


class Replacement(NamedTuple):
    """A file that gets new content."""

    path: Path
    before: bytes
    """What was read; a file that holds something else by now is left alone."""
    after: bytes


def read_file(path: Path, *, limit: int) -> bytes:
    """A regular file's bytes.

    Raises UsageError (`file/named`) for a link, for what is no file, cannot be read, or is larger than
    `limit` bytes.
    """
    try:
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode):
            problem = "it is a symbolic link"
        elif not stat.S_ISREG(status.st_mode):
            problem = "it is no regular file"
        elif status.st_size > limit:
            problem = f"it is larger than {limit} bytes"
        else:
            return path.read_bytes()
    except OSError as error:
        problem = error.strerror or type(error).__name__
    except ValueError:  # a NUL in the name
        problem = "no file can have this name"
    raise UsageError(reason("file/named", file=path, problem=problem))


def write_new_files(texts: Mapping[Path, str], *, force: bool) -> None:
    """Write texts to files of their own, folders included; none where one of them exists, unless `force`
    says to overwrite. What was begun is taken away again where a new file cannot be written.

    Raises UsageError (`file/exists`, also for symbolic links whatever `force` says; `file/not-written`).
    """
    for file in texts:
        if file.is_symlink() or (file.exists() and not force):
            raise UsageError(reason("file/exists", file=file))
    begun: list[Path] = []
    try:
        for file, text in texts.items():
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("w" if force else "x", encoding="utf-8", newline="\n") as stream:
                begun.append(file)
                stream.write(text)
    except OSError as error:
        for file in () if force else begun:
            with suppress(OSError):
                file.unlink()
        problem = error.strerror or type(error).__name__
        raise UsageError(reason("file/not-written", file=error.filename or file, problem=problem)) from error


def replace_files(replacements: Sequence[Replacement]) -> None:
    """Give files new content, each in one step, keeping modes and, where permitted, owners.

    Everything is written beside its file first, so that a full disk or a folder that may not be written
    stops it before the first file has changed.

    Raises ManifestError (`file/not-replaced`, `file/changed`).
    """
    staged: list[tuple[Path, Replacement]] = []
    try:
        for one in replacements:
            try:
                staged.append((_staged(one), one))
            except OSError as error:
                raise _not_replaced(one.path, error) from error
        for new, one in staged:
            try:
                if one.path.is_symlink() or one.path.read_bytes() != one.before:
                    raise ManifestError(reason("file/changed", file=one.path))
                new.replace(one.path)
            except OSError as error:
                raise _not_replaced(one.path, error) from error
    finally:
        for new, _ in staged:
            with suppress(OSError):
                new.unlink(missing_ok=True)


def _staged(one: Replacement) -> Path:
    """The new content in a file of its own, in the same folder."""
    status = one.path.stat()
    if not os.access(one.path, os.W_OK):  # a rename would go round the file's own permission
        raise PermissionError(13, "Permission denied")
    handle, name = tempfile.mkstemp(dir=one.path.parent, prefix=f".{one.path.name[:100]}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(one.after)
            with suppress(PermissionError):
                os.fchown(file.fileno(), status.st_uid, status.st_gid)
            os.fchmod(file.fileno(), status.st_mode & 0o7777)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return Path(name)


def _not_replaced(path: Path, error: OSError) -> ManifestError:
    problem = error.strerror or type(error).__name__
    return ManifestError(reason("file/not-replaced", file=path, problem=problem))
