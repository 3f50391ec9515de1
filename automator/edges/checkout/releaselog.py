"""The whole branch as a stream: commits as git tells them, messages of some, signatures of some."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from automator.edges.checkout.git import Git
from automator.edges.checkout.reading import Failed, TreeChange, decode_path, encode_path, raw_entries
from automator.edges.checkout.signers import Trusted

_FIELDS = "%H%x00%P%x00%ct%x00%an%x00%ae%x00%B"
_COUNT = 6
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


@dataclass(frozen=True, slots=True)
class LoggedCommit:
    """One commit, as a log tells it."""

    commit: str
    parents: tuple[str, ...]
    time: datetime
    """Committer time, UTC."""
    author: str
    mail: str
    message: str
    raw: tuple[tuple[bytes, bytes], ...] = ()
    """What it changed against its first parent, as git prints it: read by `changes`."""

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


def stream_log(
    git: Git,
    commit: str,
    *,
    mentioning: str | None = None,
    paths: Sequence[str] = (),
    changes: bool = True,
    beside: str | None = None,
    limit: int | None = None,
) -> Iterator[LoggedCommit]:
    """The first-parent commits up to `commit`, newest first, as git finds them: nothing is waited for but
    the next one, and nothing is kept.

    `mentioning` leaves out those whose message lacks a text, `paths` those that changed no file there.
    With `beside`, a commit's first parent, what a merge brought: all commits that it lacks.
    """
    line = (commit, f"^{beside}") if beside is not None else ("--first-parent", commit)
    wanted = ("--raw", "--diff-merges=first-parent", "--no-renames", "--no-abbrev") if changes else ("-s",)
    options = [*wanted, *(("--fixed-strings", f"--grep={mentioning}") if mentioning else ())]
    if limit is not None:
        options.append(f"--max-count={limit}")
    flags = [part for part in line if part.startswith("--")]
    asked = [part.encode("ascii") for part in line if not part.startswith("--")]
    feed = [*asked, b"--", *(encode_path(path) for path in paths if "\n" not in path)]
    with git.start(
        _STEP,
        *("--literal-pathspecs", "log", *_PLAIN, *options, *flags, f"--format=tformat:{_FIELDS}", "--stdin"),
        fed=True,
    ) as running:
        running.send(b"".join(words + b"\n" for words in feed))
        running.end_input()
        yield from _commits(running.chunks())
        if running.status():
            raise Failed(_STEP, running.words)


def read_commits(git: Git, commits: Iterable[str]) -> Iterator[LoggedCommit]:
    """Commits by their ids, without what they changed, in the order asked for."""
    asked = "".join(f"{commit}\n" for commit in commits).encode("ascii")
    if not asked:
        return
    answer = git.run(
        _STEP,
        *(
            "log",
            *_PLAIN,
            "-s",
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
    fields: list[bytes] = []
    raw: list[tuple[bytes, bytes]] = []
    head: bytes | None = None
    for token in _tokens(chunks):
        if head is not None:
            raw.append((head, token))
            head = None
        elif len(fields) < _COUNT:
            fields.append(token)
        elif token.lstrip(b"\n").startswith(b":"):
            head = token
        else:
            yield _commit(fields, raw)
            fields, raw = [token], []
    if len(fields) == _COUNT:
        yield _commit(fields, raw)


def _tokens(chunks: Iterator[bytes]) -> Iterator[bytes]:
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\0")
        yield from whole
    if rest.strip(b"\n"):
        yield rest


def _commit(fields: Sequence[bytes], raw: Sequence[tuple[bytes, bytes]]) -> LoggedCommit:
    commit, parents, seconds, author, mail, message = fields
    return LoggedCommit(
        commit.decode("ascii").strip(),
        tuple(parents.decode("ascii").split()),
        _moment(seconds),
        author.decode("utf-8", "replace"),
        mail.decode("utf-8", "replace"),
        message.decode("utf-8", "replace"),
        tuple(raw),
    )


def _moment(seconds: bytes) -> datetime:
    """A commit's time; a nonsensical one (git stores any number) counts as the epoch's beginning."""
    try:
        return datetime.fromtimestamp(int(seconds), UTC)
    except (ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(0, UTC)
