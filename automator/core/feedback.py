"""Feedback: the one comment that tells people of the source where their change is running.

One comment for all workloads and environments, a line for each; a hidden first line tells it from others.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from automator.core.pullrequest import code
from automator.core.record import parse
from automator.core.reference import short_text
from automator.core.sourcechanges import LIMIT, Place, is_within, own_number, place_of

MARKER = "[//]: # (automator tells here where this is running)"
"""A line that no forge shows: a link that nothing refers to."""
LINES = 50
"""Lines of one comment, at most: the oldest go."""
KINDS = ("release", "rollback", "promote")
DOWNGRADE = "downgrade: "
"""Begins the reason of a release to an older version that the policy permits."""


class Notice(NamedTuple):
    """What one project of a source is to be told of one release of one workload."""

    place: Place
    revision: str
    """Commit of the source that is running now; empty where that is unknown."""
    refs: tuple[str, ...]
    """Pull requests and issues of the project itself."""
    workload: str
    environment: str
    kind: str
    before: str
    after: str
    """Versions as people tell them apart."""
    commit: str
    """Page of the commit in the config repo."""

    @property
    def line(self) -> str:
        """Its line of a comment: `web 1.4.3 is in production: …`."""
        if self.kind == "rollback":
            step = f"{code(self.workload)} was rolled back from {code(self.before)} in"
        elif self.kind == "downgrade":
            step = f"{code(self.workload)} was moved down from {code(self.before)} to {code(self.after)} in"
        else:
            step = f"{code(self.workload)} {code(self.after)} is in"
        return f"- {step} {code(self.environment)}: {self.commit}"

    @property
    def words(self) -> str:
        """What it says, for a log."""
        return f"{self.workload} {self.after} in {self.environment}"


def notices(
    message: str,
    commit: str,
    environment_of: Callable[[str], str],
    kinds: dict[str, str],
    owners: Sequence[str],
) -> Iterator[Notice]:
    """What a commit of ours has to tell, for each workload whose source is on a known forge.

    `owners`, such as `github.com/acme`, are those whose projects are told: where an image comes from is what
    its maker says, and most images that people run are made by strangers.
    """
    record = parse(message)
    if record is None or record.kind not in KINDS:
        return
    told: set[tuple[str, Place]] = set()
    kind = "downgrade" if (record.reason or "").startswith(DOWNGRADE) else record.kind
    for member in record.members:
        found = place_of(member.source, kinds)
        if found is None or (member.workload, found[0]) in told or not is_within(found[0], owners):
            continue
        place, revision = found
        told.add((member.workload, place))
        own = tuple(ref for ref in record.refs if own_number(ref, place) is not None)[:LIMIT]
        before, after = _step(member.before, member.after)
        environment = environment_of(member.workload)
        yield Notice(place, revision, own, member.workload, environment, kind, before, after, commit)


def _step(before: str, after: str) -> tuple[str, str]:
    tag, _, digest = before.partition("@")
    new_tag, _, new_digest = after.partition("@")
    if tag != new_tag:
        return tag or _short(digest), new_tag or _short(new_digest)
    return _short(digest) or tag, _short(new_digest) or new_tag


def _short(digest: str) -> str:
    return short_text(f"@{digest}") or ""


_CODE = r"(?:`[^`]+`|\(none\))"
_LINE = re.compile(
    rf"- (?P<workload>{_CODE}) "
    rf"(?:{_CODE} is|was rolled back from {_CODE}|was moved down from {_CODE} to {_CODE}) "
    rf"in (?P<environment>{_CODE}): "
    r"(?P<commits>https?://\S+/)\S+"
)


def is_ours(body: str) -> bool:
    """Whether a comment is as ours are, and nothing else: what a person wrote below a copy of our first line
    is not written over."""
    first, *lines = body.strip().splitlines() or [""]
    return first == MARKER and all(_key(line) is not None for line in lines if line.strip())


def lines_of(body: str) -> frozenset[str]:
    """The lines of a comment of ours."""
    return frozenset(line.strip() for line in body.splitlines() if _key(line) is not None)


def comment_of(told: Sequence[Notice], body: str = "") -> str:
    """The comment with these notices, each in place of what it said of the same workload and environment in
    the same config repo before."""
    said = {key: line.strip() for line in body.splitlines() if (key := _key(line)) is not None}
    for notice in told:
        key = _key(notice.line) or ("", "", notice.line)
        said.pop(key, None)
        said[key] = notice.line
    return "\n".join((MARKER, "", *list(said.values())[-LINES:])) + "\n"


def _key(line: str) -> tuple[str, str, str] | None:
    match = _LINE.fullmatch(line.strip())
    return None if match is None else (match["workload"], match["environment"], match["commits"])
