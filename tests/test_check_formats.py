"""The formats of `check`: what editors, code scanning and CI systems read, and what strangers put into it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from parts.world import Completed, World, deployment

from automator.cli import checking
from automator.cli.formats import FORMATS, github, junit, plain_json, sarif, terminal
from automator.cycle.findings import Finding
from automator.cycle.gate import Verdict
from automator.reasons import CODES, Reason, reason

ROOT = Path(__file__).parents[1]
IMAGE = "registry.example.com/acme/web"
POLICY = (
    f"version: 1\nworkloads:\n  web:\n    image: {IMAGE}\n    semver: '>=1.0.0-0 <2'\n"
    "  old:\n    image: a.example/old\n    semver: 1.10\n"
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A folder with one error and one warning."""
    world = World(tmp_path_factory.mktemp("world"), "127.0.0.1:9")
    world.config.unlink()
    for name, text in {
        "policies/shop.yaml": POLICY,
        "policies/fine.yaml": "version: 1\nworkloads:\n  api:\n    image: a.example/api\n    semver: 1.x\n",
        "apps/web.yaml": deployment(f"{IMAGE}:1.0.0"),
        "apps/api.yaml": deployment("a.example/api:1.0.0"),
    }.items():
        file = world.root / "checkout" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return world


def checked(world: World, form: str, *options: str, path: str = ".", cwd: str = "checkout") -> Completed:
    done = world.run("check", path, "--format", form, *options, cwd=world.root / cwd)
    assert done.code == 1
    assert done.err == ""
    return done


def test_the_command_offers_every_format() -> None:
    (option,) = [p for p in checking.check.params if p.name == "form"]
    assert tuple(option.type.choices) == tuple(FORMATS)  # type: ignore[attr-defined]


# -- each format as its reader takes it ----------------------------------------------------------------


def test_json_is_the_same_by_both_options(world: World) -> None:
    told = checked(world, "json").json
    assert told == world.run("check", "--output", "json", cwd=world.root / "checkout").json
    assert (told["passed"], told["workloads"], told["sites"]) == (False, 3, 2)
    assert [(f["level"], f["file"], f["line"], f["column"]) for f in told["findings"]] == [
        ("error", "policies/shop.yaml", 8, 13),
        ("warning", "policies/shop.yaml", 5, 24),
    ]


def test_github_shows_each_finding_at_its_line(world: World) -> None:
    lines = checked(world, "github").out.splitlines()
    assert lines[0] == (
        "::error file=policies/shop.yaml,line=8,col=13,endColumn=17,title=policy/unquoted::"
        'workloads.old.semver is the number 1.10 to YAML, expected text%0Anext: put it in quotes: "1.10"'
    )
    assert lines[1].startswith("::warning file=policies/shop.yaml,line=5,col=24,endColumn=26,title=lint/")
    assert lines[2:] == ["3 workloads, 2 sites: 1 error, 1 warning"]


@pytest.mark.parametrize(("path", "cwd"), [("checkout", "."), ("../checkout", "tmp")])
def test_ci_systems_get_paths_from_where_they_are(world: World, path: str, cwd: str) -> None:
    expected = "checkout/policies/shop.yaml" if cwd == "." else "policies/shop.yaml"
    assert f"file={expected}," in checked(world, "github", path=path, cwd=cwd).out
    (first, *_) = checked(world, "sarif", path=path, cwd=cwd).json["runs"][0]["results"]
    assert first["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == expected


def test_a_place_is_told_once_wherever_people_look_from(world: World) -> None:
    out = checked(world, "github", path="checkout", cwd=".").out
    assert "policy/unquoted::workloads.old.semver is the number" in out
    sentences = [line.partition("::")[2] for line in out.splitlines()]
    assert not any("::policies/" in sentence for sentence in sentences)


def test_junit_has_a_case_for_each_finding_and_each_clean_file(world: World) -> None:
    root = ElementTree.fromstring(checked(world, "junit").out)
    (suite,) = root
    assert (root.tag, suite.tag) == ("testsuites", "testsuite")
    counts = {"tests": "3", "failures": "1", "errors": "0"}
    assert {name: root.get(name) for name in counts} == counts
    assert {name: suite.get(name) for name in (*counts, "skipped")} == {**counts, "skipped": "1"}
    cases = [(case.get("classname"), case.get("name"), [part.tag for part in case]) for case in suite]
    assert cases == [
        ("policies/shop.yaml", "line 8: policy/unquoted", ["failure"]),
        ("policies/shop.yaml", "line 5: lint/upper-prerelease", ["skipped"]),
        ("policies/fine.yaml", "check", []),
    ]
    failure = suite[0][0]
    assert failure.get("message") == "workloads.old.semver is the number 1.10 to YAML, expected text"
    assert failure.text is not None
    assert 'next: put it in quotes: "1.10"' in failure.text


def test_junit_fails_warnings_where_they_fail(world: World) -> None:
    (suite,) = ElementTree.fromstring(checked(world, "junit", "--strict").out)
    assert (suite.get("failures"), suite.get("skipped")) == ("2", "0")


# -- SARIF, by the rules of its schema (OASIS, sarif-schema-2.1.0.json) ---------------------------------

OBJECTS: dict[str, tuple[set[str], set[str]]] = {
    # object -> required properties, others that are known
    "log": ({"version", "runs"}, {"$schema"}),
    "run": ({"tool"}, {"results", "columnKind"}),
    "tool": ({"driver"}, set()),
    "driver": ({"name"}, {"version", "rules", "informationUri"}),
    "rule": ({"id"}, {"shortDescription", "fullDescription", "help", "defaultConfiguration"}),
    "text": ({"text"}, {"markdown"}),
    "configuration": (set(), {"level"}),
    "result": ({"message"}, {"ruleId", "ruleIndex", "level", "locations"}),
    "location": (set(), {"physicalLocation"}),
    "physical": ({"artifactLocation"}, {"region"}),
    "artifact": (set(), {"uri", "uriBaseId"}),
    "region": (set(), {"startLine", "startColumn", "endLine", "endColumn"}),
}
LEVELS = {"none", "note", "warning", "error"}


def valid(kind: str, found: Any) -> Any:
    """A value after making sure that its properties are those of the schema."""
    required, known = OBJECTS[kind]
    assert isinstance(found, dict)
    assert required <= found.keys() <= required | known, f"{kind}: {sorted(found)}"
    return found


def results(text: str) -> list[Mapping[str, Any]]:
    """The results of a SARIF log that is valid in every part."""
    log = valid("log", json.loads(text))
    assert log["version"] == "2.1.0"
    assert log["$schema"].endswith("sarif-2.1.0.json")
    (run,) = log["runs"]
    driver = valid("driver", valid("tool", valid("run", run)["tool"])["driver"])
    assert run["columnKind"] in ("utf16CodeUnits", "unicodeCodePoints")
    rules = [valid("rule", rule) for rule in driver["rules"]]
    assert len({rule["id"] for rule in rules}) == len(rules)
    for rule in rules:
        for key in ("shortDescription", "fullDescription", "help"):
            assert valid("text", rule[key])["text"]
        assert valid("configuration", rule["defaultConfiguration"])["level"] in LEVELS
    for result in run["results"]:
        assert valid("text", valid("result", result)["message"])["text"]
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["level"] in LEVELS
        (location,) = result["locations"]
        physical = valid("physical", valid("location", location)["physicalLocation"])
        uri = valid("artifact", physical["artifactLocation"])["uri"]
        assert re.fullmatch(r"(?:[A-Za-z0-9._~/!$&'()*+,;=@-]|%[0-9A-F]{2})+", uri)
        region = valid("region", physical.get("region", {}))
        assert all(type(number) is int and number >= 1 for number in region.values())
        assert region.get("endColumn", 2) > region.get("startColumn", 1)
    return list(run["results"])


def test_sarif_is_valid_and_its_rules_help(world: World) -> None:
    done = checked(world, "sarif")
    error, warning = results(done.out)
    assert (error["ruleId"], error["level"]) == ("policy/unquoted", "error")
    assert (warning["ruleId"], warning["level"]) == ("lint/upper-prerelease", "warning")
    assert error["message"]["text"].endswith('Next: put it in quotes: "1.10".')
    region = error["locations"][0]["physicalLocation"]["region"]
    assert region == {"startLine": 8, "startColumn": 13, "endColumn": 17}
    rules = done.json["runs"][0]["tool"]["driver"]["rules"]
    assert [rule["fullDescription"]["text"] for rule in rules] == [
        CODES[code].meaning for code in ("policy/unquoted", "lint/upper-prerelease")
    ]


# -- strangers' words ----------------------------------------------------------------------------------

HOSTILE = '::set-env name=X::y%0A\x1b[31m\n::error::gone<![CDATA[]]>&"\u202e\udc80'


def hostile() -> Verdict:
    why = reason("lint/unowned", site=HOSTILE, image=HOSTILE)
    return Verdict(
        1, 1, (Finding(False, f"apps/{HOSTILE}.yaml", 3, why, text=HOSTILE, column=1, end=5),), (HOSTILE,)
    )


@pytest.mark.parametrize("form", [terminal, github, plain_json, sarif, junit])
def test_no_line_begins_a_command_and_nothing_reaches_the_terminal(form: Any) -> None:
    text = form(hostile(), strict=False)
    commands = [line for line in text.splitlines() if line.lstrip().startswith(("::", "##["))]
    if form is github:
        (command,) = commands
        assert command.startswith("::warning file=apps/%3A%3Aset-env name=X%3A%3Ay%250A [31m")
        assert command.split("::", 2)[1].endswith(",title=lint/unowned")
    else:
        assert commands == []
    assert "\x1b" not in re.sub(r"\x1b\[[0-9;]*m", "", text) if form is terminal else "\x1b" not in text
    if form is not plain_json:
        assert "\u202e" not in text


def test_hostile_words_stay_values_in_json_and_xml() -> None:
    (finding,) = json.loads(plain_json(hostile(), strict=False))["findings"]
    assert finding["file"] == f"apps/{HOSTILE}.yaml"
    (suite,) = ElementTree.fromstring(junit(hostile(), strict=True))
    assert [case.tag for case in suite] == ["testcase", "testcase"]
    (result,) = results(sarif(hostile(), strict=False))
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"].startswith("apps/%3A%3A")


ESCAPED = st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF, categories=["Cs"])
"""Bytes of file names that are no UTF-8, as Python has them."""
ANY = st.text(st.characters() | ESCAPED | st.sampled_from("\x1b\r\n:%<&]\u2028"), max_size=60)


@given(
    file=ANY.filter(bool),
    words=ANY,
    text=st.none() | ANY.map(lambda line: line.replace("\n", " ")),
    line=st.none() | st.integers(1, 10_000),
    error=st.booleans(),
)
def test_whatever_strangers_write_every_format_can_be_read(
    file: str, words: str, text: str | None, line: int | None, error: bool
) -> None:
    length = len(text or "")
    why = Reason("lint/unowned", reason("lint/unowned", site=words, image=words).params)
    finding = Finding(error, file, line, why, text=text, column=1 if length else None, end=1 + length)
    verdict = Verdict(1, 1, (finding,), (file,))
    assert len(results(sarif(verdict, strict=False))) == 1
    assert len(json.loads(plain_json(verdict, strict=False))["findings"]) == 1
    ElementTree.fromstring(junit(verdict, strict=True))
    assert len(github(verdict, strict=False).splitlines()) == 2
    shown = terminal(verdict, strict=False)
    assert all(
        re.match(r"(?:\x1b\[[0-9;]*m)*(?:error|warning):|  |1 workload|\Z", line)
        for line in shown.split("\n")
    )


def test_a_caret_stands_under_wide_characters_and_tabs() -> None:
    why = reason("lint/unowned", site="s", image="i")
    finding = Finding(False, "a.yaml", 7, why, text="\t名: x # é", column=5, end=6)
    lines = terminal(Verdict(1, 1, (finding,)), strict=False).splitlines()
    plain = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in lines]
    assert plain[1:3] == ["  7 |  名: x # é", "    |      ^"]


def test_the_page_names_every_warning_of_its_own() -> None:
    page = (ROOT / "docs/check.md").read_text()
    listed = set(re.findall(r"`(lint/[a-z-]+)`", page))
    assert listed == {code for code in CODES if code.startswith("lint/")}
    assert all(f"`{form}`" in page for form in FORMATS)
