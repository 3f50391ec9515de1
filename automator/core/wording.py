"""Wording: the operator's templates, rendered in a sandbox and within bounds."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment


class UnusableTemplate(ValueError):
    """A template cannot be rendered; one sentence."""


def render(template: str, context: Mapping[str, Any], limit: int) -> str:
    """The rendered text, cut soon after `limit` characters, lines kept, control characters gone.

    Raises UnusableTemplate.
    """
    try:
        size = 0
        chunks: list[str] = []
        for chunk in _compiled(template).generate(context):
            chunks.append(chunk[: limit + 1])
            size += len(chunk)
            if size > limit:
                break
    except _TEMPLATE_ERRORS as error:
        raise UnusableTemplate(str(error) or type(error).__name__) from error
    text = "".join(chunks).replace("\r\n", "\n")
    return "".join(c if c == "\n" or c.isprintable() else " " for c in text)


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False)
    environment.globals.pop("lipsum")  # random: the same record gives the same message
    environment.filters.pop("random")
    return environment


_ENVIRONMENT = _environment()
# What evaluating an operator's expression can raise.
_TEMPLATE_ERRORS = (
    TemplateError,
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
)


@lru_cache(maxsize=32)
def _compiled(template: str) -> Template:
    return _ENVIRONMENT.from_string(template)
