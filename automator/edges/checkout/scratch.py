"""A config repo to play with: a bare repository and a person's work tree of it, for the demo."""

from __future__ import annotations

import os
from pathlib import Path

from automator.edges.checkout.git import Git
from automator.edges.checkout.words import failure

DEADLINE = 60.0


class PlayRepo:
    """A bare repository with one branch, and a clone with a work tree in which a person commits."""

    def __init__(self, bare: Path, work: Path, *, person: str, mail: str, branch: str = "main") -> None:
        """Make both; the branch is born by the first commit. Raises CheckoutError."""
        self.bare = bare
        self.work = work
        self._fd = os.open(os.devnull, os.O_RDONLY)
        self._git = Git(work / ".git", deadline=DEADLINE, kept_fd=self._fd)
        self._branch = branch
        names = ("AUTHOR", "COMMITTER")
        self._who = {f"GIT_{who}_NAME": person for who in names} | {f"GIT_{who}_EMAIL": mail for who in names}
        for folder in (bare, work / ".git"):
            folder.mkdir(parents=True)
        self._run("init", "--quiet", "--bare", f"--initial-branch={branch}", folder=bare)
        self._run("init", "--quiet", f"--initial-branch={branch}", work=False)
        self._run("remote", "add", "origin", str(bare))

    def close(self) -> None:
        """Give the handle free; the folders stay."""
        os.close(self._fd)

    def git(self, *arguments: str) -> str:
        """Run a git command in the work tree; returns what it printed. Raises CheckoutError."""
        return self._run(*arguments)

    def commit_all(self, message: str) -> str:
        """Commit everything in the work tree and push it; returns the commit."""
        self._run("add", "--all")
        self._run("commit", "--quiet", f"--message={message}")
        self._run("push", "--quiet", "origin", f"HEAD:refs/heads/{self._branch}")
        return self._run("rev-parse", "HEAD").strip()

    def pull(self) -> None:
        """Bring the work tree to the branch's tip."""
        self._run("pull", "--quiet", "--ff-only", "origin", self._branch)

    def _run(self, *arguments: str, folder: Path | None = None, work: bool = True) -> str:
        place = {"GIT_WORK_TREE": str(self.work)} if folder is None and work else {}
        options = ("-C", str(self.work)) if folder is None and work else ()
        answer = self._git.run(
            f"git {arguments[0]}", *options, *arguments, extra={**self._who, **place}, folder=folder
        )
        if answer.status:
            raise failure(f"git {arguments[0]}", answer.words)
        return answer.out.decode("utf-8", "replace")
