"""Guards: the one predicate over a version that filters, range and people let through.

`decide`, groups and `explain` all ask `passes`. Guards are asked cheapest first: what the version says
itself, what is remembered, what the registry serves now, what happened elsewhere, and the time.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import NamedTuple

from automator.core.duration import format_age, format_duration, format_moment
from automator.core.facts import Facts, Need, Signature, Unavailable
from automator.core.policy import Workload
from automator.core.promotion import After, Unknown, Upstream, never_there, promoted
from automator.core.reference import Image, short_text
from automator.core.standing import Current
from automator.core.verification import DEPLOYED, Progress, State
from automator.core.version import Rank
from automator.core.windows import state
from automator.reasons import Reason, Status, reason

LOOK_AGAIN = timedelta(hours=1)
"""After which a tag that lacks something is looked at again."""
STILL_PUSHED = timedelta(hours=1)
"""How long what an image lacks may still be on its way: builds push one platform after the other."""


OF_DIGEST = ("guard/platforms", "guard/unsigned", "guard/bad-signature", "guard/rejected-digest")
"""Stops that speak of what stands under a tag now."""
TOLD_UNASKED = ("guard/soak-undeployed", "verify/running")
"""Stops that end with news of a check or of a runtime, which wakes a cycle."""


OF_GROUP = "group:"
"""What the name of a group begins with among the upstreams of a workload: no workload is called so."""


class Stop(NamedTuple):
    """Why a version may not be taken now."""

    status: Status
    reason: Reason
    is_final: bool = False
    """Whether no other version may be taken either: without an answer nobody knows which is the best."""

    @property
    def is_of_digest(self) -> bool:
        """Whether it ends when the tag is pushed again, of which no tag list tells."""
        return self.status is Status.HELD and self.reason.code in OF_DIGEST

    @property
    def is_polled(self) -> bool:
        """Whether it ends at a time that nobody tells, so that it must be asked for again and again."""
        is_untold = self.reason.changes_at is None and self.reason.code not in TOLD_UNASKED
        return self.status is Status.WAITING and is_untold


def step_stop(workload: Workload, current: Current, tag: str) -> Stop | None:
    """Whether `step` forbids the jump from the current version; needs no fact."""
    step = workload.guards.step
    if step is None:
        return None
    here = None if current.tag is None else workload.rule.version(current.tag)
    there = workload.rule.version(tag)
    if here is None or there is None:
        why = reason("guard/step-unknown", tag=tag, current=current.tag or "nothing", step=step)
        return Stop(Status.HELD, why)
    if not is_too_far(workload, here.to_tuple(), there.to_tuple()):
        return None
    return Stop(Status.HELD, reason("guard/step", tag=tag, current=current.tag, step=step))


def is_too_far(workload: Workload, here: Rank | None, there: Rank | None) -> bool:
    """Whether `step` forbids the jump between versions of these ranks, or nobody can tell how far it is."""
    # By ranks, which candidates have: most candidates of a long list are asked about.
    step = workload.guards.step
    if step is None:
        return False
    if workload.rule.order != "semver" or here is None or there is None:
        return True
    return step != "major" and (here[0] != there[0] or (step == "patch" and here[1] != there[1]))


def is_urgent(workload: Workload, tag: str, digest: str | None = None) -> bool:
    """Whether this is the version that does not wait; of a followed tag, whether its digest is the one:
    while the digest is not known, it is not."""
    if workload.urgent is None:
        return False
    if workload.rule.followed is not None:
        return digest == workload.urgent.version
    return workload.rule.names((workload.urgent.version,), tag)


def young(workload: Workload, tag: str, facts: Facts, now: datetime) -> Stop | None:
    """Whether what is remembered of a tag tells already that it is too young."""
    seen = facts.seen.get(tag)
    if seen is None or (seen.platforms is not None and _lacking(workload, seen.platforms)):
        return None  # the digest of the whole image is yet to come: its age cannot be told
    image = facts.images.get(tag)
    return _age_stop(workload, tag, image.digest if isinstance(image, Image) else None, seen.since, now)


def _age_stop(
    workload: Workload, tag: str, digest: str | None, since: datetime, now: datetime
) -> Stop | None:
    """Whether a version is too young; what is urgent waits for the age that a rule demands, and for no
    other."""
    guards = workload.guards
    urgent = is_urgent(workload, tag, digest)
    min_age = guards.least_age if urgent else guards.min_age
    if min_age is None or now - since >= min_age:
        return None
    at = since + min_age
    if guards.windows and not urgent:
        window = state(guards.windows, at)
        # The time that is told is the one at which it is released, and not just eligible.
        at = at if window.open or window.changes_at is None else window.changes_at
    why = reason(
        "guard/min-age",
        changes_at=at,
        tag=tag,
        age=format_age(now - since),
        min_age=format_duration(min_age),
        at=format_moment(at, now),
    )
    return Stop(Status.WAITING, why)


def passes(
    workload: Workload, current: Current, tag: str, facts: Facts, now: datetime, *, polls: bool = True
) -> Image | Stop | Need:
    """What the registry serves for a version that every guard lets through; else the first guard that
    does not, or the facts that are missing.

    With `polls` a version that lacks a platform is asked for each time while it may still be pushed, as
    befits the best one; else once in a while.
    """
    stop = (
        step_stop(workload, current, tag)
        or (None if workload.rule.followed is not None else unverified(workload, tag, None, facts))
        or young(workload, tag, facts, now)
    )
    if stop is not None:
        return stop
    early = _not_upstream(workload, tag, facts)
    if early is not None:
        return early
    image = facts.images.get(tag)
    if image is None:
        known = None if polls else _known_to_lack(workload, tag, facts, now)
        return known or Need(images=(tag,))
    if isinstance(image, Unavailable):
        if not image.gone:
            return Stop(image.status, image.reason, is_final=True)
        return Stop(Status.WAITING, reason("tag/gone", tag=tag, image=workload.repository))
    found = (
        unverified(workload, tag, image.digest, facts)
        or _digest_stop(workload, tag, image, facts, now, polls=polls)
        or _unsigned(workload, tag, image, facts, now, polls=polls)
        or _promotion(workload, tag, image, facts, now)
    )
    if found is not None:
        return found
    return closed(workload, tag, now, image.digest) or _unlearnt(workload, facts) or image


def _digest_stop(
    workload: Workload, tag: str, image: Image, facts: Facts, now: datetime, *, polls: bool
) -> Stop | None:
    """The guards that speak of one digest alone."""
    if workload.rule.names(workload.rule.reject, tag, image.digest):
        return Stop(Status.HELD, reason("guard/rejected-digest", tag=tag, digest=image.digest))
    seen = facts.seen.get(tag)
    since = seen.since if seen is not None and seen.digest == image.digest else now
    lacking = _lacking(workload, image.platforms or ())
    if not lacking:
        return _age_stop(workload, tag, image.digest, since, now)
    is_young = polls and now - since < STILL_PUSHED
    return _without(
        workload, tag, lacking, image.platforms or (), Status.WAITING if is_young else Status.HELD
    )


def unfit(workload: Workload, tag: str, image: Image, facts: Facts) -> Stop | Need | None:
    """Why a version that was held before may not be gone back to: what its digest lacks. Its age, its range
    and what came before it do not matter."""
    if workload.rule.names(workload.rule.reject, tag, image.digest):
        return Stop(Status.HELD, reason("guard/rejected-digest", tag=tag, digest=image.digest))
    lacking = _lacking(workload, image.platforms or ())
    if lacking:
        return _without(workload, tag, lacking, image.platforms or (), Status.HELD)
    signers = workload.guards.signed_by
    if not signers:
        return None
    found = facts.signatures.get((image.digest, signers))
    if found is None:
        return Need(signatures=((image.digest, signers),))
    if isinstance(found, Unavailable):
        return Stop(found.status, found.reason)
    return None if found.is_good else _not_by(workload, tag, image.digest, found, Status.HELD)


def _unsigned(
    workload: Workload, tag: str, image: Image, facts: Facts, now: datetime, *, polls: bool
) -> Stop | Need | None:
    """Whether a digest lacks a signature, or whether that is yet to be asked."""
    signers = workload.guards.signed_by
    if not signers:
        return None
    seen = facts.seen.get(tag)
    since = seen.since if seen is not None and seen.digest == image.digest else now
    is_young = polls and now - since < STILL_PUSHED
    found = facts.signatures.get((image.digest, signers))
    if found is None and not is_young:
        found = _known_unsigned(workload, image.digest, facts, now)
    if found is None:
        return Need(signatures=((image.digest, signers),))
    if isinstance(found, Unavailable):
        return Stop(found.status, found.reason, is_final=True)
    if found.is_good:
        return None
    return _not_by(workload, tag, image.digest, found, Status.WAITING if is_young else Status.HELD)


def unknown_key(workload: Workload, known: Collection[str]) -> Reason | None:
    """Why a workload under its guard rails cannot be decided, where it must be signed by a key that the
    daemon's config does not have."""
    for name in (name for any_of in workload.guards.signed_by for name in any_of):
        if name not in known:
            told = ", ".join(sorted(known)) or "none"
            return reason("guard/unknown-key", place=workload.place_of("signed_by"), key=name, known=told)
    return None


def unknown_check(workload: Workload, known: Collection[str]) -> Reason | None:
    """Why a workload cannot be decided, where it must be verified by a check that the daemon's config does
    not have."""
    for name in workload.verify:
        if name not in known and name != DEPLOYED:
            told = ", ".join(sorted(known)) or "none"
            return reason("verify/unknown-check", place=workload.place_of("verify"), check=name, known=told)
    return None


def unreported(workload: Workload, runtimes: Collection[str]) -> Reason | None:
    """Why a workload cannot be decided that must be deployed, if nobody can say that it is; `runtimes` are
    those that cover it."""
    if DEPLOYED not in workload.verify or runtimes:
        return None
    return reason("verify/no-runtime", place=workload.place_of("verify"), workload=workload.name)


def failed(workload: Workload, facts: Facts) -> Reason | None:
    """Why nothing is released from where the workload is: a check of that version failed, and nobody
    accepted it."""
    series = facts.verification
    failure = None if series is None else series.failure
    if series is None or failure is None or is_accepted(workload, series.version):
        return None
    return reason(
        "verify/failed", version=short_text(series.version), check=failure.check, said=failure.words
    )


def is_accepted(workload: Workload, version: str) -> bool:
    """Whether a person takes a version, whatever checks say of it."""
    tag, _, digest = version.partition("@")
    return workload.rule.names(workload.accept, tag, digest or None)


def unverified(workload: Workload, tag: str, digest: str | None, facts: Facts) -> Stop | None:
    """Whether a version has to wait for the checks of the present one; what is urgent does not."""
    series = facts.verification
    if is_urgent(workload, tag, digest):
        return None
    if series is None and facts.apart and tag not in {version.partition("@")[0] for version in facts.apart}:
        shown = ", ".join(sorted({short_text(version) or "none" for version in facts.apart}))
        return Stop(Status.HELD, reason("verify/apart", tag=tag, workload=workload.name, versions=shown))
    if series is None or series.state is State.PASSED:
        return None
    broken = failed(workload, facts)
    if broken is not None:
        return Stop(Status.HELD, broken)
    if series.state is State.FAILED or is_accepted(workload, series.version):
        return None
    running = ", ".join(_waited_for(p) for p in series.checks if p.state is State.RUNNING)
    why = reason(
        "verify/running",
        changes_at=facts.decided_by,
        tag=tag,
        version=short_text(series.version),
        checks=running,
    )
    return Stop(Status.WAITING, why)


def _waited_for(progress: Progress) -> str:
    told = progress.check == DEPLOYED and progress.words
    return f"{progress.check} ({progress.words})" if told else progress.check


def _known_unsigned(workload: Workload, digest: str, facts: Facts, now: datetime) -> Signature | None:
    """What was found when the signatures of a digest were looked at, a short while ago."""
    found = facts.unsigned.get((digest, workload.guards.signed_by))
    return None if found is None or now - found.at >= LOOK_AGAIN else found


def _not_by(workload: Workload, tag: str, digest: str, found: Signature, status: Status) -> Stop:
    keys = " or ".join(found.lacks)
    image = workload.repository
    if found.flaw is None:
        return Stop(status, reason("guard/unsigned", tag=tag, image=image, digest=digest, keys=keys))
    why = reason("guard/bad-signature", tag=tag, image=image, digest=digest, keys=keys, problem=found.flaw)
    return Stop(status, why)


def _known_to_lack(workload: Workload, tag: str, facts: Facts, now: datetime) -> Stop | None:
    """Whether a tag lacked a platform or a signature when it was looked at, a short while ago."""
    seen, looked = facts.seen.get(tag), facts.looked.get(tag)
    if seen is None or looked is None or now - looked >= LOOK_AGAIN:
        return None
    lacking = [] if seen.platforms is None else _lacking(workload, seen.platforms)
    if lacking:
        return _without(workload, tag, lacking, seen.platforms or (), Status.HELD)
    unsigned = _known_unsigned(workload, seen.digest, facts, now)
    return None if unsigned is None else _not_by(workload, tag, seen.digest, unsigned, Status.HELD)


def _without(
    workload: Workload, tag: str, lacking: list[str], there: tuple[str, ...], status: Status
) -> Stop:
    told = ", ".join(there) or "none that is told"
    missing = ", ".join(lacking)
    why = reason("guard/platforms", tag=tag, missing=missing, image=workload.repository, there=told)
    return Stop(status, why)


def _lacking(workload: Workload, there: tuple[str, ...]) -> list[str]:
    """The platforms that a workload wants and that are not there."""
    return [platform for platform in workload.guards.platforms if not _has(there, platform)]


def _has(there: tuple[str, ...], platform: str) -> bool:
    """Whether a platform is among those of an image; a variant counts where it is asked for, and v8 is
    what arm64 means anyway."""
    wanted = platform.removesuffix("/v8") if platform.endswith("arm64/v8") else platform
    return any(p == wanted or p.startswith(f"{wanted}/") for p in there)


def _not_upstream(workload: Workload, tag: str, facts: Facts) -> Stop | Need | None:
    """Whether no upstream ever held a tag, so that no registry need be asked about it."""
    after = workload.guards.after
    if after is None:
        return None
    held = _upstreams(after, facts)
    if not isinstance(held, dict):
        return held
    why = never_there(tag, after, held)
    return None if why is None else Stop(Status.HELD, why)


def _upstreams(after: After, facts: Facts) -> dict[str, Upstream | None] | Stop | Need:
    """What the upstreams of `after` held; of which nothing can be known stops every version."""
    missing = tuple(name for name in upstream_names(after) if name not in facts.upstreams)
    if missing:
        return Need(upstreams=missing)
    held: dict[str, Upstream | None] = {}
    for name in upstream_names(after):
        members = facts.upstreams[name]
        if isinstance(members, Unknown):
            return Stop(members.status, members.reason, is_final=True)
        unknown = {name.removeprefix(OF_GROUP): None}
        held.update(unknown if members is None else {member.name: member for member in members})
    return held


def _promotion(workload: Workload, tag: str, image: Image, facts: Facts, now: datetime) -> Stop | Need | None:
    after = workload.guards.after
    if after is None:
        return None
    held = _upstreams(after, facts)
    if not isinstance(held, dict):
        return held
    urgent = is_urgent(workload, tag, image.digest)
    why = promoted(tag, image.digest, after, held, now, urgent=urgent)
    if why is None:
        return None
    waits = why.changes_at is not None or why.code == "guard/soak-undeployed"
    return Stop(Status.WAITING if waits else Status.HELD, why)


def _unlearnt(workload: Workload, facts: Facts) -> Need | None:
    """Of which upstreams it is yet to be asked whether somebody refused something there by closing a pull
    request. It is asked last, when nothing else stops a version."""
    names = []
    for name in upstreams_of(workload):
        members = facts.upstreams[name]
        if isinstance(members, tuple) and not all(member.learnt for member in members):
            names.append(name)
    return Need(closings=tuple(names)) if names else None


def upstreams_of(workload: Workload) -> tuple[str, ...]:
    """What a workload comes after; empty where that is nothing."""
    return () if workload.guards.after is None else upstream_names(workload.guards.after)


def upstream_names(after: After) -> tuple[str, ...]:
    """What `after` asks about: workloads, or a group, whose name has OF_GROUP before it."""
    return after.upstreams or (() if after.group is None else (f"{OF_GROUP}{after.group}",))


def closed(workload: Workload, tag: str, now: datetime, digest: str | None = None) -> Stop | None:
    """Whether the windows of a workload forbid a release now, of any version but the urgent one."""
    if not workload.guards.windows or is_urgent(workload, tag, digest):
        return None
    found = state(workload.guards.windows, now)
    if found.open:
        return None
    opens = "never"
    if found.changes_at is not None:
        opens = f"{'at' if found.is_exact else 'not before'} {format_moment(found.changes_at, now)}"
    why = reason(
        "guard/window",
        changes_at=found.changes_at,
        tag=tag,
        window=found.window or "every window",
        side="inside" if found.window is not None and found.window.kind == "deny" else "outside",
        opens=opens,
        place=workload.place_of("windows"),
    )
    return Stop(Status.HELD if found.changes_at is None else Status.WAITING, why)
