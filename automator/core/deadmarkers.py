"""Dead markers: comments that were meant to tie a value to a policy or a workload, and cannot.

Flux passes over such a marker in silence, and a comment `# automator: NAME` away from any image does
nothing; `check` names each with its line.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from collections.abc import Mapping as Map
from typing import NamedTuple

from automator.core.found import content, owner_of
from automator.core.markers import (
    CLAIM,
    FLUX,
    Marker,
    comment_above,
    comment_behind,
    read_marker,
    stands_alone,
)
from automator.core.site import Site
from automator.core.spelling import (
    TEMPLATE,
    Spelled,
    is_image_key,
    read_reference,
    read_version,
    repository_of,
)
from automator.core.yamltext import BOM, Alias, Document, Mapping, Node, Scalar
from automator.core.yamltext import Sequence as List
from automator.reasons import Reason, reason

_FLUX_COMMENT = re.compile(r"(?:^|(?<=[ \t]))#.*\{.*\$imagepolicy.*")
_LEFT_OUT = re.compile(r"\s*#.*[ \t]#[ \t]*\{")
"""A line of YAML that was turned into a comment, with the marker on it."""
_CLAIM_COMMENT = re.compile(rf"(?:^|(?<=[ \t])){CLAIM.pattern}$")
_FLUX_GROUP = "image.toolkit.fluxcd.io/"
_VERSION = re.compile(r"v?[0-9]", re.ASCII)
_WANTED = {
    "reference": "an image reference",
    "tag": "a tag",
    "name": "an image's name",
    "digest": "a digest",
}


class Survey(NamedTuple):
    """What the markers of a file say."""

    dead: tuple[tuple[int, Reason], ...]
    """Those that cannot work, by their line."""
    policies: tuple[tuple[int, str], ...]
    """The Flux policies (`namespace:policy`) that comments name, by their line; unreadable ones left out."""


class FluxPolicy(NamedTuple):
    """An ImagePolicy that the config repo holds."""

    namespace: str | None
    name: str


class _Value(NamedTuple):
    """A value with a comment that speaks of it."""

    node: Scalar | Alias
    key: str


class _File(NamedTuple):
    """Where things stand in a file that was parsed."""

    behind: dict[int, _Value]
    """Line -> the last value that ends on it."""
    above: dict[int, list[_Value]]
    """Line -> the values that the comment on it stands above, at the same indentation."""
    blocks: tuple[Scalar, ...]
    """Block scalars, by place."""
    block_lines: tuple[int, ...]
    """The line on which each of them begins."""
    text: frozenset[int]
    """Lines whose words belong to other scalars, not to comments."""
    listed: frozenset[int]
    """Lines with a value of a document whose top is a list."""


def survey(text: str, documents: Sequence[Document] | None, sites: Sequence[Site]) -> Survey:
    """Look at every comment of a file that is a marker, or was meant to be one."""
    if FLUX not in text and "automator:" not in text:
        return Survey((), ())
    lines = text.split("\n")
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line) + 1)
    lines[0] = lines[0].removeprefix(BOM)
    file = None if documents is None else _read(text, documents)
    claimed = _claimed(sites, starts)
    dead: list[tuple[int, Reason]] = []
    policies: list[tuple[int, str]] = []
    for number, words in enumerate((line.rstrip("\r") for line in lines), 1):
        if "automator:" in words:
            why = _dead_claim(number, words, file, claimed, starts)
            dead += [(number, why)] if why is not None else []
        if FLUX in words:
            comment = _flux_comment(text, number, words, file)
            marker = read_marker(comment)
            policies += [(number, marker.policy)] if isinstance(marker, Marker) else []
            why = _dead_flux(text, number, marker, file, starts) if comment else None
            dead += [(number, why)] if why is not None else []
    return Survey(tuple(dead), tuple(policies))


def flux_policies(documents: Sequence[Document]) -> Iterator[FluxPolicy]:
    """The ImagePolicies of Flux that a file holds."""
    for document in documents:
        root = document.root
        items = root.get("items") if isinstance(root, Mapping) else None
        for node in (root, *(items.items if isinstance(items, List) else ())):
            owner = owner_of(node)
            if owner.kind != "ImagePolicy" or owner.name is None or not isinstance(node, Mapping):
                continue
            if (content(node.get("apiVersion")) or "").startswith(_FLUX_GROUP):
                yield FluxPolicy(owner.namespace, owner.name)


def is_known(policy: str, known: Sequence[FluxPolicy]) -> bool:
    """Whether one of the ImagePolicies has the name of `namespace:policy`; the namespace is compared where
    both state one (often Kustomize sets it)."""
    namespace, _, name = policy.partition(":")
    return any(own.name == name and own.namespace in (None, namespace) for own in known)


# -- where things stand ----------------------------------------------------------------------------


def _read(text: str, documents: Sequence[Document]) -> _File:
    behind: dict[int, _Value] = {}
    above: dict[int, list[_Value]] = {}
    blocks: list[Scalar] = []
    words: set[int] = set()
    listed: set[int] = set()
    for document in documents:
        on_list = isinstance(document.root, List)
        for value, is_key in _values(document.root):
            node = value.node
            last = node.line + text.count("\n", node.start, node.end)
            if isinstance(node, Scalar) and node.style in ("literal", "folded"):
                blocks.append(node)
                continue
            if isinstance(node, Scalar) and (FLUX in node.value or "automator:" in node.value):
                words.update(range(node.line, last + 1))
            if is_key:
                continue
            if comment_behind(text, node):
                behind[last] = value
            if comment_above(text, node.start):
                above.setdefault(node.line - 1, []).append(value)
            if on_list:
                listed.update((node.line - 1, last))
    return _File(
        behind, above, tuple(blocks), tuple(node.line for node in blocks), frozenset(words), frozenset(listed)
    )


def _values(node: Node | None) -> Iterator[tuple[_Value, bool]]:
    """Every scalar and alias below a node, and whether it is a key."""
    if isinstance(node, Mapping):
        for key, value in node.pairs:
            if isinstance(key, Scalar):
                yield _Value(key, ""), True
            name = key.value if isinstance(key, Scalar) else ""
            if isinstance(value, (Scalar, Alias)):
                yield _Value(value, name), False
            else:
                yield from _values(value)
    elif isinstance(node, List):
        for item in node.items:
            if isinstance(item, (Scalar, Alias)):
                yield _Value(item, ""), False
            else:
                yield from _values(item)


def _block_at(file: _File, line: int, starts: Sequence[int]) -> Scalar | None:
    """The block scalar that holds a line, its first line (`|`) included."""
    index = bisect_right(file.block_lines, line) - 1
    node = file.blocks[index] if index >= 0 else None
    return node if node is not None and line <= _last_line(node, starts) else None


def _last_line(node: Scalar, starts: Sequence[int]) -> int:
    return bisect_right(starts, max(node.end - 1, node.start))


# -- Flux ------------------------------------------------------------------------------------------


def _flux_comment(text: str, line: int, words: str, file: _File | None) -> str:
    """The comment on a line that looks like a marker of Flux, or was meant as one; else nothing."""
    if file is not None and line in file.text:
        return ""
    value = None if file is None else file.behind.get(line)
    if value is not None:
        words = comment_behind(text, value.node)
    found = _FLUX_COMMENT.search(words)
    if value is None and _LEFT_OUT.match(words):
        return ""
    return found[0].rstrip() if found is not None else ""


def _dead_flux(
    text: str, line: int, marker: Marker | str | None, file: _File | None, starts: Sequence[int]
) -> Reason | None:
    """Why a marker of Flux cannot work, if it cannot."""
    if file is None:
        return reason("marker/unparsable", line=line)
    block = _block_at(file, line, starts)
    if block is not None and block.line != line:
        return reason("marker/text", line=line)
    if not isinstance(marker, Marker):
        return reason("marker/malformed", line=line, problem=marker)
    if block is not None:
        return reason("marker/long-value", line=line)
    value = _marked_value(text, line, file)
    if value is None or (value.node.start == value.node.end):
        return reason("marker/alone", line=line)
    if line in file.listed:
        return reason("marker/top-list", line=line)
    if text.find("\n", value.node.start, value.node.end) >= 0:
        return reason("marker/long-value", line=line)
    found = _misfit(marker, value)
    if found is None:
        return None
    return reason("marker/misfit", line=line, wanted=_WANTED[marker.piece], found=found)


def _marked_value(text: str, line: int, file: _File) -> _Value | None:
    """The value that a comment on a line speaks of."""
    behind = file.behind.get(line)
    if behind is not None:
        return behind
    return next((value for value in file.above.get(line, ()) if stands_alone(text, value.node)), None)


def _misfit(marker: Marker, value: _Value) -> str | None:
    """What a marker stands at instead of what it wants; None where it fits, or nobody can tell."""
    if isinstance(value.node, Alias):
        return "an alias"
    text = content(value.node)
    if text is None or TEMPLATE.search(text):
        return None
    version, reference = read_version(text), read_reference(text)
    tagged = version is not None and version.tag is not None
    if marker.piece == "reference":
        # An image key may hold a name alone, to which Flux adds the tag.
        alone = version is not None and (_VERSION.match(text) or not (tagged and is_image_key(value.key)))
        fits = reference is not None and not alone
    elif marker.piece == "name":
        fits = repository_of(text) is not None
    else:
        fits = version is not None and tagged is (marker.piece == "tag")
    return None if fits else _described(version, reference)


def _described(version: Spelled | None, reference: Spelled | None) -> str:
    if version is not None:
        return "a tag alone" if version.tag is not None else "a digest"
    if reference is None:
        return "another text"
    return "a whole reference" if reference.tag or reference.digest else "a name without a tag"


# -- ours ------------------------------------------------------------------------------------------


def _claimed(sites: Sequence[Site], starts: Sequence[int]) -> Map[str, tuple[list[Site], list[int]]]:
    """Workload -> the sites that comments give to it, and the lines of their parts."""
    found: dict[str, tuple[list[Site], list[int]]] = {}
    for site in sites:
        if site.claim is not None:
            mine, lines = found.setdefault(site.claim, ([], []))
            mine.append(site)
            lines.extend(bisect_right(starts, part.start) for part in site.parts)
    for _, lines in found.values():
        lines.sort()
    return found


def _dead_claim(
    line: int,
    words: str,
    file: _File | None,
    claimed: Map[str, tuple[list[Site], list[int]]],
    starts: Sequence[int],
) -> Reason | None:
    """Why a comment `# automator: NAME` gives no site to that workload, if it gives none."""
    found = _CLAIM_COMMENT.search(words)
    if found is None or (file is not None and line in file.text):
        return None
    mine, lines = claimed.get(found["name"], ([], []))
    following = bisect_left(lines, line)  # of the parts, the first that is not above the comment
    near = lines[following] if following < len(lines) else line + 2
    if near <= line + 1 or (file is None and mine):
        return None
    problem = "no image is found there"
    if file is not None:
        block = _block_at(file, line, starts)
        within = bisect_left(lines, block.line) if block is not None else len(lines)
        if block is not None and within < len(lines) and lines[within] <= _last_line(block, starts):
            return None  # at the name of an image whose tag is in the same embedded document
        values = [file.behind[line]] if line in file.behind else file.above.get(line, [])
        if any(_names(value, site) for value in values for site in mine):
            return None
        problem = "it is text of a block scalar" if block is not None else problem
        problem = problem if values or block is not None else "no value stands there"
    return reason("claim/comment", line=line, workload=found["name"], problem=problem)


def _names(value: _Value, site: Site) -> bool:
    """Whether a value is the name, or a part of the name, that a site has beside its tag."""
    text = content(value.node)
    return text is not None and text in site.written and site.parts[0].piece != "reference"
