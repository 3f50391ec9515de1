"""`signed_by` in whole cycles: what is released is signed, and bound to the digest that is."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
import requests
from parts import signing
from parts.signing import new_key, sign_legacy, written
from parts.stage import COMMAND, Stage

from automator.core.report import Outcome
from automator.cycle.run import Trigger
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
    assert told["1.4.4"].endswith("its command ended with 1: no")


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


def test_key_and_command_may_stand_for_each_other(signed: Stage, tmp_path: Path) -> None:
    begin(signed, "1.4.3", keys=SIGNED.replace("release", "[release, other]"))
    sign(signed, "1.4.3")
    signed.keys["other"] = {"command": [str(tmp_path / "nothing"), "{digest}"]}
    assert web(signed).status is Status.RELEASED
