"""Surroundings: the demo's environment, in which nothing is left of what its user exported for others.

What belongs here: the variables that would lead it to another config repo, and the proxies that would
stand between it and its own registry.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import MutableMapping

from automator.edges.http import Outside

PREFIX = "AUTOMATOR_"
LOOPBACK = "127.0.0.1,localhost,::1"
_DIRECT = ("NO_PROXY", "no_proxy")


def stand_alone(environ: MutableMapping[str, str]) -> list[str]:
    """Take all AUTOMATOR_… variables from `environ`, and have this machine called without a proxy.

    Returns what to type in another terminal, which has them still; nothing where that changes nothing.
    """
    typed = []
    theirs = sorted(name for name in environ if name.upper().startswith(PREFIX))
    for name in theirs:
        del environ[name]
    if names := [name for name in theirs if re.fullmatch(r"\w+", name, re.ASCII)]:
        typed.append(f"unset {' '.join(names)}")
    is_behind_a_proxy = Outside.of(environ).proxy_for("http://127.0.0.1") is not None
    environ.update(_exceptions(environ))
    if is_behind_a_proxy:
        typed.append(f"export {' '.join(f'{name}={shlex.quote(environ[name])}' for name in _DIRECT)}")
    return typed


def _exceptions(environ: MutableMapping[str, str]) -> dict[str, str]:
    """NO_PROXY in both spellings: what is there, and loopback. Not every program reads the same one."""
    told = {}
    for name, other in (_DIRECT, _DIRECT[::-1]):
        kept = (environ.get(name, "") or environ.get(other, "")).strip()
        # To curl, and so to git, `*` means every host only where it stands alone.
        told[name] = kept if kept == "*" else ",".join(filter(None, (kept, LOOPBACK)))
    return told
