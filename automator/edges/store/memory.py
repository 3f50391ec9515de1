"""The memory of a state folder: tag lists, images, reports, refusals and sites in one SQLite file."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import zlib
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar

from automator.core.facts import Sighting
from automator.core.lag import Appeared
from automator.core.reference import Image, Repository, TagList
from automator.core.report import Outcome, Report
from automator.edges.store import outbox
from automator.edges.store.opening import DATABASE, begun_again, copied, is_damage, locked, opened, unusable
from automator.edges.store.releasetable import (
    read_earliest,
    read_series,
    read_sights,
    write_series,
    write_sights,
)
from automator.edges.store.reporttext import frame_text, outcomes_text, read_report
from automator.edges.store.rollouttable import (
    KeptRollout,
    read_answered,
    read_rollouts,
    write_answered,
    write_rollouts,
)
from automator.edges.store.sitetable import KeptSites, drop_sites, read_sites, site_repos, write_sites
from automator.reasons import Reason, reason

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

T = TypeVar("T")


class Refusal(NamedTuple):
    """A push that the server refused."""

    words: str
    """The server's, on one line."""
    at: datetime


def _quiet(_warning: Reason) -> None:
    """Nobody wants to hear it."""


class Store:
    """The local database and the lock of the state folder; usable from every thread.

    Opened for reading only, it is a private copy in memory: it takes no lock, answers as of the
    moment it was opened, and what is saved in it is gone with it.
    """

    def __init__(
        self,
        file: Path,
        connection: sqlite3.Connection,
        lock: int | None,
        warn: Callable[[Reason], None],
    ) -> None:
        self._file = file
        self._connection = connection
        self._lock_file = lock
        self._warn = warn
        self._turn = threading.RLock()
        self._told: dict[str, tuple[Outcome, ...]] = {}

    @classmethod
    def open(cls, folder: Path, *, read_only: bool = False, warn: Callable[[Reason], None] = _quiet) -> Store:
        """Open the database of a state folder, making both where they are missing.

        `warn` is told when a damaged database had to be replaced (`state/damaged`).

        Raises ConfigError: `state/unusable`, `state/locked` (another automator has the folder; not
        when reading only), `state/newer`.
        """
        file = folder / DATABASE
        if read_only:
            return cls(file, copied(file, warn), None, warn)
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = locked(folder)
        except OSError as error:
            raise unusable(folder, error) from error
        try:
            return cls(file, opened(file, warn), lock, warn)
        except BaseException:
            os.close(lock)
            raise

    def close(self) -> None:
        """Close the database and give the folder free."""
        with self._turn:
            self._connection.close()
            if self._lock_file is not None:
                os.close(self._lock_file)
                self._lock_file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- tags ------------------------------------------------------------------------------------

    def tag_list(self, repository: Repository) -> TagList | None:
        """The last complete tag list of a repository, or None."""
        row = self._row(
            "SELECT tags, observed_at, revision FROM tag_list WHERE repository = ?", str(repository)
        )
        if row is None:
            return None
        tags = _unpacked(row[0])
        if tags is None:
            return None
        return TagList(repository, tuple(tags.split("\n")) if tags else (), _time(row[1]), row[2])

    def save_tag_list(self, tags: TagList) -> None:
        """Keep a complete tag list; tags that were not in the one before arrive now."""
        self.save_tag_lists((tags,))

    def save_tag_lists(self, tag_lists: Iterable[TagList]) -> None:
        """Keep many at once, which is far cheaper than one by one; all or none."""

        def save(connection: sqlite3.Connection) -> None:
            for tag_list in tag_lists:
                _save_tag_list(connection, tag_list)

        self._write(save)

    def first_seen(self, repository: Repository, tag: str) -> datetime | None:
        """Since when this tag is in the list without a gap; None where it is not.

        A tag that was there when the repository was first listed counts from that time; one that
        vanished and came back counts from its return.
        """
        arrived = self._row(
            "SELECT seen_at FROM arrival WHERE repository = ? AND tag = ?", str(repository), tag
        )
        if arrived is not None:
            return _time(arrived[0])
        listed = self.tag_list(repository)
        if listed is None or tag not in listed.tags:
            return None
        baseline = self._row("SELECT baseline FROM tag_list WHERE repository = ?", str(repository))
        return None if baseline is None else _time(baseline[0])

    def appeared(self, repository: Repository, tags: Collection[str]) -> Appeared:
        """When these tags came, those of them that came after the repository was first listed."""
        name, wanted = str(repository), json.dumps(list(tags))
        query = (
            "SELECT tag, seen_at FROM arrival WHERE repository = ?"
            " AND tag IN (SELECT value FROM json_each(?))"
        )
        rows = self._run(lambda connection: connection.execute(query, (name, wanted)).fetchall())
        baseline = self._row("SELECT baseline FROM tag_list WHERE repository = ?", name)
        return Appeared(
            None if baseline is None else _time(baseline[0]), {str(tag): _time(at) for tag, at in rows}
        )

    # -- images ----------------------------------------------------------------------------------

    def image(self, repository: Repository, tag: str) -> Image | None:
        """What was found when this tag was looked up, or None if it never was."""
        row = self._row(
            "SELECT image.digest, built, source, image.revision, names FROM look JOIN image USING (digest)"
            " LEFT JOIN platform USING (digest)"
            " WHERE repository = ? AND tag = ?",
            str(repository),
            tag,
        )
        return None if row is None else _image(row)

    def images(self, repository: Repository) -> dict[str, Image]:
        """Every tag of a repository that was looked up, with what was found."""
        query = (
            "SELECT tag, image.digest, built, source, image.revision, names FROM look"
            " JOIN image USING (digest) LEFT JOIN platform USING (digest)"
            " WHERE repository = ?"
        )
        rows = self._run(lambda connection: connection.execute(query, (str(repository),)).fetchall())
        return {str(tag): _image(rest) for tag, *rest in rows}

    def built(self, repository: Repository, tags: Collection[str]) -> dict[str, datetime]:
        """When the images of these tags were built, as far as that is known."""
        query = (
            "SELECT tag, built FROM look JOIN image USING (digest) WHERE repository = ?"
            " AND built IS NOT NULL AND tag IN (SELECT value FROM json_each(?))"
        )
        name, wanted = str(repository), json.dumps(list(tags))
        rows = self._run(lambda connection: connection.execute(query, (name, wanted)).fetchall())
        return {str(tag): _time(built) for tag, built in rows}

    def image_by_digest(self, digest: str) -> Image | None:
        """What is known of a digest, whatever tag it was found under; kept for ever."""
        query = (
            "SELECT image.digest, built, source, image.revision, names FROM image"
            " LEFT JOIN platform USING (digest) WHERE image.digest = ?"
        )
        row = self._row(query, digest)
        return None if row is None else _image(row)

    def save_image(self, repository: Repository, tag: str, image: Image) -> None:
        """Keep what a look found. What is known of a digest is never forgotten again."""

        def save(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT INTO image VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
                " built = coalesce(built, excluded.built), source = coalesce(source, excluded.source),"
                " revision = coalesce(revision, excluded.revision)",
                (image.digest, image.built and _micros(image.built), image.source, image.revision),
            )
            connection.execute(
                "INSERT OR REPLACE INTO look VALUES (?, ?, ?)", (str(repository), tag, image.digest)
            )
            if image.platforms is not None:
                connection.execute(
                    "INSERT OR REPLACE INTO platform VALUES (?, ?)",
                    (image.digest, " ".join(image.platforms)),
                )

        self._write(save)

    # -- age -------------------------------------------------------------------------------------

    def began(self, now: datetime) -> datetime:
        """Since when this memory is kept: whatever was there before counts as seen first then."""
        kept = self.get("state", "began")
        if kept is None:
            self.put("state", "began", str(_micros(now)).encode())
            return now
        return _time(int(kept))

    # -- sightings -------------------------------------------------------------------------------

    def sightings(self, repository: Repository) -> dict[str, Sighting]:
        """Of every tag that was looked at: the digest last seen under it, and since when."""
        query = (
            "SELECT tag, digest, since, names FROM sighting LEFT JOIN platform USING (digest)"
            " WHERE repository = ?"
        )
        rows = self._run(lambda connection: connection.execute(query, (str(repository),)).fetchall())
        return {
            str(tag): Sighting(str(digest), _time(since), None if names is None else tuple(names.split()))
            for tag, digest, since, names in rows
        }

    def sighted(self, repository: Repository, tag: str) -> Sighting | None:
        """The digest that was last seen under a tag, and since when it is there; None where nobody looked."""
        row = self._row(
            "SELECT digest, since FROM sighting WHERE repository = ? AND tag = ?", str(repository), tag
        )
        return None if row is None else Sighting(str(row[0]), _time(row[1]))

    def sight(self, repository: Repository, tag: str, digest: str, now: datetime) -> Sighting:
        """Note the digest that is under a tag now; returns since when it is. Another digest, even one
        that stood there before, begins anew."""
        known = self.sighted(repository, tag)
        if known is not None and known.digest == digest:
            return known
        self._write(
            lambda connection: connection.execute(
                "INSERT OR REPLACE INTO sighting VALUES (?, ?, ?, ?)",
                (str(repository), tag, digest, _micros(now)),
            )
        )
        return Sighting(digest, now)

    # -- reports ---------------------------------------------------------------------------------

    def save_report(self, report: Report) -> None:
        """Keep the report of a cycle in place of the config repo's last one."""
        frame = frame_text(report)

        def save(connection: sqlite3.Connection) -> None:
            if self._told.get(report.repo) == report.outcomes:
                connection.execute("UPDATE report SET frame = ? WHERE repo = ?", (frame, report.repo))
                return
            connection.execute(
                "INSERT OR REPLACE INTO report VALUES (?, ?, ?)",
                (report.repo, frame, zlib.compress(outcomes_text(report.outcomes).encode(), 1)),
            )

        self._write(save)
        self._told[report.repo] = report.outcomes

    def last_report(self, repo: str) -> Report | None:
        """The last report of a config repo; None if there is none that this version understands."""
        row = self._row("SELECT frame, outcomes FROM report WHERE repo = ?", repo)
        text = None if row is None else _unpacked(row[1])
        if row is None or text is None:
            return None
        try:
            return read_report(row[0], text)
        except (ValueError, KeyError, TypeError):
            return None

    # -- refusals --------------------------------------------------------------------------------

    def refusal(self, repo: str, workload: str, key: str) -> Refusal | None:
        """The server's last no to this workload, if it was to the same `key`.

        The key says what was asked (candidate, head, config): another one is another question.
        """
        row = self._row(
            "SELECT words, at FROM refusal WHERE repo = ? AND workload = ? AND key = ?", repo, workload, key
        )
        return None if row is None else Refusal(row[0], _time(row[1]))

    def save_refusal(self, repo: str, workload: str, key: str, words: str, at: datetime) -> None:
        """Keep a server's no, in place of the workload's last one."""
        self._write(
            lambda connection: connection.execute(
                "INSERT OR REPLACE INTO refusal VALUES (?, ?, ?, ?, ?)",
                (repo, workload, key, words, _micros(at)),
            )
        )

    # -- sites -----------------------------------------------------------------------------------

    def kept_sites(self, repo: str, mark: str) -> KeptSites:
        """What was kept for a config repo under a mark; nothing where it was kept under another, or is
        damaged."""
        kept = self._run(lambda connection: read_sites(connection, repo, mark))
        if kept is None:
            self.drop_sites(repo)
            return KeptSites("", {})
        return kept

    def keep_sites(
        self,
        repo: str,
        mark: str,
        frame: str,
        added: Iterable[tuple[tuple[str, str], str]],
        gone: Collection[tuple[str, str]],
    ) -> None:
        """Keep texts by blob id and base name, and a frame around them all; what was kept under another
        mark goes, and what is gone."""
        self._write(lambda connection: write_sites(connection, repo, mark, frame, tuple(added), gone))

    def drop_sites(self, repo: str) -> None:
        """Forget the sites of a config repo, since what was kept cannot be read."""
        self._write(lambda connection: drop_sites(connection, repo))
        self._warn(reason("state/sites-damaged", repo=repo, file=self._file))

    def keep_sites_only_of(self, repos: Collection[str]) -> None:
        """Forget the sites of config repos that are no more."""
        for repo in self._run(site_repos):
            if repo not in repos:
                self._write(partial(drop_sites, repo=repo))

    # -- releases --------------------------------------------------------------------------------

    def series(self, repo: str, workload: str | None = None) -> tuple[tuple[str, str, str], ...]:
        """Workload, version and text of each series of checks, the newest first; of all workloads of the
        config repo where none is named."""
        rows = self._run(lambda connection: read_series(connection, repo, workload))
        return tuple((str(name), str(version), str(text)) for name, version, text in rows)

    def save_series(self, repo: str, workload: str, version: str, text: str, begun: datetime) -> None:
        """Keep what checks said of a version of a workload."""
        self._write(lambda c: write_series(c, repo, workload, version, _micros(begun), text))

    def first_sights(self, branch: str, commits: Iterable[str]) -> dict[str, datetime]:
        """When commits were first seen on a branch; only of those that were."""
        wanted = tuple(commits)
        found = self._run(lambda connection: read_sights(connection, branch, wanted))
        return {commit: _time(at) for commit, at in found.items()}

    def first_sight(self, branch: str) -> datetime | None:
        """When anything of a branch was first seen."""
        at = self._run(lambda connection: read_earliest(connection, branch))
        return None if at is None else _time(at)

    def saw_commits(self, branch: str, commits: Iterable[str], now: datetime) -> None:
        """Note that commits are on a branch; those that were seen earlier stay as they are."""
        seen = tuple(commits)
        self._write(lambda connection: write_sights(connection, branch, seen, _micros(now)))

    def forget_commits(self, branch: str) -> None:
        """The branch was rewound: nothing that was seen of it counts any more."""
        self._write(lambda c: c.execute("DELETE FROM first_sight WHERE branch = ?", (branch,)))

    # -- what runtimes said ----------------------------------------------------------------------

    def rollouts(self, branch: str, workload: str | None = None) -> tuple[tuple[str, str, str], ...]:
        """Workload, runtime and text of each rollout of a workload, the newest first; where none is named, of
        every workload the newest at each runtime."""
        rows = self._run(lambda connection: read_rollouts(connection, branch, workload))
        return tuple((row.workload, row.runtime, row.text) for row in rows)

    def runtimes_answered(self, branch: str) -> dict[str, datetime]:
        """When each runtime of a config repo answered last."""
        found = self._run(lambda connection: read_answered(connection, branch))
        return {runtime: _time(at) for runtime, at in found.items()}

    def save_look(
        self, branch: str, runtime: str, at: datetime, rollouts: Iterable[tuple[str, datetime, str]]
    ) -> None:
        """Keep what a look at a runtime changed: workload, beginning and text of rollouts; all or none."""
        rows = [KeptRollout(name, runtime, _micros(begun), text) for name, begun, text in rollouts]

        def save(connection: sqlite3.Connection) -> None:
            write_answered(connection, branch, runtime, _micros(at))
            write_rollouts(connection, branch, rows)

        self._write(save)

    # -- the outbox ------------------------------------------------------------------------------

    def post(
        self, messages: Iterable[outbox.Posted], notes: Iterable[tuple[str, str]], now: datetime
    ) -> dict[str, int]:
        """Keep messages until they are sent, and what their receivers were told then, all or nothing.
        Returns how many messages were too many or too old and had to go, by receiver."""
        posted, told = tuple(messages), tuple(notes)
        dropped: dict[str, int] = {}

        def write(connection: sqlite3.Connection) -> None:
            dropped.clear()
            dropped.update(outbox.write_messages(connection, posted, told, _micros(now)))

        self._write(write)
        return dropped

    def told(self, key: str) -> str | None:
        """What `post` noted under a key."""
        return self._run(lambda connection: outbox.read_note(connection, key))

    def first_message(
        self, receiver: str, *, after: int = 0, without: Collection[int] = ()
    ) -> outbox.Kept | None:
        """The oldest message that waits for a receiver: after number `after`, none of `without`."""
        return self._run(lambda connection: outbox.first_message(connection, receiver, after, without))

    def drop_message(self, seq: int) -> None:
        """A message was sent, or never will be."""
        self._write(lambda connection: connection.execute("DELETE FROM outbox WHERE seq = ?", (seq,)))

    def drop_old_messages(self, receiver: str, now: datetime) -> int:
        """Forget the messages that are too old to be of use; how many they were."""
        gone = 0

        def drop(connection: sqlite3.Connection) -> None:
            nonlocal gone
            gone = outbox.drop_old(connection, receiver, _micros(now))

        self._write(drop)
        return gone

    def waiting_messages(self) -> dict[str, int]:
        """How many messages wait, by receiver."""
        return self._run(outbox.count_messages)

    def keep_messages_only_of(self, receivers: Collection[str], notes: Collection[str]) -> dict[str, int]:
        """Forget the messages for receivers that are no more, and notes under other keys than these. Returns
        how many messages those were, by receiver."""
        unsent: dict[str, int] = {}

        def keep(connection: sqlite3.Connection) -> None:
            unsent.clear()
            unsent.update(outbox.keep_only(connection, receivers, notes))

        self._write(keep)
        return unsent

    # -- anything else ---------------------------------------------------------------------------

    def get(self, kind: str, key: str) -> bytes | None:
        """What was put under a kind and a key, or None."""
        row = self._row("SELECT value FROM note WHERE kind = ? AND key = ?", kind, key)
        return None if row is None else bytes(row[0])

    def put(self, kind: str, key: str, value: bytes | None) -> None:
        """Keep bytes under a kind and a key; None forgets them."""
        if value is None:
            self._write(lambda c: c.execute("DELETE FROM note WHERE kind = ? AND key = ?", (kind, key)))
        else:
            self._write(
                lambda c: c.execute("INSERT OR REPLACE INTO note VALUES (?, ?, ?)", (kind, key, value))
            )

    def keep_notes_only_of(self, kind: str, keys: Collection[str]) -> None:
        """Forget what was put under a kind and other keys than these."""
        wanted = json.dumps(list(keys))
        query = "DELETE FROM note WHERE kind = ? AND key NOT IN (SELECT value FROM json_each(?))"
        self._write(lambda c: c.execute(query, (kind, wanted)))

    # -- how -------------------------------------------------------------------------------------

    def _row(self, query: str, *parameters: str) -> tuple[Any, ...] | None:
        row: tuple[Any, ...] | None = self._run(lambda c: c.execute(query, parameters).fetchone())
        return row

    def _write(self, action: Callable[[sqlite3.Connection], object]) -> None:
        def write(connection: sqlite3.Connection) -> None:
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                action(connection)

        self._run(write)

    def _run(self, action: Callable[[sqlite3.Connection], T]) -> T:
        """Run one step; where the file turns out to be damaged, once more on a new file."""
        with self._turn:
            try:
                return action(self._connection)
            except sqlite3.DatabaseError as error:
                if not is_damage(error) or self._lock_file is None:
                    raise unusable(self._file.parent, error) from error
                self._connection.close()
                self._told.clear()
                self._connection = begun_again(self._file, error, self._warn)
            try:
                return action(self._connection)
            except sqlite3.DatabaseError as error:
                raise unusable(self._file.parent, error) from error


def _save_tag_list(connection: sqlite3.Connection, tag_list: TagList) -> None:
    name, now = str(tag_list.repository), _micros(tag_list.observed_at)
    row = connection.execute("SELECT revision, tags FROM tag_list WHERE repository = ?", (name,)).fetchone()
    if row is not None and row[0] == tag_list.revision:
        connection.execute("UPDATE tag_list SET observed_at = ? WHERE repository = ?", (now, name))
        return
    packed = zlib.compress("\n".join(tag_list.tags).encode())
    known = None if row is None else _unpacked(row[1])
    if known is None:  # first seen, or unreadable: everything counts from now
        connection.execute("DELETE FROM arrival WHERE repository = ?", (name,))
        connection.execute(
            "INSERT OR REPLACE INTO tag_list VALUES (?, ?, ?, ?, ?)",
            (name, tag_list.revision, now, now, packed),
        )
        return
    before, after = set(known.split("\n")) if known else set(), set(tag_list.tags)
    gone = [(name, tag) for tag in before - after]
    connection.executemany("DELETE FROM arrival WHERE repository = ? AND tag = ?", gone)
    connection.executemany("DELETE FROM look WHERE repository = ? AND tag = ?", gone)
    connection.executemany(
        "INSERT OR REPLACE INTO arrival VALUES (?, ?, ?)", [(name, tag, now) for tag in after - before]
    )
    connection.execute(
        "UPDATE tag_list SET revision = ?, observed_at = ?, tags = ? WHERE repository = ?",
        (tag_list.revision, now, packed, name),
    )


# -- values --------------------------------------------------------------------------------------


def _micros(time: datetime) -> int:
    return (time - _EPOCH) // timedelta(microseconds=1)


def _time(micros: int) -> datetime:
    return _EPOCH + timedelta(microseconds=micros)


def _unpacked(packed: bytes) -> str | None:
    """Text of a compressed column; None where its checksum does not fit."""
    try:
        return zlib.decompress(packed).decode()
    except (zlib.error, UnicodeDecodeError):
        return None


def _image(row: Sequence[Any]) -> Image:
    digest, built, source, revision, platforms = row
    told = None if platforms is None else tuple(platforms.split())
    return Image(digest, None if built is None else _time(built), source, revision, told)
