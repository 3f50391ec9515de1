"""Commands: programs and key files of the daemon's config that prove something of an image.

What belongs here: reading a public key file, and running a command within bounds. A command runs without a
shell, in a session and an environment of its own. Its end is all that is heard of it: what it prints may
hold secrets, and would reach outcomes and logs. Nothing of its process group is left running; a child that
made a session of its own is out of reach.
"""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from automator.edges import processgroup
from automator.edges.secretfile import UnusableFile, read_file
from automator.errors import CheckError
from automator.reasons import reason

ENVIRONMENT = (
    *("PATH", "HOME", "TMPDIR", "DOCKER_CONFIG", "SSL_CERT_FILE", "SSL_CERT_DIR"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
)
"""All that a command gets of our environment."""
LOOK_EVERY = 0.05
"""Seconds after which a command is seen to have ended."""
NO_ANSWER = 124
"""From here on a number says that nothing was checked: `timeout` ends with 124, who runs another program
with 125, a shell with 126 and 127 where there is nothing to run, and with 128 and more after a signal."""


def read_key(name: str, path: str) -> bytes:
    """The bytes of a public key file. Raises CheckError (`signature/key`)."""
    try:
        return read_file(path)
    except UnusableFile as why:
        raise unusable_key(name, path, str(why)) from None


def unusable_key(name: str, path: str, problem: str) -> CheckError:
    """The error for a key file of the config that is no key."""
    return CheckError(reason("signature/key", key=name, file=path, problem=problem), retry=False)


@dataclass(frozen=True, slots=True)
class ImageCommand:
    """A command of the config that says whether an image is signed."""

    key: str
    argv: tuple[str, ...]
    """`{image}` and `{digest}` in it are filled in."""
    seconds: float
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Of which the command gets `ENVIRONMENT`."""

    def ask(self, image: str, digest: str, stopping: threading.Event) -> int:
        """Run it for one image repository and digest, and wait for its end, or until `stopping`: the number
        that it ends with.

        Raises CheckError (`signature/command`) where it cannot be started, takes too long, is killed, or
        ends with a number that says that nothing was checked.
        """
        argv = [word.replace("{image}", image).replace("{digest}", digest) for word in self.argv]
        try:
            return run_to_end(argv, self.seconds, self.environ, stopping)
        except NothingCheckedError as error:
            raise self._failed(image, digest, str(error)) from None

    def _failed(self, image: str, digest: str, problem: str) -> CheckError:
        return CheckError(
            reason("signature/command", key=self.key, image=image, digest=digest, problem=problem)
        )


class Commands:
    """Runs the commands of one config repo, so many at the same time."""

    def __init__(self, at_once: int = 4) -> None:
        self._pool = ThreadPoolExecutor(at_once, "check")
        self._stopping = threading.Event()

    def submit(self, command: ImageCommand, image: str, digest: str) -> Future[int]:
        """Run a command when there is a place for it; the future raises what `ask` raises."""
        return self._pool.submit(command.ask, image, digest, self._stopping)

    def close(self) -> None:
        """Start nothing more; what runs is killed."""
        self._stopping.set()
        self._pool.shutdown(wait=False, cancel_futures=True)


class NothingCheckedError(Exception):
    """A command checked nothing; says why, as the rest of a sentence that is about it."""


def run_to_end(argv: list[str], seconds: float, environ: Mapping[str, str], stopping: threading.Event) -> int:
    """Run a command, of whose environment `ENVIRONMENT` is all that it gets: the number that it ends with.

    Raises NothingCheckedError where it cannot be started, takes too long, is killed, or ends with a number
    that says that nothing was checked.
    """
    try:
        kept = {name: environ[name] for name in ENVIRONMENT if name in environ}
        code = _run(argv, seconds, kept, stopping)
    except OSError as error:
        raise NothingCheckedError(f"it cannot be started: {error.strerror}") from None
    except ValueError:  # a NUL in what was filled in
        raise NothingCheckedError("it cannot be started with these arguments") from None
    except _TooLong:
        raise NothingCheckedError(f"it did not end within {seconds:g} seconds, so it was killed") from None
    if code < 0:
        raise NothingCheckedError(f"it was ended by signal {-code}")
    if code >= NO_ANSWER:
        raise NothingCheckedError(f"it ended with {code}, so nothing was checked")
    return code


class _TooLong(Exception):
    """A command did not end in time."""


def _run(argv: list[str], seconds: float, environ: Mapping[str, str], stopping: threading.Event) -> int:
    """The number it ends with. Raises OSError where it cannot be started, and _TooLong once it is killed."""
    ends_at = time.monotonic() + seconds
    process = subprocess.Popen(  # noqa: S603 - the operator's config names it
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env=dict(environ),
        start_new_session=True,
    )
    with process:
        try:
            _await(process, ends_at, stopping)
        finally:
            # Its group too. It is not waited for before, so that the number is still its own.
            processgroup.kill(process.pid)
            process.wait()
            processgroup.collect(process.pid)
        return process.returncode


def _await(process: subprocess.Popen[bytes], ends_at: float, stopping: threading.Event) -> None:
    """Look whether it has ended, soon at first, then now and then."""
    pause = 0.001
    while not processgroup.has_ended(process.pid):
        left = ends_at - time.monotonic()
        if left <= 0 or stopping.wait(min(left, pause)):
            raise _TooLong
        pause = min(2 * pause, LOOK_EVERY)
