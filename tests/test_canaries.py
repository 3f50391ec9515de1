"""The search for secrets can fail: little runs of pytest whose tests leak, each in another way."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from parts.canaries import FORMS, MARK, told

TESTS = Path(__file__).parent

OPENING = """\
import base64, logging, sqlite3, subprocess
from pathlib import Path
from parts.canaries import secret

"""

LEAKS = {
    "a log": "def test_it(tmp_path):\n    (tmp_path / 'run.log').write_text('token ' + secret('x'))\n",
    "deep down": (
        "def test_it(tmp_path):\n    (tmp_path / 'a/b').mkdir(parents=True)\n"
        "    (tmp_path / 'a/b/big').write_bytes(b'x' * 3_000_000 + secret('x').encode())\n"
    ),
    "base64 in a database": (
        "def test_it(tmp_path):\n    db = sqlite3.connect(tmp_path / 'state.db')\n"
        "    db.execute('create table t (x)')\n"
        "    login = base64.b64encode(('robot:' + secret('x')).encode()).decode()\n"
        "    db.execute('insert into t values (?)', (login,))\n    db.commit()\n    db.close()\n"
    ),
    "a commit": (
        "def test_it(tmp_path):\n    for line in (['init', '-q'], ['add', '.'], ['commit', '-qm', 'x']):\n"
        "        (tmp_path / 'file').write_text(secret('x'))\n"
        "        subprocess.run(['git', *line], cwd=tmp_path, check=True)\n"
        "    (tmp_path / 'file').unlink()\n"
    ),
    "a pack": (
        "def test_it(tmp_path):\n    for line in (['init', '-q'], ['add', '.'], ['commit', '-qm', 'x'],\n"
        "                 ['gc', '-q'], ['rm', '-qf', 'file']):\n"
        "        if line[0] in ('init', 'add'):\n            (tmp_path / 'file').write_text(secret('x'))\n"
        "        subprocess.run(['git', *line], cwd=tmp_path, check=True)\n"
    ),
    "the home": "def test_it():\n    (Path.home() / 'x.log').write_text(secret('x'))\n",
    "what it printed": "def test_it():\n    print(secret('x'))\n",
    "what it logged": "def test_it():\n    logging.getLogger('x').warning(secret('x'))\n",
}

FINE = """\
def test_it(tmp_path):
    (tmp_path / "password").write_text(secret("x"))
    (tmp_path / "run.log").write_text("logged in by the password in ./password")
    print("nothing to see")
"""


class Ended(NamedTuple):
    code: int
    out: str


@pytest.fixture
def run() -> Callable[..., Ended]:
    """Runs pytest with the search on a file of tests, its folders outside those of this run."""

    def run_tests(text: str, *options: str) -> Ended:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "home").mkdir()
            (folder / "test_leak.py").write_text(OPENING + text)
            (folder / "pytest.ini").write_text(f"[pytest]\npythonpath = {TESTS}\n")
            (folder / "conftest.py").write_text(
                "import os\nfrom pathlib import Path\nfrom parts import canaries\n\n"
                "def pytest_configure(config):\n"
                "    os.environ['HOME'] = str(Path(__file__).parent / 'home')\n"
                "    config.pluginmanager.register(canaries)\n"
            )
            done = subprocess.run(
                [
                    sys.executable,
                    "-m",
                    "pytest",
                    "-q",
                    "-p",
                    "no:cacheprovider",
                    f"--basetemp={name}/t",
                    *options,
                ],
                cwd=folder,
                env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},  # loading them takes longest
                capture_output=True,
                text=True,
                check=False,
            )
        return Ended(done.returncode, done.stdout)

    return run_tests


@pytest.mark.parametrize("leak", LEAKS)
def test_a_leak_fails_the_run_and_is_named(run: Callable[..., Ended], leak: str) -> None:
    ended = run(LEAKS[leak])
    assert ended.code == 1, _hidden(ended.out)
    assert "test_it" in ended.out
    assert "secrets were written" in ended.out or "a secret was told" in ended.out


def test_workers_of_a_parallel_run_search_too(run: Callable[..., Ended]) -> None:
    assert run(LEAKS["a log"], "-p", "xdist", "-n", "2").code == 1


def test_files_that_are_there_to_hold_a_secret_may_hold_it(run: Callable[..., Ended]) -> None:
    ended = run(FINE)
    assert ended.code == 0, _hidden(ended.out)


@pytest.mark.parametrize("before", range(6))
def test_base64_is_found_wherever_the_secret_begins(before: int) -> None:
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        assert told(encode(b"x" * before + MARK.encode() + b" and more")) is not None
    assert told(base64.b64encode(b"x" * before + b"nothing of the kind")) is None
    assert min(map(len, FORMS)) >= 12, "short pieces would be found by chance"


def _hidden(text: str) -> str:
    """As this run may print it."""
    return text.replace(MARK, "(the mark)")
