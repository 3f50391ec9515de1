"""Lint of workloads together: groups that can never agree, promotions that go in a circle, or nowhere."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from itertools import islice, product
from typing import NamedTuple

from automator.core.guards import upstreams_of
from automator.core.heirs import Lent, Policies, is_heir, lent, local_name, rule_of
from automator.core.policyvalues import Place
from automator.core.promotion import Unknown
from automator.core.reference import Repository
from automator.core.rule import Candidate
from automator.core.version import MAX_RANGE, Constraint, semver_rank
from automator.core.windows import intersect, never_opens
from automator.core.workload import InvalidWorkload, Workload
from automator.errors import AutomatorError
from automator.reasons import Reason, reason

Entry = Workload | InvalidWorkload
Tags = Mapping[Repository, Collection[str]]


class SetLint(NamedTuple):
    """Something that will surprise about workloads together, at one of them."""

    place: Place
    reason: Reason
    near: str = ""


def lint_set(workloads: Sequence[Entry], now: datetime, tags: Tags | None = None) -> Iterator[SetLint]:
    """What will surprise about the workloads of a config repo together. `tags` are those of the
    repositories that were asked."""
    yield from _groups(workloads, now, tags or {})
    yield from _circles(workloads)
    yield from _heirs(workloads)


# -- groups --------------------------------------------------------------------------------------------

_MOST_RANGES = 256
"""Combinations of `||` alternatives that are looked at."""


def _groups(workloads: Sequence[Entry], now: datetime, tags: Tags) -> Iterator[SetLint]:
    groups: dict[str, list[Entry]] = {}
    for workload in workloads:
        if (name := _group_of(workload)) is not None:
            groups.setdefault(name, []).append(workload)
    for name, entries in groups.items():
        members = [entry for entry in entries if isinstance(entry, Workload)]
        if len(members) < len(entries):
            continue  # a member that is invalid holds the group, and is an error of its own
        first = members[0]
        place = first.place_of("group")
        if len(members) == 1:
            yield SetLint(place, reason("lint/group-alone", group=name, workload=first.name), name)
            continue
        problem = None
        if all(member.group is not None and member.group.match == "version" for member in members):
            problem = _ranges_apart(members) or _tags_apart(members, tags)
        problem = problem or _windows_apart(members, now)
        if problem is not None:
            yield SetLint(place, reason("lint/group-apart", group=name, problem=problem), name)


def _group_of(workload: Entry) -> str | None:
    if isinstance(workload, InvalidWorkload):
        return workload.group
    return None if workload.group is None else workload.group.name


def _ranges_apart(members: Sequence[Workload]) -> str | None:
    """No version lies in the ranges of all members."""
    ranged = [m for m in members if m.rule.constraint is not None]
    alternatives = [m.rule.constraint.text.split("||") for m in ranged if m.rule.constraint is not None]
    if len(ranged) < 2 or _many(alternatives):
        return None
    try:
        for chosen in product(*alternatives):
            joined = ", ".join(dict.fromkeys(text.strip() for text in chosen))
            if len(joined) > MAX_RANGE or not Constraint.parse(joined).empty:
                return None
    except AutomatorError:  # texts that cannot be joined: nothing is known
        return None
    told = ", ".join(f'{m.name} "{m.rule.constraint.text}"' for m in ranged if m.rule.constraint is not None)
    return f"no version lies in all of their ranges, {told}"


def _many(alternatives: Sequence[Sequence[str]]) -> bool:
    return len(list(islice(product(*alternatives), _MOST_RANGES + 1))) > _MOST_RANGES


def _tags_apart(members: Sequence[Workload], tags: Tags) -> str | None:
    """No version is taken by all members, of those that their registries have now."""
    common: set[object] | None = None
    for member in members:
        known = tags.get(member.listed)
        if known is None:
            return None
        taken: set[object] = {
            semver_rank(found.key, lenient=True) or found.key
            for found in map(member.rule.judge, known)
            if isinstance(found, Candidate)
        }
        if not taken:
            return None  # said by itself
        common = taken if common is None else common & taken
    return None if common else "no version that the registries have now is taken by all of them"


def _windows_apart(members: Sequence[Workload], now: datetime) -> str | None:
    windows = [m.guards.windows for m in members if m.guards.windows]
    if len(set(windows)) < 2 or any(never_opens(one, now) for one in windows):
        return None
    state = intersect(windows, now)
    return None if state.open or state.changes_at is not None else "their windows are never open together"


# -- promotion -----------------------------------------------------------------------------------------


def _circles(workloads: Sequence[Entry]) -> Iterator[SetLint]:
    """Workloads that wait for each other. Those of a group move together, so they count as one."""
    known = {entry.name: entry for entry in workloads if isinstance(entry, Workload)}
    node_of = {name: _node(entry) for name, entry in known.items()}
    edges: dict[str, dict[str, Workload]] = {}
    for entry in known.values():
        for node in _upstream(entry, node_of):
            edges.setdefault(node_of[entry.name], {}).setdefault(node, entry)
    for circle in _rings(edges):
        waiting = [edges[node][after] for node, after in zip(circle, [*circle[1:], circle[0]], strict=True)]
        first = min(waiting, key=lambda entry: entry.place)
        turned = circle[circle.index(node_of[first.name]) :] + circle[: circle.index(node_of[first.name])]
        names = " after ".join([*turned, turned[0]])
        yield SetLint(first.place_of("after"), reason("lint/after-circle", circle=names))


def _heirs(workloads: Sequence[Entry]) -> Iterator[SetLint]:
    """Workloads that take over the rule of upstream, where it shows here that there is not the one rule."""
    heirs = [entry for entry in workloads if isinstance(entry, Workload) and is_heir(entry)]
    if not heirs:
        return
    groups: dict[str, list[str]] = {}
    for entry in workloads:
        if (name := _group_of(entry)) is not None:
            groups.setdefault(name, []).append(entry.name)
    policies = Policies("", {entry.name: entry for entry in workloads}, groups)
    for heir in heirs:
        found = rule_of(upstreams_of(heir), partial(_lends, policies, heir))
        if isinstance(found, Unknown) and found.reason.code != "guard/after-invalid":
            yield SetLint(heir.place_of("after"), found.reason)


def _lends(policies: Policies, heir: Workload, name: str) -> Lent | None:
    """What a workload lends; of other config repos nothing is known here."""
    is_here = local_name(name, policies.repo) is not None
    return lent(policies, (name,), heir.repository) if is_here else None


def _node(workload: Workload) -> str:
    return workload.name if workload.group is None else f"group {workload.group.name}"


def _upstream(workload: Workload, node_of: Mapping[str, str]) -> Iterator[str]:
    after = workload.guards.after
    if after is None:
        return
    if after.group is not None:
        yield f"group {after.group}"
    for name in after.upstreams:
        if name in node_of:
            yield node_of[name]


def _rings(edges: Mapping[str, Mapping[str, Workload]]) -> Iterator[list[str]]:
    """One circle for each way back that a walk along the edges meets."""
    done: set[str] = set()
    for start in edges:
        path: list[str] = []
        at: dict[str, int] = {}
        todo = [(start, iter(edges[start]))] if start not in done else []
        if todo:
            path.append(start)
            at[start] = 0
        while todo:
            node, further = todo[-1]
            following = next(further, None)
            if following is None:
                todo.pop()
                path.pop()
                del at[node]
                done.add(node)
            elif following in at:
                yield path[at[following] :]
            elif following not in done:
                at[following] = len(path)
                path.append(following)
                todo.append((following, iter(edges.get(following, {}))))
