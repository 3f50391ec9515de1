"""The logbook: what happened to workloads, read back from the config repo's history and put to the proof.

One walk down the branch, newest first. Trailers tell most of it; what a merge brought is read from the
merged commit, and a site that moved without any trailer is a person's change. Files are read in batches,
by one process each.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import chain
from typing import TYPE_CHECKING

from automator.core.delivery.change import (
    MANUAL,
    OTHER_KINDS,
    REVERT,
    Change,
    PolicyChange,
    Wanted,
    is_revert,
    members,
    pull_request_number,
    reverted,
    why_of,
)
from automator.core.delivery.moves import Owners, moved_members, moves
from automator.core.history import FileChange, FileVersion, proves
from automator.core.policy import Workload
from automator.core.record import Member, ReleaseRecord, parse_all
from automator.cycle.index import Index, Snapshot
from automator.edges.checkout import Checkout

if TYPE_CHECKING:
    from automator.edges.checkout import LoggedCommit

MENTION = "Release-Format:"
"""What every message with a record of ours contains."""
FIRST_BATCH, LARGEST_BATCH = 16, 512
"""Commits whose files are read together: few at first, so that the first lines come soon."""
OLDER_IN_A_ROW = 500
"""Commits before `since` after which nothing newer is expected below: clocks are never wrong that often."""
DEEPEST_MERGE = 200
"""Commits that are read of what one merge brought."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """One commit of the branch that has something to tell."""

    commit: LoggedCommit
    records: tuple[ReleaseRecord, ...]
    """What its own message says."""
    files: tuple[FileChange, ...]
    paths: frozenset[str]
    """Everything that it changed."""
    policies: Mapping[str, PolicyChange]
    """The last change of each policy file before it, or with it."""


@dataclass(frozen=True, slots=True)
class _Carrier:
    """A commit whose message is read: the branch's own, or one that a merge brought."""

    commit: LoggedCommit
    records: tuple[ReleaseRecord, ...]


@dataclass
class Logbook:
    """The releases of one config repo, as of its index's snapshot."""

    repo: str
    checkout: Checkout
    index: Index
    snapshot: Snapshot
    begins: datetime | None = None
    """Time of the oldest commit that was read; the beginning of the history once all of it was."""
    _owners: Owners = field(init=False)

    def __post_init__(self) -> None:
        self._owners = _owners(self.snapshot)

    @property
    def reaches_beginning(self) -> bool:
        """Whether the clone has the branch's whole history."""
        return not self.checkout.is_shallow()

    def changes(self, wanted: Wanted, *, policies: bool = False, signed: bool = False) -> Generator[Change]:
        """What happened that is wanted, newest first, as it is found.

        `policies` tells who changed a policy file last before a release, `signed` asks git for signatures,
        which starts a program for each signed commit.

        Raises CheckoutError.
        """
        walk = _Walk(self, wanted, self._policy_log() if policies else {})
        for batch in _batches(walk.entries()):
            told = (change for change in walk.tell(batch) if wanted.takes(change))
            yield from self._with_signatures(tuple(told)) if signed else told

    def claims(self, wanted: Wanted) -> Generator[Change]:
        """What messages on the branch say of themselves, newest first: nothing is checked, and neither what
        merges brought nor what people changed by hand is told. As fast as `git log`.

        Raises CheckoutError.
        """
        for commit in _not_before(
            wanted, self.checkout.commits(self.snapshot.commit, mentioning=MENTION, changes=False)
        ):
            carrier = _Carrier(commit, parse_all(commit.message))
            for record, member in members(carrier.records):
                change = self._change(commit, carrier, record, member)
                if wanted.takes(change):
                    yield change

    def names(self, wanted: Wanted) -> frozenset[str]:
        """The workloads of today that are wanted."""
        return frozenset(
            name
            for name, entry in self.snapshot.workloads.items()
            if (not wanted.workloads or name in wanted.workloads)
            and (not wanted.images or str(entry.repository) in wanted.images)
            and (not wanted.owners or getattr(entry, "owner", None) in wanted.owners)
            and (not wanted.environments or getattr(entry, "environment", None) in wanted.environments)
        )

    def _policy_log(self) -> dict[str, list[PolicyChange]]:
        """The changes of every policy file, newest first."""
        found: dict[str, list[PolicyChange]] = {}
        folder = self.index.scope.policies
        for commit in self.checkout.commits(self.snapshot.commit, paths=(folder,)):
            for change in commit.changes():
                told = PolicyChange(commit.commit, commit.author, commit.time)
                found.setdefault(change.path, []).append(told)
        return found

    def _with_signatures(self, changes: tuple[Change, ...]) -> Iterator[Change]:
        said = self.checkout.signatures(dict.fromkeys(change.commit for change in changes))
        for change in changes:
            signature = said.get(change.commit)
            if signature is None:
                yield change
            else:
                yield replace(change, signature=signature.state, signer=signature.signer)

    def _change(
        self,
        commit: LoggedCommit,
        carrier: _Carrier,
        record: ReleaseRecord | None,
        member: Member,
        *,
        proven: bool | None = None,
        policies: Mapping[str, PolicyChange] | None = None,
    ) -> Change:
        """What a commit of the branch says, in its own message or in the one of a commit that it merged."""
        message = carrier.commit.message
        merged = carrier.commit is not commit
        entry = self.snapshot.workloads.get(member.workload)
        known = entry if isinstance(entry, Workload) else None
        by_hand = REVERT if is_revert(message) or is_revert(commit.message) else MANUAL
        return Change(
            repo=self.repo,
            commit=commit.commit,
            landed=commit.time,
            author=carrier.commit.author,
            mail=carrier.commit.mail,
            kind=by_hand if record is None else record.kind,
            member=member,
            proven=proven,
            made=carrier.commit.time if merged else None,
            merged_by=commit.author if merged else None,
            actor=None if record is None else record.actor,
            reason=None if record is None else record.reason,
            refs=() if record is None else record.refs,
            why="" if record is None else why_of(message),
            pull_request=pull_request_number(commit.message),
            reverts=reverted(message),
            owner=None if known is None else known.owner,
            environment=None if known is None else known.environment,
            policy_change=(policies or {}).get(member.policy or ""),
        )


@dataclass
class _Walk:
    """One walk down the branch: which files are watched grows with what older commits tell."""

    book: Logbook
    wanted: Wanted
    policy_log: dict[str, list[PolicyChange]]
    _watched: set[bytes] = field(default_factory=set)
    """Files that hold, or held, sites of wanted workloads."""

    def __post_init__(self) -> None:
        sites = self.book.snapshot.claims.sites
        files = {site.file for name in self.book.names(self.wanted) for site in sites.get(name, ())}
        self._watched = {file.encode("utf-8", "surrogateescape") for file in files}

    def entries(self) -> Iterator[_Entry]:
        """The commits that may have something to tell."""
        by_hand = not self.wanted.kinds or not self.wanted.kinds.isdisjoint(OTHER_KINDS)
        below = {path: iter(changes) for path, changes in self.policy_log.items()}
        at = {path: next(changes) for path, changes in below.items()}
        touches = {change.commit for changes in self.policy_log.values() for change in changes}
        for commit in _not_before(self.wanted, self.book.checkout.commits(self.book.snapshot.commit)):
            self.book.begins = commit.time
            records = parse_all(commit.message) if MENTION in commit.message else ()
            self._watch(records)
            touched = (by_hand or len(commit.parents) > 1) and any(p in self._watched for _, p in commit.raw)
            if self.wanted.is_in_time(commit.time) and (records or touched):
                yield self._entry(commit, records, dict(at))
            if commit.commit in touches:
                for path in [path for path, change in at.items() if change.commit == commit.commit]:
                    older = next(below[path], None)
                    if older is None:
                        del at[path]
                    else:
                        at[path] = older

    def _watch(self, records: tuple[ReleaseRecord, ...]) -> None:
        for _, member in members(records):
            if not self.wanted.workloads or member.workload in self.wanted.workloads:
                self._watched.update(
                    site.partition("#")[0].encode("utf-8", "surrogateescape") for site in member.sites
                )

    def _entry(
        self,
        commit: LoggedCommit,
        records: tuple[ReleaseRecord, ...],
        policies: Mapping[str, PolicyChange],
    ) -> _Entry:
        changed = tuple(commit.changes())
        files = tuple(
            FileChange(
                commit.commit,
                commit.author,
                commit.time,
                commit.message,
                change.path,
                # A submodule's id is no blob of this repository.
                before=change.before.oid if change.before and change.before.is_file else None,
                after=change.after.oid if change.after and change.after.is_file else None,
            )
            for change in changed
            if change.path.encode("utf-8", "surrogateescape") in self._watched
        )
        return _Entry(commit, records, files, frozenset(change.path for change in changed), policies)

    def tell(self, batch: tuple[_Entry, ...]) -> Iterator[Change]:
        """What some commits did, as their files prove it."""
        versions: dict[str, list[FileVersion]] = {}
        for version in self.book.index.file_versions(chain.from_iterable(e.files for e in batch)):
            versions.setdefault(version.change.commit, []).append(version)
        carriers = self._carriers(batch)
        for entry in batch:
            yield from self._told(entry, carriers[entry.commit.commit], versions)

    def _told(
        self, entry: _Entry, carriers: tuple[_Carrier, ...], versions: Mapping[str, list[FileVersion]]
    ) -> Iterator[Change]:
        commit, found = entry.commit, versions.get(entry.commit.commit, ())
        told: list[Member] = []
        for carrier in carriers:
            for record, member in members(carrier.records):
                told.append(member)
                change = self.book._change(commit, carrier, record, member, policies=entry.policies)
                proven = self._proven(change, entry, found)
                yield replace(change, proven=proven)
        every = chain.from_iterable(map(moves, found))
        for member in moved_members(every, self.book._owners, told):
            yield self.book._change(commit, carriers[0], None, member, proven=True)

    def _proven(self, change: Change, entry: _Entry, versions: Iterable[FileVersion]) -> bool:
        """Whether the commit moves the image as it says; of one that changes policies, whether it changes
        the policy file."""
        if change.moves:
            return any(proves(version, change.member) for version in versions)
        policy = change.member.policy
        if policy is not None:
            return policy in entry.paths
        return any(map(self.book.index.scope.is_policy, entry.paths))

    def _carriers(self, batch: Iterable[_Entry]) -> dict[str, tuple[_Carrier, ...]]:
        """The messages that tell what each commit did: its own, or those that it merged."""
        found: dict[str, tuple[_Carrier, ...]] = {}
        merges: list[LoggedCommit] = []
        for entry in batch:
            found[entry.commit.commit] = (_Carrier(entry.commit, entry.records),)
            if not entry.records and len(entry.commit.parents) > 1:
                merges.append(entry.commit)
        tips = {c.commit: c for c in self.book.checkout.messages([merge.parents[1] for merge in merges])}
        for merge in merges:
            tip = tips.get(merge.parents[1])
            if tip is not None:  # else the clone does not reach so far
                found[merge.commit] = self._merged(merge, tip)
        return found

    def _merged(self, merge: LoggedCommit, tip: LoggedCommit) -> tuple[_Carrier, ...]:
        records = parse_all(tip.message)
        if records:
            return (_Carrier(tip, records),)
        inside = self.book.checkout.commits(
            tip.commit, mentioning=MENTION, changes=False, beside=merge.parents[0], limit=DEEPEST_MERGE
        )
        speaking = [_Carrier(commit, parse_all(commit.message)) for commit in inside]
        return tuple(carrier for carrier in speaking if carrier.records) or (_Carrier(tip, ()),)


def _owners(snapshot: Snapshot) -> Owners:
    by_label: dict[tuple[str, str], str] = {}
    by_image: dict[str, set[str]] = {}
    for name, sites in snapshot.claims.sites.items():
        for site in sites:
            by_label[site.label, str(site.repository)] = name
    for name, entry in snapshot.workloads.items():
        if entry.repository is not None:
            by_image.setdefault(str(entry.repository), set()).add(name)
    return Owners(by_label, {image: frozenset(names) for image, names in by_image.items()})


def _not_before(wanted: Wanted, commits: Iterator[LoggedCommit]) -> Iterator[LoggedCommit]:
    """Commits until nothing wanted can come any more."""
    older = 0
    for commit in commits:
        older = older + 1 if wanted.since is not None and commit.time < wanted.since else 0
        if older > OLDER_IN_A_ROW:
            return
        yield commit


def _batches(entries: Iterator[_Entry]) -> Iterator[tuple[_Entry, ...]]:
    size, batch = FIRST_BATCH, list[_Entry]()
    for entry in entries:
        batch.append(entry)
        if len(batch) >= size:
            yield tuple(batch)
            size, batch = min(2 * size, LARGEST_BATCH), []
    if batch:
        yield tuple(batch)
