"""Bitbucket Cloud as a test server: short hashes, pages in the body, bodies that want a `type`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from parts.forge_description import Description, description
from parts.forge_dialect import Dialect, Parameters, Reply, Request, stamp
from parts.forge_projects import BitbucketWords, Commit, Project, Pull, Refused, Said

if TYPE_CHECKING:
    from parts.forges import ForgeServer

BASE = "/2.0"
OF = "/repositories/{workspace}/{repo_slug}"
PR = f"{OF}/pullrequests/{{pull_request_id}}"
EVERYWHERE = ("page", "pagelen", "q", "sort", "fields")
"""Parameters of the query that all lists take; the description has them in its prose."""
IN_PROSE = {f"GET {OF}/commits/{{revision}}": ("include", "exclude")}
STATES = {"pending": "INPROGRESS", "success": "SUCCESSFUL", "failure": "FAILED", "error": "STOPPED"}
OUR_STATES = {theirs: ours for ours, theirs in STATES.items()}
SHORT = 12


class BitbucketDialect(Dialect):
    """Bitbucket Cloud."""

    api_path = BASE
    words = BitbucketWords()
    bad_request = 422
    default_page, longest_page = 10, 50
    size_name = "pagelen"
    schemes = ("bearer", "basic")

    def __init__(self, server: ForgeServer) -> None:
        super().__init__(server)
        self.handlers = {
            f"GET {OF}": lambda q, p: Reply(200, self._project(self._home(q, p))),
            f"GET {OF}/pullrequests": self._list,
            f"POST {OF}/pullrequests": self._create,
            f"GET {PR}": lambda q, p: Reply(200, self.pull(*self._found(q, p))),
            f"PUT {PR}": self._update,
            f"POST {PR}/decline": self._decline,
            f"POST {PR}/merge": self._merge,
            f"GET {PR}/comments": self._comments,
            f"POST {PR}/comments": self._comment,
            f"PUT {PR}/comments/{{comment_id}}": self._edit,
            f"DELETE {PR}/comments/{{comment_id}}": self._unsay,
            f"GET {OF}/effective-default-reviewers": self._reviewers,
            f"GET {OF}/commits/{{revision}}": self._commits,
            f"GET {OF}/commit/{{commit}}": self._commit,
            f"GET {OF}/commit/{{commit}}/pullrequests": self._pulls_of,
            f"GET {OF}/commit/{{commit}}/statuses": self._statuses,
            f"POST {OF}/commit/{{commit}}/statuses/build": self._set_status,
        }

    @property
    def description(self) -> Description:
        return description("bitbucket", BASE)

    def answer(self, request: Request) -> tuple[str, Reply]:
        found = self.description.find(request.method, request.path)
        prose = IN_PROSE.get(found[0].key, ()) if found is not None else ()
        states = [text for name, text in request.query if name == "state"]
        if len(states) > 1:
            # Repeated, which the description's type does not say.
            rest = [one for one in request.query if one[0] != "state"]
            request = replace(request, query=[*rest, ("state", states[0])])
        self._asked = request
        self._states = states
        known = [one for one in request.query if one[0] not in (*EVERYWHERE, *prose)]
        return super().answer(replace(request, query=known))

    # -- no ---------------------------------------------------------------------------------------------

    def error(self, status: int, message: str, **fields: list[str]) -> Reply:
        error: dict[str, Any] = {"message": message}
        return Reply(status, {"type": "error", "error": error | ({"fields": fields} if fields else {})})

    def refused(self, refused: Refused) -> Reply:
        match refused.name:
            case "no-head":
                return self.error(400, "Bad request", source=["branch not found"])
            case "no-base":
                return self.error(400, "Bad request", destination=["branch not found"])
            case "no-commits":
                return self.error(400, "There are no changes to be pulled")
            case "moved" | "conflict":
                return self.error(409, "You can't merge until you resolve all merge conflicts.")
        return self.error(400, "This pull request is already closed.")

    def limited(self, seconds: int) -> tuple[int, bytes, Mapping[str, str]]:
        value = {"type": "error", "error": {"message": "Rate limit for this resource has been exceeded"}}
        return 429, json.dumps(value).encode(), {"Retry-After": str(seconds)}

    def listed(self, request: Request, items: Sequence[Any]) -> Reply:
        asked = replace(self._asked, path=request.path)
        page, _ = self.page(asked, items)
        at = max(1, int(asked.asked("page", "1")))
        size = min(int(asked.asked("pagelen", str(self.default_page))), self.longest_page,
                   self.server.longest_page)  # fmt: skip
        told: dict[str, Any] = {"values": page, "page": at, "pagelen": size}
        if at * size < len(items):
            kept = [(name, text) for name, text in asked.query if name not in ("page", "state")]
            states = [("state", one) for one in self._states]
            query = urlencode([*kept, *states, ("page", at + 1)])
            told["next"] = f"{self.server.page}{request.path}?{query}"
        return Reply(200, told)

    # -- values -----------------------------------------------------------------------------------------

    def _home(self, request: Request, p: Parameters) -> Project:
        return self.home(f"{p['workspace']}/{p['repo_slug']}", request)

    def _found(self, request: Request, p: Parameters) -> tuple[Project, Pull]:
        project = self._home(request, p)
        return project, self.pull_of(project, p["pull_request_id"])

    def uuid(self, login: str) -> str:
        return f"{{{self.server.user(login):08d}-0000-4000-8000-000000000000}}"

    def _user(self, login: str | None) -> dict[str, Any] | None:
        if login is None:
            return None
        return {"type": "user", "uuid": self.uuid(login), "nickname": login, "display_name": login.title()}

    def _project(self, project: Project, fork: str | None = None) -> dict[str, Any]:
        path = project.path if fork is None else f"{fork}/{project.name}"
        return {"type": "repository", "full_name": path, "name": project.name}

    def pull(self, project: Project, pull: Pull) -> dict[str, Any]:
        where = {"open": "OPEN", "closed": "DECLINED", "merged": "MERGED"}
        merged = pull.merge_commit if pull.state == "merged" else None
        tip = project.tip(pull.base) or ""
        approved = [{"type": "participant", "user": self._user(one), "role": "REVIEWER", "approved": True,
                     "state": "approved"} for one in pull.approved_by]  # fmt: skip
        return {
            "type": "pullrequest",
            "id": pull.number,
            "title": pull.title,
            "summary": {"raw": pull.body, "markup": "markdown"},
            "description": pull.body,
            "state": where[pull.state],
            "draft": pull.draft,
            "author": self._user(pull.author),
            "source": {
                "branch": {"name": pull.head},
                "commit": {"hash": pull.head_commit[:SHORT]},
                "repository": self._project(project, pull.fork),
            },
            "destination": {
                "branch": {"name": pull.base},
                "commit": {"hash": tip[:SHORT]},
                "repository": self._project(project),
            },
            "merge_commit": None if merged is None else {"hash": merged[:SHORT]},
            "closed_by": self._user(pull.merged_by or pull.closed_by),
            "reviewers": [self._user(one) for one in pull.reviewers],
            "participants": approved,
            "created_on": stamp(pull.created_at),
            "updated_on": stamp(self.server.clock()),
        }

    def _commit_value(self, commit: Commit) -> dict[str, Any]:
        login = commit.email.partition("@")[0]
        raw = f"{commit.author} <{commit.email}>"
        author: dict[str, Any] = {"type": "author", "raw": raw}
        if login in self.server.users:
            author["user"] = self._user(login)
        parents = [{"type": "commit", "hash": one} for one in commit.parents]
        return {"type": "commit", "hash": commit.id, "message": commit.message + "\n", "author": author,
                "date": commit.time, "parents": parents}  # fmt: skip

    # -- pull requests ------------------------------------------------------------------------------------

    def _list(self, request: Request, p: Parameters) -> Reply:
        project = self._home(request, p)
        wanted = self._states or ["OPEN"]
        values = [self.pull(project, pull) for pull in project.current()]
        values = [value for value in values if value["state"] in wanted and self._queried(value)]
        for value in values:
            value.pop("participants"), value.pop("reviewers")  # only one alone has them
        return self.listed(request, values)

    def _queried(self, value: dict[str, Any]) -> bool:
        """Whether `q` meets a pull request: comparisons of texts, joined by AND."""
        q = dict(self._asked.query).get("q")
        if not q:
            return True
        for part in q.split(" AND "):
            path, _, text = part.partition(" = ")
            found: Any = value
            for name in path.strip().split("."):
                found = found[name]
            if found != json.loads(text):
                return False
        return True

    def _create(self, request: Request, p: Parameters) -> Reply:
        project, told = self._home(request, p), request.body
        head, base = told["source"]["branch"]["name"], told["destination"]["branch"]["name"]
        for pull in project.current():
            if (pull.head, pull.base, pull.state) == (head, base, "open"):
                # Bitbucket has one for each pair of branches: the new words go to it.
                pull.title, pull.body = told["title"], told.get("description") or ""
                return Reply(201, self.pull(project, pull))
        pull = project.open(head, base, told["title"], told.get("description") or "", self.asker(request),
                            draft=told.get("draft", False))  # fmt: skip
        return Reply(201, self.pull(project, pull))

    def _update(self, request: Request, p: Parameters) -> Reply:
        project, pull = self._found(request, p)
        told = request.body
        if pull.state != "open":
            return self.error(400, "You can only edit open pull requests")
        pull.title = told.get("title", pull.title)
        pull.body = told.get("description", pull.body)
        if "destination" in told:
            base = told["destination"]["branch"]["name"]
            if project.tip(base) is None:
                return self.error(400, "Bad request", destination=["branch not found"])
            pull.base = base
        if "reviewers" in told:
            known = {self.uuid(login): login for login in self.server.users}
            for one in told["reviewers"]:
                login = known.get(one.get("uuid", ""))
                if login is None or (project.reviewers is not None and login not in project.reviewers):
                    return self.error(400, "Bad request", reviewers=[f"Malformed reviewers list: {one}"])
            pull.reviewers = [known[one["uuid"]] for one in told["reviewers"]]
        return Reply(200, self.pull(project, pull))

    def _decline(self, request: Request, p: Parameters) -> Reply:
        project, pull = self._found(request, p)
        project.close(pull, by=self.asker(request))
        return Reply(200, self.pull(project, pull))

    def _merge(self, request: Request, p: Parameters) -> Reply:
        project, pull = self._found(request, p)
        how = "squash" if (request.body or {}).get("merge_strategy") == "squash" else "merge"
        project.merge(pull.number, how=how, by=self.asker(request))  # type: ignore[arg-type]
        return Reply(200, self.pull(project, pull))

    def _pulls_of(self, request: Request, p: Parameters) -> Reply:
        project = self._home(request, p)
        if project.find(p["commit"]) is None:
            return self.error(404, "Commit not found")
        # As little as the real one gives.
        found = [{"type": "pullrequest", "id": pull.number, "title": pull.title}
                 for pull in project.of_commit(p["commit"])]  # fmt: skip
        return self.listed(request, found)

    def _reviewers(self, request: Request, p: Parameters) -> Reply:
        project = self._home(request, p)
        logins = sorted(self.server.users if project.reviewers is None else project.reviewers)
        return self.listed(request, [{"type": "default_reviewer", "reviewer_type": "project",
                                      "user": self._user(login)} for login in logins])  # fmt: skip

    # -- comments -----------------------------------------------------------------------------------------

    def _said(self, said: Said) -> dict[str, Any]:
        content = {"raw": said.body, "markup": "markdown"}
        return {"type": "pullrequest_comment", "id": said.id, "deleted": False, "content": content,
                "user": self._user(said.author)}  # fmt: skip

    def _comments(self, request: Request, p: Parameters) -> Reply:
        project, pull = self._found(request, p)
        return self.listed(request, [self._said(one) for one in project.comments.get(pull.number, ())])

    def _comment(self, request: Request, p: Parameters) -> Reply:
        project, pull = self._found(request, p)
        said = project.say(pull.number, self.asker(request), request.body["content"]["raw"])
        return Reply(201, self._said(said))

    def _unsay(self, request: Request, p: Parameters) -> Reply:
        project, _ = self._found(request, p)
        return Reply(204) if project.unsay(int(p["comment_id"])) else self.error(404, "Not Found")

    def _edit(self, request: Request, p: Parameters) -> Reply:
        project, _ = self._found(request, p)
        said = project.edit(int(p["comment_id"]), request.body["content"]["raw"])
        return self.error(404, "Not Found") if said is None else Reply(200, self._said(said))

    # -- commits ------------------------------------------------------------------------------------------

    def _commits(self, request: Request, p: Parameters) -> Reply:
        project = self._home(request, p)
        wanted = [project.find(p["revision"])]
        wanted += [project.find(text) for name, text in self._asked.query if name == "exclude"]
        if None in wanted:
            return self.error(404, "Commit not found")
        start, *without = [one for one in wanted if one is not None]
        found = project.commits("--topo-order", start, *(f"^{one}" for one in without))
        return self.listed(request, [self._commit_value(one) for one in found])

    def _commit(self, request: Request, p: Parameters) -> Reply:
        project = self._home(request, p)
        found = project.find(p["commit"])
        if found is None:
            return self.error(404, "Commit not found")
        return Reply(200, self._commit_value(project.commits("-1", found)[0]))

    def _status(self, told: dict[str, Any]) -> dict[str, Any]:
        return {"type": "build", "key": told["key"], "name": told["context"],
                "state": STATES[told["state"]], "description": told["description"],
                "url": told["url"]}  # fmt: skip

    def _statuses(self, request: Request, p: Parameters) -> Reply:
        project = self._home(request, p)
        commit = project.find(p["commit"])
        if commit is None:
            return self.error(404, "Commit not found")
        newest = {one["context"]: one for one in project.statuses.get(commit, ())}
        values = [self._status({"key": one["context"][:40], **one}) for one in newest.values()]
        return self.listed(request, values)

    def _set_status(self, request: Request, p: Parameters) -> Reply:
        project, told = self._home(request, p), request.body
        commit = project.find(p["commit"])
        if commit is None:
            return self.error(404, "Commit not found")
        if len(told["key"]) > 40 or not told.get("url"):
            return self.error(400, "Bad request", key=["at most 40 characters"], url=["required"])
        status = {"context": told.get("name") or told["key"], "key": told["key"],
                  "state": OUR_STATES[told["state"]], "description": told.get("description") or "",
                  "url": told["url"], "by": self.asker(request)}  # fmt: skip
        project.statuses.setdefault(commit, []).append(status)
        return Reply(201, self._status(status))
