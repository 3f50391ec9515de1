"""Release records: what a release commit claims about itself, as trailers, written and read back.

Format 1 (DESIGN section 7): `Release-Format` begins a record, `Release-Workload` begins the block of
one member. Reading is made for what squash merges leave of a message: the lines may stand anywhere,
indented, bulleted, quoted, joined or wrapped. A record is a *claim*; `core.history` checks it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from automator.core.reference import DIGEST, TAG

FORMAT = 1
KINDS = ("release", "rollback", "hold", "resume", "reject", "accept", "freeze", "thaw", "promote")
TRAILER_LINE = re.compile(r"[\s>*+\-•|]*(Release-[A-Za-z][A-Za-z0-9-]*):(.*)", re.IGNORECASE | re.DOTALL)
"""A line that is read as a trailer: name and value."""


FIRST_COMMIT = datetime(2005, 4, 7, tzinfo=UTC)
"""When Git's own was made. What calls itself older was dated by a reproducible build (1970, 1980), by a clock
that was never set, or by anybody: its time is not known."""
MESSAGE_READ = 1 << 20
"""Characters of a message that are read; one of a group of a thousand workloads is shorter."""
VALUE_READ = 4096
"""Characters of a value that are read; the rest is cut off."""


@dataclass(frozen=True, slots=True)
class Member:
    """One workload's part of a record. Empty text and None are not written."""

    workload: str
    image: str = ""
    """Image repository: `ghcr.io/acme/web`."""
    before: str = ""
    """Version, as `reference.value_text` spells it: `1.4.2`, `1.4.2@sha256:…`, `@sha256:…`."""
    after: str = ""
    sites: tuple[str, ...] = ()
    """Labels: `apps/shop/web.yaml#spec.template.spec.containers[app].image`."""
    built: datetime | None = None
    """UTC, whole seconds."""
    source: str | None = None
    policy: str | None = None
    """Path of the policy file."""
    source_time: datetime | None = None
    """When the commit that `source` names was made, as its forge says; UTC, whole seconds."""


@dataclass(frozen=True, slots=True)
class ReleaseRecord:
    """What a commit says about itself."""

    kind: str
    """One of KINDS."""
    members: tuple[Member, ...] = ()
    actor: str | None = None
    """The person who asked for it, where one did."""
    reason: str | None = None
    refs: tuple[str, ...] = ()
    """Pull requests and issues: `#12`, `ABC-123`."""
    unknown: tuple[tuple[str, str], ...] = ()
    """Trailers `Release-…` of format 1 that this version does not know, kept as they are."""
    format: int = FORMAT


def trailers(record: ReleaseRecord) -> str:
    """The record as lines, without a final line end; `parse` gives the equal record back.

    Every value fits its line, and is read back up to VALUE_READ characters: text that could not be read
    back as it stands, or that a forge could take for a reference, a mention or a command, is written as a
    JSON string.

    Raises ValueError for a kind or a format that cannot be read back.
    """
    if record.kind not in KINDS or record.format != FORMAT:
        raise ValueError(f"no such kind or format of record: {record.kind!r}, {record.format!r}")
    return "\n".join(f"Release-{name}: {value}" for name, value in _lines(record))


def parse(message: str) -> ReleaseRecord | None:
    """The last record of a commit message; None where it has none that this version understands."""
    records = parse_all(message)
    return records[-1] if records else None


def parse_all(message: str) -> tuple[ReleaseRecord, ...]:
    """Every record of a commit message, in its order. Never raises.

    A squash of several releases carries several. Records of another format or kind are left out.
    """
    groups: list[list[tuple[str, str]]] = []
    for name, value in _trailers(message):
        if name == "Format":
            groups.append([])
        if groups:  # a block whose beginning got lost claims nothing
            groups[-1].append((name, value))
    found = (_record(group) for group in groups)
    return tuple(record for record in found if record is not None)


def newer_members(message: str) -> tuple[Member, ...]:
    """The members of a message's last record as far as they are understood, where one has a format beyond
    ours; none where none has. Never raises.

    Only for what withholds: what a person refused stays refused, whichever automator proposed it.
    """
    if newer_format(message) is None:
        return ()
    last: list[list[tuple[str, str]]] = []
    for name, value in _trailers(message):
        if name == "Format":
            last = []
        elif name == "Workload":
            last.append([(name, value)])
        elif last and name in _MEMBER_NAMES:
            last[-1].append((name, value))
    return tuple(map(_member, last))


def newer_format(message: str) -> int | None:
    """The highest format beyond ours that a message's records name; None where it names none. Never raises.

    Such a record is no claim here: its commit counts as somebody's, and that may only keep versions back.
    """
    named = (value for name, value in _trailers(message) if name == "Format" and _NUMBER.fullmatch(value))
    return max((number for number in map(int, named) if number > FORMAT), default=None)


# -- writing -------------------------------------------------------------------------------------

_SPLITTING = re.compile(r"(release)-(?=[a-z][a-z0-9-]*:)", re.IGNORECASE | re.ASCII)
_VERSION = re.compile(rf"(?:{TAG.pattern})(?:@(?:{DIGEST.pattern}))?", re.ASCII)
_SITE = re.compile(r"[^#@\[\"][^#@\[]*(?<! )#(?:[^#@\[\]0-9][^#@\[\]]*)?(?:(?<! )\[[^#@\[\]]*\][^#@\[\]]*)*")
_CI_COMMAND = re.compile(r"(?i)skip|no.?ci")
_REF = re.compile(r"[^\s,\"]+")
_NUMBER = re.compile(r"[0-9]{1,6}")
_PROMPTS = {"#": "\\u0023", "@": "\\u0040", "[": "\\u005b", "\x7f": "\\u007f"}


def _lines(record: ReleaseRecord) -> Iterator[tuple[str, str]]:
    yield "Format", str(record.format)
    yield "Kind", record.kind
    if record.actor is not None:
        yield "Actor", _free(record.actor)
    if record.reason is not None:
        yield "Reason", _free(record.reason)
    plain = [ref for ref in record.refs if _REF.fullmatch(ref) and _fits(ref)]
    if record.refs and len(plain) == len(record.refs):
        yield "Refs", ", ".join(plain)
    else:
        yield from (("Refs", _quoted(ref)) for ref in record.refs)
    for member in record.members:
        yield from _member_lines(member)
    for name, value in record.unknown:
        short = _short(name)
        if TRAILER_LINE.fullmatch(f"{name}:") and short not in _RECORD_NAMES | _MEMBER_NAMES:
            yield short, _free(value)


def _member_lines(member: Member) -> Iterator[tuple[str, str]]:
    yield "Workload", _bound(member.workload)
    if member.image:
        yield "Image", _bound(member.image)
    if member.before:
        yield "From", _version(member.before)
    if member.after:
        yield "To", _version(member.after)
    for site in member.sites:
        yield "Site", _site(site)
    if member.built is not None:
        yield "Built", _timestamp(member.built)
    if member.source is not None:
        yield "Source", _bound(member.source)
    if member.source_time is not None:
        yield "Source-Time", _timestamp(member.source_time)
    if member.policy is not None:
        yield "Policy", _bound(member.policy)


def _timestamp(moment: datetime) -> str:
    return f"{_utc(moment).replace(tzinfo=None).isoformat()}Z"


def _fits(text: str) -> bool:
    """Whether a line gives the text back as it stands."""
    return bool(text) and text.isprintable() and text == text.strip() and not _SPLITTING.search(text)


def _free(text: str) -> str:
    """Text of a person, who may well mean to name an issue."""
    return text if _fits(text) and not text.startswith('"') else _quoted(text)


def _bound(text: str) -> str:
    """Text from a registry or a file, which may not."""
    return text if _fits(text) and not any(c in text for c in '#@["') else _quoted(text)


def _version(text: str) -> str:
    if text.startswith("@") and DIGEST.fullmatch(text[1:]):
        return text[1:]  # `@sha256` by itself would be a mention
    return text if _VERSION.fullmatch(text) and _fits(text) else _quoted(text)


def _site(text: str) -> str:
    safe = _SITE.fullmatch(text) and not _CI_COMMAND.search(text.partition("#")[2])
    return text if safe and _fits(text) else _quoted(text)


def _quoted(text: str) -> str:
    encoded = "".join(_PROMPTS.get(c, c) for c in json.dumps(text))
    return _SPLITTING.sub(r"\1\\u002d", encoded)


# -- reading -------------------------------------------------------------------------------------

_JOINED = re.compile(r"(?<=\s)(?=Release-[A-Za-z][A-Za-z0-9-]*:(?:\s|$))", re.IGNORECASE)
_OTHER_LINE = re.compile(r"\s*(?:[*(#]|---|[A-Za-z0-9-]+:(?:\s|$))")
_RECORD_NAMES = frozenset({"Format", "Kind", "Actor", "Reason", "Refs"})
_MEMBER_NAMES = frozenset(
    {"Workload", "Image", "From", "To", "Site", "Built", "Source", "Source-Time", "Policy"}
)
_CANONICAL = {name.lower(): name for name in _RECORD_NAMES | _MEMBER_NAMES}


def _short(name: str) -> str:
    bare = name[len("Release-") :]
    return _CANONICAL.get(bare.lower(), bare)


def _trailers(message: str) -> Iterator[tuple[str, str]]:
    """Trailers in order: name without `Release-`, value decoded, empty ones left out."""
    open_trailer: _Trailer | None = None
    for line in [*re.split(r"\r\n|\r|\n", message[:MESSAGE_READ]), ""]:
        first = TRAILER_LINE.match(line)
        if first is None:
            if open_trailer is not None and open_trailer.goes_on_with(line):
                open_trailer.add(line.strip(" >|"))
            elif open_trailer is not None:
                yield from _decoded(open_trailer.name, open_trailer.value)
                open_trailer = None
            continue
        for found in (first,) if "release-" not in first[2].lower() else _joined(line):
            if open_trailer is not None:
                yield from _decoded(open_trailer.name, open_trailer.value)
            open_trailer = _Trailer(_short(found[1]), found[2])


def _joined(line: str) -> Iterator[re.Match[str]]:
    """The trailers of a line to which a tool has joined several."""
    return filter(None, map(TRAILER_LINE.match, _JOINED.split(line)))


class _Trailer:
    """A trailer whose lines are gathered. What a line costs does not grow with those before it."""

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self._pieces: list[str] = []
        self._size = 0
        self._is_quote_open = False
        self._may_close = True
        self.add(text)

    @property
    def value(self) -> str:
        return " ".join(self._pieces)[:VALUE_READ]

    def add(self, text: str) -> None:
        """Take the text of one more line."""
        text = text.strip()
        if not text or self._size >= VALUE_READ:
            return
        if not self._pieces:
            self._is_quote_open = text.startswith('"')
        self._pieces.append(text)
        self._size += len(text) + 1
        is_opening = len(self._pieces) == 1 and len(text) == 1
        if self._is_quote_open and self._may_close and _ends_quote(text) and not is_opening:
            self._is_quote_open = _unquoted(self.value) is None
            self._may_close = False  # what comes after a quote that ends it makes it no better

    def goes_on_with(self, line: str) -> bool:
        """Whether a tool that wraps lines broke this trailer here. We never write an empty value."""
        if not line.strip(" >|\t") or _OTHER_LINE.match(line):
            return False
        return not self._pieces or self._is_quote_open or self.name == "Reason"


def _ends_quote(text: str) -> bool:
    body = text[:-1]
    return text.endswith('"') and (len(body) - len(body.rstrip("\\"))) % 2 == 0


def _decoded(name: str, value: str) -> Iterator[tuple[str, str]]:
    if not value:
        return
    text = _unquoted(value)
    if text is None and name == "Refs":
        yield from ((name, ref) for part in value.split(",") if (ref := part.strip()))
    elif text is None and name in ("From", "To") and DIGEST.fullmatch(value):
        yield name, f"@{value}"
    else:
        yield name, value if text is None else text


def _unquoted(value: str) -> str | None:
    if not value.startswith('"'):
        return None
    try:
        text = json.loads(value)
    except ValueError:
        return None
    # Half a surrogate pair, which JSON lets through, is no text: nothing could write it out again.
    return text.encode("utf-8", "replace").decode() if isinstance(text, str) else None


def _record(group: list[tuple[str, str]]) -> ReleaseRecord | None:
    """The record of one group of trailers. A name that comes twice counts once: the first time."""
    once: dict[str, str] = {}
    refs: list[str] = []
    unknown: list[tuple[str, str]] = []
    blocks: list[list[tuple[str, str]]] = []
    for name, value in group:
        if name == "Refs":
            refs.append(value)
        elif name in _RECORD_NAMES:
            once.setdefault(name, value)
        elif name == "Workload":
            blocks.append([(name, value)])
        elif name not in _MEMBER_NAMES:
            unknown.append((f"Release-{name}", value))
        elif blocks:
            blocks[-1].append((name, value))
    kind = once.get("Kind", "")
    if once.get("Format") != str(FORMAT) or kind not in KINDS:
        return None
    members = tuple(_member(block) for block in blocks)
    return ReleaseRecord(kind, members, once.get("Actor"), once.get("Reason"), tuple(refs), tuple(unknown))


def _member(block: list[tuple[str, str]]) -> Member:
    once: dict[str, str] = {}
    for name, value in block:
        once.setdefault(name, value)
    return Member(
        workload=once["Workload"],
        image=once.get("Image", ""),
        before=once.get("From", ""),
        after=once.get("To", ""),
        sites=tuple(value for name, value in block if name == "Site"),
        built=_moment(once.get("Built", "")),
        source=once.get("Source"),
        policy=once.get("Policy"),
        source_time=_moment(once.get("Source-Time", "")),
    )


def _moment(text: str) -> datetime | None:
    try:
        return _utc(datetime.fromisoformat(text))
    except (ValueError, OverflowError):
        return None


def _utc(moment: datetime) -> datetime:
    whole = moment.replace(microsecond=0)
    return whole.replace(tzinfo=UTC) if whole.tzinfo is None else whole.astimezone(UTC)
