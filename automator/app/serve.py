"""Serving: the daemon with its log, metrics and probes around the cycles of all config repos."""

from __future__ import annotations

import os
from datetime import UTC, datetime

from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_fixed

from automator import __version__
from automator.app.build import App, utc_now
from automator.config import Config
from automator.core.report import Report
from automator.cycle.run import Cycle, Trigger
from automator.daemon import Daemon, RepoJob, Wake
from automator.edges.log import log_outcomes, log_reason, log_report, log_started
from automator.edges.metrics import Metrics
from automator.edges.store import Store
from automator.edges.web import Health, WebServer, make_app
from automator.errors import ConfigError
from automator.reasons import reason

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

    Raises ConfigError where the state folder or a listener cannot be had, or where the config asks
    for what this version cannot do.
    """
    if config.hooks_address is not None:
        raise ConfigError(reason("daemon/no-hooks", address=config.daemon.hooks_listen))
    with _opened(config) as app:
        metrics = Metrics(__version__, lambda: app.registry.requests)
        announcer = _Announcer(app.store, metrics)
        daemon = Daemon(
            {name: _job(config, name, cycle, announcer) for name, cycle in app.cycles.items()},
            stop_timeout=config.daemon.stop_timeout,
            on_report=announcer.tell,
            on_trouble=log_reason,
            clock=utc_now,
        )
        server = _probes(config, daemon, metrics)
        if server is not None:
            server.start()
        log_started(__version__, tuple(app.cycles), None if server is None else server.port)
        try:
            ended = daemon.run()
        finally:
            if server is not None:
                server.stop()
        if not ended:
            # A cycle is still at work on its thread; waiting for it would defeat the time limit. A
            # push it may have in flight is done or not: the next start finds out from Git.
            os._exit(CUT_OFF)
    return FINE


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
    def run(wake: Wake) -> Report:
        # What was waiting before a restart is looked at again: the first cycle lists everything.
        trigger = Trigger(wake.trigger, named=wake.repositories, all_due=wake.trigger == "startup")
        return cycle.run(trigger, interim=announcer.show)

    return RepoJob(config.interval(name), run)


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
