"""Sites: every place in a file where an image is written, found without configuration."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from functools import partial
from itertools import chain
from operator import attrgetter

from automator.core import charts, compose, embedded, markers
from automator.core.dotenv import is_dotenv, read_dotenv
from automator.core.fields import Printer, parse_field, select
from automator.core.found import (
    KUSTOMIZATIONS,
    SETTING,
    WORKLOADS,
    Awaits,
    Found,
    Owner,
    Piece,
    content,
    from_field,
)
from automator.core.mask import read
from automator.core.reference import Repository
from automator.core.shapes import find
from automator.core.sources import Source
from automator.core.spans import runs
from automator.core.spelling import Spelled
from automator.core.yamltext import Alias, Document, Mapping, Node, Scalar
from automator.errors import ManifestError
from automator.reasons import Reason, reason


@dataclass(frozen=True, slots=True)
class Part:
    """One scalar that carries a piece of a reference; `text[start:end]` spells it, quotes included."""

    piece: str
    """`reference` (repository[:tag][@digest]), `tag` (tag[@digest]), `digest`, or `version` (a tag alone)."""
    start: int
    end: int
    style: str
    """How it is spelled: plain, single, double; `text` for a part of a longer scalar, `setting` for the
    literal that a template variable is set to."""
    value: str
    flow: bool = False
    """Whether it stands in `{…}`, where old readers refuse a plain scalar with a colon."""
    json: bool = False
    """Whether its key is in double quotes too, as in JSON, where only numbers stand without them."""
    within: str = ""
    """How the longer scalar is spelled that it is a part of."""


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
    ring: tuple[str, ...] = ()
    """Fields of the same document that read the very same characters, through an alias: they change
    together, so all of them must be meant."""
    awaits: Awaits | None = None
    """What another file says of this site: its repository stands there."""
    selectors: tuple[str, ...] = ()
    """Those of the `where.field` paths given to `locate` that lead to this site."""
    runs_in: str | None = None
    """The namespace in which it comes to run, where this document says so: its own for a workload, what a
    Kustomization or a release gives to all that it makes."""

    def at(self, file: str) -> Site:
        return Site(file, *_beside_the_file(self))

    @property
    def label(self) -> str:
        """`apps/shop/web.yaml#spec.template.spec.containers[app].image`, as in the trailers."""
        return f"{self.file}#{self.field}"


_beside_the_file = attrgetter(*(field.name for field in fields(Site)[1:]))
"""All of a site but its file; several times as fast as `replace`, and every site of every file is asked."""


@dataclass(frozen=True, slots=True)
class FileSites:
    """What one blob holds."""

    sites: tuple[Site, ...]
    trouble: Reason | None = None
    """Why the file could not be read; its sites are then unknown."""
    sources: tuple[Source, ...] = ()
    """What it says of sites in other files."""


_KEYED = re.compile(rb"(?:[tT]ag|TAG|digest)[\"']?[ \t]*[:=]")
_REFERENCE = re.compile(rb"/[\w.-]*:\w")
_SURE_WORDS = (b"mage", b"MAGE", b"@sha256:", b"oci:", b"docker://", b"renovate:")
_KEY_WORDS = (b"tag", b"Tag", b"TAG", b"digest")
LONGEST_RING = 200
"""Places that may share one value; above it they are held."""
MOST_ALIKE = 10_000
"""Places of one image in one file; above it they are held. So many cost some 50 MB and 5 s when their history
is read, and no file that people or generators were seen to write comes near."""
_WORDS = ("$imagepolicy", "renovate:", ":=")
"""What is looked for in the whole text once, before each document is looked at."""
_STR = ("tag:yaml.org,2002:str", "!!str", "!")


def may_hold_sites(data: bytes) -> bool:
    """Whether a file can hold a site at all: a cheap look for the keys, before anything is parsed.

    Sites that only a `where.field` names are not covered.
    """
    # Plain words first: they are found many times faster than patterns.
    return (
        any(map(data.__contains__, _SURE_WORDS))
        or (any(map(data.__contains__, _KEY_WORDS)) and _KEYED.search(data) is not None)
        or _REFERENCE.search(data) is not None
    )


def locate(text: str, name: str, fields: tuple[str, ...] = ()) -> FileSites:
    """Find every site in a file's text; `name` is the file's base name (kustomization.yaml, …).

    `fields` are paths of policies (`where.field`): the scalars they lead to are sites even without
    a readable repository, and carry the path in `selectors`.

    Never raises: a file that cannot be read gives no sites and its trouble.
    """
    try:
        documents = read_file(text, name)
    except ManifestError as error:
        return FileSites((), error.reason)
    encrypted = any(_encrypted(document.root) for document in documents)
    sources = (*charts.sources(documents), *chain.from_iterable(map(_given(name), documents)))
    words = frozenset(word for word in _WORDS if word in text)
    sites: list[Site] = []
    for document in documents:
        sites.extend(_sites(text, name, document, fields, sources, words, encrypted=encrypted))
    return FileSites(_bounded(sites), sources=sources)


def _bounded(sites: list[Site]) -> tuple[Site, ...]:
    """The sites, held where there are more of one image than can be followed through history."""
    if len(sites) <= MOST_ALIKE:
        return tuple(sites)
    counts = Counter(site.repository for site in sites)
    bounded = []
    for site in sites:
        if site.held is None and (count := counts[site.repository]) > MOST_ALIKE:
            why = reason("site/too-many", field=site.field, line=site.line, count=count, most=MOST_ALIKE)
            site = replace(site, held=why)
        bounded.append(site)
    return tuple(bounded)


def read_file(text: str, name: str) -> tuple[Document, ...]:
    """The documents of a file: YAML, JSON, a template of them, or an `.env`.

    Raises ManifestError (`yaml/…`).
    """
    return read_dotenv(text) if is_dotenv(name) else read(text)


def _given(name: str) -> Callable[[Document], tuple[Source, ...]]:
    return compose.env_sources if is_dotenv(name) else compose.sources


def _sites(
    text: str,
    name: str,
    document: Document,
    fields: tuple[str, ...],
    sources: tuple[Source, ...],
    words: frozenset[str],
    *,
    encrypted: bool,
) -> list[Site]:
    if is_dotenv(name):
        found = compose.find_env(document)
    else:
        found = find(document, text, name, sources, variables_set=":=" in words)
    if "$imagepolicy" in words:
        found.extend(markers.marked(text, document, found))
    if "renovate:" in words:
        found.extend(markers.renovated(text, document, found))
    printer = Printer()
    chosen = _choose(text, document, found, fields, printer)
    sites: dict[str, Site] = {}
    shared: dict[str, tuple[int, ...]] = {}
    counts: dict[str, int] = {}
    for index, place in sorted(enumerate(found), key=lambda pair: pair[1].start):
        field = _path(printer, place)
        field = _numbered(field, counts) if document.templated else field
        site = _site(text, place, document.number, field, runs_in(document.root, name, place.owner))
        held = site.held or (reason("site/sops", field=field, line=site.line) if encrypted else None)
        if held is not site.held or index in chosen:
            site = replace(site, held=held, selectors=tuple(chosen.get(index, ())))
        if field in sites:  # a key above stands twice: readers disagree which counts
            twice = reason("site/duplicate-key", field=field, line=site.line)
            site = replace(site, held=site.held or twice)
        sites[field] = site
        if document.uses and place.shared(document.uses):
            shared[field] = place.shared(document.uses)
    return _rings(document, sites, shared, found) if shared else list(sites.values())


def _path(printer: Printer, place: Found) -> str:
    return (printer.path(place.pieces[0].link) + place.suffix).removeprefix("|")


def _numbered(field: str, counts: dict[str, int]) -> str:
    """A field of its own for each site where templates put one of several under a key."""
    number = counts[field] = counts.get(field, 0) + 1
    return field if number == 1 else f"{field}|{number}"


def _rings(
    document: Document, sites: dict[str, Site], shared: dict[str, tuple[int, ...]], found: list[Found]
) -> list[Site]:
    """Sites whose value stands once for several places, with the fields of those places; held where one
    of the places is no site."""
    users: dict[int, set[int]] = {}
    members: dict[int, set[str]] = {}
    for place in found:
        for piece in place.pieces:
            users.setdefault(piece.target_start, set()).add(piece.whole.start)
    for field, targets in shared.items():
        for target in targets:
            members.setdefault(target, set()).add(field)
    joined: list[Site] = []
    for field, site in sites.items():
        ring: set[str] = set()
        for target in shared.get(field, ()):
            ring |= members[target] if len(members[target]) <= LONGEST_RING else set()
            missing = document.uses[target] + 1 - len(users[target])
            unseen = target not in users[target] and _only_defined(document, target)
            if len(members[target]) > LONGEST_RING or missing > unseen:
                why = reason("site/alias-shared", field=field, line=site.line, uses=document.uses[target] + 1)
                site = replace(site, held=site.held or why)
        joined.append(replace(site, ring=tuple(sorted(ring - {field}))) if ring - {field} else site)
    return joined


def _only_defined(document: Document, start: int) -> bool:
    """Whether an anchor stands under a key that only defines things: `x-…` (Compose), `.name` (GitLab)."""
    root = document.root
    return isinstance(root, Mapping) and any(
        isinstance(key, Scalar) and key.value.startswith(("x-", ".")) and value.start <= start < value.end
        for key, value in root.pairs
    )


_FLUX = "kustomize.toolkit.fluxcd.io/"


def runs_in(root: Node | None, name: str, owner: Owner) -> str | None:
    """The namespace in which comes to run what a document says of an image, where the document says so;
    `name` is the file's base name.

    Kustomize: https://kubectl.docs.kubernetes.io/references/kustomize/kustomization/namespace/; Flux:
    `targetNamespace` of Kustomization and HelmRelease; Argo CD: `destination` of Application.
    """
    if not isinstance(root, Mapping):
        return None
    kind = content(root.get("kind"))
    is_flux = (content(root.get("apiVersion")) or "").startswith(_FLUX)
    if (name in KUSTOMIZATIONS or kind in ("Kustomization", "Component")) and not is_flux:
        return content(root.get("namespace"))
    if owner.kind in WORKLOADS:
        return owner.namespace
    if owner.kind != kind:
        return None
    match kind:
        case "HelmRelease":
            return _under(root, "spec", "targetNamespace") or owner.namespace
        case "Kustomization":
            return _under(root, "spec", "targetNamespace")
        case "Application":
            return _under(root, "spec", "destination", "namespace")
    return None


def _under(root: Mapping, *path: str) -> str | None:
    node: Node | None = root
    for key in path:
        node = node.target if isinstance(node, Alias) else node
        node = node.get(key) if isinstance(node, Mapping) else None
    return content(node)


def _site(text: str, found: Found, document: int, field: str, runs_in: str | None) -> Site:
    node, spelled = found.pieces[0].node, found.spelled
    marker, claim = markers.comments(text, found)
    return Site(
        file="",
        document=document,
        field=field,
        line=node.line,
        repository=spelled.repository,
        written=spelled.written,
        tag=spelled.tag,
        digest=spelled.digest,
        parts=tuple(_part(piece) for piece in found.pieces),
        kind=found.owner.kind,
        namespace=found.owner.namespace,
        name=found.owner.name,
        container=found.container,
        marker=marker,
        claim=claim,
        held=_held(text, found, field),
        awaits=found.awaits,
        runs_in=runs_in,
    )


def _part(piece: Piece) -> Part:
    node, holder = piece.node, piece.link.node
    flow = not isinstance(holder, Scalar) and holder.flow
    json = flow and isinstance(holder, Mapping) and any(_style(key) == "double" for key, _ in holder.pairs)
    within = "" if piece.within is None else piece.within.style
    if isinstance(node, Alias):
        target = node.target
        if not isinstance(target, Scalar):
            return Part(piece.piece, node.start, node.end, "alias", content(node) or "", flow)
        node = target
    return Part(piece.piece, node.start, node.end, node.style, node.value, flow, json, within)


def _style(node: Node) -> str | None:
    return node.style if isinstance(node, Scalar) else None


# -- what keeps a site from being edited -------------------------------------------------------


def _held(text: str, found: Found, field: str) -> Reason | None:
    line = found.pieces[0].node.line
    if found.spelled.doubt is not None:
        return reason(found.spelled.doubt, field=field, line=line)
    for piece in found.pieces:
        node = piece.node.target if isinstance(piece.node, Alias) else piece.node
        if not isinstance(node, Scalar) or (piece.within is not None and _is_anchored(piece)):
            return reason("site/alias-shared", field=field, line=line, uses="several")
        code = _doubt(text, node, piece.piece, found.spelled)
        if code is not None:
            return reason(code, field=field, line=line)
    return None


def _is_anchored(piece: Piece) -> bool:
    """Whether a place inside a scalar may stand for others too: the documents in it are looked at one by
    one, so anchors there are not followed."""
    return isinstance(piece.node, Alias) or piece.node.anchor is not None


def _doubt(text: str, node: Scalar, piece: str, spelled: Spelled) -> str | None:
    if node.style in ("literal", "folded"):
        return "site/block-scalar"
    if node.tag is not None and node.tag not in _STR:
        return "site/tagged"
    if node.end == node.start:
        return "site/empty"
    # The characters that will be replaced must stand there as they read, without escapes or folds.
    spelled_out = text[node.start : node.end]
    inner = spelled_out if node.style in ("plain", "text", SETTING) else spelled_out[1:-1]
    ending = node.value[len(spelled.written) :] if piece == "reference" else node.value
    return None if inner.endswith(ending) else "site/escaped"


def _encrypted(root: Node | None) -> bool:
    sops = root.get("sops") if isinstance(root, Mapping) else None
    return isinstance(sops, Mapping) and content(sops.get("mac_only_encrypted")) != "true"


# -- fields that policies name -----------------------------------------------------------------


def _choose(
    text: str, document: Document, found: list[Found], fields: tuple[str, ...], printer: Printer
) -> dict[int, list[str]]:
    """Which found places the fields lead to, by their index; places found by nobody are added."""
    chosen: dict[int, list[str]] = {}
    if not fields:
        return chosen
    known = {start: index for index in reversed(range(len(found))) for start in _starts(found[index])}
    paths: dict[str, list[int]] = {}
    for index, place in enumerate(found):
        paths.setdefault(_path(printer, place), []).append(index)
    for field in fields:
        indexes = paths.get(field, [])
        steps = None if indexes else parse_field(field)
        for link, node in select(document.root, steps, partial(_inside, text)) if steps else ():
            if not isinstance(node, (Scalar, Alias)):
                continue
            index = known.setdefault(node.start, len(found))
            if index == len(found):
                found.append(from_field(document.root, link, node))
            indexes = [*indexes, index]
        for index in indexes:
            chosen.setdefault(index, []).append(field)
    return chosen


def _inside(text: str, node: Scalar) -> list[Node]:
    return list(embedded.roots(text, node, runs(text, node)))


def _starts(found: Found) -> Iterator[int]:
    """Where the scalars begin that lead to a found place: its pieces, its name, and the scalar of which it
    is the only image."""
    for node in found.names:
        yield node.start
    for piece in found.pieces:
        yield piece.node.start
        if piece.within is not None and not found.suffix:
            yield piece.within.start
