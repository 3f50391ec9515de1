"""YAML nodes of a policy file to plain values, each with its place, and what is wrong with their form.

A plain scalar is text only if both YAML 1.1 and 1.2 read it as text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from automator.core import yamltext
from automator.reasons import Reason, one_line, reason

MAX_VALUES = 100_000
"""Values in one file, aliases counted as often as they are used."""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where something is written: file in the config repo, 1-based line."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


Problem = tuple[Place, Reason]
Path = tuple[str | int, ...]


class TooLarge(Exception):
    """More values than are read."""


class _Typed(NamedTuple):
    """A plain scalar that YAML reads as something other than text, and that is no int, true or false."""

    kind: str


class _Written(NamedTuple):
    """How a value stands in the file."""

    place: Place
    kind: str
    """`text`, or what YAML takes it for: `the number 1.10`, `nothing`, `a list` …"""
    text: str


class WorkloadNode(NamedTuple):
    """One pair under `workloads`."""

    name: str
    path: tuple[str, str]
    """Where its values are noted; another one for each workload of one name."""
    place: Place
    raw: Any


class Reader:
    """Turns one file's nodes into plain values, remembering where each is written."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._budget = MAX_VALUES
        self._written: dict[Path, _Written] = {}
        self._problems: list[tuple[Path, Problem]] = []
        self.places: dict[Path, Place] = {}
        self.workloads: list[WorkloadNode] = []

    def read_top(self, root: yamltext.Mapping) -> dict[str, Any]:
        """The file's keys; `workloads` apart, since names may repeat and each keeps its own claims."""
        top: dict[str, Any] = {}
        for name, key_line, node in self._pairs(root, ()):
            target = _resolve(node)
            if name == "workloads" and isinstance(target, yamltext.Mapping):
                self._note(("workloads",), key_line, "a mapping", "")
                top["workloads"] = {}
                self._read_workloads(target)
            else:
                top[name] = self._value(node, (name,), key_line)
        return top

    def _read_workloads(self, node: yamltext.Mapping) -> None:
        seen: dict[str, int] = {}
        for name, line, value in self._all_pairs(node, ("workloads",)):
            seen[name] = seen.get(name, 0) + 1
            path = ("workloads", name if seen[name] == 1 else f"{name} ({seen[name]})")
            self.workloads.append(
                WorkloadNode(name, path, Place(self._file, line), self._value(value, path, line))
            )

    def _value(self, node: yamltext.Node, path: Path, line: int) -> Any:
        self._budget -= 1
        if self._budget < 0:
            raise TooLarge
        target = _resolve(node)
        if target is None:
            self._note(path, line, "an alias without an anchor", "")
            self._problems.append((path, self.wrong_type(path, "a value")))
            return None
        if isinstance(target, yamltext.Mapping):
            self._note(path, line, "a mapping", "")
            return {name: self._value(n, (*path, name), at) for name, at, n in self._pairs(target, path)}
        if isinstance(target, yamltext.Sequence):
            self._note(path, line, "a list", "")
            return [self._value(item, (*path, i), item.line) for i, item in enumerate(target.items)]
        value, kind = _scalar(target, is_time=bool(path) and path[-1] == "until")
        self._note(path, line if isinstance(node, yamltext.Alias) else node.line, kind, target.value)
        if value is None and len(path) > (2 if path[0] in ("workloads", "rules") else 1):
            self._problems.append((path, self.wrong_type(path, "a value")))
        return value

    def _pairs(self, node: yamltext.Mapping, path: Path) -> list[tuple[str, int, yamltext.Node]]:
        """Pairs by name, each once: a repeated key is a problem."""
        first: dict[str, tuple[str, int, yamltext.Node]] = {}
        for name, line, value in self._all_pairs(node, path):
            if name in first:
                here = Place(self._file, line)
                again = reason(
                    "policy/duplicate-key", place=here, key=_label((*path, name)), line=first[name][1]
                )
                self._problems.append(((*path, name), (here, again)))
            first.setdefault(name, (name, line, value))
        return list(first.values())

    def _all_pairs(self, node: yamltext.Mapping, path: Path) -> list[tuple[str, int, yamltext.Node]]:
        """Pairs as written, then what merge keys (`<<`) add for names not written."""
        own, merged = [], []
        for key, value in node.pairs:
            scalar = _resolve(key)
            if not isinstance(scalar, yamltext.Scalar):
                place = Place(self._file, key.line)
                self._problems.append(
                    (
                        path,
                        (
                            place,
                            _reason_for("policy/wrong-type", place, path, "a key that is no text", "text"),
                        ),
                    )
                )
            elif scalar.value == "<<" and scalar.style == "plain":
                merged.append(value)
            else:
                own.append((scalar.value, key.line, value))
        names = {name for name, _, _ in own}
        for value in merged:
            for name, line, node_ in self._merge_sources(value, path):
                if name not in names:
                    names.add(name)
                    own.append((name, line, node_))
        return own

    def _merge_sources(self, value: yamltext.Node, path: Path) -> Iterator[tuple[str, int, yamltext.Node]]:
        target = _resolve(value)
        for source in target.items if isinstance(target, yamltext.Sequence) else (target,):
            mapping = None if source is None else _resolve(source)
            self._budget -= 1
            if self._budget < 0:
                raise TooLarge
            if isinstance(mapping, yamltext.Mapping):
                yield from self._all_pairs(mapping, path)
            else:
                place = Place(self._file, value.line)
                found = _reason_for(
                    "policy/wrong-type", place, (*path, "<<"), "no mapping", "a mapping, or a list of them"
                )
                self._problems.append(((*path, "<<"), (place, found)))

    def _note(self, path: Path, line: int, kind: str, text: str) -> None:
        place = Place(self._file, line)
        self.places.setdefault(path, place)
        self._written.setdefault(path, _Written(place, kind, text))

    # -- problems

    def problems_under(self, path: Path | None) -> list[Problem]:
        """Problems met while reading below `path`; with None, those of the top level."""
        if path is None:
            return [
                p
                for at, p in self._problems
                if not at or at[0] not in ("workloads", "defaults") or at == ("workloads",)
            ]
        return [p for at, p in self._problems if at[: len(path)] == path]

    def problem(self, path: Path, code: str, **params: str) -> Problem:
        place = self._place(path)
        return place, reason(code, changes_at=None, place=place, key=_label(path), **params)

    def missing(self, path: Path, expected: str) -> Problem:
        return self.problem(path, "policy/missing-key", expected=expected)

    def wrong_type(self, path: Path, expected: str) -> Problem:
        written = self._written.get(path)
        if written is None:
            return self.problem(path, "policy/wrong-type", found="not readable", expected=expected)
        if expected == "text" and written.kind not in ("a list", "a mapping", "nothing"):
            return self.problem(path, "policy/unquoted", found=written.kind, text=written.text)
        found = f'"{written.text}"' if written.kind == "text" else written.kind
        return self.problem(path, "policy/wrong-type", found=found, expected=expected)

    def _place(self, path: Path) -> Place:
        for end in range(len(path), 0, -1):
            if place := self.places.get(path[:end]):
                return place
        return Place(self._file, 1)


def _reason_for(code: str, place: Place, path: Path, found: str, expected: str) -> Reason:
    return reason(code, place=place, key=_label(path) or "the file", found=found, expected=expected)


def _label(path: Path) -> str:
    """`workloads.web.where.paths[0]`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return one_line(text.removeprefix("."))


def _resolve(node: yamltext.Node) -> yamltext.Scalar | yamltext.Mapping | yamltext.Sequence | None:
    while isinstance(node, yamltext.Alias):
        if node.target is None:
            return None
        node = node.target
    return node


_NUMBER = re.compile(
    r"[-+]?(?:0b[01_]+|0o?[0-7_]+|0x[0-9a-fA-F_]+|[0-9][0-9_]*(?::[0-5]?[0-9])*(?:\.[0-9_]*)?(?:[eE][-+]?[0-9]+)?"
    r"|\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?|\.(?:inf|Inf|INF))|\.(?:nan|NaN|NAN)",
    re.ASCII,
)
_INTEGER = re.compile(r"0|[1-9][0-9]{0,17}", re.ASCII)
_DATE = re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt \t].*)?", re.ASCII)
_BOOLEAN = frozenset({"yes", "no", "true", "false", "on", "off"})
_STRING_TAGS = frozenset({"!", "tag:yaml.org,2002:str", "!!str"})


def _scalar(node: yamltext.Scalar, *, is_time: bool) -> tuple[Any, str]:
    """The value of a scalar and what YAML takes it for; plain text counts as anything else than text
    as soon as one of YAML 1.1 and 1.2 reads it so."""
    text = node.value
    if node.tag is not None and node.tag not in _STRING_TAGS:
        return _Typed("tagged"), f"a value with the tag {one_line(node.tag, 60)}"
    if node.style != "plain" or node.tag is not None:
        return text, "text"
    if text in ("", "~", "null", "Null", "NULL"):
        return None, "nothing"
    if text.lower() in _BOOLEAN:
        value = {"true": True, "false": False}.get(text.lower(), _Typed("boolean"))
        return value, f"a boolean ({text})"
    if _DATE.fullmatch(text):
        return (text, "text") if is_time else (_Typed("date"), f"the date {text}")
    if _NUMBER.fullmatch(text):
        return (int(text) if _INTEGER.fullmatch(text) else _Typed("number")), f"the number {text}"
    return text, "text"
