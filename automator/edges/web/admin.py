"""The admin application: probes and metrics for everybody, API and pages for who is let in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import quote

import anyio
import anyio.to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from automator.edges.web.access import Access
from automator.edges.web.answers import StrictHeaders
from automator.edges.web.problem import Problem, problem_json
from automator.errors import AutomatorError
from automator.reasons import Reason, reason

LONGEST_ADDRESS = 8_000
"""Characters of a path with its query."""
OPEN = frozenset({"/healthz", "/readyz", "/metrics", "/sign-in", "/favicon.ico"})
OPEN_FOLDER = "/assets/"
"""Paths that everybody may ask for: they tell nothing of config repos."""
SIGN_IN = "/sign-in"
LOOKED = "looked"
"""Parameter of any page: the config repo that is looked at now, since somebody wished so on that page."""
AT_ONCE = 4
"""Threads that look at who asks: a token file on a disk that hangs must not take all."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """What people are shown by those who know nothing of pages, as HTML."""

    problem: Callable[[Reason, int, str], str]
    """Why a page cannot be had, the status of the answer, and the path that leads on from there."""
    sign_in: Callable[[str, Reason | None], str]
    """The form that posts `token` and `next` to /sign-in: the path that was wanted, and why the last attempt
    failed."""


def make_admin_app(routes: Sequence[Route], access: Access, drawn: Drawn) -> ASGIApp:
    """The application of these routes; all but the open paths are for who `access` lets in, and then
    `request.state.visitor` tells who that is."""

    def answer(request: Request, error: Exception) -> Response:
        return _answer(request, _as_problem(request, error), drawn)

    handled = dict.fromkeys((HTTPException, Problem, AutomatorError, Exception), answer)
    app = Starlette(routes=routes, exception_handlers=handled)
    app.router.redirect_slashes = False
    return StrictHeaders(_Guard(app, access, drawn))


class _Guard:
    """Lets in who may ask, before anything looks at what is wanted."""

    def __init__(self, app: ASGIApp, access: Access, drawn: Drawn) -> None:
        self._app = app
        self._access = access
        self._drawn = drawn
        self._looking = anyio.CapacityLimiter(AT_ONCE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = Request(scope)
        path = scope["path"]
        try:
            if len(scope["raw_path"]) + len(scope["query_string"]) >= LONGEST_ADDRESS:
                raise Problem(414, reason("web/long-address", limit=LONGEST_ADDRESS))
            if path not in OPEN and not path.startswith(OPEN_FOLDER):
                visitor = await anyio.to_thread.run_sync(self._access.visitor, request, limiter=self._looking)
                scope.setdefault("state", {})["visitor"] = visitor
        except Problem as problem:
            await _answer(request, problem, self._drawn)(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _as_problem(request: Request, error: Exception) -> Problem:
    path = request.url.path
    match error:
        case Problem():
            return error
        case AutomatorError():  # the state folder cannot be read, or parts are just being replaced
            return Problem(503, error.reason, {"Retry-After": "2"})
        case HTTPException(status_code=404):
            return Problem(404, reason("web/not-found", path=path))
        case HTTPException(status_code=405):
            why = reason("web/wrong-method", method=request.method, path=path)
            return Problem(405, why, error.headers)
        case _:
            return Problem(500, reason("web/bug"))


def _answer(request: Request, problem: Problem, drawn: Drawn) -> Response:
    """A problem as who asks can read it: a page for people, JSON for programs."""
    if prefers_pages(request):
        if problem.status == HTTPStatus.UNAUTHORIZED and request.method in ("GET", "HEAD"):
            return RedirectResponse(f"{SIGN_IN}?{_way_back(request)}", 303)
        page = drawn.problem(problem.reason, problem.status, "/")
        return Response(page, problem.status, problem.headers, "text/html")
    return Response(problem_json(problem.reason), problem.status, problem.headers, "application/json")


def prefers_pages(request: Request) -> bool:
    """Whether a person's browser asks for a page."""
    return "text/html" in request.headers.get("accept", "") and not request.url.path.startswith("/api/")


def _way_back(request: Request) -> str:
    query = f"?{request.url.query}" if request.url.query else ""
    return f"next={quote(request.url.path + query, safe='')}"
