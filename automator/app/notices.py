"""Notices: for each receiver what is news in a report, written down before anybody is told."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from automator.app.deliveries import Deliveries, Tally
from automator.app.errands import Errands
from automator.config import Config, NotifyConfig
from automator.core.notice import Found, Item, Kind, Taste, Told, due, found, step
from automator.core.noticebook import read_told, told_text
from automator.core.noticetext import Words, message, message_text, try_out
from automator.core.report import Report
from automator.edges.forge import Forge
from automator.edges.http import Outside, Trust
from automator.edges.log import mask
from automator.edges.notify import ChatReceiver, Receiver, WebhookReceiver, has_apprise
from automator.edges.store import Posted, Store
from automator.edges.store.outbox import KEPT
from automator.errors import AutomatorError, ConfigError
from automator.reasons import Reason, one_line, reason

OF_THE_DAEMON = " daemon"
DAEMON = ""
"""In the place of a config repo's name: what is told of the daemon itself."""
UNPOSTED = 200
"""Messages that are kept in memory while the state folder takes none."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """One receiver: what it wants to hear, and in which words."""

    name: str
    taste: Taste
    words: Words
    receiver: Receiver


class Notices:
    """What receivers are told of the cycles of all config repos, and of the daemon. For several threads."""

    def __init__(
        self,
        store: Store,
        subscriptions: tuple[Subscription, ...],
        repos: Mapping[str, Callable[[Report], Found]],
        clock: Callable[[], datetime],
        warn: Callable[[Reason], None] = lambda _: None,
        runtimes: Mapping[str, str] | None = None,
    ) -> None:
        """`repos` has, for each config repo, what is found in a report of it; `runtimes` the config repo of
        each runtime."""
        self._store = store
        self.subscriptions = subscriptions
        self._repos = repos
        self._runtimes = runtimes or {}
        self._clock = clock
        self._warn = warn
        self._lock = threading.Lock()
        self._told: dict[str, Told] = {}
        self._last: dict[str, tuple[Report, Found]] = {}
        self._stepped: dict[str, tuple[Found, datetime, datetime | None]] = {}
        self._unposted: list[Posted] = []
        self._unnoted: dict[str, str] = {}
        self._kept_keys: Collection[str] | None = None
        """Notes beside which all are to be forgotten, once the state folder can be written."""
        receivers = {one.name: one.receiver for one in subscriptions}
        self.deliveries = Deliveries(store, receivers, clock, warn)
        self._errands = Errands("notices", self._broke_off)
        self._moment = threading.Lock()
        """Guards what follows; held for moments only, and never while the state folder is asked."""
        self._ailing: dict[str, tuple[Item, ...]] = {}
        """What is wrong with the daemon itself, by the config repo that it concerns."""
        self._next_looks: dict[str, tuple[datetime, datetime]] = {}
        """When that was looked at, and when something of it may be news although it stays the same."""

    def start(
        self, after: Notices | None = None, ailing: Mapping[str, Mapping[str, Reason]] | None = None
    ) -> None:
        """Forget whoever is no more, and begin to send what is left; `after` those of an earlier config.
        `ailing` is what is wrong with the daemon now, as `tell_of_the_daemon` takes it, by config repo: what
        earlier processes told beside that is over. What the state folder does not take now is done when it
        does; it is not waited for."""
        with self._moment:
            self._ailing = {repo: _items(wrong) for repo, wrong in (ailing or {}).items()}
            self._errands.leave(partial(self._begin, after, dict(self._ailing)))

    def close(self, seconds: float) -> bool:
        """Send what can be sent within so many seconds; the rest waits for the next process."""
        ends_at = time.monotonic() + seconds
        self._errands.leave(self._flush)
        is_done = self._errands.close(seconds)
        return self.deliveries.close(max(0.0, ends_at - time.monotonic())) and is_done

    def tallies(self) -> tuple[Tally, ...]:
        """How it goes with each receiver, for the metrics."""
        return self.deliveries.tallies()

    def tell(self, report: Report, *, is_whole: bool = True) -> None:
        """Write down what is news in the report of a cycle; not `is_whole` where that was about some
        workloads only. Never raises what the state folder can do, and waits for no receiver."""
        if report.repo not in self._repos:
            return
        with self._lock:
            here = self._found(report, is_whole)
            self._step(report.repo, here)

    def tell_of_runtime(self, runtime: str, here: Found) -> None:
        """Write down what is news in a look at a runtime; as `tell`, it waits for nobody."""
        if runtime not in self._runtimes:
            return
        with self._lock:
            self._step(here.repo, here, _of_runtime(runtime))

    def tell_of_the_daemon(self, repo: str, wrong: Mapping[str, Reason]) -> None:
        """All that is wrong with the daemon itself, by subject, as far as it concerns a config repo, or none
        (`DAEMON`). What is news of it is written down on another thread: this waits for nothing."""
        items = _items(wrong)
        with self._moment:
            if self._ailing.get(repo, ()) != items:
                self._ailing[repo] = items
                self._errands.leave(partial(self._step_of_the_daemon, repo, items))

    def tend(self) -> None:
        """Have told what time alone makes news of the daemon's own troubles: to be called now and then. It
        waits for nothing."""
        now = self._clock()
        with self._moment:
            ripe = [repo for repo, (at, until) in self._next_looks.items() if until <= now or now < at]
            for repo in ripe:
                del self._next_looks[repo]
                self._errands.leave(partial(self._step_of_the_daemon, repo, self._ailing.get(repo, ())))

    # -- errands -----------------------------------------------------------------------------------------

    def _begin(self, after: Notices | None, ailing: Mapping[str, tuple[Item, ...]]) -> None:
        names = [one.name for one in self.subscriptions]
        if after is not None:
            with after._lock, self._lock:
                # What the disk has not taken yet is known here only.
                self._unposted[:0] = [one for one in after._unposted if one.receiver in names]
                self._count_unnamed(
                    Counter(one.receiver for one in after._unposted if one.receiver not in names)
                )
                self._unnoted = {**after._unnoted, **self._unnoted}
                self._told = {**{k: read_told(text) for k, text in after._unnoted.items()}, **self._told}
        about = [(repo, stream) for repo in (*self._repos, DAEMON) for stream in ("", OF_THE_DAEMON)]
        about += [(repo, _of_runtime(runtime)) for runtime, repo in self._runtimes.items()]
        keys = {_key(name, repo, stream) for name in names for repo, stream in about}
        with self._lock:
            self._unnoted = {key: text for key, text in self._unnoted.items() if key in keys}
            self._kept_keys = keys
            self._forget_others()
        self.deliveries.start(None if after is None else after.deliveries)
        for repo in (*self._repos, DAEMON):
            self._step_of_the_daemon(repo, ailing.get(repo, ()))

    def _step_of_the_daemon(self, repo: str, items: tuple[Item, ...]) -> None:
        here = Found(repo, ailing=items, ails=frozenset(item.subject for item in items))
        with self._lock:
            self._step(repo, here, OF_THE_DAEMON)
            looks = [self._stepped[_key(one.name, repo, OF_THE_DAEMON)] for one in self.subscriptions]
        until = min((due for _, _, due in looks if due is not None), default=None)
        with self._moment:
            self._next_looks.pop(repo, None)
            if until is not None:
                self._next_looks[repo] = (looks[0][1], until)

    def _flush(self) -> None:
        with self._lock:
            self._post([], self._clock())

    def _broke_off(self, error: Exception) -> None:
        self._warn(reason("notify/broke-off", problem=one_line(f"{type(error).__name__}: {error}")))

    # -- with the lock held ------------------------------------------------------------------------------

    def _found(self, report: Report, is_whole: bool) -> Found:
        last = self._last.get(report.repo)
        if last is not None and is_whole and _is_the_same(last[0], report):
            return last[1]
        here = self._repos[report.repo](report)
        here = here if is_whole else replace(here, is_whole=False)
        self._last[report.repo] = (report, here)
        return here

    def _step(self, repo: str, here: Found, stream: str = "") -> None:
        now = self._clock()
        posted: list[Posted] = []
        for one in self.subscriptions:
            key = _key(one.name, repo, stream)
            if self._is_known(key, here, now):
                continue
            told = self._told_before(key)
            after, items = step(told, here, one.taste, now)
            self._told[key] = after
            self._stepped[key] = (here, now, due(after, one.taste))
            if items:
                posted += self._messages(one, repo, items, now)
            if after != told:
                self._unnoted[key] = told_text(after)
        self._post(posted, now)

    def _is_known(self, key: str, here: Found, now: datetime) -> bool:
        """Whether the very same was found at the last step, and time alone changes nothing of it."""
        last, at, until = self._stepped.get(key, (None, now, None))
        return last is here and at <= now and (until is None or now < until)

    def _told_before(self, key: str) -> Told:
        known = self._told.get(key)
        if known is not None:
            return known
        try:
            kept = self._store.told(key)
        except AutomatorError:  # told once more is better than not told
            return Told()
        return Told() if kept is None else read_told(kept)

    def _messages(self, one: Subscription, repo: str, items: tuple[Item, ...], now: datetime) -> list[Posted]:
        parts = [(item,) for item in items] if one.receiver.takes_single_items else [items]
        made: list[Posted] = []
        for part in parts:
            try:
                told = message(repo, part, now, salt=one.name, words=one.words, mask=mask)
            except ConfigError as error:
                self._warn(error.reason)
                told = message(repo, part, now, salt=one.name, mask=mask)
            made.append(Posted(one.name, told.id, message_text(told)))
        return made

    def _post(self, posted: list[Posted], now: datetime) -> None:
        """Write messages and what was told down at once; what the disk does not take now is kept."""
        if not posted and not self._unnoted and not self._unposted:
            return
        every = [*self._unposted, *posted]
        try:
            dropped = self._store.post(every, self._unnoted.items(), now)
        except AutomatorError as error:
            if not self._unposted and posted:
                self._warn(reason("notify/not-kept", problem=error.reason.sentence))
            self._unposted = self._kept_in_memory(posted)
            return
        self._unposted, self._unnoted = [], {}
        self._forget_others()
        self.deliveries.count_waiting()
        for name, count in dropped.items():
            self.deliveries.count_dropped(name, count, f"{count} were too many ({KEPT} are kept) or too old")
        self.deliveries.wake({one.receiver for one in every})

    def _forget_others(self) -> None:
        """Forget receivers and config repos that are no more."""
        if self._kept_keys is None:
            return
        try:
            unsent = self._store.keep_messages_only_of(
                [one.name for one in self.subscriptions], self._kept_keys
            )
        except AutomatorError:  # whoever posts next finds out, too, and tells
            return
        self._kept_keys = None
        self._count_unnamed(unsent)

    def _count_unnamed(self, unsent: Mapping[str, int]) -> None:
        for name, count in unsent.items():
            problem = f"{count} waited, and the config names that receiver no more"
            self.deliveries.count_dropped(name, count, problem)

    def _kept_in_memory(self, posted: list[Posted]) -> list[Posted]:
        """As many as memory may hold: the oldest go first, and of what came at once the last."""
        news = posted[:UNPOSTED]
        room = UNPOSTED - len(news)
        older = self._unposted[len(self._unposted) - min(room, len(self._unposted)) :]
        kept = [*older, *news]
        left = Counter(one.receiver for one in (*self._unposted, *posted))
        left.subtract(one.receiver for one in kept)
        for name, count in left.items():
            if count:
                self.deliveries.count_dropped(
                    name, count, f"{count} were too many ({UNPOSTED} are kept in memory)"
                )
        return kept


def _key(receiver: str, repo: str, stream: str) -> str:
    """Under which it is noted what a receiver was told: of a config repo, of the daemon's own troubles, or of
    a runtime."""
    return f"{receiver} {repo}{stream}"


def _items(wrong: Mapping[str, Reason]) -> tuple[Item, ...]:
    """Troubles of the daemon, by subject, as they are told."""
    return tuple(
        Item(Kind.TROUBLE, subject, why.code, why.sentence, why.code, why.next_step)
        for subject, why in sorted(wrong.items())
    )


def _of_runtime(runtime: str) -> str:
    return f" runtime {runtime}"


def _is_the_same(last: Report, report: Report) -> bool:
    return (
        last.outcomes is report.outcomes and last.warnings == report.warnings and last.error == report.error
    )


# -- from the config ---------------------------------------------------------------------------------------


def open_notices(
    config: Config,
    store: Store,
    forges: Mapping[str, Forge],
    clock: Callable[[], datetime],
    warn: Callable[[Reason], None] = lambda _: None,
) -> Notices | None:
    """Those whom the config wants told; None where it names nobody. Nothing is sent before `start`.

    Raises ConfigError (`notify/template`, `notify/no-extra`).
    """
    if not config.notify:
        return None
    subscriptions = subscriptions_of(config)
    repos = {name: _finder(config, name, forges) for name in config.repos}
    runtimes = {name: config.repo_of(name) for name in config.runtimes}
    return Notices(store, subscriptions, repos, clock, warn, runtimes)


def subscriptions_of(config: Config) -> tuple[Subscription, ...]:
    """The receivers of the config. Raises ConfigError (`notify/template`, `notify/no-extra`)."""
    outside = Outside.of(os.environ)
    return tuple(_subscription(config, name, one, outside) for name, one in config.notify.items())


def try_words(config: Config) -> None:
    """Make sure that the templates of all receivers work. Raises ConfigError (`notify/template`)."""
    for one in config.notify.values():
        try_out(Words(one.title, one.text))


def _subscription(config: Config, name: str, one: NotifyConfig, outside: Outside) -> Subscription:
    taste = Taste(
        frozenset(map(Kind, one.events)),
        one.repos,
        one.owners,
        one.environments,
        one.workloads,
        one.stale_after,
        one.remind_after,
    )
    words = Words(one.title, one.text)
    try_out(words)
    return Subscription(name, taste, words, _receiver(config, name, one, outside))


def _receiver(config: Config, name: str, one: NotifyConfig, outside: Outside) -> Receiver:
    seconds = one.timeout.total_seconds()
    if one.url_file is not None:
        if not has_apprise():
            raise ConfigError(reason("notify/no-extra", name=name))
        return ChatReceiver(str(one.url_file), seconds)
    assert one.webhook is not None  # the config was refused otherwise
    url = config.daemon.public_url
    return WebhookReceiver(
        one.webhook,
        seconds,
        one.format,
        None if one.secret_file is None else str(one.secret_file),
        None if one.token_file is None else str(one.token_file),
        "urn:automator" if url is None else f"{url}/repos",
        Trust(None if one.ca_file is None else str(one.ca_file), bundle=outside.bundle),
        outside,
    )


def _finder(config: Config, name: str, forges: Mapping[str, Forge]) -> Callable[[Report], Found]:
    place = config.forge_of(name)
    actor = config.repos[name].author.name

    def page(commit: str) -> str | None:
        return None if place is None else forges[place[0]].commit_page(place[1], commit)

    return lambda report: found(report, page=page, actor=actor)
