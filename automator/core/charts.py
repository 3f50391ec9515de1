"""Charts: versions of OCI charts and artifacts, as Flux, Argo CD, Helm, Kustomize and helmfile write them.

A chart in an OCI registry is an image like any other: its version is a tag. Of a classic (HTTP) chart
repository nobody lists tags, so its versions, which look the same, are none of ours. Nor are ranges: they
already follow by themselves.

Sources: fluxcd.io/flux/components/source and /helm; argo-cd.readthedocs.io (user guide, Helm and OCI);
helm.sh/docs/topics/charts and /registries; kubectl.docs.kubernetes.io (helmCharts); helmfile.readthedocs.io.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from collections.abc import Sequence as Many

from automator.core.fields import Link
from automator.core.found import (
    KUSTOMIZATIONS,
    Awaits,
    Found,
    Owner,
    Piece,
    combine,
    content,
    owner_of,
    versions,
)
from automator.core.sources import HELM_REPOSITORY, Source, joined, repositories
from automator.core.spelling import TEMPLATE, Spelled, read_version, repository_of
from automator.core.yamltext import Alias, Document, Mapping, Node, Scalar, Sequence

OCI = "oci://"

_EXACT = re.compile(
    r"v?(?:0|[1-9][0-9]*)\.(?:0|[1-9][0-9]*)\.(?:0|[1-9][0-9]*)(?:-[0-9A-Za-z.-]+)?", re.ASCII
)
"""A chart's version that is no range. (One with `+` is spelled `_` in a registry: it is no tag.)"""
_RANGE = re.compile(r"v?[0-9xX]+(?:\.[0-9xX]+){0,2}(?:-[0-9A-Za-z.-]+)?", re.ASCII)
"""What can be a tag and is read as a range of versions unless it is exact: `1.2`, `1.x`."""


def find(document: Document, name: str, sources: Iterable[Source] = ()) -> list[Found]:
    """Every chart and artifact of an OCI registry whose version a document writes.

    `name` is the file's base name; `sources` are those of the same file. A chart of a HelmRepository that
    they do not settle has no repository, and `awaits` it.
    """
    root = document.root
    if not isinstance(root, Mapping):
        return []
    found: list[Found] = []
    if name in ("Chart.yaml", "requirements.yaml"):
        found.extend(_dependencies(root))
    elif name.startswith("helmfile") and root.get("kind") is None:
        found.extend(_helmfile(root))
    known = tuple(sources)
    for link, resource in _resources(root, None):
        owner = owner_of(resource)
        kind = owner.kind or ""
        if kind == "HelmRelease":
            found.extend(_helm_release(resource, link, owner, known))
        elif kind in ("Application", "ApplicationSet"):
            found.extend(_argo(resource.get("spec"), Link(link, "spec", resource), owner))
        elif kind in ("Kustomization", "Component") or name in KUSTOMIZATIONS:
            found.extend(_helm_charts(resource, link, owner))
        if kind:
            found.extend(_artifact(resource, link, owner))
    return found


def sources(documents: Iterable[Document]) -> tuple[Source, ...]:
    """The HelmRepository resources of a file; those of other protocols than OCI with an empty value (and
    without their address, which may hold a password)."""
    return tuple(_helm_repositories(documents))


def _helm_repositories(documents: Iterable[Document]) -> Iterator[Source]:
    for document in documents:
        for _, resource in _resources(document.root, None):
            owner, spec = owner_of(resource), resource.get("spec")
            if owner.kind != HELM_REPOSITORY or owner.name is None or not isinstance(spec, Mapping):
                continue
            url = content(spec.get("url")) or ""
            address = url if _is_oci(url) else ""
            yield Source(HELM_REPOSITORY, owner.name, owner.namespace, address, resource.line)


def _resources(root: Node | None, link: Link | None) -> Iterator[tuple[Link | None, Mapping]]:
    """A document's resource, or the items of a `List`, and the way to each."""
    if not isinstance(root, Mapping):
        return
    items = root.get("items")
    if isinstance(items, Sequence) and (content(root.get("kind")) or "").endswith("List"):
        into = Link(link, "items", root)
        for index, item in enumerate(items.items):
            yield from _resources(item, Link(into, index, items))
    else:
        yield link, root


# -- Flux --------------------------------------------------------------------------------------------


def _artifact(resource: Mapping, link: Link | None, owner: Owner) -> Iterator[Found]:
    """An OCIRepository: `spec.url` and `spec.ref`. A digest goes before `semver`, and that before a tag."""
    spec, way = _into(resource, link, "spec")
    ref, at = _into(spec, way, "ref")
    url = spec.get("url") if spec is not None else None
    if ref is None or url is None or not _is_oci(content(url) or ""):
        return
    pieces = versions(ref, at, "tag")
    if content(ref.get("semver")) is not None:
        pieces = [piece for piece in pieces if piece.piece == "digest" and content(piece.node) is not None]
    spelled = combine(pieces, ref) if pieces else None
    if spelled is not None:
        yield from _named(spelled, content(url) or "", pieces, _scalars(url), owner)


def _helm_release(resource: Mapping, link: Link | None, owner: Owner, known: Many[Source]) -> Iterator[Found]:
    """A HelmRelease: `spec.chart.spec` with `chart`, `version` and `sourceRef`."""
    node: Mapping | None = resource
    for key in ("spec", "chart", "spec"):
        node, link = _into(node, link, key)
    reference, _ = _into(node, link, "sourceRef")
    if node is None or reference is None or content(reference.get("kind")) != HELM_REPOSITORY:
        return
    chart, repository = content(node.get("chart")), content(reference.get("name"))
    piece = _version(node, link, "version")
    if (
        piece is None
        or chart is None
        or repository is None
        or "/" in chart
        or TEMPLATE.search(chart + repository)
    ):
        return
    namespace = content(reference.get("namespace")) or owner.namespace
    awaits = Awaits(HELM_REPOSITORY, repository, namespace, chart)
    addresses = repositories(awaits, known)
    if addresses == ("",):
        return  # in this very file: it is none of OCI
    written = addresses[0] if len(addresses) == 1 else ""
    spelled = Spelled(written, repository_of(written) if written else None, content(piece.node), None)
    names = _scalars(node.get("chart"))
    yield Found(_once(spelled, (piece,)), (piece,), names, owner, None, awaits=awaits)


# -- Argo CD -----------------------------------------------------------------------------------------


def _argo(node: Node | None, link: Link, owner: Owner) -> Iterator[Found]:
    """Sources at any depth of an Application's or ApplicationSet's `spec`: what is beside `repoURL`."""
    if isinstance(node, Sequence):
        for index, item in enumerate(node.items):
            yield from _argo(item, Link(link, index, node), owner)
    elif isinstance(node, Mapping):
        yield from _argo_source(node, link, owner)
        for key, value in node.pairs:
            if isinstance(key, Scalar) and isinstance(value, (Mapping, Sequence)):
                yield from _argo(value, Link(link, key.value, node), owner)


def _argo_source(node: Mapping, link: Link, owner: Owner) -> Iterator[Found]:
    address, chart = content(node.get("repoURL")), content(node.get("chart"))
    if address is None or not (_is_oci(address) or (chart is not None and _is_host(address))):
        return
    piece = _version(node, link, "targetRevision", tags=chart is None)
    if piece is not None:
        names = _scalars(node.get("repoURL"), node.get("chart"))
        yield from _chart(joined(address, chart or ""), piece, names, owner)


# -- Helm, Kustomize, helmfile -----------------------------------------------------------------------


def _dependencies(root: Mapping) -> Iterator[Found]:
    """Dependencies of a chart. Helm appends the name to the repository, whatever that ends with."""
    for item, link in _items(root, None, "dependencies"):
        yield from _beside(item, link, "repository", "name", Owner())


def _helm_charts(resource: Mapping, link: Link | None, owner: Owner) -> Iterator[Found]:
    for item, at in _items(resource, link, "helmCharts"):
        yield from _beside(item, at, "repo", "name", owner)


def _beside(item: Mapping, link: Link, address_key: str, name_key: str, owner: Owner) -> Iterator[Found]:
    """A `version` beside an address and a chart's name."""
    address, name = content(item.get(address_key)), content(item.get(name_key))
    piece = _version(item, link, "version")
    if piece is not None and name is not None and address is not None and _is_oci(address):
        names = _scalars(item.get(address_key), item.get(name_key))
        yield from _chart(joined(address, name), piece, names, owner)


def _helmfile(root: Mapping) -> Iterator[Found]:
    """Releases of a helmfile: `chart: oci://…`, or `chart: NAME/web` with an OCI repository of that name."""
    addresses: dict[str, str] = {}
    for item, _ in _items(root, None, "repositories"):
        name, url = content(item.get("name")), content(item.get("url"))
        if name is not None and url is not None and content(item.get("oci")) == "true":
            addresses[name] = OCI + url.removeprefix(OCI)
    for item, link in _items(root, None, "releases"):
        chart, piece = content(item.get("chart")) or "", _version(item, link, "version")
        repository, _, name = chart.partition("/")
        written = chart if _is_oci(chart) else joined(addresses.get(repository, ""), name)
        if piece is not None and written and name:
            yield from _chart(written, piece, _scalars(item.get("chart")), Owner())


# -- what they share ---------------------------------------------------------------------------------


def _is_oci(address: str) -> bool:
    return address.startswith(OCI) and len(address) > len(OCI)


def _is_host(address: str) -> bool:
    """Whether an address begins with a registry's host, without any scheme."""
    host = address.partition("/")[0]
    named = "." in host or ":" in host or host == "localhost"
    return named and "://" not in address and TEMPLATE.search(address) is None


def _into(node: Mapping | None, link: Link | None, key: str) -> tuple[Mapping | None, Link | None]:
    """The mapping under a key, and the way to it."""
    value = node.get(key) if node is not None else None
    return (value, Link(link, key, node)) if node is not None and isinstance(value, Mapping) else (None, None)


def _items(node: Mapping, link: Link | None, key: str) -> Iterator[tuple[Mapping, Link]]:
    """The mappings in the list under a key, and the way to each."""
    items = node.get(key)
    if isinstance(items, Sequence):
        into = Link(link, key, node)
        for index, item in enumerate(items.items):
            if isinstance(item, Mapping):
                yield item, Link(into, index, items)


def _scalars(*nodes: Node | None) -> tuple[Scalar | Alias, ...]:
    return tuple(node for node in nodes if isinstance(node, (Scalar, Alias)))


def _version(node: Mapping, link: Link | None, key: str, *, tags: bool = False) -> Piece | None:
    """The scalar under a key if it is an exact version; with `tags` also any tag that is no range."""
    value = node.get(key)
    text = content(value)
    if text is None or not isinstance(value, (Scalar, Alias)):
        return None
    if _EXACT.fullmatch(text) is None and not (tags and _is_tag(text)):
        return None
    return Piece("version", value, Link(link, key, node))


def is_exact(text: str) -> bool:
    """Whether a text under the key of a chart's version is one version, and no range of them."""
    return _EXACT.fullmatch(text) is not None or _is_tag(text)


def _is_tag(text: str) -> bool:
    version = read_version(text)
    return version is not None and version.doubt is None and text != "HEAD" and _RANGE.fullmatch(text) is None


def _chart(written: str, piece: Piece, names: tuple[Scalar | Alias, ...], owner: Owner) -> Iterator[Found]:
    version = read_version(content(piece.node) or "")
    if version is not None:
        yield from _named(version, written, [piece], names, owner)


def _named(
    spelled: Spelled, written: str, pieces: Many[Piece], names: tuple[Scalar | Alias, ...], owner: Owner
) -> Iterator[Found]:
    """An image of which name and version are known; a templated name is kept as written."""
    repository = repository_of(written)
    if repository is not None or TEMPLATE.search(written):
        spelled = _once(spelled._replace(written=written, repository=repository), pieces)
        yield Found(spelled, tuple(pieces), names, owner, None)


def _once(spelled: Spelled, pieces: Many[Piece]) -> Spelled:
    """Held where a key that carries the version stands twice in its mapping."""
    for piece in pieces:
        node = piece.link.node
        if isinstance(node, Mapping):
            same = sum(isinstance(key, Scalar) and key.value == piece.link.step for key, _ in node.pairs)
            if same > 1:
                return spelled._replace(doubt="site/duplicate-key")
    return spelled
