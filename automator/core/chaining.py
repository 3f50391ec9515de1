"""Chaining: the promotion chains of all config repos: what is where, and what waits for what."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from automator.core.policy import InvalidWorkload, Workload, group_of
from automator.core.report import Outcome
from automator.core.view import Chain, ChainEdge, ChainNode
from automator.reasons import Status

Key = tuple[str, str]
"""Config repo, and the name of a workload or of a group in it."""
Beside = Mapping[Key, Collection[Key]]
"""The nodes at the other ends of each node's edges, on one side."""
_WORST = (Status.FAILED, Status.HELD, Status.WAITING, Status.RELEASED, Status.CURRENT)


@dataclass(frozen=True, slots=True)
class Place:
    """One config repo, as far as it is known."""

    entries: Mapping[str, Workload | InvalidWorkload]
    outcomes: Mapping[str, Outcome]


@dataclass(frozen=True, slots=True)
class _Graph:
    places: Mapping[str, Place]
    since: Mapping[Key, datetime]
    members: Mapping[Key, Sequence[str]]
    """Names of the workloads of each group."""
    nodes: dict[Key, ChainNode] = field(default_factory=dict)
    edges: dict[Key, list[ChainEdge]] = field(default_factory=dict)
    """By the workload that comes after."""

    def add(self, repo: str, entry: Workload) -> None:
        """A workload that comes after others, with all of them."""
        after = entry.guards.after
        if after is None:
            return
        below = (repo, entry.name)
        if below not in self.nodes:
            self.nodes[below] = self._node(*below)
        for text in after.upstreams or (after.group or "",):
            where, _, name = text.rpartition("/")
            above = (where or repo, name)
            if above not in self.nodes:
                self.nodes[above] = self._node(*above) if after.upstreams else self._group(*above)
            self.edges.setdefault(below, []).append(self._edge(above, below, entry))

    def _node(self, repo: str, name: str) -> ChainNode:
        place = self.places.get(repo)
        outcome = None if place is None else place.outcomes.get(name)
        if outcome is None:
            return ChainNode(repo, name, "", None, None)
        version = version_now(outcome)
        told = outcome.reason.sentence
        since = self.since.get((repo, name))
        return ChainNode(repo, name, outcome.status.value, version, since, told, outcome.environment)

    def _group(self, repo: str, name: str) -> ChainNode:
        place = self.places.get(repo)
        members = self.members.get((repo, name), ())
        found = [] if place is None else [place.outcomes[one] for one in members if one in place.outcomes]
        status = next((s.value for s in _WORST if any(o.status is s for o in found)), "")
        versions = {version_now(outcome) for outcome in found}
        environments = {outcome.environment for outcome in found}
        return ChainNode(
            repo,
            name,
            status,
            versions.pop() if len(versions) == 1 else None,
            None,
            f"group of {', '.join(members)}" if members else "",
            environments.pop() if len(environments) == 1 else None,
        )

    def _edge(self, above: Key, below: Key, entry: Workload) -> ChainEdge:
        assert entry.guards.after is not None
        outcome = self.places[below[0]].outcomes.get(below[1])
        soak = entry.guards.after.soak
        if outcome is None or outcome.status not in (Status.WAITING, Status.HELD, Status.FAILED):
            return ChainEdge(above, below, soak, None, None)
        candidate = outcome.target or outcome.candidate
        # A reason that tells of one of several upstream workloads stands at its edge only.
        upstream = dict(outcome.reason.params).get("upstream")
        of_others = upstream is not None and upstream not in _names(above, below)
        if candidate is None or of_others:
            return ChainEdge(above, below, soak, candidate, None)
        return ChainEdge(above, below, soak, candidate, outcome.reason)


def _names(above: Key, below: Key) -> tuple[str, ...]:
    """How the policy of `below` may call `above`."""
    return ("/".join(above), above[1]) if above[0] == below[0] else ("/".join(above),)


def version_now(outcome: Outcome) -> str | None:
    """The version that the config repo holds after the cycle."""
    return outcome.target if outcome.status is Status.RELEASED else outcome.current


def chains_of(places: Mapping[str, Place], since: Mapping[Key, datetime]) -> tuple[Chain, ...]:
    """The connected parts of the graph of `after`, each in the order of the way, by its first node.

    `since` tells since when workloads have their versions, as far as that is known.
    """
    graph = _Graph(places, since, _groups(places))
    for repo, place in places.items():
        for entry in place.entries.values():
            if isinstance(entry, Workload):
                graph.add(repo, entry)
    above = {key: {edge.upstream for edge in graph.edges.get(key, ())} for key in graph.nodes}
    below: dict[Key, set[Key]] = {key: set() for key in graph.nodes}
    for key, upstreams in above.items():
        for upstream in upstreams:
            below[upstream].add(key)
    places_of_edges = {key: number for number, key in enumerate(graph.edges)}
    return tuple(
        Chain(
            tuple(graph.nodes[key] for key in _in_order(part, above, below)),
            tuple(
                edge
                for key in sorted(filter(places_of_edges.__contains__, part), key=places_of_edges.__getitem__)
                for edge in graph.edges[key]
            ),
        )
        for part in _connected(above, below)
    )


def _groups(places: Mapping[str, Place]) -> dict[Key, list[str]]:
    """The names of the workloads of each group, in order."""
    found: dict[Key, list[str]] = {}
    for repo, place in places.items():
        for entry in place.entries.values():
            group = group_of(entry)
            if group is not None:
                found.setdefault((repo, group), []).append(entry.name)
    return {key: sorted(names) for key, names in found.items()}


def _connected(above: Beside, below: Beside) -> list[list[Key]]:
    """The parts of a graph, each in the order of names, by their first ones."""
    parts: list[list[Key]] = []
    seen: set[Key] = set()
    for key in sorted(above):
        part, open_ends = list[Key](), [key]
        while open_ends:
            one = open_ends.pop()
            if one not in seen:
                seen.add(one)
                part.append(one)
                open_ends += (*above[one], *below[one])
        if part:
            parts.append(sorted(part))
    return parts


def _in_order(part: Sequence[Key], above: Beside, below: Beside) -> list[Key]:
    """What comes before first; what goes in a circle in the order of names, which `part` has."""
    missing = {key: len(above[key]) for key in part}
    done: dict[Key, None] = {}
    left = iter(part)
    ready = [key for key in part if not missing[key]]
    while len(done) < len(part):
        ready = ready or [next(key for key in left if key not in done)]
        done |= dict.fromkeys(ready)
        freed = set[Key]()
        for key in ready:
            for one in below[key]:
                missing[one] -= 1
                if not missing[one] and one not in done:
                    freed.add(one)
        ready = sorted(freed)
    return list(done)
