"""One failure stays small: what is broken costs its own workload's turn and nothing else."""

from __future__ import annotations

import os

import pytest
from parts.gitserver import git
from parts.registry import Behaviour, HostileServer, Received, Reply, json_reply
from parts.stage import Stage

from automator.core.report import Outcome
from automator.reasons import Status

TAGS = ["1.4.2", "1.4.3"]


def second_page_fails(request: Received) -> Reply:
    if "last" in request.query:
        return Reply(500, b"oops")
    return json_reply(
        {"name": "acme/bad", "tags": TAGS}, Link='</v2/acme/bad/tags/list?last=1.4.3>; rel="next"'
    )


FAULTS: dict[str, Behaviour] = {
    "second page fails": second_page_fails,
    "401": lambda _: Reply(401, b"", {"WWW-Authenticate": 'Basic realm="x"'}),
    "404": lambda _: json_reply({"errors": [{"code": "NAME_UNKNOWN", "message": "no such"}]}, 404),
    "500": lambda _: Reply(500, b"<h1>Internal Server Error</h1>"),
    "not JSON": lambda _: Reply(200, b"<html>login here</html>"),
}


CODES = {
    "second page fails": "registry/server-error",
    "401": "registry/denied",
    "404": "registry/not-found",
    "500": "registry/server-error",
    "not JSON": "registry/not-json",
}


def others_are_released(stage: Stage) -> dict[str, Outcome]:
    stage.push("acme/web", "1.4.2", "1.4.3")
    stage.commit(stage.workload("web", "1.4.2"))
    outcomes = stage.outcomes()
    assert outcomes["web"].status is Status.RELEASED
    assert stage.image_of("web") == "web:1.4.3"
    return outcomes


@pytest.mark.parametrize("fault", FAULTS)
def test_a_registry_that_fails_fails_its_own_workload(stage: Stage, fault: str) -> None:
    with HostileServer(FAULTS[fault]) as server:
        stage.insecure.add(server.host)
        stage.commit(stage.workload("bad", "1.4.2", host=server.host))
        outcome = others_are_released(stage)["bad"]
    assert (outcome.status, outcome.reason.code) == (Status.FAILED, CODES[fault])
    assert server.host in outcome.reason.sentence
    assert stage.image_of("bad") == "bad:1.4.2"


def test_a_registry_that_is_slow_is_waited_for_no_longer_than_allowed(stage: Stage) -> None:
    stage.observe_timeout = "1s"
    with HostileServer(lambda _: Reply(silent=True)) as server:
        stage.insecure.add(server.host)
        stage.commit(stage.workload("bad", "1.4.2", host=server.host))
        outcome = others_are_released(stage)["bad"]
        assert (outcome.status, outcome.reason.code) == (Status.WAITING, "registry/late")
        stage.stop()


def test_a_hook_that_refuses_one_commit_of_ten_lets_nine_land(stage: Stage) -> None:
    files: dict[str, str] = {}
    for i in range(10):
        stage.push(f"acme/w{i}", "1.0.0", "1.1.0")
        files |= stage.workload(f"w{i}", "1.0.0")
    stage.commit(files)
    stage.repo.hook(
        "pre-receive",
        "#!/bin/sh\nwhile read old new ref; do\n"
        '  if git log --format=%s $old..$new | grep -q "Release w4 "\n'
        '  then echo "w4 is frozen" >&2; exit 1; fi\n'
        "done\n",
    )
    outcomes = stage.outcomes()
    assert [n for n, o in outcomes.items() if o.status is not Status.RELEASED] == ["w4"]
    assert outcomes["w4"].status is Status.FAILED
    assert "w4 is frozen" in outcomes["w4"].reason.sentence
    assert [stage.image_of(f"w{i}") for i in range(10)].count("w4:1.0.0") == 1
    assert sum(stage.image_of(f"w{i}").endswith(":1.1.0") for i in range(10)) == 9


def test_a_refused_release_is_not_pushed_again_until_something_changes(stage: Stage) -> None:
    stage.push("acme/web", "1.4.2", "1.4.3")
    stage.commit(stage.workload("web", "1.4.2"))
    counter = stage.folder / "pushes"
    hook = stage.repo.hook("pre-receive", f"#!/bin/sh\necho push >> {counter}\necho frozen >&2\nexit 1\n")
    for _ in range(3):
        outcome = stage.outcomes()["web"]
        assert (outcome.status, outcome.reason.code) == (Status.FAILED, "push/refused")
    assert counter.read_text().count("push") == 1
    assert outcome.reason.changes_at is not None
    hook.unlink()
    stage.now = outcome.reason.changes_at
    assert stage.outcomes()["web"].status is Status.RELEASED


def test_a_lost_race_is_decided_again_and_nobody_s_commit_is_lost(stage: Stage) -> None:
    stage.push("acme/web", "1.4.2", "1.4.3")
    base = stage.commit(stage.workload("web", "1.4.2"))
    rival = stage.commit({"notes.md": "pushed while the release was on its way\n"}, "Rival")
    stage.repo.set_tip(base)
    flag = stage.folder / "raced"
    stage.repo.hook(
        "pre-receive",
        f"#!/bin/sh\n[ -e {flag} ] && exit 0\ntouch {flag}\n"
        f"unset GIT_QUARANTINE_PATH; git update-ref refs/heads/main {rival}\n",
    )
    assert stage.outcomes()["web"].status is Status.RELEASED
    subjects = git(stage.repo.path, "log", "--format=%s").splitlines()
    assert subjects[:2] == ["Release web 1.4.3", "Rival"]


def test_unreadable_files_are_named_and_everything_else_is_released(stage: Stage) -> None:
    stage.commit(
        {
            "apps/broken.yaml": "image: [\n",
            "apps/template.yaml": "image: {{ .Values.image\n{{- end\n",
            "apps/huge.yaml": "image: x:1\n" + "# filler\n" * 2_400_000,
            "apps/binary.yaml": b"image: x:1\n\x00\xff\xfe",
        }
    )
    work = stage.folder / "linker"
    git(stage.folder, "clone", "--quiet", str(stage.repo.path), str(work))
    os.symlink("/etc/passwd", work / "apps/link.yaml")
    git(work, "add", "-A")
    git(work, "update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},vendor")
    git(work, "commit", "--quiet", "-m", "A link and a submodule")
    git(work, "push", "--quiet", "origin", "HEAD:main")
    others_are_released(stage)
    warnings = " | ".join(w.sentence for w in stage.run().warnings)
    for name in ("broken.yaml", "template.yaml", "huge.yaml", "binary.yaml", "link.yaml", "vendor"):
        assert name in warnings


def test_a_policy_file_that_does_not_parse_holds_its_workloads_and_frees_nothing(stage: Stage) -> None:
    stage.push("acme/web", "1.4.2", "1.4.3")
    files = stage.workload("web", "1.4.2")
    stage.commit(files)
    stage.commit({"policies/web.yaml": files["policies/web.yaml"] + "   oops: [\n"})
    image = f"{stage.host}/acme/web"
    thief = f'version: 1\nworkloads:\n  thief:\n    image: {image}\n    semver: "1.x"\n'
    stage.commit({"policies/thief.yaml": thief})
    outcomes = stage.outcomes()
    assert outcomes["web"].status is Status.HELD
    assert outcomes["thief"].reason.code == "claim/twice"
    assert stage.image_of("web") == "web:1.4.2"
    stage.commit({"policies/web.yaml": files["policies/web.yaml"], "policies/thief.yaml": None})
    assert stage.outcomes()["web"].status is Status.RELEASED


def test_a_site_claimed_twice_holds_both_and_names_both(stage: Stage) -> None:
    stage.push("acme/web", "1.4.2", "1.4.3")
    files = stage.workload("web", "1.4.2")
    again = files["policies/web.yaml"].replace("  web:", "  web2:")
    stage.commit({**files, "policies/again.yaml": again})
    outcomes = stage.outcomes()
    assert {o.reason.code for o in outcomes.values()} == {"claim/twice"}
    assert all("web" in o.reason.sentence and "web2" in o.reason.sentence for o in outcomes.values())


def test_an_invalid_policy_costs_its_own_workload_alone(stage: Stage) -> None:
    stage.commit(stage.workload("bad", "1.0.0", keys='semver: ">=nonsense"'))
    outcome = others_are_released(stage)["bad"]
    assert outcome.status is Status.HELD
    assert "nonsense" in outcome.reason.sentence


def test_a_config_repo_that_is_gone_is_an_error_of_the_cycle_and_comes_back(stage: Stage) -> None:
    stage.push("acme/web", "1.4.2", "1.4.3")
    stage.commit(stage.workload("web", "1.4.2"))
    away = stage.repo.path.with_name("away")
    stage.repo.path.rename(away)
    report = stage.run()
    assert report.error is not None
    away.rename(stage.repo.path)
    assert stage.outcomes()["web"].status is Status.RELEASED


def test_a_folder_that_begins_with_a_dot_is_written_only_where_the_config_names_it(stage: Stage) -> None:
    stage.push("acme/web", "1.4.2", "1.4.3", "1.4.4")
    files = stage.workload("web", "1.4.2")
    stage.commit({**files, ".deploy/web.yaml": files["apps/web.yaml"]})
    assert stage.outcomes()["web"].sites == ("apps/web.yaml#spec.template.spec.containers[app].image",)
    assert "1.4.2" in stage.repo.read(".deploy/web.yaml")


def test_ignored_paths_are_never_written(stage: Stage) -> None:
    stage.settings["ignore"] = ("legacy/**",)
    stage.push("acme/web", "1.4.2", "1.4.3")
    files = stage.workload("web", "1.4.2")
    stage.commit({**files, "legacy/web.yaml": files["apps/web.yaml"]})
    assert stage.outcomes()["web"].status is Status.RELEASED
    assert "1.4.2" in stage.repo.read("legacy/web.yaml")
