"""Opens the database of a state folder: its tables, its lock, and what happens when it is damaged."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from automator.edges.store.outbox import TABLES as OUTBOX_TABLES
from automator.edges.store.releasetable import TABLES as RELEASE_TABLES
from automator.edges.store.rollouttable import TABLES as ROLLOUT_TABLES
from automator.errors import ConfigError
from automator.reasons import Reason, reason

DATABASE = "automator.sqlite"
LOCK = "automator.lock"
FORMAT = 1
"""Goes up with every change of the tables that an older automator would not understand; kept in
`user_version`."""

_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT)

_TABLES = """
CREATE TABLE tag_list (
    repository TEXT PRIMARY KEY,
    revision TEXT NOT NULL,
    observed_at INTEGER NOT NULL,
    baseline INTEGER NOT NULL,      -- when the repository was first listed
    tags BLOB NOT NULL              -- zlib of the tags between newlines, in the registry's order
) WITHOUT ROWID;
CREATE TABLE arrival (              -- tags that came after the baseline
    repository TEXT NOT NULL,
    tag TEXT NOT NULL,
    seen_at INTEGER NOT NULL,
    PRIMARY KEY (repository, tag)
) WITHOUT ROWID;
CREATE TABLE look (                 -- what a tag was when it was looked up
    repository TEXT NOT NULL,
    tag TEXT NOT NULL,
    digest TEXT NOT NULL,
    PRIMARY KEY (repository, tag)
) WITHOUT ROWID;
CREATE TABLE image (                -- kept for ever: a digest never changes what it names
    digest TEXT PRIMARY KEY,
    built INTEGER,
    source TEXT,
    revision TEXT
) WITHOUT ROWID;
CREATE TABLE report (
    repo TEXT PRIMARY KEY,
    frame TEXT NOT NULL,
    outcomes BLOB NOT NULL          -- apart, since most cycles leave them as they were
) WITHOUT ROWID;
CREATE TABLE refusal (
    repo TEXT NOT NULL,
    workload TEXT NOT NULL,
    key TEXT NOT NULL,
    words TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (repo, workload)
) WITHOUT ROWID;
CREATE TABLE note (
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (kind, key)
) WITHOUT ROWID;
"""
_LATER_TABLES = """
CREATE TABLE IF NOT EXISTS sighting (   -- since when a digest stands under a tag: cannot be made again
    repository TEXT NOT NULL,
    tag TEXT NOT NULL,
    digest TEXT NOT NULL,
    since INTEGER NOT NULL,
    PRIMARY KEY (repository, tag)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS platform (   -- what an image is made for
    digest TEXT PRIMARY KEY,
    names TEXT NOT NULL                 -- between spaces
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sites (  -- what was found in blobs: made again whenever it is missing
    repo TEXT NOT NULL,
    blob TEXT NOT NULL,
    name TEXT NOT NULL,
    text BLOB NOT NULL,
    checksum INTEGER NOT NULL,
    PRIMARY KEY (repo, blob, name)
) WITHOUT ROWID;
"""
"""Those that an older automator never misses, nor this one when it opens an older file."""


def locked(folder: Path) -> int:
    """Lock the folder and write our process id there; the system drops the lock when we end."""
    lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        words = os.read(lock, 20).decode("ascii", "replace").strip()
        os.close(lock)
        holder = f"process {words}" if words.isdecimal() else "another process"
        raise ConfigError(reason("state/locked", folder=folder, holder=holder)) from None
    except BaseException:
        os.close(lock)
        raise
    _shut(folder / LOCK, 0o600)
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock


def private_folder(folder: Path) -> None:
    """Make a folder into which nobody but our user may look, or shut one to all others, whatever the umask
    and the folder that it is in. Raises OSError."""
    folder.mkdir(mode=0o700, exist_ok=True)
    _shut(folder, 0o700)


def _private_file(file: Path) -> None:
    """As `private_folder`, with a database and the files that SQLite keeps beside it, which get its mode.

    Nothing is opened that there is already: to close it would end the locks that SQLite has on it.
    """
    with contextlib.suppress(FileExistsError):
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    for suffix in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            _shut(Path(f"{file}{suffix}"), 0o600)


def _shut(path: Path, mode: int) -> None:
    if stat.S_IMODE(path.stat().st_mode) & ~mode:
        with contextlib.suppress(PermissionError):  # another user's, which we may use: theirs to say
            path.chmod(mode)


def opened(file: Path, warn: Callable[[Reason], None]) -> sqlite3.Connection:
    """The database, made where it is missing and begun again where it is damaged."""
    try:
        _private_file(file)
        return _connected(file)
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise unusable(file.parent, error) from error
        return begun_again(file, error, warn)
    except OSError as error:
        raise unusable(file.parent, error) from error


def _connected(file: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(file, check_same_thread=False, isolation_level=None, timeout=10)
    try:
        # Reads the whole list of tables, so a damaged file is found here and not in mid-cycle.
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        _check_format(connection, file)
        connection.execute("PRAGMA journal_mode = WAL")
        # The last moments may be lost when the machine goes down, the file not: that is enough.
        connection.execute("PRAGMA synchronous = NORMAL")
        # kB: what is read often is kept in values of our own; without a bound it would be 2 MB for ever.
        connection.execute("PRAGMA cache_size = -256")
        if _format(connection) == 0:
            connection.executescript(f"BEGIN IMMEDIATE; {_TABLES} PRAGMA user_version = {FORMAT}; COMMIT;")
        connection.executescript(_LATER_TABLES + RELEASE_TABLES + ROLLOUT_TABLES + OUTBOX_TABLES)
    except BaseException:
        connection.close()
        raise
    return connection


def begun_again(file: Path, error: Exception, warn: Callable[[Reason], None]) -> sqlite3.Connection:
    """A new database in place of a damaged one, which is kept aside."""
    kept = file.with_name(f"{file.name}.damaged")
    try:
        for suffix in ("", "-wal", "-shm"):
            part = Path(f"{file}{suffix}")
            if part.exists():
                part.replace(f"{kept}{suffix}")
        _private_file(file)
        connection = _connected(file)
    except (OSError, sqlite3.Error) as second:
        raise unusable(file.parent, second) from second
    warn(reason("state/damaged", file=file, problem=error, kept=kept.name))
    return connection


def copied(file: Path, warn: Callable[[Reason], None]) -> sqlite3.Connection:
    """A copy in memory of the database as it is now; an empty one where there is none."""
    try:
        file.stat()
    except FileNotFoundError:
        return _connected(Path(":memory:"))
    except OSError as error:
        raise unusable(file.parent, error) from error
    memory = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
    try:
        _copy_into(memory, file)
        memory.executescript(_LATER_TABLES + RELEASE_TABLES + ROLLOUT_TABLES + OUTBOX_TABLES)
    except sqlite3.DatabaseError as error:
        memory.close()
        if not is_damage(error):
            raise unusable(file.parent, error) from error
        warn(reason("state/damaged", file=file, problem=error, kept=file.name))
        return _connected(Path(":memory:"))
    except BaseException:
        memory.close()
        raise
    if _format(memory) == 0:  # an empty file: whoever makes it has not come to its tables
        memory.close()
        return _connected(Path(":memory:"))
    return memory


def _copy_into(memory: sqlite3.Connection, file: Path) -> None:
    try:
        _copy_from(f"{file.absolute().as_uri()}?mode=ro", memory, file)
    except sqlite3.OperationalError:
        # Without write access to its folder a WAL database opens only as one that nobody changes.
        _copy_from(f"{file.absolute().as_uri()}?mode=ro&immutable=1", memory, file)


def _copy_from(address: str, memory: sqlite3.Connection, file: Path) -> None:
    with closing(sqlite3.connect(address, uri=True)) as source:
        _check_format(source, file)
        source.backup(memory)


def _check_format(connection: sqlite3.Connection, file: Path) -> None:
    found = _format(connection)
    if found > FORMAT:
        raise ConfigError(reason("state/newer", file=file, found=found, known=FORMAT))


def _format(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def is_damage(error: sqlite3.Error) -> bool:
    """Whether the file is broken, and not only busy, full or out of reach."""
    # The low byte is the kind of error, the rest its details.
    return (getattr(error, "sqlite_errorcode", 0) & 0xFF) in _DAMAGE or "no such table" in str(error)


def unusable(folder: Path, error: Exception) -> ConfigError:
    """The reason why a state folder cannot be used, for people."""
    problem = getattr(error, "strerror", None) or str(error)
    return ConfigError(reason("state/unusable", folder=folder, problem=problem))
