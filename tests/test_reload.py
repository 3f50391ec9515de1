"""A config that changes while the daemon runs, and cycles that get stuck: as a real process."""

from __future__ import annotations

import fcntl
import gc
import os
import signal
import socket
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from parts.gitserver import BareRepo
from parts.receivers import inbox, table
from parts.registry import HostileServer, Reply, always
from parts.world import EmbeddedWorld, Running, World, deployment, processes, until

from automator.app.configwatch import AGAIN, ConfigSource, rehearse
from automator.app.serve import Serving, _patience
from automator.app.starting import opened
from automator.bell import Bell
from automator.config import Config, load
from automator.errors import ConfigError

QUICK = 'listen = "127.0.0.1:0"\ninterval = "1s"'
SLOW = 'listen = "127.0.0.1:0"\ninterval = "1h"'


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with EmbeddedWorld(tmp_path) as made:
        made.push("web", "1.0.0")
        made.adopt("web")
        made.configure(daemon=SLOW)
        yield made


def told(daemon: Running, code: str) -> list[str]:
    """What the log says under a code."""
    return [line["event"] for line in daemon.lines if line.get("code") == code]


def replace(world: World, text: str) -> None:
    """Put another config in the place of the one that there is, as a whole."""
    aside = world.root / "config.new"
    aside.write_text(text)
    aside.rename(world.config)


@pytest.mark.slow
def test_a_broken_config_is_told_and_the_old_one_stays_until_it_is_mended(world: World) -> None:
    with inbox() as hook, world.start("run") as daemon:
        daemon.until(daemon.cycles, "the first cycle")
        events = 'events = ["trouble", "recovered"]'
        good = world.config.read_text() + table("hook", world.root, events)(hook.url)
        replace(world, good)
        daemon.until(lambda: told(daemon, "reload/done"), "the first receiver")
        replace(world, good + '[notify.team]\nwebhook = "ftp://example.com"\n')
        daemon.until(lambda: told(daemon, "reload/refused"), "the refusal, without a signal")
        (said,) = told(daemon, "reload/refused")
        assert "the old one stays" in said
        daemon.until(lambda: hook.kinds() == [("trouble", "config")], "the message")
        assert "notify.team" in said
        assert 'automator_config_reloads_total{result="refused"} 1.0' in daemon.get("/metrics").text
        health = daemon.get("/healthz")
        assert (health.status_code, "the new one cannot be used" in health.json()["words"]) == (200, True)
        process = daemon.get("/api/v1/daemon").json()
        assert "notify.team" in process["config_refused"]["sentence"]
        assert process["config_refused_at"] > process["config_taken_at"]
        assert "the old one stays" in daemon.get("/").text, "on the dashboard"
        world.push("web", "1.1.0")
        daemon.send(signal.SIGUSR1)
        daemon.until(lambda: world.version("web") == "1.1.0", "a release by the old config")
        assert len(told(daemon, "reload/refused")) == 1, "told once"
        daemon.send(signal.SIGHUP)
        daemon.until(lambda: len(told(daemon, "reload/refused")) == 2, "told again, since somebody asks")
        replace(world, good.replace('"1h"', '"1s"'))
        daemon.until(lambda: len(told(daemon, "reload/done")) == 2, "the mended one")
        daemon.until(lambda: hook.kinds() == [("trouble", "config"), ("recovered", "config")], "its end")
        world.push("web", "1.2.0")
        daemon.until(lambda: world.version("web") == "1.2.0", "a release at the new interval")
        assert "cannot be used" not in daemon.get("/healthz").json()["words"]
        after = daemon.get("/api/v1/daemon").json()
        assert after["config_refused"] is after["config_refused_at"] is None
        assert after["config_taken_at"] > process["config_taken_at"]
        assert "the old one stays" not in daemon.get("/").text
        assert daemon.end() == 0
    assert "Traceback" not in daemon.text


@pytest.mark.slow
def test_a_config_file_that_is_gone_changes_nothing_and_is_told_until_it_is_back(world: World) -> None:
    with world.start("run") as daemon:
        daemon.until(daemon.cycles, "the first cycle")
        aside = world.config.rename(world.root / "config.aside")
        daemon.until(lambda: told(daemon, "reload/refused"), "the word that it is gone")
        assert "there is no config file" in told(daemon, "reload/refused")[0]
        assert "there is no config file" in daemon.get("/").text
        world.push("web", "1.1.0")
        daemon.send(signal.SIGUSR1)
        daemon.until(lambda: world.version("web") == "1.1.0", "a release by what was read before")
        aside.rename(world.config)
        daemon.until(lambda: told(daemon, "reload/done"), "the same file, back")
        assert "nothing" in told(daemon, "reload/done")[0]
        assert daemon.get("/api/v1/daemon").json()["config_refused"] is None
        assert daemon.end() == 0
    assert "Traceback" not in daemon.text


@pytest.mark.slow
def test_config_repos_come_and_go_and_the_listener_stays(world: World, tmp_path: Path) -> None:
    good = world.config.read_text()
    other = BareRepo.create(tmp_path / "git" / "other.git")
    files = {world.manifest("web"): deployment(world.image("web", "1.0.0"), "web")}
    other.commit({**files, "policies/shop.yaml": world.policy("web")}, "Adopt")
    with world.start("run") as daemon:
        daemon.until(daemon.cycles, "the first cycle")
        port = daemon.port
        world.push("web", "1.1.0")
        replace(world, f'{good}\n[repos.other]\nurl = "{other.path}"\n')
        daemon.send(signal.SIGHUP)
        daemon.until(
            lambda: "1.1.0" in other.read(world.manifest("web")), "the new one's first cycle, at once"
        )
        daemon.until(lambda: 'repo="other"' in daemon.get("/metrics").text, "its numbers")
        assert daemon.port == port
        replace(world, good)
        daemon.until(lambda: len(told(daemon, "reload/done")) == 2, "the second config, without a signal")
        assert 'repo="other"' not in daemon.get("/metrics").text
        assert daemon.get("/readyz").status_code == 200
        world.push("web", "1.2.0")
        daemon.send(signal.SIGUSR1)
        daemon.until(lambda: world.version("web") == "1.2.0", "a release")
        assert daemon.end() == 0
        assert "repos.other" in told(daemon, "reload/done")[0]
        assert "Traceback" not in daemon.text
    assert "1.2.0" not in other.read(world.manifest("web")), "nobody works for it any more"
    assert world.repo.log() == ["Release web 1.2.0", "Release web 1.1.0", "Adopt"]
    assert processes(mentioning=str(world.state)) == []


@pytest.mark.slow
def test_a_mounted_config_that_is_exchanged_by_its_link_is_seen(world: World) -> None:
    text = world.config.read_text().replace('state = "state"', f'state = "{world.state}"')
    for name, interval in (("..one", "1h"), ("..two", "1s")):
        (world.root / name).mkdir()
        file = world.root / name / "config.toml"
        file.write_text(text.replace('"1h"', f'"{interval}"'))
        os.utime(file, (0, 0))
    (world.root / "..data").symlink_to("..one")
    world.config.unlink()
    world.config.symlink_to("..data/config.toml")
    with world.start("run") as daemon:
        daemon.until(daemon.cycles, "the first cycle")
        (world.root / "..next").symlink_to("..two")
        (world.root / "..next").rename(world.root / "..data")
        daemon.until(lambda: told(daemon, "reload/done"), "the other folder's config")
        daemon.until(lambda: len(daemon.cycles()) >= 3, "cycles at the new interval")
        assert daemon.end() == 0


@pytest.mark.slow
def test_what_cannot_change_is_refused_by_its_name(world: World) -> None:
    good = world.config.read_text()
    with world.start("run") as daemon:
        daemon.until(daemon.cycles, "the first cycle")
        replace(world, good.replace('"state"', '"elsewhere"'))
        daemon.send(signal.SIGHUP)
        daemon.until(lambda: told(daemon, "reload/refused"), "the refusal")
        assert "state cannot change while automator runs" in told(daemon, "reload/refused")[0]
        replace(world, good.replace(str(world.repo.path), "gopher://example.com/shop"))
        daemon.until(lambda: len(told(daemon, "reload/refused")) == 2, "what only opening it shows")
        assert daemon.end() == 0
    assert not (world.root / "elsewhere").exists()


@pytest.mark.slow
def test_a_cycle_that_hangs_puts_a_new_config_off_and_is_ended_for_it(world: World) -> None:
    reached, opened = world.root / "reached", world.root / "opened"
    world.repo.hook("pre-receive", f'touch "{reached}"\nwhile [ ! -e "{opened}" ]; do sleep 0.02; done')
    world.push("web", "1.1.0")
    world.configure(daemon=f'{SLOW}\nstop_timeout = "1s"')
    text = world.config.read_text()
    with world.start("run") as daemon:
        daemon.until(reached.exists, "the push that hangs")
        replace(world, text + '[commit]\nsubject = "Deploy {{ workload }}"\n')
        daemon.send(signal.SIGHUP)
        daemon.until(lambda: told(daemon, "reload/done"), "the new config")
        lines = [line for line in daemon.lines if line.get("code") == "git/ended"]
        assert [(line.get("status"), line["level"]) for line in lines] == [
            ("waiting", "info"),
            (None, "info"),
        ]
        assert "pushing to main was ended by automator, since the config changed" in lines[0]["event"]
        assert 'result="failed"' not in daemon.get("/metrics").text, "nobody is to blame for that"
        opened.touch()
        daemon.send(signal.SIGUSR1)
        daemon.until(lambda: world.version("web") == "1.1.0", "the release")
        assert daemon.end() == 0
    assert world.repo.log() == ["Deploy web", "Adopt"]
    assert processes(mentioning=str(world.state)) == []


@pytest.mark.slow
def test_one_that_hangs_delays_no_other_while_a_config_waits_for_it(world: World, tmp_path: Path) -> None:
    other = BareRepo.create(tmp_path / "git" / "other.git")
    reached, opened = world.root / "reached", world.root / "opened"
    other.hook("pre-receive", f'touch "{reached}"\nwhile [ ! -e "{opened}" ]; do sleep 0.02; done')
    files = {world.manifest("web"): deployment(world.image("web", "1.0.0"), "web")}
    other.commit({**files, "policies/shop.yaml": world.policy("web")}, "Adopt")
    world.configure(daemon=f'{QUICK}\nstop_timeout = "5m"', more=f'[repos.other]\nurl = "{other.path}"')
    world.push("web", "1.1.0")
    text = world.config.read_text()
    with world.start("run") as daemon:
        daemon.until(reached.exists, "the push that hangs")
        daemon.until(lambda: world.version("web") == "1.1.0", "the release beside it")
        replace(world, text + '[commit]\nsubject = "Deploy {{ workload }}"\n')
        daemon.send(signal.SIGHUP)
        world.push("web", "1.2.0", "1.3.0")
        count = len(daemon.cycles())
        daemon.until(lambda: len(daemon.cycles()) > count + 5, "more cycles")
        daemon.until(lambda: world.version("web") == "1.3.0", "a release meanwhile")
        assert not told(daemon, "reload/done")
        opened.touch()
        daemon.until(lambda: told(daemon, "reload/done"), "the new config")
        world.push("web", "1.4.0")
        daemon.until(lambda: "1.4.0" in other.read(world.manifest("web")), "a release of who hung")
        assert daemon.end() == 0
    assert other.log()[0] == "Deploy web"
    assert not told(daemon, "reload/refused")


@pytest.mark.slow
def test_an_address_that_is_taken_brings_the_old_config_back_with_its_cycles(world: World) -> None:
    good = world.config.read_text()
    with socket.create_server(("127.0.0.1", 0)) as taken, world.start("run") as daemon:
        daemon.until(daemon.cycles, "the first cycle")
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        other = good.replace("127.0.0.1:0", address) + '[commit]\nsubject = "Deploy {{ workload }}"\n'
        replace(world, other)
        daemon.send(signal.SIGHUP)
        daemon.until(lambda: told(daemon, "reload/refused"), "the refusal")
        assert f"cannot listen on {address}" in told(daemon, "reload/refused")[0]
        assert daemon.get("/healthz").status_code == 200
        world.push("web", "1.1.0")
        daemon.send(signal.SIGUSR1)
        daemon.until(lambda: world.version("web") == "1.1.0", "a release")
        assert daemon.end() == 0
    assert world.repo.log() == ["Release web 1.1.0", "Adopt"], "in the words of the old config"


@pytest.mark.slow
def test_a_signal_while_it_starts_and_while_it_ends_kills_nobody(world: World) -> None:
    world.state.mkdir()
    with (world.state / "automator.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with world.start("run") as daemon:
            daemon.until(lambda: hears(daemon, signal.SIGHUP), "a process that waits for its state folder")
            daemon.send(signal.SIGHUP)
            fcntl.flock(lock, fcntl.LOCK_UN)
            daemon.until(daemon.cycles, "the first cycle")
            daemon.until(lambda: told(daemon, "reload/done"), "what the signal asked for")
            assert daemon.end() == 0


def hears(daemon: Running, number: signal.Signals) -> bool:
    """Whether a process has a handler for a signal."""
    lines = Path(f"/proc/{daemon.process.pid}/status").read_text().splitlines()
    caught = next(int(line.split()[1], 16) for line in lines if line.startswith("SigCgt"))
    return bool(caught >> (number - 1) & 1)


@pytest.mark.slow
def test_where_neither_config_can_be_opened_health_is_red_until_cycles_are_back(world: World) -> None:
    good = world.config.read_text()
    settings = world.state / "repos" / "shop.gitconfig"
    with world.start("run") as daemon:
        daemon.until(daemon.cycles, "the first cycle")
        settings.unlink()
        settings.mkdir()  # as on a disk that cannot be written
        replace(world, good + '[commit]\nsubject = "Deploy {{ workload }}"\n')
        daemon.send(signal.SIGHUP)
        daemon.until(lambda: told(daemon, "reload/no-cycles"), "the failure")
        health = daemon.get("/healthz")
        assert (health.status_code, "no cycle runs" in health.json()["words"]) == (503, True)
        world.push("web", "1.1.0")
        settings.rmdir()
        daemon.until(lambda: world.version("web") == "1.1.0", "the release, without a signal")
        assert daemon.get("/healthz").status_code == 200
        assert len(told(daemon, "reload/no-cycles")) == 1, "told once"
        daemon.send(signal.SIGHUP)
        daemon.until(lambda: told(daemon, "reload/done"), "the new config")
        assert daemon.end() == 0
    assert world.repo.log() == ["Release web 1.1.0", "Adopt"], "in the words of the old config"


def test_what_a_hook_left_running_keeps_nobody_from_a_new_config(world: World) -> None:
    world.repo.hook(
        "post-receive", f"setsid sleep 300 </dev/null >/dev/null 2>&1 &\necho $! > {world.root}/left"
    )
    world.push("web", "1.1.0")
    with world.start("run") as daemon:
        daemon.until(lambda: world.version("web") == "1.1.0", "the release")
        daemon.until(daemon.cycles, "the end of its cycle")
        try:
            replace(world, world.config.read_text() + '[commit]\nsubject = "Deploy {{ workload }}"\n')
            daemon.send(signal.SIGHUP)
            daemon.until(lambda: told(daemon, "reload/done"), "the new config")
        finally:
            os.kill(int((world.root / "left").read_text()), signal.SIGKILL)
        assert daemon.end() == 0


@contextmanager
def here(world: World) -> Iterator[Serving]:
    """The daemon of a world, in this process and without its loop."""
    serving = Serving(opened(config_of(world)), ConfigSource(lambda: config_of(world), world.config), Bell())
    serving._daemon.start()
    try:
        yield serving
    finally:
        serving._daemon.stop()
        serving._front.close()
        serving._now.desk.close()
        serving._now.app.close()


def test_what_was_built_from_an_earlier_config_is_let_go_of(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(world.root)
    good = world.config.read_text()
    with here(world) as serving:
        until(lambda: not serving._daemon.unready(), "the first cycle")
        earlier = weakref.ref(serving._now.app)
        (before,) = serving._now.desk.repos()
        replace(world, good + '[commit]\nsubject = "Deploy {{ workload }}"\n')
        serving._tend(True)
        until(
            lambda: serving._now.desk.repos()[0].finished_at != before.finished_at,
            "the next one's first cycle",
        )
        gc.collect()
        assert earlier() is None
        assert serving._now.app.config.commit.subject is not None


def test_a_config_that_something_is_in_the_way_of_is_tried_again_by_itself(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(world.root)
    text = world.config.read_text()
    with here(world) as serving:
        in_the_way = world.state / "rehearsal"
        in_the_way.write_text("")
        replace(world, text + '[commit]\nsubject = "Deploy {{ workload }}"\n')
        serving._tend(True)
        refused = serving._standing.view.config_refused
        assert refused is not None
        assert "the old one stays" in refused.sentence
        in_the_way.unlink()
        serving._tend(False)
        assert serving._now.app.config.commit.subject is None, "it is not its turn yet"
        assert serving._again_at is not None
        assert 0 < serving._again_at - time.monotonic() <= AGAIN
        serving._again_at = time.monotonic()
        until(lambda: serving._tend(False) or serving._now.app.config.commit.subject, "the new one")
        assert serving._standing.view.config_refused is None
        replace(world, text.replace('"state"', '"elsewhere"'))
        serving._tend(True)
        assert serving._again_at is None, "what only somebody can mend is not tried again"


def config_of(world: World) -> Config:
    return load(world.config, {}, require_repos=True)


def test_a_config_is_tried_in_the_state_folder_and_leaves_nothing_there(world: World) -> None:
    config = config_of(world)
    (config.state / "rehearsal" / "left").mkdir(parents=True)
    rehearse(config, config)
    assert list(config.state.iterdir()) == []
    config.state.rmdir()
    config.state.write_text("in the way")
    with pytest.raises(ConfigError) as caught:
        rehearse(config, config)
    assert caught.value.reason.code == "state/unusable"


# -- stuck -----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_stuck_cycle_is_ended_and_told_with_its_stack(world: World) -> None:
    reached, opened = world.root / "reached", world.root / "opened"
    world.repo.hook("pre-receive", f'touch "{reached}"\nwhile [ ! -e "{opened}" ]; do sleep 0.02; done')
    world.push("web", "1.1.0")
    world.configure(daemon=f'{QUICK}\nstuck_after = "4s"')
    with world.start("run") as daemon:
        daemon.until(lambda: told(daemon, "daemon/stuck"), "the watchdog")
        (line,) = [line for line in daemon.lines if line.get("code") == "daemon/stuck"][:1]
        assert "checkout/git.py" in line["stack"]
        assert "may take 2m" in told(daemon, "daemon/impatient")[0]
        opened.touch()
        daemon.until(lambda: world.version("web") == "1.1.0", "the release, by a later cycle")
        assert daemon.end() == 0
    assert world.repo.log() == ["Release web 1.1.0", "Adopt"]
    assert processes(mentioning=str(world.state)) == []


@pytest.mark.slow
def test_a_cycle_that_nothing_ends_ends_the_process(tmp_path: Path) -> None:
    with HostileServer(always(Reply(silent=True))) as silent, inbox() as hook:
        world = World(tmp_path, silent.host)
        world.adopt("web")
        keys = 'observe_timeout = "10m"\nstuck_after = "1s"\ngive_up_after = "5s"'
        world.configure(
            daemon=f"{QUICK}\n{keys}", more=table("hook", world.root, 'remind_after = "1s"')(hook.url)
        )
        with world.start("run") as daemon:
            stuck = 'automator_cycle_stuck{repo="shop"} 1.0'
            daemon.until(lambda: stuck in daemon.get("/metrics").text, "the number, while it is stuck")
            assert daemon.get("/healthz").status_code == 503
            until(lambda: daemon.process.poll() is not None, "its end")
            assert daemon.process.returncode == 4
            assert told(daemon, "daemon/gave-up")
        assert set(hook.kinds()) == {("trouble", "cycle")}
        first, *reminders, last = [(b["repo"], i["turn"]) for b in hook.taken for i in b["items"]]
        assert (first, set(reminders), last) == (("shop", "begun"), {("shop", "still")}, (None, "begun"))
    assert processes(mentioning=str(world.state)) == []


def test_health_waits_for_two_steps_of_git_but_not_beyond_the_watchdog(world: World) -> None:
    for timeout, stuck_after, patience in (("20m", "2h", 40), ("20m", "30m", 30), ("20m", "0s", 40)):
        world.configure(repo=f'timeout = "{timeout}"', daemon=f'listen = ""\nstuck_after = "{stuck_after}"')
        assert _patience(config_of(world), "shop") == timedelta(minutes=patience)
