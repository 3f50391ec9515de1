"""The clone of a config repo: bare, shallow until history is wanted, thrown away when it is damaged."""

from __future__ import annotations

import contextlib
import os
import shutil
import weakref
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import NoReturn, Self, TypeVar, Unpack

from automator.core.release import Draft
from automator.core.trace import FileChange
from automator.edges.checkout.branches import BranchLook, look_at
from automator.edges.checkout.git import Answer, Ending, Git
from automator.edges.checkout.history import (
    DEFAULT_LIMIT,
    FileLog,
    LogEntry,
    read_commit_changes,
    read_file_log,
    read_log,
)
from automator.edges.checkout.line import Lines
from automator.edges.checkout.publish import MADE, NO_SEAL, Identity, Seal, write_commits
from automator.edges.checkout.reading import (
    Entry,
    Failed,
    TreeChange,
    read_blobs,
    read_changes,
    read_tree,
)
from automator.edges.checkout.releaselog import (
    Asked,
    LoggedCommit,
    Signature,
    read_commits,
    read_signatures,
    stream_log,
)
from automator.edges.checkout.remote import Remote, open_door
from automator.edges.checkout.signers import NOBODY, Proof, Signers
from automator.edges.checkout.signing import clear_away
from automator.edges.checkout.upkeep import is_ragged, sweep, take_lock, write_trust, writing
from automator.edges.checkout.words import (
    NOT_COUNTED,
    Landed,
    Lost,
    Refused,
    failure,
    push_result,
    refusal,
    tells_damage,
    tells_full_disk,
    tells_no_process,
)
from automator.errors import CheckoutError
from automator.reasons import reason

TIP = "refs/automator/tip"
_HEADS = "refs/heads/"
BLOB_LIMIT = 1 << 20
FEW, SMALL = 64, 64 * 1024
"""Blobs that are kept in memory, and bytes of each, at most."""
OPEN_PATIENCE = 10.0
"""Seconds to wait for a git process that a killed daemon left behind."""
TIDY_EVERY = 50
"""Fetches between two attempts at tidying."""

T = TypeVar("T")


class Checkout:
    """One branch of a config repo, read and written without a work tree.

    Not for two threads at once. Every method that runs git may raise CheckoutError with
    `git/timeout` (the step took longer than `deadline` seconds), `git/damaged` (the clone is broken;
    the next `fetch` makes a new one), `git/disk` or `git/failed`.
    """

    def __init__(
        self,
        folder: Path,
        remote: Remote,
        *,
        deadline: float,
        patience: float = OPEN_PATIENCE,
        seal: Seal = NO_SEAL,
        signers: Signers | None = None,
        lock: int | None = None,
    ) -> None:
        """Open the clone in `folder`, or prepare to make one there; asks nobody yet.

        `lock` is a `lock_copy` of who had it before us, and stays theirs. `seal` is on every commit that is
        made here; with `signers`, nothing that none of them signed is taken for the branch's tip, nor pushed
        there.

        Removes what a killed git left behind. Raises CheckoutError `git/bad-url`, `git/disk`, `git/busy` when
        another process still works on the clone after `patience` seconds, `git/not-installed`.
        """
        self._folder = folder.absolute()
        self._door = open_door(remote, deadline=deadline)
        with writing(self._door.url):
            self._lock = take_lock(self._beside("lock"), patience) if lock is None else os.dup(lock)
        self._close = weakref.finalize(self, os.close, self._lock)
        self._git = Git(self._folder, deadline=deadline, kept_fd=self._lock)
        self._present: set[str] | None = None
        """Commits known to be here with everything they need; None before the clone was asked."""
        self._recent: dict[str, bytes] = {}
        """Small blobs that were read a few at a time; the oldest first."""
        self._made: dict[str, str] = {}
        """Commits of ours -> their parent."""
        self.prefix: str | None = None
        """Of other branches of ours, whose tips `ask_tip` asks for in the same breath; None for none."""
        self.branches: Mapping[str, str] = {}
        """Their tips, by name, as `ask_tip` or a push of ours saw them last."""
        self.known_tip: str | None = None
        """The newest tip that we know of: what the server said last, or what we push; for any thread."""
        self.line = Lines(self._git, self._door.branch, self._door.url, self._made_upon, self.is_ancestor)
        self._fetches_to_tidy = 0
        self._seal = seal
        self._proof = None if signers is None else Proof(signers, self._folder, deadline=deadline)
        self._environment = dict(self._door.environment)
        with writing(self._door.url, otherwise=self._close):
            sweep(self._folder)
            clear_away(self._folder)
            if self._door.local_path is not None:
                settings = write_trust(self._beside("gitconfig"), self._door.local_path)
                self._environment["GIT_CONFIG_GLOBAL"] = str(settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let another process open the clone."""
        self._close()

    def lock_copy(self) -> int:
        """The lock, for the next one here: a hook's program that runs on has it, too, so none can take it."""
        return os.dup(self._lock)

    def end_processes(self, why: Ending) -> int:
        """End the git processes that work on the clone now, with all that they started; from any thread.
        How many there were."""
        return self._git.end(why)

    def hands(self, author: Identity) -> tuple[Identity, Identity]:
        """Author and committer of the commits that are made here for `author`."""
        return author, self._seal.committer or author

    @property
    def processes(self) -> int:
        """Git processes started so far (git's own children not counted)."""
        return self._git.processes

    # -- the remote ---------------------------------------------------------------------------

    def ask_tip(self, *, meanwhile: Callable[[], None] = lambda: None) -> str:
        """The commit that the branch is at, now, on the server; `meanwhile` is called while it is asked.

        Raises CheckoutError: `git/unreachable`, `git/certificate`, `git/denied`, `git/host-key`,
        `git/not-found`, `git/redirected`, `git/no-branch`, `git/empty`, `git/credential-file`.
        """
        others = () if self.prefix is None else (f"{_HEADS}{self.prefix}*",)
        refs = self._ask_refs(self._door.ref, *others, meanwhile=meanwhile)
        if tip := refs.get(self._door.ref):
            self.known_tip = tip
            begin = f"{_HEADS}{self.prefix}"
            ours = ((r, t) for r, t in refs.items() if r.startswith(begin) and r != self._door.ref)
            self.branches = {r.removeprefix(_HEADS): t for r, t in ours}
            return tip
        code = "git/no-branch" if self._ask_refs() else "git/empty"
        raise CheckoutError(reason(code, url=self._door.url, branch=self._door.branch), retry=False)

    def fetch(self, tip: str, *, proven: bool = True) -> None:
        """Have `tip`, the answer of `ask_tip`, and everything in it, and `prove` it; with `proven=False`
        have it only, to look at what nothing is done upon.

        Raises the errors of `ask_tip` and of `prove`, and `git/moved` when the branch was meanwhile set to a
        commit that does not contain `tip`.
        """
        self._have(tip)
        if proven:
            self.prove(tip)

    def prove(self, commit: str) -> None:
        """Raise CheckoutError where signatures are required and the commit bears none of an allowed key
        (`git/unsigned-tip`), or where the keys cannot be used (`git/signers`). The answer is remembered for
        as long as the keys stay the same, an hour at most."""
        proof = self._proof
        if proof is not None:
            self._read(lambda: proof.require(self._git, commit, branch=self._door.branch))

    def _have(self, tip: str) -> None:
        if self._broken.exists() or not (self._folder / "HEAD").exists():
            self._clone(tip)
            return
        if tip in self._known():
            self._tidy()  # of what our own commits left
            return
        try:
            self._fetch()
            self._expect(tip)
        except CheckoutError as error:
            if error.reason.code != "git/damaged":
                raise
            self._clone(tip)
            return
        self._present = {tip}
        self._made.clear()
        self._tidy()

    def serves(self, commit: str) -> bool:
        """Whether the server has a commit, on the branch or not. One that has it may keep it to itself.

        Asked from an empty repository: this one may have it already.
        """
        empty = self._beside("asking")
        shutil.rmtree(empty, ignore_errors=True)
        kind = ("--object-format=sha256",) if len(commit) == 64 else ()
        made = self._git.run(
            "asking for a commit", "init", "--quiet", "--bare", *kind, str(empty), folder=empty
        )
        try:
            wanted = ("--quiet", "--depth=1", "--no-tags", "--no-write-fetch-head", self._door.url, commit)
            return made.status == 0 and self._speak(
                "asking for a commit", "fetch", *wanted, folder=empty
            ).status == 0  # fmt: skip
        finally:
            shutil.rmtree(empty, ignore_errors=True)

    def deepen(self, commits: int) -> None:
        """Fetch so many more commits of history behind the oldest that is here."""
        self._fetch(f"--deepen={commits}")

    def push(self, commit: str, *, expected: str) -> Landed | Lost | Refused:
        """Move the branch from `expected` to `commit`, which descends from it, or leave it untouched.

        Raises CheckoutError when there was no verdict (also `git/timeout`): the push may have
        landed or not, so ask for the tip again. What `prove` would not have is refused unsent (NOT_COUNTED).
        """
        if not self._descends(commit, expected):
            raise CheckoutError(reason("git/rewound", old=expected, new=commit), retry=False)
        try:
            self.prove(commit)  # what we would not act upon ourselves stops us, and everybody like us
        except CheckoutError as error:
            if error.retry or error.reason.code != "git/unsigned-tip":
                raise
            return Refused(f"{NOT_COUNTED}{dict(error.reason.params)['problem']}")
        ref = self._door.ref
        step = f"pushing to {self._door.branch}"
        self.known_tip = commit  # before anybody can tell us of it
        # The lease makes the push a compare-and-swap on `expected`: a plain push would also succeed
        # on a branch that somebody has just rewound to an older commit. It never overwrites, since
        # the commit descends from what it replaces.
        return self._push(step, ref, expected, commit)

    def _push(self, step: str, ref: str, expected: str, commit: str) -> Landed | Lost | Refused:
        answer = self._speak(
            step,
            *("push", "--porcelain", "--no-verify", "--no-follow-tags", "--recurse-submodules=no"),
            *(f"--force-with-lease={ref}:{expected}", self._door.url, f"{commit}:{ref}"),
        )
        hidden = self._door.hidden()
        out = answer.out.decode("utf-8", "replace")
        result = push_result(commit, ref, answer.status, out, answer.words, hidden)
        if result is None:
            self._raise_refusal(step, answer.words)
        return result

    def push_branch(
        self, branch: str, commit: str | None, *, expected: str | None
    ) -> Landed | Lost | Refused:
        """Set another branch from `expected` (None: it is not there) to a commit of ours, or (None) delete
        it; left untouched where it is not at `expected`.

        Raises CheckoutError when there was no verdict.
        """
        step = f"pushing {branch}" if commit is not None else f"deleting {branch}"
        result = self._push(step, f"{_HEADS}{branch}", expected or "", commit or "")
        if isinstance(result, Landed):
            rest = {name: tip for name, tip in self.branches.items() if name != branch}
            self.branches = rest if commit is None else {**rest, branch: commit}
        return result

    def look_at_branch(self, branch: str, tip: str) -> BranchLook | None:
        """What another branch holds; None where it is not at `tip` any more.

        What goes wrong in the clone that is made for it says nothing about this one: `git/failed`.
        """
        beside = Git(self._beside("glimpse"), deadline=self._git.deadline, kept_fd=self._lock)
        ref, url = f"{_HEADS}{branch}", self._door.url
        try:
            return look_at(beside, self._folder, tip, self._speak, url=url, ref=ref)
        except Failed as failed:
            if tells_full_disk(failed.words):
                self._judge(failed)
            raise failure(failed.step, failed.words) from failed
        finally:
            self._git.processes += beside.processes

    # -- reading ------------------------------------------------------------------------------

    def tree(self, commit: str) -> Mapping[str, Entry]:
        """Every path of a commit: files, symbolic links (mode 120000) and submodules (160000)."""
        return self._read(lambda: read_tree(self._git, commit))

    def changes(self, old: str, new: str) -> tuple[TreeChange, ...]:
        """The paths that differ between two commits; `git/no-commit` if one of them is not here."""
        return self._read(lambda: read_changes(self._git, old, new), commit=old)

    def blobs(self, oids: Iterable[str], *, limit: int = BLOB_LIMIT) -> Iterator[tuple[str, bytes | None]]:
        """The content of each blob in turn, from one process; None for one over `limit` bytes. A few that
        were read a moment ago need no process: what was released last is often released next."""
        asked = list(oids)
        if asked and limit >= SMALL and all(oid in self._recent for oid in asked):
            yield from [(oid, self._recent[oid]) for oid in asked]
            return
        try:
            for oid, data in read_blobs(self._git, asked, limit):
                if len(asked) <= FEW and data is not None and len(data) <= SMALL:
                    self._remember(oid, data)
                yield oid, data
        except Failed as failed:
            self._judge(failed)

    def _remember(self, oid: str, data: bytes) -> None:
        self._recent.pop(oid, None)
        self._recent[oid] = data
        while len(self._recent) > FEW:
            del self._recent[next(iter(self._recent))]

    def file_log(
        self, commit: str, paths: Sequence[str], *, since: str | None = None, limit: int = DEFAULT_LIMIT
    ) -> FileLog:
        """The changes of `paths` on the branch's line up to `commit`, newest first, `limit` commits at most.

        With `since`, an older tip, only what came after it; `git/rewound` if `commit` does not
        descend from it. Complete only if the clone reaches back far enough: see `deepen`.
        """
        if since is not None and not self._descends(commit, since):
            raise CheckoutError(reason("git/rewound", old=since, new=commit))
        shallow = self.shallow_ends()

        def read() -> FileLog:
            line = self.line.up_to(commit, since, shallow)
            return read_file_log(
                self._git, commit, paths, since=since, limit=limit, shallow=shallow, line=line
            )

        return self._read(read)

    def commit_changes(self, commits: Sequence[str]) -> tuple[FileChange, ...]:
        """All that some commits of the branch changed, in any file; nothing of one where the clone ends."""
        return self._read(lambda: read_commit_changes(self._git, commits, self.shallow_ends()))

    def log(self, commit: str, *, limit: int = DEFAULT_LIMIT, grep: str | None = None) -> Iterator[LogEntry]:
        """The branch's commits up to `commit`, newest first; with `grep`, those whose message contains it."""
        yield from self._read(lambda: tuple(read_log(self._git, commit, limit=limit, grep=grep)))

    def commits(self, commit: str, **asked: Unpack[Asked]) -> Generator[LoggedCommit]:
        """The branch's commits up to `commit`, newest first, as git finds them, with what each changed
        against its first parent: see `releaselog.stream_log`."""
        try:
            yield from stream_log(self._git, commit, **asked)
        except Failed as failed:
            self._judge(failed)

    def messages(self, commits: Sequence[str], *, changes: bool = False) -> tuple[LoggedCommit, ...]:
        """Commits by their ids, on demand with what they changed; those that are not here are left out."""
        return self._read(lambda: tuple(read_commits(self._git, commits, changes=changes)))

    def signatures(self, commits: Iterable[str]) -> dict[str, Signature]:
        """What git says of the signatures of commits, by the keys that `prove` asks for where it does; it
        starts a program for each signed one."""
        asked = tuple(commits)
        proof = self._proof
        return self._read(
            lambda: read_signatures(self._git, asked, NOBODY if proof is None else proof.trusted())
        )

    def is_ancestor(self, old: str, new: str) -> bool:
        """Whether `new` is `old` or descends from it, as far as this clone knows."""
        if old == new:
            return True
        answer = self._git.run("comparing commits", "merge-base", "--is-ancestor", old, new)
        if answer.status not in (0, 1) and tells_full_disk(answer.words):
            self._judge(Failed("comparing commits", answer.words))
        return answer.status == 0

    def knows(self, commit: str) -> bool:
        """Whether this clone has a commit, on the branch or not."""
        return self._has(commit)

    def is_shallow(self) -> bool:
        return bool(self.shallow_ends())

    def is_broken(self) -> bool:
        """Whether the clone was found damaged: the next `fetch` makes a new one."""
        return self._broken.exists()

    def depth(self) -> int:
        """Commits of the branch's first-parent line that are here, as of the last fetch."""
        answer = self._git.run("counting commits", "rev-list", "--first-parent", "--count", TIP, "--")
        return int(answer.out) if answer.status == 0 else 0

    # -- writing ------------------------------------------------------------------------------

    def commit(
        self, base: str, drafts: Sequence[Draft], *, when: datetime, author: Identity
    ) -> tuple[str, ...]:
        """Make a chain of commits on `base`, one for each draft, and return their ids, oldest first.

        They are on no branch until `push`. Same arguments, same ids, unless GPG signs them. Raises
        CheckoutError `git/bad-path` for a path with control characters, outside the tree, or no regular
        file, and `git/signing` where they cannot be signed.
        """
        if not drafts:
            return ()
        made = self._read(
            lambda: write_commits(self._git, base, drafts, when=when, author=author, seal=self._seal)
        )
        self._made |= dict(zip(made, (base, *made[:-1]), strict=True))
        self._known().update(made)
        return made

    # -- inside -------------------------------------------------------------------------------

    @property
    def _broken(self) -> Path:
        return self._beside("broken")

    def _beside(self, what: str) -> Path:
        return self._folder.with_name(f"{self._folder.name}.{what}")

    def _speak(
        self,
        step: str,
        *arguments: str,
        folder: Path | None = None,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> Answer:
        """Run a command that speaks with the server."""

        def run(more: dict[str, str], inherit: tuple[int, ...]) -> Answer:
            try:
                return self._git.run(
                    step,
                    *arguments,
                    extra={**self._environment, **more},
                    settings=self._door.settings,
                    folder=folder,
                    meanwhile=meanwhile,
                    inherit=inherit,
                )
            except CheckoutError:
                sweep(self._folder)
                raise

        return self._door.speak(run)

    def _ask_refs(self, *patterns: str, meanwhile: Callable[[], None] = lambda: None) -> dict[str, str]:
        step = f"asking for the tip of {self._door.branch}"
        # No repository: a damaged clone must not keep us from asking.
        nowhere = Path(os.devnull)
        answer = self._speak(
            step, "ls-remote", self._door.url, *patterns, folder=nowhere, meanwhile=meanwhile
        )
        if answer.status:
            raise refusal(step, self._door.url, answer.words, self._door.hidden())
        lines = answer.out.decode("utf-8", "replace").splitlines()
        return {name: oid for oid, _, name in (line.partition("\t") for line in lines)}

    def _clone(self, tip: str) -> None:
        """Make the clone aside and put it in place whole, instead of a damaged one if there is one."""
        fresh, old = self._beside("new"), self._beside("old")
        for leftover in (fresh, old):
            shutil.rmtree(leftover, ignore_errors=True)
        kind = ("--object-format=sha256",) if len(tip) == 64 else ()
        answer = self._git.run(
            "cloning",
            *("init", "--quiet", "--bare", "--template=", *kind, str(fresh)),
            extra={"GIT_DEFAULT_REF_FORMAT": "files"},
            folder=fresh,
        )
        if answer.status:
            self._judge(Failed("cloning", answer.words))
        self._fetch("--depth=1", folder=fresh)
        self._expect(tip, folder=fresh)
        if self._folder.exists():
            self._folder.rename(old)
        fresh.rename(self._folder)
        self._broken.unlink(missing_ok=True)
        shutil.rmtree(old, ignore_errors=True)
        self._present = {tip}
        self._made.clear()

    def _fetch(self, *options: str, folder: Path | None = None) -> None:
        step = f"fetching {self._door.branch}"
        # The plus follows a branch that somebody rewound.
        answer = self._speak(
            step,
            *("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules"),
            *("--no-auto-maintenance", "--update-shallow", *options, self._door.url),
            f"+{self._door.ref}:{TIP}",
            folder=folder,
        )
        if answer.status:
            if "couldn't find remote ref" in answer.words:
                raise CheckoutError(reason("git/no-branch", url=self._door.url, branch=self._door.branch))
            self._raise_refusal(step, answer.words)

    def _expect(self, tip: str, *, folder: Path | None = None) -> None:
        answer = self._git.run("fetching", "cat-file", "-e", f"{tip}^{{tree}}", folder=folder)
        if answer.status:
            raise CheckoutError(reason("git/moved", branch=self._door.branch, commit=tip))

    def _known(self) -> set[str]:
        if self._present is None:
            answer = self._git.run("opening the clone", "for-each-ref", "--format=%(objectname)", TIP, MADE)
            self._present = set(answer.out.decode("ascii").split()) if answer.status == 0 else set()
        return self._present

    def _descends(self, commit: str, ancestor: str) -> bool:
        """As `is_ancestor`, without a process for commits that we made."""
        return self._made_upon(commit, ancestor) or self.is_ancestor(ancestor, commit)

    def _made_upon(self, commit: str, ancestor: str) -> bool:
        """Whether all that came after `ancestor`, up to `commit`, was made by us."""
        at: str | None = commit
        while at is not None and at != ancestor:
            at = self._made.get(at)
        return at == ancestor

    def shallow_ends(self) -> frozenset[str]:
        """The commits at which the clone's history was cut off (gitrepository-layout, "shallow")."""
        try:
            return frozenset((self._folder / "shallow").read_text("ascii").split())
        except FileNotFoundError:
            return frozenset()

    def _read(self, question: Callable[[], T], *, commit: str | None = None) -> T:
        try:
            return question()
        except Failed as failed:
            if commit is not None and (self._folder / "HEAD").exists() and not self._has(commit):
                raise CheckoutError(reason("git/no-commit", commit=commit)) from failed
            self._judge(failed)

    def _has(self, commit: str) -> bool:
        return self._git.run("looking up a commit", "cat-file", "-e", f"{commit}^{{commit}}").status == 0

    def _judge(self, failed: Failed) -> NoReturn:
        """Raise for a command that asked nobody else: its failure is the clone's, or the machine's."""
        if tells_full_disk(failed.words) or tells_no_process(failed.words):
            raise refusal(failed.step, self._door.url, failed.words, ()) from failed
        if tells_damage(failed.words):
            self._raise_damaged(failed.words)
        raise failure(failed.step, failed.words) from failed

    def _raise_refusal(self, step: str, words: str) -> NoReturn:
        error = refusal(step, self._door.url, words, self._door.hidden())
        if error.reason.code == "git/failed" and tells_damage(words):
            self._raise_damaged(words)
        raise error

    def _raise_damaged(self, words: str) -> NoReturn:
        with contextlib.suppress(OSError):  # the disk may be full: then the next run finds out again
            self._broken.touch()
        self._present = None
        raise CheckoutError(reason("git/damaged", folder=self._folder, words=words))

    def _tidy(self) -> None:
        """Pack the clone when it has grown ragged; git's own way is switched off, as it knows no deadline."""
        if self._fetches_to_tidy > 0:
            self._fetches_to_tidy -= 1
            return
        if is_ragged(self._folder):
            self._fetches_to_tidy = TIDY_EVERY
            try:
                self._git.run("tidying the clone", "gc", "--quiet", "--prune=1.day.ago")
            except CheckoutError:
                sweep(self._folder)
