"""docs/security.md: each threat has tests that exist, each credential its rights; and what had none yet."""

from __future__ import annotations

import ast
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import fields
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest
from parts.gitserver import git
from parts.launching import PROGRAM, execute
from parts.numbers import busy
from parts.stage import Stage
from parts.world import World
from prometheus_client.parser import text_string_to_metric_families
from pydantic import BaseModel

from automator.config import Config
from automator.core.reference import Repository
from automator.cycle.run import Trigger
from automator.reasons import Status

ROOT = Path(__file__).parents[1]
TESTS = ROOT / "tests"
PAGE = (ROOT / "docs/security.md").read_text()
PACKAGE = ROOT / "automator"
SOURCES = sorted(PACKAGE.rglob("*.py"))


# -- the page -------------------------------------------------------------------------------------------


def tables(heading: str) -> list[list[str]]:
    """The rows of the tables below a heading, down to the next one of its rank, without their heads."""
    _, _, rest = PAGE.partition(f"\n## {heading}\n")
    assert rest, f"no heading {heading}"
    rows: list[list[str]] = []
    for line in rest.partition("\n## ")[0].splitlines():
        if line.startswith("|---"):
            rows.pop()
        elif line.startswith("|"):
            rows.append([cell.strip() for cell in line.strip("|").split(" | ")])
    return rows


THREATS = tables("Threats")
NAMED = re.compile(r"`([\w/.-]+\.py)::(test_\w+)`")


@cache
def functions(file: Path) -> frozenset[str]:
    tree = ast.parse(file.read_bytes())
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


@pytest.mark.parametrize("row", THREATS, ids=lambda row: re.sub(r"\W+", "-", row[0])[:50])
def test_each_threat_has_a_defence_and_tests_that_exist(row: list[str]) -> None:
    threat, defence, shown = row
    assert threat
    assert defence
    named = NAMED.findall(shown)
    assert named, f"no test shows it: {threat}"
    assert re.sub(r"[\s,`]", "", NAMED.sub("", shown)) == "", f"what is no test: {shown}"
    for file, test in named:
        path = TESTS / file
        assert path.is_file(), f"{file} is gone"
        assert test in functions(path), f"{file} has no {test}"


def test_every_neighbour_of_the_contract_is_looked_at() -> None:
    headings = re.findall(r"^### (.+)$", PAGE.partition("\n## Threats\n")[2].partition("\n## ")[0], re.M)
    told = " ".join(headings).lower()
    wanted = (
        "registry",
        "event",
        "config repo",
        "forge",
        "this machine",
        "network",
        "cluster",
        "automator itself",
    )
    assert [who for who in wanted if who not in told] == []
    assert len(THREATS) == len({row[0] for row in THREATS}) > 50


SECRETS = re.compile(
    r"(password|passphrase|secret|token|key|keys|cert|signers|url|hosts|docker_config|kubeconfig|gpg_home)(_file)?$"
)


def secret_keys(model: type[BaseModel], place: str = "") -> list[str]:
    """Keys of the config that name a file with something secret in it: `hooks.NAME.secret_file`."""
    found = []
    for name, field in model.model_fields.items():
        inner = next((m for m in _models(field.annotation)), None)
        if inner is not None:
            many = "dict" in str(field.annotation)
            found += secret_keys(inner, f"{place}{name}.{'NAME.' if many else ''}")
        elif "Path" in str(field.annotation) and SECRETS.search(name):
            found.append(f"{place}{name}")
    return found


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]


def test_each_credential_of_the_config_has_the_rights_that_it_needs() -> None:
    told = set(
        re.findall(r"`([a-z_.]+(?:NAME|HOST)?[a-zA-Z_.]*)`", " ".join(r[0] for r in tables("Credentials")))
    )
    told = {key.replace("HOST", "NAME") for key in told}
    wanted = secret_keys(Config)
    assert len(wanted) > 10
    assert sorted(set(wanted) - told) == []
    assert sorted(key for key in told if "." in key and key not in wanted and not _exists(key)) == []


def _exists(key: str) -> bool:
    """Whether the config has a key of that name at all."""
    model: type[BaseModel] | None = Config
    for part in key.replace("NAME.", "").split("."):
        assert model is not None
        field = model.model_fields.get(part)
        if field is None:
            return False
        model = next(iter(_models(field.annotation)), None)
    return True


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with ExitStack() as stack:
        yield Stage(tmp_path, stack)


# -- the config repo executes nothing -----------------------------------------------------------------


def test_nothing_in_the_config_repo_is_ever_executed(stage: Stage) -> None:
    """Hooks, filters, drivers, submodules, aliases: whatever git or a shell could be talked into running."""
    canary = stage.folder / "executed"
    command = f"touch {canary}"
    script = f"#!/bin/sh\n{command}\n"
    stage.push("acme/web", "1.0.0", "1.0.1", "1.0.2")
    lures: dict[str, str] = {
        ".gitattributes": "*.yaml filter=lure diff=lure merge=lure export-subst ident\n",
        ".gitconfig": f'[filter "lure"]\n\tsmudge = {command}\n\tclean = {command}\n',
        ".gitmodules": f'[submodule "x"]\n\tpath = x\n\turl = ext::{command}\n\tupdate = !{command}\n',
        ".lfsconfig": f"[lfs]\n\turl = ext::{command}\n",
        "config": f"[core]\n\tsshCommand = {command}\n\tfsmonitor = {command}\n\thooksPath = hooks\n",
        "apps/$(touch executed).yaml": "kind: Note\n",
        "apps/--upload-pack=x.yaml": "kind: Note\n",
        "policies/run.yaml": (
            f"version: 1\nworkloads:\n  run: {{image: {stage.host}/acme/web, verify: ['{command}']}}\n"
        ),
    }
    for hook in ("pre-push", "post-checkout", "reference-transaction", "post-commit", "fsmonitor-watchman"):
        lures[f"hooks/{hook}"] = script
        lures[f".githooks/{hook}"] = script
    stage.commit({**stage.workload("web", "1.0.0"), **lures})
    outcomes = stage.outcomes()
    assert outcomes["run"].status is Status.HELD
    stage.commit({"policies/run.yaml": None})
    assert stage.outcomes()["web"].status is Status.RELEASED
    assert stage.image_of("web") == "web:1.0.2"
    stage.stop()
    assert not canary.exists()
    assert not [path for path in stage.folder.rglob("executed") if path.is_file()]


def test_check_reads_nothing_but_the_checkout(tmp_path: Path) -> None:
    """A pull request may come from anybody: links out of it, pipes and devices are named and not opened."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "environ").write_text("workloads: [TOP, SECRET]\nimage: TOP-SECRET:1.0.0\n")
    folder = tmp_path / "checkout"
    for name in ("policies", "apps"):
        (folder / name).mkdir(parents=True)
        (folder / name / "link.yaml").symlink_to(outside / "environ")
        (folder / name / "folder").symlink_to(outside)
        os.mkfifo(folder / name / "pipe.yaml")
        (folder / name / "endless.yaml").symlink_to("/dev/zero")
    (folder / "policies" / "web.yaml").write_text(
        "version: 1\nworkloads: {web: {image: nginx, semver: '1.x'}}\n"
    )
    for form in ("terminal", "json", "github", "sarif"):
        done = execute(
            ["check", str(folder), "--format", form], cwd=tmp_path, env=dict(os.environ), timeout=60
        )
        told = (done.stdout + done.stderr).decode()
        assert "link.yaml" in told
        assert "SECRET" not in told


DANGEROUS = re.compile(
    r"eval|exec|__import__|os\.(system|popen|exec\w+|spawn\w+|posix_spawnp?)|(pickle|_pickle|marshal|dill)\.loads?"
    r"|(pickle|_pickle)\.Unpickler|shelve\.open|yaml\.(unsafe_)?load|tempfile\.mktemp|code\.(interact|Interactive\w+)"
    r"|importlib\.import_module|runpy\.run_\w+|ssl\._create_unverified_context|urllib3\.disable_warnings"
    r"|subprocess\.(getoutput|getstatusoutput)"
)
HARMLESS = {
    "shell": ("False",),
    "verify": ("True",),
    "check_hostname": ("True",),
    "assert_hostname": ("True",),
    "verify_mode": ("ssl.CERT_REQUIRED",),
    "cert_reqs": ("'CERT_REQUIRED'", "ssl.CERT_REQUIRED"),
}
"""What each name may be told; everything else must be a place that is named below."""
NAMED_PLACES = {
    # `verify` of a policy: names of checks, and of nothing in the network.
    "core/policycompile.py": {"verify=tuple(dict.fromkeys(keys.verify or ()))"},
    "cli/schema.py": {"verify={'examples': ['healthy', ['healthy', 'error-rate']]}"},
    # What the operator says, in config or kubeconfig: docs/security.md tells of it.
    "edges/http/trust.py": {"check_hostname=False", "verify_mode=ssl.CERT_NONE"},
    "edges/kubernetes/access.py": {"verify=text(cluster, 'insecure-skip-tls-verify').lower() != 'true'"},
    "edges/kubernetes/caller.py": {"verify=key.verify"},
    "edges/registry/hosts.py": {"verify=settings.verify_tls or (declared is None and (not token))"},
}


def dangers(source: str) -> list[str]:
    """What makes text into code, hands it to a shell, or may leave who is spoken to unchecked."""
    tree = ast.parse(source)
    names = imported(tree)
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute):
            first, dot, rest = ast.unparse(node).partition(".")
            name = (names.get(first, first) + dot + rest).removeprefix("builtins.")
            if DANGEROUS.fullmatch(name):
                found.append(name)
        for name, value in told(node):
            if name in HARMLESS and ast.unparse(value) not in HARMLESS[name]:
                found.append(f"{name}={ast.unparse(value)}")
    return found


def imported(tree: ast.AST) -> dict[str, str]:
    """What each imported name really is, as `p` of `import pickle as p`."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.asname: alias.name for alias in node.names if alias.asname}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return found


def told(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """What something is set to by its name: as an argument, an attribute, a key, or with `setattr`."""
    match node:
        case ast.keyword(arg=str(name), value=value):
            yield name, value
        case ast.Assign(targets=targets, value=value):
            yield from ((target.attr, value) for target in targets if isinstance(target, ast.Attribute))
        case ast.AnnAssign(target=ast.Attribute(attr=name), value=ast.expr() as value):
            yield name, value
        case ast.Dict(keys=keys, values=values):
            pairs = zip(keys, values, strict=True)
            yield from ((str(key.value), value) for key, value in pairs if isinstance(key, ast.Constant))
        case ast.Call(func=ast.Name(id="setattr"), args=[_, ast.Constant(value=str(name)), value]):
            yield name, value


def test_no_text_becomes_code_no_shell_is_asked_and_tls_is_checked() -> None:
    found = {path.relative_to(PACKAGE).as_posix(): set(dangers(path.read_text())) for path in SOURCES}
    assert {name: what for name, what in found.items() if what} == NAMED_PLACES


@pytest.mark.parametrize(
    "source",
    [
        "eval('1')",
        "import builtins as b\nb.exec(text)",
        "import os\nos.system('ls')",
        "from os import system as run\nrun('ls')",
        "import subprocess\nsubprocess.run('ls', shell=True)",
        "subprocess.run('ls', shell=wanted)",
        "import pickle as safe\nsafe.loads(body)",
        "from pickle import loads\nloads(body)",
        "load = pickle.load",
        "import importlib as i\ni.import_module(name)",
        "requests.get('x', verify=False)",
        "requests.get('x', verify=0)",
        "requests.get('x', verify=wanted)",
        "requests.get('x', **{'verify': False})",
        "session.verify = False",
        "session.verify = other.verify = ca_file",
        "setattr(session, 'verify', False)",
        "context.verify_mode = ssl.CERT_NONE",
        "context.check_hostname = 0",
        "from ssl import _create_unverified_context as made\nmade()",
    ],
)
def test_a_danger_is_found(source: str) -> None:
    assert len(set(dangers(source))) == 1


def test_what_is_harmless_is_not_taken_for_a_danger() -> None:
    source = "subprocess.run(['ls'], shell=False)\nmodel.eval()\nre.compile('a')\nget(verify=True)"
    assert dangers(f"{source}\njson.loads(text)") == []


# -- secrets that are compared, files that others could read ------------------------------------------------


SECRET_WORD = re.compile(r"(secret|token|signature|digest|password|proof)s?$")


def hasty(source: str) -> list[str]:
    """Comparisons of secrets that end at the first character that differs, and so tell how far they got."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Eq | ast.NotEq | ast.In | ast.NotIn):
            sides = [node.left, *node.comparators]
            constant = any(isinstance(side, ast.Constant | ast.Tuple | ast.Set) for side in sides)
            if not constant and any(SECRET_WORD.search(ast.unparse(side)) for side in sides):
                found.append(f"line {node.lineno}: {ast.unparse(node)}")
    return found


@pytest.mark.parametrize("file", ["edges/webhook/proof.py", "edges/web/access.py"])
def test_secrets_are_compared_in_constant_time(file: str) -> None:
    source = (PACKAGE / file).read_text()
    assert "hmac.compare_digest(" in source
    assert hasty(source) == []


def test_a_hasty_comparison_is_found() -> None:
    assert len(hasty("a = given == self.token\nb = sent_signature in (signature, other_signature)")) == 1
    assert hasty("a = hmac.compare_digest(given, token)\nb = how == 'token'") == []


def test_what_automator_keeps_is_for_its_own_user_alone(tmp_path: Path) -> None:
    """Whatever the umask, and in a folder that was there before, in which an older automator has been."""
    world = World(tmp_path, "127.0.0.1:9")
    world.repo.commit({"README.md": "config repo\n"}, "Begin")

    def use_it() -> None:
        for command in ("once", "log"):
            subprocess.run([PROGRAM, command], cwd=world.root, umask=0, check=True, timeout=120)
        open_to_others = [path.name for path in world.state.iterdir() if path.stat().st_mode & 0o077]
        assert open_to_others == []
        made = {path.name for path in world.state.iterdir()}
        assert {"automator.sqlite", "automator.lock", "repos", "reading"} <= made

    use_it()
    assert world.state.stat().st_mode & 0o077 == 0
    for path in (world.state, *world.state.iterdir()):
        path.chmod(0o755 if path.is_dir() else 0o644)
    use_it()
    assert world.state.stat().st_mode & 0o777 == 0o755, "whose folder it is says who may list it"


def test_metrics_tell_of_no_workload() -> None:
    """They need no token, and there may be thousands of workloads."""
    families = list(text_string_to_metric_families(busy().render().decode()))
    labels = {label for family in families for sample in family.samples for label in sample.labels}
    assert "repo" in labels
    assert labels & {"workload", "owner", "image", "repository", "tag", "digest", "file"} == set()


# -- an event is a hint -------------------------------------------------------------------------------------


def test_an_event_brings_a_look_and_never_a_version(stage: Stage) -> None:
    """Who sends events, even with the secret, has looked at what the registry lists, and nothing else."""
    stage.push("acme/web", "1.0.0")
    stage.commit(stage.workload("web", "1.0.0"))
    stage.outcomes()
    head = git(stage.repo.path, "rev-parse", "main")
    named = frozenset({Repository(stage.host, "acme/web")})
    for _ in range(3):
        report = stage.run(trigger=Trigger("event", named=named, patience=timedelta(minutes=1)))
        assert [o.status for o in report.outcomes] == [Status.CURRENT]
    assert git(stage.repo.path, "rev-parse", "main") == head
    assert not {"tag", "version", "digest"} & {field.name for field in fields(Trigger)}
