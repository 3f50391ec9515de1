"""Why a web server turned somebody away, before anybody looked at what was wanted."""

from __future__ import annotations

from enum import StrEnum


class Refusal(StrEnum):
    """Why a request, or a connection that brought none, was not taken in."""

    UNKNOWN_HOOK = "unknown-hook"
    WRONG_METHOD = "wrong-method"
    OVERSIZE = "oversize"
    TOO_SLOW = "too-slow"
    BUSY = "busy"
    MALFORMED = "malformed-request"
    CROWDED = "crowded"
    """Too many connections."""
