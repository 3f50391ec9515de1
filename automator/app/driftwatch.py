"""The drift watch: looks at each runtime at its own interval, beside the cycles, and keeps what that shows.

Each runtime has a thread of its own, so that one that hangs delays nobody: no cycle, and no other runtime. A
look that is still under way when the watch is closed is left behind, and what it brings is dropped.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime

from automator.app.build import App
from automator.app.drifts import KIND, drifts_of, kept_text, key_of, read_kept, says_since
from automator.app.pictures import Branch
from automator.app.runtimes import Look, Place, Tip, places_of, tip_of
from automator.core.drift import Drift, DriftState, Says
from automator.core.driftview import RuntimeView
from automator.core.running import Observation
from automator.errors import AutomatorError
from automator.reasons import Reason, one_line, reason

SOON = 1.0
"""Seconds until it is asked again whether the first cycle of a config repo has read it."""


def _quiet(*_: object, **__: object) -> None:
    """Nobody listens."""


@dataclass
class _Watched:
    """One runtime, and what is known of it. Changed on its own thread alone."""

    place: Place
    key: str
    view: RuntimeView
    said: dict[str, datetime] = field(default_factory=dict)
    """Since when Git says what it says of a workload, where that changed under our eyes."""
    kept: bytes = b""
    """What was put down last."""
    told: str | None = None
    """The trouble that was logged last."""
    is_read: bool = False
    """Whether what was put down before was read."""

    def earlier(self) -> dict[str, Drift]:
        return {drift.workload: drift for drift in self.view.drifts}


class DriftWatch:
    """Looks at the runtimes of one generation of parts. `views` is for all threads."""

    def __init__(
        self,
        app: App,
        branch: Callable[[str], Branch | None],
        clock: Callable[[], datetime],
        *,
        heard: Callable[[Look], None] = _quiet,
        log: Callable[..., None] = _quiet,
    ) -> None:
        """`branch` is where a config repo's was when its last cycle ended, None before the first; `heard` is
        told each look, on the runtime's thread; `log` reasons, as `edges.log.log_reason` takes them."""
        self._app = app
        self._branch = branch
        self._clock = clock
        self._heard = heard
        self._log = log
        self._closing = threading.Event()
        self._watched = [
            _Watched(place, key_of(app.config, place), _unseen(place)) for place in places_of(app.config)
        ]
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begin to look. Nothing is asked before, the store neither: a state folder may hang. Without
        runtimes there is nothing to do."""
        for one in self._watched:
            thread = threading.Thread(
                target=self._watch, args=[one], name=f"runtime {one.place.name}", daemon=True
            )
            self._threads.append(thread)
            thread.start()

    def close(self, seconds: float) -> None:
        """Look no more; a look under way is waited for no longer than this, and left behind."""
        self._closing.set()
        ends_at = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, ends_at - time.monotonic()))

    def views(self) -> tuple[RuntimeView, ...]:
        """The runtimes as the last looks left them, in the order of the config."""
        return tuple(one.view for one in self._watched)

    # -- on the threads ------------------------------------------------------------------------------

    def _watch(self, one: _Watched) -> None:
        try:
            if one is self._watched[0]:
                with suppress(AutomatorError):  # a full disk: what is too much is forgotten at the next start
                    self._app.store.keep_notes_only_of(KIND, [each.key for each in self._watched])
            self._keep_looking(one)
        finally:
            one.place.close()

    def _keep_looking(self, one: _Watched) -> None:
        interval = one.place.config.interval.total_seconds()
        pause = 0.0
        while not self._closing.wait(pause):
            began = time.monotonic()
            try:
                pause = interval if self._looked(one) else SOON
            except Exception as error:  # noqa: BLE001 - whatever it is, the next look must come
                pause = interval
                if not self._closing.is_set():
                    problem = one_line(f"{type(error).__name__}: {error}")
                    self._log(reason("drift/broke-off", runtime=one.place.name, problem=problem), error)
            pause = max(0.0, pause - (time.monotonic() - began))

    def _looked(self, one: _Watched) -> bool:
        """Look once; False where nothing is known of the config repo yet."""
        if not one.is_read:
            self._remember(one)
        if self._branch(one.place.repo) is None:
            return False
        seen = one.place.ask(self._clock)
        # What Git says is read after: what is deployed meanwhile is then nothing unknown to it.
        branch = self._branch(one.place.repo)
        if branch is None or self._closing.is_set():
            return True
        tip = tip_of(self._app.config, one.place.repo, branch.snapshot)
        earlier = one.earlier()
        look = one.place.judge(
            tip,
            seen,
            self._clock(),
            earlier=earlier,
            says=lambda names: _says(one, tip, names),
            read_at=branch.read_at,
        )
        self._note_changes(one, earlier, look)
        self._take(one, look)
        return True

    def _note_changes(self, one: _Watched, earlier: Mapping[str, Drift], look: Look) -> None:
        """Since when Git says something else than at the last look."""
        for drift in look.drifts:
            was = earlier.get(drift.workload)
            if was is not None and was.wanted != drift.wanted:
                one.said[drift.workload] = look.seen.at
        there = {drift.workload for drift in look.drifts}
        for name in one.said.keys() - there:
            del one.said[name]

    def _take(self, one: _Watched, look: Look) -> None:
        answered = isinstance(look.seen, Observation)
        trouble = None if isinstance(look.seen, Observation) else look.seen.reason
        before, one.view = (
            one.view,
            replace(
                one.view,
                looked_at=look.seen.at,
                answered_at=look.seen.at if answered else one.view.answered_at,
                trouble=trouble,
                notes=look.seen.notes if isinstance(look.seen, Observation) else one.view.notes,
                drifts=look.drifts,
            ),
        )
        self._log_news(one, trouble, {drift.workload: drift for drift in before.drifts})
        self._keep(one, look)
        self._heard(look)

    def _log_news(self, one: _Watched, trouble: Reason | None, before: Mapping[str, Drift]) -> None:
        words = None if trouble is None else trouble.sentence
        if trouble is not None and words != one.told:
            self._log(trouble)
        one.told = words
        for drift in one.view.drifts:
            was = before.get(drift.workload)
            was_diverged = was is not None and was.state is DriftState.DIVERGED
            if drift.state is DriftState.DIVERGED and not was_diverged:
                self._log(drift.reason)
            elif drift.state is DriftState.SAME and was_diverged:
                self._log(drift.reason, level="info")

    def _keep(self, one: _Watched, look: Look) -> None:
        deploying = self._app.deployments.get(one.place.repo)
        try:
            if deploying is not None and isinstance(look.seen, Observation):
                deploying.take(one.place.name, look.deployments, look.seen.at, one.place.lapse)
            elif deploying is not None and not isinstance(look.seen, Observation):
                deploying.missed(look.seen)
            text = kept_text(look.drifts, one.said)
            if text != one.kept:
                self._app.store.put(KIND, one.key, text)
                one.kept = text
        except AutomatorError as error:  # the next look is kept, where the disk has room again
            if not self._closing.is_set():
                self._log(error.reason)

    def _remember(self, one: _Watched) -> None:
        """Take in how the process before this one left a runtime."""
        rows = read_kept(self._app.store, one.key)
        one.view = replace(one.view, drifts=tuple(drifts_of(rows, one.place.name).values()))
        one.said = {row.workload: row.said for row in rows if row.said is not None}
        one.is_read = True


def _unseen(place: Place) -> RuntimeView:
    return RuntimeView(place.name, place.config.type, place.repo, place.config.interval)


def _says(one: _Watched, tip: Tip, names: Iterable[str]) -> Mapping[str, Says]:
    """Since when Git says it, of those of which that is known. No history is read: since when something else
    was seen is known besides."""
    return {name: says_since(tip.workloads[name], one.said[name]) for name in names if name in one.said}
