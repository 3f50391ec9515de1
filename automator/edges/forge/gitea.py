"""Gitea and Forgejo, by their API (`/api/v1`), which is the same but for some filters.

Source: the description that each instance serves at `/api/swagger`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from automator.core.forge import (
    Comment,
    CommitStatus,
    Deployment,
    PullDraft,
    PullRequest,
    SourceCommit,
    StatusState,
)
from automator.edges.forge import reading
from automator.edges.forge.caller import Caller
from automator.edges.forge.client import (
    LONGEST_TITLE,
    Client,
    Listed,
    On,
    comment_of,
    cut,
    head_commit,
    head_name,
    newest_of_each,
    present,
    segment,
)
from automator.edges.forge.extras import Extras
from automator.edges.forge.past import Changed, Past
from automator.edges.forge.settings import ForgeSettings
from automator.errors import ForgeError
from automator.reasons import Reason, one_line

HEADERS = {"Accept": "application/json"}
MOST_PAGES = 200
"""Of all pull requests of a project, when they are read for the first time."""
LIMIT = 50
"""Entries of a page; what an instance gives at the most unless it was told otherwise."""
DRAFT = "WIP: "
_DRAFTS = ("wip:", "[wip]")
"""What a title begins with that makes it a draft (the default of both)."""
COLOR = "#ededed"
STATES: dict[str, StatusState] = {
    "pending": "pending", "success": "success", "failure": "failure", "error": "error", "warning": "failure"
}  # fmt: skip


class Gitea(Client):
    """A client of Gitea and Forgejo."""

    _files = "src/commit"

    def __init__(self, settings: ForgeSettings, caller: Caller) -> None:
        super().__init__(settings, caller)
        self._pasts: dict[tuple[str, str], Past] = {}
        self._knowing = threading.Lock()

    # -- pull requests ------------------------------------------------------------------------------------

    def pull_requests(
        self,
        project: str,
        *,
        head: str | None = None,
        base: str | None = None,
        state: Listed = "open",
        limit: int = 100,
    ) -> tuple[PullRequest, ...]:
        """Newest first. What the instance does not filter is filtered here."""
        what = f"list the pull requests of {project}"
        # What an instance does not know, it takes for no filter: all are looked at again.
        if self.kind == "forgejo":
            exact = head is not None and not head.endswith("/")
            query = present(state=state, base=base, head=head if exact else None, limit=LIMIT)
        else:
            query = present(state=state, base_branch=base, limit=LIMIT)
        if self.kind == "gitea" and state != "open" and head is not None and not head.endswith("/"):
            # The open ones are asked for first: one that is closed meanwhile is then found by its change.
            is_open = self.pull_requests(project, head=head, limit=limit)
            past = self._past(project, head).of(head)
            is_past = {pull.number for pull in past if pull.state != "open"}
            known = {pull.number for pull in is_open}
            found: Iterable[PullRequest] = (
                *(pull for pull in is_open if pull.number not in is_past),
                *(pull for pull in past if pull.number in is_past or pull.number not in known),
            )
            found = sorted(found, key=lambda pull: -pull.number)
        else:
            found = self._items(f"/repos/{project}/pulls", query, partial(self._pull, project), what=what)
        return self._matching(found, head=head, base=base, state=state, limit=limit)

    def _past(self, project: str, head: str) -> Past:
        """All pull requests of branches that begin as `head` does: no instance filters by branch."""
        prefix = head[: head.find("/") + 1]
        with self._knowing:
            found = self._pasts.get((project, prefix))
            if found is None:
                found = self._pasts[project, prefix] = Past(prefix, partial(self._changed, project))
            return found

    def _changed(self, project: str) -> Iterator[Changed]:
        what = f"list the pull requests of {project}"
        query: dict[str, str | int] = {"state": "all", "sort": "recentupdate", "limit": LIMIT}

        def read(value: Any) -> Changed:
            return Changed(self._pull(project, value), reading.time(value, "updated_at"))

        return self._items(f"/repos/{project}/pulls", query, read, what=what, most=MOST_PAGES)

    def pull_request(self, project: str, number: int) -> PullRequest:
        what = f"read pull request {number} of {project}"
        told = self._caller.get(f"/repos/{project}/pulls/{number}", what=what)
        with self._reads(what):
            return self._pull(project, told.value)

    def open_pull_request(self, project: str, draft: PullDraft) -> PullRequest:
        """Open it, then label it by numbers and ask its reviewers one by one."""
        what = f"open a pull request in {project}"
        title = cut(draft.title, LONGEST_TITLE - len(DRAFT))
        body = {"title": f"{DRAFT}{title}" if draft.draft else title, "head": draft.head, "base": draft.base,
                "body": draft.body}  # fmt: skip
        told = self._caller.send("POST", f"/repos/{project}/pulls", body, what=what)
        with self._reads(what):
            pull = self._pull(project, told.value)
        extras = Extras()
        self._label(project, pull.number, draft.labels, extras)
        self._ask_reviewers(project, pull.number, draft.reviewers, extras)
        return extras.upon(pull, draft.labels)

    def complete_pull_request(self, project: str, number: int, draft: PullDraft) -> tuple[Reason, ...]:
        """Set the labels and ask the reviewers that it lacks; gives what was refused for good."""
        what = f"read pull request {number} of {project}"
        told = self._caller.get(f"/repos/{project}/pulls/{number}", what=what).value
        with self._reads(what):
            pull = self._pull(project, told)
        people, teams = (_list(told, f"requested_reviewers{key}") for key in ("", "_teams"))
        asked = {reading.maybe(one, "login") for one in people} | {
            reading.maybe(one, "name") for one in teams
        }
        reviewers = [name for name in draft.reviewers if name.rpartition("/")[2] not in asked]
        if reviewers:  # who has given a review is not among those who are asked for one
            heard = self._reviews(project, number)
            reviewers = [name for name in reviewers if name not in heard]
        extras = Extras()
        self._label(project, number, [one for one in draft.labels if one not in pull.labels], extras)
        self._ask_reviewers(project, number, reviewers, extras)
        return extras.told()

    def _label(self, project: str, number: int, labels: Sequence[str], extras: Extras) -> None:
        """Label it by the labels' numbers, and make those that do not exist."""
        if not labels:
            return
        what = f"label pull request {number} of {project}"
        wanted = list(labels)
        try:
            known = dict(self._items(f"/repos/{project}/labels", {"limit": LIMIT}, _label, what=what))
            extras.one_by_one(
                "label",
                [label for label in labels if label not in known],
                lambda label: known.update([self._make_label(project, label)]),
            )
            wanted = [label for label in labels if label in known]
            if wanted:
                body = {"labels": [known[label] for label in wanted]}
                self._caller.send("POST", f"/repos/{project}/issues/{number}/labels", body, what=what)
        except ForgeError as error:
            extras.fail("label", wanted, error)

    def _make_label(self, project: str, label: str) -> tuple[str, int]:
        what = f"make the label {label} in {project}"
        body = {"name": label, "color": COLOR}
        told = self._caller.send("POST", f"/repos/{project}/labels", body, what=what)
        with self._reads(what):
            return _label(told.value)

    def _ask_reviewers(self, project: str, number: int, reviewers: Sequence[str], extras: Extras) -> None:
        path, what = f"/repos/{project}/pulls/{number}/requested_reviewers", f"ask for reviews in {project}"

        def ask(name: str) -> None:
            key = "team_reviewers" if "/" in name else "reviewers"
            self._caller.send("POST", path, {key: [name.rpartition("/")[2]]}, what=what)

        extras.one_by_one("reviewer", reviewers, ask)

    def update_pull_request(
        self,
        project: str,
        number: int,
        *,
        title: str | None = None,
        body: str | None = None,
        base: str | None = None,
    ) -> PullRequest:
        """Change its words or base. A draft stays one: its title says so."""
        what = f"change pull request {number} of {project}"
        if title is not None:
            title = cut(title, LONGEST_TITLE - len(DRAFT))
            if self.pull_request(project, number).draft:  # its title alone makes it one
                title = f"{DRAFT}{title}"
        return self._patch(project, number, what, present(title=title, body=body, base=base))

    def close_pull_request(self, project: str, number: int) -> None:
        self._patch(project, number, f"close pull request {number} of {project}", {"state": "closed"})

    def _patch(self, project: str, number: int, what: str, body: dict[str, Any]) -> PullRequest:
        told = self._caller.send("PATCH", f"/repos/{project}/pulls/{number}", body, what=what)
        with self._reads(what):
            return self._pull(project, told.value)

    def merge_when_ready(self, project: str, number: int, head_commit: str) -> None:
        what = f"merge pull request {number} of {project} once its checks pass"
        told = self._caller.get(f"/repos/{project}", what=what).value
        style = reading.maybe(told, "default_merge_style") or "merge"
        body = {"Do": style, "merge_when_checks_succeed": True, "head_commit_id": head_commit}
        self._caller.send("POST", f"/repos/{project}/pulls/{number}/merge", body, what=what)

    def cancel_merge(self, project: str, number: int) -> None:
        what = f"have pull request {number} of {project} not merged by itself any more"
        self._caller.send("DELETE", f"/repos/{project}/pulls/{number}/merge", None, what=what)

    def approvals(self, project: str, number: int) -> tuple[str, ...]:
        last = self._reviews(project, number)
        return tuple(login for login, approves in last.items() if approves)

    def _reviews(self, project: str, number: int) -> dict[str, bool]:
        """Whether each reviewer approves, by login."""
        what = f"read the reviews of pull request {number} of {project}"
        path = f"/repos/{project}/pulls/{number}/reviews"
        last: dict[str, bool] = {}
        for review in self._items(path, {"limit": LIMIT}, reading.record, what=what):
            login, state = reading.maybe(review, "user", "login"), reading.maybe(review, "state")
            if login and state in ("APPROVED", "REQUEST_CHANGES"):
                last[login] = state == "APPROVED" and not reading.flag(review, "dismissed")
        return last

    def pull_requests_of(self, project: str, commit: str) -> tuple[PullRequest, ...]:
        """The one that the commit merged; none where the commit came otherwise."""
        what = f"find the pull request of commit {commit[:12]} in {project}"
        try:
            told = self._caller.get(f"/repos/{project}/commits/{segment(commit)}/pull", what=what)
        except ForgeError as error:
            if error.reason.code == "forge/not-found":
                return ()
            raise
        with self._reads(what):
            pull = self._pull(project, told.value)
        return (pull,) if pull.state == "merged" else ()

    def _pull(self, project: str, value: Any) -> PullRequest:
        title = reading.text(value, "title")
        number = reading.number(value, "number")
        is_open = reading.text(value, "state") == "open"
        merged = reading.flag(value, "merged")
        plain = _without_mark(title)
        return PullRequest(
            number=number,
            url=f"{self.page(project)}/pulls/{number}",
            title=plain,
            body=reading.maybe(value, "body") or "",
            state="merged" if merged else "open" if is_open else "closed",
            head=(head := _head(value)),
            head_commit=head_commit(head, reading.maybe(value, "head", "sha")),
            base=reading.text(value, "base", "ref"),
            draft=plain != title or reading.flag(value, "draft"),
            labels=tuple(filter(None, (reading.maybe(one, "name") for one in _list(value, "labels")))),
            author=reading.maybe(value, "user", "login"),
            merged_at=reading.time(value, "merged_at") if merged else None,
            merged_by=reading.maybe(value, "merged_by", "login") if merged else None,
            merge_commit=reading.maybe(value, "merge_commit_sha") if merged else None,
            closed_at=reading.time(value, "closed_at"),
        )

    # -- comments -----------------------------------------------------------------------------------------

    def comments(self, project: str, number: int, *, on: On = "pull") -> tuple[Comment, ...]:
        what = f"read the comments under {number} of {project}"
        return tuple(self._items(f"/repos/{project}/issues/{number}/comments", {}, comment_of, what=what))

    def comment(self, project: str, number: int, body: str, *, on: On) -> Comment:
        what = f"comment on {number} of {project}"
        path = f"/repos/{project}/issues/{number}/comments"
        told = self._caller.send("POST", path, {"body": body}, what=what)
        with self._reads(what):
            return comment_of(told.value)

    def edit_comment(self, project: str, number: int, comment_id: str, body: str, *, on: On) -> None:
        path = f"/repos/{project}/issues/comments/{segment(comment_id)}"
        self._caller.send("PATCH", path, {"body": body}, what=f"edit a comment under {number} of {project}")

    def delete_comment(self, project: str, number: int, comment_id: str, *, on: On) -> None:
        path = f"/repos/{project}/issues/comments/{segment(comment_id)}"
        self._caller.send("DELETE", path, what=f"delete a comment under {number} of {project}")

    # -- commits ------------------------------------------------------------------------------------------

    def commit_statuses(self, project: str, commit: str) -> tuple[CommitStatus, ...]:
        what = f"read the statuses of commit {commit[:12]} in {project}"
        path = f"/repos/{project}/commits/{segment(commit)}/status"
        found = self._items(path, {"limit": LIMIT}, _status, what=what, inside="statuses")
        return newest_of_each(found)

    def set_commit_status(self, project: str, commit: str, status: CommitStatus) -> None:
        what = f"set the status {status.context} of commit {commit[:12]} in {project}"
        body = present(context=status.context, state=status.state, description=one_line(status.description),
                       target_url=status.url)  # fmt: skip
        self._caller.send("POST", f"/repos/{project}/statuses/{segment(commit)}", body, what=what)

    def commits_between(
        self, project: str, base: str, head: str, *, limit: int = 250
    ) -> tuple[Sequence[SourceCommit], bool]:
        """The commits of `head` that `base` lacks, newest first, and whether that is all of them."""
        what = f"compare {base[:12]} and {head[:12]} in {project}"
        # Not its comparison, which is neither paged nor bounded and has the changes of every commit.
        bare = dict.fromkeys(("stat", "verification", "files"), "false")
        query: dict[str, str | int] = {"sha": head, "not": base, **bare, "limit": LIMIT}
        found: list[SourceCommit] = []
        for commit in self._items(f"/repos/{project}/commits", query, _commit, what=what):
            if len(found) == limit:
                return found, False
            found.append(commit)
        return found, True

    def record_deployment(self, project: str, deployment: Deployment) -> None:
        raise self._cannot("record deployments", "it has no such thing")


def _head(value: Any) -> str:
    ref = reading.text(value, "head", "ref")
    if ref.startswith("refs/pull/"):  # what stands there once the branch is deleted
        ref = reading.maybe(value, "head", "label") or ref
    ids = [reading.at(value, end, "repo_id") for end in ("head", "base")]
    owner = reading.maybe(value, "head", "repo", "owner", "login")
    return head_name(ref.rpartition(":")[2], owner, is_ours=ids[0] is not None and ids[0] == ids[1])


def _without_mark(title: str) -> str:
    """A title without what makes it a draft's."""
    for mark in _DRAFTS:
        if title.lower().startswith(mark):
            return title[len(mark) :].lstrip()
    return title


def _list(value: Any, key: str) -> list[Any]:
    found = reading.at(value, key)
    return found if isinstance(found, list) else []


def _label(value: Any) -> tuple[str, int]:
    return reading.text(value, "name"), reading.number(value, "id")


def _status(value: Any) -> CommitStatus:
    return CommitStatus(
        reading.text(value, "context"),
        STATES.get(reading.text(value, "status"), "error"),
        reading.maybe(value, "description") or "",
        reading.maybe(value, "target_url"),
    )


def _commit(value: Any) -> SourceCommit:
    return SourceCommit(
        reading.text(value, "sha"),
        (reading.maybe(value, "commit", "message") or "").rstrip("\n"),
        reading.maybe(value, "author", "login") or reading.maybe(value, "commit", "author", "name") or "",
        reading.time(value, "commit", "author", "date"),
    )
