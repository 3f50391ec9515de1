"""Which workloads a command is about: `web` in any config repo, `shop/web` in one, or those of an owner."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from automator.cli.options import counted
from automator.cycle.run import Trigger
from automator.errors import UsageError
from automator.reasons import reason

if TYPE_CHECKING:
    from automator.config import Config
    from automator.core.report import Outcome, Report
    from automator.cycle.run import Cycle


@dataclass(frozen=True, slots=True)
class Choice:
    """What `--repo`, `--workload` and `--owner` say together."""

    repos: tuple[str, ...]
    """The config repos to look at; never empty."""
    workloads: tuple[tuple[str, str], ...]
    """Config repo, empty where none was given, and workload; all workloads where there is none."""
    owners: tuple[str, ...]

    def trigger(self, repo: str) -> Trigger:
        """What a cycle of one config repo is about."""
        names = frozenset(name for where, name in self.workloads if where in ("", repo))
        return Trigger("command", all_due=True, workloads=names, owners=frozenset(self.owners))

    def shown(self, report: Report) -> tuple[Outcome, ...]:
        """The outcomes of a report that the command is about."""
        names = self.trigger(report.repo).workloads
        return tuple(
            o
            for o in report.outcomes
            if (not names or o.workload in names) and (not self.owners or o.owner in self.owners)
        )

    def require_known_by(self, cycles: Iterable[Cycle]) -> None:
        """Raises UsageError for a name that no config repo has; where one of them could not be
        read, any name may be right."""
        snapshots = {cycle.repo: cycle.index.snapshot for cycle in cycles}
        read = {repo: snapshot for repo, snapshot in snapshots.items() if snapshot is not None}
        if len(read) == len(snapshots):
            names = {repo: snapshot.workloads.keys() for repo, snapshot in read.items()}
            entries = [entry for snapshot in read.values() for entry in snapshot.workloads.values()]
            self.require(names, {owner for entry in entries if (owner := getattr(entry, "owner", None))})

    def require(self, names: Mapping[str, Collection[str]], owners: Collection[str]) -> None:
        """Raises UsageError for a workload or owner that is not among those that there are."""
        for where, name in self.workloads:
            there = {n for repo, found in names.items() if where in ("", repo) for n in found}
            if name not in there:
                known = near(name, there) or _there_are(len(there), "workload")
                raise UsageError(reason("usage/unknown-workload", name=name, known=known))
        for owner in self.owners:
            if owner not in owners:
                known = near(owner, owners) or _there_are(len(owners), "owner")
                raise UsageError(reason("usage/unknown-owner", name=owner, known=known))


def choose(
    config: Config, repos: Iterable[str], workloads: Iterable[str], owners: Iterable[str] = ()
) -> Choice:
    """Read the options. Raises UsageError for a config repo that the config, or `--repo`, leaves out."""
    chosen = tuple(dict.fromkeys(repos)) or tuple(config.repos)
    named = [(where, name) for where, _, name in (text.rpartition("/") for text in workloads)]
    for repo in (*chosen, *(where for where, _ in named if where)):
        if repo not in config.repos:
            raise unknown_repo(repo, config.repos)
        if repo not in chosen:
            raise unknown_repo(repo, chosen)
    if named:
        chosen = tuple(repo for repo in chosen if any(where in ("", repo) for where, _ in named))
    return Choice(chosen, tuple(named), tuple(owners))


def unknown_repo(name: str, known: Iterable[str]) -> UsageError:
    """The error for a config repo that is not there."""
    return UsageError(reason("usage/unknown-repo", name=name, known=", ".join(sorted(known)) or "none"))


def near(name: str, known: Collection[str]) -> str:
    """`did you mean web?`, or nothing where no name is near."""
    found = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {found[0]}?" if found else ""


def _there_are(number: int, thing: str) -> str:
    return f"there {'is' if number == 1 else 'are'} {counted(number, thing)}"
