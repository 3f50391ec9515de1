"""Actions: what a person asks for, as new texts of files and the message of one commit.

Policy files are edited by `policyedit`, manifests by `rewrite`; both prove what they did. Which version a
workload moves to is decided elsewhere: here it is given.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import NamedTuple

from automator.core.policy import FREEZE, InvalidWorkload, PolicySet, Workload, parse_policies
from automator.core.policycompile import parse_time
from automator.core.policyedit import add_item, delete_key, remove_item, set_key
from automator.core.policyfile import read_policy_file, read_reserved_file, unknown_version
from automator.core.policykeys import FreezeFileKeys, HoldKeys
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
    at: str | None = None
    """The version that the workload must still be at: what the person saw, or the first of several tries."""
    seen: tuple[str, ...] | None = None
    """At a second try: the stops that the first one found (`standing_stops`); no other is touched."""


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
    request: Request,
    texts: Mapping[str, str],
    entries: Mapping[str, Workload | InvalidWorkload],
    folder: str,
    now: datetime,
) -> Change | Nothing:
    """The change of policy files that a request for hold, resume, reject, accept, freeze or thaw asks for.

    `texts` are all policy files by path, `entries` the workloads by name, `folder` is where policies
    live. For accept, all members of a group that moves to one version are named by the request's one.

    Raises ActionError (`action/…`), and ManifestError (`edit/…`, `yaml/…`) with the line that a person
    would write, where it cannot be done exactly, where the policies would not compile as before, or where a
    file is of a version that is not known here.
    """
    if request.kind in ("freeze", "thaw"):
        thaws = request.kind == "thaw"
        _refuse_unknown(_freeze_files(texts) if request.file is None else (request.file,), texts)
        edits = (_thaw if thaws else _freeze)(request, texts, folder, now)
        named: tuple[Workload | InvalidWorkload, ...] = ()
    else:
        named = _named(request, entries)
        _refuse_unknown((entry.place.file for entry in named), texts)
        edits = _workload_edits(request, texts, named, now)
    if isinstance(edits, Nothing):
        return edits
    _refuse_unseen(request, texts, entries)
    found = {e.file: e.after for e in edits}
    after = {**texts, **{file: text for file, text in found.items() if text is not None}}
    for file in (file for file, text in found.items() if text is None):
        del after[file]
    policies = parse_policies(after)
    _refuse_worse(parse_policies(texts), policies)
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
    about = named or _frozen_by(request, entries)
    of = tuple(w for w in about if isinstance(w, Workload))
    return Change(record, _sentence(request), edits, _still_stopped(request, policies, now), of)


def standing_stops(
    request: Request, texts: Mapping[str, str], entries: Mapping[str, Workload | InvalidWorkload]
) -> tuple[str, ...]:
    """The stops that a request for hold, resume or thaw would replace or take away, as texts to compare."""
    if request.kind in ("hold", "resume"):
        entry = entries.get(request.workload)
        if isinstance(entry, Workload):
            return () if entry.hold is None else (_told(entry.hold.reason, entry.hold.until),)
        file = None if entry is None else entry.place.file
        found = () if file is None else read_policy_file(file, texts.get(file, "")).entries
        return tuple(str(e.raw["hold"]) for e in found if e.name == request.workload and "hold" in e.raw)
    if request.kind != "thaw":
        return ()
    if request.file is None:
        return tuple(texts[file] for file in _freeze_files(texts))
    hold = _freeze_in(request.file, texts.get(request.file, ""))
    return () if hold is None else (_told(hold.reason, hold.until),)


def _told(why: str, until: datetime | str | None) -> str:
    return f"{why} (until {until or 'a person removes it'})"


def _refuse_unknown(files: Iterable[str], texts: Mapping[str, str]) -> None:
    """Raises ActionError for a file of a version that is not known here: our key in it could mean nothing or
    something else there, and a stop in it is not ours to take away."""
    for file in files:
        problem = unknown_version(file, texts[file])
        if problem is not None:
            why = problem[1]
            raise ActionError(reason("action/other-format", problem=why.sentence, hint=why.next_step))


def _refuse_unseen(
    request: Request, texts: Mapping[str, str], entries: Mapping[str, Workload | InvalidWorkload]
) -> None:
    """Raises ActionError where somebody declared a stop since the person asked."""
    if request.seen is None:
        return
    for stop in standing_stops(request, texts, entries):
        if stop not in request.seen:
            what = request.workload or request.file or "the config repo"
            raise ActionError(reason("action/stopped-meanwhile", what=what, stop=one_line(stop, 200)))


def _frozen_by(
    request: Request, entries: Mapping[str, Workload | InvalidWorkload]
) -> tuple[Workload | InvalidWorkload, ...]:
    """The workloads that a freeze is about."""
    return tuple(e for e in entries.values() if request.file is None or e.place.file == request.file)


def _still_stopped(request: Request, policies: PolicySet, now: datetime) -> tuple[Reason, ...]:
    """What the person who takes a stop away should hear of those that stand beside it."""
    if request.kind not in ("resume", "thaw"):
        return ()
    found: dict[str, Reason] = {}
    for entry in policies.workloads:
        concerned = not request.workload or entry.name == request.workload
        if (
            not isinstance(entry, Workload)
            or not concerned
            or (request.file or "") not in ("", entry.place.file)
        ):
            continue
        stops = [*entry.freezes, *(() if entry.hold is None or not request.workload else (entry.hold,))]
        for stop in stops:
            if stop.stops(now):
                what = request.workload or request.file or "the config repo"
                place = str(stop.place)
                found[place] = reason("action/still-stopped", what=what, place=place, why=stop.reason)
    return tuple(found.values()) if request.workload or request.file else tuple(found.values())[:1]


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


_Edit = Callable[[str, Workload | InvalidWorkload, Request, datetime], str]


def _workload_edits(
    request: Request, texts: Mapping[str, str], named: Iterable[Workload | InvalidWorkload], now: datetime
) -> tuple[FileEdit, ...] | Nothing:
    edit: _Edit = {"hold": _hold, "resume": _resume, "reject": _reject, "accept": _accept}[request.kind]
    after: dict[str, str] = {}
    for entry in named:
        file = entry.place.file
        after[file] = edit(after.get(file, texts[file]), entry, request, now)
    edits = tuple(FileEdit(f, texts[f], text) for f, text in after.items() if text != texts[f])
    if edits:
        return edits
    name, version = request.workload, request.version or ""
    if request.kind == "hold":
        return Nothing(reason("action/held-already", workload=name))
    if request.kind == "resume":
        return Nothing(reason("action/not-held", workload=name))
    return Nothing(reason("action/listed-already", workload=name, version=version, key=request.kind))


def _hold(text: str, entry: Workload | InvalidWorkload, request: Request, now: datetime) -> str:
    held = entry.hold if isinstance(entry, Workload) else None
    if held is not None and held.stops(now) and _ends_before(request.until, held.until):
        until = "a person removes it" if held.until is None else _moment(held.until)
        raise ActionError(reason("action/held", workload=entry.name, why=held.reason, until=until))
    return set_key(text, (*_path(entry), "hold"), _stop(request), entry.place.file)


def _ends_before(one: datetime | None, other: datetime | None) -> bool:
    """Whether a stop ends before another one; that without an end ends last."""
    return one is not None and (other is None or one < other)


def _resume(text: str, entry: Workload | InvalidWorkload, request: Request, _now: datetime) -> str:
    after = delete_key(text, (*_path(entry), "hold"), entry.place.file)
    if after == text and isinstance(entry, Workload) and entry.hold is not None:
        why = reason("action/inherited", workload=entry.name, key="hold", place=entry.hold.place)
        raise ActionError(why)
    return after


def _stop(request: Request) -> dict[str, str | bool | int]:
    """What `hold` and `freeze` say."""
    told: dict[str, str | bool | int] = {"reason": request.why or ""}
    if request.until is not None:
        told["until"] = _moment(request.until)
    return told


def _moment(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _path(entry: Workload | InvalidWorkload) -> tuple[str, str]:
    return ("workloads", entry.name)


def _reject(text: str, entry: Workload | InvalidWorkload, request: Request, _now: datetime) -> str:
    workload, version = _version_of(entry, request)
    after = _with(text, workload, "reject", workload.rule.reject, version)
    return _without(after, workload, "accept", workload.accept, version)


def _accept(text: str, entry: Workload | InvalidWorkload, request: Request, _now: datetime) -> str:
    workload, version = _version_of(entry, request)
    if DIGEST.fullmatch(version) and workload.rule.order not in ("follow", "upstream"):
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


def unlist(text: str, workload: Workload, versions: Collection[str]) -> str:
    """The text of a workload's policy file without these versions under its `accept`. Raises ManifestError,
    and leaves what stands in the defaults of the file."""
    found = {item for version in versions for item in _naming(workload, workload.accept, version)}
    if found and _is_own(text, workload, "accept"):
        for item in sorted(found):
            text = remove_item(text, (*_path(workload), "accept"), item, workload.place.file)
    return text


def _naming(workload: Workload, listed: Sequence[str], version: str) -> tuple[str, ...]:
    names = workload.rule.names
    return tuple(item for item in listed if item == version or names((item,), version))


def _is_own(text: str, workload: Workload, key: str) -> bool:
    """Whether a key stands in the workload itself, and not in the defaults."""
    entries = read_policy_file(workload.place.file, text).entries
    return any(key in entry.own for entry in entries if entry.name == workload.name)


# -- freezes ------------------------------------------------------------------------------------------


def _freeze(
    request: Request, texts: Mapping[str, str], folder: str, now: datetime
) -> tuple[FileEdit, ...] | Nothing:
    if request.file is not None:
        return _frozen(request, texts[request.file], request.file, now)
    files = _freeze_files(texts)
    if not files:
        file = f"{folder}/{FREEZE_FILE}"
        return (FileEdit(file, None, set_key(_NEW_FREEZE, ("freeze",), _stop(request), file)),)
    standing = (file for file in files if not _has_ended(_freeze_in(file, texts[file]), now))
    file = next(standing, files[0])
    return _frozen(request, texts[file], file, now)


def _frozen(request: Request, text: str, file: str, now: datetime) -> tuple[FileEdit, ...] | Nothing:
    """The edit of a file that may be frozen already: one that has ended makes room, and the same one may
    last longer. Raises ActionError."""
    there, is_reserved = _freeze_in(file, text), file.rpartition("/")[2] in FREEZE
    try:
        after = set_key(text, ("freeze",), _stop(request), file)
    except ManifestError:
        if there is None and not is_reserved:
            raise
        after = None
    if after == text:
        return Nothing(reason("action/frozen-already", place=file))
    if there is None:
        room = not is_reserved
    else:
        longer = there.reason == request.why and not _ends_before(request.until, _end_of(there))
        room = longer or _has_ended(there, now)
    if not room or after is None:
        raise ActionError(reason("action/frozen", place=file))
    return (FileEdit(file, text, after),)


def _freeze_in(file: str, text: str) -> HoldKeys | None:
    """The freeze that a file declares; None where it has none, or none that can be read."""
    if file.rpartition("/")[2] in FREEZE:
        keys = read_reserved_file(file, text, FreezeFileKeys).keys
        return None if keys is None else keys.freeze
    return next((e.freeze for e in read_policy_file(file, text).entries if e.freeze is not None), None)


def _end_of(freeze: HoldKeys) -> datetime | None:
    return None if freeze.until is None else parse_time(freeze.until)


def _has_ended(freeze: HoldKeys | None, now: datetime) -> bool:
    end = None if freeze is None else _end_of(freeze)
    return end is not None and end <= now


def _thaw(
    request: Request, texts: Mapping[str, str], folder: str, now: datetime
) -> tuple[FileEdit, ...] | Nothing:
    if request.file is None:
        files = _freeze_files(texts)
        edits = tuple(FileEdit(file, texts[file], _thawed(file, texts[file], now)) for file in files)
        edits = tuple(edit for edit in edits if edit.after != edit.before)
        return edits or Nothing(reason("action/not-frozen", place=f"{folder}/{FREEZE_FILE}"))
    before = texts[request.file]
    after = delete_key(before, ("freeze",), request.file)
    if after == before:
        return Nothing(reason("action/not-frozen", place=request.file))
    return (FileEdit(request.file, before, after),)


def _thawed(file: str, text: str, now: datetime) -> str | None:
    """A freeze's own file, thawed: None where it goes. One in which a person wrote comments stays, with a
    freeze that has ended."""
    there = _freeze_in(file, text)
    if there is None or text.count("#") == there.reason.count("#"):
        return None
    return text if _has_ended(there, now) else set_key(text, ("freeze", "until"), _moment(now), file)


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
        "resume": "its hold is taken away",
        "reject": "this version is never taken",
        "accept": "this version may be taken again",
        "freeze": "nothing is released until a person thaws it",
        "thaw": "the freeze is taken away",
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
