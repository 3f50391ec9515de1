"""Keeping a clone's folder in order: one user at a time, no leftovers, not too many small files."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from automator.errors import CheckoutError
from automator.reasons import reason

PACKS_LIMIT = 50
LOOSE_LIMIT = 27
"""Loose objects in one of their 256 folders: about 6,900 in all, git's own threshold."""

_LOCKS = (
    *("*.lock", "refs/**/*.lock", "objects/info/*.lock", "objects/pack/*.lock"),
    "objects/pack/*.keep",  # by these a fetch or fast-import protects its fresh pack, from `gc` for ever
)
_HALF_WRITTEN = ("fast_import_crash_*", "objects/pack/tmp_*", "objects/pack/.tmp-*", "objects/??/tmp_obj_*")
_QUARANTINES = ("objects/tmp_objdir-*", "objects/incoming-*")


def sweep(folder: Path) -> None:
    """Remove the lock and temporary files of a git process that was killed: nobody else works here."""
    for pattern in (*_LOCKS, *_HALF_WRITTEN):
        for file in folder.glob(pattern):
            file.unlink(missing_ok=True)
    for pattern in _QUARANTINES:
        for quarantine in folder.glob(pattern):
            shutil.rmtree(quarantine, ignore_errors=True)


def is_ragged(folder: Path) -> bool:
    """Whether so many loose objects or packs have gathered that reading gets slow."""
    loose = sum(1 for _ in folder.glob("objects/17/*"))
    packs = sum(1 for _ in folder.glob("objects/pack/*.pack"))
    return loose > LOOSE_LIMIT or packs > PACKS_LIMIT


def take_lock(path: Path, patience: float) -> int:
    """Take the lock on a clone, which the git processes of a killed daemon may still hold for a while.

    Raises CheckoutError `git/busy` after `patience` seconds.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    until = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                os.close(descriptor)
                raise CheckoutError(reason("git/busy", folder=path.with_suffix(""))) from None
            time.sleep(0.05)
        else:
            return descriptor


@contextmanager
def writing(url: str, *, otherwise: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Raise CheckoutError `git/disk`, after `otherwise`, where something cannot be written for the clone of a
    remote: a disk that is full, or read-only."""
    try:
        yield
    except OSError as error:
        otherwise()
        raise CheckoutError(reason("git/disk", url=url, words=error.strerror or error)) from error


def write_trust(file: Path, path: Path) -> Path:
    """Write settings by which git uses a local remote that belongs to another user: the operator named it.

    Only a settings file reaches the git process on the other side of a local remote.
    """
    lines = ("[safe]", *(f'\tdirectory = "{_in_config(p)}"' for p in (path, path / ".git")))
    file.write_text("\n".join(lines) + "\n", "utf-8", "surrogateescape")
    return file


def _in_config(path: Path) -> str:
    return str(path).replace("\\", "\\\\").replace('"', '\\"')
