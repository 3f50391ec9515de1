"""Whose commits count: a commit proven by `git verify-commit` against keys of the operator, and no others.

Git asks whether an SSH key was good when the commit says that it was made, which whoever has got an old key
or certificate may say as he likes: so ssh-keygen is asked again whether it is good now.

The files are read at each look, and what git is given are copies of what was read. A GPG keyring of our
own is made of them; nobody's keyring and no agent is asked.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from automator.edges.checkout.git import Git
from automator.edges.checkout.reading import Failed
from automator.edges.checkout.signing import call
from automator.edges.checkout.words import said, tells_full_disk
from automator.edges.secretfile import LIST_LIMIT, UnusableFile, read_file
from automator.errors import CheckoutError
from automator.reasons import Reason, reason

LASTS = 3600.0
"""Seconds for which a verdict on a commit stands while the files stay as they are: GPG keys expire."""
REMEMBERED = 16
"""Verdicts that are kept: tips, and commits of ours. Troubles of our own machine are none."""
"""Bytes of a file of keys, at most."""

_STEP = "checking a signature"
_GPG_CONF = "batch\nno-tty\nno-autostart\ndisable-dirmngr\nno-auto-key-retrieve\nno-auto-check-trustdb\n\
trust-model always\n"
_GPG_SAYS = (
    ("REVKEYSIG", "its key was revoked"),
    ("EXPKEYSIG", "its key has expired"),
    ("EXPSIG", "it has expired"),
    ("BADSIG", "it does not fit the commit"),
    ("NO_PUBKEY", "its key is not allowed"),
)
"""doc/DETAILS of GnuPG, "Format of the --status-fd output"."""
_SSH_SAYS = re.compile(
    "no principal|no valid principal|could not verify|verification failed|incorrect signature|invalid|expired"
    "|unexpected|parse|unsupported|not supported",
    re.IGNORECASE,
)
"""Words of a verdict, rather than of a program that could not do its work."""
_VALID_BEFORE = re.compile(r'valid-before="?([^\s",]*)', re.IGNORECASE)
_DATE = re.compile(r"(\d{4})(\d\d)(\d\d)(?:(\d\d)(\d\d)(\d\d)?)?(Z|UTC)?", re.ASCII | re.IGNORECASE)
_PGP, _SSH = b"-----BEGIN PGP ", b"-----BEGIN SSH SIGNATURE"
_AUTHOR = re.compile(rb"^author ([^\n]*?) \d+ [-+]\d+$", re.MULTILINE)
_SIGNATURE = re.compile(rb"^gpgsig(?:-sha256)? [^\n]*(?:\n [^\n]*)*", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Signers:
    """Files of the keys that may sign; at least one."""

    ssh_file: Path | None = None
    """As ssh-keygen reads it ("ALLOWED SIGNERS")."""
    gpg_file: Path | None = None
    """Public keys, as `gpg --export` writes them."""


@dataclass(frozen=True, slots=True)
class Trusted:
    """How git is told whose signatures are good."""

    settings: tuple[tuple[str, str], ...]
    environment: dict[str, str]


_ALONE = ("gpg.x509.program", "false")
"""No program of the machine is asked about certificates of X.509."""
NOBODY = Trusted((("gpg.ssh.allowedSignersFile", os.devnull), _ALONE), {})


@dataclass(frozen=True, slots=True)
class _Verdict:
    why: Reason | None
    """Why a commit does not count; None where it does."""
    is_final: bool = True
    """Not where our own machine may have been what failed."""


class Proof:
    """Says of commits of one clone whether an allowed key signed them."""

    def __init__(self, signers: Signers, clone: Path, *, deadline: float) -> None:
        self._signers = signers
        self._folder = clone.with_name(f".{clone.name}.signers")  # no clone begins with a dot
        self._deadline = deadline
        self._digest = b""
        """Of the keys that the folder was made of."""
        self._verdicts: dict[str, tuple[float, Reason | None]] = {}

    def require(self, git: Git, commit: str, *, branch: str) -> None:
        """Raise CheckoutError (`git/unsigned-tip`) for a commit that no allowed key signed.

        Raises CheckoutError (`git/signers`) too, where the keys cannot be used, and Failed where the commit
        cannot be read.
        """
        trusted = self.trusted()
        now = time.monotonic()
        found = self._verdicts.get(commit)
        if found is None or now > found[0] + LASTS:
            self._verdicts.pop(commit, None)
            verdict = self._judge(git, commit, branch, trusted)
            if not verdict.is_final and verdict.why is not None:
                raise CheckoutError(verdict.why)
            found = self._verdicts[commit] = now, verdict.why
            while len(self._verdicts) > REMEMBERED:
                del self._verdicts[next(iter(self._verdicts))]
        if found[1] is not None:
            raise CheckoutError(found[1], retry=False)

    def trusted(self) -> Trusted:
        """Read the keys again, and say how git is given them. Raises CheckoutError (`git/signers`)."""
        ssh, gpg = (_read(file) for file in (self._signers.ssh_file, self._signers.gpg_file))
        ssh = _in_force(ssh, datetime.now(UTC))
        digest = hashlib.sha256(b"%d %s%s" % (len(ssh), ssh, gpg)).digest()
        if digest != self._digest or not self._folder.is_dir():
            self._digest = b""
            self._verdicts.clear()
            try:
                self._make(ssh, gpg)
            except OSError as error:
                # As git would say it, so that a full disk is told as one.
                raise Failed(_STEP, f"{self._folder}: {error.strerror}") from None
            self._digest = digest
        settings = (("gpg.ssh.allowedSignersFile", str(self._allowed)), _ALONE)
        return Trusted(settings, {"GNUPGHOME": str(self._folder), "TMPDIR": str(self._folder)})

    @property
    def _allowed(self) -> Path:
        return self._folder / "allowed_signers"

    def _make(self, ssh: bytes, gpg: bytes) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(mode=0o700)
        self._allowed.write_bytes(ssh)
        (self._folder / "gpg.conf").write_text(_GPG_CONF, "ascii")
        if self._signers.gpg_file is None:
            return
        # gpg looks for an agent in its home, and gives up where that is longer than a socket's path may be.
        with tempfile.TemporaryDirectory(prefix="automator-gpg-") as short:
            home = Path(short, "home")
            home.symlink_to(self._folder.absolute())
            arguments = ("gpg", f"--homedir={home}", "--quiet", "--import")
            try:
                status, _, words = call(arguments, gpg, step="reading GPG keys", deadline=self._deadline)
            except OSError as error:
                problem = f"gpg cannot be started: {error.strerror}"
                raise _unusable(self._signers.gpg_file, problem) from None
        if status:
            raise _unusable(self._signers.gpg_file, f"gpg says: {said(words)}")

    def _judge(self, git: Git, commit: str, branch: str, trusted: Trusted) -> _Verdict:
        """Whether an allowed key signed a commit, and is good now."""
        told = git.run(_STEP, "cat-file", "commit", commit)
        if told.status:
            raise Failed(_STEP, told.words)
        head = told.out.partition(b"\n\n")[0]
        answer = git.run(
            _STEP, "verify-commit", "--raw", commit, extra=trusted.environment, settings=trusted.settings
        )
        signature = _signature(head)
        words, is_good = answer.words, answer.status == 0
        if is_good and not (signature.startswith(_PGP) and "[GNUPG:] GOODSIG " in words):
            words, is_good = self._good_now(signature)
        if is_good:
            return _Verdict(None)
        is_known = signature.startswith((_PGP, _SSH))
        is_final = not is_known or "[GNUPG:] " in words or _SSH_SAYS.search(words) is not None
        if not is_final and tells_full_disk(words):
            raise Failed(_STEP, words)
        problem = "it has no signature"
        if signature:
            problem = f"its signature is not a good one of an allowed key ({_told(words)})"
        if not is_final:
            problem = f"its signature could not be checked ({_told(words)})"
        author = _AUTHOR.search(head)
        name = author[1].decode("utf-8", "replace") if author else "nobody"
        why = reason("git/unsigned-tip", branch=branch, commit=commit[:12], author=name, problem=problem)
        return _Verdict(why, is_final)

    def _good_now(self, signature: bytes) -> tuple[str, bool]:
        """Whether an SSH key, or the certificate with it, is one of an allowed signer at this moment; and
        what ssh-keygen says. That the signature fits the commit, git has found."""
        arguments = ("ssh-keygen", "-Y", "find-principals", "-s", "/dev/stdin", "-f", str(self._allowed))
        try:
            status, _, words = call(arguments, signature, step=_STEP, deadline=self._deadline)
        except OSError as error:
            raise Failed(_STEP, f"ssh-keygen cannot be started: {error.strerror}") from None
        return words, status == 0


def _signature(head: bytes) -> bytes:
    """The signature of a commit (gitformat-signature), as git takes it out of its head."""
    found = (match[0].partition(b" ")[2] for match in _SIGNATURE.finditer(head))
    return b"".join(text.replace(b"\n ", b"\n") + b"\n" for text in found)


def _told(words: str) -> str:
    """What is wrong with a signature, for people; git's exit status has judged it."""
    found = (told for code, told in _GPG_SAYS if f"[GNUPG:] {code} " in words)
    return next(found, None) or said(words)


def _read(file: Path | None) -> bytes:
    if file is None:
        return b""
    try:
        found = read_file(file, LIST_LIMIT)
    except UnusableFile as why:
        raise _unusable(file, str(why)) from None
    if not found.strip():
        raise _unusable(file, "it is empty")
    return found


def _in_force(allowed: bytes, now: datetime) -> bytes:
    """The allowed signers whose time is not over, beyond doubt."""
    lines = allowed.decode("utf-8", "surrogateescape").splitlines(keepends=True)
    return "".join(line for line in lines if not _is_over(line, now)).encode("utf-8", "surrogateescape")


def _is_over(line: str, now: datetime) -> bool:
    return any(_is_past(found[1], now) for found in _VALID_BEFORE.finditer(line))


def _is_past(date: str, now: datetime) -> bool:
    """Whether a date of ssh-keygen's is over. One that is none, like 30 February, is: ssh-keygen would take
    it for another."""
    found = _DATE.fullmatch(date)
    if found is None:
        return True
    *parts, utc = found.groups()
    year, month, day, hour, minute, second = (int(part or 0) for part in parts)
    try:
        until = datetime(year, month, day, hour, minute, second, tzinfo=UTC if utc else None)
        return until.astimezone(UTC) <= now  # without Z it is this machine's time
    except (ValueError, OverflowError):
        return True


def _unusable(file: Path, problem: str) -> CheckoutError:
    return CheckoutError(reason("git/signers", file=file, problem=problem), retry=False)
