"""Keys as people make them with ssh-keygen and gpg, and commits that they sign with git itself."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from parts.canaries import secret
from parts.gitserver import BareRepo, git

PASSPHRASE = secret("gpg-passphrase")


def ssh_key(folder: Path, name: str = "key", *, passphrase: str = "") -> Path:
    """A new SSH key; its public half lies beside it."""
    file = folder / name
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-C", "", "-f", str(file)], check=True
    )
    return file


def allowed(*keys: Path, options: str = "", who: str = "ann@example.org") -> str:
    """An allowed signers file that names keys."""
    return "".join(f"{who} {options} {key.with_suffix('.pub').read_text().strip()}\n" for key in keys)


def certify(authority: Path, key: Path, lasts: str, who: str = "ann@example.org") -> None:
    """A certificate beside a key, which lasts `from:to`."""
    arguments = ("-s", str(authority), "-I", who, "-n", who, "-V", lasts, f"{key}.pub")
    subprocess.run(["ssh-keygen", "-q", *arguments], check=True)


@dataclass(frozen=True)
class GpgHome:
    """A GPG keyring with keys of different fates."""

    folder: Path
    good: str
    """Fingerprint of a key that is protected with PASSPHRASE."""
    plain: str
    """Of one without a passphrase."""
    other: str
    expired: str
    """Of one that was good during 2020."""

    def gpg(self, *arguments: str, feed: str = "") -> str:
        done = subprocess.run(
            ["gpg", "--homedir", str(self.folder), "--batch", "--quiet", *arguments],
            input=feed,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def exported(self, *keys: str) -> str:
        """Public keys in armour."""
        return self.gpg("--armor", "--export", *keys)

    def revocation(self, key: str) -> str:
        """What withdraws a key for whoever reads it, as gpg wrote it down when it made the key."""
        return (
            (self.folder / "openpgp-revocs.d" / f"{key}.rev").read_text().replace(":-----BEGIN", "-----BEGIN")
        )

    def in_2020(self, folder: Path) -> Path:
        """A gpg in whose opinion it is the summer of 2020."""
        program = folder / "gpg-2020"
        program.write_text('#!/bin/sh\nexec gpg --faked-system-time=20200701T000000 "$@"\n')
        program.chmod(0o755)
        return program


@contextmanager
def gpg_home() -> Iterator[GpgHome]:
    """Make a keyring below /tmp, where the paths of gpg's sockets stay short."""
    with tempfile.TemporaryDirectory(prefix="gpg-") as name:
        folder = Path(name)
        folder.chmod(0o700)
        # Protecting a key takes as long as breaking it should; nobody breaks these.
        (folder / "gpg-agent.conf").write_text("s2k-count 65536\n")
        made = [
            _make(folder, person, passphrase)
            for person, passphrase in (("good", PASSPHRASE), ("plain", ""), ("other", ""))
        ]
        made.append(_make(folder, "expired", "", "--faked-system-time=20200101T000000", lasts="1y"))
        try:
            yield GpgHome(folder, *made)
        finally:
            subprocess.run(["gpgconf", f"--homedir={name}", "--kill", "all"], check=True)


def _make(folder: Path, name: str, passphrase: str, *more: str, lasts: str = "never") -> str:
    loopback = ["--pinentry-mode", "loopback", "--passphrase-fd", "0"]
    person = f"{name} <{name}@example.org>"
    done = subprocess.run(
        [
            *("gpg", "--homedir", str(folder), "--batch", "--status-fd", "1", *loopback, *more),
            *("--quick-generate-key", person, "ed25519", "sign", lasts),
        ],
        input=f"{passphrase}\n",
        capture_output=True,
        text=True,
        check=True,
    )
    return next(line.split()[-1] for line in done.stdout.splitlines() if "KEY_CREATED" in line)


def by_ssh(key: Path) -> Mapping[str, str]:
    """Settings of git with which a person signs."""
    return {"gpg.format": "ssh", "user.signingKey": str(key)}


def by_gpg(key: str) -> Mapping[str, str]:
    return {"user.signingKey": key}


def sign_tip(repo: BareRepo, settings: Mapping[str, str], *, gnupg: Path | None = None, **who: str) -> str:
    """The branch's tip once more, signed by a person with git itself; the new tip."""
    tip = repo.tip()
    assert tip is not None
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    environment = {"GNUPGHOME": str(gnupg)} if gnupg is not None else {}
    parents = git(repo.path, "rev-parse", f"{tip}^@").split()
    message = git(repo.path, "log", "-1", "--format=%B", tip)
    made = git(
        repo.path,
        *(*options, "commit-tree", "-S", f"{tip}^{{tree}}"),
        *(part for parent in parents for part in ("-p", parent)),
        *("-m", message),
        **{**environment, **who},
    )
    repo.set_tip(made)
    return made


def verified(repo: Path, commit: str, settings: Mapping[str, str], *, gnupg: Path | None = None) -> bool:
    """What `git verify-commit` says, as anybody may run it."""
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    environment = {"GNUPGHOME": str(gnupg)} if gnupg is not None else {}
    done = subprocess.run(
        ["git", *options, "-C", str(repo), "verify-commit", commit],
        env={**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, **environment},
        capture_output=True,
        check=False,
    )
    return done.returncode == 0
