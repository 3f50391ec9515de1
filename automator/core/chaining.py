"""Chaining: the promotion chains of all config repos: what is where, and what waits for what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from automator.core.policy import InvalidWorkload, Workload, group_of
from automator.core.report import Outcome
from automator.core.view import Chain, ChainEdge, ChainNode
from automator.reasons import Status

Key = tuple[str, str]
"""Config repo, and the name of a workload or of a group in it."""
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
    nodes: dict[Key, ChainNode] = field(default_factory=dict)
    edges: list[ChainEdge] = field(default_factory=list)

    def add(self, repo: str, entry: Workload) -> None:
        """A workload that comes after others, with all of them."""
        after = entry.guards.after
        if after is None:
            return
        below = (repo, entry.name)
        self.nodes.setdefault(below, self._node(repo, entry.name))
        for text in after.upstreams or (after.group or "",):
            where, _, name = text.rpartition("/")
            above = (where or repo, name)
            is_group = not after.upstreams
            self.nodes.setdefault(above, self._group(*above) if is_group else self._node(*above))
            self.edges.append(self._edge(above, below, entry))

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
        entries = () if place is None else place.entries.values()
        members = sorted(entry.name for entry in entries if group_of(entry) == name)
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
    graph = _Graph(places, since)
    for repo, place in places.items():
        for entry in place.entries.values():
            if isinstance(entry, Workload):
                graph.add(repo, entry)
    parts = _connected(graph.nodes, graph.edges)
    return tuple(
        Chain(
            tuple(graph.nodes[key] for key in _in_order(part, graph.edges)),
            tuple(edge for edge in graph.edges if edge.downstream in part),
        )
        for part in parts
    )


def _connected(nodes: Mapping[Key, ChainNode], edges: Sequence[ChainEdge]) -> list[frozenset[Key]]:
    beside: dict[Key, set[Key]] = {key: set() for key in nodes}
    for edge in edges:
        beside[edge.upstream].add(edge.downstream)
        beside[edge.downstream].add(edge.upstream)
    parts: list[frozenset[Key]] = []
    seen: set[Key] = set()
    for key in sorted(nodes):
        part, open_ends = set[Key](), [key]
        while open_ends:
            one = open_ends.pop()
            if one not in seen:
                seen.add(one)
                part.add(one)
                open_ends += beside[one]
        if part:
            parts.append(frozenset(part))
    return parts


def _in_order(part: frozenset[Key], edges: Sequence[ChainEdge]) -> list[Key]:
    """What comes before first; what goes in a circle in the order of names."""
    above: dict[Key, set[Key]] = {key: set() for key in part}
    for edge in edges:
        if edge.downstream in part:
            above[edge.downstream].add(edge.upstream)
    ordered: list[Key] = []
    left = sorted(part)
    while left:
        done = set(ordered)
        ready = [key for key in left if above[key] <= done] or left[:1]
        ordered += ready
        left = [key for key in left if key not in set(ready)]
    return ordered
