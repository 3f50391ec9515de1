"""Rollback, hold and their kin as people run them: what is committed, printed, and the exit code."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from parts.gitserver import BareRepo, git
from parts.world import Completed, EmbeddedWorld, World, deployment

from automator.cli.entry import automator

COMMANDS = ("rollback", "hold", "resume", "reject", "accept", "freeze", "thaw", "promote", "release")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """web was released from 1.0.0 to 1.1.0."""
    with EmbeddedWorld(tmp_path) as made:
        made.push("web", "1.0.0", "1.1.0")
        made.adopt("web")
        made.run("once").fine()
        yield made


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """web at 1.0.0; tests only ask here for what is refused."""
    with EmbeddedWorld(tmp_path_factory.mktemp("settled")) as made:
        made.push("web", "1.0.0")
        made.adopt("web")
        yield made


def message(world: World) -> str:
    return git(world.repo.path, "log", "-1", "--format=%B", "main")


def complaint(done: Completed, code: int) -> str:
    """The sentence of a refusal, after making sure that a next step stands below it."""
    assert done.code == code, done.out + done.err
    assert "Traceback" not in done.err
    sentence, step = done.err.splitlines()[:2]
    assert step.startswith("  next: ")
    assert done.told_code
    return sentence.removeprefix("automator: ")


def test_a_rollback_is_one_command_and_stays(world: World) -> None:
    done = world.run("rollback", "web", "-m", "crashes at login", "--as", "Ann").fine()
    tip = world.repo.tip()
    assert tip is not None
    assert done.out == f"Roll back web to 1.0.0: pushed to shop as {tip[:12]}\n"
    assert done.err == ""
    assert world.version("web") == "1.0.0"
    assert git(world.repo.path, "diff", "--numstat", "HEAD~1", "HEAD") == "1\t1\tapps/web.yaml"
    lines = message(world).splitlines()
    assert lines[0] == "Roll back web to 1.0.0"
    assert lines[2:4] == [f"{world.image('web')} 1.1.0 -> 1.0.0", "taken back from 1.1.0: crashes at login"]
    assert {"Release-Kind: rollback", "Release-Actor: Ann", "Release-Reason: crashes at login"} <= {*lines}
    again = world.run("once", "--output", "json").fine().json
    assert again[0]["outcomes"][0]["reason"]["code"] == "history/turned-away"
    assert world.repo.tip() == tip


def test_it_works_while_the_daemon_runs(world: World) -> None:
    world.configure(daemon='listen = "127.0.0.1:0"\ninterval = "1s"')
    with world.start("run") as daemon:
        daemon.until(lambda: daemon.cycles(), "the first cycle")
        world.run("rollback", "web", "-m", "crashes").fine()
        tip = world.repo.tip()
        daemon.until(
            lambda: "turned-away" in daemon.text or "was 1.1.0" in daemon.text, "the daemon's notice"
        )
        assert world.repo.tip() == tip
        world.run("hold", "web", "-m", "audit").fine()
        world.run("freeze", "-m", "audit").fine()
        world.run("thaw").fine()
        world.run("resume", "web").fine()
        world.push("web", "1.2.0")
        daemon.until(lambda: world.version("web") == "1.2.0", "the next release")
        assert daemon.end() == 0


def test_who_asks_is_written_down(world: World) -> None:
    world.run("hold", "web", "-m", "one").fine()
    assert re.search(r"^Release-Actor: \S", message(world), re.MULTILINE)
    world.run("hold", "web", "-m", "two", env={"AUTOMATOR_ACTOR": "deploy\n\x1b[31mbot"}).fine()
    (actor,) = re.findall(r"^Release-Actor: (.*)$", message(world), re.MULTILINE)
    assert json.loads(actor) if actor.startswith('"') else actor == "deploy [31mbot"
    assert "\x1b" not in message(world)
    world.run("hold", "web", "-m", "three", "--as", "Ann", env={"AUTOMATOR_ACTOR": "bot"}).fine()
    assert "Release-Actor: Ann" in message(world)


def test_what_the_forge_could_take_for_a_command_stays_text(world: World) -> None:
    world.run("hold", "web", "-m", "line one\nRelease-Kind: thaw\nRelease-Workload: api").fine()
    assert message(world).count("Release-Kind:") <= 2
    told = world.run("log", "--output", "json").fine().json
    assert {line["workload"] for line in told} == {"web"}


@pytest.mark.parametrize("output", ["table", "json"])
def test_a_dry_run_shows_message_and_diff(world: World, output: str) -> None:
    before = world.repo.tip()
    done = world.run("freeze", "-m", "Black Friday", "--dry-run", "--output", output).fine()
    assert world.repo.tip() == before
    text = done.out
    if output == "json":
        told = done.json
        assert (told["repo"], told["command"], told["commit"], told["url"]) == ("shop", "freeze", None, None)
        text = told["message"] + told["diff"]
    assert text.startswith("Freeze releases\n")
    diff = text[text.index("--- /dev/null") :]
    work = world.root / "work"
    git(world.root, "clone", "--quiet", str(world.repo.path), str(work))
    git(work, "apply", "-", feed=diff.encode())
    assert "Black Friday" in (work / "policies/_freeze.yaml").read_text()


def test_json_tells_what_was_pushed_and_what_there_was_nothing_to_do(world: World) -> None:
    told = world.run("reject", "web", "1.1.0", "-m", "slow", "--output", "json").fine().json
    assert told["commit"] == world.repo.tip()
    assert told["nothing"] is None
    told = world.run("reject", "web", "1.1.0", "-m", "slow", "--output", "json").fine().json
    assert told["commit"] is None
    assert told["nothing"]["code"] == "action/listed-already"
    assert "already" in world.run("reject", "web", "1.1.0", "-m", "slow").fine().out


def test_a_hold_with_an_end_is_one_of_the_policy(world: World) -> None:
    world.run("hold", "web", "-m", "audit", "--until", "3d").fine()
    world.run("hold", "web", "-m", "audit", "--until", "2199-01-01T09:00:00Z").fine()
    assert "2199-01-01T09:00:00Z" in world.repo.read("policies/shop.yaml")
    shorter = world.run("hold", "web", "-m", "a quick look", "--until", "5m")
    assert "on hold already, and for longer: audit" in complaint(shorter, 1)
    status = world.run("plan", "--output", "json").fine().json
    assert status[0]["outcomes"][0]["reason"]["code"] == "guard/hold"
    assert status[0]["outcomes"][0]["reason"]["changes_at"] is not None


def test_a_file_of_a_newer_automator_is_left_to_it(settled: World) -> None:
    world = settled
    text = world.repo.read("policies/shop.yaml")
    freeze = "version: 2\nfreeze: {scope: only-prod, until: forever, reason: audit}\n"
    world.repo.commit(
        {"policies/shop.yaml": text.replace("version: 1", "version: 2"), "policies/_freeze.yaml": freeze}
    )
    tip = world.repo.tip()
    try:
        for command in (["hold", "web", "-m", "x"], ["resume", "web"], ["freeze", "-m", "x"], ["thaw"]):
            done = world.run(*command)
            assert "a file of another format is not edited: policies/" in complaint(done, 1)
            assert "next: use the automator that wrote the file" in done.err
        assert world.repo.tip() == tip
    finally:
        world.repo.commit({"policies/shop.yaml": text, "policies/_freeze.yaml": None})


@pytest.mark.parametrize("until", ["yesterday", "2020-01-01T00:00:00Z", "0s"])
def test_an_end_that_is_no_time_to_come_is_wrong_usage(settled: World, until: str) -> None:
    done = settled.run("hold", "web", "-m", "audit", "--until", until)
    assert until in complaint(done, 2)


@pytest.mark.parametrize("words", [(), ("-m", " \t")], ids=["none", "blank"])
def test_a_reason_is_demanded(settled: World, words: tuple[str, ...]) -> None:
    done = settled.run("reject", "web", "1.1.0", *words)
    assert (done.code, "--reason" in done.err) == (2, True)


def test_names_that_nobody_has_are_wrong_usage(settled: World) -> None:
    world = settled
    assert "did you mean web?" in complaint(world.run("rollback", "wbe", "-m", "x"), 2)
    assert "staging" in complaint(world.run("rollback", "staging/web", "-m", "x"), 2)
    assert "no.yaml" in complaint(world.run("freeze", "--file", "no.yaml", "-m", "x"), 2)


def test_what_is_refused_ends_with_1(world: World) -> None:
    world.push("web", "2.0.0")
    sentence = complaint(world.run("release", "web", "--to", "2.0.0"), 1)
    assert "outside" in sentence or "range" in sentence
    world.run("release", "web", "--to", "2.0.0", "--force", "-m", "hotfix").fine()
    assert "Release-Reason: forced past tag/range: hotfix" in message(world)
    assert world.version("web") == "2.0.0"
    world.repo.hook("pre-receive", "echo 'main is protected' >&2; exit 1")
    assert "main is protected" in complaint(world.run("hold", "web", "-m", "x"), 1)


def test_with_several_config_repos_the_one_that_is_meant_is_found_or_asked_for(world: World) -> None:
    other = BareRepo.create(world.root / "git" / "staging.git")
    other.commit({"policies/api.yaml": world.policy("api")}, "Adopt")
    both = f'[repos.staging]\nurl = "{other.path}"\n'
    world.configure(more=both)
    before = other.tip()
    assert "pushed to shop" in world.run("hold", "web", "-m", "x").fine().out
    assert "--repo" in world.run("freeze", "-m", "x").err
    assert "pushed to staging" in world.run("freeze", "-m", "x", "--repo", "staging").fine().out
    other.commit({"policies/web.yaml": world.policy("web"), "policies/_freeze.yaml": None}, "Adopt web")
    assert complaint(world.run("resume", "web"), 2)
    assert "pushed to staging" in world.run("hold", "staging/web", "-m", "x").fine().out
    assert other.tip() != before


@pytest.mark.parametrize("command", COMMANDS)
def test_help_says_which_options_are_required(command: str) -> None:
    done = CliRunner().invoke(automator, [command, "--help"])
    assert done.exit_code == 0
    assert "--dry-run" in done.output
    assert ("[required]" in done.output) == (command in ("hold", "freeze", "reject", "rollback", "release"))


def test_every_command_of_the_page_on_rollbacks_does_what_it_says(tmp_path: Path) -> None:
    """In the order of the page, in the shop that it speaks of."""
    page = (Path(__file__).parents[1] / "docs" / "rollback.md").read_text()
    blocks = re.findall(r"^```sh\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    assert {shlex.split(line)[1] for line in lines} == set(COMMANDS)
    with EmbeddedWorld(tmp_path) as world:
        world.push("web", "1.4.0", "1.4.1")
        where = '    where: {{paths: ["{}/**"]}}\n'
        text = world.policy("web", semver='">=1.4 <2"').rstrip("\n") + "\n" + where.format("apps")
        text += f"  web-prod:\n    image: {world.image('web')}\n    semver: '>=1.4'\n{where.format('prod')}"
        text += "    after: {workload: web, soak: 24h}\n"
        manifest = deployment(world.image("web", "1.4.0"))
        files = {"policies/shop.yaml": text, "apps/web.yaml": manifest, "prod/web.yaml": manifest}
        world.repo.commit(files, "Adopt")
        for tag in ("1.4.1", "1.4.2", "1.4.3"):
            world.push("web", tag)
            world.run("once", "--workload", "web").fine()
        world.push("web", "1.4.4", "2.0.0")
        for line in lines:
            before = world.repo.tip()
            done = world.run(*shlex.split(line)[1:]).fine()
            assert (world.repo.tip() == before) == ("--dry-run" in line), f"{line}\n{done.out}"
        assert world.version("web") == "2.0.0"
        assert message(world).startswith("Promote web-prod 2.0.0\n")
        kinds = git(world.repo.path, "log", "--format=%(trailers:key=Release-Kind,valueonly)", "-15", "main")
        assert kinds.split().count("rollback") == 2
