"""Manifests: what the JSON of a registry says, as plain values.

What belongs here: reading (never fetching) image manifests, indexes, image configs and tag lists,
each of them untrusted. Formats: OCI image spec (manifest, image-index, config, annotations), Docker
image manifest v2 schema 2, OCI distribution spec (tags/list).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, NamedTuple

from automator.core.reference import DIGEST, TAG
from automator.reasons import one_line

_INDEXES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_IMAGES = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
INDEXES = frozenset(_INDEXES)
MANIFESTS = frozenset(_INDEXES + _IMAGES)
ACCEPT = ", ".join(_INDEXES + _IMAGES)
"""All four, always: without one of them a registry may answer with another manifest's digest."""

IMAGE_CONFIGS = frozenset(
    {"application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"}
)
CREATED = "org.opencontainers.image.created"
SOURCE = "org.opencontainers.image.source"
REVISION = "org.opencontainers.image.revision"
LABEL_READ = 2000
"""Characters of a label that are looked at; one line of them is kept."""
# Reproducible builds set 1970-01-01, 1980-01-01 (zip's first day, some a second later) or Go's zero time.
FIRST_REAL_DAY = datetime(1980, 1, 2, tzinfo=UTC)


class Malformed(Exception):
    """JSON of another shape than the specification has."""


@dataclass(frozen=True, slots=True)
class Descriptions:
    """What annotations or labels say of an image."""

    built: datetime | None = None
    source: str | None = None
    revision: str | None = None
    platforms: tuple[str, ...] | None = None
    """`linux/amd64` …, sorted; None where it does not say."""

    def filled_from(self, other: Descriptions) -> Descriptions:
        return Descriptions(
            self.built or other.built,
            self.source or other.source,
            self.revision or other.revision,
            other.platforms if self.platforms is None else self.platforms,
        )


@dataclass(frozen=True, slots=True)
class Manifest:
    """An image manifest, an index, or the manifest of some other artifact."""

    described: Descriptions
    children: tuple[str, ...] = ()
    """Of an index: digests of images, the one to ask about first; attestations left out."""
    config: str | None = None
    """Of an image: its config's digest."""


def read_json(body: bytes) -> Any:
    """Raises ValueError for anything that is not JSON, hostile nesting included."""
    try:
        return json.loads(body)
    except RecursionError as e:
        raise ValueError("nested too deeply") from e


class Told(NamedTuple):
    """What a tag list itself says of a tag: which image it is and when that was built."""

    digest: str
    built: datetime


@dataclass(frozen=True, slots=True)
class TagPage:
    """One page of a tag list."""

    tags: list[str]
    """Those outside the OCI grammar dropped."""
    entries: int
    """How many there were, the dropped ones included."""
    told: Mapping[str, Told]
    """By tag, where the registry says so: Google's."""


def read_tags(page: Any) -> TagPage:
    """The tags of one page. Raises Malformed."""
    if not isinstance(page, dict) or "tags" not in page:
        raise Malformed("no `tags` in it")
    tags = page["tags"]
    if tags is None:  # old registries, for an empty repository
        tags = []
    if not isinstance(tags, list):
        raise Malformed("`tags` is no list")
    good = [tag for tag in tags if isinstance(tag, str) and TAG.fullmatch(tag)]
    return TagPage(good, len(tags), _told(page.get("manifest")))


def _told(listed: Any) -> dict[str, Told]:
    """Google's `manifest`: digest -> `tag` and `timeCreatedMs`, which is when the image was built."""
    told: dict[str, Told] = {}
    for digest, about in listed.items() if isinstance(listed, dict) else ():
        if not DIGEST.fullmatch(digest) or not isinstance(about, dict):
            continue
        built, tags = _milliseconds(about.get("timeCreatedMs")), about.get("tag")
        if built is not None and isinstance(tags, list):
            told.update({tag: Told(digest, built) for tag in tags if isinstance(tag, str)})
    return told


def read_manifest(manifest: Any, content_type: str = "") -> Manifest:
    """What a manifest says that came with `content_type`. Raises Malformed."""
    if not isinstance(manifest, dict):
        raise Malformed("it is no JSON object")
    if manifest.get("schemaVersion") == 1:
        raise Malformed("it is of schema 1, which no longer counts")
    _refuse_doubtful(manifest, content_type)
    described = _described(manifest.get("annotations"))
    if isinstance(manifest.get("manifests"), list):
        children = _children(manifest["manifests"])
        told = sorted({child.platform for child in children if child.platform is not None})
        described = replace(described, platforms=tuple(told) or None)
        return Manifest(described, children=tuple(child.digest for child in children))
    config = manifest.get("config")
    if not isinstance(config, dict):
        raise Malformed("neither `manifests` nor `config` in it")
    digest = config.get("digest")
    kind = config.get("mediaType")
    if manifest.get("artifactType") or not isinstance(kind, str) or kind not in IMAGE_CONFIGS:
        return Manifest(described)
    if not isinstance(digest, str) or not DIGEST.fullmatch(digest):
        raise Malformed("its config has no digest")
    return Manifest(described, config=digest)


def _refuse_doubtful(manifest: Mapping[Any, Any], content_type: str) -> None:
    """What could be read as two different things is neither (CVE-2021-41190)."""
    if "manifests" in manifest and ("config" in manifest or "layers" in manifest):
        raise Malformed("it is an index and an image at the same time")
    said = manifest.get("mediaType")
    if said is None:
        said = content_type
    elif not isinstance(said, str):
        raise Malformed("its `mediaType` is no text")
    elif content_type in MANIFESTS and said != content_type:
        raise Malformed(f"it came as {content_type} and calls itself {one_line(said, 100)}")
    if said in INDEXES and "manifests" not in manifest:
        raise Malformed("it calls itself an index and has no `manifests`")
    if said in MANIFESTS - INDEXES and "manifests" in manifest:
        raise Malformed("it calls itself an image and is an index")


def read_config(config: Any) -> Descriptions:
    """What an image config says: `created`, and the labels. Raises Malformed."""
    if not isinstance(config, dict):
        raise Malformed("it is no JSON object")
    inner = config.get("config")
    labels = _described(inner.get("Labels") if isinstance(inner, dict) else None)
    platform = _platform(config)
    platforms = None if platform is None else (platform,)
    return Descriptions(_moment(config.get("created")), labels.source, labels.revision, platforms)


def digest_of(body: bytes, like: str | None = None) -> str:
    """The digest of raw bytes, by the algorithm of digest `like` (else sha256)."""
    algorithm = "sha256" if like is None else like.partition(":")[0]
    return f"{algorithm}:{hashlib.new(algorithm, body).hexdigest()}"


class _Child(NamedTuple):
    digest: str
    platform: str | None


_PLATFORM_PART = re.compile(r"[a-z0-9._-]{1,40}", re.ASCII)


def _platform(described: Mapping[Any, Any]) -> str | None:
    """`linux/arm/v7`, as an entry of an index or an image config says it; None where it does not."""
    variant = described.get("variant")
    parts = [described.get("os"), described.get("architecture"), *([variant] if variant else ())]
    if not all(isinstance(part, str) and _PLATFORM_PART.fullmatch(part) for part in parts):
        return None
    return None if parts[0] == "unknown" else "/".join(parts)


def _children(entries: list[Any]) -> list[_Child]:
    """An index's images, linux/amd64 first, else in the index's order."""
    images = []
    for entry in entries:
        if not isinstance(entry, dict):
            raise Malformed("an entry of the index is no JSON object")
        digest, platform, notes = entry.get("digest"), entry.get("platform"), entry.get("annotations")
        if not isinstance(digest, str) or not DIGEST.fullmatch(digest):
            raise Malformed("an entry of the index has no digest")
        platform = platform if isinstance(platform, dict) else {}
        notes = notes if isinstance(notes, dict) else {}
        if platform.get("os") == "unknown" or "vnd.docker.reference.type" in notes:
            continue  # BuildKit's attestations
        usual = (platform.get("os"), platform.get("architecture")) == ("linux", "amd64")
        images.append((not usual, _Child(digest, _platform(platform))))
    return [child for _, child in sorted(images, key=lambda i: i[0])]


def _described(annotations: object) -> Descriptions:
    if not isinstance(annotations, dict):
        return Descriptions()
    return Descriptions(
        _moment(annotations.get(CREATED)), _text(annotations, SOURCE), _text(annotations, REVISION)
    )


def _text(labels: Mapping[Any, Any], key: str) -> str | None:
    value = labels.get(key)
    if not isinstance(value, str) or not value:
        return None
    # JSON can write halves of surrogate pairs, which no file and no database takes.
    return one_line(value[:LABEL_READ].encode("utf-8", "replace").decode()) or None


def _milliseconds(text: object) -> datetime | None:
    """Milliseconds since 1970, written as a string; None for what is no time, or says "not known"."""
    if not isinstance(text, str | int) or isinstance(text, bool):
        return None
    try:
        moment = datetime.fromtimestamp(int(text) / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return moment if moment >= FIRST_REAL_DAY else None


def _moment(text: object) -> datetime | None:
    """RFC 3339 as UTC; None for what is no time, or a time that only says "not known"."""
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return moment if moment >= FIRST_REAL_DAY else None
