"""Laws of editing policy files, over generated files with every nasty layout at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from automator.core.policyedit import Given, add_item, delete_key, remove_item, set_key
from automator.errors import ManifestError

NAME = "policies/web.yaml"
POLICIES = sorted((Path(__file__).parents[2] / "policies").glob("*.yaml"))

LETTERS = "abcXYZ019 .:-#'\"[],&*!|>%@`\\~=<äé🦊\t\n"
TEXTS = st.one_of(
    st.text(LETTERS, max_size=12),
    st.sampled_from(["1.10", "1e3", "0o17", "2024-01-01", "yes", "y", "null", "~", "1:30", "v1.2.3", "^1.2"]),
)
FLAT = st.dictionaries(TEXTS, st.one_of(TEXTS, st.booleans(), st.integers(-9, 99)), min_size=1, max_size=3)
VALUES: st.SearchStrategy[Given] = st.one_of(
    TEXTS, st.booleans(), st.integers(-9, 99), st.lists(TEXTS, min_size=1, max_size=3), FLAT
)
COMMENTS = st.sampled_from(["", "", " # why", "\t#\ttabs", "  # 'quo\"te: {x} - äö"])
BETWEEN = st.sampled_from(
    [
        "",
        "\n",
        "\n\n",
        "# far left\n",
        "{at}# beside\n",
        "{at}  # within\n{at}# beside\n",
        "\n{at}# apart\n\n",
    ]
)


@dataclass(frozen=True)
class Layout:
    """How a file is laid out."""

    step: int
    list_step: int
    end: str
    bom: str
    final: bool
    quote: str


LAYOUTS = st.builds(
    Layout,
    step=st.sampled_from([1, 2, 3, 4]),
    list_step=st.sampled_from([0, 1, 2, 4]),
    end=st.sampled_from(["\n", "\r\n"]),
    bom=st.sampled_from(["", "\ufeff"]),
    final=st.booleans(),
    quote=st.sampled_from(["", "'", '"']),
)
KINDS = ("text", "list", "flow list", "mapping", "flow mapping", "literal", "kept", "long", "empty", "alias")


def entry(layout: Layout, key: str, kind: str, at: int, comment: str) -> str:
    """One key of a workload, with everything below it."""
    margin, inner, quote = " " * at, " " * (at + layout.step), layout.quote
    dash = f"{' ' * (at + layout.list_step)}-  "
    lines = {
        "text": f"{margin}{key}:  {quote}ghcr.io/acme/web{quote}{comment}\n",
        "list": f"{margin}{key}:{comment}\n{dash}{quote}v1{quote}\n\n{dash}'1.10'{comment}\n",
        "flow list": f"{margin}{key}: [ {quote}v1{quote} ,'2']{comment}\n",
        "mapping": f"{margin}{key}:\n{inner}reason: x{comment}\n{inner}until: {quote}never{quote}\n",
        "flow mapping": f"{margin}{key}: {{reason: x,\n{inner}until: [a, b]}}{comment}\n",
        "literal": f"{margin}{key}: |{comment}\n{inner}one\n\n{inner}  # two\n\n",
        "kept": f"{margin}{key}: >+\n{inner}one\n\n{inner}two\n\n\n",
        "long": f"{margin}{key}: one\n\n{inner}two\n{inner}three{comment}\n",
        "empty": f"{margin}{key}:{comment}\n",
        "alias": f"{margin}{key}: *v{comment}\n",
    }
    return lines[kind]


@st.composite
def files(draw: st.DrawFn) -> str:
    """A policy file with a workload `web`, and perhaps others around it."""
    layout = draw(LAYOUTS)
    text = draw(st.sampled_from(["", "# head\n", "---\n"])) + "version: &v 1\nworkloads:\n"
    names = draw(st.permutations(["web", "api", "db.main"]))[: draw(st.integers(1, 3))]
    for name in names if "web" in names else [*names, "web"]:
        text += f"{' ' * layout.step}{name}:{draw(COMMENTS)}\n"
        for n, kind in enumerate(draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=3))):
            text += entry(layout, f"key{n}", kind, 2 * layout.step, draw(COMMENTS))
            text += draw(BETWEEN).format(at=" " * 2 * layout.step)
    if not layout.final:
        text = text.rstrip("\n")
    return layout.bom + text.replace("\n", layout.end)


def read(text: str) -> Any:
    """What another reader makes of a text."""
    return YAML(typ="safe").load(text.removeprefix("\ufeff"))


def tried(edit: Callable[..., str], *asked: object) -> tuple[str | None, str]:
    """What an edit gives, or None and the code of its refusal."""
    try:
        return edit(*asked, NAME), ""
    except ManifestError as error:
        return None, error.reason.code


def plain(value: Given) -> Any:
    return value if isinstance(value, str | int | dict) else list(value)


@given(files(), VALUES)
@example("a: 1\nworkloads:\n  web:\n    image: x", ["1.10"])
def test_a_new_key_is_all_that_changes(text: str, value: Given) -> None:
    path = ("workloads", "web", "hold")
    before = read(text)
    after, code = tried(set_key, text, path, value)
    if after is None:
        # A block scalar that ends without a line end would get one.
        assert code == "edit/layout"
        assert not text.endswith(("\n", "\r"))
        return
    before["workloads"]["web"]["hold"] = plain(value)
    assert read(after) == before
    assert list(read(after)["workloads"]["web"])[-1] == "hold"
    assert set_key(after, path, value, NAME) == after
    assert delete_key(after, path, NAME) == text


@given(files(), VALUES)
def test_lines_that_are_there_stay(text: str, value: Given) -> None:
    after, _ = tried(set_key, text, ("workloads", "web", "hold"), value)
    if after is None:
        return
    lines, more = text.splitlines(), after.splitlines()
    first = next((n for n, line in enumerate(lines) if more[n] != line), len(lines))
    tail = len(lines) - first
    assert more[len(more) - tail :] == lines[first:]
    assert ("\r\n" in after, "\n" in after.replace("\r\n", "")) == (
        "\r\n" in text,
        "\n" in text.replace("\r\n", "") or "\n" not in text,
    )


@given(files(), TEXTS, TEXTS)
def test_items_come_and_go(text: str, first: str, second: str) -> None:
    assume(first != second)
    path = ("workloads", "web", "reject")
    before = read(text)
    one, code = tried(add_item, text, path, first)
    if one is None:
        assert code == "edit/layout"
        return
    two = add_item(one, path, second, NAME)
    assert add_item(two, path, first, NAME) == two
    before["workloads"]["web"]["reject"] = [first, second]
    assert read(two) == before
    assert remove_item(two, path, second, NAME) == one
    assert remove_item(one, path, first, NAME) == text


@given(files(), st.sampled_from(["key0", "key1"]), TEXTS)
def test_another_text_is_all_that_changes(text: str, key: str, value: str) -> None:
    path = ("workloads", "web", key)
    before = read(text)
    after, code = tried(set_key, text, path, value)
    if after is None:
        assert code in ("edit/other-value", "edit/layout", "edit/shared")
        return
    before["workloads"]["web"][key] = value
    assert read(after) == before
    assert set_key(after, path, value, NAME) == after


@given(files(), st.sampled_from([("workloads", "web", "key0"), ("workloads", "api"), ("version",)]))
def test_a_key_that_goes_takes_nothing_along(text: str, path: tuple[str, ...]) -> None:
    before = read(text)
    after, code = tried(delete_key, text, path)
    if after is None:
        assert code in ("edit/only-key", "edit/shared", "edit/layout")
        return
    holder = before
    for name in path[:-1]:
        holder = holder[name]
    holder.pop(path[-1], None)
    assert read(after) == before
    assert delete_key(after, path, NAME) == after


ODD = st.text("ab:-? #&*!|>'\"{}[],%\n\r\t\ufeff\u2028\ud800.<~1", max_size=40)


@given(st.one_of(ODD, files().flatmap(lambda t: ODD.map(lambda odd: t.replace("web", odd, 1)))), VALUES)
@example("a", "")
@example("? a\n: b", "x")
@example("a: !!map\n b: c", "x")
@example("&a", "x")
@example("\ufeff", "x")
@example("%YAML 1.2\n---\n", "x")
@example("[" * 5000, "x")
def test_no_text_raises_anything_but_our_error(text: str, value: Given) -> None:
    for path in (("a",), ("a", "b"), ("workloads", "web", "hold")):
        gone, _ = tried(delete_key, text, path)
        after, _ = tried(set_key, text, path, value)
        if after is not None:
            assert set_key(after, path, value, NAME) == after
            assert gone != text or delete_key(after, path, NAME) == text
        added, _ = tried(add_item, text, path, "b")
        assert added is None or add_item(added, path, "b", NAME) == added
        tried(remove_item, text, path, "b")


@pytest.mark.parametrize("path", POLICIES, ids=lambda path: path.name)
def test_our_policies_can_be_held(path: Path) -> None:
    text = path.read_text()
    for name in read(text)["workloads"]:
        if "hold" in read(text)["workloads"][name]:
            continue
        hold = ("workloads", name, "hold")
        after = set_key(text, hold, {"reason": "the quarter ends", "until": "2027-01-04T08:00:00Z"}, NAME)
        assert list(read(after)["workloads"][name]["hold"]) == ["reason", "until"]
        assert delete_key(after, hold, NAME) == text
