"""The audit says "fine" only of what was really audited; the SBOM is the lock, and nothing else."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import packaging
import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.utils import canonicalize_name

import automator
from deploy.supply import audit, sbom
from deploy.supply.lockfile import BadLock, Pin, read_lock

ROOT = Path(__file__).parents[1]
VERSIONS = {"alpha": "1.0", "beta-two": "2.1.post1", "gamma": "3.0", "delta": "4.4", "epsilon": "5.0"}


def digest(name: str) -> str:
    return sha256(name.encode()).hexdigest()


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    """Five packages; the first one needs the second."""
    text = "# of a test\n"
    for name, version in VERSIONS.items():
        text += f"{name}=={version} \\\n    --hash=sha256:{digest(name)} \\\n"
        text += f"    --hash=sha256:{digest(name * 2)}\n    # via"
        text += " alpha\n" if name == "beta-two" else "\n    #   automator (pyproject.toml)\n"
    file = tmp_path / "lock.txt"
    file.write_text(text)
    return file


def release(name: str, **also: Any) -> dict[str, Any]:
    """What an index says of a release."""
    return {
        "info": {"name": name.replace("-", "_"), "version": VERSIONS[name], "yanked": False},
        "urls": [{"digests": {"sha256": digest(name * 2)}}, {"digests": {"sha256": digest("another file")}}],
        "vulnerabilities": [],
        **also,
    }


def weak(pin: Pin, *advisories: str) -> bytes:
    """What an index says of a release with these advisories."""
    answer = {
        "info": {"name": pin.name, "version": pin.version},
        "urls": [{"digests": {"sha256": pin.hashes[0]}}],
        "vulnerabilities": [{"id": f"PYSEC-{name}", "aliases": [name]} for name in advisories],
    }
    return json.dumps(answer).encode()


WEAKNESS = {
    "id": "PYSEC-2026-7", "aliases": ["CVE-2026-4711"], "fixed_in": ["3.0.1"],
    "summary": "Reads past\nthe end\x1b[2J", "withdrawn": None,
}  # fmt: skip


class Index:
    """A package index on this machine that answers as it is told."""

    def __init__(self) -> None:
        self.pages: dict[str, tuple[int, bytes]] = {}
        self.asked: list[str] = []
        self.cut = ""
        """The package whose answers break off."""
        index = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                index.asked.append(self.path)
                status, body = index.pages.get(self.path, (404, b"not here"))
                self.send_response(status)
                more = 10 if index.cut and f"/{index.cut}/" in self.path else 0
                self.send_header("Content-Length", str(len(body) + more))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/mirror/pypi"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def say(self, name: str, answer: Any, status: int = 200) -> None:
        body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.pages[f"/mirror/pypi/{name}/{VERSIONS[name]}/json"] = status, body

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def index() -> Iterator[Index]:
    """One that knows every package, nothing against any of the lock, and what everybody knows."""
    made = Index()
    for name in VERSIONS:
        made.say(name, release(name))
    for pin, advisory in audit.WEAK:
        made.pages[f"/mirror/pypi/{pin.name}/{pin.version}/json"] = 200, weak(pin, advisory)
    yield made
    made.close()


@pytest.fixture
def audited(lock: Path, index: Index, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs the audit; gives its exit code and what it printed."""

    def run(*options: str) -> tuple[int, str]:
        code = audit.main([str(lock), "--source", index.url, *options])
        return code, capsys.readouterr().out

    return run


# -- the audit ---------------------------------------------------------------------------------------------


def test_it_is_fine_where_every_package_is_answered_for(audited: Any, index: Index) -> None:
    assert audited() == (0, "5 of 5 locked packages audited\n")
    first = {page for page in index.pages if any(pin.name in page for pin, _ in audit.WEAK)}
    assert index.asked[0] in first
    assert sorted(index.asked[1:]) == sorted(set(index.pages) - first)


def test_a_package_that_the_source_does_not_know_is_not_audited(audited: Any, index: Index) -> None:
    del index.pages["/mirror/pypi/delta/4.4/json"]
    code, told = audited()
    assert code == 2
    assert "not audited, the source answered 404: delta 4.4\n" in told
    assert told.endswith("4 of 5 locked packages audited\nnot audited\n")


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"<html>sign in first</html>", "the answer is no JSON"),
        (b"[" * 100_000, "the answer is no JSON"),
        (b'{"info": ' + b" " * (audit.ANSWER_READ) + b"{}}", "the answer is too large"),
        ([], "the answer describes no release"),
        (release("gamma"), "the answer is about gamma 3.0"),
        (release("delta", info={"name": "delta", "version": "4.5"}), "the answer is about delta 4.5"),
        (release("delta", urls=[]), "the answer knows none of the locked files"),
        (
            release("delta", urls=[{"digests": {"sha256": digest("forged")}}]),
            "the answer knows none of the locked files",
        ),
        (release("delta", vulnerabilities=None), "the answer has no list of advisories"),
        (release("delta", vulnerabilities=["CVE-2026-1"]), "the answer has no list of advisories"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_answer_that_proves_nothing_is_no_audit(audited: Any, index: Index, answer: Any, why: str) -> None:
    index.say("delta", answer)
    code, told = audited()
    assert code == 2
    assert f"not audited, {why}: delta 4.4\n" in told


def test_a_source_that_nobody_serves_is_told(lock: Path, capsys: pytest.CaptureFixture[str]) -> None:
    closed = Index()
    closed.close()
    assert audit.main([str(lock), "--source", closed.url]) == 2
    assert capsys.readouterr().out == "not audited: the source does not answer (ConnectionError)\n"


def test_a_source_without_advisories_is_found_out_by_a_few_questions(audited: Any, index: Index) -> None:
    """A mirror that serves files and no descriptions."""
    index.pages.clear()
    code, told = audited()
    assert code == 2
    assert told.startswith("not audited: the source does not tell what everybody knows of urllib3 1.24.1 (")
    assert told.count("the source answered 404") == len(index.asked) == len(audit.WEAK)


@pytest.mark.parametrize("advisories", [(), ("CVE-2026-1",)], ids=["none", "another one"])
def test_a_source_that_knows_every_file_and_no_advisory_audits_nothing(
    audited: Any, index: Index, advisories: tuple[str, ...]
) -> None:
    """A mirror that fills the list of advisories with nothing, or with something."""
    for pin, _ in audit.WEAK:
        index.pages[f"/mirror/pypi/{pin.name}/{pin.version}/json"] = 200, weak(pin, *advisories)
    code, told = audited()
    assert code == 2
    assert "urllib3 1.24.1 (CVE-2019-11324 is not in its list)" in told
    assert len(index.asked) == len(audit.WEAK)


def test_a_mirror_may_lack_one_of_the_weak_releases(audited: Any, index: Index) -> None:
    pin, _ = audit.WEAK[0]
    del index.pages[f"/mirror/pypi/{pin.name}/{pin.version}/json"]
    assert audited() == (0, "5 of 5 locked packages audited\n")


@pytest.mark.parametrize("where", ["delta", "urllib3"])
def test_an_answer_that_breaks_off_is_no_audit_and_no_crash(audited: Any, index: Index, where: str) -> None:
    index.cut = where
    code, told = audited()
    assert code == 2
    assert "the source does not answer (" in told
    assert "audited" in told.splitlines()[-1]


def test_a_known_weakness_fails_and_is_one_printable_line(audited: Any, index: Index) -> None:
    index.say("gamma", release("gamma", vulnerabilities=[WEAKNESS]))
    code, told = audited()
    assert code == 1
    words = "KNOWN: gamma 3.0: PYSEC-2026-7, CVE-2026-4711: Reads past the end [2J (fixed in 3.0.1)\n"
    assert told == f"{words}5 of 5 locked packages audited\n"


def test_a_weakness_fails_though_something_else_is_not_audited(audited: Any, index: Index) -> None:
    index.say("gamma", release("gamma", vulnerabilities=[WEAKNESS]))
    index.say("delta", b"", 500)
    code, told = audited()
    assert code == 1
    assert told.endswith("not audited\n")


def test_only_what_was_accepted_by_name_or_was_withdrawn_passes(audited: Any, index: Index) -> None:
    index.say("gamma", release("gamma", vulnerabilities=[WEAKNESS]))
    index.say("alpha", release("alpha", vulnerabilities=[{**WEAKNESS, "withdrawn": "2026-11-01T00:00:00Z"}]))
    assert audited("--accept", "CVE-2026-1")[0] == 1
    code, told = audited("--accept", "CVE-2026-4711")
    assert code == 0
    assert "accepted: gamma 3.0: PYSEC-2026-7" in told
    assert "alpha" not in told


def test_a_release_that_was_taken_back_is_told(audited: Any, index: Index) -> None:
    info = {"name": "alpha", "version": "1.0", "yanked": True, "yanked_reason": "broken"}
    index.say("alpha", release("alpha", info=info))
    code, told = audited()
    assert code == 0
    assert "taken back by its makers: alpha 1.0: broken\n" in told


def test_pip_tells_which_index_is_asked_and_its_password_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "https://ci:s3cret@mirror.example.com/python/simple/")
    assert audit.pips_own() == "https://mirror.example.com/python/pypi"


# -- locks -------------------------------------------------------------------------------------------------


def test_a_lock_is_read_whole_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "lock.txt"
    pin = f"alpha==1.0 \\\n    --hash=sha256:{digest('alpha')}\n"
    for text in ("", "alpha==1.0\n", pin + "beta>=2\n", pin * 2, pin + "-e .\n", pin.replace("1.0", "new")):
        file.write_text(text)
        with pytest.raises(BadLock):
            read_lock(file)
    file.write_text(pin.replace("1.0", '1.0 ; sys_platform == "win32"') + "    # via beta[big]\n")
    marked = Pin("alpha", "1.0", (digest("alpha"),), 'sys_platform == "win32"', ("beta",))
    assert read_lock(file) == (marked,)


@pytest.mark.parametrize("file", audit.LOCKS, ids=lambda p: p.name)
def test_every_lock_is_understood(file: Path) -> None:
    text = file.read_text()
    assert sum(len(pin.hashes) for pin in read_lock(file)) == text.count("--hash=")
    assert {"runtime.txt", "dev.txt", "build.txt"} <= {path.name for path in audit.LOCKS}


# -- the SBOM ----------------------------------------------------------------------------------------------


def test_the_sbom_has_each_package_of_the_lock_once_with_its_hashes(tmp_path: Path) -> None:
    out = tmp_path / "dist" / "sbom.json"
    assert sbom.main(["--output", str(out)]) == 0
    made = json.loads(out.read_text())
    text = (ROOT / "locks" / "runtime.txt").read_text()
    locked = {
        f"pkg:pypi/{canonicalize_name(name)}@{version}": set(re.findall(r"sha256:([0-9a-f]{64})", hashes))
        for name, version, hashes in re.findall(r"^(\S+)==(\S+) .*\n((?:    --hash.*\n)+)", text, re.M)
    }
    found = {part["purl"]: {h["content"] for h in part["hashes"]} for part in made["components"]}
    assert found == locked
    assert len(made["components"]) == len(locked) == text.count("==")
    assert all(part["purl"].endswith(f"/{part['name']}@{part['version']}") for part in made["components"])
    assert made["metadata"]["component"]["version"] == automator.__version__


def test_the_sbom_is_what_its_standard_says_and_the_same_each_time(tmp_path: Path) -> None:
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    for file in (first, second):
        assert sbom.main(["--output", str(file)]) == 0
    assert first.read_bytes() == second.read_bytes()
    assert JsonStrictValidator(SchemaVersion.V1_5).validate_str(first.read_text()) is None
    made = json.loads(first.read_text())
    spoilt = json.dumps({**made, "components": [{"type": "library"}]})
    assert JsonStrictValidator(SchemaVersion.V1_5).validate_str(spoilt) is not None


def test_the_sbom_says_who_needs_whom(lock: Path) -> None:
    made = sbom.bill(read_lock(lock))
    needs = {edge["ref"]: edge["dependsOn"] for edge in made["dependencies"]}
    assert needs["pkg:pypi/alpha@1.0"] == ["pkg:pypi/beta-two@2.1.post1"]
    itself = made["metadata"]["component"]["bom-ref"]
    assert len(needs[itself]) == len(VERSIONS) - 1
    assert {part["bom-ref"] for part in made["components"]} | {itself} == set(needs)
    other = sbom.bill(read_lock(lock)[1:])
    assert other["serialNumber"] != made["serialNumber"] == sbom.bill(read_lock(lock))["serialNumber"]


@pytest.mark.parametrize("lock", audit.LOCKS, ids=lambda p: p.name)
def test_the_sbom_of_a_lock_is_the_same_whatever_is_installed(lock: Path, tmp_path: Path) -> None:
    """Made where each of its packages is installed, and where none is that it does not need itself."""
    wanted = "packaging"
    libraries = tmp_path / "libraries"
    libraries.mkdir()
    (libraries / wanted).symlink_to(Path(packaging.__file__).parent)
    everything = tmp_path / "everything"
    for pin in read_lock(lock):
        told = everything / f"{pin.name.replace('-', '_')}-{pin.version}.dist-info"
        told.mkdir(parents=True)
        (told / "METADATA").write_text(
            f"Metadata-Version: 2.4\nName: {pin.name}\nVersion: {pin.version}\nLicense-Expression: MIT\n"
        )
    made = [
        subprocess.run(
            [sys.executable, "-S", "-m", "deploy.supply.sbom", "--lock", str(lock)],
            cwd=ROOT, env={"PYTHONPATH": os.pathsep.join(map(str, (libraries, *more)))},
            capture_output=True, text=True, timeout=60, check=True,
        ).stdout
        for more in ((), (everything,))
    ]  # fmt: skip
    assert made[0] == made[1]
    assert len(json.loads(made[0])["components"]) == len(read_lock(lock))


def test_no_sbom_is_written_of_a_lock_that_is_not_understood(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "lock.txt"
    bad.write_text("alpha==1.0\n")
    out = tmp_path / "sbom.json"
    assert sbom.main(["--lock", str(bad), "--output", str(out)]) == 2
    assert not out.exists()
    assert "no SBOM: lock.txt" in capsys.readouterr().err


# -- make --------------------------------------------------------------------------------------------------


def recipe(target: str, tmp_path: Path) -> str:
    """What `make TARGET` would do, where nothing is installed yet."""
    outer = {name: text for name, text in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(
        ["make", "--no-print-directory", "--dry-run", target, f"VENV={tmp_path / 'venv'}"],
        cwd=ROOT, env=outer, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert not (tmp_path / "venv").exists()
    return done.stdout


def test_the_audit_is_asked_for_by_its_name_and_never_by_the_tests(tmp_path: Path) -> None:
    assert "-m deploy.supply.audit" in recipe("audit", tmp_path)
    for target in ("test", "test-slow", "check", "dist"):
        assert "deploy.supply.audit" not in recipe(target, tmp_path)


def test_there_is_an_sbom_for_automator_and_each_extra(tmp_path: Path) -> None:
    told = recipe("sbom", tmp_path)
    extras = {path.stem for path in (ROOT / "locks").glob("extra-*.txt")}
    assert all(name in told for name in {"runtime", *extras})
