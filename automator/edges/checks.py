"""Checks: keys and commands of the daemon's config that prove something of an image.

What belongs here: reading a public key file, and running a command within bounds. A command runs without a
shell, in a session and an environment of its own; it says so much for so long, and nothing of it is left
running. What its answer means is not decided here.
"""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from automator.errors import CheckError
from automator.reasons import one_line, reason

ENVIRONMENT = (
    *("PATH", "HOME", "TMPDIR", "DOCKER_CONFIG", "SSL_CERT_FILE", "SSL_CERT_DIR"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
)
"""All that a command gets of our environment."""
KEY_LIMIT = 64 * 1024
OUTPUT_LIMIT = 64 * 1024
WORDS_LIMIT = 160
LOOK_EVERY = 0.1  # seconds after which a command is seen to have ended although a child holds its output

_SECRETIVE = re.compile(
    r"(?<!sha256:)(?<![\w+=-])(?=[\w+=-]*\d)(?=[\w+=-]*[A-Za-z])[\w+=-]{20,}|(?<=://)[^\s/@]+(?=@)",
    re.ASCII,
)
"""What may be a secret in a command's words: a long run of letters and digits, and a URL's user."""


def read_key(name: str, path: str) -> bytes:
    """The bytes of a public key file. Raises CheckError (`signature/key`)."""
    try:
        with Path(path).open("rb") as file:
            found = file.read(KEY_LIMIT + 1)
    except OSError as error:
        raise unusable_key(name, path, error.strerror or "it cannot be read") from error
    if len(found) > KEY_LIMIT:
        raise unusable_key(name, path, f"it has more than {KEY_LIMIT} bytes")
    return found


def unusable_key(name: str, path: str, problem: str) -> CheckError:
    """The error for a key file of the config that is no key."""
    return CheckError(reason("signature/key", key=name, file=path, problem=problem), retry=False)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    code: int
    words: str
    """The first line it said, without what may be a secret."""


@dataclass(frozen=True, slots=True)
class ImageCommand:
    """A command of the config that says whether an image is signed."""

    key: str
    argv: tuple[str, ...]
    """`{image}` and `{digest}` in it are filled in."""
    seconds: float
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Of which the command gets `ENVIRONMENT`."""

    def ask(self, image: str, digest: str, stopping: threading.Event) -> Ended:
        """Run it for one image repository and digest, and wait for its end, or until `stopping`.

        Raises CheckError (`signature/command`) where it cannot be started, takes too long, or is killed.
        """
        argv = [word.replace("{image}", image).replace("{digest}", digest) for word in self.argv]
        try:
            environ = {name: self.environ[name] for name in ENVIRONMENT if name in self.environ}
            ended = _run(argv, self.seconds, environ, stopping)
        except OSError as error:
            raise self._failed(image, digest, f"it cannot be started: {error.strerror}") from None
        except _TooLong:
            problem = f"it did not end within {self.seconds:g} seconds, so it was killed"
            raise self._failed(image, digest, problem) from None
        if ended.code < 0:
            raise self._failed(image, digest, f"it was ended by signal {-ended.code}")
        return ended

    def _failed(self, image: str, digest: str, problem: str) -> CheckError:
        return CheckError(
            reason("signature/command", key=self.key, image=image, digest=digest, problem=problem)
        )


class Commands:
    """Runs commands, so many at the same time."""

    def __init__(self, at_once: int = 4) -> None:
        self._pool = ThreadPoolExecutor(at_once, "check")
        self._stopping = threading.Event()

    def submit(self, command: ImageCommand, image: str, digest: str) -> Future[Ended]:
        """Run a command when there is a place for it; the future raises what `ask` raises."""
        return self._pool.submit(command.ask, image, digest, self._stopping)

    def close(self) -> None:
        """Start nothing more; what runs is killed."""
        self._stopping.set()
        self._pool.shutdown(wait=False, cancel_futures=True)


class _TooLong(Exception):
    """A command did not end in time."""


def _run(argv: list[str], seconds: float, environ: Mapping[str, str], stopping: threading.Event) -> Ended:
    """Raises OSError where it cannot be started, and _TooLong once it is killed."""
    ends_at = time.monotonic() + seconds
    process = subprocess.Popen(  # noqa: S603 - the operator's config names it
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd="/",
        env=dict(environ),
        start_new_session=True,
    )
    with process:  # closes the pipe and waits, so no zombie stays
        try:
            assert process.stdout is not None
            said = _listen(process, process.stdout, ends_at, stopping)
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                # Its children too. It is not waited for before, so that the number is still its own.
                os.killpg(process.pid, signal.SIGKILL)
        return Ended(process.wait(), _first_line(said))


def _listen(
    process: subprocess.Popen[bytes], stdout: IO[bytes], ends_at: float, stopping: threading.Event
) -> bytes:
    """What a command says first, until it has ended; more than the limit is read and dropped."""
    said = bytearray()
    is_open = True
    with selectors.DefaultSelector() as selector:
        selector.register(stdout, selectors.EVENT_READ)
        while (left := ends_at - time.monotonic()) > 0 and not stopping.is_set():
            if not is_open:
                # It closed its output, and ends now or soon.
                time.sleep(min(left, 0.005))
            elif selector.select(min(left, LOOK_EVERY)):
                chunk = os.read(stdout.fileno(), 65536)
                is_open = bool(chunk)
                said += chunk[: OUTPUT_LIMIT - len(said)]
                if chunk:
                    continue
            if _has_ended(process):
                return bytes(said)
    raise _TooLong


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether it has ended, and is not yet waited for."""
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _first_line(said: bytes) -> str:
    lines = (line.strip() for line in said.decode("utf-8", "replace").splitlines())
    return one_line(_SECRETIVE.sub("***", next(filter(None, lines), "")), WORDS_LIMIT)
