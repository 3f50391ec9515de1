"""Serving: the daemon, with all that is around the cycles of its config repos, from its start to its end.

What was built from one config is a generation of parts. A changed config replaces it while the process, its
listeners, its numbers and its state folder stay.
"""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from automator import __version__
from automator.app.announce import LAST_WORDS, Announcer
from automator.app.build import App, utc_now
from automator.app.configwatch import (
    AGAIN,
    ConfigSource,
    ConfigWatch,
    Standing,
    changed_tables,
    has_other_cycles,
    may_mend_itself,
    rehearse,
)
from automator.app.desk import LiveDesk
from automator.app.driftwatch import DriftWatch
from automator.app.events import GoogleKeys, Inbox, door, mirrors_of, subscribers_of
from automator.app.front import Front, Scene
from automator.app.memory import give_back
from automator.app.numbers import open_metrics, sources_of
from automator.app.runtimes import Look
from automator.app.secondlooks import SecondLooks
from automator.app.watchdog import STUCK, Watchdog
from automator.bell import Bell
from automator.config import Config
from automator.core.duration import format_duration
from automator.core.reference import Repository
from automator.core.report import Report
from automator.cycle.run import Cycle, Trigger
from automator.daemon import PATIENCE, Daemon, RepoJob, Wake
from automator.edges.checkout import Ending, end_all_processes
from automator.edges.http import Outside
from automator.edges.log import EventLog, configure, log_reason, log_stack, log_started
from automator.edges.web import Health
from automator.errors import AutomatorError, ConfigError
from automator.reasons import Reason, one_line, reason

if TYPE_CHECKING:
    from automator.app.notices import Notices

FINE, CUT_OFF = 0, 1
BRIEFLY = timedelta(seconds=2)
"""How long all config repos wait for the end of the cycles that run when the config changes."""
ENDED_AFTER = timedelta(seconds=5)
"""How long a cycle has to end whose git processes were ended."""
LEAVING = 3.0
"""Seconds in which parts are closed behind a cycle that was left behind."""
CLOSING = 10.0
"""Seconds in which the parts are closed after all cycles have ended: longer only where the disk hangs."""


@dataclass
class _Generation:
    """What was built from one config."""

    app: App
    desk: LiveDesk
    notices: Notices | None
    watch: DriftWatch


class Serving:
    """One daemon process. All but what cycles and web threads call is for the main thread."""

    def __init__(self, app: App, source: ConfigSource, bell: Bell) -> None:
        """`source` is where the config of `app` came from, and changed ones come. Raises ConfigError where a
        listener cannot be had; `app` is then the caller's to close."""
        config = app.config
        self._source = source
        self._bell = bell
        self._watch = ConfigWatch(source.file)
        self._standing = Standing(utc_now())
        self._again_at: float | None = None
        """When a config that could be read, and not used, is tried again."""
        self._busy: tuple[str, ...] = ()
        """Config repos for the end of whose cycle a changed config waits; they begin no other."""
        self._busy_since = 0.0
        self._busy_told = False
        self._has_settled = False
        """Whether every config repo has had its first cycle, which takes the most."""
        self._is_littered = False
        """Whether there was another generation, which the collector may not have seen."""
        self._metrics = open_metrics(config)
        self._log = EventLog(time.monotonic)
        self._front = Front(self._log, self._metrics.observe_refusal)
        self._daemon = Daemon(
            {},
            stop_timeout=config.daemon.stop_timeout,
            on_report=self._tell,
            on_trouble=log_reason,
            clock=utc_now,
        )
        self._watchdog = Watchdog(
            self._daemon,
            lambda repo: self._now.app.end_processes(repo, Ending.STUCK),
            self._alarm,
            lambda repo: self._announcer.all_clear("cycle", repo),
            self._give_up,
        )
        notices = _notices(config, app)
        self._announcer = Announcer(app.store, self._metrics.observe, notices)
        self._now = self._generation(app, notices)
        self._take_numbers()
        self._judge_patience(config)
        self._daemon.resume(self._jobs(app))
        self._front.open(config, self._scene(self._now))

    def run(self) -> int:
        """Serve until a signal; the exit code."""
        self._announcer.begin()
        with closing(self._front):
            self._now.watch.start()
            log_started(__version__, tuple(self._now.app.cycles), self._front.port, self._front.hooks_port)
            # An event that came while cycles end would be answered, and nobody would act on it.
            ended = self._daemon.run(tend=self._tend, before_stop=self._front.stop_hooks, bell=self._bell)
        self._now.watch.close(0.0)
        self._announcer.close(LAST_WORDS.total_seconds())
        end_all_processes(Ending.STOP)
        _within(LEAVING, self._now.desk.close)
        if not ended:
            # A cycle is still at work on its thread; waiting for it would defeat the time limit. A
            # push it may have in flight is done or not: the next start finds out from Git.
            _within(LEAVING, self._now.app.close)
            os._exit(CUT_OFF)
        if not _within(CLOSING, self._now.app.close):
            log_reason(reason("daemon/state-hangs", limit=format_duration(timedelta(seconds=CLOSING))))
            os._exit(CUT_OFF)
        return FINE

    # -- one generation ------------------------------------------------------------------------------

    def _generation(self, app: App, notices: Notices | None) -> _Generation:
        app.board.wake = self._wake_after_news
        desk = LiveDesk(app, self._daemon, standing=lambda: self._standing.view)
        watch = DriftWatch(app, desk.branch, utc_now, heard=partial(self._heard, desk), log=log_reason)
        desk.watched = watch.views
        return _Generation(app, desk, notices, watch)

    def _jobs(self, app: App) -> Mapping[str, RepoJob]:
        return {name: self._job(app.config, name, cycle) for name, cycle in app.cycles.items()}

    def _job(self, config: Config, name: str, cycle: Cycle) -> RepoJob:
        interval = config.interval(name)
        cycle.preview = lambda report: self._now.desk.foresaw(report)

        def run(wake: Wake) -> Report:
            trigger = Trigger(
                wake.trigger,
                named=wake.repositories,
                # What nobody named will have its turn in the next planned cycle.
                patience=interval if wake.is_for_events else timedelta(0),
                # What was waiting before a restart is looked at again: the first cycle lists everything.
                all_due=wake.trigger == "startup" or wake.of_all,
            )
            desk = self._now.desk
            with desk.cycle(name):
                report = cycle.run(trigger, interim=self._show)
                desk.saw(report)
                return report

        return RepoJob(interval, run, _patience(config, name))

    def _scene(self, now: _Generation) -> Scene:
        daemon = self._daemon

        def health() -> Health:
            standing = self._standing.view
            if standing.no_cycles is not None:
                # Whoever asks needs no token: the log says why.
                return Health(False, "no cycle runs: neither the new config could be opened nor the old one")
            stuck = daemon.stuck()
            if stuck:
                return Health(False, f"no cycle has ended for long in {', '.join(stuck)}")
            by = "" if standing.config_refused is None else ", by the old config: the new one cannot be used"
            return Health(True, f"cycles are ending{by}")

        def ready() -> Health:
            unready = daemon.unready()
            if unready:
                return Health(False, f"the first cycle has not ended yet in {', '.join(unready)}")
            return Health(True, "every config repo has had its first cycle")

        return Scene(now.desk, health, ready, self._metrics.exposition, self._inbox(now.app))

    def _inbox(self, app: App) -> Inbox | None:
        config = app.config
        if config.hooks_address is None:
            return None
        return Inbox(
            doors={name: door(name, hook) for name, hook in config.hooks.items()},
            subscribers=subscribers_of(config, app.cycles.values()),
            mirrors=mirrors_of(config),
            wake=self._wake,
            count=self._metrics.observe_event,
            log=self._log,
            clock=utc_now,
            keys=GoogleKeys(Outside.of(os.environ)),
            second_looks=SecondLooks(
                lambda repo, image: self._wake(repo, frozenset({image}), "event"), self._daemon.later
            ),
        )

    def _take_numbers(self) -> None:
        """Have this generation's numbers told, and go by its limits."""
        app = self._now.app
        self._metrics.read_from(sources_of(app, self._now.notices, self._daemon.stuck, self._now.watch.views))
        keys = app.config.daemon
        self._daemon.stop_timeout = keys.stop_timeout
        self._daemon.patience = min(PATIENCE, keys.stuck_after or PATIENCE)
        self._watchdog.stuck_after, self._watchdog.give_up_after = keys.stuck_after, keys.give_up_after

    @staticmethod
    def _judge_patience(config: Config) -> None:
        """Say where the watchdog would end what a config repo is permitted."""
        limit = config.daemon.stuck_after
        for name, repo in config.repos.items():
            if limit and repo.timeout >= limit:
                timeout, most = format_duration(repo.timeout), format_duration(limit)
                log_reason(reason("daemon/impatient", repo=name, timeout=timeout, limit=most))

    # -- on other threads ----------------------------------------------------------------------------

    def _tell(self, report: Report) -> None:
        self._announcer.tell(report)

    def _heard(self, desk: LiveDesk, look: Look) -> None:
        self._announcer.tell_of_runtime(look, partial(desk.about, look.place.repo))

    def _show(self, report: Report) -> None:
        self._now.desk.saw(report)
        self._announcer.show(report)

    def _wake(self, repo: str, repositories: frozenset[Repository], trigger: str) -> None:
        with suppress(KeyError):  # the config no longer names it
            self._daemon.wake(repo, repositories, trigger=trigger)

    def _wake_after_news(self, repo: str) -> None:
        self._wake(repo, frozenset(), "push")

    # -- now and then --------------------------------------------------------------------------------

    def _tend(self, is_asked: bool) -> None:
        self._watchdog.look()
        self._announcer.tend()
        if self._standing.view.no_cycles is not None:
            self._go_back(self._now)
        have_ended = bool(self._busy) and not self._hurry()
        is_due = self._again_at is not None and time.monotonic() >= self._again_at
        if is_asked or have_ended or self._watch.has_changed() or is_due:
            self._reload(is_asked=is_asked)
        if not self._has_settled and not self._daemon.unready():
            self._has_settled = True
            give_back()
        if self._is_littered:
            # What each index was built of is kept from the collector, which is to see the last one now.
            self._is_littered = False
            gc.unfreeze()
            gc.collect()

    def _still_running(self) -> tuple[str, ...]:
        return tuple(repo for repo in self._busy if self._daemon.running_since(repo) is not None)

    def _hold(self, repos: Collection[str]) -> None:
        """A changed config waits for these; the others go on by the old one."""
        self._busy_since, self._busy_told = time.monotonic(), False
        self._busy = tuple(dict.fromkeys((*self._busy, *repos)))
        self._daemon.resume(but=self._busy)

    def _hurry(self) -> bool:
        """Have those end that a changed config waits for; whether it still does."""
        left, limit = self._still_running(), self._daemon.stop_timeout
        waited = timedelta(seconds=time.monotonic() - self._busy_since)
        if waited > limit:
            for repo in left:
                self._now.app.end_processes(repo, Ending.CONFIG)
        if left and waited > limit + ENDED_AFTER:
            if left != self._busy:  # which need not wait for those that hang
                self._busy = left
                self._daemon.resume(but=left)
            if not self._busy_told:
                self._busy_told = True
                self._refuse(self._busy_words(left), is_asked=False)
        return bool(left)

    def _busy_words(self, repos: Collection[str]) -> Reason:
        limit = format_duration(self._daemon.stop_timeout)
        return reason("reload/busy", repo=", ".join(repos), limit=limit)

    def _alarm(self, repo: str, why: Reason, stack: str) -> None:
        log_stack(why, stack)
        self._announcer.alarm("cycle", why, repo)

    def _give_up(self, why: Reason) -> None:
        log_reason(why)
        try:
            end_all_processes(Ending.STUCK)
            self._announcer.alarm("cycle", why)
            self._announcer.close(LAST_WORDS.total_seconds())
        finally:  # whatever becomes of the words: nobody else ends this process
            os._exit(STUCK)

    # -- another config ------------------------------------------------------------------------------

    def _reload(self, *, is_asked: bool) -> None:
        """Read the config again, and use it where it can be used."""
        self._watch.take()
        self._again_at = None
        try:
            new = self._source.read()
            changed = changed_tables(self._now.app.config, new)
            if changed:
                self._use(new)
            self._release()
        except AutomatorError as error:
            if error.reason.code == "reload/busy":
                return  # `_hurry` says so where it takes too long
            self._release()
            self._refuse(error.reason, is_asked=is_asked)
            return
        except Exception as error:  # noqa: BLE001 - whatever it is, the daemon goes on
            self._release()
            why = reason("reload/refused", problem=f"{type(error).__name__}: {error}")
            self._refuse(why, is_asked=True, error=error)
            return
        if changed or is_asked or self._standing.view.config_refused is not None:
            config = self._now.app.config
            self._metrics.config_taken(config.repos, config.hooks, utc_now())
            log_reason(reason("reload/done", changed=", ".join(changed) or "nothing"), level="info")
        if changed:
            self._standing.taken(utc_now())
        else:
            self._standing.kept()
        self._announcer.all_clear("config")

    def _refuse(self, why: Reason, *, is_asked: bool, error: Exception | None = None) -> None:
        """Go on as before, and say so: once, until it is another reason or somebody asks."""
        if self._daemon.is_told_to_stop:
            return
        self._metrics.config_refused()
        told = why if why.code == "reload/refused" else reason("reload/refused", problem=why.sentence)
        before = self._standing.view.config_refused
        if is_asked or before is None or told.sentence != before.sentence:
            log_reason(told, error)
        self._standing.refused(told, utc_now())
        self._announcer.alarm("config", told)

    def _release(self) -> None:
        """No config waits any more for those that were busy."""
        if self._busy:
            self._busy = ()
            self._daemon.resume()

    def _use(self, new: Config) -> None:
        """Have what runs be as the config says. Raises AutomatorError, and then all is as before."""
        old = self._now.app.config
        if has_other_cycles(old, new) or self._standing.view.no_cycles is not None:
            with self._tried_again():
                rehearse(old, new)
            self._replace(new)
        else:
            with self._tried_again():
                self._put_around(new)
        self._judge_patience(new)
        if old.log != new.log:
            configure(new.log.format, self._source.log_level or new.log.level)

    @contextmanager
    def _tried_again(self) -> Iterator[None]:
        """Around what disturbs no cycle: where it fails for what may mend itself, it is tried again."""
        try:
            yield
        except AutomatorError as error:
            if may_mend_itself(error.reason):
                self._again_at = time.monotonic() + AGAIN
            raise

    def _put_around(self, new: Config) -> None:
        """Keep the cycles, and what they know, and change what is around them."""
        now, app, old, notices = self._now, self._now.app, self._now.app.config, self._now.notices
        if (old.notify, old.daemon.public_url) != (new.notify, new.daemon.public_url):
            notices = _notices(new, app)
        app.config = new
        try:
            self._front.open(new, self._scene(now))
        except BaseException:
            app.config = old
            raise
        self._announcer.all_clear("config")
        self._take_over(_Generation(app, now.desk, notices, now.watch), ())

    def _take_over(self, now: _Generation, renewed: Collection[str]) -> None:
        """From here on it is this generation. Nothing in it may fail: there is no way back."""
        old, self._now = self._now, now
        self._announcer.take(now.notices)
        self._take_numbers()
        self._daemon.resume(self._jobs(now.app), renewed)
        if now.watch is not old.watch:
            now.watch.start()

    def _replace(self, new: Config) -> None:
        """Build everything anew that the cycles work with, once they have ended."""
        old, left = self._now, self._still_running()
        if not left:
            left = self._daemon.pause(min(BRIEFLY, self._daemon.stop_timeout))
            if left:
                self._hold(left)
        if left:
            raise ConfigError(self._busy_words(left))
        self._busy = ()
        # Whatever git does now is for readers of history and of config repos upstream, which begin again.
        end_all_processes(Ending.CONFIG)
        old.watch.close(0.0)  # what a look under way still brings is dropped
        _within(LEAVING, old.desk.close)
        old.app.close_cycles(keep_locks=True)
        try:
            self._begin(old, App.open(new, exclusive=True, warn=log_reason, after=old.app))
        except BaseException:
            if self._now is old:
                self._go_back(old)
            raise

    def _go_back(self, old: _Generation) -> None:
        """Let the parts of the old config, whose cycles were closed, go on. Where even that cannot be done
        now, it is tried again at every tick."""
        try:
            self._begin(old, App.open(old.app.config, exclusive=True, warn=log_reason, after=old.app))
        except Exception as error:  # noqa: BLE001 - whatever it is, cycles must come back
            words = error.reason.sentence if isinstance(error, AutomatorError) else one_line(repr(error))
            why = reason("reload/no-cycles", problem=words)
            before = self._standing.view.no_cycles
            if before is None or why.sentence != before.sentence:
                log_reason(why, None if isinstance(error, AutomatorError) else error)
            self._standing.fallen(why)

    def _begin(self, old: _Generation, app: App) -> None:
        """Let a new generation take over from one whose cycles were closed; or raise, and close it."""
        desk: LiveDesk | None = None
        try:
            notices = _notices(app.config, app)
            now = self._generation(app, notices)
            desk = now.desk
            self._front.open(app.config, self._scene(now))
        except BaseException:
            if desk is not None:
                desk.close()
            app.close_cycles()
            app.leave_to(old.app)
            raise
        self._standing.fallen(None)
        if app.config is not old.app.config:
            self._announcer.all_clear("config")
        self._take_over(now, tuple(app.cycles))
        self._is_littered = True
        old.app.leave_to(app)


def _patience(config: Config, name: str) -> timedelta:
    """How long a cycle may always take: two steps of git, which ask and fetch, but no longer than the
    watchdog permits."""
    steps, limit = 2 * config.repos[name].timeout, config.daemon.stuck_after
    return min(steps, limit) if limit else steps


def _notices(config: Config, app: App) -> Notices | None:
    """Those whom the config wants told, loaded only where there is one. Raises ConfigError."""
    if not config.notify:
        return None
    from automator.app.notices import open_notices

    return open_notices(config, app.store, app.forges, utc_now, log_reason)


def _within(seconds: float, act: Callable[[], None]) -> bool:
    """Do it, but wait no longer for its end; whether that came."""
    thread = threading.Thread(target=act, daemon=True)
    thread.start()
    thread.join(seconds)
    return not thread.is_alive()
