"""Building: a config becomes registries, store and one cycle for each config repo."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Self

from automator.app.chains import Chains
from automator.app.checkouts import identity, open_checkout
from automator.app.fingerprint import locator_version
from automator.app.openfiles import open_files
from automator.app.passing import clear_passing, passing_folder
from automator.config import Config, ForgeConfig, KeyConfig, RegistryConfig, RepoConfig
from automator.config.cleartext import in_the_clear
from automator.core.decide import Limits
from automator.core.release import DEFAULT_BODY, DEFAULT_SUBJECT, Member, ReleaseRecord, Templates, compose
from automator.cycle.decisions import Decider
from automator.cycle.deploying import Deploying
from automator.cycle.earlier import Earlier
from automator.cycle.facts import FactFinder
from automator.cycle.feedback import Feedback, Teller
from automator.cycle.index import Index
from automator.cycle.kustomized import Kustomized
from automator.cycle.located import Located
from automator.cycle.observe import Observer
from automator.cycle.proposalbook import Book
from automator.cycle.proposed import Style
from automator.cycle.proposing import Proposals
from automator.cycle.publish import Publisher
from automator.cycle.reach import Reach
from automator.cycle.run import Cycle
from automator.cycle.signatures import KeyFile, Signatures, Signer
from automator.cycle.source import Scope
from automator.cycle.sourcechanges import SourceChanges
from automator.cycle.tending import Tender
from automator.cycle.upstreams import Board
from automator.cycle.withdrawals import Withdrawals
from automator.edges.checkout import Checkout, Ending
from automator.edges.checks import Commands, ImageCommand
from automator.edges.forge import Forge, ForgeSettings
from automator.edges.http import Outside, Trust
from automator.edges.registry import (
    CloudLogin,
    CredentialSource,
    DockerConfig,
    HostSettings,
    PasswordFile,
    RegistryClient,
    SignatureSource,
)
from automator.edges.store import Store, locked, private_folder
from automator.errors import ConfigError, UsageError
from automator.reasons import Reason, reason

AHEAD = 4
"""Config repos whose branches are fetched before their cycles begin: no more than may begin at once."""
READING = "reading"
"""Folder in the state folder for the clones of `log` and `report`."""


def utc_now() -> datetime:
    """The one clock, handed to every part that needs one."""
    return datetime.now(UTC)


@dataclass
class _Ground:
    """What cycles stand on: it outlives them where the config changes, as far as it says the same of it."""

    store: Store
    folder: Path
    """For clones."""
    registry: RegistryClient
    forges: dict[str, Forge]
    closings: dict[str, ExitStack]
    """Of the store, the registries and the forges."""

    def leave_to(self, other: _Ground | None) -> None:
        """Give free what `other` has not taken over."""
        for name in ("forges", "registry", "store"):
            if other is None or getattr(other, name) is not getattr(self, name):
                self.closings[name].close()


@dataclass
class App:
    """The parts that serve a config: registries, store, and one cycle for each config repo."""

    config: Config
    registry: RegistryClient
    store: Store
    cycles: Mapping[str, Cycle]
    forges: Mapping[str, Forge]
    """By host, as [forges] names them."""
    board: Board
    """Where the cycles tell each other that there is news."""
    feedback: Feedback
    """Where those wait who are to be told of releases."""
    deployments: Mapping[str, Deploying]
    """What runtimes said, by config repo, of those that have any."""
    _ground: _Ground
    _closing: ExitStack
    _locks: dict[str, int] = field(default_factory=dict)
    """On the clones of cycles that were closed to be opened again; by config repo."""

    @classmethod
    def open(
        cls,
        config: Config,
        *,
        exclusive: bool,
        aside: bool = False,
        repos: tuple[str, ...] = (),
        clock: Callable[[], datetime] = utc_now,
        monotonic: Callable[[], float] = time.monotonic,
        warn: Callable[[Reason], None] = lambda _: None,
        after: App | None = None,
    ) -> Self:
        """Build the parts for the named config repos, all where none is named.

        `after` is the app of another config, whose cycles were closed: its store is taken over, as are its
        registries and forges where the config says the same of them, with what they learnt. It keeps them
        until it is told to `leave_to` the new one.

        `exclusive` takes the state folder for this process, as `run` and `once` need it. Without
        it, a folder that a daemon uses is left alone: a copy of its memory and clones of our own
        serve instead. With `aside` they do in any case, so that nobody waits for who reads at leisure.

        Raises ConfigError, UsageError (`usage/unknown-repo`), CheckoutError (`git/bad-url`).
        """
        for name in repos:
            if name not in config.repos:
                known = ", ".join(sorted(config.repos)) or "none"
                raise UsageError(reason("usage/unknown-repo", name=name, known=known))
        if exclusive:
            for why in (*in_the_clear(config), *open_files(config)):
                warn(why)
        with ExitStack() as stack:
            ground = _ground(
                config, stack, after, exclusive=exclusive, aside=aside, clock=(clock, monotonic), warn=warn
            )
            store, folder, registry, forges = ground.store, ground.folder, ground.registry, ground.forges
            store.keep_sites_only_of(config.repos)
            closing = stack.enter_context(ExitStack())
            signers = _signers(config)
            sources = SourceChanges(forges, registry, store)
            closing.callback(sources.close)
            feedback = Feedback(forges, store if exclusive else None, clock, warn)
            closing.callback(feedback.close)
            source = SignatureSource(registry)
            cycles = {
                name: _cycle(
                    config,
                    name,
                    folder,
                    store,
                    registry,
                    _signatures(source, signers, closing),
                    clock,
                    closing,
                    forges,
                    None if after is None else after._locks.get(name),
                )
                for name in (repos or tuple(config.repos))
            }
            for name, cycle in cycles.items():
                cycle.publisher.sources = sources
                if config.repos[name].feedback:
                    cycle.publisher.teller = _teller(config, name, cycle.index, feedback)
            chains = Chains(config, store, folder, registry, forges, clock, scope_of)
            chains.connect(cycles, closing)
            opened = closing.pop_all()
            stack.pop_all()
            deployments = chains.deployments
            return cls(
                config, registry, store, cycles, forges, chains.board, feedback, deployments, ground, opened
            )

    def close(self) -> None:
        """Give everything free; what was in flight is dropped."""
        self.close_cycles()
        self.leave_to(None)

    def close_cycles(self, *, keep_locks: bool = False) -> None:
        """End the cycles' parts; store, registries and forges stay, and with `keep_locks` the locks on the
        clones, for an app that is opened `after` this one."""
        if keep_locks:
            for name, cycle in self.cycles.items():
                if name not in self._locks:
                    self._locks[name] = cycle.checkout.lock_copy()
        for cycle in self.cycles.values():
            cycle.come_back()
        self._closing.close()

    def leave_to(self, other: App | None) -> None:
        """Give free what another app, opened `after` this one, has not taken over."""
        while self._locks:
            os.close(self._locks.popitem()[1])
        self._ground.leave_to(None if other is None else other._ground)

    def set_out(self) -> None:
        """Have the branches of the first config repos fetched, whose cycles are next."""
        for cycle in islice(self.cycles.values(), AHEAD):
            cycle.set_out()

    def end_processes(self, repo: str, why: Ending) -> int:
        """End the git processes that are at work for a config repo's cycle; how many there were."""
        cycle = self.cycles.get(repo)
        return 0 if cycle is None else cycle.checkout.end_processes(why)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _ground(
    config: Config,
    stack: ExitStack,
    after: App | None,
    *,
    exclusive: bool,
    aside: bool,
    clock: tuple[Callable[[], datetime], Callable[[], float]],
    warn: Callable[[Reason], None],
) -> _Ground:
    """What the cycles stand on; what is made anew is closed with `stack`, too."""
    was = None if after is None else after.config
    old = None if after is None else after._ground
    new = {name: stack.enter_context(ExitStack()) for name in ("store", "registry", "forges")}
    closings = dict(new)
    if old is None:
        store, folder = _state(config, new["store"], exclusive=exclusive, aside=aside, warn=warn)
    else:
        store, folder, closings["store"] = old.store, old.folder, old.closings["store"]
    tables = ("registries", "docker_config")
    if old is not None and all(getattr(was, table) == getattr(config, table) for table in tables):
        registry, closings["registry"] = old.registry, old.closings["registry"]
    else:
        registry = registry_client(config, clock[1], warn)
        new["registry"].callback(registry.close)
    if old is not None and was is not None and was.forges == config.forges:
        forges, closings["forges"] = old.forges, old.closings["forges"]
    else:
        forges = open_forges(config, new["forges"], *clock)
    return _Ground(store, folder, registry, forges, closings)


def _state(
    config: Config, stack: ExitStack, *, exclusive: bool, aside: bool, warn: Callable[[Reason], None]
) -> tuple[Store, Path]:
    """The store, and the folder for clones."""
    if aside:
        store = Store.open(config.state, read_only=True, warn=warn)
        stack.callback(store.close)
        return store, _reading(config.state, stack)
    try:
        store = Store.open(config.state, warn=warn)
        stack.callback(store.close)
        clear_passing(config.state)
        return store, _clones(config.state)
    except ConfigError as error:
        if exclusive or error.reason.code not in ("state/locked", "state/unusable"):
            raise
    store = Store.open(config.state, read_only=True, warn=warn)
    stack.callback(store.close)
    return store, stack.enter_context(passing_folder(config.state))


def _clones(state: Path) -> Path:
    folder = state / "repos"
    try:
        private_folder(folder)
    except OSError as error:
        raise ConfigError(reason("state/unusable", folder=folder, problem=error.strerror or error)) from error
    return folder


def _reading(state: Path, stack: ExitStack) -> Path:
    """The folder for clones of those who only read, so that the next one finds them; for one reader at a
    time, any other gets a passing one."""
    folder = state / READING
    try:
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        private_folder(folder)
        stack.callback(os.close, locked(folder))
    except (OSError, ConfigError):
        return stack.enter_context(passing_folder(state))
    return folder


def _cycle(
    config: Config,
    name: str,
    folder: Path,
    store: Store,
    registry: RegistryClient,
    signatures: Signatures,
    clock: Callable[[], datetime],
    stack: ExitStack,
    forges: Mapping[str, Forge],
    lock: int | None,
) -> Cycle:
    repo = config.repos[name]
    checkout = open_checkout(config, name, folder / name, forges, lock=lock)
    stack.callback(checkout.close)
    observer = Observer(
        registry,
        store,
        interval=cache(lambda host: _registry(config, host).interval or timedelta(0)),
        max_interval=cache(lambda host: _registry(config, host).max_interval),
        timeout=config.daemon.observe_timeout.total_seconds(),
        asker=name,
    )
    stack.callback(observer.close)
    reach = Reach(checkout, repo.history_limit)
    located = Located(store, name, locator_version())
    asks = any(one.type == "kubernetes" for at, one in config.runtimes.items() if config.repo_of(at) == name)
    kustomized = Kustomized() if asks else None
    index = Index(checkout, scope_of(repo), Earlier(checkout, reach), located, kustomized)
    facts = FactFinder(checkout, index, observer, reach, signatures)
    decider = Decider(
        facts, observer, Limits(repo.max_lookups), repo.max_releases_per_cycle, config.rails_of(name)
    )
    withdrawals = Withdrawals(f"{name} {repo.url} {repo.branch}", checkout, store)
    publisher = Publisher(
        checkout, identity(repo.author), observer.first_seen, templates(config), withdrawals.pushing
    )
    proposals = _proposals(config, name, checkout, publisher, store, forges)
    decider.can_propose = proposals is not None
    return Cycle(
        name,
        checkout,
        index,
        observer,
        facts,
        decider,
        publisher,
        store,
        withdrawals,
        clock,
        config.fingerprint(name),
        repo.mode,
        proposals,
        None if proposals is None else Tender(proposals, decider.bound, repo.policies),
    )


def _proposals(
    config: Config,
    name: str,
    checkout: Checkout,
    publisher: Publisher,
    store: Store,
    forges: Mapping[str, Forge],
) -> Proposals | None:
    """The pull requests of a config repo; None where it has no forge."""
    place = config.forge_of(name)
    if place is None:
        return None
    repo, wanted = config.repos[name], config.repos[name].pull_request
    style = Style(
        prefix=wanted.branch_prefix,
        labels=wanted.labels,
        reviewers=wanted.reviewers,
        draft=wanted.draft,
        automerge=wanted.automerge,
        always=repo.deliver == "pull-request",
        most=repo.max_open_prs,
        other_bases=config.branches_beside(name),
    )
    host, project = place
    book = Book(f"{name} {repo.url} {repo.branch}", store)
    return Proposals(
        name, repo.branch, project, forges[host], checkout, publisher, style, book, store.image, forges
    )


def _teller(config: Config, name: str, index: Index, feedback: Feedback) -> Teller:
    """What a config repo has to tell the pull requests of its sources."""

    def environment_of(workload: str) -> str:
        entry = None if index.snapshot is None else index.snapshot.workloads.get(workload)
        return getattr(entry, "environment", None) or name

    place = config.forge_of(name)
    assert place is not None  # the config was refused otherwise
    host, project = place
    own = f"{host}/{project.partition('/')[0]}"
    owners = (own, *config.repos[name].feedback_to)
    return Teller(feedback, name, environment_of, feedback.forges[host], project, owners)


def _signatures(source: SignatureSource, signers: Mapping[str, Signer], stack: ExitStack) -> Signatures:
    """Who signed what, for one config repo: its commands wait for those of no other."""
    commands = Commands()
    stack.callback(commands.close)
    return Signatures(source, signers, commands)


def _signers(config: Config) -> dict[str, Signer]:
    """What `signed_by` may name."""
    return {name: _signer(name, key) for name, key in config.keys.items()}


def _signer(name: str, key: KeyConfig) -> Signer:
    if key.command is not None:
        return ImageCommand(name, tuple(key.command), key.timeout.total_seconds(), os.environ)
    return KeyFile(name, str(key.public_key_file))


def open_forges(
    config: Config,
    stack: ExitStack,
    clock: Callable[[], datetime] = utc_now,
    monotonic: Callable[[], float] = time.monotonic,
) -> dict[str, Forge]:
    """The forges of the config, by host. Nothing is asked yet, and no secret is read."""
    if not config.forges:
        return {}
    from automator.edges.forge.opening import open_forge

    outside = Outside.of(os.environ)
    forges = {
        host: open_forge(_forge(host, settings), outside=outside, clock=clock, monotonic=monotonic)
        for host, settings in config.forges.items()
    }
    for forge in forges.values():
        stack.callback(forge.close)
    return forges


def _forge(host: str, settings: ForgeConfig) -> ForgeSettings:
    kind = settings.kind_as(host)
    assert kind is not None  # the config was refused otherwise
    return ForgeSettings(
        host,
        kind,
        api=settings.api,
        token_file=_text(settings.token_file),
        username=settings.username,
        app_id=settings.app_id,
        app_key_file=_text(settings.app_key_file),
        installation_id=settings.installation_id,
        ca_file=_text(settings.ca_file),
        timeout=settings.timeout.total_seconds(),
    )


def scope_of(repo: RepoConfig) -> Scope:
    """What may be read and written of a config repo, and asked for its policies' sake."""
    return Scope(repo.policies, repo.write, repo.ignore, frozenset(repo.registries))


def registry_client(
    config: Config,
    monotonic: Callable[[], float] = time.monotonic,
    warn: Callable[[Reason], None] = lambda _: None,
) -> RegistryClient:
    """The client for all registries, as the config has them; `warn` is told what they warn of."""

    def warned(host: str, words: str) -> None:
        warn(reason("registry/warning", host=host, words=words))

    common = _docker_config(config.docker_config)
    outside = Outside.of(os.environ)
    hosts: dict[str, HostSettings] = {}
    for host, settings in config.registries.items():
        called = _host(host, settings, common, outside)
        hosts.setdefault(host, replace(called, address=None, prefix=""))  # a mirror has images of its own
        if settings.mirror_of is not None:
            hosts[settings.mirror_of] = called
    return RegistryClient(
        hosts,
        default=HostSettings(credentials=common, declared=False),
        outside=outside,
        clock=monotonic,
        warned=warned,
    )


def _docker_config(files: tuple[Path, ...]) -> DockerConfig:
    return DockerConfig(*map(str, files))


def _host(host: str, settings: RegistryConfig, common: CredentialSource, outside: Outside) -> HostSettings:
    source: CredentialSource = common
    if settings.credentials is not None:
        source = PasswordFile(settings.credentials.username, str(settings.credentials.password_file))
    elif settings.docker_config:
        source = _docker_config(settings.docker_config)
    elif settings.login is not None:
        trust = Trust(_text(settings.ca_file), settings.verify_tls, bundle=outside.bundle)
        source = CloudLogin(settings.login, trust=trust, outside=outside)
    return HostSettings(
        credentials=source,
        insecure=settings.insecure,
        verify_tls=settings.verify_tls,
        ca_file=_text(settings.ca_file),
        client_cert_file=_text(settings.client_cert_file),
        client_key_file=_text(settings.client_key_file),
        address=None if settings.mirror_of is None else host,
        prefix=settings.mirror_prefix.strip("/"),
        concurrency=settings.concurrency,
        requests_per_second=settings.requests_per_second,
        read_timeout=settings.timeout.total_seconds(),
        deadline=settings.deadline.total_seconds(),
    )


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _registry(config: Config, host: str) -> RegistryConfig:
    mirrors = (s for s in config.registries.values() if s.mirror_of == host)
    return next(mirrors, None) or config.registries.get(host) or RegistryConfig()


_SAMPLE = ReleaseRecord("release", (Member("web", "example.com/web", "1.4.2", "1.4.3"),))


def templates(config: Config) -> Templates:
    """The commit templates of the config, tried on a sample where they are the operator's own.

    Raises ConfigError where one does not work.
    """
    words = config.commit
    if words.subject is None and words.body is None:
        return Templates()
    used = Templates(
        DEFAULT_SUBJECT if words.subject is None else words.subject,
        DEFAULT_BODY if words.body is None else words.body,
    )
    compose(_SAMPLE, why="a sample", templates=used)
    return used
