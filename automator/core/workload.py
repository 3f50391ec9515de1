"""Workloads: what the entries of policy files mean, as values."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from automator.core.policyvalues import Place, Problem
from automator.core.promotion import After
from automator.core.rail import Rail
from automator.core.reference import Repository
from automator.core.rule import Rule
from automator.core.windows import Window
from automator.reasons import Reason


@dataclass(frozen=True, slots=True)
class Where:
    """Which sites a workload owns; all empty means every site of its repository."""

    paths: tuple[str, ...] = ()
    """gitignore-style globs."""
    kind: str | None = None
    namespace: str | None = None
    name: str | None = None
    container: str | None = None
    field: str | None = None
    marker: str | None = None


@dataclass(frozen=True, slots=True)
class Hold:
    """A person's stop, of one workload, a file or the config repo: nothing is released until it ends."""

    reason: str
    place: Place
    until: datetime | None = None

    def stops(self, now: datetime) -> bool:
        """Whether it has not ended yet."""
        return self.until is None or now < self.until


@dataclass(frozen=True, slots=True)
class Group:
    """Workloads that move together."""

    name: str
    match: str = "version"
    """`version`: all to one version; `any`: each to its own, together."""


@dataclass(frozen=True, slots=True)
class Urgent:
    """One version that waits neither for its age nor for soak and windows."""

    version: str
    reason: str


@dataclass(frozen=True, slots=True)
class Guards:
    """What a version must pass beside filters and range."""

    min_age: timedelta | None = None
    step: str | None = None
    """`patch`, `minor` or `major`."""
    platforms: tuple[str, ...] = ()
    signed_by: tuple[tuple[str, ...], ...] = ()
    """Of each of these, one key must have signed the digest; the policy says one, each rule another."""
    windows: tuple[Window, ...] = ()
    after: After | None = None
    least_age: timedelta | None = None
    """The part of `min_age` that rules demand: `urgent` does not pass it."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """How releases of a workload reach the branch. None is what the config says."""

    deliver: str | None = None
    """`push` or `pull-request`."""
    labels: tuple[str, ...] | None = None
    reviewers: tuple[str, ...] | None = None
    draft: bool | None = None
    automerge: bool | None = None


@dataclass(frozen=True, slots=True)
class Workload:
    """One valid entry of a policy file."""

    name: str
    repository: Repository
    where: Where
    rule: Rule
    pin: str
    """`tag` or `digest`."""
    hold: Hold | None
    place: Place
    owner: str | None = None
    environment: str | None = None
    description: str | None = None
    tags_from: Repository | None = None
    guards: Guards = Guards()
    group: Group | None = None
    freezes: tuple[Hold, ...] = ()
    """Stops of its file and of the config repo."""
    accept: tuple[str, ...] = ()
    downgrade: bool = False
    align: bool = False
    urgent: Urgent | None = None
    delivery: Delivery = Delivery()
    verify: tuple[str, ...] = ()
    """Checks of the daemon's config, by name, that must pass after a release."""
    on_failure: str = "stop"
    """`stop` or `rollback`: what a failed check does."""
    keys: tuple[tuple[str, Place], ...] = field(default=(), repr=False)
    """The keys that are set for it, here or in the defaults, and where each stands."""

    @property
    def listed(self) -> Repository:
        """The repository whose tags are listed."""
        return self.tags_from or self.repository

    def place_of(self, key: str) -> Place:
        """Where a key of it stands; the workload's own place where it is not set."""
        return dict(self.keys).get(key, self.place)


@dataclass(frozen=True, slots=True)
class InvalidWorkload:
    """An entry that cannot be used: it keeps its claims, and is held with the reason."""

    name: str
    repository: Repository | None
    """None where the image itself could not be read: then it claims nothing."""
    where: Where
    reason: Reason
    place: Place
    group: str | None = None
    """Name of the group that it holds together with itself."""


def group_of(entry: Workload | InvalidWorkload) -> str | None:
    """Name of the group that an entry is a member of."""
    if isinstance(entry, InvalidWorkload):
        return entry.group
    return None if entry.group is None else entry.group.name


@dataclass(frozen=True, slots=True)
class PolicySet:
    """All policies of a config repo at one commit."""

    workloads: tuple[Workload | InvalidWorkload, ...]
    problems: tuple[Problem, ...]
    """Every error found, in file and line order; includes those of invalid workloads and of files
    that do not parse at all."""
    broken: tuple[str, ...]
    """Files that do not parse: their workloads are held as of their last valid version in Git."""
    warnings: tuple[Problem, ...] = ()
    """What is valid but perhaps not meant, in file and line order."""
    rails: tuple[Rail, ...] = ()
    """The guard rails of `_rules.yaml`, to which workloads are held beside those of the config."""
