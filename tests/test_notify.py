"""Messages as people get them: the program as a process, a real SMTP server, a receiver that verifies."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from parts.receivers import body_of, free_port, inbox, mailbox, table
from parts.registry import Reply
from parts.world import EmbeddedWorld, World

QUICK = 'listen = "127.0.0.1:0"\ninterval = "1s"'


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with EmbeddedWorld(tmp_path) as made:
        made.push("web", "1.0.0", "1.1.0")
        made.push("api", "1.0.0", "1.1.0")
        made.adopt("web", "api", owner="team-shop", environment="production")
        yield made


def test_once_tells_by_mail_and_by_webhook_what_it_released(world: World) -> None:
    with mailbox() as mail, inbox() as hook:
        (world.root / "mail-token").write_text(mail.url)
        chat = '[notify.mail]\nurl_file = "mail-token"\n'
        world.configure(more=chat + table("hook", world.root)(hook.url))
        world.run("once").fine()
        (message,) = mail.messages
        assert message["Subject"] == "shop: 2 released"
        said = body_of(message)
        assert "released: web 1.0.0 → 1.1.0 (production, team-shop) by automator" in said
        assert "released: api 1.0.0 → 1.1.0" in said
        (body,) = hook.taken
        assert (body["repo"], body["title"]) == ("shop", "shop: 2 released")
        assert hook.kinds() == [("released", "api"), ("released", "web")]
        assert hook.items()[1]["commit"] == world.repo.tip()
        world.run("once").fine()
        assert len(mail.messages) == len(hook.taken) == 1, "what was told is told once"


def test_a_receiver_that_is_down_gets_it_later_from_another_process(world: World) -> None:
    with inbox() as hook:
        hook.down = True
        world.configure(more=table("hook", world.root)(hook.url), daemon='listen = ""\nstop_timeout = "5s"')
        done = world.run("once").fine()
        assert "the receiver hook could not be told: it answered 503" in done.err
        assert world.version("web") == "1.1.0"
        hook.down = False
        world.run("once").fine()
        assert hook.kinds() == [("released", "api"), ("released", "web")]


def test_a_daemon_killed_before_it_could_deliver_delivers_after_its_restart(world: World) -> None:
    with inbox() as hook:
        hook.down = True
        world.configure(more=table("hook", world.root)(hook.url), daemon=QUICK)
        with world.start("run") as daemon:
            daemon.until(lambda: "notify/failed" in daemon.text, "a try that failed")
            daemon.send(signal.SIGKILL)
            daemon.process.wait()
        tried = {received.headers["webhook-id"] for received in hook.server.received}
        hook.down = False
        with world.start("run") as daemon:
            daemon.until(lambda: hook.taken, "the message")
            daemon.until(daemon.cycles, "a cycle")
            assert daemon.end() == 0
        assert hook.kinds() == [("released", "api"), ("released", "web")]
        assert set(hook.ids) == tried, "the same message has the same id"


@pytest.mark.slow
def test_a_receiver_that_hangs_delays_neither_another_nor_the_stop(world: World) -> None:
    with inbox() as slow, inbox() as hook:
        slow.replies = [Reply(silent=True)] * 9
        tables = table("slow", world.root, 'timeout = "1h"')(slow.url) + table("hook", world.root)(hook.url)
        world.configure(more=tables, daemon=QUICK)
        with world.start("run") as daemon:
            daemon.until(lambda: slow.server.received, "the question that hangs")
            daemon.until(lambda: hook.taken, "the message to the other one")
            world.push("web", "1.2.0")
            daemon.until(lambda: world.version("web") == "1.2.0", "another release")
            assert daemon.end() == 0
            assert len(slow.server.received) == 1


def test_a_failure_is_told_once_and_so_is_its_end(world: World) -> None:
    refuse = world.repo.path / "hooks" / "pre-receive"
    refuse.parent.mkdir(exist_ok=True)
    refuse.write_text('#!/bin/sh\necho "no releases @channel today" >&2\nexit 1\n')
    refuse.chmod(0o755)
    with inbox() as hook:
        world.configure(more=table("hook", world.root, 'workloads = ["web"]')(hook.url))
        for _ in range(2):
            assert world.run("once", "--workload", "web").code == 1
        assert hook.kinds() == [("failed", "web")]
        (item,) = hook.items()
        assert "no releases @channel today" in item["sentence"]
        assert "@" not in hook.taken[0]["text"]
        refuse.unlink()
        world.push("web", "1.1.1")
        world.run("once", "--workload", "web").fine()
        assert hook.kinds()[1:] == [("recovered", "web"), ("released", "web")]


def test_a_registry_that_gives_no_answer_is_told_after_a_while(tmp_path: Path) -> None:
    world = World(tmp_path, f"127.0.0.1:{free_port()}")
    world.adopt("web", owner="team-shop")
    with inbox() as hook:
        more = 'stale_after = "2s"\nowners = ["team-*"]'
        world.configure(more=table("hook", world.root, more)(hook.url), daemon=QUICK)
        with world.start("run") as daemon:
            daemon.until(lambda: hook.taken, "the message")
            assert daemon.end() == 0
    assert hook.kinds() == [("silent", f"registry {world.host}")]
    (item,) = hook.items()
    assert (item["workloads"], item["code"].partition("/")[0]) == (["web"], "registry")


def test_notify_test_tells_of_each_receiver(world: World) -> None:
    with mailbox() as mail, inbox() as hook:
        (world.root / "mail-token").write_text(mail.url)
        gone = table("gone", world.root)(f"http://127.0.0.1:{free_port()}/x")
        chat = '[notify.mail]\nurl_file = "mail-token"\n'
        world.configure(more=chat + table("hook", world.root)(hook.url) + gone)
        assert world.run("notify", "test", "mail").fine().out == "mail: it was taken\n"
        assert mail.messages[0]["Subject"].startswith("automator: test: ")
        done = world.run("notify", "test", "--output", "json")
        assert done.code == 1
        told = {one["receiver"]: (one["ok"], one["words"]) for one in done.json}
        assert told["mail"] == (True, "it was taken")
        assert told["hook"] == (True, "it answered 204")
        assert told["gone"][0] is False
        assert "Connection refused" in told["gone"][1]
        unknown = world.run("notify", "test", "nobody")
        assert unknown.code == 2
        assert "no receiver named nobody; it has gone, hook, mail" in unknown.err


def test_a_receiver_that_cannot_work_is_refused_at_the_start(world: World) -> None:
    world.configure(more=table("hook", world.root, 'text = "{{ nothing }}"')("http://127.0.0.1:1/x"))
    done = world.run("once")
    assert done.code == 2
    assert "the template of notifications cannot be used: 'nothing' is undefined" in done.err
    judged = world.run("check", str(world.root))
    assert judged.code == 2, "the gate finds it before the daemon does"
    assert "'nothing' is undefined" in judged.err
    assert world.version("web") == "1.0.0"
