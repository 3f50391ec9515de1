"""What every test may count on: a home, a Git and a network that are not this machine's own.

The environment is set once for each process of the run and inherited by every program that a test
starts. `@pytest.mark.needs("skopeo")` names the Debian package whose program a test talks to.
"""

from __future__ import annotations

import ipaddress
import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import hypothesis.configuration
import pytest
from parts import canaries, launching

ON_CI = os.environ.get("CI", "") not in ("", "0", "false")

PROGRAMS = {
    "apache2-utils": "htpasswd",
    "buildah": "buildah",
    "chromium": "chromium",
    "chromium-driver": "chromedriver",
    "debootstrap": "debootstrap",
    "docker-compose": "docker-compose",
    "docker-registry": "docker-registry",
    "faketime": "faketime",
    "fcgiwrap": "fcgiwrap",
    "fish": "fish",
    "gnupg": "gpg",
    "nginx-light": "nginx",
    "openssh-client": "ssh",
    "openssh-server": "sshd",
    "podman": "podman",
    "prometheus": "promtool",
    "skopeo": "skopeo",
    "systemd": "systemd-analyze",
    "zsh": "zsh",
}
"""Debian package -> the program by which we see that it is installed."""

# Where Debian keeps programs that only root usually calls.
SEARCH_PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))

# Variables by which the outside reaches into a program that a test starts.
LEAKS = ("AUTOMATOR_", "GIT_", "SSH_", "XDG_", "DOCKER_", "REGISTRY_")
LEAKS_BY_NAME = {"http_proxy", "https_proxy", "all_proxy", "no_proxy", "netrc", "email", "kubeconfig"}
# Where this machine keeps recorded cases is the one thing a test may ask its environment.
KEPT = {"AUTOMATOR_CONFORMANCE", "AUTOMATOR_CORPUS"}

GIT_CONFIG = """\
[user]
\tname = Ann Author
\temail = ann@example.com
[init]
\tdefaultBranch = main
[gc]
\tauto = 0
[maintenance]
\tauto = false
[commit]
\tgpgSign = false
"""

# -- hypothesis: no database and no deadline anywhere; on CI the same examples every time ----------

hypothesis.settings.register_profile(
    "quick",
    max_examples=60,
    deadline=None,
    database=None,
    derandomize=ON_CI,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.register_profile("slow", hypothesis.settings.get_profile("quick"), max_examples=1500)
hypothesis.settings.load_profile("quick")


# -- the environment --------------------------------------------------------------------------------


def pytest_configure(config: pytest.Config) -> None:
    """Set the environment up; what it was comes back when the run ends (cleanups run last to first)."""
    home = Path(tempfile.mkdtemp(prefix="automator-home-"))
    config.add_cleanup(lambda: shutil.rmtree(home, ignore_errors=True))
    before = dict(os.environ)
    config.add_cleanup(lambda: os.environ.update(before))
    config.add_cleanup(os.environ.clear)
    hypothesis.configuration.set_hypothesis_home_dir(home / "hypothesis")

    for name in list(os.environ):
        if (name.startswith(LEAKS) or name.lower() in LEAKS_BY_NAME) and name not in KEPT:
            del os.environ[name]
    gitconfig = home / ".gitconfig"
    gitconfig.write_text(GIT_CONFIG)
    os.environ.update(
        HOME=str(home),
        XDG_CONFIG_HOME=str(home / ".config"),
        XDG_CACHE_HOME=str(home / ".cache"),
        XDG_DATA_HOME=str(home / ".local/share"),
        XDG_RUNTIME_DIR=str(home),
        GIT_CONFIG_NOSYSTEM="1",
        GIT_CONFIG_GLOBAL=str(gitconfig),
        GIT_TERMINAL_PROMPT="0",
        LC_ALL="C.UTF-8",
        # The programs of this environment come first: scripts that a test writes find its Python.
        PATH=os.pathsep.join((str(Path(sys.executable).parent), SEARCH_PATH)),
    )
    # Where a machine asks Python to keep nothing compiled, every program that a test starts, and every
    # process of the run, would compile all of automator anew: more than its work takes.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.addaudithook(_refuse_outside)
    config.pluginmanager.register(canaries)


# -- the network ------------------------------------------------------------------------------------


class OutsideNetwork(RuntimeError):
    """A test reached for an address that is not this machine's own. No OSError: code under test
    that handles network failures must not swallow it."""


def _refuse_outside(event: str, args: tuple[object, ...]) -> None:
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        sock, address = args[0], args[1]
        if isinstance(address, tuple) and getattr(sock, "family", None) != socket.AF_UNIX:
            _refuse_host(str(address[0]))
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = args[0].decode() if isinstance(args[0], bytes) else args[0]
        if host:
            _refuse_host(str(host))


def _refuse_host(host: str) -> None:
    if host in ("", "localhost"):
        return
    if host.endswith((".invalid", ".test")):
        # Names that no resolver may know (RFC 2606): answered as a resolver would, without asking one.
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    try:
        address = ipaddress.ip_address(host.split("%")[0])
    except ValueError:
        raise OutsideNetwork(f"a test asked for the name {host!r}") from None
    if not (address.is_loopback or address.is_unspecified):
        raise OutsideNetwork(f"a test asked for the address {host}")


# -- programs ---------------------------------------------------------------------------------------


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Before any fixture of the test starts the program."""
    for mark in item.iter_markers("needs"):
        for package in mark.args:
            if package not in PROGRAMS:
                pytest.fail(f"tests/conftest.py does not know the program of {package!r}", pytrace=False)
            if shutil.which(PROGRAMS[package]) is None:
                sentence = f"the Debian package {package} is not installed"
                if ON_CI:
                    pytest.fail(sentence, pytrace=False)
                pytest.skip(sentence)


@pytest.fixture(scope="session", autouse=True)
def nothing_left_running() -> Iterator[None]:
    """Fails the run when a test leaves a process behind: the program promises to leave none."""
    before = {child.split()[0] for child in _children()}
    yield
    launching.end()
    until = time.monotonic() + 3
    while (left := [c for c in _children() if c.split()[0] not in before]) and time.monotonic() < until:
        time.sleep(0.05)
    if left:
        pytest.fail("left running: " + "; ".join(sorted(left)))


def _children() -> list[str]:
    """This process's children that have not ended, by Linux's /proc; none where there is no /proc."""
    found = []
    for listing in Path("/proc/self/task").glob("*/children"):
        try:
            pids = listing.read_text().split()
        except OSError:  # a thread that has ended meanwhile
            continue
        for pid in pids:
            try:
                state = Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()[0]
                command = Path("/proc", pid, "cmdline").read_bytes()
            except OSError:
                continue
            words = command.replace(b"\0", b" ").decode(errors="replace").strip()
            if state != "Z" and "multiprocessing" not in words:
                found.append(f"{pid} {words[:200]}")
    return found
