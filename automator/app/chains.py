"""Chains: what the cycles of several config repos need to know of each other, and the checks of releases."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from automator.app.checkouts import open_checkout
from automator.config import CheckConfig, Config, RepoConfig
from automator.core.facts import Declined
from automator.core.running import Scope as RuntimeScope
from automator.core.verification import Plan, Wanted
from automator.cycle.closed import Closed
from automator.cycle.closings import Unwritten, UpstreamClosings
from automator.cycle.deploying import Deploying
from automator.cycle.earlier import Earlier
from automator.cycle.facts import FactFinder
from automator.cycle.forgedesk import Desk
from automator.cycle.index import Index
from automator.cycle.observe import Observer
from automator.cycle.proposalbook import Book
from automator.cycle.reach import Reach
from automator.cycle.remote import RemoteRepo
from automator.cycle.run import Cycle
from automator.cycle.sights import Sightings
from automator.cycle.signatures import Signatures
from automator.cycle.source import Scope
from automator.cycle.upstreams import Board, Reader, Reading, Upstreams
from automator.cycle.verifying import ReleaseCheck, StatusCheck, Verifying
from automator.cycle.withdrawals import Withdrawals
from automator.edges.checkout import Checkout
from automator.edges.checks import CommandCheck, Commands, PageCheck
from automator.edges.forge import Forge
from automator.edges.http import Outside, Trust
from automator.edges.registry import RegistryClient, SignatureSource
from automator.edges.store import Store

UPSTREAMS = ".upstreams"
"""Folder beside the clones, for those that are only read: no config repo is called so."""

SEEN_SELDOM = timedelta(minutes=1)
"""How long a reader believes that nothing was refused: it looks at the branches of pull requests only when it
is asked."""


def runtime_scopes(config: Config, repo: str) -> tuple[RuntimeScope, ...]:
    """What the runtimes of a config repo cover of it."""
    return tuple(
        RuntimeScope(name, tuple(runtime.paths), tuple(runtime.namespaces), runtime.project or "")
        for name, runtime in config.runtimes.items()
        if config.repo_of(name) == repo
    )


@dataclass
class Chains:
    """What is shared by the cycles of one process, so that one may come after another."""

    config: Config
    store: Store
    folder: Path
    """Where clones are."""
    registry: RegistryClient
    forges: Mapping[str, Forge]
    clock: Callable[[], datetime]
    scope: Callable[[RepoConfig], Scope]
    board: Board = field(default_factory=Board)
    deployments: dict[str, Deploying] = field(default_factory=dict)
    """What runtimes said, by config repo, of those that have any."""

    def __post_init__(self) -> None:
        for name in self.config.repos:
            scopes = runtime_scopes(self.config, name)
            if scopes:
                wake = partial(self._wake, name)
                self.deployments[name] = Deploying(self._branch(name), scopes, self.store, wake)

    def connect(self, cycles: Mapping[str, Cycle], stack: ExitStack) -> None:
        """Let the cycles ask what came before, and have their releases verified."""
        readers: dict[str, Reader] = {}
        if len(self.config.repos) > 1:
            readers = {
                name: Reader(name, partial(self._open, name, cycles), partial(self.board.come_after, name))
                for name in self.config.repos
            }
            for reader in readers.values():
                stack.callback(reader.close)
        for name, cycle in cycles.items():
            sightings = self._sightings(name, cycle.checkout)
            closings = self._own_closings(name, cycle)
            deploying = cycle.facts.deploying = self.deployments.get(name)
            branch = self._branch(name)
            reading = Reading(name, branch, cycle.facts, sightings, self.store, closings, deploying)
            others = {other: reader for other, reader in readers.items() if other != name}
            cycle.facts.upstreams = Upstreams(name, reading, others, self.board)
            if self.config.checks or deploying is not None:
                cycle.facts.verifying = self._verifying(name)
                stack.callback(cycle.facts.verifying.close)

    def _sightings(self, name: str, checkout: Checkout) -> Sightings:
        return Sightings(self._branch(name), checkout, self.store)

    def _branch(self, name: str) -> str:
        repo = self.config.repos[name]
        return f"{name} {repo.url} {repo.branch}"

    def _open(self, name: str, cycles: Mapping[str, Cycle]) -> RemoteRepo:
        """A config repo that others come after; called on the thread of its reader."""
        repo = self.config.repos[name]
        with ExitStack() as closing:
            checkout = open_checkout(self.config, name, self.folder / UPSTREAMS / name, self.forges)
            closing.callback(checkout.close)
            observer = Observer(self.registry, self.store, asker=name)
            closing.callback(observer.close)
            commands = Commands()
            closing.callback(commands.close)
            reach = Reach(checkout, repo.history_limit)
            index = Index(checkout, self.scope(repo), Earlier(checkout, reach))
            signatures = Signatures(SignatureSource(self.registry), {}, commands)
            facts = FactFinder(checkout, index, observer, reach, signatures)
            closed = self._closed(name, checkout)

            def declined(now: datetime) -> Mapping[str, tuple[Declined, ...]]:
                asked = {} if closed is None else closed.declined(now)
                own = cycles[name].facts.declined if name in cycles else {}
                every = asked.keys() | own.keys()
                return {each: (*asked.get(each, ()), *own.get(each, ())) for each in every}

            def learnt(now: datetime) -> None:
                facts.declined = declined(now)

            def begin(now: datetime) -> Mapping[str, tuple[Declined, ...]]:
                if closed is not None:
                    closed.begin(now)
                return declined(now)

            closings = None if closed is None else self._closings(name, closed, learnt)
            sightings = self._sightings(name, checkout)
            branch, deploying = self._branch(name), self.deployments.get(name)
            reading = Reading(name, branch, facts, sightings, self.store, closings, deploying)
            withdrawals = Withdrawals(self._branch(name), checkout, self.store)
            seen = Withdrawals(f"{self._branch(name)} (read)", checkout, self.store)
            return RemoteRepo(checkout, index, facts, withdrawals, seen, reading, begin, closing.pop_all())

    # -- closed pull requests ------------------------------------------------------------------------

    def _own_closings(self, name: str, cycle: Cycle) -> UpstreamClosings | None:
        """What its own cycle asks the forge, of a config repo on one that we know."""
        if cycle.proposals is None:
            return None
        closed = cycle.proposals.closed

        def learnt(now: datetime) -> None:
            cycle.facts.declined = closed.declined(now)

        return self._closings(name, closed, learnt)

    def _closed(self, name: str, checkout: Checkout) -> Closed | None:
        """What a reader asks the forge of a config repo; None where it is on none that we know."""
        place = self.config.forge_of(name)
        if place is None:
            return None
        host, project = place
        repo = self.config.repos[name]
        checkout.prefix = repo.pull_request.branch_prefix
        book = Book(self._branch(name), Unwritten())
        others = self.config.branches_beside(name)
        return Closed(Desk(project, self.forges[host]), repo.branch, checkout, book, SEEN_SELDOM, others)

    def _closings(self, name: str, closed: Closed, learnt: Callable[[datetime], None]) -> UpstreamClosings:
        repo = self.config.repos[name]
        always = repo.deliver == "pull-request" or any(r.deliver for r in self.config.rails_of(name))
        return UpstreamClosings(closed, repo.pull_request.branch_prefix, always, learnt)

    # -- checks ------------------------------------------------------------------------------------

    def _verifying(self, name: str) -> Verifying:
        checks = {check: self._check(name, check, keys) for check, keys in self.config.checks.items()}
        known = {check: made for check, made in checks.items() if made is not None}
        wake, deploying = partial(self._wake, name), self.deployments.get(name)
        return Verifying(name, self._branch(name), known, self.store, self.clock, wake, deploying)

    def _wake(self, name: str) -> None:
        self.board.wake(name)

    def _check(self, repo: str, name: str, keys: CheckConfig) -> ReleaseCheck | None:
        """A check of the config; None for a status where the config repo is on no forge that we know."""
        plan = Plan(name, keys.interval, keys.within, keys.failures, keys.delay or timedelta(0))
        seconds = keys.timeout.total_seconds()
        if keys.commit_status is not None:
            place = self.config.forge_of(repo)
            if place is None:
                return None
            host, project = place
            return ReleaseCheck(plan, StatusCheck(self.forges[host], project, keys.commit_status), seconds)
        if keys.command is not None:
            return ReleaseCheck(plan, CommandCheck(tuple(keys.command), seconds, os.environ), seconds)
        assert keys.url is not None  # the config was refused otherwise
        outside = Outside.of(os.environ)
        ca_file = None if keys.ca_file is None else str(keys.ca_file)
        wanted = None
        if keys.value is not None:
            wanted = Wanted(keys.value, keys.equals, keys.min, keys.max)
        check = PageCheck(
            keys.url,
            seconds,
            keys.status,
            wanted,
            None if keys.token_file is None else str(keys.token_file),
            keys.header,
            Trust(ca_file, bundle=outside.bundle),
            outside,
        )
        return ReleaseCheck(plan, check, seconds)
