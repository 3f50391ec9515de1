"""A cycle for an event asks for what the event named, and leaves the rest to its own time."""

from __future__ import annotations

from datetime import timedelta

from parts.stage import Stage

from automator.core.reference import Repository
from automator.cycle.run import Trigger

MINUTE = timedelta(minutes=1)


def lists(stage: Stage) -> list[str]:
    """Names of the images whose tags were asked for, in order."""
    return [
        line.split("/acme/")[1].split("/")[0]
        for line in stage.registry.log
        if "tags/list" in line and line.startswith("GET")
    ]


def event(stage: Stage, *names: str, trigger: str = "event") -> Trigger:
    """What the daemon makes of an event, in a config repo with a cycle each minute."""
    named = frozenset(Repository(stage.host, f"acme/{name}") for name in names)
    return Trigger(trigger, named=named, patience=MINUTE)


def begin(stage: Stage) -> int:
    """Three workloads, all of them looked at; how often lists were asked for."""
    files = {}
    for name in ("web", "api", "job"):
        stage.push(f"acme/{name}", "1.0.0")
        files |= stage.workload(name, "1.0.0")
    stage.commit(files)
    stage.outcomes()
    stage.now -= timedelta(seconds=59)  # an event comes soon
    return len(lists(stage))


def test_only_what_was_named_is_listed(stage: Stage) -> None:
    before = begin(stage)
    stage.push("acme/web", "1.1.0")
    stage.push("acme/api", "1.1.0")
    stage.run(trigger=event(stage, "web"))
    assert lists(stage)[before:] == ["web"]
    assert stage.image_of("web") == "web:1.1.0"
    stage.run(trigger=Trigger("interval"))
    assert "api" in lists(stage)[before + 1 :]
    assert stage.image_of("api") == "api:1.1.0"


def test_what_is_long_overdue_comes_along(stage: Stage) -> None:
    before = begin(stage)
    stage.now += timedelta(minutes=10)
    stage.run(trigger=event(stage, "web"))
    assert lists(stage)[before] == "web", "the one that was named comes first"
    assert sorted(lists(stage)[before:]) == ["api", "job", "web"]


def test_a_git_push_lists_what_is_new_to_us_and_nothing_else(stage: Stage) -> None:
    before = begin(stage)
    stage.push("acme/extra", "1.0.0", "1.2.0")
    stage.commit(stage.workload("extra", "1.0.0"))
    stage.run(trigger=event(stage, trigger="push"))
    assert lists(stage)[before:] == ["extra"]
    assert stage.image_of("extra") == "extra:1.2.0"


def test_what_nobody_watches_is_not_asked_for_whoever_names_it(stage: Stage) -> None:
    before = begin(stage)
    stage.run(trigger=event(stage, "elsewhere"))
    assert lists(stage)[before:] == []
