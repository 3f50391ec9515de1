"""Signing our commits, by the programs that everybody verifies with: `ssh-keygen -Y sign`, or gpg.

Keys and passphrases are read at each use. A passphrase goes to gpg through a pipe, and nothing of ours
holds it. What a GPG signature needs of the keyring is looked at through links from a home of our own, so
that no options of others count; gpg's agent is ours too, and ends with it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from automator.edges import processgroup
from automator.edges.checkout.git import Running
from automator.edges.secretfile import UnusableFile, read_file
from automator.errors import CheckoutError
from automator.reasons import one_line, reason

Sign = Callable[[bytes], bytes]
"""Makes the armoured signature of a text; raises CheckoutError (`git/signing`, `git/timeout`)."""

_STEP = "signing a commit"
_KEYRING = ("pubring.kbx", "pubring.gpg", "public-keys.d", "private-keys-v1.d", "common.conf")
_SOCKET = "/S.gpg-agent.browser"
_LONGEST_SOCKET = 100
"""Characters that the path of a socket may have, a little less than Linux and macOS allow."""
_GPG = (
    *("--batch", "--no-tty", "--quiet", "--no-options", "--trust-model=always", "--no-auto-check-trustdb"),
    *("--pinentry-mode=loopback", "--armor", "--detach-sign"),
)


@dataclass(frozen=True, slots=True)
class SshKey:
    """A private key without a passphrase, as ssh has it."""

    file: Path


@dataclass(frozen=True, slots=True)
class GpgKey:
    """A key of a GPG keyring."""

    name: str
    """Its fingerprint, or whatever gpg finds it by."""
    home: Path
    """The folder of the keyring, which is only read."""
    passphrase_file: Path | None = None


@contextmanager
def signing(key: SshKey | GpgKey, clone: Path, *, deadline: float) -> Iterator[Sign]:
    """Sign with a key, for as long as the context lasts; each signature within `deadline` seconds.

    Raises CheckoutError (`git/signing`) where the key cannot be used.
    """
    if isinstance(key, SshKey):
        yield lambda text: _by_ssh(key, text, deadline)
        return
    with _agent_home(key, clone, deadline) as home:
        yield lambda text: _by_gpg(key, home, text, deadline)


def clear_away(clone: Path) -> None:
    """Remove what a killed process left; an agent whose home goes ends by itself."""
    shutil.rmtree(_home_beside(clone), ignore_errors=True)


def environment() -> dict[str, str]:
    """All that a program which signs or verifies is told: no agent, no terminal, no home of ours."""
    kept = {name: os.environ[name] for name in ("PATH", "TMPDIR") if name in os.environ}
    return {**kept, "HOME": "/nonexistent", "LC_ALL": "C", "LANGUAGE": "C", "SSH_ASKPASS_REQUIRE": "never"}


def call(
    arguments: Sequence[str], feed: bytes, *, step: str, deadline: float, inherit: Sequence[int] = ()
) -> tuple[int, bytes, str]:
    """Run a program in a session of its own: how it ended, what it wrote, and what it said.

    Raises CheckoutError (`git/timeout`), and OSError where it cannot be started.
    """
    process = subprocess.Popen(  # noqa: S603 - the program's name is ours
        arguments,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
        cwd="/",
        start_new_session=True,
        pass_fds=tuple(inherit),
    )
    with Running(step, process, deadline, keep=None) as running:
        running.send(feed)
        running.end_input()
        out = b"".join(running.chunks())
        return running.status(), out, running.words


def _by_ssh(key: SshKey, text: bytes, deadline: float) -> bytes:
    """PROTOCOL.sshsig: the namespace of Git's signatures is `git`."""
    arguments = ("ssh-keygen", "-Y", "sign", "-n", "git", "-f", str(key.file.absolute()))
    return _signature(arguments, text, str(key.file), deadline)


def _by_gpg(key: GpgKey, home: Path, text: bytes, deadline: float) -> bytes:
    arguments = ("gpg", f"--homedir={home}", *_GPG, f"--local-user={key.name}")
    reader, writer = os.pipe()
    try:
        with open(writer, "wb") as pipe:
            pipe.write(_passphrase(key) + b"\n")
        fed = (*arguments, f"--passphrase-fd={reader}")
        return _signature(fed, text, key.name, deadline, inherit=(reader,))
    finally:
        os.close(reader)


def _passphrase(key: GpgKey) -> bytes:
    if key.passphrase_file is None:
        return b""  # a key that has one is then refused, instead of somebody being asked
    try:
        return read_file(key.passphrase_file, 4096).split(b"\n")[0].rstrip(b"\r")  # less than a pipe holds
    except UnusableFile as why:
        problem = f"its passphrase_file {key.passphrase_file} cannot be used: {why}"
        raise _unusable(key.name, problem) from None


def _signature(
    arguments: Sequence[str], text: bytes, key: str, deadline: float, *, inherit: Sequence[int] = ()
) -> bytes:
    try:
        status, out, words = call(arguments, text, step=_STEP, deadline=deadline, inherit=inherit)
    except OSError as error:
        raise _unusable(key, f"{arguments[0]} cannot be started: {error.strerror}") from None
    if status or not out.startswith(b"-----BEGIN "):
        raise _unusable(key, f"{arguments[0]} says: {_told(words)}")
    return out


def _told(words: str) -> str:
    """The lines that say what is wrong, without frames and prompts."""
    lines = (line.strip(" @").removeprefix("Enter passphrase: ") for line in words.splitlines())
    return one_line("; ".join(line for line in lines if line and line != "Signing data on standard input"))


def _unusable(key: str, problem: str) -> CheckoutError:
    return CheckoutError(reason("git/signing", key=key, problem=problem), retry=False)


# -- a home for gpg's agent --------------------------------------------------------------------------


def _home_beside(clone: Path) -> Path:
    return clone.with_name(f".{clone.name}.gnupg")  # no clone begins with a dot


@contextmanager
def _agent_home(key: GpgKey, clone: Path, deadline: float) -> Iterator[Path]:
    """A GPG home that leads to the keyring of another; its agent ends with it."""
    if not key.home.is_dir():
        raise _unusable(key.name, f"there is no folder {key.home}")
    home = _home_beside(clone)
    try:
        if len(f"{home}{_SOCKET}") > _LONGEST_SOCKET:
            home = Path(tempfile.mkdtemp(prefix="automator-gpg-"))
        else:
            shutil.rmtree(home, ignore_errors=True)
            home.mkdir(mode=0o700)
        for name in _KEYRING:
            if (key.home / name).exists():
                (home / name).symlink_to((key.home / name).absolute())
    except OSError as error:
        raise _unusable(key.name, f"no home for gpg can be made: {error.strerror}") from None
    try:
        with _agent(key.name, home, deadline):
            yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def _agent(key: str, home: Path, deadline: float) -> Iterator[None]:
    """gpg's agent, in a process group that we can end: one that gpg starts by itself is beyond our reach."""
    arguments = ("gpg-agent", f"--homedir={home}", "--daemon", "--no-detach")
    try:
        leader = subprocess.Popen(  # noqa: S603 - the program's name is ours
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment(),
            cwd="/",
            start_new_session=True,
        )
    except OSError as error:
        raise _unusable(key, f"gpg-agent cannot be started: {error.strerror}") from None
    try:
        # It ends once its child listens. It is not waited for yet, so that the group's number stays its own.
        until = time.monotonic() + deadline
        while (ended := os.waitid(os.P_PID, leader.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is None:
            if time.monotonic() > until:
                raise _unusable(key, f"gpg-agent did not start within {deadline:g} seconds")
            time.sleep(0.002)
        if ended.si_status:
            raise _unusable(key, f"gpg-agent did not start ({ended.si_status})")
        yield
    finally:
        processgroup.kill(leader.pid)
        leader.wait()
        processgroup.collect(leader.pid)
