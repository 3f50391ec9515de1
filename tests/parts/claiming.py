"""Claims over sites as a list: what `cycle.index` asks of a ledger, file by file."""

from __future__ import annotations

from collections.abc import Sequence

from automator.core.claims import Claims, Entry, Ledger
from automator.core.site import Site, locate


def assign(sites: Sequence[Site], workloads: Sequence[Entry]) -> Claims:
    """Give each site, which carries its file, to the workload that claims it."""
    files: dict[str, list[Site]] = {}
    for site in sites:
        files.setdefault(site.file, []).append(site)
    ledger = Ledger(workloads)
    for file, found in files.items():
        ledger.put(file, found)
    return ledger.claims()


def locate_field(text: str, name: str, field: str) -> tuple[Site, ...]:
    """The sites that one `where.field` path leads to: none, one, or (a mistake) several."""
    return tuple(site for site in locate(text, name, (field,)).sites if field in site.selectors)
