"""`init`: from a config repo to policies that pass `check`, without overwriting or pushing anything."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from parts.gitserver import BareRepo, git
from parts.world import Completed, EmbeddedWorld, World, deployment

ROOT = Path(__file__).parents[1]
URL = "https://git.example.com/acme/shop-config.git"
QUICK_START = re.compile(r"^```sh\n(git clone .*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A registry, and a folder to work in; each test brings its own config repo."""
    with EmbeddedWorld(tmp_path) as made:
        made.config.unlink()
        made.repo = BareRepo.create(made.root / "git" / "shop-config.git")
        yield made


def clone(world: World, name: str = "shop-config") -> Path:
    git(world.root, "clone", "--quiet", str(world.repo.path), name)
    return world.root / name


def adopt(world: World, **images: str) -> Path:
    """A checkout of a config repo with one manifest for each image."""
    files = {f"apps/{name}.yaml": deployment(image, name) for name, image in images.items()}
    world.repo.commit(files, "Adopt")
    return clone(world)


def init(world: World, *arguments: str, cwd: Path | None = None) -> Completed:
    return world.run("init", *arguments, "--insecure", world.host, cwd=cwd)


def refused(done: Completed, sentence: str) -> None:
    assert done.code == 2, done.err
    assert re.search(sentence, done.err), done.err
    assert "\n  next: " in done.err
    assert "Traceback" not in done.err


def written(folder: Path) -> dict[str, str]:
    """Everything below a folder but what is git's."""
    files = (path for path in folder.rglob("*") if path.is_file() and ".git" not in path.parts)
    return {str(path.relative_to(folder)): path.read_text() for path in files}


# -- the quick start -----------------------------------------------------------------------------------


@pytest.mark.parametrize("page", ["README.md", "docs/getting-started.md"])
def test_the_commands_of_the_quick_start_lead_from_clone_to_plan(world: World, page: str) -> None:
    """The very lines of the page; only the URL is ours, and our registry speaks plain http."""
    (block,) = QUICK_START.findall((ROOT / page).read_text())
    after_clone = [line for line in block.partition("\n")[2].splitlines() if line]
    assert len(after_clone) == 3, "three commands"
    script = block.replace(URL, str(world.repo.path))
    script = script.replace(
        "automator init shop-config", f"automator init shop-config --insecure {world.host}"
    )
    assert script.count("--insecure") == 1
    world.push("web", "1.4.2", "1.5.0", "1.5.1", "2.0.0")
    world.push("api", "0.3.1", "0.3.2-alpine")
    world.repo.commit(
        {
            "apps/staging/web.yaml": deployment(world.image("web", "1.5.0")),
            "apps/production/web.yaml": deployment(world.image("web", "1.4.2")),
            "apps/api.yaml": deployment(world.image("api", "0.3.1"), "api"),
        },
        "Adopt",
    )

    done = subprocess.run(
        ["bash", "-e", "-c", script],
        cwd=world.root,
        env={**os.environ, **world.environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert len(re.findall(r'^\+ .*web:1\.5\.1"', done.stdout, re.MULTILINE)) == 2
    assert re.search(r"^api +current +0\.3\.1", done.stdout, re.MULTILINE)
    assert world.image("web", "1.4.2") in world.repo.read("apps/production/web.yaml"), "only planned"
    assert world.run("check", "shop-config", "--strict").fine().out.endswith("0 errors, 0 warnings\n")


# -- what is written -----------------------------------------------------------------------------------

EVERYTHING = {
    "plain": "ghcr.io/acme/plain:1.4.2",
    "zero": "ghcr.io/acme/zero:0.4.2",
    "vee": "ghcr.io/acme/vee:v1.4.2",
    "variant": "nginx:1.25.3-alpine",
    "base": "bitnami/redis:7.2.4-debian-12-r3",
    "candidate": "ghcr.io/acme/candidate:1.5.0-rc.2",
    "calendar": "ghcr.io/acme/calendar:2024.01.15",
    "two": "postgres:16.2",
    "four": "ghcr.io/acme/four:1.2.3.4",
    "commit": "ghcr.io/acme/commit:main-4b1c2d3-1700000000",
    "count": "ghcr.io/acme/count:build-57",
    "day": "minio/minio:RELEASE.2024-01-16T16-07-38Z",
    "digest": f"ghcr.io/acme/digest:1.0.0@sha256:{'a' * 64}",
    "on": "ghcr.io/acme/on:1.0.0",
}
MOVING = {"major": "redis:7", "latest": "ghcr.io/acme/latest:latest", "hash": "ghcr.io/acme/hash:4b1c2d3"}


def test_everything_that_is_proposed_passes_check_without_a_warning(world: World) -> None:
    adopt(world, **EVERYTHING)
    world.run("init", "shop-config", "--offline").fine()

    done = world.run("check", "shop-config", "--strict").fine()
    assert done.out == f"{len(EVERYTHING)} workloads, {len(EVERYTHING)} sites: 0 errors, 0 warnings\n"


def test_moving_tags_and_hashes_pass_check_without_an_error(world: World) -> None:
    adopt(world, **MOVING)
    done = world.run("init", "shop-config", "--offline").fine()

    assert "3 workloads, 2 of them held until you decide" in done.out
    assert re.search(r"\b0 errors", world.run("check", "shop-config").fine().out)


def test_the_config_names_the_remote_and_its_branch_and_plan_works(world: World) -> None:
    world.repo.branch = "live"
    world.repo.commit({"apps/web.yaml": deployment(world.image("web", "1.0.0"))}, "Adopt")
    git(world.repo.path, "symbolic-ref", "HEAD", "refs/heads/live")
    checkout = clone(world)
    git(checkout, "checkout", "--quiet", "-b", "not-pushed")
    init(world, "shop-config").fine()

    told = tomllib.loads((world.root / "config.toml").read_text())
    assert told["repos"] == {"shop-config": {"url": str(world.repo.path), "branch": "live"}}
    assert told["registries"] == {world.host: {"insecure": True}}
    assert "policy/none" not in world.run("plan").fine().out


@pytest.mark.parametrize(
    ("origin", "url", "credentials"),
    [
        (
            "https://ann:secret-word@git.example.com/acme/shop.git",
            "https://git.example.com/acme/shop.git",
            "git-token",
        ),
        (
            "https://secret-word@git.example.com/acme/shop.git",
            "https://git.example.com/acme/shop.git",
            "git-token",
        ),
        ("git@git.example.com:acme/shop.git", "git@git.example.com:acme/shop.git", "deploy-key"),
        ("ssh://git:secret-word@git.example.com/shop", "ssh://git@git.example.com/shop", "deploy-key"),
    ],
)
def test_no_secret_of_the_checkout_gets_into_the_config(
    world: World, origin: str, url: str, credentials: str
) -> None:
    checkout = adopt(world, web="ghcr.io/acme/web:1.0.0")
    git(checkout, "remote", "set-url", "origin", origin)
    done = world.run("init", "shop-config", "--offline").fine()

    config = (world.root / "config.toml").read_text()
    assert tomllib.loads(config)["repos"] == {"shop": {"url": url, "branch": "main"}}
    assert re.search(rf"^#credentials = .*{credentials}", config, re.MULTILINE)
    assert "secret-word" not in config + done.out + done.err


def test_a_checkout_without_a_remote_is_only_observed(world: World) -> None:
    checkout = adopt(world, web=world.image("web", "1.0.0"))
    git(checkout, "remote", "remove", "origin")
    done = init(world, "shop-config").fine()

    (repo,) = tomllib.loads((world.root / "config.toml").read_text())["repos"].values()
    assert repo == {"url": str(checkout), "branch": "main", "mode": "observe"}
    assert "git -C shop-config commit" in done.out
    assert "push" not in done.out, "there is nowhere to push to"


def test_a_plain_folder_gets_policies_and_a_config_to_fill_in(world: World) -> None:
    (world.root / "plain").mkdir()
    (world.root / "plain/web.yaml").write_text(deployment("ghcr.io/acme/web:1.0.0"))
    done = world.run("init", "plain", "--offline").fine()

    assert "git -C" not in done.out, "it is no checkout"
    assert "commit plain to a Git repository" in done.out
    assert "give its url in config.toml" in done.out
    config = (world.root / "config.toml").read_text()
    assert "repos" not in tomllib.loads(config)
    assert '#url = "https://' in config
    filled = re.sub(r"^#(\[repos|url|branch)", r"\1", config, flags=re.MULTILINE)
    assert tomllib.loads(filled)["repos"]["plain"]["branch"] == "main"
    world.run("check", "plain", "--strict").fine()


def test_what_gets_no_policy_is_told_with_its_reason(world: World) -> None:
    adopt(world, web="ghcr.io/acme/web:1.0.0", pinned=f"ghcr.io/acme/pinned@sha256:{'a' * 64}")
    done = world.run("init", "shop-config", "--offline").fine()

    assert re.search(
        r"^apps/pinned\.yaml:\d+ +ghcr\.io/acme/pinned +no tag is written here", done.out, re.MULTILINE
    )
    assert "pinned" not in (world.root / "shop-config/policies/apps.yaml").read_text()


def test_it_is_told_when_no_image_can_have_a_policy(world: World) -> None:
    adopt(world, pinned=f"ghcr.io/acme/pinned@sha256:{'a' * 64}")
    done = world.run("init", "shop-config", "--offline").fine()

    assert "no policy written: no image can have one\nleft out:\n" in done.out
    assert "nothing new" not in done.out


KYVERNO = "apiVersion: kyverno.io/v1\nkind: ClusterPolicy\nmetadata: {name: x}\nspec: {rules: []}\n"


@pytest.mark.parametrize("remote", [False, True], ids=["checkout", "URL"])
@pytest.mark.parametrize("text", [KYVERNO, f"{KYVERNO}---\n{KYVERNO}"], ids=["one", "several"])
def test_a_folder_of_policies_of_another_tool_is_left_to_it(world: World, text: str, *, remote: bool) -> None:
    files = {
        "apps/web.yaml": deployment(world.image("web", "1.0.0")),
        "policies/signed.yaml": text,
    }
    world.push("web", "1.0.0", "1.1.0")
    world.repo.commit(files, "Adopt")
    checkout = clone(world)
    place = f"file://{world.repo.path}" if remote else "shop-config"

    refused(init(world, place), r"policies/signed\.yaml is an object of Kubernetes\n.*--policies FOLDER")
    refused(init(world, place, "--policies", "../x"), r"\.\./x cannot be the folder of the policies")
    done = init(world, place, "--policies", "release/rules/").fine()

    assert "release/rules" in done.out.partition("next: ")[2]
    written_to = world.root if remote else checkout
    proposed = (written_to / "release/rules/apps.yaml").read_text()
    (repo,) = tomllib.loads((world.root / "config.toml").read_text())["repos"].values()
    assert repo["policies"] == "release/rules"
    world.repo.commit({"release/rules/apps.yaml": proposed}, "Policies")
    assert re.search(r'^\+.*web:1\.1\.0"', world.run("plan").fine().out, re.MULTILINE)


def test_another_folder_than_the_config_has_is_told(world: World) -> None:
    adopt(world, web="ghcr.io/acme/web:1.0.0")
    (world.root / "config.toml").write_text(f'[repos.shop]\nurl = "{world.repo.path}"\n')
    done = world.run("init", "shop-config", "--offline", "--policies", "rules").fine()

    assert 'kept config.toml; give shop there policies = "rules"\n' in done.out


# -- registries ----------------------------------------------------------------------------------------


def test_offline_asks_no_registry(world: World) -> None:
    adopt(world, moving="127.0.0.1:9/acme/moving:1.27")
    done = world.run("init", "shop-config", "--offline", "--insecure", "127.0.0.1:9").fine()

    assert done.err == ""
    assert 'semver: ">=1.27 <2"' in (world.root / "shop-config/policies/apps.yaml").read_text()


def test_tags_of_the_registry_tell_a_moving_tag(world: World) -> None:
    world.push("moving", "1.27", "1.27.3")
    adopt(world, moving=world.image("moving", "1.27"))
    assert init(world, "shop-config").fine().err == ""

    assert 'follow: "1.27"' in (world.root / "shop-config/policies/apps.yaml").read_text()


def test_a_registry_that_fails_costs_its_own_images(world: World) -> None:
    world.push("web", "1.0.0")
    adopt(world, web=world.image("web", "1.0.0"), a="127.0.0.1:9/acme/a:1.0.0", b="127.0.0.1:9/acme/b:1.0.0")
    done = init(world, "shop-config", "--insecure", "127.0.0.1:9").fine()

    assert "warning: " in done.err
    assert "127.0.0.1:9" in done.err
    policies = (world.root / "shop-config/policies/apps.yaml").read_text()
    assert policies.count("Proposed without the registry's tags") == 2
    assert policies.count('semver: ">=1.0.0 <2"') == 3


def test_a_registry_in_the_house_is_called_once_the_lines_of_the_config_are_taken_in(world: World) -> None:
    """The first evening in most companies: what the warning, the config and `--insecure` say is enough."""
    world.push("web", "1.0.0", "1.1.0")
    checkout = adopt(world, web=world.image("web", "1.0.0"))
    config = world.root / "config.toml"
    done = world.run("init", "shop-config").fine()

    table = f'[registries."{world.host}"]'
    assert f"add `{table}` to the config" in done.err
    assert done.told_code == "registry/address-refused"
    assert f"\n  as comments there, for you to allow: {world.host}\n" in done.out
    assert world.host not in str(tomllib.loads(config.read_text())), (
        "what the config repo names is not called"
    )
    opened = config.read_text().replace(f"#{table}\n#insecure", f"{table}\ninsecure")
    assert tomllib.loads(opened)["registries"] == {world.host: {"insecure": True}}
    git(checkout, "add", "policies")
    git(checkout, "commit", "--quiet", "-m", "Policies")
    git(checkout, "push", "--quiet")
    assert world.run("plan", "-o", "json").json[0]["outcomes"][0]["reason"]["code"] == done.told_code
    told = init(world, "shop-config").fine().out
    assert f"kept config.toml; add these lines to it\n\n{table}\ninsecure = true" in told
    assert init(world, "shop-config", "-o", "json").fine().json["config_lacks"].startswith(table)
    config.write_text(opened)
    assert "kept" not in init(world, "shop-config").fine().out
    assert re.search(r'^\+.*web:1\.1\.0"', world.run("plan").fine().out, re.MULTILINE)


def test_a_table_that_the_config_has_is_not_given_twice(world: World) -> None:
    adopt(world, web="ghcr.io/acme/web:1.0.0")
    (world.root / "config.toml").write_text(
        f'[repos.shop]\nurl = "{world.repo.path}"\n[registries."{world.host}"]\ntimeout = "5s"\n'
    )
    out = init(world, "shop-config", "--offline").fine().out
    assert f'kept config.toml; add insecure = true to [registries."{world.host}"] there\n' in out
    assert "add these lines" not in out


# -- again ---------------------------------------------------------------------------------------------


def test_a_second_run_says_that_nothing_is_new(world: World) -> None:
    checkout = adopt(world, web="ghcr.io/acme/web:1.0.0")
    world.run("init", "shop-config", "--offline").fine()
    before = written(checkout), (world.root / "config.toml").read_text()

    done = world.run("init", "shop-config", "--offline").fine()
    assert done.out == "nothing new: every image that can have a policy has one\n"
    assert (written(checkout), (world.root / "config.toml").read_text()) == before


def test_only_images_that_no_policy_covers_are_proposed(world: World) -> None:
    checkout = adopt(world, web="ghcr.io/acme/web:1.0.0")
    world.run("init", "shop-config", "--offline").fine()
    before = written(checkout)
    (checkout / "apps/new.yaml").write_text(deployment("ghcr.io/acme/new:2.0.0", "new"))

    done = world.run("init", "shop-config", "--offline").fine()
    assert "wrote shop-config/policies/apps-2.yaml: 1 workload\n" in done.out
    after = written(checkout)
    assert {name: after[name] for name in before} == before
    assert "ghcr.io/acme/web" not in after["policies/apps-2.yaml"]
    world.run("check", "shop-config", "--strict").fine()


def test_a_config_that_there_is_stays_unless_forced(world: World) -> None:
    adopt(world, web="ghcr.io/acme/web:1.0.0")
    config = world.root / "config.toml"
    config.write_text('[repos.other]\nurl = "https://git.example.com/other.git"\n')
    before = config.read_text()

    done = world.run("init", "shop-config", "--offline").fine()
    assert config.read_text() == before
    kept, _, lines = done.out.partition(": add these lines to it\n")
    assert kept.splitlines()[-1] == f"kept config.toml; it names no config repo at {world.repo.path}"
    lacks = lines.partition("next: ")[0]
    config.write_text(before + lacks)
    assert tomllib.loads(before + lacks)["repos"]["shop-config"] == {
        "url": str(world.repo.path),
        "branch": "main",
    }
    assert "kept" not in world.run("init", "shop-config", "--offline").fine().out, "nothing is missing now"
    world.run("init", "shop-config", "--offline", "--force").fine()
    assert tomllib.loads(config.read_text())["repos"].keys() == {"shop-config"}


def test_settings_of_the_config_count(world: World) -> None:
    checkout = adopt(world, web="ghcr.io/acme/web:1.0.0", ignored="ghcr.io/acme/ignored:1.0.0")
    (world.root / "config.toml").write_text(
        f'[repos.shop]\nurl = "{world.repo.path}"\npolicies = "release/rules"\n'
        'ignore = ["apps/ignored.yaml"]\n'
    )
    world.run("init", "shop-config", "--offline").fine()

    assert "ignored" not in (checkout / "release/rules/apps.yaml").read_text()
    assert not (checkout / "policies").exists()


def test_nothing_is_overwritten_in_a_folder_of_ones_choice(world: World) -> None:
    checkout = adopt(world, web="ghcr.io/acme/web:1.0.0")
    (world.root / "drafts").mkdir()
    (world.root / "drafts/apps.yaml").write_text("mine\n")

    refused(world.run("init", "shop-config", "--offline", "--to", "drafts"), r"drafts/apps\.yaml exists")
    assert (world.root / "drafts/apps.yaml").read_text() == "mine\n"
    assert not (world.root / "config.toml").exists(), "all or nothing"
    world.run("init", "shop-config", "--offline", "--to", "drafts", "--force").fine()
    assert "ghcr.io/acme/web" in (world.root / "drafts/apps.yaml").read_text()
    assert not (checkout / "policies").exists()


def test_a_link_is_never_written_through(world: World) -> None:
    adopt(world, web="ghcr.io/acme/web:1.0.0")
    (world.root / "config.toml").symlink_to("elsewhere.toml")

    refused(world.run("init", "shop-config", "--offline", "--force"), "config.toml exists")
    assert not (world.root / "elsewhere.toml").exists()


SNIPPET = re.compile(r"^```yaml\n# policies/(\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_files_for_code_owners_pass_check(world: World) -> None:
    """What docs/codeowners.md shows holds: a rule narrows, and a freeze stops, without an error."""
    files = dict(SNIPPET.findall((ROOT / "docs/codeowners.md").read_text()))
    assert files.keys() == {"_rules.yaml", "_freeze.yaml"}
    checkout = adopt(world, web="ghcr.io/acme/web:1.0.0")
    world.run("init", "shop-config", "--offline").fine()
    for name, text in files.items():
        (checkout / "policies" / name).write_text(text)

    assert "0 errors" in world.run("check", "shop-config").fine().out


# -- a URL ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("branch", ["main", "master"])
def test_a_url_is_cloned_and_nothing_is_pushed(world: World, branch: str) -> None:
    world.repo.branch = branch
    world.push("web", "1.0.0", "1.1.0")
    tip = world.repo.commit({"apps/web.yaml": deployment(world.image("web", "1.0.0"))}, "Adopt")
    done = init(world, f"file://{world.repo.path}").fine()

    assert world.repo.tip() == tip
    assert "commit its files to policies/ of the config repo" in done.out
    policies = (world.root / "policies/apps.yaml").read_text()
    world.repo.commit({"policies/apps.yaml": policies}, "Policies")
    assert re.search(r'^\+.*web:1\.1\.0"', world.run("plan").fine().out, re.MULTILINE)


def test_a_bare_repository_on_disk_counts_as_a_url(world: World) -> None:
    world.repo.commit({"apps/web.yaml": deployment("ghcr.io/acme/web:1.0.0")}, "Adopt")
    world.run("init", str(world.repo.path), "--offline", "--to", "drafts").fine()

    assert (world.root / "drafts/apps.yaml").exists()
    assert not (world.repo.path / "policies").exists()


def test_a_branch_of_a_url_can_be_named(world: World) -> None:
    world.repo.branch = "live"
    world.repo.commit({"apps/web.yaml": deployment("ghcr.io/acme/web:1.0.0")}, "Adopt")
    url = f"file://{world.repo.path}"

    refused(world.run("init", url, "--offline"), "has no branch main and no branch master\n.*--branch")
    refused(world.run("init", url, "--offline", "--branch", "lvie"), "has no branch lvie\n.*--branch")
    world.run("init", url, "--offline", "--branch", "live").fine()
    assert tomllib.loads((world.root / "config.toml").read_text())["repos"]["shop-config"]["branch"] == "live"


# -- mistakes ------------------------------------------------------------------------------------------


def test_mistakes_are_told_and_nothing_is_written(world: World) -> None:
    checkout = adopt(world, web="ghcr.io/acme/web:1.0.0")
    before = written(checkout)
    (world.root / "empty").mkdir()

    refused(world.run("init", "shop-config/apps", "--offline"), "is only a part of the checkout")
    refused(world.run("init", "empty", "--offline"), "no file in empty names an image")
    refused(world.run("init", "nowhere"), "nowhere is not a folder")
    refused(world.run("init", "shop-config", "--insecure", "https://x/"), "no registry host")
    done = world.run("init", "https://ann:secret-word@git.example.com/shop.git")
    refused(done, "has a user or password in it")
    assert "secret-word" not in done.err
    assert written(checkout) == before
    assert not (world.root / "config.toml").exists()


def test_nothing_is_proposed_beside_policies_with_an_error(world: World) -> None:
    checkout = adopt(world, web="ghcr.io/acme/web:1.0.0")
    (checkout / "policies").mkdir()
    (checkout / "policies/x.yaml").write_text("version: 1\nworkloads: [\n")

    refused(world.run("init", "shop-config", "--offline"), "the policies that there are have an error")
    assert written(checkout / "policies").keys() == {"x.yaml"}


def test_a_folder_that_cannot_be_written_is_told(world: World) -> None:
    checkout = adopt(world, web="ghcr.io/acme/web:1.0.0")
    (checkout / "policies").write_text("a file, no folder\n")

    refused(world.run("init", "shop-config", "--offline"), "cannot be written")


def test_programs_get_json(world: World) -> None:
    adopt(world, web="ghcr.io/acme/web:1.0.0", pinned=f"ghcr.io/acme/pinned@sha256:{'a' * 64}")
    told = world.run("init", "shop-config", "--offline", "--output", "json").fine().json

    assert told["written"] == ["shop-config/policies/apps.yaml", "config.toml"]
    (workload,) = told["workloads"]
    assert workload == {
        "name": "web",
        "file": "shop-config/policies/apps.yaml",
        "keys": {"image": "ghcr.io/acme/web", "semver": ">=1.0.0 <2"},
    }
    (left,) = told["left"]
    assert (left["file"], left["image"]) == ("apps/pinned.yaml", "ghcr.io/acme/pinned")
