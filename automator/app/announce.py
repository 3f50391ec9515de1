"""Announcing: a cycle's one report goes to the log, the store, the metrics and the notices."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

from automator.core.driftnotice import found_drift
from automator.core.notice import About
from automator.core.report import Report
from automator.core.running import Observation
from automator.edges.log import log_outcomes, log_reason, log_report
from automator.edges.store import Store
from automator.errors import AutomatorError
from automator.reasons import Reason

if TYPE_CHECKING:
    from automator.app.notices import Notices
    from automator.app.runtimes import Look

LEAVING = 1.0
"""Seconds that receivers of an earlier config are given for what waits."""

LAST_WORDS = timedelta(seconds=5)
"""How long receivers are given for what waits when automator stops."""


class Announcer:
    """Tells a report to the log, the metrics, the store and the notices; each sees the very same value."""

    def __init__(
        self, store: Store, observe: Callable[[Report], None], notices: Notices | None = None
    ) -> None:
        """`observe` counts a report; `notices` is None where nobody is to be told."""
        self._store = store
        self._observe = observe
        self.notices = notices
        self._alarms: dict[str, dict[str, Reason]] = {}
        """What is wrong with the daemon itself, by config repo and subject: also what is heard by receivers
        that come later."""
        self._raising = threading.Lock()
        self._last: dict[str, Report] = {}
        self._unkept: set[str] = set()
        """Config repos whose last report could not be written down."""

    def tell(self, report: Report) -> None:
        """A cycle ended. On its thread; messages are only written down here, others send them."""
        try:
            if self.notices is not None:
                self.notices.tell(report)
        finally:
            log_report(report, self._last.get(report.repo))
            self._keep(report)
            self._observe(report)

    def tell_of_runtime(self, look: Look, about: Callable[[str], About]) -> None:
        """A runtime was looked at; on its own thread. `about` says whose a workload is."""
        if self.notices is not None:
            trouble = None if isinstance(look.seen, Observation) else look.seen.reason
            place = look.place
            self.notices.tell_of_runtime(
                place.name, found_drift(place.repo, place.name, look.drifts, trouble, about)
            )

    def show(self, report: Report) -> None:
        """The outcomes of a cycle that goes on: shown, but neither told nor counted as a cycle."""
        log_outcomes(report, self._last.get(report.repo))
        self._keep(report)

    def alarm(self, subject: str, why: Reason, repo: str = "") -> None:
        """Something of the daemon itself is wrong: told at once, once, until `all_clear`. From any thread,
        and never waits.

        `subject` names it for good: `config`, `cycle`; `repo` the config repo that it is about."""
        with self._raising:
            self._alarms.setdefault(repo, {})[subject] = why
            self._tell_of_the_daemon(repo)

    def all_clear(self, subject: str, repo: str = "") -> None:
        """What an `alarm` was about is well; nothing where there was none. Never waits."""
        with self._raising:
            if self._alarms.get(repo, {}).pop(subject, None) is not None:
                self._tell_of_the_daemon(repo)

    def _tell_of_the_daemon(self, repo: str) -> None:
        if self.notices is not None:
            self.notices.tell_of_the_daemon(repo, self._alarms[repo])

    def tend(self) -> None:
        """To be called now and then: what goes on with the daemon itself may be news. Never waits."""
        if self.notices is not None:
            self.notices.tend()

    def begin(self, after: Notices | None = None) -> None:
        """Begin to send what waits, and to tell; `after` those of an earlier config."""
        if self.notices is not None:
            with self._raising:
                self.notices.start(after, self._alarms)

    def take(self, notices: Notices | None) -> None:
        """From here on these are told, and what was not sent yet is sent by them; the config has changed."""
        before, self.notices = self.notices, notices
        if notices is before:
            return
        if before is not None:
            before.close(LEAVING)
        self.begin(before)

    def close(self, seconds: float) -> None:
        """Send what can be sent within so many seconds; the rest waits for the next process."""
        if self.notices is not None:
            self.notices.close(seconds)

    def _keep(self, report: Report) -> None:
        try:
            # A first cycle that could not read the config repo knows no workload: what was known stays.
            last = self._store.last_report(report.repo) if report.error and not report.outcomes else None
            self._store.save_report(report.completed(last, None))
            self._unkept.discard(report.repo)
        except AutomatorError as error:  # the next one is kept, where the disk has room again
            if report.repo not in self._unkept:
                self._unkept.add(report.repo)
                log_reason(error.reason)
        self._last[report.repo] = report
