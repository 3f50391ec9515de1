"""Findings: what `check` says, each with the line it is about and the characters of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

from automator.cycle.source import BLOB_LIMIT, decode
from automator.errors import ManifestError
from automator.reasons import Reason

LONGEST_LINE = 2000
"""Characters; longer lines are not shown."""
_FOLLOWING = 50
"""Lines below a key that are searched for the value that a finding is about."""
_NEAR = ("text", "comparator", "found", "glob", "regex", "version", "tag", "image")
"""Parameters of reasons that stand in the line they are about, most exact first."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that `check` has to say."""

    error: bool
    """True: it cannot work. False: it will surprise."""
    file: str
    """Path in the folder, or a word for many files."""
    line: int | None
    """From 1; None where it is about the whole file."""
    reason: Reason
    near: str = ""
    """Text in the line that it is about."""
    text: str | None = None
    """The line, where it could be read."""
    column: int | None = None
    """First character of the line that it is about, from 1; None where nothing of it stands out."""
    end: int | None = None
    """The character behind the last one, from 1."""
    told_as: str | None = None
    """The file as the reason names it, if `file` is its path from elsewhere."""

    @property
    def level(self) -> str:
        return "error" if self.error else "warning"

    @property
    def place(self) -> str:
        """`file:line`, or the file."""
        return self.file if self.line is None else f"{self.file}:{self.line}"

    @property
    def sentence(self) -> str:
        """What was found, without the place that stands beside it."""
        sentence, file = self.reason.sentence, self.told_as or self.file
        place = file if self.line is None else f"{file}:{self.line}"
        for joint in (": ", " "):
            sentence = sentence.removeprefix(f"{place}{joint}")
        return sentence


class Blobs(Protocol):
    """Where files are read."""

    def blobs(self, oids: Iterable[str], *, limit: int) -> Iterator[tuple[str, bytes | None]]: ...


class Shower:
    """Adds to findings the lines they are about; each file is read once."""

    def __init__(self, source: Blobs) -> None:
        self._source = source

    def shown(self, findings: Iterable[Finding]) -> list[Finding]:
        """The findings with their lines, for those whose file can be read as text."""
        by_file: dict[str, list[Finding]] = {}
        shown: list[Finding] = []
        for finding in findings:
            if finding.line is None:
                shown.append(finding)
            else:
                by_file.setdefault(finding.file, []).append(finding)
        for file, data in self._source.blobs(by_file, limit=BLOB_LIMIT):
            try:
                lines = decode(data).split("\n")
            except ManifestError:
                lines = []
            shown += [_with_line(finding, lines) for finding in by_file[file]]
        return shown


def _with_line(finding: Finding, lines: list[str]) -> Finding:
    if finding.line is None or finding.line > len(lines) or len(lines[finding.line - 1]) > LONGEST_LINE:
        return finding
    number, span = _span(finding, finding.line, lines)
    text = lines[number - 1].rstrip("\r")
    if len(text) > LONGEST_LINE:
        return replace(finding, line=number)
    found = replace(finding, line=number, text=text)
    return found if span is None else replace(found, column=span[0] + 1, end=span[1] + 1)


def _span(finding: Finding, line: int, lines: list[str]) -> tuple[int, tuple[int, int] | None]:
    """The line and the characters of it that a finding is about."""
    text = lines[line - 1]
    params = dict(finding.reason.params)
    key = re.split(r"[.\[]", params.get("key", ""))[-1]
    for near in filter(None, (finding.near, *(params.get(name) for name in _NEAR))):
        if (span := _in(text, near)) is not None:
            return line, span
    if finding.near:
        for number in range(line + 1, min(line + _FOLLOWING, len(lines)) + 1):
            below = lines[number - 1]
            if below.strip() and not _is_inside(below, text):
                break
            if (span := _in(below, finding.near)) is not None:
                return number, span
    return line, _value(text, key)


def _in(text: str, near: str) -> tuple[int, int] | None:
    at = text.find(near)
    return None if at < 0 else (at, at + len(near))


def _is_inside(below: str, above: str) -> bool:
    """Whether a line belongs to the key of a line further up."""
    inner, outer = (len(line) - len(line.lstrip(" ")) for line in (below, above))
    return inner > outer or (inner == outer and below.lstrip(" ").startswith("- "))


_PAIR = re.compile(r"^[ \t]*(?:-[ \t]+)*(?P<key>[^\s:#]+)[ \t]*:[ \t]*(?P<value>[^#]*?)[ \t\r]*(?:#.*)?$")


def _value(text: str, key: str) -> tuple[int, int] | None:
    """The value of a `key: value` line, or its key where the value is elsewhere."""
    pair = _PAIR.match(text)
    if pair is None:
        return None
    named = key in ("", pair["key"].strip("\"'"))
    return pair.span("value" if pair["value"] and named else "key")
