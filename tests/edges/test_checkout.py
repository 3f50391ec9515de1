"""The config repo through real git: what is read, what is written, who wins a race."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from parts.gitserver import ALL, BareRepo, fsck, git
from parts.gitsteps import BOT, NOON, children, fetched, release

from automator.core.release import Draft
from automator.edges.checkout import Checkout, Entry, Identity, Landed, Lost, Refused, Remote
from automator.errors import CheckoutError


@pytest.fixture
def repo(tmp_path: Path) -> BareRepo:
    files = {"apps/web.yaml": "image: web:1.0.0\n", "run.sh": "echo hi\n", "README.md": "hello\n"}
    repo = BareRepo.create(tmp_path / "server" / "config.git")
    repo.commit(files, "Initial commit", modes={"run.sh": "100755"})
    return repo


@pytest.fixture
def checkout(repo: BareRepo, tmp_path: Path) -> Iterator[Checkout]:
    with opened(repo, tmp_path) as checkout:
        yield checkout


def opened(repo: BareRepo, tmp_path: Path, *, deadline: float = 60.0) -> Checkout:
    return Checkout(tmp_path / "state" / "config", Remote(str(repo.path)), deadline=deadline)


def code(caught: pytest.ExceptionInfo[CheckoutError]) -> str:
    return caught.value.reason.code


# -- reading ----------------------------------------------------------------------------------------


def test_a_fresh_clone_reads_the_branch_as_it_is(repo: BareRepo, checkout: Checkout) -> None:
    tip = fetched(checkout)
    assert tip == repo.tip()
    tree = checkout.tree(tip)
    assert list(tree) == ["README.md", "apps/web.yaml", "run.sh"]
    assert tree["run.sh"].mode == "100755"
    texts = dict(checkout.blobs([tree["README.md"].oid, tree["apps/web.yaml"].oid]))
    assert list(texts.values()) == [b"hello\n", b"image: web:1.0.0\n"]
    assert fsck(checkout._folder) == ""


def test_links_and_submodules_are_told_apart_from_files(repo: BareRepo, checkout: Checkout) -> None:
    commit = repo.tip()
    assert commit
    repo.commit({"link": "README.md", "sub": commit}, modes={"link": "120000", "sub": "160000"})
    tree = checkout.tree(fetched(checkout))
    assert tree["sub"] == Entry("160000", commit)
    assert [path for path, entry in tree.items() if not entry.is_file] == ["link", "sub"]


def test_an_unmoved_branch_costs_one_process_and_a_moved_one_few(repo: BareRepo, checkout: Checkout) -> None:
    fetched(checkout)
    before = checkout.processes
    fetched(checkout)
    assert checkout.processes - before == 1
    repo.commit({"README.md": "new\n"})
    before = checkout.processes
    fetched(checkout)
    assert checkout.processes - before <= 3


def test_a_restart_fetches_nothing_that_is_here(repo: BareRepo, tmp_path: Path) -> None:
    with opened(repo, tmp_path) as first:
        tip = fetched(first)
    shutil.move(repo.path, repo.path.with_name("gone.git"))
    with opened(repo, tmp_path) as second:
        second.fetch(tip)
        assert "README.md" in second.tree(tip)


def test_changes_name_what_differs_between_two_tips(repo: BareRepo, checkout: Checkout) -> None:
    old = fetched(checkout)
    repo.commit(
        {"README.md": None, "apps/a b.yaml": "x: 1\n", "run.sh": "echo ho\n"}, modes={"run.sh": "100755"}
    )
    new = fetched(checkout)
    before, after = checkout.tree(old), checkout.tree(new)
    assert checkout.changes(old, new) == tuple(
        (path, before.get(path), after.get(path)) for path in ("README.md", "apps/a b.yaml", "run.sh")
    )
    with pytest.raises(CheckoutError) as caught:
        checkout.changes("1" * 40, new)
    assert code(caught) == "git/no-commit"


def test_large_blobs_are_skipped_and_the_others_still_arrive(repo: BareRepo, checkout: Checkout) -> None:
    large = os.urandom(3_000_000)
    repo.commit(
        {"a.bin": large, "b.yaml": "b\n", "c.bin": b"\n" * 1_500_000, "d.yaml": "", "e.yaml": "x" * 100}
    )
    tree = checkout.tree(fetched(checkout))
    names = {entry.oid: path for path, entry in tree.items()}
    order = [tree[name].oid for name in ("a.bin", "b.yaml", "c.bin", "d.yaml", "e.yaml")]
    texts = {names[oid]: content for oid, content in checkout.blobs(order, limit=100)}
    assert texts == {"a.bin": None, "b.yaml": b"b\n", "c.bin": None, "d.yaml": b"", "e.yaml": b"x" * 100}
    assert dict(checkout.blobs(order, limit=3_000_000))[order[0]] == large


def test_ten_thousand_blobs_come_from_one_process(repo: BareRepo, checkout: Checkout) -> None:
    repo.commit({f"apps/{n % 50}/{n}.yaml": f"n: {n}\n" + "x" * (n % 700) for n in range(10_000)})
    tree = checkout.tree(fetched(checkout))
    oids = [entry.oid for path, entry in tree.items() if path.startswith("apps/") and path != "apps/web.yaml"]
    before = checkout.processes
    contents = [content for _, content in checkout.blobs(oids)]
    assert checkout.processes - before == 1
    assert {int(content.split(b"\n")[0][3:]) for content in contents if content} == set(range(10_000))


def test_a_reader_that_stops_early_leaves_no_process(repo: BareRepo, checkout: Checkout) -> None:
    repo.commit({f"{n}.bin": os.urandom(200_000) for n in range(40)})
    tree = checkout.tree(fetched(checkout))
    reading = checkout.blobs([entry.oid for entry in tree.values()])
    next(reading)
    assert children()
    reading.close()  # type: ignore[attr-defined]
    assert not children()


def test_a_branch_that_somebody_rewound_or_replaced_is_followed(repo: BareRepo, checkout: Checkout) -> None:
    first = repo.tip()
    assert first
    repo.commit({"README.md": "wrong\n"})
    wrong = fetched(checkout)
    repo.set_tip(first)
    assert fetched(checkout) == first
    assert dict(checkout.blobs([checkout.tree(first)["README.md"].oid])).popitem()[1] == b"hello\n"
    other = repo.commit({"README.md": "other\n"}, "Another line", base=first)
    assert fetched(checkout) == other
    assert not checkout.is_ancestor(wrong, other)
    assert checkout.is_ancestor(first, other)


# -- history ----------------------------------------------------------------------------------------


def test_history_says_who_changed_which_file(repo: BareRepo, checkout: Checkout) -> None:
    hostile = "Release web 1.1.0\n\n:100644 100644 not a raw line\n\nRelease-To: 1.1.0\n"
    one = repo.commit({"apps/web.yaml": "image: web:1.1.0\n"}, hostile, author="Zoë Ünal")
    repo.commit({"README.md": "x\n"}, "Elsewhere")
    two = repo.commit({"apps/web.yaml": None}, "Drop web", author="Bob B")
    tip = fetched(checkout)
    checkout.deepen(ALL)
    log = checkout.file_log(tip, ["apps/web.yaml"])
    assert log.complete
    assert [(c.commit, c.author, c.path) for c in log.changes[:2]] == [
        (two, "Bob B", "apps/web.yaml"),
        (one, "Zoë Ünal", "apps/web.yaml"),
    ]
    assert log.changes[1].message == hostile
    assert log.changes[0].after is None
    assert log.changes[0].before == log.changes[1].after
    assert log.changes[2].before is None
    assert log.changes[0].time > log.changes[1].time


def test_a_shallow_clone_does_not_take_its_edge_for_history(repo: BareRepo, checkout: Checkout) -> None:
    for number in range(1, 6):
        repo.commit({"apps/web.yaml": f"image: web:1.0.{number}\n"}, f"Set {number}")
    tip = fetched(checkout)
    assert checkout.is_shallow()
    log = checkout.file_log(tip, ["apps/web.yaml", "README.md"])
    assert (log.changes, log.complete) == ((), False)
    checkout.deepen(2)
    log = checkout.file_log(tip, ["apps/web.yaml", "README.md"])
    assert ([c.message for c in log.changes], log.complete) == (["Set 5", "Set 4"], False)
    # A file that never existed still has an unknown past.
    assert not checkout.file_log(tip, ["no-such-file"]).complete
    checkout.deepen(ALL)
    assert not checkout.is_shallow()
    log = checkout.file_log(tip, ["apps/web.yaml"])
    assert ([c.message for c in log.changes], log.complete) == (
        ["Set 5", "Set 4", "Set 3", "Set 2", "Set 1", "Initial commit"],
        True,
    )
    assert fsck(checkout._folder) == ""


def test_history_can_be_continued_from_an_older_tip(repo: BareRepo, checkout: Checkout) -> None:
    old = fetched(checkout)
    repo.commit({"apps/web.yaml": "image: web:2\n"}, "Two")
    repo.commit({"apps/web.yaml": "image: web:3\n"}, "Three")
    tip = fetched(checkout)
    log = checkout.file_log(tip, ["apps/web.yaml"], since=old)
    assert ([c.message for c in log.changes], log.complete) == (["Three", "Two"], True)
    log = checkout.file_log(tip, ["apps/web.yaml"], since=old, limit=1)
    assert ([c.message for c in log.changes], log.complete) == (["Three"], False)
    repo.commit({"README.md": "other\n"}, "Replaced", base=old)
    replaced = fetched(checkout)
    with pytest.raises(CheckoutError) as caught:
        checkout.file_log(replaced, ["apps/web.yaml"], since=tip)
    assert code(caught) == "git/rewound"


def test_a_merge_counts_as_what_it_brought_to_the_branch(
    repo: BareRepo, checkout: Checkout, tmp_path: Path
) -> None:
    work = tmp_path / "work"
    git(tmp_path, "clone", "--quiet", str(repo.path), str(work))
    git(work, "checkout", "--quiet", "-b", "topic")
    for number in (2, 3):
        (work / "apps/web.yaml").write_text(f"image: web:{number}\n")
        git(work, "commit", "--quiet", "-am", f"Side {number}")
    git(work, "checkout", "--quiet", "main")
    git(work, "merge", "--quiet", "--no-ff", "-m", "Merge topic", "topic")
    git(work, "push", "--quiet", "origin", "main")
    tip = fetched(checkout)
    checkout.deepen(ALL)
    log = checkout.file_log(tip, ["apps/web.yaml"])
    assert [c.message.strip() for c in log.changes] == ["Merge topic", "Initial commit"]
    assert [e.message.strip() for e in checkout.log(tip)] == ["Merge topic", "Initial commit"]
    assert len(next(checkout.log(tip)).parents) == 2


def test_many_paths_and_odd_names_are_one_question(repo: BareRepo, checkout: Checkout) -> None:
    odd = ["--all", "*.yaml", ":(glob)x", "späße.yaml", 'quo"te\\.yaml', " lead", "caf\udce9.yaml"]
    repo.commit(dict.fromkeys(odd, "1\n"), "Odd")
    repo.commit({"plain.yaml": "1\n"}, "Plain")
    tip = fetched(checkout)
    checkout.deepen(ALL)
    before = checkout.processes
    log = checkout.file_log(tip, [*odd, *(f"none/{n}.yaml" for n in range(3000))])
    assert checkout.processes - before == 2  # one for the files, one for who pulled
    assert {c.path for c in log.changes} == set(odd)
    assert {c.message for c in log.changes} == {"Odd"}


def test_the_log_finds_releases_by_their_text(repo: BareRepo, checkout: Checkout) -> None:
    repo.commit({"a": "1"}, "Release web 1\n\nRelease-Format: 1\n")
    repo.commit({"a": "2"}, "By hand")
    repo.commit({"a": "3"}, "Release web 3\n\nRelease-Format: 1\n")
    tip = fetched(checkout)
    checkout.deepen(ALL)
    subjects = [e.message.splitlines()[0] for e in checkout.log(tip, grep="Release-Format: 1")]
    assert subjects == ["Release web 3", "Release web 1"]
    assert next(checkout.log(tip, limit=1)).message.startswith("Release web 3")


# -- writing ----------------------------------------------------------------------------------------


def test_a_release_lands_as_one_plain_commit(repo: BareRepo, checkout: Checkout) -> None:
    base = fetched(checkout)
    before = checkout.processes
    commit = release(checkout, base, "1.1.0")
    assert checkout.push(commit, expected=base) == Landed(commit)
    assert checkout.processes - before == 2
    assert repo.tip() == commit
    assert git(repo.path, "diff", "--numstat", base, commit) == "1\t1\tapps/web.yaml"
    shown = git(repo.path, "log", "-1", "--format=%an <%ae>|%cn|%cI|%B", commit)
    assert shown == "automator <bot@example.org>|automator|2026-11-21T12:00:00+00:00|Release web 1.1.0\n"[:-1]
    assert "Release" in repo.fsck() or repo.fsck() == ""
    before = checkout.processes
    assert fetched(checkout) == commit
    assert checkout.processes - before == 1, "our own commit need not be fetched"


def test_a_chain_lands_in_one_push_and_repeats_exactly(
    repo: BareRepo, checkout: Checkout, tmp_path: Path
) -> None:
    base = fetched(checkout)
    drafts = [
        Draft("One", (("apps/web.yaml", b"image: web:2\r\n"), ("run.sh", b"\xef\xbb\xbfecho\n"))),
        Draft(
            "Two\n\nwith a body\nand - lines\n", (("apps/web.yaml", b"image: web:3"), ("new/späße.yaml", b""))
        ),
    ]
    made = checkout.commit(base, drafts, when=NOON, author=BOT)
    assert checkout.commit(base, drafts, when=NOON, author=BOT) == made
    assert isinstance(checkout.push(made[-1], expected=base), Landed)
    assert repo.log() == ["Two", "One", "Initial commit"]
    assert git(repo.path, "ls-tree", "-r", "-z", "main").split("\0")[3].startswith("100755 blob")
    tree = checkout.tree(made[1])
    assert tree["run.sh"].mode == "100755"
    assert tree["new/späße.yaml"].mode == "100644"
    assert dict(checkout.blobs([tree["apps/web.yaml"].oid])) == {tree["apps/web.yaml"].oid: b"image: web:3"}
    repo.fsck()


@given(
    name=st.text(
        st.characters(exclude_characters="/", exclude_categories=("Cc", "Cs")), min_size=1, max_size=40
    ).filter(lambda name: name not in (".", "..") and name.lower() != ".git"),
    content=st.binary(max_size=2000),
    message=st.text(st.characters(exclude_categories=("Cs",)), max_size=300),
)
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_path_content_and_message_survive(
    repo: BareRepo, checkout: Checkout, name: str, content: bytes, message: str
) -> None:
    base = fetched(checkout)
    path = f"dir/{name}" if len(name.encode()) < 200 else "dir/x"
    (commit,) = checkout.commit(base, [Draft(message, ((path, content),))], when=NOON, author=BOT)
    assert [c.path for c in checkout.changes(base, commit)] == [path]
    oid = checkout.tree(commit)[path].oid
    assert dict(checkout.blobs([oid])) == {oid: content}
    stored = next(checkout.log(commit, limit=1)).message
    assert stored.rstrip("\n") == message.replace("\0", "").rstrip("\n")


@pytest.mark.parametrize(
    "path",
    [
        "a\nb",
        "a\tb",
        "a\x7fb",
        "/abs",
        "a//b",
        "../up",
        "a/./b",
        ".git/config",
        "a/.GIT/x",
        "",
        "link",
        "apps",
    ],
)
def test_a_path_that_is_no_plain_file_is_refused(repo: BareRepo, checkout: Checkout, path: str) -> None:
    repo.commit({"link": "README.md"}, modes={"link": "120000"})
    base = fetched(checkout)
    with pytest.raises(CheckoutError) as caught:
        checkout.commit(base, [Draft("m", ((path, b"x"),))], when=NOON, author=BOT)
    assert code(caught) == "git/bad-path"
    assert not caught.value.retry
    assert not children()


def test_names_cannot_break_out_of_the_author_line(repo: BareRepo, checkout: Checkout) -> None:
    base = fetched(checkout)
    bad = Identity("Eve <x@y> 1 +0000\ncommitter Eve", "e>v\ne@example.org")
    (commit,) = checkout.commit(base, [Draft("m", (("README.md", b"x"),))], when=NOON, author=bad)
    assert isinstance(checkout.push(commit, expected=base), Landed)
    assert (
        git(repo.path, "log", "-1", "--format=%an|%ae", commit)
        == "Eve x@y 1 +0000committer Eve|eve@example.org"
    )


# -- races and refusals -----------------------------------------------------------------------------


def test_a_lost_race_is_told_apart_and_changes_nothing(repo: BareRepo, checkout: Checkout) -> None:
    base = fetched(checkout)
    ours = release(checkout, base, "1.1.0")
    theirs = repo.commit({"README.md": "theirs\n"}, "Theirs")
    assert isinstance(checkout.push(ours, expected=base), Lost)
    assert repo.tip() == theirs
    tip = fetched(checkout)
    again = release(checkout, tip, "1.1.0")
    assert isinstance(checkout.push(again, expected=tip), Landed)
    assert repo.log() == ["Release web 1.1.0", "Theirs", "Initial commit"]


def test_a_known_foreign_commit_is_a_lost_race_too(repo: BareRepo, checkout: Checkout) -> None:
    base = fetched(checkout)
    repo.commit({"README.md": "theirs\n"}, "Theirs")
    fetched(checkout)
    assert isinstance(checkout.push(release(checkout, base, "1.1.0"), expected=base), Lost)


def test_a_rewound_branch_is_not_wound_forward_again(repo: BareRepo, checkout: Checkout) -> None:
    first = repo.tip()
    assert first
    repo.commit({"README.md": "wrong\n"}, "Wrong")
    base = fetched(checkout)
    ours = release(checkout, base, "1.1.0")
    repo.set_tip(first)
    assert isinstance(checkout.push(ours, expected=base), Lost)
    assert repo.tip() == first


def test_a_race_inside_the_server_is_a_lost_race(repo: BareRepo, checkout: Checkout) -> None:
    base = fetched(checkout)
    theirs = repo.commit({"README.md": "theirs\n"}, "Theirs")
    repo.set_tip(base)
    # The other push lands between the server's greeting and its own update.
    repo.hook("update", f"unset GIT_QUARANTINE_PATH; git update-ref refs/heads/main {theirs}")
    assert isinstance(checkout.push(release(checkout, base, "1.1.0"), expected=base), Lost)
    assert repo.tip() == theirs


def test_a_commit_that_does_not_descend_is_never_pushed(repo: BareRepo, checkout: Checkout) -> None:
    first = fetched(checkout)
    other = release(checkout, first, "1.1.0")
    repo.commit({"README.md": "theirs\n"}, "Theirs")
    tip = fetched(checkout)
    with pytest.raises(CheckoutError) as caught:
        checkout.push(other, expected=tip)
    assert code(caught) == "git/rewound"
    assert repo.tip() == tip


def test_a_hook_that_refuses_is_quoted(repo: BareRepo, checkout: Checkout) -> None:
    repo.hook("pre-receive", "echo 'policy: no releases on \033[31mSaturday\033[0m' >&2; exit 1")
    base = fetched(checkout)
    result = checkout.push(release(checkout, base, "1.1.0"), expected=base)
    assert isinstance(result, Refused)
    assert "pre-receive hook declined" in result.words
    assert "no releases on" in result.words
    assert result.words.isprintable()
    assert repo.tip() == base


def test_one_refused_commit_does_not_stop_the_next(repo: BareRepo, checkout: Checkout) -> None:
    repo.hook(
        "update", 'git log --format=%s "$2..$3" | grep -q 6.6.6 && { echo "no 6.6.6" >&2; exit 1; }; exit 0'
    )
    base = fetched(checkout)
    assert isinstance(checkout.push(release(checkout, base, "6.6.6"), expected=base), Refused)
    assert isinstance(checkout.push(release(checkout, base, "6.6.7"), expected=base), Landed)
    assert repo.log() == ["Release web 6.6.7", "Initial commit"]


def test_pushing_what_landed_already_is_fine(repo: BareRepo, checkout: Checkout) -> None:
    base = fetched(checkout)
    ours = release(checkout, base, "1.1.0")
    assert isinstance(checkout.push(ours, expected=base), Landed)
    assert isinstance(checkout.push(ours, expected=ours), Landed)


def test_hooks_and_settings_of_this_machine_do_not_reach_our_git(repo: BareRepo, tmp_path: Path) -> None:
    script = f"""
import sys
from pathlib import Path
sys.path[:0] = {sys.path!r}
from automator.edges.checkout import Checkout, Remote
folder, remote = Path({str(tmp_path / "state" / "config")!r}), Remote({str(repo.path)!r})
with Checkout(folder, remote, deadline=60) as checkout:
    tip = checkout.ask_tip()
    checkout.fetch(tip)
    print(tip)
"""
    hostile = {
        **os.environ,
        "GIT_DIR": "/nowhere",
        "GIT_OBJECT_DIRECTORY": "/nowhere",
        "GIT_TRACE": "1",
        "GIT_CONFIG_PARAMETERS": "'core.sshCommand'='false'",
        "GIT_PROTOCOL_FROM_USER": "0",
        "GIT_ALLOW_PROTOCOL": "",
    }
    done = subprocess.run(
        [sys.executable, "-c", script], env=hostile, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == repo.tip(), done.stderr


# -- accidents --------------------------------------------------------------------------------------


def test_a_missing_or_empty_branch_is_named(repo: BareRepo, tmp_path: Path) -> None:
    empty = BareRepo.create(tmp_path / "server" / "empty.git")
    for remote, expected in (
        (Remote(str(repo.path), branch="nope"), "git/no-branch"),
        (Remote(str(empty.path)), "git/empty"),
        (Remote(str(tmp_path / "none.git")), "git/not-found"),
    ):
        with Checkout(tmp_path / "state" / "x", remote, deadline=60) as checkout:
            with pytest.raises(CheckoutError) as caught:
                checkout.ask_tip()
            assert code(caught) == expected
            assert not caught.value.retry


def test_what_a_killed_git_left_is_swept_away(repo: BareRepo, tmp_path: Path) -> None:
    with opened(repo, tmp_path) as checkout:
        fetched(checkout)
    clone = tmp_path / "state" / "config"
    leftovers = [
        "shallow.lock",
        "refs/automator/tip.lock",
        "refs/automator/made.lock",
        "packed-refs.lock",
        "objects/pack/tmp_pack_x",
        "fast_import_crash_1",
    ]
    for name in leftovers:
        (clone / name).write_bytes(b"half")
    tip = repo.commit({"README.md": "new\n"})
    with opened(repo, tmp_path) as checkout:
        assert fetched(checkout) == tip
        release(checkout, tip, "1.1.0")
        assert not any((clone / name).exists() for name in leftovers)


@pytest.mark.parametrize("wound", ["objects", "pack", "refs", "HEAD", "blob", "config", "everything"])
def test_a_damaged_clone_is_made_anew(repo: BareRepo, tmp_path: Path, wound: str) -> None:
    clone = tmp_path / "state" / "config"
    with opened(repo, tmp_path) as checkout:
        oid = checkout.tree(fetched(checkout))["README.md"].oid
    match wound:
        case "everything":
            shutil.rmtree(clone)
        case "objects":
            shutil.rmtree(clone / "objects")
        case "pack":
            packed = [*(clone / "objects/pack").glob("*.pack")]
            if not packed:  # so small a clone is kept loose
                git(clone, "repack", "-a", "-d", "--quiet")
                packed = [*(clone / "objects/pack").glob("*.pack")]
            for pack in packed:
                pack.chmod(0o644)
                os.truncate(pack, pack.stat().st_size // 2)
        case "refs":
            (clone / "refs/automator/tip").write_text("1" * 40 + "\n")
        case "HEAD":
            (clone / "HEAD").write_bytes(b"")
        case "config":
            (clone / "config").write_bytes(b"[core\n")
        case "blob":
            loose = clone / "objects" / oid[:2] / oid[2:]
            loose.chmod(0o644)
            loose.write_bytes(b"garbage")
    errors: list[str] = []
    with opened(repo, tmp_path) as checkout:
        for _ in range(3):
            try:
                tip = fetched(checkout)
                content = dict(checkout.blobs([checkout.tree(tip)["README.md"].oid])).popitem()[1]
                break
            except CheckoutError as error:
                errors.append(error.reason.code)
        assert content == b"hello\n"
        assert set(errors) <= {"git/damaged"}
        assert fsck(checkout._folder) == ""
        commit = release(checkout, tip, "1.1.0")
        assert isinstance(checkout.push(commit, expected=tip), Landed)


def test_a_full_disk_is_an_error_and_the_next_run_goes_on(repo: BareRepo, tmp_path: Path) -> None:
    repo.commit({"large.bin": os.urandom(2_000_000)})
    script = f"""
import resource, sys
from pathlib import Path
sys.path[:0] = {sys.path!r}
from automator.edges.checkout import Checkout, Remote
from automator.errors import CheckoutError
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
folder, remote = Path({str(tmp_path / "state" / "config")!r}), Remote({str(repo.path)!r})
with Checkout(folder, remote, deadline=60) as checkout:
    try:
        checkout.fetch(checkout.ask_tip())
    except CheckoutError as error:
        print(error.reason.code)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("git/"), done.stderr
    with opened(repo, tmp_path) as checkout:
        assert "large.bin" in checkout.tree(fetched(checkout))
        assert fsck(checkout._folder) == ""


def test_two_automators_do_not_share_a_clone(repo: BareRepo, checkout: Checkout, tmp_path: Path) -> None:
    remote = Remote(str(repo.path))
    with pytest.raises(CheckoutError) as caught:
        Checkout(tmp_path / "state" / "config", remote, deadline=60, patience=0.1)
    assert code(caught) == "git/busy"
    checkout.close()
    opened(repo, tmp_path).close()


def test_who_comes_after_in_the_same_process_takes_the_lock_over(
    repo: BareRepo, checkout: Checkout, tmp_path: Path
) -> None:
    folder, remote = tmp_path / "state" / "config", Remote(str(repo.path))
    of_a_hook = checkout.lock_copy()  # as what a hook left running has
    copy = checkout.lock_copy()
    checkout.close()
    with pytest.raises(CheckoutError) as caught:
        Checkout(folder, remote, deadline=60, patience=0.1)
    assert code(caught) == "git/busy"
    with Checkout(folder, remote, deadline=60, patience=0.1, lock=copy) as after:
        os.close(copy)
        os.close(of_a_hook)
        assert fetched(after) == repo.tip()
        with pytest.raises(CheckoutError) as caught:
            Checkout(folder, remote, deadline=60, patience=0.1)
        assert code(caught) == "git/busy"


def test_where_nothing_can_be_written_it_is_the_disk(repo: BareRepo, tmp_path: Path) -> None:
    (tmp_path / "state" / "config.gitconfig").mkdir(parents=True)
    with pytest.raises(CheckoutError) as caught:
        opened(repo, tmp_path)
    assert code(caught) == "git/disk"
    (tmp_path / "state" / "config.gitconfig").rmdir()
    opened(repo, tmp_path).close()


def test_a_ragged_clone_is_packed(repo: BareRepo, checkout: Checkout, tmp_path: Path) -> None:
    fetched(checkout)
    objects = tmp_path / "state/config/objects"
    (objects / "17").mkdir(exist_ok=True)
    for number in range(15_000):
        blob = b"blob %d\0%d" % (len(str(number)), number)
        oid = hashlib.sha1(blob).hexdigest()
        if oid.startswith("17"):
            (objects / "17" / oid[2:]).write_bytes(zlib.compress(blob))
            os.utime(objects / "17" / oid[2:], (0, 0))
    assert len(list(objects.glob("17/*"))) > 40
    tip = repo.commit({"README.md": "new\n"})
    fetched(checkout)
    assert len(list(objects.glob("17/*"))) < 3
    assert len(list(objects.glob("pack/*.pack"))) == 1
    assert "README.md" in checkout.tree(tip)
    assert fsck(checkout._folder) == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a repository to somebody else")
def test_a_local_remote_of_another_user_can_be_used(repo: BareRepo, checkout: Checkout) -> None:
    for path in (repo.path, *repo.path.rglob("*")):
        os.chown(path, 12345, 12345)
    tip = fetched(checkout)
    assert isinstance(checkout.push(release(checkout, tip, "1.1.0"), expected=tip), Landed)


def test_git_processes_leave_no_file_descriptors_behind(repo: BareRepo, checkout: Checkout) -> None:
    fetched(checkout)
    before = len(os.listdir("/proc/self/fd"))
    for number in range(5):
        tip = repo.commit({"README.md": f"{number}\n"})
        checkout.fetch(tip)
        list(checkout.blobs([entry.oid for entry in checkout.tree(tip).values()]))
    assert len(os.listdir("/proc/self/fd")) <= before


def test_tens_of_thousands_of_files_are_asked_for_at_once(repo: BareRepo, checkout: Checkout) -> None:
    """Also where a pull turned the branch's line round."""
    paths = [f"clusters/production/region-{i:05}/namespace/shop/deployment.yaml" for i in range(40_000)]
    first = repo.tip() or ""
    work = git(repo.path, "commit-tree", "-p", first, "-m", "Work", f"{first}^{{tree}}")
    tip = repo.commit({"run.sh": "echo ho\n", paths[7]: "image: web:1\n"}, "Meanwhile")
    words = "Merge branch 'main' of /elsewhere/server/config"
    turned = git(repo.path, "commit-tree", "-p", work, "-p", tip, "-m", words, f"{tip}^{{tree}}")
    repo.set_tip(turned)
    fetched(checkout)
    checkout.deepen(ALL)
    log = checkout.file_log(turned, [*paths, "apps/web.yaml"])
    assert next((change.commit, change.path) for change in log.changes) == (tip, paths[7])
    assert {change.path for change in log.changes} == {paths[7], "apps/web.yaml"}
    assert [c.commit for c in checkout.commits(turned, paths=[*paths])] == [turned]


def test_arguments_that_are_too_long_are_called_that(repo: BareRepo, checkout: Checkout) -> None:
    fetched(checkout)
    with pytest.raises(CheckoutError) as caught:
        list(checkout.log(repo.tip() or "", grep="x" * 1_000_000))
    assert code(caught) == "git/failed"
    assert "too long" in caught.value.reason.sentence
