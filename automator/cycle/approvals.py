"""Approvals: who approved the pull requests that changes came by, as their forge knows it."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field, replace

from automator.core.delivery.change import Change
from automator.edges.forge import Forge
from automator.errors import ForgeError

_UNKNOWABLE = ("forge/unsupported", "forge/not-found")


@dataclass
class Approvals:
    """Asks a forge, for each commit and each pull request once."""

    forge: Forge
    project: str
    _known: dict[int, tuple[str, ...] | None] = field(default_factory=dict)
    _merges: dict[int, str | None] = field(default_factory=dict)
    _numbers: dict[str, int | None] = field(default_factory=dict)
    """By commit: the pull request that brought it, as the forge has it."""

    def told(self, changes: Iterator[Change]) -> Generator[Change]:
        """Changes with the number of their pull request and those who approved it. What a message says
        does not count: anybody can name a pull request there. A change that came by none, or by one that
        the forge does not know, has neither.

        Raises ForgeError.
        """
        for change in changes:
            number = self._number_of(change)
            approved = None if number is None else self._approvers(number)
            yield replace(change, pull_request=number, approved_by=approved)

    def _number_of(self, change: Change) -> int | None:
        commit = change.commit
        if commit not in self._numbers:
            claimed = change.pull_request
            found = self._merged_with(commit)
            if claimed is not None and claimed not in found and self._merge_of(claimed) == commit:
                found = {claimed}  # the forge cannot look for it, or has not found it yet
            self._numbers[commit] = claimed if claimed in found else min(found, default=None)
        return self._numbers[commit]

    def _merged_with(self, commit: str) -> set[int]:
        """The pull requests that brought a commit, as far as the forge can tell."""
        try:
            found = self.forge.pull_requests_of(self.project, commit)
        except ForgeError as error:
            if error.reason.code in _UNKNOWABLE:
                return set()
            raise
        return {pull.number for pull in found if pull.state == "merged"}

    def _merge_of(self, number: int) -> str | None:
        """The commit by which a pull request came to the branch."""
        if number not in self._merges:
            try:
                pull = self.forge.pull_request(self.project, number)
            except ForgeError as error:
                if error.reason.code not in _UNKNOWABLE:
                    raise
                self._merges[number] = None
            else:
                self._merges[number] = pull.merge_commit if pull.state == "merged" else None
        return self._merges[number]

    def _approvers(self, number: int) -> tuple[str, ...] | None:
        if number not in self._known:
            try:
                self._known[number] = self.forge.approvals(self.project, number)
            except ForgeError as error:
                if error.reason.code not in _UNKNOWABLE:
                    raise
                self._known[number] = None
        return self._known[number]
