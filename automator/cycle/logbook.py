"""The logbook: releases read back from the config repo's history, each claim put to the proof."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from automator.core.history import FileVersion, proves
from automator.core.record import Member, parse_all
from automator.cycle.index import Index
from automator.edges.checkout import Checkout, LogEntry


@dataclass(frozen=True, slots=True)
class LogLine:
    """One workload's part of one release."""

    repo: str
    commit: str
    time: datetime
    author: str
    kind: str
    member: Member
    proven: bool
    """Whether the commit really moves the image as it claims."""


def releases(
    repo: str, checkout: Checkout, index: Index, head: str, wanted: Callable[[Member], bool], limit: int
) -> Iterator[LogLine]:
    """The releases on the branch, newest first, at most `limit`.

    Raises CheckoutError.
    """
    found: list[tuple[LogEntry, str, Member]] = []
    for entry in checkout.log(head, grep="Release-Workload:"):
        for record in parse_all(entry.message):
            found.extend((entry, record.kind, member) for member in record.members if wanted(member))
        if len(found) >= limit:
            break
    del found[limit:]
    files = {label.partition("#")[0] for _, _, member in found for label in member.sites}
    files = {file for file in files if _is_plain(file)}
    log = checkout.file_log(head, sorted(files))
    versions: dict[str, list[FileVersion]] = {}
    for version in index.file_versions(log.changes):
        versions.setdefault(version.change.commit, []).append(version)
    for entry, kind, member in found:
        proven = any(proves(version, member) for version in versions.get(entry.commit, ()))
        yield LogLine(repo, entry.commit, entry.time, entry.author, kind, member, proven)


def _is_plain(path: str) -> bool:
    """Whether a path from a commit message is one that a tree can have; anybody may write those."""
    return path.isprintable() and all(part not in ("", ".", "..") for part in path.split("/"))
