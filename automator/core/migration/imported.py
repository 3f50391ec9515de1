"""What importing another tool's settings gives: drafts of policies, and what to tell the person about them.

An importer is a pure function `files (path -> text) -> Imported`. It never raises on what it reads: a
broken file costs its own objects, and says so in `left`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from automator.core.policytext import Draft
from automator.reasons import one_line


class Source(NamedTuple):
    """The object of the old tool that something was read from."""

    file: str
    line: int
    """1-based line on which the object begins."""
    kind: str = ""
    namespace: str = ""
    """Empty where the object does not say, or has none."""
    name: str = ""

    def __str__(self) -> str:
        """`apps/web.yaml:12 ImagePolicy shop/web`."""
        named = "/".join(part for part in (self.namespace, self.name) if part)
        return one_line(" ".join(part for part in (f"{self.file}:{self.line}", self.kind, named) if part))


class Note(NamedTuple):
    """One sentence about one object."""

    source: Source
    sentence: str
    """On one line, without a full stop."""

    def __str__(self) -> str:
        return f"{self.source}: {self.sentence}"


class Imported(NamedTuple):
    """Everything that came of one import."""

    drafts: Mapping[str, tuple[Draft, ...]]
    """By name of the policy file, relative to the folder of policies: `shop.yaml`."""
    differs: tuple[Note, ...] = ()
    """Carried over with another meaning; each sentence also stands as a comment in its draft."""
    left: tuple[Note, ...] = ()
    """What could not be carried over: it is the person's to do, or not to."""
    switch_off: tuple[str, ...] = ()
    """What to switch off in the old tool, one sentence each, in order."""


def note(source: Source, sentence: str) -> Note:
    """A note whose sentence is safe to print: what it quotes comes from other people's files."""
    return Note(source, one_line(sentence, 400))


_NOT_IN_FILE_NAMES = re.compile(r"[^A-Za-z0-9-]+", re.ASCII)


def policy_file(name: str, default: str) -> str:
    """The policy file for what is called `name`, a namespace for instance: `shop.yaml`."""
    safe = _NOT_IN_FILE_NAMES.sub("-", name).strip("-")[:60]
    return f"{safe or default}.yaml"
