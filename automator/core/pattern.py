"""Patterns over tags: globs with `{key}`, and RE2 expressions with `(?P<key>…)`.

Both are anchored and linear in the length of the tag, since patterns come from a repository and tags
from a registry. A glob knows what its key looks like (`Shape`), so `main-*-{key}` finds the number in
`main-fix-3-12`, and can be asked whether some tag would leave two choices for the key.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NoReturn

import re2

from automator.errors import PolicyError
from automator.reasons import reason

MAX_PATTERN = 500
MAX_STARS = 8
_MAX_PAIRS = 5000

_TOKEN = re.compile(r"(?P<star>\*+)|(?P<key>\{key\})|(?P<literal>[A-Za-z0-9._-]+)", re.ASCII)


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """What a key of some order looks like: an expression, and the same as an automaton."""

    expression: str
    moves: tuple[dict[str, int], ...]
    """For each state: kind of character (see `_kind`) -> next state."""
    final: frozenset[int]


_ANY_OF_TAG = dict.fromkeys("dvl.-_", 1)
_ANY_OF_PRE = dict.fromkeys("dvl.-", 8)

TEXT = Shape(r".+", (_ANY_OF_TAG, _ANY_OF_TAG), frozenset({1}))
NUMBER = Shape(r"[0-9]+", ({"d": 1}, {"d": 1}), frozenset({1}))
DOTTED = Shape(
    r"v?[0-9]+(?:\.[0-9]+)*",
    ({"v": 1, "d": 2}, {"d": 2}, {"d": 2, ".": 1}),
    frozenset({2}),
)
STRICT = Shape(
    r"v?[0-9]+\.[0-9]+\.[0-9]+(?:-[0-9A-Za-z.-]+)?",
    (
        {"v": 1, "d": 2},
        {"d": 2},
        {"d": 2, ".": 3},
        {"d": 4},
        {"d": 4, ".": 5},
        {"d": 6},
        {"d": 6, "-": 7},
        _ANY_OF_PRE,
        _ANY_OF_PRE,
    ),
    frozenset({6, 8}),
)
LENIENT = Shape(
    r"v?[0-9]+(?:\.[0-9]+)?(?:\.[0-9]+)?(?:-[0-9A-Za-z.-]+)?",
    (
        {"v": 1, "d": 2},
        {"d": 2},
        {"d": 2, ".": 3, "-": 7},
        {"d": 4},
        {"d": 4, ".": 5, "-": 7},
        {"d": 6},
        {"d": 6, "-": 7},
        _ANY_OF_PRE,
        _ANY_OF_PRE,
    ),
    frozenset({2, 4, 6, 8}),
)


@dataclass(frozen=True, slots=True)
class Glob:
    """A glob over whole tags: `*` is any text, `{key}` the part that is compared."""

    text: str
    _before: str
    """Literal text at the beginning; with `_after` the cheap test, and without a star the whole one."""
    _after: str
    _typed: Any = field(compare=False, repr=False)
    """Compiled with the key's shape; None where there is no star."""
    _untyped: Any = field(compare=False, repr=False)
    ambiguous: bool = field(default=False, compare=False)
    """Whether some tag leaves two choices for the key; then stars before the key take as little as
    they can, and the key as much as it can."""

    @staticmethod
    @lru_cache(maxsize=4096)
    def parse(text: str, shape: Shape = TEXT) -> Glob:
        """Compile a glob whose key has this shape.

        Raises PolicyError (`pattern/invalid`).
        """
        tokens = tuple(_tokens(text))
        wild = [i for i, token in enumerate(tokens) if token in ("*", "{key}")]
        if not wild:
            return Glob(text, text, "", None, None)
        before, after = "".join(tokens[: wild[0]]), "".join(tokens[wild[-1] + 1 :])
        if "*" not in tokens:
            return Glob(text, before, after, None, None)
        return Glob(
            text,
            before,
            after,
            _compile(text, _expression(tokens, shape)),
            _compile(text, _expression(tokens, TEXT)),
            "{key}" in tokens and _splits_two_ways(tokens, shape),
        )

    def key(self, tag: str) -> str | None:
        """The part of `tag` that is compared (all of it without `{key}`); None where it does not match."""
        if self._typed is not None:
            if not (tag.startswith(self._before) and tag.endswith(self._after)):
                return None
            return _captured(self._typed, tag, 1) or _captured(self._untyped, tag, 1)
        if "{key}" not in self.text:
            return tag if tag == self.text else None
        if len(tag) <= len(self._before) + len(self._after):
            return None
        if not (tag.startswith(self._before) and tag.endswith(self._after)):
            return None
        return tag[len(self._before) : len(tag) - len(self._after)]


@dataclass(frozen=True, slots=True)
class Expression:
    """An RE2 expression over whole tags; the group `key`, if there is one, is compared."""

    text: str
    _compiled: Any = field(compare=False, repr=False)
    _group: int

    @staticmethod
    @lru_cache(maxsize=4096)
    def parse(text: str) -> Expression:
        """Compile an expression.

        Raises PolicyError (`pattern/invalid`).
        """
        if len(text) > MAX_PATTERN:
            _refuse(text, f"it has {len(text)} characters, and {MAX_PATTERN} are the most that are read")
        compiled = _compile(text, text)
        return Expression(text, compiled, compiled.groupindex.get("key", 0))

    def key(self, tag: str) -> str | None:
        """The part of `tag` that is compared; None where it does not match, or matches without its key."""
        return _captured(self._compiled, tag, self._group)


def _captured(compiled: Any, tag: str, group: int) -> str | None:
    """What a group of an expression captures of the whole tag; None for nothing."""
    # As bytes: re2 counts characters anew in every text that it is given as one.
    match = compiled.fullmatch(tag.encode())
    if match is None:
        return None
    captured: bytes | None = match[group]
    return captured.decode() if captured else None


def _tokens(text: str) -> Iterator[str]:
    if not text:
        _refuse(text, "it is empty")
    if len(text) > MAX_PATTERN:
        _refuse(text, f"it has {len(text)} characters, and {MAX_PATTERN} are the most that are read")
    at = 0
    for match in _TOKEN.finditer(text):
        if match.start() != at:
            break
        at = match.end()
        yield "*" if match["star"] else match[0]
    if at != len(text):
        _refuse(
            text,
            f"`{text[at]}` has no meaning in a glob, and no tag holds it; use `*` and `{{key}}`, or `regex`",
        )
    if text.count("{key}") > 1:
        _refuse(text, "`{key}` stands in it twice")
    if text.count("*") > MAX_STARS:
        _refuse(text, f"it has more than {MAX_STARS} stars")


def _expression(tokens: tuple[str, ...], shape: Shape) -> str:
    if "{key}" not in tokens:
        return "(" + "".join(".*" if part == "*" else re.escape(part) for part in tokens) + ")"
    wild = {"*": ".*?", "{key}": f"({shape.expression})"}
    return "".join(wild.get(part) or re.escape(part) for part in tokens)


def _compile(text: str, expression: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(expression, options)
    except (re2.error, UnicodeError) as error:
        problem = error.args[0] if error.args else "it cannot be compiled"
        words = problem.decode(errors="replace") if isinstance(problem, bytes) else str(problem)
        raise PolicyError(reason("pattern/invalid", text=text, problem=words)) from error


def _refuse(text: str, problem: str) -> NoReturn:
    raise PolicyError(reason("pattern/invalid", text=text, problem=problem))


# -- does a tag exist that can be split in two ways? --------------------------------------------------

_State = tuple[int, int]
"""Token that is being read, and the state of the key's automaton in it (-1 outside)."""


def _splits_two_ways(tokens: tuple[str, ...], shape: Shape) -> bool:
    """Whether two readings of one tag can give different keys.

    Two readings advance together through the same characters; they differ once one is inside the key
    where the other is not. A search too large to finish counts as yes: it only makes a warning.
    """
    letters = "".join(token for token in tokens if token not in ("*", "{key}"))
    steps = tuple(c for token in tokens for c in ([token] if token in ("*", "{key}") else token))
    alphabet = {*letters, *".-_v", *_unused("0123456789", letters), *_unused("abcdefghijkl", letters)}
    todo: list[tuple[_State, _State, bool]] = [((0, -1), (0, -1), False)]
    seen = set(todo)
    while todo:
        left, right, differ = todo.pop()
        if differ and _ends(steps, shape, left) and _ends(steps, shape, right):
            return True
        for c in alphabet:
            for new_left, left_in_key in _advance(steps, shape, left, c):
                for new_right, right_in_key in _advance(steps, shape, right, c):
                    pair = (new_left, new_right, differ or left_in_key != right_in_key)
                    if pair not in seen:
                        seen.add(pair)
                        todo.append(pair)
        if len(seen) > _MAX_PAIRS:
            return True
    return False


def _unused(characters: str, used: str) -> tuple[str, ...]:
    """One character of a kind, to stand for all that the glob does not spell out."""
    return tuple(c for c in characters if c not in used)[:1]


def _open(steps: tuple[str, ...], shape: Shape, state: _State) -> Iterator[_State]:
    """The states from which a character can be read, skipping stars and leaving a finished key."""
    at, inside = state
    if inside >= 0:
        yield state
        if inside in shape.final:
            yield from _open(steps, shape, (at + 1, -1))
        return
    if at < len(steps) and steps[at] == "{key}":
        yield (at, 0)
        return
    yield state
    if at < len(steps) and steps[at] == "*":
        yield from _open(steps, shape, (at + 1, -1))


def _ends(steps: tuple[str, ...], shape: Shape, state: _State) -> bool:
    return (len(steps), -1) in _open(steps, shape, state)


def _advance(steps: tuple[str, ...], shape: Shape, state: _State, c: str) -> Iterator[tuple[_State, bool]]:
    """The states after reading `c`, each with whether `c` was read as part of the key."""
    for at, inside in _open(steps, shape, state):
        if inside >= 0:
            after = shape.moves[inside].get(_kind(c))
            if after is not None:
                yield (at, after), True
        elif at < len(steps) and steps[at] == "*":
            yield (at, -1), False
        elif at < len(steps) and steps[at] == c:
            yield (at + 1, -1), False


def _kind(c: str) -> str:
    if c.isdigit():
        return "d"
    return c if c in "v.-_" else "l"
