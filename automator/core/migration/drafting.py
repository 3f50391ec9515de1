"""Building drafts: keys in the order in which people read them, holds, and notes."""

from __future__ import annotations

from collections.abc import Iterable

from automator.core.migration.imported import Imported, Note, Source, note
from automator.core.policytext import Draft, free_name
from automator.reasons import one_line

ORDER = (
    *("image", "where", "glob", "regex", "exclude", "semver", "versions", "prereleases", "order", "follow"),
    *("step", "platforms", "pin", "hold"),
)

THEN = ", then remove this hold"
"""What ends the reason of a hold for a place that nobody knows but the person."""


class Work:
    """One workload while it is worked out."""

    def __init__(self, source: Source, name: str) -> None:
        self.source = source
        self.name = name
        self.keys: dict[str, object] = {}
        self.differs: list[str] = []
        """Sentences on what has another meaning here."""
        self.holds: list[str] = []
        """Why nothing may be released; each is something that a person should look at."""

    def hold(self, why: str) -> None:
        """Let the workload be held: it cannot choose as the old tool did, or that was stopped itself."""
        if why not in self.holds:
            self.holds.append(why)

    def differ(self, sentence: str) -> None:
        """Note that something means something else here."""
        if sentence not in self.differs:
            self.differs.append(sentence)

    def draft(self, name: str) -> Draft:
        """The draft, with its notes as comments."""
        keys = {key: self.keys[key] for key in (*ORDER, *self.keys) if key in self.keys}
        if self.holds:
            keys["hold"] = {"reason": one_line("; ".join(self.holds), 400)}
        comments = (f"From {self.source}.", *(f"Differs: {sentence}." for sentence in self.differs))
        return Draft(name, keys, comments)

    def notes(self) -> Iterable[Note]:
        """The notes, each with its object."""
        return (note(self.source, sentence) for sentence in self.differs)


class Left:
    """What is left, each sentence once: objects that say the same are told together."""

    def __init__(self) -> None:
        self._left: dict[str, list[Source]] = {}

    def add(self, source: Source, sentence: str) -> None:
        """Note something that could not be carried over."""
        self._left.setdefault(sentence, []).append(source)

    def notes(self) -> Iterable[Note]:
        """One note for each sentence."""
        for sentence, sources in self._left.items():
            more = f" (and so {len(sources) - 1} more)" if len(sources) > 1 else ""
            yield note(sources[0], sentence + more)


def imported(
    works: Iterable[tuple[str, Work]], left: Iterable[Note], switch_off: tuple[str, ...]
) -> Imported:
    """Everything together: works by policy file, names made unique over all files."""
    drafts: dict[str, list[Draft]] = {}
    differs: list[Note] = []
    taken: set[str] = set()
    for file, work in works:
        name = free_name(work.name, taken)
        taken.add(name)
        drafts.setdefault(file, []).append(work.draft(name))
        differs += work.notes()
    return Imported(
        {file: tuple(found) for file, found in drafts.items()}, tuple(differs), tuple(left), switch_off
    )
