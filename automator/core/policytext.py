"""Policy files as text: drafts of workloads to the YAML that `policyfile` reads back as the same values.

What is written reads the same by YAML 1.1 and 1.2: each value stands on one line, text is quoted only
where some reader would take it for something else.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from automator.core.policyfile import NAME
from automator.core.yamltext import quote_plain
from automator.reasons import one_line

MAX_NAME = 200
"""Characters in a name that is written; YAML bounds keys that stand on one line at 1024."""

_SHORT_NAME = 60
_COMMENT = 400
_WIDTH = 100
_NOTHING: Mapping[str, Any] = MappingProxyType({})
_SAFE_IN_FLOW = re.compile(r"[A-Za-z0-9_./+-]+", re.ASCII)
_DIGITS = re.compile(r"[-+.:_0-9eE]+", re.ASCII)
_NO_NAME = re.compile(r"[^A-Za-z0-9._-]+", re.ASCII)
_SURROGATES = re.compile("[\ud800-\udfff]")


class Draft(NamedTuple):
    """A workload to be written."""

    name: str
    keys: Mapping[str, object]
    """By name, in writing order: text, bool, a mapping of such, or a list of text or mappings."""
    comments: tuple[str, ...] = ()
    """Lines above the workload, without `#`."""
    remarks: Mapping[str, str] = _NOTHING
    """Comments behind a key of the workload, by the key."""


def policy_text(
    drafts: Collection[Draft], *, header: tuple[str, ...] = (), defaults: Mapping[str, object] = _NOTHING
) -> str:
    """The text of a policy file with these workloads, in their order; `header` are comment lines on top.

    Raises ValueError for a name that is none, is too long, or stands twice.
    """
    seen: set[str] = set()
    for name in (draft.name for draft in drafts):
        if NAME.fullmatch(name) is None or len(name) > MAX_NAME or name in seen:
            raise ValueError(f"no name for a workload here: {one_line(name)!r}")
        seen.add(name)
    return "".join(f"{line}\n" for line in _file(drafts, header, defaults))


def free_name(wanted: str, taken: Collection[str]) -> str:
    """A valid name for a workload like the `wanted` one that is not among the `taken`."""
    name = _NO_NAME.sub("-", wanted).strip("._-")[:_SHORT_NAME].rstrip("._-") or "workload"
    free, number = name, 1
    while free in taken:
        number += 1
        free = f"{name}-{number}"
    return free


# -- lines ----------------------------------------------------------------------------------------


def _file(
    drafts: Collection[Draft], header: tuple[str, ...], defaults: Mapping[str, object]
) -> Iterator[str]:
    yield from (_comment(line) for line in header)
    yield "version: 1"
    if defaults:
        yield "defaults:"
        yield from _pairs(defaults, "  ", _NOTHING)
    if not drafts:
        yield "workloads: {}"
        return
    yield "workloads:"
    for number, draft in enumerate(drafts):
        if number:
            yield ""
        yield from (f"  {_comment(line)}" for line in draft.comments)
        if draft.keys:
            yield f"  {_scalar(draft.name)}:"
            yield from _pairs(draft.keys, "    ", draft.remarks)
        else:
            yield f"  {_scalar(draft.name)}: {{}}"


def _pairs(keys: Mapping[str, object], indent: str, remarks: Mapping[str, str]) -> Iterator[str]:
    for key, value in keys.items():
        remark = f"  {_comment(remarks[key])}" if key in remarks else ""
        start = f"{indent}{_scalar(key)}:"
        short = _flow(value) if isinstance(value, (Mapping, list, tuple)) else _scalar(value)
        if not isinstance(value, (Mapping, list, tuple)) or len(start) + 1 + len(short) <= _WIDTH:
            yield f"{start} {short}{remark}"
        elif isinstance(value, Mapping):
            yield start + remark
            yield from _pairs(value, f"{indent}  ", _NOTHING)
        else:
            yield start + remark
            yield from (f"{indent}  - {_flow(item)}" for item in value)


def _comment(text: str) -> str:
    return f"# {one_line(_SURROGATES.sub(chr(0xFFFD), text), _COMMENT)}".rstrip()


# -- values ---------------------------------------------------------------------------------------


def _flow(value: object) -> str:
    """A value on one line, between brackets too."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_flow(key)}: {_flow(one)}" for key, one in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_flow(one) for one in value) + "]"
    if isinstance(value, str) and _SAFE_IN_FLOW.fullmatch(value) is None:
        return _quoted(value)
    return _scalar(value)


def _scalar(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    if not text or quote_plain(text) or _DIGITS.fullmatch(text) or "\\" in text:
        return _quoted(text)
    return text


def _quoted(text: str) -> str:
    r"""In double quotes, or in single ones where those spare `\` and `"` an escape."""
    text = _SURROGATES.sub(chr(0xFFFD), text)
    if text.isprintable() and ("\\" in text or '"' in text):
        return "'" + text.replace("'", "''") + "'"
    return '"' + "".join(_escaped(character) for character in text) + '"'


def _escaped(character: str) -> str:
    if character in '\\"':
        return f"\\{character}"
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
