"""Steps with a checkout, and looks at running processes, that several tests of git share."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from automator.core.release import Draft
from automator.edges.checkout import Checkout, Identity

BOT = Identity("automator", "bot@example.org")
NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def fetched(checkout: Checkout) -> str:
    """The branch's tip, asked for and fetched."""
    tip = checkout.ask_tip()
    checkout.fetch(tip)
    return tip


def release(checkout: Checkout, base: str, version: str, path: str = "apps/web.yaml") -> str:
    """A commit on `base` that sets `path` to a version."""
    draft = Draft(f"Release web {version}\n", ((path, f"image: web:{version}\n".encode()),))
    return checkout.commit(base, [draft], when=NOON, author=BOT)[0]


def wait_for(condition: Callable[[], object], seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.01)


def command_lines(*, containing: str) -> list[str]:
    """The command lines of all other processes that mention a text."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if containing in line and file.parent.name != str(os.getpid()):
            found.append(line)
    return found


def children() -> list[str]:
    """Git's processes whose parent is this one, zombies included; registries of the run may be others."""
    mine = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = stat.read_text().partition("(")[2].rpartition(")")
        except OSError:
            continue
        if name.startswith("git") and int(rest.split()[1]) == os.getpid():
            mine.append(stat.parent.name)
    return mine
