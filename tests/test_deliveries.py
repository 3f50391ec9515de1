"""The way of a message: written down, sent by a thread of its receiver, and gone once it was taken."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from parts.hanging import hanging
from parts.receivers import SECRET, Inbox, inbox
from parts.registry import Received, Reply
from parts.world import until

from automator.app.announce import Announcer
from automator.app.deliveries import Deliveries, Tally
from automator.app.errands import Errands
from automator.app.notices import UNPOSTED, Notices, Subscription
from automator.core.notice import Item, Kind, Taste, found
from automator.core.noticetext import Words, message, message_text, read_message
from automator.core.report import Outcome, Report
from automator.edges.notify import WebhookReceiver
from automator.edges.store import Posted, Store
from automator.edges.store.outbox import DAYS, KEPT
from automator.errors import ConfigError
from automator.reasons import Reason, Status, reason

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "state") as made:
        yield made


@pytest.fixture
def hook() -> Iterator[Inbox]:
    with inbox() as made:
        yield made


def receiver(folder: Path, hook: Inbox) -> WebhookReceiver:
    (folder / "hook-token").write_text(SECRET)
    return WebhookReceiver(hook.url, 600.0, secret_file=str(folder / "hook-token"))


def post(store: Store, *names: str, to: str = "hook", now: datetime = NOON) -> dict[str, int]:
    made = [message("shop", (Item(Kind.TROUBLE, name, name, name),), NOON, salt=to) for name in names]
    return store.post([Posted(to, one.id, message_text(one)) for one in made], (), now)


def subjects(hook: Inbox) -> list[str]:
    return [item["subject"] for item in hook.items()]


def test_who_is_busy_is_asked_again_when_it_says_and_in_order(
    tmp_path: Path, store: Store, hook: Inbox
) -> None:
    told: list[Reason] = []
    hook.replies = [Reply(429, headers={"Retry-After": "1"})]
    post(store, "first", "second")
    sending = Deliveries(store, {"hook": receiver(tmp_path, hook)}, lambda: NOON, told.append)
    sending.start()
    until(lambda: store.waiting_messages() == {}, "both messages")
    assert subjects(hook) == ["first", "second"]
    assert sending.close(20)
    (tally,) = sending.tallies()
    assert (tally.sent, tally.failed, tally.dropped, tally.queued) == (2, 1, 0, 0)
    assert [why.code for why in told] == ["notify/failed", "notify/reached"]


def test_what_is_refused_for_good_is_dropped_loudly_and_stops_nothing(
    tmp_path: Path, store: Store, hook: Inbox
) -> None:
    told: list[Reason] = []
    hook.replies = [Reply(400)]
    post(store, "first", "second")
    sending = Deliveries(store, {"hook": receiver(tmp_path, hook)}, lambda: NOON, told.append)
    sending.start()
    until(lambda: store.waiting_messages() == {}, "an end of the queue")
    assert sending.close(20)
    assert subjects(hook) == ["second"]
    assert [(why.code, "400" in why.sentence) for why in told] == [("notify/refused", True)]
    assert sending.tallies()[0].dropped == 1


def test_a_receiver_that_hangs_holds_up_nobody_and_its_message_stays(
    tmp_path: Path, store: Store, hook: Inbox
) -> None:
    with inbox() as slow:
        slow.replies = [Reply(silent=True)]
        post(store, "news", to="slow")
        post(store, "news")
        both = {"slow": receiver(tmp_path, slow), "hook": receiver(tmp_path, hook)}
        sending = Deliveries(store, both, lambda: NOON)
        sending.start()
        until(lambda: hook.taken and slow.server.received, "the one that does not hang")
        assert not sending.close(0.1), "it is left behind"
    assert store.waiting_messages() == {"slow": 1}


def test_the_stop_does_not_wait_for_who_is_down(tmp_path: Path, store: Store, hook: Inbox) -> None:
    sending = Deliveries(store, {"hook": receiver(tmp_path, hook)}, lambda: NOON)
    sending.start()
    hook.down = True
    post(store, "first", "second")
    sending.wake({"hook"})
    until(lambda: hook.server.received, "a try")
    assert sending.close(20)
    assert store.waiting_messages() == {"hook": 2}


def test_what_waits_is_bounded_in_number_and_age(store: Store) -> None:
    assert post(store, *(f"n{n}" for n in range(KEPT))) == {}
    assert post(store, "one more", "and more") == {"hook": 2}
    assert store.waiting_messages() == {"hook": KEPT}
    assert post(store, "other", to="other") == {}
    late = NOON + timedelta(days=DAYS, seconds=1)
    assert store.drop_old_messages("hook", late) == KEPT
    assert store.waiting_messages() == {"other": 1}


def test_of_what_comes_at_once_the_first_are_kept(store: Store) -> None:
    post(store, "old")
    assert post(store, *(f"n{n}" for n in range(KEPT + 3))) == {"hook": 4}
    kept, seq = [], 0
    while (one := store.first_message("hook", after=seq)) is not None:
        seq = one.seq
        kept.append(read_message(one.text).items[0]["subject"])
    assert kept == [f"n{n}" for n in range(KEPT)]


def test_a_message_that_is_refused_each_time_holds_up_none_of_the_others(
    tmp_path: Path, store: Store, hook: Inbox
) -> None:
    """As a mail server that takes no such mail does: it says "later" for ever."""
    told: list[Reason] = []
    whole = hook.behave

    def refusing(received: Received) -> Reply:
        poison = b'"subject":"poison"' in received.body
        return Reply(503, headers={"Retry-After": "1"}) if poison else whole(received)

    hook.server.behave = refusing
    post(store, "poison", "second", "third", "fourth", "fifth")
    seconds = iter(range(0, 100_000, 50))
    sending = Deliveries(
        store, {"hook": receiver(tmp_path, hook)}, lambda: NOON, told.append, lambda: next(seconds)
    )
    sending.start()
    until(lambda: store.waiting_messages() == {}, "an end of the queue")
    assert sending.close(20_000)
    assert subjects(hook) == ["second", "third", "fourth", "fifth"]
    assert [why.code for why in told] == ["notify/failed", "notify/refused"]
    assert "503, while it took others" in told[-1].sentence
    assert sending.tallies()[0].dropped == 1


def test_a_receiver_that_was_down_for_long_loses_nothing(tmp_path: Path, store: Store, hook: Inbox) -> None:
    hook.replies = [Reply(503, headers={"Retry-After": "1"})] * 23
    post(store, "first", "second", "third")
    seconds = iter(range(0, 100_000, 50))
    sending = Deliveries(
        store, {"hook": receiver(tmp_path, hook)}, lambda: NOON, monotonic=lambda: next(seconds)
    )
    sending.start()
    until(lambda: store.waiting_messages() == {}, "an end of the queue")
    assert sending.close(20_000)
    assert sorted(subjects(hook)) == ["first", "second", "third"]


WRITES = ("drop_message", "drop_old_messages", "post", "keep_messages_only_of")


class FullDisk:
    """The store, while nothing can be written to it."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.is_full = True

    def __getattr__(self, name: str) -> object:
        if self.is_full and name in WRITES:
            return self._refuse
        return getattr(self.store, name)

    def _refuse(self, *_: object) -> None:
        raise ConfigError(reason("state/unusable", folder="/state", problem="full"))


def test_on_a_full_disk_each_message_is_sent_once(tmp_path: Path, store: Store, hook: Inbox) -> None:
    post(store, "first", "second")
    disk = FullDisk(store)
    sending = Deliveries(disk, {"hook": receiver(tmp_path, hook)}, lambda: NOON)  # type: ignore[arg-type]
    sending.start()
    until(lambda: len(hook.taken) == 2, "both messages")
    assert sending.close(20)
    assert subjects(hook) == ["first", "second"]
    assert (sending.tallies()[0].sent, sending.tallies()[0].failed) == (2, 0)
    disk.is_full = False
    later = Deliveries(store, {"hook": receiver(tmp_path, hook)}, lambda: NOON)
    later.start(sending)
    until(lambda: store.waiting_messages() == {}, "an empty outbox")
    assert later.close(20)
    assert subjects(hook) == ["first", "second"]


def test_a_new_config_waits_for_what_is_just_being_sent(tmp_path: Path, store: Store, hook: Inbox) -> None:
    asked, go_on, whole = threading.Event(), threading.Event(), hook.behave

    def slow(received: Received) -> Reply:
        asked.set()
        assert go_on.wait(30)
        return whole(received)

    hook.server.behave = slow
    post(store, "first", "second")
    old = Deliveries(store, {"hook": receiver(tmp_path, hook)}, lambda: NOON)
    old.start()
    assert asked.wait(30)
    assert not old.close(0.01), "it is still sending"
    new = Deliveries(store, {"hook": receiver(tmp_path, hook)}, lambda: NOON)
    new.start(old)
    go_on.set()
    until(lambda: store.waiting_messages() == {}, "an empty outbox")
    assert new.close(20)
    assert subjects(hook) == ["first", "second"]


def test_what_the_disk_did_not_take_is_told_by_the_next_config(
    tmp_path: Path, store: Store, hook: Inbox
) -> None:
    disk = FullDisk(store)
    one = Subscription("hook", Taste(), Words(), receiver(tmp_path, hook))
    old = Notices(disk, (one,), {"shop": found}, lambda: NOON)  # type: ignore[arg-type]
    old.tell(failed())
    assert old.close(20)
    assert store.waiting_messages() == {}
    new = Notices(store, (one,), {"shop": found}, lambda: NOON)
    new.start(old)
    new.tell(failed())
    assert new.close(20)
    assert hook.kinds() == [("failed", "web")]


def test_a_config_that_is_taken_on_a_full_disk_forgets_others_when_there_is_room(
    tmp_path: Path, store: Store, hook: Inbox
) -> None:
    post(store, "news", to="gone")
    disk = FullDisk(store)
    one = Subscription("hook", Taste(), Words(), receiver(tmp_path, hook))
    new = Notices(disk, (one,), {"shop": found}, lambda: NOON)  # type: ignore[arg-type]
    new.start()
    assert store.waiting_messages() == {"gone": 1}
    disk.is_full = False
    new.tell(failed())
    assert new.close(20)
    assert store.waiting_messages() == {}
    assert hook.kinds() == [("failed", "web")]


def test_a_mass_of_failures_is_kept_or_counted(tmp_path: Path, store: Store, hook: Inbox) -> None:
    told: list[Reason] = []
    single = WebhookReceiver(hook.url, 600.0, "cloudevents")
    one = Subscription("hook", Taste(), Words(), single)
    why = reason("push/refused", after="1.4.3", words="no")
    every = tuple(
        Outcome(f"web-{n:03}", Status.FAILED, why, "ghcr.io/acme/web") for n in range(UNPOSTED + 50)
    )
    many = Report("shop", "interval", NOON, NOON, "abc", None, every)
    kept = Notices(store, (one,), {"shop": found}, lambda: NOON, told.append)
    kept.tell(many)
    assert (store.waiting_messages(), told) == ({"hook": UNPOSTED + 50}, [])
    one = replace(one, name="other")
    full = Notices(FullDisk(store), (one,), {"shop": found}, lambda: NOON, told.append)  # type: ignore[arg-type]
    full.tell(many)
    assert [why.code for why in told] == ["notify/not-kept", "notify/dropped"]
    assert "50 were too many" in told[-1].sentence
    assert full.tallies()[0].dropped == 50


def test_the_same_message_waits_once(store: Store) -> None:
    post(store, "news")
    post(store, "news")
    assert store.waiting_messages() == {"hook": 1}


# -- with what was told ------------------------------------------------------------------------------------


def notices(store: Store, folder: Path, hook: Inbox, name: str = "hook") -> Notices:
    one = Subscription(name, Taste(), Words(), receiver(folder, hook))
    made = Notices(store, (one,), {"shop": found}, lambda: NOON)
    made.start()
    return made


def failed(words: str = "no") -> Report:
    why = reason("push/refused", after="1.4.3", words=words)
    outcome = Outcome("web", Status.FAILED, why, "ghcr.io/acme/web")
    return Report("shop", "interval", NOON, NOON, "abc", None, (outcome,))


def test_a_restart_tells_nothing_twice_and_forgets_who_is_no_more(
    tmp_path: Path, store: Store, hook: Inbox
) -> None:
    for _ in range(2):
        made = notices(store, tmp_path, hook)
        made.tell(failed())
        assert made.close(20)
    assert hook.kinds() == [("failed", "web")]
    notices(store, tmp_path, hook, "other").close(20)
    made = notices(store, tmp_path, hook)
    made.tell(failed())
    assert made.close(20)
    assert hook.kinds() == [("failed", "web")] * 2, "it was forgotten, and is told anew"


def test_a_trouble_of_the_daemon_is_told_once_with_its_end_even_by_the_next_process(
    tmp_path: Path, store: Store, hook: Inbox
) -> None:
    why = reason("daemon/bug", repo="shop", error="KeyError: token=hunter2")
    made = notices(store, tmp_path, hook)
    announcer = Announcer(store, lambda _: None, made)
    for _ in range(2):
        announcer.alarm("config", why)
        announcer.alarm("cycle", why, "shop")
    reloaded = Notices(store, made.subscriptions, {"shop": found}, lambda: NOON)
    announcer.take(reloaded)
    for _ in range(2):
        announcer.all_clear("cycle", "shop")
    assert reloaded.close(20)
    assert notices(store, tmp_path, hook).close(20)
    kinds = [("trouble", "config"), ("trouble", "cycle"), ("recovered", "cycle"), ("recovered", "config")]
    assert hook.kinds() == kinds
    assert [body["repo"] for body in hook.taken] == [None, "shop", "shop", None]
    assert "hunter2" not in str(hook.taken)


STUCK = reason("daemon/stuck", repo="shop", time="30m")


class Daemon:
    """The announcer of a daemon whose clock the test sets, with one receiver."""

    def __init__(self, store: Store, folder: Path, hook: Inbox) -> None:
        self.now = NOON
        taste = Taste(remind_after=timedelta(days=1))
        one = Subscription("hook", taste, Words(), receiver(folder, hook))
        self.notices = Notices(store, (one,), {"shop": found}, lambda: self.now)
        self.announcer = Announcer(store, lambda _: None, self.notices)
        self.announcer.begin()
        self.hook = hook

    def waits(self, *kinds: str, by: timedelta = timedelta(0)) -> timedelta:
        """Until so much was told; `by` this the clock goes on at each look. For how long it did."""
        began = self.now

        def has_told() -> bool:
            self.announcer.tend()
            if len(self.hook.kinds()) >= len(kinds):
                return True
            self.now += by
            return False

        until(has_told, "the message")
        assert [kind for kind, _ in self.hook.kinds()] == list(kinds)
        return self.now - began


def test_a_trouble_of_the_daemon_that_came_back_has_an_end_and_one_that_goes_on_is_told_again(
    tmp_path: Path, store: Store, hook: Inbox
) -> None:
    daemon = Daemon(store, tmp_path, hook)
    daemon.announcer.alarm("config", STUCK)
    daemon.waits("trouble")
    daemon.announcer.all_clear("config")
    daemon.waits("trouble", "recovered")
    daemon.now += timedelta(minutes=10)
    daemon.announcer.alarm("config", STUCK)
    daemon.waits("trouble", "recovered", "trouble")
    daemon.announcer.all_clear("config")
    told = ["trouble", "recovered"] * 2
    calm = daemon.waits(*told, by=timedelta(minutes=1))
    assert calm >= timedelta(minutes=15), "it had come back within the hour"
    daemon.now += timedelta(days=2)
    daemon.announcer.alarm("config", STUCK)
    daemon.waits(*told, "trouble")
    daemon.waits(*told, "trouble", "trouble", by=timedelta(hours=1))
    assert [item["turn"] for item in hook.items()[-2:]] == ["begun", "still"]
    assert daemon.notices.close(20)


def test_a_receiver_that_is_new_hears_what_is_wrong_with_the_daemon(
    tmp_path: Path, store: Store, hook: Inbox
) -> None:
    announcer = Announcer(store, lambda _: None)
    announcer.alarm("cycle", STUCK, "shop")
    one = Subscription("hook", Taste(), Words(), receiver(tmp_path, hook))
    made = Notices(store, (one,), {"shop": found}, lambda: NOON)
    announcer.take(made)
    assert made.close(20)
    assert [(*each, body["repo"]) for each, body in zip(hook.kinds(), hook.taken, strict=True)] == [
        ("trouble", "cycle", "shop")
    ]


def test_while_the_state_folder_hangs_neither_alarms_nor_numbers_nor_the_end_wait_for_it(
    tmp_path: Path, store: Store, hook: Inbox
) -> None:
    hook.replies = [Reply(429, headers={"Retry-After": "1"})]
    daemon = Daemon(store, tmp_path, hook)
    daemon.notices.tell(failed())
    until(lambda: hook.server.received, "a try")
    with hanging(store):
        daemon.announcer.alarm("cycle", STUCK, "shop")
        daemon.announcer.tend()
        assert [one.queued for one in daemon.notices.tallies()] == [1], "as it was counted last"
    daemon.waits("failed", "trouble")
    with hanging(store):
        daemon.announcer.all_clear("cycle", "shop")
        assert not daemon.notices.close(0.1)


def test_messages_for_a_receiver_that_the_config_names_no_more_are_dropped_loudly(
    tmp_path: Path, store: Store, hook: Inbox
) -> None:
    told: list[Reason] = []
    post(store, "first", "second")
    one = Subscription("renamed", Taste(), Words(), receiver(tmp_path, hook))
    made = Notices(store, (one,), {"shop": found}, lambda: NOON, told.append)
    made.start()
    assert made.close(20)
    assert hook.taken == []
    assert [why.code for why in told] == ["notify/dropped"]
    assert "messages to hook were dropped: 2 waited" in told[0].sentence
    assert made.tallies() == (Tally("hook", 0, 0, 2, 0), Tally("renamed", 0, 0, 0, 0))


def test_an_errand_that_breaks_off_costs_none_of_the_others() -> None:
    done, broken = list[str](), list[Exception]()
    errands = Errands("test", broken.append)
    errands.leave(lambda: done.append("first"))
    errands.leave(lambda: done.remove("nothing"))
    errands.leave(lambda: done.append("last"))
    assert errands.close(20)
    assert (done, [type(error) for error in broken]) == (["first", "last"], [ValueError])
    errands.leave(lambda: done.append("too late"))
    assert done == ["first", "last"]
