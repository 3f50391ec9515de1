"""Names of images as the OCI grammar has them, and what a registry says about them.

Grammar: distribution/reference (registry[:port]/path[:tag][@digest]); Docker's short names are
completed (`nginx` = `docker.io/library/nginx`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NoReturn

from automator.errors import InvalidReference
from automator.reasons import reason

DEFAULT_REGISTRY = "docker.io"
DOCKER_HUB_HOSTS = frozenset(
    {DEFAULT_REGISTRY, "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com", "hub.docker.com"}
)
"""Hosts that are Docker Hub, by whichever name somebody knows it; images are called by the first."""
MAX_PATH = 255
TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", re.ASCII)
DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128}", re.ASCII)
_DIGEST_LENGTHS = {"sha256": 64, "sha384": 96, "sha512": 128}

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_DOMAIN = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[A-Fa-f0-9:]+\])(?::[0-9]+)?", re.ASCII)
_COMPONENT = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*", re.ASCII)
_IDENTIFIER = re.compile(r"[0-9a-f]{64}", re.ASCII)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


@dataclass(frozen=True, slots=True, order=True)
class Repository:
    """An image repository: `ghcr.io/acme/web`."""

    registry: str
    """Host, with `:port` where written; lower case."""
    path: str

    def __str__(self) -> str:
        return f"{self.registry}/{self.path}"


@dataclass(frozen=True, slots=True)
class Reference:
    """A repository with a tag, a digest, both or neither."""

    repository: Repository
    tag: str | None
    digest: str | None
    written: str
    """The repository as the author spelled it (`nginx`), so that an edit can keep it."""

    def __str__(self) -> str:
        return str(self.repository) + value_text(self.tag, self.digest, prefix=True)

    def at(self, tag: str | None, digest: str | None) -> Reference:
        return replace(self, tag=tag, digest=digest)


@dataclass(frozen=True, slots=True)
class TagList:
    """What a registry said a repository holds: complete, untouched, unsorted."""

    repository: Repository
    tags: tuple[str, ...]
    """Only tags inside the OCI grammar; others are dropped at the edge."""
    observed_at: datetime
    revision: str
    """Equal revisions mean equal tags; a hash of the answer."""


@dataclass(frozen=True, slots=True)
class Image:
    """What a registry said about one tag."""

    digest: str
    """What the registry serves for the tag: the index, if there is one."""
    built: datetime | None = None
    """UTC; None where the image does not say."""
    source: str | None = None
    """Label `org.opencontainers.image.source`."""
    revision: str | None = None
    """Label `org.opencontainers.image.revision`."""
    platforms: tuple[str, ...] | None = None
    """`linux/amd64`, `linux/arm/v7` …, sorted; None where nobody looked, empty where nothing is told."""


def value_text(tag: str | None, digest: str | None, *, prefix: bool = False) -> str:
    """`1.4.3@sha256:…`, the way versions are written in trailers; with `prefix` as a suffix of a
    repository (`:1.4.3@sha256:…`)."""
    left = "" if tag is None else (f":{tag}" if prefix else tag)
    return left if digest is None else f"{left}@{digest}"


def short_text(value: str | None) -> str | None:
    """A version as people read it: the tag, or the digest's first 12 digits where there is no tag."""
    if value is None:
        return None
    tag, _, digest = value.partition("@")
    return tag or f"{digest[:19]}" or None


def parse_reference(text: str) -> Reference:
    """Parse any usual spelling of an image reference.

    As distribution/reference reads it: the text before the first `/` is a registry if it is
    `localhost`, holds a `.` or `:`, or an upper-case letter; otherwise the image is one of docker.io,
    whose one-part names belong to `library/`. No tag is ever added.

    Raises InvalidReference (`reference/invalid`).
    """
    rest, at, digest = text.partition("@")
    if at and DIGEST.fullmatch(digest) is None:
        _refuse(text, _wrong_digest(digest))
    name, colon, tag = rest.rpartition(":")
    if not colon or "/" in tag:
        name, tag = rest, ""
    elif TAG.fullmatch(tag) is None:
        _refuse(text, _wrong_tag(text, tag))
    repository = _repository(text, name)
    if _IDENTIFIER.fullmatch(text):
        _refuse(text, "64 hexadecimal digits are an image's identifier, not a name")
    return Reference(repository, tag or None, digest or None, name)


def parse_repository(text: str) -> Repository:
    """Parse a reference that must carry neither tag nor digest.

    Raises InvalidReference (`reference/invalid`, `reference/not-a-repository`).
    """
    found = parse_reference(text)
    version = value_text(found.tag, found.digest, prefix=True)
    if version:
        raise InvalidReference(reason("reference/not-a-repository", text=text, version=version))
    return found.repository


def repository_at(host: str, path: str) -> Repository:
    """What `host` serves at `path`, as images are called: the hosts of Docker Hub are one, and its
    one-part names belong to `library/`. Both are in the grammar, and lower case."""
    if host not in DOCKER_HUB_HOSTS:
        return Repository(host, path)
    return Repository(DEFAULT_REGISTRY, path if "/" in path else f"library/{path}")


def _repository(text: str, name: str) -> Repository:
    domain, path = _split(name)
    if _PATH.fullmatch(path) is None:
        _refuse(text, _wrong_path(text, path))
    if domain is None:
        registry = DEFAULT_REGISTRY
    elif _DOMAIN.fullmatch(domain) is None:
        _refuse(text, f'"{domain}" is no registry host')
    else:
        registry = DEFAULT_REGISTRY if domain.lower() == "index.docker.io" else domain.lower()
    if registry == DEFAULT_REGISTRY and "/" not in path:
        path = f"library/{path}"
    # Counted with what was completed, and without the registry, as registries count.
    if len(path) > MAX_PATH:
        _refuse(text, f"its path has {len(path)} characters, and {MAX_PATH} are allowed")
    return Repository(registry, path)


def _split(name: str) -> tuple[str | None, str]:
    """The registry, where one is written, and the path."""
    first, slash, rest = name.partition("/")
    is_registry = first == "localhost" or "." in first or ":" in first or first != first.lower()
    return (first, rest) if slash and is_registry else (None, name)


def _wrong_path(text: str, path: str) -> str:
    if not path:
        return "a name is missing"
    if text != text.strip():
        return "there is white space around it"
    if "{{" in text or "${" in text:
        return "it is a template"
    if scheme := _SCHEME.match(text):
        return f"it begins with a scheme; leave out `{scheme[0]}`"
    if _PATH.fullmatch(path.lower()):
        return f'a repository is written in lower case: "{path.lower()}"'
    return f'"{path}" is no repository path'


def _wrong_tag(text: str, tag: str) -> str:
    if _SCHEME.match(text):
        return "it begins with a scheme, and images have none"
    if not tag:
        return "the tag after the colon is missing"
    if len(tag) > 128 and TAG.match(tag):
        return f"its tag has {len(tag)} characters, and 128 are allowed"
    return f'"{tag}" is no tag'


def _wrong_digest(digest: str) -> str:
    algorithm, _, value = digest.partition(":")
    if algorithm not in _DIGEST_LENGTHS:
        return f'"{algorithm}" is no digest algorithm in use (sha256, sha512)'
    return f'a {algorithm} digest has {_DIGEST_LENGTHS[algorithm]} digits 0-9 and a-f, not "{value}"'


def _refuse(text: str, problem: str) -> NoReturn:
    raise InvalidReference(reason("reference/invalid", text=text, problem=problem))
