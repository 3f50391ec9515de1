"""Every snippet of the README and the other pages is run, or read by what would read it.

A snippet says its kind after the fence; a kind that nothing here proves fails. Tutorial, rollbacks and policy
examples have tests of their own, which run them in the order of their page; `ELSEWHERE` names those.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click
import pytest
from parts import launching
from parts.gitserver import git
from parts.launching import PROGRAM
from parts.world import EmbeddedWorld, World, deployment
from ruamel.yaml import YAML

from automator import set_image
from automator.cli.commands import COMMANDS
from automator.config import load
from automator.core.policy import InvalidWorkload, parse_policies
from automator.core.site import locate
from automator.demo.tour import DEPLOYMENT
from automator.reasons import CODES

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    page
    for pattern in ("*.md", "docs/**/*.md", "policies/**/*.md", "deploy/**/*.md", "bench/*.md")
    for page in ROOT.glob(pattern)
)
FENCE = re.compile(r"^( *)```([^\n]*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)

KINDS = {
    "diff": "the README's is what the demo's manifest becomes; lines of others begin as in a diff",
    "json": "read, and compared with the table of reasons where it is an error",
    "python": "run",
    "sh": "read by bash; commands of automator by its own command line; and run",
    "text": "a picture, or what a command prints: for people",
    "toml": "loaded by the config loader",
    "yaml": "a policy without a problem, or a manifest with an image, or for promtool",
}
"""The kinds that a snippet may be of, and how each is proven."""

ELSEWHERE = {
    "docs/getting-started.md": "tests/test_tutorial.py::test_the_tutorial_does_what_it_says",
    "docs/rollback.md": "tests/test_acting.py::test_every_command_of_the_page_on_rollbacks_does_what_it_says",
}
"""Pages whose commands another test runs, as they stand there."""

OWN_WORLDS = ("docs/beside-", "docs/coming-from/", "docs/install.md")
"""Pages about a repository or machine of their own; tests/test_walkthroughs.py and tests below run them."""

NOT_RUN = {
    "argocd": "needs Argo CD",
    "base64": "decodes what kubectl prints",
    "chmod": "lays out a machine",
    "chown": "needs root",
    "cosign": "is in no Debian package; tests/parts/signing.py signs as it does",
    "cp": "lays out a machine; tests/test_deploy.py reads what it copies",
    "curl": "asks a server of yours; tests/test_hooks.py and tests/edges/test_api.py send the same",
    "docker": "needs an engine that starts containers; tests/slow/test_image.py runs the image",
    "grep": "picks lines of what kubectl prints",
    "helm": "is in no Debian package",
    "journalctl": "needs systemd",
    "kubectl": "needs a cluster; tests/test_kubernetes.py reads what it applies",
    "make": "each target is compared with the Makefile; CI runs them",
    "mkdir": "lays out a machine",
    "openssl": "makes a secret",
    "python": "python -m bench.soak goes on for minutes",
    "python3": "installs from a package index; tests/slow/test_dist.py installs automator",
    "ssh-keyscan": "asks a server of yours",
    "stat": "needs an engine's socket; tests/test_deploy.py runs the line on a file",
    "sudo": "changes a machine; tests/test_deploy.py reads the unit",
    "/opt/automator/bin/pip": "installs from a package index; tests/slow/test_dist.py installs automator",
    "/opt/automator/bin/automator": "is what the lines above it install",
}
"""Programs whose lines are only read, and why."""

COMMANDS_NOT_RUN = {
    "run": "goes on until it is ended; tests/test_daemon.py",
    "health": "needs a daemon; tests/test_daemon.py",
    "drift": "needs a cluster or an engine; tests/test_drift.py",
    "import": "run above, on the page's own example",
    "demo": "tests/test_demo.py runs it, and with --keep to its end",
    "init": "the quick start: tests/test_init.py runs it from clone to plan",
    "completion": "tests/test_completion.py has shells read what it prints",
    "--version": "tests/test_cli.py",
    "check --strict --status": "needs a forge; tests/test_check_status.py",
}
"""What automator is told in a snippet that is only read, and why."""


class Snippet(NamedTuple):
    page: str
    kind: str
    text: str

    @property
    def first(self) -> str:
        return next((line for line in self.text.splitlines() if line.strip()), "")


def snippets(*kinds: str) -> list[Any]:
    """Snippets of all pages, as parameters of a test."""
    found = []
    for page in PAGES:
        name = page.relative_to(ROOT).as_posix()
        for number, (indent, kind, text) in enumerate(FENCE.findall(page.read_text()), 1):
            flush = "".join(line.removeprefix(indent) for line in text.splitlines(keepends=True))
            if not kinds or kind in kinds:
                found.append(pytest.param(Snippet(name, kind, flush), id=f"{name}-{number}"))
    return found


ALL = [parameter.values[0] for parameter in snippets()]


def test_every_snippet_is_of_a_kind_that_something_here_proves() -> None:
    strange = [f"{snippet.page}: ```{snippet.kind}" for snippet in ALL if snippet.kind not in KINDS]
    assert strange == [], "say one of " + ", ".join(KINDS)
    assert {snippet.kind for snippet in ALL} == set(KINDS)


def test_tests_that_run_a_page_elsewhere_exist() -> None:
    for page, place in ELSEWHERE.items():
        file, _, name = place.partition("::")
        assert (ROOT / page).exists()
        assert f"def {name}(" in (ROOT / file).read_text()


# -- configs, policies, manifests ------------------------------------------------------------------------


@pytest.mark.parametrize("snippet", snippets("toml"))
def test_toml_is_a_config(snippet: Snippet, tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(snippet.text)
    assert load(file, {}).repos.keys() == tomllib.loads(snippet.text)["repos"].keys()


@pytest.mark.parametrize("snippet", snippets("yaml"))
def test_yaml_is_what_its_reader_takes(snippet: Snippet, tmp_path: Path) -> None:
    text = snippet.text
    keys = set(re.findall(r"^(\w+):", text, re.MULTILINE))
    if "scrape_configs" in keys:
        _promtool(text, tmp_path)
    elif {"apiVersion", "kind"} & keys or re.match(r"# (?!policies/)\S+/", text):
        named = re.match(r"# (\S+)", text)
        assert locate(text, Path(named[1]).name if named else "web.yaml").trouble is None
    else:
        named = re.match(r"# (policies/\S+)", text)
        special = {"rules": "policies/_rules.yaml", "freeze": "policies/_freeze.yaml"}
        guess = "policies/shop.yaml" if "workloads" in keys else special.get(min(keys - {"version"}), "")
        file = named[1] if named else guess
        assert file, f"no reader for {sorted(keys)}"
        found = parse_policies({file: text})
        assert found.problems == found.warnings == ()
        assert not any(isinstance(workload, InvalidWorkload) for workload in found.workloads)


def _promtool(text: str, folder: Path) -> None:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("no promtool here")
    (folder / "prometheus.yml").write_text(text)
    shutil.copy(ROOT / "deploy/monitoring/alerts.yaml", folder)
    subprocess.run([program, "check", "config", folder / "prometheus.yml"], check=True, capture_output=True)


OBJECT = "apiVersion: image.toolkit.fluxcd.io/v1\nkind: {}\nmetadata: {{name: {}, namespace: flux-system}}\n"
ELSE_IN_THE_CHECKOUT: dict[str, tuple[str, str, dict[str, str]]] = {
    "flux1": (
        "apps/web.yaml",
        "spec:\n  template:\n    spec:\n      containers: [{name: app, image: 'ghcr.io/acme/web:1.4.2'}]\n",
        {},
    ),
    "flux2": (
        "flux/policy.yaml",
        "",
        {
            "flux/repository.yaml": OBJECT.format("ImageRepository", "web")
            + "spec: {image: ghcr.io/acme/web, interval: 1m}\n",
            "flux/automation.yaml": OBJECT.format("ImageUpdateAutomation", "all")
            + "spec: {update: {path: ./apps, strategy: Setters}}\n",
            "apps/web.yaml": deployment("ghcr.io/acme/web:main-4b1c2d3-1700000000").replace(
                "# the version", '# {"$imagepolicy": "flux-system:web"}'
            ),
        },
    ),
    "argocd": (
        "argocd/shop.yaml",
        "",
        {
            "charts/shop/Chart.yaml": "apiVersion: v2\nname: shop\nversion: 1.0.0\n",
            "charts/shop/values-prod.yaml": (
                "web:\n  image:\n    repository: ghcr.io/acme/web\n    tag: 1.4.2\n"
            ),
        },
    ),
    "keel": ("apps/edge.yaml", "", {}),
}
"""What the page leaves out: where its manifest stands, how it goes on, and what else is there."""


@pytest.mark.parametrize("tool", ["flux1", "flux2", "argocd", "keel"])
def test_what_is_imported_from_a_page_becomes_what_the_page_says(tool: str, tmp_path: Path) -> None:
    """The page's manifests in a checkout, and its import commands; the keys of each workload are compared."""
    (page,) = {s.page for s in ALL if f"automator import {tool} " in s.text and "coming-from" in s.page}
    before, after = (s.text for s in ALL if s.page == page and s.kind == "yaml")
    file, rest, others = ELSE_IN_THE_CHECKOUT[tool]
    for name, text in {file: before + rest, **others}.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    git(tmp_path, "init", "--quiet")
    (commands,) = (s.text for s in ALL if s.page == page and s.kind == "sh")
    for line in commands.splitlines():
        done = _shell(line, tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
    (written,) = tmp_path.glob("policies/*.yaml")
    read = YAML(typ="safe").load
    assert read(written.read_text())["workloads"] == read(after)["workloads"]


# -- data and code --------------------------------------------------------------------------------------


@pytest.mark.parametrize("snippet", snippets("json"))
def test_json_is_json(snippet: Snippet) -> None:
    told = json.loads(snippet.text)
    if "error" in told:
        row = CODES[told["error"]["code"]]
        assert told["error"]["sentence"] == row.sentence


@pytest.mark.parametrize("snippet", snippets("python"))
def test_python_runs(snippet: Snippet) -> None:
    text = deployment("ghcr.io/acme/web:1.4.2")
    if "kustomization.yaml" in snippet.text:
        text = "images:\n  - name: ghcr.io/acme/web\n    newTag: 1.4.2\n"
    names: dict[str, Any] = {"text": text}
    exec(compile(snippet.text, snippet.page, "exec"), names)
    if "done" in names:
        assert names["done"].text == text.replace("1.4.2", "1.4.3")
        assert names["done"].changed


def test_the_readmes_diff_is_what_a_release_makes_of_the_demos_manifest() -> None:
    (shown,) = (snippet.text for snippet in ALL if snippet.page == "README.md" and snippet.kind == "diff")
    before = DEPLOYMENT.format(host="ghcr.io")
    after = set_image(before, image="ghcr.io/acme/web", to="1.4.3", path="apps/shop/web.yaml").text
    lines = list(difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=2))[3:]
    assert [line.rstrip() for line in lines if line.strip()] == shown.splitlines()


@pytest.mark.parametrize("snippet", snippets("diff"))
def test_a_diff_is_one(snippet: Snippet) -> None:
    lines = snippet.text.splitlines()
    assert all(line[:1] in (" ", "+", "-", "@", "") for line in lines)
    assert any(line.startswith("+") and not line.startswith("+++") for line in lines)


# -- commands -------------------------------------------------------------------------------------------


def simple_commands(text: str) -> Iterator[list[str]]:
    """Each command of a shell text as words; also those in pipes, lists and `$(…)`."""
    for line in re.sub(r"\\\n", " ", text).splitlines():
        for inner in re.findall(r"\$\(([^()]*)\)", line):
            yield from simple_commands(inner)
        lexer = shlex.shlex(re.sub(r"\$\([^()]*\)", "X", line), posix=True, punctuation_chars="|&;")
        lexer.whitespace_split = True
        words: list[str] = []
        for token in [*lexer, ";"]:
            if token and set(token) <= set("|&;"):
                if words:
                    yield words
                words = []
            else:
                words.append(token)


def redirected(words: list[str]) -> list[str]:
    """The words without what a redirection takes."""
    kept: list[str] = []
    skip = False
    for word in words:
        if skip:
            skip = False
        elif re.fullmatch(r"\d?>>?|<", word):
            skip = True
        else:
            kept.append(word)
    return kept


def parsed(words: list[str]) -> None:
    """Put what follows `automator` to its own command line; raises click.UsageError for what is unknown."""
    commands = {command.name: command for command in COMMANDS}
    name, *rest = redirected(words)
    if name.startswith("--"):
        return
    if name not in commands:
        raise click.UsageError(f"no command {name}")
    commands[name].make_context(name, rest).close()


@pytest.mark.parametrize("snippet", snippets("sh"))
def test_shell_text_is_shell_and_what_it_calls_is_known(snippet: Snippet) -> None:
    """bash reads it; automator's command line reads its commands; every other program is run or declared."""
    done = subprocess.run(
        ["bash", "-n", "-c", snippet.text], capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 0, done.stderr
    makefile = (ROOT / "Makefile").read_text()
    known = {
        "automator",
        "git",
        "ssh-keygen",
        "echo",
        "export",
        "printf",
        "eval",
        "cd",
        "cat",
        "sed",
        *NOT_RUN,
    }
    for words in simple_commands(snippet.text):
        program, *rest = words
        if re.fullmatch(r"\.venv/bin/\w+", program):
            program = "python3"
        is_ours = "/" in program and os.access(ROOT / program, os.X_OK)
        assert is_ours or program in known, f"{snippet.page}: {program}: run it, or say in NOT_RUN why not"
        if program == "make":
            assert re.search(rf"^{rest[0]}:", makefile, re.MULTILINE), rest[0]
        if program == "automator":
            parsed(rest)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A checkout of a config repo to stand in, with its config, and another one below it."""
    with EmbeddedWorld(tmp_path_factory.mktemp("shop")) as world:
        world.push("web", "1.4.2", "1.4.3")
        world.repo.commit(
            {
                "apps/web.yaml": deployment(world.image("web", "1.4.2")),
                "deploy/web.yaml": deployment("ghcr.io/acme/web:1.4.2"),
                "policies/shop.yaml": world.policy("web", where='{paths: ["apps/**"]}'),
            },
            "Adopt",
        )
        work = world.root / "checkout"
        for folder in (work, world.root / "shop-config"):
            git(world.root, "clone", "--quiet", str(world.repo.path), str(folder))
        shutil.copy(world.config, work)
        world.run("once", cwd=work).fine()
        yield world


def runnable(snippet: Snippet) -> list[str]:
    """The lines of a snippet that are run here."""
    if snippet.page in ELSEWHERE or any(part in snippet.page for part in OWN_WORLDS):
        return []
    lines = []
    for line in re.sub(r"\\\n", " ", snippet.text).splitlines():
        commands = list(simple_commands(line))
        told = [shlex.join(words[1:]) for words in commands if words[0] == "automator"]
        is_declared = any(words[0] in NOT_RUN for words in commands) or any(
            re.match(rf"{re.escape(name)}(?! \w)", words) or words.split()[0] == name
            for words in told
            for name in COMMANDS_NOT_RUN
        )
        if told and not is_declared:
            lines.append(line)
    return lines


RUNNABLE = [parameter for parameter in snippets("sh") if runnable(parameter.values[0])]


@pytest.mark.parametrize("snippet", RUNNABLE)
def test_commands_of_automator_run_as_they_stand(snippet: Snippet, shop: World) -> None:
    for line in runnable(snippet):
        work = shop.root if "shop-config" in line else shop.root / "checkout"
        image = "ghcr.io/acme/web --to 1.4.3 --write"
        done = _shell(line.replace(image, image.replace("ghcr.io/acme", f"{shop.host}/acme")), work)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        assert "Traceback" not in done.stderr


def test_a_key_is_made_and_commits_are_verified_as_the_page_on_signing_says(tmp_path: Path) -> None:
    page = [snippet.text for snippet in ALL if snippet.page == "docs/signing.md" and snippet.kind == "sh"]
    make_key, verify = page
    with EmbeddedWorld(tmp_path) as world:
        assert _shell(make_key, world.root).returncode == 0
        key = world.root / "signing-key"
        author = 'author = {name = "automator", email = "automator@example.com"}'
        world.configure(repo=f'{author}\nsigning = {{ssh_key_file = "{key}"}}')
        world.push("web", "1.0.0", "1.1.0")
        world.adopt("web")
        world.run("once").fine()
        git(world.root, "clone", "--quiet", str(world.repo.path), "clone")
        shutil.copy(f"{key}.pub", world.root / "clone")
        done = _shell("\n".join(verify.splitlines()), world.root / "clone")
    assert done.returncode == 0, done.stderr
    assert 'Good "git" signature for automator@example.com' in done.stdout + done.stderr


def test_pages_have_commands_that_are_run() -> None:
    pages = {parameter.values[0].page for parameter in RUNNABLE}
    assert pages >= {"README.md", "docs/check.md", "docs/policies.md", "docs/troubleshooting.md"}


def _shell(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A line in a shell in which `automator` is ours; without a shell where it needs none, for speed."""
    words = shlex.split(line, comments=True)
    if words[0] == "automator" and not re.search(r"[|&;<>$*\n]", line.partition("#")[0]):
        done = launching.execute(words[1:], cwd=folder, env=os.environ)
        return subprocess.CompletedProcess(words, done.returncode, done.stdout.decode(), done.stderr.decode())
    path = f"{PROGRAM.parent}:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", line], cwd=folder, env={**os.environ, "PATH": path},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_what_is_wrong_in_a_snippet_is_noticed() -> None:
    for wrong in ("automator rollbak web", "automator rollback web --nope", "automator hold"):
        with pytest.raises(click.UsageError):
            parsed(wrong.split()[1:])
    words = list(simple_commands('x="$(automator tags a/b)" && git push | cat  # automator nope'))
    assert ["automator", "tags", "a/b"] in words
    assert ["git", "push"] in words
    assert not any("nope" in command for command in words)
