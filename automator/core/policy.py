"""Policies: the texts of all policy files of one commit to workloads.

What cannot be used is kept as an `InvalidWorkload`, so that it still holds what it claims.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import ValidationError

from automator.core.guardrails import read_rails
from automator.core.policycompile import bad_path, compile_entry, compile_hold, where_of
from automator.core.policyfile import Entry, read_policy_file, read_reserved_file
from automator.core.policykeys import FreezeFileKeys, WhereKeys
from automator.core.policyvalues import Place as Place
from automator.core.policyvalues import Problem
from automator.core.rail import Rail
from automator.core.reference import Repository, parse_reference
from automator.core.rule import Candidate as Candidate
from automator.core.rule import Dropped as Dropped
from automator.core.workload import Group as Group
from automator.core.workload import Guards as Guards
from automator.core.workload import Hold as Hold
from automator.core.workload import InvalidWorkload as InvalidWorkload
from automator.core.workload import PolicySet as PolicySet
from automator.core.workload import Urgent as Urgent
from automator.core.workload import Where as Where
from automator.core.workload import Workload as Workload
from automator.core.workload import group_of as group_of
from automator.errors import AutomatorError
from automator.reasons import Reason, reason

# -- reading ------------------------------------------------------------------------------------------

FREEZE = ("_freeze.yaml", "_freeze.yml")
RULES = ("_rules.yaml", "_rules.yml")

_Found = Workload | InvalidWorkload


def parse_policies(files: Mapping[str, str]) -> PolicySet:
    """Read all policy files (path -> text) of one commit. Never raises: what is wrong is in
    `problems`, and holds.

    Every sentence in `problems` and `warnings` begins with its place.
    """
    reading = _Reading()
    for file in sorted(files):
        reading.read(file, files[file])
    workloads = _agreed(reading.workloads(), reading.problems)
    return PolicySet(
        tuple(_upstream_known(workloads, reading.problems)),
        _in_order(reading.problems),
        tuple(reading.broken),
        _in_order(reading.warnings),
        tuple(reading.rails),
    )


class _Reading:
    """What has been read so far of the policy files of a commit."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []
        self.broken: list[str] = []
        self.rails: list[Rail] = []
        self._entries: list[Entry] = []
        self._freezes: list[Hold] = []
        self._stop: Problem | None = None
        """Why nothing at all may be released: a file that stops or limits everything cannot be read."""

    def read(self, file: str, text: str) -> None:
        """Read one file."""
        name = file.rpartition("/")[2]
        if name in FREEZE:
            self._read_freeze(file, text)
        elif name in RULES:
            self._read_rails(file, text)
        elif name.startswith("_"):
            place = Place(file, 1)
            self.problems.append((place, reason("policy/reserved-file", place=place, file=name)))
            if name.partition(".")[0] in ("_freeze", "_rules"):
                self._stop = self._stop or self.problems[-1]
        else:
            found = read_policy_file(file, text)
            self._entries += found.entries
            self.problems += found.problems
            self.broken += [file] if found.broken else []

    def _read_freeze(self, file: str, text: str) -> None:
        keys, problems, places = read_reserved_file(file, text, FreezeFileKeys)
        found = list(problems)
        if keys is not None:
            hold, problem = compile_hold(keys.freeze, ("freeze",), places, Place(file, 1))
            self._freezes += [] if hold is None else [hold]
            found += [] if problem is None else [problem]
        self.problems += found
        if found:  # a broken freeze freezes
            self._stop = self._stop or found[0]

    def _read_rails(self, file: str, text: str) -> None:
        rails, problems = read_rails(file, text)
        self.rails += rails
        self.problems += problems
        if problems:  # nothing goes past rules that cannot be read
            self._stop = self._stop or problems[0]

    def workloads(self) -> list[_Found]:
        """Every entry as a workload, or as one that holds what it claims."""
        places: dict[str, list[Place]] = {}
        for entry in self._entries:
            places.setdefault(entry.name, []).append(entry.place)
        return [self._workload(entry, places[entry.name]) for entry in self._entries]

    def _workload(self, entry: Entry, places: list[Place]) -> _Found:
        found = [*entry.problems, *_name_taken(entry, places)]
        freezes = list(self._freezes)
        if entry.freeze is not None:
            hold, problem = compile_hold(entry.freeze, ("freeze",), entry.places, entry.place)
            freezes += [] if hold is None else [hold]
            found += [] if problem is None else [problem]
        self.problems += found
        if self._stop is not None:
            found.append(self._stop)
        if entry.keys is not None and not found:
            compiled = compile_entry(entry, entry.keys, tuple(freezes))
            self.warnings += compiled.warnings
            if compiled.workload is not None:
                return compiled.workload
            self.problems += compiled.problems
            found += compiled.problems
        return _invalid(entry, found[0][1])


def _invalid(entry: Entry, why: Reason) -> InvalidWorkload:
    repository, where = _claims(entry)
    group = entry.raw.get("group")
    name = group.get("name") if isinstance(group, dict) else group
    return InvalidWorkload(
        entry.name, repository, where, why, entry.place, name if isinstance(name, str) else None
    )


def _spoiled(workload: Workload, problem: Problem, problems: list[Problem]) -> InvalidWorkload:
    """A valid entry that what stands elsewhere makes useless."""
    problems.append(problem)
    group = None if workload.group is None else workload.group.name
    return InvalidWorkload(
        workload.name, workload.repository, workload.where, problem[1], workload.place, group
    )


def _agreed(workloads: Sequence[_Found], problems: list[Problem]) -> list[_Found]:
    """The workloads; those of a group whose members do not speak of one thing become invalid."""
    groups: dict[str, list[tuple[Workload, Group]]] = {}
    for workload in workloads:
        if isinstance(workload, Workload) and workload.group is not None:
            groups.setdefault(workload.group.name, []).append((workload, workload.group))
    quarrels: dict[str, tuple[Workload, str]] = {}
    for name, members in groups.items():
        first, said = members[0]
        for member, says in members[1:]:
            if says != said:
                quarrels[name] = (first, "`match` differs")
            elif said.match == "version" and _orders_differ(first, member):
                quarrels.setdefault(name, (first, "versions are ordered otherwise"))
    result: list[_Found] = []
    for workload in workloads:
        group = workload.group if isinstance(workload, Workload) else None
        if isinstance(workload, Workload) and group is not None and group.name in quarrels:
            other, what = quarrels[group.name]
            other = other if other is not workload else groups[group.name][-1][0]
            place = workload.place_of("group")
            why = reason(
                "policy/group-differs",
                place=place,
                group=group.name,
                problem=what,
                other=other.name,
                other_place=other.place_of("group"),
            )
            result.append(_spoiled(workload, (place, why), problems))
        else:
            result.append(workload)
    return result


def _orders_differ(one: Workload, other: Workload) -> bool:
    """Whether versions of two are ordered otherwise; of one that takes the order of upstream that is told
    later."""
    orders = {one.rule.order, other.rule.order}
    return len(orders) > 1 and "upstream" not in orders


def _upstream_known(workloads: Sequence[_Found], problems: list[Problem]) -> list[_Found]:
    """The workloads; those that come after one that is nowhere become invalid."""
    names = {workload.name for workload in workloads}
    groups = {w.group.name for w in workloads if isinstance(w, Workload) and w.group is not None}
    groups |= {w.group for w in workloads if isinstance(w, InvalidWorkload) and w.group is not None}
    result: list[_Found] = []
    for workload in workloads:
        after = workload.guards.after if isinstance(workload, Workload) else None
        if isinstance(workload, Workload) and after is not None:
            # What is in another config repo (`staging/web`) cannot be seen from here.
            missing = [
                f"workload {name}" for name in after.upstreams if "/" not in name and name not in names
            ]
            if after.group is not None and "/" not in after.group and after.group not in groups:
                missing.append(f"group {after.group}")
            if missing:
                place = workload.place_of("after")
                why = reason("policy/no-upstream", place=place, missing=missing[0])
                result.append(_spoiled(workload, (place, why), problems))
                continue
        result.append(workload)
    return result


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
        return repository, where_of(keys) if keys is None or not bad_path(keys.paths) else Where()
    except ValidationError:
        return repository, Where()
