"""What of a config sends a login where whoever is on the way can read it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from automator.config.sections import Config
from automator.config.values import keeps_secrets
from automator.reasons import Reason, reason


def in_the_clear(config: Config) -> Iterator[Reason]:
    """`config/clear-text` for each login that goes to an address of plain http on another machine.

    Allowed, since a server inside of a cluster may have nothing else. A registry is called so only where
    the config says `insecure`, and `credentials.forge` never.
    """
    for key, address, is_sent in _logins(config):
        if is_sent and not keeps_secrets(address):
            yield reason("config/clear-text", key=key, address=_shown(address))


def _shown(address: str) -> str:
    """Without what a receiver or a check may take as a secret, as `?token=…`."""
    return re.split(r"[?#]", address, maxsplit=1)[0]


def _logins(config: Config) -> Iterator[tuple[str, str, bool]]:
    """Key of an address, the address, and whether a login goes there."""
    for name, repo in config.repos.items():
        yield f"repos.{name}.url", repo.url, repo.credentials.password_file is not None
    for host, forge in config.forges.items():
        yield f'forges."{host}".api', forge.api or "", True
    for name, check in config.checks.items():
        yield f"checks.{name}.url", check.url or "", check.token_file is not None
    for name, receiver in config.notify.items():
        yield f"notify.{name}.webhook", receiver.webhook or "", receiver.token_file is not None
