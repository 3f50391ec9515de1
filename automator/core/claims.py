"""Claims: which workload owns which sites.

A site belongs to the one workload that claims it: by its repository (and `where`), by `where.field`, or
by a comment `# automator: NAME` at the site. Two claims on one site are a mistake that stops both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from pathspec import GitIgnoreSpec

from automator.core.policy import InvalidWorkload, Where, Workload
from automator.core.site import Site
from automator.errors import PolicyError
from automator.reasons import Reason, reason

Entry = Workload | InvalidWorkload


@dataclass(frozen=True, slots=True)
class Claims:
    """Who owns what, at one commit."""

    sites: Mapping[str, tuple[Site, ...]]
    """Workload name -> its sites, in the order given; every workload has an entry, contested sites
    included."""
    problems: Mapping[str, Reason]
    """Workloads that are held because of what they claim; the first reason of each."""
    unowned: tuple[Site, ...]
    warnings: tuple[Reason, ...]


def assign(sites: Sequence[Site], workloads: Sequence[Entry]) -> Claims:
    """Give each site to the workload that claims it. `sites` carry their file.

    Sites that a `where.field` names must have been located with that field. Never raises.
    """
    index = _Index(workloads)
    owned: dict[str, list[Site]] = {workload.name: [] for workload in workloads}
    problems: dict[str, Reason] = dict(index.problems)
    unowned: list[Site] = []
    warnings: list[Reason] = []
    for site in sites:
        claimants = index.claimants(site)
        if site.claim is not None and not index.knows(site.claim):
            warnings.append(reason("claim/unknown-workload", site=site.label, workload=site.claim))
        for name in dict.fromkeys(workload.name for workload in claimants):
            owned[name].append(site)
        for workload in claimants:
            if _is_other_image(site, workload):
                problems.setdefault(workload.name, _other_image(site, workload))
        for workload, other in _contested(claimants):
            problems.setdefault(
                workload.name,
                reason("claim/twice", site=site.label, workload=workload.name, other=other.name),
            )
        if not claimants:
            unowned.append(site)
    for workload in workloads:
        problem = _field_problem(workload, owned[workload.name])
        if problem is not None:
            problems.setdefault(workload.name, problem)
    return Claims(
        {name: tuple(found) for name, found in owned.items()}, problems, tuple(unowned), tuple(warnings)
    )


@lru_cache(maxsize=16_384)
def paths_match(patterns: tuple[str, ...]) -> Callable[[str], bool]:
    """A test of config repo paths by gitignore-style globs; no pattern at all matches every path.

    Raises PolicyError (`claim/paths`) for a pattern that is none.
    """
    if not patterns:
        return lambda _path: True
    try:
        return GitIgnoreSpec.from_lines(patterns).match_file
    except ValueError:
        raise PolicyError(_unreadable(patterns)) from None


def _unreadable(patterns: Sequence[str]) -> Reason:
    for pattern in patterns:
        try:
            GitIgnoreSpec.from_lines([pattern])
        except ValueError as error:
            return reason("claim/paths", pattern=pattern, problem=error)
    raise AssertionError("patterns that can each be read can be read together")


# -- the index -----------------------------------------------------------------------------------


_Key = tuple[object, str, str]
"""(repository or `field:PATH`, which literal of `where`, its value): where a workload is filed, and under
which keys a site looks. So each site meets only workloads that agree with it in that literal."""


class _Index:
    """Workloads by what they could claim."""

    def __init__(self, workloads: Sequence[Entry]) -> None:
        self.problems: dict[str, Reason] = {}
        self._workloads = tuple(workloads)
        self._named: dict[str, list[int]] = {}
        self._filed: dict[_Key, list[int]] = {}
        self._allows: list[Callable[[str], bool]] = []
        for number, workload in enumerate(self._workloads):
            self._named.setdefault(workload.name, []).append(number)
            paths = workload.where.paths
            try:
                self._allows.append(paths_match(paths))
            except PolicyError as error:  # unreadable: the widest claim, so that no site is freed by it
                self.problems.setdefault(workload.name, error.reason)
                paths = ()
                self._allows.append(paths_match(paths))
            for key in _filed_under(workload, paths):
                self._filed.setdefault(key, []).append(number)

    def knows(self, name: str) -> bool:
        return name in self._named

    def claimants(self, site: Site) -> tuple[Entry, ...]:
        """Every workload that claims a site, in policy order."""
        numbers = {
            number
            for key in _looked_up(site)
            for number in self._filed.get(key, ())
            if _where_matches(self._workloads[number].where, site) and self._allows[number](site.file)
        }
        if site.claim is not None:
            numbers.update(self._named.get(site.claim, ()))
        return tuple(self._workloads[number] for number in sorted(numbers))


def _filed_under(workload: Entry, paths: tuple[str, ...]) -> Iterator[_Key]:
    where = workload.where
    if workload.repository is None:
        return
    what: object = workload.repository if where.field is None else f"field:{where.field}"
    for kind, value in (
        ("name", where.name),
        ("container", where.container),
        ("marker", where.marker),
        ("namespace", where.namespace),
    ):
        if value is not None:
            yield what, kind, value.rpartition(":")[2] if kind == "marker" else value
            return
    for folder in _folders(paths):
        yield what, "folder", folder


def _folders(patterns: Iterable[str]) -> frozenset[str]:
    """The folders that paths matching the patterns lie under; the empty one stands for any."""
    folders = {_folder(pattern) for pattern in patterns if not pattern.startswith("!")}
    return frozenset(("",)) if not folders or "" in folders else frozenset(folders)


def _folder(pattern: str) -> str:
    # A pattern with a slash before its end is anchored at the root (gitignore(5)); any other matches
    # at every level.
    segments = pattern.split("/")
    if "/" not in pattern.rstrip("/") or any(c in pattern for c in "\\ \t"):
        return ""
    literal: list[str] = []
    for segment in segments[1 if segments[0] == "" else 0 : -1]:
        if any(c in segment for c in "*?["):
            break
        literal.append(segment)
    return "/".join(literal)


def _looked_up(site: Site) -> Iterator[_Key]:
    whats: list[object] = [] if site.repository is None else [site.repository]
    whats.extend(f"field:{field}" for field in {site.field, *site.selectors})
    values = [("name", site.name), ("container", site.container), ("namespace", site.namespace)]
    values.append(("marker", None if site.marker is None else site.marker.rpartition(":")[2]))
    folder = site.file
    folders = [""]
    while (cut := folder.rfind("/")) >= 0:
        folder = folder[:cut]
        folders.append(folder)
    for what in whats:
        for kind, value in values:
            if value is not None:
                yield what, kind, value
        for folder in folders:
            yield what, "folder", folder


def _where_matches(where: Where, site: Site) -> bool:
    """Whether the literals of `where` equal the site's; an absent field of the document does not match."""
    if where.marker is not None and where.marker not in (
        site.marker,
        None if site.marker is None else site.marker.rpartition(":")[2],
    ):
        return False
    return all(
        wanted is None or wanted == found
        for wanted, found in (
            (where.kind, site.kind),
            (where.namespace, site.namespace),
            (where.name, site.name),
            (where.container, site.container),
        )
    )


# -- what may be wrong with a claim ---------------------------------------------------------------


def _contested(claimants: Sequence[Entry]) -> Iterator[tuple[Entry, Entry]]:
    """Each claimant beside another one, where there are several. Entries of one name (a name used twice
    is an error by itself) do not contest."""
    names = {workload.name for workload in claimants}
    if len(names) > 1:
        for workload in claimants:
            yield workload, next(other for other in claimants if other.name != workload.name)


def _is_other_image(site: Site, workload: Entry) -> bool:
    return None not in (site.repository, workload.repository) and site.repository != workload.repository


def _other_image(site: Site, workload: Entry) -> Reason:
    return reason("claim/other-image", site=site.label, found=site.repository, image=workload.repository)


def _field_problem(workload: Entry, owned: Sequence[Site]) -> Reason | None:
    field = workload.where.field
    if field is None or workload.repository is None:
        return None
    files: set[str] = set()
    for site in owned:
        if field != site.field and field not in site.selectors:
            continue
        if site.file in files:
            return reason("claim/field-twice", field=field, file=site.file)
        files.add(site.file)
    return None if files else reason("claim/field-nothing", field=field)
