"""GitHub: github.com and Enterprise Server, by REST (version 2022-11-28); auto-merge by GraphQL.

Source: the OpenAPI description of api.github.com, and docs.github.com/rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

from automator.core.forge import (
    Comment,
    CommitStatus,
    Deployment,
    PullDraft,
    PullRequest,
    SourceCommit,
    StatusState,
)
from automator.edges.forge import failures, reading
from automator.edges.forge.caller import PAGES
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
from automator.edges.forge.extras import Extras, is_refusal
from automator.errors import ForgeError
from automator.reasons import Reason, one_line, reason

HEADERS = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}
PER_PAGE = 100
LONGEST_DESCRIPTION = 140
STATES: dict[str, StatusState] = {
    "pending": "pending", "success": "success", "failure": "failure", "error": "error"
}  # fmt: skip
AUTO_MERGE = """\
mutation ($id: ID!, $head: GitObjectID!, $method: PullRequestMergeMethod!) {
  enablePullRequestAutoMerge(input: {pullRequestId: $id, expectedHeadOid: $head, mergeMethod: $method}) {
    pullRequest { number }
  }
}"""
NO_AUTO_MERGE = """\
mutation ($id: ID!) {
  disablePullRequestAutoMerge(input: {pullRequestId: $id}) {
    pullRequest { number }
  }
}"""


class GitHub(Client):
    """A client of GitHub."""

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
        """Newest first. A prefix of heads is no filter of GitHub's: all are listed, and looked through."""
        what = f"list the pull requests of {project}"
        exact = head is not None and not head.endswith("/")
        owner = project.partition("/")[0]
        query = present(
            state=state, base=base, head=f"{owner}:{head}" if exact else None, sort="created",
            direction="desc", per_page=PER_PAGE,
        )  # fmt: skip
        found = self._items(f"/repos/{project}/pulls", query, partial(self._pull, project), what=what)
        return self._matching(found, head=head, base=base, state=state, limit=limit)

    def pull_request(self, project: str, number: int) -> PullRequest:
        what = f"read pull request {number} of {project}"
        told = self._caller.get(f"/repos/{project}/pulls/{number}", what=what)
        with self._reads(what):
            return self._pull(project, told.value)

    def open_pull_request(self, project: str, draft: PullDraft) -> PullRequest:
        """Open it, as no draft where the project has none, then label it and ask its reviewers."""
        what = f"open a pull request in {project}"
        body = {"title": cut(draft.title, LONGEST_TITLE), "head": draft.head, "base": draft.base,
                "body": draft.body}  # fmt: skip
        path = f"/repos/{project}/pulls"
        extras = Extras()
        with self._caller.together(1 + bool(draft.labels) + bool(draft.reviewers)):
            try:
                told = self._caller.send("POST", path, {**body, "draft": draft.draft}, what=what)
            except ForgeError as error:
                if not draft.draft or "draft" not in error.reason.sentence.lower() or not is_refusal(error):
                    raise
                extras.warnings.append(reason("forge/draft", problem=error.reason.sentence))
                told = self._caller.send("POST", path, body, what=what)
            with self._reads(what):
                pull = self._pull(project, told.value)
            self._label(project, pull.number, draft.labels, extras)
            self._ask_reviewers(project, pull.number, draft.reviewers, extras)
        return extras.upon(pull, draft.labels)

    def complete_pull_request(self, project: str, number: int, draft: PullDraft) -> tuple[Reason, ...]:
        """Set the labels and ask the reviewers that it lacks; gives what was refused for good."""
        what = f"read pull request {number} of {project}"
        told = self._caller.get(f"/repos/{project}/pulls/{number}", what=what).value
        with self._reads(what):
            pull = self._pull(project, told)
        people, teams = (reading.at(told, f"requested_{key}") or () for key in ("reviewers", "teams"))
        asked = {reading.maybe(one, "login") for one in people} | {
            reading.maybe(one, "slug") for one in teams
        }
        labels = [label for label in draft.labels if label not in pull.labels]
        reviewers = [name for name in draft.reviewers if name.rpartition("/")[2] not in asked]
        if reviewers:  # who has given a review is not among those who are asked for one
            heard = self._reviews(project, number)
            reviewers = [name for name in reviewers if name not in heard]
        extras = Extras()
        with self._caller.together(bool(labels) + bool(reviewers)):
            self._label(project, number, labels, extras)
            self._ask_reviewers(project, number, reviewers, extras)
        return extras.told()

    def _label(self, project: str, number: int, labels: Sequence[str], extras: Extras) -> None:
        """Label it; labels that do not exist are made by that."""
        path, what = f"/repos/{project}/issues/{number}/labels", f"label pull request {number} of {project}"

        def label(names: Sequence[str]) -> None:
            self._caller.send("POST", path, {"labels": list(names)}, what=what)

        self._all_or_each("label", labels, label, extras)

    def _ask_reviewers(self, project: str, number: int, reviewers: Sequence[str], extras: Extras) -> None:
        path, what = f"/repos/{project}/pulls/{number}/requested_reviewers", f"ask for reviews in {project}"

        def ask(names: Sequence[str]) -> None:
            teams = [name.rpartition("/")[2] for name in names if "/" in name]
            body = {"reviewers": [name for name in names if "/" not in name], "team_reviewers": teams}
            self._caller.send("POST", path, {key: told for key, told in body.items() if told}, what=what)

        self._all_or_each("reviewer", reviewers, ask, extras)

    def _all_or_each(
        self,
        kind: Literal["label", "reviewer"],
        names: Sequence[str],
        ask: Callable[[Sequence[str]], None],
        extras: Extras,
    ) -> None:
        """Ask for all at once; one name that is wrong has all of them refused, and then each is asked for."""
        if not names or extras.silence is not None:
            extras.one_by_one(kind, names, lambda _name: None)
            return
        try:
            ask(names)
        except ForgeError as error:
            if not _is_about_one(error) or len(names) == 1:
                extras.fail(kind, names, error)
            else:
                extras.one_by_one(kind, names, lambda name: ask([name]))

    def update_pull_request(
        self,
        project: str,
        number: int,
        *,
        title: str | None = None,
        body: str | None = None,
        base: str | None = None,
    ) -> PullRequest:
        """Change its words or base."""
        title = None if title is None else cut(title, LONGEST_TITLE)
        return self._patch(project, number, f"change pull request {number} of {project}",
                           present(title=title, body=body, base=base))  # fmt: skip

    def close_pull_request(self, project: str, number: int) -> None:
        self._patch(project, number, f"close pull request {number} of {project}", {"state": "closed"})

    def _patch(self, project: str, number: int, what: str, body: dict[str, Any]) -> PullRequest:
        told = self._caller.send("PATCH", f"/repos/{project}/pulls/{number}", body, what=what)
        with self._reads(what):
            return self._pull(project, told.value)

    def merge_when_ready(self, project: str, number: int, head_commit: str) -> None:
        """Switch auto-merge on, in a way that the project allows; merge at once where nothing is left
        to wait for.
        """
        what = f"merge pull request {number} of {project} once its checks pass"
        told = self._caller.get(f"/repos/{project}/pulls/{number}", what=what)
        with self._reads(what):
            node = reading.text(told.value, "node_id")
        method = self._merge_method(project, what)
        body = {"query": AUTO_MERGE, "variables": {"id": node, "head": head_commit, "method": method.upper()}}
        answer = self._caller.send("POST", self._graphql(), body, what=what).value
        errors = reading.at(answer, "errors")
        if not errors:
            return
        words = one_line(reading.maybe(errors[0], "message") if isinstance(errors, list) else "")
        if "clean status" in words:
            # Nothing is left to wait for, and GitHub then refuses to wait.
            path = f"/repos/{project}/pulls/{number}/merge"
            self._caller.send("PUT", path, {"sha": head_commit, "merge_method": method}, what=what)
        elif "not allowed" in words:
            raise self._cannot(what, words)
        else:
            raise failures.disagreed(self.host, what, words)

    def cancel_merge(self, project: str, number: int) -> None:
        """Take the order to merge back. Over GraphQL: REST knows none."""
        what = f"have pull request {number} of {project} not merged by itself any more"
        told = self._caller.get(f"/repos/{project}/pulls/{number}", what=what)
        with self._reads(what):
            node = reading.text(told.value, "node_id")
        body = {"query": NO_AUTO_MERGE, "variables": {"id": node}}
        answer = self._caller.send("POST", self._graphql(), body, what=what).value
        errors = reading.at(answer, "errors")
        if errors:
            words = one_line(reading.maybe(errors[0], "message") if isinstance(errors, list) else "")
            raise failures.disagreed(self.host, what, words)

    def _merge_method(self, project: str, what: str) -> str:
        """The way of merging that the project allows; the first of GitHub's own order."""
        told = self._caller.get(f"/repos/{project}", what=what).value
        ways = {"merge": "allow_merge_commit", "squash": "allow_squash_merge", "rebase": "allow_rebase_merge"}
        # Who may not push is not told: then the usual one.
        return next((way for way, key in ways.items() if reading.flag(told, key)), "merge")

    def _graphql(self) -> str:
        """Where GraphQL is, beside the REST API."""
        address = self._caller.address
        return f"{address.removesuffix('/v3') if address.endswith('/api/v3') else address}/graphql"

    def approvals(self, project: str, number: int) -> tuple[str, ...]:
        last = self._reviews(project, number)
        return tuple(login for login, state in last.items() if state == "APPROVED")

    def _reviews(self, project: str, number: int) -> dict[str, str]:
        """The newest verdict of each reviewer, by login."""
        what = f"read the reviews of pull request {number} of {project}"
        path = f"/repos/{project}/pulls/{number}/reviews"
        last: dict[str, str] = {}
        for review in self._items(path, {"per_page": PER_PAGE}, reading.record, what=what):
            login, state = reading.maybe(review, "user", "login"), reading.maybe(review, "state")
            if login and state in ("APPROVED", "CHANGES_REQUESTED", "DISMISSED"):
                last[login] = state
        return last

    def pull_requests_of(self, project: str, commit: str) -> tuple[PullRequest, ...]:
        what = f"find the pull requests of commit {commit[:12]} in {project}"
        path = f"/repos/{project}/commits/{segment(commit)}/pulls"
        found = self._items(path, {"per_page": PER_PAGE}, partial(self._pull, project), what=what)
        return tuple(pull for pull in found if pull.state == "merged")

    def _pull(self, project: str, value: Any) -> PullRequest:
        merged_at = reading.time(value, "merged_at")
        is_open = reading.text(value, "state") == "open"
        number = reading.number(value, "number")
        return PullRequest(
            number=number,
            url=f"{self.page(project)}/pull/{number}",
            title=reading.text(value, "title"),
            body=reading.maybe(value, "body") or "",
            state="open" if is_open else "closed" if merged_at is None else "merged",
            head=(head := _head(value)),
            head_commit=head_commit(head, reading.maybe(value, "head", "sha")),
            base=reading.text(value, "base", "ref"),
            draft=reading.flag(value, "draft"),
            labels=tuple(filter(None, map(_label_name, reading.at(value, "labels") or ()))),
            author=reading.maybe(value, "user", "login"),
            merged_at=merged_at,
            merged_by=reading.maybe(value, "merged_by", "login"),
            # On what is not merged, GitHub tells a merge that it only tried.
            merge_commit=None if merged_at is None else reading.maybe(value, "merge_commit_sha"),
            closed_at=reading.time(value, "closed_at"),
        )

    # -- comments -----------------------------------------------------------------------------------------

    def comments(self, project: str, number: int, *, on: On = "pull") -> tuple[Comment, ...]:
        what = f"read the comments under {number} of {project}"
        path = f"/repos/{project}/issues/{number}/comments"
        return tuple(self._items(path, {"per_page": PER_PAGE}, comment_of, what=what))

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
        return newest_of_each(
            self._items(path, {"per_page": PER_PAGE}, _status, what=what, inside="statuses")
        )

    def set_commit_status(self, project: str, commit: str, status: CommitStatus) -> None:
        what = f"set the status {status.context} of commit {commit[:12]} in {project}"
        description = cut(one_line(status.description, LONGEST_DESCRIPTION), LONGEST_DESCRIPTION)
        body = present(context=status.context, state=status.state, description=description,
                       target_url=status.url)  # fmt: skip
        self._caller.send("POST", f"/repos/{project}/statuses/{segment(commit)}", body, what=what)

    def commits_between(
        self, project: str, base: str, head: str, *, limit: int = 250
    ) -> tuple[Sequence[SourceCommit], bool]:
        """The commits of `head` that `base` lacks, newest first, and whether that is all of them."""
        what = f"compare {base[:12]} and {head[:12]} in {project}"
        path = f"/repos/{project}/compare/{segment(base)}...{segment(head)}"
        per_page = min(limit, PER_PAGE)
        found: list[SourceCommit] = []
        with self._reads(what):
            first = self._caller.get(path, {"per_page": per_page}, what=what).value
            total = reading.number(first, "total_commits")
            last = max(1, -(-total // per_page))
            lowest = max(0, last - PAGES)
            # Its pages begin with the oldest commit: the newest ones are read from the last page backwards.
            for page in range(last, lowest, -1):
                told = first
                if page > 1:
                    told = self._caller.get(path, {"per_page": per_page, "page": page}, what=what).value
                listed = reading.listing(reading.at(told, "commits"))
                found += map(_commit, reversed(listed))
                if len(found) >= limit or not listed:
                    break
        return found[:limit], len(found) >= total and total <= limit

    def record_deployment(self, project: str, deployment: Deployment) -> None:
        """A deployment, and then its state; of one whose state got lost, the state alone."""
        what = f"record a deployment to {deployment.environment} in {project}"
        body = {
            "ref": deployment.ref,
            "environment": deployment.environment,
            "description": cut(one_line(deployment.description), LONGEST_DESCRIPTION),
            "auto_merge": False,
            "required_contexts": [],  # it runs already: no check of the source holds that back
        }
        number = self._recorded(project, deployment.environment, body, what)
        if number is None:
            told = self._caller.send("POST", f"/repos/{project}/deployments", body, what=what)
            with self._reads(what):
                number = reading.number(told.value, "id")
        state = present(state=deployment.state, description=body["description"], log_url=deployment.url)
        self._caller.send("POST", f"/repos/{project}/deployments/{number}/statuses", state, what=what)

    def _recorded(self, project: str, environment: str, body: Mapping[str, Any], what: str) -> int | None:
        """The number of the newest deployment that is told in words like these, if it is this very one."""
        subject = body["description"].partition(" ")[0]
        query = {"environment": environment, "per_page": "20"}
        told = self._caller.get(f"/repos/{project}/deployments", query, what=what)
        with self._reads(what):
            for made in told.value or ():
                words = reading.maybe(made, "description") or ""
                if words.partition(" ")[0] == subject:
                    is_this = (reading.text(made, "sha"), words) == (body["ref"], body["description"])
                    return reading.number(made, "id") if is_this else None
        return None


def _head(value: Any) -> str:
    repo, base = (reading.maybe(value, end, "repo", "full_name") for end in ("head", "base"))
    # A fork that is gone has no repository any more.
    is_ours = repo is not None and repo == base
    owner = reading.maybe(value, "head", "user", "login") or (repo or "").partition("/")[0]
    return head_name(reading.text(value, "head", "ref"), owner, is_ours=is_ours)


def _is_about_one(error: ForgeError) -> bool:
    """Whether one name among several may be what was refused."""
    return is_refusal(error) and error.reason.code != "forge/denied"


def _label_name(label: Any) -> str | None:
    return reading.maybe(label, "name")


def _status(value: Any) -> CommitStatus:
    return CommitStatus(
        reading.text(value, "context"),
        STATES.get(reading.text(value, "state"), "error"),
        reading.maybe(value, "description") or "",
        reading.maybe(value, "target_url"),
    )


def _commit(value: Any) -> SourceCommit:
    return SourceCommit(
        reading.text(value, "sha"),
        reading.maybe(value, "commit", "message") or "",
        reading.maybe(value, "author", "login") or reading.maybe(value, "commit", "author", "name") or "",
        reading.time(value, "commit", "author", "date"),
    )
