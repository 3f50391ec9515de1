"""Rewriting: new characters for the located scalars, nothing else, proven before it is used."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from automator.core import yamltext
from automator.core.found import SETTING
from automator.core.mask import read
from automator.core.reference import DIGEST, TAG
from automator.core.site import Part, Site, locate, read_file
from automator.core.spans import runs, to_value
from automator.core.yamltext import Alias, Mapping, Node, Scalar, quote_plain
from automator.errors import ManifestError
from automator.reasons import reason

__all__ = ["Edit", "quote_plain", "rewrite"]

WINDOW_ABOVE = 32_000
"""Characters above which only the documents that hold an edit are parsed again."""

# Numbers that print as they are written, so that a tag which the author wrote as a number may be one again.
_SURVIVES = re.compile(r"(?:0|[1-9][0-9]{0,5})(?:\.(?:0|[0-9]{0,5}[1-9]))?", re.ASCII)
_SINGLE = re.compile(r"(?:[:\-,\[{]\s+|[\[{])'[^'\r\n]*'\s*(?:[,\]}#]|$)", re.MULTILINE)
_DOUBLE = re.compile(r'(?:[:\-,\[{]\s+|[\[{])"[^"\r\n]*"\s*(?:[,\]}#:]|$)', re.MULTILINE)
_NUMBER = re.compile(r"[-+]?(?:[0-9][0-9_]*)?\.?[0-9]+(?:[eE][-+]?[0-9]+)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Edit:
    """A site and the version it moves to."""

    site: Site
    tag: str
    digest: str | None
    """Digest of `tag`; written where the site has a digest already, or with `pin`."""
    pin: bool = False
    """Write the digest even where the site has none yet."""
    unpin: bool = False
    """Drop the digest behind the tag: only where a person has named the digest that goes."""


class _Splice(NamedTuple):
    """Characters to replace, what replaces them, and what the scalar must read as afterwards."""

    start: int
    end: int
    characters: str
    value: str
    setting: bool
    """Whether it is a template variable's value, outside of all scalars."""


class _Window(NamedTuple):
    """A run of whole documents of a text, and the edits in it."""

    start: int
    end: int
    edits: list[Edit]


def rewrite(text: str, edits: Sequence[Edit], name: str) -> str:
    """The text with each edit's site at its new version.

    A site keeps its form: a digest moves along with its tag, a reference by digest alone stays one, and
    `pin` writes into the digest's key where there is one, else behind the tag. A site is looked up again in
    `text` (in its own document where the spans still hold its value, else by document and field). The
    result is parsed again: everything but the intended values must be equal.

    Raises ManifestError (`site/…`, `yaml/…`) where an edit cannot be made exactly; nothing is half done.
    """
    for edit in edits:
        _check(edit)
    for window in sorted(_windows(text, edits, name), reverse=True):
        body = text[window.start : window.end]
        text = text[: window.start] + _rewrite_window(body, window, name) + text[window.end :]
    return text


def _check(edit: Edit) -> None:
    site = edit.site
    if site.held is not None:
        raise ManifestError(site.held)
    if TAG.fullmatch(edit.tag) is None or (edit.digest is not None and DIGEST.fullmatch(edit.digest) is None):
        raise ManifestError(
            reason("site/bad-value", field=site.field, tag=edit.tag, digest=edit.digest or "")
        )
    keyed = any(part.piece == "digest" for part in site.parts)
    if edit.digest is None and (edit.pin or (site.digest is not None and (keyed or not edit.unpin))):
        raise ManifestError(reason("site/digest-unknown", field=site.field, line=site.line, tag=edit.tag))


# -- where ------------------------------------------------------------------------------------


def _windows(text: str, edits: Sequence[Edit], name: str) -> list[_Window]:
    """The parts of a large text that need to be looked at; the whole of a small one.

    `---` in the first column ends a document wherever it stands (YAML 1.2.2, 9.1.2), so a text may be
    cut there without being parsed; only directives (`%TAG`) reach further.
    """
    whole = _Window(0, len(text), list(edits))
    if len(text) <= WINDOW_ABOVE or text.startswith("%") or "\n%" in text:
        return [whole]
    windows: dict[int, _Window] = {}
    for edit in edits:
        first = edit.site.parts[0]
        start, end = _marker_before(text, first.start), _marker_after(text, first.end)
        windows.setdefault(start, _Window(start, end, [])).edits.append(edit)
    if all(_still_there(text, window, name) for window in windows.values()):
        return list(windows.values())
    return [whole]


def _marker_before(text: str, position: int) -> int:
    at = text.rfind("\n---", 0, position)
    while at >= 0 and not text[at + 4 : at + 5].isspace():
        at = text.rfind("\n---", 0, at)
    return at + 1


def _marker_after(text: str, position: int) -> int:
    at = text.find("\n---", position)
    while at >= 0 and not text[at + 4 : at + 5].isspace():
        at = text.find("\n---", at + 4)
    return at + 1 if at >= 0 else len(text)


def _still_there(text: str, window: _Window, name: str) -> bool:
    sites = _sites(text[window.start : window.end], window.edits, name)
    return all(_in_window(sites, edit, window.start) is not None for edit in window.edits)


def _in_window(sites: Sequence[Site], edit: Edit, offset: int) -> Site | None:
    """The site of an edit, by its path and by where it starts."""
    at = edit.site.parts[0].start - offset
    for site in sites:
        if site.parts[0].start == at and site.field == edit.site.field and _same_place(site, edit.site):
            return site
    return None


def _in_text(sites: Sequence[Site], edit: Edit) -> Site | None:
    """The site of an edit, by document and path."""
    for site in sites:
        if site.document == edit.site.document and site.field == edit.site.field:
            return site if _same_place(site, edit.site) else None
    return None


def _same_place(one: Site, other: Site) -> bool:
    if (one.tag, one.digest) != (other.tag, other.digest):
        return False
    # The repository of a site that awaits another file is not known from this text alone.
    named = one.awaits is None and other.awaits is None
    return not named or (one.repository, one.written) == (other.repository, other.written)


def _sites(text: str, edits: Sequence[Edit], name: str) -> tuple[Site, ...]:
    fields = tuple(sorted({edit.site.selectors[0] for edit in edits if edit.site.selectors}))
    located = locate(text, name, fields)
    if located.trouble is not None:
        raise ManifestError(located.trouble)
    return located.sites


# -- what -------------------------------------------------------------------------------------


def _rewrite_window(body: str, window: _Window, name: str) -> str:
    sites = _sites(body, window.edits, name)
    quote = _habit(body)
    splices: dict[int, _Splice] = {}
    meant: set[tuple[int, str]] = set()
    found: list[tuple[Edit, Site]] = []
    for edit in window.edits:
        site = _in_window(sites, edit, window.start) or (_in_text(sites, edit) if window.start == 0 else None)
        if site is None:
            raise ManifestError(reason("site/moved", field=edit.site.field, line=edit.site.line))
        found.append((edit, site))
        meant.add((site.document, site.field))
    for edit, site in found:
        if site.held is not None:
            raise ManifestError(site.held)
        if not meant.issuperset((site.document, field) for field in site.ring):
            uses = len(site.ring) + 1
            raise ManifestError(reason("site/alias-shared", field=site.field, line=site.line, uses=uses))
        for splice in _splices(body, site, edit, quote):
            if splices.setdefault(splice.start, splice) != splice:
                raise ManifestError(reason("site/edited-twice", field=site.field, line=site.line))
    after = body
    for splice in sorted(splices.values(), reverse=True):
        after = after[: splice.start] + splice.characters + after[splice.end :]
    if after != body:
        _verify(body, after, splices, name)
    return after


def _splices(text: str, site: Site, edit: Edit, quote: str) -> list[_Splice]:
    has_digest_key = any(part.piece == "digest" for part in site.parts)
    splices = []
    for part in site.parts:
        value = _new_value(site, part, edit, has_digest_key)
        if value != part.value:
            splices.append(
                _Splice(
                    part.start, part.end, _spell(text, site, part, value, quote), value, part.style == SETTING
                )
            )
    return splices


def _new_value(site: Site, part: Part, edit: Edit, has_digest_key: bool) -> str:
    """What a part reads as after an edit, in the form that it has."""
    name = site.written if part.piece == "reference" else ""
    old = part.value[len(name) :]
    at_digest = f"@{edit.digest}"
    if edit.unpin and edit.digest is None:
        return name + (f":{edit.tag}" if part.piece == "reference" else edit.tag)
    pinned = "@" in old or (edit.pin and not has_digest_key)
    if part.piece == "digest":
        if site.digest is None and not edit.pin:
            return part.value
        return f"{edit.tag}{at_digest}" if "@" in old else at_digest[1:]
    if part.piece == "reference":
        return name + (at_digest if old.startswith("@") else f":{edit.tag}{at_digest if pinned else ''}")
    if DIGEST.fullmatch(old):
        return at_digest[1:]
    if site.tag is None and site.digest == f"sha256:{old}":  # `repository: web@sha256`, `tag: 0123…`
        return at_digest.removeprefix("@sha256:")
    return f"{edit.tag}{at_digest if pinned else ''}"


def _spell(text: str, site: Site, part: Part, value: str, quote: str) -> str:
    """The characters of a scalar that reads as `value`, in the style of the one it replaces.

    Only the end that changes is new, so that whatever escapes spell the name stay as they are.
    """
    spelled = text[part.start : part.end]
    keep = len(site.written) if part.piece == "reference" else 0
    old, new = part.value[keep:], value[keep:]
    if part.style == "plain":
        number = _NUMBER.fullmatch(part.value) is not None and _SURVIVES.fullmatch(value) is not None
        colon = part.flow and ":" in value and ":" not in part.value
        if colon or (quote_plain(value) and not number):
            return f"{quote}{value}{quote}"
        return spelled[: len(spelled) - len(old)] + new
    if part.style in ("text", SETTING):
        return spelled[: len(spelled) - len(old)] + new
    return spelled[: len(spelled) - 1 - len(old)] + new + spelled[-1]


def _habit(text: str) -> str:
    """The quotes that a text uses more often; double ones where it has no habit."""
    single = len(_SINGLE.findall(text))
    return "'" if single > len(_DOUBLE.findall(text)) else '"'


# -- proof ------------------------------------------------------------------------------------


def _verify(before: str, after: str, splices: dict[int, _Splice], name: str) -> None:
    """Raises ManifestError unless `after` reads as `before` but for the intended values."""
    old, new = read_file(before, name), read_file(after, name)
    proof = _Proof(before, splices)
    if len(old) == len(new):
        for one, other in zip(old, new, strict=True):
            if one.templated != other.templated or not proof.equal(one.root, other.root):
                raise ManifestError(reason("site/verify-failed", line=one.line))
    # A template variable is set in a comment or a template, which YAML does not see.
    unseen = [splice for splice in proof.intended.values() if not splice.setting]
    if len(old) != len(new) or unseen:
        raise ManifestError(reason("site/verify-failed", line=1))


class _Proof:
    """Compares the nodes of a text with those of the edited one."""

    def __init__(self, text: str, splices: dict[int, _Splice]) -> None:
        self.intended = dict(splices)
        """Splices that no scalar has accounted for yet."""
        self._text = text
        self._starts = sorted(splices)

    def equal(self, old: Node | None, new: Node | None) -> bool:
        """Whether two nodes are equal but for the intended values."""
        if isinstance(old, Scalar) and isinstance(new, Scalar):
            return (old.anchor, old.tag) == (new.anchor, new.tag) and self._scalar(old, new)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            return (old.flow, old.anchor, len(old.pairs)) == (new.flow, new.anchor, len(new.pairs)) and all(
                self.equal(old_key, new_key) and self.equal(old_value, new_value)
                for (old_key, old_value), (new_key, new_value) in zip(old.pairs, new.pairs, strict=True)
            )
        if isinstance(old, yamltext.Sequence) and isinstance(new, yamltext.Sequence):
            return (old.flow, old.anchor, len(old.items)) == (new.flow, new.anchor, len(new.items)) and all(
                self.equal(one, other) for one, other in zip(old.items, new.items, strict=True)
            )
        if isinstance(old, Alias) and isinstance(new, Alias):
            return old.name == new.name
        return old is None and new is None

    def _scalar(self, old: Scalar, new: Scalar) -> bool:
        first = bisect_left(self._starts, old.start)
        last = bisect_left(self._starts, old.end)
        if first == last:
            return (old.value, old.style) == (new.value, new.style)
        inside = [splice for s in self._starts[first:last] if (splice := self.intended.pop(s, None))]
        if len(inside) == 1 and (inside[0].start, inside[0].end) == (old.start, old.end):
            return new.value == inside[0].value and (
                new.style == old.style or (old.style == "plain" and new.style in ("single", "double"))
            )
        return new.style == old.style and self._parts(old, new, inside)

    def _parts(self, old: Scalar, new: Scalar, inside: list[_Splice]) -> bool:
        """Whether a longer scalar differs in the intended parts alone, and so does what it holds."""
        places = runs(self._text, old)
        inner: dict[int, _Splice] = {}
        value, at = "", 0
        for splice in inside:
            place = to_value(places, splice.start, splice.end)
            if place is None:
                return False
            value += old.value[at : place[0]] + splice.characters
            at = place[1]
            inner[place[0]] = splice._replace(start=place[0], end=place[1])
        if value + old.value[at:] != new.value:
            return False
        try:
            if "\n" in old.value:
                read(old.value)
        except ManifestError:
            return True  # no document, only words
        if "\n" in old.value and old.style != "text":
            _verify(old.value, new.value, inner, "")
        return True
