"""Rollout: what one runtime said, look by look, of one version that the config repo wants to run there.

Pure: looks come as values, and so does the time. What holds, whoever asks:

- Deployed is what two looks in a row have shown, from the first of them on: what a runtime says of its own
  times is not believed. It stays so while the version restarts or is rescheduled. It ends when the version
  fails, when it is seen for a while that it is not there (`LAPSE`) or that none of it is ready (`TROUBLED`),
  and when it restarts again and again. While it is told to have no replicas it stands still.
- Failed is what a runtime says `FAILURES` looks in a row: that it has given up on the version, or a trouble
  that lasts for `TROUBLED` already. A look without trouble begins the row anew, and so does progress; what
  was not seen for a while (`LAPSE`) has passed. What was seen before a release says nothing of that release.
- What is not there has not failed. What a runtime does not say, or cannot be asked, is not known: neither
  deployed nor failed nor gone.
- A version that left and came back begins anew.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from automator.core.reference import value_text
from automator.core.running import Deployed, Deployment, DeployState
from automator.reasons import one_line

FAILURES = 3
"""Looks in a row after which trouble may count as failure."""
TROUBLED = timedelta(minutes=10)
"""How long a version may have trouble that its runtime has not given up on: an image that cannot be pulled, a
container that restarts."""
LAPSE = timedelta(minutes=5)
"""Trouble that no look has shown for so long is over: a container that falls waits no longer to be started
again. Of runtimes that are looked at seldom it is longer."""
FALLS = 3
"""Looks that saw containers started again, each soon after the one before, after which it is no accident."""
SOON = timedelta(hours=1)
"""How soon that is for up to `FALLS` replicas, and sooner for more of them: of a hundred, one falls now and
then. Looks are counted, since a node that starts anew starts all that is on it."""
PAUSES = 50
"""The most times without replicas that are kept apart: before that, they are one."""
TIMES = (
    "begun", "since", "deployed", "ill", "ill_last", "well", "first", "gone", "gone_last", "fell", "idle",
    "lacking", "hindered",
)  # fmt: skip
"""The times of a rollout."""
TROUBLE_LIMIT = 120
"""Characters that are kept of a trouble: it is untrusted, and stands in commits and messages."""


@dataclass(frozen=True, slots=True)
class Rollout:
    """One version of a workload at one runtime, for as long as the config repo has it without a break."""

    version: str
    """As trailers write it: `1.4.3@sha256:…`, with the digest only where the sites pin it."""
    begun: datetime
    """The first look at which the config repo had it."""
    state: DeployState
    since: datetime
    """When the state became so."""
    deployed: datetime | None = None
    """Since when it runs there without a break; None while it does not."""
    ill: datetime | None = None
    """When it was first seen in trouble, of a trouble that has not passed."""
    noes: int = 0
    """Looks in a row that saw it in trouble, `FAILURES` at most."""
    trouble: str | None = None
    """One line, of the last look."""
    ill_last: datetime | None = None
    """When it was last seen in that trouble."""
    well: datetime | None = None
    """The first of the looks in a row that saw it complete and in health."""
    ready: int = 0
    """The most replicas that were seen ready."""
    first: datetime | None = None
    """When it came to be deployed at first, whatever came later."""
    gone: datetime | None = None
    """When it was first seen not to be there any more, or none of it ready, of an absence that has not
    passed."""
    gone_last: datetime | None = None
    """When that was last seen."""
    restarts: int | None = None
    """How often its containers had been started again, as the last look that tells has it."""
    falls: int = 0
    """Looks since it was deployed that saw it rise, each soon after the one before."""
    fell: datetime | None = None
    """The last of these."""
    idle: datetime | None = None
    """When it was first seen told to have no replicas, since it was well."""
    pauses: tuple[tuple[datetime, datetime], ...] = ()
    """From when until when it was so before, since it is deployed; oldest first."""
    lacking: datetime | None = None
    """Since when every look that tells shows it in trouble, not there, or with few of its replicas ready."""
    hindered: datetime | None = None
    """The last look that showed something in its way, as long as that may excuse what is said of it."""

    @property
    def is_restless(self) -> bool:
        """Whether it is started again and again, however well it is between."""
        return self.falls >= FALLS

    def paused(self, since: datetime, until: datetime | None) -> timedelta:
        """How long it had no replicas, as it was told, between two times (until now)."""
        pauses = self.pauses
        if self.idle is not None and until is not None:
            pauses = (*pauses, (self.idle, max(self.idle, until)))
        lengths = (min(end, until or end) - max(begun, since) for begun, end in pauses)
        return sum((length for length in lengths if length > timedelta()), timedelta())


def heard(rollout: Rollout | None, told: Deployment, at: datetime, lapse: timedelta = LAPSE) -> Rollout:
    """The rollout after a look; a new one where the config repo has another version than before. `lapse`:
    after which time trouble, or absence, that no look has shown is over."""
    version = value_text(told.version or None, told.digest)
    if rollout is None or rollout.version != version:
        rollout = Rollout(version, at, DeployState.UNKNOWN, at)
    trouble = told.seen.trouble
    words = None if trouble is None else one_line(trouble, TROUBLE_LIMIT)
    before = _counted(_no_later(rollout, at), told.seen.restarts, at)
    before = _held_up(before, told.seen, at)
    state, is_down = told.seen.state, told.seen.is_down and told.seen.state is not DeployState.DEPLOYED
    if state is DeployState.FAILED and told.seen.is_hearsay and before.hindered is not None:
        state = DeployState.UNKNOWN  # who gave up may have waited for what was in the way
    if told.seen.is_idle or (not is_down and state not in (DeployState.UNKNOWN, DeployState.ABSENT)):
        before = _seen_there(before, at, lapse)
    if told.seen.ready is not None and told.seen.ready > before.ready:  # it makes progress
        before = replace(before, ready=told.seen.ready, ill=None, ill_last=None, noes=0)
    match state:
        case DeployState.UNKNOWN:
            after = replace(before, state=DeployState.UNKNOWN, trouble=words, well=None)
        case DeployState.ABSENT if told.seen.is_idle:
            after = replace(_seen_idle(_seen_quiet(before, at, lapse), at), trouble=words)
        case DeployState.ABSENT:
            after = replace(_seen_gone(_seen_quiet(before, at, lapse), at, lapse), trouble=words)
        case DeployState.DEPLOYED:
            after = _seen_well(_seen_quiet(before, at, lapse), at, lapse)
        case DeployState.PENDING if words is None:
            after = replace(_seen_quiet(before, at, lapse), state=DeployState.PENDING, well=None)
        case _:
            has_given_up = state is DeployState.FAILED
            after = _seen_ill(replace(before, trouble=words), at, lapse, has_given_up=has_given_up)
    if is_down:
        after = _seen_down(after, at, lapse)
    if after.deployed is None:
        after = replace(after, idle=None, pauses=())
    return _dated(rollout, after, at)


def unseen(rollout: Rollout, at: datetime) -> Rollout:
    """The rollout after a look that says nothing of it."""
    after = replace(_no_later(rollout, at), state=DeployState.UNKNOWN, trouble=None, well=None)
    return _dated(rollout, after, at)


def renewed(rollout: Rollout, begun: datetime) -> Rollout:
    """The rollout as far as it says something of a release at `begun`: of trouble, what was seen since."""
    if rollout.ill is None or rollout.ill >= begun:
        return rollout
    state = DeployState.UNKNOWN if rollout.state is DeployState.FAILED else rollout.state
    return replace(rollout, state=state, ill=None, ill_last=None, noes=0, trouble=None)


def _counted(rollout: Rollout, restarts: int | None, at: datetime) -> Rollout:
    """After a look that tells how often containers were started again; fewer are those of other pods. How
    seldom it is looked does not matter: a look between that saw none tells as much."""
    if restarts is None:
        return rollout
    rises = rollout.restarts is not None and restarts > rollout.restarts
    rollout = replace(rollout, restarts=restarts)
    if rollout.deployed is None and not rollout.is_restless:
        return replace(rollout, falls=0, fell=None)  # how often it fell until it was well is no matter
    if rises:
        rollout = replace(rollout, falls=rollout.falls + 1, fell=at)
        return replace(rollout, deployed=None, well=None) if rollout.is_restless else rollout
    soon = max(LAPSE, min(SOON, SOON * FALLS / max(rollout.ready, 1)))
    is_over = rollout.fell is None or at - rollout.fell >= soon
    return replace(rollout, falls=0, fell=None) if is_over else rollout


def _held_up(rollout: Rollout, seen: Deployed, at: datetime) -> Rollout:
    """After a look that shows whether it is a time to go on, and whether something is in the way."""
    is_ill = seen.state in (DeployState.FAILED, DeployState.ABSENT) or (
        seen.state is DeployState.PENDING and seen.trouble is not None
    )
    if seen.is_short or is_ill:
        rollout = replace(rollout, lacking=rollout.lacking or at)
    elif seen.state is not DeployState.UNKNOWN or seen.is_counted:
        rollout = replace(rollout, lacking=None)
    if seen.is_hindered:
        return replace(rollout, hindered=at)
    if rollout.hindered is None:
        return rollout
    # Once it stands there for a while and nothing is in its way, what was in it excuses nothing any more.
    is_past = seen.is_counted and at - rollout.hindered >= TROUBLED
    return replace(rollout, hindered=None) if is_past or seen.state is DeployState.DEPLOYED else rollout


def _seen_gone(rollout: Rollout, at: datetime, lapse: timedelta) -> Rollout:
    rollout = replace(rollout, state=DeployState.ABSENT, well=None)
    if rollout.deployed is None:
        return rollout
    gone = rollout.gone or at
    if at - gone < lapse:  # pods and objects move: one look ends nothing
        return replace(rollout, gone=gone, gone_last=at)
    return replace(rollout, deployed=None, ready=0)


def _seen_down(rollout: Rollout, at: datetime, lapse: timedelta) -> Rollout:
    """After a look that shows replicas, and none of them ready. One that is started again is not believed to
    be ready for a while: an absence that ends nothing lasts longer here."""
    if rollout.deployed is None or rollout.idle is not None:
        return rollout
    gone = rollout.gone or at
    deployed = rollout.deployed if at - gone < max(lapse, TROUBLED) else None
    return replace(rollout, deployed=deployed, gone=gone, gone_last=at)


def _seen_idle(rollout: Rollout, at: datetime) -> Rollout:
    idle = None if rollout.deployed is None else rollout.idle or at
    return replace(rollout, state=DeployState.ABSENT, well=None, idle=idle)


def _seen_there(rollout: Rollout, at: datetime, lapse: timedelta) -> Rollout:
    """After a look that shows some of it, which ends an absence after a while."""
    is_back = rollout.gone_last is not None and at - rollout.gone_last >= lapse
    return replace(rollout, gone=None, gone_last=None) if is_back else rollout


def _seen_well(rollout: Rollout, at: datetime, lapse: timedelta) -> Rollout:
    if rollout.is_restless:
        return replace(rollout, state=DeployState.PENDING)
    is_steady = rollout.well is not None or (rollout.deployed is not None and rollout.ill is None)
    well = rollout.well or at
    if not is_steady:
        return replace(rollout, state=DeployState.PENDING, well=well)
    if rollout.deployed is None:
        begun = well if at - well <= lapse else at  # between looks far apart, nobody knows
        rollout = replace(rollout, deployed=begun, first=rollout.first or begun, gone=None, gone_last=None)
    if rollout.idle is not None:
        rollout = replace(rollout, idle=None, pauses=_packed((*rollout.pauses, (rollout.idle, at))))
    return replace(rollout, state=DeployState.DEPLOYED, well=well)


def _packed(pauses: tuple[tuple[datetime, datetime], ...]) -> tuple[tuple[datetime, datetime], ...]:
    """At most `PAUSES` of them: the two oldest are told as one that ended with the second and was as long."""
    if len(pauses) <= PAUSES:
        return pauses
    (first, first_end), (second, end), *later = pauses
    return ((second - (first_end - first), end), *later)


def _seen_quiet(rollout: Rollout, at: datetime, lapse: timedelta) -> Rollout:
    """After a look without trouble, which ends the row, and after a while the trouble."""
    rollout = replace(rollout, noes=0, trouble=None)
    is_over = rollout.ill_last is None or at - rollout.ill_last >= lapse
    return replace(rollout, ill=None, ill_last=None) if is_over else rollout


def _seen_ill(rollout: Rollout, at: datetime, lapse: timedelta, *, has_given_up: bool) -> Rollout:
    lasts = rollout.ill_last is not None and at - rollout.ill_last <= lapse
    ill, noes = (rollout.ill or at, rollout.noes + 1) if lasts else (at, 1)
    rollout = replace(rollout, ill=ill, ill_last=at, noes=min(noes, FAILURES), well=None)
    if noes >= FAILURES and (has_given_up or at - ill >= TROUBLED):
        return replace(rollout, state=DeployState.FAILED, deployed=None)
    return replace(rollout, state=DeployState.PENDING)


def _dated(before: Rollout, after: Rollout, at: datetime) -> Rollout:
    since = min(before.since, at) if after.state is before.state else at
    found = replace(after, since=since)
    return before if found == before else found


def _no_later(rollout: Rollout, at: datetime) -> Rollout:
    """A rollout of which no time is in the future: a clock was wrong when it was noted."""
    past = {name: min(time, at) for name in TIMES if (time := getattr(rollout, name)) is not None}
    pauses = tuple((min(begun, at), min(end, at)) for begun, end in rollout.pauses)
    return replace(rollout, **past, pauses=pauses)


def is_news(before: Rollout | None, after: Rollout) -> bool:
    """Whether a look has changed what hangs on it, or what is to be said."""
    if before is None:
        return after.state is not DeployState.UNKNOWN
    told = (before.version, before.state, before.deployed, before.trouble is None)
    return told != (after.version, after.state, after.deployed, after.trouble is None)


def is_of(rollout: Rollout, tag: str, digest: str | None) -> bool:
    """Whether a rollout is of a version: equal tags, and digests that do not contradict each other."""
    its_tag, _, its_digest = rollout.version.partition("@")
    if its_tag != tag:
        return False
    if its_digest and digest:
        return its_digest == digest
    return bool(tag)


# -- what a runtime knows of one workload --------------------------------------------------------------


class Silence(NamedTuple):
    """A runtime that does not answer."""

    since: datetime
    problem: str


@dataclass(frozen=True, slots=True)
class Told:
    """What one runtime has told of one workload."""

    rollouts: tuple[Rollout, ...] = ()
    """Newest first: of the version that the config repo has now, and of those before."""
    answered: datetime | None = None
    """When the runtime answered last; None where it never did."""
    silence: Silence | None = None
    """Where it does not answer now."""

    def ran(self, tag: str, digest: str | None, since: datetime, until: datetime | None) -> datetime | None:
        """From when on a version ran without a break during a stay in the config repo from `since` until
        `until` (None: it lasts), later by how long it was told to have no replicas; None where no look has
        shown it, or the last one that tells shows it gone, in trouble, or with few replicas ready."""
        newest = next(iter(self.rollouts), None)
        if until is None and newest is not None and (newest.lacking or newest.idle):
            return None
        times = [one.deployed for one in self.rollouts]
        return self._begun(times, tag, digest, since, until, has_pauses=True)

    def came(self, tag: str, digest: str | None, since: datetime, until: datetime | None) -> datetime | None:
        """When a version first ran during such a stay, whatever came later; None where no look has shown
        it."""
        return self._begun([one.first for one in self.rollouts], tag, digest, since, until)

    def _begun(
        self,
        times: Sequence[datetime | None],
        tag: str,
        digest: str | None,
        since: datetime,
        until: datetime | None,
        *,
        has_pauses: bool = False,
    ) -> datetime | None:
        """The first of the rollouts' times that is of a stay; later by the pauses since, where they count."""
        found: list[datetime] = []
        for i, (rollout, at) in enumerate(zip(self.rollouts, times, strict=True)):
            if at is None or not is_of(rollout, tag, digest):
                continue
            last = self.answered if i == 0 else self.rollouts[i - 1].begun
            if rollout.state is not DeployState.DEPLOYED or last is None:
                last = rollout.deployed or at
            begun = max(since, at)
            if has_pauses:
                begun += rollout.paused(begun, until)
            # One that ended before is of an earlier stay.
            if last >= since and (until is None or begun < until):
                found.append(begun)
        return min(found, default=None)

    def now(self, runtime: str, tag: str, digest: str | None, begun: datetime | None = None) -> Deployed:
        """How far a version is there. With `begun`, when the config repo came to have it: a look before that
        has seen an earlier release of it."""
        rollout = next(iter(self.rollouts), None)
        if rollout is None or not is_of(rollout, tag, digest):
            return Deployed(runtime, DeployState.UNKNOWN, None, self.words(tag, digest))
        if begun is not None and (self.answered is None or self.answered < begun):
            return Deployed(runtime, DeployState.UNKNOWN, None, self.words(tag, digest, begun))
        at = rollout.deployed if rollout.state is DeployState.DEPLOYED else rollout.since
        trouble = None if rollout.state is DeployState.DEPLOYED else self.words(tag, digest)
        return Deployed(runtime, rollout.state, at, trouble)

    def words(self, tag: str, digest: str | None, begun: datetime | None = None) -> str:
        """What is to be said of a version that is not known to run there, after the runtime's name."""
        rollout = next(iter(self.rollouts), None)
        is_known = rollout is not None and is_of(rollout, tag, digest)
        if self.silence is not None and not (is_known and rollout and rollout.state is DeployState.FAILED):
            at = f"{self.silence.since.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
            return f"has not answered since {at}: {self.silence.problem}"
        if rollout is None or not is_known or (begun and (self.answered or rollout.begun) < begun):
            return "has not been seen with it yet"
        if rollout.state is DeployState.FAILED:
            return rollout.trouble or "says that it failed"
        told = "" if rollout.trouble is None else f": {rollout.trouble}"
        if rollout.state is DeployState.UNKNOWN:
            return f"does not tell{told}"
        if rollout.state is DeployState.ABSENT:
            return f"does not run it{told}"
        if rollout.is_restless and rollout.fell is not None:
            at = f"{rollout.fell.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
            return f"starts it again and again, seen last at {at}{told}"
        if rollout.well is not None:
            return "shows it well, and is believed at the next look"
        return f"has not completed it{told}"


class Landing(NamedTuple):
    """Since when all runtimes of a workload ran a version, during one stay of it."""

    at: datetime | None
    awaits: tuple[str, ...] = ()
    """What each runtime that is not known to have run it has to say, with its name; empty otherwise."""


def landing(
    told: Mapping[str, Told], tag: str, digest: str | None, since: datetime, until: datetime | None
) -> Landing:
    """When the last of these runtimes, by name, ran a version; `told` is not empty."""
    ran = {runtime: one.ran(tag, digest, since, until) for runtime, one in told.items()}
    missing = tuple(
        f"{runtime} {told[runtime].words(tag, digest, since)}" for runtime, at in ran.items() if at is None
    )
    known = [at for at in ran.values() if at is not None]
    return Landing(None, missing) if missing else Landing(max(known))


def first_ran(
    told: Mapping[str, Told], tag: str, digest: str | None, since: datetime, until: datetime | None
) -> datetime | None:
    """When the last of these runtimes first ran a version during a stay, whatever came later; None where one
    of them never did. `told` is not empty."""
    came = [one.came(tag, digest, since, until) for one in told.values()]
    known = [at for at in came if at is not None]
    return max(known) if len(known) == len(came) else None


# -- kept as text --------------------------------------------------------------------------------------


def to_text(rollout: Rollout) -> str:
    """The rollout as one line of JSON, to be kept."""
    times: dict[str, str | list[list[str]]] = {
        name: at.isoformat() for name in TIMES if (at := getattr(rollout, name)) is not None
    }
    if rollout.pauses:
        times["pauses"] = [[begun.isoformat(), end.isoformat()] for begun, end in rollout.pauses]
    counts = [rollout.noes, rollout.ready, rollout.restarts, rollout.falls]
    return json.dumps([rollout.version, rollout.state.value, times, rollout.trouble, counts])


def from_text(text: str) -> Rollout | None:
    """What `to_text` wrote; None for anything else: then the runtime is believed anew."""
    try:
        version, state, kept, trouble, (noes, ready, restarts, falls) = json.loads(text)
        times = {name: _time(kept[name]) for name in TIMES if name in kept}
        return Rollout(
            version=str(version),
            state=DeployState(state),
            trouble=None if trouble is None else str(trouble),
            noes=int(noes),
            ready=int(ready),
            restarts=None if restarts is None else int(restarts),
            falls=int(falls),
            pauses=tuple((_time(begun), _time(end)) for begun, end in kept.get("pauses", ())),
            **times,
        )
    except (ValueError, TypeError, AttributeError, OverflowError, KeyError):
        return None


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
