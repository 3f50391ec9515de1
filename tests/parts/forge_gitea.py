"""Gitea and Forgejo as test servers: the same answers, and the few places where they differ."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from parts.forge_description import Description, description
from parts.forge_dialect import Dialect, No, Parameters, Reply, Request, stamp
from parts.forge_projects import Commit, GiteaWords, Project, Pull, Refused, Said

if TYPE_CHECKING:
    from parts.forges import ForgeServer

BASE = "/api/v1"
OF_PROJECT = "/repos/{owner}/{repo}"
LONGEST_PAGE = 50


class GiteaDialect(Dialect):
    """Gitea. Labels have numbers, a draft is a title that begins with `WIP:`."""

    api_path = BASE
    kind = "gitea"
    words = GiteaWords()
    longest_page = LONGEST_PAGE
    size_name = "limit"
    schemes = ("bearer", "token", "basic")
    unauthorized = "token is required"

    def __init__(self, server: ForgeServer) -> None:
        super().__init__(server)
        of = OF_PROJECT
        self._seen: dict[str, tuple[str, datetime]] = {}
        self.extra = {"reviews": self._reviews}
        self.handlers = {
            f"GET {of}": lambda q, p: Reply(200, self._project(self._home(q, p))),
            f"GET {of}/pulls": self._list,
            f"POST {of}/pulls": self._create,
            f"GET {of}/pulls/{{index}}": self._get,
            f"GET {of}/pulls/{{base}}/{{head}}": self._by_branches,
            f"PATCH {of}/pulls/{{index}}": self._update,
            f"POST {of}/pulls/{{index}}/merge": self._merge,
            f"DELETE {of}/pulls/{{index}}/merge": self._cancel_merge,
            f"POST {of}/pulls/{{index}}/requested_reviewers": self._review,
            f"GET {of}/pulls/{{index}}/commits": self._pull_commits,
            f"GET {of}/labels": self._labels,
            f"POST {of}/labels": self._make_label,
            f"POST {of}/issues/{{index}}/labels": self._label,
            f"GET {of}/issues/{{index}}/comments": self._comments,
            f"POST {of}/issues/{{index}}/comments": self._comment,
            f"PATCH {of}/issues/comments/{{id}}": self._edit,
            f"DELETE {of}/issues/comments/{{id}}": self._unsay,
            f"GET {of}/compare/{{basehead}}": self._compare,
            f"GET {of}/commits": self._commits,
            f"GET {of}/git/commits/{{sha}}": self._commit,
            f"GET {of}/commits/{{sha}}/pull": self._pull_of,
            f"GET {of}/commits/{{ref}}/statuses": self._statuses,
            f"GET {of}/commits/{{ref}}/status": self._combined,
            f"POST {of}/statuses/{{sha}}": self._set_status,
            "GET /version": lambda q, p: Reply(200, {"version": "1.26.0"}),
            "GET /settings/api": lambda q, p: Reply(200, {"max_response_items": self.server.longest_page}),
        }

    @property
    def description(self) -> Description:
        return description(self.kind, BASE)

    # -- no ---------------------------------------------------------------------------------------------

    def error(self, status: int, message: str) -> Reply:
        return Reply(status, {"message": message, "url": f"{self.server.page}/api/swagger"})

    def refused(self, refused: Refused) -> Reply:
        match refused.name:
            case "no-head" | "no-base":
                return self.error(404, "The target couldn't be found.")
            case "duplicate":
                words = f"pull request already exists for these targets [id: 1, issue_id: 1, index: {refused}"
                return self.error(409, f"{words}, head_branch: x, base_branch: main]")
            case "no-commits":
                return self.error(422, str(refused))
            case "moved":
                return self.error(409, "head out of date")
            case "conflict":
                return self.error(409, "PR is not mergeable")
            case "draft" | "not-open":
                return self.error(405, "Please try again later")
        return self.error(422, refused.name)

    def limited(self, seconds: int) -> tuple[int, bytes, Mapping[str, str]]:
        """What a proxy in front says; Gitea has no limits of its own."""
        return 429, b"too many requests", {"Retry-After": str(seconds), "Content-Type": "text/plain"}

    def counted(self, total: int, at: int, size: int) -> dict[str, str]:
        return {"X-Total-Count": str(total)}

    # -- values -----------------------------------------------------------------------------------------

    def _home(self, request: Request, p: Parameters) -> Project:
        return self.home(f"{p['owner']}/{p['repo']}", request)

    def _found(self, request: Request, p: Parameters) -> tuple[Project, Pull]:
        project = self._home(request, p)
        return project, self.pull_of(project, p["index"])

    def _user(self, login: str | None) -> dict[str, Any] | None:
        return None if login is None else {"id": self.server.user(login), "login": login}

    def _project(self, project: Project) -> dict[str, Any]:
        return {"id": project.id, "name": project.name, "full_name": project.path, "default_branch": "main",
                "html_url": f"{self.server.page}/{project.path}"}  # fmt: skip

    def _label_value(self, project: Project, name: str) -> dict[str, Any]:
        return {"id": project.labels[name], "name": name, "color": "ededed"}

    def pull(self, project: Project, pull: Pull) -> dict[str, Any]:
        page = f"{self.server.page}/{project.path}/pulls/{pull.number}"
        merged = pull.state == "merged"
        gone = project.tip_of(pull.head, pull.fork) is None
        ref = f"refs/pull/{pull.number}/head" if gone else pull.head
        return {
            "id": 10_000 + pull.number,
            "number": pull.number,
            "url": page,
            "html_url": page,
            "title": pull.title,
            "body": pull.body,
            "state": "open" if pull.state == "open" else "closed",
            "draft": is_wip(pull.title),
            "user": self._user(pull.author),
            "labels": [self._label_value(project, name) for name in pull.labels],
            "head": {
                "label": pull.head,
                "ref": ref,
                "sha": pull.head_commit,
                "repo_id": project.id if pull.fork is None else 999,
            },
            "base": {
                "label": pull.base,
                "ref": pull.base,
                "sha": project.tip(pull.base),
                "repo_id": project.id,
            },
            "merge_base": project.tip(pull.base),
            "mergeable": pull.state == "open",
            "merged": merged,
            "merged_at": stamp(pull.merged_at),
            "merged_by": self._user(pull.merged_by) if merged else None,
            "merge_commit_sha": pull.merge_commit if merged else None,
            "closed_at": stamp(pull.closed_at),
            "created_at": stamp(pull.created_at),
            "updated_at": stamp(self._updated(project, pull)),
            "requested_reviewers": [self._user(one) for one in pull.reviewers],
        }

    def _commit_value(self, project: Project, commit: Commit) -> dict[str, Any]:
        who = {"name": commit.author, "email": commit.email, "date": commit.time}
        login = commit.email.partition("@")[0]
        return {
            "sha": commit.id,
            "html_url": f"{self.server.page}/{project.path}/commit/{commit.id}",
            "created": commit.time,
            "commit": {"message": commit.message + "\n", "author": who, "committer": who},
            "author": self._user(login) if login in self.server.users else None,
            "parents": [{"sha": parent} for parent in commit.parents],
        }

    # -- pull requests ----------------------------------------------------------------------------------

    def _list(self, request: Request, p: Parameters) -> Reply:
        project = self._home(request, p)
        state = request.asked("state", "open")
        base = request.asked("base_branch") or request.asked("base")
        head = request.asked("head")
        found = [
            self.pull(project, pull)
            for pull in project.current()
            if (state == "all" or (state == "open") == (pull.state == "open"))
            and (not base or pull.base == base)
            and (not head or pull.head == head)
        ]
        if request.asked("sort") == "recentupdate":
            found.sort(key=lambda one: (one["updated_at"], one["number"]), reverse=True)
        return self.listed(request, found)

    def _updated(self, project: Project, pull: Pull) -> datetime:
        """When a pull request changed last, as far as anybody has looked at it."""
        now = repr(pull)
        key = f"{project.path} {pull.number}"
        if key not in self._seen or self._seen[key][0] != now:
            self._seen[key] = now, self.server.clock()
        return self._seen[key][1]

    def _create(self, request: Request, p: Parameters) -> Reply:
        project, told = self._home(request, p), request.body
        if not all(told.get(key) for key in ("head", "base", "title")):
            return self.error(422, "[Head]: Required")
        head = told["head"].removeprefix(f"{project.owner}:")
        pull = project.open(head, told["base"], told["title"], told.get("body") or "", self.asker(request),
                            draft=is_wip(told["title"]))  # fmt: skip
        return Reply(201, self.pull(project, pull))

    def _get(self, request: Request, p: Parameters) -> Reply:
        return Reply(200, self.pull(*self._found(request, p)))

    def _by_branches(self, request: Request, p: Parameters) -> Reply:
        project = self._home(request, p)
        for pull in project.current():
            if (pull.base, pull.head) == (p["base"], p["head"]):
                return Reply(200, self.pull(project, pull))
        return self.error(404, "pull request does not exist")

    def _update(self, request: Request, p: Parameters) -> Reply:
        project, pull = self._found(request, p)
        told = request.body or {}
        if "base" in told and project.tip(told["base"]) is None:
            return self.error(404, "base branch not found")
        for key in ("title", "body", "base"):
            if key in told:
                setattr(pull, key, told[key] or "")
        pull.draft = is_wip(pull.title)
        if told.get("state") == "closed" and pull.state == "open":
            project.close(pull, by=self.asker(request))
        if told.get("state") == "open" and pull.state == "closed":
            project.reopen(pull)
        return Reply(201, self.pull(project, pull))

    def _merge(self, request: Request, p: Parameters) -> Reply:
        project, pull = self._found(request, p)
        told = request.body
        if told.get("merge_when_checks_succeed"):
            if told.get("head_commit_id") not in (None, "", pull.head_commit):
                return self.error(409, "head out of date")
            pull.merge_when_ready = True
            return Reply(201)
        how = {"merge": "merge", "squash": "squash", "rebase": "rebase"}[told["Do"]]
        project.merge(pull.number, how=how, by=self.asker(request), sha=told.get("head_commit_id"))  # type: ignore[arg-type]
        return Reply(200)

    def _cancel_merge(self, request: Request, p: Parameters) -> Reply:
        _, pull = self._found(request, p)
        if not pull.merge_when_ready:
            return self.error(404, "not found")
        pull.merge_when_ready = False
        return Reply(204)

    def _review(self, request: Request, p: Parameters) -> Reply:
        project, pull = self._found(request, p)
        wanted = [*request.body.get("reviewers", ()), *request.body.get("team_reviewers", ())]
        known = self.server.users if project.reviewers is None else project.reviewers
        for one in wanted:
            if one not in known:
                return self.error(404, f"user does not exist [uid: 0, name: {one}]")
        pull.reviewers += [one for one in wanted if one not in pull.reviewers]
        return Reply(201, [{"id": 1, "user": self._user(one), "state": "REQUEST_REVIEW"} for one in wanted])

    def _pull_commits(self, request: Request, p: Parameters) -> Reply:
        project, pull = self._found(request, p)
        found = project.commits(f"{pull.base}..{pull.head_commit}")
        return self.listed(request, [self._commit_value(project, one) for one in found])

    def _pull_of(self, request: Request, p: Parameters) -> Reply:
        project = self._home(request, p)
        merged = [pull for pull in project.of_commit(p["sha"]) if pull.merge_commit == p["sha"]]
        if not merged:
            return self.error(404, "pull request does not exist")
        return Reply(200, self.pull(project, merged[0]))

    # -- labels -----------------------------------------------------------------------------------------

    def _labels(self, request: Request, p: Parameters) -> Reply:
        project = self._home(request, p)
        return self.listed(request, [self._label_value(project, name) for name in project.labels])

    def _make_label(self, request: Request, p: Parameters) -> Reply:
        project, name = self._home(request, p), request.body["name"]
        if not re.fullmatch("#?[0-9a-fA-F]{6}", request.body["color"]):
            return self.error(422, "[Color]: bad color")
        project.labels[name] = project.new_id()
        return Reply(201, self._label_value(project, name))

    def _label(self, request: Request, p: Parameters) -> Reply:
        project, pull = self._found(request, p)
        names = {number: name for name, number in project.labels.items()}
        for wanted in request.body["labels"]:
            if not isinstance(wanted, int) or wanted not in names:
                return self.error(404, f"label does not exist [label_id: {wanted}]")
            if names[wanted] not in pull.labels:
                pull.labels.append(names[wanted])
        return Reply(200, [self._label_value(project, name) for name in pull.labels])

    # -- comments ---------------------------------------------------------------------------------------

    def _thread(self, request: Request, p: Parameters) -> tuple[Project, int]:
        project, number = self._home(request, p), int(p["index"])
        if number not in project.pulls and number not in project.issues:
            raise No(self.error(404, f"issue does not exist [id: 0, repo_id: 1, index: {number}]"))
        return project, number

    def _said(self, project: Project, said: Said) -> dict[str, Any]:
        return {"id": said.id, "body": said.body, "user": self._user(said.author)}

    def _comments(self, request: Request, p: Parameters) -> Reply:
        project, number = self._thread(request, p)
        return Reply(200, [self._said(project, one) for one in project.comments.get(number, ())])

    def _comment(self, request: Request, p: Parameters) -> Reply:
        project, number = self._thread(request, p)
        said = project.say(number, self.asker(request), request.body["body"])
        return Reply(201, self._said(project, said))

    def _unsay(self, request: Request, p: Parameters) -> Reply:
        project = self._home(request, p)
        return Reply(204) if project.unsay(int(p["id"])) else self.error(404, "Not Found")

    def _edit(self, request: Request, p: Parameters) -> Reply:
        project = self._home(request, p)
        said = project.edit(int(p["id"]), request.body["body"])
        return self.error(404, "Not Found") if said is None else Reply(200, self._said(project, said))

    # -- commits ----------------------------------------------------------------------------------------

    def _compare(self, request: Request, p: Parameters) -> Reply:
        project = self._home(request, p)
        base, dots, head = p["basehead"].partition("...")
        found = project.between(base, head) if dots else None
        if found is None:
            return self.error(404, "The target couldn't be found.")
        values = [self._commit_value(project, one) for one in found]
        return Reply(200, {"total_commits": len(values), "commits": values})

    def _commits(self, request: Request, p: Parameters) -> Reply:
        project = self._home(request, p)
        start, without = project.find(request.asked("sha", "main")), request.asked("not")
        if start is None or (without and project.find(without) is None):
            return self.error(404, "object does not exist")
        found = project.commits("--topo-order", start, *([f"^{without}"] if without else []))
        return self.listed(request, [self._commit_value(project, one) for one in found])

    def _commit(self, request: Request, p: Parameters) -> Reply:
        project = self._home(request, p)
        found = project.find(p["sha"])
        if found is None:
            return self.error(404, "The target couldn't be found.")
        return Reply(200, self._commit_value(project, project.commits("-1", found)[0]))

    def _status(self, told: dict[str, Any]) -> dict[str, Any]:
        return {"context": told["context"], "status": told["state"], "description": told["description"],
                "target_url": told["url"] or "", "creator": self._user(told["by"])}  # fmt: skip

    def _statuses(self, request: Request, p: Parameters) -> Reply:
        project = self._home(request, p)
        commit = project.find(p["ref"])
        if commit is None:
            return self.error(404, "object does not exist")
        listed = reversed(project.statuses.get(commit, ()))
        return self.listed(request, [self._status(one) for one in listed])

    def _combined(self, request: Request, p: Parameters) -> Reply:
        project = self._home(request, p)
        commit = project.find(p["ref"])
        if commit is None:
            return self.error(404, "object does not exist")
        newest = {one["context"]: one for one in project.statuses.get(commit, ())}
        page, headers = self.page(request, [self._status(one) for one in newest.values()])
        state = "success" if newest else ""
        return Reply(
            200, {"sha": commit, "state": state, "statuses": page, "total_count": len(newest)}, headers
        )

    def _set_status(self, request: Request, p: Parameters) -> Reply:
        project, told = self._home(request, p), request.body
        if project.find(p["sha"]) is None:
            return self.error(404, "object does not exist")
        status = {"context": told.get("context") or "default", "state": told["state"],
                  "description": told.get("description") or "", "url": told.get("target_url") or None,
                  "by": self.asker(request)}  # fmt: skip
        project.statuses.setdefault(p["sha"], []).append(status)
        return Reply(201, self._status(status))

    # -- what the cut description lacks -------------------------------------------------------------------

    def _reviews(self, request: Request) -> Reply | None:
        """`GET /pulls/{index}/reviews`, as the full description has it."""
        found = re.fullmatch(rf"{BASE}/repos/([^/]+/[^/]+)/pulls/(\d+)/reviews", request.path)
        if found is None or request.method != "GET":
            return None
        pull = self.pull_of(self.home(found[1], request), found[2])
        reviews = [{"id": i, "user": self._user(one), "state": "APPROVED", "dismissed": False}
                   for i, one in enumerate(pull.approved_by, 1)]  # fmt: skip
        return self.listed(request, reviews)


class ForgejoDialect(GiteaDialect):
    """Forgejo."""

    kind = "forgejo"

    def limited(self, seconds: int) -> tuple[int, bytes, Mapping[str, str]]:
        value = {"message": "too many requests"}
        return 429, json.dumps(value).encode(), {"Retry-After": str(seconds)}


def is_wip(title: str) -> bool:
    return title.upper().startswith(("WIP:", "[WIP]"))
