"""What is asked of every forge, whatever it is called there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from automator.core.forge import (
    Comment,
    CommitStatus,
    Deployment,
    PullDraft,
    PullRequest,
    SourceCommit,
)
from automator.reasons import Reason


class Forge(Protocol):
    """One forge. `project` is the path of a repository on it: `acme/shop-config`, `group/sub/project`.

    For several threads at once. Every method may raise ForgeError: `forge/unreachable`, `forge/denied`,
    `forge/not-found`, `forge/limited` (with the time at which it may be asked again), `forge/conflict`
    (somebody else was first: ask anew), `forge/refused` (with the forge's words), `forge/unsupported`
    (there is no such thing on this forge), `forge/answer` (it said what cannot be understood).
    """

    host: str
    kind: str

    def close(self) -> None:
        """End the connections that are kept open."""

    def page(self, project: str) -> str:
        """The project's page for people, without a slash at its end."""

    def commit_page(self, project: str, commit: str) -> str: ...
    def compare_page(self, project: str, base: str, head: str) -> str: ...
    def file_page(self, project: str, commit: str, path: str, line: int | None = None) -> str:
        """A file as of a commit, at a line."""

    def login(self) -> tuple[str, str]:
        """User and password for git over https: a fresh token where there is an App."""

    def login_refused(self, login: tuple[str, str]) -> bool:
        """Git's server refused what `login` gave: whether `login` gives another one now."""

    # -- pull requests --

    def pull_requests(
        self,
        project: str,
        *,
        head: str | None = None,
        base: str | None = None,
        state: Literal["open", "closed", "all"] = "open",
        limit: int = 100,
    ) -> tuple[PullRequest, ...]:
        """Newest first. `closed` has the merged ones too. A name that ends with `/` is a prefix of heads."""

    def pull_request(self, project: str, number: int) -> PullRequest: ...

    def open_pull_request(self, project: str, draft: PullDraft) -> PullRequest:
        """Open it, then label it and ask its reviewers; a label or reviewer that the forge refuses costs
        only itself and is in its `warnings`. Where the forge had no answer for them, it is open all the
        same, and `lacks_extras`. Raises `forge/conflict` where one is open already."""

    def complete_pull_request(self, project: str, number: int, draft: PullDraft) -> tuple[Reason, ...]:
        """Give a pull request the labels and reviewers of `draft` that it lacks; nothing else of the draft
        counts, and nothing that it has is taken away. May be called again: what is there costs one question.

        Those that the forge refuses, for good, are in the answer, as in `PullRequest.warnings`. Raises the
        error where it had no answer: ask again later.
        """

    def update_pull_request(
        self,
        project: str,
        number: int,
        *,
        title: str | None = None,
        body: str | None = None,
        base: str | None = None,
    ) -> PullRequest: ...
    def close_pull_request(self, project: str, number: int) -> None: ...
    def merge_when_ready(self, project: str, number: int, head_commit: str) -> None:
        """Let the forge merge it once its checks pass. Raises `forge/unsupported`."""

    def cancel_merge(self, project: str, number: int) -> None:
        """Take `merge_when_ready` back. Raises `forge/conflict` or `forge/not-found` where it was not said,
        `forge/unsupported`."""

    def approvals(self, project: str, number: int) -> tuple[str, ...]:
        """Logins of those who approved it. Raises `forge/unsupported`."""

    def pull_requests_of(self, project: str, commit: str) -> tuple[PullRequest, ...]:
        """Those that brought a commit to the branch."""

    # -- comments --

    def comments(
        self, project: str, number: int, *, on: Literal["pull", "issue"] = "pull"
    ) -> tuple[Comment, ...]:
        """Oldest first."""

    def comment(self, project: str, number: int, body: str, *, on: Literal["pull", "issue"]) -> Comment: ...
    def edit_comment(
        self, project: str, number: int, comment_id: str, body: str, *, on: Literal["pull", "issue"]
    ) -> None: ...

    def delete_comment(
        self, project: str, number: int, comment_id: str, *, on: Literal["pull", "issue"]
    ) -> None: ...

    # -- commits --

    def commit_statuses(self, project: str, commit: str) -> tuple[CommitStatus, ...]:
        """The newest of each context."""

    def set_commit_status(self, project: str, commit: str, status: CommitStatus) -> None: ...
    def commits_between(
        self, project: str, base: str, head: str, *, limit: int = 250
    ) -> tuple[Sequence[SourceCommit], bool]:
        """The commits of `head` that `base` lacks, newest first, and whether that is all of them."""

    def record_deployment(self, project: str, deployment: Deployment) -> None:
        """What was recorded last of the same is not recorded again. Raises `forge/unsupported`."""
