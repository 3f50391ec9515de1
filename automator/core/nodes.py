"""Nodes of a YAML document asked by path, for files whose form is only partly known."""

from __future__ import annotations

from collections.abc import Iterator

from automator.core.yamltext import Alias, Document, Mapping, Node, Scalar, Sequence


def resolved(node: Node | None) -> Scalar | Mapping | Sequence | None:
    """The node itself, or what an alias points at."""
    while isinstance(node, Alias):
        node = node.target
    return node


def at(node: Node | None, *path: str) -> Scalar | Mapping | Sequence | None:
    """What stands under a row of keys; None where one of them is missing."""
    found = resolved(node)
    for key in path:
        found = resolved(found.get(key)) if isinstance(found, Mapping) else None
    return found


def text(node: Node | None, *path: str) -> str | None:
    """The scalar under a row of keys as it reads, a quoted one or not; None where there is none."""
    found = at(node, *path)
    return found.value if isinstance(found, Scalar) else None


def items(node: Node | None, *path: str) -> tuple[Node, ...]:
    """The items of the list under a row of keys; none where there is no list."""
    found = at(node, *path)
    return found.items if isinstance(found, Sequence) else ()


def texts(node: Node | None, *path: str) -> tuple[str, ...]:
    """The scalars of the list under a row of keys; a scalar there counts as a list of one."""
    found = at(node, *path)
    if isinstance(found, Scalar):
        return (found.value,)
    return tuple(value for item in items(found) if (value := text(item)) is not None)


def resources(documents: tuple[Document, ...]) -> Iterator[Mapping]:
    """The mappings at the top of documents, and the items of those that are a `List`."""
    for document in documents:
        root = resolved(document.root)
        if not isinstance(root, Mapping):
            continue
        yield root
        if (text(root, "kind") or "").endswith("List"):
            yield from (item for item in map(resolved, items(root, "items")) if isinstance(item, Mapping))
