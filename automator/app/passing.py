"""Passing clones: of a command that works beside a daemon, for as long as it lasts.

They are below the state folder, which is made for clones: a temporary folder is often small, in memory, or
both. Each command has a folder of its own there and holds a lock in it, so that what a killed one left
behind is told from what is at work.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from automator.edges.store import locked, private_folder
from automator.errors import ConfigError

PASSING = f"passing-{os.geteuid()}"
"""Folder in the state folder for them: of each user one, since root's is closed to all others."""
PATIENCE = 5.0
"""Seconds to wait for who makes or removes a folder there just now."""


@contextmanager
def passing_folder(state: Path, patience: float = PATIENCE) -> Iterator[Path]:
    """A folder of our own, removed at the end: below the state folder, or a temporary one where nothing can
    be written there."""
    try:
        folder, lock = _taken(state / PASSING, patience)
    except (OSError, ConfigError):
        with tempfile.TemporaryDirectory(prefix="automator-") as elsewhere:
            yield Path(elsewhere)
        return
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def clear_passing(state: Path) -> None:
    """Remove what commands left behind that were killed; nothing of one that is at work."""
    below = state / PASSING
    with suppress(OSError, ConfigError):
        if below.is_dir():
            guard = locked(below)
            try:
                _clear(below)
            finally:
                os.close(guard)


def _taken(below: Path, patience: float) -> tuple[Path, int]:
    """A new folder, and its lock. Raises OSError, ConfigError (`state/locked`)."""
    private_folder(below)
    # Nobody may find the folder between its making and its locking, and take it for left behind.
    guard = _guard(below, patience)
    try:
        _clear(below)
        folder = Path(tempfile.mkdtemp(dir=below, prefix=f"{os.getpid()}-"))
        try:
            return folder, locked(folder)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    finally:
        os.close(guard)


def _guard(below: Path, patience: float) -> int:
    until = time.monotonic() + patience
    while True:
        try:
            return locked(below)
        except ConfigError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)


def _clear(below: Path) -> None:
    for folder in below.iterdir():
        if folder.is_dir():
            with suppress(OSError, ConfigError):
                lock = locked(folder)
                shutil.rmtree(folder, ignore_errors=True)
                os.close(lock)
