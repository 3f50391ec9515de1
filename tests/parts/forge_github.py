"""GitHub as a test server: Enterprise's addresses (`/api/v3`), tokens and Apps, answers and refusals."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from parts.canaries import secret
from parts.forge_description import Description, description
from parts.forge_dialect import Dialect, No, Parameters, Reply, Request, stamp
from parts.forge_projects import Commit, Project, Pull, Refused, Said

if TYPE_CHECKING:
    from parts.forges import ForgeServer

BASE = "/api/v3"
OF_PROJECT = "/repos/{owner}/{repo}"
TEST_MERGE = "f" * 40
"""`merge_commit_sha` of what is open: a merge that GitHub only tried."""
DOCUMENTS = "https://docs.github.com/rest"


class App:
    """A GitHub App with one installation: signs nobody in but who holds its key."""

    def __init__(self, server: ForgeServer) -> None:
        self._server = server
        self._key = rsa.generate_private_key(65537, 2048)
        self.id = "123456"
        self.installation = 7654321
        self.key_file = server.folder / "github-app-token"
        self.key_file.write_bytes(
            self._key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.TraditionalOpenSSL,
                serialization.NoEncryption(),
            )
        )
        self.life = timedelta(hours=1)
        self.given: list[str] = []
        """All installation tokens, in order."""
        self._ends: dict[str, Any] = {}

    def admits(self, token: str) -> bool:
        """Whether a JWT is the App's, as GitHub checks it."""
        try:
            claims = jwt.decode(
                token,
                self._key.public_key(),
                algorithms=["RS256"],
                options={"verify_exp": False, "verify_iat": False, "require": ["iat", "exp", "iss"]},
            )
        except jwt.PyJWTError:
            return False
        now = self._server.clock().timestamp()
        return claims["iss"] == self.id and claims["iat"] <= now < claims["exp"] <= now + 600

    def give(self) -> tuple[str, str]:
        """A new installation token, and when it ends."""
        token = secret(f"installation-{len(self.given) + 1}")
        ends = self._server.clock() + self.life
        self.given.append(token)
        self._ends[token] = ends
        return token, str(stamp(ends))

    def login_of(self, token: str) -> str | None:
        ends = self._ends.get(token)
        return "automator[bot]" if ends is not None and self._server.clock() < ends else None

    def revoke(self) -> None:
        """All tokens end at once."""
        self._ends.clear()


class GitHubDialect(Dialect):
    """GitHub Enterprise Server, which has what github.com has."""

    api_path = BASE
    has_etags = True
    unauthorized = "Bad credentials"
    schemes = ("bearer", "token", "basic")

    def __init__(self, server: ForgeServer) -> None:
        super().__init__(server)
        self._app: App | None = None
        self.automerge_allowed = True
        """Whether the repository's settings allow auto-merge."""
        self.extra = {"graphql": self._graphql, "reviews": self._reviews}
        of = OF_PROJECT
        self.handlers = {
            f"GET {of}": lambda q, p: Reply(200, self._project(self._home(q, p))),
            f"GET {of}/pulls": self._list,
            f"POST {of}/pulls": self._create,
            f"GET {of}/pulls/{{pull_number}}": self._get,
            f"PATCH {of}/pulls/{{pull_number}}": self._update,
            f"PUT {of}/pulls/{{pull_number}}/merge": self._merge,
            f"POST {of}/pulls/{{pull_number}}/requested_reviewers": self._review,
            f"GET {of}/pulls/{{pull_number}}/commits": self._pull_commits,
            f"POST {of}/issues/{{issue_number}}/labels": self._label,
            f"GET {of}/issues/{{issue_number}}/comments": self._comments,
            f"POST {of}/issues/{{issue_number}}/comments": self._comment,
            f"PATCH {of}/issues/comments/{{comment_id}}": self._edit,
            f"DELETE {of}/issues/comments/{{comment_id}}": self._unsay,
            f"GET {of}/compare/{{basehead}}": self._compare,
            f"GET {of}/commits/{{ref}}": self._commit,
            f"GET {of}/commits/{{commit_sha}}/pulls": self._pulls_of,
            f"GET {of}/commits/{{ref}}/statuses": self._statuses,
            f"GET {of}/commits/{{ref}}/status": self._combined,
            f"POST {of}/statuses/{{sha}}": self._set_status,
            f"GET {of}/deployments": self._deployments,
            f"POST {of}/deployments": self._deploy,
            f"POST {of}/deployments/{{deployment_id}}/statuses": self._deployed,
            "POST /app/installations/{installation_id}/access_tokens": self._install,
        }

    @property
    def description(self) -> Description:
        return description("github", BASE)

    @property
    def app(self) -> App:
        """The App, which exists from its first mention on."""
        if self._app is None:
            self._app = App(self.server)
        return self._app

    # -- who asks ---------------------------------------------------------------------------------------

    def admit(self, request: Request) -> Reply | None:
        if not request.headers.get("user-agent"):
            return self.error(403, "Request forbidden by administrative rules. Please make sure your request "
                                   "has a User-Agent header")  # fmt: skip
        if request.path.startswith(f"{BASE}/app/"):
            token = request.headers.get("authorization", "").removeprefix("Bearer ")
            return None if self._app is not None and self._app.admits(token) else self._bad_jwt()
        return super().admit(request)

    def _bad_jwt(self) -> Reply:
        return self.error(401, "A JSON web token could not be decoded")

    def login_of(self, token: str) -> str | None:
        known = super().login_of(token)
        return known if known is not None or self._app is None else self._app.login_of(token)

    def _install(self, request: Request, p: Parameters) -> Reply:
        if int(p["installation_id"]) != self.app.installation:
            return self.error(404, "Not Found")
        token, ends = self.app.give()
        return Reply(201, {"token": token, "expires_at": ends, "permissions": {"contents": "write"},
                           "repository_selection": "all"})  # fmt: skip

    # -- no ---------------------------------------------------------------------------------------------

    def signed(self, reply: Reply) -> Reply:
        left = self.server.allowance
        headers = {
            "x-ratelimit-limit": "5000",
            "x-ratelimit-remaining": str(4999 if left is None else max(0, left - 1)),
            "x-ratelimit-reset": str(self._reset()),
            "x-ratelimit-resource": "core",
        }
        return Reply(reply.status, reply.value, {**headers, **reply.headers}, reply.raw)

    def _reset(self) -> int:
        until = self.server.reset_at or self.server.clock() + timedelta(hours=1)
        return int(until.timestamp())

    def error(self, status: int, message: str, errors: list[dict[str, str]] | None = None) -> Reply:
        value: dict[str, Any] = {"message": message, "documentation_url": DOCUMENTS, "status": str(status)}
        if errors is not None:
            value["errors"] = errors
        return Reply(status, value)

    def _invalid(self, resource: str, message: str = "", field: str = "") -> Reply:
        told = {"resource": resource, "code": "custom" if message else "invalid"}
        told |= {"message": message} if message else {}
        told |= {"field": field} if field else {}
        return self.error(422, "Validation Failed", [told])

    def refused(self, refused: Refused) -> Reply:
        match refused.name:
            case "no-head" | "no-base":
                return self._invalid("PullRequest", field=refused.name.removeprefix("no-"))
            case "duplicate":
                return self._invalid("PullRequest", f"A pull request already exists for acme:{refused}.")
            case "no-commits":
                return self._invalid("PullRequest", str(refused))
            case "moved":
                return self.error(409, "Head branch was modified. Review and try the merge again.")
            case "conflict" | "draft" | "not-open":
                return self.error(405, "Pull Request is not mergeable")
        return self.error(422, f"Validation Failed: {refused.name}")

    def limited(self, seconds: int) -> tuple[int, bytes, Mapping[str, str]]:
        """The secondary limit."""
        words = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."
        value = {"message": words, "documentation_url": DOCUMENTS}
        headers = {"retry-after": str(seconds), "x-ratelimit-remaining": "4321"}
        return 403, json.dumps(value).encode(), headers

    def exhausted(self) -> Reply:
        reply = self.error(403, "API rate limit exceeded for user ID 1.")
        return Reply(403, reply.value, {**self.signed(reply).headers, "x-ratelimit-remaining": "0"})

    # -- values -----------------------------------------------------------------------------------------

    def _home(self, request: Request, p: Parameters) -> Project:
        return self.home(f"{p['owner']}/{p['repo']}", request)

    def _found(self, request: Request, p: Parameters) -> tuple[Project, Pull]:
        project = self._home(request, p)
        return project, self.pull_of(project, p.get("pull_number") or p["issue_number"])

    def _user(self, login: str | None) -> dict[str, Any] | None:
        if login is None:
            return None
        return {"login": login, "id": self.server.user(login), "type": "User"}

    def _project(self, project: Project) -> dict[str, Any]:
        page = f"{self.server.page}/{project.path}"
        return {"name": project.name, "full_name": project.path, "html_url": page, "default_branch": "main"}

    def pull(self, project: Project, pull: Pull) -> dict[str, Any]:
        """As `GET /pulls/{number}` gives it; lists have less."""
        page = f"{self.server.page}/{project.path}/pull/{pull.number}"
        here = {"name": project.name, "full_name": project.path}
        whose = pull.fork or project.owner
        theirs = {**here, "full_name": f"{whose}/{project.name}"}
        merged = pull.state == "merged"
        return {
            "id": 10_000 + pull.number,
            "node_id": f"PR_{project.id}_{pull.number}",
            "number": pull.number,
            "url": f"{self.server.api}/repos/{project.path}/pulls/{pull.number}",
            "html_url": page,
            "title": pull.title,
            "body": pull.body or None,
            "state": "open" if pull.state == "open" else "closed",
            "draft": pull.draft,
            "user": self._user(pull.author),
            "labels": [{"id": project.labels[name], "name": name} for name in pull.labels],
            "requested_reviewers": [self._user(one) for one in pull.reviewers],
            "head": {"ref": pull.head, "sha": pull.head_commit, "label": f"{whose}:{pull.head}",
                     "repo": theirs, "user": self._user(whose)},
            "base": {"ref": pull.base, "sha": project.tip(pull.base) or TEST_MERGE, "repo": here},
            "created_at": stamp(pull.created_at),
            "updated_at": stamp(self.server.clock()),
            "closed_at": stamp(pull.closed_at),
            "merged_at": stamp(pull.merged_at),
            "merged": merged,
            "merged_by": self._user(pull.merged_by) if merged else None,
            "merge_commit_sha": pull.merge_commit if merged else TEST_MERGE,
        }  # fmt: skip

    def _commit_value(self, project: Project, commit: Commit) -> dict[str, Any]:
        who = {"name": commit.author, "email": commit.email, "date": commit.time}
        login = commit.email.partition("@")[0]
        page = f"{self.server.page}/{project.path}/commit/{commit.id}"
        account = self._user(login) if login in self.server.users else None
        return {
            "sha": commit.id,
            "html_url": page,
            "commit": {"message": commit.message, "author": who, "committer": who},
            "author": account,
            "committer": account,
            "parents": [{"sha": parent} for parent in commit.parents],
        }

    # -- pull requests ----------------------------------------------------------------------------------

    def _list(self, request: Request, p: Parameters) -> Reply:
        project = self._home(request, p)
        state, base, head = request.asked("state", "open"), request.asked("base"), request.asked("head")
        found = []
        for pull in project.current():
            fits = state == "all" or (state == "open") == (pull.state == "open")
            fits = fits and (not base or pull.base == base)
            if ":" in head:  # anything else is no filter, to GitHub
                fits = fits and head == f"{pull.fork or project.owner}:{pull.head}"
            if fits:
                found.append(self.pull(project, pull))
        if request.asked("direction") == "asc":
            found.reverse()
        return self.listed(request, found)

    def _create(self, request: Request, p: Parameters) -> Reply:
        project, told = self._home(request, p), request.body
        if not told.get("title"):
            return self._invalid("PullRequest", field="title")
        head = told["head"].removeprefix(f"{project.owner}:")
        pull = project.open(head, told["base"], told["title"], told.get("body") or "", self.asker(request),
                            draft=told.get("draft", False))  # fmt: skip
        return Reply(201, self.pull(project, pull))

    def _get(self, request: Request, p: Parameters) -> Reply:
        return Reply(200, self.pull(*self._found(request, p)))

    def _update(self, request: Request, p: Parameters) -> Reply:
        project, pull = self._found(request, p)
        told = request.body or {}
        if "base" in told and project.tip(told["base"]) is None:
            return self._invalid("PullRequest", field="base")
        for key in ("title", "body", "base"):
            if key in told:
                setattr(pull, key, told[key] or "")
        if told.get("state") == "closed" and pull.state == "open":
            project.close(pull, by=self.asker(request))
        if told.get("state") == "open" and pull.state == "closed":
            project.reopen(pull)
        return Reply(200, self.pull(project, pull))

    def _merge(self, request: Request, p: Parameters) -> Reply:
        project, pull = self._found(request, p)
        told = request.body or {}
        lines = [told[key] for key in ("commit_title", "commit_message") if told.get(key)]
        tip = project.merge(
            pull.number,
            how=told.get("merge_method", "merge"),
            by=self.asker(request),
            sha=told.get("sha"),
            message="\n\n".join(lines) or None,
        )
        return Reply(200, {"sha": tip, "merged": True, "message": "Pull Request successfully merged"})

    def _review(self, request: Request, p: Parameters) -> Reply:
        project, pull = self._found(request, p)
        told = request.body or {}
        wanted = [*told.get("reviewers", ()), *told.get("team_reviewers", ())]
        known = self.server.users if project.reviewers is None else project.reviewers
        if any(one not in known for one in wanted):
            words = "Reviews may only be requested from collaborators. One or more of the users or teams you "
            return self.error(
                422, f"{words}specified is not a collaborator of the {project.path} repository."
            )
        pull.reviewers += [one for one in wanted if one not in pull.reviewers]
        told = {key: one for key, one in self.pull(project, pull).items() if not key.startswith("merged")}
        return Reply(201, {**told, "merged_at": stamp(pull.merged_at)})

    def _label(self, request: Request, p: Parameters) -> Reply:
        project, pull = self._found(request, p)
        for name in request.body["labels"]:
            project.labels.setdefault(name, project.new_id())
            if name not in pull.labels:
                pull.labels.append(name)
        return Reply(200, [{"id": project.labels[name], "name": name} for name in pull.labels])

    def _pull_commits(self, request: Request, p: Parameters) -> Reply:
        project, pull = self._found(request, p)
        found = project.commits(f"{pull.base}..{pull.head_commit}")
        return self.listed(request, [self._commit_value(project, one) for one in reversed(found)])

    def _pulls_of(self, request: Request, p: Parameters) -> Reply:
        project = self._home(request, p)
        if project.find(p["commit_sha"]) is None:
            return self.error(422, f"No commit found for SHA: {p['commit_sha']}")
        found = [self.pull(project, pull) for pull in project.of_commit(p["commit_sha"])]
        return self.listed(request, found)

    # -- comments ---------------------------------------------------------------------------------------

    def _thread(self, request: Request, p: Parameters) -> tuple[Project, int]:
        project, number = self._home(request, p), int(p["issue_number"])
        if number not in project.pulls and number not in project.issues:
            raise No(self.error(404, "Not Found"))
        return project, number

    def _said(self, project: Project, said: Said) -> dict[str, Any]:
        return {"id": said.id, "body": said.body, "user": self._user(said.author),
                "html_url": f"{self.server.page}/{project.path}/issues/1#issuecomment-{said.id}"}  # fmt: skip

    def _comments(self, request: Request, p: Parameters) -> Reply:
        project, number = self._thread(request, p)
        return self.listed(request, [self._said(project, one) for one in project.comments.get(number, ())])

    def _comment(self, request: Request, p: Parameters) -> Reply:
        project, number = self._thread(request, p)
        said = project.say(number, self.asker(request), request.body["body"])
        return Reply(201, self._said(project, said))

    def _unsay(self, request: Request, p: Parameters) -> Reply:
        project = self._home(request, p)
        return Reply(204) if project.unsay(int(p["comment_id"])) else self.error(404, "Not Found")

    def _edit(self, request: Request, p: Parameters) -> Reply:
        project = self._home(request, p)
        said = project.edit(int(p["comment_id"]), request.body["body"])
        return self.error(404, "Not Found") if said is None else Reply(200, self._said(project, said))

    # -- commits ----------------------------------------------------------------------------------------

    def _compare(self, request: Request, p: Parameters) -> Reply:
        project = self._home(request, p)
        base, dots, head = p["basehead"].partition("...")
        found = project.between(base, head) if dots else None
        if found is None:
            return self.error(404, "Not Found")
        values = [self._commit_value(project, one) for one in reversed(found)]  # oldest first
        page, headers = self.page(request, values)
        told = {"status": "ahead", "ahead_by": len(values), "behind_by": 0, "total_commits": len(values)}
        return Reply(200, {**told, "commits": page}, headers)

    def _commit(self, request: Request, p: Parameters) -> Reply:
        project = self._home(request, p)
        found = project.find(p["ref"])
        if found is None:
            return self.error(422, f"No commit found for SHA: {p['ref']}")
        return Reply(200, self._commit_value(project, project.commits("-1", found)[0]))

    def _status(self, told: dict[str, Any]) -> dict[str, Any]:
        return {"context": told["context"], "state": told["state"], "description": told["description"],
                "target_url": told["url"], "creator": self._user(told["by"])}  # fmt: skip

    def _statuses(self, request: Request, p: Parameters) -> Reply:
        project = self._home(request, p)
        commit = project.find(p["ref"])
        if commit is None:
            return self.error(404, "Not Found")
        listed = reversed(project.statuses.get(commit, ()))
        return self.listed(request, [self._status(one) for one in listed])

    def _combined(self, request: Request, p: Parameters) -> Reply:
        project = self._home(request, p)
        commit = project.find(p["ref"])
        if commit is None:
            return self.error(422, f"No commit found for SHA: {p['ref']}")
        newest = {one["context"]: one for one in project.statuses.get(commit, ())}
        listed = [{k: v for k, v in self._status(one).items() if k != "creator"} for one in newest.values()]
        page, headers = self.page(request, listed)
        states = {one["state"] for one in newest.values()}
        state = "success" if states <= {"success"} and states else "pending"
        told = {"sha": commit, "state": state, "statuses": page, "total_count": len(listed)}
        return Reply(200, told, headers)

    def _set_status(self, request: Request, p: Parameters) -> Reply:
        project, told = self._home(request, p), request.body
        if project.find(p["sha"]) is None:
            return self.error(422, f"No commit found for SHA: {p['sha']}")
        if len(told.get("description") or "") > 140:
            return self._invalid("Status", "description is too long (maximum is 140 characters)")
        status = {"context": told.get("context", "default"), "state": told["state"],
                  "description": told.get("description") or "", "url": told.get("target_url"),
                  "by": self.asker(request)}  # fmt: skip
        project.statuses.setdefault(p["sha"], []).append(status)
        return Reply(201, self._status(status))

    def _deploy(self, request: Request, p: Parameters) -> Reply:
        project, told = self._home(request, p), request.body
        commit = project.find(told["ref"])
        if commit is None:
            return self.error(422, f"No ref found for: {told['ref']}")
        contexts = told.get("required_contexts")
        if contexts is None and any(one["state"] != "success" for one in project.statuses.get(commit, ())):
            return self.error(409, "Conflict: Commit status checks failed for the ref.")
        made = {"id": project.new_id(), "sha": commit, "states": [], "environment": "production", **told}
        project.deployments.append(made)
        return Reply(201, {"id": made["id"], "sha": commit, "ref": told["ref"],
                           "environment": made["environment"]})  # fmt: skip

    def _deployments(self, request: Request, p: Parameters) -> Reply:
        project, wanted = self._home(request, p), request.asked("environment")
        found = [
            {"id": made["id"], "sha": made["sha"], "ref": made["ref"], "environment": made["environment"],
             "description": made.get("description")}
            for made in reversed(project.deployments) if wanted in (None, made["environment"])
        ]  # fmt: skip
        return self.listed(request, found)

    def _deployed(self, request: Request, p: Parameters) -> Reply:
        project = self._home(request, p)
        for made in project.deployments:
            if made["id"] == int(p["deployment_id"]):
                made["states"].append(request.body)
                return Reply(201, {"id": project.new_id(), "state": request.body["state"]})
        return self.error(404, "Not Found")

    # -- what the cut description lacks -------------------------------------------------------------------

    def _reviews(self, request: Request) -> Reply | None:
        """`GET /pulls/{number}/reviews`, as GitHub's documentation has it."""
        found = re.fullmatch(rf"{BASE}/repos/([^/]+/[^/]+)/pulls/(\d+)/reviews", request.path)
        if found is None or request.method != "GET":
            return None
        project = self.home(found[1], request)
        pull = self.pull_of(project, found[2])
        reviews = [{"id": i, "user": self._user(one), "state": "APPROVED", "body": ""}
                   for i, one in enumerate(pull.approved_by, 1)]  # fmt: skip
        return self.signed(self.listed(request, reviews))

    def _graphql(self, request: Request) -> Reply | None:
        """The mutations that a bot calls: enablePullRequestAutoMerge, disablePullRequestAutoMerge."""
        if request.path != "/api/graphql" or request.method != "POST":
            return None
        query = str(request.body.get("query"))
        is_off = "disablePullRequestAutoMerge" in query
        if not is_off and "enablePullRequestAutoMerge" not in query:
            return self.signed(Reply(200, {"errors": [{"message": "what is that?"}]}))
        told = request.body["variables"]
        for project in self.server.projects.values():
            for pull in project.current():
                if f"PR_{project.id}_{pull.number}" == told["id"]:
                    act = self._no_automerge if is_off else self._automerge
                    return self.signed(act(pull, told))
        return self.signed(self._wrong(f"Could not resolve to a node with the global id of '{told['id']}'"))

    def _automerge(self, pull: Pull, told: dict[str, Any]) -> Reply:
        if not self.automerge_allowed:
            return self._wrong("Auto merge is not allowed for this repository")
        if told.get("head") not in (None, pull.head_commit):
            return self._wrong("Head branch was modified. Review and try the merge again.")
        pull.merge_when_ready = True
        return Reply(200, {"data": {"enablePullRequestAutoMerge": {"pullRequest": {"number": pull.number}}}})

    def _no_automerge(self, pull: Pull, told: dict[str, Any]) -> Reply:
        if not pull.merge_when_ready:
            return self._wrong("Can't disable auto-merge for this pull request.")
        pull.merge_when_ready = False
        return Reply(200, {"data": {"disablePullRequestAutoMerge": {"pullRequest": {"number": pull.number}}}})

    @staticmethod
    def _wrong(words: str) -> Reply:
        return Reply(200, {"data": None, "errors": [{"type": "UNPROCESSABLE", "message": words}]})
