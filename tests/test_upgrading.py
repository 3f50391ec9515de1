"""What outlives a process carries a version, and docs/upgrading.md tells which; an unknown one is refused."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from parts.receivers import SECRET, inbox
from parts.world import World, until

import automator
from automator.app.deliveries import Deliveries
from automator.core import record
from automator.core.notice import Item, Kind
from automator.core.noticetext import message, message_text, webhook_body
from automator.edges.notify import WebhookReceiver
from automator.edges.store import DATABASE, Posted, Store, opening
from automator.reasons import CODES, Reason

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/upgrading.md").read_text()
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()
NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
ROWS = {
    cells[0]: cells[1:]
    for line in PAGE.splitlines()
    if line.startswith("| ") and len(cells := [c.strip() for c in line.strip("|").split("|")]) == 5
}


def number(row: str) -> int:
    return int(ROWS[row][1])


def test_the_page_tells_the_formats_that_the_program_writes() -> None:
    schema = json.loads((ROOT / "docs/schema/policy.schema.json").read_text())
    policies = number("policy files, `_freeze.yaml`, `_rules.yaml`")
    assert schema["properties"]["version"]["const"] == policies
    assert schema["$id"] == f"urn:automator:schema:policy:{number('JSON Schemas of policies')}"
    assert number("release records in commits") == record.FORMAT
    assert number("state folder") == opening.FORMAT
    told = message("shop", (Item(Kind.TROUBLE, "a", "a", "a"),), NOON, salt="x")
    assert json.loads(webhook_body(told))["version"] == number("messages to webhooks")
    assert f"/api/v{number('the API')}" in ROWS["the API"][0]


def test_every_code_of_the_page_is_one() -> None:
    named = set(re.findall(r"`([a-z]+/[a-z-]+)`", PAGE))
    assert named
    assert named <= CODES.keys()


def test_this_version_has_its_notes_and_its_section() -> None:
    assert f"\n### {automator.__version__}\n" in PAGE
    section = CHANGELOG.partition(f"\n## [{automator.__version__}]")[2].partition("\n## [")[0]
    assert re.search(r"^### (Added|Changed|Fixed|Security|Removed|Deprecated)\n\n- \S", section, re.M)


def test_nothing_stands_twice_in_the_change_log_nor_waits_behind_a_version_that_is_not_out() -> None:
    told = [" ".join(item.split()) for item in re.split(r"^(?=- |#)", CHANGELOG, flags=re.M)]
    items = [item for item in told if item.startswith("- ")]
    assert len(items) > 50
    assert [item for item in set(items) if items.count(item) > 1] == []
    later, _, version = CHANGELOG.partition("\n## [Unreleased]\n")[2].partition("\n## [")
    assert not (later.strip() and version.partition("\n")[0].endswith("not yet released"))


# -- the state folder ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["once", "status"])
def test_a_newer_state_folder_is_refused_with_a_sentence_and_left_alone(tmp_path: Path, command: str) -> None:
    world = World(tmp_path, "127.0.0.1:9")
    Store.open(world.state).close()
    file = world.state / DATABASE
    with sqlite3.connect(file) as database:
        database.execute(f"PRAGMA user_version = {opening.FORMAT + 1}")
    database.close()
    before = file.read_bytes()
    done = world.run(command)
    assert done.code == 2
    assert "was written by a newer automator (format 2, this one reads 1)" in done.err
    assert "delete the file: only waiting times start again" in done.err
    assert file.read_bytes() == before


def test_a_message_of_another_version_is_dropped_and_told_and_stops_no_other(tmp_path: Path) -> None:
    told: list[Reason] = []
    good = message("shop", (Item(Kind.TROUBLE, "later", "later", "later"),), NOON, salt="hook")
    with Store.open(tmp_path / "state") as store, inbox() as hook:
        (tmp_path / "hook-token").write_text(SECRET)
        foreign = Posted("hook", "1", json.dumps({"version": 2, "waves": ["one"]}))
        store.post([foreign, Posted("hook", good.id, message_text(good))], (), NOON)
        receiver = WebhookReceiver(hook.url, 600.0, secret_file=str(tmp_path / "hook-token"))
        sending = Deliveries(store, {"hook": receiver}, lambda: NOON, told.append)
        sending.start()
        until(lambda: store.waiting_messages() == {}, "an end of the queue")
        assert sending.close(20)
        assert [item["subject"] for item in hook.items()] == ["later"]
    assert [why.code for why in told] == ["notify/refused"]
    assert "another version of automator wrote it" in told[0].sentence


# -- the config ----------------------------------------------------------------------------------------------


def test_a_config_of_a_newer_version_is_refused_by_the_key_that_is_not_known(tmp_path: Path) -> None:
    world = World(tmp_path, "127.0.0.1:9")
    world.configure(more="[waves]\nfirst = 10\n")
    done = world.run("once")
    assert done.code == 2
    assert "waves" in done.err
    assert not world.state.exists()


# -- which version runs --------------------------------------------------------------------------------------


def test_the_version_is_told_alike_wherever_it_is_asked_for(tmp_path: Path) -> None:
    world = World(tmp_path, "127.0.0.1:9")
    told = {
        world.run(*options).fine().out for options in (["--version"], ["-V"], ["-o", "json", "--version"])
    }
    assert told == {f"automator {automator.__version__} (YAML scanner: libyaml)\n"}


def test_without_its_scanner_written_in_c_it_says_so(tmp_path: Path) -> None:
    """Found out without loading YAML, and without being able to load it."""
    code = (
        "import sys, sysconfig; sys.path.remove(sysconfig.get_path('purelib')); sys.argv[1:] = ['--version'];"
        f"sys.path.insert(0, {str(ROOT)!r}); from automator.__main__ import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == f"automator {automator.__version__} (YAML scanner: pure)\n"
