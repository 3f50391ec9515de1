"""Secret files: a token or a key, read when it is used."""

from __future__ import annotations

from automator.edges import secretfile
from automator.errors import ForgeError
from automator.reasons import reason


def read_token(host: str, path: str) -> str:
    """The token in a file, without the white space around it. Raises ForgeError (`forge/secret`)."""
    token = read_secret(host, path).strip()
    if not token:
        raise unusable(host, path, "it is empty")
    if not token.isascii() or not token.isprintable() or " " in token:
        raise unusable(host, path, "it holds characters that no token has")
    return token


def read_secret(host: str, path: str) -> str:
    """The text of a regular file. Raises ForgeError (`forge/secret`)."""
    try:
        return secretfile.read_text(path)
    except secretfile.UnusableFile as why:
        raise unusable(host, path, str(why)) from None


def unusable(host: str, path: str, problem: str) -> ForgeError:
    return ForgeError(reason("forge/secret", host=host, file=path, problem=problem), retry=False)
