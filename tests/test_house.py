"""The house checks itself: who may import whom, and that the core is pure.

The import contracts stand in pyproject.toml and are run here on the real tree, then on a dummy tree of
the same floors with one forbidden import each, to show that every contract can fail. What an import
graph cannot see (a call of the clock, a library used outside its edge) is read from the syntax tree.
"""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "automator"
SOURCES = sorted(PACKAGE.rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))

LONGEST_MODULE = 600
LONGEST_FUNCTION = 60
SHORT = 10  # lines of a method that may go without a docstring
# Modules that are one table, and so may be as long as it is.
TABLES = {"automator/reasons.py"}

# Library -> the only modules (or packages) that may name it. What an edge fences stays behind it.
FENCES = {
    "anyio": {"automator.edges.web"},
    "apprise": {"automator.edges.notify"},
    "apscheduler": {"automator.daemon", "automator.threads"},
    "azure": {"automator.edges.registry.clouds"},
    "boto3": {"automator.edges.registry.clouds"},
    "botocore": {"automator.edges.registry.clouds"},
    "click": {"automator.cli", "automator.demo"},
    "cronsim": {"automator.core.windows"},
    "docker": {"automator.edges.registry", "automator.edges.engine"},
    "git": {"automator.edges.checkout"},
    "google.auth": {"automator.edges.registry.clouds"},
    "h11": {"automator.edges.web"},
    "http.server": {"automator.demo"},
    "jinja2": {"automator.core.sandbox", "automator.edges.web"},
    "jwt": {"automator.edges.forge.login", "automator.edges.webhook"},
    "pathspec": {"automator.core.policycompile", "automator.core.guardrails", "automator.core.claims"},
    "prometheus_client": {"automator.edges.metrics"},
    "pydantic_settings": {"automator.config"},
    "re2": {"automator.core.pattern"},
    "requests": {
        "automator.demo",
        "automator.edges.engine",  # the docker package's client is a session of it
        "automator.edges.forge",
        "automator.edges.http",
        "automator.edges.kubernetes",
        "automator.edges.registry",
    },
    "rich": {"automator.cli", "automator.demo"},
    "ruamel": {"automator.core.yamltext"},
    "semver": {"automator.core.version"},
    "socket": {"automator.edges", "automator.demo"},
    "sqlite3": {"automator.edges.store"},
    "starlette": {"automator.edges.web"},
    # Docker's credential helpers: the docker package runs them without limits, so the edge does.
    "subprocess": {
        "automator.edges.checkout",
        "automator.edges.checks",
        "automator.edges.registry.programs",
    },
    "urllib3": {"automator.edges.http", "automator.edges.registry"},
    "uvicorn": {"automator.edges.web"},
    "zoneinfo": {"automator.core.windows"},
}


def module_name(path: Path, root: Path = ROOT) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def label(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def inside(module: str, packages: set[str]) -> bool:
    return any(module == p or module.startswith(p + ".") for p in packages)


def imported(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every module, or `module.name`, that the source imports, wherever the import stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"


# -- the import contracts ----------------------------------------------------------------------------


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the contracts of pyproject.toml on the `automator` package that lies in `folder`."""
    command = "from importlinter.cli import lint_imports_command as run; run()"
    arguments = ["--no-cache", "--config", str(ROOT / "pyproject.toml")]
    return subprocess.run(
        [sys.executable, "-c", command, *arguments],
        cwd=folder, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_import_contracts_hold() -> None:
    run = lint_imports(ROOT)
    assert run.returncode == 0, run.stdout + run.stderr


def floors() -> list[str]:
    """Every module that the contracts name."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    house, core = (c for c in contracts if c["type"] == "layers")
    upper = [name.strip(" ()") for layer in house["layers"] for name in layer.split("|")]
    inner = [f"automator.core.{n.strip(' ()')}" for layer in core["layers"] for n in layer.split("|")]
    edges = [f"automator.edges.{n}" for n in ("http", "registry", "checkout", "web", "webhook")]
    return [*upper, *inner, *edges]


@pytest.fixture
def dummy(tmp_path: Path) -> Path:
    """A package with the floors of the house and nothing in it."""
    packages = {"automator", "automator.core", "automator.edges"}
    for name in {*floors(), *packages}:
        path = tmp_path.joinpath(*name.split("."))
        file = path / "__init__.py" if name in packages else path.with_suffix(".py")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("")
    return tmp_path


def test_import_contracts_hold_for_an_empty_house(dummy: Path) -> None:
    run = lint_imports(dummy)
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("core/report.py", "from automator.edges import http", "each floor imports only"),
        ("core/policy.py", "import automator.config", "each floor imports only"),
        ("errors.py", "from automator.core import reference", "each floor imports only"),
        ("cycle.py", "import automator.daemon", "each floor imports only"),
        ("app.py", "import automator.cli", "each floor imports only"),
        ("core/policy.py", "from automator.core import site", "order of the cycle"),
        ("core/newcomer.py", "", "order of the cycle"),
        ("core/decide.py", "import socket", "touches nothing outside"),
        ("core/decide.py", "def late():\n    import logging", "touches nothing outside"),
        ("core/version.py", "import requests.adapters", "touches nothing outside"),
        ("edges/registry.py", "from automator.edges import checkout", "do not know each other"),
        ("edges/http.py", "from automator.edges.registry import *", "do not know each other"),
        ("daemon.py", "import automator.edges.checkout", "when, not what"),
        ("cycle.py", "import automator.config", "each floor imports only"),
        ("__main__.py", "import automator.config", "settings stop"),
    ],
)
def test_import_contract_can_fail(dummy: Path, module: str, line: str, contract: str) -> None:
    (dummy / "automator" / module).write_text(line + "\n")
    run = lint_imports(dummy)
    broken = [text for text in run.stdout.splitlines() if text.endswith("BROKEN")]
    assert run.returncode == 1
    assert any(contract in text for text in broken), run.stdout


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("edges/registry.py", "from automator.edges import http"),
        ("edges/web.py", "from automator.edges import webhook"),
        ("cli.py", "import automator.config"),
        ("core/report.py", "import automator.core.decide"),
        ("daemon.py", "import automator.core.report"),
    ],
)
def test_import_contracts_permit(dummy: Path, module: str, line: str) -> None:
    (dummy / "automator" / module).write_text(line + "\n")
    run = lint_imports(dummy)
    assert run.returncode == 0, run.stdout


# -- what each edge fences ---------------------------------------------------------------------------


def strays(module: str, tree: ast.AST) -> list[str]:
    """Imports of a library by a module outside its fence."""
    return [
        f"line {line}: {name} belongs to {', '.join(sorted(homes))}"
        for line, name in imported(tree)
        for library, homes in FENCES.items()
        if (name == library or name.startswith(library + ".")) and not inside(module, homes)
    ]


@pytest.mark.parametrize("path", SOURCES, ids=label)
def test_libraries_stay_behind_their_fences(path: Path) -> None:
    assert strays(module_name(path), ast.parse(path.read_bytes())) == []


def test_fence_can_fail() -> None:
    late = ast.parse("def f():\n    from git.cmd import Git\n")
    assert strays("automator.cycle", late) == ["line 2: git.cmd.Git belongs to automator.edges.checkout"]
    assert strays("automator.edges.checkout.git", late) == []


def own_sessions(source: str) -> list[str]:
    """Where HTTP is spoken without a session of `edges.http`, and so without its limits and timeouts."""
    verbs = {"Session", "session", "request", "get", "head", "post", "put", "patch", "delete", "options"}
    return [
        f"line {node.lineno}: {_dotted(node.func, {})}"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and _dotted(node.func, {}) in {f"requests.{verb}" for verb in verbs}
    ]


@pytest.mark.parametrize("path", SOURCES, ids=label)
def test_one_place_makes_http_sessions(path: Path) -> None:
    assert inside(module_name(path), {"automator.edges.http"}) or own_sessions(path.read_text()) == []


def test_own_session_is_found() -> None:
    assert own_sessions("import requests\nwith requests.Session() as s:\n    s.get('x')") == [
        "line 2: requests.Session"
    ]


# -- a pure core --------------------------------------------------------------------------------------

# Modules of which the core may use a pure part only: module -> the names that are pure.
PURE_PARTS = {
    "codecs": set[str](),
    "io": {"StringIO", "BytesIO"},
    "os": {"path"},
    "pathlib": {"PurePath", "PurePosixPath"},
    "sys": {"maxsize", "intern"},
    "urllib": {"parse"},
    "warnings": set[str](),
}
IMPURE_CALLS = {"open", "print", "input", "exec", "eval", "compile", "__import__", "breakpoint", "id", "hash"}
CLOCKS = {"now", "utcnow", "today"}
CLOCK_TYPES = {"datetime.datetime", "datetime.date"}


def impurities(source: str) -> list[str]:
    """What in a core module depends on anything but its arguments, one sentence each."""
    tree = ast.parse(source)
    aliases: dict[str, str] = {}
    found = []
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                aliases |= {a.asname or a.name.split(".")[0]: a.name for a in names}
            case ast.ImportFrom(module=str(module), names=names):
                aliases |= {a.asname or a.name: f"{module}.{a.name}" for a in names}
    for line, name in imported(tree):
        top, _, rest = name.partition(".")
        if top in PURE_PARTS and rest.split(".")[0] not in PURE_PARTS[top]:
            found.append(f"line {line}: imports {name}")
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=base, attr=attr) if attr in CLOCKS:
                if _dotted(base, aliases) in CLOCK_TYPES:
                    found.append(f"line {node.lineno}: asks the clock, datetime.{attr}")
            case ast.Call(func=ast.Name(id=name)) if name in IMPURE_CALLS and name not in aliases:
                found.append(f"line {node.lineno}: calls {name}()")
            case ast.Global(names=shared):
                found.append(f"line {node.lineno}: keeps state in a global, {', '.join(shared)}")
    return found


def _dotted(node: ast.expr, aliases: dict[str, str]) -> str:
    match node:
        case ast.Name(id=name):
            return aliases.get(name, name)
        case ast.Attribute(value=base, attr=attr):
            return f"{_dotted(base, aliases)}.{attr}"
    return ""


def loose_dataclasses(source: str) -> list[str]:
    """Dataclasses that are not frozen with slots."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.ClassDef):
            continue
        for decorator in node.decorator_list:
            call = decorator.func if isinstance(decorator, ast.Call) else decorator
            if _dotted(call, {}) not in ("dataclass", "dataclasses.dataclass"):
                continue
            keywords = decorator.keywords if isinstance(decorator, ast.Call) else []
            true = {k.arg for k in keywords if isinstance(k.value, ast.Constant) and k.value.value is True}
            if not {"frozen", "slots"} <= true:
                found.append(node.name)
    return found


CORE = [p for p in SOURCES if "core" in p.relative_to(PACKAGE).parts[:1]]


@pytest.mark.parametrize("path", CORE, ids=label)
def test_core_is_pure(path: Path) -> None:
    assert impurities(path.read_text()) == []


@pytest.mark.parametrize("path", CORE, ids=label)
def test_core_values_are_frozen(path: Path) -> None:
    assert loose_dataclasses(path.read_text()) == []


@pytest.mark.parametrize(
    "source",
    [
        "from datetime import datetime\ndatetime.now()",
        "from datetime import datetime as D, UTC\nD.now(UTC)",
        "import datetime\ndatetime.datetime.utcnow()",
        "import datetime as dt\nx = dt.date.today",
        "from datetime import datetime\ndef f(clock=datetime.now): ...",
        "open('x')",
        "def f():\n    print('x')",
        "import os",
        "from os import environ",
        "import pathlib",
        "from pathlib import Path",
        "from urllib.request import urlopen",
        "import sys",
        "from io import FileIO",
        "eval('1')",
        "count = 0\ndef f():\n    global count\n    count = 1",
    ],
)
def test_impurity_is_found(source: str) -> None:
    assert len(impurities(source)) == 1


@pytest.mark.parametrize(
    "source",
    [
        "from datetime import UTC, datetime\nx = datetime(2026, 1, 1, tzinfo=UTC)",
        "def f(now, window):\n    return window.now(now)",
        "from urllib.parse import urlsplit\nfrom io import StringIO\nfrom pathlib import PurePosixPath",
        "from os.path import commonprefix",
        "def f():\n    n = 0\n    def g():\n        nonlocal n\n        n += 1\n    return g",
        "from re2 import compile\ncompile('a')",
        "import re\nre.compile('a')",
    ],
)
def test_purity_is_left_alone(source: str) -> None:
    assert impurities(source) == []


def test_loose_dataclass_is_found() -> None:
    source = "@dataclass\nclass A: ...\n@dataclass(frozen=True)\nclass B: ...\n"
    assert loose_dataclasses(source) == ["A", "B"]
    assert loose_dataclasses("@dataclass(frozen=True, slots=True)\nclass C: ...") == []


# -- a readable house -----------------------------------------------------------------------------------


def long_functions(source: str, limit: int = LONGEST_FUNCTION) -> list[str]:
    """Functions whose lines, their docstring not counted, pass the limit."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            last = node.end_lineno or node.lineno
            first = body[0].lineno if body else last
            lines = last - first + 1 + (node.body[0].lineno - node.lineno)
            if lines > limit:
                found.append(f"{node.name} has {lines} lines")
    return found


def undocumented(source: str) -> list[str]:
    """Public classes, functions and methods without a docstring.

    Properties, overloads and functions of one statement, and short methods of a class that explains
    itself, need none.
    """
    found = []

    def visit(body: list[ast.stmt], inside: str) -> None:
        for node in body:
            if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            name = f"{inside}{node.name}"
            if node.name.startswith("_"):
                continue
            if ast.get_docstring(node) is None and not _speaks_for_itself(node, SHORT if inside else 0):
                found.append(name)
            if isinstance(node, ast.ClassDef):
                visit(node.body, f"{name}.")

    visit(ast.parse(source).body, "")
    return found


def _speaks_for_itself(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, short: int) -> bool:
    if isinstance(node, ast.ClassDef):
        return False
    marks = {_dotted(d.func if isinstance(d, ast.Call) else d, {}) for d in node.decorator_list}
    lines = (node.end_lineno or node.lineno) - node.lineno + 1
    return bool(marks & {"property", "overload", "override"}) or len(node.body) == 1 or lines <= short


@pytest.mark.parametrize("path", SOURCES, ids=label)
def test_module_says_what_belongs_in_it(path: Path) -> None:
    source = path.read_text()
    assert ast.get_docstring(ast.parse(source)), "no module docstring"
    assert undocumented(source) == []


@pytest.mark.parametrize("path", SOURCES, ids=label)
def test_nothing_is_too_long_to_read(path: Path) -> None:
    source = path.read_text()
    assert label(path) in TABLES or len(source.splitlines()) <= LONGEST_MODULE
    assert long_functions(source) == []


@pytest.mark.parametrize("path", SOURCES, ids=label)
def test_names_explain_themselves(path: Path) -> None:
    vague = ("manager", "helper", "helpers", "util", "utils", "misc", "common")
    names = [path.stem]
    names += [n.name for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.ClassDef)]
    assert [n for n in names if n.lower().endswith(vague)] == []


def test_length_and_docstring_rules_can_fail() -> None:
    assert long_functions("def f():\n" + "    x = 1\n" * 61) == ["f has 62 lines"]
    assert long_functions('def f():\n    """One.\n\n' + "    Two.\n" * 70 + '    """\n    return 1\n') == []
    assert undocumented("class A:\n    def run(self):\n" + "        x = 1\n" * 12) == ["A", "A.run"]
    assert undocumented("def f():\n    x = 1\n    return x\n") == ["f"]
    assert undocumented("class _A:\n    def run(self): ...\ndef _f(): ...\n") == []


# -- honest tests -----------------------------------------------------------------------------------------


def pretences(source: str) -> list[str]:
    """Where a test would swap a part of ours, or of anybody's, for a pretended one."""
    tree = ast.parse(source)
    found = [
        f"line {line}: {name}" for line, name in imported(tree) if name.startswith(("unittest.mock", "mock"))
    ]
    found += [
        f"line {node.lineno}: monkeypatch.setattr"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr == "setattr"
        and _dotted(node, {}).startswith("monkeypatch.")
    ]
    return found


@pytest.mark.parametrize("path", TESTS, ids=label)
def test_tests_use_real_parts(path: Path) -> None:
    assert pretences(path.read_text()) == []


def test_pretence_is_found() -> None:
    assert (
        len(
            pretences(
                "from unittest.mock import patch\ndef f(monkeypatch):\n    monkeypatch.setattr(a, 'b', 1)"
            )
        )
        == 2
    )
    assert pretences("def f(monkeypatch):\n    monkeypatch.setenv('A', 'b')") == []
