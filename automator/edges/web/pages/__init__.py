"""The dashboard: pages for people, written on the server, from what the desk answers.

They work without JavaScript; the little there is adds a colour scheme, keys, and news without a click.
"""

from automator.edges.web.pages.bare import DRAWN
from automator.edges.web.pages.routes import page_routes

__all__ = ["DRAWN", "page_routes"]
