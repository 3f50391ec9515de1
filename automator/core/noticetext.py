"""The words of notices: a message of one cycle for one receiver, and the forms in which it is sent.

Whatever comes from outside (registries, forges, files, people) passes `quiet` first: on one line, cut, and
without the characters by which chats and mail make mentions, links and formats.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import quote

from automator.core.duration import format_age
from automator.core.notice import DRIFT, About, Item, Kind, counted
from automator.core.wording import UnusableTemplate, render
from automator.errors import ConfigError
from automator.reasons import one_line, reason

LINES = 40
"""Items that a message tells of; the rest is counted."""
NAMES = 5
"""Workloads that are named of what concerns many."""
TITLE_LIMIT = 150
TEXT_LIMIT = 8_000
ITEMS_LIMIT = 192 * 1024
"""Characters of the items of one message, as JSON, that programs get; the rest is counted."""
SENTENCE_LIMIT = 400
_LINK_LIMIT = 400

_LOOK_ALIKE = str.maketrans(
    {
        "#": "＃",  # noqa: RUF001 - the point of it
        "@": "＠",  # noqa: RUF001
        "[": "［",  # noqa: RUF001
        "]": "］",  # noqa: RUF001
        "<": "＜",  # noqa: RUF001
        ">": "＞",  # noqa: RUF001
        "*": "＊",  # noqa: RUF001
        "~": "～",  # noqa: RUF001
        "|": "｜",  # noqa: RUF001
        "\\": "＼",  # noqa: RUF001
        "`": "'",
    }
)
_EDGE = re.compile(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_LINK = re.compile(r"https?://[A-Za-z0-9.\-\[\]:]+/[A-Za-z0-9._~/%+=?&:;,\-]*", re.ASCII)


def quiet(text: object, limit: int = 200) -> str:
    """Untrusted text as one line in which no chat and no mail program sees a mention, a link or a format."""
    flat = one_line(text, limit).translate(_LOOK_ALIKE).replace("://", ":／／")  # noqa: RUF001
    return _EDGE.sub("＿", flat)  # noqa: RUF001


def safe_link(link: str | None) -> str | None:
    """An address of a page as it may stand in a message; None for anything else."""
    fits = link is not None and len(link) <= _LINK_LIMIT and _LINK.fullmatch(link) is not None
    return link if fits else None


class Message(NamedTuple):
    """What one receiver is told at one time."""

    id: str
    """The same for the same news, so that who gets it twice can tell."""
    at: datetime
    repo: str
    """Name of the config repo; empty for the daemon itself."""
    title: str
    text: str
    markdown: str
    is_bad: bool
    """Whether something fails."""
    items: tuple[dict[str, Any], ...]
    more: int = 0
    """Items that there are besides."""


@dataclass(frozen=True, slots=True)
class Words:
    """The operator's templates; None for the built-in words. They see `repo`, `title`, `text`, `counts` (by
    kind) and `items`, each with the keys of `shown_item` and its own `line`; all text is made harmless."""

    title: str | None = None
    text: str | None = None


def message(
    repo: str,
    items: Sequence[Item],
    now: datetime,
    *,
    salt: str,
    words: Words | None = None,
    mask: Callable[[str], str] = str,
) -> Message:
    """The message that tells of these items. `salt` tells receivers apart, `mask` takes secrets out.

    Raises ConfigError (`notify/template`) where a template cannot be rendered; without templates never.
    """
    told = items[:LINES]
    plain = [_line(item, repo, now, mask) for item in told]
    more = [f"… and {len(items) - len(told)} more"] if len(items) > len(told) else []
    title = _title(repo, items, plain)
    text, markdown = "\n".join([*plain, *more]), "\n".join(f"- {line}" for line in (*plain, *more))
    if words is not None and (words.title is not None or words.text is not None):
        seen = tuple(_seen(item, line, mask) for item, line in zip(told, plain, strict=True))
        context = _context(repo, title, text, seen, items)
        title = _rendered(words.title, context, TITLE_LIMIT) or title
        if words.text is not None:
            text = markdown = _rendered(words.text, context, TEXT_LIMIT) or text
    shown = _shown(items, mask)
    return Message(
        message_id(repo, items, salt),
        now,
        repo,
        " ".join(title.split())[:TITLE_LIMIT],
        _cut(text),
        _cut(markdown),
        any(item.kind in (Kind.FAILED, Kind.SILENT, Kind.TROUBLE, Kind.DIVERGED) for item in items),
        shown,
        len(items) - len(shown),
    )


def _shown(items: Sequence[Item], mask: Callable[[str], str]) -> tuple[dict[str, Any], ...]:
    """The first items, as many as a receiver can be expected to take at once; one at least."""
    shown: list[dict[str, Any]] = []
    room = ITEMS_LIMIT
    for item in items:
        one = shown_item(item, mask)
        room -= len(json.dumps(one))
        if room < 0 and shown:
            break
        shown.append(one)
    return tuple(shown)


def message_id(repo: str, items: Sequence[Item], salt: str) -> str:
    """The same for the same news to the same receiver, whoever tells it."""
    parts = [salt, repo, *(f"{item.kind} {item.subject} {item.key}" for item in items)]
    return hashlib.sha256("\0".join(parts).encode("utf-8", "replace")).hexdigest()[:32]


_SAMPLE = Item(
    Kind.RELEASED,
    "workload web",
    "web 4f1c",
    "1.4.2 -> 1.4.3 in 4f1c",
    "released/pushed",
    about=(About("web", "team-shop", "production"),),
    image="ghcr.io/acme/web",
    before="1.4.2",
    after="1.4.3",
    commit="4f1c",
)


def try_out(words: Words) -> None:
    """Make sure that templates work. Raises ConfigError (`notify/template`)."""
    message("shop", (_SAMPLE,), datetime(2026, 1, 1, tzinfo=UTC), salt="", words=words)


def test_message(now: datetime, *, salt: str, words: Words) -> Message:
    """What tells a receiver that it can be told. Raises ConfigError (`notify/template`)."""
    why = "this is only a test; nothing has happened"
    item = Item(
        Kind.TROUBLE, "test", f"test {now.isoformat()}", why, "", "nothing to do", turn="begun", since=now
    )
    return message("", (item,), now, salt=salt, words=words)._replace(is_bad=False)


# -- lines -------------------------------------------------------------------------------------------------


_BEGINS = {"begun": "failed", "again": "failed again", "changed": "fails otherwise", "": "failed"}


def _line(item: Item, repo: str, now: datetime, mask: Callable[[str], str]) -> str:
    name = _name(item, repo)
    sentence, step = quiet(mask(item.sentence), SENTENCE_LIMIT), quiet(mask(item.next_step), SENTENCE_LIMIT)
    age = "" if item.since is None else format_age(now - item.since)
    next_step = f" Next: {step}." if step else ""
    match item.kind:
        case Kind.RELEASED | Kind.ROLLED_BACK:
            return _moved(item, name, mask)
        case Kind.PROPOSED:
            link = safe_link(item.link)
            page = f": {link}" if link else ""
            return f"waits for you: {name} {_versions(item)}{_whose(item)} is proposed{page}"
        case Kind.FAILED:
            begin = f"still fails, for {age}" if item.turn == "still" else _BEGINS[item.turn]
            return f"{begin}: {name}{_whose(item)}: {sentence}.{next_step}"
        case Kind.SILENT:
            return f"no answer for {age}: {name}: {sentence}.{_waiting(item)}{next_step}"
        case Kind.TROUBLE:
            return f"{'test' if item.subject == 'test' else 'trouble'}: {sentence}.{next_step}"
        case Kind.DIVERGED:
            begin = f"still diverged, for {age}" if item.turn == "still" else "diverged"
            return f"{begin}: {name}{_whose(item)}: {sentence}.{next_step}"
        case Kind.RECOVERED if item.subject.startswith(f"{DRIFT} "):
            return f"runs what Git says again: {name}, was told to differ {age} ago"
        case Kind.RECOVERED if item.turn == "gone":
            return f"is no more: {name}, which failed for {age}"
        case Kind.RECOVERED:
            return f"works again: {name}, was failing for {age}"
    return f"{item.kind}: {name}{_whose(item)}: {sentence}.{next_step}"


def _name(item: Item, repo: str) -> str:
    if item.subject.startswith(f"{DRIFT} "):
        return quiet(item.subject.removeprefix(f"{DRIFT} "))
    if item.workload is not None:
        return quiet(item.workload)
    return quiet(f"{item.subject} {repo}" if item.subject == "config repo" else item.subject)


def _versions(item: Item) -> str:
    return f"{quiet(item.before or 'no version', 160)} → {quiet(item.after or '', 160)}"


def _whose(item: Item) -> str:
    about = item.about[0] if item.about else About("")
    words = [quiet(word) for word in (about.environment, about.owner) if word]
    return f" ({', '.join(words)})" if words else ""


def _moved(item: Item, name: str, mask: Callable[[str], str]) -> str:
    verb = "rolled back" if item.kind is Kind.ROLLED_BACK else "released"
    by = f" by {quiet(item.actor)}" if item.actor else ""
    link = safe_link(item.link)
    where = link or (quiet(item.commit[:12]) if item.commit else "")
    why = f", since {quiet(mask(item.why), SENTENCE_LIMIT)}" if item.why else ""
    return f"{verb}: {name} {_versions(item)}{_whose(item)}{by}{why}" + (f": {where}" if where else "")


def _waiting(item: Item) -> str:
    names = [quiet(about.workload) for about in item.about[:NAMES]]
    if not names:
        return ""
    more = len(item.about) - len(names)
    return f" Waiting for it: {', '.join(names)}{f' and {more} more' if more else ''}."


_COUNTED = {
    Kind.FAILED: "failed",
    Kind.SILENT: "without an answer",
    Kind.TROUBLE: "in trouble",
    Kind.DIVERGED: "diverged",
    Kind.RECOVERED: "working again",
    Kind.RELEASED: "released",
    Kind.ROLLED_BACK: "rolled back",
    Kind.PROPOSED: "waiting for you",
    Kind.HELD: "held",
    Kind.WAITING: "waiting",
}


def _title(repo: str, items: Sequence[Item], lines: Sequence[str]) -> str:
    where = f"{quiet(repo)}: " if repo else "automator: "
    if len(items) == 1:
        item = items[0]
        if item.kind in (Kind.RELEASED, Kind.ROLLED_BACK, Kind.PROPOSED):
            words = f"{_name(item, repo)} {quiet(item.after or '', 160)} {_COUNTED[item.kind]}"
            return where + words
        return where + one_line(lines[0].partition(". ")[0], TITLE_LIMIT - len(where))
    counts = counted(items)
    return where + ", ".join(f"{counts[kind]} {word}" for kind, word in _COUNTED.items() if kind in counts)


def _cut(text: str) -> str:
    return text if len(text) <= TEXT_LIMIT else text[:TEXT_LIMIT].rpartition("\n")[0] + "\n…"


# -- templates ---------------------------------------------------------------------------------------------


def _context(
    repo: str, title: str, text: str, seen: tuple[dict[str, str], ...], items: Sequence[Item]
) -> dict[str, Any]:
    counts = counted(items)
    return {
        "repo": quiet(repo),
        "title": title,
        "text": text,
        "counts": {kind.value: counts.get(kind, 0) for kind in Kind},
        "items": seen,
    }


def _seen(item: Item, line: str, mask: Callable[[str], str]) -> dict[str, str]:
    """An item as templates see it: all of it harmless text, without secrets."""
    seen = {
        key: quiet(value, SENTENCE_LIMIT) if isinstance(value, str) else ""
        for key, value in shown_item(item, mask).items()
    }
    return {**seen, "link": safe_link(item.link) or "", "line": line}


def _rendered(template: str | None, context: dict[str, Any], limit: int) -> str:
    if template is None:
        return ""
    try:
        return render(template, context, limit).strip()
    except UnusableTemplate as error:
        raise ConfigError(reason("notify/template", problem=str(error))) from error


# -- forms in which it is sent -----------------------------------------------------------------------------


def shown_item(item: Item, mask: Callable[[str], str] = str) -> dict[str, Any]:
    """An item as programs get it: texts on one line, as they are otherwise."""
    about = item.about[0] if item.workload is not None else About("")
    return {
        "kind": item.kind.value,
        "subject": one_line(item.subject),
        "workload": None if item.workload is None else one_line(item.workload),
        "owner": about.owner,
        "environment": about.environment,
        "workloads": [one_line(each.workload) for each in item.about[:LINES]],
        "image": item.image or None,
        "before": item.before,
        "after": item.after,
        "commit": item.commit,
        "link": safe_link(item.link),
        "actor": item.actor,
        "code": item.code,
        "sentence": one_line(mask(item.sentence), SENTENCE_LIMIT),
        "next_step": one_line(mask(item.next_step), SENTENCE_LIMIT),
        "why": None if item.why is None else one_line(mask(item.why), SENTENCE_LIMIT),
        "since": None if item.since is None else moment(item.since),
        "turn": item.turn,
    }


def moment(at: datetime) -> str:
    """A time as RFC 3339 writes it, in UTC, to the second."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def message_text(told: Message) -> str:
    """A message as it is kept until it is sent."""
    return json.dumps({**told._asdict(), "at": told.at.isoformat()}, separators=(",", ":"))


def read_message(text: str) -> Message:
    """What `message_text` wrote. Raises ValueError, KeyError or TypeError."""
    plain = json.loads(text)
    return Message(
        **{
            **plain,
            "at": datetime.fromisoformat(plain["at"]),
            "items": tuple(dict(i) for i in plain["items"]),
        }
    )


def webhook_body(told: Message) -> bytes:
    """A message as our own webhook brings it."""
    body = {
        "version": 1,
        "id": told.id,
        "at": moment(told.at),
        "repo": told.repo or None,
        "title": told.title,
        "text": told.text,
        "items": told.items,
        "more": told.more,
    }
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def cloud_event(told: Message, source: str) -> tuple[dict[str, str], dict[str, Any]]:
    """Attributes and data of the CloudEvent (specification 1.0) of a message about one item."""
    item = told.items[0]
    place = f"{source}/{quote(told.repo, safe='')}" if told.repo else source
    attributes = {
        "specversion": "1.0",
        "id": told.id,
        "source": place,
        "type": f"automator.{item['kind']}",
        "subject": str(item["subject"]),
        "time": moment(told.at),
        "datacontenttype": "application/json",
    }
    return attributes, {"repo": told.repo or None, "title": told.title, "text": told.text, **item}


def structured(told: Message, source: str) -> bytes:
    """The event in structured mode: one JSON document."""
    attributes, data = cloud_event(told, source)
    event = {**attributes, "data": data}
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def binary(told: Message, source: str) -> tuple[dict[str, str], bytes]:
    """The event in binary mode: its headers, and the data as JSON."""
    attributes, data = cloud_event(told, source)
    kind = attributes.pop("datacontenttype")
    # Section 3.1.3.2 of the HTTP binding: what is no printable ASCII, the quote and % are percent-encoded.
    safe = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')
    headers = {f"ce-{name}": quote(value, safe=safe) for name, value in attributes.items()}
    body = json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    return {**headers, "Content-Type": kind}, body
