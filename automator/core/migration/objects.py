"""Objects of Kubernetes in a folder of manifests, as an importer reads them: with places, never raising."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from automator.core import yamltext
from automator.core.migration.imported import Note, Source, note
from automator.core.yamltext import Alias, Node, Scalar, Sequence
from automator.errors import ManifestError

MAX_OBJECTS = 100_000
_SUFFIXES = (".yaml", ".yml", ".json")
_NO_VALUE = frozenset({"", "~", "null", "Null", "NULL"})


class KubeObject(NamedTuple):
    """One object: what it is, and its tree."""

    source: Source
    api: str
    """`apiVersion` as written: `apps/v1`."""
    body: yamltext.Mapping

    @property
    def kind(self) -> str:
        return self.source.kind

    @property
    def annotations(self) -> Mapping[str, Scalar]:
        """`metadata.annotations`; where one is no text to YAML (`true` without quotes), see its `style`."""
        return scalars_of(at(self.body, "metadata", "annotations"))

    @property
    def labels(self) -> Mapping[str, Scalar]:
        """`metadata.labels`."""
        return scalars_of(at(self.body, "metadata", "labels"))


class Objects(NamedTuple):
    """All objects of a folder, and the files that could not be read."""

    found: tuple[KubeObject, ...]
    """In order of path and place; those of a `List`, or of any `…List`, one by one."""
    unreadable: tuple[Note, ...]


def read_objects(files: Mapping[str, str], words: tuple[str, ...] = ()) -> Objects:
    """Read the objects of all YAML and JSON files.

    With `words`, only files are read in which one of them stands, so that a folder full of charts does
    not become a list of complaints about templates.
    """
    found: list[KubeObject] = []
    unreadable: list[Note] = []
    for file in sorted(files):
        text = files[file]
        if not file.lower().endswith(_SUFFIXES) or (words and not any(word in text for word in words)):
            continue
        try:
            documents = yamltext.parse(text)
        except ManifestError as error:
            line = int(dict(error.reason.params).get("line", "1"))
            unreadable.append(note(Source(file, line), f"could not be read: {error.reason.sentence}"))
            continue
        for document in documents:
            for one in _objects(file, document.root):
                if len(found) >= MAX_OBJECTS:
                    unreadable.append(note(Source(file, 1), f"more than {MAX_OBJECTS} objects are not read"))
                    return Objects(tuple(found), tuple(unreadable))
                found.append(one)
    return Objects(tuple(found), tuple(unreadable))


def twin(one: KubeObject, found: Iterable[KubeObject]) -> KubeObject | None:
    """Another object of the same file that a `where` by kind, namespace and name of `one` means too."""
    mine = one.source
    return next(
        (
            other
            for other in found
            if other.source.file == mine.file
            and other.kind == one.kind
            and other is not one
            and mine.namespace in ("", other.source.namespace)
            and mine.name in ("", other.source.name)
        ),
        None,
    )


def _objects(file: str, root: Node | None) -> Iterator[KubeObject]:
    node = resolve(root)
    if not isinstance(node, yamltext.Mapping):
        return
    kind = text_at(node, "kind") or ""
    items = at(node, "items")
    if kind.endswith("List") and isinstance(items, Sequence):
        for item in items.items:
            yield from _objects(file, item)
        return
    if not kind:
        return
    namespace, name = text_at(node, "metadata", "namespace"), text_at(node, "metadata", "name")
    source = Source(file, node.line, kind, namespace or "", name or "")
    yield KubeObject(source, text_at(node, "apiVersion") or "", node)


# -- looking into nodes ------------------------------------------------------------------------------


def resolve(node: Node | None) -> Scalar | yamltext.Mapping | Sequence | None:
    """What a node is, aliases followed."""
    while isinstance(node, Alias):
        node = node.target
    return node


def at(node: Node | None, *path: str) -> Scalar | yamltext.Mapping | Sequence | None:
    """What stands under keys, aliases and merge keys followed; None if nothing does."""
    found = resolve(node)
    for key in path:
        if not isinstance(found, yamltext.Mapping):
            return None
        found = _value(found, key)
    return found


def _value(mapping: yamltext.Mapping, key: str) -> Scalar | yamltext.Mapping | Sequence | None:
    """The value of a key, or of the first merged mapping that has it; each mapping is looked into once, since
    merged lists of merged lists can be longer than time."""
    todo: list[Node | None] = [mapping]
    seen: set[int] = set()
    while todo:
        one = resolve(todo.pop())
        if isinstance(one, Sequence):
            todo += reversed(one.items)
        elif isinstance(one, yamltext.Mapping) and one.start not in seen:
            seen.add(one.start)
            own = one.get(key)
            if own is not None:
                return resolve(own)
            todo.append(one.get("<<"))
    return None


def is_nothing(node: Node | None) -> bool:
    """Whether a node is missing or YAML's null."""
    found = resolve(node)
    return found is None or (
        isinstance(found, Scalar) and found.style == "plain" and found.value in _NO_VALUE
    )


def text_at(node: Node | None, *path: str) -> str | None:
    """The scalar under keys, as text; None if there is none, or null."""
    found = at(node, *path)
    return found.value if isinstance(found, Scalar) and not is_nothing(found) else None


def true_at(node: Node | None, *path: str) -> bool:
    """Whether `true` stands under keys."""
    return (text_at(node, *path) or "").lower() == "true"


def items_at(node: Node | None, *path: str) -> tuple[Node, ...]:
    """The items of the list under keys; none if there is no list."""
    found = at(node, *path)
    return found.items if isinstance(found, Sequence) else ()


def texts_at(node: Node | None, *path: str) -> tuple[str, ...]:
    """The texts of the list under keys."""
    return tuple(one.value for item in items_at(node, *path) if isinstance(one := resolve(item), Scalar))


def scalars_of(node: Node | None) -> Mapping[str, Scalar]:
    """The pairs of a mapping that are text to text; the last of a name counts."""
    found = resolve(node)
    if not isinstance(found, yamltext.Mapping):
        return {}
    return {
        key.value: value
        for key, raw in found.pairs
        if isinstance(key, Scalar) and isinstance(value := resolve(raw), Scalar)
    }
