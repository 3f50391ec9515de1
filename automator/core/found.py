"""What a look into a document finds: pieces of a reference, the way to them, and whose they are."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from collections.abc import Mapping as Map
from itertools import chain
from typing import NamedTuple

from automator.core.fields import Link
from automator.core.spelling import HEX64, Spelled, is_image_key, read_reference, read_version
from automator.core.yamltext import Alias, Mapping, Node, Scalar, Sequence

_DEEPEST_MERGE = 4
_DIGEST_ENDS = ("digest", "sha", "sha256", "hash")
_IS_HASH = re.compile(r"(?:sha(?:256|384|512):)?[0-9a-f]{64,128}", re.ASCII)
NULLS = frozenset(("", "~", "null", "Null", "NULL"))
POD_LISTS = ("containers", "initContainers", "ephemeralContainers")
BARE_HASHES = ("sha", "sha256")
"""Keys of a digest without its algorithm."""
TAG_KEY = re.compile(r".*(?:[tT]ag|TAG|[vV]ersion|VERSION|[rR]evision)", re.DOTALL)
KUSTOMIZATIONS = ("kustomization.yaml", "kustomization.yml", "Kustomization")
WORKLOADS = frozenset(
    {"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Rollout", "CronJob", "Job", "Pod"}
)
"""Kinds of objects that run under their own name, in their own namespace."""


SETTING = "setting"
"""Style of the literal that a template variable is set to: it stands outside of all scalars."""


class Owner(NamedTuple):
    """The resource a site belongs to."""

    kind: str | None = None
    namespace: str | None = None
    name: str | None = None


class Piece(NamedTuple):
    """A scalar that carries a piece of a reference, and the way to it."""

    piece: str
    """`reference`, `tag`, `digest`, or `version`: a tag where no digest can stand (charts of Helm)."""
    node: Scalar | Alias
    """With style `text` or `setting`: no whole scalar; `text[start:end]` spells it without quotes."""
    link: Link
    within: Scalar | None = None
    """The scalar of the document that this one is a part of, where it is not one itself."""

    @property
    def whole(self) -> Scalar | Alias:
        """The scalar of the document that this piece is, or is a part of."""
        return self.within or self.node

    @property
    def target_start(self) -> int:
        """Where the characters stand that this piece reads: elsewhere, for an alias."""
        whole = self.whole
        return whole.target.start if isinstance(whole, Alias) and whole.target is not None else whole.start


class Awaits(NamedTuple):
    """What a site needs from another file to know its repository."""

    kind: str
    """`variable` (of a Compose file beside an `.env`) or `HelmRepository`."""
    name: str
    namespace: str | None = None
    chart: str = ""
    """What is appended to the repository's address."""


class Found(NamedTuple):
    """One image spelled in a document; the first piece is the one the site is named after."""

    spelled: Spelled
    pieces: tuple[Piece, ...]
    names: tuple[Scalar | Alias, ...]
    """Scalars that name the repository without being a piece."""
    owner: Owner
    container: str | None
    suffix: str = ""
    """Tells apart several sites in one scalar: appended to the printed path."""
    awaits: Awaits | None = None

    @property
    def start(self) -> int:
        return self.pieces[0].node.start

    def shared(self, uses: Map[int, int]) -> tuple[int, ...]:
        """Starts of the scalars it reads that aliases read too."""
        return tuple(piece.target_start for piece in self.pieces if piece.target_start in uses)


def content(node: Node | None) -> str | None:
    """The text of a scalar (or of the one an alias points at) that is not null and not empty."""
    target = node.target if isinstance(node, Alias) else node
    if not isinstance(target, Scalar) or (target.style == "plain" and target.value in NULLS):
        return None
    return (target.value.rstrip("\n") if target.style in ("literal", "folded") else target.value) or None


def merged(node: Mapping, key: str) -> Node | None:
    """The value of a key, the mapping's own or one that `<<` brings in (yaml.org/type/merge)."""
    own = node.get(key)
    if own is not None or node.get("<<") is None:
        return own
    for source in merge_sources(node):
        value = source.get(key)
        if value is not None:
            return value
    return None


def merge_sources(node: Mapping, depth: int = 0) -> Iterator[Mapping]:
    """The mappings that `<<` brings into a mapping, and what is merged into those."""
    for key, value in node.pairs:
        if not isinstance(key, Scalar) or key.value != "<<":
            continue
        for source in value.items if isinstance(value, Sequence) else (value,):
            target = source.target if isinstance(source, Alias) else source
            if isinstance(target, Mapping):
                yield target
                if depth < _DEEPEST_MERGE:
                    yield from merge_sources(target, depth + 1)


def digests_of(node: Mapping) -> tuple[Scalar | Alias, ...]:
    """Every digest or bare hash that a mapping holds, its own or merged, under a key that says so."""
    pairs = chain.from_iterable(source.pairs for source in (node, *merge_sources(node)))
    return tuple(
        value
        for key, value in pairs
        if isinstance(key, Scalar) and isinstance(value, (Scalar, Alias)) and is_digest(key.value, value)
    )


def is_digest(key: str, value: Node) -> bool:
    """Whether a value is a digest or a bare hash, under a key that says so."""
    return key[-6:].lower().endswith(_DIGEST_ENDS) and _IS_HASH.fullmatch(content(value) or "") is not None


def others(digests: Iterable[Scalar | Alias], pieces: Iterable[Piece]) -> bool:
    """Whether there are digests that are none of the pieces."""
    known = {piece.node.start for piece in pieces}
    return any(digest.start not in known for digest in digests)


def versions(node: Mapping, link: Link | None, tag_key: str, digest_key: str = "digest") -> list[Piece]:
    """The tag's and the digest's scalars of a mapping; none where neither says anything."""
    pieces: list[Piece] = []
    for key, piece in ((tag_key, "tag"), (digest_key, "digest")):
        value = node.get(key)
        if not isinstance(value, (Scalar, Alias)):
            continue
        # An empty digest of some characters (`digest: ""`) is where `pin` will write.
        if content(value) is not None or (piece == "digest" and value.end > value.start and pieces):
            pieces.append(Piece(piece, value, Link(link, key, node)))
    return pieces


def combine(pieces: Iterable[Piece], node: Mapping | Sequence) -> Spelled | None:
    """What tag and digest keys of one mapping say together; None where one of them is unreadable."""
    tag = digest = doubt = None
    for piece in pieces:
        text = content(piece.node)
        if text is None:
            continue
        version = read_version(text)
        if version is None:
            return None
        if piece.piece == "digest" and (version.digest, version.doubt) == (None, None):
            version = version._replace(tag=None, doubt="site/sha-key")  # a hash without its algorithm
        tag, digest = tag or version.tag, version.digest or digest
        doubt = doubt or version.doubt
    if isinstance(node, Mapping) and any(HEX64.fullmatch(content(node.get(k)) or "") for k in BARE_HASHES):
        doubt = doubt or "site/sha-key"
    return Spelled("", None, tag, digest, doubt)


def owner_of(root: Node | None) -> Owner:
    """The identity a resource states: `kind` and the `name` and `namespace` of its own metadata."""
    if not isinstance(root, Mapping):
        return Owner()
    metadata = root.get("metadata")
    if isinstance(metadata, Alias):
        metadata = metadata.target
    if not isinstance(metadata, Mapping):
        return Owner(content(root.get("kind")))
    return Owner(content(root.get("kind")), content(metadata.get("namespace")), content(metadata.get("name")))


def owner_at(root: Node | None, link: Link | None) -> Owner:
    """The identity of the resource around a place: the document's, or that of an item of a `List`."""
    nodes: list[Node] = []
    while link is not None:
        nodes.append(link.node)
        link = link.parent
    owner = owner_of(root)
    for node in reversed(nodes):
        if owner.kind is not None and owner.kind.endswith("List") and isinstance(node, Mapping):
            inner = owner_of(node)
            owner = inner if inner.kind is not None else owner
    return owner


def under_image(link: Link | None) -> bool:
    """Whether a place is the value of a key that by its name holds an image."""
    return link is not None and isinstance(link.step, str) and is_image_key(link.step)


def container_of(node: Mapping | Sequence, link: Link | None) -> str | None:
    """The name of the container around an image: its `name` as an item of a list, or its key under
    `containers` and the like (and Compose `services`)."""
    if link is not None and under_image(link) and not isinstance(link.node, Scalar):
        node, link = link.node, link.parent
    if link is None:
        return None
    if isinstance(link.step, int):
        return content(node.get("name")) if isinstance(node, Mapping) else None
    above = link.parent
    if above is not None and (above.step in POD_LISTS or (above.step == "services" and above.parent is None)):
        return link.step
    return None


def scalars(node: Node | None, link: Link | None = None) -> Iterator[tuple[Link, Scalar]]:
    """Every scalar value below a node, and the way to it."""
    children: Iterable[tuple[str | int, Node]] = ()
    if isinstance(node, Mapping):
        children = ((key.value, value) for key, value in node.pairs if isinstance(key, Scalar))
    elif isinstance(node, Sequence):
        children = enumerate(node.items)
    if isinstance(node, (Mapping, Sequence)):
        for step, child in children:
            if isinstance(child, Scalar):
                yield Link(link, step, node), child
            else:
                yield from scalars(child, Link(link, step, node))


def from_field(root: Node | None, link: Link, node: Scalar | Alias) -> Found:
    """The image at a place that a policy or a comment names, readable or not."""
    key = link.step if isinstance(link.step, str) else ""
    text = content(node) or ""
    spelled: Spelled | None = None
    pieces = [Piece("reference", node, link)]
    if not TAG_KEY.fullmatch(key) and (is_image_key(key) or "/" in text or ":" in text.partition("@")[0]):
        spelled = read_reference(text)
    elif isinstance(link.node, Mapping) and key != "digest":
        pieces = versions(link.node, link.parent, key) or [Piece("tag", node, link)]
        spelled = combine(pieces, link.node)
    else:
        pieces = [Piece("digest" if key == "digest" else "tag", node, link)]
        spelled = read_version(text)
    spelled = spelled or Spelled("", None, None, None, "site/unreadable")
    if isinstance(link.node, Mapping) and spelled.doubt is None and others(digests_of(link.node), pieces):
        spelled = spelled._replace(doubt="site/digest-beside")
    container = None if isinstance(link.node, Scalar) else container_of(link.node, link.parent)
    return Found(spelled, tuple(pieces), (), owner_at(root, link), container)
