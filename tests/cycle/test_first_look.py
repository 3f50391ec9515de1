"""What is told of a branch before any registry has answered."""

from __future__ import annotations

from datetime import datetime

from parts.stage import Stage

from automator.app.desk import LiveDesk
from automator.core.reference import Repository
from automator.core.report import Report
from automator.core.view import DaemonView
from automator.reasons import Status


def test_the_first_cycle_tells_what_the_branch_holds_before_any_registry_is_asked(stage: Stage) -> None:
    stage.push("acme/web", "1.4.2", "1.4.3")
    stage.commit(stage.workload("web", "1.4.2"))
    stage.commit({"policies/broken.yaml": "version: 1\nworkloads: {odd: {image: acme/odd, semver: '>='}}\n"})
    told: list[Report] = []

    def preview(report: Report) -> None:
        assert not any(line.startswith("GET ") and "/tags/list" in line for line in stage.registry.log)
        told.append(report)

    stage.cycle.preview = preview
    first = {outcome.workload: outcome for outcome in stage.run().outcomes}
    (shown,) = told
    assert {o.workload: o.reason.code for o in shown.outcomes}["web"] == "waiting/first-look"
    by_name = {outcome.workload: outcome for outcome in shown.outcomes}
    assert (by_name["web"].status, by_name["web"].current) == (Status.WAITING, "1.4.2")
    assert by_name["web"].sites == first["web"].sites
    assert by_name["odd"].reason == first["odd"].reason, "what is wrong with a policy is known at once"
    assert first["web"].status is Status.RELEASED

    stage.run()
    assert len(told) == 1, "later cycles have something better to show"


class Pulse:
    """A daemon that never runs a cycle by itself."""

    def wake(
        self, repo: str, repositories: frozenset[Repository] = frozenset(), *, trigger: str = "request"
    ) -> None:
        raise AssertionError("nobody asked for a cycle")

    def running_since(self, repo: str) -> datetime | None:
        return None

    def stuck(self) -> tuple[str, ...]:
        return ()


def test_what_the_process_before_left_stays_on_show_until_the_first_cycle_ends(stage: Stage) -> None:
    stage.push("acme/web", "1.4.2")
    stage.commit(stage.workload("web", "1.4.2"))

    def shown_in_a_new_process() -> str:
        view = DaemonView("1.2.3", stage.now, stage.now)
        desk = LiveDesk(stage.app, Pulse(), lambda: stage.now, standing=lambda: view)
        codes: list[str] = []

        def preview(report: Report) -> None:
            desk.foresaw(report)
            found = desk.workload("shop", "web")
            assert found is not None
            codes.append(found.outcome.reason.code)

        stage.cycle.preview = preview
        with desk.cycle("shop"):
            report = stage.run()
            desk.saw(report)
        stage.app.store.save_report(report)
        desk.close()
        stage.stop()
        (code,) = codes
        return code

    assert shown_in_a_new_process() == "waiting/first-look"
    assert shown_in_a_new_process() == "current/newest"


def test_what_was_fetched_ahead_is_what_the_first_cycle_goes_by(stage: Stage) -> None:
    stage.push("acme/web", "1.4.2", "1.4.3")
    stage.commit(stage.workload("web", "1.4.2"))
    stage.cycle.set_out()
    (outcome,) = stage.run().outcomes
    assert outcome.status is Status.RELEASED
    assert (outcome.target or "").startswith("1.4.3@")

    stage.push("acme/web", "1.4.4")
    (outcome,) = stage.run().outcomes
    assert (outcome.target or "").startswith("1.4.4@"), "later cycles ask for the tip themselves"


def test_a_fetch_ahead_that_fails_is_told_and_tried_again_by_the_next_cycle(stage: Stage) -> None:
    stage.push("acme/web", "1.4.2")
    stage.commit(stage.workload("web", "1.4.2"))
    away = stage.repo.path.with_suffix(".away")
    stage.repo.path.rename(away)
    stage.cycle.set_out()
    error = stage.run().error
    away.rename(stage.repo.path)
    assert error is not None
    assert error.code == "git/not-found"
    assert stage.run().error is None


def test_a_fetch_ahead_for_which_no_cycle_comes_leaves_the_clone_to_the_next(stage: Stage) -> None:
    stage.push("acme/web", "1.4.2")
    stage.commit(stage.workload("web", "1.4.2"))
    stage.cycle.set_out()
    stage.stop()
    assert stage.run().error is None
