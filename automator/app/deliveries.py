"""Deliveries: what waits in the outbox goes out, to each receiver on a thread of its own.

A receiver that is down is tried again, later and later; it delays no other, no cycle and no stop. One that
refuses a single message gets those after it meanwhile. A message leaves the outbox when it was taken, so
after a crash it may come twice, under the same id.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
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
UNFORGOTTEN = 30.0
"""Seconds until it is tried again to take a message out of an outbox that cannot be written."""
PATIENCE = 5
"""Tries of one message after which the next ones are tried in between: it may be the message's own fault."""
STRIKES = 3
"""Times that one message is refused right after another was taken, until it is given up."""


class Outbox(Protocol):
    """Where messages wait (`edges.store`)."""

    def first_message(
        self, receiver: str, *, after: int = 0, without: Collection[int] = ()
    ) -> Kept | None: ...
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
    predecessor: _Lane | None = None
    """Of an earlier config: whatever it is sending now is its own."""
    gone: set[int] = field(default_factory=set)
    """Numbers of messages that were taken or refused, and that the outbox could not forget yet."""
    first: _First = field(default_factory=lambda: _First(0))


@dataclass
class _First:
    """The message that has waited longest, and how often it was not taken."""

    seq: int
    tries: int = 0
    strikes: int = 0
    is_next: bool = True
    """Whether it has its turn now, and not one after it."""
    is_proved: bool = False
    """Whether another one was taken since it was tried last."""
    passed: int = 0
    """Number of the one after it that was tried last, without success."""


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
        self._waiting: dict[str, int] = {}
        """Messages that waited when they were counted last."""
        self._counting = threading.Lock()
        """Guards nothing but the order of counts; also held while the outbox is asked."""
        self._left: Counter[str] = Counter()
        """Messages that were dropped since the config names their receiver no more."""
        self._stopping = False
        self._is_over = False
        self._is_started = False

    def start(self, after: Deliveries | None = None) -> None:
        """Begin to send, with what an earlier process left; `after` those of an earlier config, which were
        closed: what one of them is still sending is waited for."""
        with self._changed:
            self._is_started = True
            for name, lane in self._lanes.items():
                lane.predecessor = None if after is None else _busy(after._lanes.get(name))
        waiting = self._waiting if self.count_waiting() else self._lanes
        # Where they cannot be counted, each looks for itself, again and again.
        self.wake(name for name in self._lanes if waiting.get(name))

    def wake(self, receivers: Iterable[str]) -> None:
        """There are messages for these. Never waits for any of them."""
        with self._changed:
            for name in receivers:
                lane = self._lanes.get(name)
                if lane is None or self._stopping:
                    continue
                lane.has_news = True
                if lane.thread is None and self._is_started:
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

    def count_waiting(self) -> bool:
        """Count what waits anew, since the outbox was changed. False where it cannot be read."""
        with self._counting:
            try:
                waiting = self._outbox.waiting_messages()
            except AutomatorError:
                return False
            with self._changed:
                self._waiting = waiting
        return True

    def tallies(self) -> tuple[Tally, ...]:
        """How it goes with each receiver, by name. It waits for nothing, and leaves the outbox alone, which
        may hang with the state folder."""
        with self._changed:
            gone = [Tally(name, 0, 0, count, 0) for name, count in self._left.items()]
            here = [
                Tally(name, lane.sent, lane.failed, lane.dropped, self._waiting.get(name, 0))
                for name, lane in self._lanes.items()
            ]
            return tuple(sorted([*here, *gone]))

    def count_dropped(self, receiver: str, count: int, problem: str) -> None:
        """Messages were dropped before they could be sent: told, and counted."""
        with self._changed:
            if (lane := self._lanes.get(receiver)) is not None:
                lane.dropped += count
            else:
                self._left[receiver] += count
        self._warn(reason("notify/dropped", name=receiver, problem=problem))

    # -- on the thread of one receiver -----------------------------------------------------------------

    def _run(self, lane: _Lane) -> None:
        if not self._succeed(lane):
            return
        while True:
            try:
                kept = self._next(lane)
                if kept is None:
                    return
                self._deliver(lane, kept)
            except AutomatorError as error:  # the state folder cannot be used now
                if not self._rest(lane, error.reason.sentence):
                    return

    def _succeed(self, lane: _Lane) -> bool:
        """Wait for the end of what an earlier lane is sending, and take over what it could not forget.
        False where it is time to stop before that."""
        earlier = lane.predecessor
        while earlier is not None:
            while earlier.thread is not None and earlier.thread.is_alive():
                earlier.thread.join(0.5)
                if self._stopping:
                    return False
            lane.gone |= earlier.gone
            earlier = earlier.predecessor
        lane.predecessor = None
        return True

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
            is_clean = self._forget(lane)
            kept = self._chosen(lane)
            if kept is not None or self._stopping:
                return kept
            if not is_clean:
                with self._changed:
                    lane.not_before = self._monotonic() + UNFORGOTTEN
                    lane.has_news = True

    def _forget(self, lane: _Lane) -> bool:
        """Take what is done with, and what is too old, out of the outbox. False where that cannot be written
        now, as on a full disk: then it is only kept in mind."""
        try:
            is_less = bool(lane.gone)
            for seq in sorted(lane.gone):
                self._outbox.drop_message(seq)
                lane.gone.discard(seq)
            old = self._outbox.drop_old_messages(lane.name, self._clock())
        except AutomatorError:
            return False
        if old or is_less:
            self.count_waiting()
        if old:
            self.count_dropped(lane.name, old, f"{old} were older than {DAYS} days")
        return True

    def _chosen(self, lane: _Lane) -> Kept | None:
        """The oldest message; where that one is not taken again and again, in turn with those after it."""
        oldest = self._outbox.first_message(lane.name, without=lane.gone)
        if oldest is None:
            return None
        if oldest.seq != lane.first.seq:
            lane.first = _First(oldest.seq)
        first = lane.first
        if first.is_next:
            return oldest
        other = self._outbox.first_message(
            lane.name, after=max(first.passed, first.seq), without=lane.gone
        ) or self._outbox.first_message(lane.name, after=first.seq, without=lane.gone)
        return other or oldest

    def _deliver(self, lane: _Lane, kept: Kept) -> None:
        answer = self._judged(lane, kept, self._answer(lane, kept))
        if answer.result is not Result.LATER:
            lane.gone.add(kept.seq)
        with self._changed:
            if self._is_over:
                return  # whoever comes after us forgets it
        if answer.result is Result.LATER:
            self._rest(lane, answer.words, answer.wait)
            return
        self._forget(lane)
        with self._changed:
            lane.has_news = True
            lane.pause = lane.not_before = 0.0
            lane.sent += answer.result is Result.SENT
            lane.dropped += answer.result is Result.NEVER
            # While the oldest is refused, that others are taken is no end of the trouble.
            is_over = kept.seq == lane.first.seq
            had_failed = is_over and bool(lane.words)
            lane.words = "" if is_over else lane.words
        if answer.result is Result.NEVER:
            self._warn(reason("notify/refused", name=lane.name, problem=answer.words))
        elif had_failed:
            self._warn(reason("notify/reached", name=lane.name))

    @staticmethod
    def _judged(lane: _Lane, kept: Kept, answer: Answer) -> Answer:
        """The answer, and what it says of the oldest message: one that is refused while others are taken
        will never be taken."""
        first = lane.first
        if kept.seq != first.seq:
            first.is_next = True
            if answer.result is Result.LATER:
                first.passed = kept.seq
            else:
                first.is_proved = answer.result is Result.SENT
        elif answer.result is Result.LATER:
            first.tries += 1
            first.strikes += first.is_proved
            first.is_proved = False
            first.is_next = first.tries < PATIENCE
            if first.strikes >= STRIKES:
                return Answer(Result.NEVER, f"{answer.words}, while it took others")
        return answer

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


def _busy(lane: _Lane | None) -> _Lane | None:
    """The lane, or the one before it, that is still sending or knows what is done with."""
    while lane is not None and not lane.gone and (lane.thread is None or not lane.thread.is_alive()):
        lane = lane.predecessor
    return lane
