"""What is known of blobs: each is parsed once, in this run of the program and, through the store, the next.

A blob never changes, so what was found in one holds for ever: for the same code and the same
`where.field` paths, which together are its *mark*. Of a blob that was passed over, because it names no
watched image, only that is known, and only as long as no other images are watched.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from functools import cache
from sys import intern
from typing import Protocol

from automator.core.site import FileSites
from automator.edges.checkout import Entry
from automator.edges.store import KeptSites, PlainText
from automator.errors import ConfigError

PAST_KEPT = 20_000
"""Blobs of the past that are kept beside the present ones."""
_UNREAD, _LOOKED_OVER = "0", "1"
"""Texts of blobs that were passed over: to be looked at for faults yet, and without any."""

Blob = tuple[str, str]
"""A blob's id, and the base name of a file that it is the content of."""


class Keeper(Protocol):
    """Where what was found is kept over restarts (`edges.store`); it may lose it at any time."""

    def kept_sites(self, repo: str, mark: str) -> KeptSites: ...
    def keep_sites(
        self, repo: str, mark: str, frame: str, added: Iterable[tuple[Blob, str]], gone: Collection[Blob]
    ) -> None: ...
    def drop_sites(self, repo: str) -> None: ...


class Located:
    """What is known of the blobs of one config repo."""

    def __init__(self, keeper: Keeper | None = None, repo: str = "", version: str = "") -> None:
        """`version` names the code that locates: what another one found is not used."""
        self._keeper = keeper if version else None
        self._repo = repo
        self._version = version
        self.mark = ""
        """Under which the store keeps what is found now."""
        self._names = ""
        self._known: dict[Blob, FileSites | str] = {}
        """Found, or the text of it that the store gave and nobody has asked for."""
        self._passed: dict[Blob, bool] = {}
        """Passed over; True where it was looked over for faults too."""
        self._unkept: set[Blob] = set()
        """What the store has not, or otherwise."""
        self._gone: set[Blob] = set()
        """What was forgotten here, and the store may have."""
        self.head: str | None = None
        """The commit that the index was last brought to, in this run or the one before, unless there is more
        to look over now."""

    def begin(self, fields: tuple[str, ...], names: Collection[bytes], *, more: bool) -> None:
        """From now on sites are located with these fields, and files are passed over that have none of
        these names; `more`: some of the names may be new."""
        mark = _digest(self._version, *fields)
        told = _digest(*sorted(name.hex() for name in names))
        if mark != self.mark:
            self.mark, self._names = mark, told
            self._load()
        elif more and told != self._names:
            self._gone.update(self._passed)
            self._passed.clear()
        self._names = told

    # -- what is known -----------------------------------------------------------------------------

    def get(self, blob: Blob) -> FileSites | None:
        """What was found in a blob, or None if it was not parsed."""
        found = self._known.get(blob)
        if not isinstance(found, str):
            return found
        try:
            read = self._known[blob] = _sites_text().read(found)
        except ValueError:
            self._start_over()
            return None
        return read

    def put(self, blob: Blob, found: FileSites) -> None:
        """Remember what was found in a blob."""
        self._known[blob] = found
        self._passed.pop(blob, None)
        self._unkept.add(blob)

    def passed_over(self, blob: Blob) -> bool | None:
        """Whether a blob that names no watched image was looked over for faults; None of any other."""
        return self._passed.get(blob)

    def pass_over(self, blob: Blob, *, looked_over: bool) -> None:
        """Remember that a blob names no watched image."""
        if self._passed.get(blob) is not looked_over:
            self._passed[blob] = looked_over
            self._unkept.add(blob)
            if not looked_over:
                self.head = None

    # -- over restarts -----------------------------------------------------------------------------

    def keep(self, head: str | None = None) -> None:
        """Let the store have what is new; `head` is the commit that the index has come to."""
        if head is not None and head == self.head and not self._unkept:
            return
        self.head = head or self.head
        if self._keeper is None:
            self._unkept.clear()
            return
        here = (self._known, self._passed)
        gone = [b for b in self._gone if _is_text(b[1]) and not any(b in known for known in here)]
        frame = json.dumps([self._names, self.head])
        try:
            self._keeper.keep_sites(self._repo, self.mark, frame, self._texts(), gone)
        except ConfigError:
            return  # Nothing is lost but time, and whatever must be kept will say what is wrong.
        self._unkept.clear()
        self._gone.clear()

    def prune(self, present: Mapping[str, Entry]) -> None:
        """Let go of blobs of the past when they are many; `present`: all files, by path."""
        if len(self._known) + len(self._passed) <= PAST_KEPT + len(present):
            return
        needed = {blob_of(path, entry.oid) for path, entry in present.items()}
        self._gone.update(
            blob for known in (self._known, self._passed) for blob in known if blob not in needed
        )
        self._known = {blob: found for blob, found in self._known.items() if blob in needed}
        self._passed = {blob: over for blob, over in self._passed.items() if blob in needed}
        self._unkept &= needed

    def _texts(self) -> Iterable[tuple[Blob, str]]:
        for blob in self._unkept:
            if not _is_text(blob[1]):
                continue  # a name of bytes that are no UTF-8 is read again
            found, over = self._known.get(blob), self._passed.get(blob)
            if found is not None:
                yield blob, found if isinstance(found, str) else _sites_text().write(found)
            elif over is not None:
                yield blob, _LOOKED_OVER if over else _UNREAD

    def _load(self) -> None:
        self._known.clear()
        self._passed.clear()
        self._gone.clear()
        self._unkept.clear()
        if self._keeper is None:
            return
        try:
            kept = self._keeper.kept_sites(self._repo, self.mark)
            names, self.head = json.loads(kept.frame) if kept.frame else ("", None)
        except (ConfigError, ValueError, TypeError):
            return  # As in `keep`; all is found again.
        for blob, text in kept.texts.items():
            if text not in (_UNREAD, _LOOKED_OVER):
                self._known[blob] = text
            elif names == self._names:
                self._passed[blob] = text == _LOOKED_OVER
            else:
                self._gone.add(blob)
        if names != self._names:
            self.head = None

    def _start_over(self) -> None:
        """The store gave what this version never wrote: nothing of it is used."""
        self._known = {blob: found for blob, found in self._known.items() if not isinstance(found, str)}
        self._gone.clear()
        self._unkept = {*self._known, *self._passed}
        if self._keeper is not None:
            self._keeper.drop_sites(self._repo)


def blob_of(path: str, oid: str) -> Blob:
    """The blob at a path, as it is remembered."""
    return oid, intern(path.rpartition("/")[2])  # thousands of files share a few names


@cache
def _sites_text() -> PlainText[FileSites]:
    return PlainText(FileSites)


def _digest(*words: str) -> str:
    return hashlib.sha256("\0".join(words).encode()).hexdigest()


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
