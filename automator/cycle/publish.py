"""Rewriting and publishing: releases become commits, commits become one push.

A refused push is taken apart: each release is pushed by itself, so that only what the server
refuses fails. A lost race publishes nothing: the cycle decides again on the new tip.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import PurePosixPath

from automator.core.decide import Release
from automator.core.duration import format_age
from automator.core.reference import Repository, value_text
from automator.core.release import Draft, Member, ReleaseRecord, Templates, compose_or_default, source_link
from automator.core.report import Patch
from automator.core.rewrite import Edit, rewrite
from automator.core.site import Site
from automator.cycle.index import Index
from automator.edges.checkout import Checkout, Identity, Landed, Lost, Refused
from automator.errors import CheckoutError, ManifestError
from automator.reasons import Reason


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A release whose new texts are proven, ready to be committed."""

    release: Release
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


def rewrite_all(
    index: Index, releases: Iterable[Release]
) -> tuple[tuple[Rewritten, ...], tuple[tuple[Release, Reason], ...]]:
    """New texts for every release, each on top of the ones before it; and what is held instead.

    A release is rewritten in all its files or in none.
    """
    releases = tuple(releases)
    texts = index.texts({site.file for release in releases for site in release.sites})
    done: list[Rewritten] = []
    held: list[tuple[Release, Reason]] = []
    edited: set[str] = set()
    for release in releases:
        try:
            patches = _patches(release, texts, edited)
        except ManifestError as error:
            held.append((release, error.reason))
            continue
        texts.update({patch.file: patch.after for patch in patches})
        edited.update(patch.file for patch in patches)
        done.append(Rewritten(release, patches))
    return tuple(done), tuple(held)


def _patches(release: Release, texts: Mapping[str, str], edited: Collection[str]) -> tuple[Patch, ...]:
    """The edits of a release in texts of which some were `edited` since their sites were located."""
    by_file: dict[str, list[Edit]] = {}
    pin = release.workload.pin == "digest"
    for site in release.sites:
        by_file.setdefault(site.file, []).append(Edit(site, release.tag, release.image.digest, pin))
    patches: list[Patch] = []
    for file, edits in by_file.items():
        before = texts[file]
        after = rewrite(before, edits, PurePosixPath(file).name, located=file not in edited)
        patches.append(Patch(release.workload.name, file, before, after))
    return tuple(patches)


@dataclass(frozen=True)
class Publisher:
    """Commits and pushes on one branch."""

    checkout: Checkout
    author: Identity
    first_seen: Callable[[Repository, str], datetime | None] = lambda _repository, _tag: None
    """Since when a tag is in our lists."""
    templates: Templates | None = None

    def publish(self, base: str, rewritten: Sequence[Rewritten], now: datetime) -> Published:
        """One commit for each release, all in one push on top of `base`.

        Raises CheckoutError where the commits could not be made; nothing was pushed then.
        """
        commits = self.checkout.commit(
            base, [self._draft(item, now) for item in rewritten], when=now, author=self.author
        )
        try:
            answer = self._push(commits[-1], base)
        except CheckoutError as error:
            return Published(error=error.reason)
        if isinstance(answer, Landed):
            landed = zip((item.release for item in rewritten), commits, strict=True)
            return Published(landed=tuple(landed))
        if isinstance(answer, Lost):
            return Published(lost=True)
        if len(rewritten) == 1:
            return Published(refused=((rewritten[0].release, answer.words),))
        return self._one_by_one(base, rewritten, now)

    def _one_by_one(self, base: str, rewritten: Sequence[Rewritten], now: datetime) -> Published:
        """Each release by itself, on top of those that landed and without those that did not."""
        tip = base
        texts = {patch.file: patch.before for item in reversed(rewritten) for patch in item.patches}
        landed: list[tuple[Release, str]] = []
        refused: list[tuple[Release, str]] = []
        for item in rewritten:
            alone = Rewritten(item.release, _patches(item.release, texts, texts))
            try:
                (commit,) = self.checkout.commit(tip, [self._draft(alone, now)], when=now, author=self.author)
                answer = self._push(commit, tip)
            except CheckoutError as error:
                return Published(tuple(landed), tuple(refused), error=error.reason)
            if isinstance(answer, Landed):
                tip = commit
                texts.update({patch.file: patch.after for patch in alone.patches})
                landed.append((item.release, commit))
            elif isinstance(answer, Refused):
                refused.append((item.release, answer.words))
            else:
                return Published(tuple(landed), tuple(refused), lost=True)
        return Published(tuple(landed), tuple(refused))

    def _push(self, commit: str, base: str) -> Landed | Lost | Refused:
        """Push, and where the answer did not arrive, ask the branch what became of it."""
        try:
            return self.checkout.push(commit, expected=base)
        except CheckoutError:
            tip = self.checkout.ask_tip()
            self.checkout.fetch(tip)
            if self.checkout.is_ancestor(commit, tip):
                return Landed(commit)
            raise

    def _draft(self, item: Rewritten, now: datetime) -> Draft:
        files = tuple((patch.file, patch.after.encode()) for patch in item.patches)
        seen = self.first_seen(item.release.workload.repository, item.release.tag)
        return Draft(message(item.release, None if seen is None else now - seen, self.templates), files)


def message(release: Release, seen: timedelta | None, templates: Templates | None) -> str:
    """The commit message of a release: subject, body and trailers (DESIGN section 7).

    `seen` is how long ago its tag was first listed.
    """
    workload, image = release.workload, release.image
    members = tuple(
        Member(
            workload=workload.name,
            image=str(workload.repository),
            before=before,
            after=release.target,
            sites=tuple(site.label for site in release.sites if _version(site) == before),
            built=image.built,
            source=source_link(image.source, image.revision),
            policy=workload.place.file,
        )
        # Sites that were behind move from another version: each claim is exactly true.
        for before in dict.fromkeys((release.current, *map(_version, release.sites)))
        if any(_version(site) == before for site in release.sites)
    )
    why = f"newest in {workload.rule.text} of {release.count} tags"
    if seen is not None and seen >= timedelta(minutes=1):
        why += f", seen {format_age(seen)} ago"
    # The templates were tried when the config was read; one that fails all the same costs its words only.
    text, _ = compose_or_default(ReleaseRecord("release", members), why=why, templates=templates)
    return text


def _version(site: Site) -> str:
    return value_text(site.tag, site.digest)
