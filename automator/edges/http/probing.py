"""Probing: asking another automator whether it is well."""

from __future__ import annotations

import json
import time

from automator.edges.http.sending import Limits, send
from automator.edges.http.sessions import new_session
from automator.edges.http.trouble import TransportError
from automator.reasons import one_line


def probe(url: str, *, seconds: float = 5.0) -> tuple[bool, str]:
    """Ask a daemon's `/healthz`: whether it is well, and its words. Never raises for an answer's sake."""
    limits = Limits(ends_at=time.monotonic() + seconds, connect=seconds, read=seconds, body=64 * 1024)
    with new_session(pool_size=1) as session:
        try:
            answer = send(session, "GET", url, headers={}, limits=limits)
        except TransportError as error:
            return False, f"{url} does not answer: {one_line(error)}"
    text = answer.body.decode("utf-8", "replace")
    try:
        words = str(json.loads(text)["words"])
    except (ValueError, TypeError, KeyError):  # something else answers at this address
        return False, f"{url} is no automator: it says {one_line(text)}"
    return answer.status == 200, one_line(words, 500)
