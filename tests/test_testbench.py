"""`explain --tags-file`: a policy's test bench, offline."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from parts import launching
from parts.world import Completed

POLICY = """\
version: 1
workloads:
  web:
    image: ghcr.io/acme/web
    semver: ">=1.4 <2"
    min_age: 30m
    platforms: [linux/amd64]
    windows: [{allow: "0 9 * * 1-5", for: 8h, zone: Europe/Berlin}]
"""
TAGS = """\
# what the registry could answer
1.4.2
1.4.3 seen=2026-11-20T10:12:00Z
1.4.4 platforms=linux/arm64
1.5.0-rc.1
2.0.0
latest   # moving
"""


@pytest.fixture
def bench(tmp_path: Path) -> Path:
    (tmp_path / "policy.yaml").write_text(POLICY)
    (tmp_path / "tags.txt").write_text(TAGS)
    return tmp_path


def run(folder: Path, *arguments: str) -> Completed:
    env = {"PATH": "/nowhere", "LC_ALL": "C.UTF-8"}
    return Completed.of(launching.execute(["explain", *arguments], cwd=folder, env=env))


def explain(folder: Path, *more: str, at: str = "2026-11-20T10:24:00Z") -> Completed:
    return run(folder, "--tags-file", "tags.txt", "--policy", "policy.yaml", "--at", at, *more)


def test_what_stops_a_version_and_until_when_is_told_without_registry_and_config(bench: Path) -> None:
    told = json.loads(explain(bench, "--current", "1.4.2", "-o", "json").out)[0]
    assert (told["status"], told["target"]) == ("waiting", "1.4.3")
    assert told["reason"]["sentence"] == "1.4.3 is 12 minutes old; min_age 30m; eligible at 10:42 UTC"
    assert told["reason"]["changes_at"] == "2026-11-20T10:42:00Z"
    assert [(row["tag"], row["key"], row["kept"], row["reason"]["code"]) for row in told["tags"]] == [
        ("2.0.0", "2.0.0", False, "tag/range"),
        ("1.5.0-rc.1", "1.5.0-rc.1", False, "tag/prerelease"),
        ("1.4.4", "1.4.4", False, "guard/platforms"),
        ("1.4.3", "1.4.3", False, "guard/min-age"),
        ("1.4.2", "1.4.2", True, "tag/current"),
        ("latest", "latest", False, "tag/unreadable"),
    ]


@pytest.mark.parametrize(
    ("at", "code"),
    [
        ("2026-11-20T10:41:59Z", "guard/min-age"),
        ("2026-11-20T10:42:00Z", "waiting/planned"),
        ("2026-11-20T15:59:59Z", "waiting/planned"),
        ("2026-11-20T16:00:00Z", "guard/window"),  # 17:00 in Berlin
        ("2026-11-23T08:00:00Z", "waiting/planned"),
    ],
)
def test_the_moment_decides(bench: Path, at: str, code: str) -> None:
    told = json.loads(explain(bench, "--current", "1.4.2", "-o", "json", at=at).out)[0]
    assert told["reason"]["code"] == code


def test_without_a_current_version_it_is_an_adoption(bench: Path) -> None:
    told = json.loads(explain(bench, "-o", "json", at="2026-11-20T11:00:00Z").out)[0]
    assert (told["current"], told["target"]) == (None, "1.4.3")
    assert told["reason"]["sentence"].startswith("nothing -> 1.4.3")


def test_people_read_a_table(bench: Path) -> None:
    out = explain(bench, "web", "--current", "1.4.2").out
    assert "because     1.4.3 is 12 minutes old; min_age 30m; eligible at 10:42 UTC  [guard/min-age]" in out
    assert [line.split()[:4] for line in out.splitlines() if line.startswith("1.4.2")] == [
        ["1.4.2", "1.4.2", "kept", "tag/current"]
    ]


@pytest.mark.parametrize(
    ("tags", "place"),
    [
        ("1.0.0\n-x\n", "tags.txt:2"),
        ("1.0.0 seen=yesterday\n", "tags.txt:1"),
        ("1.0.0 seen=9999-12-31T23:59:00Z\n", "tags.txt:1"),
        ("1.0.0 built=0001-01-01T00:00:00+05:00\n", "tags.txt:1"),
        ("1.0.0 age=3d\n", "tags.txt:1"),
        ("1.0.0 digest=sha256:12\n", "tags.txt:1"),
    ],
)
def test_a_wrong_line_is_named(bench: Path, tags: str, place: str) -> None:
    (bench / "tags.txt").write_text(tags)
    done = explain(bench)
    assert done.code == 2
    assert place in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("api",), 'no workload "api"; there are: web'),
        (("--current", "a b"), '"a b" is no current version'),
        (("--at", "noon"), '"noon" is no time'),
        (("--at", "9999-12-31T23:59:00Z"), "1970 to 2199"),
        (("--at", "0001-01-01T00:00:00+05:00"), "1970 to 2199"),
        (("--policy", "none.yaml"), "none.yaml cannot be read"),
    ],
)
def test_wrong_use_is_one_sentence(bench: Path, more: tuple[str, ...], words: str) -> None:
    done = explain(bench, *more)
    assert (done.code, words in done.err) == (2, True), done.err


def test_options_of_the_bench_belong_together(bench: Path) -> None:
    done = run(bench, "web", "--tags-file", "tags.txt")
    assert (done.code, "belong together" in done.err) == (2, True)


def test_an_invalid_policy_says_what_is_wrong(bench: Path) -> None:
    (bench / "policy.yaml").write_text(POLICY.replace("30m", "soon"))
    done = explain(bench)
    assert done.code == 2
    assert 'workloads.web.min_age: "soon" is not a duration' in done.err


def test_rules_beside_the_policy_bind_it(bench: Path) -> None:
    (bench / "_rules.yaml").write_text("version: 1\nrules: [{min_age: 2h}]\n")
    done = explain(bench)
    assert (done.code, "min_age" in done.err) == (2, True)
    (bench / "_rules.yaml").write_text('version: 1\nrules: [{paths: ["apps/**"], registries: [quay.io]}]\n')
    done = explain(bench)
    assert (done.code, "quay.io" in done.err) == (2, True)
    (bench / "_rules.yaml").unlink()
    (bench / "_freeze.yaml").write_text("version: 1\nfreeze: {reason: audit}\n")
    assert "guard/freeze" in explain(bench).out


def test_the_time_that_is_told_is_the_one_of_the_release(bench: Path) -> None:
    (bench / "tags.txt").write_text("1.4.3 seen=2026-11-20T15:50:00Z\n")
    told = json.loads(explain(bench, "--current", "1.4.2", "-o", "json", at="2026-11-20T15:55:00Z").out)[0]
    assert told["reason"]["sentence"].endswith("min_age 30m; eligible at 2026-11-23 08:00 UTC")
    assert told["reason"]["changes_at"] == "2026-11-23T08:00:00Z"


@pytest.mark.parametrize("at", ["1970-01-01T00:00:00Z", "2199-12-31T23:59:59Z"])
def test_the_first_and_the_last_time_are_times_like_others(bench: Path, at: str) -> None:
    (bench / "policy.yaml").write_text(POLICY.replace("30m", "3650d"))
    seen = f"1.4.3 seen={at}\n1.4.4\n"
    (bench / "tags.txt").write_text(seen)
    done = explain(bench, "--current", "1.4.2", "-o", "json", at=at)
    assert (done.code, done.err) == (0, "")
    rows = {row["tag"]: row["reason"]["code"] for row in json.loads(done.out)[0]["tags"]}
    assert rows["1.4.3"] == "guard/min-age"
    assert rows["1.4.4"] != "guard/min-age"


FOLLOW = """\
version: 1
workloads:
  cache: {image: docker.io/library/redis, follow: "7"}
"""


@pytest.mark.parametrize("current", [(), ("--current", "7"), ("--current", f"7@sha256:{'a' * 64}")])
def test_a_followed_tag_is_served_by_the_file_alone(bench: Path, current: tuple[str, ...]) -> None:
    (bench / "policy.yaml").write_text(FOLLOW)
    (bench / "tags.txt").write_text("8\n")
    told = json.loads(explain(bench, *current, "-o", "json").out)[0]
    assert (told["status"], told["reason"]["code"]) == ("waiting", "tag/gone")
    (bench / "tags.txt").write_text(f"7 digest=sha256:{'b' * 64}\n8\n")
    told = json.loads(explain(bench, *current, "-o", "json").out)[0]
    assert (told["target"], told["reason"]["code"]) == ("7", "waiting/planned")
    assert told["current"] == (current[-1] if current else "7")
    same = explain(bench, "--current", f"7@sha256:{'b' * 64}", "-o", "json")
    assert json.loads(same.out)[0]["reason"]["code"] == "current/followed"
    other = explain(bench, "--current", "6", "-o", "json")
    assert json.loads(other.out)[0]["reason"]["code"] == "follow/elsewhere"


def test_a_pinned_current_version_need_not_be_in_the_file(bench: Path) -> None:
    pinned = ("--current", f"1.4.9@sha256:{'a' * 64}")
    told = json.loads(explain(bench, *pinned, "-o", "json").out)[0]
    assert (told["status"], told["reason"]["code"]) == ("current", "current/newest")
