"""Releases: the message of one commit. Subject and body may be templated, the trailers are fixed.

Everything from registries and files passes `harmless` before it may stand in a message, and no line
of the body can be read as a trailer: a commit claims only what its record says.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote, urlsplit

from automator.core.record import TRAILER_LINE, Member, ReleaseRecord, parse, parse_all, trailers
from automator.core.wording import UnusableTemplate, render
from automator.errors import ConfigError
from automator.reasons import Reason, one_line, reason

__all__ = [
    "Draft",
    "Member",
    "ReleaseRecord",
    "Templates",
    "compose",
    "compose_or_default",
    "harmless",
    "parse",
    "parse_all",
    "source_link",
]

SUBJECT_LIMIT = 72
TEMPLATED_SUBJECT_LIMIT = 200
VERSION_LIMIT = 160
"""Longer than any tag: versions are shown whole."""
BODY_LIMIT = 8_000

DEFAULT_SUBJECT = "{{ subject }}"
DEFAULT_BODY = """\
{% for member in members if member.image and kind in ["release", "rollback", "promote"] -%}
{{ member.image }} {{ member.before or "(none)" }} -> {{ member.after }}
{% endfor -%}
{{ why }}"""


@dataclass(frozen=True, slots=True)
class Draft:
    """A commit to be made: message and the new content of its files."""

    message: str
    files: tuple[tuple[str, bytes | None], ...]
    """Path -> new content; None where the file goes. Modes are kept."""


@dataclass(frozen=True, slots=True)
class Templates:
    """Jinja templates of a message's subject and body, from the daemon's config.

    They see `subject` (the default one), `kind`, `workload`, `workloads`, `image`, `before`, `after`,
    `members` (each with workload, image, before, after, source, policy, sites), `actor`, `reason`,
    `refs` and `why`, all of it text; the single values are those of the first member.
    """

    subject: str = DEFAULT_SUBJECT
    body: str = DEFAULT_BODY


def compose(record: ReleaseRecord, *, why: str, templates: Templates | None = None) -> str:
    """The commit message of a record; `why` is the sentence that tells how its version was chosen.

    `core.record.parse` gives the record back (a `source` that is no plain https link apart).

    Raises ConfigError (`release/template`) where a template cannot be rendered.
    """
    used = Templates() if templates is None else templates
    checked = replace(
        record, members=tuple(replace(m, source=source_link(m.source, None)) for m in record.members)
    )
    context = _context(checked, why)
    subject = _subject(used.subject, context)
    body = _body(used.body, context)
    return "\n\n".join(part for part in (subject, body, trailers(checked)) if part) + "\n"


def compose_or_default(
    record: ReleaseRecord, *, why: str, templates: Templates | None = None
) -> tuple[str, Reason | None]:
    """`compose`, with the default templates where the configured ones fail, and then the reason."""
    try:
        return compose(record, why=why, templates=templates), None
    except ConfigError as error:
        return compose(record, why=why), error.reason


_LOOK_ALIKE = str.maketrans({"#": "＃", "@": "＠", "[": "［"})  # noqa: RUF001 - the point of it


def harmless(text: object, limit: int = 200) -> str:
    """Untrusted text as one line in which a forge sees no issue, no mention, no link and no command:
    `#`, `@` and `[` become their full-width forms (DESIGN section 11)."""
    return one_line(text, limit).translate(_LOOK_ALIKE)


_HOST = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::[0-9]{1,5})?")
_REVISION = re.compile(r"[0-9a-f]{7,64}")
_POINTS_AT_REVISION = re.compile(r"/(?:tree|blob|commit|commits|src)/")
_LINK_LIMIT = 300


def source_link(source: str | None, revision: str | None) -> str | None:
    """Where an image's source can be read, from its labels `source` and `revision`.

    Only https, without userinfo, query and fragment; None where the label is anything else.
    """
    try:
        parts = urlsplit((source or "").strip())
        path = quote(parts.path, safe="/%-._~+:,;=!$&'()*")
        path = re.sub(r"(?:/|\.git)+\Z", "", path)
    except (ValueError, UnicodeError):
        return None
    host = parts.netloc.lower()
    if parts.scheme.lower() != "https" or not _HOST.fullmatch(host):
        return None
    link = f"https://{host}{path}"
    if path and revision and _REVISION.fullmatch(revision) and not _POINTS_AT_REVISION.search(path):
        link = f"{link}/tree/{revision}"
    return link if len(link) <= _LINK_LIMIT else None


# -- what templates see ----------------------------------------------------------------------------


def _context(record: ReleaseRecord, why: str) -> dict[str, Any]:
    members = tuple(_shown(member) for member in record.members)
    first = members[0] if members else _shown(Member(""))
    return {
        **first,
        "kind": record.kind,
        "members": members,
        "workloads": tuple(dict.fromkeys(m["workload"] for m in members)),
        "actor": harmless(record.actor or ""),
        "reason": one_line(record.reason or "", 400),
        "refs": tuple(one_line(ref) for ref in record.refs),
        "why": harmless(why, 400),
        "subject": _default_subject(record.kind, members),
    }


def _shown(member: Member) -> dict[str, Any]:
    same_tag = member.before.partition("@")[0] == member.after.partition("@")[0]
    return {
        "workload": harmless(member.workload),
        "image": harmless(member.image),
        "before": _version(member.before, with_digest=same_tag),
        "after": _version(member.after, with_digest=same_tag),
        "source": member.source or "",
        "policy": harmless(member.policy or ""),
        "sites": tuple(harmless(site) for site in member.sites),
    }


def _version(text: str, *, with_digest: bool) -> str:
    """A version for people: the tag; the digest's first 12 digits where the tag does not tell."""
    tag, _, digest = text.partition("@")
    algorithm, _, digits = digest.partition(":")
    short = f"{algorithm}:{digits[:12]}" if digest else ""
    if tag and short and with_digest:
        return harmless(f"{tag} ({short})", VERSION_LIMIT)
    return harmless(tag or short, VERSION_LIMIT)


_VERBS = {
    "release": ("Release {}", " "),
    "rollback": ("Roll back {}", " to "),
    "promote": ("Promote {}", " "),
    "reject": ("Reject {}", " "),
    "accept": ("Accept {}", " "),
    "hold": ("Hold {}", " at "),
    "resume": ("Resume {}", " at "),
    "freeze": ("Freeze {}", " at "),
    "thaw": ("Thaw {}", " at "),
}


def _default_subject(kind: str, members: tuple[Mapping[str, Any], ...]) -> str:
    """At most 72 characters, unless a version needs more: names are shortened, versions are not."""
    verb, link = _VERBS[kind]
    names = list(dict.fromkeys(m["workload"] for m in members))
    versions = list(dict.fromkeys(m["after"] for m in members if m["after"]))
    tail = f"{link}{versions[0]}" if len(versions) == 1 else ""
    if not names:
        return verb.format("releases")
    if len(versions) > 1:
        each = ", ".join(f"{m['workload']}{link}{m['after']}".rstrip() for m in members)
        full = verb.format(each)
    else:
        full = verb.format(", ".join(names)) + tail
    if len(full) <= SUBJECT_LIMIT:
        return full
    if len(names) > 1:
        return verb.format(f"{len(names)} workloads") + tail
    room = max(SUBJECT_LIMIT - len(verb.format("")) - len(tail), 12)
    return verb.format(one_line(names[0], room)) + tail


# -- rendering -------------------------------------------------------------------------------------


def _render(template: str, context: Mapping[str, Any], limit: int) -> str:
    try:
        return render(template, context, limit)
    except UnusableTemplate as error:
        raise ConfigError(_template_reason(str(error))) from error


def _template_reason(problem: str) -> Reason:
    return reason("release/template", problem=problem)


def _subject(template: str, context: Mapping[str, Any]) -> str:
    rendered = _render(template, context, TEMPLATED_SUBJECT_LIMIT)
    text = " ".join(rendered.split())
    if not text:
        raise ConfigError(_template_reason("the subject is empty"))
    if len(rendered) > TEMPLATED_SUBJECT_LIMIT:
        # Cutting could cut a version, which would then be another version.
        raise ConfigError(_template_reason(f"the subject has over {TEMPLATED_SUBJECT_LIMIT} characters"))
    return _defused(text)


def _body(template: str, context: Mapping[str, Any]) -> str:
    text = _render(template, context, BODY_LIMIT)
    if len(text) > BODY_LIMIT:
        text = text[:BODY_LIMIT].rpartition("\n")[0] + "\n…"
    lines = [_defused(line.rstrip()) for line in text.split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n")


def _defused(line: str) -> str:
    """The line, no longer readable as a trailer of ours: the hyphen is another one."""
    found = TRAILER_LINE.match(line)
    if found is None:
        return line
    at = found.start(1) + len("Release")
    return f"{line[:at]}\u2011{line[at + 1 :]}"
