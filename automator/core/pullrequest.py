"""Pull requests of ours: the branch they are on, what they tell their reader, and what is read back.

Everything from registries, files and forges passes `code`: it is shown as it is, and nothing of it is
Markdown, a mention, a reference or a command. The text ends with the trailers of the commit, so that a
squash keeps them, and is bounded: what does not fit is left out, the trailers last.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import NamedTuple

from automator.core.decide import Release
from automator.core.explain import Verdict
from automator.core.facts import Declined
from automator.core.forge import CommitStatus, PullRequest
from automator.core.record import TRAILER_LINE, Member, ReleaseRecord, newer_members, parse, parse_all
from automator.core.reference import Image, short_text
from automator.core.release import harmless, source_link
from automator.reasons import Reason, Status, one_line

BODY_LIMIT = 30_000
"""Characters: Bitbucket takes 32,768, GitHub 65,536, GitLab a million."""
TITLE_LIMIT = 200
SKIPPED = 12
"""Tags that a pull request tells to have passed over, at most."""
STATUS = "automator"
"""Context of the commit status on its head."""
STATUS_OF_CHECK = "automator/check"
"""Context of the status that `check` writes: another one, or each would undo the other's word."""
STATUS_LIMIT = 140
"""Characters of a status: GitHub's limit."""
AUTOMERGES = "The policy says `automerge`: once its checks pass, the forge merges this, where it can."
"""The line by which it is known, whatever else was lost, that the forge may have been told so by us."""
MOVES = ("release", "rollback", "promote")
"""Kinds of records that move workloads to other versions."""
FORCED = "forced past "
"""Begins the reason of what a person forced."""
_STAYS = (
    "A person asked for this: automator brings nothing else here until it is merged or closed, or until the "
    "branch has moved on."
)
CLOSED = "Closed-By-Automator:"
"""Begins the line that we write before we close a pull request: such a close refuses no version."""

# -- branches ------------------------------------------------------------------------------------------

_PLAIN = re.compile(r"(?!.*(?:\.\.|\.lock\Z|\.\Z))[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)
_KINDS = ("group-", "change-", "workload-")
CHANGE = "change-"


def head_of_workload(prefix: str, name: str) -> str:
    """The branch of a workload's pull request; no other workload, group or change has it."""
    return prefix + ("workload-" if name.startswith(_KINDS) else "") + _part(name)


def head_of_group(prefix: str, name: str) -> str:
    """The branch of a group's pull request."""
    return f"{prefix}group-{_part(name)}"


def head_of_change(prefix: str, name: str, message: str, paths: Iterable[str]) -> str:
    """The branch of a change that a person asked for; the same one when it is asked for again, whoever asks,
    with whichever words and until whenever."""
    content = "\0".join((*subject_of(message), *sorted(paths)))
    return f"{prefix}{CHANGE}{_part(name)}-{_digits(content)}"


def subject_of(message: str) -> tuple[str, ...]:
    """What a change is about: what is asked of which workload, and for a list of versions, of which one."""
    record = parse(message)
    if record is None:
        return (message,)
    of_version = record.kind in ("accept", "reject")
    return (record.kind, *(f"{m.workload} {m.after}" if of_version else m.workload for m in record.members))


def _part(name: str) -> str:
    """A name as it may stand in a ref; names that may not get digits after a `+`, which no other name has."""
    if _PLAIN.fullmatch(name):
        return name
    safe = re.sub(r"[^A-Za-z0-9_-]+", "-", name)[:60].strip("-") or "x"
    return f"{safe}+{_digits(name)}"


def _digits(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:10]


# -- what it proposes ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Told:
    """What one release of a pull request tells beside itself."""

    release: Release
    skipped: tuple[Verdict, ...] = ()
    """What became of the tags above the current one, newest first."""
    before: Image | None = None
    """What the current version is, where it is remembered."""
    compare: str | None = None
    """Page that compares the sources of both versions."""


def goal_of(releases: Iterable[Release]) -> tuple[str, ...]:
    """What a pull request brings, as trailers say it: `web ghcr.io/acme/web 1.4.3@sha256:…`."""
    return tuple(sorted(f"{r.workload.name} {r.workload.repository} {r.target}" for r in releases))


def goal_in(message: str) -> tuple[str, ...]:
    """The same, read from a commit's message or a pull request's text; empty where it has no record."""
    members = (member for record in parse_all(message) for member in record.members)
    return tuple(sorted({f"{m.workload} {m.image} {m.after}" for m in members if m.image and m.after}))


class Asked(NamedTuple):
    """That a person asked for what a pull request brings: it rolls on to nothing else."""

    actor: str
    kind: str
    is_forced: bool
    moves: tuple[tuple[str, str], ...]
    """Workload, and a version that it is moved from."""

    @property
    def goes_past(self) -> bool:
        """Whether it waits for no freeze, hold or window."""
        return self.is_forced or self.kind == "rollback"

    def is_overtaken(self, present: Mapping[str, Collection[str]]) -> bool:
        """Whether a workload is at none of the versions any more that it was to be moved from. `present` has
        the versions of workloads, of those that are known."""
        for name in present.keys() & {name for name, _ in self.moves}:
            if not {before for of, before in self.moves if of == name} & set(present[name]):
                return True
        return False


def asked_in(message: str) -> Asked | None:
    """Who asked for a commit of ours; None where nobody did."""
    record = parse(message)
    if record is None or record.actor is None:
        return None
    moves = tuple((member.workload, member.before) for member in record.members)
    return Asked(record.actor, record.kind, (record.reason or "").startswith(FORCED), moves)


def versions_in(goal: Iterable[str]) -> str:
    """The versions of a goal, for people."""
    return ", ".join(dict.fromkeys(short_text(each.rpartition(" ")[2]) or "" for each in goal))


def title_of(message: str) -> str:
    """The subject of a commit as a title."""
    return one_line(message.partition("\n")[0], TITLE_LIMIT)


def body_of(
    told: Sequence[Told], message: str, *, why: str, limit: int = BODY_LIMIT, automerges: bool = False
) -> str:
    """The text of a pull request for one workload or group; `message` is that of its commit."""
    trailers = _fitting([line for line in message.split("\n") if TRAILER_LINE.match(line)], limit - 4000)
    merging = ("", AUTOMERGES) if automerges else ()
    ending = ("", *_advice(told), *merging, "", trailers)
    room = limit - sum(len(line) + 1 for line in ending)
    lines: list[str] = []
    for block in _blocks(told, why):
        size = sum(len(line) + 1 for line in block)
        if size > room:
            lines += ["", "…"]
            break
        lines += block
        room -= size
    return "\n".join((*lines, *ending)).strip("\n") + "\n"


def body_of_request(message: str, asked: Asked | None, *, limit: int = BODY_LIMIT) -> str:
    """The text of a pull request for what a person asked for; `message` is that of its commit."""
    lines = message.partition("\n")[2].strip("\n").split("\n")
    trailers = _fitting([line for line in lines if TRAILER_LINE.match(line)], limit - 4000)
    words = "\n".join(line for line in lines if not TRAILER_LINE.match(line)).strip("\n")
    rolls = asked is not None and asked.kind in MOVES
    advice = f"\n\n{_STAYS}" if rolls else ""
    room = limit - len(trailers) - len(advice) - 10
    return f"{words[: max(room, 0)]}{advice}\n\n{trailers}\n"


def says_automerge(body: str) -> bool:
    """Whether a text of ours says that the forge is told to merge."""
    return AUTOMERGES in body.splitlines()


_NEEDED = ("release-format:", "release-kind:", "release-workload:", "release-image:", "release-to:")


def _fitting(lines: Sequence[str], room: int) -> str:
    """Trailers; where they are too many, those that say which versions a pull request brings, by which its
    refusal is known: the commit has them all."""
    needed = [line for line in lines if line.lower().startswith(_NEEDED)]
    with_policy = [line for line in lines if line.lower().startswith((*_NEEDED, "release-policy:"))]
    for some in (lines, with_policy, needed):
        text = "\n".join(some)
        if len(text) <= room - (room // 2 if some is lines else 0):
            return text
    return "The commit says the rest: this text has no room for its trailers."


def _blocks(told: Sequence[Told], why: str) -> Iterator[list[str]]:
    """Parts of the text that stand or fall by themselves."""
    for i, one in enumerate(told):
        yield [*([""] if i else []), *_facts(one, why if i == 0 else "")]
    for one in told:
        if rows := _skipped(one):
            yield ["", f"Tags of {code(str(one.release.workload.listed))} that were passed over:", "", *rows]


def _facts(one: Told, why: str) -> list[str]:
    release, image = one.release, one.release.image
    workload = release.workload
    before, after = shown_step(release)
    rows = [
        ("image", code(str(workload.repository))),
        ("version", f"{code(before)} → {code(after)}" + (" (down)" if release.down else "")),
        ("digest", code(image.digest)),
        ("built", "unknown" if image.built is None else f"{image.built.astimezone(UTC):%Y-%m-%d %H:%M} UTC"),
        ("source", _source(one)),
        ("signature", _signature(release)),
        ("rule", f"{code(why or workload.rule.text)} ({code(workload.place.file)})"),
        *(("places", f"{code(site.file)} {code(site.field)}") for site in release.sites[:20]),
    ]
    if len(release.sites) > 20:
        rows.append(("places", f"and {len(release.sites) - 20} more"))
    if workload.owner is not None:
        rows.append(("owner", code(workload.owner)))
    if workload.environment is not None:
        rows.append(("environment", code(workload.environment)))
    if release.is_urgent and workload.urgent is not None:
        rows.append(("urgent", code(workload.urgent.reason)))
    head = [f"| {code(workload.name)} | |", "|---|---|"]
    return [*head, *(f"| {name} | {value} |" for name, value in rows)]


def _source(one: Told) -> str:
    image = one.release.image
    link = source_link(image.source, image.revision)
    if link is None:
        return "unknown"
    words = f"[source]({_bare_link(link)})"
    if image.revision:
        words = f"{code(image.revision[:12])} {words}"
    return words if one.compare is None else f"{words}, [compare]({_bare_link(one.compare)})"


def _bare_link(link: str) -> str:
    """An https link as Markdown takes it between parentheses."""
    return link.replace("(", "%28").replace(")", "%29")


def compared(before: Image | None, after: Image) -> tuple[str, str, str] | None:
    """Source and both revisions where two images say that they were built from one source."""
    if before is None or before.revision is None or after.revision is None:
        return None
    links = {source_link(image.source, None) for image in (before, after)}
    plain = all(re.fullmatch(r"[0-9a-f]{7,64}", r) for r in (before.revision, after.revision))
    (link, *others) = links
    if link is None or others or not plain or before.revision == after.revision:
        return None
    return link, before.revision, after.revision


def _signature(release: Release) -> str:
    wanted = release.workload.guards.signed_by
    if not wanted:
        return "none was asked for"
    return "verified: " + ", ".join(" or ".join(code(name) for name in any_of) for any_of in wanted)


_BELOW = frozenset({"tag/lower", "tag/older", "tag/chosen", "tag/current"})


def _skipped(one: Told) -> list[str]:
    """Those that lost against the chosen one by themselves need no word."""
    passed = [v for v in one.skipped if not v.kept and v.reason.code not in _BELOW]
    rows = [f"| {code(v.tag)} | {code(v.reason.sentence)} |" for v in passed[:SKIPPED]]
    if len(passed) > SKIPPED:
        rows.append(f"| … | and {len(passed) - SKIPPED} more: `automator explain` has them all |")
    return ["| tag | why |", "|---|---|", *rows] if rows else []


def above_current(verdicts: Sequence[Verdict]) -> tuple[Verdict, ...]:
    """The verdicts on tags above the current one, from a list that is newest first."""
    at = next((i for i, v in enumerate(verdicts) if v.reason.code == "tag/current"), len(verdicts))
    return tuple(verdicts[:at])


def _advice(told: Sequence[Told]) -> tuple[str, ...]:
    names = " and ".join(code(one.release.workload.name) for one in told[:5])
    tag = told[0].release.tag if told else ""
    return (
        f"Merge this to release {names}{' and more' if len(told) > 5 else ''}. Close it to refuse: this "
        "version, and what lies between, are not proposed again until a newer one exists, or until somebody "
        f"adds {code(tag)} to `accept` in the policy. A newer version takes this one's place here.",
        "",
        "This text and this branch are automator's: the text is written anew with the next version, and a "
        "commit of somebody else on the branch stops automator from touching it.",
    )


def shown_step(release: Release) -> tuple[str, str]:
    """Versions before and after as people tell them apart: by digest where the tag stays the same."""
    tag, _, digest = release.current.partition("@")
    if tag != release.tag:
        return short_text(release.current) or "no version", release.tag
    return short_text(f"@{digest}") or tag, short_text(f"@{release.image.digest}") or release.tag


# -- Markdown ------------------------------------------------------------------------------------------


_CELL = str.maketrans({"`": "'", "|": "\\|", "\\": "＼"})  # noqa: RUF001 - a backslash would undo the bar's


def code(text: object, limit: int = 300) -> str:
    """Untrusted text in a code span of a table's cell, where it is shown as it is: no emphasis, link, HTML,
    mention or reference comes of it."""
    plain = harmless(text, limit).translate(_CELL)
    return f"`{plain}`" if plain else "(none)"


# -- what is read back ---------------------------------------------------------------------------------


def was_closed_by_us(pull: PullRequest) -> bool:
    """Whether its text says that we closed it ourselves."""
    return any(line.startswith(CLOSED) for line in pull.body.splitlines())


def closing(body: str, why: str) -> str:
    """The text of a pull request that we are about to close."""
    return f"{body.rstrip()[: BODY_LIMIT - 400]}\n\n{CLOSED} {code(why)}\n"


def declined_by(pull: PullRequest, message: str = "") -> tuple[tuple[str, Declined], ...]:
    """The versions, by workload, that a person refused with this pull request: those of its commit's
    `message`, or of its text where that is not known."""
    if pull.state != "closed" or was_closed_by_us(pull):
        return ()
    record = parse(message) or parse(pull.body)
    if record is not None and record.kind == "rollback" and record.actor is not None:
        return ()  # who does not want to go back says nothing against the version before
    # What a newer automator proposed was refused as well, as far as its text is understood.
    members = record.members if record is not None else newer_members(message) or newer_members(pull.body)
    return tuple((m.workload, _declined(m, pull)) for m in members if m.image and m.after)


def _declined(member: Member, pull: PullRequest) -> Declined:
    tag, _, digest = member.after.partition("@")
    at = pull.closed_at
    return Declined(member.image, tag, digest or None, member.built, pull.number, pull.url, at)


# -- whose commit it is --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FileEdit:
    """One file that a commit changes, with both texts; None where it is not there, or no text."""

    path: str
    before: str | None
    after: str | None


def does_as_it_says(message: str, edits: Sequence[FileEdit]) -> bool:
    """Whether a commit does what its trailers claim and nothing else: in each file as many places as it
    names, where one version stands instead of the other."""
    record = parse(message)
    if record is None or not edits:
        return False
    sites = [site for member in record.members for site in member.sites]
    places = [sum(site.startswith(f"{edit.path}#") for site in sites) for edit in edits]
    if 0 in places or sum(places) != len(sites):
        return False
    signs = _signs(record)
    return all(_only_versions(edit, count, signs) for edit, count in zip(edits, places, strict=True))


_DIGEST_KEYS = 3
"""Lines that one place may take: name, tag and digest in keys of their own."""


_DIGEST_TEXT = re.compile(r"[\"']|@?sha(?:256|512):[0-9a-f]+")


def _signs(record: ReleaseRecord) -> re.Pattern[str]:
    """Every text that a release puts in, or takes out."""
    found: set[str] = set()
    for member in record.members:
        for version in (member.before, member.after):
            tag, _, digest = version.partition("@")
            found.update(filter(None, (tag, f"@{digest}" if digest else "", digest)))
    return re.compile("|".join(map(re.escape, sorted(found, key=len, reverse=True))) or r"(?!)")


def _only_versions(edit: FileEdit, places: int, signs: re.Pattern[str]) -> bool:
    if edit.before is None or edit.after is None:
        return False
    before, after = edit.before.split("\n"), edit.after.split("\n")
    if len(before) != len(after):
        return False
    changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    if not 0 < len(changed) <= places * _DIGEST_KEYS:
        return False
    # Beside its tag a place may have a digest in a line of its own; not a second line with a tag.
    tagged = sum(_DIGEST_TEXT.sub("", old) != _DIGEST_TEXT.sub("", new) for old, new in changed)
    if max(tagged, len(changed) - tagged) > places:
        return False
    return all(_bare(old, signs) == _bare(new, signs) and signs.search(new) for old, new in changed)


def _bare(line: str, signs: re.Pattern[str]) -> str:
    return re.sub(r"[\"']", "", signs.sub("", line))


# -- the status of its head ----------------------------------------------------------------------------


def status_of(status: Status, why: Reason) -> CommitStatus | None:
    """What a workload's outcome says of the version that is proposed; None where it says nothing: a
    registry or a forge that failed."""
    if why.code == "proposal/open":
        return None
    area = why.code.partition("/")[0]
    if status is Status.FAILED or area in ("registry", "forge", "git", "proposal", "push", "waiting"):
        return None
    if status is Status.WAITING:
        return CommitStatus(STATUS, "pending", _short(f"not yet: {why.sentence}"))
    return CommitStatus(STATUS, "failure", _short(f"no-go: {why.sentence}"))


def go(words: str, context: str = STATUS) -> CommitStatus:
    """The version may be released."""
    return CommitStatus(context, "success", _short(f"go: {words}"))


def unjudged(words: str) -> CommitStatus:
    """It is not automator's to say."""
    return CommitStatus(STATUS, "pending", _short(f"no word on it: {words}"))


def no_go(words: str, context: str = STATUS) -> CommitStatus:
    """It may not, or what the commit holds is wrong."""
    return CommitStatus(context, "failure", _short(f"no-go: {words}"))


def _short(text: str) -> str:
    return harmless(text, STATUS_LIMIT)
