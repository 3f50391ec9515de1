"""GitLab: gitlab.com and instances of one's own, by REST (`/api/v4`).

Source: GitLab's OpenAPI description and docs.gitlab.com/api. A pull request is a merge request here, and its
number the `iid`. Projects go into addresses as a whole, their slashes encoded.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any
from urllib.parse import quote

from automator.core.forge import (
    Comment,
    CommitStatus,
    Deployment,
    DeploymentState,
    PullDraft,
    PullRequest,
    PullState,
    SourceCommit,
    StatusState,
)
from automator.edges.forge import reading
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
from automator.errors import ForgeError
from automator.reasons import Reason, one_line

HEADERS = {"Accept": "application/json"}
PER_PAGE = 100
LONGEST_DESCRIPTION = 255
DRAFT = "Draft: "
AUTHOR = ("author", "username")
_DRAFTS = ("draft:", "[draft]", "(draft)")
"""What a title begins with that makes it a draft."""
OPEN_STATES = frozenset({"opened", "locked"})  # locked: it is being merged this moment
TOLD_STATES: dict[StatusState, str] = {
    "pending": "pending", "success": "success", "failure": "failed", "error": "failed"
}  # fmt: skip
_UNDER_WAY = ("created", "waiting_for_resource", "preparing", "pending", "running", "scheduled", "manual")
STATES: dict[str, StatusState] = {"success": "success", "failed": "failure"}
STATES |= dict.fromkeys(_UNDER_WAY, "pending")
DEPLOYMENTS: dict[DeploymentState, str] = {
    "in_progress": "running", "success": "success", "failure": "failed", "inactive": "canceled"
}  # fmt: skip


class GitLab(Client):
    """A client of GitLab."""

    _files = "-/blob"

    def commit_page(self, project: str, commit: str) -> str:
        return f"{self.page(project)}/-/commit/{quote(commit)}"

    def compare_page(self, project: str, base: str, head: str) -> str:
        return f"{self.page(project)}/-/compare/{quote(base)}...{quote(head)}"

    # -- merge requests -----------------------------------------------------------------------------------

    def pull_requests(
        self,
        project: str,
        *,
        head: str | None = None,
        base: str | None = None,
        state: Listed = "open",
        limit: int = 100,
    ) -> tuple[PullRequest, ...]:
        """Newest first."""
        what = f"list the merge requests of {project}"
        exact = head is not None and not head.endswith("/")
        query = present(
            # What is merged is not among what is closed, here.
            state="opened" if state == "open" else "all", target_branch=base,
            source_branch=head if exact else None, order_by="created_at", sort="desc", per_page=PER_PAGE,
        )  # fmt: skip
        read = partial(self._pull, project)
        found = self._items(f"{_of(project)}/merge_requests", query, read, what=what)
        return self._matching(found, head=head, base=base, state=state, limit=limit)

    def pull_request(self, project: str, number: int) -> PullRequest:
        what = f"read merge request {number} of {project}"
        told = self._caller.get(f"{_of(project)}/merge_requests/{number}", what=what)
        with self._reads(what):
            return self._pull(project, told.value)

    def open_pull_request(self, project: str, draft: PullDraft) -> PullRequest:
        """Open it, then label it and ask its reviewers, whom GitLab may leave out silently."""
        what = f"open a merge request in {project}"
        title = cut(draft.title, LONGEST_TITLE - len(DRAFT))
        body = {
            "title": f"{DRAFT}{title}" if draft.draft else title,
            "source_branch": draft.head,
            "target_branch": draft.base,
            "description": draft.body,
        }
        told = self._caller.send("POST", f"{_of(project)}/merge_requests", body, what=what)
        with self._reads(what):
            pull = self._pull(project, told.value)
        extras = Extras()
        self._label(project, pull.number, draft.labels, extras)
        self._ask_reviewers(project, pull.number, draft.reviewers, {}, extras)
        return extras.upon(pull, draft.labels)

    def complete_pull_request(self, project: str, number: int, draft: PullDraft) -> tuple[Reason, ...]:
        """Set the labels and ask the reviewers that it lacks; gives what was refused for good."""
        what = f"read merge request {number} of {project}"
        told = self._caller.get(f"{_of(project)}/merge_requests/{number}", what=what).value
        with self._reads(what):
            pull = self._pull(project, told)
            listed = _list(told, "reviewers")
            had = {reading.text(one, "username"): reading.number(one, "id") for one in listed}
        extras = Extras()
        self._label(project, number, [one for one in draft.labels if one not in pull.labels], extras)
        self._ask_reviewers(project, number, [one for one in draft.reviewers if one not in had], had, extras)
        return extras.told()

    def _label(self, project: str, number: int, labels: Sequence[str], extras: Extras) -> None:
        """Label it; labels that do not exist are made by that."""
        if not labels:
            return
        try:
            self._put(project, number, f"label merge request {number} of {project}",
                      {"add_labels": list(labels)})  # fmt: skip
        except ForgeError as error:
            extras.fail("label", labels, error)

    def _ask_reviewers(
        self, project: str, number: int, reviewers: Sequence[str], had: dict[str, int], extras: Extras
    ) -> None:
        """Reviewers are named by number, beside those that it has already, and whoever may not see the
        project is left out silently."""
        known: dict[str, int] = {}
        people = [name for name in reviewers if "/" not in name]
        extras.lack("reviewer", [name for name in reviewers if "/" in name], "GitLab has no teams to ask")
        extras.one_by_one("reviewer", people, lambda name: known.update(self._user(name)))
        failed = extras.missing("reviewer")
        unknown = [name for name in people if name not in known and name not in failed]
        extras.lack("reviewer", unknown, "there is no such user")
        if not known:
            return
        if extras.silence is not None:
            extras.fail("reviewer", known, extras.silence)
            return
        what = f"ask for reviews in {project}"
        try:
            value = self._put(project, number, what, {"reviewer_ids": [*had.values(), *known.values()]})
        except ForgeError as error:
            extras.fail("reviewer", known, error)
            return
        asked = {reading.maybe(one, "username") for one in _list(value, "reviewers")}
        silent = "GitLab left it out without a word: no access to the project, or one reviewer too many"
        extras.lack("reviewer", [name for name in known if name not in asked], silent)

    def _user(self, login: str) -> dict[str, int]:
        """The number of a login, by the login; empty where there is no such user."""
        what = f"find the user {login}"
        told = self._caller.get("/users", {"username": login}, what=what)
        with self._reads(what):
            found = [one for one in reading.listing(told.value) if reading.maybe(one, "username") == login]
            return {login: reading.number(found[0], "id")} if found else {}

    def update_pull_request(
        self,
        project: str,
        number: int,
        *,
        title: str | None = None,
        body: str | None = None,
        base: str | None = None,
    ) -> PullRequest:
        """Change its words or target. A draft stays one: its title says so."""
        what = f"change merge request {number} of {project}"
        if title is not None:
            title = cut(title, LONGEST_TITLE - len(DRAFT))
            if self.pull_request(project, number).draft:  # its title alone makes it one
                title = f"{DRAFT}{title}"
        value = self._put(project, number, what, present(title=title, description=body, target_branch=base))
        with self._reads(what):
            return self._pull(project, value)

    def close_pull_request(self, project: str, number: int) -> None:
        self._put(project, number, f"close merge request {number} of {project}", {"state_event": "close"})

    def _put(self, project: str, number: int, what: str, body: dict[str, Any]) -> Any:
        path = f"{_of(project)}/merge_requests/{number}"
        return self._caller.send("PUT", path, body, what=what).value

    def merge_when_ready(self, project: str, number: int, head_commit: str) -> None:
        path = f"{_of(project)}/merge_requests/{number}/merge"
        # The second is the first's new name; an instance takes the one that it knows.
        body = {"merge_when_pipeline_succeeds": True, "auto_merge": True, "sha": head_commit}
        what = f"have merge request {number} of {project} merged once its pipeline passes"
        self._caller.send("PUT", path, body, what=what)

    def cancel_merge(self, project: str, number: int) -> None:
        path = f"{_of(project)}/merge_requests/{number}/cancel_merge_when_pipeline_succeeds"
        what = f"have merge request {number} of {project} not merged by itself any more"
        self._caller.send("POST", path, None, what=what)

    def approvals(self, project: str, number: int) -> tuple[str, ...]:
        what = f"read the approvals of merge request {number} of {project}"
        told = self._caller.get(f"{_of(project)}/merge_requests/{number}/approvals", what=what).value
        with self._reads(what):
            found = reading.at(reading.record(told), "approved_by") or []
            listed = found if isinstance(found, list) else [found]
            logins = (reading.maybe(one, "user", "username") for one in listed)
            return tuple(login for login in logins if login is not None)

    def pull_requests_of(self, project: str, commit: str) -> tuple[PullRequest, ...]:
        what = f"find the merge requests of commit {commit[:12]} in {project}"
        path = f"{_of(project)}/repository/commits/{segment(commit)}/merge_requests"
        found = self._items(path, {"per_page": PER_PAGE}, partial(self._pull, project), what=what)
        return tuple(pull for pull in found if pull.state == "merged")

    def _pull(self, project: str, value: Any) -> PullRequest:
        title = reading.text(value, "title")
        plain = _without_mark(title)
        number = reading.number(value, "iid")
        told = reading.text(value, "state")
        state: PullState = "open" if told in OPEN_STATES else "merged" if told == "merged" else "closed"
        head = _head(value)
        commit = head_commit(head, reading.maybe(value, "sha"))
        merged = state == "merged"
        # A fast-forward has no commit of its own: the squashed one, or the head, is on the base.
        on_base = reading.maybe(value, "merge_commit_sha") or reading.maybe(value, "squash_commit_sha")
        return PullRequest(
            number=number,
            url=f"{self.page(project)}/-/merge_requests/{number}",
            title=plain,
            body=reading.maybe(value, "description") or "",
            state=state,
            head=head,
            head_commit=commit,
            base=reading.text(value, "target_branch"),
            draft=plain != title or reading.flag(value, "draft"),
            labels=tuple(filter(None, map(_label_name, _list(value, "labels")))),
            author=reading.maybe(value, "author", "username"),
            merged_at=reading.time(value, "merged_at") if merged else None,
            merged_by=(reading.maybe(value, "merge_user", "username")
                       or reading.maybe(value, "merged_by", "username")) if merged else None,
            merge_commit=(on_base or commit or None) if merged else None,
            closed_at=reading.time(value, "closed_at"),
        )  # fmt: skip

    # -- notes --------------------------------------------------------------------------------------------

    def comments(self, project: str, number: int, *, on: On = "pull") -> tuple[Comment, ...]:
        what = f"read the comments under {number} of {project}"
        query: dict[str, str | int] = {"sort": "asc", "order_by": "created_at", "per_page": PER_PAGE}
        notes = self._items(_notes(project, number, on), query, reading.record, what=what)
        # What GitLab notes down itself ("changed the description") nobody has said.
        with self._reads(what):
            return tuple(comment_of(note, AUTHOR) for note in notes if not reading.flag(note, "system"))

    def comment(self, project: str, number: int, body: str, *, on: On) -> Comment:
        what = f"comment on {number} of {project}"
        told = self._caller.send("POST", _notes(project, number, on), {"body": body}, what=what)
        with self._reads(what):
            return comment_of(told.value, AUTHOR)

    def edit_comment(self, project: str, number: int, comment_id: str, body: str, *, on: On) -> None:
        path = f"{_notes(project, number, on)}/{segment(comment_id)}"
        self._caller.send("PUT", path, {"body": body}, what=f"edit a comment under {number} of {project}")

    def delete_comment(self, project: str, number: int, comment_id: str, *, on: On) -> None:
        path = f"{_notes(project, number, on)}/{segment(comment_id)}"
        self._caller.send("DELETE", path, what=f"delete a comment under {number} of {project}")

    # -- commits ------------------------------------------------------------------------------------------

    def commit_statuses(self, project: str, commit: str) -> tuple[CommitStatus, ...]:
        what = f"read the statuses of commit {commit[:12]} in {project}"
        path = f"{_of(project)}/repository/commits/{segment(commit)}/statuses"
        return newest_of_each(self._items(path, {"per_page": PER_PAGE}, _status, what=what))

    def set_commit_status(self, project: str, commit: str, status: CommitStatus) -> None:
        """Say something of a commit; a status that is that already is left alone."""
        what = f"set the status {status.context} of commit {commit[:12]} in {project}"
        description = one_line(status.description, LONGEST_DESCRIPTION)
        body = present(state=TOLD_STATES[status.state], name=status.context, description=description,
                       target_url=status.url)  # fmt: skip
        try:
            self._caller.send("POST", f"{_of(project)}/statuses/{segment(commit)}", body, what=what)
        except ForgeError as error:
            # Its way of saying that the status is that already.
            if "Cannot transition status" not in error.reason.sentence:
                raise

    def commits_between(
        self, project: str, base: str, head: str, *, limit: int = 250
    ) -> tuple[Sequence[SourceCommit], bool]:
        """The commits of `head` that `base` lacks, newest first, and whether that is all of them."""
        what = f"compare {base[:12]} and {head[:12]} in {project}"
        # Not its comparison, which is neither paged nor bounded and has the changes of every commit.
        query: dict[str, str | int] = {"ref_name": f"{base}..{head}", "per_page": min(limit + 1, PER_PAGE)}
        found: list[SourceCommit] = []
        for commit in self._items(f"{_of(project)}/repository/commits", query, _commit, what=what):
            if len(found) == limit:
                return found, False
            found.append(commit)
        return found, True

    def record_deployment(self, project: str, deployment: Deployment) -> None:
        """A deployment, unless the newest one of its environment is of the same commit."""
        what = f"record a deployment to {deployment.environment} in {project}"
        body = {
            "environment": deployment.environment,
            "sha": deployment.ref,
            "ref": deployment.ref,
            "tag": False,
            "status": DEPLOYMENTS[deployment.state],
        }
        path = f"{_of(project)}/deployments"
        newest = {"environment": deployment.environment, "order_by": "id", "sort": "desc", "per_page": "1"}
        told = self._caller.get(path, newest, what=what)
        with self._reads(what):
            if any(reading.text(made, "sha") == deployment.ref for made in told.value or ()):
                return  # by a try whose answer got lost, or for another workload of the same source
        self._caller.send("POST", path, body, what=what)


def _of(project: str) -> str:
    return f"/projects/{segment(project)}"


def _notes(project: str, number: int, on: On) -> str:
    return f"{_of(project)}/{'merge_requests' if on == 'pull' else 'issues'}/{number}/notes"


def _head(value: Any) -> str:
    source, target = (reading.at(value, f"{end}_project_id") for end in ("source", "target"))
    owner = None if source is None else f"project {source}"
    return head_name(
        reading.text(value, "source_branch"), owner, is_ours=source is not None and source == target
    )


def _without_mark(title: str) -> str:
    """A title without what makes it a draft's."""
    for mark in _DRAFTS:
        if title.lower().startswith(mark):
            return title[len(mark) :].lstrip()
    return title


def _list(value: Any, key: str) -> list[Any]:
    found = reading.at(value, key)
    return found if isinstance(found, list) else []


def _label_name(label: Any) -> str | None:
    return label if isinstance(label, str) else reading.maybe(label, "name")


def _status(value: Any) -> CommitStatus:
    return CommitStatus(
        reading.text(value, "name"),
        STATES.get(reading.text(value, "status"), "error"),
        reading.maybe(value, "description") or "",
        reading.maybe(value, "target_url"),
    )


def _commit(value: Any) -> SourceCommit:
    return SourceCommit(
        reading.text(value, "id"),
        (reading.maybe(value, "message") or "").rstrip("\n"),
        reading.maybe(value, "author_name") or "",
        reading.time(value, "authored_date"),
    )
