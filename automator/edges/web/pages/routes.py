"""Routes: every page of the dashboard, and how an answer is made."""

from __future__ import annotations

import anyio
import anyio.to_thread
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from automator.core.view import RepoView
from automator.edges.web.desk import Desk
from automator.edges.web.pages import deliveries, running, standing, workload, workloads
from automator.edges.web.pages.asked import Asked, Page, read
from automator.edges.web.pages.assets import asset_routes

AT_ONCE = 4
"""Threads that draw pages."""

PAGES: tuple[Page, ...] = (
    workloads.PAGE,
    workload.PAGE,
    standing.CHAINS,
    running.PAGE,
    deliveries.RELEASES,
    deliveries.REPORT,
    standing.REGISTRIES,
    standing.POLICIES,
    standing.REPOS,
    standing.CODES_PAGE,
    standing.CODE,
)


def page_routes(desk: Desk) -> list[Route]:
    """The routes of all pages and of what they load. Who is let in is settled before they are asked: then
    `request.state.visitor` tells who asks."""
    drawing = anyio.CapacityLimiter(AT_ONCE)

    def route(page: Page) -> Route:
        async def answer(request: Request) -> Response:
            return await anyio.to_thread.run_sync(_answer, page, request, desk, limiter=drawing)

        return Route(page.path, answer)

    return [*map(route, PAGES), *asset_routes()]


def _answer(page: Page, request: Request, desk: Desk) -> Response:
    from automator.edges.web.pages.drawing import draw  # brings jinja2, which the first page has time for

    asked = read(request, desk, page.parameters)
    shown = page.show(asked)
    frame = {
        "visitor": request.state.visitor,
        "at_page": page.path,
        "again": shown.again,
        "looked": _looked(asked),
        "asked": asked,
        "here": asked.here,
        "now": asked.now,
        "daemon": asked.desk.daemon(),
    }
    text = draw(shown.template, {**frame, **shown.values})
    return HTMLResponse(text, shown.status)


def _looked(asked: Asked) -> RepoView | str | None:
    """The config repo that a wish to look is about; anybody can make up an address that names another."""
    if asked.looked in (None, "-"):
        return asked.looked
    return next((repo for repo in asked.desk.repos() if repo.name == asked.looked), None)
