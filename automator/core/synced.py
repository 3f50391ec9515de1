"""Synced: which synchronizer applies the files of some sites, and what it says of itself."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

from automator.core.running import Sync
from automator.core.site import Site


class Source(NamedTuple):
    """The config repo as synchronizers may call it."""

    url: str
    revisions: frozenset[str] = frozenset()
    """Commits that are known to hold what the sites say now."""


class Told(NamedTuple):
    """What the synchronizer of some sites says that is not well."""

    place: str
    trouble: str | None
    is_final: bool
    """Whether it says so of what the sites say now, and of these objects: at a commit that holds it, in words
    that name one of them. One broken file fails all that is applied with it, and says nothing of an image."""


def told_of(
    sites: Iterable[Site], syncs: Sequence[Sync], source: Source, names: Iterable[str] = ()
) -> Told | None:
    """The first synchronizer that applies one of these sites, or is one, and is not well; None where all are,
    or none is known to apply them. `names`: what the objects are called where they run."""
    written = tuple(sites)
    files = tuple(site.file for site in written)
    objects = {(site.kind, site.namespace, site.name) for site in written}
    called = {site.name for site in written if site.name} | set(names)
    place = place_of(source.url)
    read = [sync for sync in syncs if _reads(sync, place, files)]
    for sync in syncs:
        is_object = any((sync.kind, space, sync.name) in objects for space in (sync.namespace, None))
        is_well = sync.healthy is not False and not sync.trouble
        if is_well or not (is_object or sync in read):
            continue
        if is_object and sync.attempted is None:  # a HelmRelease, which knows no commit: who applies it does
            is_final = any(one.revision in source.revisions for one in read)
        else:
            is_at_tip = (sync.attempted or sync.revision) in source.revisions
            is_final = is_at_tip and _names_one(sync.trouble or "", called)
        return Told(sync.place, sync.trouble, is_final and sync.healthy is False)
    return None


def _names_one(words: str, names: Iterable[str]) -> bool:
    return any(re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", words) for name in names)


def _reads(sync: Sync, place: tuple[str, str], files: tuple[str, ...]) -> bool:
    """Whether a synchronizer reads one of these files of a config repo."""
    if sync.repo is None or place_of(sync.repo) != place:
        return False
    folder = (sync.path or "").removeprefix("./").strip("/")
    return folder in ("", ".") or any(file.startswith(folder + "/") for file in files)


_DEFAULT_PORTS = {"http": 80, "https": 443, "ssh": 22, "git": 9418}
_SCP = re.compile(r"(?:[^@/]+@)?([^:/]+):(.*)", re.S)


def place_of(url: str) -> tuple[str, str]:
    """Host and path of a Git repository, equal for its names by https and ssh: without user, the scheme's
    own port and `.git`, and whatever the case, in which no server that we know has two repositories."""
    host, path = "", url
    if "://" in url:
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            return "", url
        own = port is None or port == _DEFAULT_PORTS.get(parts.scheme)
        host, path = (parts.hostname or "") + ("" if own else f":{port}"), parts.path
    elif not url.startswith(("/", ".")) and (match := _SCP.fullmatch(url)):
        host, path = match[1], match[2]
    return host.lower(), path.strip("/").removesuffix(".git").strip("/").lower()
