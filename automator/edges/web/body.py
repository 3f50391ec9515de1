"""Bodies of requests: read whole within a bound and a time, and only where their kind is the expected one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect, Request

from automator.edges.web.problem import Problem
from automator.reasons import one_line, reason

LIMIT = 4_096
"""Bytes of a body: nobody has much to say to us."""
SECONDS = 10.0
FORM, JSON = "application/x-www-form-urlencoded", "application/json"


async def read_form(request: Request) -> Mapping[str, str]:
    """The fields of a form, the last one of each name. Raises Problem."""
    data = await _read(request, FORM)
    try:
        pairs = parse_qsl(data.decode("ascii"), keep_blank_values=True, max_num_fields=20, errors="strict")
    except ValueError as error:
        raise _useless(error) from None
    return dict(pairs)


async def read_object(request: Request) -> dict[str, Any]:
    """The members of a JSON object. Raises Problem."""
    data = await _read(request, JSON)
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _useless(error) from None
    if not isinstance(value, dict):
        raise Problem(400, reason("web/body", problem="it is no JSON object"))
    return value


async def _read(request: Request, kind: str) -> bytes:
    found = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if found != kind:
        why = reason("web/media-type", found=found or "of no kind", wanted=kind)
        raise Problem(415, why, {"Accept-Post": kind})
    announced = request.headers.get("content-length", "0")
    body = bytearray()
    try:
        async with asyncio.timeout(SECONDS):
            if not announced.isdecimal() or int(announced[:20]) > LIMIT:
                raise Problem(413, reason("web/oversize", limit=LIMIT))
            async for piece in request.stream():
                body += piece
                if len(body) > LIMIT:
                    raise Problem(413, reason("web/oversize", limit=LIMIT))
    except TimeoutError:
        raise Problem(408, reason("web/slow-body", seconds=f"{SECONDS:.0f}")) from None
    except ClientDisconnect:  # nobody is there to be answered
        raise Problem(400, reason("web/body", problem="it broke off")) from None
    return bytes(body)


def _useless(error: Exception) -> Problem:
    return Problem(400, reason("web/body", problem=one_line(error, 100)))
