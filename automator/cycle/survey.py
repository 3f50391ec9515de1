"""Surveys: what a config repo holds before anybody wrote a policy, and what its registries list.

Read through the same index as a cycle reads a commit, so that what is proposed from it is what a cycle
will find.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from automator.core.proposal import Listing
from automator.core.reference import Repository
from automator.cycle.earlier import Earlier
from automator.cycle.index import Index, Snapshot
from automator.cycle.source import PlainFolder, Scope
from automator.edges.checkout import Checkout
from automator.errors import RegistryError
from automator.reasons import Reason

AT_ONCE = 8
"""Repositories that are asked for their tags at the same time."""

_HOST_FAILED = frozenset(
    {
        "registry/address-refused",
        "registry/dns",
        "registry/no-tls",
        "registry/timeout",
        "registry/tls",
        "registry/tls-expired",
        "registry/tls-name",
        "registry/unreachable",
    }
)
"""Failures of a host: nobody else of it needs to be asked."""


class Survey(NamedTuple):
    """A config repo, as it is."""

    snapshot: Snapshot
    policy_files: tuple[str, ...]


def survey_folder(root: Path, scope: Scope) -> Survey:
    """What the files below a folder hold. Raises UsageError where `root` is no folder."""
    return _survey(PlainFolder(root), scope, "folder")


def survey_branch(checkout: Checkout, scope: Scope) -> Survey:
    """What the branch of a remote holds, now. Raises CheckoutError."""
    tip = checkout.ask_tip()
    checkout.fetch(tip)
    return _survey(checkout, scope, tip)


def _survey(source: PlainFolder | Checkout, scope: Scope, commit: str) -> Survey:
    index = Index(source, scope, Earlier(source), thorough=True)
    files = tuple(sorted(filter(scope.is_policy, source.tree(commit))))
    return Survey(index.move_to(commit), files)


def ask_registries(
    repositories: Collection[Repository],
    ask: Callable[[Repository], tuple[str, ...]],
    *,
    failed: Callable[[Reason], None],
) -> dict[Repository, Listing]:
    """The tags of repositories; one that cannot be had costs itself, a host that does not answer its own.

    `ask` raises RegistryError, and is called from several threads; `failed` is told each failure once.
    """
    gone: dict[str, str] = {}

    def listing(repository: Repository) -> tuple[Listing, Reason | None]:
        if known := gone.get(repository.registry):
            return Listing(None, known), None
        try:
            return Listing(ask(repository)), None
        except RegistryError as error:
            if error.reason.code in _HOST_FAILED:
                gone[repository.registry] = error.reason.sentence
            return Listing(None, error.reason.sentence), error.reason

    told: set[Reason] = set()
    found = {}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for repository, (what, why) in zip(repositories, pool.map(listing, repositories), strict=True):
            found[repository] = what
            if why is not None and why not in told:
                told.add(why)
                failed(why)
    return found
