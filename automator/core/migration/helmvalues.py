"""Images in the values of a HelmRelease, as Flux v1 finds them: the top level, and one level below.

An annotation `repository.fluxcd.io/NAME` (with `registry.` and `tag.`) names the fields of any other image.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from automator.core.fields import parse_field
from automator.core.migration.objects import KubeObject, at, scalars_of, text_at
from automator.core.yamltext import Mapping as Tree
from automator.core.yamltext import Node, Scalar

TOP = "chart-image"
"""What Flux calls the image at the top of the values."""
_VALUES = "spec.values"
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_/-]+", re.ASCII)


class ValuesImage(NamedTuple):
    """An image in the values."""

    container: str
    """The name that filters call it by."""
    image: str
    """The reference that its fields make together."""
    field: str
    """Where its tag stands: `spec.values.image.tag`."""


def images_of(release: KubeObject) -> tuple[ValuesImage, ...]:
    """All images of a HelmRelease; one that an annotation names replaces the one found under that name."""
    values = at(release.body, "spec", "values")
    found = {image.container: image for image in _detected(values)}
    found |= {image.container: image for image in _mapped(release, values)}
    return tuple(found[name] for name in sorted(found, key=lambda name: (name != TOP, name)))


def _detected(values: Node | None) -> Iterator[ValuesImage]:
    if not isinstance(values, Tree):
        return
    if (image := _container(TOP, values, _VALUES)) is not None:
        yield image
    for key, _ in values.pairs:
        if isinstance(key, Scalar) and _PLAIN_KEY.fullmatch(key.value):
            image = _container(key.value, at(values, key.value), f"{_VALUES}.{key.value}")
            if image is not None:
                yield image


def _container(name: str, node: Node | None, path: str) -> ValuesImage | None:
    """`image: web:1` with `registry` and `tag` beside it, or `image: {repository, …}`."""
    image = at(node, "image")
    if isinstance(image, Scalar):
        return _composed(name, node, "image", path)
    return None if image is None else _composed(name, image, "repository", f"{path}.image")


def _composed(name: str, node: Node | None, key: str, path: str) -> ValuesImage | None:
    repository, registry, tag = (text_at(node, part) for part in (key, "registry", "tag"))
    if not repository:
        return None
    image = f"{registry}/{repository}" if registry else repository
    return ValuesImage(name, image, f"{path}.{key if tag is None else 'tag'}")


def _mapped(release: KubeObject, values: Node | None) -> Iterator[ValuesImage]:
    said = {
        name: value.value for name, value in scalars_of(at(release.body, "metadata", "annotations")).items()
    }
    for annotation, path in said.items():
        name = annotation.removeprefix("repository.fluxcd.io/")
        repository = text_at(values, *path.split("."))
        tag = said.get(f"tag.fluxcd.io/{name}", path)
        if name == annotation or repository is None or parse_field(tag) is None:
            continue
        registry_path = said.get(f"registry.fluxcd.io/{name}")
        registry = None if registry_path is None else text_at(values, *registry_path.split("."))
        image = f"{registry}/{repository}" if registry else repository
        yield ValuesImage(name, image, f"{_VALUES}.{tag}")
