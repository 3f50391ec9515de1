"""The Compose file and the unit of systemd: their own programs take them, and automator their config."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from parts.canaries import secret
from parts.launching import PROGRAM
from parts.world import EmbeddedWorld
from ruamel.yaml import YAML

from automator import __version__
from automator.config import DaemonConfig, load, parse_address
from automator.threads import permitted

ROOT = Path(__file__).parents[1]
COMPOSE = ROOT / "deploy/compose"
UNIT = ROOT / "deploy/systemd/automator.service"
DROP_IN = ROOT / "deploy/systemd/docker-runtime.conf"
"""What the unit needs beyond itself for an engine's socket."""
OF_THE_IMAGE = {"AUTOMATOR_STATE": "/var/lib/automator", "AUTOMATOR_DAEMON__LISTEN": ":8080"}


def service() -> dict[str, Any]:
    loaded: dict[str, Any] = YAML(typ="safe").load((COMPOSE / "compose.yaml").read_text())
    (name,) = loaded["services"]
    assert name == "automator"
    found: dict[str, Any] = loaded["services"][name]
    return found


# -- the image -------------------------------------------------------------------------------------------


def test_the_image_says_where_the_state_is_and_listens_on_every_address() -> None:
    (block,) = re.findall(r"^ENV PATH=.*?[^\\]\n", (ROOT / "Dockerfile").read_text(), re.M | re.S)
    told = dict(re.findall(r"(AUTOMATOR_\w+)=(\S+)", block))
    assert told == {"AUTOMATOR_CONFIG": "/etc/automator/config.toml", **OF_THE_IMAGE}
    address = parse_address(told["AUTOMATOR_DAEMON__LISTEN"])
    assert address is not None
    assert address.host == ""


# -- Compose ---------------------------------------------------------------------------------------------


@pytest.mark.needs("docker-compose")
def test_compose_takes_the_file() -> None:
    done = subprocess.run(
        ["docker-compose", "-f", str(COMPOSE / "compose.yaml"), "config"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    read = YAML(typ="safe").load(done.stdout)["services"]["automator"]
    assert read["image"] == f"automator:{__version__}"
    assert read["read_only"] is True


def test_the_container_can_write_only_its_state_and_become_nobody_else() -> None:
    told = service()
    assert told["read_only"] is True
    assert told["cap_drop"] == ["ALL"]
    assert told["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in told
    volumes = dict(volume.split(":", 1) for volume in told["volumes"])
    assert {path for path in volumes.values() if not path.endswith(":ro")} == {"/var/lib/automator"}
    assert all(port.startswith("127.0.0.1:") for port in told["ports"] if port.endswith(":8080"))
    assert told["healthcheck"]["test"] == ["CMD", "automator", "health"]
    assert told["init"] is True, "what a program of the config leaves behind is somebody's to collect"


def test_the_config_beside_it_is_one_that_automator_takes() -> None:
    file = COMPOSE / "config/config.toml"
    config = load(file, OF_THE_IMAGE)
    told = service()
    assert int(told["stop_grace_period"].removesuffix("s")) > config.daemon.stop_timeout.total_seconds()
    assert config.daemon.token_file, "what comes by a published port is not from this machine"
    published = {int(port.rpartition(":")[2]) for port in told["ports"]}
    assert config.daemon.listen_address is not None
    assert config.hooks_address is not None
    assert published == {config.daemon.listen_address.port, config.hooks_address.port}
    mounts = {volume.split(":")[1] for volume in told["volumes"]}
    secrets = re.findall(r'_file = "([^"]+)"', file.read_text())
    assert secrets
    assert {path.rpartition("/")[0] for path in secrets} <= mounts
    assert str(config.state) in mounts


@pytest.mark.needs("docker-compose")
def test_compose_hands_over_the_socket_of_the_engine_where_it_is_told_to(tmp_path: Path) -> None:
    """The step of docs/install.md, and what the two files are together."""
    (told,) = re.findall(r'^host = "unix://(\S+)"$', (ROOT / "docs/drift.md").read_text(), re.M)
    (step,) = re.findall(r"^printf 'COMPOSE_FILE=.*$", (ROOT / "docs/install.md").read_text(), re.M)
    assert told in step
    for file in ("compose.yaml", "docker-runtime.yaml"):
        shutil.copy(COMPOSE / file, tmp_path)
    socket = tmp_path / "docker.sock"
    socket.touch()
    if os.geteuid() == 0:
        os.chown(socket, 0, 4711)

    def config(**more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["docker-compose", *more.pop("options", "").split(), "config"], cwd=tmp_path,
            env={"PATH": os.environ["PATH"], **more}, capture_output=True, text=True, check=False,
        )  # fmt: skip

    untold = config(options="-f compose.yaml -f docker-runtime.yaml")
    assert untold.returncode != 0
    assert f"stat -c %g {told}" in untold.stderr, "the step that is missing"
    subprocess.run(["sh", "-euc", step.replace(told, str(socket))], cwd=tmp_path, check=True)
    done = config(DOCKER_SOCKET="/run/user/1000/docker.sock")
    assert done.returncode == 0, done.stderr
    read = YAML(typ="safe").load(done.stdout)["services"]["automator"]
    assert [str(group) for group in read["group_add"]] == [str(socket.stat().st_gid)]
    assert f"/run/user/1000/docker.sock:{told}:ro" in read["volumes"]
    assert f"{told}:{told}:ro" in config().stdout
    alone = YAML(typ="safe").load(config(options="-f compose.yaml").stdout)["services"]["automator"]
    assert {key: value for key, value in read.items() if key not in ("group_add", "volumes")} == {
        key: value for key, value in alone.items() if key != "volumes"
    }, "nothing else of it is another one's"
    assert set(alone["volumes"]) == {volume for volume in read["volumes"] if told not in volume}


@pytest.mark.skipif(os.geteuid() != 0, reason="gives the secrets to the user of the image")
def test_its_steps_make_every_secret_of_the_config_and_none_of_them_in_the_checkout(tmp_path: Path) -> None:
    """The steps of docs/install.md as far as Docker is needed, in a checkout."""
    text = (ROOT / "docs/install.md").read_text()
    (steps,) = re.findall(r"```sh\n([^`]*deploy/compose[^`]*)```", text)
    commands, _, rest = steps.partition("docker compose")
    assert rest
    checkout, home, programs = tmp_path / "automator", tmp_path / "home", tmp_path / "bin"
    shutil.copytree(COMPOSE, checkout / "deploy/compose")
    for folder in (checkout / "automator", home, programs):
        folder.mkdir()
    sudo = programs / "sudo"
    sudo.write_text('#!/bin/sh\nexec "$@"\n')
    sudo.chmod(0o755)
    before = sorted(checkout.rglob("*"))
    variables = {"HOME": str(home), "PATH": f"{programs}:{os.environ['PATH']}"}
    given = {name: secret(name) for name in re.findall(r"\$(\w+)", commands)}
    done = subprocess.run(
        ["sh", "-euc", f"{commands}pwd\n"], cwd=checkout, env={**variables, **given},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    place = Path(done.stdout.strip())
    assert (place / "compose.yaml").read_bytes() == (COMPOSE / "compose.yaml").read_bytes()
    named = re.findall(
        r'_file = "/run/secrets/automator/([^"]+)"', (place / "config/config.toml").read_text()
    )
    kept = {path.name: path for path in (place / "secrets").iterdir()}
    assert sorted(kept) == sorted(named)
    for path in (place / "secrets", *kept.values()):
        assert path.stat().st_uid == 10001, path
        assert path.stat().st_mode & 0o077 == 0, path
    assert {kept["git-token"].read_text(), kept["ghcr-token"].read_text()} == set(given.values())
    assert sorted(checkout.rglob("*")) == before
    shutil.rmtree(place)  # it holds secrets, for which the run is searched


# -- tasks -----------------------------------------------------------------------------------------------


def test_the_limits_of_tasks_are_no_nearer_than_those_of_memory() -> None:
    """A config repo whose Git server hangs takes 2 MB and a place among those at work."""
    for told, memory in (
        (service()["pids_limit"], service()["mem_limit"].removesuffix("m")),
        (settings()["TasksMax"][0], settings()["MemoryMax"][0].removesuffix("M")),
    ):
        assert permitted(int(told)) > int(memory) / 2


def test_the_page_says_how_many_cycles_each_limit_permits() -> None:
    text = (ROOT / "docs/operations.md").read_text()
    (table,) = re.findall(r"\| limit of tasks \| at a time \|\n\|---\|---\|\n((?:\|.*\n)+)", text)
    rows = [
        [cell.strip().replace(",", "") for cell in row.strip("|").split("|")] for row in table.splitlines()
    ]
    found = {limit: int(most) for limit, most in rows}
    assert found.pop("none") == permitted(None)
    assert found == {limit: permitted(int(limit)) for limit in found}
    assert {str(service()["pids_limit"]), settings()["TasksMax"][0]} <= found.keys()


# -- systemd ---------------------------------------------------------------------------------------------


def settings(file: Path = UNIT) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in re.findall(r"^(\w+)=(.*)$", file.read_text(), re.M):
        found.setdefault(name, []).append(value)
    return found


@pytest.mark.needs("systemd")
@pytest.mark.parametrize("drop_ins", [[], [DROP_IN]], ids=["alone", "with the engine's socket"])
def test_systemd_takes_the_unit_and_finds_it_hardly_exposed(tmp_path: Path, drop_ins: list[Path]) -> None:
    # Verified with programs that there are, since the ones it names need not be installed here.
    text = UNIT.read_text().replace("/opt/automator/bin/automator", str(PROGRAM))
    unit = tmp_path / UNIT.name
    unit.write_text(text)
    for file in drop_ins:
        beside = tmp_path / f"{UNIT.name}.d"
        beside.mkdir()
        shutil.copy(file, beside)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False
    )
    if re.search("Failed to (initialize|create) manager|No such device|not supported", done.stderr):
        pytest.skip(f"systemd-analyze cannot work here: {done.stderr.strip()}")
    assert (done.returncode, done.stderr) == (0, "")
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=20", "--json=short", str(unit)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    rows = {row["name"]: row["set"] for row in json.loads(done.stdout)}
    assert done.returncode == 0, [name for name, is_set in rows.items() if not is_set]
    assert rows["SupplementaryGroups="] is not bool(drop_ins), "whether it was read"


def test_the_drop_in_for_an_engine_gives_its_group_and_takes_no_limit_back() -> None:
    assert settings(DROP_IN) == {"SupplementaryGroups": ["docker"]}
    assert "AF_UNIX" in settings()["RestrictAddressFamilies"][0].split()
    told = (ROOT / "docs/install.md").read_text()
    assert f"{DROP_IN.relative_to(ROOT)} /etc/systemd/system/{UNIT.name}.d/{DROP_IN.name}\n" in told


def test_the_unit_starts_and_reloads_the_daemon_as_it_wants_to_be() -> None:
    told = settings()
    assert told["ExecStart"] == ["/opt/automator/bin/automator run"]
    assert told["ExecReload"] == ["/bin/kill -HUP $MAINPID"]
    # No notification is sent to systemd, so neither is waited for.
    assert told["Type"] == ["exec"]
    assert "WatchdogSec" not in told
    assert told["DynamicUser"] == ["yes"]
    assert told["ProtectSystem"] == ["strict"]
    assert told["StateDirectory"] == ["automator"]
    variables = dict(pair.split("=", 1) for pair in told["Environment"])
    assert variables["AUTOMATOR_STATE"] == f"/var/lib/{told['StateDirectory'][0]}" == variables["HOME"]
    assert variables["AUTOMATOR_CONFIG"] == "/etc/automator/config.toml"
    assert int(told["TimeoutStopSec"][0]) > DaemonConfig().stop_timeout.total_seconds()
    # Its own number 1 is fine for a stop; a start that ends with 1 is tried again all the same.
    assert told["SuccessExitStatus"] == ["1"]
    assert told["Restart"] == ["always"]
    assert "RestartPreventExitStatus" not in told


def test_the_unit_permits_what_a_release_takes(tmp_path: Path) -> None:
    """Of what the unit forbids, what a process can forbid itself: memory that is written and executed."""
    assert settings()["MemoryDenyWriteExecute"] == settings()["NoNewPrivileges"] == ["yes"]
    launcher = tmp_path / "launcher.py"
    launcher.write_text(
        "import ctypes, os, sys\n"
        "PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, PR_SET_NO_NEW_PRIVS = 65, 1, 38\n"
        "libc = ctypes.CDLL(None)\n"
        "if libc.prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0):\n"
        "    sys.exit(77)\n"
        "libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)\n"
        "os.execv(sys.argv[1], sys.argv[1:])\n"
    )
    with EmbeddedWorld(tmp_path) as world:
        world.push("web", "1.0.0", "1.1.0")
        world.adopt("web")
        command = [sys.executable, str(launcher), str(PROGRAM), "once"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
        if done.returncode == 77:
            pytest.skip("this kernel cannot refuse it (before 6.3)")
        assert done.returncode == 0, done.stderr
        assert world.version("web") == "1.1.0"
