"""Policy files as they are written: text to entries with places, checked against a schema.

What the values mean (ranges, globs, image names) is `policy`'s; here is only their shape. One bad
entry does not spoil its neighbours; what is wrong with the file itself spoils all of them.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from automator.core import yamltext
from automator.core.policyvalues import MAX_VALUES, Path, Place, Problem, Reader, TooLarge
from automator.errors import ManifestError
from automator.reasons import one_line, reason

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)
NOT_YET = frozenset(
    {
        *("tags_from", "reject", "follow"),
        *("min_age", "step", "platforms", "windows", "signed_by", "after", "verify", "on_failure"),
        *("group", "deliver", "pull_request"),
        *("accept", "downgrade", "align", "urgent"),
    }
)
"""Keys of the policy language that this version cannot honour."""


# -- the schema ---------------------------------------------------------------------------------------

_Text = str | None
_STRICT = ConfigDict(extra="forbid", strict=True, frozen=True)


class WhereKeys(BaseModel):
    """`where`: which sites a workload owns."""

    model_config = _STRICT

    paths: list[str] | None = Field(None, min_length=1, description="gitignore-style globs of files")
    kind: _Text = Field(None, min_length=1, description="kind of the same document")
    namespace: _Text = Field(None, min_length=1, description="metadata.namespace of the same document")
    name: _Text = Field(None, min_length=1, description="metadata.name of the same document")
    container: _Text = Field(None, min_length=1, description="name of the container")
    field: _Text = Field(None, min_length=1, description="path to one scalar, `server.image.tag`")
    marker: _Text = Field(None, min_length=1, description="name of a Flux image policy in a comment")


class HoldKeys(BaseModel):
    """`hold`: a person's stop."""

    model_config = _STRICT

    reason: str = Field(min_length=1, description="why nothing is released")
    until: _Text = Field(None, description="RFC 3339 time at which the hold ends by itself")


class WorkloadKeys(BaseModel):
    """A workload, or the `defaults` of a file."""

    model_config = _STRICT

    image: _Text = Field(None, description="image repository to watch, in any usual spelling")
    where: WhereKeys | None = Field(None, description="which sites it owns")
    glob: _Text = Field(None, description="only tags of this form; `{key}` is compared")
    regex: _Text = Field(
        None, description="only tags that this RE2 expression covers; `(?P<key>…)` is compared"
    )
    exclude: list[str] | None = Field(None, description="globs of tags never taken")
    semver: _Text = Field(None, description="version range as in Flux and Helm")
    versions: Literal["strict", "lenient"] | None = Field(
        None, description="three numbers wanted, or one to three"
    )
    prereleases: Literal["range", "never", "allow", "only"] | None = Field(
        None, description="which pre-releases are taken"
    )
    order: Literal["version", "numeric", "alphabetical", "newest"] | None = Field(
        None, description="how tags are compared, without `semver`"
    )
    pin: Literal["tag", "digest"] | None = Field(None, description="what is written into the site")
    hold: HoldKeys | None = Field(None, description="stop: nothing is released")
    owner: _Text = Field(None, description="who answers for it")
    environment: _Text = Field(None, description="where it runs")
    description: _Text = Field(None, description="what it is")


class FileKeys(BaseModel):
    """A whole policy file; `automator schema` prints this."""

    model_config = _STRICT

    version: Literal[1] = Field(description="version of the policy language")
    defaults: WorkloadKeys | None = Field(None, description="inherited by every workload of the file")
    workloads: dict[str, WorkloadKeys] = Field(description="by name, unique in the config repo")


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


def read_policy_file(file: str, text: str) -> PolicyFile:
    """Read the text of one policy file. Never raises: what is wrong is in `problems`."""
    try:
        documents = yamltext.parse(text)
    except ManifestError as error:
        return _broken(file, dict(error.reason.params).get("line", "1"), error.reason.sentence)
    if len(documents) > 1:
        return _broken(file, documents[1].line, "holds several YAML documents, and one is expected")
    root = documents[0].root if documents else None
    if not isinstance(root, yamltext.Mapping):
        return _broken(file, 1, "holds no mapping with `version` and `workloads`")
    reader = Reader(file)
    try:
        top = reader.read_top(root)
    except TooLarge:
        return _broken(
            file, 1, f"has more than {MAX_VALUES} values, aliases counted as often as they are used"
        )
    if not isinstance(top.get("workloads"), dict):
        if "workloads" in top:
            problem = reader.wrong_type(("workloads",), "a mapping of workloads by name")
        else:
            problem = reader.missing(("workloads",), "a mapping of workloads by name")
        return PolicyFile((), (problem,), broken=True)
    return _entries(reader, top)


def _broken(file: str, line: str | int, problem: str) -> PolicyFile:
    place = Place(file, int(line))
    return PolicyFile((), ((place, reason("policy/unparsable", place=place, problem=problem)),), broken=True)


def _entries(reader: Reader, top: dict[str, Any]) -> PolicyFile:
    defaults, problems = _check(reader, top.get("defaults", {}), ("defaults",))
    problems = [
        *reader.problems_under(None),
        *_version_problems(reader, top),
        *(_unknown(reader, (key,), ("version", "defaults", "workloads")) for key in top if key not in _TOP),
        *reader.problems_under(("defaults",)),
        *problems,
    ]
    inherited = top.get("defaults") if isinstance(top.get("defaults"), dict) else {}
    entries = []
    for name, path, place, raw in reader.workloads:
        keys, own_problems = _check(reader, raw, path)
        if NAME.fullmatch(name) is None:
            hint = "begin a name with a letter or digit, and go on with those, `.`, `_` or `-`"
            bad_name = "it is no name for a workload"
            own_problems.insert(0, reader.problem(path, "policy/invalid-value", problem=bad_name, hint=hint))
        own_problems = [*reader.problems_under(path), *own_problems]
        merged = None
        if keys is not None and defaults is not None and not own_problems and not problems:
            merged = defaults.model_copy(update={k: getattr(keys, k) for k in keys.model_fields_set})
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
                reader.places,
            )
        )
    return PolicyFile(tuple(entries), tuple(problems), broken=False)


_TOP = frozenset({"version", "defaults", "workloads"})


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
            hint="write `version: 1`",
        )


def _check(reader: Reader, raw: Any, path: Path) -> tuple[WorkloadKeys | None, list[Problem]]:
    """The keys of a workload against the schema."""
    try:
        return WorkloadKeys.model_validate(raw), []
    except ValidationError as error:
        return None, [_translate(reader, path, dict(detail)) for detail in error.errors(include_url=False)]


_EXPECTED = {
    "string_type": "text",
    "list_type": 'a list such as ["a", "b"]',
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "too_short": "at least one entry",
    "string_too_short": "text that is not empty",
}


def _translate(reader: Reader, base: Path, detail: dict[str, Any]) -> Problem:
    """A finding of the schema as one of our reasons."""
    path: Path = (*base, *detail["loc"])
    kind = detail["type"]
    if kind == "extra_forbidden":
        known: Any = {1: WorkloadKeys, 2: {"where": WhereKeys, "hold": HoldKeys}.get(str(detail["loc"][0]))}
        return _unknown(reader, path, known[len(detail["loc"])].model_fields)
    if kind == "missing":
        return reader.missing(path, "say why, in a few words")
    if kind == "literal_error":
        return reader.wrong_type(path, str(detail["ctx"]["expected"]).replace("'", "`"))
    return reader.wrong_type(path, _EXPECTED.get(kind, one_line(detail["msg"])))


def _unknown(reader: Reader, path: Path, known: Any) -> Problem:
    name = str(path[-1])
    if (path[0] != "workloads" or len(path) == 3) and (name in NOT_YET or name == "freeze"):
        return reader.problem(path, "policy/unsupported-key")
    close = difflib.get_close_matches(name, list(known), 1)
    names = ", ".join(f"`{key}`" for key in known)
    hint = f"did you mean `{close[0]}`?" if close else f"the keys here are {names}"
    return reader.problem(path, "policy/unknown-key", hint=hint)
