"""Listings: what a policy's `accept` listed already when people turned something away.

`accept` takes back what was turned away until then, and in the very commit that lists it. What was listed
before is told by the history of the policy file, which is looked at only where a version that it lists was
left by somebody's word.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from automator.core.facts import Facts
from automator.core.history import FileChange, HeldValue, SiteHistory, departures
from automator.core.policy import InvalidWorkload, Workload, parse_policies
from automator.core.standing import ranking
from automator.cycle.index import Index
from automator.edges.checkout import Checkout
from automator.errors import CheckoutError

CHANGES_READ = 500
"""Changes of a policy file that are looked at; what was listed longer counts as listed ever since."""

_Texts = tuple[str, ...]


@dataclass
class Listings:
    """What `accept` listed when; answers are kept as long as the head, and those for good that stay true."""

    checkout: Checkout
    index: Index
    _head: str | None = None
    _answers: dict[tuple[str, str, _Texts], _Texts] = field(default_factory=dict)
    """Workload, commit and what is listed now -> what was listed before the commit, and ever since."""

    def outdated(self, workload: Workload, facts: Facts) -> Mapping[str, _Texts]:
        """By commit that took a site back, what of the workload's `accept` was listed before it already and
        ever since; only commits with any. Where git cannot tell, all of it was."""
        snapshot = self.index.snapshot
        commits = _departures(workload, facts) if workload.accept else ()
        if snapshot is None or not commits:
            return {}
        if snapshot.commit != self._head:
            self._head = snapshot.commit
            self._answers = {key: found for key, found in self._answers.items() if not found}
        found = {}
        for commit in commits:
            key = workload.name, commit, workload.accept
            if key not in self._answers:
                self._answers[key] = self._listed_since(workload, commit, snapshot.commit)
            if self._answers[key]:
                found[commit] = self._answers[key]
        return found

    def _listed_since(self, workload: Workload, commit: str, head: str) -> _Texts:
        file = workload.place.file
        try:
            changes = self.checkout.file_log(head, [file], since=commit, limit=CHANGES_READ).changes
            own = [c for c in self.checkout.commit_changes([commit]) if self.index.scope.is_policy(c.path)]
            changes += tuple(change for change in own if change.path == file)
            blobs = [change.after for change in changes]
            if changes:
                blobs.append(changes[-1].before)
            states = list(self._states(file, blobs))
            listed = set(workload.accept)
            for entry in (_entry(texts, workload.name) for texts in states[:-1]):
                listed &= _listed(workload, () if entry is None else (entry,))
            if states and listed:
                entry = _entry(states[-1], workload.name)
                was_there = (entry,) if entry is not None else self._before(workload, commit, own)
                listed &= _listed(workload, was_there)
        except CheckoutError:
            return workload.accept
        return tuple(text for text in workload.accept if text in listed)

    def _states(self, file: str, blobs: Collection[str | None]) -> Iterator[Mapping[str, str]]:
        """The policy file as it was after each change, newest first; nothing where it was not there."""
        wanted = dict.fromkeys(oid for oid in blobs if oid is not None)
        texts = {oid: _text(data) for oid, data in self.checkout.blobs(wanted)}
        for oid in blobs:
            yield {} if oid is None else {file: texts[oid]}

    def _before(
        self, workload: Workload, commit: str, own: Iterable[FileChange]
    ) -> list[Workload | InvalidWorkload]:
        """The workloads of the same image before a commit that made its `own` changes: the policy may have
        been in another file then, or its workload have had another name."""
        tree = self.checkout.tree(commit)
        files = {path: e.oid for path, e in tree.items() if e.is_file and self.index.scope.is_policy(path)}
        for change in own:
            files.pop(change.path, None)
            if change.before is not None:
                files[change.path] = change.before
        texts = {oid: _text(data) for oid, data in self.checkout.blobs(set(files.values()))}
        every = parse_policies({path: texts[oid] for path, oid in files.items()}).workloads
        return [entry for entry in every if entry.repository == workload.repository]


def _departures(workload: Workload, facts: Facts) -> tuple[str, ...]:
    """The commits in which sites may have left what `accept` lists."""
    rule = workload.rule

    def is_listed(value: HeldValue) -> bool:
        if rule.followed is not None:
            return value.digest in workload.accept
        return value.tag is not None and rule.names(workload.accept, value.tag)

    past = (history for history in facts.histories.values() if isinstance(history, SiteHistory))
    every = (
        commit for history in past for commit in departures(history, ranking(workload, facts), is_listed)
    )
    return tuple(dict.fromkeys(every))


def _text(data: bytes | None) -> str:
    return "" if data is None else data.decode("utf-8", "replace")


def _entry(texts: Mapping[str, str], name: str) -> Workload | InvalidWorkload | None:
    return next((entry for entry in parse_policies(texts).workloads if entry.name == name), None)


def _listed(workload: Workload, entries: Iterable[Workload | InvalidWorkload]) -> set[str]:
    """What of the workload's `accept` one of these listed; one that cannot be read may have listed all."""
    found: set[str] = set()
    for entry in entries:
        if isinstance(entry, InvalidWorkload):
            return set(workload.accept)
        names = workload.rule.names
        found |= {text for text in workload.accept if any(names((item,), text) for item in entry.accept)}
    return found
