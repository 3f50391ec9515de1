"""Doors: what people do by the forms of pages: sign in, sign out, and have a look taken now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import urlencode

import anyio
import anyio.to_thread
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from automator.edges.web.access import Access
from automator.edges.web.admin import AT_ONCE, LOOKED, SIGN_IN, Drawn, prefers_pages
from automator.edges.web.body import read_form
from automator.edges.web.look import Looking
from automator.edges.web.problem import Problem


def door_routes(access: Access, drawn: Drawn, looking: Looking) -> list[Route]:
    """/sign-in with its page, /sign-out, and /look.

    Their forms post `form_token` of the visitor (but /sign-in) and `next`, the path to go on to; /look takes
    `repo` and `workload` too, all where neither is given.
    """
    waiting = anyio.CapacityLimiter(AT_ONCE)

    async def sign_in(request: Request) -> Response:
        if request.method != "POST":
            next_path = _path(request.query_params.get("next"))
            if not access.needs_token or await anyio.to_thread.run_sync(
                access.has_session, request, limiter=waiting
            ):
                return RedirectResponse(next_path, 303)
            return Response(drawn.sign_in(next_path, None), media_type="text/html")
        form = await read_form(request)
        next_path = _path(form.get("next"))
        try:
            word = form.get("token", "").strip()
            cookie = await anyio.to_thread.run_sync(access.sign_in, request, word, limiter=waiting)
        except Problem as problem:
            page = drawn.sign_in(next_path, problem.reason)
            return Response(page, problem.status, problem.headers, "text/html")
        return RedirectResponse(next_path, 303, {"Set-Cookie": cookie})

    async def sign_out(request: Request) -> Response:
        form = await _own_form(request, access)
        cookie = access.sign_out(request)
        return RedirectResponse(_path(form.get("next")), 303, {"Set-Cookie": cookie})

    async def look(request: Request) -> Response:
        form = await _own_form(request, access)
        repo, name = form.get("repo") or None, form.get("workload") or None
        next_path = _path(form.get("next"))
        try:
            found = await anyio.to_thread.run_sync(looking.look, request, repo, name, limiter=waiting)
        except Problem as problem:
            if not prefers_pages(request):
                raise
            page = drawn.problem(problem.reason, problem.status, next_path)
            return Response(page, problem.status, problem.headers, "text/html")
        return RedirectResponse(_told(next_path, found), 303)

    return [
        Route(SIGN_IN, sign_in, methods=["GET", "POST"]),
        Route("/sign-out", sign_out, methods=["POST"]),
        Route("/look", look, methods=["POST"]),
    ]


async def _own_form(request: Request, access: Access) -> Mapping[str, str]:
    form = await read_form(request)
    access.require_own_page(request, form.get("form_token", ""))
    return form


def _told(path: str, found: Sequence[str]) -> str:
    """The path that tells the page there what became of a wish to look."""
    path, _, anchor = path.partition("#")
    told = urlencode([(LOOKED, name) for name in found[:1] or ("-",)])
    return f"{path}{'&' if '?' in path else '?'}{told}{f'#{anchor}' if anchor else ''}"


def _path(wanted: str | None) -> str:
    """A path of ours to go on to: never an address elsewhere."""
    if not wanted or not wanted.startswith("/") or wanted.startswith("//") or "\\" in wanted:
        return "/"
    return wanted if wanted.isascii() and wanted.isprintable() else "/"
