"""Circles: workloads that come after each other, so that each waits for what another one held before.

The workloads of a group move together, or not at all, so they count as one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from automator.core.guards import OF_GROUP, upstreams_of
from automator.core.heirs import Policies, local_name
from automator.core.policy import Workload, group_of


class Waits(NamedTuple):
    """Who comes after whom in one config repo; all names in full (`staging/web`)."""

    unit_of: Mapping[str, str]
    """By workload: itself, or its group (`staging/group shop`)."""
    after: Mapping[str, tuple[str, ...]]
    """By unit: the workloads and groups that it comes after, here and elsewhere."""


def waits_of(policies: Policies) -> Waits:
    """Who comes after whom in one config repo."""
    units: dict[str, str] = {}
    after: dict[str, tuple[str, ...]] = {}
    for name, entry in policies.workloads.items():
        group = group_of(entry)
        unit = f"{policies.repo}/{name}" if group is None else f"{policies.repo}/group {group}"
        units[f"{policies.repo}/{name}"] = unit
        found = upstreams_of(entry) if isinstance(entry, Workload) else ()
        if found:
            after[unit] = (*after.get(unit, ()), *(_in_full(each, policies.repo) for each in found))
    return Waits(units, after)


def circles(known: Iterable[Waits]) -> dict[str, tuple[str, ...]]:
    """The circle of each workload that is part of one: the units on the shortest way back to its own, which
    comes first and last."""
    units: dict[str, str] = {}
    after: dict[str, tuple[str, ...]] = {}
    for waits in known:
        units.update(waits.unit_of)
        after.update(waits.after)
    rings = {unit: ring for unit in after if (ring := _way_back(unit, after, units)) is not None}
    return {name: rings[unit] for name, unit in units.items() if unit in rings}


def shown_circle(ring: Iterable[str], repo: str) -> str:
    """A circle for people, as the config repo that is given calls its own."""
    return " after ".join(unit.removeprefix(f"{repo}/") for unit in ring)


def _in_full(name: str, repo: str) -> str:
    local = local_name(name, repo)
    text = name if local is None else f"{repo}/{local.removeprefix(OF_GROUP)}"
    place, _, last = text.removeprefix(OF_GROUP).rpartition("/")
    return f"{place}/group {last}" if name.startswith(OF_GROUP) else text


def _way_back(
    start: str, after: Mapping[str, tuple[str, ...]], units: Mapping[str, str]
) -> tuple[str, ...] | None:
    came: dict[str, str] = {}
    todo = [start]
    while todo:
        here = todo.pop(0)
        for name in after.get(here, ()):
            unit = units.get(name, name)
            if unit == start:
                way = [here]
                while way[-1] != start:
                    way.append(came[way[-1]])
                return (*reversed(way), start)
            if unit not in came:
                came[unit] = here
                todo.append(unit)
    return None
