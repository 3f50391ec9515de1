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
    """Asks a forge, for each pull request once."""

    forge: Forge
    project: str
    _known: dict[int, tuple[str, ...] | None] = field(default_factory=dict)

    def told(self, changes: Iterator[Change]) -> Generator[Change]:
        """Changes with the number of their pull request and those who approved it; a change that came by
        none, or by one that the forge does not know, as it is.

        Raises ForgeError.
        """
        for change in changes:
            number = change.pull_request
            if number is None and change.moves:
                number = self._number_of(change.commit)
            if number is None:
                yield change
            else:
                yield replace(change, pull_request=number, approved_by=self._approvers(number))

    def _number_of(self, commit: str) -> int | None:
        try:
            found = self.forge.pull_requests_of(self.project, commit)
        except ForgeError as error:
            if error.reason.code in _UNKNOWABLE:
                return None
            raise
        return next((pull.number for pull in found if pull.state == "merged"), None)

    def _approvers(self, number: int) -> tuple[str, ...] | None:
        if number not in self._known:
            try:
                self._known[number] = self.forge.approvals(self.project, number)
            except ForgeError as error:
                if error.reason.code not in _UNKNOWABLE:
                    raise
                self._known[number] = None
        return self._known[number]
