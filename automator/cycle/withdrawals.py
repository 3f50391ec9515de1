"""Withdrawals: versions that the branch was rewound past, which nobody may put back unasked.

A branch that somebody force-pushed to an older commit no longer tells in its history what was turned
away. What its sites held is kept locally, as values: commits that are gone need not be read again, and
what they claimed does not count. Losing it releases nothing that history itself forbids.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple, Protocol
from zlib import crc32

from automator.core.policy import PolicySet, Workload
from automator.core.record import Member, ReleaseRecord, parse_all
from automator.core.site import Site
from automator.cycle.index import Snapshot
from automator.edges.checkout import Checkout
from automator.errors import CheckoutError

PUSHED = 200
"""Commits of a push of ours that are looked at most, when nobody noted what became of it."""
SHARDS = 64
"""Notes that what the workloads hold is spread over: a release writes one of them."""
TRAIL = 20
"""Versions that each workload held before, and that it was moved down from, that are remembered."""
KEPT = 200
"""Withdrawn versions of one workload that are remembered."""
DEEPER = (100, 1_000, 10_000)
"""Commits by which a clone that was made anew is deepened, step by step, to find where the branch was."""
TIPS = 500
"""Commits that the branch was at that are remembered."""

_MOVING = ("release", "rollback", "promote")


class Notes(Protocol):
    """Where a few bytes are kept (`edges.store`)."""

    def get(self, kind: str, key: str) -> bytes | None: ...
    def put(self, kind: str, key: str, value: bytes | None) -> None: ...


class Move(NamedTuple):
    """A workload got a version."""

    workload: str
    image: str
    version: str
    """A tag, or the digest of a followed one."""


def moves(record: ReleaseRecord) -> tuple[Move, ...]:
    """What a commit of ours says that it moved."""
    members = record.members if record.kind in _MOVING else ()
    every = (Move(member.workload, member.image, _version(member)) for member in members)
    return tuple(move for move in every if move.image and move.version)


class Taken(NamedTuple):
    """What was taken back from a workload: tags, or digests of a followed tag."""

    versions: frozenset[str] = frozenset()
    unaccepted: frozenset[str] = frozenset()
    """Those that its `accept` listed already when they were taken back."""

    def and_of(self, other: Taken) -> Taken:
        """Of two who saw the branch, what either saw."""
        return Taken(self.versions | other.versions, self.unaccepted | other.unaccepted)


@dataclass
class _Gone:
    """What was taken back from a workload, as it is kept."""

    image: str
    versions: list[str] = field(default_factory=list)
    """The newest last."""
    unaccepted: list[str] = field(default_factory=list)


@dataclass
class _Past:
    """What a workload held, as far as it was seen."""

    image: str
    held: list[str]
    """When it was looked at last."""
    trail: list[str] = field(default_factory=list)
    """And before, the newest last."""
    left: list[str] = field(default_factory=list)
    """What it was moved down from, and did not pass again."""


@dataclass
class Withdrawals:
    """The versions, by workload, that were on the branch and that it was rewound past."""

    branch: str
    """Name, URL and branch of the config repo: another branch has another past."""
    checkout: Checkout
    notes: Notes
    _has_begun: bool = False
    _pushed: tuple[Move, ...] = ()
    """What landed and is gone again, and that nobody saw on the branch."""
    _pasts: dict[str, _Past] | None = None
    _sites: Mapping[str, tuple[Site, ...]] = field(default_factory=dict)
    """Of the snapshot that was settled last."""
    _settled: str | None = None
    _tips: list[str] | None = None
    _policies: PolicySet | None = None
    """Of the snapshot that was settled last."""

    def pushing(self, commit: str | None) -> None:
        """`commit` is about to be pushed, or, with None, the last one certainly did not land. After being
        killed in between, the next process looks whether it did."""
        self.notes.put("pushing", self.branch, None if commit is None else commit.encode())

    def saw(self, commit: str, moved: Sequence[Move] = (), *, after: Sequence[str] = ()) -> None:
        """The branch is at `commit`, which is ours, as are those that it came `after`, the oldest first; they
        moved this. What a hundred did is written down at once."""
        if moved:
            for workload, image, version in moved:
                past = self._past(workload, image)
                if version not in past.held:
                    past.held.append(version)
            self._save({move.workload for move in moved})
        self._saw((*after, commit))
        self.pushing(None)

    def lost(self, tip: str) -> bool:
        """Whether `tip` lacks something that was on the branch, as far as we saw it. Raises CheckoutError."""
        unseen = self._landed_unseen(tip)
        seen = unseen or self.notes.get("seen", self.branch)
        self.checkout.line.tips = frozenset(self._known_tips())
        return seen is not None and not self._is_in(seen.decode(), tip)

    def _is_in(self, commit: str, tip: str) -> bool:
        """Whether the branch at `tip` has a commit. A clone that was made anew knows it only once it reaches
        back that far."""
        if self.checkout.is_ancestor(commit, tip):
            return True
        for commits in DEEPER:
            ends = self.checkout.shallow_ends()
            if not ends or self.checkout.knows(commit):
                return False
            self.checkout.deepen(commits)
            if self.checkout.is_ancestor(commit, tip):
                return True
            if self.checkout.shallow_ends() == ends:  # the server has no more either
                return False
        return False

    def _landed_unseen(self, tip: str) -> bytes | None:
        """What was pushed when the process before this one was killed, if it landed and is gone again."""
        if self._has_begun:
            return None
        self._has_begun = True
        pushed = self.notes.get("pushing", self.branch)
        if pushed is None:
            return None
        commit = pushed.decode()
        gone = not self._is_in(commit, tip) and self.checkout.serves(commit)
        if not gone:
            self.pushing(None)
            return None
        self._pushed = tuple(self._moves_of(commit, tip))  # the note stays until this is settled
        return pushed

    def _moves_of(self, pushed: str, tip: str) -> Iterator[Move]:
        """What our own commits moved that were pushed and are gone."""
        try:
            for entry in self.checkout.commits(pushed, beside=tip, changes=False, limit=PUSHED):
                for record in parse_all(entry.message):
                    yield from moves(record)
        except CheckoutError:  # the clone was made anew and does not tell any more
            return

    def settle(self, snapshot: Snapshot, *, lost: bool) -> None:
        """The branch is at this snapshot. After a rewind (`lost`), what a workload held higher before and
        holds no more was taken back. A release that was merely rebased or amended is still there."""
        if lost or self._pushed:
            self._withdraw(snapshot)
        if self._settled != snapshot.commit:
            self._forget_lists(snapshot)
        self._note_held(snapshot, begin_again=lost)
        self._note_accepted(snapshot)
        if lost:
            self._tips = []
        if self.notes.get("seen", self.branch) != snapshot.commit.encode():
            self.saw(snapshot.commit)
        elif self._pushed:
            self.pushing(None)
        self._pushed = ()

    def taken(self, snapshot: Snapshot) -> Mapping[str, Taken]:
        """By workload what was taken back, and that nobody has set again. What was taken back from one that
        is there no more counts for all of its image: it may have another name now."""
        found: dict[str, Taken] = {}
        for name, gone in self._withdrawn().items():
            is_there = bool(_texts(snapshot, name, gone.image))
            for heir in (name,) if is_there else snapshot.claims.sites:
                texts = _texts(snapshot, heir, gone.image)
                if texts:
                    taken = Taken(frozenset(gone.versions) - texts, frozenset(gone.unaccepted))
                    found[heir] = found.get(heir, Taken()).and_of(taken)
        return found

    # -- what was held -----------------------------------------------------------------------------

    def _withdraw(self, snapshot: Snapshot) -> None:
        """Write down what was held and what is no more."""
        every, listed = self._withdrawn(), self._listed()
        held: dict[str, set[str]] = {}
        for site in (site for sites in snapshot.claims.sites.values() for site in sites):
            texts = held.setdefault(str(site.repository), set())
            texts.update(text for text in (site.tag, site.digest) if text is not None)
        past = [Move(name, p.image, v) for name, p in self._all().items() for v in (*p.held, *p.left)]
        for workload, image, version in (*past, *self._pushed):
            now = _versions(snapshot, workload, image)
            there = _texts(snapshot, workload, image) if now else held.get(image, ())
            if version in there or not _is_above(snapshot, workload, version, now):
                continue
            gone = every.get(workload)
            if gone is None or gone.image != image:
                gone = every[workload] = _Gone(image)
            gone.versions = [*(v for v in gone.versions if v != version), version][-KEPT:]
            then = None if listed is None else listed.get(workload, ())
            was_said = _is_accepted(snapshot, workload, version, then)
            is_old = was_said and _is_accepted(snapshot, workload, version)
            if is_old and version not in gone.unaccepted:
                gone.unaccepted.append(version)
        self._keep(every)

    def _forget_lists(self, snapshot: Snapshot) -> None:
        """What was taken off `accept` since may be listed again."""
        every = self._withdrawn()
        for name, gone in every.items():
            if gone.unaccepted and name in snapshot.workloads:
                gone.unaccepted = [v for v in gone.unaccepted if _is_accepted(snapshot, name, v)]
        self._keep(every)

    def _passed(self, snapshot: Snapshot, name: str, now: Sequence[str]) -> None:
        """A workload holds these: what was taken back from it below them is over."""
        every = self._withdrawn()
        gone = every.get(name)
        if gone is None or not now:
            return
        for version in tuple(gone.versions):
            ranks = _ranks(snapshot, name, (version, *now))
            if version in now or (None not in ranks and ranks[0] < min(ranks[1:])):
                gone.versions.remove(version)
        gone.unaccepted = [version for version in gone.unaccepted if version in gone.versions]
        if not gone.versions:
            del every[name]
        self._keep(every)

    def _note_held(self, snapshot: Snapshot, *, begin_again: bool) -> None:
        """Keep what is held now; only what changed is looked at, and written."""
        if self._settled == snapshot.commit and not begin_again:
            return
        sites = snapshot.claims.sites
        changed = set()
        for name, found in sites.items():
            is_same = self._sites.get(name) is found and not begin_again
            if not is_same and self._go_on(snapshot, name, begin_again=begin_again):
                changed.add(name)
        # What left the branch with its policy is kept as it was: the policy may come back by a rewind.
        if begin_again:
            for name in self._all().keys() - sites.keys():
                del self._all()[name]
                changed.add(name)
        self._save(changed)
        self._sites, self._settled = sites, snapshot.commit

    def _note_accepted(self, snapshot: Snapshot) -> None:
        """Keep what each `accept` lists now: only what a person adds after a rewind speaks of it."""
        if self._policies is snapshot.policies:
            return
        known = self._listed()
        lists = {
            name: entry.accept if isinstance(entry, Workload) else tuple((known or {}).get(name, ()))
            for name, entry in snapshot.workloads.items()
        }
        kept = {name: list(versions) for name, versions in lists.items() if versions}
        if kept != known:
            self.notes.put("accepted", self.branch, json.dumps(kept).encode())
        self._policies = snapshot.policies

    def _listed(self) -> dict[str, list[str]] | None:
        """What each `accept` listed when the branch was looked at last; None where nobody noted it."""
        kept = self.notes.get("accepted", self.branch)
        return None if kept is None else dict(json.loads(kept))

    def _go_on(self, snapshot: Snapshot, name: str, *, begin_again: bool) -> bool:
        """Take in what a workload holds now; whether that is news."""
        sites = snapshot.claims.sites[name]
        image = next((str(site.repository) for site in sites if site.repository is not None), None)
        if image is None:
            return False
        now = _versions(snapshot, name, image)
        old = self._all().get(name)
        if old is None or old.image != image or begin_again:
            self._all()[name] = new = _Past(image, now)
            return old != new
        if old.held == now:
            return False
        came_back = any(version in old.trail for version in now)
        left = [*old.left, *(v for v in old.held if v not in now)]
        past = _Past(image, now, [v for v in (*old.trail, *old.held) if v not in now][-TRAIL:])
        for version in dict.fromkeys(left):
            ranks = _ranks(snapshot, name, (version, *now))
            down = version in old.left or came_back if None in ranks else ranks[0] > min(ranks[1:])
            if down and version not in now:
                past.left.append(version)
        past.left = past.left[-TRAIL:]
        self._all()[name] = past
        self._passed(snapshot, name, now)
        return True

    def _past(self, workload: str, image: str) -> _Past:
        past = self._all().get(workload)
        if past is None or past.image != image:
            past = self._all()[workload] = _Past(image, [])
        return past

    # -- notes -------------------------------------------------------------------------------------

    def _all(self) -> dict[str, _Past]:
        if self._pasts is None:
            self._pasts = {}
            for shard in range(SHARDS):
                for name, kept in self._read("held", f"{self.branch} {shard}").items():
                    self._pasts[name] = _Past(**kept)
        return self._pasts

    def _save(self, names: Iterable[str]) -> None:
        shards = {_shard(name) for name in names}
        spread: dict[int, dict[str, Any]] = {shard: {} for shard in shards}
        for name, past in self._all().items() if shards else ():
            if (shard := _shard(name)) in shards:
                spread[shard][name] = asdict(past)
        for shard, found in spread.items():
            self.notes.put("held", f"{self.branch} {shard}", json.dumps(found).encode())

    def _withdrawn(self) -> dict[str, _Gone]:
        return {name: _Gone(**kept) for name, kept in self._read("taken", self.branch).items()}

    def _keep(self, every: Mapping[str, _Gone]) -> None:
        kept = {name: asdict(gone) for name, gone in every.items()}
        if kept != self._read("taken", self.branch):
            self.notes.put("taken", self.branch, json.dumps(kept).encode())

    def _read(self, kind: str, key: str) -> dict[str, Any]:
        kept = self.notes.get(kind, key)
        return {} if kept is None else dict(json.loads(kept))

    def _saw(self, commits: Sequence[str]) -> None:
        self.notes.put("seen", self.branch, commits[-1].encode())
        tips = [*(tip for tip in self._known_tips() if tip not in commits), *commits][-TIPS:]
        self._tips = tips
        self.notes.put("tips", self.branch, "\n".join(tips).encode())

    def _known_tips(self) -> list[str]:
        if self._tips is None:
            self._tips = (self.notes.get("tips", self.branch) or b"").decode().split()
        return self._tips


def _shard(name: str) -> int:
    return crc32(name.encode("utf-8", "surrogatepass")) % SHARDS


def _versions(snapshot: Snapshot, workload: str, image: str) -> list[str]:
    """What a workload's sites of an image hold, each once: tags, or digests where it follows a tag."""
    entry = snapshot.workloads.get(workload)
    follows = isinstance(entry, Workload) and entry.rule.followed is not None
    sites = (s for s in snapshot.claims.sites.get(workload, ()) if str(s.repository) == image)
    texts = ((s.digest if follows else None) or s.tag or s.digest for s in sites)
    return list(dict.fromkeys(text for text in texts if text))


def _texts(snapshot: Snapshot, workload: str, image: str) -> frozenset[str]:
    """Tags and digests that a workload's sites of an image hold."""
    sites = (s for s in snapshot.claims.sites.get(workload, ()) if str(s.repository) == image)
    return frozenset(text for s in sites for text in (s.tag, s.digest) if text is not None)


def _is_accepted(
    snapshot: Snapshot, workload: str, version: str, listed: Sequence[str] | None = None
) -> bool:
    """Whether a workload's `accept`, or a list that it had once, names a version."""
    entry = snapshot.workloads.get(workload)
    if not isinstance(entry, Workload):
        return False
    return entry.rule.names(entry.accept if listed is None else tuple(listed), version)


def _is_above(snapshot: Snapshot, workload: str, version: str, now: Sequence[str]) -> bool:
    """Whether a version is above one that the workload holds now, or cannot be told not to be."""
    ranks = _ranks(snapshot, workload, (version, *now))
    return None in ranks or len(ranks) == 1 or bool(ranks[0] > min(ranks[1:]))


def _ranks(snapshot: Snapshot, workload: str, versions: Sequence[str]) -> list[Any]:
    """Of versions in the policy's present order; None where that takes more than their names."""
    entry = snapshot.workloads.get(workload)
    if not isinstance(entry, Workload) or entry.rule.order == "newest" or entry.rule.followed is not None:
        return [None] * len(versions)
    return [entry.rule.rank(version) for version in versions]


def _version(member: Member) -> str:
    """What a release brought: a tag, or another digest of the tag that was there."""
    tag, _, digest = member.after.partition("@")
    return digest or tag if tag == member.before.partition("@")[0] else tag
