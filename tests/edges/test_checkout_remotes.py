"""The ways to a config repo: local path, file, HTTP with a password, ssh with a key, and who is let in."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from parts.canaries import MARK, secret
from parts.certificates import make_ca
from parts.gitserver import ALL, BareRepo, HttpGit, SshGit, fsck, http_git, ssh_git
from parts.gitsteps import command_lines, fetched, release, wait_for
from parts.proxy import Proxy
from parts.registry import KEY_AND_CERTIFICATE

from automator.edges.checkout import Checkout, Landed, Remote
from automator.errors import CheckoutError, ForgeError
from automator.reasons import reason

PASSWORD = MARK + " s3cr€t/ %21 'quo\"te' $HOME \\n"


@pytest.fixture
def repo(tmp_path: Path) -> BareRepo:
    return BareRepo.create(tmp_path / "server" / "config.git", {"apps/web.yaml": "image: web:1.0.0\n"})


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    file = tmp_path / "secrets" / "pass word"
    file.parent.mkdir()
    file.write_text(PASSWORD + "\n")
    return file


@pytest.fixture
def http(repo: BareRepo, tmp_path: Path) -> Iterator[HttpGit]:
    with http_git(tmp_path / "server", {"ann": PASSWORD}) as server:
        yield server


def opened(tmp_path: Path, remote: Remote, *, deadline: float = 60) -> Checkout:
    return Checkout(tmp_path / "state" / "config", remote, deadline=deadline)


def refused(tmp_path: Path, remote: Remote) -> CheckoutError:
    with opened(tmp_path, remote) as checkout, pytest.raises(CheckoutError) as caught:
        fetched(checkout)
    return caught.value


def ask_in_vain(checkout: Checkout) -> None:
    with contextlib.suppress(CheckoutError):
        checkout.ask_tip()


def round_trip(tmp_path: Path, repo: BareRepo, remote: Remote) -> None:
    """Clone, release, fetch somebody else's commit, release again, read all history."""
    with opened(tmp_path, remote) as checkout:
        tip = fetched(checkout)
        assert isinstance(checkout.push(release(checkout, tip, "1.1.0"), expected=tip), Landed)
        repo.commit({"README.md": "theirs\n"}, "Theirs")
        tip = fetched(checkout)
        assert isinstance(checkout.push(release(checkout, tip, "1.2.0"), expected=tip), Landed)
        checkout.deepen(1)
        checkout.deepen(ALL)
        assert len(list(checkout.log(fetched(checkout)))) == 4
        assert fsck(checkout._folder) == ""
    assert repo.log() == ["Release web 1.2.0", "Theirs", "Release web 1.1.0", "Initial commit"]
    repo.fsck()


@pytest.mark.parametrize("prefix", ["", "file://"])
def test_a_local_path(repo: BareRepo, tmp_path: Path, prefix: str) -> None:
    round_trip(tmp_path, repo, Remote(f"{prefix}{repo.path}"))


def test_http_with_a_password_from_a_file(
    repo: BareRepo, http: HttpGit, tmp_path: Path, password_file: Path
) -> None:
    round_trip(tmp_path, repo, Remote(http.url(repo), username="ann", password_file=password_file))


@pytest.fixture
def ca_and_key(tmp_path: Path) -> Path:
    file = tmp_path / "server.pem"
    file.write_text(KEY_AND_CERTIFICATE)
    return file


def test_https_with_a_private_certificate_authority(
    repo: BareRepo, password_file: Path, ca_and_key: Path, tmp_path: Path
) -> None:
    with http_git(tmp_path / "server", {"ann": PASSWORD}, tls=ca_and_key) as server:
        url = server.url(repo)
        assert url.startswith("https://")
        remote = Remote(url, username="ann", password_file=password_file, ca_file=ca_and_key)
        round_trip(tmp_path, repo, remote)


def test_https_with_an_unknown_certificate_is_refused_before_the_password_is_sent(
    repo: BareRepo, password_file: Path, ca_and_key: Path, tmp_path: Path
) -> None:
    with http_git(tmp_path / "server", {"ann": PASSWORD}, tls=ca_and_key) as server:
        error = refused(tmp_path, Remote(server.url(repo), username="ann", password_file=password_file))
        assert (error.reason.code, error.retry) == ("git/certificate", False)
        assert server.url(repo) in error.reason.sentence
        assert "`repos.NAME.credentials.ca_file`" in error.reason.next_step
        assert server.authorizations == []


@pytest.mark.parametrize(
    "wrong", ["expired", "of another name", "ca_file of another authority", "no certificate"]
)
def test_a_certificate_that_is_wrong_is_told_apart_from_a_server_that_is_away(
    repo: BareRepo, tmp_path: Path, wrong: str
) -> None:
    authority = make_ca(tmp_path / "ca")
    name = "other.example" if wrong == "of another name" else "127.0.0.1"
    shown = authority.issue([name], days=-1 if wrong == "expired" else 1)
    known = make_ca(tmp_path / "other") if "another authority" in wrong else authority
    if wrong == "no certificate":
        known.ca_file.write_text("this is no certificate\n")
    with http_git(tmp_path / "server", tls=shown.both_file) as server:
        error = refused(tmp_path, Remote(server.url(repo), ca_file=known.ca_file))
    assert error.reason.code == "git/certificate"


def test_git_goes_by_the_proxy_of_the_environment(
    repo: BareRepo, password_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = make_ca(tmp_path / "ca")
    shown = authority.issue(["127.0.0.1"])
    with Proxy() as proxy, http_git(tmp_path / "server", {"ann": PASSWORD}, tls=shown.both_file) as server:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        url = server.url(repo)
        remote = Remote(url, username="ann", password_file=password_file, ca_file=authority.ca_file)
        with opened(tmp_path, remote) as checkout:
            assert fetched(checkout) == repo.tip()
            assert set(proxy.asked) == {f"CONNECT {server.address.removeprefix('https://')}"}
            assert "Authorization" not in "".join(proxy.headers)
            proxy.asked.clear()
            monkeypatch.setenv("NO_PROXY", "127.0.0.1")
            assert checkout.ask_tip() == repo.tip()
            assert proxy.asked == []


def test_the_user_may_stand_in_the_url(
    repo: BareRepo, http: HttpGit, tmp_path: Path, password_file: Path
) -> None:
    with opened(tmp_path, Remote(http.url(repo, user="ann"), password_file=password_file)) as checkout:
        assert fetched(checkout) == repo.tip()


def test_a_new_password_is_used_without_a_restart(
    repo: BareRepo, http: HttpGit, tmp_path: Path, password_file: Path
) -> None:
    with opened(tmp_path, Remote(http.url(repo), username="ann", password_file=password_file)) as checkout:
        fetched(checkout)
        http.users["ann"] = "rotated"
        with pytest.raises(CheckoutError) as caught:
            checkout.ask_tip()
        assert caught.value.reason.code == "git/denied"
        password_file.write_text("rotated")
        assert checkout.ask_tip() == repo.tip()


def test_a_wrong_or_absent_password_is_denied(
    repo: BareRepo, http: HttpGit, tmp_path: Path, password_file: Path
) -> None:
    password_file.write_text("wrong-and-secret\n")
    for remote in (
        Remote(http.url(repo), username="ann", password_file=password_file),
        Remote(http.url(repo)),
    ):
        error = refused(tmp_path, remote)
        assert error.reason.code == "git/denied"
        assert not error.retry
        assert "wrong-and-secret" not in f"{error} {error.reason!r}"


def test_a_missing_or_empty_password_file_is_named(repo: BareRepo, http: HttpGit, tmp_path: Path) -> None:
    file = tmp_path / "password"
    remote = Remote(http.url(repo), username="ann", password_file=file)
    for content in (None, "\n"):
        if content is not None:
            file.write_text(content)
        error = refused(tmp_path, remote)
        assert error.reason.code == "git/credential-file"
        assert str(file) in str(error)


def test_the_password_is_in_no_command_line_and_no_file_of_ours(
    repo: BareRepo, http: HttpGit, tmp_path: Path, password_file: Path
) -> None:
    password_file.write_text("Xyzzy-42\n")
    http.users["ann"] = "Xyzzy-42"
    with opened(tmp_path, Remote(http.url(repo), username="ann", password_file=password_file)) as checkout:
        fetched(checkout)
        http.silent = True
        http.asked.clear()
        asking = threading.Thread(target=ask_in_vain, args=(checkout,))
        asking.start()
        http.asked.wait(30)
        wait_for(lambda: command_lines(containing=http.url(repo)))
        seen = command_lines(containing="")
        http.wake.set()
        asking.join()
        assert any("ls-remote" in line for line in seen)
        assert not [line for line in seen if "Xyzzy-42" in line]
    for file in (tmp_path / "state").rglob("*"):
        if file.is_file():
            assert b"Xyzzy-42" not in file.read_bytes(), file


def test_a_server_that_echoes_the_password_is_masked(
    repo: BareRepo, tmp_path: Path, password_file: Path
) -> None:
    password_file.write_text("Xyzzy-42\n")
    repo.hook("pre-receive", "echo 'who sent Xyzzy-42 ?' >&2; exit 1")
    with http_git(tmp_path / "server", {"ann": "Xyzzy-42"}) as server:
        remote = Remote(server.url(repo), username="ann", password_file=password_file)
        with opened(tmp_path, remote) as checkout:
            tip = fetched(checkout)
            result = checkout.push(release(checkout, tip, "1.1.0"), expected=tip)
    assert "who sent *** ?" in repr(result)


# -- a login of the moment ------------------------------------------------------------------------------

TOKEN = secret("forge-token")


def test_a_forges_token_is_asked_for_at_each_use(repo: BareRepo, tmp_path: Path) -> None:
    """Tokens of an App last an hour: the server takes each one only until the next is made."""
    with http_git(tmp_path / "server", {"nobody": "nothing"}) as server:
        made: list[str] = []

        def login() -> tuple[str, str]:
            made.append(f"{TOKEN} {len(made)} 'quo\"te' \\n$HOME")
            server.users = {"x-access-token": made[-1]}
            return "x-access-token", made[-1]

        round_trip(tmp_path, repo, Remote(server.url(repo), login=login))
        assert len(made) >= 6


def test_a_forges_token_is_in_no_command_line_no_environment_and_no_file(
    repo: BareRepo, tmp_path: Path
) -> None:
    with http_git(tmp_path / "server", {"bot": TOKEN}) as server:
        # The question that brings the token is never answered: whoever knows it is running then.
        def login() -> tuple[str, str]:
            return "bot", TOKEN

        with opened(tmp_path, Remote(server.url(repo), login=login)) as checkout:
            fetched(checkout)
            server.silent_after_login = True
            asking = threading.Thread(target=ask_in_vain, args=(checkout,))
            server.asked.clear()
            asking.start()
            server.asked.wait(30)
            seen = command_lines(containing="") + environments(containing="AUTOMATOR_GIT")
            server.wake.set()
            asking.join()
        assert any("ls-remote" in line for line in seen)
        assert any("AUTOMATOR_GIT_LOGIN_FD" in line for line in seen)
        assert not [line for line in seen if TOKEN in line]
    for file in (tmp_path / "state").rglob("*"):
        if file.is_file():
            assert TOKEN.encode() not in file.read_bytes(), file


def test_a_server_that_echoes_the_token_is_masked(repo: BareRepo, tmp_path: Path) -> None:
    repo.hook("pre-receive", f"echo 'who sent {TOKEN} ?' >&2; exit 1")
    with (
        http_git(tmp_path / "server", {"bot": TOKEN}) as server,
        opened(tmp_path, Remote(server.url(repo), login=lambda: ("bot", TOKEN))) as checkout,
    ):
        tip = fetched(checkout)
        result = checkout.push(release(checkout, tip, "1.1.0"), expected=tip)
    (repo.path / "hooks" / "pre-receive").unlink()  # it spells the token
    assert "who sent *** ?" in repr(result)


def test_a_forge_that_gives_no_token_is_told_in_its_own_words(
    repo: BareRepo, http: HttpGit, tmp_path: Path
) -> None:
    def login() -> tuple[str, str]:
        raise ForgeError(reason("git/bad-path", path="the App", problem="is suspended"), retry=False)

    error = refused(tmp_path, Remote(http.url(repo), login=login))
    assert str(error) == "the App cannot be written: it is suspended"
    assert not error.retry
    assert http.requests == []
    with pytest.raises(CheckoutError, match="https URLs only") as caught:
        opened(tmp_path, Remote("http://git.example.com/acme/shop.git", login=login))
    assert caught.value.reason.code == "git/bad-url"
    odd = refused(tmp_path, Remote(http.url(repo), login=lambda: ("bot", "two\nlines")))
    assert odd.reason.code == "git/denied"
    assert "two" not in f"{odd} {odd.reason!r}"


@pytest.mark.parametrize(
    "url", ["git@git.example.com:acme/shop.git", "ssh://git@git.example.com/x", "/srv/x"]
)
def test_a_forges_token_opens_no_other_door(tmp_path: Path, url: str) -> None:
    with pytest.raises(CheckoutError, match="https URLs only"):
        opened(tmp_path, Remote(url, login=lambda: ("bot", TOKEN)))


def environments(*, containing: str) -> list[str]:
    """The environments of all other processes that mention a text."""
    found = []
    for file in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            text = file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if containing in text and file.parent.name != str(os.getpid()):
                found.append(text)
    return found


def test_a_redirect_is_not_followed_with_credentials(
    repo: BareRepo, http: HttpGit, tmp_path: Path, password_file: Path
) -> None:
    with http_git(tmp_path / "server") as elsewhere:
        http.redirect_to = elsewhere.address
        error = refused(tmp_path, Remote(http.url(repo), username="ann", password_file=password_file))
        assert error.reason.code == "git/redirected"
        assert elsewhere.requests == []


@pytest.mark.parametrize(
    ("status", "expected"), [(500, "unreachable"), (503, "unreachable"), (403, "denied"), (404, "not-found")]
)
def test_a_server_error_is_classified(
    repo: BareRepo, http: HttpGit, tmp_path: Path, status: int, expected: str
) -> None:
    http.fail_with = status
    error = refused(tmp_path, Remote(http.url(repo)))
    assert error.reason.code == f"git/{expected}"
    assert error.retry == (expected == "unreachable")


def test_a_fetch_that_breaks_off_is_done_again(repo: BareRepo, http: HttpGit, tmp_path: Path) -> None:
    http.users.clear()
    repo.commit({f"{n}.bin": str(n) * 5000 for n in range(50)}, "Fill")
    http.truncate_packs = 1500
    with opened(tmp_path, Remote(http.url(repo))) as checkout:
        with pytest.raises(CheckoutError) as caught:
            fetched(checkout)
        assert caught.value.reason.code == "git/unreachable"
        assert not (tmp_path / "state" / "config").exists(), "no half-made clone is visible"
        http.truncate_packs = None
        fetched(checkout)
        repo.commit({f"{n}.bin": str(n) * 6000 for n in range(50)}, "Change")
        http.truncate_packs = 1500
        with pytest.raises(CheckoutError):
            fetched(checkout)
        http.truncate_packs = None
        tip = fetched(checkout)
        assert len(list(checkout.blobs([entry.oid for entry in checkout.tree(tip).values()]))) == 51
        assert fsck(checkout._folder) == ""


def test_nobody_there(repo: BareRepo, tmp_path: Path) -> None:
    with http_git(tmp_path / "server") as server:
        url = server.url(repo)
    error = refused(tmp_path, Remote(url))
    assert error.reason.code == "git/unreachable"
    assert error.retry


def test_the_address_of_a_proxy_is_not_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://bot:Xyzzy-42/43@127.0.0.1:1")
    error = refused(tmp_path, Remote("https://git.example.invalid/x.git"))
    assert error.reason.code == "git/unreachable"
    assert "Unsupported proxy syntax in what the environment names" in str(error)
    assert "Xyzzy-42" not in str(error)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ext::sh -c touch% /tmp/x",
        "git://example.org/x",
        "ftp://example.org/x",
        "relative/path",
        "-oProxyCommand=x",
        "--upload-pack=x",
        "https:///no-host",
        "https://ann:Xyzzy-42@example.org/x.git",
        "ssh://ann:Xyzzy-42@example.org/x.git",
        "ann:Xyzzy-42@example.org:x.git",
        "https:/ann:Xyzzy-42@example.org/x.git",
        "https://ann:Xyzzy-42/y@example.org/x.git",
        "https://example.org/x.git?token=Xyzzy-42",
        "ssh://-oProxyCommand=x/x",
        "https://example.org:port/x",
        "https://example.org/a b",
        "https://example.org/a\nb",
        "file:relative",
    ],
)
def test_urls_that_are_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(CheckoutError) as caught:
        opened(tmp_path, Remote(url))
    assert caught.value.reason.code == "git/bad-url"
    assert not caught.value.retry
    assert "Xyzzy-42" not in str(caught.value)


@pytest.mark.parametrize(
    "branch", ["", "a b", "-x", "a..b", "a.lock", "a:b", "/a", "a/", "a@{1}", "@", "a\\b", "a*"]
)
def test_branch_names_that_are_refused(tmp_path: Path, branch: str) -> None:
    with pytest.raises(CheckoutError) as caught:
        opened(tmp_path, Remote("/srv/x.git", branch=branch))
    assert caught.value.reason.code == "git/bad-url"


@pytest.mark.parametrize("branch", ["release/1.x", "feature/späße", "a@b", "v1.2"])
def test_other_branch_names_work(repo: BareRepo, tmp_path: Path, branch: str) -> None:
    other = BareRepo(repo.path, branch=branch)
    tip = other.commit({"apps/web.yaml": "image: web:1.0.0\n"})
    with opened(tmp_path, Remote(str(repo.path), branch=branch)) as checkout:
        assert fetched(checkout) == tip
        assert isinstance(checkout.push(release(checkout, tip, "1.1.0"), expected=tip), Landed)
    assert other.log()[0] == "Release web 1.1.0"


# -- ssh --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshGit]:
    with ssh_git(tmp_path_factory.mktemp("ssh d")) as server:
        yield server


@pytest.mark.needs("openssh-server", "openssh-client")
def test_ssh_with_a_key(repo: BareRepo, sshd: SshGit, tmp_path: Path) -> None:
    remote = Remote(sshd.url(repo), ssh_key_file=sshd.key_file, known_hosts_file=sshd.known_hosts_file)
    round_trip(tmp_path, repo, remote)


@pytest.mark.needs("openssh-server", "openssh-client")
def test_an_unknown_host_key_is_never_accepted(repo: BareRepo, sshd: SshGit, tmp_path: Path) -> None:
    known = tmp_path / "known_hosts"
    known.write_text(
        "example.org ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl\n"
    )
    error = refused(tmp_path, Remote(sshd.url(repo), ssh_key_file=sshd.key_file, known_hosts_file=known))
    assert error.reason.code == "git/host-key"
    assert not error.retry
    assert known.read_text().count("\n") == 1


@pytest.mark.needs("openssh-server", "openssh-client")
def test_a_key_that_the_server_does_not_know_is_denied(repo: BareRepo, sshd: SshGit, tmp_path: Path) -> None:
    remote = Remote(sshd.url(repo), ssh_key_file=sshd.other_key_file, known_hosts_file=sshd.known_hosts_file)
    assert refused(tmp_path, remote).reason.code == "git/denied"


@pytest.mark.needs("openssh-server", "openssh-client")
def test_an_ssh_remote_that_is_no_repository(sshd: SshGit, tmp_path: Path) -> None:
    missing = BareRepo(tmp_path / "none.git")
    remote = Remote(sshd.url(missing), ssh_key_file=sshd.key_file, known_hosts_file=sshd.known_hosts_file)
    assert refused(tmp_path, remote).reason.code == "git/not-found"
