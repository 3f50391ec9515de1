"""Promotion: whether a version has proven itself upstream, over a history that is given as a value.

`promoted` is the one predicate of `after`. It knows no order and chooses nothing: a version is a tag
*and* its digest, and it may go on where an upstream workload held exactly that for long enough.

What holds, whoever asks:

- Another digest under the tag is another version; a stay whose digest is not known proves nothing.
- Soak is one unbroken stay, the longest that was verified. Leaving and coming back begins a new one, and
  the record stays: a completed stay counts although upstream has moved on. Exactly elapsed counts.
- A stay that is not verified counts for nothing; a beginning in the future is a soak of zero.
- What one upstream rejected is rejected, with `need: any` too.
- What is not known withholds: an upstream whose history may still hold a rejection stops `any` too.
- Where runtimes tell what runs, a stay begins once all of them ran the version; one of which that is not
  known, whatever the cause, is no soak yet.
- `urgent` waits for no soak, but for everything else. A person's approval passes all but a rejection.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import NamedTuple

from automator.core.duration import format_duration
from automator.reasons import Reason, Status, reason


@dataclass(frozen=True, slots=True)
class After:
    """The key `after` of a workload."""

    upstreams: tuple[str, ...]
    """Names of workloads, `staging/web` for one of another config repo; empty with `group`."""
    group: str | None
    soak: timedelta
    need: str = "all"
    """`all` or `any` of the upstreams."""


@dataclass(frozen=True, slots=True)
class Stay:
    """One unbroken stay of one exact version at an upstream workload."""

    tag: str
    digest: str | None
    """None where nothing says which image the tag was: then it is nobody's proof."""
    since: datetime
    """See `stay_begins`."""
    until: datetime | None
    """None while it lasts."""
    verified: bool = True
    """Whether the checks that upstream asks for have passed; True where it asks for none."""
    committed: datetime | None = None
    """What the commit that began it says of its own time."""
    asked: bool = True
    """Whether anything is known of those checks; not so where another automator asks them."""
    awaits: tuple[str, ...] = ()
    """What each runtime of upstream that is not known to have run it has to say, with its name."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """What is known of an upstream workload."""

    name: str
    stays: tuple[Stay, ...]
    """Newest first."""
    rejected: frozenset[tuple[str, str | None]] = frozenset()
    """Versions that were turned away there; digest None means the tag, whatever it names, and an empty tag
    the digest, whatever names it."""
    complete: bool = True
    """Whether its history was read to the beginning."""
    learnt: bool = True
    """Whether `rejected` has what people refused there by closing pull requests, as the forge says it now."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """Why nothing is known of what an upstream workload held."""

    reason: Reason
    status: Status = Status.HELD
    """Waiting where the answer is only late."""


Held = tuple[Upstream, ...] | Unknown | None
"""What is known of what `after` names: a workload, or the members of a group that are the same image."""


def stay_begins(
    committed: datetime,
    merged: datetime | None = None,
    seen: datetime | None = None,
    deployed: datetime | None = None,
) -> datetime:
    """From when a stay counts: the latest of what is known of it.

    The commit's own time is anybody's claim; the forge's merge time, the first time that we saw the
    commit on the branch, and the time at which it was deployed can only make the stay shorter. Who lost
    the time of first sight passes that of the sight after: the soak begins anew, it is never skipped.
    """
    return max(at for at in (committed, merged, seen, deployed) if at is not None)


def promoted(
    tag: str,
    digest: str,
    after: After,
    upstreams: Mapping[str, Upstream | None],
    now: datetime,
    *,
    urgent: bool = False,
    approved: bool = False,
) -> Reason | None:
    """None where the version may go on, else why not, with the time at which that changes by itself.

    `upstreams` has each name of `after.upstreams`; with `after.group`, the members of the group that
    are the same image, whatever their names. None, or a name that is missing, is one of which nothing
    is known.
    """
    names = after.upstreams or tuple(sorted(upstreams))
    if not names:
        return None if approved else _unknown(tag, after.group or "no workload")
    known = [(name, upstreams.get(name)) for name in names]
    names_of_it = {(tag, digest), (tag, None), ("", digest)}
    for name, upstream in known:
        if upstream is not None and not upstream.rejected.isdisjoint(names_of_it):
            return reason("guard/after-rejected", version=tag, upstream=name)
    if approved:
        return None
    lacks = [_lack(tag, digest, name, upstream, after.soak, now, urgent) for name, upstream in known]
    unmet = [lack for lack in lacks if lack is not None]
    unknown = next((lack for lack in unmet if lack.kind is _Kind.UNKNOWN), None)
    if unknown is not None:
        return unknown.reason
    any_will_do = after.need == "any"
    if not unmet or (any_will_do and len(unmet) < len(lacks)):
        return None
    # Told is the obstacle that goes last; where any upstream will do, the one that goes first.
    return (min if any_will_do else max)(unmet, key=lambda lack: (lack.kind, lack.at)).reason


def never_there(tag: str, after: After, upstreams: Mapping[str, Upstream | None]) -> Reason | None:
    """Why a version cannot go on whatever its digest is: it was not held where `after` wants it."""
    missing = [
        upstream.name
        for upstream in upstreams.values()
        if upstream is not None and upstream.complete and all(stay.tag != tag for stay in upstream.stays)
    ]
    if not missing or (after.need == "any" and len(missing) < len(upstreams)):
        return None
    return reason("guard/after-not-there", version=tag, upstream=min(missing))


class _Kind(IntEnum):
    """What an upstream lacks, in the order of how much must happen until it does not."""

    SOAK = 0
    UNDEPLOYED = 1
    UNVERIFIED = 2
    ENDED = 3
    NEVER = 4
    UNKNOWN = 5


class _Lack(NamedTuple):
    kind: _Kind
    reason: Reason

    @property
    def at(self) -> datetime:
        """When it is gone by itself; the end of time where it never is."""
        return self.reason.changes_at or datetime.max.replace(tzinfo=UTC)


def _lack(
    tag: str, digest: str, name: str, upstream: Upstream | None, soak: timedelta, now: datetime, urgent: bool
) -> _Lack | None:
    """What one upstream lacks for the version to go on, if anything; rejections aside."""
    if upstream is None:
        return _Lack(_Kind.UNKNOWN, _unknown(tag, name))
    stays = [stay for stay in upstream.stays if (stay.tag, stay.digest) == (tag, digest)]
    if not stays and not upstream.complete:
        return _Lack(_Kind.UNKNOWN, _unknown(tag, name))
    if not stays:
        return _Lack(_Kind.NEVER, reason("guard/after-never", version=tag, digest=digest, upstream=name))
    verified = [stay for stay in stays if stay.verified]
    ran = [stay for stay in verified if not stay.awaits]
    longest = max((_soaked(stay, now) for stay in ran), default=timedelta(0))
    if verified and (urgent or (ran and longest >= soak)):
        return None
    # Clocks differ: an end in the future, by the commit that ended it, is not reached yet.
    lasting = [stay for stay in ran if stay.until is None or stay.since + soak <= stay.until]
    checked = verified and all(stay.verified for stay in stays if stay.until is None)
    if not lasting and not checked:
        code = "guard/after-unverified" if any(stay.asked for stay in stays) else "guard/after-unasked"
        return _Lack(_Kind.UNVERIFIED, reason(code, version=tag, upstream=name))
    wanted, lasted = format_duration(soak), format_duration(longest)
    if not lasting:
        unseen = _undeployed(tag, name, verified)
        if unseen is not None and (not ran or unseen.kind is _Kind.UNDEPLOYED):
            return unseen
        code = "guard/soak-ended"
        return _Lack(_Kind.ENDED, reason(code, version=tag, upstream=name, longest=lasted, soak=wanted))
    begun = min(stay.since for stay in lasting)
    at = (begun + soak).astimezone(UTC)
    why = reason(
        "guard/soak",
        changes_at=at,
        version=tag,
        upstream=name,
        held=format_duration(now - begun),
        soak=wanted,
        at=f"{at:%Y-%m-%d %H:%M:%S} UTC",
    )
    return _Lack(_Kind.SOAK, why)


def _undeployed(tag: str, name: str, verified: list[Stay]) -> _Lack | None:
    """What is to be said of stays that no runtime has shown to run: first of all of the one that lasts."""
    waiting = sorted((stay for stay in verified if stay.awaits), key=lambda stay: stay.until is not None)
    if not waiting:
        return None
    said = "; ".join(waiting[0].awaits)
    if waiting[0].until is None:
        why = reason("guard/soak-undeployed", version=tag, upstream=name, said=said)
        return _Lack(_Kind.UNDEPLOYED, why)
    return _Lack(_Kind.ENDED, reason("guard/soak-unseen", version=tag, upstream=name, said=said))


def _soaked(stay: Stay, now: datetime) -> timedelta:
    end = now if stay.until is None else min(stay.until, now)
    return max(end - stay.since, timedelta(0))


def _unknown(tag: str, name: str) -> Reason:
    return reason("guard/after-unknown", version=tag, upstream=name)
