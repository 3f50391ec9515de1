"""Dialects: what a kind of forge says in its own way. The frame that the four kinds of them share."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from parts.forge_description import Description, Operation
from parts.forge_projects import Project, Pull, Refused, Words

if TYPE_CHECKING:
    from parts.forges import ForgeServer


@dataclass(frozen=True)
class Request:
    """One request to the API."""

    method: str
    path: str
    query: list[tuple[str, str]]
    headers: Mapping[str, str]
    """Names in lower case."""
    body: Any
    """Parsed JSON; the text where it is none; None where there is none."""
    raw: bytes = b""

    def asked(self, name: str, otherwise: str = "") -> str:
        return dict(self.query).get(name, otherwise)


@dataclass(frozen=True)
class Reply:
    """An answer: a value that becomes JSON, or `raw` bytes."""

    status: int = 200
    value: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    raw: bytes | None = None

    @property
    def content(self) -> bytes:
        if self.raw is not None:
            return self.raw
        return b"" if self.value is None else json.dumps(self.value).encode()


class No(Exception):
    """An answer that is a no."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(str(reply.status))
        self.reply = reply


Parameters = dict[str, Any]
Handler = Callable[[Request, Parameters], Reply]


class Dialect:
    """One kind of forge. `handlers` has the operations of its description that it carries out, by key."""

    api_path = ""
    """Path of the API below the server's page."""
    words: Words = Words()
    has_etags = False
    bad_request = 422
    default_page, longest_page = 30, 100
    size_name = "per_page"

    def __init__(self, server: ForgeServer) -> None:
        self.server = server
        self.handlers: dict[str, Handler] = {}
        self.extra: dict[str, Callable[[Request], Reply | None]] = {}
        """What the forge does and the cut description lacks: name -> handler, None where it is not meant."""

    @property
    def description(self) -> Description:
        raise NotImplementedError

    def answer(self, request: Request) -> tuple[str, Reply]:
        """Key of the operation, and the answer."""
        key = ""
        try:
            refusal = self.admit(request)
            if refusal is not None:
                return "", refusal
            for name, handler in self.extra.items():
                reply = handler(request)
                if reply is not None:
                    return name, reply
            found = self.description.find(request.method, request.path)
            if found is None:
                self.server.undescribed.append(f"{request.method} {request.path}")
                return "", self.error(404, "Not Found")
            operation, parameters = found
            key = operation.key
            return key, self._carried_out(operation, request, parameters)
        except No as no:
            return key, self.signed(no.reply)
        except Refused as refused:
            return key, self.signed(self.refused(refused))

    def _carried_out(self, operation: Operation, request: Request, parameters: Parameters) -> Reply:
        problem = self.description.problem(operation, request.query, request.body)
        if problem is not None:
            return self.error(self.bad_request, problem)
        handler = self.handlers.get(operation.key)
        assert handler is not None, f"this server does not carry out {operation.key}"
        reply = handler(request, parameters)
        shaped = self.description.shaped(operation, reply.status, reply.value)
        return self.signed(Reply(reply.status, shaped, reply.headers, reply.raw))

    def signed(self, reply: Reply) -> Reply:
        """The answer with what stands in the head of each."""
        return reply

    # -- who asks ---------------------------------------------------------------------------------------

    def admit(self, request: Request) -> Reply | None:
        """The no to who may not ask, or not now; None to all others."""
        if self.user(request) is None:
            return self.error(401, self.unauthorized)
        if self.server.allowance == 0:
            return self.exhausted()
        return None

    unauthorized = "401 Unauthorized"

    def user(self, request: Request) -> str | None:
        """The login of who asks; None where nobody says who it is."""
        kind, _, text = request.headers.get("authorization", "").partition(" ")
        if kind.lower() in self.schemes:
            return self.login_of(text.strip())
        if kind == "Basic" and "basic" in self.schemes:
            found = self.password(f"Basic {text}")
            return None if found is None else self.login_of(found)
        return None

    schemes: tuple[str, ...] = ("bearer", "token")

    def login_of(self, token: str) -> str | None:
        return self.server.tokens.get(token)

    def password(self, header: str) -> str | None:
        """The password of a Basic header."""
        kind, _, text = header.partition(" ")
        if kind != "Basic":
            return None
        return base64.b64decode(text).decode().partition(":")[2]

    def asker(self, request: Request) -> str:
        user = self.user(request)
        assert user is not None
        return user

    # -- no ---------------------------------------------------------------------------------------------

    def error(self, status: int, message: str) -> Reply:
        raise NotImplementedError

    def refused(self, refused: Refused) -> Reply:
        """How this kind says a no of a project's."""
        raise NotImplementedError

    def limited(self, seconds: int) -> tuple[int, bytes, Mapping[str, str]]:
        """Status, body and headers of the answer to who asks too much."""
        raise NotImplementedError

    def exhausted(self) -> Reply:
        """The answer to who has used up all requests."""
        until = self.server.reset_at or self.server.clock()
        status, body, headers = self.limited(max(1, int((until - self.server.clock()).total_seconds())))
        return Reply(status, raw=body, headers=headers)

    # -- what all have ----------------------------------------------------------------------------------

    def home(self, path: str, request: Request) -> Project:
        """The project of a path. Raises No: there is none, or it has moved."""
        moved = self.server.moved.get(path)
        if moved is not None:
            raise No(self.redirect(request, path, moved))
        project = self.server.projects.get(path)
        if project is None:
            raise No(self.error(404, "Not Found"))
        return project

    def redirect(self, request: Request, old: str, new: str) -> Reply:
        query = f"?{urlencode(request.query)}" if request.query else ""
        place = f"{self.server.page}{request.path.replace(old, new, 1)}{query}"
        return Reply(301, {"message": "Moved Permanently", "url": place}, {"Location": place})

    def pull_of(self, project: Project, number: str) -> Pull:
        pull = project.pulls.get(int(number))
        if pull is None:
            raise No(self.error(404, "Not Found"))
        return project.looked_at(pull)

    def page(self, request: Request, items: Sequence[Any]) -> tuple[list[Any], dict[str, str]]:
        """The page that is asked for, and the headers that lead to the others."""
        size = min(int(request.asked(self.size_name, str(self.default_page))), self.longest_page,
                   self.server.longest_page)  # fmt: skip
        at = max(1, int(request.asked("page", "1")))
        last = max(1, -(-len(items) // max(1, size)))
        named = {"prev": at - 1, "next": at + 1, "first": 1, "last": last}
        if at <= 1:
            named.pop("prev"), named.pop("first")
        if at >= last:
            named.pop("next"), named.pop("last")
        base = f"{self.server.page}{request.path}"
        kept = [(name, text) for name, text in request.query if name != "page"]
        links = [f'<{base}?{urlencode([*kept, ("page", page)])}>; rel="{rel}"' for rel, page in named.items()]
        headers = {"Link": ", ".join(links)} if links else {}
        return list(items[(at - 1) * size : at * size]), {**headers, **self.counted(len(items), at, size)}

    def counted(self, total: int, at: int, size: int) -> dict[str, str]:
        """Headers that count what is listed."""
        return {}

    def listed(self, request: Request, items: Sequence[Any]) -> Reply:
        page, headers = self.page(request, items)
        return Reply(200, page, headers)


def stamp(time: datetime | None) -> str | None:
    """A time as forges write it."""
    return None if time is None else time.strftime("%Y-%m-%dT%H:%M:%SZ")
