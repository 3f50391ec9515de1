"""Secrets of the tests carry a mark, and everything that a run writes is searched for it at the end.

A pytest plugin: what a test prints or logs is searched when the test ends, and every file below the
run's temporary folders and its home when the run ends, Git's objects unpacked. A secret belongs into
the files that are named in `HOLDERS`, and into no other.
"""

from __future__ import annotations

import base64
import contextlib
import fnmatch
import mmap
import os
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

MARK = "canary-s3cret"
HOLDERS = (
    "htpasswd",
    "*password*",
    "pass word",
    "secret",
    "*-token",
    "*.token",
    "token",
    "kubeconfig*",
    "config.json",
    "docker.json",
    "auth.json",
    ".dockerconfigjson",
    "docker-credential-*",
)
"""Names of files whose purpose is to hold a secret: the ones that people hand to the program."""
PIECE = 1 << 20


def secret(what: str) -> str:
    """A secret of the tests that says what it opens: a leak names itself."""
    return f"{MARK}-{what}"


def _forms(mark: bytes) -> tuple[bytes, ...]:
    """The mark, and what base64 makes of it wherever in a text it begins."""
    forms = [mark]
    for before in range(3):
        code = base64.b64encode(b"\0" * before + mark)
        first = -(-before * 8 // 6)  # characters that also tell of what stands before
        last = (before + len(mark)) * 8 // 6
        forms.append(code[first:last])
    return tuple(forms)


FORMS = _forms(MARK.encode())


def told(content: bytes | mmap.mmap) -> str | None:
    """The surroundings of a secret in `content`, if there is one."""
    for form in FORMS:
        at = content.find(form)
        if at >= 0:
            return bytes(content[max(0, at - 40) : at + 60]).decode(errors="backslashreplace")
    return None


class Leak(NamedTuple):
    """A secret where none belongs."""

    where: str
    text: str

    def __str__(self) -> str:
        return f"{self.where}: …{self.text!r}…"


# -- files ------------------------------------------------------------------------------------------


def leaks(folder: Path) -> Iterator[Leak]:
    """The files below `folder` that hold a secret and are not meant to."""
    for place, folders, names in os.walk(folder):
        if place.endswith("/objects/pack") and any(name.endswith(".pack") for name in names):
            yield from _in_objects(Path(place).parent.parent)
        for name in names:
            path = Path(place, name)
            if any(fnmatch.fnmatchcase(name, holder) for holder in HOLDERS):
                continue
            with contextlib.suppress(OSError):  # gone, or no file
                if path.is_file() and not path.is_symlink() and (text := _in_file(path)) is not None:
                    yield Leak(str(path), text)
        folders.sort()


def _in_file(path: Path) -> str | None:
    size = path.stat().st_size
    if not size:
        return None
    if len(path.name) == 38 and len(path.parent.name) == 2:  # one of Git's loose objects
        with contextlib.suppress(zlib.error):
            return told(zlib.decompress(path.read_bytes()))
    if size < PIECE:
        return told(path.read_bytes())
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return told(content)


def _in_objects(git_folder: Path) -> Iterator[Leak]:
    """What is packed in a Git repository, as Git itself reads it."""
    done = subprocess.run(
        ["git", f"--git-dir={git_folder}", "cat-file", "--batch", "--batch-all-objects", "--buffer"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,  # broken ones belong to tests of their own
    )
    if (text := told(done.stdout)) is not None:
        yield Leak(f"{git_folder} (packed)", text)


# -- the plugin -------------------------------------------------------------------------------------

_tests: dict[Path, str] = {}
"""Which test had which folder."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """A test that printed or logged a secret has failed."""
    report: pytest.TestReport = yield  # type: ignore[misc,assignment]
    folder = getattr(item, "funcargs", {}).get("tmp_path")
    if folder is not None:
        _tests[folder] = item.nodeid
    for name, text in report.sections:
        found = told(text.encode(errors="replace"))
        if found is not None and report.passed:
            report.outcome = "failed"
            report.longrepr = f"a secret was told: {Leak(f'{name} of {item.nodeid}', found)}"
    return report  # type: ignore[return-value]


@pytest.fixture(scope="session", autouse=True)
def no_secret_is_written(
    tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[None]:
    """Fails the run when a file holds a secret that it is not meant to hold."""
    assert pytestconfig.getini("tmp_path_retention_policy") == "all", "what was deleted cannot be searched"
    yield
    found = [*leaks(tmp_path_factory.getbasetemp()), *leaks(Path.home())]
    if found:
        pytest.fail("secrets were written:\n" + "\n".join(map(_with_test, found)), pytrace=False)


def _with_test(leak: Leak) -> str:
    tests = [name for folder, name in _tests.items() if leak.where.startswith(f"{folder}/")]
    return f"{leak} ({', '.join(tests) or 'a shared folder'})"
