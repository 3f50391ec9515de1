"""Bitbucket Cloud, by REST (`api.bitbucket.org/2.0`).

Source: Bitbucket's own description and developer.atlassian.com/cloud/bitbucket/rest. It has no labels, no
drafts in older plans, no automatic merging, and tells commits of pull requests by twelve characters.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any
from urllib.parse import quote, urlencode

from automator.core.forge import (
    Comment,
    CommitStatus,
    Deployment,
    PullDraft,
    PullRequest,
    PullState,
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
    cut,
    head_commit,
    head_name,
    newest_of_each,
    segment,
)
from automator.edges.forge.extras import Extras
from automator.edges.forge.settings import ForgeSettings
from automator.errors import ForgeError
from automator.reasons import Reason, one_line

HEADERS = {"Accept": "application/json"}
PULLS_PER_PAGE, PER_PAGE = 50, 100
LONGEST_KEY = 40
HASH_LENGTH = 40
KEPT_HASHES = 1000
CLOSED = ("MERGED", "DECLINED", "SUPERSEDED")
TOLD_STATES: dict[StatusState, str] = {
    "pending": "INPROGRESS", "success": "SUCCESSFUL", "failure": "FAILED", "error": "STOPPED"
}  # fmt: skip
STATES: dict[str, StatusState] = {theirs: ours for ours, theirs in TOLD_STATES.items()}


class Bitbucket(Client):
    """A client of Bitbucket Cloud."""

    def __init__(self, settings: ForgeSettings, caller: Caller) -> None:
        super().__init__(settings, caller)
        self._whole: dict[str, SourceCommit] = {}
        self._knowing = threading.Lock()

    def commit_page(self, project: str, commit: str) -> str:
        return f"{self.page(project)}/commits/{quote(commit)}"

    def compare_page(self, project: str, base: str, head: str) -> str:
        return f"{self.page(project)}/branches/compare/{quote(head)}..{quote(base)}"

    def file_page(self, project: str, commit: str, path: str, line: int | None = None) -> str:
        at = "" if line is None else f"#lines-{line}"
        return f"{self.page(project)}/src/{quote(commit)}/{quote(path)}{at}"

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
        """Newest first. Each is completed by the commits that its list only shortens."""
        what = f"list the pull requests of {project}"
        states = {"open": ("OPEN",), "closed": CLOSED, "all": ("OPEN", *CLOSED)}[state]
        query: list[tuple[str, str]] = [("state", one) for one in states]
        tests = []
        if head is not None and not head.endswith("/"):
            tests.append(f"source.branch.name = {_quoted(head)}")
        if base is not None:
            tests.append(f"destination.branch.name = {_quoted(base)}")
        query += [("q", " AND ".join(tests))] if tests else []
        query += [("sort", "-created_on"), ("pagelen", str(PULLS_PER_PAGE))]
        read = partial(self._pull, project, whole=False)
        found = self._items(
            f"{_of(project)}/pullrequests", urlencode(query), read, what=what, inside="values"
        )
        kept = self._matching(found, head=head, base=base, state=state, limit=limit)
        return tuple(self._completed(project, pull) for pull in kept)

    def pull_request(self, project: str, number: int) -> PullRequest:
        return self._read(project, number)[0]

    def _read(self, project: str, number: int) -> tuple[PullRequest, Any]:
        """A pull request, and the answer that told it."""
        what = f"read pull request {number} of {project}"
        told = self._caller.get(f"{_of(project)}/pullrequests/{number}", what=what)
        with self._reads(what):
            return self._pull(project, told.value), told.value

    def open_pull_request(self, project: str, draft: PullDraft) -> PullRequest:
        """Open it, then ask its reviewers. Raises `forge/conflict` where one is open already."""
        what = f"open a pull request in {project}"
        # It takes a second one for the same branches as new words for the first.
        found = self.pull_requests(project, head=draft.head, base=draft.base, limit=1)
        if found:
            raise self._conflict(what, f"there is one already: {found[0].number}")
        body = {
            "type": "pullrequest",
            "title": cut(draft.title, LONGEST_TITLE),
            "description": draft.body,
            "draft": draft.draft,
            "source": {"branch": {"name": draft.head}},
            "destination": {"branch": {"name": draft.base}},
        }
        told = self._caller.send("POST", f"{_of(project)}/pullrequests", body, what=what)
        with self._reads(what):
            pull = self._pull(project, told.value)
        extras = Extras()
        extras.lack("label", draft.labels, "Bitbucket has no labels")
        self._ask_reviewers(project, pull, draft.reviewers, [], extras)
        return extras.upon(pull)

    def complete_pull_request(self, project: str, number: int, draft: PullDraft) -> tuple[Reason, ...]:
        pull, told = self._read(project, number)
        listed = _list(told, "reviewers")
        had = [uuid for uuid in (reading.maybe(one, "uuid") for one in listed) if uuid is not None]
        known = {*had, *map(_name, listed)}
        extras = Extras()
        extras.lack("label", draft.labels, "Bitbucket has no labels")
        missing = [name for name in draft.reviewers if name not in known]
        self._ask_reviewers(project, pull, missing, had, extras)
        return extras.told()

    def _ask_reviewers(
        self, project: str, pull: PullRequest, reviewers: Sequence[str], had: Sequence[str], extras: Extras
    ) -> None:
        """Reviewers are named by an id, beside those that it has already; of nicknames only those of the
        default reviewers can be found."""
        if not reviewers:
            return
        what = f"ask for reviews in {project}"
        try:
            known = {one: one for one in reviewers if one.startswith("{")}
            if len(known) < len(reviewers):
                path = f"{_of(project)}/effective-default-reviewers"
                found = self._items(path, {"pagelen": PER_PAGE}, _reviewer, what=what, inside="values")
                known |= {name: uuid for name, uuid in found if name in reviewers}
        except ForgeError as error:
            extras.fail("reviewer", reviewers, error)
            return
        unknown = [one for one in reviewers if one not in known]
        extras.lack("reviewer", unknown, "it is neither an id in braces nor a default reviewer")
        asked = [{"type": "user", "uuid": uuid} for uuid in had]

        def ask(name: str) -> None:
            wanted = [*asked, {"type": "user", "uuid": known[name]}]
            # What is left out, it takes for taken away.
            body = {"type": "pullrequest", "title": pull.title, "description": pull.body, "reviewers": wanted}
            self._caller.send("PUT", f"{_of(project)}/pullrequests/{pull.number}", body, what=what)
            asked[:] = wanted

        extras.one_by_one("reviewer", known, ask)

    def update_pull_request(
        self,
        project: str,
        number: int,
        *,
        title: str | None = None,
        body: str | None = None,
        base: str | None = None,
    ) -> PullRequest:
        """Change its words or base; what Bitbucket would drop for being left out goes along."""
        what = f"change pull request {number} of {project}"
        # It takes what is left out for taken away: title and reviewers go along.
        pull, told = self._read(project, number)
        uuids = [reading.maybe(one, "uuid") for one in _list(told, "reviewers")]
        change: dict[str, Any] = {
            "type": "pullrequest",
            "title": pull.title if title is None else cut(title, LONGEST_TITLE),
            "description": pull.body if body is None else body,
            "reviewers": [{"type": "user", "uuid": uuid} for uuid in uuids if uuid],
        }
        if base is not None:
            change["destination"] = {"branch": {"name": base}}
        answer = self._caller.send("PUT", f"{_of(project)}/pullrequests/{number}", change, what=what)
        with self._reads(what):
            return self._pull(project, answer.value)

    def close_pull_request(self, project: str, number: int) -> None:
        path = f"{_of(project)}/pullrequests/{number}/decline"
        self._caller.send("POST", path, what=f"decline pull request {number} of {project}")

    def merge_when_ready(self, project: str, number: int, head_commit: str) -> None:
        what = f"merge pull request {number} of {project} once its checks pass"
        raise self._cannot(what, "its API has no such thing")

    def cancel_merge(self, project: str, number: int) -> None:
        what = f"have pull request {number} of {project} not merged by itself any more"
        raise self._cannot(what, "its API has no such thing")

    def approvals(self, project: str, number: int) -> tuple[str, ...]:
        _, told = self._read(project, number)
        found = _list(told, "participants")
        approved = [_name(reading.at(one, "user")) for one in found if reading.flag(one, "approved")]
        return tuple(name for name in approved if name is not None)

    def pull_requests_of(self, project: str, commit: str) -> tuple[PullRequest, ...]:
        """Those that brought a commit; none yet while Bitbucket looks for them."""
        what = f"find the pull requests of commit {commit[:12]} in {project}"
        path = f"{_of(project)}/commit/{segment(commit)}/pullrequests"
        # 202: it has begun to look for them; the list is empty meanwhile.
        told = self._caller.get(path, {"pagelen": PULLS_PER_PAGE}, what=what)
        if told.status == 202:
            return ()
        with self._reads(what):
            listed = reading.listing(reading.at(told.value, "values"))
            numbers = [reading.number(one, "id") for one in listed]
        found = [self.pull_request(project, number) for number in numbers[:10]]
        return tuple(pull for pull in found if pull.state == "merged")

    def _pull(self, project: str, value: Any, *, whole: bool = True) -> PullRequest:
        number = reading.number(value, "id")
        told = reading.text(value, "state")
        state: PullState = "open" if told == "OPEN" else "merged" if told == "MERGED" else "closed"
        over = None if state == "open" else reading.time(value, "updated_on")
        head = _head(value)
        pull = PullRequest(
            number=number,
            url=f"{self.page(project)}/pull-requests/{number}",
            title=reading.text(value, "title"),
            body=reading.maybe(value, "summary", "raw") or reading.maybe(value, "description") or "",
            state=state,
            head=head,
            head_commit=head_commit(head, reading.maybe(value, "source", "commit", "hash")),
            base=reading.text(value, "destination", "branch", "name"),
            draft=reading.flag(value, "draft"),
            author=_name(reading.at(value, "author")),
            merged_at=over if state == "merged" else None,
            merged_by=_name(reading.at(value, "closed_by")) if state == "merged" else None,
            merge_commit=reading.maybe(value, "merge_commit", "hash") if state == "merged" else None,
            closed_at=over,
        )
        return self._completed(project, pull) if whole else pull

    def _completed(self, project: str, pull: PullRequest) -> PullRequest:
        """A pull request with whole commit ids, and with the time of its merge's commit: it tells none."""
        # A stranger's commit is in another repository, which may be gone.
        head = None if ":" in pull.head else self._commit(project, pull.head_commit)
        pull = replace(pull, head_commit=pull.head_commit if head is None else head.commit)
        if pull.merge_commit is None:
            return pull
        merge = self._commit(project, pull.merge_commit)
        if merge is None:
            return pull
        return replace(pull, merge_commit=merge.commit, merged_at=merge.time or pull.merged_at)

    def _commit(self, project: str, short: str) -> SourceCommit | None:
        """The commit that a shortened id means; None where it is gone, as those of deleted branches are."""
        if len(short) >= HASH_LENGTH:
            return SourceCommit(short, "", "")
        key = f"{project} {short}"
        with self._knowing:
            known = self._whole.get(key)
        if known is not None:
            return known
        what = f"read commit {short} of {project}"
        try:
            told = self._caller.get(f"{_of(project)}/commit/{segment(short)}", what=what)
        except ForgeError as error:
            if error.reason.code == "forge/not-found":
                return None
            raise
        with self._reads(what):
            commit = _commit(told.value)
        if not commit.commit.startswith(short):
            return None
        with self._knowing:
            if len(self._whole) >= KEPT_HASHES:
                self._whole.clear()
            self._whole[key] = commit
        return commit

    # -- comments -----------------------------------------------------------------------------------------

    def comments(self, project: str, number: int, *, on: On = "pull") -> tuple[Comment, ...]:
        self._only_pulls(on)
        what = f"read the comments under {number} of {project}"
        path = f"{_of(project)}/pullrequests/{number}/comments"
        found = self._items(path, {"pagelen": PER_PAGE}, _said, what=what, inside="values")
        return tuple(comment for comment in found if comment is not None)

    def comment(self, project: str, number: int, body: str, *, on: On) -> Comment:
        self._only_pulls(on)
        what = f"comment on {number} of {project}"
        path = f"{_of(project)}/pullrequests/{number}/comments"
        told = self._caller.send("POST", path, _comment_body(body), what=what)
        with self._reads(what):
            return _comment(told.value)

    def edit_comment(self, project: str, number: int, comment_id: str, body: str, *, on: On) -> None:
        self._only_pulls(on)
        path = f"{_of(project)}/pullrequests/{number}/comments/{segment(comment_id)}"
        what = f"edit a comment under {number} of {project}"
        self._caller.send("PUT", path, _comment_body(body), what=what)

    def delete_comment(self, project: str, number: int, comment_id: str, *, on: On) -> None:
        self._only_pulls(on)
        path = f"{_of(project)}/pullrequests/{number}/comments/{segment(comment_id)}"
        self._caller.send("DELETE", path, what=f"delete a comment under {number} of {project}")

    def _only_pulls(self, on: On) -> None:
        if on == "issue":
            raise self._cannot("comment on issues", "its issues are those of another product, as a rule")

    # -- commits ------------------------------------------------------------------------------------------

    def commit_statuses(self, project: str, commit: str) -> tuple[CommitStatus, ...]:
        what = f"read the statuses of commit {commit[:12]} in {project}"
        path = f"{_of(project)}/commit/{segment(commit)}/statuses"
        query: dict[str, str | int] = {"pagelen": PER_PAGE, "sort": "-updated_on"}
        return newest_of_each(self._items(path, query, _status, what=what, inside="values"))

    def set_commit_status(self, project: str, commit: str, status: CommitStatus) -> None:
        """Say something of a commit; without a page of its own, the commit's page is named."""
        what = f"set the status {status.context} of commit {commit[:12]} in {project}"
        body = {
            "type": "build",
            "key": _key(status.context),
            "name": status.context,
            "state": TOLD_STATES[status.state],
            "description": one_line(status.description),
            # It wants a page, come what may.
            "url": status.url or self.commit_page(project, commit),
        }
        path = f"{_of(project)}/commit/{segment(commit)}/statuses/build"
        self._caller.send("POST", path, body, what=what)

    def commits_between(
        self, project: str, base: str, head: str, *, limit: int = 250
    ) -> tuple[Sequence[SourceCommit], bool]:
        """The commits of `head` that `base` lacks, newest first, and whether that is all of them."""
        what = f"compare {base[:12]} and {head[:12]} in {project}"
        path = f"{_of(project)}/commits/{segment(head)}"
        query: dict[str, str | int] = {"exclude": base, "pagelen": min(limit + 1, PER_PAGE)}
        found: list[SourceCommit] = []
        for commit in self._items(path, query, _commit, what=what, inside="values"):
            if len(found) == limit:
                return found, False
            found.append(commit)
        return found, True

    def record_deployment(self, project: str, deployment: Deployment) -> None:
        raise self._cannot("record deployments", "only its own pipelines do")


def _of(project: str) -> str:
    return f"/repositories/{quote(project)}"


def _head(value: Any) -> str:
    repo, base = (reading.maybe(value, end, "repository", "full_name") for end in ("source", "destination"))
    owner = (repo or "").partition("/")[0]
    is_ours = repo is not None and repo == base
    branch = reading.maybe(value, "source", "branch", "name")
    if branch is None and is_ours:
        raise reading.WrongShape("source.branch.name is missing")
    return head_name(branch or "gone", owner or None, is_ours=is_ours)


def _quoted(text: str) -> str:
    """A text in Bitbucket's query language."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _key(context: str) -> str:
    """The key of a status; where its name is too long for one, with a digest, so that two stay two."""
    if len(context) <= LONGEST_KEY:
        return context
    digest = hashlib.sha256(context.encode()).hexdigest()[:8]
    return f"{context[: LONGEST_KEY - 9]}-{digest}"


def _list(value: Any, key: str) -> list[Any]:
    found = reading.at(value, key)
    return found if isinstance(found, list) else []


def _name(account: Any) -> str | None:
    return reading.maybe(account, "nickname") or reading.maybe(account, "display_name")


def _reviewer(value: Any) -> tuple[str, str]:
    return _name(reading.at(value, "user")) or "", reading.text(value, "user", "uuid")


def _comment_body(body: str) -> dict[str, Any]:
    return {"type": "pullrequest_comment", "content": {"raw": body}}


def _said(value: Any) -> Comment | None:
    """A comment; None for one that was deleted, or stands at a line."""
    if reading.flag(value, "deleted") or reading.at(value, "inline"):
        return None
    return _comment(value)


def _comment(value: Any) -> Comment:
    return Comment(
        str(reading.number(value, "id")),
        _name(reading.at(value, "user")),
        reading.maybe(value, "content", "raw") or "",
    )


def _status(value: Any) -> CommitStatus:
    return CommitStatus(
        reading.maybe(value, "name") or reading.text(value, "key"),
        STATES.get(reading.text(value, "state"), "error"),
        reading.maybe(value, "description") or "",
        reading.maybe(value, "url"),
    )


def _commit(value: Any) -> SourceCommit:
    author = _name(reading.at(value, "author", "user")) or reading.maybe(value, "author", "raw") or ""
    return SourceCommit(
        reading.text(value, "hash"),
        (reading.maybe(value, "message") or "").rstrip("\n"),
        author.partition(" <")[0],
        reading.time(value, "date"),
    )
