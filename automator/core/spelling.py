"""Spelling: what the text of a value says of an image: repository, tag, digest, or a doubt.

A value is a whole reference (`ghcr.io/acme/web:1.4.2`), or the version alone (`1.4.2@sha256:…`).
"""

from __future__ import annotations

import re
from typing import NamedTuple

from automator.core.reference import DIGEST, TAG, Repository, parse_reference, value_text
from automator.errors import InvalidReference

TEMPLATE = re.compile(
    r"(?:(?<=\S)[ \t]+(?=\{\{-))?\{\{(?:(?!\{\{).)*?\}\}|\{%(?:(?!\{%).)*?%\}"
    r"|\$\{(?:[^${}]++|\$\{[^{}]*+\}|\$(?!\{))*+\}"  # `${TAG:-${OTHER}}` too; possessive: read but once
    r"|\$\([^()]*\)|\$[A-Za-z_][A-Za-z0-9_]*",
    re.DOTALL,
)
HEX64 = re.compile(r"[0-9a-f]{64}", re.ASCII)
HASHED = "@sha256"
"""Ending of a name whose `tag` is the bare hash of a digest."""
_SCHEME = re.compile(r"(?:oci|docker)://|oci::")
_IMAGE_KEY = re.compile(
    r"image|IMAGE|imageName|image_name|[A-Za-z0-9_.-]*(?:Image|[_-]image|_IMAGE)", re.ASCII
)
_MASKED = re.compile(r"(?P<name>[^@\s]+?)(?::(?P<tag>[^:/@\s]+))?(?:@(?P<digest>\S+))?")
_UNSETTLED = re.compile(r"[^\s:@{}]*\{[A-Za-z_]+\}[^\s:@{}]*")
"""A name with a part in single braces: `homeassistant/{arch}-addon`."""


class Spelled(NamedTuple):
    """What a text says of an image."""

    written: str
    repository: Repository | None
    tag: str | None
    digest: str | None
    doubt: str | None = None
    """Code of the reason for which the version cannot be read or written as it stands."""


def read_reference(text: str) -> Spelled | None:
    """A reference as it is spelled, with or without tag and digest; None where the text is none.

    A templated name gives no repository; a templated tag gives no tag and a doubt.
    """
    found = _SCHEME.match(text)
    if found is None and "://" in text:
        return None
    scheme = found[0] if found else ""
    bare = text[len(scheme) :]
    if TEMPLATE.search(bare) is None and "{" not in bare:
        try:
            reference = parse_reference(bare)
        except InvalidReference:
            return None
        written = scheme + reference.written
        if text != written + value_text(reference.tag, reference.digest, prefix=True):
            return None
        return Spelled(written, reference.repository, reference.tag, reference.digest)
    return _read_templated(scheme, bare)


def _read_templated(scheme: str, bare: str) -> Spelled | None:
    match = _MASKED.fullmatch(TEMPLATE.sub(lambda found: "x" * len(found[0]), bare))
    if match is None:
        return None
    name = bare[: match.end("name")]
    tag = bare[match.start("tag") : match.end("tag")] if match["tag"] else None
    digest = bare[match.start("digest") :] if match["digest"] else None
    if TEMPLATE.search(name) is None and "{" in name and _UNSETTLED.fullmatch(name) is None:
        return None
    if (tag is None or TAG.fullmatch(tag)) and (digest is None or DIGEST.fullmatch(digest)):
        return Spelled(scheme + name, repository_of(name), tag, digest)
    return Spelled(scheme + name, repository_of(name), None, None, "site/templated")


def read_version(text: str) -> Spelled | None:
    """`1.4.3`, `1.4.3@sha256:…` or `sha256:…`, as a tag or digest key holds it."""
    if TEMPLATE.search(text):
        return Spelled("", None, None, None, "site/templated")
    if DIGEST.fullmatch(text):
        return Spelled("", None, None, text)
    tag, at, digest = text.partition("@")
    if TAG.fullmatch(tag) is None or (at and DIGEST.fullmatch(digest) is None):
        return None
    return Spelled("", None, tag, digest or None)


def repository_of(text: str) -> Repository | None:
    """The repository that a text without tag and digest names, whatever its scheme, or None."""
    try:
        reference = parse_reference(_SCHEME.sub("", text, count=1))
    except InvalidReference:
        return None
    return reference.repository if reference.tag is None and reference.digest is None else None


def is_versioned(text: str) -> bool:
    """Whether a text is a reference that says which version, be it by a template."""
    spelled = read_reference(text)
    return spelled is not None and (spelled.tag, spelled.digest, spelled.doubt) != (None, None, None)


def is_image_key(key: str) -> bool:
    """Whether a key by its name alone holds an image reference."""
    return _IMAGE_KEY.fullmatch(key) is not None
