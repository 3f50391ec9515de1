"""Rules: the one predicate over tags, and the ranks by which tags are compared.

`decide`, `plan` and `explain` all ask `judge`, so they cannot disagree.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from automator.core import pattern, version
from automator.core.pattern import Expression, Glob, Shape
from automator.core.reference import TAG
from automator.core.version import Constraint, Rank
from automator.reasons import Reason


class Candidate(NamedTuple):
    """A tag that the filters and the range accept."""

    tag: str
    key: str
    """The part that is ordered."""
    rank: Any
    """Orderable against every other rank of the same rule; None under `order: newest`, where the
    build time is the rank."""


class Dropped(NamedTuple):
    """A tag that does not pass, and the first rule that refused it."""

    tag: str
    code: str
    params: tuple[tuple[str, str], ...]
    key: str | None = None
    """The part that is ordered; None where the tag has none."""

    @property
    def reason(self) -> Reason:
        return Reason(self.code, self.params)


class Order(NamedTuple):
    """How keys are read under one order."""

    rank: Callable[[str], Rank | None]
    wanted: str
    """What a key must be, for people."""
    shape: Shape


def _lenient_rank(key: str) -> Rank | None:
    return version.semver_rank(key, lenient=True)


ORDERS = {
    "semver": Order(version.semver_rank, "a semantic version of three numbers", pattern.STRICT),
    "lenient": Order(_lenient_rank, "a version of one to three numbers", pattern.LENIENT),
    "version": Order(version.dotted_rank, "a row of dotted numbers", pattern.DOTTED),
    "numeric": Order(version.numeric_rank, "a whole number", pattern.NUMBER),
    "alphabetical": Order(version.alphabetical_rank, "text", pattern.TEXT),
    "newest": Order(version.alphabetical_rank, "text", pattern.TEXT),
    "follow": Order(version.alphabetical_rank, "text", pattern.TEXT),
    "upstream": Order(version.alphabetical_rank, "text", pattern.TEXT),
}
UNRANKED = ("newest", "follow", "upstream")
"""Orders under which a tag alone has no rank: the image has one, or nobody knows of one yet."""

_ATTACHED = re.compile(
    r"sha(?:256-[0-9a-f]{64}|512-[0-9a-f]{128})(?:[._-].*)?|.*\.(?:sig|att|sbom)", re.ASCII
)
"""Tags of cosign (`sha256-….sig`) and of the OCI referrers fallback (`sha256-…`)."""
_ENDINGS = (".sig", ".att", ".sbom")


@dataclass(frozen=True, slots=True)
class Rule:
    """Filters, range and order of a workload, compiled."""

    order: str
    """semver, version, numeric, alphabetical, newest or follow; `upstream` where the workload says none and
    that of upstream is not known yet."""
    text: str
    """For people: `semver ">=1.4 <2"`, `glob "main-*-{key}", order numeric`."""
    matcher: Glob | Expression | None = None
    exclude: tuple[Glob, ...] = ()
    constraint: Constraint | None = None
    lenient: bool = False
    prereleases: str = "range"
    reject: tuple[str, ...] = ()
    """Exact versions, or digests, that are refused."""
    followed: str | None = None
    """Under `follow`, the one tag."""

    def judge(self, tag: str) -> Candidate | Dropped:
        """Whether this tag may be taken, and its rank. Never raises."""
        if TAG.fullmatch(tag) is None:
            return Dropped(tag, "tag/grammar", ())
        if (tag.startswith("sha") or tag.endswith(_ENDINGS)) and _ATTACHED.fullmatch(tag):
            return Dropped(tag, "tag/shape", ())
        if self.followed is not None and tag != self.followed:
            return Dropped(tag, "tag/not-followed", (("followed", self.followed),))
        key = tag if self.matcher is None else self.matcher.key(tag)
        if key is None:
            return self._mismatch(tag)
        for glob in self.exclude:
            if glob.key(tag) is not None:
                return Dropped(tag, "tag/excluded", (("glob", glob.text),), key)
        how = self._how
        rank = how.rank(key)
        if self.reject and (tag in self.reject or self._spells(self.reject, key, rank)):
            return Dropped(tag, "tag/rejected", (), key)
        if rank is None:
            return Dropped(tag, "tag/unreadable", (("key", key), ("wanted", how.wanted)), key)
        refused = None if self.constraint is None else self._outside(self.constraint, rank)
        if refused is not None:
            return Dropped(tag, *refused, key)
        return Candidate(tag, key, None if self.order in UNRANKED else rank)

    def rank(self, tag: str) -> Any | None:
        """Rank of a tag for comparing, without asking whether it passes range, `exclude` or
        pre-release rule; None where the order cannot read it (`latest` under semver), and always under
        those of UNRANKED. Used for current versions and for history.

        A tag that the glob or expression does not match is read whole under semver: `1.26.0` is above
        `1.25.5-alpine` whatever `{key}-alpine` says, and nothing may move backwards unseen."""
        if self.order in UNRANKED or TAG.fullmatch(tag) is None:
            return None
        key = tag if self.matcher is None else self.matcher.key(tag)
        if key is None and self.order != "semver":
            return None
        return self._how.rank(tag if key is None else key)

    def names(self, versions: tuple[str, ...], tag: str, digest: str | None = None) -> bool:
        """Whether a list of exact versions names this tag: by its text, its key under whatever spelling
        (`1.4.3`, `v1.4.3`), or its digest."""
        if not versions:
            return False
        if tag in versions or digest in versions:
            return True
        key = tag if self.matcher is None else self.matcher.key(tag)
        return key is not None and self._spells(versions, key, self._how.rank(key))

    def _spells(self, versions: tuple[str, ...], key: str, rank: Rank | None) -> bool:
        """Whether one of the texts is this key, or another spelling of the same version."""
        if key in versions:
            return True
        return rank is not None and any(self._how.rank(text) == rank for text in versions)

    def version(self, tag: str) -> version.SemVer | None:
        """The semantic version that a tag's key spells; None under other orders, and for a tag whose key
        is none."""
        if self.order != "semver":
            return None
        key = tag if self.matcher is None else self.matcher.key(tag)
        return version.parse_semver(tag if key is None else key, lenient=self.lenient)

    def _mismatch(self, tag: str) -> Dropped:
        if isinstance(self.matcher, Glob):
            return Dropped(tag, "tag/glob", (("glob", self.matcher.text),))
        return Dropped(tag, "tag/regex", (("regex", self.matcher.text if self.matcher else ""),))

    @property
    def _how(self) -> Order:
        return ORDERS["lenient" if self.lenient else self.order]

    def _outside(self, constraint: Constraint, rank: Rank) -> tuple[str, tuple[tuple[str, str], ...]] | None:
        """Code and parameters of the refusal by range or pre-release rule; None if it passes both."""
        if not constraint.allows_rank(rank, prereleases=True):
            return "tag/range", (("range", constraint.text),)
        if not version.is_prerelease(rank):
            taken, what = self.prereleases != "only", "no pre-release"
        elif self.prereleases == "range":
            taken, what = constraint.allows_rank(rank), "a pre-release"
        else:
            taken, what = self.prereleases != "never", "a pre-release"
        return None if taken else ("tag/prerelease", (("what", what), ("mode", self.prereleases)))
