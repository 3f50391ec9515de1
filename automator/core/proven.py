"""Proven: which of the releases that a commit's message claims its commit really made."""

from __future__ import annotations

from automator.core.course import Shared, Value
from automator.core.identity import FileVersion, may_be_of, pairs
from automator.core.record import Member, ReleaseRecord, parse_all
from automator.core.reference import Repository
from automator.core.site import Site

Claim = tuple[ReleaseRecord, Member]


def proven(version: FileVersion, value: Value, site: Site, shared: Shared) -> Claim | None:
    """The claim of a commit that is true: it moves the image at a site of this file as it says."""
    change = version.change
    # A forge's merge says nothing itself; what it merged does. One message speaks of all of its sites.
    records = shared.once(
        ("records", change.message, change.merged),
        (),
        lambda: (*parse_all(change.message), *parse_all(change.merged)),
        len(change.message) + len(change.merged),
    )
    if not records:
        return None
    label = f"{change.path}#{site.field}"
    claims = [
        (record, member)
        for record in records
        for member in record.members
        # Where the file does not spell the repository, only the label tells which site is meant.
        if (label in member.sites if site.repository is None else member.image == str(site.repository))
    ]
    if not claims:
        return None
    moves = shared.once(
        ("moves", change.commit, change.path, site.repository),
        (version,),
        lambda: _moves(version, site.repository),
    )
    for before, after in moves.get(value[0], ()):
        if before != after and agree(after, value):
            claim = _claim(claims, before, after)
            if claim is not None:
                return claim
    return None


def _moves(
    version: FileVersion, repository: Repository | None
) -> dict[str | None, list[tuple[Value, Value]]]:
    """From what to what the image's sites of a file go in a change, by the tag that they go to."""
    newer = may_be_of(version.after or (), repository)
    older = may_be_of(version.before or (), repository)
    every = {
        ((older[o].tag, older[o].digest), (newer[n].tag, newer[n].digest))
        for n, o in pairs(newer, older).items()
    }
    found: dict[str | None, list[tuple[Value, Value]]] = {}
    for move in sorted(every, key=str):
        found.setdefault(move[1][0], []).append(move)
    return found


def _claim(claims: list[Claim], before: Value, after: Value) -> Claim | None:
    """The claim that says `after`; those of a squash each go on where the last one ended."""
    at, found = before, None
    for claim in claims:
        if agree(_value(claim[1].before), at):
            at = _value(claim[1].after)
            if agree(at, after):
                found = claim
    return found


def _value(text: str) -> Value:
    tag, _, digest = text.partition("@")
    return (tag or None, digest or None)


def agree(one: Value, other: Value) -> bool:
    """Equal versions; a digest that only one of them names does not part them, if there is a tag.

    A release names the digest it saw also where the file holds the tag alone.
    """
    if one[0] != other[0]:
        return False
    if one[1] is None or other[1] is None:
        return one[0] is not None
    return one[1] == other[1]
