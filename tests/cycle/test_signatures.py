"""`signed_by` in whole cycles: what is released is signed, and bound to the digest that is."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest
import requests
from parts import signing
from parts.gitserver import BareRepo
from parts.registry import PLAIN, HostileServer, Received, Reply, wait_until
from parts.signing import new_key, payload, sign_legacy, written
from parts.stage import COMMAND, NOW, Stage

from automator.app import App
from automator.config import Config
from automator.core.facts import Signature, Unavailable
from automator.core.reference import Repository
from automator.core.report import Outcome
from automator.cycle.observe import Observer
from automator.cycle.run import Trigger
from automator.cycle.signatures import KeyFile, Signatures
from automator.edges.checks import Commands, ImageCommand
from automator.edges.registry import RegistryClient, SignatureSource
from automator.edges.store import Store
from automator.reasons import Status

KEY = new_key()
MINUTE = timedelta(minutes=1)
DUE = Trigger("due")
SIGNED = 'semver: ">=1.0 <2"\nsigned_by: release'


@pytest.fixture
def signed(stage: Stage, tmp_path: Path) -> Stage:
    """A stage whose config has the key `release`."""
    stage.keys = {"release": {"public_key_file": written(tmp_path, KEY)}}
    return stage


def digest(stage: Stage, tag: str) -> str:
    """What the registry serves for a tag of web, asked by nobody of ours."""
    with requests.Session() as session:
        session.trust_env = False
        url = f"http://{stage.host}/v2/acme/web/manifests/{tag}"
        kind = {"Accept": signing.MANIFEST_TYPE}
        return session.head(url, headers=kind, timeout=20).headers["Docker-Content-Digest"]


def sign(stage: Stage, tag: str, key: signing.PrivateKey = KEY) -> None:
    sign_legacy(stage.host, "acme/web", digest(stage, tag), key)


def begin(stage: Stage, *tags: str, keys: str = SIGNED) -> None:
    stage.push("acme/web", "1.4.2", *tags)
    stage.commit(stage.workload("web", "1.4.2", keys=keys))


def web(stage: Stage, trigger: Trigger = COMMAND) -> Outcome:
    return stage.outcomes(trigger=trigger)["web"]


def said(outcome: Outcome) -> tuple[Status, str]:
    return outcome.status, outcome.reason.code


def asked(stage: Stage) -> list[str]:
    """Requests so far that ask about signatures."""
    return [r for r in stage.registry.log if r.startswith("GET") and (".sig" in r or "sha256-" in r)]


def test_what_is_signed_is_released_by_its_digest(signed: Stage) -> None:
    begin(signed, "1.4.3")
    sign(signed, "1.4.3")
    assert web(signed).status is Status.RELEASED
    assert signed.image_of("web") == f"web:1.4.3@{digest(signed, '1.4.3')}"
    assert len(asked(signed)) == 1


def test_what_is_signed_after_the_push_is_released_then(signed: Stage) -> None:
    begin(signed, "1.4.3")
    waits = web(signed)
    assert said(waits) == (Status.WAITING, "guard/unsigned")
    assert said(web(signed, DUE)) == (Status.WAITING, "guard/unsigned")
    sign(signed, "1.4.3")
    assert web(signed, DUE).status is Status.RELEASED


def test_what_stays_unsigned_is_asked_again_each_hour_and_explained(signed: Stage) -> None:
    begin(signed, "1.4.3", "1.4.4")
    sign(signed, "1.4.3", new_key())
    web(signed)
    signed.now += 61 * MINUTE
    assert said(web(signed, DUE)) == (Status.HELD, "guard/unsigned")
    told = {verdict.tag: verdict.reason for verdict in signed.cycle.verdicts("web")}
    assert told["1.4.4"].code == "guard/unsigned"
    assert told["1.4.3"].code == "guard/bad-signature"
    assert "by another key, or was altered" in told["1.4.3"].sentence
    before = len(asked(signed))
    assert said(web(signed, DUE)) == (Status.HELD, "guard/unsigned")
    assert len(asked(signed)) == before
    sign(signed, "1.4.4")
    signed.now += 60 * MINUTE
    assert web(signed, DUE).status is Status.RELEASED
    assert signed.image_of("web").startswith("web:1.4.4@")


def test_the_best_signed_version_is_taken_past_one_that_is_not(signed: Stage) -> None:
    begin(signed, "1.4.3", "1.4.4")
    sign(signed, "1.4.3")
    assert web(signed).status is Status.RELEASED
    assert signed.image_of("web").startswith("web:1.4.3@")


def test_a_key_that_is_replaced_counts_at_once(signed: Stage, tmp_path: Path) -> None:
    begin(signed, "1.4.3")
    sign(signed, "1.4.3")
    assert web(signed, COMMAND).status is Status.RELEASED
    written(tmp_path, new_key())
    signed.push("acme/web", "1.4.4")
    sign(signed, "1.4.4")
    assert said(web(signed)) == (Status.WAITING, "guard/bad-signature")
    written(tmp_path, KEY)
    assert web(signed, DUE).status is Status.RELEASED


def test_what_was_proven_is_asked_no_more_until_the_key_is_another(signed: Stage, tmp_path: Path) -> None:
    begin(signed, "1.4.3", keys=SIGNED + '\nwindows: [{allow: "0 0 1 1 *", for: 1h}]')
    sign(signed, "1.4.3")
    assert said(web(signed))[1] == "guard/window"
    before = len(asked(signed))
    assert before == 1
    signed.commit(signed.workload("web", "1.4.2", keys=f"{SIGNED}\nmin_age: 0s"))
    written(tmp_path, new_key())
    assert said(web(signed)) == (Status.WAITING, "guard/bad-signature")
    assert len(asked(signed)) > before


def test_a_key_that_cannot_be_read_holds_up_the_release(signed: Stage, tmp_path: Path) -> None:
    begin(signed, "1.4.3")
    sign(signed, "1.4.3")
    (tmp_path / "cosign.pub").write_text("nothing")
    failed = web(signed)
    assert said(failed) == (Status.FAILED, "signature/key")
    assert str(tmp_path / "cosign.pub") in failed.reason.sentence
    written(tmp_path, KEY)
    assert web(signed, DUE).status is Status.RELEASED


def test_a_name_that_the_config_lacks_holds_and_is_told(signed: Stage) -> None:
    begin(signed, "1.4.3", keys=SIGNED.replace("release", "relaese"))
    held = web(signed)
    assert said(held) == (Status.HELD, "guard/unknown-key")
    assert held.reason.sentence.startswith("policies/web.yaml:6: ")
    assert "(it has: release)" in held.reason.sentence


def test_a_rule_wants_a_signature_of_policies_that_say_nothing(signed: Stage) -> None:
    begin(signed, "1.4.3", keys='semver: ">=1.0 <2"')
    signed.commit({"policies/_rules.yaml": "version: 1\nrules:\n- signed_by: release\n"})
    assert said(web(signed)) == (Status.WAITING, "guard/unsigned")
    sign(signed, "1.4.3")
    assert web(signed, DUE).status is Status.RELEASED
    assert "@sha256:" in signed.image_of("web")


def test_without_it_no_request_is_about_signatures(signed: Stage) -> None:
    begin(signed, "1.4.3", keys='semver: ">=1.0 <2"')
    assert web(signed).status is Status.RELEASED
    assert asked(signed) == []


def test_a_followed_tag_moves_to_a_signed_digest(signed: Stage) -> None:
    signed.push("acme/web", "stable")
    signed.commit(signed.workload("web", "stable", keys="follow: stable\nsigned_by: release"))
    assert said(web(signed)) == (Status.WAITING, "guard/unsigned")
    sign(signed, "stable")
    assert web(signed, DUE).status is Status.RELEASED
    assert signed.image_of("web") == f"web:stable@{digest(signed, 'stable')}"


def test_an_event_of_the_signature_is_not_ignored_because_of_an_earlier_look(signed: Stage) -> None:
    begin(signed, "1.4.3", "1.4.4")
    web(signed)
    signed.now += 61 * MINUTE
    assert said(web(signed, DUE)) == (Status.HELD, "guard/unsigned")
    event = Trigger("event", named=frozenset({Repository(signed.host, "acme/web")}))
    assert said(web(signed, event)) == (Status.HELD, "guard/unsigned")
    before = len(asked(signed))
    assert said(web(signed, DUE)) == (Status.HELD, "guard/unsigned")
    assert len(asked(signed)) == before
    sign(signed, "1.4.3")
    assert web(signed, event).status is Status.RELEASED
    assert signed.image_of("web").startswith("web:1.4.3@")


def test_a_mended_key_counts_though_nothing_was_signed_by_the_old_one(signed: Stage, tmp_path: Path) -> None:
    written(tmp_path, new_key())
    begin(signed, "1.4.3", "1.4.4")
    sign(signed, "1.4.3")
    web(signed)
    signed.now += 61 * MINUTE
    assert said(web(signed, DUE)) == (Status.HELD, "guard/unsigned")
    written(tmp_path, KEY)
    assert web(signed, DUE).status is Status.RELEASED
    assert signed.image_of("web").startswith("web:1.4.3@")


def test_a_bundle_of_an_odd_shape_does_not_hide_a_good_one(signed: Stage) -> None:
    begin(signed, "1.4.3")
    of = digest(signed, "1.4.3")
    odd = json.dumps({**json.loads(signing.statement(of)), "_type": []}).encode()
    bodies = (signing.bundle(KEY, odd), signing.bundle(KEY, signing.statement(of)))
    signing.push_bundles(signed.host, "acme/web", of, *bodies)
    assert web(signed).status is Status.RELEASED


# -- answers that come late --------------------------------------------------------------------------


class Gated:
    """A registry whose answers about signatures are on their way for as long as the gate is closed."""

    def __init__(self, inner: str, of: str, keys: tuple[signing.PrivateKey, ...]) -> None:
        self.inner, self.of, self.keys = inner, of, keys
        self.gate = threading.Event()

    def sign(self) -> None:
        """All keys sign the digest."""
        signed = ((payload(self.of), signing.sign(key, payload(self.of))) for key in self.keys)
        signing.push_legacy(self.inner, "acme/web", self.of, *signed)

    def __call__(self, received: Received) -> Reply:
        with requests.Session() as session:
            session.trust_env = False
            url, kind = f"http://{self.inner}{received.path}", {"Accept": signing.MANIFEST_TYPE}
            answer = session.get(url, headers=kind, timeout=20)
        self.gate.wait(20)
        kept = ("Content-Type", "Docker-Content-Digest")
        told = {name: answer.headers[name] for name in kept if name in answer.headers}
        return Reply(answer.status_code, answer.content, told)


class Asker:
    """Who asks for signatures of one digest, cycle by cycle."""

    def __init__(self, signatures: Signatures, observer: Observer, host: str, of: str) -> None:
        self.signatures, self.observer = signatures, observer
        self.repository, self.of = Repository(host, "acme/web"), of

    def cycle(self, *keys: str) -> list[Signature | Unavailable]:
        """Whether each of these keys signed it, as one cycle finds."""
        self.signatures.begin()
        self.observer.look({}, (), NOW, all_due=False)
        return self.again(*keys)

    def again(self, *keys: str) -> list[Signature | Unavailable]:
        questions = [(self.repository, (self.of, ((key,),))) for key in keys]
        found = self.signatures.ask(questions, self.observer, NOW)
        return [found[question] for question in questions]


@pytest.fixture
def gated(stage: Stage, tmp_path: Path) -> Iterator[tuple[Gated, Asker]]:
    keys = {name: new_key() for name in ("first", "second")}
    stage.push("acme/web", "1.4.3")
    of = digest(stage, "1.4.3")
    behave = Gated(stage.host, of, tuple(keys.values()))
    signers = {name: KeyFile(name, str(written(tmp_path, key, name))) for name, key in keys.items()}
    with HostileServer(behave) as server, ExitStack() as stack:
        client = RegistryClient({server.host: PLAIN})
        commands = Commands()
        store = Store.open(tmp_path / "memory")
        for part in (client, commands, store):
            stack.callback(part.close)
        observer = Observer(client, store, timeout=1)
        signatures = Signatures(SignatureSource(client), signers, commands)
        yield behave, Asker(signatures, observer, server.host, of)
        behave.gate.set()


@pytest.mark.parametrize("is_signed_later", [False, True])
def test_a_late_answer_is_none_to_who_asks_something_else_or_later(
    gated: tuple[Gated, Asker], is_signed_later: bool
) -> None:
    behave, asker = gated
    if not is_signed_later:
        behave.sign()
    (late,) = asker.cycle("first")
    assert isinstance(late, Unavailable)
    if is_signed_later:
        behave.sign()
    behave.gate.set()
    found = asker.cycle("first", "second")
    while any(isinstance(each, Unavailable) for each in found):
        found = asker.cycle("first", "second")
    assert [isinstance(each, Signature) and each.is_good for each in found] == [True, True]


# -- commands -------------------------------------------------------------------------------------------


def command(stage: Stage, folder: Path, text: str, timeout: str = "20s") -> None:
    """The key `release` is a command."""
    file = folder / "check"
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)
    told = [str(file), "{image}", "{digest}"]
    stage.keys = {"release": {"command": told, "timeout": timeout}}


def test_a_command_decides_for_each_digest(stage: Stage, tmp_path: Path) -> None:
    begin(stage, "1.4.3", "1.4.4")
    good = digest(stage, "1.4.3")
    right_image = f'[ "$1" = {stage.host}/acme/web ] || exit 9'
    command(stage, tmp_path, f'{right_image}\n[ "$2" = {good} ] || {{ echo no; exit 1; }}')
    assert web(stage).status is Status.RELEASED
    assert stage.image_of("web") == f"web:1.4.3@{good}"
    told = {verdict.tag: verdict.reason.sentence for verdict in stage.cycle.verdicts("web")}
    assert told["1.4.4"].endswith("its command ended with 1")


def test_a_command_that_hangs_delays_nobody_and_is_killed(stage: Stage, tmp_path: Path) -> None:
    begin(stage, "1.4.3")
    stage.commit(stage.workload("api", "1.4.2"))
    stage.push("acme/api", "1.4.2", "1.4.3")
    stage.observe_timeout = "1s"
    command(stage, tmp_path, "exec sleep 600", timeout="2s")
    outcomes = stage.outcomes()
    assert outcomes["api"].status is Status.RELEASED
    assert said(outcomes["web"]) == (Status.WAITING, "signature/late")
    seen: list[str] = []
    while not seen or seen[-1] == "signature/late":
        seen.append(web(stage, DUE).reason.code)
    assert seen[-1] == "signature/command"
    assert stage.image_of("web") == "web:1.4.2"


def test_commands_have_the_time_of_a_cycle_and_not_each_their_own(stage: Stage, tmp_path: Path) -> None:
    begin(stage, *(f"1.4.{i}" for i in range(3, 11)))
    stage.observe_timeout = "1s"
    runs = tmp_path / "runs"
    command(stage, tmp_path, f"echo run >> {runs}; sleep 0.4; exit 1")
    assert said(web(stage)) == (Status.WAITING, "signature/late")
    assert len(runs.read_text().splitlines()) < 8


def test_a_command_that_checked_nothing_does_not_let_an_older_version_pass(
    stage: Stage, tmp_path: Path
) -> None:
    begin(stage, "1.4.3", "1.4.4")
    command(stage, tmp_path, f'[ "$2" != {digest(stage, "1.4.4")} ] || exit 137')
    assert said(web(stage)) == (Status.FAILED, "signature/command")
    assert stage.image_of("web") == "web:1.4.2"


def test_what_a_command_prints_is_told_nowhere(stage: Stage, tmp_path: Path) -> None:
    begin(stage, "1.4.3")
    command(stage, tmp_path, "echo password=s3cret; echo token s3cret >&2; exit 1")
    outcome = web(stage)
    assert outcome.reason.code == "guard/bad-signature"
    assert "s3cret" not in str(outcome)


def test_an_event_is_news_to_a_command_too(stage: Stage, tmp_path: Path) -> None:
    begin(stage, "1.4.3")
    done = tmp_path / "signed"
    command(stage, tmp_path, f"test -e {done}")
    web(stage)
    stage.now += 61 * MINUTE
    assert said(web(stage, DUE)) == (Status.HELD, "guard/bad-signature")
    done.touch()
    assert said(web(stage, DUE)) == (Status.HELD, "guard/bad-signature")
    event = Trigger("event", named=frozenset({Repository(stage.host, "acme/web")}))
    assert web(stage, event).status is Status.RELEASED


def test_the_commands_of_one_config_repo_hold_up_no_other(stage: Stage, tmp_path: Path) -> None:
    go = tmp_path / "go"
    hangs = ["/bin/sh", "-c", f"while [ ! -e {go} ]; do sleep 0.05; done; exit 1", "{digest}"]
    names = [f"app{i}" for i in range(9)]
    busy = BareRepo.create(tmp_path / "busy.git", {"README.md": "busy"})
    for name in (*names, "web"):
        stage.push(f"acme/{name}", "1.4.2", "1.4.3")
    files = [stage.workload(name, "1.4.2", keys=SIGNED.replace("release", "slow")) for name in names]
    busy.commit({path: text for each in files for path, text in each.items()}, "Many")
    stage.commit(stage.workload("web", "1.4.2", keys=SIGNED))
    config = Config(
        state=tmp_path / "state",
        repos={"busy": {"url": str(busy.path)}, "shop": {"url": str(stage.repo.path)}},
        registries={stage.host: {"insecure": True}},
        daemon={"observe_timeout": "2s"},
        keys={"slow": {"command": hangs}, "release": {"command": ["/bin/true", "{digest}"]}},
    )
    with App.open(config, exclusive=True, clock=lambda: NOW) as app:
        late = app.cycles["busy"].run(COMMAND)
        assert {outcome.reason.code for outcome in late.outcomes} == {"signature/late"}
        (outcome,) = app.cycles["shop"].run(COMMAND).outcomes
        assert outcome.status is Status.RELEASED
        go.touch()


def test_a_late_no_of_a_command_is_not_used_cycles_later(gated: tuple[Gated, Asker], tmp_path: Path) -> None:
    _, asker = gated
    said_no, done = tmp_path / "said", tmp_path / "done"
    text = f"test ! -e {done} || exit 0; sleep 0.7; touch {said_no}; exit 1"
    key = ImageCommand("slow", ("/bin/sh", "-c", f"{text} # {{digest}}"), 20, os.environ)
    asker.signatures.signers = {"slow": key}
    (late,) = asker.cycle("slow")
    assert isinstance(late, Unavailable)
    wait_until(said_no.exists, "the end of the command")
    done.touch()
    for _ in range(3):
        asker.cycle()
    (found,) = asker.cycle("slow")
    assert found == Signature(NOW, True)


def test_a_command_that_is_asked_for_no_more_is_not_started(
    gated: tuple[Gated, Asker], tmp_path: Path
) -> None:
    _, asker = gated
    asker.signatures.commands = Commands(at_once=1)
    go, runs = tmp_path / "go", tmp_path / "runs"
    text = f"echo $0 >> {runs}; while [ ! -e {go} ]; do sleep 0.05; done"
    names = ("first", "second", "third")
    asker.signatures.signers = {
        name: ImageCommand(name, ("/bin/sh", "-c", text, name, "{digest}"), 60, os.environ) for name in names
    }
    asker.cycle("first")
    asker.cycle("first", "second")
    for _ in range(3):
        asker.cycle("first", "third")
    go.touch()
    while not all(isinstance(found, Signature) for found in asker.cycle("first", "third")):
        pass
    assert runs.read_text().split() == ["first", "third"]
    asker.signatures.commands.close()


def test_key_and_command_may_stand_for_each_other(signed: Stage, tmp_path: Path) -> None:
    begin(signed, "1.4.3", keys=SIGNED.replace("release", "[release, other]"))
    sign(signed, "1.4.3")
    signed.keys["other"] = {"command": [str(tmp_path / "nothing"), "{digest}"]}
    assert web(signed).status is Status.RELEASED
