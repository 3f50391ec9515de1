"""Hardship: what a hostile or unlucky world does to a cycle, and that nothing wrong is released."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import timedelta

import pytest
from parts.gitserver import git
from parts.registry import HostileServer, json_reply
from parts.stage import NOW, Stage

from automator.core.delivery.change import Wanted
from automator.cycle.run import Trigger
from automator.reasons import Status

INTERVAL = Trigger("interval")


def test_a_busy_neighbour_does_not_hide_what_was_turned_away(stage: Stage) -> None:
    for name in ("aaa", "web"):
        stage.push(f"acme/{name}", "1.4.2", "1.4.3")
    stage.commit(stage.workload("web", "1.4.3") | stage.workload("aaa", "1.4.2"))
    stage.commit(stage.workload("web", "1.4.2"), author="Bob")
    busy = stage.workload("aaa", "1.4.2")["apps/aaa.yaml"]
    _many_commits(stage, "apps/aaa.yaml", [f"{busy}# {i}\n" for i in range(420)])
    assert stage.outcomes()["web"].reason.code == "history/turned-away"


def _many_commits(stage: Stage, path: str, contents: list[str]) -> None:
    """Commits of one file, by one process."""
    lines = ["reset refs/heads/main\nfrom refs/heads/main^0\n"]
    for content in contents:
        stage.repo.clock += 60
        who = f"Cy <cy@example.org> {stage.repo.clock} +0000"
        lines.append(f"commit refs/heads/main\ncommitter {who}\ndata 1\nx\n")
        lines.append(f"M 100644 inline {path}\ndata {len(content.encode())}\n{content}\n")
    git(stage.repo.path, "fast-import", "--quiet", "--force", feed="".join(lines).encode())


def test_a_clone_made_anew_still_knows_what_was_turned_away(stage: Stage) -> None:
    stage.settings["history_limit"] = 100
    stage.push("acme/web", "1.4.2", "1.4.3")
    stage.commit(stage.workload("web", "1.4.3"))
    stage.commit(stage.workload("web", "1.4.2"), author="Bob")
    assert stage.outcomes()["web"].reason.code == "history/turned-away"
    shutil.rmtree(stage.folder / "state/repos/shop")
    stage.commit({"notes.md": "a new head\n"})
    for _ in range(2):
        assert stage.outcomes()["web"].reason.code == "history/turned-away"


def test_a_clone_that_lost_its_objects_is_made_anew_in_the_same_cycle(stage: Stage) -> None:
    stage.push("acme/web", "1.4.2")
    stage.commit(stage.workload("web", "1.4.2"))
    stage.run()
    for objects in (stage.folder / "state/repos/shop/objects").iterdir():
        shutil.rmtree(objects)
    stage.push("acme/web", "1.4.3")
    stage.commit({"notes.md": "a new head\n"})
    assert stage.outcomes()["web"].status is Status.RELEASED


@pytest.mark.parametrize("restarted", [False, True], ids=["running", "restarted"])
def test_a_site_that_cannot_be_read_now_is_not_left_behind(stage: Stage, restarted: bool) -> None:
    stage.push("acme/web", "1.4.2", "1.4.3")
    canary = stage.workload("web", "1.4.2")["apps/web.yaml"]
    stage.settings["mode"] = "observe"
    stage.commit({**stage.workload("web", "1.4.2"), "apps/canary.yaml": canary})
    stage.run()
    stage.commit({"apps/canary.yaml": canary + "  broken: [\n"})
    if restarted:
        stage.lose_state()
    stage.settings.clear()
    stage.stop()
    outcome = stage.outcomes()["web"]
    assert (outcome.status, outcome.reason.code) == (Status.HELD, "file/unreadable")
    assert "apps/canary.yaml" in outcome.reason.sentence
    stage.commit({"apps/canary.yaml": canary})
    assert stage.outcomes()["web"].status is Status.RELEASED
    assert "1.4.3" in stage.repo.read("apps/canary.yaml")


def test_a_path_that_cannot_be_printed_is_named_and_its_workload_held(stage: Stage) -> None:
    stage.push("acme/web", "1.4.2", "1.4.3")
    files = stage.workload("web", "1.4.2")
    stage.commit({**files, "apps/we\u200bb.yaml": files["apps/web.yaml"]})
    outcome = stage.outcomes()["web"]
    assert (outcome.status, outcome.reason.code) == (Status.HELD, "file/odd-path")


def test_a_policy_file_that_becomes_a_link_keeps_its_claims(stage: Stage) -> None:
    stage.push("acme/web", "1.4.2", "1.4.3")
    files = stage.workload("web", "1.4.2", keys='semver: "1.x"\nhold: {reason: audit}')
    stage.commit(files)
    stage.run()
    policy = (
        files["policies/web.yaml"].replace("  web:", "  other:").replace("    hold: {reason: audit}\n", "")
    )
    stage.repo.commit(
        {"policies/web.yaml": "elsewhere.yaml", "policies/other.yaml": policy},
        modes={"policies/web.yaml": "120000"},
    )
    outcomes = stage.outcomes()
    assert {o.status for o in outcomes.values()} == {Status.HELD}
    assert outcomes["other"].reason.code == "claim/twice"


def test_a_submodule_in_a_file_s_past_stops_nobody(stage: Stage) -> None:
    stage.push("acme/web", "1.4.2", "1.4.3")
    stage.commit({"notes.md": "before\n"})
    work = stage.folder / "linker"
    git(stage.folder, "clone", "--quiet", str(stage.repo.path), str(work))
    git(work, "update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},apps/web.yaml")
    git(work, "commit", "--quiet", "-m", "Once this was a submodule")
    git(work, "push", "--quiet", "origin", "HEAD:main")
    stage.commit(stage.workload("web", "1.4.2"))
    assert stage.outcomes()["web"].status is Status.RELEASED


# -- order: newest -----------------------------------------------------------------------------------

NEWEST = 'glob: "main-*"\norder: newest'


def test_a_tag_pushed_again_with_an_older_image_is_no_step_forward(stage: Stage) -> None:
    stage.push("acme/web", "main-0", age=timedelta(days=2))
    stage.push("acme/web", "main-1", age=timedelta(days=1))
    stage.commit(stage.workload("web", "main-0", keys=NEWEST))
    stage.run(push=False)
    stage.push("acme/web", "main-1", age=timedelta(days=30))
    outcome = stage.outcomes()["web"]
    assert outcome.status is Status.CURRENT
    assert stage.image_of("web") == "web:main-0"


def test_only_tags_that_were_never_seen_count_as_look_ups(stage: Stage) -> None:
    stage.settings["max_lookups"] = 3
    stage.push("acme/web", "main-0", "main-1", "main-2")
    stage.commit(stage.workload("web", "main-0", keys=NEWEST))
    assert stage.outcomes()["web"].status is Status.RELEASED
    stage.push("acme/web", "main-3", "main-4", age=timedelta(hours=1))
    assert stage.outcomes()["web"].status is Status.RELEASED
    assert stage.image_of("web") == "web:main-4"


def test_under_newest_a_manifest_that_is_still_missing_is_waited_for(stage: Stage) -> None:
    stage.push("acme/web", "main-0")
    stage.commit(stage.workload("web", "main-0", keys=NEWEST))
    stage.run()
    stage.push("acme/web", "main-1", age=timedelta(hours=1))
    manifests = stage.folder / "images/repositories/acme/web"
    hidden = next(p for p in manifests.rglob("main-1"))
    digest = hidden.read_text()
    hidden.write_text("sha256:" + "0" * 64)
    outcome = stage.outcomes()["web"]
    assert (outcome.status, outcome.reason.code) == (Status.WAITING, "tag/gone")
    hidden.write_text(digest)
    assert stage.outcomes()["web"].status is Status.RELEASED


def test_latest_by_hand_never_leads_below_the_version_it_replaced(stage: Stage) -> None:
    stage.push("acme/web", "1.0.0")
    stage.commit(stage.workload("web", "1.4.3"))
    stage.commit(stage.workload("web", "latest"), author="Bob")
    assert stage.outcomes()["web"].status is Status.HELD
    assert stage.image_of("web") == "web:latest"
    stage.push("acme/web", "1.5.0")
    assert stage.outcomes()["web"].status is Status.RELEASED
    assert stage.image_of("web") == "web:1.5.0"


# -- servers -------------------------------------------------------------------------------------------


def test_a_hostile_link_costs_its_own_workload_alone(stage: Stage) -> None:
    stage.push("acme/web", "1.4.2", "1.4.3")
    reply = json_reply({"name": "acme/bad", "tags": ["1.4.2"]}, Link='<http://[>; rel="next"')
    with HostileServer(lambda _: reply) as server:
        stage.insecure.add(server.host)
        stage.commit(stage.workload("bad", "1.4.2", host=server.host) | stage.workload("web", "1.4.2"))
        outcomes = stage.outcomes()
    assert (outcomes["bad"].status, outcomes["web"].status) == (Status.FAILED, Status.RELEASED)


def test_a_refused_release_takes_nobody_s_place(stage: Stage) -> None:
    stage.settings["max_releases_per_cycle"] = 1
    files: dict[str, str] = {}
    for name in ("aaa", "web"):
        stage.push(f"acme/{name}", "1.0.0", "1.1.0")
        files |= stage.workload(name, "1.0.0")
    stage.commit(files)
    stage.repo.hook(
        "pre-receive",
        "#!/bin/sh\nwhile read old new ref; do\n"
        '  if git log --format=%s $old..$new | grep -q "Release aaa "; then exit 1; fi\ndone\n',
    )
    stage.run()
    assert stage.outcomes()["web"].status is Status.RELEASED


def test_another_config_is_another_question_to_the_server(stage: Stage) -> None:
    stage.push("acme/web", "1.4.2", "1.4.3")
    stage.commit(stage.workload("web", "1.4.2"))
    stage.repo.hook(
        "pre-receive",
        "#!/bin/sh\nwhile read old new ref; do\n"
        '  if git log --format=%an $old..$new | grep -q "^automator$"; then exit 1; fi\ndone\n',
    )
    assert stage.outcomes()["web"].reason.code == "push/refused"
    stage.stop()
    stage.settings["author"] = {"name": "release bot", "email": "bot@example.org"}
    assert stage.outcomes()["web"].status is Status.RELEASED


def test_what_landed_before_the_server_fell_silent_is_told(stage: Stage) -> None:
    files: dict[str, str] = {}
    for name in ("a1", "a2", "a3"):
        stage.push(f"acme/{name}", "1.0.0", "1.1.0")
        files |= stage.workload(name, "1.0.0")
    stage.commit(files)
    counter = stage.folder / "pushes"
    # Refuses the push of all three, takes the first alone, and dies over the second.
    stage.repo.hook(
        "pre-receive",
        f"#!/bin/sh\necho x >> {counter}\nn=$(wc -l < {counter})\n"
        "[ $n = 1 ] && exit 1\n[ $n = 3 ] && kill -9 $PPID\nexit 0\n",
    )
    report = stage.run()
    by_name = {o.workload: o for o in report.outcomes}
    assert by_name["a1"].status is Status.RELEASED
    assert report.error is not None
    assert [by_name[n].status for n in ("a2", "a3")] == [Status.FAILED] * 2
    stage.run()
    assert [stage.image_of(n) for n in ("a1", "a2", "a3")] == ["a1:1.1.0", "a2:1.1.0", "a3:1.1.0"]
    log = git(stage.repo.path, "log", "--format=%s").splitlines()
    assert sorted(s for s in log if s.startswith("Release")) == [f"Release a{i} 1.1.0" for i in (1, 2, 3)]


def test_a_released_workload_whose_policy_vanishes_meanwhile_does_no_harm(stage: Stage) -> None:
    files: dict[str, str] = {}
    for name in ("a1", "a2"):
        stage.push(f"acme/{name}", "1.0.0", "1.1.0")
        files |= stage.workload(name, "1.0.0")
    base = stage.commit(files)
    flag = stage.folder / "pushes"
    stage.repo.hook(
        "pre-receive",
        f"#!/bin/sh\nread old new ref\necho x >> {flag}\nn=$(wc -l < {flag})\n"
        "[ $n = 1 ] && exit 1\n[ $n = 3 ] || exit 0\n"
        "unset GIT_QUARANTINE_PATH GIT_OBJECT_DIRECTORY GIT_ALTERNATE_OBJECT_DIRECTORIES\n"
        "tree=$(git ls-tree -r $old | grep -v policies/a1.yaml"
        f" | (export GIT_INDEX_FILE={stage.folder}/idx; git update-index --index-info && git write-tree))\n"
        "export GIT_AUTHOR_NAME=Cy GIT_AUTHOR_EMAIL=cy@a.b GIT_COMMITTER_NAME=Cy GIT_COMMITTER_EMAIL=cy@a.b\n"
        "git update-ref refs/heads/main $(git commit-tree -p $old -m 'Drop a1' $tree)\n",
    )
    assert stage.repo.tip() == base
    report = stage.run()
    assert {o.workload: o.status for o in report.outcomes} == {"a1": Status.RELEASED, "a2": Status.RELEASED}
    assert set(stage.outcomes()) == {"a2"}


def test_a_time_named_by_the_registry_comes_before_the_interval(stage: Stage) -> None:
    limited = {"yes": True}

    def behave(_: object) -> object:
        if limited["yes"]:
            return json_reply({"errors": [{"code": "TOOMANYREQUESTS"}]}, 429, Retry_After="60")
        return json_reply({"name": "acme/web", "tags": ["1.4.2"]})

    with HostileServer(behave) as server:  # type: ignore[arg-type]
        stage.insecure.add(server.host)
        stage.commit(stage.workload("web", "1.4.2", host=server.host))
        report = stage.run()
        assert report.changes_at == NOW + timedelta(seconds=60)
        assert report.outcomes[0].reason.code == "registry/rate-limited"


def test_a_hold_reads_as_a_sentence(stage: Stage) -> None:
    keys = 'semver: "1.x"\nhold: {reason: "load test", until: "2026-11-21T12:00:00Z"}'
    stage.commit(stage.workload("web", "1.4.2", keys=keys))
    assert stage.outcomes()["web"].reason.sentence == "on hold until 2026-11-21 12:00 UTC: load test"


def test_a_forged_site_outside_the_repository_does_not_break_the_log(stage: Stage) -> None:
    trailers = "Release-Format: 1\nRelease-Kind: release\nRelease-Workload: web\nRelease-To: 9.9.9\n"
    stage.commit({"notes.md": "x\n"}, f"Forged\n\n{trailers}Release-Site: ../../etc/passwd#image\n")
    lines = stage.cycle.logbook().changes(Wanted())
    assert [line.proven for line in lines] == [False]
    assert not stage.cycle.checkout.is_broken()


def test_texts_of_many_releases_are_read_by_few_processes(stage: Stage) -> None:
    files: dict[str, str] = {}
    for i in range(20):
        stage.push(f"acme/w{i}", "1.0.0", "1.1.0")
        files |= stage.workload(f"w{i}", "1.0.0")
    stage.commit(files)
    assert all(o.status is Status.RELEASED for o in stage.outcomes().values())
    assert stage.cycle.checkout.processes < 20


# -- claims stay, whatever becomes of a file ---------------------------------------------------------


def _two_policies(stage: Stage) -> dict[str, str]:
    """`web` may take patches; `wide`, were the site free, any minor."""
    stage.push("acme/web", "1.0.0", "1.1.0")
    files = stage.workload("web", "1.0.0", keys='semver: ">=1.0 <1.1"')
    stage.commit(files)
    stage.run()
    wide = files["policies/web.yaml"].replace("  web:", "  wide:").replace("<1.1", "<2")
    stage.commit({"policies/wide.yaml": wide})
    return files


@pytest.mark.parametrize("broken", ["imgae: x", "null", "5"])
def test_a_mistake_in_a_policy_frees_no_site(stage: Stage, broken: str) -> None:
    files = _two_policies(stage)
    policy = files["policies/web.yaml"]
    if ":" in broken:
        policy = policy.replace("image:", "imgae:")
    else:
        policy = policy[: policy.index("  web:")] + f"  web: {broken}\n"
    stage.commit({"policies/web.yaml": policy})
    outcomes = stage.outcomes()
    assert outcomes["web"].status is Status.HELD
    assert outcomes["wide"].reason.code == "claim/twice"
    assert stage.image_of("web") == "web:1.0.0"


SPOILT: dict[str, Callable[[str], bytes]] = {
    "utf-16": lambda text: text.encode("utf-16"),
    "broken": lambda text: text.encode() + b"  broken: [\n",
    "truncated": lambda text: text[: text.index("image:")].encode() + b"x: [\n",
}


@pytest.mark.parametrize(
    ("how", "cold"),
    # What no longer names the image can only be known by who saw it before.
    [("utf-16", False), ("utf-16", True), ("broken", False), ("broken", True), ("truncated", False)],
)
def test_a_spoilt_file_s_site_is_not_left_behind(stage: Stage, how: str, cold: bool) -> None:
    stage.push("acme/web", "1.4.2")
    files = stage.workload("web", "1.4.2")
    stage.commit({**files, "apps/canary.yaml": files["apps/web.yaml"]})
    stage.run()
    stage.commit({"apps/canary.yaml": SPOILT[how](files["apps/web.yaml"])})
    if cold:
        stage.lose_state()
    stage.push("acme/web", "1.4.3")
    outcome = stage.outcomes()["web"]
    assert (outcome.status, outcome.reason.code) == (Status.HELD, "file/unreadable")


# -- branches that are rewound -----------------------------------------------------------------------


def test_a_rewind_between_decision_and_push_is_respected(stage: Stage) -> None:
    stage.push("acme/web", "1.0.0", "1.1.0")
    base = stage.commit(stage.workload("web", "1.0.0"))
    assert stage.outcomes()["web"].status is Status.RELEASED
    stage.push("acme/api", "1.0.0", "1.1.0")
    stage.commit(stage.workload("api", "1.0.0"))
    flag = stage.folder / "raced"
    stage.repo.hook(
        "pre-receive",
        f"#!/bin/sh\n[ -e {flag} ] && exit 0\ntouch {flag}\n"
        f"unset GIT_QUARANTINE_PATH; git update-ref refs/heads/main {base}\n",
    )
    outcomes = stage.outcomes()
    assert outcomes["web"].reason.code == "history/rewound"
    assert stage.image_of("web") == "web:1.0.0"


def test_everything_up_to_the_newest_release_taken_back_stays_back(stage: Stage) -> None:
    stage.push("acme/web", "1.0.0", "1.1.0")
    base = stage.commit(stage.workload("web", "1.0.0"))
    stage.run()
    stage.push("acme/web", "1.2.0", "1.1.5")
    stage.run()
    stage.repo.set_tip(base)
    assert stage.outcomes()["web"].reason.code == "history/rewound"
    assert stage.image_of("web") == "web:1.0.0"


def test_an_amended_release_is_still_there_and_binds_nobody(stage: Stage) -> None:
    stage.push("acme/web", "1.0.0", "1.1.0")
    base = stage.commit(stage.workload("web", "1.0.0"))
    stage.run()
    released = stage.repo.read("apps/web.yaml") + "\n"
    stage.repo.commit({"apps/web.yaml": released}, "The same, with better words", base=base)
    stage.run()
    other = stage.workload("prod", "1.0.0")["policies/prod.yaml"].replace("/acme/prod", "/acme/web")
    site = stage.workload("web", "1.0.0")["apps/web.yaml"]
    where = "    where: {paths: [prod/**]}\n"
    mine = stage.workload("web", "1.0.0")["policies/web.yaml"] + "    where: {paths: [apps/**]}\n"
    stage.commit({"prod/web.yaml": site, "policies/prod.yaml": other + where, "policies/web.yaml": mine})
    assert stage.outcomes()["prod"].status is Status.RELEASED
