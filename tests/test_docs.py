"""What the README and the other pages say holds: commands, links, snippets, files."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import get_args
from urllib.parse import unquote

import pytest

from automator import __version__
from automator.cli.commands import COMMANDS
from automator.cli.entry import automator
from automator.config import load
from automator.config.outside import Sender
from automator.edges.webhook import SENDERS
from automator.edges.webhook.senders import Evidence
from automator.reasons import CODES, Code, Status
from bench import codes

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *ROOT.glob("deploy/**/*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "policies").rglob("*.md"),
    ]
)
README = (ROOT / "README.md").read_text()
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()
TROUBLE = codes.PAGE.read_text()

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def anchors(page: Path) -> set[str]:
    """The headings of a page as a forge makes links of them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def table() -> list[str]:
    """The first word after `automator` in each row of the README's table of commands."""
    return re.findall(r"^\| `automator (\S+?)[ `]", README, re.MULTILINE)


def test_the_table_has_every_command_and_no_other() -> None:
    assert set(table()) == {command.name for command in COMMANDS}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_command_and_option_that_a_page_shows_exists(page: Path) -> None:
    commands = {command.name: command for command in COMMANDS}
    words = re.findall(r"`automator ([^`]+)`", page.read_text())
    for _, block in FENCE.findall(page.read_text()):
        words += re.findall(r"^(?:\$ )?automator ([^#\n]+)", block, re.MULTILINE)
    for line in words:
        name, *rest = line.split()
        if name in {flag for option in automator.params for flag in option.opts}:
            continue
        assert name in commands, f"{page.name} shows `automator {line}`"
        options = {flag for option in commands[name].params for flag in option.opts}
        for word in rest:
            assert not word.startswith("-") or word in options, f"{page.name} shows `automator {line}`"


def test_options_beside_the_table_exist() -> None:
    flags = set(re.findall(r"`(--[a-z-]+)", README))
    known = {flag for command in COMMANDS for option in command.params for flag in option.opts}
    assert flags - known == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    for link in LINK.findall(page.read_text()):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = unquote(link).partition("#")
        target = (page.parent / path) if path else page
        assert target.exists(), f"{page.name} links to {link}"
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), f"{page.name} links to {link}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_reason_code_that_a_page_names_exists(page: Path) -> None:
    areas = "|".join(sorted({re.escape(code.partition("/")[0]) for code in CODES}))
    named = set(re.findall(rf"`((?:{areas})/[a-z][a-z-]*)`", page.read_text()))
    files = {name for name in named if (ROOT / name).exists() or (ROOT / "automator" / name).exists()}
    assert named - files <= CODES.keys()


def test_the_five_outcomes_are_named_as_they_are() -> None:
    assert f"*{', '.join(Status)}*" in README


@pytest.mark.parametrize("target", re.findall(r"^make ([a-z-]+)", README, re.MULTILINE))
def test_make_targets_of_the_readme_exist(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_variables_of_the_readme_override(tmp_path: Path) -> None:
    shown = re.findall(r"`(AUTOMATOR_[A-Z_]+)=([^`]+)`", README)
    assert shown
    file = tmp_path / "config.toml"
    file.write_text('[repos.shop]\nurl = "/r"\n')
    for name, value in shown:
        assert load(file, {name: value}) != load(file, {})


def test_the_first_screen_shows_what_it_is() -> None:
    """Five lines, one diagram, a one-line diff, `make demo`, `make test`: before the first heading."""
    screen = README.partition("\n## ")[0]
    (diff,) = re.findall(r"```diff\n(.*?)```", screen, re.DOTALL)
    assert [len(re.findall(rf"^\{sign}", diff, re.MULTILINE)) for sign in "+-"] == [1, 1]
    assert screen.count("```\n") >= 3
    assert "make demo " in screen
    assert "make test " in screen


def test_the_changelog_knows_this_version_and_its_commands() -> None:
    assert f"## [{__version__}]" in CHANGELOG
    assert CHANGELOG.index("## [Unreleased]") < CHANGELOG.index(f"## [{__version__}]")
    for command in COMMANDS:
        assert f"`{command.name}`" in CHANGELOG


def test_scripts_that_pages_name_can_be_run() -> None:
    for script in (".ci/run", ".ci/debian-packages"):
        assert os.access(ROOT / script, os.X_OK)


# -- senders of events ---------------------------------------------------------------------------------


def test_the_page_on_events_has_every_sender_and_says_how_well_it_is_proven() -> None:
    words = {
        None: "",
        Evidence.RECORDED: "proven",
        Evidence.CONSTRUCTED: "unproven",
        Evidence.NONE: "our own format",
    }
    rows = [
        f"| `{name}` | {sender.title} | {sender.proof} | {words[sender.images]} | {words[sender.git]} |"
        for name, sender in SENDERS.items()
    ]
    shown = [line for line in (ROOT / "docs/hooks.md").read_text().splitlines() if line.startswith("| `")]
    assert shown == rows
    assert set(SENDERS) == set(get_args(Sender))


# -- the index, and the page on trouble ----------------------------------------------------------------


def test_the_index_has_every_page() -> None:
    listed = {link.partition("#")[0] for link in LINK.findall((ROOT / "docs/README.md").read_text())}
    pages = {page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").rglob("*.md")}
    assert pages - {"README.md"} - listed == set()


def test_the_page_on_trouble_has_every_code_as_the_program_has_it() -> None:
    assert codes.page(TROUBLE) == TROUBLE, "run `make docs`"
    assert re.findall(r"^#### `([^`]+)`$", TROUBLE, re.MULTILINE) == [
        row.code for row in sorted(CODES.values(), key=codes.area_of)
    ]
    assert {code.partition("/")[0] for code in CODES} == codes.AREAS.keys()


@pytest.mark.parametrize("row", CODES.values(), ids=CODES)
def test_every_code_says_more_than_its_sentence(row: Code) -> None:
    """Who looks a code up has read the sentence already."""
    assert len(row.meaning.split()) >= 6
    words = set(re.findall(r"\w+", row.meaning.lower()))
    assert words - set(re.findall(r"\w+", row.sentence.lower()))


def test_text_of_a_code_is_shown_as_it_is() -> None:
    assert codes.shown("{file}:{line}: `{key}` is not *that*") == "FILE:LINE: `KEY` is not *that*"
    assert codes.plain("a <b> of `x*y` [z] *") == r"a \<b> of `x*y` \[z\] \*"
    assert codes.quoted("`a` b") == "`` `a` b ``"


def test_the_page_on_credentials_has_every_secret_that_the_one_on_security_has() -> None:
    rights = (ROOT / "docs/security.md").read_text().partition("\n## Credentials\n")[2].partition("\n## ")[0]
    page = (ROOT / "docs/credentials.md").read_text()
    named = re.findall(r"`(\w+)\.(?:NAME|HOST)\.[\w.]+`", rights)
    assert len(named) > 10
    assert {f"{table}." for table in named if f"{table}." not in page and f"[{table}" not in page} == set()
    assert "security.md#credentials" in page


def test_sizes_that_are_promised_are_ones_that_were_measured() -> None:
    operations = (ROOT / "docs/operations.md").read_text()
    sizes = operations.partition("\n## Sizes\n")[2].partition("\n## ")[0]
    figures = re.findall(r"\b\d[\d.,]* (?:MB|s|ms|%)(?!\w)", sizes)
    assert len(figures) > 4
    measured = (ROOT / "docs/benchmarks.md").read_text()
    assert [figure for figure in figures if figure not in measured] == []
    asked = (ROOT / "deploy/kubernetes/base/deployment.yaml").read_text()
    claimed = (ROOT / "deploy/kubernetes/base/state.yaml").read_text()
    for amount in re.findall(r"\b\d+[MG]i\b", sizes):
        assert amount in asked + claimed


def test_the_comparison_names_what_we_lose_first_and_when_it_was_read() -> None:
    """Honest: every tool has a cell in every row, and the rows that speak against us come first."""
    _, _, section = README.partition("\n## Beside other tools\n")
    rows = [line.split("|")[1:-1] for line in section.splitlines() if line.startswith("|")]
    assert {len(row) for row in rows} == {7}
    assert [name.split()[0] for name in rows[0][1:]] == [
        "automator",
        "Flux",
        "Argo",
        "Kargo",
        "Keel",
        "Renovate",
    ]
    heads = [i for i, row in enumerate(rows) if row[0].strip().startswith("**")]
    assert [rows[i][0].strip(" *") for i in heads] == ["where others do more", "where we do more, or as much"]
    assert heads[1] - heads[0] > 6, "rows that we lose"
    assert re.search(r"20\d\d", section)


@pytest.mark.parametrize(
    "page",
    [
        page
        for page in PAGES
        if page.name not in ("CHANGELOG.md", "troubleshooting.md", "benchmarks.md", "design.md")
    ],
    ids=lambda p: str(p.relative_to(ROOT)),
)
def test_no_paragraph_is_a_wall(page: Path) -> None:
    """Who looks something up reads lists and short paragraphs: no part of a page has more than 105 words."""
    prose = re.sub(r"^( *)```.*?^ *```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    parts = re.split(r"\n\s*\n|\n(?=\s*(?:[-*]|\d+\.) )|\n(?=[|#])", prose)
    long = {part.strip()[:60]: len(part.split()) for part in parts if not part.lstrip().startswith("|")}
    assert {start: words for start, words in long.items() if words > 105} == {}


def test_the_readme_is_no_book() -> None:
    assert len(README.splitlines()) <= 250
