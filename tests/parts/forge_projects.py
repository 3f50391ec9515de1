"""Projects of a forge for tests: what it keeps beside Git, and merging as the button on its pages does.

Git is real: heads and bases are refs of a bare repository, and a merge moves the base there. Pull requests
follow their branches: one whose branch is deleted is closed, one whose commits came to the base is merged.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, NamedTuple

from parts.gitserver import BareRepo, git

How = Literal["merge", "squash", "rebase"]


class Refused(Exception):
    """A no, by a name that each kind of forge says in its own way."""

    def __init__(self, name: str, words: str) -> None:
        super().__init__(words)
        self.name = name


class Said(NamedTuple):
    """A comment."""

    id: int
    author: str
    body: str


@dataclass
class Pull:
    """A pull request. Times are the server's."""

    number: int
    head: str
    base: str
    title: str
    body: str
    author: str
    created_at: datetime
    head_commit: str
    draft: bool = False
    state: Literal["open", "closed", "merged"] = "open"
    labels: list[str] = field(default_factory=list)
    reviewers: list[str] = field(default_factory=list)
    approved_by: list[str] = field(default_factory=list)
    merged_at: datetime | None = None
    merged_by: str | None = None
    merge_commit: str | None = None
    """The commit that the base then had."""
    squash_commit: str | None = None
    commits: tuple[str, ...] = ()
    """The commits that came to the base with it."""
    closed_at: datetime | None = None
    closed_by: str | None = None
    merge_when_ready: bool = False
    fork: str | None = None
    """Whose fork its branch is in; None: the same project."""


class Commit(NamedTuple):
    """A commit as Git has it."""

    id: str
    parents: tuple[str, ...]
    author: str
    email: str
    time: str
    """ISO 8601, with its offset."""
    message: str

    @property
    def title(self) -> str:
        return self.message.split("\n", 1)[0]


@dataclass
class Project:
    """One project, with the bare repository behind it."""

    path: str
    repo: BareRepo
    clock: Callable[[], datetime]
    words: Words
    id: int
    pulls: dict[int, Pull] = field(default_factory=dict)
    comments: dict[int, list[Said]] = field(default_factory=dict)
    """By number of pull request or issue, on forges where both share their numbers."""
    issue_comments: dict[int, list[Said]] = field(default_factory=dict)
    issues: set[int] = field(default_factory=set)
    """Numbers of issues, where a test needs some."""
    statuses: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """By commit, newest last: `context`, `state`, `description`, `url`, in the forge's words."""
    labels: dict[str, int] = field(default_factory=dict)
    deployments: list[dict[str, Any]] = field(default_factory=list)
    reviewers: set[str] | None = None
    """Who may be asked for a review; None: everybody."""
    next_id: int = 1000

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def owner(self) -> str:
        return self.path.rpartition("/")[0]

    def new_id(self) -> int:
        self.next_id += 1
        return self.next_id

    # -- git ----------------------------------------------------------------------------------------

    def find(self, name: str) -> str | None:
        """The commit that a branch, tag or id means."""
        for ref in (f"refs/heads/{name}", name):
            done = subprocess.run(
                ["git", "-C", str(self.repo.path), "rev-parse", "--verify", "--quiet", "--end-of-options",
                 f"{ref}^{{commit}}"],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            if done.returncode == 0:
                return done.stdout.strip()
        return None

    def tip(self, branch: str) -> str | None:
        found = git(self.repo.path, "for-each-ref", "--format=%(objectname)", f"refs/heads/{branch}")
        return found or None

    def set_branch(self, branch: str, new: str | None, old: str | None = None) -> None:
        """Move, make or (None) delete a branch."""
        line = ["-d", f"refs/heads/{branch}"] if new is None else [f"refs/heads/{branch}", new]
        git(self.repo.path, "update-ref", *line, *([old] if old is not None else []))

    def commits(self, *arguments: str) -> list[Commit]:
        """What `git log` lists for `arguments`, newest first."""
        shape = "%H%x00%P%x00%an%x00%ae%x00%aI%x00%B%x01"
        text = git(self.repo.path, "log", f"--format={shape}", *arguments)
        found = [record.lstrip("\n").split("\0") for record in text.split("\x01") if record.strip()]
        return [Commit(i, tuple(p.split()), a, e, t, m.rstrip("\n")) for i, p, a, e, t, m in found]

    def between(self, base: str, head: str) -> list[Commit] | None:
        """The commits of `head` that `base` lacks, newest first; None where one of both is not there."""
        old, new = self.find(base), self.find(head)
        if old is None or new is None:
            return None
        return self.commits("--topo-order", f"{old}..{new}")

    def is_ancestor(self, old: str, new: str) -> bool:
        done = subprocess.run(
            ["git", "-C", str(self.repo.path), "merge-base", "--is-ancestor", old, new], check=False
        )
        return done.returncode == 0

    # -- pull requests --------------------------------------------------------------------------------

    def tip_of(self, head: str, fork: str | None) -> str | None:
        """The tip of a branch here or in somebody's fork, whose branches are refs below `refs/forks` here."""
        if fork is None:
            return self.tip(head)
        found = git(self.repo.path, "for-each-ref", "--format=%(objectname)", f"refs/forks/{fork}/{head}")
        return found or None

    def open(
        self,
        head: str,
        base: str,
        title: str,
        body: str,
        author: str,
        *,
        draft: bool = False,
        fork: str | None = None,
    ) -> Pull:
        """Raises Refused: `no-head`, `no-base`, `no-commits`, `duplicate`."""
        tip, goal = self.tip_of(head, fork), self.tip(base)
        if tip is None:
            raise Refused("no-head", head)
        if goal is None:
            raise Refused("no-base", base)
        for pull in self.current():
            if (pull.head, pull.base, pull.fork, pull.state) == (head, base, fork, "open"):
                raise Refused("duplicate", str(pull.number))
        if self.is_ancestor(tip, goal):
            raise Refused("no-commits", f"No commits between {base} and {head}")
        number = max([0, *self.pulls, *self.issues]) + 1
        pull = Pull(number, head, base, title, body, author, self.clock(), tip, draft, fork=fork)
        self.pulls[number] = pull
        return pull

    def current(self) -> Iterator[Pull]:
        """All pull requests, newest first, after a look at their branches."""
        for pull in sorted(self.pulls.values(), key=lambda pull: -pull.number):
            yield self.looked_at(pull)

    def looked_at(self, pull: Pull) -> Pull:
        """A pull request as its branches have it now."""
        if pull.state != "open":
            return pull
        tip, goal = self.tip_of(pull.head, pull.fork), self.tip(pull.base)
        if tip is None or goal is None:
            self.close(pull, by=None)
        elif self.is_ancestor(tip, goal):
            if tip == pull.head_commit:
                self._merged(pull, by=None, tip=goal, before=goal)
            else:
                self.close(pull, by=None)
        else:
            pull.head_commit = tip
        return pull

    def close(self, pull: Pull, *, by: str | None) -> None:
        """Raises Refused (`not-open`)."""
        if pull.state != "open":
            raise Refused("not-open", pull.state)
        pull.state, pull.closed_at, pull.closed_by = "closed", self.clock(), by

    def reopen(self, pull: Pull) -> None:
        """Raises Refused (`not-closed`, `no-head`, `duplicate`)."""
        if pull.state != "closed":
            raise Refused("not-closed", pull.state)
        if self.tip(pull.head) is None:
            raise Refused("no-head", pull.head)
        for other in self.current():
            if (other.head, other.base, other.state) == (pull.head, pull.base, "open"):
                raise Refused("duplicate", str(other.number))
        pull.state, pull.closed_at, pull.closed_by = "open", None, None

    def merge(
        self,
        number: int,
        *,
        how: How = "merge",
        by: str = "ann",
        sha: str | None = None,
        message: str | None = None,
        delete_branch: bool = False,
    ) -> str:
        """Merge as the forge does; the base's new tip. `sha`: the head that is meant.

        Raises Refused: `not-open`, `draft`, `moved`, `conflict`.
        """
        pull = self.looked_at(self.pulls[number])
        if pull.state != "open":
            raise Refused("not-open", pull.state)
        if pull.draft:
            raise Refused("draft", "it is a draft")
        if sha is not None and sha != pull.head_commit:
            raise Refused("moved", pull.head_commit)
        base = self.tip(pull.base)
        assert base is not None
        commits = self.commits("--topo-order", f"{base}..{pull.head_commit}")
        if how == "rebase":
            tip = self._rebased(base, commits, by)
        else:
            tree = self._merged_tree(base, pull.head_commit)
            tip = self._merge_commit(pull, how, tree, base, commits, by, message)
        self.set_branch(pull.base, tip, base)
        self._merged(pull, by=by, tip=tip, before=base)
        if delete_branch:
            self.set_branch(pull.head, None)
        return tip

    def _merge_commit(
        self, pull: Pull, how: How, tree: str, base: str, commits: list[Commit], by: str, message: str | None
    ) -> str:
        """A commit of the merged tree; where a forge squashes and then merges, the second of both."""
        if how == "merge":
            words = message or self.words.merge(self, pull)
            return self._commit(tree, words, (base, pull.head_commit), by)
        words = message or self.words.squash(self, pull, commits)
        if not self.words.merges_squashed:
            return self._commit(tree, words, (base,), by)
        root = git(self.repo.path, "merge-base", base, pull.head_commit)
        head_tree = git(self.repo.path, "rev-parse", f"{pull.head_commit}^{{tree}}")
        pull.squash_commit = self._commit(head_tree, words, (root,), by)
        return self._commit(tree, self.words.merge(self, pull), (base, pull.squash_commit), by)

    def _merged(self, pull: Pull, *, by: str | None, tip: str, before: str) -> None:
        pull.state, pull.merged_at, pull.merged_by, pull.merge_commit = "merged", self.clock(), by, tip
        new = git(self.repo.path, "rev-list", f"{before}..{tip}").split()
        pull.commits = tuple(dict.fromkeys((tip, pull.head_commit, *new)))
        pull.closed_at = pull.merged_at

    def _merged_tree(self, ours: str, theirs: str) -> str:
        """Raises Refused (`conflict`)."""
        done = subprocess.run(
            ["git", "-C", str(self.repo.path), "merge-tree", "--write-tree", ours, theirs],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            raise Refused("conflict", "it conflicts with its base")
        return done.stdout.split()[0]

    def _rebased(self, base: str, commits: list[Commit], by: str) -> str:
        """Each commit again, on top of the base; who made it stays."""
        tip = base
        for commit in reversed(commits):
            if len(commit.parents) > 1:
                continue
            # On a twin of the base whose parent is the commit's: so Git sees nothing but the commit's change.
            tree = git(self.repo.path, "rev-parse", f"{tip}^{{tree}}")
            twin = self._commit(tree, "twin", commit.parents[:1], by)
            whose = (commit.author, commit.email, commit.time)
            tip = self._commit(self._merged_tree(twin, commit.id), commit.message, (tip,), by, whose)
        return tip

    def _commit(
        self,
        tree: str,
        message: str,
        parents: tuple[str, ...],
        by: str,
        whose: tuple[str, str, str] | None = None,
    ) -> str:
        now = f"{int(self.clock().timestamp())} +0000"
        name, email, time = whose or (by.title(), f"{by}@example.org", now)
        committer = self.words.committer or (by.title(), f"{by}@example.org")
        lines = [line for parent in parents for line in ("-p", parent)]
        return git(
            self.repo.path, "commit-tree", tree, *lines, "-F", "-", feed=message.encode(),
            GIT_AUTHOR_NAME=name, GIT_AUTHOR_EMAIL=email, GIT_AUTHOR_DATE=time,
            GIT_COMMITTER_NAME=committer[0], GIT_COMMITTER_EMAIL=committer[1], GIT_COMMITTER_DATE=now,
        )  # fmt: skip

    def of_commit(self, commit: str) -> list[Pull]:
        """The pull requests that brought a commit, or hold it."""
        found = []
        for pull in self.current():
            if commit in pull.commits:
                found.append(pull)
            elif pull.state == "open":
                held = self.commits(f"{pull.base}..{pull.head_commit}")
                if commit in {one.id for one in held}:
                    found.append(pull)
        return found

    # -- comments -------------------------------------------------------------------------------------

    def say(self, number: int, author: str, body: str, *, issue: bool = False) -> Said:
        said = Said(self.new_id(), author, body)
        (self.issue_comments if issue else self.comments).setdefault(number, []).append(said)
        return said

    def edit(self, comment: int, body: str) -> Said | None:
        for listed in (*self.comments.values(), *self.issue_comments.values()):
            for at, said in enumerate(listed):
                if said.id == comment:
                    listed[at] = said._replace(body=body)
                    return listed[at]
        return None

    def unsay(self, comment: int) -> bool:
        """Whether a comment was there, which is gone now."""
        for listed in (*self.comments.values(), *self.issue_comments.values()):
            for said in [said for said in listed if said.id == comment]:
                listed.remove(said)
                return True
        return False


class Words:
    """What a forge writes into the commits of its merges; GitHub's."""

    committer: tuple[str, str] | None = ("GitHub", "noreply@github.com")
    merges_squashed = False

    def merge(self, project: Project, pull: Pull) -> str:
        return f"Merge pull request #{pull.number} from {project.owner}/{pull.head}\n\n{pull.title}\n"

    def squash(self, project: Project, pull: Pull, commits: list[Commit]) -> str:
        if len(commits) == 1:
            title, _, rest = commits[0].message.partition("\n")
            return f"{title} (#{pull.number})\n{rest}\n"
        listed = "\n\n".join(f"* {commit.message}" for commit in reversed(commits))
        return f"{pull.title} (#{pull.number})\n\n{listed}\n"


class GitLabWords(Words):
    committer = ("GitLab", "noreply@gitlab.com")
    merges_squashed = True

    def merge(self, project: Project, pull: Pull) -> str:
        end = f"See merge request {project.path}!{pull.number}"
        return f"Merge branch '{pull.head}' into '{pull.base}'\n\n{pull.title}\n\n{end}\n"

    def squash(self, project: Project, pull: Pull, commits: list[Commit]) -> str:
        return f"{pull.title}\n"


class GiteaWords(Words):
    committer = ("Gitea", "gitea@noreply.example.org")

    def merge(self, project: Project, pull: Pull) -> str:
        title = f"Merge pull request '{pull.title}' (#{pull.number}) from {pull.head} into {pull.base}"
        return f"{title}\n\nReviewed-on: https://forge.example.org/{project.path}/pulls/{pull.number}\n"

    def squash(self, project: Project, pull: Pull, commits: list[Commit]) -> str:
        end = f"Reviewed-on: https://forge.example.org/{project.path}/pulls/{pull.number}"
        body = "\n\n".join(part for part in (pull.body.strip(), end) if part)
        return f"{pull.title} (#{pull.number})\n\n{body}\n"


class BitbucketWords(Words):
    committer = None

    def merge(self, project: Project, pull: Pull) -> str:
        return f"Merged in {pull.head} (pull request #{pull.number})\n\n{pull.title}\n"

    def squash(self, project: Project, pull: Pull, commits: list[Commit]) -> str:
        listed = "\n\n".join(f"* {commit.message}" for commit in reversed(commits))
        return f"Merged in {pull.head} (pull request #{pull.number})\n\n{pull.title}\n\n{listed}\n"
