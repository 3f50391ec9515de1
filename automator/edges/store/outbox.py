"""The outbox: messages that are to be sent, until somebody took them or they are too many or too old."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable
from typing import NamedTuple

KEPT = 500
"""Messages that are kept for one receiver."""
DAYS = 7
"""How long they are kept."""
_AGE = DAYS * 86_400 * 1_000_000
_NOTES = "notice"
"""Kind of the notes that say what a receiver was told."""

TABLES = """
CREATE TABLE IF NOT EXISTS outbox (     -- what is to be told: cannot be made again
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    receiver TEXT NOT NULL,
    id TEXT NOT NULL,
    at INTEGER NOT NULL,
    text TEXT NOT NULL,
    UNIQUE (receiver, id)
);
"""


class Posted(NamedTuple):
    """A message on its way."""

    receiver: str
    id: str
    text: str


class Kept(NamedTuple):
    """The oldest message for a receiver."""

    seq: int
    id: str
    text: str


def write_messages(
    connection: sqlite3.Connection, messages: Iterable[Posted], notes: Iterable[tuple[str, str]], at: int
) -> dict[str, int]:
    """Add messages, and note what their receivers know then. Returns how many had to go, by receiver: the
    oldest, and of what came at once the last, since failures stand first."""
    posted = list(messages)
    (last,) = connection.execute("SELECT coalesce(max(seq), 0) FROM outbox").fetchone()
    connection.executemany(
        "INSERT OR IGNORE INTO outbox (receiver, id, at, text) VALUES (?, ?, ?, ?)",
        [(one.receiver, one.id, at, one.text) for one in posted],
    )
    connection.executemany(
        "INSERT OR REPLACE INTO note VALUES (?, ?, ?)",
        [(_NOTES, key, text.encode("utf-8", "replace")) for key, text in notes],
    )
    dropped: dict[str, int] = {}
    for receiver in sorted({one.receiver for one in posted}):
        gone = connection.execute(
            "DELETE FROM outbox WHERE receiver = ?1 AND (at < ?2 OR seq NOT IN"
            " (SELECT seq FROM outbox WHERE receiver = ?1"
            " ORDER BY seq > ?4 DESC, CASE WHEN seq > ?4 THEN seq ELSE -seq END LIMIT ?3))",
            (receiver, at - _AGE, KEPT, last),
        ).rowcount
        if gone:
            dropped[receiver] = gone
    return dropped


def drop_old(connection: sqlite3.Connection, receiver: str, now: int) -> int:
    """Forget the messages that are too old; how many they were."""
    return connection.execute(
        "DELETE FROM outbox WHERE receiver = ? AND at < ?", (receiver, now - _AGE)
    ).rowcount


def first_message(
    connection: sqlite3.Connection, receiver: str, after: int, without: Collection[int]
) -> Kept | None:
    """The oldest message for a receiver after number `after` that is none of `without`."""
    rows = connection.execute(
        "SELECT seq FROM outbox WHERE receiver = ? AND seq > ? ORDER BY seq LIMIT ?",
        (receiver, after, len(without) + 1),
    )
    seq = next((seq for (seq,) in rows if seq not in without), None)
    if seq is None:
        return None
    row = connection.execute("SELECT seq, id, text FROM outbox WHERE seq = ?", (seq,)).fetchone()
    return Kept(int(row[0]), str(row[1]), str(row[2]))


def count_messages(connection: sqlite3.Connection) -> dict[str, int]:
    """How many messages wait, by receiver."""
    rows = connection.execute("SELECT receiver, count(*) FROM outbox GROUP BY receiver").fetchall()
    return {str(receiver): int(count) for receiver, count in rows}


def read_note(connection: sqlite3.Connection, key: str) -> str | None:
    """What a receiver was told, as it was noted."""
    row = connection.execute("SELECT value FROM note WHERE kind = ? AND key = ?", (_NOTES, key)).fetchone()
    return None if row is None else bytes(row[0]).decode("utf-8", "replace")


def keep_only(
    connection: sqlite3.Connection, receivers: Collection[str], notes: Collection[str]
) -> dict[str, int]:
    """Forget the messages for receivers that are no more, and what they were told. Returns how many messages
    those were, by receiver."""
    unsent = {name: count for name, count in count_messages(connection).items() if name not in receivers}
    connection.executemany("DELETE FROM outbox WHERE receiver = ?", [(name,) for name in unsent])
    for (key,) in connection.execute("SELECT key FROM note WHERE kind = ?", (_NOTES,)).fetchall():
        if key not in notes:
            connection.execute("DELETE FROM note WHERE kind = ? AND key = ?", (_NOTES, key))
    return unsent
