"""Template variables: `{{ $version := "1.4.2" }}`, used as `image: ghcr.io/acme/web:{{ $version }}`.

The version stands literally where the variable is set, so that is the place to edit: if it is set once, and
every image that uses it is the same one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from collections.abc import Mapping as Map
from typing import NamedTuple

from automator.core.fields import Link
from automator.core.found import SETTING, Found, Owner, Piece
from automator.core.reference import DIGEST, TAG
from automator.core.spelling import read_reference, repository_of
from automator.core.yamltext import Scalar

_VARIABLE = r"\{\{-?\s*(?P<%s>\$\w+)\s*-?\}\}"
_USE = re.compile(rf"(?P<name>[^\s{{}}]+?|{_VARIABLE % 'image'})(?P<sign>[:@]){_VARIABLE % 'variable'}")
_SETTING = re.compile(
    r"\{\{-?\s*(?:(?:range|with|if|else\s+if|else\s+with)\s+)?(?:\$\w+\s*,\s*)?"
    r"(?P<variable>\$\w+)\s*:?=\s*(?P<rest>[^\r\n{}]*?)\}\}"
)
_EXPRESSION = re.compile(r"\{\{(?P<inside>(?:(?!\{\{)[^\r\n])*?)\}\}")
_NAMED = re.compile(r"\$\w+")
_BEFORE = re.compile(
    r"(?P<name>[^\s\"'=,]*)[:@]$|(?P<key>[\w.-]*(?:[tT]ag|TAG|[vV]ersion|VERSION))[\"']?[ ]*:[ ]*[\"']?$"
)
_LITERAL = re.compile(r"(?P<quote>[\"`])(?P<value>[^\"`\r\n\\]*)(?P=quote)\s*-?")
_LOOK_BACK = 300
"""Characters of its line before a template that are looked at."""


class _Setting(NamedTuple):
    """A variable that is set to a literal."""

    variable: str
    value: str
    start: int
    """Where the literal begins, behind its quote."""
    line: int


def resolved(found: list[Found], text: str) -> list[Found]:
    """The found places, those whose version is a variable at the place where it is set."""
    once: dict[str, _Setting | None] = {}
    for variable, setting in _settings(text):
        once[variable] = None if variable in once else setting
    kept: list[Found] = []
    used: dict[int, list[Found]] = {}
    for place in found:
        moved = _at_setting(place, text, once)
        if moved is None:
            kept.append(place)
        else:
            used.setdefault(moved.start, []).append(moved)
    uses = _uses(text) if used else {}
    for places in used.values():
        first = places[0]
        names = {place.spelled.written for place in places}
        if len(names) > 1 or _is_used_elsewhere(uses.get(str(first.pieces[0].link.step), ()), names.pop()):
            doubt = first.spelled._replace(doubt="site/template-shared")
            first = first._replace(spelled=doubt)
        kept.append(first)
    return kept


def _uses(text: str) -> dict[str, list[tuple[str, str]]]:
    """Where each variable is used: what stands before the template on its line, and what it says."""
    found: dict[str, list[tuple[str, str]]] = {}
    for match in _EXPRESSION.finditer(text):
        if "$" not in match["inside"]:
            continue
        begin = max(text.rfind("\n", 0, match.start()) + 1, match.start() - _LOOK_BACK)
        for name in set(_NAMED.findall(match["inside"])):
            found.setdefault(name, []).append((text[begin : match.start()], match["inside"]))
    return found


def _is_used_elsewhere(uses: Iterable[tuple[str, str]], written: str) -> bool:
    """Whether a variable is the version of another image too, or may be: behind another name, under a
    key of a tag, or inside of an expression that puts a reference together."""
    for before, inside in uses:
        match = _BEFORE.search(before)
        if match is not None and match["key"] and not match["key"].lower().endswith("version"):
            return True
        name = written if match is None or match["name"] is None else match["name"]
        if name != written and ("/" in name or name.endswith("}}")):
            return True
        if "/" in inside.partition(":=")[2] or ("/" in inside and "=" not in inside):
            return True
    return False


def settings(text: str, owner: Owner) -> list[Found]:
    """Variables that are set to a whole reference."""
    found = []
    for variable, setting in _settings(text):
        spelled = read_reference(setting.value) if setting is not None else None
        if setting is None or spelled is None or spelled.repository is None:
            continue
        if (spelled.tag or spelled.digest) and ("/" in spelled.written or variable[-5:].lower() == "image"):
            found.append(Found(spelled, (_piece("reference", setting, text),), (), owner, None))
    return found


def _at_setting(place: Found, text: str, settings: Map[str, _Setting | None]) -> Found | None:
    """A place moved to where its variable is set; None where it has none, or one set more than once."""
    piece = place.pieces[0]
    if place.spelled.doubt != "site/templated" or not isinstance(piece.node, Scalar):
        return None
    use = _USE.fullmatch(piece.node.value)
    setting = settings.get(use["variable"]) if use is not None else None
    if use is None or setting is None:
        return None
    if (TAG if use["sign"] == ":" else DIGEST).fullmatch(setting.value) is None:
        return None
    if len(place.pieces) > 1:  # a digest beside it would stay
        return place._replace(spelled=place.spelled._replace(doubt="site/digest-beside"))
    kind = "tag" if use["sign"] == ":" else "digest"
    image = settings.get(use["image"]) if use["image"] else None
    name = image.value if image is not None else use["name"]
    spelled = place.spelled._replace(
        written=use["name"],
        repository=repository_of(name),
        tag=setting.value if kind == "tag" else None,
        digest=setting.value if kind == "digest" else None,
        doubt=None,
    )
    return place._replace(spelled=spelled, pieces=(_piece(kind, setting, text),), names=(piece.node,))


def _settings(text: str) -> Iterator[tuple[str, _Setting | None]]:
    """Each place where a variable is set, and to which literal; None for anything that is worked out."""
    line, at = 1, 0
    for match in _SETTING.finditer(text):
        rest = match["rest"].strip()
        literal = _LITERAL.fullmatch(rest)
        if literal is None:
            yield match["variable"], None
            continue
        start = match.start("rest") + match["rest"].index(rest) + 1
        line += text.count("\n", at, start)
        at = start
        yield match["variable"], _Setting(match["variable"], literal["value"], start, line)


def _piece(kind: str, setting: _Setting, text: str) -> Piece:
    """The literal of a setting as a piece of its own, without its quotes."""
    end = setting.start + len(setting.value)
    whole = Scalar(text, 0, len(text), 1, "text", None, None)
    node = Scalar(setting.value, setting.start, end, setting.line, SETTING, None, None)
    return Piece(kind, node, Link(None, setting.variable, whole), whole)
