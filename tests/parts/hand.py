"""A person's hand: a clone with a work tree, in which people do with Git what people do."""

from __future__ import annotations

from pathlib import Path

from parts.gitserver import BareRepo, git


class Hand:
    """One person's clone of a config repo. Each commit is a minute after the last one made anywhere."""

    def __init__(self, repo: BareRepo, folder: Path, who: str = "Ann Author") -> None:
        self.repo = repo
        self.folder = folder
        self.who = who
        git(folder.parent, "clone", "--quiet", str(repo.path), str(folder))

    def git(
        self, *arguments: str, who: str | None = None, at: int | None = None, feed: bytes | None = None
    ) -> str:
        """Run git as this person (or `who`), at the next minute (or `at` seconds)."""
        if at is None:
            self.repo.clock += 60
        date = f"{self.repo.clock if at is None else at} +0000"
        name = who or self.who
        return git(
            self.folder,
            *arguments,
            feed=feed,
            GIT_AUTHOR_NAME=name,
            GIT_COMMITTER_NAME=name,
            GIT_AUTHOR_DATE=date,
            GIT_COMMITTER_DATE=date,
        )

    def pull(self) -> str:
        """Take over what the branch is at now; its tip."""
        self.git("fetch", "--quiet", "origin")
        self.git("checkout", "--quiet", "-B", "main", "origin/main")
        return self.tip

    def push(self, *options: str) -> str:
        self.git("push", "--quiet", *options, "origin", "HEAD:main")
        return self.tip

    @property
    def tip(self) -> str:
        return git(self.folder, "rev-parse", "HEAD")

    def read(self, path: str) -> str:
        return (self.folder / path).read_text()

    def write(self, path: str, text: str) -> None:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        self.git("add", "--all", path)

    def change(self, path: str, old: str, new: str) -> None:
        text = self.read(path)
        assert old in text, f"{path} has no {old!r}"
        self.write(path, text.replace(old, new))

    def commit(self, message: str, *, who: str | None = None, at: int | None = None) -> str:
        self.git("commit", "--quiet", "--allow-empty", "--cleanup=verbatim", "-m", message, who=who, at=at)
        return self.tip

    def message(self, commit: str) -> str:
        return git(self.folder, "show", "--no-patch", "--format=%B", commit)
