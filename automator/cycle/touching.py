"""Which commits of the branch touched what is watched: a second walk beside the one that reads messages.

To tell what every commit changed takes git several times as long as to print its message. So it is told of
those alone that changed something in a few folders: that takes git a look at the folder above them.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import TYPE_CHECKING

from automator.edges.checkout import Checkout

if TYPE_CHECKING:
    from automator.edges.checkout import LoggedCommit, RawChanges

MOST_FOLDERS = 8
"""Folders that git is asked for at once: it compares each with every name of the folders above."""
DEEPEST = 4
"""Names in the path of such a folder."""
RESTARTS = 8
"""So often the walk begins anew because there was more to watch; after that it is told of every commit."""


class Touching:
    """What the commits of the branch's line changed, of those that touched watched files."""

    def __init__(self, checkout: Checkout, watched: Iterable[bytes]) -> None:
        self._checkout = checkout
        self._watched = {path for path in watched if _may_exist(path)}
        self._folders: tuple[bytes, ...] | None = None
        self._walk: Generator[LoggedCommit] | None = None
        self._next: LoggedCommit | None = None
        self._starts = 0

    def watch(self, paths: Iterable[bytes]) -> None:
        """Watch more, from the commit on that is asked for next."""
        more = {path for path in paths if path not in self._watched and _may_exist(path)}
        self._watched |= more
        if self._folders and not all(map(self._is_covered, more)):
            self.close()

    def of(self, commit: str) -> RawChanges | None:
        """All that a commit changed; None where it touched nothing that is watched, and perhaps where it
        touched only what lies beside. Commits are asked for in the order of the line, none left out."""
        if self._walk is None:
            self._start(commit)
        found = self._next
        if found is None or found.commit != commit:
            return None
        self._step()
        return found.raw

    def close(self) -> None:
        """End git's part."""
        if self._walk is not None:
            self._walk.close()
            self._walk = None

    def _start(self, commit: str) -> None:
        self._starts += 1
        self._folders = folders_of(self._watched) if self._starts <= RESTARTS else ()
        names = [folder.decode("utf-8", "surrogateescape") for folder in self._folders]
        self._walk = self._checkout.commits(commit, paths=names, only_changes=True)
        self._step()

    def _step(self) -> None:
        assert self._walk is not None
        self._next = next(self._walk, None)

    def _is_covered(self, path: bytes) -> bool:
        return any(path == folder or path.startswith(folder + b"/") for folder in self._folders or ())


def _may_exist(path: bytes) -> bool:
    """Whether a path can be in a repository: a forged trailer may name any, at which git would give up."""
    names = path.split(b"/")
    return not {b"", b".", b".."}.intersection(names) and b"\0" not in path


def folders_of(paths: Iterable[bytes]) -> tuple[bytes, ...]:
    """A few folders, or files, that have all these paths in them; none where it takes more than a few."""
    best: tuple[bytes, ...] = ()
    split = [path.split(b"/") for path in paths]
    for depth in range(1, DEEPEST + 1):
        cut = {b"/".join(names[:depth]) for names in split}
        if len(cut) > MOST_FOLDERS or any(b"\n" in folder for folder in cut):
            break
        best = tuple(sorted(cut))
    return best
