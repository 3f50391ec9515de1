"""Shapes: the ways in which YAML spells an image, found in a document's nodes.

One walk knows them all: `image: ref` in any mapping (pod templates, custom resources, Compose, values),
names and tags in keys of their own (`repository`+`tag`, `registry`, `digest`), Kustomize `images:`, lists of
parameters, whole references under any key, references inside longer texts, and documents inside scalars.
What a found place is worth (may it be edited, who claims it) is decided by `site` and `claims`.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable
from collections.abc import Mapping as Map
from typing import NamedTuple

from automator.core import charts, compose, embedded, variables
from automator.core.fields import Link
from automator.core.found import (
    KUSTOMIZATIONS,
    Found,
    Owner,
    Piece,
    combine,
    container_of,
    content,
    digests_of,
    is_digest,
    merge_sources,
    merged,
    others,
    owner_of,
    under_image,
    versions,
)
from automator.core.keys import VERSION_ENDS, Beside, beside_key
from automator.core.mentions import mentions, version_pairs
from automator.core.reference import DIGEST, Repository
from automator.core.sources import Source
from automator.core.spans import runs, to_raw
from automator.core.spelling import (
    HASHED,
    HEX64,
    TEMPLATE,
    Spelled,
    is_image_key,
    is_versioned,
    read_reference,
    repository_of,
)
from automator.core.yamltext import Alias, Document, Mapping, Node, Scalar, Sequence

NOT_IMAGES = frozenset(("metadata", "status"))
"""Keys of a resource under which an `image` is a description of one."""
_NO_REFERENCES = frozenset(
    ("labels", "annotations", "matchLabels", "volumes", "ports", "devices", "tmpfs", "extra_hosts", "links",
     "description", "summary", "title", "comment", "message", "displayName")
)  # fmt: skip
"""Keys whose values may look like a reference and are none, or only speak of one."""
IMAGE_UPDATER = "argocd-image-updater.argoproj.io/"
_DEEPEST = 2
"""Documents inside documents that are looked into."""


_DIGEST_LINE = re.compile(r"^[ \t-]*[\"']?\w*(?:[dD]igest|[sS]ha|sha256|[hH]ash)[\"']?[ ]*:", re.MULTILINE)

Lookup = Callable[[str], "tuple[Node, Link] | None"]


def find(
    document: Document, text: str, name: str, sources: Iterable[Source] = (), *, variables_set: bool = False
) -> list[Found]:
    """Every image of a document, in the order of the text; `name` is the file's base name, `sources` what
    its other documents say of charts, and `variables_set` whether templates in it set variables."""
    kustomization = name in KUSTOMIZATIONS or owner_of(document.root).kind in ("Kustomization", "Component")
    walk = _Walk(document, text, kustomization)
    walk.resource(document.root, None)
    found = [_doubted(place, walk.overrides) for place in walk.found] if walk.overrides else walk.found
    if variables_set:
        found = variables.resolved(found, text)
    found = [place for place in found if not _says_nothing(place.spelled)]
    if variables_set and document.number == 0:
        found = [*found, *variables.settings(text, owner_of(document.root))]
    for special in (charts.find(document, name, sources), compose.find(document, text)):
        found = [*_apart(found, special), *special]
    return sorted(found, key=lambda place: place.start)


def _not_images(root: Mapping, kind: str | None) -> frozenset[str]:
    """Keys of a document under which nothing is an image that runs."""
    if kind is None:
        return frozenset()
    version = root.get("apiVersion")
    # What Argo CD Image Updater calls an image is a name with a constraint in the place of the tag.
    if kind == "ImageUpdater" and isinstance(version, Scalar) and version.value.startswith(IMAGE_UPDATER):
        return NOT_IMAGES | {"spec"}
    return NOT_IMAGES


def _settled(place: Found, text: str) -> Found:
    """A place in a file that is no YAML; in doubt where a digest stands on a line beside it."""
    begin = text.rfind("\n", 0, max(text.rfind("\n", 0, place.start), 0)) + 1
    end = text.find("\n", text.find("\n", place.start) + 1)
    if place.spelled.doubt is None and _DIGEST_LINE.search(text, begin, end if end > begin else len(text)):
        return place._replace(spelled=place.spelled._replace(doubt="site/digest-beside"))
    return place


def _doubted(place: Found, overrides: Map[int, list[frozenset[str]]]) -> Found:
    """A place, in doubt where its version is merged beside another name."""
    first = place.pieces[0]
    node = first.link.node
    if first.piece == "reference" or not isinstance(node, Mapping) or node.start not in overrides:
        return place
    beside = beside_key(str(first.link.step)) or Beside(("name", "newName"), (), "digest")
    names = {
        *beside.names,
        *beside.registries,
        "newName",
        *(("name",) if first.link.step == "newTag" else ()),
    }
    if any(names & keys and first.link.step not in keys for keys in overrides[node.start]):
        return place._replace(spelled=place.spelled._replace(doubt="site/merged"))
    return place


def _apart(general: list[Found], special: list[Found]) -> list[Found]:
    """What was found in general, without the places of which more is known."""
    taken = sorted({(piece.node.start, piece.node.end) for place in special for piece in place.pieces})
    if not taken:
        return general
    starts = [start for start, _ in taken]

    def is_taken(piece: Piece) -> bool:
        index = bisect_left(starts, piece.node.end) - 1
        return index >= 0 and piece.node.start < taken[index][1]

    return [place for place in general if not any(map(is_taken, place.pieces))]


class _Look(NamedTuple):
    """A mapping that was looked at."""

    node: Mapping
    digests: tuple[Scalar | Alias, ...]
    repeated: frozenset[int]
    """Starts of the values whose key stands more than once."""


class _Walk:
    """One pass over a document."""

    def __init__(self, document: Document, text: str, kustomization: bool) -> None:
        self.found: list[Found] = []
        self._document = document
        self._text = text
        self._kustomization = kustomization
        self.overrides: dict[int, list[frozenset[str]]] = {}
        """Starts of merged mappings -> keys that stand beside `<<` where they are merged."""
        self._looked: _Look | None = None
        self._owner = Owner()
        self._depth = 0

    def resource(self, root: Node | None, link: Link | None) -> None:
        """A document's root, or an item of a `List`."""
        if isinstance(root, Scalar):
            whole = root.style == "text"
            self._words(root, link or Link(None, "" if whole else "|", root))
            if whole:
                self._pairs(root)
                self.found = [_settled(place, root.value) for place in self.found]
            return
        if not isinstance(root, Mapping):
            self._any(root, link)
            return
        outer = self._owner
        owner = owner_of(root)
        self._owner = owner if owner.kind is not None or self._depth == 0 else outer
        items = root.get("items")
        if owner.kind is not None and owner.kind.endswith("List") and isinstance(items, Sequence):
            into = Link(link, "items", root)
            for index, item in enumerate(items.items):
                self.resource(item, Link(into, index, items))
        else:
            self._mapping(root, link, _not_images(root, owner.kind))
        if self._depth:
            self._owner = outer

    def _any(self, node: Node | None, link: Link | None) -> None:
        # An alias is not followed: what it points at is found where it is written.
        if isinstance(node, Mapping):
            self._mapping(node, link)
        elif isinstance(node, Sequence):
            self._sequence(node, link)

    def _sequence(self, node: Sequence, link: Link | None) -> None:
        parameters, before = 0, len(self.found)
        for index, item in enumerate(node.items):
            if isinstance(item, Scalar):
                self._other(item, Link(link, index, node), hint=link is not None and link.step == "images")
            else:
                parameters += isinstance(item, Mapping) and item.get("name") is not None
                self._any(item, Link(link, index, node))
        if parameters > 1:
            self._parameters(node, link, before)

    def _mapping(self, node: Mapping, link: Link | None, skip: frozenset[str] = frozenset()) -> None:
        tags: list[str] = []
        digest = False
        if node.get("<<") is not None:
            self._overridden(node, link)
        for index, (key, value) in enumerate(node.pairs):
            if not isinstance(key, Scalar):
                self._any(value, Link(link, f"?{index}", node))
                continue
            name = key.value
            if isinstance(value, (Scalar, Alias)):
                if name[-3:] in VERSION_ENDS and name not in tags and beside_key(name) is not None:
                    tags.append(name)
                digest = digest or name == "digest"
                if is_image_key(name) and self._inline(node, link, name, value):
                    continue
                if name in tags or name[-6:].lower() == "digest":
                    continue
                hint = _hinted(node, link, name)
                if name == "name" and not hint:  # what a thing is called is no place to write to
                    continue
                if isinstance(value, Scalar) and name not in _NO_REFERENCES:
                    self._other(value, Link(link, name, node), hint=hint)
            elif name == "images" and isinstance(value, Sequence):
                self._images(value, Link(link, name, node))
            elif name == "volumes" and isinstance(value, Sequence):
                self._volumes(value, Link(link, name, node))
            elif name not in skip and name not in _NO_REFERENCES:
                self._any(value, Link(link, name, node))
                self._key(key, node, link)
        if digest and "tag" not in tags:
            tags.append("tag")
        for tag_key in tags:
            self._split(node, link, tag_key)

    def _inline(self, node: Mapping, link: Link | None, key: str, value: Scalar | Alias) -> bool:
        text = content(value)
        if text is None or not (":" in text or "@" in text or "$" in text):
            return False
        spelled = read_reference(text)
        if spelled is None or (spelled.tag is None and spelled.digest is None and spelled.doubt is None):
            return False
        pieces = [Piece("reference", value, Link(link, key, node))]
        for digest_key in _digestsbeside_key(key):
            digest = node.get(digest_key)
            if isinstance(digest, (Scalar, Alias)) and DIGEST.fullmatch(content(digest) or ""):
                pieces.append(Piece("digest", digest, Link(link, digest_key, node)))
                spelled = spelled._replace(digest=spelled.digest or content(digest))
                break
        self._add(spelled, pieces, (), node, link)
        return True

    def _volumes(self, volumes: Sequence, link: Link) -> None:
        """Image volumes of a pod: `image: {reference: …}` and nothing else."""
        for index, item in enumerate(volumes.items):
            image = item.get("image") if isinstance(item, Mapping) else None
            if isinstance(item, Mapping) and isinstance(image, Mapping):
                self._mapping(image, Link(Link(link, index, volumes), "image", item))

    def _overridden(self, node: Mapping, link: Link | None) -> None:
        """Note the keys that stand beside `<<`: what is merged may be of another image here. Images named
        here whose version is merged are held, since it may be others' too."""
        for source in merge_sources(node):
            own = self.overrides.setdefault(source.start, [])
            own.append(frozenset(key.value for key, _ in node.pairs if isinstance(key, Scalar)))
            for key, value in source.pairs:
                beside = (
                    beside_key(key.value)
                    if isinstance(key, Scalar) and key.value[-3:] in VERSION_ENDS
                    else None
                )
                if beside is None or not isinstance(value, Scalar) or not isinstance(key, Scalar):
                    continue
                if node.get(key.value) is None and any(node.get(name) for name in beside.names):
                    before = len(self.found)
                    piece = Piece("tag", value, Link(link, key.value, node))
                    self._named(_lookup_in(node, link), [piece], beside, node, link, under=under_image(link))
                    self._doubt_since(before, "site/merged")

    def _doubt_since(self, index: int, doubt: str) -> None:
        for at in range(index, len(self.found)):
            spelled = self.found[at].spelled._replace(doubt=doubt)
            self.found[at] = self.found[at]._replace(spelled=spelled)

    # -- any other value ---------------------------------------------------------------------

    def _other(self, value: Scalar, link: Link, *, hint: bool) -> None:
        """A scalar that is no image by its key: a whole reference, a longer text, or a document."""
        text = value.value
        if ":" not in text or not (hint or "/" in text or "@sha256:" in text or "\n" in text):
            return
        if "\n" in text.rstrip("\n") or value.style in ("literal", "folded"):
            self._inside(value, link)
            return
        if " " not in text:
            spelled = read_reference(text)
            if spelled is not None and spelled.repository is not None and (spelled.tag or spelled.digest):
                named = "/" in spelled.written.rpartition("//")[2]
                certain = hint or named or (spelled.digest is not None and not text[:1].isdigit())
                if certain and not isinstance(link.node, Scalar):
                    self._add(spelled, [Piece("reference", value, link)], (), link.node, link.parent)
                return
        self._words(value, link)

    def _key(self, key: Scalar, node: Mapping, link: Link | None) -> None:
        """A reference that is a key itself: features of a dev container, by their reference."""
        if "/" in key.value and ":" in key.value and "." in key.value.partition("/")[0]:
            spelled = read_reference(key.value)
            if spelled is not None and spelled.repository is not None and (spelled.tag or spelled.digest):
                self._add(spelled, [Piece("reference", key, Link(link, key.value, node))], (), node, link)

    def _words(self, value: Scalar, link: Link) -> None:
        """References inside a longer text."""
        found = list(mentions(value.value, keyed=value.style == "text"))
        if not found:
            return
        places = runs(self._text, value)
        seen: dict[str, int] = {}
        line, at = value.line, value.start
        for mention in found:
            written = mention.spelled.written
            number = seen[written] = seen.get(written, -1) + 1
            place = to_raw(places, mention.start, mention.end)
            if place is None:
                continue
            line += self._text.count("\n", at, place[0])
            at = place[0]
            token = value.value[mention.start : mention.end]
            node = Scalar(token, *place, line, "text", None, None)
            suffix = ""
            if len(found) > 1 or value.style == "text":
                suffix = f"|{written}" + (f"[{number}]" if number else "")
            piece = Piece("reference", node, link, value)
            holder = link.node
            container = None if isinstance(holder, Scalar) else container_of(holder, link.parent)
            self.found.append(Found(mention.spelled, (piece,), (), self._owner, container, suffix))

    def _pairs(self, root: Scalar) -> None:
        """In a file that is no YAML: a literal tag on the line below a literal repository."""
        line, at = 1, 0
        for pair in sorted(version_pairs(root.value)):
            line += root.value.count("\n", at, pair.start)
            at = pair.start
            quoted = pair.start > 0 and root.value[pair.start - 1] in "\"'"
            style = "text" if quoted or pair.spelled.doubt else "plain"
            node = Scalar(root.value[pair.start : pair.end], pair.start, pair.end, line, style, None, None)
            piece = Piece("tag", node, Link(None, "", root), root)
            self.found.append(Found(pair.spelled, (piece,), (), self._owner, None, pair.spelled.written))

    def _inside(self, value: Scalar, link: Link) -> None:
        """A text of several lines: documents, or words."""
        places = runs(self._text, value) if self._depth < _DEEPEST else ()
        roots = embedded.roots(self._text, value, places)
        if not roots:
            self._words(value, link)
            return
        into = Link(link, "|", value)
        before = len(self.found)
        self._depth += 1
        for index, root in enumerate(roots):
            self.resource(root, into if len(roots) == 1 else Link(into, index, value))
        self._depth -= 1
        for index in range(before, len(self.found)):
            place = self.found[index]
            pieces = tuple(piece if piece.within else piece._replace(within=value) for piece in place.pieces)
            self.found[index] = place._replace(pieces=pieces)

    # -- names and tags in keys of their own -------------------------------------------------

    def _split(self, node: Mapping, link: Link | None, tag_key: str) -> None:
        beside = beside_key(tag_key)
        if beside is None:
            return
        lookup = _lookup_in(node, link)
        digest_keys = (beside.digest, "digest", "imageDigest", "image_digest")
        digest_key = next((key for key in digest_keys if lookup(key) is not None), "digest")
        pieces = versions(node, link, tag_key, digest_key)
        # Without a tag, a `digest` belongs to `repository`; it says nothing of `imageTag`.
        if pieces and (pieces[0].piece == "tag" or tag_key == "tag"):
            self._named(lookup, pieces, beside, node, link, under=under_image(link))

    def _parameters(self, node: Sequence, link: Link | None, before: int) -> None:
        """Lists of `name:` and `value:` (Helm parameters of Argo CD, Tekton, environments), whose items
        together are like a mapping."""
        values: dict[str, tuple[Node, Link]] = {}
        repeated: set[str] = set()
        for index, item in enumerate(node.items):
            name = content(item.get("name")) if isinstance(item, Mapping) else None
            if name is None or not isinstance(item, Mapping):
                continue
            for key in ("value", "default"):
                value = item.get(key)
                if isinstance(value, (Scalar, Alias)) and content(value) is not None:
                    repeated.update({name} & values.keys())
                    values[name] = (value, Link(Link(link, index, node), key, item))
                    break
        split = len(self.found)
        for name, (value, way) in values.items():
            stem, dot, leaf = name.rpartition(".")
            beside = beside_key(leaf)
            if beside is None or (not dot and leaf == "version"):
                continue

            def lookup(key: str, lead: str = stem + dot) -> tuple[Node, Link] | None:
                return values.get(lead + key)

            pieces = [Piece("tag", value, way)] if isinstance(value, (Scalar, Alias)) else []
            digest = lookup(beside.digest)
            if digest is not None and isinstance(digest[0], (Scalar, Alias)):
                pieces.append(Piece("digest", digest[0], digest[1]))
            count = len(self.found)
            self._named(lookup, pieces, beside, node, link, under=is_image_key(stem.rpartition(".")[2]))
            if any(repeats.startswith(stem + dot) for repeats in repeated):
                self._doubt_since(count, "site/duplicate-key")
        # `v1.4.2@sha256:…` is the version of the name beside it, not an image called v1.4.2.
        taken = {piece.node.start for place in self.found[split:] for piece in place.pieces}
        self.found[before:split] = [p for p in self.found[before:split] if p.start not in taken]
        hashes = [value for name, (value, _) in values.items() if is_digest(name, value)]
        places = [at for at in range(before, len(self.found)) if self.found[at].spelled.doubt is None]
        for at in places if hashes else ():
            if others((h for h in hashes if isinstance(h, (Scalar, Alias))), self.found[at].pieces):
                doubt = self.found[at].spelled._replace(doubt="site/digest-beside")
                self.found[at] = self.found[at]._replace(spelled=doubt)

    def _named(
        self,
        lookup: Lookup,
        pieces: list[Piece],
        beside: Beside,
        node: Mapping | Sequence,
        link: Link | None,
        *,
        under: bool,
    ) -> None:
        """The image whose version the pieces hold, if exactly one name stands beside them."""
        names = {key: found[0] for key in beside.names if (found := lookup(key)) and content(found[0])}
        if "name" in names and (len(names) > 1 or not under):
            del names["name"]
        if "hub" in names and len(names) > 1:
            del names["hub"]
        if len(names) != 1:
            return
        ((key, name),) = names.items()
        above = [
            found[0] for k in beside.registries if k != key and (found := lookup(k)) and content(found[0])
        ]
        named = tuple(n for n in (*above[:1], name) if isinstance(n, (Scalar, Alias)))
        written = "/".join((content(n) or "").rstrip("/") for n in named)
        if key != "repository" and is_versioned(written):
            return  # `image: repo:1.2` beside a `tag`: the reference is found by itself
        if written.endswith(HASHED) and HEX64.fullmatch(content(pieces[0].node) or ""):
            digest = f"sha256:{content(pieces[0].node)}"
            spelled = Spelled(written, repository_of(written.removesuffix(HASHED)), None, digest)
            self._add(spelled, pieces[:1], named, node, link)
            return
        self._versioned(written, pieces, named, node, link, repository_of(written))

    def _images(self, images: Sequence, link: Link) -> None:
        """Kustomize `images:`, in kustomizations and wherever its shape appears (Flux, Argo CD)."""
        for index, item in enumerate(images.items):
            into = Link(link, index, images)
            if isinstance(item, Mapping) and item.get("<<") is not None:
                self._overridden(item, into)
            if isinstance(item, Scalar):
                self._other(item, into, hint=True)
                continue
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
            if pieces and not (named == "newName" and is_versioned(written)):
                self._versioned(written, pieces, (name,), item, into, repository_of(written))
            elif named == "newName":
                self._inline(item, into, named, name)

    def _versioned(
        self,
        written: str,
        pieces: list[Piece],
        names: tuple[Scalar | Alias, ...],
        node: Mapping | Sequence,
        link: Link | None,
        repository: Repository | None,
    ) -> None:
        version = combine(pieces, node)
        if version is None or (repository is None and not _is_unsettled(written)):
            return
        if _says_nothing(version._replace(repository=repository)):
            return
        self._add(version._replace(written=written, repository=repository), pieces, names, node, link)

    def _add(
        self,
        spelled: Spelled,
        pieces: list[Piece],
        names: tuple[Scalar | Alias, ...],
        node: Mapping | Sequence,
        link: Link | None,
    ) -> None:
        pieces = [self._on_one_line(piece) for piece in pieces]
        apart = self._document.templated and pieces[0].piece == "reference"
        if isinstance(node, Mapping) and not apart:
            starts = {piece.node.start for piece in pieces} | {name.start for name in names}
            if not starts.isdisjoint(self._look(node).repeated):
                spelled = spelled._replace(doubt="site/duplicate-key")
        if isinstance(node, Mapping) and others(self._look(node).digests, pieces):
            spelled = spelled._replace(doubt=spelled.doubt or "site/digest-beside")
        in_images = link is not None and link.parent is not None and link.parent.step == "images"
        container = None if in_images else container_of(node, link)
        self.found.append(Found(spelled, tuple(pieces), names, self._owner, container))

    def _look(self, node: Mapping) -> _Look:
        """What must be known of a mapping for each image in it, found out once."""
        if self._looked is None or self._looked.node is not node:
            counts = Counter(key.value for key, _ in node.pairs if isinstance(key, Scalar))
            twice = {key for key, count in counts.items() if count > 1}
            repeated = {v.start for k, v in node.pairs if isinstance(k, Scalar) and k.value in twice}
            self._looked = _Look(node, digests_of(node), frozenset(repeated))
        return self._looked

    def _on_one_line(self, piece: Piece) -> Piece:
        """A piece in a block scalar as the characters on its line."""
        node, text = piece.node, content(piece.node)
        if isinstance(node, Alias) or node.style not in ("literal", "folded") or text is None:
            return piece
        place = to_raw(runs(self._text, node), 0, len(text))
        if place is None:
            return piece
        line = node.line + self._text.count("\n", node.start, place[0])
        return Piece(piece.piece, Scalar(text, *place, line, "text", node.anchor, node.tag), piece.link, node)


def _lookup_in(node: Mapping, link: Link | None) -> Lookup:
    merges = node.get("<<") is not None

    def lookup(key: str) -> tuple[Node, Link] | None:
        value = merged(node, key) if merges else node.get(key)
        return None if value is None else (value, Link(link, key, node))

    return lookup


def _digestsbeside_key(key: str) -> tuple[str, ...]:
    """Keys of the digest of a reference that stands under `key`."""
    own = (f"{key}Digest", f"{key}_digest", f"{key.upper()}_DIGEST")
    return (*own, "digest") if key in ("image", "newName") else own


def _hinted(node: Mapping, link: Link | None, key: str) -> bool:
    """Whether the surroundings of a value say that it is an image: `image: {name: …}`, or a parameter or
    variable whose name ends in `image`."""
    if key not in ("value", "default", "name", "ref", "from", "reference"):
        return False
    if key != "name":
        name = content(node.get("name"))
        if name is not None and is_image_key(name.rpartition(".")[2]):
            return True
        if name is not None and name[-5:].lower() == "image":
            return True
    elif link is not None and (
        link.step == "from" or (link.parent is not None and link.parent.step == "images")
    ):
        return True
    return under_image(link)


def _says_nothing(spelled: Spelled) -> bool:
    """Whether all of a reference is made elsewhere."""
    return (spelled.repository, spelled.tag, spelled.digest) == (None, None, None)


def _is_unsettled(written: str) -> bool:
    return TEMPLATE.search(written) is not None or "{" in written
