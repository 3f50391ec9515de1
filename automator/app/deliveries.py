"""Deliveries: what waits in the outbox goes out, to each receiver on a thread of its own.

A receiver that is down is tried again, later and later; it delays no other, no cycle and no stop. A message
leaves the outbox when it was taken, so after a crash it may come twice, under the same id.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, Protocol

from automator.core.noticetext import read_message
from automator.edges.notify import Answer, Receiver, Result
from automator.edges.store import Kept
from automator.edges.store.outbox import DAYS
from automator.errors import AutomatorError
from automator.reasons import Reason, reason

FIRST_PAUSE = 5.0
"""Seconds after a failure until the next try; they double each time."""
LONGEST_PAUSE = 900.0
LONG_AGO = 3_600.0
"""Seconds after which messages are looked at for their age."""


class Outbox(Protocol):
    """Where messages wait (`edges.store`)."""

    def first_message(self, receiver: str) -> Kept | None: ...
    def drop_message(self, seq: int) -> None: ...
    def drop_old_messages(self, receiver: str, now: datetime) -> int: ...
    def waiting_messages(self) -> dict[str, int]: ...


class Tally(NamedTuple):
    """How it goes with one receiver, since the start of the process."""

    receiver: str
    sent: int
    failed: int
    """Tries after which another one follows."""
    dropped: int
    queued: int
    """Messages that wait now."""


@dataclass
class _Lane:
    """The messages of one receiver; its numbers are guarded by the deliveries' condition."""

    name: str
    receiver: Receiver
    thread: threading.Thread | None = None
    sent: int = 0
    failed: int = 0
    dropped: int = 0
    pause: float = 0.0
    """Seconds to the next try after a failure; 0 where the last message was taken."""
    not_before: float = 0.0
    has_news: bool = True
    """Whether there may be a message that was not looked at."""
    words: str = field(default="", repr=False)
    """Of the failure that was told last."""


class Deliveries:
    """Sends what waits. Threads begin with `start`."""

    def __init__(
        self,
        outbox: Outbox,
        receivers: Mapping[str, Receiver],
        clock: Callable[[], datetime],
        warn: Callable[[Reason], None] = lambda _: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._outbox = outbox
        self._clock = clock
        self._warn = warn
        self._monotonic = monotonic
        self._changed = threading.Condition()
        self._lanes = {name: _Lane(name, receiver) for name, receiver in receivers.items()}
        self._stopping = False
        self._is_over = False

    def start(self) -> None:
        """Begin to send, with what an earlier process left."""
        waiting = self._outbox.waiting_messages()
        self.wake(name for name in self._lanes if waiting.get(name))

    def wake(self, receivers: Iterable[str]) -> None:
        """There are messages for these. Never waits for any of them."""
        with self._changed:
            for name in receivers:
                lane = self._lanes.get(name)
                if lane is None or self._stopping:
                    continue
                lane.has_news = True
                if lane.thread is None:
                    lane.thread = threading.Thread(
                        target=self._run, args=[lane], name=f"notify-{name}", daemon=True
                    )
                    lane.thread.start()
            self._changed.notify_all()

    def close(self, seconds: float) -> bool:
        """Send what waits to those who can be reached, within so many seconds; the rest stays in the outbox.
        False where a receiver hangs, which is left behind."""
        ends_at = self._monotonic() + seconds
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
            threads = [lane.thread for lane in self._lanes.values() if lane.thread is not None]
        for thread in threads:
            thread.join(max(0.0, ends_at - self._monotonic()))
        with self._changed:
            self._is_over = True  # whoever comes back from a receiver now leaves the outbox alone
            self._changed.notify_all()
        return not any(thread.is_alive() for thread in threads)

    def tallies(self) -> tuple[Tally, ...]:
        """How it goes with each receiver, by name."""
        try:
            waiting = self._outbox.waiting_messages()
        except AutomatorError:  # the metrics are asked for when the state folder is in trouble, too
            waiting = {}
        with self._changed:
            return tuple(
                Tally(name, lane.sent, lane.failed, lane.dropped, waiting.get(name, 0))
                for name, lane in sorted(self._lanes.items())
            )

    def count_dropped(self, receiver: str, count: int, problem: str) -> None:
        """Messages were dropped before they could be sent: told, and counted."""
        with self._changed:
            if (lane := self._lanes.get(receiver)) is not None:
                lane.dropped += count
        self._warn(reason("notify/dropped", name=receiver, problem=problem))

    # -- on the thread of one receiver -----------------------------------------------------------------

    def _run(self, lane: _Lane) -> None:
        while True:
            try:
                kept = self._next(lane)
                if kept is None:
                    return
                self._deliver(lane, kept)
            except AutomatorError as error:  # the state folder cannot be used now
                if not self._rest(lane, error.reason.sentence):
                    return

    def _next(self, lane: _Lane) -> Kept | None:
        """The message that is to be sent now; waits for one. None where sending ends."""
        while True:
            with self._changed:
                if self._is_over or (self._stopping and lane.pause):
                    return None
                wait = lane.not_before - self._monotonic()
                if wait > 0 and not self._stopping:
                    self._changed.wait(wait)
                    continue
                if not lane.has_news and not self._stopping:
                    self._changed.wait()
                    continue
                lane.has_news = False
            gone = self._outbox.drop_old_messages(lane.name, self._clock())
            if gone:
                self.count_dropped(lane.name, gone, f"{gone} were older than {DAYS} days")
            kept = self._outbox.first_message(lane.name)
            if kept is not None or self._stopping:
                return kept

    def _deliver(self, lane: _Lane, kept: Kept) -> None:
        answer = self._answer(lane, kept)
        with self._changed:
            if self._is_over:
                return
        if answer.result is Result.LATER:
            self._rest(lane, answer.words, answer.wait)
            return
        self._outbox.drop_message(kept.seq)
        with self._changed:
            lane.has_news = True
            lane.pause = lane.not_before = 0.0
            lane.sent += answer.result is Result.SENT
            lane.dropped += answer.result is Result.NEVER
            had_failed, lane.words = bool(lane.words), ""
        if answer.result is Result.NEVER:
            self._warn(reason("notify/refused", name=lane.name, problem=answer.words))
        elif had_failed:
            self._warn(reason("notify/reached", name=lane.name))

    @staticmethod
    def _answer(lane: _Lane, kept: Kept) -> Answer:
        try:
            message = read_message(kept.text)
        except (ValueError, KeyError, TypeError):
            return Answer(Result.NEVER, "another version of automator wrote it")
        try:
            return lane.receiver.send(message)
        except Exception as error:  # noqa: BLE001 - a bug must not end the thread of a receiver
            return Answer(Result.LATER, f"a bug of automator: {type(error).__name__}")

    def _rest(self, lane: _Lane, words: str, wait: float | None = None) -> bool:
        """Try again later. Whether there will be a later."""
        with self._changed:
            lane.failed += 1
            lane.has_news = True
            lane.pause = min(2 * lane.pause or FIRST_PAUSE, LONGEST_PAUSE)
            lane.not_before = self._monotonic() + (lane.pause if wait is None else max(wait, 1.0))
            is_news, lane.words = not lane.words, words
            over = self._stopping
        if is_news:
            self._warn(reason("notify/failed", name=lane.name, problem=words))
        return not over
