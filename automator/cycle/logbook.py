"""The logbook: what happened to workloads, read back from the config repo's history and put to the proof.

One walk down the branch, newest first. Trailers tell most of it; what a merge brought is read from the
merged commit, and a site that moved without any trailer is a person's change. What commits changed is told
by a second walk, of those alone that touched watched folders. Files are read in batches, by one process each.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from automator.core.delivery.change import (
    MANUAL,
    MOVING_KINDS,
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
from automator.core.delivery.moves import Move, Owners, moved_members, moves
from automator.core.delivery.proof import Proof, prove
from automator.core.policy import Workload
from automator.core.record import Member, ReleaseRecord, parse_all
from automator.core.trace import FileChange
from automator.cycle.index import Index, Retellings, Snapshot
from automator.cycle.touching import Touching
from automator.edges.checkout import Checkout

if TYPE_CHECKING:
    from automator.edges.checkout import LoggedCommit, TreeChange

MENTION = "Release-Format:"
"""What every message with a record of ours contains."""
_MENTION = MENTION.encode()
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
    policies: Mapping[str, PolicyChange]
    """The last change of each policy file before it, or with it."""
    beside: bool = False
    """Whether it touched nothing that is watched, and what else it changed is not known yet."""

    def paths(self) -> Iterator[str]:
        """Everything that it changed."""
        return (change.path for change in self.commit.changes())


@dataclass(frozen=True, slots=True)
class _Carrier:
    """A commit whose message is read: the branch's own, or one that a merge brought."""

    commit: LoggedCommit
    records: tuple[ReleaseRecord, ...]
    words: str | None = None
    """The message that has the records, where it is another one than the commit's."""

    @property
    def message(self) -> str:
        return self.commit.message if self.words is None else self.words


class _Claim(NamedTuple):
    """One member of a record, and who says it."""

    carrier: _Carrier
    record: ReleaseRecord
    member: Member


@dataclass
class Logbook:
    """The releases of one config repo, as of its index's snapshot."""

    repo: str
    checkout: Checkout
    index: Index
    snapshot: Snapshot
    branch: str = ""
    """Name, URL and branch of the config repo, under which the store remembers it."""
    _owners: Owners = field(init=False)
    _oldest: LoggedCommit | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self._owners = _owners(self.snapshot)

    @property
    def begins(self) -> datetime | None:
        """Time of the oldest commit that was read; the beginning of the history once all of it was."""
        return None if self._oldest is None else self._oldest.time

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
        try:
            for batch in _batches(walk.entries()):
                told = (change for change in walk.tell(batch) if wanted.takes(change))
                yield from self._with_signatures(tuple(told)) if signed else told
        finally:
            walk.close()

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
        message = carrier.message
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
            why="" if record is None else why_of(message, member.workload),
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
    _touching: Touching = field(init=False)
    _retellings: Retellings = field(default_factory=dict)

    def __post_init__(self) -> None:
        sites = self.book.snapshot.claims.sites
        files = {site.file for name in self.book.names(self.wanted) for site in sites.get(name, ())}
        self._watched = set(map(_encoded, files))
        policies = _encoded(self.book.index.scope.policies.rstrip("/"))
        self._touching = Touching(self.book.checkout, {*self._watched, policies})

    def close(self) -> None:
        """End what git still does for it."""
        self._touching.close()

    def entries(self) -> Iterator[_Entry]:
        """The commits that may have something to tell."""
        by_hand = not self.wanted.kinds or not self.wanted.kinds.isdisjoint(OTHER_KINDS)
        below = {path: iter(changes) for path, changes in self.policy_log.items()}
        at = {path: next(changes) for path, changes in below.items()}
        touches = {change.commit for changes in self.policy_log.values() for change in changes}
        line = self.book.checkout.commits(self.book.snapshot.commit, changes=False)
        for bare in _not_before(self.wanted, line):
            self.book._oldest = bare
            records = parse_all(bare.message) if bare.mentions(_MENTION) else ()
            self._watch(records)
            raw = self._touching.of(bare.commit)
            commit = bare if raw is None else replace(bare, raw=raw)
            self._follow(commit)
            if bare.is_merge:  # newer ones than are wanted too: what they merged names files
                if raw is None or records or any(map(self._matters, commit.changes())):
                    yield _Entry(commit, records, dict(at), beside=raw is None)
            elif (records or (by_hand and any(path in self._watched for _, path in commit.raw))) and (
                self.wanted.is_in_time(commit.time)
            ):
                yield _Entry(commit, records, dict(at))
            if touches and commit.commit in touches:
                for path in [path for path, change in at.items() if change.commit == commit.commit]:
                    older = next(below[path], None)
                    if older is None:
                        del at[path]
                    else:
                        at[path] = older

    def _matters(self, change: TreeChange) -> bool:
        scope = self.book.index.scope
        return scope.is_manifest(change.path) or scope.is_policy(change.path)

    def _watch(self, records: tuple[ReleaseRecord, ...]) -> None:
        for _, member in members(records):
            if not self.wanted.workloads or member.workload in self.wanted.workloads:
                self._add(_encoded(site.partition("#")[0]) for site in member.sites)

    def _add(self, paths: Iterable[bytes]) -> None:
        more = {path for path in paths if path not in self._watched}
        if more:
            self._watched |= more
            self._touching.watch(more)

    def _follow(self, commit: LoggedCommit) -> None:
        """Watch the files that a commit took away when it brought one that is watched: it may have moved."""
        if any(head.endswith(b"A") and path in self._watched for head, path in commit.raw):
            self._add(path for head, path in commit.raw if head.endswith(b"D"))

    def tell(self, batch: tuple[_Entry, ...]) -> Iterator[Change]:
        """What some commits did, as their files prove it."""
        merged = [parent for entry in batch for parent in entry.commit.parents[1:]]
        tips = {tip.commit: tip for tip in self.book.checkout.messages(merged)} if merged else {}
        for tip in tips.values():
            self._watch(parse_all(tip.message))
        batch = tuple(entry for entry in batch if self.wanted.is_in_time(entry.commit.time))
        batch = self._with_changes(batch, tips)
        found = self._moves(batch)
        for entry in batch:
            mine = found.get(entry.commit.commit, [])
            told = _Told(entry, mine, self._carriers(entry, tips))
            proof = told.prove(self.book)
            if len(entry.commit.parents) > 1 and told.leaves_open(proof, self._changes_policies(entry)):
                inside = self._inside(entry.commit, tips)
                if inside:
                    self._watch(tuple(record for commit in inside for record in parse_all(commit.message)))
                    mine = self._moves((entry,)).get(entry.commit.commit, [])
                    told = _Told(entry, mine, _speaking(entry, inside), inside)
                    proof = told.prove(self.book)
            yield from told.changes(self.book, proof)

    def _with_changes(
        self, batch: tuple[_Entry, ...], tips: Mapping[str, LoggedCommit]
    ) -> tuple[_Entry, ...]:
        """What merges changed that touched nothing watched, where their messages say that they did; those
        that say nothing are left out."""
        speaking = {commit for commit, tip in tips.items() if tip.mentions(_MENTION)}
        asked = [
            entry.commit.commit
            for entry in batch
            if entry.beside and (entry.records or not speaking.isdisjoint(entry.commit.parents[1:]))
        ]
        found = {told.commit: told for told in self.book.checkout.messages(asked, changes=True)}
        kept = []
        for entry in batch:
            if not entry.beside:
                kept.append(entry)
            elif (commit := found.get(entry.commit.commit)) is not None and (
                entry.records or any(map(self._matters, commit.changes()))
            ):
                kept.append(replace(entry, commit=commit, beside=False))
        return tuple(kept)

    def _moves(self, batch: tuple[_Entry, ...]) -> dict[str, list[Move]]:
        """The sites that commits moved, by commit."""
        files = (
            FileChange(
                *(entry.commit.commit, entry.commit.author, entry.commit.time, entry.commit.message),
                change.path,
                # A submodule's id is no blob of this repository.
                before=change.before.oid if change.before and change.before.is_file else None,
                after=change.after.oid if change.after and change.after.is_file else None,
            )
            for entry in batch
            if any(path in self._watched for _, path in entry.commit.raw)
            for change in entry.commit.changes()
            if _encoded(change.path) in self._watched
        )
        found: dict[str, list[Move]] = {}
        for version in self.book.index.file_versions(files, retellings=self._retellings):
            found.setdefault(version.change.commit, []).extend(moves(version))
        return found

    def _changes_policies(self, entry: _Entry) -> bool:
        return any(map(self.book.index.scope.is_policy, entry.paths()))

    def _carriers(self, entry: _Entry, tips: Mapping[str, LoggedCommit]) -> tuple[_Carrier, ...]:
        """The messages that tell what a commit did: its own, or those of what it merged."""
        known = [tips[parent] for parent in entry.commit.parents[1:] if parent in tips]
        return _speaking(entry, known) if known else (_Carrier(entry.commit, entry.records),)

    def _inside(self, merge: LoggedCommit, tips: Mapping[str, LoggedCommit]) -> list[LoggedCommit]:
        """All commits that a merge brought, newest first; none where its tips are all of them."""
        if all(tips[tip].parents == merge.parents[:1] for tip in merge.parents[1:] if tip in tips):
            return []
        found: dict[str, LoggedCommit] = {}
        for tip in merge.parents[1:]:
            if tip in tips:
                brought = self.book.checkout.commits(tip, beside=merge.parents[0], limit=DEEPEST_MERGE)
                found |= {commit.commit: commit for commit in brought}
        return list(found.values())


@dataclass
class _Told:
    """What one commit of the branch says and does."""

    entry: _Entry
    moves: list[Move]
    carriers: tuple[_Carrier, ...]
    """Newest first."""
    inside: Sequence[LoggedCommit] = ()
    """All that it merged, where that was looked at; newest first."""
    _claims: list[_Claim] = field(init=False)

    def __post_init__(self) -> None:
        self._claims = [
            _Claim(carrier, record, member)
            for carrier in reversed(self.carriers)
            for record, member in members(carrier.records)
        ]

    def prove(self, book: Logbook) -> Proof:
        """Put what it says to the proof. Claims that move nothing get their proof elsewhere."""
        asked = [claim.member if claim.record.kind in MOVING_KINDS else _SILENT for claim in self._claims]
        return prove(asked, self.moves, book._owners)

    def leaves_open(self, proof: Proof, changes_policies: bool) -> bool:
        """Whether it did what these messages do not tell."""
        says_policies = any(claim.record.kind not in MOVING_KINDS for claim in self._claims)
        return bool(proof.untold) or (changes_policies and not says_policies)

    def changes(self, book: Logbook, proof: Proof) -> Iterator[Change]:
        """What is to be told of it."""
        commit, policies = self.entry.commit, self.entry.policies
        paths = frozenset(self.entry.paths())
        of_carrier: dict[str, list[Change]] = {}
        for i, (carrier, record, member) in enumerate(self._claims):
            names = proof.proven.get(i, ())
            proven = bool(names)
            if record.kind not in MOVING_KINDS:
                of_any = member.policy is None and any(map(book.index.scope.is_policy, paths))
                proven = of_any or member.policy in paths
            told = of_carrier.setdefault(carrier.commit.commit, [])
            for name in names or (member.workload,):
                mine = member if name == member.workload else replace(member, workload=name)
                told.append(book._change(commit, carrier, record, mine, proven=proven, policies=policies))
        for carrier in self.carriers:
            yield from of_carrier.get(carrier.commit.commit, ())
        for member in moved_members(proof.untold, book._owners):
            yield book._change(commit, self._mover(member), None, member, proven=True)

    def _mover(self, member: Member) -> _Carrier:
        """Who moved a site without a word: the last one in a merge who touched its file, and of those
        rather one who says nothing."""
        file = _encoded(member.sites[0].partition("#")[0])
        touching = [
            commit
            for commit in self.inside
            if len(commit.parents) == 1 and any(path == file for _, path in commit.raw)
        ]
        silent = (commit for commit in touching if MENTION not in commit.message)
        found = next(silent, touching[0] if touching else None)
        return self.carriers[0] if found is None else _Carrier(found, ())


_SILENT = Member("")
"""A claim that tells of no site."""


def _speaking(entry: _Entry, brought: Sequence[LoggedCommit]) -> tuple[_Carrier, ...]:
    """The carriers among the commits that a merge brought, and the merge's own message where it says more:
    forges may put the text of a pull request there, which has the trailers of its commit once more."""
    carriers = [_Carrier(commit, parse_all(commit.message)) for commit in brought]
    carriers = [carrier for carrier in carriers if carrier.records]
    said = {record for carrier in carriers for record in carrier.records}
    more = tuple(record for record in entry.records if record not in said)
    if not carriers:
        return (_Carrier(brought[0], more, entry.commit.message if more else None),)
    return (_Carrier(entry.commit, more), *carriers) if more else tuple(carriers)


def _encoded(path: str) -> bytes:
    return path.encode("utf-8", "surrogateescape")


def _owners(snapshot: Snapshot) -> Owners:
    by_label: dict[tuple[str, str], tuple[str, ...]] = {}
    by_image: dict[str, set[str]] = {}
    for name, sites in snapshot.claims.sites.items():
        for site in sites:
            place = site.label, str(site.repository)
            by_label[place] = (*by_label.get(place, ()), name)
    for name, entry in snapshot.workloads.items():
        if entry.repository is not None:
            by_image.setdefault(str(entry.repository), set()).add(name)
    names = {image: frozenset(names) for image, names in by_image.items()}
    return Owners(by_label, names, frozenset(snapshot.workloads))


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
