"""Tables of what another tool chooses, run through its importer and our rules.

A row is objects of that tool, the tags of one repository (with build times where they count) and the tag that
the tool takes. The imported policy takes the same one, or the row names its entry in the published list of
differences.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from automator.core.guards import step_stop
from automator.core.migration.imported import Imported
from automator.core.policy import Candidate, PolicySet, parse_policies
from automator.core.policytext import policy_text
from automator.core.standing import Current

DOCS = Path(__file__).parents[2] / "docs"
_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
_ID = re.compile(r"^[-*] \*\*([A-Z0-9]+-\d\d)\*\*", re.MULTILINE)

Importer = Callable[[Mapping[str, str]], Imported]


@dataclass(frozen=True)
class Row:
    """One choice of the other tool."""

    name: str
    """What the row shows, as the test is called."""
    objects: str
    """Text of the one file that the tool's objects are in."""
    tags: str
    """Tags between blanks; `1.0@3` was built on day 3, `1.0@?` says no time."""
    chosen: str | None
    """What the other tool takes; None for nothing."""
    differs: str = ""
    """Number of the difference that the row is an example of."""
    ours: str | None = None
    """What we take, in a row that differs."""
    current: str | None = None
    """The tag in use, where it counts."""
    workload: str = ""
    """Name of the workload, if there are several."""
    keys: Mapping[str, Any] = field(default_factory=dict)
    """Keys that the draft must have, with their values."""
    file: str = "apps/app.yaml"

    def __str__(self) -> str:
        return self.name


def written(imported: Imported) -> PolicySet:
    """The policies that an import writes, read again; none of them has an error."""
    files = {f"policies/{file}": policy_text(drafts) for file, drafts in imported.drafts.items()}
    policies = parse_policies(files)
    assert [why.sentence for _, why in policies.problems] == []
    return policies


def choice(importer: Importer, row: Row) -> str | None:
    """The tag that the imported policy takes; None if it takes nothing, is held, or is not there."""
    imported = importer({row.file: row.objects})
    policies = written(imported)
    _has_keys(imported, row)
    found = [one for one in policies.workloads if not row.workload or one.name == row.workload]
    assert len(found) <= 1, [one.name for one in found]
    if not found or found[0].hold is not None:
        return row.current
    return _best(found[0], row)


def _has_keys(imported: Imported, row: Row) -> None:
    drafts = [
        draft
        for found in imported.drafts.values()
        for draft in found
        if not row.workload or draft.name == row.workload
    ]
    for key, value in row.keys.items():
        assert [draft.keys.get(key) for draft in drafts] == [value], key


def _best(workload: Any, row: Row) -> str | None:
    rule, built = workload.rule, {}
    for word in row.tags.split():
        tag, at, day = word.partition("@")
        built[tag] = None if day == "?" or not at else _EPOCH + timedelta(days=int(day))
    now = Current(row.current, None if row.current is None else rule.rank(row.current))
    candidates = [
        found
        for tag in built
        if isinstance(found := rule.judge(tag), Candidate) and step_stop(workload, now, tag) is None
    ]
    if rule.order == "newest":
        ranked = [(built[one.tag], one.tag) for one in candidates if built[one.tag] is not None]
        current = None if row.current is None else built.get(row.current)
    else:
        ranked = [(one.rank, one.tag) for one in candidates]
        current = None if row.current is None else rule.rank(row.current)
    if row.current is not None:
        ranked = [one for one in ranked if current is None or (one[0] is not None and one[0] > current)]
    return max(ranked, default=(None, row.current), key=lambda one: one)[1]


def check(importer: Importer, row: Row) -> None:
    """Assert that we choose what the tool chooses, or that the row says otherwise, and how."""
    ours = choice(importer, row)
    if not row.differs:
        assert ours == row.chosen
        return
    assert (ours, ours != row.chosen) == (row.ours, True)


def published(page: str) -> list[str]:
    """The numbers in the list of differences of a page under docs/: `- **F2-01** …`."""
    return _ID.findall((DOCS / page).read_text())


def used(rows: Iterable[Row]) -> set[str]:
    """The numbers that rows are examples of."""
    return {row.differs for row in rows if row.differs}
