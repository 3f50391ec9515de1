"""Commits of ours: signed by real keys, verified by git as by anybody, signed off, committed by another."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from parts.gitserver import BareRepo, git
from parts.gitsteps import BOT, NOON, command_lines, fetched, release, wait_for
from parts.signedcommits import PASSPHRASE, GpgHome, allowed, gpg_home, ssh_key, verified

from automator.core.record import Member, ReleaseRecord, parse
from automator.core.release import Draft, compose
from automator.edges.checkout import Checkout, GpgKey, Identity, Landed, Remote, Seal, SshKey
from automator.errors import CheckoutError

CAROL = Identity("Carol Committer", "carol@example.org")


@pytest.fixture(scope="module")
def keyring() -> Iterator[GpgHome]:
    with gpg_home() as home:
        yield home


@pytest.fixture
def repo(tmp_path: Path) -> BareRepo:
    return BareRepo.create(tmp_path / "server" / "config.git", {"apps/web.yaml": "image: web:1.0.0\n"})


@pytest.fixture
def passphrase_file(tmp_path: Path) -> Path:
    file = tmp_path / "password"
    file.write_text(PASSPHRASE + "\n")
    return file


def opened(repo: BareRepo, tmp_path: Path, seal: Seal, *, deadline: float = 60) -> Checkout:
    return Checkout(tmp_path / "state" / "config", Remote(str(repo.path)), deadline=deadline, seal=seal)


def pushed(repo: BareRepo, tmp_path: Path, seal: Seal, *versions: str) -> list[str]:
    """A chain of releases, on the branch."""
    with opened(repo, tmp_path, seal) as checkout:
        tip = fetched(checkout)
        drafts = [Draft(f"Release web {v}\n", (("apps/web.yaml", v.encode()),)) for v in versions]
        made = checkout.commit(tip, drafts, when=NOON, author=BOT)
        assert isinstance(checkout.push(made[-1], expected=tip), Landed)
        return list(made)


def refused(repo: BareRepo, tmp_path: Path, seal: Seal, *, deadline: float = 60) -> CheckoutError:
    """Why no commit could be made; nothing reached the server, and nothing is left running."""
    before = repo.tip()
    with opened(repo, tmp_path, seal, deadline=deadline) as checkout:
        tip = fetched(checkout)
        with pytest.raises(CheckoutError) as caught:
            release(checkout, tip, "1.1.0")
        assert fetched(checkout) == tip
    assert repo.tip() == before
    assert PASSPHRASE not in f"{caught.value} {caught.value.reason!r}"
    return caught.value


def field(repo: BareRepo, commit: str, form: str) -> str:
    return git(repo.path, "log", "-1", f"--format={form}", commit)


# -- ssh ----------------------------------------------------------------------------------------------


@pytest.mark.needs("openssh-client")
def test_every_commit_of_a_push_is_signed_with_the_ssh_key(repo: BareRepo, tmp_path: Path) -> None:
    key, stranger = ssh_key(tmp_path), ssh_key(tmp_path, "stranger")
    made = pushed(repo, tmp_path, Seal(key=SshKey(key)), "1.1.0", "1.2.0", "1.3.0")
    for file, expected in ((key, True), (stranger, False)):
        signers = tmp_path / f"{file.name}.allowed"
        signers.write_text(allowed(file))
        settings = {"gpg.ssh.allowedSignersFile": str(signers)}
        assert [verified(repo.path, commit, settings) for commit in made] == [expected] * 3
    assert [repo.read("apps/web.yaml", commit) for commit in made] == ["1.1.0", "1.2.0", "1.3.0"]
    assert repo.log() == ["Release web 1.3.0", "Release web 1.2.0", "Release web 1.1.0", "Initial commit"]
    assert "error" not in repo.fsck()


@pytest.mark.needs("openssh-client")
def test_signing_costs_two_git_processes_for_a_push_and_none_unsigned(repo: BareRepo, tmp_path: Path) -> None:
    drafts = [Draft(f"Release {n}\n", (("a.yaml", b"%d" % n),)) for n in range(5)]
    for seal, expected in (
        (Seal(), 1),
        (Seal(CAROL, sign_off=True), 1),
        (Seal(key=SshKey(ssh_key(tmp_path))), 3),
    ):
        with opened(repo, tmp_path, seal) as checkout:
            tip = fetched(checkout)
            before = checkout.processes
            checkout.commit(tip, drafts, when=NOON, author=BOT)
            assert checkout.processes - before == expected


@pytest.mark.needs("openssh-client")
def test_a_new_key_counts_from_the_next_commit_on(repo: BareRepo, tmp_path: Path) -> None:
    key, new = ssh_key(tmp_path), ssh_key(tmp_path, "new")
    signers = tmp_path / "allowed"
    signers.write_text(allowed(new))
    with opened(repo, tmp_path, Seal(key=SshKey(key))) as checkout:
        tip = fetched(checkout)
        first = release(checkout, tip, "1.1.0")
        for ending in ("", ".pub"):
            shutil.copy(f"{new}{ending}", f"{key}{ending}")
        second = release(checkout, first, "1.2.0")
        assert isinstance(checkout.push(second, expected=tip), Landed)
    settings = {"gpg.ssh.allowedSignersFile": str(signers)}
    assert [verified(repo.path, commit, settings) for commit in (first, second)] == [False, True]


@pytest.mark.needs("openssh-client")
def test_a_full_disk_is_told_as_one(repo: BareRepo, tmp_path: Path) -> None:
    tip = repo.tip()
    with opened(repo, tmp_path, Seal(key=SshKey(ssh_key(tmp_path)))) as checkout:
        assert fetched(checkout) == tip
        (folder,) = (file.parent for file in tmp_path.glob("state/*/HEAD"))
        (folder / "automator_commit").symlink_to("/dev/full")
        with pytest.raises(CheckoutError, match="No space left") as caught:
            release(checkout, fetched(checkout), "1.1.0")
        assert caught.value.reason.code == "git/disk"
        assert caught.value.retry
        release(checkout, fetched(checkout), "1.1.0")


def test_commits_of_a_sha256_repo_are_signed(tmp_path: Path) -> None:
    path = tmp_path / "server" / "config.git"
    path.mkdir(parents=True)
    git(path, "init", "--quiet", "--bare", "--initial-branch=main", "--object-format=sha256")
    repo = BareRepo(path)
    repo.commit({"apps/web.yaml": "image: web:1.0.0\n"})
    key = ssh_key(tmp_path)
    signers = tmp_path / "allowed"
    signers.write_text(allowed(key))
    (made,) = pushed(repo, tmp_path, Seal(key=SshKey(key)), "1.1.0")
    assert len(made) == 64
    assert verified(path, made, {"gpg.ssh.allowedSignersFile": str(signers)})


@pytest.mark.needs("openssh-client")
def test_an_ssh_key_that_cannot_sign_stops_the_release(repo: BareRepo, tmp_path: Path) -> None:
    locked = ssh_key(tmp_path, "locked", passphrase="not ours to know")
    open_to_all = ssh_key(tmp_path, "open")
    open_to_all.chmod(0o644)
    garbage = tmp_path / "garbage"
    garbage.write_text("no key\n")
    garbage.chmod(0o600)
    for file, word in (
        (tmp_path / "missing", "No such file"),
        (locked, "passphrase"),
        (open_to_all, "too open"),
        (garbage, "garbage"),
    ):
        error = refused(repo, tmp_path, Seal(key=SshKey(file)))
        assert error.reason.code == "git/signing"
        assert str(file) in str(error)
        assert word in str(error)


# -- gpg ----------------------------------------------------------------------------------------------


@pytest.mark.needs("gnupg")
@pytest.mark.parametrize("named", ["good", "plain"])
def test_commits_are_signed_with_a_gpg_key_and_no_agent_stays(
    repo: BareRepo, tmp_path: Path, keyring: GpgHome, passphrase_file: Path, named: str
) -> None:
    name = getattr(keyring, named)
    home = tmp_path / "keys" / "with a space"  # read only, as a mounted secret is
    shutil.copytree(keyring.folder, home, ignore=shutil.ignore_patterns("S.*", "*.conf"))
    for place in (*home.rglob("*"), home):
        place.chmod(0o500 if place.is_dir() else 0o400)
    before = sorted(home.rglob("*"))
    key = GpgKey(name, home, passphrase_file if named == "good" else None)
    made = pushed(repo, tmp_path, Seal(key=key), "1.1.0", "1.2.0")
    assert all(verified(repo.path, commit, {}, gnupg=keyring.folder) for commit in made)
    assert field(repo, made[0], "%GF") in ("", name)
    assert sorted(home.rglob("*")) == before
    wait_for(lambda: not command_lines(containing=f"gpg-agent --homedir={tmp_path}"))
    assert not [line for line in command_lines(containing="gpg-agent") if "automator-gpg-" in line]
    assert sorted(p.name for p in (tmp_path / "state").iterdir()) == [
        "config",
        "config.gitconfig",
        "config.lock",
    ]


@pytest.mark.needs("gnupg")
def test_a_short_path_has_the_agent_beside_the_clone(keyring: GpgHome, passphrase_file: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="a-") as name:
        folder = Path(name)
        repo = BareRepo.create(folder / "r.git", {"apps/web.yaml": "image: web:1.0.0\n"})
        (folder / "state" / ".config.gnupg").mkdir(parents=True)  # a killed daemon left it
        made = pushed(repo, folder, Seal(key=GpgKey(keyring.good, keyring.folder, passphrase_file)), "1.1.0")
        assert verified(repo.path, made[0], {}, gnupg=keyring.folder)
        assert not (folder / "state" / ".config.gnupg").exists()
        wait_for(lambda: not command_lines(containing=f"gpg-agent --homedir={folder}"))


@pytest.mark.needs("gnupg")
def test_no_process_is_told_the_passphrase_but_through_a_pipe(
    repo: BareRepo, tmp_path: Path, keyring: GpgHome, passphrase_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = shutil.which("gpg")
    folder = tmp_path / "bin"
    folder.mkdir()
    seen = folder / "seen"
    (folder / "gpg").write_text(
        f'#!/bin/sh\ncat /proc/*/cmdline /proc/$$/environ 2>/dev/null >> "{seen}"\nexec {real} "$@"\n'
    )
    (folder / "gpg").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    pushed(repo, tmp_path, Seal(key=GpgKey(keyring.good, keyring.folder, passphrase_file)), "1.1.0")
    told = seen.read_bytes()
    assert b"--passphrase-fd=" in told
    assert PASSPHRASE.encode() not in told


@pytest.mark.needs("gnupg")
def test_a_gpg_key_that_cannot_sign_stops_the_release(
    repo: BareRepo, tmp_path: Path, keyring: GpgHome, passphrase_file: Path
) -> None:
    wrong = tmp_path / "wrong-password"
    wrong.write_text("something else\n")
    for key, word in (
        (GpgKey("0" * 40, keyring.folder), "secret key"),
        (GpgKey(keyring.expired, keyring.folder), "nusable"),
        (GpgKey(keyring.good, keyring.folder), "assphrase"),
        (GpgKey(keyring.good, keyring.folder, wrong), "assphrase"),
        (GpgKey(keyring.good, keyring.folder, tmp_path / "missing"), "missing"),
        (GpgKey(keyring.good, tmp_path / "nowhere"), "no folder"),
    ):
        error = refused(repo, tmp_path, Seal(key=key))
        assert error.reason.code == "git/signing"
        assert key.name in str(error)
        assert word in str(error)


@pytest.mark.needs("gnupg")
def test_a_program_that_is_missing_or_hangs_stops_the_release_too(
    repo: BareRepo, tmp_path: Path, keyring: GpgHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    for program in ("git", "sh", "env"):
        (folder / program).symlink_to(str(shutil.which(program)))
    with monkeypatch.context() as bare:
        bare.setenv("PATH", str(folder))
        for key, program in (
            (SshKey(tmp_path / "key"), "ssh-keygen"),
            (GpgKey(keyring.plain, keyring.folder), "gpg-agent"),
        ):
            error = refused(repo, tmp_path, Seal(key=key))
            assert error.reason.code == "git/signing"
            assert f"{program} cannot be started" in str(error)
    (folder / "gpg").write_text("#!/bin/sh\nsleep 987\n")
    (folder / "gpg").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    error = refused(repo, tmp_path, Seal(key=GpgKey(keyring.plain, keyring.folder)), deadline=2.0)
    assert error.reason.code == "git/timeout"
    wait_for(lambda: not command_lines(containing="sleep 987"))


# -- who ----------------------------------------------------------------------------------------------


def test_author_and_committer_may_differ(repo: BareRepo, tmp_path: Path) -> None:
    (made,) = pushed(repo, tmp_path, Seal(committer=CAROL), "1.1.0")
    assert field(repo, made, "%an <%ae>|%cn <%ce>") == (
        "automator <bot@example.org>|Carol Committer <carol@example.org>"
    )
    assert field(repo, made, "%at %ct").split() == [str(int(NOON.timestamp()))] * 2


@pytest.mark.needs("openssh-client")
@pytest.mark.parametrize("signed", [False, True])
def test_the_author_signs_off_where_git_and_we_find_every_trailer(
    repo: BareRepo, tmp_path: Path, signed: bool
) -> None:
    record = ReleaseRecord(
        "release", (Member("web", "ghcr.io/acme/web", "1.4.2", "1.4.3", ("a b.yaml#image",)),), reason="a: b"
    )
    message = compose(record, why="newest of 3 tags")
    key = SshKey(ssh_key(tmp_path)) if signed else None
    with opened(repo, tmp_path, Seal(CAROL, sign_off=True, key=key)) as checkout:
        tip = fetched(checkout)
        drafts = [
            Draft(text, (("apps/web.yaml", text.encode()),))
            for text in (message, "Two lines\n\nNo: trailers\nhere, though\n", "Subject: alone\n")
        ]
        made = checkout.commit(tip, drafts, when=NOON, author=BOT)
        assert isinstance(checkout.push(made[-1], expected=tip), Landed)
    line = "Signed-off-by: automator <bot@example.org>"
    texts = [git(repo.path, "log", "-1", "--format=%B", commit).strip() for commit in made]
    assert texts[0] == f"{message.rstrip()}\n{line}"
    assert parse(texts[0]) == record
    trailers = git(repo.path, "interpret-trailers", "--parse", feed=texts[0].encode() + b"\n").splitlines()
    assert trailers == [*(t for t in message.splitlines() if t.startswith("Release-")), line]
    for text, before in zip(
        texts[1:], ("Two lines\n\nNo: trailers\nhere, though", "Subject: alone"), strict=True
    ):
        assert text == f"{before}\n\n{line}"
