"""Keys: which keys stand beside one that holds a version, as `fooImage` beside `fooTag`."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

# A key that holds a version: its beginning, `image`, and the word.
_VERSION_KEY = re.compile(
    r"(?P<stem>.*?)(?P<gap>[_-]?)(?:(?P<image>[iI]mage|IMAGE)(?P<inner>[_-]?))?(?P<word>[tT]ag|TAG|[vV]ersion|VERSION)",
    re.DOTALL,
)
VERSION_ENDS = frozenset(("tag", "Tag", "TAG", "ion", "ION"))
"""Ends of such keys, three characters each: a cheap first look."""


class Beside(NamedTuple):
    """Keys that stand beside one that holds a version."""

    names: tuple[str, ...]
    registries: tuple[str, ...]
    digest: str


@lru_cache(maxsize=4096)
def beside_key(key: str) -> Beside | None:
    """What stands beside a key that holds a version: `fooImage` beside `fooTag`, `image_name` beside
    `image_tag`. None for a key that holds none."""
    if key == "tag":
        names = ("repository", "image", "imageName", "image_name", "imageRepository", "name", "hub")
        return Beside(names, ("registry", "hub"), "digest")
    if key == "version":  # says nothing of a `repository`: charts have both
        return Beside(("image", "imageName", "image_name"), ("registry",), "digest")
    match = _VERSION_KEY.fullmatch(key)
    if match is None or (match["word"].lower() == "version" and not match["image"]):
        return None
    stem: str = match["stem"]
    gap: str = match["inner"] if match["image"] else match["gap"]
    if not gap and match["word"].islower():  # `mytag`, `subversion`
        return None

    def key_of(*words: str) -> str:
        parts: list[str] = [*((stem,) if stem else ()), *words]
        if match["word"].isupper():
            return (gap or "_").join(part.upper() for part in parts)
        if gap:
            return gap.join(parts)
        return parts[0] + "".join(part[:1].upper() + part[1:] for part in parts[1:])

    keys = [key_of("image"), key_of("image", "name"), key_of("image", "repository"), key_of("repository")]
    hosts = [key_of("registry"), key_of("image", "registry"), key_of("hub")]
    digest = key_of("image", "digest") if match["image"] else key_of("digest")
    return Beside(tuple(keys), tuple(hosts), digest)
