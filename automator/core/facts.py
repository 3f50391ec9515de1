"""Facts: what a decision knows of tags, digests and sites, and what it still needs to know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from automator.core.history import SiteHistory
from automator.core.promotion import Held, Unknown
from automator.core.reference import Image
from automator.core.site import Site
from automator.core.verification import Verification
from automator.reasons import Reason, Status, reason

SiteKey = tuple[str, int, str]


def site_key(site: Site) -> SiteKey:
    """A site's identity within a config repo: file, document, field."""
    return (site.file, site.document, site.field)


@dataclass(frozen=True, slots=True)
class Unavailable:
    """A fact that could not be had, and why."""

    reason: Reason
    waiting: bool = False
    """True where the answer is only late; False where asking failed."""

    @property
    def status(self) -> Status:
        return Status.WAITING if self.waiting else Status.FAILED

    @property
    def gone(self) -> bool:
        """The registry answered that there is no such thing: an answer, not a failure."""
        return self.reason.code == "registry/not-found"


@dataclass(frozen=True, slots=True)
class Sighting:
    """The digest that was last seen under a tag, and when it was first seen there."""

    digest: str
    since: datetime
    platforms: tuple[str, ...] | None = None
    """What the digest is made for; None where nobody looked."""


@dataclass(frozen=True, slots=True)
class Signature:
    """What was found when a digest's signatures were looked at."""

    at: datetime
    """When that was."""
    is_good: bool
    lacks: tuple[str, ...] = ()
    """Keys of which one should have signed, and none did."""
    flaw: str | None = None
    """What is wrong with the signature that is there; None where there is none."""


Signers = tuple[tuple[str, ...], ...]
"""Of each of these, one key must have signed."""
SignatureKey = tuple[str, Signers]
"""A digest, and who must have signed it."""


@dataclass(frozen=True, slots=True)
class Declined:
    """A version that a person refused by closing its pull request."""

    image: str
    tag: str
    digest: str | None
    built: datetime | None
    """Build time that the pull request wrote down."""
    number: int
    url: str
    at: datetime | None

    @property
    def reason(self) -> Reason:
        when = "by somebody" if self.at is None else f"on {self.at:%Y-%m-%d}"
        return reason("proposal/closed", tag=self.tag, url=self.url, when=when)


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known so far, for one workload."""

    built: Mapping[str, datetime | Unavailable | None] = field(default_factory=dict)
    """Build time by tag; None where the image does not say."""
    images: Mapping[str, Image | Unavailable] = field(default_factory=dict)
    """What the registry serves for a tag, asked in this cycle."""
    histories: Mapping[SiteKey, SiteHistory | Unavailable] = field(default_factory=dict)
    withdrawn: frozenset[str] = frozenset()
    """Tags, and digests of followed tags, whose releases the branch was rewound past."""
    unaccepted: frozenset[str] = frozenset()
    """Those of them that `accept` listed before the rewind already: that does not bring them back."""
    outdated: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Commits that moved a site down, and what `accept` listed before them already and ever since: people
    turned it away later than they had accepted it."""
    declined: tuple[Declined, ...] = ()
    """Versions of the workload that people refused by closing a pull request, as far as was asked."""
    seen: Mapping[str, Sighting] = field(default_factory=dict)
    """By tag; kept over restarts, and read only for workloads whose guards ask for it."""
    looked: Mapping[str, datetime] = field(default_factory=dict)
    """When the image of a tag was asked for last, since this process began."""
    signatures: Mapping[SignatureKey, Signature | Unavailable] = field(default_factory=dict)
    """Whether digests are signed, asked in this cycle."""
    unsigned: Mapping[SignatureKey, Signature] = field(default_factory=dict)
    """Signatures that were missing or wrong when they were looked at in an earlier cycle."""
    upstreams: Mapping[str, Held] = field(default_factory=dict)
    """By what `after` names: what that workload held, or, of a group, each member that is the same image;
    None where that cannot be known."""
    lent: tuple[str, ...] | Unknown = ()
    """For a workload that has no rule of its own and waits for that of upstream: whom to ask, or why there is
    none."""
    verification: Verification | None = None
    """What checks said so far of the version that the workload is at; None where nobody asked them."""
    decided_by: datetime | None = None
    """When a verification that runs ends at the latest."""
    verified: Mapping[str, bool] = field(default_factory=dict)
    """By version, as sites hold it: whether checks passed there; for those that were ever asked about."""
    apart: tuple[str, ...] = ()
    """The versions of the sites of a workload with `verify`, where these differ: no check can be asked."""


@dataclass(frozen=True, slots=True)
class Need:
    """The facts a decision still lacks."""

    built: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    signatures: tuple[SignatureKey, ...] = ()
    histories: tuple[Site, ...] = ()
    upstreams: tuple[str, ...] = ()
    closings: tuple[str, ...] = ()
    """Upstreams of which it hangs on what people refused there by closing pull requests."""
    idle: bool = False
    """Whether the workload stays where it is, whatever the answer."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds from the daemon's config."""

    lookups: int = 200
    """Tags looked up at most for one workload in one cycle."""


DEFAULT_LIMITS = Limits()
