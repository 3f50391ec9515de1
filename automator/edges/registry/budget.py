"""Budget: what may be asked of one registry host now, and when again if not.

What belongs here: a token bucket, the limits that the host itself tells (RFC 9110 `Retry-After`, the
IETF `RateLimit` headers, Docker Hub's and GitHub's), and a circuit breaker for a host that is down. They
end in times before which nothing is sent; no thread ever sleeps for them.
"""

from __future__ import annotations

import math
import random
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import NamedTuple

from automator.core.reference import Repository
from automator.errors import RegistryError
from automator.reasons import Reason, one_line, reason

BURST_SECONDS = 5.0
"""Requests of so many seconds may be sent at once after a rest."""
FAILURES = 3
"""Failures in a row after which a host counts as down."""
TRY_SECONDS = 2.0
"""Bad answers that are no further apart are one failure: an attempt and those made again at once."""
WELL_SECONDS = 900.0
"""For so long after a good answer for a repository, what others of the host meet is their own trouble."""
KEPT = 10_000
"""Repositories of which it is kept when they were answered well."""
FIRST_REST, LONGEST_REST = 2.0, 180.0
"""Seconds that a host is left alone when it is found down, and in the end; doubled each time."""
FIRST_QUIET, LONGEST_QUIET = 5.0, 300.0
"""Seconds after a 429 that names no time, and after many of them."""
SHORTEST_WINDOW, LONGEST_WINDOW = 60.0, 900.0
"""Seconds to wait where a limit is used up and nobody says when it is renewed."""
LONGEST_TOLD = 24 * 3600.0
UNIX_TIME = 1_000_000_000
"""A greater number in a `Reset` header is a time, a smaller one a wait."""


class Breaker(StrEnum):
    """Whether a host is asked."""

    CLOSED = "closed"
    OPEN = "open"
    PROBING = "probing"


class Standing(NamedTuple):
    """How a host stands, for people and metrics."""

    host: str
    breaker: Breaker
    limit: int | None
    """Requests in the host's own window, where it tells."""
    remaining: int | None
    wait: float
    """Seconds until it is asked again, for the kind of question that waits longest; 0 for none."""
    queued: int
    """Questions that wait for their turn."""
    problem: str
    """Why the host is left alone; empty where it is not."""

    @property
    def is_up(self) -> bool:
        """False while it is left alone because it failed, or tried again."""
        return self.breaker is Breaker.CLOSED


class HostResting(RegistryError):
    """The host failed several times in a row and is left alone for `retry_after` seconds."""

    def __init__(self, repository: Repository, host: str, problem: str, retry_after: float) -> None:
        super().__init__(reason("registry/resting", repository=repository, host=host, problem=problem))
        self.retry_after = retry_after

    def reason_at(self, now: datetime) -> Reason:
        """The reason with the time of the next try, for a caller that has the clock."""
        return replace(self.reason, changes_at=now + timedelta(seconds=self.retry_after))


@dataclass(frozen=True, slots=True)
class Pause:
    """Why nothing is sent now, and for how many seconds."""

    is_down: bool
    """True where the host fails, false where it asked for patience."""
    seconds: float
    problem: str


class Told(NamedTuple):
    """What a host says of its limit."""

    limit: int | None
    remaining: int
    wait: float
    """Seconds until there is more."""
    pulls_only: bool
    """It counts manifests that are sent, and nothing else (Docker Hub)."""


@dataclass(slots=True)
class _Quiet:
    """The times before which a kind of question is not asked."""

    until: float = -math.inf
    pulls_until: float = -math.inf
    """The same for what is not a HEAD."""
    refusals: int = 0


class Budget:
    """What may be sent to one host; used by all threads. `clock` is monotonic, in seconds."""

    def __init__(
        self,
        host: str,
        rate: float,
        concurrency: int,
        clock: Callable[[], float],
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._host = host
        self._rate = rate
        self._burst = max(rate * BURST_SECONDS, float(concurrency), 1.0)
        self._clock = clock
        self._chance = chance
        self._lock = threading.Lock()
        self._tokens = self._burst
        self._filled_at = clock()
        self.sent = 0
        """Requests so far."""
        self._quiet: dict[str, _Quiet] = {}
        self._told: Told | None = None
        self._failures = 0
        self._failing: set[str] = set()
        """Repositories that failed since the last good answer."""
        self._bad_tries = 0
        """Failures in a row, of whatever repository, each at another time."""
        self._bad_at = -math.inf
        self._well_at: dict[str, float] = {}
        """When a repository was answered well for the last time."""
        self._rests = 0
        self._resting_until = -math.inf
        self._prober: int | None = None
        """The thread whose question tries how a host is that was down. A question begins and ends on
        one thread: what another one still meets belongs to an older question."""
        self._problem = ""

    # -- the rate ----------------------------------------------------------------------------------

    def spend(self) -> None:
        """One request goes out. What belongs to a call that began may run into debt."""
        with self._lock:
            self._fill()
            self._tokens -= 1.0
            self.sent += 1

    def wait(self) -> float:
        """Seconds until the next call may begin; 0 for now."""
        with self._lock:
            self._fill()
            return 0.0 if self._tokens >= 1.0 else (1.0 - self._tokens) / self._rate

    def width(self, concurrency: int) -> int:
        """Calls at once: one while a host that was down is tried."""
        return 1 if self.is_probing else concurrency

    @property
    def is_probing(self) -> bool:
        """Whether its rest is over and one call tries how it is."""
        return self._rests > 0 and self._clock() >= self._resting_until

    def _fill(self) -> None:
        now = self._clock()
        if now > self._filled_at:
            self._tokens = min(self._burst, self._tokens + (now - self._filled_at) * self._rate)
            self._filled_at = now

    # -- what the host says ------------------------------------------------------------------------

    def admit(self, kind: str, method: str) -> Pause | None:
        """Why a question must not be asked now; None makes it the probe of a host that was down.

        Each admitted question must end in `answered`, `failed` or `given_up`, on the same thread. One
        that is part of a probe is admitted with it.
        """
        with self._lock:
            now, me = self._clock(), threading.get_ident()
            if self._rests and (now < self._resting_until or self._prober not in (None, me)):
                left = max(self._resting_until - now, FIRST_REST)
                return Pause(True, left, self._problem)
            quiet = self._quiet.get(kind)
            if quiet is not None:
                until = quiet.until if method == "HEAD" else max(quiet.until, quiet.pulls_until)
                if until > now:
                    return Pause(False, until - now, "not asked, it wanted to be left alone")
            self._prober = me if self._rests else None
            return None

    def heard(self, kind: str, headers: Mapping[str, str]) -> None:
        """Take in the limits of an answer: where nothing is left, nothing is sent."""
        told = told_limit(headers)
        if told is None:
            return
        with self._lock:
            self._told = told
            if told.remaining > 0:
                return
            quiet = self._quiet.setdefault("manifests" if told.pulls_only else kind, _Quiet())
            until = self._clock() + told.wait
            if told.pulls_only:
                quiet.pulls_until = max(quiet.pulls_until, until)
            else:
                quiet.until = max(quiet.until, until)

    def limited(self, kind: str, headers: Mapping[str, str], seconds: float | None) -> float:
        """It refused for too many requests, and wants `seconds` of rest, where it told them; returns
        the seconds that it gets."""
        told = told_limit(headers)
        with self._lock:
            quiet = self._quiet.setdefault(kind, _Quiet())
            if seconds is None:
                seconds = _until_time(headers.get("X-Retry-After", ""), headers)
            if seconds is None and told is not None and told.remaining <= 0:
                seconds = told.wait
            if seconds is None:
                seconds = self._grown(FIRST_QUIET, LONGEST_QUIET, quiet.refusals)
                quiet.refusals += 1
            quiet.until = max(quiet.until, self._clock() + seconds)
            return seconds

    # -- the breaker -------------------------------------------------------------------------------

    def answered(self, kind: str, *, is_refusal: bool = False, repository: str = "") -> None:
        """The host works. `is_refusal`: it refused for too many requests. `repository`: the one it has
        answered for, where that says that others could be answered too."""
        if repository:
            if len(self._well_at) >= KEPT:
                self._well_at = {}
            self._well_at[repository] = self._clock()
        if not (self._failures or self._failing or self._rests or self._quiet):
            return  # nearly always
        with self._lock:
            self._failures = self._rests = self._bad_tries = 0
            self._bad_at = -math.inf
            self._failing.clear()
            self._prober = None
            quiet = self._quiet.get(kind)
            if quiet is not None and not is_refusal:
                quiet.refusals = 0

    def failed(self, repository: str, problem: str, *, of_host: bool) -> None:
        """No good answer. `of_host`: it was not reached at all; else the fault may be of this repository
        alone: it counts once for it, and again at each later try where no other one is answered."""
        with self._lock:
            now = self._clock()
            was_probe = self._gives_up_probe()
            if of_host:
                self._failures += 1
            else:
                self._failing.add(repository)
            if now - self._bad_at >= TRY_SECONDS:
                self._bad_tries += 1
                self._bad_at = now
            if not (was_probe if self._rests else self._is_down(now)):
                return
            rest = self._grown(FIRST_REST, LONGEST_REST, self._rests)
            self._rests += 1
            self._resting_until = now + rest
            self._problem = one_line(problem)

    def _is_down(self, now: float) -> bool:
        """Whether so much failed that it is no repository's own trouble."""
        if max(self._failures, len(self._failing)) >= FAILURES:
            return True
        return self._bad_tries >= FAILURES and not any(
            now - at < WELL_SECONDS
            for repository, at in self._well_at.copy().items()
            if repository not in self._failing
        )

    def given_up(self) -> None:
        """An admitted question was not asked after all."""
        with self._lock:
            self._gives_up_probe()

    def _gives_up_probe(self) -> bool:
        """Whether this thread's question was the probe; it is so no longer."""
        if self._prober != threading.get_ident():
            return False
        self._prober = None
        return True

    def is_failing(self) -> bool:
        """Whether the last try brought nothing: then a second attempt at once is a waste."""
        if self._failures > 0 or self._rests > 0:
            return True
        return self._bad_tries > 1 or (self._bad_tries == 1 and self._clock() - self._bad_at >= TRY_SECONDS)

    def _grown(self, first: float, longest: float, times: int) -> float:
        """Twice as long each time, and never at the same time as everybody else."""
        return min(first * 2.0 ** min(times, 30), longest) * (0.75 + 0.5 * self._chance())

    def standing(self, queued: int = 0) -> Standing:
        """How the host stands now."""
        with self._lock:
            now = self._clock()
            waits = [max(q.until, q.pulls_until) - now for q in self._quiet.values()]
            if self._rests:
                waits.append(self._resting_until - now)
            breaker = Breaker.CLOSED
            if self._rests:
                breaker = Breaker.OPEN if now < self._resting_until else Breaker.PROBING
            return Standing(
                self._host,
                breaker,
                None if self._told is None else self._told.limit,
                None if self._told is None else self._told.remaining,
                max([0.0, *waits]),
                queued,
                self._problem if self._rests else "",
            )


# -- headers ------------------------------------------------------------------------------------------

_QUOTED = re.compile(r'"[^"]*"')
_NAMES = {"limit": "q", "remaining": "r", "reset": "t"}
"""Of an older draft, by those of the newer one."""


def told_limit(headers: Mapping[str, str]) -> Told | None:
    """The limit that an answer's headers tell, where they tell one that can be read.

    `RateLimit-Remaining: 76;w=21600` (Docker Hub: no word of when), `RateLimit-Remaining` with
    `RateLimit-Reset` in seconds, `RateLimit: "name";r=0;t=30` (both IETF drafts), and
    `X-RateLimit-Remaining` with `X-RateLimit-Reset` in seconds or as a unix time.
    """
    text = headers.get("RateLimit-Remaining")
    prefix = "RateLimit-"
    if text is None:
        text = headers.get("X-RateLimit-Remaining")
        prefix = "X-RateLimit-"
    if text is None:
        return _told_in_one(headers.get("RateLimit", ""))
    remaining = _number(text)
    if remaining is None:
        return None
    limit_text = headers.get(f"{prefix}Limit", "")
    limit = _number(limit_text)
    window = _window(text) or _window(limit_text)
    wait = _until_time(headers.get(f"{prefix}Reset", ""), headers)
    pulls_only = ";" in text and wait is None
    if wait is None:
        wait = _share(window, limit)
    return Told(limit, remaining, wait, pulls_only)


def _told_in_one(text: str) -> Told | None:
    """The `RateLimit` field: of several policies, the one of which least is left; of those the longest.
    An older draft has one, its parts apart by commas: `limit=100, remaining=50, reset=5`."""
    if not text or len(text) > 1000:
        return None
    bare = _QUOTED.sub("", text)
    policies = [_parts(part) for part in bare.split(",")]
    found = [policy for policy in policies if "r" in policy]
    if len(found) == 1 and len(found[0]) == 1:
        found = [{key: value for policy in policies for key, value in policy.items()}]
    told = [_told_of(policy) for policy in found]
    return min(told, key=lambda one: (one.remaining, -one.wait), default=None)


def _told_of(policy: Mapping[str, int]) -> Told:
    wait = min(float(policy["t"]), LONGEST_TOLD) if "t" in policy else SHORTEST_WINDOW
    return Told(policy.get("q"), policy["r"], wait, False)


def _parts(text: str) -> dict[str, int]:
    """`;r=0;t=30`, as numbers; what is no number, or has another name, is left out."""
    found = {}
    for part in text.split(";"):
        key, _, value = part.partition("=")
        number = _number(value)
        if number is not None:
            name = key.strip().lower()
            found[_NAMES.get(name, name)] = number
    return found


def _number(text: str) -> int | None:
    first = text.partition(";")[0].partition(",")[0].strip()
    return int(first) if first.isascii() and first.isdigit() and len(first) <= 15 else None


def _window(text: str) -> int | None:
    """The first one: `100;w=21600`, `100, 100;w=60`."""
    policies = (_parts(part) for part in text[:1000].split(","))
    return next((policy["w"] for policy in policies if "w" in policy), None)


def _share(window: int | None, limit: int | None) -> float:
    """The time in which one more is granted on average, where nothing tells when the next one is."""
    if window is None:
        return SHORTEST_WINDOW
    return min(max(window / max(limit or 1, 1), SHORTEST_WINDOW), LONGEST_WINDOW)


def _until_time(text: str, headers: Mapping[str, str]) -> float | None:
    """Seconds until a time that is told in seconds, or as a unix time by the server's own clock."""
    number = _number(text)
    if number is None:
        return None
    if number < UNIX_TIME:
        return min(float(number), LONGEST_TOLD)
    try:
        at = parsedate_to_datetime(headers.get("Date", "")).timestamp()
    except (TypeError, ValueError, OverflowError):
        return SHORTEST_WINDOW
    return min(max(number - at, 1.0), LONGEST_TOLD)
