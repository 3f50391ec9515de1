"""Pictures: what a cycle leaves of one config repo to be shown, as values that never change."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import NamedTuple

from automator.app.build import App
from automator.core.policy import InvalidWorkload, Workload
from automator.core.report import Outcome, Report
from automator.core.site import Site
from automator.core.view import PolicyView, SiteView, WorkloadView
from automator.cycle.index import Snapshot
from automator.reasons import Reason


@dataclass(frozen=True)
class Pages:
    """Addresses on the forge of one config repo; None for all where it has none."""

    project: Callable[[], str] | None = None
    commit: Callable[[str], str] | None = None
    file: Callable[[str, str, int | None], str] | None = None

    def of_file(self, head: str | None, path: str, line: int | None = None) -> str | None:
        return None if self.file is None or head is None else self.file(head, path, line)

    def of_commit(self, commit: str | None) -> str | None:
        return None if self.commit is None or commit is None else self.commit(commit)


class Branch(NamedTuple):
    """Where the branch of a config repo was."""

    snapshot: Snapshot
    read_at: datetime | None
    """When the server was asked for it."""


@dataclass(frozen=True)
class Picture:
    """One config repo after a cycle. Nothing in it changes; what is asked of it is found once."""

    repo: str
    report: Report
    snapshot: Snapshot | None
    commits: Mapping[str, str]
    """Of the last releases of this process, by workload."""
    pages: Pages
    read_at: datetime | None = None
    """When the server was asked for the branch as the snapshot has it."""
    about: Mapping[str, tuple[str | None, str | None]] = field(default_factory=dict)
    """Owner and environment, as they were told last, of workloads whose policies cannot be used now."""

    @cached_property
    def outcomes(self) -> Mapping[str, Outcome]:
        return {outcome.workload: outcome for outcome in self.report.outcomes}

    @cached_property
    def views(self) -> tuple[WorkloadView, ...]:
        """All workloads, without their places."""
        return tuple(self._view(outcome) for outcome in self.report.outcomes)

    def _view(self, outcome: Outcome, sites: tuple[SiteView, ...] = ()) -> WorkloadView:
        entry = self.entries.get(outcome.workload)
        place = None if entry is None else entry.place
        head = None if self.snapshot is None else self.snapshot.commit
        if outcome.workload in self.about:
            owner, environment = self.about[outcome.workload]
            outcome = replace(outcome, owner=owner, environment=environment)
        return WorkloadView(
            self.repo,
            outcome,
            entry,
            sites,
            None if place is None else self.pages.of_file(head, place.file, place.line),
            self.pages.of_commit(outcome.commit or self.commits.get(outcome.workload)),
            _pull_request(outcome.reason),
        )

    @property
    def entries(self) -> Mapping[str, Workload | InvalidWorkload]:
        return {} if self.snapshot is None else self.snapshot.workloads

    def view(self, name: str) -> WorkloadView | None:
        """One workload, with its places."""
        outcome = self.outcomes.get(name)
        if outcome is None:
            return None
        if self.snapshot is None:
            unread = (SiteView(label, None, None, is_read=False) for label in outcome.sites)
            return self._view(outcome, tuple(unread))
        sites = self.snapshot.claims.sites.get(name, ())
        return self._view(outcome, tuple(map(self._site, sites)))

    def _site(self, site: Site) -> SiteView:
        version = "@".join(text for text in (site.tag, site.digest) if text)
        head = None if self.snapshot is None else self.snapshot.commit
        page = self.pages.of_file(head, site.file, site.line)
        return SiteView(site.label, version or None, page, file=site.file, field=site.field, line=site.line)

    @cached_property
    def policies(self) -> tuple[PolicyView, ...]:
        """The policy files, by path."""
        if self.snapshot is None:
            return ()
        policies, head = self.snapshot.policies, self.snapshot.commit
        names: dict[str, list[str]] = {}
        for entry in policies.workloads:
            names.setdefault(entry.place.file, []).append(entry.name)
        wrong: dict[str, list[Reason]] = {}
        odd: dict[str, list[Reason]] = {}
        for told, found in ((policies.problems, wrong), (policies.warnings, odd)):
            for place, why in told:
                found.setdefault(place.file, []).append(why)
        return tuple(
            PolicyView(
                self.repo,
                path,
                self.pages.of_file(head, path),
                tuple(sorted(set(names.get(path, ())))),
                tuple(wrong.get(path, ())),
                tuple(odd.get(path, ())),
            )
            for path in sorted({*names, *wrong, *odd})
        )


def about_of(last: Picture | None, snapshot: Snapshot | None) -> Mapping[str, tuple[str | None, str | None]]:
    """Whose workloads those are whose policies cannot be used, as far as the last picture tells: whoever owns
    one must find it."""
    if last is None or snapshot is None or not snapshot.policies.problems:
        return {}
    invalid = (name for name, entry in snapshot.workloads.items() if isinstance(entry, InvalidWorkload))
    return {
        name: last.about.get(name, (outcome.owner, outcome.environment))
        for name in invalid
        if (outcome := last.outcomes.get(name)) is not None
    }


def shows_the_same(one: Picture, other: Picture) -> bool:
    """Whether what was found of one picture holds for another of the same config repo."""
    return one.report.outcomes is other.report.outcomes and one.snapshot is other.snapshot


def pages_of(app: App, name: str) -> Pages:
    """The addresses of a config repo's forge."""
    place = app.config.forge_of(name)
    if place is None:
        return Pages()
    host, project = place
    forge = app.forges[host]
    return Pages(
        lambda: forge.page(project),
        lambda commit: forge.commit_page(project, commit),
        lambda head, path, line: forge.file_page(project, head, path, line),
    )


def _pull_request(why: Reason) -> str | None:
    """The page of the pull request that an outcome tells of."""
    return dict(why.params).get("url") if why.code.startswith("proposal/") else None
