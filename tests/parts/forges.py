"""Forges for tests: small real HTTP servers that hold requests to the published descriptions of the APIs.

    with ForgeServer("github", tmp_path) as forge:
        repo = forge.project("acme/shop", {"README.md": "config repo"})   # a bare repository, real Git
        forge.host, forge.api, forge.token, forge.token_file              # for the config
        forge.merge(1, how="squash", by="ann")                            # what people do on its pages
        forge.pulls[1].state, forge.calls, forge.count("POST")

A request that does not fit its description is 422 (400 on GitLab), an unknown path 404, one without a token
401. Git itself is spoken at `{forge.page}/acme/shop.git`, with the token for a password. What a kind of
forge says in its own way is in `forge_github`, `forge_gitlab`, `forge_gitea` and `forge_bitbucket`.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

import pytest
from parts.canaries import secret
from parts.forge_bitbucket import BitbucketDialect
from parts.forge_description import FOLDER
from parts.forge_dialect import Dialect, Reply, Request
from parts.forge_gitea import ForgejoDialect, GiteaDialect
from parts.forge_github import GitHubDialect
from parts.forge_gitlab import GitLabDialect
from parts.forge_projects import How, Project, Pull, Said
from parts.gitserver import BareRepo, GitHandler, HttpGit

KINDS: dict[str, type[Dialect]] = {
    "github": GitHubDialect,
    "gitlab": GitLabDialect,
    "gitea": GiteaDialect,
    "forgejo": ForgejoDialect,
    "bitbucket": BitbucketDialect,
}
BOT = "automator"
"""Whose the token is."""


@dataclass(frozen=True)
class Call:
    """One request to the API, and how it ended."""

    method: str
    path: str
    """As it was sent, with percent signs, without the query."""
    operation: str
    """`POST /repos/{owner}/{repo}/pulls` of the description; empty where it has none."""
    query: tuple[tuple[str, str], ...]
    body: Any
    headers: Mapping[str, str]
    """Names in lower case."""
    status: int
    counts: bool
    """Whether the forge's rate limit counts it."""

    def __str__(self) -> str:
        return f"{self.method} {self.path} {self.status}"


@dataclass
class Fault:
    """What goes wrong for the next `times` requests whose `METHOD path` holds `on`."""

    status: int
    on: str
    times: int
    body: bytes
    headers: Mapping[str, str]
    silent: bool
    """No answer until the test is over."""
    hang_up: bool
    """The connection ends without an answer."""
    length: int | None
    """A Content-Length that is not true: the body breaks off."""
    done: bool
    """The request is carried out, and only its answer is lost."""


class ForgeServer:
    """One forge of one kind on a free port of the loopback; its repositories in `folder`."""

    def __init__(self, kind: str, folder: Path) -> None:
        if not FOLDER.is_dir():
            pytest.skip(f"no descriptions of forges in {FOLDER}")
        self.kind = kind
        self.folder = folder
        self.clock: Callable[[], datetime] = lambda: datetime.now(UTC)
        """The forge's own clock; a test may set it."""
        self.token = secret(f"{kind}-token")
        self.tokens: dict[str, str] = {self.token: BOT}
        """Token -> login of whose it is. A token that is taken out is refused."""
        self.users: dict[str, int] = {BOT: 1, "ann": 2, "bob": 3}
        self.projects: dict[str, Project] = {}
        self.moved: dict[str, str] = {}
        """Old path of a project -> its present one."""
        self.calls: list[Call] = []
        self.allowance: int | None = None
        """Requests left before the limit; None: no end of them."""
        self.reset_at: datetime | None = None
        """When the limit's time is over."""
        self.longest_page = 100
        """A server's own limit of a page, where its kind has one."""
        self.undescribed: list[str] = []
        """Requests that no description knows, as `GET /path`."""
        self.lock = threading.RLock()
        self.over = threading.Event()
        self._faults: list[Fault] = []
        self._root = folder / f"{kind}-projects"
        self._root.mkdir(parents=True)
        self.token_file = folder / f"{kind}-token"
        self.token_file.write_text(self.token + "\n")
        self.dialect = KINDS[kind](self)
        self._git = _GitDoor(self._root, forge=self)
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.forge = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.over.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    # -- where it is ------------------------------------------------------------------------------------

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._server.server_address[1]}"

    @property
    def page(self) -> str:
        return f"http://{self.host}"

    @property
    def api(self) -> str:
        return self.page + self.dialect.api_path

    def url(self, path: str) -> str:
        """For git, over HTTP."""
        return f"{self.page}/{path}.git"

    # -- what is on it ----------------------------------------------------------------------------------

    def project(
        self, path: str, files: Mapping[str, str | bytes] | None = None, *, repo: BareRepo | None = None
    ) -> BareRepo:
        """Make a project: with a new repository, or with the one of the test. Its bare repository."""
        place = self._root / f"{path}.git"
        place.parent.mkdir(parents=True, exist_ok=True)
        if repo is None:
            repo = BareRepo.create(place, files)
        else:
            place.symlink_to(repo.path, target_is_directory=True)
        number = len(self.projects) + 1
        self.projects[path] = Project(path, repo, lambda: self.clock(), self.dialect.words, number)
        return repo

    def only(self, path: str | None = None) -> Project:
        """The project of that path; the first where none is told."""
        return next(iter(self.projects.values())) if path is None else self.projects[path]

    @property
    def pulls(self) -> dict[int, Pull]:
        """The pull requests of the first project, by number, as they are now."""
        with self.lock:
            return {pull.number: pull for pull in self.only().current()}

    def open(
        self,
        head: str,
        base: str = "main",
        title: str = "By hand",
        body: str = "",
        *,
        by: str = "ann",
        fork: str | None = None,
        project: str | None = None,
    ) -> Pull:
        """A pull request of a person's; of a branch in the fork of `fork`: a ref below `refs/forks`."""
        with self.lock:
            return self.only(project).open(head, base, title, body, by, fork=fork)

    def merge(
        self,
        number: int,
        how: How = "merge",
        by: str = "ann",
        *,
        message: str | None = None,
        delete_branch: bool = False,
        project: str | None = None,
    ) -> str:
        """As by the button on the page, with the commit's message that this forge writes, or another; the
        base's new tip."""
        with self.lock:
            return self.only(project).merge(
                number, how=how, by=by, message=message, delete_branch=delete_branch
            )

    def close(self, number: int, by: str = "ann", *, project: str | None = None) -> None:
        with self.lock:
            home = self.only(project)
            home.close(home.pulls[number], by=by)

    def reopen(self, number: int, *, project: str | None = None) -> None:
        with self.lock:
            home = self.only(project)
            home.reopen(home.pulls[number])

    def approve(self, number: int, by: str = "ann", *, project: str | None = None) -> None:
        with self.lock:
            self.only(project).pulls[number].approved_by.append(by)

    def say(self, number: int, body: str, by: str = "ann", *, project: str | None = None) -> Said:
        with self.lock:
            return self.only(project).say(number, by, body)

    def said(self, number: int, *, project: str | None = None) -> list[Said]:
        """The comments under a pull request."""
        with self.lock:
            return list(self.only(project).comments.get(number, ()))

    def issue(self, number: int, *, project: str | None = None) -> None:
        """Have an issue of that number."""
        self.only(project).issues.add(number)

    def statuses(self, commit: str, *, project: str | None = None) -> dict[str, dict[str, Any]]:
        """The newest status of each context, with `state`, `description` and `url` in our words."""
        with self.lock:
            listed = self.only(project).statuses.get(commit, ())
            return {told["context"]: told for told in listed}

    def set_status(
        self, commit: str, context: str, state: str, description: str = "", *, project: str | None = None
    ) -> None:
        """What CI reports: `pending`, `success`, `failure` or `error`."""
        with self.lock:
            told = {"context": context, "state": state, "description": description, "url": None}
            self.only(project).statuses.setdefault(commit, []).append({**told, "by": "ci"})

    def user(self, login: str) -> int:
        """The number of a user, who exists from now on."""
        return self.users.setdefault(login, len(self.users) + 1)

    # -- what it was asked ------------------------------------------------------------------------------

    def count(self, what: str = "") -> int:
        """How many requests there were whose `METHOD path status` holds `what`."""
        return sum(what in str(call) for call in list(self.calls))

    def forget(self) -> None:
        """Begin counting anew."""
        self.calls.clear()

    # -- what goes wrong --------------------------------------------------------------------------------

    def fail(
        self,
        status: int = 500,
        *,
        on: str = "",
        times: int = 1,
        body: bytes | str = b"",
        headers: Mapping[str, str] | None = None,
        silent: bool = False,
        hang_up: bool = False,
        length: int | None = None,
        done: bool = False,
    ) -> None:
        """Have the next requests go wrong; see Fault."""
        content = body.encode() if isinstance(body, str) else body
        self._faults.append(Fault(status, on, times, content, headers or {}, silent, hang_up, length, done))

    def mend(self) -> None:
        """Nothing goes wrong any more."""
        self._faults.clear()

    def limit(self, seconds: int, *, times: int = 1, on: str = "") -> None:
        """Be limited: as this kind of forge says it to who asks too much at a time."""
        status, body, headers = self.dialect.limited(seconds)
        self.fail(status, on=on, times=times, body=body, headers=headers)

    # -- serving ----------------------------------------------------------------------------------------

    def answer(self, request: Request) -> tuple[Reply, Fault | None]:
        """One request of the API, from its head to the note in `calls`."""
        with self.lock:
            fault = self._fault(request)
            operation = ""
            if fault is not None and not fault.done:
                reply = Reply(fault.status, raw=fault.body, headers=fault.headers)
            else:
                operation, reply = self.dialect.answer(request)
                reply = self._tagged(request, reply)
                if fault is not None:
                    reply = Reply(fault.status, raw=fault.body, headers=fault.headers)
            counts = reply.status != 304
            if self.allowance is not None and counts:
                self.allowance = max(0, self.allowance - 1)
            headers = dict(request.headers)
            call = Call(
                request.method, request.path, operation, tuple(request.query), request.body, headers,
                reply.status, counts,
            )  # fmt: skip
            self.calls.append(call)
            return reply, fault

    def _fault(self, request: Request) -> Fault | None:
        for fault in self._faults:
            if fault.on in f"{request.method} {request.path}":
                fault.times -= 1
                if fault.times <= 0:
                    self._faults.remove(fault)
                return fault
        return None

    def _tagged(self, request: Request, reply: Reply) -> Reply:
        """The answer with its ETag, or 304 where the client has it already."""
        if not self.dialect.has_etags or request.method != "GET" or reply.status != 200:
            return reply
        tag = f'W/"{hashlib.sha256(reply.content).hexdigest()[:32]}"'
        headers = {**reply.headers, "ETag": tag}
        if request.headers.get("if-none-match") == tag:
            return Reply(304, headers=headers)
        return Reply(reply.status, reply.value, headers)


@contextmanager
def forge_server(kind: str, folder: Path) -> Iterator[ForgeServer]:
    """A running server of a kind."""
    with ForgeServer(kind, folder) as forge:
        yield forge


@dataclass
class _GitDoor(HttpGit):
    """Git's own door: whoever has a token of the forge is let in, under any name."""

    forge: ForgeServer = field(kw_only=True)

    def allows(self, header: str) -> bool:
        password = self.forge.dialect.password(header)
        return password is not None and self.forge.dialect.login_of(password) is not None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    forge: ForgeServer


class _Handler(GitHandler):
    server: _Server
    disable_nagle_algorithm = True

    @property
    def server_of(self) -> HttpGit:  # type: ignore[override]
        return self.server.forge._git

    def _serve(self, body: bytes) -> None:
        forge = self.server.forge
        parts = urlsplit(self.path)
        if ".git/" in parts.path:
            super()._serve(body)
            return
        headers = {name.lower(): text for name, text in self.headers.items()}
        query = parse_qsl(parts.query, keep_blank_values=True)
        request = Request(self.command, parts.path, query, headers, _parsed(body), body)
        reply, fault = forge.answer(request)
        if fault is not None and fault.silent:
            forge.over.wait(60)
        if fault is not None and (fault.silent or fault.hang_up):
            self.close_connection = True
            return
        sent = {"Content-Type": "application/json; charset=utf-8"}
        sent.update(reply.headers)
        if fault is not None and fault.length is not None:
            sent["Content-Length"] = str(fault.length)
            self.close_connection = True
        if reply.status in (204, 304):
            sent["Content-Length"] = "0"
        self._answer(reply.status, sent, reply.content)

    def date_time_string(self, timestamp: float | None = None) -> str:
        return super().date_time_string(self.server.forge.clock().timestamp())

    def _change(self) -> None:
        self._serve(self._body())

    do_PUT = do_PATCH = do_DELETE = _change  # noqa: N815


def _parsed(body: bytes) -> Any:
    if not body:
        return None
    try:
        return json.loads(body)
    except ValueError:
        return body.decode("utf-8", "replace")
