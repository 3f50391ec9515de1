"""Mentions: references inside longer texts: arguments, environment values, scripts, JSON in a string.

Nothing is guessed: a mention is a literal reference with a tag or digest that stands apart from its
surroundings, and names a registry, or a digest, or follows a key that holds an image.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from automator.core.spelling import Spelled, is_image_key, read_reference

_COMPONENT = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
_TOKEN = re.compile(
    rf"""
    (?<![A-Za-z0-9._/@:%+~$}}\]-])
    (?: oci:// | docker:// | oci:: )?
    (?: [A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])? (?: :[0-9]+ )? / )?
    {_COMPONENT} (?: / {_COMPONENT} )*
    (?: : [A-Za-z0-9_] (?: [A-Za-z0-9._-]{{0,126}} [A-Za-z0-9_] )? )?
    (?: @sha256: [0-9a-f]{{64}} )?
    (?! [A-Za-z0-9_/@:%+~${{\[*] | [.-][A-Za-z0-9] )
    """,
    re.VERBOSE | re.ASCII,
)
_SIGN = re.compile(r":[A-Za-z0-9_]|@sha256:")
_KEY_BEFORE = re.compile(r"(?P<key>[A-Za-z0-9_.-]+)[\"']?\s*[:=]\s*[\"']?$")
_COMMENT_BEFORE = re.compile(r"(?:^|\s)(?:#|//)")
_LOOK_BACK = 500
"""Characters of its line before a reference that are looked at."""
LONGEST = 1_000_000
"""Characters of a text above which it is not searched."""


class Mention(NamedTuple):
    """A reference in a text: `text[start:end]`."""

    start: int
    end: int
    spelled: Spelled


def mentions(text: str) -> Iterator[Mention]:
    """Every reference with a version in a text, in its order."""
    if len(text) > LONGEST or _SIGN.search(text) is None:
        return
    for match in _TOKEN.finditer(text):
        token = match[0]
        if ":" not in token:
            continue
        spelled = read_reference(token)
        if spelled is None or spelled.repository is None or not (spelled.tag or spelled.digest):
            continue
        begin = max(match.start() - _LOOK_BACK, 0)
        before = text[max(text.rfind("\n", begin, match.start()) + 1, begin) : match.start()]
        commented = ("#" in before or "//" in before) and _COMMENT_BEFORE.search(before) is not None
        if not commented and (_is_certain(spelled) or _follows_image_key(before)):
            yield Mention(match.start(), match.end(), spelled)


def _is_certain(spelled: Spelled) -> bool:
    """Whether a reference cannot well be anything else: it names its registry, or a digest."""
    if spelled.digest is not None or "://" in spelled.written or spelled.written.startswith("oci::"):
        return True
    host, slash, _ = spelled.written.partition("/")
    return bool(slash) and ("." in host or ":" in host or host == "localhost")


def _follows_image_key(before: str) -> bool:
    key = _KEY_BEFORE.search(before)
    return key is not None and is_image_key(key["key"].lstrip("-").rpartition(".")[2])
