"""Sites: every place in a file where an image is written, found without configuration."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from automator.core.fields import Link, Printer, parse_field, select
from automator.core.reference import Repository
from automator.core.shapes import (
    Found,
    Owner,
    Piece,
    Spelled,
    combine,
    container_of,
    content,
    find,
    is_image_key,
    owner_of,
    read_reference,
    read_version,
    scalars,
    versions,
)
from automator.core.yamltext import Alias, Document, Mapping, Node, Scalar, parse
from automator.errors import ManifestError
from automator.reasons import Reason, reason


@dataclass(frozen=True, slots=True)
class Part:
    """One scalar that carries a piece of a reference; `text[start:end]` spells it, quotes included."""

    piece: str
    """`reference` (repository[:tag][@digest]), `tag` (tag[@digest]) or `digest`."""
    start: int
    end: int
    style: str
    value: str
    flow: bool = False
    """Whether it stands in `{…}`, where old readers refuse a plain scalar with a colon."""


@dataclass(frozen=True, slots=True)
class Site:
    """One place where a workload's image is written."""

    file: str
    """Path in the config repo; empty while the site is only known by its blob."""
    document: int
    field: str
    """Path to the scalar that holds the tag, e.g. `spec.template.spec.containers[app].image`: with
    `document` the site's identity in its file."""
    line: int
    repository: Repository | None
    """None where the name is templated or absent: such a site can only be claimed by `field`."""
    written: str
    """The repository as the author spelled it."""
    tag: str | None
    digest: str | None
    parts: tuple[Part, ...]
    kind: str | None = None
    namespace: str | None = None
    name: str | None = None
    container: str | None = None
    marker: str | None = None
    """Name of the Flux policy in a `$imagepolicy` comment here: `namespace:policy`."""
    claim: str | None = None
    """Workload named by a comment `# automator: web` here."""
    held: Reason | None = None
    """Why this site can never be edited as it stands (shared alias, block scalar, …)."""
    selectors: tuple[str, ...] = ()
    """Those of the `where.field` paths given to `locate` that lead to this site."""

    def at(self, file: str) -> Site:
        return replace(self, file=file)

    @property
    def label(self) -> str:
        """`apps/shop/web.yaml#spec.template.spec.containers[app].image`, as in the trailers."""
        return f"{self.file}#{self.field}"


@dataclass(frozen=True, slots=True)
class FileSites:
    """What one blob holds."""

    sites: tuple[Site, ...]
    trouble: Reason | None = None
    """Why the file could not be read; its sites are then unknown."""


_GATE = re.compile(rb"[tT]ag[\"']?[ \t]*:|digest[\"']?[ \t]*:")
_KUSTOMIZATIONS = ("kustomization.yaml", "kustomization.yml", "Kustomization")
_TAG_KEY = re.compile(r".*(?:[tT]ag|TAG|[vV]ersion|VERSION|[rR]evision)", re.DOTALL)
_MARKER = re.compile(r"""#\s*\{\s*"\$imagepolicy"\s*:\s*"(?P<policy>[^"\s:]+:[^"\s:]+)(?::[a-z]+)?"\s*\}""")
_CLAIM = re.compile(r"#\s*automator:\s*(?P<name>[A-Za-z0-9][A-Za-z0-9._/-]*)\s*")
_BEHIND = re.compile(r"[ \t\]},]*[ \t](?P<comment>#[^\r\n]*)")
_STR = ("tag:yaml.org,2002:str", "!!str", "!")


def may_hold_sites(data: bytes) -> bool:
    """Whether a file can hold a site at all: a cheap look for the keys, before anything is parsed.

    Sites that only a `where.field` names are not covered.
    """
    if b"mage" in data or b"MAGE" in data:
        return True
    return (b"tag" in data or b"Tag" in data or b"digest" in data) and _GATE.search(data) is not None


def locate(text: str, name: str, fields: tuple[str, ...] = ()) -> FileSites:
    """Find every site in a file's text; `name` is the file's base name (kustomization.yaml, …).

    `fields` are paths of policies (`where.field`): the scalars they lead to are sites even without
    a readable repository, and carry the path in `selectors`.

    Never raises: a file that cannot be read gives no sites and its trouble.
    """
    try:
        documents = parse(text)
    except ManifestError as error:
        return FileSites((), error.reason)
    encrypted = any(_encrypted(document.root) for document in documents)
    marked = "$imagepolicy" in text
    sites: list[Site] = []
    for document in documents:
        sites.extend(_sites(text, name, document, fields, encrypted=encrypted, marked=marked))
    return FileSites(tuple(sites))


def locate_field(text: str, name: str, field: str) -> tuple[Site, ...]:
    """The sites that one `where.field` path leads to: none, one, or (a mistake) several."""
    return tuple(site for site in locate(text, name, (field,)).sites if field in site.selectors)


def _sites(
    text: str, name: str, document: Document, fields: tuple[str, ...], *, encrypted: bool, marked: bool
) -> Iterator[Site]:
    kustomization = name in _KUSTOMIZATIONS or owner_of(document.root).kind in ("Kustomization", "Component")
    found = find(document, kustomization)
    if marked:
        found.extend(_marked(text, document, found))
    chosen = _choose(document, found, fields)
    printer = Printer()
    unique: dict[str, Site] = {}
    for index, place in sorted(enumerate(found), key=lambda pair: pair[1].start):
        site = _site(text, document, place, printer.path(place.pieces[0].link))
        held = site.held or (reason("site/sops", field=site.field, line=site.line) if encrypted else None)
        if held is not site.held or index in chosen:
            site = replace(site, held=held, selectors=tuple(chosen.get(index, ())))
        unique[site.field] = site  # of a key written twice in one mapping the last counts
    yield from unique.values()


def _site(text: str, document: Document, found: Found, field: str) -> Site:
    node, spelled = found.pieces[0].node, found.spelled
    parts = tuple(_part(piece) for piece in found.pieces)
    marker, claim = _comments(text, found)
    return Site(
        file="",
        document=document.number,
        field=field,
        line=node.line,
        repository=spelled.repository,
        written=spelled.written,
        tag=spelled.tag,
        digest=spelled.digest,
        parts=parts,
        kind=found.owner.kind,
        namespace=found.owner.namespace,
        name=found.owner.name,
        container=found.container,
        marker=marker,
        claim=claim,
        held=_held(text, document, found, field),
    )


def _part(piece: Piece) -> Part:
    node, flow = piece.node, piece.link.node.flow
    if isinstance(node, Alias):
        return Part(piece.piece, node.start, node.end, "alias", content(node) or "", flow)
    return Part(piece.piece, node.start, node.end, node.style, node.value, flow)


# -- what keeps a site from being edited -------------------------------------------------------


def _held(text: str, document: Document, found: Found, field: str) -> Reason | None:
    line = found.pieces[0].node.line
    if found.spelled.doubt is not None:
        return reason(found.spelled.doubt, field=field, line=line)
    for piece in found.pieces:
        node = piece.node
        if isinstance(node, Alias) or (node.anchor is not None and node.start in document.shared):
            anchor = node.name if isinstance(node, Alias) else node.anchor
            return reason("site/alias-shared", field=field, line=line, anchor=anchor)
        code = _doubt(text, node, piece.piece, found.spelled)
        if code is not None:
            return reason(code, field=field, line=line)
    return None


def _doubt(text: str, node: Scalar, piece: str, spelled: Spelled) -> str | None:
    if node.style in ("literal", "folded"):
        return "site/block-scalar"
    if node.tag is not None and node.tag not in _STR:
        return "site/tagged"
    if node.end == node.start:
        return "site/empty"
    # The characters that will be replaced must stand there as they read, without escapes or folds.
    spelled_out = text[node.start : node.end]
    inner = spelled_out if node.style == "plain" else spelled_out[1:-1]
    ending = node.value[len(spelled.written) :] if piece == "reference" else node.value
    return None if inner.endswith(ending) else "site/escaped"


def _encrypted(root: Node | None) -> bool:
    sops = root.get("sops") if isinstance(root, Mapping) else None
    return isinstance(sops, Mapping) and content(sops.get("mac_only_encrypted")) != "true"


# -- comments ----------------------------------------------------------------------------------


def _comments(text: str, found: Found) -> tuple[str | None, str | None]:
    """The Flux policy and the workload that comments at a site name."""
    marker = claim = None
    for node in (*(piece.node for piece in found.pieces), *found.names):
        behind = _BEHIND.match(text, node.end)
        if behind is not None:
            policy = _MARKER.fullmatch(behind["comment"].rstrip())
            marker = marker or (policy["policy"] if policy is not None else None)
        named = _CLAIM.fullmatch(behind["comment"]) if behind is not None else None
        named = named or _CLAIM.fullmatch(_comment_above(text, node.start))
        claim = claim or (named["name"] if named is not None else None)
    return marker, claim


def _comment_above(text: str, start: int) -> str:
    """The comment that has the line above to itself, at the same indentation; else nothing. (At the same
    indentation: so that a line inside a block scalar is not taken for a comment.)"""
    begin = text.rfind("\n", 0, start) + 1
    if begin == 0:
        return ""
    above = text[text.rfind("\n", 0, begin - 1) + 1 : begin - 1].rstrip("\r")
    comment = above.lstrip(" ")
    own = text[begin:start]
    if not comment.startswith("#") or len(above) - len(comment) != len(own) - len(own.lstrip(" ")):
        return ""
    return comment


def _marked(text: str, document: Document, found: list[Found]) -> list[Found]:
    """References that only a Flux marker gives away, whatever their key."""
    known = {piece.node.start for place in found for piece in place.pieces}
    marked = []
    for link, node in scalars(document.root):
        behind = _BEHIND.match(text, node.end)
        if node.start in known or behind is None or _MARKER.fullmatch(behind["comment"].rstrip()) is None:
            continue
        place = _from_field(document, link, node)
        if place.spelled.repository is not None and (place.spelled.tag or place.spelled.digest):
            marked.append(place)
    return marked


# -- fields that policies name -----------------------------------------------------------------


def _choose(document: Document, found: list[Found], fields: tuple[str, ...]) -> dict[int, list[str]]:
    """Which found places the fields lead to, by their index; places found by nobody are added."""
    chosen: dict[int, list[str]] = {}
    for field in fields:
        steps = parse_field(field)
        for link, node in select(document.root, steps) if steps else ():
            if not isinstance(node, (Scalar, Alias)):
                continue
            index = next((i for i, place in enumerate(found) if _holds(place, node)), len(found))
            if index == len(found):
                found.append(_from_field(document, link, node))
            chosen.setdefault(index, []).append(field)
    return chosen


def _holds(found: Found, node: Scalar | Alias) -> bool:
    return any(own.start == node.start and own.end == node.end for own in found.names) or any(
        piece.node.start == node.start and piece.node.end == node.end for piece in found.pieces
    )


def _from_field(document: Document, link: Link, node: Scalar | Alias) -> Found:
    key = link.step if isinstance(link.step, str) else ""
    text = content(node) or ""
    spelled: Spelled | None = None
    pieces = [Piece("reference", node, link)]
    if not _TAG_KEY.fullmatch(key) and (is_image_key(key) or "/" in text or ":" in text.partition("@")[0]):
        spelled = read_reference(text)
    elif isinstance(link.node, Mapping) and key != "digest":
        pieces = versions(link.node, link.parent, key) or [Piece("tag", node, link)]
        spelled = combine(pieces, link.node)
    else:
        pieces = [Piece("digest" if key == "digest" else "tag", node, link)]
        spelled = read_version(text)
    spelled = spelled or Spelled("", None, None, None, "site/unreadable")
    container = container_of(link.node, link.parent)
    return Found(spelled, tuple(pieces), (), _owner(document, link), container)


def _owner(document: Document, link: Link) -> Owner:
    nodes: list[Node] = []
    way: Link | None = link
    while way is not None:
        nodes.append(way.node)
        way = way.parent
    owner = owner_of(document.root)
    for node in reversed(nodes):
        if owner.kind is not None and owner.kind.endswith("List") and isinstance(node, Mapping):
            inner = owner_of(node)
            owner = inner if inner.kind is not None else owner
    return owner
