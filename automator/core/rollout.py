"""Rollout: what one runtime said, look by look, of one version that the config repo wants to run there.

Pure: looks come as values, and so does the time. What holds, whoever asks:

- Deployed is what a look has shown, from the time of that look on: what a runtime says of its own times is
  not believed. It stays so while the version restarts or is rescheduled, and ends when it fails.
- Failed is what a runtime says `FAILURES` looks in a row: that it has given up on the version, or a trouble
  that lasts for `TROUBLED` already. One bad look fails nothing.
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
    """When it was first seen in trouble since it was last seen well."""
    noes: int = 0
    """Looks that saw it in trouble since then, `FAILURES` at most."""
    trouble: str | None = None
    """One line, of the last look."""


def heard(rollout: Rollout | None, told: Deployment, at: datetime) -> Rollout:
    """The rollout after a look; a new one where the config repo has another version than before."""
    version = value_text(told.version or None, told.digest)
    if rollout is None or rollout.version != version:
        rollout = Rollout(version, at, DeployState.UNKNOWN, at)
    return _taken(rollout, told.seen.state, told.seen.trouble, at)


def unseen(rollout: Rollout, at: datetime) -> Rollout:
    """The rollout after a look that says nothing of it."""
    return _taken(rollout, DeployState.UNKNOWN, None, at)


def _taken(rollout: Rollout, state: DeployState, trouble: str | None, at: datetime) -> Rollout:
    words = None if trouble is None else one_line(trouble, TROUBLE_LIMIT)
    deployed, ill, noes = _no_later(rollout.deployed, at), _no_later(rollout.ill, at), rollout.noes
    if state is DeployState.DEPLOYED:
        deployed, ill, noes, words = deployed or at, None, 0, None
    elif state is DeployState.FAILED or (state is DeployState.PENDING and words is not None):
        noes, ill = min(noes + 1, FAILURES), ill or at
        lasts = state is DeployState.FAILED or at - ill >= TROUBLED
        state = DeployState.FAILED if lasts and noes >= FAILURES else DeployState.PENDING
        deployed = None if state is DeployState.FAILED else deployed
    since = min(rollout.since, at) if state is rollout.state else at
    found = replace(
        rollout, state=state, since=since, deployed=deployed, ill=ill, noes=noes, trouble=words,
        begun=min(rollout.begun, at),
    )  # fmt: skip
    return rollout if found == rollout else found


def _no_later(time: datetime | None, at: datetime) -> datetime | None:
    """A time that was not in the future when it was noted: a clock was wrong."""
    return None if time is None else min(time, at)


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
    times = (rollout.begun, rollout.since, rollout.deployed, rollout.ill)
    kept = [None if at is None else at.isoformat() for at in times]
    return json.dumps([rollout.version, rollout.state.value, kept, rollout.noes, rollout.trouble])


def from_text(text: str) -> Rollout | None:
    """What `to_text` wrote; None for anything else: then the runtime is believed anew."""
    try:
        version, state, kept, noes, trouble = json.loads(text)
        begun, since, deployed, ill = (None if at is None else _time(at) for at in kept)
        if begun is None or since is None:
            return None
        words = None if trouble is None else str(trouble)
        return Rollout(str(version), begun, DeployState(state), since, deployed, ill, int(noes), words)
    except (ValueError, TypeError, AttributeError, OverflowError):
        return None


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
