"""What a webhook is about: the door it comes through, the request, and what was understood of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from automator.core.reference import Repository
from automator.reasons import Reason

BODY_LIMIT = 1024 * 1024
"""Bytes of a body that are read at all; the listener stops there."""

GOOGLE_KEYS_URL = "https://www.googleapis.com/oauth2/v3/certs"
"""Where Google publishes the keys (JWKS) that sign the tokens of Pub/Sub."""


@dataclass(frozen=True, slots=True)
class Door:
    """Who may send to `/hooks/NAME`, and how the sender proves it."""

    name: str
    sender: str
    """A key of SENDERS."""
    secret_file: str | None = None
    """Read at each event; every line that is not blank is a secret that opens the door."""
    header: str | None = None
    """Header of the secret, where the operator chooses it; else the sender's usual one."""
    signed: bool = False
    """The header holds an HMAC-SHA256 of the body made with the secret, not the secret itself."""
    audience: str | None = None
    email: str | None = None
    registry: str | None = None
    """Host of the images, whatever the event says."""
    registries: Mapping[str, str] = field(default_factory=dict)
    """nexus: host by the name of its repository."""
    repositories: Mapping[str, str] = field(default_factory=dict)
    """artifactory: virtual repository by local one; "" where the images' paths begin without one."""


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request, read whole."""

    method: str
    query: Mapping[str, str]
    """Decoded parameters; of one given several times any value (see `repeated`)."""
    headers: Mapping[str, str]
    """By lower-case name."""
    body: bytes
    repeated: frozenset[str] = frozenset()
    """Names of parameters and headers that came more than once: no proof is taken from those."""

    @classmethod
    def of(
        cls,
        method: str,
        query: Iterable[tuple[str, str]],
        headers: Iterable[tuple[str, str]],
        body: bytes,
    ) -> Request:
        """A request from its parameters and headers as they came, in order and with repetitions."""
        seen: set[str] = set()
        repeated: set[str] = set()
        parameters: dict[str, str] = {}
        lowered: dict[str, str] = {}
        for name, value in query:
            (repeated if f"?{name}" in seen else seen).add(f"?{name}")
            parameters[name] = value
        for name, value in headers:
            low = name.lower()
            (repeated if low in seen else seen).add(low)
            lowered[low] = value
        return cls(method, parameters, lowered, body, frozenset(name.lstrip("?") for name in repeated))


class Result(StrEnum):
    """What becomes of an event."""

    ACCEPTED = "accepted"
    IGNORED = "ignored"
    """From whom it should be, but nothing to look at."""
    REJECTED = "rejected"


class Word(StrEnum):
    """Why an event got its result: the closed set that logs and metrics may show."""

    PUSHED = "pushed"
    GIT_PUSHED = "git-pushed"
    NOT_A_PUSH = "not-a-push"
    UNSUPPORTED_TYPE = "unsupported-type"
    UNKNOWN_REPOSITORY = "unknown-repository"
    UNUSABLE_NAME = "unusable-name"
    OTHER_BRANCH = "other-branch"
    KNOWN_COMMIT = "known-commit"
    REF_DELETED = "ref-deleted"
    HANDSHAKE = "handshake"
    BAD_SECRET = "bad-secret"  # noqa: S105
    MISSING_SECRET = "missing-secret"  # noqa: S105
    BAD_SIGNATURE = "bad-signature"
    MISSING_SIGNATURE = "missing-signature"
    MALFORMED_BODY = "malformed-body"
    OVERSIZE = "oversize"
    WRONG_METHOD = "wrong-method"
    UNKNOWN_SENDER = "unknown-sender"
    UNREADABLE_SECRET = "unreadable-secret"  # noqa: S105
    KEYS_UNAVAILABLE = "keys-unavailable"


@dataclass(frozen=True, slots=True)
class Push:
    """An image repository that got something new, by the word of its registry."""

    repository: Repository
    tag: str | None
    """A hint for people. The registry is asked; nothing is decided by this."""
    digest: str | None


@dataclass(frozen=True, slots=True)
class GitPush:
    """A ref of a Git repository that moved."""

    urls: tuple[str, ...]
    """Names of one repository, as its forge writes them."""
    ref: str
    commit: str | None


@dataclass(frozen=True, slots=True)
class Event:
    """What a request came to, and what the sender is answered."""

    result: Result
    code: Word
    status: int
    """HTTP status of the answer."""
    pushes: tuple[Push, ...] = ()
    """In the order of the body; a repository may come several times."""
    git_pushes: tuple[GitPush, ...] = ()
    answer: bytes | None = None
    """JSON that the sender waits for."""
    headers: tuple[tuple[str, str], ...] = ()
    """Headers of the answer that the sender waits for."""
    delivery: str | None = None
    """The sender's number for this delivery: one line, of events that proved their sender."""
    trouble: Reason | None = None
    """What the operator has to mend so that events come through; nothing for the sender."""


@dataclass(frozen=True, slots=True)
class Found:
    """What an adapter reads from the body of a sender that has proved itself."""

    code: Word
    pushes: tuple[Push, ...] = ()
    git_pushes: tuple[GitPush, ...] = ()
    answer: bytes | None = None
    delivery: str | None = None


class MalformedBody(Exception):
    """A body that does not hold what this sender always sends. Never leaves this package."""
