"""Announcing: a cycle's one report goes to the log, the store, the metrics and the notices."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from automator.core.report import Report
from automator.edges.log import log_outcomes, log_reason, log_report
from automator.edges.store import Store
from automator.errors import AutomatorError
from automator.reasons import Reason

if TYPE_CHECKING:
    from automator.app.notices import Notices


class Announcer:
    """Tells a report to the log, the metrics, the store and the notices; each sees the very same value."""

    def __init__(
        self, store: Store, observe: Callable[[Report], None], notices: Notices | None = None
    ) -> None:
        """`observe` counts a report; `notices`, which may be set at any time, is None where nobody is to be
        told."""
        self._store = store
        self._observe = observe
        self.notices = notices
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

    def show(self, report: Report) -> None:
        """The outcomes of a cycle that goes on: shown, but neither told nor counted as a cycle."""
        log_outcomes(report, self._last.get(report.repo))
        self._keep(report)

    def alarm(self, subject: str, why: Reason, repo: str | None = None) -> None:
        """Something of the daemon itself is wrong: told at once, once, until `all_clear`. From any thread.

        `subject` names it for good: `config`, `cycle`; `repo` the config repo that it is about."""
        if self.notices is not None:
            self.notices.alarm(subject, why, repo)

    def all_clear(self, subject: str, repo: str | None = None) -> None:
        """What an `alarm` was about is well; nothing where there was none."""
        if self.notices is not None:
            self.notices.all_clear(subject, repo)

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
