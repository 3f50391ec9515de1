"""Drawing: templates with what they may use. All text is escaped; what is no https address is no link."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from unicodedata import category
from urllib.parse import urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup, escape

from automator.core.delivery.words import duration
from automator.core.duration import format_age, format_duration
from automator.core.reference import short_text
from automator.edges.web.pages.asked import page_of
from automator.edges.web.pages.assets import assets
from automator.edges.web.pages.words import as_of, begun
from automator.reasons import Reason, one_line

_SOON = timedelta(seconds=1)
_TIME = re.compile(r"(?<![\w.-])(\d{4}-\d\d-\d\d(?: \d\d:\d\d(?::\d\d)?(?: UTC)?)?)(?![\w-])", re.ASCII)
"""A time as sentences have it; as a group, so that splitting keeps it."""


@cache
def _templates() -> Environment:
    """Compiled when the first page is asked for."""
    env = Environment(
        loader=PackageLoader("automator.edges.web.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    env.globals |= {"asset": lambda name: assets()[name].path, "page_of": page_of, "when": _when, "at": _at}
    env.filters |= {
        "short": short_text,
        "duration": format_duration,
        "took": duration,
        "line": one_line,
        "link": link,
        "clip": clip,
        "utc": utc,
        "day": lambda at: f"{at.astimezone(UTC):%A, %-d %B %Y}",
        "clock": lambda at: f"{at.astimezone(UTC):%H:%M}",
        "date": lambda at: f"{at.astimezone(UTC):%-d %b %Y %H:%M}",
        "ticked": ticked,
        "kept": kept,
        "now": _now,
        "begun": begun,
        "short_date": _short_date,
        "until": _until,
    }
    return env


def draw(template: str, values: Mapping[str, Any]) -> str:
    """A page. `values` has what the template names, all of it."""
    return _templates().get_template(template).render(values)


def _printable(value: object) -> object:
    """Text without characters that turn round, hide or break what stands beside them."""
    if isinstance(value, Markup) or not isinstance(value, str) or value.isprintable():
        return value
    return "".join(one if one.isprintable() else " " for one in value)


def kept(text: str) -> Markup:
    """The value of a field, character by character: what is sent back must be what there is."""
    escaped = str(escape(text))
    if escaped.isprintable():
        return Markup(escaped)  # noqa: S704 - just escaped
    parts = (c if c.isprintable() else f"&#{ord(c)};" if category(c) in _FORMATS else " " for c in escaped)
    return Markup("".join(parts))  # noqa: S704 - just escaped


_FORMATS = frozenset({"Cf", "Zs", "Zl", "Zp"})
"""Categories of characters that HTML can name, though they are not to be shown."""


# -- times -----------------------------------------------------------------------------------------------


def relative(at: datetime, now: datetime) -> str:
    """A moment as people say it: `3 hours ago`, `in 20 minutes`, `now`."""
    away = at - now
    if abs(away) < _SOON:
        return "now"
    return f"in {format_age(away)}" if away > timedelta(0) else f"{format_age(-away)} ago"


def utc(at: datetime) -> str:
    """`2026-11-20 09:30 UTC`."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


@pass_context
def _when(context: Context, at: datetime) -> Markup:
    """In words, with the exact moment for who points at it and for programs."""
    return _time(at, relative(at, context["now"]), "ago")


@pass_context
def _now(context: Context, why: Reason) -> Reason:
    """A reason whose age is that of now, and not of the cycle that found it."""
    return as_of(why, context["now"])


@pass_context
def _short_date(context: Context, at: datetime) -> str:
    """`20 Nov 09:30`, with the year where it is another one."""
    moment, now = at.astimezone(UTC), context["now"].astimezone(UTC)
    return f"{moment:%-d %b %H:%M}" if moment.year == now.year else f"{moment:%-d %b %Y %H:%M}"


@pass_context
def _until(context: Context, why: Reason) -> str:
    """When what is waited for ends: `until 20 Nov 13:00 UTC`; a soak of today tells its begin too, which is
    not that of the version."""
    assert why.changes_at is not None
    began = begun(why)
    days = {at.astimezone(UTC).date() for at in (began or why.changes_at, why.changes_at, context["now"])}
    if began is None or len(days) > 1:
        return f"until {_short_date(context, why.changes_at)} UTC"
    return f"soak {began.astimezone(UTC):%H:%M} to {why.changes_at.astimezone(UTC):%H:%M}"


@pass_context
def _at(context: Context, at: datetime) -> Markup:
    """In words and exactly."""
    return _time(at, relative(at, context["now"]), "ago") + Markup(
        ' <span class="soft exact">{}</span>'
    ).format(utc(at))


def _time(at: datetime, words: str, kind: str) -> Markup:
    moment = at.astimezone(UTC)
    return Markup('<time datetime="{}" title="{}" data-{}>{}</time>').format(
        f"{moment:%Y-%m-%dT%H:%M:%SZ}", f"{moment:%Y-%m-%d %H:%M:%S} UTC", kind, words
    )


# -- texts -----------------------------------------------------------------------------------------------


def link(address: str | None, base: str | None = None) -> str | None:
    """An address that may be a link: https without a login, or below `base`, which the operator named."""
    if not address or not address.isprintable():
        return None
    try:
        parts = urlsplit(address)
    except ValueError:
        return None
    if "@" in parts.netloc or not parts.hostname:
        return None
    if parts.scheme == "https":
        return address
    ours = None if base is None else urlsplit(base)
    same = ours is not None and (parts.scheme, parts.netloc) == (ours.scheme, ours.netloc)
    return address if same and parts.scheme == "http" else None


def clip(text: str, most: int) -> str:
    """The text, cut to so many characters."""
    return text if len(text) <= most else text[: most - 1] + "…"


def ticked(text: str) -> Markup:
    """The text, escaped; what stands between backticks is shown as code; no time is broken at a hyphen."""
    parts = text.split("`")
    if len(parts) % 2 == 0:  # one is alone: it is nothing but a character
        return _dated(text)
    shown = (
        Markup("<code>{}</code>").format(one) if number % 2 else _dated(one)
        for number, one in enumerate(parts)
    )
    return Markup("").join(shown)


def _dated(text: str) -> Markup:
    """The text, escaped, with each time of it in one piece."""
    parts = _TIME.split(text)
    shown = (
        Markup('<span class="time">{}</span>').format(one) if number % 2 else escape(one)
        for number, one in enumerate(parts)
    )
    return Markup("").join(shown)
