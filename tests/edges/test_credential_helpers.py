"""Docker's credential helpers at their worst: real programs that hang, babble, fail or hide."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from parts.canaries import secret
from parts.credentials import Helper, answering, auth
from parts.registry import (
    PLAIN,
    Behaviour,
    HostileServer,
    Received,
    Reply,
    json_reply,
    refusal,
    wait_until,
)

from automator.core.reference import Repository
from automator.edges.registry import Credential, DockerConfig, RegistryClient
from automator.edges.registry.credentials import Secret
from automator.errors import RegistryError

Config = Callable[[Mapping[str, object]], DockerConfig]
CANARY = secret("registry")
HIDDEN = [
    # (pitfall 14 of docker's package) what a helper prints, its exit code, what the error says
    ("the vault is sealed", 1, "the vault is sealed"),
    (f"{CANARY}, but not JSON", 0, "not Docker's JSON"),
    ("{}", 0, "not Docker's JSON"),
    ("", 0, "not Docker's JSON"),
    ("[1]", 0, "not Docker's JSON"),
    ("\\377\\376", 0, "not Docker's JSON"),
    (f'{{"Username": "ann", "Secret": ["{CANARY}"]}}', 0, "lacks Username or Secret"),
    (f'"{CANARY}"', 0, "not Docker's JSON"),
    (f'{{"Username": "ann", "Secret": "{CANARY}"}}', 3, "it ended with an error"),
    (f"secret: {CANARY}", 1, "it ended with an error"),
    ("session eyJhbGciOiJSUzI1NiJ9abc123 is expired", 1, "session *** is expired"),
    (f"password {CANARY} rejected", 1, "may hold a secret"),
    (f"GET https://bob:{CANARY}@vault.test/x: 403", 1, "may hold a secret"),
    ("\\377\\376", 1, "not Docker's JSON"),
    ("", 7, "it ended with an error"),
]


def test_a_token_of_a_helper_that_no_header_can_carry_is_refused_unquoted(
    config: Config, helper: Helper
) -> None:
    helper("split", f"""printf '{{"Username": "<token>", "Secret": "{CANARY}\\\\nX: 1"}}'""")
    helper("padded", f"""printf '{{"Username": "<token>", "Secret": "{CANARY}\\\\n"}}'""")
    source = config({"credHelpers": {"split.test": "split", "padded.test": "padded"}})
    error = refusal(lambda: source.find("split.test"))
    assert error.reason.code == "credentials/helper"
    assert "identity token holds characters" in str(error)
    assert CANARY not in f"{error!r} {error} {source.describe('split.test')}"
    assert source.find("padded.test") == Credential("<token>", CANARY, Secret.IDENTITY)


@pytest.mark.parametrize(("printed", "code", "words"), HIDDEN, ids=range(len(HIDDEN)))
def test_a_helper_that_fails_is_an_error_with_its_words_and_without_its_secret(
    config: Config, helper: Helper, printed: str, code: int, words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    helper("store", f"printf '{printed}'; echo '{CANARY}' >&2; exit {code}")
    source = config({"credsStore": "store"})
    error = refusal(lambda: source.find("ghcr.io"))
    assert error.reason.code == "credentials/helper"
    assert error.retry
    assert words in str(error)
    told = f"{error!r} {error.reason} {error.__cause__} {source.describe('ghcr.io')} {capfd.readouterr()}"
    assert CANARY not in told
    assert "eyJ" not in told
    assert "docker-credential-store get" in error.reason.next_step


@pytest.mark.parametrize(
    "said",
    [
        "credentials not found in native keychain",
        "Credentials not found",
        "The specified item could not be found in the keychain.",
        "Element not found.",
        "no credentials for ghcr.io",
        "error getting credentials - err: exit status 1, out: `secret not found`",
    ],
)
def test_every_way_to_say_not_found_is_no_error(config: Config, helper: Helper, said: str) -> None:
    helper("store", f"echo '{said}'; exit 1")
    source = config({"credsStore": "store"})
    assert source.find("ghcr.io") is None
    assert "helper store has none" in source.describe("ghcr.io")


def test_empty_names_and_secrets_are_none(config: Config, helper: Helper) -> None:
    helper("store", answering("", ""))
    assert config({"credsStore": "store"}).find("ghcr.io") is None


def test_noise_on_stderr_harms_nothing_and_stays_there(
    config: Config, helper: Helper, capfd: pytest.CaptureFixture[str]
) -> None:
    helper("store", f"echo 'debug: {CANARY}' >&2; {answering('ann', CANARY)}")
    assert config({"credsStore": "store"}).find("ghcr.io") == Credential("ann", CANARY)
    assert CANARY not in "".join(capfd.readouterr())


def test_a_helper_that_does_not_read_its_question_is_fine(
    config: Config, tmp_path: Path, helper: Helper
) -> None:
    helper("store", "")
    program = tmp_path / "bin/docker-credential-store"
    program.write_text(f"#!/bin/sh\nexec <&-\n{answering('ann', 'p')}\n")
    assert config({"credsStore": "store"}).find("ghcr.io") == Credential("ann", "p")


def test_a_helper_that_hangs_is_ended_with_its_children(
    config: Config, helper: Helper, tmp_path: Path
) -> None:
    calls = helper("store", f"sleep 1000 & echo $! $$ > {tmp_path}/pids; wait")
    config({"credsStore": "store"})
    source = DockerConfig(str(tmp_path), helper_seconds=0.5)

    first = refusal(lambda: source.find("ghcr.io"))
    second = refusal(lambda: source.find("ghcr.io"))

    assert "no answer in 0.5 seconds" in str(first)
    assert first.retry
    assert str(second) == str(first)
    assert calls.read_text() == "get ghcr.io\n"  # a failure is kept for a while, so nobody waits again
    for pid in (tmp_path / "pids").read_text().split():
        wait_until(lambda pid=pid: _ended(pid), f"the end of process {pid}")  # type: ignore[misc]


def _ended(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_a_helper_that_ignores_signals_is_ended_too(config: Config, helper: Helper, tmp_path: Path) -> None:
    helper("store", f"trap '' TERM INT HUP; echo $$ > {tmp_path}/pids; while :; do :; done")
    config({"credsStore": "store"})
    refusal(lambda: DockerConfig(str(tmp_path), helper_seconds=0.5).find("ghcr.io"))
    pid = (tmp_path / "pids").read_text().strip()
    wait_until(lambda: not os.path.exists(f"/proc/{pid}"), "the helper's end")


def test_a_helper_that_babbles_is_ended(config: Config, helper: Helper) -> None:
    helper("store", "yes")
    error = refusal(lambda: config({"credsStore": "store"}).find("ghcr.io"))
    assert "more than 1048576 bytes, so it was killed" in str(error)


def test_an_agent_that_a_helper_leaves_behind_holds_nobody_up(
    config: Config, helper: Helper, tmp_path: Path
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    # The agent keeps the helper's stdout open, as agents do; it ends when it is told to.
    helper("store", f"{answering('ann', 'p')}; (read line < {fifo}; touch {tmp_path}/agent-ended) &")
    assert config({"credsStore": "store"}).find("ghcr.io") == Credential("ann", "p")
    assert not (tmp_path / "agent-ended").exists()
    fifo.write_text("\n")
    wait_until((tmp_path / "agent-ended").exists, "the agent's end")


def test_a_helper_that_hangs_for_one_host_delays_no_other(
    config: Config, helper: Helper, tmp_path: Path
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    helper("slow", f"read line < {fifo}; {answering('slow', 'p')}")
    helper("fast", answering("fast", "p"))
    source = config({"credHelpers": {"slow.test": "slow", "fast.test": "fast"}})
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(source.find, "slow.test")
        wait_until((tmp_path / "bin/calls").exists, "the slow helper's start")
        assert source.find("fast.test") == Credential("fast", "p")
        assert not waiting.done()
        fifo.write_text("\n")
        assert waiting.result(20) == Credential("slow", "p")


def test_many_threads_ask_a_helper_once(config: Config, helper: Helper) -> None:
    calls = helper("store", answering("ann", "p"))
    source = config({"credsStore": "store"})
    together = threading.Barrier(8)

    def find(_: int) -> Credential | None:
        together.wait(20)
        return source.find("ghcr.io", "acme/web")

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(find, range(8))) == {Credential("ann", "p")}
    assert calls.read_text() == "get ghcr.io\n"


@pytest.mark.parametrize(("script", "kept"), [(answering("ann", "p"), 300), ("echo sealed; exit 1", 30)])
def test_answers_and_failures_are_kept_for_their_time_only(
    config: Config, helper: Helper, tmp_path: Path, script: str, kept: float
) -> None:
    calls = helper("store", script)
    config({"credsStore": "store"})
    now = 1000.0
    source = DockerConfig(str(tmp_path), clock=lambda: now)
    for later, asked in ((0, 1), (kept - 1, 1), (kept, 2)):
        now = 1000.0 + later
        with contextlib.suppress(RegistryError):
            source.find("ghcr.io")
        assert calls.read_text() == "get ghcr.io\n" * asked


def test_a_helper_is_asked_again_when_the_config_changed(
    config: Config, helper: Helper, tmp_path: Path
) -> None:
    calls = helper("store", answering("ann", "p"))
    source = config({"credsStore": "store"})
    source.find("ghcr.io")
    (tmp_path / "config.json").write_text(json.dumps({"credsStore": "store", "auths": {}}))
    source.find("ghcr.io")
    assert calls.read_text() == "get ghcr.io\n" * 2


def test_a_program_that_cannot_be_started_is_an_error(config: Config, helper: Helper, tmp_path: Path) -> None:
    helper("store", "")
    (tmp_path / "bin/docker-credential-store").write_text("#!/no/such/interpreter\n")
    error = refusal(lambda: config({"credsStore": "store"}).find("ghcr.io"))
    assert "it cannot be started: No such file or directory" in str(error)


@pytest.mark.parametrize("name", ["../bin/sh", "a/b", "", 7, None, ["x"], "a\0b"])
def test_a_helpers_name_does_not_lead_out_of_path(config: Config, name: object) -> None:
    assert config({"credsStore": name, "credHelpers": {"ghcr.io": name}}).find("ghcr.io") is None


def test_a_failing_helper_costs_nothing_where_an_entry_knows(config: Config, helper: Helper) -> None:
    helper("store", "echo 'the vault is sealed'; exit 1")
    source = config({"credsStore": "store", "auths": {"ghcr.io": auth("ann", "p")}})
    assert source.find("ghcr.io") == Credential("ann", "p")
    assert "the vault is sealed" in source.describe("ghcr.io")
    assert refusal(lambda: source.find("quay.io")).reason.code == "credentials/helper"


def test_a_token_is_known_by_its_user_name(config: Config, helper: Helper) -> None:
    helper("store", answering("<token>", "t"))
    assert config({"credsStore": "store"}).find("ghcr.io") == Credential("<token>", "t", Secret.IDENTITY)


def test_a_token_that_was_revoked_is_asked_for_again(
    config: Config, helper: Helper, tmp_path: Path, hostile: Callable[[Behaviour], HostileServer]
) -> None:
    good = secret("new")

    def behave(asked: Received) -> Reply:
        if asked.path == "/token":
            opens = f"refresh_token={good}".encode() in asked.body
            return json_reply({"access_token": "t"}) if opens else json_reply({}, 401)
        if asked.headers.get("authorization") == "Bearer t":
            return json_reply({"tags": ["1.0.0"]})
        return json_reply({}, 401, WWW_Authenticate=f'Bearer realm="http://{server.host}/token"')

    server = hostile(behave)
    helper("store", answering("<token>", secret("old")))
    config({"credsStore": "store"})
    source = DockerConfig(str(tmp_path), fresh_seconds=0)
    client = RegistryClient({server.host: replace(PLAIN, credentials=source)})
    repository = Repository(server.host, "acme/web")

    def tags() -> tuple[str, ...]:
        return client.tags(repository, now=datetime(2026, 1, 1, tzinfo=UTC)).tags

    refused = refusal(tags)
    assert refused.reason.code == "registry/denied"
    assert "credential helper store" in str(refused.reason.params) + str(refused)
    helper("store", answering("<token>", good))
    assert tags() == ("1.0.0",)
    client.close()
