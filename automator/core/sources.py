"""Sources: what one file says that a site in another needs: where charts lie, what a variable is for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from automator.core.found import Awaits

HELM_REPOSITORY = "HelmRepository"
"""A resource that gives the address of charts; a site awaits it by name and namespace."""
VARIABLE = "variable"
"""A Compose file says which image a variable's value is the version of; a site of an `.env` awaits it."""
UNSET = "unset"
"""An `.env` sets a variable; a default in a Compose file awaits that none does."""


class Source(NamedTuple):
    """What a file gives to sites that await it."""

    kind: str
    """`HelmRepository`, `variable` or `unset`."""
    name: str
    namespace: str | None
    value: str
    """The repository as written, empty where it is none that holds images; of `unset`: `site` where the
    variable's own line is one, else empty."""
    line: int


def repositories(awaits: Awaits, sources: Iterable[Source]) -> tuple[str, ...]:
    """What the sources say that a site's repository is, each answer once and as written; an empty text
    stands for a source that holds no images. One answer is the answer; several disagree.

    Sources of another name are passed over. A namespace that either side leaves to a kustomization is
    none to tell them apart by.
    """
    named = [s for s in sources if (s.kind, s.name) == (awaits.kind, awaits.name)]
    if awaits.namespace is not None:
        same = [s for s in named if s.namespace == awaits.namespace]
        named = same or [s for s in named if s.namespace is None]
    return tuple(dict.fromkeys(joined(s.value, awaits.chart) for s in named))


def joined(address: str, chart: str) -> str:
    """The repository of a chart below an address, as Helm joins them: `oci://ghcr.io/acme` and `web`."""
    return f"{address.rstrip('/')}/{chart}" if address and chart else address
