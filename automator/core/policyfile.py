"""Policy files as they are written: text to entries with places, checked against a schema.

What the values mean (ranges, globs, image names) is `policy`'s; here is only their shape. One bad
entry does not spoil its neighbours; what is wrong with the file itself spoils all of them.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError

from automator.core import yamltext
from automator.core.policykeys import NESTED, FileKeys, HoldKeys, WorkloadKeys, key_names
from automator.core.policyvalues import MAX_VALUES, Path, Place, Problem, Reader, TooLarge
from automator.errors import ManifestError
from automator.reasons import one_line, reason

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)


# -- a file, read -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Entry:
    """One workload as written."""

    name: str
    path: tuple[str, str]
    place: Place
    keys: WorkloadKeys | None
    """Its own keys over the file's defaults; None where something is wrong with them."""
    own: frozenset[str]
    """Names of the keys that stand in the workload itself."""
    raw: Mapping[str, Any]
    """What could be read, for the claims of an invalid workload."""
    problems: tuple[Problem, ...]
    """Its own, then those of its file."""
    freeze: HoldKeys | None
    """The stop of its file."""
    places: Mapping[Path, Place] = field(repr=False)

    def place_of(self, *path: str | int) -> Place:
        """Where a key is written: here, or in the defaults."""
        for start in (self.path, ("defaults",)):
            for end in range(len(path), 0, -1):
                if found := self.places.get((*start, *path[:end])):
                    return found
        return self.place

    def label(self, key: str) -> str:
        """A key's path as the file has it: `workloads.web.semver` or `defaults.semver`."""
        inherited = (
            key.partition(".")[0] not in self.own and ("defaults", key.partition(".")[0]) in self.places
        )
        return f"defaults.{key}" if inherited else ".".join((*self.path, key))


class PolicyFile(NamedTuple):
    """What one policy file holds."""

    entries: tuple[Entry, ...]
    problems: tuple[Problem, ...]
    """Of the file as a whole; those of entries stand there."""
    broken: bool
    """Whether even the list of workloads could not be read."""


Keys = TypeVar("Keys", bound=BaseModel)


class Reserved(NamedTuple, Generic[Keys]):
    """What a file with a name of ours holds (`_freeze.yaml`, `_rules.yaml`)."""

    keys: Keys | None
    """None where something is wrong with it."""
    problems: tuple[Problem, ...]
    places: Mapping[Path, Place]


def read_policy_file(file: str, text: str) -> PolicyFile:
    """Read the text of one policy file. Never raises: what is wrong is in `problems`."""
    opened = _opened(file, text, "`version` and `workloads`")
    if not isinstance(opened, _Opened):
        return PolicyFile((), (opened,), broken=True)
    reader, top = opened
    if not isinstance(top.get("workloads"), dict):
        if "workloads" in top:
            problem = reader.wrong_type(("workloads",), "a mapping of workloads by name")
        else:
            problem = reader.missing(("workloads",), "a mapping of workloads by name")
        return PolicyFile((), (problem,), broken=True)
    return _entries(reader, top)


def read_reserved_file(file: str, text: str, model: type[Keys]) -> Reserved[Keys]:
    """Read the text of a file with a name of ours by its own schema. Never raises."""
    names = key_names(model)
    opened = _opened(file, text, " and ".join(f"`{name}`" for name in names))
    if not isinstance(opened, _Opened):
        return Reserved(None, (opened,), {})
    reader, top = opened
    problems = [*reader.problems_under(None), *reader.problems_under(("workloads",))]
    problems += _version_problems(reader, top)
    keys = None
    try:
        keys = model.model_validate(top)
    except ValidationError as error:
        details = error.errors(include_url=False)
        problems += [
            _translate(reader, (), dict(detail), names) for detail in details if detail["loc"] != ("version",)
        ]
    problems = list(dict.fromkeys(problems))
    return Reserved(None if problems else keys, tuple(problems), reader.places)


def unknown_version(file: str, text: str) -> Problem | None:
    """What is wrong with the `version` that a policy file, or one with a name of ours, says of itself; None
    where it is one that is known here, and where it says none or cannot be read at all."""
    try:
        documents = yamltext.parse(text)
    except ManifestError:
        return None
    for root in (document.root for document in documents):
        if not isinstance(root, yamltext.Mapping):
            continue
        # This key alone: whatever else stands there, another version may mean.
        pairs = tuple(pair for pair in root.pairs if pair[0][0] == "version")
        reader = Reader(file)
        try:
            top = reader.read_top(root._replace(pairs=pairs, by_key=None))
        except TooLarge:
            return None
        if top.get("version") is not None:
            problem = next(_version_problems(reader, top), None)
            is_slip = problem is not None and dict(problem[1].params).get("found") in _SLIPS
            return None if is_slip else problem
    return None


class _Opened(NamedTuple):
    reader: Reader
    top: dict[str, Any]


def _opened(file: str, text: str, expected: str) -> _Opened | Problem:
    """The values of a file that is one YAML mapping, or why it is none."""
    try:
        documents = yamltext.parse(text)
    except ManifestError as error:
        return _broken(file, dict(error.reason.params).get("line", "1"), error.reason.sentence)
    if len(documents) > 1:
        return _broken(file, documents[1].line, "holds several YAML documents, and one is expected")
    root = documents[0].root if documents else None
    if not isinstance(root, yamltext.Mapping):
        return _broken(file, 1, f"holds no mapping with {expected}")
    reader = Reader(file)
    try:
        return _Opened(reader, reader.read_top(root))
    except TooLarge:
        return _broken(
            file, 1, f"has more than {MAX_VALUES} values, aliases counted as often as they are used"
        )


def _broken(file: str, line: str | int, problem: str) -> Problem:
    place = Place(file, int(line))
    return place, reason("policy/unparsable", place=place, problem=problem)


def _entries(reader: Reader, top: dict[str, Any]) -> PolicyFile:
    defaults, problems = _check(reader, top.get("defaults", {}), ("defaults",), WorkloadKeys)
    freeze: HoldKeys | None = None
    freeze_problems: list[Problem] = []
    if "freeze" in top:
        freeze, freeze_problems = _check(reader, top["freeze"], ("freeze",), HoldKeys)
    problems = [
        *reader.problems_under(None),
        *_version_problems(reader, top),
        *(_unknown(reader, (key,), _TOP) for key in top if key not in _TOP),
        *reader.problems_under(("defaults",)),
        *problems,
        *freeze_problems,
    ]
    inherited = top.get("defaults") if isinstance(top.get("defaults"), dict) else {}
    entries = []
    for name, path, place, raw in reader.workloads:
        keys, own_problems = _check(reader, raw, path, WorkloadKeys)
        if NAME.fullmatch(name) is None:
            hint = "begin a name with a letter or digit, and go on with those, `.`, `_` or `-`"
            bad_name = "it is no name for a workload"
            own_problems.insert(0, reader.problem(path, "policy/invalid-value", problem=bad_name, hint=hint))
        own_problems = [*reader.problems_under(path), *own_problems]
        merged = None
        if keys is not None and defaults is not None and not own_problems and not problems:
            merged = _over(defaults, keys)
        written = raw if isinstance(raw, dict) else {}
        entries.append(
            Entry(
                one_line(name),
                path,
                place,
                merged,
                frozenset(written),
                {**(inherited or {}), **written},
                (*own_problems, *problems),
                freeze,
                reader.places,
            )
        )
    return PolicyFile(tuple(entries), tuple(problems), broken=False)


_CHOICE = frozenset({"glob", "regex", "exclude", "semver", "versions", "prereleases", "order", "step"})


def _over(defaults: WorkloadKeys, keys: WorkloadKeys) -> WorkloadKeys:
    """A workload's own keys over the defaults. `follow` and a choice of versions exclude each other, so
    the one that a workload names itself replaces the other that it inherits."""
    if not defaults.model_fields_set:
        return keys
    own = {key: getattr(keys, key) for key in keys.model_fields_set}
    if keys.follow is not None:
        own = {**dict.fromkeys(_CHOICE - own.keys()), **own}
    elif _CHOICE & own.keys():
        own = {"follow": None, **own}
    return defaults.model_copy(update=own)


_TOP = key_names(FileKeys)


_SLIPS = frozenset({'"1"', '"1.0"', '"v1"', "the number 1.0", "the number 01"})
"""Spellings of our own version that are none, as problems tell of them: no other format."""
# Whoever writes `version: 1` instead has the file misread, by this program and by the one that wrote it.
_NEWER = "use the automator that wrote the file, or a newer one; `automator --version` tells which this is"


def _version_problems(reader: Reader, top: dict[str, Any]) -> Iterator[Problem]:
    version = top.get("version")
    if "version" not in top:
        yield reader.missing(("version",), "`version: 1`")
    elif type(version) is not int:
        yield reader.wrong_type(("version",), "the number 1")
    elif version != 1:
        yield reader.problem(
            ("version",),
            "policy/invalid-value",
            problem=f"policies of version {version} are not known here",
            hint=_NEWER if version > 1 else "write `version: 1`",
        )


def _check(reader: Reader, raw: Any, path: Path, model: type[Keys]) -> tuple[Keys | None, list[Problem]]:
    """What stands at a path against its schema."""
    try:
        return model.model_validate(raw), []
    except ValidationError as error:
        names = key_names(model)
        found = [_translate(reader, path, dict(detail), names) for detail in error.errors(include_url=False)]
        return None, list(dict.fromkeys(found))


_EXPECTED = {
    "string_type": "text",
    "list_type": 'a list such as ["a", "b"]',
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "too_short": "at least one entry",
    "string_too_short": "text that is not empty",
    "bool_type": "true or false",
}
_DURATIONS = ("min_age", "for", "soak")
_MISSING = {
    "reason": "say why, in a few words",
    "for": "say how long it lasts, such as 8h",
    "name": "say which group, the same word for every member",
    "version": "say which version",
    "freeze": "say why nothing is released: `freeze: {reason: …}`",
    "rules": "a list of guard rails",
}


def _translate(reader: Reader, base: Path, detail: dict[str, Any], names: tuple[str, ...]) -> Problem:
    """A finding of the schema, whose keys are `names`, as one of our reasons."""
    path: Path = (*base, *detail["loc"])
    kind = detail["type"]
    if kind == "extra_forbidden":
        words = [part for part in path if isinstance(part, str)]
        inside = NESTED.get(words[-2]) if len(words) > 1 and len(detail["loc"]) > 1 else None
        return _unknown(reader, path, names if inside is None else key_names(inside))
    if kind == "missing":
        return reader.missing(path, _MISSING[str(path[-1])])
    if kind == "string_type" and path[-1] in _DURATIONS:
        # A number in quotes would be as wrong as one without.
        return reader.wrong_type(path, "a duration such as 30m, 12h or 7d")
    if kind == "list_type" and path[-1] == "windows":
        return reader.wrong_type(path, 'a list such as [{allow: "0 9 * * 1-5", for: 8h}]')
    if kind == "literal_error":
        return reader.wrong_type(path, str(detail["ctx"]["expected"]).replace("'", "`"))
    return reader.wrong_type(path, _EXPECTED.get(kind, one_line(detail["msg"])))


def _unknown(reader: Reader, path: Path, known: Any) -> Problem:
    name = str(path[-1])
    close = difflib.get_close_matches(name, list(known), 1)
    names = ", ".join(f"`{key}`" for key in known)
    hint = f"did you mean `{close[0]}`?" if close else f"the keys here are {names}"
    return reader.problem(path, "policy/unknown-key", hint=hint)
