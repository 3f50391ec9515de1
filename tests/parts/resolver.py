"""A process of its own in which one name resolves as told, and only after a while.

Nothing real on a test machine answers for a name slowly, or says that a public name is this machine.
"""

from __future__ import annotations

import subprocess
import sys

RESOLVER = """
import socket, time
usual = socket.getaddrinfo
def resolved(host, *rest, **named):
    if host != {name!r}:
        return usual(host, *rest, **named)
    time.sleep({pause!r})
    return usual("127.0.0.1", {port!r}, type=socket.SOCK_STREAM)
socket.getaddrinfo = resolved
"""


def told_where(name: str, port: int, code: str, *, pause: float = 0.0) -> str:
    """What `code` prints where `name` is port `port` of this machine, as a resolver says after `pause`."""
    code = RESOLVER.format(name=name, port=port, pause=pause) + code
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
