"""Tracing: one site through the versions of its file, backwards, and through files that it was moved from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from automator.core.course import FilePast, Held, Part, Shared, Value
from automator.core.identity import FileChange, FileVersion, Origin, may_be_of, of_image, pairs
from automator.core.reference import Repository
from automator.core.site import Site

__all__ = [
    "BROKEN_LOOKED_INTO",
    "MOVES_FOLLOWED",
    "NOTHING",
    "Elsewhere",
    "FileChange",
    "FilePast",
    "FileVersion",
    "Lacking",
    "Shared",
    "Step",
    "Traced",
    "Value",
    "may_be_of",
    "of_image",
    "pairs",
    "trace",
]

MOVES_FOLLOWED = 50
"""Moves from file to file that one site is followed through at most."""
BROKEN_LOOKED_INTO = 20
"""Files that one commit took away while they could not be read, and whose past is looked into at most."""


class Step(NamedTuple):
    """What a site held after one change."""

    values: tuple[Value, ...]
    """Usually one; empty where the site was not there; several where it may have been any of them."""
    version: FileVersion | None
    """None where an older change than those read made it so."""


class Elsewhere(NamedTuple):
    """What was read of other files, for sites that somebody moved from one file to another."""

    files: Mapping[str, FilePast]
    """By path, those that are gone too."""
    commits: Mapping[str, tuple[FileVersion, ...]]
    """By commit, its changes of files: of those that were there before it; where one of them lost a site of
    the image, also of those that it added."""


class Lacking(NamedTuple):
    """What must be read before it can be told where a site was before."""

    commits: frozenset[str] = frozenset()
    files: frozenset[str] = frozenset()


NOTHING = Lacking()


class Traced(NamedTuple):
    """One site, traced back as far as what was read tells."""

    steps: tuple[Step, ...]
    """Newest first."""
    complete: bool
    """Whether they go back to where the site began."""
    lacking: Lacking
    files: tuple[str, ...]
    """Paths at which the site was, the present one first."""
    changes: int
    """Changes of these files that were passed."""


def trace(
    past: FilePast, site: Site, elsewhere: Elsewhere | None = None, shared: Shared | None = None
) -> Traced:
    """What the site held, newest first, as far as the changes of its file tell.

    A site is followed by its image repository, step by step. From one version of the file to the one
    before, a site is the same one if it has the same field in the same object (kind, namespace,
    name), else in the same document, else the same field at all; each only where that is unambiguous.
    A site that matches none of these, where the older version has sites of the image that nothing
    else matches (a container was renamed, a file restructured), may have been any of them, and is
    taken to have held what each of them held. So no version that was turned away slips through, and
    staging and production in one file are not mixed up as long as fields tell them apart. A site whose
    image another file tells, and of which nothing is known today, may be of any image that it can be of.

    A version that could not be read is passed over; one without the site (a deleted file) is a step
    without values. In a file that lost the site but kept others of its image, only the exact matches
    count from there on.

    With `elsewhere`, a site that a commit brought to a file while it took one of the same image away from
    another (renamed, split, merged, a folder moved) goes on there: with the one that stood in the same
    object and field, else in the same object, else in the same field, else anywhere; of several with the one
    whose path is most alike and that nothing else which came is more like. So it does where another object
    stood in its place, if its own stood in another file (two files swapped). Without a word of what the
    commit did elsewhere, it is lacking.

    `shared` keeps what traces of other sites need too.
    """
    tracer = _Tracer(site.repository, elsewhere, Shared() if shared is None else shared)
    tracer.follow(site.file, past, tracer.shared.alone(site))
    lacking = Lacking(frozenset(tracer.commits), frozenset(tracer.unread))
    complete = tracer.complete and not (lacking.commits or lacking.files)
    return Traced(tuple(tracer.steps), complete, lacking, tuple(dict.fromkeys(tracer.files)), tracer.changes)


class _Tracer:
    """Walks back through one file after the other."""

    def __init__(self, repository: Repository | None, elsewhere: Elsewhere | None, shared: Shared) -> None:
        self.repository = repository
        self.elsewhere = elsewhere
        self.shared = shared
        self.steps: list[Step] = []
        self.complete = True
        self.commits: set[str] = set()
        self.unread: set[str] = set()
        self.files: list[str] = []
        self.changes = 0
        self._moves = 0

    def follow(self, path: str, past: FilePast, part: Part, change: int = -1) -> None:
        """Walk back through one file, from before one of its changes, with the sites that are followed."""
        self.files.append(path)
        self.changes += len(past.versions) - max(change, 0)
        loosely, came, brought = True, None, None
        for state in self.shared.course(path, past, self.repository):
            if state.age <= 2 * change:
                continue
            older = state.held
            found = self.shared.was(part, older, loosely=loosely)
            if (
                brought is not None
                and not found.sites
                and self._goes_on(path, brought, part.sites, part.number or None)
            ):
                return
            if came is not None and found.sites:
                stayed = self._swapped(path, came, part, older)
                if stayed is not None and not stayed.sites:
                    return
                found = found if stayed is None else stayed
            if found.sites:
                part, loosely = found, True
            elif older.sites:
                loosely = False
            came, brought = (state.version, state.brought) if found.sites else (None, None)
            self.steps.append(Step(found.values, state.version))
        if (
            brought is not None
            and brought.change.before is None
            and self._goes_on(path, brought, part.sites, part.number or None)
        ):
            return
        self.complete = self.complete and past.complete

    def _swapped(self, path: str, came: FileVersion, part: Part, older: Held) -> Part | None:
        """Where the objects of some sites stood in other files before `came`: follows these there, and
        tells what the others were here. None where all go on here."""
        stayed, others = self.shared.parted(part, older)
        key = (part.number, older.number) if part.number else None
        return stayed if others and self._goes_on(path, came, others, key, owned=True) else None

    def _goes_on(
        self, path: str, came: FileVersion, ours: tuple[Site, ...], key: object, *, owned: bool = False
    ) -> bool:
        """Whether the sites that `came` brought to the file were in others before; follows them there.
        `key` tells these sites from others, where other traces ask for them too. `owned`: only to where the
        very same objects were."""
        if self.elsewhere is None:
            return False
        commit = came.change.commit
        if commit not in self.elsewhere.commits:
            self.commits.add(commit)
            return True
        versions = self._readable(self.elsewhere.commits[commit])
        if versions is None:
            return True
        moving = self.shared.moving(commit, versions, self.repository)
        origins = moving.origins(came, ours, key, owned=owned)
        if not origins:
            return False
        # The commit moves the image from what stood there: a claim is put to the proof by that.
        last = self.steps[-1].version or came
        key = "moved", last.change.commit, last.change.path
        moved = self.shared.once(key, (last, *origins), lambda: _moved(last, origins))
        self.steps[-1] = self.steps[-1]._replace(version=moved)
        for origin in origins:
            self._moves += 1
            if self._moves > MOVES_FOLLOWED:
                self.complete = False
            else:
                self._follow_to(origin)
        return True

    def _readable(self, versions: tuple[FileVersion, ...]) -> tuple[FileVersion, ...] | None:
        """A commit's changes; files that it took away while they could not be read, as they were when they
        last could. None where their past is yet to be read."""
        assert self.elsewhere is not None
        broken = [v for v in versions if v.change.after is None and v.before is None][:BROKEN_LOOKED_INTO]
        if not broken:
            return versions
        unread = {v.change.path for v in broken} - self.elsewhere.files.keys()
        if unread:
            self.unread |= unread
            return None
        held = {v.change.path: self._last_readable(v) for v in broken}
        return self.shared.once(
            ("readable", broken[0].change.commit),
            (versions, *held.values()),
            lambda: tuple(
                replace(v, before=held[v.change.path]) if v.change.path in held and v in broken else v
                for v in versions
            ),
        )

    def _last_readable(self, version: FileVersion) -> tuple[Site, ...] | None:
        assert self.elsewhere is not None
        past = self.elsewhere.files[version.change.path]
        at = _position(past, version.change.commit)
        return None if at is None else next((v.before for v in past.versions[at:] if v.before), None)

    def _follow_to(self, origin: Origin) -> None:
        assert self.elsewhere is not None
        change = origin.version.change
        past = self.elsewhere.files.get(change.path)
        if past is None:
            self.unread.add(change.path)
            return
        at = _position(past, change.commit)
        if at is None:  # older than what was read of it
            self.steps.append(Step(tuple((s.tag, s.digest) for s in origin.sites), None))
            self.complete = False
            return
        self.follow(change.path, past, self.shared.left_from(origin, self.repository), at)


def _moved(version: FileVersion, origins: tuple[Origin, ...]) -> FileVersion:
    """A change, as one that moves what stood in other files."""
    before = (site for origin in origins for site in origin.sites)
    return replace(version, before=(*(version.before or ()), *before))


def _position(past: FilePast, commit: str) -> int | None:
    """Which of a file's changes is a commit's."""
    return next((i for i, v in enumerate(past.versions) if v.change.commit == commit), None)
