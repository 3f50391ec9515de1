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

    by_label: Mapping[tuple[str, str], tuple[str, ...]]
    """Names of those that claim the site: more than one only where policies contradict each other."""
    by_image: Mapping[str, frozenset[str]]
    """Image repository -> names of workloads."""
    names: frozenset[str] = frozenset()
    """All workloads of today."""

    def of(self, move: Move) -> tuple[str, ...]:
        """Names of the workloads; none where nobody owns it, or by the image more than one may."""
        image = str(move.repository)
        known = self.by_label.get((move.site, image))
        if known is not None:
            return known
        names = self.by_image.get(image, frozenset())
        return tuple(names) if len(names) == 1 else ()


def moved_members(found: Iterable[Move], owners: Owners) -> tuple[Member, ...]:
    """What moves did to workloads: one member for each workload, image and step."""
    sites: dict[tuple[str, str, str, str], list[str]] = {}
    for move in found:
        for name in owners.of(move):
            image = "" if move.repository is None else str(move.repository)
            sites.setdefault((name, image, move.before, move.after), []).append(move.site)
    return tuple(
        Member(name, image, before, after, tuple(labels))
        for (name, image, before, after), labels in sites.items()
    )


def agree(one: str, other: str) -> bool:
    """Whether two texts are one version: equal tags, and digests that do not contradict each other."""
    tag, _, digest = one.partition("@")
    other_tag, _, other_digest = other.partition("@")
    if tag != other_tag:
        return False
    if digest and other_digest:
        return digest == other_digest
    return bool(tag)
