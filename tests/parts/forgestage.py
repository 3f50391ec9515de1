"""A stage whose config repo is on a forge: real Git behind a server that keeps to the forge's description."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from parts.forge_projects import Pull
from parts.forges import ForgeServer
from parts.gitserver import git
from parts.stage import Stage

from automator.core.release import Draft
from automator.cycle.proposing import Proposals
from automator.cycle.requested import place_of, request_pull

PROJECT = "acme/shop"
HEAD = "automator/web"
PR = 'semver: ">=1.0 <2"\ndeliver: pull-request'


class ForgeStage(Stage):
    """A stage with a forge; `pull` is the newest pull request there."""

    def __init__(self, folder: Path, stack: ExitStack, kind: str) -> None:
        super().__init__(folder, stack)
        self.forge = stack.enter_context(ForgeServer(kind, folder))
        self.forge.clock = lambda: self.now
        self.forge.project(PROJECT, repo=self.repo)
        self.forges = {
            self.forge.host: {
                "kind": kind,
                "api": self.forge.api,
                "token_file": str(self.forge.token_file),
                "timeout": "5s",
            }
        }
        self.settings = {"forge": self.forge.host, "project": PROJECT}

    def proposed(self, *tags: str, keys: str = PR, version: str = "1.4.2") -> Pull:
        """web at `version`, with newer tags; the pull request that comes of it."""
        self.push("acme/web", version, *(tags or ("1.4.3",)))
        self.commit(self.workload("web", version, keys=keys))
        self.run()
        return self.pull

    @property
    def pull(self) -> Pull:
        pulls = self.forge.pulls
        return pulls[max(pulls)]

    def branch(self, name: str = HEAD) -> str | None:
        """The tip of a branch."""
        return git(self.repo.path, "for-each-ref", "--format=%(objectname)", f"refs/heads/{name}") or None

    def on_branch(self, path: str = "apps/web.yaml", name: str = HEAD) -> str:
        return git(self.repo.path, "show", f"refs/heads/{name}:{path}")

    def commit_on(self, files: dict[str, Any], name: str = HEAD, author: str = "Ann Author") -> str:
        """A person commits on another branch."""
        work = self.folder / "branch-work"
        git(self.folder, "clone", "--quiet", "--branch", name, str(self.repo.path), str(work))
        for path, text in files.items():
            (work / path).write_text(text)
        git(work, "add", "--all")
        identity = {f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER")
                    for what, value in (("NAME", author), ("EMAIL", "ann@example.com"))}  # fmt: skip
        git(work, "commit", "--quiet", "--message=By hand", **identity)
        git(work, "push", "--quiet", "origin", f"HEAD:refs/heads/{name}")
        tip = git(work, "rev-parse", "HEAD")
        shutil.rmtree(work)
        return tip

    @property
    def proposals(self) -> Proposals:
        found = self.cycle.proposals
        assert found is not None
        return found

    def web(self, **more: Any) -> tuple[str, str]:
        """Status and code of web's outcome, after a cycle."""
        outcome = self.outcomes(**more)["web"]
        return str(outcome.status), outcome.reason.code


def requested(stage: ForgeStage, draft: Draft) -> str:
    """A pull request for a change of web's policy that somebody asked for; its page."""
    snapshot = stage.cycle.look()
    place = place_of(stage.proposals, "hold-web", draft, (), stage.now)
    return request_pull(stage.proposals, place, snapshot.commit, draft, now=stage.now).url


@contextmanager
def forge_stage(folder: Path, kind: str) -> Iterator[ForgeStage]:
    with ExitStack() as stack:
        yield ForgeStage(folder, stack, kind)
