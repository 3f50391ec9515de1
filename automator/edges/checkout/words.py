"""What git and the server behind it say when they refuse, turned into our reasons."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from automator.errors import CheckoutError
from automator.reasons import one_line, reason

_PROXY = re.compile(r"(Unsupported proxy syntax in|Invalid proxy URL) '.*")
"""What curl and git say of a proxy's address that they cannot read: they quote it, with its password."""
NOT_COUNTED = "as the tip it would not count: "
"""What the words of a refusal begin with that is ours, not the server's."""
SAID_LIMIT = 300
"""Characters of a server's words that are kept."""

_NOISE = re.compile(
    r"^(hint:|Cloning into|Please make sure you have the correct access|and the repository exists\."
    r"|\*\*\*|error: failed to push some refs|To |Warning: Permanently added|\s*$)"
)

_SIGNS: tuple[tuple[str, bool, re.Pattern[str]], ...] = tuple(
    (code, waiting_helps, re.compile(signs, re.IGNORECASE))
    for code, waiting_helps, signs in (
        ("git/disk", True, r"No space left on device|Disk quota exceeded|File too large"),
        ("git/host-key", False, r"Host key verification failed|REMOTE HOST IDENTIFICATION HAS CHANGED"),
        (
            "git/denied",
            False,
            r"Authentication failed|could not read (Username|Password)|returned error: 40[13]\b"
            r"|HTTP Basic: Access denied|Permission denied \(|Permission to \S+ denied|Invalid username or"
            r"|UNPROTECTED PRIVATE KEY|not allowed to (push|upload|download)|Write access to repository not",
        ),
        ("git/redirected", False, r"returned error: 30[12378]\b|unable to update url base from redirection"),
        (
            "git/not-found",
            False,
            r"repository '.*' not found|Repository not found|does not appear to be a git repository"
            r"|returned error: 404\b|project you were looking for could not be found|does not exist",
        ),
        (
            "git/certificate",
            False,
            # As curl says it with GnuTLS, with OpenSSL, and of a file of ours that holds none.
            r"certificate verification failed|SSL certificate problem|certificate subject name"
            r"|no alternative certificate subject|SSL CA cert|error setting certificate",
        ),
        (
            "git/unreachable",
            True,
            r"Could not resolve|Failed to connect|Couldn't connect|No route to host|Network is unreachable"
            r"|Connection (refused|timed out|reset|closed)|remote end hung up|returned error: (5\d\d|429)"
            r"|early EOF|RPC failed|SSL|certificate|Operation too slow|Empty reply|transfer closed"
            r"|Could not read from remote repository|unable to access|unexpected disconnect"
            r"|expected flush|invalid server response",
        ),
    )
)

_NO_PROCESS = re.compile(
    r"^(?!remote:).*(cannot fork\(\)|unable to fork|(unable to|cannot) create (threaded|(async )?thread)"
    r"|thread failed to start)",
    re.IGNORECASE | re.MULTILINE,
)
"""What git, and curl in it, say where this machine lets them start nothing; a server says it of itself."""

_DAMAGE = re.compile(
    r"not a git repository|bad object|missing (blob|tree|commit|object)|is corrupt|corrupt (loose|patch|pack)"
    r"|unable to read (tree|sha1|blob)|invalid sha1 pointer|did not send all necessary objects"
    r"|bad (tree|config|ref|sha1|signature|index)|invalid object|packfile .* (cannot|does not|is)"
    r"|unable to (find|unpack|parse)|broken|fatal: loose object|could not (read|parse|open)|garbage at end"
    r"|reference .* not found|inflate|file too short|shallow|object .* not found|not a valid object",
    re.IGNORECASE,
)
"""Signs of a broken clone in the words of a command that asks nobody else, or before the server was asked."""

_LOST = re.compile(
    r"fetch first|non-fast-forward|cannot lock ref|incorrect old value|stale info|but expected [0-9a-f]{40}"
    r"|reference already exists",
    re.IGNORECASE,
)
_NOT_LOST = re.compile(r"Permission denied|No space left|Read-only file system", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Landed:
    """The push was accepted: the branch is at our commit."""

    commit: str


@dataclass(frozen=True, slots=True)
class Lost:
    """Somebody else moved the branch first: decide again on the new tip."""

    words: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The server does not want these commits; its words say why."""

    words: str


def said(words: str, hidden: Sequence[str] = ()) -> str:
    """What matters of git's standard error, as one safe line, secrets masked."""
    for secret in hidden:
        words = words.replace(secret, "***")
    words = _PROXY.sub(r"\1 what the environment names as the proxy", words)
    # A progress line is overwritten by the next: only the last one was meant to be read.
    lines = (line.rpartition("\r")[2] for line in words.replace("\r\n", "\n").splitlines())
    kept = [re.sub(r"^remote:\s*", "", line).strip() for line in lines if not _NOISE.match(line)]
    return one_line("; ".join(line for line in kept if line) or "nothing", SAID_LIMIT)


def refusal(step: str, url: str, words: str, hidden: Sequence[str]) -> CheckoutError:
    """The error for a command that spoke with the server and failed."""
    if tells_no_process(words):
        return failure(step, words, hidden)
    shown = said(words, hidden)
    for code, waiting_helps, signs in _SIGNS:
        if signs.search(words):
            return CheckoutError(reason(code, url=url, words=shown), retry=waiting_helps)
    return failure(step, words, hidden)


def failure(step: str, words: str, hidden: Sequence[str] = ()) -> CheckoutError:
    """The error for a command that failed for a reason that no sign of a server's explains."""
    if tells_no_process(words):
        return CheckoutError(reason("git/no-process", step=step, problem=said(words, hidden)))
    return CheckoutError(reason("git/failed", step=step, words=said(words, hidden)))


def tells_damage(words: str) -> bool:
    """Whether a command failed because the clone itself is broken."""
    return bool(_DAMAGE.search(words))


def tells_no_process(words: str) -> bool:
    """Whether git could not start what it is made of."""
    return bool(_NO_PROCESS.search(words))


def tells_full_disk(words: str) -> bool:
    return bool(_SIGNS[0][2].search(words))


def tells_denied(words: str) -> bool:
    """Whether the server refused who asked."""
    return bool(_SIGNS[2][2].search(words))


def push_result(
    commit: str, ref: str, status: int, out: str, words: str, hidden: Sequence[str]
) -> Landed | Lost | Refused | None:
    """Read a push's porcelain answer; None where the server gave no verdict on the branch.

    A line of it is `<flag> TAB <from>:<to> TAB <summary> (<reason>)` (git-push, "OUTPUT").
    """
    for line in out.splitlines():
        flag, _, rest = line.partition("\t")
        names, _, summary = rest.partition("\t")
        if names.rpartition(":")[2] != ref:
            continue
        if flag != "!":
            return Landed(commit) if status == 0 else None
        if "[remote failure]" in summary:
            return None
        both = f"{summary}\n{words}"
        text = said(f"{summary}\n{_from_server(words)}", hidden)
        if _LOST.search(both) and not _NOT_LOST.search(both):
            return Lost(text)
        return Refused(text)
    return None


def _from_server(words: str) -> str:
    return "\n".join(line for line in words.splitlines() if line.startswith("remote:"))
