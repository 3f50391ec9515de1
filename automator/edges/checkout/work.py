"""A person's checkout: where it came from, read and never changed."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

from automator.edges.checkout.git import Git

DEADLINE = 30.0
_HTTP_USER = re.compile(r"(https?://)[^/]*@", re.IGNORECASE)
_PASSWORD = re.compile(r"(\w[\w+.-]*://[^/@:]*):[^/@]*@")
_REMOTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://|[^/]+:")


class Origin(NamedTuple):
    """A checkout, and the branch of a remote that it follows."""

    root: Path
    """Its top folder, absolute."""
    url: str | None
    """Without passwords; None where it has no remote."""
    branch: str


def origin_of(folder: Path) -> Origin | None:
    """Where the checkout that a folder lies in came from; None where it lies in none.

    A branch that the remote does not have, as far as is known here, counts as its default branch.

    Raises CheckoutError (`git/timeout`, `git/not-installed`).
    """
    start = folder.resolve()
    root = next((place for place in (start, *start.parents) if (place / ".git").exists()), None)
    if root is None:
        return None
    kept = os.open(os.devnull, os.O_RDONLY)
    try:
        ask = _Question(Git(root / ".git", deadline=DEADLINE, kept_fd=kept))
        here = ask("symbolic-ref", "--quiet", "--short", "HEAD")
        remote = (here and ask("config", "--get", f"branch.{here}.remote")) or "origin"
        url = ask("config", "--get", f"remote.{remote}.url")
        followed = ask("config", "--get", f"branch.{here}.merge").removeprefix("refs/heads/") if here else ""
        branch = followed or here
        if not branch or (url and not ask("rev-parse", "--verify", "--quiet", _tracked(remote, branch))):
            known = ask("symbolic-ref", "--quiet", _tracked(remote, "HEAD"))
            branch = known.removeprefix(_tracked(remote, "")) or branch or "main"
        return Origin(root, _clean(url, root), branch)
    finally:
        os.close(kept)


class _Question:
    """Asks git for one line."""

    def __init__(self, git: Git) -> None:
        self._git = git

    def __call__(self, *arguments: str) -> str:
        """What git says, or nothing where it has no answer."""
        answer = self._git.run(f"git {arguments[0]}", *arguments)
        return answer.out.decode("utf-8", "replace").strip() if answer.status == 0 else ""


def _tracked(remote: str, branch: str) -> str:
    return f"refs/remotes/{remote}/{branch}"


def _clean(url: str, root: Path) -> str | None:
    if not url:
        return None
    bare = _PASSWORD.sub(r"\1@", _HTTP_USER.sub(r"\1", url))
    return bare if _REMOTE.match(bare) else str((root / bare).resolve())
