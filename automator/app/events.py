"""Events: what a registry or a forge tells us becomes a cycle of the config repos that it is about.

An event names repositories and nothing else that counts: what is new is asked of the registry and of Git.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from automator.app.secondlooks import Listed, SecondLooks
from automator.config import Config, HookConfig
from automator.core.reference import Repository, repository_at
from automator.core.synced import place_of
from automator.cycle.run import Cycle
from automator.edges import http
from automator.edges.log import EventLog
from automator.edges.web import Refusal
from automator.edges.webhook import (
    BODY_LIMIT,
    GOOGLE_KEYS_URL,
    Door,
    Event,
    GitPush,
    KeysUnavailable,
    Push,
    Request,
    Result,
    Word,
    ecr_aliases,
    read_event,
    require_keys,
)
from automator.reasons import Reason, reason

Wake = Callable[[str, frozenset[Repository], str], None]
"""Asks for a cycle of a config repo: its name, the repositories with news, the trigger."""


@dataclass(frozen=True, slots=True)
class Subscriber:
    """A config repo, as events may be about it. The callables are asked on threads of the web server."""

    name: str
    url: str
    branch: str
    watched: Callable[[], Collection[Repository] | None]
    """The image repositories that it watches; None before its first cycle, which lists all of them."""
    known_tip: Callable[[], str | None]
    """The newest commit of its branch that we know of."""
    listed: Listed
    """The tags of a repository's last list."""


def subscriber(cycle: Cycle, url: str, branch: str) -> Subscriber:
    """The config repo that `cycle` keeps up to date."""

    def watched() -> Collection[Repository] | None:
        snapshot = cycle.index.snapshot  # read once: a cycle may put another in its place
        return None if snapshot is None else snapshot.watched

    listed = cycle.observer.listed
    return Subscriber(cycle.repo, url, branch, watched, lambda: cycle.checkout.known_tip, listed)


def door(name: str, hook: HookConfig) -> Door:
    """What the config says of [hooks.`name`]."""
    return Door(
        name=name,
        sender=hook.sender_as(name),
        secret_file=None if hook.secret_file is None else str(hook.secret_file),
        header=hook.header,
        signed=hook.signed,
        audience=hook.audience,
        email=hook.email,
        registry=hook.registry,
        registries=hook.registries,
        repositories=hook.repositories,
    )


@dataclass
class Inbox:
    """Takes events, wakes the config repos that they are about, and tells of it.

    `receive` and `refuse` may be called by several threads at a time; both are done within milliseconds.
    """

    doors: Mapping[str, Door]
    subscribers: Collection[Subscriber]
    mirrors: Mapping[str, tuple[str, str]]
    """Host of a mirror -> the host that it mirrors, and the path that it puts before."""
    wake: Wake
    count: Callable[[str, str, str, datetime | None], None]
    """Counts a request: hook, result, code, and when, where it proved its sender."""
    log: EventLog
    clock: Callable[[], datetime]
    keys: Callable[[], bytes]
    second_looks: SecondLooks

    def receive(self, hook: str, request: Request) -> Event:
        """What the request came to, after waking whom it is about. Never raises."""
        try:
            event = read_event(self.doors[hook], request, now=self.clock(), keys=self.keys)
            event, woken = self._routed(event)
            for (name, trigger), repositories in woken.items():
                self.wake(name, frozenset(repositories), trigger)
        except Exception as error:  # noqa: BLE001 - a bug met by one event stays with it
            words = f"{type(error).__name__}: {error}"
            self._refuse(hook, "bug", reason("hooks/bug", hook=hook, error=words), error)
            return Event(Result.REJECTED, Word.MALFORMED_BODY, 500)
        if event.result is Result.REJECTED:
            self._refuse(hook, event.code.value, event.trouble or self._why(hook, event.code))
            return event
        self.count(hook, event.result.value, event.code.value, self.clock())
        self._tell(hook, event, {name for name, _ in woken})
        return event

    def refuse(self, hook: str | None, refusal: Refusal) -> None:
        """Count and log a request that was not taken in; `hook` is None where none of the config is meant."""
        if hook is None:
            self._refuse_nameless(refusal)
            return
        if refusal is Refusal.WRONG_METHOD:
            why = self._why(hook, Word.WRONG_METHOD)
        elif refusal is Refusal.OVERSIZE:
            why = reason("hooks/oversize", hook=hook, limit=BODY_LIMIT)
        elif refusal is Refusal.TOO_SLOW:
            why = reason("hooks/too-slow", hook=hook)
        else:
            why = reason("hooks/busy", hook=hook)
        self._refuse(hook, refusal.value, why)

    def _refuse_nameless(self, refusal: Refusal) -> None:
        if refusal is Refusal.UNKNOWN_HOOK:
            self._refuse("", refusal.value, reason("hooks/unknown"))
            return
        self.count("", Result.REJECTED.value, refusal.value, None)
        crowded = refusal is Refusal.CROWDED
        why = reason("hooks/crowded") if crowded else reason("hooks/no-request", word=refusal.value)
        # Apart from refused events: anybody can make more of these than are told.
        self.log.tell("unserved", why, level="warning", result=refusal.value)

    # -- whom it is about ------------------------------------------------------------------------

    def _routed(self, event: Event) -> tuple[Event, dict[tuple[str, str], set[Repository]]]:
        """The event as it is answered, and the repositories with news by config repo and trigger."""
        woken: dict[tuple[str, str], set[Repository]] = {}
        if event.result is not Result.ACCEPTED:
            return event, woken
        misses = set[Word]()
        for push in event.pushes:
            misses.add(self._route_push(push, woken))
        for git_push in event.git_pushes:
            misses.add(self._route_git_push(git_push, woken))
        misses.discard(Word.PUSHED)
        if woken or not misses:
            return event, woken
        code = next(word for word in _MISSES if word in misses)
        return replace(event, result=Result.IGNORED, code=code, status=200), woken

    def _route_push(self, push: Push, woken: dict[tuple[str, str], set[Repository]]) -> Word:
        names = frozenset(_names(push.repository, self.mirrors))
        word = Word.UNKNOWN_REPOSITORY
        for one in self.subscribers:
            watched = one.watched()
            if watched is None:
                word = Word.PUSHED  # its first cycle is about to list everything
                continue
            if found := [name for name in names if name in watched]:
                woken.setdefault((one.name, "event"), set()).update(found)
                for name in found:
                    self.second_looks.expect(one.name, name, push.tag, one.listed)
        return word

    def _route_git_push(self, push: GitPush, woken: dict[tuple[str, str], set[Repository]]) -> Word:
        places = {place_of(url) for url in push.urls}
        word = Word.UNKNOWN_REPOSITORY
        for one in self.subscribers:
            if place_of(one.url) not in places:
                continue
            if push.ref != f"refs/heads/{one.branch}":
                word = Word.OTHER_BRANCH
            elif push.commit is not None and push.commit == one.known_tip():
                word = Word.KNOWN_COMMIT  # most often our own push
            else:
                woken.setdefault((one.name, "push"), set())
        return word

    # -- telling ---------------------------------------------------------------------------------

    def _why(self, hook: str, code: Word) -> Reason:
        sender = self.doors[hook].sender
        if code in _UNPROVEN:
            return reason("hooks/unproven", hook=hook, sender=sender, word=code.value)
        return reason("hooks/unreadable", hook=hook, sender=sender, word=code.value)

    def _refuse(self, hook: str, code: str, why: Reason, error: Exception | None = None) -> None:
        self.count(hook, Result.REJECTED.value, code, None)
        sender = self.doors[hook].sender if hook else None
        level = "warning" if error is None else "error"
        self.log.tell(
            "refused", why, level=level, hook=hook or None, sender=sender, result=code, exc_info=error
        )

    def _tell(self, hook: str, event: Event, repos: set[str]) -> None:
        told = ", ".join(sorted(repos)) or "nobody"
        self.log.tell(
            event.result.value,
            f"event of hooks.{hook}: {event.code.value}, for {told}",
            level="info" if repos else "debug",
            hook=hook,
            sender=self.doors[hook].sender,
            result=event.code.value,
            delivery=event.delivery,
        )


_UNPROVEN = frozenset(
    {Word.BAD_SECRET, Word.MISSING_SECRET, Word.BAD_SIGNATURE, Word.MISSING_SIGNATURE, Word.WRONG_METHOD}
)
_MISSES = (Word.KNOWN_COMMIT, Word.OTHER_BRANCH, Word.UNKNOWN_REPOSITORY)
"""Why an event wakes nobody, the nearest miss first."""


def _names(pushed: Repository, mirrors: Mapping[str, tuple[str, str]]) -> Iterator[Repository]:
    """Every name by which policies may call the repository that was pushed to."""
    yield pushed
    bare = pushed.registry.removesuffix(":443").removesuffix(":80")
    for host in dict.fromkeys((pushed.registry, bare, *ecr_aliases(bare))):
        yield repository_at(host, pushed.path)
        if host in mirrors:
            of, prefix = mirrors[host]
            path = pushed.path.removeprefix(f"{prefix}/") if prefix else pushed.path
            if not prefix or path != pushed.path:
                yield repository_at(of, path)


def mirrors_of(config: Config) -> Mapping[str, tuple[str, str]]:
    """The mirrors of a config, as `Inbox` wants them."""
    return {
        host: (settings.mirror_of, settings.mirror_prefix.strip("/"))
        for host, settings in config.registries.items()
        if settings.mirror_of is not None
    }


KEYS_LAST = 3600.0
"""Seconds; Google tells of a new key days before it signs by it."""
KEYS_FAIL_FOR = 30.0
"""Seconds for which Google is not asked again where its keys could not be had: anybody may send tokens."""
KEYS_SERVE = 24 * 3600.0
"""Seconds for which keys still count while no newer ones can be had."""


@dataclass
class GoogleKeys:
    """The keys that sign the tokens of Pub/Sub, fetched when they are first needed and kept for an hour.

    One thread at a time fetches them; nobody else waits for it.
    """

    outside: http.Outside
    url: str = GOOGLE_KEYS_URL
    clock: Callable[[], float] = time.monotonic
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _kept: bytes | None = None
    _fetched_at: float = 0.0
    _ask_at: float = -math.inf
    _fetching: bool = False
    _trouble: str = "they are being fetched"

    def __call__(self) -> bytes:
        """The JWKS document. Raises OSError where it cannot be had, or not yet."""
        with self._lock:
            mine = not self._fetching and self.clock() >= self._ask_at
            self._fetching |= mine
        if mine:
            self._fetch()
        with self._lock:
            if self._kept is None or self.clock() >= self._fetched_at + KEYS_SERVE:
                raise OSError(self._trouble)
            return self._kept

    def _fetch(self) -> None:
        document, trouble = None, "the request met a bug"
        try:
            found = self._fetched()
            require_keys(found)
            document = found
        except (OSError, KeysUnavailable) as error:
            trouble = str(error)
        finally:
            with self._lock:
                self._fetching, now = False, self.clock()
                if document is None:
                    self._ask_at, self._trouble = now + KEYS_FAIL_FOR, trouble
                else:
                    self._ask_at, self._fetched_at, self._kept = now + KEYS_LAST, now, document

    def _fetched(self) -> bytes:
        limits = http.Limits(connect=3, read=3, ends_at=time.monotonic() + 5, body=256 * 1024)
        trust = http.Trust(bundle=self.outside.bundle)
        try:
            session = http.new_session(trust=trust, proxy=self.outside.proxy_for(self.url))
            with session:
                answer = http.send(session, "GET", self.url, headers={}, limits=limits)
        except (http.TransportError, http.TrustError) as error:
            raise OSError(str(error)) from error
        if answer.status != 200:
            raise OSError(f"{self.url} answered {answer.status}")
        return answer.body


def subscribers_of(config: Config, cycles: Iterable[Cycle]) -> tuple[Subscriber, ...]:
    """The config repos of a config, as `Inbox` wants them."""
    return tuple(
        subscriber(cycle, config.repos[cycle.repo].url, config.repos[cycle.repo].branch) for cycle in cycles
    )
