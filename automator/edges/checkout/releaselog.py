"""The whole branch as a stream: commits as git tells them, messages of some, signatures of some."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypedDict

from automator.edges.checkout.git import Git
from automator.edges.checkout.reading import Failed, TreeChange, decode_path, encode_path, raw_entries
from automator.edges.checkout.signers import Trusted

_FIELDS = "%H%n%P%n%ct%n%an%n%ae%n%B"
"""None of them but the message, which comes last, can have a line end in it."""
_ONLY_ID = "%H%n"
_STEP = "reading history"
_PLAIN = ("--no-color", "-z", "--encoding=UTF-8", "--no-show-signature", "--no-mailmap", "--no-notes")
_SIGNATURES = {
    "N": "none",
    "G": "good",
    "B": "bad",
    "U": "unknown",  # good, of a key that nobody said to trust
    "E": "unknown",  # it cannot be checked: the key is missing
    "X": "expired",
    "Y": "expired",
    "R": "revoked",
}
"""What git says with `%G?` (git-log, "PRETTY FORMATS"), in words."""


RawChanges = tuple[tuple[bytes, bytes], ...]
"""What a commit changed, as git prints it: pairs of a line of modes and ids, and a path."""


@dataclass(frozen=True, slots=True)
class LoggedCommit:
    """One commit, as a log tells it. Of most commits of a long branch nobody asks more than one question, so
    git's words are taken apart when they are asked for."""

    told: bytes
    """What git printed of it, but for what it changed."""
    raw: RawChanges = ()
    """What it changed against its first parent: read by `changes`."""

    @property
    def commit(self) -> str:
        return self.told[: self.told.index(b"\n")].decode("ascii")

    @property
    def parents(self) -> tuple[str, ...]:
        return tuple(self._field(1).decode("ascii").split())

    @property
    def time(self) -> datetime:
        """Committer time, UTC."""
        return _moment(self._field(2))

    @property
    def author(self) -> str:
        return self._field(3).decode("utf-8", "replace")

    @property
    def mail(self) -> str:
        return self._field(4).decode("utf-8", "replace")

    @property
    def message(self) -> str:
        return self._field(5).decode("utf-8", "replace")

    @property
    def is_merge(self) -> bool:
        return b" " in self._field(1)

    def mentions(self, words: bytes) -> bool:
        """Whether the message has these words in it."""
        return words in self.told and words in self._field(5)

    def _field(self, number: int) -> bytes:
        return self.told.split(b"\n", 5)[number]

    def changes(self) -> Iterator[TreeChange]:
        """The paths that it changed against its first parent, where the log was asked for them."""
        for head, path in self.raw:
            yield TreeChange(decode_path(path), *raw_entries(head))


@dataclass(frozen=True, slots=True)
class Signature:
    """What git says of a commit's signature."""

    state: str
    """none, good, bad, unknown, expired or revoked."""
    signer: str | None


class Asked(TypedDict, total=False):
    """What of a log is wanted: see `stream_log`."""

    mentioning: str | None
    paths: Sequence[str]
    changes: bool
    beside: str | None
    limit: int | None
    only_changes: bool


def stream_log(
    git: Git,
    commit: str,
    *,
    mentioning: str | None = None,
    paths: Sequence[str] = (),
    changes: bool = True,
    beside: str | None = None,
    limit: int | None = None,
    only_changes: bool = False,
) -> Iterator[LoggedCommit]:
    """The first-parent commits up to `commit`, newest first, as git finds them: nothing is waited for but
    the next one, and nothing is kept.

    `mentioning` leaves out those whose message lacks a text, `paths` those that changed no file there.
    With `beside`, a commit's first parent, what a merge brought: all commits that it lacks. With
    `only_changes` nothing is told of a commit but its id and all that it changed, elsewhere too.
    """
    line = (commit, f"^{beside}") if beside is not None else ("--first-parent", commit)
    wanted = ("--raw", "--diff-merges=first-parent", "--no-renames", "--no-abbrev") if changes else ("-s",)
    if only_changes:
        wanted = (*wanted, "--full-diff")
    options = [*wanted, *(("--fixed-strings", f"--grep={mentioning}") if mentioning else ())]
    if limit is not None:
        options.append(f"--max-count={limit}")
    flags = [part for part in line if part.startswith("--")]
    asked = [part.encode("ascii") for part in line if not part.startswith("--")]
    feed = [*asked, b"--", *(encode_path(path) for path in paths if "\n" not in path)]
    with git.start(
        _STEP,
        *("--literal-pathspecs", "log", *_PLAIN, *options, *flags),
        *(f"--format=tformat:{_ONLY_ID if only_changes else _FIELDS}", "--stdin"),
        fed=True,
    ) as running:
        running.send(b"".join(words + b"\n" for words in feed))
        running.end_input()
        yield from _commits(running.chunks())
        if running.status():
            raise Failed(_STEP, running.words)


def read_commits(git: Git, commits: Iterable[str], *, changes: bool = False) -> Iterator[LoggedCommit]:
    """Commits by their ids, in the order asked for; with `changes`, with what they changed against their
    first parents."""
    wanted = ("--raw", "--diff-merges=first-parent", "--no-renames", "--no-abbrev") if changes else ("-s",)
    asked = "".join(f"{commit}\n" for commit in commits).encode("ascii")
    if not asked:
        return
    answer = git.run(
        _STEP,
        *(
            "log",
            *_PLAIN,
            *wanted,
            "--ignore-missing",
            "--no-walk=unsorted",
            f"--format=tformat:{_FIELDS}",
            "--stdin",
        ),
        feed=asked,
    )
    if answer.status:
        raise Failed(_STEP, answer.words)
    yield from _commits(iter((answer.out,)))


def read_signatures(git: Git, commits: Iterable[str], trusted: Trusted) -> dict[str, Signature]:
    """What git says of the signatures of commits; it starts a program for each signed one."""
    asked = "".join(f"{commit}\n" for commit in commits).encode("ascii")
    if not asked:
        return {}
    answer = git.run(
        "checking signatures",
        *("log", *_PLAIN, "-s", "--no-walk=unsorted", "--format=tformat:%H%x00%G?%x00%GS", "--stdin"),
        feed=asked,
        extra=trusted.environment,
        settings=trusted.settings,
    )
    if answer.status:
        raise Failed("checking signatures", answer.words)
    tokens = [token.decode("utf-8", "replace").strip() for token in answer.out.split(b"\0")]
    return {
        commit: Signature(_SIGNATURES.get(state, "unknown"), signer or None)
        for commit, state, signer in zip(tokens[::3], tokens[1::3], tokens[2::3], strict=False)
    }


def _commits(chunks: Iterator[bytes]) -> Iterator[LoggedCommit]:
    """Commits out of a log with `-z`, where everything ends in NUL: the fields, then pairs of a raw line,
    which begins with a colon as no id does, and its path."""
    told: bytes | None = None
    raw: list[tuple[bytes, bytes]] = []
    head: bytes | None = None
    for token in _tokens(chunks):
        if head is not None:
            raw.append((head, token))
            head = None
        elif token.startswith((b":", b"\n:")):
            head = token
        else:
            if told is not None:
                yield LoggedCommit(told, tuple(raw))
            told, raw = token.lstrip(b"\n"), []
    if told is not None:
        yield LoggedCommit(told, tuple(raw))


def _tokens(chunks: Iterator[bytes]) -> Iterator[bytes]:
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\0")
        yield from whole
    if rest.strip(b"\n"):
        yield rest


def _moment(seconds: bytes) -> datetime:
    """A commit's time; a nonsensical one (git stores any number) counts as the epoch's beginning."""
    try:
        return datetime.fromtimestamp(int(seconds), UTC)
    except (ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(0, UTC)
