"""Source changes: which pull requests and issues the commits between two revisions name.

Messages are untrusted, and much in them only looks like a name: versions, digests, standards, release notes
of dependencies. What is found is spelled so that a forge takes it for nothing but the thing itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Literal, NamedTuple

from automator.core.forge import SourceCommit
from automator.core.record import FIRST_COMMIT

LIMIT = 20
"""Names that one commit, and one announcement, has at most."""
_LONGEST = 20_000
"""Characters of a message that are read."""
_LONGEST_NAME = 200
"""Characters of a name: what is longer is none, and would make a commit message of any size."""


class Place(NamedTuple):
    """A project on a forge."""

    kind: str
    """`github`, `gitlab`, `gitea`, `forgejo` or `bitbucket`."""
    host: str
    project: str
    """`acme/web`, `group/sub/project`."""


class Ends(NamedTuple):
    """Two revisions of a project."""

    place: Place
    base: str
    head: str


class Named(NamedTuple):
    """What the changes of a release name, and when the newest of them were made."""

    refs: tuple[str, ...] = ()
    """`acme/web#12`, on GitLab `group/project!12` for a merge request; `ABC-123`. At most LIMIT."""
    total: int = 0
    """How many there are, those beyond the limit too."""
    made: tuple[tuple[str, datetime], ...] = ()
    """Revisions, as source links spell them, and when their commits were made: UTC, whole seconds."""

    def made_at(self, source: str | None) -> datetime | None:
        """When the commit was made that a source link ends with; None where that was not told."""
        revision = (source or "").rpartition("/")[2]
        return next((at for known, at in self.made if known == revision), None)


NOTHING = Named()


def names_in(commits: Iterable[SourceCommit], place: Place) -> tuple[str, ...]:
    """All that the messages of commits name, each once, in the order of the commits."""
    found = (ref for commit in commits for ref in refs_in(_told_by(commit), place))
    return tuple(dict.fromkeys(found))


def bounded(names: Iterable[str]) -> Named:
    """The first names, and how many there are."""
    every = tuple(dict.fromkeys(names))
    return Named(every[:LIMIT], len(every))


def joined(parts: Iterable[Named]) -> Named:
    """The names of several releases together."""
    parts = tuple(parts)
    known = bounded(ref for part in parts for ref in part.refs)
    beyond = sum(part.total - len(part.refs) for part in parts)
    return Named(known.refs, known.total + beyond, tuple(made for part in parts for made in part.made))


def head_made(commits: Iterable[SourceCommit], head: str) -> tuple[tuple[str, datetime], ...]:
    """When the commit of a revision, which may be shortened, was made, if it is among commits and tells a
    time that Git can have: `Named.made` of it."""
    times = (one.time for one in commits if one.commit.startswith(head))
    found = next(times, None)
    return () if found is None or found < FIRST_COMMIT else ((head, found.replace(microsecond=0)),)


_ROBOT = re.compile(r"dependabot|renovate", re.IGNORECASE)
_UNDONE = re.compile(r"^Revert [\"'].*[\"']|^This reverts (?:merge|pull) request \S+", re.MULTILINE)


def _told_by(commit: SourceCommit) -> str:
    """The part of a message that its author wrote: a robot's has the release notes of a dependency below,
    whose numbers are another project's. What a revert takes back is not in the release."""
    lines = _UNDONE.sub("Revert", commit.message[:_LONGEST])
    return lines.partition("\n")[0] if _ROBOT.search(commit.author) else lines


# -- what a message names ------------------------------------------------------------------------------

_URL = re.compile(r"https?://[^\s<>\"'`\]]+", re.IGNORECASE)
_OWN_PAGE = re.compile(
    r"/(?P<project>[\w.-]+(?:/[\w.-]+)+?)/(?:-/)?"
    r"(?P<what>pulls?|issues|merge_requests|pull-requests)/(?P<number>[1-9][0-9]{0,8})(?![\w-])",
    re.ASCII,
)
_TRACKER_PAGE = re.compile(r"/(?:browse|issue)/(?P<key>[A-Z][A-Z0-9]+-[0-9]+)(?![\w-])", re.ASCII)
_BOUNDARY = r"(?<![\w/.:#@!&%$+=~-])"
_REFERENCE = re.compile(
    rf"(?:(?P<said>\b(?:pull|merge)[ ]request[ ]+)|{_BOUNDARY})"
    r"(?P<project>[A-Za-z0-9][\w.-]*(?:/[A-Za-z0-9][\w.-]*)+)?"
    r"(?P<sign>[#!])(?P<number>[1-9][0-9]{0,8})(?![\w/#!-]|[.,:][0-9])",
    re.ASCII,
)
_GITHUB_SHORT = re.compile(rf"{_BOUNDARY}GH-(?P<number>[1-9][0-9]{{0,8}})(?![\w-]|\.[0-9])", re.ASCII)
_KEY = re.compile(
    rf"{_BOUNDARY}(?P<key>(?P<word>[A-Z]{{2}}[A-Z0-9]{{0,8}})-[1-9][0-9]{{0,6}})(?![\w/+=@-]|[.:][0-9])",
    re.ASCII,
)
_WORDS = """
    AES ALPHA AMD ANSI APACHE ARM ASCII BASE BETA BIP BLAKE BSD BUILD CP CPU CRC CVE CWE DES DIN DSA ECDSA
    ECMA ED EIP EN ES GB GH GHSA GMT GO GPL GPT HMAC HTTP IEC IEEE INT IPV ISO ISSUE JAVA JDK JEP JSR KB
    KOI LATIN LEVEL LGPL LTS MAC MD MIT MP MPL MR NIST PART PBKDF PEP PHASE PHP PKCS PR PY PYTHON RC RCE
    RELEASE REV RFC RHSA RIPEMD ROT RSA SHA SNAPSHOT SP SSE SSL STEP TIER TLS TODO UCS USB USN UTC UTF
    UUID VERSION VERSIONS WINDOWS XEP
    JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC
"""
"""Words that stand before a hyphen and a number, and are no project of a tracker."""
_NO_KEYS = frozenset(_WORDS.split())


def refs_in(message: str, place: Place) -> Iterator[str]:
    """What a message names, in its order, repeated where it repeats itself. Never raises.

    Pages of other forges and other hosts are left out, but for issue keys that their address ends with.
    """
    found: list[tuple[int, str]] = []
    for match in _URL.finditer(message):
        ref = _of_page(match[0], place)
        if ref is not None:
            found.append((match.start(), ref))
    plain = _URL.sub(lambda match: " " * len(match[0]), message)
    for match in _REFERENCE.finditer(plain):
        ref = _of_reference(match, place)
        if ref is not None:
            found.append((match.start("sign"), ref))
    if place.kind == "github":
        found += [(m.start(), f"{place.project}#{m['number']}") for m in _GITHUB_SHORT.finditer(plain)]
    for match in _KEY.finditer(plain):
        word = match["word"].rstrip("0123456789")
        if match["word"] not in _NO_KEYS and word not in _NO_KEYS:
            found.append((match.start(), match["key"]))
    for _, ref in sorted(found):
        if len(ref) <= _LONGEST_NAME:
            yield ref


def _of_page(url: str, place: Place) -> str | None:
    host, _, path = url.partition("://")[2].partition("/")
    page = _OWN_PAGE.match(f"/{path}") if host.lower() == place.host.lower() else None
    if page is not None:
        is_pull = page["what"] != "issues"
        return _spelled(place, page["project"], int(page["number"]), is_pull=is_pull)
    tracked = _TRACKER_PAGE.search(f"/{path}")
    return None if tracked is None else tracked["key"]


def _of_reference(match: re.Match[str], place: Place) -> str | None:
    project = match["project"] or place.project
    is_gitlab = place.kind == "gitlab"
    if match["sign"] == "!" and place.kind not in ("gitlab", "gitea", "forgejo"):
        return None
    if place.kind == "bitbucket" and match["said"] is None:
        return None  # issues are kept elsewhere; a number alone may be anything
    is_pull = match["sign"] == "!" if is_gitlab else match["said"] is not None
    return _spelled(place, project, int(match["number"]), is_pull=is_pull)


def _spelled(place: Place, project: str, number: int, *, is_pull: bool) -> str:
    """Never without its project: elsewhere the number alone is another thing."""
    if project.lower() == place.project.lower():
        project = place.project
    return f"{project}{'!' if is_pull and place.kind == 'gitlab' else '#'}{number}"


# -- what is read back ---------------------------------------------------------------------------------

On = Literal["pull", "issue"]
_OWN = re.compile(r"(?P<project>[^#!\s]+)(?P<sign>[#!])(?P<number>[1-9][0-9]{0,8})", re.ASCII)


def own_number(ref: str, place: Place) -> tuple[int, On] | None:
    """Number of a pull request or issue of the project itself, and which of both; else None."""
    match = _OWN.fullmatch(ref)
    if match is None or match["project"] != place.project:
        return None
    # Where both share their numbers, the pages of issues take comments of both.
    is_pull = match["sign"] == "!" or place.kind == "bitbucket"
    return int(match["number"]), "pull" if is_pull else "issue"


_LINK = re.compile(
    r"https://(?P<host>[^/]+)/(?P<project>[^/]+(?:/[^/]+)+?)(?:/(?:-/)?tree/(?P<revision>[0-9a-f]{7,64}))?"
)


def place_of(link: str | None, kinds: dict[str, str]) -> tuple[Place, str] | None:
    """Project and revision that a release's source link names, where its host is a forge in `kinds`;
    the revision is empty where it names none."""
    match = _LINK.fullmatch(link or "")
    kind = None if match is None else kinds.get(match["host"])
    if match is None or kind is None or not _is_project(match["project"], kind):
        return None
    return Place(kind, match["host"], match["project"]), match["revision"] or ""


_SEGMENT = re.compile(r"(?!\.+\Z)[\w.~+-]+", re.ASCII)


def _is_project(path: str, kind: str) -> bool:
    """Whether a path from a label can be a project: `..`, or what a server takes for it, would lead to
    another one, or to another question."""
    segments = path.split("/")
    return (kind == "gitlab" or len(segments) == 2) and all(map(_SEGMENT.fullmatch, segments))


def is_within(place: Place, owners: Iterable[str]) -> bool:
    """Whether a project is one of these, or of one of these owners: `github.com/acme`."""
    path = f"{place.host}/{place.project}/".lower()
    return any(path.startswith(f"{owner.lower()}/") for owner in owners)


def ends_of(before: str | None, after: str | None, kinds: dict[str, str]) -> Ends | None:
    """Both revisions, where two source links are of one project on a forge that is known."""
    old, new = place_of(before, kinds), place_of(after, kinds)
    if old is None or new is None or old[0] != new[0] or not (old[1] and new[1]) or old[1] == new[1]:
        return None
    return Ends(new[0], old[1], new[1])
