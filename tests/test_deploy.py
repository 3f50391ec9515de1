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

ROOT = Path(__file__).parents[1]
COMPOSE = ROOT / "deploy/compose"
UNIT = ROOT / "deploy/systemd/automator.service"
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


# -- systemd ---------------------------------------------------------------------------------------------


def settings() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in re.findall(r"^(\w+)=(.*)$", UNIT.read_text(), re.M):
        found.setdefault(name, []).append(value)
    return found


@pytest.mark.needs("systemd")
def test_systemd_takes_the_unit_and_finds_it_hardly_exposed(tmp_path: Path) -> None:
    # Verified with programs that there are, since the ones it names need not be installed here.
    text = UNIT.read_text().replace("/opt/automator/bin/automator", str(PROGRAM))
    unit = tmp_path / UNIT.name
    unit.write_text(text)
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
    assert done.returncode == 0, [row["name"] for row in json.loads(done.stdout) if not row["set"]]


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
