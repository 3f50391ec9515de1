"""Bare pages: those that are drawn for who has no desk to look at: what went wrong, and the way in."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from automator.edges.web.admin import Drawn
from automator.reasons import Reason

_TITLES = {
    401: "Sign in first",
    403: "Not from here",
    404: "There is no such page",
    429: "Too often",
    503: "Not now",
}


_STEPS = {
    "web/not-found": "go on from the list of all workloads",
    "web/no-workload": "look for it in the list of all workloads",
    "web/too-many": "wait as long as that, then try again",
}
"""What people are to do where a reason tells programs."""


def _drawn(template: str, values: dict[str, Any]) -> str:
    from automator.edges.web.pages.drawing import draw  # brings jinja2, which the first page has time for

    return draw(template, values)


def _problem(why: Reason, status: int, back: str) -> str:
    title = _TITLES.get(status) or HTTPStatus(status).phrase
    told = {"why": why, "status": status, "title": title, "back": back, "step": _STEPS.get(why.code)}
    return _drawn("problem.html", {**bare(), **told})


def _sign_in(next_path: str, trouble: Reason | None) -> str:
    return _drawn("sign-in.html", {**bare(), "next_path": next_path, "trouble": trouble})


def bare() -> dict[str, Any]:
    """What the frame of a page wants to know where nobody has been let in."""
    return {"visitor": None, "at_page": "", "again": None, "looked": None, "here": "/"}


DRAWN = Drawn(_problem, _sign_in)
