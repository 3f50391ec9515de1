"""Lint: what is valid in one workload's policy, and will surprise.

Every finding is about what was written: the key's place, and the text in it that a caret can stand under.
With a tag list more can be said than without; each tag is looked at once.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

from automator.core.pattern import Expression, Glob
from automator.core.policyvalues import Place
from automator.core.reference import DIGEST
from automator.core.rule import Candidate, Dropped, Rule
from automator.core.site import Site
from automator.core.version import Constraint
from automator.core.windows import Window, never_opens
from automator.core.workload import Workload
from automator.errors import AutomatorError
from automator.reasons import Reason, reason


class Lint(NamedTuple):
    """Something that will surprise."""

    place: Place
    reason: Reason
    near: str = ""
    """Text at the place, or in the lines of its key below it, that it is about."""
    of_all: str = ""
    """A key that workloads may share through `defaults`: said only if it is so for all that do."""


def lint(
    workload: Workload, sites: Sequence[Site], now: datetime, tags: Collection[str] | None = None
) -> Iterator[Lint]:
    """What will surprise in one workload's policy. `tags` are those that its repository has, if it was
    asked; `now` decides what has ended."""
    seen = _look_at(workload.rule, tags)
    yield from _ended(workload, now)
    yield from _windows(workload, now)
    yield from _upper_bounds(workload)
    yield from _numbers(workload, sites, seen)
    yield from _commits(workload, sites, seen)
    yield from _variants(workload, sites, seen)
    yield from _excludes(workload)
    yield from _exact(workload)
    yield from _urgent(workload, sites)
    yield from _twice(workload)
    if seen is not None and not seen.kept:
        yield _no_tag(workload, seen)


def together(found: Sequence[Lint], workloads: Sequence[Workload]) -> Iterator[Lint]:
    """Each finding once; one about a key in `defaults` only if it is so for every workload that inherits
    the key."""
    users = Counter((key, place) for workload in workloads for key, place in workload.keys)
    told = Counter((one.of_all, one.place, one.near, one.reason.code) for one in found)
    said: set[object] = set()
    for one in found:
        what = (one.of_all, one.place, one.near, one.reason.code)
        if what in said or one in said or (one.of_all and told[what] < users[one.of_all, one.place]):
            continue
        said.add(what if one.of_all else one)
        yield one


# -- tags, looked at once ----------------------------------------------------------------------------

LARGE = 100_000
"""No project counts its major versions as high; dates and hashes do."""
_LARGE_NUMBER = re.compile(r"v?[0-9]{6,}", re.ASCII)
_LARGE_FIRST = re.compile(r"v?[0-9]{6,}(?:\.[0-9]+){1,2}", re.ASCII)
_SMALL_FIRST = re.compile(r"v?[0-9]{1,5}\.[0-9]+(?:\.[0-9]+)*", re.ASCII)
_COMMIT = re.compile(r"(?:[A-Za-z]+[-_.])*g?(?P<hash>[0-9a-f]{7,40})", re.ASCII)
_SUFFIX = re.compile(r"(?P<base>v?[0-9]+(?:\.[0-9]+){0,2})-(?P<suffix>[^+]+)", re.ASCII)
_VARIANT = re.compile(
    r"(?:alpine|slim|bookworm|bullseye|buster|trixie|stretch|jammy|noble|focal|bionic|debian|ubuntu|ubi|rhel|centos"
    r"|rocky|fedora|alma(?:linux)?|amazonlinux|wolfi|distroless|scratch|busybox|musl|glibc|apache|fpm|cli|zts|perl"
    r"|management|windowsservercore|nanoserver|ltsc|servercore|jdk|jre|openjdk|temurin|corretto|cuda|cudnn|gpu|cpu"
    r"|rocm|amd64|arm64|arm|armhf|arm32v[0-9]|arm64v8|i386|ppc64le|s390x|x86|linux|windows|minimal|full|lite|light"
    r"|rootless|nonroot|fips|oss|ee|ce|enterprise|community|standalone|debug)(?![A-Za-z]).*",
    re.ASCII,
)
"""Suffixes that name what an image is made of, not how finished it is."""
_WORD = re.compile(r"[A-Za-z]+", re.ASCII)
_UNFINISHED = re.compile(
    r"(?:alpha|beta|[abcmg]|rc|cr|ea|dev|devel|develop|development|pre|prerelease|preview|snapshot|milestone|nightly"
    r"|daily|weekly|canary|next|test|testing|exp|experimental|edge|unstable|insiders?|draft|wip|ci|build|pr|pull"
    r"|main|master|trunk|head|sha|git|commit|rev|dirty|feat|feature|fix|hotfix|final|ga|release|sp|p|patch|post"
    r"|stable|latest|internal)(?![A-Za-z]).*",
    re.ASCII | re.IGNORECASE,
)
"""Suffixes that say how finished a version is, or what it was built from."""


@dataclass(slots=True, frozen=True)
class _Seen:
    """What a tag list holds, as far as lints ask."""

    number: int
    kept: int
    dropped: Counter[str]
    examples: dict[str, Dropped]
    large: str | None
    """A tag that is taken and whose first number is a date's or a hash's."""
    small: bool
    """Whether tags with ordinary first numbers are taken."""
    commit: str | None
    commits: int
    matching: int
    """Tags that the glob or expression covers."""
    variant_kept: str | None
    variant_dropped: str | None


def _look_at(rule: Rule, tags: Collection[str] | None) -> _Seen | None:
    if tags is None:
        return None
    dropped: Counter[str] = Counter()
    examples: dict[str, Dropped] = {}
    large = commit = variant_kept = variant_dropped = None
    small, commits, matching, kept = False, 0, 0, 0
    for tag in sorted(tags):
        key = _key(rule, tag)
        if key is not None:
            matching += 1
            if _is_commit(key):
                commits, commit = commits + 1, commit or tag
        judged = rule.judge(tag)
        if isinstance(judged, Dropped):
            dropped[judged.code] += 1
            examples.setdefault(judged.code, judged)
            if judged.code == "tag/prerelease" and key is not None and _variant(key):
                variant_dropped = variant_dropped or tag
            continue
        kept += 1
        if _LARGE_NUMBER.fullmatch(judged.key) or _LARGE_FIRST.fullmatch(judged.key):
            large = large or tag
        small = small or _SMALL_FIRST.fullmatch(judged.key) is not None
        if _variant(judged.key):
            variant_kept = variant_kept or tag
    return _Seen(
        number=len(tags),
        kept=kept,
        dropped=dropped,
        examples=examples,
        large=large,
        small=small,
        commit=commit,
        commits=commits,
        matching=matching,
        variant_kept=variant_kept,
        variant_dropped=variant_dropped,
    )


def _key(rule: Rule, tag: str) -> str | None:
    return tag if rule.matcher is None else rule.matcher.key(tag)


def _is_commit(key: str) -> bool:
    """Whether a key is the hash of a commit, with at most words before it; short hashes want both digits
    and letters, for there are words and dates of such letters."""
    match = _COMMIT.fullmatch(key)
    if match is None:
        return False
    found = match["hash"]
    return len(found) == 40 or not (found.isdigit() or found.isalpha())


def _variant(key: str) -> str | None:
    """The suffix of a version that names a variant (`alpine3.18` of `1.25.3-alpine3.18`)."""
    match = _SUFFIX.fullmatch(key)
    return match["suffix"] if match is not None and _VARIANT.fullmatch(match["suffix"]) else None


def _held_variant(workload: Workload, key: str) -> bool:
    """Whether the version at a site has a suffix that hardly says how finished it is: what is deployed is
    seldom unfinished. Not what the policy names, or means by saying which pre-releases it takes."""
    match, rule = _SUFFIX.fullmatch(key), workload.rule
    if match is None or _variant(key):
        return match is not None
    word = _WORD.match(match["suffix"])
    if word is None or _UNFINISHED.fullmatch(match["suffix"]) or _is_commit(match["suffix"]):
        return False
    named = rule.constraint is not None and f"-{word[0]}" in rule.constraint.text
    return not named and rule.prereleases not in ("only", "allow")


def _no_tag(workload: Workload, seen: _Seen) -> Lint:
    most = "it has no tags"
    if seen.dropped:
        example = seen.examples[seen.dropped.most_common(1)[0][0]]
        most = f"for {example.tag}, {example.reason.sentence}"
    why = reason("lint/no-tag", workload=workload.name, image=workload.listed, count=seen.number, most=most)
    return Lint(workload.place, why)


# -- ranges --------------------------------------------------------------------------------------------

_UPPER = re.compile(
    r"<(?!=)[ \t]*(?P<version>v?[0-9]+(?:\.[0-9]+){0,2})(?:\.[xX*]){0,2}(?:\+[0-9A-Za-z.-]+)?"
    r"(?![0-9A-Za-z.+*-])",
    re.ASCII,
)


def _upper_bounds(workload: Workload) -> Iterator[Lint]:
    """`>=1.2.0-0 <2` admits 2.0.0-rc1: it is below 2.0.0."""
    rule = workload.rule
    if rule.constraint is None or rule.prereleases == "never":
        return
    for comparator, admitted, fixed in loose_bounds(rule.constraint, rule.prereleases != "range"):
        why = reason("lint/upper-prerelease", text=rule.constraint.text, admitted=admitted, fixed=fixed)
        yield Lint(workload.place_of("semver"), why, comparator)


def loose_bounds(constraint: Constraint, prereleases: bool) -> Iterator[tuple[str, str, str]]:
    """The upper bounds of a range that keep a version out and let its pre-releases in: each as written,
    with such a pre-release, and the range that keeps them out too."""
    for match in _UPPER.finditer(constraint.text):
        numbers = (match["version"].removeprefix("v") + ".0.0").split(".")[:3]
        version = ".".join(numbers)
        admitted = f"{version}-rc.1"
        if constraint.allows(version) or not constraint.allows(admitted, prereleases):
            continue
        text = constraint.text
        fixed = f"{text[: match.start()]}<{version}-0{text[match.end() :]}"
        try:
            if not Constraint.parse(fixed).allows(admitted, prereleases):
                yield match[0], admitted, fixed
        except AutomatorError:  # the fix makes the text too long
            continue


_NAMED_NUMBER = re.compile(r"[0-9]+", re.ASCII)
_BARE_EXAMPLES = ("20231005", "4815162")


def _numbers(workload: Workload, sites: Sequence[Site], seen: _Seen | None) -> Iterator[Lint]:
    """A date or a numeric commit hash that counts as a major version, above all others."""
    rule = workload.rule
    if any(_LARGE_NUMBER.match(key) for key in _site_keys(rule, sites)):
        return
    example = None if seen is None else seen.large
    if rule.order == "semver" and rule.constraint is not None:
        if any(int(number[:20]) >= LARGE for number in _NAMED_NUMBER.findall(rule.constraint.text)):
            return
        if rule.lenient:
            taken = (text for text in _BARE_EXAMPLES if isinstance(rule.judge(text), Candidate))
            example = example or next(taken, None)
        if example is not None:
            why = reason("lint/number-version", example=example, rule=rule.text)
            yield Lint(workload.place_of("semver"), why, rule.constraint.text)
    elif rule.order == "version" and seen is not None and seen.small and example is not None:
        yield Lint(workload.place_of("order"), reason("lint/number-version", example=example, rule=rule.text))


def _site_keys(rule: Rule, sites: Sequence[Site]) -> list[str]:
    keys = (_key(rule, site.tag) for site in sites if site.tag is not None)
    return [key for key in keys if key is not None]


# -- orders --------------------------------------------------------------------------------------------

_COMMIT_WORD = re.compile(r"(?:^|[-_.])(?:sha|git|commit|rev)[-_.]?\Z", re.ASCII | re.IGNORECASE)
_CLASS_AND_MANY = re.compile(
    r"(?:[A-Za-z]+(?:[-_.]|\\[.-]))*g?\[(?P<class>(?:\[:[a-z]+:\]|\\[A-Za-z]|[0-9A-Za-z-])+)\]"
    r"(?:\{[0-9]+(?:,[0-9]*)?\}|\+|\*)\??",
    re.ASCII,
)
_HEX_PART = re.compile(r"0-9|a-f|A-F|\\d|\[:(?:x?digit):\]", re.ASCII)
_DIGITS = ("0-9", "\\d", "[:digit:]")


def _commits(workload: Workload, sites: Sequence[Site], seen: _Seen | None) -> Iterator[Lint]:
    """Hashes compared as text or numbers: their order is no order in time."""
    rule = workload.rule
    if rule.order not in ("alphabetical", "version", "numeric"):
        return
    example = next((s.tag for s in sites if s.tag and _is_commit(_key(rule, s.tag) or "")), None)
    if example is None and seen is not None and 2 * seen.commits >= max(seen.matching, 1):
        example = seen.commit
    pattern = "" if rule.matcher is None else rule.matcher.text
    if example is None and rule.matcher is not None and _asks_for_commits(rule.matcher):
        example = pattern
    if example is not None:
        why = reason("lint/commit-order", order=rule.order, example=example)
        yield Lint(workload.place_of("order"), why, rule.order)


def _asks_for_commits(matcher: Glob | Expression) -> bool:
    if isinstance(matcher, Glob):
        before, key, after = matcher.text.partition("{key}" if "{key}" in matcher.text else "*")
        return bool(key) and not after and "*" not in before and _COMMIT_WORD.search(before) is not None
    many = _CLASS_AND_MANY.fullmatch(_key_group(matcher.text))
    return many is not None and _is_hexadecimal(many["class"])


def _is_hexadecimal(written: str) -> bool:
    """Whether a class of characters is that of hexadecimal digits, in any spelling."""
    parts = set(_HEX_PART.findall(written))
    if _HEX_PART.sub("", written) != "":
        return False
    return "[:xdigit:]" in parts or bool(parts & {"a-f", "A-F"} and parts.intersection(_DIGITS))


def _key_group(expression: str) -> str:
    """What stands in the group `key`; all of the expression where it has none."""
    _, named, rest = expression.partition("(?P<key>")
    if not named:
        return expression.removeprefix("^").removesuffix("$")
    depth = 1
    for at, c in enumerate(rest):
        depth += (c == "(") - (c == ")")
        if depth == 0:
            return rest[:at]
    return rest


def _variants(workload: Workload, sites: Sequence[Site], seen: _Seen | None) -> Iterator[Lint]:
    """`1.25.3-alpine` is a pre-release of 1.25.3 to semver."""
    rule = workload.rule
    if rule.order != "semver":
        return
    tag = next((s.tag for s in sites if s.tag and _held_variant(workload, _key(rule, s.tag) or "")), None)
    if tag is None and seen is not None:
        tag = seen.variant_kept or (None if seen.kept else seen.variant_dropped)
    if tag is None:
        return
    key = _key(rule, tag) or tag
    match = _SUFFIX.fullmatch(key)
    assert match is not None
    why = reason("lint/variant", tag=tag, base=match["base"], suffix=match["suffix"])
    yield Lint(workload.place_of("semver"), why, "" if rule.constraint is None else rule.constraint.text)


# -- keys without effect ---------------------------------------------------------------------------------


def _idle(workload: Workload, key: str, problem: str, near: str = "") -> Lint:
    return Lint(workload.place_of(key), reason("lint/no-effect", key=key, problem=problem), near, of_all=key)


def _excludes(workload: Workload) -> Iterator[Lint]:
    globs = tuple(dict.fromkeys(glob.text for glob in workload.rule.exclude))
    for text in globs:
        wider = next((other for other in globs if other != text and _covers(other, text)), None)
        if wider is not None:
            yield _idle(workload, "exclude", f'"{wider}" already excludes what "{text}" does', text)
    matcher = workload.rule.matcher
    wanted = matcher.text.replace("{key}", "*") if isinstance(matcher, Glob) else "*"
    everything = next((text for text in globs if _covers(text, wanted)), None)
    if everything is not None:
        yield Lint(
            workload.place_of("exclude"), reason("lint/excludes-all", glob=everything), everything, "exclude"
        )


def _covers(wide: str, narrow: str) -> bool:
    """Whether one glob matches whatever another one matches: their stars aside, texts are literal."""
    parts = re.sub(r"\*+", "*", wide).split("*")
    narrow = re.sub(r"\*+", "*", narrow)
    if len(parts) == 1:
        return wide == narrow
    if not (narrow.startswith(parts[0]) and narrow[len(parts[0]) :].endswith(parts[-1])):
        return False
    at, end = len(parts[0]), len(narrow) - len(parts[-1])
    for part in parts[1:-1]:
        found = narrow.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True


def _exact(workload: Workload) -> Iterator[Lint]:
    """Versions under `reject` and `accept` that are never taken anyway."""
    for key, versions in (("reject", workload.rule.reject), ("accept", workload.accept)):
        for text in dict.fromkeys(versions):
            dropped = None if DIGEST.fullmatch(text) else _never_taken(workload.rule, text)
            if dropped is not None:
                problem = f'"{text}" is not taken anyway: {dropped.reason.sentence}'
                yield _idle(workload, key, problem, text)


def _never_taken(rule: Rule, text: str) -> Dropped | None:
    """Why no tag that `text` could mean, as a whole or by its key, is ever taken; None where one is."""
    free = replace(rule, reject=())
    judged = free.judge(text)
    if isinstance(judged, Candidate):
        return None
    if _has_key(rule.matcher) and isinstance(replace(free, matcher=None, exclude=()).judge(text), Candidate):
        return None
    return judged


def _has_key(matcher: Glob | Expression | None) -> bool:
    return matcher is not None and ("{key}" in matcher.text or "(?P<key>" in matcher.text)


def _urgent(workload: Workload, sites: Sequence[Site]) -> Iterator[Lint]:
    urgent, rule = workload.urgent, workload.rule
    if urgent is None or rule.followed is not None:
        return  # a digest under a followed tag may be pushed any time
    dropped = _never_taken(rule, urgent.version)
    if dropped is not None:
        why = reason("lint/urgent-outside", version=urgent.version, problem=dropped.reason.sentence)
        yield Lint(workload.place_of("urgent"), why, urgent.version, "urgent")
        return
    ranks = [rule.rank(site.tag) for site in sites if site.tag is not None]
    wanted = rule.rank(urgent.version)
    if wanted is not None and ranks and all(rank is not None and rank >= wanted for rank in ranks):
        problem = f"{urgent.version} or a later version is at every site already"
        yield _idle(workload, "urgent", problem, urgent.version)


def _twice(workload: Workload) -> Iterator[Lint]:
    """Values that stand twice in a list, and a repository that stands for itself."""
    lists = (
        ("where", workload.where.paths),
        ("exclude", tuple(glob.text for glob in workload.rule.exclude)),
        ("reject", workload.rule.reject),
        ("accept", workload.accept),
        ("windows", tuple(map(str, workload.guards.windows))),
        ("after", () if workload.guards.after is None else workload.guards.after.upstreams),
    )
    for key, values in lists:
        for text, times in Counter(values).items():
            if times > 1:
                yield _idle(workload, key, f'"{text}" stands in it {times} times', text)
    if workload.tags_from == workload.repository:
        yield _idle(workload, "tags_from", "it is the image itself")


# -- stops and windows -----------------------------------------------------------------------------------


def _ended(workload: Workload, now: datetime) -> Iterator[Lint]:
    stops = [("hold", workload.hold), *(("freeze", freeze) for freeze in workload.freezes)]
    for what, stop in stops:
        if stop is not None and stop.until is not None and not stop.stops(now):
            yield Lint(stop.place, reason("lint/ended", what=what, until=stop.until.isoformat()), "until")


@lru_cache(maxsize=256)
def _shut(windows: tuple[Window, ...], now: datetime) -> bool:
    """`never_opens`, once for all workloads that inherit the same windows."""
    return never_opens(windows, now)


def _windows(workload: Workload, now: datetime) -> Iterator[Lint]:
    if workload.guards.windows and _shut(workload.guards.windows, now):
        yield Lint(workload.place_of("windows"), reason("lint/window-never"), of_all="windows")
