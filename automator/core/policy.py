"""Policies: the texts of all policy files of one commit to workloads.

What cannot be used is kept as an `InvalidWorkload`, so that it still holds what it claims.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from pathspec import GitIgnoreSpec
from pydantic import ValidationError

from automator.core.pattern import Expression, Glob, Shape
from automator.core.policyfile import Entry, HoldKeys, WhereKeys, WorkloadKeys, read_policy_file
from automator.core.policyvalues import Place as Place
from automator.core.policyvalues import Problem
from automator.core.reference import Repository, parse_reference, parse_repository
from automator.core.rule import ORDERS, Rule
from automator.core.rule import Candidate as Candidate
from automator.core.rule import Dropped as Dropped
from automator.core.version import Constraint
from automator.errors import AutomatorError, PolicyError
from automator.reasons import Reason, one_line, reason


@dataclass(frozen=True, slots=True)
class Where:
    """Which sites a workload owns; all empty means every site of its repository."""

    paths: tuple[str, ...] = ()
    """gitignore-style globs."""
    kind: str | None = None
    namespace: str | None = None
    name: str | None = None
    container: str | None = None
    field: str | None = None
    marker: str | None = None


@dataclass(frozen=True, slots=True)
class Hold:
    """A person's stop: nothing is released until it ends."""

    reason: str
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Workload:
    """One valid entry of a policy file."""

    name: str
    repository: Repository
    where: Where
    rule: Rule
    pin: str
    """`tag` or `digest`."""
    hold: Hold | None
    place: Place
    owner: str | None = None
    environment: str | None = None
    description: str | None = None


@dataclass(frozen=True, slots=True)
class InvalidWorkload:
    """An entry that cannot be used: it keeps its claims, and is held with the reason."""

    name: str
    repository: Repository | None
    """None where the image itself could not be read: then it claims nothing."""
    where: Where
    reason: Reason
    place: Place


@dataclass(frozen=True, slots=True)
class PolicySet:
    """All policies of a config repo at one commit."""

    workloads: tuple[Workload | InvalidWorkload, ...]
    problems: tuple[Problem, ...]
    """Every error found, in file and line order; includes those of invalid workloads and of files
    that do not parse at all."""
    broken: tuple[str, ...]
    """Files that do not parse: their workloads are held as of their last valid version in Git."""
    warnings: tuple[Problem, ...] = ()
    """What is valid but perhaps not meant, in file and line order."""


# -- reading ------------------------------------------------------------------------------------------

_HOLD_EVERYTHING = frozenset({"_freeze", "_rules"})


def parse_policies(files: Mapping[str, str]) -> PolicySet:
    """Read all policy files (path -> text) of one commit. Never raises: what is wrong is in
    `problems`, and holds.

    Every sentence in `problems` and `warnings` begins with its place.
    """
    entries: list[Entry] = []
    problems: list[Problem] = []
    warnings: list[Problem] = []
    broken: list[str] = []
    stop: Problem | None = None
    for file in sorted(files):
        name = file.rpartition("/")[2]
        if name.startswith("_"):
            place = Place(file, 1)
            problems.append((place, reason("policy/reserved-file", place=place, file=name)))
            if name.partition(".")[0] in _HOLD_EVERYTHING:
                stop = stop or problems[-1]
            continue
        read = read_policy_file(file, files[file])
        entries += read.entries
        problems += read.problems
        broken += [file] if read.broken else []
    places: dict[str, list[Place]] = {}
    for entry in entries:
        places.setdefault(entry.name, []).append(entry.place)
    workloads: list[Workload | InvalidWorkload] = []
    for entry in entries:
        found = [*entry.problems, *_name_taken(entry, places[entry.name])]
        problems += found
        if stop is not None:
            found.append(stop)
        workloads.append(_workload(entry, found, problems, warnings))
    return PolicySet(tuple(workloads), _in_order(problems), tuple(broken), _in_order(warnings))


def _in_order(found: list[Problem]) -> tuple[Problem, ...]:
    """By file and line, each once: what is wrong in `defaults` is met again by every workload."""
    return tuple(sorted(dict.fromkeys(found), key=lambda problem: problem[0]))


def _name_taken(entry: Entry, places: list[Place]) -> list[Problem]:
    others = [place for place in places if place != entry.place]
    if len(places) < 2:
        return []
    other = others[0] if others else entry.place
    return [
        (entry.place, reason("policy/duplicate-workload", name=entry.name, place=entry.place, other=other))
    ]


def _workload(
    entry: Entry, found: list[Problem], problems: list[Problem], warnings: list[Problem]
) -> Workload | InvalidWorkload:
    """Compile an entry, adding what is wrong or odd to the lists."""
    if entry.keys is not None and not found:
        compiler = _Compiler(entry, entry.keys)
        compiled = compiler.workload()
        warnings += compiler.warnings
        if compiled is not None:
            return compiled
        problems += compiler.problems
        found = compiler.problems
    repository, where = _claims(entry)
    return InvalidWorkload(entry.name, repository, where, found[0][1], entry.place)


def _claims(entry: Entry) -> tuple[Repository | None, Where]:
    """What an invalid entry claims, as far as it can be read; a `where` that cannot be read claims
    every site of the repository, since an error must never free a site for another workload."""
    try:
        repository = parse_reference(str(entry.raw.get("image", ""))).repository
    except AutomatorError:
        return None, Where()
    if any(why.code == "policy/duplicate-key" for _, why in entry.problems):
        return repository, Where()
    try:
        keys = WhereKeys.model_validate(entry.raw["where"]) if "where" in entry.raw else None
        return repository, Where() if _bad_path(keys) else _where(keys)
    except ValidationError:
        return repository, Where()


def _where(keys: WhereKeys | None) -> Where:
    if keys is None:
        return Where()
    return Where(
        tuple(keys.paths or ()), keys.kind, keys.namespace, keys.name, keys.container, keys.field, keys.marker
    )


def _bad_path(keys: WhereKeys | None) -> tuple[int, str] | None:
    """Index of the first path pattern that is none, and what is wrong with it."""
    for i, path in enumerate((keys and keys.paths) or ()):
        try:
            GitIgnoreSpec.from_lines([path])
        except ValueError as error:
            return i, str(error)
        if not path.strip() or path.startswith("#"):
            return i, "it is empty or a comment, and matches nothing"
    return None


class _Compiler:
    """Makes one workload of a well-formed entry, collecting everything that is wrong with it."""

    def __init__(self, entry: Entry, keys: WorkloadKeys) -> None:
        self._entry = entry
        self._keys = keys
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []

    def workload(self) -> Workload | None:
        """The workload, or None with `problems` filled."""
        keys = self._keys
        repository = self._repository()
        self._check_where()
        rule = self._rule()
        hold = self._hold(keys.hold)
        if self.problems or repository is None or rule is None:
            return None
        return Workload(
            name=self._entry.name,
            repository=repository,
            where=_where(keys.where),
            rule=rule,
            pin=keys.pin or "tag",
            hold=hold,
            place=self._entry.place,
            owner=keys.owner,
            environment=keys.environment,
            description=keys.description,
        )

    # -- what and where

    def _repository(self) -> Repository | None:
        if self._keys.image is None:
            self._problem("image", "policy/missing-key", expected="the image repository to watch")
            return None
        try:
            return parse_repository(self._keys.image)
        except AutomatorError as error:
            self._invalid("image", error)
            return None

    def _check_where(self) -> None:
        where = self._keys.where
        if where is None:
            return
        if not where.model_fields_set:
            self._problem(
                "where",
                "policy/invalid-value",
                problem="it is empty",
                hint="name `paths`, `kind`, `name` …, or remove `where` to own every site of the image",
            )
        if bad := _bad_path(where):
            self._problem(
                f"where.paths[{bad[0]}]",
                "policy/invalid-value",
                problem=bad[1],
                hint="write gitignore-style globs such as `apps/shop/**`",
            )

    # -- which tags

    def _rule(self) -> Rule | None:
        keys = self._keys
        order = self._order()
        if order is None:
            return None
        lenient = order == "semver" and keys.versions == "lenient"
        rule = Rule(
            order,
            one_line(_rule_text(keys, order)),
            self._matcher(ORDERS["lenient" if lenient else order].shape),
            tuple(self._excluded()),
            self._constraint(),
            lenient,
            keys.prereleases or "range",
        )
        return None if self.problems else rule

    def _order(self) -> str | None:
        """The order that holds; None with a problem where the keys contradict each other or say nothing."""
        keys = self._keys
        if keys.glob is not None and keys.regex is not None:
            self._problem("regex", "policy/conflict", problem="`glob` and `regex` cannot both be given")
            return None
        if keys.semver is None:
            for key in ("versions", "prereleases"):
                if key in self._entry.own:
                    self._problem(key, "policy/conflict", problem="it has no effect without `semver`")
        if keys.semver is not None:
            if keys.order not in (None, "version"):
                problem = f"`semver` orders by version, which is not `order: {keys.order}`"
                self._problem("order", "policy/conflict", problem=problem)
                return None
            return "semver"
        if keys.order is not None:
            return keys.order
        if keys.glob is not None or keys.regex is not None:
            expected = "`glob` and `regex` say which tags, `order` or `semver` which of them is the newest"
            self._problem("order", "policy/missing-key", expected=expected)
            return None
        place = self._entry.place
        label = f"workloads.{self._entry.name}"
        self.problems.append((place, reason("policy/no-choice", place=place, key=label)))
        return None

    def _matcher(self, shape: Shape) -> Glob | Expression | None:
        keys = self._keys
        try:
            if keys.glob is not None:
                glob = Glob.parse(keys.glob, shape)
                if glob.ambiguous:
                    self._warn("glob", "policy/ambiguous-glob", text=glob.text)
                return glob
            return None if keys.regex is None else Expression.parse(keys.regex)
        except PolicyError as error:
            self._invalid("regex" if keys.glob is None else "glob", error)
            return None

    def _excluded(self) -> Iterator[Glob]:
        for i, text in enumerate(self._keys.exclude or ()):
            try:
                if "{key}" in text:
                    raise PolicyError(
                        reason("pattern/invalid", text=text, problem="`exclude` has no `{key}`")
                    )
                yield Glob.parse(text)
            except PolicyError as error:
                self._invalid(f"exclude[{i}]", error)

    def _constraint(self) -> Constraint | None:
        text = self._keys.semver
        if text is None:
            return None
        try:
            constraint = Constraint.parse(text)
        except AutomatorError as error:
            self._invalid("semver", error)
            return None
        if constraint.empty:
            self._problem("semver", "policy/unreachable", text=text)
        for comparator in dict.fromkeys(constraint.oddities):
            self._warn("semver", "policy/odd-range", comparator=comparator, text=text)
        return constraint

    # -- stop

    def _hold(self, keys: HoldKeys | None) -> Hold | None:
        if keys is None:
            return None
        until = None if keys.until is None else parse_time(keys.until)
        if keys.until is not None and until is None:
            self._problem(
                "hold.until",
                "policy/invalid-value",
                problem=f'"{keys.until}" is no RFC 3339 time',
                hint="write a time with its zone, such as 2026-12-01T09:00:00Z",
            )
        return Hold(one_line(keys.reason), until)

    # -- problems

    def _problem(self, key: str, code: str, **params: str) -> None:
        self.problems.append(self._say(key, code, params))

    def _warn(self, key: str, code: str, **params: str) -> None:
        self.warnings.append(self._say(key, code, params))

    def _invalid(self, key: str, error: AutomatorError) -> None:
        why = error.reason
        self._problem(key, "policy/invalid-value", problem=why.sentence, hint=why.next_step)

    def _say(self, key: str, code: str, params: Mapping[str, str]) -> Problem:
        path = [int(part) if part.isdigit() else part for part in re.split(r"[.\[\]]+", key) if part]
        place = self._entry.place_of(*path)
        return place, reason(code, changes_at=None, place=place, key=self._entry.label(key), **params)


def _rule_text(keys: WorkloadKeys, order: str) -> str:
    parts = [] if keys.glob is None else [f'glob "{keys.glob}"']
    parts += [] if keys.regex is None else [f'regex "{keys.regex}"']
    parts += [f"order {order}"] if keys.semver is None else [f'semver "{keys.semver}"']
    if keys.semver is not None:
        parts += [] if keys.versions in (None, "strict") else [f"versions {keys.versions}"]
        parts += [] if keys.prereleases in (None, "range") else [f"prereleases {keys.prereleases}"]
    parts += ["without " + " ".join(f'"{glob}"' for glob in keys.exclude)] if keys.exclude else []
    return ", ".join(parts)


_RFC3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})",
    re.ASCII,
)


def parse_time(text: str) -> datetime | None:
    """An RFC 3339 time (date, time to the second, zone), or None."""
    if _RFC3339.fullmatch(text) is None:
        return None
    try:
        return datetime.fromisoformat(text.upper())
    except ValueError:
        return None
