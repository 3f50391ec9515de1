"""The archive: the release log of all config repos, read from Git when somebody asks, beside the cycles.

Each config repo has a clone of its own for it and, while there is something to read, a thread: a Git server
that hangs keeps back its own history, and no answer. What nobody asked for lately is let go of.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from heapq import merge
from itertools import islice
from operator import is_
from pathlib import Path

from automator.app.checkouts import open_checkout
from automator.app.fingerprint import locator_version
from automator.config import Config
from automator.core.delivery.change import Change, Wanted
from automator.core.delivery.summary import Summary
from automator.core.policy import Workload
from automator.core.view import Past
from automator.cycle.earlier import Earlier
from automator.cycle.index import Index, Snapshot
from automator.cycle.located import Blob, Located
from automator.cycle.logbook import Logbook
from automator.cycle.reach import Reach
from automator.cycle.reporting import Told, summary_of
from automator.cycle.source import Scope
from automator.edges.checkout import Checkout, Ending
from automator.edges.forge import Forge
from automator.edges.store import KeptSites, Store
from automator.errors import AutomatorError
from automator.reasons import Reason, reason

HISTORY = ".history"
"""Folder beside the clones for those that history is read in: no config repo is called so."""
MOST = 20_000
"""Changes of one config repo that are kept; older ones are not told."""
FRESH = 5_000
"""Commits that came since the last look, up to which only they are read."""
UNUSED = 900.0
"""Seconds after which what nobody asked for is let go of."""
AGAIN = 30.0
"""Seconds after which a reading that failed is tried again."""
SOON = 2.0
"""Seconds after which it is tried again where whoever read it before us is still about to leave."""
LEAVING = 1.0
"""Seconds in which all readings end whose git processes were ended."""
SUMMARIES = 16
"""Reports that are kept until something moves."""


Since = Mapping[tuple[str, str], datetime]
"""Since when workloads have their versions, by config repo and name."""


class _ReadOnly:
    """What the cycles have found in blobs, for who must not change it."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def kept_sites(self, repo: str, mark: str) -> KeptSites:
        return self._store.kept_sites(repo, mark)

    def keep_sites(
        self, repo: str, mark: str, frame: str, added: Iterable[tuple[Blob, str]], gone: Collection[Blob]
    ) -> None:
        """Nothing is kept."""

    def drop_sites(self, repo: str) -> None:
        """Nothing is dropped."""


@dataclass(frozen=True, slots=True)
class _Open:
    """The parts that read one config repo, for its thread."""

    checkout: Checkout
    index: Index
    reach: Reach


@dataclass(frozen=True, slots=True)
class _Read:
    """What was read, up to a commit."""

    head: str
    told: Told


@dataclass(slots=True)
class _Shelf:
    """The history of one config repo; guarded by the archive's lock, but `parts` is its thread's."""

    branch: str
    read: _Read | None = None
    so_far: list[Change] = field(default_factory=list)
    """Of a reading that goes on, newest first; it only grows."""
    thread: threading.Thread | None = None
    wanted: str | None = None
    """The newest commit that history was asked of."""
    trouble: Reason | None = None
    again_at: float = 0.0
    """When a reading that failed is tried again."""
    used_at: float = 0.0
    parts: _Open | None = None


class Archive:
    """The histories of all config repos. For all threads; none of its answers waits for a reading."""

    def __init__(
        self,
        config: Config,
        store: Store,
        forges: Mapping[str, Forge],
        branches: Mapping[str, str],
        scope: Callable[[str], Scope],
        monotonic: Callable[[], float],
    ) -> None:
        """`branches`: name, URL and branch of each config repo, under which the store remembers it."""
        self._config = config
        self._store = store
        self._forges = forges
        self._scope = scope
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._shelves = {name: _Shelf(branch) for name, branch in branches.items()}
        self._summaries: OrderedDict[object, Summary] = OrderedDict()
        self._since: tuple[list[Sequence[Change]], Since] = ([], {})

    # -- questions -----------------------------------------------------------------------------------

    def past(
        self, wanted: Wanted, heads: Mapping[str, str | None], *, repos: Collection[str], limit: int
    ) -> Past:
        """The newest changes that are wanted of some config repos. `heads` has the commit of each that the
        history is to be as new as; None where that is not known yet."""
        with self._lock:
            asked = {name: self._ask(name, heads.get(name)) for name in repos}
            streams = [list(_changes(shelf)) for shelf in asked.values()]
            troubles = [shelf.trouble for shelf in asked.values() if shelf.trouble is not None]
            is_reading = any(
                (shelf.read is None or shelf.read.head != shelf.wanted) and shelf.trouble is None
                for shelf in asked.values()
            )
            begins = [shelf.read.told.begins for shelf in asked.values() if shelf.read is not None]
        found = merge(*map(wanted_of(wanted), streams), key=lambda change: change.landed, reverse=True)
        return Past(
            "reading" if is_reading else ("failed" if troubles else "ready"),
            tuple(islice(found, limit)),
            min((at for at in begins if at is not None), default=None),
            troubles[0] if troubles else None,
        )

    def summary(
        self,
        wanted: Wanted,
        heads: Mapping[str, str | None],
        troubles: Mapping[str, Reason],
        *,
        repos: Collection[str],
        by: str,
        now: datetime,
    ) -> Summary | None:
        """The report on delivery, with a note for each history that cannot be read; `troubles` tells why
        those have no commit that have none. None until all others of these histories were read once, and
        where there are no others."""
        with self._lock:
            asked = {name: self._ask(name, heads.get(name)) for name in repos}
            read = {name: shelf.read for name, shelf in asked.items() if shelf.read is not None}
            whys = {name: shelf.trouble or troubles.get(name) for name, shelf in asked.items()}
            if not read or any(whys[name] is None for name in asked if name not in read):
                return None
            notes = tuple(
                f"{name} is {'counted as it was read before' if name in read else 'left out'}: {why.sentence}"
                for name, why in whys.items()
                if why is not None
            )
            # A report changes with time only in its period: a minute is nothing.
            stand = tuple((name, one.head) for name, one in sorted(read.items()))
            key = (wanted, stand, by, now.replace(second=0, microsecond=0))
            known = self._summaries.get(key)
        if known is not None:
            return _noted(known, notes)
        wants = dict.fromkeys(read, wanted)
        found = summary_of({n: one.told for n, one in read.items()}, wants, self._store, by=by, now=now)
        with self._lock:
            self._summaries[key] = found
            while len(self._summaries) > SUMMARIES:
                self._summaries.popitem(last=False)
        return _noted(found, notes)

    def since(self) -> Since:
        """Since when workloads have their versions, as far as history was read already; the same value until
        more was read."""
        with self._lock:
            read = [shelf.read.told.changes for shelf in self._shelves.values() if shelf.read is not None]
            known, since = self._since
        if len(known) == len(read) and all(map(is_, known, read)):
            return since
        found: dict[tuple[str, str], datetime] = {}
        for changes in read:
            for change in changes:
                if change.moves and change.proven:
                    found.setdefault(change.key, change.landed)
        with self._lock:
            self._since = read, found
        return found

    def tidy(self) -> None:
        """Let go of what nobody asked for lately. Quick, and for any thread."""
        with self._lock:
            for shelf in self._shelves.values():
                idle = self._monotonic() - shelf.used_at
                if shelf.thread is None and idle > UNUSED and (shelf.read or shelf.parts):
                    _put_away(shelf)
                    self._summaries.clear()
                    self._since = [], {}

    def close(self) -> None:
        """Begin no more readings, and end those that go on; one that hangs is left behind."""
        with self._lock:
            self._closing.set()
            reading = [(shelf, one) for shelf in self._shelves.values() if (one := shelf.thread) is not None]
        # Many may wait for a server that is silent: all of them end at the same time.
        until = time.monotonic() + LEAVING
        with suppress(RuntimeError):  # no more threads are to be had: then they are left behind
            for shelf, thread in reading:
                threading.Thread(target=_end, args=(shelf, thread, until), daemon=True).start()
        for _, thread in reading:
            thread.join(timeout=max(0.0, until - time.monotonic()))
        with self._lock:
            for shelf in self._shelves.values():
                if shelf.thread is None:
                    _put_away(shelf)

    # -- reading -------------------------------------------------------------------------------------

    def _ask(self, name: str, head: str | None) -> _Shelf:
        """A shelf, whose reading begins where it is not as new as it should be. The lock is held."""
        shelf = self._shelves[name]
        shelf.used_at = self._monotonic()
        if head is None:
            return shelf
        shelf.wanted = head
        is_new = shelf.read is not None and shelf.read.head == head
        waits = shelf.used_at < shelf.again_at
        if is_new or waits or shelf.thread is not None or self._closing.is_set():
            return shelf
        thread = threading.Thread(
            target=self._reading, args=(name, shelf), name=f"history of {name}", daemon=True
        )
        try:
            thread.start()
        except RuntimeError as error:  # no more threads are to be had
            shelf.trouble = reason("daemon/bug", repo=name, error=f"{type(error).__name__}: {error}")
            shelf.again_at = shelf.used_at + AGAIN
        else:
            shelf.thread = thread  # it begins by waiting for the lock
        return shelf

    def _reading(self, name: str, shelf: _Shelf) -> None:
        """Read until the history is as new as it should be."""
        while True:
            with self._lock:
                head = shelf.wanted
                if (
                    head is None
                    or self._closing.is_set()
                    or (shelf.read is not None and shelf.read.head == head)
                ):
                    shelf.thread = None
                    if self._closing.is_set():
                        _put_away(shelf)
                    return
            trouble: Reason | None = None
            read: _Read | None = None
            pause = AGAIN
            try:
                read = self._read(name, shelf, head)
            except AutomatorError as error:
                trouble = error.reason
                if trouble.code == "git/busy":
                    # Nobody but a reader of ours works there: that of the config before this one, which ends.
                    trouble, pause = None, SOON
            except Exception as error:  # noqa: BLE001 - whatever it is, somebody must be told
                trouble = reason("daemon/bug", repo=name, error=f"{type(error).__name__}: {error}")
            with self._lock:
                shelf.so_far = []
                shelf.trouble = trouble
                if read is None:
                    shelf.again_at = self._monotonic() + pause
                    shelf.thread = None
                    if shelf.parts is not None:  # what is wrong may be with them
                        shelf.parts.checkout.close()
                        shelf.parts = None
                    return
                shelf.read = read
                shelf.again_at = 0.0
                if shelf.wanted == head:
                    shelf.thread = None
                    if self._closing.is_set():
                        _put_away(shelf)
                    return

    def _read(self, name: str, shelf: _Shelf, head: str) -> _Read | None:
        """The history up to a commit; None where the archive is being closed. Raises CheckoutError."""
        parts = shelf.parts = shelf.parts or self._opened(name)
        if self._closing.is_set():  # whoever closes us may have looked for its processes already
            return None
        parts.checkout.fetch(head, proven=False)
        parts.reach.grow_to_limit()
        snapshot = parts.index.move_to(head)
        book = Logbook(name, parts.checkout, parts.index, snapshot, branch=shelf.branch)
        newer = self._newer(shelf.read, book, parts.checkout)
        if newer is not None and shelf.read is not None:
            old = shelf.read.told
            told = _retold(old.changes, snapshot) if old.snapshot.policies is not snapshot.policies else None
            changes = [*newer, *(told or old.changes)][:MOST]
            return _Read(head, replace(old, snapshot=snapshot, changes=changes))
        for change in book.changes(Wanted()):
            shelf.so_far.append(change)
            if len(shelf.so_far) >= MOST or self._closing.is_set():
                break
        changes = shelf.so_far
        is_cut = len(changes) >= MOST
        begins = changes[-1].landed if is_cut else book.begins
        whole = book.reaches_beginning and not is_cut
        return _Read(head, Told(snapshot, shelf.branch, changes, begins, whole))

    @staticmethod
    def _newer(read: _Read | None, book: Logbook, checkout: Checkout) -> list[Change] | None:
        """The changes that came since the last reading; None where all must be read again."""
        if read is None or not checkout.is_ancestor(read.head, book.snapshot.commit):
            return None
        fresh = list(checkout.commits(book.snapshot.commit, beside=read.head, changes=False, limit=FRESH + 1))
        if not fresh or len(fresh) > FRESH:
            return None
        ids = {commit.commit for commit in fresh}
        since = min(commit.time for commit in fresh)
        return [change for change in book.changes(Wanted(since=since)) if change.commit in ids]

    def _opened(self, name: str) -> _Open:
        """The parts for one config repo. Raises CheckoutError."""
        folder: Path = self._config.state / "repos" / HISTORY / name
        with ExitStack() as opening:
            checkout = open_checkout(self._config, name, folder, self._forges, patience=LEAVING)
            opening.callback(checkout.close)
            reach = Reach(checkout, self._config.repos[name].history_limit)
            located = Located(_ReadOnly(self._store), name, locator_version())
            index = Index(checkout, self._scope(name), Earlier(checkout, reach), located)
            opening.pop_all()
        return _Open(checkout, index, reach)


def _noted(summary: Summary, notes: tuple[str, ...]) -> Summary:
    return replace(summary, notes=(*notes, *summary.notes)) if notes else summary


def wanted_of(wanted: Wanted) -> Callable[[Iterable[Change]], Iterable[Change]]:
    """Leaves what is wanted of some changes."""

    def taken(changes: Iterable[Change]) -> Iterable[Change]:
        return (change for change in changes if wanted.takes(change))

    return taken


def _changes(shelf: _Shelf) -> Iterable[Change]:
    """What is known, whether a reading goes on or not."""
    return shelf.so_far[:] if shelf.read is None else shelf.read.told.changes


def _end(shelf: _Shelf, thread: threading.Thread, until: float) -> None:
    """End the git processes of a reading, and those that it starts before it notices."""
    while thread.is_alive() and time.monotonic() < until:
        parts = shelf.parts
        if parts is not None:
            parts.checkout.end_processes(Ending.STOP)
        thread.join(timeout=0.05)


def _put_away(shelf: _Shelf) -> None:
    if shelf.parts is not None:
        shelf.parts.checkout.close()
    shelf.parts = shelf.read = shelf.trouble = None
    shelf.so_far = []


def _retold(changes: Iterable[Change], snapshot: Snapshot) -> list[Change]:
    """Changes with owner and environment as policies say now."""

    def now(change: Change) -> Change:
        entry = snapshot.workloads.get(change.workload)
        about = (entry.owner, entry.environment) if isinstance(entry, Workload) else (None, None)
        if (change.owner, change.environment) == about:
            return change
        return replace(change, owner=about[0], environment=about[1])

    return list(map(now, changes))
