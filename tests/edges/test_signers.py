"""Whose commits count: tips that allowed keys signed, and every other one that somebody might push."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from parts.gitserver import BareRepo, git
from parts.gitsteps import BOT, NOON, fetched, release
from parts.signedcommits import (
    GpgHome,
    allowed,
    by_gpg,
    by_ssh,
    certify,
    gpg_home,
    sign_tip,
    ssh_key,
    verified,
)

from automator.core.release import Draft
from automator.edges.checkout import NOT_COUNTED, Checkout, Landed, Refused, Remote, Seal, Signers, SshKey
from automator.errors import CheckoutError

pytestmark = pytest.mark.needs("openssh-client")


@pytest.fixture(scope="module")
def keyring() -> Iterator[GpgHome]:
    with gpg_home() as home:
        yield home


@pytest.fixture
def repo(tmp_path: Path) -> BareRepo:
    return BareRepo.create(tmp_path / "server" / "config.git", {"apps/web.yaml": "image: web:1.0.0\n"})


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return ssh_key(tmp_path)


@pytest.fixture
def signers(tmp_path: Path, key: Path) -> Signers:
    file = tmp_path / "allowed_signers"
    file.write_text(allowed(key))
    return Signers(file)


def opened(repo: BareRepo, tmp_path: Path, signers: Signers, seal: Seal | None = None) -> Checkout:
    more = {} if seal is None else {"seal": seal}
    return Checkout(
        tmp_path / "state" / "config", Remote(str(repo.path)), deadline=60, signers=signers, **more
    )


def problem(repo: BareRepo, tmp_path: Path, signers: Signers, code: str = "git/unsigned-tip") -> str:
    """Why the branch's tip is refused."""
    with opened(repo, tmp_path, signers) as checkout, pytest.raises(CheckoutError) as caught:
        fetched(checkout)
    assert caught.value.reason.code == code
    assert not caught.value.retry
    return caught.value.reason.sentence


def accepted(repo: BareRepo, tmp_path: Path, signers: Signers) -> bool:
    with opened(repo, tmp_path, signers) as checkout:
        return fetched(checkout) == repo.tip()


def rewritten(repo: BareRepo, old: str, new: str) -> str:
    """The tip with some of its bytes replaced, signature and all, as the new tip."""
    text = git(repo.path, "cat-file", "commit", "main").encode() + b"\n"
    assert old.encode() in text
    made = git(
        repo.path,
        *("hash-object", "-t", "commit", "-w", "--stdin", "--literally"),
        feed=text.replace(old.encode(), new.encode()),
    )
    repo.set_tip(made)
    return made


# -- ssh ----------------------------------------------------------------------------------------------


def test_a_tip_that_an_allowed_key_signed_counts(
    repo: BareRepo, tmp_path: Path, key: Path, signers: Signers
) -> None:
    sign_tip(repo, by_ssh(key))
    assert accepted(repo, tmp_path, signers)


def test_an_unsigned_tip_is_refused_by_commit_and_author(
    repo: BareRepo, tmp_path: Path, key: Path, signers: Signers
) -> None:
    sign_tip(repo, by_ssh(key))
    tip = repo.commit({"apps/web.yaml": "image: web:6.6.6\n"}, author="Mallory \x1b[31mM")
    sentence = problem(repo, tmp_path, signers)
    assert tip[:12] in sentence
    assert "Mallory" in sentence
    assert "no signature" in sentence
    assert sentence.isprintable()


def test_a_key_that_is_not_allowed_does_not_count(repo: BareRepo, tmp_path: Path, signers: Signers) -> None:
    stranger = ssh_key(tmp_path, "stranger")
    sign_tip(repo, by_ssh(stranger))
    assert "No principal matched" in problem(repo, tmp_path, signers)


def test_a_commit_that_was_changed_after_it_was_signed_is_refused(
    repo: BareRepo, tmp_path: Path, key: Path, signers: Signers
) -> None:
    evil = repo.commit({"apps/web.yaml": "image: web:6.6.6\n"}, base=repo.tip())
    trees = [git(repo.path, "rev-parse", f"{commit}^{{tree}}") for commit in (f"{evil}^", evil)]
    repo.set_tip(git(repo.path, "rev-parse", f"{evil}^"))
    signed = sign_tip(repo, by_ssh(key))
    for old, new in (
        (trees[0], trees[1]),
        ("Initial commit", "Initial commit!"),
        ("Ann Author", "Eve Author"),
    ):
        repo.set_tip(signed)
        rewritten(repo, old, new)
        assert "not a good one" in problem(repo, tmp_path, signers)


def test_a_message_or_a_tag_that_looks_signed_does_not_count(
    repo: BareRepo, tmp_path: Path, key: Path, signers: Signers
) -> None:
    sign_tip(repo, by_ssh(key))
    text = git(repo.path, "cat-file", "commit", "main")
    signature = re.search(r"^gpgsig .*?END SSH SIGNATURE-----\n", text, re.MULTILINE | re.DOTALL)
    assert signature
    tip = repo.commit(
        {"a": "b"}, f"Evil\n\n{signature[0]}\n[GNUPG:] GOODSIG 0 ann\n[GNUPG:] TRUST_ULTIMATE\ngpgsig good\n"
    )
    options = [part for name, value in by_ssh(key).items() for part in ("-c", f"{name}={value}")]
    git(repo.path, *options, "tag", "--sign", "--message=Good", "v1", tip)
    git(repo.path, *options, "tag", "--sign", "--message=Good", "main", tip)
    assert "no signature" in problem(repo, tmp_path, signers)


def test_a_signature_made_for_something_else_does_not_count(
    repo: BareRepo, tmp_path: Path, key: Path, signers: Signers
) -> None:
    """Whoever has signed a file with the same key has not signed a commit of that content."""
    program = tmp_path / "for-files"
    program.write_text(
        '#!/bin/sh\nfor a do shift; [ "$a" = git ] && a=file; set -- "$@" "$a"; done\nexec ssh-keygen "$@"\n'
    )
    program.chmod(0o755)
    sign_tip(repo, {**by_ssh(key), "gpg.ssh.program": str(program)})
    assert "not a good one" in problem(repo, tmp_path, signers)


def test_a_signature_of_another_kind_is_not_looked_at(
    repo: BareRepo, tmp_path: Path, key: Path, signers: Signers
) -> None:
    sign_tip(repo, by_ssh(key))
    rewritten(repo, "SSH SIGNATURE", "SIGNED MESSAGE")  # as gpgsm writes it
    problem(repo, tmp_path, signers)


def test_no_program_of_the_machine_is_asked_about_certificates(
    repo: BareRepo, tmp_path: Path, key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_tip(repo, by_ssh(key))
    made = rewritten(repo, "SSH SIGNATURE", "SIGNED MESSAGE")
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "gpgsm"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    with Checkout(tmp_path / "state" / "config", Remote(str(repo.path)), deadline=60) as checkout:
        fetched(checkout)
        assert checkout.signatures([made])[made].state != "good"
    assert not (tmp_path / "ran").exists()


def test_an_allowed_key_whose_time_is_over_signs_nothing_more_nor_backdates(
    repo: BareRepo, tmp_path: Path, key: Path, signers: Signers
) -> None:
    then = "1577880000 +0000"  # 2020-01-01, when the key was good
    dates = {"GIT_AUTHOR_DATE": then, "GIT_COMMITTER_DATE": then}
    sign_tip(repo, by_ssh(key), **dates)
    assert signers.ssh_file is not None
    for until, counts in (("20200601", False), ("20200601120000Z", False), ("20990101", True)):
        signers.ssh_file.write_text(allowed(key, options=f'namespaces="git",valid-before="{until}"'))
        tip = repo.tip()
        assert tip is not None
        settings = {"gpg.ssh.allowedSignersFile": str(signers.ssh_file)}
        assert verified(repo.path, tip, settings), "git itself believes the date of the commit"
        if counts:
            assert accepted(repo, tmp_path, signers)
        else:
            problem(repo, tmp_path, signers)


def test_a_certificate_that_has_ended_signs_nothing_more_nor_backdates(
    repo: BareRepo, tmp_path: Path, key: Path, signers: Signers
) -> None:
    authority = ssh_key(tmp_path, "authority")
    assert signers.ssh_file is not None
    signers.ssh_file.write_text(allowed(authority, options='cert-authority,namespaces="git"'))
    then = "1577880000 +0000"  # 2020-01-01
    dates = {"GIT_AUTHOR_DATE": then, "GIT_COMMITTER_DATE": then}
    for lasts, counts in (("20191201:20200201", False), ("20191201:20990101", True)):
        certify(authority, key, lasts)
        tip = sign_tip(repo, by_ssh(key.with_name("key-cert.pub")), **dates)
        settings = {"gpg.ssh.allowedSignersFile": str(signers.ssh_file)}
        assert verified(repo.path, tip, settings), "git itself believes the date of the commit"
        if counts:
            assert accepted(repo, tmp_path, signers)
        else:
            assert "not a good one of an allowed key" in problem(repo, tmp_path, signers)


@pytest.mark.parametrize("until", ["20200230", "20200101235960", "20200101240000", "2020", "0x5e0be100", ""])
def test_a_date_that_is_none_is_over(
    repo: BareRepo, tmp_path: Path, key: Path, signers: Signers, until: str
) -> None:
    then = "1567880000 +0000"
    sign_tip(repo, by_ssh(key), GIT_AUTHOR_DATE=then, GIT_COMMITTER_DATE=then)
    assert signers.ssh_file is not None
    signers.ssh_file.write_text(allowed(key, options=f'namespaces="git",valid-before="{until}"'))
    problem(repo, tmp_path, signers)


def test_a_program_that_could_not_do_its_work_gives_no_verdict(
    repo: BareRepo, tmp_path: Path, key: Path, signers: Signers, monkeypatch: pytest.MonkeyPatch
) -> None:
    tip = sign_tip(repo, by_ssh(key))
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "ssh-keygen"
    program.write_text("#!/bin/sh\necho 'fork: Cannot allocate memory' >&2; exit 1\n")
    program.chmod(0o755)
    with opened(repo, tmp_path, signers) as checkout:
        with monkeypatch.context() as patch:
            patch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
            with pytest.raises(CheckoutError, match="could not be checked") as caught:
                fetched(checkout)
        assert caught.value.retry
        checkout.prove(tip)


def test_a_folder_for_the_keys_that_cannot_be_made_is_told(
    repo: BareRepo, tmp_path: Path, key: Path, signers: Signers
) -> None:
    tip = sign_tip(repo, by_ssh(key))
    with opened(repo, tmp_path, signers) as checkout:
        (tmp_path / "state" / ".config.signers").write_text("a file")
        with pytest.raises(CheckoutError, match=r"\.config\.signers"):
            fetched(checkout)
        (tmp_path / "state" / ".config.signers").unlink()
        assert checkout.ask_tip() == tip
        checkout.prove(tip)


def test_the_files_are_read_at_each_look_and_verdicts_remembered(
    repo: BareRepo, tmp_path: Path, key: Path, signers: Signers
) -> None:
    tip = sign_tip(repo, by_ssh(key))
    assert signers.ssh_file is not None
    with opened(repo, tmp_path, signers) as checkout:
        fetched(checkout)
        before = checkout.processes
        for _ in range(3):
            checkout.prove(tip)
        assert checkout.processes == before
        stranger = ssh_key(tmp_path, "stranger")
        signers.ssh_file.write_text(allowed(stranger))
        for _ in range(2):
            with pytest.raises(CheckoutError, match="does not count"):
                checkout.prove(tip)
        signers.ssh_file.write_text(allowed(stranger, key))
        checkout.prove(tip)


@pytest.mark.parametrize("content", [None, "", "\n \n"])
def test_files_that_cannot_be_used_let_nothing_through(
    repo: BareRepo, tmp_path: Path, key: Path, signers: Signers, content: str | None
) -> None:
    sign_tip(repo, by_ssh(key))
    assert signers.ssh_file is not None
    signers.ssh_file.unlink()
    if content is not None:
        signers.ssh_file.write_text(content)
    assert str(signers.ssh_file) in problem(repo, tmp_path, signers, "git/signers")


def test_garbage_in_the_file_allows_nobody(
    repo: BareRepo, tmp_path: Path, key: Path, signers: Signers
) -> None:
    sign_tip(repo, by_ssh(key))
    assert signers.ssh_file is not None
    signers.ssh_file.write_bytes(b"\xff\xfe\0* ssh-ed25519 AAAA\n* * *\n")
    problem(repo, tmp_path, signers)


# -- gpg ----------------------------------------------------------------------------------------------


def gpg_signers(tmp_path: Path, text: str) -> Signers:
    file = tmp_path / "signers.asc"
    file.write_text(text)
    return Signers(gpg_file=file)


@pytest.mark.needs("gnupg")
def test_a_gpg_key_counts_only_if_the_file_has_it(
    repo: BareRepo, tmp_path: Path, keyring: GpgHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The keyring of whoever runs us knows both keys, and trusts them."""
    monkeypatch.setenv("GNUPGHOME", str(keyring.folder))
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".gnupg").symlink_to(keyring.folder)
    sign_tip(repo, by_gpg(keyring.plain), gnupg=keyring.folder)
    tip = repo.tip()
    assert tip is not None
    assert verified(repo.path, tip, {}, gnupg=keyring.folder)
    assert "its key is not allowed" in problem(
        repo, tmp_path, gpg_signers(tmp_path, keyring.exported(keyring.other))
    )
    both = keyring.exported(keyring.other, keyring.plain)
    assert accepted(repo, tmp_path, gpg_signers(tmp_path, both))


@pytest.mark.needs("gnupg")
def test_a_tampered_commit_with_a_gpg_signature_is_refused(
    repo: BareRepo, tmp_path: Path, keyring: GpgHome
) -> None:
    sign_tip(repo, by_gpg(keyring.plain), gnupg=keyring.folder)
    rewritten(repo, "Initial commit", "Evil commit")
    assert "does not fit the commit" in problem(
        repo, tmp_path, gpg_signers(tmp_path, keyring.exported(keyring.plain))
    )


@pytest.mark.needs("gnupg")
def test_a_gpg_key_that_has_expired_does_not_count(repo: BareRepo, tmp_path: Path, keyring: GpgHome) -> None:
    program = keyring.in_2020(tmp_path)
    sign_tip(repo, {**by_gpg(keyring.expired), "gpg.program": str(program)}, gnupg=keyring.folder)
    assert "expired" in problem(repo, tmp_path, gpg_signers(tmp_path, keyring.exported(keyring.expired)))


@pytest.mark.needs("gnupg")
def test_a_gpg_key_that_was_revoked_does_not_count(repo: BareRepo, tmp_path: Path, keyring: GpgHome) -> None:
    sign_tip(repo, by_gpg(keyring.plain), gnupg=keyring.folder)
    signers = gpg_signers(tmp_path, keyring.exported(keyring.plain))
    assert signers.gpg_file is not None
    with opened(repo, tmp_path, signers) as checkout:
        tip = fetched(checkout)
        signers.gpg_file.write_text(keyring.exported(keyring.plain) + keyring.revocation(keyring.plain))
        with pytest.raises(CheckoutError, match="revoked"):
            checkout.prove(tip)


@pytest.mark.needs("gnupg")
def test_a_state_folder_with_a_long_path_is_no_trouble(
    repo: BareRepo, tmp_path: Path, keyring: GpgHome
) -> None:
    sign_tip(repo, by_gpg(keyring.plain), gnupg=keyring.folder)
    folder = tmp_path / ("longer-than-the-path-of-a-socket-" * 4)
    folder.mkdir()
    with opened(repo, folder, gpg_signers(tmp_path, keyring.exported(keyring.plain))) as checkout:
        checkout.prove(fetched(checkout))


@pytest.mark.needs("gnupg")
def test_both_kinds_of_keys_may_be_allowed(
    repo: BareRepo, tmp_path: Path, key: Path, signers: Signers, keyring: GpgHome
) -> None:
    both = Signers(signers.ssh_file, gpg_signers(tmp_path, keyring.exported(keyring.plain)).gpg_file)
    for settings in (by_ssh(key), by_gpg(keyring.plain)):
        sign_tip(repo, settings, gnupg=keyring.folder)
        assert accepted(repo, tmp_path, both)
    assert signers == Signers(both.ssh_file)
    problem(repo, tmp_path, signers)


@pytest.mark.needs("gnupg")
def test_a_file_of_gpg_keys_that_has_none_is_named(repo: BareRepo, tmp_path: Path, keyring: GpgHome) -> None:
    sign_tip(repo, by_gpg(keyring.plain), gnupg=keyring.folder)
    signers = gpg_signers(tmp_path, "no keys here\n")
    sentence = problem(repo, tmp_path, signers, "git/signers")
    assert str(signers.gpg_file) in sentence
    assert "no valid OpenPGP data" in sentence


# -- what follows -------------------------------------------------------------------------------------


def test_what_we_would_refuse_ourselves_is_never_pushed(
    repo: BareRepo, tmp_path: Path, key: Path, signers: Signers
) -> None:
    tip = sign_tip(repo, by_ssh(key))
    stranger = ssh_key(tmp_path, "stranger")
    for seal in (Seal(), Seal(key=SshKey(stranger))):
        with opened(repo, tmp_path, signers, seal) as checkout:
            assert fetched(checkout) == tip
            answer = checkout.push(release(checkout, tip, "1.1.0"), expected=tip)
            assert isinstance(answer, Refused)
            assert answer.words.startswith(NOT_COUNTED)
        assert repo.tip() == tip
    with opened(repo, tmp_path, signers, Seal(key=SshKey(key))) as checkout:
        fetched(checkout)
        made = release(checkout, tip, "1.1.0")
        assert isinstance(checkout.push(made, expected=tip), Landed)
        before = checkout.processes
        assert checkout.ask_tip() == made
        checkout.fetch(made)
        assert checkout.processes == before + 1, "our own commit was proven when it was pushed"


def test_a_signed_tip_vouches_for_what_is_below_it(
    repo: BareRepo, tmp_path: Path, key: Path, signers: Signers
) -> None:
    repo.commit({"apps/web.yaml": "image: web:1.0.1\n"}, "Unsigned")
    repo.commit({"README.md": "signed\n"}, "Signed")
    sign_tip(repo, by_ssh(key))
    assert accepted(repo, tmp_path, signers)


def test_what_is_not_acted_upon_may_be_fetched_unproven(
    repo: BareRepo, tmp_path: Path, signers: Signers
) -> None:
    with opened(repo, tmp_path, signers) as checkout:
        tip = checkout.ask_tip()
        checkout.fetch(tip, proven=False)
        assert [entry.commit for entry in checkout.log(tip)] == [tip]
        made = checkout.commit(tip, [Draft("x\n", (("x", b"x"),))], when=NOON, author=BOT)
        assert isinstance(checkout.push(made[0], expected=tip), Refused)
    assert repo.tip() == tip


def test_a_keyring_that_somebody_left_in_the_state_folder_is_not_used(
    repo: BareRepo, tmp_path: Path, key: Path, signers: Signers
) -> None:
    sign_tip(repo, by_ssh(key))
    with opened(repo, tmp_path, signers) as checkout:
        fetched(checkout)
    assert signers.ssh_file is not None
    made = tmp_path / "state" / ".config.signers"
    assert made.stat().st_mode & 0o077 == 0
    stranger = ssh_key(tmp_path, "stranger")
    (made / "allowed_signers").write_text(allowed(stranger))
    shutil.copy(made / "allowed_signers", made / "extra")
    sign_tip(repo, by_ssh(stranger))
    problem(repo, tmp_path, signers)
    assert not (made / "extra").exists()
