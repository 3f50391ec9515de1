"""The daemon's web servers: probes, API and dashboard on one address, events of others on another.

Each answers from what it is given, on a thread of its own.
"""

from starlette.types import ASGIApp

from automator.edges.web.access import Access
from automator.edges.web.desk import Desk
from automator.edges.web.hooks import make_hooks_app
from automator.edges.web.probes import Health, make_app
from automator.edges.web.refusal import Refusal
from automator.edges.web.server import Switch, WebServer

__all__ = [
    "ASGIApp",
    "Access",
    "Desk",
    "Health",
    "Refusal",
    "Switch",
    "WebServer",
    "make_app",
    "make_hooks_app",
]
