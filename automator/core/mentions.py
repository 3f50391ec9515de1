"""Mentions: references inside longer texts: arguments, environment values, scripts, JSON in a string.

Nothing is guessed: a mention is a literal reference with a tag or digest that stands apart from its
surroundings, and names a registry, or a digest, or follows a key that holds an image.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from automator.core.spelling import Spelled, is_image_key, read_reference, read_version, repository_of

_COMPONENT = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
_TOKEN = re.compile(
    rf"""
    (?<![A-Za-z0-9._/@:%+~$}}\]-])
    (?: oci:// | docker:// | oci:: )?
    (?: [A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])? (?: :[0-9]+ )? / )?
    {_COMPONENT} (?: / {_COMPONENT} )*
    (?: : [A-Za-z0-9_] (?: [A-Za-z0-9._-]{{0,126}} [A-Za-z0-9_-] )? )?
    (?: @sha256: [0-9a-f]{{64}} )?
    (?= \Z | [\s"'`,;)\]}}&] | </ | \\["n\r\n] | [.:](?:\s|\Z) )
    (?! \s*\{{\{{- )
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


def mentions(text: str, *, keyed: bool = False) -> Iterator[Mention]:
    """Every reference with a version in a text, in its order; `keyed`: only those behind an image's key."""
    if len(text) > LONGEST or _SIGN.search(text) is None:
        return
    for match in _TOKEN.finditer(text):
        token = match[0]
        if ":" not in token:
            continue
        begin = max(match.start() - _LOOK_BACK, 0)
        before = text[max(text.rfind("\n", begin, match.start()) + 1, begin) : match.start()]
        commented = ("#" in before or "//" in before) and _COMMENT_BEFORE.search(before) is not None
        if commented or not ((_is_certain(token) and not keyed) or _follows_image_key(before)):
            continue
        spelled = read_reference(token)
        if spelled is not None and spelled.repository is not None and (spelled.tag or spelled.digest):
            yield Mention(match.start(), match.end(), spelled)


_REPOSITORY_LINE = (
    r"(?P<indent>[ ]*)(?:repository|image)[ ]*:[ ]+(?P<quote>[\"']?)(?P<name>[^\s\"'{}$#]+)(?P=quote)"
)
_TAG_LINE = r"tag[ ]*:[ ]+[\"']?(?P<tag>[^\s\"'{}$#]+)[\"']?"
_REST = r"[ \t]*(?:\#[^\r\n]*)?\r?\n"
_PAIR = re.compile(rf"^{_REPOSITORY_LINE}{_REST}(?P=indent){_TAG_LINE}[ \t]*(?:\#|\r?$)", re.MULTILINE)

_FILLED_IN = re.compile(
    r"^[ ]*(?:-[ ]+)?image[ ]*:[ ]+[\"']?(?P<reference>[^\s\"'#{}]+\{\{[^\r\n]*)", re.MULTILINE
)
_NAMES_MORE = re.compile(r"[ -]*(?:registry|hub)[ ]*:")


def version_pairs(text: str) -> Iterator[Mention]:
    """Tags that stand on the line below a repository, both literal and equally far in (the place is the
    tag's); and images whose version a template fills in, with that doubt."""
    for match in _FILLED_IN.finditer(text):
        reference = match["reference"].rstrip(" \t\"'")
        spelled = read_reference(reference)
        if spelled is not None and spelled.repository is not None and spelled.doubt is not None:
            start = match.start("reference")
            yield Mention(start, start + len(reference), spelled)
    for match in _PAIR.finditer(text):
        above = text[text.rfind("\n", 0, max(match.start() - 1, 0)) + 1 : match.start()]
        if _NAMES_MORE.match(above):
            continue
        repository = repository_of(match["name"])
        version = read_version(match["tag"])
        if repository is not None and version is not None and version.doubt is None:
            spelled = version._replace(written=match["name"], repository=repository)
            yield Mention(*match.span("tag"), spelled)


def _is_certain(token: str) -> bool:
    """Whether a reference cannot well be anything else: it names its registry, or a digest."""
    if "@sha256:" in token or "//" in token or token.startswith("oci::"):
        return True
    host, slash, _ = token.partition("/")
    return bool(slash) and ("." in host or ":" in host or host == "localhost")


def _follows_image_key(before: str) -> bool:
    key = _KEY_BEFORE.search(before)
    return key is not None and is_image_key(key["key"].lstrip("-").rpartition(".")[2])
