"""deploy/loop as somebody runs it at home: the tag that was pushed is the tag that is applied."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from parts.gitserver import BareRepo, git, http_git
from parts.launching import PROGRAM
from parts.registry import push_image
from parts.world import Running, processes, until
from ruamel.yaml import YAML

from automator.config import load
from automator.core.policy import parse_policies
from automator.core.site import locate

pytestmark = pytest.mark.slow

LOOP = Path(__file__).parents[2] / "deploy/loop"
SYNC, UP, APPLY = LOOP / "sync", LOOP / "up", LOOP / "apply"
REGISTRY = "registry:5000"


@contextmanager
def started(folder: Path, *command: object, **environment: str) -> Iterator[Running]:
    """A program that is left running, with what it prints in `folder`/said."""
    log = folder / "said"
    with log.open("ab") as said:
        process = subprocess.Popen(
            [str(word) for word in command],
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
    try:
        yield Running(process, log)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def free_ports(count: int) -> list[str]:
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [str(listener.getsockname()[1]) for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


# -- all of it ---------------------------------------------------------------------------------------------


@pytest.mark.needs("docker-registry", "skopeo")
def test_the_tag_that_is_pushed_is_the_tag_that_is_applied_and_a_revert_stays(tmp_path: Path) -> None:
    folder = tmp_path / "the loop"
    registry, server, dashboard = free_ports(3)
    host, url = f"127.0.0.1:{registry}", f"http://127.0.0.1:{server}/shop.git"
    ports = {"REGISTRY_PORT": registry, "GIT_PORT": server, "DASHBOARD_PORT": dashboard}

    def applied() -> str:
        """The commit and the image that the synchronizer's command was last run with."""
        file = folder / "applied"
        return file.read_text() if file.exists() else ""

    def is_applied(tag: str) -> bool:
        return bool(applied()) and applied() == f"commit {head()}\napps/web.yaml {host}/acme/web:{tag}\n"

    def head() -> str:
        return git(folder / "shop.git", "rev-parse", "main")

    def cycles() -> list[str]:
        said = (folder / "log/automator").read_text()
        return re.findall(r'"event": "(cycle shop: [^"]*)"', said)

    with started(tmp_path, UP, folder, AUTOMATOR=str(PROGRAM), **ports) as loop:
        loop.until(lambda: is_applied("1.4.2"), "what was in the config repo at first")
        for printed in (f"{host}/acme/web:1.4.3", f"git clone {url}", f"http://127.0.0.1:{dashboard}/"):
            assert printed in loop.text

        push_image(host, "acme/web", "1.4.3")
        loop.until(lambda: is_applied("1.4.3"), "what was pushed")
        assert git(folder / "shop.git", "log", "--format=%s", "main").splitlines()[0] == "Release web 1.4.3"
        released = head()
        assert f"sync: applying {released} Release web 1.4.3\n" in loop.text
        loop.until(lambda: f"sync: applied {released}\n" in loop.text, "the word of the synchronizer")

        # A person takes it back, by plain Git and the address that was printed.
        work = tmp_path / "work"
        git(tmp_path, "clone", "--quiet", url, str(work))
        git(work, "revert", "--no-edit", "HEAD")
        git(work, "push", "--quiet", "origin", "HEAD:main")
        reverted = head()
        loop.until(lambda: is_applied("1.4.2"), "the older one again")
        before = len(cycles())
        loop.until(lambda: len(cycles()) >= before + 2, "two cycles with the revert")
        assert head() == reverted, "automator leaves it as the person said"
        assert "1 held" in cycles()[-1]

        push_image(host, "acme/web", "1.4.4")
        loop.until(lambda: is_applied("1.4.4"), "the fix")
        os.killpg(loop.process.pid, signal.SIGINT)  # as Ctrl-C does
        assert loop.process.wait(60) == 0, loop.text
        until(lambda: not processes(mentioning=str(folder)), "the end of all that was started")
    assert "Traceback" not in (folder / "log/automator").read_text()
    assert "sync: ended\n" in loop.text


REFUSES = "http://127.0.0.1:9"
FOR_ANOTHER = {
    "AUTOMATOR_CONFIG": "/nonexistent",
    "automator_state": "{folder}/strange",  # small letters are read too
    "AUTOMATOR_REPOS__LIVE__URL": "{folder}/strange.git",
}
PROXIES = dict.fromkeys(("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"), REFUSES)


def printed(text: str) -> dict[str, str]:
    """What there is to type, by what it is for."""
    return dict(re.findall(r"^  (\w[\w ]{23}) (.+)$", text, re.MULTILINE))


def environment_of(process: str) -> set[str]:
    """The names of the variables that a process was started with."""
    try:
        return {line.partition("=")[0] for line in Path("/proc", process, "environ").read_text().split("\0")}
    except OSError:  # it has ended
        return set()


@pytest.mark.needs("docker-registry")
@pytest.mark.parametrize(
    ("exported", "first"),
    [(FOR_ANOTHER, ["in your terminal first"]), (PROXIES, ["behind a proxy"])],
    ids=["variables", "proxies"],
)
def test_what_its_user_exported_does_not_reach_the_loop(
    tmp_path: Path, exported: dict[str, str], first: list[str]
) -> None:
    folder, ran = tmp_path / "ann's loop", tmp_path / "ran"
    registry, server, dashboard = free_ports(3)
    ports = {"REGISTRY_PORT": registry, "GIT_PORT": server, "DASHBOARD_PORT": dashboard}
    theirs = {name: value.format(folder=tmp_path) for name, value in exported.items()}
    kept = [name for name in os.environ if name.startswith("AUTOMATOR_")]  # of the tests
    up = ("env", *(f"--unset={name}" for name in kept), UP)
    command = ("sh", "-c", 'env >"$1.new" && mv "$1.new" "$1"', "command", ran)

    def has_run(commit: str) -> bool:
        return ran.exists() and f"SYNC_COMMIT={commit}\n" in ran.read_text()

    def head() -> str:
        return git(folder / "shop.git", "rev-parse", "main")

    with started(tmp_path, *up, folder, *command, AUTOMATOR=str(PROGRAM), **ports, **theirs) as loop:
        loop.until(lambda: ran.exists() and has_run(head()), "what was in the config repo at first")
        push_image(f"127.0.0.1:{registry}", "acme/web", "1.4.3")
        subject = ("log", "-1", "--format=%s", "main")
        loop.until(lambda: git(folder / "shop.git", *subject) == "Release web 1.4.3", "the release")
        loop.until(lambda: has_run(head()), "what was pushed")
        for process in processes(mentioning=str(folder)):
            number = process.split()[0]
            if number != str(loop.process.pid):
                ours = {name for name in environment_of(number) if name.upper().startswith("AUTOMATOR_")}
                assert ours <= {"AUTOMATOR_CONFIG", "AUTOMATOR_DAEMON__LISTEN"}, process
        assert "AUTOMATOR_" not in ran.read_text().upper()
        assert '"repos": ["shop"]' in (folder / "log/automator").read_text()
        assert (folder / "state").is_dir()

        # What is printed works in another terminal that has the same variables.
        lines = {label.strip(): line for label, line in printed(loop.text).items()}
        assert [label for label in lines if label in ("in your terminal first", "behind a proxy")] == first
        typed = [*(lines[label] for label in first), lines["the config repo"], lines["ask for the reasons"]]
        done = subprocess.run(
            ["sh", "-e", "-c", "\n".join(typed)],
            cwd=tmp_path, env={**os.environ, **theirs}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done
        assert re.search(r"^1\.4\.3 ", done.stdout, re.MULTILINE), done.stdout
        assert (tmp_path / "shop/apps/web.yaml").exists()
        os.killpg(loop.process.pid, signal.SIGINT)
        assert loop.process.wait(60) == 0, loop.text
    assert not (tmp_path / "strange").exists()


@pytest.mark.needs("docker-registry")
def test_a_port_that_is_taken_is_told_and_nothing_is_left_running(tmp_path: Path) -> None:
    names = ("REGISTRY_PORT", "GIT_PORT", "DASHBOARD_PORT")
    free = dict(zip(names, free_ports(3), strict=True))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken = str(listener.getsockname()[1])
        for name, port, why in (
            *((name, taken, "Address already in use") for name in names),
            ("DASHBOARD_PORT", free["GIT_PORT"], "Address already in use"),
            ("GIT_PORT", "http", "that is no port"),
        ):
            (tmp_path / "said").unlink(missing_ok=True)
            ports = {**free, name: port}
            with started(tmp_path, UP, tmp_path / "loop", AUTOMATOR=str(PROGRAM), **ports) as loop:
                assert loop.process.wait(60) == 1
            told = f"up: 127.0.0.1:{port} cannot be listened on ({why}): set {name} to a free port\n"
            assert loop.text == told
    assert not (tmp_path / "loop").exists(), "nothing was begun"


# -- the synchronizer --------------------------------------------------------------------------------------


class Synchronized:
    """A config repo behind HTTP, and `sync` with a command that notes what it is run with."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.repo = BareRepo.create(folder / "git/shop.git", {"apps/web.yaml": "1.4.2\n", "old.yaml": "x\n"})
        self.target = folder / "work"
        self.noted = folder / "noted"
        self.broken = folder / "broken"
        """While this is there, the command fails."""
        self.command = folder / "command"
        self.command.write_text(
            f'#!/bin/sh\necho "$SYNC_COMMIT $(cat apps/web.yaml) $*" >>"{self.noted}"\n'
            f'[ ! -e "{self.broken}" ] || exit 3\n'
        )
        self.command.chmod(0o755)

    def words(self, url: str, *options: str) -> Sequence[object]:
        return (SYNC, "--interval", "1", *options, url, self.target, self.command, "an argument")

    def once(self, url: str, *options: str) -> subprocess.CompletedProcess[str]:
        command = [str(word) for word in self.words(url, "--once", *options)]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    @property
    def runs(self) -> list[str]:
        return self.noted.read_text().splitlines() if self.noted.exists() else []


@pytest.fixture
def synchronized(tmp_path: Path) -> Synchronized:
    return Synchronized(tmp_path)


def test_a_commit_is_applied_once_over_restarts_too(synchronized: Synchronized) -> None:
    url = str(synchronized.repo.path)
    first = synchronized.repo.tip()
    done = synchronized.once(url)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"sync: applying {first} Initial commit\nsync: applied {first}\n"
    assert synchronized.runs == [f"{first} 1.4.2 an argument"]
    again = synchronized.once(url)
    assert (again.returncode, again.stdout, len(synchronized.runs)) == (0, "", 1)

    # What the command left, and what the commit removed, is gone; what it says is there.
    (synchronized.target / "left-behind").touch()
    second = synchronized.repo.commit({"apps/web.yaml": "1.4.3\n", "old.yaml": None}, "Two \x1b[31m")
    done = synchronized.once(url)
    assert done.stdout == f"sync: applying {second} Two [31m\nsync: applied {second}\n"
    assert {path.name for path in synchronized.target.iterdir()} == {".git", "apps"}

    # A branch that is set back is followed too.
    assert first is not None
    synchronized.repo.set_tip(first)
    assert synchronized.once(url).returncode == 0
    assert synchronized.runs[-1] == f"{first} 1.4.2 an argument"


def test_a_command_that_fails_loses_no_commit(synchronized: Synchronized) -> None:
    url = str(synchronized.repo.path)
    first = synchronized.repo.tip()
    synchronized.broken.touch()
    done = synchronized.once(url)
    assert done.returncode == 1
    assert done.stdout == f"sync: applying {first} Initial commit\nsync: failed {first}: exit 3\n"
    with started(synchronized.folder, *synchronized.words(url)) as sync:
        sync.until(
            lambda: sync.text.count(f"sync: failed {first}: exit 3\n") >= 2, "another try, and another"
        )
        # What is there by the time that it works again is applied; the commit before it is in it.
        second = synchronized.repo.commit({"apps/web.yaml": "1.4.3\n"}, "Release web 1.4.3")
        sync.until(lambda: f"sync: failed {second}: exit 3\n" in sync.text, "the newer commit's failure")
        synchronized.broken.unlink()
        sync.until(lambda: f"sync: applied {second}\n" in sync.text, "that it works again")
        assert sync.end() == 0
    assert sync.text.endswith("sync: ended\n")
    assert synchronized.runs[-1] == f"{second} 1.4.3 an argument"


def test_a_git_server_that_is_away_is_waited_for(synchronized: Synchronized) -> None:
    with http_git(synchronized.folder / "git") as server:
        url = server.url(synchronized.repo).replace("//", "//ann:canary-s3cret-git@")
        server.fail_with = 503
        done = synchronized.once(url)
        assert done.returncode == 1
        assert re.fullmatch(r"sync: cannot fetch main: unable to access '.*': .* 503\n", done.stdout)
        assert "canary" not in done.stdout
        assert done.stderr == ""
        with started(synchronized.folder, *synchronized.words(url)) as sync:
            sync.until(lambda: "503" in sync.text, "a try in vain")
            server.fail_with = None
            sync.until(
                lambda: f"sync: applied {synchronized.repo.tip()}\n" in sync.text, "the server's return"
            )
            server.fail_with = 503
            sync.until(lambda: sync.text.endswith("503\n"), "another outage")
            assert sync.end() == 0
        # SIGTERM while the server takes the question and never answers.
        server.fail_with, server.silent = None, True
        server.asked.clear()
        with started(synchronized.folder, *synchronized.words(url)) as sync:
            sync.until(server.asked.is_set, "the question")
            assert sync.end() == 0
        until(lambda: not processes(mentioning=str(synchronized.target)), "the end of git")
    assert len(synchronized.runs) == 1


def test_a_command_under_way_is_waited_for(synchronized: Synchronized) -> None:
    go, began = synchronized.folder / "go", synchronized.folder / "began"
    synchronized.command.write_text(
        f'#!/bin/sh\ntouch "{began}"\nwhile [ ! -e "{go}" ]; do sleep 0.05; done\n'
        f'echo done >>"{synchronized.noted}"\n'
    )
    with started(synchronized.folder, *synchronized.words(str(synchronized.repo.path))) as sync:
        sync.until(began.exists, "the command's start")
        sync.send(signal.SIGTERM)
        go.touch()
        assert sync.process.wait(60) == 0
    assert synchronized.runs == ["done"]
    assert sync.text.endswith(f"sync: applied {synchronized.repo.tip()}\nsync: ended\n")


def test_a_commit_whose_application_was_killed_is_applied_again(synchronized: Synchronized) -> None:
    url, began = str(synchronized.repo.path), synchronized.folder / "began"
    finished = synchronized.command.read_text()
    synchronized.command.write_text(f'#!/bin/sh\ntouch half "{began}"\nexec sleep 60\n')
    with started(synchronized.folder, *synchronized.words(url)) as sync:
        sync.until(began.exists, "the command's start")
        os.killpg(sync.process.pid, signal.SIGKILL)
    synchronized.command.write_text(finished)
    assert synchronized.once(url).stdout.endswith(f"sync: applied {synchronized.repo.tip()}\n")
    assert not (synchronized.target / "half").exists()
    assert len(synchronized.runs) == 1


def test_locks_of_a_git_that_was_killed_do_not_stop_it(synchronized: Synchronized) -> None:
    url = str(synchronized.repo.path)
    assert synchronized.once(url).returncode == 0
    for name in ("index.lock", "shallow.lock", "refs/sync/head.lock"):
        (synchronized.target / ".git" / name).touch()
    second = synchronized.repo.commit({"apps/web.yaml": "1.4.3\n"})
    assert synchronized.once(url).stdout.endswith(f"sync: applied {second}\n")


@pytest.mark.parametrize("made", ["a folder", "a checkout"])
def test_a_folder_of_somebody_else_is_left_alone(made: str, synchronized: Synchronized) -> None:
    synchronized.target.mkdir()
    if made == "a checkout":
        git(synchronized.target, "init", "--quiet")
    (synchronized.target / "precious").touch()
    done = synchronized.once(str(synchronized.repo.path))
    assert done.returncode == 2
    assert done.stderr == f"sync: {synchronized.target} has files that are not of sync\n"
    assert (synchronized.target / "precious").exists()


@pytest.mark.parametrize("words", [[], ["--interval", "soon", "u", "f", "c"], ["--prune", "u", "f", "c"]])
def test_wrong_usage_is_told(words: list[str]) -> None:
    done = subprocess.run([str(SYNC), *words], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("sync: ")


# -- the Git server ----------------------------------------------------------------------------------------


OURS = ("127.0.0.1", "127.0.0.1:{port}", "localhost:1", "[::1]:{port}", "git:8418", "GIT")
FOREIGN = (
    "rebound.example.com", "rebound.example.com:{port}", "127.0.0.1.example.com", "git.example.com",
    "192.0.2.1", "",
)  # fmt: skip


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_git_server_answers_to_its_own_names_and_to_no_browser(tmp_path: Path, method: str) -> None:
    """A page under a name that was made to lead to this machine can neither read nor push."""
    (port,) = free_ports(1)
    words = ["--listen", f"127.0.0.1:{port}", "--name", "git", "--seed", LOOP / "shop"]

    def asked(headers: dict[str, str]) -> int:
        connection = HTTPConnection("127.0.0.1", int(port), timeout=20)
        path, body = {
            "GET": ("/shop.git/info/refs?service=git-receive-pack", b""),
            "POST": ("/shop.git/git-receive-pack", b"0000"),
        }[method]
        connection.putrequest(method, path, skip_host=True)
        more = {"Content-Type": "application/x-git-receive-pack-request", "Content-Length": str(len(body))}
        for name, value in {**headers, **(more if body else {})}.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return answer.status

    with started(tmp_path, sys.executable, LOOP / "gitserver.py", tmp_path / "git", *words) as server:
        server.until(lambda: "listening on" in server.text, "the Git server")
        told = {host: asked({"Host": host.format(port=port)}) for host in OURS + FOREIGN}
        assert told == {**dict.fromkeys(OURS, 200), **dict.fromkeys(FOREIGN, 403)}
        assert asked({}) == 403
        for origin in ("http://rebound.example.com", "null", f"http://127.0.0.1:{port}"):
            assert asked({"Host": f"127.0.0.1:{port}", "Origin": origin}) == 403


# -- the files ---------------------------------------------------------------------------------------------


def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = YAML(typ="safe").load((LOOP / "compose.yaml").read_text())
    return loaded


@pytest.mark.needs("docker-compose")
def test_compose_takes_the_file() -> None:
    command = ["docker-compose", "-f", str(LOOP / "compose.yaml"), "--profile", "tools", "config"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    services = YAML(typ="safe").load(done.stdout)["services"]
    assert set(services) == {"registry", "git", "sync", "automator", "push"}


def test_the_containers_run_what_the_processes_run_and_find_each_other_by_name() -> None:
    services = compose()["services"]
    config = load(LOOP / "config.toml", {"AUTOMATOR_DAEMON__LISTEN": ":8080"})
    address = config.repos["shop"].url
    assert address == "http://git:8418/shop.git"
    assert "0.0.0.0:8418" in services["git"]["entrypoint"]
    assert "--name git" in " ".join(services["git"]["entrypoint"])
    assert address in services["sync"]["entrypoint"]
    assert set(tomllib.loads((LOOP / "config.toml").read_text())["registries"]) == {REGISTRY}
    assert services["push"]["command"][0].startswith(f"{REGISTRY}/")
    for name in ("git", "sync", "automator", "push"):  # behind a proxy they still call each other directly
        direct = services[name]["environment"]
        assert direct["NO_PROXY"] == direct["no_proxy"]
        assert {"git", "registry", "127.0.0.1"} <= set(direct["NO_PROXY"].split(","))
    for name in ("git", "sync"):
        words = [*services[name]["entrypoint"], *services[name]["command"]]
        for word in words:
            if word.startswith("/loop/"):
                assert (LOOP / word.removeprefix("/loop/")).exists()
    for script in (SYNC, UP, APPLY, LOOP / "gitserver.py"):
        assert os.access(script, os.X_OK)


def test_the_readme_names_what_there_is() -> None:
    text = (LOOP / "README.md").read_text()
    for link in re.findall(r"\]\(([^)]+)\)", text):
        assert (LOOP / link).exists(), link
    for path in re.findall(r"deploy/loop/[a-z.]+", text):
        assert (LOOP.parents[1] / path).exists(), path
    words = SYNC.read_text()
    for said in ("applying", "applied", "failed", "cannot fetch", "ended"):
        assert f'say "{said}' in words
        assert f"`sync: {said}" in text
    named = set(re.findall(r"(?:exec|logs -f|run --rm) (\w+)", text))
    assert named
    assert named <= set(compose()["services"])
    assert "cd FOLDER && automator explain web" in text
    assert "exec automator automator explain web\n" in text


def test_processes_containers_and_the_readme_agree_about_ports() -> None:
    text = (LOOP / "README.md").read_text()
    told = dict(re.findall(r"^\| `([A-Z]+_PORT)` \| (\d+) \|", text, re.MULTILINE))
    assert told.keys() == {"REGISTRY_PORT", "GIT_PORT", "DASHBOARD_PORT"}
    assert told["REGISTRY_PORT"] != "5000", "Debian's docker-registry runs there once it is installed"
    for script in (UP, LOOP / "compose.yaml"):
        assert dict(re.findall(r"\$\{([A-Z]+_PORT):-(\d+)\}", script.read_text())) == told
    used = set(re.findall(r"(?:localhost|127\.0\.0\.1):(\d+)", text))
    assert used <= set(told.values())


def test_everything_that_lets_everybody_in_listens_on_this_machine_alone() -> None:
    for service in compose()["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
    scripts = UP.read_text() + (LOOP / "gitserver.py").read_text()
    assert "0.0.0.0" not in scripts


def test_the_shop_has_one_workload_and_its_policy() -> None:
    policies = parse_policies({"policies/shop.yaml": (LOOP / "shop/policies/shop.yaml").read_text()})
    assert policies.problems == policies.warnings == ()
    (workload,) = policies.workloads
    found = locate((LOOP / "shop/apps/web.yaml").read_text(), "apps/web.yaml")
    assert [site.repository for site in found.sites] == [workload.repository]
