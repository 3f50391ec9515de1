"""Moves: which versions of which images a change of a file sets, whatever its commit's message says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from automator.core.record import Member
from automator.core.reference import Repository, value_text
from automator.core.site import Site
from automator.core.trace import FileVersion, of_image, pairs


class Move(NamedTuple):
    """One site that a commit set to another version."""

    site: str
    """Label: `apps/web.yaml#spec.template.spec.containers[app].image`."""
    repository: Repository | None
    before: str
    after: str


def moves(version: FileVersion) -> Iterator[Move]:
    """The sites of a file that hold another version after a change than before it. A site that came with
    the change, or went, is no move."""
    if not version.before or not version.after:
        return
    for repository in dict.fromkeys(site.repository for site in version.after):
        newer, older = of_image(version.after, repository), of_image(version.before, repository)
        for new, old in sorted(pairs(newer, older).items()):
            before, after = _value(older[old]), _value(newer[new])
            if before != after and after:
                yield Move(f"{version.change.path}#{newer[new].field}", repository, before, after)


def _value(site: Site) -> str:
    return value_text(site.tag, site.digest)


@dataclass(frozen=True, slots=True)
class Owners:
    """Whose a site is: by its label and image, else by its image where only one workload has that."""

    by_label: Mapping[tuple[str, str], str]
    by_image: Mapping[str, frozenset[str]]
    """Image repository -> names of workloads."""

    def of(self, move: Move) -> str | None:
        """Name of the workload, or None where none owns it, or more than one may."""
        image = str(move.repository)
        known = self.by_label.get((move.site, image))
        if known is not None:
            return known
        names = self.by_image.get(image, frozenset())
        return next(iter(names)) if len(names) == 1 else None


def moved_members(found: Iterable[Move], owners: Owners, told: Iterable[Member]) -> tuple[Member, ...]:
    """What a commit did to workloads beside what its trailers tell: one member for each workload and
    version. A move to the version that a trailer names for that workload, or that image, is told."""
    told = tuple(told)
    sites: dict[tuple[str, str, str, str], list[str]] = {}
    for move in found:
        name = owners.of(move)
        if name is not None and not any(_tells(member, name, move) for member in told):
            image = "" if move.repository is None else str(move.repository)
            sites.setdefault((name, image, move.before, move.after), []).append(move.site)
    return tuple(
        Member(name, image, before, after, tuple(labels))
        for (name, image, before, after), labels in sites.items()
    )


def _tells(member: Member, name: str, move: Move) -> bool:
    same = member.workload == name or (move.repository is not None and member.image == str(move.repository))
    return same and agree(member.after, move.after)


def agree(one: str, other: str) -> bool:
    """Whether two texts are one version: equal tags, and digests that do not contradict each other."""
    tag, _, digest = one.partition("@")
    other_tag, _, other_digest = other.partition("@")
    if tag != other_tag:
        return False
    if digest and other_digest:
        return digest == other_digest
    return bool(tag)
