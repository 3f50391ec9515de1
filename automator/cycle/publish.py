"""Rewriting and publishing: releases become commits, commits become one push.

A refused push is taken apart: each release is pushed by itself, so that only what the server
refuses fails. A lost race publishes nothing: the cycle decides again on the new tip.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import PurePosixPath

from automator.core.decide import Release
from automator.core.duration import format_age
from automator.core.feedback import DOWNGRADE
from automator.core.reference import Repository, value_text
from automator.core.release import Draft, Member, ReleaseRecord, Templates, compose_or_default, source_link
from automator.core.report import Patch
from automator.core.rewrite import Edit, rewrite
from automator.core.site import Site
from automator.core.sourcechanges import NOTHING, Named
from automator.core.together import for_its_sake
from automator.cycle.feedback import Teller
from automator.cycle.index import Index
from automator.cycle.sourcechanges import SourceChanges, Step
from automator.edges.checkout import Checkout, Identity, Landed, Lost, Refused
from automator.errors import CheckoutError, ManifestError
from automator.reasons import Reason


@dataclass(frozen=True, slots=True)
class Rewritten:
    """One commit to be: its releases, whose new texts are proven."""

    releases: tuple[Release, ...]
    """One, or all members of a group that move."""
    patches: tuple[Patch, ...]


@dataclass(frozen=True, slots=True)
class Published:
    """What became of a cycle's releases."""

    landed: tuple[tuple[Release, str], ...] = ()
    """Release and its commit."""
    refused: tuple[tuple[Release, str], ...] = ()
    """Release and the server's words."""
    lost: bool = False
    """Somebody pushed first: what is in neither list must be decided again."""
    error: Reason | None = None
    """The server stopped answering: what is in neither list has not landed as far as is known."""


Held = tuple[Release, Reason]


def rewrite_all(
    index: Index, releases: Iterable[Release], *, apart: bool = False
) -> tuple[tuple[Rewritten, ...], tuple[Held, ...]]:
    """New texts for every commit, each on top of the ones before it, or (`apart`) of what the head has; and
    what is held instead.

    A release is rewritten in all its files or in none, a group in all its members or in none.
    """
    releases = tuple(releases)
    texts = index.texts({site.file for release in releases for site in release.sites})
    done: list[Rewritten] = []
    held: list[Held] = []
    edited: set[str] = set()
    for batch in batches(releases):
        try:
            patches = _patches(batch, texts, edited)
        except _Unwritable as error:
            held += [(release, error.told(release)) for release in batch]
            continue
        if not apart:
            texts.update({patch.file: patch.after for patch in patches})
            edited.update(patch.file for patch in patches)
        done.append(Rewritten(batch, patches))
    return tuple(done), tuple(held)


def batches(releases: Iterable[Release]) -> tuple[tuple[Release, ...], ...]:
    """The releases of each commit: one, or those of a group together."""
    found: dict[tuple[str, str], list[Release]] = {}
    for release in releases:
        alone = ("workload", release.workload.name)
        found.setdefault(alone if release.together is None else ("group", release.together), []).append(
            release
        )
    return tuple(map(tuple, found.values()))


class _Unwritable(Exception):
    """A release of a commit that cannot be written exactly, so that none of the commit is."""

    def __init__(self, culprit: Release, why: Reason) -> None:
        super().__init__(why.sentence)
        self._culprit, self._why = culprit, why

    def told(self, release: Release) -> Reason:
        """Why this release of the commit is held."""
        if release is self._culprit:
            return self._why
        return for_its_sake(release.together or "", self._culprit.workload.name, self._why, release.tag)


def _patches(
    releases: Sequence[Release], texts: Mapping[str, str], edited: Collection[str]
) -> tuple[Patch, ...]:
    """The edits of a commit in texts of which some were `edited` since their sites were located.

    Raises _Unwritable.
    """
    texts, edited = dict(texts), set(edited)
    patches: list[Patch] = []
    for release in releases:
        by_file: dict[str, list[Edit]] = {}
        pin = release.workload.pin == "digest"
        for site in release.sites:
            by_file.setdefault(site.file, []).append(Edit(site, release.tag, release.image.digest, pin))
        for file, edits in by_file.items():
            before = texts[file]
            try:
                after = rewrite(before, edits, PurePosixPath(file).name, located=file not in edited)
            except ManifestError as error:
                raise _Unwritable(release, error.reason) from error
            patches.append(Patch(release.workload.name, file, before, after))
            texts[file] = after
            edited.add(file)
    return tuple(patches)


@dataclass
class Publisher:
    """Commits and pushes on one branch."""

    checkout: Checkout
    author: Identity
    first_seen: Callable[[Repository, str], datetime | None] = lambda _repository, _tag: None
    """Since when a tag is in our lists."""
    templates: Templates | None = None
    pushing: Callable[[str | None], None] = lambda _commit: None
    """Told which commit is about to be pushed, and None when it certainly did not land."""
    sources: SourceChanges | None = None
    """Who knows what the changes of a release name."""
    teller: Teller | None = None
    """Told of each commit that landed."""

    def publish(self, base: str, rewritten: Sequence[Rewritten], now: datetime) -> Published:
        """One commit for each release, all in one push on top of `base`; nothing is pushed where they could
        not be made."""
        drafts = self._drafts(rewritten, now)
        try:
            commits = self.checkout.commit(base, drafts, when=now, author=self.author)
            answer = self._push(commits[-1], base)
        except CheckoutError as error:
            return Published(error=error.reason)
        if isinstance(answer, Landed):
            self._tell(drafts, commits)
            pairs = zip(rewritten, commits, strict=True)
            return Published(landed=tuple((r, commit) for item, commit in pairs for r in item.releases))
        if isinstance(answer, Lost):
            return Published(lost=True)
        if len(rewritten) == 1:
            return Published(refused=tuple((r, answer.words) for r in rewritten[0].releases))
        return self._one_by_one(base, rewritten, now)

    def publish_draft(self, base: str, draft: Draft, now: datetime) -> tuple[str, Landed | Lost | Refused]:
        """One commit that is made already but for its parent, on `base` and pushed; and the answer.

        Raises CheckoutError.
        """
        (commit,) = self.checkout.commit(base, [draft], when=now, author=self.author)
        answer = self._push(commit, base)
        if isinstance(answer, Landed):
            self._tell((draft,), (commit,))
        return commit, answer

    def draft(self, item: Rewritten, now: datetime) -> Draft:
        """The commit that a rewritten release becomes."""
        (draft,) = self._drafts((item,), now)
        return draft

    def with_refs(self, record: ReleaseRecord) -> ReleaseRecord:
        """A record that a person asked for, with what its changes name."""
        if self.sources is None or record.refs or record.kind not in ("release", "rollback", "promote"):
            return record
        members = tuple(replace(m, source=m.source or self.sources.source_of(m)) for m in record.members)
        (found,) = self.sources.named([Step(members, record.kind == "rollback")])
        return replace(record, members=_timed(members, found), refs=found.refs)

    def commit(self, base: str, drafts: Sequence[Draft], now: datetime) -> tuple[str, ...]:
        """Commits on `base`, on no branch yet. Raises CheckoutError."""
        return self.checkout.commit(base, drafts, when=now, author=self.author)

    def _one_by_one(self, base: str, rewritten: Sequence[Rewritten], now: datetime) -> Published:
        """Each release by itself, on top of those that landed and without those that did not."""
        tip = base
        texts = {patch.file: patch.before for item in reversed(rewritten) for patch in reversed(item.patches)}
        landed: list[tuple[Release, str]] = []
        refused: list[tuple[Release, str]] = []
        for item in rewritten:
            alone = Rewritten(item.releases, _patches(item.releases, texts, texts))
            drafts = self._drafts((alone,), now)
            try:
                (commit,) = self.checkout.commit(tip, drafts, when=now, author=self.author)
                answer = self._push(commit, tip)
            except CheckoutError as error:
                return Published(tuple(landed), tuple(refused), error=error.reason)
            if isinstance(answer, Landed):
                tip = commit
                self._tell(drafts, (commit,))
                texts.update({patch.file: patch.after for patch in alone.patches})
                landed += [(release, commit) for release in item.releases]
            elif isinstance(answer, Refused):
                refused += [(release, answer.words) for release in item.releases]
            else:
                return Published(tuple(landed), tuple(refused), lost=True)
        return Published(tuple(landed), tuple(refused))

    def _push(self, commit: str, base: str) -> Landed | Lost | Refused:
        """Push, and where the answer did not arrive, ask the branch what became of it."""
        self.pushing(commit)
        try:
            answer = self.checkout.push(commit, expected=base)
            if not isinstance(answer, Landed):
                self.pushing(None)
            return answer
        except CheckoutError:
            tip = self.checkout.ask_tip()
            self.checkout.fetch(tip, proven=False)  # it is only asked whether ours is in it
            if self.checkout.is_ancestor(commit, tip):
                return Landed(commit)
            self.pushing(None)
            raise

    def _tell(self, drafts: Sequence[Draft], commits: Sequence[str]) -> None:
        if self.teller is not None:
            for draft, commit in zip(drafts, commits, strict=True):
                self.teller.landed(draft.message, commit)

    def _drafts(self, rewritten: Sequence[Rewritten], now: datetime) -> list[Draft]:
        """The commits, with what their changes name: all forges are asked at once."""
        steps = [Step(_all_members(i.releases), _goes_back(i.releases)) for i in rewritten]
        names = (NOTHING,) * len(steps) if self.sources is None else self.sources.named(steps)
        return [self._draft(item, found, now) for item, found in zip(rewritten, names, strict=True)]

    def _draft(self, item: Rewritten, named: Named, now: datetime) -> Draft:
        # A file that two members of a group write is written as the last one leaves it.
        files = {patch.file: patch.after.encode() for patch in item.patches}
        first = item.releases[0]
        seen = self.first_seen(first.workload.listed, first.tag)
        text = message(item.releases, None if seen is None else now - seen, self.templates, named)
        return Draft(text, tuple(files.items()))


def message(
    releases: Sequence[Release],
    seen: timedelta | None,
    templates: Templates | None,
    named: Named = NOTHING,
) -> str:
    """The message of a commit: subject, body and trailers (DESIGN section 7), with a block for each
    release.

    `seen` is how long ago the first one's tag was first listed; `named` is what its changes name, and when
    their sources' commits were made.
    """
    first = releases[0]
    count = f" of {first.count} tags" if first.workload.rule.followed is None else ""
    why = f"newest in {first.workload.rule.text}{count}"
    if first.workload.rule.followed is not None:
        why = f"new digest of {first.tag}, {first.workload.rule.text}"
    if first.undo is not None:
        why = f"the last good version before {first.current.partition('@')[0]}"
    elif first.down:
        why = f"the policy excludes {first.current.partition('@')[0]} and permits a downgrade: {why}"
    if first.undo is None and seen is not None and seen >= timedelta(minutes=1):
        why += f", seen {format_age(seen)} ago"
    if named.total > len(named.refs):
        why += f"; its changes name {named.total}, of which {len(named.refs)} are below"
    urgent = [r.workload.urgent.reason for r in releases if r.is_urgent and r.workload.urgent is not None]
    kind = "release" if first.undo is None else "rollback"
    told = f"urgent: {urgent[0]}" if urgent else first.undo
    if told is None and first.down:
        told = f"{DOWNGRADE}the policy excludes {first.current.partition('@')[0]}"
    record = ReleaseRecord(kind, _timed(_all_members(releases), named), reason=told, refs=named.refs)
    # The templates were tried when the config was read; one that fails all the same costs its words only.
    text, _ = compose_or_default(record, why=why, templates=templates)
    return text


def _all_members(releases: Sequence[Release]) -> tuple[Member, ...]:
    return tuple(member for release in releases for member in _members(release))


def _timed(members: tuple[Member, ...], named: Named) -> tuple[Member, ...]:
    """Members with the times of their sources' commits, where those are told."""
    return tuple(replace(m, source_time=named.made_at(m.source)) for m in members)


def _goes_back(releases: Sequence[Release]) -> bool:
    """Whether older versions take the place of newer ones."""
    return releases[0].undo is not None or releases[0].down


def _members(release: Release) -> Iterator[Member]:
    """The blocks of one release; sites that were behind move from another version: each claim is exactly
    true."""
    workload, image = release.workload, release.image
    for before in dict.fromkeys((release.current, *map(_version, release.sites))):
        sites = tuple(site.label for site in release.sites if _version(site) == before)
        if sites:
            yield Member(
                workload=workload.name,
                image=str(workload.repository),
                before=before,
                after=release.target,
                sites=sites,
                built=image.built,
                source=source_link(image.source, image.revision),
                policy=workload.place.file,
            )


def _version(site: Site) -> str:
    return value_text(site.tag, site.digest)
