"""Editing policy files: the exact lines that go in and out, and what is refused instead of guessed."""

from __future__ import annotations

import pytest

from automator.core.policyedit import Given, add_item, delete_key, remove_item, set_key
from automator.core.policyfile import read_policy_file
from automator.errors import ManifestError

NAME = "policies/web.yaml"
WEB = ("workloads", "web")
HOLD = (*WEB, "hold")
REJECT = (*WEB, "reject")
WHY = {"reason": "ask finance"}

START = "version: 1\nworkloads:\n  web:\n    image: ghcr.io/acme/web\n"
API = "  api:\n    image: ghcr.io/acme/api\n"


def code_of(call: object) -> str:
    assert isinstance(call, pytest.ExceptionInfo)
    return str(call.value.reason.code)


# -- a new key ------------------------------------------------------------------------------------------

NEW_KEYS: dict[str, tuple[str, tuple[str, ...], Given, str]] = {
    "a mapping": (START, HOLD, WHY, START + "    hold:\n      reason: ask finance\n"),
    "a text": (START, (*WEB, "pin"), "digest", START + "    pin: digest\n"),
    "a boolean": (START, (*WEB, "urgent"), True, START + "    urgent: true\n"),
    "a number": (START, (*WEB, "depth"), 12, START + "    depth: 12\n"),
    "a list": (START, REJECT, ["v1.4.3"], START + "    reject: [v1.4.3]\n"),
    "between workloads": (START + API, HOLD, WHY, START + "    hold:\n      reason: ask finance\n" + API),
    "a name with dots": (
        START.replace("web:", "web.api:"),
        ("workloads", "web.api", "pin"),
        "tag",
        START.replace("web:", "web.api:") + "    pin: tag\n",
    ),
    "the top level": (START, ("freeze",), WHY, START + "freeze:\n  reason: ask finance\n"),
    "the defaults": (
        "defaults:\n  pin: tag\n\nworkloads: {}\n",
        ("defaults", "owner"),
        "ops",
        "defaults:\n  pin: tag\n  owner: ops\n\nworkloads: {}\n",
    ),
    "an empty file": ("", ("freeze",), WHY, "freeze:\n  reason: ask finance\n"),
    "a file of comments": ("\ufeff# none\r\n", ("a",), "b", "\ufeff# none\r\na: b\r\n"),
    "a document without content": ("---\n# none", ("a",), "b", "---\n# none\na: b"),
    # line ends and the end of the file
    "CRLF": (
        "workloads:\r\n  web:\r\n    image: x\r\n",
        HOLD,
        WHY,
        "workloads:\r\n  web:\r\n    image: x\r\n    hold:\r\n      reason: ask finance\r\n",
    ),
    "line ends as on the line above": ("a: 1\nb: 2\r\n", ("c",), "d", "a: 1\nb: 2\r\nc: d\r\n"),
    "CR alone": ("w:\r  a: x\r", ("w", "b"), "v", "w:\r  a: x\r  b: v\r"),
    "BOM": ("\ufeffa:\n  b: x\n", ("a", "c"), "v", "\ufeffa:\n  b: x\n  c: v\n"),
    "BOM and the top level": ("\ufeffa: x\n", ("c",), "v", "\ufeffa: x\nc: v\n"),
    "no final newline": (START[:-1], (*WEB, "pin"), "tag", START + "    pin: tag"),
    "no final newline, several lines": (
        "a:\r\n  b: x",
        ("a", "c"),
        WHY,
        "a:\r\n  b: x\r\n  c:\r\n    reason: ask finance",
    ),
    "no newline at all": ("a: x", ("b",), "v", "a: x\nb: v"),
    "explicit document end": ("--- # head\na: x\n...\n", ("b",), "v", "--- # head\na: x\nb: v\n...\n"),
    # comments and blank lines stay with what they stood beside
    "a comment on the last line": (
        "a:\n  b: x # why\nz: 1\n",
        ("a", "c"),
        "v",
        "a:\n  b: x # why\n  c: v\nz: 1\n",
    ),
    "a comment with tabs": ("a:\n  b: x\t#\twhy\t\n", ("a", "c"), "v", "a:\n  b: x\t#\twhy\t\n  c: v\n"),
    "a comment below, as far in": (
        "a:\n  b: x\n  # about b\nz: 1\n",
        ("a", "c"),
        "v",
        "a:\n  b: x\n  # about b\n  c: v\nz: 1\n",
    ),
    "comments below, further in": (
        "a:\n  b:\n    - x\n    # - v\n      # - z\nz: 1\n",
        ("a", "c"),
        "v",
        "a:\n  b:\n    - x\n    # - v\n      # - z\n  c: v\nz: 1\n",
    ),
    "a comment of the next workload": (
        START + "  # the api\n" + API,
        (*WEB, "pin"),
        "tag",
        START + "    pin: tag\n  # the api\n" + API,
    ),
    "blank lines": (START + "\n\n" + API, (*WEB, "pin"), "tag", START + "    pin: tag\n\n\n" + API),
    "a comment after a blank line": (
        "a:\n  b: x\n\n  # apart\nz: 1\n",
        ("a", "c"),
        "v",
        "a:\n  b: x\n  c: v\n\n  # apart\nz: 1\n",
    ),
    "a comment at the end of the file": (
        "a:\n  b: x\n  # end",
        ("a", "c"),
        "v",
        "a:\n  b: x\n  # end\n  c: v",
    ),
    # what the last value is
    "behind a block mapping": (
        "a:\n  b:\n    c:\n      d: x\n",
        ("a", "e"),
        "v",
        "a:\n  b:\n    c:\n      d: x\n  e: v\n",
    ),
    "behind a list without indentation": (
        "a:\n  b:\n  - x\n  - v\n",
        ("a", "e"),
        "v",
        "a:\n  b:\n  - x\n  - v\n  e: v\n",
    ),
    "behind brackets": (
        "a:\n  b: [\n    x,\n  ]\nz: 1\n",
        ("a", "e"),
        "v",
        "a:\n  b: [\n    x,\n  ]\n  e: v\nz: 1\n",
    ),
    "behind a long text": (
        "a:\n  b: x\n    v\n    z\n\n",
        ("a", "e"),
        "v",
        "a:\n  b: x\n    v\n    z\n  e: v\n\n",
    ),
    "behind nothing": ("a:\n  b: # later\nz: 1\n", ("a", "e"), "v", "a:\n  b: # later\n  e: v\nz: 1\n"),
    "behind a block scalar": (
        "a:\n  b: |\n    x\n\n\nz: 1\n",
        ("a", "e"),
        "v",
        "a:\n  b: |\n    x\n  e: v\n\n\nz: 1\n",
    ),
    "behind a folded one that keeps blank lines": (
        "a:\n  b: >+\n    x\n\n\nz: 1\n",
        ("a", "e"),
        "v",
        "a:\n  b: >+\n    x\n\n\n  e: v\nz: 1\n",
    ),
    "behind a block scalar with blanks at its end": (
        "a:\n  b: |\n    x\n      \nz: 1\n",
        ("a", "e"),
        "v",
        "a:\n  b: |\n    x\n      \n  e: v\nz: 1\n",
    ),
    "behind a block scalar and a comment": (
        "a:\n  b: |\n    x\n  # b\nz: 1\n",
        ("a", "e"),
        "v",
        "a:\n  b: |\n    x\n  # b\n  e: v\nz: 1\n",
    ),
    "behind an alias": ("x: &x 1\na:\n  b: *x\n", ("a", "e"), "v", "x: &x 1\na:\n  b: *x\n  e: v\n"),
    "behind an anchored value": ("a:\n  b: &b x\nz: *b\n", ("a", "e"), "v", "a:\n  b: &b x\n  e: v\nz: *b\n"),
    "U+2028 in a text": ("a:\n  b: x\u2028y\nz: 1\n", ("a", "e"), "v", "a:\n  b: x\u2028y\n  e: v\nz: 1\n"),
    # the file's habits
    "four columns": (
        "w:\n    web:\n        image: x\n",
        ("w", "web", "hold"),
        WHY,
        "w:\n    web:\n        image: x\n        hold:\n            reason: ask finance\n",
    ),
    "one column": (
        "w:\n web:\n  image: x\n",
        ("w", "web", "hold"),
        WHY,
        "w:\n web:\n  image: x\n  hold:\n   reason: ask finance\n",
    ),
    "double quotes": ('a: "x"\nb: "v"\n', ("c",), "z", 'a: "x"\nb: "v"\nc: "z"\n'),
    "single quotes": ("a: 'x'\nb: 'v'\n", ("c",), "it's", "a: 'x'\nb: 'v'\nc: 'it''s'\n"),
    "quoted keys": ('"a": x\n"b": v\n', ("c",), {"d": "z"}, '"a": x\n"b": v\n"c":\n  "d": z\n'),
    "quotes only where needed": ('a: x\nb: "^1.2"\nc: w\n', ("d",), "z", 'a: x\nb: "^1.2"\nc: w\nd: z\n'),
    "a list as the file's others": (
        "a:\n  exclude:\n  - x\nb:\n  c: v\n",
        ("b", "reject"),
        ["v1", "1.10"],
        'a:\n  exclude:\n  - x\nb:\n  c: v\n  reject:\n  - v1\n  - "1.10"\n',
    ),
    "dashes with room": (
        "a:\n  exclude:\n    -   x\n",
        ("reject",),
        ["v1"],
        "a:\n  exclude:\n    -   x\nreject:\n  -   v1\n",
    ),
    "braces as the file's others": (
        "a:\n  hold: {reason: x}\nb:\n  c: v\n",
        ("b", "hold"),
        {"reason": "a:b", "until": "2027-01-04T08:00:00Z"},
        'a:\n  hold: {reason: x}\nb:\n  c: v\n  hold: {reason: "a:b", until: "2027-01-04T08:00:00Z"}\n',
    ),
    "an empty mapping": ("a: x\n", ("b",), {}, "a: x\nb: {}\n"),
    "an empty list": ("a: x\n", ("b",), [], "a: x\nb: []\n"),
    # texts that need quotes
    "a number of YAML 1.1": ("a: x\n", ("b",), "0o17", 'a: x\nb: "0o17"\n'),
    "a boolean of YAML 1.1": ("a: x\n", ("b",), "off", 'a: x\nb: "off"\n'),
    "no text": ("a: x\n", ("b",), "", 'a: x\nb: ""\n'),
    "syntax": ("a: x\n", ("b",), "see: #12", 'a: x\nb: "see: #12"\n'),
    "several lines": ("a: 'x'\n", ("b",), 'one\n"two"\\\t', 'a: \'x\'\nb: "one\\n\\"two\\"\\\\\\t"\n'),
    "what cannot be seen": (
        "a: x\n",
        ("b",),
        "\x07\x85\ufeff\U000e0001",
        'a: x\nb: "\\x07\\x85\\ufeff\\U000e0001"\n',
    ),
    "letters of all kinds": ("a: x\n", ("b",), "ünï 🦊", "a: x\nb: ünï 🦊\n"),
    "a key that needs quotes": ("a: x\n", ("1.4",), "v", 'a: x\n"1.4": v\n'),
    "a key that looks like a merge": ("a: x\n", ("<<",), "v", 'a: x\n"<<": v\n'),
}


@pytest.mark.parametrize(("before", "path", "value", "after"), NEW_KEYS.values(), ids=NEW_KEYS)
def test_new_key(before: str, path: tuple[str, ...], value: Given, after: str) -> None:
    assert set_key(before, path, value, NAME) == after
    assert set_key(after, path, value, NAME) == after
    assert delete_key(after, path, NAME) == before


def test_the_policy_reader_takes_what_is_written() -> None:
    text = set_key(START, HOLD, {"reason": "yes: 1.10", "until": "2027-01-04T08:00:00Z"}, NAME)
    (entry,) = read_policy_file(NAME, text).entries
    assert entry.problems == ()
    assert entry.keys is not None
    assert entry.keys.hold is not None
    assert (entry.keys.hold.reason, entry.keys.hold.until) == ("yes: 1.10", "2027-01-04T08:00:00Z")


# -- a key that is there --------------------------------------------------------------------------------

REPLACED: dict[str, tuple[str, tuple[str, ...], Given, str]] = {
    "plain": ("a:  x  # c\n", ("a",), "v", "a:  v  # c\n"),
    "plain to quoted": ("a: x\n", ("a",), "1.10", 'a: "1.10"\n'),
    "single stays": ("a: 'x'\n", ("a",), "it's", "a: 'it''s'\n"),
    "single that cannot": ("a: 'x'\n", ("a",), "a\nb", 'a: "a\\nb"\n'),
    "double stays": ("a: \"x\"\nb: 'v'\nc: 'v'\n", ("a",), "z", "a: \"z\"\nb: 'v'\nc: 'v'\n"),
    "a number becomes text": ("a: 1.10\n", ("a",), "1.10", 'a: "1.10"\n'),
    "text becomes a number": ('a: "12"\n', ("a",), 12, "a: 12\n"),
    "a boolean": ("a: yes\n", ("a",), False, "a: false\n"),
    "the same in quotes": ("a: 'x'\n", ("a",), "x", "a: 'x'\n"),
    "the same, with a comma": ("a: x, v\n", ("a",), "x, v", "a: x, v\n"),
    "over several lines": ("a: x\n  v\nb: 1\n", ("a",), "z", "a: z\nb: 1\n"),
    "in braces": ("a: {b: x, c: v}\n", ("a", "b"), "p:q", 'a: {b: "p:q", c: v}\n'),
    "nothing yet": ("a: # c\nb: 1\n", ("a",), "x", "a: x # c\nb: 1\n"),
    "nothing yet, a mapping": ("a:\nb: 1\n", ("a",), WHY, "a: {reason: ask finance}\nb: 1\n"),
    "nothing yet, at the end": ("a:", ("a",), ["x"], "a: [x]"),
    "one key of a mapping": (
        "hold:\n  reason: x # why\n  until: 'v'\n",
        ("hold",),
        {"reason": "z", "until": "v"},
        "hold:\n  reason: z # why\n  until: 'v'\n",
    ),
    "a mapping that grows": (
        "hold:\n    reason: x\n",
        ("hold",),
        {"reason": "x", "until": "v"},
        "hold:\n    reason: x\n    until: v\n",
    ),
    "a mapping that shrinks": (
        "hold:\n  reason: x\n  until: v\n",
        ("hold",),
        {"reason": "z"},
        "hold:\n  reason: z\n",
    ),
    "the same mapping, in another order": (
        "hold: {until: v, reason: x}\n",
        ("hold",),
        {"reason": "x", "until": "v"},
        "hold: {until: v, reason: x}\n",
    ),
    "a list that grows": ("a: [x]\n", ("a",), ["x", "v", "z"], "a: [x, v, z]\n"),
}


@pytest.mark.parametrize(("before", "path", "value", "after"), REPLACED.values(), ids=REPLACED)
def test_replaced(before: str, path: tuple[str, ...], value: Given, after: str) -> None:
    assert set_key(before, path, value, NAME) == after
    assert set_key(after, path, value, NAME) == after


# -- a key that goes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "path", "after"),
    [
        ("a: 1\nb: 2\nc: 3\n", ("b",), "a: 1\nc: 3\n"),
        ("a: 1\nb: 2\n", ("a",), "b: 2\n"),
        ("\ufeffa: 1\nb: 2\n", ("a",), "\ufeffb: 2\n"),
        ("a: 1\nb: 2", ("a",), "b: 2"),
        ("a: 1\nb: 2", ("b",), "a: 1"),
        ("a: 1\r\nb: 2", ("b",), "a: 1"),
        ("a: 1", ("a",), ""),
        ("# c\na: 1 # gone\n# d\n", ("a",), "# c\n# d\n"),
        (
            "a:\n  b: 1\n  # above\n  c: # beside\n    # inside\n    d: 1\n    # below\n",
            ("a", "c"),
            "a:\n  b: 1\n  # above\n    # below\n",
        ),
        ("a: |\n  x\n\nb: 1\n", ("a",), "\nb: 1\n"),
        ("b: 1\na: |+\n  x\n\n", ("a",), "b: 1\n"),
        ("b: |+\n  x\n\na: >\n  x\n\nc: 1\n", ("a",), "b: |+\n  x\n\nc: 1\n"),
        ("a: 1\nb: 2\n", ("c",), "a: 1\nb: 2\n"),
        ("", ("c",), ""),
        ("a: {b: 1}\n", ("a", "c"), "a: {b: 1}\n"),
    ],
)
def test_deleted(before: str, path: tuple[str, ...], after: str) -> None:
    assert delete_key(before, path, NAME) == after


# -- items ----------------------------------------------------------------------------------------------

ITEMS: dict[str, tuple[str, str, str]] = {
    "indented": ("r:\n  - a\n  - b\nz: 1\n", "c", "r:\n  - a\n  - b\n  - c\nz: 1\n"),
    "not indented": ("r:\n- a\nz: 1\n", "c", "r:\n- a\n- c\nz: 1\n"),
    "room behind the dash": ("r:\n-   a\n", "c", "r:\n-   a\n-   c\n"),
    "no final newline": ("r:\r\n  - a", "c", "r:\r\n  - a\r\n  - c"),
    "quotes of the list": ("r:\n  - 'a'\nz: x\ny: x\n", "c", "r:\n  - 'a'\n  - 'c'\nz: x\ny: x\n"),
    "quotes where needed": ("r:\n  - a\n", "1.10", 'r:\n  - a\n  - "1.10"\n'),
    "comments": ("r:\n  - a # why\n  # - b\nz: 1\n", "c", "r:\n  - a # why\n  # - b\n  - c\nz: 1\n"),
    "a comment of the next key": ("r:\n- a\n# about z\nz: 1\n", "c", "r:\n- a\n- c\n# about z\nz: 1\n"),
    "a number beside": ("r:\n  - 1.10\n", "v2", "r:\n  - 1.10\n  - v2\n"),
    "in brackets": ("r: [a, b]  # c\n", "c", "r: [a, b, c]  # c\n"),
    "brackets with room": ("r: [ a ,b ]\n", "c", "r: [ a ,b ,c ]\n"),
    "a last comma": ("r: [a, b,]\n", "c", "r: [a, b, c,]\n"),
    "brackets in braces": ("w: {r: [a], b: c}\nr: ['a']\n", "c", "w: {r: [a], b: c}\nr: ['a', 'c']\n"),
    "syntax in brackets": ("r: [a]\n", "x:v", 'r: [a, "x:v"]\n'),
    "a list that is absent": ("a: x\n", "c", "a: x\nr: [c]\n"),
}


@pytest.mark.parametrize(("before", "item", "after"), ITEMS.values(), ids=ITEMS)
def test_item(before: str, item: str, after: str) -> None:
    assert add_item(before, ("r",), item, NAME) == after
    assert add_item(after, ("r",), item, NAME) == after
    assert remove_item(after, ("r",), item, NAME) == before


@pytest.mark.parametrize(
    ("before", "item", "after"),
    [
        ("r: [a, b, c]\n", "a", "r: [b, c]\n"),
        ("r: [a, b, c]\n", "b", "r: [a, c]\n"),
        ("r: [a, b, a]\n", "a", "r: [b]\n"),
        ("r: [1.10, b]\n", "1.10", "r: [b]\n"),
        ("r: [a, b]\n", "x", "r: [a, b]\n"),
        ("r:\n  - a # gone\n  # stays\n  - b\n", "a", "r:\n  # stays\n  - b\n"),
        ("q: 1\nr:\n- a\nz: 1\n", "a", "q: 1\nz: 1\n"),
        ("q: 1\nr: ['a']", "a", "q: 1"),
        ("q: 1\nr: [a, a]\n", "a", "q: 1\n"),
        ("q: 1\nr:\n", "a", "q: 1\nr:\n"),
        ("q: 1\n", "a", "q: 1\n"),
    ],
)
def test_item_removed(before: str, item: str, after: str) -> None:
    assert remove_item(before, ("r",), item, NAME) == after


def test_item_of_an_empty_list() -> None:
    assert add_item("r: []\n", ("r",), "a", NAME) == "r: [a]\n"
    assert add_item("r:\nz: 1\n", ("r",), "a", NAME) == "r: [a]\nz: 1\n"


# -- what is refused ------------------------------------------------------------------------------------

REFUSED: list[tuple[str, str, tuple[str, ...], Given]] = [
    ("edit/flow", "workloads:\n  web: {image: x}\n", HOLD, WHY),
    ("edit/flow", "{workloads: {web: {image: x}}}", HOLD, WHY),
    ("edit/flow", "hold: {reason: x}\n", ("hold",), {"reason": "x", "until": "v"}),
    ("edit/flow", "hold: {reason: x, until: v}\n", ("hold",), {"reason": "x"}),
    ("edit/shared", "workloads:\n  web: &web\n    image: x\n  api: *web\n", HOLD, WHY),
    ("edit/shared", "workloads:\n  api: &web\n    image: x\n  web: *web\n", HOLD, WHY),
    ("edit/shared", "a: &a {b: c}\nworkloads:\n  web:\n    <<: *a\n    image: x\n", HOLD, WHY),
    ("edit/shared", "workloads: &w\n  web:\n    image: x\n", HOLD, WHY),
    ("edit/shared", "workloads:\n  web:\n    pin: &p tag\n    b: *p\n", (*WEB, "pin"), "digest"),
    ("edit/shared", "workloads:\n  web:\n    b: &p tag\n    pin: *p\n", (*WEB, "pin"), "digest"),
    ("edit/documents", "a: 1\n---\nb: 1\n", ("c",), "x"),
    ("edit/documents", "a: 1\n---\n", ("c",), "x"),
    ("edit/templated", "a: 1 # {{ x }}\n", ("c",), "x"),
    ("edit/no-parent", START, ("workloads", "wbe", "hold"), WHY),
    ("edit/no-parent", "", HOLD, WHY),
    ("edit/no-parent", START, (), "x"),
    ("edit/other-value", "- a\n", ("c",), "x"),
    ("edit/other-value", "text\n", ("c",), "x"),
    ("edit/other-value", "workloads:\n  web:\n", HOLD, WHY),
    ("edit/other-value", "hold: no\n", ("hold",), WHY),
    ("edit/other-value", "hold:\n  reason: x\n", ("hold",), "x"),
    ("edit/other-value", "hold:\n  reason: x\n", ("hold",), {}),
    ("edit/other-value", "r: [a, b]\n", ("r",), ["b"]),
    ("edit/other-value", "r: [a, b]\n", ("r",), []),
    ("edit/other-value", "r: x\n", ("r",), ["x"]),
    ("edit/repeated", "a: 1\na: 2\n", ("a",), "x"),
    ("edit/repeated", "w:\n  b: 1\nw:\n  c: 2\n", ("w", "d"), "x"),
    ("edit/layout", "? a\n: 1\n", ("c",), "x"),
    ("edit/layout", "a: |\n  x", ("c",), "x"),
    ("edit/layout", "a: |\n  x\n", ("a",), "x"),
    ("edit/layout", "a: !!str x\n", ("a",), "v"),
    ("edit/layout", "a: !!map\n  b: x\n", ("a", "c"), "v"),
    ("edit/layout", "? [a, b]\n: 1\n", ("c",), "x"),
    ("edit/layout", "a: [x,\n  v]\n", ("a",), ["x", "v", "z"]),
    ("edit/layout", "a: 1\n", ("k" * 2000,), "x"),
    ("edit/layout", "--- # none\n...\n", ("a",), "x"),
    ("edit/layout", "--- !!str\n", ("a",), "x"),
    ("edit/layout", "&a\n", ("a",), "x"),
    ("edit/value", START, HOLD, {"reason": "{{ x }}"}),
    ("edit/value", START, HOLD, {"reason": "\ud800"}),
    ("edit/value", START, (*WEB, "n"), 10**30),
    ("edit/value", START, (*WEB, "n"), 1.5),  # type: ignore[list-item]
    ("edit/value", START, (*WEB, "n"), None),  # type: ignore[list-item]
    ("edit/value", START, (*WEB, "n"), {"a": ["b"]}),  # type: ignore[dict-item]
    ("yaml/unparsable", "a: [\n", ("c",), "x"),
]


@pytest.mark.parametrize(("code", "before", "path", "value"), REFUSED)
def test_refused(code: str, before: str, path: tuple[str, ...], value: Given) -> None:
    with pytest.raises(ManifestError) as refused:
        set_key(before, path, value, NAME)
    assert code_of(refused) == code


@pytest.mark.parametrize(
    ("code", "before", "path"),
    [
        ("edit/flow", "a: {b: 1, c: 2}\n", ("a", "b")),
        ("edit/only-key", "a:\n  b: 1\n", ("a", "b")),
        ("edit/shared", "a: &a 1\nb: *a\n", ("a",)),
        ("edit/shared", "a:\n  c: &a 1\nb: 2\n", ("a",)),
        ("edit/shared", "x: &x {a: 2}\ny:\n  <<: *x\n  a: 1\n", ("y", "a")),
        ("edit/repeated", "a: 1\na: 2\n", ("a",)),
        ("edit/layout", "? a\n: 1\nb: 2\n", ("a",)),
        ("edit/no-parent", "a: 1\n", ("b", "c")),
    ],
)
def test_deletion_refused(code: str, before: str, path: tuple[str, ...]) -> None:
    with pytest.raises(ManifestError) as refused:
        delete_key(before, path, NAME)
    assert code_of(refused) == code


@pytest.mark.parametrize(
    ("code", "before"),
    [
        ("edit/other-value", "r: x\n"),
        ("edit/other-value", "r: [[x]]\n"),
        ("edit/shared", "r: &r [x]\n"),
        ("edit/shared", "r: [&r x]\n"),
        ("edit/layout", "r: [x,\n  w]\n"),
        ("edit/layout", "r:\n  -\n    x\n  -\n    w\n"),
    ],
)
def test_item_refused(code: str, before: str) -> None:
    with pytest.raises(ManifestError) as refused:
        add_item(before, ("r",), "v", NAME)
    assert code_of(refused) == code
    with pytest.raises(ManifestError) as refused:
        remove_item(before, ("r",), "x", NAME)
    assert code_of(refused) == code


def test_a_refusal_gives_the_place_and_the_line_to_paste() -> None:
    text = "version: 1\nworkloads:\n  web: {image: x}\n"
    with pytest.raises(ManifestError) as refused:
        set_key(text, HOLD, {"reason": "a: b", "until": "2027-01-04"}, NAME)
    assert (
        str(refused.value) == "policies/web.yaml:3: `workloads.web.hold` would stand in a mapping in braces"
    )
    assert refused.value.reason.next_step == (
        'by hand: write `hold: {reason: "a: b", until: "2027-01-04"}` under `workloads.web`'
    )
    with pytest.raises(ManifestError) as refused:
        add_item("r: [a,\n  b]\n", ("r",), "1.10", NAME)
    assert refused.value.reason.next_step == 'by hand: add `"1.10"` to `r`'
    with pytest.raises(ManifestError) as refused:
        delete_key("a: {b: 1, c: 2}\n", ("a", "b"), NAME)
    assert refused.value.reason.next_step == "by hand: remove `b` under `a`"
