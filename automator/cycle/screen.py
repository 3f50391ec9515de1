"""Screening: which files are worth parsing, by the words in their bytes."""

from __future__ import annotations

import re

from automator.core.dotenv import is_dotenv
from automator.core.site import may_hold_sites

_ELSEWHERE = re.compile(rb"HelmRepository|targetRevision")
"""Words beside versions of charts, which `may_hold_sites` does not look for."""
_HELM_REPOSITORY = re.compile(rb"kind[\"']?[ \t]*:[ \t]*[\"']?HelmRepository")
_URL = re.compile(rb"\burl[\"']?[ \t]*:")
_VARIABLE_IMAGE = re.compile(rb"image[\"']?[ \t]*:[^\r\n]{0,500}\$")
"""An image with a variable. (One that a block scalar spells is seen where it names a watched image.)"""


def may_hold(path: str, data: bytes) -> bool:
    """Whether a file can hold a site, or what a site elsewhere awaits."""
    return may_hold_sites(data) or is_dotenv(path) or _ELSEWHERE.search(data) is not None


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
        or (b"services" in data and _VARIABLE_IMAGE.search(data) is not None)
    )
