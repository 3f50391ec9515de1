"""What a release never writes, whatever it says: policies, hidden folders, CODEOWNERS, links, submodules."""

from __future__ import annotations

from typing import Any

import pytest
from parts.gitserver import git
from parts.stage import DEPLOYMENT, Stage

from automator.cycle.source import Scope
from automator.reasons import Status

HIDDEN = ".github/workflows/web.yaml"


def manifest(stage: Stage, version: str = "1.4.2") -> str:
    return DEPLOYMENT.format(name="web", image=f"{stage.host}/acme/web:{version}")


def entries(stage: Stage) -> dict[str, str]:
    """Path -> mode, kind and object id of everything on the branch."""
    lines = git(stage.repo.path, "ls-tree", "-r", "-z", "main").split("\0")
    return {path: what for what, _, path in (line.partition("\t") for line in lines if line)}


def released(stage: Stage, files: dict[str, Any], modes: dict[str, str] | None = None) -> set[str]:
    """Commit an ordinary workload at 1.4.2 along with `files`, release 1.4.3; the paths that changed."""
    stage.push("acme/web", "1.4.2", "1.4.3")
    stage.repo.commit({**stage.workload("web", "1.4.2"), **files}, modes=modes)
    before = entries(stage)
    assert before.keys() >= files.keys()
    assert stage.outcomes()["web"].status is Status.RELEASED
    after = entries(stage)
    assert after.keys() == before.keys()
    assert stage.image_of("web") == "web:1.4.3"
    return {path for path in after if after[path] != before[path]}


@pytest.mark.parametrize(
    "path",
    [
        "policies/deployment.json",
        "policies/Kustomization",
        "policies/versions.env",
        "policies/deep/er/values.json",
        HIDDEN,
        ".hidden.d/web.yaml",
        "apps/.hidden/web.yaml",
        "apps/.hidden/deep/web.json",
        "CODEOWNERS",
        "docs/CODEOWNERS",
        ".github/CODEOWNERS",
    ],
)
def test_a_release_leaves_a_file_alone_that_names_the_image(stage: Stage, path: str) -> None:
    text = manifest(stage)
    if path.endswith(".json"):
        text = f'{{"kind": "Pod", "spec": {{"containers": [{{"image": "{stage.host}/acme/web:1.4.2"}}]}}}}\n'
    elif path.endswith(".env"):
        text = f"WEB_IMAGE={stage.host}/acme/web:1.4.2\n"
    assert released(stage, {path: text}) == {"apps/web.yaml"}


def test_a_policy_that_names_the_image_at_a_tag_keeps_it(stage: Stage) -> None:
    note = f"# image: {stage.host}/acme/web:1.4.2\nversion: 1\nworkloads: {{}}\n"
    assert released(stage, {"policies/more.yml": note}) == {"apps/web.yaml"}


def test_a_manifest_among_the_policies_is_told_and_kept(stage: Stage) -> None:
    """It is a policy file that says nothing a policy may say, not a manifest."""
    assert released(stage, {"policies/zz.yml": manifest(stage)}) == {"apps/web.yaml"}


def test_links_are_neither_followed_nor_replaced(stage: Stage) -> None:
    files = {
        "apps/link.yaml": "../elsewhere.txt",
        "apps/itself.yaml": f"image: {stage.host}/acme/web:1.4.2",
        "folder": "policies",
        "elsewhere.txt": manifest(stage),
    }
    modes = dict.fromkeys(("apps/link.yaml", "apps/itself.yaml", "folder"), "120000")
    assert released(stage, files, modes) == {"apps/web.yaml"}


def test_a_submodule_stays_where_it_is(stage: Stage) -> None:
    files = {"vendored": "1" * 40, "apps/sub.yaml": "2" * 40}
    assert released(stage, files, dict.fromkeys(files, "160000")) == {"apps/web.yaml"}


@pytest.mark.parametrize("pattern", [".github/**", "/.github/**", "**/.github/**", ".github", ".github/"])
def test_a_hidden_folder_that_write_names_is_written(stage: Stage, pattern: str) -> None:
    stage.settings["write"] = ["**", pattern]
    files = {HIDDEN: manifest(stage), ".gitlab/web.yaml": manifest(stage)}
    assert released(stage, files) == {"apps/web.yaml", HIDDEN}
    assert stage.repo.read(HIDDEN) == manifest(stage, "1.4.3").rstrip()


@pytest.mark.parametrize(
    ("write", "path", "expected"),
    [
        (["**"], HIDDEN, False),
        (["**/*.yaml"], HIDDEN, False),
        (["*"], HIDDEN, False),
        (["./**"], HIDDEN, False),
        (["**", "../**"], HIDDEN, False),
        (["**", ".github/**"], HIDDEN, True),
        (["**", "/.github/**"], HIDDEN, True),
        (["**", "**/.github/**"], HIDDEN, True),
        (["**/.github/**"], "apps/.github/web.yaml", True),
        (["**", "/.github/**"], "apps/.github/web.yaml", False),
        (["**", "/.github/*.yaml"], HIDDEN, False),
        (["**", "apps/.hidden/"], "apps/.hidden/web.yaml", True),
        (["**", ".*/**"], HIDDEN, True),
        (["**", "/.github/**"], ".gitlab/web.yaml", False),
        (["**", "!.github/**"], HIDDEN, False),
        (["**", "/.github/**", "!web.yaml"], HIDDEN, False),
        (["**", "**/.env"], ".github/.env", False),
        (["**", "**/.env"], "apps/.env", True),
        (["**"], "apps/.env", True),
        (["**"], "apps/..yaml", True),
    ],
)
def test_only_a_pattern_that_names_a_hidden_folder_opens_it(
    write: list[str], path: str, expected: bool
) -> None:
    assert Scope(write=tuple(write)).is_manifest(path) is expected


@pytest.mark.parametrize(
    "path",
    [
        "policies/web.yaml",
        "policies/web.yml",
        "policies/web.json",
        "policies/deep/web.json",
        "CODEOWNERS",
        "docs/CODEOWNERS",
        ".github/CODEOWNERS",
    ],
)
@pytest.mark.parametrize("policies", ["policies", "policies/"])
def test_no_pattern_opens_policies_or_code_owners(policies: str, path: str) -> None:
    write = ("**", "policies/**", "**/CODEOWNERS", "/.github/**")
    assert not Scope(policies, write).is_manifest(path)


def test_a_folder_that_only_begins_like_the_policies_is_not_theirs() -> None:
    assert Scope().is_manifest("policies-of-others/web.yaml")
    assert Scope().is_manifest("apps/policies/web.yaml")


def test_what_is_ignored_stays_ignored_where_write_names_it() -> None:
    assert not Scope(write=("**", "/.github/**"), ignore=("workflows/",)).is_manifest(HIDDEN)
