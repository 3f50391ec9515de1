"""Rows of the hostile table: a text, what is asked of it, and the exact characters that come out.

A row is written once: `tag: «1.4.2→1.4.3»  # keep` says what stands before and after. `sha256:OLD` and
`sha256:NEW` stand for whole digests.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from automator import set_image

_CHANGE = re.compile("«(?P<old>[^«»→]*)→(?P<new>[^«»→]*)»")
OLD = "sha256:" + "0123456789abcdef" * 4
NEW = "sha256:" + "fedcba9876543210" * 4
WEB = "ghcr.io/acme/web"


class Row(NamedTuple):
    """One text, and what `set_image` makes of it."""

    text: str
    """With its changes marked; without any where nothing may change."""
    to: str = "1.4.3"
    image: str = WEB
    held: str = ""
    """Code of the reason why the text stays; a text without changes and code has no such image."""
    path: str = "web.yaml"
    old: str | None = None
    field: str | None = None
    layouts: bool = True
    """Whether the row holds in every layout of a file; not where the layout is what it is about."""

    @property
    def before(self) -> str:
        return _digests(_CHANGE.sub(lambda change: change["old"], self.text))

    @property
    def after(self) -> str:
        return _digests(_CHANGE.sub(lambda change: change["new"], self.text))


def _digests(text: str) -> str:
    return text.replace("sha256:OLD", OLD).replace("sha256:NEW", NEW)


def _crlf(text: str) -> str:
    return text.replace("\n", "\r\n")


def _mark(text: str) -> str:
    return "\ufeff" + text


def _unended(text: str) -> str:
    return text.removesuffix("\n")


def _longer(text: str) -> str:
    return text + "\n" * 3


LAYOUTS = {"": str, "crlf": _crlf, "bom": _mark, "unended": _unended, "longer": _longer}


def table(rows: dict[str, Row]) -> pytest.MarkDecorator:
    """Every row in every layout, as arguments `row` and `layout` of a test."""
    return pytest.mark.parametrize(("row", "layout"), list(_arguments(rows)))


def _arguments(rows: dict[str, Row]) -> Iterator[object]:
    for name, row in rows.items():
        for layout in LAYOUTS if row.layouts else [""]:
            yield pytest.param(row, layout, id=f"{name}, {layout}" if layout else name)


def check(row: Row, layout: str) -> None:
    """Fails unless exactly the expected characters, or the expected refusal, come out, once and again."""
    laid_out = LAYOUTS[layout]
    before, after = laid_out(row.before), laid_out(row.after)
    codes = [row.held] if row.held else []
    assert _set(row, before) == (after, codes)
    if before != after:
        assert _set(row, after) == (after, [])


def _set(row: Row, text: str) -> tuple[str, list[str]]:
    """The new text, and the codes of why it was left alone."""
    done = set_image(
        text, image=row.image, to=_digests(row.to), path=row.path,
        old=None if row.old is None else _digests(row.old), field=row.field,
    )  # fmt: skip
    assert done.changed == (done.text != text)
    assert all(why.sentence for why in done.held)
    return done.text, sorted({why.code for why in done.held})
