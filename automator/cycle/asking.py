"""Asking: many questions to registries at once, and how long a cycle waits for whom.

What belongs here: one time for a whole cycle, of which each round of questions gets a part, and which
hosts are waited for no longer. It knows nothing of what is asked.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Hashable
from concurrent.futures import Future, wait
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeVar

from automator.core.facts import Unavailable
from automator.core.reference import Repository
from automator.edges.registry import HostResting, RateLimited
from automator.errors import RegistryError
from automator.reasons import reason

T = TypeVar("T")
ROUND = 0.5
"""Part of the time left that one round of questions may take: the next one has as much to come."""
BRIEF = 1.0
"""Seconds, at most, for a host that was late before: enough for one that has recovered."""
LAST_PART = 0.25
"""Whoever gives an answer in this last part of a round is busy, and not silent."""
REAL_WAIT = 0.05
"""Part of a cycle's time that a host must have had to be called late for the next ones."""
Subject = tuple[Repository, str]


class Lanes(Protocol):
    """Where questions wait for their turn (`edges.registry` has them)."""

    def submit(
        self,
        host: str,
        act: Callable[[], T],
        *,
        asker: str = "",
        first: bool = False,
        key: Hashable | None = None,
    ) -> Future[T]: ...


class _Flight(NamedTuple):
    """A question on its way."""

    future: Future[Any]
    is_shared: bool
    """Another config repo may wait for it too."""


class _Stopped(Exception):
    """The host gave no answer, but a time; and when that was, on the monotonic clock."""

    def __init__(self, error: RateLimited | HostResting, at: float) -> None:
        super().__init__(str(error))
        self.error = error
        self.at = at


class Asking:
    """The questions of one config repo's cycles; used by one thread at a time."""

    def __init__(self, lanes: Lanes, timeout: float, asker: str = "") -> None:
        """`timeout`: seconds that all rounds of one cycle may wait together."""
        self._lanes = lanes
        self._timeout = timeout
        self._asker = asker
        self._now = datetime.min.replace(tzinfo=UTC)
        self._began = time.monotonic()
        self.left = timeout
        """Seconds that this cycle may still wait."""
        self._slow: set[tuple[str, str]] = set()
        """(host, kind of question): late in an earlier round, of this cycle or another."""
        self._given_up: set[str] = set()
        """Hosts that were late in this cycle."""
        self._flying: dict[tuple[str, Repository, str], _Flight] = {}
        self._ahead: set[tuple[str, Repository, str]] = set()
        """Questions of this very cycle that were sent before their round."""

    def begin(self, now: datetime) -> None:
        """A cycle begins, at `now`."""
        self._now = now
        self._began = time.monotonic()
        self.left = self._timeout
        self._given_up.clear()

    def ask_ahead(
        self, kind: str, subjects: Collection[Subject], act: Callable[[Repository, str], T]
    ) -> None:
        """Send questions of the cycle that begins before their round, which then finds them on their
        way. What was sent ahead of an earlier cycle counts no longer."""
        self._ahead.clear()
        for subject in subjects:
            self.drop(kind, *subject)
            self._flying[(kind, *subject)] = self._sent(kind, subject, act, is_first=True, is_shared=False)
            self._ahead.add((kind, *subject))

    def _sent(
        self,
        kind: str,
        subject: Subject,
        act: Callable[[Repository, str], T],
        *,
        is_first: bool,
        is_shared: bool,
    ) -> _Flight:
        future = self._lanes.submit(
            subject[0].registry,
            partial(_timed, act, *subject),
            asker=self._asker,
            first=is_first,
            key=(kind, *subject) if is_shared else None,
        )
        return _Flight(future, is_shared)

    def ask(
        self,
        kind: str,
        subjects: Collection[Subject],
        act: Callable[[Repository, str], T],
        *,
        first: Collection[Repository] | None = None,
        share: float = ROUND,
        is_shared: Callable[[Repository], bool] = lambda _: False,
        anew: Collection[Repository] = (),
    ) -> dict[Subject, T | Unavailable]:
        """Ask all at once, each host in its own lane; what is late is waited for no longer, and its
        answer taken when it is asked for the next time.

        `first`: what goes before all else; everything where it is None. `share`: of the time left, that
        may be spent. `is_shared`: whether another config repo's question serves too. `anew`: of what an
        answer to an earlier question is of no use.
        """
        futures: dict[Subject, Future[T]] = {}
        old: set[Subject] = set()
        for repository, tag in subjects:
            is_ahead = (kind, repository, tag) in self._ahead
            if repository in anew and not is_ahead:
                self.drop(kind, repository, tag)
            flight = self._flying.get((kind, repository, tag))
            if flight is None:
                flight = self._flying[(kind, repository, tag)] = self._sent(
                    kind,
                    (repository, tag),
                    act,
                    is_first=first is None or repository in first,
                    is_shared=is_shared(repository),
                )
            elif not is_ahead:
                old.add((repository, tag))
            futures[(repository, tag)] = flight.future
        self._ahead.clear()
        waited = self._wait(kind, futures, old, share)
        return {
            subject: self._answer(kind, *subject, future, waited.get(future, 0.0))
            for subject, future in futures.items()
        }

    def drop(self, kind: str, repository: Repository, tag: str) -> None:
        """Take no answer to what is on its way."""
        flight = self._flying.pop((kind, repository, tag), None)
        if flight is not None and not flight.is_shared:
            flight.future.cancel()

    def wait(self, futures: Collection[Future[Any]]) -> None:
        """Wait for others than registries, as long as a round may take."""
        began = time.monotonic()
        wait(futures, timeout=max(0.0, self.left * ROUND))
        self.left -= time.monotonic() - began

    def close(self) -> None:
        """Start nothing more."""
        for flight in self._flying.values():
            flight.future.cancel()

    def _wait(
        self, kind: str, futures: dict[Subject, Future[T]], old: set[Subject], share: float
    ) -> dict[Future[T], float]:
        """Wait for those who deserve it, and take down who was late; returns how many seconds each was
        given. What is on its way from an earlier round is not waited for: it must not delay each cycle
        anew."""
        whole: dict[Future[T], str] = {}
        brief: dict[Future[T], str] = {}
        for subject, future in futures.items():
            host = subject[0].registry
            if subject not in old and host not in self._given_up:
                (brief if (host, kind) in self._slow else whole)[future] = host
        began, given = time.monotonic(), max(0.0, self.left * share)
        silent = wait(whole, timeout=given * (1 - LAST_PART)).not_done
        wait(silent, timeout=max(0.0, began + given - time.monotonic()))
        given_briefly = min(BRIEF, given * ROUND)
        if brief:
            wait(brief, timeout=max(0.0, began + given_briefly - time.monotonic()))
        self.left -= time.monotonic() - began
        self._take_down(kind, futures, old)
        if given >= self._timeout * REAL_WAIT:
            busy = {whole[future] for future in silent if future.done()}
            self._be_late(kind, {f: host for f, host in whole.items() if host not in busy})
        self._be_late(kind, brief)
        return dict.fromkeys(whole, given) | dict.fromkeys(brief, given_briefly)

    def _take_down(self, kind: str, futures: dict[Subject, Future[T]], old: set[Subject]) -> None:
        """A host that answered all in time is waited for again. That what was late before has failed
        since is no word of health."""
        if not self._slow:
            return
        well: dict[str, bool] = {}
        for subject, future in futures.items():
            host = subject[0].registry
            is_well = future.done() and not (subject in old and _has_failed(future))
            well[host] = well.get(host, True) and is_well
        self._slow.difference_update((host, kind) for host, is_well in well.items() if is_well)

    def _be_late(self, kind: str, awaited: dict[Future[T], str]) -> None:
        for future, host in awaited.items():
            if not future.done():
                self._given_up.add(host)
                self._slow.add((host, kind))
                future.add_done_callback(partial(self._recovered, host, kind))

    def _recovered(self, host: str, kind: str, future: Future[Any]) -> None:
        """A late answer came at last: the host is waited for again. Runs on the thread that has it."""
        if not _has_failed(future):
            self._slow.discard((host, kind))

    def _answer(self, kind: str, repository: Repository, tag: str, future: Future[Any], waited: float) -> Any:
        """What a future holds, for which so many seconds were `waited`, or why that is nothing."""
        if not future.done() or future.cancelled():
            late = reason("registry/late", image=repository, seconds=f"{waited:.2g}")
            return Unavailable(late, waiting=True)
        self._flying.pop((kind, repository, tag), None)
        try:
            return future.result()
        except _Stopped as stopped:
            passed = timedelta(seconds=int(stopped.at - self._began))
            return Unavailable(stopped.error.reason_at(self._now + passed), waiting=True)
        except RegistryError as error:
            return Unavailable(error.reason)
        except Exception as error:  # noqa: BLE001 - a bug met by one repository stays with it
            words = f"{type(error).__name__}: {error}"
            return Unavailable(reason("registry/bug", image=repository, problem=words))


def _has_failed(future: Future[Any]) -> bool:
    return future.cancelled() or future.exception() is not None


def _timed(act: Callable[[Repository, str], T], repository: Repository, tag: str) -> T:
    """`act`; a wait that it was told is counted from now, not from when somebody reads of it."""
    try:
        return act(repository, tag)
    except (RateLimited, HostResting) as error:
        raise _Stopped(error, time.monotonic()) from None
