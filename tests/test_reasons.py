"""The table of reason codes and the program agree: no reason without a row, no row without a use.

Read from the syntax trees of `automator/`, so that a code in a branch no test reaches is seen too.
"""

from __future__ import annotations

import ast
import re
import string
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from automator.reasons import CODES, LINE_LIMIT, Code, Reason, reason

PACKAGE = Path(__file__).parents[1] / "automator"
TABLE = PACKAGE / "reasons.py"
SOURCES = sorted(PACKAGE.rglob("*.py"))

GRAMMAR = re.compile(r"[a-z]+/[a-z0-9-]+")
MAKERS = {"reason", "Reason"}
CODE_FIELDS = {"Dropped": 1}  # constructors that take a code after other fields: name -> position


class Mention(NamedTuple):
    """A code as the program writes it: where, and, in a call of `reason`, with which parameters."""

    place: str
    code: str
    params: frozenset[str] | None
    open_ended: bool = False
    """The call also passes `**parameters`."""
    made: bool = True
    """False where the program only compares with the code."""


def mentions(tree: ast.AST, place: str) -> Iterator[Mention]:
    """Every string that is a code by where it stands, or by its grammar and area."""
    areas = {code.partition("/")[0] for code in CODES}
    seen: set[int] = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        argument = code_argument(node)
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
            seen.add(id(argument))
            keys = frozenset(k.arg for k in node.keywords if k.arg) - {"changes_at"}
            by_name = called(node) == "reason"
            open_ended = any(k.arg is None for k in node.keywords)
            yield Mention(f"{place}:{node.lineno}", argument.value, keys if by_name else None, open_ended)
    asked = compared(tree)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str) or id(node) in seen:
            continue
        if GRAMMAR.fullmatch(node.value) and node.value.partition("/")[0] in areas:
            yield Mention(f"{place}:{node.lineno}", node.value, None, made=id(node) not in asked)


def compared(tree: ast.AST) -> set[int]:
    """Constants that the program only asks about (`code == "x/y"`, `case "x/y"`): no use of a row."""
    questions = (n for n in ast.walk(tree) if isinstance(n, ast.Compare | ast.MatchValue))
    return {id(part) for question in questions for part in ast.walk(question)}


def called(node: ast.Call) -> str:
    match node.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def code_argument(node: ast.Call) -> ast.expr | None:
    """The argument of a call that says the code, when it is a call that takes one."""
    name = called(node)
    if name in MAKERS or name in CODE_FIELDS:
        position = CODE_FIELDS.get(name, 0)
        if len(node.args) > position and not isinstance(node.args[position], ast.Starred):
            return node.args[position]
        return next((k.value for k in node.keywords if k.arg == "code"), None)
    return None


def assembled(tree: ast.AST) -> list[str]:
    """Calls whose code is put together at run time, which no scan and no reader can find."""
    return [
        f"line {node.lineno}: {ast.unparse(argument)}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(argument := code_argument(node), ast.JoinedStr | ast.BinOp)
    ]


@cache
def program() -> list[Mention]:
    found: list[Mention] = []
    for path in SOURCES:
        if path != TABLE:
            tree = ast.parse(path.read_bytes())
            found += mentions(tree, path.relative_to(PACKAGE.parent).as_posix())
    return found


def fields(row: Code) -> set[str]:
    """Parameters that the row's templates use."""
    parse = string.Formatter().parse
    return {name for text in (row.sentence, row.next_step) for _, name, _, _ in parse(text) if name}


def test_every_code_in_the_program_is_in_the_table() -> None:
    unknown = [f"{m.place}: {m.code}" for m in program() if m.code not in CODES]
    assert unknown == []


def test_every_code_in_the_table_is_used() -> None:
    used = {m.code for m in program() if m.made}
    assert sorted(CODES.keys() - used) == []


def test_every_reason_is_given_the_parameters_of_its_row() -> None:
    wrong = []
    for m in program():
        if m.params is None or m.code not in CODES:
            continue
        wanted = fields(CODES[m.code])
        if m.params - wanted or (wanted - m.params and not m.open_ended):
            wrong.append(f"{m.place}: {m.code} takes {sorted(wanted)}, is given {sorted(m.params)}")
    assert wrong == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_codes_are_written_whole(path: Path) -> None:
    assert assembled(ast.parse(path.read_bytes())) == []


@pytest.mark.parametrize("row", CODES.values(), ids=CODES)
def test_row_reads_well(row: Code) -> None:
    assert GRAMMAR.fullmatch(row.code)
    for text in (row.sentence, row.next_step, row.meaning):
        assert text.strip() == text != ""
        assert "\n" not in text
        assert "  " not in text
    # A sentence and a next step stand after a colon or in a table; the meaning is a paragraph.
    assert not row.sentence.endswith(".")
    assert not row.next_step.endswith(".")
    assert row.meaning.endswith(".")
    assert not row.meaning[0].islower()
    assert len(row.sentence) <= LINE_LIMIT
    for text in (row.sentence, row.next_step):
        for _, name, spec, conversion in string.Formatter().parse(text):
            assert name is None or name.isidentifier(), f"{{{name}}} is no plain parameter"
            assert not spec
            assert not conversion


@pytest.mark.parametrize("row", CODES.values(), ids=CODES)
def test_row_makes_a_sentence(row: Code) -> None:
    made = reason(row.code, changes_at=None, **{name: f"<{name}>" for name in fields(row)})
    assert isinstance(made, Reason)
    for name in fields(row):
        assert f"<{name}>" in made.sentence + made.next_step
    assert "{" not in made.sentence.replace("{{", "")


def test_scan_finds_what_it_should() -> None:
    area = next(iter(CODES)).partition("/")[0]
    source = f"""
reason("x/y", a=1, changes_at=t)
Reason(code="x/z")
Dropped(tag, "x/w", ())
TABLE = {{404: "{area}/no-such-row"}}
mime = "application/json"
if code == "{area}/only-asked": ...
reason(f"x/{{kind}}")
reason("x/" + kind)
reason("x/v", **rest)
"""
    tree = ast.parse(source)
    found = {m.code: m for m in mentions(tree, "a.py")}
    assert found.keys() == {"x/y", "x/z", "x/w", "x/v", f"{area}/no-such-row", f"{area}/only-asked"}
    assert {code for code, m in found.items() if not m.made} == {f"{area}/only-asked"}
    assert found["x/y"] == Mention("a.py:2", "x/y", frozenset({"a"}))
    assert found["x/v"].open_ended
    assert len(assembled(tree)) == 2
