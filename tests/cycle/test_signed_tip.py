"""Cycles on a branch whose tip must be signed, and cycles that sign what they release."""

from __future__ import annotations

from datetime import timedelta

import pytest
from parts.gitserver import git
from parts.signedcommits import allowed, by_ssh, sign_tip, ssh_key, verified
from parts.stage import Stage

from automator.core.report import Report
from automator.errors import CheckoutError
from automator.reasons import Status

pytestmark = pytest.mark.needs("openssh-client")


class Guarded:
    """A stage on which only Ann's and our own commits count."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.ann = ssh_key(stage.folder, "ann")
        self.ours = ssh_key(stage.folder, "ours")
        self.signers = stage.folder / "allowed_signers"
        self.signers.write_text(allowed(self.ann, self.ours))
        stage.settings = {
            "signing": {"ssh_key_file": str(self.ours)},
            "require_signed": {"allowed_signers_file": str(self.signers)},
            "committer": {"name": "automator in CI", "email": "ci@example.org"},
            "sign_off": True,
        }

    def commit(self, files: dict[str, str], *, signed: bool) -> str:
        tip = self.stage.commit(files, author="Ann Author" if signed else "Mallory Mole")
        return sign_tip(self.stage.repo, by_ssh(self.ann)) if signed else tip

    def is_ours(self, commit: str) -> bool:
        ours = self.stage.folder / "ours.allowed"
        ours.write_text(allowed(self.ours))
        return verified(self.stage.repo.path, commit, {"gpg.ssh.allowedSignersFile": str(ours)})

    def refused(self, *, push: bool = True) -> Report:
        """A cycle that does nothing but say why, for each workload it knows."""
        stage, tip = self.stage, self.stage.repo.tip()
        assert tip is not None
        report = stage.run(push=push)
        assert report.error is not None
        assert report.error.code == "git/unsigned-tip"
        assert tip[:12] in report.error.sentence
        assert stage.repo.tip() == tip
        assert report.patches == ()
        return report


@pytest.fixture
def guarded(stage: Stage) -> Guarded:
    return Guarded(stage)


def test_releases_go_out_signed_on_signed_tips_and_on_our_own(stage: Stage, guarded: Guarded) -> None:
    stage.push("acme/web", "1.0.0", "1.1.0")
    guarded.commit(stage.workload("web", "1.0.0"), signed=True)
    first = stage.outcomes()["web"]
    assert first.status is Status.RELEASED
    stage.push("acme/web", "1.2.0", age=stage.now - stage.now)
    second = stage.outcomes()["web"]
    assert second.status is Status.RELEASED
    for outcome in (first, second):
        assert outcome.commit is not None
        assert guarded.is_ours(outcome.commit)
    assert stage.repo.tip() == second.commit
    who = git(stage.repo.path, "log", "-1", "--format=%an|%cn %ce|%(trailers:key=Signed-off-by,valueonly)")
    assert who.strip() == "automator|automator in CI ci@example.org|automator <automator@localhost>"
    assert stage.outcomes()["web"].status is Status.CURRENT


def test_an_unsigned_tip_stops_everything_until_somebody_signs_again(stage: Stage, guarded: Guarded) -> None:
    stage.push("acme/web", "1.0.0", "1.1.0")
    stage.push("acme/api", "1.0.0")
    guarded.commit({**stage.workload("web", "1.0.0"), **stage.workload("api", "1.0.0")}, signed=True)
    assert {o.status for o in stage.outcomes().values()} == {Status.RELEASED, Status.CURRENT}

    guarded.commit({"README.md": "evil\n"}, signed=False)
    stage.push("acme/web", "1.2.0", age=stage.now - stage.now)
    for _ in range(2):
        report = guarded.refused()
        assert "Mallory Mole" in (report.error.sentence if report.error else "")
        assert {o.workload: (o.status, o.reason.code) for o in report.outcomes} == dict.fromkeys(
            ("web", "api"), (Status.HELD, "git/unsigned-tip")
        )
    guarded.refused(push=False)

    guarded.commit({"README.md": "good again\n"}, signed=True)
    outcomes = stage.outcomes()
    assert outcomes["web"].status is Status.RELEASED
    assert stage.image_of("web") == "web:1.2.0"
    assert outcomes["api"].status is Status.CURRENT


@pytest.mark.parametrize("forgetful", [False, True])
def test_who_cannot_sign_lifts_no_hold_and_steers_no_policy(
    stage: Stage, guarded: Guarded, forgetful: bool
) -> None:
    stage.push("acme/web", "1.0.0", "1.1.0", "6.6.6")
    held = stage.workload("web", "1.0.0", keys='semver: "<2"\nhold: {reason: "audit"}')
    guarded.commit(held, signed=True)
    assert stage.outcomes()["web"].reason.code.endswith("hold")

    guarded.commit(stage.workload("web", "1.0.0", keys='semver: "*"'), signed=False)
    if forgetful:
        stage.lose_state()
    report = guarded.refused()
    assert len(report.outcomes) == (0 if forgetful else 1)
    assert stage.cycle.index.snapshot is None or "6.6.6" not in str(report)
    with pytest.raises(CheckoutError, match="does not count"):
        stage.cycle.look()


def test_a_key_that_is_taken_away_stops_the_next_cycle_on_the_same_tip(
    stage: Stage, guarded: Guarded
) -> None:
    stage.push("acme/web", "1.0.0")
    guarded.commit(stage.workload("web", "1.0.0"), signed=True)
    assert stage.outcomes()["web"].status is Status.CURRENT
    guarded.signers.write_text(allowed(guarded.ours))
    guarded.refused()
    guarded.signers.unlink()
    report = stage.run()
    assert report.error is not None
    assert report.error.code == "git/signers"
    assert {o.status for o in report.outcomes} == {Status.HELD}
    guarded.signers.write_text(allowed(guarded.ann, guarded.ours))
    assert stage.outcomes()["web"].status is Status.CURRENT


def test_a_merge_counts_by_its_own_signature(stage: Stage, guarded: Guarded) -> None:
    """What the forge merges, the forge signs: with a key that is allowed or not."""
    stage.push("acme/web", "1.0.0", "1.1.0")
    base = guarded.commit(stage.workload("web", "1.0.0"), signed=True)
    proposed = guarded.commit({"README.md": "from a branch\n"}, signed=False)
    merge = git(
        stage.repo.path,
        *("commit-tree", f"{proposed}^{{tree}}", "-p", base, "-p", proposed, "-m", "Merge pull request #1"),
    )
    stage.repo.set_tip(merge)
    forge = ssh_key(stage.folder, "forge")
    sign_tip(stage.repo, by_ssh(forge))
    guarded.refused()
    guarded.signers.write_text(allowed(guarded.ann, guarded.ours, forge))
    assert stage.outcomes()["web"].status is Status.RELEASED


def test_a_quiet_cycle_starts_no_process_more(stage: Stage, guarded: Guarded) -> None:
    stage.push("acme/web", "1.0.0")
    guarded.commit(stage.workload("web", "1.0.0"), signed=True)
    stage.run()
    before = stage.cycle.checkout.processes
    stage.run()
    assert stage.cycle.checkout.processes == before + 1, "the question for the tip"


def test_the_logbook_may_be_read_whoever_wrote_last(stage: Stage, guarded: Guarded) -> None:
    stage.push("acme/web", "1.0.0", "1.1.0")
    guarded.commit(stage.workload("web", "1.0.0"), signed=True)
    stage.run()
    guarded.commit({"README.md": "evil\n"}, signed=False)
    assert stage.cycle.logbook().snapshot.commit == stage.repo.tip()
    guarded.refused()


def test_a_signing_key_that_is_gone_fails_the_releases_and_nothing_goes_out_unsigned(
    stage: Stage, guarded: Guarded
) -> None:
    stage.push("acme/web", "1.0.0", "1.1.0")
    tip = guarded.commit(stage.workload("web", "1.0.0"), signed=True)
    away = guarded.ours.rename(stage.folder / "away")
    report = stage.run()
    (outcome,) = report.outcomes
    assert (outcome.status, outcome.reason.code) == (Status.FAILED, "git/signing")
    assert str(guarded.ours) in outcome.reason.sentence
    assert report.error is not None
    assert stage.repo.tip() == tip
    away.rename(guarded.ours)
    assert stage.outcomes()["web"].status is Status.RELEASED


def test_a_release_that_would_stop_us_is_not_pushed(stage: Stage, guarded: Guarded) -> None:
    """With a key that is not allowed, our first release would be an unsigned tip."""
    stage.settings["signing"] = {"ssh_key_file": str(ssh_key(stage.folder, "stranger"))}
    stage.push("acme/web", "1.0.0", "1.1.0")
    tip = guarded.commit(stage.workload("web", "1.0.0"), signed=True)
    report = stage.run()
    (outcome,) = report.outcomes
    assert (outcome.status, outcome.reason.code) == (Status.FAILED, "push/unsigned")
    assert "1.1.0 was not pushed" in outcome.reason.sentence
    assert report.error is None, "the branch is as good as it was"
    assert stage.repo.tip() == tip
    stage.now += timedelta(minutes=10)
    before = stage.cycle.checkout.processes
    assert stage.outcomes()["web"].reason.code == "push/unsigned"
    assert stage.cycle.checkout.processes <= before + 1, "it is not made again in each cycle"
    stage.now += timedelta(hours=1)
    guarded.signers.write_text(guarded.signers.read_text() + allowed(stage.folder / "stranger"))
    assert stage.outcomes()["web"].status is Status.RELEASED
    guarded.signers.write_text(guarded.signers.read_text())
    assert stage.run(push=False).error is None
