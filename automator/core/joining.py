"""Joining: sites whose image another file tells, put together with what that file says.

A HelmRelease names a HelmRepository anywhere in the config repo, an `.env` sets a variable of the Compose
file beside it. A file that changes costs itself and the files that await what it gives.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from automator.core.found import Awaits
from automator.core.site import Site
from automator.core.sources import HELM_REPOSITORY, UNSET, Source, repositories
from automator.core.spelling import repository_of
from automator.reasons import Reason, reason

_Key = tuple[str, str, str]
"""Kind, folder and name under which a source is given and awaited: variables count in their own folder,
resources in the whole config repo."""

_TOLD = 3
"""Answers that a reason lists."""


class Joiner:
    """Sites and sources kept up to date file by file."""

    def __init__(self) -> None:
        self._sites: dict[str, tuple[Site, ...]] = {}
        """File -> its sites as located, of files in which one awaits something."""
        self._sources: dict[str, tuple[Source, ...]] = {}
        self._given: dict[_Key, set[str]] = {}
        """Key -> the files that give it."""
        self._awaited: dict[_Key, set[str]] = {}
        """Key -> the files that await it."""
        self._stale: set[str] = set()
        self._before: dict[str, frozenset[Source]] = {}
        """What files gave before those changes that are not settled yet."""
        self.news: int = 0
        """Counts how often what files give was another than before, as of the last `settle`."""

    def put(self, path: str, sites: Sequence[Site], sources: Sequence[Source]) -> None:
        """Say what a file holds and gives now, instead of before; nothing of either where it is gone."""
        old, new = self._sources.get(path, ()), tuple(sources)
        if old != new:
            self._before.setdefault(path, _said(old))
            for key in {_given_key(path, source) for source in old}:
                _discard(self._given, key, path)
            for key in {_given_key(path, source) for source in new}:
                self._given.setdefault(key, set()).add(path)
            for key in {_given_key(path, source) for source in (*old, *new)}:
                self._stale |= self._awaited.get(key, set())
            self._sources.pop(path, None)
            if new:
                self._sources[path] = new
        for key in _awaited_keys(path, self._sites.pop(path, ())):
            _discard(self._awaited, key, path)
        keys = _awaited_keys(path, sites)
        for key in keys:
            self._awaited.setdefault(key, set()).add(path)
        if keys:
            self._sites[path] = tuple(sites)
            self._stale.add(path)

    def sources(self, path: str) -> tuple[Source, ...]:
        """What a file gives."""
        return self._sources.get(path, ())

    def settle(self) -> dict[str, tuple[Site, ...]]:
        """Files with awaiting sites that may hold others than when this was last asked -> their sites."""
        settled = {path: self.join(path, self._sites[path]) for path in self._stale if path in self._sites}
        self._stale.clear()
        self.news += any(said != _said(self.sources(path)) for path, said in self._before.items())
        self._before.clear()
        return settled

    def awaits(self, path: str) -> bool:
        """Whether a file has a site that awaits what another one gives."""
        return path in self._sites

    def join(self, path: str, sites: Sequence[Site], *, past: bool = False) -> tuple[Site, ...]:
        """Sites of a file with what the present sources say of them.

        A site of which nothing is known is left out, unless a policy names its field, or the version of
        the file is a `past` one: what told its image then may have been moved or renamed since. Where
        sources disagree, the site is held, once for each image that it may be.
        """
        if all(site.awaits is None for site in sites):
            return tuple(sites)
        if past:
            every = ((site, tuple(self._joined(path, site))) for site in sites)
            return tuple(
                one for site, found in every for one in found or ((site,) if site.repository is None else ())
            )
        return tuple(joined for site in sites for joined in self._joined(path, site))

    def _joined(self, path: str, site: Site) -> Iterator[Site]:
        awaits = site.awaits
        if awaits is None:
            yield site
            return
        given = self._sources_of(path, awaits)
        if awaits.kind == UNSET:
            yield from _default(path, site, given)
            return
        answers = repositories(awaits, given)
        if len(answers) > 1:
            why = _differ(site, awaits, answers)
            for answer in filter(None, answers):
                yield replace(_of(site, answer), held=site.held or why)
        elif answers and answers[0]:
            yield _of(site, answers[0])
        elif site.selectors or (not answers and site.repository is not None):
            yield site

    def _sources_of(self, path: str, awaits: Awaits) -> list[Source]:
        key = _key(path, awaits.kind, awaits.name)
        return [
            source
            for file in sorted(self._given.get(key, ()))
            for source in self._sources[file]
            if _given_key(file, source) == key
        ]


def _said(sources: Iterable[Source]) -> frozenset[Source]:
    """What sources say, wherever in the file."""
    return frozenset(source._replace(line=0) for source in sources)


def _key(path: str, kind: str, name: str) -> _Key:
    return kind, "" if kind == HELM_REPOSITORY else path.rpartition("/")[0], name


def _given_key(path: str, source: Source) -> _Key:
    # Compose reads `.env` by itself, other files of variables only when told to.
    if source.kind == UNSET and path.rpartition("/")[2] != ".env":
        return "", "", ""
    return _key(path, source.kind, source.name)


def _awaited_keys(path: str, sites: Iterable[Site]) -> set[_Key]:
    return {_key(path, site.awaits.kind, site.awaits.name) for site in sites if site.awaits is not None}


def _discard(kept: dict[_Key, set[str]], key: _Key, path: str) -> None:
    paths = kept.get(key, set())
    paths.discard(path)
    if not paths:
        kept.pop(key, None)


def _of(site: Site, written: str) -> Site:
    return replace(site, repository=repository_of(written), written=written)


def _default(path: str, site: Site, settings: Sequence[Source]) -> Iterator[Site]:
    """A default of a Compose file: in force where no `.env` sets its variable. Where one does, the site is
    the variable's line, if that can be one; a digest of its own beside the variable would stay behind."""
    if not settings:
        yield site
    elif len(site.parts) > 1 or any(not setting.value for setting in settings):
        folder = path.rpartition("/")[0]
        file = f"{folder}/.env" if folder else ".env"
        why = reason("site/overridden", field=site.field, line=site.line, name=settings[0].name, file=file)
        yield replace(site, held=site.held or why)
    elif site.selectors:
        yield site


def _differ(site: Site, awaits: Awaits, answers: Sequence[str]) -> Reason:
    told = ", ".join(answer or "something else" for answer in answers[:_TOLD])
    more = ", …" if len(answers) > _TOLD else ""
    return reason(
        "site/sources-differ", field=site.field, line=site.line, name=awaits.name, answers=told + more
    )
