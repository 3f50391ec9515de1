"""Facts: fetches just what a decision lacks, and remembers it for the rest of the cycle."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from automator.core.decide import Facts, Need, SiteKey, Unavailable, site_key
from automator.core.history import FileVersion, SiteHistory, enough, site_history
from automator.core.reference import Image, Repository
from automator.core.site import Site
from automator.cycle.index import Index
from automator.cycle.observe import Observer
from automator.cycle.reach import Reach
from automator.edges.checkout import Checkout, FileLog
from automator.errors import CheckoutError
from automator.reasons import reason

CHANGES_READ = 200
"""Changes of a file that are read at most (DESIGN section 8)."""


@dataclass
class FactFinder:
    """Fetches the facts that decisions name: from the registry, the store, or history."""

    checkout: Checkout
    index: Index
    observer: Observer
    reach: Reach
    _images: dict[Repository, dict[str, Image | Unavailable]] = field(default_factory=dict)
    _looks: dict[Repository, dict[str, Image | Unavailable]] = field(default_factory=dict)
    _files: dict[str, _FileHistory] = field(default_factory=dict)
    _ancestry: dict[tuple[str, str], bool] = field(default_factory=dict)
    _fetch_failed: Unavailable | None = None

    def begin(self) -> None:
        """A cycle begins: what registries serve may have changed."""
        self._images.clear()
        self._looks.clear()
        self._fetch_failed = None

    def known(self, repository: Repository, sites: Sequence[Site]) -> Facts:
        """What this cycle knows already about a workload's tags and sites."""
        looks = self._looks.get(repository, {})
        histories: dict[SiteKey, SiteHistory | Unavailable] = {}
        for site in sites:
            history = self._known_history(site)
            if history is not None:
                histories[site_key(site)] = history
        built = {tag: look.built if isinstance(look, Image) else look for tag, look in looks.items()}
        return Facts(built, self._images.get(repository, {}), histories)

    def look_up(self, needs: Iterable[tuple[Repository, Need]]) -> None:
        """Ask registries for what is needed, all at once; what cannot be had becomes a fact too."""
        looks: dict[tuple[Repository, str], None] = {}
        images: dict[tuple[Repository, str], None] = {}
        for repository, need in needs:
            looks.update(dict.fromkeys((repository, tag) for tag in need.built))
            images.update(dict.fromkeys((repository, tag) for tag in need.images))
        for (repository, tag), answer in self.observer.first_looks(list(looks)).items():
            self._looks.setdefault(repository, {})[tag] = answer
        for (repository, tag), answer in self.observer.images(list(images)).items():
            self._images.setdefault(repository, {})[tag] = answer

    def must_fetch_history(self, sites: Sequence[Site]) -> bool:
        """Whether telling these sites' history takes more commits than the clone has."""
        self._update({site.file for site in sites})
        return bool(self._lacking(sites)) and self.reach.can_grow()

    # -- history ---------------------------------------------------------------------------

    def read_histories(self, sites: Sequence[Site]) -> None:
        """Read what is needed of the sites' history, fetching commits only as far as it takes."""
        self._update({site.file for site in sites})
        lacking = self._lacking(sites)
        while lacking and self.reach.can_grow():
            try:
                self.reach.grow()
            except CheckoutError as error:
                why = reason("history/unreadable", problem=error.reason.sentence)
                self._fetch_failed = Unavailable(why, waiting=True)
                return
            for site in lacking:
                self._files.pop(site.file, None)
            self._update({site.file for site in lacking})
            lacking = self._lacking(lacking)

    def _lacking(self, sites: Sequence[Site]) -> list[Site]:
        return [site for site in sites if not self._suffices(site)]

    def _suffices(self, site: Site) -> bool:
        history = self._site_history(site)
        return history is not None and enough(history)

    def _known_history(self, site: Site) -> SiteHistory | Unavailable | None:
        kept = self._files.get(site.file)
        if kept is None or kept.head != self._head():
            return None
        history = kept.of(site)
        if enough(history) or not self.reach.can_grow():
            return history
        return self._fetch_failed

    def _site_history(self, site: Site) -> SiteHistory | None:
        kept = self._files.get(site.file)
        return None if kept is None else kept.of(site)

    def _head(self) -> str:
        assert self.index.snapshot is not None
        return self.index.snapshot.commit

    def _update(self, files: set[str]) -> None:
        """Bring the histories of files to the head: only the commits since the last look are read."""
        head = self._head()
        stale: dict[str | None, list[str]] = {}
        for file in files:
            kept = self._files.get(file)
            if kept is None or not self._reaches(kept.head, head):
                stale.setdefault(None, []).append(file)
            elif kept.head != head:
                stale.setdefault(kept.head, []).append(file)
        for since, paths in stale.items():
            log = self.checkout.file_log(head, sorted(paths), since=since, limit=CHANGES_READ * len(paths))
            self._take(head, since, paths, log)

    def _reaches(self, old: str, head: str) -> bool:
        if (old, head) not in self._ancestry:
            self._ancestry = {(old, head): old == head or self.checkout.is_ancestor(old, head)}
        return self._ancestry[(old, head)]

    def _take(self, head: str, since: str | None, paths: Sequence[str], log: FileLog) -> None:
        versions: dict[str, list[FileVersion]] = {path: [] for path in paths}
        for version in self.index.file_versions(log.changes):
            if version.change.path in versions:
                versions[version.change.path].append(version)
        for path in paths:
            older = self._files[path].versions if since is not None else ()
            complete = self._files[path].complete if since is not None else log.complete
            self._files[path] = _FileHistory(head, (*versions[path], *older), complete)


@dataclass(frozen=True, slots=True)
class _FileHistory:
    head: str
    versions: tuple[FileVersion, ...]
    complete: bool

    def of(self, site: Site) -> SiteHistory:
        return site_history(self.versions, site, self.complete)
