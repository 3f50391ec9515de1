"""The command line as its users meet it: real processes, exact exit codes, what is printed where."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from parts.gitserver import BareRepo, git
from parts.registry import HostileServer, Reply, always
from parts.world import PROGRAM, Completed, EmbeddedWorld, World, deployment, until

from automator.cli.render import complain
from automator.reasons import CODES, reason

COMMANDS = ["run", "once", "plan", "check", "status", "explain", "tags", "log", "report", "health", "demo"]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with EmbeddedWorld(tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """After one release of `web`; `api` is current and `odd` is invalid. Tests only ask here."""
    with EmbeddedWorld(tmp_path_factory.mktemp("settled")) as made:
        made.push("web", "1.0.0", "1.1.0", "2.0.0", "sha256-0123.sig")
        made.push("api", "1.0.0")
        policy = made.policy("web", owner="team-a") + made.policy("api", "odd").partition("workloads:\n")[2]
        files = {made.manifest(n): deployment(made.image(n, "1.0.0"), n) for n in ("web", "api", "odd")}
        wrong = policy.replace(f"{made.image('odd')}\n    semver", f"{made.image('odd')}\n    semvr")
        assert wrong != policy
        made.repo.commit({**files, "policies/shop.yaml": wrong}, "Adopt")
        made.run("once").fine()
        yield made


def complaint(done: Completed, code: int = 2) -> str:
    """The one sentence of a refusal, after making sure that it is just that, with a next step."""
    assert done.code == code, done.err
    assert "Traceback" not in done.err
    sentence, step = done.err.splitlines()[:2]
    assert sentence.startswith("automator: ")
    assert step.startswith("  next: ")
    assert done.told_code
    return sentence.removeprefix("automator: ")


def columns(done: Completed) -> dict[str, list[str]]:
    """A table's rows by their first cell, cells parted by two blanks."""
    rows = [re.split(r"\s{2,}", line) for line in done.out.splitlines() if line]
    return {row[0]: row[1:] for row in rows}


# -- one cycle ---------------------------------------------------------------------------------------


def test_once_releases_and_says_so(world: World) -> None:
    world.push("web", "1.0.0", "1.1.0")
    world.adopt("web")
    done = world.run("once").fine()
    commit = world.repo.tip()
    assert commit is not None
    assert columns(done)["web"] == ["released", "1.1.0", f"1.0.0 -> 1.1.0 in {commit[:12]}"]
    assert done.err == ""
    assert world.version("web") == "1.1.0"
    assert git(world.repo.path, "diff", "--numstat", "HEAD~1", "HEAD") == "1\t1\tapps/web.yaml"

    again = world.run("once").fine()
    assert columns(again)["web"][0] == "current"
    assert world.repo.tip() == commit


def test_plan_shows_the_patch_that_once_pushes(world: World) -> None:
    world.push("web", "1.0.0", "1.1.0")
    world.push("api", "1.0.0", "1.0.1")
    before = world.adopt("web", "api")
    planned = world.run("plan").fine()
    assert columns(planned)["web"] == ["waiting", "1.0.0", "1.0.0 -> 1.1.0 would be released"]
    assert world.repo.tip() == before

    work = world.root / "work"
    git(world.root, "clone", "--quiet", str(world.repo.path), str(work))
    patch = planned.out[planned.out.index("--- a/") :]
    git(work, "apply", "--index", "-", feed=patch.encode())
    world.run("once").fine()
    assert git(work, "write-tree") == git(world.repo.path, "rev-parse", "main^{tree}")


def test_plan_has_the_exit_code_of_git_diff(world: World) -> None:
    world.push("web", "1.0.0", "1.1.0")
    before = world.adopt("web")
    assert world.run("plan", "--exit-code").code == 1
    told = world.run("plan", "--output", "json").fine().json
    assert told[0]["pushed"] is None
    assert told[0]["outcomes"][0]["reason"]["code"] == "waiting/planned"
    assert "+          image:" in told[0]["diff"]
    assert world.repo.tip() == before
    assert "no cycle yet" in world.run("status").fine().out, "a plan is no cycle"
    world.run("once").fine()
    assert world.run("plan", "--exit-code").code == 0


def test_mode_observe_pushes_nothing(world: World) -> None:
    world.push("web", "1.0.0", "1.1.0")
    before = world.adopt("web")
    world.configure(repo='mode = "observe"')
    done = world.run("once").fine()
    assert columns(done)["web"] == ["waiting", "1.0.0", "1.0.0 -> 1.1.0 would be released"]
    assert world.repo.tip() == before


def test_a_person_has_the_last_word(world: World) -> None:
    world.push("web", "1.0.0", "1.1.0")
    world.adopt("web")
    world.run("once").fine()
    reverted = world.revert()
    done = world.run("once").fine()
    assert columns(done)["web"] == [
        "held",
        "1.0.0",
        f"was 1.1.0 until Ann Author set 1.0.0 in {reverted[:7]}",
    ]
    assert world.repo.tip() == reverted


def test_only_the_selected_workloads_are_released(world: World) -> None:
    world.push("web", "1.0.0", "1.1.0")
    world.push("api", "1.0.0", "1.1.0")
    world.adopt("web", "api")
    done = world.run("once", "--workload", "shop/api").fine()
    assert set(columns(done)) == {"WORKLOAD", "api"}
    assert (world.version("api"), world.version("web")) == ("1.1.0", "1.0.0")
    world.run("once").fine()
    world.push("api", "1.2.0")
    world.run("once", "-w", "api").fine()
    status = columns(world.run("status").fine())
    assert status["api"][0] == "released"
    assert "web" in status, "a cycle for some workloads must not make status forget the others"


def test_a_registry_that_fails_fails_its_workload_alone(world: World) -> None:
    world.push("api", "1.0.0", "1.1.0")
    world.adopt("web", "api")
    done = world.run("once")
    assert done.code == 1
    rows = columns(done)
    assert rows["api"][0] == "released"
    assert rows["web"][0] == "failed"
    assert f"{world.image('web')}: its tags not found" in rows["web"][2]
    assert world.run("once", "-w", "api").code == 0


def test_a_server_that_refuses_one_commit_of_ten_gets_nine(world: World) -> None:
    names = [f"app{number}" for number in range(10)]
    for name in names:
        world.push(name, "1.0.0", "1.1.0")
    world.adopt(*names)
    world.repo.hook(
        "pre-receive",
        "while read -r old new ref; do\n"
        "  git log --format=%s $old..$new | grep -q 'Release app3 ' || continue\n"
        "  echo 'app3 is frozen by the release board' >&2; exit 1\ndone",
    )
    done = world.run("once")
    assert done.code == 1
    rows = columns(done)
    assert [name for name in names if rows[name][0] == "released"] == [n for n in names if n != "app3"]
    assert rows["app3"][0] == "failed"
    assert "app3 is frozen by the release board" in rows["app3"][2]
    assert [name for name in names if world.version(name) == "1.0.0"] == ["app3"]
    assert len(world.repo.log()) == 10


def test_an_unreadable_file_that_nobody_needs_is_a_warning(world: World) -> None:
    world.push("web", "1.0.0", "1.1.0")
    world.adopt("web")
    world.repo.commit({"apps/broken.yaml": f"a: [\nimage: {world.image('api')}:1\n}}\n"})
    done = world.run("once").fine()
    assert done.err.startswith("warning: apps/broken.yaml does not parse as YAML at line ")
    assert world.version("web") == "1.1.0"


def test_differing_sites_are_held_with_the_sentence_that_mends_it(world: World) -> None:
    world.push("web", "1.0.0", "1.1.0")
    manifests = {
        f"{place}/web.yaml": deployment(world.image("web", "1.0.0")) for place in ("prod", "staging")
    }
    manifests["staging/web.yaml"] = deployment(world.image("web", "1.1.0"))
    world.repo.commit({**manifests, "policies/shop.yaml": world.policy("web")})
    told = world.run("once", "-o", "json").fine().json[0]["outcomes"][0]
    assert (told["status"], told["reason"]["code"]) == ("held", "site/differ")
    assert "where" in told["reason"]["next_step"]


def test_config_repo_that_cannot_be_read_exits_1_everywhere(world: World) -> None:
    world.configure(url=world.root / "nothing.git")
    for command in (["once"], ["plan"], ["explain", "web"], ["log"]):
        done = world.run(*command)
        assert str(world.root / "nothing.git") in complaint(done, code=1)
        assert done.told_code == "git/not-found"
    assert "nothing.git" in world.run("status").fine().err


def test_a_complaint_ends_with_its_code_with_and_without_a_next_step(
    capsys: pytest.CaptureFixture[str],
) -> None:
    complain(reason("git/empty", url="/srv/shop.git", branch="main"), place="shop")
    complain(reason("reload/done", changed="notify"))
    assert capsys.readouterr().err == (
        "automator: shop: /srv/shop.git has no commits, so no branch main\n"
        "  next: push a first commit  [git/empty]\n"
        "automator: the new config is used; changed: notify  [reload/done]\n"
    )


# -- questions ---------------------------------------------------------------------------------------


def test_status_tells_before_and_after_the_first_cycle(world: World) -> None:
    world.push("web", "1.0.0")
    world.adopt("web")
    assert "no cycle yet" in world.run("status").fine().out
    assert world.run("status", "-o", "json").fine().json == []
    world.run("once").fine()
    assert columns(world.run("status").fine())["web"][0] == "current"
    # No network and no config repo: it is what was known.
    world.configure(url=world.root / "gone.git")
    assert columns(world.run("status").fine())["web"][0] == "current"


def test_status_and_explain_tell_how_far_behind_a_workload_is(world: World) -> None:
    world.push("web", "1.0.0", "1.1.0", "1.2.0")
    world.adopt("web", hold="{reason: audit}")
    world.run("once").fine()
    row = columns(world.run("status").fine())["web"]
    assert row[:2] == ["held", "1.0.0"]
    assert row[2] == "2 versions", "nobody knows for how long"
    out = world.run("explain", "web").fine().out
    assert re.search(r"^behind +2 versions; the newest is 1\.2\.0$", out, re.MULTILINE)
    told = world.run("status", "-o", "json").fine().json[0]["outcomes"][0]
    assert (told["candidate"], told["behind"]) == ("1.2.0", 2)
    assert told["behind_since"].endswith("Z")
    assert told["behind_at_least"]


def test_explain_tells_for_every_tag_why(settled: World) -> None:
    out = settled.run("explain", "shop/web").fine().out
    assert re.search(r"^status +current$", out, re.MULTILINE)
    assert re.search(r"^site +apps/web.yaml#spec.template.spec.containers\[app\].image$", out, re.MULTILINE)
    assert re.search(r'^2\.0\.0 +2\.0\.0 +dropped +tag/range +it lies outside ">=1.0 <2"$', out, re.MULTILINE)
    assert re.search(r"^1\.1\.0 +1\.1\.0 +kept +tag/current +1\.1\.0 is the current", out, re.MULTILINE)
    assert re.search(r"^sha256-0123\.sig +dropped +tag/shape +it has the shape", out, re.MULTILINE)


def test_explain_of_an_invalid_workload_names_the_line(settled: World) -> None:
    out = settled.run("explain", "odd").fine().out
    assert re.search(r"^status +held$", out, re.MULTILINE)
    assert re.search(r"^because +policies/shop.yaml:12: workloads.odd.semvr is no key", out, re.MULTILINE)


def test_explain_knows_codes_without_any_config(tmp_path: Path) -> None:
    plain = World(tmp_path, "127.0.0.1:9")
    plain.config.unlink()
    for code in ("guard/hold", "registry/denied", "config/toml"):
        out = plain.run("explain", code).fine().out
        assert CODES[code].meaning in out
        assert plain.run("explain", code, "-o", "json").fine().json["code"] == code
    assert complaint(plain.run("explain", "guard/hodl")) == (
        "there is no reason code guard/hodl; did you mean guard/hold?"
    )


def test_tags_lists_what_the_registry_has(settled: World) -> None:
    done = settled.run("tags", settled.image("web"))
    assert done.out.split() == ["1.0.0", "1.1.0", "2.0.0", "sha256-0123.sig"]
    assert done.err == ""
    assert "its tags not found" in complaint(settled.run("tags", settled.image("none")), code=1)
    assert "is no image reference" in complaint(settled.run("tags", "!!"))


def test_log_marks_what_no_commit_proves(world: World) -> None:
    assert world.adopt("web")
    assert world.run("log").fine().out == "no releases yet\n"
    world.push("web", "1.0.0", "1.1.0")
    world.run("once").fine()
    honest = git(world.repo.path, "show", "-s", "--format=%B", "main")
    world.repo.commit({"notes.txt": "hello"}, honest.replace("1.1.0", "9.9.9"), author="Mallory M")
    rows = [line.split() for line in world.run("log").fine().out.splitlines()[1:]]
    assert {(row[3], row[5], row[6]) for row in rows} == {
        ("release", "1.0.0", "1.1.0"),
        ("release?", "1.0.0", "9.9.9"),
    }
    told = world.run("log", "-o", "json", "--workload", "web").fine().json
    assert {line["to"].partition("@")[0]: line["proven"] for line in told} == {"1.1.0": True, "9.9.9": False}
    assert len(world.run("log", "-n", "1", "-o", "json").fine().json) == 1
    assert world.run("log", "-o", "json", "-w", "other").fine().json == []


def test_health_without_a_daemon(world: World) -> None:
    assert "daemon.listen is switched off" in complaint(world.run("health"))
    nobody = world.run("health", "--url", "http://127.0.0.1:1/healthz")
    assert nobody.code == 1
    assert "does not answer" in nobody.err
    assert not world.run("health", "-o", "json", "--url", "http://127.0.0.1:1/healthz").json["ok"]
    stranger = world.run("health", "--url", f"http://{world.host}/v2/")
    assert stranger.code == 1, "another server's 200 is no health"


# -- json --------------------------------------------------------------------------------------------

OUTCOME = {"repo", "workload", "status", "reason", "image", "current", "target", "commit", "owner"} | {
    *("environment", "sites", "candidate", "behind", "behind_since", "behind_at_least"),
}
REASON = {"code", "sentence", "next_step", "params", "changes_at"}
REPORT = {"repo", "trigger", "started_at", "finished_at", "head", "pushed", "outcomes", "warnings", "error"}


@pytest.mark.parametrize("command", ["once", "plan", "status"])
def test_json_of_cycles(settled: World, command: str) -> None:
    (report,) = settled.run(command, "--output", "json").fine().json
    assert report.keys() - {"diff"} == REPORT
    assert ("diff" in report) == (command == "plan")
    assert [o["workload"] for o in report["outcomes"]] == ["api", "odd", "web"]
    for outcome in report["outcomes"]:
        assert outcome.keys() == OUTCOME
        assert outcome["reason"].keys() == REASON
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", report["finished_at"])


def test_json_of_questions(settled: World) -> None:
    (explained,) = settled.run("explain", "web", "-o", "json").fine().json
    assert explained.keys() == OUTCOME | {"tags"}
    assert {t["tag"]: t["kept"] for t in explained["tags"]}["2.0.0"] is False
    assert explained["tags"][0].keys() == {"tag", "key", "kept", "reason"}
    (line,) = settled.run("log", "-o", "json").fine().json
    assert (line["workload"], line["from"], line["kind"]) == ("web", "1.0.0", "release")
    tags = settled.run("tags", settled.image("api"), "-o", "json").fine().json
    assert (tags["repository"], tags["tags"]) == (settled.image("api"), ["1.0.0"])


# -- several config repos ----------------------------------------------------------------------------


def test_names_with_a_config_repo_mean_only_that_one(world: World) -> None:
    """Two config repos with workloads of the same names: nothing is released that was not named."""
    other = BareRepo.create(world.root / "git" / "prod.git")
    for name in ("web", "api"):
        world.push(name, "1.0.0", "1.1.0")
    world.adopt("web", "api")
    files = {n: world.repo.read(n) for n in ("apps/web.yaml", "apps/api.yaml", "policies/shop.yaml")}
    other.commit(files, "Adopt")
    world.configure(more=f'[repos.prod]\nurl = "{other.path}"')

    done = world.run("once", "-w", "shop/web", "-w", "prod/api").fine()
    assert {name for name in columns(done) if "/" in name} == {"shop/web", "prod/api"}
    assert (world.repo.log(), other.log()) == (["Release web 1.1.0", "Adopt"], ["Release api 1.1.0", "Adopt"])

    both = world.run("explain", "web", "-o", "json").fine().json
    assert {(one["repo"], one["current"]) for one in both} == {("shop", "1.1.0"), ("prod", "1.0.0")}
    assert "the config has no repo named shop; it has prod" in complaint(
        world.run("once", "--repo", "prod", "-w", "shop/api")
    )
    assert {o["workload"] for r in world.run("log", "-o", "json", "-w", "prod/api").json for o in [r]} == {
        "api"
    }
    world.run("once", "--repo", "prod").fine()
    assert (len(world.repo.log()), len(other.log())) == (2, 3)


# -- what is wrong is said in a sentence -------------------------------------------------------------


def test_global_options_stand_before_or_after_the_command(settled: World) -> None:
    config = str(settled.config)
    elsewhere = Path("/")
    before = settled.run("--config", config, "--output", "json", "status", cwd=elsewhere).fine()
    after = settled.run("status", "--config", config, "--output", "json", cwd=elsewhere).fine()
    by_variable = settled.run("status", "-o", "json", env={"AUTOMATOR_CONFIG": config}, cwd=elsewhere).fine()
    assert before.json == after.json == by_variable.json
    later_wins = settled.run("-o", "json", "-c", "nowhere.toml", "status", "-c", config, "-o", "table").fine()
    assert "WORKLOAD" in later_wins.out


def test_selection_by_owner_and_repo(settled: World) -> None:
    for command in ("plan", "status"):
        mine = settled.run(command, "--owner", "team-a", "-o", "json").fine().json
        assert [o["workload"] for o in mine[0]["outcomes"]] == ["web"]
        named = settled.run(command, "--repo", "shop", "-w", "api", "-w", "web", "-o", "json").fine().json
        assert [o["workload"] for o in named[0]["outcomes"]] == ["api", "web"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["plan", "-w", "wbe"], "no workload is named wbe; did you mean web?"),
        (["once", "-w", "nothing-like-it"], "no workload is named nothing-like-it; there are 3 workloads"),
        (["status", "-w", "wbe"], "no workload is named wbe; did you mean web?"),
        (["explain", "wbe"], "no workload is named wbe; did you mean web?"),
        (["status", "--owner", "team-b"], "no workload has the owner team-b; did you mean team-a?"),
        (["plan", "--owner", "team-b"], "no workload has the owner team-b; did you mean team-a?"),
        (["plan", "--repo", "shpo"], "the config has no repo named shpo; it has shop"),
        (["status", "--repo", "shpo"], "the config has no repo named shpo; it has shop"),
        (["log", "-w", "shpo/web"], "the config has no repo named shpo; it has shop"),
        (["explain", "shpo/web"], "the config has no repo named shpo; it has shop"),
        (["check", "--repo", "shpo"], "the config has no repo named shpo; it has shop"),
        (["check", "no-such-folder"], "no-such-folder is not a folder"),
        (["once", "--config", "nowhere.toml"], "there is no config file nowhere.toml"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else "",
)
def test_wrong_names_are_refused_in_a_sentence(settled: World, arguments: list[str], sentence: str) -> None:
    before = settled.repo.tip()
    done = settled.run(*arguments)
    assert complaint(done) == sentence
    assert done.out == ""
    assert settled.repo.tip() == before


@pytest.mark.parametrize(
    "arguments", [["frobnicate"], ["once", "--frobnicate"], ["tags"], ["log", "-n", "-1"]]
)
def test_wrong_usage_is_refused_with_the_usage(settled: World, arguments: list[str]) -> None:
    done = settled.run(*arguments)
    assert done.code == 2
    assert done.err.startswith("Usage: automator ")
    assert "Error: " in done.err


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[repos.shop\n", "config.toml:1: not valid TOML: Expected ']' at the end of a table declaration"),
        (
            '[repos.shop]\nurl = "/r"\nbrnch = "x"\n',
            "config.toml: repos.shop.brnch is no key of the config; ",
        ),
        ('[daemon]\ninterval = "soon"\n', "config.toml: daemon.interval: expected a duration such as "),
        ("", "config.toml names no config repo"),
        ('[repos.shop]\nurl = "https://ann:hunter2@git.example.com/x"\n', "config.toml: repos.shop.url: "),
    ],
)
def test_wrong_config_is_refused_with_its_place(world: World, text: str, sentence: str) -> None:
    world.config.write_text(text)
    done = world.run("once")
    assert complaint(done).startswith(sentence)
    assert "hunter2" not in done.err


def test_wrong_variable_is_refused_by_its_name(world: World) -> None:
    done = world.run("once", env={"AUTOMATOR_DAEMON__INTERVAL": "soon"})
    assert complaint(done).startswith("the environment (AUTOMATOR_DAEMON__INTERVAL): daemon.interval: ")


def test_state_that_is_no_folder_is_refused(world: World) -> None:
    world.state.write_text("a file")
    assert str(world.state) in complaint(world.run("once"))


# -- the terminal ------------------------------------------------------------------------------------


def test_help_names_every_command_and_exit_code(tmp_path: Path) -> None:
    plain = World(tmp_path, "127.0.0.1:9")
    helped = " ".join(plain.run("--help").fine().out.split())
    for command in COMMANDS:
        assert f" {command} " in helped
    codes = "0 fine, 1 a workload failed or a command was refused, 2 wrong usage or configuration, 3 a bug"
    assert codes in helped
    assert "--config" in plain.run("once", "-h").fine().out


def test_version_answers_without_loading_anything(tmp_path: Path) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "automator", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert re.fullmatch(r"automator \d+\.\d+\.\d+ \(YAML scanner: (libyaml|pure)\)\n", done.stdout)
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "automator" in loaded
    heavy = {"click", "rich", "pydantic", "requests", "git", "ruamel.yaml", "sqlite3", "structlog"}
    assert not loaded & heavy


def test_help_loads_no_library_of_the_cycle() -> None:
    code = "import sys; from automator.cli import main; main(['--help']); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"pydantic", "requests", "git", "ruamel.yaml", "sqlite3"} & set(done.stdout.split())


def shell(world: World, line: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", f"{line}; echo ${{PIPESTATUS[0]}} >status"],
        cwd=world.root,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (f"{PROGRAM} explain web -o json | head -1", 0),
        (f"{PROGRAM} --help | true", 0),
        (f"{PROGRAM} plan -w wbe 2>&1 | true", 2),
        (f"{PROGRAM} status -w web >&- 2>/dev/null", 0),
        (f"{PROGRAM} status -w web 2>&-", 0),
    ],
)
def test_a_reader_that_leaves_changes_nothing(settled: World, line: str, code: int) -> None:
    done = shell(settled, line)
    assert done.stderr == ""
    assert (settled.root / "status").read_text() == f"{code}\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_a_full_disk_is_named(settled: World) -> None:
    done = shell(settled, f"{PROGRAM} status >/dev/full")
    assert "cannot be written: No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    assert (settled.root / "status").read_text() == "1\n"


def test_tables_in_a_pipe_are_neither_folded_nor_filled(settled: World) -> None:
    long = "x" * 300
    settled.repo.commit({"policies/long.yaml": settled.policy("long", hold=f"{{reason: {long}}}")})
    lines = settled.run("plan", "-w", "long").fine().out.splitlines()
    header, row, step = lines
    assert header.startswith("WORKLOAD")
    assert row.startswith("long ")
    assert step.endswith("[site/none]")
    assert all(line == line.rstrip() for line in lines)
    git(settled.repo.path, "update-ref", "refs/heads/main", "main~1")


def test_long_work_is_told_on_a_terminal(world: World) -> None:
    """Reading history for the first time may take long; a pipe hears nothing of it."""
    world.push("web", "1.0.0", "1.1.0")
    world.adopt("web")
    world.configure(url=f"file://{world.repo.path}")
    terminal, end = pty.openpty()
    with world.start("plan", stderr=end) as running:
        os.close(end)
        assert running.process.wait(60) == 0
        assert "shop: reading the history of 1 workload" in os.read(terminal, 4096).decode()
    os.close(terminal)
    assert world.run("plan").fine().err == ""


def test_ctrl_c_ends_a_command_at_once(tmp_path: Path) -> None:
    """Although the registry is silent, and would be for longer than anybody waits."""
    with HostileServer(always(Reply(silent=True))) as silent:
        world = World(tmp_path, silent.host)
        world.configure(registry='timeout = "10m"\ndeadline = "10m"', daemon='observe_timeout = "10m"')
        world.adopt("web")
        with world.start("once") as running:
            until(lambda: silent.received, "the question to the registry")
            assert running.end(signal.SIGINT) == 130
            assert "Traceback" not in running.text


def test_a_silent_registry_holds_nobody_up_longer_than_configured(tmp_path: Path) -> None:
    with HostileServer(always(Reply(silent=True))) as silent:
        world = World(tmp_path, silent.host)
        world.configure(registry='timeout = "10m"\ndeadline = "10m"', daemon='observe_timeout = "1s"')
        world.adopt("web")
        done = world.run("once").fine()  # the helper's own patience is far below ten minutes
        assert columns(done)["web"][0] == "waiting"


def test_commands_ask_beside_a_running_daemon(world: World) -> None:
    world.push("web", "1.0.0", "1.1.0")
    world.adopt("web")
    world.configure(daemon='listen = "127.0.0.1:0"\ninterval = "1h"')
    with world.start("run") as daemon:
        daemon.until(lambda: daemon.cycles(), "the first cycle")
        assert columns(world.run("status").fine())["web"][0] == "released"
        assert columns(world.run("plan").fine())["web"][0] == "current"
        assert "1.1.0" in world.run("log").fine().out
        assert world.run("explain", "web").fine()
        url = f"http://127.0.0.1:{daemon.port}/healthz"
        assert world.run("health", "--url", url).fine().out == "cycles are ending\n"
        assert world.run("health", "--url", url, "-o", "json").fine().json == {
            "ok": True,
            "words": "cycles are ending",
        }
        assert f"process {daemon.process.pid}" in complaint(world.run("once"))
        # As in a container: a config that cannot be read makes nobody ill who goes on by the old one.
        world.config.write_text("intervall = ")
        assert world.run("health").code == 2
        world.environment["AUTOMATOR_DAEMON__LISTEN"] = f":{daemon.port}"
        assert world.run("health").fine().out == "cycles are ending\n"
        world.environment["AUTOMATOR_DAEMON__LISTEN"] = "nowhere"
        assert world.run("health").code == 2
        del world.environment["AUTOMATOR_DAEMON__LISTEN"]
        assert daemon.end() == 0
    assert os.listdir(world.temporary) == []


def test_json_is_one_document_whatever_is_warned(world: World) -> None:
    world.push("web", "1.0.0")
    world.adopt("web")
    world.repo.commit({"apps/bin.yaml": b"\0image: x"})
    done = world.run("plan", "-o", "json", "--log-level", "debug")
    assert json.loads(done.out)[0]["warnings"][0]["code"] == "file/unreadable"
