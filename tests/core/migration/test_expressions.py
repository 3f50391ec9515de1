"""Expressions of other tools in ours: for every pattern and tag, both say the same."""

from __future__ import annotations

from typing import Any

import pytest
import re2
from hypothesis import given
from hypothesis import strategies as st

from automator.core.migration.expressions import covering, globs, keyed
from automator.core.pattern import Expression, Glob

PIECES = st.sampled_from(
    [
        "a",
        "b",
        "-",
        r"\.",
        ".",
        ".*",
        ".+",
        r"\d+",
        "[0-9]",
        "(a)",
        "(?:a|b)",
        "(?P<x>[ab]+)",
        "(b)?",
        "|",
        "^",
        "$",
        "(?P<key>a)",
    ]
)
PATTERNS = (
    st.lists(PIECES, min_size=1, max_size=6)
    .map("".join)
    .filter(lambda p: p.count("(?P<x>") < 2 and p.count("<key>") < 2)
)
TAGS = st.text(alphabet="ab01.-", min_size=1, max_size=8)
EXTRACTS = st.sampled_from(["$1", "$x", "${x}", "$0", "$1-$2", "a$1", "$1.$2", "${1}"])


def compiled(text: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    return re2.compile(text, options)


@given(PATTERNS, TAGS)
def test_an_expression_covers_the_tags_in_which_the_pattern_is_found(text: str, tag: str) -> None:
    made = covering(text)
    if made is not None:
        found = Expression.parse(made).key(tag)
        assert found == (tag if compiled(text).search(tag) else None)


@given(PATTERNS, EXTRACTS, TAGS)
def test_a_key_is_what_go_expands(text: str, extract: str, tag: str) -> None:
    made = keyed(text, extract)
    if made is None or made.as_text:
        return
    match = compiled(text).search(tag)
    names = {"$1": 1, "${1}": 1, "$x": "x", "${x}": "x", "$0": 0}
    expected = None
    if match is not None and extract in names:
        expected = match[names[extract]] or None
    elif match is not None:
        first, second = match[1] or "", (match[2] or "") if match.re.groups > 1 else ""
        expected = extract.replace("$1", first).replace("$2", second)
        if not (match[1] and (("$2" not in extract) or second)):
            return  # a group that took no part: Go puts the rest together, and we drop the tag
    assert Expression.parse(made.regex).key(tag) == expected


@given(
    st.lists(
        st.sampled_from(["a", "b", "-", r"\.", ".*", "(a|b)", "(?:a|1)", "^", "$", "|", "(b)?"]),
        min_size=1,
        max_size=6,
    ).map("".join),
    TAGS,
)
def test_globs_say_what_an_exclusion_says(text: str, tag: str) -> None:
    made = globs(text)
    if made is not None:
        assert any(Glob.parse(one).key(tag) is not None for one in made) == bool(compiled(text).search(tag))


@pytest.mark.parametrize(
    ("pattern", "made"),
    [
        ("^main-[0-9]+$", "main-[0-9]+"),
        ("^main-", "main-.*"),
        ("-amd64$", ".*?-amd64"),
        ("prod", ".*?prod.*"),
        (".*-rc.*", ".*-rc.*"),
        ("^a$|^b$", "(?:a|b)"),
        ("^a|b$", ".*?(?:^a|b$).*"),
        ("(?i)^rel", ".*?(?:(?i)^rel).*"),
        (r"\Qa.b\E", r".*?(?:\Qa.b\E).*"),
        ("^(?P<key>a)$", "(a)"),
    ],
)
def test_an_expression_stays_as_readable_as_it_was(pattern: str, made: str) -> None:
    assert covering(pattern) == made


@pytest.mark.parametrize("pattern", ["(", "a**", "(?!x)", "[z-a]", "a" * 600, "^" + "(a|b)" * 120 + "$"])
def test_what_re2_or_a_policy_refuses_becomes_nothing(pattern: str) -> None:
    assert covering(pattern) is None
    assert keyed(pattern, "$1") is None


@pytest.mark.parametrize(
    ("pattern", "extract"),
    [("^(a)_(b)$", "$1.$2"), ("^(a)$", "x"), ("^(a)(b)$", "$2$1"), ("^(a)+(b)$", "$1$2"), ("^(a)$", "$1x")],
)
def test_a_text_that_stands_nowhere_in_the_tag_is_no_key(pattern: str, extract: str) -> None:
    assert keyed(pattern, extract) is None


@pytest.mark.parametrize(
    ("pattern", "extract"),
    [
        (r"^(?P<d>\d{8})-(?P<t>\d{6})$", "$d$t"),
        (r"^([0-9]{4})_([0-9][0-9])$", "${1}${2}"),
        (r"^(\d{2})x(\d{2})y(\d)$", "$1$2$3"),
    ],
)
def test_digits_of_fixed_width_order_as_text(pattern: str, extract: str) -> None:
    made = keyed(pattern, extract)
    assert made is not None
    assert made.as_text


DATES = st.dates().map(str)


@given(DATES, DATES)
def test_the_text_of_fixed_digits_orders_as_the_number_that_is_put_together(one: str, other: str) -> None:
    made = keyed(r"^(\d{4})-(\d{2})-(\d{2})$", "$1$2$3")
    assert made is not None
    left, right = (Expression.parse(made.regex).key(tag) for tag in (one, other))
    assert left is not None
    assert right is not None
    assert (left < right) == (int(one.replace("-", "")) < int(other.replace("-", "")))


@pytest.mark.parametrize(
    "pattern", [r"^(\d+)-(\d{2})$", r"^(\d{2})-(\d|\d\d)$", r"^(\d{2})-?(\d{2})$", r"^((?:\d)?)-(\d)$"]
)
def test_digits_of_any_width_do_not(pattern: str) -> None:
    assert keyed(pattern, "$1$2") is None


def test_expressions_of_any_length_and_depth_are_refused_and_not_read() -> None:
    deep = "(" * 5000 + "a" + ")" * 5000
    assert (covering(deep), keyed(deep, "$1"), globs(deep)) == (None, None, None)
