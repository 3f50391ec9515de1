"""What befalls a daemon that runs for years: the disk, the clock, servers that hang, many config repos."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

import pytest
from parts.gitserver import BareRepo
from parts.registry import HostileServer, Reply, always
from parts.world import EmbeddedWorld, Running, World, deployment, processes, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

QUICK = 'listen = "127.0.0.1:0"\ninterval = "1s"'


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with EmbeddedWorld(tmp_path) as made:
        made.push("web", "1.0.0")
        made.adopt("web")
        made.configure(daemon=QUICK)
        yield made


def codes(daemon: Running) -> set[str]:
    return {line["code"] for line in daemon.lines if "code" in line}


# -- the disk --------------------------------------------------------------------------------------------


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """A file system of its own for a folder; where that may not be mounted, not even by a sudo that asks for
    no password as CI systems have it, the test is skipped, or fails on CI."""
    folder.mkdir(exist_ok=True)
    options = f"size={megabytes}m,mode=700,uid={os.getuid()},gid={os.getgid()}"
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    for before in ([], ["sudo", "-n"]):
        with suppress(FileNotFoundError):
            if subprocess.run([*before, *mount], capture_output=True, check=False).returncode == 0:
                break
    else:
        if os.environ.get("CI", "") not in ("", "0", "false"):
            pytest.fail("nothing may be mounted here, so that no full disk is tried")
        pytest.skip("nothing may be mounted here")
    try:
        yield folder / "filler"
    finally:
        subprocess.run([*before, "umount", "--lazy", str(folder)], check=True)


def fill(filler: Path, *, but: int = 0) -> None:
    """Leave so many bytes of the disk, and no more."""
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(b"\0" * 4096):
            pass
    if but:
        os.truncate(filler, max(0, filler.stat().st_size - but))


def test_a_disk_that_fills_up_loses_nothing_and_work_goes_on_when_there_is_room(world: World) -> None:
    with small_disk(world.state, 8) as filler, world.start("run") as daemon:
        daemon.until(daemon.cycles, "the first cycle")
        fill(filler)
        world.push("web", "1.1.0")
        daemon.until(lambda: codes(daemon) & {"git/disk", "state/unusable", "daemon/bug"}, "what went wrong")
        count = len(daemon.cycles())
        assert daemon.get("/healthz").status_code == 200
        filler.unlink()
        daemon.until(lambda: world.version("web") == "1.1.0", "the release")
        world.push("web", "1.2.0")
        daemon.until(lambda: world.version("web") == "1.2.0", "the next one")
        daemon.until(lambda: len(daemon.cycles()) > count + 1, "cycles")
        assert daemon.end() == 0
        assert "daemon/bug" not in codes(daemon)
    assert world.repo.log() == ["Release web 1.2.0", "Release web 1.1.0", "Adopt"]


def test_a_disk_too_small_for_a_clone_is_told_and_the_clone_is_made_when_there_is_room(world: World) -> None:
    world.repo.commit({"large.bin": os.urandom(3_000_000)}, "Large")
    world.push("web", "1.1.0")
    with small_disk(world.state, 12) as filler:
        fill(filler, but=2_000_000)
        with world.start("run") as daemon:
            daemon.until(lambda: "git/disk" in codes(daemon), "what went wrong")
            daemon.until(daemon.cycles, "a cycle")
            assert world.version("web") == "1.0.0"
            assert not (world.state / "repos" / "shop").exists(), "nothing half made is in its place"
            assert "git/damaged" not in codes(daemon)
            filler.unlink()
            daemon.until(lambda: world.version("web") == "1.1.0", "the release")
            assert daemon.end() == 0
            assert "daemon/bug" not in codes(daemon)
    assert world.repo.log() == ["Release web 1.1.0", "Large", "Adopt"]


def test_no_room_even_for_the_state_is_an_error_of_the_config(world: World) -> None:
    with small_disk(world.state, 1) as filler:
        fill(filler)
        done = world.run("run")
        assert done.code == 2
        assert "No space left" in done.err or "full" in done.err
        assert "Traceback" not in done.err


def test_a_damaged_state_is_kept_aside_loudly_and_work_goes_on(world: World) -> None:
    with world.start("run") as daemon:
        daemon.until(daemon.cycles, "the first cycle")
        daemon.process.kill()
    (file,) = world.state.glob("*.sqlite")
    for name in world.state.glob("*.sqlite-*"):
        name.unlink()
    file.write_bytes(b"\0" * 100 + file.read_bytes()[100:])
    world.push("web", "1.1.0")
    with world.start("run") as daemon:
        daemon.until(lambda: world.version("web") == "1.1.0", "the release")
        assert "state/damaged" in codes(daemon)
        assert daemon.end() == 0
    assert (world.state / f"{file.name}.damaged").exists()


def test_a_state_folder_that_vanishes_releases_nothing_twice(world: World) -> None:
    world.push("web", "1.1.0")
    with world.start("run") as daemon:
        daemon.until(lambda: world.version("web") == "1.1.0", "the release")
        gone = world.state.rename(world.root / "gone")  # at once, whatever git writes just now
        shutil.rmtree(gone, ignore_errors=True)
        count = len(daemon.cycles())
        daemon.until(lambda: len(daemon.cycles()) > count + 2, "cycles")
        daemon.send(signal.SIGTERM)
        assert daemon.process.wait(60) in (0, 1)
    world.push("web", "1.2.0")
    with world.start("run") as daemon:
        daemon.until(lambda: world.version("web") == "1.2.0", "the next release")
        assert daemon.end() == 0
    assert world.repo.log() == ["Release web 1.2.0", "Release web 1.1.0", "Adopt"]


# -- the clock -------------------------------------------------------------------------------------------

FAKETIME = Path("/usr/lib") / f"{os.uname().machine}-linux-gnu" / "faketime" / "libfaketimeMT.so.1"


@pytest.mark.needs("faketime")
@pytest.mark.parametrize("jump", ["-5h", "+5h"])
def test_a_clock_that_is_set_costs_no_cycle_and_makes_no_storm(world: World, jump: str) -> None:
    clock = world.root / "clock"
    clock.write_text("+0\n")
    faked = {
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_DONT_RESET": "1",
    }
    world.configure(daemon=QUICK.replace('"1s"', '"3s"'))
    with world.start("run", env=faked) as daemon:
        daemon.until(lambda: len(daemon.cycles()) >= 2, "cycles")
        before = stamp(daemon)
        clock.write_text(f"{jump}\n")
        began, count = time.monotonic(), len(daemon.cycles())
        world.push("web", "1.1.0")
        daemon.until(lambda: world.version("web") == "1.1.0", "the release, and not in five hours")
        daemon.until(lambda: len(daemon.cycles()) >= count + 4, "cycles at their interval")
        assert abs((stamp(daemon) - before).total_seconds()) > 4 * 3600, "the clock was set"
        lasted = time.monotonic() - began
        assert len(daemon.cycles()) - count <= lasted / 3 + 4, "no storm"
        assert daemon.get("/healthz").status_code == 200
        assert codes(daemon).isdisjoint({"daemon/bug", "daemon/stuck", "daemon/late"})
        assert daemon.end() == 0
    assert world.repo.log() == ["Release web 1.1.0", "Adopt"]


def long_after(began: float) -> Callable[[], bool]:
    """Whether more time is over than `stuck_after` and `give_up_after` are together, below."""
    return lambda: time.monotonic() - began > 25


def test_a_process_that_stood_still_blames_no_cycle_for_it(world: World) -> None:
    reached, opened = world.root / "reached", world.root / "opened"
    world.repo.hook("pre-receive", f'touch "{reached}"\nwhile [ ! -e "{opened}" ]; do sleep 0.02; done')
    world.configure(daemon=f'{QUICK}\nstuck_after = "20s"\ngive_up_after = "1s"')
    world.push("web", "1.1.0")
    with world.start("run") as daemon:
        daemon.until(reached.exists, "the push under way")
        daemon.send(signal.SIGSTOP)
        status = Path(f"/proc/{daemon.process.pid}/status")
        until(lambda: "State:\tT" in status.read_text(), "its standing still")
        until(long_after(time.monotonic()), "more time than the watchdog gives")
        daemon.send(signal.SIGHUP)  # answered only after the watchdog has looked
        daemon.send(signal.SIGCONT)
        daemon.until(lambda: any(code.startswith("reload/") for code in codes(daemon)), "its answer")
        opened.touch()
        daemon.until(lambda: world.version("web") == "1.1.0", "the release")
        assert codes(daemon).isdisjoint({"daemon/stuck", "daemon/gave-up"})
        assert daemon.end() == 0
    assert world.repo.log() == ["Release web 1.1.0", "Adopt"]


def test_a_config_that_is_taken_while_the_disk_is_full_is_taken_whole(world: World) -> None:
    text = world.config.read_text()
    with HostileServer(always(Reply(204))) as old, HostileServer(always(Reply(204))) as new:
        (world.root / "secret").write_text("of-a-test-and-nothing-else-0123\n")

        def told(server: HostileServer) -> str:
            return f'{text}[notify.team]\nwebhook = "http://{server.host}/"\nsecret_file = "secret"\n'

        world.config.write_text(told(old))
        with small_disk(world.state, 8) as filler, world.start("run") as daemon:
            daemon.until(daemon.cycles, "the first cycle")
            fill(filler)
            world.config.write_text(told(new).replace("team", "crew"))
            daemon.send(signal.SIGHUP)
            daemon.until(lambda: "reload/done" in codes(daemon), "the new config")
            filler.unlink()
            world.push("web", "1.1.0")
            daemon.until(lambda: new.received, "the message to the new receiver")
            assert daemon.end() == 0
        assert old.received == []


def test_a_config_that_no_room_was_left_to_try_is_used_when_there_is_room(world: World) -> None:
    text = world.config.read_text()
    with small_disk(world.state, 8) as filler, world.start("run") as daemon:
        daemon.until(daemon.cycles, "the first cycle")
        fill(filler)
        world.config.write_text(text + '[commit]\nsubject = "Deploy {{ workload }}"\n')
        daemon.until(lambda: "reload/refused" in codes(daemon), "the refusal")
        assert daemon.get("/api/v1/daemon").json()["config_refused"]["code"] == "reload/refused"
        filler.unlink()
        daemon.until(lambda: "reload/done" in codes(daemon), "the new config, though nobody touched it")
        assert daemon.get("/api/v1/daemon").json()["config_refused"] is None
        world.push("web", "1.1.0")
        daemon.until(lambda: world.version("web") == "1.1.0", "the release")
        assert daemon.end() == 0
    assert world.repo.log() == ["Deploy web", "Adopt"]


def stamp(daemon: Running) -> datetime:
    return datetime.fromisoformat(daemon.lines[-1]["timestamp"])


# -- servers that hang -----------------------------------------------------------------------------------


@contextmanager
def silent_server() -> Iterator[int]:
    """Accepts connections, and says nothing."""
    server = socket.create_server(("127.0.0.1", 0))
    held: list[socket.socket] = []

    def accept() -> None:
        while True:
            try:
                held.append(server.accept()[0])
            except OSError:
                return

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield server.getsockname()[1]
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        for one in held:
            one.close()


def test_config_repos_that_hang_or_are_nowhere_delay_no_other_nor_the_web_nor_the_end(world: World) -> None:
    with silent_server() as port:
        broken = {
            "http": f"http://127.0.0.1:{port}/acme/shop.git",
            "ssh": f"ssh://git@127.0.0.1:{port}/acme/shop.git",
            "nowhere": "https://git.example.invalid/acme/shop.git",
        }
        world.configure(
            daemon=f'{QUICK}\nstop_timeout = "2s"',
            more="\n".join(f'[repos.{name}]\nurl = "{url}"\ntimeout = "5m"' for name, url in broken.items()),
        )
        with world.start("run") as daemon:
            for version in ("1.1.0", "1.2.0", "1.3.0"):
                world.push("web", version)
                daemon.until(
                    lambda version=version: world.version("web") == version, f"the release {version}"
                )
                assert daemon.get("/metrics").status_code == 200
            daemon.until(lambda: "git/unreachable" in daemon.text, "the host that there is not")
            assert "the first cycle has not ended yet in http, ssh" in daemon.get("/readyz").text
            began = time.monotonic()
            assert daemon.end() == 1, "it left cycles behind"
            assert time.monotonic() - began < 30
        until(lambda: not processes(mentioning=str(world.state)), "the end of every git and ssh")


def test_a_hundred_config_repos_start_spread_and_keep_few_threads_and_files(
    world: World, tmp_path: Path
) -> None:
    files = {world.manifest("web"): deployment(world.image("web", "1.0.0"), "web")}
    first = BareRepo.create(tmp_path / "git" / "r0.git")
    first.commit({**files, "policies/shop.yaml": world.policy("web")}, "Adopt")
    for number in range(1, 100):
        shutil.copytree(first.path, tmp_path / "git" / f"r{number}.git")
    repos = "\n".join(f'[repos.r{n}]\nurl = "{tmp_path}/git/r{n}.git"' for n in range(100))
    world.configure(daemon='listen = "127.0.0.1:0"\ninterval = "1h"', more=repos)
    with world.start("run") as daemon:
        most = [0, 0]
        pid = daemon.process.pid

        def are_ready() -> bool:
            most[0] = max(most[0], len(os.listdir(f"/proc/{pid}/task")))
            most[1] = max(most[1], len(os.listdir(f"/proc/{pid}/fd")))
            return daemon.get("/readyz").status_code == 200

        until(are_ready, "all first cycles", seconds=300)
        assert most[0] < 150, most
        assert most[1] < 600, most
        world.push("web", "1.1.0")
        daemon.send(signal.SIGUSR1)
        last = [BareRepo(tmp_path / "git" / f"r{n}.git") for n in range(100)]
        until(
            lambda: all("1.1.0" in r.read(world.manifest("web")) for r in last), "all releases", seconds=300
        )
        assert daemon.end() == 0
    assert processes(mentioning=str(world.state)) == []
