"""GitLab as a test server: merge requests with numbers of their own, and notes, and its kind of errors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from parts.forge_description import Description, description
from parts.forge_dialect import Dialect, No, Parameters, Reply, Request, stamp
from parts.forge_projects import Commit, GitLabWords, Project, Pull, Refused, Said

if TYPE_CHECKING:
    from parts.forges import ForgeServer

OF = "/api/v4/projects/{id}"
MR = f"{OF}/merge_requests/{{merge_request_iid}}"
STATES = {"pending": "pending", "success": "success", "failure": "failed", "error": "canceled"}
OUR_STATES = {"pending": "pending", "running": "pending", "success": "success", "failed": "failure",
              "canceled": "error", "skipped": "error"}  # fmt: skip
DRAFT = re.compile(r"(draft:|\[draft\]|\(draft\))\s*", re.IGNORECASE)


class GitLabDialect(Dialect):
    """GitLab. What does not fit is 400."""

    api_path = "/api/v4"
    words = GitLabWords()
    has_etags = True
    bad_request = 400
    default_page = 20

    def __init__(self, server: ForgeServer) -> None:
        super().__init__(server)
        self.handlers = {
            f"GET {OF}": lambda q, p: Reply(200, self._project(self._home(q, p))),
            f"GET {OF}/merge_requests": self._list,
            f"POST {OF}/merge_requests": self._create,
            f"GET {MR}": lambda q, p: Reply(200, self.pull(*self._found(q, p))),
            f"PUT {MR}": self._update,
            f"PUT {MR}/merge": self._merge,
            f"POST {MR}/cancel_merge_when_pipeline_succeeds": self._cancel_merge,
            f"GET {MR}/approvals": self._approvals,
            f"GET {MR}/commits": self._pull_commits,
            f"GET {MR}/notes": self._comments,
            f"POST {MR}/notes": self._comment,
            f"PUT {MR}/notes/{{note_id}}": self._edit,
            f"DELETE {MR}/notes/{{note_id}}": self._unsay,
            f"DELETE {OF}/issues/{{issue_iid}}/notes/{{note_id}}": self._unsay,
            f"GET {OF}/issues/{{issue_iid}}/notes": self._comments,
            f"POST {OF}/issues/{{issue_iid}}/notes": self._comment,
            f"PUT {OF}/issues/{{issue_iid}}/notes/{{note_id}}": self._edit,
            f"GET {OF}/repository/compare": self._compare,
            f"GET {OF}/repository/commits": self._commits,
            f"GET {OF}/repository/commits/{{sha}}": self._commit,
            f"GET {OF}/repository/commits/{{sha}}/merge_requests": self._pulls_of,
            f"GET {OF}/repository/commits/{{sha}}/statuses": self._statuses,
            f"POST {OF}/statuses/{{sha}}": self._set_status,
            f"GET {OF}/deployments": self._deployments,
            f"POST {OF}/deployments": self._deploy,
            "GET /api/v4/users": self._users,
        }

    @property
    def description(self) -> Description:
        return description("gitlab", "")

    def user(self, request: Request) -> str | None:
        token = request.headers.get("private-token")
        return self.login_of(token) if token is not None else super().user(request)

    # -- no ---------------------------------------------------------------------------------------------

    def error(self, status: int, message: Any) -> Reply:
        if status == self.bad_request:
            return Reply(400, {"error": message})
        return Reply(status, {"message": f"404 {message}" if status == 404 else message})

    def refused(self, refused: Refused) -> Reply:
        match refused.name:
            case "duplicate":
                words = "Another open merge request already exists for this source branch: !"
                return Reply(409, {"message": [f"{words}{refused}"]})
            case "no-head":
                return Reply(400, {"message": {"source_branch": ["is invalid"]}})
            case "no-base":
                return Reply(400, {"message": {"target_branch": ["is invalid"]}})
            case "moved":
                return Reply(409, {"message": "SHA does not match HEAD of source branch: abc"})
            case "conflict" | "draft" | "not-open" | "no-commits":
                return Reply(405, {"message": "405 Method Not Allowed"})
        return Reply(422, {"message": [refused.name]})

    def limited(self, seconds: int) -> tuple[int, bytes, Mapping[str, str]]:
        until = int(self.server.clock().timestamp()) + seconds
        headers = {"Retry-After": str(seconds), "RateLimit-Remaining": "0", "RateLimit-Reset": str(until),
                   "Content-Type": "text/plain"}  # fmt: skip
        return 429, b"Retry later\n", headers

    def counted(self, total: int, at: int, size: int) -> dict[str, str]:
        following = str(at + 1) if at * size < total else ""
        return {"x-total": str(total), "x-page": str(at), "x-per-page": str(size), "x-next-page": following}

    # -- values -----------------------------------------------------------------------------------------

    def _home(self, request: Request, p: Parameters) -> Project:
        if p["id"].isdigit():
            found = [one for one in self.server.projects.values() if one.id == int(p["id"])]
            if found:
                return found[0]
        if p["id"] in self.server.moved:
            old, new = p["id"].replace("/", "%2F"), self.server.moved[p["id"]].replace("/", "%2F")
            raise No(self.redirect(request, old, new))
        return self.home(p["id"], request)

    def _found(self, request: Request, p: Parameters) -> tuple[Project, Pull]:
        project = self._home(request, p)
        return project, self.pull_of(project, p["merge_request_iid"])

    def _user(self, login: str | None) -> dict[str, Any] | None:
        if login is None:
            return None
        return {"id": self.server.user(login), "username": login, "name": login.title(), "state": "active"}

    def _project(self, project: Project) -> dict[str, Any]:
        return {"id": project.id, "path_with_namespace": project.path, "default_branch": "main",
                "web_url": f"{self.server.page}/{project.path}"}  # fmt: skip

    def pull(self, project: Project, pull: Pull) -> dict[str, Any]:
        merged = pull.state == "merged"
        fast_forward = merged and pull.merge_commit in (pull.head_commit, pull.squash_commit)
        return {
            "id": 10_000 + pull.number,
            "iid": pull.number,
            "project_id": project.id,
            "title": pull.title,
            "description": pull.body,
            "state": {"open": "opened"}.get(pull.state, pull.state),
            "draft": DRAFT.match(pull.title) is not None,
            "source_branch": pull.head,
            "target_branch": pull.base,
            "source_project_id": project.id if pull.fork is None else 999,
            "target_project_id": project.id,
            "sha": pull.head_commit,
            "labels": list(pull.labels),
            "author": self._user(pull.author),
            "reviewers": [self._user(one) for one in pull.reviewers],
            "merge_user": self._user(pull.merged_by) if merged else None,
            "merged_at": stamp(pull.merged_at),
            "merge_commit_sha": pull.merge_commit if merged and not fast_forward else None,
            "squash_commit_sha": pull.squash_commit,
            "closed_by": self._user(pull.closed_by) if pull.state == "closed" else None,
            "closed_at": stamp(pull.closed_at) if pull.state == "closed" else None,
            "created_at": stamp(pull.created_at),
            "web_url": f"{self.server.page}/{project.path}/-/merge_requests/{pull.number}",
        }

    def _commit_value(self, project: Project, commit: Commit) -> dict[str, Any]:
        return {
            "id": commit.id,
            "short_id": commit.id[:8],
            "title": commit.title,
            "message": commit.message + "\n",
            "author_name": commit.author,
            "author_email": commit.email,
            "authored_date": commit.time,
            "created_at": commit.time,
            "parent_ids": list(commit.parents),
        }

    # -- merge requests -----------------------------------------------------------------------------------

    def _list(self, request: Request, p: Parameters) -> Reply:
        project = self._home(request, p)
        state = request.asked("state", "all")
        source, target = request.asked("source_branch"), request.asked("target_branch")
        found = [
            self.pull(project, pull)
            for pull in project.current()
            if state in ("all", {"open": "opened"}.get(pull.state, pull.state))
            and (not source or pull.head == source)
            and (not target or pull.base == target)
        ]
        if request.asked("sort") == "asc":
            found.reverse()
        return self.listed(request, found)

    def _create(self, request: Request, p: Parameters) -> Reply:
        project, told = self._home(request, p), request.body
        pull = project.open(told["source_branch"], told["target_branch"], told["title"],
                            told.get("description") or "", self.asker(request),
                            draft=DRAFT.match(told["title"]) is not None)  # fmt: skip
        self._take(project, pull, told)
        return Reply(201, self.pull(project, pull))

    def _update(self, request: Request, p: Parameters) -> Reply:
        project, pull = self._found(request, p)
        told = request.body
        if "target_branch" in told and project.tip(told["target_branch"]) is None:
            return Reply(400, {"message": {"target_branch": ["does not exist"]}})
        for key, ours in (("title", "title"), ("description", "body"), ("target_branch", "base")):
            if key in told:
                setattr(pull, ours, told[key] or "")
        pull.draft = DRAFT.match(pull.title) is not None
        self._take(project, pull, told)
        if told.get("state_event") == "close" and pull.state == "open":
            project.close(pull, by=self.asker(request))
        if told.get("state_event") == "reopen" and pull.state == "closed":
            project.reopen(pull)
        return Reply(200, self.pull(project, pull))

    def _take(self, project: Project, pull: Pull, told: dict[str, Any]) -> None:
        """Labels, which come into being by it, and reviewers, of whom unknown ones go by silently."""
        for key in ("labels", "add_labels"):
            wanted = told.get(key) or []
            for name in wanted.split(",") if isinstance(wanted, str) else wanted:
                project.labels.setdefault(name, project.new_id())
                if name not in pull.labels:
                    pull.labels.append(name)
        logins = {number: login for login, number in self.server.users.items()}
        known = logins if project.reviewers is None else {
            number: login for number, login in logins.items() if login in project.reviewers
        }  # fmt: skip
        if "reviewer_ids" in told:
            pull.reviewers = [known[number] for number in told["reviewer_ids"] if number in known]

    def _merge(self, request: Request, p: Parameters) -> Reply:
        project, pull = self._found(request, p)
        told = request.body or {}
        if told.get("sha") not in (None, pull.head_commit):
            raise Refused("moved", pull.head_commit)
        if told.get("merge_when_pipeline_succeeds") or told.get("auto_merge"):
            pull.merge_when_ready = True
        else:
            how = "squash" if told.get("squash") else "merge"
            project.merge(pull.number, how=how, by=self.asker(request), sha=told.get("sha"))  # type: ignore[arg-type]
        return Reply(200, self.pull(project, pull))

    def _cancel_merge(self, request: Request, p: Parameters) -> Reply:
        project, pull = self._found(request, p)
        if not pull.merge_when_ready:
            return self.error(406, "406 Not Acceptable")
        pull.merge_when_ready = False
        return Reply(201, self.pull(project, pull))

    def _approvals(self, request: Request, p: Parameters) -> Reply:
        _, pull = self._found(request, p)
        approved = [{"user": self._user(one)} for one in pull.approved_by]
        return Reply(200, {"approved": bool(approved), "approved_by": approved})

    def _pull_commits(self, request: Request, p: Parameters) -> Reply:
        project, pull = self._found(request, p)
        found = project.commits(f"{pull.base}..{pull.head_commit}")
        return self.listed(request, [self._commit_value(project, one) for one in found])

    def _pulls_of(self, request: Request, p: Parameters) -> Reply:
        project = self._home(request, p)
        if project.find(p["sha"]) is None:
            return self.error(404, "Commit Not Found")
        return self.listed(request, [self.pull(project, pull) for pull in project.of_commit(p["sha"])])

    def _users(self, request: Request, p: Parameters) -> Reply:
        wanted = request.asked("username")
        found = [login for login in self.server.users if not wanted or login == wanted]
        return self.listed(request, [self._user(login) for login in found])

    # -- notes --------------------------------------------------------------------------------------------

    def _thread(self, request: Request, p: Parameters) -> tuple[Project, int, bool]:
        project = self._home(request, p)
        is_issue = "issue_iid" in p
        number = int(p["issue_iid"] if is_issue else p["merge_request_iid"])
        if number not in (project.issues if is_issue else project.pulls):
            raise No(self.error(404, "Not found"))
        return project, number, is_issue

    def _said(self, said: Said, *, system: bool = False) -> dict[str, Any]:
        now = stamp(self.server.clock())
        return {"id": said.id, "body": said.body, "author": self._user(said.author), "system": system,
                "created_at": now, "updated_at": now}  # fmt: skip

    def _comments(self, request: Request, p: Parameters) -> Reply:
        project, number, is_issue = self._thread(request, p)
        listed = (project.issue_comments if is_issue else project.comments).get(number, ())
        notes = [self._said(one) for one in listed]
        notes.insert(0, self._said(Said(1, "ann", "changed the description"), system=True))
        if request.asked("sort", "desc") == "desc":
            notes.reverse()
        return self.listed(request, notes)

    def _comment(self, request: Request, p: Parameters) -> Reply:
        project, number, is_issue = self._thread(request, p)
        said = project.say(number, self.asker(request), request.body["body"], issue=is_issue)
        return Reply(201, self._said(said))

    def _unsay(self, request: Request, p: Parameters) -> Reply:
        project, _, _ = self._thread(request, p)
        return Reply(204) if project.unsay(int(p["note_id"])) else self.error(404, "Not Found")

    def _edit(self, request: Request, p: Parameters) -> Reply:
        project, _, _ = self._thread(request, p)
        said = project.edit(int(p["note_id"]), request.body["body"])
        return self.error(404, "Not found") if said is None else Reply(200, self._said(said))

    # -- commits ------------------------------------------------------------------------------------------

    def _compare(self, request: Request, p: Parameters) -> Reply:
        project = self._home(request, p)
        found = project.between(request.asked("from"), request.asked("to"))
        if found is None:
            return self.error(404, "Ref Not Found")
        values = [self._commit_value(project, one) for one in reversed(found)]
        return Reply(200, {"commits": values, "commit": values[-1] if values else None})

    def _commits(self, request: Request, p: Parameters) -> Reply:
        project = self._home(request, p)
        old, dots, new = request.asked("ref_name", "main").partition("..")
        found = project.between(old, new) if dots else project.commits(old)
        if found is None:
            return self.error(404, "Not Found")
        page, headers = self.page(request, [self._commit_value(project, one) for one in found])
        # What is listed here is not counted, on GitLab.
        return Reply(200, page, {k: v for k, v in headers.items() if k != "x-total"})

    def _commit(self, request: Request, p: Parameters) -> Reply:
        project = self._home(request, p)
        found = project.find(p["sha"])
        if found is None:
            return self.error(404, "Commit Not Found")
        return Reply(200, self._commit_value(project, project.commits("-1", found)[0]))

    def _status(self, told: dict[str, Any], commit: str) -> dict[str, Any]:
        return {"id": 1, "sha": commit, "name": told["context"], "status": STATES[told["state"]],
                "description": told["description"], "target_url": told["url"],
                "author": self._user(told["by"])}  # fmt: skip

    def _statuses(self, request: Request, p: Parameters) -> Reply:
        project = self._home(request, p)
        commit = project.find(p["sha"])
        if commit is None:
            return self.error(404, "Commit Not Found")
        newest = {one["context"]: one for one in project.statuses.get(commit, ())}
        return self.listed(request, [self._status(one, commit) for one in newest.values()])

    def _set_status(self, request: Request, p: Parameters) -> Reply:
        project, told, commit = self._home(request, p), request.body, p["sha"]
        if project.find(commit) is None:
            return self.error(404, "Commit Not Found")
        context = told.get("name") or told.get("context") or "default"
        state = OUR_STATES[told["state"]]
        newest = {one["context"]: one for one in project.statuses.get(commit, ())}
        if context in newest and newest[context]["state"] == state:
            words = f"Cannot transition status via :enqueue from :{told['state']} (Reason(s): Status cannot "
            return Reply(400, {"message": f'{words}transition via "enqueue")'})
        status = {"context": context, "state": state, "description": told.get("description") or "",
                  "url": told.get("target_url"), "by": self.asker(request)}  # fmt: skip
        project.statuses.setdefault(commit, []).append(status)
        return Reply(201, self._status(status, commit))

    def _deployments(self, request: Request, p: Parameters) -> Reply:
        project, wanted = self._home(request, p), request.asked("environment")
        made = [one for one in reversed(project.deployments) if wanted in (None, one["environment"])]
        return self.listed(request, [{"id": one["id"], "iid": 1, "sha": one["sha"], "ref": one["ref"],
                                      "status": one["status"]} for one in made])  # fmt: skip

    def _deploy(self, request: Request, p: Parameters) -> Reply:
        project, told = self._home(request, p), request.body
        if project.find(told["sha"]) is None:
            return Reply(400, {"message": {"sha": ["The commit does not exist"]}})
        made = {"id": project.new_id(), **told}
        project.deployments.append(made)
        return Reply(201, {"id": made["id"], "iid": 1, "sha": told["sha"], "ref": told["ref"],
                           "status": told["status"]})  # fmt: skip
