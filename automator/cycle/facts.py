"""Facts: fetches just what a decision lacks, and remembers it for the rest of the cycle."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from datetime import datetime

from automator.core.facts import (
    Declined,
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
from automator.core.heirs import Lender, inherit, is_heir
from automator.core.history import (
    ENOUGH_CHANGES,
    Elsewhere,
    FileChange,
    FilePast,
    FileVersion,
    SiteHistory,
    enough,
    newer_wrote,
    site_history,
)
from automator.core.policy import Workload
from automator.core.promotion import Held, Unknown
from automator.core.record import FORMAT, newer_format
from automator.core.reference import Image, Repository
from automator.core.site import Site
from automator.core.trace import MOVES_FOLLOWED, Shared, may_be_of
from automator.cycle.deploying import Deploying
from automator.cycle.index import Index, Snapshot
from automator.cycle.listings import Listings
from automator.cycle.observe import Observer
from automator.cycle.reach import Reach
from automator.cycle.signatures import Question, Signatures
from automator.cycle.upstreams import MOST_LENDERS, Upstreams, Wanted
from automator.cycle.verifying import Verifying
from automator.cycle.withdrawals import Taken
from automator.edges.checkout import Checkout, FileLog
from automator.errors import CheckoutError
from automator.reasons import Reason, reason

CHANGES_READ = ENOUGH_CHANGES
"""Changes of a file that are read at most."""
MOVED_LOOKED_AT = 5_000
"""Files of one commit that are looked through at most for the one that a site was moved from."""


@dataclass
class FactFinder:
    """Fetches the facts that decisions name: from the registry, the store, or history."""

    checkout: Checkout
    index: Index
    observer: Observer
    reach: Reach
    signatures: Signatures
    upstreams: Upstreams | None = None
    """None where nobody asks what came before: everything that comes after something is held."""
    verifying: Verifying | None = None
    """None where no check is known."""
    deploying: Deploying | None = None
    """None where no runtime says what runs."""
    withdrawn: Mapping[str, Taken] = field(default_factory=dict)
    """Versions of each workload that the branch was rewound past."""
    declined: Mapping[str, tuple[Declined, ...]] = field(default_factory=dict)
    """What people refused by closing pull requests, by workload."""
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
    _files: dict[str, FilePast] = field(default_factory=dict)
    _moved: dict[Repository | None, dict[str, tuple[FileVersion, ...]]] = field(default_factory=dict)
    """By image and commit, what the commit changed in files that may have held a site of it, or do now."""
    _traced: dict[SiteKey, tuple[Site, SiteHistory]] = field(default_factory=dict)
    """Histories of sites as they are read now."""
    _shared: Shared = field(default_factory=Shared)
    """What traces of one file's sites have in common."""
    _cut_short: dict[str, Reason] = field(default_factory=dict)
    _newer: dict[str, Reason] = field(default_factory=dict)
    """By file: that a newer automator wrote here."""
    _listings: Listings = field(init=False)
    _told: int = 0
    """What `index.sources_told` was then."""
    _read_at: str | None = None
    """Head that all histories kept are of."""
    _fetch_failed: Unavailable | None = None

    def __post_init__(self) -> None:
        self._listings = Listings(self.checkout, self.index)

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
        if self.upstreams is not None:
            self.upstreams.begin()
        self._images.clear()
        self._looks.clear()
        self._seen.clear()
        self._signatures.clear()
        self._fetch_failed = None

    def forget(self) -> None:
        """The clone was made anew: histories are read again."""
        self._drop(tuple(self._files))
        self._read_at = None

    def known(self, workload: Workload, sites: Sequence[Site]) -> Facts:
        """What this cycle knows already about a workload's tags and sites."""
        repository = workload.repository
        if workload.rule.order == "newest" and repository not in self._looks:
            # Build times are remembered for ever: only tags that were never seen cost a request.
            self._looks[repository] = dict(self.observer.memory.images(repository))
        looks = self._looks.get(repository, {})
        histories: dict[SiteKey, SiteHistory | Unavailable] = {}
        for site in sites:
            history = self._known_history(site)
            if history is not None:
                histories[site_key(site)] = history
        built = {tag: look.built if isinstance(look, Image) else look for tag, look in looks.items()}
        for site in sites:  # a tag that is deleted is as old as our release of it said
            past = histories.get(site_key(site))
            if site.tag is not None and isinstance(past, SiteHistory) and past.held[0].built is not None:
                look = built.get(site.tag)
                if isinstance(look, Unavailable) and look.gone:
                    built[site.tag] = past.held[0].built
        guards = workload.guards
        seen: Mapping[str, Sighting] = {}
        if guards.min_age is not None or guards.platforms or guards.signed_by:
            if repository not in self._seen:
                self._seen[repository] = dict(self.observer.memory.sightings(repository))
            seen = self._seen[repository]
        series = self.verifying.known(workload) if self.verifying is not None and workload.verify else None
        taken = self.withdrawn.get(workload.name, Taken())
        facts = Facts(
            built=built,
            images=self._images.get(repository, {}),
            histories=histories,
            withdrawn=taken.versions,
            unaccepted=taken.unaccepted,
            declined=tuple(d for d in self.declined.get(workload.name, ()) if d.image == str(repository)),
            seen=seen,
            looked=self._looked.get(repository, {}),
            signatures=self._signatures.get(repository, {}),
            unsigned=self._unsigned.get(repository, {}),
            upstreams=self._upstreams(workload),
            lent=self._lent(workload),
            verification=None if series is None else series.present,
            decided_by=None if series is None else series.decided_by,
            verified={} if series is None else series.verified,
            apart=() if series is None else series.apart,
        )
        outdated = self._listings.outdated(workload, facts)
        return replace(facts, outdated=outdated) if outdated else facts

    def _upstreams(self, workload: Workload) -> Mapping[str, Held]:
        if workload.guards.after is None:
            return {}
        if self.upstreams is None:
            return dict.fromkeys(upstream_names(workload.guards.after))
        return self.upstreams.known(workload)

    def _lent(self, workload: Workload) -> tuple[str, ...] | Unknown:
        if self.upstreams is None or self.index.snapshot is None or not is_heir(workload):
            return ()
        found = self.upstreams.rule(workload, self.index.snapshot)
        return () if isinstance(found, Lender) else found

    def ruled(self, workload: Workload) -> Workload:
        """A workload with the rule that it takes over, where it has none of its own and that one is known."""
        if self.upstreams is None or self.index.snapshot is None or not is_heir(workload):
            return workload
        found = self.upstreams.rule(workload, self.index.snapshot)
        return inherit(workload, found, self.upstreams.repo) if isinstance(found, Lender) else workload

    def ask_rule(self, workload: Workload, now: datetime) -> Workload:
        """As `ruled`, and upstream is asked for the rule if it is not known. Raises CheckoutError."""
        for _ in range(MOST_LENDERS):
            names = self._lent(workload)
            if isinstance(names, Unknown) or not names:
                break
            self.look_up([(workload.repository, Need(upstreams=names))], now)
        return self.ruled(workload)

    def circle(self, workload: str) -> Reason | None:
        """Why a workload is held whose upstream comes after it."""
        return None if self.upstreams is None else self.upstreams.circle(workload)

    def look_up(self, needs: Iterable[tuple[Repository, Need]], now: datetime) -> None:
        """Ask registries for what is needed, all at once; what cannot be had becomes a fact too, and what
        digest is seen under a tag is remembered."""
        looks: dict[tuple[Repository, str], None] = {}
        images: dict[tuple[Repository, str], None] = {}
        signatures: dict[Question, None] = {}
        upstreams: dict[Wanted, None] = {}
        for repository, need in needs:
            tags = (self.observer.listed(repository) or ()) if need.upstreams or need.closings else ()
            upstreams.update(dict.fromkeys(Wanted(name, repository, tags) for name in need.upstreams))
            upstreams.update(dict.fromkeys(Wanted(name, repository, tags, True) for name in need.closings))
            signatures.update(dict.fromkeys((repository, wanted) for wanted in need.signatures))
            looks.update(dict.fromkeys((repository, tag) for tag in need.built))
            images.update(dict.fromkeys((repository, tag) for tag in need.images))
        if upstreams and self.upstreams is not None and self.index.snapshot is not None:
            self.upstreams.ask(upstreams, self.index.snapshot, now)
        for (repository, tag), answer in self.observer.first_looks(list(looks)).items():
            self._looks.setdefault(repository, {})[tag] = answer
        for (repository, tag), answer in self.observer.images(list(images)).items():
            self._images.setdefault(repository, {})[tag] = answer
            if isinstance(answer, Image) and ":" not in tag:  # else a digest was asked for, which is no tag
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

    @property
    def known_checks(self) -> Collection[str]:
        """Names of the checks that `verify` may name."""
        return () if self.verifying is None else self.verifying.checks.keys()

    def runtimes_of(self, workload: Workload) -> tuple[str, ...]:
        """Names of the runtimes that say what runs of a workload."""
        if self.deploying is None or self.index.snapshot is None:
            return ()
        return self.deploying.covering(self.index.snapshot.claims.sites.get(workload.name, ()))

    def notice(self, snapshot: Snapshot, now: datetime, *, rewound: bool) -> frozenset[str]:
        """Take in where the branch is: names of workloads that must be decided anew, for what checks or
        runtimes said or what other config repos have."""
        found: frozenset[str] = frozenset()
        if self.deploying is not None:
            found |= self.deploying.notice(snapshot)
        if self.verifying is not None:
            found |= self.verifying.notice(snapshot, now)
        if found and self.upstreams is not None:
            self.upstreams.board.tell(self.upstreams.repo, snapshot.commit, verified=True)
        if self.upstreams is not None:
            found |= self.followers(snapshot, found)
            found |= self.upstreams.notice(snapshot, now, rewound=rewound)
        return found

    def followers(self, snapshot: Snapshot, moved: Collection[str]) -> frozenset[str]:
        """Workloads that come after these of the same config repo."""
        return frozenset() if self.upstreams is None else self.upstreams.followers(snapshot, moved)

    def refused(self, snapshot: Snapshot, names: Collection[str]) -> frozenset[str]:
        """Other versions of these are refused than before: workloads to be decided anew for it."""
        return frozenset() if self.upstreams is None else self.upstreams.refused(snapshot, names)

    def saw(self, commit: str, now: datetime) -> None:
        """We moved the branch to a commit of ours."""
        if self.upstreams is not None:
            self.upstreams.saw(commit, now)

    def ask_checks(self, now: datetime) -> datetime | None:
        """Have the checks asked that are due, of what workloads hold at the index's head; when to look again,
        if at all."""
        if self.verifying is None or self.index.snapshot is None:
            return None
        if self.verifying.see(self.index.snapshot, now):
            self.verifying.wake()
        return self.verifying.start(now)

    # -- history ---------------------------------------------------------------------------

    def whole_histories(self, sites: Sequence[Site]) -> Mapping[SiteKey, SiteHistory | Unavailable]:
        """The past of sites, to prove what was held. Raises CheckoutError where the clone is damaged."""
        self.read_histories(sites)
        found = ((site_key(site), self._known_history(site)) for site in sites)
        return {key: history for key, history in found if history is not None}

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
            self._drop({path for site in lacking for path in self._paths(site)})
            if not self._could_update(lacking):
                return
            lacking = self._lacking(lacking)

    def _could_update(self, sites: Sequence[Site]) -> bool:
        """Bring the sites' files to the head, those that they were moved from too; False where git could
        not tell, which is then a fact.

        Raises CheckoutError where the clone is damaged.
        """
        try:
            self._update({site.file for site in sites})
            self._look_elsewhere(sites)
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
        return history is not None and enough(history)

    def _known_history(self, site: Site) -> SiteHistory | Unavailable | None:
        if self._read_at != self._head():
            return self._fetch_failed
        history = self._site_history(site)
        if history is None:
            return self._fetch_failed
        if enough(history) or not (any(history.lacking) or self.reach.can_grow()):
            return history
        return self._fetch_failed

    def _site_history(self, site: Site) -> SiteHistory | None:
        """What is read of a site's history; None where its file's is not."""
        past = self._files.get(site.file)
        if past is None:
            return None
        known = self._traced.get(site_key(site))
        if known is None or known[0] != site:
            elsewhere = Elsewhere(self._files, self._moved.get(site.repository, {}))
            history = site_history(past.versions, site, past.complete, elsewhere, self._shared)
            known = self._traced[site_key(site)] = site, history
            if not any(history.lacking):
                self._note_bound(site, history)
            self._note_newer(site, history)
        return known[1]

    def _paths(self, site: Site) -> tuple[str, ...]:
        history = self._site_history(site)
        return (site.file,) if history is None else (site.file, *history.files)

    def warnings(self) -> tuple[Reason, ...]:
        """What is not known of files' histories: a warning for each in which a bound was reached before its
        beginning, and for each with release records of a format that is not known here."""
        told = (*sorted(self._cut_short.items()), *sorted(self._newer.items()))
        return tuple(why for _, why in told)

    def _note_bound(self, site: Site, history: SiteHistory) -> None:
        self._cut_short.pop(site.file, None)
        if not history.complete and (enough(history) or not self.reach.can_grow()):
            since = "its present state" if history.since is None else f"{history.since:%Y-%m-%d}"
            self._cut_short[site.file] = reason("history/cut-short", file=site.file, since=since)

    def _note_newer(self, site: Site, history: SiteHistory) -> None:
        value = newer_wrote(history)
        if value is not None and value.commit is not None:
            commit, found = value.commit[:12], newer_format(value.message)
            self._newer[site.file] = reason(
                "history/newer-format", file=site.file, commit=commit, found=found, known=FORMAT
            )

    def _head(self) -> str:
        assert self.index.snapshot is not None
        return self.index.snapshot.commit

    def _update(self, files: set[str]) -> None:
        """Bring the histories of files to the head: only the commits since the last look are read."""
        head = self._head()
        if self._told != self.index.sources_told:
            self._join_again()
        if self._read_at not in (None, head):
            self._go_on(head)
        self._read_at = head
        new = sorted(files - self._files.keys())
        if new:
            self._read(head, new)

    def _join_again(self) -> None:
        """Other files say something else of the images of sites now: what hangs on it is read anew."""
        self._told = self.index.sources_told
        self._drop([path for path, past in self._files.items() if self.index.awaits_others(past, path)])
        self._moved.clear()

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
            self._drop(kept)
            return
        if not log.complete:
            self._drop(kept)
            return
        news = self._by_path(log)
        for path, versions in news.items():
            old = self._files[path]
            self._keep(path, (*versions, *old.versions), complete=old.complete)
        self._retrace(news.keys())

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
            self._keep(path, tuple(found), complete=complete)
        self._retrace(set(paths))

    def _keep(self, path: str, versions: tuple[FileVersion, ...], *, complete: bool) -> None:
        cut = len(versions) > CHANGES_READ
        self._files[path] = FilePast(versions[:CHANGES_READ], complete and not cut)

    def _drop(self, paths: Collection[str]) -> None:
        for path in paths:
            self._files.pop(path, None)
            self._cut_short.pop(path, None)
            self._newer.pop(path, None)
        self._retrace(set(paths))

    def _retrace(self, paths: AbstractSet[str]) -> None:
        """Files have another past now: what was traced through them is traced anew."""
        for key, (site, history) in list(self._traced.items()):
            if site.file in paths or not paths.isdisjoint((*history.files, *history.lacking.files)):
                del self._traced[key]

    def _look_elsewhere(self, sites: Sequence[Site]) -> None:
        """Read what else a commit did that brought a site to its file, and the past of the file that the site
        was moved from, and so on."""
        for _ in range(2 * MOVES_FOLLOWED + 3):  # for each a commit, and a file
            commits: dict[tuple[bytes, Repository | None], set[str]] = {}
            files: set[str] = set()
            for site in sites:
                history = self._site_history(site)
                if history is not None and any(history.lacking):
                    of = _word(site), site.repository
                    commits.setdefault(of, set()).update(history.lacking.commits)
                    files |= history.lacking.files
            if not files and not any(commits.values()):
                return
            if any(commits.values()):
                self._look_at_commits(commits)
            if files:
                self._read(self._head(), sorted(files))

    def _look_at_commits(self, asked: Mapping[tuple[bytes, Repository | None], set[str]]) -> None:
        """What commits changed in files that may have held a site of an image."""
        every = sorted({commit for commits in asked.values() for commit in commits})
        changed: dict[str, list[FileChange]] = {commit: [] for commit in every}
        for change in self.checkout.commit_changes(every):
            # People switch a file off by its name, or put it away: what is gone counts whatever it was.
            if change.after is None or self.index.scope.is_manifest(change.path):
                changed[change.commit].append(change)
        for (word, image), commits in asked.items():
            for commit in commits:
                found = self._moved_by(changed[commit], word, image)
                self._moved.setdefault(image, {})[commit] = found
        for key in [key for key, (_, history) in self._traced.items() if history.lacking.commits]:
            del self._traced[key]

    def _moved_by(
        self, changes: list[FileChange], word: bytes, image: Repository | None
    ) -> tuple[FileVersion, ...]:
        """What one commit changed in files that were there before it; and, where one of them held the image,
        in those that it added."""
        # Of very many, manifests and those that are gone altogether are the likelier ones.
        likely = sorted(
            changes, key=lambda c: (not self.index.scope.is_manifest(c.path), c.after is not None)
        )
        there = [change for change in likely if change.before is not None][:MOVED_LOOKED_AT]
        versions = self.index.file_versions(there, word, past=True)
        if any(v.before is None or may_be_of(v.before, image) for v in versions):
            added = [change for change in likely if change.before is None]
            versions += self.index.file_versions(added[:MOVED_LOOKED_AT], word, past=True)
        return tuple(versions)

    def _by_path(self, log: FileLog) -> dict[str, list[FileVersion]]:
        found: dict[str, list[FileVersion]] = {}
        for version in self.index.file_versions(log.changes, past=True):
            found.setdefault(version.change.path, []).append(version)
        return found


def _word(site: Site) -> bytes:
    """What a file that holds a site of the same image has in it."""
    return b"" if site.repository is None else site.repository.path.rpartition("/")[2].encode()
