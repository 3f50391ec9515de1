"""Docker configs and credential helpers for tests: real files, real programs on PATH."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path

Helper = Callable[[str, str], Path]
"""(name, shell script) -> the file that notes each call, as `get SERVER`."""


def auth(user: str, password: str) -> dict[str, str]:
    """An entry of `auths`, as `docker login` writes it."""
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def answering(user: str, secret: str) -> str:
    """The script of a helper that knows one answer."""
    return f"echo '{json.dumps({'ServerURL': 'x', 'Username': user, 'Secret': secret})}'"
