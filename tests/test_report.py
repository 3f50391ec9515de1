"""`report` as people run it, on a month whose figures were counted by hand (parts/story.py)."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from parts.gitserver import BareRepo
from parts.story import HOST, Story, may, september
from parts.world import World

from automator.cli.entry import automator

HOUR = 3600
MONTH = ("--since", "2026-09-01", "--until", "2026-09-30")


def said(world: World, *arguments: str) -> str:
    """What the command itself prints, without a process for it."""
    words = ["--config", str(world.config), "report", *arguments]
    done = CliRunner().invoke(automator, words, standalone_mode=False)
    assert done.exception is None, done.exception
    return done.stdout


def asked(world: World, *arguments: str) -> Any:
    return json.loads(said(world, *arguments, "-o", "json"))


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
    groups = asked(told, *MONTH, "--by", by)["groups"]
    assert {
        group["name"]: (
            group["figures"]["deployment_frequency"]["deployments"],
            group["figures"]["change_failure_rate"]["failed"],
        )
        for group in groups
    } == expected


def test_the_figures_of_one_owner_alone(told: World) -> None:
    figures = asked(told, *MONTH, "--owner", "team-api")["figures"]
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
    quiet = ("--since", "2026-09-22", "--until", "2026-09-25")
    rows = [re.split(r"\s{2,}", line) for line in said(told, *quiet).splitlines()]
    assert [row[1:3] for row in rows if len(row) == 4] == [["VALUE", "LEVEL"], *[["no data"] * 2] * 4]
    figures = asked(told, *quiet)["figures"]
    assert [figures[name]["level"] for name in figures if name != "skewed"] == [None] * 4
    assert figures["change_failure_rate"]["rate"] is None


def test_a_failure_counts_for_the_period_of_its_deployment(told: World) -> None:
    """The revert came two hours later, after the end of the period."""
    period = ("--since", "2026-09-02T11:00:00Z", "--until", "2026-09-02T13:00:00Z")
    figures = asked(told, *period)["figures"]
    assert figures["change_failure_rate"]["failed"] == 1
    assert figures["time_to_restore"]["median"] == 2 * HOUR


def test_figures_begin_where_the_history_does(told: World) -> None:
    found = asked(told, "--since", "2026-01-01", "--until", "2026-09-30")
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
    found = asked(world, *MONTH)
    assert found["since"] > "2026-09-12"
    assert "of prod that was read begins at" in found["notes"][0]
    before = asked(world, "--since", "2026-08-02", "--until", "2026-08-31")
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
    found = asked(world, *MONTH)
    (release,) = found["slowest"]
    assert release["stations"] == {"proposed": "2026-09-02T10:00:00Z", "merged": "2026-09-03T12:00:00Z"}
    assert release["legs"] == [{"from": "proposed", "to": "merged", "guard": None, "seconds": 26 * HOUR}]
    assert found["stations"][0]["leg"] == "proposed → merged"


# -- another month, by hand ---------------------------------------------------------------------------

MAY = ("--since", "2026-05-01", "--until", "2026-05-31")


@pytest.fixture(scope="module")
def spring(tmp_path_factory: pytest.TempPathFactory) -> World:
    world = World(tmp_path_factory.mktemp("spring"), HOST)
    may(world.repo)
    return world


def test_another_month_counted_by_hand(spring: World) -> None:
    found = asked(spring, *MAY)
    figures = found["figures"]
    # 1.1.0, 1.2.0, the pull request, the revert of its revert, the group, 1.5.0 in the last hours of May.
    assert figures["deployment_frequency"] == {"deployments": 6, "per_day": 0.1935, "level": "high"}
    # 4 h from the source's commit, 1 h, a day for each of the group, 1 h; two tell neither.
    lead = figures["lead_time"]
    assert (lead["n"], lead["least"], lead["median"], lead["greatest"]) == (5, HOUR, 4 * HOUR, 24 * HOUR)
    assert (lead["from_source"], lead["from_build"], lead["unknown"]) == (1, 4, 2)
    # The rollback went past 1.1.0, which 1.2.0 had superseded, too; the revert past the pull request.
    assert figures["change_failure_rate"] == {
        "failed": 3,
        "rate": 0.5,
        "ways": {"rolled back": 2, "reverted": 1},
        "level": "low",
    }
    # 5 h, 3 h, and 2 h since the merge: the pull request was made long before.
    restore = figures["time_to_restore"]
    assert (restore["n"], restore["least"], restore["median"], restore["greatest"], restore["level"]) == (
        *(3, 2 * HOUR, 3 * HOUR, 5 * HOUR),
        "high",
    )
    ways = {(one["to"], one["stations"]["merged"]): one for one in found["slowest"]}
    first = ways["1.1.0", "2026-05-05T10:00:00Z"]
    assert [(leg["from"], leg["to"], leg["seconds"]) for leg in first["legs"]] == [
        ("source commit", "built", 2 * HOUR),
        ("built", "merged", 2 * HOUR),
    ]
    pull = ways["1.3.0", "2026-05-12T18:00:00Z"]
    assert [(leg["from"], leg["to"], leg["seconds"]) for leg in pull["legs"]] == [
        ("proposed", "merged", 9 * HOUR)
    ]
    assert pull["failure"] == "reverted"
    assert ways["1.3.0", "2026-05-13T20:00:00Z"]["failure"] is None, "the revert of a revert"


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        (("--by", "owner"), {"team-api": (1, 0, 1), "team-web": (6, 3, 4)}),
        (("--by", "environment"), {"api-live": (1, 0, 1), "web-live": (6, 3, 4)}),
        (("--by", "repo"), {"shop": (6, 3, 5)}),
        (("--by", "month"), {"2026-05": (6, 3, 5)}),
        (("--workload", "api"), {"shop/api": (1, 0, 1)}),
        (("--environment", "api-live"), {"shop/api": (1, 0, 1)}),
        (("--owner", "team-web", "--repo", "shop"), {"shop/web": (6, 3, 4)}),
        (("--owner", "nobody"), {}),
    ],
)
def test_each_filter_and_grouping(
    spring: World, chosen: tuple[str, ...], expected: dict[str, tuple[int, int, int]]
) -> None:
    """Deployments, failed ones and known lead times: a group counts once, and once for each owner."""
    assert {
        group["name"]: (
            group["figures"]["deployment_frequency"]["deployments"],
            group["figures"]["change_failure_rate"]["failed"],
            group["figures"]["lead_time"]["n"],
        )
        for group in asked(spring, *MAY, *chosen)["groups"]
    } == expected


@pytest.mark.parametrize(
    ("since", "until", "deployments"),
    [
        ("2026-05-31", "2026-05-31", 1),  # UTC, whatever the committer's zone
        ("2026-06-01", "2026-06-01", 0),
        ("2026-06-01T02:00:00+05:30", "2026-06-01T02:00:01+05:30", 1),
        ("2026-05-31T20:30:01Z", "2026-06-01", 0),
        ("2026-05-20", "2026-05-20T10:00:00Z", 0),  # the end does not count
        ("2026-05-20T10:00:00", "2026-05-20", 1),
    ],
)
def test_periods_are_exact_in_any_time_zone(spring: World, since: str, until: str, deployments: int) -> None:
    figures = asked(spring, "--since", since, "--until", until)["figures"]
    assert figures["deployment_frequency"]["deployments"] == deployments


def test_one_release_and_none_at_all(tmp_path: Path) -> None:
    world = World(tmp_path, HOST)
    assert "no commits" in world.run("report").err
    story = Story(world.repo)
    story.adopt("05-01 00:00", web="1.0.0")
    for form in ((), ("--html", "-")):
        assert said(world, *MAY, *form).count("no data") >= 4, "an adoption is no release"
    story.release("05-03 00:00", source="05-02 12:00", built="05-02 18:00", web="1.1.0")
    text = said(world, *MAY)
    rows = {row[0]: row[1:] for row in (re.split(r"\s{2,}", line) for line in text.splitlines())}
    assert rows["deployment frequency"] == ["1.0 a month", "medium", "1 deployment in 31 days"]
    assert rows["lead time for changes"][:2] == ["12h", "elite"]
    assert rows["lead time for changes"][2].endswith("1 from the source's commit, 0 from the build")
    assert rows["change failure rate"][:2] == ["0.0 %", "elite"]
    assert rows["time to restore"] == ["no data", "no data", "n = 0"]


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
        (("--until", "0001-02-01"), "--until takes no 0001-02-01"),
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
