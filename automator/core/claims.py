"""Claims: which workload owns which sites.

A site belongs to the one workload that claims it: by its repository (and `where`), by `where.field`, or
by a comment `# automator: NAME` at the site. Two claims on one site are a mistake that stops both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain
from typing import TypeVar

from pathspec import GitIgnoreSpec

from automator.core.policy import InvalidWorkload, Where, Workload
from automator.core.site import Site
from automator.errors import PolicyError
from automator.reasons import Reason, reason

Entry = Workload | InvalidWorkload
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Claims:
    """Who owns what, at one commit."""

    sites: Mapping[str, tuple[Site, ...]]
    """Workload name -> its sites, by file and place in it; every workload has an entry, contested sites
    included."""
    problems: Mapping[str, Reason]
    """Workloads that are held because of what they claim; the first reason of each."""
    unowned: tuple[Site, ...]
    warnings: tuple[Reason, ...]


_Claimed = tuple[Site, tuple[Entry, ...]]
"""A site and everyone who claims it."""


class Ledger:
    """Claims kept up to date file by file: a file that changed costs itself and the workloads that
    own sites in it, however many others there are."""

    def __init__(self, workloads: Sequence[Entry]) -> None:
        self._index = _Index(workloads)
        self._entries: dict[str, list[Entry]] = {}
        for workload in workloads:
            self._entries.setdefault(workload.name, []).append(workload)
        self._held: dict[str, tuple[_Claimed, ...]] = {}
        """File -> its sites and who claims them."""
        self._files: dict[str, set[str]] = {name: set() for name in self._entries}
        self._sites: dict[str, tuple[Site, ...]] = dict.fromkeys(self._entries, ())
        self._problems: dict[str, Reason] = {}
        self._unowned: dict[str, tuple[Site, ...]] = {}
        self._warnings: dict[str, tuple[Reason, ...]] = {}
        self._stale = set(self._entries)
        """Workloads whose sites changed since they were last added up."""

    def put(self, file: str, sites: Sequence[Site]) -> None:
        """Say which sites a file has now, instead of those it had before; none where it is gone."""
        self._note(file, self._held.pop(file, ()), held=False)
        held = tuple((site, self._index.claimants(site)) for site in sites)
        if held:
            self._held[file] = held
        self._note(file, held, held=True)
        _keep(self._unowned, file, tuple(site for site, claimants in held if not claimants))
        unknown = (site for site in sites if site.claim is not None and site.claim not in self._entries)
        _keep(self._warnings, file, tuple(map(_unknown_workload, unknown)))

    def claims(self) -> Claims:
        """Who owns what, now: by file, and in a file in the order given."""
        for name in self._stale:
            self._add_up(name)
        self._stale.clear()
        return Claims(
            dict(self._sites),
            dict(self._problems),
            tuple(chain.from_iterable(self._unowned[file] for file in sorted(self._unowned))),
            tuple(chain.from_iterable(self._warnings[file] for file in sorted(self._warnings))),
        )

    def _note(self, file: str, pairs: Iterable[_Claimed], *, held: bool) -> None:
        for _, claimants in pairs:
            for name in {workload.name for workload in claimants}:
                (self._files[name].add if held else self._files[name].discard)(file)
                self._stale.add(name)

    def _add_up(self, name: str) -> None:
        pairs = [
            pair
            for file in sorted(self._files[name])
            for pair in self._held[file]
            if any(workload.name == name for workload in pair[1])
        ]
        sites = self._sites[name] = _held_where_shared(tuple(site for site, _ in pairs))
        problem = self._index.problems.get(name) or next(_quarrels(name, pairs), None)
        for workload in self._entries[name]:
            problem = problem or _field_problem(workload, sites)
        _keep(self._problems, name, problem)


def _held_where_shared(sites: tuple[Site, ...]) -> tuple[Site, ...]:
    """A workload's sites; held, those that share their characters with a place that it does not own."""
    if not any(site.ring for site in sites):
        return sites
    owned = {(site.file, site.document, site.field) for site in sites}
    return tuple(
        site
        if site.held is not None or all((site.file, site.document, field) in owned for field in site.ring)
        else replace(site, held=_shared(site))
        for site in sites
    )


def _shared(site: Site) -> Reason:
    return reason("site/alias-shared", field=site.field, line=site.line, uses=len(site.ring) + 1)


def _keep(kept: dict[str, T], key: str, value: T | None) -> None:
    if value:
        kept[key] = value
    else:
        kept.pop(key, None)


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


_NAMELESS = "nameless"
"""Instead of a repository: sites that say none can be claimed by their marker."""


def _policy_name(marker: str) -> str:
    return marker.rpartition(":")[2]


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
        self._kinds = frozenset(kind for _, kind, _ in self._filed)
        self._fields = any(isinstance(what, str) and what != _NAMELESS for what, _, _ in self._filed)

    def claimants(self, site: Site) -> tuple[Entry, ...]:
        """Every workload that claims a site, in policy order."""
        numbers = {
            number
            for key in _looked_up(site, self._kinds, fields=self._fields)
            for number in self._filed.get(key, ())
            if _where_matches(self._workloads[number].where, site)
            and _is_meant(self._workloads[number], site)
            and self._allows[number](site.file)
        }
        if site.claim is not None:
            numbers.update(self._named.get(site.claim, ()))
        return tuple(self._workloads[number] for number in sorted(numbers))


def _filed_under(workload: Entry, paths: tuple[str, ...]) -> Iterator[_Key]:
    where = workload.where
    if workload.repository is None:
        return
    what: object = workload.repository if where.field is None else f"field:{where.field}"
    if where.marker is not None and where.field is None:
        yield _NAMELESS, "marker", _policy_name(where.marker)
    for kind, value in (
        ("name", where.name),
        ("container", where.container),
        ("marker", where.marker),
        ("namespace", where.namespace),
    ):
        if value is not None:
            yield what, kind, _policy_name(value) if kind == "marker" else value
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


def _looked_up(site: Site, kinds: frozenset[str], *, fields: bool) -> Iterator[_Key]:
    """The keys of a site under which workloads can be filed, given the kinds of keys that are in use and
    whether fields are."""
    whats: list[object] = [] if site.repository is None else [site.repository]
    if fields:
        whats.extend(f"field:{field}" for field in {site.field, *site.selectors})
    values = [("name", site.name), ("container", site.container), ("namespace", site.namespace)]
    values.append(("marker", None if site.marker is None else _policy_name(site.marker)))
    values = [(kind, value) for kind, value in values if kind in kinds]
    if site.repository is None and site.marker is not None:
        yield _NAMELESS, "marker", _policy_name(site.marker)
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


def _is_meant(workload: Entry, site: Site) -> bool:
    """A workload that follows a tag and does not say where means the sites at that tag, so that two tags
    of one image can be followed."""
    followed = workload.rule.followed if isinstance(workload, Workload) else None
    return followed is None or site.tag == followed or workload.where != Where()


def _where_matches(where: Where, site: Site) -> bool:
    """Whether the literals of `where` equal the site's; an absent field of the document does not match."""
    named = (site.marker, None if site.marker is None else _policy_name(site.marker))
    if where.marker is not None and where.marker not in named:
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


def _quarrels(name: str, pairs: Iterable[_Claimed]) -> Iterator[Reason]:
    """What is wrong with the claims of one name. Entries of one name (a name used twice is an error by
    itself) do not contest."""
    for site, claimants in pairs:
        for workload in claimants:
            if workload.name == name and _is_other_image(site, workload):
                yield _other_image(site, workload)
        for other in claimants:
            if other.name != name:
                yield reason("claim/twice", site=site.label, workload=name, other=other.name)


def _unknown_workload(site: Site) -> Reason:
    return reason("claim/unknown-workload", site=site.label, workload=site.claim)


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
