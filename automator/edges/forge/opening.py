"""Opening: from settings to a forge that can be spoken to."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import datetime

from automator.edges.forge.api import Forge
from automator.edges.forge.caller import Caller
from automator.edges.forge.limits import Limits
from automator.edges.forge.login import AppLogin, Login, TokenLogin
from automator.edges.forge.settings import ForgeKind, ForgeSettings
from automator.edges.http import Answer, Outside

WITH_ETAGS = frozenset({"github", "gitlab"})
PACED = frozenset({"github"})
"""Those that count changes which come too fast."""


def open_forge(
    settings: ForgeSettings,
    *,
    outside: Outside,
    clock: Callable[[], datetime],
    monotonic: Callable[[], float] = time.monotonic,
) -> Forge:
    """The client of a forge. Nothing is asked yet, and no secret is read.

    `clock` tells the time in UTC, `monotonic` the seconds by which a forge is left alone.
    """
    kind = settings.kind
    limits, token_limits = (
        Limits(settings.host, clock=clock, monotonic=monotonic, paced=is_paced)
        for is_paced in (kind in PACED, False)
    )

    def ask_for_token(path: str, headers: dict[str, str]) -> Answer:
        return caller.ask_for_token(path, headers)

    headers, opened = _kind(kind)
    caller = Caller(
        settings,
        _login(settings, clock, ask_for_token),
        limits,
        token_limits,
        outside=outside,
        headers=headers,
        has_etags=kind in WITH_ETAGS,
    )
    return opened(settings, caller)


def _kind(kind: ForgeKind) -> tuple[Mapping[str, str], Callable[[ForgeSettings, Caller], Forge]]:
    """Headers and client of one kind of forge; the others are not even imported."""
    match kind:
        case "github":
            from automator.edges.forge import github

            return github.HEADERS, github.GitHub
        case "gitlab":
            from automator.edges.forge import gitlab

            return gitlab.HEADERS, gitlab.GitLab
        case "bitbucket":
            from automator.edges.forge import bitbucket

            return bitbucket.HEADERS, bitbucket.Bitbucket
        case "gitea" | "forgejo":
            from automator.edges.forge import gitea

            return gitea.HEADERS, gitea.Gitea


def _login(
    settings: ForgeSettings,
    clock: Callable[[], datetime],
    ask: Callable[[str, dict[str, str]], Answer],
) -> Login:
    host = settings.host
    if settings.app_id is not None:
        assert settings.app_key_file is not None
        assert settings.installation_id is not None
        return AppLogin(
            host,
            app_id=settings.app_id,
            key_file=settings.app_key_file,
            installation=settings.installation_id,
            clock=clock,
            ask=ask,
        )
    assert settings.token_file is not None
    path = settings.token_file
    match settings.kind:
        case "github":
            return TokenLogin(host, path, header="Authorization", scheme="Bearer ", user="x-access-token")
        case "gitlab":
            return TokenLogin(host, path, header="PRIVATE-TOKEN", scheme="", user="oauth2")
        case "gitea" | "forgejo":
            return TokenLogin(host, path, header="Authorization", scheme="token ", user="automator")
        case "bitbucket":
            # An API token belongs to an account and goes with its mail address; git wants a fixed name.
            name = settings.username
            user = "x-token-auth" if name is None else "x-bitbucket-api-token-auth"
            return TokenLogin(host, path, header="Authorization", scheme="Bearer ", user=user, basic=name)
