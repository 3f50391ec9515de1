"""Changes: one workload's part of one commit on the branch, as the release log tells it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from automator.core.record import FIRST_COMMIT, TRAILER_LINE, Member, ReleaseRecord
from automator.reasons import one_line

MANUAL = "manual"
REVERT = "revert"
OTHER_KINDS = (MANUAL, REVERT)
"""Kinds of changes that carry no trailers: a person, or another program, moved a site by hand, or took a
commit back with `git revert`."""
MOVING_KINDS = frozenset({"release", "rollback", "promote", *OTHER_KINDS})
"""Kinds that move a workload to another version; the others change what policies say."""

_WHY_LIMIT = 400
_REVERTS = re.compile(r"^This reverts commit ([0-9a-f]{7,64})(?:\.?[ \t]*$|, reversing\b)", re.MULTILINE)
_TABLE_ROW = re.compile(
    r"[\s>]*\|(?: (?:`(?P<head>[^`]+)` \| \||rule \| `(?P<rule>[^`]+)`)|-+\|| [a-z]+ \|)", re.ASCII
)
"""A line of the tables that `core.pullrequest.body_of` writes: the head, the rule, or any other."""
_PULL_REQUEST = (
    re.compile(r"\AMerge pull request #(\d{1,9})\b"),  # GitHub's merge
    re.compile(r"\AMerge pull request .*\(#(\d{1,9})\) from "),  # Gitea's and Forgejo's
    re.compile(r"\AMerged in .*\(pull request #(\d{1,9})\)"),  # Bitbucket's, merge and squash
    re.compile(r"\A[^\n]*\(#(\d{1,9})\)[ \t]*(?:\n|\Z)"),  # the subject that a squash gets
    re.compile(r"^See merge request [^\s!]*!(\d{1,9})\s*$", re.MULTILINE),  # GitLab's
)


@dataclass(frozen=True, slots=True)
class PolicyChange:
    """The last commit that changed a policy file before a release, or with it."""

    commit: str
    author: str
    time: datetime


@dataclass(frozen=True, slots=True)
class Change:
    """One workload's part of one commit of the branch's first-parent line. Texts are untrusted."""

    repo: str
    """Name of the config repo."""
    commit: str
    landed: datetime
    """When it came to the branch: the commit's committer time, UTC. Of a merge, the merge's."""
    author: str
    """Who wrote the commit that carries the change; of a merge, the commit that was merged."""
    mail: str
    kind: str
    """A kind of record, or one of OTHER_KINDS."""
    member: Member
    """Workload, image, versions before and after, sites, build time, source, policy file."""
    proven: bool | None
    """Whether the commit really does what it says; None where nobody looked."""
    made: datetime | None = None
    """When the merged commit was made, where that is another one than `commit`."""
    merged_by: str | None = None
    """Who merged it, where somebody did."""
    actor: str | None = None
    """The person who asked for it by a command."""
    reason: str | None = None
    refs: tuple[str, ...] = ()
    why: str = ""
    """The sentence of the message that tells the rule: `newest in semver ">=1.4 <2" of 37 tags`."""
    pull_request: int | None = None
    """Number that the message gives."""
    reverts: str | None = None
    """The commit that the message says it takes back."""
    owner: str | None = None
    """As the policy says today, with `environment`."""
    environment: str | None = None
    signature: str | None = None
    """`none`, `good`, `bad`, `unknown`, `expired` or `revoked`; None where nobody looked."""
    signer: str | None = None
    policy_change: PolicyChange | None = None
    approved_by: tuple[str, ...] | None = None
    """Logins, where a forge was asked."""

    @property
    def workload(self) -> str:
        return self.member.workload

    @property
    def key(self) -> tuple[str, str]:
        """Config repo and workload."""
        return (self.repo, self.member.workload)

    @property
    def built(self) -> datetime | None:
        """When the image was built, where that is told and can be."""
        return _possible(self.member.built)

    @property
    def source_made(self) -> datetime | None:
        """When the commit was made that the image was built from, where that is told and can be."""
        return _possible(self.member.source_time)

    @property
    def moves(self) -> bool:
        """Whether it is of a kind that moves the workload to another version."""
        return self.kind in MOVING_KINDS


def _possible(moment: datetime | None) -> datetime | None:
    return None if moment is None or moment < FIRST_COMMIT else moment


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which changes a question is about; what is empty or None asks for all."""

    workloads: frozenset[str] = frozenset()
    images: frozenset[str] = frozenset()
    """Image repositories, spelled canonically."""
    owners: frozenset[str] = frozenset()
    environments: frozenset[str] = frozenset()
    people: frozenset[str] = frozenset()
    """Parts of the name or mail address of author, actor or merger, in lower case."""
    kinds: frozenset[str] = frozenset()
    since: datetime | None = None
    until: datetime | None = None
    """The first moment that no longer counts."""

    def takes(self, change: Change) -> bool:
        """Whether a change is wanted."""
        return (
            (not self.workloads or change.workload in self.workloads)
            and (not self.images or change.member.image in self.images)
            and (not self.owners or change.owner in self.owners)
            and (not self.environments or change.environment in self.environments)
            and (not self.kinds or change.kind in self.kinds)
            and self.is_in_time(change.landed)
            and (not self.people or self._is_by(change))
        )

    def is_in_time(self, moment: datetime) -> bool:
        """Whether a moment lies in the period."""
        return (self.since is None or moment >= self.since) and (self.until is None or moment < self.until)

    def _is_by(self, change: Change) -> bool:
        names = (change.author, change.mail, change.actor or "", change.merged_by or "")
        return any(part in name.lower() for part in self.people for name in names)


def members(records: tuple[ReleaseRecord, ...]) -> Iterator[tuple[ReleaseRecord, Member]]:
    """Every member of every record; a record without any (the freeze of a config repo) has one without
    a name."""
    for record in records:
        for member in record.members or (Member(""),):
            yield record, member


def pull_request_number(message: str) -> int | None:
    """The pull request that a commit says it came by, as forges spell it in merges and squashes."""
    found = next(filter(None, (pattern.search(message) for pattern in _PULL_REQUEST)), None)
    return None if found is None else int(found[1])


def reverted(message: str) -> str | None:
    """The commit that `git revert` says it takes back; None for any other message."""
    found = _REVERTS.search(message)
    return None if found is None else found[1]


def is_revert(message: str) -> bool:
    """Whether a message is one that `git revert`, or a forge's button, writes."""
    return message.startswith('Revert "') or reverted(message) is not None


def why_of(message: str, workload: str = "") -> str:
    """The sentence of a release's message that tells the rule: what stands between the subject and the
    trailers, without the lines that only say from what to what. Where a forge put the text of our pull
    request there, the rule in the workload's table, or else in the first one."""
    told, rules, head = [], dict[str, str](), ""
    for line in message.splitlines()[1:]:
        if TRAILER_LINE.match(line):
            break
        row = _TABLE_ROW.match(line)
        if row is not None:
            head = _plain(row["head"]) if row["head"] else head
            if row["rule"]:
                rules.setdefault(head, _plain(row["rule"]))
        elif line.strip() and " -> " not in line:
            told.append(line.strip())
    if rules:
        return one_line(rules.get(workload) or next(iter(rules.values())), _WHY_LIMIT)
    return one_line(" ".join(told), _WHY_LIMIT)


def _plain(code: str) -> str:
    """What a code span of a table's cell shows (`core.pullrequest.code`)."""
    return code.replace("\\|", "|")
