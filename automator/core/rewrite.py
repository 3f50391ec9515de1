"""Rewriting: new characters for the located scalars, nothing else, proven before it is used."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from automator.core.charts import is_exact
from automator.core.found import SETTING
from automator.core.proof import Splice, verify
from automator.core.reference import DIGEST, TAG
from automator.core.site import Part, Site, locate
from automator.core.yamltext import is_other_type, quote_plain
from automator.errors import ManifestError
from automator.reasons import reason

__all__ = ["Edit", "quote_plain", "rewrite"]

WINDOW_ABOVE = 32_000
"""Characters above which only the documents that hold an edit are parsed again."""

# Numbers that print as they are written, so that a tag which the author wrote as a number may be one again.
_SURVIVES = re.compile(r"(?:0|[1-9][0-9]{0,5})(?:\.[0-9]{0,5}[1-9])?", re.ASCII)
_SINGLE = re.compile(r"(?:[:\-,\[{]\s+|[\[{])'[^'\r\n]*'\s*(?:[,\]}#]|$)", re.MULTILINE)
_DOUBLE = re.compile(r'(?:[:\-,\[{]\s+|[\[{])"[^"\r\n]*"\s*(?:[,\]}#:]|$)', re.MULTILINE)
_JSON_WORD = re.compile(r"-?[0-9][0-9.eE+-]*|true|false|null")
_OTHER_QUOTES = {"double": "'", "single": '"'}
"""Inside a quoted scalar only the other quotes stand for themselves."""
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


class _Window(NamedTuple):
    """A run of whole documents of a text, and the edits in it."""

    start: int
    end: int
    edits: list[Edit]


def rewrite(text: str, edits: Sequence[Edit], name: str, *, located: bool = False) -> str:
    """The text with each edit's site at its new version.

    A site keeps its form: a digest moves along with its tag, a reference by digest alone stays one, and
    `pin` writes into the digest's key where there is one, else behind the tag. A site is looked up again in
    `text` (in its own document where the spans still hold its value, else by document and field), unless it
    was `located` in this very text. The result is parsed again: everything but the intended values must be
    equal.

    Raises ManifestError (`site/…`, `yaml/…`) where an edit cannot be made exactly; nothing is half done.
    """
    for edit in edits:
        _check(edit)
    pieces, at = [], 0
    for window in sorted(_windows(text, edits, name, located=located)):
        body = text[window.start : window.end]
        pieces += [text[at : window.start], _rewrite_window(body, window, name, located=located)]
        at = window.end
    return "".join((*pieces, text[at:]))


def _check(edit: Edit) -> None:
    site = edit.site
    if site.held is not None:
        raise ManifestError(site.held)
    if TAG.fullmatch(edit.tag) is None or (edit.digest is not None and DIGEST.fullmatch(edit.digest) is None):
        raise ManifestError(
            reason("site/bad-value", field=site.field, tag=edit.tag, digest=edit.digest or "")
        )
    if edit.pin and any(part.piece == "version" for part in site.parts):
        raise ManifestError(reason("site/no-digest-here", field=site.field, line=site.line))
    if any(part.piece == "version" for part in site.parts) and not is_exact(edit.tag):
        raise ManifestError(reason("site/range", field=site.field, line=site.line, tag=edit.tag))
    keyed = any(part.piece == "digest" for part in site.parts)
    if edit.digest is None and (edit.pin or (site.digest is not None and (keyed or not edit.unpin))):
        raise ManifestError(reason("site/digest-unknown", field=site.field, line=site.line, tag=edit.tag))


# -- where ------------------------------------------------------------------------------------


def _windows(text: str, edits: Sequence[Edit], name: str, *, located: bool) -> list[_Window]:
    """The parts of a large text that need to be looked at; the whole of a small one.

    `---` in the first column ends a document wherever it stands (YAML 1.2.2, 9.1.2), so a text may be
    cut there without being parsed; only directives (`%TAG`) reach further.
    """
    whole = _Window(0, len(text), list(edits))
    if len(text) <= WINDOW_ABOVE or text.startswith("%") or "\n%" in text:
        return [whole]
    windows: dict[int, _Window] = {}
    window = _Window(0, 0, [])
    for edit in sorted(edits, key=lambda edit: edit.site.parts[0].start):
        first = edit.site.parts[0]
        if not window.start <= first.start < window.end:
            start, end = _marker_before(text, first.start), _marker_after(text, first.end)
            window = windows.setdefault(start, _Window(start, end, []))
        window.edits.append(edit)
    if located or all(_still_there(text, window, name) for window in windows.values()):
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


def _moved(body: str, site: Site, offset: int) -> Site | None:
    """A site of the whole text as one of a part of it, if its characters stand there."""
    parts = site.parts
    if offset:
        parts = tuple(replace(part, start=part.start - offset, end=part.end - offset) for part in parts)
    for part in parts:
        tail = part.value[len(site.written) :] if part.piece == "reference" else part.value
        if part.start < 0 or tail not in body[part.start : part.end]:
            return None
    return replace(site, parts=parts) if offset else site


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


def _rewrite_window(body: str, window: _Window, name: str, *, located: bool) -> str:
    sites = () if located else _sites(body, window.edits, name)
    quote = _habit(body)
    splices: dict[int, Splice] = {}
    meant: set[tuple[int, str]] = set()
    found: list[tuple[Edit, Site]] = []
    for edit in window.edits:
        site = _moved(body, edit.site, window.start) if located else _in_window(sites, edit, window.start)
        if site is None and window.start == 0:
            site = _in_text(sites, edit)
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
    pieces, at = [], 0
    for splice in sorted(splices.values()):
        pieces += [body[at : splice.start], splice.characters]
        at = splice.end
    after = "".join((*pieces, body[at:]))
    if after != body:
        verify(body, after, splices, name)
    return after


def _splices(text: str, site: Site, edit: Edit, quote: str) -> list[Splice]:
    has_digest_key = any(part.piece == "digest" for part in site.parts)
    splices = []
    for part in site.parts:
        value = _new_value(site, part, edit, has_digest_key)
        if value != part.value:
            splices.append(
                Splice(
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
        json = part.json and _JSON_WORD.fullmatch(part.value) is not None
        colon = part.flow and ":" in value and ":" not in part.value
        # What the author wrote plain (`${REGISTRY}/web`) stays so; a value of another type never does.
        changed = is_other_type(value) or (quote_plain(value) and not quote_plain(part.value))
        if colon or ((changed or json) and not number):
            quote = '"' if json else _OTHER_QUOTES.get(part.within, quote)
            return f"{quote}{value}{quote}"
        return spelled[: len(spelled) - len(old)] + new
    if part.style in ("text", SETTING):
        return spelled[: len(spelled) - len(old)] + new
    return spelled[: len(spelled) - 1 - len(old)] + new + spelled[-1]


def _habit(text: str) -> str:
    """The quotes that a text uses more often; double ones where it has no habit."""
    single = len(_SINGLE.findall(text))
    return "'" if single > len(_DOUBLE.findall(text)) else '"'
