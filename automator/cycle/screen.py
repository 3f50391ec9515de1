"""Screening: which files are worth parsing, by the words in their bytes."""

from __future__ import annotations

import re

from automator.core.dotenv import is_dotenv
from automator.core.site import may_hold_sites

_ELSEWHERE = (b"HelmRepository", b"targetRevision")
"""Words beside versions of charts, which `may_hold_sites` does not look for."""
_HELM_REPOSITORY = re.compile(rb"kind[\"']?[ \t]*:[ \t]*[\"']?HelmRepository")
_URL = re.compile(rb"\burl[\"']?[ \t]*:")
_ESCAPED_DOLLAR = re.compile(rb"\\(?:x24|u0024|U00000024)")
"""The sign before a variable, as YAML and JSON may spell it."""


def may_hold(path: str, data: bytes) -> bool:
    """Whether a file can hold a site, or what a site elsewhere awaits."""
    return may_hold_sites(data) or is_dotenv(path) or any(map(data.__contains__, _ELSEWHERE))


def may_give(path: str, data: bytes) -> bool:
    """Whether sites of other files may depend on a file, whatever images it names itself: an `.env`, the
    address of charts, a Compose file with variables (they may be another image's, too)."""
    return (
        is_dotenv(path)
        or (
            b"HelmRepository" in data
            and _HELM_REPOSITORY.search(data) is not None
            and _URL.search(data) is not None
        )
        # Where the variable stands is for the parser to say: YAML has many ways to lay out a value.
        or (b"services" in data and (b"$" in data or _ESCAPED_DOLLAR.search(data) is not None))
    )
