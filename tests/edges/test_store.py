"""The local memory: what survives a restart, a second daemon, damage and a newer version."""

import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import zlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automator.core.reference import Image, Repository, TagList
from automator.core.report import Outcome, Report
from automator.edges.store import DATABASE, Store
from automator.errors import ConfigError
from automator.reasons import CODES, Reason, Status, reason

WEB = Repository("ghcr.io", "acme/web")
NOON = datetime(2026, 11, 20, 12, 0, 0, 123456, tzinfo=UTC)
LATER = NOON + timedelta(hours=1)
DIGEST = "sha256:" + "a" * 64


def tags(*names: str, at: datetime = NOON, repository: Repository = WEB) -> TagList:
    return TagList(repository, names, at, revision=",".join(names))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "state") as store:
        yield store


def a_report(repo: str = "shop", status: Status = Status.CURRENT) -> Report:
    why = reason("released/pushed", before="1.4.2", after="1.4.3", commit="abc")
    outcome = Outcome("web", status, why, str(WEB), sites=("apps/web.yaml#image",))
    return Report(repo, "interval", NOON, LATER, "abc", None, (outcome,))


# -- tags ----------------------------------------------------------------------------------------


def test_tag_list_comes_back_whole_after_a_restart(tmp_path: Path) -> None:
    told = tags("1.4.2", "latest", "1.4.3")
    with Store.open(tmp_path) as store:
        store.save_tag_list(told)
    with Store.open(tmp_path) as store:
        assert store.tag_list(WEB) == told
        assert store.tag_list(Repository("ghcr.io", "acme/other")) is None


def test_an_empty_list_is_not_no_list(store: Store) -> None:
    store.save_tag_list(TagList(WEB, (), NOON, "r"))
    assert store.tag_list(WEB) == TagList(WEB, (), NOON, "r")
    store.save_tag_list(tags("1.0.0", at=LATER))
    assert store.first_seen(WEB, "1.0.0") == LATER


def test_same_list_again_only_moves_its_time(store: Store) -> None:
    store.save_tag_list(tags("1", "2"))
    store.save_tag_list(tags("1", "2", at=LATER))
    listed = store.tag_list(WEB)
    assert listed is not None
    assert listed.observed_at == LATER
    assert store.first_seen(WEB, "1") == NOON


def test_first_seen_is_the_first_list_for_old_tags_and_the_arrival_for_new_ones(store: Store) -> None:
    store.save_tag_list(tags("1", "2"))
    store.save_tag_list(tags("1", "2", "3", at=LATER))
    store.save_tag_list(tags("1", "2", "3", "4", at=LATER + timedelta(hours=1)))
    assert [store.first_seen(WEB, t) for t in "123"] == [NOON, NOON, LATER]
    assert store.first_seen(WEB, "5") is None
    assert store.first_seen(Repository("x.io", "y"), "1") is None


@pytest.mark.parametrize("first", [("1", "2"), ("1",)])
def test_a_tag_that_vanished_counts_from_its_return(store: Store, first: tuple[str, ...]) -> None:
    store.save_tag_list(tags(*first))
    store.save_tag_list(tags("1", "2", at=NOON + timedelta(minutes=1)))
    store.save_tag_list(tags("1", at=NOON + timedelta(minutes=2)))
    assert store.first_seen(WEB, "2") is None
    store.save_tag_list(tags("1", "2", at=LATER))
    assert store.first_seen(WEB, "2") == LATER


def test_many_lists_are_kept_at_once_or_not_at_all(store: Store) -> None:
    others = [Repository("ghcr.io", f"acme/{n}") for n in range(5)]
    store.save_tag_lists(tags("1", repository=r) for r in others)
    assert all(store.tag_list(r) for r in others)

    def broken() -> Iterator[TagList]:
        yield tags("2", repository=others[0], at=LATER)
        raise RuntimeError("in between")

    with pytest.raises(RuntimeError):
        store.save_tag_lists(broken())
    assert store.tag_list(others[0]) == tags("1", repository=others[0])


TAG = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,20}", fullmatch=True)


@given(st.lists(st.lists(TAG, unique=True, max_size=6), min_size=1, max_size=6))
def test_first_seen_is_the_start_of_the_last_unbroken_stay(lists: list[list[str]]) -> None:
    with tempfile.TemporaryDirectory() as folder, Store.open(Path(folder)) as store:
        for hour, names in enumerate(lists):
            store.save_tag_list(tags(*names, at=NOON + timedelta(hours=hour)))
        for tag in {t for names in lists for t in names}:
            stay = 0
            while stay < len(lists) and tag in lists[-1 - stay]:
                stay += 1
            since = NOON + timedelta(hours=len(lists) - stay) if stay else None
            assert store.first_seen(WEB, tag) == since


# -- images --------------------------------------------------------------------------------------


def test_a_look_at_a_tag_is_kept(store: Store) -> None:
    image = Image(DIGEST, NOON, "https://example.com/src", "4b1c")
    store.save_image(WEB, "1", image)
    assert store.image(WEB, "1") == image
    assert store.image_by_digest(DIGEST) == image
    assert store.image(WEB, "2") is None


def test_a_look_that_found_no_time_is_kept_too(store: Store) -> None:
    store.save_image(WEB, "1", Image(DIGEST))
    assert store.image(WEB, "1") == Image(DIGEST)


def test_a_known_build_time_is_never_forgotten(store: Store) -> None:
    store.save_image(WEB, "1", Image(DIGEST, NOON))
    store.save_image(WEB, "2", Image(DIGEST))
    assert store.image(WEB, "2") == Image(DIGEST, NOON)


def test_a_tag_that_vanished_is_looked_up_again_but_its_digest_is_known(store: Store) -> None:
    store.save_tag_list(tags("1", "2"))
    store.save_image(WEB, "2", Image(DIGEST, NOON))
    store.save_tag_list(tags("1"))
    assert store.image(WEB, "2") is None
    assert store.image_by_digest(DIGEST) == Image(DIGEST, NOON)


# -- reports -------------------------------------------------------------------------------------

TIMES = st.timedeltas(timedelta(0), timedelta(days=36_500)).map(lambda after: NOON + after)
TEXT = st.text(max_size=12)


@st.composite
def reasons(draw: st.DrawFn) -> Reason:
    code = draw(st.sampled_from(sorted(CODES)))
    row = CODES[code]
    names = sorted(
        {part.split("}")[0] for text in (row.sentence, row.next_step) for part in text.split("{")[1:]}
    )
    return Reason(code, tuple((name, draw(TEXT)) for name in names), draw(st.none() | TIMES))


OUTCOMES = st.builds(
    Outcome,
    workload=TEXT,
    status=st.sampled_from(Status),
    reason=reasons(),
    image=TEXT,
    current=st.none() | TEXT,
    target=st.none() | TEXT,
    commit=st.none() | TEXT,
    owner=st.none() | TEXT,
    environment=st.none() | TEXT,
    sites=st.lists(TEXT, max_size=3).map(tuple),
)
REPORTS = st.builds(
    Report,
    repo=st.just("shop"),
    trigger=TEXT,
    started_at=TIMES,
    finished_at=TIMES,
    head=st.none() | TEXT,
    pushed=st.none() | TEXT,
    outcomes=st.lists(OUTCOMES, max_size=4).map(tuple),
    warnings=st.lists(reasons(), max_size=2).map(tuple),
    patches=st.just(()),
    error=st.none() | reasons(),
)


@given(st.lists(REPORTS, min_size=1, max_size=3))
def test_last_report_is_the_one_saved_last(reports: list[Report]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        with Store.open(Path(folder)) as store:
            for report in reports:
                store.save_report(report)
                assert store.last_report("shop") == report
        with Store.open(Path(folder)) as store:
            assert store.last_report("shop") == reports[-1]


def test_each_config_repo_has_its_own_last_report(store: Store) -> None:
    store.save_report(a_report("shop"))
    store.save_report(a_report("staging", Status.HELD))
    store.save_report(replace(a_report("shop"), head="def"))
    shop, staging = store.last_report("shop"), store.last_report("staging")
    assert shop is not None
    assert staging is not None
    assert (shop.head, staging.outcomes[0].status) == ("def", Status.HELD)
    assert store.last_report("other") is None


def test_a_report_with_a_code_of_another_version_is_no_report(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        store.save_report(a_report())
    with sqlite3.connect(tmp_path / DATABASE) as file:
        (packed,) = file.execute("SELECT outcomes FROM report").fetchone()
        text = zlib.decompress(packed).replace(b"released/pushed", b"released/magic")
        file.execute("UPDATE report SET outcomes = ?", (zlib.compress(text),))
    file.close()
    with Store.open(tmp_path) as store:
        assert store.last_report("shop") is None


# -- refusals and the rest -----------------------------------------------------------------------


def test_a_refusal_answers_only_the_same_question(store: Store) -> None:
    store.save_refusal("shop", "web", "key 1", "protected branch", NOON)
    assert store.refusal("shop", "web", "key 1") == ("protected branch", NOON)
    assert store.refusal("shop", "web", "key 2") is None
    assert store.refusal("shop", "api", "key 1") is None
    store.save_refusal("shop", "web", "key 2", "again", LATER)
    assert store.refusal("shop", "web", "key 1") is None
    assert store.refusal("shop", "web", "key 2") == ("again", LATER)


def test_bytes_under_a_kind_and_a_key(store: Store) -> None:
    store.put("index", "k", b"\x00\xff")
    assert store.get("index", "k") == b"\x00\xff"
    assert store.get("other", "k") is None
    store.put("index", "k", None)
    assert store.get("index", "k") is None


def test_threads_share_a_store(store: Store) -> None:
    failures: list[Exception] = []

    def work(number: int) -> None:
        try:
            for turn in range(20):
                store.save_image(WEB, f"{number}-{turn}", Image(f"sha256:{number:032}{turn:032}", NOON))
                assert store.image(WEB, f"{number}-{turn}") is not None
        except Exception as error:  # noqa: BLE001 - handed to the main thread
            failures.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


# -- the state folder ----------------------------------------------------------------------------

HOLDER = """
import sys
from pathlib import Path
from automator.edges.store import Store
store = Store.open(Path(sys.argv[1]))
print("open", flush=True)
sys.stdin.read()
"""


def holder(folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    return process


def test_a_second_daemon_is_kept_out_until_the_first_is_gone(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        with pytest.raises(ConfigError) as caught:
            Store.open(tmp_path)
        assert caught.value.reason.code == "state/locked"
        assert f"process {process.pid}" in caught.value.reason.sentence
        process.send_signal(signal.SIGKILL)
        process.wait()
        Store.open(tmp_path).close()


def test_reading_only_works_beside_a_running_daemon_and_changes_nothing(tmp_path: Path) -> None:
    with Store.open(tmp_path) as daemon:
        daemon.save_report(a_report())
        daemon.save_tag_list(tags("1"))
        with Store.open(tmp_path, read_only=True) as reader:
            assert reader.last_report("shop") == a_report()
            reader.save_tag_list(tags("1", "2", at=LATER))
            assert reader.first_seen(WEB, "2") == LATER
        assert daemon.tag_list(WEB) == tags("1")


def test_reading_only_where_nothing_is_yet(tmp_path: Path) -> None:
    with Store.open(tmp_path / "none", read_only=True) as reader:
        assert reader.last_report("shop") is None
        reader.save_report(a_report())
    assert not (tmp_path / "none").exists()


def test_reading_only_a_file_that_is_only_just_made(tmp_path: Path) -> None:
    (tmp_path / DATABASE).touch()
    with Store.open(tmp_path, read_only=True) as reader:
        assert reader.last_report("shop") is None


def test_reading_only_what_one_may_not_read_says_so(tmp_path: Path) -> None:
    (tmp_path / DATABASE).mkdir()
    with pytest.raises(ConfigError) as caught:
        Store.open(tmp_path, read_only=True)
    assert caught.value.reason.code == "state/unusable"


READER = """
import os, sys
from pathlib import Path
from automator.edges.store import Store
if os.geteuid() == 0:
    os.seteuid(65534)
with Store.open(Path(sys.argv[1]), read_only=True) as store:
    print(store.get("kind", "key"))
"""


def test_reading_only_from_a_folder_one_may_not_write() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with Store.open(folder) as store:
            store.put("kind", "key", b"value")
        (folder / DATABASE).chmod(0o444)
        folder.chmod(0o555)
        read = subprocess.run(
            [sys.executable, "-c", READER, name], capture_output=True, text=True, timeout=60, check=False
        )
        folder.chmod(0o700)
    assert read.stdout == "b'value'\n", read.stderr


def test_a_database_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    Store.open(tmp_path).close()
    with sqlite3.connect(tmp_path / DATABASE) as file:
        file.execute("PRAGMA user_version = 99")
    file.close()
    for read_only in (False, True):
        with pytest.raises(ConfigError) as caught:
            Store.open(tmp_path, read_only=read_only)
        assert caught.value.reason.code == "state/newer"
    with sqlite3.connect(tmp_path / DATABASE) as file:
        assert file.execute("PRAGMA user_version").fetchone() == (99,)
    file.close()


def test_a_folder_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError) as caught:
        Store.open(tmp_path / "file" / "state")
    assert caught.value.reason.code == "state/unusable"
    assert str(tmp_path / "file" / "state") in caught.value.reason.sentence


# -- damage --------------------------------------------------------------------------------------


def filled(folder: Path) -> Path:
    with Store.open(folder) as store:
        store.save_tag_lists(tags("1", "2", repository=Repository("x.io", f"y/{n}")) for n in range(500))
    return folder / DATABASE


@pytest.mark.parametrize(
    "harm",
    [
        lambda raw: b"this is no database" * 100,
        lambda raw: raw[: len(raw) // 2],
        lambda raw: raw[:4096] + bytes(len(raw) - 4096),
        lambda raw: raw[:100] + os.urandom(len(raw) - 100),
    ],
    ids=["text", "cut", "zeroes", "noise"],
)
def test_a_damaged_database_is_kept_aside_and_begun_again_loudly(tmp_path: Path, harm: object) -> None:
    file = filled(tmp_path)
    harmed = harm(file.read_bytes())  # type: ignore[operator]
    file.write_bytes(harmed)
    warnings: list[Reason] = []
    with Store.open(tmp_path, warn=warnings.append) as store:
        # Some damage shows only where a page is read.
        for n in range(500):
            store.tag_list(Repository("x.io", f"y/{n}"))
        store.save_tag_list(tags("1"))
        assert store.tag_list(WEB) == tags("1")
    assert [w.code for w in warnings] == ["state/damaged"]
    assert (tmp_path / f"{DATABASE}.damaged").exists()
    with Store.open(tmp_path, warn=warnings.append) as store:
        assert store.tag_list(WEB) == tags("1")
    assert len(warnings) == 1


def test_reading_only_leaves_a_damaged_database_where_it_is(tmp_path: Path) -> None:
    file = filled(tmp_path)
    file.write_bytes(b"this is no database" * 100)
    warnings: list[Reason] = []
    with Store.open(tmp_path, read_only=True, warn=warnings.append) as reader:
        assert reader.tag_list(WEB) is None
    assert [w.code for w in warnings] == ["state/damaged"]
    assert file.read_bytes().startswith(b"this is no database")


def test_a_tag_list_whose_bytes_rotted_is_not_believed(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        store.save_tag_list(tags("1", "2"))
    with sqlite3.connect(tmp_path / DATABASE) as file:
        file.execute("UPDATE tag_list SET tags = x'00'")
    file.close()
    with Store.open(tmp_path) as store:
        assert store.tag_list(WEB) is None
        assert store.first_seen(WEB, "1") is None
        store.save_tag_list(tags("1", "2", at=LATER, repository=WEB))


def test_killed_in_the_midst_of_writing_it_holds_what_was_saved(tmp_path: Path) -> None:
    script = (
        "import sys\nfrom pathlib import Path\nfrom datetime import datetime, UTC\n"
        "from automator.edges.store import Store\nstore = Store.open(Path(sys.argv[1]))\nn = 0\n"
        "while True:\n    store.put('n', str(n), b'x' * 5000)\n    print(n, flush=True)\n    n += 1\n"
    )
    for _ in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            said = [writer.stdout.readline() for _ in range(50)][-1]
            writer.kill()
        with Store.open(tmp_path) as store:
            assert store.get("n", said.strip()) == b"x" * 5000


# -- sites -----------------------------------------------------------------------------------------

A_BLOB = ("a" * 40, "web.yaml")
ANOTHER = ("b" * 40, "kustomization.yaml")


def test_sites_come_back_after_a_restart_under_the_mark_they_were_kept_under(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        assert store.kept_sites("shop", "1").texts == {}
        store.keep_sites("shop", "1", "frame", [(A_BLOB, "[]"), (ANOTHER, "1")], ())
        store.keep_sites("shop", "1", "later", [(A_BLOB, "[1]")], [ANOTHER])
    with Store.open(tmp_path) as store:
        assert store.kept_sites("shop", "1") == ("later", {A_BLOB: "[1]"})
        assert store.kept_sites("shop", "2") == ("", {})
        assert store.kept_sites("other", "1") == ("", {})
        store.keep_sites("shop", "2", "new", [(ANOTHER, "[2]")], ())
        assert store.kept_sites("shop", "2") == ("new", {ANOTHER: "[2]"})
        assert store.kept_sites("shop", "1") == ("", {})


def test_sites_are_kept_for_each_config_repo_and_only_for_those_that_are(store: Store) -> None:
    for repo in ("shop", "stage"):
        store.keep_sites(repo, "1", repo, [(A_BLOB, repo)], ())
    store.keep_sites_only_of(["stage"])
    assert store.kept_sites("shop", "1") == ("", {})
    assert store.kept_sites("stage", "1") == ("stage", {A_BLOB: "stage"})


def test_damaged_sites_are_forgotten_with_one_line_and_all_else_stays(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        store.save_tag_list(tags("1.4.2"))
        store.keep_sites("shop", "1", "frame", [(A_BLOB, "[]"), (ANOTHER, "[]")], ())
    with sqlite3.connect(tmp_path / DATABASE) as connection:
        connection.execute("UPDATE sites SET text = x'ffff'")
    connection.close()
    told: list[Reason] = []
    with Store.open(tmp_path, warn=told.append) as store:
        assert store.kept_sites("shop", "1") == ("", {})
        assert [why.code for why in told] == ["state/sites-damaged"]
        assert store.tag_list(WEB) == tags("1.4.2")
        store.keep_sites("shop", "1", "frame", [(A_BLOB, "[]")], ())
        assert store.kept_sites("shop", "1") == ("frame", {A_BLOB: "[]"})
    assert len(told) == 1


def test_a_database_from_before_sites_were_kept_is_used_as_it_is(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        store.save_tag_list(tags("1.4.2"))
    with sqlite3.connect(tmp_path / DATABASE) as connection:
        connection.execute("DROP TABLE sites")
    connection.close()
    with Store.open(tmp_path, read_only=True) as store:
        assert store.kept_sites("shop", "1") == ("", {})
    with Store.open(tmp_path) as store:
        store.keep_sites("shop", "1", "frame", [(A_BLOB, "[]")], ())
        assert store.tag_list(WEB) == tags("1.4.2")


def test_a_copy_for_reading_has_the_sites_and_keeps_nothing(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        store.keep_sites("shop", "1", "frame", [(A_BLOB, "[]")], ())
        with Store.open(tmp_path, read_only=True) as copy:
            copy.keep_sites("shop", "1", "mine", [(ANOTHER, "[]")], [A_BLOB])
            assert copy.kept_sites("shop", "1") == ("mine", {ANOTHER: "[]"})
        assert store.kept_sites("shop", "1") == ("frame", {A_BLOB: "[]"})


# -- what runtimes said ------------------------------------------------------------------------------

MINUTE = timedelta(minutes=1)


def kept(store: Store, workload: str | None = "web") -> list[tuple[str, str]]:
    return [(runtime, text) for _, runtime, text in store.rollouts("shop main", workload)]


def test_what_runtimes_said_comes_back_after_a_restart_the_newest_first(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        store.save_look("shop main", "eu", NOON, [("web", NOON, "1.4.2"), ("api", NOON, "2.0")])
        store.save_look("shop main", "eu", LATER, [("web", LATER, "1.4.3 pending")])
        store.save_look("shop main", "eu", LATER + MINUTE, [("web", LATER, "1.4.3 deployed")])
        store.save_look("shop main", "us", NOON, ())
        store.save_look("shop next", "eu", NOON, [("web", NOON, "another branch")])
    with Store.open(tmp_path) as store:
        assert kept(store) == [("eu", "1.4.3 deployed"), ("eu", "1.4.2")]
        assert sorted(kept(store, None)) == [("eu", "1.4.3 deployed"), ("eu", "2.0")]
        assert store.runtimes_answered("shop main") == {"eu": LATER + MINUTE, "us": NOON}


def test_a_version_that_a_wrong_clock_dated_later_is_not_the_newest_for_ever(store: Store) -> None:
    store.save_look("shop main", "eu", LATER, [("web", LATER, "1.4.2, from the future")])
    store.save_look("shop main", "eu", NOON, [("web", NOON, "1.4.3")])
    assert kept(store) == [("eu", "1.4.3")]


def test_of_each_workload_and_runtime_the_last_hundred_versions_are_kept(store: Store) -> None:
    for i in range(102):
        store.save_look("shop main", "eu", NOON, [("web", NOON + i * MINUTE, str(i))])
    store.save_look("shop main", "us", NOON, [("web", NOON, "alone")])
    found = kept(store)
    assert len(found) == 101
    assert ("eu", "2") in found
    assert ("eu", "1") not in found
    assert ("us", "alone") in found
