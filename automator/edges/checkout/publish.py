"""Commits without a work tree: one `git fast-import` writes a chain of them.

The stream's grammar is that of git-fast-import, "INPUT FORMAT".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from automator.core.release import Draft
from automator.edges.checkout.git import Git, Running
from automator.edges.checkout.reading import FILE_MODES, Failed, encode_path
from automator.errors import CheckoutError
from automator.reasons import reason

MADE = "refs/automator/made"
"""The last chain that we made. One ref, overwritten: it keeps a chain alive until the branch has it."""

_STEP = "making commits"
_PACKED = (("fastimport.unpackLimit", "0"),)
"""The pack stays as it is written: taking it apart into loose objects takes as long as all the rest."""
_NEW_FILE = "100644"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a commit is by."""

    name: str
    email: str


def write_commits(
    git: Git, base: str, drafts: Sequence[Draft], *, when: datetime, author: Identity
) -> tuple[str, ...]:
    """Write one commit for each draft, the first on `base`, and return their ids in order.

    The same arguments give the same ids. `done` makes git refuse a stream that breaks off, so a
    chain is there whole or not at all. Raises CheckoutError (`git/bad-path`) and Failed.
    """
    paths = tuple(dict.fromkeys(path for draft in drafts for path, _ in draft.files))
    for path in paths:
        _check_path(path)
    words = ("fast-import", "--quiet", "--force", "--date-format=raw")
    with git.start(_STEP, *words, fed=True, settings=_PACKED) as running:
        running.send(b"feature done\n" + b"".join(b"ls %s %s\n" % (base.encode(), _quoted(p)) for p in paths))
        modes = {path: _mode(running, path) for path in paths}
        who = _person(author, when)
        previous = base.encode()
        for number, draft in enumerate(drafts, 1):
            running.send(_commit(number, previous, who, draft, modes))
            previous = b":%d" % number
        running.send(b"".join(b"get-mark :%d\n" % n for n in range(1, len(drafts) + 1)) + b"done\n")
        running.end_input()
        made = b"".join(running.chunks()).decode("ascii").split()
        if running.status() or len(made) != len(drafts):
            raise Failed(_STEP, running.words)
    return tuple(made)


def _mode(running: Running, path: str) -> str:
    """The mode that a file has in the base, asked of the process that will write it."""
    line = running.line()
    if line.startswith(b"missing "):
        return _NEW_FILE
    mode = line.partition(b" ")[0].decode("ascii", "replace")
    if not mode:
        running.end_input()
        for _ in running.chunks():
            pass
        running.status()
        raise Failed(_STEP, running.words)
    if mode not in FILE_MODES:
        raise CheckoutError(
            reason("git/bad-path", path=path, problem=f"is no regular file (mode {mode})"), retry=False
        )
    return mode


def _commit(number: int, previous: bytes, who: bytes, draft: Draft, modes: dict[str, str]) -> bytes:
    message = draft.message.replace("\0", "").rstrip("\n").encode("utf-8", "replace") + b"\n"
    parts = [
        b"commit %s\nmark :%d\nauthor %s\ncommitter %s\n" % (MADE.encode(), number, who, who),
        b"data %d\n%s\nfrom %s\n" % (len(message), message, previous),
    ]
    for path, content in draft.files:
        parts.append(b"M %s inline %s\n" % (modes[path].encode(), _quoted(path)))
        parts.append(b"data %d\n%s\n" % (len(content), content))
    return b"".join(parts)


def _person(author: Identity, when: datetime) -> bytes:
    name = _plain(author.name) or "automator"
    return f"{name} <{_plain(author.email)}> {int(when.timestamp())} +0000".encode("utf-8", "replace")


def _plain(text: str) -> str:
    """A name without what would end it: angle brackets, line ends, control characters."""
    return "".join(c for c in text if c.isprintable() and c not in "<>").strip()


def _check_path(path: str) -> None:
    parts = path.split("/")
    problem = ""
    if any(ord(c) < 0x20 or ord(c) == 0x7F for c in path):
        problem = "has control characters"
    elif any(part in ("", ".", "..") for part in parts):
        problem = "is not a plain path below the root"
    elif any(part.lower() == ".git" for part in parts):
        problem = "is inside .git"
    if problem:
        raise CheckoutError(reason("git/bad-path", path=path, problem=problem), retry=False)


def _quoted(path: str) -> bytes:
    """A path as a C-style string, which fast-import takes for any bytes but a line end."""
    return b'"%s"' % encode_path(path).replace(b"\\", b"\\\\").replace(b'"', b'\\"')
