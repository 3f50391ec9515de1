"""Actions: what a person asks for, as new texts of files and the message of one commit.

Policy files are edited by `policyedit`, manifests by `rewrite`; both prove what they did. Which version a
workload moves to is decided elsewhere: here it is given.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import NamedTuple

from automator.core.policy import FREEZE, InvalidWorkload, PolicySet, Workload, parse_policies
from automator.core.policyedit import add_item, delete_key, remove_item, set_key
from automator.core.policyfile import read_policy_file
from automator.core.reference import DIGEST, TAG, Image, value_text
from automator.core.release import Draft, Member, ReleaseRecord, Templates, compose_or_default, source_link
from automator.core.rewrite import Edit, rewrite
from automator.core.site import Site
from automator.core.unidiff import unified_diff
from automator.errors import ActionError, ManifestError
from automator.reasons import Reason, one_line, reason

ACTOR_LIMIT = 100
FREEZE_FILE = FREEZE[0]
_NEW_FREEZE = "version: 1\n"


@dataclass(frozen=True, slots=True)
class Request:
    """What a person asks for."""

    kind: str
    """The command: hold, resume, reject, accept, freeze, thaw, rollback, release or promote."""
    actor: str
    why: str | None = None
    """The person's words."""
    workload: str = ""
    """Empty for freeze and thaw."""
    version: str | None = None
    """Tag, version or digest."""
    until: datetime | None = None
    """For hold and freeze: when it ends by itself."""
    file: str | None = None
    """For freeze and thaw: the one policy file that is meant, as its path in the config repo."""
    force: bool = False


class FileEdit(NamedTuple):
    """What becomes of one file."""

    file: str
    before: str | None
    """None where there was none."""
    after: str | None
    """None where it goes."""

    @property
    def diff(self) -> str:
        """As `git apply` takes it."""
        lines = unified_diff(self.file, self.before or "", self.after or "").split("\n", 2)
        if self.before is None:
            lines[0] = "--- /dev/null"
        if self.after is None:
            lines[1] = "+++ /dev/null"
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Change:
    """One commit to be, all of whose texts are proven."""

    record: ReleaseRecord
    why: str
    """The sentence of its message."""
    edits: tuple[FileEdit, ...]
    notes: tuple[Reason, ...] = ()
    """What the person should hear beside it."""
    of: tuple[Workload, ...] = ()
    """The workloads that it moves or stops, as far as they are valid."""

    def draft(self, templates: Templates | None) -> Draft:
        """The commit, its message by the templates of the config."""
        text, _ = compose_or_default(self.record, why=self.why, templates=templates)
        files = ((e.file, None if e.after is None else e.after.encode()) for e in self.edits)
        return Draft(text, tuple(files))


class Nothing(NamedTuple):
    """There is nothing to do, and why."""

    reason: Reason


def actor_name(text: str) -> str:
    """A name as it may stand in a commit: one line, no control characters; `somebody` where nothing is
    left of it."""
    return one_line(text, ACTOR_LIMIT) or "somebody"


def named_version(text: str, workload: Workload) -> str:
    """The version that `1.4.3@sha256:…` names, as `log` and trailers write it: of a followed tag the digest,
    else the tag."""
    tag, at, digest = text.partition("@")
    return text if not at else digest if workload.rule.followed is not None or not tag else tag


# -- policies -----------------------------------------------------------------------------------------


def edit_policies(
    request: Request, texts: Mapping[str, str], entries: Mapping[str, Workload | InvalidWorkload], folder: str
) -> Change | Nothing:
    """The change of policy files that a request for hold, resume, reject, accept, freeze or thaw asks for.

    `texts` are all policy files by path, `entries` the workloads by name, `folder` is where policies
    live. For accept, all members of a group that moves to one version are named by the request's one.

    Raises ActionError (`action/…`), and ManifestError (`edit/…`, `yaml/…`) with the line that a person
    would write, where it cannot be done exactly, or where the policies would not compile as before.
    """
    if request.kind in ("freeze", "thaw"):
        edits = _freeze(request, texts, folder) if request.kind == "freeze" else _thaw(request, texts, folder)
        named: tuple[Workload | InvalidWorkload, ...] = ()
    else:
        named = _named(request, entries)
        edits = _workload_edits(request, texts, named)
    if isinstance(edits, Nothing):
        return edits
    found = {e.file: e.after for e in edits}
    after = {**texts, **{file: text for file, text in found.items() if text is not None}}
    for file in (file for file, text in found.items() if text is None):
        del after[file]
    _refuse_worse(parse_policies(texts), parse_policies(after))
    members = tuple(
        Member(
            workload=entry.name,
            image="" if entry.repository is None else str(entry.repository),
            after=_shown_version(entry, request),
            policy=entry.place.file,
        )
        for entry in named
    )
    record = ReleaseRecord(request.kind, members, request.actor, request.why)
    return Change(record, _sentence(request), edits, of=tuple(w for w in named if isinstance(w, Workload)))


def _shown_version(entry: Workload | InvalidWorkload, request: Request) -> str:
    """The version that a request names, as trailers write it."""
    version = request.version or ""
    version = named_version(version, entry) if isinstance(entry, Workload) else version
    return f"@{version}" if DIGEST.fullmatch(version) else version


def _named(
    request: Request, entries: Mapping[str, Workload | InvalidWorkload]
) -> tuple[Workload | InvalidWorkload, ...]:
    """Whose entries are edited: for accept, all members of a group that moves to one version, since each of
    them has turned it away."""
    entry = entries[request.workload]
    group = entry.group if isinstance(entry, Workload) else None
    if request.kind != "accept" or group is None or group.match != "version":
        return (entry,)
    members = (w for w in entries.values() if isinstance(w, Workload) and w.group == group)
    return tuple(sorted(members, key=lambda w: w.name))


_Edit = Callable[[str, Workload | InvalidWorkload, Request], str]


def _workload_edits(
    request: Request, texts: Mapping[str, str], named: Iterable[Workload | InvalidWorkload]
) -> tuple[FileEdit, ...] | Nothing:
    edit: _Edit = {"hold": _hold, "resume": _resume, "reject": _reject, "accept": _accept}[request.kind]
    after: dict[str, str] = {}
    for entry in named:
        file = entry.place.file
        after[file] = edit(after.get(file, texts[file]), entry, request)
    edits = tuple(FileEdit(f, texts[f], text) for f, text in after.items() if text != texts[f])
    if edits:
        return edits
    name, version = request.workload, request.version or ""
    if request.kind == "hold":
        return Nothing(reason("action/held-already", workload=name))
    if request.kind == "resume":
        return Nothing(reason("action/not-held", workload=name))
    return Nothing(reason("action/listed-already", workload=name, version=version, key=request.kind))


def _hold(text: str, entry: Workload | InvalidWorkload, request: Request) -> str:
    return set_key(text, (*_path(entry), "hold"), _stop(request), entry.place.file)


def _resume(text: str, entry: Workload | InvalidWorkload, request: Request) -> str:
    after = delete_key(text, (*_path(entry), "hold"), entry.place.file)
    if after == text and isinstance(entry, Workload) and entry.hold is not None:
        why = reason("action/inherited", workload=entry.name, key="hold", place=entry.hold.place)
        raise ActionError(why)
    return after


def _stop(request: Request) -> dict[str, str | bool | int]:
    """What `hold` and `freeze` say."""
    told: dict[str, str | bool | int] = {"reason": request.why or ""}
    if request.until is not None:
        told["until"] = f"{request.until.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    return told


def _path(entry: Workload | InvalidWorkload) -> tuple[str, str]:
    return ("workloads", entry.name)


def _reject(text: str, entry: Workload | InvalidWorkload, request: Request) -> str:
    workload, version = _version_of(entry, request)
    after = _with(text, workload, "reject", workload.rule.reject, version)
    return _without(after, workload, "accept", workload.accept, version)


def _accept(text: str, entry: Workload | InvalidWorkload, request: Request) -> str:
    workload, version = _version_of(entry, request)
    if DIGEST.fullmatch(version) and workload.rule.followed is None:
        raise ActionError(reason("action/no-version", workload=workload.name, version=version, what="a tag"))
    after = _with(text, workload, "accept", workload.accept, version)
    after = _without(after, workload, "reject", workload.rule.reject, version)
    rejected = _naming(workload, workload.rule.reject, version)
    if rejected and not _is_own(text, workload, "reject"):
        place = workload.place_of("reject")
        raise ActionError(reason("action/inherited", workload=workload.name, key="reject", place=place))
    return after


def _version_of(entry: Workload | InvalidWorkload, request: Request) -> tuple[Workload, str]:
    """The workload, which must be valid, and a version that it can name. Raises ActionError."""
    if isinstance(entry, InvalidWorkload):
        raise ActionError(reason("action/invalid", workload=entry.name, problem=entry.reason.sentence))
    version = named_version(request.version or "", entry)
    followed = entry.rule.followed
    if followed is not None and not DIGEST.fullmatch(version):
        what = f"a digest, since it follows {followed}"
        raise ActionError(reason("action/no-version", workload=entry.name, version=version, what=what))
    if not (TAG.fullmatch(version) or DIGEST.fullmatch(version)):
        raise ActionError(reason("action/no-version", workload=entry.name, version=version, what="a tag"))
    return entry, version


def _with(text: str, workload: Workload, key: str, listed: Sequence[str], version: str) -> str:
    """The text with a version in a list of the workload. A list of its own replaces the one of the
    defaults, so it begins with what that one says."""
    path = (*_path(workload), key)
    if version in listed:
        return text
    if listed and not _is_own(text, workload, key):
        return set_key(text, path, (*listed, version), workload.place.file)
    return add_item(text, path, version, workload.place.file)


def _without(text: str, workload: Workload, key: str, listed: Sequence[str], version: str) -> str:
    """The text without the items of a list that name a version, however they spell it."""
    for item in _naming(workload, listed, version):
        text = remove_item(text, (*_path(workload), key), item, workload.place.file)
    return text


def _naming(workload: Workload, listed: Sequence[str], version: str) -> tuple[str, ...]:
    names = workload.rule.names
    return tuple(item for item in listed if item == version or names((item,), version))


def _is_own(text: str, workload: Workload, key: str) -> bool:
    """Whether a key stands in the workload itself, and not in the defaults."""
    entries = read_policy_file(workload.place.file, text).entries
    return any(key in entry.own for entry in entries if entry.name == workload.name)


# -- freezes ------------------------------------------------------------------------------------------


def _freeze(request: Request, texts: Mapping[str, str], folder: str) -> tuple[FileEdit, ...] | Nothing:
    if request.file is None:
        for file in _freeze_files(texts):
            return _frozen(request, texts[file], file)
        file = f"{folder}/{FREEZE_FILE}"
        return (FileEdit(file, None, set_key(_NEW_FREEZE, ("freeze",), _stop(request), file)),)
    before = texts[request.file]
    if any(entry.freeze is not None for entry in read_policy_file(request.file, before).entries):
        return _frozen(request, before, request.file)
    return (FileEdit(request.file, before, set_key(before, ("freeze",), _stop(request), request.file)),)


def _frozen(request: Request, text: str, file: str) -> Nothing:
    """For what is frozen already; it is no error only where it says the same. Raises ActionError."""
    try:
        same = set_key(text, ("freeze",), _stop(request), file) == text
    except ManifestError:
        same = False
    if not same:
        raise ActionError(reason("action/frozen", place=file))
    return Nothing(reason("action/frozen-already", place=file))


def _thaw(request: Request, texts: Mapping[str, str], folder: str) -> tuple[FileEdit, ...] | Nothing:
    if request.file is None:
        gone = tuple(FileEdit(file, texts[file], None) for file in _freeze_files(texts))
        return gone or Nothing(reason("action/not-frozen", place=f"{folder}/{FREEZE_FILE}"))
    before = texts[request.file]
    after = delete_key(before, ("freeze",), request.file)
    if after == before:
        return Nothing(reason("action/not-frozen", place=request.file))
    return (FileEdit(request.file, before, after),)


def _freeze_files(texts: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(sorted(file for file in texts if file.rpartition("/")[2] in FREEZE))


# -- what the policies say afterwards -----------------------------------------------------------------


def _refuse_worse(before: PolicySet, after: PolicySet) -> None:
    """Raises ActionError where an edit brought a problem that was not there."""
    known = Counter((place.file, why.code) for place, why in before.problems)
    for place, why in after.problems:
        known[place.file, why.code] -= 1
        if known[place.file, why.code] < 0:
            raise ActionError(reason("action/breaks", problem=why.sentence))


def _sentence(request: Request) -> str:
    """What a commit that only changes policies says of itself."""
    until = "" if request.until is None else f", until {request.until.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    what = {
        "hold": "nothing is released until a person resumes it",
        "resume": "releases go on",
        "reject": "this version is never taken",
        "accept": "this version may be taken again",
        "freeze": "nothing is released until a person thaws it",
        "thaw": "releases go on",
    }[request.kind]
    if request.until is not None:
        what = "nothing is released"
    where = "" if request.file is None else f" by {request.file}"
    said = "" if not request.why else f": {request.why}"
    return f"{what}{where}{until}{said}"


# -- versions -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Move:
    """A workload's way to another version."""

    workload: Workload
    tag: str | None
    """None where all its sites are written by digest alone."""
    image: Image | None
    """What the tag stands for; None where nobody can tell and no site needs it."""
    sites: tuple[Site, ...]
    """Those that are elsewhere."""

    @property
    def target(self) -> str:
        return value_text(self.tag, None if self.image is None else self.image.digest)


def move_versions(
    request: Request, kind: str, moves: Sequence[Move], texts: Mapping[str, str], why: str
) -> Change:
    """One commit that moves workloads, of the `kind` release, rollback or promote.

    `texts` are the files of all sites, in which they were located. Raises ManifestError (`site/…`) where a
    site cannot be written exactly.
    """
    edits: dict[str, list[Edit]] = {}
    for move in moves:
        digest = None if move.image is None else move.image.digest
        for site in move.sites:
            # A site without a tag has nowhere to write one.
            tag = move.tag or "latest"
            edits.setdefault(site.file, []).append(Edit(site, tag, digest, move.workload.pin == "digest"))
    done = []
    for file, found in edits.items():
        after = rewrite(texts[file], found, PurePosixPath(file).name, located=True)
        done.append(FileEdit(file, texts[file], after))
    members = tuple(member for move in moves for member in _members(move))
    record = ReleaseRecord(kind, members, request.actor, request.why)
    return Change(record, why, tuple(done), of=tuple(move.workload for move in moves))


def _members(move: Move) -> Iterator[Member]:
    """A block for each version that sites come from, so that each claim is exactly true."""
    for before in dict.fromkeys(value_text(site.tag, site.digest) for site in move.sites):
        sites = tuple(s.label for s in move.sites if value_text(s.tag, s.digest) == before)
        image = move.image
        yield Member(
            workload=move.workload.name,
            image=str(move.workload.repository),
            before=before,
            after=move.target,
            sites=sites,
            built=None if image is None else image.built,
            source=None if image is None else source_link(image.source, image.revision),
            policy=move.workload.place.file,
        )
