"""The tables of what was seen of releases: since when commits were on a branch, and what checks said."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

SERIES_KEPT = 20
"""Versions of a workload whose checks are remembered."""
COMMITS_KEPT = 20_000
"""Commits of a branch whose first sight is remembered."""

TABLES = """
CREATE TABLE IF NOT EXISTS series (     -- what checks said of a version: made again whenever it is missing
    repo TEXT NOT NULL,     -- name, URL and branch of the config repo
    workload TEXT NOT NULL,
    version TEXT NOT NULL,
    at INTEGER NOT NULL,
    text TEXT NOT NULL,
    PRIMARY KEY (repo, workload, version)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS first_sight (    -- since when a commit was on a branch: cannot be made again
    branch TEXT NOT NULL,
    head TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (branch, head)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS first_sight_at ON first_sight (branch, at);
"""


def read_series(
    connection: sqlite3.Connection, repo: str, workload: str | None
) -> list[tuple[str, str, str]]:
    """Workload, version and text of each series, the newest first; of all workloads where None."""
    query = "SELECT workload, version, text FROM series WHERE repo = ?"
    if workload is None:
        return connection.execute(f"{query} ORDER BY at DESC, version", (repo,)).fetchall()
    query += " AND workload = ? ORDER BY at DESC, version"
    return connection.execute(query, (repo, workload)).fetchall()


def write_series(
    connection: sqlite3.Connection, repo: str, workload: str, version: str, at: int, text: str
) -> None:
    """Keep a series in place of the version's last one; the oldest of the workload go."""
    connection.execute(
        "INSERT OR REPLACE INTO series VALUES (?, ?, ?, ?, ?)", (repo, workload, version, at, text)
    )
    connection.execute(
        "DELETE FROM series WHERE repo = ?1 AND workload = ?2 AND version NOT IN (SELECT version FROM series"
        " WHERE repo = ?1 AND workload = ?2 ORDER BY at DESC, version LIMIT ?3)",
        (repo, workload, SERIES_KEPT),
    )


def read_sights(connection: sqlite3.Connection, branch: str, heads: Iterable[str]) -> dict[str, int]:
    """When these commits were first seen on a branch, of those that were."""
    found: dict[str, int] = {}
    for head in heads:
        row = connection.execute(
            "SELECT at FROM first_sight WHERE branch = ? AND head = ?", (branch, head)
        ).fetchone()
        if row is not None:
            found[head] = int(row[0])
    return found


def read_earliest(connection: sqlite3.Connection, branch: str) -> int | None:
    """When the first of all commits of a branch was seen."""
    row = connection.execute("SELECT min(at) FROM first_sight WHERE branch = ?", (branch,)).fetchone()
    return None if row is None or row[0] is None else int(row[0])


def write_sights(connection: sqlite3.Connection, branch: str, heads: Iterable[str], at: int) -> None:
    """Note commits as seen on a branch; one that was seen earlier stays as it is."""
    connection.executemany(
        "INSERT INTO first_sight VALUES (?, ?, ?)"
        " ON CONFLICT (branch, head) DO UPDATE SET at = min(at, excluded.at)",
        [(branch, head, at) for head in heads],
    )
    (count,) = connection.execute("SELECT count(*) FROM first_sight WHERE branch = ?", (branch,)).fetchone()
    if count > COMMITS_KEPT:
        connection.execute(
            "DELETE FROM first_sight WHERE branch = ?1 AND head IN (SELECT head FROM first_sight"
            " WHERE branch = ?1 ORDER BY at LIMIT ?2)",
            (branch, COMMITS_KEPT // 10),
        )
