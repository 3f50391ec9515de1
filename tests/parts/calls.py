"""What a Python process looks up, connects to and starts, told by the process itself while it runs.

The interpreter reports each of these to its audit hooks (PEP 578), whoever asks for them: our code, a
library, a thread of one. A hook cannot be removed again.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

HOOK = """
import json, os, sys
def noted(event, arguments):
    if event == "socket.getaddrinfo":
        told = ["looked up", str(arguments[0]), str(arguments[1])]
    elif event in ("socket.gethostbyname", "socket.gethostbyaddr"):
        told = ["looked up", str(arguments[0]), ""]
    elif event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        address = arguments[1]
        if address is None:
            return
        address = address[:2] if isinstance(address, tuple) else (address, "")
        told = ["reached", *map(str, address)]
    elif event in ("subprocess.Popen", "os.posix_spawn", "os.exec"):
        told = ["started", *(os.fsdecode(word) for word in (arguments[0], *arguments[1]))]
    elif event in ("os.system", "os.startfile"):
        told = ["started", os.fsdecode(arguments[0])]
    else:
        return
    os.write(notes, (json.dumps(told) + "\\n").encode())
notes = os.open({file!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
sys.addaudithook(noted)
"""


class Calls(NamedTuple):
    """What was noted so far; addresses are `host:port`."""

    looked_up: frozenset[str]
    reached: frozenset[str]
    started: tuple[tuple[str, ...], ...]
    """The program, then its arguments with its own name first."""


class Recorder:
    """Notes what a process does that is started with `environment`, and what its children in Python do."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._file = folder / "calls"
        (folder / "sitecustomize.py").write_text(HOOK.format(file=str(self._file)))
        self.environment = {"PYTHONPATH": str(folder)}

    def calls(self) -> Calls:
        """Raises FileNotFoundError where no process was started with the hook."""
        lines = [json.loads(line) for line in self._file.read_text().splitlines()]

        def places(kind: str) -> frozenset[str]:
            return frozenset(":".join(line[1:]) for line in lines if line[0] == kind)

        started = tuple(tuple(line[1:]) for line in lines if line[0] == "started")
        return Calls(places("looked up"), places("reached"), started)
