"""Writing policy files: what is written is read back as the same values, by us and by any YAML reader."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from automator.core.policyfile import NAME, read_policy_file
from automator.core.policytext import Draft, free_name, policy_text

NASTY = (
    "",
    " ",
    "yes",
    "No",
    "null",
    "~",
    "1.10",
    "1e3",
    "1:2e3",
    "0x1F",
    "2024-01-01",
    ">=1.4 <2",
    "{key}-alpine",
    "main-*-{key}",
    r"^(?P<key>\d+)'\"$",
    "a: b",
    "a #b",
    "# c",
    "- x",
    "- ",
    "%TAG",
    "@at",
    "`tick",
    "&a",
    "*a",
    "!tag",
    "tab\there",
    "two\nlines",
    "\x00\x07\x1b[31m\x7f",
    "\x85\u2028\u2029\ufeff\ue000\U000e0001",
    "é☃🦊",
    "'",
    '"',
    "\\",
    "---",
    "...",
    "=",
    "<<",
    "ends:",
    "[a, b]",
    "30m",
    "x" * 3000,
)
texts = st.one_of(st.sampled_from(NASTY), st.text(), st.from_regex(r"[-+.:_0-9eEx]{1,12}", fullmatch=True))
flat = st.dictionaries(st.sampled_from(("reason", "name", "kind", "x y")), texts, min_size=1)
values = st.one_of(
    texts, st.booleans(), st.lists(texts, min_size=1), flat, st.lists(flat, min_size=1, max_size=3)
)
keys = st.dictionaries(st.sampled_from(("image", "glob", "exclude", "where", "owner")), values)
names = st.one_of(
    st.from_regex(NAME, fullmatch=True).filter(lambda name: len(name) <= 200),
    st.sampled_from(("on", "1.4", "null")),
)
drafts = st.lists(
    st.builds(
        Draft,
        names,
        keys,
        st.lists(texts, max_size=2).map(tuple),
        st.dictionaries(st.sampled_from(("image", "glob", "where")), texts),
    ),
    max_size=4,
    unique_by=lambda draft: draft.name,
)


@given(drafts, st.lists(texts, max_size=2).map(tuple))
@example([Draft("x", {"image": "1:2e3"}, ("\x85a: b",), {"image": "c\nd: e"})], ("\u2028version: 2",))
def test_what_is_written_is_read_back_as_the_same_values(
    written: list[Draft], header: tuple[str, ...]
) -> None:
    read = read_policy_file("policies/x.yaml", policy_text(written, header=header))

    assert not read.broken
    assert {entry.name: dict(entry.raw) for entry in read.entries} == {
        draft.name: dict(draft.keys) for draft in written
    }


@given(drafts)
def test_readers_of_yaml_1_1_and_1_2_agree_on_it(written: list[Draft]) -> None:
    text = policy_text(written)

    for version in ((1, 1), (1, 2)):
        reader = YAML(typ="safe", pure=True)
        reader.version = version
        assert reader.load(text)["workloads"] == {draft.name: dict(draft.keys) for draft in written}


@given(keys)
def test_defaults_come_back_too(defaults: dict[str, Any]) -> None:
    read = read_policy_file("x.yaml", policy_text([Draft("web", {})], defaults=defaults))

    assert dict(read.entries[0].raw) == defaults


def test_a_file_looks_as_a_person_would_write_it() -> None:
    web = Draft(
        "web",
        {"image": "ghcr.io/acme/web", "semver": ">=1.4 <2", "where": {"paths": ["apps/web/**"]}},
        ("the shop front",),
        {"semver": "no major version by itself"},
    )
    worker = Draft(
        "worker",
        {
            "image": "ghcr.io/acme/worker",
            "regex": r"^(?P<key>\d+)$",
            "min_age": "30m",
            "windows": [{"allow": "0 9 * * 1-5", "for": "8h", "zone": "Europe/Berlin"}],
            "hold": {
                "reason": "this sentence is long enough that nobody wants to read it in between two braces"
            },
            "align": True,
        },
    )

    assert policy_text([web, worker], header=("Shop.",), defaults={"owner": "shop"}) == (
        """\
# Shop.
version: 1
defaults:
  owner: shop
workloads:
  # the shop front
  web:
    image: ghcr.io/acme/web
    semver: ">=1.4 <2"  # no major version by itself
    where: {paths: ["apps/web/**"]}

  worker:
    image: ghcr.io/acme/worker
    regex: '^(?P<key>\\d+)$'
    min_age: 30m
    windows: [{allow: "0 9 * * 1-5", for: 8h, zone: Europe/Berlin}]
    hold:
      reason: this sentence is long enough that nobody wants to read it in between two braces
    align: true
"""
    )


@pytest.mark.parametrize("name", ["", "-web", "a b", "web\n", "é", "x" * 201])
def test_what_is_no_name_is_never_written(name: str) -> None:
    with pytest.raises(ValueError, match="no name"):
        policy_text([Draft(name, {})])


def test_a_name_is_never_written_twice() -> None:
    with pytest.raises(ValueError, match="no name"):
        policy_text([Draft("web", {}), Draft("web", {})])


@given(texts, st.lists(texts, max_size=3), st.integers(1, 5))
def test_a_free_name_is_valid_and_free(wanted: str, others: list[str], again: int) -> None:
    taken = set(others)
    for _ in range(again):
        name = free_name(wanted, taken)
        assert name not in taken
        policy_text([Draft(name, {})])
        taken.add(name)


@pytest.mark.parametrize(
    ("wanted", "taken", "expected"),
    [
        ("web", (), "web"),
        ("web", ("web",), "web-2"),
        ("web", ("web", "web-2"), "web-3"),
        ("acme/web", (), "acme-web"),
        ("..", (), "workload"),
        ("ünï", (), "n"),
    ],
)
def test_a_free_name_stays_close_to_the_wanted_one(
    wanted: str, taken: tuple[str, ...], expected: str
) -> None:
    assert free_name(wanted, taken) == expected
