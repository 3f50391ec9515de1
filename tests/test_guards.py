"""The guards of tests/conftest.py hold: they are what lets the other tests be trusted."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).with_name("conftest.py")


def run_pytest(folder: Path, test: str, **environment: str) -> str:
    """What a run of this one test says, under our conftest in a process of its own."""
    shutil.copy(CONFTEST, folder)
    (folder / "pytest.ini").write_text(
        f"[pytest]\nmarkers = needs(package): as in the project\npythonpath = {CONFTEST.parent}\n"
    )
    (folder / "test_it.py").write_text(test)
    outer = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "CI"))}
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-ra", "-p", "no:cacheprovider", "-p", "no:xdist", "test_it.py"],
        cwd=folder, env={**outer, **environment}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return run.stdout


def test_outside_addresses_are_refused() -> None:
    with socket.socket() as sock, pytest.raises(RuntimeError, match=r"the address 192\.0\.2\.1"):
        sock.connect(("192.0.2.1", 443))
    with pytest.raises(RuntimeError, match=r"the name 'example\.com'"):
        socket.getaddrinfo("example.com", 443)


def test_names_that_cannot_exist_are_unknown() -> None:
    with pytest.raises(socket.gaierror):
        socket.getaddrinfo("registry.invalid", 443)


def test_loopback_is_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(("localhost", server.getsockname()[1]), timeout=10).close()


def test_home_and_git_are_not_the_users() -> None:
    assert Path.home() != Path(pwd.getpwuid(os.getuid()).pw_dir)
    said = subprocess.run(
        ["git", "config", "--list", "--show-origin"], capture_output=True, text=True, check=True
    )
    assert "user.name=Ann Author" in said.stdout
    assert {line.split("\t")[0] for line in said.stdout.splitlines()} <= {
        f"file:{os.environ['GIT_CONFIG_GLOBAL']}",
        "file:.git/config",
    }


def test_the_outside_does_not_leak_in(tmp_path: Path) -> None:
    test = """
import os
def test_it():
    kept = {"GIT_CONFIG_NOSYSTEM", "GIT_CONFIG_GLOBAL", "GIT_TERMINAL_PROMPT"}
    kept |= {"AUTOMATOR_CORPUS", "AUTOMATOR_CONFORMANCE"}
    leaks = ("AUTOMATOR_", "GIT_", "SSH_", "DOCKER_", "HTTPS_PROXY")
    assert {name for name in os.environ if name.startswith(leaks)} == kept
"""
    leaks = {
        "AUTOMATOR_STATE": "x", "AUTOMATOR_CORPUS": "x", "AUTOMATOR_CONFORMANCE": "x", "GIT_DIR": "/x",
        "DOCKER_CONFIG": "/x", "HTTPS_PROXY": "x", "SSH_AUTH_SOCK": "/x",
    }  # fmt: skip
    assert "1 passed" in run_pytest(tmp_path, test, **leaks)


NEEDS = """
import pytest
@pytest.mark.needs("docker-registry")
def test_it(): pass
"""


def test_a_missing_package_skips_by_name_on_a_laptop(tmp_path: Path) -> None:
    said = run_pytest(tmp_path, missing(tmp_path) + NEEDS)
    assert "the Debian package docker-registry is not installed" in said
    assert "1 skipped" in said


def test_a_missing_package_fails_on_ci(tmp_path: Path) -> None:
    said = run_pytest(tmp_path, missing(tmp_path) + NEEDS, CI="true")
    assert "the Debian package docker-registry is not installed" in said
    assert "1 failed" in said or "1 error" in said


def missing(folder: Path) -> str:
    """Test code that makes every program missing."""
    return f"import os\nos.environ['PATH'] = {str(folder)!r}\n"


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux's /proc")
def test_a_process_left_running_fails_the_run(tmp_path: Path) -> None:
    test = """
import subprocess
def test_it():
    child = subprocess.Popen(["sleep", "300"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    child.returncode = 0  # forgotten, as far as Python knows
"""
    said = run_pytest(tmp_path, test)
    left = re.search(r"left running: (\d+) sleep 300", said)
    assert left, said
    os.kill(int(left.group(1)), signal.SIGKILL)
