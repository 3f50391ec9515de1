"""A field for tests of forge clients: a forge of some kind, a project on it, and our client for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from parts.forges import ForgeServer
from parts.gitserver import BareRepo

from automator.core.forge import PullDraft
from automator.edges.forge import Forge, ForgeSettings
from automator.edges.forge.opening import open_forge
from automator.edges.http import Outside
from automator.errors import ForgeError

SHOP = "acme/shop"
NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
KINDS = ("github", "gitlab", "gitea", "forgejo", "bitbucket")


@dataclass
class Field:
    """What a test plays on. `now` is the clock of both the forge and the client."""

    forge: ForgeServer
    repo: BareRepo
    project: str = SHOP
    now: datetime = NOON
    client: Forge = field(init=False)

    def __post_init__(self) -> None:
        self.forge.clock = lambda: self.now
        self.client = self.another_client()

    def another_client(self, **settings: object) -> Forge:
        """A client that knows nothing yet: as after a restart, or another replica's."""
        token_file = None if "app_id" in settings else str(self.forge.token_file)
        told = {"api": self.forge.api, "token_file": token_file, "timeout": 10.0, **settings}
        return open_forge(
            ForgeSettings(self.forge.host, self.forge.kind, **told),  # type: ignore[arg-type]
            outside=Outside(),
            clock=lambda: self.now,
            monotonic=lambda: time.monotonic() + (self.now - NOON).total_seconds(),
        )

    def wait(self, seconds: float) -> None:
        """Time goes on."""
        self.now += timedelta(seconds=seconds)

    def branch(self, name: str, *messages: str) -> str:
        """A branch from the base's tip with a commit for each message; its tip."""
        base, tip = self.repo.tip(), None
        main, self.repo.branch = self.repo.branch, name
        for i, message in enumerate(messages or ("Release web 2\n\nRelease-Kind: release",)):
            file = f"apps/{name.replace('/', '-')}-{i}.yaml"
            tip = self.repo.commit({file: message}, message, base=base)
            base = None
        self.repo.branch = main
        assert tip is not None
        return tip

    def open(self, head: str = "automator/web", **fields: object) -> int:
        """A pull request that the client opens; its number."""
        self.branch(head)
        told = {"base": "main", "title": "Release web 2", "body": "It is newer.", **fields}
        return self.client.open_pull_request(self.project, PullDraft(head, **told)).number  # type: ignore[arg-type]


def make_field(kind: str, folder: Path, project: str = SHOP) -> Field:
    """A field on a forge that is not started yet: use it with `with field.forge`."""
    forge = ForgeServer(kind, folder)
    return Field(forge, forge.project(project, {"README.md": "config repo\n", "a": "1\n"}), project)


def refusal(act: Callable[[], object]) -> ForgeError:
    """The ForgeError that `act` ends in."""
    with pytest.raises(ForgeError) as caught:
        act()
    return caught.value


def code(act: Callable[[], object]) -> str:
    return refusal(act).reason.code
