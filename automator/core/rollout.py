"""Rollout: what one runtime said, look by look, of one version that the config repo wants to run there.

Pure: looks come as values, and so does the time. What holds, whoever asks:

- Deployed is what two looks in a row have shown, from the first of them on: what a runtime says of its own
  times is not believed. It stays so while the version restarts or is rescheduled, and ends when it fails.
- Failed is what a runtime says `FAILURES` looks in a row: that it has given up on the version, or a trouble
  that lasts for `TROUBLED` already. A look without trouble begins the row anew, and so does progress; what
  was not seen for a while (`LAPSE`) has passed. What was seen before a release says nothing of that release.
- What a runtime does not say, or cannot be asked, is not known: neither deployed nor failed.
- A version that left and came back begins anew.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
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
    """Since when it runs there without having failed; None while it does not, and once it failed."""
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


def heard(rollout: Rollout | None, told: Deployment, at: datetime, lapse: timedelta = LAPSE) -> Rollout:
    """The rollout after a look; a new one where the config repo has another version than before. `lapse`:
    after which time trouble that no look has shown is over."""
    version = value_text(told.version or None, told.digest)
    if rollout is None or rollout.version != version:
        rollout = Rollout(version, at, DeployState.UNKNOWN, at)
    trouble = told.seen.trouble
    words = None if trouble is None else one_line(trouble, TROUBLE_LIMIT)
    before = _no_later(rollout, at)
    if told.seen.ready is not None and told.seen.ready > before.ready:  # it makes progress
        before = replace(before, ready=told.seen.ready, ill=None, ill_last=None, noes=0)
    match told.seen.state:
        case DeployState.UNKNOWN:
            after = replace(before, state=DeployState.UNKNOWN, trouble=words)
        case DeployState.DEPLOYED:
            after = _seen_well(_seen_quiet(before, at, lapse), at)
        case DeployState.PENDING if words is None:
            after = replace(_seen_quiet(before, at, lapse), state=DeployState.PENDING, well=None)
        case state:
            has_given_up = state is DeployState.FAILED
            after = _seen_ill(replace(before, trouble=words), at, lapse, has_given_up=has_given_up)
    return _dated(rollout, after, at)


def unseen(rollout: Rollout, at: datetime) -> Rollout:
    """The rollout after a look that says nothing of it."""
    after = replace(_no_later(rollout, at), state=DeployState.UNKNOWN, trouble=None)
    return _dated(rollout, after, at)


def renewed(rollout: Rollout, begun: datetime) -> Rollout:
    """The rollout as far as it says something of a release at `begun`: of trouble, what was seen since."""
    if rollout.ill is None or rollout.ill >= begun:
        return rollout
    state = DeployState.UNKNOWN if rollout.state is DeployState.FAILED else rollout.state
    return replace(rollout, state=state, ill=None, ill_last=None, noes=0, trouble=None)


def _seen_well(rollout: Rollout, at: datetime) -> Rollout:
    is_steady = rollout.well is not None or (rollout.deployed is not None and rollout.ill is None)
    well = rollout.well or at
    if not is_steady:
        return replace(rollout, state=DeployState.PENDING, well=well)
    return replace(rollout, state=DeployState.DEPLOYED, deployed=rollout.deployed or well, well=well)


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
    times = (rollout.deployed, rollout.ill, rollout.ill_last, rollout.well)
    deployed, ill, ill_last, well = (None if time is None else min(time, at) for time in times)
    begun = min(rollout.begun, at)
    return replace(rollout, begun=begun, deployed=deployed, ill=ill, ill_last=ill_last, well=well)


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
        """From when on a version ran during a stay in the config repo from `since` until `until` (None: it
        lasts); None where no look has shown it."""
        found: list[datetime] = []
        for i, rollout in enumerate(self.rollouts):
            if rollout.deployed is None or not is_of(rollout, tag, digest):
                continue
            last = self.answered if i == 0 else self.rollouts[i - 1].begun
            if rollout.state is not DeployState.DEPLOYED or last is None:
                last = rollout.deployed
            begun = max(since, rollout.deployed)
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
        if rollout.state is DeployState.UNKNOWN:
            return "does not tell" + ("" if rollout.trouble is None else f": {rollout.trouble}")
        if rollout.well is not None:
            return "shows it well, and is believed at the next look"
        return "has not completed it" + ("" if rollout.trouble is None else f": {rollout.trouble}")


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


# -- kept as text --------------------------------------------------------------------------------------


def to_text(rollout: Rollout) -> str:
    """The rollout as one line of JSON, to be kept."""
    times = (rollout.begun, rollout.since, rollout.deployed, rollout.ill, rollout.ill_last, rollout.well)
    kept = [None if at is None else at.isoformat() for at in times]
    return json.dumps(
        [rollout.version, rollout.state.value, kept, rollout.noes, rollout.trouble, rollout.ready]
    )


def from_text(text: str) -> Rollout | None:
    """What `to_text` wrote; None for anything else: then the runtime is believed anew."""
    try:
        version, state, kept, noes, trouble, ready = json.loads(text)
        begun, since, deployed, ill, ill_last, well = (None if at is None else _time(at) for at in kept)
        if begun is None or since is None:
            return None
        words = None if trouble is None else str(trouble)
        return Rollout(
            str(version), begun, DeployState(state), since, deployed, ill, int(noes), words,
            ill_last, well, int(ready),
        )  # fmt: skip
    except (ValueError, TypeError, AttributeError, OverflowError):
        return None


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
