"""Wording: the operator's templates, rendered in a sandbox and within bounds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class UnusableTemplate(ValueError):
    """A template cannot be rendered; one sentence."""


def render(template: str, context: Mapping[str, Any], limit: int) -> str:
    """The rendered text, cut soon after `limit` characters, lines kept, control characters gone.

    Raises UnusableTemplate.
    """
    from automator.core.sandbox import TEMPLATE_ERRORS, chunks  # brings jinja2

    try:
        size = 0
        taken: list[str] = []
        for chunk in chunks(template, context):
            taken.append(chunk[: limit + 1])
            size += len(chunk)
            if size > limit:
                break
    except TEMPLATE_ERRORS as error:
        raise UnusableTemplate(str(error) or type(error).__name__) from error
    text = "".join(taken).replace("\r\n", "\n")
    return "".join(c if c == "\n" or c.isprintable() else " " for c in text)
