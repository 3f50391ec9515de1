"""Markers: comments at a value that say which image, policy or workload it belongs to.

Flux image automation: `# {"$imagepolicy": "namespace:policy[:tag|:name|:digest]"}` behind a value or on the
line above; Renovate: `# renovate: datasource=docker depName=ghcr.io/acme/web`; ours: `# automator: web`.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from collections.abc import Mapping as Map
from typing import NamedTuple

from automator.core.fields import Link
from automator.core.found import (
    TAG_KEY,
    Found,
    Owner,
    Piece,
    container_of,
    content,
    owner_at,
    owner_of,
    scalars,
    under_image,
)
from automator.core.reference import Repository
from automator.core.spelling import (
    TEMPLATE,
    Spelled,
    read_reference,
    read_version,
    repository_of,
)
from automator.core.yamltext import BOM, Alias, Document, Mapping, Node, Scalar

FLUX = "$imagepolicy"
CLAIM = re.compile(r"#\s*automator:\s*(?P<name>[A-Za-z0-9][A-Za-z0-9._/-]*)\s*")
_POLICY = re.compile(r"(?P<policy>[^\s:]+:[^\s:]+)(?::(?P<piece>tag|name|digest))?")
_BEHIND = re.compile(r"[ \t\]},]*[ \t](?P<comment>#[^\r\n]*)")
_RENOVATE = re.compile(r"#+\s*renovate:\s*(?P<words>.*)")
_WORD = re.compile(r"""(?P<key>\w+)=(?:"(?P<double>[^"]*)"|'(?P<single>[^']*)'|(?P<bare>\S*))""")
_WHOLE_VERSION = re.compile(r"\^?\(\?<version>\.[*+]\)\$?")
"""What `extractVersion` says where the tag is the version itself, and not only a part of it."""
_NUMBERED = re.compile(r"v?[0-9]", re.ASCII)

_Span = tuple[int, int]
"""Where a collection begins and ends: which one it is, in its document."""


class Marker(NamedTuple):
    """A Flux marker: which policy gives a value, and which piece of its image."""

    policy: str
    """`namespace:policy`."""
    piece: str
    """`tag`, `name`, `digest`; `reference` where nothing is said."""


class _Marked(NamedTuple):
    """A scalar with its marker, and the way to it."""

    link: Link
    node: Scalar
    marker: Marker


def read_marker(comment: str) -> Marker | str | None:
    """The Flux marker that a comment is; what is wrong with one that was meant as such; None for a
    comment of another kind.

    As Flux reads it, the whole comment is one JSON object, which may have further keys.
    """
    if FLUX not in comment:
        return None
    body = comment.lstrip("#").strip()
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return "other text stands around the JSON" if not body.startswith("{") else "it is no valid JSON"
    named = found.get(FLUX) if isinstance(found, dict) else None
    if not isinstance(named, str):
        return f"`{FLUX}` must be a text"
    match = _POLICY.fullmatch(named)
    if match is not None:
        return Marker(match["policy"], match["piece"] or "reference")
    if ":" not in named:
        return f"`{named}` lacks the namespace, as in `flux-system:{named}`"
    return f"`{named}` is not namespace:policy, alone or with `:tag`, `:name` or `:digest` behind it"


def comments(text: str, found: Found) -> tuple[str | None, str | None]:
    """The Flux policy and the workload that comments at a site name."""
    policy = claim = None
    for node in _nodes(found):
        behind, above = comment_behind(text, node), comment_above(text, node.start)
        if policy is None and (FLUX in behind or FLUX in above):
            marker = _marker_at(text, node, behind, above)
            policy = None if marker is None else marker.policy
        named = CLAIM.fullmatch(behind) or CLAIM.fullmatch(above)
        claim = claim or (named["name"] if named is not None else None)
    return policy, claim


def _nodes(found: Found) -> Iterator[Scalar | Alias]:
    for piece in found.pieces:
        yield piece.node
        if piece.within is not None and piece.within.style in ("plain", "single", "double"):
            yield piece.within
    yield from found.names


def comment_behind(text: str, node: Node) -> str:
    """The comment behind a value on its last line, closing brackets between them or not; else nothing."""
    if text.startswith(("\r", "\n"), max(node.end - 1, 0)):
        return ""  # a block scalar ends where the next line begins
    behind = _BEHIND.match(text, node.end)
    return behind["comment"].rstrip() if behind is not None else ""


def comment_above(text: str, start: int) -> str:
    """The comment that has the line above to itself, at the same indentation; else nothing. (At the same
    indentation: so that a line inside a block scalar is not taken for a comment.)"""
    begin = text.rfind("\n", 0, start) + 1
    if begin == 0:
        return ""
    above = text[text.rfind("\n", 0, begin - 1) + 1 : begin - 1]
    above = above.rstrip("\r").removeprefix(BOM)
    comment = above.lstrip(" ")
    own = text[begin:start]
    if not comment.startswith("#") or len(above) - len(comment) != len(own) - len(own.lstrip(" ")):
        return ""
    return comment.rstrip()


def stands_alone(text: str, node: Node) -> bool:
    """Whether a value is the only one that can begin on its line: a comment above is then about it."""
    own = text[text.rfind("\n", 0, node.start) + 1 : node.start]
    return "{" not in own and "[" not in own


def marker_at(text: str, node: Node) -> Marker | None:
    """The Flux marker of a value, behind it or on the line above."""
    return _marker_at(text, node, comment_behind(text, node), comment_above(text, node.start))


def _marker_at(text: str, node: Node, behind: str, above: str) -> Marker | None:
    marker = read_marker(behind)
    if not isinstance(marker, Marker) and FLUX in above and stands_alone(text, node):
        marker = read_marker(above)
    return marker if isinstance(marker, Marker) else None


# -- images that only a Flux marker gives away -----------------------------------------------------


def marked(text: str, document: Document, found: list[Found]) -> list[Found]:
    """Images that only Flux markers give away, whatever their keys.

    A tag's repository is what the `:name` marker of the same policy stands at, the nearest one; without
    any, the site has none, and only `where.marker` or `where.field` can claim it. A place in `found` takes
    in the digest of another key that a marker gives to its policy.
    """
    if not _mentioned(text, document.root, FLUX):
        return []
    known = _settled(found)
    marks = [
        _Marked(link, node, marker)
        for link, node in scalars(document.root)
        if (marker := marker_at(text, node)) is not None
    ]
    names, owners = _names(marks), _owners(document.root)
    read = [
        _version(owners, mark, names) if mark.marker.piece == "tag" else _reference(owners, mark)
        for mark in marks
        if mark.marker.piece in ("tag", "reference") and mark.node.start not in known
    ]
    places = _with_digests([place for place in read if place is not None], known)
    known.update(piece.node.start for place in places for piece in place.pieces)
    _give_way(found, places)
    takers = _Takers(text, (found, places))
    for mark in marks:
        if mark.marker.piece == "digest" and mark.node.start not in known:
            place = _version(owners, mark, names)
            if place is not None and not takers.take_in(place, mark):
                places.append(place)
    return places


def _settled(found: list[Found]) -> set[int]:
    """Where the pieces stand that are certain without a comment. `1.4.2@sha256:…` alone is not: it could be
    a name with a digest, or a tag with one."""
    return {
        start
        for place in found
        for piece in place.pieces
        for start in (piece.node.start, piece.whole.start)
        if piece.piece != "reference" or under_image(piece.link) or not _is_version(piece.node)
    }


def _give_way(found: list[Found], places: list[Found]) -> None:
    """Drop what a comment knows better."""
    taken = {place.start for place in places}
    if any(place.start in taken for place in found):
        found[:] = [place for place in found if place.start not in taken]


def _mentioned(text: str, root: Node | None, word: str) -> bool:
    """Whether a word stands in a document, from the line above it to the end of its last line."""
    if root is None:
        return False
    begin = text.rfind("\n", 0, max(text.rfind("\n", 0, root.start), 0)) + 1
    end = text.find("\n", root.end)
    return text.find(word, begin, end if end >= 0 else len(text)) >= 0


def _reference(owners: _Owners, mark: _Marked) -> Found | None:
    spelled = read_reference(content(mark.node) or "")
    if spelled is None or (spelled.tag, spelled.digest, spelled.doubt) == (None, None, None):
        return None
    return _found(owners, mark.link, spelled, [Piece("reference", mark.node, mark.link)])


def _version(owners: _Owners, mark: _Marked, names: _Names) -> Found | None:
    spelled = read_version(content(mark.node) or "")
    if spelled is None or (mark.marker.piece == "digest" and spelled.tag is not None):
        return None
    name = _nearest(mark, names)
    written = "" if name is None else content(name.node) or ""
    spelled = spelled._replace(written=written, repository=repository_of(written))
    pieces = [Piece(mark.marker.piece, mark.node, mark.link)]
    return _found(owners, mark.link, spelled, pieces, () if name is None else (name.node,))


def _is_version(node: Scalar | Alias) -> bool:
    text = content(node)
    return text is None or read_version(text) is not None


def _with_digests(places: list[Found], known: set[int]) -> list[Found]:
    """Places with the `digest` key beside a tag as a further piece, where it can only be that tag's."""
    tags = Counter(_span(place.pieces[0].link.node) for place in places if place.pieces[0].piece == "tag")
    return [
        _with_digest(place, known) if tags[_span(place.pieces[0].link.node)] == 1 else place
        for place in places
    ]


def _with_digest(place: Found, known: set[int]) -> Found:
    piece = place.pieces[0]
    mapping = piece.link.node
    digest = mapping.get("digest") if isinstance(mapping, Mapping) and piece.piece == "tag" else None
    if not isinstance(digest, (Scalar, Alias)) or digest.end == digest.start or digest.start in known:
        return place
    text = content(digest)
    version = read_version(text) if text is not None else Spelled("", None, None, None)
    if version is None or version.tag is not None:
        return place
    spelled = place.spelled._replace(
        digest=place.spelled.digest or version.digest, doubt=place.spelled.doubt or version.doubt
    )
    pieces = (piece, Piece("digest", digest, Link(piece.link.parent, "digest", mapping)))
    return place._replace(spelled=spelled, pieces=pieces)


def _span(node: Node) -> _Span:
    return node.start, node.end


_Owners = Callable[[Link], Owner]


def _owners(root: Node | None) -> _Owners:
    """Gives the resource that a place belongs to; that of a document is asked for once."""
    owner = owner_of(root)
    if owner.kind is not None and owner.kind.endswith("List"):
        return lambda link: owner_at(root, link)
    return lambda _link: owner


def _found(
    owners: _Owners,
    link: Link,
    spelled: Spelled,
    pieces: list[Piece],
    names: tuple[Scalar | Alias, ...] = (),
) -> Found:
    container = None if isinstance(link.node, Scalar) else container_of(link.node, link.parent)
    return Found(spelled, tuple(pieces), names, owners(link), container)


_Names = Map[tuple[str, _Span], tuple[_Marked, bool]]
"""Policy and a collection -> the first `:name` marker of the policy below it, and whether all agree."""


def _names(marks: list[_Marked]) -> _Names:
    names: dict[tuple[str, _Span], tuple[_Marked, bool]] = {}
    for mark in marks:
        if mark.marker.piece != "name" or content(mark.node) is None:
            continue
        way: Link | None = mark.link
        while way is not None:
            key = (mark.marker.policy, _span(way.node))
            first, agree = names.get(key, (mark, True))
            names[key] = (first, agree and content(first.node) == content(mark.node))
            way = way.parent
    return names


def _nearest(mark: _Marked, names: _Names) -> _Marked | None:
    """The name marker of the same policy that shares the innermost collection with a value; None where
    several share it and say different things."""
    way: Link | None = mark.link
    while way is not None:
        near = names.get((mark.marker.policy, _span(way.node)))
        if near is not None:
            return near[0] if near[1] else None
        way = way.parent
    return None


class _Takers:
    """Tags that can take in a digest which a marker gives to their policy, by their mapping."""

    def __init__(self, text: str, known: tuple[list[Found], ...]) -> None:
        self._tags: dict[tuple[_Span, str | None], list[tuple[list[Found], int]]] = {}
        for places in known:
            for index, place in enumerate(places):
                piece = place.pieces[0]
                if len(place.pieces) == 1 and piece.piece == "tag" and place.spelled.digest is None:
                    key = (_span(piece.link.node), comments(text, place)[0])
                    self._tags.setdefault(key, []).append((places, index))

    def take_in(self, place: Found, mark: _Marked) -> bool:
        """Give a digest to the tag of its policy in its mapping, if there is exactly one."""
        takers = self._tags.get((_span(mark.link.node), mark.marker.policy), [])
        if len(takers) != 1:
            return False
        places, index = takers.pop()
        taker = places[index]
        spelled = taker.spelled._replace(digest=place.spelled.digest)
        pieces = (*taker.pieces, Piece("digest", mark.node, mark.link))
        places[index] = taker._replace(pieces=pieces, spelled=spelled)
        return True


# -- images that only a Renovate comment gives away ------------------------------------------------


def renovated(text: str, document: Document, found: list[Found]) -> list[Found]:
    """Versions whose image only a Renovate comment names, behind them or on the line above.

    Only `datasource=docker` counts, and only where the tag is the whole version. A place that is found
    already stays as it is, and a version that only repeats the image beside it (`image: thanos:v0.31.0`,
    `version: v0.31.0`) is a description of that one.
    """
    if not _mentioned(text, document.root, "renovate:"):
        return []
    known = _settled(found) | {node.start for place in found for node in place.names}
    beside = {(p.pieces[0].link.node.start, p.spelled.repository) for p in found}
    owners = _owners(document.root)
    places: list[Found] = []
    for link, node in scalars(document.root):
        named = None if node.start in known else _dependency_at(text, node)
        if named is not None and (link.node.start, named[1]) in beside:
            continue
        place = None if named is None else _updated(owners, link, node, *named)
        places += [place] if place is not None else []
    places = _with_digests(places, known)
    _give_way(found, places)
    return places


def _dependency_at(text: str, node: Scalar) -> tuple[str, Repository] | None:
    above = comment_above(text, node.start)
    behind = comment_behind(text, node)
    return _dependency(behind) or (_dependency(above) if above and stands_alone(text, node) else None)


def _dependency(comment: str) -> tuple[str, Repository] | None:
    """The image that a Renovate comment names, as written and in full."""
    match = _RENOVATE.fullmatch(comment)
    if match is None:
        return None
    words = {
        word["key"]: word["double"] or word["single"] or word["bare"] or ""
        for word in _WORD.finditer(match["words"])
    }
    name = words.get("packageName") or words.get("depName") or ""
    if words.get("datasource") != "docker" or not _WHOLE_VERSION.fullmatch(
        words.get("extractVersion", "(?<version>.*)")
    ):
        return None
    host = words.get("registryUrl", "").partition("://")[2] or words.get("registryUrl", "")
    host = host.rstrip("/")
    full = name if not host or name.startswith(f"{host}/") else f"{host}/{name}"
    repository = repository_of(full)
    return None if repository is None or TEMPLATE.search(name) else (name, repository)


def _updated(owners: _Owners, link: Link, node: Scalar, written: str, repository: Repository) -> Found | None:
    value = content(node) or ""
    version = read_version(value)
    if version is None:
        spelled = read_reference(value)
        if spelled is None or spelled.repository != repository or not (spelled.tag or spelled.digest):
            return None
        return _found(owners, link, spelled, [Piece("reference", node, link)])
    key = link.step if isinstance(link.step, str) else ""
    certain = version.tag is None or TAG_KEY.fullmatch(key) or _NUMBERED.match(value)
    if version.doubt is not None or not certain:
        return None
    piece = Piece("digest" if version.tag is None else "tag", node, link)
    return _found(owners, link, version._replace(written=written, repository=repository), [piece])
