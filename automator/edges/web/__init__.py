"""The daemon's web servers: probes and metrics on one address, events of others on another.

Each answers from what it is given, on a thread of its own.
"""

from automator.edges.web.hooks import make_hooks_app
from automator.edges.web.probes import Health, make_app
from automator.edges.web.refusal import Refusal
from automator.edges.web.server import WebServer

__all__ = ["Health", "Refusal", "WebServer", "make_app", "make_hooks_app"]
