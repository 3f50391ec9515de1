"""A witness: an automator with a state folder of its own, and what it cannot help knowing of the branch.

A branch that is force-pushed to an older commit does not tell in its history what was taken back. Who saw
it must hold it back all the same (`must_withhold`); who did not see it may, and nobody else (`may_withhold`).
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from parts.oracle import Load, Model
from parts.stage import COMMAND, Stage

from automator.app import App
from automator.config import Config
from automator.core.report import Report


@dataclass
class Witness:
    """One automator on the stage's config repo."""

    stage: Stage
    model: Model
    folder: Path
    app: App | None = None
    seen: str | None = None
    """Where it saw the branch last."""
    taken_back: dict[str, set[str]] = field(default_factory=dict)
    """By workload, versions that it saw on the branch before the branch was set back below them."""
    doubtful: dict[str, set[str]] = field(default_factory=dict)
    """By workload, all versions that a rewind took away: it may have seen them."""
    listed: dict[str, set[str]] = field(default_factory=dict)
    """By workload, what was under `accept` when a rewind came: that was said before."""

    # -- the program ---------------------------------------------------------------------------------------

    def opened(self) -> App:
        if self.app is None:
            host = {"insecure": True, "deadline": "20s"}
            config = Config(
                state=self.folder,
                repos={"shop": {"url": str(self.stage.repo.path), **self.stage.settings}},
                registries={self.stage.host: host},
                forges=self.stage.forges,
            )
            self.app = App.open(config, exclusive=True, clock=lambda: self.stage.now)
        return self.app

    def run(self, *, push: bool = True) -> Report:
        report = self.opened().cycles["shop"].run(COMMAND, push=push)
        assert report.error is None, report.error.sentence
        return report

    def stop(self) -> None:
        if self.app is not None:
            self.app.close()
            self.app = None

    def lose_state(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
        self.seen, self.taken_back, self.doubtful, self.listed = None, {}, {}, {}

    # -- what it knows -------------------------------------------------------------------------------------

    def looks(self, line: list[str]) -> None:
        """It is about to look at a branch: what it saw and does not find there was taken back."""
        if self.seen is not None and not self._has(line[-1], self.seen):
            for load in self.model.loads:
                before, now = (self.model.current(load, commit) for commit in (self.seen, line[-1]))
                if before and self._is_above(load, before, now):
                    self.taken_back.setdefault(load.name, set()).add(before)
        self.seen = line[-1]

    def _has(self, commit: str, older: str) -> bool:
        command = ["git", "-C", str(self.stage.repo.path), "merge-base", "--is-ancestor", older, commit]
        return subprocess.run(command, check=False).returncode == 0

    def _is_above(self, load: Load, one: str, other: str) -> bool:
        ranks = [self.model.rank(load, version) for version in (one, other)]
        return one != other if load.order == "follow" else None not in ranks and ranks[0] > ranks[1]

    def doubts(self, lost: list[str]) -> None:
        """The branch was set back behind these tips."""
        for load in self.model.loads:
            listed = self.model.policy(load, lost[-1]).get("accept", ())
            self.listed.setdefault(load.name, set()).update(listed)
            for commit in lost:
                self.doubtful.setdefault(load.name, set()).update(self.model.versions(load, commit))

    def must_withhold(self, load: Load, version: str, line: list[str]) -> bool:
        """Whether releasing a version on a branch would put back, unasked, what it saw being taken back."""
        gone = self.taken_back.get(load.name, set()) - set(self.model.versions(load, line[-1]))
        return not self.model.accepts(load, version, line[-1]) and self._covers(load, gone, version)

    def may_withhold(self, load: Load, version: str, line: list[str]) -> bool:
        """Whether it may take a version for turned away where history says nothing of it."""
        for one in self.model.unit(load):
            since = version in self.model.accepted(one, line) - self.listed.get(one.name, set())
            if not since and self._covers(one, self.doubtful.get(one.name, set()), version):
                return True
        return False

    def _covers(self, load: Load, gone: set[str], version: str) -> bool:
        if load.order == "follow":
            return version in gone
        own = self.model.rank(load, version)
        ranks = (self.model.rank(load, one) for one in gone)
        return own is not None and any(rank is not None and own <= rank for rank in ranks)
