"""Serving: the daemon with its log, metrics and probes around the cycles of all config repos."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_fixed

from automator import __version__
from automator.app.build import App, utc_now
from automator.app.events import GoogleKeys, Inbox, door, mirrors_of, subscribers_of
from automator.app.secondlooks import SecondLooks
from automator.config import Config
from automator.core.reference import Repository
from automator.core.report import Report
from automator.cycle.run import Cycle, Trigger
from automator.daemon import Daemon, RepoJob, Wake
from automator.edges.http import Outside
from automator.edges.log import EventLog, log_outcomes, log_reason, log_report, log_started
from automator.edges.metrics import Metrics
from automator.edges.store import Store
from automator.edges.web import Health, WebServer, make_app, make_hooks_app
from automator.errors import ConfigError

FINE, CUT_OFF = 0, 1
LOCK_PATIENCE = 5.0
"""Seconds to wait for somebody else to leave the state folder."""


class _Announcer:
    """Tells a report to the log, the metrics and the store; each sees the very same value."""

    def __init__(self, store: Store, metrics: Metrics) -> None:
        self._store = store
        self._metrics = metrics
        self._last: dict[str, Report] = {}

    def tell(self, report: Report) -> None:
        log_report(report, self._last.get(report.repo))
        self._keep(report)
        self._metrics.observe(report)

    def show(self, report: Report) -> None:
        """The outcomes of a cycle that goes on: shown, but neither told nor counted as a cycle."""
        log_outcomes(report, self._last.get(report.repo))
        self._keep(report)

    def _keep(self, report: Report) -> None:
        # A first cycle that could not read the config repo knows no workload: what was known stays.
        last = self._store.last_report(report.repo) if report.error and not report.outcomes else None
        self._store.save_report(report.completed(last, None))
        self._last[report.repo] = report


def serve(config: Config) -> int:
    """Run until SIGTERM or SIGINT; returns the exit code.

    Raises ConfigError where the state folder or a listener cannot be had.
    """
    with _opened(config) as app:
        metrics = Metrics(__version__, lambda: app.registry.requests, lambda: app.registry.standings)
        announcer = _Announcer(app.store, metrics)
        daemon = Daemon(
            {name: _job(config, name, cycle, announcer) for name, cycle in app.cycles.items()},
            stop_timeout=config.daemon.stop_timeout,
            on_report=announcer.tell,
            on_trouble=log_reason,
            clock=utc_now,
        )
        app.board.wake = lambda repo: daemon.wake(repo, trigger="push")
        probes, hooks = _probes(config, daemon, metrics), _hooks(config, app, daemon, metrics)
        ended = _run(daemon, app, probes, hooks)
        if not ended:
            # A cycle is still at work on its thread; waiting for it would defeat the time limit. A
            # push it may have in flight is done or not: the next start finds out from Git.
            os._exit(CUT_OFF)
    return FINE


def _run(daemon: Daemon, app: App, probes: WebServer | None, hooks: WebServer | None) -> bool:
    """Run the daemon between its listeners; whether every cycle ended."""
    with ExitStack() as listening:
        for server in (probes, hooks):
            if server is not None:
                listening.callback(server.stop)
                server.start()
        log_started(
            __version__,
            tuple(app.cycles),
            None if probes is None else probes.port,
            None if hooks is None else hooks.port,
        )
        # An event that came while cycles end would be answered, and nobody would act on it.
        return daemon.run(before_stop=hooks.stop if hooks is not None else lambda: None)


def _opened(config: Config) -> App:
    """The parts; a `plan` or `explain` that has the state folder just now is waited for."""
    patient = Retrying(
        retry=retry_if_exception(lambda e: isinstance(e, ConfigError) and e.reason.code == "state/locked"),
        stop=stop_after_delay(LOCK_PATIENCE),
        wait=wait_fixed(0.2),
        reraise=True,
    )
    return patient(App.open, config, exclusive=True, warn=log_reason)


def _job(config: Config, name: str, cycle: Cycle, announcer: _Announcer) -> RepoJob:
    interval = config.interval(name)

    def run(wake: Wake) -> Report:
        trigger = Trigger(
            wake.trigger,
            named=wake.repositories,
            # What nobody named will have its turn in the next planned cycle.
            patience=interval if wake.is_for_events else timedelta(0),
            # What was waiting before a restart is looked at again: the first cycle lists everything.
            all_due=wake.trigger == "startup",
        )
        return cycle.run(trigger, interim=announcer.show)

    return RepoJob(interval, run)


def _hooks(config: Config, app: App, daemon: Daemon, metrics: Metrics) -> WebServer | None:
    address = config.hooks_address
    if address is None:
        return None

    def wake(repo: str, repositories: frozenset[Repository], trigger: str) -> None:
        daemon.wake(repo, repositories, trigger=trigger)

    inbox = Inbox(
        doors={name: door(name, hook) for name, hook in config.hooks.items()},
        subscribers=subscribers_of(config, app.cycles.values()),
        mirrors=mirrors_of(config),
        wake=wake,
        count=metrics.observe_event,
        log=EventLog(time.monotonic),
        clock=utc_now,
        keys=GoogleKeys(Outside.of(os.environ)),
        second_looks=SecondLooks(lambda repo, image: wake(repo, frozenset({image}), "event"), daemon.later),
    )
    events = make_hooks_app(inbox.doors, inbox.receive, inbox.refuse)
    return WebServer(events, address, name="hooks", unserved=lambda what: inbox.refuse(None, what))


def _probes(config: Config, daemon: Daemon, metrics: Metrics) -> WebServer | None:
    address = config.daemon.listen_address
    if address is None:
        return None

    def health() -> Health:
        stuck = daemon.stuck(datetime.now(UTC))
        if stuck:
            return Health(False, f"no cycle has ended for long in {', '.join(stuck)}")
        return Health(True, "cycles are ending")

    def ready() -> Health:
        unready = daemon.unready()
        if unready:
            return Health(False, f"the first cycle has not ended yet in {', '.join(unready)}")
        return Health(True, "every config repo has had its first cycle")

    return WebServer(make_app(health, ready, metrics.render), address)
