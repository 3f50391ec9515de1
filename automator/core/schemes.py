"""Schemes: from the tag that a site holds, and the tags there are, to the keys of a first policy.

A proposal stays where the author is: below the next major version, with the same variant, prefix and
form. What cannot be told from the names of tags is written out, and held with the question to answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import date
from types import MappingProxyType
from typing import Any, NamedTuple

from automator.core.policy import Workload, parse_policies
from automator.core.policytext import Draft, policy_text
from automator.core.rule import Candidate
from automator.core.version import semver_rank

_NOTHING: Mapping[str, str] = MappingProxyType({})
_SHOWN = 3


class Choice(NamedTuple):
    """What is proposed for one tag."""

    keys: Mapping[str, Any]
    """Keys of a workload but `image` and `where`, in writing order."""
    remarks: Mapping[str, str] = _NOTHING
    """Why a key is as it is."""
    comments: tuple[str, ...] = ()

    @property
    def held(self) -> bool:
        """Whether a person has to decide first."""
        return "hold" in self.keys


class _Asked(NamedTuple):
    """The question: a tag, among those of its registry."""

    tag: str
    tags: Collection[str] | None
    hash_lengths: frozenset[int]
    """Lengths of the commit hashes in the tags: a part of digits alone that is as long is one, too."""


class _Split(NamedTuple):
    """A tag, parted at what is compared."""

    before: str
    key: str
    after: str


def choose(current: str, tags: Collection[str] | None) -> Choice:
    """The keys for an image that is at the tag `current`; `tags` are those of the registry, None where
    they are not known.

    Unless the choice is held, its rule accepts the current tag.
    """
    lengths = frozenset(len(part) for tag in tags or () for part in _parts(tag) if _is_hash(part))
    lengths = _GIT_LENGTHS if tags is None else lengths
    asked = _Asked(current, tags, lengths)
    found = next(
        (c for scheme in _SCHEMES if (c := scheme(asked)) and (c.held or _accepts(c, current))), None
    )
    choice = found or _ask(current, f"it cannot be told from {current} which tags are newer")
    if not choice.held and (other := _missed(choice, asked)):
        why = f"{current} and {other} differ in several numbers: say with `regex` which one is compared"
        choice = _ask(current, why)
    if tags is not None and current not in tags:
        absent = f"The registry does not list {current}, which the files hold."
        return choice._replace(comments=(*choice.comments, absent))
    return choice


def _accepts(choice: Choice, current: str) -> bool:
    text = policy_text([Draft("x", {"image": "example.com/x", **choice.keys})])
    found = parse_policies({"x.yaml": text})
    entry = found.workloads[0]
    judged = entry.rule.judge(current) if isinstance(entry, Workload) else None
    return not found.problems and not found.warnings and isinstance(judged, Candidate)


_NUMBER = re.compile(r"[0-9]+", re.ASCII)


def _missed(choice: Choice, asked: _Asked) -> str | None:
    """A tag of the very form of the current one, with another key, where the choice takes none of those:
    a number beside the key, that seems to be the variant, is a part of the version."""
    glob = choice.keys.get("glob", "")
    expression = choice.keys.get("regex") or "(?P<key>.*)".join(map(re.escape, glob.split("{key}")))
    pattern = re.compile(expression)
    found = pattern.search(asked.tag) if expression else None
    if found is None:
        return None
    form = _NUMBER.sub("0", asked.tag)
    skipped = len(_NUMBER.findall(asked.tag[: found.start("key")]))
    keyed = slice(skipped, skipped + len(_NUMBER.findall(found["key"])))
    numbers = _NUMBER.findall(asked.tag)[keyed]
    alike = sorted(tag for tag in asked.tags or () if tag != asked.tag and _NUMBER.sub("0", tag) == form)
    if any(pattern.search(tag) for tag in alike):
        return None
    return next((tag for tag in alike if _NUMBER.findall(tag)[keyed] != numbers), None)


def _ask(tag: str, why: str, *comments: str) -> Choice:
    """A workload that does nothing until a person has said what is meant."""
    return Choice({"follow": tag, "hold": {"reason": why}}, comments=comments)


# -- parts of a tag ------------------------------------------------------------------------------------

_SEPARATED = re.compile(r"([-_.])")
_HASH = re.compile(r"(g|h|git|sha|rev|build)?((?=[0-9a-f]*[a-f])(?=[0-9a-f]*[0-9])[0-9a-f]{6,64})", re.ASCII)
_GIT_LENGTHS = frozenset({7, 40})
"""As git writes commits, short and in full."""
_REVISION = re.compile(r"(r|rev|build|b|ls|k3s|rke2r|p|patch)([0-9]+)", re.ASCII)
"""A word and a number that tell rebuilds of one version apart; other such words are variants."""


def _parts(tag: str) -> list[str]:
    return _SEPARATED.split(tag)[::2]


def _is_hash(part: str) -> bool:
    return _HASH.fullmatch(part) is not None


def _is_date(digits: str) -> bool:
    """Whether eight digits are a day of the years in which there are images."""
    try:
        return len(digits) == 8 and 2000 <= date.fromisoformat(digits).year < 2100
    except ValueError:
        return False


def _is_time(digits: str) -> bool:
    """Whether digits are a day, a day and a time, or seconds or milliseconds since 1970."""
    if len(digits) in (10, 13):
        return "14" <= digits[:2] <= "20"
    return len(digits) in (8, 12, 14) and _is_date(digits[:8])


def _loosened(text: str, asked: _Asked) -> str:
    """An expression for what stands beside the key: hashes, days, revisions and the numbers of builds may
    differ, all else is the variant, and stays."""
    parts = _SEPARATED.split(text)
    return "".join(
        _DIGITS if _is_count(parts, at, asked) else _loose_part(part, asked) for at, part in enumerate(parts)
    )


def _is_count(parts: list[str], at: int, asked: _Asked) -> bool:
    """Whether one of the parts of what stands beside the key, separators among them, counts builds: a
    number behind a word of builds, in `20240305.1`, or right behind the key in `17.0.9_9`."""
    if at < 2 or not parts[at].isdecimal() or len(parts[at]) in asked.hash_lengths:
        return False
    before, between, beyond = parts[at - 2], parts[at - 1], parts[at + 1 : at + 2]
    if before.lower() in _BUILD_WORDS or (between == "." and _is_time(before)):
        return True
    return at == 2 and not before and between == "_" and beyond != ["."] and not _is_time(parts[at])


def _loose_part(part: str, asked: _Asked) -> str:
    revision, found = _REVISION.fullmatch(part), _HASH.fullmatch(part)
    if found is not None:
        return (found[1] or "") + _any_hash(len(found[2]))
    if part.isdecimal() and len(part) >= 7 and len(part) in asked.hash_lengths:
        return _any_hash(len(part))
    if revision is not None:
        return rf"{revision[1]}\d+"
    digits = part.removeprefix("v")
    if _is_time(digits):
        return rf"{part[: -len(digits)]}\d{{{len(digits)}}}"
    return _literal(part)


def _any_hash(length: int) -> str:
    return "[0-9a-f]{40}" if length == 40 else f"[0-9a-f]{{{min(length, 7)},40}}"


def _literal(text: str) -> str:
    return text.replace(".", r"\.")


def _splits(pattern: re.Pattern[str], asked: _Asked) -> Iterator[_Split]:
    for match in pattern.finditer(asked.tag):
        yield _Split(asked.tag[: match.start()], match[0], asked.tag[match.end() :])


def _is_doubtful(split: _Split, asked: _Asked) -> bool:
    """Whether a number before what looks like a version may be the version instead: the `8` of
    `8-ubi-9.3`, the `17` of `jdk17-ubuntu-22.04`, but neither `k8s-1.29` nor `build-57-1.22`."""
    parts = _SEPARATED.split(split.before)
    for at, part in enumerate(parts):
        known = _is_hash(part) or _is_time(part.removeprefix("v")) or _REVISION.fullmatch(part) is not None
        known = known or (part.isdecimal() and len(part) >= 7 and len(part) in asked.hash_lengths)
        named = not part.removeprefix("v").isdecimal() and not any(parts[at + 2 :])
        if any(map(str.isdecimal, part)) and not (known or named or _is_count(parts, at, asked)):
            return True
    return False


def _doubt(tag: str) -> Choice:
    return _ask(tag, f"it cannot be told from {tag} which of its numbers are the version")


def _shape(split: _Split, asked: _Asked, key: str, *, only: bool = False) -> dict[str, Any]:
    """`glob` where what stands beside the key is the variant and nothing else, else `regex` with `key`,
    an expression for keys; nothing for a bare key. With `only`, no glob: it takes keys of any form."""
    before, after = (_loosened(text, asked) for text in (split.before, split.after))
    if only or (before, after) != (_literal(split.before), _literal(split.after)):
        return {"regex": f"^{before}(?P<key>{key}){after}$"}
    return {"glob": f"{split.before}{{key}}{split.after}"} if split.before or split.after else {}


# -- the schemes ---------------------------------------------------------------------------------------

_CHANGE = re.compile(
    r"(?:pr|mr|pull|merge|feat|feature|fix|bugfix|hotfix|dependabot|renovate)[-_.]", re.ASCII
)
_THREE = re.compile(r"(?<![A-Za-z0-9.])v?[0-9]+\.[0-9]+\.[0-9]+(?!\.?[0-9]|[A-Za-z])", re.ASCII)
_MORE = re.compile(r"(?<![A-Za-z0-9.])v?[0-9]+(?:\.[0-9]+){3,}(?!\.?[0-9]|[A-Za-z])", re.ASCII)
_TWO = re.compile(r"(?<![A-Za-z0-9.])v?[0-9]+\.[0-9]+(?!\.?[0-9]|[A-Za-z])", re.ASCII)
_ONE = re.compile(r"(?<![A-Za-z0-9.])v?[0-9]+(?!\.?[0-9]|[A-Za-z])", re.ASCII)
_DAY = re.compile(
    r"(?<![0-9])(?:20[0-9]{2}-[01][0-9]-[0-3][0-9](?:[T_.-][0-9]{2}[-_.]?[0-9]{2}(?:[-_.]?[0-9]{2})?Z?)?"
    r"|20[0-9]{2}[01][0-9][0-3][0-9][T_-][0-9]{6}Z?)(?![0-9])",
    re.ASCII,
)
_SHORT_DAY = re.compile(r"(?<![0-9])[0-9]{2}([-_])[0-9]{2}\1[0-9]{2}(?![0-9])", re.ASCII)
"""`19-08-14`: which of its numbers is the year cannot be told, but it is the day of a build."""
_PRERELEASE = re.compile(
    r"-(alpha|beta|rc|pre|preview|dev|next|canary|snapshot|nightly|milestone|m|cr|ea|a|b|c)([.-]?)([0-9]*)"
    r"(?=[-_]|\Z)",
    re.ASCII | re.IGNORECASE,
)
_DESCRIBED = re.compile(r"(-[0-9]+(?:[.-][0-9A-Za-z]+)*?)[.-][gh][0-9a-f]{7,40}\Z", re.ASCII)
"""What describes a commit since a version: `-12-g4b1c2d3`, `-0.dev.git.98.h4b1c2d3`."""
_CHANNELS = frozenset(
    {"pre", "preview", "dev", "next", "canary", "snapshot", "nightly", "ea", "a", "b", "c", "m"}
)
"""Without a number, these are no steps to a release but a variant of all of them."""
_COUNT = re.compile(r"[-_][0-9]{1,6}", re.ASCII)
_NUMBERED = re.compile(r"\^[0-9]{4,}([-_])", re.ASCII)
"""An expression that begins with the number of one build."""
_COUNTED = re.compile(r"-([0-9]+)(?=[-_]|\Z)", re.ASCII)
_BUILD_WORDS = ("build", "b", "ci", "run", "main", "master", "develop", "dev", "trunk", "nightly", "release")
_BUILDS = re.compile(rf"(?:{'|'.join(_BUILD_WORDS)})[-_.]", re.ASCII)
_DIGITS = r"\d+"
_CALENDAR = "calendar versions: a new year is no major version"


def _change(asked: _Asked) -> Choice | None:
    """`pr-12`: images of changes that may never be merged."""
    if _CHANGE.match(asked.tag) is None:
        return None
    return _ask(asked.tag, f"{asked.tag} is named after one change: say which tags of others are meant")


def _three_numbers(asked: _Asked) -> Choice | None:
    """`1.4.2`, `v1.4.2-alpine`, `web-1.4.2-4b1c2d3`, `1.5.0-rc.2`, `2024.01.15`, `1.4.2-57`."""
    split = next(_splits(_THREE, asked), None)
    if split is None:
        return None
    if _is_doubtful(split, asked):
        return _doubt(asked.tag)
    form = ("v" if split.key.startswith("v") else "") + r"\d+\.\d+\.\d+"
    low, pre, bare = split.key, "", not split.before and not split.after
    if match := _DESCRIBED.match(split.after):
        form, pre = form + re.sub(r"[0-9]+", lambda _: _DIGITS, _literal(match[1])), match[1]
    elif (match := _PRERELEASE.match(split.after)) and (match[3] or match[1].lower() not in _CHANNELS):
        word, between, number = match.groups()
        form += rf"(?:-{word}{_literal(between)}{_DIGITS if number else ''})?"
        pre = match[0]
    elif match := _counted(split.after, asked):
        form, pre = rf"{form}-\d+", match[0]
    split = split._replace(after=split.after.removeprefix(pre))
    keys = _shape(split, asked, form, only=bool(pre) or (bare and _both_spellings(asked)))
    high, remark = _next_major(split.key, 3)
    bound = f"{high}.0.0-0" if pre and "." not in high else f"{high}.0-0" if pre else high
    keys["semver"] = f">={(low + pre).removeprefix('v')} <{bound}"
    return Choice(keys, {"semver": remark} if remark else {})


def _counted(after: str, asked: _Asked) -> re.Match[str] | None:
    """A number right behind a version (`-57`), unless it is a hash without letters."""
    found = _COUNTED.match(after)
    if found is None or (len(found[1]) >= 7 and len(found[1]) in asked.hash_lengths):
        return None
    return found


def _both_spellings(asked: _Asked) -> bool:
    """Whether the registry has a version both with `v` and without: then the spelling stays."""
    found = {tag for tag in asked.tags or () if _THREE.fullmatch(tag)}
    return any(f"v{tag}" in found for tag in found)


def _next_major(version: str, parts: int) -> tuple[str, str]:
    """Below what to stay, and why if that is not plain."""
    major, minor = (int(number) for number in version.removeprefix("v").split(".")[:2])
    if 1990 <= major < 2100:
        return "2100", _CALENDAR
    if major == 0 and parts == 3:
        return f"0.{minor + 1}", "before 1.0, a minor version may break what a major one does later"
    return str(major + 1), ""


def _four_numbers(asked: _Asked) -> Choice | None:
    """`1.2.3.4`, `v10.0.20348.1`: dotted numbers, of which the first one stays."""
    split = next(_splits(_MORE, asked), None)
    if split is None:
        return None
    first, *others = split.key.split(".")
    calendar = 2000 <= int(first.removeprefix("v")) < 2100
    key = (first[:-2] + r"\d\d" if calendar else first) + r"\.\d+" * len(others)
    return Choice({**_shape(split, asked, key, only=True), "order": "version"})


def _day(asked: _Asked) -> Choice | None:
    """`2024-01-15`, `RELEASE.2024-01-16T16-07-38Z`: days that sort as text."""
    split = next(_splits(_DAY, asked), None)
    if split is None:
        return None
    key = re.sub(r"[0-9]+", lambda digits: rf"\d{{{len(digits[0])}}}", _literal(split.key))
    return Choice(_built_on(split, asked, key, "alphabetical"), _day_remarks(split))


def _built_on(split: _Split, asked: _Asked, key: str, order: str) -> dict[str, Any]:
    """Keys that compare days or times; a count of builds behind them (`-3`) is no variant."""
    # Beside a time, digits that are as long as git shortens hashes are one that has no letters.
    asked = asked._replace(hash_lengths=asked.hash_lengths | _GIT_LENGTHS)
    keys = _uncounted(_shape(split, asked, key, only=True), split)
    leading = _NUMBERED.match(keys["regex"])
    if leading is not None:
        keys["regex"] = rf"^\d+{leading[1]}{keys['regex'][leading.end() :]}"
    return {**keys, "order": order}


def _uncounted(keys: dict[str, Any], split: _Split) -> dict[str, Any]:
    """Keys with any number for the count of builds behind the key (`-3`)."""
    if _COUNT.fullmatch(split.after) is None:
        return keys
    regex = keys["regex"].removesuffix(f"{_literal(split.after)}$")
    return {**keys, "regex": rf"{regex}{split.after[0]}\d+$"}


def _day_remarks(split: _Split) -> dict[str, str]:
    told = "builds with one and the same time are not told apart"
    return {"order": told} if _COUNT.fullmatch(split.after) else {}


def _two_numbers(asked: _Asked) -> Choice | None:
    """`16.2`, `3.11-slim`, `2024.1`, `20240115.3`; `1.27` where there is a `1.27.3`: a moving tag."""
    split = next(_splits(_TWO, asked), None)
    if split is None:
        return None
    first = split.key.partition(".")[0]
    if _is_date(first):
        return Choice({**_shape(split, asked, r"\d{8}\.\d+", only=True), "order": "version"})
    if any(_is_time(part.removeprefix("v")) for part in _parts(split.before)):
        return None
    if _is_doubtful(split, asked):
        return _doubt(asked.tag)
    if _moves(split, asked):
        return _follow(asked.tag, "the newest of its patch versions")
    key = ("v" if first.startswith("v") else "") + r"\d+\.\d+"
    high, remark = _next_major(split.key, 2)
    low = split.key.removeprefix("v")
    keys = _uncounted(_shape(split, asked, key, only=True), split)
    keys |= {"semver": f">={low} <{high}", "versions": "lenient"}
    return Choice(keys, {"semver": remark} if remark else {})


def _moves(split: _Split, asked: _Asked) -> bool:
    """Whether there are longer versions of the same variant that a tag stands for."""
    longer = re.compile(
        rf"{re.escape(split.before + split.key)}\.[0-9][0-9._]*{re.escape(split.after)}", re.ASCII
    )
    return any(longer.fullmatch(tag) for tag in asked.tags or ())


def _follow(tag: str, why: str) -> Choice:
    return Choice({"follow": tag}, {"follow": why})


def _stamp(asked: _Asked) -> Choice | None:
    """`20240115`, `main-4b1c2d3-1700000000`: days and times as one number."""
    times = [split for split in map(_bare, _splits(_ONE, asked)) if _is_time(split.key)]
    if not times or (len(times[-1].key) in asked.hash_lengths and not _is_date(times[-1].key[:8])):
        return None
    key = rf"\d{{{len(times[-1].key)}}}"
    return Choice(_built_on(times[-1], asked, key, "numeric"), _day_remarks(times[-1]))


def _bare(split: _Split) -> _Split:
    """A number without its `v`."""
    digits = split.key.removeprefix("v")
    return _Split(split.before + split.key[: -len(digits)], digits, split.after)


def _one_number(asked: _Asked) -> Choice | None:
    """`build-57`, `main-4b1c2d3-57`, `1234`; `7` and `17-jre` are moving tags of a major version."""
    numbers = [
        split
        for split in _splits(_ONE, asked)
        if not (len(split.key) >= 7 and len(split.key) in asked.hash_lengths)
    ]
    if not numbers:
        return None
    split = numbers[-1]
    digits = _bare(split).key
    counts = _BUILDS.match(split.before) is not None or any(map(_is_hash, _parts(split.before)))
    year = 1990 <= int(digits) < 2100
    bare = not split.before and split.after[:1] != "." and not any(map(_is_hash, _parts(split.after)))
    if _moves(split, asked) or (bare and not counts and (len(digits) < 3 or year)):
        why = f"the newest of its versions; if {digits} is a build number, use `order: numeric`"
        return _follow(asked.tag, why)
    if not counts and not (bare and len(digits) > 2):
        return None
    keys = _shape(_bare(split), asked, rf"\d{{1,{len(digits) + 1}}}", only=not split.before)
    return Choice({**keys, "order": "numeric"})


def _hash(asked: _Asked) -> Choice | None:
    """`4b1c2d3`, `sha-4b1c2d3`, `main-4b1c2d3`: commits have no order in their names."""
    expression = _SHORT_DAY.sub(r"\\d{2}\1\\d{2}\1\\d{2}", _loosened(asked.tag, asked))
    if "[0-9a-f]" not in expression:
        return None
    why = "commit hashes have no order: remove this hold to take the image that was built last"
    return Choice(
        {"regex": f"^{expression}$", "order": "newest", "hold": {"reason": why}},
        comments=("Better: let CI add what can be compared, a version or a time, and choose by that.",),
    )


def _word(asked: _Asked) -> Choice | None:
    """`latest`, `stable-slim`: tags that move."""
    if any(character.isdecimal() for character in asked.tag):
        return None
    found = {tag for tag in asked.tags or () if _THREE.fullmatch(tag)}
    best = sorted(found, key=lambda tag: (semver_rank(tag) or (), tag), reverse=True)[:_SHOWN]
    others = (f"The registry also has versions: {', '.join(best)}. With one of these, use `semver`.",)
    why = f"{asked.tag} is a moving tag: remove this hold to pin and follow its digest, or choose a version"
    return _ask(asked.tag, why, *(others if best else ()))


_SCHEMES: tuple[Callable[[_Asked], Choice | None], ...] = (
    _word,
    _change,
    _three_numbers,
    _four_numbers,
    _day,
    _two_numbers,
    _stamp,
    _one_number,
    _hash,
)
"""The first whose rule takes the current tag counts."""
