"""Shapes: the ways in which YAML spells an image, found in a document's nodes.

One walk knows them all: `image: ref` in any mapping (pod templates, custom resources, Compose, values),
names and tags in keys of their own (`repository`+`tag`, `registry`, `digest`), Kustomize `images:`.
What a found place is worth (may it be edited, who claims it) is decided by `site` and `claims`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from automator.core.fields import Link
from automator.core.reference import DIGEST, TAG, Repository, parse_reference, value_text
from automator.core.yamltext import Alias, Document, Mapping, Node, Scalar, Sequence
from automator.errors import InvalidReference

NULLS = frozenset(("", "~", "null", "Null", "NULL"))
POD_LISTS = ("containers", "initContainers", "ephemeralContainers")
NOT_IMAGES = frozenset(("metadata", "status"))
"""Keys of a resource under which an `image` is a description of one."""

TEMPLATE = re.compile(r"\{\{.*?\}\}|\$\{[^{}]*\}|\$\([^()]*\)|\$[A-Za-z_][A-Za-z0-9_]*")
_IMAGE_KEY = re.compile(
    r"image|IMAGE|imageName|image_name|[A-Za-z0-9_.-]*(?:Image|[_-]image|_IMAGE)", re.ASCII
)
_MASKED = re.compile(r"(?P<name>[^@\s]+?)(?::(?P<tag>[^:/@\s]+))?(?:@(?P<digest>\S+))?")
_HEX64 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_HASHED = "@sha256"
"""Ending of a name whose `tag` is the bare hash of a digest."""
_SCHEMES = ("oci://", "docker://")

# tag key -> keys that name the image beside it, the first present one counts
_SPLIT = {
    "tag": ("repository", "image", "name"),
    "imageTag": ("image", "imageName", "imageRepository", "repository"),
    "image_tag": ("image", "image_name"),
}


class Owner(NamedTuple):
    """The resource a site belongs to."""

    kind: str | None = None
    namespace: str | None = None
    name: str | None = None


class Piece(NamedTuple):
    """A scalar that carries a piece of a reference, and the way to it."""

    piece: str
    node: Scalar | Alias
    link: Link


class Spelled(NamedTuple):
    """What a text says of an image."""

    written: str
    repository: Repository | None
    tag: str | None
    digest: str | None
    doubt: str | None = None


class Found(NamedTuple):
    """One image spelled in a document; the first piece is the one the site is named after."""

    spelled: Spelled
    pieces: tuple[Piece, ...]
    names: tuple[Scalar | Alias, ...]
    """Scalars that name the repository without being a piece."""
    owner: Owner
    container: str | None

    @property
    def start(self) -> int:
        return self.pieces[0].node.start


def find(document: Document, kustomization: bool) -> list[Found]:
    """Every image of a document, in the order of the text."""
    walk = _Walk(kustomization)
    walk.resource(document.root, None)
    return sorted(walk.found, key=lambda found: found.start)


def read_reference(text: str) -> Spelled | None:
    """A reference as it is spelled, with or without tag and digest; None where the text is none.

    A templated name gives no repository; a templated tag gives no tag and a doubt.
    """
    scheme = next((s for s in _SCHEMES if text.startswith(s)), "")
    bare = text[len(scheme) :]
    if TEMPLATE.search(bare) is None:
        try:
            reference = parse_reference(bare)
        except InvalidReference:
            return None
        written = scheme + reference.written
        if text != written + value_text(reference.tag, reference.digest, prefix=True):
            return None
        return Spelled(written, reference.repository, reference.tag, reference.digest)
    return _read_templated(scheme, bare)


def _read_templated(scheme: str, bare: str) -> Spelled | None:
    match = _MASKED.fullmatch(TEMPLATE.sub(lambda found: "x" * len(found[0]), bare))
    if match is None:
        return None
    name = bare[: match.end("name")]
    tag = bare[match.start("tag") : match.end("tag")] if match["tag"] else None
    digest = bare[match.start("digest") :] if match["digest"] else None
    if (tag is None or TAG.fullmatch(tag)) and (digest is None or DIGEST.fullmatch(digest)):
        return Spelled(scheme + name, repository_of(name), tag, digest)
    return Spelled(scheme + name, repository_of(name), None, None, "site/templated")


def read_version(text: str) -> Spelled | None:
    """`1.4.3`, `1.4.3@sha256:…` or `sha256:…`, as a tag or digest key holds it."""
    if TEMPLATE.search(text):
        return Spelled("", None, None, None, "site/templated")
    if DIGEST.fullmatch(text):
        return Spelled("", None, None, text)
    tag, at, digest = text.partition("@")
    if TAG.fullmatch(tag) is None or (at and DIGEST.fullmatch(digest) is None):
        return None
    return Spelled("", None, tag, digest or None)


def repository_of(text: str) -> Repository | None:
    """The repository that a text without tag and digest names, or None."""
    try:
        reference = parse_reference(text)
    except InvalidReference:
        return None
    return reference.repository if reference.tag is None and reference.digest is None else None


def versions(node: Mapping, link: Link | None, tag_key: str) -> list[Piece]:
    """The tag's and the digest's scalars of a mapping; none where neither says anything."""
    pieces: list[Piece] = []
    for key, piece in ((tag_key, "tag"), ("digest", "digest")):
        value = node.get(key)
        if not isinstance(value, (Scalar, Alias)):
            continue
        # An empty digest of some characters (`digest: ""`) is where `pin` will write.
        if content(value) is not None or (piece == "digest" and value.end > value.start and pieces):
            pieces.append(Piece(piece, value, Link(link, key, node)))
    return pieces


def combine(pieces: list[Piece], node: Mapping) -> Spelled | None:
    """What tag and digest keys of one mapping say together; None where one of them is unreadable."""
    tag = digest = doubt = None
    for piece in pieces:
        text = content(piece.node)
        if text is None:
            continue
        version = read_version(text)
        if version is None:
            return None
        tag, digest = tag or version.tag, version.digest or digest
        doubt = doubt or version.doubt
    if _HEX64.fullmatch(content(node.get("sha")) or ""):
        doubt = doubt or "site/sha-key"
    return Spelled("", None, tag, digest, doubt)


def is_image_key(key: str) -> bool:
    return _IMAGE_KEY.fullmatch(key) is not None


def content(node: Node | None) -> str | None:
    """The text of a scalar (or of the one an alias points at) that is not null and not empty."""
    target = node.target if isinstance(node, Alias) else node
    if not isinstance(target, Scalar) or (target.style == "plain" and target.value in NULLS):
        return None
    return (target.value.rstrip("\n") if target.style in ("literal", "folded") else target.value) or None


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


class _Walk:
    """One pass over a document."""

    def __init__(self, kustomization: bool) -> None:
        self.found: list[Found] = []
        self._kustomization = kustomization
        self._owner = Owner()

    def resource(self, root: Node | None, link: Link | None) -> None:
        """A document's root, or an item of a `List`."""
        if not isinstance(root, Mapping):
            self._any(root, link)
            return
        self._owner = owner = owner_of(root)
        items = root.get("items")
        if owner.kind is not None and owner.kind.endswith("List") and isinstance(items, Sequence):
            into = Link(link, "items", root)
            for index, item in enumerate(items.items):
                self.resource(item, Link(into, index, items))
            return
        self._mapping(root, link, NOT_IMAGES if owner.kind is not None else frozenset())

    def _any(self, node: Node | None, link: Link | None) -> None:
        # An alias is not followed: what it points at is found where it is written.
        if isinstance(node, Mapping):
            self._mapping(node, link)
        elif isinstance(node, Sequence):
            for index, item in enumerate(node.items):
                if not isinstance(item, Scalar):
                    self._any(item, Link(link, index, node))

    def _mapping(self, node: Mapping, link: Link | None, skip: frozenset[str] = frozenset()) -> None:
        versions = False
        for key, value in node.pairs:
            if not isinstance(key, Scalar):
                continue
            name = key.value
            if isinstance(value, (Scalar, Alias)):
                if name in _SPLIT or name == "digest":
                    versions = True
                elif name[-4:] in ("mage", "MAGE", "Name", "name") and is_image_key(name):
                    self._inline(node, link, name, value)
            elif name == "images" and isinstance(value, Sequence):
                self._images(value, Link(link, name, node))
            elif name not in skip:
                self._any(value, Link(link, name, node))
        if versions:
            for tag_key, name_keys in _SPLIT.items():
                self._split(node, link, tag_key, name_keys)

    def _inline(self, node: Mapping, link: Link | None, key: str, value: Scalar | Alias) -> None:
        text = content(value)
        if text is None or not (":" in text or "@" in text or "$" in text):
            return
        spelled = read_reference(text)
        if spelled is None or (spelled.tag is None and spelled.digest is None and spelled.doubt is None):
            return
        if spelled.repository is None and spelled.tag is None and spelled.digest is None:
            return
        self._add(spelled, [Piece("reference", value, Link(link, key, node))], (), node, link)

    def _split(self, node: Mapping, link: Link | None, tag_key: str, name_keys: tuple[str, ...]) -> None:
        pieces = versions(node, link, tag_key)
        # Without a tag, a `digest` belongs to `repository`; it says nothing of `imageTag`.
        if not pieces or (pieces[0].piece == "digest" and tag_key != "tag"):
            return
        names = [key for key in name_keys if content(node.get(key)) is not None]
        if names[-1:] == ["name"] and (len(names) > 1 or not _under_image(link)):
            names.pop()
        if len(names) != 1:
            return
        nodes = [node.get(key) for key in ("registry", *names)]
        named = tuple(n for n in nodes if isinstance(n, (Scalar, Alias)) and content(n) is not None)
        written = "/".join((content(n) or "").rstrip("/") for n in named)
        if names[0] == "image" and _is_versioned(written):
            return  # `image: repo:1.2` beside a `tag`: the reference is found by itself
        if written.endswith(_HASHED) and _HEX64.fullmatch(content(pieces[0].node) or ""):
            digest = f"sha256:{content(pieces[0].node)}"
            spelled = Spelled(written, repository_of(written.removesuffix(_HASHED)), None, digest)
            self._add(spelled, pieces[:1], named, node, link)
            return
        self._versioned(written, pieces, named, node, link, repository_of(written))

    def _images(self, images: Sequence, link: Link) -> None:
        """Kustomize `images:`, in kustomizations and wherever its shape appears (Flux, Argo CD)."""
        for index, item in enumerate(images.items):
            into = Link(link, index, images)
            if not isinstance(item, Mapping) or not (
                content(item.get("newTag")) or content(item.get("newName")) or self._kustomization
            ):
                self._any(item, into)
                continue
            named = "newName" if content(item.get("newName")) else "name"
            name = item.get(named)
            if not isinstance(name, (Scalar, Alias)):
                continue
            pieces = versions(item, into, "newTag")
            written = content(name) or ""
            if pieces:
                self._versioned(written, pieces, (name,), item, into, repository_of(written))
            elif named == "newName":
                self._inline(item, into, named, name)

    def _versioned(
        self,
        written: str,
        pieces: list[Piece],
        names: tuple[Scalar | Alias, ...],
        node: Mapping,
        link: Link | None,
        repository: Repository | None,
    ) -> None:
        version = combine(pieces, node)
        if version is None or (repository is None and TEMPLATE.search(written) is None):
            return
        if (repository, version.tag, version.digest) == (None, None, None):
            return
        self._add(version._replace(written=written, repository=repository), pieces, names, node, link)

    def _add(
        self,
        spelled: Spelled,
        pieces: list[Piece],
        names: tuple[Scalar | Alias, ...],
        node: Mapping,
        link: Link | None,
    ) -> None:
        keys = {piece.link.step for piece in pieces}
        if sum(isinstance(key, Scalar) and key.value in keys for key, _ in node.pairs) > len(keys):
            spelled = spelled._replace(doubt="site/duplicate-key")
        in_images = link is not None and link.parent is not None and link.parent.step == "images"
        container = None if in_images else container_of(node, link)
        self.found.append(Found(spelled, tuple(pieces), names, self._owner, container))


def _is_versioned(text: str) -> bool:
    spelled = read_reference(text)
    return spelled is not None and (spelled.tag, spelled.digest, spelled.doubt) != (None, None, None)


def _under_image(link: Link | None) -> bool:
    return link is not None and isinstance(link.step, str) and is_image_key(link.step)


def container_of(node: Mapping | Sequence, link: Link | None) -> str | None:
    """The name of the container around an image: its `name` as an item of a list, or its key under
    `containers` and the like (and Compose `services`)."""
    if link is not None and _under_image(link):
        node, link = link.node, link.parent
    if link is None:
        return None
    if isinstance(link.step, int):
        return content(node.get("name")) if isinstance(node, Mapping) else None
    above = link.parent
    if above is not None and (above.step in POD_LISTS or (above.step == "services" and above.parent is None)):
        return link.step
    return None
