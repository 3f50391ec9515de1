"""The program executed without being loaded each time: loading takes longer than what most commands do.

A process that has loaded all of automator waits, and each execution is a fork of it: a process of its
own, with its own folder, environment, descriptors and exit code, that goes through the console script's
`main`. What a start itself does (the script, its imports, Python's own settings) belongs to the tests
that start the script: `World.start`, the shells of test_cli.py, test_demo.py and test_process.py.
"""

from __future__ import annotations

import array
import contextlib
import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

PROGRAM = Path(sys.executable).with_name("automator")
"""The console script."""
OF_PYTHON = ("LC_", "LANG", "LD_", "PYTHON")
"""What Python or its loader reads only when a process starts: who sets it gets the script itself."""


def execute(
    arguments: Sequence[str], *, cwd: Path, env: Mapping[str, str], feed: bytes = b"", timeout: float = 120
) -> subprocess.CompletedProcess[bytes]:
    """Execute `automator ARGUMENTS` to its end; raises subprocess.TimeoutExpired after `timeout` seconds."""
    if any(os.environ.get(name) != env[name] for name in env if name.startswith(OF_PYTHON)):
        command = [str(PROGRAM), *arguments]
        return subprocess.run(
            command, cwd=cwd, env=env, input=feed, capture_output=True, timeout=timeout, check=False
        )
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as complained, _file(feed) as fed:
        request = {"arguments": list(arguments), "cwd": str(cwd), "env": dict(env)}
        code = _loaded().run(request, (fed, said, complained), timeout)
        texts = []
        for file in (said, complained):
            file.seek(0)
            texts.append(file.read())
    return subprocess.CompletedProcess(list(arguments), code, *texts)


def end() -> None:
    """End the process that waits, if there is one."""
    global _waiting
    if _waiting is not None:
        _waiting.end()
        _waiting = None


@contextlib.contextmanager
def _file(content: bytes) -> Any:
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.seek(0)
        yield file


# -- the side of the tests --------------------------------------------------------------------------


class _Waiting:
    """The process that waits for something to execute."""

    def __init__(self) -> None:
        self._ours, theirs = socket.socketpair()
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `end`
        with theirs:
            self._process = subprocess.Popen(
                # -P: the parts beside this file are no modules of the program's
                [sys.executable, "-P", __file__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
            )

    def run(self, request: Mapping[str, Any], files: Sequence[IO[bytes]], timeout: float) -> int:
        """The exit code; negative for a signal, as subprocess has it."""
        content = json.dumps(request).encode()
        ours, theirs = os.pipe()
        with open(ours, "rb", buffering=0) as answer:
            try:
                descriptors = array.array("i", [*(file.fileno() for file in files), theirs])
                head = len(content).to_bytes(8, "big")
                with _sending:
                    self._ours.sendmsg([head], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)])
                    self._ours.sendall(content)
            finally:
                os.close(theirs)
            process = int(self._line(answer, timeout) or 0)
            try:
                return int(self._line(answer, timeout))
            except subprocess.TimeoutExpired:
                os.kill(process, signal.SIGKILL)
                raise

    def _line(self, answer: IO[bytes], timeout: float) -> bytes:
        if not select.select([answer], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired(str(PROGRAM), timeout)
        line = answer.read(16)
        if not line:
            self._errors.seek(0)
            raise AssertionError(f"automator could not be loaded: {self._errors.read().decode()}")
        return line

    def end(self) -> None:
        self._ours.close()
        self._process.wait(20)
        self._errors.close()


_waiting: _Waiting | None = None
_sending = threading.Lock()


def _loaded() -> _Waiting:
    global _waiting
    with _sending:
        if _waiting is None:
            _waiting = _Waiting()
        return _waiting


# -- the side of the program ------------------------------------------------------------------------


def _load() -> None:
    import automator

    for module in pkgutil.walk_packages(automator.__path__, "automator."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    assert threading.active_count() == 1, "a module starts a thread when it is loaded: no fork is safe"
    gc.collect()
    gc.freeze()  # what every fork shares is not written to


def _received(asked: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    head, descriptors, _, _ = socket.recv_fds(asked, 8, 4)
    if not head:
        return None
    with asked.makefile("rb", buffering=0) as stream:
        size, content = int.from_bytes(head, "big"), b""
        while len(content) < size:
            content += stream.read(size - len(content))
    return json.loads(content), descriptors


def _wait(asked: socket.socket) -> None:
    """Returns in a fork that is to be the program; ends when the tests do."""
    while (received := _received(asked)) is not None:
        request, descriptors = received
        if os.fork() == 0:
            asked.close()
            return _become(request, descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
    os._exit(0)


def _become(request: Mapping[str, Any], descriptors: Sequence[int]) -> None:
    """Returns in the program's process; its parent stays behind to tell how it ended."""
    *standard, answer = descriptors
    process = os.fork()
    if process:
        os.write(answer, b"%15d\n" % process)
        status = os.waitpid(process, 0)[1]
        os.write(answer, b"%15d\n" % os.waitstatus_to_exitcode(status))
        os._exit(0)
    os.close(answer)
    for number, descriptor in enumerate(standard):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    time.tzset()
    sys.argv = [str(PROGRAM), *request["arguments"]]


if __name__ == "__main__":
    _load()
    with contextlib.suppress(KeyboardInterrupt), socket.socket(fileno=int(sys.argv[1])) as _asked:
        _wait(_asked)
        from automator.__main__ import main

        main()
