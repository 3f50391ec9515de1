"""Reading bodies of unknown senders: JSON within bounds, and names that fit the grammar or are dropped."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable, Sequence

from automator.core.reference import (
    DEFAULT_REGISTRY,
    DOCKER_HUB_HOSTS,
    TAG,
    Repository,
    parse_reference,
    parse_repository,
    repository_at,
)
from automator.edges.webhook.event import Found, GitPush, MalformedBody, Push, Word
from automator.errors import InvalidReference

_SHA256 = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}", re.ASCII)
_NULL_COMMIT = re.compile(r"0+", re.ASCII)
_LONGEST_NAME = 2048


def parse(data: bytes | str) -> object:
    """The JSON value of `data`. Raises MalformedBody, also for nesting too deep to read."""
    try:
        # NaN and Infinity are no JSON; nothing here computes with numbers.
        return json.loads(data, parse_constant=lambda _: None)
    except (ValueError, RecursionError) as error:
        raise MalformedBody from error


def parse_base64(text: str) -> object:
    """The JSON value in base64 `text`. Raises MalformedBody."""
    try:
        return parse(base64.b64decode(text, validate=True))
    except ValueError as error:
        raise MalformedBody from error


def dig(value: object, *path: str) -> object:
    """What stands at `path` of nested objects, None where the path ends early."""
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def text(value: object, *path: str) -> str | None:
    """The text at `path`; None where there is none, or an empty one."""
    found = dig(value, *path)
    return found if isinstance(found, str) and found else None


def needed_text(value: object, *path: str) -> str:
    """The text at `path`. Raises MalformedBody where there is none."""
    found = text(value, *path)
    if found is None:
        raise MalformedBody
    return found


def needed_object(value: object, *path: str) -> dict[str, object]:
    """The object at `path`. Raises MalformedBody where there is none."""
    found = dig(value, *path)
    if not isinstance(found, dict):
        raise MalformedBody
    return found


def needed_list(value: object, *path: str) -> list[object]:
    """The list at `path`. Raises MalformedBody where there is none."""
    found = dig(value, *path)
    if not isinstance(found, list):
        raise MalformedBody
    return found


def host_of(name: str | None) -> str | None:
    """`registry.example.com:5000` of a URL, or of an image's name without a scheme."""
    if name is None:
        return None
    return name.partition("://")[2].partition("/")[0] if "://" in name else name.partition("/")[0]


def push(host: str | None, path: str, tag: str | None = None, digest: str | None = None) -> Push | None:
    """The push of `host`/`path`; None for names outside the grammar of references.

    `host` may be a URL, or any name of Docker Hub. Raises MalformedBody where no host is known. A tag or
    digest outside the grammar is left out.
    """
    registry = _called((host_of(host) or "").lower())
    if not registry:
        raise MalformedBody
    try:
        found = parse_repository(f"{registry}/{path.lower()}")
    except InvalidReference:
        return None
    # A first part that cannot be a host (`registry`) is read as a path of Docker Hub.
    return pushed(found, tag, digest) if found.registry == registry else None


def push_of_reference(name: str) -> Push | None:
    """The push that a whole reference (`ghcr.io/acme/web:1.4.3@sha256:…`) names; None outside the grammar."""
    try:
        found = parse_reference(name)
    except InvalidReference:
        return None
    return pushed(found.repository, found.tag, found.digest)


def _called(host: str) -> str:
    """`host` as images are called by it: Docker Hub has several names."""
    return DEFAULT_REGISTRY if host in DOCKER_HUB_HOSTS else host


def pushed(repository: Repository, tag: str | None, digest: str | None) -> Push:
    """A push with what is usable of `tag` and `digest`."""
    return Push(
        repository_at(repository.registry, repository.path),
        tag if tag is not None and TAG.fullmatch(tag) else None,
        digest if digest is not None and _SHA256.fullmatch(digest) else None,
    )


def images(pushes: Sequence[Push | None], delivery: str | None = None) -> Found:
    """What to say of the pushes of an event, of which some may have had unusable names."""
    usable = tuple(one for one in pushes if one is not None)
    if usable:
        return Found(Word.PUSHED, usable, delivery=delivery)
    return Found(Word.UNUSABLE_NAME if pushes else Word.NOT_A_PUSH, delivery=delivery)


def gather(
    entries: Iterable[object], read: Callable[[object], Push | Word | None], delivery: str | None = None
) -> Found:
    """What to say of an event with several entries.

    `read` gives the push of an entry, None for a name that is not usable, and a word for what is no
    push. One that it cannot read (MalformedBody) costs no other: only where none is usable is the
    whole body refused. Raises MalformedBody then.
    """
    pushes: list[Push] = []
    word, malformed = Word.NOT_A_PUSH, False
    for entry in entries:
        try:
            found = read(entry)
        except MalformedBody:
            malformed = True
            continue
        if isinstance(found, Push):
            pushes.append(found)
        elif word is not Word.UNUSABLE_NAME:
            word = Word.UNUSABLE_NAME if found is None else found
    if malformed and not pushes:
        raise MalformedBody
    return Found(Word.PUSHED if pushes else word, tuple(pushes), delivery=delivery)


def git_push(urls: Sequence[object], ref: object, commit: object) -> GitPush | None:
    """The move of `ref`; None where it was deleted. Raises MalformedBody without a URL or a ref."""
    names = tuple(one for one in urls if isinstance(one, str) and _is_name(one))
    if not names or not isinstance(ref, str) or not _is_name(ref):
        raise MalformedBody
    if isinstance(commit, str) and _NULL_COMMIT.fullmatch(commit):
        return None
    return GitPush(names, ref, commit if isinstance(commit, str) and _COMMIT.fullmatch(commit) else None)


def git_moves(moves: Sequence[GitPush | None]) -> Found:
    """What to say of the refs of an event, None for those that are gone."""
    left = tuple(one for one in moves if one is not None)
    if left:
        return Found(Word.GIT_PUSHED, git_pushes=left)
    return Found(Word.REF_DELETED if moves else Word.NOT_A_PUSH)


def _is_name(found: str) -> bool:
    return 0 < len(found) <= _LONGEST_NAME and found.isprintable() and " " not in found
