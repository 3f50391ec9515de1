"""`report` as people run it, on a month whose figures were counted by hand (parts/story.py)."""

from __future__ import annotations

import csv
import io
import os
import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from parts.gitserver import BareRepo
from parts.story import HOST, Story, september
from parts.world import World

HOUR = 3600
MONTH = ("--since", "2026-09-01", "--until", "2026-09-30")


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> World:
    world = World(tmp_path_factory.mktemp("told"), HOST)
    september(world.repo)
    return world


def test_the_four_figures_of_a_month_counted_by_hand(told: World) -> None:
    found = told.run("report", *MONTH, "-o", "json").fine().json
    figures = found["figures"]
    assert (found["since"], found["until"]) == ("2026-09-01T00:00:00Z", "2026-10-01T00:00:00Z")
    # 1.1.0, 1.2.0, 1.2.1, the group of 1.3.0 and 2.1.0, api by hand, 1.4.0; a revert is none.
    assert figures["deployment_frequency"] == {"deployments": 6, "per_day": 0.2, "level": "high"}
    # 1 h, 3 h, 1 h, and a day for each of the group; 1.4.0 was built after its release; one by hand.
    lead = figures["lead_time"]
    assert (lead["n"], lead["median"], lead["greatest"], lead["p90"]) == (5, 3 * HOUR, 24 * HOUR, None)
    assert (lead["unknown"], lead["from_build"], lead["from_source"], lead["level"]) == (1, 5, 0, "elite")
    assert figures["skewed"] == 1
    # 1.2.0 reverted, the group rolled back at one of its two, 2.2.0 rejected.
    assert figures["change_failure_rate"] == {
        "failed": 3,
        "rate": 0.5,
        "ways": {"rolled back": 1, "reverted": 1, "rejected": 1},
        "level": "low",
    }
    restore = figures["time_to_restore"]
    assert (restore["n"], restore["least"], restore["median"], restore["greatest"]) == (
        3,
        2 * HOUR,
        12 * HOUR,
        24 * HOUR,
    )
    assert (restore["unrestored"], restore["level"]) == (0, "high")


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("workload", {"shop/api": (2, 2), "shop/web": (5, 1)}),
        (
            "week",
            {
                "2026-W36": (4, 2),
                "2026-W37": (1, 1),
                "2026-W38": (1, 0),
                "2026-W39": (0, 0),
                "2026-W40": (0, 0),
            },
        ),
    ],
)
def test_figures_told_apart(told: World, by: str, expected: dict[str, tuple[int, int]]) -> None:
    groups = told.run("report", *MONTH, "--by", by, "-o", "json").fine().json["groups"]
    assert {
        group["name"]: (
            group["figures"]["deployment_frequency"]["deployments"],
            group["figures"]["change_failure_rate"]["failed"],
        )
        for group in groups
    } == expected


def test_the_figures_of_one_owner_alone(told: World) -> None:
    figures = told.run("report", *MONTH, "--owner", "team-api", "-o", "json").fine().json["figures"]
    assert figures["deployment_frequency"]["deployments"] == 2
    assert figures["change_failure_rate"]["rate"] == 1.0


def test_the_report_reads_as_text(told: World) -> None:
    text = told.run("report", *MONTH).fine().out
    rows = {row[0]: row[1:] for row in (re.split(r"\s{2,}", line) for line in text.splitlines())}
    assert text.startswith("delivery from 2026-09-01 00:00 UTC to 2026-10-01 00:00 UTC, 30 days\n")
    assert rows["deployment frequency"] == ["1.4 a week", "high", "6 deployments in 30 days"]
    assert rows["lead time for changes"][:2] == ["3h", "elite"]
    assert rows["change failure rate"][:2] == ["50.0 %", "low"]
    assert rows["time to restore"] == ["12h", "high", "n = 3, 2h to 1d"]
    assert rows["shop/api"] == ["2", "2.0 a month", "1d", "100.0 % (2)", "18h"]
    assert "1 leg left out: two clocks disagree there" in text


def test_a_period_without_releases_has_no_data_and_no_level(told: World) -> None:
    done = told.run("report", "--since", "2026-09-22", "--until", "2026-09-25")
    assert [line.split("  ")[-1] for line in done.fine().out.splitlines() if "no data" in line]
    figures = told.run("report", "--since", "2026-09-22", "--until", "2026-09-25", "-o", "json").json[
        "figures"
    ]
    assert [figures[name]["level"] for name in figures if name != "skewed"] == [None] * 4
    assert figures["change_failure_rate"]["rate"] is None


def test_a_failure_counts_for_the_period_of_its_deployment(told: World) -> None:
    """The revert came two hours later, after the end of the period."""
    period = ("--since", "2026-09-02T11:00:00Z", "--until", "2026-09-02T13:00:00Z")
    figures = told.run("report", *period, "-o", "json").fine().json["figures"]
    assert figures["change_failure_rate"]["failed"] == 1
    assert figures["time_to_restore"]["median"] == 2 * HOUR


def test_figures_begin_where_the_history_does(told: World) -> None:
    found = told.run("report", "--since", "2026-01-01", "--until", "2026-09-30", "-o", "json").fine().json
    assert found["since"] == "2026-08-20T10:00:00Z"
    assert "begins at 2026-08-20 10:00 UTC" in found["notes"][0]


def test_what_was_not_read_of_one_config_repo_counts_for_none(tmp_path: Path) -> None:
    world = World(tmp_path, HOST)
    other = BareRepo.create(tmp_path / "git" / "prod.git")
    story = Story(world.repo)
    story.adopt("08-01 10:00", web="1.0.0")
    story.release("09-02 10:00", web="1.1.0")
    long = Story(other)
    long.adopt("09-10 10:00", web="1.0.0")
    for number in range(1, 9):
        long.release(f"09-{number + 11} 10:00", web=f"1.{number}.0")
    world.configure(more=f'[repos.prod]\nurl = "file://{other.path}"\nhistory_limit = 3')
    found = world.run("report", *MONTH, "-o", "json").fine().json
    assert found["since"] > "2026-09-12"
    assert "of prod that was read begins at" in found["notes"][0]
    before = world.run("report", "--since", "2026-08-02", "--until", "2026-08-31", "-o", "json").fine().json
    assert "nothing is known of this period" in before["notes"][0]
    assert before["figures"]["deployment_frequency"]["per_day"] is None


def test_a_page_goes_through_links_and_pipes(told: World, tmp_path: Path) -> None:
    real, link, pipe = tmp_path / "real.html", tmp_path / "link.html", tmp_path / "pipe"
    real.write_text("old")
    link.symlink_to("real.html")
    os.mkfifo(pipe)
    told.run("report", *MONTH, "--html", str(link)).fine()
    assert link.is_symlink()
    assert real.read_text().startswith("<!doctype html>")
    with subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE) as reader:
        told.run("report", *MONTH, "--html", str(pipe)).fine()
        assert reader.stdout is not None
        assert reader.stdout.read().startswith(b"<!doctype html>")
    assert pipe.is_fifo()
    assert told.run("report", *MONTH, "--html", "-").fine().out.startswith("<!doctype html>")


def test_a_release_on_its_way_station_by_station(tmp_path: Path) -> None:
    """A pull request: proposed when its commit was made, merged when the merge came to the branch."""
    world = World(tmp_path, HOST)
    story = Story(world.repo)
    story.adopt("09-01 10:00", web="1.0.0")
    story.merged("09-02 10:00", "09-03 12:00", number=12, web="1.1.0")
    found = world.run("report", *MONTH, "-o", "json").fine().json
    (release,) = found["slowest"]
    assert release["stations"] == {"proposed": "2026-09-02T10:00:00Z", "merged": "2026-09-03T12:00:00Z"}
    assert release["legs"] == [{"from": "proposed", "to": "merged", "guard": None, "seconds": 26 * HOUR}]
    assert found["stations"][0]["leg"] == "proposed → merged"


class _Page(HTMLParser):
    """What a page holds: tags with attributes, and the text of its tables."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.cells: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.open.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if {"td", "th"} & set(self.open[-1:]):
            self.cells[-1] += data


def test_the_page_stands_alone_and_says_in_tables_what_it_draws(told: World, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    told.run("report", *MONTH, "--html", str(file)).fine()
    text = file.read_text("utf-8")
    page = _Page(text)
    names = [tag for tag, _ in page.tags]
    assert not {"script", "link", "img", "iframe", "object", "form"} & set(names)
    assert "://" not in re.sub(r'<a href="https://dora\.dev/[^"]*"', "", text)
    (policy,) = (a["content"] for tag, a in page.tags if tag == "meta" and "http-equiv" in a)
    assert (policy or "").startswith("default-src 'none'; style-src 'sha256-")
    assert not any("style" in attributes for _, attributes in page.tags), "the policy would drop these"
    plots = [attributes for tag, attributes in page.tags if tag == "svg" and attributes.get("role") == "img"]
    ids = {attributes.get("id") for tag, attributes in page.tags if tag in ("title", "desc")}
    assert len(plots) == 4
    assert all(set((plot["aria-labelledby"] or "").split()) <= ids for plot in plots)
    assert {"2026-W36", "shop/web 1.2.1", "shop/api", "50.0 %"} & set(page.cells) >= {
        "2026-W36",
        "shop/web 1.2.1",
        "shop/api",
    }
    assert "50.0 %" in text


def test_the_page_shows_hostile_names_as_text(tmp_path: Path) -> None:
    world = World(tmp_path, HOST)
    story = Story(world.repo)
    story.adopt("09-01 10:00", keys='owner: "<script>alert(1)</script>"', web="1.0.0")
    story.release("09-02 10:00", built="09-02 09:00", web="1.1.0")
    file = tmp_path / "report.html"
    world.run("report", *MONTH, "--by", "owner", "--html", str(file)).fine()
    assert "<script" not in file.read_text("utf-8")
    assert "&lt;script&gt;" in file.read_text("utf-8")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--since", "yesterday"), "--since takes no yesterday"),
        (("--since", "2026-13-01"), "--since takes no 2026-13-01"),
        (("--since", "2026-09-30", "--until", "2026-09-01"), "nothing lies between"),
        (("--since", "2999-01-01"), "nothing lies between"),
        (("--html", "-", "-o", "json"), "both want standard output"),
        (("--html", "/nonexistent/report.html"), "cannot write /nonexistent/report.html"),
    ],
)
def test_wrong_usage_is_said_in_a_sentence(told: World, arguments: tuple[str, ...], complaint: str) -> None:
    done = told.run("report", *arguments)
    assert done.code == 2
    assert complaint in done.err
    assert "Traceback" not in done.err


def test_csv_is_for_the_log_alone(told: World) -> None:
    assert told.run("-o", "csv", "report").code == 2
    rows = list(csv.DictReader(io.StringIO(told.run("-o", "csv", "log", "-n", "2").fine().out)))
    assert len(rows) == 2
