"""The tables of what runtimes said of versions: since when each ran where, or that it failed there."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import NamedTuple

ROLLOUTS_KEPT = 100
"""Rollouts of a workload at one runtime that are remembered."""

TABLES = """
CREATE TABLE IF NOT EXISTS rollout (    -- what a runtime said of a version: cannot be made again
    branch TEXT NOT NULL,   -- name, URL and branch of the config repo
    workload TEXT NOT NULL,
    runtime TEXT NOT NULL,
    begun INTEGER NOT NULL,
    text TEXT NOT NULL,
    PRIMARY KEY (branch, workload, runtime, begun)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS answered (   -- when a runtime answered last
    branch TEXT NOT NULL,
    runtime TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (branch, runtime)
) WITHOUT ROWID;
"""


class KeptRollout(NamedTuple):
    """One version of a workload at one runtime."""

    workload: str
    runtime: str
    begun: int
    text: str


def read_rollouts(connection: sqlite3.Connection, branch: str, workload: str | None) -> list[KeptRollout]:
    """The rollouts of a workload, the newest first; of every workload the newest at each runtime alone where
    None."""
    if workload is None:
        query = (
            "SELECT workload, runtime, begun, text FROM rollout AS one WHERE branch = ?1 AND begun = ("
            "SELECT max(begun) FROM rollout WHERE branch = ?1 AND workload = one.workload"
            " AND runtime = one.runtime)"
        )
        rows = connection.execute(query, (branch,))
    else:
        query = (
            "SELECT workload, runtime, begun, text FROM rollout WHERE branch = ? AND workload = ?"
            " ORDER BY begun DESC"
        )
        rows = connection.execute(query, (branch, workload))
    return [
        KeptRollout(str(name), str(runtime), int(begun), str(text)) for name, runtime, begun, text in rows
    ]


def write_rollouts(connection: sqlite3.Connection, branch: str, rollouts: Iterable[KeptRollout]) -> None:
    """Keep rollouts, each as the newest of its workload at its runtime, in place of one that began when
    it did; the oldest go, and what a wrong clock dated later."""
    for workload, runtime, begun, text in rollouts:
        connection.execute(
            "DELETE FROM rollout WHERE branch = ? AND workload = ? AND runtime = ? AND begun > ?",
            (branch, workload, runtime, begun),
        )
        connection.execute(
            "INSERT OR REPLACE INTO rollout VALUES (?, ?, ?, ?, ?)", (branch, workload, runtime, begun, text)
        )
        connection.execute(
            "DELETE FROM rollout WHERE branch = ?1 AND workload = ?2 AND runtime = ?3 AND begun NOT IN ("
            "SELECT begun FROM rollout WHERE branch = ?1 AND workload = ?2 AND runtime = ?3"
            " ORDER BY begun DESC LIMIT ?4)",
            (branch, workload, runtime, ROLLOUTS_KEPT),
        )


def read_answered(connection: sqlite3.Connection, branch: str) -> dict[str, int]:
    """When each runtime answered last."""
    rows = connection.execute("SELECT runtime, at FROM answered WHERE branch = ?", (branch,))
    return {str(runtime): int(at) for runtime, at in rows}


def write_answered(connection: sqlite3.Connection, branch: str, runtime: str, at: int) -> None:
    """Note that a runtime answered."""
    connection.execute("INSERT OR REPLACE INTO answered VALUES (?, ?, ?)", (branch, runtime, at))
