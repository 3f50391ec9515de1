"""Names: looked up within the time of the exchange that needs them.

The machine's resolver has no limit that we could give it, and cannot be interrupted: each lookup has a thread
of its own, which is left behind where it takes too long. Who asks for the same name meanwhile waits for the
same lookup, so that a resolver that hangs holds one thread for each name.
"""

from __future__ import annotations

import socket
import threading
import time
from dataclasses import dataclass, field
from typing import Any

Found = list[tuple[Any, ...]]
"""What `socket.getaddrinfo` answers."""


class Late(Exception):
    """A name was not found in time."""


@dataclass(slots=True)
class _Lookup:
    done: threading.Event = field(default_factory=threading.Event)
    found: Found = field(default_factory=list)
    error: OSError | UnicodeError | None = None


_lock = threading.Lock()
_under_way: dict[tuple[str, int], _Lookup] = {}


def look_up(host: str, port: int, ends_at: float) -> Found:
    """The addresses of a host, by `ends_at` (of `time.monotonic`) at the latest.

    Raises what `socket.getaddrinfo` does (socket.gaierror, UnicodeError), and Late.
    """
    key = (host, port)
    with _lock:
        lookup = _under_way.get(key)
        if lookup is None:
            lookup = _Lookup()
            thread = threading.Thread(target=_find, args=(key, lookup), name=f"name {host}", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:  # no more threads are to be had
                raise OSError(str(error)) from error
            _under_way[key] = lookup  # it begins by waiting for nobody, and ends by waiting for the lock
    if not lookup.done.wait(max(0.0, ends_at - time.monotonic())):
        raise Late(host)
    if lookup.error is not None:
        # Several may raise it at once: each its own.
        raise type(lookup.error)(*lookup.error.args)
    return lookup.found


def _find(key: tuple[str, int], lookup: _Lookup) -> None:
    try:
        lookup.found = socket.getaddrinfo(*key, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        lookup.error = error
    finally:
        with _lock:
            _under_way.pop(key, None)
        lookup.done.set()
