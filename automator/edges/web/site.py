"""The site: everything on the admin address, put together: probes, metrics, API, pages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from starlette.types import ASGIApp

from automator.edges.web.access import Access
from automator.edges.web.admin import make_admin_app
from automator.edges.web.api import api_routes
from automator.edges.web.desk import Desk
from automator.edges.web.doors import door_routes
from automator.edges.web.look import Looking
from automator.edges.web.openapi import describe
from automator.edges.web.operations import OPERATIONS
from automator.edges.web.pages import DRAWN, page_routes
from automator.edges.web.probes import Health, Numbers, probe_routes


@dataclass(frozen=True, slots=True)
class Behind:
    """What stands behind the site."""

    desk: Desk
    health: Callable[[], Health]
    ready: Callable[[], Health]
    metrics: Numbers
    version: str


def make_site(behind: Behind, access: Access) -> ASGIApp:
    """The application of the admin address."""
    looking = Looking(behind.desk)
    routes = [
        *probe_routes(behind.health, behind.ready, behind.metrics),
        *api_routes(OPERATIONS, behind.desk, looking, access, lambda: describe(OPERATIONS, behind.version)),
        *door_routes(access, DRAWN, looking),
        *page_routes(behind.desk),
    ]
    return make_admin_app(routes, access, DRAWN)
