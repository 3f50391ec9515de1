"""Template variables: `{{ $version := "1.4.2" }}`, used as `image: ghcr.io/acme/web:{{ $version }}`.

The version stands literally where the variable is set, so that is the place to edit: if it is set once, and
every image that uses it is the same one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping as Map

from automator.core.fields import Link
from automator.core.found import SETTING, Found, Owner, Piece
from automator.core.reference import DIGEST, TAG
from automator.core.spelling import read_reference, repository_of
from automator.core.yamltext import Scalar

_VARIABLE = r"\{\{-?\s*(?P<%s>\$\w+)\s*-?\}\}"
_USE = re.compile(rf"(?P<name>[^\s{{}}]+?|{_VARIABLE % 'image'})(?P<sign>[:@]){_VARIABLE % 'variable'}")
_SETTING = re.compile(r"\{\{-?\s*(?P<variable>\$\w+)\s*:?=\s*(?P<rest>[^\r\n{}]*?)\}\}")
_LITERAL = re.compile(r"(?P<quote>[\"`])(?P<value>[^\"`\r\n\\]*)(?P=quote)\s*-?")


def resolved(found: list[Found], text: str) -> list[Found]:
    """The found places, those whose version is a variable at the place where it is set."""
    settings = _settings(text)
    kept: list[Found] = []
    used: dict[int, list[Found]] = {}
    for place in found:
        moved = _at_setting(place, text, settings)
        if moved is None:
            kept.append(place)
        else:
            used.setdefault(moved.start, []).append(moved)
    for places in used.values():
        first = places[0]
        if len({place.spelled.written for place in places}) > 1:
            doubt = first.spelled._replace(doubt="site/template-shared")
            first = first._replace(spelled=doubt)
        kept.append(first)
    return kept


def settings(text: str, owner: Owner) -> list[Found]:
    """Variables that are set to a whole reference."""
    found = []
    for match in _SETTING.finditer(text):
        literal = _LITERAL.fullmatch(match["rest"].strip())
        spelled = read_reference(literal["value"]) if literal is not None else None
        if spelled is None or spelled.repository is None or not (spelled.tag or spelled.digest):
            continue
        if "/" in spelled.written or match["variable"][-5:].lower() == "image":
            found.append(Found(spelled, (_piece("reference", match, text),), (), owner, None))
    return found


def _at_setting(place: Found, text: str, settings: Map[str, re.Match[str]]) -> Found | None:
    """A place moved to where its variable is set; None where it has none, or one set more than once."""
    piece = place.pieces[0]
    if place.spelled.doubt != "site/templated" or not isinstance(piece.node, Scalar):
        return None
    use = _USE.fullmatch(piece.node.value)
    setting = settings.get(use["variable"]) if use is not None else None
    if use is None or setting is None:
        return None
    value = _value(setting)
    if value is None or (TAG if use["sign"] == ":" else DIGEST).fullmatch(value) is None:
        return None
    kind = "tag" if use["sign"] == ":" else "digest"
    image = settings.get(use["image"]) if use["image"] else None
    name = _value(image) if image is not None else use["name"]
    spelled = place.spelled._replace(
        written=use["name"],
        repository=repository_of(name or ""),
        tag=value if kind == "tag" else None,
        digest=value if kind == "digest" else None,
        doubt=None,
    )
    return place._replace(spelled=spelled, pieces=(_piece(kind, setting, text),), names=(piece.node,))


def _settings(text: str) -> dict[str, re.Match[str]]:
    """Where each variable is set that is set once."""
    found: dict[str, list[re.Match[str]]] = {}
    for match in _SETTING.finditer(text):
        found.setdefault(match["variable"], []).append(match)
    return {name: places[0] for name, places in found.items() if len(places) == 1}


def _value(setting: re.Match[str]) -> str | None:
    """The literal that a variable is set to; None for anything that is worked out."""
    literal = _LITERAL.fullmatch(setting["rest"].strip())
    return None if literal is None else literal["value"]


def _piece(kind: str, setting: re.Match[str], text: str) -> Piece:
    """The literal of a setting as a piece of its own, without its quotes."""
    value = _value(setting) or ""
    start = setting.start("rest") + len(setting["rest"]) - len(setting["rest"].lstrip()) + 1
    line = text.count("\n", 0, start) + 1
    whole = Scalar(text, 0, len(text), 1, "text", None, None)
    node = Scalar(value, start, start + len(value), line, SETTING, None, None)
    return Piece(kind, node, Link(None, setting["variable"], whole), whole)
