"""Proposals: from the sites that no policy owns, and the tags of their images, to drafts of workloads.

One workload for an image; where its sites are at several versions, one for each folder that has a
version of its own. What needs no policy is left out, with the reason.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from automator.core.policytext import Draft, free_name
from automator.core.reference import Repository
from automator.core.schemes import Choice, choose
from automator.core.site import Site


class Listing(NamedTuple):
    """What is known of a repository's tags."""

    tags: tuple[str, ...] | None
    """None where nobody was asked, or the registry failed."""
    trouble: str = ""
    """The sentence of its failure."""


class Left(NamedTuple):
    """A site that gets no policy."""

    site: Site
    why: str


class Proposal(NamedTuple):
    """What is to be written, and what is not."""

    files: Mapping[str, tuple[Draft, ...]]
    """Names of policy files, and their workloads."""
    left: tuple[Left, ...]


class _Group(NamedTuple):
    """Sites of one image that become one workload."""

    sites: tuple[Site, ...]
    where: Mapping[str, Any]
    label: str = ""
    """What tells it from the others of its image, for its name."""
    differ: bool = False
    """Whether its sites are at several versions, and nothing tells them apart."""


UNASKED = Listing(None)
_SHARED = "another place of this file has the same image, and nothing tells the two apart"
MANY = 8
"""Folders with a workload each; where there are more, those at one version share one."""

KEYS = {
    "image": "the image repository whose tags are watched",
    "where": "which places in the config repo it owns; without it, all where the image is written",
    "glob": "only tags of this form; {key} is the part that is compared",
    "regex": "only tags that this RE2 expression covers; (?P<key>…) is the part that is compared",
    "semver": "the versions that may be released",
    "versions": "lenient reads versions of one or two numbers, too",
    "order": "how tags are compared: version (dotted numbers), numeric, alphabetical, newest (by build time)",
    "follow": "a tag that moves: its digest is written beside it, and followed",
    "hold": "nothing is released until this is removed",
}
"""Every key that is proposed, in the words of a file's first lines."""

_ENVIRONMENTS = {
    "dev": "development",
    "development": "development",
    "test": "test",
    "testing": "test",
    "qa": "test",
    "uat": "acceptance",
    "staging": "staging",
    "stage": "staging",
    "preprod": "staging",
    "prod": "production",
    "production": "production",
    "live": "production",
}


def repositories(sites: Iterable[Site]) -> tuple[Repository, ...]:
    """The repositories whose tags a proposal for these sites wants to know."""
    found = {site.repository for site in sites if site.repository is not None and not _why_left(site)}
    return tuple(sorted(found))


def propose(
    sites: Sequence[Site],
    listings: Mapping[Repository, Listing],
    *,
    owned: Sequence[Site] = (),
    names: Collection[str] = (),
    files: Collection[str] = (),
) -> Proposal:
    """Drafts for `sites`, none of which a workload owns yet.

    `owned` are the sites that have an owner; `names` and `files` are those of workloads and policy
    files that there are."""
    left = [Left(site, why) for site in sites if (why := _why_left(site))]
    good: dict[Repository, list[Site]] = {}
    for site in sites:
        if site.repository is not None and not _why_left(site):
            good.setdefault(site.repository, []).append(site)
    taken = set(names)
    drafts: dict[str, list[Draft]] = {}
    for repository, members in good.items():
        strangers = [s for s in (*owned, *(one.site for one in left)) if s.repository == repository]
        groups = tuple(_apart(members, strangers))
        reached = {site for group in groups for site in group.sites}
        left += [Left(site, _SHARED) for site in members if site not in reached]
        for group in groups:
            name = _name(repository, group, taken)
            taken.add(name)
            listing = listings.get(repository, UNASKED)
            drafts.setdefault(_area(group.sites), []).append(_draft(name, repository, group, listing))
    stems = {file.rpartition("/")[2].rpartition(".")[0] for file in files}
    written: dict[str, tuple[Draft, ...]] = {}
    for area in sorted(drafts):
        stem = free_name(area, stems)
        stems.add(stem)
        written[f"{stem}.yaml"] = tuple(drafts[area])
    return Proposal(written, tuple(left))


def header(drafts: Iterable[Draft]) -> tuple[str, ...]:
    """The first lines of a policy file: what each key in it means."""
    used = {key for draft in drafts for key in draft.keys}
    return (
        "What automator may release, proposed by `automator init`. Read it, change it, commit it.",
        "",
        *(f"{key}: {meaning}" for key, meaning in KEYS.items() if key in used),
    )


def _why_left(site: Site) -> str:
    """Why a site gets no policy; empty where it gets one."""
    if site.held is not None:
        return site.held.sentence
    if site.repository is None:
        return "the name of its image is not written here"
    if site.marker is not None:
        return f"Flux writes here ({site.marker}); `automator import flux2` carries its policy over"
    if site.tag is None:
        return "no tag is written here" + (", only a digest" if site.digest else "")
    return ""


# -- which sites go together ---------------------------------------------------------------------------


def _apart(sites: Sequence[Site], strangers: Sequence[Site]) -> Iterator[_Group]:
    """Workloads for sites of one image that own none of the `strangers`; a site that cannot be told from
    a stranger in its file is in no group."""
    others = {site.file for site in strangers}
    yield from _groups([site for site in sites if site.file not in others], others)
    for file in dict.fromkeys(site.file for site in sites if site.file in others):
        here = [site for site in sites if site.file == file]
        yield from _in_one_file(here, [site for site in strangers if site.file == file])


def _groups(sites: Sequence[Site], others: Collection[str]) -> Iterator[_Group]:
    """`others` are files with sites of the same image that these workloads must not own."""
    if not sites:
        return
    if len({site.tag for site in sites}) > 1:
        yield from _by_folder(sites, 0, others)
    elif others:
        paths = ["**", *(f"!{_pattern(file)}" for file in sorted(others))]
        yield _Group(tuple(sites), {"paths": paths})
    else:
        yield _Group(tuple(sites), {})


def _by_folder(sites: Sequence[Site], depth: int, others: Collection[str]) -> Iterator[_Group]:
    """Workloads for sites below one folder, `depth` segments from the root, that are at several versions."""
    below: dict[str, list[Site]] = {}
    for site in sites:
        below.setdefault("/".join(site.file.split("/")[: depth + 1]), []).append(site)
    alike: dict[str | None, list[str]] = {}
    for path, members in below.items():
        tags = {site.tag for site in members}
        if len(tags) > 1 and members[0].file == path:
            yield from _in_one_file(members)
        elif len(tags) > 1:
            yield from _by_folder(members, depth + 1, others)
        else:
            alike.setdefault(members[0].tag, []).append(path)
    crowded = sum(map(len, alike.values())) > MANY
    for paths in alike.values():
        loose = [path for path in paths if crowded or below[path][0].file == path]
        for together in (loose, *([path] for path in paths if path not in loose)):
            if together:
                patterns = [_pattern(p) + ("" if below[p][0].file == p else "/**") for p in together]
                inside = (o for o in sorted(others) if any(o.startswith(f"{path}/") for path in together))
                patterns += [f"!{_pattern(file)}" for file in inside]
                shared = tuple(site for path in together for site in below[path])
                yield _Group(shared, {"paths": patterns}, _label(together[0]))


_LITERALS = (("container",), ("name",), ("kind", "name"), ("namespace", "name"))


def _in_one_file(sites: Sequence[Site], strangers: Sequence[Site] = ()) -> Iterator[_Group]:
    """Workloads for sites of one file at several versions, or beside strangers: by what is named in the
    file, or by the field. None where strangers cannot be told from them."""
    paths = [_pattern(sites[0].file)]
    for literals in _LITERALS:
        parted: dict[tuple[str | None, ...], list[Site]] = {}
        for site in sites:
            parted.setdefault(_values(site, literals), []).append(site)
        told = all(value for values in parted for value in values)
        told = told and not any(_values(stranger, literals) in parted for stranger in strangers)
        if told and all(len({site.tag for site in members}) == 1 for members in parted.values()):
            for values, together in parted.items():
                where = {"paths": paths, **dict(zip(literals, values, strict=True))}
                yield _Group(tuple(together), where, "-".join(filter(None, values)))
            return
    fields = [site.field for site in (*sites, *strangers)]
    if len(set(fields)) == len(fields):
        for number, site in enumerate(sites, 1):
            yield _Group((site,), {"paths": paths, "field": site.field}, f"{_label(site.file)}-{number}")
    elif not strangers:
        yield _Group(tuple(sites), {"paths": paths}, _label(sites[0].file), differ=True)


def _values(site: Site, literals: Sequence[str]) -> tuple[str | None, ...]:
    return tuple(getattr(site, literal) for literal in literals)


def _pattern(path: str) -> str:
    """A gitignore pattern for this path at the root, and no other."""
    escaped = "".join(f"\\{c}" if c in "\\*?[]!# " else c for c in path)
    return escaped if "/" in path else f"/{escaped}"


def _label(path: str) -> str:
    name = path.rpartition("/")[2]
    for ending in (".yaml", ".yml", ".json", ".env"):
        name = name.removesuffix(ending)
    return name or "env"


# -- one workload --------------------------------------------------------------------------------------


def _name(repository: Repository, group: _Group, taken: Collection[str]) -> str:
    """`web`, `web-staging`; where that is taken, with more of the repository."""
    segments = repository.path.split("/")
    label = f"-{group.label}" if group.label and group.label != segments[-1] else ""
    wanted = (f"{'-'.join(segments[-count:])}{label}" for count in (1, 2))
    free = next((name for name in map(_valid, wanted) if name not in taken), None)
    return free or free_name(f"{segments[-1]}{label}", taken)


def _valid(name: str) -> str:
    return free_name(name, ())


def _area(sites: Sequence[Site]) -> str:
    """The top folder that all sites lie in."""
    tops = {site.file.partition("/")[0] if "/" in site.file else "images" for site in sites}
    return tops.pop() if len(tops) == 1 else "shared"


def _draft(name: str, repository: Repository, group: _Group, listing: Listing) -> Draft:
    first = group.sites[0]
    choice = _differing(group) if group.differ else choose(first.tag or "", listing.tags)
    keys: dict[str, Any] = {"image": str(repository)}
    if group.where:
        keys["where"] = dict(group.where)
    more = f" and {len(group.sites) - 1} more" if len(group.sites) > 1 else ""
    comments = [f"{first.file}:{first.line}{more}, at {first.tag}"]
    if listing.trouble:
        comments.append(f"Proposed without the registry's tags: {listing.trouble}")
    environments = {guess for site in group.sites if (guess := _environment(site.file))}
    if len(environments) == 1 and group.where:
        comments.append(f"Perhaps `environment: {environments.pop()}`.")
    remarks = dict(choice.remarks)
    if any(pattern.startswith("!") for pattern in group.where.get("paths", ())):
        remarks["where"] = "without what is left out, or has an owner"
    return Draft(name, {**keys, **choice.keys}, (*comments, *choice.comments), remarks)


def _differing(group: _Group) -> Choice:
    tags = sorted({str(site.tag) for site in group.sites})
    why = f"one file is at {', '.join(tags)}: say with `where` which place has which policy"
    return Choice({"follow": tags[0], "hold": {"reason": why}})


def _environment(path: str) -> str | None:
    """What a folder's name says of where things run."""
    found = [
        _ENVIRONMENTS[word]
        for segment in path.lower().split("/")[:-1]
        for word in segment.replace("_", "-").split("-")
        if word in _ENVIRONMENTS
    ]
    return found[-1] if found else None
