"""What a cycle releases: which bytes, which commits, and that nothing new means nothing done."""

from __future__ import annotations

from datetime import timedelta

import pytest
from parts.gitserver import git
from parts.stage import Stage

from automator.core.record import parse
from automator.reasons import Status


def test_a_new_tag_becomes_one_commit_of_one_line(stage: Stage) -> None:
    stage.push("acme/web", "1.4.2", "1.4.3")
    before = stage.commit(stage.workload("web", "1.4.2"))
    outcome = stage.outcomes()["web"]
    assert (outcome.status, outcome.current) == (Status.RELEASED, "1.4.2")
    assert stage.image_of("web") == "web:1.4.3"
    tip = stage.repo.tip()
    assert tip == outcome.commit
    assert git(stage.repo.path, "rev-list", "--count", f"{before}..{tip}") == "1"
    assert stage.numstat(tip) == ["1\t1\tapps/web.yaml"]


def test_the_commit_says_what_was_released_and_why(stage: Stage) -> None:
    stage.push("acme/web", "1.4.2")
    stage.commit(stage.workload("web", "1.4.2"))
    stage.run()
    stage.push("acme/web", "1.4.3", age=timedelta(minutes=31))
    stage.run(push=False)
    stage.now += timedelta(minutes=30)
    stage.run()
    message = git(stage.repo.path, "show", "--no-patch", "--format=%an%n%B", "main")
    author, subject, *body = message.splitlines()
    assert (author, subject) == ("automator", "Release web 1.4.3")
    assert f"{stage.host}/acme/web 1.4.2 -> 1.4.3" in body
    assert 'newest in semver ">=1.0 <2" of 2 tags, seen 31 minutes ago' in body
    record = parse(message)
    assert record is not None
    (member,) = record.members
    assert (member.before, member.after.partition("@")[0]) == ("1.4.2", "1.4.3")
    assert member.sites == ("apps/web.yaml#spec.template.spec.containers[app].image",)
    assert member.built is not None
    assert member.policy == "policies/web.yaml"


NASTY = {
    "crlf": "# c\r\nimage: {i}:1.4.2 # x\r\nb: 'y'\r\n",
    "bom": "\ufeffimage: {i}:1.4.2\nb:   [1,  2]\n",
    "no final newline": "a: |\n  text\n\nimage:    '{i}:1.4.2'",
    "flow": '{{image: "{i}:1.4.2",   ports: [ 80 ] }} # é\n',
    "many documents": "--- # one\na: 1\n...\n---\nimage: {i}:1.4.2\n---\n",
    "non-ascii before": "größe: ä\nimage: {i}:1.4.2\n",
}


@pytest.mark.parametrize("shape", NASTY)
def test_only_the_intended_bytes_change(stage: Stage, shape: str) -> None:
    stage.push("acme/web", "1.4.2", "1.4.3")
    text = NASTY[shape].format(i=f"{stage.host}/acme/web")
    stage.commit({**stage.workload("web", "1.4.2"), "apps/web.yaml": text})
    assert stage.outcomes()["web"].status is Status.RELEASED
    released = git(stage.repo.path, "cat-file", "blob", "main:apps/web.yaml")
    assert released == text.replace("1.4.2", "1.4.3").removesuffix("\n")
    assert stage.numstat("main") == ["1\t1\tapps/web.yaml"]


def test_nothing_new_costs_one_question_and_parses_nothing(stage: Stage) -> None:
    stage.push("acme/web", "1.4.2", "1.4.3")
    stage.commit(stage.workload("web", "1.4.2"))
    stage.run()
    stage.run()
    tip, parsed = stage.repo.tip(), stage.cycle.index.parsed
    processes, requests = stage.cycle.checkout.processes, len(stage.registry.log)
    report = stage.run()
    assert [o.status for o in report.outcomes] == [Status.CURRENT]
    assert report.pushed is None
    assert stage.repo.tip() == tip
    assert stage.cycle.index.parsed == parsed
    assert stage.cycle.checkout.processes == processes + 1
    assert len(stage.registry.log) == requests + 1


def test_each_workload_has_its_own_commit_in_one_push(stage: Stage) -> None:
    files = {}
    for name in ("api", "web"):
        stage.push(f"acme/{name}", "1.0.0", "1.1.0")
        files |= stage.workload(name, "1.0.0")
    before = stage.commit(files)
    report = stage.run()
    assert [o.status for o in report.outcomes] == [Status.RELEASED] * 2
    subjects = git(stage.repo.path, "log", "--reverse", "--format=%s", f"{before}..main").splitlines()
    assert subjects == ["Release api 1.1.0", "Release web 1.1.0"]
    assert report.pushed == stage.repo.tip()


def test_two_workloads_in_one_file_are_two_commits_that_revert_alone(stage: Stage) -> None:
    for name in ("api", "web"):
        stage.push(f"acme/{name}", "1.0.0", "1.1.0")
    both = "".join(
        f"---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  containers:\n"
        f"    - name: {name}\n      image: {stage.host}/acme/{name}:1.0.0\n# one\n# two\n# three\n"
        for name in ("api", "web")
    )
    policies = {
        path: text
        for name in ("api", "web")
        for path, text in stage.workload(name, "1.0.0").items()
        if path.startswith("policies")
    }
    stage.commit({**policies, "apps/both.yaml": both})
    outcomes = stage.outcomes()
    assert stage.repo.read("apps/both.yaml").count(":1.1.0") == 2
    commit = outcomes["api"].commit
    assert commit is not None
    stage.revert(commit)
    text = stage.repo.read("apps/both.yaml")
    assert (text.count("api:1.0.0"), text.count("web:1.1.0")) == (1, 1)


def test_every_site_of_a_workload_moves_in_one_commit(stage: Stage) -> None:
    stage.push("acme/web", "1.4.2", "1.4.3")
    image = f"{stage.host}/acme/web"
    stage.commit(
        {
            **stage.workload("web", "1.4.2"),
            "overlay/kustomization.yaml": "images:\n  - name: web\n"
            f"    newName: {image}\n    newTag: 1.4.2\n",
            "chart/values.yaml": f"app:\n  image:\n    repository: {image}\n    tag: '1.4.2'\n",
            "compose.yaml": f"services:\n  web:\n    image: {image}:1.4.2\n",
            "flux/release.yaml": "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\n"
            f"spec:\n  values:\n"
            f"    image: {{repository: {image}, tag: 1.4.2}}\n",
        }
    )
    outcome = stage.outcomes()["web"]
    assert len(outcome.sites) == 5
    assert len(stage.numstat("main")) == 5
    assert all(line.startswith("1\t1\t") for line in stage.numstat("main"))


def test_pin_digest_writes_the_digest_the_registry_serves(stage: Stage) -> None:
    stage.push("acme/web", "1.4.2", "1.4.3")
    stage.commit(stage.workload("web", "1.4.2", keys='semver: "1.x"\npin: digest'))
    outcome = stage.outcomes()["web"]
    assert outcome.target is not None
    assert stage.image_of("web") == f"web:{outcome.target}"
    assert "1.4.3@sha256:" in outcome.target


def test_a_digest_beside_the_tag_moves_along(stage: Stage) -> None:
    stage.push("acme/web", "1.4.2", "1.4.3")
    stage.commit(stage.workload("web", "1.4.2@sha256:" + "0" * 64))
    outcome = stage.outcomes()["web"]
    assert outcome.target is not None
    assert stage.image_of("web") == f"web:{outcome.target}"
    assert "0" * 64 not in stage.image_of("web")


def test_a_plan_shows_the_diff_and_pushes_nothing(stage: Stage) -> None:
    stage.push("acme/web", "1.4.2", "1.4.3")
    before = stage.commit(stage.workload("web", "1.4.2"))
    report = stage.run(push=False)
    (patch,) = report.patches
    assert f"-          image: {stage.host}/acme/web:1.4.2   # and so does this one\n" in patch.diff()
    assert f"+          image: {stage.host}/acme/web:1.4.3   # and so does this one\n" in patch.diff()
    assert report.outcomes[0].reason.code == "waiting/planned"
    assert stage.repo.tip() == before


def test_mode_observe_does_everything_but_the_push(stage: Stage) -> None:
    stage.settings["mode"] = "observe"
    stage.push("acme/web", "1.4.2", "1.4.3")
    before = stage.commit(stage.workload("web", "1.4.2"))
    assert stage.outcomes()["web"].reason.code == "waiting/planned"
    assert stage.repo.tip() == before


def test_an_adoption_is_no_avalanche(stage: Stage) -> None:
    stage.settings["max_releases_per_cycle"] = 2
    files = {}
    for i in range(5):
        stage.push(f"acme/w{i}", "1.0.0", "1.1.0")
        files |= stage.workload(f"w{i}", "1.0.0")
    stage.commit(files)
    for released in (2, 4, 5):
        outcomes = stage.outcomes()
        done = [i for i in range(5) if stage.image_of(f"w{i}") == f"w{i}:1.1.0"]
        assert len(done) == released
        waiting = [o for o in outcomes.values() if o.reason.code == "waiting/limit"]
        assert len(waiting) == 5 - released


def test_newest_looks_each_tag_up_once_and_then_never_again(stage: Stage) -> None:
    others = [f"dev-{i}" for i in range(970)]
    main = [f"main-{i:02}" for i in range(20)]
    stage.push("acme/web", *main[:1])
    base = f"{stage.registry.url}/v2/acme/web/manifests"
    _copy_tag(base, main[0], others)
    stage.push("acme/web", *main, age=timedelta(days=2))
    stage.commit(stage.workload("web", "main-00", keys='glob: "main-*"\norder: newest'))
    start = len(stage.registry.log)
    assert stage.outcomes()["web"].status is Status.RELEASED
    assert stage.image_of("web") == "web:main-19"
    first = len(stage.registry.log) - start
    assert first <= 2 * 20 + 1
    stage.run()
    assert len(stage.registry.log) - start - first == 1
    stage.push("acme/web", "main-20", age=timedelta(hours=1))
    start = len(stage.registry.log)
    assert stage.outcomes()["web"].status is Status.RELEASED
    assert stage.image_of("web") == "web:main-20"
    assert len(stage.registry.log) - start == 3


def _copy_tag(base: str, tag: str, names: list[str]) -> None:
    """Put more tags on one image: one request each, no layers."""
    import requests

    with requests.Session() as session:
        manifest = session.get(f"{base}/{tag}")
        headers = {"Content-Type": manifest.headers["Content-Type"]}
        for name in names:
            session.put(f"{base}/{name}", data=manifest.content, headers=headers).raise_for_status()


def test_an_image_named_later_is_found_in_files_that_did_not_matter_before(
    stage: Stage,
) -> None:
    for name in ("api", "web"):
        stage.push(f"acme/{name}", "1.0.0", "1.1.0")
    api, web = stage.workload("api", "1.0.0"), stage.workload("web", "1.0.0")
    stage.commit({**api, "apps/web.yaml": web["apps/web.yaml"]})
    assert set(stage.outcomes()) == {"api"}
    parsed = stage.cycle.index.parsed
    stage.commit({"policies/web.yaml": web["policies/web.yaml"]})
    assert stage.outcomes()["web"].status is Status.RELEASED
    assert stage.cycle.index.parsed <= parsed + 3  # web's file, and its two versions in history
