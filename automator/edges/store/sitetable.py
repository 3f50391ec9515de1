"""The table of sites: what was found in blobs, as text, under the mark of whoever found it."""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Collection, Iterable
from typing import NamedTuple

_NOTE = "sites"
"""Kind of the note that holds mark and frame of a config repo's rows."""


class KeptSites(NamedTuple):
    """What was kept for a config repo."""

    frame: str
    """What was said about all of them; empty where nothing was kept."""
    texts: dict[tuple[str, str], str]
    """By blob id and base name."""


def read_sites(connection: sqlite3.Connection, repo: str, mark: str) -> KeptSites | None:
    """What was kept under a mark; None where a row is damaged."""
    kept_mark, frame = _note(connection, repo)
    texts: dict[tuple[str, str], str] = {}
    if kept_mark != mark:
        return KeptSites("", texts)
    # As bytes, so that what is no text any more is met here and not in the library.
    query = "SELECT CAST(blob AS BLOB), CAST(name AS BLOB), text, checksum FROM sites WHERE repo = ?"
    for blob, name, text, checksum in connection.execute(query, (repo,)):
        if _checksum(blob, name, text) != checksum:
            return None
        texts[blob.decode(), name.decode()] = text.decode()
    return KeptSites(frame, texts)


def write_sites(
    connection: sqlite3.Connection,
    repo: str,
    mark: str,
    frame: str,
    added: Iterable[tuple[tuple[str, str], str]],
    gone: Collection[tuple[str, str]],
) -> None:
    """Bring the rows of a config repo up to date."""
    kept_mark, _ = _note(connection, repo)
    if kept_mark != mark:
        connection.execute("DELETE FROM sites WHERE repo = ?", (repo,))
    connection.executemany(
        "DELETE FROM sites WHERE repo = ? AND blob = ? AND name = ?", ((repo, *key) for key in gone)
    )
    connection.executemany(
        "INSERT OR REPLACE INTO sites VALUES (?, ?, ?, ?, ?)",
        (_row(repo, blob, name, text.encode()) for (blob, name), text in added),
    )
    note = json.dumps([mark, frame]).encode()
    connection.execute("INSERT OR REPLACE INTO note VALUES (?, ?, ?)", (_NOTE, repo, note))


def site_repos(connection: sqlite3.Connection) -> list[str]:
    """The config repos that have rows."""
    rows = connection.execute("SELECT key FROM note WHERE kind = ?", (_NOTE,)).fetchall()
    return [repo for (repo,) in rows]


def drop_sites(connection: sqlite3.Connection, repo: str) -> None:
    """Forget the rows of a config repo."""
    connection.execute("DELETE FROM sites WHERE repo = ?", (repo,))
    connection.execute("DELETE FROM note WHERE kind = ? AND key = ?", (_NOTE, repo))


def _note(connection: sqlite3.Connection, repo: str) -> tuple[str, str]:
    row = connection.execute("SELECT value FROM note WHERE kind = ? AND key = ?", (_NOTE, repo)).fetchone()
    try:
        mark, frame = json.loads(row[0]) if row is not None else ("", "")
    except (ValueError, TypeError):
        return "", ""
    return str(mark), str(frame)


def _row(repo: str, blob: str, name: str, text: bytes) -> tuple[str, str, str, bytes, int]:
    return repo, blob, name, text, _checksum(blob.encode(), name.encode(), text)


def _checksum(*words: bytes) -> int:
    return zlib.crc32(b"\0".join(words))
