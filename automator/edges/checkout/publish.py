"""Commits without a work tree: one `git fast-import` writes a chain of them.

The stream's grammar is that of git-fast-import, "INPUT FORMAT". It cannot sign: where commits are signed,
it writes their files and trees, and one `git hash-object` the commits with their signatures.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from automator.core.release import Draft
from automator.edges.checkout.git import Git, Running
from automator.edges.checkout.reading import FILE_MODES, Failed, encode_path
from automator.edges.checkout.signing import GpgKey, Sign, SshKey, signing
from automator.errors import CheckoutError
from automator.reasons import reason

MADE = "refs/automator/made"
"""The last chain that we made. One ref, overwritten: it keeps a chain alive until the branch has it."""

_UNSIGNED = "refs/automator/unsigned"
"""Where fast-import leaves a chain whose trees are wanted, for commits of another making."""
_TEXT = "automator_commit"
"""A file of the clone, for the text of one commit on its way into it."""
_STEP = "making commits"
_PACKED = (("fastimport.unpackLimit", "0"),)
"""The pack stays as it is written: taking it apart into loose objects takes as long as all the rest."""
_NEW_FILE = "100644"
_ENDS_IN_TRAILERS = re.compile(r"\n\n(?:[A-Za-z0-9-]+: [^\n]*\n)*[A-Za-z0-9-]+: [^\n]*\Z")


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a commit is by."""

    name: str
    email: str


@dataclass(frozen=True, slots=True)
class Seal:
    """What makes a commit ours beyond its author."""

    committer: Identity | None = None
    """None for the author."""
    sign_off: bool = False
    """Whether the author stands at the end of the message, as `git commit --signoff` writes it."""
    key: SshKey | GpgKey | None = None
    """What it is signed with; None for no signature."""


NO_SEAL = Seal()


@dataclass(frozen=True, slots=True)
class _Hands:
    """Author and committer as commits name them, and the line that signs off."""

    author: bytes
    committer: bytes
    sign_off: str


def write_commits(
    git: Git, base: str, drafts: Sequence[Draft], *, when: datetime, author: Identity, seal: Seal = NO_SEAL
) -> tuple[str, ...]:
    """Write one commit for each draft, the first on `base`, and return their ids in order.

    The same arguments give the same ids, but for GPG signatures, which hold the time. `done` makes git
    refuse a stream that breaks off, so a chain is there whole or not at all.

    Raises CheckoutError (`git/bad-path`, `git/signing`) and Failed.
    """
    paths = tuple(dict.fromkeys(path for draft in drafts for path, _ in draft.files))
    for path in paths:
        _check_path(path)
    hands = _hands(author, seal, when)
    words = ("fast-import", "--quiet", "--force", "--date-format=raw")
    with git.start(_STEP, *words, fed=True, settings=_PACKED) as running:
        running.send(b"feature done\n" + b"".join(b"ls %s %s\n" % (base.encode(), _quoted(p)) for p in paths))
        modes = {path: _mode(running, path) for path in paths}
        previous = base.encode()
        ref = MADE if seal.key is None else _UNSIGNED
        for number, draft in enumerate(drafts, 1):
            running.send(_commit(number, ref, previous, hands, draft, modes))
            previous = b":%d" % number
        numbers = range(1, len(drafts) + 1)
        running.send(b"".join(b"get-mark :%d\n" % n for n in numbers))
        if seal.key is not None:
            running.send(b"".join(b'ls :%d ""\n' % n for n in numbers))
        running.send(b"done\n")
        running.end_input()
        told = b"".join(running.chunks()).decode("ascii").splitlines()
        if running.status() or len(told) != len(drafts) * (1 if seal.key is None else 2):
            raise Failed(_STEP, running.words)
    if seal.key is None:
        return tuple(told)
    trees = [line.split()[2] for line in told[len(drafts) :]]  # mode, type, id
    with signing(seal.key, git.folder, deadline=git.deadline) as sign:
        return _write_signed(git, base, list(zip(trees, drafts, strict=True)), hands, sign)


def _write_signed(
    git: Git, base: str, chain: Sequence[tuple[str, Draft]], hands: _Hands, sign: Sign
) -> tuple[str, ...]:
    """Write commits of trees that are there already, each with its signature (git-hash-object)."""
    file = git.folder / _TEXT
    made = [base]
    try:
        with git.start(_STEP, "hash-object", "-t", "commit", "-w", "--stdin-paths", fed=True) as running:
            for tree, draft in chain:
                _write(file, _signed_text(tree, made[-1], hands, draft, sign))
                running.send(b"%s\n" % str(file).encode("utf-8", "surrogateescape"))
                made.append(running.line().decode("ascii"))
                if not made[-1]:
                    break
            running.end_input()
            for _ in running.chunks():
                pass
            if running.status() or not made[-1]:
                raise Failed(_STEP, running.words)
    finally:
        file.unlink(missing_ok=True)
    answer = git.run(_STEP, "update-ref", MADE, made[-1])
    if answer.status:
        raise Failed(_STEP, answer.words)
    return tuple(made[1:])


def _write(file: Path, text: bytes) -> None:
    try:
        file.write_bytes(text)
    except OSError as error:
        # As git would say it, so that a full disk is told as one.
        raise Failed(_STEP, f"{file}: {error.strerror}") from None


def _signed_text(tree: str, parent: str, hands: _Hands, draft: Draft, sign: Sign) -> bytes:
    """A commit as it is stored (gitformat-signature, "Commit signatures")."""
    head = f"tree {tree}\nparent {parent}\n".encode()
    head += b"author %s\ncommitter %s\n" % (hands.author, hands.committer)
    body = b"\n" + _message(draft, hands)
    name = b"gpgsig" if len(tree) == 40 else b"gpgsig-sha256"
    signature = sign(head + body).strip(b"\n").replace(b"\n", b"\n ")
    return head + b"%s %s\n" % (name, signature) + body


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


def _commit(
    number: int, ref: str, previous: bytes, hands: _Hands, draft: Draft, modes: dict[str, str]
) -> bytes:
    message = _message(draft, hands)
    parts = [
        b"commit %s\nmark :%d\n" % (ref.encode(), number),
        b"author %s\ncommitter %s\n" % (hands.author, hands.committer),
        b"data %d\n%s\nfrom %s\n" % (len(message), message, previous),
    ]
    for path, content in draft.files:
        if content is None:
            parts.append(b"D %s\n" % _quoted(path))
            continue
        parts.append(b"M %s inline %s\n" % (modes[path].encode(), _quoted(path)))
        parts.append(b"data %d\n%s\n" % (len(content), content))
    return b"".join(parts)


def _message(draft: Draft, hands: _Hands) -> bytes:
    """The message as it is stored; who signs off does so in the last lines, where git looks for trailers."""
    text = draft.message.replace("\0", "").rstrip("\n")
    if hands.sign_off:
        gap = "\n" if _ENDS_IN_TRAILERS.search(text) else "\n\n"
        text = f"{text}{gap}{hands.sign_off}"
    return text.encode("utf-8", "replace") + b"\n"


def _hands(author: Identity, seal: Seal, when: datetime) -> _Hands:
    sign_off = f"Signed-off-by: {_person(author)}" if seal.sign_off else ""
    written, committed = (_at(_person(who), when) for who in (author, seal.committer or author))
    return _Hands(written, committed, sign_off)


def _at(person: str, when: datetime) -> bytes:
    return f"{person} {int(when.timestamp())} +0000".encode("utf-8", "replace")


def _person(who: Identity) -> str:
    return f"{_plain(who.name) or 'automator'} <{_plain(who.email)}>"


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
