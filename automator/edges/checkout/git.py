"""One git process at a time: its own session, a pinned environment, a deadline it cannot outlive.

GitPython starts the process and nothing more: its time-out does not work for a process that is
read as it runs, so the waiting, the feeding and the ending are done here.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import select
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Self

from automator.edges import processgroup
from automator.errors import CheckoutError
from automator.reasons import reason

if TYPE_CHECKING:
    from git import Git as GitCommand

CHUNK = 1 << 20
"""Bytes read at once."""
WORDS_LIMIT = 1 << 16
"""Bytes of standard error that are kept: the last ones say why."""
GRACE = 2.0
"""Seconds between asking a git process group to end and making it end."""
START_WAIT = 1.0
"""Seconds that starting a process may take before who ends others waits for it no longer."""

PINNED = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "",
    "SSH_ASKPASS": "",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_SYSTEM": os.devnull,
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_ALLOW_PROTOCOL": "file:http:https:ssh",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_SSH_VARIANT": "ssh",
    "HOME": "/nonexistent",  # no netrc and no settings of whoever runs us; ssh asks the passwd file instead
    "LC_ALL": "C",
    "LANGUAGE": "C",
}

CONFIG = (
    ("core.hooksPath", os.devnull),
    ("core.fsmonitor", "false"),
    ("core.logAllRefUpdates", "false"),
    ("credential.helper", ""),
    ("fetch.writeCommitGraph", "false"),
    ("gc.auto", "0"),  # clone.py tidies, within our deadline and not behind our back
    ("maintenance.auto", "false"),
    ("http.followRedirects", "false"),  # a redirect would carry credentials to a host they are not for
    ("submodule.recurse", "false"),
)
"""Settings of every git process. They travel by environment, which git hides from the programs of a
local remote: its hooks must run. Objects are not fsck'ed on arrival: nothing is ever checked out, and
old repositories are full of harmless oddities that would make them unreadable."""

_BLANKED = ("AUTOMATOR_", "XDG_CONFIG_HOME")
"""None of git's business, or without effect when empty."""
_INHERITED = frozenset({"GIT_EXEC_PATH", "GIT_SSL_CAINFO", "GIT_SSL_CAPATH", "GIT_TRACE2_EVENT"})
"""Of the variables that steer git, those that say where things are on this machine."""


@dataclass(frozen=True, slots=True)
class Answer:
    """How a git process ended."""

    status: int
    out: bytes
    words: str
    """Standard error, undecodable bytes replaced."""


class Ending(Enum):
    """Why a git process is ended that may have done nothing wrong."""

    CONFIG = "the config changed"
    STOP = "it is stopping"
    STUCK = "the cycle took too long"


_EVERY: set[Running] = set()
"""Those at work in this process, whoever started them."""


def end_all_processes(why: Ending) -> None:
    """End every git process that is at work for this one, with all that it started: at the end."""
    for running in tuple(_EVERY):
        running.end(why)


class Git:
    """Starts git processes for one clone, one at a time, and counts them."""

    def __init__(self, folder: Path, *, deadline: float, kept_fd: int) -> None:
        self.folder = folder
        self.deadline = deadline
        self.processes = 0
        self._kept_fd = kept_fd
        """A descriptor that each process holds open: the lock on the clone outlives a killed daemon
        for as long as a process that it started is still at work."""
        self._command = _command(str(folder.parent))
        self._running: set[Running] = set()
        self._starting = threading.Lock()

    def end(self, why: Ending) -> int:
        """End what runs now, with all that it started; from any thread. How many processes were told to.

        The thread that started one meets CheckoutError (`git/ended`, `git/stuck`).
        """
        # One that is being started is not among them yet; where starting one hangs, the others are ended.
        is_known = self._starting.acquire(timeout=START_WAIT)
        try:
            return sum(running.end(why) for running in tuple(self._running))
        finally:
            if is_known:
                self._starting.release()

    def run(
        self,
        step: str,
        *arguments: str,
        feed: bytes | None = None,
        extra: Mapping[str, str] | None = None,
        settings: Sequence[tuple[str, str]] = (),
        folder: Path | None = None,
        meanwhile: Callable[[], None] = lambda: None,
        inherit: Sequence[int] = (),
    ) -> Answer:
        """Run one command to its end, with `meanwhile` called once it has begun. Raises CheckoutError
        (`git/timeout`, `git/ended`, `git/stuck`, `git/no-process`, `git/not-installed`)."""
        running = self.start(
            step,
            *arguments,
            fed=feed is not None,
            extra=extra,
            settings=settings,
            folder=folder,
            inherit=inherit,
        )
        with running:
            if feed is not None:
                running.send(feed)
                running.end_input()
            meanwhile()
            out = b"".join(running.chunks())
            return Answer(running.status(), out, running.words)

    def start(
        self,
        step: str,
        *arguments: str,
        fed: bool = False,
        extra: Mapping[str, str] | None = None,
        settings: Sequence[tuple[str, str]] = (),
        folder: Path | None = None,
        inherit: Sequence[int] = (),
    ) -> Running:
        """Start one command in `folder` (the clone) to be read as it runs; use it inside `with`.

        `step` names the work in errors; `extra` and `settings` add environment and git settings, `inherit`
        open descriptors.
        """
        from git.exc import GitCommandNotFound

        environment = {**PINNED, "GIT_DIR": str(folder or self.folder), **(extra or {})}
        environment |= _as_environment((*CONFIG, *settings))
        # GitPython copies our whole environment. What is ours is blanked; what would steer git even when
        # it is empty is taken back by `env -u`, a program more to start.
        environment = {**{n: "" for n in os.environ if n.startswith(_BLANKED)}, **environment}
        dropped = sorted(n for n in os.environ if _steers(n) and n not in environment)
        unset = ["env", *(f"--unset={name}" for name in dropped)] if dropped else []
        program = self._command.GIT_PYTHON_GIT_EXECUTABLE or "git"
        with self._starting:
            try:
                started = self._command.execute(
                    [*unset, program, *arguments],
                    istream=subprocess.PIPE if fed else None,
                    as_process=True,
                    env=environment,
                    start_new_session=True,
                    pass_fds=(self._kept_fd, *inherit),
                )
            except (GitCommandNotFound, OSError) as error:
                raise _unstartable(step, error) from error
            self.processes += 1
            assert started.proc is not None
            return Running(step, started.proc, self.deadline, keep=started, among=self._running)


def _unstartable(step: str, error: Exception) -> CheckoutError:
    numbers = {getattr(error, "errno", None), getattr(error.__cause__, "errno", None)}
    if errno.E2BIG in numbers:
        words = "its arguments are too long for this machine"
        return CheckoutError(reason("git/failed", step=step, words=words))
    if numbers & {errno.EAGAIN, errno.ENOMEM}:
        return CheckoutError(reason("git/no-process", step=step, problem=getattr(error, "strerror", error)))
    return CheckoutError(reason("git/not-installed", problem=error))


class Running:
    """A git process at work. Only time spent waiting for it counts against its deadline."""

    def __init__(
        self,
        step: str,
        process: subprocess.Popen[bytes],
        deadline: float,
        keep: object,
        among: set[Running] | None = None,
    ) -> None:
        """`among` has it while it is at work."""
        self.step = step
        self.words = ""
        self._process = process
        self._keep = keep  # GitPython ends a process whose handle is forgotten
        self._deadline = deadline
        self._left = deadline
        self._outgoing: deque[memoryview] = deque()
        self._input_ends = False
        self._ending: Ending | None = None
        """Why we had it ended; set by another thread."""
        self._words = bytearray()
        self._pending = bytearray()
        assert process.stdout is not None
        assert process.stderr is not None
        self._out = process.stdout.fileno()
        self._err = process.stderr.fileno()
        self._in = process.stdin.fileno() if process.stdin else None
        self._ready = selectors.DefaultSelector()
        for descriptor in (self._out, self._err):
            os.set_blocking(descriptor, False)
            self._ready.register(descriptor, selectors.EVENT_READ)
        if self._in is not None:
            os.set_blocking(self._in, False)
        self._among = set[Running]() if among is None else among
        self._among.add(self)
        _EVERY.add(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._among.discard(self)
        _EVERY.discard(self)
        if self._process.returncode is None:
            _end_group(self._process)
        else:
            processgroup.leave(self._process.pid)  # hooks of a local remote may leave something at work
        self._ready.close()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()

    def end(self, why: Ending) -> bool:
        """End its process group, from another thread, which reaps nothing; False where nobody is in it."""
        group = self._process.pid
        if self._has_ended():
            return False
        self._ending = self._ending or why  # before it can be noticed
        for number in (signal.SIGTERM, signal.SIGKILL):
            if not processgroup.signalled(group, number):
                return number is signal.SIGKILL
            until = time.monotonic() + GRACE
            while time.monotonic() < until and not self._has_ended() and processgroup.signalled(group, 0):
                time.sleep(0.02)
        return True

    def _has_ended(self) -> bool:
        return self._process.returncode is not None

    def send(self, data: bytes) -> None:
        """Queue `data` for the process; it flows while the answer is read."""
        if self._in is not None and data:
            if not self._outgoing:
                self._ready.register(self._in, selectors.EVENT_WRITE)
            self._outgoing.append(memoryview(data))

    def end_input(self) -> None:
        """Close standard input once everything queued has flowed."""
        self._input_ends = True
        if not self._outgoing:
            self._close_input()

    def chunks(self) -> Iterator[bytes]:
        """The rest of the output, as it comes, to its end. Raises CheckoutError where we had it ended."""
        if self._pending:
            yield bytes(self._pending)
            self._pending.clear()
        while self._ready.get_map():
            if chunk := self._pump():
                yield chunk
        self._judge_end()

    def line(self) -> bytes:
        """The next line of output without its newline; empty at the end of the output. Raises as `chunks`."""
        while (end := self._pending.find(b"\n")) < 0:
            if self._out not in self._ready.get_map():
                self._judge_end()
                return b""
            self._pending += self._pump()
        line = bytes(self._pending[:end])
        del self._pending[: end + 1]
        return line

    def status(self) -> int:
        """Wait for the end; the exit status, negative for a signal.

        Raises CheckoutError: `git/timeout`, and where we had it ended, and it was not done by then,
        `git/ended` or `git/stuck`. What it said then tells of our signal and of nothing else.
        """
        began = time.monotonic()
        try:
            status = _wait(self._process, max(self._left, 0.1))
        except subprocess.TimeoutExpired:
            raise self._late() from None
        self._left -= time.monotonic() - began
        self.words = bytes(self._words).decode("utf-8", "replace")
        if status and self._ending is Ending.STUCK:
            raise CheckoutError(reason("git/stuck", step=self.step))
        if status and self._ending is not None:
            raise CheckoutError(reason("git/ended", step=self.step, why=self._ending.value))
        return status

    def _judge_end(self) -> None:
        """Raise for output that ends because we had the process ended: nobody may take it for all of it."""
        if self._ending is not None:
            self.status()

    def _pump(self) -> bytes:
        """One round of waiting: feeds, collects words, returns what output came (maybe none)."""
        began = time.monotonic()
        events = self._ready.select(max(self._left, 0))
        self._left -= time.monotonic() - began
        if not events and self._left <= 0:
            raise self._late()
        chunk = b""
        for key, _ in events:
            if key.fd == self._in:
                self._feed()
                continue
            data = os.read(key.fd, CHUNK)
            if not data:
                self._ready.unregister(key.fd)
            elif key.fd == self._out:
                chunk = data
            else:
                self._words += data
                del self._words[:-WORDS_LIMIT]
        return chunk

    def _feed(self) -> None:
        assert self._in is not None
        try:
            written = os.write(self._in, self._outgoing[0][:CHUNK])
        except BrokenPipeError:  # it stopped listening: its words say why
            self._outgoing.clear()
            self._ready.unregister(self._in)
            self._close_input()
            return
        rest = self._outgoing.popleft()[written:]
        if rest:
            self._outgoing.appendleft(rest)
        if not self._outgoing:
            self._ready.unregister(self._in)
            if self._input_ends:
                self._close_input()

    def _close_input(self) -> None:
        if self._process.stdin is not None and self._in is not None:
            self._in = None
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()

    def _late(self) -> CheckoutError:
        _end_group(self._process)
        return CheckoutError(reason("git/timeout", step=self.step, seconds=f"{self._deadline:g}"))


def _command(folder: str) -> GitCommand:
    try:
        from git import Git as GitCommand  # slow to import, and fails where there is no git
    except ImportError as error:
        raise CheckoutError(reason("git/not-installed", problem=error)) from error
    return GitCommand(folder)


def _as_environment(settings: Sequence[tuple[str, str]]) -> dict[str, str]:
    named = {"GIT_CONFIG_COUNT": str(len(settings))}
    for number, (key, value) in enumerate(settings):
        named[f"GIT_CONFIG_KEY_{number}"] = key
        named[f"GIT_CONFIG_VALUE_{number}"] = value
    return named


@functools.cache
def _steers(variable: str) -> bool:
    """Whether an inherited variable would steer git."""
    if variable in _INHERITED or variable.startswith("GIT_PYTHON"):
        return False
    return variable.startswith("GIT_")


def _wait(process: subprocess.Popen[bytes], seconds: float) -> int:
    """As `process.wait`, which asks again after ever longer sleeps; Linux tells at once.

    Raises subprocess.TimeoutExpired.
    """
    if sys.platform == "linux" and process.poll() is None:
        with contextlib.suppress(OSError):  # an old kernel, or a sandbox that forbids it
            descriptor = os.pidfd_open(process.pid)
            try:
                ended = select.poll()
                ended.register(descriptor, select.POLLIN)
                if not ended.poll(seconds * 1000):
                    raise subprocess.TimeoutExpired(process.args, seconds)
            finally:
                os.close(descriptor)
    return process.wait(seconds)


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End a process and everything it started: asked first, so that git removes its lock files."""
    group = process.pid  # a session leader's group has its number
    for number in (signal.SIGTERM, signal.SIGKILL):
        ask = int(number)
        until = time.monotonic() + GRACE
        while processgroup.signalled(group, ask) and time.monotonic() < until:
            ask = 0
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.01)
            processgroup.reap(group)
    process.wait()
    processgroup.leave(group)
