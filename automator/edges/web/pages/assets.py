"""Assets: style, script and icon, each served under a name that has the hash of its content."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from automator.edges.web.admin import OPEN_FOLDER
from automator.edges.web.problem import Problem
from automator.reasons import reason

KEPT = "public, max-age=31536000, immutable"
"""Another content has another name: browsers need not ask again."""
_TYPES = {"style.css": "text/css", "script.js": "text/javascript", "icon.svg": "image/svg+xml"}


@dataclass(frozen=True, slots=True)
class Asset:
    """One file for browsers."""

    name: str
    """`style-0123456789ab.css`"""
    content: bytes
    kind: str

    @property
    def path(self) -> str:
        return OPEN_FOLDER + self.name


@cache
def assets() -> Mapping[str, Asset]:
    """All of them, by the names of their files."""
    return {name: _read(name, kind) for name, kind in _TYPES.items()}


def _read(file: str, kind: str) -> Asset:
    content = files(__package__).joinpath("static", file).read_bytes()
    stem, _, ending = file.rpartition(".")
    return Asset(f"{stem}-{hashlib.sha256(content).hexdigest()[:12]}.{ending}", content, kind)


def asset_routes() -> list[Route]:
    """/assets/NAME, and /favicon.ico for browsers that ask for it whatever a page says."""

    async def asset(request: Request) -> Response:
        name = request.path_params["name"]
        found = next((one for one in assets().values() if one.name == name), None)
        if found is None:
            raise Problem(404, reason("web/not-found", path=request.url.path))
        return Response(found.content, 200, {"Cache-Control": KEPT}, found.kind)

    async def icon(_request: Request) -> Response:
        found = assets()["icon.svg"]
        return Response(found.content, 200, {"Cache-Control": "public, max-age=86400"}, found.kind)

    return [Route(OPEN_FOLDER + "{name}", asset), Route("/favicon.ico", icon)]
