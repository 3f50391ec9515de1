"""Looking now: what somebody asked for by hand becomes a cycle, as often as is good for everybody."""

from __future__ import annotations

import time
from collections.abc import Callable

from starlette.requests import Request

from automator.edges.web.access import too_many
from automator.edges.web.desk import Desk
from automator.edges.web.parties import party
from automator.edges.web.problem import Problem
from automator.edges.web.rates import Rates
from automator.reasons import reason

BURST, PAUSE = 10, 3.0
"""Looks of a client at once, and the seconds after which it has one more."""


class Looking:
    """Takes wishes to look now. For several threads at once."""

    def __init__(self, desk: Desk, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._desk = desk
        self._rates = Rates(BURST, PAUSE, monotonic)

    def look(self, request: Request, repo: str | None, name: str | None) -> tuple[str, ...]:
        """Have a workload looked at, a config repo, or all of them; returns the config repos of which a cycle
        runs. Raises Problem."""
        repos = tuple(each.name for each in self._desk.repos())
        if repo is None and name is not None:
            raise Problem(400, reason("web/body", problem="a workload is named, and no config repo"))
        if repo is not None and repo not in repos:
            raise no_repo(repo, repos)
        if repo is not None and name is not None and self._desk.workload(repo, name) is None:
            raise Problem(404, reason("web/no-workload", name=name, repo=repo))
        wait = self._rates.take(party(request.client.host if request.client is not None else ""))
        if wait:
            raise too_many("requests to look now", wait)
        wanted = repos if repo is None else (repo,)
        return tuple(each for each in wanted if self._desk.look(each, name))


def no_repo(name: str, known: tuple[str, ...]) -> Problem:
    """The answer to who asks about a config repo that is not there."""
    shown = ", ".join(known[:10]) + (" …" if len(known) > 10 else "")
    return Problem(
        404, reason("web/no-repo", repo=name, known=f"there is {shown}" if shown else "there is none")
    )
