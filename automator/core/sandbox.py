"""The sandbox: where templates are rendered, and what one rendering may take.

Apart from `wording`, since jinja2 is slow to load, and most of what runs renders nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sized
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateError, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

MOST_STEPS = 20_000
"""Turns of loops and calls that one rendering may take: a template must not hold up a cycle."""
MOST_WORK = 1_000_000
"""Characters and elements that one rendering may make by `*` and `range`."""


def chunks(template: str, context: Mapping[str, Any]) -> Iterator[str]:
    """The rendered text, piece by piece. Raises one of TEMPLATE_ERRORS."""
    _LEFT.set([MOST_STEPS, MOST_WORK])
    yield from _compiled(template).generate(context)


_LEFT: ContextVar[list[int]] = ContextVar("what the rendering may still do")


def _take(steps: int = 0, work: int = 0) -> None:
    left = _LEFT.get([MOST_STEPS, MOST_WORK])
    left[0] -= steps
    left[1] -= work
    if min(left) < 0:
        raise TemplateError("it takes too long")


def _counted(values: Iterable[Any]) -> Iterator[Any]:
    for value in values:
        _take(steps=1)
        yield value


def _range(*bounds: int) -> range:
    made = range(*bounds)
    _take(work=len(made))
    return made


class _Bounded(ImmutableSandboxedEnvironment):
    """Counts turns of loops and calls, and refuses what makes much out of little."""

    intercepted_binops = frozenset({"*", "**"})

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        parsed = super()._parse(source, name, filename)
        for loop in tuple(parsed.find_all(nodes.For)):
            loop.iter = nodes.Filter(loop.iter, "_counted", [], [], None, None, lineno=loop.lineno)
        return parsed

    def call(self, *arguments: Any, **named: Any) -> Any:
        _take(steps=1)
        return super().call(*arguments, **named)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator == "**":
            raise TemplateError("it uses **")
        if operator == "*":
            for many, times in ((left, right), (right, left)):
                if isinstance(many, Sized) and isinstance(times, int):
                    _take(work=len(many) * max(times, 0))
        return super().call_binop(context, operator, left, right)


def _environment() -> ImmutableSandboxedEnvironment:
    environment = _Bounded(undefined=StrictUndefined, autoescape=False)
    environment.filters["_counted"] = _counted
    environment.globals["range"] = _range
    environment.globals.pop("lipsum")  # random: the same record gives the same message
    environment.filters.pop("random")
    return environment


_ENVIRONMENT = _environment()
# What evaluating an operator's expression can raise.
TEMPLATE_ERRORS = (
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
