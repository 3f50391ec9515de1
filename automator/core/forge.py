"""What forges tell and are told: pull requests, comments, statuses, commits, deployments, as values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from automator.reasons import Reason

PullState = Literal["open", "closed", "merged"]
StatusState = Literal["pending", "success", "failure", "error"]
DeploymentState = Literal["in_progress", "success", "failure", "inactive"]


@dataclass(frozen=True, slots=True)
class PullRequest:
    """A pull request, or a merge request, as a forge has it. Texts are untrusted."""

    number: int
    """What people call it: GitLab's `iid`."""
    url: str
    """The page for people."""
    title: str
    body: str
    state: PullState
    head: str
    """Name of its branch in the same project; `owner:branch` where it comes from a fork."""
    head_commit: str
    base: str
    """Name of the branch it goes to."""
    draft: bool = False
    labels: tuple[str, ...] = ()
    author: str | None = None
    """Login of who opened it."""
    merged_at: datetime | None = None
    merged_by: str | None = None
    merge_commit: str | None = None
    """The commit on the base: of a merge, of a squash, or the last one of a rebase."""
    closed_at: datetime | None = None
    warnings: tuple[Reason, ...] = ()
    """What did not work out while it was opened: labels, reviewers, `draft`."""
    lacks_extras: bool = False
    """Whether labels or reviewers are missing because the forge had no answer just then, so that it may be
    asked for them again (`Forge.complete_pull_request`)."""


@dataclass(frozen=True, slots=True)
class PullDraft:
    """A pull request to be opened."""

    head: str
    base: str
    title: str
    body: str
    draft: bool = False
    labels: tuple[str, ...] = ()
    reviewers: tuple[str, ...] = ()
    """Logins; `org/team` for a team where the forge knows teams."""


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment under a pull request or an issue."""

    id: str
    author: str | None
    body: str


@dataclass(frozen=True, slots=True)
class CommitStatus:
    """What one reporter says of a commit. Names are unique for a commit: the newest counts."""

    context: str
    state: StatusState
    description: str = ""
    url: str | None = None


@dataclass(frozen=True, slots=True)
class SourceCommit:
    """A commit of a source repository."""

    commit: str
    message: str
    author: str
    time: datetime | None = None


@dataclass(frozen=True, slots=True)
class Deployment:
    """A record of what runs where, for the forge's own pages."""

    ref: str
    """Commit of the source."""
    environment: str
    state: DeploymentState
    description: str = ""
    url: str | None = None
