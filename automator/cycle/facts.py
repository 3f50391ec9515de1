"""Facts: fetches just what a decision lacks, and remembers it for the rest of the cycle."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from automator.core.facts import (
    Facts,
    Need,
    Sighting,
    Signature,
    SignatureKey,
    SiteKey,
    Unavailable,
    site_key,
)
from automator.core.guards import LOOK_AGAIN, upstream_names
from automator.core.history import FileVersion, SiteHistory, enough, site_history
from automator.core.policy import Workload
from automator.core.reference import Image, Repository
from automator.core.site import Site
from automator.cycle.index import Index
from automator.cycle.observe import Observer
from automator.cycle.reach import Reach
from automator.cycle.signatures import Question, Signatures
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
    signatures: Signatures
    withdrawn: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Tags of each image whose releases the branch was rewound past."""
    keys_changed: bool = False
    """Whether a key that may sign is another than in the cycle before."""
    _seen: dict[Repository, dict[str, Sighting]] = field(default_factory=dict)
    """Of repositories whose workloads ask for it: what is remembered of each tag's digest."""
    _looked: dict[Repository, dict[str, datetime]] = field(default_factory=dict)
    """When each tag's image was asked for last."""
    _images: dict[Repository, dict[str, Image | Unavailable]] = field(default_factory=dict)
    _looks: dict[Repository, dict[str, Image | Unavailable]] = field(default_factory=dict)
    _signatures: dict[Repository, dict[SignatureKey, Signature | Unavailable]] = field(default_factory=dict)
    """What was found in this cycle."""
    _unsigned: dict[Repository, dict[SignatureKey, Signature]] = field(default_factory=dict)
    """What was missing or wrong when it was looked at within the hour, by the keys of now."""
    _files: dict[str, _FileHistory] = field(default_factory=dict)
    _whole: set[SiteKey] = field(default_factory=set)
    """Sites of workloads whose releases prove nothing of what was before: a followed tag has no order, and
    a downgrade goes below what people may have turned away."""
    _read_at: str | None = None
    """Head that all histories kept are of."""
    _fetch_failed: Unavailable | None = None

    def begin(self, named: Collection[Repository] = ()) -> None:
        """A cycle begins: what registries serve may have changed, and has where an event named it; what
        was missing there is looked at again."""
        changed = self.signatures.begin()
        self.keys_changed = bool(changed)
        for kept in self._unsigned.values() if changed else ():
            for key in [key for key in kept if any(not changed.isdisjoint(names) for names in key[1])]:
                del kept[key]
        for repository in named:
            self._unsigned.pop(repository, None)
            self._looked.pop(repository, None)
            self.signatures.forget(repository)
        self._images.clear()
        self._looks.clear()
        self._seen.clear()
        self._signatures.clear()
        self._fetch_failed = None

    def forget(self) -> None:
        """The clone was made anew: histories are read again."""
        self._files.clear()
        self._read_at = None

    def known(self, workload: Workload, sites: Sequence[Site]) -> Facts:
        """What this cycle knows already about a workload's tags and sites."""
        repository = workload.repository
        if workload.rule.order == "newest" and repository not in self._looks:
            # Build times are remembered for ever: only tags that were never seen cost a request.
            self._looks[repository] = dict(self.observer.memory.images(repository))
        looks = self._looks.get(repository, {})
        histories: dict[SiteKey, SiteHistory | Unavailable] = {}
        whole = workload.rule.followed is not None or workload.downgrade
        (self._whole.update if whole else self._whole.difference_update)(map(site_key, sites))
        for site in sites:
            history = self._known_history(site)
            if history is not None:
                histories[site_key(site)] = history
        built = {tag: look.built if isinstance(look, Image) else look for tag, look in looks.items()}
        guards = workload.guards
        seen: Mapping[str, Sighting] = {}
        if guards.min_age is not None or guards.platforms or guards.signed_by:
            if repository not in self._seen:
                self._seen[repository] = dict(self.observer.memory.sightings(repository))
            seen = self._seen[repository]
        # What upstream workloads held is read from history by a later version: until then it is unknown.
        upstreams = dict.fromkeys(() if guards.after is None else upstream_names(guards.after))
        return Facts(
            built=built,
            images=self._images.get(repository, {}),
            histories=histories,
            withdrawn=self.withdrawn.get(str(repository), frozenset()),
            seen=seen,
            looked=self._looked.get(repository, {}),
            signatures=self._signatures.get(repository, {}),
            unsigned=self._unsigned.get(repository, {}),
            upstreams=upstreams,
        )

    def look_up(self, needs: Iterable[tuple[Repository, Need]], now: datetime) -> None:
        """Ask registries for what is needed, all at once; what cannot be had becomes a fact too, and what
        digest is seen under a tag is remembered."""
        looks: dict[tuple[Repository, str], None] = {}
        images: dict[tuple[Repository, str], None] = {}
        signatures: dict[Question, None] = {}
        for repository, need in needs:
            signatures.update(dict.fromkeys((repository, wanted) for wanted in need.signatures))
            looks.update(dict.fromkeys((repository, tag) for tag in need.built))
            images.update(dict.fromkeys((repository, tag) for tag in need.images))
        for (repository, tag), answer in self.observer.first_looks(list(looks)).items():
            self._looks.setdefault(repository, {})[tag] = answer
        for (repository, tag), answer in self.observer.images(list(images)).items():
            self._images.setdefault(repository, {})[tag] = answer
            if isinstance(answer, Image):
                sighting = self.observer.memory.sight(repository, tag, answer.digest, now)
                seen = replace(sighting, platforms=answer.platforms)
                self._seen.setdefault(repository, {})[tag] = seen
                self._looked.setdefault(repository, {})[tag] = now
            if tag in self._looks.get(repository, {}):
                # A tag that was pushed again is as old as what the registry serves for it now.
                self._looks[repository][tag] = answer
        if signatures:
            self._look_at_signatures(list(signatures), now)

    def _look_at_signatures(self, questions: list[Question], now: datetime) -> None:
        """Ask who signed what, and remember where nobody did."""
        for (repository, wanted), answer in self.signatures.ask(questions, self.observer, now).items():
            self._signatures.setdefault(repository, {})[wanted] = answer
            kept = self._unsigned.setdefault(repository, {})
            for old in [key for key, found in kept.items() if key == wanted or now - found.at >= LOOK_AGAIN]:
                del kept[old]
            if isinstance(answer, Signature) and not answer.is_good:
                kept[wanted] = answer

    def must_fetch_history(self, sites: Sequence[Site]) -> bool:
        """Whether telling these sites' history takes more commits than the clone has."""
        if not self._could_update(sites):
            return False
        return bool(self._lacking(sites)) and self.reach.can_grow()

    # -- history ---------------------------------------------------------------------------

    def catch_up(self) -> None:
        """Bring the histories that are kept to the index's head. Raises CheckoutError."""
        if self._files:
            self._update(set())

    def read_histories(self, sites: Sequence[Site]) -> None:
        """Read what is needed of the sites' history, fetching commits only as far as it takes."""
        if not self._could_update(sites):
            return
        lacking = self._lacking(sites)
        while lacking and self.reach.can_grow():
            try:
                self.reach.grow()
            except CheckoutError as error:
                self._give_up(error)
                return
            for site in lacking:
                self._files.pop(site.file, None)
            if not self._could_update(lacking):
                return
            lacking = self._lacking(lacking)

    def _could_update(self, sites: Sequence[Site]) -> bool:
        """Bring the sites' files to the head; False where git could not tell, which is then a fact.

        Raises CheckoutError where the clone is damaged.
        """
        try:
            self._update({site.file for site in sites})
        except CheckoutError as error:
            if error.reason.code in ("git/damaged", "git/no-commit"):
                raise
            self._give_up(error)
            return False
        return True

    def _give_up(self, error: CheckoutError) -> None:
        why = reason("history/unreadable", problem=error.reason.sentence)
        self._fetch_failed = Unavailable(why, waiting=True)

    def _lacking(self, sites: Sequence[Site]) -> list[Site]:
        return [site for site in sites if not self._suffices(site)]

    def _suffices(self, site: Site) -> bool:
        history = self._site_history(site)
        return history is not None and self._is_enough(site, history)

    def _known_history(self, site: Site) -> SiteHistory | Unavailable | None:
        kept = self._files.get(site.file)
        if kept is None or self._read_at != self._head():
            return self._fetch_failed
        history = kept.of(site)
        if self._is_enough(site, history) or not self.reach.can_grow():
            return history
        return self._fetch_failed

    def _is_enough(self, site: Site, history: SiteHistory) -> bool:
        return enough(history, whole=site_key(site) in self._whole)

    def _site_history(self, site: Site) -> SiteHistory | None:
        kept = self._files.get(site.file)
        return None if kept is None else kept.of(site)

    def _head(self) -> str:
        assert self.index.snapshot is not None
        return self.index.snapshot.commit

    def _update(self, files: set[str]) -> None:
        """Bring the histories of files to the head: only the commits since the last look are read."""
        head = self._head()
        if self._read_at not in (None, head):
            self._go_on(head)
        self._read_at = head
        new = sorted(files - self._files.keys())
        if new:
            self._read(head, new)

    def _go_on(self, head: str) -> None:
        """Add what came since the last head to the histories kept; begin again after a rewind."""
        kept = sorted(self._files)
        if not kept:
            return
        try:
            log = self.checkout.file_log(head, kept, since=self._read_at, limit=CHANGES_READ * len(kept))
        except CheckoutError as error:
            if error.reason.code != "git/rewound":
                raise
            self._files.clear()
            return
        if not log.complete:
            self._files.clear()
            return
        for path, versions in self._by_path(log).items():
            old = self._files[path]
            self._files[path] = _FileHistory((*versions, *old.versions)[:CHANGES_READ], old.complete)

    def _read(self, head: str, paths: list[str]) -> None:
        log = self.checkout.file_log(head, paths, limit=CHANGES_READ * len(paths))
        versions = self._by_path(log)
        for path in paths:
            found = versions.get(path, [])
            complete = log.complete
            if log.cut and len(found) < CHANGES_READ and len(paths) > 1:
                # The limit is shared: a busy file must not use up what a quiet one needs.
                alone = self.checkout.file_log(head, [path], limit=CHANGES_READ)
                found, complete = self._by_path(alone).get(path, []), alone.complete
            self._files[path] = _FileHistory(
                tuple(found[:CHANGES_READ]), complete and len(found) <= CHANGES_READ
            )

    def _by_path(self, log: FileLog) -> dict[str, list[FileVersion]]:
        found: dict[str, list[FileVersion]] = {}
        for version in self.index.file_versions(log.changes):
            found.setdefault(version.change.path, []).append(version)
        return found


@dataclass(frozen=True, slots=True)
class _FileHistory:
    versions: tuple[FileVersion, ...]
    complete: bool
    _told: dict[SiteKey, tuple[Site, SiteHistory]] = field(default_factory=dict)
    """Each round of a decision asks for the same sites."""

    def of(self, site: Site) -> SiteHistory:
        told = self._told.get(site_key(site))
        if told is None or told[0] is not site:
            told = self._told[site_key(site)] = site, site_history(self.versions, site, self.complete)
        return told[1]
