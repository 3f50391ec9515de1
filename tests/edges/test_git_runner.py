"""Git processes that hang, are killed, or talk too much: the deadline holds and nobody is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from parts.gitserver import BareRepo, git, http_git
from parts.gitsteps import command_lines, fetched, release, wait_for

from automator.edges.checkout import Checkout, Ending, Refused, Remote
from automator.edges.checkout.words import failure, refusal
from automator.errors import CheckoutError


@pytest.fixture
def repo(tmp_path: Path) -> BareRepo:
    return BareRepo.create(tmp_path / "server" / "config.git", {"a.yaml": "a: 1\n"})


def test_a_silent_server_meets_the_deadline(repo: BareRepo, tmp_path: Path) -> None:
    with http_git(tmp_path / "server") as server:
        url = server.url(repo)
        with Checkout(tmp_path / "state" / "c", Remote(url), deadline=0.4) as checkout:
            server.silent = True
            with pytest.raises(CheckoutError) as caught:
                checkout.ask_tip()
            assert caught.value.reason.code == "git/timeout"
            assert "asking for the tip of main" in str(caught.value)
            assert caught.value.retry
            assert not command_lines(containing=url)


def test_a_push_that_hangs_in_a_hook_is_ended_and_tried_again(repo: BareRepo, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    hook = repo.hook("pre-receive", f"trap '' TERM; while ! test -e {gate}; do sleep 0.05; done")
    with Checkout(tmp_path / "state" / "c", Remote(str(repo.path)), deadline=1.0) as checkout:
        tip = fetched(checkout)
        commit = release(checkout, tip, "1.1.0", "a.yaml")
        with pytest.raises(CheckoutError) as caught:
            checkout.push(commit, expected=tip)
        assert caught.value.reason.code == "git/timeout"
        assert repo.tip() == tip
        assert not command_lines(containing=str(tmp_path))
        hook.unlink()
        assert checkout.ask_tip() == tip
        checkout.push(commit, expected=tip)
        assert repo.tip() == commit


@pytest.mark.parametrize(
    ("why", "code"), [(Ending.CONFIG, "git/ended"), (Ending.STOP, "git/ended"), (Ending.STUCK, "git/stuck")]
)
def test_what_we_end_ourselves_is_told_as_that_and_not_as_a_failure_of_git(
    repo: BareRepo, tmp_path: Path, why: Ending, code: str
) -> None:
    with http_git(tmp_path / "server") as server:
        url = server.url(repo)
        with Checkout(tmp_path / "state" / "c", Remote(url), deadline=60) as checkout:
            server.silent = True
            with ThreadPoolExecutor(1) as pool:
                asking = pool.submit(checkout.ask_tip)
                wait_for(lambda: command_lines(containing=url))
                assert checkout.end_processes(why) == 1
                error = asking.exception(20)
            assert isinstance(error, CheckoutError)
            assert (error.reason.code, error.retry) == (code, True)
            assert "asking for the tip of main was ended by automator" in str(error)
            server.silent = False
            assert checkout.ask_tip() == repo.tip(), "the next one is not concerned"
            assert checkout.end_processes(why) == 0


def test_a_reading_that_we_end_is_neither_taken_for_whole_nor_for_damage(
    repo: BareRepo, tmp_path: Path
) -> None:
    with Checkout(tmp_path / "state" / "c", Remote(str(repo.path)), deadline=60) as checkout:
        tip = fetched(checkout)
        oid = checkout.tree(tip)["a.yaml"].oid
        blobs = checkout.blobs([oid] * 200_000)  # more than pipes hold
        assert next(blobs) == (oid, b"a: 1\n")
        assert checkout.end_processes(Ending.CONFIG) == 1
        with pytest.raises(CheckoutError) as caught:
            list(blobs)
        assert caught.value.reason.code == "git/ended"
        assert not checkout.is_broken()
        assert dict(checkout.blobs([oid])) == {oid: b"a: 1\n"}


def test_a_talkative_server_does_not_block_us(repo: BareRepo, tmp_path: Path) -> None:
    repo.hook(
        "pre-receive",
        "i=0; while [ $i -lt 4000 ]; do echo 'no no no no no no no no' >&2; i=$((i+1)); done; exit 1",
    )
    with Checkout(tmp_path / "state" / "c", Remote(str(repo.path)), deadline=60) as checkout:
        tip = fetched(checkout)
        result = checkout.push(release(checkout, tip, "1.1.0", "a.yaml"), expected=tip)
        assert isinstance(result, Refused)
        assert len(result.words) <= 300


POOR = """
import os, resource, sys
from pathlib import Path
from automator.edges.checkout import Checkout, Remote
from automator.errors import CheckoutError

with Checkout(Path(sys.argv[1]), Remote(sys.argv[2]), deadline=60) as checkout:
    checkout.ask_tip()
    nobody = 100000 + os.getpid()  # of whom nothing else runs
    resource.setrlimit(resource.RLIMIT_NPROC, (1, 1000))
    os.setresuid(nobody, nobody, 0)
    try:
        checkout.ask_tip()
    except CheckoutError as error:
        print(error.reason.code, error.reason.sentence, error.retry)
    os.setresuid(0, 0, 0)
    print(checkout.ask_tip())
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="limits are for users whom this one can become")
def test_a_machine_that_starts_no_more_processes_is_told_as_that(repo: BareRepo) -> None:
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        done = subprocess.run(
            [sys.executable, "-c", POOR, f"{name}/state/c", str(repo.path)],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert done.stderr == ""
    told, tip = done.stdout.splitlines()
    assert told.startswith("git/no-process asking for the tip of main: this machine lets automator start no")
    assert told.endswith("Resource temporarily unavailable True")
    assert tip == repo.tip()


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("error: cannot fork() for git-remote-https: Resource temporarily unavailable", "git/no-process"),
        (
            "error: cannot fork() for ssh: Resource temporarily unavailable\nfatal: unable to fork",
            "git/no-process",
        ),
        ("fatal: unable to create thread: Resource temporarily unavailable\nearly EOF", "git/no-process"),
        ("fatal: unable to access 'https://x/': getaddrinfo() thread failed to start", "git/no-process"),
        ("remote: fatal: unable to fork\nfatal: the remote end hung up unexpectedly", "git/unreachable"),
    ],
)
def test_so_is_one_that_starts_no_helper_of_git_unless_it_is_the_server(words: str, code: str) -> None:
    told = refusal("asking", "https://x/", words, ())
    assert told.reason.code == code
    assert told.retry
    if code == "git/no-process":
        assert failure("reading", words).reason.code == code


def test_no_git_is_a_sentence(tmp_path: Path) -> None:
    script = f"""
import sys
from pathlib import Path
sys.path[:0] = {sys.path!r}
from automator.edges.checkout import Checkout, Remote
from automator.errors import CheckoutError
try:
    Checkout(Path({str(tmp_path / "c")!r}), Remote("/x"), deadline=1)
except CheckoutError as error:
    print(error.reason.code)
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "git/not-installed", done.stderr


WORKER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
sys.path[:0] = {path!r}
from automator.core.release import Draft
from automator.edges.checkout import Checkout, Identity, Landed, Remote
with Checkout(Path({folder!r}), Remote({url!r}), deadline=60) as checkout:
    print("open", flush=True)
    tip = checkout.ask_tip()
    print("asked", flush=True)
    checkout.fetch(tip)
    print("fetched", flush=True)
    oid = checkout.tree(tip)["a.yaml"].oid
    number = int(dict(checkout.blobs([oid]))[oid].split()[1])
    if number < {target}:
        draft = Draft(f"Set {target}", (("a.yaml", b"a: {target}\\n"),))
        when = datetime(2026, 11, 21, tzinfo=UTC)
        commits = checkout.commit(tip, [draft], when=when, author=Identity("bot", "bot@example.org"))
        print("made", flush=True)
        print(type(checkout.push(commits[-1], expected=tip)).__name__, flush=True)
    print("done", flush=True)
"""


@pytest.mark.parametrize("stage", ["open", "asked", "fetched", "made", "Landed"])
@pytest.mark.parametrize("delay", [0.0, pytest.param(0.01, marks=pytest.mark.slow)])
def test_killed_at_any_moment_it_goes_on_and_releases_once(
    repo: BareRepo, tmp_path: Path, stage: str, delay: float
) -> None:
    repo.commit({f"{n}.txt": os.urandom(3000) for n in range(30)}, "Fill")
    folder = tmp_path / "state" / "c"
    values = {"path": sys.path, "folder": str(folder), "url": str(repo.path)}
    for target in (2, 3):
        command = [sys.executable, "-c", WORKER.format(**values, target=target)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as worker:
            assert worker.stdout is not None
            for line in worker.stdout:
                if line.strip() == stage:
                    break
            time.sleep(delay)  # any moment will do; this only spreads them
            worker.send_signal(signal.SIGKILL)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        last = done.stdout.split()[-1:]
        if "Lost" in done.stdout:  # the killed one's push landed while the second was at work
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            last = done.stdout.split()[-1:]
        assert last == ["done"], done.stderr
        assert repo.read("a.yaml") == f"a: {target}"
    assert repo.log().count("Set 2") == 1
    assert repo.log().count("Set 3") == 1
    repo.fsck()
    wait_for(lambda: not command_lines(containing=str(tmp_path)))
    assert git(folder, "fsck", "--no-dangling", "--no-progress", GIT_DIR=str(folder)) == ""
