"""Versions: how a tag's key is read and compared, and the range language of `semver:` in a policy.

Four ways to read a key, each giving a *rank* that compares with every other rank of the same way:
`semver` (SemVer 2.0 precedence), `version` (dotted numbers of any length), `numeric`, `alphabetical`.

Ranges are those that users of Flux, Helm and Argo CD know (Masterminds/semver v3). A range is
compiled once to half-open intervals over ranks, so that asking it about a tag costs microseconds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple, NoReturn

import semver

from automator.errors import InvalidConstraint
from automator.reasons import reason

SemVer = semver.Version
Rank = tuple[Any, ...]
"""Compares with ranks of the same order only. For semver: (major, minor, patch, pre-release), where
a pre-release is (0, identifiers…) and a release (1,), so that releases come after their pre-releases."""

LARGEST_NUMBER = 2**64 - 1
_LONG = len(str(LARGEST_NUMBER))
"""Characters that a text has at least if a number in it is larger."""
MAX_RANGE = 1000

_RELEASE = (1,)
_BEFORE_PRERELEASES = (0,)

_PRE = r"[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*"
_SEMVER = re.compile(rf"v?([0-9]+)(?:\.([0-9]+))?(?:\.([0-9]+))?(?:-({_PRE}))?(?:\+({_PRE}))?", re.ASCII)
_DOTTED = re.compile(r"v?([0-9]+(?:\.[0-9]+)*)", re.ASCII)
_DIGITS = re.compile(r"[0-9]+", re.ASCII)


# -- keys ---------------------------------------------------------------------------------------------


def semver_rank(text: str, *, lenient: bool = False) -> Rank | None:
    """Rank of a semantic version; None where `text` is none.

    Strict wants all three numbers; lenient takes `1` and `1.2` for `1.0.0` and `1.2.0`. Both take a
    leading `v` and leading zeros in the three numbers (`v2025.02.03`), as the range language does.
    Build metadata has no weight.
    """
    match = _SEMVER.fullmatch(text)
    if match is None:
        return None
    major, minor, patch, pre, _ = match.groups()
    if patch is None and not lenient:
        return None
    numbers = (int(major), int(minor or 0), int(patch or 0))
    if len(text) >= _LONG and max(numbers) > LARGEST_NUMBER:
        return None
    if pre is None:
        return (*numbers, _RELEASE)
    identifiers = _identifiers(pre)
    return None if identifiers is None else (*numbers, identifiers)


def parse_semver(text: str, *, lenient: bool = False) -> semver.Version | None:
    """The semantic version that `text` spells, read as `semver_rank` reads it, or None."""
    if semver_rank(text, lenient=lenient) is None:
        return None
    match = _SEMVER.fullmatch(text)
    assert match is not None
    major, minor, patch, pre, build = match.groups()
    return semver.Version(int(major), int(minor or 0), int(patch or 0), pre, build)


def is_prerelease(rank: Rank) -> bool:
    """Whether a semver rank is that of a pre-release."""
    return bool(rank[3] != _RELEASE)


def dotted_rank(text: str) -> Rank | None:
    """Rank of dotted numbers of any length (`2026.01.15`, `1.2.3.4`, `v7`), each compared as a number.

    Trailing zeros have no weight: `1.2` and `1.2.0` are the same version under two names, and moving
    from one to the other is no release.
    """
    match = _DOTTED.fullmatch(text)
    if match is None:
        return None
    numbers = [int(part) for part in match[1].split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def numeric_rank(text: str) -> Rank | None:
    """Rank of a natural number of any size; None for anything but ASCII digits."""
    return (int(text),) if _DIGITS.fullmatch(text) else None


def alphabetical_rank(text: str) -> Rank | None:
    """Rank of a text by its code points; only the empty text has none."""
    return (text,) if text else None


def _identifiers(pre: str) -> Rank | None:
    """A pre-release as a comparable tuple (SemVer 2.0 section 11.4); None where a number begins with 0."""
    parts: list[tuple[int, int | str]] = []
    for part in pre.split("."):
        if not part.isdecimal():
            parts.append((1, part))
        elif part[0] == "0" and len(part) > 1:
            return None
        else:
            parts.append((0, int(part)))
    return (0, *parts)


# -- ranges -------------------------------------------------------------------------------------------

_PART = r"(?:[0-9]+|[xX*])"
_PARTIAL = rf"v?({_PART})(?:\.({_PART}))?(?:\.({_PART}))?(?:-({_PRE}))?(?:\+{_PRE})?(?![0-9A-Za-z.+*_-])"
_SPACE = r"[ \t\n\f\r]"
_ITEM = re.compile(rf"(!=|=>|>=|=<|<=|~>|=|>|<|~|\^|){_SPACE}*{_PARTIAL}", re.ASCII)
_HYPHEN = re.compile(rf"{_PARTIAL}{_SPACE}+-{_SPACE}+{_PARTIAL}", re.ASCII)
_SEPARATOR = re.compile(rf"{_SPACE}*,{_SPACE}*|{_SPACE}+", re.ASCII)
_SYNONYMS = {"": "=", "=>": ">=", "=<": "<=", "~>": "~"}


class _Partial(NamedTuple):
    """A version of a range with `parts` of its three numbers written (0 for `*`), the others 0."""

    parts: int
    numbers: tuple[int, int, int]
    pre: Rank

    @property
    def rank(self) -> Rank:
        return (*self.numbers, self.pre)

    def next(self, parts: int) -> Rank:
        """The lowest rank above everything that shares the first `parts` numbers."""
        kept = self.numbers[:parts]
        return (*kept[:-1], kept[-1] + 1, *(0,) * (3 - parts), _BEFORE_PRERELEASES)


class _Interval(NamedTuple):
    """Ranks from `low` up to, without, `high`; None is unbounded."""

    low: Rank | None
    high: Rank | None

    def __contains__(self, rank: Any) -> bool:
        return (self.low is None or self.low <= rank) and (self.high is None or rank < self.high)


@dataclass(frozen=True, slots=True)
class _Group:
    """Comparators that must all hold: one interval, less what `!=` takes out of it."""

    within: _Interval
    without: tuple[_Interval, ...]
    without_minor: tuple[tuple[int, int, Rank], ...]
    """`!=1.2`: (major, minor, pre-release), any patch."""
    names_prerelease: bool

    def __contains__(self, rank: Rank) -> bool:
        low, high = self.within
        if not ((low is None or low <= rank) and (high is None or rank < high)):
            return False
        if self.without and any(rank in gap for gap in self.without):
            return False
        return not self.without_minor or (rank[0], rank[1], rank[3]) not in self.without_minor

    @property
    def empty(self) -> bool:
        low, high = self.within
        return low is not None and high is not None and low >= high


@dataclass(frozen=True, slots=True)
class Constraint:
    """A version range, compiled."""

    text: str
    _groups: tuple[_Group, ...] = field(repr=False)
    oddities: tuple[str, ...] = field(default=(), compare=False)
    """Comparators that mean something else than they seem to (`^*`, `<=*`, …)."""

    @staticmethod
    @lru_cache(maxsize=4096)
    def parse(text: str) -> Constraint:
        """Compile a range in the grammar of Masterminds/semver v3.

        Groups joined by `||`; in a group, comparators joined by spaces or one comma, all of which must
        hold; a comparator is an operator (`= != > >= < <= ~ ~> ^`, or none) before a full or partial
        version, or a range `1.2 - 2` with spaces around the hyphen.

        Raises InvalidConstraint (`constraint/invalid`).
        """
        if len(text) > MAX_RANGE:
            _refuse(text, f"it has {len(text)} characters, and {MAX_RANGE} are the most that are read")
        groups, odd = [], []
        for part in text.split("||"):
            comparators = _comparators(text, part)
            groups.append(_group(comparators))
            odd += [f"{op}*" for op, partial in comparators if partial.parts == 0 and op in _ODD_BEFORE_STAR]
        return Constraint(text, tuple(groups), tuple(odd))

    def allows(self, tag: str, prereleases: bool = False) -> bool:
        """Whether the version that `tag` spells (one to three numbers) lies in the range.

        A pre-release lies only in groups one of whose comparators names one, unless `prereleases`.
        False for a tag that is no version.
        """
        rank = semver_rank(tag, lenient=True)
        return rank is not None and self.allows_rank(rank, prereleases)

    def allows_rank(self, rank: Rank, prereleases: bool = False) -> bool:
        """`allows` for the rank of a version."""
        anyway = prereleases or rank[3] == _RELEASE
        for group in self._groups:  # noqa: SIM110 - asked of every tag
            if (anyway or group.names_prerelease) and rank in group:
                return True
        return False

    @property
    def empty(self) -> bool:
        """Whether no version at all can lie in the range (`>2 <1`)."""
        return all(group.empty for group in self._groups)


_ODD_BEFORE_STAR = frozenset({"^", "<=", "<", ">", "!="})


def _comparators(text: str, group: str) -> list[tuple[str, _Partial]]:
    """The comparators of one group, a hyphen range as two."""
    rest = group.strip(" \t\n\f\r")
    if not rest:
        _refuse(text, "it is empty" if not text.strip() else "one side of `||` is empty")
    found: list[tuple[str, _Partial]] = []
    at, hyphen_may_follow = 0, True
    while True:
        if hyphen_may_follow and (span := _HYPHEN.match(rest, at)):
            low, high = span.groups()[:4], span.groups()[4:]
            found += [(">=", _partial(text, *low)), ("<=", _partial(text, *high))]
            at, after_hyphen = span.end(), True
        elif item := _ITEM.match(rest, at):
            found.append((_SYNONYMS.get(item[1], item[1]), _partial(text, *item.groups()[1:])))
            at, after_hyphen = item.end(), False
        else:
            _refuse(text, _what_is_wrong(rest[at:]))
        if at == len(rest):
            return found
        separator = _SEPARATOR.match(rest, at)
        # Two habits of the grammar's first implementation, kept so that policies move over unchanged:
        # a hyphen range ends by itself (`1 - 2<1.9`), and wants a comma or another one before it.
        if separator is None and not after_hyphen:
            _refuse(text, f'a space or a comma is missing before "{rest[at:]}"')
        hyphen_may_follow = after_hyphen or (separator is not None and "," in separator[0])
        at = at if separator is None else separator.end()


def _partial(
    text: str, major: str, minor: str | None = None, patch: str | None = None, pre: str | None = None
) -> _Partial:
    written = [major, minor, patch]
    parts = next((i for i, part in enumerate(written) if part is None or part in "xX*"), 3)
    numbers = [int(part or 0) for part in written[:parts]] + [0] * (3 - parts)
    if max(numbers) > LARGEST_NUMBER:
        _refuse(text, "a number in it is larger than 64 bits hold")
    identifiers = _RELEASE if pre is None else _identifiers(pre)
    if identifiers is None:
        _refuse(text, f'a number in the pre-release "{pre}" begins with 0')
    return _Partial(parts, (numbers[0], numbers[1], numbers[2]), identifiers)


def _what_is_wrong(rest: str) -> str:
    """The fault at the beginning of what could not be read."""
    if not rest:
        return "a comparator is missing at its end"
    if rest.startswith("=="):
        return "`==` is no operator of ranges, `=` is"
    if re.match(r"[<>=!~^]*\s*V[0-9]", rest):
        return "a version begins with `v` in lower case or with a digit"
    if rest.startswith(","):
        return "a comparator is missing before a comma"
    if re.match(r"-\s", rest):
        return "a hyphen range stands first or after a comma, as in `1.2 - 2`"
    return f'"{rest}" does not begin with an operator and a version'


def _refuse(text: str, problem: str) -> NoReturn:
    raise InvalidConstraint(reason("constraint/invalid", text=text, problem=problem))


def _group(comparators: list[tuple[str, _Partial]]) -> _Group:
    lows: list[Rank] = []
    highs: list[Rank] = []
    without: list[_Interval] = []
    without_minor: list[tuple[int, int, Rank]] = []
    for operator, version in comparators:
        if operator != "!=":
            low, high = _interval(operator, version)
            lows += [] if low is None else [low]
            highs += [] if high is None else [high]
        elif version.parts == 2:
            without_minor.append((version.numbers[0], version.numbers[1], version.pre))
        elif version.parts == 1:
            without.append(_Interval((version.numbers[0], 0, 0, _BEFORE_PRERELEASES), version.next(1)))
        else:
            without.append(_exactly(version.rank))
    within = _Interval(max(lows, default=None), min(highs, default=None))
    named = any(version.pre != _RELEASE for _, version in comparators)
    return _Group(within, tuple(without), tuple(without_minor), named)


def _interval(operator: str, version: _Partial) -> _Interval:
    """What one comparator other than `!=` allows."""
    rank, parts = version.rank, version.parts
    match operator:
        case ">=":
            return _Interval(rank, None)
        case "<":
            return _Interval(None, rank)
        case ">":
            # `>1` means above every 1.x, so from 2.0.0 on.
            return _Interval(version.next(parts) if parts in (1, 2) else _just_above(rank), None)
        case "<=":
            # `<=1` means up to every 1.x; `<=*` is upstream's oddity, and counts as `<=0.0`.
            return _Interval(None, _just_above(rank) if parts == 3 else version.next(parts or 2))
        case "^":
            return _Interval(rank, _caret_end(version))
        case "~":
            return _Interval(rank, _tilde_end(version))
        case _:
            return _exactly(rank) if parts == 3 else _Interval(rank, _tilde_end(version))


def _tilde_end(version: _Partial) -> Rank | None:
    if version.parts == 0 or (version.parts == 3 and version.numbers == (0, 0, 0)):
        return None  # `~0.0.0` takes everything, as `*` does
    return version.next(min(version.parts, 2))


def _caret_end(version: _Partial) -> Rank:
    """Up to the next change of the first number that is not 0, as far as numbers are written."""
    major, minor, _ = version.numbers
    if major or version.parts == 1:
        return version.next(1)
    if minor or version.parts == 2:
        return version.next(2)
    return version.next(3)


def _exactly(rank: Rank) -> _Interval:
    return _Interval(rank, _just_above(rank))


def _just_above(rank: Rank) -> Rank:
    """The lowest tuple above `rank`: a longer tuple comes after the shorter one it begins with."""
    return (*rank, _BEFORE_PRERELEASES)
