"""Checkouts as the config has them: where a config repo is, how we get in, who signs, whose commits count."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from automator.config import AuthorConfig, Config, RepoConfig, SigningConfig
from automator.edges.checkout import Checkout, GpgKey, Identity, Remote, Seal, Signers, SshKey
from automator.edges.checkout.clone import OPEN_PATIENCE
from automator.edges.forge import Forge


def open_checkout(
    config: Config,
    name: str,
    folder: Path,
    forges: Mapping[str, Forge],
    *,
    patience: float = OPEN_PATIENCE,
    lock: int | None = None,
) -> Checkout:
    """The clone of a config repo in `folder`; nobody is asked yet, and no secret is read.

    `patience`: seconds to wait for somebody else to leave it; `lock`: of the one that was open here before.

    Raises CheckoutError (`git/bad-url`, `git/busy`, `git/disk`, `git/not-installed`).
    """
    repo = config.repos[name]
    return Checkout(
        folder,
        _remote(config, name, forges),
        deadline=repo.timeout.total_seconds(),
        patience=patience,
        seal=Seal(
            None if repo.committer is None else identity(repo.committer), repo.sign_off, _key(repo.signing)
        ),
        signers=_signers(repo),
        lock=lock,
    )


def identity(who: AuthorConfig) -> Identity:
    """Name and mail address for commits."""
    return Identity(who.name, who.email)


def _remote(config: Config, name: str, forges: Mapping[str, Forge]) -> Remote:
    repo = config.repos[name]
    doors = repo.credentials
    place = config.forge_of(name) if doors.forge else None
    return Remote(
        repo.url,
        repo.branch,
        username=doors.username,
        password_file=doors.password_file,
        ssh_key_file=doors.ssh_key_file,
        known_hosts_file=doors.known_hosts_file,
        ca_file=doors.ca_file,
        login=None if place is None else forges[place[0]].login,
        refused=(lambda _login: False) if place is None else forges[place[0]].login_refused,
    )


def _key(signing: SigningConfig | None) -> SshKey | GpgKey | None:
    if signing is None:
        return None
    if signing.ssh_key_file is not None:
        return SshKey(signing.ssh_key_file)
    assert signing.gpg_key is not None  # the config was refused otherwise
    home = signing.gpg_home or Path("~/.gnupg").expanduser()
    return GpgKey(signing.gpg_key, home, signing.passphrase_file)


def _signers(repo: RepoConfig) -> Signers | None:
    required = repo.require_signed
    return None if required is None else Signers(required.allowed_signers_file, required.gpg_keys_file)
